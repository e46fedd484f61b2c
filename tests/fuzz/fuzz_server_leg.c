/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The leg to a server that answers what it likes. Input: a mode, then
 *   mode even  bytes fed as they are
 *   mode odd   a real server answers; the rest of the input are changes to its flights: offset (2 bytes), mask (1 byte)
 * Whatever comes, the leg ends in a state that has a cause, or waits.
 */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#include "pki/ca.h"
#include "record/tls.h"
#include "tls/handover.h"
#include "tls/server_leg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    struct sl_trust *trust;
    struct sl_verifier *verifier;
    struct sl_tls_shared *shared;
    struct sl_tls_context *context;
    SSL_CTX *origin[2];
} world;

static void require(int ok)
{
    if (!ok)
        abort();
}

static struct sl_offer make_offer(void)
{
    static const uint16_t suites[] = {0x1301, 0x1303, 0xc02b, 0xc02f, 0x009e}, groups[] = {0x001d, 0x0017, 0x0018},
                          sigalgs[] = {0x0403, 0x0804, 0x0401};
    struct sl_offer o = {.version_min = SL_TLS12, .version_max = SL_TLS13, .suite_count = 5, .group_count = 3, .sigalg_count = 3};
    memcpy(o.suites, suites, sizeof suites);
    memcpy(o.groups, groups, sizeof groups);
    memcpy(o.sigalgs, sigalgs, sizeof sigalgs);
    memcpy(o.alpn, "\x02h2", 3);
    o.alpn_len = 3;
    return o;
}

/* A server with a self-signed CA certificate of the host's name is enough: the leg goes on with a bad verdict. */
static SSL_CTX *make_origin(uint16_t version)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    require(ctx && key && cert);
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -1000);
    X509_gmtime_adj(X509_getm_notAfter(cert), 1000000);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8, (const unsigned char *)"x", -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    X509_set_pubkey(cert, key);
    require(X509_sign(cert, key, EVP_sha256()) > 0);
    require(SSL_CTX_use_certificate(ctx, cert) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1);
    SSL_CTX_set_max_proto_version(ctx, version);
    X509_free(cert);
    EVP_PKEY_free(key);
    return ctx;
}

static void set_up(void)
{
    if (world.context)
        return;
    struct sl_ca_options ca_options = {.common_name = "fuzz"};
    struct sl_ca *ca = NULL;
    require(sl_ca_generate(&ca_options, false, &ca, NULL) == SL_OK);
    struct sl_trust_item item = {.kind = SL_TRUST_ANCHOR, .name = "fuzz", .der = sl_ca_der(ca)};
    struct sl_trust_options options = {.items = &item, .item_count = 1};
    require(sl_trust_new(&options, &world.trust, NULL) == SL_OK);
    require(sl_verifier_new(NULL, &world.verifier) == SL_OK);
    require(sl_tls_shared_new(sl_clock_system(), NULL, &world.shared) == SL_OK);
    require(sl_tls_context_new(world.shared, &world.context) == SL_OK);
    world.origin[0] = make_origin(SL_TLS12);
    world.origin[1] = make_origin(SL_TLS13);
    sl_ca_unref(ca);
}

static void feed(struct sl_leg *leg, const uint8_t *bytes, size_t len)
{
    if (len > 0 && sl_leg_feed(leg, bytes, len) == SL_OK)
        sl_leg_step(leg);
}

static void with_origin(struct sl_leg *leg, SSL_CTX *ctx, const uint8_t *changes, size_t size)
{
    static uint8_t flight[65536];
    SSL *ssl = SSL_new(ctx);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    size_t at = 0;

    require(ssl && in && out);
    SSL_set_bio(ssl, in, out);
    SSL_set_accept_state(ssl);
    for (int round = 0; round < 4; round++) {
        size_t len;
        const uint8_t *bytes = sl_leg_output(leg, &len);
        if (len > 0)
            BIO_write(in, bytes, (int)len);
        sl_leg_consume(leg, len);
        SSL_do_handshake(ssl);
        ERR_clear_error();
        int n = BIO_read(out, flight, sizeof flight);
        if (n <= 0)
            break;
        for (int i = 0; i < 4 && at + 3 <= size; i++, at += 3)
            flight[(size_t)(changes[at] << 8 | changes[at + 1]) % (size_t)n] ^= changes[at + 2];
        feed(leg, flight, (size_t)n);
        if (sl_leg_state(leg) == SL_LEG_FAILED)
            break;
    }
    SSL_free(ssl);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_offer offer = make_offer();
    struct sl_server_leg *server = NULL;
    struct sl_server_leg_options options = {.offer = &offer,
                                            .sni = "www.example.com",
                                            .address = "192.0.2.1",
                                            .port = 443,
                                            .present_untrusted = true,
                                            .revocation = SL_REVOCATION_SOFT};
    if (size < 1)
        return 0;
    set_up();
    options.verifier = world.verifier;
    options.trust = world.trust;
    require(sl_server_leg_new(world.context, &options, &server) == SL_OK);
    struct sl_leg *leg = sl_server_leg_base(server);
    sl_leg_step(leg);
    if (data[0] & 1)
        with_origin(leg, world.origin[data[0] >> 1 & 1], data + 1, size - 1);
    else
        feed(leg, data + 1, size - 1);
    if (sl_leg_state(leg) == SL_LEG_CLIENT_CERT) {
        sl_server_leg_no_client_cert(server);
        sl_leg_step(leg);
    }
    sl_leg_feed_eof(leg);
    sl_leg_step(leg);
    if (sl_leg_state(leg) == SL_LEG_DONE)
        sl_server_leg_absorb(server);
    else if (sl_leg_state(leg) != SL_LEG_FAILED || sl_leg_info(leg)->cause == SLUICE__V1__CAUSE__CAUSE_NONE)
        abort();
    sl_server_leg_free(server);
    return 0;
}
