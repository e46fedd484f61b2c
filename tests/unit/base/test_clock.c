/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"

static void formats_rfc3339(void **state)
{
    static const struct {
        uint64_t wall_ns;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000000000Z"},
        {1, "1970-01-01T00:00:00.000000001Z"},
        {951782400ull * SL_NS_PER_S, "2000-02-29T00:00:00.000000000Z"},
        {1769860800123456789ull, "2026-01-31T12:00:00.123456789Z"},
        {4102444799999999999ull, "2099-12-31T23:59:59.999999999Z"},
        {UINT64_MAX, "2554-07-21T23:34:33.709551615Z"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char out[31];
        sl_time_rfc3339(cases[i].wall_ns, out);
        assert_string_equal(out, cases[i].text);
    }
}

static void manual_moves_when_told(void **state)
{
    struct sl_clock_manual m;
    uint64_t mono;

    (void)state;
    sl_clock_manual_init(&m, 1000);
    assert_int_equal(m.clock.wall_ns(m.clock.arg), 1000);
    mono = m.clock.mono_ns(m.clock.arg);
    assert_int_not_equal(mono, 0);
    sl_clock_manual_advance(&m, 5);
    assert_int_equal(m.clock.wall_ns(m.clock.arg), 1005);
    assert_int_equal(m.clock.mono_ns(m.clock.arg), mono + 5);
    m.wall = 10; /* the wall clock can be set back; the other can't */
    assert_int_equal(m.clock.wall_ns(m.clock.arg), 10);
    assert_int_equal(m.clock.mono_ns(m.clock.arg), mono + 5);
}

static void system_clock_runs(void **state)
{
    const struct sl_clock *c = sl_clock_system();
    uint64_t before = c->mono_ns(c->arg);

    (void)state;
    assert_true(c->wall_ns(c->arg) > 1600000000ull * SL_NS_PER_S);
    assert_true(c->mono_ns(c->arg) >= before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_rfc3339),
        cmocka_unit_test(manual_moves_when_told),
        cmocka_unit_test(system_clock_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
