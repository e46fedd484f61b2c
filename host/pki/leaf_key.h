/* SPDX-License-Identifier: Apache-2.0 */
/* Inside pki: the key that leaves share, with the extensions that are the same for all of them. Immutable and counted. */
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdatomic.h>

#include "pki/mint.h"

enum {
    SL_LEAF_KEY_KINDS = 2, /* of sl_leaf_key_type */
    SL_LEAF_EXTENSIONS = 4 /* basic constraints, key usage, extended key usage, subject key identifier */
};

struct sl_leaf_key {
    atomic_uint references;
    EVP_PKEY *key;
    X509_EXTENSION *extensions[SL_LEAF_EXTENSIONS];
};

sl_err sl_leaf_key_new(enum sl_leaf_key_type type, struct sl_leaf_key **out);
void sl_leaf_key_ref(struct sl_leaf_key *key);
void sl_leaf_key_unref(struct sl_leaf_key *key); /* NULL is allowed */
