/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a verifier remembers: good verdicts in a table of buckets of four (the oldest of a bucket gives way), and intermediates in a
 * ring. One lock each; what is done under it are comparisons and copies of pointers.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "pki/verify_impl.h"

enum { WAYS = 4 };

struct entry {
    bool used;
    uint64_t stamp; /* of the last use */
    struct sl_validity validity;
    struct sl_verdict verdict;
};

struct sl_memo {
    pthread_mutex_t lock;
    struct entry *entries; /* buckets * WAYS */
    size_t buckets;        /* a power of two */
    uint64_t stamp;
    size_t count;

    pthread_mutex_t ring_lock;
    X509 **ring;
    size_t ring_cap, ring_len, ring_next;
};

sl_err sl_memo_new(size_t verdicts, size_t intermediates, struct sl_memo **out)
{
    struct sl_memo *m = calloc(1, sizeof(*m));

    if (!m)
        return SL_ERR_NOMEM;
    for (m->buckets = 1; m->buckets * WAYS < verdicts; m->buckets *= 2)
        ;
    m->ring_cap = intermediates;
    m->entries = calloc(m->buckets * WAYS, sizeof(*m->entries));
    m->ring = calloc(intermediates + 1, sizeof(X509 *));
    if (!m->entries || !m->ring) {
        free(m->entries);
        free(m->ring);
        free(m);
        return SL_ERR_NOMEM;
    }
    pthread_mutex_init(&m->lock, NULL);
    pthread_mutex_init(&m->ring_lock, NULL);
    *out = m;
    return SL_OK;
}

void sl_memo_free(struct sl_memo *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->buckets * WAYS; i++) {
        if (m->entries[i].used)
            sl_verdict_release(&m->entries[i].verdict);
    }
    for (size_t i = 0; i < m->ring_len; i++)
        X509_free(m->ring[i]);
    pthread_mutex_destroy(&m->lock);
    pthread_mutex_destroy(&m->ring_lock);
    free(m->entries);
    free(m->ring);
    free(m);
}

static struct entry *bucket(struct sl_memo *m, const uint8_t binding[static SL_SHA256_LEN])
{
    size_t hash;
    memcpy(&hash, binding, sizeof(hash));
    return &m->entries[(hash & (m->buckets - 1)) * WAYS];
}

static void forget(struct sl_memo *m, struct entry *e)
{
    if (!e->used)
        return;
    sl_verdict_release(&e->verdict);
    *e = (struct entry){0};
    m->count--;
}

bool sl_memo_find(struct sl_memo *m, const uint8_t binding[static SL_SHA256_LEN], uint64_t now_ns, struct sl_verdict *out)
{
    bool found = false;

    pthread_mutex_lock(&m->lock);
    struct entry *e = bucket(m, binding);
    for (struct entry *end = e + WAYS; e < end && !found; e++) {
        if (!e->used || memcmp(e->verdict.binding, binding, SL_SHA256_LEN) != 0)
            continue;
        if (now_ns >= e->validity.until_ns)
            forget(m, e);
        else if (now_ns >= e->validity.from_ns) {
            e->stamp = ++m->stamp;
            sl_verdict_copy(out, &e->verdict);
            found = true;
        }
    }
    pthread_mutex_unlock(&m->lock);
    return found;
}

void sl_memo_store(struct sl_memo *m, const struct sl_verdict *verdict, const struct sl_validity *validity)
{
    pthread_mutex_lock(&m->lock);
    struct entry *first = bucket(m, verdict->binding), *victim = first;
    for (struct entry *e = first; e < first + WAYS; e++) {
        if (e->used && memcmp(e->verdict.binding, verdict->binding, SL_SHA256_LEN) == 0) {
            victim = e;
            break;
        }
        if (!e->used || (victim->used && e->stamp < victim->stamp))
            victim = e;
    }
    forget(m, victim);
    victim->used = true;
    victim->stamp = ++m->stamp;
    victim->validity = *validity;
    sl_verdict_copy(&victim->verdict, verdict);
    m->count++;
    pthread_mutex_unlock(&m->lock);
}

static bool in_ring(const struct sl_memo *m, const X509 *cert)
{
    for (size_t i = 0; i < m->ring_len; i++) {
        if (X509_cmp(m->ring[i], cert) == 0)
            return true;
    }
    return false;
}

static void learn_one(struct sl_memo *m, X509 *cert)
{
    if (m->ring_cap == 0 || in_ring(m, cert) || X509_up_ref(cert) != 1)
        return;
    if (m->ring_len < m->ring_cap)
        m->ring[m->ring_len++] = cert;
    else {
        X509_free(m->ring[m->ring_next]);
        m->ring[m->ring_next] = cert;
        m->ring_next = (m->ring_next + 1) % m->ring_cap;
    }
}

void sl_memo_learn(struct sl_memo *m, const STACK_OF(X509) * path)
{
    pthread_mutex_lock(&m->ring_lock);
    for (int i = 1; i < sk_X509_num(path) - 1; i++)
        learn_one(m, sk_X509_value(path, i));
    pthread_mutex_unlock(&m->ring_lock);
}

size_t sl_memo_issuers(struct sl_memo *m, X509 *cert, STACK_OF(X509) * out)
{
    enum { ISSUERS_MAX = 4 };
    const X509_NAME *wanted = X509_get_issuer_name(cert);
    size_t found = 0;

    pthread_mutex_lock(&m->ring_lock);
    for (size_t i = 0; i < m->ring_len && found < ISSUERS_MAX; i++) {
        if (X509_NAME_cmp(X509_get_subject_name(m->ring[i]), wanted) != 0 || X509_up_ref(m->ring[i]) != 1)
            continue;
        if (sk_X509_push(out, m->ring[i]))
            found++;
        else
            X509_free(m->ring[i]);
    }
    pthread_mutex_unlock(&m->ring_lock);
    return found;
}

void sl_memo_counts(struct sl_memo *m, size_t *verdicts, size_t *intermediates)
{
    pthread_mutex_lock(&m->lock);
    *verdicts = m->count;
    pthread_mutex_unlock(&m->lock);
    pthread_mutex_lock(&m->ring_lock);
    *intermediates = m->ring_len;
    pthread_mutex_unlock(&m->ring_lock);
}
