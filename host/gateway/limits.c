/* SPDX-License-Identifier: Apache-2.0 */
/* A chained hash table of clients with at least one connection, in shards with a lock each; the total is one atomic. */
#include "gateway/limits.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { SHARDS = 16, BUCKETS = 1024 };

struct client {
    struct client *next;
    uint8_t key[16];
    size_t connections;
};

struct shard {
    pthread_mutex_t lock;
    struct client *buckets[BUCKETS];
};

struct sl_limits {
    _Atomic size_t total;
    uint64_t seed; /* so that nobody can choose addresses that collide */
    struct shard shards[SHARDS];
};

sl_err sl_limits_new(struct sl_limits **out)
{
    struct sl_limits *l = calloc(1, sizeof *l);
    if (!l)
        return SL_ERR_NOMEM;
    if (getrandom(&l->seed, sizeof l->seed, 0) != (ssize_t)sizeof l->seed) {
        free(l);
        return SL_ERR_IO;
    }
    for (size_t i = 0; i < SHARDS; i++)
        pthread_mutex_init(&l->shards[i].lock, NULL);
    *out = l;
    return SL_OK;
}

void sl_limits_free(struct sl_limits *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < SHARDS; i++) {
        for (size_t b = 0; b < BUCKETS; b++)
            for (struct client *c = l->shards[i].buckets[b], *next; c; c = next) {
                next = c->next;
                free(c);
            }
        pthread_mutex_destroy(&l->shards[i].lock);
    }
    free(l);
}

static void make_key(const struct sl_endpoint *e, uint8_t key[static 16])
{
    memset(key, 0, 16);
    if (e->any.sa_family == AF_INET6) {
        memcpy(key, e->v6.sin6_addr.s6_addr, 8);
    } else {
        key[10] = key[11] = 0xff;
        memcpy(key + 12, &e->v4.sin_addr, 4);
    }
}

/* The finaliser of splitmix64 over both halves of the key, seeded. */
static uint64_t hash_key(const struct sl_limits *l, const uint8_t key[static 16])
{
    uint64_t h = l->seed;
    for (size_t half = 0; half < 2; half++) {
        uint64_t word;
        memcpy(&word, key + 8 * half, sizeof word);
        h ^= word;
        h = (h ^ (h >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        h = (h ^ (h >> 27)) * UINT64_C(0x94d049bb133111eb);
        h ^= h >> 31;
    }
    return h;
}

/* The link that points at the client, or at the NULL where it would be appended. Called with the shard's lock held. */
static struct client **find(struct shard *s, uint64_t hash, const uint8_t key[static 16])
{
    struct client **link = &s->buckets[(hash / SHARDS) % BUCKETS];
    while (*link && memcmp((*link)->key, key, 16) != 0)
        link = &(*link)->next;
    return link;
}

static sl_err take_client(struct shard *s, uint64_t hash, const uint8_t key[static 16], size_t max_per_client)
{
    struct client **link = find(s, hash, key);
    if (!*link) {
        struct client *c = calloc(1, sizeof *c);
        if (!c)
            return SL_ERR_NOMEM;
        memcpy(c->key, key, sizeof c->key);
        *link = c;
    }
    if ((*link)->connections >= max_per_client)
        return SL_ERR_DENIED;
    (*link)->connections++;
    return SL_OK;
}

sl_err sl_limits_take(struct sl_limits *l, const struct sl_endpoint *client, size_t max_total, size_t max_per_client)
{
    uint8_t key[16];
    make_key(client, key);
    uint64_t hash = hash_key(l, key);
    struct shard *s = &l->shards[hash % SHARDS];

    if (atomic_fetch_add(&l->total, 1) >= max_total) {
        atomic_fetch_sub(&l->total, 1);
        return SL_ERR_LIMIT;
    }
    pthread_mutex_lock(&s->lock);
    sl_err err = take_client(s, hash, key, max_per_client ? max_per_client : 1);
    pthread_mutex_unlock(&s->lock);
    if (err)
        atomic_fetch_sub(&l->total, 1);
    return err;
}

void sl_limits_release(struct sl_limits *l, const struct sl_endpoint *client)
{
    uint8_t key[16];
    make_key(client, key);
    uint64_t hash = hash_key(l, key);
    struct shard *s = &l->shards[hash % SHARDS];

    pthread_mutex_lock(&s->lock);
    struct client **link = find(s, hash, key);
    if (*link && --(*link)->connections == 0) {
        struct client *gone = *link;
        *link = gone->next;
        free(gone);
    }
    pthread_mutex_unlock(&s->lock);
    atomic_fetch_sub(&l->total, 1);
}

size_t sl_limits_total(const struct sl_limits *l)
{
    return atomic_load(&l->total);
}
