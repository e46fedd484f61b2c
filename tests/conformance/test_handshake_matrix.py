# SPDX-License-Identifier: Apache-2.0
"""Every handshake server of the lab: the verdict, the cause code, and the alert to each side, in the event and on the wire.

Covers V1-V7, V9, V10, V15, V16, P1-P3, P5, P13, P14, P15 of the security checklist.
"""
import base64
import json
import ssl
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from google.protobuf import json_format
from lab import netns
from lab.clients import read_all, tls_connect, tls_context
from lab.pki import Issuer, certificate, ec_key, key_pem, pem, sha256_of
from lab.servers import SERVERS
from lab.sluice import DECRYPT_ALL, alerts, enum_name
from lab.wire import APPLICATION_DATA, Wire

TLS12, TLS13 = ("--tls-max", "1.2"), ("--tlsv1.3",)
COMPATIBLE = {"settings": {**DECRYPT_ALL["settings"], "crypto_profile": "CRYPTO_COMPATIBLE"}}
ALERT_RECORD = 7  # header, level, description

# server, arguments of curl, version, suite towards the server, HTTP
ACCEPTED = [
    ("good", (), "TLS 1.3", "TLS_AES_256_GCM_SHA384", "2"),
    ("good", TLS12, "TLS 1.2", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "2"),
    ("good", ("--http1.1",), "TLS 1.3", "", "1.1"),
    ("rsa", (), "TLS 1.3", "", "2"),
    ("tls12", (), "TLS 1.2", "", "2"),
    ("tls12-rsa", (), "TLS 1.2", "TLS_ECDHE_RSA_WITH_AES_", "2"),
    ("tls13", (), "TLS 1.3", "", "2"),
    ("tls13-rsa", (), "TLS 1.3", "", "2"),
    ("h1-only", (), "TLS 1.3", "", "1.1"),
    ("aes256-12", (), "TLS 1.2", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "2"),
    ("aes128-12", (), "TLS 1.2", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "2"),
    ("chacha12", (), "TLS 1.2", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "2"),
    ("aes256-13", (), "TLS 1.3", "TLS_AES_256_GCM_SHA384", "2"),
    ("aes128-13", (), "TLS 1.3", "TLS_AES_128_GCM_SHA256", "2"),
    ("chacha13", (), "TLS 1.3", "TLS_CHACHA20_POLY1305_SHA256", "2"),
    ("sans1000", (), "TLS 1.3", "", "2"),
    ("drip", (), "TLS 1.3", "", "2"),
    ("warning-alert", TLS12, "TLS 1.2", "", "2"),
    ("staple", (), "TLS 1.3", "", None),
]


@pytest.mark.parametrize("family", ["-4", "-6"])
@pytest.mark.parametrize("server, words, version, suite, http", ACCEPTED, ids=lambda v: v if isinstance(v, str) else "")
def test_accepted(sluice, curl, server, words, version, suite, http, family):
    if server == "staple" and family == "-6":
        family = "-4"  # openssl s_server has one address
    before = sluice.newest_event()
    answer = curl.server(server, "/", *words, family=family)
    assert answer.ok, answer.error
    assert http in (None, answer.http)
    event = sluice.wait_event(before, server=SERVERS[server].ipv4 if family == "-4" else SERVERS[server].ipv6)
    assert enum_name(event, "type") == "TLS_DECRYPTED" and enum_name(event, "cause") == "CAUSE_NONE"
    assert event.tls.decrypted and event.tls.encrypted
    assert event.tls.version.replace("v", " ").replace("TLS ", "TLS ") == version
    assert event.tls.server_cipher.startswith(suite)
    assert event.tls.posture == "equal"  # P15
    assert event.tls.sni == SERVERS[server].host
    assert event.leaf.signed_by == "trusted"
    assert event.verify.code == 0 and event.server_chain
    assert event.src.port == answer.port
    assert event.policy.decryption.action and event.txn.config_version


# server: cause, alert to the server, alert to the client; each over TLS 1.2 and 1.3
UNKNOWN_CA, BAD_CERTIFICATE, UNSUPPORTED_CERTIFICATE, REVOKED, EXPIRED = 48, 42, 43, 44, 45
BAD_CERTIFICATES = [
    ("self-signed", "SRV_CERT_SELF_SIGNED", UNKNOWN_CA),
    ("self-signed-chain", "SRV_CERT_SELF_SIGNED_CHAIN", UNKNOWN_CA),
    ("untrusted-root", "SRV_CERT_NO_ISSUER", UNKNOWN_CA),
    ("expired", "SRV_CERT_EXPIRED", EXPIRED),
    ("not-yet", "SRV_CERT_NOT_YET", EXPIRED),
    ("wrong-host", "SRV_CERT_HOST_MISMATCH", BAD_CERTIFICATE),
    ("no-san", "SRV_CERT_HOST_MISMATCH", BAD_CERTIFICATE),
    ("rsa1024", "SRV_CERT_WEAK_KEY", BAD_CERTIFICATE),
    ("weak-ca", "SRV_CERT_WEAK_CA_KEY", BAD_CERTIFICATE),
    ("sha1", "SRV_CERT_WEAK_MD", BAD_CERTIFICATE),
    ("sha1-ca", "SRV_CERT_WEAK_MD", BAD_CERTIFICATE),
    ("client-auth", "SRV_CERT_PURPOSE", UNSUPPORTED_CERTIFICATE),
    ("leaf-as-ca", "SRV_CERT_BAD_CA", BAD_CERTIFICATE),
    ("path-length", "SRV_CERT_PATH_LENGTH", BAD_CERTIFICATE),
    ("name-constraint", "SRV_CERT_NAME_CONSTRAINT", BAD_CERTIFICATE),
    ("critical-extension", "SRV_CERT_CRITICAL_EXTENSION", UNSUPPORTED_CERTIFICATE),
    ("bad-signature", "SRV_CERT_BAD_SIGNATURE", BAD_CERTIFICATE),
    ("revoked", "SRV_CERT_REVOKED", REVOKED),
]


# The gateway gives up at the first bytes while the rest is still on its way: what comes after the event isn't in it.
STILL_SENDING = {"oversized-record", "garbage"}


def check_refused(lab, sluice, curl, server, words, cause, to_server, from_server, to_client, port=443):
    """One connection that fails; returns its event and both wires' (to the server, from the server)."""
    address = SERVERS[server].ipv4
    before = sluice.newest_event()
    with Wire(lab.gateway, "inside") as inside, Wire(lab.gateway, "outside") as outside:
        url = f"https://{SERVERS[server].host}:{port}/"
        answer = curl.get(url, "-4", *words)
        event = sluice.wait_event(before, server=address)
        # The event is written while the last bytes are still on their way.
        netns.wait_for(lambda: inside.ended(address, port) and outside.ended(address, port), "the ends of both connections")
    assert not answer.ok
    assert enum_name(event, "cause") == cause, (event.tls.error, event.explanation)
    assert enum_name(event, "type") == "TLS_ABORT"
    assert not event.tls.decrypted
    assert event.explanation and event.description
    seen = alerts(event)
    client = inside.between(address, port)[0]
    server_side = outside.between(address, port)[0]
    # P14: what the event says is what the cables saw, with its true direction.
    assert [code for code, direction in seen if direction == "sent_to_client"] == ([to_client] if to_client else [])
    assert client[1].plain_alerts() == ([to_client] if to_client else [])
    assert [code for code, direction in seen if direction == "sent_to_server"] == ([to_server] if to_server else [])
    assert [code for code, direction in seen if direction == "received_from_server"] == ([from_server] if from_server else [])
    assert event.txn.bytes_sent == len(server_side[0].data())
    received = len(server_side[1].data())
    if server in STILL_SENDING:
        assert 5 <= event.txn.bytes_received <= received
    else:
        assert event.txn.bytes_received == received
    assert event.txn.bytes_total == event.txn.bytes_sent + event.txn.bytes_received
    return event, client, server_side


@pytest.mark.parametrize("words", [TLS12, TLS13], ids=["tls12", "tls13"])
@pytest.mark.parametrize("server, cause, alert", BAD_CERTIFICATES, ids=[case[0] for case in BAD_CERTIFICATES])
def test_bad_certificate(lab, sluice, curl, server, cause, alert, words):
    event, _, (to_server, _) = check_refused(lab, sluice, curl, server, words, cause, alert, None, alert)
    assert enum_name(event, "stage") in ("STAGE_CERTIFICATE", "STAGE_VERIFY")
    assert event.server_chain[0].sha256 == sha256_of(lab.pki.certs[server])
    assert event.verify.name.startswith("X509_V_ERR_")
    records = to_server.records()
    if words is TLS12:
        # The reference case: what was sent is the ClientHello and one alert, 7 bytes, and it is the gateway's.
        assert to_server.plain_alerts() == [alert]
        hello = 5 + len(records[0][1])
        assert len(records) == 2 and event.txn.bytes_sent == hello + ALERT_RECORD
    assert not event.leaf.sha256
    # V10: no application data went to a server that was refused. (In TLS 1.3 one protected record is the alert.)
    assert sum(kind == APPLICATION_DATA for kind, _ in records) <= (words is TLS13)


HANDSHAKE_FAILURE, ILLEGAL_PARAMETER, PROTOCOL_VERSION, INTERNAL_ERROR = 40, 47, 70, 80
# server, arguments of curl, cause, alert to the server, from the server, to the client
REFUSED = [
    ("cipher-refused", (), "SRV_ALERT_HANDSHAKE_FAILURE", None, 40, 40),
    ("static-rsa", (), "SRV_ALERT_HANDSHAKE_FAILURE", None, 40, 40),
    ("cbc", (), "SRV_ALERT_HANDSHAKE_FAILURE", None, 40, 40),
    ("dhe", (), "SRV_ALERT_HANDSHAKE_FAILURE", None, 40, 40),
    ("tls13", TLS12, "SRV_ALERT_PROTOCOL_VERSION", None, 70, 70),
    ("tls11", (), "SRV_ALERT_PROTOCOL_VERSION", None, 70, 70),
    ("tls10", (), "SRV_ALERT_PROTOCOL_VERSION", None, 70, 70),
    ("unrecognized-name", (), "SRV_UNRECOGNIZED_NAME", None, 112, 112),
    ("h2-only", ("--http1.1",), "SRV_NO_ALPN", None, 120, 120),
    ("alert", (), "SRV_ALERT_HANDSHAKE_FAILURE", None, 40, 40),
    ("unknown-version", (), "SRV_UNSUPPORTED_PROTOCOL", 70, None, 70),
    ("unoffered-cipher", (), "SRV_BAD_HANDSHAKE", 47, None, 80),
    ("downgrade", (), "SRV_BAD_HANDSHAKE", 47, None, 80),
    ("compression", (), "SRV_BAD_HANDSHAKE", 47, None, 80),
    ("oversized-record", (), "SRV_BAD_HANDSHAKE", 22, None, 80),
    ("bad-record-type", (), "SRV_NOT_TLS", None, None, 80),
    ("not-tls", (), "SRV_NOT_TLS", None, None, 80),
    ("banner", (), "SRV_NOT_TLS", None, None, 80),
    ("garbage", (), "SRV_NOT_TLS", None, None, 80),
    ("eof-accept", (), "SRV_EOF", None, None, 80),
    ("eof-hello", (), "SRV_EOF", None, None, 80),
    ("half-hello", (), "SRV_EOF", None, None, 80),
    ("cut-eof", (), "SRV_EOF", None, None, 80),
]


@pytest.mark.parametrize("server, words, cause, to_server, from_server, to_client", REFUSED, ids=[c[0] for c in REFUSED])
def test_refused(lab, sluice, curl, server, words, cause, to_server, from_server, to_client):
    event, _, (sent, received) = check_refused(lab, sluice, curl, server, words, cause, to_server, from_server, to_client)
    if from_server:
        assert enum_name(event, "side") == "SIDE_SERVER"
        assert received.plain_alerts() == [from_server]
        assert event.txn.bytes_received == ALERT_RECORD  # the alert came instead of a ServerHello
        assert event.tls.version == ""
        netns.wait_for(lambda: f'0x{0x200 + from_server:x}' in sluice.tls_log(), "the line in the log")
    if to_server:
        assert sent.plain_alerts() == [to_server]


# Every alert a server may begin with.
ALERTS = {10: "SRV_ALERT_OTHER", 20: "SRV_ALERT_OTHER", 22: "SRV_ALERT_OTHER", 40: "SRV_ALERT_HANDSHAKE_FAILURE",
          42: "SRV_ALERT_OTHER",
          47: "SRV_ALERT_OTHER", 48: "SRV_ALERT_OTHER", 49: "SRV_ALERT_OTHER", 50: "SRV_ALERT_OTHER", 51: "SRV_ALERT_OTHER",
          70: "SRV_ALERT_PROTOCOL_VERSION", 71: "SRV_ALERT_INSUFFICIENT_SECURITY", 80: "SRV_ALERT_OTHER", 86: "SRV_ALERT_OTHER",
          109: "SRV_ALERT_OTHER", 110: "SRV_ALERT_OTHER", 112: "SRV_UNRECOGNIZED_NAME", 113: "SRV_ALERT_OTHER",
          115: "SRV_ALERT_OTHER", 120: "SRV_NO_ALPN", 200: "SRV_ALERT_OTHER", 255: "SRV_ALERT_OTHER"}
PASSED_ON = (40, 70, 71, 112, 120)


@pytest.mark.parametrize("code", ALERTS)
def test_alert_of_the_server(lab, sluice, curl, code):
    expected = code if code in PASSED_ON else HANDSHAKE_FAILURE
    check_refused(lab, sluice, curl, "alert", (), ALERTS[code], None, code, expected, port=10000 + code)


@pytest.mark.parametrize("server", ["reset-accept", "reset-hello", "cut-reset"])
def test_reset(sluice, curl, server):
    before = sluice.newest_event()
    assert curl.server(server).code == 35
    event = sluice.wait_event(before, server=SERVERS[server].ipv4)
    assert enum_name(event, "cause") in ("SRV_RESET", "SRV_CONNECT_REFUSED" if server == "reset-accept" else "SRV_RESET")


@pytest.mark.parametrize("how", ["cut-eof", "cut-reset"])
def test_cut_at_every_stage(sluice, curl, how):
    """The handshake of a good server ends after so many bytes: nothing but a clean end, whatever the place (P14)."""
    for step in (0, 1, 5, 11, 16, 24, 40, 60, 90, 120):
        before = sluice.newest_event()
        answer = curl.get(f"https://{SERVERS[how].host}:{10000 + step}/", "-4")
        event = sluice.wait_event(before, server=SERVERS[how].ipv4)
        assert not answer.ok
        assert enum_name(event, "cause") in ("SRV_EOF", "SRV_RESET"), (step, event.tls.error)
        assert event.txn.bytes_received <= max(step * 8, 8)


@pytest.mark.parametrize("server", ["client-cert12", "client-cert13", "client-cert-optional"])
def test_client_certificate(lab, sluice, curl, server):
    """V16: seen at the CertificateRequest, before the client got an answer."""
    address = SERVERS[server].ipv4
    before = sluice.newest_event()
    with Wire(lab.gateway, "inside") as inside:
        assert not curl.server(server).ok
        event = sluice.wait_event(before, server=address)
        netns.wait_for(lambda: inside.ended(address), "the connection's end")
    client = inside.between(address)[0]
    assert enum_name(event, "cause") == "SRV_CLIENT_CERT_REQUIRED"
    assert client[1].plain_alerts() == [HANDSHAKE_FAILURE]
    assert [kind for kind, _ in client[1].records()] == [21]  # no ServerHello went to the client
    assert any(remedy.id == "attach-client-certificate" or remedy.id == "bypass-server" for remedy in event.remedies)


def test_no_shared_protocol_is_promised(lab, sluice):
    """P13: a client that wants h2 only, a server that has not got it."""
    before = sluice.newest_event()
    with pytest.raises(OSError) as error:
        tls_connect(lab, "h1-only", sluice.ca_file(), alpn=["h2"])
    assert "no application protocol" in str(error.value).lower()
    assert enum_name(sluice.wait_event(before, server=SERVERS["h1-only"].ipv4), "cause") == "SRV_NO_ALPN"


COMPATIBLE_ACCEPTED = [("static-rsa", "TLS_RSA_WITH_AES_128_GCM_SHA256"), ("cbc", "TLS_ECDHE_ECDSA_WITH_AES_"),
                       ("dhe", "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256")]


@pytest.mark.parametrize("server, suite", COMPATIBLE_ACCEPTED)
def test_compatible_profile(sluice, curl, server, suite):
    """P3: by exception only, and only what the client itself offers."""
    sluice.commit(COMPATIBLE)
    before = sluice.newest_event()
    answer = curl.server(server, "/random")
    assert answer.ok and answer.size == 4 << 20, answer.error
    event = sluice.wait_event(before, server=SERVERS[server].ipv4)
    assert event.tls.server_cipher.startswith(suite)
    before = sluice.newest_event()
    assert not curl.server(server, "/", "--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256", *TLS12).ok
    assert enum_name(sluice.wait_event(before, server=SERVERS[server].ipv4), "cause") == "SRV_ALERT_HANDSHAKE_FAILURE"


def test_weak_group(sluice, curl):
    """V6: DH of 1024 bits is refused also where DHE is allowed."""
    sluice.commit(COMPATIBLE)
    before = sluice.newest_event()
    assert not curl.server("dh1024", "/", "--ciphers", "DHE-RSA-AES128-GCM-SHA256", *TLS12).ok
    event = sluice.wait_event(before, server=SERVERS["dh1024"].ipv4)
    assert enum_name(event, "cause") == "SRV_WEAK_PARAMETERS"


def test_address_literal(lab, sluice, curl):
    """V2: an address needs an iPAddress entry."""
    for address in (SERVERS["by-address"].ipv4, f"[{SERVERS['by-address'].ipv6}]"):
        assert curl.get(f"https://{address}/").ok
    before = sluice.newest_event()
    assert not curl.get(f"https://{SERVERS['wrong-address'].ipv4}/").ok
    event = sluice.wait_event(before, server=SERVERS["wrong-address"].ipv4)
    assert enum_name(event, "cause") in ("SRV_CERT_IP_MISMATCH", "SRV_CERT_HOST_MISMATCH")
    with tls_connect(lab, "by-address", sluice.ca_file(), host=SERVERS["by-address"].ipv4) as tls:
        names = tls.getpeercert()["subjectAltName"]
    assert ("IP Address", SERVERS["by-address"].ipv4) in names


@pytest.mark.parametrize("server", ["corrupt12", "corrupt13"])
def test_bad_tag(sluice, curl, server):
    """G6: the first bad tag ends the connection, and the client has accepted nothing of that record."""
    before = sluice.newest_event()
    answer = curl.server(server, "/random", "-o", "/dev/null")
    assert answer.code and answer.size < 1 << 20
    event = sluice.wait_event(before, server=SERVERS[server].ipv4)
    assert enum_name(event, "cause") == "REC_BAD_MAC"


def test_record_injected(sluice, curl):
    """P8: an unprotected HelloRequest among protected records."""
    before = sluice.newest_event()
    assert curl.server("renegotiate").code
    event = sluice.wait_event(before, server=SERVERS["renegotiate"].ipv4)
    assert enum_name(event, "cause") in ("REC_PROTOCOL", "REC_BAD_MAC")


def test_untrusted_certificate_presented(lab, sluice, curl):
    """V9: bad never becomes good: the client sees a leaf that it can't trust, and the event says so."""
    sluice.commit({"settings": {**DECRYPT_ALL["settings"], "on_untrusted_certificate": "FAIL_PRESENT_UNTRUSTED"}})
    before = sluice.newest_event()
    assert curl.server("self-signed").code == 60
    event = sluice.wait_event(before, server=SERVERS["self-signed"].ipv4)
    assert event.leaf.signed_by == "untrusted"
    answer = curl.server("self-signed", "/", "-k")
    assert answer.ok, answer.error


def test_late_bypass(lab, sluice, curl):
    """Where policy says so, a handshake that fails is made again by the client itself."""
    sluice.commit({"settings": {**DECRYPT_ALL["settings"], "on_failed_handshake": "FAIL_BYPASS",
                                "on_client_certificate": "FAIL_BYPASS", "on_untrusted_certificate": "FAIL_BYPASS"}})
    root = lab.pki.path("root.pem")
    before = sluice.newest_event()
    # curl has the lab's root: only what the server itself shows can satisfy it.
    assert curl.get("https://cbc.lab.test/", "-4", ca=root).ok
    event = sluice.wait_event(before, server=SERVERS["cbc"].ipv4)
    assert enum_name(event, "type") == "TLS_BYPASSED" and event.decision.reason
    answer = curl.get("https://client-cert-optional.lab.test/", "-4", "--cert", f"{lab.pki.path('client')}.pem",
                      "--key", f"{lab.pki.path('client')}.key", ca=root)
    assert answer.ok, answer.error
    assert curl.get("https://expired.lab.test/", "-4", ca=root).verify == 10


def test_pinning(sluice, curl):
    """A pin holds for exactly that certificate, host and port; and never for a weak key."""
    for server, works in (("self-signed", True), ("expired", True), ("rsa1024", False), ("revoked", False),
                          ("bad-signature", False)):
        encoded = base64.b64encode(pem(sluice.lab.pki.certs[server])).decode()
        sluice.call("SetCandidate", config=DECRYPT_ALL)
        sluice.dirty = True
        sluice.call("ImportCertificate", certificate=encoded, hosts=[SERVERS[server].host], name="pin")
        sluice.call("Commit", comment="pin")
        assert curl.server(server).ok == (works and server != "expired"), server
        # Dates are excused only by a pin that has an end of its own.
        config = json_format.MessageToDict(sluice.call("GetConfig", source="CONFIG_CANDIDATE").config,
                                           preserving_proto_field_name=True)
        config["trusted_certificates"][0]["expires_ns"] = str(time.time_ns() + 3600 * 10 ** 9)
        sluice.commit(config)
        assert curl.server(server).ok == works, server
    # The pin was for another host.
    assert not curl.get(f"https://{SERVERS['self-signed'].ipv4}/").ok


def test_incomplete_chain(own_sluice, own_curl):
    """V12: a missing intermediate is taken from chains that were valid before, else the chain is refused; never fetched."""
    sluice = own_sluice().start()
    curl = own_curl(sluice)
    sluice.commit()
    before = sluice.newest_event()
    assert not curl.server("incomplete-chain").ok
    assert enum_name(sluice.wait_event(before, server=SERVERS["incomplete-chain"].ipv4), "cause") == "SRV_CERT_NO_ISSUER"
    assert curl.server("good").ok
    assert curl.server("incomplete-chain").ok


def test_revocation_modes(sluice, curl):
    """V7: the strategy's result stands in the event."""
    for mode, server, works, result in (("REVOCATION_SOFT", "good", True, "good"), ("REVOCATION_HARD", "good", True, "good"),
                                        ("REVOCATION_OFF", "revoked", True, None), ("REVOCATION_SOFT", "revoked", False, "revoked"),
                                        ("REVOCATION_HARD", "staple", True, "good")):
        sluice.commit({"settings": {**DECRYPT_ALL["settings"], "revocation": mode}})
        before = sluice.newest_event()
        assert curl.server(server).ok == works, (mode, server)
        event = sluice.wait_event(before, server=SERVERS[server].ipv4)
        assert result in (None, event.revocation.result), (mode, server)


def test_own_ca_is_never_trusted_upstream(own_lab, own_sluice, own_curl):
    """V8: not even when an operator put it among the anchors."""
    sluice = own_sluice()
    sluice.start()
    ca = x509.load_pem_x509_certificate(sluice.ca_file().read_bytes())
    folder = sluice.folder / "state" / "ca"
    passphrase = (folder / "passphrase").read_bytes().strip()
    key = None
    for path in folder.iterdir():
        if b"PRIVATE KEY" in path.read_bytes():
            key = serialization.load_pem_private_key(path.read_bytes(), passphrase)
    assert key, "the CA's key is not where docs/operations.md says"
    leaf_key = ec_key()
    leaf = certificate("own.lab.test", leaf_key, Issuer(ca, key), ["silent.lab.test"])
    (sluice.folder / "own.pem").write_bytes(pem(leaf, ca) + key_pem(leaf_key))
    bundle = sluice.folder / "bundle.pem"
    bundle.write_bytes(own_lab.pki.path("root.pem").read_bytes() + pem(ca))
    sluice.settings["trust"]["bundle"] = str(bundle)
    sluice.restart()
    sluice.commit()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sluice.folder / "own.pem")
    own_lab.server.run("ip", "address", "replace", "10.77.2.254/24", "dev", "eth0")
    listener = own_lab.server.listen("10.77.2.254", 443)

    def serve():
        sock, _ = listener.accept()
        try:
            context.wrap_socket(sock, server_side=True)
        except OSError:
            pass
        sock.close()

    threading.Thread(target=serve, daemon=True).start()
    before = sluice.newest_event()
    answer = own_curl(sluice).get("https://silent.lab.test/", "--resolve", "silent.lab.test:443:10.77.2.254")
    assert not answer.ok
    assert enum_name(sluice.wait_event(before, server="10.77.2.254"), "cause") == "SRV_CERT_OWN_CA"
    listener.close()


def test_resumption_is_bound_to_its_facts(lab, sluice, curl):
    """V11: a session made under one trust is not resumed under another."""
    context = tls_context(sluice.ca_file(), version=ssl.TLSVersion.TLSv1_2)

    def connect(session=None):
        with tls_connect(lab, "tls12", context=context, session=session) as tls:
            tls.sendall(b"GET /who HTTP/1.1\r\nHost: tls12.lab.test\r\nConnection: close\r\n\r\n")
            read_all(tls)
            return tls.session, tls.session_reused

    session, reused = connect()
    assert not reused
    _, reused = connect(session)
    assert reused
    sluice.commit({"settings": {**DECRYPT_ALL["settings"], "revocation": "REVOCATION_HARD"}})
    _, reused = connect(session)
    assert not reused


def test_events_are_json(sluice, curl):
    """What programs get: one object, every field by its name in proto/."""
    before = sluice.newest_event()
    curl.server("cipher-refused")
    event = sluice.wait_event(before, server=SERVERS["cipher-refused"].ipv4)
    shown = json.loads(sluice.ctl("event", "show", event.id, "-o", "json").stdout)
    assert shown["cause"] == "SRV_ALERT_HANDSHAKE_FAILURE"
