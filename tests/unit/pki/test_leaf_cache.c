/* SPDX-License-Identifier: Apache-2.0 */
/* C5: what a leaf is remembered for, how long, and what makes the cache forget. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "base/clock.h"
#include "pki/leaf_cache.h"
#include "test_pki.h"

enum { CAPACITY = 4, UPSTREAMS = 6 };

static struct {
    struct sl_clock_manual clock;
    struct sl_ca *ca, *other_ca, *untrusted;
    struct sl_minter *minter;
    struct tp root, up[UPSTREAMS];
    struct sl_verdict verdict[UPSTREAMS];
} f;

static int setup(void **state)
{
    static const char *const sensitive[] = {"mgmt.wild.example"};
    const struct sl_minter_options options = {.clock = &f.clock.clock, .sensitive = sensitive, .sensitive_count = 1};
    struct sl_diag diag;
    (void)state;
    sl_clock_manual_init(&f.clock, (uint64_t)TP_NOW * SL_NS_PER_S);
    const struct sl_ca_options ca = {.common_name = "CA", .clock = &f.clock.clock};
    f.root = tp_root("Root");
    for (size_t i = 0; i < UPSTREAMS; i++) {
        f.up[i] = tp_leaf(i == UPSTREAMS - 1 ? "*.wild.example" : "a.example", &f.root);
        f.verdict[i] = (struct sl_verdict){.valid_until_ns = UINT64_MAX};
        assert_int_equal(sl_cert_sha256(f.up[i].cert, f.verdict[i].leaf_sha256), SL_OK);
    }
    return sl_ca_generate(&ca, false, &f.ca, &diag) || sl_ca_generate(&ca, false, &f.other_ca, &diag) ||
           sl_ca_untrusted_new(NULL, &f.clock.clock, &f.untrusted, &diag) || sl_minter_new(&options, &f.minter, &diag);
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < UPSTREAMS; i++)
        tp_free(&f.up[i]);
    tp_free(&f.root);
    sl_ca_unref(f.ca);
    sl_ca_unref(f.other_ca);
    sl_ca_unref(f.untrusted);
    sl_minter_free(f.minter);
    return 0;
}

static struct sl_leaf_cache *new_cache(void)
{
    const struct sl_leaf_cache_options options = {
        .clock = &f.clock.clock, .capacity = CAPACITY, .ttl_ns = (uint64_t)3600 * SL_NS_PER_S};
    struct sl_leaf_cache *cache = NULL;
    assert_int_equal(sl_leaf_cache_new(&options, &cache), SL_OK);
    return cache;
}

static struct sl_mint_request request(size_t i)
{
    return (struct sl_mint_request){.ca = f.ca, .upstream = f.up[i].cert, .verdict = &f.verdict[i], .host = "a.example"};
}

static bool cached(struct sl_leaf_cache *cache, const struct sl_mint_request *r, uint64_t rule, uint64_t generation)
{
    struct sl_leaf *leaf = NULL;
    bool found = false;
    assert_int_equal(sl_leaf_cache_get(cache, f.minter, r, rule, generation, &leaf, &found), SL_OK);
    assert_non_null(leaf);
    sl_leaf_unref(leaf);
    return found;
}

static void keys(void **state)
{
    struct sl_leaf_cache *cache = new_cache();
    struct sl_mint_request r = request(0), other;
    struct sl_verdict pinned = f.verdict[0], refused = f.verdict[0];
    (void)state;
    assert_false(cached(cache, &r, 1, 1));
    assert_true(cached(cache, &r, 1, 1));
    other = r, other.host = "b.example";
    assert_true(cached(cache, &other, 1, 1)); /* one leaf for all names of one certificate */
    assert_false(cached(cache, &r, 2, 1));
    other = r, other.key_type = SL_LEAF_RSA2048;
    assert_false(cached(cache, &other, 1, 1));
    other = r, other.ca = f.other_ca;
    assert_false(cached(cache, &other, 1, 1));
    sl_leaf_cache_clear(cache);
    pinned.pinned = true;
    other = r, other.verdict = &pinned;
    assert_false(cached(cache, &other, 1, 1));
    assert_true(cached(cache, &other, 1, 1));
    other.host = "b.example";
    assert_false(cached(cache, &other, 1, 1)); /* a pin's leaf has the host in it */
    refused.cause = SLUICE__V1__CAUSE__SRV_CERT_EXPIRED;
    other = r, other.verdict = &refused, other.ca = f.untrusted;
    assert_false(cached(cache, &other, 1, 1));
    other.ca = f.ca;
    struct sl_leaf *leaf = NULL;
    bool found;
    assert_int_equal(sl_leaf_cache_get(cache, f.minter, &other, 1, 1, &leaf, &found), SL_ERR_DENIED); /* V9 */
    assert_null(leaf);
    sl_leaf_cache_free(cache);
}

static void time_and_generations(void **state)
{
    struct sl_leaf_cache *cache = new_cache();
    struct sl_mint_request r = request(0);
    struct sl_leaf_cache_stats stats;
    (void)state;
    assert_false(cached(cache, &r, 1, 5));
    f.clock.wall += (uint64_t)3599 * SL_NS_PER_S;
    assert_true(cached(cache, &r, 1, 5));
    f.clock.wall += (uint64_t)1 * SL_NS_PER_S;
    assert_false(cached(cache, &r, 1, 5));
    sl_leaf_cache_stats(cache, &stats);
    assert_int_equal(stats.expired, 1);
    assert_int_equal(stats.entries, 1);
    assert_false(cached(cache, &r, 1, 6)); /* a commit */
    assert_true(cached(cache, &r, 1, 6));
    assert_false(cached(cache, &r, 1, 5)); /* a connection from before it: served, not kept */
    assert_false(cached(cache, &r, 1, 5));
    assert_true(cached(cache, &r, 1, 6));
    f.clock.wall = (uint64_t)TP_NOW * SL_NS_PER_S;
    sl_leaf_cache_free(cache);
}

static void oldest_goes_first(void **state)
{
    struct sl_leaf_cache *cache = new_cache();
    struct sl_leaf_cache_stats stats;
    struct sl_mint_request r;
    (void)state;
    for (size_t i = 0; i < CAPACITY; i++) {
        r = request(i);
        assert_false(cached(cache, &r, 1, 1));
    }
    r = request(0);
    assert_true(cached(cache, &r, 1, 1)); /* used again: 1 is the oldest now */
    r = request(4);
    assert_false(cached(cache, &r, 1, 1));
    r = request(0);
    assert_true(cached(cache, &r, 1, 1));
    r = request(1);
    assert_false(cached(cache, &r, 1, 1));
    sl_leaf_cache_stats(cache, &stats);
    assert_int_equal(stats.entries, CAPACITY);
    assert_int_equal(stats.evicted, 2);
    sl_leaf_cache_free(cache);
}

/* C9: a leaf with something left out was made for its host alone. */
static void host_specific(void **state)
{
    struct sl_leaf_cache *cache = new_cache();
    struct sl_mint_request r = request(UPSTREAMS - 1);
    (void)state;
    r.host = "a.wild.example";
    assert_false(cached(cache, &r, 1, 1));
    assert_false(cached(cache, &r, 1, 1));
    sl_leaf_cache_free(cache);
}

static void *work(void *arg)
{
    struct sl_leaf_cache *cache = arg;
    for (uint64_t i = 0; i < 400; i++) {
        struct sl_mint_request r = request(i % 5);
        cached(cache, &r, i % 3, 1 + i / 100);
    }
    return NULL;
}

static void threads(void **state)
{
    struct sl_leaf_cache *cache = new_cache();
    struct sl_leaf_cache_stats stats;
    pthread_t thread[4];
    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, work, cache), 0);
    assert_int_equal(sl_minter_rotate(f.minter), SL_OK);
    for (size_t i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    sl_leaf_cache_stats(cache, &stats);
    assert_int_equal(stats.hits + stats.misses, 1600);
    assert_true(stats.entries <= CAPACITY);
    sl_leaf_cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(keys), cmocka_unit_test(time_and_generations),
                                       cmocka_unit_test(oldest_goes_first), cmocka_unit_test(host_specific),
                                       cmocka_unit_test(threads)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
