/* SPDX-License-Identifier: Apache-2.0 */
#include "card/flow_table.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "base/secret.h"

enum { WAYS = 12, MEAN = 8, HUGE_PAGE = 2 << 20 };

struct bucket {
    uint8_t tag[WAYS]; /* 0: empty */
    uint32_t spilled;  /* flows whose first bucket this is, and that lie in their second */
    uint32_t index[WAYS];
};
_Static_assert(sizeof(struct bucket) == 64, "a line");

typedef unsigned __int128 wide;

struct sl_flow_table {
    struct bucket *buckets;
    struct sl_flow_entry *entries;
    uint32_t mask;  /* buckets - 1 */
    uint32_t flows; /* room */
    uint32_t count;
    uint32_t first_free; /* of entries that were used before, by next_free + 1; 0: none */
    uint32_t fresh;      /* entries from here on were never used */
    wide *key;           /* 6; secret */
};

/* ---- hash ---- */

struct place {
    uint32_t first, second; /* buckets */
    uint8_t tag;
};

/* The upper half of k0 + k1*w0 + ... + k5*w4 modulo 2^128 (Lemire and Kaser, "Strongly universal string hashing is fast"). Words of
 * 0 add nothing: an IPv4 flow costs three products. */
static uint64_t hash_of(const struct sl_flow_table *t, const struct sl_flow_key *key)
{
    wide sum = t->key[0] + t->key[1] * key->word[0] + t->key[3] * key->word[2] + t->key[5] * key->word[4];
    if ((key->word[1] | key->word[3]) != 0)
        sum += t->key[2] * key->word[1] + t->key[4] * key->word[3];
    return (uint64_t)(sum >> 64);
}

static struct place place_of(const struct sl_flow_table *t, const struct sl_flow_key *key)
{
    const uint64_t h = hash_of(t, key);
    struct place p = {.first = (uint32_t)h & t->mask, .second = (uint32_t)(h >> 28) & t->mask, .tag = (uint8_t)(h >> 56)};
    if (p.tag == 0)
        p.tag = 1;
    if (p.second == p.first)
        p.second ^= 1;
    return p;
}

/* ---- buckets ---- */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "byte 0 of a word is its lowest");

/* A bit for each way that has the tag. */
static uint32_t ways_with(const struct bucket *b, uint8_t tag)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), low = 0x7f * ones;
    uint64_t a, c = 0;
    memcpy(&a, b->tag, 8);
    memcpy(&c, b->tag + 8, 4);
    a ^= ones * tag;
    c ^= (ones * tag) & 0xffffffff;
    a = ~(((a & low) + low) | a | low); /* 0x80 where a byte is zero */
    c = ~(((c & low) + low) | c | low) & 0xffffffff;
    /* Byte i's bit is gathered at bit 56 + i. */
    const uint64_t gather = UINT64_C(0x0102040810204080);
    return (uint32_t)((a >> 7) * gather >> 56) | (uint32_t)((c >> 7) * gather >> 56) << 8;
}

static uint32_t find_in(const struct sl_flow_table *t, const struct bucket *b, uint8_t tag, const struct sl_flow_key *key)
{
    for (uint32_t ways = ways_with(b, tag); ways != 0; ways &= ways - 1) {
        const uint32_t index = b->index[__builtin_ctz(ways)];
        if (sl_flow_key_equal(&t->entries[index].key, key))
            return index;
    }
    return SL_FLOW_NONE;
}

static uint32_t find_one(const struct sl_flow_table *t, struct place p, const struct sl_flow_key *key)
{
    const struct bucket *first = &t->buckets[p.first];
    const uint32_t index = find_in(t, first, p.tag, key);
    return index != SL_FLOW_NONE || first->spilled == 0 ? index : find_in(t, &t->buckets[p.second], p.tag, key);
}

/* A free way; WAYS: none. */
static unsigned free_way(const struct bucket *b)
{
    const uint32_t ways = ways_with(b, 0);
    return ways != 0 ? (unsigned)__builtin_ctz(ways) : WAYS;
}

static void put(struct bucket *b, unsigned way, uint8_t tag, uint32_t index)
{
    b->tag[way] = tag;
    b->index[way] = index;
}

/* Moves a flow of the bucket to its other one; gives the way that became free, or WAYS. */
static unsigned make_room(struct sl_flow_table *t, uint32_t number)
{
    struct bucket *b = &t->buckets[number];
    for (unsigned way = 0; way < WAYS; way++) {
        const struct place p = place_of(t, &t->entries[b->index[way]].key);
        struct bucket *other = &t->buckets[p.first == number ? p.second : p.first];
        const unsigned room = free_way(other);
        if (room == WAYS)
            continue;
        put(other, room, p.tag, b->index[way]);
        if (p.first == number)
            t->buckets[p.first].spilled++;
        else
            t->buckets[p.first].spilled--;
        b->tag[way] = 0;
        return way;
    }
    return WAYS;
}

static bool place_index(struct sl_flow_table *t, struct place p, uint32_t index)
{
    uint32_t number = p.first;
    unsigned way = free_way(&t->buckets[p.first]);
    if (way == WAYS) {
        way = free_way(&t->buckets[p.second]);
        number = p.second;
    }
    if (way == WAYS) {
        way = make_room(t, p.first);
        number = p.first;
    }
    if (way == WAYS) {
        way = make_room(t, p.second);
        number = p.second;
    }
    if (way == WAYS)
        return false;
    put(&t->buckets[number], way, p.tag, index);
    if (number != p.first)
        t->buckets[p.first].spilled++;
    return true;
}

static void take_from(struct sl_flow_table *t, uint32_t number, const struct place *p, uint32_t index)
{
    struct bucket *b = &t->buckets[number];
    for (unsigned way = 0; way < WAYS; way++) {
        if (b->tag[way] == p->tag && b->index[way] == index) {
            b->tag[way] = 0;
            if (number != p->first)
                t->buckets[p->first].spilled--;
            return;
        }
    }
}

/* ---- the table ---- */

static size_t buckets_bytes(const struct sl_flow_table *t)
{
    return ((size_t)t->mask + 1) * sizeof(struct bucket);
}

static size_t entries_bytes(const struct sl_flow_table *t)
{
    return t->flows * sizeof(struct sl_flow_entry);
}

/* Zeroed pages, large ones where the system has them: a lookup then misses the cache, but not the TLB. */
static void *pages(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (bytes >= HUGE_PAGE)
        (void)madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

sl_err sl_flow_table_new(size_t flows, struct sl_flow_table **out)
{
    if (flows == 0 || flows > SL_FLOWS_MAX)
        return SL_ERR_INVALID;
    sl_err err = SL_ERR_NOMEM;
    struct sl_flow_table *t = calloc(1, sizeof(*t));
    void *key = NULL;
    if (t == NULL)
        return SL_ERR_NOMEM;
    size_t buckets = 2;
    while (buckets * MEAN < flows)
        buckets *= 2;
    t->mask = (uint32_t)(buckets - 1);
    t->flows = (uint32_t)flows;
    t->buckets = pages(buckets_bytes(t));
    t->entries = pages(entries_bytes(t));
    if (t->buckets == NULL || t->entries == NULL || sl_secret_alloc(6 * sizeof(wide), &key) != SL_OK)
        goto Exit;
    t->key = key;
    err = getrandom(t->key, 6 * sizeof(wide), 0) == (ssize_t)(6 * sizeof(wide)) ? SL_OK : SL_ERR_IO;
Exit:
    if (err != SL_OK)
        sl_flow_table_free(t);
    else
        *out = t;
    return err;
}

void sl_flow_table_free(struct sl_flow_table *t)
{
    if (t == NULL)
        return;
    if (t->buckets != NULL)
        munmap(t->buckets, buckets_bytes(t));
    if (t->entries != NULL)
        munmap(t->entries, entries_bytes(t));
    sl_secret_free(t->key);
    free(t);
}

sl_err sl_flow_table_add(struct sl_flow_table *t, const struct sl_flow_key *key, uint32_t *index)
{
    const struct place p = place_of(t, key);
    if (find_one(t, p, key) != SL_FLOW_NONE)
        return SL_ERR_EXISTS;
    if (t->count == t->flows)
        return SL_ERR_LIMIT;
    const uint32_t at = t->first_free != 0 ? t->first_free - 1 : t->fresh;
    if (!place_index(t, p, at))
        return SL_ERR_LIMIT;
    if (t->first_free != 0)
        t->first_free = t->entries[at].next_free;
    else
        t->fresh++;
    t->entries[at] = (struct sl_flow_entry){.key = *key, .used = 1};
    t->count++;
    *index = at;
    return SL_OK;
}

void sl_flow_table_remove(struct sl_flow_table *t, uint32_t index)
{
    struct sl_flow_entry *e = &t->entries[index];
    const struct place p = place_of(t, &e->key);
    take_from(t, p.first, &p, index);
    take_from(t, p.second, &p, index);
    *e = (struct sl_flow_entry){.next_free = t->first_free};
    t->first_free = index + 1;
    t->count--;
}

/* Three rounds, each of which asks for what the next one reads. */
void sl_flow_table_find(const struct sl_flow_table *t, const struct sl_flow_key *keys, size_t count, uint32_t *index)
{
    struct place place[SL_FLOW_BURST];
    uint32_t likely[SL_FLOW_BURST];
    for (size_t i = 0; i < count; i++) {
        place[i] = place_of(t, &keys[i]);
        __builtin_prefetch(&t->buckets[place[i].first]);
    }
    for (size_t i = 0; i < count; i++) {
        const struct bucket *b = &t->buckets[place[i].first];
        const uint32_t ways = ways_with(b, place[i].tag);
        likely[i] = ways != 0 ? b->index[__builtin_ctz(ways)] : SL_FLOW_NONE;
        if (ways != 0)
            __builtin_prefetch(&t->entries[likely[i]]);
        else if (b->spilled != 0)
            __builtin_prefetch(&t->buckets[place[i].second]);
    }
    for (size_t i = 0; i < count; i++) {
        if (likely[i] != SL_FLOW_NONE && sl_flow_key_equal(&t->entries[likely[i]].key, &keys[i]))
            index[i] = likely[i];
        else
            index[i] = find_one(t, place[i], &keys[i]);
    }
}

struct sl_flow_entry *sl_flow_table_entry(const struct sl_flow_table *t, uint32_t index)
{
    return &t->entries[index];
}

size_t sl_flow_table_count(const struct sl_flow_table *t)
{
    return t->count;
}

size_t sl_flow_table_bytes(const struct sl_flow_table *t)
{
    return sizeof(*t) + buckets_bytes(t) + entries_bytes(t);
}
