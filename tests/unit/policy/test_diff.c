/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/diff.h"

static void test_known(void **state)
{
    static const struct {
        const char *from, *to, *diff;
    } T[] = {
        {"", "", ""},
        {"a\n", "a\n", ""},
        {"", "a\n", "--- f\n+++ t\n@@ -0,0 +1,1 @@\n+a\n"},
        {"a\n", "", "--- f\n+++ t\n@@ -1,1 +0,0 @@\n-a\n"},
        {"a\nb\nc\n", "a\nx\nc\n", "--- f\n+++ t\n@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n"},
        {"1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nx\n6\n7\n8\n9\n",
         "--- f\n+++ t\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+x\n 6\n 7\n 8\n"},
        {"a\n1\n2\n3\n4\n5\n6\n7\nb\n", "1\n2\n3\n4\n5\n6\n7\n",
         "--- f\n+++ t\n@@ -1,4 +1,3 @@\n-a\n 1\n 2\n 3\n@@ -6,4 +5,3 @@\n 5\n 6\n 7\n-b\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(T) / sizeof(T[0]); i++) {
        char *out = NULL;
        assert_int_equal(sl_text_diff("f", T[i].from, "t", T[i].to, &out), SL_OK);
        assert_string_equal(out, T[i].diff);
        free(out);
    }
}

/* Applies a diff to from, strictly; the result must be to. */
static void assert_applies(const char *from, const char *to, const char *diff)
{
    size_t size = strlen(to) + strlen(from) + 16, n = 0, line = 1;
    char *result = calloc(size, 1);
    const char *at = from, *d = diff;

    for (int i = 0; i < 2 && *d; i++)
        d = strchr(d, '\n') + 1;
    while (*d) {
        size_t len = strcspn(d, "\n") + 1;
        if (*d == '@') {
            size_t start = 0, count = 0;
            assert_int_equal(sscanf(d, "@@ -%zu,%zu", &start, &count), 2);
            for (; line < start + (count == 0); line++) {
                size_t l = strcspn(at, "\n") + 1;
                memcpy(result + n, at, l);
                n += l;
                at += l;
            }
        } else if (*d != '+') {
            assert_memory_equal(at, d + 1, len - 1);
            at += len - 1;
            line++;
        }
        if (*d == '+' || *d == ' ') {
            memcpy(result + n, d + 1, len - 1);
            n += len - 1;
        }
        d += len;
    }
    strcpy(result + n, at);
    assert_string_equal(result, to);
    free(result);
}

static void random_text(unsigned *seed, size_t lines, unsigned letters, char *out)
{
    for (size_t i = 0; i < lines; i++) {
        *out++ = (char)('a' + (*seed = *seed * 1103515245u + 12345u) / 65536u % letters);
        *out++ = '\n';
    }
    *out = '\0';
}

static void test_random_applies(void **state)
{
    char from[512], to[512];
    unsigned seed = 7;

    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        char *out = NULL;
        random_text(&seed, i % 40, 2 + i % 5, from);
        random_text(&seed, i / 3 % 40, 2 + i % 5, to);
        assert_int_equal(sl_text_diff("f", from, "t", to, &out), SL_OK);
        assert_applies(from, to, out);
        free(out);
    }
}

/* Beyond the limit of the search the diff is coarse but still right. */
static void test_huge(void **state)
{
    enum { N = 5000 };
    char *from = calloc(N * 8 + 1, 1), *to = calloc(N * 8 + 1, 1), *out = NULL;

    (void)state;
    for (int i = 0; i < N; i++) {
        sprintf(from + strlen(from), "f%d\n", i);
        sprintf(to + strlen(to), "t%d\n", i);
    }
    assert_int_equal(sl_text_diff("f", from, "t", to, &out), SL_OK);
    assert_applies(from, to, out);
    free(out);
    free(from);
    free(to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_known), cmocka_unit_test(test_random_applies),
                                       cmocka_unit_test(test_huge)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
