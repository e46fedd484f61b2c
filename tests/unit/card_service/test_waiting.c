/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "card/service/waiting.h"

enum { LINES = 3, ROOM = 1 << 20 };

static struct sl_waiting *new_waiting(size_t bytes_max)
{
    struct sl_waiting *w = NULL;
    assert_int_equal(sl_waiting_new(LINES, bytes_max, &w), SL_OK);
    return w;
}

/* A frame of one byte, its number, that stands for TCP bytes [seq, end). */
static bool put(struct sl_waiting *w, size_t line, uint32_t seq, uint32_t end, uint8_t number, bool ready)
{
    const struct sl_waiting_frame about = {.seq = seq, .end = end, .count = 1};
    return sl_waiting_put(w, line, &about, &number, ready);
}

/* The numbers of what is taken, in order, each a digit; 0: nothing. The line must be the one that is expected. */
static unsigned take(struct sl_waiting *w, size_t max, size_t expected)
{
    size_t line = expected;
    unsigned numbers = 0;
    for (struct sl_waiting_frame *f = sl_waiting_take(w, max, &line), *next; f != NULL; f = next) {
        next = f->next;
        numbers = numbers * 10 + f->bytes[0];
        assert_int_equal(f->count, 1);
        free(f);
    }
    assert_int_equal(line, expected);
    return numbers;
}

/* They come back in the order of their sequence numbers, over their wrap too, and only when something has happened in the line. */
static void order(void **state)
{
    (void)state;
    static const uint32_t bases[] = {1000, UINT32_MAX - 25, 0x7fffffe7};
    for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++) {
        const uint32_t base = bases[i];
        struct sl_waiting *w = new_waiting(ROOM);
        assert_true(put(w, 0, base + 30, base + 40, 4, false));
        assert_true(put(w, 0, base + 10, base + 20, 2, false));
        assert_true(put(w, 0, base, base + 10, 1, false));
        assert_true(put(w, 0, base + 20, base + 30, 3, false));
        assert_int_equal(take(w, 9, 0), 0);
        sl_waiting_stir(w, 0);
        sl_waiting_stir(w, 0);
        assert_int_equal(take(w, 9, 0), 1234);
        assert_int_equal(take(w, 9, 0), 0);
        assert_int_equal(sl_waiting_count(w), 0);
        sl_waiting_free(w);
    }
}

/* No further than a hole, or than the caller has room; what is left waits until the line is stirred again. */
static void runs(void **state)
{
    (void)state;
    struct sl_waiting *w = new_waiting(ROOM);
    put(w, 1, 10, 20, 1, true);
    put(w, 1, 20, 30, 2, true);
    put(w, 1, 15, 30, 3, true); /* overlaps */
    put(w, 1, 31, 40, 4, true); /* behind a hole */
    assert_int_equal(take(w, 2, 1), 13);
    assert_int_equal(take(w, 2, 1), 0);
    assert_int_equal(sl_waiting_count(w), 2);
    sl_waiting_stir(w, 1);
    assert_int_equal(take(w, 2, 1), 2);
    sl_waiting_stir(w, 1);
    assert_int_equal(take(w, 2, 1), 4);
    sl_waiting_stir(w, 1); /* empty: nothing to stir */
    assert_int_equal(take(w, 2, 1), 0);
    sl_waiting_free(w);
}

/* The same bytes twice stay in the order they came; nothing is thrown away. */
static void twins(void **state)
{
    (void)state;
    struct sl_waiting *w = new_waiting(ROOM);
    put(w, 0, 10, 20, 1, true);
    put(w, 0, 10, 20, 2, true);
    put(w, 0, 5, 10, 3, true);
    put(w, 0, 10, 20, 4, true);
    assert_int_equal(take(w, 9, 0), 3124);
    sl_waiting_free(w);
}

static void lines_take_turns(void **state)
{
    (void)state;
    struct sl_waiting *w = new_waiting(ROOM);
    put(w, 2, 1, 2, 1, true);
    put(w, 2, 2, 3, 2, true);
    put(w, 0, 1, 2, 3, true);
    assert_int_equal(take(w, 1, 2), 1);
    sl_waiting_stir(w, 2);
    assert_int_equal(take(w, 1, 0), 3);
    assert_int_equal(take(w, 1, 2), 2);
    put(w, 1, 1, 2, 4, false);
    put(w, 2, 1, 2, 5, false);
    sl_waiting_stir_all(w);
    assert_int_equal(take(w, 1, 1), 4);
    assert_int_equal(take(w, 1, 2), 5);
    sl_waiting_free(w);
}

/* Memory is bounded, in all and a line; what is taken makes room. What still waits is freed with the rest. */
static void bounds(void **state)
{
    (void)state;
    enum { FRAMES = 4 };
    struct sl_waiting *w = new_waiting(FRAMES * (sizeof(struct sl_waiting_frame) + 1));
    for (uint32_t i = 0; i < FRAMES; i++)
        assert_true(put(w, i % LINES, i, i + 1, 1, false));
    assert_false(put(w, 0, 9, 10, 1, true));
    assert_int_equal(take(w, 9, 0), 0); /* a refusal changes nothing */
    sl_waiting_stir(w, 1);
    assert_int_equal(take(w, 9, 1), 1);
    assert_true(put(w, 0, 9, 10, 1, false));
    sl_waiting_free(w);

    w = new_waiting(ROOM * 8);
    for (uint32_t i = 0; i < SL_WAITING_LINE_MAX; i++)
        assert_true(put(w, 0, i * 2, i * 2 + 1, 1, false));
    assert_false(put(w, 0, 1, 2, 1, false));
    assert_true(put(w, 1, 1, 2, 1, false));
    assert_int_equal(sl_waiting_count(w), SL_WAITING_LINE_MAX + 1);
    sl_waiting_free(w);
    sl_waiting_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order),  cmocka_unit_test(runs), cmocka_unit_test(twins), cmocka_unit_test(lines_take_turns),
        cmocka_unit_test(bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
