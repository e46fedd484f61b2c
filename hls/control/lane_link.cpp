/* SPDX-License-Identifier: Apache-2.0 */
#include "control/lane_link.hpp"

#include <stddef.h>

#include "card/card_command.h"

namespace card
{

static_assert(sizeof(card_rule) <= 2 * beat_bytes, "a rule is two lines");
static_assert(sizeof(key_set) == 121, "packed: lies in the lines as it is");

namespace
{

uint8_t lines_of(uint8_t kind, uint8_t op)
{
    return kind == lane_rule || (kind == lane_fetch && op == fetch_keys) ? 3 : 1;
}

table_update table_of(const uint8_t *byte)
{
#pragma HLS INLINE
    table_update u = {};
    u.op = static_cast<table_op>(byte[1]);
    u.slot = static_cast<uint32_t>(load_le<4>(byte + 4));
    for (unsigned i = 0; i < table_words; i++) {
#pragma HLS UNROLL
        u.content.word[i] = load_le64(byte + 16 + 8 * i);
    }
    return u;
}

rule_update rule_of(const uint8_t *byte)
{
#pragma HLS INLINE
    const uint8_t *const from = byte + beat_bytes;
    rule_update u = {};
    u.op = static_cast<rule_op>(byte[1]);
    u.number = static_cast<uint16_t>(load_le<2>(byte + 4));
    rule &r = u.content;
    for (unsigned i = 0; i < 2; i++) {
#pragma HLS UNROLL
        r.src[i] = load_le64(from + offsetof(card_rule, src) + 8 * i);
        r.src_mask[i] = load_le64(from + offsetof(card_rule, src_mask) + 8 * i);
        r.dst[i] = load_le64(from + offsetof(card_rule, dst) + 8 * i);
        r.dst_mask[i] = load_le64(from + offsetof(card_rule, dst_mask) + 8 * i);
    }
    r.sport_min = static_cast<uint16_t>(load_le<2>(from + offsetof(card_rule, sport_min)));
    r.sport_max = static_cast<uint16_t>(load_le<2>(from + offsetof(card_rule, sport_max)));
    r.dport_min = static_cast<uint16_t>(load_le<2>(from + offsetof(card_rule, dport_min)));
    r.dport_max = static_cast<uint16_t>(load_le<2>(from + offsetof(card_rule, dport_max)));
    r.proto = from[offsetof(card_rule, proto)];
    r.any_proto = from[offsetof(card_rule, any_proto)] != 0;
    r.version = from[offsetof(card_rule, version)];
    r.what = static_cast<action>(from[offsetof(card_rule, action)]);
    r.valid = from[offsetof(card_rule, valid)] != 0;
    return u;
}

key_set keys_of(const uint8_t *from)
{
#pragma HLS INLINE
    key_set k;
    for (unsigned i = 0; i < 32; i++) {
#pragma HLS UNROLL
        k.open_key[i] = from[offsetof(key_set, open_key) + i];
        k.seal_key[i] = from[offsetof(key_set, seal_key) + i];
    }
    for (unsigned i = 0; i < 16; i++) {
#pragma HLS UNROLL
        k.open_h[i] = from[offsetof(key_set, open_h) + i];
        k.seal_h[i] = from[offsetof(key_set, seal_h) + i];
    }
    for (unsigned i = 0; i < 12; i++) {
#pragma HLS UNROLL
        k.open_iv[i] = from[offsetof(key_set, open_iv) + i];
        k.seal_iv[i] = from[offsetof(key_set, seal_iv) + i];
    }
    k.long_keys = from[offsetof(key_set, long_keys)];
    return k;
}

control_line reply_of(uint8_t kind, bool ok, uint32_t number)
{
#pragma HLS INLINE
    control_line r = {};
    r.byte[0] = kind;
    r.byte[1] = ok;
    store_le<4>(r.byte + 4, number);
    return r;
}

/* The request is done with: nothing of it stays, since it may have been keys (G13). */
void forget(lane_link_state &s)
{
#pragma HLS INLINE
    for (unsigned i = 0; i < sizeof s.byte; i++) {
#pragma HLS UNROLL
        s.byte[i] = 0;
    }
    s.lines = 0;
}

void issue(lane_link_state &s, const lane_link_out &out)
{
#pragma HLS INLINE
    const uint8_t kind = s.byte[0], op = s.byte[1];
    const uint32_t number = static_cast<uint32_t>(load_le<4>(s.byte + 4));
    const bool keys = kind == lane_fetch && op == fetch_keys;
    if (out.table_updates.full() || out.rule_updates.full() || out.fetch_commands.full() || out.key_loads.full() ||
        out.counter_commands.full() || out.seal_limits.full() || out.replies.full())
        return;
    s.waits = true;
    if (kind == lane_table) {
        out.table_updates.write(table_of(s.byte));
    } else if (kind == lane_rule) {
        out.rule_updates.write(rule_of(s.byte));
    } else if (kind == lane_fetch) {
        if (keys)
            out.key_loads.write(key_load{keys_of(s.byte + beat_bytes)});
        out.fetch_commands.write(
            fetch_command{static_cast<fetch_command_kind>(op), s.byte[2], number, static_cast<uint32_t>(load_le<4>(s.byte + 8))});
    } else if (kind == lane_counter) {
        out.counter_commands.write(counter_command{static_cast<counter_op>(op), number, 0});
    } else {
        if (kind == lane_seal_limit)
            out.seal_limits.write(number);
        out.replies.write(reply_of(kind, kind == lane_seal_limit, number));
        s.waits = false;
    }
    forget(s);
}

void answer(lane_link_state &s, const lane_link_in &in, const lane_link_out &out)
{
#pragma HLS INLINE
    if (out.replies.full())
        return;
    control_line r;
    if (!in.table_dones.empty()) {
        const table_update_done done = in.table_dones.read();
        r = reply_of(lane_table, done.ok, done.lookups);
    } else if (!in.rule_dones.empty()) {
        r = reply_of(lane_rule, in.rule_dones.read().ok, 0);
    } else if (!in.fetch_replies.empty()) {
        r = reply_of(lane_fetch, true, in.fetch_replies.read().index);
    } else if (!in.counter_answers.empty()) {
        const counter_answer a = in.counter_answers.read();
        r = reply_of(lane_counter, a.ok, 0);
        store_le64(r.byte + 8, a.value.bytes);
        store_le64(r.byte + 16, a.value.packets);
        store_le64(r.byte + 24, a.value.tick);
        store_le64(r.byte + 32, a.now);
    } else {
        return;
    }
    out.replies.write(r);
    s.waits = false;
}

} // namespace

void lane_link(lane_link_state &s, const lane_link_in &in, const lane_link_out &out)
{
#pragma HLS PIPELINE II = 1
#pragma HLS ARRAY_PARTITION variable = s.byte complete
    if (s.waits) {
        answer(s, in, out);
    } else if (s.lines > 0 && s.lines == lines_of(s.byte[0], s.byte[1])) {
        issue(s, out);
    } else if (!in.requests.empty()) {
        const control_line line = in.requests.read();
        for (unsigned i = 0; i < beat_bytes; i++) {
#pragma HLS UNROLL
            s.byte[s.lines * beat_bytes + i] = line.byte[i];
        }
        s.lines++;
    }
}

} // namespace card
