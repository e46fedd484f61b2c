/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A capture as the card's ports: its frames go through the engine, what comes out is written to another capture.
 *
 * Frames are given in bursts of one lane, the next burst when the fate of all frames of the last one is known, so that the output
 * is in the input's order, but for frames that had to wait. Which lane a frame takes:
 *
 *   1. that of its session, if it has one (or of the flow's addresses and ports in a session: inside ─▶ outside is lane 0)
 *   2. lane 0 if its source, lane 1 if its destination, lies in one of the inside prefixes
 *   3. lane 0
 *
 * Punted frames are what the host would get. Here there is no host: they are passed on unchanged, or dropped. But what came before
 * its turn (behind a hole, or a KeyUpdate whose keys are missing) waits, as a host would hold it, and is fed to the card again when
 * something of its lane was sent, or what it waited behind turned out to be of no use; what still waits at the end is passed on or
 * dropped then.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "card/engine.h"
#include "card/numbers.h"
#include "card/service/loop.h"

enum { SL_REPLAY_INSIDE_MAX = 16 };

struct sl_replay_prefix {
    uint8_t address[16], version; /* 4 or 6 */
    uint8_t bits;
};
/* "192.0.2.0/24", "2001:db8::/32". SL_ERR_INVALID. */
sl_err sl_replay_prefix(const char *text, struct sl_replay_prefix *out, struct sl_diag *diag);

struct sl_replay_options {
    const char *in, *out;
    struct sl_replay_prefix inside[SL_REPLAY_INSIDE_MAX];
    size_t inside_count;
    bool drop_punted;
    bool fix_checksums;   /* of captures that were taken before the network card had filled them in */
    size_t wait_sessions; /* begin when so many are installed */
};

struct sl_replay_totals {
    uint64_t frames, bytes, sent, passed, dropped, unreadable, lost;
    uint64_t waited;                   /* frames that came before their turn */
    uint64_t reasons[SL_CARD_REASONS]; /* why frames were passed on or dropped at last */
};

struct sl_replay;

/* Opens the files. options is borrowed. */
sl_err sl_replay_new(const struct sl_replay_options *options, struct sl_replay **out, struct sl_diag *diag);
/* For sl_card_hooks.ports; set the loop first. */
bool sl_replay_poll(void *replay, struct sl_engine *engine);
void sl_replay_set_loop(struct sl_replay *replay, struct sl_card_loop *loop);
/* Sleeps until it is done, or timeout_ms have passed (false). err: of what was read or written, with diag. */
bool sl_replay_wait(struct sl_replay *replay, uint32_t timeout_ms, struct sl_replay_totals *totals, sl_err *err,
                    struct sl_diag *diag);
/* After the loop has stopped. NULL is allowed. */
void sl_replay_free(struct sl_replay *replay);
