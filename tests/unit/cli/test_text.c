/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli/text.h"

static const struct {
    const char *in, *safe, *json;
} table[] = {
    {"", "", ""},
    {"plain text", "plain text", "plain text"},
    {"gr\xc3\xbc\xc3\x9f"
     "e \xf0\x9f\x99\x82",
     "gr\xc3\xbc\xc3\x9f"
     "e \xf0\x9f\x99\x82",
     "gr\xc3\xbc\xc3\x9f"
     "e \xf0\x9f\x99\x82"},
    {"\x1b[31mred", "\\x1b[31mred", "\\u001b[31mred"}, /* a colour */
    {"a\rb\bc\x7f", "a\\x0db\\x08c\\x7f", "a\\u000db\\u0008c\\u007f"},
    {"\xc2\x9b"
     "2J",
     "\\u{9b}2J", "\\u009b2J"},                        /* CSI as a C1 character */
    {"\xe2\x80\xaeoff", "\\u{202e}off", "\\u202eoff"}, /* right-to-left override */
    {"\xef\xbb\xbf", "\\u{feff}", "\\ufeff"},
    {"\xf3\xa0\x81\x81", "\\u{e0041}", "\\udb40\\udc41"},         /* a tag character */
    {"\xff\xfe", "\\xff\\xfe", "\\ufffd\\ufffd"},                 /* not UTF-8 */
    {"\xc0\xaf", "\\xc0\\xaf", "\\ufffd\\ufffd"},                 /* overlong */
    {"\xed\xa0\x80", "\\xed\\xa0\\x80", "\\ufffd\\ufffd\\ufffd"}, /* a surrogate */
    {"\xe2\x82", "\\xe2\\x82", "\\ufffd\\ufffd"},                 /* cut off */
    {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", "\\ufffd\\ufffd\\ufffd\\ufffd"},
};

static void safe(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char *out = NULL;
        assert_int_equal(sl_text_safe(table[i].in, false, &out), SL_OK);
        assert_string_equal(out, table[i].safe);
        free(out);
        assert_int_equal(sl_text_json_safe(table[i].in, &out), SL_OK);
        assert_string_equal(out, table[i].json);
        free(out);
    }
}

static void lines(void **state)
{
    char *out = NULL;
    (void)state;
    assert_int_equal(sl_text_safe("a\n\tb\r\n", true, &out), SL_OK);
    assert_string_equal(out, "a\n\tb\\x0d\n");
    free(out);
    assert_int_equal(sl_text_safe("a\n\tb", false, &out), SL_OK);
    assert_string_equal(out, "a\\x0a\\x09b");
    free(out);
}

static void widths(void **state)
{
    (void)state;
    assert_int_equal(sl_text_width(""), 0);
    assert_int_equal(sl_text_width("abc"), 3);
    assert_int_equal(sl_text_width("\xc3\xbc"), 1);
    assert_int_equal(sl_text_width("e\xcc\x81"), 1);                /* a combining accent */
    assert_int_equal(sl_text_width("\xe6\x97\xa5\xe6\x9c\xac"), 4); /* wide characters */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(safe), cmocka_unit_test(lines), cmocka_unit_test(widths)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
