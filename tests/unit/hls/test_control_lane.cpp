// SPDX-License-Identifier: Apache-2.0
/*
 * The card as the host sees it: control before two whole lanes, packets and commands at the same time. What a completion promises
 * is tried with the very next packet.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
extern "C" {
#include <cmocka.h>
}
#include <algorithm>
#include <memory>
#include <string.h>
#include <vector>

#include "card/card_command.h"
#include "control/control.hpp"
#include "control/lane_link.hpp"
#include "harness.hpp"
#include "memory.hpp"
#include "pipeline/lane.hpp"

using namespace card;

static uint64_t seed;

enum : uint32_t { sessions = 128, stash = table_ways * table_rows };

struct lane_bench {
    lane_bench(sim::machine &m, uint8_t number);

    std::unique_ptr<lane_state> state{new lane_state()};
    std::unique_ptr<lane_streams> streams{new lane_streams()};
    std::unique_ptr<lane_ports> ports{new lane_ports()};
    lane_link_state link = {};
    sim::memory<session_state> memory{"session memory", sessions, seed};
    hls::stream<control_line, 4> requests{"requests"}, replies{"replies"};
    hls::stream<session_write, 16> writes{"writes"};
    hls::stream<uint32_t, control_acks_depth> acks{"acks"};
    sim::memory<session_state>::read_port<uint32_t, state_read> reader;
    sim::memory<session_state>::write_port<state_write, uint32_t> writer;
    sim::memory<session_state>::write_port<session_write, uint32_t> installer;
    std::vector<uint32_t> sent; /* TCP sequence numbers of frames that left */
    unsigned punted = 0;        /* lines: two a frame */
};

lane_bench::lane_bench(sim::machine &m, uint8_t number)
    : reader(
          memory.reader<uint32_t, state_read>(ports->state_reads, ports->state_lines,
                                              [](const session_state &line, const uint32_t &, state_read &r) { r.state = line; })),
      writer(memory.writer<state_write, uint32_t>(
          ports->state_writes, ports->state_acks,
          [](session_state &line, const state_write &w) {
              line.track = w.track;
              line.finish = w.finish;
          },
          [](const state_write &w) { return w.index; })),
      installer(memory.writer<session_write, uint32_t>(
          writes, acks,
          [](session_state &line, const session_write &w) {
              memcpy(reinterpret_cast<uint8_t *>(&line) + w.offset, w.byte, w.bytes);
          },
          [](const session_write &w) { return w.index; }))
{
    for_each_process(*state, *streams, *ports, number,
                     [&m](const char *name, unsigned depth, auto process) { m.add(name, depth, process); });
    m.add("link", lane_link_depth, [this] {
        lane_ports &p = *ports;
        lane_link(link, {requests, p.table_dones, p.rule_dones, p.fetch_replies, p.counter_answers},
                  {replies, p.table_updates, p.rule_updates, p.fetch_commands, p.key_loads, p.counter_commands, p.seal_limits});
    });
    m.add("reader", 1, [this] { reader.step(); }).while_busy([this] { return reader.busy(); });
    m.add("writer", 1, [this] { writer.step(); }).while_busy([this] { return writer.busy(); });
    m.add("installer", 1, [this] { installer.step(); }).while_busy([this] { return installer.busy(); });
    m.add("port", 1, [this] {
        if (!ports->tx.empty()) {
            const beat b = ports->tx.read();
            sent.push_back(load_be16(b.byte + 38) * 65536u + load_be16(b.byte + 40));
        }
        if (!ports->punt.empty()) {
            ports->punt.read();
            punted++;
        }
        if (!ports->events.empty())
            ports->events.read();
        if (!ports->mirror.empty())
            ports->mirror.read();
    });
}

class bench
{
  public:
    bench();
    card_completion run(card_command c);
    void expect_ok(const card_command &c)
    {
        assert_int_equal(run(c).status, card_ok);
    }
    void send(unsigned lane, uint32_t seq);
    void rest()
    {
        assert_true(m.run());
    }

    sim::machine m{seed};
    lane_bench lane_0{m, 0}, lane_1{m, 1};
    std::unique_ptr<control_state> state{new control_state()};

  private:
    uint32_t m_count = 0;
    hls::stream<control_line, 16> commands{"commands"};
    hls::stream<control_line, 4> completions{"completions"};
};

bench::bench()
{
    m.deadlock_cycles = 100000;
    m.add("control", control_depth, [this] {
        control(*state, {commands, {{lane_0.replies, lane_0.acks}, {lane_1.replies, lane_1.acks}}},
                {completions, {{lane_0.requests, lane_0.writes}, {lane_1.requests, lane_1.writes}}}, sessions);
    });
}

card_completion bench::run(card_command c)
{
    c.sequence = c.valid = ++m_count;
    for (unsigned i = 0; i < control_entry_lines; i++) {
        control_line line;
        memcpy(line.byte, reinterpret_cast<const uint8_t *>(&c) + i * beat_bytes, beat_bytes);
        commands.write(line);
    }
    assert_true(m.run_until([this] { return !completions.empty(); }));
    const control_line line = completions.read();
    card_completion done;
    memcpy(&done, line.byte, sizeof done);
    assert_int_equal(done.sequence, m_count);
    return done;
}

static uint32_t add_words(uint32_t sum, const uint8_t *from, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i += 2)
        sum += load_be16(from + i);
    return sum;
}

static uint16_t checksum(uint32_t sum)
{
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<uint16_t>(~sum);
}

/* One beat: Ethernet, IPv4, TCP, ten bytes of payload. */
void bench::send(unsigned lane, uint32_t seq)
{
    static const uint8_t head[54] = {2,    0,    0,    0,    0, 1, 2,    0, 0,  0, 0, 2, 8,    0, /* Ethernet */
                                     0x45, 0,    0,    50,   0, 0, 0x40, 0, 64, 6, 0, 0, 10,   0,    0, 1, 10, 0, 0, 2,
                                     0x04, 0xd2, 0x01, 0xbb, 0, 0, 0,    0, 0,  0, 0, 9, 0x50, 0x10, 1, 0, 0,  0, 0, 0};
    beat b = {};
    memcpy(b.byte, head, sizeof head);
    memset(b.byte + 54, 0x5a, 10);
    b.bytes = beat_bytes;
    b.last = true;
    store_be<4>(b.byte + 38, seq);
    store_be<2>(b.byte + 24, checksum(add_words(0, b.byte + 14, 20)));
    store_be<2>(b.byte + 50, checksum(add_words(6 + 30, b.byte + 26, 8 + 30)));
    hls::stream<beat, 16> &rx = (lane == 0 ? lane_0 : lane_1).ports->rx;
    assert_true(m.run_until([&rx] { return !rx.full(); }));
    rx.write(b);
}

static card_command command_of(card_opcode opcode, uint8_t lane, uint32_t index)
{
    card_command c = {};
    c.opcode = opcode;
    c.lane = lane;
    c.index = index;
    return c;
}

static card_command install_of(uint8_t lane, uint32_t index, uint32_t seq_delta)
{
    sim::random_source random(seed + index);
    session_state s = {};
    random.fill(&s.keys.set, sizeof s.keys.set);
    for (key_set &k : s.keys.set)
        k.long_keys &= 3;
    s.track.seq_delta = seq_delta;
    card_command c = command_of(card_install, lane, index);
    memcpy(c.payload, &s, sizeof s);
    return c;
}

static card_command slot_of(uint8_t lane, uint32_t session, action what)
{
    const uint8_t src[16] = {10, 0, 0, 1}, dst[16] = {10, 0, 0, 2};
    table_slot slot = table_slot_of_key(src, dst, 1234, 443, 6, 4);
    table_slot_set_value(&slot, session, what);
    card_command c = command_of(card_table_write, lane, stash);
    memcpy(c.payload, &slot, sizeof slot);
    return c;
}

static bool zero(const void *from, size_t bytes)
{
    const uint8_t *const p = static_cast<const uint8_t *>(from);
    return std::all_of(p, p + bytes, [](uint8_t x) { return x == 0; });
}

/* Installed while packets come: punted until the slot says otherwise, and rewritten from then on. Removed while packets are on
 * their way: all that were looked up before leave rewritten, and when the completion is there nothing is left. */
static void test_session_under_traffic(void **)
{
    bench b;
    sim::random_source random(seed);
    for (unsigned round = 0; round < 12; round++) {
        const uint8_t lane = round & 1;
        lane_bench &l = lane == 0 ? b.lane_0 : b.lane_1;
        const uint32_t session = static_cast<uint32_t>(random.below(sessions)), delta = 100000 * (round + 1);
        l.sent.clear();
        l.punted = 0;
        b.expect_ok(slot_of(lane, session, action_session_hold));
        b.send(lane, 1);
        b.expect_ok(install_of(lane, session, delta));
        b.send(lane, 2);
        b.rest();
        b.expect_ok(slot_of(lane, session, action_session_forward));
        const unsigned packets = static_cast<unsigned>(random.between(1, 60));
        for (uint32_t i = 0; i < packets; i++) {
            if (random.below(20) == 0) {
                card_command c = command_of(card_keys, lane, session);
                c.set = random.below(2) & 1;
                random.fill(c.payload, 120);
                b.expect_ok(c);
            }
            b.send(lane, 1000 + i);
        }
        /* Those not yet past the table may come to it before it is written, or after. */
        b.expect_ok(command_of(card_table_write, lane, stash));
        const card_completion done = b.run(command_of(card_remove, lane, session));
        assert_int_equal(done.status, card_ok);
        assert_true(zero(&l.memory[session], sizeof(session_state)));
        assert_true(zero(l.state->keys.slot, sizeof l.state->keys.slot)); /* G13 */
        b.rest();
        assert_true(zero(&l.memory[session], sizeof(session_state)));
        assert_int_equal(l.sent.size(), done.value[1]);
        assert_int_equal(l.punted, 2 * (2 + packets - l.sent.size()));
        for (uint32_t i = 0; i < l.sent.size(); i++)
            assert_int_equal(l.sent[i], 1000 + i + delta);
    }
}

/* The table still names the session: its removal ends all the same. */
static void test_remove_in_spite_of_slot(void **)
{
    bench b;
    b.expect_ok(install_of(0, 5, 1));
    b.expect_ok(slot_of(0, 5, action_session_forward));
    for (uint32_t i = 0; i < 200; i++) {
        b.send(0, i);
        if (i == 100)
            b.expect_ok(command_of(card_remove, 0, 5));
    }
    b.rest();
    assert_true(b.lane_0.sent.size() >= 80);
}

static void test_reset(void **)
{
    bench b;
    for (uint8_t lane = 0; lane < 2; lane++) {
        b.expect_ok(install_of(lane, 5, 1));
        b.expect_ok(slot_of(lane, 5, action_session_forward));
        for (uint32_t i = 0; i < 50; i++)
            b.send(lane, i);
    }
    b.expect_ok(command_of(card_reset, 0, 0));
    b.rest();
    for (lane_bench *l : {&b.lane_0, &b.lane_1}) {
        for (uint32_t i = 0; i < sessions; i++)
            assert_true(zero(&l->memory[i], sizeof(session_state)));
        assert_true(zero(l->state->keys.slot, sizeof l->state->keys.slot));
        assert_true(zero(l->state->table.stash, sizeof l->state->table.stash));
        l->sent.clear();
        l->punted = 0;
    }
    b.send(0, 7);
    b.rest();
    assert_int_equal(b.lane_0.punted, 2);
    assert_true(b.lane_0.sent.empty());
    /* And again from the beginning. */
    b.expect_ok(install_of(0, 5, 10));
    b.expect_ok(slot_of(0, 5, action_session_forward));
    b.send(0, 7);
    b.rest();
    assert_int_equal(b.lane_0.sent.size(), 1);
    assert_int_equal(b.lane_0.sent[0], 17);
}

int main()
{
    seed = sim::test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session_under_traffic),
        cmocka_unit_test(test_remove_in_spite_of_slot),
        cmocka_unit_test(test_reset),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
