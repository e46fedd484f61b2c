/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a leaf costs: minted here, against the plain way (build an X509 with the library's functions, sign it with a fixed key).
 * Also a validation, fresh and remembered. CPU time of this thread; the median of several rounds.
 */
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pki/mint.h"
#include "pki/trust.h"
#include "pki/verify.h"

enum { ROUNDS = 9, TIMES = 400 };

#define MUST(x)                                                                                                                    \
    do {                                                                                                                           \
        if (!(x)) {                                                                                                                \
            fprintf(stderr, "bench_pki: %s failed\n", #x);                                                                         \
            exit(1);                                                                                                               \
        }                                                                                                                          \
    } while (0)

static double cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Microseconds for one call. */
static double measure(void (*work)(void *), void *arg)
{
    double rounds[ROUNDS];
    for (int r = 0; r < ROUNDS; r++) {
        double start = cpu_us();
        for (int i = 0; i < TIMES; i++)
            work(arg);
        rounds[r] = (cpu_us() - start) / TIMES;
    }
    qsort(rounds, ROUNDS, sizeof(rounds[0]), by_value);
    return rounds[ROUNDS / 2];
}

/* --- the plain way --- */

struct plain {
    X509 *ca, *upstream;
    EVP_PKEY *ca_key, *leaf_key;
};

static void extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    MUST(e && X509_add_ext(cert, e, -1));
    X509_EXTENSION_free(e);
}

static X509 *build(X509 *issuer, EVP_PKEY *issuer_key, EVP_PKEY *key, const char *cn, X509_EXTENSION *san, const char *san_text,
                   bool ca)
{
    uint8_t serial[16];
    X509 *cert = X509_new();
    X509_NAME *name = X509_NAME_new();
    MUST(cert && name && RAND_bytes(serial, sizeof(serial)) == 1);
    serial[0] &= 0x7f;
    BIGNUM *n = BN_bin2bn(serial, sizeof(serial), NULL);
    MUST(n && X509_set_version(cert, 2) && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert)));
    BN_free(n);
    MUST(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0));
    MUST(X509_set_subject_name(cert, name) && X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : name));
    X509_NAME_free(name);
    MUST(X509_gmtime_adj(X509_getm_notBefore(cert), -86400) && X509_gmtime_adj(X509_getm_notAfter(cert), 86400L * 80));
    MUST(X509_set_pubkey(cert, key));
    extension(cert, issuer ? issuer : cert, NID_basic_constraints, ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    extension(cert, issuer ? issuer : cert, NID_key_usage, ca ? "critical,keyCertSign" : "critical,digitalSignature");
    if (!ca)
        extension(cert, issuer, NID_ext_key_usage, "serverAuth");
    extension(cert, issuer ? issuer : cert, NID_subject_key_identifier, "hash");
    if (issuer)
        extension(cert, issuer, NID_authority_key_identifier, "keyid");
    if (san)
        MUST(X509_add_ext(cert, san, -1));
    if (san_text)
        extension(cert, issuer, NID_subject_alt_name, san_text);
    MUST(X509_sign(cert, issuer_key, EVP_sha256()) > 0);
    return cert;
}

static void mint_plain(void *arg)
{
    struct plain *p = arg;
    char cn[80];
    X509_NAME_get_text_by_NID(X509_get_subject_name(p->upstream), NID_commonName, cn, sizeof(cn));
    X509_EXTENSION *san = X509_get_ext(p->upstream, X509_get_ext_by_NID(p->upstream, NID_subject_alt_name, -1));
    X509 *cert = build(p->ca, p->ca_key, p->leaf_key, cn, san, NULL, false);
    unsigned char *der = NULL;
    MUST(i2d_X509(cert, &der) > 0); /* a handshake needs the bytes */
    OPENSSL_free(der);
    X509_free(cert);
}

/* --- ours --- */

struct ours {
    struct sl_minter *minter;
    struct sl_mint_request request;
};

static void mint_ours(void *arg)
{
    struct ours *o = arg;
    struct sl_leaf *leaf = NULL;
    MUST(sl_mint(o->minter, &o->request, &leaf) == SL_OK);
    sl_leaf_unref(leaf);
}

struct validation {
    struct sl_verifier *verifier;
    struct sl_verify_request request;
    bool fresh; /* another port each time: nothing is remembered */
};

static void validate(void *arg)
{
    struct validation *v = arg;
    struct sl_verdict verdict;
    if (v->fresh)
        v->request.port++;
    MUST(sl_verify(v->verifier, &v->request, &verdict) == SL_OK && sl_verdict_good(&verdict));
    sl_verdict_release(&verdict);
}

/* peer: how long the other way takes; 0: there is none. The ratio says how many times as fast ours is. */
static void line(const char *name, double value, const char *unit, double peer)
{
    if (peer > 0)
        printf("{\"name\": \"%s\", \"value\": %.2f, \"unit\": \"%s\", \"peer\": %.2f, \"ratio\": %.2f}\n", name, value, unit, peer,
               peer / value);
    else
        printf("{\"name\": \"%s\", \"value\": %.2f, \"unit\": \"%s\", \"peer\": null, \"ratio\": null}\n", name, value, unit);
}

int main(void)
{
    static const char sans[] = "DNS:www.example.com,DNS:example.com,DNS:*.cdn.example.com,DNS:static.example.net";
    char path[] = "bench-pki-XXXXXX";
    struct sl_diag diag = {""};
    EVP_PKEY *root_key = EVP_EC_gen("P-256"), *mid_key = EVP_EC_gen("P-256"), *leaf_key = EVP_EC_gen("P-256");
    X509 *root = build(NULL, root_key, root_key, "Bench root", NULL, NULL, true);
    X509 *mid = build(root, root_key, mid_key, "Bench intermediate", NULL, NULL, true);
    X509 *leaf = build(mid, mid_key, leaf_key, "www.example.com", NULL, sans, false);
    STACK_OF(X509) *chain = sk_X509_new_null();
    int fd = mkstemp(path);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    MUST(chain && sk_X509_push(chain, leaf) && sk_X509_push(chain, mid) && file && PEM_write_X509(file, root) && fclose(file) == 0);

    const struct sl_trust_options trust_options = {.bundle = path};
    struct sl_trust *trust = NULL;
    MUST(sl_trust_new(&trust_options, &trust, &diag) == SL_OK);
    unlink(path);
    struct sl_verifier *verifier = NULL;
    MUST(sl_verifier_new(NULL, &verifier) == SL_OK);
    struct validation v = {.verifier = verifier,
                           .request = {.trust = trust, .leaf = leaf, .presented = chain, .host = "www.example.com", .port = 443}};
    struct sl_verdict verdict;
    MUST(sl_verify(verifier, &v.request, &verdict) == SL_OK && sl_verdict_good(&verdict));

    const struct sl_ca_options ca_options = {.common_name = "Bench CA"};
    struct ours o = {.request = {.upstream = leaf, .verdict = &verdict, .host = "www.example.com", .key_type = SL_LEAF_P256}};
    MUST(sl_minter_new(NULL, &o.minter, &diag) == SL_OK && sl_ca_generate(&ca_options, false, &o.request.ca, &diag) == SL_OK);
    EVP_PKEY *plain_key = EVP_EC_gen("P-256");
    struct plain p = {.upstream = leaf, .ca_key = plain_key, .leaf_key = leaf_key};
    p.ca = build(NULL, plain_key, plain_key, "Plain CA", NULL, NULL, true);

    double ours = measure(mint_ours, &o), plain = measure(mint_plain, &p);
    line("mint.us", ours, "us", plain); /* X509 built and signed with OpenSSL */
    double remembered = measure(validate, &v);
    v.fresh = true;
    double fresh = measure(validate, &v);
    line("verify.remembered.us", remembered, "us", fresh);
    line("verify.fresh.us", fresh, "us", 0);

    sl_verdict_release(&verdict);
    sl_verifier_free(verifier);
    sl_trust_unref(trust);
    sl_minter_free(o.minter);
    sl_ca_unref(o.request.ca);
    sk_X509_free(chain);
    X509_free(root);
    X509_free(mid);
    X509_free(leaf);
    X509_free(p.ca);
    EVP_PKEY *keys[] = {root_key, mid_key, leaf_key, plain_key};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        EVP_PKEY_free(keys[i]);
    return 0;
}
