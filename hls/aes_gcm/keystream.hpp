/* SPDX-License-Identifier: Apache-2.0 */
/* Counter mode for a piece: five cells, and beside them what else a record needs of its key, so that it costs no beat. */
#pragma once

#include <hls_stream.h>

#include "aes_gcm/leaves.hpp"
#include "common/bytes.hpp"

namespace card
{

/* Lanes beside the five of the cells. */
enum keystream_lanes : unsigned {
    cells_only = 0,
    with_tag_mask = 1, /* tag_mask */
    with_zero = 2      /* zero_a, zero_b */
};

/*
 *   stage 1        counters (32-bit adder), blocks, whitening: 1 LUT level and a carry chain
 *   stages 2..15   the 14 stages of aes.hpp
 *   stages 16, 17  keystream to its place: two log shifters (4 levels over both), choice between a and b (1)
 */
constexpr unsigned keystream_depth = 1 + aes_stages + 2;

/* The block nonce || be32(counter). */
inline aes_block counter_block(const uint8_t nonce[12], uint32_t counter)
{
#pragma HLS INLINE
    aes_block b;
    for (unsigned i = 0; i < 3; i++) {
#pragma HLS UNROLL
        b.word[i] = word_from_bytes(nonce + 4 * i);
    }
    b.word[3] = counter;
    return b;
}

inline aes_key key_words(const uint8_t key[32], bool long_key)
{
#pragma HLS INLINE
    aes_key k;
    for (unsigned i = 0; i < 8; i++) {
#pragma HLS UNROLL
        k.word[i] = word_from_bytes(key + 4 * i);
    }
    k.long_key = long_key;
    return k;
}

inline void block_bytes_of(const aes_block &b, uint8_t out[block_bytes])
{
#pragma HLS INLINE
    for (unsigned i = 0; i < 4; i++) {
#pragma HLS UNROLL
        word_to_bytes(b.word[i], out + 4 * i);
    }
}

template <unsigned extra> keystream_result make_keystream(const keystream_job &job)
{
#pragma HLS INLINE
    constexpr unsigned mask_lane = cells_max;
    constexpr unsigned zero_lane = cells_max + (extra & with_tag_mask ? 1 : 0);
    constexpr unsigned lanes = zero_lane + (extra & with_zero ? 2 : 0);
    const text_range &a = job.layout.a, &b = job.layout.b;

    aes_block block[lanes];
    bool use_b[lanes];
#pragma HLS ARRAY_PARTITION variable = block complete
#pragma HLS ARRAY_PARTITION variable = use_b complete
    for (unsigned i = 0; i < cells_max; i++) {
#pragma HLS UNROLL
        use_b[i] = i >= a.cells;
        const uint32_t counter = job.first + (use_b[i] ? b.block + i - a.cells : a.block + i); /* modulo 2^32, as inc_32 */
        block[i] = counter_block(use_b[i] ? job.nonce_b : job.nonce_a, counter);
    }
    if (extra & with_tag_mask) {
        use_b[mask_lane] = false;
        block[mask_lane] = counter_block(job.nonce_a, 1);
    }
    if (extra & with_zero) {
        use_b[zero_lane] = false;
        use_b[zero_lane + 1] = true;
        block[zero_lane] = counter_block(job.nonce_a, 0);
        block[zero_lane + 1] = counter_block(job.nonce_b, 0);
    }
    leaf::aes_lanes<lanes>(block, use_b, key_words(job.key_a, job.long_a), key_words(job.key_b, job.long_b));

    keystream_result r = {};
    uint8_t cells[cells_bytes];
#pragma HLS ARRAY_PARTITION variable = cells complete
    for (unsigned i = 0; i < cells_max; i++) {
#pragma HLS UNROLL
        block_bytes_of(block[i], cells + block_bytes * i);
    }
    if (extra & with_tag_mask)
        block_bytes_of(block[mask_lane], r.tag_mask);
    if (extra & with_zero) {
        block_bytes_of(block[zero_lane], r.zero_a);
        block_bytes_of(block[zero_lane + 1], r.zero_b);
    }

    /* Beat byte p is cell byte p - a.at; b's first cell is number a.cells. */
    const unsigned by_a = 0u - static_cast<unsigned>(a.at), by_b = block_bytes * a.cells - static_cast<unsigned>(b.at);
    leaf::place_cells(cells, by_a % ring_bytes, mask_range(a.from, a.to), r.byte);
    leaf::place_cells(cells, by_b % ring_bytes, mask_range(b.from, b.to), r.byte);
    return r;
}

/* extra: enum keystream_lanes, ORed. No state: every job is complete in itself. */
template <unsigned extra> void keystream(hls::stream<keystream_job> &jobs, hls::stream<keystream_result> &results)
{
#pragma HLS PIPELINE II = 1
    if (jobs.empty() || results.full())
        return;
    results.write(make_keystream<extra>(jobs.read()));
}

} // namespace card
