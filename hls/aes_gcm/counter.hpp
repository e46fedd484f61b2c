/* SPDX-License-Identifier: Apache-2.0 */
/* Counter mode over the lanes of a keystream job: E(key, nonce || be32(counter)) for each, with key and nonce of part a or b. */
#pragma once

#include "aes_gcm/aes.hpp"
#include "aes_gcm/align.hpp"
#include "aes_gcm/jobs.hpp"

namespace card
{

inline aes_key aes_key_from_bytes(const uint8_t key[32], bool long_key)
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

namespace portable
{

template <unsigned lanes>
void counter_lanes(const keystream_job &job, const uint32_t counter[lanes], const bool use_b[lanes],
                   uint8_t out[lanes * block_bytes])
{
#pragma HLS INLINE
    aes_block block[lanes];
#pragma HLS ARRAY_PARTITION variable = block complete
    for (unsigned i = 0; i < lanes; i++) {
#pragma HLS UNROLL
        const uint8_t *nonce = use_b[i] ? job.nonce_b : job.nonce_a;
        for (unsigned j = 0; j < 3; j++) {
#pragma HLS UNROLL
            block[i].word[j] = word_from_bytes(nonce + 4 * j);
        }
        block[i].word[3] = counter[i];
    }
    aes_lanes<lanes>(block, use_b, aes_key_from_bytes(job.key_a, job.long_a), aes_key_from_bytes(job.key_b, job.long_b));
    for (unsigned i = 0; i < 4 * lanes; i++) {
#pragma HLS UNROLL
        word_to_bytes(block[i / 4].word[i % 4], out + 4 * i);
    }
}

} // namespace portable
} // namespace card
