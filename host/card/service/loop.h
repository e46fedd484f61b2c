/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One engine and the thread that it belongs to.
 *
 *   handlers ──batches of commands──▶ ┌──────┐ ──▶ engine ──▶ completions ──▶ session table, batches' results
 *                                     │ loop │ ──▶ events ──▶ session table, watchers
 *   ports    ◀──────poll────────────▶ └──────┘ ──▶ mirror ──▶ whoever takes it
 *
 * Commands of a batch are obeyed in their order, batches in the order they were submitted. The loop also closes sessions: those
 * that were idle for too long, and OpenOffload's that have seen FIN in both directions or RST; it tells so in an event CLOSED and
 * in the list of closed sessions.
 *
 * A dead engine: an event CARD_DIED, and what is lost with it is closed, an event CLOSED each. Commands that it had taken fail with
 * SL_ERR_UNAVAILABLE; so does every later one until SL_ENGINE_RESET has opened a new one, and all sessions are closed. Or, if the
 * options say so, another engine takes its place at once: rules, and sessions without keys, are installed there again (their
 * counters begin at 0), and commands that waited are obeyed there. Nothing else can be: keys are kept nowhere, and how far a
 * session had come died with the engine. SL_ENGINE_RESET ends the other engine and its sessions, and opens the first kind again;
 * if that fails, it has changed nothing.
 *
 * Keys are in the commands of a batch only. They are wiped as soon as the engine has taken them (G13).
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "card/engine.h"
#include "card/service/sessions.h"

enum { SL_CARD_BATCH = 14 }; /* commands: a block of secret memory */

struct sl_card_loop;
struct sl_card_waiter; /* whoever waits for batches */

struct sl_card_batch {
    struct sl_engine_command *commands; /* SL_CARD_BATCH, in secret memory; cookie is the loop's. From `given` on, states and keys
                                           are zero */
    struct sl_card_extra extra[SL_CARD_BATCH];
    struct sl_card_constants constants[SL_CARD_BATCH]; /* the loop's; of installs that the engine has taken */
    size_t count;
    size_t given;                                       /* slots that were given out since it was empty */
    struct sl_engine_completion results[SL_CARD_BATCH]; /* valid when it is done; the cookies mean nothing */
    /* The loop's. */
    struct sl_card_waiter *waiter;
    struct sl_card_batch *next;
    size_t submitted, completed;
    bool done;
};

/* Room for one more command in a batch, zeroed. */
struct sl_engine_command *sl_card_batch_slot(struct sl_card_batch *batch);

/* An event as it is told to watchers: the engine's, or one of the service's own kinds. */
enum { SL_CARD_EVENT_CLOSED = 100, SL_CARD_EVENT_DIED = 101 }; /* EventKind of card.proto */
struct sl_card_told {
    uint8_t kind, lane;
    uint32_t detail;
    uint16_t epoch;
    uint64_t flow, open_record;
    uint32_t tcp_seq;
    uint64_t wall_ns;
    struct sl_engine_lane_counters counters[SL_ENGINE_LANES]; /* CLOSED */
};

/* Everything here is called on the loop's thread, without its lock, and must not block. Members may be NULL. */
struct sl_card_hooks {
    void *arg;
    /* lost: events of the card that were lost before these. */
    void (*events)(void *arg, const struct sl_card_told *events, size_t count, uint64_t lost);
    /* session is a copy: of it, key and mirror_seq (as of before this record) are of interest. */
    void (*mirror)(void *arg, const struct sl_engine_mirror *record, const struct sl_card_session *session);
    /* Frames in and out. Returns whether anything was done. Without it, what comes out of the engine is discarded. */
    bool (*ports)(void *arg, struct sl_engine *engine);
};

struct sl_card_loop_options {
    /* Opens an engine: at the beginning, and for SL_ENGINE_RESET after one has died. */
    sl_err (*open)(void *arg, struct sl_engine **out, struct sl_diag *diag);
    /* Opens the one that takes the place of a dead one. NULL: nothing does. If it dies too, nothing does. */
    sl_err (*open_instead)(void *arg, struct sl_engine **out, struct sl_diag *diag);
    void *arg;
    const struct sl_clock *clock; /* NULL: the system's */
    size_t closed_max;            /* closed sessions that are kept; 0: 65,536 */
    struct sl_card_hooks hooks;
};

/* Opens the engine and starts the thread. On failure nothing runs. */
sl_err sl_card_loop_start(const struct sl_card_loop_options *options, struct sl_card_loop **out, struct sl_diag *diag);
/* Obeys what was submitted, ends the thread, closes the engine (which wipes all keys). Nobody may submit any more. NULL is allowed.
 */
void sl_card_loop_stop(struct sl_card_loop *loop);

/* ---- commands ---- */

/* An empty batch. Locked memory is dear to come by: a few that were given back are kept. SL_ERR_NOMEM. */
sl_err sl_card_loop_batch_new(struct sl_card_loop *loop, struct sl_card_batch **out);
/* Wipes. Not while it is under way. NULL is allowed. */
void sl_card_loop_batch_free(struct sl_card_loop *loop, struct sl_card_batch *batch);

sl_err sl_card_waiter_new(struct sl_card_waiter **out);
void sl_card_waiter_free(struct sl_card_waiter *waiter);
/* Hands batches with at least one command each over, until they are done; they are obeyed in this order. */
void sl_card_loop_submit(struct sl_card_loop *loop, struct sl_card_batch *const *batches, size_t count,
                         struct sl_card_waiter *waiter);
/* Sleeps until the batch is done. Every batch becomes done, mostly in their order: to wait for the last of several first sleeps
 * once. One thread waits with a waiter. */
void sl_card_loop_wait(struct sl_card_loop *loop, const struct sl_card_batch *batch, struct sl_card_waiter *waiter);

/* ---- what the loop knows ---- */

/* The table, between lock and unlock. Keep it short: the loop waits. */
struct sl_card_sessions *sl_card_loop_lock(struct sl_card_loop *loop);
void sl_card_loop_unlock(struct sl_card_loop *loop);

struct sl_card_snapshot {
    struct sl_engine_info info;
    struct sl_engine_counters counters; /* a few milliseconds old, of the engine that is open now; lost: with those it replaced */
    uint64_t commands;                  /* of batches, obeyed or refused */
    uint64_t mono_ns;                   /* now, by the clock of last_ns in counters */
};
void sl_card_loop_snapshot(struct sl_card_loop *loop, struct sl_card_snapshot *out);
