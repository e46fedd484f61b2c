# SPDX-License-Identifier: Apache-2.0
"""What an operator does, with sluicectl as a person types it: policy, certificates, events and their remedies."""
import json
import os
import signal
import subprocess
import time

import pytest
import yaml
from lab import netns
from lab.clients import leaf_of, tls_connect
from lab.servers import SERVERS
from lab.sluice import DECRYPT_ALL, enum_name

SELF_SIGNED = SERVERS["self-signed"]


def refused(sluice, *words, status=1):
    done = sluice.ctl(*words, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stderr.strip()
    return done.stderr


def test_status(sluice):
    status = json.loads(sluice.ctl("status", "-o", "json").stdout)
    assert status["deviceName"] == "lab-gateway" and status["caPresent"]
    assert len(status["listeners"]) == 3 and int(status["workers"]) == 2
    text = sluice.ctl("status").stdout
    assert "lab-gateway" in text and "9443" in text


def test_stats(sluice):
    assert "sluice_" in sluice.ctl("stats", "--prometheus").stdout
    assert json.loads(sluice.ctl("stats", "-o", "json").stdout)["counters"]
    assert sluice.ctl("stats", "connections").stdout


def test_the_reference_case(lab, sluice, curl):
    """Two aborts and the way out of each, as the issue tells it."""
    assert not curl.server("cipher-refused").ok
    assert not curl.server("self-signed").ok
    sluice.quiet()
    shown = sluice.ctl("event", "list", "-n", "10").stdout
    assert "SRV_ALERT_HANDSHAKE_FAILURE" in shown and "SRV_CERT_SELF_SIGNED" in shown
    newest = json.loads(sluice.ctl("event", "list", "--cause", "SRV_CERT_SELF_SIGNED", "-n", "1", "-o", "json").stdout)["events"][0]
    page = sluice.ctl("event", "show", newest["id"]).stdout
    for text in (SELF_SIGNED.ipv4, "443", "inside", "outside", "unknown_ca", "sent to server", "self-signed", "TLS Proxy",
                 "pin-certificate", newest["serverChain"][0]["sha256"][:8]):
        assert text.lower() in page.lower(), f"{text} is missing in\n{page}"
    assert sluice.ctl("event", "show", newest["flowId"]).stdout == page

    log = sluice.tls_log()
    assert '(0x228 = "fatal : handshake failure") in Session: x' in log
    assert "SSL alert message received from server" in log and "SSL alert message sent to server (0x230" in log
    assert "Certificate verification failure: self signed certificate (code 18, depth 0)" in log

    sluice.ctl("cert", "import", lab.pki.path("self-signed.pem"), "--host", SELF_SIGNED.host, "--name", "pinned")
    assert not curl.server("self-signed").ok
    assert "pinned" in sluice.ctl("config", "diff").stdout
    sluice.ctl("config", "commit", "-m", "trust it")
    assert curl.server("self-signed").ok
    assert "pinned" in sluice.ctl("cert", "list").stdout
    sluice.ctl("cert", "remove", "pinned", "--commit")
    assert not curl.server("self-signed").ok


def test_fix_by_pin(sluice, curl):
    before = sluice.newest_event()
    assert not curl.server("self-signed").ok
    event = sluice.wait_event(before, server=SELF_SIGNED.ipv4)
    remedies = sluice.ctl("event", "fix", event.id).stdout
    assert "pin-certificate" in remedies and "bypass-server" in remedies
    sha256 = event.server_chain[0].sha256
    assert "confirm" in refused(sluice, "event", "fix", event.id, "pin-certificate").lower()
    assert refused(sluice, "event", "fix", event.id, "pin-certificate", "--confirm", "00" * 32)
    assert not curl.server("self-signed").ok
    sluice.ctl("event", "fix", event.id, "pin-certificate", "--confirm", sha256[:16])
    assert curl.server("self-signed").ok
    assert not curl.get(f"https://{SELF_SIGNED.ipv4}/").ok  # another name of the same server


def test_fix_by_bypass(lab, sluice, curl):
    before = sluice.newest_event()
    assert not curl.server("self-signed").ok
    event = sluice.wait_event(before, server=SELF_SIGNED.ipv4)
    sluice.ctl("event", "fix", event.id, "bypass-server", "--for", "10s")
    made = time.monotonic()
    answer = curl.get(f"https://{SELF_SIGNED.host}/", "-4", ca=lab.pki.path("self-signed.pem"))
    assert answer.ok, answer.error
    rule = yaml.safe_load(sluice.ctl("config", "show").stdout)["decryption_rules"][0]
    assert rule["action"] == "do-not-decrypt" and rule["expires"] if "expires" in rule else rule
    time.sleep(max(0, made + 10.1 - time.monotonic()))
    answer = curl.get(f"https://{SELF_SIGNED.host}/", "-4", ca=lab.pki.path("self-signed.pem"))
    assert answer.code, "the bypass has no end"


def test_fix_that_is_not_offered(sluice, curl):
    before = sluice.newest_event()
    assert not curl.server("bad-signature").ok
    event = sluice.wait_event(before)
    assert "pin-certificate" not in [remedy.id for remedy in event.remedies]
    assert refused(sluice, "event", "fix", event.id, "pin-certificate", "--confirm", event.server_chain[0].sha256)
    assert refused(sluice, "event", "fix", 999_999_999, "bypass-server")


def test_versions(lab, sluice):
    first = sluice.commit(DECRYPT_ALL)
    sluice.ctl("rule", "add", "do-not-decrypt", "leave", "--dst", SERVERS["good"].ipv4, "--top", "--commit", "-m", "leave it")
    with tls_connect(lab, "good", lab.pki.path("root.pem")) as tls:
        assert leaf_of(tls)[1] == "Lab Issuing CA"
    history = sluice.ctl("config", "history").stdout
    assert "leave it" in history
    assert "leave" in sluice.ctl("config", "diff", first, first + 1).stdout
    sluice.ctl("config", "rollback", first, "-m", "back")
    with tls_connect(lab, "good", sluice.ca_file()) as tls:
        assert "Sluice" in leaf_of(tls)[1]
    assert sluice.call("GetStatus").config_version == first + 2
    assert refused(sluice, "config", "rollback", 99999)


def test_yaml_there_and_back(sluice, tmp_path):
    sluice.ctl("object", "add", "network", "a", "10.0.0.0/8", "2001:db8::/32")
    sluice.ctl("object", "add", "host", "h", "*.example.com")
    sluice.ctl("rule", "add", "decrypt", "r", "--src", "a", "--host", "h", "--service", "443")
    sluice.ctl("rule", "add", "deny", "d", "--dst", "192.0.2.0/24")
    sluice.ctl("config", "commit")
    file = tmp_path / "policy.yaml"
    sluice.ctl("config", "export", file)
    text = file.read_text()
    assert yaml.safe_load(text)["networks"][0]["prefixes"] == ["10.0.0.0/8", "2001:db8::/32"]
    sluice.commit(DECRYPT_ALL)
    sluice.ctl("config", "import", file, "--commit")
    assert sluice.ctl("config", "export").stdout.strip() == text.strip()


@pytest.mark.parametrize("text, word", [
    ("networks: [", "line"), ("nonsense: 1\n", "nonsense"), ("settings: {default_decryption: perhaps}\n", "perhaps"),
    ("networks:\n  - {name: a, prefixes: [10.0.0.0/99]}\n", "10.0.0.0/99"),
    ("networks:\n  - {name: a, includes: [a]}\n", "a"), ("networks:\n  - {name: a, includes: [b]}\n", "b"),
    ("decryption_rules:\n  - {name: r, action: decrypt, match: {sources: [nobody]}}\n", "nobody"),
    ("decryption_rules:\n  - {name: r, action: decrypt}\n  - {name: r, action: block}\n", "r"),
    ("- 1\n- 2\n", ""), ("\x00\x01", ""), ("a: &x [*x]\n", ""), ("services:\n  - {name: s, ports: ['70000']}\n", "70000"),
    ("hosts:\n  - {name: h, patterns: ['a*b']}\n", "a*b")])
def test_wrong_yaml(sluice, tmp_path, text, word):
    """A clear error, and nothing changed."""
    running = sluice.ctl("config", "show").stdout
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    done = sluice.ctl("config", "import", file, "--commit", check=False)
    assert done.returncode != 0 and word in done.stderr, done.stderr
    sluice.ctl("config", "discard")
    assert sluice.ctl("config", "show").stdout == running


def test_editor(sluice, tmp_path):
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/default_decryption:.*/default_decryption: block/' \"$1\"\n")
    editor.chmod(0o755)
    env = {**netns.ENV, "SLUICE_SOCKET": str(sluice.socket), "EDITOR": str(editor), "VISUAL": str(editor)}
    sluice.dirty = True
    done = netns.run(sluice.control, "config", "edit", env=env, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stderr
    assert "block" in sluice.ctl("config", "diff").stdout
    sluice.ctl("config", "discard")
    assert "block" not in sluice.ctl("config", "diff").stdout


def test_watch(sluice, curl):
    env = {**netns.ENV, "SLUICE_SOCKET": str(sluice.socket)}
    with subprocess.Popen([sluice.control, "event", "watch", "-n", "2", "--cause", "SRV_CERT_EXPIRED", "-o", "json"], env=env,
                          stdout=subprocess.PIPE, text=True) as process:
        # When the watch has begun can't be seen from here: there are failures until it has seen two.
        end = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < end:
            for server in ("expired", "good", "wrong-host"):
                curl.server(server)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert [json.loads(line)["cause"] for line in out.splitlines()] == ["SRV_CERT_EXPIRED"] * 2


@pytest.mark.parametrize("words, count", [
    (["--server", SERVERS["expired"].ipv4], 2), (["--host", "expired.lab.test"], 2), (["--host", "*.lab.test"], 3),
    (["--cause", "SRV_CERT_HOST_MISMATCH"], 1), (["--type", "tls-abort"], 3), (["--client", "10.77.1.0/24"], 3),
    (["--client", "10.99.0.0/16"], 0)])
def test_filters(sluice, curl, words, count):
    before = sluice.newest_event()
    for server in ("expired", "wrong-host", "expired"):
        curl.server(server)
    sluice.wait_events(3, before)
    events = json.loads(sluice.ctl("event", "list", *words, "-n", "1000", "-o", "json").stdout).get("events", [])
    assert sum(int(event["id"]) > before for event in events) == count


def test_usage_errors(sluice):
    for words in (["nonsense"], ["event", "show"], ["event", "list", "--cause", "NOPE"], ["config", "rollback", "x"],
                  ["rule", "add", "perhaps", "x"]):
        assert refused(sluice, *words, status=2)
    assert refused(sluice, "event", "show", 999_999_999)
    assert refused(sluice, "cert", "import", "/nonexistent", "--host", "x")
    assert refused(sluice, "cert", "import", "/etc/passwd", "--host", "x")
    assert "ca init" in sluice.ctl("ca", "init", "--help").stdout
    assert "--replace" in refused(sluice, "ca", "init")


def test_no_daemon(sluice, tmp_path):
    done = netns.run(sluice.control, "--socket", tmp_path / "none.sock", "status", check=False)
    assert done.returncode == 1 and "sluiced" in done.stderr


def test_ca_export(lab, sluice, tmp_path):
    file = tmp_path / "ca.pem"
    sluice.ctl("ca", "export", "-f", file)
    assert file.read_text().startswith("-----BEGIN CERTIFICATE-----") and "KEY" not in file.read_text()
    assert lab.client.run("openssl", "verify", "-CAfile", file, file).returncode == 0


def test_secrets_are_kept(sluice):
    """C2: the CA's key is encrypted and readable by its owner only; it is in no file besides."""
    folder = sluice.folder / "state" / "ca"
    for path in folder.iterdir():
        text = path.read_bytes()
        assert b"BEGIN PRIVATE KEY" not in text and b"BEGIN EC PRIVATE KEY" not in text
        if b"PRIVATE KEY" in text or path.name == "passphrase":
            assert path.stat().st_mode & 0o077 == 0, path
    assert "PRIVATE KEY" not in sluice.log()
    assert os.stat(sluice.socket).st_mode & 0o007 == 0


def test_log_reopened(sluice, curl):
    """SIGHUP, for logrotate."""
    path = sluice.folder / "tls_proxy.log"
    assert not curl.server("expired").ok
    sluice.quiet()  # its lines are written
    old = path.rename(path.with_suffix(".1"))
    size = old.stat().st_size
    os.kill(sluice.process.pid, signal.SIGHUP)
    netns.wait_for(path.exists, "the new log")
    assert not curl.server("expired").ok
    netns.wait_for(lambda: "Certificate verification failure" in path.read_text(), "lines in the new log")
    assert old.stat().st_size == size


def test_events_survive_a_restart(own_sluice, own_curl):
    one = own_sluice().start()
    one.commit(DECRYPT_ALL)
    curl = own_curl(one)
    assert curl.server("good").ok and not curl.server("expired").ok
    events = one.wait_events(2, 0, types=["TLS_DECRYPTED", "TLS_ABORT"])
    fingerprint, version = one.call("GetCa").sha256, one.call("GetStatus").config_version
    assert one.stop() == 0
    one.start()
    assert [event.id for event in one.events(0, types=["TLS_DECRYPTED", "TLS_ABORT"])] == [event.id for event in events]
    assert one.call("GetCa").sha256 == fingerprint and one.call("GetStatus").config_version == version
    assert curl.server("good").ok
    # Killed, without a chance to say goodbye: what was committed is there.
    one.stop(signal.SIGKILL)
    one.start()
    assert one.call("GetStatus").config_version == version and curl.server("good").ok
    assert enum_name(one.events(0, types=["TLS_ABORT"])[0], "cause") == "SRV_CERT_EXPIRED"
