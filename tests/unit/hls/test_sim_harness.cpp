/* SPDX-License-Identifier: Apache-2.0 */
/* The cycle harness: that time counts as it says, and that every breach of its rules is a failure with names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include <cmocka.h>
}

#include <memory>
#include <string>
#include <vector>

#include "harness.hpp"

using sim::failure;

typedef hls::stream<uint32_t> numbers;

static uint64_t seed;

static std::vector<uint32_t> counted(uint32_t n)
{
    std::vector<uint32_t> v;
    for (uint32_t i = 0; i < n; i++)
        v.push_back(i);
    return v;
}

static void pass(numbers &in, numbers &out)
{
    if (!in.empty() && !out.full())
        out.write(in.read());
}

static void expect_counted(const std::vector<uint32_t> &got, uint32_t n)
{
    assert_int_equal(got.size(), n);
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(got[i], i);
}

/* One element a cycle through FIFOs of depth 2 behind pipelines of any depth; the latency is the sum of the depths. */
static void test_throughput(void **)
{
    static const unsigned depths[][3] = {{1, 1, 1}, {1, 2, 3}, {15, 1, 15}, {40, 40, 40}, {3, 70, 1}};
    for (const auto &d : depths) {
        sim::machine m(seed);
        numbers in("in"), a("a"), b("b"), out("out");
        std::vector<uint32_t> got;
        uint64_t first = 0;
        m.source("source", in, counted(1000));
        m.add("one", d[0], [&] { pass(in, a); });
        m.add("two", d[1], [&] { pass(a, b); });
        m.add("three", d[2], [&] { pass(b, out); });
        m.sink<uint32_t>("sink", out, [&](const uint32_t &n) {
            first = got.empty() ? m.now() : first;
            got.push_back(n);
        });
        assert_true(m.run());
        expect_counted(got, 1000);
        assert_int_equal(first, 1 + d[0] + d[1] + d[2]); /* written by the source in cycle 0 */
        assert_int_equal(m.span(), 1000 + first);
        assert_int_equal(in.first_write(), 0);
        assert_int_equal(out.first_read(), first);
        assert_int_equal(out.last_read() - out.first_read(), 999);
        assert_int_equal(out.last_write() - out.first_write(), 999);
        assert_int_equal(a.reads(), 1000);
        assert_int_equal(b.writes(), 1000);
        assert_int_equal(b.high_water(), 1);
    }
}

/* Depth 1 is full whenever an element is in it: every other cycle, as on the card. */
static void test_depth_of_one(void **)
{
    sim::machine m(seed);
    hls::stream<uint32_t, 1> in("in");
    std::vector<uint32_t> got;
    m.source("source", in, counted(100));
    m.sink("sink", in, got);
    assert_true(m.run());
    expect_counted(got, 100);
    assert_in_range(m.span(), 199, 201);
}

/* Nothing is lost, doubled or reordered, however sources, sinks and processes stand still. */
static void test_stalls(void **)
{
    static const double parts[][3] = {{0.5, 0, 0}, {0, 0.5, 0}, {0, 0, 0.5}, {0.3, 0.3, 0.3}, {0.9, 0.1, 0.8}, {0, 0.95, 0}};
    for (const auto &p : parts) {
        sim::machine m(seed++);
        numbers in("in"), a("a"), out("out");
        hls::stream<uint32_t, 20> deep("deep");
        std::vector<uint32_t> got;
        m.source("source", in, counted(3000), p[0]);
        m.add("one", 7, [&] { pass(in, a); }).stall(p[2]);
        m.add("two", 13, [&] { pass(a, deep); }).stall(p[2]);
        m.add("three", 2, [&] { pass(deep, out); });
        m.sink("sink", out, got, p[1]);
        assert_true(m.run());
        expect_counted(got, 3000);
        for (sim::fifo *f : m.streams())
            assert_true(f->high_water() <= f->depth());
    }
}

/* Only the seed of the gates changes what happens, not the order in which processes are called. */
static void test_order_of_calls(void **)
{
    uint64_t span = 0;
    for (uint64_t s = 0; s < 20; s++) {
        sim::machine m(seed + s);
        numbers in("in"), a("a"), out("out");
        std::vector<uint32_t> got;
        unsigned turn = 0;
        m.source("source", in, counted(300));
        m.add("one", 5, [&] { pass(in, a); });
        m.add("two", 4, [&] {
            if (turn++ % 3 != 0)
                pass(a, out);
        });
        m.sink("sink", out, got);
        assert_true(m.run());
        expect_counted(got, 300);
        span = span == 0 ? m.span() : span;
        assert_int_equal(m.span(), span);
    }
}

static void test_part_of_stalls(void **)
{
    for (double part : {0.1, 0.5, 0.8}) {
        sim::machine m(seed);
        sim::process &p = m.add("idle", 1, [] {}).stall(part);
        for (int i = 0; i < 200000; i++)
            m.cycle();
        const double seen = 1 - static_cast<double>(p.calls()) / 200000;
        assert_true(seen > part - 0.05 && seen < part + 0.05);
    }
}

/* What a call does wrong, and what is said about it. */
static void test_breaches(void **)
{
    struct scene {
        numbers in{"in"}, out{"out"};
        uint64_t calls = 0;
    };
    static const struct {
        void (*one)(scene &s), (*two)(scene &s);
        failure::kind what;
        const char *text;
    } table[] = {
        {[](scene &s) {
             if (s.in.size() >= 2)
                 s.in.read(), s.in.read();
         },
         [](scene &) {}, failure::twice, "in is read twice by one in cycle"},
        {[](scene &s) {
             if (s.calls++ == 5)
                 s.out.write(1), s.out.write(2);
         },
         [](scene &) {}, failure::twice, "out is written twice by one in cycle 5"},
        {[](scene &s) { s.out.write(1); }, [](scene &) {}, failure::overflow, "out (depth 2) is written while it is full by one"},
        {[](scene &s) { s.out.read(); }, [](scene &) {}, failure::underflow, "out is read while it is empty by one in cycle 0"},
        {[](scene &s) {
             if (!s.in.empty() && s.calls++ % 2)
                 s.in.read();
         },
         [](scene &s) {
             if (!s.in.empty())
                 s.in.read();
         },
         failure::two_ends, "in is read by"},
        {[](scene &s) {
             if (!s.out.full())
                 s.out.write(1);
         },
         [](scene &s) {
             if (!s.out.full())
                 s.out.write(2);
         },
         failure::two_ends, "out is written by"},
    };
    for (const auto &t : table) {
        sim::failures f;
        sim::machine m(seed);
        scene s;
        s.in.set_depth(8);
        m.source("source", s.in, counted(20));
        m.add("one", 1, [&] { t.one(s); });
        m.add("two", 1, [&] { t.two(s); });
        for (int i = 0; i < 40; i++)
            m.cycle();
        assert_true(f.count(t.what, t.text) > 0);
        s.in.discard();
        s.out.discard();
    }
}

/* Two paths that meet again, of 1 and of 30 cycles: the FIFO of the shorter one holds what waits, or all stand still for a while.
 */
static void join(sim::machine &m, numbers &in, numbers &fast, numbers &slow, numbers &late, std::vector<uint32_t> &got)
{
    m.source("source", in, counted(500));
    m.add("fork", 1, [&] {
        if (!in.empty() && !fast.full() && !slow.full()) {
            const uint32_t n = in.read();
            fast.write(n);
            slow.write(n);
        }
    });
    m.add("long way", 30, [&] { pass(slow, late); });
    m.add("join", 1, [&] {
        if (!fast.empty() && !late.empty() && fast.read() == late.read())
            got.push_back(static_cast<uint32_t>(got.size()));
    });
}

static void test_paths_that_meet(void **)
{
    for (unsigned depth : {2u, 40u}) {
        sim::machine m(seed);
        numbers in("in"), fast("fast"), slow("slow"), late("late");
        std::vector<uint32_t> got;
        fast.set_depth(depth);
        join(m, in, fast, slow, late, got);
        assert_true(m.run());
        expect_counted(got, 500);
        if (depth == 40)
            assert_int_equal(m.span(), 500 + 1 + 1 + 30);
        else
            assert_true(m.span() > 5000);
    }
}

/* The same with a join that wants 10 elements of the one before the first of the other: a deadlock, by name, unless the FIFO is
 * deep. */
static void test_deadlock(void **)
{
    for (unsigned depth : {4u, 16u}) {
        sim::failures f;
        {
            sim::machine m(seed);
            numbers in("in"), ahead("ahead"), behind("behind");
            std::vector<uint32_t> got;
            unsigned sent = 0, taken = 0;
            ahead.set_depth(depth);
            m.source("source", in, counted(100));
            m.add("split", 3, [&] { /* ten to one side, then one to the other, which says that they are complete */
                                    if (!in.empty() && !ahead.full() && !behind.full())
                                        (sent++ % 11 < 10 ? ahead : behind).write(in.read());
            });
            m.add("collect", 1, [&] {
                if (taken % 11 == 0 ? !behind.empty() : !ahead.empty())
                    got.push_back((taken++ % 11 == 0 ? behind : ahead).read());
            });
            assert_int_equal(m.run(), false); /* with enough room only the last, incomplete ten are left */
            assert_int_equal(got.size(), depth == 4 ? 0 : 99);
            ahead.discard();
            behind.discard();
            in.discard();
        }
        assert_int_equal(f.seen.size(), 1);
        assert_int_equal(f.count(failure::deadlock, "ahead"), 1);
        assert_int_equal(f.count(failure::deadlock, "ahead 4/4"), depth == 4);
        assert_int_equal(f.count(failure::deadlock, "source is busy"), depth == 4);
    }
}

/* A pipeline stands still as a whole: what is on its way to a free stream does not pass what is on its way to a full one. */
static void test_rigid_pipeline(void **)
{
    sim::failures f;
    sim::machine m(seed);
    numbers full("full"), fresh("fresh");
    std::vector<uint32_t> got;
    unsigned calls = 0;
    sim::process &p = m.add("both", 10, [&] { /* three to the one, which nobody reads, then one to the other */
                                              if (calls < 3)
                                                  full.write(calls);
                                              else if (calls == 3)
                                                  fresh.write(calls);
                                              calls++;
    });
    m.sink("sink", fresh, got);
    for (int i = 0; i < 100; i++)
        m.cycle();
    assert_int_equal(got.size(), 0);
    assert_true(p.blocked() > 80);
    assert_int_equal(full.read(), 0); /* the test itself makes room */
    for (int i = 0; i < 10; i++)
        m.cycle();
    assert_int_equal(got.size(), 1);
    assert_int_equal(f.seen.size(), 0);
    full.discard();
}

static void test_endless(void **)
{
    sim::failures f;
    sim::machine m(seed);
    numbers s("s");
    std::vector<uint32_t> got;
    m.add("spring", 2, [&] {
        if (!s.full())
            s.write(1);
    });
    m.sink("sink", s, got);
    assert_false(m.run(5000));
    assert_int_equal(f.count(failure::endless, "s 0/2 (and 2 on the way)"), 1);
    assert_false(m.run_until([] { return false; }, 100));
    assert_int_equal(f.count(failure::endless), 2);
    assert_true(m.run_until([&] { return got.size() >= 6000; }));
    s.discard();
}

/* The test itself may write and read between cycles. */
static void test_by_hand(void **)
{
    sim::machine m(seed);
    hls::stream<uint32_t, 4> in("in");
    numbers out("out");
    m.add("pass", 3, [&] { pass(in, out); });
    in.write(1); /* before any cycle */
    m.cycle();
    for (uint32_t i = 2; i < 6; i++)
        in.write(i);
    assert_true(in.full());
    assert_false(in.write_nb(9));
    m.cycle();
    assert_true(out.empty());
    m.cycle();
    assert_true(out.empty());
    m.cycle();
    assert_int_equal(out.size(), 1);
    assert_int_equal(out.read(), 1);
    for (uint32_t i = 2; i < 6; i++) {
        m.cycle();
        assert_int_equal(out.read(), i);
    }
    assert_true(in.empty() && out.empty());
}

static void test_lifetimes(void **)
{
    sim::failures f;
    numbers kept("kept");
    {
        sim::machine m(seed);
        m.add("writer", 5, [&] {
            if (m.now() < 3)
                kept.write(static_cast<uint32_t>(m.now()));
        });
        for (int i = 0; i < 4; i++)
            m.cycle();
        assert_true(kept.empty());
        std::unique_ptr<numbers> gone(new numbers("gone"));
        m.add("other", 1, [&] {
            if (gone)
                gone->write(1);
        });
        m.cycle();
        gone.reset();
        assert_int_equal(f.count(failure::leftover, "gone"), 1);
        m.cycle();
    }
    for (uint32_t i = 0; i < 3; i++) /* a plain stream again, with what was on its way */
        assert_int_equal(kept.read(), i);
    assert_int_equal(f.seen.size(), 1);
}

static void test_misuse(void **)
{
    sim::failures f;
    numbers s("shared");
    sim::machine a(seed), b(seed);
    a.cycle();
    assert_int_equal(f.count(failure::misuse, "without processes"), 1);
    a.add("zero", 0, [&] { s.empty(); });
    assert_int_equal(f.count(failure::misuse, "zero"), 1);
    b.add("other", 1, [&] { s.empty(); });
    a.cycle();
    b.cycle();
    assert_int_equal(f.count(failure::two_ends, "shared is used in two machines"), 1);
    a.add("nested", 1, [&] { b.cycle(); });
    a.cycle();
    assert_int_equal(f.count(failure::misuse, "a cycle within a cycle"), 1);
}

int main()
{
    seed = sim::test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_throughput),     cmocka_unit_test(test_depth_of_one),    cmocka_unit_test(test_stalls),
        cmocka_unit_test(test_order_of_calls), cmocka_unit_test(test_part_of_stalls),  cmocka_unit_test(test_breaches),
        cmocka_unit_test(test_deadlock),       cmocka_unit_test(test_paths_that_meet), cmocka_unit_test(test_rigid_pipeline),
        cmocka_unit_test(test_endless),        cmocka_unit_test(test_by_hand),         cmocka_unit_test(test_lifetimes),
        cmocka_unit_test(test_misuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
