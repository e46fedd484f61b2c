/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a punted packet comes to the host: one beat of 64 bytes that says why, then the frame as it came in. Plain enough for the
 * host's C compiler, which reads it with card_punt_unpack. Integers are little-endian.
 *
 *       0        1        2        3        4        5        6        7
 *   0   version  reason   lane     flags    frame_bytes       rule                flags: bit 0: has_session
 *   8   packet_id                           index
 *  16   flow
 *  24   open_seq
 *  32   next                                record_start
 *  40   seal_seq                            epoch             0
 *  48   0                                                                         .. 63
 *
 * The fields are those of struct punt_info (common/types.hpp). What belongs to the session is zero without one.
 */
#ifndef CARD_PUNT_LAYOUT_H
#define CARD_PUNT_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

enum { card_punt_bytes = 64, card_punt_version = 1, card_punt_flag_session = 1 };

struct card_punt {
    uint64_t flow, open_seq;
    uint32_t packet_id, index, next, record_start, seal_seq;
    uint16_t frame_bytes, rule, epoch;
    uint8_t reason, lane;
    bool has_session;
};

static inline void card_put(uint8_t *to, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; ++i) {
        to[i] = (uint8_t)(value >> (8 * i));
    }
}

static inline uint64_t card_get(const uint8_t *from, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; ++i) {
        value |= (uint64_t)from[i] << (8 * i);
    }
    return value;
}

static inline void card_punt_pack(uint8_t to[card_punt_bytes], const struct card_punt *punt)
{
    to[0] = card_punt_version;
    to[1] = punt->reason;
    to[2] = punt->lane;
    to[3] = punt->has_session ? card_punt_flag_session : 0;
    card_put(to + 4, punt->frame_bytes, 2);
    card_put(to + 6, punt->rule, 2);
    card_put(to + 8, punt->packet_id, 4);
    card_put(to + 12, punt->index, 4);
    card_put(to + 16, punt->flow, 8);
    card_put(to + 24, punt->open_seq, 8);
    card_put(to + 32, punt->next, 4);
    card_put(to + 36, punt->record_start, 4);
    card_put(to + 40, punt->seal_seq, 4);
    card_put(to + 44, punt->epoch, 2);
    for (unsigned i = 46; i < card_punt_bytes; ++i) {
        to[i] = 0;
    }
}

/* False, and *punt unchanged, if the beat is not one of this version. */
static inline bool card_punt_unpack(struct card_punt *punt, const uint8_t from[card_punt_bytes])
{
    if (from[0] != card_punt_version) {
        return false;
    }
    punt->reason = from[1];
    punt->lane = from[2];
    punt->has_session = (from[3] & card_punt_flag_session) != 0;
    punt->frame_bytes = (uint16_t)card_get(from + 4, 2);
    punt->rule = (uint16_t)card_get(from + 6, 2);
    punt->packet_id = (uint32_t)card_get(from + 8, 4);
    punt->index = (uint32_t)card_get(from + 12, 4);
    punt->flow = card_get(from + 16, 8);
    punt->open_seq = card_get(from + 24, 8);
    punt->next = (uint32_t)card_get(from + 32, 4);
    punt->record_start = (uint32_t)card_get(from + 36, 4);
    punt->seal_seq = (uint32_t)card_get(from + 40, 4);
    punt->epoch = (uint16_t)card_get(from + 44, 2);
    return true;
}

#endif
