// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "image.h"

static const char good[] =
    "<?xml version=\"1.0\"?>\n<project name=\"x\"><platform name=\"p\">\n"
    "<kernel name=\"one\" language=\"c\">\n<port name=\"S\" mode=\"slave\" range=\"0x2000\"/><port name=\"M\" mode=\"master\" "
    "range=\"0xFFFFFFFF\"/>\n<arg name=\"a\" addressQualifier=\"1\" id=\"0\" offset=\"0x10\" size=\"0x8\"/>\n"
    "<arg name=\"n\" addressQualifier=\"0\" id=\"1\" offset=\"0x1c\" size=\"0x4\"/>\n"
    "<instance name=\"one_2\"><addrRemap base=\"0x1810000\" range=\"0x10000\"/></instance>\n"
    "<instance name=\"one_1\"><addrRemap base=\"0x1800000\" range=\"0x10000\"/></instance>\n</kernel>\n"
    "<kernel name=\"free\" hwControlProtocol=\"ap_ctrl_none\">\n<arg name=\"s\" addressQualifier=\"4\" id=\"0\" offset=\"0x0\"/>\n"
    "<instance name=\"free_1\"></instance>\n</kernel>\n</platform></project>\n";

static struct image image;

static void test_good(void **state)
{
    (void)state;
    assert_true(image_parse(&image, good, strlen(good)));
    assert_int_equal(image.unit_count, 2);             // the free-running one is none
    assert_string_equal(image.units[0].name, "one_1"); // by address
    assert_true(image.units[0].base == 0x1800000 && image.units[1].base == 0x1810000);
    assert_int_equal(image.kernels[0].range, 0x2000);
    assert_int_equal(image.kernels[0].argument_count, 2);
    assert_true(image.kernels[0].arguments[0].pointer && image.kernels[0].arguments[0].offset == 0x10);
    assert_true(!image.kernels[0].arguments[1].pointer && image.kernels[0].arguments[1].offset == 0x1c);
}

/* Cut anywhere it is an image or none, but never a crash; the copy is exact, so that a sanitizer sees a read too far. */
static void test_cut(void **state)
{
    (void)state;
    for (size_t length = 0; length < sizeof good; length++) {
        char *copy = malloc(length ? length : 1);
        assert_non_null(copy);
        memcpy(copy, good, length);
        bool ok = image_parse(&image, copy, length);
        assert_true(ok || image.unit_count == 0);
        free(copy);
    }
}

static void test_bad(void **state)
{
    static const char *const texts[] = {
        "",
        "<kernel name=\"k\"><port mode=\"slave\" range=\"4\"/>",
        "<kernel name=\"k\"><port mode=\"slave\" range=\"0x10001\"/>",
        "<kernel language=\"c\">",
        "<kernel name=\"k\"><arg id=\"64\" offset=\"16\" addressQualifier=\"1\"/>",
        "<kernel name=\"k\"><arg id=\"0\" offset=\"0x1000\" addressQualifier=\"1\"/>",
        "<kernel name=\"k\"><arg id=\"0\" offset=\"-1\" addressQualifier=\"1\"/>",
        "<kernel name=\"k\"><arg id=\"\" offset=\"16\" addressQualifier=\"1\"/>",
        "<kernel name=\"k\"><instance name=\"k_1\">",
        "<kernel name=\"k\"><instance name=\"k_1\"><addrRemap base=\"x\"/>",
        "<instance name=\"k_1\"><addrRemap base=\"0\"/>",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_false(image_parse(&image, texts[i], strlen(texts[i])));
        assert_int_equal(image.unit_count, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_cut), cmocka_unit_test(test_bad)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
