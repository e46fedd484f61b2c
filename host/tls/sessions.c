/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/sessions.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "record/tls.h"

struct entry {
    struct entry *next_in_bucket; /* newest first */
    struct entry *newer, *older;  /* of all */
    uint8_t key[SL_SESSION_KEY_BYTES];
    SSL_SESSION *session;
    struct sl_verdict verdict;
    uint64_t until_ns;
};

struct sl_sessions {
    size_t capacity, count, bucket_mask;
    struct entry *newest, *oldest;
    struct entry **buckets;
};

static size_t power_of_two(size_t at_least)
{
    size_t n = 16;
    while (n < at_least)
        n *= 2;
    return n;
}

sl_err sl_sessions_new(size_t capacity, struct sl_sessions **out)
{
    struct sl_sessions *s = calloc(1, sizeof *s);
    if (!s)
        return SL_ERR_NOMEM;
    size_t buckets = power_of_two(capacity);
    s->buckets = calloc(buckets, sizeof(struct entry *));
    if (!s->buckets) {
        free(s);
        return SL_ERR_NOMEM;
    }
    s->bucket_mask = buckets - 1;
    s->capacity = capacity;
    *out = s;
    return SL_OK;
}

/* The key is a digest: any of its bytes spread evenly. */
static struct entry **bucket_of(struct sl_sessions *s, const uint8_t *key)
{
    uint32_t word;
    memcpy(&word, key, sizeof word);
    return &s->buckets[word & s->bucket_mask];
}

static void remove_entry(struct sl_sessions *s, struct entry *e)
{
    struct entry **link = bucket_of(s, e->key);
    while (*link != e)
        link = &(*link)->next_in_bucket;
    *link = e->next_in_bucket;
    *(e->newer ? &e->newer->older : &s->newest) = e->older;
    *(e->older ? &e->older->newer : &s->oldest) = e->newer;
    s->count--;
    SSL_SESSION_free(e->session);
    sl_verdict_release(&e->verdict);
    free(e);
}

void sl_sessions_clear(struct sl_sessions *s)
{
    while (s->newest)
        remove_entry(s, s->newest);
}

void sl_sessions_free(struct sl_sessions *s)
{
    if (!s)
        return;
    sl_sessions_clear(s);
    free(s->buckets);
    free(s);
}

size_t sl_sessions_count(const struct sl_sessions *s)
{
    return s->count;
}

static bool same_key(const struct entry *e, const uint8_t *key)
{
    return memcmp(e->key, key, SL_SESSION_KEY_BYTES) == 0;
}

static void trim_key(struct sl_sessions *s, const uint8_t *key)
{
    size_t seen = 0;
    for (struct entry *e = *bucket_of(s, key), *next; e; e = next) {
        next = e->next_in_bucket;
        if (same_key(e, key) && ++seen > SL_SESSIONS_PER_KEY)
            remove_entry(s, e);
    }
}

sl_err sl_sessions_put(struct sl_sessions *s, const uint8_t key[static SL_SESSION_KEY_BYTES], SSL_SESSION *session,
                       const struct sl_verdict *verdict, uint64_t until_ns)
{
    struct entry *e = calloc(1, sizeof *e), **bucket = bucket_of(s, key);
    if (!e)
        return SL_ERR_NOMEM;
    if (!SSL_SESSION_up_ref(session)) {
        free(e);
        return SL_ERR_CRYPTO;
    }
    e->session = session;
    memcpy(e->key, key, sizeof e->key);
    sl_verdict_copy(&e->verdict, verdict);
    e->until_ns = until_ns;
    e->next_in_bucket = *bucket;
    *bucket = e;
    e->older = s->newest;
    *(s->newest ? &s->newest->newer : &s->oldest) = e;
    s->newest = e;
    s->count++;
    trim_key(s, key);
    while (s->count > s->capacity)
        remove_entry(s, s->oldest);
    return SL_OK;
}

sl_err sl_sessions_take(struct sl_sessions *s, const uint8_t key[static SL_SESSION_KEY_BYTES], uint64_t now_ns,
                        SSL_SESSION **session, struct sl_verdict *verdict)
{
    for (struct entry *e = *bucket_of(s, key), *next; e; e = next) {
        next = e->next_in_bucket;
        if (!same_key(e, key))
            continue;
        if (e->until_ns <= now_ns || !SSL_SESSION_is_resumable(e->session)) {
            remove_entry(s, e);
            continue;
        }
        if (!SSL_SESSION_up_ref(e->session))
            return SL_ERR_CRYPTO;
        *session = e->session;
        sl_verdict_copy(verdict, &e->verdict);
        if (SSL_SESSION_get_protocol_version(e->session) == SL_TLS13)
            remove_entry(s, e);
        return SL_OK;
    }
    return SL_ERR_NOT_FOUND;
}
