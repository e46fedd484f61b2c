/* SPDX-License-Identifier: Apache-2.0 */
/* The cpu engine held against the reference model of docs/card.md with traces of genuine and hostile traffic. SLUICE_LONG=1: more
 * than a million frames. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_check.h"
#include "record/gcm.h"

static unsigned factor = 1;

static struct engine_check_result run(struct engine_check_options o, const char *gcm)
{
    const struct sl_engine_options options = {.sessions = 600, .seal_limit = o.seal_limit, .gcm = gcm};
    struct sl_engine *engine;
    assert_int_equal(sl_engine_open_cpu(&options, &engine, NULL), SL_OK);
    const struct engine_check_result r = engine_check(engine, &o);
    struct sl_engine_counters n;
    sl_engine_counters(engine, &n);
    assert_int_equal(n.sessions, 0);
    sl_engine_close(engine);
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++)
        assert_int_equal(r.statistics[i].counts[trace_count_stalled], 0);
    return r;
}

static void test_harsh(void **state)
{
    (void)state;
    static const unsigned batches[] = {1, 7, 32, 200};
    struct engine_check_result all = {0};
    for (unsigned seed = 0; seed < 20 * factor; seed++) {
        struct engine_check_options o = {.seed = seed, .batch = batches[seed % 4], .rules = seed % 2 == 0};
        for (unsigned i = 0; i < SL_ENGINE_LANES; i++)
            o.trace[i] = trace_options_harsh(8 + seed % 3 * 20, 1500);
        const struct engine_check_result r = run(o, NULL);
        all.frames += r.frames;
        all.text_bytes += r.text_bytes;
        for (unsigned i = 0; i < 64; i++)
            all.reasons[i] += r.reasons[i];
        for (unsigned i = 0; i < 16; i++)
            all.kinds[i] += r.kinds[i];
    }
    print_message("%llu frames, %llu bytes mirrored\n", (unsigned long long)all.frames, (unsigned long long)all.text_bytes);
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

/* G3: the seal key is not used beyond its limit. */
static void test_G3_seal_limit(void **state)
{
    (void)state;
    struct engine_check_options o = {.seed = 77, .batch = 32, .seal_limit = 700};
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++)
        o.trace[i] = (struct trace_options){.sessions = 4, .packets = 4000 * factor, .record_max = 64};
    const struct sl_engine_options options = {.sessions = 600, .seal_limit = o.seal_limit};
    struct sl_engine *engine;
    assert_int_equal(sl_engine_open_cpu(&options, &engine, NULL), SL_OK);
    const struct engine_check_result r = engine_check(engine, &o);
    assert_true(r.reasons[model_reason_seal_limit] > 0);
    sl_engine_close(engine);
}

static void test_every_gcm(void **state)
{
    (void)state;
    size_t count;
    const struct sl_gcm_engine *const *engines = sl_gcm_engines(&count);
    for (size_t e = 0; e < count; e++) {
        if (!sl_gcm_has_positions(engines[e]))
            continue;
        struct engine_check_options o = {.seed = 1000 + e, .batch = 16};
        for (unsigned i = 0; i < SL_ENGINE_LANES; i++)
            o.trace[i] = trace_options_harsh(8, 600 * factor);
        run(o, sl_gcm_engine_name(engines[e]));
    }
}

/* Only long or only short segments, one version, reordering by the dozen: corners that a mixture seldom comes to. */
static void test_corners(void **state)
{
    (void)state;
    struct trace_options t[6];
    for (unsigned i = 0; i < 6; i++)
        t[i] = trace_options_harsh(6, 1500 * factor);
    t[0].segment_max = 9000;
    t[1].segment_max = 17;
    t[1].record_max = 40;
    t[2].only_tls12 = true;
    t[2].late = 3000;
    t[3].only_tls13 = true;
    t[3].late = 3000;
    t[3].loss = 1500;
    t[4].key_updates = 2000;
    t[4].keys_late = 3000;
    t[5].record_max = 1;
    t[5].segment_max = 1460;
    for (unsigned i = 0; i < 6; i++) {
        const struct engine_check_options o = {.seed = 500 + i, .batch = 32, .trace = {t[i], t[(i + 1) % 6]}};
        run(o, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_harsh),
        cmocka_unit_test(test_G3_seal_limit),
        cmocka_unit_test(test_every_gcm),
        cmocka_unit_test(test_corners),
    };
    if (getenv("SLUICE_LONG") != NULL)
        factor = 20;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
