/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/err.h"

static void phrases(void **state)
{
    static const struct {
        sl_err err;
        const char *text;
    } cases[] = {
        {SL_OK, "success"},
        {SL_ERR_NOMEM, "out of memory"},
        {SL_ERR_UNAVAILABLE, "peer unavailable"},
        {SL_ERR_COUNT, "unknown error"},
        {-1, "unknown error"},
        {INT32_MAX, "unknown error"},
        {INT32_MIN, "unknown error"},
        {SL_ERR_ALERT(40), "TLS alert handshake_failure"},
        {SL_ERR_ALERT(0), "TLS alert close_notify"},
        {SL_ERR_ALERT(255), "TLS alert unknown"},
        {SL_ERR_PEER_ALERT(48), "the peer sent the TLS alert unknown_ca"},
        {SL_ERR_PEER_ALERT(1), "the peer sent an unknown TLS alert"},
        {SL_ERR_PEER_ALERT(255) + 1, "unknown error"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(sl_err_str(cases[i].err), cases[i].text);
    for (sl_err err = SL_OK; err < SL_ERR_COUNT; err++)
        assert_string_not_equal(sl_err_str(err), "unknown error");
}

static void alerts(void **state)
{
    (void)state;
    assert_string_equal(sl_alert_name(120), "no_application_protocol");
    assert_string_equal(sl_alert_name(200), "unknown");
    assert_true(SL_ERR_IS_ALERT(SL_ERR_ALERT(0)));
    assert_true(SL_ERR_IS_ALERT(SL_ERR_ALERT(255)));
    assert_false(SL_ERR_IS_ALERT(SL_ERR_PEER_ALERT(0)));
    assert_false(SL_ERR_IS_ALERT(SL_ERR_AUTH));
    assert_true(SL_ERR_IS_PEER_ALERT(SL_ERR_PEER_ALERT(255)));
    assert_int_equal(SL_ERR_ALERT_CODE(SL_ERR_PEER_ALERT(112)), 112);
}

static void fail_sets_the_text(void **state)
{
    struct sl_diag diag;

    (void)state;
    assert_int_equal(sl_fail(&diag, SL_ERR_INVALID, "port %d", 70000), SL_ERR_INVALID);
    assert_string_equal(diag.text, "port 70000");
    assert_int_equal(sl_fail_prefix(&diag, SL_ERR_INVALID, "rule %s", "R1"), SL_ERR_INVALID);
    assert_string_equal(diag.text, "rule R1: port 70000");
    assert_int_equal(sl_fail(&diag, SL_ERR_IO, "again: %s", diag.text), SL_ERR_IO); /* the old text as an argument */
    assert_string_equal(diag.text, "again: rule R1: port 70000");
    assert_int_equal(sl_fail(NULL, SL_ERR_IO, "nobody listens"), SL_ERR_IO);
    assert_int_equal(sl_fail_prefix(NULL, SL_ERR_IO, "nobody listens"), SL_ERR_IO);
}

static void fail_truncates(void **state)
{
    struct sl_diag diag;
    char longer[2 * sizeof(diag.text)];

    (void)state;
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    sl_fail(&diag, SL_ERR_INVALID, "%s", longer);
    assert_int_equal(strlen(diag.text), sizeof(diag.text) - 1);
    sl_fail_prefix(&diag, SL_ERR_INVALID, "file");
    assert_int_equal(strlen(diag.text), sizeof(diag.text) - 1);
    assert_memory_equal(diag.text, "file: xxx", 9);
    sl_fail_prefix(&diag, SL_ERR_INVALID, "%s", longer); /* no room for the old text */
    assert_true(strlen(diag.text) < sizeof(diag.text));
    assert_memory_equal(diag.text, "xxx", 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(phrases),
        cmocka_unit_test(alerts),
        cmocka_unit_test(fail_sets_the_text),
        cmocka_unit_test(fail_truncates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
