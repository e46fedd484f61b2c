/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the card's sealed mirror to verified records (docs/card.md, section 5). Text comes in pieces of up to 64 bytes, in any order
 * within a record, sealed under a key of the record's own; the key comes with the verdict that the record verified. So nothing
 * unverified can be read here either (G7).
 *
 *   items (card/card_packets.h) ──▶ text of the record in progress, a buffer a session and lane ──key──▶ struct sl_engine_mirror
 *
 * Sealed text lies in blocks of 1 KiB that are taken when text comes and go back with the verdict; what is opened lies in secret
 * memory. All blocks together are bounded: a record that finds no room is counted as lost, the others are not touched. Only half
 * records of flows that are gone give way when room is short.
 *
 * Threads: one at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "card/card_packets.h"
#include "card/engine.h"

struct sl_mirror_open;

/* sessions: indexes are below, 56 bytes each; memory_max: bytes of all blocks together, 0: 64 MiB. SL_ERR_NOMEM. */
sl_err sl_mirror_open_new(uint32_t sessions, size_t memory_max, struct sl_mirror_open **out);
void sl_mirror_open_free(struct sl_mirror_open *m); /* wipes; NULL is allowed */

/* A session begins at an index: its items carry this flow. Items of the flow before it there are still understood for as long as
 * they come; in a lane they come before those of this one. tls13: of each lane; whether a text ends in content type and padding.
 * Flow 0: the session there has ended, and there is none (tls13 is not looked at). */
void sl_mirror_open_session(struct sl_mirror_open *m, uint32_t index, uint64_t flow, const bool tls13[SL_ENGINE_LANES]);
/* All sessions are gone, texts in progress are wiped. The counters stay. */
void sl_mirror_open_reset(struct sl_mirror_open *m);

/* Takes an item as the card wrote it; nothing in it is trusted. True: it ended a record that verified, *out tells it; its bytes are
 * valid until the next call of sl_mirror_open_take, _reset or _free, which wipes them. False: *out is unchanged. */
bool sl_mirror_open_take(struct sl_mirror_open *m, const struct card_mirror *item, struct sl_engine_mirror *out);

struct sl_mirror_open_counters {
    uint64_t verified, refused; /* refused: the verdict was bad */
    uint64_t lost; /* verified, but without room for the text, or with text that is not all there, or not what the card says;
                      and every item that cannot be */
};
void sl_mirror_open_counters(const struct sl_mirror_open *m, struct sl_mirror_open_counters *out);
