# SPDX-License-Identifier: Apache-2.0
"""The servers of the lab: which there are, their addresses, and the programs that play them.

Each has a name, an IPv4 and an IPv6 address, and the host name NAME.lab.test; all answer on port 443, and some on PORTS too.
"""
import json
import pathlib
import subprocess
import sys
from dataclasses import dataclass

from . import netns
from .pki import key_pem

DOMAIN = "lab.test"
PORTS = (10000, 10255)  # servers that behave by port: alert 10000 + code, cut 10000 + bytes / 8
HERE = pathlib.Path(__file__).resolve().parent

# nginx: certificate, HTTP/2, and settings of the TLS side.
ECDHE_12 = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384"
NGINX = {
    "good": ("ecdsa", True, {}),
    "rsa": ("rsa", True, {}),
    "tls12": ("ecdsa", True, {"protocols": "TLSv1.2", "ciphers": ECDHE_12}),
    "tls12-rsa": ("rsa", True, {"protocols": "TLSv1.2", "ciphers": ECDHE_12}),
    "tls13": ("ecdsa", True, {"protocols": "TLSv1.3"}),
    "tls13-rsa": ("rsa", True, {"protocols": "TLSv1.3"}),
    "h1-only": ("ecdsa", False, {}),
    "aes256-12": ("ecdsa", True, {"protocols": "TLSv1.2", "ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384"}),
    "aes128-12": ("ecdsa", True, {"protocols": "TLSv1.2", "ciphers": "ECDHE-ECDSA-AES128-GCM-SHA256"}),
    "chacha12": ("ecdsa", True, {"protocols": "TLSv1.2", "ciphers": "ECDHE-ECDSA-CHACHA20-POLY1305"}),
    "aes256-13": ("ecdsa", True, {"protocols": "TLSv1.3", "suites": "TLS_AES_256_GCM_SHA384"}),
    "aes128-13": ("ecdsa", True, {"protocols": "TLSv1.3", "suites": "TLS_AES_128_GCM_SHA256"}),
    "chacha13": ("ecdsa", True, {"protocols": "TLSv1.3", "suites": "TLS_CHACHA20_POLY1305_SHA256"}),
    "cbc": ("ecdsa", False, {"protocols": "TLSv1.2", "ciphers": "ECDHE-ECDSA-AES256-SHA384:ECDHE-ECDSA-AES128-SHA"}),
    "static-rsa": ("rsa", False, {"protocols": "TLSv1.2", "ciphers": "AES128-GCM-SHA256"}),
    "dhe": ("rsa", False, {"protocols": "TLSv1.2", "ciphers": "DHE-RSA-AES128-GCM-SHA256", "dhparam": "dh2048.pem"}),
    "dh1024": ("rsa", False, {"protocols": "TLSv1.2", "ciphers": "DHE-RSA-AES128-GCM-SHA256", "dhparam": "dh1024.pem"}),
    "client-cert-optional": ("ecdsa", False, {"verify": "optional"}),
    "unrecognized-name": ("ecdsa", False, {"reject": True}),
    **{name: (name, True, {}) for name in (
        "by-address", "sans1000", "expired", "not-yet", "wrong-host", "wrong-address", "untrusted-root", "no-san", "rsa1024",
        "sha1",
        "client-auth", "incomplete-chain", "revoked", "critical-extension", "self-signed", "self-signed-chain", "leaf-as-ca",
        "path-length", "name-constraint", "weak-ca", "sha1-ca", "bad-signature")},
}

# openssl s_server: certificate and arguments.
S_SERVER = {
    "cipher-refused": ("rsa", ["-tls1_2", "-cipher", "CAMELLIA256-SHA", "-www"]),
    "tls11": ("rsa", ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0", "-www"]),
    "tls10": ("rsa", ["-tls1", "-cipher", "ALL:@SECLEVEL=0", "-www"]),
    "client-cert12": ("ecdsa", ["-tls1_2", "-Verify", "1", "-verify_return_error", "-CAfile", "{pki}/root.pem", "-www"]),
    "client-cert13": ("ecdsa", ["-tls1_3", "-Verify", "1", "-verify_return_error", "-CAfile", "{pki}/root.pem", "-www"]),
    "h2-only": ("ecdsa", ["-alpn", "h2"]),
    "staple": ("ecdsa", ["-www", "-status_file", "{pki}/staple.der"]),
}

# odd.py: what its functions of the same name do.
ODD = (
    "alert", "cut-reset", "cut-eof", "eof-accept", "eof-hello", "reset-accept", "reset-hello", "silent", "drip", "not-tls",
    "banner",
    "unoffered-cipher", "downgrade", "compression", "oversized-record", "bad-record-type", "unknown-version", "half-hello",
    "garbage", "corrupt12", "corrupt13", "echo", "echo12", "plain-echo", "renegotiate", "warning-alert",
)

NAMES = (*NGINX, *S_SERVER, *ODD)


@dataclass(frozen=True)
class Server:
    name: str
    index: int

    @property
    def host(self):
        return f"{self.name}.{DOMAIN}"

    @property
    def ipv4(self):
        return f"10.77.2.{self.index}"

    @property
    def ipv6(self):
        return f"fd77:2::{self.index}"


SERVERS = {name: Server(name, 10 + i) for i, name in enumerate(NAMES)}
assert len(SERVERS) == len(NAMES) and max(s.index for s in SERVERS.values()) < 250


def hosts_file():
    lines = ["127.0.0.1 localhost", "::1 localhost"]
    for server in SERVERS.values():
        lines += [f"{server.ipv4} {server.host}", f"{server.ipv6} {server.host}"]
    return "\n".join(lines) + "\n"


def openssl_conf(folder):
    """Lets the servers do what Debian's defaults forbid: they are to be refused by the gateway, not by themselves."""
    path = folder / "openssl.cnf"
    path.write_text("openssl_conf = init\n[init]\nssl_conf = ssl\n[ssl]\nsystem_default = anything\n"
                    "[anything]\nMinProtocol = TLSv1\nCipherString = DEFAULT:@SECLEVEL=0\n")
    return {**netns.ENV, "OPENSSL_CONF": str(path)}


def _nginx_server(server, pki, folder, cert, http2, options):
    h2 = " http2" if http2 else ""
    lines = [
        f"listen {server.ipv4}:443 ssl{h2} backlog=4096;",
        f"listen [{server.ipv6}]:443 ssl{h2} backlog=4096;",
        f"ssl_protocols {options.get('protocols', 'TLSv1.2 TLSv1.3')};",
        f"ssl_ciphers {options.get('ciphers', 'DEFAULT')}:@SECLEVEL=0;",
        f"ssl_certificate {pki.path(cert)}.pem;",
        f"ssl_certificate_key {pki.path(cert)}.key;",
    ]
    if "suites" in options:
        lines.append(f"ssl_conf_command Ciphersuites {options['suites']};")
    if "dhparam" in options:
        lines.append(f"ssl_dhparam {folder / options['dhparam']};")
    if "verify" in options:
        lines += [f"ssl_verify_client {options['verify']};", f"ssl_client_certificate {pki.path('root.pem')};"]
    if options.get("reject"):
        lines.append("ssl_reject_handshake on;")
    body = "\n        ".join(lines)
    return f"""    server {{
        {body}
        location /upload {{ client_max_body_size 0; client_body_buffer_size 64k; dav_methods PUT; create_full_put_path on; }}
        location = /slow {{ limit_rate 20k; alias {folder}/html/random; }}
        location = /who {{ return 200 "$remote_addr $remote_port $ssl_protocol $ssl_cipher $http2 $ssl_session_reused\\n"; }}
    }}
"""


def nginx_conf(pki, folder, workers=2):
    servers = "".join(_nginx_server(SERVERS[name], pki, folder, *spec) for name, spec in NGINX.items())
    return f"""worker_processes {workers};
worker_rlimit_nofile 16384;
pid {folder}/nginx.pid;
daemon off;
error_log {folder}/nginx-error.log notice;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    types {{ text/html html; }}
    default_type application/octet-stream;
    root {folder}/html;
    sendfile on;
    keepalive_timeout 300s;
    keepalive_requests 1000000;
    client_body_temp_path {folder}/tmp-body;
    proxy_temp_path {folder}/tmp-proxy;
    fastcgi_temp_path {folder}/tmp-fastcgi;
    uwsgi_temp_path {folder}/tmp-uwsgi;
    scgi_temp_path {folder}/tmp-scgi;
    ssl_session_cache shared:lab:4m;
{servers}}}
"""


class Servers:
    """The running programs. start() returns when all of them answer."""

    def __init__(self, namespace, pki, folder):
        self.namespace, self.pki, self.folder = namespace, pki, folder
        self.processes = []
        self.logs = []

    def _start(self, name, *command, **more):
        log = open(self.folder / f"{name}.log", "wb")  # pylint: disable=consider-using-with
        self.logs.append(log)
        process = self.namespace.start(*command, **{"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **more})
        self.processes.append(process)
        return process

    def start(self, names=None):
        """names: only these of S_SERVER and ODD (nginx always runs them all); None: everything."""
        env = openssl_conf(self.folder)
        for bits in (1024, 2048):  # DSA-style parameters are made in no time
            netns.run("openssl", "dhparam", "-dsaparam", "-out", self.folder / f"dh{bits}.pem", bits)
        (self.folder / "nginx.conf").write_text(nginx_conf(self.pki, self.folder))
        self._start("nginx", "nginx", "-p", self.folder, "-c", self.folder / "nginx.conf", "-e", self.folder / "nginx-error.log",
                    env=env)
        for name, (cert, arguments) in S_SERVER.items():
            if names is None or name in names:
                self.s_server(name, cert, arguments, env)
        odd = [name for name in ODD if names is None or name in names]
        if odd:
            spec = {"pki": str(self.pki.folder), "ports": PORTS,
                    "servers": {name: [SERVERS[name].ipv4, SERVERS[name].ipv6] for name in odd},
                    "backends": {name: SERVERS[name].ipv4 for name in ("good", "tls12", "tls13")}}
            self._start("odd", sys.executable, "-B", HERE / "odd.py", json.dumps(spec), env=env)
        self._wait(["good", *(n for n in S_SERVER if names is None or n in names), *odd[-1:]])

    def s_server(self, name, cert, arguments, env):
        if any("staple" in word for word in arguments):
            self._make_staple(cert)
        words = [word.replace("{pki}", str(self.pki.folder)) for word in arguments]
        self._start(name, "openssl", "s_server", "-accept", f"{SERVERS[name].ipv4}:443", "-cert", f"{self.pki.path(cert)}.pem",
                    "-cert_chain", self.pki.path("issuing.pem"), "-key", f"{self.pki.path(cert)}.key", "-quiet", *words, env=env,
                    stdin=subprocess.PIPE)

    def _make_staple(self, cert):
        """An OCSP response, signed by the issuing CA, that says good."""
        folder = self.pki.folder
        serial = f"{self.pki.certs[cert].serial_number:X}"
        serial = serial if len(serial) % 2 == 0 else "0" + serial
        (folder / "issuing.key").write_bytes(key_pem(self.pki.issuing.key))
        (folder / "ocsp.index").write_text(f"V\t491231235959Z\t\t{serial}\tunknown\t/CN=staple\n")
        netns.run("openssl", "ocsp", "-index", folder / "ocsp.index", "-CA", folder / "issuing.pem", "-rsigner",
                  folder / "issuing.pem",
                  "-rkey", folder / "issuing.key", "-issuer", folder / "issuing.pem", "-serial", f"0x{serial}", "-ndays", "7",
                  "-respout", folder / "staple.der", "-noverify")

    def _wait(self, names):
        def answers(name):
            for process in self.processes:
                if process.poll() is not None:
                    raise netns.LabError(f"a server of the lab ended ({process.args}):\n{self.log_text()}")
            try:
                self.namespace.connect(SERVERS[name].ipv4, 443, timeout=1).close()
                return True
            except OSError:
                return False

        for name in names:
            netns.wait_for(lambda name=name: answers(name), f"server {name}")

    def log_text(self):
        return "".join(f"--- {path.name}\n{path.read_text(errors='replace')[-2000:]}"
                       for path in sorted(self.folder.glob("*.log")) if path.stat().st_size)

    def stop(self):
        for process in reversed(self.processes):
            netns.stop(process, 2)
        for log in self.logs:
            log.close()
        self.processes, self.logs = [], []
