# SPDX-License-Identifier: Apache-2.0
"""Captures as files: pcap of Ethernet frames."""
import pathlib
import struct

NANOSECONDS, MICROSECONDS, ETHERNET = 0xa1b23c4d, 0xa1b2c3d4, 1


def write_pcap(path, packets, magic=NANOSECONDS, order="<"):
    """packets: [(nanoseconds since 1970, bytes)]. order: of bytes, as struct has it."""
    unit = 1 if magic == NANOSECONDS else 1000
    with open(path, "wb") as out:
        out.write(struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, ETHERNET))
        for ns, frame in packets:
            seconds, rest = divmod(ns, 10**9)
            out.write(struct.pack(order + "IIII", seconds, rest // unit, len(frame), len(frame)) + frame)


def read_pcap(path):
    """[(nanoseconds since 1970, bytes)], from a file as sluice-card writes it, and write_pcap unless told otherwise."""
    data, at, packets = pathlib.Path(path).read_bytes(), 24, []
    assert struct.unpack_from("<I", data)[0] == NANOSECONDS
    while at < len(data):
        seconds, ns, count = struct.unpack_from("<III", data, at)
        packets.append((seconds * 10**9 + ns, data[at + 16:at + 16 + count]))
        at += 16 + count
    return packets
