/* SPDX-License-Identifier: Apache-2.0 */
#include "control/check.hpp"

#include <stddef.h>

#include "card/card_command.h"
#include "common/bytes.hpp"
#include "common/types.hpp"
#include "session_table/table_slot.h"

namespace card
{

namespace
{

uint32_t word_at(const uint8_t *from, unsigned offset)
{
    return static_cast<uint32_t>(load_le<4>(from + offset));
}

unsigned half_at(const uint8_t *from, unsigned offset)
{
    return static_cast<unsigned>(load_le<2>(from + offset));
}

bool all_zero(const uint8_t *from, unsigned bytes)
{
    uint8_t any = 0;
    for (unsigned i = 0; i < bytes; i++) {
#pragma HLS UNROLL
        any = static_cast<uint8_t>(any | from[i]);
    }
    return any == 0;
}

bool keys_are_sound(const uint8_t *from)
{
    const int8_t shift = static_cast<int8_t>(from[offsetof(key_state, window_shift)]);
    return key_set_is_sound(from) && key_set_is_sound(from + sizeof(key_set)) && shift >= -14 && shift <= 14 &&
           all_zero(from + offsetof(key_state, reserved), sizeof(key_state::reserved));
}

bool ring_is_sound(const uint8_t *from, unsigned longest)
{
    const unsigned last = half_at(from, offsetof(track_state, ring)), before = half_at(from, offsetof(track_state, ring) + 2);
    return last <= longest && before <= longest && (last != 0 || before == 0) && from[offsetof(track_state, ring_new)] <= 2;
}

bool track_is_sound(const uint8_t *from)
{
    const uint8_t flags = from[offsetof(track_state, flags)];
    const bool tls13 = (flags & track_tls13) != 0, ahead = (flags & track_ahead) != 0;
    const unsigned shortest = tls13 ? tls13_overhead : tls12_overhead, longest = tls13 ? tls13_fragment_max : tls12_fragment_max;
    const uint32_t have = word_at(from, offsetof(track_state, next)) - word_at(from, offsetof(track_state, record_start));
    const unsigned fragment = half_at(from, offsetof(track_state, fragment));
    const unsigned whole = tls_header_bytes + fragment;
    const unsigned ahead_from = half_at(from, offsetof(track_state, ahead_from)),
                   ahead_to = half_at(from, offsetof(track_state, ahead_to));
    const bool header_known = have >= tls_header_bytes;
    const bool position = !header_known || (fragment >= shortest && fragment <= longest && have < whole);
    const bool range = !ahead || (header_known && ahead_from > have && ahead_from < ahead_to && ahead_to <= whole);
    const bool sets = (flags & (track_next | track_previous)) != (track_next | track_previous);
    const bool countable = word_at(from, offsetof(track_state, seal_seq)) <= seal_limit_default; /* G1, G3 */
    return position && range && sets && countable && ring_is_sound(from, tls_header_bytes + longest);
}

bool finish_is_sound(const uint8_t *from)
{
    return half_at(from, offsetof(finish_state, tail_end)) <= tls13_fragment_max;
}

} // namespace

bool key_set_is_sound(const uint8_t *payload)
{
    return payload[offsetof(key_set, long_keys)] <= 3;
}

bool session_is_sound(const uint8_t *payload)
{
    return keys_are_sound(payload) && track_is_sound(payload + offsetof(session_state, track)) &&
           finish_is_sound(payload + offsetof(session_state, finish));
}

bool table_slot_is_sound(const uint8_t *payload)
{
    table_slot slot;
    for (unsigned i = 0; i < table_words; i++) {
#pragma HLS UNROLL
        slot.word[i] = load_le64(payload + 8 * i);
    }
    if (all_zero(payload, sizeof slot))
        return true;
    return table_slot_valid(&slot) && table_slot_action(&slot) <= action_session_hold &&
           slot.word[4] >> (table_at_session + table_session_bits) == 0;
}

bool rule_is_sound(const uint8_t *payload)
{
    const uint8_t version = payload[offsetof(card_rule, version)];
    bool masked = true;
    for (unsigned i = 0; i < 16; i++) {
#pragma HLS UNROLL
        masked = masked && (payload[offsetof(card_rule, src) + i] & ~payload[offsetof(card_rule, src_mask) + i]) == 0 &&
                 (payload[offsetof(card_rule, dst) + i] & ~payload[offsetof(card_rule, dst_mask) + i]) == 0;
    }
    return masked && (version == 0 || version == 4 || version == 6) && payload[offsetof(card_rule, action)] <= action_drop &&
           payload[offsetof(card_rule, any_proto)] <= 1 && payload[offsetof(card_rule, valid)] <= 1 &&
           all_zero(payload + offsetof(card_rule, zero), sizeof(card_rule::zero));
}

} // namespace card
