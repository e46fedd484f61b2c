/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the model: a session in a lane, and the walk over a packet's payload. */
#pragma once

#include "model.h"
#include "record.h"

struct model_session {
    uint32_t index;
    struct model_flow flow_key;
    enum model_action action;
    uint64_t flow;
    bool tls13, mirror;
    uint32_t seq_delta, ack_delta, tsval_delta, tsecr_delta;
    int window_shift;
    struct model_keys *keys[2];
    unsigned set; /* the current one */
    bool next_keys, previous, wait, dead;
    uint16_t epoch;
    uint32_t next;
    struct model_record_state *record;       /* in progress: next - record->start bytes of it have come, and the ahead range */
    struct model_record_state *ring[2];      /* finished ones, [0] the last; NULL: not known */
    uint8_t expected_nonce[tls_nonce_bytes]; /* TLS 1.2: of the record before, plus one */
    bool ahead;
    uint32_t ahead_from, ahead_to; /* TCP sequence numbers */
    bool broken;                   /* a KeyUpdate or the session's death was seen, last in packet: */
    uint32_t broken_packet;
    uint64_t packets, bytes;
};

enum model_walk_result {
    model_walk_done,     /* the payload leaves as it is now */
    model_walk_dropped,  /* a bad record header */
    model_walk_squashed, /* bytes behind a KeyUpdate */
    model_walk_punted    /* the session is unchanged, the payload too */
};

/* A packet with payload: decides, and transcodes the payload in place. */
enum model_walk_result model_transcode(struct model_session *s, uint32_t seal_limit, const struct model_headers *h,
                                       struct model_output *out, enum model_reason *reason);

/* What a session forgets when the host replaces the set that is not current. */
void model_forget_previous(struct model_session *s);

void model_add_event(struct model_output *out, const struct model_session *s, enum model_event_kind kind, uint16_t detail,
                     uint32_t tcp_seq, const struct model_record_state *record);
void model_add_mirror(struct model_output *out, const struct model_mirror *m, const uint8_t *text);
