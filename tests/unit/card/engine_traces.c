/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine_traces.h"

#include <stdio.h>
#include <stdlib.h>

enum { SESSIONS = 600 };

#if defined(__SANITIZE_ADDRESS__)
#define SLOWED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLOWED true
#endif
#endif
#ifndef SLOWED
#define SLOWED false
#endif

void engine_traces_measure(struct engine_under_test *t, bool kernels)
{
    const bool slow = kernels && SLOWED, longer = getenv("SLUICE_LONG") != NULL;
    t->seeds = (slow ? 2 : 8) * (longer ? 20 : 1);
    t->packets = slow && !longer ? 500 : 1500;
}

static struct engine_check_result run(const struct engine_under_test *t, const struct engine_check_options *o)
{
    struct sl_engine *engine = t->open(SESSIONS, o->seal_limit);
    struct sl_engine_counters n;
    const struct engine_check_result r = engine_check(engine, o);
    sl_engine_counters(engine, &n);
    assert_int_equal(n.sessions, 0);
    assert_int_equal(n.lost, 0);
    sl_engine_close(engine);
    return r;
}

static void expect_none_stalled(const struct engine_check_result *r)
{
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++)
        assert_int_equal(r->statistics[i].counts[trace_count_stalled], 0);
}

void engine_traces_harsh(const struct engine_under_test *t)
{
    static const unsigned batches[] = {1, 7, 32, 200};
    struct engine_check_result all = {0};
    for (unsigned seed = 0; seed < t->seeds; seed++) {
        struct engine_check_options o = {.seed = seed, .batch = batches[seed % 4], .rules = seed % 2 == 0};
        for (unsigned i = 0; i < SL_ENGINE_LANES; i++)
            o.trace[i] = trace_options_harsh(8 + seed % 3 * 20, t->packets);
        const struct engine_check_result r = run(t, &o);
        expect_none_stalled(&r);
        all.frames += r.frames;
        all.text_bytes += r.text_bytes;
        all.squashed += r.squashed;
        for (unsigned i = 0; i < 64; i++)
            all.reasons[i] += r.reasons[i];
        for (unsigned i = 0; i < 16; i++)
            all.kinds[i] += r.kinds[i];
    }
    print_message("%llu frames, %llu of them overtaken by the end of their keys, %llu bytes mirrored\n",
                  (unsigned long long)all.frames, (unsigned long long)all.squashed, (unsigned long long)all.text_bytes);
    if (t->seeds < 8)
        return;
    /* Nothing of what may happen stayed away. */
    for (unsigned reason = model_reason_not_ip; reason < model_reason_end; reason++) {
        const bool is_one = reason <= model_reason_port_error || (reason >= model_reason_rule && reason <= model_reason_protocol) ||
                            reason >= model_reason_tcp_control;
        if (is_one && reason != model_reason_seal_limit && all.reasons[reason] == 0)
            fail_msg("no punt with reason %u", reason);
    }
    for (unsigned kind = model_event_fin; kind < model_event_end; kind++)
        if (all.kinds[kind] == 0)
            fail_msg("no event %u", kind);
}

void engine_traces_corners(const struct engine_under_test *t)
{
    struct trace_options corner[6];
    for (unsigned i = 0; i < 6; i++)
        corner[i] = trace_options_harsh(6, t->packets);
    corner[0].segment_max = 9000;
    corner[1].segment_max = 17;
    corner[1].record_max = 40;
    corner[2].only_tls12 = true;
    corner[2].late = 3000;
    corner[3].only_tls13 = true;
    corner[3].late = 3000;
    corner[3].loss = 1500;
    corner[4].key_updates = 2000;
    corner[4].keys_late = 3000;
    corner[5].record_max = 1;
    corner[5].segment_max = 1460;
    for (unsigned i = 0; i < 6; i++) {
        const struct engine_check_options o = {.seed = 500 + i, .batch = 32, .trace = {corner[i], corner[(i + 1) % 6]}};
        const struct engine_check_result r = run(t, &o);
        expect_none_stalled(&r);
    }
}

void engine_traces_G3_seal_limit(const struct engine_under_test *t)
{
    struct engine_check_options o = {.seed = 77, .batch = 32, .seal_limit = 700};
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++)
        o.trace[i] = (struct trace_options){.sessions = 4, .packets = 4000, .record_max = 64};
    const struct engine_check_result r = run(t, &o);
    assert_true(r.reasons[model_reason_seal_limit] > 0);
}
