/* SPDX-License-Identifier: Apache-2.0 */
/* Single certificates: decoding what somebody hands in, fingerprints, and how a certificate reads in an event. */
#pragma once

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    SL_CERT_BYTES_MAX = 65536,        /* one certificate; 1,000 subject alternative names take about 30 KiB (V15) */
    SL_CERT_CHAIN_MAX = 16,           /* certificates a server may present */
    SL_CERT_CHAIN_BYTES_MAX = 131072, /* all of them together */
    SL_CERT_SANS_MAX = 2500,          /* names of one certificate */
    SL_CERT_IMPORT_MAX = 262144,      /* a PEM or DER file that an operator hands in */
    SL_SHA256_LEN = 32,
    SL_SHA256_HEX = 65 /* with the final NUL */
};

/* Borrowed DER bytes. */
struct sl_der {
    const uint8_t *data;
    size_t len;
};

/* Decodes exactly one certificate from PEM (text around it is skipped) or DER. *out belongs to the caller (X509_free).
 * SL_ERR_CORRUPT: not a certificate, bytes after it, or several; SL_ERR_LIMIT: too large. Then *out is unchanged and diag says
 * what is wrong. */
sl_err sl_cert_decode(const void *bytes, size_t len, X509 **out, struct sl_diag *diag);

/* Decodes a presented chain, leaf first. *out belongs to the caller: sk_X509_pop_free(out, X509_free). */
sl_err sl_cert_decode_chain(const struct sl_der *certs, size_t count, STACK_OF(X509) * *out);

/* *out belongs to the caller (OPENSSL_free). */
sl_err sl_cert_encode(X509 *cert, uint8_t **out, size_t *len);

sl_err sl_cert_sha256(const X509 *cert, uint8_t out[static SL_SHA256_LEN]);
/* Of the SubjectPublicKeyInfo: the same for every certificate of one key. */
sl_err sl_cert_spki_sha256(const X509 *cert, uint8_t out[static SL_SHA256_LEN]);
void sl_cert_hex(const uint8_t sha256[static SL_SHA256_LEN], char out[static SL_SHA256_HEX]);

/* "/C=DE/CN=www.example.com": one line, control characters and slashes in values escaped; "" for an empty name. malloc'ed, never
 * longer than 1 KiB. */
sl_err sl_cert_name_text(const X509_NAME *name, char **out);
/* The (last) common name in UTF-8; "" if there is none or it has control characters. malloc'ed. */
sl_err sl_cert_common_name(const X509 *cert, char **out);
/* "EC P-256", "RSA 2048", "Ed25519". malloc'ed. */
sl_err sl_cert_key_text(const X509 *cert, char **out);

/* Seconds since 1970; SL_ERR_CORRUPT if it is no valid time. */
sl_err sl_cert_time(const ASN1_TIME *time, int64_t *out);
