/* SPDX-License-Identifier: Apache-2.0 */
#include "card/service/hash_key.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>
#ifdef __x86_64__
#include <wmmintrin.h>
#endif

struct sl_card_hasher {
    EVP_CIPHER_CTX *aes128, *aes256; /* ECB; each key is set before it is used. NULL: the CPU does it */
};

/* ---- by the CPU ---- */

#ifdef __x86_64__
#define AES_CODE __attribute__((target("aes,sse2")))

static bool cpu_has_aes(void)
{
    return __builtin_cpu_supports("aes") != 0;
}

/* FIPS 197 section 5.2: the words of the previous key(s), each XORed with all before it, and the transformed last word. */
AES_CODE static inline __m128i expand(__m128i key, __m128i word)
{
    key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
    key = _mm_xor_si128(key, _mm_slli_si128(key, 8));
    return _mm_xor_si128(key, word);
}

/* RotWord, SubWord and the round constant; or SubWord alone. */
#define ROTATED(x, constant) _mm_shuffle_epi32(_mm_aeskeygenassist_si128((x), (constant)), 0xff)
#define SUBSTITUTED(x)       _mm_shuffle_epi32(_mm_aeskeygenassist_si128((x), 0), 0xaa)

/* The block is zero: the first AddRoundKey gives the key itself. */
AES_CODE static void hash_128(const uint8_t *key, uint8_t h[16])
{
    __m128i k = _mm_loadu_si128((const __m128i *)(const void *)key), x = k;
#define ROUND(constant) x = _mm_aesenc_si128(x, k = expand(k, ROTATED(k, constant)))
    ROUND(0x01);
    ROUND(0x02);
    ROUND(0x04);
    ROUND(0x08);
    ROUND(0x10);
    ROUND(0x20);
    ROUND(0x40);
    ROUND(0x80);
    ROUND(0x1b);
#undef ROUND
    _mm_storeu_si128((__m128i *)(void *)h, _mm_aesenclast_si128(x, expand(k, ROTATED(k, 0x36))));
}

AES_CODE static void hash_256(const uint8_t *key, uint8_t h[16])
{
    __m128i even = _mm_loadu_si128((const __m128i *)(const void *)key);
    __m128i odd = _mm_loadu_si128((const __m128i *)(const void *)(key + 16)), x = _mm_aesenc_si128(even, odd);
#define TWO_ROUNDS(constant)                                                                                                       \
    x = _mm_aesenc_si128(x, even = expand(even, ROTATED(odd, constant)));                                                          \
    x = _mm_aesenc_si128(x, odd = expand(odd, SUBSTITUTED(even)))
    TWO_ROUNDS(0x01);
    TWO_ROUNDS(0x02);
    TWO_ROUNDS(0x04);
    TWO_ROUNDS(0x08);
    TWO_ROUNDS(0x10);
    TWO_ROUNDS(0x20);
#undef TWO_ROUNDS
    _mm_storeu_si128((__m128i *)(void *)h, _mm_aesenclast_si128(x, expand(even, ROTATED(odd, 0x40))));
}
#else
static bool cpu_has_aes(void)
{
    return false;
}

static void hash_128(const uint8_t *key, uint8_t h[16])
{
    (void)key;
    (void)h;
}

static void hash_256(const uint8_t *key, uint8_t h[16])
{
    (void)key;
    (void)h;
}
#endif

/* ---- by OpenSSL ---- */

static sl_err make_context(const EVP_CIPHER *cipher, EVP_CIPHER_CTX **out)
{
    *out = EVP_CIPHER_CTX_new();
    return *out != NULL && EVP_EncryptInit_ex2(*out, cipher, NULL, NULL, NULL) == 1 && EVP_CIPHER_CTX_set_padding(*out, 0) == 1
               ? SL_OK
               : SL_ERR_CRYPTO;
}

static sl_err hash_openssl(EVP_CIPHER_CTX *context, const uint8_t *key, uint8_t h[16])
{
    static const uint8_t zero[16];
    int n = 0;
    const bool good = EVP_EncryptInit_ex2(context, NULL, key, NULL, NULL) == 1 &&
                      EVP_EncryptUpdate(context, h, &n, zero, sizeof zero) == 1 && n == 16;
    return good ? SL_OK : SL_ERR_CRYPTO;
}

/* ---- either ---- */

static sl_err hasher_new(bool by_cpu, struct sl_card_hasher **out)
{
    struct sl_card_hasher *hasher = calloc(1, sizeof *hasher);
    sl_err err = hasher != NULL ? SL_OK : SL_ERR_NOMEM;

    if (!err && !by_cpu)
        err = make_context(EVP_aes_128_ecb(), &hasher->aes128);
    if (!err && !by_cpu)
        err = make_context(EVP_aes_256_ecb(), &hasher->aes256);
    if (err)
        sl_card_hasher_free(hasher);
    else
        *out = hasher;
    return err;
}

sl_err sl_card_hasher_new(struct sl_card_hasher **out)
{
    return hasher_new(cpu_has_aes(), out);
}

sl_err sl_card_hasher_new_openssl(struct sl_card_hasher **out)
{
    return hasher_new(false, out);
}

void sl_card_hasher_free(struct sl_card_hasher *hasher)
{
    if (hasher == NULL)
        return;
    EVP_CIPHER_CTX_free(hasher->aes128); /* wipes the key schedule */
    EVP_CIPHER_CTX_free(hasher->aes256);
    free(hasher);
}

sl_err sl_card_hash_key(struct sl_card_hasher *hasher, const uint8_t *key, size_t key_bytes, uint8_t h[16])
{
    if (hasher->aes128 != NULL)
        return hash_openssl(key_bytes == 32 ? hasher->aes256 : hasher->aes128, key, h);
    if (key_bytes == 32)
        hash_256(key, h);
    else
        hash_128(key, h);
    return SL_OK;
}
