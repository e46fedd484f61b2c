/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole lane against the reference model, with random traffic (tests/model/trace.h). SLUICE_LONG=1 runs a million segments and
 * more. SLUICE_SEED repeats a run. Covers G1, G2, G3, G6, G7, G9, G10, G11, G12 of docs/security.md for the card.
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
    const auto n = [](uint64_t x) { return static_cast<unsigned long long>(x); };
    printf(
        "%s: %llu frames, %llu sent, %llu punted, %llu dropped, %llu squashed, %llu events, %llu records verified, %llu refused\n",
        name, n(r.frames), n(r.sent), n(r.punted), n(r.dropped), n(r.squashed), n(r.events), n(r.verified), n(r.bad));
}

void test_genuine_traffic(void **)
{
    trace_options t = {};
    t.sessions = 8;
    t.packets = scaled(5000);
    const bench::check_result r = bench::run_trace(sim::test_seed(), t, bench::lane_options(), 32);
    print("genuine", r);
    assert_int_equal(r.bad, 0);
    assert_int_equal(r.statistics.counts[trace_count_stalled], 0);
    assert_true(r.verified > 100);
}

/* With a seed that is known to have it all: a generator or a checker that stopped looking would be seen here. */
void test_everything_occurs(void **)
{
    const bench::check_result r = bench::run_trace(7, trace_options_harsh(16, 20000), bench::lane_options(), 64);
    print("everything", r);
    for (int sort = 0; sort < trace_sort_end; sort++)
        if (r.statistics.sorts[sort] == 0)
            fail_msg("no packet of sort %s", trace_sort_name(static_cast<trace_sort>(sort)));
    for (unsigned reason = 1; reason < model_reason_end; reason++) {
        /* Not here: a session with a key of UDP that transcodes, which no host installs; the limit has a variant of its own. */
        const bool elsewhere = reason == model_reason_protocol || reason == model_reason_seal_limit;
        const bool number = reason <= model_reason_port_error || (reason >= model_reason_rule && reason <= model_reason_hold) ||
                            reason >= model_reason_tcp_control;
        if (number && !elsewhere && r.reasons[reason] == 0)
            fail_msg("no punt with reason %u", reason);
    }
    for (unsigned kind = 1; kind < model_event_end; kind++)
        if (r.kinds[kind] == 0)
            fail_msg("no event of kind %u", kind);
    assert_int_equal(r.statistics.counts[trace_count_stalled], 0);
}

/* What each row is about; other fields as in trace_options_harsh. */
struct variant {
    const char *name;
    unsigned packets, segment_max, record_max;
    bool only_tls12, only_tls13;
    uint32_t seal_limit;
    unsigned batch;
    bool timed;
    double stall;
    unsigned key_updates, forged; /* 0: as ever */
};

const variant variants[] = {
    /* 1 */ {"harsh", 20000, 0, 0, false, false, 0, 64, false, 0, 0, 0},
    /* 2 */ {"TLS 1.2", 6000, 0, 0, true, false, 0, 64, false, 0, 0, 0},
    /* 3 */ {"small records", 6000, 0, 40, false, false, 0, 64, false, 0, 0, 0},
    /* 4 */ {"small segments", 8000, 40, 300, false, true, 0, 64, false, 0, 0, 0},
    /* 5 */ {"one byte a segment", 4000, 1, 30, false, false, 0, 16, false, 0, 0, 0},
    /* 6 */ {"large segments", 2000, 9000, 0, false, false, 0, 16, false, 0, 0, 0},
    /* 7 */ {"seal limit", 4000, 0, 200, false, false, 700, 64, false, 0, 0, 0},
    /* 8 */ {"in cycles", 2000, 0, 0, false, false, 0, 64, true, 0.05, 0, 0},
    /* 9 */ {"in cycles, small segments", 2000, 60, 100, false, false, 0, 64, true, 0.1, 0, 0},
    /* 10 */ {"in cycles, without a pause", 2000, 200, 500, false, false, 0, 256, true, 0, 0, 0},
    /* 11 */ {"in cycles, KeyUpdates", 4000, 2000, 100, false, true, 0, 256, true, 0, 2500, 0},
    /* 12 */ {"in cycles, KeyUpdates and deaths", 4000, 300, 40, false, true, 0, 256, true, 0.02, 1500, 300},
};

void test_variants(void **)
{
    uint64_t seed = sim::test_seed();
    for (const variant &v : variants) {
        trace_options t = trace_options_harsh(16, scaled(v.packets));
        t.segment_max = v.segment_max;
        t.record_max = v.record_max;
        t.only_tls12 = v.only_tls12;
        t.only_tls13 = v.only_tls13;
        t.key_updates = v.key_updates;
        if (v.forged != 0)
            t.forged = v.forged;
        bench::lane_options lane;
        lane.timed = v.timed;
        lane.seed = ++seed;
        lane.stall = v.stall;
        lane.idle = lane.pressure = 2 * v.stall;
        if (v.seal_limit != 0)
            lane.seal_limit = v.seal_limit;
        const bench::check_result r = bench::run_trace(seed, t, lane, v.batch);
        print(v.name, r);
        if (v.seal_limit != 0)
            assert_true(r.reasons[model_reason_seal_limit] > 0); /* G3 */
        if (v.key_updates != 0)
            assert_true(r.squashed > 0);
    }
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_genuine_traffic),
        cmocka_unit_test(test_everything_occurs),
        cmocka_unit_test(test_variants),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
