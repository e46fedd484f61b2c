# SPDX-License-Identifier: Apache-2.0
"""A test PKI, made afresh for each lab: one good chain, and one certificate for each way of being bad."""
import datetime
import ipaddress
import pathlib
import warnings

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

NOW = datetime.datetime.utcnow().replace(microsecond=0)
DAY = datetime.timedelta(days=1)
SERVER_AUTH = (ExtendedKeyUsageOID.SERVER_AUTH,)
CLIENT_AUTH = (ExtendedKeyUsageOID.CLIENT_AUTH,)


def ec_key():
    return ec.generate_private_key(ec.SECP256R1())


def rsa_key(bits=2048):
    return rsa.generate_private_key(65537, bits)


def name_of(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


class Issuer:
    """A CA: its certificate and its key."""

    def __init__(self, cert, key):
        self.cert, self.key = cert, key


def san_of(names):
    def entry(name):
        try:
            return x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            return x509.DNSName(name)

    return x509.SubjectAlternativeName([entry(name) for name in names])


def certificate(subject, key, issuer=None, names=(), ca=None, eku=None, begin=-2, end=90, digest=None, permitted=None,
                critical=False,
                forged=False):
    """issuer None: self-signed. ca: None for a leaf, else (pathlen or None). begin, end: days from now. forged: by a stranger."""
    issuer_name = issuer.cert.subject if issuer else name_of(subject)
    signer = issuer.key if issuer else key
    builder = (x509.CertificateBuilder().subject_name(name_of(subject)).issuer_name(issuer_name).public_key(key.public_key())
               .serial_number(x509.random_serial_number()).not_valid_before(NOW + begin * DAY).not_valid_after(NOW + end * DAY))
    is_ca = ca is not None
    builder = builder.add_extension(x509.BasicConstraints(is_ca, ca[0] if is_ca else None), True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False)
    is_rsa = isinstance(key, rsa.RSAPrivateKey)
    usage = x509.KeyUsage(not is_ca, False, not is_ca and is_rsa, False, False, is_ca, is_ca, False, False)
    builder = builder.add_extension(usage, True)
    if names:
        builder = builder.add_extension(san_of(names), False)
    if eku:
        builder = builder.add_extension(x509.ExtendedKeyUsage(eku), False)
    if permitted:
        builder = builder.add_extension(x509.NameConstraints([x509.DNSName(name) for name in permitted], None), True)
    if critical:
        builder = builder.add_extension(x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00"), True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SHA-1 is what some are made to be refused for
        return builder.sign(ec_key() if forged else signer, digest or hashes.SHA256())


def pem(*certs):
    return b"".join(cert.public_bytes(serialization.Encoding.PEM) for cert in certs)


def key_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def sha256_of(cert):
    return cert.fingerprint(hashes.SHA256()).hex()


class Pki:
    """Writes NAME.pem (the chain as a server sends it) and NAME.key into a folder, and root.pem and crl.pem.

    `certs` maps a name to its leaf.
    """

    def __init__(self, folder, domain, addresses):
        """addresses: for each server name the addresses that it answers on, for certificates of IP literals."""
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.domain = domain
        self.certs = {}
        self._authorities()
        self._good(addresses)
        self._bad()
        self._crl()

    def path(self, name):
        return self.folder / name

    def _write(self, name, key, *chain):
        self.path(f"{name}.pem").write_bytes(pem(*chain))
        self.path(f"{name}.key").write_bytes(key_pem(key))
        self.path(f"{name}.key").chmod(0o600)
        self.certs[name] = chain[0]

    def _authorities(self):
        key = ec_key()
        self.root = Issuer(certificate("Lab Root", key, ca=(None,), end=3650), key)
        key = ec_key()
        self.issuing = Issuer(certificate("Lab Issuing CA", key, self.root, ca=(0,), end=1825), key)
        key = ec_key()
        self.elsewhere = Issuer(certificate("Some Other Root", key, ca=(None,), end=3650), key)
        self.path("root.pem").write_bytes(pem(self.root.cert))
        self.path("issuing.pem").write_bytes(pem(self.issuing.cert))
        self.path("elsewhere.pem").write_bytes(pem(self.elsewhere.cert))
        key = ec_key()
        self._write("client", key, certificate("Lab Client", key, self.issuing, ["client.lab.test"], eku=CLIENT_AUTH),
                    self.issuing.cert)

    def leaf(self, name, key=None, issuer=None, names=None, chain=None, **more):
        key = key or ec_key()
        issuer = issuer or self.issuing
        names = [f"{name}.{self.domain}"] if names is None else names
        options = {"eku": SERVER_AUTH, **more}
        cert = certificate(f"{name}.{self.domain}", key, issuer, names, **options)
        self._write(name, key, cert, *([issuer.cert] if chain is None else chain))
        return cert

    def _good(self, addresses):
        everyone = [f"*.{self.domain}"]
        self.leaf("ecdsa", names=everyone)
        self.leaf("rsa", rsa_key(), names=everyone)
        self.leaf("by-address", names=addresses["by-address"])
        self.leaf("sans1000", names=[f"host-{i:04}.{self.domain}" for i in range(999)] + [f"sans1000.{self.domain}"])

    def _bad(self):
        self.leaf("expired", begin=-60, end=-1)
        self.leaf("not-yet", begin=1, end=60)
        self.leaf("wrong-host", names=["some.other.example"])
        self.leaf("wrong-address", names=["192.0.2.77"])
        self.leaf("untrusted-root", issuer=self.elsewhere, chain=[])
        self.leaf("no-san", names=[])
        self.leaf("rsa1024", rsa_key(1024))
        self.leaf("sha1", digest=hashes.SHA1())
        self.leaf("client-auth", eku=CLIENT_AUTH)
        self.leaf("incomplete-chain", chain=[])
        self.leaf("revoked")
        self.leaf("critical-extension", critical=True)

        key = ec_key()
        self._write("self-signed", key, certificate(f"self-signed.{self.domain}", key, names=[f"self-signed.{self.domain}"],
                                                    eku=SERVER_AUTH))
        self.leaf("self-signed-chain", issuer=self.elsewhere, chain=[self.elsewhere.cert])

        # A leaf that signs: its issuer may not be a CA at all.
        key = ec_key()
        no_ca = Issuer(certificate("Not A CA", key, self.issuing), key)
        self.leaf("leaf-as-ca", issuer=no_ca, chain=[no_ca.cert, self.issuing.cert])
        # The issuing CA has a path length of 0.
        key = ec_key()
        below = Issuer(certificate("One CA Too Many", key, self.issuing, ca=(None,)), key)
        self.leaf("path-length", issuer=below, chain=[below.cert, self.issuing.cert])
        key = ec_key()
        narrow = Issuer(certificate("Narrow CA", key, self.root, ca=(0,), permitted=["allowed.example"]), key)
        self.leaf("name-constraint", issuer=narrow)
        key = rsa_key(1024)
        weak = Issuer(certificate("Weak CA", key, self.root, ca=(0,)), key)
        self.leaf("weak-ca", issuer=weak)
        key = ec_key()
        old = Issuer(certificate("Old CA", key, self.root, ca=(0,), digest=hashes.SHA1()), key)
        self.leaf("sha1-ca", issuer=old)
        self.leaf("bad-signature", forged=True)

    def _crl(self):
        """One list for each CA: revocation of an end entity needs the issuing CA's, of the chain also the root's."""
        def crl(issuer, *revoked):
            builder = (x509.CertificateRevocationListBuilder().issuer_name(issuer.cert.subject).last_update(NOW - DAY)
                       .next_update(NOW + 30 * DAY))
            for cert in revoked:
                builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder().serial_number(cert.serial_number)
                                                          .revocation_date(NOW - DAY).build())
            return builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

        self.path("crl.pem").write_bytes(crl(self.issuing, self.certs["revoked"]))
        self.path("crl-root.pem").write_bytes(crl(self.root))
