/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

static void empty_owns_nothing(void **state)
{
    struct sl_buf b;
    uint8_t *room;

    (void)state;
    sl_buf_init(&b, 100);
    assert_int_equal(sl_buf_len(&b), 0);
    assert_non_null(sl_buf_data(&b));
    assert_null(b.base);
    assert_int_equal(sl_buf_append(&b, NULL, 0), SL_OK);
    assert_int_equal(sl_buf_append(&b, "abc", 3), SL_OK);
    assert_non_null(b.base);
    sl_buf_consume(&b, 3);
    assert_null(b.base);
    assert_int_equal(sl_buf_reserve(&b, 10, &room), SL_OK);
    sl_buf_commit(&b, 0); /* nothing came */
    assert_null(b.base);
    assert_int_equal(sl_buf_append(&b, "abc", 3), SL_OK);
    sl_buf_free(&b);
    assert_null(b.base);
    assert_int_equal(b.limit, 100);
    sl_buf_consume(&b, 1);
    sl_buf_free(&b);
}

static void limit_is_exact(void **state)
{
    static const size_t limits[] = {0, 1, 255, 256, 257, 1000, 4096};
    uint8_t bytes[5000] = {0}, *room;

    (void)state;
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct sl_buf b;
        sl_buf_init(&b, limits[i]);
        assert_int_equal(sl_buf_append(&b, bytes, limits[i] + 1), SL_ERR_LIMIT);
        assert_int_equal(sl_buf_append(&b, bytes, limits[i]), SL_OK);
        assert_int_equal(sl_buf_append(&b, bytes, 1), SL_ERR_LIMIT);
        assert_int_equal(sl_buf_reserve(&b, SIZE_MAX, &room), SL_ERR_LIMIT);
        assert_int_equal(sl_buf_len(&b), limits[i]);
        if (limits[i] > 0) {
            sl_buf_consume(&b, 1);
            assert_int_equal(sl_buf_append(&b, bytes, 1), SL_OK); /* room at the head is room */
        }
        sl_buf_free(&b);
    }
}

static void reserve_and_commit(void **state)
{
    struct sl_buf b;
    uint8_t *room;

    (void)state;
    sl_buf_init(&b, 1 << 20);
    assert_int_equal(sl_buf_append(&b, "head", 4), SL_OK);
    assert_int_equal(sl_buf_reserve(&b, 1000, &room), SL_OK);
    memset(room, 'r', 1000);
    sl_buf_commit(&b, 600);
    assert_int_equal(sl_buf_len(&b), 604);
    assert_memory_equal(sl_buf_data(&b), "headrrr", 7);
    sl_buf_commit(&b, SIZE_MAX); /* more than there is room for: clamped */
    assert_true(sl_buf_len(&b) <= b.cap);
    sl_buf_free(&b);
}

static void prints(void **state)
{
    struct sl_buf b;

    (void)state;
    sl_buf_init(&b, 10);
    assert_int_equal(sl_buf_printf(&b, "%s-%d", "abc", 42), SL_OK);
    assert_int_equal(sl_buf_printf(&b, "%s", ""), SL_OK);
    assert_int_equal(sl_buf_len(&b), 6);
    assert_memory_equal(sl_buf_data(&b), "abc-42", 6);
    assert_int_equal(sl_buf_printf(&b, "%05d", 7), SL_ERR_LIMIT);
    assert_int_equal(sl_buf_printf(&b, "%04d", 7), SL_OK);
    assert_memory_equal(sl_buf_data(&b), "abc-420007", 10);
    sl_buf_free(&b);
}

/* A queue of random pieces against the sequence that went in. */
static void keeps_the_sequence(void **state)
{
    struct sl_buf b;
    uint64_t in = 0, out = 0;
    unsigned seed = 12345;

    (void)state;
    sl_buf_init(&b, 3000);
    for (int round = 0; round < 20000; round++) {
        uint8_t piece[700];
        size_t len = (size_t)rand_r(&seed) % sizeof(piece);
        if (rand_r(&seed) % 2) {
            for (size_t i = 0; i < len; i++)
                piece[i] = (uint8_t)((in + i) * 167 >> 3);
            if (len > 3000 - sl_buf_len(&b)) {
                assert_int_equal(sl_buf_append(&b, piece, len), SL_ERR_LIMIT);
            } else {
                assert_int_equal(sl_buf_append(&b, piece, len), SL_OK);
                in += len;
            }
        } else {
            if (len > sl_buf_len(&b))
                len = sl_buf_len(&b);
            for (size_t i = 0; i < len; i++)
                assert_int_equal(sl_buf_data(&b)[i], (uint8_t)((out + i) * 167 >> 3));
            sl_buf_consume(&b, len);
            out += len;
        }
        assert_int_equal(sl_buf_len(&b), in - out);
        assert_true(b.cap <= 3000);
    }
    sl_buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_owns_nothing), cmocka_unit_test(limit_is_exact),
        cmocka_unit_test(reserve_and_commit), cmocka_unit_test(prints),
        cmocka_unit_test(keeps_the_sequence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
