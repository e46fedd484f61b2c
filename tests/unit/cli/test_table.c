/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "cli/table.h"

static const char *const heads[] = {"NAME", ">SIZE", "TEXT"};

static char *print(const struct sl_table *t, const char *empty)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_int_equal(sl_table_print(t, out, empty), SL_OK);
    fclose(out);
    return text;
}

static void columns_are_as_wide_as_their_cells(void **state)
{
    struct sl_table t;
    (void)state;
    sl_table_init(&t, heads, 3);
    sl_table_text(&t, "\xc3\xbc");
    sl_table_format(&t, "%d", 12345);
    sl_table_text(&t, "last");
    sl_table_text(&t, "longer");
    sl_table_format(&t, "%d", 7);
    sl_table_text(&t, "\x1b[2J");
    sl_table_text(&t, NULL);
    sl_table_text(&t, "");
    sl_table_text(&t, "x");
    char *text = print(&t, NULL);
    assert_string_equal(text, "NAME     SIZE  TEXT\n"
                              "\xc3\xbc       12345  last\n"
                              "longer      7  \\x1b[2J\n"
                              "-           -  x\n");
    free(text);
    sl_table_free(&t);
}

static void an_empty_table(void **state)
{
    struct sl_table t;
    (void)state;
    sl_table_init(&t, heads, 3);
    char *text = print(&t, "Nothing.");
    assert_string_equal(text, "Nothing.\n");
    free(text);
    text = print(&t, NULL);
    assert_string_equal(text, "");
    free(text);
    sl_table_text(&t, "half a row is not shown");
    text = print(&t, "Nothing.");
    assert_string_equal(text, "Nothing.\n");
    free(text);
    sl_table_free(&t);
}

static void many_rows(void **state)
{
    struct sl_table t;
    (void)state;
    sl_table_init(&t, heads, 3);
    for (int i = 0; i < 5000; i++) {
        sl_table_format(&t, "row %d", i);
        sl_table_text(&t, "1");
        sl_table_text(&t, "2");
    }
    char *text = print(&t, NULL);
    free(text);
    sl_table_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(columns_are_as_wide_as_their_cells), cmocka_unit_test(an_empty_table),
                                       cmocka_unit_test(many_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
