/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Posture mirroring: what Sluice offers to the server is what the client offered, in the client's order, cut down to what the
 * crypto profile allows and the library speaks. Never more than the client (P5, P6, P15).
 *
 *   modern      TLS 1.3: AES-128-GCM, AES-256-GCM, ChaCha20-Poly1305; TLS 1.2: ECDHE with AES-GCM or ChaCha20-Poly1305
 *   compatible  adds for TLS 1.2: DHE with AES-GCM, ECDHE with AES-CBC, RSA key exchange with AES-GCM
 *
 * Suites other than AES-GCM are negotiated like any other but relayed through OpenSSL.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "sluice/v1/event.pb-c.h"
#include "tls/client_hello.h"

enum sl_crypto_profile { SL_PROFILE_MODERN, SL_PROFILE_COMPATIBLE };

enum {
    SL_OFFER_SUITES_MAX = 32,
    SL_OFFER_GROUPS_MAX = 12,
    SL_OFFER_SIGALGS_MAX = 20,
    SL_OFFER_ALPN_MAX = 256,   /* bytes of the wire list */
    SL_OFFER_DROPPED_MAX = 128 /* suites listed as dropped */
};

/* Plain data; may be copied. */
struct sl_offer {
    uint16_t version_min, version_max; /* SL_TLS12 or SL_TLS13 */
    uint16_t suites[SL_OFFER_SUITES_MAX];
    size_t suite_count;
    uint16_t groups[SL_OFFER_GROUPS_MAX];
    size_t group_count;
    uint16_t sigalgs[SL_OFFER_SIGALGS_MAX];
    size_t sigalg_count;
    uint8_t alpn[SL_OFFER_ALPN_MAX]; /* wire list without its outer length; the client's, whole names only */
    size_t alpn_len;
    uint16_t dropped[SL_OFFER_DROPPED_MAX]; /* what the client offered and we did not, for the cipher-gap explanation */
    size_t dropped_count;
    bool fallback_scsv; /* the client said that it comes again with less (RFC 7507): so do we */
    enum sl_crypto_profile profile;
    uint8_t hash[16]; /* of everything that goes to the server: equal hash, equal offer */
};

/*
 * SL_OK, or SL_ERR_UNSUPPORTED with *cause CLI_UNSUPPORTED_VERSION (neither TLS 1.2 nor 1.3) or CLI_NO_SHARED_CIPHER (nothing left
 * of suites or groups). *offer is always filled as far as it got. cause may be NULL.
 */
sl_err sl_offer_make(const struct sl_client_hello *hello, enum sl_crypto_profile profile, struct sl_offer *offer,
                     Sluice__V1__Cause *cause);

/* A suite that Sluice can speak at all. */
struct sl_tls_suite {
    uint16_t id;
    uint16_t version;           /* SL_TLS12 or SL_TLS13 */
    const char *openssl_name;   /* as its cipher list spells it */
    uint8_t key_exchange, auth; /* enum sl_suite_kx, enum sl_suite_auth */
    bool gcm;                   /* its records go through record/ */
    bool modern;                /* allowed in the modern profile */
};
enum sl_suite_kx { SL_KX_TLS13, SL_KX_ECDHE, SL_KX_DHE, SL_KX_RSA };
enum sl_suite_auth { SL_AUTH_ANY, SL_AUTH_ECDSA, SL_AUTH_RSA };

/* NULL: not one of ours. Static storage. */
const struct sl_tls_suite *sl_tls_suite_find(uint16_t id);
