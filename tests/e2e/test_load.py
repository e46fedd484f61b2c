# SPDX-License-Identifier: Apache-2.0
"""Many connections: at once, one after another, while the policy changes, while the gateway ends. Nothing is lost, nothing leaks.

With sanitizers the numbers are divided by SCALE; the output says so.
"""
import json
import signal
import subprocess
import threading
import time

import pytest
from lab import netns
from lab.clients import read_all, tls_connect
from lab.servers import SERVERS
from lab.sluice import DECRYPT_ALL, enum_name, sanitized
from lab.topology import MORE_CLIENTS

MB = 1 << 20
SCALE = 10 if sanitized() else 1
SOURCES = ",".join(MORE_CLIENTS)
TARGETS = ",".join(SERVERS[name].ipv4 for name in ("good", "tls12", "tls13", "aes128-13"))


class Load:
    """The load client, running."""

    def __init__(self, program, lab, ca, mode, *numbers, path="/empty", targets=TARGETS):
        command = lab.client.command(program, mode, *numbers, ca, "any.lab.test", path, SOURCES, targets)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env=netns.ENV)

    def phase(self):
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        return json.loads(line)

    def again(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.phase()

    def end(self):
        self.process.stdin.close()
        rest = self.process.stdout.read()
        self.process.wait(300)
        self.process.stdout.close()
        self.process.stderr.close()
        return rest


@pytest.fixture(name="load")
def load_client(lab, sluice, load_program):
    running = []

    def start(*words, **more):
        running.append(Load(load_program, lab, sluice.ca_file(), *words, **more))
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def test_at_once(sluice, load):
    """2,000 connections open at the same time, each of which works, twice."""
    count = 2000 // SCALE
    print(f"{count} connections at once (scale 1/{SCALE})")
    sluice.settle()
    before, files = sluice.newest_event(), sluice.descriptors()
    client = load("hold", count)
    first = client.phase()
    assert (first["ok"], first["failed"]) == (count, 0), first
    assert sluice.active() == count
    assert sluice.descriptors() >= files + 2 * count
    second = client.again()
    assert (second["ok"], second["failed"]) == (count, 0), second
    client.end()
    assert sluice.settle() <= files + 2
    events = sluice.wait_events(count, before, types=["TLS_DECRYPTED"])
    assert len(events) == count and all(enum_name(event, "cause") == "CAUSE_NONE" for event in events)


def test_one_after_another(sluice, load):
    """50,000 short connections: every one is answered, no descriptor stays open, memory does not grow, no event is lost."""
    count = 50_000 // SCALE
    print(f"{count} short connections (scale 1/{SCALE})")
    warm = load("short", count // 10, 100).phase()  # caches and pools have their size after these
    assert warm["failed"] == 0, warm
    files, memory = sluice.settle(), sluice.memory()
    lost = sluice.call("GetStatus").events_lost
    total = sluice.call("GetStatus").connections_total
    result = load("short", count - count // 10, 100).phase()
    assert (result["ok"], result["failed"]) == (count - count // 10, 0), result
    print(f"{result['ok'] / result['seconds']:.0f} connections a second, {result['resumed']} resumed")
    assert result["resumed"] > result["ok"] // 4
    assert sluice.settle() <= files + 2
    assert sluice.memory() - memory < (400 if sanitized() else 12) * MB, f"{(sluice.memory() - memory) >> 10} KiB more"
    status = sluice.call("GetStatus")
    assert status.events_lost == lost
    assert status.connections_total - total == count - count // 10


def test_commits_under_load(lab, sluice, load):
    """Policy changes all the time; connections, old and new, don't notice."""
    count = 4000 // SCALE
    stop = threading.Event()
    versions = []

    def commit():
        while not stop.is_set():
            rules = [{"name": f"rule-{len(versions)}", "match": {"sources": ["192.0.2.1"]}, "action": "BLOCK"}]
            versions.append(sluice.commit({**DECRYPT_ALL, "decryption_rules": rules}))
            time.sleep(0.05)

    with tls_connect(lab, "tls13", sluice.ca_file(), alpn=["http/1.1"]) as old:
        thread = threading.Thread(target=commit)
        thread.start()
        try:
            while len(versions) <= 5 and thread.is_alive():  # a quick gateway has done one round before the disk has five commits
                result = load("short", count, 50).phase()
                assert (result["ok"], result["failed"]) == (count, 0), result
        finally:
            stop.set()
            thread.join()
        assert len(versions) > 5
        old.sendall(b"GET /who HTTP/1.1\r\nHost: tls13.lab.test\r\nConnection: close\r\n\r\n")
        assert b"200 OK" in read_all(old)[0]


def test_drain(own_lab, own_sluice, load_program):
    """SIGTERM: no new connections; those that are there go on to their end; then the gateway goes, with code 0."""
    one = own_sluice(drain_ms=300_000).start()
    ca = one.ca_file()
    one.commit()
    client = Load(load_program, own_lab, ca, "hold", "40")
    assert client.phase()["failed"] == 0
    one.process.send_signal(signal.SIGTERM)
    netns.wait_for(lambda: not one.listening(), "the listeners to be closed")
    assert one.process.poll() is None
    assert client.again()["ok"] == 40
    with pytest.raises(OSError):  # nobody listens any more; the router is told to refuse then
        own_lab.divert(fail="closed")
        own_lab.client.connect(SERVERS["good"].ipv4, 443)
    own_lab.divert()
    client.end()
    assert one.process.wait(120) == 0  # the last one has gone: no need to wait for the deadline


def test_drain_deadline(own_lab, own_sluice, load_program):
    """Those that do not end are ended, with an event each."""
    one = own_sluice(drain_ms=1000).start()
    ca = one.ca_file()
    one.commit()
    client = Load(load_program, own_lab, ca, "hold", "20")
    assert client.phase()["failed"] == 0
    before = one.newest_event()
    began = time.monotonic()
    assert one.stop() == 0
    assert 0.8 < time.monotonic() - began < 60
    client.end()
    one.start()
    events = one.events(before, causes=["SHUTDOWN"])
    assert len(events) == 20


def test_killed_and_back(own_lab, own_sluice, own_curl):
    """SIGKILL in the middle of work; the next start works at once, on the same ports."""
    one = own_sluice().start()
    one.commit()
    curl = own_curl(one)
    with tls_connect(own_lab, "tls13", one.ca_file()):
        one.stop(signal.SIGKILL)
        one.start()
        assert curl.server("good").ok
