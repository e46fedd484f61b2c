# SPDX-License-Identifier: Apache-2.0
"""The documentation is true: its commands run, its YAML is taken, its settings start a daemon."""
import re
import shlex
import subprocess

import pytest
import yaml
from lab import netns
from lab.sluice import DECRYPT_ALL
from lab.topology import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)


def blocks(language):
    return [(page, text) for page in PAGES for found, text in BLOCK.findall(page.read_text()) if found == language]


def commands(page):
    """Lines that start with `$`, in code blocks, in the order of the page."""
    return [line[2:] for _, text in BLOCK.findall(page.read_text()) for line in text.splitlines() if line.startswith("$ ")]


def policies(page):
    return [text for found, text in BLOCK.findall(page.read_text()) if found == "yaml" and "listeners:" not in text]


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_commands(own_lab, own_sluice, own_curl, page, tmp_path):
    """As a reader would type them, one after another; event numbers and fingerprints are those of this gateway."""
    one = own_sluice().start()
    curl = own_curl(one)
    one.commit(DECRYPT_ALL)
    before = one.newest_event()
    assert not curl.server("self-signed").ok
    event = one.wait_event(before, types=["TLS_ABORT"])
    confirmed = event.server_chain[0].sha256[:16]
    if policies(page):
        (tmp_path / "policy.yaml").write_text(policies(page)[0])
    env = {**netns.ENV, "SLUICE_SOCKET": str(one.socket), "PATH": f"{one.control.parent}:{netns.PATH}"}
    for line in commands(page):
        words = shlex.split(line, comments=True)
        assert words[0] == "sluicectl", f"{page.name} has '{line}': only sluicectl is run here"
        words = [str(event.id) if word.isdigit() and words[1] == "event" and "-n" not in words else word for word in words]
        words = [confirmed if re.fullmatch(r"[0-9a-f]{16}|[0-9A-F:]{40,}", word) else word for word in words]
        if words[1:3] == ["event", "fix"] and "pin-certificate" in words and "--confirm" not in words:
            words += ["--confirm", confirmed]  # what a person answers on the terminal
        if words[1:] == ["ca", "init"]:
            words += ["--replace"]  # the reader's gateway has none yet, this one has
        done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=60,
                              stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"{page.name}: {line}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page, text", [(p.name, t) for p, t in blocks("yaml") if "listeners:" not in t],
                         ids=lambda value: value if len(value) < 30 else "")
def test_policies(sluice, page, text, tmp_path):
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    done = sluice.ctl("config", "import", file, check=False)
    assert done.returncode == 0, f"{page}: {done.stderr}"
    assert sluice.ctl("config", "validate", check=False).returncode == 0
    sluice.ctl("config", "discard")


@pytest.mark.parametrize("page, text", [(p.name, t) for p, t in blocks("yaml") if "listeners:" in t],
                         ids=lambda value: value if len(value) < 30 else "")
def test_settings(own_sluice, own_curl, page, text):
    """Every key that the page shows, with paths and addresses of the lab."""
    settings = yaml.safe_load(text)
    assert page
    one = own_sluice()
    for key in ("state_dir", "management", "listeners", "trust", "tls_log"):
        settings[key] = one.settings[key]
    one.settings = settings
    one.start()
    one.commit()
    assert own_curl(one).server("good").ok
    assert one.stop() == 0


def test_installed_settings(own_sluice):
    """The settings that an installation begins with are ones that sluiced takes."""
    done = subprocess.run([own_sluice().program, "--config", ROOT / "dist" / "sluiced.yaml", "--check"], capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [[], ["status"], ["event"], ["config"], ["rule"]])
def test_help(sluice, words):
    done = sluice.ctl(*words, "--help")
    assert "usage: sluicectl" in done.stdout
