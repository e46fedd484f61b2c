/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pki/ca_impl.h"

enum { DAYS_DEFAULT = 3650, DAYS_MAX = 7300, DAY_S = 86400, NAME_CHARS_MAX = 64, UNTRUSTED_DAYS = 365, SERIAL_LEN = 16 };

static sl_err prepare_signing(struct sl_ca *ca)
{
    X509V3_CTX ctx;

    if (EVP_PKEY_get_base_id(ca->key) != EVP_PKEY_RSA && EVP_PKEY_get_base_id(ca->key) != EVP_PKEY_EC)
        return SL_ERR_UNSUPPORTED;
    if (!(ca->signer = EVP_MD_CTX_new()) || EVP_DigestSignInit(ca->signer, NULL, EVP_sha256(), NULL, ca->key) != 1)
        return SL_ERR_CRYPTO;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, ca->cert, NULL, NULL, NULL, 0);
    ca->aki = X509V3_EXT_conf_nid(NULL, &ctx, NID_authority_key_identifier, "keyid:always");
    return ca->aki ? SL_OK : SL_ERR_CORRUPT;
}

static sl_err prepare_bytes(struct sl_ca *ca)
{
    unsigned char *der = NULL;
    int len = i2d_X509(ca->cert, &der);

    if (len <= 0)
        return SL_ERR_NOMEM;
    ca->der = der;
    ca->der_len = (size_t)len;
    return SL_OK;
}

static sl_err prepare_text(struct sl_ca *ca)
{
    char *pem;
    sl_err err = SL_ERR_NOMEM;
    BIO *bio = BIO_new(BIO_s_mem());

    if (bio && PEM_write_bio_X509(bio, ca->cert) == 1) {
        long len = BIO_get_mem_data(bio, &pem);
        if (len > 0 && (ca->pem = malloc((size_t)len + 1)) != NULL) {
            memcpy(ca->pem, pem, (size_t)len); /* no final NUL in the BIO */
            ca->pem[len] = '\0';
            err = sl_cert_name_text(X509_get_subject_name(ca->cert), &ca->subject);
        }
    }
    BIO_free(bio);
    char text[31];
    sl_time_rfc3339((uint64_t)ca->not_after_s * SL_NS_PER_S, text);
    snprintf(ca->not_after, sizeof(ca->not_after), "%.19sZ", text); /* whole seconds */
    return err;
}

sl_err sl_ca_make(X509 *cert, EVP_PKEY *key, bool untrusted, struct sl_ca **out)
{
    struct sl_ca *ca = calloc(1, sizeof(*ca));
    sl_err err;

    if (!ca) {
        X509_free(cert);
        EVP_PKEY_free(key);
        return SL_ERR_NOMEM;
    }
    atomic_init(&ca->references, 1);
    ca->cert = cert;
    ca->key = key;
    ca->untrusted = untrusted;
    /* Fills the library's cache in the certificate before threads share it. */
    if (X509_check_ca(cert) != 1 || X509_check_private_key(cert, key) != 1)
        err = SL_ERR_CORRUPT;
    else if ((err = sl_cert_time(X509_get0_notBefore(cert), &ca->not_before_s)) ||
             (err = sl_cert_time(X509_get0_notAfter(cert), &ca->not_after_s)))
        ;
    else if (ca->not_after_s < 0 || (uint64_t)ca->not_after_s > UINT64_MAX / SL_NS_PER_S)
        err = SL_ERR_CORRUPT;
    else if ((err = prepare_signing(ca)) || (err = prepare_bytes(ca)) || (err = prepare_text(ca)))
        ;
    else
        err = sl_cert_sha256(cert, ca->sha256);
    sl_cert_hex(ca->sha256, ca->sha256_hex);
    ERR_clear_error();
    if (err)
        sl_ca_unref(ca);
    else
        *out = ca;
    return err;
}

struct sl_ca *sl_ca_ref(struct sl_ca *ca)
{
    if (ca)
        atomic_fetch_add_explicit(&ca->references, 1, memory_order_relaxed);
    return ca;
}

void sl_ca_unref(struct sl_ca *ca)
{
    if (!ca || atomic_fetch_sub_explicit(&ca->references, 1, memory_order_acq_rel) != 1)
        return;
    EVP_MD_CTX_free(ca->signer);
    EVP_PKEY_free(ca->key);
    X509_free(ca->cert);
    X509_EXTENSION_free(ca->aki);
    OPENSSL_free(ca->der);
    free(ca->subject);
    free(ca->pem);
    free(ca);
}

/* --- making one --- */

static EVP_PKEY *new_key(enum sl_ca_key kind)
{
    enum { RSA_BITS = 3072 };
    return kind == SL_CA_RSA3072 ? EVP_RSA_gen(RSA_BITS) : EVP_EC_gen("P-256");
}

static bool set_serial(X509 *cert)
{
    uint8_t bytes[SERIAL_LEN];
    bool done = false;

    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return false;
    bytes[0] = (uint8_t)((bytes[0] & 0x3f) | 0x40); /* positive, and of the same length every time */
    BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
    if (number)
        done = BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL;
    BN_free(number);
    return done;
}

static bool set_name(X509 *cert, const char *common_name)
{
    X509_NAME *name = X509_NAME_new();
    bool done = name && X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)common_name, -1, -1, 0) == 1 &&
                X509_set_subject_name(cert, name) == 1 && X509_set_issuer_name(cert, name) == 1;
    X509_NAME_free(name);
    return done;
}

static bool add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool done = extension && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return done;
}

static X509 *new_certificate(const struct sl_ca_options *o, EVP_PKEY *key, int64_t now, uint32_t days)
{
    X509 *cert = X509_new();
    int64_t from = now - DAY_S, until = now + (int64_t)days * DAY_S; /* a day for clocks that run late */

    if (cert && X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) && set_name(cert, o->common_name) &&
        ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)from) && ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)until) &&
        X509_set_pubkey(cert, key) == 1 && add_extension(cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
        add_extension(cert, NID_key_usage, "critical,keyCertSign,cRLSign") &&
        add_extension(cert, NID_subject_key_identifier, "hash") && X509_sign(cert, key, EVP_sha256()) > 0)
        return cert;
    X509_free(cert);
    return NULL;
}

static sl_err check_options(const struct sl_ca_options *o, struct sl_diag *diag)
{
    size_t len = o->common_name ? strlen(o->common_name) : 0;

    if (len == 0 || len > NAME_CHARS_MAX)
        return sl_fail(diag, SL_ERR_INVALID, "the CA's common name must have 1 to %d characters", NAME_CHARS_MAX);
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)o->common_name[i] < 0x20 || o->common_name[i] == 0x7f)
            return sl_fail(diag, SL_ERR_INVALID, "the CA's common name must not hold control characters");
    }
    if (o->validity_days > DAYS_MAX)
        return sl_fail(diag, SL_ERR_INVALID, "a CA can be valid for at most %d days", DAYS_MAX);
    return SL_OK;
}

sl_err sl_ca_generate(const struct sl_ca_options *options, bool untrusted, struct sl_ca **out, struct sl_diag *diag)
{
    const struct sl_clock *clock = options->clock ? options->clock : sl_clock_system();
    int64_t now = (int64_t)(clock->wall_ns(clock->arg) / SL_NS_PER_S);
    sl_err err = check_options(options, diag);

    if (err)
        return err;
    EVP_PKEY *key = new_key(options->key);
    X509 *cert = key ? new_certificate(options, key, now, options->validity_days ? options->validity_days : DAYS_DEFAULT) : NULL;
    ERR_clear_error();
    if (!cert) {
        EVP_PKEY_free(key);
        return sl_fail(diag, SL_ERR_CRYPTO, "the CA could not be made: is the common name valid UTF-8?");
    }
    err = sl_ca_make(cert, key, untrusted, out);
    return err ? sl_fail(diag, err, "the CA could not be made: %s", sl_err_str(err)) : SL_OK;
}

sl_err sl_ca_untrusted_new(const char *device_name, const struct sl_clock *clock, struct sl_ca **out, struct sl_diag *diag)
{
    char name[NAME_CHARS_MAX + 1];
    const struct sl_ca_options options = {.common_name = name, .validity_days = UNTRUSTED_DAYS, .clock = clock};

    snprintf(name, sizeof(name), "UNTRUSTED %.48s", device_name && device_name[0] ? device_name : "Sluice");
    return sl_ca_generate(&options, true, out, diag);
}

X509 *sl_ca_certificate(const struct sl_ca *ca)
{
    return ca->cert;
}

struct sl_der sl_ca_der(const struct sl_ca *ca)
{
    return (struct sl_der){.data = ca->der, .len = ca->der_len};
}

const char *sl_ca_pem(const struct sl_ca *ca)
{
    return ca->pem;
}

const uint8_t *sl_ca_sha256(const struct sl_ca *ca)
{
    return ca->sha256;
}

const char *sl_ca_sha256_hex(const struct sl_ca *ca)
{
    return ca->sha256_hex;
}

const char *sl_ca_subject(const struct sl_ca *ca)
{
    return ca->subject;
}

const char *sl_ca_not_after(const struct sl_ca *ca)
{
    return ca->not_after;
}

bool sl_ca_is_untrusted(const struct sl_ca *ca)
{
    return ca->untrusted;
}
