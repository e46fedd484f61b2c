/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the AES-GCM processes are asked and what they answer, a piece (common/types.hpp) at a time. Everything is a function of
 * positions alone: no job depends on the one before it, so a new session in every cycle costs nothing, and order does not matter.
 *
 * Cells. The text of a record is cut into cipher blocks of 16 bytes, counted from its first byte. A cell is a block as far as it
 * lies in the piece; the first and the last may be cut. The cells of part `a` come first, those of `b` follow: at most 5 in all,
 * since two records are at least 21 bytes apart.
 *
 *   beat   |.......aaaaaaaaaaaaaaaaaaaaaaaaa TTTTTTTTTTTTTTTT HHHHH bbbbbbbbbb|       T tag of a, H header of b
 *   cells         |-0-|------1-----|--2--|                        |---3----|
 */
#pragma once

#include <stdint.h>

#include "common/limits.hpp"

namespace card
{

/* The text (ciphertext) of one record part in the beat. */
struct text_range {
    uint8_t cells;
    uint8_t from, to; /* byte positions in the beat; from == to: none */
    int8_t at;        /* of the first cell's byte 0: from - 15 .. from */
    uint16_t block;   /* index of the first cell's block in the record's text */
};

struct piece_layout {
    text_range a, b;
};

/* Counter mode for a piece. nonce || be32(first + block) is the input block of a cell (GCM: first = 2), with key and nonce of the
 * part it belongs to. */
struct keystream_job {
    piece_layout layout;
    uint8_t key_a[32], key_b[32];
    uint8_t nonce_a[12], nonce_b[12];
    uint32_t first;
    uint32_t aside_a, aside_b; /* counters of the blocks beside the text: zero_a, zero_b */
    bool long_a, long_b;       /* AES-256; else AES-128 with the first 16 key bytes */
};

struct keystream_result {
    uint8_t byte[beat_bytes]; /* the keystream where the text is; zero elsewhere */
    uint8_t tag_mask[16];     /* E(key_a, nonce_a || 1): masks the tag */
    /* E(key, nonce || be32(aside)): the mirror's keys. Zero where not built in; b's is a's if b has no cells. */
    uint8_t zero_a[16], zero_b[16];
};

/* An element of GF(2^128) as GCM writes it (SP 800-38D section 6.3): word[0] holds bytes 0..7, big-endian, so its top bit is x^0.
 */
struct gf128 {
    uint64_t word[2];
};

struct weight_job {
    uint8_t h[16];
    uint16_t exponent; /* at most 2047 */
};

/* The powers that a piece needs. */
struct weight_result {
    gf128 h[4];   /* H, H^2, H^3, H^4 */
    gf128 weight; /* H^exponent */
};

/*
 * GHASH of one side of a piece. With AAD block X_0 and text blocks X_1 .. X_m the sum of a record is
 *     S = X_0 H^m + X_1 H^(m-1) + ... + X_m,        GHASH = S H^2 + len H.
 * A part contributes the terms of its cells (only their bytes in `fresh`, the others count as zero) and, if its flag is set, the
 * AAD term. The sum of b's terms, or of a's if b has none, is relative to its last cell and multiplied with the weight = H^(blocks
 * after that cell); if b contributes, a's last cell is the record's last.
 */
struct ghash_job {
    uint8_t byte[beat_bytes]; /* ciphertext of this side */
    uint64_t fresh;
    piece_layout layout;
    uint8_t aad_a[16], aad_b[16]; /* zero-padded */
    bool with_aad_a, with_aad_b;
};

struct ghash_result {
    gf128 sum_a, sum_b;
    gf128 h[2]; /* H and H^2 again, for the end of the record */
};

} // namespace card
