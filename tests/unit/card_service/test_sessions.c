/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "card/service/sessions.h"

static struct sl_card_sessions *new_table(size_t closed_max)
{
    struct sl_card_sessions *t = NULL;
    assert_int_equal(sl_card_sessions_new(closed_max, &t), SL_OK);
    return t;
}

static struct sl_card_session *add(struct sl_card_sessions *t, uint64_t flow)
{
    struct sl_card_session *s = NULL;
    assert_int_equal(sl_card_sessions_add(t, flow, &s), SL_OK);
    assert_int_equal(s->flow, flow);
    return s;
}

static uint64_t mix(uint64_t i)
{
    return i * 0x9e3779b97f4a7c15u | 1;
}

/* Against a plain array, through growth and with every second one gone. */
static void add_find_remove(void **state)
{
    (void)state;
    enum { N = 20000 };
    struct sl_card_sessions *t = new_table(1);
    for (uint64_t i = 0; i < N; i++)
        add(t, mix(i))->key.sport = (uint16_t)i;
    struct sl_card_session *twice = NULL;
    assert_int_equal(sl_card_sessions_add(t, mix(5), &twice), SL_ERR_EXISTS);
    assert_null(twice);
    for (uint64_t i = 0; i < N; i += 2)
        sl_card_sessions_remove(t, sl_card_sessions_find(t, mix(i)));
    assert_int_equal(sl_card_sessions_count(t), N / 2);
    for (uint64_t i = 0; i < N; i++) {
        const struct sl_card_session *s = sl_card_sessions_find(t, mix(i));
        assert_true((s != NULL) == (i % 2 == 1));
        assert_true(s == NULL || s->key.sport == (uint16_t)i);
    }
    for (uint64_t i = 0; i < N; i += 2)
        assert_int_equal(add(t, mix(i))->key.sport, 0); /* nothing is left of the one before */
    const struct sl_card_session *s;
    size_t cursor = 0, seen = 0;
    for (; (s = sl_card_sessions_next(t, &cursor)) != NULL; seen++) { /* every second one goes while it is shown */
        if (seen % 2 == 0)
            sl_card_sessions_remove(t, sl_card_sessions_find(t, s->flow));
    }
    assert_int_equal(seen, N);
    assert_int_equal(sl_card_sessions_count(t), N / 2);
    sl_card_sessions_clear(t);
    cursor = 0;
    assert_null(sl_card_sessions_next(t, &cursor));
    assert_int_equal(sl_card_sessions_count(t), 0);
    assert_null(sl_card_sessions_find(t, mix(1)));
    add(t, mix(1));
    sl_card_sessions_free(t);
}

static void pages(void **state)
{
    (void)state;
    struct sl_card_sessions *t = new_table(1);
    uint64_t out[8], next = 9;
    size_t count = 9;
    assert_int_equal(sl_card_sessions_page(t, 0, 8, 0, out, &count, &next), SL_OK);
    assert_int_equal(count, 0);
    assert_int_equal(next, 0);
    for (uint64_t i = 10; i > 0; i--)
        add(t, i * 100);
    assert_int_equal(sl_card_sessions_page(t, 0, 4, 0, out, &count, &next), SL_OK);
    assert_int_equal(count, 4);
    assert_int_equal(out[0], 100);
    assert_int_equal(next, 500);
    /* Meanwhile: the next one goes, one comes behind, one comes before. */
    sl_card_sessions_remove(t, sl_card_sessions_find(t, 500));
    add(t, 650);
    add(t, 50);
    assert_int_equal(sl_card_sessions_page(t, next, 4, 1, out, &count, &next), SL_OK);
    assert_int_equal(count, 4);
    assert_int_equal(out[0], 600);
    assert_int_equal(next, 1000);
    /* Much later the rest is sorted anew. */
    assert_int_equal(sl_card_sessions_page(t, 601, 8, 100, out, &count, &next), SL_OK);
    assert_int_equal(out[0], 650);
    assert_int_equal(count, 5);
    assert_int_equal(next, 0);
    assert_int_equal(sl_card_sessions_page(t, UINT64_MAX, 8, 100, out, &count, &next), SL_OK);
    assert_int_equal(count, 0);
    /* A whole page is gone when the last one is asked for: exactly max, and no next. */
    assert_int_equal(sl_card_sessions_page(t, 0, 8, 100, out, &count, &next), SL_OK);
    assert_int_equal(next, 800);
    sl_card_sessions_remove(t, sl_card_sessions_find(t, 800));
    sl_card_sessions_remove(t, sl_card_sessions_find(t, 900));
    sl_card_sessions_remove(t, sl_card_sessions_find(t, 1000));
    assert_int_equal(sl_card_sessions_page(t, next, 8, 100, out, &count, &next), SL_OK);
    assert_int_equal(count, 0);
    assert_int_equal(next, 0);
    sl_card_sessions_free(t);
}

/* Deadlines of every distance, moved and taken away, against the simple rule: due once, in or after its second. */
static void deadlines(void **state)
{
    enum { N = 3000, END = 5000 };
    static uint64_t at[N + 1];
    uint64_t due[64];
    struct sl_card_sessions *t = new_table(1);
    unsigned seed = 12345, left = 0;
    (void)state;
    assert_int_equal(sl_card_sessions_due(t, 1000, due, 64), 0);
    for (uint64_t i = 1; i <= N; i++) {
        struct sl_card_session *s = add(t, i);
        at[i] = 1001 + (uint64_t)(rand_r(&seed) % 3500);
        sl_card_sessions_deadline(t, s, 1001 + (uint64_t)(rand_r(&seed) % 3500));
        sl_card_sessions_deadline(t, s, at[i]);
        if (i % 10 == 0) {
            sl_card_sessions_deadline(t, s, 0);
            at[i] = 0;
        } else if (i % 11 == 0) {
            sl_card_sessions_remove(t, s);
            at[i] = 0;
        }
        left += at[i] != 0;
    }
    for (uint64_t now = 1001; now < END; now += 1 + now % 3) {
        size_t n;
        do {
            n = sl_card_sessions_due(t, now, due, 64);
            for (size_t i = 0; i < n; i++) {
                assert_in_range(at[due[i]], now - 3, now);
                assert_int_equal(sl_card_sessions_find(t, due[i])->deadline_s, 0);
                at[due[i]] = 0;
                left--;
            }
        } while (n == 64);
    }
    assert_int_equal(left, 0);
    sl_card_sessions_free(t);
}

static void deadlines_in_the_past_and_after_a_long_sleep(void **state)
{
    (void)state;
    uint64_t due[4];
    struct sl_card_sessions *t = new_table(1);
    sl_card_sessions_due(t, 1000, due, 4);
    sl_card_sessions_deadline(t, add(t, 1), 3); /* long ago: with the next second */
    assert_int_equal(sl_card_sessions_due(t, 1000, due, 4), 0);
    assert_int_equal(sl_card_sessions_due(t, 1001, due, 4), 1);
    sl_card_sessions_deadline(t, add(t, 2), 1500);
    sl_card_sessions_deadline(t, add(t, 3), 900000);
    assert_int_equal(sl_card_sessions_due(t, 800000, due, 4), 1);
    assert_int_equal(due[0], 2);
    assert_int_equal(sl_card_sessions_due(t, 899999, due, 4), 0);
    assert_int_equal(sl_card_sessions_due(t, 900000, due, 4), 1);
    sl_card_sessions_clear(t);
    assert_int_equal(sl_card_sessions_due(t, 1000000, due, 4), 0);
    sl_card_sessions_free(t);
}

static void closed_ones(void **state)
{
    (void)state;
    struct sl_card_sessions *t = new_table(100);
    struct sl_card_closed out[128];
    assert_int_equal(sl_card_closed_take(t, out, 128), 0);
    for (uint64_t i = 1; i <= 150; i++)
        sl_card_closed_push(t, &(struct sl_card_closed){.flow = i});
    assert_int_equal(sl_card_closed_untold(t), 50);
    assert_int_equal(sl_card_closed_take(t, out, 3), 3);
    assert_int_equal(out[0].flow, 51);
    sl_card_closed_return(t, out + 1, 2);
    assert_int_equal(sl_card_closed_take(t, out, 128), 99);
    assert_int_equal(out[0].flow, 52);
    assert_int_equal(out[98].flow, 150);
    for (uint64_t i = 1; i <= 100; i++)
        sl_card_closed_push(t, &(struct sl_card_closed){.flow = i});
    sl_card_closed_return(t, out, 2); /* no room: lost, and counted */
    assert_int_equal(sl_card_closed_untold(t), 52);
    assert_int_equal(sl_card_closed_take(t, out, 128), 100);
    assert_int_equal(out[0].flow, 1);
    sl_card_sessions_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(add_find_remove), cmocka_unit_test(pages),
        cmocka_unit_test(deadlines),       cmocka_unit_test(deadlines_in_the_past_and_after_a_long_sleep),
        cmocka_unit_test(closed_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
