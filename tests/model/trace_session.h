/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the generator: its sessions and what is on the way. trace.c says what happens when; trace_send.c makes the packets. */
#pragma once

#include "trace_stream.h"

enum {
    trace_segment_max = 9000,
    trace_pending_max = 128, /* frames on their way */
    trace_commands_max = 8,
    trace_tcp = 6,
    trace_udp = 17
};

struct trace_session {
    uint32_t number, index;
    struct model_flow flow;
    enum model_action action;
    bool tls13, timestamps, tainted, died, stalled;
    unsigned segment_max;
    uint32_t window;
    struct trace_stream *stream; /* of a transcoding TCP session */
    struct model_receiver *receiver;
    uint32_t isn, seq_delta, ack, tsval;
    uint64_t una, cur, nxt; /* acknowledged; to be sent next; behind what was ever sent */
    unsigned quiet, patience, timeouts, turns, turns_left;
    unsigned wish;                            /* 1 + the class of byte that is to be forged next; 0: none */
    unsigned epoch;                           /* that the lane must have come to, for a KeyUpdate was opened behind it */
    unsigned first_set, keys_given, keys_due; /* keys_due: turns until the next keys are given, 0: none planned */
};

struct trace_pending {
    uint64_t due;
    struct trace_item item;
    uint8_t *frame;
};

struct trace {
    struct trace_options o;
    struct trace_random random;
    struct model_ciphers ciphers;
    struct trace_statistics st;
    struct trace_session **slots;
    uint32_t next_number;
    unsigned emitted;
    uint64_t clock;
    struct trace_pending pending[trace_pending_max];
    unsigned pending_count;
    struct trace_item commands[trace_commands_max];
    unsigned commands_first, commands_count;
    uint8_t *current; /* the frame that was given out last */
    uint8_t payload[2 * model_frame_max];
};

struct model_flow trace_random_flow(struct trace_random *r, uint8_t proto);
/* The TCP sequence number of a byte of the stream. */
uint32_t trace_seq(const struct trace_session *s, uint64_t offset);
/* Everything before has been sent, and the next byte is this one. */
void trace_sent_until(struct trace_session *s, uint64_t end);

/* One packet of a session, or on behalf of it, is made and passes the network. true: it is in item, to be given out now. */
bool trace_send_stream(struct trace *t, struct trace_session *s, struct trace_item *item);
bool trace_send_plain(struct trace *t, struct trace_session *s, struct trace_item *item);
