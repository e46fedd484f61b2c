/* SPDX-License-Identifier: Apache-2.0 */
/* The engine on rings with the kernels themselves behind them, held against the reference model with the same traces as the cpu
 * engine. SLUICE_LONG=1: more of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine_traces.h"
#include "native_link.h"

static struct sl_engine *open_link(uint32_t sessions, uint32_t seal_limit)
{
    const struct native_link_options link = {.sessions = (sessions + 63) / 64 * 64};
    const struct sl_engine_options options = {.sessions = sessions, .seal_limit = seal_limit, .dead_after_ms = 60000};
    struct sl_engine *engine;
    assert_int_equal(sl_engine_open_link(native_link_new(&link), &options, &engine, NULL), SL_OK);
    return engine;
}

static struct engine_under_test kernels = {.open = open_link};

static void test_harsh(void **state)
{
    (void)state;
    engine_traces_harsh(&kernels);
}

static void test_corners(void **state)
{
    (void)state;
    engine_traces_corners(&kernels);
}

static void test_G3_seal_limit(void **state)
{
    (void)state;
    engine_traces_G3_seal_limit(&kernels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_harsh),
        cmocka_unit_test(test_corners),
        cmocka_unit_test(test_G3_seal_limit),
    };
    engine_traces_measure(&kernels, true);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
