/* SPDX-License-Identifier: Apache-2.0 */
/* The host's flow table against a plain list: adding, finding and removing in random order, up to the last place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "card/flow_table.h"

static uint64_t state;

static uint64_t random64(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return state >> 20 ^ state << 21;
}

/* Key number n: half of them IPv4, neighbours that differ in a bit. */
static struct sl_flow_key key_of(uint32_t n)
{
    struct sl_flow_key k = {{n, 0, UINT64_C(0x0100007f), 0, sl_flow_key_tail(n & 0xffff, 443, 6, 4)}};
    if (n % 2 == 0)
        k = (struct sl_flow_key){{1, n >> 3, 2, (uint64_t)n << 32, sl_flow_key_tail(n & 7, 443, 17, 6)}};
    return k;
}

static struct sl_flow_entry *find(const struct sl_flow_table *t, uint32_t n)
{
    const struct sl_flow_key key = key_of(n);
    struct sl_flow_entry *found;
    sl_flow_table_find(t, &key, 1, &found);
    return found;
}

static void test_random_operations(void **unused)
{
    (void)unused;
    enum { FLOWS = 3000, KEYS = 6000 };
    struct sl_flow_table *t;
    uint32_t index_of[KEYS];
    bool there[KEYS] = {false}, used[FLOWS] = {false};
    size_t count = 0;
    assert_int_equal(sl_flow_table_new(FLOWS, &t), SL_OK);
    for (unsigned i = 0; i < 400000; i++) {
        const uint32_t n = (uint32_t)(random64() % KEYS);
        const struct sl_flow_key key = key_of(n);
        struct sl_flow_entry *e;
        /* By turns it fills up and becomes empty. */
        if (random64() % 100 < (i / 50000 % 2 == 0 ? 70 : 30)) {
            const sl_err wanted = there[n] ? SL_ERR_EXISTS : count == FLOWS ? SL_ERR_LIMIT : SL_OK;
            assert_int_equal(sl_flow_table_add(t, &key, &e), wanted);
            if (wanted != SL_OK)
                continue;
            assert_true(e->index < FLOWS && !used[e->index] && e->owned[0] == NULL && e->action == 0);
            e->owned[0] = &there[n];
            index_of[n] = e->index;
            used[e->index] = there[n] = true;
            count++;
        } else if (there[n]) {
            sl_flow_table_remove(t, index_of[n]);
            used[index_of[n]] = there[n] = false;
            count--;
        }
        assert_int_equal(sl_flow_table_count(t), count);
        const uint32_t other = (uint32_t)(random64() % KEYS);
        e = find(t, other);
        assert_int_equal(e != NULL, there[other]);
        if (e != NULL) {
            assert_ptr_equal(e->owned[0], &there[other]);
            assert_int_equal(e->index, index_of[other]);
            assert_ptr_equal(sl_flow_table_entry(t, index_of[other]), e);
        }
    }
    sl_flow_table_free(t);
}

/* All room can be used, and bursts find all of it. */
static void test_full(void **unused)
{
    (void)unused;
    static const size_t sizes[] = {1, 2, 16, 17, 1000, 1 << 17};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        struct sl_flow_table *t;
        struct sl_flow_entry *e, *found[SL_FLOW_BURST];
        struct sl_flow_key keys[SL_FLOW_BURST];
        assert_int_equal(sl_flow_table_new(sizes[s], &t), SL_OK);
        for (uint32_t n = 0; n < sizes[s]; n++) {
            keys[0] = key_of(n);
            assert_int_equal(sl_flow_table_add(t, &keys[0], &e), SL_OK);
        }
        keys[0] = key_of((uint32_t)sizes[s]);
        assert_int_equal(sl_flow_table_add(t, &keys[0], &e), SL_ERR_LIMIT);
        for (uint32_t n = 0; n < sizes[s] + SL_FLOW_BURST; n += SL_FLOW_BURST) {
            for (uint32_t i = 0; i < SL_FLOW_BURST; i++)
                keys[i] = key_of(n + i);
            sl_flow_table_find(t, keys, SL_FLOW_BURST, found);
            for (uint32_t i = 0; i < SL_FLOW_BURST; i++) {
                assert_int_equal(found[i] != NULL, n + i < sizes[s]);
                if (found[i] != NULL)
                    assert_true(sl_flow_key_equal(&found[i]->key, &keys[i]));
            }
        }
        sl_flow_table_free(t);
    }
}

static void test_refused(void **unused)
{
    (void)unused;
    struct sl_flow_table *t;
    assert_int_equal(sl_flow_table_new(0, &t), SL_ERR_INVALID);
    assert_int_equal(sl_flow_table_new((size_t)SL_FLOWS_MAX + 1, &t), SL_ERR_INVALID);
    sl_flow_table_free(NULL);
}

static void test_reversed(void **unused)
{
    (void)unused;
    const struct sl_flow_key k = {{1, 2, 3, 4, sl_flow_key_tail(5, 6, 17, 6)}}, r = sl_flow_key_reversed(&k);
    const struct sl_flow_key wanted = {{3, 4, 1, 2, sl_flow_key_tail(6, 5, 17, 6)}}, twice = sl_flow_key_reversed(&r);
    assert_true(sl_flow_key_equal(&r, &wanted));
    assert_true(sl_flow_key_equal(&twice, &k));
    assert_false(sl_flow_key_equal(&r, &k));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_operations),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_reversed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
