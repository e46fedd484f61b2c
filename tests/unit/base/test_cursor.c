/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/cursor.h"

static const uint8_t BYTES[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c,
                                0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18};

static void reads_big_endian(void **state)
{
    struct sl_cursor c = sl_cursor_make(BYTES, sizeof(BYTES));
    uint8_t u8;
    uint16_t u16;
    uint32_t u24, u32;
    uint64_t u64;

    (void)state;
    assert_int_equal(sl_read_u8(&c, &u8), SL_OK);
    assert_int_equal(sl_read_u16(&c, &u16), SL_OK);
    assert_int_equal(sl_read_u24(&c, &u24), SL_OK);
    assert_int_equal(sl_read_u32(&c, &u32), SL_OK);
    assert_int_equal(sl_read_u64(&c, &u64), SL_OK);
    assert_int_equal(u8, 0x01);
    assert_int_equal(u16, 0x0203);
    assert_int_equal(u24, 0x040506);
    assert_int_equal(u32, 0x0708090a);
    assert_true(u64 == 0x0b0c0d0e0f101112u);
    assert_int_equal(sl_cursor_left(&c), 6);
}

/* Every read against every length of input that is too short for it: error, nothing changes. */
static void short_reads_change_nothing(void **state)
{
    (void)state;
    for (size_t len = 0; len < 8; len++) {
        struct sl_cursor c = sl_cursor_make(BYTES, len), span = {0};
        uint8_t copy[9] = {0xee}, u8 = 0xee;
        uint16_t u16 = 0xeeee;
        uint32_t u32 = 0xeeeeeeee;
        uint64_t u64 = 0xeeee;

        if (len < 1)
            assert_int_equal(sl_read_u8(&c, &u8), SL_ERR_SHORT);
        if (len < 2)
            assert_int_equal(sl_read_u16(&c, &u16), SL_ERR_SHORT);
        if (len < 3)
            assert_int_equal(sl_read_u24(&c, &u32), SL_ERR_SHORT);
        if (len < 4)
            assert_int_equal(sl_read_u32(&c, &u32), SL_ERR_SHORT);
        assert_int_equal(sl_read_u64(&c, &u64), SL_ERR_SHORT);
        assert_int_equal(sl_read_span(&c, len + 1, &span), SL_ERR_SHORT);
        assert_int_equal(sl_read_span(&c, SIZE_MAX, &span), SL_ERR_SHORT);
        assert_int_equal(sl_read_copy(&c, copy, len + 1), SL_ERR_SHORT);
        assert_int_equal(sl_read_skip(&c, SIZE_MAX), SL_ERR_SHORT);
        assert_ptr_equal(c.at, BYTES);
        assert_int_equal(sl_cursor_left(&c), len);
        assert_true(u8 == 0xee && u16 == 0xeeee && u32 == 0xeeeeeeee && u64 == 0xeeee && copy[0] == 0xee && !span.at);
    }
}

static void vectors(void **state)
{
    static const struct {
        uint8_t bytes[8];
        size_t len;
        unsigned prefix;
        sl_err err;
        size_t body;
    } cases[] = {
        {{0}, 1, 1, SL_OK, 0},
        {{2, 9, 9, 7}, 4, 1, SL_OK, 2},
        {{2, 9}, 2, 1, SL_ERR_SHORT, 0},
        {{0}, 0, 1, SL_ERR_SHORT, 0},
        {{0, 3, 1, 2, 3}, 5, 2, SL_OK, 3},
        {{0}, 1, 2, SL_ERR_SHORT, 0},
        {{0xff, 0xff, 1}, 3, 2, SL_ERR_SHORT, 0},
        {{0, 0, 1, 5}, 4, 3, SL_OK, 1},
        {{0xff, 0xff, 0xff, 5}, 4, 3, SL_ERR_SHORT, 0},
        {{0, 0}, 2, 3, SL_ERR_SHORT, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sl_cursor c = sl_cursor_make(cases[i].bytes, cases[i].len), out = {0};
        sl_err err = cases[i].prefix == 1   ? sl_read_vec8(&c, &out)
                     : cases[i].prefix == 2 ? sl_read_vec16(&c, &out)
                                            : sl_read_vec24(&c, &out);
        assert_int_equal(err, cases[i].err);
        if (err) {
            assert_ptr_equal(c.at, cases[i].bytes);
            assert_null(out.at);
        } else {
            assert_ptr_equal(out.at, cases[i].bytes + cases[i].prefix);
            assert_int_equal(sl_cursor_left(&out), cases[i].body);
            assert_ptr_equal(c.at, out.end);
        }
    }
}

static void vector_into_its_own_cursor(void **state)
{
    static const uint8_t nested[] = {0, 4, 0, 2, 7, 8, 99};
    struct sl_cursor c = sl_cursor_make(nested, sizeof(nested));

    (void)state;
    assert_int_equal(sl_read_vec16(&c, &c), SL_OK);
    assert_int_equal(sl_read_vec16(&c, &c), SL_OK);
    assert_int_equal(sl_cursor_left(&c), 2);
    assert_int_equal(c.at[0], 7);
    assert_int_equal(sl_read_skip(&c, 2), SL_OK);
    assert_true(sl_cursor_empty(&c));
}

static void nothing_to_read(void **state)
{
    struct sl_cursor c = sl_cursor_make(NULL, 0), out;

    (void)state;
    assert_true(sl_cursor_empty(&c));
    assert_int_equal(sl_read_span(&c, 0, &out), SL_OK);
    assert_int_equal(sl_read_copy(&c, NULL, 0), SL_OK);
    assert_int_equal(sl_read_skip(&c, 1), SL_ERR_SHORT);
}

static void writes_big_endian(void **state)
{
    uint8_t out[21];
    struct sl_writer w = sl_writer_make(out, sizeof(out));

    (void)state;
    assert_int_equal(sl_write_u8(&w, 0x01), SL_OK);
    assert_int_equal(sl_write_u16(&w, 0x0203), SL_OK);
    assert_int_equal(sl_write_u24(&w, 0x040506), SL_OK);
    assert_int_equal(sl_write_u32(&w, 0x0708090a), SL_OK);
    assert_int_equal(sl_write_u64(&w, 0x0b0c0d0e0f101112), SL_OK);
    assert_int_equal(sl_write_bytes(&w, BYTES + 18, 3), SL_OK);
    assert_memory_equal(out, BYTES, sizeof(out));
    assert_int_equal(w.len, sizeof(out));
    assert_int_equal(sl_write_u8(&w, 0), SL_ERR_SHORT);
    assert_int_equal(sl_write_bytes(&w, BYTES, SIZE_MAX), SL_ERR_SHORT);
    assert_int_equal(sl_write_bytes(&w, NULL, 0), SL_OK);
    assert_int_equal(w.len, sizeof(out));
}

static void write_limits(void **state)
{
    uint8_t out[300] = {0};
    struct sl_writer w = sl_writer_make(out, sizeof(out));
    size_t mark = 77;

    (void)state;
    assert_int_equal(sl_write_u24(&w, 1u << 24), SL_ERR_INVALID);
    assert_int_equal(sl_write_vec_begin(&w, 0, &mark), SL_ERR_INVALID);
    assert_int_equal(sl_write_vec_begin(&w, 4, &mark), SL_ERR_INVALID);
    assert_int_equal(mark, 77);
    assert_int_equal(w.len, 0);

    assert_int_equal(sl_write_vec_begin(&w, 1, &mark), SL_OK);
    w.len += 256;
    assert_int_equal(sl_write_vec_end(&w, 1, mark), SL_ERR_LIMIT);
    w.len -= 1;
    assert_int_equal(sl_write_vec_end(&w, 1, mark), SL_OK);
    assert_int_equal(out[0], 255);
    assert_int_equal(sl_write_vec_end(&w, 1, w.len + 1), SL_ERR_INVALID);
    assert_int_equal(sl_write_vec_end(&w, 1, w.len), SL_ERR_INVALID);

    w = sl_writer_make(out, 1);
    assert_int_equal(sl_write_vec_begin(&w, 2, &mark), SL_ERR_SHORT);
    w = sl_writer_make(NULL, 10);
    assert_int_equal(sl_write_u8(&w, 1), SL_ERR_SHORT);
}

static void nested_vectors_round_trip(void **state)
{
    uint8_t out[32];
    struct sl_writer w = sl_writer_make(out, sizeof(out));
    struct sl_cursor c, outer, inner;
    size_t outer_mark, inner_mark;

    (void)state;
    assert_int_equal(sl_write_vec_begin(&w, 3, &outer_mark), SL_OK);
    assert_int_equal(sl_write_vec_begin(&w, 2, &inner_mark), SL_OK);
    assert_int_equal(sl_write_bytes(&w, BYTES, 5), SL_OK);
    assert_int_equal(sl_write_vec_end(&w, 2, inner_mark), SL_OK);
    assert_int_equal(sl_write_u8(&w, 42), SL_OK);
    assert_int_equal(sl_write_vec_end(&w, 3, outer_mark), SL_OK);

    c = sl_cursor_make(out, w.len);
    assert_int_equal(sl_read_vec24(&c, &outer), SL_OK);
    assert_true(sl_cursor_empty(&c));
    assert_int_equal(sl_read_vec16(&outer, &inner), SL_OK);
    assert_int_equal(sl_cursor_left(&inner), 5);
    assert_memory_equal(inner.at, BYTES, 5);
    assert_int_equal(sl_cursor_left(&outer), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_big_endian), cmocka_unit_test(short_reads_change_nothing),
        cmocka_unit_test(vectors),          cmocka_unit_test(vector_into_its_own_cursor),
        cmocka_unit_test(nothing_to_read),  cmocka_unit_test(writes_big_endian),
        cmocka_unit_test(write_limits),     cmocka_unit_test(nested_vectors_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
