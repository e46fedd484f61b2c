/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What legs share. One sl_tls_shared a process: ticket keys, rotated by the clock and destroyed (P12). One sl_tls_context a worker
 * thread: OpenSSL contexts by offer and by client-leg profile, bounded; the cache of upstream sessions. No other state is shared.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"

struct sl_tls_shared;
struct sl_tls_context;

struct sl_tls_options {
    uint64_t
        ticket_rotate_ns; /* a new ticket key so often; 0: 12 hours. A key opens tickets for two periods, then it is destroyed */
    uint32_t session_lifetime_s;  /* of tickets to clients and of upstream sessions kept here; 0: 7200 */
    size_t upstream_sessions_max; /* a worker; 0: 8192 */
    size_t openssl_contexts_max;  /* a worker and side; 0: 128 */
};

/* clock outlives the object. options NULL: defaults. SL_ERR_NOMEM, SL_ERR_CRYPTO. */
sl_err sl_tls_shared_new(const struct sl_clock *clock, const struct sl_tls_options *options, struct sl_tls_shared **out);
void sl_tls_shared_free(struct sl_tls_shared *s); /* after all its contexts; NULL is allowed */

sl_err sl_tls_context_new(struct sl_tls_shared *shared, struct sl_tls_context **out);
void sl_tls_context_free(struct sl_tls_context *c); /* after all its legs; NULL is allowed */

/* Forgets all upstream sessions: after a change that their key does not show. */
void sl_tls_context_flush_sessions(struct sl_tls_context *c);

struct sl_tls_stats {
    uint64_t upstream_sessions; /* held now */
    uint64_t upstream_session_hits, upstream_session_misses;
    uint64_t openssl_contexts; /* held now, both sides */
    uint64_t openssl_contexts_made;
    uint64_t tickets_opened, tickets_refused;
};
void sl_tls_context_stats(const struct sl_tls_context *c, struct sl_tls_stats *out);
