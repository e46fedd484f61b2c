# SPDX-License-Identifier: Apache-2.0
"""sluice-card as a wire between two network interfaces: real TCP between namespaces goes through the card."""
import fcntl
import hashlib
import json
import os
import re
import socket
import struct
import termios
import threading

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from lab.card import Card, build_folder, messages
from lab.netns import wait_for
from lab.topology import Lab
from lab.wire import Wire

CLIENT, SERVER, PORT = "10.99.0.1", "10.99.0.2", 7000
CLIENT6, SERVER6 = "fd99::1", "fd99::2"
STRANGERS = ("10.99.0.12", "fd99::12")  # of the server too, but the client has to find out where


class WireCard(Card):
    def command(self, *options):  # pylint: disable=arguments-differ
        own = super().command("", "", "", 0)
        own = own[:own.index("--pcap")]
        return [*own, "--ports", "inside,outside", "--listen", f"unix:{self.socket}", *options]

    def totals(self):
        """What it says at its end: {"wire closed": {...}, "inside": {...}, "outside": {...}}."""
        found = {}
        for line in self.log().splitlines():
            name = re.search(r"wire closed|port closed interface=(\w+)", line)
            if name:
                found[name[1] or name[0]] = {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", line)}
        return found

    def default(self, action):
        for lane in (0, 1):
            self.call("SetRules", messages().RuleSet(lane=lane, default_action=action))


@pytest.fixture(name="cable", scope="module")
def cable_lab():
    """Client and server on one network; the machine between them has two interfaces without addresses."""
    lab = Lab().up(servers=[], tproxy=False)
    try:
        for name in ("inside", "outside"):
            lab.gateway.run("ip", "address", "flush", "dev", name)
        ends = (lab.client, (CLIENT, CLIENT6)), (lab.server, (SERVER, SERVER6, *STRANGERS))
        for space, own in ends:
            space.run("ethtool", "-K", "eth0", "tso", "off", "gso", "off")
            for address in own:
                prefix = [f"{address}/64", "nodad"] if ":" in address else [f"{address}/24"]
                space.run("ip", "address", "add", *prefix, "dev", "eth0")
        # They know each other: who has asked in vain, while there was no wire, would otherwise tell so to the next connection.
        for (space, _), (other, addresses) in (ends, ends[::-1]):
            mac = re.search(r"link/ether (\S+)", other.run("ip", "link", "show", "eth0").stdout)[1]
            for address in addresses[:2]:
                space.run("ip", "neigh", "replace", address, "lladdr", mac, "nud", "permanent", "dev", "eth0")
        yield lab
    finally:
        lab.down()


@pytest.fixture(name="start")
def start_card(cable, tmp_path):
    """start(card, option ...): a wire, which ends with the test and without a fault."""
    made = []

    def start(card, *options):
        folder = tmp_path / f"card-{len(made)}"
        folder.mkdir()
        made.append(WireCard(cable, card, folder))
        return made[-1].start(*options)

    yield start
    assert [one.stop() for one in made] in ([0], [None], [])


def pair(cable, server=SERVER, port=PORT):
    """The two ends of a TCP connection through the wire."""
    with cable.server.listen(server, port) as listener:
        client = cable.client.connect(server, port)
        return client, listener.accept()[0]


def receive(sock, count):
    data = bytearray()
    sock.settimeout(120)
    while len(data) < count:
        part = sock.recv(1 << 16)
        assert part, f"the end after {len(data)} of {count} bytes"
        data += part
    return bytes(data)


def across(from_sock, to_sock, data, size=None):
    """Sends on a thread; what arrives."""
    sender = threading.Thread(target=from_sock.sendall, args=(data,), daemon=True)
    sender.start()
    got = receive(to_sock, size or len(data))
    sender.join(60)
    return got


def unacknowledged(sock):
    """Bytes that were sent and whose acknowledgement has not come."""
    return struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0]


def digest(data):
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("card", ["cpu", "sim"])
def test_a_wire(cable, start, card):
    """What nobody decides passes, by the host; what a rule passes, by the card. Checksums that a sender left to its network card
    are right when they arrive."""
    agent, pb = start(card), messages()
    for address in (SERVER, SERVER6, *STRANGERS):
        cable.client.run("ping", "-c", "3", "-W", "20", address)
    data = os.urandom(1 << 20)
    client, server = pair(cable)
    assert digest(across(client, server, data)) == digest(data)
    agent.default(pb.PASS)
    client6, server6 = pair(cable, SERVER6)
    for one, other in ((client, server), (server, client), (client6, server6), (server6, client6)):
        assert digest(across(one, other, data)) == digest(data)
    wait_for(lambda: not any(map(unacknowledged, (client, server, client6, server6))), "the last acknowledgements")
    counters = agent.call("GetCounters")
    assert counters.inside.frames_out > 1000 and counters.outside.frames_out > 1000
    assert {one.reason for one in counters.punted_for} <= {"rule", "not_ip", "extension"}  # ARP; multicast listeners
    assert agent.stop() == 0
    totals = agent.totals()
    assert totals["wire closed"]["punted_passed"] > 0 and totals["wire closed"]["punted_dropped"] == 0
    for name, other in (("inside", "outside"), ("outside", "inside")):
        assert 0 <= totals[name]["in"] - totals[other]["out"] <= 8  # the last ones may be on their way: neighbour discovery
        assert totals[name]["no_room"] == totals[name]["too_long"] == 0
    for sock in (client, server, client6, server6):
        sock.close()
    # No interface, no traffic: without sluice-card the wire is cut.
    assert cable.client.run("ping", "-c", "1", "-W", "1", SERVER, check=False).returncode == 1


def test_rules_and_sessions(cable, start):
    """A rule drops; a session forwards, and counts what it forwarded; --punted drop."""
    agent, pb = start("cpu", "--punted", "drop"), messages()
    assert cable.client.run("ping", "-c", "1", "-W", "1", SERVER, check=False).returncode == 1
    agent.default(pb.PASS)
    client, server = pair(cable)
    agent.default(pb.DROP)
    key = pb.FlowKey(src=CLIENT, sport=client.getsockname()[1], dst=SERVER, dport=PORT, proto=6)
    results = agent.program(pb.Command(cookie=1, flow=5, install=pb.Install(key=key, action=pb.FORWARD)))
    assert [one.code for one in results] == [pb.OK]
    data = os.urandom(300_000)
    assert digest(across(client, server, data)) == digest(data)
    (session,) = agent.call("ListSessions").sessions
    assert session.inside.bytes > len(data) and session.inside.packets > len(data) // 1500
    assert session.outside.packets > 0
    assert cable.client.run("ping", "-c", "1", "-W", "1", SERVER, check=False).returncode == 1
    client.close()
    server.close()
    wait_for(lambda: len([e for e in agent.events if e.kind == pb.FIN]) == 2, "both FIN")


class Leg:
    """One direction of TLS 1.3 records, as one leg's peer seals or opens them."""

    def __init__(self, key, iv):
        self.cipher, self.iv, self.number = AESGCM(key), iv, 0

    def nonce(self):
        number, self.number = self.number, self.number + 1
        return (int.from_bytes(self.iv, "big") ^ number).to_bytes(12, "big")

    def seal(self, text):
        head = struct.pack(">BHH", 23, 0x303, len(text) + 17)
        return head + self.cipher.encrypt(self.nonce(), text + b"\x17", head)

    def opened(self, stream):
        text = bytearray()
        while stream:
            size = 5 + int.from_bytes(stream[3:5], "big")
            text += self.cipher.decrypt(self.nonce(), stream[5:size], stream[:5])[:-1]
            stream = stream[size:]
        return bytes(text)


@pytest.mark.parametrize("card", ["cpu", "sim"])
def test_records_of_a_living_connection(cable, start, card, tmp_path):
    """The kernels of both ends speak TCP with each other; the card opens each record with one leg's keys and seals it with the
    other's, in both directions at once, whatever the segments."""
    mirror = tmp_path / "mirror.pcap"
    agent, pb = start(card, "--mirror", mirror), messages()
    agent.default(pb.PASS)
    with Wire(cable.client, "eth0") as wire:
        client, server = pair(cable)
        (key,) = wait_for(lambda: [one for one in wire.connections(SERVER, PORT)
                                   if all(stream.base is not None for stream in wire.both(one))], "the handshake on the wire")
        bases = [stream.base for stream in wire.both(key)]
    keys = [pb.KeySet(open_key=os.urandom(16), open_iv=os.urandom(12), seal_key=os.urandom(32), seal_iv=os.urandom(12))
            for _ in bases]
    inside, outside = (pb.LaneState(next_seq=base, keys=one) for base, one in zip(bases, keys))
    results = agent.program(pb.Command(cookie=1, flow=9, install=pb.Install(
        key=pb.FlowKey(src=key[0], sport=key[1], dst=key[2], dport=key[3], proto=6), action=pb.TRANSCODE, tls=pb.TLS_1_3,
        mirror=True, inside=inside, outside=outside)))
    assert [one.code for one in results] == [pb.OK]

    texts, got = [os.urandom(700_000), os.urandom(700_000)], [None, None]

    def way(index, from_sock, to_sock):
        leg, rest, stream = Leg(keys[index].open_key, keys[index].open_iv), texts[index], b""
        for size in (1, 17, 1000, 5000) + (16384,) * 100:
            if rest:
                stream, rest = stream + leg.seal(rest[:size]), rest[size:]
        got[index] = Leg(keys[index].seal_key, keys[index].seal_iv).opened(across(from_sock, to_sock, stream))

    threads = [threading.Thread(target=way, args=one, daemon=True) for one in ((0, client, server), (1, server, client))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(180)
    assert [digest(one) for one in got] == [digest(one) for one in texts]
    records = 2 * (4 + -(-(700_000 - 6018) // 16384))
    wait_for(lambda: agent.call("GetCounters").mirrored_records == records, "the mirror")
    assert agent.call("GetCounters").mirror_refused == 0
    client.close()
    server.close()
    assert agent.stop() == 0
    plain = mirror.read_bytes()
    assert all(text[at:at + 900] in plain for text in texts for at in (18, 100_000, 699_000))


def raw(space):
    """A socket for whole frames."""
    def make():
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        sock.bind(("eth0", 0))
        return sock

    return space.inside(make)


def test_frames_as_they_were(cable, start):
    """VLAN tags, which the kernel takes off, stand in the frame again; what is not IP passes byte for byte."""
    start("cpu")
    body = os.urandom(50)
    frames = [b"\xff" * 6 + b"\x02" * 6 + head + body for head in (
        b"\x88\xb5", struct.pack(">HH", 0x8100, 0x2007) + b"\x88\xb5", struct.pack(">HHHH", 0x88a8, 5, 0x8100, 7) + b"\x88\xb5")]
    with Wire(cable.server, "eth0", keep=True) as wire, raw(cable.client) as sender:
        for frame in frames:
            sender.send(frame)
        untagged = frames[0][:12]  # the receiving kernel takes tags off, too
        wait_for(lambda: len([f for _, f in wire.packets if f.endswith(body) and f.startswith(untagged)]) == 3, "three frames")
        seen = [f for _, f in wire.packets if f.endswith(body)]
    assert seen[0] == frames[0]


def test_frames_that_are_too_long(cable, start):
    """They are counted and told, with what to do about it."""
    agent = start("cpu")
    client, server = pair(cable)
    cable.client.run("ethtool", "-K", "eth0", "tso", "on", "gso", "on")
    try:
        client.setblocking(False)
        client.send(bytes(1 << 20))
        wait_for(lambda: "too long; ethtool" in agent.log(), "the warning")
    finally:
        cable.client.run("ethtool", "-K", "eth0", "tso", "off", "gso", "off")
        client.close()
        server.close()
    assert agent.stop() == 0
    assert sum(agent.totals()[name]["too_long"] for name in ("inside", "outside")) > 0  # for the card, or for the way out


def test_frames_of_another_mtu(cable, start):
    """What an interface does not take is counted, to the byte; an MTU that changes is noticed."""
    agent = start("cpu")
    links = ((cable.client, "eth0"), (cable.server, "eth0"), (cable.gateway, "inside"), (cable.gateway, "outside"))
    stations = b"\xff" * 6 + b"\x02" * 6
    longest, tagged, large = (stations + head + os.urandom(size) for head, size in (
        (b"\x88\xb5", 1500), (struct.pack(">HH", 0x8100, 7) + b"\x88\xb5", 1500), (b"\x88\xb5", 1600)))
    try:
        cable.client.run("ip", "link", "set", "eth0", "mtu", "1600")
        with Wire(cable.server, "eth0", keep=True) as wire, raw(cable.client) as sock:
            for frame in (longest + b"1", longest + b"1234", longest, tagged):
                sock.send(frame)
            wait_for(lambda: any(f.endswith(tagged[18:]) for _, f in wire.packets), "the longest frame with a tag")
            assert [f for _, f in wire.packets if f.startswith(longest)] == [longest]
            for space, name in links:
                space.run("ip", "link", "set", name, "mtu", "1600")
            wait_for(lambda: sock.send(large) and any(f == large for _, f in wire.packets), "a larger frame", interval=0.2)
    finally:
        for space, name in links:
            space.run("ip", "link", "set", name, "mtu", "1500")
    assert agent.stop() == 0
    totals = agent.totals()
    assert totals["outside"]["too_long"] >= 2 and totals["inside"]["too_long"] == 0
    assert totals["inside"]["in"] == totals["outside"]["out"] + totals["outside"]["too_long"]


def test_an_interface_that_goes_down(cable, start):
    """It is told, and so is its return; nothing passes twice or out of order."""
    agent, body = start("cpu"), os.urandom(40)
    numbers = iter(range(1 << 32))

    def send():
        return sock.send(b"\xff" * 6 + b"\x02" * 6 + b"\x88\xb5" + body + struct.pack(">I", next(numbers)))

    def came():
        return [int.from_bytes(f[54:58], "big") for _, f in wire.packets if f[14:54] == body]

    with Wire(cable.server, "eth0", keep=True) as wire, raw(cable.client) as sock:
        cable.gateway.run("ip", "link", "set", "outside", "down")
        try:
            for _ in range(200):
                send()
            wait_for(lambda: "a port sends nothing" in agent.log(), "the fault to be told")
        finally:
            cable.gateway.run("ip", "link", "set", "outside", "up")
        wait_for(lambda: "a port sends again" in agent.log(), "the end of it to be told")
        wait_for(lambda: send() and any(number >= 200 for number in came()), "a frame sent afterwards")
        assert came() == sorted(set(came()))


def test_nothing_passes_before_the_sessions(cable, tmp_path):
    """Sessions of a file are installed before the first frame is taken; with a file that is wrong, none is."""
    install = {"key": {"src": CLIENT, "dst": SERVER, "dport": PORT, "proto": 6}, "action": "FORWARD"}
    commands = [{"flow": 1 + i % 20_000, "install": {**install, "key": {**install["key"], "sport": 10_000 + i}}}
                for i in range(20_001)]
    path = tmp_path / "sessions"
    path.write_text(json.dumps({"commands": commands}))
    path.chmod(0o600)
    over = threading.Event()
    with raw(cable.client) as sock:
        def send():
            while not over.wait(0.001):
                sock.send(b"\xff" * 6 + b"\x02" * 6 + b"\x88\xb5" + bytes(50))

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        try:
            done = cable.gateway.run(build_folder() / "bin" / "sluice-card", "--ports", "inside,outside", "--sessions", path,
                                     check=False)
        finally:
            over.set()
            sender.join(60)
    assert done.returncode == 1 and "commands[20000]: " in done.stderr, done.stderr
    assert "wire closed sent=0 punted_passed=0 " in done.stderr and "interface=inside in=0 out=0 " in done.stderr, done.stderr


@pytest.mark.parametrize("ports, words", [("inside,nowhere", "nowhere: there is no such network interface"),
                                          ("lo,outside", "lo: not an Ethernet interface"),
                                          ("inside,down0", "down0: the interface is down: ip link set down0 up")])
def test_ports_that_are_none(cable, ports, words):
    cable.gateway.run("ip", "link", "add", "down0", "type", "veth", "peer", "name", "down1")
    try:
        done = cable.gateway.run(build_folder() / "bin" / "sluice-card", "--ports", ports, check=False)
    finally:
        cable.gateway.run("ip", "link", "del", "down0")
    assert done.returncode == 1 and words in done.stderr


def test_without_the_capability(cable):
    done = cable.gateway.run("setpriv", "--bounding-set", "-net_raw", build_folder() / "bin" / "sluice-card", "--ports",
                             "inside,outside", check=False)
    assert done.returncode == 1 and "CAP_NET_RAW" in done.stderr, done.stderr


