/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes and bit masks of a beat. All are wires or small adders in hardware. */
#pragma once

#include <stdint.h>
#include <string.h>

#include "common/limits.hpp"

namespace card
{

inline uint16_t load_be16(const uint8_t *p)
{
    return static_cast<uint16_t>(p[0] << 8 | p[1]);
}

inline uint32_t load_be32(const uint8_t *p)
{
    return static_cast<uint32_t>(p[0]) << 24 | static_cast<uint32_t>(p[1]) << 16 | static_cast<uint32_t>(p[2]) << 8 | p[3];
}

inline void store_be16(uint8_t *p, uint16_t x)
{
    p[0] = static_cast<uint8_t>(x >> 8);
    p[1] = static_cast<uint8_t>(x);
}

inline void store_be32(uint8_t *p, uint32_t x)
{
    store_be16(p, static_cast<uint16_t>(x >> 16));
    store_be16(p + 2, static_cast<uint16_t>(x));
}

/* Written out, so that a compiler makes one access of them. */
inline uint64_t load_le64(const uint8_t *p)
{
    return static_cast<uint64_t>(p[0]) | static_cast<uint64_t>(p[1]) << 8 | static_cast<uint64_t>(p[2]) << 16 |
           static_cast<uint64_t>(p[3]) << 24 | static_cast<uint64_t>(p[4]) << 32 | static_cast<uint64_t>(p[5]) << 40 |
           static_cast<uint64_t>(p[6]) << 48 | static_cast<uint64_t>(p[7]) << 56;
}

inline void store_le64(uint8_t *p, uint64_t x)
{
    p[0] = static_cast<uint8_t>(x);
    p[1] = static_cast<uint8_t>(x >> 8);
    p[2] = static_cast<uint8_t>(x >> 16);
    p[3] = static_cast<uint8_t>(x >> 24);
    p[4] = static_cast<uint8_t>(x >> 32);
    p[5] = static_cast<uint8_t>(x >> 40);
    p[6] = static_cast<uint8_t>(x >> 48);
    p[7] = static_cast<uint8_t>(x >> 56);
}

inline uint64_t load_be64(const uint8_t *p)
{
    return static_cast<uint64_t>(p[7]) | static_cast<uint64_t>(p[6]) << 8 | static_cast<uint64_t>(p[5]) << 16 |
           static_cast<uint64_t>(p[4]) << 24 | static_cast<uint64_t>(p[3]) << 32 | static_cast<uint64_t>(p[2]) << 40 |
           static_cast<uint64_t>(p[1]) << 48 | static_cast<uint64_t>(p[0]) << 56;
}

inline void store_be64(uint8_t *p, uint64_t x)
{
    p[7] = static_cast<uint8_t>(x);
    p[6] = static_cast<uint8_t>(x >> 8);
    p[5] = static_cast<uint8_t>(x >> 16);
    p[4] = static_cast<uint8_t>(x >> 24);
    p[3] = static_cast<uint8_t>(x >> 32);
    p[2] = static_cast<uint8_t>(x >> 40);
    p[1] = static_cast<uint8_t>(x >> 48);
    p[0] = static_cast<uint8_t>(x >> 56);
}

template <unsigned N> void store_be(uint8_t *p, uint64_t x)
{
    for (unsigned i = 0; i < N; i++)
        p[i] = static_cast<uint8_t>(x >> 8 * (N - 1 - i));
}

template <unsigned N> uint64_t load_le(const uint8_t *p)
{
    uint64_t x = 0;
    for (unsigned i = 0; i < N; i++)
        x |= static_cast<uint64_t>(p[i]) << 8 * i;
    return x;
}

template <unsigned N> void store_le(uint8_t *p, uint64_t x)
{
    for (unsigned i = 0; i < N; i++)
        p[i] = static_cast<uint8_t>(x >> 8 * i);
}

template <unsigned N> void copy_bytes(uint8_t *to, const uint8_t *from)
{
    memcpy(to, from, N);
}

/* Bit i: byte i is not zero. */
inline uint64_t nonzero_bytes(const uint8_t byte[beat_bytes])
{
    uint64_t mask = 0;
    for (unsigned i = 0; i < beat_bytes; i += 8) {
#pragma HLS UNROLL
        uint64_t x = load_le64(byte + i);
        x |= (x & UINT64_C(0x7f7f7f7f7f7f7f7f)) + UINT64_C(0x7f7f7f7f7f7f7f7f);
        x = x >> 7 & UINT64_C(0x0101010101010101); /* bit 0 of each byte */
        mask |= (x * UINT64_C(0x0102040810204080) >> 56) << i;
    }
    return mask;
}

/* Zeroes the bytes whose bit is not set. */
inline void keep_bytes(uint8_t byte[beat_bytes], uint64_t mask)
{
    for (unsigned i = 0; i < beat_bytes; i += 8) {
#pragma HLS UNROLL
        const uint64_t bits = (mask >> i & 0xff) * UINT64_C(0x0101010101010101) & UINT64_C(0x8040201008040201); /* byte j: bit j */
        const uint64_t ones = (bits + UINT64_C(0x7f7f7f7f7f7f7f7f)) | bits; /* top bit of each byte that is not zero */
        const uint64_t keep = (ones >> 7 & UINT64_C(0x0101010101010101)) * 0xff;
        store_le64(byte + i, load_le64(byte + i) & keep);
    }
}

/* One more than the number of the highest bit; 0: none is set. */
inline unsigned top_bit(uint64_t mask)
{
    return mask == 0 ? 0 : 64 - static_cast<unsigned>(__builtin_clzll(mask));
}

/* Bits below n, n <= 64. */
inline uint64_t mask_below(unsigned n)
{
    return n >= beat_bytes ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1;
}

/* Bits from .. to - 1; none if to <= from. */
inline uint64_t mask_range(unsigned from, unsigned to)
{
    return to <= from ? 0 : mask_below(to) & ~mask_below(from);
}

inline unsigned smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

inline unsigned larger(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

/* a - b of TCP sequence numbers, RFC 9293 section 3.4. */
inline int32_t seq_diff(uint32_t a, uint32_t b)
{
    return static_cast<int32_t>(a - b);
}

} // namespace card
