// SPDX-License-Identifier: Apache-2.0
/* Every command of the card's control kernel, its rings and events, on the bench of test_control_bench.hpp. */
#include "test_control_bench.hpp"

using namespace card;
using namespace control_test;

static void test_no_op(void **)
{
    bench b;
    const card_completion done = b.expect(card_ok, command_of(card_no_op));
    assert_int_equal(done.value[0], card_interface_version);
    assert_int_equal(done.value[1], sessions);
    assert_int_equal(done.value[2], rules_max);
}

static void test_install_and_remove(void **)
{
    bench b(0.2);
    sim::random_source random(seed);
    for (uint8_t lane = 0; lane < 2; lane++) {
        lane_bench &l = b.lane(lane);
        const session_state s = random_session(random), other = random_session(random);
        for (unsigned i = 0; i < 2; i++) {
            b.expect(card_ok, install_of(lane, 7, s));
            assert_memory_equal(&l.memory[7], &s, sizeof s);
            b.expect(card_ok, install_of(lane, sessions - 1, other));
            assert_memory_equal(&l.memory[sessions - 1], &other, sizeof other);
            b.expect(card_installed, install_of(lane, 7, other));
            assert_memory_equal(&l.memory[7], &s, sizeof s);
            nothing_left_of_commands(b);

            for (unsigned packet = 0; packet < 5; packet++)
                l.packets.write(counter_packet{7, 100, counter_sent, true});
            b.cycles(200);
            l.when_fetched = [&](const fetch_command &) { assert_memory_equal(&l.memory[7], &s, sizeof s); };
            const card_completion done = b.expect(card_ok, command_of(card_remove, lane, 7));
            l.when_fetched = nullptr;
            assert_int_equal(done.value[0], 500);
            assert_int_equal(done.value[1], 5);
            assert_true(zero(&l.memory[7], sizeof s)); /* G13 */
            assert_memory_equal(&l.memory[sessions - 1], &other, sizeof other);
            assert_int_equal(l.fetched.back().kind, fetch_remove);
            assert_int_equal(l.fetched.back().index, 7);
            b.expect(card_not_installed, command_of(card_remove, lane, 7));
            b.expect(card_ok, command_of(card_remove, lane, sessions - 1));
            assert_int_equal(b.lane(lane ^ 1).fetched.size(), lane == 0 ? 0 : 4);
        }
    }
}

/* The set goes to the chip first, then to memory, and then the slot is let go (hazard KEYS_RACE of fetch). */
static void test_keys(void **)
{
    bench b(0.2);
    sim::random_source random(seed);
    session_state s = random_session(random);
    b.expect(card_ok, install_of(1, 3, s));
    lane_bench &l = b.lane_1;
    for (unsigned round = 0; round < 4; round++) {
        const uint8_t set = round & 1;
        const key_set k = random_session(random).keys.set[0];
        unsigned began = 0, ended = 0;
        l.when_fetched = [&](const fetch_command &c) {
            assert_int_equal(c.index, 3);
            if (c.kind == fetch_keys) {
                assert_int_equal(c.set, set);
                assert_memory_equal(&l.memory[3], &s, sizeof s);
                began++;
            } else {
                assert_int_equal(c.kind, fetch_keys_end);
                assert_memory_equal(&l.memory[3].keys.set[set], &k, sizeof k);
                ended++;
            }
        };
        b.expect(card_ok, keys_of(1, 3, set, k));
        s.keys.set[set] = k;
        assert_int_equal(began + ended, 2);
        assert_memory_equal(&l.memory[3], &s, sizeof s);
        assert_memory_equal(&l.loaded.back(), &k, sizeof k);
        nothing_left_of_commands(b);
    }
    b.expect(card_not_installed, keys_of(0, 3, 0, s.keys.set[0]));
}

static void test_table(void **)
{
    bench b(0.1);
    sim::random_source random(seed);
    b.expect(card_ok, install_of(0, 5, random_session(random)));
    const table_slot slot = slot_of(5, action_session_transcode);
    assert_int_equal(b.expect(card_ok, table_of(0, 4711, slot)).value[0], 0);
    assert_memory_equal(&b.lane_0.table->way[0][4711], &slot, sizeof slot);
    assert_true(zero(&b.lane_1.table->way[0][4711], sizeof slot));
    b.expect(card_not_installed, table_of(0, 4711, slot_of(6, action_session_forward)));
    b.expect(card_not_installed, table_of(1, 4711, slot));
    b.expect(card_ok, table_of(1, table_slots - 1, slot_of(6, action_session_hold))); /* before it is installed */
    const table_slot held = slot_of(6, action_session_hold);
    assert_memory_equal(&b.lane_1.table->stash[table_stash - 1], &held, sizeof held);
    b.expect(card_bad_index, table_of(0, table_slots, slot));
    b.expect(card_bad_value, table_of(0, 1, slot_of(sessions, action_session_hold)));
    b.expect(card_bad_value, table_of(0, 1, slot_of(5, static_cast<action>(6))));

    /* So many lookups were before it, says the table; a removal waits for as many. */
    for (unsigned i = 0; i < 12; i++)
        b.lane_0.keys.write(packet_key{{{}, {}, 1, 2, 6, 4}, i % 3 != 0});
    b.cycles(300);
    assert_int_equal(b.expect(card_ok, table_of(0, 4711, table_slot())).value[0], 8);
    assert_true(zero(&b.lane_0.table->way[0][4711], sizeof slot));
    for (unsigned i = 0; i < 3; i++)
        b.lane_0.keys.write(packet_key{{{}, {}, 1, 2, 6, 4}, true});
    b.cycles(300);
    b.expect(card_ok, command_of(card_remove, 0, 5));
    assert_int_equal(b.lane_0.fetched.back().after, 11);

    /* A new hash. */
    card_command c = command_of(card_hash_seed, 1);
    for (uint8_t i = 0; i < 16; i++)
        c.payload[i] = static_cast<uint8_t>(i + 1);
    b.expect(card_ok, c);
    assert_true(zero(b.lane_1.table->stash, sizeof b.lane_1.table->stash));
    assert_int_equal(b.lane_1.table->expand.seed[0], 0x0807060504030201);
    assert_int_equal(b.lane_1.table->expand.seed[1], 0x100f0e0d0c0b0a09);
}

static card_rule some_rule()
{
    card_rule r = {};
    r.src[0] = 10;
    r.src_mask[0] = 0xff;
    r.dst[15] = 0x30;
    r.dst_mask[15] = 0xf0;
    r.sport_min = 1;
    r.sport_max = 0xffff;
    r.dport_min = 443;
    r.dport_max = 444;
    r.proto = 6;
    r.version = 4;
    r.action = action_drop;
    r.valid = 1;
    return r;
}

static void test_rules(void **)
{
    bench b(0.1);
    b.expect(card_ok, rule_of(1, 255, some_rule()));
    const rule &r = b.lane_1.rules->rules[255];
    assert_true(r.valid);
    assert_int_equal(r.src[0], 10);
    assert_int_equal(r.src_mask[0], 0xff);
    assert_int_equal(r.dst[1], UINT64_C(0x30) << 56);
    assert_int_equal(r.dst_mask[1], UINT64_C(0xf0) << 56);
    assert_int_equal(r.sport_min, 1);
    assert_int_equal(r.sport_max, 0xffff);
    assert_int_equal(r.dport_min, 443);
    assert_int_equal(r.dport_max, 444);
    assert_int_equal(r.proto, 6);
    assert_int_equal(r.version, 4);
    assert_false(r.any_proto);
    assert_int_equal(r.what, action_drop);
    assert_false(b.lane_0.rules->rules[255].valid);
    b.expect(card_bad_index, rule_of(1, 256, some_rule()));

    card_command c = command_of(card_rule_default, 1);
    c.set = action_forward;
    b.expect(card_ok, c);
    assert_int_equal(b.lane_1.rules->otherwise, action_forward);
    assert_int_equal(b.lane_0.rules->otherwise, action_punt);
    c.set = action_session_forward;
    b.expect(card_bad_value, c);
}

static void test_counters_and_limit(void **)
{
    bench b;
    sim::random_source random(seed);
    b.expect(card_ok, install_of(0, 9, random_session(random)));
    for (unsigned round = 1; round < 4; round++) {
        for (unsigned i = 0; i < 3; i++)
            b.lane_0.packets.write(counter_packet{9, 1000, counter_sent, true});
        b.cycles(200);
        const card_completion done = b.expect(card_ok, command_of(card_counters, 0, 9));
        assert_int_equal(done.value[0], 3000 * round);
        assert_int_equal(done.value[1], 3 * round);
    }
    b.expect(card_not_installed, command_of(card_counters, 1, 9));
    for (uint64_t limit : {uint64_t{512}, uint64_t{5000}, uint64_t{seal_limit_default}, uint64_t{511},
                           uint64_t{seal_limit_default} + 1, UINT64_C(0x100001000)}) {
        card_command c = command_of(card_seal_limit, 1);
        c.value = limit;
        const bool good = limit >= 512 && limit <= seal_limit_default;
        b.expect(good ? card_ok : card_bad_value, c);
    }
    b.cycles(20);
    assert_int_equal(b.lane_1.limits.size(), 3);
    assert_int_equal(b.lane_1.limits[1], 5000);
    assert_true(b.lane_0.limits.empty());
}

/* They need no session, are of one lane each, and have an index that no other command takes. */
static void test_totals(void **)
{
    bench b;
    sim::random_source random(seed);
    for (uint8_t lane = 0; lane < 2; lane++) {
        hls::stream<counter_packet, 16> &packets = b.lane(lane).packets;
        packets.write(counter_packet{3, 9000, counter_sent, true});
        packets.write(counter_packet{3, 60, counter_sent, false});
        packets.write(counter_packet{3, 70, counter_punted, false});
        for (unsigned i = 0; i < 3u + lane; i++)
            packets.write(counter_packet{3, 80, counter_dropped, false});
    }
    b.cycles(200);
    for (unsigned round = 0; round < 2; round++) { /* reading changes nothing */
        for (uint8_t lane = 0; lane < 2; lane++) {
            const uint64_t drops = 3u + lane;
            const uint64_t want[3][2] = {{9060, 2}, {70, 1}, {80 * drops, drops}};
            for (uint32_t i = 0; i < 3; i++) {
                const card_completion done = b.expect(card_ok, command_of(card_counters, lane, card_total_sent + i));
                assert_int_equal(done.value[0], want[i][0]);
                assert_int_equal(done.value[1], want[i][1]);
                assert_int_equal(done.value[2], 0);
            }
        }
    }
    for (const uint32_t index : {uint32_t{sessions}, uint32_t{sessions_max} - 1, uint32_t{card_total_end},
                                 2 * uint32_t{sessions_max}, uint32_t{sessions_max} + (UINT32_C(1) << 31), UINT32_MAX})
        b.expect(card_bad_index, command_of(card_counters, 0, index));
    for (uint32_t total = card_total_sent; total < card_total_end; total++) {
        b.expect(card_bad_index, install_of(0, total, random_session(random)));
        b.expect(card_bad_index, command_of(card_remove, 0, total));
        b.expect(card_bad_index, keys_of(0, total, 0, random_session(random).keys.set[0]));
        b.expect(card_bad_lane, command_of(card_counters, 2, total));
        card_command c = command_of(card_counters, 0, total);
        c.zero_2 = 1;
        b.expect(card_bad_value, c);
    }
    /* Removing the session of that index leaves them alone. */
    b.expect(card_ok, install_of(0, 3, random_session(random)));
    b.expect(card_ok, command_of(card_remove, 0, 3));
    assert_int_equal(b.expect(card_ok, command_of(card_counters, 0, card_total_sent)).value[1], 2);
}

/* Each wrong in one thing, and nothing has changed by it. */
static void test_malformed(void **)
{
    struct wrong {
        const char *what;
        card_status status;
        std::function<void(card_command &)> spoil;
    };
    const wrong wrong_commands[] = {
        {"sequence", card_bad_sequence, [](card_command &c) { c.sequence = 1; }},
        {"opcode 0", card_bad_opcode, [](card_command &c) { c.opcode = 0; }},
        {"opcode 12", card_bad_opcode, [](card_command &c) { c.opcode = card_opcode_last + 1; }},
        {"opcode 255", card_bad_opcode, [](card_command &c) { c.opcode = 255; }},
        {"lane", card_bad_lane, [](card_command &c) { c.lane = 2; }},
        {"index", card_bad_index, [](card_command &c) { c.index = sessions; }},
        {"index", card_bad_index, [](card_command &c) { c.index = 0xffffffff; }},
        {"zero", card_bad_value, [](card_command &c) { c.zero = 1; }},
        {"zero_2", card_bad_value, [](card_command &c) { c.zero_2 = 1; }},
        {"zero_3", card_bad_value, [](card_command &c) { c.zero_3[39] = 1; }},
        {"zero_4", card_bad_value, [](card_command &c) { c.zero_4[0] = 1; }},
    };
    struct wrong_session {
        const char *what;
        std::function<void(key_state &k, track_state &t, finish_state &f)> spoil;
    };
    const wrong_session wrong_sessions[] = {
        {"a seal number above every limit",
         [](key_state &, track_state &t, finish_state &) { t.seal_seq = seal_limit_default + 1; }},
        {"long_keys", [](key_state &k, track_state &, finish_state &) { k.set[0].long_keys = 4; }},
        {"long_keys", [](key_state &k, track_state &, finish_state &) { k.set[1].long_keys = 4; }},
        {"window_shift", [](key_state &k, track_state &, finish_state &) { k.window_shift = 15; }},
        {"window_shift", [](key_state &k, track_state &, finish_state &) { k.window_shift = -128; }},
        {"reserved", [](key_state &k, track_state &, finish_state &) { k.reserved[4] = 1; }},
        {"two meanings", [](key_state &, track_state &t, finish_state &) { t.flags |= track_next | track_previous; }},
        {"fragment", [](key_state &, track_state &t, finish_state &) { t.next += 5, t.fragment = 16; }},
        {"fragment", [](key_state &, track_state &t, finish_state &) { t.next += 5, t.fragment = 16402; }},
        {"record is over", [](key_state &, track_state &t, finish_state &) { t.next += 105, t.fragment = 100; }},
        {"next is before", [](key_state &, track_state &t, finish_state &) { t.next--, t.fragment = 100; }},
        {"ahead of a header", [](key_state &, track_state &t, finish_state &) { t.flags |= track_ahead; }},
        {"ahead too far",
         [](key_state &, track_state &t, finish_state &) {
             t.next += 5, t.fragment = 300, t.flags |= track_ahead;
             t.ahead_from = 20, t.ahead_to = 306;
         }},
        {"ring", [](key_state &, track_state &t, finish_state &) { t.ring[1] = 100; }},
        {"ring", [](key_state &, track_state &t, finish_state &) { t.ring[0] = 16407; }},
        {"ring_new", [](key_state &, track_state &t, finish_state &) { t.ring_new = 3; }},
        {"tail", [](key_state &, track_state &, finish_state &f) { f.tail_end = 0x4100; }},
    };
    bench b;
    sim::random_source random(seed);
    const session_state sound = random_session(random);
    const card_command good = install_of(0, 1, sound);
    const auto refuses = [&b](const char *what, card_status status, const card_command &c) {
        const card_completion done = b.run(c);
        if (done.status != status)
            fail_msg("%s: status %u", what, done.status);
        nothing_left_of_commands(b);
    };
    for (const wrong &w : wrong_commands) {
        card_command c = good;
        w.spoil(c);
        refuses(w.what, w.status, c);
    }
    for (const wrong_session &w : wrong_sessions) {
        session_state s = sound;
        w.spoil(s.keys, s.track, s.finish);
        refuses(w.what, card_bad_value, install_of(0, 1, s));
    }
    struct wrong_rule {
        card_status status;
        std::function<void(card_rule &)> spoil;
    };
    const wrong_rule wrong_rules[] = {
        {card_bad_value, [](card_rule &r) { r.version = 5; }},    {card_bad_value, [](card_rule &r) { r.action = 3; }},
        {card_bad_value, [](card_rule &r) { r.any_proto = 2; }},  {card_bad_value, [](card_rule &r) { r.valid = 2; }},
        {card_bad_value, [](card_rule &r) { r.zero[2] = 1; }},    {card_bad_value, [](card_rule &r) { r.src[1] = 1; }},
        {card_bad_value, [](card_rule &r) { r.dst[15] = 0x31; }},
    };
    for (const wrong_rule &w : wrong_rules) {
        card_rule r = some_rule();
        w.spoil(r);
        b.expect(w.status, rule_of(0, 3, r));
    }
    for (size_t i = 0; i < b.lane_0.memory.size(); i++)
        assert_true(zero(&b.lane_0.memory[i], sizeof(session_state)));
    assert_true(b.lane_0.fetched.empty());
    assert_true(zero(b.lane_0.rules.get(), sizeof(rule_table_state)));
    assert_true(zero(b.state->installed, sizeof b.state->installed));
    b.expect(card_ok, good);
}

/* Whatever lies in the ring, each command gets its completion, and the next good one is obeyed. */
static void test_random_commands(void **)
{
    bench b;
    sim::random_source random(seed);
    unsigned good = 0;
    for (unsigned i = 0; i < 3000; i++) {
        card_command c;
        random.fill(&c, sizeof c);
        c.sequence = random.below(8) == 0 ? c.sequence : 0;
        if (random.below(4) != 0) {
            const uint8_t opcodes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
            const card_command plain = command_of(static_cast<card_opcode>(opcodes[random.below(sizeof opcodes)]),
                                                  static_cast<uint8_t>(random.below(3)), static_cast<uint32_t>(random.below(300)));
            const session_state s = random_session(random);
            memcpy(&c, &plain, offsetof(card_command, payload));
            memset(c.zero_4, 0, sizeof c.zero_4);
            memcpy(c.payload, &s, sizeof s);
            c.set = static_cast<uint8_t>(random.below(3));
            c.value = random.below(100000);
        } else if (c.opcode == card_hash_seed || c.opcode == card_reset) {
            c.opcode = 0; /* those take long */
        }
        good += b.run(c).status == card_ok;
        nothing_left_of_commands(b);
    }
    assert_true(good > 300);
    b.expect(card_ok, command_of(card_no_op));
}

/* Many commands at a time, over the end of the ring and of the numbers. */
static void test_command_ring(void **)
{
    for (uint32_t first : {0u, 0xfffffff0u}) {
        bench b(0.2);
        sim::random_source random(seed);
        b.set_numbers(first);
        for (unsigned round = 0; round < 30; round++) {
            const unsigned many = static_cast<unsigned>(random.between(1, command_entries));
            for (unsigned i = 0; i < many; i++)
                b.post(command_of(i % 3 == 2 ? card_counters : card_no_op));
            for (unsigned i = 0; i < many; i++)
                assert_int_equal(b.next_completion().status, i % 3 == 2 ? card_not_installed : card_ok);
        }
    }
}

static event event_of(uint8_t lane, uint32_t number)
{
    event e = {};
    e.kind = event_alert;
    e.lane = lane;
    e.detail = 0x1234;
    e.epoch = 0x5678;
    e.index = number;
    e.packet_id = number + 1;
    e.flow = UINT64_C(0x1122334455667788) + number;
    e.open_seq = UINT64_C(0x99aabbccdd) + number;
    e.tcp_seq = 0xabcdef01;
    return e;
}

static void write_events(bench &b, uint8_t lane, uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        b.lane(lane).events.write(event_of(lane, first + i));
        b.cycles(200); /* however long it stalls */
    }
}

static void test_events(void **)
{
    for (uint32_t first : {0u, 0xfffffff8u}) {
        bench b(0.1);
        card_event e;
        b.set_numbers(first);
        assert_false(b.next_event(e));
        write_events(b, 1, 77, 1);
        assert_true(b.next_event(e));
        assert_int_equal(e.kind, event_alert);
        assert_int_equal(e.lane, 1);
        assert_int_equal(e.detail, 0x1234);
        assert_int_equal(e.epoch, 0x5678);
        assert_int_equal(e.index, 77);
        assert_int_equal(e.packet_id, 78);
        assert_int_equal(e.flow, UINT64_C(0x1122334455667788) + 77);
        assert_int_equal(e.open_seq, UINT64_C(0x99aabbccdd) + 77);
        assert_int_equal(e.tcp_seq, 0xabcdef01);
        assert_int_equal(e.lost, 0);
        assert_true(zero(e.zero_2, sizeof e.zero_2));
        b.cycles(200);

        /* An overrun: 24 of 40 are lost; what was written stays; the next one says how many. */
        write_events(b, 0, 0, 40);
        for (uint32_t i = 0; i < 5; i++) {
            assert_true(b.next_event(e));
            assert_int_equal(e.index, i);
            assert_int_equal(e.lost, 0);
        }
        b.cycles(200);
        write_events(b, 0, 100, 5);
        write_events(b, 0, 200, 3);
        for (uint32_t i = 5; i < 16; i++) {
            assert_true(b.next_event(e));
            assert_int_equal(e.index, i);
            assert_int_equal(e.lost, 0);
        }
        for (uint32_t i = 0; i < 5; i++) {
            assert_true(b.next_event(e));
            assert_int_equal(e.index, 100 + i);
            assert_int_equal(e.lost, i == 0 ? 24 : 0);
        }
        assert_false(b.next_event(e));
        b.cycles(200);
        write_events(b, 1, 300, 1);
        assert_true(b.next_event(e));
        assert_int_equal(e.index, 300);
        assert_int_equal(e.lost, 3);
    }
}

/* Both lanes at once: each in order, none starves, none waits for the host. */
static void test_events_of_both_lanes(void **)
{
    bench b;
    sim::random_source random(seed);
    uint32_t sent[2] = {0, 0}, got[2] = {0, 0}, lost = 0;
    card_event e;
    const auto take = [&] {
        while (b.next_event(e)) {
            lost += e.lost;
            assert_true(e.index >= got[e.lane]);
            got[e.lane] = e.index + 1;
        }
    };
    unsigned read = 0;
    for (unsigned i = 0; i < 20000; i++) {
        for (uint8_t lane = 0; lane < 2; lane++) {
            assert_false(b.lane(lane).events.full());
            if (random.chance(0.3))
                b.lane(lane).events.write(event_of(lane, sent[lane]++));
        }
        b.cycles(1);
        if (random.chance(i % 4000 < 2000 ? 0.5 : 0.01)) {
            take();
            read++;
        }
    }
    b.cycles(200);
    take();
    b.cycles(200);
    write_events(b, 0, sent[0]++, 1);
    take();
    assert_true(got[0] == sent[0] && lost > 100);
}

/* G13: of all that came to the host in a session's life nothing is a piece of a key. */
static void test_keys_never_come_back(void **)
{
    bench b;
    sim::random_source random(seed);
    std::vector<std::vector<uint8_t>> secrets;
    const auto remember = [&](const void *from, size_t bytes) {
        secrets.emplace_back();
        keep(secrets.back(), from, bytes);
    };
    for (uint32_t i = 0; i < 20; i++) {
        const uint8_t lane = i & 1;
        const session_state s = random_session(random);
        const key_set k = random_session(random).keys.set[0];
        remember(&s.keys.set, sizeof s.keys.set);
        remember(&k, sizeof k);
        b.expect(card_ok, install_of(lane, i, s));
        b.expect(card_ok, keys_of(lane, i, static_cast<uint8_t>(random.below(2)), k));
        card_command bad = install_of(lane, i + 100, s);
        bad.zero = 1;
        b.expect(card_bad_value, bad);
        b.expect(card_ok, table_of(lane, i, slot_of(i, action_session_transcode)));
        b.expect(card_ok, command_of(card_counters, lane, i));
        write_events(b, lane, i, 1);
        card_event e;
        assert_true(b.next_event(e));
        b.expect(card_ok, table_of(lane, i, table_slot()));
        b.expect(card_ok, command_of(card_remove, lane, i));
        nothing_left_of_commands(b);
    }
    for (const std::vector<uint8_t> &secret : secrets) {
        for (size_t at = 0; at + 5 <= secret.size(); at++) {
            if (!zero(&secret[at], 5))
                assert_true(std::search(b.seen.begin(), b.seen.end(), secret.begin() + static_cast<long>(at),
                                        secret.begin() + static_cast<long>(at) + 5) == b.seen.end());
        }
    }
}

static void test_reset(void **)
{
    bench b(0.05);
    sim::random_source random(seed);
    for (uint32_t i = 0; i < 30; i++) {
        const uint8_t lane = i & 1;
        b.expect(card_ok, install_of(lane, i, random_session(random)));
        b.expect(card_ok, table_of(lane, 1000 * i, slot_of(i, action_session_transcode)));
        b.expect(card_ok, rule_of(lane, i, some_rule()));
        b.lane(lane).packets.write(counter_packet{i, 100, counter_sent, true});
        b.lane(lane).packets.write(counter_packet{0, 60, i % 3 == 0 ? counter_punted : counter_dropped, false});
    }
    for (uint8_t lane = 0; lane < 2; lane++) {
        card_command c = command_of(card_rule_default, lane);
        c.set = action_drop;
        b.expect(card_ok, c);
        lane_bench &l = b.lane(lane);
        for (unsigned i = 0; i < 9; i++)
            l.keys.write(packet_key{{{}, {}, 1, 2, 6, 4}, true});
        l.fetched.clear();
        /* When the chip is emptied the table is already, so nothing new comes. */
        l.when_fetched = [&l](const fetch_command &f) {
            assert_int_equal(f.kind, fetch_reset);
            assert_int_equal(f.after, 9);
            assert_true(zero(l.table->way, sizeof l.table->way));
        };
    }
    card_command c = command_of(card_reset);
    random.fill(c.payload, 32);
    uint64_t seeds[4];
    memcpy(seeds, c.payload, sizeof seeds);
    b.expect(card_ok, c);
    nothing_left_of_commands(b);
    b.cycles(200);
    for (uint8_t lane = 0; lane < 2; lane++) {
        lane_bench &l = b.lane(lane);
        assert_int_equal(l.fetched.size(), 1);
        for (size_t i = 0; i < l.memory.size(); i++)
            assert_true(zero(&l.memory[i], sizeof(session_state)));
        assert_true(zero(l.table->way, sizeof l.table->way));
        assert_true(zero(l.table->stash, sizeof l.table->stash));
        assert_int_equal(l.table->expand.seed[0], seeds[2 * lane]);
        assert_int_equal(l.table->expand.seed[1], seeds[2 * lane + 1]);
        for (const rule &r : l.rules->rules)
            assert_false(r.valid);
        assert_int_equal(l.rules->otherwise, action_punt);
        assert_int_equal(l.limits.back(), seal_limit_default);
    }
    assert_true(zero(b.state->installed, sizeof b.state->installed));
    b.lane_0.when_fetched = nullptr;
    for (uint8_t lane = 0; lane < 2; lane++) {
        for (uint32_t total = card_total_sent; total < card_total_end; total++) {
            const card_completion done = b.expect(card_ok, command_of(card_counters, lane, total));
            assert_int_equal(done.value[0], 0);
            assert_int_equal(done.value[1], 0);
        }
    }
    b.expect(card_not_installed, command_of(card_counters, 0, 0));
    b.expect(card_ok, install_of(0, 0, random_session(random)));
    assert_int_equal(b.expect(card_ok, command_of(card_counters, 0, 0)).value[1], 0);
}

int main()
{
    seed = sim::test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_op),
        cmocka_unit_test(test_install_and_remove),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_counters_and_limit),
        cmocka_unit_test(test_totals),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_random_commands),
        cmocka_unit_test(test_command_ring),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_events_of_both_lanes),
        cmocka_unit_test(test_keys_never_come_back),
        cmocka_unit_test(test_reset),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
