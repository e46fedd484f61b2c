// SPDX-License-Identifier: Apache-2.0
/*
 * session_counters against a map, in the cycle harness: few sessions, so that packets of one session follow each other at every
 * distance (hazard stale_count), with reads and clears between; some packets are of no session, and totals are asked for and
 * cleared as well. SLUICE_LONG=1: ten times the packets.
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
#include <stdlib.h>
#include <string.h>
#include <unordered_map>

#include "harness.hpp"
#include "random.hpp"
#include "session_table/session_counters.hpp"

static uint64_t seed;

/* In a process or sink: an assertion would jump out of the machine's cycle, so the program ends here. */
static void require(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "%s, SLUICE_SEED=%llu\n", what, static_cast<unsigned long long>(seed));
        exit(1);
    }
}

struct world {
    std::unique_ptr<card::session_counters_state> state{new card::session_counters_state()};
    hls::stream<card::counter_packet, 4> packets{"packets"};
    hls::stream<card::counter_command, 4> commands{"commands"};
    hls::stream<card::counter_answer, 16> answers{"answers"};
    std::unordered_map<uint32_t, card::counter_value> reference; /* totals among them, by the index they are asked by */

    void call()
    {
        card::session_counters(*state, packets, commands, answers);
    }
    card::counter_answer ask(card::counter_op op, uint32_t session)
    {
        commands.write({op, session, 3});
        while (answers.empty())
            call();
        return answers.read();
    }
};

static bool same(const card::counter_value &a, const card::counter_value &b)
{
    return a.bytes == b.bytes && a.packets == b.packets && a.tick == b.tick;
}

static void assert_value(const card::counter_value &got, const card::counter_value &expected)
{
    assert_int_equal(got.bytes, expected.bytes);
    assert_int_equal(got.packets, expected.packets);
    assert_int_equal(got.tick, expected.tick);
}

static card::counter_packet of_session(uint32_t session, unsigned bytes)
{
    return {session, static_cast<uint16_t>(bytes), card::counter_sent, true};
}

/* hot: sessions in use; they include the first and the last one there is. */
static void run_random(uint64_t s, uint64_t count, uint32_t hot, double idle, double asking)
{
    world w;
    sim::random_source random(s);
    std::unique_ptr<sim::machine> machine(new sim::machine(s));
    sim::machine &m = *machine;
    /* Ticks pass in the test, and their 24 bits wrap in it. */
    w.state->cycle = (uint64_t(1) << 48) - (uint64_t(1) << 24) - count / 4;
    std::deque<card::counter_packet> sent;
    std::deque<card::counter_command> asked;
    std::deque<card::counter_answer> expected;
    uint64_t packets = 0, commands = 0, clears = 0;
    const auto any_session = [&] {
        const uint32_t i = static_cast<uint32_t>(random.below(hot));
        return i % 2 == 0 ? i : card::sessions_max - i;
    };
    const auto any_fate = [&] { return static_cast<card::counter_fate>(random.below(card::counter_fates)); };
    const auto any_total = [&] { return static_cast<uint32_t>(card::counter_totals_at) + any_fate(); };

    m.source<card::counter_packet>(
        "results", w.packets,
        [&](card::counter_packet &p) {
            if (packets++ == count)
                return false;
            p = of_session(any_session(), static_cast<unsigned>(random.between(60, 9216)));
            if (random.chance(0.4)) { /* of none, and then what `session` holds means nothing */
                p.of_session = false;
                p.fate = any_fate();
                p.session = random.chance(0.5) ? p.session : static_cast<uint32_t>(random.below(uint64_t(1) << 32));
            }
            sent.push_back(p);
            return true;
        },
        idle);
    m.source<card::counter_command>(
        "control", w.commands,
        [&](card::counter_command &c) {
            if (packets >= count)
                return false;
            c = {random.chance(0.3) ? card::counter_clear : card::counter_read, any_session(), static_cast<uint32_t>(commands++)};
            if (random.chance(0.2))
                c.session = any_total();
            if (random.chance(0.02))
                c.session = card::counter_totals_end + static_cast<uint32_t>(random.below(1000));
            if (random.chance(0.02))
                c.op = static_cast<card::counter_op>(2);
            asked.push_back(c);
            return true;
        },
        asking);
    m.add("session_counters", card::session_counters_depth, [&] {
         const uint64_t packets_before = w.packets.reads(), commands_before = w.commands.reads();
         const uint32_t tick = static_cast<uint32_t>(w.state->cycle >> 24) & 0xffffff;
         w.call();
         require(w.packets.reads() - packets_before + w.commands.reads() - commands_before <= 1, "two inputs in a cycle");
         if (w.packets.reads() != packets_before) {
             const card::counter_packet &p = sent.front();
             card::counter_value &total = w.reference[static_cast<uint32_t>(card::counter_totals_at) + p.fate];
             total = {total.bytes + p.bytes, total.packets + 1, 0};
             if (p.of_session) {
                 card::counter_value &v = w.reference[p.session];
                 v = {v.bytes + p.bytes, v.packets + 1, tick};
             }
             sent.pop_front();
         }
         if (w.commands.reads() != commands_before) {
             const card::counter_command c = asked.front();
             const bool ok = c.session < card::counter_totals_end && c.op <= card::counter_clear;
             expected.push_back({c.tag, ok, ok ? w.reference[c.session] : card::counter_value{0, 0, 0}, tick});
             if (ok && c.op == card::counter_clear) {
                 w.reference[c.session] = {0, 0, 0};
                 clears++;
             }
             asked.pop_front();
         }
     }).stall(0.05);
    m.sink<card::counter_answer>(
        "host", w.answers,
        [&](const card::counter_answer &a) {
            require(!expected.empty() && a.tag == expected.front().tag && a.ok == expected.front().ok &&
                        a.now == expected.front().now && same(a.value, expected.front().value),
                    "another answer than the reference's");
            expected.pop_front();
        },
        0.2);
    assert_true(m.run());
    assert_true(sent.empty() && asked.empty() && expected.empty());
    machine.reset(); /* the streams are plain from now on */
    for (unsigned i = 0; i < card::counter_forward; i++)
        w.call();
    for (const auto &r : w.reference) {
        const card::counter_answer a = w.ask(card::counter_read, r.first);
        assert_true(a.ok);
        assert_value(a.value, r.second);
        if (r.first < card::sessions_max) /* in memory, too, not in flight */
            assert_int_equal(w.state->memory[r.first].bytes, r.second.bytes);
    }
    print_message("%u sessions: %llu packets, %llu commands, %llu of them clears\n", hot, static_cast<unsigned long long>(count),
                  static_cast<unsigned long long>(commands), static_cast<unsigned long long>(clears));
}

static void test_random(void **)
{
    const char *value = getenv("SLUICE_LONG");
    const uint64_t count = value != nullptr && strcmp(value, "1") == 0 ? 2000000 : 200000;
    run_random(seed, count, 1, 0.1, 0.5);
    run_random(seed + 1, count, 3, 0.2, 0.5);
    run_random(seed + 2, count, 12, 0, 0.95);
    run_random(seed + 3, count, card::sessions_max, 0.3, 0.1);
}

/* A packet a cycle; commands cost a cycle in 64 at most, and none waits longer than that. */
static void test_rate(void **)
{
    const unsigned count = 50000;
    for (unsigned asking = 0; asking < 2; asking++) {
        world w;
        sim::machine m(seed);
        unsigned sent = 0, answered = 0;
        uint64_t since = 0, longest = 0;
        m.source<card::counter_packet>("results", w.packets, [&](card::counter_packet &p) {
            p = of_session(sent % 5, 64);
            return sent++ < count;
        });
        m.source<card::counter_command>("control", w.commands, [&](card::counter_command &c) {
            c = {card::counter_read, 1, 0};
            return asking == 1 && sent < count;
        });
        m.add("session_counters", card::session_counters_depth, [&] { w.call(); });
        m.sink<card::counter_answer>("host", w.answers, [&](const card::counter_answer &) {
            const uint64_t waited = m.now() - since;
            longest = answered++ > 0 && waited > longest && sent < count ? waited : longest;
            since = m.now();
        });
        assert_true(m.run_until([&] { return w.packets.reads() == count; }));
        const uint64_t cycles = m.span();
        print_message("%.4f cycles a packet, %u answers, %llu cycles between answers\n", static_cast<double>(cycles) / count,
                      answered, static_cast<unsigned long long>(longest));
        assert_true(cycles <= count + 10 + (asking == 1 ? count / card::counter_command_wait + 1 : 0));
        assert_true(asking == 0 || (answered > count / 75 && longest <= card::counter_command_wait + card::session_counters_depth));
        m.run();
    }
}

/* Hazard ack_stall: nobody reads the answers; packets go on, one a cycle. */
static void test_ack_stall(void **)
{
    const unsigned count = 5000;
    world w;
    sim::machine m(seed);
    const unsigned quiet = 500; /* cycles without packets: the answers fill their stream, and would fill the pipeline */
    unsigned sent = 0;
    m.add("results", 1, [&] {
        if (m.now() >= quiet && sent < count && !w.packets.full())
            w.packets.write(of_session(sent++ % 3, 64));
    });
    m.source<card::counter_command>("control", w.commands, [&](card::counter_command &c) {
        c = {card::counter_read, 1, 0};
        return true;
    });
    m.add("session_counters", card::session_counters_depth, [&] { w.call(); });
    assert_true(m.run_until([&] { return w.packets.reads() == count; }));
    assert_true(w.answers.full());
    assert_true(m.span() <= quiet + count + 3);
    w.answers.discard();
    w.commands.discard();
}

/* What does not fit wraps: packets at 40 bits without touching the tick, bytes at 64. */
static void test_limits(void **)
{
    world w;
    w.state->cycle = uint64_t(5) << 24;
    w.state->memory[7] = {UINT64_MAX - 9, UINT64_MAX << 24};
    w.packets.write(of_session(7, 100));
    w.call();
    card::counter_answer a = w.ask(card::counter_clear, 7);
    assert_value(a.value, {90, 0, 5});
    assert_int_equal(a.now, 5);
    a = w.ask(card::counter_read, 7);
    assert_value(a.value, {0, 0, 0});

    /* no room for an answer: the command waits, packets do not */
    for (unsigned i = 0; i < 16; i++) {
        w.commands.write({card::counter_read, 7, i});
        while (!w.commands.empty())
            w.call();
    }
    assert_true(w.answers.full());
    w.commands.write({card::counter_read, 7, 16});
    for (unsigned i = 0; i < 200; i++) {
        w.packets.write(of_session(7, 1));
        w.call();
        assert_true(w.packets.empty());
    }
    assert_int_equal(w.commands.size(), 1);
    while (!w.answers.empty())
        w.answers.read();
    for (unsigned i = 0; w.answers.empty() && i < card::session_counters_depth; i++)
        w.call();
    assert_value(w.answers.read().value, {200, 200, 5});
}

/* Each fate has a total; only a session's own packets are counted as its; clearing one clears no other; totals have 64 bits. */
static void test_totals(void **)
{
    world w;
    const uint32_t at = card::counter_totals_at;
    w.state->cycle = uint64_t(5) << 24;
    for (unsigned fate = 0; fate < card::counter_fates; fate++) {
        for (unsigned i = 0; i <= fate; i++) {
            w.packets.write({0, 100, static_cast<card::counter_fate>(fate), false});
            w.call();
        }
    }
    w.packets.write(of_session(0, 9216));
    w.call();
    assert_value(w.ask(card::counter_read, 0).value, {9216, 1, 5});
    assert_value(w.ask(card::counter_read, at + card::counter_sent).value, {9316, 2, 0});
    assert_value(w.ask(card::counter_clear, at + card::counter_punted).value, {200, 2, 0});
    assert_value(w.ask(card::counter_read, at + card::counter_punted).value, {0, 0, 0});
    assert_value(w.ask(card::counter_read, at + card::counter_dropped).value, {300, 3, 0});
    assert_value(w.ask(card::counter_clear, 0).value, {9216, 1, 5});
    assert_value(w.ask(card::counter_read, at + card::counter_sent).value, {9316, 2, 0});
    for (const uint32_t beyond : {at + uint32_t{card::counter_fates}, 2 * at, 3 * at, UINT32_MAX - 1, UINT32_MAX}) {
        const card::counter_answer a = w.ask(card::counter_clear, beyond);
        assert_false(a.ok);
        assert_value(a.value, {0, 0, 0});
    }
    assert_value(w.ask(card::counter_read, at + card::counter_sent).value, {9316, 2, 0});

    w.state->total[card::counter_dropped] = {UINT64_MAX - 9, uint64_t(1) << 40};
    w.packets.write({0, 100, card::counter_dropped, false});
    w.call();
    assert_value(w.ask(card::counter_read, at + card::counter_dropped).value, {90, (uint64_t(1) << 40) + 1, 0});
    for (unsigned i = 0; i < card::counter_forward; i++)
        w.call();
    assert_int_equal(w.state->memory[0].bytes, 0);
    assert_int_equal(w.state->memory[0].packets_tick >> card::counter_tick_bits, 0);
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_totals),    cmocka_unit_test(test_limits), cmocka_unit_test(test_rate),
        cmocka_unit_test(test_ack_stall), cmocka_unit_test(test_random),
    };
    seed = sim::test_seed();
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
