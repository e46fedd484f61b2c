/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The instructions that gcm_x86.h is written in: V_* on vectors of LANES blocks (1, 2 or 4, defined by who includes this), each
 * block by itself; and single blocks of 16 bytes, whatever LANES is.
 */
#include <immintrin.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))

#if LANES == 1
typedef __m128i vec;
#define V_LOAD(p)        _mm_loadu_si128((const __m128i *)(const void *)(p))
#define V_STORE(p, v)    _mm_storeu_si128((__m128i *)(void *)(p), (v))
#define V_SPREAD(x)      (x)
#define V_FIRST(x)       (x)
#define V_ZERO()         _mm_setzero_si128()
#define V_XOR(a, b)      _mm_xor_si128((a), (b))
#define V_AND(a, b)      _mm_and_si128((a), (b))
#define V_ADD(a, b)      _mm_add_epi32((a), (b))
#define V_SHUFFLE(a, m)  _mm_shuffle_epi8((a), (m))
#define V_AES(a, k)      _mm_aesenc_si128((a), (k))
#define V_AES_LAST(a, k) _mm_aesenclast_si128((a), (k))
#define V_MUL(a, b, i)   _mm_clmulepi64_si128((a), (b), (i))
#define V_LOW(a, b)      _mm_unpacklo_epi64((a), (b))
#define V_HIGH(a, b)     _mm_unpackhi_epi64((a), (b))
#define V_SWAP(a)        _mm_shuffle_epi32((a), 0x4e)
#elif LANES == 2
typedef __m256i vec;
#define V_LOAD(p)        _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define V_STORE(p, v)    _mm256_storeu_si256((__m256i *)(void *)(p), (v))
#define V_SPREAD(x)      _mm256_broadcastsi128_si256(x)
#define V_FIRST(x)       _mm256_inserti128_si256(_mm256_setzero_si256(), (x), 0)
#define V_ZERO()         _mm256_setzero_si256()
#define V_XOR(a, b)      _mm256_xor_si256((a), (b))
#define V_AND(a, b)      _mm256_and_si256((a), (b))
#define V_ADD(a, b)      _mm256_add_epi32((a), (b))
#define V_SHUFFLE(a, m)  _mm256_shuffle_epi8((a), (m))
#define V_AES(a, k)      _mm256_aesenc_epi128((a), (k))
#define V_AES_LAST(a, k) _mm256_aesenclast_epi128((a), (k))
#define V_MUL(a, b, i)   _mm256_clmulepi64_epi128((a), (b), (i))
#define V_LOW(a, b)      _mm256_unpacklo_epi64((a), (b))
#define V_HIGH(a, b)     _mm256_unpackhi_epi64((a), (b))
#define V_SWAP(a)        _mm256_shuffle_epi32((a), 0x4e)
#elif LANES == 4
typedef __m512i vec;
#define V_LOAD(p)        _mm512_loadu_si512((const void *)(p))
#define V_STORE(p, v)    _mm512_storeu_si512((void *)(p), (v))
#define V_SPREAD(x)      _mm512_broadcast_i32x4(x)
#define V_FIRST(x)       _mm512_inserti32x4(_mm512_setzero_si512(), (x), 0)
#define V_ZERO()         _mm512_setzero_si512()
#define V_XOR(a, b)      _mm512_xor_si512((a), (b))
#define V_AND(a, b)      _mm512_and_si512((a), (b))
#define V_ADD(a, b)      _mm512_add_epi32((a), (b))
#define V_SHUFFLE(a, m)  _mm512_shuffle_epi8((a), (m))
#define V_AES(a, k)      _mm512_aesenc_epi128((a), (k))
#define V_AES_LAST(a, k) _mm512_aesenclast_epi128((a), (k))
#define V_MUL(a, b, i)   _mm512_clmulepi64_epi128((a), (b), (i))
#define V_LOW(a, b)      _mm512_unpacklo_epi64((a), (b))
#define V_HIGH(a, b)     _mm512_unpackhi_epi64((a), (b))
#define V_SWAP(a)        _mm512_shuffle_epi32((a), (_MM_PERM_ENUM)0x4e)
#else
#error "LANES is 1, 2 or 4"
#endif

/* ---- blocks ---- */

INLINE __m128i reversed_mask(void)
{
    return _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

INLINE __m128i reversed(__m128i x)
{
    return _mm_shuffle_epi8(x, reversed_mask());
}

INLINE __m128i load_block(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

INLINE void store_block(uint8_t *p, __m128i x)
{
    _mm_storeu_si128((__m128i *)(void *)p, x);
}
