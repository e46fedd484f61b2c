/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The leg to the client: Sluice is the TLS server, with the version and the ALPN of the server leg (P13, P15) and suites of the
 * same kind, so that a record keeps its length when it is sealed again. The bytes fed to it begin with the client's raw
 * ClientHello. See tls/leg.h for how it is driven.
 *
 * Tickets: one a connection, sealed with keys that rotate (P12), bound to the server's certificate, verdict, rule, version and ALPN
 * (V11): a client that resumes against other facts gets a full handshake.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "pki/mint.h"
#include "pki/verify.h"
#include "tls/alert.h"
#include "tls/client_hello.h"
#include "tls/context.h"
#include "tls/leg.h"
#include "tls/offer.h"

struct sl_client_leg;

/*
 * The key that the minted leaf must have for this client, version and server suite: P-256 where the client takes it, else RSA (C4).
 * SL_ERR_UNSUPPORTED: the client can't be served with that version under that profile (cause CLI_NO_SHARED_CIPHER).
 */
sl_err sl_client_leg_leaf_key(const struct sl_client_hello *hello, uint16_t version, uint16_t server_suite,
                              enum sl_crypto_profile profile, enum sl_leaf_key_type *out);

struct sl_client_leg_options {
    const struct sl_client_hello *hello;
    enum sl_crypto_profile profile;
    uint16_t version;      /* of the server leg */
    uint16_t server_suite; /* of the server leg */
    const uint8_t *alpn;   /* of the server leg; alpn_len 0: none */
    size_t alpn_len;
    struct sl_leaf *leaf; /* minted; a reference is taken */
    /* What tickets are bound to, besides version and ALPN: the verdict's binding says how the server was verified (V11). */
    const struct sl_verdict *verdict;
    uint64_t rule_id, config_version;
    bool no_tickets;
};

/* SL_ERR_NOMEM, SL_ERR_CRYPTO, SL_ERR_INVALID, SL_ERR_UNSUPPORTED (no suite for that client and leaf). */
sl_err sl_client_leg_new(struct sl_tls_context *context, const struct sl_client_leg_options *options, struct sl_client_leg **out);
void sl_client_leg_free(struct sl_client_leg *leg); /* NULL is allowed */

struct sl_leg *sl_client_leg_base(struct sl_client_leg *leg);
