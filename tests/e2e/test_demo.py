# SPDX-License-Identifier: Apache-2.0
"""The demos are what a newcomer sees first: they work, and they leave nothing behind."""
import os
import pathlib
import re
import subprocess
import tempfile

import pytest
from lab import netns
from lab.sluice import build_folder
from lab.topology import ROOT, all_labs


def demo(*words, program="demo", **env):
    return subprocess.run([ROOT / "sim/lab" / program, *words], capture_output=True, text=True, check=False, timeout=900,
                          env={**os.environ, "SLUICE_BUILD_DIR": str(build_folder()), **env})


def test_demo():
    labs = {one[0] for one in all_labs()}
    done = demo()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
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
        answer = subprocess.run(tried.split(), cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
        assert "page of the lab" in answer.stdout, answer.stderr
    finally:
        assert netns.run(ROOT / "sim/lab/lab", "down", lab_id).returncode == 0
    assert lab_id not in netns.run("ip", "netns", "list").stdout


@pytest.fixture(name="scratch")
def scratch_folder():
    """For the demo's lab, with a short name: it has unix sockets. Nothing may be left in it."""
    with tempfile.TemporaryDirectory(prefix="sluice-demo-") as folder:
        os.chmod(folder, 0o755)  # nginx reads its pages as another user
        yield folder
        assert not os.listdir(folder)


@pytest.mark.parametrize("card", ["cpu", "sim"])
def test_demo_of_the_card(card, scratch):
    """Connections captured on the spot: tshark reads the output with the other leg's secrets only, the mirror without any."""
    done = demo(card, program="demo-card", TMPDIR=scratch)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    expected = ["TLS 1.3, TLS_AES_256_GCM_SHA384", "TLS 1.2, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "mirror.pcap",
                "no page", "is right", "Everything is as it should be"]
    for text in expected + (["device 0: sluice_sim", "kernel ", "compute unit ", "memory "] if card == "sim" else []):
        assert text in done.stdout, text


def test_demo_of_the_card_that_fails(scratch, tmp_path):
    done = demo("cpu", program="demo-card", TMPDIR=scratch, SLUICE_BUILD_DIR=str(tmp_path))
    assert done.returncode == 1 and "build it first" in done.stderr, done.stderr


def test_demo_of_the_card_kept():
    done = demo("cpu", program="demo-card", KEEP="1")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    folder, lab_id = re.search(r"^ *cd (\S+)$", done.stdout, re.M)[1], re.search(r"lab down (\w+)", done.stdout)[1]
    try:
        for tried in re.findall(r"^ *(tshark .*?)(?:  .*)?$", done.stdout, re.M)[-2:]:
            answer = subprocess.run(tried.split(), cwd=folder, capture_output=True, text=True, check=False, timeout=300)
            assert answer.stdout.count("200 OK") == 2, tried + answer.stdout + answer.stderr
    finally:
        assert netns.run(ROOT / "sim/lab/lab", "down", lab_id).returncode == 0
    assert not pathlib.Path(folder).exists()


@pytest.mark.parametrize("word", ["moon", "'; exit 0; '", "sim cpu"])
def test_demo_of_no_card(word):
    done = subprocess.run(["make", "-s", "-C", ROOT, "demo", f"CARD={word}"], capture_output=True, text=True, check=False,
                          timeout=60)
    assert done.returncode == 2 and f"there is no CARD={word}" in done.stderr
    assert demo(word, program="demo-card").returncode == 2
