/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The xrt engine on the simulated card: Debian's XRT, the worker process, the device process, the kernels. Held against the
 * reference model with the same traces as the cpu engine and the kernels alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "engine_check.h"
#include "xrt_lab.h"

static unsigned factor = 1;

static struct engine_check_result run(const struct engine_check_options *o)
{
    struct sl_engine *engine = xrt_lab_open(&(struct sl_engine_options){.sessions = 600, .seal_limit = o->seal_limit});
    struct sl_engine_counters n;
    const struct engine_check_result r = engine_check(engine, o);
    sl_engine_counters(engine, &n);
    assert_int_equal(n.sessions, 0);
    assert_int_equal(n.lost, 0);
    sl_engine_close(engine);
    return r;
}

static void test_harsh(void **state)
{
    (void)state;
    static const unsigned batches[] = {200, 32, 7};
    struct engine_check_result all = {0};
    for (unsigned seed = 0; seed < 4 * factor; seed++) {
        struct engine_check_options o = {.seed = seed, .batch = batches[seed % 3], .rules = seed % 2 == 0};
        for (unsigned i = 0; i < SL_ENGINE_LANES; i++)
            o.trace[i] = trace_options_harsh(8 + seed % 3 * 20, 1500);
        const struct engine_check_result r = run(&o);
        for (unsigned i = 0; i < SL_ENGINE_LANES; i++)
            assert_int_equal(r.statistics[i].counts[trace_count_stalled], 0);
        all.frames += r.frames;
        all.squashed += r.squashed;
        all.text_bytes += r.text_bytes;
    }
    print_message("%llu frames, %llu squashed, %llu bytes mirrored\n", (unsigned long long)all.frames,
                  (unsigned long long)all.squashed, (unsigned long long)all.text_bytes);
    assert_true(all.text_bytes > 100000);
}

/* G3: the seal key is not used beyond its limit. */
static void test_G3_seal_limit(void **state)
{
    (void)state;
    struct engine_check_options o = {.seed = 77, .batch = 32, .seal_limit = 700};
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++)
        o.trace[i] = (struct trace_options){.sessions = 4, .packets = 4000 * factor, .record_max = 64};
    const struct engine_check_result r = run(&o);
    assert_true(r.reasons[model_reason_seal_limit] > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_harsh),
        cmocka_unit_test(test_G3_seal_limit),
    };
    if (getenv("SLUICE_LONG") != NULL)
        factor = 20;
    return cmocka_run_group_tests(tests, xrt_lab_begin, xrt_lab_end);
}
