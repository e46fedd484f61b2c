/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of sl_tls_shared and sl_tls_context; used by the legs. */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>

#include "tls/context.h"
#include "tls/offer.h"
#include "tls/sessions.h"
#include "tls/ticket_keys.h"

struct sl_tls_shared {
    const struct sl_clock *clock;
    struct sl_tls_options options; /* defaults filled in */
    struct sl_ticket_keys *tickets;
};

struct sl_server_ctx {
    struct sl_server_ctx *newer, *older;
    uint8_t hash[16]; /* of the offer */
    SSL_CTX *ctx;
};

enum { SL_CLIENT_CTX_COUNT = 12 }; /* version x (any suite, GCM with 128 bits first, with 256 bits first) x profile */

struct sl_tls_context {
    struct sl_tls_shared *shared;
    BIO_METHOD *bio_method;
    EVP_CIPHER *ticket_cipher;
    struct sl_server_ctx *newest, *oldest; /* by offer, least recently used last */
    size_t server_ctx_count;
    SSL_CTX *client_ctx[SL_CLIENT_CTX_COUNT];
    struct sl_sessions *sessions;
    struct sl_tls_stats stats;
};

/* ---- context.c ---- */
uint64_t sl_tls_wall_ns(const struct sl_tls_context *c);
/* What every SSL_CTX of Sluice has: versions, options, no compression, no renegotiation, no early data (P1, P8, P11). */
sl_err sl_tls_ctx_new(uint16_t version_min, uint16_t version_max, SSL_CTX **out);
/* Suites of both versions in their order, groups, signature algorithms; an empty list of the last two leaves the default. */
sl_err sl_tls_ctx_set_suites(SSL_CTX *ctx, const uint16_t *suites, size_t count);
sl_err sl_tls_ctx_set_groups(SSL_CTX *ctx, const uint16_t *groups, size_t count);
sl_err sl_tls_ctx_set_sigalgs(SSL_CTX *ctx, const uint16_t *sigalgs, size_t count);

/* ---- server_leg.c, client_leg.c: make the SSL_CTX that context.c keeps; borrowed ---- */
sl_err sl_server_ctx_make(const struct sl_offer *offer, struct sl_tls_context *c, SSL_CTX **out);
sl_err sl_server_ctx_get(struct sl_tls_context *c, const struct sl_offer *offer, SSL_CTX **out);
