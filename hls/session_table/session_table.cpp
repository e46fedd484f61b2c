/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hazards, by name:
 *
 * slot_race: a lookup reads the slot that an update writes in the same cycle. The lookup is first in program order and gets the old
 * content; UltraRAM does the same (port A goes before port B), so no forwarding is needed. Both contents are right: the host's
 * order of writes makes the table whole before and after each of them.
 *
 * torn_lookup: a lookup must see its four rows and the stash at one moment, or a session on its way from one to the other is
 * missed. All five are read in one cycle (one call); only comparison and selection come later. HLS keeps that order by itself, as
 * there is no DEPENDENCE pragma that says otherwise.
 *
 * double_hit: between two writes of a displacement a session is in two slots. Both have the same value; the lowest way goes first,
 * the stash last.
 *
 * early_done: done is written in the cycle of the write, and the next cycle's lookup sees it: a session that was acknowledged is
 * found.
 *
 * ack_stall: a pipeline stands still when an element that it has on its way finds its FIFO full, and lookups would stand with it.
 * done.full() does not know of those on their way, so while there may be one no other update is taken: a host that does not read
 * its acknowledgements stops updates only.
 */
#include "session_table/session_table.hpp"

namespace card
{

static_assert(table_hash_words * (table_expand_rounds / table_expand_rounds_a_step) <= table_rows,
              "the hash is complete when the last row is empty");

static session_result look_up(const session_table_state &s, const flow_key &key)
{
#pragma HLS INLINE
    const table_slot wanted = table_slot_of_key(key.src, key.dst, key.sport, key.dport, key.proto, key.version);
    const table_rows_of at = table_hash_rows(&s.hash, &wanted);

    /* The last word of the slot that matches; what is written later goes first. */
    table_slot found = {{0, 0, 0, 0, 0}};
    for (unsigned i = table_stash; i-- > 0;) {
#pragma HLS UNROLL
        if (table_slot_match(&s.stash[i], &wanted)) {
            found.word[4] = s.stash[i].word[4];
        }
    }
    for (unsigned w = table_ways; w-- > 0;) {
#pragma HLS UNROLL
        const table_slot read = s.way[w][at.row[w]];
        if (table_slot_match(&read, &wanted)) {
            found.word[4] = read.word[4];
        }
    }
    if (s.resetting || !table_slot_valid(&found)) {
        return session_result{key, false, 0, action_punt};
    }
    return session_result{key, true, table_slot_session(&found), action(table_slot_action(&found))};
}

/* The one write that a cycle may do on port B of each way. */
static void write_ways(session_table_state &s, const bool enable[table_ways], uint32_t row, const table_slot &content)
{
#pragma HLS INLINE
    for (unsigned w = 0; w < table_ways; w++) {
#pragma HLS UNROLL
        if (enable[w]) {
            s.way[w][row] = content;
        }
    }
}

static void begin_reset(session_table_state &s, const table_update &update)
{
#pragma HLS INLINE
    s.resetting = true;
    s.reset_row = 0;
    s.reset_word = 0;
    s.reset_tag = update.tag;
    s.expand.seed[0] = update.content.word[0];
    s.expand.seed[1] = update.content.word[1];
    table_expand_begin(&s.expand, 0);
}

/* A cycle of the reset: four rounds of the hash's expansion, and a row of each way. */
static void step_reset(session_table_state &s)
{
#pragma HLS INLINE
    if (s.reset_word < table_hash_words) {
        table_expand_step(&s.expand);
        if (s.expand.round == table_expand_rounds) {
            s.hash.word[s.reset_word / table_char_values][s.reset_word % table_char_values] = table_expand_end(&s.expand);
            s.reset_word++;
            table_expand_begin(&s.expand, s.reset_word);
        }
    }
    s.reset_row++;
}

void session_table(session_table_state &s, hls::stream<packet_key> &keys, hls::stream<session_result> &results,
                   hls::stream<table_update> &updates, hls::stream<table_update_done> &done)
{
#pragma HLS PIPELINE II = 1
#pragma HLS ARRAY_PARTITION variable = s.way complete dim = 1
#pragma HLS ARRAY_PARTITION variable = s.stash complete
#pragma HLS ARRAY_PARTITION variable = s.hash.word complete dim = 1
#pragma HLS BIND_STORAGE variable = s.way type = RAM_T2P impl = URAM latency = 5
#pragma HLS BIND_STORAGE variable = s.hash.word type = RAM_S2P impl = LUTRAM
    if (!keys.empty() && !results.full()) {
        const packet_key key = keys.read();
        if (key.valid) {
            results.write(look_up(s, key.key));
            s.lookups++;
        }
    }

    /* Updates, after the lookup: slot_race. */
    bool enable[table_ways] = {false, false, false, false};
#pragma HLS ARRAY_PARTITION variable = enable complete
    uint32_t row = 0;
    table_slot content = {{0, 0, 0, 0, 0}};
    const bool may_answer = s.quiet == 0 && !done.full();
    s.quiet = s.quiet > 0 ? s.quiet - 1 : 0;
    if (s.resetting) {
        if (s.reset_row < table_rows) {
            row = s.reset_row;
            for (unsigned w = 0; w < table_ways; w++) {
#pragma HLS UNROLL
                enable[w] = true;
            }
            for (unsigned i = 0; i < table_stash; i++) {
#pragma HLS UNROLL
                s.stash[i] = content;
            }
            step_reset(s);
        } else if (may_answer) {
            s.resetting = false;
            s.quiet = session_table_depth - 1;
            done.write(table_update_done{s.reset_tag, true, s.lookups});
        }
    } else if (may_answer && !updates.empty()) {
        const table_update update = updates.read();
        const bool reset = update.op == table_op_reset;
        const bool write = update.op == table_op_write && update.slot < table_slots;
        content = update.content;
        for (unsigned w = 0; w < table_ways; w++) {
#pragma HLS UNROLL
            const uint32_t first = w * table_rows;
            if (write && update.slot >= first && update.slot - first < table_rows) {
                enable[w] = true;
                row = update.slot - first;
            }
        }
        for (unsigned i = 0; i < table_stash; i++) {
#pragma HLS UNROLL
            if (write && update.slot == table_ways * table_rows + i) {
                s.stash[i] = update.content;
            }
        }
        if (reset) {
            begin_reset(s, update);
        } else {
            s.quiet = session_table_depth - 1;
            done.write(table_update_done{update.tag, write, s.lookups});
        }
    }
    write_ways(s, enable, row, content);
}

} // namespace card
