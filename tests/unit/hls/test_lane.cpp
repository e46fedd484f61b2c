/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole lane against the reference model, with random traffic (tests/model/trace.h). SLUICE_LONG=1 runs a million segments and
 * more. SLUICE_SEED repeats a run. Covers G1, G2, G6, G7, G9, G10, G11, G12 of docs/security.md for the card.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include <cmocka.h>
}

#include <stdio.h>
#include <stdlib.h>

#include "lane_check.hpp"

namespace
{

unsigned scaled(unsigned packets)
{
    const char *const text = getenv("SLUICE_LONG");
    return text != nullptr && text[0] == '1' ? packets * 20 : packets;
}

void print(const char *name, const bench::check_result &r)
{
    printf(
        "%s: %llu frames, %llu sent, %llu punted, %llu dropped, %llu squashed, %llu events, %llu records verified, %llu refused\n",
        name, (unsigned long long)r.frames, (unsigned long long)r.sent, (unsigned long long)r.punted, (unsigned long long)r.dropped,
        (unsigned long long)r.squashed, (unsigned long long)r.events, (unsigned long long)r.verified, (unsigned long long)r.bad);
}

trace_options quiet(unsigned sessions, unsigned packets)
{
    trace_options t = {};
    t.sessions = sessions;
    t.packets = packets;
    return t;
}

void test_genuine_traffic(void **)
{
    trace_options t = quiet(1, 200);
    t.no_key_updates = true;
    print("one session", bench::run_trace(1, t, bench::lane_options(), 1));
    t = quiet(8, scaled(5000));
    const bench::check_result r = bench::run_trace(sim::test_seed(), t, bench::lane_options(), 32);
    print("eight sessions", r);
    assert_int_equal(r.bad, 0);
    assert_true(r.verified > 100);
}

void test_harsh_traffic(void **)
{
    const uint64_t seed = sim::test_seed();
    for (unsigned i = 0; i < 4; i++) {
        const bench::check_result r = bench::run_trace(seed + i, trace_options_harsh(16, scaled(12500)), bench::lane_options(), 64);
        print("harsh", r);
    }
}

void test_harsh_traffic_in_cycles(void **)
{
    const uint64_t seed = sim::test_seed();
    bench::lane_options lane;
    lane.timed = true;
    lane.seed = seed;
    lane.idle = lane.pressure = 0.2;
    lane.stall = 0.05;
    print("harsh, in cycles", bench::run_trace(seed, trace_options_harsh(16, scaled(3000)), lane, 64));
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_genuine_traffic),
        cmocka_unit_test(test_harsh_traffic),
        cmocka_unit_test(test_harsh_traffic_in_cycles),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
