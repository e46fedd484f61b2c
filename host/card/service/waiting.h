/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames that were punted because their turn has not come: data behind a hole, or behind a KeyUpdate whose keys are missing
 * (docs/card.md section 6). They wait in a line each, one for a lane of a session, in the order of their sequence numbers.
 *
 *   punt ─▶ put ─▶ ┌──────┐
 *                  │ line │ ─▶ take: to the engine again ─▶ sent: stir, so that those behind it follow
 *   sent ─▶ stir ─▶└──────┘                              └▶ punted again: put; it waits until the line is stirred
 *
 * So a hole that stays costs one try for each burst of the capture, and one that was filled empties the line.
 * Belongs to one thread. What is taken belongs to whoever took it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { SL_WAITING_LINE_MAX = 8192 /* frames */ };

struct sl_waiting_frame {
    struct sl_waiting_frame *next;
    uint32_t seq, end; /* sequence numbers of the first byte and behind the last one; SYN and FIN count as in TCP */
    uint32_t count;
    uint8_t reason; /* why it was punted */
    uint8_t bytes[];
};

struct sl_waiting;

/* bytes_max: of memory for frames, in all lines. SL_ERR_NOMEM. */
sl_err sl_waiting_new(size_t lines, size_t bytes_max, struct sl_waiting **out);
/* NULL is allowed. */
void sl_waiting_free(struct sl_waiting *waiting);
/* Copies a frame into its line; frames with the same sequence number stay in the order they came. ready: it is worth a try already,
 * since what it waits for may have been sent before it was put. False: no room, or no memory; nothing has changed. */
bool sl_waiting_put(struct sl_waiting *waiting, size_t line, const struct sl_waiting_frame *about, const uint8_t *bytes,
                    bool ready);
/* Something of this line was sent. */
void sl_waiting_stir(struct sl_waiting *waiting, size_t line);
/* The first frames of a line that is worth a try, up to max that follow each other without a hole; NULL: there is none. Lines take
 * turns. Each frame is freed with free. */
struct sl_waiting_frame *sl_waiting_take(struct sl_waiting *waiting, size_t max, size_t *line);
/* How many frames wait. */
size_t sl_waiting_count(const struct sl_waiting *waiting);
/* Makes every line worth a try, the lowest one first. */
void sl_waiting_stir_all(struct sl_waiting *waiting);
