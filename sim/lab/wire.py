# SPDX-License-Identifier: Apache-2.0
"""What really went over a cable: TCP streams put together from captured packets, and the TLS records in them."""
import select
import socket
import struct
import threading
import time
from collections import defaultdict

from .netns import LabError

ETH_P_ALL = 0x0003
SOL_PACKET, PACKET_STATISTICS = 263, 6
ETH_IP, ETH_IP6, TCP = 0x0800, 0x86dd, 6
ALERT, APPLICATION_DATA = 21, 23


class Stream:
    """One direction of one connection."""

    def __init__(self):
        self.base = self.end = None  # sequence numbers of the first byte, and of the FIN
        self.parts = {}
        self.fin = self.rst = False

    def add(self, sequence, flags, payload):
        if flags & 0x02:
            self.base = (sequence + 1) & 0xffffffff
        if flags & 0x01:
            self.fin, self.end = True, (sequence + len(payload)) & 0xffffffff
        self.rst |= bool(flags & 0x04)
        if payload and len(payload) > len(self.parts.get(sequence, b"")):
            self.parts[sequence] = payload

    def data(self):
        """The bytes in order, up to the first hole."""
        if self.base is None:
            return b""
        out = bytearray()
        for offset, payload in sorted(((sequence - self.base) & 0xffffffff, part) for sequence, part in self.parts.items()):
            if offset > len(out):
                break
            out += payload[len(out) - offset:]
        return bytes(out)

    def whole(self):
        """Whether everything up to the FIN is there, in whatever order it came."""
        return self.fin and self.base is not None and len(self.data()) == (self.end - self.base) & 0xffffffff

    def records(self):
        """[(type, body)] of the whole records."""
        data, found = self.data(), []
        while len(data) >= 5:
            size = struct.unpack(">H", data[3:5])[0]
            if len(data) < 5 + size:
                break
            found.append((data[0], data[5:5 + size]))
            data = data[5 + size:]
        return found

    def plain_alerts(self):
        return [body[1] for kind, body in self.records() if kind == ALERT and len(body) == 2]


class Streams:
    """The TCP streams of the packets that are put in."""

    def __init__(self, packets=()):
        self.streams = defaultdict(Stream)  # by (source, source port, destination, destination port)
        self._lock = threading.Lock()
        for packet in packets:
            self._packet(packet)

    def _packet(self, packet):
        kind = struct.unpack(">H", packet[12:14])[0]
        ip = packet[14:]
        if kind == ETH_IP and ip[9] == TCP:
            start, total = (ip[0] & 15) * 4, struct.unpack(">H", ip[2:4])[0] or len(ip)
            source, destination, tcp = socket.inet_ntoa(ip[12:16]), socket.inet_ntoa(ip[16:20]), ip[start:total]
        elif kind == ETH_IP6 and ip[6] == TCP:
            total = struct.unpack(">H", ip[4:6])[0] or len(ip) - 40
            source, destination = (socket.inet_ntop(socket.AF_INET6, ip[a:a + 16]) for a in (8, 24))
            tcp = ip[40:40 + total]
        else:
            return
        source_port, destination_port, sequence = struct.unpack(">HHI", tcp[:8])
        offset, flags = (tcp[12] >> 4) * 4, tcp[13]
        self.streams[source, source_port, destination, destination_port].add(sequence, flags, tcp[offset:])

    def connections(self, server, port=443):
        """(source, source port, destination, destination port) of each connection to that address, in the order they began."""
        with self._lock:
            return [key for key in self.streams if key[2:] == (server, port)]

    def both(self, connection):
        """(to the server, from the server)"""
        return self.streams[connection], self.streams[connection[2:] + connection[:2]]

    def ended(self, server, port=443):
        """Whether every connection to that address has come to its end, so that nothing of it is still under way."""
        with self._lock:
            pairs = [self.both(key) for key in list(self.streams) if key[2:] == (server, port)]
            return bool(pairs) and all(any(way.rst for way in pair) or all(way.whole() for way in pair) for pair in pairs)

    def between(self, server, port=443):
        """[(to the server, from the server)] of each connection to that address, in the order they began."""
        return [self.both(key) for key in self.connections(server, port)]


class Wire(Streams):
    """Captures an interface of a namespace while used as a context manager."""

    def __init__(self, namespace, interface, keep=False):
        """keep: also the packets as they came, in `packets`: [(nanoseconds since 1970, bytes)]."""
        super().__init__()
        self.namespace, self.interface = namespace, interface
        self.packets = [] if keep else None
        self._end = threading.Event()

    def __enter__(self):
        def make():
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUFFORCE if hasattr(socket, "SO_RCVBUFFORCE") else 33, 64 << 20)
            sock.bind((self.interface, ETH_P_ALL))
            return sock

        self._sock = self.namespace.inside(make)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        """What has gone over the cable until now is read first, however far the reading is behind."""
        self._end.set()
        self._thread.join()
        lost = struct.unpack("II", self._sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
        self._sock.close()
        if lost:
            raise LabError(f"the capture of {self.interface} has lost {lost} packets")

    def _read(self):
        while True:
            last = self._end.is_set()
            if not select.select([self._sock], [], [], 0 if last else 0.05)[0]:
                if last:
                    return
            else:
                packet = self._sock.recv(1 << 17)
                with self._lock:
                    if self.packets is not None:
                        self.packets.append((time.time_ns(), packet))
                    self._packet(packet)
