# SPDX-License-Identifier: Apache-2.0
"""The demo is what a newcomer sees first: it works, it ends in time, it leaves nothing behind."""
import os
import re
import subprocess
import time

from lab import netns
from lab.sluice import build_folder, sanitized
from lab.topology import ROOT, all_labs


def demo(**env):
    return subprocess.run([ROOT / "sim/lab/demo"], capture_output=True, text=True, check=False, timeout=300,
                          env={**os.environ, "SLUICE_BUILD_DIR": str(build_folder()), **env})


def test_demo():
    labs = {one[0] for one in all_labs()}
    began = time.monotonic()
    done = demo()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert time.monotonic() - began < (180 if sanitized() else 60)
    for text in ("TLSv1.3", "TLSv1.2", "SRV_CERT_SELF_SIGNED", "SRV_ALERT_HANDSHAKE_FAILURE", "SHA-256", "sent to server",
                 "received from server", "Everything is as it should be"):
        assert text in done.stdout, text
    assert {one[0] for one in all_labs()} == labs


def test_demo_kept():
    done = demo(KEEP="1")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    lab_id = re.search(r"lab down (\w+)", done.stdout).group(1)
    try:
        # What it says can be tried, works.
        tried = re.search(r"^ *(sim/lab/lab exec \w+ client curl --cacert \S+ https://good.lab.test/)", done.stdout, re.M).group(1)
        answer = subprocess.run(tried.split(), cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
        assert "page of the lab" in answer.stdout, answer.stderr
    finally:
        assert netns.run(ROOT / "sim/lab/lab", "down", lab_id).returncode == 0
    assert lab_id not in netns.run("ip", "netns", "list").stdout
