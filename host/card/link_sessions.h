/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host knows of the sessions on a card: which flow has which index, its 5-tuple and action, and the shadow of both lanes'
 * session tables (card/cuckoo.h). Every change gives the table writes that the card must be told, in that order.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "card/cuckoo.h"
#include "card/engine.h"

struct sl_link_sessions;

/* Table writes of both lanes. back: of lane 0, behind its others, when lane 1 had no place. */
struct sl_link_plan {
    struct sl_card_cuckoo_plan lane[SL_ENGINE_LANES], back;
};

/* At most `room` sessions (1..SL_ENGINE_SESSIONS_MAX). SL_ERR_NOMEM, SL_ERR_IO: no random numbers. */
sl_err sl_link_sessions_new(uint32_t room, struct sl_link_sessions **out);
void sl_link_sessions_free(struct sl_link_sessions *s); /* NULL is allowed */

/* Forgets all sessions; both tables get new seeds. SL_ERR_IO: nothing has changed. */
sl_err sl_link_sessions_reset(struct sl_link_sessions *s);
/* Seed of a lane's table, as the card's commands take it. It is a secret. */
void sl_link_sessions_seed(const struct sl_link_sessions *s, unsigned lane, uint8_t seed[SL_CARD_SEED_BYTES]);

/*
 * Adds a flow at an unused index. SL_ERR_EXISTS: flow or key; SL_ERR_LIMIT: no index, or no place in a table; SL_ERR_INVALID: key
 * or action. On failure no flow was added; but the plan may hold moves of others, which must be told to the card all the same.
 */
sl_err sl_link_sessions_add(struct sl_link_sessions *s, uint64_t flow, const struct sl_engine_flow_key *key, uint8_t action,
                            uint32_t *index, struct sl_link_plan *plan);
/* The index is free again. */
void sl_link_sessions_remove(struct sl_link_sessions *s, uint32_t index, struct sl_link_plan *plan);
/* SL_ERR_INVALID: action. */
sl_err sl_link_sessions_change(struct sl_link_sessions *s, uint32_t index, uint8_t action, struct sl_link_plan *plan);

/* SL_ERR_NOT_FOUND, and *index unchanged. */
sl_err sl_link_sessions_find(const struct sl_link_sessions *s, uint64_t flow, uint32_t *index);
/* One that is there. SL_ERR_NOT_FOUND: none is. */
sl_err sl_link_sessions_any(const struct sl_link_sessions *s, uint32_t *index);
uint32_t sl_link_sessions_count(const struct sl_link_sessions *s);
