/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Geometry of the session table and what a slot holds; one definition for the kernel and for the host, C17 and C++14.
 *
 *     way 0     way 1     way 2     way 3       stash
 *   ┌───────┐ ┌───────┐ ┌───────┐ ┌───────┐   ┌───────┐   A session lies in one of four rows, one a way (table_hash.h), or in
 *   │ 36864 │ │ 36864 │ │ 36864 │ │ 36864 │   │   8   │   the stash. Slot numbers: way * table_rows + row, then the stash's.
 *   └───────┘ └───────┘ └───────┘ └───────┘   └───────┘
 *
 * A slot is five words of 64 bits, so that the 72 bits of five UltraRAM columns hold it together with eight bits of ECC each:
 *
 *   word 0, 1  source address, bytes 0..7 and 8..15, byte 0 in the low bits (IPv4: the first four bytes, the rest zero)
 *   word 2, 3  destination address
 *   word 4     63..62 zero | 61..45 session | 44..42 action | 41 valid | 40 IPv6 | 39..32 protocol | 31..16 sport | 15..0 dport
 *
 * All zero is an empty slot.
 */
#pragma once

#include <stdint.h>

/* Before a loop's body: what the host's compilers need not know. */
#ifdef __SYNTHESIS__
#define TABLE_UNROLL _Pragma("HLS UNROLL")
#else
#define TABLE_UNROLL
#endif

#ifdef __cplusplus
namespace card
{
#endif

enum table_geometry {
    table_ways = 4,
    table_bank_rows = 4096, /* of one UltraRAM */
    table_banks = 9,        /* UltraRAMs in cascade */
    table_rows = table_banks * table_bank_rows,
    table_stash = 8,
    table_slots = table_ways * table_rows + table_stash,
    table_words = 5
};

/* Positions of bits in word 4. */
enum table_word4 {
    table_at_dport = 0,
    table_at_sport = 16,
    table_at_proto = 32,
    table_at_ipv6 = 40,
    table_at_valid = 41,
    table_at_action = 42,
    table_at_session = 45,
    table_action_bits = table_at_session - table_at_action,
    table_session_bits = 17,
    table_sessions = 1 << table_session_bits
};

struct table_slot {
    uint64_t word[table_words];
};

/* The bits of word 4 that belong to the key, and to the comparison with a stored slot. */
#define TABLE_KEY_MASK   ((UINT64_C(1) << table_at_valid) - 1)
#define TABLE_MATCH_MASK ((UINT64_C(1) << table_at_action) - 1)

static inline uint64_t table_address_word(const uint8_t byte[8])
{
    uint64_t word = 0;
    for (int i = 0; i < 8; i++) {
        TABLE_UNROLL
        word |= (uint64_t)byte[i] << (8 * i);
    }
    return word;
}

/* A valid slot with this key, session 0 and action 0. version is 4 or 6. */
static inline struct table_slot table_slot_of_key(const uint8_t src[16], const uint8_t dst[16], uint16_t sport, uint16_t dport,
                                                  uint8_t proto, uint8_t version)
{
    struct table_slot slot;
    slot.word[0] = table_address_word(src);
    slot.word[1] = table_address_word(src + 8);
    slot.word[2] = table_address_word(dst);
    slot.word[3] = table_address_word(dst + 8);
    slot.word[4] = (uint64_t)dport << table_at_dport | (uint64_t)sport << table_at_sport | (uint64_t)proto << table_at_proto |
                   (uint64_t)(version == 6) << table_at_ipv6 | UINT64_C(1) << table_at_valid;
    return slot;
}

/* session < table_sessions, action < 8. */
static inline void table_slot_set_value(struct table_slot *slot, uint32_t session, uint8_t action)
{
    slot->word[4] =
        (slot->word[4] & TABLE_MATCH_MASK) | (uint64_t)action << table_at_action | (uint64_t)session << table_at_session;
}

static inline uint32_t table_slot_session(const struct table_slot *slot)
{
    return (uint32_t)(slot->word[4] >> table_at_session) & (table_sessions - 1);
}

static inline uint8_t table_slot_action(const struct table_slot *slot)
{
    return (uint8_t)(slot->word[4] >> table_at_action) & ((1 << table_action_bits) - 1);
}

static inline int table_slot_valid(const struct table_slot *slot)
{
    return (int)(slot->word[4] >> table_at_valid) & 1;
}

/* Do two slots hold the same key, and are both valid? Three LUT levels and one more for the last AND. */
static inline int table_slot_match(const struct table_slot *a, const struct table_slot *b)
{
    if (!table_slot_valid(a)) {
        return 0;
    }
    uint64_t differs = (a->word[4] ^ b->word[4]) & TABLE_MATCH_MASK;
    for (int i = 0; i < 4; i++) {
        TABLE_UNROLL
        differs |= a->word[i] ^ b->word[i];
    }
    return differs == 0;
}

#ifdef __cplusplus
static_assert(table_at_session + table_session_bits <= 64, "the value fits into the last word");
} // namespace card
#endif
