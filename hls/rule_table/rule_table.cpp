/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hazards, by name:
 *
 * rule_race: a rule is written while a packet is compared with it. All comparators read the rules in the cycle in which the packet
 * is taken, before the update of that cycle: the packet meets the whole old rule or the whole new one, never a mixture.
 *
 * rule_gap: a list that changes in several rules must be right between any two writes. To insert a rule the host copies the rules
 * behind it one place back, the last one first; to remove one it copies them forward, the first one first. Two equal neighbours
 * decide like one.
 *
 * ack_stall: an acknowledgement on its way to a full FIFO would hold up packets. As in session_table.cpp, an update is taken only
 * when no acknowledgement can be on its way.
 */
#include "rule_table/rule_table.hpp"

namespace card
{

enum : unsigned { groups = rules_max / rule_group };
static_assert(groups == 16 && rule_group == 16, "two levels of first-of-16");

/* A key as the comparators want it. */
struct wide_key {
    uint64_t src[2], dst[2];
    uint16_t sport, dport;
    uint8_t proto, version;
};

static wide_key widen(const flow_key &key)
{
#pragma HLS INLINE
    return wide_key{{table_address_word(key.src), table_address_word(key.src + 8)},
                    {table_address_word(key.dst), table_address_word(key.dst + 8)},
                    key.sport,
                    key.dport,
                    key.proto,
                    key.version};
}

static bool matches(const rule &r, const wide_key &key)
{
#pragma HLS INLINE
    return ((key.src[0] ^ r.src[0]) & r.src_mask[0]) == 0 && ((key.dst[0] ^ r.dst[0]) & r.dst_mask[0]) == 0 &&
           ((key.src[1] ^ r.src[1]) & r.src_mask[1]) == 0 && ((key.dst[1] ^ r.dst[1]) & r.dst_mask[1]) == 0 &&
           key.sport >= r.sport_min && key.sport <= r.sport_max && key.dport >= r.dport_min && key.dport <= r.dport_max &&
           (r.any_proto || key.proto == r.proto) && (r.version == 0 || key.version == r.version);
}

/* Number of the lowest bit that is set; bits is not zero. Two LUT levels a bit of the result, in a tree. */
static unsigned first_of_16(uint16_t bits)
{
#pragma HLS INLINE
    const bool low8 = (bits & 0x00ff) != 0;
    const unsigned of8 = low8 ? bits & 0xffu : unsigned(bits) >> 8;
    const bool low4 = (of8 & 0x0f) != 0;
    const unsigned of4 = low4 ? of8 & 0x0f : of8 >> 4;
    const bool low2 = (of4 & 0x03) != 0;
    const unsigned of2 = low2 ? of4 & 0x03 : of4 >> 2;
    return (low8 ? 0u : 8u) + (low4 ? 0u : 4u) + (low2 ? 0u : 2u) + ((of2 & 1) != 0 ? 0u : 1u);
}

static lookup_result decide(const rule_table_state &s, const flow_key &key)
{
#pragma HLS INLINE
    const wide_key wide = widen(key);
    uint16_t any = 0;
    unsigned first[groups];
#pragma HLS ARRAY_PARTITION variable = first complete
    for (unsigned g = 0; g < groups; g++) {
#pragma HLS UNROLL
        uint16_t match = 0;
        if (s.valid[g] != 0) { /* a shortcut of the native build */
            for (unsigned i = 0; i < rule_group; i++) {
#pragma HLS UNROLL
                const bool valid = (s.valid[g] >> i & 1) != 0;
                match = uint16_t(match | unsigned(valid && matches(s.rules[g * rule_group + i], wide)) << i);
            }
        }
        any = uint16_t(any | unsigned(match != 0) << g);
        first[g] = first_of_16(match);
    }
    if (any == 0) {
        return lookup_result{s.otherwise, 0, rules_max};
    }
    const unsigned g = first_of_16(any);
    const unsigned number = g * rule_group + first[g];
    return lookup_result{s.rules[number].what, 0, uint16_t(number)};
}

static bool apply(rule_table_state &s, const rule_update &update)
{
#pragma HLS INLINE
    const bool known =
        update.content.what == action_punt || update.content.what == action_forward || update.content.what == action_drop;
    if (!known) {
        return false;
    }
    if (update.op == rule_op_default) {
        s.otherwise = update.content.what;
        return true;
    }
    if (update.op == rule_op_write && update.number < rules_max) {
        const unsigned bit = 1u << update.number % rule_group;
        uint16_t &valid = s.valid[update.number / rule_group];
        valid = uint16_t(update.content.valid ? valid | bit : valid & ~bit);
        s.rules[update.number] = update.content;
        return true;
    }
    return false;
}

void rule_table(rule_table_state &s, hls::stream<session_result> &results, hls::stream<lookup_result> &lookups,
                hls::stream<rule_update> &updates, hls::stream<rule_update_done> &done)
{
#pragma HLS PIPELINE II = 1
#pragma HLS ARRAY_PARTITION variable = s.rules complete
#pragma HLS ARRAY_PARTITION variable = s.valid complete
    if (!results.empty() && !lookups.full()) {
        const session_result result = results.read();
        lookups.write(result.hit ? lookup_result{result.what, result.session, rules_max} : decide(s, result.key));
    }

    /* Updates, after the lookup: rule_race. */
    const bool may_answer = s.quiet == 0 && !done.full();
    s.quiet = s.quiet > 0 ? s.quiet - 1 : 0;
    if (may_answer && !updates.empty()) {
        s.quiet = rule_table_depth - 1;
        const rule_update update = updates.read();
        const bool ok = apply(s, update);
        done.write(rule_update_done{update.tag, ok});
    }
}

} // namespace card
