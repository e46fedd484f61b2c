/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "make.h"
#include "policy/store.h"

/* Deciding, committing and editing at once: every decision is made by one version as a whole. */

enum { COMMITS = 40, DECIDERS = 3 };

struct shared {
    struct sl_policy_store *store;
    atomic_bool done;
    atomic_uint wrong, conflicts;
};

/* Version n (from 2 on) has the rules a and b with the same expiry, n. */
static void *decide(void *arg)
{
    struct shared *sh = arg;
    uint64_t last = 0;
    do {
        struct sl_policy_snapshot *s = sl_policy_store_running(sh->store);
        const Sluice__V1__Config *c = sl_policy_config(s);
        struct sl_policy_query q = {.server_port = 443, .name_state = SL_NAME_KNOWN, .name = "www.example", .now_ns = 1};
        struct sl_policy_decryption d;
        sl_policy_decide_decryption(s, &q, &d);
        if (sl_policy_version(s) < last ||
            (c->n_decryption_rules == 2 &&
             (c->decryption_rules[0]->expires_ns != c->decryption_rules[1]->expires_ns || d.rule.implicit)))
            atomic_fetch_add(&sh->wrong, 1);
        last = sl_policy_version(s);
        sl_policy_snapshot_unref(s);
    } while (!atomic_load(&sh->done));
    return NULL;
}

static void *edit(void *arg)
{
    struct shared *sh = arg;
    for (int i = 0; i < COMMITS; i++) {
        struct sl_policy_candidate c;
        struct sl_diag diag;
        if (sl_policy_store_candidate(sh->store, &c)) {
            atomic_fetch_add(&sh->wrong, 1);
            continue;
        }
        sl_err err = sl_policy_store_set_candidate(sh->store, c.config, c.revision, NULL, &diag);
        if (err == SL_ERR_CONFLICT)
            atomic_fetch_add(&sh->conflicts, 1);
        else if (err)
            atomic_fetch_add(&sh->wrong, 1);
        sl_policy_candidate_free(&c);
    }
    return NULL;
}

static void test_concurrent(void **state)
{
    char folder[] = "policy-XXXXXX", path[64];
    struct shared sh = {0};
    pthread_t threads[DECIDERS + 1];
    struct sl_diag diag = {""};

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/policy.db", folder);
    assert_int_equal(sl_policy_store_open(path, NULL, &sh.store, &diag), SL_OK);
    for (int i = 0; i < DECIDERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, decide, &sh), 0);
    assert_int_equal(pthread_create(&threads[DECIDERS], NULL, edit, &sh), 0);
    for (unsigned i = 0; i < COMMITS; i++) {
        char yaml[200];
        struct sl_policy_commit done;
        snprintf(yaml, sizeof(yaml),
                 "decryption_rules: [{name: a, action: monitor, expires_ns: %u}, {name: b, action: decrypt, expires_ns: %u}]",
                 i + 1000, i + 1000);
        Sluice__V1__Config *c = config_of(yaml);
        do { /* the editor may have put its copy of the running version back in between */
            assert_int_equal(sl_policy_store_set_candidate(sh.store, c, 0, NULL, &diag), SL_OK);
        } while (sl_policy_store_commit(sh.store, "t", "", 0, &done, &diag) == SL_ERR_STATE);
        sl_policy_commit_free(&done);
        config_free(c);
    }
    atomic_store(&sh.done, true);
    for (int i = 0; i <= DECIDERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&sh.wrong), 0);
    sl_policy_store_close(sh.store);
    unlink(path);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_concurrent)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
