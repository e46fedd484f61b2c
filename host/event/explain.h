/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happened and what can be done about it, from the facts of an event alone.
 *
 * Remedies that change the policy can be applied by sl_remedy_apply; the others are advice and have no command. Ids are stable:
 *
 *   id                       offered for                                            changes
 *   pin-certificate          self-signed, unknown issuer, expired, wrong name       trust of exactly this certificate for this host
 * and port add-private-root         a self-signed root, a CA, came with the chain          that root becomes an anchor
 *   bypass-server            failures with a server that is known                   do-not-decrypt rule on top, for an hour by
 * default use-compatible-profile   handshake failure, and the profile had dropped suites  settings.crypto_profile add-intermediate,
 * check-clock, check-name, contact-server-admin, attach-client-certificate, install-decryption-ca, capture, resize, wait,
 * review-rule: advice
 *
 * Never offered: a pin for a bad signature, a revoked, weak or distrusted certificate.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "sluice/v1/config.pb-c.h"
#include "sluice/v1/event.pb-c.h"

enum { SL_REMEDY_BYPASS_DEFAULT_S = 3600, SL_REMEDY_BYPASS_MAX_S = 30 * 86400, SL_REMEDY_CONFIRM_DIGITS = 16 };

/* Sets event->explanation. Every fact from a peer is escaped. */
sl_err sl_event_explain(Sluice__V1__Event *event);
/* Fills event->remedies, replacing what is there. The commands name the event's id: call it again once the store has given one (the
 * store does). */
sl_err sl_event_remedies(Sluice__V1__Event *event);

/* Suites that the client offered and Sluice kept from the server: the cipher gap. Borrowed names; returns how many of at most max.
 */
size_t sl_event_cipher_gap(const Sluice__V1__Event *event, const char **out, size_t max);

struct sl_remedy_params {
    const char
        *confirm_sha256; /* pin-certificate, add-private-root: at least the first 16 hex digits; colons and case are ignored */
    uint64_t duration_s; /* bypass-server; 0: SL_REMEDY_BYPASS_DEFAULT_S */
    const char *comment; /* may be NULL */
    uint64_t now_ns;     /* wall time */
};

/*
 * Applies a remedy that was offered for the event to a configuration. done (may be NULL) gets a sentence on what was changed.
 * SL_ERR_NOT_FOUND: not offered for this event; SL_ERR_UNSUPPORTED: advice only; SL_ERR_DENIED: the fingerprint is not confirmed,
 * or another one; SL_ERR_EXISTS: in place already; SL_ERR_INVALID; SL_ERR_NOMEM. diag says what to do. On failure config is
 * unchanged.
 */
sl_err sl_remedy_apply(Sluice__V1__Config *config, const Sluice__V1__Event *event, const char *remedy_id,
                       const struct sl_remedy_params *params, struct sl_diag *done, struct sl_diag *diag);
