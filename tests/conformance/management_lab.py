# SPDX-License-Identifier: Apache-2.0
"""What the tests of the management service share: its schema, the service as a process, sluicectl, certificates."""
import datetime
import hashlib
import json
import os
import subprocess

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from rpc_lab import BUILD, PROGRAMS, channel_options, schema

SLUICECTL = BUILD / "bin" / "sluicectl"

config_pb, event_pb, pb = schema.schema("sluice/v1/config.proto", "sluice/v1/event.proto", "sluice/v1/management.proto")

SERVICE = pb.DESCRIPTOR.services_by_name["Management"]
CODE = grpc.StatusCode


class Stub(schema.Stub):
    """stub.GetStatus(request) for every method of the service."""

    def __init__(self, channel):
        super().__init__(channel, SERVICE)


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


def refuse(host, tmp_path, name="Server", client="192.0.2.7", server="198.51.100.7", sni="pay.example"):
    """One event of a refused self-signed certificate: (its certificate, the event)."""
    cert, _ = certificate(name)
    path = tmp_path / "refused.pem"
    path.write_bytes(pem(cert))
    assert host.do("refused", client, server, sni, path) == "ok"
    return cert, host.stub.ListEvents(pb.ListEventsRequest(limit=1, causes=[event_pb.SRV_CERT_SELF_SIGNED])).events[0]
