// SPDX-License-Identifier: Apache-2.0
/*
 * fetch, fill and spill around a stand-in for the lane that counts: each packet adds one to a number in the session's track_state
 * and one to another in its finish_state, and marks nothing else. When all has come to rest, memory must hold exactly the number
 * of packets of each session, and its keys. Memory answers late and in racing order (sim/hls/memory.hpp), so a state that is read
 * too early, written too late or kept in two slots shows as a wrong number.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
extern "C" {
#include <cmocka.h>
}
#include <deque>
#include <memory>
#include <stdio.h>
#include <string.h>
#include <vector>

#include "harness.hpp"
#include "memory.hpp"
#include "transcoder/fetch.hpp"
#include "transcoder/fill.hpp"
#include "transcoder/spill.hpp"

using namespace card;

static uint64_t seed;

/* The version of a key set is its first byte of all keys; the session's index is in `flow`. */
static key_set key_of(uint8_t version)
{
    key_set k;
    memset(&k, version, sizeof k);
    return k;
}

static void set_flow(key_state &keys, uint32_t index)
{
    for (unsigned i = 0; i < 4; i++)
        keys.flow[i] = static_cast<uint8_t>((index + 1) >> 8 * i); /* not zero, as a wiped one is */
}

static uint32_t flow_of(const key_state &keys)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < 4; i++)
        value |= static_cast<uint32_t>(keys.flow[i]) << 8 * i;
    return value - 1;
}

static const key_state wiped_keys = {};

static bool is_wiped(const key_state &keys)
{
    return memcmp(&keys, &wiped_keys, sizeof keys) == 0;
}

struct options {
    unsigned sessions = 64, packets = 20000;
    unsigned low = 50, high = 400;
    double idle = 0, stall = 0, pressure = 0;
    unsigned burst = 1;   /* packets of one session in a row, at most */
    double without = 0.1; /* packets without a session */
    double command = 0;   /* keys or remove, a packet */
    bool in_turn = false; /* sessions one after the other */
    unsigned lane = 80;   /* cycles from tracker to finish */
};

/* What the test expects of a session. */
struct expected {
    uint32_t packets = 0; /* since it was installed */
    uint8_t version = 1;  /* of key set 0, as the packets in the lane see it */
    bool installed = true;
    uint32_t tracked = 0; /* of the packets: came to the tracker */
    int slot = -1;
};

class bench
{
  public:
    explicit bench(const options &o);
    void run();
    void check_memory();

    const options o;
    sim::machine m{seed};
    sim::memory<session_state> mem;
    std::unique_ptr<fetch_state> state{new fetch_state()};
    spill_state spilling = {};
    std::vector<expected> sessions;
    std::vector<key_state> keys_on_chip = std::vector<key_state>(slots);
    uint32_t looked = 0, looked_at_first = 0;
    uint64_t wiped_slots = 0;
    /* Instead of the host's part: these commands, and what was answered when so many lookups were made. */
    std::deque<fetch_command> scripted;
    std::vector<fetch_reply> answers;
    std::vector<uint32_t> answered_at;
    unsigned removed = 0, replaced = 0;
    uint64_t refused = 0;        /* packets of leaving sessions */
    bool expect_refused = false; /* commands are scripted, and the table entries of removed sessions stay */

    hls::stream<lookup_result, 16> lookups{"lookups"};
    hls::stream<fetch_command, fetch_commands_depth> commands{"commands"};
    hls::stream<fetch_reply, fetch_replies_depth> replies{"replies"};
    hls::stream<work, 1024> work_items{"work_items"};

  private:
    /* A stage of the stand-in: the work item that waits for its state. */
    struct holder {
        bool held = false;
        work w = {};
    };
    template <typename Line> static bool take(holder &h, hls::stream<work> &from, hls::stream<Line> &lines);
    struct key_write {
        uint32_t index;
        uint8_t version;
    };
    bool next_packet(lookup_result &looked_up);
    void control();
    void tracker();
    void keys();
    void finish();
    void check_work(const work &w);

    hls::stream<uint32_t, fetch_reads_depth> reads{"reads"};
    hls::stream<state_read, 16> responses{"responses"};
    hls::stream<state_write, 16> writes{"writes"};
    hls::stream<uint32_t, fetch_acks_depth> acks{"acks"};
    hls::stream<key_state, 16> key_lines{"key_lines"};
    hls::stream<track_state, 16> track_lines{"track_lines"};
    hls::stream<finish_state, 128> finish_lines{"finish_lines"};
    hls::stream<write_back, fetch_write_backs_depth> to_tracker{"to_tracker"}, to_finish{"to_finish"};
    hls::stream<track_line, 16> tracks{"tracks"};
    hls::stream<finish_line, 16> finishes{"finishes"};
    hls::stream<uint16_t, fetch_wipes_depth> wipes{"wipes"};
    hls::stream<uint16_t, fetch_wiped_depth> wiped{"wiped"};
    hls::stream<work, 16> tracked{"tracked"};
    hls::stream<work, 128> keyed{"keyed"};
    hls::stream<uint16_t, 256> dones{"dones"};
    hls::stream<slot_release, fetch_releases_depth> releases{"releases"};
    hls::stream<key_write, 4> key_writes{"key_writes"};
    hls::stream<uint32_t, 4> key_acks{"key_acks"};

    sim::memory<session_state>::read_port<uint32_t, state_read> reader;
    sim::memory<session_state>::write_port<state_write, uint32_t> writer;
    sim::memory<session_state>::write_port<key_write, uint32_t> key_writer;

    holder at_tracker, at_keys, at_finish;
    std::vector<uint32_t> owner = std::vector<uint32_t>(slots, ~0u);
    std::vector<track_state> track_slot = std::vector<track_state>(slots);
    std::vector<finish_state> finish_slot = std::vector<finish_state>(slots);
    std::deque<lookup_result> expected_work; /* lookups whose work item has not come */
    std::deque<uint32_t> expected_keys;
    unsigned left, burst_left = 0;
    uint32_t turn = 0, session = 0;

    enum { rests, sends_keys, waits_keys, waits_ack, waits_end, waits_remove } step = rests;
    uint32_t at = 0; /* session of the command */
    uint8_t version = 1;
};

bench::bench(const options &with)
    : o(with), mem("memory", with.sessions, seed), sessions(with.sessions),
      reader(mem.reader<uint32_t, state_read>(reads, responses,
                                              [](const session_state &line, const uint32_t &, state_read &r) { r.state = line; })),
      writer(mem.writer<state_write, uint32_t>(
          writes, acks,
          [](session_state &line, const state_write &w) {
              line.track = w.track;
              line.finish = w.finish;
          },
          [](const state_write &w) { return w.index; })),
      key_writer(mem.writer<key_write, uint32_t>(
          key_writes, key_acks, [](session_state &line, const key_write &w) { line.keys.set[0] = key_of(w.version); },
          [](const key_write &w) { return w.index; })),
      left(with.packets)
{
    mem.latency(o.low, o.high);
    mem.outstanding(1024);
    for (uint32_t i = 0; i < o.sessions; i++) {
        mem[i].keys.set[0] = key_of(1);
        set_flow(mem[i].keys, i);
    }
    m.source<lookup_result>(
        "lookup", lookups,
        [this](lookup_result &l) {
            if (!next_packet(l))
                return false;
            looked++;
            expected_work.push_back(l);
            return true;
        },
        o.idle);
    m.add("fetch", fetch_depth, [this] {
         fetch(*state, fetch_in{lookups, releases, acks, wiped, commands},
               fetch_out{work_items, reads, to_tracker, to_finish, wipes, replies});
     }).stall(o.stall);
    m.add("memory read", 1, [this] { reader.step(); }).while_busy([this] { return reader.busy(); });
    m.add("memory write", 1, [this] { writer.step(); }).while_busy([this] { return writer.busy(); });
    m.add("memory keys", 1, [this] { key_writer.step(); }).while_busy([this] { return key_writer.busy(); });
    m.add("fill", fill_depth, [this] { fill(responses, key_lines, track_lines, finish_lines); }).stall(o.stall);
    m.add("spill", spill_depth, [this] { spill(spilling, tracks, finishes, writes); }).stall(o.stall);
    m.add("tracker", 3, [this] { tracker(); }).stall(o.pressure);
    m.add("keys", o.lane, [this] { keys(); }).stall(o.pressure);
    m.add("finish", 4, [this] { finish(); }).stall(o.pressure);
    m.add("control", 1, [this] { control(); }).while_busy([this] { return step != rests; });
}

bool bench::next_packet(lookup_result &l)
{
    if (left == 0)
        return false;
    left--;
    l = lookup_result{action_forward, 0, 7};
    if (m.random().chance(o.without)) {
        if (m.random().chance(0.3))
            l = lookup_result{action_session_hold, static_cast<uint32_t>(m.random().below(o.sessions)), 0};
        return true;
    }
    if (o.in_turn) {
        session = turn++ % o.sessions;
    } else if (burst_left == 0) {
        session = static_cast<uint32_t>(m.random().below(o.sessions));
        burst_left = static_cast<unsigned>(m.random().between(1, o.burst));
    }
    burst_left -= burst_left > 0;
    if (!sessions[session].installed) {
        burst_left = 0;
        return true;
    }
    sessions[session].packets++;
    l = lookup_result{m.random().chance(0.5) ? action_session_forward : action_session_transcode, session, 0};
    return true;
}

/* The host's part: replaces keys, removes sessions and installs them again. */
void bench::control()
{
    if (expect_refused) {
        if (!replies.empty()) {
            answers.push_back(replies.read());
            answered_at.push_back(looked - looked_at_first);
        }
        if (!scripted.empty() && !commands.full()) {
            commands.write(scripted.front());
            scripted.pop_front();
        }
        return;
    }
    if (!replies.empty()) {
        const fetch_reply r = replies.read();
        assert_int_equal(r.index, at);
        if (step == waits_keys) {
            assert_int_equal(r.kind, fetch_keys);
            key_writes.write(key_write{at, version});
            step = waits_ack;
        } else if (step == waits_end) {
            assert_int_equal(r.kind, fetch_keys_end);
            replaced++;
            step = rests;
        } else {
            assert_int_equal(step, waits_remove);
            assert_int_equal(r.kind, fetch_remove);
            for (const key_state &k : keys_on_chip) /* G13 */
                assert_true(is_wiped(k) || flow_of(k) != at);
            assert_int_equal(mem[at].track.next, sessions[at].packets);
            assert_int_equal(mem[at].finish.tail_end, static_cast<uint16_t>(sessions[at].packets));
            mem[at] = session_state();
            mem[at].keys.set[0] = key_of(1);
            set_flow(mem[at].keys, at);
            sessions[at] = expected();
            removed++;
            step = rests;
        }
        return;
    }
    if (!key_acks.empty()) {
        key_acks.read();
        commands.write(fetch_command{fetch_keys_end, 0, at, 0});
        step = waits_end;
        return;
    }
    if (step != rests || left == 0 || commands.full() || !m.random().chance(o.command))
        return;
    at = static_cast<uint32_t>(m.random().below(o.sessions));
    if (m.random().chance(0.5)) {
        sessions[at].installed = false; /* the table entry goes */
        commands.write(fetch_command{fetch_remove, 0, at, looked});
        step = waits_remove;
    } else {
        version = static_cast<uint8_t>(version == 255 ? 1 : version + 1);
        expected_keys.push_back(at);
        commands.write(fetch_command{fetch_keys, 0, at, 0});
        step = waits_keys;
    }
}

/* Work items come in the order of the lookups, those of commands anywhere between. */
void bench::check_work(const work &w)
{
    if (w.kind == work_keys) {
        assert_false(expected_keys.empty());
        assert_int_equal(w.index, expected_keys.front());
        assert_true(w.session);
        expected_keys.pop_front();
    } else {
        assert_false(expected_work.empty());
        const lookup_result l = expected_work.front();
        expected_work.pop_front();
        const bool session_action = l.what == action_session_forward || l.what == action_session_transcode;
        assert_int_equal(w.index, l.session);
        if (session_action && !w.session && expect_refused) {
            assert_int_equal(w.what, action_punt);
            refused++;
            return;
        }
        assert_int_equal(w.what, l.what);
        assert_int_equal(w.rule, l.rule);
        assert_int_equal(w.session, session_action);
    }
    if (!w.session)
        return;
    expected &e = sessions[w.index];
    if (w.fill) {
        assert_int_equal(mem[w.index].track.next, e.tracked); /* all before is written: it is in no other slot */
        if (owner[w.slot] != ~0u && sessions[owner[w.slot]].slot == w.slot)
            sessions[owner[w.slot]].slot = -1;
        owner[w.slot] = w.index;
        e.slot = w.slot;
    }
    assert_int_equal(e.slot, w.slot);
    e.tracked += w.kind == work_packet;
}

/* True if a work item is there, and its state, if it waits for one. */
template <typename Line> bool bench::take(holder &h, hls::stream<work> &from, hls::stream<Line> &lines)
{
    if (!h.held) {
        if (from.empty())
            return false;
        h.w = from.read();
        h.held = true;
    }
    return !h.w.fill || !lines.empty();
}

void bench::tracker()
{
    if (!dones.empty() && !releases.full())
        releases.write(slot_release{dones.read()});
    if (!to_tracker.empty() && !tracks.full()) {
        const write_back b = to_tracker.read();
        tracks.write(track_line{b.index, track_slot[b.slot]});
    }
    if (tracked.full() || !take(at_tracker, work_items, track_lines))
        return;
    const work w = at_tracker.w;
    at_tracker.held = false;
    check_work(w);
    if (w.fill)
        track_slot[w.slot] = track_lines.read();
    if (w.session && w.kind == work_packet)
        track_slot[w.slot].next++;
    tracked.write(w);
}

void bench::keys()
{
    if (!wipes.empty() && !wiped.full()) {
        const uint16_t slot = wipes.read();
        keys_on_chip[slot] = key_state();
        wiped_slots++;
        wiped.write(slot);
    }
    if (keyed.full() || !take(at_keys, tracked, key_lines))
        return;
    const work w = at_keys.w;
    at_keys.held = false;
    if (w.session) {
        key_state &k = keys_on_chip[w.slot];
        if (w.fill) {
            assert_true(is_wiped(k)); /* G13: nothing of the session before */
            k = key_lines.read();
        }
        assert_int_equal(flow_of(k), w.index);
        if (w.kind == work_keys) {
            k.set[0] = key_of(version);
            sessions[w.index].version = version;
        }
        const key_set now = key_of(sessions[w.index].version);
        assert_memory_equal(&k.set[0], &now, sizeof now);
    }
    keyed.write(w);
}

void bench::finish()
{
    if (!to_finish.empty() && !finishes.full()) {
        const write_back b = to_finish.read();
        finishes.write(finish_line{b.index, finish_slot[b.slot]});
    }
    if (dones.full() || !take(at_finish, keyed, finish_lines))
        return;
    const work w = at_finish.w;
    at_finish.held = false;
    if (w.fill)
        finish_slot[w.slot] = finish_lines.read();
    if (w.session && w.kind == work_packet)
        finish_slot[w.slot].tail_end++;
    if (w.session)
        dones.write(w.slot);
}

void bench::run()
{
    assert_true(m.run());
    assert_true(expected_work.empty());
    assert_true(expected_keys.empty());
    assert_int_equal(state->in_flight, 0);
    assert_false(spilling.broken);
    for (const key_state &k : keys_on_chip)
        assert_true(is_wiped(k));
}

void bench::check_memory()
{
    for (uint32_t i = 0; i < o.sessions; i++) {
        const key_set key = key_of(sessions[i].version);
        assert_int_equal(mem[i].track.next, sessions[i].packets);
        assert_int_equal(mem[i].finish.tail_end, static_cast<uint16_t>(sessions[i].packets));
        assert_memory_equal(&mem[i].keys.set[0], &key, sizeof key);
        assert_int_equal(flow_of(mem[i].keys), i);
    }
}

static void run(const options &o)
{
    bench b(o);
    b.run();
    b.check_memory();
    if (o.command > 0) {
        assert_true(b.removed > 0);
        assert_true(b.replaced > 0);
    }
}

/* Few sessions: they are in their slots, being written back, wiped and read again all the time. */
static void test_few_sessions(void **)
{
    for (unsigned sessions : {1u, 2u, 5u, 40u}) {
        for (unsigned burst : {1u, 8u}) {
            options o;
            o.sessions = sessions;
            o.burst = burst;
            o.idle = sessions < 5 ? 0.97 : 0.5;
            o.packets = sessions < 5 ? 4000 : 15000;
            run(o);
        }
    }
}

static void test_fast_memory(void **)
{
    for (unsigned high : {1u, 3u, 20u}) {
        for (double idle : {0.0, 0.7, 0.95}) {
            options o;
            o.low = 1;
            o.high = high;
            o.lane = 1;
            o.idle = idle;
            o.sessions = 12;
            run(o);
        }
    }
}

/* More sessions than slots, all that can go wrong at once. */
static void test_everything(void **)
{
    for (unsigned sessions : {30u, 900u, 5000u}) {
        options o;
        o.sessions = sessions;
        o.packets = 40000;
        o.burst = 4;
        o.idle = 0.2;
        o.stall = 0.1;
        o.pressure = 0.1;
        o.command = 0.2;
        run(o);
    }
}

/* Short ones, to the end: a slot that is left behind shows when all has come to rest. */
static void test_short(void **)
{
    sim::random_source random(seed);
    for (unsigned i = 0; i < 400; i++) {
        options o;
        o.sessions = static_cast<unsigned>(random.between(1, 6));
        o.packets = 100;
        o.without = 0;
        o.idle = 0.8;
        o.low = static_cast<unsigned>(random.between(1, 20));
        o.high = o.low + static_cast<unsigned>(random.below(10));
        o.lane = static_cast<unsigned>(random.between(1, 20));
        run(o);
    }
}

/* A session whose table entry is still there is removed all the same: its packets are punted. Others go on. */
static void test_remove_under_traffic(void **)
{
    options o;
    o.sessions = 3;
    o.packets = 6000;
    bench b(o);
    b.expect_refused = true;
    b.state->looked = b.looked = 0xfffffc00; /* the count goes over 2^32 */
    b.looked_at_first = b.looked;
    for (uint32_t i = 0; i < 2; i++)
        b.scripted.push_back(fetch_command{fetch_remove, 0, i, b.looked + 1000 * (i + 1)});
    b.run();
    assert_int_equal(b.answers.size(), 2);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(b.answers[i].index, i);
        assert_in_range(b.answered_at[i], 1000 * (i + 1), 1000 * (i + 1) + 1500);
    }
    assert_true(b.refused > 10);
    assert_int_equal(b.mem[2].track.next, b.sessions[2].packets);
    assert_true(b.mem[0].track.next < b.sessions[0].packets);
}

static void test_reset(void **)
{
    options o;
    o.sessions = 3000;
    o.packets = 20000;
    o.idle = 0.3;
    bench b(o);
    b.expect_refused = true;
    b.scripted.push_back(fetch_command{fetch_remove, 0, 1, 3000});
    b.scripted.push_back(fetch_command{fetch_reset, 0, 0, 5000});
    b.scripted.push_back(fetch_command{fetch_remove, 0, 2, 0}); /* waits for the reset */
    b.run();
    assert_int_equal(b.answers.size(), 3);
    assert_int_equal(b.answers[0].kind, fetch_remove);
    assert_int_equal(b.answers[1].kind, fetch_reset);
    assert_int_equal(b.answers[2].index, 2);
    assert_in_range(b.answered_at[1], 5000, 5000 + 4000);
    assert_true(b.wiped_slots >= slots);
}

/* More removals than it can keep in mind, and of sessions that are nowhere. */
static void test_many_removals(void **)
{
    options o;
    o.sessions = 100;
    o.packets = 5000;
    bench b(o);
    b.expect_refused = true;
    for (uint32_t i = 0; i < 50; i++)
        b.scripted.push_back(fetch_command{fetch_remove, 0, 2 * i, 3000 - 50 * i});
    b.scripted.push_back(fetch_command{fetch_keys_end, 0, 0, 0}); /* without a beginning: answered, nothing else */
    b.run();
    assert_int_equal(b.answers.size(), 51);
    std::vector<bool> seen(100);
    for (const fetch_reply &r : b.answers)
        if (r.kind == fetch_remove)
            seen[r.index] = true;
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(seen[i], i % 2 == 0);
}

/* Parts of two sessions are never joined. */
static void test_spill(void **)
{
    hls::stream<track_line, 8> tracks("tracks");
    hls::stream<finish_line, 8> finishes("finishes");
    hls::stream<state_write, 8> writes("writes");
    spill_state s = {};
    for (uint32_t i = 0; i < 3; i++) {
        track_line t = {};
        finish_line f = {};
        t.index = 5 + i;
        t.state.next = 100 + i;
        f.index = i == 1 ? 9 : 5 + i;
        f.state.tail_end = static_cast<uint16_t>(200 + i);
        tracks.write(t);
        finishes.write(f);
        for (unsigned call = 0; call < 3; call++)
            spill(s, tracks, finishes, writes);
    }
    assert_int_equal(writes.size(), 1);
    const state_write w = writes.read();
    assert_int_equal(w.index, 5);
    assert_int_equal(w.track.next, 100);
    assert_int_equal(w.finish.tail_end, 200);
    assert_true(s.broken);
    tracks.discard();
    finishes.discard();
}

/* A command now and then while sessions come and go. */
static void test_commands(void **)
{
    for (double idle : {0.0, 0.9}) {
        options o;
        o.sessions = 8;
        o.packets = 60000;
        o.idle = idle;
        o.burst = 3;
        o.command = 0.5;
        run(o);
    }
}

/* One packet a cycle, each of another session, whatever the latency: 1024 slots suffice. */
static void test_throughput(void **)
{
    static const struct {
        unsigned sessions, low, high;
        double command;
    } runs[] = {{1, 400, 400, 0}, {1023, 400, 400, 0}, {5000, 400, 400, 0}, {5000, 50, 400, 0}, {5000, 50, 400, 0.5}};
    for (const auto &r : runs) {
        options o;
        o.sessions = r.sessions;
        o.low = r.low;
        o.high = r.high;
        o.packets = 30000;
        o.in_turn = true;
        o.without = 0;
        o.command = r.command;
        bench b(o);
        b.run();
        b.check_memory();
        const double cycles = static_cast<double>(b.m.span());
        print_message("fetch: %u sessions, latency %u..%u: %.3f cycles a packet\n", r.sessions, r.low, r.high, cycles / o.packets);
        assert_true(cycles < o.packets + 2500); /* the first packet's way, and the last one's */
    }
}

int main()
{
    seed = sim::test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_sessions),
        cmocka_unit_test(test_fast_memory),
        cmocka_unit_test(test_short),
        cmocka_unit_test(test_everything),
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_throughput),
        cmocka_unit_test(test_remove_under_traffic),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_many_removals),
        cmocka_unit_test(test_spill),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
