/* SPDX-License-Identifier: Apache-2.0 */
/* Inside pki: a CA with what minting needs of it prepared. */
#pragma once

#include <openssl/evp.h>
#include <stdatomic.h>

#include "pki/ca.h"

struct sl_ca {
    atomic_uint references;
    bool untrusted;
    X509 *cert;
    EVP_PKEY *key;
    EVP_MD_CTX *signer;  /* set up with key and SHA-256, to be copied for each signature */
    X509_EXTENSION *aki; /* authority key identifier of its leaves */
    uint8_t *der;
    size_t der_len;
    int64_t not_before_s, not_after_s;
    uint8_t sha256[SL_SHA256_LEN];
    char sha256_hex[SL_SHA256_HEX];
    char not_after[31];
    char *subject, *pem;
};

/* Takes over references of both. SL_ERR_CORRUPT: they don't belong together, or the certificate is no CA. */
sl_err sl_ca_make(X509 *cert, EVP_PKEY *key, bool untrusted, struct sl_ca **out);
