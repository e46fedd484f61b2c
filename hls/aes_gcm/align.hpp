/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the bytes of a beat and the cells of a text (jobs.hpp). Both ways are one rotation of a ring of 128 bytes:
 *
 *   cells of a text that begins at `at`:   ring = beat,  cell byte i = ring[(i + at) mod 128]
 *   keystream of cells put in its place:   ring = cells, beat byte p = ring[(p - at) mod 128]
 *
 * since -15 <= at <= 63, and only bytes of the text count (the mask), nothing wraps onto what is meant. A log shifter: seven bits,
 * two a LUT6 (4:1), 4 levels.
 */
#pragma once

#include <stdint.h>

#include "aes_gcm/jobs.hpp"

namespace card
{

enum : unsigned { ring_bytes = 128, cells_bytes = cells_max * block_bytes, ghash_items_max = cells_max + 1 };

/* The cells of the text bytes that lie in [from, to) of the beat; the first of them is byte `offset` of the record's text. */
inline text_range cut_text(unsigned from, unsigned to, unsigned offset)
{
#pragma HLS INLINE
    const bool any = from < to;
    const unsigned skipped = offset % block_bytes;
    text_range r;
    r.cells = static_cast<uint8_t>(any ? (skipped + (to - from) + block_bytes - 1) / block_bytes : 0);
    r.from = static_cast<uint8_t>(any ? from : 0);
    r.to = static_cast<uint8_t>(any ? to : 0);
    r.at = static_cast<int8_t>(any ? static_cast<int>(from) - static_cast<int>(skipped) : 0);
    r.block = static_cast<uint16_t>(any ? offset / block_bytes : 0);
    return r;
}

/* Blocks of a text of so many bytes that come after the last cell of the range; all of them if it has no cell. */
inline unsigned blocks_after(const text_range &r, unsigned text_bytes)
{
#pragma HLS INLINE
    return (text_bytes + block_bytes - 1) / block_bytes - r.block - r.cells;
}

/* The exponent of a piece's weight: of b if b contributes (cells, or its AAD), else of a. text_bytes: of the whole records. */
inline uint16_t weight_exponent(const piece_layout &layout, bool with_aad_a, bool with_aad_b, unsigned text_bytes_a,
                                unsigned text_bytes_b)
{
#pragma HLS INLINE
    if (layout.b.cells > 0 || with_aad_b)
        return static_cast<uint16_t>(blocks_after(layout.b, text_bytes_b));
    if (layout.a.cells > 0 || with_aad_a)
        return static_cast<uint16_t>(blocks_after(layout.a, text_bytes_a));
    return 0;
}

inline uint32_t word_from_bytes(const uint8_t p[4])
{
#pragma HLS INLINE
    return static_cast<uint32_t>(p[0]) << 24 | static_cast<uint32_t>(p[1]) << 16 | static_cast<uint32_t>(p[2]) << 8 | p[3];
}

inline void word_to_bytes(uint32_t word, uint8_t p[4])
{
#pragma HLS INLINE
    p[0] = static_cast<uint8_t>(word >> 24);
    p[1] = static_cast<uint8_t>(word >> 16);
    p[2] = static_cast<uint8_t>(word >> 8);
    p[3] = static_cast<uint8_t>(word);
}

inline gf128 gf128_from_bytes(const uint8_t byte[block_bytes])
{
#pragma HLS INLINE
    const gf128 x = {{static_cast<uint64_t>(word_from_bytes(byte)) << 32 | word_from_bytes(byte + 4),
                      static_cast<uint64_t>(word_from_bytes(byte + 8)) << 32 | word_from_bytes(byte + 12)}};
    return x;
}

inline void gf128_to_bytes(const gf128 &x, uint8_t byte[block_bytes])
{
#pragma HLS INLINE
    for (unsigned i = 0; i < 2; i++) {
#pragma HLS UNROLL
        word_to_bytes(static_cast<uint32_t>(x.word[i] >> 32), byte + 8 * i);
        word_to_bytes(static_cast<uint32_t>(x.word[i]), byte + 8 * i + 4);
    }
}

namespace portable
{

struct byte_ring {
    uint8_t byte[ring_bytes];
};

/* Byte i of the result is byte i + by modulo 128. */
inline byte_ring rotate_ring(const byte_ring &in, unsigned by)
{
#pragma HLS INLINE
    byte_ring ring = in;
    for (unsigned bit = 0; bit < 7; bit++) {
#pragma HLS UNROLL
        byte_ring turned;
        for (unsigned i = 0; i < ring_bytes; i++) {
#pragma HLS UNROLL
            turned.byte[i] = ring.byte[(i + (1u << bit)) % ring_bytes];
        }
        if (by >> bit & 1)
            ring = turned;
    }
    return ring;
}

inline uint8_t byte_if(uint8_t byte, bool keep)
{
#pragma HLS INLINE
    return keep ? byte : static_cast<uint8_t>(0);
}

/* The cells of the text that begins at byte `by` (modulo 128) of the beat; of the beat's bytes only those in the mask count. */
inline void take_cells(const uint8_t beat[beat_bytes], uint64_t mask, unsigned by, uint8_t cells[cells_bytes])
{
#pragma HLS INLINE
    byte_ring ring = {};
    for (unsigned i = 0; i < beat_bytes; i++) {
#pragma HLS UNROLL
        ring.byte[i] = byte_if(beat[i], mask >> i & 1);
    }
    ring = rotate_ring(ring, by);
    for (unsigned i = 0; i < cells_bytes; i++) {
#pragma HLS UNROLL
        cells[i] = ring.byte[i];
    }
}

/* What GHASH takes of a part: its AAD block, if it is given, and the cells, as take_cells() has them; zero behind them. */
inline void take_items(const uint8_t beat[beat_bytes], uint64_t mask, unsigned by, bool with_aad, const uint8_t aad[block_bytes],
                       gf128 item[ghash_items_max])
{
#pragma HLS INLINE
    uint8_t bytes[cells_bytes];
#pragma HLS ARRAY_PARTITION variable = bytes complete
    take_cells(beat, mask, by, bytes);
    const gf128 head = gf128_from_bytes(aad), zero = {{0, 0}};
    gf128 cell[ghash_items_max];
#pragma HLS ARRAY_PARTITION variable = cell complete
    for (unsigned i = 0; i < cells_max; i++) {
#pragma HLS UNROLL
        cell[i] = gf128_from_bytes(bytes + block_bytes * i);
    }
    cell[cells_max] = zero;
    item[0] = with_aad ? head : cell[0];
    for (unsigned i = 1; i < ghash_items_max; i++) {
#pragma HLS UNROLL
        item[i] = with_aad ? cell[i - 1] : cell[i];
    }
}

/* Sets those bytes of the beat that are in the mask: byte p to cell byte p + by (modulo 128). */
inline void place_cells(const uint8_t cells[cells_bytes], unsigned by, uint64_t mask, uint8_t beat[beat_bytes])
{
#pragma HLS INLINE
    byte_ring ring = {};
    for (unsigned i = 0; i < cells_bytes; i++) {
#pragma HLS UNROLL
        ring.byte[i] = cells[i];
    }
    ring = rotate_ring(ring, by);
    for (unsigned i = 0; i < beat_bytes; i++) {
#pragma HLS UNROLL
        beat[i] = (mask >> i & 1) ? ring.byte[i] : beat[i];
    }
}

} // namespace portable
} // namespace card
