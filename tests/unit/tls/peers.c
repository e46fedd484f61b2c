/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "peers.h"

enum { SCRATCH = 256 * 1024, DAY_S = 86400 };

/* ---- certificates ---- */

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    assert_int_equal(X509_add_ext(cert, e, -1), 1);
    X509_EXTENSION_free(e);
}

/* issuer NULL: self-signed. */
static X509 *make_cert(const char *name, const char *san, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key, int from_days,
                       int to_days)
{
    static long serial = 1000;
    X509 *cert = X509_new();
    bool ca = san == NULL;

    assert_non_null(cert);
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(cert), (long)from_days * DAY_S);
    X509_gmtime_adj(X509_getm_notAfter(cert), (long)to_days * DAY_S);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(issuer ? issuer : cert));
    X509_set_pubkey(cert, key);
    add_extension(cert, issuer ? issuer : cert, NID_basic_constraints, ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    add_extension(cert, issuer ? issuer : cert, NID_subject_key_identifier, "hash");
    add_extension(cert, issuer ? issuer : cert, NID_key_usage,
                  ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature,keyEncipherment");
    if (san) {
        add_extension(cert, issuer ? issuer : cert, NID_subject_alt_name, san);
        add_extension(cert, issuer ? issuer : cert, NID_ext_key_usage, "serverAuth");
    }
    assert_true(X509_sign(cert, issuer ? issuer_key : key, EVP_sha256()) > 0);
    return cert;
}

static void make_certs(struct test_world *w)
{
    EVP_PKEY *stranger_key = EVP_EC_gen("P-256");
    X509 *stranger = make_cert("Stranger", NULL, stranger_key, NULL, NULL, -1, 100);
    const char *san = "DNS:" TEST_HOST ",IP:192.0.2.1";

    w->root_key = EVP_EC_gen("P-256");
    w->keys[TEST_EC] = EVP_EC_gen("P-256");
    w->keys[TEST_RSA] = EVP_RSA_gen(2048);
    w->root = make_cert("Test Root", NULL, w->root_key, NULL, NULL, -10, 1000);
    for (int k = 0; k < 2; k++) {
        EVP_PKEY *key = w->keys[k];
        w->certs[CERT_GOOD][k] = make_cert(TEST_HOST, san, key, w->root, w->root_key, -1, 90);
        w->certs[CERT_EXPIRED][k] = make_cert(TEST_HOST, san, key, w->root, w->root_key, -9, -1);
        w->certs[CERT_SELF_SIGNED][k] = make_cert(TEST_HOST, san, key, NULL, NULL, -1, 90);
        w->certs[CERT_OTHER_HOST][k] = make_cert("other.example", "DNS:other.example", key, w->root, w->root_key, -1, 90);
        w->certs[CERT_UNKNOWN_ROOT][k] = make_cert(TEST_HOST, san, key, stranger, stranger_key, -1, 90);
    }
    X509_free(stranger);
    EVP_PKEY_free(stranger_key);
}

static void make_trust(struct test_world *w)
{
    unsigned char *der = NULL;
    int len = i2d_X509(w->root, &der);
    struct sl_trust_item item = {.kind = SL_TRUST_ANCHOR, .name = "test root", .der = {der, (size_t)len}};
    struct sl_trust_options options = {.items = &item, .item_count = 1, .version = 1};
    struct sl_diag diag = {""};

    assert_true(len > 0);
    sl_err err = sl_trust_new(&options, &w->trust, &diag);
    if (err)
        fail_msg("trust: %s %s", sl_err_str(err), diag.text);
    OPENSSL_free(der);
}

struct test_world *test_world_new(void)
{
    struct test_world *w = calloc(1, sizeof *w);
    struct sl_ca_options ca = {.common_name = "Decryption CA", .key = SL_CA_P256};

    make_certs(w);
    make_trust(w);
    assert_int_equal(sl_verifier_new(NULL, &w->verifier), SL_OK);
    assert_int_equal(sl_ca_generate(&ca, false, &w->ca, NULL), SL_OK);
    assert_int_equal(sl_minter_new(&(struct sl_minter_options){0}, &w->minter, NULL), SL_OK);
    sl_clock_manual_init(&w->clock, (uint64_t)time(NULL) * SL_NS_PER_S);
    assert_int_equal(sl_tls_shared_new(&w->clock.clock, NULL, &w->shared), SL_OK);
    assert_int_equal(sl_tls_context_new(w->shared, &w->context), SL_OK);
    return w;
}

void test_world_free(struct test_world *w)
{
    sl_tls_context_free(w->context);
    sl_tls_shared_free(w->shared);
    sl_minter_free(w->minter);
    sl_ca_unref(w->ca);
    sl_verifier_free(w->verifier);
    sl_trust_unref(w->trust);
    X509_free(w->root);
    EVP_PKEY_free(w->root_key);
    for (int k = 0; k < 2; k++) {
        EVP_PKEY_free(w->keys[k]);
        for (int c = 0; c < CERT_COUNT; c++)
            X509_free(w->certs[c][k]);
    }
    free(w);
}

/* ---- peers ---- */

static void set_suites(SSL_CTX *ctx, uint16_t version, const char *suites)
{
    if (version) {
        SSL_CTX_set_min_proto_version(ctx, version);
        SSL_CTX_set_max_proto_version(ctx, version);
    }
    if (suites)
        assert_int_equal(
            strncmp(suites, "TLS_", 4) == 0 ? SSL_CTX_set_ciphersuites(ctx, suites) : SSL_CTX_set_cipher_list(ctx, suites), 1);
}

SSL_CTX *test_origin_ctx(const struct test_world *w, enum test_cert cert, enum test_key key, uint16_t version, const char *suites)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    assert_non_null(ctx);
    assert_int_equal(SSL_CTX_use_certificate(ctx, w->certs[cert][key]), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, w->keys[key]), 1);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"origin", 6);
    set_suites(ctx, version, suites);
    return ctx;
}

SSL_CTX *test_client_ctx(const struct test_world *w, uint16_t version, const char *suites)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    assert_non_null(ctx);
    assert_int_equal(X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), sl_ca_certificate(w->ca)), 1);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT);
    set_suites(ctx, version, suites);
    return ctx;
}

struct test_peer test_peer_new(SSL_CTX *ctx, bool server)
{
    struct test_peer p = {.ssl = SSL_new(ctx), .in = BIO_new(BIO_s_mem()), .out = BIO_new(BIO_s_mem())};
    assert_true(p.ssl && p.in && p.out);
    BIO_set_mem_eof_return(p.in, -1);
    SSL_set_bio(p.ssl, p.in, p.out);
    if (server)
        SSL_set_accept_state(p.ssl);
    else
        SSL_set_connect_state(p.ssl);
    return p;
}

void test_peer_free(struct test_peer *p)
{
    if (p->ssl)
        SSL_set_shutdown(p->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* keeps the session resumable */
    SSL_free(p->ssl);
    p->ssl = NULL;
}

/* ---- moving bytes ---- */

static size_t leg_to_peer(struct sl_leg *leg, struct test_peer *p)
{
    size_t len;
    const uint8_t *bytes = sl_leg_output(leg, &len);
    if (len > 0) {
        assert_int_equal(BIO_write(p->in, bytes, (int)len), (int)len);
        sl_leg_consume(leg, len);
    }
    return len;
}

/* One move of at most chunk bytes. */
static size_t peer_to_leg(struct test_peer *p, struct sl_leg *leg, size_t chunk)
{
    static uint8_t bytes[SCRATCH];
    int n = BIO_read(p->out, bytes, (int)(chunk && chunk < sizeof bytes ? chunk : sizeof bytes));
    if (n <= 0)
        return 0;
    p->bytes_out += (size_t)n;
    assert_int_equal(sl_leg_feed(leg, bytes, (size_t)n), SL_OK);
    return (size_t)n;
}

static enum sl_leg_state pump(struct sl_leg *leg, struct test_peer *p, size_t chunk)
{
    for (;;) {
        size_t moved = leg_to_peer(leg, p);
        SSL_do_handshake(p->ssl);
        ERR_clear_error();
        moved += peer_to_leg(p, leg, chunk);
        enum sl_leg_state before = sl_leg_state(leg), state = sl_leg_step(leg);
        if (moved == 0 && state == before)
            return state;
    }
}

/* ---- flow ---- */

struct test_flow *test_flow_new(struct test_world *w, SSL_CTX *client, SSL_CTX *origin, const char *sni)
{
    struct test_flow *f = calloc(1, sizeof *f);
    f->world = w;
    f->client = test_peer_new(client, false);
    f->origin = test_peer_new(origin, true);
    if (sni)
        SSL_set_tlsext_host_name(f->client.ssl, sni);
    assert_int_equal(sl_hello_reader_new(&f->reader), SL_OK);
    return f;
}

void test_flow_free(struct test_flow *f)
{
    sl_transcoder_free(f->to_server);
    sl_transcoder_free(f->to_client);
    sl_server_leg_free(f->server_leg);
    sl_client_leg_free(f->client_leg);
    sl_leaf_unref(f->leaf);
    sl_hello_reader_free(f->reader);
    test_peer_free(&f->client);
    test_peer_free(&f->origin);
    free(f);
}

sl_err test_flow_hello(struct test_flow *f)
{
    static uint8_t bytes[SCRATCH];
    SSL_do_handshake(f->client.ssl);
    ERR_clear_error();
    int n = BIO_read(f->client.out, bytes, sizeof bytes);
    assert_true(n > 0);
    assert_int_equal(sl_hello_reader_feed(f->reader, bytes, (size_t)n), SL_HELLO_COMPLETE);
    return sl_offer_make(sl_hello_reader_hello(f->reader), f->profile, &f->offer, NULL);
}

enum sl_leg_state test_flow_server_leg(struct test_flow *f)
{
    const struct sl_client_hello *hello = sl_hello_reader_hello(f->reader);
    if (!f->server_leg) {
        struct sl_server_leg_options options = {.offer = &f->offer,
                                                .sni = hello->sni,
                                                .verifier = f->world->verifier,
                                                .trust = f->world->trust,
                                                .host = f->host,
                                                .address = "192.0.2.1",
                                                .port = 443,
                                                .revocation = SL_REVOCATION_SOFT,
                                                .present_untrusted = f->present_untrusted,
                                                .rule_id = f->rule_id,
                                                .config_version = 1};
        assert_int_equal(sl_server_leg_new(f->world->context, &options, &f->server_leg), SL_OK);
    }
    sl_leg_step(sl_server_leg_base(f->server_leg));
    return pump(sl_server_leg_base(f->server_leg), &f->origin, f->chunk);
}

static void mint(struct test_flow *f)
{
    const struct sl_client_hello *hello = sl_hello_reader_hello(f->reader);
    const struct sl_leg_info *server = sl_leg_info(sl_server_leg_base(f->server_leg));
    struct sl_mint_request request = {.ca = f->world->ca,
                                      .upstream = sl_server_leg_certificate(f->server_leg),
                                      .verdict = sl_server_leg_verdict(f->server_leg),
                                      .host = f->host ? f->host : hello->sni};
    assert_non_null(request.upstream);
    assert_non_null(request.verdict);
    assert_int_equal(sl_client_leg_leaf_key(hello, server->version, server->suite, f->profile, &request.key_type), SL_OK);
    assert_int_equal(sl_mint(f->world->minter, &request, &f->leaf), SL_OK);
}

enum sl_leg_state test_flow_client_leg(struct test_flow *f)
{
    const struct sl_leg_info *server = sl_leg_info(sl_server_leg_base(f->server_leg));
    size_t len;
    const uint8_t *raw = sl_hello_reader_raw(f->reader, &len);

    if (!f->leaf)
        mint(f);
    if (!f->client_leg) {
        struct sl_client_leg_options options = {.hello = sl_hello_reader_hello(f->reader),
                                                .profile = f->profile,
                                                .version = server->version,
                                                .server_suite = server->suite,
                                                .alpn = server->alpn,
                                                .alpn_len = server->alpn_len,
                                                .leaf = f->leaf,
                                                .verdict = sl_server_leg_verdict(f->server_leg),
                                                .rule_id = f->rule_id,
                                                .config_version = 1};
        assert_int_equal(sl_client_leg_new(f->world->context, &options, &f->client_leg), SL_OK);
        assert_int_equal(sl_leg_feed(sl_client_leg_base(f->client_leg), raw, len), SL_OK);
    }
    struct sl_leg *leg = sl_client_leg_base(f->client_leg);
    sl_leg_step(leg);
    if (f->eager_client) { /* Finished and the first data in one segment */
        leg_to_peer(leg, &f->client);
        if (SSL_do_handshake(f->client.ssl) == 1)
            assert_int_equal(SSL_write(f->client.ssl, "eager", 5), 5);
    }
    return pump(leg, &f->client, f->chunk);
}

/* ---- after the handshakes ---- */

static bool relays_records(const struct test_flow *f)
{
    return f->to_server != NULL;
}

/* Feeds bytes to a transcoder and what comes out to the peer. */
static void transcode(struct sl_transcoder *t, const uint8_t *bytes, size_t len, struct test_peer *to)
{
    static uint8_t out[SCRATCH];
    do {
        size_t consumed = 0, produced = 0;
        assert_int_equal(sl_transcoder_feed(t, bytes, len, out, sizeof out, &consumed, &produced), SL_OK);
        bytes += consumed;
        len -= consumed;
        if (produced > 0)
            assert_int_equal(BIO_write(to->in, out, (int)produced), (int)produced);
    } while (len > 0 || sl_transcoder_pending(t) > 0);
}

void test_flow_hand_over(struct test_flow *f)
{
    struct sl_leg *server = sl_server_leg_base(f->server_leg), *client = sl_client_leg_base(f->client_leg);
    struct sl_record_leg *server_keys = NULL, *client_keys = NULL;
    struct sl_transcoder_options down = {.from_server = true, .drop_tickets = true}, up = {0};
    struct sl_buf from_server, from_client;

    if (!sl_leg_can_hand_over(server) || !sl_leg_can_hand_over(client))
        return;
    leg_to_peer(server, &f->origin);
    leg_to_peer(client, &f->client);
    sl_buf_init(&from_server, SL_LEG_INPUT_MAX);
    sl_buf_init(&from_client, SL_LEG_INPUT_MAX);
    assert_int_equal(sl_leg_hand_over(server, &server_keys, &from_server), SL_OK);
    assert_int_equal(sl_leg_hand_over(client, &client_keys, &from_client), SL_OK);
    assert_int_equal(sl_leg_hand_over(client, &client_keys, &from_client), SL_ERR_STATE);
    assert_int_equal(sl_transcoder_new(&client_keys->client_write, &server_keys->client_write, &up, &f->to_server), SL_OK);
    assert_int_equal(sl_transcoder_new(&server_keys->server_write, &client_keys->server_write, &down, &f->to_client), SL_OK);
    transcode(f->to_server, sl_buf_data(&from_client), sl_buf_len(&from_client), &f->origin);
    transcode(f->to_client, sl_buf_data(&from_server), sl_buf_len(&from_server), &f->client);
    sl_buf_free(&from_server);
    sl_buf_free(&from_client);
    sl_record_leg_free(server_keys);
    sl_record_leg_free(client_keys);
}

static void openssl_relay(struct sl_leg *from, struct sl_leg *to)
{
    static uint8_t bytes[SCRATCH];
    size_t n;
    while (sl_leg_app_read(from, bytes, sizeof bytes, &n) == SL_OK)
        assert_int_equal(sl_leg_app_write(to, bytes, n), SL_OK);
}

static void carry(struct test_flow *f, bool up)
{
    static uint8_t bytes[SCRATCH];
    struct test_peer *from = up ? &f->client : &f->origin, *to = up ? &f->origin : &f->client;
    if (relays_records(f)) {
        int n = BIO_read(from->out, bytes, sizeof bytes);
        if (n > 0)
            transcode(up ? f->to_server : f->to_client, bytes, (size_t)n, to);
        return;
    }
    struct sl_leg *in = up ? sl_client_leg_base(f->client_leg) : sl_server_leg_base(f->server_leg);
    struct sl_leg *out = up ? sl_server_leg_base(f->server_leg) : sl_client_leg_base(f->client_leg);
    peer_to_leg(from, in, 0);
    openssl_relay(in, out);
    leg_to_peer(out, to);
}

static void send_and_compare(struct test_flow *f, bool up, const char *text)
{
    char got[4096];
    struct test_peer *from = up ? &f->client : &f->origin, *to = up ? &f->origin : &f->client;
    int len = (int)strlen(text);

    assert_int_equal(SSL_write(from->ssl, text, len), len);
    carry(f, up);
    int n = SSL_read(to->ssl, got, sizeof got);
    if (n != len)
        ERR_print_errors_fp(stderr);
    assert_int_equal(n, len);
    assert_memory_equal(got, text, (size_t)len);
}

void test_flow_exchange(struct test_flow *f, const char *text)
{
    send_and_compare(f, true, text);
    send_and_compare(f, false, text);
    send_and_compare(f, true, "and again");
    send_and_compare(f, false, "and again");
}

void test_flow_run(struct test_flow *f)
{
    assert_int_equal(test_flow_hello(f), SL_OK);
    enum sl_leg_state state = test_flow_server_leg(f);
    if (state != SL_LEG_DONE)
        fail_msg("server leg: cause %d, %s", (int)sl_leg_info(sl_server_leg_base(f->server_leg))->cause,
                 sl_leg_info(sl_server_leg_base(f->server_leg))->error);
    state = test_flow_client_leg(f);
    if (state != SL_LEG_DONE)
        fail_msg("client leg: cause %d, %s", (int)sl_leg_info(sl_client_leg_base(f->client_leg))->cause,
                 sl_leg_info(sl_client_leg_base(f->client_leg))->error);
    assert_int_equal(sl_server_leg_absorb(f->server_leg), SL_OK);
    test_flow_hand_over(f);
    if (f->eager_client) {
        char got[16];
        carry(f, true);
        assert_int_equal(SSL_read(f->origin.ssl, got, sizeof got), 5);
        assert_memory_equal(got, "eager", 5);
    }
    test_flow_exchange(f, "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n");
}
