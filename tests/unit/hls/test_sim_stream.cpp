/* SPDX-License-Identifier: Apache-2.0 */
/* hls::stream without a machine: order, bounds, and that what goes wrong is told with the stream's name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include <cmocka.h>
}

#include <deque>
#include <hls_stream.h>
#include <memory>

#include "harness.hpp"

using sim::failure;

static void test_order_and_bounds(void **)
{
    sim::random_source random(sim::test_seed());
    hls::stream<uint32_t, 5> s("five");
    std::deque<uint32_t> model;
    for (uint32_t i = 0; i < 20000; i++) {
        assert_int_equal(s.empty(), model.empty());
        assert_int_equal(s.full(), model.size() == 5);
        assert_int_equal(s.size(), model.size());
        uint32_t got = 0;
        switch (random.below(4)) {
        case 0:
            assert_int_equal(s.write_nb(i), model.size() < 5);
            if (model.size() < 5)
                model.push_back(i);
            break;
        case 1:
            if (!s.full()) {
                s << i;
                model.push_back(i);
            }
            break;
        case 2:
            assert_int_equal(s.read_nb(got), !model.empty());
            if (!model.empty()) {
                assert_int_equal(got, model.front());
                model.pop_front();
            }
            break;
        default:
            if (!s.empty()) {
                assert_int_equal(s.read(), model.front());
                model.pop_front();
            }
        }
    }
    s.discard();
}

static void test_depths(void **)
{
    hls::stream<int> two, named("named");
    assert_int_equal(two.capacity(), 2);
    assert_string_equal(named.name().c_str(), "named");
    assert_string_not_equal(two.name().c_str(), "");
    hls::stream<int, 7> seven("seven");
    hls::stream<int> &plain = seven;
    assert_int_equal(plain.capacity(), 7);
    for (int i = 0; i < 7; i++)
        plain.write(i);
    assert_true(plain.full());
    plain.set_depth(100);
    for (int i = 7; i < 100; i++)
        plain.write(i);
    assert_true(plain.full());
    for (int i = 0; i < 100; i++)
        assert_int_equal(plain.read(), i);
    sim::failures f;
    plain.write(1);
    plain.write(2);
    plain.set_depth(1);
    assert_int_equal(f.count(failure::misuse, "seven"), 1);
    plain.discard();
}

static void test_overflow(void **)
{
    sim::failures f;
    hls::stream<int, 3> s("narrow");
    for (int i = 0; i < 5; i++)
        s.write(i);
    assert_int_equal(f.count(failure::overflow, "narrow"), 2);
    for (int i = 0; i < 3; i++)
        assert_int_equal(s.read(), i);
    assert_true(s.empty());
    assert_int_equal(f.seen.size(), 2);
}

static void test_underflow(void **)
{
    sim::failures f;
    hls::stream<int> s("dry");
    assert_int_equal(s.read(), 0);
    int v = 9;
    s.read(v);
    assert_int_equal(v, 0);
    assert_int_equal(f.count(failure::underflow, "dry"), 2);
    assert_false(s.read_nb(v));
    assert_int_equal(f.seen.size(), 2);
}

static void test_leftover(void **)
{
    sim::failures f;
    {
        hls::stream<int> s("forgotten");
        s.write(1);
    }
    assert_int_equal(f.count(failure::leftover, "forgotten ends with 1"), 1);
    {
        hls::stream<int> allowed("allowed"), discarded("discarded"), empty("empty");
        allowed.write(1);
        allowed.allow_leftover();
        discarded.write(1);
        discarded.discard();
        empty.write(1);
        empty.read();
    }
    assert_int_equal(f.seen.size(), 1);
}

/* Elements are made and destroyed once each, whatever way they leave. */
static void test_lifetimes(void **)
{
    auto counted = std::make_shared<int>(0);
    {
        hls::stream<std::shared_ptr<int>, 4> s("owners");
        for (int i = 0; i < 3; i++)
            s.write(counted);
        assert_int_equal(counted.use_count(), 4);
        s.set_depth(50);
        assert_int_equal(counted.use_count(), 4);
        s.read();
        assert_int_equal(counted.use_count(), 3);
        s.allow_leftover();
    }
    assert_int_equal(counted.use_count(), 1);
}

/* Failures go to the youngest collector. */
static void test_collectors(void **)
{
    sim::failures outer;
    hls::stream<int> s("s");
    {
        sim::failures inner;
        s.read();
        assert_int_equal(inner.seen.size(), 1);
    }
    assert_int_equal(outer.seen.size(), 0);
    s.read();
    assert_int_equal(outer.seen.size(), 1);
    assert_string_equal(sim::name_of(outer.seen[0].what), "underflow");
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_bounds), cmocka_unit_test(test_depths),   cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_underflow),        cmocka_unit_test(test_leftover), cmocka_unit_test(test_lifetimes),
        cmocka_unit_test(test_collectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
