# SPDX-License-Identifier: Apache-2.0
"""The management service with its real stores: every method through Python's grpcio, an unmodified third-party client."""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from management_lab import (CODE, SERVICE, Host, Stub, applied, candidate, certificate, config_pb, ctl, der, event_pb, fails,
                            pb, pem, put, refuse, rule, sha256, system_events)
from rpc_lab import Pki, channel_options, read, wait_until


@pytest.fixture
def host(tmp_path):
    running = Host(tmp_path)
    yield running
    if running.process.poll() is None:
        running.close()


@pytest.fixture
def stub(host):
    return host.stub


# ----------------------------------------------------------------------------------------------------------- status, counters


def test_status(stub):
    status = stub.GetStatus(pb.GetStatusRequest())
    assert (status.device_name, status.workers, status.connections_active) == ("test-host", 3, 5)
    assert status.version and status.config_version == 1 and not status.candidate_differs and not status.ca_present
    assert any("sluicectl ca init" in w for w in status.warnings)
    put(stub, rule("all"))
    stub.InitCa(pb.InitCaRequest())
    status = stub.GetStatus(pb.GetStatusRequest())
    assert status.candidate_differs and status.ca_present and len(status.ca_sha256) == 64 and not status.warnings


def test_stats(stub):
    counters = {c.name: c for c in stub.GetStats(pb.GetStatsRequest()).counters}
    assert counters["sluice_events_lost_total"].value == 0 and counters["sluice_events_lost_total"].help
    assert not counters["sluice_events_lost_total"].gauge


# ------------------------------------------------------------------------------------------------------------- configuration


def test_commit(host, stub):
    first = candidate(stub)
    assert (first.version, first.differs) == (1, False)
    changed = put(stub, rule("all", hosts=["*.example.com"]))
    assert changed.differs and changed.revision > first.revision
    assert not stub.ValidateCandidate(pb.ValidateCandidateRequest()).findings or all(
        not f.error for f in stub.ValidateCandidate(pb.ValidateCandidateRequest()).findings)
    text = stub.DiffConfig(pb.DiffConfigRequest()).text
    assert "+" in text and "all" in text and "candidate" in text
    done = stub.Commit(pb.CommitRequest(comment="first rules", revision=changed.revision))
    assert done.version == 2
    assert applied(host) == [2]
    running = stub.GetConfig(pb.GetConfigRequest())
    assert running.version == 2 and running.config.decryption_rules[0].name == "all" and running.config.decryption_rules[0].id > 0
    assert stub.DiffConfig(pb.DiffConfigRequest()).text == ""
    versions = stub.ListVersions(pb.ListVersionsRequest()).versions
    assert [v.version for v in versions] == [2, 1]
    assert versions[0].author == "root" and versions[0].comment == "first rules" and versions[0].time_ns > 0
    wait_until(lambda: any("root committed version 2: first rules" in t for t in system_events(stub)), "the event of the commit")
    fails(CODE.FAILED_PRECONDITION, "nothing to commit", stub.Commit, pb.CommitRequest())


def test_what_is_wrong_is_told(stub):
    put(stub, rule("a", hosts=["missing-object"]), rule("a", action=config_pb.BLOCK), rule("", action=config_pb.BLOCK))
    findings = stub.ValidateCandidate(pb.ValidateCandidateRequest()).findings
    assert sum(f.error for f in findings) >= 2
    assert any(f.path.startswith("decryption_rules[0]") for f in findings)
    details = fails(CODE.INVALID_ARGUMENT, "nothing was committed", stub.Commit, pb.CommitRequest())
    assert "decryption_rules[0]" in details and "decryption_rules[" in details
    assert stub.GetConfig(pb.GetConfigRequest()).version == 1 and candidate(stub).differs


def test_a_stale_revision_is_refused(stub):
    old = candidate(stub)
    new = put(stub, rule("one"))
    request = pb.SetCandidateRequest(config=config_pb.Config(), revision=old.revision)
    fails(CODE.ABORTED, "changed the candidate meanwhile", stub.SetCandidate, request)
    fails(CODE.ABORTED, "changed the candidate meanwhile", stub.Commit, pb.CommitRequest(revision=old.revision))
    assert candidate(stub).config.decryption_rules[0].name == "one"
    assert stub.Commit(pb.CommitRequest(revision=new.revision)).version == 2


def test_discard_and_versions(host, stub):
    put(stub, rule("one"))
    stub.Commit(pb.CommitRequest())
    put(stub, rule("two"))
    assert not stub.DiscardCandidate(pb.DiscardCandidateRequest()).differs
    assert candidate(stub).config.decryption_rules[0].name == "one"
    version = stub.GetConfig(pb.GetConfigRequest(source=pb.CONFIG_VERSION, version=1))
    assert version.version == 1 and not version.config.decryption_rules
    fails(CODE.NOT_FOUND, "no version 99", stub.GetConfig, pb.GetConfigRequest(source=pb.CONFIG_VERSION, version=99))
    back = stub.Rollback(pb.RollbackRequest(version=1))
    assert back.version == 3 and applied(host) == [2, 3]
    assert not stub.GetConfig(pb.GetConfigRequest()).config.decryption_rules and not candidate(stub).differs
    assert stub.ListVersions(pb.ListVersionsRequest(limit=1)).versions[0].comment == "rollback to version 1"
    fails(CODE.NOT_FOUND, "no version 99", stub.Rollback, pb.RollbackRequest(version=99))
    both = pb.DiffConfigRequest(**{"from": pb.GetConfigRequest(source=pb.CONFIG_VERSION, version=1),
                                   "to": pb.GetConfigRequest(source=pb.CONFIG_VERSION, version=2)})
    assert "version 1" in stub.DiffConfig(both).text and "one" in stub.DiffConfig(both).text
    fails(CODE.INVALID_ARGUMENT, "unknown value", stub.GetConfig, pb.GetConfigRequest(source=77))


def test_a_commit_that_cannot_be_applied_is_told(host, stub):
    host.do("apply-fails")
    put(stub, rule("one"))
    done = stub.Commit(pb.CommitRequest())
    assert done.version == 2 and any("still uses the one before: told to fail" in w.text for w in done.warnings)
    assert not any(w.error for w in done.warnings)
    fails(CODE.RESOURCE_EXHAUSTED, "the CA was made, but", stub.InitCa, pb.InitCaRequest())
    assert applied(host) == []
    host.do("apply-works")
    put(stub, rule("two"))
    stub.Commit(pb.CommitRequest())
    assert applied(host) == [3]


def test_concurrent_commits_take_effect_in_order(host):
    def work(number):
        with grpc.insecure_channel(f"unix:{host.path}", options=channel_options()) as channel:
            own, done = Stub(channel), []
            for i in range(8):
                while True:
                    try:
                        now = candidate(own)
                        config = now.config
                        del config.decryption_rules[:]
                        config.decryption_rules.append(rule(f"r{number}-{i}"))
                        revision = own.SetCandidate(pb.SetCandidateRequest(config=config, revision=now.revision)).revision
                        done.append(own.Commit(pb.CommitRequest(revision=revision)).version)
                        break
                    except grpc.RpcError as error:
                        assert error.code() in (CODE.ABORTED, CODE.FAILED_PRECONDITION), error
            return done

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        versions = [v for done in pool.map(work, range(6)) for v in done]
    assert sorted(versions) == list(range(2, 50))
    assert applied(host) == list(range(2, 50))


def test_state_survives_a_restart(tmp_path):
    host = Host(tmp_path)
    put(host.stub, rule("one"))
    host.stub.Commit(pb.CommitRequest())
    put(host.stub, rule("two"))
    fingerprint = host.stub.InitCa(pb.InitCaRequest()).sha256
    host.close()
    host = Host(tmp_path)
    assert host.stub.GetConfig(pb.GetConfigRequest()).version == 2
    assert candidate(host.stub).config.decryption_rules[0].name == "two"
    assert host.stub.GetCa(pb.GetCaRequest()).sha256 == fingerprint
    host.close()


# ---------------------------------------------------------------------------------------------------------- CA, certificates


def test_decryption_ca(host, stub):
    fails(CODE.NOT_FOUND, "sluicectl ca init", stub.GetCa, pb.GetCaRequest())
    ca = stub.InitCa(pb.InitCaRequest())
    loaded = x509.load_pem_x509_certificate(ca.certificate_pem.encode())
    assert sha256(loaded) == ca.sha256 and "Sluice decryption CA test-host" in ca.subject
    assert ca.not_after == loaded.not_valid_after.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert "PRIVATE KEY" not in ca.certificate_pem
    assert stub.GetCa(pb.GetCaRequest()) == ca
    fails(CODE.ALREADY_EXISTS, "--replace", stub.InitCa, pb.InitCaRequest())
    new = stub.InitCa(pb.InitCaRequest(common_name="Other", validity_days=10, replace=True))
    assert new.sha256 != ca.sha256 and "Other" in new.subject
    assert host.do("applied").split()[1] == "ca=2"
    fails(CODE.INVALID_ARGUMENT, "", stub.InitCa, pb.InitCaRequest(common_name="x" * 65, replace=True))
    assert stub.GetCa(pb.GetCaRequest()) == new
    wait_until(lambda: len([t for t in system_events(stub) if "decryption CA" in t]) == 2, "events of the CA")


def test_import_certificate(stub):
    leaf, _ = certificate("Server One")
    anchor, _ = certificate("Company Root", ca=True)
    pin = stub.ImportCertificate(pb.ImportCertificateRequest(certificate=pem(leaf), hosts=["One.Example"], comment="why"))
    assert pin.certificate.name == "Server-One" and pin.certificate.kind == config_pb.TRUST_PIN
    assert pin.certificate.sha256 == sha256(leaf) and pin.certificate.der == der(leaf)
    assert list(pin.certificate.hosts) == ["one.example"] and pin.certificate.comment == "why"
    assert pin.candidate.differs and pin.candidate.config.trusted_certificates[0] == pin.certificate
    # DER; a name of the same subject is made another one; ports; addresses are hosts, too
    second = stub.ImportCertificate(pb.ImportCertificateRequest(certificate=der(leaf), hosts=["192.0.2.1"], ports=[8443]))
    assert second.certificate.name == "Server-One-2" and list(second.certificate.ports) == [8443]
    # several certificates: the leaf stands first, text between them doesn't matter
    chain = b"subject: x\n" + pem(leaf) + b"issuer:\n" + pem(anchor)
    named = stub.ImportCertificate(pb.ImportCertificateRequest(name="third", certificate=chain, hosts=["three.example"]))
    assert named.certificate.sha256 == sha256(leaf)
    root = stub.ImportCertificate(pb.ImportCertificateRequest(certificate=pem(anchor)))
    assert root.certificate.kind == config_pb.TRUST_ANCHOR and root.certificate.name == "Company-Root"
    assert len(candidate(stub).config.trusted_certificates) == 4
    assert stub.Commit(pb.CommitRequest()).version == 2
    # removal by name, by fingerprint in any spelling
    stub.RemoveCertificate(pb.RemoveCertificateRequest(name="third"))
    shown = sha256(anchor).upper()
    after = stub.RemoveCertificate(pb.RemoveCertificateRequest(name=":".join(shown[i:i + 2] for i in range(0, 64, 2))))
    assert [c.name for c in after.config.trusted_certificates] == ["Server-One", "Server-One-2"]
    fails(CODE.NOT_FOUND, "no certificate 'third'", stub.RemoveCertificate, pb.RemoveCertificateRequest(name="third"))
    fails(CODE.INVALID_ARGUMENT, "name", stub.RemoveCertificate, pb.RemoveCertificateRequest())


def test_certificates_that_are_refused(stub):
    """V8, V9: what isn't fit to be trusted is refused when it is imported, not when a connection fails."""
    leaf, key = certificate("Server")
    anchor, _ = certificate("Root", ca=True)
    request = pb.ImportCertificateRequest
    bad = [
        (request(hosts=["h.example"]), "empty"),
        (request(certificate=b"nonsense", hosts=["h.example"]), "neither PEM nor DER"),
        (request(certificate=der(leaf) + b"x", hosts=["h.example"]), "neither PEM nor DER"),
        (request(certificate=pem(leaf)[:-60], hosts=["h.example"]), "file holds"),
        (request(certificate=pem(leaf).replace(b"M", b"!", 5), hosts=["h.example"]), "file holds"),
        (request(certificate=pem(leaf)), "not a CA certificate"),
        (request(certificate=pem(leaf), kind=config_pb.TRUST_PIN), "at least one host"),
        (request(certificate=pem(anchor), kind=config_pb.TRUST_ANCHOR, hosts=["h.example"]), "every server"),
        (request(certificate=pem(anchor) + pem(leaf)), "holds 2 certificates"),
        (request(certificate=pem(leaf), hosts=["*.example"]), "'*'"),
        (request(certificate=pem(leaf), hosts=["not a host"]), ""),
        (request(certificate=pem(leaf), hosts=["h.example"], ports=[70000]), "65535"),
        (request(certificate=pem(leaf), hosts=["h.example"], name="x" * 500), ""),
    ]
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    bad.append((request(certificate=private, hosts=["h.example"]), "no certificate"))
    for wrong, part in bad:
        fails(CODE.INVALID_ARGUMENT, part, stub.ImportCertificate, wrong)
    assert not candidate(stub).differs
    stub.ImportCertificate(request(name="n", certificate=pem(leaf), hosts=["h.example"]))
    fails(CODE.ALREADY_EXISTS, "--replace", stub.ImportCertificate, request(name="n", certificate=pem(anchor), hosts=["h.example"]))
    new = stub.ImportCertificate(request(name="n", certificate=pem(anchor), hosts=["i.example"], replace=True))
    assert [c.sha256 for c in new.candidate.config.trusted_certificates] == [sha256(anchor)]
    own = stub.InitCa(pb.InitCaRequest()).certificate_pem.encode()
    fails(CODE.INVALID_ARGUMENT, "own decryption CA", stub.ImportCertificate, request(certificate=own))


# --------------------------------------------------------------------------------------------------------------------- events


def test_list_and_get_events(host, stub, tmp_path):
    assert host.do("plain", 120, 1) == "ok"
    _, event = refuse(host, tmp_path)
    assert event.type == event_pb.TLS_ABORT and event.cause == event_pb.SRV_CERT_SELF_SIGNED and event.explanation
    page = stub.ListEvents(pb.ListEventsRequest())
    assert len(page.events) == 50 and page.more and page.events[0].id == event.id
    ids = [e.id for e in page.events]
    while page.more:
        page = stub.ListEvents(pb.ListEventsRequest(before_id=ids[-1]))
        ids += [e.id for e in page.events]
    assert ids == sorted(ids, reverse=True) and len(set(ids)) == len(ids) >= 121
    assert len(stub.ListEvents(pb.ListEventsRequest(limit=5000)).events) >= 121

    def matching(**filters):
        return [e.id for e in stub.ListEvents(pb.ListEventsRequest(limit=1000, **filters)).events]

    assert matching(types=[event_pb.TLS_ABORT]) == [event.id]
    assert matching(causes=[event_pb.SRV_CERT_SELF_SIGNED, event_pb.SRV_EOF]) == [event.id]
    assert matching(client="192.0.2.7") == matching(server="198.51.100.4/30") == matching(host="pay.example") == [event.id]
    assert matching(flow_id=event.flow_id) == [event.id]
    assert matching(until_ns=1) == []
    assert len(matching(client="192.0.2.0/24")) == 121
    fails(CODE.INVALID_ARGUMENT, "", stub.ListEvents, pb.ListEventsRequest(client="nonsense"))
    assert stub.GetEvent(pb.GetEventRequest(id=event.id)) == event
    assert stub.GetEvent(pb.GetEventRequest(flow_id=event.flow_id)) == event
    fails(CODE.NOT_FOUND, "no event 999999", stub.GetEvent, pb.GetEventRequest(id=999999))
    fails(CODE.NOT_FOUND, "no event of flow", stub.GetEvent, pb.GetEventRequest(flow_id="0" * 16))
    fails(CODE.INVALID_ARGUMENT, "id", stub.GetEvent, pb.GetEventRequest())


def collect(stream, into):
    try:
        for event in stream:
            into.append(event.id)
    except grpc.RpcError as error:
        into.append(error)


def test_watch_replays_and_goes_on_without_gap(host, stub):
    host.do("plain", 30, 1)
    ids = sorted(e.id for e in stub.ListEvents(pb.ListEventsRequest(limit=1000)).events)
    start, seen, fresh = ids[9], [], []
    streams = [stub.WatchEvents(pb.WatchEventsRequest(after_id=start)), stub.WatchEvents(pb.WatchEventsRequest())]
    threads = [threading.Thread(target=collect, args=(s, into)) for s, into in zip(streams, (seen, fresh))]
    for thread in threads:
        thread.start()
    for _ in range(20):
        host.do("plain", 25, 1)
    newest = stub.ListEvents(pb.ListEventsRequest(limit=1)).events[0].id
    wait_until(lambda: seen and seen[-1] == newest, "the replaying watcher")
    wait_until(lambda: fresh and fresh[-1] == newest, "the live watcher")
    assert seen == list(range(start + 1, newest + 1))
    assert fresh == list(range(fresh[0], newest + 1)) and fresh[0] > ids[-1]
    for stream, thread in zip(streams, threads):
        stream.cancel()
        thread.join()
    assert seen[-1].code() == CODE.CANCELLED


def test_watch_with_a_filter(host, stub, tmp_path):
    stream = stub.WatchEvents(pb.WatchEventsRequest(filter=pb.ListEventsRequest(types=[event_pb.TLS_ABORT]), after_id=1))
    host.do("plain", 50, 1)
    _, event = refuse(host, tmp_path)
    assert next(stream).id == event.id
    stream.cancel()
    bad = stub.WatchEvents(pb.WatchEventsRequest(filter=pb.ListEventsRequest(client="nonsense")))
    fails(CODE.INVALID_ARGUMENT, "", next, bad)


def test_a_watcher_that_does_not_read_is_dropped(tmp_path):
    host = Host(tmp_path, "--patience-ms", 2000)  # enough for the quick one to read on, on a slow machine too
    options = channel_options(**{"http2.max_frame_size": 16384, "http2.lookahead_bytes": 16384, "http2.bdp_probe": 0})
    with grpc.insecure_channel(f"unix:{host.path}", options=options) as channel:
        host.do("plain", 1, 1)
        first = host.stub.ListEvents(pb.ListEventsRequest(limit=1)).events[0].id
        slow = Stub(channel).WatchEvents(pb.WatchEventsRequest(after_id=first))
        quick, seen = host.stub.WatchEvents(pb.WatchEventsRequest(after_id=first)), []
        thread = threading.Thread(target=collect, args=(quick, seen))
        thread.start()
        host.do("plain", 2000, 60000)
        newest = host.stub.ListEvents(pb.ListEventsRequest(limit=1)).events[0].id
        wait_until(lambda: seen and seen[-1] == newest, "the quick watcher")
        time.sleep(3)  # longer than the patience: nothing to wait for can be seen from here
        got = []
        collect(slow, got)
        error = got.pop()
        assert error.code() == CODE.RESOURCE_EXHAUSTED and "too slow" in error.details(), error
        assert got == list(range(first + 1, first + 1 + len(got))) and got[-1] < newest
        again = int(re.search(r"after event (\d+)", error.details()).group(1))
        assert again >= got[-1]
        quick.cancel()
        thread.join()
    host.close()


def test_watchers_end_with_the_daemon(tmp_path):
    host = Host(tmp_path)
    streams = [host.stub.WatchEvents(pb.WatchEventsRequest(after_id=1)) for _ in range(20)]
    host.do("plain", 3, 1)
    for stream in streams:
        next(stream)
    begin = time.monotonic()
    host.process.terminate()
    for stream in streams:
        with pytest.raises(grpc.RpcError) as caught:
            while True:
                next(stream)
        assert caught.value.code() == CODE.UNAVAILABLE
    assert time.monotonic() - begin < 60
    host.close()


# ------------------------------------------------------------------------------------------------------------------- remedies


def test_pin_certificate(host, stub, tmp_path):
    cert, event = refuse(host, tmp_path)
    assert "pin-certificate" in [r.id for r in event.remedies]
    ask = {"event_id": event.id, "remedy_id": "pin-certificate"}
    fails(CODE.PERMISSION_DENIED, "", stub.ApplyRemedy, pb.ApplyRemedyRequest(**ask))
    fails(CODE.PERMISSION_DENIED, "", stub.ApplyRemedy, pb.ApplyRemedyRequest(confirm_sha256="0" * 16, **ask))
    fails(CODE.PERMISSION_DENIED, "", stub.ApplyRemedy, pb.ApplyRemedyRequest(confirm_sha256=sha256(cert)[:15], **ask))
    assert not candidate(stub).differs and stub.GetConfig(pb.GetConfigRequest()).version == 1
    done = stub.ApplyRemedy(pb.ApplyRemedyRequest(confirm_sha256=sha256(cert)[:16].upper(), **ask))
    assert done.version == 2 and done.done
    trusted = stub.GetConfig(pb.GetConfigRequest()).config.trusted_certificates
    assert [t.sha256 for t in trusted] == [sha256(cert)] and trusted[0].kind == config_pb.TRUST_PIN
    assert "pay.example" in trusted[0].hosts
    assert applied(host) == [2] and not candidate(stub).differs
    wait_until(lambda: any("applied pin-certificate" in t for t in system_events(stub)), "the event of the remedy")
    fails(CODE.ALREADY_EXISTS, "", stub.ApplyRemedy, pb.ApplyRemedyRequest(confirm_sha256=sha256(cert), **ask))


def test_bypass_leaves_pending_changes_alone(host, stub, tmp_path):
    put(stub, rule("pending"))
    _, event = refuse(host, tmp_path)
    done = stub.ApplyRemedy(pb.ApplyRemedyRequest(event_id=event.id, remedy_id="bypass-server", duration_s=600, comment="for now"))
    running = stub.GetConfig(pb.GetConfigRequest())
    assert running.version == done.version == 2
    assert [r.action for r in running.config.decryption_rules] == [config_pb.DO_NOT_DECRYPT]
    left = running.config.decryption_rules[0].expires_ns / 1e9 - time.time()
    assert 500 < left <= 600
    pending = candidate(stub)
    assert pending.differs and len(pending.config.decryption_rules) == 2
    assert pending.config.decryption_rules[-1].name == "pending"
    fails(CODE.NOT_FOUND, "", stub.ApplyRemedy, pb.ApplyRemedyRequest(event_id=event.id, remedy_id="nonsense"))
    fails(CODE.NOT_FOUND, "no event", stub.ApplyRemedy, pb.ApplyRemedyRequest(event_id=999999, remedy_id="bypass-server"))


# ------------------------------------------------------------------------------------------------------------------ permission

CHANGES = {
    "SetCandidate": pb.SetCandidateRequest(), "DiscardCandidate": pb.DiscardCandidateRequest(), "Commit": pb.CommitRequest(),
    "Rollback": pb.RollbackRequest(version=1), "InitCa": pb.InitCaRequest(), "ImportCertificate": pb.ImportCertificateRequest(),
    "RemoveCertificate": pb.RemoveCertificateRequest(name="x"), "ApplyRemedy": pb.ApplyRemedyRequest(event_id=1, remedy_id="x"),
}

AS_NOBODY = """
import sys, grpc
target, method = sys.argv[1:3]
with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
    try:
        channel.unary_unary(method)(sys.stdin.buffer.read(), timeout=60)
        print("OK")
    except grpc.RpcError as error:
        print(error.code().name, error.details())
"""


def call_as_nobody(host, method, request):
    command = [sys.executable, "-c", AS_NOBODY, f"unix:{host.path}", f"/{SERVICE.full_name}/{method}"]
    done = subprocess.run(command, check=True, input=request.SerializeToString(), capture_output=True, timeout=120, user=65534,
                          group=65534, extra_groups=[])
    return done.stdout.decode()


@pytest.fixture
def open_folder():
    """A folder that other users can enter."""
    with tempfile.TemporaryDirectory(prefix="sluice-mgmt-") as folder:
        os.chmod(folder, 0o755)
        yield pathlib.Path(folder)


def test_others_may_read_but_not_change(open_folder):
    """A8: only root and the daemon's own user may change anything."""
    assert os.geteuid() == 0
    host = Host(open_folder, mode="666")
    assert set(CHANGES) < {m.name for m in SERVICE.methods}
    for method, request in CHANGES.items():
        assert call_as_nobody(host, method, request).startswith("PERMISSION_DENIED only root"), method
    for method in ("GetStatus", "GetConfig", "ListEvents", "ValidateCandidate", "ListVersions", "DiffConfig", "GetStats"):
        assert call_as_nobody(host, method, getattr(pb, f"{method}Request")()) == "OK\n", method
    host.close()
    host = Host(open_folder, mode="660")
    assert call_as_nobody(host, "GetStatus", pb.GetStatusRequest()).startswith("UNAVAILABLE")
    assert (os.stat(host.path).st_mode & 0o777) == 0o660
    host.close()


def test_tcp_with_mutual_tls(tmp_path):
    """A7: without a client certificate of the configured CA there is no answer; with one, its name is the author."""
    ours, theirs = Pki(tmp_path, "ours"), Pki(tmp_path, "theirs")
    server_cert, server_key = ours.issue("server", ["localhost", "127.0.0.1"])
    client_cert, client_key = ours.issue("alice", client=True)
    other_cert, other_key = theirs.issue("mallory", client=True)
    host = Host(tmp_path, "--tls", "127.0.0.1:0", server_cert, server_key, ours.ca_file)
    target = f"127.0.0.1:{host.port}"

    def status(cert, key):
        credentials = grpc.ssl_channel_credentials(read(ours.ca_file), read(key) if key else None, read(cert) if cert else None)
        with grpc.secure_channel(target, credentials, options=channel_options()) as channel:
            return Stub(channel).GetStatus(pb.GetStatusRequest(), timeout=30)

    assert status(client_cert, client_key).device_name == "test-host"
    fails(CODE.UNAVAILABLE, "", status, None, None)
    fails(CODE.UNAVAILABLE, "", status, other_cert, other_key)
    tls = ("--connect", target, "--tls-ca", ours.ca_file, "--tls-cert", client_cert, "--tls-key", client_key)
    assert ctl(*tls, "status", "-o", "json").json["deviceName"] == "test-host"
    ctl(*tls, "rule", "add", "decrypt", "all", "--commit")
    assert host.stub.ListVersions(pb.ListVersionsRequest()).versions[0].author == "alice"
    assert "--tls-ca" in ctl("--connect", target, "status", status=1).err
    failed = ctl("--connect", target, "--tls-ca", ours.ca_file, "--tls-cert", other_cert, "--tls-key", other_key, "status",
                 status=1)
    assert target in failed.err
    host.close()


# ------------------------------------------------------------------------------------------------------------------- trouble


def test_a_full_disk_is_told(tmp_path):
    host = Host(tmp_path, "--events-max-bytes", 400000)
    host.process.stdin.write("plain 300 4000\n")
    host.process.stdin.flush()
    wait_until(lambda: any("events can't be written" in w for w in host.stub.GetStatus(pb.GetStatusRequest()).warnings),
               "the warning")
    put(host.stub, rule("one"))
    assert host.stub.Commit(pb.CommitRequest()).version == 2
    host.process.kill()
    host.process.communicate()
    host.channel.close()


def test_a_damaged_policy_is_told(tmp_path):
    host = Host(tmp_path)
    host.close()
    (tmp_path / "state" / "policy.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(AssertionError, match="policy.db"):
        Host(tmp_path)
