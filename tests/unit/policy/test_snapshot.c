/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "make.h"
#include "policy/snapshot.h"

static const char POLICY[] =
    "networks:\n"
    "- {name: lab, prefixes: [10.1.0.0/16, 10.2.0.0/16, 2001:db8::/32]}\n"
    "- {name: partner, prefixes: [198.51.100.0/24], includes: [lab]}\n"
    "- {name: everyone, includes: [partner, lab]}\n"
    "- {name: nobody}\n"
    "services:\n"
    "- {name: web, ports: [443, 8443-8449]}\n"
    "hosts:\n"
    "- {name: banks, patterns: [bank.example, '*.bank.example']}\n"
    "- {name: bare, patterns: [intranet, 192.0.2.80]}\n"
    "decryption_rules:\n"
    "- {name: watch, id: 1, match: {sources: [lab]}, action: monitor}\n"
    "- {name: watch-name, id: 2, match: {hosts: ['*']}, action: monitor}\n"
    "- {name: off, id: 3, disabled: true, action: block}\n"
    "- {name: old, id: 4, expires_ns: 1000, action: block}\n"
    "- {name: empty, id: 5, match: {destinations: [nobody]}, action: block}\n"
    "- {name: reset, id: 6, match: {destinations: [203.0.113.9]}, action: block-reset}\n"
    "- {name: banks, id: 7, match: {services: [web], hosts: [banks, '*.health.example']}, action: do-not-decrypt}\n"
    "- {name: bare, id: 8, match: {hosts: [bare]}, action: block}\n"
    "- {name: rest, id: 9, match: {sources: [everyone], destinations: [any], services: [443]}, action: decrypt}\n"
    "access_rules:\n"
    "- {name: no-telnet, id: 20, match: {services: [23]}, action: deny}\n"
    "- {name: no-evil, id: 21, match: {hosts: ['*.evil.example']}, action: deny}\n"
    "- {name: lab-ok, id: 22, match: {sources: [lab]}, action: allow}\n"
    "settings: {default_access: deny, default_decryption: block}\n";

static struct sl_policy_query query(const char *client, const char *server, uint16_t port, enum sl_name_state state,
                                    const char *name, uint64_t now)
{
    struct sl_policy_query q = {.server_port = port, .name_state = state, .name = name, .now_ns = now};
    assert_int_equal(sl_addr_parse(client, &q.client), SL_OK);
    assert_int_equal(sl_addr_parse(server, &q.server), SL_OK);
    return q;
}

static struct sl_policy_snapshot *snapshot_of(const char *yaml)
{
    Sluice__V1__Config *config = config_of(yaml);
    struct sl_policy_snapshot *s = NULL;
    struct sl_diag diag = {""};
    if (sl_policy_snapshot_new(config, 7, &s, &diag))
        fail_msg("%s", diag.text);
    config_free(config);
    return s;
}

#define K SL_NAME_KNOWN
#define P SL_NAME_PENDING
#define A SL_NAME_ABSENT

static void test_decryption(void **state)
{
    static const struct {
        const char *client, *server;
        unsigned port;
        enum sl_name_state state;
        const char *name;
        uint64_t now;
        uint64_t rule; /* 0: implicit */
        int need_name;
        size_t monitors;
    } T[] = {
        {"10.1.2.3", "203.0.113.1", 443, K, "www.example", 2000, 9, 0, 2},
        {"10.1.2.3", "203.0.113.1", 443, A, NULL, 2000, 9, 0, 1},
        {"10.1.2.3", "203.0.113.1", 443, P, NULL, 2000, 7, 1, 1}, /* the bank rule may match */
        {"10.1.2.3", "203.0.113.9", 443, P, NULL, 2000, 6, 0, 1}, /* an address rule above it does not wait */
        {"10.1.2.3", "203.0.113.1", 443, K, "bank.example", 2000, 7, 0, 2},
        {"10.1.2.3", "203.0.113.1", 443, K, "WWW.Bank.Example.", 2000, 7, 0, 2},
        {"10.1.2.3", "203.0.113.1", 443, K, "a.b.c.bank.example", 2000, 7, 0, 2},
        {"10.1.2.3", "203.0.113.1", 443, K, "notbank.example", 2000, 9, 0, 2},
        {"10.1.2.3", "203.0.113.1", 443, K, "bank.example.evil.example", 2000, 9, 0, 2},
        {"10.1.2.3", "203.0.113.1", 443, K, "health.example", 2000, 9, 0, 2},
        {"10.1.2.3", "203.0.113.1", 443, K, "x.health.example", 2000, 7, 0, 2},
        {"10.1.2.3", "203.0.113.1", 8449, K, "bank.example", 2000, 7, 0, 2},
        {"10.1.2.3", "203.0.113.1", 8450, K, "bank.example", 2000, 0, 0, 2},
        {"10.1.2.3", "203.0.113.1", 8450, P, NULL, 2000, 8, 1, 1},
        {"10.1.2.3", "203.0.113.1", 443, K, "intranet", 2000, 8, 0, 2},
        {"10.1.2.3", "203.0.113.1", 443, K, "192.0.2.80", 2000, 8, 0, 2},
        {"10.1.2.3", "203.0.113.1", 443, K, "::ffff:192.0.2.80", 2000, 8, 0, 2},
        {"::ffff:10.1.2.3", "203.0.113.1", 443, A, NULL, 2000, 9, 0, 1},
        {"2001:db8::5", "2001:db8:1::1", 443, A, NULL, 2000, 9, 0, 1},
        {"198.51.100.200", "203.0.113.1", 443, A, NULL, 2000, 9, 0, 0}, /* through includes of includes */
        {"198.51.101.1", "203.0.113.1", 443, A, NULL, 2000, 0, 0, 0},
        {"10.3.0.1", "203.0.113.1", 443, A, NULL, 2000, 0, 0, 0},
        {"10.1.2.3", "203.0.113.1", 443, A, NULL, 999, 4, 0, 1},  /* not expired yet */
        {"10.1.2.3", "203.0.113.1", 443, A, NULL, 1000, 9, 0, 1}, /* expires at that instant */
        {"10.1.2.3", "203.0.113.1", 443, K, "", 2000, 9, 0, 1},   /* an empty name is none */
        {"10.1.2.3", "203.0.113.1", 443, K, "\x01\xff..", 2000, 9, 0, 2},
    };
    struct sl_policy_snapshot *s = snapshot_of(POLICY);
    struct sl_policy_decryption d;

    (void)state;
    assert_int_equal(sl_policy_version(s), 7);
    for (size_t i = 0; i < sizeof(T) / sizeof(T[0]); i++) {
        struct sl_policy_query q = query(T[i].client, T[i].server, (uint16_t)T[i].port, T[i].state, T[i].name, T[i].now);
        sl_policy_decide_decryption(s, &q, &d);
        if (d.rule.id != T[i].rule || (d.outcome == SL_POLICY_NEED_NAME) != T[i].need_name || d.monitor_count != T[i].monitors)
            fail_msg("case %zu: rule %llu, outcome %d, %zu monitors", i, (unsigned long long)d.rule.id, (int)d.outcome,
                     d.monitor_count);
        assert_int_equal(d.rule.implicit, T[i].rule == 0);
        assert_int_equal(d.rule.by_name, T[i].rule == 7 || T[i].rule == 8);
        if (T[i].rule == 0) {
            assert_int_equal(d.action, SLUICE__V1__DECRYPTION_ACTION__BLOCK);
            assert_string_equal(d.rule.name, "implicit");
        }
    }
    sl_policy_snapshot_unref(s);
}

static void test_long_names(void **state)
{
    struct sl_policy_snapshot *s = snapshot_of(POLICY);
    struct sl_policy_decryption d;
    char name[2000];

    (void)state;
    for (size_t len = 1; len < sizeof(name) - 1; len += len < 300 ? 1 : 97) {
        memset(name, 'a', len);
        for (size_t i = 1; i < len; i += 2)
            name[i] = '.';
        name[len] = '\0';
        struct sl_policy_query q = query("10.1.2.3", "203.0.113.1", 443, K, name, 2000);
        sl_policy_decide_decryption(s, &q, &d);
        assert_int_equal(d.rule.id, 9);
    }
    sl_policy_snapshot_unref(s);
}

static void test_access(void **state)
{
    static const struct {
        const char *client;
        unsigned port;
        enum sl_name_state state;
        const char *name;
        uint64_t rule;
        int need_name;
    } T[] = {
        {"10.1.2.3", 23, P, NULL, 20, 0},  {"10.1.2.3", 443, P, NULL, 21, 1}, {"10.1.2.3", 443, K, "x.evil.example", 21, 0},
        {"10.1.2.3", 443, A, NULL, 22, 0}, {"192.0.2.1", 443, A, NULL, 0, 0},
    };
    struct sl_policy_snapshot *s = snapshot_of(POLICY);
    struct sl_policy_access d;

    (void)state;
    for (size_t i = 0; i < sizeof(T) / sizeof(T[0]); i++) {
        struct sl_policy_query q = query(T[i].client, "203.0.113.1", (uint16_t)T[i].port, T[i].state, T[i].name, 2000);
        sl_policy_decide_access(s, &q, &d);
        assert_int_equal(d.rule.id, T[i].rule);
        assert_int_equal(d.outcome == SL_POLICY_NEED_NAME, T[i].need_name);
        if (T[i].rule == 0)
            assert_int_equal(d.action, SLUICE__V1__ACCESS_ACTION__DENY);
    }
    sl_policy_snapshot_unref(s);
}

static void test_defaults(void **state)
{
    struct sl_policy_snapshot *s = snapshot_of("{}");
    const Sluice__V1__Settings *t = sl_policy_settings(s);
    struct sl_policy_query q = query("10.0.0.1", "10.0.0.2", 443, P, NULL, 1);
    struct sl_policy_decryption d;
    struct sl_policy_access a;
    size_t count = 1;

    (void)state;
    assert_int_equal(t->default_decryption, SLUICE__V1__DECRYPTION_ACTION__DO_NOT_DECRYPT);
    assert_int_equal(t->on_non_tls, SLUICE__V1__FAILURE_ACTION__FAIL_BYPASS);
    assert_int_equal(t->on_untrusted_certificate, SLUICE__V1__FAILURE_ACTION__FAIL_BLOCK);
    assert_int_equal(t->revocation, SLUICE__V1__REVOCATION_MODE__REVOCATION_SOFT);
    assert_int_equal(t->crypto_profile, SLUICE__V1__CRYPTO_PROFILE__CRYPTO_MODERN);
    assert_int_equal(t->handshake_timeout_ms, 15000);
    assert_int_equal(t->idle_timeout_ms, 3600000);
    assert_int_equal(t->max_connections, 100000);
    assert_int_equal(t->max_connections_per_client, 10000);
    sl_policy_decide_decryption(s, &q, &d);
    assert_int_equal(d.outcome, SL_POLICY_DECIDED);
    assert_int_equal(d.action, SLUICE__V1__DECRYPTION_ACTION__DO_NOT_DECRYPT);
    sl_policy_decide_access(s, &q, &a);
    assert_int_equal(a.action, SLUICE__V1__ACCESS_ACTION__ALLOW);
    sl_policy_trusted(s, &count);
    assert_int_equal(count, 0);
    sl_policy_snapshot_unref(s);
    sl_policy_snapshot_unref(NULL);
}

static void test_certificates(void **state)
{
    Sluice__V1__Config *config = config_of("{}");
    struct sl_policy_snapshot *s = NULL;
    size_t len, count;
    unsigned char *der = make_certificate(false, 86400, &len);
    Sluice__V1__TrustedCertificate *t = add_certificate(config, "pin", SLUICE__V1__TRUST_KIND__TRUST_PIN, der, len);

    (void)state;
    t->hosts = malloc(sizeof(char *));
    t->hosts[0] = strdup("WWW.Example.");
    t->n_hosts = 1;
    assert_int_equal(sl_policy_snapshot_new(config, 1, &s, NULL), SL_OK);
    const Sluice__V1__TrustedCertificate *const *list = sl_policy_trusted(s, &count);
    assert_int_equal(count, 1);
    assert_string_equal(list[0]->hosts[0], "www.example");
    assert_int_equal(list[0]->n_ports, 1);
    assert_int_equal(list[0]->ports[0], 443);
    assert_int_equal(strlen(list[0]->sha256), 64);
    assert_memory_equal(list[0]->der.data, t->der.data, len);
    assert_int_equal(sl_policy_config(s)->trusted_certificates[0]->n_ports, 0); /* as committed */
    sl_policy_snapshot_unref(s);
    config_free(config);
}

static void test_refused(void **state)
{
    Sluice__V1__Config *config = config_of("decryption_rules: [{name: r, action: decrypt, match: {sources: [nowhere]}}]");
    struct sl_policy_snapshot *s = NULL;
    struct sl_diag diag = {""};

    (void)state;
    assert_int_equal(sl_policy_snapshot_new(config, 1, &s, &diag), SL_ERR_INVALID);
    assert_null(s);
    assert_non_null(strstr(diag.text, "decryption_rules[0].match.sources[0]: there is no network object \"nowhere\""));
    config_free(config);
}

/* Every one of 20,000 prefixes is found, its neighbours are not. */
static void test_large_object(void **state)
{
    enum { N = 20000 };
    Sluice__V1__Config *config =
        config_of("networks: [{name: big}]\ndecryption_rules: [{name: r, id: 1, action: decrypt, match: {destinations: [big]}}]");
    Sluice__V1__NetworkObject *o = config->networks[0];
    struct sl_policy_snapshot *s = NULL;
    struct sl_policy_decryption d;
    char text[32];

    (void)state;
    o->prefixes = calloc(N, sizeof(char *));
    for (unsigned i = 0; i < N; i++) { /* every second /28 */
        unsigned at = (N - 1 - i) * 32;
        snprintf(text, sizeof(text), "10.%u.%u.%u/28", at >> 16 & 255, at >> 8 & 255, at & 255);
        o->prefixes[i] = strdup(text);
    }
    o->n_prefixes = N;
    assert_int_equal(sl_policy_snapshot_new(config, 1, &s, NULL), SL_OK);
    for (unsigned i = 0; i < 2 * N; i++) {
        unsigned at = i * 16 + i % 16;
        snprintf(text, sizeof(text), "10.%u.%u.%u", at >> 16 & 255, at >> 8 & 255, at & 255);
        struct sl_policy_query q = query("192.0.2.1", text, 443, A, NULL, 1);
        sl_policy_decide_decryption(s, &q, &d);
        assert_int_equal(d.rule.id, i % 2 == 0);
    }
    sl_policy_snapshot_unref(s);
    config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decryption),   cmocka_unit_test(test_long_names),   cmocka_unit_test(test_access),
        cmocka_unit_test(test_defaults),     cmocka_unit_test(test_certificates), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_large_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
