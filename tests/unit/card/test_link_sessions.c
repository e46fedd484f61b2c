/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host knows of a card's sessions (card/link_sessions.h) against a plain list of flows, and against a card that is nothing
 * but the slots of both tables: after every plan they must be what the shadow says. SLUICE_SEED repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "card/cuckoo.h"
#include "card/numbers.h"
#include "session_table/table_hash.h"
#include "trace_frame.h" /* random numbers */

/*
 * A table is so much larger than the most sessions that an insertion fails about never: lane 1's failure, after which lane 0's
 * insertion is taken back, could not be had from outside. So the source itself is included, with an insertion that fails at will;
 * and the shadow's slots can be seen, too.
 */
static bool fail_lane_1;
static unsigned insertions; /* of this call of sl_link_sessions_add: lane 0's comes first */

static sl_err insert_or_fail(struct sl_card_cuckoo *c, const struct sl_card_flow_key *key, uint32_t session, uint8_t action,
                             struct sl_card_cuckoo_plan *plan)
{
    return insertions++ == 1 && fail_lane_1 ? SL_ERR_LIMIT : sl_card_cuckoo_insert(c, key, session, action, plan);
}

#define sl_card_cuckoo_insert insert_or_fail
#include "card/link_sessions.c"
#undef sl_card_cuckoo_insert

static struct trace_random rng;

/* ---- the card ---- */

static struct table_slot slots[SL_ENGINE_LANES][table_slots];
static struct table_hash hash[SL_ENGINE_LANES];

static void reset_card(const struct sl_link_sessions *s)
{
    memset(slots, 0, sizeof slots);
    for (unsigned lane = 0; lane < SL_ENGINE_LANES; lane++) {
        uint8_t seed[SL_CARD_SEED_BYTES];
        struct table_expand e;
        sl_link_sessions_seed(s, lane, seed);
        memcpy(e.seed, seed, sizeof e.seed);
        for (uint32_t n = 0; n < table_hash_words; n++) {
            table_expand_begin(&e, n);
            while (e.round < table_expand_rounds)
                table_expand_step(&e);
            hash[lane].word[n / table_char_values][n % table_char_values] = table_expand_end(&e);
        }
    }
}

static void apply(unsigned lane, const struct sl_card_cuckoo_plan *plan)
{
    assert_true(plan->count <= SL_CARD_CUCKOO_WRITES);
    for (size_t i = 0; i < plan->count; i++) {
        assert_true(plan->write[i].slot < table_slots);
        slots[lane][plan->write[i].slot] = plan->write[i].content;
    }
}

/* In the engine's order. What was written is what the shadow holds. */
static void apply_plan(const struct sl_link_sessions *s, const struct sl_link_plan *plan)
{
    const struct sl_card_cuckoo_plan *const parts[] = {&plan->lane[0], &plan->back, &plan->lane[1]};
    static const unsigned lanes[] = {0, 0, 1};
    for (unsigned i = 0; i < 3; i++)
        apply(lanes[i], parts[i]);
    for (unsigned i = 0; i < 3; i++)
        for (size_t k = 0; k < parts[i]->count; k++) {
            const uint32_t slot = parts[i]->write[k].slot;
            assert_memory_equal(&slots[lanes[i]][slot], sl_card_cuckoo_slot(s->table[lanes[i]], slot), sizeof slots[0][0]);
        }
}

static void expect_slots(const struct sl_link_sessions *s)
{
    for (unsigned lane = 0; lane < SL_ENGINE_LANES; lane++) {
        for (uint32_t i = 0; i < table_slots; i++)
            assert_memory_equal(&slots[lane][i], sl_card_cuckoo_slot(s->table[lane], i), sizeof slots[0][0]);
        assert_int_equal(sl_card_cuckoo_count(s->table[lane]), sl_link_sessions_count(s));
    }
}

/* As the kernel looks for it: in its four rows and the stash. NULL: it is not there. It may be there once. */
static const struct table_slot *look_up(unsigned lane, const struct sl_engine_flow_key *key)
{
    const bool turned = lane == 1;
    const struct table_slot wanted =
        table_slot_of_key(turned ? key->dst : key->src, turned ? key->src : key->dst, turned ? key->dport : key->sport,
                          turned ? key->sport : key->dport, key->proto, key->version);
    const struct table_rows_of rows = table_hash_rows(&hash[lane], &wanted);
    const struct table_slot *found = NULL;
    for (uint32_t i = 0; i < table_ways + table_stash; i++) {
        const uint32_t at = i < table_ways ? i * table_rows + rows.row[i] : table_ways * table_rows + i - table_ways;
        if (!table_slot_match(&slots[lane][at], &wanted))
            continue;
        assert_null(found);
        found = &slots[lane][at];
    }
    return found;
}

static void expect_session(const struct sl_engine_flow_key *key, uint32_t index, uint8_t action)
{
    for (unsigned lane = 0; lane < SL_ENGINE_LANES; lane++) {
        const struct table_slot *const found = look_up(lane, key);
        assert_non_null(found);
        assert_int_equal(table_slot_session(found), index);
        assert_int_equal(table_slot_action(found), action);
    }
}

static void expect_none(const struct sl_engine_flow_key *key)
{
    assert_null(look_up(0, key));
    assert_null(look_up(1, key));
}

/* No session was installed for it, so the card would refuse the write. */
static void expect_not_written(const struct sl_link_plan *plan, const struct sl_engine_flow_key *key)
{
    const struct table_slot own = table_slot_of_key(key->src, key->dst, key->sport, key->dport, key->proto, key->version);
    assert_int_equal(plan->lane[1].count, 0);
    for (size_t i = 0; i < plan->lane[0].count; i++)
        assert_false(table_slot_match(&plan->lane[0].write[i].content, &own));
    for (size_t i = 0; i < plan->back.count; i++)
        assert_false(table_slot_match(&plan->back.write[i].content, &own));
}

/* ---- calls that apply what they give ---- */

static struct sl_link_sessions *open_sessions(uint32_t room)
{
    struct sl_link_sessions *s = NULL;
    assert_int_equal(sl_link_sessions_new(room, &s), SL_OK);
    reset_card(s);
    return s;
}

static sl_err add(struct sl_link_sessions *s, uint64_t flow, const struct sl_engine_flow_key *key, uint8_t action, uint32_t *index,
                  bool fail)
{
    struct sl_link_plan plan;
    memset(&plan, 0xff, sizeof plan); /* nothing that was in it counts */
    insertions = 0;
    fail_lane_1 = fail;
    const sl_err err = sl_link_sessions_add(s, flow, key, action, index, &plan);
    if (err == SL_ERR_INVALID || err == SL_ERR_EXISTS)
        assert_true(plan.lane[0].count == 0 && plan.lane[1].count == 0 && plan.back.count == 0);
    if (err == SL_ERR_LIMIT)
        expect_not_written(&plan, key);
    apply_plan(s, &plan);
    return err;
}

static void take_out(struct sl_link_sessions *s, uint32_t index)
{
    struct sl_link_plan plan;
    memset(&plan, 0xff, sizeof plan);
    sl_link_sessions_remove(s, index, &plan);
    apply_plan(s, &plan);
}

static sl_err change(struct sl_link_sessions *s, uint32_t index, uint8_t action)
{
    struct sl_link_plan plan;
    memset(&plan, 0xff, sizeof plan);
    const sl_err err = sl_link_sessions_change(s, index, action, &plan);
    apply_plan(s, &plan);
    return err;
}

/* Key 2n + 1 is key 2n the other way round: a flow of its own. */
static struct sl_engine_flow_key key_number(uint32_t n)
{
    const uint32_t pair = n / 2;
    struct sl_engine_flow_key k = {.sport = (uint16_t)(1024 + pair), .dport = 443, .proto = 6, .version = pair % 3 == 0 ? 6 : 4};
    memcpy(k.src, &pair, sizeof pair);
    k.dst[0] = 192;
    k.dst[3] = 1;
    if (k.version == 6)
        k.src[15] = k.dst[15] = 7;
    if (n % 2 == 0)
        return k;
    struct sl_engine_flow_key turned = {.sport = k.dport, .dport = k.sport, .proto = k.proto, .version = k.version};
    memcpy(turned.src, k.dst, sizeof k.dst);
    memcpy(turned.dst, k.src, sizeof k.src);
    return turned;
}

static uint8_t any_action(void)
{
    return (uint8_t)trace_between(&rng, SL_CARD_SESSION_FORWARD, SL_CARD_SESSION_HOLD);
}

/* ---- against a list ---- */

enum { ROOM = 150, KEYS = 400, FLOWS = 300 };

struct reference {
    struct {
        uint64_t flow; /* 0: unused */
        uint32_t key;
        uint8_t action;
    } at[ROOM];
    uint32_t unused[ROOM]; /* indexes, the one that was freed longest ago first */
    uint32_t count;
};

static void reference_reset(struct reference *r)
{
    memset(r, 0, sizeof *r);
    for (uint32_t i = 0; i < ROOM; i++)
        r->unused[i] = i;
}

/* The index of the flow or of the key; ROOM: none. */
static uint32_t reference_find(const struct reference *r, uint64_t flow, uint32_t key)
{
    for (uint32_t i = 0; i < ROOM; i++)
        if (r->at[i].flow != 0 && (r->at[i].flow == flow || r->at[i].key == key))
            return i;
    return ROOM;
}

static void random_add(struct sl_link_sessions *s, struct reference *r)
{
    const uint32_t n = trace_below(&rng, KEYS), free_ones = ROOM - r->count;
    const uint64_t flow = UINT64_C(0x100000001) * trace_between(&rng, 1, FLOWS);
    const struct sl_engine_flow_key key = key_number(n);
    const uint8_t action = any_action();
    const bool fail = trace_chance(&rng, 2000);
    uint32_t index = 12345;
    const sl_err wanted = reference_find(r, flow, n) != ROOM ? SL_ERR_EXISTS : free_ones == 0 || fail ? SL_ERR_LIMIT : SL_OK;
    assert_int_equal(add(s, flow, &key, action, &index, fail), wanted);
    if (wanted != SL_OK) {
        assert_int_equal(index, 12345);
        if (wanted == SL_ERR_LIMIT)
            expect_none(&key);
        return;
    }
    assert_int_equal(index, r->unused[0]);
    memmove(r->unused, r->unused + 1, (free_ones - 1) * sizeof r->unused[0]);
    r->at[index].flow = flow;
    r->at[index].key = n;
    r->at[index].action = action;
    r->count++;
}

static void random_remove(struct sl_link_sessions *s, struct reference *r)
{
    const uint32_t index = trace_below(&rng, ROOM);
    if (r->at[index].flow == 0)
        return;
    const struct sl_engine_flow_key key = key_number(r->at[index].key);
    take_out(s, index);
    expect_none(&key);
    r->at[index].flow = 0;
    r->unused[ROOM - r->count--] = index;
}

static void random_change(struct sl_link_sessions *s, struct reference *r)
{
    const uint32_t index = trace_below(&rng, ROOM);
    if (r->at[index].flow == 0)
        return;
    const uint8_t action = (uint8_t)trace_below(&rng, 10);
    const bool sound = action >= SL_CARD_SESSION_FORWARD && action <= SL_CARD_SESSION_HOLD;
    assert_int_equal(change(s, index, action), sound ? SL_OK : SL_ERR_INVALID);
    if (sound)
        r->at[index].action = action;
}

static void expect_reference(const struct sl_link_sessions *s, const struct reference *r)
{
    uint32_t index = 12345;
    assert_int_equal(sl_link_sessions_count(s), r->count);
    for (uint64_t f = 1; f <= FLOWS; f++) {
        const uint64_t flow = UINT64_C(0x100000001) * f;
        const uint32_t wanted = reference_find(r, flow, KEYS);
        index = 12345;
        assert_int_equal(sl_link_sessions_find(s, flow, &index), wanted == ROOM ? SL_ERR_NOT_FOUND : SL_OK);
        assert_int_equal(index, wanted == ROOM ? 12345 : wanted);
    }
    for (uint32_t i = 0; i < ROOM; i++) {
        const struct sl_engine_flow_key key = key_number(r->at[i].key);
        if (r->at[i].flow != 0)
            expect_session(&key, i, r->at[i].action);
    }
    index = 12345;
    assert_int_equal(sl_link_sessions_any(s, &index), r->count == 0 ? SL_ERR_NOT_FOUND : SL_OK);
    assert_true(r->count == 0 ? index == 12345 : index < ROOM && r->at[index].flow != 0);
    assert_int_equal(sl_link_sessions_find(s, 0, &index), SL_ERR_NOT_FOUND);
}

static void test_random_operations(void **state)
{
    (void)state;
    static struct reference r;
    struct sl_link_sessions *s = open_sessions(ROOM);
    unsigned full = 0;
    reference_reset(&r);
    for (unsigned i = 0; i < 40000; i++) {
        /* By turns it fills up and becomes empty. */
        const unsigned adds = i / 5000 % 2 == 0 ? 8000 : 1500;
        if (trace_chance(&rng, 500))
            random_change(s, &r);
        else if (trace_chance(&rng, adds))
            random_add(s, &r);
        else
            random_remove(s, &r);
        full += r.count == ROOM;
        if (i % 100 == 0)
            expect_reference(s, &r);
        if (i % 10000 == 0)
            expect_slots(s);
        if (i == 24000) { /* in the middle of much */
            assert_int_equal(sl_link_sessions_reset(s), SL_OK);
            reset_card(s);
            reference_reset(&r);
            expect_reference(s, &r);
            expect_slots(s);
        }
    }
    assert_true(full > 0);
    expect_reference(s, &r);
    expect_slots(s);
    sl_link_sessions_free(s);
}

/* ---- a table as full as it gets: others move, and a failure leaves their moves ---- */

static void test_full(void **state)
{
    (void)state;
    enum { ALL = SL_ENGINE_SESSIONS_MAX };
    struct sl_link_sessions *s = open_sessions(ALL);
    unsigned failed_with_moves = 0;
    uint32_t index;
    for (uint32_t n = 0; n < ALL; n++) {
        const struct sl_engine_flow_key key = key_number(n);
        if (trace_chance(&rng, 1000)) {
            struct sl_link_plan plan;
            insertions = 0;
            fail_lane_1 = true;
            assert_int_equal(sl_link_sessions_add(s, n + 1, &key, SL_CARD_SESSION_FORWARD, &index, &plan), SL_ERR_LIMIT);
            failed_with_moves += plan.lane[0].count > 0;
            assert_true(plan.back.count > 0);
            expect_not_written(&plan, &key);
            apply_plan(s, &plan);
            expect_none(&key);
            assert_int_equal(sl_link_sessions_find(s, n + 1, &index), SL_ERR_NOT_FOUND);
        }
        assert_int_equal(add(s, n + 1, &key, any_action(), &index, false), SL_OK);
        assert_int_equal(index, n);
    }
    assert_true(failed_with_moves > 0);
    expect_slots(s);
    const struct sl_engine_flow_key more = key_number(ALL);
    assert_int_equal(add(s, ALL + 1, &more, SL_CARD_SESSION_HOLD, &index, false), SL_ERR_LIMIT);
    /* Out and in again where the table is fullest, with failures between. */
    uint32_t lost = 0;
    for (unsigned i = 0; i < 20000; i++) {
        const uint32_t n = trace_below(&rng, ALL);
        const struct sl_engine_flow_key key = key_number(n);
        assert_int_equal(sl_link_sessions_find(s, n + 1, &index), SL_OK);
        expect_none(&more);
        take_out(s, index);
        const uint32_t freed = index;
        if (trace_chance(&rng, 3000))
            assert_int_equal(add(s, ALL + 1, &more, SL_CARD_SESSION_HOLD, &index, true), SL_ERR_LIMIT);
        assert_int_equal(add(s, n + 1, &key, SL_CARD_SESSION_TRANSCODE, &index, false), SL_OK);
        assert_int_equal(index, freed); /* the only one */
        expect_session(&key, index, SL_CARD_SESSION_TRANSCODE);
    }
    expect_slots(s);
    for (uint32_t n = 0; n < ALL; n++) {
        const struct sl_engine_flow_key key = key_number(n);
        lost += look_up(0, &key) == NULL || look_up(1, &key) == NULL;
    }
    assert_int_equal(lost, 0);
    sl_link_sessions_free(s);
}

/* ---- one by one ---- */

static void test_exists(void **state)
{
    (void)state;
    struct sl_link_sessions *s = open_sessions(8);
    const struct sl_engine_flow_key key = key_number(2), turned = key_number(3), other = key_number(4);
    uint32_t index;
    assert_int_equal(add(s, 7, &key, SL_CARD_SESSION_FORWARD, &index, false), SL_OK);
    assert_int_equal(add(s, 7, &other, SL_CARD_SESSION_FORWARD, &index, false), SL_ERR_EXISTS);
    assert_int_equal(add(s, 8, &key, SL_CARD_SESSION_FORWARD, &index, false), SL_ERR_EXISTS);
    assert_int_equal(add(s, 7, &key, SL_CARD_SESSION_FORWARD, &index, false), SL_ERR_EXISTS);
    /* A connection the other way round, from the server's side: each lane sees another key. */
    assert_int_equal(add(s, 7, &turned, SL_CARD_SESSION_FORWARD, &index, false), SL_ERR_EXISTS);
    assert_int_equal(add(s, 9, &turned, SL_CARD_SESSION_HOLD, &index, false), SL_OK);
    assert_int_equal(index, 1);
    assert_int_equal(add(s, 10, &turned, SL_CARD_SESSION_HOLD, &index, false), SL_ERR_EXISTS);
    expect_session(&key, 0, SL_CARD_SESSION_FORWARD);
    expect_session(&turned, 1, SL_CARD_SESSION_HOLD);
    take_out(s, 0);
    expect_none(&key);
    expect_session(&turned, 1, SL_CARD_SESSION_HOLD);
    assert_int_equal(add(s, 7, &key, SL_CARD_SESSION_TRANSCODE, &index, false), SL_OK);
    assert_int_equal(sl_link_sessions_count(s), 2);
    expect_slots(s);
    sl_link_sessions_free(s);
}

static void test_invalid(void **state)
{
    (void)state;
    static const struct {
        uint64_t flow;
        uint8_t version, action;
        int stray; /* a byte of src (0..15) or dst (16..31) that is not zero; -1: none */
        sl_err err;
    } cases[] = {
        {1, 4, SL_CARD_SESSION_FORWARD, -1, SL_OK},
        {1, 6, SL_CARD_SESSION_HOLD, -1, SL_OK},
        {UINT64_MAX, 6, SL_CARD_SESSION_TRANSCODE, 31, SL_OK},
        {1, 4, SL_CARD_SESSION_FORWARD, 3, SL_OK},
        {1, 4, SL_CARD_SESSION_FORWARD, 4, SL_ERR_INVALID}, /* no IPv4 address is so long */
        {1, 4, SL_CARD_SESSION_FORWARD, 15, SL_ERR_INVALID},
        {1, 4, SL_CARD_SESSION_FORWARD, 20, SL_ERR_INVALID},
        {1, 4, SL_CARD_SESSION_FORWARD, 31, SL_ERR_INVALID},
        {0, 4, SL_CARD_SESSION_FORWARD, -1, SL_ERR_INVALID},
        {1, 0, SL_CARD_SESSION_FORWARD, -1, SL_ERR_INVALID},
        {1, 5, SL_CARD_SESSION_FORWARD, -1, SL_ERR_INVALID},
        {1, 255, SL_CARD_SESSION_FORWARD, -1, SL_ERR_INVALID},
        {1, 4, SL_CARD_PUNT, -1, SL_ERR_INVALID},
        {1, 4, SL_CARD_FORWARD, -1, SL_ERR_INVALID},
        {1, 4, SL_CARD_DROP, -1, SL_ERR_INVALID},
        {1, 4, SL_CARD_SESSION_HOLD + 1, -1, SL_ERR_INVALID},
        {1, 4, 255, -1, SL_ERR_INVALID},
    };
    struct sl_link_sessions *s = open_sessions(1);
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sl_engine_flow_key key = {.sport = 1, .dport = 2, .proto = 6, .version = cases[i].version};
        uint32_t index = 12345;
        if (cases[i].stray >= 0)
            (cases[i].stray < 16 ? key.src : key.dst)[cases[i].stray % 16] = 1;
        assert_int_equal(add(s, cases[i].flow, &key, cases[i].action, &index, false), cases[i].err);
        assert_int_equal(sl_link_sessions_count(s), cases[i].err == SL_OK);
        assert_int_equal(index, cases[i].err == SL_OK ? 0 : 12345);
        if (cases[i].err == SL_OK)
            take_out(s, index);
    }
    expect_slots(s);
    sl_link_sessions_free(s);
}

/* What still comes of a removed session meets no other one soon: an index rests as long as it can. */
static void test_freed_indexes(void **state)
{
    (void)state;
    enum { FEW = 5 };
    static const uint32_t freed[] = {3, 0, 4, 2, 1};
    struct sl_link_sessions *s = open_sessions(FEW);
    uint32_t index;
    for (uint32_t n = 0; n < FEW; n++) {
        const struct sl_engine_flow_key key = key_number(n);
        assert_int_equal(add(s, n + 1, &key, SL_CARD_SESSION_HOLD, &index, false), SL_OK);
        assert_int_equal(index, n);
    }
    const struct sl_engine_flow_key more = key_number(FEW);
    assert_int_equal(add(s, FEW + 1, &more, SL_CARD_SESSION_HOLD, &index, false), SL_ERR_LIMIT);
    for (unsigned i = 0; i < FEW; i++)
        take_out(s, freed[i]);
    assert_int_equal(sl_link_sessions_any(s, &index), SL_ERR_NOT_FOUND);
    for (uint32_t n = 0; n < FEW; n++) {
        const struct sl_engine_flow_key key = key_number(n);
        uint32_t none = 12345;
        assert_int_equal(add(s, n + 1, &key, SL_CARD_SESSION_HOLD, &none, true), SL_ERR_LIMIT); /* uses none up */
        assert_int_equal(none, 12345);
        assert_int_equal(add(s, n + 1, &key, SL_CARD_SESSION_HOLD, &index, false), SL_OK);
        assert_int_equal(index, freed[n]);
    }
    sl_link_sessions_free(s);
}

static void test_reset(void **state)
{
    (void)state;
    struct sl_link_sessions *s = open_sessions(3);
    const struct sl_engine_flow_key key = key_number(0);
    uint8_t before[SL_ENGINE_LANES][SL_CARD_SEED_BYTES], after[SL_ENGINE_LANES][SL_CARD_SEED_BYTES];
    uint32_t index;
    for (unsigned lane = 0; lane < SL_ENGINE_LANES; lane++)
        sl_link_sessions_seed(s, lane, before[lane]);
    assert_memory_not_equal(before[0], before[1], SL_CARD_SEED_BYTES);
    assert_int_equal(add(s, 1, &key, SL_CARD_SESSION_HOLD, &index, false), SL_OK);
    assert_int_equal(sl_link_sessions_reset(s), SL_OK);
    for (unsigned lane = 0; lane < SL_ENGINE_LANES; lane++) {
        sl_link_sessions_seed(s, lane, after[lane]);
        assert_memory_not_equal(before[lane], after[lane], SL_CARD_SEED_BYTES);
    }
    assert_memory_not_equal(after[0], after[1], SL_CARD_SEED_BYTES);
    reset_card(s);
    expect_slots(s);
    assert_int_equal(sl_link_sessions_count(s), 0);
    assert_int_equal(sl_link_sessions_find(s, 1, &index), SL_ERR_NOT_FOUND);
    assert_int_equal(add(s, 1, &key, SL_CARD_SESSION_FORWARD, &index, false), SL_OK);
    assert_int_equal(index, 0);
    expect_session(&key, 0, SL_CARD_SESSION_FORWARD);
    sl_link_sessions_free(s);
    sl_link_sessions_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_operations), cmocka_unit_test(test_full),          cmocka_unit_test(test_exists),
        cmocka_unit_test(test_invalid),           cmocka_unit_test(test_freed_indexes), cmocka_unit_test(test_reset),
    };
    trace_random_begin(&rng);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
