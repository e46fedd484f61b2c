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

inline void copy_block(const uint8_t from[block_bytes], uint8_t to[block_bytes])
{
#pragma HLS INLINE
    for (unsigned i = 0; i < block_bytes; i++) {
#pragma HLS UNROLL
        to[i] = from[i];
    }
}

template <unsigned extra> keystream_result make_keystream(const keystream_job &job)
{
#pragma HLS INLINE
    constexpr unsigned mask_lane = cells_max;
    constexpr unsigned zero_lane = cells_max + (extra & with_tag_mask ? 1 : 0);
    constexpr unsigned lanes = zero_lane + (extra & with_zero ? 2 : 0);
    const text_range &a = job.layout.a, &b = job.layout.b;

    uint32_t counter[lanes];
    bool use_b[lanes];
    uint8_t block[lanes * block_bytes];
#pragma HLS ARRAY_PARTITION variable = counter complete
#pragma HLS ARRAY_PARTITION variable = use_b complete
#pragma HLS ARRAY_PARTITION variable = block complete
    for (unsigned i = 0; i < cells_max; i++) {
#pragma HLS UNROLL
        use_b[i] = b.cells > 0 && i >= a.cells; /* lanes of no cell: a, whose key is needed anyhow */
        counter[i] = job.first + (use_b[i] ? b.block + i - a.cells : a.block + i); /* modulo 2^32, as inc_32 */
    }
    if (extra & with_tag_mask) {
        use_b[mask_lane] = false;
        counter[mask_lane] = 1;
    }
    if (extra & with_zero) {
        use_b[zero_lane] = false;
        use_b[zero_lane + 1] = b.cells > 0;
        counter[zero_lane] = job.aside_a;
        counter[zero_lane + 1] = use_b[zero_lane + 1] ? job.aside_b : job.aside_a;
    }
    leaf::counter_lanes<lanes>(job, counter, use_b, block);

    keystream_result r = {};
    if (extra & with_tag_mask)
        copy_block(block + block_bytes * mask_lane, r.tag_mask);
    if (extra & with_zero) {
        copy_block(block + block_bytes * zero_lane, r.zero_a);
        copy_block(block + block_bytes * (zero_lane + 1), r.zero_b);
    }

    /* Beat byte p is cell byte p - a.at; b's first cell is number a.cells. */
    const unsigned by_a = 0u - static_cast<unsigned>(a.at), by_b = block_bytes * a.cells - static_cast<unsigned>(b.at);
    leaf::place_cells(block, by_a % ring_bytes, mask_range(a.from, a.to), r.byte);
    leaf::place_cells(block, by_b % ring_bytes, mask_range(b.from, b.to), r.byte);
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
