/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The leg to the server: Sluice is the TLS client. It offers what tls/offer.h gives, sends fresh randoms and key shares (P5, P10),
 * no early data (P11), and has the server's chain judged by pki/ instead of OpenSSL's default. See tls/leg.h for how it is driven.
 *
 * A chain that is refused ends the handshake with the fitting alert to the server (unknown_ca, certificate_expired, …) unless
 * present_untrusted is set: then the handshake goes on and the verdict stays with the leg, so that the client can be shown a leaf
 * that it does not trust (V9).
 *
 * A session is kept for resumption only if the chain was accepted, under a key of everything that the verdict depended on (V11). A
 * resumed leg carries the chain and the verdict of the handshake that established it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "pki/chain.h"
#include "pki/trust.h"
#include "pki/verify.h"
#include "tls/context.h"
#include "tls/leg.h"
#include "tls/offer.h"

struct sl_server_leg;

struct sl_server_leg_options {
    const struct sl_offer *offer; /* copied */
    const char *sni;              /* server name to send; NULL or "": none */
    /* How the chain is judged (pki/verify.h). verifier outlives the leg; a reference of trust is taken; strings are copied. */
    struct sl_verifier *verifier;
    struct sl_trust *trust;
    const char *host;    /* name or address that the leaf must prove; NULL: sni, else address */
    const char *address; /* the server's address, for pins and for the session key */
    uint16_t port;
    enum sl_revocation_mode revocation;
    bool present_untrusted;
    bool no_resumption; /* neither use nor keep sessions */
    /* Also in the session key, with address, port, sni, host, offer, trust store and revocation mode. */
    uint64_t rule_id, config_version;
};

/* SL_ERR_NOMEM, SL_ERR_CRYPTO, SL_ERR_INVALID (an offer without suites). */
sl_err sl_server_leg_new(struct sl_tls_context *context, const struct sl_server_leg_options *options, struct sl_server_leg **out);
void sl_server_leg_free(struct sl_server_leg *leg); /* NULL is allowed */

/* The leg as tls/leg.h drives it. */
struct sl_leg *sl_server_leg_base(struct sl_server_leg *leg);

/* In SL_LEG_CLIENT_CERT: go on without a certificate; the next step continues. */
void sl_server_leg_no_client_cert(struct sl_server_leg *leg);

/* The server's OCSP staple, or NULL. */
const uint8_t *sl_server_leg_staple(const struct sl_server_leg *leg, size_t *len);

/* The verdict on the server's chain: NULL before the chain came. Borrowed; of the original handshake if resumed. Its chain member
 * describes what was presented. */
const struct sl_verdict *sl_server_leg_verdict(const struct sl_server_leg *leg);

/* The server's leaf as OpenSSL holds it, for minting; NULL before it came. Borrowed until hand-over or free: take a reference to
 * keep it. */
X509 *sl_server_leg_certificate(const struct sl_server_leg *leg);

/* CPU-independent duration of the verification, ns by the monotonic clock; 0: none took place. */
uint64_t sl_server_leg_verify_ns(const struct sl_server_leg *leg);
