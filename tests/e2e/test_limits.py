# SPDX-License-Identifier: Apache-2.0
"""Time, numbers and memory: timeouts, limits on connections, back-pressure (A11)."""
import os
import socket
import threading
import time

import pytest
from lab import netns
from lab.clients import read_all, tls_connect
from lab.servers import SERVERS
from lab.sluice import DECRYPT_ALL, enum_name, sanitized
from lab.topology import CLIENT, INSIDE, MORE_CLIENTS, PROXY_PORT
from test_proxy import client_hello

MB = 1 << 20
# Handshake timeouts: short, but enough for the stages that are to succeed on a slow machine; and the one that is not meant.
SHORT_MS, DEFAULT_MS = 2000, 15000


def with_settings(**settings):
    return {"settings": {**DECRYPT_ALL["settings"], **settings}}


def wait_cause(sluice, before, cause, **filters):
    """The event, whose cause must be this one."""
    event = sluice.wait_event(before, **filters)
    assert enum_name(event, "cause") == cause, event.txn.error
    return event


@pytest.mark.parametrize("said", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"])
def test_slow_hello(lab, sluice, said):
    """A client that does not finish its ClientHello; also one that does so a byte at a time."""
    sluice.commit(with_settings(handshake_timeout_ms=SHORT_MS))
    before = sluice.newest_event()
    began = time.monotonic()
    with lab.client.connect(SERVERS["good"].ipv4, 443) as sock:
        sock.sendall(said)
        data, _ = read_all(sock)
    assert data == b"" and time.monotonic() - began < DEFAULT_MS / 1000
    wait_cause(sluice, before, "TIMEOUT_CLIENT_HELLO", server=SERVERS["good"].ipv4)


def test_drip_hello(lab, sluice):
    """Each byte in time, the whole not."""
    sluice.commit(with_settings(handshake_timeout_ms=SHORT_MS))
    before = sluice.newest_event()
    with lab.client.connect(SERVERS["good"].ipv4, 443) as sock:
        try:
            for byte in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200):
                sock.sendall(bytes((byte,)))
                time.sleep(0.05)
        except OSError:
            pass
        else:
            pytest.fail("ten seconds for a ClientHello")
    wait_cause(sluice, before, "TIMEOUT_CLIENT_HELLO")


def test_slow_connect_request(lab, sluice):
    sluice.commit(with_settings(handshake_timeout_ms=SHORT_MS))
    with lab.client.connect(INSIDE[0], PROXY_PORT) as sock:
        sock.sendall(b"CONNECT good.lab")
        read_all(sock)


def test_slow_server(sluice, curl):
    sluice.commit(with_settings(handshake_timeout_ms=SHORT_MS))
    before = sluice.newest_event()
    answer = curl.server("silent")
    assert answer.code == 35 and "internal error" in answer.error
    wait_cause(sluice, before, "TIMEOUT_SERVER_HANDSHAKE")


def test_server_that_does_not_answer(lab, sluice, curl):
    """SYN into the void."""
    lab.gateway.run("ip", "neigh", "replace", "10.77.2.251", "lladdr", "02:00:00:00:00:01", "dev", "outside")
    sluice.commit(with_settings(handshake_timeout_ms=SHORT_MS))
    before = sluice.newest_event()
    assert curl.get("https://10.77.2.251/").code
    wait_cause(sluice, before, "TIMEOUT_CONNECT")


def test_server_that_is_not_there(sluice, curl):
    before = sluice.newest_event()
    assert curl.get(f"https://{SERVERS['good'].ipv4}:10001/").code
    event = wait_cause(sluice, before, "SRV_CONNECT_REFUSED")
    assert enum_name(event, "type") == "CONNECTION_FAILED"


def test_silent_client_in_handshake(lab, sluice):
    """It sends its ClientHello and no more."""
    sluice.commit(with_settings(handshake_timeout_ms=SHORT_MS))
    before = sluice.newest_event()
    with lab.client.connect(SERVERS["good"].ipv4, 443) as sock:
        sock.sendall(client_hello("good.lab.test"))
        read_all(sock)
    wait_cause(sluice, before, "TIMEOUT_CLIENT_HANDSHAKE", server=SERVERS["good"].ipv4)


@pytest.mark.parametrize("server", ["tls13", "chacha13", "plain-echo"])
def test_idle(lab, sluice, server):
    sluice.commit(with_settings(idle_timeout_ms=3000))
    before = sluice.newest_event()
    if server == "plain-echo":
        sock = lab.client.connect(SERVERS[server].ipv4, 443)
        sock.sendall(b"not TLS at all")
    else:
        sock = tls_connect(lab, server, sluice.ca_file())
    with sock:
        for _ in range(5):  # as long as there is something to say it lives
            time.sleep(0.8)
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert sock.recv(4096)
        began = time.monotonic()
        read_all(sock)
        assert 1.5 < time.monotonic() - began
    wait_cause(sluice, before, "TIMEOUT_IDLE", server=SERVERS[server].ipv4)


def hold(lab, count, source=None, server="plain-echo"):
    held = []
    for _ in range(count):
        sock = lab.client.connect(SERVERS[server].ipv4, 443, source=source)
        sock.sendall(b"not TLS")
        sock.recv(100)
        held.append(sock)
    return held


def test_limit_per_client(lab, sluice, curl):
    """One client has its fill; another isn't touched; IPv6 counts by /64."""
    sluice.commit(with_settings(max_connections_per_client=5))
    held = hold(lab, 5)
    before = sluice.newest_event()
    assert curl.server("good").code
    wait_cause(sluice, before, "RES_CLIENT_LIMIT", client=CLIENT[0])
    assert curl.server("good", "/", "--interface", MORE_CLIENTS[0]).ok
    assert curl.server("good", family="-6").ok
    held.pop().close()
    sluice.wait_event(before, types=["NON_TLS"])
    netns.wait_for(lambda: sluice.active() <= 4, "the connection to be counted out")
    assert curl.server("good").ok
    for sock in held:
        sock.close()


def test_limit_in_all(lab, sluice, curl):
    sluice.commit(with_settings(max_connections=6))
    held = hold(lab, 6)
    before = sluice.newest_event()
    assert curl.server("good", "/", "--interface", MORE_CLIENTS[1]).code
    wait_cause(sluice, before, "RES_OVERLOAD", client=MORE_CLIENTS[1])
    sluice.commit(with_settings(max_connections=6, on_overload="FAIL_BYPASS"))
    answer = curl.get("https://good.lab.test/", "-4", ca=lab.pki.path("root.pem"))
    assert answer.ok, answer.error  # undecrypted: it is the server's own certificate
    for sock in held:
        sock.close()


@pytest.mark.parametrize("server", ["tls13", "tls12", "chacha13"])
def test_slow_reader(lab, sluice, server):
    """A client that does not read: the server is held back, memory stays bounded, and nothing is lost."""
    lab.big_file(256 * MB)
    before = sluice.memory()
    bound = (300 if sanitized() else 8) * MB  # AddressSanitizer keeps up to 256 MB of freed memory
    sock = tls_connect(lab, server, sluice.ca_file())
    with sock:
        sock.sendall(f"GET /big HTTP/1.1\r\nHost: {SERVERS[server].host}\r\nConnection: close\r\n\r\n".encode())
        time.sleep(1.0)
        grown = sluice.memory() - before
        assert grown < bound, f"{grown} bytes more for one slow reader"
        size = 0
        while size < 40 * MB:
            size += len(sock.recv(1 << 16))
        assert sluice.memory() - before < bound


def test_many_slow_readers(lab, sluice):
    """Fifty at once: less than a megabyte each, whatever the server would send."""
    lab.big_file(256 * MB)
    before = sluice.memory()
    held = []
    for _ in range(50):
        sock = tls_connect(lab, "tls13", sluice.ca_file())
        sock.sendall(b"GET /big HTTP/1.1\r\nHost: tls13.lab.test\r\nConnection: close\r\n\r\n")
        held.append(sock)
    time.sleep(1.5)
    grown = sluice.memory() - before
    for sock in held:
        sock.close()
    assert grown < (350 if sanitized() else 40) * MB, f"{grown >> 20} MB for 50 slow readers"


def test_slow_server_side(lab, sluice):
    """An upload to a server that does not read: the client is held back."""
    listener = lab.server.listen("10.77.2.10", 10005)
    accepted = []
    threading.Thread(target=lambda: accepted.append(listener.accept()[0]), daemon=True).start()
    before = sluice.memory()
    with lab.client.connect("10.77.2.10", 10005) as sock:
        sock.sendall(b"not TLS")
        sock.settimeout(1.5)
        sent, block = 0, os.urandom(1 << 16)
        try:
            while sent < 200 * MB:
                sent += sock.send(block)
        except socket.timeout:
            pass
        assert sent < 100 * MB
        assert sluice.memory() - before < (300 if sanitized() else 8) * MB
        received = 0
        netns.wait_for(lambda: accepted, "the server's end of the connection")
        accepted[0].settimeout(60)
        while received < sent + 7:
            chunk = accepted[0].recv(1 << 20)
            assert chunk
            received += len(chunk)
    accepted[0].close()
    listener.close()
