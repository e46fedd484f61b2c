/* SPDX-License-Identifier: Apache-2.0 */
/* The one's complement sum of RFC 1071. */
#pragma once

#include <stdint.h>

#include "common/bytes.hpp"

namespace card
{

/* The bytes [from, to) of the eight that stand at `at`: all ones, the others zero. */
inline uint64_t mask64(unsigned at, unsigned from, unsigned to)
{
#pragma HLS INLINE
    const unsigned low = from > at ? from - at : 0, high = to > at ? to - at : 0;
    const uint64_t below_high = high >= 8 ? ~uint64_t{0} : (uint64_t{1} << 8 * high) - 1;
    return low >= 8 ? 0 : below_high >> 8 * low << 8 * low;
}

/* One's complement sums are kept in 32 bits and folded at the end. A fold is 0 only if every word that went in was. */
inline uint16_t fold(uint32_t sum)
{
#pragma HLS INLINE
    sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<uint16_t>((sum & 0xffff) + (sum >> 16));
}

/* Sum of the bytes [from, to) of a beat as big-endian words, an odd end padded; `from` is even. Below 2^16. Two levels for the
 * masks, then an adder tree of 32 words: two words a 32-bit lane (byte order does not matter to the sum, RFC 1071 section 2 (B)).
 */
inline uint16_t sum_beat(const uint8_t byte[beat_bytes], unsigned from, unsigned to)
{
#pragma HLS INLINE
    const uint64_t lanes = 0x0000ffff0000ffff;
    const bool whole = from == 0 && to == beat_bytes; /* most beats: natively, no mask is made for them */
    uint64_t sum = 0;
    for (unsigned i = 0; i < beat_bytes; i += 8) {
#pragma HLS UNROLL
        const uint64_t word = whole ? load_le64(byte + i) : load_le64(byte + i) & mask64(i, from, to);
        sum += (word & lanes) + (word >> 16 & lanes);
    }
    const uint16_t folded = fold(static_cast<uint32_t>(sum) + static_cast<uint32_t>(sum >> 32));
    return static_cast<uint16_t>(folded << 8 | folded >> 8);
}

} // namespace card
