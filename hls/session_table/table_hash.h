/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hash of the session table: simple tabulation (Carter and Wegman; Patrascu and Thorup, "The Power of Simple Tabulation
 * Hashing"). The 297 bits of a key are cut into 50 characters of 6 bits. Character i selects one of 64 random words of its own
 * table; the XOR of the 50 words gives 20 bits for each way:
 *
 *   key ─┬─ 6 bits ─▶ table 0  ─┐
 *        ├─ 6 bits ─▶ table 1  ─┤
 *        │            ...       ├─ XOR ─▶ 4 x 20 bits ─▶ 4 x { bank = (high 8 bits * 9) >> 8, row in it = low 12 bits }
 *        └─ 6 bits ─▶ table 49 ─┘
 *
 * In LUTs: 6 bits are the inputs of one LUT used as memory, so a table is 80 LUTs, and the XOR tree has three levels.
 *
 * Security. The tables are a secret, new at every reset: any two different keys share the 80 bits with probability 2^-80, three
 * keys are independent, and keys that collide under one seed say nothing about another. Unlike H3 or Toeplitz the hash is not
 * linear, so a collision found (by whatever leak) is no recipe for more. The seed is 16 random bytes; the tables come from it by a
 * 32-round cipher made of Simon's round function (one LUT level a round), word n being the encryption of n. Host and kernel expand
 * the same seed, so that the card needs one command for it.
 */
#pragma once

#include "session_table/table_slot.h"

#ifdef __cplusplus
namespace card
{
#endif

enum table_hash_shape {
    table_chars = 50,
    table_char_bits = 6,
    table_char_values = 1 << table_char_bits,
    table_hash_words = table_chars * table_char_values,
    table_way_bits = 20, /* of which 12 select the row in a bank */
    table_bank_bits = 12,
    table_expand_rounds = 32,
    table_expand_rounds_a_step = 4 /* LUT levels of a step */
};

/* Bits for way 0 and 1 in [0], for way 2 and 3 in [1]; the odd way in the high half. */
struct table_hash_word {
    uint64_t half[2];
};

struct table_hash {
    struct table_hash_word word[table_chars][table_char_values];
};

struct table_rows_of {
    uint16_t row[table_ways];
};

/* The expansion of the seed, steppable: eight steps make a word. */
struct table_expand {
    uint64_t seed[2];
    uint64_t left, right;
    uint32_t round;
};

static inline void table_expand_begin(struct table_expand *e, uint32_t word_number)
{
    e->left = 0;
    e->right = word_number;
    e->round = 0;
}

static inline uint64_t table_rotate(uint64_t word, unsigned bits)
{
    return word << bits | word >> (64 - bits);
}

static inline void table_expand_step(struct table_expand *e)
{
    for (unsigned i = 0; i < table_expand_rounds_a_step; i++) {
        TABLE_UNROLL
        uint64_t x = e->left;
        uint64_t key = e->seed[e->round & 1] ^ (UINT64_C(0x9e3779b97f4a7c15) << (e->round & 31));
        e->left = e->right ^ (table_rotate(x, 1) & table_rotate(x, 8)) ^ table_rotate(x, 2) ^ key;
        e->right = x;
        e->round++;
    }
}

static inline struct table_hash_word table_expand_end(const struct table_expand *e)
{
    const uint64_t bits = (UINT64_C(1) << table_way_bits) - 1;
    struct table_hash_word word;
    word.half[0] = e->left & (bits | bits << 32);
    word.half[1] = e->right & (bits | bits << 32);
    return word;
}

/* bank = high * 9 / 256: each bank gets 28 or 29 of the 256 values. Shift and add: no multiplier. */
static inline uint16_t table_row(uint32_t way_bits)
{
    uint32_t high = way_bits >> table_bank_bits & 0xff;
    uint32_t bank = (high * table_banks) >> 8;
    return (uint16_t)(bank << table_bank_bits | (way_bits & (table_bank_rows - 1)));
}

static inline struct table_rows_of table_hash_rows(const struct table_hash *hash, const struct table_slot *key)
{
    /* The last character word: ports, protocol, version, and the four bits that ten characters leave of each address word. */
    uint64_t last = key->word[4] & TABLE_KEY_MASK;
    uint64_t left = 0, right = 0;
    for (int i = 0; i < 4; i++) {
        TABLE_UNROLL
        last |= key->word[i] >> 60 << (table_at_valid + 4 * i);
    }
    for (int i = 0; i < table_words; i++) {
        TABLE_UNROLL
        uint64_t word = i < 4 ? key->word[i] : last;
        for (int c = 0; c < 10; c++) {
            TABLE_UNROLL
            const struct table_hash_word *w = &hash->word[10 * i + c][word >> (6 * c) & (table_char_values - 1)];
            left ^= w->half[0];
            right ^= w->half[1];
        }
    }
    struct table_rows_of rows;
    rows.row[0] = table_row((uint32_t)left);
    rows.row[1] = table_row((uint32_t)(left >> 32));
    rows.row[2] = table_row((uint32_t)right);
    rows.row[3] = table_row((uint32_t)(right >> 32));
    return rows;
}

#ifdef __cplusplus
static_assert(table_chars == 10 * table_words, "ten characters a word");
static_assert(table_at_valid + 4 * 4 <= 10 * table_char_bits, "the last word holds what is left of the addresses");
static_assert(table_rows <= 1 << 16, "a row number has 16 bits");
} // namespace card
#endif
