// SPDX-License-Identifier: Apache-2.0
/*
 * control, events, rings and the two lane links, with real session and rule tables and counters behind them, a stand-in for fetch,
 * and memory with latency. Commands go through the rings as a host writes them. What a lane has at the end is looked at from
 * inside: the host has no way to.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
extern "C" {
#include <cmocka.h>
}
#include <algorithm>
#include <functional>
#include <memory>
#include <string.h>
#include <string>
#include <vector>

#include "card/card_command.h"
#include "control/control.hpp"
#include "control/events.hpp"
#include "control/lane_link.hpp"
#include "control/rings.hpp"
#include "harness.hpp"
#include "memory.hpp"

namespace control_test
{

using namespace card;

static uint64_t seed; /* of every bench; the test sets it */

enum : uint32_t { sessions = 256, command_entries = 8, event_entries = 16 };

/* What lies behind a lane's link. */
struct lane_bench {
    explicit lane_bench(sim::machine &m, unsigned number, double stall);

    std::unique_ptr<session_table_state> table{new session_table_state()};
    std::unique_ptr<rule_table_state> rules{new rule_table_state()};
    std::unique_ptr<session_counters_state> counters{new session_counters_state()};
    lane_link_state link = {};
    sim::memory<session_state> memory{"session memory", sessions, seed};
    std::vector<fetch_command> fetched; /* by the stand-in */
    std::vector<key_set> loaded;
    std::vector<uint32_t> limits;
    std::function<void(const fetch_command &)> when_fetched;

    hls::stream<control_line, 4> requests{"requests"}, replies{"replies"};
    hls::stream<table_update> table_updates{"table updates"};
    hls::stream<table_update_done> table_dones{"table dones"};
    hls::stream<rule_update> rule_updates{"rule updates"};
    hls::stream<rule_update_done> rule_dones{"rule dones"};
    hls::stream<fetch_command> fetch_commands{"fetch commands"};
    hls::stream<fetch_reply> fetch_replies{"fetch replies"};
    hls::stream<key_load> key_loads{"key loads"};
    hls::stream<counter_command> counter_commands{"counter commands"};
    hls::stream<counter_answer> counter_answers{"counter answers"};
    hls::stream<uint32_t> seal_limits{"seal limits"};
    hls::stream<session_write, 16> writes{"writes"};
    hls::stream<uint32_t, control_acks_depth> acks{"acks"};
    hls::stream<packet_key, 16> keys{"keys"};
    hls::stream<session_result, 16> results{"results"};
    hls::stream<lookup_result, 16> lookups{"lookups"};
    hls::stream<counter_packet, 16> packets{"packets"};
    hls::stream<event, 16> events{"events"};
    sim::memory<session_state>::write_port<session_write, uint32_t> port;
};

inline lane_bench::lane_bench(sim::machine &m, unsigned number, double stall)
    : port(memory.writer<session_write, uint32_t>(
          writes, acks,
          [](session_state &line, const session_write &w) {
              assert_true(w.bytes > 0 && w.offset % beat_bytes + w.bytes <= beat_bytes);
              assert_true(w.offset + w.bytes <= sizeof line);
              memcpy(reinterpret_cast<uint8_t *>(&line) + w.offset, w.byte, w.bytes);
          },
          [](const session_write &w) { return w.index; }))
{
    const std::string at = std::to_string(number);
    m.add("link " + at, lane_link_depth, [this] {
         lane_link(link, lane_link_in{requests, table_dones, rule_dones, fetch_replies, counter_answers},
                   lane_link_out{replies, table_updates, rule_updates, fetch_commands, key_loads, counter_commands, seal_limits});
     }).stall(stall);
    m.add("table " + at, session_table_depth, [this] { session_table(*table, keys, results, table_updates, table_dones); });
    m.add("rules " + at, rule_table_depth, [this] { rule_table(*rules, results, lookups, rule_updates, rule_dones); });
    m.add("counters " + at, session_counters_depth,
          [this] { session_counters(*counters, packets, counter_commands, counter_answers); });
    m.add("memory " + at, 1, [this] { port.step(); }).while_busy([this] { return port.busy(); });
    m.add("fetch " + at, 30, [this] {
        if (fetch_commands.empty() || fetch_replies.full())
            return;
        const fetch_command c = fetch_commands.read();
        if (c.kind == fetch_keys) {
            assert_false(key_loads.empty());
            loaded.push_back(key_loads.read().set);
        }
        fetched.push_back(c);
        if (when_fetched)
            when_fetched(c);
        fetch_replies.write(fetch_reply{c.kind, c.index});
    });
    m.add("limit " + at, 1, [this] {
        if (!seal_limits.empty())
            limits.push_back(seal_limits.read());
    });
    m.add("lookups " + at, 1, [this] {
        if (!lookups.empty())
            lookups.read();
    });
}

class bench
{
  public:
    explicit bench(double stall = 0);

    /* The host: a command's number is filled in; its completion is waited for, unless several are posted. */
    void post(card_command c);
    card_completion next_completion();
    card_completion run(const card_command &c)
    {
        post(c);
        return next_completion();
    }
    /* Runs it and expects that status. */
    card_completion expect(card_status status, const card_command &c)
    {
        const card_completion done = run(c);
        assert_int_equal(done.status, status);
        assert_int_equal(done.opcode, c.opcode);
        return done;
    }
    void drain()
    {
        assert_true(m.run_until([this] { return m.now() > m_until; }));
    }
    void cycles(uint64_t n)
    {
        m_until = m.now() + n;
        drain();
    }
    bool next_event(card_event &e);

    sim::machine m{seed};
    std::unique_ptr<control_state> state{new control_state()};
    events_state event_state = {};
    rings_state ring_state = {};
    lane_bench lane_0, lane_1;
    lane_bench &lane(unsigned number)
    {
        return number == 0 ? lane_0 : lane_1;
    }

    /* Host memory. */
    std::vector<ring_line> command_ring = std::vector<ring_line>(command_entries * control_entry_lines);
    std::vector<ring_line> completion_ring = std::vector<ring_line>(command_entries);
    std::vector<ring_line> event_ring = std::vector<ring_line>(event_entries);
    ring_line page = {};
    std::vector<uint8_t> seen;         /* all that ever came to the host */
    void set_numbers(uint32_t number); /* as if so many commands and events had been before */

  private:
    uint32_t m_posted = 0, m_completed = 0, m_events = 0;
    uint64_t m_until = 0;
    hls::stream<control_line, 16> commands{"commands"};
    hls::stream<control_line, 4> completions{"completions"}, entries{"entries"};
    hls::stream<uint32_t> host_read{"host read"};
};

inline void keep(std::vector<uint8_t> &into, const void *from, size_t bytes)
{
    const uint8_t *const p = static_cast<const uint8_t *>(from);
    into.insert(into.end(), p, p + bytes);
}

inline bench::bench(double stall) : lane_0(m, 0, stall), lane_1(m, 1, stall)
{
    m.deadlock_cycles = 100000; /* a table's reset is longer than what else may stand still */
    m.add("rings", 1, [this] {
         const ring_memory memory = {command_ring.data(), completion_ring.data(), event_ring.data(), &page,
                                     command_entries,     event_entries};
         rings(ring_state, memory, commands, completions, entries, host_read);
     }).stall(stall);
    m.add("control", control_depth, [this] {
         control(*state, control_in{commands, {{lane_0.replies, lane_0.acks}, {lane_1.replies, lane_1.acks}}},
                 control_out{completions, {{lane_0.requests, lane_0.writes}, {lane_1.requests, lane_1.writes}}}, sessions);
     }).stall(stall);
    m.add("events", events_depth, [this] {
         events(event_state, lane_0.events, lane_1.events, host_read, entries, event_entries);
     }).stall(stall);
}

inline void bench::set_numbers(uint32_t number)
{
    ring_state.taken = ring_state.completed = ring_state.told = ring_state.read = number;
    state->count = event_state.written = event_state.read = number;
    m_posted = m_completed = m_events = number;
    page.word[0] = number;
}

inline void bench::post(card_command c)
{
    assert_true(m_posted - m_completed < command_entries);
    c.sequence += m_posted + 1; /* 0 in a right one */
    c.valid = ++m_posted;
    memcpy(&command_ring[(m_posted - 1) % command_entries * control_entry_lines], &c, sizeof c);
}

inline card_completion bench::next_completion()
{
    const size_t at = m_completed++ % command_entries;
    card_completion done;
    assert_true(m.run_until([&] {
        memcpy(&done, &completion_ring[at], sizeof done);
        return done.valid == m_completed;
    }));
    assert_int_equal(done.sequence, m_completed);
    assert_int_equal(done.zero, 0);
    keep(seen, &done, sizeof done);
    return done;
}

inline bool bench::next_event(card_event &e)
{
    memcpy(&e, &event_ring[m_events % event_entries], sizeof e);
    if (e.valid != m_events + 1)
        return false;
    assert_int_equal(e.sequence, e.valid);
    keep(seen, &e, sizeof e);
    page.word[0] = ++m_events;
    return true;
}

/* ---- commands ---- */

inline card_command command_of(card_opcode opcode, uint8_t lane = 0, uint32_t index = 0)
{
    card_command c = {};
    c.opcode = opcode;
    c.lane = lane;
    c.index = index;
    return c;
}

inline session_state random_session(sim::random_source &random)
{
    session_state s;
    random.fill(&s, sizeof s);
    for (key_set &k : s.keys.set)
        k.long_keys = static_cast<uint8_t>(random.below(4));
    s.keys.window_shift = static_cast<int8_t>(static_cast<int>(random.below(29)) - 14);
    memset(s.keys.reserved, 0, sizeof s.keys.reserved);
    s.track.record_start = s.track.next;
    s.track.flags = track_tls13 | track_mirror;
    s.track.ring[0] = s.track.ring[1] = 0;
    s.track.ring_new = 0;
    s.track.seal_seq %= seal_limit_default + 1;
    s.finish.tail_end = 0;
    return s;
}

inline card_command install_of(uint8_t lane, uint32_t index, const session_state &s)
{
    card_command c = command_of(card_install, lane, index);
    memcpy(c.payload, &s, sizeof s);
    return c;
}

inline card_command keys_of(uint8_t lane, uint32_t index, uint8_t set, const key_set &k)
{
    card_command c = command_of(card_keys, lane, index);
    c.set = set;
    memcpy(c.payload, &k, sizeof k);
    return c;
}

inline table_slot slot_of(uint32_t session, action what)
{
    const uint8_t src[16] = {10, 1, 2, 3}, dst[16] = {10, 9, 8, static_cast<uint8_t>(session)};
    table_slot slot = table_slot_of_key(src, dst, 1234, 443, 6, 4);
    table_slot_set_value(&slot, session, what);
    return slot;
}

inline card_command table_of(uint8_t lane, uint32_t at, const table_slot &slot)
{
    card_command c = command_of(card_table_write, lane, at);
    memcpy(c.payload, &slot, sizeof slot);
    return c;
}

inline card_command rule_of(uint8_t lane, uint32_t number, const card_rule &r)
{
    card_command c = command_of(card_rule_write, lane, number);
    memcpy(c.payload, &r, sizeof r);
    return c;
}

inline bool zero(const void *from, size_t bytes)
{
    const uint8_t *const p = static_cast<const uint8_t *>(from);
    return std::all_of(p, p + bytes, [](uint8_t x) { return x == 0; });
}

inline void nothing_left_of_commands(bench &b)
{
    assert_true(zero(b.state->entry, sizeof b.state->entry));
    assert_true(zero(b.lane_0.link.byte, sizeof b.lane_0.link.byte));
    assert_true(zero(b.lane_1.link.byte, sizeof b.lane_1.link.byte));
}

} // namespace control_test
