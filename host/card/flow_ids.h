/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a flow id to an index, and back: for whoever keeps sessions in an array and is told of them by flow id.
 *
 *   flow id ──hash──▶ slot: index + 1 and the hash; open addressing, linear probing, at most half full
 *                       └─ has that hash ──▶ flow id of that index: is it the one?
 *
 * So that a flow is not there, or where it would go, is known without looking at others.
 *
 * Flow ids are chosen by clients; a secret seed keeps them from choosing slots. One thread at a time.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define SL_FLOW_IDS_NONE UINT32_MAX

struct sl_flow_ids {
    uint64_t *flow; /* by index; 0: unused */
    uint64_t *slot; /* hash << 32 | index + 1; 0: empty */
    size_t room, mask;
    uint64_t seed;
};

/* For indexes below room, which is 1..2^30. SL_ERR_NOMEM; SL_ERR_IO: no random numbers. */
sl_err sl_flow_ids_init(struct sl_flow_ids *m, size_t room);
void sl_flow_ids_free(struct sl_flow_ids *m); /* also what was only zeroed */
/* More room. SL_ERR_NOMEM: nothing has changed. */
sl_err sl_flow_ids_grow(struct sl_flow_ids *m, size_t room);
/* Forgets all. */
void sl_flow_ids_clear(struct sl_flow_ids *m);

/* The flow is soon to be looked up or added: brings its slot nearer. */
void sl_flow_ids_expect(const struct sl_flow_ids *m, uint64_t flow);
/* The flow's index, or SL_FLOW_IDS_NONE. */
uint32_t sl_flow_ids_find(const struct sl_flow_ids *m, uint64_t flow);
/* A flow that is not there, and is not 0, at an unused index. */
void sl_flow_ids_add(struct sl_flow_ids *m, uint64_t flow, uint32_t index);
/* The index is in use. */
void sl_flow_ids_remove(struct sl_flow_ids *m, uint32_t index);

size_t sl_flow_ids_bytes(const struct sl_flow_ids *m);
