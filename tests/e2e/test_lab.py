# SPDX-License-Identifier: Apache-2.0
"""The lab itself, without a gateway: a plain router, the diverting script, and that nothing is left behind."""
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading

import pytest
from lab import netns
from lab.topology import CLIENT, LISTEN_PORT, ROOT, TPROXY, Lab, all_labs
from lab.servers import SERVERS

IP_TRANSPARENT, IPV6_TRANSPARENT = 19, 75


@pytest.fixture(scope="module", name="plain")
def plain_lab():
    with Lab() as one:
        one.divert_no_more()
        yield one


def curl(lab, *words):
    return lab.client.run("curl", "-sS", "-m", "60", "--cacert", lab.pki.path("root.pem"), *words, check=False)


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_router(plain, family):
    done = curl(plain, family, "https://good.lab.test/who")
    assert done.stdout.split()[0] in CLIENT, done.stderr


@pytest.mark.parametrize("name, text", [
    ("tls13", ""), ("chacha12", ""), ("drip", ""), ("expired", "expired"), ("untrusted-root", "unable to get local issuer"),
    ("self-signed", "self-signed certificate"), ("cipher-refused", "handshake failure"), ("reset-hello", "reset"), ("sha1", "weak"),
    ("path-length", "path length"), ("bad-signature", "EVP lib"), ("client-cert13", "certificate required")])
def test_servers_are_what_they_claim(plain, name, text):
    done = curl(plain, "-4", f"https://{name}.lab.test/")
    assert (done.returncode == 0) == (not text), done.stderr
    assert text in done.stderr


@pytest.mark.parametrize("address, family", [("ipv4", socket.AF_INET), ("ipv6", socket.AF_INET6)])
def test_diverting(plain, address, family):
    """A ten-line transparent proxy: the client's connection arrives here, and the server sees the client's own address."""
    target = getattr(SERVERS["good"], address)
    plain.divert()
    listener = plain.gateway.inside(lambda: transparent(family, listen=True))
    seen = []

    def proxy():
        client, _ = listener.accept()
        seen.append(client.getsockname()[:2])
        upstream = plain.gateway.inside(lambda: transparent(family, client.getpeername(), client.getsockname()))
        pump = threading.Thread(target=copy, args=(client, upstream), daemon=True)
        pump.start()
        copy(upstream, client)

    threading.Thread(target=proxy, daemon=True).start()
    try:
        done = curl(plain, "-4" if address == "ipv4" else "-6", "https://good.lab.test/who")
        assert done.stdout.split()[0] in CLIENT, done.stderr
        assert seen == [(target, 443)]
    finally:
        listener.close()
        plain.divert_no_more()


def transparent(family, source=None, to=None, listen=False):
    sock = socket.socket(family, socket.SOCK_STREAM)
    level, option = (socket.SOL_IP, IP_TRANSPARENT) if family == socket.AF_INET else (socket.IPPROTO_IPV6, IPV6_TRANSPARENT)
    sock.setsockopt(level, option, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if listen:
        sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", LISTEN_PORT))
        sock.listen()
    else:
        sock.bind((source[0], 0))
        sock.connect(to[:2])
    return sock


def copy(source, sink):
    try:
        while chunk := source.recv(65536):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def test_without_a_listener(plain):
    try:
        plain.divert(fail="open")
        assert curl(plain, "https://good.lab.test/").returncode == 0
        plain.divert(fail="closed")
        for family in ("-4", "-6"):
            done = curl(plain, family, "https://good.lab.test/")
            assert done.returncode == 7, done.stderr  # refused at once, not timed out
    finally:
        plain.divert_no_more()


def test_diverting_leaves_no_trace(plain):
    def state():
        return [plain.gateway.run(*command.split()).stdout for command in
                ("nft list ruleset", "ip -4 rule", "ip -6 rule", "ip -4 route show table all", "ip -6 route show table all")]

    before = state()
    plain.divert()
    plain.divert(fail="closed")
    assert state()[1].count("fwmark") == 1
    assert plain.gateway.run(TPROXY, "status").returncode == 0
    plain.divert_no_more()
    plain.divert_no_more()
    assert state() == before


@pytest.mark.parametrize("words, text", [
    (["up"], "--inside"), (["up", "--inside", "a"], "--outside"), (["up", "--inside", "a b", "--outside", "c"], "interface name"),
    (["up", "--inside", "a", "--outside", "b", "--ports", "443;x"], "--ports"), (["up", "--ports"], "needs a value"),
    (["up", "--inside", "a", "--outside", "b", "--listen-port", "70000"], "not a port"), (["sideways"], "unknown command"),
    (["up", "--inside", "a", "--outside", "b", "--fail", "maybe"], "open or closed")])
def test_diverting_refuses_nonsense(plain, words, text):
    done = plain.gateway.run(TPROXY, *words, check=False)
    assert done.returncode == 2 and text in done.stderr


def leftovers(lab_id):
    names = netns.run("ip", "netns", "list").stdout
    return lab_id in names or list(pathlib.Path("/etc/netns").glob(f"sl{lab_id}*")) or lab_id in [one[0] for one in all_labs()]


PROGRAM = ("import sys; sys.path.insert(0, sys.argv[1])\n"
           "from lab.topology import Lab\n"
           "one = Lab().up(servers=['alert']); print(one.id, flush=True)\n")


@pytest.mark.parametrize("how", ["exit", "exception", "SIGTERM", "SIGKILL"])
def test_nothing_is_left(how):
    program = PROGRAM + {"exit": "", "exception": "raise ValueError"}.get(how, "import time; time.sleep(600)")
    process = subprocess.Popen([sys.executable, "-B", "-c", program, str(ROOT / "sim")], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True)
    lab_id = process.stdout.readline().strip()
    assert lab_id
    if how.startswith("SIG"):
        os.kill(process.pid, getattr(signal, how))
    process.wait(120)
    process.stdout.close()
    if how == "SIGKILL":
        assert leftovers(lab_id)
        with Lab() as other:  # a new lab removes the old one
            assert other.id != lab_id
    netns.wait_for(lambda: not leftovers(lab_id), "nothing to be left")


def test_by_hand():
    def lab(*words):
        return subprocess.run([ROOT / "sim/lab/lab", *words], capture_output=True, text=True, check=False, timeout=300)

    up = lab("up")
    assert up.returncode == 0, up.stderr
    lab_id, folder = up.stdout.split()[1], up.stdout.splitlines()[0].split()[-1]
    try:
        assert lab_id in lab("status").stdout
        done = lab("exec", lab_id, "client", "curl", "-sS", "--cacert", f"{folder}/pki/root.pem", "https://good.lab.test/")
        assert "page of the lab" in done.stdout, done.stderr
        assert lab("exec", lab_id, "moon", "true").returncode == 1
    finally:
        assert lab("down", lab_id).returncode == 0
    assert not leftovers(lab_id)
    assert lab("down", lab_id).returncode == 0
