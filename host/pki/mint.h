/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leaf certificates for clients. A leaf says what the server's certificate says and no more: its subject's common name, its DNS
 * names and addresses, dates no wider than the original's and under 200 days (C3); one purpose, server authentication; nothing that
 * only the original's CA could state: no EV policies, no SCTs, no must-staple, no AIA (C7).
 *
 * Fast path: put together from parts prepared per CA and key; one signature; one encoding; nothing is parsed.
 *
 * Keys: the leaves of a process share one P-256 and one RSA-2048 key, made at start and again when told (daily). That costs no
 * security: all would lie in the same process, next to the CA key that could sign any other.
 *
 * Where it departs from the original, always because the operator said so or towards less:
 *   - an accepted pin: the requested host is added if the certificate lacks it, and if its dates are over the leaf lives for a day;
 *   - a name on the sensitive list (C9) is left out; if that takes away the requested host, and a wildcard had proved it, the host
 * alone is put in; a host that is itself sensitive is refused.
 */
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "pki/ca.h"
#include "pki/verify.h"

enum sl_leaf_key_type {
    SL_LEAF_P256,
    SL_LEAF_RSA2048 /* for a client whose signature algorithms or suites have no ECDSA with P-256 */
};

/* Immutable and counted atomically; shared by all connections that present it. */
struct sl_leaf {
    X509 *cert;
    EVP_PKEY *key;
    X509 *issuer; /* to be sent after the leaf only where the issuer is not the clients' anchor: see untrusted */
    const uint8_t *der;
    size_t der_len;
    uint8_t sha256[SL_SHA256_LEN];
    char sha256_hex[SL_SHA256_HEX];
    uint64_t not_after_ns;
    enum sl_leaf_key_type key_type;
    bool untrusted;     /* signed by the untrusted CA */
    bool host_specific; /* its names depend on the requested host: not for other hosts */
};
struct sl_leaf *sl_leaf_ref(struct sl_leaf *leaf);
void sl_leaf_unref(struct sl_leaf *leaf); /* NULL is allowed */

struct sl_minter;

struct sl_minter_options {
    const struct sl_clock *clock; /* NULL: the system's */
    const char *const *sensitive; /* names that are never signed for: "mgmt.example.com", "*.internal.example", addresses (C9) */
    size_t sensitive_count;
    uint32_t max_days; /* 0: 90; at most 197 */
};

/* Makes both keys (RSA: some 100 ms). Thread-safe afterwards. SL_ERR_INVALID: a sensitive name that is none. */
sl_err sl_minter_new(const struct sl_minter_options *options, struct sl_minter **out, struct sl_diag *diag);
void sl_minter_free(struct sl_minter *minter); /* NULL is allowed */
/* New keys for the leaves minted from now on. Slow (RSA); not for an event loop. On failure the old keys stay. */
sl_err sl_minter_rotate(struct sl_minter *minter);

struct sl_mint_request {
    struct sl_ca *ca;                 /* the decryption CA; the untrusted CA if the verdict is bad (V9) */
    X509 *upstream;                   /* the server's leaf */
    const struct sl_verdict *verdict; /* of that leaf */
    const char *host;                 /* what the client asked for: a name or an address */
    enum sl_leaf_key_type key_type;
};

/* SL_ERR_DENIED: the verdict is bad and ca is not an untrusted CA, or a sensitive name; SL_ERR_STATE: the CA is expired or not yet
 * valid; SL_ERR_CRYPTO, SL_ERR_NOMEM. *out is then unchanged. */
sl_err sl_mint(struct sl_minter *minter, const struct sl_mint_request *request, struct sl_leaf **out);
