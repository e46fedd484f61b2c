/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a leaf is made: what is the same for all leaves of a key (extensions) and of a CA (issuer, authority key identifier, a
 * signature context) is prepared; serial, dates, subject and names are new; one signature; one encoding.
 *
 * Why the certificate is put together and not parsed from DER: the library's parser hands every public key to its decoders, which
 * takes ten times as long as the signature. For the same reason the leaf keys are of the library's older kind (leaf_key.c): such a
 * key goes into a certificate as it is.
 */
#include "pki/mint.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "pki/ca_impl.h"
#include "pki/leaf_key.h"
#include "pki/mint_impl.h"

enum {
    DAY_S = 86400,
    DAYS_DEFAULT = 90,
    DAYS_MAX = 197, /* with a margin below the 200 at which clients refuse (C3) */
    BACKDATE_S = DAY_S,
    PIN_EXCUSED_S = DAY_S, /* life of a leaf for a pinned certificate that is out of its dates */
    SERIAL_LEN = 16
};

struct sl_minter {
    const struct sl_clock *clock;
    uint32_t max_days;
    struct sl_sensitive_list sensitive;
    pthread_mutex_t lock; /* guards keys */
    struct sl_leaf_key *keys[SL_LEAF_KEY_KINDS];
};

/* What sl_leaf promises, and what it needs to keep that. */
struct leaf_box {
    struct sl_leaf leaf; /* first, so that a leaf is its box */
    atomic_uint references;
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
    OPENSSL_free((void *)leaf->der);
    free(box);
}

/* --- the minter --- */

static struct sl_leaf_key *current_key(struct sl_minter *m, enum sl_leaf_key_type type)
{
    pthread_mutex_lock(&m->lock);
    struct sl_leaf_key *k = m->keys[type];
    sl_leaf_key_ref(k);
    pthread_mutex_unlock(&m->lock);
    return k;
}

sl_err sl_minter_rotate(struct sl_minter *minter)
{
    struct sl_leaf_key *fresh[SL_LEAF_KEY_KINDS] = {NULL}, *old;
    sl_err err = SL_OK;

    for (int i = 0; i < SL_LEAF_KEY_KINDS && !err; i++)
        err = sl_leaf_key_new((enum sl_leaf_key_type)i, &fresh[i]);
    for (int i = 0; i < SL_LEAF_KEY_KINDS; i++) {
        old = fresh[i];
        if (!err) {
            pthread_mutex_lock(&minter->lock);
            old = minter->keys[i];
            minter->keys[i] = fresh[i];
            pthread_mutex_unlock(&minter->lock);
        }
        sl_leaf_key_unref(old);
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
    for (int i = 0; i < SL_LEAF_KEY_KINDS; i++)
        sl_leaf_key_unref(minter->keys[i]);
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

/* --- the certificate --- */

static bool set_serial(X509 *cert)
{
    uint8_t serial[SERIAL_LEN];

    if (RAND_bytes(serial, sizeof(serial)) != 1)
        return false;
    serial[0] = (uint8_t)((serial[0] & 0x3f) | 0x40); /* positive, and of the same length every time; 126 bits are random (C4) */
    return ASN1_STRING_set(X509_get_serialNumber(cert), serial, sizeof(serial)) == 1;
}

static bool set_subject(X509 *cert, const char *common_name)
{
    X509_NAME *name = X509_NAME_new();
    bool done = name &&
                (!common_name[0] || X509_NAME_add_entry_by_NID(name, NID_commonName, V_ASN1_UTF8STRING,
                                                               (const unsigned char *)common_name, -1, -1, 0) == 1) &&
                X509_set_subject_name(cert, name) == 1;
    X509_NAME_free(name);
    return done;
}

/* Critical if the subject is empty (RFC 5280 section 4.2.1.6). */
static bool add_names(X509 *cert, const struct sl_leaf_names *names)
{
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    X509_EXTENSION *extension = NULL;

    if (value && ASN1_OCTET_STRING_set(value, names->sans, (int)names->sans_len) == 1)
        extension = X509_EXTENSION_create_by_NID(NULL, NID_subject_alt_name, names->common_name[0] ? 0 : 1, value);
    bool done = extension && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    ASN1_OCTET_STRING_free(value);
    return done;
}

static bool add_extensions(X509 *cert, const struct sl_ca *ca, const struct sl_leaf_key *key, const struct sl_leaf_names *names)
{
    for (size_t i = 0; i < SL_LEAF_EXTENSIONS; i++) {
        if (X509_add_ext(cert, key->extensions[i], -1) != 1)
            return false;
    }
    return X509_add_ext(cert, ca->aki, -1) == 1 && (names->sans_len == 0 || add_names(cert, names));
}

static bool sign(X509 *cert, const struct sl_ca *ca)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool done = ctx && EVP_MD_CTX_copy_ex(ctx, ca->signer) == 1 && X509_sign_ctx(cert, ctx) > 0;
    EVP_MD_CTX_free(ctx);
    return done;
}

static X509 *make(const struct sl_ca *ca, const struct sl_leaf_key *key, const struct sl_leaf_names *names,
                  const struct dates *dates)
{
    X509 *cert = X509_new();

    if (cert && X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
        X509_set_issuer_name(cert, X509_get_subject_name(ca->cert)) == 1 &&
        ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)dates->from) &&
        ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)dates->until) && set_subject(cert, names->common_name) &&
        X509_set_pubkey(cert, key->key) == 1 && add_extensions(cert, ca, key, names) && sign(cert, ca))
        return cert;
    X509_free(cert);
    return NULL;
}

static sl_err mint(struct sl_leaf_key *key, const struct sl_mint_request *r, const struct sl_leaf_names *names,
                   const struct dates *dates, struct sl_leaf **out)
{
    struct leaf_box *box = calloc(1, sizeof(*box));
    unsigned char *der = NULL;
    int len;
    sl_err err = SL_ERR_CRYPTO;

    if (!box)
        return SL_ERR_NOMEM;
    struct sl_leaf *leaf = &box->leaf;
    atomic_init(&box->references, 1);
    leaf->key_type = r->key_type;
    leaf->untrusted = r->ca->untrusted;
    leaf->host_specific = names->host_specific;
    leaf->not_after_ns = dates->until > 0 ? (uint64_t)dates->until * SL_NS_PER_S : 0;
    if (EVP_PKEY_up_ref(key->key) == 1)
        leaf->key = key->key;
    if (X509_up_ref(r->ca->cert) == 1)
        leaf->issuer = r->ca->cert;
    if (!leaf->key || !leaf->issuer || !(leaf->cert = make(r->ca, key, names, dates)))
        goto Exit;
    if ((len = i2d_X509(leaf->cert, &der)) <= 0)
        goto Exit;
    leaf->der = der;
    leaf->der_len = (size_t)len;
    if (EVP_Digest(der, leaf->der_len, leaf->sha256, NULL, EVP_sha256(), NULL) != 1)
        goto Exit;
    sl_cert_hex(leaf->sha256, leaf->sha256_hex);
    *out = leaf;
    err = SL_OK;
Exit:
    ERR_clear_error();
    if (err)
        sl_leaf_unref(leaf);
    return err;
}

sl_err sl_mint(struct sl_minter *minter, const struct sl_mint_request *request, struct sl_leaf **out)
{
    struct sl_leaf_names names = {0};
    struct dates dates;
    sl_err err;

    if (!request->ca || !request->upstream || !request->verdict || (unsigned)request->key_type >= SL_LEAF_KEY_KINDS)
        return SL_ERR_INVALID;
    /* V9: what was not accepted never gets a signature that clients trust. */
    if (!request->ca->untrusted && !sl_verdict_good(request->verdict))
        return SL_ERR_DENIED;
    bool pinned = sl_verdict_good(request->verdict) && request->verdict->pinned;
    if ((err = choose_dates(minter, request, &dates)) ||
        (err = sl_leaf_names_choose(&minter->sensitive, request->upstream, request->host, pinned, &names)))
        return err;
    struct sl_leaf_key *key = current_key(minter, request->key_type);
    err = mint(key, request, &names, &dates, out);
    sl_leaf_key_unref(key);
    sl_leaf_names_free(&names);
    return err;
}
