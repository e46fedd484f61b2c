# SPDX-License-Identifier: Apache-2.0
"""What the rpc conformance tests share: messages from the .proto, certificates made afresh, our server and client as processes."""
import datetime
import ipaddress
import json
import os
import pathlib
import subprocess
import sys
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD_DIR", ROOT / "build" / "dev")).resolve()
PROGRAMS = BUILD / "tests" / "conformance"
SERVICE = "sluice.test.v1.Conformance"

sys.path.append(str(ROOT / "sim"))  # for clients that tests start as processes of their own
from lab import schema  # noqa: E402  pylint: disable=wrong-import-position

pb = schema.schema("sluice/test/v1/conformance.proto")[0]
METHODS = schema.methods(pb.DESCRIPTOR.services_by_name["Conformance"])


class Stub(schema.Stub):
    """stub.Echo(request, …) as generated code would have it."""

    def __init__(self, channel):
        super().__init__(channel, pb.DESCRIPTOR.services_by_name["Conformance"])


def channel_options(**extra):
    # A subchannel pool of its own: channels of the same target would otherwise share one connection.
    options = {"grpc.use_local_subchannel_pool": 1, "grpc.enable_http_proxy": 0}
    options.update({"grpc." + key: value for key, value in extra.items()})
    return list(options.items())


def wait_until(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"still waiting for {what}"
        time.sleep(0.01)


class Pki:
    """A CA and certificates for a server and a client."""

    def __init__(self, folder, name):
        self.folder, self.name = pathlib.Path(folder), name
        self.ca_key = ec.generate_private_key(ec.SECP256R1())
        self.ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} CA")])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        self.ca = self._sign(self.ca_name, self.ca_key.public_key(), [(constraints, True)])
        self.ca_file = self._write("ca.pem", self.ca.public_bytes(serialization.Encoding.PEM))

    def _write(self, name, data):
        path = self.folder / f"{self.name}-{name}"
        path.write_bytes(data)
        return str(path)

    def _sign(self, subject, public_key, extensions, expired=False):
        now = datetime.datetime.utcnow()
        end = now - datetime.timedelta(hours=1) if expired else now + datetime.timedelta(days=1)
        builder = x509.CertificateBuilder(subject_name=subject, issuer_name=self.ca_name, public_key=public_key,
                                          serial_number=x509.random_serial_number(),
                                          not_valid_before=now - datetime.timedelta(days=1), not_valid_after=end)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.ca_key, hashes.SHA256())

    def issue(self, common_name, names=(), client=False, expired=False):
        """(certificate file, key file)"""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        extensions = [(x509.ExtendedKeyUsage([usage]), False)]
        if names:
            alt = [x509.IPAddress(ipaddress.ip_address(n)) if n[0].isdigit() else x509.DNSName(n) for n in names]
            extensions.append((x509.SubjectAlternativeName(alt), False))
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        certificate = self._sign(subject, key.public_key(), extensions, expired)
        stem = common_name.replace(" ", "-")
        return (self._write(f"{stem}.pem", certificate.public_bytes(serialization.Encoding.PEM)),
                self._write(f"{stem}.key", key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                                             serialization.NoEncryption())))


def read(path):
    return pathlib.Path(path).read_bytes()


class Server:
    """Our server. Its errors (a sanitizer's report, too) fail the test at close."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([PROGRAMS / "rpc_test_server", *map(str, arguments)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        line = self.process.stdout.readline().decode().split()
        if not line or line[0] != "ready":
            raise AssertionError(self.process.communicate()[1].decode())
        self.port = int(line[1])

    @property
    def pid(self):
        return self.process.pid

    def close(self):
        """Drains and ends; the return value is standard error."""
        self.process.terminate()
        return self.wait()

    def wait(self):
        out, err = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, err.decode()
        assert out.decode() == "stopped\n"
        assert "ERROR: " not in err.decode() and "WARNING: ThreadSanitizer" not in err.decode(), err.decode()
        return err.decode()


def run_client(target, *arguments, tls=None):
    """Our client: (responses as dicts, sl_err, text)."""
    command = [PROGRAMS / "rpc_test_client", target]
    if tls:
        command += ["--tls", *tls]
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    lines = done.stdout.decode().splitlines()
    status = lines.pop().split(" ", 2)
    assert status[0] == "status"
    return [json.loads(line) for line in lines], int(status[1]), status[2]
