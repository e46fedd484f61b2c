/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/units.h"

#define S  UINT64_C(1000000000)
#define NO UINT64_MAX

static void durations(void **state)
{
    static const struct {
        const char *text;
        uint64_t ns; /* NO: refused */
    } table[] = {
        {"0", 0},
        {"90s", 90 * S},
        {"15m", 900 * S},
        {"1h30m", 5400 * S},
        {"7d", 604800 * S},
        {"2w", 1209600 * S},
        {"250ms", S / 4},
        {"1h0m1s", 3601 * S},
        {"", NO},
        {"5", NO},
        {"s", NO},
        {"1x", NO},
        {"1h1h", NO},
        {"1m1h", NO},
        {"-1h", NO},
        {" 1h", NO},
        {"1h ", NO},
        {"1.5h", NO},
        {"521w", 521 * 604800 * S},
        {"522w", NO},
        {"99999999999999999999s", NO},
        {"1hh", NO},
        {"18446744073709551615w", NO},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct sl_diag diag = {{0}};
        uint64_t ns = 77;
        sl_err err = sl_units_duration("--for", table[i].text, &ns, &diag);
        if (table[i].ns == NO) {
            assert_int_not_equal(err, SL_OK);
            assert_int_equal(ns, 77);
            assert_non_null(strstr(diag.text, "--for"));
        } else {
            assert_int_equal(err, SL_OK);
            assert_int_equal(ns, table[i].ns);
        }
    }
}

static void numbers(void **state)
{
    static const struct {
        const char *text;
        uint64_t min, max, value;
    } table[] = {
        {"1", 1, 10, 1},
        {"10", 1, 10, 10},
        {"0", 1, 10, NO},
        {"11", 1, 10, NO},
        {"", 0, 10, NO},
        {"+1", 0, 10, NO},
        {"-1", 0, 10, NO},
        {"1 ", 0, 10, NO},
        {"0x1", 0, 10, NO},
        {"18446744073709551614", 0, UINT64_MAX, UINT64_MAX - 1},
        {"18446744073709551616", 0, UINT64_MAX, NO},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct sl_diag diag = {{0}};
        uint64_t value = 77;
        sl_err err = sl_units_number("--limit", table[i].text, table[i].min, table[i].max, &value, &diag);
        assert_int_equal(err, table[i].value == NO ? SL_ERR_INVALID : SL_OK);
        assert_int_equal(value, table[i].value == NO ? 77 : table[i].value);
    }
}

static void moments(void **state)
{
    const uint64_t now = UINT64_C(1769860800) * S; /* 2026-01-31T12:00:00Z */
    static const struct {
        const char *text;
        uint64_t seconds;
    } table[] = {
        {"1h", 1769857200},
        {"2026-01-31T12:00:00Z", 1769860800},
        {"2026-01-31T12:00:00.999Z", 1769860800},
        {"2026-01-31T13:30:00+01:30", 1769860800},
        {"2026-01-31T11:00:00-01:00", 1769860800},
        {"2026-01-31 13:00", 1769860800}, /* local time is UTC+1 here */
        {"2026-01-31 13:00:05", 1769860805},
        {"2026-01-31", 1769814000},
        {"12:30", 1769859000},
        {"12:30:01", 1769859001},
        {"60w", 1733572800},
        {"9w99", NO},
        {"2026-13-01", NO},
        {"2026-01-31T12:00:00+1:00", NO},
        {"2026-01-31T12:00:00", 1769857200},
        {"yesterday", NO},
        {"", NO},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct sl_diag diag = {{0}};
        uint64_t ns = 77;
        sl_err err = sl_units_moment("--since", table[i].text, now, &ns, &diag);
        assert_int_equal(err, table[i].seconds == NO ? SL_ERR_INVALID : SL_OK);
        assert_int_equal(ns, table[i].seconds == NO ? 77 : table[i].seconds * S);
    }
}

static void texts(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } sizes[] = {{0, "0 B"},
                 {1023, "1023 B"},
                 {1024, "1.0 KiB"},
                 {1536, "1.5 KiB"},
                 {20480, "20 KiB"},
                 {UINT64_C(1) << 30, "1.0 GiB"},
                 {UINT64_MAX, "16 EiB"}};
    static const struct {
        uint64_t seconds;
        const char *text;
    } times[] = {{0, "0 s"}, {59, "59 s"}, {61, "1 min 1 s"}, {3661, "1 h 1 min"}, {183600, "2 d 3 h"}};
    char out[64];
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        sl_units_size_text(sizes[i].bytes, out, sizeof out);
        assert_string_equal(out, sizes[i].text);
    }
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        sl_units_duration_text(times[i].seconds, out, sizeof out);
        assert_string_equal(out, times[i].text);
    }
    sl_units_time_text(0, false, out, sizeof out);
    assert_string_equal(out, "-");
    sl_units_time_text(UINT64_C(1769860800) * S + 7000000, true, out, sizeof out);
    assert_string_equal(out, "2026-01-31 13:00:00.007");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(durations), cmocka_unit_test(numbers), cmocka_unit_test(moments),
                                       cmocka_unit_test(texts)};
    setenv("TZ", "XYZ-1", 1); /* one hour east of Greenwich, without daylight saving */
    tzset();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
