# SPDX-License-Identifier: Apache-2.0
"""Every command of sluicectl against the management service with its real stores: forms of output, wrong usage, exit status."""
import json
import os
import pty
import re
import subprocess

import pytest
from management_lab import SLUICECTL, Host, certificate, config_pb, ctl, der, event_pb, pb, pem, refuse, rule, sha256


@pytest.fixture
def host(tmp_path):
    running = Host(tmp_path)
    yield running
    if running.process.poll() is None:
        running.close()


def test_ctl_usage():
    assert "usage: sluicectl" in ctl("--help").out
    assert "usage: sluicectl" in ctl(status=2).err
    for group in ("config", "event", "ca", "cert", "rule", "object", "setting"):
        assert f"sluicectl {group} COMMAND" in ctl(group, "--help").out
        assert "needs a second word" in ctl(group, status=2).err
    assert "--since" in ctl("event", "list", "--help").out
    for wrong in ("nonsense", "status --nonsense", "event list --limit 0", "event list --since yesterday",
                  "event list --cause nonsense",
                  "config diff old", "event show x", "ca init --days x", "config show --candidate --version 1", "cert import f",
                  "cert import f --host h --port 0", "cert import f --anchor --host h", "event fix 1 x --for soon",
                  "config rollback x", "event watch --count 0"):
        assert "--help" in ctl(*wrong.split(), status=2).err
    assert ctl("version").out.startswith("sluicectl ")
    assert ctl("version", "-o", "json").json["version"]


def test_ctl_without_a_daemon(tmp_path):
    for arguments in (["status"], ["config", "show"], ["event", "watch"]):
        error = ctl("--socket", tmp_path / "nowhere", *arguments, status=1).err
        assert "not running or its socket is elsewhere" in error and "systemctl start sluiced" in error and "SLUICE_SOCKET" in error
    error = ctl("status", status=1, environment={"SLUICE_SOCKET": str(tmp_path / "by-variable")}).err
    assert "by-variable" in error
    (tmp_path / "file").write_text("")
    assert "no answer" in ctl("--socket", tmp_path / "file", "status", status=1).err
    assert "exclude each other" in ctl("--socket", "x", "--connect", "y:1", "status", status=1).err


def test_ctl_status_and_stats(host):
    text = host.ctl("status").out
    assert re.search(r"^Device +test-host$", text, re.M) and "1 h 1 min" in text and "explicit 127.0.0.1:3128" in text
    assert re.search(r"^Warning +no decryption CA", text, re.M)
    assert host.ctl("status", "-o", "json").json["configVersion"] == "1"
    assert ctl("status", "-o", "json", environment={"SLUICE_SOCKET": str(host.path)}).json["workers"] == 3
    table = host.ctl("stats").out.splitlines()
    assert table[0].split() == ["COUNTER", "VALUE",
                                "MEANING"] and any(line.startswith("sluice_events_lost_total") for line in table)
    assert len(host.ctl("stats", "events_lost").out.splitlines()) == 2
    assert "No such counter." in host.ctl("stats", "nonsense").out
    prometheus = host.ctl("stats", "--prometheus").out
    assert "# TYPE sluice_events_lost_total counter\nsluice_events_lost_total 0\n" in prometheus
    families = re.findall(r"^# TYPE (\S+)", prometheus, re.M)
    assert len(families) == len(set(families))
    assert {c["name"] for c in host.ctl("stats", "-o", "json").json["counters"]} >= {"sluice_events_lost_total"}


YAML = """
networks:
  - name: servers
    prefixes: [172.16.1.0/24]
decryption_rules:
  - name: skip servers
    action: do-not-decrypt
    match: {destinations: [servers]}
  - name: all
    action: decrypt
"""


def test_ctl_config(host, tmp_path):
    assert "No differences." in host.ctl("config", "diff").out
    file = tmp_path / "policy.yaml"
    file.write_text(YAML)
    assert "config commit" in host.ctl("config", "import", file).out
    assert "+" in host.ctl("config", "diff").out
    assert "skip servers" in host.ctl("config", "diff", "1", "candidate", "-o", "json").json["text"]
    assert "can be committed" in host.ctl("config", "validate").out
    assert "version 2" in host.ctl("config", "commit", "-m", "by test").out
    assert "nothing to commit" in host.ctl("config", "commit", status=1).err
    history = host.ctl("config", "history").out.splitlines()
    assert history[0].split() == ["VERSION", "TIME", "AUTHOR", "COMMENT"] and history[1].split()[0] == "2"
    assert "by test" in history[1]
    assert host.ctl("config", "history", "--limit", "1", "-o", "json").json["versions"][0]["version"] == "2"
    shown = host.ctl("config", "show").out
    assert "skip servers" in shown and "do-not-decrypt" in shown
    as_json = host.ctl("config", "show", "-o", "json").json
    assert as_json["decryptionRules"][0]["action"] == "DO_NOT_DECRYPT"
    exported = tmp_path / "export.yaml"
    host.ctl("config", "export", exported)
    assert exported.read_text() == shown == host.ctl("config", "export").out
    # the exported forms can be imported again; standard input; JSON
    assert "Imported" in host.ctl("config", "import", "-", text=shown).out
    assert "No differences." in host.ctl("config", "diff").out
    host.ctl("config", "import", "-", text=json.dumps(as_json))
    assert "No differences." in host.ctl("config", "diff").out
    host.ctl("config", "import", "-", text="{}")
    assert "decryption_rules" not in host.ctl("config", "show", "--candidate").out
    assert "pending" not in host.ctl("config", "discard").out
    assert "No differences." in host.ctl("config", "diff").out
    assert "effective again, as version 3" in host.ctl("config", "rollback", 1).out
    assert "skip servers" in host.ctl("config", "show", "--version", 2).out
    assert "no version 77" in host.ctl("config", "show", "--version", 77, status=1).err
    assert host.ctl("config", "rollback", 2, "-o", "json").json["version"] == "4"


def test_ctl_wrong_files(host, tmp_path):
    for text, part in (("decryption_rules: [", "line"), ("nonsense: 1\n", "nonsense"), ('{"decryptionRules": 1}',
                                                                                        "decryptionRules"),
                       ("decryption_rules:\n  - name: a\n    action: nonsense\n", "action")):
        assert part in host.ctl("config", "import", "-", text=text, status=1).err
    assert "No such file" in host.ctl("config", "import", tmp_path / "missing", status=1).err
    assert "No such file" in host.ctl("config", "export", tmp_path / "no" / "folder", status=1).err
    host.ctl("config", "import", "-", text="decryption_rules:\n  - {name: a, action: decrypt, match: {hosts: [missing-object]}}\n")
    bad = subprocess.run([SLUICECTL, "--socket", host.path, "config", "validate"], capture_output=True, text=True)
    assert bad.returncode == 1 and "can't be committed" in bad.stdout and "decryption_rules[0]" in bad.stdout
    assert "nothing was committed" in host.ctl("config", "commit", status=1).err


def editor(tmp_path, *scripts):
    """An editor that runs one shell command after the other on the file ("$1"), a command a time it is opened."""
    path, count = tmp_path / "editor", tmp_path / "editor-count"
    count.write_text("0")
    cases = "\n".join(f"{i}) {script} ;;" for i, script in enumerate(scripts))
    path.write_text(f'#!/bin/sh\nn=$(cat {count})\necho $((n + 1)) > {count}\ncp "$1" {tmp_path}/seen-$n\n'
                    f'case $n in\n{cases}\nesac\n')
    path.chmod(0o755)
    return {"EDITOR": str(path), "TMPDIR": str(tmp_path / "edit")}


def test_ctl_edit(host, tmp_path):
    (tmp_path / "edit").mkdir()
    good = "printf 'decryption_rules:\\n  - {name: all, action: decrypt}\\n' > \"$1\""
    wrong = "printf 'decryption_rules:\\n  - {name: all, action: nonsense}\\n' > \"$1\""
    invalid = "printf 'decryption_rules:\\n  - {name: all, action: decrypt, match: {hosts: [missing-object]}}\\n' > \"$1\""
    assert "Nothing was changed" in host.ctl("config", "edit", environment=editor(tmp_path, "true")).out
    done = host.ctl("config", "edit", "--commit", "-m", "edited", environment=editor(tmp_path, wrong, invalid, good))
    assert "version 2" in done.out
    assert (tmp_path / "seen-1").read_text().startswith("#! ") and "nonsense" in (tmp_path / "seen-1").read_text().splitlines()[0]
    assert (tmp_path / "seen-2").read_text().startswith("#! error: decryption_rules[0]")
    assert host.ctl("config", "history", "-o", "json").json["versions"][0]["comment"] == "edited"
    assert not list((tmp_path / "edit").iterdir())
    kept = host.ctl("config", "edit", environment=editor(tmp_path, wrong, "true"), status=1)
    files = list((tmp_path / "edit").iterdir())
    assert "kept in" in kept.err and len(files) == 1 and str(files[0]) in kept.err and "nonsense" in files[0].read_text()
    files[0].unlink()
    assert "failed: nothing was changed" in host.ctl("config", "edit", environment=editor(tmp_path, "exit 1"), status=1).err
    # somebody else changes the candidate while the editor is open
    other = f"{SLUICECTL} --socket {host.path} rule add block other >/dev/null; {good} ; echo '# x' >> \"$1\"; " \
            "printf 'access_rules:\\n  - {name: d, action: deny}\\n' >> \"$1\""
    raced = host.ctl("config", "edit", environment=editor(tmp_path, other), status=1)
    assert "somebody else" in raced.err and "kept in" in raced.err
    assert "other" in host.ctl("rule", "list").out


def names(host, *arguments):
    return [r["name"] for r in host.ctl("rule", "list", *arguments, "-o", "json").json.get("decryptionRules", [])]


def test_ctl_rules_and_objects(host):
    assert "No rules" in host.ctl("rule", "list").out and "No objects" in host.ctl("object", "list").out
    host.ctl("object", "add", "network", "lab", "10.1.0.0/16", "192.0.2.7")
    host.ctl("object", "add", "network", "all servers", "172.16.1.1", "@lab")
    host.ctl("object", "add", "network", "lab", "2001:db8::/32")
    host.ctl("object", "add", "service", "web", "443", "8000-8099")
    host.ctl("object", "add", "host", "banks", "*.bank.example")
    listed = host.ctl("object", "list")
    assert "differs from the running" in listed.err and "differs" not in host.ctl("object", "list", "--running").err
    objects = listed.out
    assert "10.1.0.0/16 192.0.2.7 2001:db8::/32" in objects and "172.16.1.1 @lab" in objects and "8000-8099" in objects
    assert host.ctl("object", "list", "-o", "json").json["hosts"][0]["patterns"] == ["*.bank.example"]
    host.ctl("rule", "add", "decrypt", "all", "--service", "web")
    host.ctl("rule", "add", "do-not-decrypt", "lab", "--dst", "lab", "--dst", "203.0.113.1", "--top", "--for", "2h", "--comment",
             "why not")
    host.ctl("rule", "add", "block", "third", "--host", "banks", "--after", "lab", "--disabled")
    host.ctl("rule", "add", "deny", "deny lab", "--src", "lab")
    assert names(host) == ["lab", "third", "all"]
    table = host.ctl("rule", "list")
    assert re.search(r"^access +1 +deny lab +deny +lab +any +any +any +on +-$", table.out, re.M)
    assert re.search(r"^decryption +1 +lab +do-not-decrypt +any +lab,203.0.113.1 +any +any +until .* why not$", table.out, re.M)
    assert re.search(r"^decryption +2 +third +block .* off ", table.out, re.M)
    assert "differs from the running" in table.err
    assert names(host, "--running") == []
    assert "is a rule 'lab' already" in host.ctl("rule", "add", "decrypt", "lab", status=1).err
    assert "no rule 'nonsense'" in host.ctl("rule", "add", "decrypt", "x", "--before", "nonsense", status=1).err
    assert "exclude each other" in host.ctl("rule", "add", "decrypt", "x", "--before", "all", "--top", status=2).err
    host.ctl("rule", "move", "all", "--top")
    assert names(host) == ["all", "lab", "third"]
    host.ctl("rule", "move", "all", "--after", "third")
    host.ctl("rule", "move", "lab")
    assert names(host) == ["third", "all", "lab"]
    host.ctl("rule", "move", "lab", "--before", "all")
    assert names(host) == ["third", "lab", "all"]
    host.ctl("rule", "enable", "third")
    host.ctl("rule", "disable", "lab", "all")
    assert re.search(r"^decryption +1 +third .* on ", host.ctl("rule", "list").out, re.M)
    assert "no rule 'nonsense'" in host.ctl("rule", "remove", "all", "nonsense", status=1).err
    assert names(host) == ["third", "lab", "all"]
    assert "there is no network object 'nonsense'" in host.ctl("object", "remove", "network", "nonsense", status=1).err
    assert "not committed" in host.ctl("rule", "remove", "third", "--commit", status=1).err
    host.ctl("config", "commit")
    assert "version 3" in host.ctl("rule", "remove", "third", "deny lab", "--commit", "-m", "tidy").out
    assert names(host, "--running") == ["lab", "all"]
    host.ctl("object", "remove", "host", "banks", "--commit")
    assert "lab" in host.ctl("object", "remove", "network", "lab", "--commit", status=1).err  # rules refer to it


def test_ctl_settings(host):
    table = host.ctl("setting", "list").out
    assert re.search(r"^crypto-profile +modern \(default\)$", table, re.M)
    assert re.search(r"^idle-timeout-ms +3600000 \(default\)$", table, re.M)
    host.ctl("setting", "set", "crypto-profile", "compatible")
    host.ctl("setting", "set", "on_untrusted_certificate", "present-untrusted")
    host.ctl("setting", "set", "idle-timeout-ms", "60000", "--commit", status=1)
    host.ctl("setting", "set", "idle-timeout-ms", "60000")
    assert re.search(r"^on-untrusted-certificate +present-untrusted$", host.ctl("setting", "list").out, re.M)
    assert "default" in host.ctl("setting", "list", "--running").out
    host.ctl("config", "commit")
    assert host.ctl("setting", "list", "--running", "-o", "json").json["idleTimeoutMs"] == 60000
    assert "not one of default, modern, compatible" in host.ctl("setting", "set", "crypto-profile", "weak", status=1).err
    assert "no setting 'nonsense'" in host.ctl("setting", "set", "nonsense", "1", status=1).err


def test_ctl_ca_and_certificates(host, tmp_path):
    assert "sluicectl ca init" in host.ctl("ca", "show", status=1).err
    made = host.ctl("ca", "init", "--name", "Test CA", "--days", "30")
    assert "/CN=Test CA" in made.out and "ca export" in made.out
    assert "--replace" in host.ctl("ca", "init", status=1).err
    info = host.ctl("ca", "show", "-o", "json").json
    assert info["sha256"] in host.ctl("ca", "show").out
    exported = tmp_path / "ca.pem"
    assert info["sha256"] in host.ctl("ca", "export", "-f", exported).out
    assert exported.read_text() == host.ctl("ca", "export").out == info["certificatePem"]
    host.ctl("ca", "init", "--replace", "-o", "json")
    assert host.ctl("ca", "export").out != exported.read_text()

    leaf, _ = certificate("Pinned Server")
    root, _ = certificate("Root", ca=True)
    (tmp_path / "leaf.pem").write_bytes(pem(leaf))
    (tmp_path / "root.der").write_bytes(der(root))
    assert "No certificates" in host.ctl("cert", "list").out
    done = host.ctl("cert", "import", tmp_path / "leaf.pem", "--host", "172.16.1.1", "--host", "pay.example", "--port", 443,
                    "--port", 8443,
                    "--commit")
    assert sha256(leaf) in done.out and "version 2" in done.out
    host.ctl("cert", "import", "-", "--anchor", "--name", "company", "--comment", "ours", text=pem(root).decode())
    assert "already" in host.ctl("cert", "import", tmp_path / "root.der", "--anchor", "--name", "company", status=1).err
    host.ctl("cert", "import", tmp_path / "root.der", "--anchor", "--name", "company", "--replace")
    table = host.ctl("certs", "list").out
    assert re.search(r"^Pinned-Server +pin +172.16.1.1 pay.example port 443,8443 +its own end +" + sha256(leaf), table, re.M)
    assert re.search(r"^company +anchor +every server", table, re.M)
    assert len(host.ctl("cert", "list", "--running", "-o", "json").json["trustedCertificates"]) == 1
    host.ctl("cert", "remove", "company")
    host.ctl("cert", "remove", sha256(leaf), "--commit")
    assert "No certificates" in host.ctl("cert", "list", "--running").out
    assert "no certificate 'company'" in host.ctl("cert", "remove", "company", status=1).err


def test_ctl_events(host, tmp_path):
    cert, event = refuse(host, tmp_path)
    host.do("plain", 60, 1)
    listed = host.ctl("events", "list")
    assert len(listed.out.splitlines()) == 51 and "--before" in listed.err
    only = host.ctl("event", "list", "--cause", "srv-cert", "--since", "1h", "--client", "192.0.2.7", "--host",
                    "pay.example").out.splitlines()
    assert len(only) == 2 and str(event.id) in only[1] and "pay.example" in only[1]
    assert "No events." in host.ctl("event", "list", "--until", "1h").out
    found = host.ctl("event", "list", "--type", "tls-abort", "--cause", "SRV_CERT_SELF_SIGNED", "-o", "json").json["events"]
    assert [e["id"] for e in found] == [str(event.id)] and found[0]["cause"] == "SRV_CERT_SELF_SIGNED"
    page = host.ctl("event", "show", event.id).out
    assert "pay.example" in page and "SRV_CERT_SELF_SIGNED" in page and "pin-certificate" in page
    assert host.ctl("event", "show", event.flow_id).out == page
    assert host.ctl("event", "show", event.id, "-o", "json").json["flowId"] == event.flow_id
    assert "no event 999999" in host.ctl("event", "show", 999999, status=1).err
    assert host.ctl("event", "list", "--client", "nonsense", status=1).err


def test_ctl_watch(host, tmp_path):
    env = {**os.environ, "TZ": "UTC"}
    host.do("plain", 5, 1)
    newest = host.stub.ListEvents(pb.ListEventsRequest(limit=1)).events[0].id
    lines = host.ctl("event", "watch", "--after", newest - 3, "-n", 3).out.splitlines()
    assert [int(line.split()[0]) for line in lines] == [newest - 2, newest - 1, newest]
    watch = subprocess.Popen([SLUICECTL, "--socket", host.path, "event", "watch", "-o", "json", "--type", "tls-abort", "--after",
                              "1", "-n", "1"],
                             stdout=subprocess.PIPE, text=True, env=env)
    _, event = refuse(host, tmp_path)
    out, _ = watch.communicate(timeout=60)
    assert watch.returncode == 0 and json.loads(out)["id"] == str(event.id) and out.count("\n") == 1
    # the daemon goes away
    watch = subprocess.Popen([SLUICECTL, "--socket", host.path, "event", "watch", "--after", "1"], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE,
                             text=True, env=env)
    watch.stdout.readline()
    host.close()
    _, err = watch.communicate(timeout=60)
    assert watch.returncode == 1 and err.startswith("sluicectl: ")


def test_ctl_fix(host, tmp_path):
    cert, event = refuse(host, tmp_path)
    listed = host.ctl("event", "fix", event.id).out
    assert "pin-certificate" in listed and "bypass-server" in listed
    assert "pin-certificate" in [r["id"] for r in host.ctl("event", "fix", event.id, "-o", "json").json["remedies"]]
    asked = host.ctl("event", "fix", event.id, "pin-certificate", text="yes\n", status=1)
    assert sha256(cert) in asked.out
    assert f"sluicectl event fix {event.id} pin-certificate --confirm {sha256(cert)[:16]}" in asked.err
    host.ctl("event", "fix", event.id, "pin-certificate", "--confirm", "0" * 16, status=1)
    assert host.ctl("config", "history", "-o", "json").json["versions"][0]["version"] == "1"
    assert "version 2" in host.ctl("event", "fix", event.id, "pin-certificate", "--confirm", sha256(cert)[:16], "-m",
                                   "compared").out
    assert "version 3" in host.ctl("event", "fix", event.id, "bypass-server", "--for", "10m").out
    assert "do-not-decrypt" in host.ctl("rule", "list", "--running").out
    host.ctl("event", "fix", event.id, "nonsense", status=1)


def on_terminal(host, answer, *arguments):
    """sluicectl with a terminal as its standard streams: (exit status, what it wrote)."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TZ"] = "UTC"
        os.execv(SLUICECTL, ["sluicectl", "--socket", str(host.path), *map(str, arguments)])
    if answer:
        os.write(terminal, answer.encode())
    out = b""
    try:
        while chunk := os.read(terminal, 4096):
            out += chunk
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), out.decode(errors="replace")


def test_ctl_fix_asks_on_a_terminal(host, tmp_path):
    cert, event = refuse(host, tmp_path)
    status, out = on_terminal(host, "no\n", "event", "fix", event.id, "pin-certificate")
    assert status == 1 and sha256(cert) in out and "nothing was changed" in out
    assert host.ctl("config", "history", "-o", "json").json["versions"][0]["version"] == "1"
    status, out = on_terminal(host, "yes\n", "event", "fix", event.id, "pin-certificate")
    assert status == 0 and "version 2" in out


def test_ctl_never_lets_a_peer_steer_the_terminal(host):
    """What a server or a client chose comes out escaped, in every form."""
    assert host.do("plain", 1, 1) == "ok"
    assert host.do("hostile") == "ok"
    event = host.stub.ListEvents(pb.ListEventsRequest(causes=[event_pb.SRV_EOF])).events[0]
    assert "\x1b" in event.dst.host
    allowed = {"\n"}
    for arguments in (["event", "list"], ["event", "list", "-o", "json"], ["event", "show", event.id], ["event", "show",
                                                                                                        event.id, "-o", "json"],
                      ["event", "watch", "--after", event.id - 1, "-n", 1], ["event", "watch", "--after", event.id - 1, "-n", 1,
                                                                             "-o", "json"],
                      ["event", "fix", event.id]):
        out = host.ctl(*arguments).out
        assert "evil" in out or "fix" in arguments
        bad = {c for c in out if (ord(c) < 32 or 127 <= ord(c) < 160 or c == "\u202e") and c not in allowed}
        assert not bad, (arguments, bad)
    assert host.ctl("event", "show", event.id, "-o", "json").json["dst"]["host"] == event.dst.host
    error = host.ctl("rule", "remove", "\x1b[31mx", status=1).err
    assert "\x1b" not in error and "\\x1b" in error


def test_ctl_output_that_cannot_be_written(host):
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([SLUICECTL, "--socket", host.path, "status"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and "can't be written" in done.stderr


def test_ctl_completion(tmp_path):
    script = tmp_path / "completion"
    script.write_text(ctl("completion", "bash").out)
    subprocess.run(["bash", "-n", script], check=True)


def test_big_configuration(host):
    rules = [rule(f"rule {i}", hosts=[f"h{i}.example"]) for i in range(3000)]
    revision = host.stub.SetCandidate(pb.SetCandidateRequest(config=config_pb.Config(decryption_rules=rules))).revision
    assert host.stub.Commit(pb.CommitRequest(revision=revision)).version == 2
    assert len(host.ctl("rule", "list", "-o", "json").json["decryptionRules"]) == 3000
    assert len(host.ctl("rule", "list").out.splitlines()) == 3001
    assert host.ctl("config", "show").out.count("rule ") >= 3000
