/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Minted leaves by what they were minted for (C5): the server's certificate, the verdict on it, the rule, the key type, the issuing
 * CA; with a pin also the host. Bounded, least recently used goes first, entries expire. Thread-safe; one a worker avoids
 * contention.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "pki/mint.h"

struct sl_leaf_cache;

struct sl_leaf_cache_options {
    const struct sl_clock *clock; /* NULL: the system's */
    size_t capacity;              /* leaves; 0: 2,048 */
    uint64_t ttl_ns;              /* at most so long; 0: 12 hours; never beyond the leaf's own end */
};
sl_err sl_leaf_cache_new(const struct sl_leaf_cache_options *options, struct sl_leaf_cache **out); /* options may be NULL */
void sl_leaf_cache_free(struct sl_leaf_cache *cache);                                              /* NULL is allowed */

/* Found, or minted and remembered. generation is that of policy and CA in force for the connection: when it is a newer one,
 * everything older is dropped (a commit, a new CA, a revocation); an older connection's leaf is minted and not kept. *cached tells
 * which. Errors as of sl_mint; *out is a reference for the caller. */
sl_err sl_leaf_cache_get(struct sl_leaf_cache *cache, struct sl_minter *minter, const struct sl_mint_request *request,
                         uint64_t rule_id, uint64_t generation, struct sl_leaf **out, bool *cached);

void sl_leaf_cache_clear(struct sl_leaf_cache *cache);

struct sl_leaf_cache_stats {
    uint64_t hits, misses, evicted, expired;
    size_t entries;
};
void sl_leaf_cache_stats(struct sl_leaf_cache *cache, struct sl_leaf_cache_stats *out);
