/* SPDX-License-Identifier: Apache-2.0 */
#include "card/cuckoo.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/secret.h"
#include "session_table/table_hash.h"

enum { IN_WAYS = table_ways * table_rows, NO_ROW = 0xffff, NO_NODE = 0xffff };

static_assert((int)table_rows < (int)NO_ROW, "a row number that is none");
static_assert((int)SL_CARD_CUCKOO_NODES <= (int)NO_NODE, "a node number that is none");
/* A search has 4 * 3^d nodes at depth d: all of depth 5 fit and none of depth 7 does, so a path has at most 8 slots; a removal
 * needs one write before a path and one after it. */
static_assert(SL_CARD_CUCKOO_NODES < 4 * (1 + 3 + 9 + 27 + 81 + 243 + 729), "depth of a search");
static_assert(SL_CARD_CUCKOO_WRITES >= 8 + 2, "a plan holds the longest path");

struct node {
    uint32_t slot;
    uint16_t parent;
};

struct sl_card_cuckoo {
    uint64_t seed[2];
    struct table_hash hash;
    size_t count, in_stash;
    /* The four rows of each slot's session, row[0] == NO_ROW: empty. Searches read only these, 1.2 MB: they stay in the cache. */
    struct table_rows_of home[table_slots];
    struct table_slot slot[table_slots];
    struct node queue[SL_CARD_CUCKOO_NODES];
};

static const struct table_rows_of no_home = {{NO_ROW, NO_ROW, NO_ROW, NO_ROW}};
static const struct table_slot empty_slot = {{0}};

static bool is_empty(const struct sl_card_cuckoo *c, uint32_t slot)
{
    return c->home[slot].row[0] == NO_ROW;
}

static bool same_home(const struct table_rows_of *a, const struct table_rows_of *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

static uint32_t slot_of(const struct table_rows_of *home, unsigned way)
{
    return way * table_rows + home->row[way];
}

static void expand_hash(struct sl_card_cuckoo *c)
{
    struct table_expand e = {.seed = {c->seed[0], c->seed[1]}};
    for (uint32_t n = 0; n < table_hash_words; n++) {
        table_expand_begin(&e, n);
        while (e.round < table_expand_rounds) {
            table_expand_step(&e);
        }
        c->hash.word[n / table_char_values][n % table_char_values] = table_expand_end(&e);
    }
    sl_wipe(&e, sizeof(e));
}

sl_err sl_card_cuckoo_reset(struct sl_card_cuckoo *cuckoo, const uint8_t *seed)
{
    uint8_t fresh[SL_CARD_SEED_BYTES];
    if (seed == NULL) {
        if (getrandom(fresh, sizeof(fresh), 0) != (ssize_t)sizeof(fresh)) {
            return SL_ERR_IO;
        }
        seed = fresh;
    }
    cuckoo->seed[0] = table_address_word(seed);
    cuckoo->seed[1] = table_address_word(seed + 8);
    sl_wipe(fresh, sizeof(fresh));
    expand_hash(cuckoo);
    for (uint32_t i = 0; i < table_slots; i++) {
        cuckoo->slot[i] = empty_slot;
        cuckoo->home[i] = no_home;
    }
    cuckoo->count = 0;
    cuckoo->in_stash = 0;
    return SL_OK;
}

sl_err sl_card_cuckoo_new(const uint8_t *seed, struct sl_card_cuckoo **out)
{
    struct sl_card_cuckoo *c = malloc(sizeof(*c));
    if (c == NULL) {
        return SL_ERR_NOMEM;
    }
    sl_err err = sl_card_cuckoo_reset(c, seed);
    if (err != SL_OK) {
        free(c);
        return err;
    }
    *out = c;
    return SL_OK;
}

void sl_card_cuckoo_free(struct sl_card_cuckoo *cuckoo)
{
    if (cuckoo == NULL) {
        return;
    }
    sl_wipe(cuckoo->seed, sizeof(cuckoo->seed));
    sl_wipe(&cuckoo->hash, sizeof(cuckoo->hash));
    free(cuckoo);
}

void sl_card_cuckoo_seed(const struct sl_card_cuckoo *cuckoo, uint64_t word[2])
{
    word[0] = cuckoo->seed[0];
    word[1] = cuckoo->seed[1];
}

static bool is_valid(const struct sl_card_flow_key *key, uint32_t session, uint8_t action)
{
    static const uint8_t zeros[12];
    bool padded = key->version == 6 || (key->version == 4 && memcmp(key->src + 4, zeros, sizeof(zeros)) == 0 &&
                                        memcmp(key->dst + 4, zeros, sizeof(zeros)) == 0);
    return padded && session < table_sessions && action < 1 << table_action_bits;
}

static struct table_slot slot_of_key(const struct sl_card_flow_key *key)
{
    return table_slot_of_key(key->src, key->dst, key->sport, key->dport, key->proto, key->version);
}

/* The slot that holds the key, or table_slots. Keys with the same four rows are compared in full. */
static uint32_t locate(const struct sl_card_cuckoo *c, const struct table_slot *key, const struct table_rows_of *home)
{
    for (unsigned w = 0; w < table_ways; w++) {
        uint32_t at = slot_of(home, w);
        if (same_home(&c->home[at], home) && table_slot_match(&c->slot[at], key)) {
            return at;
        }
    }
    for (uint32_t at = IN_WAYS; c->in_stash > 0 && at < table_slots; at++) {
        if (same_home(&c->home[at], home) && table_slot_match(&c->slot[at], key)) {
            return at;
        }
    }
    return table_slots;
}

static void put(struct sl_card_cuckoo *c, uint32_t at, const struct table_slot *content, const struct table_rows_of *home,
                struct sl_card_cuckoo_plan *plan)
{
    c->slot[at] = *content;
    c->home[at] = *home;
    plan->write[plan->count++] = (struct sl_card_slot_write){at, *content};
}

/* An empty slot, and the node whose session moves there; NO_NODE: the new session itself goes there. */
struct room {
    uint32_t slot;
    uint16_t node;
};

/*
 * Breadth first: the queue holds slots that could be freed by moving their session elsewhere; the first empty slot met ends the
 * search. The path to it is a shortest one, hence meets no slot twice. False: there is none within reach.
 */
static bool find_room(struct sl_card_cuckoo *c, const struct table_rows_of *home, struct room *room)
{
    unsigned nodes = 0;
    for (unsigned w = 0; w < table_ways; w++) {
        uint32_t at = slot_of(home, w);
        if (is_empty(c, at)) {
            *room = (struct room){at, NO_NODE};
            return true;
        }
        c->queue[nodes++] = (struct node){at, NO_NODE};
    }
    for (unsigned n = 0; n < nodes; n++) {
        const uint32_t from = c->queue[n].slot;
        for (unsigned w = 0; w < table_ways; w++) {
            uint32_t at = slot_of(&c->home[from], w);
            if (at == from) {
                continue;
            }
            if (is_empty(c, at)) {
                *room = (struct room){at, (uint16_t)n};
                return true;
            }
            if (nodes < SL_CARD_CUCKOO_NODES) {
                c->queue[nodes++] = (struct node){at, (uint16_t)n};
            }
        }
    }
    return false;
}

static bool find_room_in_stash(const struct sl_card_cuckoo *c, struct room *room)
{
    for (uint32_t at = IN_WAYS; at < table_slots; at++) {
        if (is_empty(c, at)) {
            *room = (struct room){at, NO_NODE};
            return true;
        }
    }
    return false;
}

/* Moves along the path, from its empty end: each session is written to its new slot before its old one is overwritten. */
static void place(struct sl_card_cuckoo *c, struct room room, const struct table_slot *content, const struct table_rows_of *home,
                  struct sl_card_cuckoo_plan *plan)
{
    while (room.node != NO_NODE) {
        const struct node from = c->queue[room.node];
        put(c, room.slot, &c->slot[from.slot], &c->home[from.slot], plan);
        room = (struct room){from.slot, from.parent};
    }
    put(c, room.slot, content, home, plan);
}

/* Lets one session of the stash go home, if one can. */
static void settle(struct sl_card_cuckoo *c, struct sl_card_cuckoo_plan *plan)
{
    struct room room;
    for (uint32_t at = IN_WAYS; at < table_slots; at++) {
        if (!is_empty(c, at) && find_room(c, &c->home[at], &room)) {
            place(c, room, &c->slot[at], &c->home[at], plan);
            put(c, at, &empty_slot, &no_home, plan);
            c->in_stash--;
            return;
        }
    }
}

sl_err sl_card_cuckoo_insert(struct sl_card_cuckoo *cuckoo, const struct sl_card_flow_key *key, uint32_t session, uint8_t action,
                             struct sl_card_cuckoo_plan *plan)
{
    if (!is_valid(key, session, action)) {
        return SL_ERR_INVALID;
    }
    struct table_slot content = slot_of_key(key);
    const struct table_rows_of home = table_hash_rows(&cuckoo->hash, &content);
    if (locate(cuckoo, &content, &home) != table_slots) {
        return SL_ERR_EXISTS;
    }
    table_slot_set_value(&content, session, action);

    struct room room;
    if (!find_room(cuckoo, &home, &room)) {
        if (!find_room_in_stash(cuckoo, &room)) {
            return SL_ERR_LIMIT;
        }
        cuckoo->in_stash++;
    }
    plan->count = 0;
    place(cuckoo, room, &content, &home, plan);
    cuckoo->count++;
    return SL_OK;
}

sl_err sl_card_cuckoo_change(struct sl_card_cuckoo *cuckoo, const struct sl_card_flow_key *key, uint32_t session, uint8_t action,
                             struct sl_card_cuckoo_plan *plan)
{
    if (!is_valid(key, session, action)) {
        return SL_ERR_INVALID;
    }
    struct table_slot content = slot_of_key(key);
    const struct table_rows_of home = table_hash_rows(&cuckoo->hash, &content);
    const uint32_t at = locate(cuckoo, &content, &home);
    if (at == table_slots) {
        return SL_ERR_NOT_FOUND;
    }
    table_slot_set_value(&content, session, action);
    plan->count = 0;
    put(cuckoo, at, &content, &home, plan);
    return SL_OK;
}

sl_err sl_card_cuckoo_remove(struct sl_card_cuckoo *cuckoo, const struct sl_card_flow_key *key, struct sl_card_cuckoo_plan *plan)
{
    const struct table_slot wanted = slot_of_key(key);
    const struct table_rows_of home = table_hash_rows(&cuckoo->hash, &wanted);
    const uint32_t at = locate(cuckoo, &wanted, &home);
    if (at == table_slots) {
        return SL_ERR_NOT_FOUND;
    }
    plan->count = 0;
    put(cuckoo, at, &empty_slot, &no_home, plan);
    cuckoo->count--;
    if (at >= IN_WAYS) {
        cuckoo->in_stash--;
    } else if (cuckoo->in_stash > 0) {
        settle(cuckoo, plan);
    }
    return SL_OK;
}

bool sl_card_cuckoo_find(const struct sl_card_cuckoo *cuckoo, const struct sl_card_flow_key *key, uint32_t *session,
                         uint8_t *action)
{
    const struct table_slot wanted = slot_of_key(key);
    const struct table_rows_of home = table_hash_rows(&cuckoo->hash, &wanted);
    const uint32_t at = locate(cuckoo, &wanted, &home);
    if (at == table_slots) {
        return false;
    }
    if (session != NULL) {
        *session = table_slot_session(&cuckoo->slot[at]);
    }
    if (action != NULL) {
        *action = table_slot_action(&cuckoo->slot[at]);
    }
    return true;
}

size_t sl_card_cuckoo_count(const struct sl_card_cuckoo *cuckoo)
{
    return cuckoo->count;
}

size_t sl_card_cuckoo_in_stash(const struct sl_card_cuckoo *cuckoo)
{
    return cuckoo->in_stash;
}

double sl_card_cuckoo_load(const struct sl_card_cuckoo *cuckoo)
{
    return (double)cuckoo->count / IN_WAYS;
}

const struct table_slot *sl_card_cuckoo_slot(const struct sl_card_cuckoo *cuckoo, uint32_t slot)
{
    return &cuckoo->slot[slot];
}
