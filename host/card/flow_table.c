/* SPDX-License-Identifier: Apache-2.0 */
#include "card/flow_table.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/secret.h"

enum { WAYS = 12, MEAN = 8, HUGE_PAGE = 2 << 20, KEY_WORDS = 6 };

struct bucket {
    uint8_t tag[WAYS]; /* 0: empty */
    uint32_t spilled;  /* flows whose first bucket this is, and that lie in their second */
};
_Static_assert(sizeof(struct bucket) == 16, "a vector");

typedef unsigned __int128 wide;

struct sl_flow_table {
    struct bucket *buckets;
    struct sl_flow_entry *entries; /* WAYS for each bucket */
    uint32_t *where;               /* by index: number of its entry; of an unused one that was used: the next such index + 1 */
    uint32_t mask;                 /* buckets - 1 */
    uint32_t flows;                /* room */
    uint32_t count;
    uint32_t first_free; /* of the indexes that were used before, + 1; 0: none */
    uint32_t fresh;      /* indexes from here on were never used */
    wide *key;           /* secret */
};

/* ---- hash ---- */

/* The upper half of k0 + k1*w0 + ... + k5*w4 modulo 2^128 (Lemire and Kaser, "Strongly universal string hashing is fast"). Words of
 * 0 add nothing: an IPv4 flow costs three products. */
static inline uint64_t hash_of(const wide *k, const struct sl_flow_key *key)
{
    wide sum = k[0] + k[1] * key->word[0] + k[3] * key->word[2] + k[5] * key->word[4];
    if ((key->word[1] | key->word[3]) != 0)
        sum += k[2] * key->word[1] + k[4] * key->word[3];
    return (uint64_t)(sum >> 64);
}

static inline uint32_t first_of(const struct sl_flow_table *t, uint64_t hash)
{
    return (uint32_t)hash & t->mask;
}

static inline uint32_t second_of(const struct sl_flow_table *t, uint64_t hash)
{
    const uint32_t second = (uint32_t)(hash >> 28) & t->mask;
    return second != first_of(t, hash) ? second : second ^ 1;
}

static inline uint8_t tag_of(uint64_t hash)
{
    const uint8_t tag = (uint8_t)(hash >> 56);
    return tag != 0 ? tag : 1;
}

/* ---- buckets ---- */

/* A bit for each way that has the tag. */
static inline uint32_t ways_with(const struct bucket *b, uint8_t tag)
{
#ifdef __SSE2__
    const __m128i tags = _mm_loadu_si128((const __m128i *)(const void *)b);
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(tags, _mm_set1_epi8((char)tag))) & ((1u << WAYS) - 1);
#else
    uint32_t ways = 0;
    for (unsigned way = 0; way < WAYS; way++)
        ways |= (uint32_t)(b->tag[way] == tag) << way;
    return ways;
#endif
}

static inline struct sl_flow_entry *entry_at(const struct sl_flow_table *t, uint32_t bucket, unsigned way)
{
    return &t->entries[(size_t)bucket * WAYS + way];
}

static struct sl_flow_entry *find_in(const struct sl_flow_table *t, uint32_t bucket, uint8_t tag, const struct sl_flow_key *key)
{
    for (uint32_t ways = ways_with(&t->buckets[bucket], tag); ways != 0; ways &= ways - 1) {
        struct sl_flow_entry *e = entry_at(t, bucket, (unsigned)__builtin_ctz(ways));
        if (sl_flow_key_equal(&e->key, key))
            return e;
    }
    return NULL;
}

static struct sl_flow_entry *find_one(const struct sl_flow_table *t, uint64_t hash, const struct sl_flow_key *key)
{
    struct sl_flow_entry *e = find_in(t, first_of(t, hash), tag_of(hash), key);
    if (e == NULL && t->buckets[first_of(t, hash)].spilled != 0)
        e = find_in(t, second_of(t, hash), tag_of(hash), key);
    return e;
}

/* A free way; WAYS: none. */
static unsigned free_way(const struct sl_flow_table *t, uint32_t bucket)
{
    const uint32_t ways = ways_with(&t->buckets[bucket], 0);
    return ways != 0 ? (unsigned)__builtin_ctz(ways) : WAYS;
}

/* The entry belongs to a flow of that hash. */
static void put(struct sl_flow_table *t, uint32_t bucket, unsigned way, uint64_t hash, const struct sl_flow_entry *e)
{
    t->buckets[bucket].tag[way] = tag_of(hash);
    *entry_at(t, bucket, way) = *e;
    t->where[e->index] = bucket * WAYS + way;
    if (bucket != first_of(t, hash))
        t->buckets[first_of(t, hash)].spilled++;
}

static void take(struct sl_flow_table *t, uint32_t bucket, unsigned way, uint64_t hash)
{
    t->buckets[bucket].tag[way] = 0;
    *entry_at(t, bucket, way) = (struct sl_flow_entry){.index = 0};
    if (bucket != first_of(t, hash))
        t->buckets[first_of(t, hash)].spilled--;
}

/* Moves a flow of a full bucket to its other one; gives the way that became free, or WAYS. */
static unsigned make_room(struct sl_flow_table *t, uint32_t bucket)
{
    for (unsigned way = 0; way < WAYS; way++) {
        const struct sl_flow_entry e = *entry_at(t, bucket, way);
        const uint64_t hash = hash_of(t->key, &e.key);
        const uint32_t other = first_of(t, hash) == bucket ? second_of(t, hash) : first_of(t, hash);
        const unsigned room = free_way(t, other);
        if (room == WAYS)
            continue;
        take(t, bucket, way, hash);
        put(t, other, room, hash, &e);
        return way;
    }
    return WAYS;
}

static struct sl_flow_entry *place(struct sl_flow_table *t, uint64_t hash, const struct sl_flow_entry *e)
{
    const uint32_t bucket[2] = {first_of(t, hash), second_of(t, hash)};
    for (unsigned attempt = 0; attempt < 4; attempt++) {
        const uint32_t b = bucket[attempt % 2];
        const unsigned way = attempt < 2 ? free_way(t, b) : make_room(t, b);
        if (way < WAYS) {
            put(t, b, way, hash, e);
            return entry_at(t, b, way);
        }
    }
    return NULL;
}

/* ---- the table ---- */

static size_t buckets_bytes(const struct sl_flow_table *t)
{
    return ((size_t)t->mask + 1) * sizeof(struct bucket);
}

static size_t entries_bytes(const struct sl_flow_table *t)
{
    return ((size_t)t->mask + 1) * WAYS * sizeof(struct sl_flow_entry);
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
    t->where = calloc(flows, sizeof(*t->where));
    if (t->buckets == NULL || t->entries == NULL || t->where == NULL || sl_secret_alloc(KEY_WORDS * sizeof(wide), &key) != SL_OK)
        goto Exit;
    t->key = key;
    err = getrandom(key, KEY_WORDS * sizeof(wide), 0) == (ssize_t)(KEY_WORDS * sizeof(wide)) ? SL_OK : SL_ERR_IO;
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
    free(t->where);
    sl_secret_free(t->key);
    free(t);
}

sl_err sl_flow_table_add(struct sl_flow_table *t, const struct sl_flow_key *key, struct sl_flow_entry **entry)
{
    const uint64_t hash = hash_of(t->key, key);
    if (find_one(t, hash, key) != NULL)
        return SL_ERR_EXISTS;
    if (t->count == t->flows)
        return SL_ERR_LIMIT;
    const bool again = t->first_free != 0;
    const uint32_t index = again ? t->first_free - 1 : t->fresh, next_free = again ? t->where[index] : 0;
    struct sl_flow_entry *e = place(t, hash, &(struct sl_flow_entry){.key = *key, .index = index});
    if (e == NULL)
        return SL_ERR_LIMIT;
    if (again)
        t->first_free = next_free;
    else
        t->fresh++;
    t->count++;
    *entry = e;
    return SL_OK;
}

void sl_flow_table_remove(struct sl_flow_table *t, uint32_t index)
{
    const uint32_t number = t->where[index];
    take(t, number / WAYS, number % WAYS, hash_of(t->key, &t->entries[number].key));
    t->where[index] = t->first_free;
    t->first_free = index + 1;
    t->count--;
}

/* The first entry of a bucket that has the tag, or NULL; all that have are asked for. */
static inline struct sl_flow_entry *likely_in(const struct sl_flow_table *t, uint32_t bucket, uint8_t tag)
{
    uint32_t ways = ways_with(&t->buckets[bucket], tag);
    struct sl_flow_entry *first = NULL;
    for (; ways != 0; ways &= ways - 1) {
        struct sl_flow_entry *e = entry_at(t, bucket, (unsigned)__builtin_ctz(ways));
        __builtin_prefetch(e);
        first = first != NULL ? first : e;
    }
    return first;
}

/* Rounds, each of which asks for what the next one reads. */
void sl_flow_table_find(const struct sl_flow_table *t, const struct sl_flow_key *keys, size_t count, struct sl_flow_entry **found)
{
    uint64_t hash[SL_FLOW_BURST];
    uint8_t spilled[SL_FLOW_BURST] = {0};
    size_t spills = 0;
    wide key[KEY_WORDS];
    memcpy(key, t->key, sizeof(key));
    for (size_t i = 0; i < count; i++) {
        hash[i] = hash_of(key, &keys[i]);
        __builtin_prefetch(&t->buckets[first_of(t, hash[i])]);
    }
    for (size_t i = 0; i < count; i++) {
        const uint32_t first = first_of(t, hash[i]);
        found[i] = likely_in(t, first, tag_of(hash[i]));
        if (found[i] == NULL && t->buckets[first].spilled != 0) {
            __builtin_prefetch(&t->buckets[second_of(t, hash[i])]);
            spilled[spills++] = (uint8_t)i;
        }
    }
    for (size_t k = 0; k < spills; k++) {
        const size_t i = spilled[k];
        found[i] = likely_in(t, second_of(t, hash[i]), tag_of(hash[i]));
    }
    for (size_t i = 0; i < count; i++)
        if (found[i] == NULL || !sl_flow_key_equal(&found[i]->key, &keys[i]))
            found[i] = find_one(t, hash[i], &keys[i]);
}

struct sl_flow_entry *sl_flow_table_entry(const struct sl_flow_table *t, uint32_t index)
{
    return &t->entries[t->where[index]];
}

size_t sl_flow_table_count(const struct sl_flow_table *t)
{
    return t->count;
}

size_t sl_flow_table_bytes(const struct sl_flow_table *t)
{
    return sizeof(*t) + buckets_bytes(t) + entries_bytes(t) + t->flows * sizeof(*t->where);
}
