/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes and bit masks of a beat. All are wires or small adders in hardware. */
#pragma once

#include <stdint.h>

#include "common/limits.hpp"

namespace card {

inline uint16_t load_be16(const uint8_t *p)
{
    return static_cast<uint16_t>(p[0] << 8 | p[1]);
}

template <unsigned N> uint64_t load_be(const uint8_t *p)
{
    uint64_t x = 0;
    for (unsigned i = 0; i < N; i++)
        x = x << 8 | p[i];
    return x;
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
