# SPDX-License-Identifier: Apache-2.0
"""What the tests of sluice-card share: both schemas, the daemon as a process, frames, captures, TLS records."""
import base64
import ipaddress
import json
import os
import pathlib
import re
import socket
import struct
import subprocess

import grpc
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from rpc_lab import BUILD, channel_options, schema, wait_until

from lab import pcap  # behind rpc_lab, which says where the lab is
from lab.schema import Stub

PROGRAM = BUILD / "bin" / "sluice-card"

oo, pb = schema.schema("openoffload/v1/openoffload.proto", "sluice/card/v1/card.proto")

CODE = grpc.StatusCode
CARD = pb.DESCRIPTOR.services_by_name["Card"]
TABLE = oo.DESCRIPTOR.services_by_name["SessionTable"]


class Agent:
    """sluice-card as a process. Its errors (a sanitizer's report, too) fail the test at close."""

    def __init__(self, folder, *arguments, unix=True, status=0, raw=False, under=()):
        """under: the command that runs it."""
        self.path, self.status = pathlib.Path(folder) / "s", status
        self.log_path = pathlib.Path(folder) / "log"
        listen = ["--listen", f"unix:{self.path}"] if unix else []
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([*under, PROGRAM, "--log-level", "debug", *listen, *map(str, arguments)], stderr=log)
        wait_until(lambda: " ready " in self.log() or self.process.poll() is not None, "sluice-card")
        ready = re.search(r"tcp_port=(\d+)", self.log())
        assert ready or status, self.log()
        self.port = int(ready[1]) if ready else 0
        self.channel = grpc.insecure_channel(f"unix:{self.path}", options=channel_options())
        self.card, self.table = Stub(self.channel, CARD, raw), Stub(self.channel, TABLE, raw)

    def log(self):
        return self.log_path.read_text()

    def close(self):
        self.channel.close()
        if self.process.poll() is None:
            self.process.terminate()
        assert self.process.wait(timeout=120) == self.status, self.log()
        log = self.log()
        assert "ERROR: " not in log and "runtime error" not in log, log
        return log

    def program(self, *commands):
        """One message: the list of results."""
        return list(self.card.Program(iter([pb.Commands(commands=commands)])))[0].results


def run(*arguments, status=0):
    """sluice-card until it ends by itself: its standard error."""
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == status, done.stderr
    assert "ERROR: " not in done.stderr and "runtime error" not in done.stderr, done.stderr
    return done.stderr + done.stdout


# ---- commands ----


def flow_key(n=0, **change):
    address = ipaddress.IPv4Address("10.0.0.0") + (n >> 14)
    values = {"src": str(address), "dst": "192.0.2.1", "sport": 1024 + (n & 0x3fff), "dport": 443, "proto": 6}
    return pb.FlowKey(**{**values, **change})


def keys(open_bytes=16, seal_bytes=32, iv=12):
    return pb.KeySet(open_key=os.urandom(open_bytes), seal_key=os.urandom(seal_bytes), open_iv=os.urandom(iv),
                     seal_iv=os.urandom(iv))


def lane(**change):
    return pb.LaneState(**{"next_seq": 1000, "keys": keys(), **change})


def transcode(flow, n=None, key=None, **change):
    values = {"key": key or flow_key(flow if n is None else n), "action": pb.TRANSCODE, "tls": pb.TLS_1_3}
    if "inside" not in change:
        values["inside"] = lane()
    if "outside" not in change:
        values["outside"] = lane()
    return pb.Command(cookie=flow ^ 0xff, flow=flow, install=pb.Install(**{**values, **change}))


def forward(flow, n=None, **change):
    return pb.Command(cookie=flow ^ 0xff, flow=flow,
                      install=pb.Install(**{"key": flow_key(flow if n is None else n), "action": pb.FORWARD, **change}))


def in_addr(text):
    return struct.unpack("<I", socket.inet_aton(text))[0]


def offload(flow, n=None, **change):
    n = flow if n is None else n
    values = {"sessionId": flow, "inLif": 1, "outLif": 2, "ipVersion": oo._IPV4, "protocolId": oo._TCP,
              "sourceIp": in_addr(f"10.{n >> 22 & 255}.{n >> 14 & 255}.1"), "sourcePort": 1024 + (n & 0x3fff),
              "destinationIp": in_addr("192.0.2.1"), "destinationPort": 80,
              "action": oo.actionParameters(actionType=oo._FORWARD)}
    return oo.sessionRequest(**{**values, **change})


# ---- frames, captures, records ----


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


FIN, SYN, RST, ACK = 1, 2, 4, 16


def frame(src, dst, sport, dport, seq, payload=b"", flags=ACK):
    source, target = ipaddress.ip_address(src).packed, ipaddress.ip_address(dst).packed
    tcp = struct.pack(">HHIIBBHHH", sport, dport, seq, 1, 0x50, flags, 1000, 0, 0) + payload
    pseudo = struct.pack(">HH", 6, len(tcp)) if len(source) == 4 else struct.pack(">II", len(tcp), 6)
    value = checksum(source + target + pseudo + tcp)
    tcp = tcp[:16] + struct.pack(">H", value) + tcp[18:]
    if len(source) == 4:
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0x4000, 64, 6, 0) + source + target
        return bytes(12) + b"\x08\x00" + head[:10] + struct.pack(">H", checksum(head)) + head[12:] + tcp
    return bytes(12) + b"\x86\xdd" + struct.pack(">IHBB", 0x60000000, len(tcp), 6, 64) + source + target + tcp


def payload(raw):
    ip = 20 if raw[12:14] == b"\x08\x00" else 40
    return raw[14 + ip + 20:]


def is_right(raw):
    """Lengths and checksums of a frame with TCP over IPv4."""
    ip, tcp = raw[14:34], raw[34:]
    return (len(ip) + len(tcp) == int.from_bytes(ip[2:4], "big") and checksum(ip) == 0
            and checksum(ip[12:20] + struct.pack(">HH", 6, len(tcp)) + tcp) == 0)


def write_pcap(path, frames, magic=pcap.MICROSECONDS, order="<"):
    pcap.write_pcap(path, [((1700000000 + i) * 10**9 + 1000 * i, raw) for i, raw in enumerate(frames)], magic, order)


def write_pcapng(path, frames, order="<"):
    def block(kind, body):
        body += bytes(-len(body) % 4)
        return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)
    with open(path, "wb") as out:
        out.write(block(0x0a0d0d0a, struct.pack(order + "IHHq", 0x1a2b3c4d, 1, 0, -1)))
        out.write(block(1, struct.pack(order + "HHI", 1, 0, 0) + struct.pack(order + "HHB3xHH", 9, 1, 9, 0, 0)))
        for i, raw in enumerate(frames):
            ticks = 1700000000 * 10**9 + i
            out.write(block(6, struct.pack(order + "IIIII", 0, ticks >> 32, ticks & 0xffffffff, len(raw), len(raw)) + raw))
            out.write(block(0x0bad, b"unknown"))


def read_pcap(path):
    return [raw for _, raw in pcap.read_pcap(path)]


def nonce(iv, number):
    return (int.from_bytes(iv, "big") ^ number).to_bytes(12, "big")


def seal13(key, iv, number, text, kind=23):
    head = struct.pack(">BHH", 23, 0x303, len(text) + 17)
    return head + AESGCM(key).encrypt(nonce(iv, number), text + bytes([kind]), head)


def open13(key, iv, number, record):
    text = AESGCM(key).decrypt(nonce(iv, number), record[5:], record[:5]).rstrip(b"\0")
    return text[:-1], text[-1]


def sessions_file(path, *commands):
    """Commands as JSON, as a person would write them."""
    def one(field, value):
        if field.type == field.TYPE_MESSAGE:
            return plain(value)
        if field.type == field.TYPE_BYTES:
            return base64.b64encode(value).decode()
        return field.enum_type.values_by_number[value].name if field.enum_type else value

    def plain(message):
        out = {}
        for field, value in message.ListFields():
            out[field.name] = [one(field, v) for v in value] if field.label == field.LABEL_REPEATED else one(field, value)
        return out
    path.write_text(json.dumps(plain(pb.Commands(commands=commands)), indent=1))
    path.chmod(0o600)
    return path
