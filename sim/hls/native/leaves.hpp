// SPDX-License-Identifier: Apache-2.0
/*
 * The leaves of hls/aes_gcm with AES-NI and PCLMULQDQ: the same functions of the same arguments, for a simulation at speed. What is
 * derived from keys alone, key schedules and powers of H, is kept for the keys seen last: the table of a thread is small and is
 * overwritten by other keys, but never wiped, so this is for simulated cards and their keys only.
 * On other processors, or where these instructions are missing, the portable leaves are called.
 */
#ifndef SIM_HLS_NATIVE_LEAVES_HPP
#define SIM_HLS_NATIVE_LEAVES_HPP

#include <memory>
#include <string.h>

#include "aes_gcm/aes.hpp"
#include "aes_gcm/align.hpp"
#include "aes_gcm/counter.hpp"
#include "aes_gcm/gf128.hpp"
#include "common/bytes.hpp"

#if defined(__x86_64__)

#include <immintrin.h>

namespace card
{
namespace native
{

#define SLUICE_NATIVE __attribute__((target("aes,pclmul,sse4.1")))
#define SLUICE_RARE   __attribute__((noinline, cold))

static const bool available = __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");

enum : unsigned { memo_entries = 256 };

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

/* Empty entries, the thread's own. Not in its static block: that of a shared object, the simulated card's, must be small. */
template <typename Entry> inline Entry *memo_of()
{
    static thread_local const std::unique_ptr<Entry[]> memo(new Entry[memo_entries]());
    return memo.get();
}

/* The reference holds until the thread asks for another key. */
SLUICE_NATIVE inline const key_schedule &schedule_of(const uint8_t bytes[32], bool long_key)
{
    key_schedule *const memo = memo_of<key_schedule>();
    const __m128i low = load16(bytes), high = long_key ? load16(bytes + 16) : _mm_setzero_si128();
    const uint32_t mixed = static_cast<uint32_t>(_mm_cvtsi128_si32(low));
    key_schedule &s = memo[(mixed ^ mixed >> 16) % memo_entries];
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

/* All lanes with one key and nonce. */
template <unsigned lanes>
SLUICE_NATIVE void counter_lanes_of_one(const key_schedule &s, const uint8_t nonce[12], const uint32_t counter[lanes],
                                        uint8_t out[lanes * block_bytes])
{
    const __m128i begin = _mm_xor_si128(nonce_block(nonce), s.round[0]);
    const uint32_t last = static_cast<uint32_t>(_mm_extract_epi32(begin, 3));
    __m128i x[lanes];
#pragma GCC unroll 8
    for (unsigned i = 0; i < lanes; i++)
        x[i] = _mm_insert_epi32(begin, static_cast<int>(__builtin_bswap32(counter[i]) ^ last), 3);
    const unsigned rounds = s.long_key ? 14 : 10;
    for (unsigned r = 1; r < rounds; r++) {
        const __m128i key = s.round[r];
#pragma GCC unroll 8
        for (unsigned i = 0; i < lanes; i++)
            x[i] = _mm_aesenc_si128(x[i], key);
    }
#pragma GCC unroll 8
    for (unsigned i = 0; i < lanes; i++)
        store16(out + block_bytes * i, _mm_aesenclast_si128(x[i], s.round[rounds]));
}

template <unsigned lanes>
SLUICE_NATIVE void counter_lanes_native(const keystream_job &job, const uint32_t counter[lanes], const bool use_b[lanes],
                                        uint8_t out[lanes * block_bytes])
{
    bool any_b = false;
    for (unsigned i = 0; i < lanes; i++)
        any_b = any_b || use_b[i];
    const key_schedule &a = schedule_of(job.key_a, job.long_a);
    counter_lanes_of_one<lanes>(a, job.nonce_a, counter, out);
    if (!any_b)
        return;
    uint8_t out_b[lanes * block_bytes];
    counter_lanes_of_one<lanes>(schedule_of(job.key_b, job.long_b), job.nonce_b, counter, out_b);
    for (unsigned i = 0; i < lanes; i++)
        if (use_b[i])
            store16(out + block_bytes * i, load16(out_b + block_bytes * i));
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

/* An element in a register: word[0] above word[1], so that the bits are in the order of the words. */
SLUICE_NATIVE inline __m128i load_element(const gf128 &x)
{
    return _mm_shuffle_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(x.word)), 0x4e);
}

SLUICE_NATIVE inline void store_element(gf128 &to, __m128i x)
{
    _mm_storeu_si128(reinterpret_cast<__m128i *>(to.word), _mm_shuffle_epi32(x, 0x4e));
}

/* A product as two registers and what lies across them; as integers, one bit too low (gf128.hpp). */
struct parts {
    __m128i high, middle, low;
};

SLUICE_NATIVE inline parts multiply_parts(__m128i x, __m128i y)
{
    const __m128i middle = _mm_xor_si128(_mm_clmulepi64_si128(x, y, 0x10), _mm_clmulepi64_si128(x, y, 0x01));
    return parts{_mm_clmulepi64_si128(x, y, 0x11), middle, _mm_clmulepi64_si128(x, y, 0x00)};
}

SLUICE_NATIVE inline parts add_parts(const parts &a, const parts &b)
{
    return parts{_mm_xor_si128(a.high, b.high), _mm_xor_si128(a.middle, b.middle), _mm_xor_si128(a.low, b.low)};
}

struct product256 {
    __m128i high, low;
};

SLUICE_NATIVE inline product256 whole(const parts &p)
{
    const __m128i high = _mm_xor_si128(p.high, _mm_srli_si128(p.middle, 8));
    const __m128i low = _mm_xor_si128(p.low, _mm_slli_si128(p.middle, 8));
    const __m128i over_high = _mm_srli_epi64(high, 63), over_low = _mm_srli_epi64(low, 63);
    const __m128i carry = _mm_or_si128(_mm_slli_si128(over_high, 8), _mm_srli_si128(over_low, 8));
    return product256{_mm_or_si128(_mm_slli_epi64(high, 1), carry),
                      _mm_or_si128(_mm_slli_epi64(low, 1), _mm_slli_si128(over_low, 8))};
}

/* As portable::gf128_reduce(): both steps shift a word by 63, 62 and 57 to the left, across two words. */
SLUICE_NATIVE inline __m128i reduce(const product256 &p)
{
    const __m128i shifts = _mm_cvtsi64_si128(static_cast<long long>(UINT64_C(1) << 63 | UINT64_C(1) << 62 | UINT64_C(1) << 57));
    const __m128i h = _mm_xor_si128(_mm_shuffle_epi32(p.low, 0x4e), _mm_clmulepi64_si128(p.low, shifts, 0x00));
    return _mm_xor_si128(_mm_xor_si128(p.high, _mm_shuffle_epi32(h, 0x4e)), _mm_clmulepi64_si128(h, shifts, 0x00));
}

SLUICE_NATIVE inline __m128i multiply_elements(__m128i x, __m128i y)
{
    return reduce(whole(multiply_parts(x, y)));
}

SLUICE_NATIVE inline gf256 multiply_native(const gf128 &a, const gf128 &b)
{
    const product256 p = whole(multiply_parts(load_element(a), load_element(b)));
    gf256 product;
    _mm_storeu_si128(reinterpret_cast<__m128i *>(product.word), _mm_shuffle_epi32(p.high, 0x4e));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(product.word + 2), _mm_shuffle_epi32(p.low, 0x4e));
    return product;
}

SLUICE_NATIVE inline gf128 mul_native(const gf128 &a, const gf128 &b)
{
    gf128 product;
    store_element(product, multiply_elements(load_element(a), load_element(b)));
    return product;
}

SLUICE_NATIVE inline void two_sums_native(const gf128 a[4], const gf128 b[4], const bool first[4], gf128 sum[2])
{
    const __m128i zero = _mm_setzero_si128();
    parts of[2] = {{zero, zero, zero}, {zero, zero, zero}};
    bool any[2] = {false, false};
#pragma GCC unroll 8
    for (unsigned i = 0; i < 4; i++) {
        const unsigned to = first[i] ? 0 : 1;
        of[to] = add_parts(of[to], multiply_parts(load_element(a[i]), load_element(b[i])));
        any[to] = true;
    }
#pragma GCC unroll 8
    for (unsigned i = 0; i < 2; i++)
        store_element(sum[i], any[i] ? reduce(whole(of[i])) : zero);
}

inline void gf128_two_sums(const gf128 a[4], const gf128 b[4], const bool first[4], gf128 sum[2])
{
    if (available)
        two_sums_native(a, b, first, sum);
    else
        portable::gf128_two_sums(a, b, first, sum);
}

SLUICE_RARE inline gf256 multiply_portable(const gf128 &a, const gf128 &b)
{
    return portable::gf128_multiply(a, b);
}

inline gf256 gf128_multiply(const gf128 &a, const gf128 &b)
{
    return available ? multiply_native(a, b) : multiply_portable(a, b);
}

inline gf128 gf128_mul(const gf128 &a, const gf128 &b)
{
    return available ? mul_native(a, b) : portable::gf128_reduce(multiply_portable(a, b));
}

/* power[i][d] = H^(d * 16^i): any exponent below 4096 is a product of three. */
enum : unsigned { power_digits = 3, power_base = 16 };
struct power_table {
    __m128i power[power_digits][power_base];
    bool filled;
};

SLUICE_NATIVE SLUICE_RARE inline void fill_powers(power_table &t, __m128i h)
{
    __m128i base = h;
    for (unsigned i = 0; i < power_digits; i++) {
        t.power[i][0] = load_element(gf128_one());
        for (unsigned d = 1; d < power_base; d++)
            t.power[i][d] = multiply_elements(t.power[i][d - 1], base);
        base = multiply_elements(t.power[i][power_base - 1], base);
    }
    t.filled = true;
}

SLUICE_NATIVE inline void weight_native(const gf128 &of, unsigned exponent, weight_result &r)
{
    power_table *const memo = memo_of<power_table>();
    const __m128i h = load_element(of);
    power_table &t = memo[(of.word[0] ^ of.word[1]) % memo_entries];
    if (!t.filled || _mm_movemask_epi8(_mm_cmpeq_epi8(t.power[0][1], h)) != 0xffff)
        fill_powers(t, h);
    for (unsigned i = 0; i < 4; i++)
        store_element(r.h[i], t.power[0][i + 1]);
    const __m128i low = multiply_elements(t.power[0][exponent & 15], t.power[1][exponent >> 4 & 15]);
    store_element(r.weight, multiply_elements(low, t.power[2][exponent >> 8 & 15]));
}

inline weight_result gf128_weight(const gf128 &h, unsigned exponent)
{
    if (!available)
        return portable::gf128_weight(h, exponent);
    weight_result r;
    weight_native(h, exponent, r);
    return r;
}

/* 16 bytes, or where their bits in the mask are not set, zero. */
SLUICE_NATIVE inline __m128i mask_of(uint64_t mask)
{
    const __m128i bit = _mm_set1_epi64x(static_cast<long long>(0x8040201008040201));
    const __m128i spread = _mm_set_epi8(1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m128i flags = _mm_shuffle_epi8(_mm_cvtsi64_si128(static_cast<long long>(mask)), spread);
    return _mm_cmpeq_epi8(_mm_and_si128(flags, bit), bit);
}

/* Sixteen bytes from byte `by` of a ring of 128 bytes on, in steps of 16: shifted together from two blocks each. (A load across two
 * stores would wait for both.) */
class turned_ring
{
  public:
    SLUICE_NATIVE turned_ring(const __m128i (&ring)[8], unsigned by) : m_ring(ring), m_first(by / 16)
    {
        const __m128i count = _mm_set_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        const __m128i from = _mm_add_epi8(count, _mm_set1_epi8(static_cast<char>(by % 16)));
        m_low = _mm_or_si128(from, _mm_cmpgt_epi8(from, _mm_set1_epi8(15))); /* byte numbers above 15 take zero */
        m_high = _mm_sub_epi8(from, _mm_set1_epi8(16));                      /* those below 0, too */
    }
    SLUICE_NATIVE __m128i block(unsigned i) const
    {
        return _mm_or_si128(_mm_shuffle_epi8(m_ring[(m_first + i) % 8], m_low),
                            _mm_shuffle_epi8(m_ring[(m_first + i + 1) % 8], m_high));
    }

  private:
    const __m128i (&m_ring)[8];
    unsigned m_first;
    __m128i m_low, m_high;
};

SLUICE_NATIVE inline void take_items_native(const uint8_t beat[beat_bytes], uint64_t mask, unsigned by, bool with_aad,
                                            const uint8_t aad[block_bytes], gf128 item[ghash_items_max])
{
    const __m128i swap = _mm_set_epi8(8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7), zero = _mm_setzero_si128();
    __m128i ring[8] = {zero, zero, zero, zero, zero, zero, zero, zero};
#pragma GCC unroll 8
    for (unsigned i = 0; i < 4; i++)
        ring[i] = _mm_and_si128(load16(beat + 16 * i), mask_of(mask >> 16 * i));
    const turned_ring cells(ring, by);
    __m128i *const to = reinterpret_cast<__m128i *>(item);
    unsigned n = 0;
    if (with_aad)
        _mm_storeu_si128(to + n++, _mm_shuffle_epi8(load16(aad), swap));
#pragma GCC unroll 8
    for (unsigned i = 0; i < cells_max; i++)
        _mm_storeu_si128(to + n++, _mm_shuffle_epi8(cells.block(i), swap));
    if (n < ghash_items_max)
        _mm_storeu_si128(to + n, zero);
}

inline void take_items(const uint8_t beat[beat_bytes], uint64_t mask, unsigned by, bool with_aad, const uint8_t aad[block_bytes],
                       gf128 item[ghash_items_max])
{
    if (mask == 0 && !with_aad)
        memset(item, 0, ghash_items_max * sizeof(gf128));
    else if (available)
        take_items_native(beat, mask, by, with_aad, aad, item);
    else
        portable::take_items(beat, mask, by, with_aad, aad, item);
}

SLUICE_NATIVE inline void place_cells_native(const uint8_t cells[cells_bytes], unsigned by, uint64_t mask, uint8_t beat[beat_bytes])
{
    const __m128i zero = _mm_setzero_si128();
    __m128i ring[8] = {zero, zero, zero, zero, zero, zero, zero, zero};
#pragma GCC unroll 8
    for (unsigned i = 0; i < cells_max; i++)
        ring[i] = load16(cells + 16 * i);
    const turned_ring placed(ring, by);
#pragma GCC unroll 8
    for (unsigned i = 0; i < 4; i++) {
        const __m128i keep = mask_of(mask >> 16 * i);
        store16(beat + 16 * i, _mm_blendv_epi8(load16(beat + 16 * i), placed.block(i), keep));
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

SLUICE_NATIVE inline void keep_bytes_native(uint8_t byte[beat_bytes], uint64_t mask)
{
#pragma GCC unroll 4
    for (unsigned i = 0; i < beat_bytes; i += 16)
        store16(byte + i, _mm_and_si128(load16(byte + i), mask_of(mask >> i)));
}

inline void keep_bytes(uint8_t byte[beat_bytes], uint64_t mask)
{
    if (available)
        keep_bytes_native(byte, mask);
    else
        card::keep_bytes(byte, mask);
}

inline uint64_t nonzero_bytes(const uint8_t byte[beat_bytes])
{
    uint64_t mask = 0;
#pragma GCC unroll 4
    for (unsigned i = 0; i < beat_bytes; i += 16)
        mask |= static_cast<uint64_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(load16(byte + i), _mm_setzero_si128()))) << i;
    return ~mask;
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

using card::keep_bytes;
using card::nonzero_bytes;
using portable::counter_lanes;
using portable::gf128_mul;
using portable::gf128_multiply;
using portable::gf128_two_sums;
using portable::gf128_weight;
using portable::place_cells;
using portable::take_items;

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
