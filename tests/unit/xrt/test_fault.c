// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"

static void test_good(void **state)
{
    struct faults faults;
    struct fault fault;
    const char *bad;
    (void)state;
    assert_true(faults_parse(&faults,
                             "lose unit=a run=3; delay ms=20\n# a comment\n\n crash signal=abrt ms=5 ;die how=vanish when=load\n"
                             "flip arg=1 byte=0x10 bit=7 when=done",
                             &bad));
    assert_int_equal(faults.count, 5);
    assert_false(faults_take(&faults, FAULT_LOSE, FAULT_START, "a", 2, &fault));
    assert_false(faults_take(&faults, FAULT_LOSE, FAULT_START, "b", 3, &fault));
    assert_true(faults_take(&faults, FAULT_LOSE, FAULT_START, "a", 3, &fault));
    assert_false(faults_take(&faults, FAULT_LOSE, FAULT_START, "a", 3, &fault)); // once
    assert_true(faults_take(&faults, FAULT_DELAY, FAULT_START, "b", 1, &fault));
    assert_int_equal(fault.delay_ms, 20);
    assert_true(faults_take(&faults, FAULT_CRASH, FAULT_START, "b", 1, &fault));
    assert_int_equal(fault.signal, SIGABRT);
    assert_false(faults_take(&faults, FAULT_DIE, FAULT_NOW, NULL, 0, &fault));
    assert_true(faults_take(&faults, FAULT_DIE, FAULT_LOAD, NULL, 0, &fault));
    assert_int_equal(fault.how, DEATH_VANISH);
    assert_false(faults_take(&faults, FAULT_FLIP, FAULT_START, "x", 1, &fault));
    assert_true(faults_take(&faults, FAULT_FLIP, FAULT_DONE, "x", 1, &fault));
    assert_true(fault.byte == 16 && fault.bit == 7 && fault.argument == 1);
    assert_true(faults_parse(&faults, "", &bad));
    assert_int_equal(faults.count, 0);
}

/* Faults that are kernels' own, and those of units: neither is taken for the other. */
static void test_own(void **state)
{
    struct faults faults;
    struct fault fault;
    const char *bad;
    (void)state;
    assert_true(faults_parse(&faults,
                             "lose unit=a entry=3;delay unit=b entry=1 ms=7;overrun unit=a entry=2;stray unit=b entry=4;"
                             "refuse unit=a entry=5;flip unit=a entry=6 byte=9 bit=1;lose unit=a;flip unit=a when=now arg=2",
                             &bad));
    assert_int_equal(faults_count_own(&faults), 6);
    assert_true(faults_take(&faults, FAULT_LOSE, FAULT_START, "a", 1, &fault));
    assert_int_equal(fault.entry, 0);
    assert_false(faults_take(&faults, FAULT_LOSE, FAULT_START, "a", 2, &fault));
    assert_false(faults_take(&faults, FAULT_FLIP, FAULT_START, "a", 1, &fault));
    assert_true(faults_take(&faults, FAULT_FLIP, FAULT_NOW, NULL, 0, &fault));
    assert_true(fault.argument == 2 && strcmp(fault.unit, "a") == 0);
    assert_true(faults_take_own(&faults, "b", &fault));
    assert_true(fault.kind == FAULT_DELAY && fault.entry == 1 && fault.delay_ms == 7);
    assert_true(faults_take_own(&faults, "a", &fault));
    assert_true(fault.kind == FAULT_LOSE && fault.entry == 3);
    assert_true(faults_take_own(&faults, "a", &fault));
    assert_int_equal(fault.kind, FAULT_OVERRUN);
    assert_int_equal(faults_count_own(&faults), 3);
    assert_false(faults_take_own(&faults, "c", &fault));
    assert_true(faults_take_own(&faults, "b", &fault));
    assert_int_equal(fault.kind, FAULT_STRAY);
    assert_false(faults_take_own(&faults, "b", &fault));
    assert_true(faults_take_own(&faults, "a", &fault));
    assert_int_equal(fault.kind, FAULT_REFUSE);
    assert_true(faults_take_own(&faults, "a", &fault));
    assert_true(fault.kind == FAULT_FLIP && fault.byte == 9 && fault.bit == 1);
    assert_int_equal(faults_count_own(&faults), 0);
}

static void test_bad(void **state)
{
    static const char *const texts[] = {
        "explode",
        "lose unit",
        "lose unit=",
        "lose run=0",
        "lose run=x",
        "delay ms=-1",
        "delay ms=",
        "crash signal=hup",
        "flip arg=64",
        "flip bit=8",
        "die how=so",
        "die when=never",
        "lose colour=1",
        "lose when=load",
        "crash when=done",
        "flip when=now",
        "lose entry=1",
        "lose unit=a entry=0",
        "overrun unit=a",
        "stray unit=a run=1 entry=1",
        "refuse entry=1",
        "crash unit=a entry=1",
        "die unit=a entry=1",
        "lose unit=a entry=1 ms=5",
        "delay unit=a entry=1",
        "flip unit=a entry=1 when=now",
        "flip unit=a run=1 when=now",
        "lose unit=a entry=4294967296",
        "delay ms=99999999",
        "lose unit=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    struct faults faults;
    const char *bad;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_false(faults_parse(&faults, texts[i], &bad));
        assert_int_equal(faults.count, 0);
        assert_ptr_equal(bad, texts[i]);
    }
}

/* More than there is room for, and a line longer than any. */
static void test_limits(void **state)
{
    static char text[FAULT_MAX * 5 + 300];
    struct faults faults;
    const char *bad;
    size_t at = 0;
    (void)state;
    for (int i = 0; i < FAULT_MAX; i++)
        for (const char *c = "lose;"; *c; c++)
            text[at++] = *c;
    assert_true(faults_parse(&faults, text, &bad));
    assert_int_equal(faults.count, FAULT_MAX);
    text[at] = 'x';
    assert_false(faults_parse(&faults, text, &bad));
    for (size_t i = 0; i < 299; i++)
        text[i] = ' ';
    text[299] = '\0';
    assert_false(faults_parse(&faults, text, &bad));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_own), cmocka_unit_test(test_bad),
                                       cmocka_unit_test(test_limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
