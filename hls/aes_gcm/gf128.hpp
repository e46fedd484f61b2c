/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GF(2^128) as GCM uses it (SP 800-38D section 6.3). A leaf: pure functions over 32- and 64-bit words without tables, that other
 * HLS compilers than Vitis (Bambu) can synthesise alone; the top function for that is gf128_mul.
 *
 * A product is made in two steps, so that sums are reduced once:
 *
 *   gf128 x gf128 --gf128_multiply--> gf256 --(XOR of as many as there are)--> --gf128_reduce--> gf128
 *
 * Multiplication without carry: Karatsuba 128 -> 64 -> 32 bits, then 32 x 32 by shifts, ANDs and XORs, all unrolled.
 * In a pipeline (LUT6 levels a stage):
 *
 *   1  sums of the operands' halves (1: at most 4 words), partial products, three ANDs a LUT (1), six of those (1): two words are
 *      left of a product
 *   2  the nine products to 255 bits (2: at most 22 inputs), choice and sum over lanes (2)
 *   3  reduction (2: at most 8 inputs)
 *
 * Squaring is linear: wires, and the reduction.
 */
#pragma once

#include <stdint.h>

#include "aes_gcm/jobs.hpp"

namespace card
{

enum : unsigned { gf128_product_depth = 2, gf128_reduce_depth = 1, gf128_mul_depth = gf128_product_depth + gf128_reduce_depth };

/* A product that is not reduced: word[0]'s top bit is x^0, word[3]'s last but one x^254. */
struct gf256 {
    uint64_t word[4];
};

/* power[i][d] = H^(d * 4^i): what exponents below 4096 are composed of. */
enum : unsigned { weight_digits = 6 };
struct gf128_powers {
    gf128 power[weight_digits][4];
};

inline gf128 gf128_zero()
{
#pragma HLS INLINE
    const gf128 zero = {{0, 0}};
    return zero;
}

inline gf128 gf128_one()
{
#pragma HLS INLINE
    const gf128 one = {{UINT64_C(1) << 63, 0}};
    return one;
}

inline gf128 gf128_add(const gf128 &a, const gf128 &b)
{
#pragma HLS INLINE
    const gf128 sum = {{a.word[0] ^ b.word[0], a.word[1] ^ b.word[1]}};
    return sum;
}

inline gf128 gf128_if(const gf128 &a, bool keep)
{
#pragma HLS INLINE
    const uint64_t mask = UINT64_C(0) - (keep ? 1u : 0u);
    const gf128 kept = {{a.word[0] & mask, a.word[1] & mask}};
    return kept;
}

inline gf256 gf256_zero()
{
#pragma HLS INLINE
    const gf256 zero = {{0, 0, 0, 0}};
    return zero;
}

inline gf256 gf256_add(const gf256 &a, const gf256 &b)
{
#pragma HLS INLINE
    const gf256 sum = {{a.word[0] ^ b.word[0], a.word[1] ^ b.word[1], a.word[2] ^ b.word[2], a.word[3] ^ b.word[3]}};
    return sum;
}

inline gf256 gf256_if(const gf256 &a, bool keep)
{
#pragma HLS INLINE
    const uint64_t mask = UINT64_C(0) - (keep ? 1u : 0u);
    const gf256 kept = {{a.word[0] & mask, a.word[1] & mask, a.word[2] & mask, a.word[3] & mask}};
    return kept;
}

namespace portable
{

struct product128 {
    uint64_t high, low;
};

inline uint64_t multiply32(uint32_t a, uint32_t b)
{
#pragma HLS INLINE
    uint64_t sum = 0;
    for (unsigned i = 0; i < 32; i++) {
#pragma HLS UNROLL
        sum ^= static_cast<uint64_t>(a) << i & (UINT64_C(0) - (b >> i & 1));
    }
    return sum;
}

inline product128 multiply64(uint64_t a, uint64_t b)
{
#pragma HLS INLINE
    const uint32_t a1 = static_cast<uint32_t>(a >> 32), a0 = static_cast<uint32_t>(a);
    const uint32_t b1 = static_cast<uint32_t>(b >> 32), b0 = static_cast<uint32_t>(b);
    const uint64_t high = multiply32(a1, b1), low = multiply32(a0, b0);
    const uint64_t middle = multiply32(a1 ^ a0, b1 ^ b0) ^ high ^ low;
    const product128 product = {high ^ middle >> 32, low ^ middle << 32};
    return product;
}

/* As integers an element is read with x^0 on top, so a product comes out one bit too low: 127 + 127 = 254. */
inline gf256 gf128_multiply(const gf128 &a, const gf128 &b)
{
#pragma HLS INLINE
    const product128 high = multiply64(a.word[0], b.word[0]), low = multiply64(a.word[1], b.word[1]);
    product128 middle = multiply64(a.word[0] ^ a.word[1], b.word[0] ^ b.word[1]);
    middle.high ^= high.high ^ low.high;
    middle.low ^= high.low ^ low.low;
    const uint64_t p0 = high.high, p1 = high.low ^ middle.high, p2 = low.high ^ middle.low, p3 = low.low;
    const gf256 product = {{p0 << 1 | p1 >> 63, p1 << 1 | p2 >> 63, p2 << 1 | p3 >> 63, p3 << 1}};
    return product;
}

/* x^128 = x^7 + x^2 + x + 1: the upper half is added at 0, 1, 2 and 7; what then still reaches beyond x^127 is folded first. */
inline gf128 gf128_reduce(const gf256 &p)
{
#pragma HLS INLINE
    const uint64_t h1 = p.word[3];
    const uint64_t h0 = p.word[2] ^ h1 << 63 ^ h1 << 62 ^ h1 << 57;
    const gf128 sum = {{p.word[0] ^ h0 ^ h0 >> 1 ^ h0 >> 2 ^ h0 >> 7,
                        p.word[1] ^ h1 ^ (h0 << 63 | h1 >> 1) ^ (h0 << 62 | h1 >> 2) ^ (h0 << 57 | h1 >> 7)}};
    return sum;
}

inline gf128 gf128_mul(const gf128 &a, const gf128 &b)
{
#pragma HLS PIPELINE II = 1
    return gf128_reduce(gf128_multiply(a, b));
}

/* Four products side by side, added up in two sums: product i to the first where first[i] is set, else to the second. */
inline void gf128_two_sums(const gf128 a[4], const gf128 b[4], const bool first[4], gf128 sum[2])
{
#pragma HLS INLINE
    gf256 one = gf256_zero(), two = gf256_zero();
    for (unsigned i = 0; i < 4; i++) {
#pragma HLS UNROLL
        const gf256 product = gf128_multiply(a[i], b[i]);
        one = gf256_add(one, gf256_if(product, first[i]));
        two = gf256_add(two, gf256_if(product, !first[i]));
    }
    sum[0] = gf128_reduce(one);
    sum[1] = gf128_reduce(two);
}

/* A tree of five multiplies, three deep. */
inline gf128 gf128_product(const gf128 factor[weight_digits])
{
#pragma HLS INLINE
    static_assert(weight_digits == 6, "the tree");
    const gf128 f01 = gf128_mul(factor[0], factor[1]);
    const gf128 f23 = gf128_mul(factor[2], factor[3]);
    const gf128 f45 = gf128_mul(factor[4], factor[5]);
    return gf128_mul(gf128_mul(f01, f23), f45);
}

/* Bit i to bit 2 i. */
inline uint64_t spread32(uint64_t x)
{
#pragma HLS INLINE
    x = (x | x << 16) & UINT64_C(0x0000ffff0000ffff);
    x = (x | x << 8) & UINT64_C(0x00ff00ff00ff00ff);
    x = (x | x << 4) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    x = (x | x << 2) & UINT64_C(0x3333333333333333);
    return (x | x << 1) & UINT64_C(0x5555555555555555);
}

inline gf128 gf128_square(const gf128 &a)
{
#pragma HLS INLINE
    const gf256 spread = {{spread32(a.word[0] >> 32) << 1, spread32(a.word[0] & 0xffffffff) << 1, spread32(a.word[1] >> 32) << 1,
                           spread32(a.word[1] & 0xffffffff) << 1}};
    return gf128_reduce(spread);
}

inline gf128_powers gf128_all_powers(const gf128 &h)
{
#pragma HLS INLINE
    gf128_powers p;
    p.power[0][0] = gf128_one();
    p.power[0][1] = h;
    p.power[0][2] = gf128_square(h);
    p.power[0][3] = gf128_mul(h, p.power[0][2]);
    for (unsigned i = 1; i < weight_digits; i++) {
#pragma HLS UNROLL
        p.power[i][0] = gf128_one();
        for (unsigned d = 1; d < 4; d++) {
#pragma HLS UNROLL
            p.power[i][d] = gf128_square(gf128_square(p.power[i - 1][d]));
        }
    }
    return p;
}

/* weights.hpp has the stages. */
inline weight_result gf128_weight(const gf128 &h, unsigned exponent)
{
#pragma HLS INLINE
    const gf128_powers powers = gf128_all_powers(h);
    gf128 factor[weight_digits];
#pragma HLS ARRAY_PARTITION variable = factor complete
    for (unsigned i = 0; i < weight_digits; i++) {
#pragma HLS UNROLL
        factor[i] = powers.power[i][exponent >> 2 * i & 3];
    }
    weight_result r;
    r.h[0] = powers.power[0][1];
    r.h[1] = powers.power[0][2];
    r.h[2] = powers.power[0][3];
    r.h[3] = powers.power[1][1];
    r.weight = gf128_product(factor);
    return r;
}

} // namespace portable
} // namespace card
