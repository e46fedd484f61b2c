/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What sluice-card knows of the sessions that its engine holds: by flow id, without keys. And two lists that hang on it: the
 * deadlines (idle time-outs, sessions that have closed) and the closed sessions that nobody has fetched yet.
 *
 *   slab of sessions   fixed blocks: a session stays where it is while it is installed
 *   ids                flow id ─▶ number in the slab (card/flow_ids.h)
 *   pages              flow ids in rising order, sorted when a listing begins and used by its following pages
 *   wheel              sessions by the second of their deadline, modulo its size
 *
 * Threads: the engine's thread changes it, others read it; whoever calls holds the lock of sl_card_loop (loop.h). A session's
 * pointer is valid while the lock is held.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "card/engine.h"

enum sl_card_close {
    SL_CARD_OPEN = 0,
    SL_CARD_CLOSE_FIN = 1,
    SL_CARD_CLOSE_RST = 2,
    SL_CARD_CLOSE_TIMEOUT = 3,
    SL_CARD_CLOSE_DIED = 4
}; /* CloseReason of card.proto */

enum sl_card_tls { SL_CARD_NO_TLS = 0, SL_CARD_TLS12 = 1, SL_CARD_TLS13 = 2 }; /* TlsVersion of card.proto */

/* What an install tells beside the engine's command. */
struct sl_card_extra {
    uint32_t idle_timeout_s; /* 0: never */
    uint8_t tls;             /* enum sl_card_tls */
    bool mirror;
    bool openoffload; /* FIN and RST close it */
};

/* Of an install, what is no secret and does not change while the session lives: enough to install one without keys again. */
struct sl_card_constants {
    struct {
        uint32_t next, seq_delta, ack_delta, tsval_delta, tsecr_delta; /* as in struct track_state */
    } lane[SL_ENGINE_LANES];
    int8_t window_shift[SL_ENGINE_LANES];
};
void sl_card_constants_take(struct sl_card_constants *out, const struct session_state *state);
/* state: SL_ENGINE_LANES, zeroed. */
void sl_card_constants_give(const struct sl_card_constants *constants, struct session_state *state);

struct sl_card_session {
    uint64_t flow; /* 0: free */
    struct sl_engine_flow_key key;
    struct sl_card_extra extra;
    struct sl_card_constants constants;
    uint8_t action;
    uint8_t close; /* enum sl_card_close: what it waits to be removed for */
    bool fin[SL_ENGINE_LANES];
    uint64_t installed_wall_ns, installed_ns; /* the latter in this engine, by the monotonic clock */
    uint32_t mirror_seq[SL_ENGINE_LANES];     /* bytes of application data mirrored so far */
    uint64_t deadline_s;                      /* 0: none */
    uint32_t timer_next, timer_prev;          /* numbers in the slab + 1; 0: none */
};

struct sl_card_closed {
    uint64_t flow;
    uint8_t reason; /* enum sl_card_close */
    uint64_t installed_wall_ns, closed_wall_ns;
    struct sl_engine_lane_counters lane[SL_ENGINE_LANES];
};

struct sl_card_sessions;

/* closed_max: closed sessions that are kept for getClosedSessions; older ones give way. SL_ERR_NOMEM. */
sl_err sl_card_sessions_new(size_t closed_max, struct sl_card_sessions **out);
void sl_card_sessions_free(struct sl_card_sessions *t);

/* *out is a session with that flow id and nothing else. SL_ERR_EXISTS, SL_ERR_NOMEM: nothing has changed. flow is not 0. */
sl_err sl_card_sessions_add(struct sl_card_sessions *t, uint64_t flow, struct sl_card_session **out);
/* A session with that flow id is soon to be added: brings what is needed nearer. */
void sl_card_sessions_expect(const struct sl_card_sessions *t, uint64_t flow);
/* NULL: there is none. */
struct sl_card_session *sl_card_sessions_find(struct sl_card_sessions *t, uint64_t flow);
void sl_card_sessions_remove(struct sl_card_sessions *t, struct sl_card_session *session);
/* Removes all; the closed ones stay. */
void sl_card_sessions_clear(struct sl_card_sessions *t);
size_t sl_card_sessions_count(const struct sl_card_sessions *t);
/* Calls visit for every session, in no order; it may not add or remove. */
void sl_card_sessions_visit(struct sl_card_sessions *t, void (*visit)(void *arg, struct sl_card_session *session), void *arg);
/* One session after the other, in no order: *cursor is 0 at first. The one that was given last may be removed. NULL: that was all.
 */
struct sl_card_session *sl_card_sessions_next(struct sl_card_sessions *t, size_t *cursor);

/*
 * At most max flow ids >= from, rising, into out; *next: the first one after them, 0: there is none. A listing begins with from 0,
 * which sorts; its other pages use what was sorted for at most a few seconds (now_s). SL_ERR_NOMEM.
 */
sl_err sl_card_sessions_page(struct sl_card_sessions *t, uint64_t from, size_t max, uint64_t now_s, uint64_t *out, size_t *count,
                             uint64_t *next);

/* Sets, moves or (0) takes away the deadline of a session. */
void sl_card_sessions_deadline(struct sl_card_sessions *t, struct sl_card_session *session, uint64_t at_s);
/* The flow ids of sessions whose deadline has come by now_s, at most max; their deadlines are taken away. To be called again while
 * it fills out. */
size_t sl_card_sessions_due(struct sl_card_sessions *t, uint64_t now_s, uint64_t *out, size_t max);

/* Puts a closed session into the list; when it is full (or without memory) the oldest gives way and is counted. */
void sl_card_closed_push(struct sl_card_sessions *t, const struct sl_card_closed *closed);
/* Takes the oldest ones out, at most max. */
size_t sl_card_closed_take(struct sl_card_sessions *t, struct sl_card_closed *out, size_t max);
/* Puts back what was taken and not told. */
void sl_card_closed_return(struct sl_card_sessions *t, const struct sl_card_closed *closed, size_t count);
uint64_t sl_card_closed_untold(const struct sl_card_sessions *t);
