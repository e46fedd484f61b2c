# SPDX-License-Identifier: Apache-2.0
"""Captures as files: pcap with nanoseconds, of Ethernet frames."""
import pathlib
import struct

MAGIC, ETHERNET = 0xa1b23c4d, 1


def write_pcap(path, packets):
    """packets: [(nanoseconds since 1970, bytes)]"""
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", MAGIC, 2, 4, 0, 0, 65535, ETHERNET))
        for ns, frame in packets:
            out.write(struct.pack("<IIII", *divmod(ns, 10**9), len(frame), len(frame)) + frame)


def read_pcap(path):
    """[(nanoseconds since 1970, bytes)], from a file such as write_pcap or sluice-card writes."""
    data, at, packets = pathlib.Path(path).read_bytes(), 24, []
    assert struct.unpack_from("<I", data)[0] == MAGIC
    while at < len(data):
        seconds, ns, count = struct.unpack_from("<III", data, at)
        packets.append((seconds * 10**9 + ns, data[at + 16:at + 16 + count]))
        at += 16 + count
    return packets
