/* SPDX-License-Identifier: Apache-2.0 */
/* The memory model: latency, order, throughput, what a read sees, and that races show both outcomes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include <cmocka.h>
}

#include <map>
#include <vector>

#include "harness.hpp"
#include "memory.hpp"

using sim::failure;

struct line {
    uint32_t index, version;
    uint8_t rest[376];
};
typedef sim::line_write<line> line_write;

static uint64_t seed;

struct bench {
    sim::machine m{seed};
    sim::memory<line> mem{"hbm", 64, seed};
    hls::stream<uint32_t> request{"request"}, ack{"ack"};
    hls::stream<line> response{"response"};
    hls::stream<line_write> update{"update"};
    sim::memory<line>::read_port<uint32_t, line> read = mem.reader(request, response);
    sim::memory<line>::write_port<line_write, uint32_t> write = mem.writer(update, ack);

    bench()
    {
        for (uint32_t i = 0; i < mem.size(); i++)
            mem[i].index = i;
        m.add("read port", 1, [this] { read.step(); }).while_busy([this] { return read.busy(); });
        m.add("write port", 1, [this] { write.step(); }).while_busy([this] { return write.busy(); });
    }
};

static line_write versioned(uint32_t index, uint32_t version)
{
    line_write w{};
    w.index = index;
    w.line.index = index;
    w.line.version = version;
    return w;
}

/* One a cycle, each after its latency, in order. */
static void test_latency(void **)
{
    static const unsigned ranges[][2] = {{50, 400}, {100, 100}, {0, 0}, {1, 30}};
    for (const auto &r : ranges) {
        bench b;
        b.mem.latency(r[0], r[1]);
        std::vector<uint64_t> asked, answered;
        std::vector<uint32_t> wanted, got;
        sim::random_source random(seed);
        b.m.source<uint32_t>("ask", b.request, [&](uint32_t &index) {
            if (asked.size() == 2000)
                return false;
            index = static_cast<uint32_t>(random.below(64));
            wanted.push_back(index);
            asked.push_back(b.m.now());
            return true;
        });
        b.m.sink<line>("take", b.response, [&](const line &l) {
            got.push_back(l.index);
            answered.push_back(b.m.now());
        });
        assert_true(b.m.run());
        assert_true(got == wanted);
        uint64_t least = ~uint64_t{0}, most = 0;
        for (size_t i = 0; i < asked.size(); i++) {
            least = std::min(least, answered[i] - asked[i]);
            most = std::max(most, answered[i] - asked[i]);
        }
        assert_in_range(least, r[0] + 2, r[1] + 2); /* a cycle each through the streams */
        assert_in_range(most, r[0] + 2, r[1] + 2);
        assert_in_range(b.m.span(), 2000 + r[0] + 2, 2000 + r[1] + 2);
    }
}

/* With fewer outstanding requests than cycles of latency the memory is slower: outstanding / latency. */
static void test_outstanding(void **)
{
    bench b;
    b.mem.latency(100, 100);
    b.mem.outstanding(10);
    std::vector<line> got;
    b.m.source("ask", b.request, std::vector<uint32_t>(500, 3));
    b.m.sink("take", b.response, got);
    assert_true(b.m.run());
    assert_int_equal(got.size(), 500);
    assert_in_range(b.m.span(), 4900, 5300);
}

/* A line of 384 bytes on a bus of 64. */
static void test_interval(void **)
{
    bench b;
    b.mem.interval(6);
    std::vector<line> got;
    b.m.source("ask", b.request, std::vector<uint32_t>(500, 3));
    b.m.sink("take", b.response, got);
    assert_true(b.m.run());
    assert_int_equal(got.size(), 500);
    assert_in_range(b.response.last_read(), 6 * 499 + 50, 6 * 499 + 410);
}

/* Reads that are requested after a write was acknowledged see it or a later one; the others the version before or one in flight. */
static void test_what_a_read_sees(void **)
{
    bench b;
    struct question {
        uint32_t index, least;
    };
    std::vector<question> questions;
    std::map<uint32_t, uint32_t> written, acked;
    sim::random_source random(seed);
    size_t answers = 0;
    uint32_t total = 0, stale = 0, fresh = 0;
    b.m.source<line_write>(
        "change", b.update,
        [&](line_write &w) {
            if (total++ == 4000)
                return false;
            const uint32_t index = static_cast<uint32_t>(random.below(20));
            w = versioned(index, ++written[index]);
            return true;
        },
        0.3);
    b.m.source<uint32_t>("ask", b.request, [&](uint32_t &index) {
        if (questions.size() == 5000)
            return false;
        index = static_cast<uint32_t>(random.below(20));
        questions.push_back({index, acked[index]});
        return true;
    });
    b.m.sink<uint32_t>("acked", b.ack, [&](const uint32_t &index) { acked[index]++; });
    b.m.sink<line>(
        "take", b.response,
        [&](const line &l) {
            const question &q = questions[answers++];
            assert_int_equal(l.index, q.index);
            assert_true(l.version >= q.least && l.version <= written[q.index]);
            stale += l.version == q.least && written[q.index] > q.least;
            fresh += l.version > q.least;
        },
        0.2);
    assert_true(b.m.run());
    assert_int_equal(answers, 5000);
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(acked[i], written[i]);
        assert_int_equal(b.mem[i].version, written[i]); /* writes to one line took effect in order */
    }
    assert_true(stale > 100 && fresh > 100);
}

/* One read races one write: old in some runs, new in others. */
static void test_race(void **)
{
    unsigned old_line = 0, new_line = 0;
    for (int i = 0; i < 200; i++, seed++) {
        bench b;
        b.request.write(7);
        b.update.write(versioned(7, 1));
        std::vector<line> got;
        std::vector<uint32_t> acks;
        b.m.sink("take", b.response, got);
        b.m.sink("acked", b.ack, acks);
        assert_true(b.m.run());
        assert_int_equal(got.size(), 1);
        assert_int_equal(acks.size(), 1);
        assert_int_equal(b.mem[7].version, 1);
        (got[0].version == 0 ? old_line : new_line)++;
    }
    assert_true(old_line > 30 && new_line > 30);
}

/* Own types: a part of a line is written, a response says more than the line. */
static void test_own_types(void **)
{
    struct part {
        uint32_t index, version;
    };
    struct reply {
        line l;
        uint32_t asked;
    };
    sim::memory<line> mem("ddr", 8);
    mem.latency(0, 0);
    hls::stream<uint32_t> request("request");
    hls::stream<reply> response("response");
    hls::stream<part> update("update");
    hls::stream<bool> ack("ack");
    auto read = mem.reader<uint32_t, reply>(request, response, [](const line &l, const uint32_t &asked, reply &r) {
        r.l = l;
        r.asked = asked;
    });
    auto write = mem.writer<part, bool>(
        update, ack, [](line &l, const part &p) { l.version = p.version; }, [](const part &) { return true; });
    mem[3].index = 33;
    update.write({3, 44}); /* no machine: with no latency a step answers at once */
    write.step();
    assert_true(ack.read());
    request.write(3);
    read.step();
    const reply r = response.read();
    assert_int_equal(r.asked, 3);
    assert_int_equal(r.l.index, 33);
    assert_int_equal(r.l.version, 44);
    assert_false(read.busy() || write.busy());

    sim::failures f;
    request.write(8);
    read.step();
    assert_int_equal(f.count(failure::misuse, "ddr: line 8 of 8"), 1);
}

int main()
{
    seed = sim::test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_latency),          cmocka_unit_test(test_outstanding), cmocka_unit_test(test_interval),
        cmocka_unit_test(test_what_a_read_sees), cmocka_unit_test(test_race),        cmocka_unit_test(test_own_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
