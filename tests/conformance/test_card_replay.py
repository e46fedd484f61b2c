# SPDX-License-Identifier: Apache-2.0
"""Captures through the card: sluice-card --pcap."""
import os
import re

import pytest
from card_lab import (FIN, SYN, Agent, flow_key, forward, frame, is_right, keys, lane, nonce, open13, payload, pb, read_pcap, run,
                      seal13, sessions_file, transcode, write_pcap, write_pcapng)
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from rpc_lab import wait_until

CLIENT, SERVER, SPORT = "10.1.0.2", "198.51.100.9", 41000
KEY = flow_key(src=CLIENT, dst=SERVER, sport=SPORT)


def there(seq, data=b"", **more):
    return frame(CLIENT, SERVER, SPORT, 443, seq, data, **more)


def back(seq, data=b"", **more):
    return frame(SERVER, CLIENT, 443, SPORT, seq, data, **more)


class Session:
    """One TLS 1.3 connection at the time it is handed to the card."""

    def __init__(self, mirror=True):
        self.lanes = [lane(next_seq=1000, keys=keys(16, 32), open_record=3, seal_record=9),
                      lane(next_seq=5000, keys=keys(32, 16), open_record=0, seal_record=1)]
        self.install = transcode(77, key=KEY, inside=self.lanes[0], outside=self.lanes[1], mirror=mirror)
        self.number, self.seq = [3, 0], [1000, 5000]

    def send(self, way, text, **more):
        """A frame with one record, as the leg's peer sends it."""
        k = self.lanes[way].keys
        record = seal13(k.open_key, k.open_iv, self.number[way], text, **more)
        self.number[way] += 1
        seq, self.seq[way] = self.seq[way], self.seq[way] + len(record)
        return (there, back)[way](seq, record)

    def read(self, way, index, record):
        """What the other leg's peer makes of it."""
        k = self.lanes[way].keys
        return open13(k.seal_key, k.seal_iv, self.lanes[way].seal_record + index, record)


def totals(log):
    return {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", next(line for line in log.splitlines() if "replay done" in line))}


@pytest.mark.parametrize("write", [write_pcap, lambda p, f: write_pcap(p, f, magic=0xa1b23c4d),
                                   lambda p, f: write_pcap(p, f, order=">"), write_pcapng,
                                   lambda p, f: write_pcapng(p, f, order=">")],
                         ids=["pcap", "nanoseconds", "big-endian", "pcapng", "pcapng-big-endian"])
def test_records_leave_under_the_other_legs_keys(tmp_path, write):
    """The handshake before the session passes as it is; its records are opened and sealed; the mirror has the page."""
    one = Session()
    before = [there(999, flags=SYN), back(4000, b"\x16\x03\x03\x00\x02hi")]
    frames = [one.send(0, b"GET / HTTP/1.1\r\n\r\n"), one.send(1, b"HTTP/1.1 200 OK\r\n\r\n" + b"page" * 200), one.send(0, b"more")]
    write(tmp_path / "in", before + frames)
    log = run("--pcap", tmp_path / "in", tmp_path / "out", "--sessions", sessions_file(tmp_path / "sessions", one.install),
              "--mirror", tmp_path / "mirror")
    out = read_pcap(tmp_path / "out")
    assert out[:2] == before
    assert one.read(0, 0, payload(out[2])) == (b"GET / HTTP/1.1\r\n\r\n", 23)
    assert one.read(1, 0, payload(out[3]))[0].endswith(b"page" * 200)
    assert one.read(0, 1, payload(out[4])) == (b"more", 23)
    assert [len(f) for f in out] == [len(f) for f in before + frames]
    assert (totals(log)["frames"], totals(log)["sent"], totals(log)["punted_passed"]) == (5, 3, 2)
    mirror = read_pcap(tmp_path / "mirror")
    assert [payload(f) for f in mirror] == [b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n" + b"page" * 200, b"more"]
    assert [f[26:38] for f in mirror] == [there(0)[26:38], back(0)[26:38], there(0)[26:38]]  # addresses and ports
    assert all(is_right(f) for f in mirror)
    assert mirror[2][38:42] == (1 + 18).to_bytes(4, "big")
    assert (tmp_path / "mirror").stat().st_mode & 0o777 == (tmp_path / "out").stat().st_mode & 0o777 == 0o600


def test_a_bad_tag_shows_nothing(tmp_path):
    """G7: the record does not verify for the receiver, and nothing of it is mirrored."""
    one = Session()
    good, bad = one.send(0, b"good"), one.send(0, b"secret")
    seq = int.from_bytes(bad[38:42], "big")
    write_pcap(tmp_path / "in", [good, there(seq, payload(bad)[:-1] + bytes([payload(bad)[-1] ^ 1]))])
    run("--pcap", tmp_path / "in", tmp_path / "out", "--sessions", sessions_file(tmp_path / "sessions", one.install),
        "--mirror", tmp_path / "mirror")
    out = read_pcap(tmp_path / "out")
    assert one.read(0, 0, payload(out[0]))[0] == b"good"
    with pytest.raises(InvalidTag):
        one.read(0, 1, payload(out[1]))
    assert [payload(f) for f in read_pcap(tmp_path / "mirror")] == [b"good"]


def test_tls_1_2(tmp_path):
    def record(key, salt, number, explicit, text):
        associated = number.to_bytes(8, "big") + b"\x17\x03\x03" + len(text).to_bytes(2, "big")
        sealed = AESGCM(key).encrypt(salt + explicit, text, associated)
        return b"\x17\x03\x03" + (8 + len(sealed)).to_bytes(2, "big") + explicit + sealed
    state = lane(next_seq=1000, keys=keys(16, 16, iv=4), open_record=1, seal_record=4, next_nonce=0x1122334455667788)
    other = lane(keys=keys(16, 16, iv=4))
    install = transcode(1, key=KEY, tls=pb.TLS_1_2, inside=state, outside=other)
    came = record(state.keys.open_key, state.keys.open_iv, 1, bytes.fromhex("1122334455667788"), b"hello")
    write_pcap(tmp_path / "in", [there(1000, came)])
    run("--pcap", tmp_path / "in", tmp_path / "out", "--sessions", sessions_file(tmp_path / "sessions", install))
    out = payload(read_pcap(tmp_path / "out")[0])
    explicit = (4).to_bytes(8, "big")
    assert out[5:13] == explicit
    associated = explicit + b"\x17\x03\x03\x00\x05"
    assert AESGCM(state.keys.seal_key).decrypt(state.keys.seal_iv + explicit, out[13:], associated) == b"hello"


def test_finished_records_answer_retransmissions(tmp_path):
    """The tag that went out before the hand-over goes out again; the ciphertext is the same (G11, G12)."""
    one = Session(mirror=False)
    old = one.lanes[0]
    text = b"sent before the card had it"
    before = seal13(old.keys.open_key, old.keys.open_iv, 2, text)
    sent = seal13(old.keys.seal_key, old.keys.seal_iv, 8, text)
    one.install.install.inside.finished.add(length=len(sent), tag=sent[-16:])
    write_pcap(tmp_path / "in", [there(1000 - len(before), before)])
    run("--pcap", tmp_path / "in", tmp_path / "out", "--sessions", sessions_file(tmp_path / "sessions", one.install))
    assert payload(read_pcap(tmp_path / "out")[0]) == sent


def test_lanes_without_sessions(tmp_path):
    """By --inside; the rules of one lane drop, those of the other pass."""
    frames = [frame("10.0.0.1", "8.8.8.8", 1, 2, 1), frame("8.8.8.8", "10.0.0.1", 2, 1, 1), frame("2001:db8::1", "::5", 1, 2, 1),
              frame("::5", "2001:db8::1", 2, 1, 1), frame("9.9.9.9", "8.8.8.8", 1, 2, 1)]
    write_pcap(tmp_path / "in", frames)
    agent = Agent(tmp_path, "--pcap", tmp_path / "in", tmp_path / "out", "--inside", "10.0.0.0/8", "--inside", "2001:db8::/33",
                  "--wait-sessions", 1, "--stay")
    agent.card.SetRules(pb.RuleSet(lane=0, default_action=pb.PASS))
    agent.card.SetRules(pb.RuleSet(lane=1, default_action=pb.DROP))
    agent.program(forward(1))
    wait_until(lambda: "replay done" in agent.log(), "the replay")
    assert read_pcap(tmp_path / "out") == [frames[0], frames[2], frames[4]]
    assert (totals(agent.log())["sent"], totals(agent.log())["dropped_by_card"]) == (3, 2)
    agent.close()


def test_punted_frames(tmp_path):
    frames = [there(1), bytes(60), there(2, flags=FIN)]
    write_pcap(tmp_path / "in", frames)
    run("--pcap", tmp_path / "in", tmp_path / "out")
    assert read_pcap(tmp_path / "out") == frames
    log = run("--pcap", tmp_path / "in", tmp_path / "out", "--punted", "drop")
    assert read_pcap(tmp_path / "out") == [] and totals(log)["punted_dropped"] == 3
    assert 'punted_for="not_ip 1, rule 2"' in log


def test_checksums_of_an_unfinished_capture(tmp_path):
    one = Session()
    raw = one.send(0, b"hello")
    unfinished = raw[:24] + b"\0\0" + raw[26:50] + b"\x12\x34" + raw[52:]
    write_pcap(tmp_path / "in", [unfinished])
    sessions = sessions_file(tmp_path / "sessions", one.install)
    assert totals(run("--pcap", tmp_path / "in", tmp_path / "out", "--sessions", sessions))["sent"] == 0
    assert totals(run("--pcap", tmp_path / "in", tmp_path / "out", "--sessions", sessions, "--fix-checksums"))["sent"] == 1
    assert one.read(0, 0, payload(read_pcap(tmp_path / "out")[0])) == (b"hello", 23)


def test_many_frames_keep_their_order(tmp_path):
    one = Session(mirror=False)
    texts = [(i % 7 < 3, str(i).encode() * 50) for i in range(2000)]
    write_pcap(tmp_path / "in", [one.send(int(way), text) for way, text in texts])
    run("--pcap", tmp_path / "in", tmp_path / "out", "--sessions", sessions_file(tmp_path / "sessions", one.install))
    count = [0, 0]
    out = read_pcap(tmp_path / "out")
    assert len(out) == 2000
    for (way, text), raw in zip(texts, out):
        assert one.read(int(way), count[way], payload(raw))[0] == text
        count[way] += 1


def segments(one, way, text, size):
    """The stream of one lane: records of 1,000 bytes, cut anywhere, as frames in order."""
    stream = b"".join(payload(one.send(way, text[i:i + 1000])) for i in range(0, len(text), 1000))
    start = one.seq[way] - len(stream)
    return [(there, back)[way](start + i, stream[i:i + size]) for i in range(0, len(stream), size)]


def stream_of(frames, way, start):
    """What a receiver makes of the frames of one lane, whatever their order."""
    parts = {}
    for raw in frames:
        if raw[26:30] == (there, back)[way](0)[26:30]:
            parts[int.from_bytes(raw[38:42], "big") - start] = payload(raw)
    data = b""
    for at, part in sorted(parts.items()):
        assert at <= len(data), f"a hole at {len(data)}"
        data += part[len(data) - at:]
    return data


def texts_of(one, way, stream):
    out, index = b"", 0
    while stream:
        size = 5 + int.from_bytes(stream[3:5], "big")
        out, stream, index = out + one.read(way, index, stream[:size])[0], stream[size:], index + 1
    return out


@pytest.mark.parametrize("moved", [2, 5, 100])
def test_frames_out_of_order(tmp_path, moved):
    """What comes before its turn waits for it. A capture has such frames wherever a sender has several processors."""
    one, text = Session(), [os.urandom(100_000), os.urandom(100_000)]
    frames = [item for pair in zip(segments(one, 0, text[0], 700), segments(one, 1, text[1], 700)) for item in pair]
    mixed = list(frames)
    for i in range(3, len(mixed) - moved, 2 * moved + 7):
        mixed.insert(i + moved, mixed.pop(i))
    write_pcap(tmp_path / "in", mixed)
    log = run("--pcap", tmp_path / "in", tmp_path / "out", "--sessions", sessions_file(tmp_path / "sessions", one.install),
              "--mirror", tmp_path / "mirror")
    out, mirror = read_pcap(tmp_path / "out"), read_pcap(tmp_path / "mirror")
    for way in (0, 1):
        assert texts_of(one, way, stream_of(out, way, one.lanes[way].next_seq)) == text[way]
        assert stream_of(mirror, way, 1) == text[way]
    assert sorted(map(len, out)) == sorted(map(len, frames))
    assert totals(log)["sent"] == len(frames) and totals(log)["punted_passed"] == 0
    assert 0 < totals(log)["waited"] < len(frames)


@pytest.mark.parametrize("punted, passed", [("pass", 93), ("drop", 0)])
def test_a_hole_that_stays(tmp_path, punted, passed):
    """Nothing can be opened behind it: that waits to the end, and then passes as it came, or not at all."""
    one, text = Session(), os.urandom(100_000)
    frames = segments(one, 0, text, 1022)  # a record each
    write_pcap(tmp_path / "in", frames[:6] + frames[7:])
    log = run("--pcap", tmp_path / "in", tmp_path / "out", "--sessions", sessions_file(tmp_path / "sessions", one.install),
              "--punted", punted)
    out = read_pcap(tmp_path / "out")
    assert texts_of(one, 0, stream_of(out[:6], 0, 1000)) == text[:6000]
    assert out[6:] == (frames[7:] if passed else [])
    assert {name: totals(log)[name] for name in ("sent", "waited", "punted_passed", "punted_dropped")} == {
        "sent": 6, "waited": 93, "punted_passed": passed, "punted_dropped": 93 - passed}
    assert 'punted_for="ahead 93"' in log


def test_a_hole_behind_what_came_by_another_frame(tmp_path):
    """A frame that waited, and that the card then has no use for, does not keep those behind it waiting."""
    one, texts = Session(), [os.urandom(20) for _ in range(200)]
    frames = [one.send(0, text) for text in texts]
    together = there(1000 + len(payload(frames[0])), b"".join(payload(raw) for raw in frames[1:-1]))
    write_pcap(tmp_path / "in", [frames[0], frames[2], frames[-1], together])
    log = run("--pcap", tmp_path / "in", tmp_path / "out", "--sessions", sessions_file(tmp_path / "sessions", one.install),
              "--punted", "drop")
    assert texts_of(one, 0, stream_of(read_pcap(tmp_path / "out"), 0, 1000)) == b"".join(texts)
    assert totals(log)["sent"] == 3 and 'punted_for="old 1"' in log and totals(log)["waited"] == 2


def test_a_reset_in_the_middle(tmp_path):
    """The engine counts from 0 again; the replay does not lose count."""
    write_pcap(tmp_path / "in", [there(1, bytes(20)), back(1, bytes(20))] * 8_000)
    agent = Agent(tmp_path, "--pcap", tmp_path / "in", tmp_path / "out", "--wait-sessions", 1, "--stay")
    drop = [pb.RuleSet(lane=number, default_action=pb.DROP) for number in (0, 1)]
    for rules in drop:
        agent.card.SetRules(rules)
    assert [one.code for one in agent.program(forward(1))] == [pb.OK]
    while "replay done" not in agent.log():
        agent.card.Reset(pb.ResetRequest())
        for rules in drop:
            agent.card.SetRules(rules)
    log = agent.close()
    assert "replay failed" not in log
    told = totals(log)
    assert told["frames"] == 16_000 == told["punted_passed"] + told["dropped_by_card"]


def test_sessions_files(tmp_path):
    write_pcap(tmp_path / "in", [there(1)])
    good = sessions_file(tmp_path / "good", forward(1))
    arguments = ("--pcap", tmp_path / "in", tmp_path / "out", "--sessions")
    run(*arguments, good)
    good.chmod(0o640)
    assert "chmod 600" in run(*arguments, good, status=1)
    short = transcode(2, inside=lane(keys=keys(open_bytes=15)))
    for commands, part in (([forward(1), forward(1)], "commands[1]"),
                           ([forward(1), short], "commands[1]: inside: keys: open_key has 15")):
        assert part in run(*arguments, sessions_file(tmp_path / "bad", *commands), status=1)
    (tmp_path / "bad").write_text("{")
    assert "bad" in run(*arguments, tmp_path / "bad", status=1)
    assert "no-such" in run(*arguments, tmp_path / "no-such", status=1)


def test_captures_that_are_none(tmp_path):
    """Cut and damaged files end with a sentence, not with a crash."""
    write_pcap(tmp_path / "pcap", [there(1, b"x" * 90)] * 3)
    write_pcapng(tmp_path / "pcapng", [there(1, b"x" * 90)] * 3)
    for name in ("pcap", "pcapng"):
        whole = (tmp_path / name).read_bytes()
        for data in [whole[:n] for n in (0, 1, 23, 24, 39, 60, len(whole) - 1)] + [b"\0" * 100, whole[:20] + b"\x71" + whole[21:]]:
            (tmp_path / "in").write_bytes(data)
            status = 0 if name == "pcap" and data == whole[:24] else None
            done = run_any("--pcap", tmp_path / "in", tmp_path / "out")
            assert done in ((0,) if status == 0 else (0, 1))


def run_any(*arguments):
    """The exit status; a crash or a sanitizer's report is neither 0 nor 1."""
    try:
        run(*arguments)
        return 0
    except AssertionError:
        run(*arguments, status=1)
        return 1


def test_nonces_follow_the_records():
    """The helper itself, against RFC 8446 section 5.3."""
    assert nonce(bytes(11) + b"\x01", 3) == bytes(11) + b"\x02"
