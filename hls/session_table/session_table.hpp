/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_table: exact match of a packet's 5-tuple, one lookup a cycle, constant latency, whatever is written meanwhile.
 *
 *   keys ───▶ hash ─▶ rows ─▶ port A ┐                           updates ─▶ port B ─▶ done
 *                                    ├─ 4 ways + stash ─▶ compare ─▶ results
 *
 * The table is a cuckoo hash table that the kernel only reads; where a session goes, and who moves for it, is computed by the host
 * (host/card/cuckoo.h), which sends single-slot writes in such an order that every live key is found between any two of them. Each
 * write takes one cycle of port B, and there is one every session_table_depth cycles at most (33 million a second at 300 MHz).
 * Lookups never wait for it.
 */
#pragma once

#include <hls_stream.h>

#include "common/types.hpp"
#include "session_table/table_hash.h"

namespace card
{

/*
 * Cycles from a key to its result: 1 tabulation (memory LUT and three XOR levels, 4) + 1 row (XOR rest and 12-bit adder)
 * + 5 UltraRAM (address register, nine blocks in cascade with a register after every third, output register) + 1 compare (3 levels)
 * + 1 select (priority of five, one AND-OR: 3 levels).
 */
constexpr unsigned session_table_depth = 9;

/* What rule_table is fed with; one for every valid key, in order. On a miss session and what are zero (punt). */
struct session_result {
    flow_key key;
    bool hit;
    uint32_t session;
    action what;
};

enum table_op : uint8_t {
    table_op_write = 0, /* slot := content; all zero empties it */
    table_op_reset = 1  /* all slots empty, hash keyed with content.word[0..1] as the seed; table_rows cycles, all lookups miss */
};

struct table_update {
    table_op op;
    uint32_t slot;
    table_slot content;
    uint32_t tag; /* comes back in done */
};

/* The update is seen by every lookup whose key is read after this was written. */
struct table_update_done {
    uint32_t tag;
    bool ok; /* false: no such slot or operation; nothing was changed */
    /* Results written so far, modulo 2^32: when so many have been read, all that saw the content before are through. */
    uint32_t lookups;
};

struct session_table_state {
    table_slot way[table_ways][table_rows];
    table_slot stash[table_stash];
    table_hash hash;
    bool resetting;
    uint32_t reset_row, reset_word, reset_tag;
    uint32_t lookups; /* results written */
    uint32_t quiet;   /* calls until the next update may be taken: ack_stall */
    table_expand expand;
};

static_assert(uint32_t(table_sessions) == uint32_t(sessions_max), "session indexes of the table are those of the card");
static_assert(action_session_hold < 1 << table_action_bits, "an action fits into its bits");

void session_table(session_table_state &s, hls::stream<packet_key> &keys, hls::stream<session_result> &results,
                   hls::stream<table_update> &updates, hls::stream<table_update_done> &done);

} // namespace card
