# SPDX-License-Identifier: Apache-2.0
"""The keys of a captured TLS connection, from the client's key log, and where in the capture they begin to be used.

What a host that terminates the handshake knows, and tells a card when it hands the connection over (docs/card.md): keys, the TCP
sequence number of the next record, record numbers. AES-GCM suites only. RFC 8446 section 7, RFC 5246 section 6.3, RFC 5288.
"""
import hashlib
import hmac
import os
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

CHANGE_CIPHER_SPEC, HANDSHAKE, APPLICATION_DATA = 20, 22, 23
SUPPORTED_VERSIONS = 43
RANDOM = slice(6, 38)  # of a hello: behind type, length and version
# Number: name, bytes of key, hash of the key schedule.
SUITES = {
    0x1301: ("TLS_AES_128_GCM_SHA256", 16, "sha256"),
    0x1302: ("TLS_AES_256_GCM_SHA384", 32, "sha384"),
    0xc02b: ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", 16, "sha256"),
    0xc02c: ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", 32, "sha384"),
    0xc02f: ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", 16, "sha256"),
    0xc030: ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", 32, "sha384"),
}
# Of the two directions: 0 from the client, 1 from the server.
HANDSHAKE_SECRETS = ("CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET")
TRAFFIC_SECRETS = ("CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0")
MASTER_SECRET = "CLIENT_RANDOM"  # what a key log of TLS 1.2 calls it


class KeyLogError(Exception):
    pass


def read_keylog(path):
    """{client random: {label: secret}}"""
    found = {}
    for line in path.read_text().splitlines():
        if line and line[0] != "#":
            label, client_random, secret = line.split()
            found.setdefault(bytes.fromhex(client_random), {})[label] = bytes.fromhex(secret)
    return found


def write_keylog(path, found):
    path.write_text("".join(f"{label} {client_random.hex()} {secret.hex()}\n"
                            for client_random, secrets in found.items() for label, secret in secrets.items()))
    path.chmod(0o600)


@dataclass(frozen=True)
class Keys:
    """Of one direction. iv: 12 bytes; TLS 1.2: the 4 bytes of salt."""
    key: bytes
    iv: bytes


@dataclass(frozen=True)
class Position:
    """Right behind the handshake in one direction: a record begins here."""
    next_seq: int     # TCP sequence number
    record: int       # TLS sequence number
    next_nonce: int   # TLS 1.2: the explicit nonce that is expected


class Hellos:
    """What both sides agreed on, from the two streams of a connection (wire.Stream)."""

    def __init__(self, streams):
        client, server = (handshake_of(stream) for stream in streams)
        self.client_random, self.server_random = client[RANDOM], server[RANDOM]
        session_end = 39 + server[38]
        number = struct.unpack_from(">H", server, session_end)[0]
        if number not in SUITES:
            raise KeyLogError(f"cipher suite {number:#06x} is none with AES-GCM")
        self.suite, self.key_bytes, self.hash = SUITES[number]
        self.tls13 = SUPPORTED_VERSIONS in extensions(server, session_end + 3)
        self.version = "TLS 1.3" if self.tls13 else "TLS 1.2"

    # ---- keys

    def keys(self, secrets, way):
        """The keys of application data in one direction, of a leg with these secrets."""
        if self.tls13:
            return self.traffic_keys(secrets[TRAFFIC_SECRETS[way]])
        block = self.prf(secrets[MASTER_SECRET], b"key expansion" + self.server_random + self.client_random,
                         2 * self.key_bytes + 8)
        iv = block[2 * self.key_bytes:]
        return Keys(block[way * self.key_bytes:][:self.key_bytes], iv[4 * way:][:4])

    def traffic_keys(self, secret):
        return Keys(self.expand_label(secret, b"key", self.key_bytes), self.expand_label(secret, b"iv", 12))

    def expand_label(self, secret, label, count):
        info = struct.pack(">HB", count, 6 + len(label)) + b"tls13 " + label + b"\0"
        digest = hashes.SHA384() if self.hash == "sha384" else hashes.SHA256()
        return HKDFExpand(digest, count, info).derive(secret)

    def prf(self, secret, seed, count):
        out, a = b"", seed
        while len(out) < count:
            a = hmac.digest(secret, a, self.hash)
            out += hmac.digest(secret, a + seed, self.hash)
        return out[:count]

    def other_leg(self, secrets):
        """Secrets of another leg with the same handshake: those of application data are new."""
        new = TRAFFIC_SECRETS if self.tls13 else (MASTER_SECRET,)
        size = hashlib.new(self.hash).digest_size if self.tls13 else 48
        return {label: os.urandom(size) if label in new else secret for label, secret in secrets.items()}

    # ---- positions

    def position(self, stream, secrets, way):
        """Where application data begins."""
        records = stream.records()
        if self.tls13:
            count, number, nonce = self._handshake13(records, self.traffic_keys(secrets[HANDSHAKE_SECRETS[way]])), 0, 0
        else:
            finished = [kind for kind, _ in records].index(CHANGE_CIPHER_SPEC) + 1
            count, number, nonce = finished + 1, 1, int.from_bytes(records[finished][1][:8], "big") + 1
        passed = sum(5 + len(body) for _, body in records[:count])
        return Position((stream.base + passed) & 0xffffffff, number, nonce)

    def finished12(self, stream, secrets, other_secrets, way):
        """TLS 1.2: the record with the Finished message as it was captured, and as it is in the other leg."""
        records = stream.records()
        _, body = records[[kind for kind, _ in records].index(CHANGE_CIPHER_SPEC) + 1]
        first, other = self.keys(secrets, way), self.keys(other_secrets, way)
        header, nonce = struct.pack(">BHH", HANDSHAKE, 0x303, len(body)), body[:8]
        associated = bytes(8) + struct.pack(">BHH", HANDSHAKE, 0x303, len(body) - 24)
        message = AESGCM(first.key).decrypt(first.iv + nonce, body[8:], associated)
        return header + body, header + nonce + AESGCM(other.key).encrypt(other.iv + nonce, message, associated)

    @staticmethod
    def _handshake13(records, keys):
        """How many records there are up to the last that the handshake's keys open."""
        number = last = 0
        for i, (kind, body) in enumerate(records):
            if kind != APPLICATION_DATA:
                continue
            nonce = (int.from_bytes(keys.iv, "big") ^ number).to_bytes(12, "big")
            try:
                AESGCM(keys.key).decrypt(nonce, body, struct.pack(">BHH", kind, 0x303, len(body)))
            except InvalidTag:
                break
            number, last = number + 1, i + 1
        if not last:
            raise KeyLogError("the key log's handshake secrets open nothing")
        return last


def handshake_of(stream):
    """The first handshake message of a stream, in plaintext."""
    data = b"".join(body for kind, body in stream.records() if kind == HANDSHAKE)
    size = int.from_bytes(data[1:4], "big") + 4
    if len(data) < max(size, 40):
        raise KeyLogError("the capture does not begin with a TLS handshake")
    return data[:size]


def extensions(hello, at):
    """The types of a hello's extensions, which begin at that byte with their length."""
    found, at = [], at + 2
    while at + 4 <= len(hello):
        kind, size = struct.unpack_from(">HH", hello, at)
        found.append(kind)
        at += 4 + size
    return found
