/* SPDX-License-Identifier: Apache-2.0 */
/* Flow ids and indexes against a plain array. SLUICE_SEED repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>

#include "card/flow_ids.h"
#include "trace_frame.h" /* random numbers */

static struct trace_random rng;

/* By turns it fills up, becomes empty and grows; ids are few, so that they come again. */
static void random_operations(void **state)
{
    (void)state;
    enum { ROOM = 700, IDS = 1000 };
    uint64_t flow[ROOM] = {0};
    uint32_t index_of[IDS + 1];
    struct sl_flow_ids m;
    size_t room = 1;
    for (unsigned i = 0; i <= IDS; i++)
        index_of[i] = SL_FLOW_IDS_NONE;
    assert_int_equal(sl_flow_ids_init(&m, room), SL_OK);
    for (unsigned i = 0; i < 200000; i++) {
        const uint32_t id = 1 + trace_below(&rng, IDS), index = trace_below(&rng, (uint32_t)room);
        assert_int_equal(sl_flow_ids_find(&m, id), index_of[id]);
        assert_int_equal(m.flow[index], flow[index]);
        const bool fill = i / 20000 % 2 == 0;
        if (fill && flow[index] == 0 && index_of[id] == SL_FLOW_IDS_NONE) {
            sl_flow_ids_add(&m, id, index);
            flow[index] = id;
            index_of[id] = index;
        } else if (!fill && flow[index] != 0) {
            sl_flow_ids_remove(&m, index);
            index_of[flow[index]] = SL_FLOW_IDS_NONE;
            flow[index] = 0;
        }
        if (room < ROOM && trace_below(&rng, 20) == 0)
            assert_int_equal(sl_flow_ids_grow(&m, ++room), SL_OK);
    }
    assert_int_equal(room, ROOM);
    sl_flow_ids_clear(&m);
    for (unsigned i = 1; i <= IDS; i++)
        assert_int_equal(sl_flow_ids_find(&m, i), SL_FLOW_IDS_NONE);
    for (unsigned i = 0; i < ROOM; i++)
        assert_int_equal(m.flow[i], 0);
    sl_flow_ids_free(&m);
    sl_flow_ids_free(&m);
}

static size_t longest_run(const struct sl_flow_ids *m)
{
    size_t longest = 0, run = 0;
    for (size_t i = 0; i <= m->mask; i++) {
        run = m->slot[i] != 0 ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    return longest;
}

/* A client that counts in the upper bits of its ids, or in any others, does not make lookups slow. */
static void ids_that_differ_in_few_bits_lie_apart(void **state)
{
    (void)state;
    enum { FLOWS = 1 << 14 };
    for (unsigned shift = 0; shift <= 64 - 15; shift++) {
        struct sl_flow_ids m;
        assert_int_equal(sl_flow_ids_init(&m, FLOWS), SL_OK);
        for (uint32_t i = 0; i < FLOWS; i++)
            sl_flow_ids_add(&m, (uint64_t)(i + 1) << shift, i);
        assert_in_range(longest_run(&m), 2, 256);
        for (uint32_t i = 0; i < FLOWS; i++)
            assert_int_equal(sl_flow_ids_find(&m, (uint64_t)(i + 1) << shift), i);
        sl_flow_ids_free(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_operations),
        cmocka_unit_test(ids_that_differ_in_few_bits_lie_apart),
    };
    trace_random_begin(&rng);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
