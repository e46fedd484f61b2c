/* SPDX-License-Identifier: Apache-2.0 */
#include "pki/leaf_cache.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "pki/san.h"

enum { CAPACITY_DEFAULT = 2048, TTL_H_DEFAULT = 12, LOAD = 2 /* buckets for each leaf */ };

/* Compared as bytes: made from zeroed memory. */
struct key {
    uint8_t upstream[SL_SHA256_LEN];
    uint8_t issuer[SL_SHA256_LEN];
    uint8_t host[SL_SHA256_LEN]; /* of a pin; else zero */
    uint64_t rule_id;
    uint32_t cause;
    uint32_t key_type;
};

struct node {
    struct node *newer, *older; /* list of use */
    struct node *next;          /* of the same bucket, or of the free ones */
    struct key key;
    struct sl_leaf *leaf;
    uint64_t until_ns;
};

struct sl_leaf_cache {
    const struct sl_clock *clock;
    uint64_t ttl_ns;
    pthread_mutex_t lock;
    uint64_t generation;
    struct node *nodes, *unused;
    struct node use; /* sentinel: use.older is the newest */
    struct node **buckets;
    size_t bucket_count, capacity, entries;
    uint64_t hits, misses, evicted, expired;
};

sl_err sl_leaf_cache_new(const struct sl_leaf_cache_options *options, struct sl_leaf_cache **out)
{
    static const struct sl_leaf_cache_options defaults = {0};
    const struct sl_leaf_cache_options *o = options ? options : &defaults;
    struct sl_leaf_cache *c = calloc(1, sizeof(*c));

    if (!c)
        return SL_ERR_NOMEM;
    c->clock = o->clock ? o->clock : sl_clock_system();
    c->ttl_ns = o->ttl_ns ? o->ttl_ns : UINT64_C(3600) * TTL_H_DEFAULT * SL_NS_PER_S;
    c->capacity = o->capacity ? o->capacity : CAPACITY_DEFAULT;
    c->bucket_count = c->capacity * LOAD;
    c->nodes = calloc(c->capacity, sizeof(*c->nodes));
    c->buckets = calloc(c->bucket_count, sizeof(struct node *));
    if (!c->nodes || !c->buckets) {
        free(c->nodes);
        free(c->buckets);
        free(c);
        return SL_ERR_NOMEM;
    }
    pthread_mutex_init(&c->lock, NULL);
    c->use.newer = c->use.older = &c->use;
    for (size_t i = 0; i < c->capacity; i++) {
        c->nodes[i].next = c->unused;
        c->unused = &c->nodes[i];
    }
    *out = c;
    return SL_OK;
}

static struct node **bucket(struct sl_leaf_cache *c, const struct key *key)
{
    uint64_t hash; /* fingerprints are random already; the small fields only have to stir them */
    memcpy(&hash, key->upstream, sizeof(hash));
    hash ^= (key->rule_id * 4 + key->key_type + 1) * UINT64_C(0x9e3779b97f4a7c15);
    return &c->buckets[(hash ^ hash >> 29) % c->bucket_count];
}

static void unlink_use(struct node *n)
{
    n->newer->older = n->older;
    n->older->newer = n->newer;
}

static void link_newest(struct sl_leaf_cache *c, struct node *n)
{
    n->newer = &c->use;
    n->older = c->use.older;
    c->use.older->newer = n;
    c->use.older = n;
}

static void drop(struct sl_leaf_cache *c, struct node *n)
{
    struct node **at = bucket(c, &n->key);
    while (*at != n)
        at = &(*at)->next;
    *at = n->next;
    unlink_use(n);
    sl_leaf_unref(n->leaf);
    n->leaf = NULL;
    n->next = c->unused;
    c->unused = n;
    c->entries--;
}

static void drop_all(struct sl_leaf_cache *c)
{
    while (c->use.older != &c->use)
        drop(c, c->use.older);
}

void sl_leaf_cache_clear(struct sl_leaf_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    drop_all(cache);
    pthread_mutex_unlock(&cache->lock);
}

void sl_leaf_cache_free(struct sl_leaf_cache *cache)
{
    if (!cache)
        return;
    drop_all(cache);
    pthread_mutex_destroy(&cache->lock);
    free(cache->nodes);
    free(cache->buckets);
    free(cache);
}

static struct node *find(struct sl_leaf_cache *c, const struct key *key, uint64_t now_ns)
{
    struct node *n = *bucket(c, key);
    while (n && memcmp(&n->key, key, sizeof(*key)) != 0)
        n = n->next;
    if (n && now_ns >= n->until_ns) {
        drop(c, n);
        c->expired++;
        n = NULL;
    }
    return n;
}

/* Under the lock. */
static struct sl_leaf *look_up(struct sl_leaf_cache *c, const struct key *key, uint64_t generation)
{
    struct node *n = NULL;

    if (generation > c->generation) {
        drop_all(c);
        c->generation = generation;
    }
    if (generation == c->generation)
        n = find(c, key, c->clock->wall_ns(c->clock->arg));
    if (!n) {
        c->misses++;
        return NULL;
    }
    c->hits++;
    unlink_use(n);
    link_newest(c, n);
    return sl_leaf_ref(n->leaf);
}

static void store(struct sl_leaf_cache *c, const struct key *key, struct sl_leaf *leaf, uint64_t generation)
{
    uint64_t now_ns = c->clock->wall_ns(c->clock->arg);
    uint64_t until_ns = now_ns + c->ttl_ns < leaf->not_after_ns ? now_ns + c->ttl_ns : leaf->not_after_ns;
    struct node *n;

    pthread_mutex_lock(&c->lock);
    if (generation == c->generation && until_ns > now_ns && !find(c, key, now_ns)) {
        if (!c->unused) {
            drop(c, c->use.newer); /* the oldest */
            c->evicted++;
        }
        n = c->unused;
        c->unused = n->next;
        n->key = *key;
        n->leaf = sl_leaf_ref(leaf);
        n->until_ns = until_ns;
        struct node **at = bucket(c, key);
        n->next = *at;
        *at = n;
        link_newest(c, n);
        c->entries++;
    }
    pthread_mutex_unlock(&c->lock);
}

static sl_err make_key(const struct sl_mint_request *r, uint64_t rule_id, struct key *out)
{
    struct sl_name host;

    memset(out, 0, sizeof(*out));
    memcpy(out->upstream, r->verdict->leaf_sha256, SL_SHA256_LEN);
    memcpy(out->issuer, sl_ca_sha256(r->ca), SL_SHA256_LEN);
    out->rule_id = rule_id;
    out->cause = (uint32_t)r->verdict->cause;
    out->key_type = (uint32_t)r->key_type;
    if (!r->verdict->pinned)
        return SL_OK;
    if (sl_name_parse(r->host, &host))
        return SL_ERR_INVALID;
    return EVP_Digest(host.text, strlen(host.text), out->host, NULL, EVP_sha256(), NULL) == 1 ? SL_OK : SL_ERR_CRYPTO;
}

sl_err sl_leaf_cache_get(struct sl_leaf_cache *cache, struct sl_minter *minter, const struct sl_mint_request *request,
                         uint64_t rule_id, uint64_t generation, struct sl_leaf **out, bool *cached)
{
    struct key key;
    struct sl_leaf *leaf = NULL;
    sl_err err;

    if (!request->ca || !request->verdict)
        return SL_ERR_INVALID;
    *cached = false;
    if ((err = make_key(request, rule_id, &key)))
        return err;
    pthread_mutex_lock(&cache->lock);
    leaf = look_up(cache, &key, generation);
    pthread_mutex_unlock(&cache->lock);
    if (leaf) {
        *cached = true;
        *out = leaf;
        return SL_OK;
    }
    if ((err = sl_mint(minter, request, &leaf)))
        return err;
    /* The key has no host (but with a pin): what was made for one host must not be given to the others. */
    if (!leaf->host_specific || request->verdict->pinned)
        store(cache, &key, leaf, generation);
    *out = leaf;
    return SL_OK;
}

void sl_leaf_cache_stats(struct sl_leaf_cache *cache, struct sl_leaf_cache_stats *out)
{
    pthread_mutex_lock(&cache->lock);
    *out = (struct sl_leaf_cache_stats){.hits = cache->hits,
                                        .misses = cache->misses,
                                        .evicted = cache->evicted,
                                        .expired = cache->expired,
                                        .entries = cache->entries};
    pthread_mutex_unlock(&cache->lock);
}
