/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GHASH of a piece (jobs.hpp gives the sums). The items of a part are its AAD block, if the part brings it, and its cells; item k
 * of n has the power H^(n-1-k), so the last one needs no multiplier.
 *
 * Four multipliers are enough. A part that brings its AAD holds the last byte of its header, so its text begins in the piece with
 * an uncut cell, and part b always begins in the piece.
 *   Only one part: without AAD at most 5 cells, 4 multiplies. With AAD a header byte lies before the text, 63 bytes of text are
 *   4 cells: 5 items, 4 multiplies.
 *   Both: a's text of x bytes, then its tag (16), b's header (5) and b's text of y bytes, so x + y <= 43. b costs ceil(y / 16)
 *   with its AAD (its last item is free). a without AAD has at most 1 + ceil((x - 1) / 16) cells, so it costs at most
 *   ceil((x - 1) / 16), together at most floor((42 + 30) / 16) = 4. a with its AAD has x + y <= 42 and costs ceil(x / 16): the
 * same. Powers go up to H^4, items to 6, cells to 5; tests/unit/hls/test_aes_gcm_layout.cpp walks through all layouts.
 *
 * Nothing is carried from one piece to the next: a piece's sum is multiplied with the power of H that its place in the record gives
 * (the weight), and sums of pieces are added by whoever holds the record's state, in any order. So there is no multiplier in
 * a loop, nothing to wait for, and every cycle may bring another session.
 */
#pragma once

#include <hls_stream.h>

#include "aes_gcm/weights.hpp"
#include "common/bytes.hpp"

namespace card
{

enum : unsigned { ghash_multipliers = 4 };

/*
 *   stage 1       bytes that do not count to zero (1 LUT level), first half of the log shifters (2)
 *   stage 2       second half (2), items to multipliers, and their powers (2)
 *   stages 3..5   four multipliers, sums of a and of b, reductions, and the items that need no multiplier
 *   stages 6..8   times the weight
 */
constexpr unsigned ghash_depth = 2 + 2 * gf128_mul_depth;

/* At the end of a record: two multipliers side by side, one reduction. */
constexpr unsigned ghash_final_depth = gf128_mul_depth;

/* The items of one part, in order; those from `count` on are zero. */
struct ghash_items {
    gf128 item[ghash_items_max];
    unsigned count;
};

inline ghash_items list_items(const ghash_job &job, const text_range &text, bool with_aad, const uint8_t aad[block_bytes])
{
#pragma HLS INLINE
    ghash_items list;
    leaf::take_items(job.byte, job.fresh & mask_range(text.from, text.to), static_cast<unsigned>(text.at) % ring_bytes, with_aad,
                     aad, list.item);
    list.count = text.cells + (with_aad ? 1u : 0u);
    return list;
}

inline ghash_result make_ghash(const ghash_job &job, const weight_result &w)
{
#pragma HLS INLINE
    const ghash_items items_a = list_items(job, job.layout.a, job.with_aad_a, job.aad_a);
    const ghash_items items_b = list_items(job, job.layout.b, job.with_aad_b, job.aad_b);

    /* Multiplier i takes item i of a, or when those are given out, the next one of b. */
    const unsigned last_a = items_a.count == 0 ? 0 : items_a.count - 1, last_b = items_b.count == 0 ? 0 : items_b.count - 1;
    gf128 item[ghash_multipliers], power[ghash_multipliers], sum[2];
    bool of_a[ghash_multipliers];
#pragma HLS ARRAY_PARTITION variable = item complete
#pragma HLS ARRAY_PARTITION variable = power complete
#pragma HLS ARRAY_PARTITION variable = of_a complete
    for (unsigned i = 0; i < ghash_multipliers; i++) {
#pragma HLS UNROLL
        of_a[i] = i < last_a;
        const unsigned k = of_a[i] ? i : i - last_a, last = of_a[i] ? last_a : last_b;
        item[i] = gf128_if(of_a[i] ? items_a.item[k] : items_b.item[k], k < last);
        power[i] = w.h[(last - 1 - k) % 4];
    }
    leaf::gf128_two_sums(item, power, of_a, sum);
    const gf128 plain_a = gf128_add(sum[0], items_a.item[last_a]);
    const gf128 plain_b = gf128_add(sum[1], items_b.item[last_b]);

    const bool has_b = items_b.count > 0;
    const gf128 weighted = leaf::gf128_mul(has_b ? plain_b : plain_a, w.weight);
    ghash_result r;
    r.sum_a = has_b ? plain_a : weighted;
    r.sum_b = has_b ? weighted : gf128_zero();
    r.h[0] = w.h[0];
    r.h[1] = w.h[1];
    return r;
}

/* No state. */
inline void ghash(hls::stream<ghash_job> &jobs, hls::stream<weight_result> &weights_in, hls::stream<ghash_result> &results)
{
#pragma HLS PIPELINE II = 1
    if (jobs.empty() || weights_in.empty() || results.full())
        return;
    const ghash_job job = jobs.read();
    results.write(make_ghash(job, weights_in.read()));
}

/* GHASH of a record from the sum over its pieces: S H^2 + len H, len = be64(aad_bits) || be64(text_bits). h: H and H^2. */
inline gf128 ghash_final(const gf128 &sum, const gf128 h[2], uint64_t aad_bits, uint64_t text_bits)
{
#pragma HLS INLINE
    const gf128 length = {{aad_bits, text_bits}};
    return leaf::gf128_reduce(gf256_add(leaf::gf128_multiply(sum, h[1]), leaf::gf128_multiply(length, h[0])));
}

} // namespace card
