// SPDX-License-Identifier: Apache-2.0
/*
 * The leaves of hls/aes_gcm with AES-NI and PCLMULQDQ: the same functions of the same arguments, for a simulation at speed. What is
 * derived from keys alone, key schedules and powers of H, is kept for the keys seen last: the table of a thread is small and is
 * overwritten by other keys, but never wiped, so this is for simulated cards and their keys only.
 * On other processors, or where these instructions are missing, the portable leaves are called.
 */
#ifndef SIM_HLS_NATIVE_LEAVES_HPP
#define SIM_HLS_NATIVE_LEAVES_HPP

#include <string.h>

#include "aes_gcm/aes.hpp"
#include "aes_gcm/align.hpp"
#include "aes_gcm/counter.hpp"
#include "aes_gcm/gf128.hpp"

#if defined(__x86_64__)

#include <immintrin.h>

namespace card
{
namespace native
{

#define SLUICE_NATIVE __attribute__((target("aes,pclmul,sse4.1")))
#define SLUICE_RARE   __attribute__((noinline, cold))

static const bool available = __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");

enum : unsigned { memo_entries = 64 };

struct key_schedule {
    __m128i key[2];
    bool filled, long_key;
    __m128i round[aes_stages + 1];
};

inline __m128i load16(const uint8_t *p)
{
    return _mm_loadu_si128(reinterpret_cast<const __m128i *>(p));
}

inline void store16(uint8_t *p, __m128i x)
{
    _mm_storeu_si128(reinterpret_cast<__m128i *>(p), x);
}

SLUICE_NATIVE inline __m128i round_key(const uint32_t word[4])
{
    const __m128i swap = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    return _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i *>(word)), swap);
}

SLUICE_NATIVE SLUICE_RARE inline void expand(key_schedule &s, const uint8_t bytes[32], bool long_key)
{
    const aes_key key = aes_key_from_bytes(bytes, long_key);
    aes_window window = portable::aes_first_window(key);
    unsigned n = 0;
    s.round[n++] = round_key(key.word);
    for (unsigned stage = 1; stage <= aes_stages; stage++) {
        window = portable::aes_next_window(window, stage, long_key);
        if (!portable::aes_waits(stage, long_key))
            s.round[n++] = round_key(window.newer);
    }
    s.key[0] = load16(bytes);
    s.key[1] = long_key ? load16(bytes + 16) : _mm_setzero_si128();
    s.long_key = long_key;
    s.filled = true;
}

/* The reference holds until the thread asks for another key. Two keys of one job may not share an entry: `bank` keeps them apart.
 */
SLUICE_NATIVE inline const key_schedule &schedule_of(const uint8_t bytes[32], bool long_key, unsigned bank)
{
    static thread_local key_schedule memo[2][memo_entries];
    const __m128i low = load16(bytes), high = long_key ? load16(bytes + 16) : _mm_setzero_si128();
    const uint32_t mixed = static_cast<uint32_t>(_mm_cvtsi128_si32(low));
    key_schedule &s = memo[bank][(mixed ^ mixed >> 16) % memo_entries];
    const __m128i same = _mm_and_si128(_mm_cmpeq_epi8(s.key[0], low), _mm_cmpeq_epi8(s.key[1], high));
    if (_mm_movemask_epi8(same) != 0xffff || s.long_key != long_key || !s.filled)
        expand(s, bytes, long_key);
    return s;
}

SLUICE_NATIVE inline __m128i nonce_block(const uint8_t nonce[12])
{
    uint64_t low;
    int32_t high;
    memcpy(&low, nonce, sizeof(low));
    memcpy(&high, nonce + 8, sizeof(high));
    return _mm_insert_epi32(_mm_cvtsi64_si128(static_cast<long long>(low)), high, 2);
}

template <unsigned lanes>
SLUICE_NATIVE void counter_lanes_native(const keystream_job &job, const uint32_t counter[lanes], const bool use_b[lanes],
                                        uint8_t out[lanes * block_bytes])
{
    bool any_b = false;
    for (unsigned i = 0; i < lanes; i++)
        any_b = any_b || use_b[i];
    const key_schedule &a = schedule_of(job.key_a, job.long_a, 0), &b = any_b ? schedule_of(job.key_b, job.long_b, 1) : a;
    const __m128i nonce_a = nonce_block(job.nonce_a), nonce_b = nonce_block(job.nonce_b);
    const __m128i *round[lanes];
    __m128i x[lanes];
#pragma GCC unroll 8
    for (unsigned i = 0; i < lanes; i++) {
        round[i] = use_b[i] ? b.round : a.round;
        const int word = static_cast<int>(__builtin_bswap32(counter[i]));
        x[i] = _mm_xor_si128(_mm_insert_epi32(use_b[i] ? nonce_b : nonce_a, word, 3), round[i][0]);
    }
    for (unsigned r = 1; r < 10; r++) {
#pragma GCC unroll 8
        for (unsigned i = 0; i < lanes; i++)
            x[i] = _mm_aesenc_si128(x[i], round[i][r]);
    }
    for (unsigned r = 10; (job.long_a || job.long_b) && r < 14; r++) {
#pragma GCC unroll 8
        for (unsigned i = 0; i < lanes; i++)
            x[i] = (use_b[i] ? job.long_b : job.long_a) ? _mm_aesenc_si128(x[i], round[i][r]) : x[i];
    }
#pragma GCC unroll 8
    for (unsigned i = 0; i < lanes; i++)
        store16(out + block_bytes * i, _mm_aesenclast_si128(x[i], round[i][(use_b[i] ? job.long_b : job.long_a) ? 14 : 10]));
}

template <unsigned lanes>
void counter_lanes(const keystream_job &job, const uint32_t counter[lanes], const bool use_b[lanes],
                   uint8_t out[lanes * block_bytes])
{
    if (available)
        counter_lanes_native<lanes>(job, counter, use_b, out);
    else
        portable::counter_lanes<lanes>(job, counter, use_b, out);
}

SLUICE_NATIVE inline __m128i load_element(const gf128 &x)
{
    return _mm_set_epi64x(static_cast<long long>(x.word[0]), static_cast<long long>(x.word[1]));
}

/* A product as two registers and what lies across them. */
struct parts {
    __m128i high, middle, low;
};

SLUICE_NATIVE inline parts multiply_parts(const gf128 &a, const gf128 &b)
{
    const __m128i x = load_element(a), y = load_element(b);
    const __m128i middle = _mm_xor_si128(_mm_clmulepi64_si128(x, y, 0x10), _mm_clmulepi64_si128(x, y, 0x01));
    return parts{_mm_clmulepi64_si128(x, y, 0x11), middle, _mm_clmulepi64_si128(x, y, 0x00)};
}

SLUICE_NATIVE inline gf256 whole(const parts &p)
{
    const __m128i upper = _mm_xor_si128(p.high, _mm_srli_si128(p.middle, 8));
    const __m128i lower = _mm_xor_si128(p.low, _mm_slli_si128(p.middle, 8));
    const uint64_t p0 = static_cast<uint64_t>(_mm_extract_epi64(upper, 1)), p1 = static_cast<uint64_t>(_mm_cvtsi128_si64(upper));
    const uint64_t p2 = static_cast<uint64_t>(_mm_extract_epi64(lower, 1)), p3 = static_cast<uint64_t>(_mm_cvtsi128_si64(lower));
    return gf256{{p0 << 1 | p1 >> 63, p1 << 1 | p2 >> 63, p2 << 1 | p3 >> 63, p3 << 1}};
}

SLUICE_NATIVE inline gf256 multiply_native(const gf128 &a, const gf128 &b)
{
    return whole(multiply_parts(a, b));
}

SLUICE_NATIVE inline gf128 square_native(const gf128 &a)
{
    return portable::gf128_reduce(multiply_native(a, a));
}

SLUICE_NATIVE inline gf128 mul_native(const gf128 &a, const gf128 &b)
{
    return portable::gf128_reduce(multiply_native(a, b));
}

SLUICE_NATIVE inline void two_sums_native(const gf128 a[4], const gf128 b[4], const bool first[4], gf128 sum[2])
{
    const __m128i zero = _mm_setzero_si128();
    parts total = {zero, zero, zero}, one = total;
#pragma GCC unroll 4
    for (unsigned i = 0; i < 4; i++) {
        const parts p = multiply_parts(a[i], b[i]);
        const __m128i keep = _mm_set1_epi64x(-static_cast<long long>(first[i]));
        total = parts{_mm_xor_si128(total.high, p.high), _mm_xor_si128(total.middle, p.middle), _mm_xor_si128(total.low, p.low)};
        one = parts{_mm_xor_si128(one.high, _mm_and_si128(p.high, keep)), _mm_xor_si128(one.middle, _mm_and_si128(p.middle, keep)),
                    _mm_xor_si128(one.low, _mm_and_si128(p.low, keep))};
    }
    sum[0] = portable::gf128_reduce(whole(one));
    sum[1] = gf128_add(portable::gf128_reduce(whole(total)), sum[0]);
}

SLUICE_NATIVE inline gf128 product_native(const gf128 factor[weight_digits])
{
    const gf128 f01 = mul_native(factor[0], factor[1]), f23 = mul_native(factor[2], factor[3]);
    return mul_native(mul_native(f01, f23), mul_native(factor[4], factor[5]));
}

inline void gf128_two_sums(const gf128 a[4], const gf128 b[4], const bool first[4], gf128 sum[2])
{
    if (available)
        two_sums_native(a, b, first, sum);
    else
        portable::gf128_two_sums(a, b, first, sum);
}

inline gf128 gf128_product(const gf128 factor[weight_digits])
{
    return available ? product_native(factor) : portable::gf128_product(factor);
}

SLUICE_RARE inline gf256 multiply_portable(const gf128 &a, const gf128 &b)
{
    return portable::gf128_multiply(a, b);
}

SLUICE_RARE inline gf128 square_portable(const gf128 &a)
{
    return portable::gf128_square(a);
}

inline gf256 gf128_multiply(const gf128 &a, const gf128 &b)
{
    return available ? multiply_native(a, b) : multiply_portable(a, b);
}

inline gf128 gf128_mul(const gf128 &a, const gf128 &b)
{
    return available ? mul_native(a, b) : portable::gf128_reduce(multiply_portable(a, b));
}

inline gf128 gf128_square(const gf128 &a)
{
    return available ? square_native(a) : square_portable(a);
}

SLUICE_NATIVE SLUICE_RARE inline void all_powers_native(gf128_powers &p, const gf128 &h)
{
    p.power[0][0] = gf128_one();
    p.power[0][1] = h;
    p.power[0][2] = square_native(h);
    p.power[0][3] = mul_native(h, p.power[0][2]);
    for (unsigned i = 1; i < weight_digits; i++) {
        p.power[i][0] = gf128_one();
        for (unsigned d = 1; d < 4; d++)
            p.power[i][d] = square_native(square_native(p.power[i - 1][d]));
    }
}

/* The reference holds until the thread asks for other powers. */
inline const gf128_powers &gf128_all_powers(const gf128 &h)
{
    static thread_local gf128_powers memo[memo_entries];
    gf128_powers &p = memo[(h.word[0] ^ h.word[1]) % memo_entries];
    if (memcmp(&p.power[0][1], &h, sizeof(h)) == 0 && p.power[0][0].word[0] != 0)
        return p;
    if (available)
        all_powers_native(p, h);
    else
        p = portable::gf128_all_powers(h);
    return p;
}

/* 16 bytes, or where their bits in the mask are not set, zero. */
SLUICE_NATIVE inline __m128i mask_of(uint64_t mask)
{
    const __m128i bit = _mm_set1_epi64x(static_cast<long long>(0x8040201008040201));
    const __m128i spread = _mm_set_epi8(1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m128i flags = _mm_shuffle_epi8(_mm_cvtsi64_si128(static_cast<long long>(mask)), spread);
    return _mm_cmpeq_epi8(_mm_and_si128(flags, bit), bit);
}

/* A load at any offset does what the log shifter does: the ring is laid out as often as it can be read. */
SLUICE_NATIVE inline void take_cells_native(const uint8_t beat[beat_bytes], uint64_t mask, unsigned by, uint8_t cells[cells_bytes])
{
    uint8_t ring[ring_bytes + cells_bytes];
    for (unsigned i = 0; i < beat_bytes; i += 16) {
        const __m128i kept = _mm_and_si128(load16(beat + i), mask_of(mask >> i));
        store16(ring + i, kept);
        store16(ring + beat_bytes + i, _mm_setzero_si128());
        store16(ring + ring_bytes + i, kept);
    }
    store16(ring + ring_bytes + beat_bytes, _mm_setzero_si128());
    for (unsigned i = 0; i < cells_bytes; i += 16)
        store16(cells + i, load16(ring + by % ring_bytes + i));
}

inline void take_cells(const uint8_t beat[beat_bytes], uint64_t mask, unsigned by, uint8_t cells[cells_bytes])
{
    if (mask == 0)
        memset(cells, 0, cells_bytes);
    else if (available)
        take_cells_native(beat, mask, by, cells);
    else
        portable::take_cells(beat, mask, by, cells);
}

SLUICE_NATIVE inline void place_cells_native(const uint8_t cells[cells_bytes], unsigned by, uint64_t mask, uint8_t beat[beat_bytes])
{
    uint8_t ring[ring_bytes + beat_bytes];
    for (unsigned i = 0; i < cells_bytes; i += 16)
        store16(ring + i, load16(cells + i));
    for (unsigned i = cells_bytes; i < ring_bytes; i += 16)
        store16(ring + i, _mm_setzero_si128());
    for (unsigned i = 0; i < beat_bytes; i += 16)
        store16(ring + ring_bytes + i, load16(cells + i));
    for (unsigned i = 0; i < beat_bytes; i += 16) {
        const __m128i keep = mask_of(mask >> i), placed = load16(ring + by % ring_bytes + i);
        store16(beat + i, _mm_or_si128(_mm_and_si128(keep, placed), _mm_andnot_si128(keep, load16(beat + i))));
    }
}

inline void place_cells(const uint8_t cells[cells_bytes], unsigned by, uint64_t mask, uint8_t beat[beat_bytes])
{
    if (mask == 0)
        return;
    if (available)
        place_cells_native(cells, by, mask, beat);
    else
        portable::place_cells(cells, by, mask, beat);
}

#undef SLUICE_NATIVE
#undef SLUICE_RARE

} // namespace native
} // namespace card

#else

namespace card
{
namespace native
{

using portable::counter_lanes;
using portable::gf128_all_powers;
using portable::gf128_mul;
using portable::gf128_multiply;
using portable::gf128_product;
using portable::gf128_square;
using portable::gf128_two_sums;
using portable::place_cells;
using portable::take_cells;

static const bool available = false;

} // namespace native
} // namespace card

#endif

namespace card
{
namespace native
{

using portable::gf128_reduce;

} // namespace native
} // namespace card

#endif
