/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Traffic for property tests: sessions with genuine TLS senders on one side of a lane, what networks and attackers do to their
 * packets, and the host that installs sessions and keys. Everything follows from the seed and from what the caller tells the trace
 * about the fate of the packets:
 *
 *   while (trace_next(t, &item))
 *       switch (item.kind) {
 *       case trace_frame:   give item.frame to the lane; tell what came of it, at once or later:
 *                           trace_forwarded (unless item.lost_behind), trace_punted, trace_died; nothing if it was dropped
 *       case trace_add, trace_remove, trace_keys: the host's command to the lane
 *       }
 *
 * The far ends are inside: each forwarded frame goes to the session's receiver (receiver.h), what it opens is compared with what
 * the sender sealed, and its acknowledgements drive the sender, which sends again what stays away. Sessions that stand still
 * (somebody forged a byte of theirs) are removed, and new ones take their place.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a packet was meant to be. Counted in trace_statistics. */
enum trace_sort {
    trace_sort_data,            /* the next bytes of the stream */
    trace_sort_again,           /* bytes sent before, because they were not acknowledged; other cuts than the first time */
    trace_sort_duplicate,       /* the same frame again */
    trace_sort_late,            /* overtaken by others */
    trace_sort_overlap,         /* begins with bytes sent before and goes on with new ones */
    trace_sort_altered,         /* bytes that have come before, but different ones */
    trace_sort_altered_overlap, /* the same, followed by genuine new ones */
    trace_sort_forged_text,     /* fresh, ciphertext or nonce changed: the end of the session */
    trace_sort_forged_tag,      /* fresh, a tag byte changed */
    trace_sort_forged_header,   /* fresh, a record header that cannot be */
    trace_sort_ack,             /* no payload */
    trace_sort_sack,            /* no payload, SACK blocks */
    trace_sort_fin,             /* with or without payload */
    trace_sort_rst,             /* no payload */
    trace_sort_syn,
    trace_sort_urgent,
    trace_sort_far,            /* a sequence number anywhere */
    trace_sort_udp,            /* the session's addresses and ports, or others */
    trace_sort_other_protocol, /* neither TCP nor UDP */
    trace_sort_unknown,        /* TCP of a flow without session */
    trace_sort_plain,          /* data of a session_forward session */
    trace_sort_hold,           /* data of a session in promotion */
    trace_sort_cut,            /* the frame's end is missing */
    trace_sort_bad_header,     /* some header bits changed */
    trace_sort_bad_checksum,   /* TCP or UDP */
    trace_sort_fragment,       /* IPv4 or IPv6 */
    trace_sort_extension,      /* IPv6 extension header that is punted */
    trace_sort_not_ip,         /* ARP, three tags */
    trace_sort_oversize,       /* up to twice model_frame_max */
    trace_sort_port_error,     /* damaged, says the port */
    trace_sort_end
};
const char *trace_sort_name(enum trace_sort sort);

/* Records, as they were sealed by senders; and what else happened. */
enum trace_count {
    trace_count_records,
    trace_count_empty_records,   /* no content */
    trace_count_maximal_records, /* 2^14 bytes of content */
    trace_count_padded_records,
    trace_count_alerts,
    trace_count_tickets, /* handshake records that are no KeyUpdate */
    trace_count_key_updates,
    trace_count_key_updates_coalesced, /* in one record with a ticket */
    trace_count_key_updates_followed,  /* by more payload in the same packet */
    trace_count_forbidden_records,     /* genuine, with a content type that may not come here */
    trace_count_nonce_jumps,           /* TLS 1.2: explicit nonces that do not count up */
    trace_count_keys_in_time,          /* next keys given to the lane before they were needed */
    trace_count_keys_late,
    trace_count_lost, /* packets lost in front of the lane */
    trace_count_lost_behind,
    trace_count_vlan,
    trace_count_vlan2, /* frames with one tag, two tags */
    trace_count_ipv6,
    trace_count_ip_options /* or extension headers */,
    trace_count_tcp_options,
    trace_count_tls12,
    trace_count_tls13,
    trace_count_sessions,     /* sessions begun */
    trace_count_killed,       /* sessions given up; somebody had forged bytes or sealed a forbidden record */
    trace_count_stalled,      /* sessions given up without such a reason: nothing was acknowledged any more */
    trace_count_finished,     /* sessions that came to their end */
    trace_count_opened,       /* records that receivers opened */
    trace_count_host_answers, /* old retransmissions answered by the host */
    trace_count_end
};
const char *trace_count_name(enum trace_count count);

struct trace_statistics {
    uint64_t sorts[trace_sort_end];
    uint64_t counts[trace_count_end];
};

/* Rates are out of 10,000 packets. All zero: a few sessions without any impairment. */
struct trace_options {
    unsigned sessions;    /* at the same time; 0: 8 */
    unsigned packets;     /* frames in all; 0: 1000 */
    unsigned segment_max; /* payload bytes, 1..9000; 0: chosen afresh for every session, biased to 1..1460 */
    unsigned record_max;  /* content bytes; 0: 2^14 */
    bool only_tls13, only_tls12;
    bool plain_headers; /* no VLAN tags, IP options, extension headers, TCP options */
    bool nonce_counts;  /* TLS 1.2: explicit nonces of each session count up, without a jump */
    bool no_key_updates;
    unsigned key_updates;                        /* out of 10,000 records of TLS 1.3; 0: a few, in some sessions many */
    unsigned loss, loss_behind, duplicate, late; /* network */
    unsigned overlap, altered;                   /* sender, attacker; in proportion */
    unsigned forged;                             /* ends sessions: about 1/3 each text, tag, header */
    unsigned control;                            /* FIN, RST, SYN, URG, far sequence numbers */
    unsigned acks;                               /* with and without SACK */
    unsigned strangers;                          /* UDP, other protocols, unknown flows; plain and hold sessions */
    unsigned broken;                             /* frames that the parser punts */
    unsigned forbidden;                          /* out of 10,000 records: genuine ones of forbidden types */
    unsigned keys_late;                          /* out of 10,000 KeyUpdates: next keys come after they were needed */
};
/* Everything, at rates at which most sessions live for hundreds of packets. */
struct trace_options trace_options_harsh(unsigned sessions, unsigned packets);

enum trace_kind { trace_frame, trace_add, trace_remove, trace_keys };

struct trace_item {
    enum trace_kind kind;
    uint32_t session; /* counts the trace's sessions, never used again; trace_no_session: none */
    uint32_t index;   /* of the session in the lane; used again after a remove */
    /* trace_frame; the bytes are valid until the next call of trace_next */
    enum trace_sort sort;
    const uint8_t *frame;
    size_t bytes;
    bool port_error;
    bool lost_behind; /* what the lane makes of it gets lost: do not tell trace_forwarded */
    /* trace_add */
    struct model_flow flow;
    enum model_action action;
    struct session_state state;
    /* trace_keys */
    unsigned set;
    struct key_set keys;
};
#define trace_no_session UINT32_MAX

struct trace;

struct trace *trace_new(uint64_t seed, const struct trace_options *options);
void trace_free(struct trace *t);

/* The next thing that happens; false: the trace is at its end (a trace with packets in flight on the network ends without them). */
bool trace_next(struct trace *t, struct trace_item *item);

/* The frame that left the lane for an item of that session. false: the receiver opened what the sender did not seal, or refused a
 * record although nobody has forged anything: a failure of the lane. */
bool trace_forwarded(struct trace *t, uint32_t session, const uint8_t *frame, size_t bytes);
/* The lane punted a packet of the session; frame as it came. The trace plays the host: retransmissions from before the known
 * records are answered, up to next (punt_info); others are dropped, the sender sends them again. */
void trace_punted(struct trace *t, uint32_t session, enum model_reason reason, const uint8_t *frame, size_t bytes, uint32_t next);
/* An event of the lane says that the session is dead: it is removed soon. Not needed: it would be found to stand still. false:
 * nobody has forged anything or sealed anything forbidden. */
bool trace_died(struct trace *t, uint32_t session);

const struct trace_statistics *trace_statistics_get(const struct trace *t);
/* Prints the counts, a line each. */
void trace_statistics_print(const struct trace *t);

#ifdef __cplusplus
}
#endif
