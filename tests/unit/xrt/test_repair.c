// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "repair.h"

enum { STORE_AT = 16, JUMP_AT = 40 };

/* The part of alloc_void that matters, as Debian 12 ships it, among no-ops. */
static size_t stock(uint8_t code[64])
{
    static const uint8_t store[] = {0x48, 0x89, 0x83, 0x70, 0x06, 0, 0, 0x48, 0x89, 0xe8};
    static const uint8_t jump[] = {0x48, 0x85, 0xc0, 0x75, 0, 0x48, 0x8b, 0xbb, 0x70, 0x06, 0, 0};
    memset(code, 0x90, 64);
    memcpy(code + STORE_AT, store, sizeof store);
    memcpy(code + JUMP_AT, jump, sizeof jump);
    code[JUMP_AT + 4] = (uint8_t)(STORE_AT + 7 - (JUMP_AT + 5));
    return 64;
}

static void test_stock_form(void **state)
{
    uint8_t code[64];
    size_t at = 0, length = stock(code);
    (void)state;
    assert_int_equal(repair_find(code, length, &at), REPAIR_NEEDED);
    assert_int_equal(at, JUMP_AT + 4);
    code[at] = (uint8_t)(code[at] - 7);
    assert_int_equal(repair_find(code, length, &at), REPAIR_NOT_NEEDED);
}

/* One byte of the pattern is another: left alone, wherever it is. */
static void test_other_forms(void **state)
{
    uint8_t code[64];
    size_t at, length = stock(code);
    (void)state;
    for (size_t i = 0; i < length; i++) {
        size_t pattern = (i >= STORE_AT && i < STORE_AT + 10) || (i >= JUMP_AT && i < JUMP_AT + 12);
        stock(code);
        code[i] ^= 0x01;
        assert_int_equal(repair_find(code, length, &at), pattern ? REPAIR_UNKNOWN : REPAIR_NEEDED);
    }
}

/* A function that ends early, or whose jump leads out of it. */
static void test_bounds(void **state)
{
    uint8_t code[64];
    size_t at, length = stock(code);
    (void)state;
    for (size_t cut = 0; cut < JUMP_AT + 12; cut++)
        assert_int_equal(repair_find(code, cut, &at), REPAIR_UNKNOWN);
    for (int distance = -128; distance < 128; distance++) {
        stock(code);
        code[JUMP_AT + 4] = (uint8_t)distance;
        enum repair_state expected = distance == STORE_AT + 7 - (JUMP_AT + 5) ? REPAIR_NEEDED
                                     : distance == STORE_AT - (JUMP_AT + 5)   ? REPAIR_NOT_NEEDED
                                                                              : REPAIR_UNKNOWN;
        assert_int_equal(repair_find(code, length, &at), expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stock_form),
        cmocka_unit_test(test_other_forms),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
