/* SPDX-License-Identifier: Apache-2.0 */
/* Every way a leg can fail: the cause, the stage, and the alert with its true direction (P14). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <string.h>

#include "peers.h"
#include "record/tls.h"

#define CAUSE(name)     SLUICE__V1__CAUSE__##name
#define STAGE(name)     SLUICE__V1__STAGE__STAGE_##name
#define DIRECTION(name) SLUICE__V1__ALERT_DIRECTION__##name

static struct test_world *world;

static int set_up(void **state)
{
    (void)state;
    world = test_world_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_world_free(world);
    return 0;
}

static void expect(const struct sl_leg *leg, Sluice__V1__Cause cause, Sluice__V1__Stage stage, int alert,
                   Sluice__V1__AlertDirection direction)
{
    const struct sl_leg_info *info = sl_leg_info(leg);
    assert_int_equal(sl_leg_state(leg), SL_LEG_FAILED);
    assert_int_equal(info->cause, cause);
    assert_int_equal(info->stage, stage);
    if (alert < 0) {
        assert_int_equal(info->alert_count, 0);
        return;
    }
    assert_true(info->alert_count > 0);
    assert_int_equal(info->alerts[0].code, alert);
    assert_int_equal(info->alerts[0].level, 2);
    assert_int_equal(info->alerts[0].direction, direction);
}

static int refuse_name(SSL *ssl, int *alert, void *arg)
{
    (void)ssl;
    (void)arg;
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int refuse_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in, unsigned in_len,
                       void *arg)
{
    (void)ssl, (void)out, (void)out_len, (void)in, (void)in_len, (void)arg;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* ---- the server's side ---- */

struct server_row {
    const char *name;
    enum test_cert cert;
    uint16_t version; /* of the server; 0: both */
    uint16_t client_version;
    const char *suites; /* of the server */
    void (*tweak)(SSL_CTX *origin);
    Sluice__V1__Cause cause;
    Sluice__V1__Stage stage;
    int alert;
    Sluice__V1__AlertDirection direction;
    size_t bytes_from_server; /* 0: not compared */
};

static void with_name_refusal(SSL_CTX *ctx)
{
    SSL_CTX_set_tlsext_servername_callback(ctx, refuse_name);
}

static void with_alpn_refusal(SSL_CTX *ctx)
{
    SSL_CTX_set_alpn_select_cb(ctx, refuse_alpn, NULL);
}

static void with_dh1024(SSL_CTX *ctx)
{
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_cipher_list(ctx, "DHE-RSA-AES128-GCM-SHA256");
    DH *dh = NULL;
    EVP_PKEY *params = NULL;
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, "DH", NULL);
    (void)dh;
    assert_true(EVP_PKEY_paramgen_init(c) > 0);
    OSSL_PARAM p[] = {OSSL_PARAM_construct_utf8_string("group", (char *)(uintptr_t) "modp_1536", 0), OSSL_PARAM_construct_end()};
    assert_true(EVP_PKEY_CTX_set_params(c, p) > 0);
    assert_true(EVP_PKEY_generate(c, &params) > 0);
    assert_int_equal(SSL_CTX_set0_tmp_dh_pkey(ctx, params), 1);
    EVP_PKEY_CTX_free(c);
}

static const struct server_row server_rows[] = {
    {"cipher refusal, 1.2 (reference case 1: exactly 7 bytes)", CERT_GOOD, SL_TLS12, 0, "ECDHE-ECDSA-CAMELLIA128-SHA256", NULL,
     CAUSE(SRV_ALERT_HANDSHAKE_FAILURE), STAGE(SERVER_HELLO), 40, DIRECTION(RECEIVED_FROM_SERVER), 7},
    {"cipher refusal, 1.3", CERT_GOOD, SL_TLS13, 0, "TLS_AES_128_CCM_SHA256", NULL, CAUSE(SRV_ALERT_HANDSHAKE_FAILURE),
     STAGE(SERVER_HELLO), 40, DIRECTION(RECEIVED_FROM_SERVER), 7},
    {"self-signed, 1.2 (reference case 2: ours to send)", CERT_SELF_SIGNED, SL_TLS12, 0, NULL, NULL, CAUSE(SRV_CERT_SELF_SIGNED),
     STAGE(VERIFY), 48, DIRECTION(SENT_TO_SERVER), 0},
    {"self-signed, 1.3", CERT_SELF_SIGNED, SL_TLS13, 0, NULL, NULL, CAUSE(SRV_CERT_SELF_SIGNED), STAGE(VERIFY), 48,
     DIRECTION(SENT_TO_SERVER), 0},
    {"expired", CERT_EXPIRED, SL_TLS12, 0, NULL, NULL, CAUSE(SRV_CERT_EXPIRED), STAGE(VERIFY), 45, DIRECTION(SENT_TO_SERVER), 0},
    {"expired, 1.3", CERT_EXPIRED, SL_TLS13, 0, NULL, NULL, CAUSE(SRV_CERT_EXPIRED), STAGE(VERIFY), 45, DIRECTION(SENT_TO_SERVER),
     0},
    {"wrong host", CERT_OTHER_HOST, 0, 0, NULL, NULL, CAUSE(SRV_CERT_HOST_MISMATCH), STAGE(VERIFY), 42, DIRECTION(SENT_TO_SERVER),
     0},
    {"unknown root", CERT_UNKNOWN_ROOT, 0, 0, NULL, NULL, CAUSE(SRV_CERT_NO_ISSUER), STAGE(VERIFY), 48, DIRECTION(SENT_TO_SERVER),
     0},
    {"server is 1.3 only", CERT_GOOD, SL_TLS13, SL_TLS12, NULL, NULL, CAUSE(SRV_ALERT_PROTOCOL_VERSION), STAGE(SERVER_HELLO), 70,
     DIRECTION(RECEIVED_FROM_SERVER), 7},
    {"unrecognized name", CERT_GOOD, 0, 0, NULL, with_name_refusal, CAUSE(SRV_UNRECOGNIZED_NAME), STAGE(SERVER_HELLO), 112,
     DIRECTION(RECEIVED_FROM_SERVER), 7},
    {"no application protocol", CERT_GOOD, 0, 0, NULL, with_alpn_refusal, CAUSE(SRV_NO_ALPN), STAGE(SERVER_HELLO), 120,
     DIRECTION(RECEIVED_FROM_SERVER), 7},
};

static void test_p14_server_failures(void **state)
{
    static const unsigned char protos[] = "\x02h2";
    (void)state;
    for (size_t i = 0; i < sizeof server_rows / sizeof server_rows[0]; i++) {
        const struct server_row *r = &server_rows[i];
        SSL_CTX *c = test_client_ctx(world, r->client_version, NULL),
                *o = test_origin_ctx(world, r->cert, TEST_EC, r->version, r->suites);
        print_message("%s\n", r->name);
        SSL_CTX_set_alpn_protos(c, protos, sizeof protos - 1);
        if (r->tweak)
            r->tweak(o);
        struct test_flow *f = test_flow_new(world, c, o, TEST_HOST);
        assert_int_equal(test_flow_hello(f), SL_OK);
        assert_int_equal(test_flow_server_leg(f), SL_LEG_FAILED);
        expect(sl_server_leg_base(f->server_leg), r->cause, r->stage, r->alert, r->direction);
        assert_true(sl_leg_info(sl_server_leg_base(f->server_leg))->error[0] != 0);
        if (r->bytes_from_server)
            assert_int_equal(f->origin.bytes_out, r->bytes_from_server);
        if (r->direction == DIRECTION(SENT_TO_SERVER)) { /* the chain is there for the event, and the server got the alert */
            assert_non_null(sl_server_leg_verdict(f->server_leg));
            assert_true(sl_chain_count(sl_server_leg_verdict(f->server_leg)->chain) >= 1);
            assert_false(sl_verdict_good(sl_server_leg_verdict(f->server_leg)));
        }
        test_flow_free(f);
        SSL_CTX_free(c);
        SSL_CTX_free(o);
    }
}

/* V6: finite fields below 2048 bits. */
static void test_v6_weak_dh(void **state)
{
    SSL_CTX *c = test_client_ctx(world, SL_TLS12, "DHE-RSA-AES128-GCM-SHA256"),
            *o = test_origin_ctx(world, CERT_GOOD, TEST_RSA, SL_TLS12, NULL);
    (void)state;
    with_dh1024(o);
    struct test_flow *f = test_flow_new(world, c, o, TEST_HOST);
    f->profile = SL_PROFILE_COMPATIBLE;
    assert_int_equal(test_flow_hello(f), SL_OK);
    assert_int_equal(test_flow_server_leg(f), SL_LEG_FAILED);
    expect(sl_server_leg_base(f->server_leg), CAUSE(SRV_WEAK_PARAMETERS), STAGE(KEY_EXCHANGE), 40, DIRECTION(SENT_TO_SERVER));
    test_flow_free(f);
    SSL_CTX_free(c);
    SSL_CTX_free(o);
}

/* V9: the bad verdict stays with the leg, and nothing of it can be resumed. */
static void test_v9_present_untrusted(void **state)
{
    SSL_CTX *c = test_client_ctx(world, 0, NULL), *o = test_origin_ctx(world, CERT_SELF_SIGNED, TEST_EC, 0, NULL);
    struct sl_tls_stats stats;
    (void)state;
    sl_tls_context_flush_sessions(world->context);
    struct test_flow *f = test_flow_new(world, c, o, TEST_HOST);
    f->present_untrusted = true;
    assert_int_equal(test_flow_hello(f), SL_OK);
    assert_int_equal(test_flow_server_leg(f), SL_LEG_DONE);
    assert_int_equal(sl_server_leg_verdict(f->server_leg)->cause, CAUSE(SRV_CERT_SELF_SIGNED));
    assert_int_equal(sl_server_leg_absorb(f->server_leg), SL_OK);
    sl_tls_context_stats(world->context, &stats);
    assert_int_equal(stats.upstream_sessions, 0);
    test_flow_free(f);
    SSL_CTX_free(c);
    SSL_CTX_free(o);
}

static int accept_any(X509_STORE_CTX *ctx, void *arg)
{
    (void)ctx;
    (void)arg;
    return 1;
}

/* V16: both versions stop at the request; the refusal that may follow has its cause, in TLS 1.3 even after "success". */
static void test_v16_client_certificate(void **state)
{
    static const struct {
        uint16_t version;
        bool required;
    } table[] = {{SL_TLS12, true}, {SL_TLS12, false}, {SL_TLS13, true}, {SL_TLS13, false}};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        SSL_CTX *c = test_client_ctx(world, table[i].version, NULL), *o = test_origin_ctx(world, CERT_GOOD, TEST_EC, 0, NULL);
        SSL_CTX_set_verify(o, SSL_VERIFY_PEER | (table[i].required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
        SSL_CTX_set_cert_verify_callback(o, accept_any, NULL);
        sl_tls_context_flush_sessions(world->context);
        struct test_flow *f = test_flow_new(world, c, o, TEST_HOST);
        assert_int_equal(test_flow_hello(f), SL_OK);
        assert_int_equal(test_flow_server_leg(f), SL_LEG_CLIENT_CERT);
        struct sl_leg *leg = sl_server_leg_base(f->server_leg);
        assert_true(sl_leg_info(leg)->client_cert_requested);
        assert_non_null(sl_server_leg_verdict(f->server_leg)); /* the chain was judged before */
        assert_true(sl_verdict_good(sl_server_leg_verdict(f->server_leg)));
        sl_server_leg_no_client_cert(f->server_leg);
        enum sl_leg_state after = test_flow_server_leg(f);
        if (!table[i].required) {
            assert_int_equal(after, SL_LEG_DONE);
            assert_int_equal(sl_server_leg_absorb(f->server_leg), SL_OK);
        } else if (table[i].version == SL_TLS12) {
            expect(leg, CAUSE(SRV_CLIENT_CERT_REQUIRED), STAGE(FINISHED), 40, DIRECTION(RECEIVED_FROM_SERVER));
        } else {
            assert_int_equal(after, SL_LEG_DONE);
            assert_int_equal(sl_server_leg_absorb(f->server_leg), SL_ERR_PEER_ALERT(116));
            expect(leg, CAUSE(SRV_CLIENT_CERT_REQUIRED), STAGE(POST_HANDSHAKE), 116, DIRECTION(RECEIVED_FROM_SERVER));
        }
        test_flow_free(f);
        SSL_CTX_free(c);
        SSL_CTX_free(o);
    }
}

/* ---- bytes that are no handshake ---- */

static struct test_flow *flow_with_leg(SSL_CTX *c, SSL_CTX *o)
{
    struct test_flow *f = test_flow_new(world, c, o, TEST_HOST);
    struct sl_server_leg_options options = {.offer = &f->offer,
                                            .sni = TEST_HOST,
                                            .verifier = world->verifier,
                                            .trust = world->trust,
                                            .address = "192.0.2.1",
                                            .port = 443};
    assert_int_equal(test_flow_hello(f), SL_OK);
    assert_int_equal(sl_server_leg_new(world->context, &options, &f->server_leg), SL_OK);
    assert_int_equal(sl_leg_step(sl_server_leg_base(f->server_leg)), SL_LEG_WANT_IO);
    return f;
}

static void test_server_says_something_else(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        bool eof;
        Sluice__V1__Cause cause;
        int alert;
        Sluice__V1__AlertDirection direction;
    } table[] = {
        {"", 0, true, CAUSE(SRV_EOF), -1, 0},
        {"\x16\x03", 2, true, CAUSE(SRV_EOF), -1, 0},
        {"HTTP/1.1 400 Bad Request\r\n", 26, false, CAUSE(SRV_NOT_TLS), -1, 0},
        {"SSH-2.0-x\r\n", 11, false, CAUSE(SRV_NOT_TLS), -1, 0},
        {"\x16\x03\x03\x00\x04\x63\x00\x00\x00", 9, false, CAUSE(SRV_BAD_HANDSHAKE), 10, DIRECTION(SENT_TO_SERVER)},
        {"\x16\x03\x03\xff\xff\x02", 6, false, CAUSE(SRV_BAD_HANDSHAKE), 22, DIRECTION(SENT_TO_SERVER)},
        {"\x15\x03\x03\x00\x02\x02\x47", 7, false, CAUSE(SRV_ALERT_INSUFFICIENT_SECURITY), 71, DIRECTION(RECEIVED_FROM_SERVER)},
        {"\x15\x03\x03\x00\x02\x02\x56", 7, false, CAUSE(SRV_ALERT_OTHER), 86, DIRECTION(RECEIVED_FROM_SERVER)},
    };
    SSL_CTX *c = test_client_ctx(world, 0, NULL), *o = test_origin_ctx(world, CERT_GOOD, TEST_EC, 0, NULL);
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct test_flow *f = flow_with_leg(c, o);
        struct sl_leg *leg = sl_server_leg_base(f->server_leg);
        if (table[i].len > 0)
            assert_int_equal(sl_leg_feed(leg, (const uint8_t *)table[i].bytes, table[i].len), SL_OK);
        if (table[i].eof)
            sl_leg_feed_eof(leg);
        sl_leg_step(leg);
        expect(leg, table[i].cause, STAGE(SERVER_HELLO), table[i].alert, table[i].direction);
        test_flow_free(f);
    }
    SSL_CTX_free(c);
    SSL_CTX_free(o);
}

/* A server that answers below TLS 1.2 although that was not offered. P1 */
static void test_p1_old_server(void **state)
{
    uint8_t hello[] = {22, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1, [43] = 0, 0xc0, 0x13, 0};
    SSL_CTX *c = test_client_ctx(world, 0, NULL), *o = test_origin_ctx(world, CERT_GOOD, TEST_EC, 0, NULL);
    (void)state;
    struct test_flow *f = flow_with_leg(c, o);
    struct sl_leg *leg = sl_server_leg_base(f->server_leg);
    assert_int_equal(sl_leg_feed(leg, hello, sizeof hello), SL_OK);
    sl_leg_step(leg);
    assert_int_equal(sl_leg_info(leg)->cause, CAUSE(SRV_UNSUPPORTED_PROTOCOL));
    assert_int_equal(sl_leg_info(leg)->alerts[0].direction, DIRECTION(SENT_TO_SERVER));
    assert_int_equal(sl_leg_info(leg)->alerts[0].code, 70);
    test_flow_free(f);
    SSL_CTX_free(c);
    SSL_CTX_free(o);
}

/* ---- the client's side ---- */

static void test_p14_client_failures(void **state)
{
    static const struct {
        uint16_t version;
        bool trusts;
        const char *expected_name; /* the client checks for this name */
        int cause, alert;
    } table[] = {{SL_TLS12, false, TEST_HOST, CAUSE(CLI_ALERT_UNKNOWN_CA), 48},
                 {SL_TLS13, false, TEST_HOST, CAUSE(CLI_ALERT_UNKNOWN_CA), 48},
                 {SL_TLS12, true, "pinned.example", CAUSE(CLI_ALERT_BAD_CERT), 42},
                 {SL_TLS13, true, "pinned.example", CAUSE(CLI_ALERT_BAD_CERT), 42}};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        SSL_CTX *c = test_client_ctx(world, table[i].version, NULL), *o = test_origin_ctx(world, CERT_GOOD, TEST_EC, 0, NULL);
        if (!table[i].trusts)
            SSL_CTX_set_cert_store(c, X509_STORE_new());
        sl_tls_context_flush_sessions(world->context);
        struct test_flow *f = test_flow_new(world, c, o, TEST_HOST);
        SSL_set1_host(f->client.ssl, table[i].expected_name);
        assert_int_equal(test_flow_hello(f), SL_OK);
        assert_int_equal(test_flow_server_leg(f), SL_LEG_DONE);
        assert_int_equal(test_flow_client_leg(f), SL_LEG_FAILED);
        expect(sl_client_leg_base(f->client_leg), (Sluice__V1__Cause)table[i].cause,
               table[i].version == SL_TLS13 ? STAGE(FINISHED) : STAGE(KEY_EXCHANGE), table[i].alert,
               DIRECTION(RECEIVED_FROM_CLIENT));
        test_flow_free(f);
        SSL_CTX_free(c);
        SSL_CTX_free(o);
    }
}

static void test_client_goes_away(void **state)
{
    SSL_CTX *c = test_client_ctx(world, 0, NULL), *o = test_origin_ctx(world, CERT_GOOD, TEST_EC, 0, NULL);
    (void)state;
    struct test_flow *f = test_flow_new(world, c, o, TEST_HOST);
    assert_int_equal(test_flow_hello(f), SL_OK);
    assert_int_equal(test_flow_server_leg(f), SL_LEG_DONE);
    f->client.ssl = (SSL_free(f->client.ssl), SSL_new(c));
    f->client.in = BIO_new(BIO_s_mem());
    f->client.out = BIO_new(BIO_s_mem());
    SSL_set_bio(f->client.ssl, f->client.in, f->client.out);
    SSL_set_accept_state(f->client.ssl); /* says nothing */
    assert_int_equal(test_flow_client_leg(f), SL_LEG_WANT_IO);
    struct sl_leg *leg = sl_client_leg_base(f->client_leg);
    sl_leg_feed_eof(leg);
    sl_leg_step(leg);
    assert_int_equal(sl_leg_info(leg)->cause, CAUSE(CLI_EOF));
    test_flow_free(f);
    SSL_CTX_free(c);
    SSL_CTX_free(o);
}

/* ---- alerts in the clear ---- */

static void test_plain_alerts(void **state)
{
    static const struct {
        int cause, alert; /* -1: none */
    } table[] = {{CAUSE(SRV_ALERT_HANDSHAKE_FAILURE), 40},
                 {CAUSE(SRV_ALERT_PROTOCOL_VERSION), 70},
                 {CAUSE(SRV_ALERT_INSUFFICIENT_SECURITY), 71},
                 {CAUSE(SRV_UNRECOGNIZED_NAME), 112},
                 {CAUSE(SRV_NO_ALPN), 120},
                 {CAUSE(SRV_CLIENT_CERT_REQUIRED), 40},
                 {CAUSE(SRV_CERT_SELF_SIGNED), 48},
                 {CAUSE(SRV_CERT_EXPIRED), 45},
                 {CAUSE(SRV_CERT_REVOKED), 44},
                 {CAUSE(SRV_EOF), 80},
                 {CAUSE(SRV_UNREACHABLE), 80},
                 {CAUSE(CLI_NO_SHARED_CIPHER), 40},
                 {CAUSE(CLI_UNSUPPORTED_VERSION), 70},
                 {CAUSE(CLI_BAD_HELLO), 50},
                 {CAUSE(POLICY_BLOCK), 49},
                 {CAUSE(RES_OVERLOAD), 80},
                 {CAUSE(CLI_EOF), -1},
                 {CAUSE(POLICY_NON_TLS), -1},
                 {CAUSE(CAUSE_NONE), -1}};
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        uint8_t description = 0, record[SL_PLAIN_ALERT_BYTES];
        assert_int_equal(sl_alert_for_cause((Sluice__V1__Cause)table[i].cause, &description), table[i].alert >= 0);
        if (table[i].alert < 0)
            continue;
        assert_int_equal(description, table[i].alert);
        sl_plain_alert(description, record);
        assert_memory_equal(record, "\x15\x03\x03\x00\x02\x02", 6);
        assert_int_equal(record[6], table[i].alert);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_p14_server_failures),
        cmocka_unit_test(test_v6_weak_dh),
        cmocka_unit_test(test_v9_present_untrusted),
        cmocka_unit_test(test_v16_client_certificate),
        cmocka_unit_test(test_server_says_something_else),
        cmocka_unit_test(test_p1_old_server),
        cmocka_unit_test(test_p14_client_failures),
        cmocka_unit_test(test_client_goes_away),
        cmocka_unit_test(test_plain_alerts),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
