/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What crosses from kernel to kernel comes out as it went in, with random idle and back-pressure; sessions in memory's own layout.
 * The session memory: random reads, write-backs and writes of control against plain arrays.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include <cmocka.h>
}

#include <deque>
#include <string.h>
#include <vector>

#include "card/card_packets.h"
#include "harness.hpp"
#include "pipeline/memory.hpp"
#include "pipeline/ports.hpp"
#include "pipeline/state.hpp"

using namespace card;

namespace
{

uint64_t seed;

template <typename T> std::vector<T> some(sim::random_source &random, unsigned count)
{
    std::vector<T> v(count);
    for (T &x : v)
        random.fill(&x, sizeof x);
    return v;
}

/* in -> first -> word -> second -> out, with idle, back-pressure and stalls; the words are looked at on their way. */
template <typename T, typename Word, typename Out, typename In>
std::vector<T> round_trip(const std::vector<T> &sent, Out first, In second)
{
    sim::machine m(seed);
    hls::stream<T, 4> in("in"), out("out");
    hls::stream<Word, 4> words("words");
    std::vector<T> got;
    m.source("feed", in, sent, 0.3);
    m.add("out", port_depth, [&] { first(in, words); }).stall(0.1);
    m.add("in", port_depth, [&] { second(words, out); }).stall(0.1);
    m.sink("drain", out, got, 0.3);
    assert_true(m.run());
    assert_int_equal(got.size(), sent.size());
    return got;
}

void test_indexes(void **)
{
    sim::random_source random(seed);
    const auto sent = some<uint32_t>(random, 1000);
    assert_true((round_trip<uint32_t, index_word>(sent, index_out, index_in) == sent));
}

void test_lines(void **)
{
    sim::random_source random(seed);
    const auto sent = some<control_line>(random, 1000);
    const auto got = round_trip<control_line, line_word>(sent, line_out, line_in);
    for (size_t i = 0; i < sent.size(); i++)
        assert_memory_equal(&got[i], &sent[i], sizeof sent[i]);
}

void test_session_writes(void **)
{
    sim::random_source random(seed);
    std::vector<session_write> sent(500);
    for (session_write &w : sent) {
        w.index = static_cast<uint32_t>(random.bits());
        w.offset = static_cast<uint16_t>(random.bits());
        w.bytes = static_cast<uint8_t>(random.bits());
        random.fill(w.byte, sizeof w.byte);
    }
    session_write_out_state out = {};
    session_write_in_state in = {};
    const auto got = round_trip<session_write, line_word>(
        sent, [&](hls::stream<session_write> &a, hls::stream<line_word> &b) { session_write_out(out, a, b); },
        [&](hls::stream<line_word> &a, hls::stream<session_write> &b) { session_write_in(in, a, b); });
    for (size_t i = 0; i < sent.size(); i++) {
        assert_int_equal(got[i].index, sent[i].index);
        assert_int_equal(got[i].offset, sent[i].offset);
        assert_int_equal(got[i].bytes, sent[i].bytes);
        assert_memory_equal(got[i].byte, sent[i].byte, sizeof sent[i].byte);
    }
    /* Nothing of a key stays behind (G13). */
    const control_line zero = {};
    assert_memory_equal(&out.bytes, &zero, sizeof zero);
    assert_memory_equal(in.head.byte, &zero, sizeof zero);
}

void test_events(void **)
{
    sim::random_source random(seed);
    std::vector<event> sent(500);
    for (event &e : sent) {
        e.kind = static_cast<event_kind>(random.below(11));
        e.lane = 0;
        e.detail = static_cast<uint16_t>(random.bits());
        e.epoch = static_cast<uint16_t>(random.bits());
        e.open_seq = random.bits();
        e.tcp_seq = static_cast<uint32_t>(random.bits());
        e.index = static_cast<uint32_t>(random.bits());
        e.packet_id = static_cast<uint32_t>(random.bits());
        e.flow = random.bits();
    }
    for (uint8_t lane = 0; lane < 2; lane++) {
        const auto got = round_trip<event, line_word>(
            sent, event_out, [lane](hls::stream<line_word> &a, hls::stream<event> &b) { event_in(a, b, lane); });
        for (size_t i = 0; i < sent.size(); i++) {
            assert_int_equal(got[i].kind, sent[i].kind);
            assert_int_equal(got[i].lane, lane); /* by the port, not by what the lane believes */
            assert_int_equal(got[i].detail, sent[i].detail);
            assert_int_equal(got[i].epoch, sent[i].epoch);
            assert_int_equal(got[i].open_seq, sent[i].open_seq);
            assert_int_equal(got[i].tcp_seq, sent[i].tcp_seq);
            assert_int_equal(got[i].index, sent[i].index);
            assert_int_equal(got[i].packet_id, sent[i].packet_id);
            assert_int_equal(got[i].flow, sent[i].flow);
        }
    }
}

/* The layout of a session in a word is that of the struct in the host's memory. */
void test_sessions(void **)
{
    sim::random_source random(seed);
    for (unsigned i = 0; i < 200; i++) {
        session_state s;
        random.fill(&s, sizeof s);
        control_line line[session_lines];
        memcpy(line, &s, sizeof s);
        hls::stream<session_word> words("words");
        hls::stream<state_read> reads("reads");
        words.write(session_word_of(line));
        session_in(words, reads);
        const state_read read = reads.read();
        assert_memory_equal(&read.state, &s, sizeof s);

        hls::stream<state_write> writes("writes");
        hls::stream<state_word> states("states");
        const uint32_t index = static_cast<uint32_t>(random.bits());
        writes.write(state_write{index, s.track, s.finish});
        state_out(writes, states);
        const state_lines lines = lines_of_state(states.read());
        assert_int_equal(lines.index, index);
        assert_memory_equal(&lines.line_4, &line[4], sizeof line[4]);
        assert_memory_equal(&lines.line_5, &line[5], sizeof line[5]);
    }
}

/* ---- the session memory ---- */

struct memory_bench {
    enum : uint32_t { sessions = 64 };
    std::vector<memory_word> line[session_lines];
    std::vector<session_state> wanted = std::vector<session_state>(sessions);
    state_kernel_state s = {};
    state_streams x;
    hls::stream<index_word, 16> state_index{"state_index"}, state_ack{"state_ack"}, memory_ack{"memory_ack"};
    hls::stream<session_word, 16> state_line{"state_line"};
    hls::stream<state_word, 16> state_write{"state_write"};
    hls::stream<line_word, 16> memory_write{"memory_write"};

    memory_bench()
    {
        for (auto &l : line)
            l.resize(sessions);
    }
    session_state state(uint32_t index) const
    {
        session_state got;
        for (unsigned i = 0; i < session_lines; i++) {
            const control_line l = line_of_word(line[i][index]);
            memcpy(reinterpret_cast<uint8_t *>(&got) + beat_bytes * i, &l, sizeof l);
        }
        return got;
    }
};

void add_state_kernel(sim::machine &m, memory_bench &b, double stall)
{
#define PORT(name)        PORT_##name
#define PORT_line_0       memory_port(b.line[0].data())
#define PORT_line_1       memory_port(b.line[1].data())
#define PORT_line_2       memory_port(b.line[2].data())
#define PORT_line_3       memory_port(b.line[3].data())
#define PORT_line_4       memory_port(b.line[4].data())
#define PORT_line_5       memory_port(b.line[5].data())
#define PORT_write_0      PORT_line_0
#define PORT_write_1      PORT_line_1
#define PORT_write_2      PORT_line_2
#define PORT_write_3      PORT_line_3
#define PORT_write_4      PORT_line_4
#define PORT_write_5      PORT_line_5
#define PORT_sessions     memory_bench::sessions
#define PORT_state_index  b.state_index
#define PORT_state_line   b.state_line
#define PORT_state_write  b.state_write
#define PORT_state_ack    b.state_ack
#define PORT_memory_write b.memory_write
#define PORT_memory_ack   b.memory_ack
#define ADD(name, depth, ...)                                                                                                      \
    m.add(#name, depth, [&b, &s = b.s, &x = b.x] {                                                                                 \
         (void)b, (void)s, (void)x;                                                                                                \
         __VA_ARGS__;                                                                                                              \
     }).stall(stall);
    CARD_STATE_PROCESSES(ADD, PORT)
#undef ADD
}

/* Each write waits in `pending` until it is acknowledged; a session is read or written again only then, as fetch does it. What a
 * read gives is compared with what all acknowledged writes made. */
void test_session_memory(void **)
{
    memory_bench b;
    sim::machine m(seed);
    sim::random_source random(seed);
    add_state_kernel(m, b, 0.1);
    std::deque<uint32_t> reads, lane_writes, control_writes;
    std::vector<bool> busy(memory_bench::sessions);
    unsigned asked = 0, answered = 0, written = 0;
    const auto pick = [&](uint32_t &index) {
        index = static_cast<uint32_t>(random.below(memory_bench::sessions));
        const bool free = !busy[index];
        if (free)
            busy[index] = true;
        return free;
    };
    for (unsigned cycle = 0; cycle < 60000; cycle++) {
        uint32_t index;
        const bool calm = cycle > 50000;
        if (!calm && !b.state_index.full() && random.chance(0.5) && pick(index)) {
            index_word w;
            w.data = index;
            b.state_index.write(w);
            reads.push_back(index);
            asked++;
        }
        if (!calm && !b.state_write.full() && random.chance(0.3) && pick(index)) {
            hls::stream<card::state_write> one("one");
            random.fill(&b.wanted[index].track, sizeof(track_state));
            random.fill(&b.wanted[index].finish, sizeof(finish_state));
            one.write(card::state_write{index, b.wanted[index].track, b.wanted[index].finish});
            state_out(one, b.state_write);
            lane_writes.push_back(index);
        }
        if (!calm && b.memory_write.size() < 15 && random.chance(0.3) && pick(index)) {
            session_write w = {};
            w.index = index;
            w.offset = static_cast<uint16_t>(random.below(sizeof(session_state)));
            w.bytes = static_cast<uint8_t>(random.between(1, beat_bytes - w.offset % beat_bytes));
            random.fill(w.byte, sizeof w.byte);
            memcpy(reinterpret_cast<uint8_t *>(&b.wanted[index]) + w.offset, w.byte, w.bytes);
            hls::stream<session_write> one("one");
            session_write_out_state out = {};
            one.write(w);
            session_write_out(out, one, b.memory_write);
            session_write_out(out, one, b.memory_write);
            control_writes.push_back(index);
        }
        m.cycle();
        if (!b.state_line.empty() && random.chance(0.7)) {
            hls::stream<state_read> one("one");
            session_in(b.state_line, one);
            const state_read got = one.read();
            assert_memory_equal(&got.state, &b.wanted[reads.front()], sizeof got.state);
            busy[reads.front()] = false;
            reads.pop_front();
            answered++;
        }
        if (!b.state_ack.empty() && random.chance(0.7)) {
            assert_int_equal(b.state_ack.read().data.to_uint(), lane_writes.front());
            busy[lane_writes.front()] = false;
            lane_writes.pop_front();
            written++;
        }
        if (!b.memory_ack.empty() && random.chance(0.7)) {
            assert_int_equal(b.memory_ack.read().data.to_uint(), control_writes.front());
            busy[control_writes.front()] = false;
            control_writes.pop_front();
            written++;
        }
    }
    assert_true(reads.empty() && lane_writes.empty() && control_writes.empty());
    assert_true(asked > 5000 && answered == asked && written > 5000);
    for (uint32_t i = 0; i < memory_bench::sessions; i++) {
        const session_state got = b.state(i);
        assert_memory_equal(&got, &b.wanted[i], sizeof got);
    }
}

/* Beyond memory, or not within a line: nothing is read or written, and all is answered. */
void test_session_memory_bounds(void **)
{
    memory_bench b;
    sim::machine m(seed);
    add_state_kernel(m, b, 0);
    index_word w;
    w.data = uint32_t{memory_bench::sessions};
    b.state_index.write(w);
    hls::stream<card::state_write, 4> states("states");
    states.write(card::state_write{0xffffffff, {}, {}});
    state_out(states, b.state_write);
    const session_write wrong[] = {{memory_bench::sessions, 0, 64, {1}},
                                   {0xffffffff, 0, 64, {1}},
                                   {0, sizeof(session_state), 1, {1}},
                                   {0, 0xffff, 64, {1}},
                                   {0, 63, 2, {1}},
                                   {0, 0, 65, {1}}};
    hls::stream<session_write, 8> writes("writes");
    session_write_out_state out = {};
    for (const session_write &x : wrong) {
        writes.write(x);
        session_write_out(out, writes, b.memory_write);
        session_write_out(out, writes, b.memory_write);
    }
    for (unsigned i = 0; i < 300; i++)
        m.cycle();
    assert_int_equal(b.state_ack.read().data.to_uint(), 0xffffffff);
    for (const session_write &x : wrong)
        assert_int_equal(b.memory_ack.read().data.to_uint(), x.index);
    hls::stream<state_read> one("one");
    session_in(b.state_line, one);
    const session_state zero = {}, got = one.read().state;
    assert_memory_equal(&got, &zero, sizeof zero);
    for (uint32_t i = 0; i < memory_bench::sessions; i++) {
        const session_state s = b.state(i);
        assert_memory_equal(&s, &zero, sizeof zero);
    }
}

/* ---- the mirror ---- */

void test_mirror(void **)
{
    sim::random_source random(seed);
    std::vector<mirror_item> sent(2000);
    for (mirror_item &x : sent) {
        x = mirror_item();
        x.verdict = static_cast<mirror_verdict>(random.below(3));
        x.fresh = x.verdict == mirror_open || random.chance(0.5) ? random.bits() | 1 : 0;
        for (unsigned i = 0; i < beat_bytes; i++)
            x.byte[i] = (x.fresh >> i & 1) != 0 ? static_cast<uint8_t>(random.bits()) : uint8_t{0};
        x.flow = random.bits();
        x.index = static_cast<uint32_t>(random.below(sessions_max));
        x.epoch = static_cast<uint16_t>(random.bits());
        const bool a = x.verdict != mirror_open || random.chance(0.7), b = !a || random.chance(0.3);
        const uint64_t open_seq = random.bits() >> 16;
        if (a) {
            x.a.open_seq = open_seq;
            if (x.verdict == mirror_open || random.chance(0.7)) {
                x.a.offset = static_cast<uint16_t>(random.below(16384));
                x.a.at = static_cast<uint8_t>(random.below(32));
                x.a.bytes = static_cast<uint8_t>(random.between(1, 32));
            }
        }
        if (b && x.fresh != 0) {
            x.b.open_seq = open_seq + (a ? 1 : 0);
            x.b.at = static_cast<uint8_t>(random.below(32));
            x.b.bytes = static_cast<uint8_t>(random.between(1, 32));
        }
        if (x.verdict == mirror_open && b && a && random.chance(0.3)) { /* a KeyUpdate once more, and what follows it */
            x.fresh &= ~(x.a.bytes == 0 ? 0 : (UINT64_C(1) << x.a.bytes) - 1) << x.a.at;
            x.b.open_seq = 0;
        }
        if (x.verdict != mirror_open) {
            x.text_bytes = static_cast<uint16_t>(random.below(16385));
            x.tcp_seq = static_cast<uint32_t>(random.bits());
        }
        if (x.verdict == mirror_verified) {
            x.type = 23;
            random.fill(x.key, sizeof x.key);
            random.fill(x.tag, sizeof x.tag);
        }
    }
    sim::machine m(seed);
    hls::stream<mirror_item, 4> in("in");
    hls::stream<line_word, 4> heads("heads"), data("data");
    mirror_out_state s = {};
    std::vector<line_word> got_heads, got_data;
    m.source("feed", in, sent, 0.2);
    m.add("mirror", port_depth, [&] { mirror_out(s, in, heads, data); }).stall(0.1);
    m.sink("heads", heads, got_heads, 0.2);
    m.sink("data", data, got_data, 0.2);
    assert_true(m.run());
    assert_int_equal(got_heads.size(), sent.size());
    size_t at = 0;
    for (size_t i = 0; i < sent.size(); i++) {
        const mirror_item &x = sent[i];
        const control_line line = line_of_word(got_heads[i].data);
        card_mirror_head h;
        memcpy(&h, &line, sizeof h);
        assert_int_equal(h.version, card_packets_version);
        assert_int_equal(h.verdict, x.verdict);
        assert_int_equal(h.flow, x.flow);
        assert_int_equal(h.fresh, x.fresh);
        assert_int_equal(h.index, x.index);
        assert_int_equal(h.tcp_seq, x.tcp_seq);
        assert_int_equal(h.epoch, x.epoch);
        assert_int_equal(h.text_bytes, x.text_bytes);
        assert_int_equal(h.type, x.type);
        uint64_t news = 0;
        for (unsigned k = x.a.at; k < unsigned{x.a.at} + x.a.bytes; k++)
            news |= x.fresh >> k & 1;
        const bool a = news != 0 || x.verdict != mirror_open;
        assert_int_equal(h.a_offset, a ? x.a.offset : 0);
        assert_int_equal(h.a_at, a ? x.a.at : 0);
        assert_int_equal(h.a_bytes, a ? x.a.bytes : 0);
        assert_int_equal(h.b_at, x.b.at);
        assert_int_equal(h.b_bytes, x.b.bytes);
        if (a)
            assert_int_equal(h.open_seq, x.a.open_seq);
        if (x.b.bytes != 0)
            assert_int_equal(h.open_seq + ((h.flags & card_mirror_b_alone) != 0 ? 0 : 1), x.b.open_seq);
        assert_int_equal((h.flags & card_mirror_text) != 0, x.fresh != 0);
        assert_int_equal((h.flags & card_mirror_keys) != 0, x.verdict == mirror_verified);
        if (x.fresh != 0) {
            const control_line text = line_of_word(got_data[at++].data);
            assert_memory_equal(&text, x.byte, sizeof x.byte);
        }
        if (x.verdict == mirror_verified) {
            const control_line line_2 = line_of_word(got_data[at++].data);
            assert_memory_equal(line_2.byte, x.key, 16);
            assert_memory_equal(line_2.byte + 16, x.tag, 16);
        }
    }
    assert_int_equal(at, got_data.size());
}

} // namespace

int main()
{
    seed = sim::test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_indexes),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_session_writes),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_sessions),
        cmocka_unit_test(test_session_memory),
        cmocka_unit_test(test_session_memory_bounds),
        cmocka_unit_test(test_mirror),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
