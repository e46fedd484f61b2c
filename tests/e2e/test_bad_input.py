# SPDX-License-Identifier: Apache-2.0
"""What nobody should send, and what should never happen to a disk: a clear error or event, nothing lost, no crash."""
import os
import random
import signal
import socket
import sqlite3
import struct
import subprocess
import threading

import pytest
from lab import netns
from lab.clients import read_all, tls_connect
from lab.netns import LabError
from lab.servers import SERVERS
from lab.sluice import DECRYPT_ALL, enum_name, sanitized
from lab.topology import INSIDE, PROXY_PORT
from test_proxy import client_hello

SEED = 20140205
ROUNDS = 150 if sanitized() else 400


def send(lab, data, address=None, port=443, end="close"):
    """One connection that says this; end: close, reset or wait. Returns what came back."""
    answer = b""
    try:
        with lab.client.connect(address or SERVERS["good"].ipv4, port) as sock:
            sock.sendall(data)
            if end == "wait":
                answer, _ = read_all(sock)
            elif end == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    return answer


def works(sluice, curl):
    assert sluice.process.poll() is None, sluice.log()[-3000:]
    assert curl.server("good").ok


def test_random_bytes(lab, sluice, curl):
    rng = random.Random(SEED)
    for _ in range(ROUNDS):
        send(lab, rng.randbytes(rng.choice((1, 2, 5, 6, 100, 517, 3000))), end=rng.choice(("close", "reset")))
    works(sluice, curl)


def test_hello_with_random_faults(lab, sluice, curl):
    """A good ClientHello with some bytes changed, some left out, some added."""
    rng = random.Random(SEED + 1)
    hello = client_hello("good.lab.test")
    for _ in range(ROUNDS):
        data = bytearray(hello)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(data))
            how = rng.randrange(3)
            if how == 0:
                data[at] = rng.randrange(256)
            elif how == 1:
                del data[at:at + rng.randint(1, 20)]
            else:
                data[at:at] = rng.randbytes(rng.randint(1, 20))
        send(lab, bytes(data), end=rng.choice(("close", "reset")))
    works(sluice, curl)


def test_hello_cut_at_every_byte(lab, sluice, curl):
    hello = client_hello("good.lab.test")
    before = sluice.newest_event()
    for at in range(0, len(hello), 7):
        send(lab, hello[:at], end="close" if at % 2 else "reset")
    sluice.quiet()
    works(sluice, curl)
    events = sluice.events(before)
    causes = {enum_name(event, "cause") for event in events}
    assert causes <= {"CLI_EOF", "CLI_RESET", "CAUSE_NONE", "SRV_EOF", "SRV_RESET"}, causes


def record(body, kind=22, version=0x0301):
    return struct.pack(">BHH", kind, version, len(body)) + body


@pytest.mark.parametrize("name, data, alert", [
    ("empty hello", record(b"\x01\x00\x00\x00"), 50),
    ("hello of 16 MB announced", record(b"\x01\xff\xff\xff" + bytes(1000)), None),
    ("record too long", b"\x16\x03\x01\xff\xff" + bytes(70000), None),
    ("empty records", record(b"") * 500, None),
    ("tiny records", b"".join(record(b"\x01") for _ in range(2000)), None),
    ("hello of 70 kB", b"".join(record((b"\x01\x01\x11\x70" if i == 0 else b"") + bytes(16000)) for i in range(5)), None),
    ("another handshake message", record(b"\x02\x00\x00\x04\x03\x03\x00\x00"), None),
    ("an alert", record(b"\x02\x28", 21), None),
    ("application data", record(b"hello", 23), None),
    ("SSL 2", b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(37), None),
    ("SSL 3", record(b"\x01\x00\x00\x29\x03\x00" + bytes(32) + b"\x00\x00\x02\x00\x05\x01\x00", version=0x0300), 70),
], ids=lambda value: value if isinstance(value, str) else "")
def test_hello_that_is_none(lab, sluice, curl, name, data, alert):
    before = sluice.newest_event()
    answer = send(lab, data, end="wait" if alert else "close")
    if alert:
        assert answer == bytes((21, 3, 3, 0, 2, 2, alert)), name
    event = sluice.wait_event(before)
    assert enum_name(event, "type") in ("TLS_ABORT", "NON_TLS", "CONNECTION_FAILED"), name
    works(sluice, curl)


def test_connect_with_random_bytes(lab, sluice, curl):
    rng = random.Random(SEED + 2)
    good = b"CONNECT good.lab.test:443 HTTP/1.1\r\nHost: good.lab.test\r\n\r\n"
    for _ in range(ROUNDS // 2):
        data = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        send(lab, bytes(data), INSIDE[0], PROXY_PORT, rng.choice(("close", "reset")))
    works(sluice, curl)


def test_resets_at_every_stage(lab, sluice, curl):
    """The client resets after so many bytes of what the gateway said."""
    hello = client_hello("good.lab.test")
    files = sluice.settle()
    for count in (0, 1, 5, 100, 500, 700, 1000, 2000):
        for _ in range(5):
            try:
                with lab.client.connect(SERVERS["good"].ipv4, 443, timeout=1) as sock:
                    sock.sendall(hello)
                    sock.settimeout(0.3)
                    while count > 0:
                        count -= len(sock.recv(min(count, 65536)))
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except OSError:
                pass
    works(sluice, curl)
    assert sluice.settle() <= files + 2


def test_garbage_after_the_handshake(lab, sluice, curl):
    """Records that no key has made: an alert, an event, the end."""
    for server in ("tls12", "tls13", "chacha13"):
        tls = tls_connect(lab, server, sluice.ca_file())
        raw = socket.socket(fileno=os.dup(tls.fileno()))
        before = sluice.newest_event()
        raw.settimeout(60)
        raw.sendall(record(os.urandom(100), 23, 0x0303))
        read_all(raw)
        raw.close()
        tls.close()
        event = sluice.wait_event(before, server=SERVERS[server].ipv4)
        assert enum_name(event, "cause") in ("REC_BAD_MAC", "REC_PROTOCOL")
    works(sluice, curl)


# ---- files

@pytest.mark.parametrize("change, word", [
    ({"listeners": []}, "listener"), ({"listeners": [{"kind": "magic", "address": "::", "port": 1}]}, "kind: transparent"),
    ({"listeners": [{"kind": "transparent", "address": "not an address", "port": 9443}]}, "address"),
    ({"workers": -1}, "whole number"), ({"nonsense": True}, "nonsense"),
    ({"trust": {"bundle": "/nonexistent/bundle.pem"}}, "/nonexistent/bundle.pem"),
    ({"trust": {"bundle": "/etc/hostname"}}, "/etc/hostname"), ({"tls_log": "/nonexistent/x.log"}, "/nonexistent"),
    ({"state_dir": "/proc/nowhere"}, "/proc/nowhere"), ({"management": {"unix": "/nonexistent/s.sock"}}, "/nonexistent"),
    ({"ca": {"passphrase_file": "/nonexistent/p"}}, "/nonexistent/p"), ({"log": {"level": "loud"}}, "is expected here"),
])
def test_wrong_settings(own_sluice, change, word):
    """The start fails with a message that names what is wrong."""
    one = own_sluice(**change)
    if "ca" in change:  # the file matters once there is a CA to open
        with pytest.raises((LabError, Exception)):
            one.start()
            one.call("InitCa")
        return
    one.launch()
    assert one.process.wait(120) == 1
    assert word in one.log(), one.log()


@pytest.mark.parametrize("text", ["", "listeners: [", "a: b: c", "\x00\x01\x02", "- 1\n- 2\n", "workers: [1, 2]\n",
                                  "listeners: &a [*a]\n"])
def test_settings_that_are_no_yaml(own_sluice, text):
    one = own_sluice()
    one.config_path.write_text(text)
    done = one.lab.gateway.run(one.program, "--config", one.config_path, check=False)
    assert done.returncode == 1 and str(one.config_path) in done.stderr, done.stderr


def test_port_taken(own_sluice, own_lab):
    """Without SO_REUSEPORT on the other side the message says which address is taken."""
    listener = own_lab.gateway.listen(INSIDE[0], PROXY_PORT)
    try:
        one = own_sluice()
        one.launch()
        assert one.process.wait(120) == 1
        assert str(PROXY_PORT) in one.log()
    finally:
        listener.close()


def damage(path):
    data = bytearray(path.read_bytes())
    for at in range(0, len(data), 97):
        data[at] ^= 0x5a
    path.write_bytes(data)
    for extra in ("-wal", "-shm"):
        path.with_name(path.name + extra).unlink(missing_ok=True)


def test_damaged_policy(own_sluice):
    """Policy is never silently empty: the start fails and names the file."""
    one = own_sluice().start()
    one.commit(DECRYPT_ALL)
    assert one.stop() == 0
    damage(one.folder / "state" / "policy.db")
    one.launch()
    assert one.process.wait(120) == 1
    assert "policy.db" in one.log()


def test_damaged_events(own_sluice, own_curl):
    """Events are worth less than service: moved aside, said so, and on it goes."""
    one = own_sluice().start()
    one.commit(DECRYPT_ALL)
    curl = own_curl(one)
    assert curl.server("good").ok
    assert one.stop() == 0
    damage(one.folder / "state" / "events.db")
    one.start()
    assert curl.server("good").ok
    assert one.wait_events(1, 0, types=["TLS_DECRYPTED"])
    assert one.events(0, types=["SYSTEM"])
    assert len(list((one.folder / "state").glob("events*"))) > 1


@pytest.mark.parametrize("name", ["policy.db", "events.db"])
def test_no_database_at_all(own_sluice, name):
    """Something else lies where the database should."""
    one = own_sluice()
    (one.folder / "state").mkdir(exist_ok=True)
    (one.folder / "state" / name).write_bytes(b"this is not a database\n" * 100)
    one.launch()
    if name == "policy.db":
        assert one.process.wait(120) == 1 and name in one.log()
    else:
        netns.wait_for(one.socket.exists, "the socket")


def test_full_disk(own_sluice, own_lab, own_curl):
    """No room for events and log lines: connections go on, the loss is counted, and it ends when there is room again."""
    one = own_sluice()
    state = one.folder / "state"
    state.mkdir(exist_ok=True)
    netns.run("mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", state)
    try:
        one.settings["tls_log"] = str(state / "tls_proxy.log")
        one.start()
        one.commit(DECRYPT_ALL)
        curl = own_curl(one)
        assert curl.server("good").ok and not curl.server("expired").ok
        filler = state / "filler"
        with open(filler, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        lost, before = one.call("GetStatus").events_lost, one.newest_event()
        for _ in range(60):
            assert curl.server("good").ok and not curl.server("expired").ok
            if one.call("GetStatus").warnings:
                break
        status = one.call("GetStatus")
        assert any("disk" in warning for warning in status.warnings), status
        try:
            one.commit({"settings": {"default_decryption": "BLOCK"}})
        except Exception as error:  # pylint: disable=broad-except
            assert "disk" in str(error).lower() or "full" in str(error).lower() or "space" in str(error).lower(), error
            assert curl.server("good").ok  # what could not be written is not in force
        filler.unlink()
        one.commit(DECRYPT_ALL)
        assert curl.server("good").ok
        netns.wait_for(lambda: not one.call("GetStatus").warnings, "the warning to go")
        # What could not be written waited, or was counted: nothing is lost silently.
        kept = one.wait_events(2, before, types=["TLS_DECRYPTED"])
        assert len(kept) > 2 or one.call("GetStatus").events_lost > lost
        assert one.stop() == 0
    finally:
        one.stop()
        netns.run("umount", state)


def test_policy_database_is_whole_after_a_kill(own_sluice):
    """Killed in the middle of commits: the database is sound and has the last commit that was answered."""
    one = own_sluice().start()
    answered = []

    def commit():
        try:
            for i in range(1000):
                answered.append(one.commit({**DECRYPT_ALL, "networks": [{"name": f"n{i}", "prefixes": ["10.0.0.0/8"]}]}))
        except Exception:  # pylint: disable=broad-except
            pass

    thread = threading.Thread(target=commit)
    thread.start()
    netns.wait_for(lambda: len(answered) > 10, "commits")
    os.kill(one.process.pid, signal.SIGKILL)
    thread.join()
    one.stop(signal.SIGKILL)
    one.start()
    assert one.call("GetStatus").config_version >= answered[-1] > 1
    assert one.stop() == 0
    with sqlite3.connect(one.folder / "state" / "policy.db") as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)


def test_bad_arguments(own_sluice):
    for words in (["--config"], ["--config", "/nonexistent.yaml"], ["--nonsense"]):
        done = subprocess.run([own_sluice().program, *words], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode in (1, 2) and done.stderr.strip()
