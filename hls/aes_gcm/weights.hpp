/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The powers of H that a piece needs, made from H alone, so that a session holds 16 bytes of them and not a table.
 *
 *   exponent = sum of d_i 4^i, six digits;   H^exponent = product of H^(d_i 4^i)
 *
 * The factors are H, H^2 and H^3, squared 2 i times; a digit of zero is the factor 1. Squaring is an XOR of at most 5 bits a bit,
 * 1 LUT level. Five multiplies, as a tree:
 *
 *   stage 1         H^2; squarings of H begin, up to three a stage
 *   stages 2..4     H^3 = H H^2
 *   stages 5, 6     six squarings of H^3: the factors of the digits 0..3
 *   stages 7..9     01 = f_0 f_1, 23 = f_2 f_3 (choice of a factor 1 level, in front of the multiplier's first 3); the last four
 *                   squarings of H^3
 *   stages 10..12   01 23 and 45 = f_4 f_5
 *   stages 13..15   (01 23) 45
 */
#pragma once

#include <hls_stream.h>

#include "aes_gcm/leaves.hpp"

namespace card
{

constexpr unsigned weights_depth = 1 + gf128_mul_depth + 2 + 3 * gf128_mul_depth;

inline weight_result make_weight(const weight_job &job)
{
#pragma HLS INLINE
    return leaf::gf128_weight(gf128_from_bytes(job.h), job.exponent);
}

/* No state. */
inline void weights(hls::stream<weight_job> &jobs, hls::stream<weight_result> &results)
{
#pragma HLS PIPELINE II = 1
    if (jobs.empty() || results.full())
        return;
    results.write(make_weight(jobs.read()));
}

} // namespace card
