/* SPDX-License-Identifier: Apache-2.0 */
/* The parser against two references that know nothing of each other, the one here and that of the lane's model: what it finds, why
 * it punts, and that a beat a cycle is its pace. */
#include "test_packet_reference.hpp"

#include "model.h"
#include "packet/parser.hpp"

using reference::bytes;

static uint64_t seed;

struct frame {
    bytes data;
    bool error;
};

struct seen {
    std::vector<card::beat> beats;
    std::vector<card::packet_key> keys;
    std::vector<card::headers> summaries;
};

/* What rx makes of it. */
static std::vector<card::beat> beats_of(const frame &f)
{
    if (f.data.size() <= card::frame_bytes_max)
        return reference::beats_of(f.data, f.error);
    return reference::beats_of(bytes(f.data.begin(), f.data.begin() + card::frame_bytes_max), true);
}

static std::vector<card::beat> beats_of(const std::vector<frame> &frames)
{
    std::vector<card::beat> all;
    for (const frame &f : frames) {
        const std::vector<card::beat> b = beats_of(f);
        all.insert(all.end(), b.begin(), b.end());
    }
    return all;
}

static void print_frame(const bytes &f)
{
    for (size_t i = 0; i < std::min<size_t>(f.size(), 256); i++)
        print_message("%02x%s", f[i], i % 32 == 31 ? "\n" : "");
    print_message("\n%zu bytes\n", f.size());
}

#define SAME(field)                                                                                                                \
    if (got.field != want.field) {                                                                                                 \
        print_frame(f.data);                                                                                                       \
        fail_msg("packet %zu: %s is %u, not %u (reason %u, %u)", i, #field, static_cast<unsigned>(got.field),                      \
                 static_cast<unsigned>(want.field), static_cast<unsigned>(s.summaries[i].reason),                                  \
                 static_cast<unsigned>(p.head.reason));                                                                            \
    }

/* In the words of the model. */
static card::headers of_model(const frame &f, const card::headers &numbers)
{
    const model_headers m = model_parse(f.data.data(), f.data.size(), f.error);
    card::headers h = {};
    h.packet_id = numbers.packet_id;
    h.frame_bytes = numbers.frame_bytes;
    h.keyed = numbers.keyed;
    h.reason = static_cast<card::punt_reason>(m.reason);
    h.l3 = m.l3;
    h.l4 = m.l4;
    h.payload = m.payload;
    h.payload_bytes = m.payload_bytes;
    h.payload_sum = model_sum(0, f.data.data() + m.payload, m.payload_bytes);
    h.sack = m.sack;
    h.sack_blocks = m.sack_blocks;
    h.timestamps = m.timestamps;
    h.seq = m.seq;
    h.ack = m.ack;
    h.flags = m.tcp_flags;
    h.version = m.flow.version;
    h.proto = m.flow.proto;
    return h;
}

static unsigned punts[64];

static void check(const std::vector<frame> &frames, const std::vector<card::beat> &in, const seen &s)
{
    assert_int_equal(s.keys.size(), frames.size());
    assert_int_equal(s.summaries.size(), frames.size());
    assert_int_equal(s.beats.size(), in.size());
    for (size_t i = 0; i < in.size(); i++)
        assert_true(reference::same(s.beats[i], in[i]));
    for (size_t i = 0; i < frames.size(); i++) {
        const frame &f = frames[i];
        const reference::packet p = reference::parse(f.data, f.error, static_cast<uint32_t>(i));
        for (const card::headers &want : {p.head, of_model(f, p.head)}) {
            const card::headers &got = s.summaries[i];
            SAME(reason);
            SAME(packet_id);
            SAME(frame_bytes);
            SAME(keyed);
            SAME(l3);
            SAME(l4);
            SAME(payload);
            SAME(payload_bytes);
            SAME(payload_sum);
            SAME(sack);
            SAME(sack_blocks);
            SAME(timestamps);
            SAME(seq);
            SAME(ack);
            SAME(flags);
            SAME(version);
            SAME(proto);
        }
        punts[p.head.reason]++;
        const card::packet_key &got = s.keys[i], &want = p.key;
        SAME(valid);
        SAME(key.sport);
        SAME(key.dport);
        SAME(key.proto);
        SAME(key.version);
        assert_memory_equal(got.key.src, want.key.src, 16);
        assert_memory_equal(got.key.dst, want.key.dst, 16);
    }
}

/* Beside the machine: as fast as it goes. */
static void parse_at_once(const std::vector<frame> &frames)
{
    const std::vector<card::beat> in = beats_of(frames);
    hls::stream<card::beat> from("in"), to("out");
    hls::stream<card::packet_key> keys("keys");
    hls::stream<card::headers> summaries("summaries");
    card::parser_state state;
    seen s;
    for (const card::beat &b : in) {
        from.write(b);
        card::parser(state, from, to, keys, summaries);
        s.beats.push_back(to.read());
        if (!keys.empty())
            s.keys.push_back(keys.read());
        if (!summaries.empty())
            s.summaries.push_back(summaries.read());
        assert_true(b.last == (s.summaries.size() == s.keys.size() && state.before == 0));
    }
    check(frames, in, s);
}

/* In the machine; gives the cycles from the first to the last beat out. */
static uint64_t parse_in_cycles(const std::vector<frame> &frames, double idle, double pressure)
{
    const std::vector<card::beat> in = beats_of(frames);
    sim::machine m(seed);
    hls::stream<card::beat> from("in"), to("out");
    hls::stream<card::packet_key> keys("keys");
    hls::stream<card::headers> summaries("summaries");
    card::parser_state state;
    seen s;
    uint64_t first = 0, last = 0;
    m.source("beats", from, in, idle);
    m.add("parser", card::parser_depth, [&] { card::parser(state, from, to, keys, summaries); }).stall(idle / 4);
    m.sink<card::beat>(
        "out", to,
        [&](const card::beat &b) {
            first = s.beats.empty() ? m.now() : first;
            last = m.now();
            s.beats.push_back(b);
        },
        pressure);
    m.sink("keys", keys, s.keys, pressure);
    m.sink("summaries", summaries, s.summaries, pressure);
    assert_true(m.run());
    check(frames, in, s);
    return last - first + 1;
}

static void test_random_frames(void **)
{
    sim::random_source random(seed);
    for (double odd : {0.0, 0.5, 1.0}) {
        reference::maker make = {random, odd};
        for (unsigned round = 0; round < 20; round++) {
            std::vector<frame> frames;
            for (unsigned i = 0; i < 2000; i++)
                frames.push_back({make.frame(), odd > 0 && random.below(100) == 0});
            parse_at_once(frames);
        }
    }
    static const unsigned all[] = {card::punt_none,       card::punt_not_ip,   card::punt_truncated,
                                   card::punt_ip_header,  card::punt_fragment, card::punt_extension,
                                   card::punt_tcp_header, card::punt_checksum, card::punt_port_error};
    for (unsigned reason : all) {
        print_message("reason %u: %u packets\n", reason, punts[reason]);
        assert_true(punts[reason] > 100);
    }
}

/* Every length of a frame that there is, and beyond. */
static void test_lengths(void **)
{
    sim::random_source random(seed + 1);
    reference::maker make = {random, 0};
    std::vector<frame> frames;
    for (size_t length = 1; length <= card::frame_bytes_max + 70; length++) {
        bytes f = make.frame(length);
        if (length < 100 && f.size() > length)
            f.resize(length);
        frames.push_back({f, false});
        if (length % 64 < 2)
            frames.push_back({f, true});
    }
    parse_at_once(frames);
}

/* Frames, most of them good, cut off behind every byte; and with every single bit of the headers changed. */
static void test_truncations_and_flips(void **)
{
    sim::random_source random(seed + 2);
    std::vector<frame> frames;
    for (unsigned sample = 0; sample < 60; sample++) {
        reference::maker make = {random, sample < 20 ? 1.0 : 0.0};
        const bytes f = make.frame(80 + 5 * sample);
        for (size_t length = 1; length <= f.size(); length++)
            frames.push_back({bytes(f.begin(), f.begin() + static_cast<long>(length)), false});
        for (size_t bit = 0; bit < 8 * std::min<size_t>(f.size(), 256); bit++) {
            frames.push_back({f, false});
            frames.back().data[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
        }
    }
    parse_at_once(frames);
}

static void test_idle_and_pressure(void **)
{
    static const double part[][2] = {{0, 0.5}, {0.5, 0}, {0.3, 0.3}, {0.05, 0.8}};
    sim::random_source random(seed + 3);
    for (const auto &p : part) {
        reference::maker make = {random, 0.4};
        std::vector<frame> frames;
        for (unsigned i = 0; i < 1500; i++)
            frames.push_back({make.frame(random.below(2) == 0 ? 0 : 60), random.below(50) == 0});
        parse_in_cycles(frames, p[0], p[1]);
    }
}

/* A beat a cycle, for frames of one beat and for those of many. */
static void test_rate(void **)
{
    static const size_t lengths[] = {60, 64, 65, 128, 256, 257, 1514, 9216, 0};
    sim::random_source random(seed + 4);
    for (size_t length : lengths) {
        reference::maker make = {random, 0.2};
        std::vector<frame> frames;
        for (unsigned i = 0; i < 400; i++)
            frames.push_back({make.frame(length), false});
        const size_t beats = beats_of(frames).size();
        assert_int_equal(parse_in_cycles(frames, 0, 0), beats);
    }
}

int main()
{
    seed = sim::test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_frames),     cmocka_unit_test(test_lengths), cmocka_unit_test(test_truncations_and_flips),
        cmocka_unit_test(test_idle_and_pressure), cmocka_unit_test(test_rate),
    };
    return cmocka_run_group_tests_name("hls packet parser", tests, nullptr, nullptr);
}
