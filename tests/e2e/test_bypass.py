# SPDX-License-Identifier: Apache-2.0
"""What is not decrypted passes byte for byte (P7, A1), and what is no TLS goes where policy says."""
import hashlib
import os
import socket
import threading

import pytest
from lab import netns
from lab.clients import Curl, leaf_of, read_all, tls_connect
from lab.servers import SERVERS
from lab.sluice import DECRYPT_ALL, enum_name
from lab.topology import CLIENT
from lab.wire import Wire

BYPASS_GOOD = {**DECRYPT_ALL, "decryption_rules": [
    {"name": "leave-it", "match": {"destinations": [SERVERS["good"].ipv4, SERVERS["good"].ipv6]}, "action": "DO_NOT_DECRYPT"}]}


@pytest.fixture(name="plain_curl")
def curl_with_the_labs_root(lab):
    return Curl(lab, lab.pki.path("root.pem"))


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_bytes_of_tls(lab, sluice, plain_curl, family):
    """Both cables carry the same bytes, in both directions, from the ClientHello on."""
    sluice.commit(BYPASS_GOOD)
    address = SERVERS["good"].ipv4 if family == "-4" else SERVERS["good"].ipv6
    before = sluice.newest_event()
    with Wire(lab.gateway, "inside") as inside, Wire(lab.gateway, "outside") as outside:
        answer = plain_curl.server("good", "/random", "-o", "/dev/null", family=family)
        event = sluice.wait_event(before, server=address)
        netns.wait_for(lambda: inside.ended(address) and outside.ended(address), "the ends of both connections")
    assert answer.ok and answer.size == 4 << 20, answer.error
    near, far = inside.between(address)[0], outside.between(address)[0]
    for direction in (0, 1):
        assert len(near[direction].data()) > 500
        assert hashlib.sha256(near[direction].data()).digest() == hashlib.sha256(far[direction].data()).digest()
    assert enum_name(event, "type") == "TLS_BYPASSED" and not event.tls.decrypted and event.tls.encrypted
    assert event.policy.decryption.name == "leave-it"
    assert event.tls.sni == SERVERS["good"].host
    assert (event.txn.bytes_sent, event.txn.bytes_received) == (len(far[0].data()), len(far[1].data()))


def test_original_certificate(lab, sluice):
    sluice.commit(BYPASS_GOOD)
    with tls_connect(lab, "good", lab.pki.path("root.pem")) as tls:
        assert leaf_of(tls)[1] == "Lab Issuing CA"
    sluice.commit()
    with tls_connect(lab, "good", sluice.ca_file()) as tls:
        assert "Sluice" in leaf_of(tls)[1]


@pytest.mark.parametrize("server", ["cipher-refused", "expired", "self-signed", "client-cert12", "alert", "tls11", "reset-hello",
                                    "cut-eof"])
def test_failures_are_the_servers_own(lab, sluice, server):
    """A bypassed connection fails exactly as it would without a gateway."""
    sluice.commit({"settings": {"default_decryption": "DO_NOT_DECRYPT"}})
    curl = Curl(lab, lab.pki.path("root.pem"))
    through = curl.server(server)
    lab.divert_no_more()
    try:
        direct = curl.server(server)
    finally:
        lab.divert()
    assert (through.code, through.verify) == (direct.code, direct.verify)
    assert through.error.split("errno")[0] == direct.error.split("errno")[0]


def test_a_name_must_be_proved(lab, sluice, plain_curl):
    """V13: a bypass by name holds for servers that prove the name, not for whoever is called so."""
    rule = {"name": "bank", "match": {"hosts": ["good.lab.test", "self-signed.lab.test"]}, "action": "DO_NOT_DECRYPT"}
    sluice.commit({**DECRYPT_ALL, "decryption_rules": [rule]})
    assert plain_curl.server("good").ok
    before = sluice.newest_event()
    # A server that can't prove it: no bypass, no connection.
    answer = plain_curl.server("self-signed", "/", "-k")
    assert not answer.ok
    event = sluice.wait_event(before, server=SERVERS["self-signed"].ipv4)
    assert enum_name(event, "cause") == "SRV_CERT_SELF_SIGNED"
    sluice.commit({"settings": {**DECRYPT_ALL["settings"], "trust_name_without_certificate": True}, "decryption_rules": [rule]})
    assert plain_curl.server("self-signed", "/", "-k").ok


def test_a_name_that_is_allowed_must_be_proved(sluice, plain_curl):
    """V13: nor is a connection allowed by name for whoever claims it, when nothing else would look at the certificate."""
    rule = {"name": "partners", "match": {"hosts": ["good.lab.test", "self-signed.lab.test"]}, "action": "ALLOW"}
    sluice.commit({"settings": {"default_access": "DENY"}, "access_rules": [rule]})
    assert plain_curl.server("good").ok
    before = sluice.newest_event()
    assert not plain_curl.server("self-signed", "/", "-k").ok
    assert enum_name(sluice.wait_event(before, server=SERVERS["self-signed"].ipv4), "cause") == "SRV_CERT_SELF_SIGNED"
    before = sluice.newest_event()
    assert not plain_curl.server("tls13", "/", "-k").ok
    assert enum_name(sluice.wait_event(before), "cause") == "POLICY_DENY"


PAYLOADS = [b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-client\r\n", b"EHLO x\r\n", b"\x00" * 50, b"\xff" * 2000,
            b"\x16\x09\x00\x00\x10 no TLS",
            b"\x80", os.urandom(3000)]


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda p: p[:8].hex())
def test_not_tls_is_forwarded(lab, sluice, payload):
    """Byte for byte, with the client's address; the event says what it was."""
    if payload[0] == 0x16 and payload[1] == 3:
        payload = b"\x17" + payload[1:]
    before = sluice.newest_event()
    with lab.client.connect(SERVERS["plain-echo"].ipv4, 443) as sock:
        sock.sendall(payload)
        sock.shutdown(socket.SHUT_WR)
        data, how = read_all(sock)
    if how == "eof" and data == payload:
        event = sluice.wait_event(before, server=SERVERS["plain-echo"].ipv4)
        assert enum_name(event, "type") == "NON_TLS" and not event.tls.encrypted
        assert (event.txn.bytes_sent, event.txn.bytes_received) == (len(payload), len(payload))
    else:  # too short to tell, or the beginning of what could be TLS: never forwarded half understood
        assert payload[:1] in (b"\x16", b"\x80")


def test_not_tls_is_blocked(lab, sluice):
    sluice.commit({"settings": {**DECRYPT_ALL["settings"], "on_non_tls": "FAIL_BLOCK"}})
    before = sluice.newest_event()
    with lab.client.connect(SERVERS["plain-echo"].ipv4, 443) as sock:
        sock.sendall(PAYLOADS[0])
        data, how = read_all(sock)
    assert data == b"" and how in ("eof", "reset")
    assert enum_name(sluice.wait_event(before), "cause") == "POLICY_NON_TLS"


def test_both_ways_at_once(lab, sluice):
    """Megabytes in both directions at the same time, in odd pieces."""
    seen = hashlib.sha256()
    with lab.client.connect(SERVERS["plain-echo"].ipv4, 443, timeout=120) as sock:
        payload = b"not TLS\n" + os.urandom(8_000_000)

        def send():
            at = 0
            for i in range(10 ** 6):
                size = 1 + i * 7919 % 50_000
                sock.sendall(payload[at:at + size])
                at += size
                if at >= len(payload):
                    break
            sock.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        data, how = read_all(sock)
        thread.join()
        seen.update(data)
    assert how == "eof" and seen.digest() == hashlib.sha256(payload).digest()


def test_rules_on_clients(lab, sluice, plain_curl):
    """First match wins; sources, destinations, services and names together."""
    other = "10.77.1.5"
    sluice.commit({**DECRYPT_ALL, "networks": [{"name": "guests", "prefixes": [f"{other}/32"]},
                                               {"name": "visitors", "includes": ["guests"], "prefixes": ["10.77.1.7-10.77.1.8"]}],
                   "services": [{"name": "web", "ports": ["80", "443"]}],
                   "decryption_rules": [
                       {"name": "off", "disabled": True, "action": "BLOCK"},
                       {"name": "past", "expires_ns": "1000", "action": "BLOCK"},
                       {"name": "noted", "action": "MONITOR"},
                       {"name": "visitors", "match": {"sources": ["visitors"], "services": ["web"]}, "action": "DO_NOT_DECRYPT"},
                       {"name": "block-one", "match": {"sources": ["10.77.1.9"]}, "action": "BLOCK"},
                       {"name": "reset-one", "match": {"sources": ["10.77.1.10"]}, "action": "BLOCK_RESET"}],
                   "access_rules": [{"name": "no-expired", "match": {"hosts": ["expired.lab.test"]}, "action": "DENY"},
                                    {"name": "no-rsa", "match": {"destinations": [SERVERS["rsa"].ipv4]}, "action": "DENY"}]})

    def fetch(source, server="good"):
        before = sluice.newest_event()
        answer = plain_curl.server(server, "/", "-k", "--interface", source)
        return answer, sluice.wait_event(before)

    for source in (other, "10.77.1.7", "10.77.1.8"):
        answer, event = fetch(source)
        assert answer.ok and enum_name(event, "type") == "TLS_BYPASSED" and event.policy.decryption.name == "visitors"
        assert [hit.name for hit in event.policy.monitors] == ["noted"]
    answer, event = fetch(CLIENT[0])
    assert answer.ok and enum_name(event, "type") == "TLS_DECRYPTED"
    answer, event = fetch("10.77.1.9")
    assert answer.code == 35 and "access denied" in answer.error.lower(), answer.error
    assert enum_name(event, "type") == "TLS_BLOCKED" and enum_name(event, "cause") == "POLICY_BLOCK"
    answer, event = fetch("10.77.1.10")
    assert answer.code == 35 and "reset" in answer.error.lower(), answer.error
    answer, event = fetch(CLIENT[0], "expired")
    assert answer.code == 35 and enum_name(event, "cause") == "POLICY_DENY" and event.policy.access.name == "no-expired"
    answer, event = fetch(CLIENT[0], "rsa")
    assert answer.code and enum_name(event, "cause") == "POLICY_DENY"
