/* SPDX-License-Identifier: Apache-2.0 */
/* The cpu engine held against the reference model of docs/card.md with traces of genuine and hostile traffic. SLUICE_LONG=1: more
 * than a million frames. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine_traces.h"
#include "record/gcm.h"

static const char *gcm; /* NULL: the default */

static struct sl_engine *open_cpu(uint32_t sessions, uint32_t seal_limit)
{
    const struct sl_engine_options options = {.sessions = sessions, .seal_limit = seal_limit, .gcm = gcm};
    struct sl_engine *engine;
    assert_int_equal(sl_engine_open_cpu(&options, &engine, NULL), SL_OK);
    return engine;
}

static struct engine_under_test cpu = {.open = open_cpu};

static void test_harsh(void **state)
{
    (void)state;
    struct engine_under_test more = cpu;
    more.seeds *= 3;
    engine_traces_harsh(&more);
}

static void test_G3_seal_limit(void **state)
{
    (void)state;
    engine_traces_G3_seal_limit(&cpu);
}

static void test_corners(void **state)
{
    (void)state;
    engine_traces_corners(&cpu);
}

static void test_every_gcm(void **state)
{
    (void)state;
    size_t count;
    const struct sl_gcm_engine *const *engines = sl_gcm_engines(&count);
    for (size_t e = 0; e < count; e++) {
        if (!sl_gcm_has_positions(engines[e]))
            continue;
        gcm = sl_gcm_engine_name(engines[e]);
        engine_traces_corners(&cpu);
    }
    gcm = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_harsh),
        cmocka_unit_test(test_G3_seal_limit),
        cmocka_unit_test(test_corners),
        cmocka_unit_test(test_every_gcm),
    };
    engine_traces_measure(&cpu, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
