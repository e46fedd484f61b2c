/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A leaf is written from its end to its start, in the order of RFC 5280 section 4.1 read backwards:
 *
 *   Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signature }
 *   tbsCertificate: [0] version, serial, signature algorithm, issuer, validity, subject, subjectPublicKeyInfo, [3] extensions
 *
 * Issuer, algorithm and authority key identifier are prepared with the CA; public key, subject key identifier and the extensions
 * that are always the same with the leaf key. Serial, validity, subject and names are new.
 */
#include "pki/mint.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "pki/ca_impl.h"
#include "pki/der.h"
#include "pki/mint_impl.h"

enum {
    DAY_S = 86400,
    DAYS_DEFAULT = 90,
    DAYS_MAX = 197, /* with a margin below the 200 at which clients refuse (C3) */
    BACKDATE_S = DAY_S,
    PIN_EXCUSED_S = DAY_S, /* life of a leaf for a pinned certificate that is out of its dates */
    SERIAL_LEN = 16,
    FIXED_MAX = 512,     /* everything of a TBSCertificate but names, issuer and key */
    SIGNATURE_MAX = 512, /* RSA to 4,096 bits */
    KEY_KINDS = 2
};

/* A leaf key with its parts of a certificate. */
struct leaf_key {
    atomic_uint references;
    EVP_PKEY *key;
    uint8_t *spki;
    size_t spki_len;
    uint8_t extensions[160]; /* basic constraints, key usage, extended key usage, subject key identifier */
    size_t extensions_len;
};

struct sl_minter {
    const struct sl_clock *clock;
    uint32_t max_days;
    struct sl_sensitive_list sensitive;
    pthread_mutex_t lock; /* guards keys */
    struct leaf_key *keys[KEY_KINDS];
};

/* What sl_leaf promises, and what it needs to keep that. */
struct leaf_box {
    struct sl_leaf leaf; /* first, so that a leaf is its box */
    atomic_uint references;
    uint8_t der[];
};

struct sl_leaf *sl_leaf_ref(struct sl_leaf *leaf)
{
    if (leaf)
        atomic_fetch_add_explicit(&((struct leaf_box *)leaf)->references, 1, memory_order_relaxed);
    return leaf;
}

void sl_leaf_unref(struct sl_leaf *leaf)
{
    struct leaf_box *box = (struct leaf_box *)leaf;

    if (!leaf || atomic_fetch_sub_explicit(&box->references, 1, memory_order_acq_rel) != 1)
        return;
    X509_free(leaf->cert);
    X509_free(leaf->issuer);
    EVP_PKEY_free(leaf->key);
    free(box);
}

/* --- leaf keys --- */

static void leaf_key_unref(struct leaf_key *k)
{
    if (!k || atomic_fetch_sub_explicit(&k->references, 1, memory_order_acq_rel) != 1)
        return;
    EVP_PKEY_free(k->key);
    free(k->spki);
    free(k);
}

/* RFC 7093 method 1: the leftmost 160 bits of the SHA-256 of the public key info's bit string; the whole info does as well, as the
 * only demand is that it differs between keys. */
static sl_err prepare_extensions(struct leaf_key *k, enum sl_leaf_key_type type)
{
    enum { KEY_ID_LEN = 20 };
    static const uint8_t constraints[] = {0x30, 0x0c, 0x06, 0x03, 0x55, 0x1d, 0x13, 0x01, 0x01, 0xff, 0x04, 0x02, 0x30, 0x00};
    static const uint8_t usage_ec[] = {0x30, 0x0e, 0x06, 0x03, 0x55, 0x1d, 0x0f, 0x01,
                                       0x01, 0xff, 0x04, 0x04, 0x03, 0x02, 0x07, 0x80};
    /* keyEncipherment, too: a client of the compatible profile may know no other key exchange. */
    static const uint8_t usage_rsa[] = {0x30, 0x0e, 0x06, 0x03, 0x55, 0x1d, 0x0f, 0x01,
                                        0x01, 0xff, 0x04, 0x04, 0x03, 0x02, 0x05, 0xa0};
    static const uint8_t purpose[] = {0x30, 0x13, 0x06, 0x03, 0x55, 0x1d, 0x25, 0x04, 0x0c, 0x30, 0x0a,
                                      0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01};
    static const uint8_t key_id_oid[] = {0x06, 0x03, 0x55, 0x1d, 0x0e};
    uint8_t id[SL_SHA256_LEN];
    struct sl_der_writer w;

    if (EVP_Digest(k->spki, k->spki_len, id, NULL, EVP_sha256(), NULL) != 1)
        return SL_ERR_CRYPTO;
    sl_der_writer_init(&w, k->extensions, sizeof(k->extensions));
    sl_der_put(&w, id, KEY_ID_LEN);
    sl_der_wrap(&w, SL_DER_OCTET_STRING, 0);
    sl_der_wrap(&w, SL_DER_OCTET_STRING, 0);
    sl_der_put(&w, key_id_oid, sizeof(key_id_oid));
    sl_der_wrap(&w, SL_DER_SEQUENCE, 0);
    sl_der_put(&w, purpose, sizeof(purpose));
    if (type == SL_LEAF_RSA2048)
        sl_der_put(&w, usage_rsa, sizeof(usage_rsa));
    else
        sl_der_put(&w, usage_ec, sizeof(usage_ec));
    sl_der_put(&w, constraints, sizeof(constraints));
    if (w.failed)
        return SL_ERR_SHORT;
    k->extensions_len = sl_der_len(&w);
    memmove(k->extensions, sl_der_data(&w), k->extensions_len);
    return SL_OK;
}

static sl_err leaf_key_new(enum sl_leaf_key_type type, struct leaf_key **out)
{
    enum { RSA_BITS = 2048 };
    struct leaf_key *k = calloc(1, sizeof(*k));
    unsigned char *spki = NULL;
    int len = -1;
    sl_err err = SL_ERR_CRYPTO;

    if (!k)
        return SL_ERR_NOMEM;
    atomic_init(&k->references, 1);
    k->key = type == SL_LEAF_RSA2048 ? EVP_RSA_gen(RSA_BITS) : EVP_EC_gen("P-256");
    if (k->key)
        len = i2d_PUBKEY(k->key, &spki);
    if (len > 0 && (k->spki = malloc((size_t)len)) != NULL) {
        memcpy(k->spki, spki, (size_t)len);
        k->spki_len = (size_t)len;
        err = prepare_extensions(k, type);
    }
    OPENSSL_free(spki);
    ERR_clear_error();
    if (err)
        leaf_key_unref(k);
    else
        *out = k;
    return err;
}

static struct leaf_key *current_key(struct sl_minter *m, enum sl_leaf_key_type type)
{
    pthread_mutex_lock(&m->lock);
    struct leaf_key *k = m->keys[type];
    atomic_fetch_add_explicit(&k->references, 1, memory_order_relaxed);
    pthread_mutex_unlock(&m->lock);
    return k;
}

sl_err sl_minter_rotate(struct sl_minter *minter)
{
    struct leaf_key *fresh[KEY_KINDS] = {NULL}, *old;
    sl_err err = SL_OK;

    for (int i = 0; i < KEY_KINDS && !err; i++)
        err = leaf_key_new((enum sl_leaf_key_type)i, &fresh[i]);
    for (int i = 0; i < KEY_KINDS; i++) {
        old = fresh[i];
        if (!err) {
            pthread_mutex_lock(&minter->lock);
            old = minter->keys[i];
            minter->keys[i] = fresh[i];
            pthread_mutex_unlock(&minter->lock);
        }
        leaf_key_unref(old);
    }
    return err;
}

sl_err sl_minter_new(const struct sl_minter_options *options, struct sl_minter **out, struct sl_diag *diag)
{
    static const struct sl_minter_options defaults = {0};
    const struct sl_minter_options *o = options ? options : &defaults;
    struct sl_minter *m = calloc(1, sizeof(*m));
    sl_err err;

    if (!m)
        return sl_fail(diag, SL_ERR_NOMEM, "no memory for the leaf keys");
    pthread_mutex_init(&m->lock, NULL);
    m->clock = o->clock ? o->clock : sl_clock_system();
    m->max_days = o->max_days ? o->max_days : DAYS_DEFAULT;
    if (m->max_days > DAYS_MAX)
        err = sl_fail(diag, SL_ERR_INVALID, "a leaf can be valid for at most %d days", DAYS_MAX);
    else if (!(err = sl_sensitive_new(o->sensitive, o->sensitive_count, &m->sensitive, diag)) && (err = sl_minter_rotate(m)))
        sl_fail(diag, err, "the leaf keys could not be made");
    if (err)
        sl_minter_free(m);
    else
        *out = m;
    return err;
}

void sl_minter_free(struct sl_minter *minter)
{
    if (!minter)
        return;
    for (int i = 0; i < KEY_KINDS; i++)
        leaf_key_unref(minter->keys[i]);
    sl_sensitive_free(&minter->sensitive);
    pthread_mutex_destroy(&minter->lock);
    free(minter);
}

/* --- dates --- */

struct dates {
    int64_t from, until; /* both inclusive, as in a certificate */
};

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Never wider than the original's; inside the CA's where it is one that clients trust. */
static sl_err choose_dates(const struct sl_minter *m, const struct sl_mint_request *r, struct dates *out)
{
    const int64_t now = (int64_t)(m->clock->wall_ns(m->clock->arg) / SL_NS_PER_S), span = (int64_t)m->max_days * DAY_S;
    const struct sl_ca *ca = r->ca;
    struct dates original;
    sl_err err;

    if ((err = sl_cert_time(X509_get0_notBefore(r->upstream), &original.from)) ||
        (err = sl_cert_time(X509_get0_notAfter(r->upstream), &original.until)))
        return err;
    bool current = original.from <= now && now <= original.until;
    if (!ca->untrusted && (now < ca->not_before_s || now > ca->not_after_s))
        return SL_ERR_STATE;
    if (current) {
        out->from = later(original.from, now - BACKDATE_S);
        out->until = earlier(original.until, out->from + span);
    } else if (r->verdict->pinned) { /* the operator excused the dates */
        out->from = now - BACKDATE_S;
        out->until = now + PIN_EXCUSED_S;
    } else { /* as far from now as the original, so that the client sees what is wrong */
        out->until = now < original.from ? earlier(original.until, original.from + span) : original.until;
        out->from = later(original.from, out->until - span);
    }
    if (!ca->untrusted) {
        out->from = later(out->from, ca->not_before_s);
        out->until = earlier(out->until, ca->not_after_s);
    }
    return out->from <= out->until ? SL_OK : SL_ERR_INVALID;
}

/* --- writing --- */

static void put_subject(struct sl_der_writer *w, const char *common_name)
{
    static const uint8_t oid[] = {0x06, 0x03, 0x55, 0x04, 0x03};
    size_t before = sl_der_len(w);

    if (common_name[0]) {
        sl_der_put(w, common_name, strlen(common_name));
        sl_der_wrap(w, SL_DER_UTF8_STRING, before);
        sl_der_put(w, oid, sizeof(oid));
        sl_der_wrap(w, SL_DER_SEQUENCE, before);
        sl_der_wrap(w, SL_DER_SET, before);
    }
    sl_der_wrap(w, SL_DER_SEQUENCE, before);
}

/* Critical if the subject is empty (RFC 5280 section 4.2.1.6). */
static void put_sans(struct sl_der_writer *w, const struct sl_leaf_names *names)
{
    static const uint8_t oid[] = {0x06, 0x03, 0x55, 0x1d, 0x11}, critical[] = {0x01, 0x01, 0xff};
    size_t before = sl_der_len(w);

    if (names->sans_len == 0)
        return;
    sl_der_put(w, names->sans, names->sans_len);
    sl_der_wrap(w, SL_DER_SEQUENCE, before);
    sl_der_wrap(w, SL_DER_OCTET_STRING, before);
    if (!names->common_name[0])
        sl_der_put(w, critical, sizeof(critical));
    sl_der_put(w, oid, sizeof(oid));
    sl_der_wrap(w, SL_DER_SEQUENCE, before);
}

static void put_extensions(struct sl_der_writer *w, const struct sl_ca *ca, const struct leaf_key *key,
                           const struct sl_leaf_names *names)
{
    size_t before = sl_der_len(w);
    put_sans(w, names);
    sl_der_put(w, ca->aki, ca->aki_len);
    sl_der_put(w, key->extensions, key->extensions_len);
    sl_der_wrap(w, SL_DER_SEQUENCE, before);
    sl_der_wrap(w, 0xa3, before);
}

static void put_validity(struct sl_der_writer *w, const struct dates *dates)
{
    size_t before = sl_der_len(w);
    sl_der_put_time(w, dates->until);
    sl_der_put_time(w, dates->from);
    sl_der_wrap(w, SL_DER_SEQUENCE, before);
}

static sl_err put_serial_and_version(struct sl_der_writer *w)
{
    static const uint8_t version[] = {0xa0, 0x03, 0x02, 0x01, 0x02};
    uint8_t serial[SERIAL_LEN];
    size_t before = sl_der_len(w);

    if (RAND_bytes(serial, sizeof(serial)) != 1)
        return SL_ERR_CRYPTO;
    serial[0] = (uint8_t)((serial[0] & 0x3f) | 0x40); /* positive, and of the same length every time; 126 bits are random */
    sl_der_put(w, serial, sizeof(serial));
    sl_der_wrap(w, SL_DER_INTEGER, before);
    sl_der_put(w, version, sizeof(version));
    return SL_OK;
}

static sl_err put_tbs(struct sl_der_writer *w, const struct sl_ca *ca, const struct leaf_key *key,
                      const struct sl_leaf_names *names, const struct dates *dates)
{
    sl_err err;

    put_extensions(w, ca, key, names);
    sl_der_put(w, key->spki, key->spki_len);
    put_subject(w, names->common_name);
    put_validity(w, dates);
    sl_der_put(w, ca->name, ca->name_len);
    sl_der_put(w, ca->algorithm, ca->algorithm_len);
    if ((err = put_serial_and_version(w)))
        return err;
    sl_der_wrap(w, SL_DER_SEQUENCE, 0);
    return w->failed ? SL_ERR_SHORT : SL_OK;
}

static sl_err sign(const struct sl_ca *ca, const struct sl_der_writer *tbs, uint8_t *signature, size_t *len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool done = ctx && EVP_MD_CTX_copy_ex(ctx, ca->signer) == 1 &&
                EVP_DigestSign(ctx, signature, len, sl_der_data(tbs), sl_der_len(tbs)) == 1;
    EVP_MD_CTX_free(ctx);
    return done ? SL_OK : SL_ERR_CRYPTO;
}

/* Certificate = SEQUENCE { TBS, algorithm, BIT STRING }: in a buffer of its own, with the signature behind. */
static sl_err finish(const struct sl_ca *ca, const struct sl_der_writer *tbs, struct leaf_box **out)
{
    uint8_t signature[SIGNATURE_MAX];
    size_t signature_len = sizeof(signature), cap, before;
    struct sl_der_writer w;
    struct leaf_box *box;
    sl_err err = sign(ca, tbs, signature, &signature_len);

    if (err)
        return err;
    cap = sl_der_len(tbs) + signature_len + ca->algorithm_len + 32;
    if (!(box = calloc(1, sizeof(*box) + cap)))
        return SL_ERR_NOMEM;
    sl_der_writer_init(&w, box->der, cap);
    before = sl_der_len(&w);
    sl_der_put(&w, signature, signature_len);
    sl_der_put_u8(&w, 0); /* no unused bits */
    sl_der_wrap(&w, SL_DER_BIT_STRING, before);
    sl_der_put(&w, ca->algorithm, ca->algorithm_len);
    sl_der_put(&w, sl_der_data(tbs), sl_der_len(tbs));
    sl_der_wrap(&w, SL_DER_SEQUENCE, 0);
    if (w.failed) {
        free(box);
        return SL_ERR_SHORT;
    }
    atomic_init(&box->references, 1);
    box->leaf.der = sl_der_data(&w);
    box->leaf.der_len = sl_der_len(&w);
    *out = box;
    return SL_OK;
}

static sl_err complete(struct leaf_box *box, const struct sl_mint_request *r, const struct leaf_key *key, const struct dates *dates,
                       bool host_specific)
{
    struct sl_leaf *leaf = &box->leaf;
    const unsigned char *at = leaf->der;

    leaf->key_type = r->key_type;
    leaf->untrusted = r->ca->untrusted;
    leaf->host_specific = host_specific;
    leaf->not_after_ns = dates->until > 0 ? (uint64_t)dates->until * SL_NS_PER_S : 0;
    if (EVP_PKEY_up_ref(key->key) != 1)
        return SL_ERR_CRYPTO;
    leaf->key = key->key;
    if (X509_up_ref(r->ca->cert) != 1)
        return SL_ERR_CRYPTO;
    leaf->issuer = r->ca->cert;
    if (!(leaf->cert = d2i_X509(NULL, &at, (long)leaf->der_len)))
        return SL_ERR_CRYPTO;
    if (EVP_Digest(leaf->der, leaf->der_len, leaf->sha256, NULL, EVP_sha256(), NULL) != 1)
        return SL_ERR_CRYPTO;
    sl_cert_hex(leaf->sha256, leaf->sha256_hex);
    return SL_OK;
}

static sl_err mint(struct leaf_key *key, const struct sl_mint_request *r, const struct sl_leaf_names *names,
                   const struct dates *dates, struct sl_leaf **out)
{
    size_t cap = FIXED_MAX + names->sans_len + r->ca->name_len + key->spki_len;
    uint8_t *bytes = malloc(cap);
    struct sl_der_writer tbs;
    struct leaf_box *box = NULL;
    sl_err err;

    if (!bytes)
        return SL_ERR_NOMEM;
    sl_der_writer_init(&tbs, bytes, cap);
    if ((err = put_tbs(&tbs, r->ca, key, names, dates)) || (err = finish(r->ca, &tbs, &box)) ||
        (err = complete(box, r, key, dates, names->host_specific)))
        goto Exit;
    *out = &box->leaf;
    box = NULL;
Exit:
    free(bytes);
    if (box)
        sl_leaf_unref(&box->leaf);
    ERR_clear_error();
    return err;
}

sl_err sl_mint(struct sl_minter *minter, const struct sl_mint_request *request, struct sl_leaf **out)
{
    struct sl_leaf_names names = {0};
    struct dates dates;
    sl_err err;

    if (!request->ca || !request->upstream || !request->verdict || (unsigned)request->key_type >= KEY_KINDS)
        return SL_ERR_INVALID;
    /* V9: what was not accepted never gets a signature that clients trust. */
    if (!request->ca->untrusted && !sl_verdict_good(request->verdict))
        return SL_ERR_DENIED;
    bool pinned = sl_verdict_good(request->verdict) && request->verdict->pinned;
    if ((err = choose_dates(minter, request, &dates)) ||
        (err = sl_leaf_names_choose(&minter->sensitive, request->upstream, request->host, pinned, &names)))
        return err;
    struct leaf_key *key = current_key(minter, request->key_type);
    err = mint(key, request, &names, &dates, out);
    leaf_key_unref(key);
    sl_leaf_names_free(&names);
    return err;
}
