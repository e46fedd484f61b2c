/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "event/explain.h"
#include "make.h"
#include "policy/snapshot.h"
#include "policy/validate.h"
#include "rpc/message.h"

static const uint64_t NOW = UINT64_C(1800000000) * SL_NS_PER_S;

static const Sluice__V1__Remedy *remedy(const Sluice__V1__Event *e, const char *id)
{
    for (size_t i = 0; i < e->n_remedies; i++)
        if (strcmp(e->remedies[i]->id, id) == 0)
            return e->remedies[i];
    return NULL;
}

static Sluice__V1__Event *failed(Sluice__V1__Cause cause)
{
    Sluice__V1__Event *e = reference_connection(cause, "00000000000000aa", 1, 2);
    e->id = 42;
    set(&e->tls->sni, "www.example");
    add_certificate(e, "/CN=www.example", "/CN=root", SHA_OF_TEST);
    add_certificate(e, "/CN=root", "/CN=root", "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210");
    return e;
}

/* Trust is offered only where the certificate is what it says and nobody has withdrawn it. */
static void test_offers(void **state)
{
    static const struct {
        Sluice__V1__Cause cause;
        int pin, root, bypass;
    } T[] = {
        {CAUSE(SRV_CERT_SELF_SIGNED), 1, 0, 1},
        {CAUSE(SRV_CERT_SELF_SIGNED_CHAIN), 1, 1, 1},
        {CAUSE(SRV_CERT_NO_ISSUER), 1, 0, 1},
        {CAUSE(SRV_CERT_EXPIRED), 1, 0, 1},
        {CAUSE(SRV_CERT_HOST_MISMATCH), 1, 0, 1},
        {CAUSE(SRV_CERT_IP_MISMATCH), 1, 0, 1},
        {CAUSE(SRV_CERT_REVOKED), 0, 0, 0},
        {CAUSE(SRV_CERT_BAD_SIGNATURE), 0, 0, 0},
        {CAUSE(SRV_CERT_DISTRUSTED), 0, 0, 0},
        {CAUSE(SRV_CERT_WEAK_KEY), 0, 0, 1},
        {CAUSE(SRV_CERT_WEAK_MD), 0, 0, 1},
        {CAUSE(SRV_CERT_WEAK_CA_KEY), 0, 0, 1},
        {CAUSE(SRV_CERT_OWN_CA), 0, 0, 0},
        {CAUSE(SRV_ALERT_HANDSHAKE_FAILURE), 0, 0, 1},
        {CAUSE(SRV_CLIENT_CERT_REQUIRED), 0, 0, 1},
        {CAUSE(CLI_ALERT_UNKNOWN_CA), 0, 0, 1},
        {CAUSE(REC_BAD_MAC), 0, 0, 0},
        {CAUSE(POLICY_DENY), 0, 0, 0},
        {CAUSE(LOOP_DETECTED), 0, 0, 0},
        {CAUSE(RES_OVERLOAD), 0, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(T) / sizeof(T[0]); i++) {
        Sluice__V1__Event *e = failed(T[i].cause);
        assert_int_equal(sl_event_remedies(e), SL_OK);
        if (!!remedy(e, "pin-certificate") != T[i].pin || !!remedy(e, "add-private-root") != T[i].root ||
            !!remedy(e, "bypass-server") != T[i].bypass)
            fail_msg("%s", sl_cause_name(T[i].cause));
        assert_true(e->n_remedies > 0);
        for (size_t j = 0; j < e->n_remedies; j++) {
            assert_true(strlen(e->remedies[j]->title) > 10);
            assert_true(!e->remedies[j]->command[0] || strncmp(e->remedies[j]->command, "sluicectl event fix 42 ", 23) == 0);
        }
        sl_event_free(e);
    }
}

static void test_commands(void **state)
{
    Sluice__V1__Event *e = failed(CAUSE(SRV_CERT_SELF_SIGNED_CHAIN));

    (void)state;
    assert_int_equal(sl_event_finish(e), SL_OK);
    assert_string_equal(remedy(e, "pin-certificate")->command, "sluicectl event fix 42 pin-certificate --confirm 0123456789abcdef");
    assert_string_equal(remedy(e, "add-private-root")->command,
                        "sluicectl event fix 42 add-private-root --confirm fedcba9876543210");
    assert_string_equal(remedy(e, "bypass-server")->command, "sluicectl event fix 42 bypass-server --for 1h");
    assert_non_null(strstr(e->explanation, "www.example"));
    assert_non_null(strstr(e->explanation, "172.16.1.1"));
    sl_event_free(e);
}

static void test_cipher_gap(void **state)
{
    static const char *const CLIENT[] = {"TLS_GREASE", "TLS_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
                                         "TLS_RSA_WITH_AES_128_GCM_SHA256", "TLS_EMPTY_RENEGOTIATION_INFO_SCSV"};
    Sluice__V1__Event *e = reference_case_1();
    const char *gap[8];

    (void)state;
    e->tls->client_offered = malloc(sizeof(Sluice__V1__TlsParameters));
    sluice__v1__tls_parameters__init(e->tls->client_offered);
    e->tls->server_offered = malloc(sizeof(Sluice__V1__TlsParameters));
    sluice__v1__tls_parameters__init(e->tls->server_offered);
    for (size_t i = 1; i < 5; i++)
        assert_int_equal(sl_event_append(&e->tls->client_offered->ciphers, &e->tls->client_offered->n_ciphers, CLIENT[i]), SL_OK);
    for (size_t i = 1; i < 3; i++)
        assert_int_equal(sl_event_append(&e->tls->server_offered->ciphers, &e->tls->server_offered->n_ciphers, CLIENT[i]), SL_OK);
    assert_int_equal(sl_event_cipher_gap(e, gap, 8), 1);
    assert_string_equal(gap[0], "TLS_RSA_WITH_AES_128_GCM_SHA256");
    assert_int_equal(sl_event_cipher_gap(e, gap, 0), 0);
    assert_int_equal(sl_event_finish(e), SL_OK);
    assert_non_null(remedy(e, "use-compatible-profile"));
    assert_non_null(strstr(e->explanation, "TLS_RSA_WITH_AES_128_GCM_SHA256"));
    sl_event_free(e);

    e = reference_case_1(); /* nothing was kept back: a weaker profile would not help */
    assert_int_equal(sl_event_finish(e), SL_OK);
    assert_null(remedy(e, "use-compatible-profile"));
    sl_event_free(e);
}

static void test_peer_text_is_escaped(void **state)
{
    Sluice__V1__Event *e = failed(CAUSE(SRV_CERT_HOST_MISMATCH));

    (void)state;
    set(&e->tls->sni, "evil\x1b[2J.example");
    assert_int_equal(sl_event_append(&e->server_chain[0]->sans, &e->server_chain[0]->n_sans, "x\ny\x1b]0;t"), SL_OK);
    assert_int_equal(sl_event_finish(e), SL_OK);
    assert_null(strpbrk(e->explanation, "\x1b\n"));
    sl_event_free(e);
}

/* ---- applying ---- */

static sl_err apply(Sluice__V1__Config *c, const Sluice__V1__Event *e, const char *id, const char *confirm, uint64_t seconds,
                    struct sl_diag *text)
{
    struct sl_remedy_params p = {.confirm_sha256 = confirm, .duration_s = seconds, .now_ns = NOW};
    struct sl_diag done = {""}, diag = {""};
    sl_err err = sl_remedy_apply(c, e, id, &p, &done, &diag);
    *text = err ? diag : done;
    assert_true(text->text[0]);
    return err;
}

static Sluice__V1__Config *new_config(void)
{
    ProtobufCMessage *m = NULL;
    assert_int_equal(sl_rpc_message_new(&sluice__v1__config__descriptor, &m), SL_OK);
    return (Sluice__V1__Config *)m;
}

static size_t size_of(const Sluice__V1__Config *c)
{
    return sluice__v1__config__get_packed_size(c);
}

static void test_apply_pin(void **state)
{
    static const struct {
        const char *confirm;
        sl_err err;
    } T[] = {
        {NULL, SL_ERR_DENIED},
        {"", SL_ERR_DENIED},
        {"0123456789abcde", SL_ERR_DENIED}, /* 15 digits */
        {"0123456789abcdee", SL_ERR_DENIED},
        {SHA_OF_TEST "0", SL_ERR_DENIED},
        {"01:23:45:67:89:AB:CD:EF", SL_OK},
        {"0123456789abcdef", SL_OK},
        {SHA_OF_TEST, SL_OK},
    };
    Sluice__V1__Event *e = failed(CAUSE(SRV_CERT_SELF_SIGNED));
    struct sl_diag text;

    (void)state;
    assert_int_equal(sl_event_finish(e), SL_OK);
    for (size_t i = 0; i < sizeof(T) / sizeof(T[0]); i++) {
        Sluice__V1__Config *c = new_config();
        assert_int_equal(apply(c, e, "pin-certificate", T[i].confirm, 0, &text), T[i].err);
        assert_int_equal(c->n_trusted_certificates, T[i].err == SL_OK);
        if (!T[i].err) {
            const Sluice__V1__TrustedCertificate *t = c->trusted_certificates[0];
            assert_int_equal(t->kind, SLUICE__V1__TRUST_KIND__TRUST_PIN);
            assert_string_equal(t->sha256, SHA_OF_TEST);
            assert_string_equal(t->hosts[0], "www.example");
            assert_int_equal(t->ports[0], 443);
            assert_memory_equal(t->der.data, "der", 3);
            assert_int_equal(apply(c, e, "pin-certificate", T[i].confirm, 0, &text), SL_ERR_EXISTS);
        } else {
            assert_int_equal(size_of(c), 0); /* unchanged */
        }
        sl_rpc_message_free(&c->base);
    }
    sl_event_free(e);
}

/* A pin for a certificate that is over must have an end of its own: one that ends with the certificate would never hold. */
static void test_apply_pin_outside_dates(void **state)
{
    static const struct {
        Sluice__V1__Cause cause;
        uint64_t seconds, expires_ns;
    } T[] = {
        {CAUSE(SRV_CERT_SELF_SIGNED), 0, 0},
        {CAUSE(SRV_CERT_SELF_SIGNED), 60, NOW + 60 * (uint64_t)SL_NS_PER_S},
        {CAUSE(SRV_CERT_EXPIRED), 0, NOW + (uint64_t)SL_REMEDY_BYPASS_MAX_S * SL_NS_PER_S},
        {CAUSE(SRV_CERT_NOT_YET), 3600, NOW + 3600 * (uint64_t)SL_NS_PER_S},
    };
    struct sl_diag text;

    (void)state;
    for (size_t i = 0; i < sizeof(T) / sizeof(T[0]); i++) {
        Sluice__V1__Event *e = failed(T[i].cause);
        Sluice__V1__Config *c = new_config();
        assert_int_equal(sl_event_finish(e), SL_OK);
        assert_int_equal(apply(c, e, "pin-certificate", SHA_OF_TEST, SL_REMEDY_BYPASS_MAX_S + 1, &text), SL_ERR_INVALID);
        assert_int_equal(apply(c, e, "pin-certificate", SHA_OF_TEST, T[i].seconds, &text), SL_OK);
        assert_int_equal(c->trusted_certificates[0]->expires_ns, T[i].expires_ns);
        sl_rpc_message_free(&c->base);
        sl_event_free(e);
    }
}

static void test_apply_bypass(void **state)
{
    Sluice__V1__Event *e = failed(CAUSE(SRV_ALERT_HANDSHAKE_FAILURE));
    Sluice__V1__Config *c = new_config();
    struct sl_findings f;
    struct sl_diag text;

    (void)state;
    assert_int_equal(sl_event_finish(e), SL_OK);
    c->decryption_rules = malloc(sizeof(void *));
    c->decryption_rules[0] = malloc(sizeof(Sluice__V1__DecryptionRule));
    sluice__v1__decryption_rule__init(c->decryption_rules[0]);
    c->decryption_rules[0]->name = strdup("Decrypt-All");
    c->decryption_rules[0]->action = SLUICE__V1__DECRYPTION_ACTION__DECRYPT;
    c->n_decryption_rules = 1;
    assert_int_equal(apply(c, e, "bypass-server", NULL, SL_REMEDY_BYPASS_MAX_S + 1, &text), SL_ERR_INVALID);
    assert_int_equal(c->n_decryption_rules, 1);
    assert_int_equal(apply(c, e, "bypass-server", NULL, 0, &text), SL_OK);
    assert_int_equal(c->n_decryption_rules, 2);
    assert_int_equal(c->decryption_rules[0]->action, SLUICE__V1__DECRYPTION_ACTION__DO_NOT_DECRYPT);
    assert_int_equal(c->decryption_rules[0]->expires_ns, NOW + UINT64_C(3600) * SL_NS_PER_S);
    assert_int_equal(apply(c, e, "bypass-server", NULL, 0, &text), SL_ERR_EXISTS);
    assert_int_equal(sl_policy_validate(c, NOW, &f), SL_OK);
    assert_int_equal(f.errors, 0);
    sl_findings_free(&f);

    /* it takes this server, for an hour, and nothing else */
    static const struct {
        const char *server;
        unsigned port;
        uint64_t after_s;
        int bypassed;
    } T[] = {{"172.16.1.1", 443, 0, 1},
             {"172.16.1.1", 443, 3599, 1},
             {"172.16.1.1", 443, 3600, 0},
             {"172.16.1.2", 443, 0, 0},
             {"172.16.1.1", 8443, 0, 0}};
    struct sl_policy_snapshot *s = NULL;
    assert_int_equal(sl_policy_snapshot_new(c, 1, &s, NULL), SL_OK);
    for (size_t i = 0; i < sizeof(T) / sizeof(T[0]); i++) {
        struct sl_policy_query q = {
            .server_port = (uint16_t)T[i].port, .name_state = SL_NAME_ABSENT, .now_ns = NOW + T[i].after_s * SL_NS_PER_S};
        struct sl_policy_decryption d;
        assert_int_equal(sl_addr_parse("10.1.1.10", &q.client), SL_OK);
        assert_int_equal(sl_addr_parse(T[i].server, &q.server), SL_OK);
        sl_policy_decide_decryption(s, &q, &d);
        assert_int_equal(d.action == SLUICE__V1__DECRYPTION_ACTION__DO_NOT_DECRYPT, T[i].bypassed);
    }
    sl_policy_snapshot_unref(s);
    sl_rpc_message_free(&c->base);
    sl_event_free(e);
}

static void test_apply_root_and_refusals(void **state)
{
    Sluice__V1__Event *e = failed(CAUSE(SRV_CERT_SELF_SIGNED_CHAIN)), *revoked = failed(CAUSE(SRV_CERT_REVOKED));
    Sluice__V1__Config *c = new_config();
    struct sl_diag text;

    (void)state;
    assert_int_equal(sl_event_finish(e), SL_OK);
    assert_int_equal(sl_event_finish(revoked), SL_OK);
    assert_int_equal(apply(c, e, "add-private-root", "0123456789abcdef", 0, &text), SL_ERR_DENIED); /* the leaf's, not the root's */
    assert_int_equal(apply(c, e, "add-private-root", "fedcba9876543210", 0, &text), SL_OK);
    assert_int_equal(c->trusted_certificates[0]->kind, SLUICE__V1__TRUST_KIND__TRUST_ANCHOR);
    assert_int_equal(c->trusted_certificates[0]->n_hosts, 0);
    size_t before = size_of(c);
    assert_int_equal(apply(c, e, "contact-server-admin", NULL, 0, &text), SL_ERR_UNSUPPORTED);
    assert_int_equal(apply(c, e, "no-such-remedy", NULL, 0, &text), SL_ERR_NOT_FOUND);
    assert_int_equal(apply(c, revoked, "pin-certificate", SHA_OF_TEST, 0, &text), SL_ERR_NOT_FOUND);
    assert_int_equal(size_of(c), before);
    sl_rpc_message_free(&c->base);
    sl_event_free(e);
    sl_event_free(revoked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_offers),
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_cipher_gap),
        cmocka_unit_test(test_apply_pin),
        cmocka_unit_test(test_apply_pin_outside_dates),
        cmocka_unit_test(test_apply_bypass),
        cmocka_unit_test(test_apply_root_and_refusals),
        cmocka_unit_test(test_peer_text_is_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
