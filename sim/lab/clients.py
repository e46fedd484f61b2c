# SPDX-License-Identifier: Apache-2.0
"""Clients in the lab's client namespace."""
import socket
import ssl
from dataclasses import dataclass

from .servers import SERVERS

WRITE_OUT = "\n%{http_code} %{http_version} %{ssl_verify_result} %{local_port} %{size_download}"


@dataclass
class Answer:
    code: int           # exit code of curl
    status: int         # of HTTP; 0: none
    http: str           # "1.1", "2"
    verify: int         # X509_V_ERR of the certificate
    port: int           # the client's
    size: int
    body: str
    error: str

    @property
    def ok(self):
        return self.code == 0 and self.status == 200


class Curl:
    """curl, in the client's namespace, with the decryption CA as its only root."""

    def __init__(self, lab, ca):
        self.lab, self.ca = lab, ca

    def command(self, url, *words):
        return ["curl", "-sS", "-m", "300", "--cacert", self.ca, "-w", WRITE_OUT, *words, url]

    def get(self, url, *words, ca=None):
        command = self.command(url, *words)
        if ca:
            command[command.index("--cacert") + 1] = ca
        done = self.lab.client.run(*command, check=False, timeout=330, errors="replace")
        body, _, facts = done.stdout.rpartition("\n")
        status, http, verify, port, size = (facts.split() + ["0"] * 5)[:5]
        return Answer(done.returncode, int(status), http, int(verify), int(port), int(float(size)), body, done.stderr.strip())

    def server(self, name, path="/", *words, family="-4"):
        return self.get(f"https://{SERVERS[name].host}{path}", family, *words)


def tls_context(ca=None, alpn=None, version=None, ciphers=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca:
        context.load_verify_locations(ca)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    if version:
        context.minimum_version = context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    return context


def tls_connect(lab, name, ca=None, host=None, address=None, timeout=60, context=None, source=None, session=None, **limits):
    """A TLS connection of Python's ssl from the client's namespace to a server of the lab."""
    sock = lab.client.connect(address or SERVERS[name].ipv4, 443, timeout, source)
    try:
        context = context or tls_context(ca, **limits)
        return context.wrap_socket(sock, server_hostname=host or SERVERS[name].host, session=session)
    except BaseException:
        sock.close()
        raise


def read_all(sock, limit=1 << 31):
    """Until the peer closes; returns the bytes and how it ended: eof, reset or error."""
    data = bytearray()
    try:
        while len(data) < limit:
            chunk = sock.recv(65536)
            if not chunk:
                return bytes(data), "eof"
            data += chunk
    except ConnectionResetError:
        return bytes(data), "reset"
    except (ssl.SSLError, socket.timeout, OSError) as error:
        return bytes(data), f"error: {error}"
    return bytes(data), "limit"


def leaf_of(tls):
    """(subject CN, issuer CN, DER) of what the server showed."""
    from cryptography import x509
    der = tls.getpeercert(True)
    cert = x509.load_der_x509_certificate(der)
    names = [[a.value for a in name.get_attributes_for_oid(x509.oid.NameOID.COMMON_NAME)] for name in (cert.subject, cert.issuer)]
    return (names[0] or [""])[0], (names[1] or [""])[0], der
