# SPDX-License-Identifier: Apache-2.0
"""sluice-card with a card that dies: the simulated one, whose process is killed."""
from card_lab import Agent, flow_key, forward, frame, pb, read_pcap, transcode, write_pcap
from rpc_lab import BUILD, wait_until

CLIENT, SERVER = "10.1.0.2", "198.51.100.9"
MOVED = {"next_seq": 1, "seq_delta": 1000, "ack_delta": 2000, "window_shift": -1}


class DyingAgent(Agent):
    """On the simulated card, which obeys the faults in a file (sim/xrt/fault.h)."""

    def __init__(self, folder, *arguments):
        self.faults = folder / "faults"
        self.faults.write_text("")
        super().__init__(folder, "--engine", "xrt", "--xclbin", BUILD / "sim" / "card" / "sluice_sim.xclbin",
                         "--dead-after-ms", 20000, "--sessions-max", 64, *arguments,
                         under=("env", f"SLUICE_XRT_FAULT_FILE={self.faults}", BUILD / "sim" / "xrt" / "sluice-xrt-run"))

    def fault(self, text):
        """All at once: the card may look at any time."""
        new = self.faults.with_suffix(".new")
        new.write_text(text)
        new.rename(self.faults)


def key(sport):
    return flow_key(src=CLIENT, dst=SERVER, sport=sport)


def die(agent):
    """The card dies. All events up to the end of the last session that ends with it, number 2."""
    events, watch = [], agent.card.WatchEvents(pb.WatchEventsRequest())
    assert next(watch) == pb.Events()  # the watch has begun
    agent.fault("die how=kill when=now\n")
    while not any(e.kind == pb.CLOSED and e.flow == 2 for e in events):
        events.extend(next(watch).events)
    watch.cancel()
    return events


def install(agent):
    """1 forwards and rewrites, 2 has keys. What no rule decides passes."""
    agent.card.SetRules(pb.RuleSet(lane=0, default_action=pb.PASS))
    moved = pb.LaneState(**MOVED)
    results = agent.program(forward(1, key=key(1), inside=moved, outside=moved), transcode(2, key=key(2)))
    assert [r.code for r in results] == [pb.OK, pb.OK]


def alive_again(agent):
    agent.fault("")
    info = agent.card.Reset(pb.ResetRequest())
    assert (info.engine, info.dead, info.sessions) == ("xrt", False, 0)
    assert agent.program(forward(9))[0].code == pb.OK


def test_sessions_are_closed(tmp_path):
    agent = DyingAgent(tmp_path)
    install(agent)
    events = die(agent)
    assert events[0].kind == pb.CARD_DIED
    assert all(e.kind == pb.CLOSED and e.detail == pb.CLOSE_DIED for e in events[1:])
    assert agent.card.GetInfo(pb.GetInfoRequest()).dead
    assert agent.program(forward(3))[0].code == pb.UNAVAILABLE
    alive_again(agent)
    log = agent.close()
    assert "the card has died, and its sessions were closed" in log and 'reason=""' not in log
    assert "taken_over=0 closed=2" in log


def test_the_cpu_goes_on(tmp_path):
    """Sessions without keys and rules are in force in the cpu engine: what they rewrote and let through they still do."""
    frames = [frame(CLIENT, SERVER, 1, 443, 77, b"of session 1"), frame(CLIENT, SERVER, 2, 443, 88, b"of none any more")]
    write_pcap(tmp_path / "in", frames)
    agent = DyingAgent(tmp_path, "--when-dead", "cpu", "--pcap", tmp_path / "in", tmp_path / "out", "--wait-sessions", 3,
                       "--stay", "--inside", "10.0.0.0/8", "--punted", "drop")
    install(agent)
    assert [(e.kind, e.flow) for e in die(agent)] == [(pb.CARD_DIED, 0), (pb.CLOSED, 2)]
    info = agent.card.GetInfo(pb.GetInfoRequest())
    assert (info.engine, info.dead) == ("cpu", False)
    codes = [r.code for r in agent.program(pb.Command(flow=1, query=pb.Query()), pb.Command(flow=2, query=pb.Query()),
                                           forward(3), forward(4))]
    assert codes == [pb.OK, pb.NOT_FOUND, pb.OK, pb.OK]
    wait_until(lambda: "replay done" in agent.log(), "the capture's end")
    session = agent.card.GetSession(pb.GetSessionRequest(flow=1))
    assert session.inside.packets == 1
    alive_again(agent)
    assert "its sessions without keys go on in another engine" in agent.close()
    out = read_pcap(tmp_path / "out")
    assert [int.from_bytes(f[38:42], "big") for f in out] == [77 + MOVED["seq_delta"], 88]
    assert out[1] == frames[1]
