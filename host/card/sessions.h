/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sessions of the cpu engine: by 5-tuple (card/flow_table.h), by the host's flow id (card/flow_ids.h), and their two halves.
 *
 * There is one table for both lanes. It knows flows as lane 0 sees them; a key of lane 1 is reversed before it is looked up.
 */
#pragma once

#include "card/flow_ids.h"
#include "card/flow_table.h"
#include "card/session.h"

struct sl_cpu_sessions {
    struct sl_flow_table *table;
    struct sl_cpu_half_pool *pool;
    struct sl_flow_ids ids; /* indexes are the table's */
    size_t room;
};

/* SL_ERR_INVALID: room; SL_ERR_NOMEM, SL_ERR_IO. */
sl_err sl_cpu_sessions_init(struct sl_cpu_sessions *s, const struct sl_gcm_engine *engine, size_t room);
void sl_cpu_sessions_free(struct sl_cpu_sessions *s); /* wipes; also what was only zeroed */
/* Removes and wipes all; the table gets a new hash key. SL_ERR_NOMEM, SL_ERR_IO: nothing has changed. */
sl_err sl_cpu_sessions_reset(struct sl_cpu_sessions *s);

/* SL_ERR_EXISTS: flow or key; SL_ERR_LIMIT; SL_ERR_NOMEM. Nothing has changed then. */
sl_err sl_cpu_sessions_add(struct sl_cpu_sessions *s, uint64_t flow, const struct sl_flow_key *key, unsigned action,
                           const struct session_state state[2]);
void sl_cpu_sessions_remove(struct sl_cpu_sessions *s, uint32_t index);
/* Bytes of memory that a session costs when the room is used up. */
size_t sl_cpu_sessions_bytes_each(const struct sl_cpu_sessions *s);

static inline struct sl_cpu_half *sl_cpu_sessions_half(const struct sl_flow_entry *e, unsigned lane)
{
    return e->owned[lane];
}
