/* SPDX-License-Identifier: Apache-2.0 */
#include "pki/cert.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"

enum { NAME_TEXT_MAX = 1024 };

static sl_err decode_der(const uint8_t *bytes, size_t len, X509 **out, struct sl_diag *diag)
{
    const unsigned char *at = bytes;
    X509 *cert = d2i_X509(NULL, &at, (long)len);

    if (!cert) {
        ERR_clear_error();
        return sl_fail(diag, SL_ERR_CORRUPT, "neither a PEM nor a DER certificate");
    }
    if (at != bytes + len) {
        X509_free(cert);
        return sl_fail(diag, SL_ERR_CORRUPT, "%zu bytes after the end of the DER certificate", (size_t)(bytes + len - at));
    }
    *out = cert;
    return SL_OK;
}

static sl_err decode_pem(const void *bytes, size_t len, X509 **out, struct sl_diag *diag)
{
    sl_err err = SL_OK;
    X509 *first = NULL, *second = NULL;
    BIO *bio = BIO_new_mem_buf(bytes, (int)len);

    if (!bio)
        return sl_fail(diag, SL_ERR_NOMEM, "no memory for the certificate");
    /* An empty passphrase, so that an encrypted block never asks on a terminal. */
    first = PEM_read_bio_X509(bio, NULL, NULL, (void *)"");
    if (!first)
        err = sl_fail(diag, SL_ERR_CORRUPT, "the PEM text has no readable CERTIFICATE block");
    else if ((second = PEM_read_bio_X509(bio, NULL, NULL, (void *)"")) != NULL)
        err = sl_fail(diag, SL_ERR_CORRUPT, "more than one certificate: give the one that is meant");
    ERR_clear_error();
    if (!err) {
        *out = first;
        first = NULL;
    }
    X509_free(first);
    X509_free(second);
    BIO_free(bio);
    return err;
}

sl_err sl_cert_decode(const void *bytes, size_t len, X509 **out, struct sl_diag *diag)
{
    static const char mark[] = "-----BEGIN ";
    X509 *cert = NULL;
    sl_err err;

    if (len > SL_CERT_IMPORT_MAX)
        return sl_fail(diag, SL_ERR_LIMIT, "larger than %d bytes", SL_CERT_IMPORT_MAX);
    if (len == 0)
        return sl_fail(diag, SL_ERR_CORRUPT, "empty");
    if (memmem(bytes, len, mark, sizeof(mark) - 1))
        err = decode_pem(bytes, len, &cert, diag);
    else
        err = decode_der(bytes, len, &cert, diag);
    if (err)
        return err;
    int der_len = i2d_X509(cert, NULL);
    if (der_len <= 0 || der_len > SL_CERT_BYTES_MAX) {
        X509_free(cert);
        return sl_fail(diag, SL_ERR_LIMIT, "the certificate is larger than %d bytes", SL_CERT_BYTES_MAX);
    }
    *out = cert;
    return SL_OK;
}

sl_err sl_cert_decode_chain(const struct sl_der *certs, size_t count, STACK_OF(X509) * *out)
{
    sl_err err = SL_OK;
    size_t total = 0;
    X509 *cert = NULL;
    STACK_OF(X509) *stack = NULL;

    if (count == 0)
        return SL_ERR_INVALID;
    if (count > SL_CERT_CHAIN_MAX)
        return SL_ERR_LIMIT;
    if (!(stack = sk_X509_new_null()))
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        if (certs[i].len > SL_CERT_BYTES_MAX || (total += certs[i].len) > SL_CERT_CHAIN_BYTES_MAX) {
            err = SL_ERR_LIMIT;
            goto Exit;
        }
        if ((err = decode_der(certs[i].data, certs[i].len, &cert, NULL)))
            goto Exit;
        if (!sk_X509_push(stack, cert)) {
            X509_free(cert);
            err = SL_ERR_NOMEM;
            goto Exit;
        }
    }
    *out = stack;
    stack = NULL;
Exit:
    sk_X509_pop_free(stack, X509_free);
    return err;
}

sl_err sl_cert_encode(X509 *cert, uint8_t **out, size_t *len)
{
    unsigned char *der = NULL;
    int n = i2d_X509(cert, &der);

    if (n <= 0)
        return SL_ERR_NOMEM;
    *out = der;
    *len = (size_t)n;
    return SL_OK;
}

sl_err sl_cert_sha256(const X509 *cert, uint8_t out[static SL_SHA256_LEN])
{
    unsigned len = 0;
    return X509_digest(cert, EVP_sha256(), out, &len) == 1 && len == SL_SHA256_LEN ? SL_OK : SL_ERR_CRYPTO;
}

sl_err sl_cert_spki_sha256(const X509 *cert, uint8_t out[static SL_SHA256_LEN])
{
    sl_err err = SL_ERR_CRYPTO;
    unsigned char *der = NULL;
    unsigned hash_len = 0;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);

    if (len > 0 && EVP_Digest(der, (size_t)len, out, &hash_len, EVP_sha256(), NULL) == 1 && hash_len == SL_SHA256_LEN)
        err = SL_OK;
    OPENSSL_free(der);
    return err;
}

void sl_cert_hex(const uint8_t sha256[static SL_SHA256_LEN], char out[static SL_SHA256_HEX])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < SL_SHA256_LEN; i++) {
        out[2 * i] = digits[sha256[i] >> 4];
        out[2 * i + 1] = digits[sha256[i] & 15];
    }
    out[SL_SHA256_HEX - 1] = '\0';
}

/* Appends value with everything escaped that could forge a second field or line; silently stops at the limit. */
static sl_err append_escaped(struct sl_buf *text, const unsigned char *value, size_t len)
{
    sl_err err = SL_OK;
    for (size_t i = 0; i < len && !err; i++) {
        if (value[i] < 0x20 || value[i] == 0x7f || value[i] == '/' || value[i] == '\\')
            err = sl_buf_printf(text, "\\x%02X", value[i]);
        else
            err = sl_buf_append(text, &value[i], 1);
    }
    return err;
}

static sl_err append_entry(struct sl_buf *text, const X509_NAME_ENTRY *entry)
{
    const ASN1_OBJECT *object = X509_NAME_ENTRY_get_object(entry);
    int nid = OBJ_obj2nid(object);
    char oid[80];
    unsigned char *value = NULL;
    sl_err err;

    if (nid != NID_undef)
        err = sl_buf_printf(text, "/%s=", OBJ_nid2sn(nid));
    else {
        OBJ_obj2txt(oid, (int)sizeof(oid), object, 1);
        err = sl_buf_printf(text, "/%s=", oid);
    }
    int len = err ? -1 : ASN1_STRING_to_UTF8(&value, X509_NAME_ENTRY_get_data(entry));
    if (len > 0)
        err = append_escaped(text, value, (size_t)len);
    OPENSSL_free(value);
    ERR_clear_error();
    return err;
}

/* Cuts an incomplete UTF-8 sequence off the end. */
static size_t whole_utf8(const uint8_t *text, size_t len)
{
    size_t at = len;
    while (at > 0 && len - at < 4 && (text[at - 1] & 0xc0) == 0x80)
        at--;
    if (at == 0 || (text[at - 1] & 0x80) == 0)
        return len;
    uint8_t lead = text[at - 1];
    size_t want = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    return len - (at - 1) >= want ? len : at - 1;
}

static sl_err take_text(struct sl_buf *text, char **out)
{
    size_t len = sl_buf_len(text) ? whole_utf8(sl_buf_data(text), sl_buf_len(text)) : 0;
    char *copy = malloc(len + 1);

    if (!copy)
        return SL_ERR_NOMEM;
    if (len)
        memcpy(copy, sl_buf_data(text), len);
    copy[len] = '\0';
    *out = copy;
    return SL_OK;
}

sl_err sl_cert_name_text(const X509_NAME *name, char **out)
{
    struct sl_buf text;
    sl_err err = SL_OK;

    sl_buf_init(&text, NAME_TEXT_MAX - 1);
    for (int i = 0; i < X509_NAME_entry_count(name) && !err; i++)
        err = append_entry(&text, X509_NAME_get_entry(name, i));
    if (err == SL_ERR_LIMIT) /* a name that long is shown cut */
        err = SL_OK;
    if (!err)
        err = take_text(&text, out);
    sl_buf_free(&text);
    return err;
}

sl_err sl_cert_common_name(const X509 *cert, char **out)
{
    const X509_NAME *name = X509_get_subject_name(cert);
    int at = -1, next = -1;
    unsigned char *value = NULL;
    int len = 0;
    bool plain = true;

    while ((next = X509_NAME_get_index_by_NID(name, NID_commonName, at)) >= 0)
        at = next;
    if (at >= 0)
        len = ASN1_STRING_to_UTF8(&value, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    for (int i = 0; i < len; i++)
        plain = plain && value[i] >= 0x20 && value[i] != 0x7f;
    ERR_clear_error();
    char *copy = plain && len > 0 && len < NAME_TEXT_MAX ? strndup((const char *)value, (size_t)len) : strdup("");
    OPENSSL_free(value);
    if (!copy)
        return SL_ERR_NOMEM;
    *out = copy;
    return SL_OK;
}

/* The names people use for the curves, not the library's. */
static const char *curve_name(const char *group)
{
    static const struct {
        const char *group, *name;
    } names[] = {
        {"prime256v1", "P-256"}, {"secp384r1", "P-384"}, {"secp521r1", "P-521"}, {"secp224r1", "P-224"}, {"prime192v1", "P-192"}};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i].group, group) == 0)
            return names[i].name;
    }
    return group;
}

sl_err sl_cert_key_text(const X509 *cert, char **out)
{
    char text[96] = "unknown", group[64];
    size_t len = 0;
    const EVP_PKEY *key = X509_get0_pubkey(cert);

    if (key) {
        int bits = EVP_PKEY_get_bits(key);
        switch (EVP_PKEY_get_base_id(key)) {
        case EVP_PKEY_EC:
            if (EVP_PKEY_get_group_name(key, group, sizeof(group), &len) == 1)
                snprintf(text, sizeof(text), "EC %s", curve_name(group));
            else
                snprintf(text, sizeof(text), "EC %d", bits);
            break;
        case EVP_PKEY_RSA:
            snprintf(text, sizeof(text), "RSA %d", bits);
            break;
        case EVP_PKEY_RSA_PSS:
            snprintf(text, sizeof(text), "RSA-PSS %d", bits);
            break;
        case EVP_PKEY_ED25519:
            snprintf(text, sizeof(text), "Ed25519");
            break;
        case EVP_PKEY_ED448:
            snprintf(text, sizeof(text), "Ed448");
            break;
        default:
            snprintf(text, sizeof(text), "%s %d", OBJ_nid2sn(EVP_PKEY_get_base_id(key)), bits);
        }
    }
    ERR_clear_error();
    *out = strdup(text);
    return *out ? SL_OK : SL_ERR_NOMEM;
}

sl_err sl_cert_time(const ASN1_TIME *time, int64_t *out)
{
    struct tm tm = {0};

    if (!time || ASN1_TIME_to_tm(time, &tm) != 1) {
        ERR_clear_error();
        return SL_ERR_CORRUPT;
    }
    *out = (int64_t)timegm(&tm);
    return SL_OK;
}
