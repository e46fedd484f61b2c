/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handshake pairs a second of one core: a pair is what an interception costs, one client half towards the server and one server
 * half towards the client. The halves at the other ends (the real client, the real server) run too, but outside the clock.
 *
 *   sluice  ClientHello read and parsed, offer, server leg with verification, cached leaf, client leg, tickets absorbed, keys
 * handed over plain   an OpenSSL client that verifies the chain, an OpenSSL server, two long-lived SSL_CTX, memory BIOs, X25519,
 * the same keys
 *
 * CPU time of the thread, runs of both alternating; the median of the rounds counts.
 */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pki/ca.h"
#include "pki/mint.h"
#include "pki/verify.h"
#include "record/tls.h"
#include "tls/client_hello.h"
#include "tls/client_leg.h"
#include "tls/handover.h"
#include "tls/offer.h"
#include "tls/server_leg.h"

enum { ROUNDS = 9, PAIRS = 120, WARM_UP = 20, SCRATCH = 65536 };
#define HOST "www.example.com"

struct setting {
    const char *name;
    uint16_t version;
    bool rsa;     /* key of the server and of the leaf */
    bool resumed; /* both legs */
};

static const struct setting settings[] = {
    {"tls13_ecdsa", SL_TLS13, false, false},
    {"tls12_ecdsa", SL_TLS12, false, false},
    {"tls13_rsa", SL_TLS13, true, false},
    {"tls13_resumed", SL_TLS13, false, true},
};

static void require(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "bench_tls: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

/* ---- the clock that only our halves run under ---- */

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * SL_NS_PER_S + (uint64_t)t.tv_nsec;
}

static uint64_t spent, started;

static void begin(void)
{
    started = cpu_ns();
}

static void end(void)
{
    spent += cpu_ns() - started;
}

/* ---- the world ---- */

static struct {
    EVP_PKEY *root_key, *server_key;
    X509 *root, *intermediate, *server_cert;
    struct sl_trust *trust;
    struct sl_verifier *verifier;
    struct sl_ca *ca;
    struct sl_minter *minter;
    struct sl_leaf *leaf;
    struct sl_tls_shared *shared;
    struct sl_tls_context *context;
    SSL_CTX *origin, *client;             /* the real ends */
    SSL_CTX *plain_client, *plain_server; /* the plain loop's halves */
    SSL_SESSION *client_session[2];       /* the real client's: with sluice, with the plain loop */
    SSL_SESSION *plain_session;           /* the plain client half's */
} world;

static void extend(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    require(e && X509_add_ext(cert, e, -1), "extension");
    X509_EXTENSION_free(e);
}

static X509 *certify(const char *name, EVP_PKEY *key, bool ca, X509 *issuer, EVP_PKEY *issuer_key)
{
    static long serial = 1;
    X509 *cert = X509_new();
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(cert), -86400);
    X509_gmtime_adj(X509_getm_notAfter(cert), 90 * 86400);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(issuer ? issuer : cert));
    X509_set_pubkey(cert, key);
    extend(cert, NID_basic_constraints, ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    extend(cert, NID_key_usage, ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature,keyEncipherment");
    if (!ca) {
        extend(cert, NID_subject_alt_name, "DNS:" HOST);
        extend(cert, NID_ext_key_usage, "serverAuth");
    }
    require(X509_sign(cert, issuer ? issuer_key : key, EVP_sha256()) > 0, "sign");
    return cert;
}

static void pin_version(SSL_CTX *ctx, const struct setting *s)
{
    SSL_CTX_set_min_proto_version(ctx, s->version);
    SSL_CTX_set_max_proto_version(ctx, s->version);
    SSL_CTX_set1_groups_list(ctx, "X25519:P-256");
    SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM");
    SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256");
}

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    SSL_SESSION **slot = SSL_get_app_data(ssl);
    if (!slot)
        return 0;
    SSL_SESSION_free(*slot);
    *slot = session;
    return 1;
}

static SSL_CTX *client_ctx(const struct setting *s, X509 *anchor)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    require(ctx && X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), anchor), "client");
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
    pin_version(ctx, s);
    return ctx;
}

static SSL_CTX *server_ctx(const struct setting *s, X509 *cert, EVP_PKEY *key, X509 *chain)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    require(ctx && SSL_CTX_use_certificate(ctx, cert) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1, "server");
    if (chain)
        SSL_CTX_add1_chain_cert(ctx, chain);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"bench", 5);
    pin_version(ctx, s);
    return ctx;
}

static void set_up(const struct setting *s)
{
    EVP_PKEY *intermediate_key = EVP_EC_gen("P-256");
    struct sl_ca_options ca = {.common_name = "Bench CA"};
    unsigned char *der = NULL;

    memset(&world, 0, sizeof world);
    world.root_key = EVP_EC_gen("P-256");
    world.server_key = s->rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    world.root = certify("Root", world.root_key, true, NULL, NULL);
    world.intermediate = certify("Intermediate", intermediate_key, true, world.root, world.root_key);
    world.server_cert = certify(HOST, world.server_key, false, world.intermediate, intermediate_key);
    int len = i2d_X509(world.root, &der);
    struct sl_trust_item item = {.kind = SL_TRUST_ANCHOR, .name = "root", .der = {der, (size_t)len}};
    struct sl_trust_options trust = {.items = &item, .item_count = 1, .version = 1};
    require(sl_trust_new(&trust, &world.trust, NULL) == SL_OK, "trust");
    require(sl_verifier_new(NULL, &world.verifier) == SL_OK, "verifier");
    require(sl_ca_generate(&ca, false, &world.ca, NULL) == SL_OK, "ca");
    require(sl_minter_new(&(struct sl_minter_options){0}, &world.minter, NULL) == SL_OK, "minter");
    require(sl_tls_shared_new(sl_clock_system(), NULL, &world.shared) == SL_OK, "shared");
    require(sl_tls_context_new(world.shared, &world.context) == SL_OK, "context");
    world.origin = server_ctx(s, world.server_cert, world.server_key, world.intermediate);
    world.client = client_ctx(s, sl_ca_certificate(world.ca));
    world.plain_client = client_ctx(s, world.root);
    if (s->rsa) /* the leaf has the key type that the setting names */
        SSL_CTX_set1_sigalgs_list(world.client, "rsa_pss_rsae_sha256:rsa_pkcs1_sha256");
    OPENSSL_free(der);
    EVP_PKEY_free(intermediate_key);
}

static void tear_down(void)
{
    SSL_SESSION_free(world.client_session[0]);
    SSL_SESSION_free(world.client_session[1]);
    SSL_SESSION_free(world.plain_session);
    SSL_CTX_free(world.origin);
    SSL_CTX_free(world.client);
    SSL_CTX_free(world.plain_client);
    SSL_CTX_free(world.plain_server);
    sl_tls_context_free(world.context);
    sl_tls_shared_free(world.shared);
    sl_leaf_unref(world.leaf);
    sl_minter_free(world.minter);
    sl_ca_unref(world.ca);
    sl_verifier_free(world.verifier);
    sl_trust_unref(world.trust);
    X509_free(world.server_cert);
    X509_free(world.intermediate);
    X509_free(world.root);
    EVP_PKEY_free(world.server_key);
    EVP_PKEY_free(world.root_key);
}

/* ---- ends over memory ---- */

struct end {
    SSL *ssl;
    BIO *in, *out;
};

static struct end end_new(SSL_CTX *ctx, bool server)
{
    struct end e = {.ssl = SSL_new(ctx), .in = BIO_new(BIO_s_mem()), .out = BIO_new(BIO_s_mem())};
    require(e.ssl && e.in && e.out, "end");
    BIO_set_mem_eof_return(e.in, -1);
    SSL_set_bio(e.ssl, e.in, e.out);
    if (server)
        SSL_set_accept_state(e.ssl);
    else
        SSL_set_connect_state(e.ssl);
    return e;
}

static void end_free(struct end *e)
{
    SSL_set_shutdown(e->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(e->ssl);
}

static void end_step(struct end *e)
{
    uint8_t byte;
    if (SSL_is_init_finished(e->ssl))
        SSL_read(e->ssl, &byte, 1); /* takes tickets */
    else
        SSL_do_handshake(e->ssl);
    ERR_clear_error();
}

static void resume(SSL *ssl, SSL_SESSION **slot, const struct setting *s)
{
    SSL_set_app_data(ssl, slot);
    if (s->resumed && *slot) {
        SSL_set_session(ssl, *slot);
        SSL_SESSION_free(*slot);
        *slot = NULL;
    }
}

static size_t carry(BIO *from, BIO *to)
{
    static uint8_t bytes[SCRATCH];
    int n = BIO_read(from, bytes, sizeof bytes);
    if (n > 0)
        BIO_write(to, bytes, n);
    return n > 0 ? (size_t)n : 0;
}

/* ---- one pair through plain OpenSSL ---- */

static void plain_half(SSL_CTX *ours, SSL_CTX *theirs, bool server, const struct setting *s, bool expect_resumed)
{
    struct end other = end_new(theirs, !server);
    if (server) {
        resume(other.ssl, &world.client_session[1], s);
        SSL_set_tlsext_host_name(other.ssl, HOST);
    }
    begin();
    struct end mine = end_new(ours, server);
    if (!server) {
        resume(mine.ssl, &world.plain_session, s);
        SSL_set_tlsext_host_name(mine.ssl, HOST);
        SSL_set1_host(mine.ssl, HOST);
    }
    end();
    for (int i = 0; i < 8; i++) {
        end_step(&other);
        begin();
        size_t moved = carry(other.out, mine.in);
        end_step(&mine);
        moved += carry(mine.out, other.in);
        end();
        if (moved == 0 && i > 0)
            break;
    }
    require(SSL_is_init_finished(mine.ssl) && SSL_is_init_finished(other.ssl), "plain handshake");
    require(SSL_session_reused(mine.ssl) == expect_resumed, "plain resumption");
    begin();
    end_free(&mine);
    end();
    end_free(&other);
}

static void plain_pair(const struct setting *s, bool expect_resumed)
{
    plain_half(world.plain_client, world.origin, false, s, expect_resumed);
    plain_half(world.plain_server, world.client, true, s, expect_resumed);
}

/* ---- one pair through Sluice ---- */

static bool leg_turn(struct sl_leg *leg, struct end *other)
{
    static uint8_t bytes[SCRATCH];
    size_t len;
    int n = BIO_read(other->out, bytes, sizeof bytes);

    begin();
    if (n > 0)
        require(sl_leg_feed(leg, bytes, (size_t)n) == SL_OK, "feed");
    enum sl_leg_state state = sl_leg_step(leg);
    const uint8_t *out = sl_leg_output(leg, &len);
    end();
    require(state != SL_LEG_FAILED, sl_leg_info(leg)->error);
    if (len > 0)
        BIO_write(other->in, out, (int)len);
    begin();
    sl_leg_consume(leg, len);
    end();
    end_step(other);
    return n > 0 || len > 0;
}

static struct sl_leaf *leaf_for(const struct sl_client_hello *hello, const struct sl_leg_info *info, struct sl_server_leg *leg)
{
    struct sl_mint_request request = {
        .ca = world.ca, .upstream = sl_server_leg_certificate(leg), .verdict = sl_server_leg_verdict(leg), .host = HOST};
    require(sl_client_leg_leaf_key(hello, info->version, info->suite, SL_PROFILE_MODERN, &request.key_type) == SL_OK, "leaf key");
    if (!world.leaf) /* cached: minted once */
        require(sl_mint(world.minter, &request, &world.leaf) == SL_OK, "mint");
    return world.leaf;
}

static void hand_over(struct sl_leg *server, struct sl_leg *client)
{
    struct sl_record_leg *a = NULL, *b = NULL;
    struct sl_buf rest;
    sl_buf_init(&rest, SCRATCH);
    require(sl_leg_hand_over(server, &a, &rest) == SL_OK && sl_leg_hand_over(client, &b, &rest) == SL_OK, "hand-over");
    sl_buf_free(&rest);
    sl_record_leg_free(a);
    sl_record_leg_free(b);
}

static void sluice_pair(const struct setting *s, bool expect_resumed)
{
    static uint8_t bytes[SCRATCH];
    struct end client = end_new(world.client, false), origin = end_new(world.origin, true);
    struct sl_hello_reader *reader = NULL;
    struct sl_server_leg *server_leg = NULL;
    struct sl_client_leg *client_leg = NULL;
    struct sl_offer offer;

    resume(client.ssl, &world.client_session[0], s);
    SSL_set_tlsext_host_name(client.ssl, HOST);
    end_step(&client);
    int n = BIO_read(client.out, bytes, sizeof bytes);
    begin();
    require(sl_hello_reader_new(&reader) == SL_OK && sl_hello_reader_feed(reader, bytes, (size_t)n) == SL_HELLO_COMPLETE, "hello");
    const struct sl_client_hello *hello = sl_hello_reader_hello(reader);
    require(sl_offer_make(hello, SL_PROFILE_MODERN, &offer, NULL) == SL_OK, "offer");
    struct sl_server_leg_options so = {.offer = &offer,
                                       .sni = hello->sni,
                                       .verifier = world.verifier,
                                       .trust = world.trust,
                                       .address = "192.0.2.1",
                                       .port = 443,
                                       .revocation = SL_REVOCATION_SOFT,
                                       .no_resumption = !s->resumed,
                                       .rule_id = 1,
                                       .config_version = 1};
    require(sl_server_leg_new(world.context, &so, &server_leg) == SL_OK, "server leg");
    struct sl_leg *up = sl_server_leg_base(server_leg);
    end();
    while (leg_turn(up, &origin))
        ;
    require(sl_leg_state(up) == SL_LEG_DONE, "server leg unfinished");
    begin();
    const struct sl_leg_info *info = sl_leg_info(up);
    struct sl_client_leg_options co = {.hello = hello,
                                       .version = info->version,
                                       .server_suite = info->suite,
                                       .leaf = leaf_for(hello, info, server_leg),
                                       .verdict = sl_server_leg_verdict(server_leg),
                                       .rule_id = 1,
                                       .config_version = 1};
    require(sl_client_leg_new(world.context, &co, &client_leg) == SL_OK, "client leg");
    struct sl_leg *down = sl_client_leg_base(client_leg);
    size_t raw_len;
    const uint8_t *raw = sl_hello_reader_raw(reader, &raw_len);
    require(sl_leg_feed(down, raw, raw_len) == SL_OK, "feed");
    end();
    while (leg_turn(down, &client))
        ;
    require(sl_leg_state(down) == SL_LEG_DONE && SSL_is_init_finished(client.ssl), "client leg unfinished");
    require(info->resumed == expect_resumed && sl_leg_info(down)->resumed == expect_resumed, "resumption");
    begin();
    require(sl_server_leg_absorb(server_leg) == SL_OK, "absorb");
    hand_over(up, down);
    sl_server_leg_free(server_leg);
    sl_client_leg_free(client_leg);
    sl_hello_reader_free(reader);
    end();
    end_free(&client);
    end_free(&origin);
}

/* ---- rounds ---- */

static double pairs_per_s(void (*pair)(const struct setting *, bool), const struct setting *s)
{
    spent = 0;
    for (int i = 0; i < PAIRS; i++)
        pair(s, s->resumed);
    return PAIRS / ((double)spent / SL_NS_PER_S);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(const struct setting *s)
{
    double ours[ROUNDS], plain[ROUNDS], ratio[ROUNDS];

    set_up(s);
    sluice_pair(s, false);
    world.plain_server = server_ctx(s, world.leaf->cert, world.leaf->key, NULL);
    plain_pair(s, false);
    for (int i = 0; i < WARM_UP; i++) {
        sluice_pair(s, s->resumed);
        plain_pair(s, s->resumed);
    }
    for (int i = 0; i < ROUNDS; i++) {
        ours[i] = pairs_per_s(sluice_pair, s);
        plain[i] = pairs_per_s(plain_pair, s);
        ratio[i] = ours[i] / plain[i];
    }
    qsort(ours, ROUNDS, sizeof ours[0], by_value);
    qsort(plain, ROUNDS, sizeof plain[0], by_value);
    qsort(ratio, ROUNDS, sizeof ratio[0], by_value);
    printf("{\"name\": \"handshake.pairs_per_s.%s\", \"value\": %.0f, \"unit\": \"1/s\", \"peer\": %.0f, \"ratio\": %.2f}\n",
           s->name, ours[ROUNDS / 2], plain[ROUNDS / 2], ratio[ROUNDS / 2]);
    fflush(stdout);
    tear_down();
}

int main(void)
{
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        measure(&settings[i]);
    return 0;
}
