/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What travels between the processes of a lane. The picture with all processes and streams is in hls/README.md; the layout of a
 * session in memory is in common/session.hpp. Everything is in host byte order unless it is called bytes.
 */
#pragma once

#include <stdint.h>

#include "common/limits.hpp"

namespace card
{

/* 64 bytes of a frame, in order. bytes: how many are valid (64 but in the last beat, where it is 1..64); the others are zero. */
struct beat {
    uint8_t byte[beat_bytes];
    uint8_t bytes;
    bool last;
    bool error; /* on the last beat: the port marks the frame as damaged */
};

/* What the session table is asked. IPv4 addresses are in the first four bytes, the rest is zero. Ports are zero without TCP or UDP.
 */
struct flow_key {
    uint8_t src[16], dst[16];
    uint16_t sport, dport;
    uint8_t proto;   /* IP protocol number, after IPv6 extension headers */
    uint8_t version; /* 4 or 6 */
};

/* One for every packet, as soon as its headers are read. */
struct packet_key {
    flow_key key;
    bool valid; /* false: nothing to look up, no result comes back; the packet is punted */
};

/* What to do with a packet; the low numbers are also the actions of rules. */
enum action : uint8_t {
    action_punt = 0,
    action_forward = 1, /* unchanged, out of the other port */
    action_drop = 2,
    action_session_forward = 3,   /* a session: TCP or UDP fields rewritten, payload unchanged */
    action_session_transcode = 4, /* a session: and its TLS records opened and sealed */
    action_session_hold = 5       /* a session in promotion: its packets go to the host, in order */
};

/* Why a packet was punted. Numbers are stable: the host's verdicts, counters and documentation use them. */
enum punt_reason : uint8_t {
    punt_none = 0,
    /* by the parser */
    punt_not_ip = 1,     /* other Ethernet types, more than two VLAN tags */
    punt_truncated = 2,  /* a length field goes beyond the frame */
    punt_ip_header = 3,  /* version, header length or checksum of IPv4 is wrong */
    punt_fragment = 4,   /* any fragment, atomic ones included */
    punt_extension = 5,  /* an IPv6 extension header that is unknown, out of order, or beyond the parser's reach */
    punt_tcp_header = 6, /* data offset wrong, or options that cannot be parsed */
    punt_checksum = 7,   /* TCP or UDP checksum wrong */
    punt_oversize = 8,   /* longer than frame_bytes_max */
    punt_port_error = 9, /* damaged on the wire, says the port */
    /* by table or rule */
    punt_rule = 16,     /* no session, and the rules (or the default) say punt */
    punt_hold = 17,     /* the session is being promoted */
    punt_protocol = 18, /* a transcoding session got something other than TCP */
    /* by the tracker; the session is unchanged */
    punt_tcp_control = 32, /* SYN or URG in a session */
    punt_old = 33,         /* retransmission from before the oldest record still known */
    punt_ahead = 34,       /* a hole lies before it, and it is not inside the ciphertext of the record in progress */
    punt_seal_limit = 35,  /* the seal key is used up (G3) */
    punt_key_wait = 36,    /* after a KeyUpdate: the host has not installed the next keys */
    punt_dead = 37         /* a record of the session was refused before */
};

/* One for every packet that has a valid key. */
struct lookup_result {
    action what;
    uint32_t session; /* index; valid for the session actions */
    uint16_t rule;    /* id of the rule that decided, rules_max: the default; without a session */
};

enum tcp_flag : uint8_t { tcp_fin = 1, tcp_syn = 2, tcp_rst = 4, tcp_psh = 8, tcp_ack = 16, tcp_urg = 32 };

/* What the parser found; one for every packet, when its last beat has been read. Offsets count from the first byte of the frame. */
struct headers {
    uint32_t packet_id; /* counts the packets of the lane */
    uint16_t frame_bytes;
    uint16_t l3, l4;  /* of the IP and the TCP or UDP header; 0: none */
    uint16_t payload; /* of the first payload byte */
    uint16_t payload_bytes;
    uint16_t payload_sum;       /* one's complement sum of the payload as big-endian words, folded, not inverted; odd end padded */
    uint16_t sack, sack_blocks; /* of the first block's left edge; number of blocks (0: none) */
    uint16_t timestamps;        /* of TSval; 0: none */
    uint32_t seq, ack;          /* TCP */
    uint8_t flags;              /* TCP: enum tcp_flag */
    uint8_t version, proto;     /* as in flow_key */
    bool keyed;                 /* its key was valid: there is a lookup, and a work item */
    punt_reason reason;         /* not punt_none: only packet_id, frame_bytes and keyed are valid */
};

/*
 * A session's packets in flight share a slot. work: one for every packet, in order, from fetch to the tracker.
 */
enum work_kind : uint8_t { work_packet, work_keys };

struct work {
    work_kind kind; /* work_keys: a key set of the session in the slot is replaced (no packet belongs to it) */
    bool session;   /* slot is valid */
    bool fill;      /* the session's state comes from memory: each owner takes its line first */
    uint16_t slot;
    uint32_t index; /* session */
    action what;
    uint16_t rule;
    uint8_t key_set; /* work_keys: which */
};

/* A part of one record that lies in one piece. Offsets count in the record, header included. */
struct record_part {
    bool valid;
    uint8_t set; /* key set, 0 or 1 */
    uint8_t at;  /* first byte, in the beat */
    uint8_t bytes;
    uint16_t offset;   /* of the first byte, in the record */
    uint16_t fragment; /* length field of the record; valid when five header bytes are known (aad or text or tag below) */
    uint8_t type;      /* outer content type; the same */
    bool header_done;  /* the fifth header byte lies in this part and is fresh: the record's AAD goes into the hash here */
    bool ends;         /* the record's last byte lies in this part */
    uint8_t ring;      /* 0: the record in progress; 1, 2: a finished one, retransmitted, so many records back */
    uint64_t open_seq; /* record sequence numbers */
    uint32_t seal_seq;
    uint64_t nonce; /* TLS 1.2: the explicit nonce it came with */
    uint32_t start; /* TCP sequence number of the record's first byte, as it came in */
};

/*
 * A beat, or a part of one: at most one record's tag lies in a piece, so a beat becomes as many pieces as it holds (parts of) tags,
 * at least one. `a` may end in the piece; `b` follows it, begins in the piece and does not reach its tag.
 */
struct piece {
    uint8_t byte[beat_bytes];
    uint64_t fresh; /* bit i: byte i is record data that was not seen before */
    uint8_t bytes;  /* valid bytes of the beat */
    bool session, fill;
    bool first, last; /* of the packet */
    bool beat_last;   /* last piece of its beat */
    bool tls13;
    bool mirror;     /* the inspector wants the plaintext */
    bool key_load;   /* no packet: the key set `set` of the slot is replaced */
    bool dead;       /* a record header in this piece, or the key set, is refused: the session dies, the packet is dropped */
    uint16_t detail; /* dead: type << 8 | which header byte */
    uint8_t set;
    uint16_t slot;
    uint32_t index;
    uint8_t generation; /* counts the KeyUpdates of the slot: a packet that was begun under an older one is squashed */
    action what;        /* after the tracker's decision: punt, forward, drop, session_forward or session_transcode */
    punt_reason reason;
    uint16_t rule;
    uint16_t previous; /* whole length of the record before a's; 0: none in the ring */
    uint16_t epoch;
    record_part a, b;
};

/* What rewrite needs of a session. New value = old + delta, modulo 2^32. */
struct rewrite_rule {
    uint32_t seq_delta, ack_delta;
    uint32_t tsval_delta, tsecr_delta;
    int8_t window_shift; /* left if positive, saturating at 65535; right if negative */
};

/* What the host is told with a punted packet, beside the packet itself. Numbers of the session are as they were before the packet.
 */
struct punt_info {
    uint32_t packet_id;
    uint32_t index;        /* session; valid if has_session */
    uint64_t flow;         /* the host's flow id */
    uint32_t next;         /* expected TCP sequence number */
    uint32_t record_start; /* TCP sequence number of the record in progress */
    uint64_t open_seq;     /* its record sequence numbers */
    uint32_t seal_seq;
    uint16_t epoch;
    uint16_t rule;
    uint16_t frame_bytes;
    punt_reason reason;
    bool has_session;
    uint8_t lane;
};

enum event_kind : uint8_t {
    event_none = 0,
    event_fin = 1,        /* FIN went through */
    event_rst = 2,        /* RST went through */
    event_bad_record = 3, /* a header that cannot be: type, version, length. The session is dead */
    event_bad_tag = 4,    /* the record did not verify. The session is dead, its receiver gets a poisoned tag (G6) */
    event_unexpected = 5, /* verified, but its content type is none that may come here. The session is dead, tag poisoned */
    event_key_update = 6, /* a verified KeyUpdate: the lane has stepped to the next keys */
    event_alert = 7,      /* a verified alert: detail = level << 8 | description */
    event_handshake = 8,  /* a verified handshake record that is no KeyUpdate */
    event_squashed = 9,   /* packet dropped because a KeyUpdate, or the death of the session, overtook it; TCP sends it again */
    event_key_wait = 10   /* the next keys are missing: fresh data is punted from now on */
};

struct event {
    event_kind kind;
    uint8_t lane;
    uint16_t detail;
    /* Of the record that it is about; key_wait: of the one behind the KeyUpdate. fin, rst, squashed: 0, and tcp_seq is that of the
     * packet. */
    uint16_t epoch;
    uint64_t open_seq;
    uint32_t tcp_seq; /* of the record's first byte, as it came in */
    uint32_t index;   /* session */
    uint32_t packet_id;
    uint64_t flow;
};

/*
 * The mirror. Plaintext leaves sealed: XORed with AES-128 in counter mode under the record's mirror key E(K_open, nonce ||
 * be32(2^31 + open_seq mod 2^31)), which is told only when the record has verified (G7). Block i of the record's text has counter
 * block be128(i). One for every piece with fresh text of a mirrored session, and for every end of one of its records.
 */
enum mirror_verdict : uint8_t { mirror_open = 0 /* the record goes on */, mirror_verified = 1, mirror_bad = 2 };

struct mirror_part {
    uint64_t open_seq;
    uint16_t offset; /* of the first byte, in the record's text (TLS 1.3: content, type, padding) */
    uint8_t at;      /* of the first byte, in byte[] */
    uint8_t bytes;   /* 0: no text here. Bytes of the range that are not in `fresh` were mirrored before, and are zero */
};

struct mirror_item {
    uint8_t byte[beat_bytes];
    uint64_t fresh;
    uint64_t flow;
    uint32_t index;
    uint8_t lane;
    uint8_t type;           /* with a verdict: content type, the inner one in TLS 1.3 */
    mirror_verdict verdict; /* of a */
    uint16_t epoch;
    uint16_t text_bytes; /* with a verdict: of the whole record, type and padding included */
    uint32_t tcp_seq;    /* with a verdict: where the record began, as it came in */
    uint8_t key[16];     /* with mirror_verified: opens the record; else zero */
    uint8_t tag[16];     /* with mirror_verified: the tag that went out, for retransmissions the card no longer knows */
    mirror_part a, b;
};

} // namespace card
