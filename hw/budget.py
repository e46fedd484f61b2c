#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Resources and memory bandwidth of the card by arithmetic: an estimate made before any synthesis, with its sums shown.

usage: hw/budget.py            prints the tables; fails if a build that hw/platforms/ declares exceeds a limit
       hw/budget.py --update   writes them into docs/hardware.md, between the two marks

Every line is count x unit. A unit's cost is derived from the structure of UltraScale+ (a LUT6, or two functions of five shared
inputs; a 36-Kbit block RAM is 512 x 72 or 1024 x 36; an UltraRAM is 4096 x 72: UG573, UG574). Where nothing can be derived,
the line says "judged".
"""
import configparser
import dataclasses
import math
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "hardware.md"
MARKS = ("<!-- budget: begin -->\n", "<!-- budget: end -->\n")
# LUT: above this, routing of wide buses at 300 MHz becomes the problem. UG1393 wants room left for the infrastructure besides.
LIMIT = 0.70


@dataclasses.dataclass(frozen=True)
class Use:
    lut: float = 0
    ff: float = 0
    bram: float = 0
    uram: float = 0

    def __add__(self, other):
        return Use(*(a + b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other))))

    def __mul__(self, count):
        return Use(*(a * count for a in dataclasses.astuple(self)))


KINDS = [field.name for field in dataclasses.fields(Use)]


def uram(bits, words):
    return Use(uram=math.ceil(bits / 72) * math.ceil(words / 4096))


def bram(bits, words):
    """Simple dual port: 512 x 72 or, when deeper, 1024 x 36 a block."""
    return Use(bram=math.ceil(bits / 72) if words <= 512 else math.ceil(bits / 36) * math.ceil(words / 1024))


def fifo(bits, words):
    """Control: two pointers, a comparison, an output register."""
    memory = bram(bits, words) if words > 64 else Use(lut=math.ceil(bits / 14) * 8 * math.ceil(words / 32))
    return memory + Use(lut=60, ff=bits + 60)


# ---- units -------------------------------------------------------------------------------------------------------------------

SBOX_LUT = 8 * 4  # 256 x 8 bits: four LUT6 a bit, joined by F7 and F8; §"S-box" of hw/README.md
MIX_LUT = 128 / 8 * (5 * 1 + 3 * 2)  # MixColumns and AddRoundKey: 6 inputs for five bits of a byte, 8 for three


def aes(rounds, both_sizes):
    """A pipelined cipher on one block a cycle; every block chooses between the key of part a and that of part b."""
    select = 128 / 2 * (rounds + 1)
    wait = 4 * 128 / 2 if both_sizes else 0  # AES-128 waits in the first four stages
    return Use(lut=rounds * 16 * SBOX_LUT + (rounds - 1) * MIX_LUT + 128 / 2 + select + wait, ff=2 * 128 * rounds)


def key_schedule(rounds, bits):
    """Expanded on the way, a round key a stage pair: four S-boxes, five-input XORs, the choice of the key size."""
    return Use(lut=rounds * (4 * SBOX_LUT + 128 + (64 if bits == 256 else 0)), ff=2 * rounds * bits)


def carryless_leaf(n):
    """n x n bits, schoolbook: a LUT6 adds three products of two bits, and six sums."""
    total = 0
    for bit in range(2 * n - 1):
        level = math.ceil(min(bit + 1, 2 * n - 1 - bit) / 3)
        total += level
        while level > 1:
            level = math.ceil(level / 6)
            total += level
    return total


def carryless(n, leaf):
    """Karatsuba: three halves, operand sums (two a LUT), and 2 n bits where the three overlap."""
    if n == leaf:
        return carryless_leaf(n)
    return 3 * carryless(n // 2, leaf) + n / 2 + n


# As in hls/aes_gcm/gf128.hpp: down to 32 x 32, three stages; the reduction (x^128 = x^7 + x^2 + x + 1) is a LUT a bit and some.
MULTIPLY = Use(lut=carryless(128, 32) + 140, ff=2 * 9 * 32 + 9 * 63 + 255 + 128)


def squarings():
    """The powers H^(2^k) and H^(3 4^i) of hls/aes_gcm/weights.hpp. Squaring is linear, at most six squarings a stage: every bit
    is an XOR of known inputs, and n inputs take (n - 1) / 5 LUT."""

    def square(value):
        value = int("0".join(f"{value:b}"), 2)
        for bit in range(254, 127, -1):
            if value >> bit & 1:
                value ^= 1 << bit | 0x87 << (bit - 128)
        return value

    def lut(times):
        inputs = [0] * 128
        for column in range(128):
            value = 1 << column
            for _ in range(times):
                value = square(value)
            for bit in range(128):
                inputs[bit] += value >> bit & 1
        return sum(math.ceil((count - 1) / 5) for count in inputs)

    cost = [0] + [lut(times) for times in range(1, 7)]
    of_h = sum(cost[times] for times in (1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5))
    of_cube = sum(cost[times] for times in (2, 4, 6, 2, 4))
    return Use(lut=of_h + of_cube, ff=2 * 17 * 128)


SQUARINGS = squarings()
ROTATE = Use(lut=640 * 4, ff=640 * 2)  # 80 bytes by any number of bytes: four levels of 4:1 or 5:1, one LUT a bit each
SUM16 = Use(lut=32 * 16 * 1.2, ff=32 * 16)  # one's complement sum of 32 half-words: three-input adders, 16 + 16/3 + ...
RULE = Use(lut=256 / 2 + 27 + 4 * 8 + 5, ff=600)  # two address bits a LUT, OR of six, four bounds, protocol and version; stored
M_AXI = Use(lut=4200, ff=7500, bram=7.5)  # judged: 512 bits, 64 outstanding, the HLS adapter with its register slices
STREAM_16 = Use(lut=8 / 14, ff=1)  # a bit of a shallow FIFO: eight LUTs are a memory of 32 x 14
AXIS_64 = 512 + 64 + 1 + 1  # data, keep, last, user

UNITS = {
    "AES-256 cell, one block a cycle": aes(14, True),
    "AES-128 cell": aes(10, False),
    "key schedule, 128 or 256 bits": key_schedule(14, 256),
    "key schedule, 128 bits": key_schedule(10, 128),
    "GF(2^128) multiplier": MULTIPLY,
    "byte rotator, 80 bytes": ROTATE,
    "ternary rule": RULE,
    "bit of a stream of 16": STREAM_16,
    "m_axi master, 512 bits": M_AXI,
}

# ---- kernels -----------------------------------------------------------------------------------------------------------------


# Sizes that the table names, as the kernels' headers have them: a change there fails the budget until it is followed here.
SIZES = {
    "hls/common/limits.hpp": {"sessions_max": "1u << 17", "slots": "1024", "rules_max": "256", "cells_max": "5"},
    "hls/session_table/table_slot.h": {"table_ways": "4", "table_bank_rows": "4096", "table_banks": "9", "table_stash": "8",
                                       "table_words": "5"},
    "hls/session_table/table_hash.h": {"table_chars": "50", "table_char_bits": "6"},
    "hls/aes_gcm/gf128.hpp": {"weight_digits": "6"},
    "hls/aes_gcm/ghash.hpp": {"ghash_multipliers": "4"},
    "hls/aes_gcm/aes.hpp": {"aes_stages": "14"},
}


def size_findings(root=ROOT):
    for file, sizes in SIZES.items():
        text = (root / file).read_text(encoding="utf-8")
        for name, value in sizes.items():
            found = re.search(rf"\b{name} = ([^,}}/]*[^,}}/\s])", text)
            if found is None or found.group(1) != value:
                yield f"{file}: {name} is {found.group(1) if found else 'gone'}; hw/budget.py reckons with {value}"


def lane(mirror=True):
    """Lines of (block, what, count, unit)."""
    aes256, aes128 = UNITS["AES-256 cell, one block a cycle"], UNITS["AES-128 cell"]
    keys, keys128 = UNITS["key schedule, 128 or 256 bits"], UNITS["key schedule, 128 bits"]
    lines = [
        ("packet", "parser: header window, field extraction (judged)", 1, Use(lut=9000, ff=14000)),
        ("packet", "parser: payload and header sums", 2, SUM16),
        ("packet", "FIFO while the session is fetched, 1024 beats", 1, fifo(AXIS_64, 1024)),
        ("packet", "FIFO before rewrite, 256 beats", 1, fifo(AXIS_64, 256)),
        ("packet", "rewrite: field deltas, SACK, sums (judged)", 1, Use(lut=8000, ff=12000) + SUM16 * 2),
        ("session_table", "4 ways x 36,864 slots x 5 words", 4, uram(5 * 72, 9 * 4096)),
        ("session_table", "hash: 50 tables of 80 bits, XOR", 1, Use(lut=50 * 80 * 8 / 7 + 80 * 12, ff=80 * 12)),
        ("session_table", "compare: 4 ways and a stash of 8, select", 12, Use(lut=100 + 17 + 3 + 1, ff=360)),
        ("session_table", "counters, 131,072 x 144 bits", 1, uram(144, 131072) + Use(lut=2500, ff=4000)),
        ("rule_table", "ternary rules", 256, RULE),
        ("rule_table", "first match", 1, Use(lut=17 * 12 + 2 * 86, ff=400)),
        ("transcoder", "slots: keys, 2048 bits x 1024", 1, uram(2048, 1024)),
        ("transcoder", "slots: tracker and finish, 1024 bits x 1024", 1, bram(1024, 1024)),
        ("transcoder", "fetch: slots, owners, counts (memories: fetch.hpp; logic judged)", 1, Use(lut=9000, ff=14000, bram=48.5)),
        ("transcoder", "tracker: record walk, ring, decision (judged)", 1, Use(lut=16000, ff=12000)),
        ("transcoder", "finish: tags, KeyUpdate, events (judged)", 1, Use(lut=18000, ff=16000)),
        ("transcoder", "summaries and work that wait with the packet, 1024 x 400 bits", 1, fifo(400, 1024)),
        ("transcoder", "streams of 16 between processes, bits in all", 14000, STREAM_16),
        ("transcoder", "streams of 64 beside the cipher, bits in all", 7000, STREAM_16 * 2),
        ("aes_gcm", "open: 5 cells and the tag mask", 6, aes256),
        ("aes_gcm", "seal: 5 cells and the tag mask", 6, aes256),
        ("aes_gcm", "keys of parts a and b, both sides", 4, keys),
        ("aes_gcm", "GHASH, both sides: 4 lanes, weight, ladder of 5, H^3, 2 at the end", 2 * 13, MULTIPLY),
        ("aes_gcm", "squarings for the weights, both sides", 2, SQUARINGS),
        ("aes_gcm", "items and powers to the multipliers, both sides", 2, Use(lut=4 * 128 * 5, ff=4 * 256)),
        ("aes_gcm", "text to cells and back", 8, ROTATE),
    ]
    if mirror:
        lines += [
            ("mirror", "keys of parts a and b: E(K, nonce, 0)", 2, aes256),
            ("mirror", "5 cells", 5, aes128),
            ("mirror", "keys of parts a and b", 2, keys128),
            ("mirror", "text to cells and back, FIFO", 2, ROTATE + Use(lut=800, ff=1200)),
        ]
    return lines


STATE = [
    ("state", "6 lines of 64 bytes", 6, M_AXI),
    ("state", "lines that wait for each other, 256", 6, fifo(512, 256)),
    ("state", "requests, writes, acknowledgements in order (judged)", 1, Use(lut=5000, ff=9000)),
]
CONTROL = [
    ("control", "rings: commands, completions, events; page of the host", 4, M_AXI),
    ("control", "command decoder, both lanes (judged)", 1, Use(lut=14000, ff=18000, bram=12)),
]
PACKETS = [
    ("packets", "rings", 4, M_AXI),
    ("packets", "reader, sender, receiver, mirror (judged)", 4, Use(lut=2500, ff=3500)),
    ("packets", "lines from the ring, 256", 1, fifo(544, 256)),
]
# stream_connect of a lane in link.cfg: depths 64 in LUTs, 128 to 512 in block RAM.
LINKS = [
    ("links", "rx, tx, state: bits in all, 64 words", 2 * AXIS_64 + 2 * 32 + 3072 + 1088, STREAM_16 * 2),
    ("links", "inject, transmit, punt, two of the mirror, events", 6, fifo(AXIS_64, 512)),
]
# The MAC itself is hard and costs no LUT.
CMAC = [
    ("cmac", "registers, statistics, RS-FEC (judged)", 1, Use(lut=9000, ff=14000)),
    ("cmac", "2 FIFOs of 512 beats", 2, fifo(AXIS_64, 512)),
]


def total(lines):
    result = Use()
    for _, _, count, unit in lines:
        result += unit * count
    return result


ENGINE_BLOCKS = ("aes_gcm", "mirror")
SBOXES = 14 * 16  # of an AES-256 cell
SBOX_BRAM = Use(lut=-SBOXES * SBOX_LUT, bram=SBOXES / 4)  # two ports, two 18-Kbit halves: four S-boxes a block


def savings():
    """(what, of the engine or of the rest of a lane, LUT and block RAM saved in a lane)."""
    aes256, aes128 = UNITS["AES-256 cell, one block a cycle"], UNITS["AES-128 cell"]
    deeper = Use(lut=carryless(128, 32) - carryless(128, 16)) * (2 * 13)
    in_memory = Use(lut=RULE.lut * 2 / 3) * 256
    return [
        ("multipliers divided once more, to 16 x 16 bits", "engine", deeper),
        ("4 cells and the block begun in the beat before, instead of 5", "engine", aes256 * 2 + aes128),
        ("tag mask and mirror keys, needed once a record, from one cell instead of three", "engine", aes256 * 2),
        ("rules in LUT memory, 64 writes a rule (hls/rule_table/README.md)", "lane", in_memory),
    ]


def saved(part):
    result = Use()
    for _, of, use in savings():
        if of == part:
            result += use
    return result


def build(ports=True, lanes=2, mirror=True, engines=None, save=False):
    """(kernel, compute units, use of one)."""
    whole = total(lane(mirror))
    engine = total(line for line in lane(mirror) if line[0] in ENGINE_BLOCKS)
    kernels = [("sluice_lane", lanes, whole)]
    if engines is not None:
        kernels = [("sluice_lane without AES-GCM", lanes, whole + engine * -1), ("AES-GCM engine", engines, engine)]
    if save:
        kernels.append(("saved in lanes", lanes, saved("lane") * -1))
        kernels.append(("saved in engines", lanes if engines is None else engines, saved("engine") * -1))
    kernels += [("sluice_state", lanes, total(STATE)), ("sluice_control", 1, total(CONTROL))]
    kernels += [("sluice_packets", lanes, total(PACKETS)), ("FIFOs between kernels", lanes, total(LINKS))]
    if ports:
        kernels.append(("cmac", 2, total(CMAC)))
    return kernels


def build_total(kernels):
    result = Use()
    for _, units, use in kernels:
        result += use * units
    return result


BUILDS = {"ports": build(), "host": build(ports=False)}  # link.cfg, link-host.cfg
# Not built: what the kernels would have to become.
ALTERNATIVES = [
    ("two lanes, as they are", {}),
    ("two lanes without mirror", {"mirror": False}),
    ("two lanes with all savings", {"save": True}),
    ("the same, S-boxes in block RAM as far as it goes", {"save": True, "sbox_bram": True}),
    ("two lanes, one engine for both", {"engines": 1}),
    ("the same with all savings", {"engines": 1, "save": True}),
    ("one lane (one direction), as it is", {"lanes": 1}),
]


# ---- boards ------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Board:
    name: str
    title: str
    clock_mhz: float
    bank_gb_s: float
    slrs: dict
    over: tuple

    @property
    def available(self):
        return sum(self.slrs.values(), Use())


def boards(root=ROOT):
    found = []
    for path in sorted((root / "hw" / "platforms").glob("*/board.cfg")):
        config = configparser.ConfigParser()
        config.read(path, encoding="utf-8")
        config_slrs = {slr.upper(): Use(*map(int, figures.split())) for slr, figures in config["resources"].items()}
        found.append(Board(path.parent.name, config["board"]["title"], float(config["board"]["clock_mhz"]),
                           float(config["board"]["bank_gb_s"]), config_slrs, tuple(config["budget"]["over"].split())))
    return found


def shares(use, board):
    return {kind: getattr(use, kind) / getattr(board.available, kind) for kind in KINDS}


def over_limit(board):
    return tuple(name for name, kernels in BUILDS.items() if max(shares(build_total(kernels), board).values()) > LIMIT)


def findings(found):
    for board in found:
        over = over_limit(board)
        for name in BUILDS:
            if (name in over) != (name in board.over):
                state = "over" if name in over else "within"
                yield f"hw/platforms/{board.name}/board.cfg: '{name}' is {state} {LIMIT:.0%}, but [budget] over says otherwise"


# ---- tables ------------------------------------------------------------------------------------------------------------------


def row(*cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def head(*cells):
    return [row(*cells), row(*("---" if i == 0 else "---:" for i in range(len(cells))))]


def figures(use):
    return [f"{round(getattr(use, kind)):,}" for kind in KINDS]


def table_units():
    yield from head("unit", "LUT", "registers", "block RAM", "UltraRAM")
    for name, use in UNITS.items():
        yield row(name, *figures(use))


def table_lane():
    yield from head("block of a lane", "what", "count", "LUT", "registers", "block RAM", "UltraRAM")
    for block, what, count, unit in lane():
        yield row(block, what, count, *figures(unit * count))
    yield row("**lane**", "", "", *figures(total(lane())))


def table_builds(found):
    kernels = BUILDS["ports"]
    yield from head("kernel", "units", "LUT", "registers", "block RAM", "UltraRAM")
    for name, units, use in kernels:
        yield row(name, units, *figures(use * units))
    whole = build_total(kernels)
    yield row("**sum**", "", *figures(whole))
    for board in found:
        yield row(f"{board.title}, available", "", *figures(board.available))
        yield row(f"{board.title}, share", "", *(f"{share:.0%}" for share in shares(whole, board).values()))


def table_alternatives(found):
    columns = ("LUT", "block RAM", "UltraRAM", f"within {LIMIT:.0%}")
    yield from head("kernels", *(f"{board.title}: {column}" for board in found for column in columns))
    for name, options in ALTERNATIVES:
        cells = []
        for board in found:
            kernels = build(**{key: value for key, value in options.items() if key != "sbox_bram"})
            if "sbox_bram" in options:
                room = board.available.bram * LIMIT - build_total(kernels).bram
                cells_of_a_lane = sum(count for _, _, count, unit in lane() if unit is UNITS["AES-256 cell, one block a cycle"])
                kernels.append(("S-boxes in block RAM", min(int(room // SBOX_BRAM.bram), cells_of_a_lane), SBOX_BRAM))
            share = shares(build_total(kernels), board)
            fits = "yes" if max(share.values()) <= LIMIT else "no"
            cells += [f"{share['lut']:.0%}", f"{share['bram']:.0%}", f"{share['uram']:.0%}", fits]
        yield row(name, *cells)


def table_savings():
    yield from head("change", "LUT saved a lane", "block RAM more")
    for what, _, use in [*savings(), ("S-boxes of one AES-256 cell in block RAM", "engine", SBOX_BRAM * -1)]:
        yield row(what, f"{round(use.lut):,}", f"{round(-use.bram):,}")


STATE_READ = 6 * 64  # bytes a packet whose session is not in a slot
STATE_WRITE = 2 * 64
LINE_GB_S = 100 / 8  # a lane's share of a 100G port
ETHERNET_GAP = 20  # preamble and gap, bytes a frame
EFFICIENCY = 0.5  # of random 64-byte accesses; an assumption, to be measured on a board


def table_memory(found):
    yield from head("memory of the sessions", "masters a bank", "busiest bank, bytes a session", "sessions/s a lane, ideal",
                    f"at {EFFICIENCY:.0%}", "smallest average frame at 100 Gb/s")
    for board in found:
        # U55C: each line has a pseudo-channel of its own, lines 4 and 5 are read and written. U250: a lane has two banks of three
        # lines, with lines 4 and 5 in different ones.
        masters, load = (1, 128) if board.bank_gb_s < 15 else (3, 3 * 64 + 64)
        ideal = board.bank_gb_s * 1e9 / load
        smallest = LINE_GB_S * 1e9 / (ideal * EFFICIENCY) - ETHERNET_GAP
        rates = (f"{rate / 1e6:.0f} M" for rate in (ideal, ideal * EFFICIENCY))
        yield row(board.title, masters, load, *rates, f"{max(smallest, 60):.0f} bytes")


REGISTER_NS = 0.20  # clock to output, and setup
LEVEL_NS = 0.45  # a LUT6 and its net in a well-filled device
UNCERTAINTY = 0.15  # jitter, skew, what routing adds

PATHS = [
    ("AES round: S-box (with F7, F8), MixColumns and key", 3, "hls/aes_gcm/aes.hpp"),
    ("GF(2^128): partial products and their sum", 4, "hls/aes_gcm/gf128.hpp"),
    ("beat rotation, a half", 2, "hls/aes_gcm/align.hpp"),
    ("session table: compare, select", 3, "hls/session_table/session_table.hpp"),
    ("rule table: comparators", 4, "hls/rule_table/rule_table.hpp"),
    ("fetch: decide", 4, "hls/transcoder/fetch.hpp"),
    ("tracker: next record header in the beat (loop)", 7, "hls/transcoder/tracker.hpp"),
]


def table_timing(found):
    period = 1000 / found[0].clock_mhz
    room = period * (1 - UNCERTAINTY)
    yield from head("path", "levels", "ns", f"of {room:.2f} ns", "where")
    for name, levels, where in PATHS:
        need = REGISTER_NS + levels * LEVEL_NS
        yield row(name, levels, f"{need:.2f}", "fits" if need <= room else "**too long**", f"[{where}](../{where})")


def render(found):
    parts = [
        ("Units", table_units()),
        ("A lane", table_lane()),
        ("The whole card (link.cfg, with both ports)", table_builds(found)),
        ("What can be saved without doing less", table_savings()),
        ("What would fit", table_alternatives(found)),
        ("Session memory", table_memory(found)),
        ("Timing", table_timing(found)),
    ]
    return "\n".join("\n".join([f"### {title}", "", *table, ""]) for title, table in parts)


def document_with(text, document):
    before, rest = document.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    return before + MARKS[0] + text + MARKS[1] + after


def main():
    found = boards()
    text = render(found)
    if sys.argv[1:] == ["--update"]:
        DOCUMENT.write_text(document_with(text, DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    elif sys.argv[1:]:
        print(__doc__)
        return 2
    else:
        print(text)
    bad = [*findings(found), *size_findings()]
    print("\n".join(bad), end="\n" if bad else "", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
