/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is given out piece by piece and taken back at once: for the parts of a decoded message. A handler of a stream keeps
 * one arena for its messages, one after the other; the memory stays, so that a message costs no malloc.
 *
 * What was given out is wiped when it is taken back: a message may hold keys (G13). Not locked, like all memory of messages.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"

struct sl_rpc_arena;

/* SL_ERR_NOMEM; then *out is unchanged. */
sl_err sl_rpc_arena_new(struct sl_rpc_arena **out);
/* Wipes. NULL is allowed. */
void sl_rpc_arena_free(struct sl_rpc_arena *arena);

/* So many bytes, aligned for any type, their content undefined. Valid until reset. NULL: out of memory. */
void *sl_rpc_arena_take(struct sl_rpc_arena *arena, size_t bytes);

/* Wipes everything that was taken, and keeps memory of a usual size for the next message. */
void sl_rpc_arena_reset(struct sl_rpc_arena *arena);
