# SPDX-License-Identifier: Apache-2.0
"""openoffload.v1.SessionTable of sluice-card against Python's grpcio, and against the public definition."""
import subprocess
import time

import grpc
import pytest
from card_lab import (ACK, CODE, FIN, RST, TABLE, Agent, forward, frame, in_addr, offload, oo, pb, transcode, write_pcap)
from google.protobuf import descriptor_pb2
from rpc_lab import ROOT, wait_until


@pytest.fixture
def agent(tmp_path):
    running = Agent(tmp_path)
    yield running
    running.close()


def fails(code, call, *arguments):
    with pytest.raises(grpc.RpcError) as caught:
        result = call(*arguments)
        list(result)
    assert caught.value.code() == code, caught.value


# ---------------------------------------------------------------------------------------------------------------- definition

U32, U64, I32, BYTES, TIME = "uint32", "uint64", "int32", "bytes", ".google.protobuf.Timestamp"

# What https://github.com/att/sessionOffload publishes: protos/openoffload.proto.
METHODS = {  # request, streams, response, streams
    "addSession": ("sessionRequest", True, "addSessionResponse", False),
    "getSession": ("sessionId", False, "sessionResponse", False),
    "deleteSession": ("sessionId", False, "sessionResponse", False),
    "getAllSessions": ("sessionRequestArgs", False, "sessionResponses", False),
    "getClosedSessions": ("sessionRequestArgs", False, "sessionResponse", True),
}
MESSAGES = {
    "sessionId": {1: ("sessionId", U64)},
    "actionParameters": {1: ("actionType", "ACTION_TYPE"), 2: ("actionNextHop", U32), 3: ("actionNextHopV6", BYTES)},
    "sessionRequest": {1: ("sessionId", U64), 2: ("inLif", I32), 3: ("outLif", I32), 4: ("ipVersion", "IP_VERSION"),
                       5: ("sourceIp", U32), 6: ("sourceIpV6", BYTES), 7: ("sourcePort", U32), 8: ("destinationIp", U32),
                       9: ("destinationIpV6", BYTES),
                       10: ("destinationPort", U32), 11: ("protocolId", "PROTOCOL_ID"), 12: ("action", "actionParameters"),
                       13: ("cacheTimeout", U32)},
    "sessionResponseError": {1: ("sessionId", U64), 2: ("errorStatus", I32)},
    "sessionResponses": {1: ("sessionInfo", "repeated sessionResponse"), 2: ("nextkey", U64)},
    "addSessionResponse": {1: ("requestStatus", "ADD_SESSION_STATUS"), 2: ("errorStatus", U64), 3: ("startTime", TIME),
                           4: ("responseError", "repeated sessionResponseError")},
    "sessionResponse": {1: ("sessionId", U64), 2: ("inPackets", U64), 3: ("outPackets", U64), 4: ("inBytes", U64),
                        5: ("outBytes", U64), 6: ("sessionState", "SESSION_STATE"), 7: ("sessionCloseCode", "SESSION_CLOSE_CODE"),
                        8: ("requestStatus", "REQUEST_STATUS"), 9: ("startTime", TIME), 10: ("endTime", TIME)},
    "sessionRequestArgs": {1: ("pageSize", U32), 2: ("page", U32), 3: ("startSession", U64)},
}
ENUMS = {
    "IP_VERSION": {"_IPV4": 0, "_IPV6": 1},
    "PROTOCOL_ID": {"_HOPOPT": 0, "_TCP": 6, "_UDP": 17},
    "SESSION_STATE": {"_ESTABLISHED": 0, "_CLOSING_1": 1, "_CLOSING_2": 2, "_CLOSED": 3, "_UNKNOWN_STATE": 4},
    "SESSION_CLOSE_CODE": {"_NOT_CLOSED": 0, "_FINACK": 1, "_RST": 2, "_TIMEOUT": 3, "_UNKNOWN_CLOSE_CODE": 4},
    "ADD_SESSION_STATUS": {"_SESSION_ACCEPTED": 0, "_SESSION_REJECTED": 1, "_SESSION_TABLE_FULL": 2,
                           "_SESSION_TABLE_UNAVAILABLE": 3, "_SESSION_ALREADY_EXISTS": 4},
    "REQUEST_STATUS": {"_ACCEPTED": 0, "_REJECTED": 1, "_REJECTED_SESSION_NONEXISTENT": 2, "_REJECTED_SESSION_TABLE_FULL": 3,
                       "_REJECTED_SESSION_ALREADY_EXISTS": 4, "_NO_CLOSED_SESSIONS": 5, "_REJECTED_INTERNAL_ERROR": 6},
    "ACTION_TYPE": {"_DROP": 0, "_FORWARD": 1, "_MIRROR": 2, "_SNOOP": 3},
}


def type_of(field):
    name = field.type_name.removeprefix(".openoffload.v1.") or descriptor_pb2.FieldDescriptorProto.Type.Name(field.type)[5:].lower()
    return f"repeated {name}" if field.label == field.LABEL_REPEATED else name


def test_names_and_numbers_are_the_public_ones(tmp_path):
    subprocess.run(["protoc", f"--descriptor_set_out={tmp_path}/set", "-I", str(ROOT / "proto"),
                    "openoffload/v1/openoffload.proto"], check=True)
    (ours,) = descriptor_pb2.FileDescriptorSet.FromString((tmp_path / "set").read_bytes()).file
    assert (ours.package, ours.syntax, [s.name for s in ours.service]) == ("openoffload.v1", "proto3", ["SessionTable"])
    assert {m.name: (m.input_type.split(".")[-1], m.client_streaming, m.output_type.split(".")[-1], m.server_streaming)
            for m in ours.service[0].method} == METHODS
    assert {m.name: {f.number: (f.name, type_of(f)) for f in m.field} for m in ours.message_type} == MESSAGES
    assert {e.name: {v.name: v.number for v in e.value} for e in ours.enum_type} == ENUMS
    assert TABLE.full_name == "openoffload.v1.SessionTable"


# ------------------------------------------------------------------------------------------------------------------ sessions


def errors(response):
    return {e.sessionId: e.errorStatus for e in response.responseError}


def test_add_get_delete(agent):
    response = agent.table.addSession(iter([offload(1), offload(2, protocolId=oo._UDP)]))
    assert (response.requestStatus, response.errorStatus, len(response.responseError)) == (oo._SESSION_ACCEPTED, 0, 0)
    assert abs(response.startTime.seconds - time.time()) < 60
    session = agent.table.getSession(oo.sessionId(sessionId=1))
    assert (session.sessionId, session.sessionState, session.sessionCloseCode, session.requestStatus, session.inPackets) == (
        1, oo._ESTABLISHED, oo._NOT_CLOSED, oo._ACCEPTED, 0)
    assert abs(session.startTime.seconds - time.time()) < 60 and not session.HasField("endTime")
    gone = agent.table.deleteSession(oo.sessionId(sessionId=1))
    assert (gone.sessionId, gone.sessionState, gone.requestStatus) == (1, oo._CLOSED, oo._ACCEPTED) and gone.HasField("endTime")
    for call in (agent.table.getSession, agent.table.deleteSession):
        for number in (0, 1, 2**64 - 1):
            fails(CODE.NOT_FOUND, call, oo.sessionId(sessionId=number))
    assert agent.table.getSession(oo.sessionId(sessionId=2)).sessionId == 2


def test_addresses_are_in_addr_bytes(agent):
    """As the public Python and C++ clients write them; seen from the card's own service."""
    six = b"\x20\x01\x0d\xb8" + bytes(11) + b"\x05"
    agent.table.addSession(iter([offload(1, sourceIp=in_addr("10.1.2.3"), destinationIp=in_addr("198.51.100.7"), sourcePort=1234),
                                 offload(2, ipVersion=oo._IPV6, sourceIpV6=six, destinationIpV6=six[::-1])]))
    key = agent.card.GetSession(pb.GetSessionRequest(flow=1)).key
    assert (key.src, key.dst, key.sport, key.dport, key.proto) == ("10.1.2.3", "198.51.100.7", 1234, 80, 6)
    assert agent.card.GetSession(pb.GetSessionRequest(flow=2)).key.src == "2001:db8::5"


def test_error_mask(agent):
    """Bit i is session i of the stream; good ones are added all the same."""
    sessions = [offload(i + 1) for i in range(64)]
    sessions[0] = offload(0)
    sessions[3] = offload(3, n=3)                                           # the number of session 2
    sessions[4] = offload(5, n=6)                                           # the 5-tuple of session 5
    sessions[7] = offload(8, action=oo.actionParameters(actionType=oo._DROP))
    sessions[8] = offload(9, action=oo.actionParameters(actionType=oo._MIRROR))
    sessions[9] = offload(10, action=oo.actionParameters(actionType=oo._SNOOP))
    sessions[10] = offload(11, action=None)
    sessions[20] = offload(21, protocolId=oo._HOPOPT)
    sessions[30] = offload(31, sourcePort=65536)
    sessions[31] = offload(32, destinationPort=2**32 - 1)
    sessions[40] = offload(41, ipVersion=oo._IPV6)                          # without addresses
    sessions[41] = offload(42, ipVersion=5)
    sessions[63] = offload(64, action=oo.actionParameters(actionType=77))
    response = agent.table.addSession(iter(sessions))
    exists, rejected = {3: oo._SESSION_ALREADY_EXISTS, 6: oo._SESSION_ALREADY_EXISTS}, (0, 8, 9, 10, 11, 21, 31, 32, 41, 42, 64)
    assert errors(response) == {**exists, **dict.fromkeys(rejected, oo._SESSION_REJECTED)}
    bad = (0, 3, 5, 7, 8, 9, 10, 20, 30, 31, 40, 41, 63)
    assert response.errorStatus == sum(1 << i for i in bad)
    assert response.requestStatus == oo._SESSION_REJECTED
    assert len(agent.table.getAllSessions(oo.sessionRequestArgs()).sessionInfo) == 64 - len(bad)


def test_a_stream_of_10000(agent):
    response = agent.table.addSession(offload(i) for i in range(1, 10_001))
    assert (response.requestStatus, response.errorStatus, len(response.responseError)) == (oo._SESSION_ACCEPTED, 0, 0)
    again = agent.table.addSession(offload(i) for i in range(1, 10_002))
    assert (again.requestStatus, again.errorStatus) == (oo._SESSION_REJECTED, 2**64 - 1)
    assert errors(again) == dict.fromkeys(range(1, 10_001), oo._SESSION_ALREADY_EXISTS)
    for size in (64, 0, 1000, 9999):
        seen, key = [], 0
        while True:
            page = agent.table.getAllSessions(oo.sessionRequestArgs(pageSize=size, startSession=key))
            assert len(page.sessionInfo) <= (size or 1000)
            seen += [s.sessionId for s in page.sessionInfo]
            key = page.nextkey
            if key == 0:
                break
        assert seen == list(range(1, 10_002))
    page = agent.table.getAllSessions(oo.sessionRequestArgs(pageSize=3, startSession=9999))
    assert ([s.sessionId for s in page.sessionInfo], page.nextkey) == ([9999, 10000, 10001], 0)


def test_no_room_for_all_adds_none(tmp_path):
    agent = Agent(tmp_path, "--sessions-max", 64)
    room = agent.card.GetInfo(pb.GetInfoRequest()).sessions_max
    assert agent.table.addSession(offload(i) for i in range(1, room - 9)).requestStatus == oo._SESSION_ACCEPTED
    full = agent.table.addSession(offload(i) for i in range(1000, 1011))
    assert (full.requestStatus, full.errorStatus) == (oo._SESSION_TABLE_FULL, 2**11 - 1)
    assert errors(full) == dict.fromkeys(range(1000, 1011), oo._SESSION_TABLE_FULL)
    assert agent.card.GetInfo(pb.GetInfoRequest()).sessions == room - 10
    assert agent.table.addSession(offload(i) for i in range(1000, 1010)).requestStatus == oo._SESSION_ACCEPTED
    agent.close()


def test_both_services_see_one_table(agent):
    agent.program(transcode(5), forward(6))
    response = agent.table.addSession(iter([offload(5, n=50), offload(7)]))
    assert errors(response) == {5: oo._SESSION_ALREADY_EXISTS}
    assert [s.sessionId for s in agent.table.getAllSessions(oo.sessionRequestArgs()).sessionInfo] == [5, 6, 7]
    assert agent.table.deleteSession(oo.sessionId(sessionId=5)).sessionId == 5
    assert [s.flow for s in agent.card.ListSessions(pb.ListSessionsRequest()).sessions] == [6, 7]


# -------------------------------------------------------------------------------------------------------------------- closed


def closed(agent, count, size=0):
    """Waits for so many: {number: response}."""
    found = {}

    def fetch():
        try:
            for s in agent.table.getClosedSessions(oo.sessionRequestArgs(pageSize=size)):
                assert s.sessionId not in found and s.sessionState == oo._CLOSED
                found[s.sessionId] = s
        except grpc.RpcError as error:
            assert error.code() == CODE.NOT_FOUND
        return len(found) == count
    wait_until(fetch, f"{count} closed sessions")
    return found


def test_time_out(agent):
    agent.table.addSession(iter([offload(1, cacheTimeout=1), offload(2, cacheTimeout=3600), offload(3)]))
    session = closed(agent, 1)[1]
    assert session.sessionCloseCode == oo._TIMEOUT
    start, end = (t.seconds + t.nanos / 1e9 for t in (session.startTime, session.endTime))
    assert 1 <= end - start
    fails(CODE.NOT_FOUND, agent.table.getClosedSessions, oo.sessionRequestArgs())
    assert [s.sessionId for s in agent.table.getAllSessions(oo.sessionRequestArgs()).sessionInfo] == [2, 3]


def test_closed_sessions_come_in_pages_once(agent):
    agent.table.addSession(offload(i, cacheTimeout=1) for i in range(1, 201))
    wait_until(lambda: agent.card.GetInfo(pb.GetInfoRequest()).sessions == 0, "the time-outs")
    first = list(agent.table.getClosedSessions(oo.sessionRequestArgs(pageSize=70)))
    assert len(first) == 70
    rest = list(agent.table.getClosedSessions(oo.sessionRequestArgs()))
    assert sorted(s.sessionId for s in first + rest) == list(range(1, 201))
    fails(CODE.NOT_FOUND, agent.table.getClosedSessions, oo.sessionRequestArgs())


def test_fin_and_rst(tmp_path):
    """Packets close sessions: FIN in both directions, RST in one; the last counters are told. A FIN in one direction does not."""
    def there(sport, **more):
        return frame("10.0.0.1", "192.0.2.1", sport, 80, 1, **more)

    def back(sport, **more):
        return frame("192.0.2.1", "10.0.0.1", 80, sport, 1, **more)
    write_pcap(tmp_path / "in", [
        there(1025, payload=b"x" * 1000), back(1025, flags=ACK | FIN), there(1025, flags=ACK | FIN), back(1025),
        there(1026), back(1026, flags=RST),
        there(1027, flags=ACK | FIN),
        there(1028)])
    agent = Agent(tmp_path, "--pcap", tmp_path / "in", tmp_path / "out", "--wait-sessions", 4, "--stay")
    agent.table.addSession(offload(i) for i in range(1, 5))
    found = closed(agent, 2)
    one, two = found[1], found[2]
    assert (one.sessionCloseCode, one.inPackets, one.outPackets, one.inBytes, one.outBytes) == (oo._FINACK, 2, 2, 1054 + 54, 108)
    assert (two.sessionCloseCode, two.inPackets, two.outPackets) == (oo._RST, 1, 1)
    states = {s.sessionId: s.sessionState for s in agent.table.getAllSessions(oo.sessionRequestArgs()).sessionInfo}
    assert states == {3: oo._CLOSING_1, 4: oo._ESTABLISHED}
    agent.close()
