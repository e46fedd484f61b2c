/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PKI for tests, made afresh: keys, certificates with anything wrong that a test wants, CRLs and OCSP responses. Header-only, so
 * that other libraries' tests can use it. What fails aborts: a test without its certificates is no test.
 */
#pragma once

#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* 2026-06-15T12:00:00Z: the tests' present. */
#define TP_NOW ((time_t)1781524800)
#define TP_DAY ((time_t)86400)
#define TP_MUST(x)                                                                                                                 \
    do {                                                                                                                           \
        if (!(x)) {                                                                                                                \
            fprintf(stderr, "%s:%d: %s failed\n", __FILE__, __LINE__, #x);                                                         \
            abort();                                                                                                               \
        }                                                                                                                          \
    } while (0)

static inline EVP_PKEY *tp_ec(const char *curve)
{
    EVP_PKEY *key = EVP_EC_gen(curve);
    TP_MUST(key);
    return key;
}

static inline EVP_PKEY *tp_rsa(unsigned bits)
{
    EVP_PKEY *key = EVP_RSA_gen(bits);
    TP_MUST(key);
    return key;
}

/* A key and a certificate for it. */
struct tp {
    EVP_PKEY *key;
    X509 *cert;
};

static inline void tp_free(struct tp *p)
{
    EVP_PKEY_free(p->key);
    X509_free(p->cert);
    *p = (struct tp){0};
}

/* How to make a certificate; zero fields have the defaults of a good leaf. */
struct tp_spec {
    const char *cn;           /* NULL: an empty subject */
    const char *subject_text; /* "unstructuredName=ciscoasa": instead of cn */
    const char *san;          /* "DNS:www.example.com,IP:192.0.2.1"; NULL: none */
    const struct tp *issuer;  /* NULL: self-signed */
    EVP_PKEY *key;            /* a reference is taken; NULL: a fresh P-256 */
    time_t from, until;       /* 0: TP_NOW - 30 d, TP_NOW + 60 d */
    bool ca;                  /* basicConstraints CA:TRUE, keyUsage keyCertSign|cRLSign */
    const char *constraints;  /* instead of what ca says; "" for none */
    const char *usage;        /* keyUsage; NULL: by kind; "" for none */
    const char *purpose;      /* extendedKeyUsage; NULL: serverAuth for a leaf, none for a CA; "" for none */
    const char *name_constraints;
    const char *extra_oid; /* a critical extension of this OID */
    bool must_staple;
    const EVP_MD *digest; /* NULL: SHA-256 */
    bool break_signature;
    bool no_key_ids;
};

static inline void tp_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    TP_MUST(e && X509_add_ext(cert, e, -1));
    X509_EXTENSION_free(e);
}

static inline void tp_critical_unknown(X509 *cert, const char *oid)
{
    ASN1_OCTET_STRING *data = ASN1_OCTET_STRING_new();
    ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
    TP_MUST(data && object && ASN1_OCTET_STRING_set(data, (const unsigned char *)"\x05\x00", 2));
    X509_EXTENSION *e = X509_EXTENSION_create_by_OBJ(NULL, object, 1, data);
    TP_MUST(e && X509_add_ext(cert, e, -1));
    X509_EXTENSION_free(e);
    ASN1_OBJECT_free(object);
    ASN1_OCTET_STRING_free(data);
}

static inline void tp_name(X509 *cert, const struct tp_spec *s)
{
    X509_NAME *name = X509_NAME_new();
    char type[64];
    const char *equals = s->subject_text ? strchr(s->subject_text, '=') : NULL;

    TP_MUST(name);
    if (equals) {
        snprintf(type, sizeof(type), "%.*s", (int)(equals - s->subject_text), s->subject_text);
        TP_MUST(X509_NAME_add_entry_by_txt(name, type, MBSTRING_UTF8, (const unsigned char *)equals + 1, -1, -1, 0));
    } else if (s->cn)
        TP_MUST(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)s->cn, -1, -1, 0));
    TP_MUST(X509_set_subject_name(cert, name));
    X509_NAME_free(name);
}

static inline void tp_break_signature(X509 **cert)
{
    unsigned char *der = NULL;
    int len = i2d_X509(*cert, &der);
    const unsigned char *at = der;
    TP_MUST(len > 0);
    der[len - 1] ^= 1; /* the last byte of s, or of an RSA signature */
    X509_free(*cert);
    TP_MUST((*cert = d2i_X509(NULL, &at, len)) != NULL);
    OPENSSL_free(der);
}

static inline struct tp tp_make(struct tp_spec s)
{
    static uint64_t serial = 1000;
    struct tp p = {.key = s.key};
    X509 *cert = X509_new();

    if (p.key)
        EVP_PKEY_up_ref(p.key);
    else
        p.key = tp_ec("P-256");
    X509 *issuer = s.issuer ? s.issuer->cert : cert;
    EVP_PKEY *signer = s.issuer ? s.issuer->key : p.key;
    TP_MUST(cert && X509_set_version(cert, X509_VERSION_3) && ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), ++serial));
    tp_name(cert, &s);
    TP_MUST(X509_set_issuer_name(cert, X509_get_subject_name(issuer)) && X509_set_pubkey(cert, p.key));
    TP_MUST(ASN1_TIME_set(X509_getm_notBefore(cert), s.from ? s.from : TP_NOW - 30 * TP_DAY));
    TP_MUST(ASN1_TIME_set(X509_getm_notAfter(cert), s.until ? s.until : TP_NOW + 60 * TP_DAY));
    const char *constraints = s.constraints ? s.constraints : s.ca ? "critical,CA:TRUE" : "critical,CA:FALSE";
    const char *usage = s.usage ? s.usage : s.ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature";
    const char *purpose = s.purpose ? s.purpose : s.ca ? "" : "serverAuth";
    if (constraints[0])
        tp_extension(cert, issuer, NID_basic_constraints, constraints);
    if (usage[0])
        tp_extension(cert, issuer, NID_key_usage, usage);
    if (purpose[0])
        tp_extension(cert, issuer, NID_ext_key_usage, purpose);
    if (!s.no_key_ids) {
        tp_extension(cert, issuer, NID_subject_key_identifier, "hash");
        if (s.issuer)
            tp_extension(cert, issuer, NID_authority_key_identifier, "keyid");
    }
    if (s.san)
        tp_extension(cert, issuer, NID_subject_alt_name, s.san);
    if (s.name_constraints)
        tp_extension(cert, issuer, NID_name_constraints, s.name_constraints);
    if (s.must_staple)
        tp_extension(cert, issuer, NID_tlsfeature, "status_request");
    if (s.extra_oid)
        tp_critical_unknown(cert, s.extra_oid);
    TP_MUST(X509_sign(cert, signer, s.digest ? s.digest : EVP_sha256()) > 0);
    if (s.break_signature)
        tp_break_signature(&cert);
    p.cert = cert;
    return p;
}

static inline struct tp tp_root(const char *cn)
{
    return tp_make((struct tp_spec){.cn = cn, .ca = true, .from = TP_NOW - 3000 * TP_DAY, .until = TP_NOW + 3000 * TP_DAY});
}

static inline struct tp tp_intermediate(const char *cn, const struct tp *issuer)
{
    return tp_make(
        (struct tp_spec){.cn = cn, .ca = true, .issuer = issuer, .from = TP_NOW - 900 * TP_DAY, .until = TP_NOW + 900 * TP_DAY});
}

/* A good leaf for one DNS name. */
static inline struct tp tp_leaf(const char *dns, const struct tp *issuer)
{
    char san[300];
    snprintf(san, sizeof(san), "DNS:%s", dns);
    return tp_make((struct tp_spec){.cn = dns, .san = san, .issuer = issuer});
}

/* Borrowed certificates; ends with NULL. The stack itself is freed with sk_X509_free. */
static inline STACK_OF(X509) * tp_stack(X509 *const *certs)
{
    STACK_OF(X509) *stack = sk_X509_new_null();
    TP_MUST(stack);
    for (; *certs; certs++)
        TP_MUST(sk_X509_push(stack, *certs));
    return stack;
}

static inline void tp_write_certs(const char *path, X509 *const *certs)
{
    FILE *f = fopen(path, "w");
    TP_MUST(f);
    for (; *certs; certs++)
        TP_MUST(PEM_write_X509(f, *certs));
    TP_MUST(fclose(f) == 0);
}

/* A CRL of issuer with the given certificates revoked. */
static inline X509_CRL *tp_crl(const struct tp *issuer, X509 *const *revoked, time_t from, time_t next)
{
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *t = ASN1_TIME_new();
    TP_MUST(crl && t && X509_CRL_set_version(crl, 1) && X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer->cert)));
    TP_MUST(ASN1_TIME_set(t, from) && X509_CRL_set1_lastUpdate(crl, t));
    TP_MUST(ASN1_TIME_set(t, next) && X509_CRL_set1_nextUpdate(crl, t));
    TP_MUST(ASN1_TIME_set(t, from));
    for (; *revoked; revoked++) {
        X509_REVOKED *r = X509_REVOKED_new();
        TP_MUST(r && X509_REVOKED_set_serialNumber(r, X509_get_serialNumber(*revoked)) && X509_REVOKED_set_revocationDate(r, t));
        TP_MUST(X509_CRL_add0_revoked(crl, r));
    }
    TP_MUST(X509_CRL_sort(crl) && X509_CRL_sign(crl, issuer->key, EVP_sha256()) > 0);
    ASN1_TIME_free(t);
    return crl;
}

static inline void tp_write_crl(const char *path, X509_CRL *crl)
{
    FILE *f = fopen(path, "w");
    TP_MUST(f && PEM_write_X509_CRL(f, crl) && fclose(f) == 0);
    X509_CRL_free(crl);
}

/* An OCSP response about leaf, signed by responder. status: V_OCSP_CERTSTATUS_*; next 0: none. */
static inline size_t tp_ocsp(const struct tp *responder, X509 *leaf, X509 *issuer, int status, time_t from, time_t next,
                             const EVP_MD *id_digest, const EVP_MD *digest, unsigned char **out)
{
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    OCSP_CERTID *id = OCSP_cert_to_id(id_digest ? id_digest : EVP_sha1(), leaf, issuer);
    ASN1_TIME *this_update = ASN1_GENERALIZEDTIME_set(NULL, from);
    ASN1_TIME *next_update = next ? ASN1_GENERALIZEDTIME_set(NULL, next) : NULL;
    int revoked = status == V_OCSP_CERTSTATUS_REVOKED;

    TP_MUST(basic && id && this_update);
    TP_MUST(OCSP_basic_add1_status(basic, id, status, revoked ? OCSP_REVOKED_STATUS_KEYCOMPROMISE : 0, revoked ? this_update : NULL,
                                   this_update, next_update));
    TP_MUST(OCSP_basic_sign(basic, responder->cert, responder->key, digest ? digest : EVP_sha256(), NULL, 0));
    OCSP_RESPONSE *response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    *out = NULL;
    int len = i2d_OCSP_RESPONSE(response, out);
    TP_MUST(response && len > 0);
    OCSP_RESPONSE_free(response);
    OCSP_BASICRESP_free(basic);
    OCSP_CERTID_free(id);
    ASN1_TIME_free(this_update);
    ASN1_TIME_free(next_update);
    return (size_t)len;
}
