/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The xrt engine on the simulated card: Debian's XRT, the worker process, the device process, the kernels. Held against the
 * reference model with the same traces as the cpu engine and the kernels alone. SLUICE_LONG=1: more of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine_traces.h"
#include "xrt_lab.h"

static struct sl_engine *open_xrt(uint32_t sessions, uint32_t seal_limit)
{
    return xrt_lab_open(&(struct sl_engine_options){.sessions = sessions, .seal_limit = seal_limit});
}

static struct engine_under_test card = {.open = open_xrt};

static void test_harsh(void **state)
{
    (void)state;
    engine_traces_harsh(&card);
}

static void test_corners(void **state)
{
    (void)state;
    engine_traces_corners(&card);
}

static void test_G3_seal_limit(void **state)
{
    (void)state;
    engine_traces_G3_seal_limit(&card);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_harsh),
        cmocka_unit_test(test_corners),
        cmocka_unit_test(test_G3_seal_limit),
    };
    engine_traces_measure(&card, true);
    return cmocka_run_group_tests(tests, xrt_lab_begin, xrt_lab_end);
}
