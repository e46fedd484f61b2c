/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES-GCM with the AES and carry-less multiply instructions of x86, for vectors of 1, 2 or 4 blocks. A .c file defines LANES and
 * includes this; it is compiled with the instruction set that it needs.
 *
 * Notation. Blocks are 128 bits. GHASH of X_1..X_m under H is ((X_1·H ⊕ X_2)·H ⊕ ... )·H in GF(2^128) [SP 800-38D section 6.4].
 *
 * 1. Byte order. GHASH numbers bits from the wrong end for this CPU. Instead of reflecting bits we reverse the bytes of every block
 * and work in the field of POLYVAL, where a·b stands for the product times x^-128 and h = H·x [RFC 8452 appendix A]; the result is
 * GHASH's.
 * 2. Aggregated reduction. With n blocks and the powers h^n..h^1 in store,
 *        Y' = (Y ⊕ X_1)·h^n ⊕ X_2·h^(n-1) ⊕ ... ⊕ X_n·h
 *    needs one reduction: products are summed unreduced, as 256-bit values lo + mid·x^64 + hi·x^128.
 * 3. Karatsuba. mid = (a_lo ⊕ a_hi)(b_lo ⊕ b_hi) ⊕ lo ⊕ hi: three multiplications instead of four. b_lo ⊕ b_hi of the powers is
 *    in store (8 bytes each), two to a 128-bit lane so that one vector serves two vectors of data; those of the data are made by
 * one pair of unpack instructions for two vectors.
 * 4. Reduction (Montgomery): lo is folded into hi in two steps of a multiplication by 0xc2·2^56 each.
 * 5. Interleaving. A batch is what 8 vectors hold (4 of 64 bytes). The rounds of AES on the counters of one batch are
 *    interleaved with the multiplications for a batch whose ciphertext is there already: when decrypting the same one, when
 * encrypting the one before. AES and multiplication share two pipes of the CPU: the point is to keep both always busy. The chained
 * value Y enters last, so that the chain from batch to batch is one multiplication and one reduction long.
 * 6. The last blocks and the length block are hashed together, with the powers h^k..h: no lone multiplication at the end.
 *
 * Nothing here branches on, or is indexed by, secret data.
 */
#include <string.h>

#include "base/secret.h"
#include "record/gcm_engine.h"
#include "record/gcm_x86_vectors.h"

/* Enough independent chains to hide the latency of a round (4 cycles, two 32-byte or one 64-byte round per cycle). */
#if LANES == 4
#define EACH(op) op(0) op(1) op(2) op(3)
#else
#define EACH(op) op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7)
#endif

enum { BLOCK = 16, VECTOR = LANES * BLOCK, VECTORS = LANES == 4 ? 4 : 8, BATCH = LANES * VECTORS, BATCH_BYTES = BATCH * BLOCK };

struct x86_key {
    struct sl_gcm_key head;
    _Alignas(16) uint8_t round_key[15][BLOCK];
    uint8_t power[BATCH + 1][BLOCK]; /* h^(BATCH + 1) .. h^1 */
    uint8_t halves[BATCH][8];        /* step 3: of h^BATCH .. h^1 */
};
_Static_assert(sizeof(struct x86_key) <= 704, "an idle connection holds four of these");

struct x86_stream {
    __m128i hash;    /* Y, in reversed bytes */
    __m128i mask;    /* E(K, J0) */
    __m128i counter; /* of the next block, in reversed bytes */
    __m128i key;     /* keystream of the block that is begun */
    __m128i partial; /* its ciphertext so far, then zeros */
    uint64_t aad_len, text_len;
};
_Static_assert(sizeof(struct x86_stream) <= SL_GCM_STREAM_BYTES, "fits the opaque type");

/* ---- GHASH ---- */

INLINE __m128i poly(void)
{
    return _mm_set_epi64x((long long)0xc200000000000000ULL, 1);
}

/* The sum of the lanes. */
INLINE __m128i fold_lanes(vec v)
{
#if LANES == 1
    return v;
#elif LANES == 2
    return _mm_xor_si128(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
#else
    __m256i half = _mm256_xor_si256(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    return _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
#endif
}

/* Step 4, all lanes at once: the low word of lo is folded into mid, then the low word of mid into hi. */
INLINE __m128i reduce(vec lo, vec mid, vec hi)
{
    const vec p = V_SPREAD(poly());
    mid = V_XOR(mid, V_XOR(V_SWAP(lo), V_MUL(lo, p, 0x10)));
    hi = V_XOR(hi, V_XOR(V_SWAP(mid), V_MUL(mid, p, 0x10)));
    return fold_lanes(hi);
}

INLINE __m128i multiply(__m128i a, __m128i b)
{
    __m128i lo = _mm_clmulepi64_si128(a, b, 0x00);
    __m128i hi = _mm_clmulepi64_si128(a, b, 0x11);
    __m128i mid = _mm_xor_si128(_mm_clmulepi64_si128(a, b, 0x01), _mm_clmulepi64_si128(a, b, 0x10));
    mid = _mm_xor_si128(mid, _mm_xor_si128(_mm_shuffle_epi32(lo, 0x4e), _mm_clmulepi64_si128(lo, poly(), 0x10)));
    return _mm_xor_si128(hi, _mm_xor_si128(_mm_shuffle_epi32(mid, 0x4e), _mm_clmulepi64_si128(mid, poly(), 0x10)));
}

/* H·x in the field of POLYVAL. */
INLINE __m128i times_x(__m128i a)
{
    __m128i carry = _mm_srli_epi64(a, 63);
    __m128i top = _mm_shuffle_epi32(carry, 0xaa);           /* the bit that leaves, in every 32-bit word */
    __m128i fold = _mm_sub_epi32(_mm_setzero_si128(), top); /* ... as a mask */
    __m128i shifted = _mm_or_si128(_mm_slli_epi64(a, 1), _mm_slli_si128(carry, 8));
    return _mm_xor_si128(shifted, _mm_and_si128(fold, poly()));
}

INLINE const struct x86_key *x86_key(const struct sl_gcm_key *key)
{
    return (const struct x86_key *)(const void *)key;
}

/*
 * Steps 2 and 3 for a batch, cut into single multiplications so that they can be dealt out between the rounds of AES. A pair is two
 * vectors of data; HASH_PAIR multiplications each. The pair that Y enters comes last.
 */
enum { HASH_PAIR = 3, HASH_STEPS = VECTORS / 2 * HASH_PAIR };

struct hash_batch {
    vec lo, mid, hi; /* the sums */
    vec x0, x1;
    vec chained; /* Y in the first lane */
    vec swap;
};

INLINE void hash_start(struct hash_batch *h, __m128i hash)
{
    h->lo = h->mid = h->hi = V_ZERO();
    h->chained = V_FIRST(hash);
    h->swap = V_SPREAD(reversed_mask());
}

/* A multiplication that reads its operand from memory is slower: both use the same register. */
INLINE vec load_once(const uint8_t *p)
{
    vec v = V_LOAD(p);
    __asm__("" : "+v"(v));
    return v;
}

INLINE void hash_step(const struct x86_key *k, struct hash_batch *h, const uint8_t *hashed, int step)
{
    const int pair = (step / HASH_PAIR + 1) % (VECTORS / 2), first = 2 * pair, second = first + 1;
    vec power;
    switch (step % HASH_PAIR) {
    case 0:
        power = load_once(k->power[1 + first * LANES]);
        h->x0 = V_SHUFFLE(V_LOAD(hashed + first * VECTOR), h->swap);
        if (pair == 0)
            h->x0 = V_XOR(h->x0, h->chained);
        h->lo = V_XOR(h->lo, V_MUL(h->x0, power, 0x00));
        h->hi = V_XOR(h->hi, V_MUL(h->x0, power, 0x11));
        break;
    case 1:
        power = load_once(k->power[1 + second * LANES]);
        h->x1 = V_SHUFFLE(V_LOAD(hashed + second * VECTOR), h->swap);
        h->lo = V_XOR(h->lo, V_MUL(h->x1, power, 0x00));
        h->hi = V_XOR(h->hi, V_MUL(h->x1, power, 0x11));
        break;
    default:
        power = load_once(k->halves[first * LANES]);
        h->x0 = V_XOR(V_LOW(h->x0, h->x1), V_HIGH(h->x0, h->x1));
        h->mid = V_XOR(h->mid, V_MUL(h->x0, power, 0x00));
        h->mid = V_XOR(h->mid, V_MUL(h->x0, power, 0x11));
        break;
    }
}

INLINE __m128i hash_end(const struct hash_batch *h)
{
    return reduce(h->lo, V_XOR(h->mid, V_XOR(h->lo, h->hi)), h->hi);
}

/* Hashes the BATCH blocks at hashed. */
INLINE __m128i hash_batch(const struct x86_key *k, __m128i hash, const uint8_t *hashed)
{
    struct hash_batch h;
    hash_start(&h, hash);
#pragma GCC unroll 12
    for (int step = 0; step < HASH_STEPS; step++)
        hash_step(k, &h, hashed, step);
    return hash_end(&h);
}

/* ---- counter mode ---- */

INLINE vec round_key(const struct x86_key *k, int round)
{
    return V_SPREAD(_mm_load_si128((const __m128i *)(const void *)k->round_key[round]));
}

/* 0, 1, 2, 3 in the counter word of the lanes; and the step from one vector to the next. */
INLINE vec lane_numbers(void)
{
#if LANES == 1
    return _mm_setzero_si128();
#elif LANES == 2
    return _mm256_set_epi32(0, 0, 0, 1, 0, 0, 0, 0);
#else
    return _mm512_set_epi32(0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0);
#endif
}

INLINE __m128i block_number(int n)
{
    return _mm_set_epi32(0, 0, 0, n);
}

/*
 * Counters without counting. When a message is taken in whole batches from its first block on, the counters of a batch are 2 +
 * n·BATCH and following: in their low bits they are the same in every batch. So the first round is one XOR of a table, which holds
 * IV, low bits and first round key, with the high bits (of two kinds: in the last blocks of a batch the low bits have wrapped).
 */
struct counters {
    __m128i next; /* in reversed bytes */
    vec table[VECTORS];
    vec high, high_wrapped; /* in reversed bytes */
};

enum { FIRST = 2, LOW_BITS = BATCH - 1 };
#define WRAPPED(i) (FIRST + (i)*LANES + LANES > BATCH)

INLINE bool counters_aligned(__m128i next)
{
    return ((unsigned)_mm_cvtsi128_si32(next) & LOW_BITS) == FIRST;
}

INLINE void counters_start(const struct x86_key *k, struct counters *c, __m128i next)
{
    const vec swap = V_SPREAD(reversed_mask()), key = round_key(k, 0), low = V_SPREAD(block_number(LOW_BITS));
    const vec high = V_SPREAD(block_number(~LOW_BITS)), iv = V_SPREAD(_mm_set_epi32(-1, -1, -1, 0));
    vec count = V_ADD(V_SPREAD(next), lane_numbers());
    c->next = next;
    c->high = V_AND(V_SPREAD(next), high);
    for (int i = 0; i < VECTORS; i++) {
        c->table[i] = V_XOR(V_SHUFFLE(V_AND(count, V_XOR(low, iv)), swap), key);
        c->high_wrapped = V_AND(count, high); /* the last one remains */
        count = V_ADD(count, V_SPREAD(block_number(LANES)));
    }
}

#define DECLARE(i) vec b##i;
#define LOOK_UP(i) b##i = V_XOR(WRAPPED(i) ? high_wrapped : high, c->table[i]);
#define COUNT(i)                                                                                                                   \
    b##i = V_XOR(V_SHUFFLE(count, swap), key);                                                                                     \
    count = V_ADD(count, step);
#define ROUND_ONE(i)  b##i = V_AES(b##i, key);
#define FINISH_ONE(i) b##i = V_AES_LAST(b##i, V_XOR(key, V_LOAD(again + (i)*VECTOR)));
#define STORE_ONE(i)  V_STORE(out + (i)*VECTOR, b##i);

/* A round of AES for the batch, with its share of the multiplications: AES-128 has 9 rounds for them, AES-256 13. */
#define HASH_SHARE(n)                                                                                                              \
    if (hashing && (n) < HASH_STEPS)                                                                                               \
    hash_step(k, &h, hashed, (n))
#if LANES == 4
#define ROUND(n)                                                                                                                   \
    do {                                                                                                                           \
        const vec key = round_key(k, (n));                                                                                         \
        ROUND_ONE(0) ROUND_ONE(1) HASH_SHARE(2 * (n)-2);                                                                           \
        ROUND_ONE(2) ROUND_ONE(3) HASH_SHARE(2 * (n)-1);                                                                           \
    } while (0)
#else
#define ROUND(n)                                                                                                                   \
    do {                                                                                                                           \
        const vec key = round_key(k, (n));                                                                                         \
        ROUND_ONE(0) ROUND_ONE(1) ROUND_ONE(2) ROUND_ONE(3) HASH_SHARE(2 * (n)-2);                                                 \
        ROUND_ONE(4) ROUND_ONE(5) ROUND_ONE(6) ROUND_ONE(7) HASH_SHARE(2 * (n)-1);                                                 \
    } while (0)
#endif

/* Encrypts or decrypts BATCH blocks from in to out and, if hashing, hashes the BATCH blocks at hashed, step 5. The flags are
 * constants. */
INLINE void crypt_batch(const struct x86_key *k, int rounds, bool aligned, bool hashing, struct counters *c, __m128i *hash,
                        const uint8_t *in, uint8_t *out, const uint8_t *hashed)
{
    const vec swap = V_SPREAD(reversed_mask());
    const vec step = V_SPREAD(block_number(LANES)), batch = V_SPREAD(block_number(BATCH));
    struct hash_batch h;
    EACH(DECLARE)
    const uint8_t *again = in;
    __asm__("" : "+r"(again)); /* to be loaded again from the cache, not kept in registers and spilled */
    hash_start(&h, *hash);
    if (aligned) {
        const vec high = V_SHUFFLE(c->high, swap), high_wrapped = V_SHUFFLE(c->high_wrapped, swap);
        EACH(LOOK_UP)
        c->high = V_ADD(c->high, batch);
        c->high_wrapped = V_ADD(c->high_wrapped, batch);
    } else {
        const vec key = round_key(k, 0);
        vec count = V_ADD(V_SPREAD(c->next), lane_numbers());
        EACH(COUNT)
    }
    c->next = _mm_add_epi32(c->next, block_number(BATCH));
    ROUND(1);
    ROUND(2);
    ROUND(3);
    ROUND(4);
    ROUND(5);
    ROUND(6);
    ROUND(7);
    ROUND(8);
    if (hashing)
        *hash = hash_end(&h);
    ROUND(9);
    if (rounds == 14) {
        ROUND(10);
        ROUND(11);
        ROUND(12);
        ROUND(13);
    }
    {
        const vec key = round_key(k, rounds);
        EACH(FINISH_ONE)
    }
    EACH(STORE_ONE)
}

/*
 * All whole batches of len bytes; gives how many bytes that was. When encrypting, the last batch is not hashed yet: that is left to
 * the caller, who has something to do meanwhile.
 */
INLINE size_t crypt_batches(const struct x86_key *k, int rounds, bool aligned, __m128i *counter, __m128i *hash, const uint8_t *in,
                            uint8_t *out, size_t len, bool encrypt)
{
    struct counters c;
    size_t at = 0;
    if (len < BATCH_BYTES)
        return 0;
    if (aligned)
        counters_start(k, &c, *counter);
    else
        c.next = *counter;
    if (encrypt) {
        crypt_batch(k, rounds, aligned, false, &c, hash, in, out, NULL);
        at = BATCH_BYTES;
    }
    for (; len - at >= BATCH_BYTES; at += BATCH_BYTES)
        crypt_batch(k, rounds, aligned, true, &c, hash, in + at, out + at, encrypt ? out + at - BATCH_BYTES : in + at);
    *counter = c.next;
    return at;
}

/* The keystream of 1, 2, 4 or VECTORS vectors from *counter on. */
INLINE void keystream(const struct x86_key *k, int rounds, __m128i counter, vec *b, size_t vectors)
{
    const vec swap = V_SPREAD(reversed_mask());
    const vec step = V_SPREAD(block_number(LANES));
    vec count = V_ADD(V_SPREAD(counter), lane_numbers());
    vec key = round_key(k, 0);
#pragma GCC unroll 8
    for (size_t i = 0; i < vectors; i++) {
        b[i] = V_XOR(V_SHUFFLE(count, swap), key);
        count = V_ADD(count, step);
    }
#pragma GCC unroll 14
    for (int r = 1; r < rounds; r++) {
        key = round_key(k, r);
#pragma GCC unroll 8
        for (size_t i = 0; i < vectors; i++)
            b[i] = V_AES(b[i], key);
    }
    key = round_key(k, rounds);
#pragma GCC unroll 8
    for (size_t i = 0; i < vectors; i++)
        b[i] = V_AES_LAST(b[i], key);
}

INLINE __m128i encrypt_block(const struct x86_key *k, int rounds, __m128i b)
{
    const __m128i *key = (const __m128i *)(const void *)k->round_key;
    b = _mm_xor_si128(b, key[0]);
    for (int r = 1; r < rounds; r++)
        b = _mm_aesenc_si128(b, key[r]);
    return _mm_aesenclast_si128(b, key[rounds]);
}

/* n < BLOCK bytes, in registers: no store that a wider load would have to wait for. Reads nothing outside them. */
INLINE uint64_t load_word(const uint8_t *p, size_t n)
{
    uint64_t wide = 0;
    uint32_t low, high;
    if (n >= 8) {
        memcpy(&wide, p, 8);
    } else if (n >= 4) {
        memcpy(&low, p, 4);
        memcpy(&high, p + n - 4, 4);
        wide = low | (uint64_t)high << 8 * (n - 4);
    } else if (n > 0) {
        wide = p[0] | (uint64_t)p[n / 2] << 8 * (n / 2) | (uint64_t)p[n - 1] << 8 * (n - 1);
    }
    return wide;
}

INLINE __m128i load_part(const uint8_t *p, size_t n)
{
    const uint64_t low = load_word(p, n), high = n > 8 ? load_word(p + 8, n - 8) : 0;
    return _mm_set_epi64x((long long)high, (long long)low);
}

INLINE void store_word(uint8_t *p, uint64_t word, size_t n)
{
    const uint32_t half = (uint32_t)word;
    if (n >= 8) {
        memcpy(p, &word, 8);
        return;
    }
    if (n >= 4) {
        memcpy(p, &half, 4);
        p += 4, n -= 4, word >>= 32;
    }
    for (; n > 0; p++, n--, word >>= 8)
        *p = (uint8_t)word;
}

INLINE void store_part(uint8_t *p, __m128i x, size_t n)
{
    store_word(p, (uint64_t)_mm_cvtsi128_si64(x), n);
    if (n > 8)
        store_word(p + 8, (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(x, x)), n - 8);
}

/* The first n < BLOCK bytes of x, then zeros. */
INLINE __m128i keep_part(__m128i x, size_t n)
{
    const __m128i index = _mm_set_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    return _mm_and_si128(x, _mm_cmpgt_epi8(_mm_set1_epi8((char)n), index));
}

/*
 * Step 6. Encrypts or decrypts the last len bytes, fewer than a batch, and hashes them, and then the length block if there is one
 * (NULL: more text is to come, and len is a multiple of a block). Gives Y.
 */
INLINE __m128i crypt_tail(const struct x86_key *k, int rounds, __m128i counter, __m128i hash, const uint8_t *in, uint8_t *out,
                          size_t len, bool encrypt, const __m128i *lengths)
{
    const vec swap = V_SPREAD(reversed_mask());
    const size_t vectors = (len + VECTOR - 1) / VECTOR, rest = len % BLOCK;
    const uint8_t *power = k->power[BATCH + 1 - (len / BLOCK + (rest > 0) + (lengths != NULL))], *key;
    vec b[VECTORS], lo = V_ZERO(), mid = V_ZERO(), hi = V_ZERO(), chained = V_FIRST(hash);
    __m128i low = _mm_setzero_si128(), middle = low, high = low;
    if (vectors > 4)
        keystream(k, rounds, counter, b, VECTORS);
    else if (vectors > 2)
        keystream(k, rounds, counter, b, 4);
    else if (vectors > 1)
        keystream(k, rounds, counter, b, 2);
    else if (vectors > 0)
        keystream(k, rounds, counter, b, 1);

    size_t i = 0;
    for (; (i + 1) * VECTOR <= len; i++) {
        const vec x = V_LOAD(in + i * VECTOR), y = V_XOR(x, b[i]), h = V_LOAD(power + i * VECTOR);
        const vec c = V_XOR(V_SHUFFLE(encrypt ? y : x, swap), chained);
        V_STORE(out + i * VECTOR, y);
        lo = V_XOR(lo, V_MUL(c, h, 0x00));
        hi = V_XOR(hi, V_MUL(c, h, 0x11));
        mid = V_XOR(mid, V_XOR(V_MUL(c, h, 0x01), V_MUL(c, h, 0x10)));
        chained = V_ZERO();
    }
    if (i > 0)
        hash = _mm_setzero_si128();
    key = (const uint8_t *)b;
#define HASH_BLOCK(c)                                                                                                              \
    do {                                                                                                                           \
        const __m128i c0 = _mm_xor_si128(reversed(c), hash), h0 = load_block(power + at);                                          \
        low = _mm_xor_si128(low, _mm_clmulepi64_si128(c0, h0, 0x00));                                                              \
        high = _mm_xor_si128(high, _mm_clmulepi64_si128(c0, h0, 0x11));                                                            \
        middle = _mm_xor_si128(middle, _mm_xor_si128(_mm_clmulepi64_si128(c0, h0, 0x01), _mm_clmulepi64_si128(c0, h0, 0x10)));     \
        hash = _mm_setzero_si128();                                                                                                \
        at += BLOCK;                                                                                                               \
    } while (0)
    size_t at = i * VECTOR;
    while (at + BLOCK <= len) {
        const __m128i x = load_block(in + at), y = _mm_xor_si128(x, load_block(key + at));
        store_block(out + at, y);
        HASH_BLOCK(encrypt ? y : x);
    }
    if (rest > 0) {
        const __m128i x = load_part(in + at, rest), y = keep_part(_mm_xor_si128(x, load_block(key + at)), rest);
        store_part(out + at, y, rest);
        HASH_BLOCK(encrypt ? y : x);
    }
    if (lengths != NULL)
        HASH_BLOCK(*lengths);
#undef HASH_BLOCK
    /* The keystream is not to stay behind on the stack. */
    for (i = 0; i < VECTORS && i < vectors; i++)
        V_STORE(&b[i], V_ZERO());
    __asm__ volatile("" : : "r"(b) : "memory");
    return reduce(V_XOR(lo, V_FIRST(low)), V_XOR(mid, V_FIRST(middle)), V_XOR(hi, V_FIRST(high)));
}

/* ---- whole messages ---- */

INLINE __m128i length_block(uint64_t aad_len, uint64_t text_len)
{
    return reversed(_mm_set_epi64x((long long)(aad_len * 8), (long long)(text_len * 8)));
}

/* Y after the additional data, at most one block. */
INLINE __m128i hash_aad(const struct x86_key *k, const uint8_t *aad, size_t len)
{
    const __m128i block = len == BLOCK ? load_block(aad) : load_part(aad, len);
    return len == 0 ? block : multiply(reversed(block), load_block(k->power[BATCH]));
}

/* J0 = IV || 1, in reversed bytes. */
INLINE __m128i first_counter(const uint8_t *iv)
{
    uint64_t low;
    uint32_t high;
    memcpy(&low, iv, 8);
    memcpy(&high, iv + 8, 4);
    return reversed(_mm_set_epi64x((long long)((uint64_t)1 << 56 | high), (long long)low));
}

/* The one-shot transform; gives the tag. */
INLINE __m128i crypt_message(const struct x86_key *k, int rounds, const uint8_t *iv, const uint8_t *aad, size_t aad_len,
                             const uint8_t *in, uint8_t *out, size_t len, bool encrypt)
{
    __m128i counter = first_counter(iv);
    const __m128i mask = encrypt_block(k, rounds, reversed(counter));
    const __m128i lengths = length_block(aad_len, len);
    __m128i hash = hash_aad(k, aad, aad_len);
    counter = _mm_add_epi32(counter, block_number(1));

    size_t done = len >= 4 * BATCH_BYTES ? crypt_batches(k, rounds, true, &counter, &hash, in, out, len, encrypt)
                                         : crypt_batches(k, rounds, false, &counter, &hash, in, out, len, encrypt);
    in += done, out += done, len -= done;
    if (encrypt && done > 0)
        hash = hash_batch(k, hash, out - BATCH_BYTES);
    hash = crypt_tail(k, rounds, counter, hash, in, out, len, encrypt, &lengths);
    return _mm_xor_si128(reversed(hash), mask);
}

static sl_err x86_seal(struct sl_gcm_key *key, const uint8_t *iv, const uint8_t *aad, size_t aad_len, const uint8_t *in,
                       uint8_t *out, size_t len, uint8_t *tag)
{
    const struct x86_key *k = x86_key(key);
    if (key->rounds == 10)
        store_block(tag, crypt_message(k, 10, iv, aad, aad_len, in, out, len, true));
    else
        store_block(tag, crypt_message(k, 14, iv, aad, aad_len, in, out, len, true));
    return SL_OK;
}

static sl_err compare_tags(__m128i a, __m128i b)
{
    return _mm_movemask_epi8(_mm_cmpeq_epi8(a, b)) == 0xffff ? SL_OK : SL_ERR_AUTH;
}

static sl_err x86_open(struct sl_gcm_key *key, const uint8_t *iv, const uint8_t *aad, size_t aad_len, const uint8_t *in,
                       uint8_t *out, size_t len, const uint8_t *tag)
{
    const struct x86_key *k = x86_key(key);
    const __m128i expected = load_block(tag); /* before out is written: the tag may lie behind the text */
    __m128i computed = key->rounds == 10 ? crypt_message(k, 10, iv, aad, aad_len, in, out, len, false)
                                         : crypt_message(k, 14, iv, aad, aad_len, in, out, len, false);
    return compare_tags(computed, expected);
}

/* ---- messages in pieces ---- */

INLINE struct x86_stream *x86_stream(struct sl_gcm_stream *s)
{
    return (struct x86_stream *)(void *)s->opaque;
}

static sl_err x86_begin(struct sl_gcm_key *key, struct sl_gcm_stream *stream, const uint8_t *iv, const uint8_t *aad, size_t aad_len)
{
    const struct x86_key *k = x86_key(key);
    struct x86_stream *s = x86_stream(stream);
    __m128i counter = first_counter(iv);
    s->mask = encrypt_block(k, (int)key->rounds, reversed(counter));
    s->hash = hash_aad(k, aad, aad_len);
    s->counter = _mm_add_epi32(counter, block_number(1));
    s->key = s->partial = _mm_setzero_si128();
    s->aad_len = aad_len;
    s->text_len = 0;
    return SL_OK;
}

/* x moved up by n bytes, zeros below; and down. n < BLOCK. */
INLINE __m128i move_up(__m128i x, size_t n)
{
    const __m128i index = _mm_set_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    return _mm_shuffle_epi8(x, _mm_sub_epi8(index, _mm_set1_epi8((char)n))); /* a negative index gives zero */
}

INLINE __m128i move_down(__m128i x, size_t n)
{
    const __m128i index = _mm_set_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    return _mm_shuffle_epi8(x, _mm_add_epi8(index, _mm_set1_epi8((char)(n | 0x70)))); /* beyond the end the sign bit is set */
}

/* Bytes of the block that is begun; gives how many of len were taken. */
INLINE size_t crypt_partial(const struct x86_key *k, struct x86_stream *s, const uint8_t *in, uint8_t *out, size_t len,
                            bool encrypt)
{
    const size_t at = (size_t)(s->text_len % BLOCK), n = len < BLOCK - at ? len : BLOCK - at;
    const __m128i x = load_part(in, n), y = keep_part(_mm_xor_si128(x, move_down(s->key, at)), n);
    store_part(out, y, n);
    s->partial = _mm_or_si128(s->partial, move_up(encrypt ? y : x, at));
    s->text_len += n;
    if (at + n == BLOCK) {
        s->hash = multiply(_mm_xor_si128(s->hash, reversed(s->partial)), load_block(k->power[BATCH]));
        s->partial = _mm_setzero_si128();
    }
    return n;
}

INLINE void crypt_piece(const struct x86_key *k, int rounds, struct x86_stream *s, const uint8_t *in, uint8_t *out, size_t len,
                        bool encrypt)
{
    if (s->text_len % BLOCK != 0 && len > 0) {
        size_t n = crypt_partial(k, s, in, out, len, encrypt);
        in += n, out += n, len -= n;
    }

    __m128i counter = s->counter, hash = s->hash;
    s->text_len += len - len % BLOCK;
    size_t done = counters_aligned(counter) ? crypt_batches(k, rounds, true, &counter, &hash, in, out, len, encrypt)
                                            : crypt_batches(k, rounds, false, &counter, &hash, in, out, len, encrypt);
    in += done, out += done, len -= done;
    if (encrypt && done > 0)
        hash = hash_batch(k, hash, out - BATCH_BYTES);

    size_t blocks = len / BLOCK;
    if (blocks > 0) {
        hash = crypt_tail(k, rounds, counter, hash, in, out, blocks * BLOCK, encrypt, NULL);
        counter = _mm_add_epi32(counter, block_number((int)blocks));
        in += blocks * BLOCK, out += blocks * BLOCK, len -= blocks * BLOCK;
    }
    s->hash = hash;
    if (len > 0) {
        s->key = encrypt_block(k, rounds, reversed(counter));
        counter = _mm_add_epi32(counter, block_number(1));
        crypt_partial(k, s, in, out, len, encrypt);
    }
    s->counter = counter;
}

static void x86_encrypt_piece(struct sl_gcm_key *key, struct x86_stream *s, const uint8_t *in, uint8_t *out, size_t len)
{
    if (key->rounds == 10)
        crypt_piece(x86_key(key), 10, s, in, out, len, true);
    else
        crypt_piece(x86_key(key), 14, s, in, out, len, true);
}

static void x86_decrypt_piece(struct sl_gcm_key *key, struct x86_stream *s, const uint8_t *in, uint8_t *out, size_t len)
{
    if (key->rounds == 10)
        crypt_piece(x86_key(key), 10, s, in, out, len, false);
    else
        crypt_piece(x86_key(key), 14, s, in, out, len, false);
}

static sl_err x86_encrypt(struct sl_gcm_key *key, struct sl_gcm_stream *s, const uint8_t *in, uint8_t *out, size_t len)
{
    x86_encrypt_piece(key, x86_stream(s), in, out, len);
    return SL_OK;
}

static sl_err x86_decrypt(struct sl_gcm_key *key, struct sl_gcm_stream *s, const uint8_t *in, uint8_t *out, size_t len)
{
    x86_decrypt_piece(key, x86_stream(s), in, out, len);
    return SL_OK;
}

static __m128i stream_tag(const struct x86_key *k, struct x86_stream *s)
{
    const __m128i h = load_block(k->power[BATCH]);
    if (s->text_len % BLOCK != 0)
        s->hash = multiply(_mm_xor_si128(s->hash, reversed(s->partial)), h);
    __m128i hash = multiply(_mm_xor_si128(s->hash, reversed(length_block(s->aad_len, s->text_len))), h);
    return _mm_xor_si128(reversed(hash), s->mask);
}

static sl_err x86_finish(struct sl_gcm_key *key, struct sl_gcm_stream *s, uint8_t *tag)
{
    store_block(tag, stream_tag(x86_key(key), x86_stream(s)));
    return SL_OK;
}

static sl_err x86_verify(struct sl_gcm_key *key, struct sl_gcm_stream *s, const uint8_t *tag)
{
    return compare_tags(stream_tag(x86_key(key), x86_stream(s)), load_block(tag));
}

/* ---- messages by position ---- */

static sl_err x86_hash_begin(struct sl_gcm_key *key, uint8_t *hash, const uint8_t *aad, size_t aad_len)
{
    store_block(hash, hash_aad(x86_key(key), aad, aad_len));
    return SL_OK;
}

/* A stream is set up as it would be at this position. What is in the block that is begun is in the hash already: sums commute. */
static sl_err x86_crypt_at(struct sl_gcm_key *key, const uint8_t *iv, uint64_t at, uint8_t *hash, const uint8_t *in, uint8_t *out,
                           size_t len, bool encrypt)
{
    const struct x86_key *k = x86_key(key);
    struct x86_stream s;
    s.counter = _mm_add_epi32(first_counter(iv), block_number((int)(1 + at / BLOCK)));
    s.hash = hash != NULL ? load_block(hash) : _mm_setzero_si128();
    s.partial = _mm_setzero_si128();
    s.text_len = at;
    if (at % BLOCK != 0) {
        s.key = encrypt_block(k, (int)key->rounds, reversed(s.counter));
        s.counter = _mm_add_epi32(s.counter, block_number(1));
    }
    if (encrypt)
        x86_encrypt_piece(key, &s, in, out, len);
    else
        x86_decrypt_piece(key, &s, in, out, len);
    if (hash != NULL)
        store_block(hash, _mm_xor_si128(s.hash, reversed(s.partial)));
    s.key = _mm_setzero_si128();
    __asm__ volatile("" : : "r"(&s) : "memory"); /* the keystream is not to stay behind on the stack */
    return SL_OK;
}

/* h^n is made of squares; rare, and n is small. */
static sl_err x86_hash_join(struct sl_gcm_key *key, uint8_t *hash, uint64_t blocks, const uint8_t *later)
{
    __m128i y = load_block(hash), square = load_block(x86_key(key)->power[BATCH]);
    for (; blocks != 0; blocks >>= 1) {
        if ((blocks & 1) != 0)
            y = multiply(y, square);
        square = multiply(square, square);
    }
    store_block(hash, _mm_xor_si128(y, load_block(later)));
    return SL_OK;
}

static sl_err x86_hash_tag(struct sl_gcm_key *key, const uint8_t *iv, const uint8_t *hash, size_t aad_len, uint64_t text_len,
                           uint8_t *tag)
{
    struct x86_stream s;
    s.hash = load_block(hash);
    s.partial = _mm_setzero_si128();
    s.mask = encrypt_block(x86_key(key), (int)key->rounds, reversed(first_counter(iv)));
    s.aad_len = aad_len;
    s.text_len = text_len;
    store_block(tag, stream_tag(x86_key(key), &s));
    return SL_OK;
}

/* ---- keys ---- */

/* FIPS 197 section 5.2: the words of the previous key(s), each XORed with all before it, and the transformed last word. */
INLINE __m128i expand(__m128i key, __m128i word)
{
    key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
    key = _mm_xor_si128(key, _mm_slli_si128(key, 8));
    return _mm_xor_si128(key, word);
}

/* RotWord, SubWord and the round constant; or SubWord alone. */
#define ROTATED(x, constant) _mm_shuffle_epi32(_mm_aeskeygenassist_si128((x), (constant)), 0xff)
#define SUBSTITUTED(x)       _mm_shuffle_epi32(_mm_aeskeygenassist_si128((x), 0), 0xaa)

static void expand_128(__m128i *r, const uint8_t *bytes)
{
    r[0] = load_block(bytes);
#define NEXT(i, constant) r[i] = expand(r[(i)-1], ROTATED(r[(i)-1], constant))
    NEXT(1, 0x01);
    NEXT(2, 0x02);
    NEXT(3, 0x04);
    NEXT(4, 0x08);
    NEXT(5, 0x10);
    NEXT(6, 0x20);
    NEXT(7, 0x40);
    NEXT(8, 0x80);
    NEXT(9, 0x1b);
    NEXT(10, 0x36);
#undef NEXT
}

static void expand_256(__m128i *r, const uint8_t *bytes)
{
    r[0] = load_block(bytes);
    r[1] = load_block(bytes + BLOCK);
#define NEXT(i, constant)                                                                                                          \
    r[i] = expand(r[(i)-2], ROTATED(r[(i)-1], constant));                                                                          \
    if ((i) < 14)                                                                                                                  \
    r[(i) + 1] = expand(r[(i)-1], SUBSTITUTED(r[i]))
    NEXT(2, 0x01);
    NEXT(4, 0x02);
    NEXT(6, 0x04);
    NEXT(8, 0x08);
    NEXT(10, 0x10);
    NEXT(12, 0x20);
    NEXT(14, 0x40);
#undef NEXT
}

static sl_err x86_key_init(struct sl_gcm_key *key, const uint8_t *bytes, size_t len)
{
    struct x86_key *k = (struct x86_key *)(void *)key;
    __m128i *schedule = (__m128i *)(void *)k->round_key;
    if (len == 16)
        expand_128(schedule, bytes);
    else
        expand_256(schedule, bytes);

    __m128i h = times_x(reversed(encrypt_block(k, (int)key->rounds, _mm_setzero_si128())));
    __m128i power = h;
    for (int i = BATCH; i >= 0; i--) {
        store_block(k->power[i], power);
        power = multiply(power, h);
    }
    /* Step 3: lane l of the vector for vectors 2p and 2p + 1 holds the halves of lane l of both. */
    for (int pair = 0; pair < VECTORS / 2; pair++) {
        for (int lane = 0; lane < LANES; lane++) {
            const uint8_t *a = k->power[1 + 2 * pair * LANES + lane], *b = k->power[1 + (2 * pair + 1) * LANES + lane];
            uint8_t *low = k->halves[2 * pair * LANES + 2 * lane], *high = low + 8;
            for (int i = 0; i < 8; i++) {
                low[i] = (uint8_t)(a[i] ^ a[i + 8]);
                high[i] = (uint8_t)(b[i] ^ b[i + 8]);
            }
        }
    }
    return SL_OK;
}

#define X86_ENGINE(symbol, text, test)                                                                                             \
    const struct sl_gcm_engine symbol = {.name = (text),                                                                           \
                                         .key_size = sizeof(struct x86_key),                                                       \
                                         .usable = (test),                                                                         \
                                         .key_init = x86_key_init,                                                                 \
                                         .begin = x86_begin,                                                                       \
                                         .encrypt = x86_encrypt,                                                                   \
                                         .decrypt = x86_decrypt,                                                                   \
                                         .finish = x86_finish,                                                                     \
                                         .verify = x86_verify,                                                                     \
                                         .seal = x86_seal,                                                                         \
                                         .open = x86_open,                                                                         \
                                         .hash_begin = x86_hash_begin,                                                             \
                                         .crypt_at = x86_crypt_at,                                                                 \
                                         .hash_join = x86_hash_join,                                                               \
                                         .hash_tag = x86_hash_tag}
