/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TCP segment of a session is opened under one leg's keys and sealed under the other's, byte for byte in its place (docs/card.md
 * section 4): whatever part of whichever records it holds, for the first time or again.
 */
#pragma once

#include "card/numbers.h"
#include "card/outputs.h"
#include "card/parse.h"
#include "card/session.h"

enum sl_cpu_segment_result {
    SL_CPU_SEGMENT_DONE,     /* the payload is written */
    SL_CPU_SEGMENT_DROPPED,  /* a record header cannot be: the session is dead */
    SL_CPU_SEGMENT_SQUASHED, /* payload behind a KeyUpdate: the packet is dropped, with the event that the caller tells */
    SL_CPU_SEGMENT_PUNTED    /* *reason says why; the session is unchanged, no payload is written */
};

/* What a lane's sessions share. */
struct sl_cpu_segment_lane {
    struct sl_cpu_half_pool *pool;
    struct sl_cpu_outputs *out; /* has room: sl_cpu_outputs_frame */
    uint32_t seal_limit;
    uint8_t lane;
    uint64_t mirrored_records, mirror_refused; /* counted here */
};

struct sl_cpu_segment {
    const struct sl_cpu_headers *headers; /* TCP with payload */
    const uint8_t *in;                    /* the payload as it came */
    uint8_t *to;                          /* where it goes; no overlap */
    uint32_t index, packet_id;
};

enum sl_cpu_segment_result sl_cpu_segment_transcode(struct sl_cpu_segment_lane *lane, struct sl_cpu_half *h,
                                                    const struct sl_cpu_segment *s, enum sl_card_reason *reason);

/* An event of a session. */
void sl_cpu_segment_event(struct sl_cpu_segment_lane *lane, const struct sl_cpu_half *h, const struct sl_cpu_segment *s,
                          enum sl_card_event_kind kind, uint32_t tcp_seq);
