/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control.hpp"

#include <stddef.h>

#include "card/card_command.h"
#include "control/check.hpp"

namespace card
{

static_assert(sizeof(card_command) == control_entry_lines * beat_bytes, "a command is that many lines");
static_assert(uint32_t{card_total_sent} == counter_totals_at + counter_sent &&
                  uint32_t{card_total_punted} == counter_totals_at + counter_punted &&
                  uint32_t{card_total_dropped} == counter_totals_at + counter_dropped &&
                  uint32_t{card_total_end} == uint32_t{counter_totals_end},
              "totals have one index for the host and the lane");
static_assert(sizeof(key_set) <= 2 * beat_bytes, "a key set goes with a request");

namespace
{

enum control_step : uint8_t {
    step_done,
    step_write_session, /* the payload to memory */
    step_zero_session,
    step_write_keys,
    step_mark, /* installed */
    step_unmark,
    step_clear_counters,
    step_read_counters,
    step_ask_lookups, /* so that what follows waits for the packets that are past the table */
    step_leave_chip,  /* fetch_remove */
    step_begin_keys,  /* fetch_keys, with the payload */
    step_end_keys,
    step_table_write,
    step_table_reset,
    step_rule_write,
    step_rule_default,
    step_seal_limit,
    /* of a reset; each for all rules or sessions of the lane */
    step_drop_rules,
    step_default_rule,
    step_default_limit,
    step_empty_chip, /* fetch_reset */
    step_zero_all,
    step_clear_all_counters,
    step_clear_totals,
    step_unmark_all,
    step_next_lane
};

enum : unsigned { script_steps = 10 };

/* By opcode. */
const uint8_t scripts[card_opcode_last + 1][script_steps] = {
    {step_done},
    /* no_op */ {step_done},
    /* install */ {step_write_session, step_clear_counters, step_mark},
    /* remove */ {step_ask_lookups, step_leave_chip, step_zero_session, step_clear_counters, step_unmark},
    /* keys */ {step_begin_keys, step_write_keys, step_end_keys},
    /* table_write */ {step_table_write},
    /* rule_write */ {step_rule_write},
    /* rule_default */ {step_rule_default},
    /* counters */ {step_read_counters},
    /* seal_limit */ {step_seal_limit},
    /* hash_seed */ {step_table_reset},
    /* reset */
    {step_table_reset, step_drop_rules, step_default_rule, step_default_limit, step_empty_chip, step_zero_all,
     step_clear_all_counters, step_clear_totals, step_unmark_all, step_next_lane},
};

bool is_exchange(uint8_t step)
{
    switch (step) {
    case step_clear_counters:
    case step_read_counters:
    case step_ask_lookups:
    case step_leave_chip:
    case step_begin_keys:
    case step_end_keys:
    case step_table_write:
    case step_table_reset:
    case step_rule_write:
    case step_rule_default:
    case step_seal_limit:
    case step_drop_rules:
    case step_default_rule:
    case step_default_limit:
    case step_empty_chip:
    case step_clear_all_counters:
    case step_clear_totals:
        return true;
    default:
        return false;
    }
}

/* How often the step is taken. */
uint32_t rounds_of(uint8_t step, uint32_t sessions)
{
    switch (step) {
    case step_drop_rules:
        return rules_max;
    case step_zero_all:
    case step_clear_all_counters:
        return sessions;
    case step_clear_totals:
        return counter_fates;
    case step_unmark_all:
        return sessions / 64;
    default:
        return 1;
    }
}

template <typename T> void write_lane(hls::stream<T> &lane_0, hls::stream<T> &lane_1, uint8_t lane, const T &element)
{
#pragma HLS INLINE
    if (lane == 0)
        lane_0.write(element);
    else
        lane_1.write(element);
}

/* ---- the entry ---- */

const uint8_t *payload_of(const control_state &s)
{
    return s.entry + offsetof(card_command, payload);
}

bool zero_bytes(const control_state &s, unsigned from, unsigned bytes)
{
#pragma HLS INLINE
    uint8_t any = 0;
    for (unsigned i = 0; i < bytes; i++) {
#pragma HLS UNROLL
        any = static_cast<uint8_t>(any | s.entry[from + i]);
    }
    return any == 0;
}

bool zeros_are_zero(const control_state &s)
{
#pragma HLS INLINE
    return zero_bytes(s, offsetof(card_command, zero), 1) && zero_bytes(s, offsetof(card_command, zero_2), 4) &&
           zero_bytes(s, offsetof(card_command, zero_3), sizeof(card_command::zero_3)) &&
           zero_bytes(s, offsetof(card_command, zero_4), sizeof(card_command::zero_4));
}

bool installed(const control_state &s, uint8_t lane, uint32_t index)
{
    return (s.installed[lane][index / 64] >> (index % 64) & 1) != 0;
}

void mark(control_state &s, bool there)
{
#pragma HLS INLINE
    const uint64_t bit = UINT64_C(1) << (s.index % 64);
    uint64_t &word = s.installed[s.lane][s.index / 64];
    word = there ? word | bit : word & ~bit;
}

uint16_t check_slot(const control_state &s, uint32_t sessions)
{
    table_slot slot = {};
    slot.word[4] = load_le64(payload_of(s) + 32);
    const uint8_t what = table_slot_action(&slot);
    const uint32_t index = table_slot_session(&slot);
    if (!table_slot_is_sound(payload_of(s)) || index >= sessions)
        return card_bad_value;
    const bool needs_session = what == action_session_forward || what == action_session_transcode;
    return needs_session && !installed(s, s.lane, index) ? card_not_installed : card_ok;
}

bool names_total(const control_state &s)
{
    return s.opcode == card_counters && s.index >= card_total_sent && s.index < card_total_end;
}

bool names_session(const control_state &s)
{
    return s.opcode == card_install || s.opcode == card_remove || s.opcode == card_keys ||
           (s.opcode == card_counters && !names_total(s));
}

uint16_t check_limit(const control_state &s)
{
    const uint64_t limit = load_le64(s.entry + offsetof(card_command, value));
    return limit >= 512 && limit <= seal_limit_default ? card_ok : card_bad_value;
}

uint16_t check(const control_state &s, uint32_t sessions)
{
#pragma HLS INLINE
    if (load_le<4>(s.entry + offsetof(card_command, sequence)) != s.count ||
        load_le<4>(s.entry + offsetof(card_command, valid)) != s.count)
        return card_bad_sequence;
    if (s.opcode == 0 || s.opcode > card_opcode_last)
        return card_bad_opcode;
    if (s.lane >= control_lanes)
        return card_bad_lane;
    if (!zeros_are_zero(s))
        return card_bad_value;
    if (names_session(s)) {
        if (s.index >= sessions)
            return card_bad_index;
        if (installed(s, s.lane, s.index) != (s.opcode != card_install))
            return s.opcode == card_install ? card_installed : card_not_installed;
    }
    switch (s.opcode) {
    case card_install:
        return session_is_sound(payload_of(s)) ? card_ok : card_bad_value;
    case card_keys:
        return s.set <= 1 && key_set_is_sound(payload_of(s)) ? card_ok : card_bad_value;
    case card_table_write:
        return s.index >= table_slots ? static_cast<uint16_t>(card_bad_index) : check_slot(s, sessions);
    case card_rule_write:
        if (s.index >= rules_max)
            return card_bad_index;
        return rule_is_sound(payload_of(s)) ? card_ok : card_bad_value;
    case card_rule_default:
        return s.set <= action_drop ? card_ok : card_bad_value;
    case card_seal_limit:
        return check_limit(s);
    default:
        return card_ok;
    }
}

/* ---- exchanges with a lane ---- */

control_line head_of(uint8_t kind, uint8_t op, uint32_t number)
{
#pragma HLS INLINE
    control_line line = {};
    line.byte[0] = kind;
    line.byte[1] = op;
    store_le<4>(line.byte + 4, number);
    return line;
}

control_line first_line(const control_state &s, uint8_t step)
{
#pragma HLS INLINE
    control_line line = {};
    switch (step) {
    case step_clear_counters:
        return head_of(lane_counter, counter_clear, s.index);
    case step_clear_all_counters:
        return head_of(lane_counter, counter_clear, s.round);
    case step_clear_totals:
        return head_of(lane_counter, counter_clear, counter_totals_at + s.round);
    case step_read_counters:
        return head_of(lane_counter, counter_read, s.index);
    case step_ask_lookups:
        return head_of(lane_table, lane_table_ask, 0);
    case step_leave_chip:
        line = head_of(lane_fetch, fetch_remove, s.index);
        store_le<4>(line.byte + 8, s.lookups);
        return line;
    case step_empty_chip:
        line = head_of(lane_fetch, fetch_reset, 0);
        store_le<4>(line.byte + 8, s.lookups);
        return line;
    case step_begin_keys:
        line = head_of(lane_fetch, fetch_keys, s.index);
        line.byte[2] = s.set;
        return line;
    case step_end_keys:
        return head_of(lane_fetch, fetch_keys_end, s.index);
    case step_table_write:
    case step_table_reset: {
        const bool reset = step == step_table_reset;
        const unsigned from = s.opcode == card_reset ? 16u * s.lane : 0; /* the lane's seed */
        line = head_of(lane_table, reset ? table_op_reset : table_op_write, s.index);
        for (unsigned i = 0; i < 8 * table_words; i++) {
#pragma HLS UNROLL
            if (!reset || i < 16)
                line.byte[16 + i] = payload_of(s)[from + i];
        }
        return line;
    }
    case step_rule_write:
        return head_of(lane_rule, rule_op_write, s.index);
    case step_drop_rules:
        return head_of(lane_rule, rule_op_write, s.round);
    case step_rule_default:
    case step_default_rule:
        return head_of(lane_rule, rule_op_default, 0);
    case step_seal_limit:
        return head_of(lane_seal_limit, 0, static_cast<uint32_t>(load_le<4>(s.entry + offsetof(card_command, value))));
    default:
        return head_of(lane_seal_limit, 0, seal_limit_default);
    }
}

bool is_rule(uint8_t step)
{
    return step == step_rule_write || step == step_drop_rules || step == step_rule_default || step == step_default_rule;
}

uint8_t request_lines(uint8_t step)
{
    return is_rule(step) || step == step_begin_keys ? uint8_t{lane_request_lines} : uint8_t{1};
}

/* Lines 1 and 2: the payload, if the step has one. */
control_line more_lines(const control_state &s, uint8_t step)
{
#pragma HLS INLINE
    control_line line = {};
    const unsigned from = (s.line - 1u) * beat_bytes;
    const unsigned bytes = step == step_begin_keys ? sizeof(key_set) : step == step_rule_write ? sizeof(card_rule) : 0;
    for (unsigned i = 0; i < beat_bytes; i++) {
#pragma HLS UNROLL
        if (from + i < bytes)
            line.byte[i] = payload_of(s)[from + i];
        if (step == step_rule_default && from + i == offsetof(card_rule, action))
            line.byte[i] = s.set;
    }
    return line;
}

void take_reply(control_state &s, uint8_t step, const control_line &reply)
{
#pragma HLS INLINE
    if (reply.byte[1] == 0 && step != step_ask_lookups)
        s.status = card_refused;
    if (step == step_table_write || step == step_table_reset || step == step_ask_lookups)
        s.lookups = static_cast<uint32_t>(load_le<4>(reply.byte + 4));
    if (s.opcode == card_table_write || s.opcode == card_hash_seed)
        s.value[0] = s.lookups;
    if (s.opcode == card_counters || s.opcode == card_remove) {
        for (unsigned i = 0; i < 4; i++) {
#pragma HLS UNROLL
            if (step == step_read_counters || step == step_clear_counters)
                s.value[i] = load_le64(reply.byte + 8 + 8 * i);
        }
    }
}

/* ---- writes to session memory ---- */

void begin_write(control_state &s, uint8_t step)
{
#pragma HLS INLINE
    s.from = 0;
    s.to = sizeof(session_state);
    if (step == step_write_keys) {
        s.from = static_cast<uint16_t>(s.set * sizeof(key_set));
        s.to = static_cast<uint16_t>(s.from + sizeof(key_set));
    }
    s.phase = phase_write;
}

/* The next piece, to the end of its line. */
session_write next_write(control_state &s, uint8_t step)
{
#pragma HLS INLINE
    session_write w = {};
    const unsigned base = step == step_write_keys ? s.set * sizeof(key_set) : 0;
    const unsigned line_end = (s.from / beat_bytes + 1) * beat_bytes;
    const unsigned end = smaller(line_end, s.to);
    w.index = step == step_zero_all ? s.round : s.index;
    w.offset = s.from;
    w.bytes = static_cast<uint8_t>(end - s.from);
    if (step == step_write_session || step == step_write_keys) {
        for (unsigned i = 0; i < beat_bytes; i++) {
#pragma HLS UNROLL
            if (i < w.bytes)
                w.byte[i] = payload_of(s)[s.from - base + i];
        }
    }
    s.from = static_cast<uint16_t>(end);
    return w;
}

/* ---- the phases ---- */

void read_line(control_state &s, const control_in &in)
{
#pragma HLS INLINE
    if (in.commands.empty())
        return;
    const control_line line = in.commands.read();
    for (unsigned i = 0; i < beat_bytes; i++) {
#pragma HLS UNROLL
        s.entry[s.line * beat_bytes + i] = line.byte[i];
    }
    s.line++;
    if (s.line == control_entry_lines) {
        s.count++;
        s.opcode = s.entry[offsetof(card_command, opcode)];
        s.lane = s.entry[offsetof(card_command, lane)];
        s.set = s.entry[offsetof(card_command, set)];
        s.index = static_cast<uint32_t>(load_le<4>(s.entry + offsetof(card_command, index)));
        s.phase = phase_check;
    }
}

void begin_script(control_state &s, uint32_t sessions)
{
#pragma HLS INLINE
    for (unsigned i = 0; i < control_values; i++) {
#pragma HLS UNROLL
        s.value[i] = 0;
    }
    s.status = check(s, sessions);
    s.step = 0;
    s.round = 0;
    s.line = 0;
    s.phase = s.status == card_ok ? phase_step : phase_wipe;
    if (s.status == card_ok && s.opcode == card_no_op) {
        s.value[0] = card_interface_version;
        s.value[1] = sessions;
        s.value[2] = rules_max;
    }
    if (s.status == card_ok && s.opcode == card_reset)
        s.lane = 0;
}

/* The step has been taken; again, or the next one. */
void advance(control_state &s, uint8_t step, uint32_t sessions)
{
#pragma HLS INLINE
    s.round++;
    if (s.round >= rounds_of(step, sessions)) {
        s.round = 0;
        s.step++;
    }
    s.line = 0;
    s.phase = s.status == card_ok ? phase_step : phase_wipe;
}

void begin_step(control_state &s, uint8_t step, uint32_t sessions)
{
#pragma HLS INLINE
    if (step == step_done) {
        s.phase = phase_wipe;
    } else if (is_exchange(step)) {
        s.phase = phase_send;
    } else if (step == step_next_lane) {
        s.lane++;
        s.step = 0;
        if (s.lane == control_lanes) {
            s.lane = 0;
            s.phase = phase_wipe;
        }
    } else if (step == step_mark || step == step_unmark) {
        mark(s, step == step_mark);
        advance(s, step, sessions);
    } else if (step == step_unmark_all) {
        s.installed[s.lane][s.round] = 0;
        advance(s, step, sessions);
    } else {
        begin_write(s, step);
    }
}

void send_line(control_state &s, uint8_t step, const control_out &out)
{
#pragma HLS INLINE
    if (s.lane == 0 ? out.lane[0].requests.full() : out.lane[1].requests.full())
        return;
    const control_line line = s.line == 0 ? first_line(s, step) : more_lines(s, step);
    write_lane(out.lane[0].requests, out.lane[1].requests, s.lane, line);
    s.line++;
    if (s.line == request_lines(step))
        s.phase = phase_reply;
}

void await_reply(control_state &s, uint8_t step, const control_in &in, uint32_t sessions)
{
#pragma HLS INLINE
    if (s.lane == 0 ? in.lane[0].replies.empty() : in.lane[1].replies.empty())
        return;
    take_reply(s, step, s.lane == 0 ? in.lane[0].replies.read() : in.lane[1].replies.read());
    advance(s, step, sessions);
}

/* Of a step for all sessions the writes follow each other without a wait. */
void write_piece(control_state &s, uint8_t step, const control_out &out, uint32_t sessions)
{
#pragma HLS INLINE
    const bool more = s.from < s.to;
    if (more && s.unanswered < control_acks_depth && !(s.lane == 0 ? out.lane[0].writes.full() : out.lane[1].writes.full())) {
        write_lane(out.lane[0].writes, out.lane[1].writes, s.lane, next_write(s, step));
        s.unanswered++;
    } else if (!more && (s.unanswered == 0 || s.round + 1 < rounds_of(step, sessions))) {
        advance(s, step, sessions);
    }
}

void take_acks(control_state &s, const control_in &in)
{
#pragma HLS INLINE
    if (s.unanswered == 0)
        return;
    if (s.lane == 0 ? !in.lane[0].acks.empty() : !in.lane[1].acks.empty()) {
        if (s.lane == 0)
            in.lane[0].acks.read();
        else
            in.lane[1].acks.read();
        s.unanswered--;
    }
}

void wipe_line(control_state &s)
{
#pragma HLS INLINE
    for (unsigned i = 0; i < beat_bytes; i++) {
#pragma HLS UNROLL
        s.entry[s.line * beat_bytes + i] = 0;
    }
    s.line++;
    if (s.line == control_entry_lines)
        s.phase = phase_complete;
}

void complete(control_state &s, const control_out &out)
{
#pragma HLS INLINE
    if (out.completions.full())
        return;
    control_line line = {};
    store_le<4>(line.byte + offsetof(card_completion, sequence), s.count);
    store_le<2>(line.byte + offsetof(card_completion, status), s.status);
    line.byte[offsetof(card_completion, opcode)] = s.opcode;
    line.byte[offsetof(card_completion, lane)] = s.lane;
    for (unsigned i = 0; i < control_values; i++) {
#pragma HLS UNROLL
        store_le64(line.byte + offsetof(card_completion, value) + 8 * i, s.value[i]);
    }
    store_le<4>(line.byte + offsetof(card_completion, valid), s.count);
    out.completions.write(line);
    s.line = 0;
    s.phase = phase_read;
}

} // namespace

void control(control_state &s, const control_in &in, const control_out &out, uint32_t sessions)
{
#pragma HLS PIPELINE II = 1
#pragma HLS ARRAY_PARTITION variable = s.entry complete
#pragma HLS ARRAY_PARTITION variable = s.value complete
    const uint8_t step = s.step < script_steps ? scripts[s.opcode <= card_opcode_last ? s.opcode : 0][s.step] : uint8_t{step_done};
    take_acks(s, in);
    switch (s.phase) {
    case phase_read:
        read_line(s, in);
        break;
    case phase_check:
        begin_script(s, sessions);
        break;
    case phase_step:
        begin_step(s, step, sessions);
        break;
    case phase_send:
        send_line(s, step, out);
        break;
    case phase_reply:
        await_reply(s, step, in, sessions);
        break;
    case phase_write:
        write_piece(s, step, out, sessions);
        break;
    case phase_wipe:
        wipe_line(s);
        break;
    default:
        complete(s, out);
    }
}

} // namespace card
