/* SPDX-License-Identifier: Apache-2.0 */
/* Rewrite: what leaves must be, byte for byte, the frame with its fields changed one by one and the checksum computed afresh. */
#include "test_packet_reference.hpp"

#include "packet/punt_layout.h"
#include "packet/rewrite.hpp"

using reference::bytes;

static uint64_t seed;

struct output {
    card::action what; /* of the packet: forward, punt, drop */
    bytes frame;
    card::punt_info info;
};

/* Packets on their way into the stage, and what must come of them. */
struct traffic {
    std::vector<card::out_beat> in;
    std::vector<output> forwarded, punted;
    unsigned zero_before = 0, zero_after = 0, rewritten = 0;
};

static uint32_t random_delta(sim::random_source &random)
{
    static const uint32_t edges[] = {0, 1, 0xffff, 0x10000, 0xffff0000, 0xffffffff};
    return random.below(3) == 0 ? edges[random.below(6)] : static_cast<uint32_t>(random.bits());
}

static void add(traffic &t, const bytes &frame, const reference::packet &p, card::packet_verdict v)
{
    const size_t from = p.head.payload, to = from + p.head.payload_bytes;
    std::vector<card::beat> beats = reference::beats_of(frame);
    for (size_t i = 0; i < beats.size(); i++) {
        const size_t before = card::beat_bytes * i;
        card::out_beat b = {};
        b.data = beats[i];
        b.first = i == 0;
        b.from = static_cast<uint8_t>(std::min<size_t>(from > before ? from - before : 0, 64));
        b.to = static_cast<uint8_t>(std::min<size_t>(to > before ? to - before : 0, 64));
        if (b.from >= b.to)
            b.from = b.to = 0;
        if (v.what != card::action_session_transcode)
            b.to = 64; /* then it says nothing */
        if (b.data.last)
            b.verdict = v;
        t.in.push_back(b);
    }
}

static void random_payload(sim::random_source &random, bytes &frame, const reference::packet &p)
{
    const size_t from = p.head.payload;
    const uint64_t kind = random.below(6);
    for (size_t i = from; i < from + p.head.payload_bytes; i++)
        frame[i] = kind == 0 ? 0 : kind == 1 ? 0xff : static_cast<uint8_t>(random.bits());
}

/* A new payload such that the new checksum is 0. */
static void aim_at_zero(bytes &frame, const reference::packet &p, const card::rewrite_rule &rule)
{
    bytes done(frame);
    reference::rewrite(done, p, rule);
    uint32_t word = reference::get(frame, p.head.payload, 2) + reference::get(done, p.head.l4 + 16u, 2);
    reference::put(frame, p.head.payload, 2, (word & 0xffff) + (word >> 16));
}

static void add_random(traffic &t, sim::random_source &random, reference::maker &make, size_t length, double punts)
{
    const bytes frame = make.frame(length);
    const reference::packet p = reference::parse(frame, false, static_cast<uint32_t>(random.bits()));
    const card::headers &head = p.head;
    card::packet_verdict v = {};
    v.head = head;
    v.info.packet_id = head.packet_id;
    v.info.frame_bytes = head.frame_bytes;
    v.info.flow = random.bits();
    v.info.open_seq = random.bits();
    v.info.index = static_cast<uint32_t>(random.bits());
    v.info.next = static_cast<uint32_t>(random.bits());
    v.info.record_start = static_cast<uint32_t>(random.bits());
    v.info.seal_seq = static_cast<uint32_t>(random.bits());
    v.info.epoch = static_cast<uint16_t>(random.bits());
    v.info.rule = static_cast<uint16_t>(random.bits());
    v.info.lane = random.below(2) != 0;
    v.info.has_session = random.below(2) != 0;
    v.info.reason = head.reason != card::punt_none ? head.reason : card::punt_old;
    v.rule = {random_delta(random), random_delta(random), random_delta(random), random_delta(random),
              static_cast<int8_t>(random.below(4) == 0 ? 0 : static_cast<int>(random.below(29)) - 14)};
    v.rewrite = random.below(8) != 0;
    if (head.reason != card::punt_none || random.chance(punts))
        v.what = random.below(4) == 0 ? card::action_session_hold : card::action_punt;
    else if (random.below(8) == 0)
        v.what = random.below(2) == 0 ? card::action_drop : card::action_forward;
    else
        v.what = random.below(2) == 0 ? card::action_session_forward : card::action_session_transcode;

    bytes out(frame), in(frame);
    const bool session = v.what == card::action_session_forward || v.what == card::action_session_transcode;
    if (session && v.rewrite && head.proto == 6) {
        if (v.what == card::action_session_transcode) {
            random_payload(random, in, p);
            if (head.payload_bytes >= 2 && random.below(3) == 0)
                aim_at_zero(in, p, v.rule);
        }
        out = in;
        reference::rewrite(out, p, v.rule);
        t.rewritten++;
        t.zero_before += reference::get(frame, head.l4 + 16u, 2) == 0xffff;
        t.zero_after += reference::get(out, head.l4 + 16u, 2) == 0;
    }
    add(t, in, p, v);
    if (session || v.what == card::action_forward)
        t.forwarded.push_back({card::action_forward, out, {}});
    else if (v.what != card::action_drop)
        t.punted.push_back({card::action_punt, out, v.info});
}

static void check_punt(const bytes &got, const output &want)
{
    card::punt_info info = {};
    card_punt punt = {};
    assert_true(got.size() > card_punt_bytes);
    assert_true(card_punt_unpack(&punt, got.data()));
    info = want.info;
    assert_int_equal(punt.packet_id, info.packet_id);
    assert_int_equal(punt.index, info.index);
    assert_true(punt.flow == info.flow && punt.open_seq == info.open_seq);
    assert_int_equal(punt.next, info.next);
    assert_int_equal(punt.record_start, info.record_start);
    assert_int_equal(punt.seal_seq, info.seal_seq);
    assert_int_equal(punt.epoch, info.epoch);
    assert_int_equal(punt.rule, info.rule);
    assert_int_equal(punt.frame_bytes, info.frame_bytes);
    assert_int_equal(punt.reason, info.reason);
    assert_int_equal(punt.lane, info.lane);
    assert_int_equal(punt.has_session, info.has_session);
    assert_true(bytes(got.begin() + card_punt_bytes, got.end()) == want.frame);
}

/* Gives the cycles in which anything moved at the exits. */
static uint64_t run(const traffic &t, double idle, double pressure)
{
    sim::machine m(seed);
    hls::stream<card::out_beat> in("in");
    hls::stream<card::beat, card::packet_fifo_beats> fifo("packet_fifo");
    hls::stream<card::emit_job, card::packet_fifo_beats> jobs("jobs");
    hls::stream<card::beat> tx("tx"), punt("punt");
    card::payload_sum_state sum;
    card::emit_state out;
    std::vector<card::beat> forwarded, punted;
    uint64_t first = ~uint64_t{0}, last = 0;
    const auto note = [&] {
        first = std::min(first, m.now());
        last = m.now();
    };
    m.source("source", in, t.in, idle);
    m.add("payload_sum", card::payload_sum_depth, [&] { card::payload_sum(sum, in, fifo, jobs); }).stall(idle / 4);
    m.add("emit", card::emit_depth, [&] { card::emit(out, fifo, jobs, tx, punt); }).stall(pressure / 4);
    m.sink<card::beat>(
        "tx", tx,
        [&](const card::beat &b) {
            forwarded.push_back(b);
            note();
        },
        pressure);
    m.sink<card::beat>(
        "punt", punt,
        [&](const card::beat &b) {
            punted.push_back(b);
            note();
        },
        pressure);
    assert_true(m.run());

    size_t at = 0;
    for (const output &want : t.forwarded)
        assert_true(reference::frame_of(forwarded, at) == want.frame);
    assert_int_equal(at, forwarded.size());
    at = 0;
    for (const output &want : t.punted)
        check_punt(reference::frame_of(punted, at), want);
    assert_int_equal(at, punted.size());
    return last - first + 1;
}

static void test_random_packets(void **)
{
    sim::random_source random(seed);
    unsigned zero_before = 0, zero_after = 0, rewritten = 0;
    static const double part[][2] = {{0, 0}, {0, 0.5}, {0.5, 0}, {0.3, 0.3}};
    for (unsigned round = 0; round < 24; round++) {
        reference::maker make = {random, round % 3 == 0 ? 0.3 : 0};
        traffic t;
        for (unsigned i = 0; i < 1000; i++)
            add_random(t, random, make, random.below(2) == 0 ? 0 : random.between(60, 200), round % 2 == 0 ? 0.1 : 0);
        run(t, part[round % 4][0], part[round % 4][1]);
        zero_before += t.zero_before;
        zero_after += t.zero_after;
        rewritten += t.rewritten;
    }
    print_message("%u packets rewritten; checksum 0xffff before: %u, 0 after: %u\n", rewritten, zero_before, zero_after);
    assert_true(zero_before > 50 && zero_after > 500);
}

static void test_lengths(void **)
{
    sim::random_source random(seed + 1);
    reference::maker make = {random, 0};
    traffic t;
    for (size_t length = 60; length <= card::frame_bytes_max; length += random.between(1, 9))
        add_random(t, random, make, length, 0.02);
    run(t, 0, 0);
}

/* A forwarded packet costs as many cycles as it has beats, whatever stands before and behind it; a punted one costs one more. */
static void test_rate(void **)
{
    static const size_t lengths[] = {60, 64, 65, 128, 1514, 9216, 0};
    sim::random_source random(seed + 2);
    for (size_t length : lengths) {
        reference::maker make = {random, 0};
        traffic t;
        while (t.forwarded.size() < 300) {
            traffic one;
            add_random(one, random, make, length, 0);
            if (one.forwarded.empty())
                continue;
            t.in.insert(t.in.end(), one.in.begin(), one.in.end());
            t.forwarded.push_back(one.forwarded[0]);
        }
        size_t longest = 0;
        for (const output &o : t.forwarded)
            longest = std::max(longest, (o.frame.size() + card::beat_bytes - 1) / card::beat_bytes);
        /* a packet waits for its own end: behind a shorter one that is a gap at the exit, which shorter ones make up for */
        assert_in_range(run(t, 0, 0), t.in.size() - longest, t.in.size() + longest);
    }
    traffic punts;
    reference::maker make = {random, 0};
    while (punts.punted.size() < 300)
        add_random(punts, random, make, 60, 1);
    assert_in_range(run(punts, 0, 0), punts.in.size(), punts.in.size() + punts.punted.size() + 8);
}

/* RFC 1624: old and new words over all their edge values; the sum must be that of a full computation. */
static void test_checksum_edges(void **)
{
    static const uint16_t words[] = {0, 1, 0x7fff, 0x8000, 0xfffe, 0xffff};
    sim::random_source random(seed + 3);
    reference::maker make = {random, 0};
    bytes frame;
    reference::packet p;
    do {
        frame = make.frame(90);
        p = reference::parse(frame, false, 0);
    } while (p.head.reason != card::punt_none || p.head.proto != 6 || p.head.payload_bytes != 2);
    traffic t;
    for (uint16_t before : words)
        for (uint16_t after : words)
            for (uint16_t seq : words)
                for (uint16_t delta : words)
                    for (unsigned zero = 0; zero < 3; zero++) {
                        bytes f(frame);
                        reference::put(f, p.head.payload, 2, before);
                        reference::put(f, p.head.l4 + 4u, 4, seq);
                        reference::set_checksum(f, p);
                        if (zero != 0) { /* by way of the urgent pointer, which nothing changes */
                            const uint32_t word = reference::get(f, p.head.l4 + 18u, 2) + reference::get(f, p.head.l4 + 16u, 2);
                            reference::put(f, p.head.l4 + 18u, 2, (word & 0xffff) + (word >> 16));
                            reference::put(f, p.head.l4 + 16u, 2, zero == 1 ? 0 : 0xffff);
                        }
                        card::packet_verdict v = {};
                        v.head = reference::parse(f, false, 0).head;
                        assert_int_equal(v.head.reason, card::punt_none);
                        v.what = card::action_session_transcode;
                        v.rewrite = true;
                        v.rule.seq_delta = delta;
                        reference::put(f, p.head.payload, 2, after);
                        add(t, f, p, v);
                        reference::rewrite(f, p, v.rule);
                        t.forwarded.push_back({card::action_forward, f, {}});
                    }
    run(t, 0, 0);
}

int main()
{
    seed = sim::test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_packets),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_checksum_edges),
    };
    return cmocka_run_group_tests_name("hls packet rewrite", tests, nullptr, nullptr);
}
