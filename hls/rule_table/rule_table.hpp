/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rule_table: what to do with a packet that belongs to no session. 256 ordered rules, the first that matches decides; a packet a
 * cycle. Packets with a session pass through, so that the answers keep the packets' order.
 *
 *   results ─┬─ hit ───────────────────────────────────────────────┬─▶ lookups
 *            └─ miss ─▶ 256 comparators ─▶ 16 x first of 16 ─▶ first of 16 ─▶ action ┘         updates ─▶ rules ─▶ done
 */
#pragma once

#include <hls_stream.h>

#include "common/types.hpp"
#include "session_table/session_table.hpp"

namespace card
{

/*
 * Cycles from result to lookup: 1 copies of the key, one for every 16 rules + 1 comparators (two bits of address a LUT, then OR of
 * six: 4 levels; ranges beside it: a 16-bit carry chain) + 1 AND of the parts, any of 16 (2 levels) + 1 first of 16 in each group,
 * first group (3 levels) + 1 action (16:1 twice, 4 levels).
 */
constexpr unsigned rule_table_depth = 5;

enum : unsigned { rule_group = 16 }; /* rules in a group: the first of them, then the first of the groups */

/* A rule. Addresses and masks as words of table_slot.h (byte 0 in the low bits). A rule matches if all parts do. */
struct rule {
    bool valid;
    uint64_t src[2], src_mask[2]; /* (address ^ src) & src_mask == 0; src has no bits outside of its mask */
    uint64_t dst[2], dst_mask[2];
    uint16_t sport_min, sport_max, dport_min, dport_max; /* inclusive; min > max never matches */
    uint8_t proto;
    bool any_proto;
    uint8_t version; /* 4, 6, or 0: both */
    action what;     /* punt, forward or drop; a session action would be punt */
};

enum rule_op : uint8_t {
    rule_op_write = 0,  /* rule number `number` := content, in one cycle */
    rule_op_default = 1 /* what no rule decides := content.what */
};

struct rule_update {
    rule_op op;
    uint16_t number; /* 0 is looked at first; also the id in lookup_result */
    rule content;
    uint32_t tag; /* comes back in done */
};

/* The update is seen by every packet read after this was written. */
struct rule_update_done {
    uint32_t tag;
    bool ok; /* false: no such rule, operation or action; nothing was changed */
};

/* All zero: no rules, everything is punted. */
struct rule_table_state {
    rule rules[rules_max];                  /* without their valid bits, */
    uint16_t valid[rules_max / rule_group]; /* which are here */
    action otherwise;
    uint32_t quiet; /* calls until the next update may be taken: ack_stall */
};

void rule_table(rule_table_state &s, hls::stream<session_result> &results, hls::stream<lookup_result> &lookups,
                hls::stream<rule_update> &updates, hls::stream<rule_update_done> &done);

} // namespace card
