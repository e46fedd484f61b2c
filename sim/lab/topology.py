# SPDX-License-Identifier: Apache-2.0
"""The lab as a whole: namespaces, addresses, PKI and servers; made and removed as one.

    client ──10.77.1.0/24, fd77:1::/64── gateway ──10.77.2.0/24, fd77:2::/64── server

Several labs can stand at once: names carry an id, and addresses are private to their namespaces. Each has a folder with everything
that belongs to it; one whose owner died is removed by whoever makes the next.
"""
import atexit
import hashlib
import json
import os
import pathlib
import secrets
import shutil
import signal
import sys
import tempfile

from . import netns
from .netns import LabError, Namespace
from .pki import Pki
from .servers import PORTS, SERVERS, Servers, hosts_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
TPROXY = ROOT / "scripts" / "sluice-tproxy"
PREFIX = "sluice-lab-"
LISTEN_PORT = 9443
PROXY_PORT = 3128
CLIENT = ("10.77.1.2", "fd77:1::2")
MORE_CLIENTS = [f"10.77.1.{n}" for n in range(3, 11)]
INSIDE = ("10.77.1.1", "fd77:1::1")
OUTSIDE = ("10.77.2.1", "fd77:2::1")
DIVERTED = f"443,{PORTS[0]}-{PORTS[1]}"


def folder_root():
    return pathlib.Path(tempfile.gettempdir())


class Lab:
    """Use as a context manager, or up() and down(). A lab that is not kept goes away with its process, however that ends."""

    def __init__(self, lab_id=None):
        self.id = lab_id or f"{os.getpid():x}{secrets.token_hex(2)}"
        self.folder = folder_root() / f"{PREFIX}{self.id}"
        self.client = Namespace(f"sl{self.id}c")
        self.gateway = Namespace(f"sl{self.id}g")
        self.server = Namespace(f"sl{self.id}s")
        self.namespaces = (self.client, self.gateway, self.server)
        self.pki = None
        self.servers = None
        self.kept = False

    # ---- life

    def up(self, servers=None, tproxy=True):
        """servers: names as for Servers.start; None: all."""
        if os.geteuid() != 0:
            raise LabError("the lab needs root: it makes network namespaces")
        remove_stale()
        self.folder.mkdir(mode=0o755)
        self._note()
        guard(self)
        try:
            self._network()
            self.pki = Pki(self.folder / "pki", "lab.test", {"by-address": [*addresses("by-address")]})
            work = self.folder / "servers"
            work.mkdir()
            self._pages(work)
            self.servers = Servers(self.server, self.pki, work)
            self.servers.start(servers)
            if tproxy:
                self.divert()
        except BaseException:
            self.down()
            raise
        return self

    def keep(self):
        """From now on the lab outlives its process; `lab down` removes it."""
        self.kept = True
        self._note()
        unguard(self)

    def down(self):
        """Removes everything; may be called at any time, and again."""
        if self.servers:
            self.servers.stop()
        ends = [pid for space in self.namespaces for pid in space.pids()]
        end_processes(pid for pid in ends if pid != os.getpid())
        for space in self.namespaces:
            space.remove()
        shutil.rmtree(self.folder, ignore_errors=True)
        unguard(self)

    def __enter__(self):
        return self.up()

    def __exit__(self, *_):
        self.down()

    def _note(self):
        note = {"pid": os.getpid(), "started": start_time(os.getpid()), "kept": self.kept}
        (self.folder / "lab.json").write_text(json.dumps(note))

    # ---- network

    def _network(self):
        hosts = hosts_file() + f"{INSIDE[0]} gateway.lab.test\n"
        for space in self.namespaces:
            space.create(hosts)
            space.sysctl({"net.ipv6.conf.all.accept_dad": 0, "net.ipv6.conf.default.accept_dad": 0,
                          "net.ipv4.ip_local_port_range": "1024 65535", "net.ipv4.tcp_max_tw_buckets": 1000,
                          "net.core.somaxconn": 4096, "net.ipv4.tcp_max_syn_backlog": 8192})
        self._wire(self.client, "eth0", [*CLIENT, *MORE_CLIENTS], self.gateway, "inside", INSIDE)
        self._wire(self.server, "eth0", [a for name in SERVERS for a in addresses(name)], self.gateway, "outside", OUTSIDE)
        self.gateway.sysctl({"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1})

    def _wire(self, end, end_if, end_addresses, gateway, gateway_if, gateway_addresses):
        """A cable from an end system to the gateway, and the end system's default routes."""
        netns.run("ip", "link", "add", gateway_if, "netns", gateway.name, "type", "veth", "peer", "name", end_if, "netns", end.name)
        for space, interface, own in ((end, end_if, end_addresses), (gateway, gateway_if, gateway_addresses)):
            lines = [f"address add {a}/{64 if ':' in a else 24} dev {interface}{' nodad' if ':' in a else ''}" for a in own]
            lines.append(f"link set {interface} up")
            space.run("ip", "-batch", "-", input="\n".join(lines) + "\n")
        end.run("ip", "-4", "route", "add", "default", "via", gateway_addresses[0])
        end.run("ip", "-6", "route", "add", "default", "via", gateway_addresses[1], "src", end_addresses[1])

    def divert(self, fail="open"):
        """Connections of clients go to the transparent listeners from now on; fail: while nobody listens there."""
        self.gateway.run(TPROXY, "up", "--inside", "inside", "--outside", "outside", "--ports", DIVERTED, "--listen-port",
                         LISTEN_PORT, "--fail", fail)

    def divert_no_more(self):
        self.gateway.run(TPROXY, "down")

    # ---- what nginx serves

    def _pages(self, work):
        html = work / "html"
        html.mkdir()
        (html / "index.html").write_text("<!DOCTYPE html><title>Sluice lab</title><p>The page of the lab.\n")
        (html / "random").write_bytes(os.urandom(4 << 20))
        (html / "empty").write_bytes(b"")
        (html / "upload").mkdir()
        os.chmod(html / "upload", 0o777)
        os.chmod(work, 0o755)

    def big_file(self, size=1 << 30):
        """Makes the page /big, of so many bytes that no-one can compress; returns its SHA-256. Quick when it is there already."""
        path = self.folder / "servers" / "html" / "big"
        note = path.with_suffix(".sha256")
        if not note.exists() or path.stat().st_size != size:
            with open(path, "wb") as out:
                netns.run("openssl", "enc", "-aes-128-ctr", "-K", secrets.token_hex(16), "-iv", "00" * 16, "-in", "/dev/zero",
                          stdout=out, capture_output=False, check=False, preexec_fn=limit_file(size), stderr=-3)
            if path.stat().st_size != size:
                raise LabError(f"{path} has {path.stat().st_size} bytes instead of {size}: is the disk full?")
            note.write_text(sha256_of_file(path))
        return note.read_text()


def addresses(name):
    return SERVERS[name].ipv4, SERVERS[name].ipv6


def sha256_of_file(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def limit_file(size):
    """The child's output ends at that size, by SIGXFSZ."""
    def limit():
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    return limit


# ---- clean-up

def start_time(pid):
    """The process' start time, which tells it from a later one with the same number; None: no such process."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        return None


def end_processes(pids):
    pids = list(pids)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
        try:
            netns.wait_for(lambda: not any(alive(pid) for pid in pids), "processes to end", 2)
            return
        except LabError:
            continue


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def all_labs():
    """(id, kept, its owner lives) of each lab on this machine."""
    for folder in sorted(folder_root().glob(PREFIX + "*")):
        try:
            note = json.loads((folder / "lab.json").read_text())
        except (OSError, ValueError):
            continue  # being made, or being removed
        yield folder.name[len(PREFIX):], note["kept"], start_time(note["pid"]) == note["started"]


def remove_stale():
    for lab_id, kept, living in list(all_labs()):
        if not kept and not living:
            Lab(lab_id).down()


_guarded = {}


def guard(lab):
    """The lab goes away with this process: at exit and on the usual signals. After SIGKILL the next lab removes it."""
    if not _guarded:
        atexit.register(lambda: [one.down() for one in list(_guarded.values())])
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, lambda n, _: sys.exit(128 + n))
    _guarded[lab.id] = lab


def unguard(lab):
    _guarded.pop(lab.id, None)
