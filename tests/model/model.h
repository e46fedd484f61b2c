/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reference model of a lane (docs/card.md): one frame in, what must come of it out. Written from RFC 791, 8200, 1071, 9293,
 * 8446, 5246 and 5288 and from docs/card.md, with whole records in memory and OpenSSL for AES, and with no code of the engines that
 * it judges. Numbers of actions, reasons and events are those of hls/common/types.hpp.
 *
 * It is a part of tests: what cannot be (memory exhausted, OpenSSL failing) aborts.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/session.hpp" /* of hls: struct session_state, struct key_set */

#ifdef __cplusplus
using card::key_set;
using card::session_state;
extern "C" {
#endif

enum {
    model_frame_max = 9216,
    model_sessions_max = 1 << 17,
    model_rules_max = 256,
    model_seal_limit_default = 23726566 /* RFC 8446 section 5.5 */
};

enum model_action {
    model_action_punt = 0,
    model_action_forward = 1,
    model_action_drop = 2,
    model_action_session_forward = 3,
    model_action_session_transcode = 4,
    model_action_session_hold = 5
};

enum model_reason {
    model_reason_none = 0,
    model_reason_not_ip = 1,
    model_reason_truncated = 2,
    model_reason_ip_header = 3,
    model_reason_fragment = 4,
    model_reason_extension = 5,
    model_reason_tcp_header = 6,
    model_reason_checksum = 7,
    model_reason_oversize = 8,
    model_reason_port_error = 9,
    model_reason_rule = 16,
    model_reason_hold = 17,
    model_reason_protocol = 18,
    model_reason_tcp_control = 32,
    model_reason_old = 33,
    model_reason_ahead = 34,
    model_reason_seal_limit = 35,
    model_reason_key_wait = 36,
    model_reason_dead = 37,
    model_reason_end
};

enum model_event_kind {
    model_event_fin = 1,
    model_event_rst = 2,
    model_event_bad_record = 3,
    model_event_bad_tag = 4,
    model_event_unexpected = 5,
    model_event_key_update = 6,
    model_event_alert = 7,
    model_event_handshake = 8,
    model_event_squashed = 9,
    model_event_key_wait = 10,
    model_event_end
};

enum model_verdict { model_verdict_punt, model_verdict_forward, model_verdict_drop };

/* IPv4 addresses: the first four bytes, the rest zero. Ports in host order; zero without TCP or UDP. */
struct model_flow {
    uint8_t src[16], dst[16];
    uint16_t sport, dport;
    uint8_t proto, version; /* version: 4 or 6 */
};

/* A rule matches if all its parts do. */
struct model_rule {
    uint8_t src[16], src_mask[16];
    uint8_t dst[16], dst_mask[16];
    uint16_t sport_min, sport_max, dport_min, dport_max; /* inclusive */
    uint8_t proto;
    bool any_proto;
    uint8_t version; /* 4, 6, or 0: both */
    enum model_action action;
};

/* What the parser finds in a frame; offsets from its first byte. With a reason, nothing else is valid. */
struct model_headers {
    enum model_reason reason;
    struct model_flow flow;
    uint16_t l3, l4; /* l4 0: neither TCP nor UDP */
    uint16_t payload, payload_bytes;
    uint16_t sack, sack_blocks; /* of the first left edge; number of blocks */
    uint16_t timestamps;        /* of TSval; 0: none */
    uint32_t seq, ack;
    uint8_t tcp_flags;
};

struct model_punt_info {
    enum model_reason reason;
    uint32_t packet_id;
    uint16_t frame_bytes;
    uint16_t rule;    /* with reason rule: its number, model_rules_max for the default */
    bool has_session; /* what follows is valid */
    bool numbers;     /* the session is alive and not held: what follows flow is valid */
    uint32_t index;
    uint64_t flow; /* 0 with reason hold */
    uint32_t next, record_start;
    uint64_t open_seq;
    uint32_t seal_seq;
    uint16_t epoch;
};

struct model_event {
    enum model_event_kind kind;
    uint16_t detail;
    uint16_t epoch; /* of the record; with fin, rst, squashed: zero, as detail and open_seq are */
    uint32_t index;
    uint32_t packet_id;
    uint64_t flow;
    uint64_t open_seq;
    uint32_t tcp_seq;
};

enum model_mirror_verdict { model_mirror_open, model_mirror_verified, model_mirror_bad };

/* Fresh text of one record out of one packet, not sealed; or a record's end (bytes 0). In order of the packet's bytes. */
struct model_mirror {
    uint32_t index;
    uint64_t flow;
    uint64_t open_seq;
    uint16_t epoch;
    uint16_t offset; /* in the record's text */
    uint16_t bytes;
    const uint8_t *text; /* valid as long as the output it belongs to */
    uint8_t key[16];     /* the record's mirror key */
    enum model_mirror_verdict verdict;
    /* with a verdict */
    uint16_t text_bytes; /* of the whole record */
    uint32_t tcp_seq;    /* where the record began, as it came in */
    /* with verdict verified */
    uint8_t type;    /* content type, the inner one in TLS 1.3 */
    uint8_t tag[16]; /* of the seal side */
};

/* What became of one frame. The caller provides it zeroed, gives it to any number of calls, and frees it. */
struct model_output {
    enum model_verdict verdict;
    uint8_t *frame; /* as it leaves; with a punt: as it came */
    size_t frame_bytes;
    struct model_punt_info punt; /* with a punt */
    uint32_t packet_id;
    bool has_session, has_rule; /* which decided */
    uint32_t index;
    uint16_t rule;
    struct model_mirror *mirrors;
    size_t mirrors_count;
    struct model_event *events; /* those of records in the order of their bytes, then that of the packet */
    size_t events_count;
    bool illegal; /* the engine says that it squashed the packet, but had no reason to */
    /* inside */
    uint8_t *text;
    size_t text_bytes, mirrors_room, events_room;
};

void model_output_free(struct model_output *out);

struct model_lane_options {
    uint32_t seal_limit;    /* 0: model_seal_limit_default */
    uint32_t squash_window; /* so many packets of the lane behind a KeyUpdate or a death may still be squashed; 0: 1024 */
};

struct model_lane;

/* options: NULL for the defaults. Without rules every packet that has no session is punted. */
struct model_lane *model_lane_new(const struct model_lane_options *options);
void model_lane_free(struct model_lane *lane);

/*
 * A session. state is a session as the host installs it: between two records (track.next == track.record_start) and without an
 * ahead range, hashes not used. action: one of the session actions. false: the index or the 5-tuple is taken, or the state is not
 * such a state; then nothing is changed.
 */
bool model_session_add(struct model_lane *lane, uint32_t index, const struct model_flow *flow, enum model_action action,
                       const struct session_state *state);
bool model_session_remove(struct model_lane *lane, uint32_t index);
bool model_session_action(struct model_lane *lane, uint32_t index, enum model_action action);
/*
 * The host's command `keys`: key set number `set` is replaced. The set that is not current becomes the next one, and records of the
 * previous epoch are forgotten; the current set can be replaced only while the session waits for it. false: neither;
 * the session is dead then.
 */
bool model_session_keys(struct model_lane *lane, uint32_t index, unsigned set, const struct key_set *keys);

/* rule: NULL removes it. */
bool model_rule_set(struct model_lane *lane, unsigned number, const struct model_rule *rule);
bool model_rule_default(struct model_lane *lane, enum model_action action);

/* What a lane knows of a session. */
struct model_session_view {
    uint32_t next, record_start, seal_seq;
    uint64_t open_seq;
    bool dead, wait, next_keys, previous, ahead;
    uint8_t set;
    uint16_t epoch;
    uint64_t packets, bytes; /* of all packets of the session that left by the other port; bytes of whole frames */
};
bool model_session_get(const struct model_lane *lane, uint32_t index, struct model_session_view *view);
/* The session that a flow has; false: none. */
bool model_session_find(const struct model_lane *lane, const struct model_flow *flow, uint32_t *index);

struct model_input {
    const uint8_t *frame;
    size_t bytes;
    bool port_error; /* the port says that the frame is damaged */
    /* The engine reported event `squashed` for this packet: the model then checks that it was allowed to, and changes nothing. It
     * need not be said of a packet with a KeyUpdate that does not end it: that is squashed anyway. */
    bool squashed;
};

void model_packet(struct model_lane *lane, const struct model_input *in, struct model_output *out);

/* parse.c: the headers of a frame of any content. */
struct model_headers model_parse(const uint8_t *frame, size_t bytes, bool port_error);
/* The sum of RFC 1071 over big-endian 16-bit words, folded, not inverted; start with 0. Only the last part may be of odd length. */
uint16_t model_sum(uint16_t start, const uint8_t *bytes, size_t count);
/* What the checksum field of the TCP or UDP header must be; the field itself counts as zero. */
uint16_t model_l4_checksum(const uint8_t *frame, const struct model_headers *h, size_t l4_bytes);

#ifdef __cplusplus
}
#endif
