# SPDX-License-Identifier: Apache-2.0
"""The management service with its real stores: every method through Python's grpcio, and every command of sluicectl."""
import concurrent.futures
import datetime
import hashlib
import importlib
import json
import os
import pathlib
import pty
import re
import subprocess
import sys
import tempfile
import threading
import time

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from rpc_lab import BUILD, PROGRAMS, ROOT, Pki, channel_options, read, wait_until

SLUICECTL = BUILD / "bin" / "sluicectl"

_generated = tempfile.TemporaryDirectory(prefix="sluice-management-proto-")
subprocess.run(["protoc", f"--python_out={_generated.name}", "-I", str(ROOT / "proto"), "sluice/v1/config.proto", "sluice/v1/event.proto",
                "sluice/v1/management.proto"], check=True)
sys.path.insert(0, _generated.name)
for name in [m for m in sys.modules if m == "sluice" or m.startswith("sluice.")]:  # another test's generated package of this name
    sys.modules.pop(name)
config_pb = importlib.import_module("sluice.v1.config_pb2")
event_pb = importlib.import_module("sluice.v1.event_pb2")
pb = importlib.import_module("sluice.v1.management_pb2")
sys.path.remove(_generated.name)

SERVICE = pb.DESCRIPTOR.services_by_name["Management"]
CODE = grpc.StatusCode


class Stub:
    """stub.GetStatus(request) for every method of the service."""

    def __init__(self, channel):
        for method in SERVICE.methods:
            request = getattr(pb, method.input_type.name)
            response = getattr(pb, method.output_type.name, None) or getattr(event_pb, method.output_type.name)
            make = channel.unary_stream if method.name == "WatchEvents" else channel.unary_unary
            setattr(self, method.name, make(f"/{SERVICE.full_name}/{method.name}", request_serializer=request.SerializeToString,
                                            response_deserializer=response.FromString))


class Host:
    """mgmt_host as a process. Its errors (a sanitizer's report, too) fail the test at close."""

    def __init__(self, folder, *arguments, mode="666"):
        self.path, self.state = folder / "s", folder / "state"
        self.state.mkdir(exist_ok=True)
        command = [PROGRAMS / "mgmt_host", "--state", self.state, "--unix", self.path, mode, *map(str, arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline().split()
        if not line or line[0] != "ready":
            raise AssertionError(self.process.communicate()[1])
        self.port = int(line[1])
        self.channel = grpc.insecure_channel(f"unix:{self.path}", options=channel_options())
        self.stub = Stub(self.channel)

    def do(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def ctl(self, *arguments, **options):
        return ctl("--socket", self.path, *arguments, **options)

    def close(self):
        self.channel.close()
        self.process.terminate()
        out, err = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, err
        assert out == "stopped\n"
        assert "ERROR: " not in err and "runtime error" not in err, err
        return err


class Result:
    def __init__(self, done):
        self.status, self.out, self.err = done.returncode, done.stdout, done.stderr

    @property
    def json(self):
        return json.loads(self.out)


def ctl(*arguments, status=0, text=None, environment=None):
    """Runs sluicectl and checks its exit status."""
    env = {"PATH": "/usr/bin:/bin", "TZ": "UTC", **(environment or {})}
    env.update({k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")})
    done = subprocess.run([SLUICECTL, *map(str, arguments)], capture_output=True, text=True, input=text, env=env, timeout=120)
    assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    if status:
        assert done.stderr.startswith("sluicectl: ") or "usage:" in done.stderr, done.stderr
    return Result(done)


@pytest.fixture
def host(tmp_path):
    running = Host(tmp_path)
    yield running
    if running.process.poll() is None:
        running.close()


@pytest.fixture
def stub(host):
    return host.stub


def fails(code, part, call, *arguments):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments)
    assert caught.value.code() == code, caught.value
    assert part in caught.value.details(), caught.value.details()
    return caught.value.details()


def certificate(common_name, ca=False, key=None, issuer=None):
    """(x509 certificate, its key), self-signed unless an issuer is given."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
    now = datetime.datetime.utcnow()
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=subject, public_key=key.public_key(),
                                      serial_number=x509.random_serial_number(), not_valid_before=now - datetime.timedelta(days=1),
                                      not_valid_after=now + datetime.timedelta(days=30))
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), True)
    if ca:
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, True)
    return builder.sign(key, hashes.SHA256()), key


def pem(cert):
    return cert.public_bytes(serialization.Encoding.PEM)


def der(cert):
    return cert.public_bytes(serialization.Encoding.DER)


def sha256(cert):
    return hashlib.sha256(der(cert)).hexdigest()


def rule(name, action=None, **match):
    return config_pb.DecryptionRule(name=name, action=action or config_pb.DECRYPT, match=config_pb.Match(**match))


def candidate(stub):
    return stub.GetConfig(pb.GetConfigRequest(source=pb.CONFIG_CANDIDATE))


def put(stub, *rules):
    return stub.SetCandidate(pb.SetCandidateRequest(config=config_pb.Config(decryption_rules=rules)))


def applied(host):
    return [int(v) for v in host.do("applied").split()[2:]]


def system_events(stub):
    return [e.explanation for e in
            stub.ListEvents(pb.ListEventsRequest(types=[event_pb.SYSTEM], limit=1000)).events]


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


def refuse(host, tmp_path, name="Server", client="192.0.2.7", server="198.51.100.7", sni="pay.example"):
    """One event of a refused self-signed certificate: (its certificate, the event)."""
    cert, _ = certificate(name)
    path = tmp_path / "refused.pem"
    path.write_bytes(pem(cert))
    assert host.do("refused", client, server, sni, path) == "ok"
    return cert, host.stub.ListEvents(pb.ListEventsRequest(limit=1, causes=[event_pb.SRV_CERT_SELF_SIGNED])).events[0]


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
    host = Host(tmp_path, "--patience-ms", 300)
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
        time.sleep(1)  # longer than the patience: nothing to wait for can be seen from here
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
    assert pending.differs and [r.name for r in pending.config.decryption_rules][-1] == "pending" and len(pending.config.decryption_rules) == 2
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
    done = subprocess.run([sys.executable, "-c", AS_NOBODY, f"unix:{host.path}", f"/{SERVICE.full_name}/{method}"], check=True, text=False,
                          input=request.SerializeToString(), capture_output=True, timeout=120, user=65534, group=65534, extra_groups=[])
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
    failed = ctl("--connect", target, "--tls-ca", ours.ca_file, "--tls-cert", other_cert, "--tls-key", other_key, "status", status=1)
    assert target in failed.err
    host.close()


# -------------------------------------------------------------------------------------------------------------- sluicectl


def test_ctl_usage():
    assert "usage: sluicectl" in ctl("--help").out
    assert "usage: sluicectl" in ctl(status=2).err
    for group in ("config", "event", "ca", "cert", "rule", "object", "setting"):
        assert f"sluicectl {group} COMMAND" in ctl(group, "--help").out
        assert "needs a second word" in ctl(group, status=2).err
    assert "--since" in ctl("event", "list", "--help").out
    for wrong in (["nonsense"], ["status", "--nonsense"], ["event", "list", "--limit", "0"], ["event", "list", "--since", "yesterday"],
                  ["event", "list", "--cause", "nonsense"], ["config", "diff", "old"], ["event", "show", "x"], ["ca", "init", "--days", "x"],
                  ["config", "show", "--candidate", "--version", "1"], ["cert", "import", "f"], ["cert", "import", "f", "--host", "h", "--port", "0"],
                  ["cert", "import", "f", "--anchor", "--host", "h"], ["event", "fix", "1", "x", "--for", "soon"], ["config", "rollback", "x"],
                  ["event", "watch", "--count", "0"]):
        assert "--help" in ctl(*wrong, status=2).err
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
    assert table[0].split() == ["COUNTER", "VALUE", "MEANING"] and any(line.startswith("sluice_events_lost_total") for line in table)
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
    assert history[0].split() == ["VERSION", "TIME", "AUTHOR", "COMMENT"] and history[1].split()[0] == "2" and "by test" in history[1]
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
    for text, part in (("decryption_rules: [", "line"), ("nonsense: 1\n", "nonsense"), ('{"decryptionRules": 1}', "decryptionRules"),
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
    path.write_text(f'#!/bin/sh\nn=$(cat {count})\necho $((n + 1)) > {count}\ncp "$1" {tmp_path}/seen-$n\ncase $n in\n{cases}\nesac\n')
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
    objects = host.ctl("object", "list").out
    assert "10.1.0.0/16 192.0.2.7 2001:db8::/32" in objects and "172.16.1.1 @lab" in objects and "8000-8099" in objects
    assert host.ctl("object", "list", "-o", "json").json["hosts"][0]["patterns"] == ["*.bank.example"]
    host.ctl("rule", "add", "decrypt", "all", "--service", "web")
    host.ctl("rule", "add", "do-not-decrypt", "lab", "--dst", "lab", "--dst", "203.0.113.1", "--top", "--for", "2h", "--comment", "why not")
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
    assert re.search(r"^crypto-profile +default$", table, re.M)
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
    done = host.ctl("cert", "import", tmp_path / "leaf.pem", "--host", "172.16.1.1", "--host", "pay.example", "--port", 443, "--port", 8443,
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
    only = host.ctl("event", "list", "--cause", "srv-cert", "--since", "1h", "--client", "192.0.2.7", "--host", "pay.example").out.splitlines()
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
    watch = subprocess.Popen([SLUICECTL, "--socket", host.path, "event", "watch", "-o", "json", "--type", "tls-abort", "--after", "1", "-n", "1"],
                             stdout=subprocess.PIPE, text=True, env=env)
    _, event = refuse(host, tmp_path)
    out, _ = watch.communicate(timeout=60)
    assert watch.returncode == 0 and json.loads(out)["id"] == str(event.id) and out.count("\n") == 1
    # the daemon goes away
    watch = subprocess.Popen([SLUICECTL, "--socket", host.path, "event", "watch", "--after", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
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
    assert sha256(cert) in asked.out and f"sluicectl event fix {event.id} pin-certificate --confirm {sha256(cert)[:16]}" in asked.err
    host.ctl("event", "fix", event.id, "pin-certificate", "--confirm", "0" * 16, status=1)
    assert host.ctl("config", "history", "-o", "json").json["versions"][0]["version"] == "1"
    assert "version 2" in host.ctl("event", "fix", event.id, "pin-certificate", "--confirm", sha256(cert)[:16], "-m", "compared").out
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
    for arguments in (["event", "list"], ["event", "list", "-o", "json"], ["event", "show", event.id], ["event", "show", event.id, "-o", "json"],
                      ["event", "watch", "--after", event.id - 1, "-n", 1], ["event", "watch", "--after", event.id - 1, "-n", 1, "-o", "json"],
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


# ------------------------------------------------------------------------------------------------------------------- trouble


def test_a_full_disk_is_told(tmp_path):
    host = Host(tmp_path, "--events-max-bytes", 400000)
    host.process.stdin.write("plain 300 4000\n")
    host.process.stdin.flush()
    wait_until(lambda: any("events can't be written" in w for w in host.stub.GetStatus(pb.GetStatusRequest()).warnings), "the warning")
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


def test_big_configuration(host, stub):
    rules = [rule(f"rule {i}", hosts=[f"h{i}.example"]) for i in range(3000)]
    revision = stub.SetCandidate(pb.SetCandidateRequest(config=config_pb.Config(decryption_rules=rules))).revision
    assert stub.Commit(pb.CommitRequest(revision=revision)).version == 2
    assert len(host.ctl("rule", "list", "-o", "json").json["decryptionRules"]) == 3000
    assert len(host.ctl("rule", "list").out.splitlines()) == 3001
    assert host.ctl("config", "show").out.count("rule ") >= 3000
