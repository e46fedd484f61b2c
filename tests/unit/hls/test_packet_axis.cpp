/* SPDX-License-Identifier: Apache-2.0 */
/* The ports: words to beats and back, whatever a port may send; and whole packets from two streams in turn. */
#include "test_packet_reference.hpp"

#include "packet/axis.hpp"

using reference::bytes;

static uint64_t seed;

/* A word by single bits, as the port's document has it: byte i is data(8i+7, 8i), valid if keep[i]. */
static card::axis_word word(const uint8_t *data, uint64_t keep, bool last, bool user)
{
    card::axis_word w;
    for (int i = 0; i < 64; i++) {
        w.data.range(8 * i + 7, 8 * i) = data[i];
        w.keep[i] = (keep >> i & 1) != 0;
    }
    w.strb = w.keep;
    w.last = last;
    w.user = user;
    return w;
}

static void append_words(std::vector<card::axis_word> &to, const bytes &frame, bool damaged, sim::random_source &random)
{
    for (size_t at = 0; at < frame.size(); at += 64) {
        const size_t n = std::min<size_t>(64, frame.size() - at);
        const bool last = at + n == frame.size();
        uint8_t data[64];
        random.fill(data, sizeof(data)); /* null bytes may be anything */
        memcpy(data, frame.data() + at, n);
        to.push_back(word(data, n == 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1, last, last ? damaged : random.below(2) != 0));
    }
}

static std::vector<card::beat> receive(const std::vector<card::axis_word> &words, double idle, double pressure, uint64_t *cycles)
{
    sim::machine m(seed);
    hls::stream<card::axis_word> in("in");
    hls::stream<card::beat> out("out");
    card::rx_state state;
    std::vector<card::beat> got;
    m.source("port", in, words, idle);
    m.add("rx", card::rx_depth, [&] { card::rx(state, in, out); }).stall(idle / 2);
    m.sink("out", out, got, pressure);
    assert_true(m.run());
    *cycles = m.span();
    return got;
}

static void test_receive(void **)
{
    sim::random_source random(seed);
    for (double part : {0.0, 0.4}) {
        std::vector<card::axis_word> words;
        std::vector<card::beat> want;
        for (unsigned i = 0; i < 3000; i++) {
            const uint64_t size = random.below(20);
            bytes f(size == 0   ? random.between(9100, 9400)
                    : size == 1 ? random.between(9216, 30000)
                    : size == 2 ? 9216
                                : random.between(1, 300));
            random.fill(f.data(), f.size());
            const bool damaged = random.below(10) == 0;
            append_words(words, f, damaged, random);
            const bool oversize = f.size() > card::frame_bytes_max;
            f.resize(std::min<size_t>(f.size(), card::frame_bytes_max));
            const std::vector<card::beat> b = reference::beats_of(f, damaged || oversize);
            want.insert(want.end(), b.begin(), b.end());
        }
        uint64_t cycles;
        const std::vector<card::beat> got = receive(words, part, part, &cycles);
        assert_int_equal(got.size(), want.size());
        for (size_t i = 0; i < got.size(); i++)
            assert_true(reference::same(got[i], want[i]));
        if (part == 0)
            assert_in_range(cycles, words.size(), words.size() + 8);
    }
}

/* Null bytes where none may be: the frame is damaged, and still made of full beats. */
static void test_odd_keep(void **)
{
    sim::random_source random(seed + 1);
    static const uint64_t keeps[] = {0, 1, 2, 0xff00, 0x7fffffffffffffff, 0xfffffffffffffffe, 0xffffffff0fffffff};
    std::vector<card::axis_word> words;
    uint8_t data[64];
    memset(data, 0x5a, sizeof(data));
    for (uint64_t keep : keeps)
        for (unsigned at = 0; at < 3; at++)
            for (unsigned i = 0; i < 3; i++)
                words.push_back(word(data, i == at ? keep : ~uint64_t{0}, i == 2, false));
    uint64_t cycles;
    const std::vector<card::beat> got = receive(words, 0, 0, &cycles);
    size_t next = 0;
    for (uint64_t keep : keeps)
        for (unsigned at = 0; at < 3; at++) {
            const size_t first = next;
            const bytes f = reference::frame_of(got, next);
            assert_int_equal(next - first, 3);
            const bool fine = at == 2 && (keep == 1 || keep == 0x7fffffffffffffff);
            assert_int_equal(got[next - 1].error, !fine);
            assert_int_equal(f.size(), at < 2 ? 192u
                                              : 128u + (keep == 0x7fffffffffffffff   ? 63u
                                                        : keep == 0xffffffff0fffffff ? 28u
                                                                                     : 1u));
        }
    assert_int_equal(next, got.size());
}

static void test_send(void **)
{
    sim::random_source random(seed + 2);
    for (size_t length = 1; length < 300; length++) {
        bytes f(length);
        random.fill(f.data(), f.size());
        hls::stream<card::beat> in("in");
        hls::stream<card::axis_word> out("out");
        size_t at = 0;
        for (const card::beat &b : reference::beats_of(f, length % 2 != 0)) {
            in.write(b);
            card::tx(in, out);
            const card::axis_word w = out.read();
            for (int i = 0; i < 64; i++) {
                assert_int_equal(w.keep[i] != 0, i < b.bytes);
                assert_int_equal(w.data.range(8 * i + 7, 8 * i).to_uint(), i < b.bytes ? f[at++] : 0u);
            }
            assert_int_equal(w.last != 0, b.last);
            assert_int_equal(w.user != 0, b.error);
        }
        assert_int_equal(at, length);
    }
}

/* The first byte names the source, the next four the packet. */
static std::vector<card::beat> numbered(sim::random_source &random, uint8_t source, uint32_t packets, size_t length_max)
{
    std::vector<card::beat> all;
    for (uint32_t i = 0; i < packets; i++) {
        bytes f(random.between(5, length_max), source);
        reference::put(f, 1, 4, i);
        const std::vector<card::beat> b = reference::beats_of(f);
        all.insert(all.end(), b.begin(), b.end());
    }
    return all;
}

static void test_mux(void **)
{
    static const double part[][3] = {{0, 0, 0}, {0.5, 0, 0}, {0.2, 0.8, 0.2}, {0, 0, 0.5}};
    sim::random_source random(seed + 3);
    for (size_t length_max : {size_t{64}, size_t{300}}) {
        for (const auto &p : part) {
            const std::vector<card::beat> a = numbered(random, 0, 2000, length_max), b = numbered(random, 1, 2000, length_max);
            sim::machine m(seed);
            hls::stream<card::beat> in_a("a"), in_b("b"), out("out");
            card::packet_mux_state state;
            std::vector<card::beat> got;
            m.source("source_a", in_a, a, p[0]);
            m.source("source_b", in_b, b, p[1]);
            m.add("packet_mux", card::packet_mux_depth, [&] { card::packet_mux(state, in_a, in_b, out); });
            m.sink("out", out, got, p[2]);
            assert_true(m.run());
            uint32_t next[2] = {0, 0};
            unsigned turns = 0, packets = 0;
            uint8_t before = 1;
            for (size_t at = 0; at < got.size(); packets++) {
                const bytes f = reference::frame_of(got, at);
                assert_in_range(f[0], 0, 1);
                assert_true(std::count(f.begin() + 5, f.end(), f[0]) == static_cast<long>(f.size() - 5));
                assert_int_equal(reference::get(f, 1, 4), next[f[0]]++);
                turns += f[0] != before;
                before = f[0];
            }
            assert_int_equal(next[0], 2000);
            assert_int_equal(next[1], 2000);
            if (p[0] == 0 && p[1] == 0) {
                assert_int_equal(turns, packets); /* each in its turn */
                if (p[2] == 0)
                    assert_in_range(m.span(), a.size() + b.size(), a.size() + b.size() + 8);
            }
        }
    }
}

int main()
{
    seed = sim::test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_receive),
        cmocka_unit_test(test_odd_keep),
        cmocka_unit_test(test_send),
        cmocka_unit_test(test_mux),
    };
    return cmocka_run_group_tests_name("hls packet ports", tests, nullptr, nullptr);
}
