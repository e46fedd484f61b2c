/* SPDX-License-Identifier: Apache-2.0 */
/* One verifier, changing trust stores and the same certificates in many threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "pki/verify.h"
#include "test_pki.h"

enum { THREADS = 4, ROUNDS = 200 };

static struct {
    struct sl_clock_manual clock;
    struct tp root, ca, leaf, wrong;
    uint8_t *der;
    size_t der_len;
    struct sl_verifier *verifier;
    struct sl_trust *trust;
    pthread_mutex_t lock;
    atomic_int failures;
} f;

static struct sl_trust *new_trust(void)
{
    const struct sl_trust_item item = {.kind = SL_TRUST_ANCHOR, .name = "root", .der = {f.der, f.der_len}};
    const struct sl_trust_options options = {.items = &item, .item_count = 1, .clock = &f.clock.clock};
    struct sl_trust *trust = NULL;
    TP_MUST(sl_trust_new(&options, &trust, NULL) == SL_OK);
    return trust;
}

static struct sl_trust *current(void)
{
    pthread_mutex_lock(&f.lock);
    struct sl_trust *trust = sl_trust_ref(f.trust);
    pthread_mutex_unlock(&f.lock);
    return trust;
}

static void *work(void *arg)
{
    STACK_OF(X509) *chain = tp_stack((X509 *[]){f.ca.cert, NULL});
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct sl_trust *trust = current();
        bool good = i % 3 != 0;
        const struct sl_verify_request r = {.trust = trust,
                                            .leaf = good ? f.leaf.cert : f.wrong.cert,
                                            .presented = i % 2 ? chain : NULL,
                                            .host = "a.example",
                                            .port = (uint16_t)(443 + i % 7)};
        struct sl_verdict v;
        if (sl_verify(f.verifier, &r, &v) || sl_verdict_good(&v) != good)
            atomic_fetch_add(&f.failures, i % 2 || !good ? 1 : 0); /* without the intermediate it depends on what was seen */
        sl_verdict_release(&v);
        sl_trust_unref(trust);
    }
    sk_X509_free(chain);
    return NULL;
}

static void many(void **state)
{
    pthread_t thread[THREADS];
    (void)state;
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, work, NULL), 0);
    for (int i = 0; i < 50; i++) {
        struct sl_trust *fresh = new_trust(), *old;
        pthread_mutex_lock(&f.lock);
        old = f.trust;
        f.trust = fresh;
        pthread_mutex_unlock(&f.lock);
        sl_trust_unref(old);
    }
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(f.failures, 0);
}

static int setup(void **state)
{
    const struct sl_verifier_options options = {.clock = &f.clock.clock, .remembered = 16, .intermediates = 4};
    (void)state;
    sl_clock_manual_init(&f.clock, (uint64_t)TP_NOW * SL_NS_PER_S);
    pthread_mutex_init(&f.lock, NULL);
    f.root = tp_root("Root");
    f.ca = tp_intermediate("CA", &f.root);
    f.leaf = tp_leaf("a.example", &f.ca);
    f.wrong = tp_leaf("b.example", &f.ca);
    TP_MUST(sl_cert_encode(f.root.cert, &f.der, &f.der_len) == SL_OK);
    f.trust = new_trust();
    return sl_verifier_new(&options, &f.verifier);
}

static int teardown(void **state)
{
    (void)state;
    sl_verifier_free(f.verifier);
    sl_trust_unref(f.trust);
    OPENSSL_free(f.der);
    struct tp *all[] = {&f.root, &f.ca, &f.leaf, &f.wrong};
    for (size_t i = 0; i < 4; i++)
        tp_free(all[i]);
    pthread_mutex_destroy(&f.lock);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(many)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
