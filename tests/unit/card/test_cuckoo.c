/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's cuckoo table against a reference that is nothing but a list of keys with a flag, and against a card that applies the
 * writes one by one and is asked between any two of them. SLUICE_LONG=1: ten times the operations.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "card/cuckoo.h"
#include "session_table/table_hash.h"

enum { SLOTS = table_slots, IN_WAYS = table_ways * table_rows };

static uint64_t state;

static uint64_t random_bits(void)
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint32_t below(uint32_t n)
{
    return (uint32_t)(random_bits() % n);
}

static void random_bytes(uint8_t *to, size_t n)
{
    while (n-- > 0) {
        *to++ = (uint8_t)random_bits();
    }
}

static bool is_long(void)
{
    const char *value = getenv("SLUICE_LONG");
    return value != NULL && strcmp(value, "1") == 0;
}

/* Half the keys are IPv4. */
static struct sl_card_flow_key random_key(void)
{
    struct sl_card_flow_key key = {.proto = below(2) ? 6 : 17, .version = below(2) ? 4 : 6};
    size_t n = key.version == 4 ? 4 : 16;
    random_bytes(key.src, n);
    random_bytes(key.dst, n);
    key.sport = (uint16_t)random_bits();
    key.dport = (uint16_t)random_bits();
    return key;
}

/* The n-th connection of one client to one server and port: what a real (or hostile) network looks like. */
static struct sl_card_flow_key nth_key(uint32_t n)
{
    struct sl_card_flow_key key = {.src = {10, 0, (uint8_t)(n >> 24), (uint8_t)(n >> 16)},
                                   .dst = {192, 0, 2, 1},
                                   .sport = (uint16_t)n,
                                   .dport = 443,
                                   .proto = 6,
                                   .version = 4};
    return key;
}

static struct sl_card_cuckoo *new_cuckoo(uint64_t seed)
{
    uint8_t bytes[SL_CARD_SEED_BYTES] = {0};
    memcpy(bytes, &seed, sizeof(seed));
    struct sl_card_cuckoo *c = NULL;
    assert_int_equal(sl_card_cuckoo_new(bytes, &c), SL_OK);
    return c;
}

/* The card: slots, and a lookup by comparing with every candidate. */
struct card {
    struct table_hash hash;
    struct table_slot slot[SLOTS];
};

static struct table_slot slot_of(const struct sl_card_flow_key *key)
{
    return table_slot_of_key(key->src, key->dst, key->sport, key->dport, key->proto, key->version);
}

/* What the kernel does at a reset. */
static void card_reset(struct card *card, const struct sl_card_cuckoo *c)
{
    memset(card, 0, sizeof(*card));
    struct table_expand e = {.round = 0};
    sl_card_cuckoo_seed(c, e.seed);
    for (uint32_t n = 0; n < table_hash_words; n++) {
        table_expand_begin(&e, n);
        for (unsigned i = 0; i < table_expand_rounds / table_expand_rounds_a_step; i++) {
            table_expand_step(&e);
        }
        card->hash.word[n / 64][n % 64] = table_expand_end(&e);
    }
}

static const struct table_slot *card_find(const struct card *card, const struct table_slot *wanted)
{
    const struct table_rows_of rows = table_hash_rows(&card->hash, wanted);
    for (unsigned w = 0; w < table_ways; w++) {
        const struct table_slot *slot = &card->slot[w * table_rows + rows.row[w]];
        if (table_slot_match(slot, wanted)) {
            return slot;
        }
    }
    for (unsigned i = IN_WAYS; i < SLOTS; i++) {
        if (table_slot_match(&card->slot[i], wanted)) {
            return &card->slot[i];
        }
    }
    return NULL;
}

/*
 * Applies a plan. A write can lose only the session that it overwrites: that one must be elsewhere, with the same value, unless it
 * is `changing`, the key that the plan is about.
 */
static void card_apply(struct card *card, const struct sl_card_cuckoo_plan *plan, const struct table_slot *changing)
{
    assert_in_range(plan->count, 1, SL_CARD_CUCKOO_WRITES);
    for (size_t i = 0; i < plan->count; i++) {
        assert_true(plan->write[i].slot < SLOTS);
        const struct table_slot before = card->slot[plan->write[i].slot];
        card->slot[plan->write[i].slot] = plan->write[i].content;
        if (table_slot_valid(&before) && !table_slot_match(&before, changing)) {
            const struct table_slot *now = card_find(card, &before);
            assert_non_null(now);
            assert_memory_equal(now, &before, sizeof(before));
        }
    }
}

static void assert_same_as_shadow(const struct card *card, const struct sl_card_cuckoo *c)
{
    for (uint32_t i = 0; i < SLOTS; i++) {
        assert_memory_equal(&card->slot[i], sl_card_cuckoo_slot(c, i), sizeof(card->slot[i]));
    }
}

static void test_basics(void **unused)
{
    (void)unused;
    struct sl_card_cuckoo *c = new_cuckoo(1);
    struct sl_card_cuckoo_plan plan;
    const struct sl_card_flow_key key = nth_key(7), other = nth_key(8);
    uint32_t session = 99;
    uint8_t action = 9;

    /* 1: not there */
    assert_false(sl_card_cuckoo_find(c, &key, &session, &action));
    assert_int_equal(session, 99);
    assert_int_equal(action, 9);
    assert_int_equal(sl_card_cuckoo_remove(c, &key, &plan), SL_ERR_NOT_FOUND);
    assert_int_equal(sl_card_cuckoo_change(c, &key, 1, 1, &plan), SL_ERR_NOT_FOUND);

    /* 2: there */
    assert_int_equal(sl_card_cuckoo_insert(c, &key, table_sessions - 1, 7, &plan), SL_OK);
    assert_int_equal(plan.count, 1);
    assert_true(sl_card_cuckoo_find(c, &key, &session, &action));
    assert_int_equal(session, table_sessions - 1);
    assert_int_equal(action, 7);
    assert_false(sl_card_cuckoo_find(c, &other, NULL, NULL));
    assert_int_equal(sl_card_cuckoo_insert(c, &key, 1, 1, &plan), SL_ERR_EXISTS);
    assert_int_equal(sl_card_cuckoo_count(c), 1);

    /* 3: changed in place */
    const uint32_t at = plan.write[0].slot;
    assert_int_equal(sl_card_cuckoo_change(c, &key, 5, 3, &plan), SL_OK);
    assert_int_equal(plan.count, 1);
    assert_int_equal(plan.write[0].slot, at);
    assert_true(sl_card_cuckoo_find(c, &key, &session, &action));
    assert_int_equal(session, 5);
    assert_int_equal(action, 3);

    /* 4: removed */
    assert_int_equal(sl_card_cuckoo_remove(c, &key, &plan), SL_OK);
    assert_int_equal(plan.write[0].slot, at);
    assert_false(table_slot_valid(&plan.write[0].content));
    assert_false(sl_card_cuckoo_find(c, &key, NULL, NULL));
    assert_int_equal(sl_card_cuckoo_count(c), 0);

    /* 5: a reset empties; without a seed the hash is another one each time */
    assert_int_equal(sl_card_cuckoo_insert(c, &key, 5, 3, &plan), SL_OK);
    assert_int_equal(sl_card_cuckoo_reset(c, NULL), SL_OK);
    uint64_t first[2], second[2];
    sl_card_cuckoo_seed(c, first);
    assert_false(sl_card_cuckoo_find(c, &key, NULL, NULL));
    assert_int_equal(sl_card_cuckoo_reset(c, NULL), SL_OK);
    sl_card_cuckoo_seed(c, second);
    assert_memory_not_equal(first, second, sizeof(first));
    sl_card_cuckoo_free(c);
    sl_card_cuckoo_free(NULL);
}

static void test_invalid(void **unused)
{
    (void)unused;
    struct sl_card_cuckoo *c = new_cuckoo(2);
    struct sl_card_flow_key good = nth_key(1), bad;
    struct sl_card_cuckoo_plan plan = {.count = 3};
    assert_int_equal(sl_card_cuckoo_insert(c, &good, table_sessions, 1, &plan), SL_ERR_INVALID);
    assert_int_equal(sl_card_cuckoo_insert(c, &good, 0, 8, &plan), SL_ERR_INVALID);
    bad = good;
    bad.version = 5;
    assert_int_equal(sl_card_cuckoo_insert(c, &bad, 0, 1, &plan), SL_ERR_INVALID);
    bad = good;
    bad.src[4] = 1; /* of an IPv4 address */
    assert_int_equal(sl_card_cuckoo_insert(c, &bad, 0, 1, &plan), SL_ERR_INVALID);
    bad = good;
    bad.dst[15] = 1;
    assert_int_equal(sl_card_cuckoo_insert(c, &bad, 0, 1, &plan), SL_ERR_INVALID);
    assert_int_equal(sl_card_cuckoo_change(c, &bad, 0, 1, &plan), SL_ERR_INVALID);
    assert_int_equal(plan.count, 3);
    assert_int_equal(sl_card_cuckoo_count(c), 0);
    sl_card_cuckoo_free(c);
}

/* Every bit of the key matters: keys that differ in one bit are different sessions, and hash differently. */
static void test_every_bit(void **unused)
{
    (void)unused;
    struct sl_card_cuckoo *c = new_cuckoo(3);
    struct sl_card_cuckoo_plan plan;
    struct sl_card_flow_key base = random_key();
    base.version = 6;
    struct card *card = malloc(sizeof(*card));
    assert_non_null(card);
    card_reset(card, c);
    const struct table_slot base_slot = slot_of(&base);
    const struct table_rows_of base_rows = table_hash_rows(&card->hash, &base_slot);
    for (unsigned bit = 0; bit < 296; bit++) {
        struct sl_card_flow_key key = base;
        ((uint8_t *)&key)[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(sl_card_cuckoo_insert(c, &key, bit, 1, &plan), SL_OK);
        const struct table_slot slot = slot_of(&key);
        const struct table_rows_of rows = table_hash_rows(&card->hash, &slot);
        assert_memory_not_equal(&rows, &base_rows, sizeof(rows));
    }
    free(card);
    assert_false(sl_card_cuckoo_find(c, &base, NULL, NULL));
    for (unsigned bit = 0; bit < 296; bit++) {
        struct sl_card_flow_key key = base;
        uint32_t session = 0;
        ((uint8_t *)&key)[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_true(sl_card_cuckoo_find(c, &key, &session, NULL));
        assert_int_equal(session, bit);
    }
    struct sl_card_flow_key four = {.version = 4}, six = {.version = 6}; /* 0.0.0.0 and :: */
    assert_int_equal(sl_card_cuckoo_insert(c, &four, 400, 1, &plan), SL_OK);
    assert_false(sl_card_cuckoo_find(c, &six, NULL, NULL));
    sl_card_cuckoo_free(c);
}

/* Random operations around a load of 0.9, everything compared; then all slots. */
static void test_random_operations(void **unused)
{
    (void)unused;
    enum { KEYS = 150000, FILLED = 120000 };
    const uint32_t operations = is_long() ? 10000000 : 300000;
    struct sl_card_flow_key *key = malloc(KEYS * sizeof(*key));
    uint32_t *value = calloc(KEYS, sizeof(*value)); /* session << 3 | action, + 1; 0: not there */
    struct card *card = malloc(sizeof(*card));
    assert_true(key != NULL && value != NULL && card != NULL);
    struct sl_card_cuckoo *c = new_cuckoo(random_bits());
    card_reset(card, c);
    for (uint32_t i = 0; i < KEYS; i++) {
        key[i] = i % 3 == 0 ? nth_key(i) : random_key();
    }

    struct sl_card_cuckoo_plan plan;
    size_t count = 0;
    for (uint32_t n = 0; n < FILLED + operations; n++) {
        const uint32_t i = n < FILLED ? n : below(KEYS), session = below(table_sessions);
        const uint8_t action = (uint8_t)below(8);
        const struct table_slot wanted = slot_of(&key[i]);
        const uint32_t dice = n < FILLED ? 0 : below(100);
        if (dice < 55) {
            const sl_err err = sl_card_cuckoo_insert(c, &key[i], session, action, &plan);
            if (value[i] != 0) {
                assert_int_equal(err, SL_ERR_EXISTS);
            } else if (err == SL_OK) {
                card_apply(card, &plan, &wanted);
                value[i] = (session << 3 | action) + 1;
                count++;
            } else {
                assert_int_equal(err, SL_ERR_LIMIT);
                assert_true(sl_card_cuckoo_load(c) > 0.95);
            }
        } else if (dice < 63) {
            const sl_err err = sl_card_cuckoo_remove(c, &key[i], &plan);
            assert_int_equal(err, value[i] != 0 ? SL_OK : SL_ERR_NOT_FOUND);
            if (err == SL_OK) {
                card_apply(card, &plan, &wanted);
                value[i] = 0;
                count--;
            }
        } else if (dice < 75) {
            const sl_err err = sl_card_cuckoo_change(c, &key[i], session, action, &plan);
            assert_int_equal(err, value[i] != 0 ? SL_OK : SL_ERR_NOT_FOUND);
            if (err == SL_OK) {
                card_apply(card, &plan, &wanted);
                value[i] = (session << 3 | action) + 1;
            }
        }
        const struct table_slot *there = card_find(card, &wanted);
        uint32_t found_session = 0;
        uint8_t found_action = 0;
        const bool found = sl_card_cuckoo_find(c, &key[i], &found_session, &found_action);
        assert_int_equal(found, value[i] != 0);
        assert_int_equal(there != NULL, value[i] != 0);
        if (found) {
            assert_int_equal((found_session << 3 | found_action) + 1, value[i]);
            assert_int_equal((table_slot_session(there) << 3 | table_slot_action(there)) + 1, value[i]);
        }
        assert_int_equal(sl_card_cuckoo_count(c), count);
    }
    for (uint32_t i = 0; i < KEYS; i++) {
        assert_int_equal(sl_card_cuckoo_find(c, &key[i], NULL, NULL), value[i] != 0);
    }
    assert_same_as_shadow(card, c);
    print_message("%u operations, load at the end %.3f\n", operations, sl_card_cuckoo_load(c));
    sl_card_cuckoo_free(c);
    free(card);
    free(value);
    free(key);
}

/* As many slots are full as there are sessions, and as many of the stash as it is said. */
static void assert_counts(const struct sl_card_cuckoo *c)
{
    size_t in_ways = 0, in_stash = 0;
    for (uint32_t i = 0; i < SLOTS; i++) {
        const bool valid = table_slot_valid(sl_card_cuckoo_slot(c, i));
        in_ways += valid && i < IN_WAYS;
        in_stash += valid && i >= IN_WAYS;
    }
    assert_int_equal(in_stash, sl_card_cuckoo_in_stash(c));
    assert_int_equal(in_ways + in_stash, sl_card_cuckoo_count(c));
}

typedef struct sl_card_flow_key key_fn(uint32_t n);

static struct sl_card_flow_key any_key(uint32_t n)
{
    (void)n;
    return random_key();
}

/* Inserts until the first failure; returns the load then. The failure must have changed nothing. */
static double fill(uint64_t seed, key_fn *next)
{
    struct sl_card_cuckoo *c = new_cuckoo(seed);
    struct card *card = malloc(sizeof(*card));
    assert_non_null(card);
    card_reset(card, c);
    struct sl_card_cuckoo_plan plan;
    size_t settled = 0;
    for (uint32_t n = 0;; n++) {
        const struct sl_card_flow_key key = next(n);
        const struct table_slot wanted = slot_of(&key);
        struct sl_card_cuckoo_plan untouched;
        memset(&plan, 0x5a, sizeof(plan));
        untouched = plan;
        const sl_err err = sl_card_cuckoo_insert(c, &key, n % table_sessions, 4, &plan);
        if (err == SL_ERR_LIMIT) {
            assert_memory_equal(&plan, &untouched, sizeof(plan));
            assert_false(sl_card_cuckoo_find(c, &key, NULL, NULL));
            break;
        }
        assert_int_equal(err, SL_OK);
        card_apply(card, &plan, &wanted);
        if (sl_card_cuckoo_in_stash(c) == 0) {
            settled = sl_card_cuckoo_count(c);
        }
    }
    assert_same_as_shadow(card, c); /* the card saw successful plans only */
    assert_int_equal(sl_card_cuckoo_in_stash(c), table_stash);
    const double load = sl_card_cuckoo_load(c);
    print_message("seed %llu: load %.4f at the first failure, %.4f without stash\n", (unsigned long long)seed, load,
                  (double)settled / IN_WAYS);

    /* Room again: sessions of the stash go home as others leave. */
    for (uint32_t i = 0; i < IN_WAYS && sl_card_cuckoo_in_stash(c) > 0; i += 3) {
        const struct table_slot *slot = sl_card_cuckoo_slot(c, i);
        if (!table_slot_valid(slot)) {
            continue;
        }
        struct sl_card_flow_key key = {.sport = (uint16_t)(slot->word[4] >> table_at_sport),
                                       .dport = (uint16_t)slot->word[4],
                                       .proto = (uint8_t)(slot->word[4] >> table_at_proto),
                                       .version = slot->word[4] >> table_at_ipv6 & 1 ? 6 : 4};
        memcpy(key.src, &slot->word[0], 16);
        memcpy(key.dst, &slot->word[2], 16);
        const struct table_slot leaving = *slot;
        assert_int_equal(sl_card_cuckoo_remove(c, &key, &plan), SL_OK);
        card_apply(card, &plan, &leaving);
    }
    assert_int_equal(sl_card_cuckoo_in_stash(c), 0);
    assert_same_as_shadow(card, c);
    assert_counts(c);
    free(card);
    sl_card_cuckoo_free(c);
    return load;
}

static void test_load(void **unused)
{
    (void)unused;
    double sum = 0;
    enum { SEEDS = 4 };
    for (unsigned i = 0; i < SEEDS; i++) {
        const double load = fill(random_bits(), i % 2 == 0 ? any_key : nth_key);
        assert_true(load > 0.95);
        sum += load;
    }
    print_message("load at the first failure, mean of %d seeds: %.4f\n", SEEDS, sum / SEEDS);
}

/* All sessions that the card has indexes for, with room to spare: no failure, and no use of the stash. */
static void test_all_sessions(void **unused)
{
    (void)unused;
    struct sl_card_cuckoo *c = new_cuckoo(random_bits());
    struct sl_card_cuckoo_plan plan;
    size_t writes = 0, longest = 0;
    const clock_t begin = clock();
    for (uint32_t n = 0; n < table_sessions; n++) {
        const struct sl_card_flow_key key = nth_key(n);
        assert_int_equal(sl_card_cuckoo_insert(c, &key, n, 4, &plan), SL_OK);
        writes += plan.count;
        longest = plan.count > longest ? plan.count : longest;
    }
    const double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    print_message("%d sessions: load %.3f, %.2f writes each, at most %zu, %.2f M inserts/s\n", table_sessions,
                  sl_card_cuckoo_load(c), (double)writes / table_sessions, longest, table_sessions / seconds / 1e6);
    assert_true(sl_card_cuckoo_load(c) > 0.85);
    assert_int_equal(sl_card_cuckoo_in_stash(c), 0);
    sl_card_cuckoo_free(c);
}

/*
 * An attacker who knew a seed could choose keys whose rows all lie in the first half of each way, and fill the table at half its
 * load. The same keys under another seed are as good as random ones.
 */
static void test_forged_collisions(void **unused)
{
    (void)unused;
    enum { FORGED = table_ways * table_rows / 2 + 100 };
    struct sl_card_flow_key *forged = malloc(FORGED * sizeof(*forged));
    struct card *card = malloc(sizeof(*card));
    assert_true(forged != NULL && card != NULL);
    struct sl_card_cuckoo *known = new_cuckoo(77), *fresh = NULL;
    assert_int_equal(sl_card_cuckoo_new(NULL, &fresh), SL_OK);
    card_reset(card, known);
    uint32_t found = 0;
    for (uint32_t n = 0; found < FORGED; n++) {
        const struct sl_card_flow_key key = nth_key(n);
        const struct table_slot slot = slot_of(&key);
        const struct table_rows_of rows = table_hash_rows(&card->hash, &slot);
        unsigned low = 0;
        for (unsigned w = 0; w < table_ways; w++) {
            low += rows.row[w] < table_rows / 2;
        }
        if (low == table_ways) {
            forged[found++] = key;
        }
    }
    struct sl_card_cuckoo_plan plan;
    uint32_t known_fails = 0;
    size_t fresh_writes = 0;
    for (uint32_t i = 0; i < FORGED; i++) {
        known_fails += sl_card_cuckoo_insert(known, &forged[i], i, 4, &plan) == SL_ERR_LIMIT;
        assert_int_equal(sl_card_cuckoo_insert(fresh, &forged[i], i, 4, &plan), SL_OK);
        fresh_writes += plan.count;
    }
    print_message("%d forged keys: %u fail under the known seed, none under another, %.3f writes each\n", FORGED, known_fails,
                  (double)fresh_writes / FORGED);
    assert_true(known_fails >= 100 - table_stash);
    assert_true(fresh_writes < FORGED + FORGED / 10);
    sl_card_cuckoo_free(known);
    sl_card_cuckoo_free(fresh);
    free(card);
    free(forged);
}

/* Sequential keys spread evenly: chi-square over the rows of each way, which has table_rows - 1 degrees of freedom, within 6 sigma
 * (and the known unevenness of 28 or 29 of 256 values a bank). */
static void test_hash_is_even(void **unused)
{
    (void)unused;
    enum { KEYS = 1 << 18 };
    struct card *card = malloc(sizeof(*card));
    uint32_t *hits = calloc(SLOTS, sizeof(*hits));
    assert_true(card != NULL && hits != NULL);
    struct sl_card_cuckoo *c = new_cuckoo(random_bits());
    card_reset(card, c);
    for (uint32_t n = 0; n < KEYS; n++) {
        const struct sl_card_flow_key key = nth_key(n);
        const struct table_slot slot = slot_of(&key);
        const struct table_rows_of rows = table_hash_rows(&card->hash, &slot);
        for (unsigned w = 0; w < table_ways; w++) {
            hits[w * table_rows + rows.row[w]]++;
        }
    }
    for (unsigned w = 0; w < table_ways; w++) {
        double chi = 0;
        for (unsigned row = 0; row < table_rows; row++) {
            unsigned values = 0; /* of 256 that lead to this bank */
            for (unsigned v = 0; v < 256; v++) {
                values += v * table_banks / 256 == row / table_bank_rows;
            }
            const double expected = (double)KEYS / table_bank_rows * values / 256;
            const double difference = hits[w * table_rows + row] - expected;
            chi += difference * difference / expected;
        }
        print_message("way %u: chi-square / degrees of freedom %.4f\n", w, chi / (table_rows - 1));
        assert_true(chi < 1.5 * table_rows); /* structure in the keys may even make it smaller */
    }
    sl_card_cuckoo_free(c);
    free(hits);
    free(card);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_basics),       cmocka_unit_test(test_invalid),
        cmocka_unit_test(test_every_bit),    cmocka_unit_test(test_random_operations),
        cmocka_unit_test(test_load),         cmocka_unit_test(test_all_sessions),
        cmocka_unit_test(test_hash_is_even), cmocka_unit_test(test_forged_collisions),
    };
    const char *seed = getenv("SLUICE_SEED");
    state = seed != NULL ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL);
    print_message("SLUICE_SEED=%llu\n", (unsigned long long)state);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
