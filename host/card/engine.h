/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What executes the card's pipeline (docs/card.md). One interface, several engines that give the same bytes for the same packets:
 *
 *   cpu   the whole pipeline on the host; also for what a card punts
 *   xrt   a card through XRT; or the simulated card behind the same calls
 *
 *   commands ──▶ ┌────────┐ ──▶ completions, events
 *   frames   ──▶ │ engine │ ──▶ frames (sent on, or punted with the reason)
 *                └────────┘ ──▶ mirror: verified plaintext
 *
 * Nothing blocks. What is given (commands, frames) is taken as far as there is room; what comes (completions, events, frames,
 * mirror) is fetched by polling. Commands are carried out in the order they were given, and a completion means that the command
 * holds for every frame given afterwards. Frames of a lane and kind (enum sl_frame_in, sl_frame_out) stay in order; nothing is lost
 * silently: an engine that cannot give away what came of a frame takes no more frames until it can.
 *
 * Threads: an engine belongs to one thread at a time.
 *
 * Failure: every function either does all it says or changes nothing. An engine that dies (SL_ERR_UNAVAILABLE from any call, within
 * a second of the fault) stays dead: what was completed before can still be fetched, commands under way complete with that error,
 * frames under way are lost as they would be on a wire, and their number is told (sl_engine_counters). Close it and open another.
 *
 * Keys go in and never come out (G13). An engine wipes what it held of a session when the session is removed, on reset and on
 * close.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "card/card_command.h"
#include "card/numbers.h"
#include "common/session.hpp"
#include "packet/punt_layout.h"

#ifdef __cplusplus
extern "C" {
using namespace card;
#endif

enum {
    SL_ENGINE_LANES = 2, /* 0: inside to outside, 1: back */
    SL_ENGINE_FRAME_MAX = 9216,
    SL_ENGINE_SESSIONS_MAX = 1 << 17, /* of a card; the cpu engine takes more, see the options */
    SL_ENGINE_RULES = 256
};

struct sl_engine;

/* ---- open, close ---- */

struct sl_engine_options {
    uint32_t sessions;      /* at most so many at a time; 0: SL_ENGINE_SESSIONS_MAX */
    uint32_t seal_limit;    /* records under one seal key; 0: the default, RFC 8446 section 5.5 */
    const char *gcm;        /* cpu: engine of record/gcm.h; NULL: the default */
    const char *xclbin;     /* xrt: file that is loaded; its manifest stands beside it */
    const char *public_key; /* xrt: PEM file that the manifest's signature must match; NULL: the signature is not checked */
    unsigned device;        /* xrt: index of the card */
    const char *worker;     /* xrt: program that talks to XRT; NULL: sluice-card-xrt beside the running program */
    uint32_t dead_after_ms; /* xrt: a card that has not moved for so long is dead; 0: 800. While it opens, 10 s at least */
};

/* SL_ERR_NOMEM; SL_ERR_INVALID: an option; xrt also: SL_ERR_UNAVAILABLE (no XRT, no card), SL_ERR_AUTH (manifest or signature does
 * not match), SL_ERR_UNSUPPORTED (built without XRT, or a card interface of another version). diag may be NULL. */
sl_err sl_engine_open_cpu(const struct sl_engine_options *options, struct sl_engine **out, struct sl_diag *diag);
sl_err sl_engine_open_xrt(const struct sl_engine_options *options, struct sl_engine **out, struct sl_diag *diag);
/* Ends everything, wipes keys. NULL is allowed. */
void sl_engine_close(struct sl_engine *engine);

struct sl_engine_info {
    const char *kind;   /* "cpu", "xrt" */
    char device[64];    /* name of the card, or of the AES-GCM engine */
    uint32_t interface; /* card_interface_version */
    uint32_t sessions;  /* room */
    uint32_t rules;
    uint32_t device_bytes; /* memory of a session on the device (both directions) */
    char fault[256];       /* a sentence: why it is dead; empty while it is not */
};
void sl_engine_info(const struct sl_engine *engine, struct sl_engine_info *out);

/* ---- commands ---- */

/* The 5-tuple as it is seen in lane 0; lane 1 sees source and destination exchanged. IPv4: the first four bytes, the rest zero.
 * Ports in host byte order. */
struct sl_engine_flow_key {
    uint8_t src[16], dst[16];
    uint16_t sport, dport;
    uint8_t proto;   /* IP protocol number */
    uint8_t version; /* 4 or 6 */
};

enum sl_engine_op {
    SL_ENGINE_INSTALL, /* a flow with its states in both lanes */
    SL_ENGINE_CHANGE,  /* action of both lanes: from hold to transcode, or back */
    SL_ENGINE_KEYS,    /* a key set of one lane (docs/card.md, KeyUpdate) */
    SL_ENGINE_REMOVE,  /* completes with the last counters */
    SL_ENGINE_QUERY,   /* completes with counters; never with keys */
    SL_ENGINE_RULE,    /* writes or removes a rule of a lane */
    SL_ENGINE_DEFAULT, /* what no rule of a lane decides */
    SL_ENGINE_RESET    /* everything as after open */
};

/* Holds keys: lives in secret memory, or is wiped after use. The engine keeps no pointer into it. */
struct sl_engine_command {
    enum sl_engine_op op;
    uint64_t cookie; /* comes back in the completion */
    uint64_t flow;   /* install .. query: id of the flow, not 0; the host's, one a flow */
    uint8_t lane;    /* keys, rule, default */
    uint8_t set;     /* keys: 0 or 1 */
    uint8_t action;  /* install, change: enum action of docs/card.md (3 forward, 4 transcode, 5 hold); default: 0 punt, 1 forward, 2
                        drop */
    uint16_t number; /* rule */
    struct sl_engine_flow_key key;               /* install */
    struct session_state state[SL_ENGINE_LANES]; /* install; keys.flow is set by the engine, open_h and seal_h are not */
    struct key_set keys;                         /* keys; H = E(K, 0) as in state: a card does not reckon it */
    struct card_rule rule;                       /* rule; valid = 0 removes it */
};

struct sl_engine_lane_counters {
    uint64_t packets, bytes; /* that the session sent on in this lane; whole frames */
    uint64_t last_ns;        /* when the last one did, by the monotonic clock; 0: none yet. The card counts in ticks of 56 ms */
};

struct sl_engine_completion {
    uint64_t cookie, flow;
    enum sl_engine_op op;
    /* SL_OK; SL_ERR_EXISTS (flow or key is installed), SL_ERR_NOT_FOUND, SL_ERR_LIMIT (table full), SL_ERR_INVALID,
     * SL_ERR_UNAVAILABLE (the engine died). After an error nothing has changed. */
    sl_err status;
    struct sl_engine_lane_counters lane[SL_ENGINE_LANES]; /* remove, query */
};

/* Takes a command. SL_ERR_AGAIN: no room; fetch completions first. SL_ERR_UNAVAILABLE: dead. Every command taken completes once. */
sl_err sl_engine_submit(struct sl_engine *engine, const struct sl_engine_command *command);
/* How many completions were put into out. */
size_t sl_engine_completions(struct sl_engine *engine, struct sl_engine_completion *out, size_t max);

/* ---- frames ---- */

enum sl_frame_in {
    SL_FRAME_RX,      /* as if it had come in at the lane's port */
    SL_FRAME_INJECT,  /* the same, from the host: a punted frame again */
    SL_FRAME_TRANSMIT /* straight out of the lane's other port, unchanged */
};

struct sl_engine_frame {
    const uint8_t *bytes;
    uint32_t count; /* 0, or of the host's own frames more than SL_ENGINE_FRAME_MAX: it is dropped */
    uint8_t lane;
    uint8_t kind; /* enum sl_frame_in */
    bool damaged; /* rx: the port says so; the host's own ones are dropped then */
};

enum sl_frame_out { SL_FRAME_TX, SL_FRAME_PUNT };

struct sl_engine_result {
    const uint8_t *bytes; /* valid until the next call of sl_engine_receive */
    uint32_t count;
    uint8_t lane;
    uint8_t kind;          /* enum sl_frame_out */
    struct card_punt punt; /* of a punt; punt.index is the engine's, punt.flow the host's */
};

/* How many of the frames were taken: the first ones. The bytes are copied. */
size_t sl_engine_send(struct sl_engine *engine, const struct sl_engine_frame *frames, size_t count);
size_t sl_engine_receive(struct sl_engine *engine, struct sl_engine_result *out, size_t max);

/* ---- events, mirror, counters ---- */

/* Fields as in struct card_event; sequence, lost and valid mean: number of the event, events lost before it, nothing. Which frame
 * an event belongs to, packet_id tells; on a card, events of frames close to each other may change places. */
size_t sl_engine_events(struct sl_engine *engine, struct card_event *out, size_t max);

/* One verified record of a mirrored session, whole. */
struct sl_engine_mirror {
    uint64_t flow, open_seq;
    uint32_t tcp_seq; /* of the record's first byte, as it came in */
    uint16_t epoch;
    uint8_t lane;
    uint8_t type;         /* content type, the inner one in TLS 1.3 */
    const uint8_t *bytes; /* content, without type and padding; valid until the next call of sl_engine_mirrored */
    uint32_t count;
    uint8_t tag[16]; /* the one that went out: for retransmissions that the engine no longer knows */
};
size_t sl_engine_mirrored(struct sl_engine *engine, struct sl_engine_mirror *out, size_t max);

struct sl_engine_counters {
    uint64_t frames_in[SL_ENGINE_LANES], bytes_in[SL_ENGINE_LANES];
    uint64_t frames_out[SL_ENGINE_LANES], bytes_out[SL_ENGINE_LANES]; /* tx */
    uint64_t punts[SL_ENGINE_LANES], drops[SL_ENGINE_LANES];
    uint64_t punted_for[SL_CARD_REASONS]; /* the punts of both lanes by reason, enum sl_card_reason */
    uint64_t lost;                        /* frames that were in a dead engine, or whose fate the device did not tell */
    uint64_t events, events_lost;
    uint64_t mirrored_records, mirror_refused; /* refused: records that did not verify; nothing of them was shown */
    uint64_t mirror_lost; /* records that verified, and could not be shown: no memory for the text, or not all of it came */
    uint64_t sessions;    /* installed now */
    bool dead;
};
void sl_engine_counters(const struct sl_engine *engine, struct sl_engine_counters *out);

#ifdef __cplusplus
}
#endif
