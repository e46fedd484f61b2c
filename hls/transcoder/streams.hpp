/* SPDX-License-Identifier: Apache-2.0 */
/* What the processes of the transcoder tell each other about slots and state. A slot holds a session while packets of it are
 * between fetch and finish; several packets of one session share it, so what one leaves behind the next one finds (hazard
 * SLOT_RAW). */
#pragma once

#include <stdint.h>

#include "aes_gcm/jobs.hpp"
#include "common/session.hpp"
#include "common/types.hpp"

namespace card
{

/* tracker -> finish, one for every packet, with its first piece. flow, lane and window_shift are filled in further down. */
struct packet_context {
    headers head;
    rewrite_rule rule;
    punt_info info;
};

/* fetch -> tracker and finish: write the slot's state back (hazard WRITE_BACK: the slot stays mapped until memory has
 * acknowledged, and a packet that comes meanwhile uses it as it is). */
struct write_back {
    uint16_t slot;
    uint32_t index;
};

/* tracker and finish -> spill -> memory. */
struct track_line {
    uint32_t index;
    track_state state;
};
struct finish_line {
    uint32_t index;
    finish_state state;
};
struct state_write {
    uint32_t index;
    track_state track;
    finish_state finish;
};

/* memory -> fill -> keys, tracker, finish: one element each for every work item with `fill`, in that order. */
struct state_read {
    session_state state;
};

/* control -> keys: the key set for the next work_keys item of the lane. */
struct key_load {
    key_set set;
};

/* control -> fetch. keys: the slot is kept from the work_keys item on until keys_end, while the host's set is written to memory
 * (hazard KEYS_RACE). `after`: to be obeyed when so many lookup results have been read, modulo 2^32: packets looked up before the
 * table entry went away are then in. */
enum fetch_command_kind : uint8_t { fetch_keys = 1, fetch_remove = 2, fetch_reset = 3, fetch_keys_end = 4 };
struct fetch_command {
    fetch_command_kind kind;
    uint8_t set; /* fetch_keys */
    uint32_t index;
    uint32_t after;
};

/* fetch -> control: the command was carried out; after a remove nothing of the session is left on chip. */
struct fetch_reply {
    fetch_command_kind kind;
    uint32_t index;
};

/* finish -> tracker, once for every packet (and key_load) of a session; the tracker passes the release on to fetch. */
enum done_kind : uint8_t { done_plain, done_key_update, done_dead };
struct packet_done {
    done_kind kind;
    uint16_t slot;
    uint32_t packet_id;
    uint32_t index;
    uint64_t flow;
    /* done_key_update: the record it was in */
    uint16_t length;   /* whole */
    uint16_t previous; /* whole length of the record before; 0: not known */
    uint32_t end;      /* TCP sequence number behind it */
    uint64_t open_seq;
    uint32_t seal_seq;
    bool more; /* its packet went on behind it, and was squashed */
};

/* tracker -> fetch */
struct slot_release {
    uint16_t slot;
};

} // namespace card
