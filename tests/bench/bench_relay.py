#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The cost of relaying, seen from outside: CPU seconds for a gigabyte, and memory for a connection that is idle.

The peer is nginx as a TLS proxy in the same place: it, too, terminates the client's TLS 1.3 and speaks TLS 1.3 to the same server.
Root is needed: the lab is made of network namespaces.
"""
import json
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "sim"))
sys.dont_write_bytecode = True

from lab import netns  # noqa: E402  pylint: disable=wrong-import-position
from lab.servers import SERVERS  # noqa: E402  pylint: disable=wrong-import-position
from lab.sluice import Sluice, build_folder  # noqa: E402  pylint: disable=wrong-import-position
from lab.topology import INSIDE, MORE_CLIENTS, ROOT, Lab  # noqa: E402  pylint: disable=wrong-import-position

SIZE = 1 << 30
WARM, IDLE = 20, 1000
SERVER = SERVERS["tls13"]
NGINX = """daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {folder}/peer.pid;
error_log {folder}/peer.log;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    upstream server {{ server {server}:443; keepalive {idle}; keepalive_requests 1000000; }}
    keepalive_requests 1000000;
    keepalive_timeout 300s;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
    scgi_temp_path {folder}/s;
    server {{
        listen {listen}:443 ssl backlog=4096;
        ssl_protocols TLSv1.3;
        ssl_certificate {pki}/ecdsa.pem;
        ssl_certificate_key {pki}/ecdsa.key;
        location / {{
            proxy_pass https://server;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_ssl_protocols TLSv1.3;
            proxy_ssl_server_name on;
            proxy_ssl_name {host};
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate {pki}/root.pem;
            proxy_ssl_verify_depth 3;
            proxy_max_temp_file_size 0;
        }}
    }}
}}
"""


class Peer:
    """nginx in the gateway's namespace, one worker."""

    def __init__(self, lab):
        folder = lab.folder / "peer"
        folder.mkdir()
        (folder / "peer.conf").write_text(NGINX.format(folder=folder, server=SERVER.ipv4, listen=INSIDE[0], pki=lab.pki.folder,
                                                       host=SERVER.host, idle=IDLE * 2))
        self.process = lab.gateway.start("nginx", "-p", folder, "-c", folder / "peer.conf", "-e", folder / "peer.log",
                                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        self.worker = int(netns.wait_for(lambda: children.read_text().split(), "the worker of the peer")[0])
        netns.wait_for(lambda: answers(lab), "the peer to answer")

    def cpu_seconds(self):
        words = pathlib.Path(f"/proc/{self.worker}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        lines = pathlib.Path(f"/proc/{self.worker}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def answers(lab):
    try:
        lab.client.connect(INSIDE[0], 443, 1).close()
        return True
    except OSError:
        return False


def cpu_per_gb(lab, program, ca, address):
    """CPU seconds of the program for 10^9 bytes, the better of two downloads."""
    best = None
    for _ in range(2):
        before = program.cpu_seconds()
        lab.client.run("curl", "-sS", "-f", "-m", "120", "--http1.1", "--cacert", ca, "--resolve", f"{SERVER.host}:443:{address}",
                       "-o", "/dev/null", f"https://{SERVER.host}/big", timeout=150)
        spent = (program.cpu_seconds() - before) * 1e9 / SIZE
        best = spent if best is None else min(best, spent)
    return best


def bytes_per_idle(lab, program, load, ca, address):
    """(private memory, heap in use) of the program for each of IDLE connections that have had two answers and are quiet now.

    The heap is what the program itself counts; a program that doesn't has None.
    """
    def heap():
        time.sleep(2.5)  # sluiced counts once a second
        return program.counters()["sluice_heap_bytes"] if isinstance(program, Sluice) else None

    def hold(count):
        command = lab.client.command(load, "hold", count, ca, "any.lab.test", "/empty", ",".join(MORE_CLIENTS), address)
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=netns.ENV, text=True)
        result = json.loads(process.stdout.readline())
        if result["failed"]:
            raise netns.LabError(f"of {count} connections {result}")
        return process

    warm = hold(WARM)
    before, heap_before = program.memory(), heap()
    many = hold(IDLE)
    many.stdin.write("\n")
    many.stdin.flush()
    many.stdout.readline()
    grown = (program.memory() - before) / IDLE
    heap_grown = None if heap_before is None else (heap() - heap_before) / IDLE
    for process in (many, warm):
        process.stdin.close()
        process.wait()
        process.stdout.close()
    return grown, heap_grown


def report(name, value, unit, peer=None):
    ratio = None if peer is None else round(peer / value, 3)
    print(json.dumps({"name": name, "value": round(value, 4), "unit": unit, "peer": peer and round(peer, 4), "ratio": ratio}),
          flush=True)


def main():
    if not (build_folder() / "bin" / "sluiced").exists():
        sys.exit(f"bench_relay: {build_folder()}/bin/sluiced is missing")
    with Lab() as lab:
        lab.divert()
        lab.big_file(SIZE)
        load = lab.folder / "load"
        netns.run("cc", "-O2", "-D_GNU_SOURCE", ROOT / "sim/lab/load.c", "-o", load, "-lssl", "-lcrypto")
        peer, root = Peer(lab), lab.pki.path("root.pem")
        sluice = Sluice(lab).start()
        ca = sluice.ca_file()
        sluice.commit()
        report("relay.cpu_s_per_gb", cpu_per_gb(lab, sluice, ca, SERVER.ipv4), "s/GB", cpu_per_gb(lab, peer, root, INSIDE[0]))
        sluice.restart()  # memory is measured in a fresh process
        memory, heap = bytes_per_idle(lab, sluice, load, ca, SERVER.ipv4)
        report("relay.heap_bytes_idle", heap, "bytes")
        report("relay.memory_bytes_idle", memory, "bytes", bytes_per_idle(lab, peer, load, root, INSIDE[0])[0])
        netns.stop(peer.process)
        sluice.stop()


if __name__ == "__main__":
    try:
        main()
    except netns.LabError as error:
        sys.exit(f"bench_relay: {error}")
