/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The three rings in host memory by which host and card talk: commands to the card, completions and events from it. One definition
 * for both sides, C17 and C++14. Integers are little-endian, as are the machines that a card plugs into.
 *
 *                  entries, each numbered: number n (from 1, modulo 2^32) lies in entry (n - 1) % size, size a power of two
 *   commands       512 bytes   host ─▶ card    obeyed one after the other
 *   completions     64 bytes   card ─▶ host    one for every command, in order; as many entries as there are of commands
 *   events          64 bytes   card ─▶ host    card_host_page.events_read tells the card what may be overwritten
 *
 * Who writes an entry writes its last word, `valid`, last; whoever reads it waits for that word to be the number it expects. The
 * ring is zeroed at first. An entry of a command may be used again when its completion has come, and holds keys until then: the
 * host zeroises it.
 *
 * A completion means that the command is done: it holds for every packet that comes to the card afterwards, memory is written, and
 * of what was removed nothing is left. A command that is malformed, or cannot be, has changed nothing. There is no command
 * that reads a session's memory: keys go in and never come out (G13).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/session.hpp"

#ifdef __cplusplus
namespace card
{
#endif

enum card_ring_sizes { card_command_bytes = 512, card_completion_bytes = 64, card_event_bytes = 64, card_payload_bytes = 384 };

/* What the fields of a command mean, by opcode; the others are zero. `lane` is 0 or 1, `index` a session unless said otherwise. */
enum card_opcode {
    card_no_op = 1,        /* values: card_interface_version, sessions a lane, rules a lane */
    card_install = 2,      /* lane, index, payload: session_state. Not if it is installed. Counters begin at 0 */
    card_remove = 3,       /* lane, index. The host has emptied the session's table slots before. The session's memory is zeroised.
                              values: bytes, packets, tick of the last packet, tick now (as in card_counters) */
    card_keys = 4,         /* lane, index, set (0, 1), payload: key_set, which takes the place of that set */
    card_table_write = 5,  /* lane, index: slot of the table, payload: table_slot as five 64-bit words. A slot whose action is to
                              forward or transcode names an installed session. values: lookups before it, modulo 2^32 */
    card_rule_write = 6,   /* lane, index: number of the rule, payload: card_rule */
    card_rule_default = 7, /* lane, set: the action (0 punt, 1 forward, 2 drop) where no rule matches */
    card_counters = 8,     /* lane, index: a session, or of enum card_total. values as in card_remove */
    card_seal_limit = 9,   /* lane, value: records under one seal key, 512 .. seal_limit_default */
    card_hash_seed = 10,   /* lane, payload: 16 random bytes. Empties the lane's session table. values: lookups before it */
    card_reset = 11,       /* payload: 32 random bytes, a seed for each lane. Everything is as after configuration: tables and rules
                              empty, all keys and states zeroised, on the card and in its memory, counters and limits too */
    card_opcode_last = card_reset
};

/*
 * What card_counters answers about a lane as a whole: indexes behind those of sessions, however many sessions there are. Every
 * frame that was given to the lane (received, or injected by the host; not transmitted ones) is counted once, with all its bytes,
 * when the lane has decided what becomes of it: of a lane at rest the three sum up to the frames given to it. The tick of the last
 * packet is 0. Nothing but card_reset, and configuration, clears them.
 */
enum card_total {
    card_total_sent = 131072, /* by the lane's other port, as of a session or by a rule */
    card_total_punted,        /* to the host */
    card_total_dropped,       /* by a rule, of which nothing else tells; squashed; or with a record header that was refused */
    card_total_end
};

enum card_status {
    card_ok = 0,
    card_bad_sequence = 1, /* not the number that was to come; the entry counts as that one all the same */
    card_bad_opcode = 2,
    card_bad_lane = 3,
    card_bad_index = 4, /* session, slot, rule or total */
    card_bad_value = 5, /* in set, value or payload, or what should be zero is not */
    card_installed = 6, /* the session is */
    card_not_installed = 7,
    card_refused = 8 /* by the table or rules */
};

enum { card_interface_version = 1 };

struct card_command {
    uint32_t sequence; /* its number */
    uint8_t opcode, lane, set, zero;
    uint32_t index, zero_2;
    uint64_t value;
    uint8_t zero_3[40];
    uint8_t payload[card_payload_bytes]; /* whole lines of 64 bytes */
    uint8_t zero_4[60];
    uint32_t valid; /* its number again */
};

struct card_completion {
    uint32_t sequence;
    uint16_t status;
    uint8_t opcode, lane;
    uint64_t value[6];
    uint32_t zero, valid;
};

/* An event (struct event in common/types.hpp). If the ring is full, events are lost; how many, the next one that is written says.
 */
struct card_event {
    uint32_t sequence;
    uint32_t lost; /* between the one before and this one */
    uint8_t kind, lane;
    uint16_t detail, epoch, zero;
    uint32_t index, packet_id;
    uint64_t flow, open_seq;
    uint32_t tcp_seq;
    uint8_t zero_2[16];
    uint32_t valid;
};

/* A rule, addresses in network order. What is not in the mask is zero. */
struct card_rule {
    uint8_t src[16], src_mask[16], dst[16], dst_mask[16];
    uint16_t sport_min, sport_max, dport_min, dport_max; /* inclusive */
    uint8_t proto, any_proto, version, action;           /* version: 4, 6, or 0: both. action: 0 punt, 1 forward, 2 drop */
    uint8_t valid, zero[3];
};

/* Written by the host. */
struct card_host_page {
    uint32_t events_read; /* how many events it has read, modulo 2^32 */
    uint8_t zero[60];
};

#ifdef __cplusplus
#define CARD_ASSERT static_assert
#else
#define CARD_ASSERT _Static_assert
#endif
CARD_ASSERT(sizeof(struct card_command) == card_command_bytes, "a command is eight lines");
CARD_ASSERT(offsetof(struct card_command, value) == 16, "no padding");
CARD_ASSERT(offsetof(struct card_command, payload) == 64, "the payload is lines 1 to 6");
CARD_ASSERT(offsetof(struct card_command, valid) == 508, "the last word");
CARD_ASSERT(sizeof(struct session_state) == card_payload_bytes, "a session fits exactly");
CARD_ASSERT(sizeof(struct card_completion) == card_completion_bytes, "a line");
CARD_ASSERT(offsetof(struct card_completion, value) == 8, "no padding");
CARD_ASSERT(offsetof(struct card_completion, valid) == 60, "the last word");
CARD_ASSERT(sizeof(struct card_event) == card_event_bytes, "a line");
CARD_ASSERT(offsetof(struct card_event, flow) == 24, "no padding");
CARD_ASSERT(offsetof(struct card_event, valid) == 60, "the last word");
CARD_ASSERT(sizeof(struct card_rule) == 80, "no padding");
CARD_ASSERT(sizeof(struct card_host_page) == 64, "a line");
#undef CARD_ASSERT

#ifdef __cplusplus
} // namespace card
#endif
