/* SPDX-License-Identifier: Apache-2.0 */
/* Whole flows between unmodified OpenSSL peers: every version, key, kind of suite and ALPN; hand-over; resumption on both legs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "peers.h"
#include "record/tls.h"

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

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in, unsigned in_len,
                       void *arg)
{
    const char *want = arg;
    (void)ssl;
    for (unsigned i = 0; i < in_len; i += 1u + in[i])
        if (in[i] == strlen(want) && memcmp(in + i + 1, want, in[i]) == 0) {
            *out = in + i + 1;
            *out_len = in[i];
            return SSL_TLSEXT_ERR_OK;
        }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

struct row {
    uint16_t version;
    enum test_key key;
    const char *suites;
    uint16_t suite;
    enum sl_crypto_profile profile;
    bool records; /* AES-GCM: handed over */
};

static const struct row rows[] = {
    {SL_TLS13, TEST_EC, "TLS_AES_128_GCM_SHA256", 0x1301, SL_PROFILE_MODERN, true},
    {SL_TLS13, TEST_EC, "TLS_AES_256_GCM_SHA384", 0x1302, SL_PROFILE_MODERN, true},
    {SL_TLS13, TEST_EC, "TLS_CHACHA20_POLY1305_SHA256", 0x1303, SL_PROFILE_MODERN, false},
    {SL_TLS13, TEST_RSA, "TLS_AES_128_GCM_SHA256", 0x1301, SL_PROFILE_MODERN, true},
    {SL_TLS12, TEST_EC, "ECDHE-ECDSA-AES128-GCM-SHA256", 0xc02b, SL_PROFILE_MODERN, true},
    {SL_TLS12, TEST_EC, "ECDHE-ECDSA-AES256-GCM-SHA384", 0xc02c, SL_PROFILE_MODERN, true},
    {SL_TLS12, TEST_RSA, "ECDHE-RSA-AES128-GCM-SHA256", 0xc02f, SL_PROFILE_MODERN, true},
    {SL_TLS12, TEST_RSA, "ECDHE-RSA-AES256-GCM-SHA384", 0xc030, SL_PROFILE_MODERN, true},
    {SL_TLS12, TEST_EC, "ECDHE-ECDSA-CHACHA20-POLY1305", 0xcca9, SL_PROFILE_MODERN, false},
    {SL_TLS12, TEST_RSA, "ECDHE-RSA-AES128-SHA256", 0xc027, SL_PROFILE_COMPATIBLE, false},
    {SL_TLS12, TEST_RSA, "ECDHE-RSA-AES256-SHA", 0xc014, SL_PROFILE_COMPATIBLE, false},
    {SL_TLS12, TEST_RSA, "AES128-GCM-SHA256", 0x009c, SL_PROFILE_COMPATIBLE, true},
};

/* P13, P15: both legs agree on version and ALPN; V1: the chain was verified. */
static void check_legs(const struct test_flow *f, const struct row *r, const char *alpn)
{
    const struct sl_leg_info *s = sl_leg_info(sl_server_leg_base(f->server_leg));
    const struct sl_leg_info *c = sl_leg_info(sl_client_leg_base(f->client_leg));
    const struct sl_verdict *v = sl_server_leg_verdict(f->server_leg);

    assert_int_equal(s->version, r->version);
    assert_int_equal(c->version, r->version);
    assert_int_equal(s->suite, r->suite);
    assert_int_equal(s->alpn_len, strlen(alpn));
    assert_memory_equal(s->alpn, alpn, strlen(alpn));
    assert_int_equal(c->alpn_len, strlen(alpn));
    assert_int_equal(s->alert_count, 0);
    assert_int_equal(c->alert_count, 0);
    assert_int_equal(s->stage, SLUICE__V1__STAGE__STAGE_POST_HANDSHAKE);
    assert_true(s->extended_master_secret && c->extended_master_secret);
    assert_non_null(v);
    assert_true(sl_verdict_good(v));
    assert_int_equal(sl_chain_count(v->chain), 1);
    assert_true(f->to_server ? r->records : !r->records);
    if (r->version == SL_TLS13)
        assert_int_equal(s->group, 0x001d);
    if (!s->resumed && r->suite != 0x009c)
        assert_true(s->sigalg != 0);
    assert_non_null(sl_server_leg_certificate(f->server_leg));
}

static void run_row(const struct row *r, const char *alpn, size_t chunk)
{
    static const unsigned char protos[] = "\x02h2\x08http/1.1";
    SSL_CTX *client_ctx = test_client_ctx(world, 0, NULL),
            *origin_ctx = test_origin_ctx(world, CERT_GOOD, r->key, r->version, r->suites);

    SSL_CTX_set_cipher_list(client_ctx, "ALL");
    if (alpn[0]) {
        SSL_CTX_set_alpn_protos(client_ctx, protos, sizeof protos - 1);
        SSL_CTX_set_alpn_select_cb(origin_ctx, choose_alpn, (void *)(uintptr_t)alpn);
    }
    struct test_flow *f = test_flow_new(world, client_ctx, origin_ctx, TEST_HOST);
    f->profile = r->profile;
    f->chunk = chunk;
    f->rule_id = 7;
    test_flow_run(f);
    check_legs(f, r, alpn);
    test_flow_free(f);
    SSL_CTX_free(client_ctx);
    SSL_CTX_free(origin_ctx);
}

static void test_matrix(void **state)
{
    static const char *const alpn[] = {"", "h2", "http/1.1"};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (size_t a = 0; a < 3; a++) {
            sl_tls_context_flush_sessions(world->context);
            run_row(&rows[i], alpn[a], 0);
        }
}

static void test_bytes_in_any_chunks(void **state)
{
    static const size_t chunks[] = {1, 7, 100, 1460};
    (void)state;
    for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++) {
        sl_tls_context_flush_sessions(world->context);
        run_row(&rows[0], "h2", chunks[i]);
        run_row(&rows[4], "h2", chunks[i]);
        run_row(&rows[2], "", chunks[i]);
    }
}

/* The client's first data in the segment of its Finished must not be lost. */
static void test_eager_client(void **state)
{
    static const size_t which[] = {0, 2, 4, 8};
    (void)state;
    for (size_t i = 0; i < sizeof which / sizeof which[0]; i++) {
        const struct row *r = &rows[which[i]];
        SSL_CTX *c = test_client_ctx(world, r->version, NULL),
                *o = test_origin_ctx(world, CERT_GOOD, r->key, r->version, r->suites);
        sl_tls_context_flush_sessions(world->context);
        struct test_flow *f = test_flow_new(world, c, o, TEST_HOST);
        f->eager_client = r->version == SL_TLS13; /* in TLS 1.2 the client waits for the server's Finished */
        test_flow_run(f);
        test_flow_free(f);
        SSL_CTX_free(c);
        SSL_CTX_free(o);
    }
}

/* ---- resumption ---- */

struct resumption {
    SSL_CTX *client_ctx, *origin_ctx;
    SSL_SESSION *session; /* the client's */
};

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct resumption *r = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    SSL_SESSION_free(r->session);
    r->session = session;
    return 1;
}

static void resumption_init(struct resumption *r, const struct row *row)
{
    *r = (struct resumption){.client_ctx = test_client_ctx(world, row->version, NULL),
                             .origin_ctx = test_origin_ctx(world, CERT_GOOD, row->key, row->version, row->suites)};
    SSL_CTX_set_app_data(r->client_ctx, r);
    SSL_CTX_sess_set_new_cb(r->client_ctx, keep_session);
    sl_tls_context_flush_sessions(world->context);
}

static void resumption_free(struct resumption *r)
{
    SSL_SESSION_free(r->session);
    SSL_CTX_free(r->client_ctx);
    SSL_CTX_free(r->origin_ctx);
}

static void expect_resumed(struct resumption *r, uint64_t rule, bool server_resumed, bool client_resumed)
{
    struct test_flow *f = test_flow_new(world, r->client_ctx, r->origin_ctx, TEST_HOST);
    f->rule_id = rule;
    if (r->session)
        SSL_set_session(f->client.ssl, r->session);
    test_flow_run(f);
    const struct sl_leg_info *s = sl_leg_info(sl_server_leg_base(f->server_leg)),
                             *c = sl_leg_info(sl_client_leg_base(f->client_leg));
    assert_int_equal(s->resumed, server_resumed);
    assert_int_equal(c->resumed, client_resumed);
    assert_int_equal(SSL_session_reused(f->client.ssl), client_resumed);
    /* V11: the verdict of the first handshake is there, with the chain. */
    assert_non_null(sl_server_leg_verdict(f->server_leg));
    assert_true(sl_verdict_good(sl_server_leg_verdict(f->server_leg)));
    assert_int_equal(sl_chain_count(sl_server_leg_verdict(f->server_leg)->chain), 1);
    test_flow_free(f);
}

static void test_v11_resumption_is_bound(void **state)
{
    static const size_t which[] = {0, 1, 2, 4, 6, 8};
    (void)state;
    for (size_t i = 0; i < sizeof which / sizeof which[0]; i++) {
        struct resumption r;
        resumption_init(&r, &rows[which[i]]);
        expect_resumed(&r, 1, false, false);
        expect_resumed(&r, 1, true, true);
        expect_resumed(&r, 1, true, true);
        expect_resumed(&r, 2, false, false); /* another rule: nothing carries over, on either leg */
        sl_tls_context_flush_sessions(world->context);
        expect_resumed(&r, 2, false, true); /* the client's ticket stands for the same verdict */
        resumption_free(&r);
    }
}

/* P12: a ticket is good for two periods of its key, by the clock. */
static void test_p12_ticket_keys_rotate(void **state)
{
    static const uint64_t hour = UINT64_C(3600) * SL_NS_PER_S;
    (void)state;
    struct resumption r;
    resumption_init(&r, &rows[0]);
    expect_resumed(&r, 1, false, false);
    sl_clock_manual_advance(&world->clock, 1);
    sl_tls_context_flush_sessions(world->context);
    expect_resumed(&r, 1, false, true);
    SSL_SESSION *old = r.session;
    SSL_SESSION_up_ref(old);
    world->clock.mono += 13 * hour; /* the next key seals, the old one still opens */
    expect_resumed(&r, 1, true, true);
    world->clock.mono += 12 * hour;
    SSL_SESSION_free(r.session);
    r.session = old;
    sl_tls_context_flush_sessions(world->context);
    expect_resumed(&r, 1, false, false);
    resumption_free(&r);
}

/* P10: every handshake has a key share of its own. */
static void test_p10_fresh_key_shares(void **state)
{
    SSL_CTX *c = test_client_ctx(world, 0, NULL), *o = test_origin_ctx(world, CERT_GOOD, TEST_EC, 0, NULL);
    uint8_t hello[2][2048] = {{0}};
    size_t len[2];
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct test_flow *f = test_flow_new(world, c, o, TEST_HOST);
        assert_int_equal(test_flow_hello(f), SL_OK);
        struct sl_server_leg_options options = {
            .offer = &f->offer, .sni = TEST_HOST, .verifier = world->verifier, .trust = world->trust, .no_resumption = true};
        assert_int_equal(sl_server_leg_new(world->context, &options, &f->server_leg), SL_OK);
        sl_leg_step(sl_server_leg_base(f->server_leg));
        const uint8_t *bytes = sl_leg_output(sl_server_leg_base(f->server_leg), &len[i]);
        assert_true(len[i] <= sizeof hello[i]);
        memcpy(hello[i], bytes, len[i]);
        test_flow_free(f);
    }
    assert_int_equal(len[0], len[1]);
    size_t differ = 0;
    for (size_t i = 0; i < len[0]; i++)
        differ += hello[0][i] != hello[1][i];
    assert_true(differ > 32 + 32 + 24); /* random, session id, key share */
    SSL_CTX_free(c);
    SSL_CTX_free(o);
}

/* P5, P6, P11: what goes to the server is within what the client offered. */
static void test_p5_our_hello_is_within_the_clients(void **state)
{
    SSL_CTX *c = test_client_ctx(world, 0, NULL), *o = test_origin_ctx(world, CERT_GOOD, TEST_EC, 0, NULL);
    struct test_flow *f = test_flow_new(world, c, o, TEST_HOST);
    struct sl_hello_reader *ours = NULL;
    size_t len;
    (void)state;
    SSL_set_cipher_list(f->client.ssl, "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:AES128-SHA");
    SSL_set_ciphersuites(f->client.ssl, "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256");
    SSL_set1_groups_list(f->client.ssl, "P-384:X25519");
    assert_int_equal(test_flow_hello(f), SL_OK);
    struct sl_server_leg_options options = {
        .offer = &f->offer, .sni = TEST_HOST, .verifier = world->verifier, .trust = world->trust};
    assert_int_equal(sl_server_leg_new(world->context, &options, &f->server_leg), SL_OK);
    sl_leg_step(sl_server_leg_base(f->server_leg));
    const uint8_t *bytes = sl_leg_output(sl_server_leg_base(f->server_leg), &len);
    assert_int_equal(sl_hello_reader_new(&ours), SL_OK);
    assert_int_equal(sl_hello_reader_feed(ours, bytes, len), SL_HELLO_COMPLETE);
    const struct sl_client_hello *h = sl_hello_reader_hello(ours), *theirs = sl_hello_reader_hello(f->reader);
    static const uint16_t suites[] = {0x1303, 0x1301, 0xc030, 0xc02b, 0x00ff}, groups[] = {0x0018, 0x001d};
    assert_int_equal(h->suites.count, 5);
    assert_memory_equal(h->suites.at, suites, sizeof suites);
    assert_int_equal(h->groups.count, 2);
    assert_memory_equal(h->groups.at, groups, sizeof groups);
    for (size_t i = 0; i < h->sigalgs.count; i++)
        assert_true(sl_u16_list_has(&theirs->sigalgs, h->sigalgs.at[i]));
    assert_false(h->early_data || h->has_alpn || h->grease);
    assert_int_equal(sl_cursor_left(&h->compressions), 1);
    assert_string_equal(h->sni, TEST_HOST);
    sl_hello_reader_free(ours);
    test_flow_free(f);
    SSL_CTX_free(c);
    SSL_CTX_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matrix),
        cmocka_unit_test(test_bytes_in_any_chunks),
        cmocka_unit_test(test_eager_client),
        cmocka_unit_test(test_v11_resumption_is_bound),
        cmocka_unit_test(test_p12_ticket_keys_rotate),
        cmocka_unit_test(test_p10_fresh_key_shares),
        cmocka_unit_test(test_p5_our_hello_is_within_the_clients),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
