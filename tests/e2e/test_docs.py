# SPDX-License-Identifier: Apache-2.0
"""The examples of the documentation, run: `$` lines of console blocks in order, in one shell folder, against a running gateway."""
import json
import os
import pathlib
import re
import shlex
import subprocess

import pytest
import yaml
from lab.clients import Curl

ROOT = pathlib.Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "user-guide.md"


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands(path):
    return [line[2:] for block in blocks(path, "console") for line in block.splitlines() if line.startswith("$ ")]


def test_there_are_examples():
    assert len(commands(GUIDE)) >= 15


def test_user_guide(own_sluice, own_lab, tmp_path):
    """Event 12 and its fingerprint stand for the newest refused self-signed certificate."""
    gateway = own_sluice()
    gateway.start()
    gateway.ca_file()
    gateway.commit()
    assert not Curl(own_lab, gateway.ca_file()).server("self-signed").ok
    event = json.loads(gateway.ctl("event", "list", "--cause", "SRV_CERT_SELF_SIGNED", "-n", "1", "-o", "json").stdout)["events"][0]
    (tmp_path / "policy.yaml").write_text(next(b for b in blocks(GUIDE, "yaml") if "decryption_rules" in b), encoding="utf-8")
    env = dict(os.environ, SLUICE_SOCKET=str(gateway.socket), PATH=f"{gateway.control.parent}:{os.environ['PATH']}")
    for command in commands(GUIDE):
        words = [{"12": str(event["id"]), "0123456789abcdef": event["serverChain"][0]["sha256"][:16]}.get(w, w) for w in shlex.split(command)]
        done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
    assert "BEGIN CERTIFICATE" in (tmp_path / "sluice-ca.pem").read_text(encoding="utf-8")
    assert yaml.safe_load((tmp_path / "before.yaml").read_text(encoding="utf-8"))["decryption_rules"]


@pytest.mark.parametrize("block", blocks(ROOT / "docs" / "operations.md", "yaml"))
def test_settings_example(own_sluice, own_lab, tmp_path, block):
    """The example of sluiced.yaml is one that sluiced takes."""
    path = tmp_path / "sluiced.yaml"
    path.write_text(block, encoding="utf-8")
    done = subprocess.run([own_sluice().program, "--config", path, "--check"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_installed_settings(own_sluice):
    """So are the settings that an installation begins with."""
    done = subprocess.run([own_sluice().program, "--config", ROOT / "dist" / "sluiced.yaml", "--check"], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 0, done.stderr
