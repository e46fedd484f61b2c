/* SPDX-License-Identifier: Apache-2.0 */
#include "pki/chain.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

struct sl_chain {
    atomic_uint references;
    size_t count;
    struct sl_chain_cert certs[];
};

enum { SAN_TEXT_MAX = 512 };

/* Printable ASCII stays, the rest is escaped; cut at the end of out. */
static void escape(char *out, size_t cap, const unsigned char *bytes, size_t len)
{
    size_t used = strlen(out);
    for (size_t i = 0; i < len && used + 5 < cap; i++) {
        if (bytes[i] > 0x20 && bytes[i] < 0x7f && bytes[i] != '\\')
            out[used++] = (char)bytes[i];
        else
            used += (size_t)snprintf(out + used, cap - used, "\\x%02X", bytes[i]);
    }
    out[used] = '\0';
}

static char *san_text(const GENERAL_NAME *entry)
{
    char text[SAN_TEXT_MAX] = "";
    int type;
    void *value = GENERAL_NAME_get0_value(entry, &type);
    const unsigned char *bytes = NULL;
    int len = 0;

    if (type == GEN_DNS || type == GEN_EMAIL || type == GEN_URI || type == GEN_IPADD) {
        bytes = ASN1_STRING_get0_data(value);
        len = ASN1_STRING_length(value);
    }
    switch (type) {
    case GEN_IPADD:
        if (!((len == 4 || len == 16) && inet_ntop(len == 4 ? AF_INET : AF_INET6, bytes, text, sizeof(text))))
            snprintf(text, sizeof(text), "IP:malformed");
        break;
    case GEN_EMAIL:
        snprintf(text, sizeof(text), "email:");
        escape(text, sizeof(text), bytes, (size_t)len);
        break;
    case GEN_URI:
        snprintf(text, sizeof(text), "URI:");
        escape(text, sizeof(text), bytes, (size_t)len);
        break;
    case GEN_DNS:
        escape(text, sizeof(text), bytes, (size_t)len);
        break;
    default:
        snprintf(text, sizeof(text), "other:%d", type);
    }
    return strdup(text);
}

static sl_err describe_sans(const X509 *cert, struct sl_chain_cert *out)
{
    sl_err err = SL_OK;
    GENERAL_NAMES *sans = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int count = sk_GENERAL_NAME_num(sans);

    if (count > SL_CERT_SANS_MAX)
        count = SL_CERT_SANS_MAX;
    if (count > 0 && !(out->sans = calloc((size_t)count, sizeof(*out->sans))))
        err = SL_ERR_NOMEM;
    for (int i = 0; i < count && !err; i++) {
        if ((out->sans[i] = san_text(sk_GENERAL_NAME_value(sans, i))) != NULL)
            out->san_count++;
        else
            err = SL_ERR_NOMEM;
    }
    GENERAL_NAMES_free(sans);
    return err;
}

static void time_text(const ASN1_TIME *time, char out[static 31])
{
    int64_t at;
    struct tm tm = {0};

    out[0] = '\0';
    if (sl_cert_time(time, &at) || ASN1_TIME_to_tm(time, &tm) != 1)
        return;
    snprintf(out, 31, "%04u-%02u-%02uT%02u:%02u:%02uZ", (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)(tm.tm_mon + 1) % 100,
             (unsigned)tm.tm_mday % 100, (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
}

static sl_err describe_signature(const X509 *cert, char **out)
{
    const X509_ALGOR *algorithm = NULL;
    const ASN1_OBJECT *object = NULL;
    char text[96] = "unknown";

    X509_get0_signature(NULL, &algorithm, cert);
    X509_ALGOR_get0(&object, NULL, NULL, algorithm);
    int nid = OBJ_obj2nid(object);
    if (nid != NID_undef) /* the long name: "ecdsa-with-SHA256", "sha256WithRSAEncryption" */
        snprintf(text, sizeof(text), "%s", OBJ_nid2ln(nid));
    else
        OBJ_obj2txt(text, (int)sizeof(text), object, 1);
    *out = strdup(text);
    return *out ? SL_OK : SL_ERR_NOMEM;
}

static sl_err describe(X509 *cert, struct sl_chain_cert *out)
{
    sl_err err;
    unsigned char *der = NULL;
    int len = i2d_X509(cert, &der);

    if (len <= 0)
        return SL_ERR_NOMEM;
    if (len > SL_CERT_BYTES_MAX || !(out->der = malloc((size_t)len)))
        err = len > SL_CERT_BYTES_MAX ? SL_ERR_LIMIT : SL_ERR_NOMEM;
    else {
        memcpy(out->der, der, (size_t)len);
        out->der_len = (size_t)len;
        err = sl_cert_sha256(cert, out->sha256);
    }
    OPENSSL_free(der);
    if (err || (err = sl_cert_name_text(X509_get_subject_name(cert), &out->subject)) ||
        (err = sl_cert_name_text(X509_get_issuer_name(cert), &out->issuer)) ||
        (err = sl_cert_common_name(cert, &out->common_name)) || (err = sl_cert_key_text(cert, &out->key)) ||
        (err = describe_signature(cert, &out->signature)) || (err = describe_sans(cert, out)))
        return err;
    sl_cert_hex(out->sha256, out->sha256_hex);
    time_text(X509_get0_notBefore(cert), out->not_before);
    time_text(X509_get0_notAfter(cert), out->not_after);
    return SL_OK;
}

sl_err sl_chain_new(X509 *leaf, const STACK_OF(X509) * stack, struct sl_chain **out)
{
    sl_err err = SL_OK;
    int first = sk_X509_num(stack) > 0 && X509_cmp(sk_X509_value(stack, 0), leaf) == 0 ? 1 : 0;
    int others = sk_X509_num(stack) - first;
    size_t count = 1 + (others > 0 ? (size_t)others : 0);

    if (count > SL_CERT_CHAIN_MAX)
        count = SL_CERT_CHAIN_MAX;
    struct sl_chain *chain = calloc(1, sizeof(*chain) + count * sizeof(chain->certs[0]));
    if (!chain)
        return SL_ERR_NOMEM;
    atomic_init(&chain->references, 1);
    for (size_t i = 0; i < count && !err; i++) {
        chain->count = i + 1;
        err = describe(i == 0 ? leaf : sk_X509_value(stack, first + (int)i - 1), &chain->certs[i]);
    }
    ERR_clear_error();
    if (err)
        sl_chain_unref(chain);
    else
        *out = chain;
    return err;
}

struct sl_chain *sl_chain_ref(struct sl_chain *chain)
{
    if (chain)
        atomic_fetch_add_explicit(&chain->references, 1, memory_order_relaxed);
    return chain;
}

void sl_chain_unref(struct sl_chain *chain)
{
    if (!chain || atomic_fetch_sub_explicit(&chain->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < chain->count; i++) {
        struct sl_chain_cert *c = &chain->certs[i];
        for (size_t k = 0; k < c->san_count; k++)
            free(c->sans[k]);
        free(c->sans);
        free(c->subject);
        free(c->common_name);
        free(c->issuer);
        free(c->key);
        free(c->signature);
        free(c->der);
    }
    free(chain);
}

size_t sl_chain_count(const struct sl_chain *chain)
{
    return chain ? chain->count : 0;
}

const struct sl_chain_cert *sl_chain_at(const struct sl_chain *chain, size_t index)
{
    return index < sl_chain_count(chain) ? &chain->certs[index] : NULL;
}

static bool copy_text(char **out, const char *text)
{
    return (*out = strdup(text)) != NULL;
}

static sl_err fill_message(const struct sl_chain_cert *c, Sluice__V1__ChainCertificate *m)
{
    if (!copy_text(&m->sha256, c->sha256_hex) || !copy_text(&m->subject, c->subject) || !copy_text(&m->issuer, c->issuer) ||
        !copy_text(&m->not_before, c->not_before) || !copy_text(&m->not_after, c->not_after) || !copy_text(&m->key, c->key) ||
        !copy_text(&m->signature, c->signature) || !(m->der.data = malloc(c->der_len)))
        return SL_ERR_NOMEM;
    memcpy(m->der.data, c->der, c->der_len);
    m->der.len = c->der_len;
    if (c->san_count > 0 && !(m->sans = calloc(c->san_count, sizeof(*m->sans))))
        return SL_ERR_NOMEM;
    for (; m->n_sans < c->san_count; m->n_sans++) {
        if (!copy_text(&m->sans[m->n_sans], c->sans[m->n_sans]))
            return SL_ERR_NOMEM;
    }
    return SL_OK;
}

sl_err sl_chain_message(const struct sl_chain *chain, size_t index, Sluice__V1__ChainCertificate **out)
{
    const struct sl_chain_cert *c = sl_chain_at(chain, index);
    Sluice__V1__ChainCertificate *m;
    sl_err err;

    if (!c)
        return SL_ERR_NOT_FOUND;
    if (!(m = malloc(sizeof(*m))))
        return SL_ERR_NOMEM;
    sluice__v1__chain_certificate__init(m);
    if ((err = fill_message(c, m)))
        sluice__v1__chain_certificate__free_unpacked(m, NULL);
    else
        *out = m;
    return err; // NOLINT(clang-analyzer-unix.Malloc): free_unpacked, which the checker can't see into, released it
}
