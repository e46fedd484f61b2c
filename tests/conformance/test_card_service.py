# SPDX-License-Identifier: Apache-2.0
"""sluice-card's own service against Python's grpcio."""
import os
import signal
import subprocess
import tempfile
import time

import grpc
import pytest
from card_lab import (ACK, BUILD, CARD, CODE, FIN, RST, Agent, Stub, channel_options, flow_key, forward, frame, keys, lane, oo, pb,
                      run, transcode, write_pcap)
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from rpc_lab import Pki, read, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.fixture
def agent(tmp_path):
    running = Agent(tmp_path)
    yield running
    running.close()


def fails(code, part, call, *arguments):
    with pytest.raises(grpc.RpcError) as caught:
        result = call(*arguments)
        list(result)
    assert caught.value.code() == code, caught.value
    assert part in caught.value.details(), caught.value.details()


def listed(agent, page_size=0):
    flows, start, pages = [], 0, 0
    while True:
        page = agent.card.ListSessions(pb.ListSessionsRequest(from_flow=start, page_size=page_size))
        flows += [s.flow for s in page.sessions]
        pages += 1
        start = page.next_flow
        if start == 0:
            return flows, pages


# ---------------------------------------------------------------------------------------------------------------- commands


def test_info(agent):
    info = agent.card.GetInfo(pb.GetInfoRequest())
    assert (info.engine, info.sessions, info.dead) == ("cpu", 0, False)
    assert info.sessions_max > 100_000 and info.rules == 256 and info.device and info.version


def test_install_get_change_rekey_remove(agent):
    results = agent.program(transcode(7, action=pb.HOLD, mirror=True, idle_timeout_s=60),
                            pb.Command(cookie=1, flow=7, change=pb.Change(action=pb.TRANSCODE)),
                            pb.Command(cookie=2, flow=7, rekey=pb.Rekey(lane=1, set=1, tls=pb.TLS_1_3, keys=keys(32, 16))),
                            pb.Command(cookie=3, flow=7, query=pb.Query()))
    assert [(r.cookie, r.flow, r.code, r.text) for r in results] == [(7 ^ 0xff, 7, pb.OK, ""), (1, 7, pb.OK, ""), (2, 7, pb.OK, ""),
                                                                    (3, 7, pb.OK, "")]
    session = agent.card.GetSession(pb.GetSessionRequest(flow=7))
    assert (session.action, session.tls, session.mirror, session.idle_timeout_s) == (pb.TRANSCODE, pb.TLS_1_3, True, 60)
    assert session.key == flow_key(7)
    assert abs(session.installed_ns / 1e9 - time.time()) < 60
    assert [r.code for r in agent.program(pb.Command(flow=7, remove=pb.Remove()), pb.Command(flow=7, remove=pb.Remove()))] == [
        pb.OK, pb.NOT_FOUND]
    fails(CODE.NOT_FOUND, "no such session", agent.card.GetSession, pb.GetSessionRequest(flow=7))


def test_ipv6_and_udp(agent):
    six = flow_key(src="2001:db8::1", dst="2001:db8::2", proto=17)
    assert agent.program(forward(1, key=six))[0].code == pb.OK
    assert agent.card.GetSession(pb.GetSessionRequest(flow=1)).key == six


def test_tls_1_2(agent):
    old = lane(keys=keys(iv=4), open_record=1, seal_record=1, next_nonce=2**63 + 5,
               finished=[pb.FinishedRecord(length=29, tag=bytes(16))])
    assert agent.program(transcode(1, tls=pb.TLS_1_2, inside=old, outside=old))[0].code == pb.OK


def test_duplicates_and_full_table(tmp_path):
    agent = Agent(tmp_path, "--sessions-max", 64)
    room = agent.card.GetInfo(pb.GetInfoRequest()).sessions_max
    results = agent.program(forward(1), forward(1, n=500), forward(2, n=1), *[forward(i) for i in range(10, 9 + room)],
                            forward(9000), forward(9001), pb.Command(flow=10, remove=pb.Remove()), forward(9002))
    codes = [r.code for r in results]
    assert codes[:3] == [pb.OK, pb.EXISTS, pb.EXISTS]
    assert set(codes[3:2 + room]) == {pb.OK}
    assert codes[-4:] == [pb.FULL, pb.FULL, pb.OK, pb.OK]
    assert all(bool(r.text) == (r.code != pb.OK) for r in results)
    agent.close()


LONG = 2**14 + 5 + 17
BAD = [  # what is changed, what the answer names
    (pb.Command(flow=1), "one of install"),
    (transcode(0), "flow"),
    (transcode(1, key=flow_key(src="10.0.0")), "key.src"),
    (transcode(1, key=flow_key(src="")), "key.src"),
    (transcode(1, key=flow_key(dst="::1")), "key.dst"),
    (transcode(1, key=flow_key(sport=65536)), "port"),
    (forward(1, key=flow_key(proto=0)), "key.proto"),
    (forward(1, key=flow_key(proto=256)), "key.proto"),
    (transcode(1, key=flow_key(proto=17)), "TCP only"),
    (forward(1, key=flow_key(proto=1)), "ports"),
    (pb.Command(flow=1, install=pb.Install(action=pb.FORWARD)), "key is needed"),
    (transcode(1, action=pb.ACTION_UNSPECIFIED), "action"),
    (transcode(1, action=9), "action"),
    (transcode(1, action=pb.FORWARD), "FORWARD"),
    (transcode(1, tls=pb.TLS_UNSPECIFIED), "TRANSCODE"),
    (transcode(1, tls=7), "tls"),
    (forward(1, mirror=True), "mirror"),
    (forward(1, inside=lane()), "TLS version"),
    (transcode(1, inside=None), "inside: the lane's state"),
    (transcode(1, outside=lane(keys=None)), "outside: keys: keys are needed"),
    *[(transcode(1, inside=lane(keys=keys(open_bytes=n))), f"open_key has {n} bytes") for n in (0, 1, 15, 17, 24, 31, 33, 1000)],
    *[(transcode(1, outside=lane(keys=keys(seal_bytes=n))), f"seal_key has {n} bytes") for n in (0, 15, 17, 31, 33)],
    *[(transcode(1, inside=lane(keys=keys(iv=n))), f"open_iv has {n} bytes; 12") for n in (0, 4, 8, 11, 13, 16)],
    *[(transcode(1, tls=pb.TLS_1_2, inside=lane(keys=keys(iv=n))), f"open_iv has {n} bytes; 4") for n in (0, 3, 5, 12)],
    (transcode(1, tls=pb.TLS_1_2, inside=lane(keys=keys(iv=4), next_keys=keys(iv=4))), "next_keys"),
    (transcode(1, inside=lane(next_keys=keys(open_bytes=3))), "next_keys: open_key"),
    (transcode(1, inside=lane(open_record=2**48)), "open_record"),
    (transcode(1, inside=lane(window_shift=15)), "window_shift"),
    (transcode(1, inside=lane(window_shift=-15)), "window_shift"),
    (transcode(1, inside=lane(finished=[pb.FinishedRecord(length=100, tag=bytes(16))])), "finished"),
    (transcode(1, inside=lane(open_record=9, finished=[pb.FinishedRecord(length=LONG + 1, tag=bytes(16))])), "finished[0].length"),
    (transcode(1, inside=lane(open_record=9, finished=[pb.FinishedRecord(length=21, tag=bytes(16))])), "finished[0].length"),
    (transcode(1, inside=lane(open_record=9, finished=[pb.FinishedRecord(length=LONG, tag=bytes(15))])), "finished[0].tag"),
    (transcode(1, inside=lane(open_record=9, finished=[pb.FinishedRecord(length=LONG, tag=bytes(16))] * 3)), "finished"),
    (pb.Command(flow=1, change=pb.Change(action=2)), "action"),
    (pb.Command(flow=1, rekey=pb.Rekey(lane=2, tls=pb.TLS_1_3, keys=keys())), "lane and set"),
    (pb.Command(flow=1, rekey=pb.Rekey(set=2, tls=pb.TLS_1_3, keys=keys())), "lane and set"),
    (pb.Command(flow=1, rekey=pb.Rekey(tls=pb.TLS_1_2, keys=keys(iv=4))), "TLS 1.3"),
    (pb.Command(flow=1, rekey=pb.Rekey(tls=pb.TLS_1_3)), "keys are needed"),
]


def test_bad_commands_change_nothing_and_stop_nothing(agent):
    """G13 and P-checks: every wrong length or range is answered with the field's name; the good command behind it is obeyed."""
    results = agent.program(*[command for command, _ in BAD], forward(5))
    for (command, part), result in zip(BAD, results):
        assert result.code == pb.INVALID and part in result.text, (command, result)
    assert results[-1].code == pb.OK
    assert listed(agent)[0] == [5]


def test_transcode_needs_keys(agent):
    """A session without keys never transcodes (with zero keys), however the commands are timed."""
    results = agent.program(pb.Command(flow=1, install=pb.Install(key=flow_key(1), action=pb.HOLD)),
                            pb.Command(flow=1, change=pb.Change(action=pb.TRANSCODE)),
                            pb.Command(flow=1, rekey=pb.Rekey(tls=pb.TLS_1_3, keys=keys())),
                            pb.Command(flow=1, change=pb.Change(action=pb.FORWARD)),
                            transcode(2), pb.Command(flow=2, remove=pb.Remove()),
                            pb.Command(flow=2, install=pb.Install(key=flow_key(2), action=pb.HOLD)),
                            pb.Command(flow=2, change=pb.Change(action=pb.TRANSCODE)),
                            pb.Command(flow=3, change=pb.Change(action=pb.TRANSCODE)))
    assert [r.code for r in results] == [pb.OK, pb.INVALID, pb.INVALID, pb.OK, pb.OK, pb.OK, pb.OK, pb.INVALID, pb.NOT_FOUND]
    assert "without keys" in results[1].text


def test_a_stream_of_10000_installs_and_pages(agent):
    flows = [i * 7 + 1 for i in range(10_000)]
    messages = [pb.Commands(commands=[transcode(f, n=i + k) for k, f in enumerate(flows[i:i + 500])])
                for i in range(0, 10_000, 500)]
    answers = list(agent.card.Program(iter(messages)))
    assert len(answers) == len(messages)
    assert [r.flow for a in answers for r in a.results] == flows
    assert {r.code for a in answers for r in a.results} == {pb.OK}
    assert agent.card.GetInfo(pb.GetInfoRequest()).sessions == 10_000
    for size, pages in ((0, 10), (1000, 10), (333, 31), (4096, 3)):
        assert listed(agent, size) == (flows, pages)
    page = agent.card.ListSessions(pb.ListSessionsRequest(from_flow=9, page_size=2))
    assert ([s.flow for s in page.sessions], page.next_flow) == ([15, 22], 29)
    fails(CODE.INVALID_ARGUMENT, "page_size", agent.card.ListSessions, pb.ListSessionsRequest(page_size=4097))
    removals = [pb.Commands(commands=[pb.Command(flow=f, remove=pb.Remove()) for f in flows[i:i + 4096]])
                for i in range(0, 10_000, 4096)]
    assert {r.code for a in agent.card.Program(iter(removals)) for r in a.results} == {pb.OK}
    assert listed(agent) == ([], 1)


def test_pages_while_sessions_come_and_go(agent):
    agent.program(*[forward(i) for i in range(1, 101)])
    first = agent.card.ListSessions(pb.ListSessionsRequest(page_size=50))
    agent.program(*[pb.Command(flow=i, remove=pb.Remove()) for i in range(50, 61)], *[forward(i) for i in range(200, 205)])
    rest = agent.card.ListSessions(pb.ListSessionsRequest(from_flow=first.next_flow, page_size=1000))
    seen = [s.flow for s in first.sessions] + [s.flow for s in rest.sessions]
    assert len(seen) == len(set(seen)) and set(range(1, 50)) | set(range(61, 101)) <= set(seen)
    assert not set(range(51, 61)) & {s.flow for s in rest.sessions}


def test_too_many_commands_in_a_message(agent):
    message = pb.Commands(commands=[pb.Command(flow=1, query=pb.Query())] * 4097)
    fails(CODE.INVALID_ARGUMENT, "4096", agent.card.Program, iter([message]))
    assert list(agent.card.Program(iter([pb.Commands()])))[0] == pb.Results()


def test_several_streams_at_once(agent):
    calls = [agent.card.Program(iter([pb.Commands(commands=[forward(s * 1000 + i) for i in range(k, k + 100)])
                                      for k in range(1, 901, 100)])) for s in range(8)]
    assert {r.code for call in calls for a in call for r in a.results} == {pb.OK}
    assert len(listed(agent)[0]) == 8 * 900


# ------------------------------------------------------------------------------------------------------------------- rules


def test_rules(agent):
    rules = [pb.Rule(src="10.0.0.0/8", dport_min=443, proto=6, action=pb.PASS), pb.Rule(version=6, action=pb.DROP),
             pb.Rule(dst="2001:db8::/32", sport_min=1, sport_max=1023, action=pb.PUNT)]
    wanted = pb.RuleSet(lane=1, rules=rules, default_action=pb.DROP)
    assert agent.card.SetRules(wanted) == wanted
    assert agent.card.GetRules(pb.GetRulesRequest(lane=1)) == wanted
    assert agent.card.GetRules(pb.GetRulesRequest()) == pb.RuleSet()
    for bad, part in [(pb.Rule(src="10.0.0.0/33"), "src"), (pb.Rule(src="10.0.0.1/8"), "bits behind"), (pb.Rule(dst="x"), "dst"),
                      (pb.Rule(src="10.0.0.0/8", dst="::/0"), "IPv4 and IPv6"), (pb.Rule(version=5), "version"),
                      (pb.Rule(sport_min=7, sport_max=6), "sport"), (pb.Rule(dport_max=65536), "dport"),
                      (pb.Rule(proto=256), "proto"), (pb.Rule(action=3), "action"),
                      (pb.Rule(src="10.0.0.0/8x"), "src"), (pb.Rule(src="10.0.0.0/"), "src")]:
        fails(CODE.INVALID_ARGUMENT, part, agent.card.SetRules, pb.RuleSet(rules=[pb.Rule(), bad]))
    fails(CODE.INVALID_ARGUMENT, "lane", agent.card.SetRules, pb.RuleSet(lane=2))
    fails(CODE.RESOURCE_EXHAUSTED, "256", agent.card.SetRules, pb.RuleSet(rules=[pb.Rule()] * 257))
    assert agent.card.GetRules(pb.GetRulesRequest(lane=1)) == wanted


def test_reset(agent):
    agent.program(transcode(1), forward(2))
    agent.card.SetRules(pb.RuleSet(default_action=pb.PASS))
    assert agent.card.Reset(pb.ResetRequest()).sessions == 0
    assert listed(agent)[0] == []
    assert agent.card.GetRules(pb.GetRulesRequest()) == pb.RuleSet()
    assert agent.program(transcode(1))[0].code == pb.OK


# ------------------------------------------------------------------------------------------------------------------ events


def watching(agent):
    """A watch that has begun: the server says so with an empty message."""
    watch = agent.card.WatchEvents(pb.WatchEventsRequest())
    assert next(watch) == pb.Events()
    return watch


def test_watch_sees_fin_rst_and_counters(tmp_path):
    """The capture waits for both sessions, so the watch is there before its first frame."""
    def segment(sport, seq, data=b"", flags=ACK):
        return frame("10.0.0.0", "192.0.2.1", sport, 443, seq, data, flags)
    write_pcap(tmp_path / "in", [segment(1025, 1, b"x" * 100), frame("192.0.2.1", "10.0.0.0", 443, 1025, 1, b"y" * 50),
                                 segment(1025, 101, flags=ACK | FIN), segment(1026, 1, flags=RST)])
    agent = Agent(tmp_path, "--pcap", tmp_path / "in", tmp_path / "out", "--wait-sessions", 2, "--stay")
    watch, second = watching(agent), watching(agent)
    agent.program(forward(1), forward(2))
    for one in (watch, second):
        events = []
        while len(events) < 2:
            events += next(one).events
        assert [(e.kind, e.flow, e.lane) for e in events] == [(pb.FIN, 1, 0), (pb.RST, 2, 0)]
        assert abs(events[0].time_ns / 1e9 - time.time()) < 60
    wait_until(lambda: "replay done" in agent.log(), "the replay")
    session = agent.card.GetSession(pb.GetSessionRequest(flow=1))
    assert (session.inside.packets, session.inside.bytes, session.outside.packets, session.outside.bytes) == (2, 154 + 54, 1, 104)
    assert (session.fin_inside, session.fin_outside) == (True, False)
    result = agent.program(pb.Command(flow=1, remove=pb.Remove()))[0]
    assert (result.inside.packets, result.outside.bytes) == (2, 104)
    wait_until(lambda: agent.card.GetCounters(pb.GetCountersRequest()).inside.frames_in == 3, "the counters")
    counters = agent.card.GetCounters(pb.GetCountersRequest())
    assert (counters.inside.frames_out, counters.outside.frames_in, counters.events) == (3, 1, 2)
    watch.cancel()
    assert agent.program(forward(3))[0].code == pb.OK
    agent.close()
    with pytest.raises(grpc.RpcError):
        list(second)


def test_idle_sessions_are_closed(agent):
    watch = watching(agent)
    agent.program(forward(1, idle_timeout_s=1), forward(2, idle_timeout_s=3600), forward(3))
    event = next(watch).events[0]
    assert (event.kind, event.flow, event.detail) == (pb.CLOSED, 1, pb.CLOSE_TIMEOUT)
    assert listed(agent)[0] == [2, 3]
    watch.cancel()
    fails(CODE.NOT_FOUND, "no closed", agent.table.getClosedSessions, oo.sessionRequestArgs())  # OpenOffload's own only


def test_too_many_watchers(agent):
    watches = [watching(agent) for _ in range(32)]
    fails(CODE.RESOURCE_EXHAUSTED, "32 watchers", agent.card.WatchEvents, pb.WatchEventsRequest())
    for watch in watches:
        watch.cancel()

    def again():
        try:
            return next(agent.card.WatchEvents(pb.WatchEventsRequest())) == pb.Events()
        except grpc.RpcError:
            return False
    wait_until(again, "room for a watcher")


# ------------------------------------------------------------------------------------------------------------- keys stay inside


def test_no_message_that_leaves_can_hold_a_key():
    """G13: by the schema. Bytes leave in no field at all."""
    def fields(message, seen):
        if message.full_name in seen:
            return
        seen.add(message.full_name)
        for field in message.fields:
            yield field
            if field.message_type:
                yield from fields(field.message_type, seen)
    outgoing = [f for m in CARD.methods for f in fields(m.output_type, set())]
    assert outgoing and not [f.full_name for f in outgoing if f.type == f.TYPE_BYTES or "key_set" in f.name.lower()]
    assert "sluice.card.v1.KeySet" not in {f.message_type.full_name for f in outgoing if f.message_type}


def test_keys_never_come_out(tmp_path):
    """G13: by what leaves. Every response, the log and the files of a run are searched for each key, IV and H."""
    agent = Agent(tmp_path, raw=True)
    commands = [transcode(i, inside=lane(next_keys=keys()), outside=lane(), mirror=True) for i in range(1, 20)]
    rekeys = [pb.Command(flow=i, rekey=pb.Rekey(lane=1, set=1, tls=pb.TLS_1_3, keys=keys())) for i in range(1, 20)]
    bad = [transcode(i, inside=lane(keys=keys(open_bytes=17))) for i in range(30, 40)]
    watch = agent.card.WatchEvents(pb.WatchEventsRequest())
    out = [next(watch)]
    out += list(agent.card.Program(iter([pb.Commands(commands=commands + rekeys + bad)])))
    for i in range(1, 20):
        out.append(agent.card.GetSession(pb.GetSessionRequest(flow=i)))
        out.append(agent.table.getSession(oo.sessionId(sessionId=i)))
    out += [agent.card.ListSessions(pb.ListSessionsRequest()), agent.table.getAllSessions(oo.sessionRequestArgs()),
            agent.card.GetInfo(pb.GetInfoRequest()), agent.card.GetCounters(pb.GetCountersRequest())]
    out += list(agent.card.Program(iter([pb.Commands(commands=[pb.Command(flow=i, remove=pb.Remove()) for i in range(1, 10)])])))
    out += [agent.table.deleteSession(oo.sessionId(sessionId=15)), agent.card.Reset(pb.ResetRequest())]
    out.append(agent.close().encode())
    secrets = [value for c in commands + rekeys + bad for k in (c.install.inside.keys, c.install.inside.next_keys,
                                                                c.install.outside.keys, c.rekey.keys)
               for value in (k.open_key, k.seal_key, k.open_iv, k.seal_iv) if value]
    hashes = []
    for value in secrets:
        if len(value) in (16, 32):
            encryptor = Cipher(algorithms.AES(value), modes.ECB()).encryptor()
            hashes.append(encryptor.update(bytes(16)))
    everything = b"\n".join(out)
    assert len(everything) > 2000 and len(secrets) > 200
    for value in secrets + hashes:
        assert value not in everything and value[:8] not in everything and value.hex().encode() not in everything


# --------------------------------------------------------------------------------------------------------------- who may call


def test_plain_tcp_is_refused(tmp_path):
    assert "mutual TLS" in run("--listen", "tcp:127.0.0.1:0", status=2)
    pki = Pki(tmp_path, "one")
    cert, key = pki.issue("card", ["127.0.0.1"])
    for some in (["--tls-cert", cert], ["--tls-cert", cert, "--tls-key", key], ["--tls-key", key, "--tls-ca", pki.ca_file]):
        assert "mutual TLS" in run("--listen", "tcp:127.0.0.1:0", *some, status=2)


def test_mutual_tls(tmp_path):
    """Good: a client of the CA. Bad: none, of another CA, expired, plain."""
    ours, other = Pki(tmp_path, "ours"), Pki(tmp_path, "other")
    cert, key = ours.issue("card", ["127.0.0.1"])
    agent = Agent(tmp_path, "--listen", "tcp:127.0.0.1:0", "--tls-cert", cert, "--tls-key", key, "--tls-ca", ours.ca_file)
    target, trusted = f"127.0.0.1:{agent.port}", read(ours.ca_file)

    def info(client):
        chain, private = (read(p) for p in client) if client else (None, None)
        credentials = grpc.ssl_channel_credentials(trusted, private, chain)
        with grpc.secure_channel(target, credentials, options=channel_options()) as channel:
            return Stub(channel, CARD).GetInfo(pb.GetInfoRequest(), timeout=30)

    assert info(ours.issue("agent", client=True)).engine == "cpu"
    for bad in (None, other.issue("intruder", client=True), ours.issue("old", client=True, expired=True)):
        with pytest.raises(grpc.RpcError) as refused:
            info(bad)
        assert refused.value.code() == CODE.UNAVAILABLE
    with grpc.insecure_channel(target, options=channel_options()) as channel:
        with pytest.raises(grpc.RpcError) as refused:
            Stub(channel, CARD).GetInfo(pb.GetInfoRequest(), timeout=30)
        assert refused.value.code() == CODE.UNAVAILABLE
    assert info(ours.issue("again", client=True)).engine == "cpu"
    agent.close()


CLIENT = """
import os, sys
sys.path.insert(0, {here!r})
from card_lab import CARD, TABLE, Stub, grpc, oo, pb
os.setgroups({groups}), os.setgid({gid}), os.setuid({uid})
with grpc.insecure_channel("unix:{path}") as channel:
    card, table = Stub(channel, CARD), Stub(channel, TABLE)
    for call, request in ((card.GetInfo, pb.GetInfoRequest()), (card.WatchEvents, pb.WatchEventsRequest()),
                          (card.Program, iter([pb.Commands()])), (card.Reset, pb.ResetRequest()),
                          (table.addSession, iter([])), (table.getAllSessions, oo.sessionRequestArgs())):
        try:
            answer = call(request)
            print("OK" if isinstance(answer, (pb.Info, oo.addSessionResponse, oo.sessionResponses)) else next(answer) and "OK")
        except grpc.RpcError as error:
            print(error.code().name)
"""


def as_user(agent, uid, gid, groups=()):
    """What a client of that user gets from each kind of call."""
    program = CLIENT.format(here=HERE, path=agent.path, uid=uid, gid=gid, groups=list(groups))
    done = subprocess.run(["/usr/bin/python3", "-c", program], capture_output=True, text=True, timeout=120, check=False,
                          env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "SLUICE_BUILD_DIR": str(BUILD)})
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.fixture
def open_folder():
    """A folder that other users can enter, which pytest's are not."""
    with tempfile.TemporaryDirectory(prefix="sluice-card-", dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        yield folder


def test_peer_credentials(open_folder):
    """Root and the group may call. Others may not, even when the socket lets them connect. Needs root, to take others' places."""
    agent = Agent(open_folder, "--group", "games")
    assert agent.path.stat().st_mode & 0o777 == 0o660
    assert agent.card.GetInfo(pb.GetInfoRequest()).engine == "cpu"
    games = 60
    assert as_user(agent, 65534, 65534) == {"UNAVAILABLE"}
    assert as_user(agent, 65534, games) == {"OK"}
    agent.path.chmod(0o666)
    assert as_user(agent, 65534, 65534) == {"PERMISSION_DENIED"}
    assert as_user(agent, 1, 1, [1]) == {"PERMISSION_DENIED"}
    assert as_user(agent, 5, games) == {"OK"}
    agent.close()


# ------------------------------------------------------------------------------------------------------------------ trouble


KILLED = """
import sys
sys.path.insert(0, {here!r})
from card_lab import CARD, Stub, forward, grpc, pb
def commands():
    n = 1
    while True:
        yield pb.Commands(commands=[forward(i) for i in range(n, n + 50)])
        n += 50
with grpc.insecure_channel("unix:{path}") as channel:
    for answer in Stub(channel, CARD).Program(commands()):
        print(len(answer.results), flush=True)
"""


def test_a_client_that_is_killed_mid_stream(agent):
    process = subprocess.Popen(["/usr/bin/python3", "-c", KILLED.format(here=HERE, path=agent.path)], stdout=subprocess.PIPE)
    for _ in range(20):
        assert process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()

    def ended():
        """What had come is still obeyed: the stream has ended when nothing was added while all sessions were listed, twice."""
        counts = [len(listed(agent)[0]), agent.card.GetInfo(pb.GetInfoRequest()).sessions]
        time.sleep(0.2)
        return counts == [len(listed(agent)[0])] * 2
    wait_until(ended, "the stream to end")
    flows = listed(agent)[0]
    assert len(flows) >= 1000 and flows == list(range(1, len(flows) + 1))
    assert {r.code for r in agent.program(*[pb.Command(flow=f, remove=pb.Remove()) for f in flows[:4000]])} == {pb.OK}


def test_shutdown_ends_streams(tmp_path):
    agent = Agent(tmp_path, "--drain-ms", 200)
    watch = watching(agent)
    held = agent.card.Program(iter(lambda: time.sleep(0.05) or pb.Commands(), None))
    next(held)
    start = time.monotonic()
    agent.process.terminate()
    for call in (watch, held):
        with pytest.raises(grpc.RpcError) as ended:
            for _ in call:
                pass
        assert ended.value.code() in (CODE.UNAVAILABLE, CODE.CANCELLED)
    assert time.monotonic() - start < 30
    agent.process.wait(timeout=60)
    log = agent.close()
    assert "stopped" in log and not agent.path.exists()


def test_garbage(agent):
    for method in ("Program", "GetSession", "SetRules", "ListSessions"):
        call = agent.channel.stream_stream(f"/sluice.card.v1.Card/{method}")
        for bad in (b"\xff", b"\x0a\x05ab", os.urandom(64)):
            with pytest.raises(grpc.RpcError) as failure:
                list(call(iter([bad])))
            assert failure.value.code() in (CODE.INVALID_ARGUMENT, CODE.UNIMPLEMENTED)
    assert agent.program(forward(1))[0].code == pb.OK


def test_command_line(tmp_path):
    assert "--listen unix:PATH" in run("--help")
    assert "sluice-card" in run("--version")
    for arguments, part in [((), "nothing to do"), (("--listen", "x"), "unix:PATH"), (("--engine", "gpu"), "gpu"),
                            (("--what",), "--what"),
                            (("--listen", "unix:/tmp/x", "--group", "no-such-group"), "no-such-group"), (("--pcap", "a"), "--pcap"),
                            (("--listen", "unix:/x", "--stay"), "--pcap"),
                            (("--listen", "unix:/x", "--tls-ca", "y"), "--listen tcp"),
                            (("--engine", "xrt", "--listen", "unix:/x"), "--xclbin"),
                            (("--pcap", "a", "b", "--inside", "10/8"), "10/8")]:
        assert part in run(*arguments, status=2)
    assert "no-such" in run("--pcap", tmp_path / "no-such", tmp_path / "out", status=1)
