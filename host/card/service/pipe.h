/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands of one handler on their way through the loop: a few batches, filled one after the other, so that the handler prepares
 * commands while the engine obeys earlier ones. Full batches are handed over several at a time: a thread that is woken costs more
 * than a command. Results come back in order, on the handler's thread, from slot and flush.
 */
#pragma once

#include "card/service/loop.h"

enum { SL_CARD_PIPE_DEPTH_MAX = 16 }; /* batches */

struct sl_card_pipe;

/* command: as it was given, without its keys; index: as given to slot. */
typedef void (*sl_card_pipe_result)(void *arg, size_t index, const struct sl_engine_command *command,
                                    const struct sl_engine_completion *completion);

/* depth: 1 .. SL_CARD_PIPE_DEPTH_MAX. SL_ERR_NOMEM. */
sl_err sl_card_pipe_new(struct sl_card_loop *loop, size_t depth, sl_card_pipe_result result, void *arg, struct sl_card_pipe **out);
/* Everything was flushed. Wipes. NULL is allowed. */
void sl_card_pipe_free(struct sl_card_pipe *pipe);

/* A zeroed command to fill in; calls back results of earlier ones when all batches are under way. What is filled in counts only
 * once sl_card_pipe_push is called: until then the same slot is given out again, zeroed. */
void sl_card_pipe_slot(struct sl_card_pipe *pipe, size_t index, struct sl_engine_command **command, struct sl_card_extra **extra);
void sl_card_pipe_push(struct sl_card_pipe *pipe);

/* Submits what was pushed and waits until every result has been called back. */
void sl_card_pipe_flush(struct sl_card_pipe *pipe);
