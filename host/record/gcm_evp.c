/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The portable engine: OpenSSL's EVP. A context is kept with the key scheduled; a message only sets its IV. EVP wants to know the
 * direction when a message begins, we know it with the first byte or the tag: so begin only takes notes.
 */
#include <limits.h>
#include <string.h>

#include <openssl/evp.h>
#include <pthread.h>

#include "base/secret.h"
#include "record/gcm_engine.h"
#include "record/ghash.h"

struct evp_key {
    struct sl_gcm_key head;
    EVP_CIPHER_CTX *ctx;
    EVP_CIPHER_CTX *ctr; /* for messages by position, with H; NULL: not asked for yet */
    uint8_t key[32];
    struct sl_ghash_key ghash;
};

struct evp_stream {
    uint8_t iv[SL_GCM_IV_BYTES], aad[SL_GCM_AAD_MAX];
    uint8_t aad_len;
    bool started;
};
_Static_assert(sizeof(struct evp_stream) <= SL_GCM_STREAM_BYTES, "fits the opaque type");

static bool usable(void)
{
    return true;
}

/* Fetched once: an implicit fetch costs more than a short record. Immutable afterwards. */
static EVP_CIPHER *cipher_128, *cipher_256, *ctr_128, *ctr_256;
static pthread_once_t fetched = PTHREAD_ONCE_INIT;

static void fetch(void)
{
    cipher_128 = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
    cipher_256 = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    ctr_128 = EVP_CIPHER_fetch(NULL, "AES-128-CTR", NULL);
    ctr_256 = EVP_CIPHER_fetch(NULL, "AES-256-CTR", NULL);
}

static struct evp_key *evp_key(struct sl_gcm_key *key)
{
    return (struct evp_key *)(void *)key;
}

static struct evp_stream *evp_stream(struct sl_gcm_stream *s)
{
    return (struct evp_stream *)(void *)s->opaque;
}

static sl_err evp_key_init(struct sl_gcm_key *key, const uint8_t *bytes, size_t len)
{
    pthread_once(&fetched, fetch);
    const EVP_CIPHER *cipher = len == 16 ? cipher_128 : cipher_256;
    if (cipher == NULL)
        return SL_ERR_CRYPTO;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    if (ctx == NULL)
        return SL_ERR_NOMEM;
    if (EVP_CipherInit_ex2(ctx, cipher, bytes, NULL, 1, NULL) != 1) {
        EVP_CIPHER_CTX_free(ctx);
        return SL_ERR_CRYPTO;
    }
    evp_key(key)->ctx = ctx;
    evp_key(key)->ctr = NULL;
    memcpy(evp_key(key)->key, bytes, len);
    return SL_OK;
}

static void evp_key_clear(struct sl_gcm_key *key)
{
    EVP_CIPHER_CTX_free(evp_key(key)->ctx);
    EVP_CIPHER_CTX_free(evp_key(key)->ctr);
}

static sl_err evp_begin(struct sl_gcm_key *key, struct sl_gcm_stream *stream, const uint8_t *iv, const uint8_t *aad, size_t aad_len)
{
    (void)key;
    struct evp_stream *s = evp_stream(stream);
    memcpy(s->iv, iv, sizeof(s->iv));
    if (aad_len > 0)
        memcpy(s->aad, aad, aad_len);
    s->aad_len = (uint8_t)aad_len;
    s->started = false;
    return SL_OK;
}

static sl_err start(EVP_CIPHER_CTX *ctx, struct evp_stream *s, int encrypt)
{
    int n;
    if (s->started)
        return SL_OK;
    s->started = true;
    if (EVP_CipherInit_ex2(ctx, NULL, NULL, s->iv, encrypt, NULL) != 1)
        return SL_ERR_CRYPTO;
    if (s->aad_len > 0 && EVP_CipherUpdate(ctx, NULL, &n, s->aad, s->aad_len) != 1)
        return SL_ERR_CRYPTO;
    return SL_OK;
}

static sl_err update(struct sl_gcm_key *key, struct sl_gcm_stream *stream, const uint8_t *in, uint8_t *out, size_t len, int encrypt)
{
    EVP_CIPHER_CTX *ctx = evp_key(key)->ctx;
    sl_err err = start(ctx, evp_stream(stream), encrypt);
    while (err == SL_OK && len > 0) {
        int n, part = len > INT_MAX / 2 ? INT_MAX / 2 : (int)len;
        if (EVP_CipherUpdate(ctx, out, &n, in, part) != 1 || n != part)
            err = SL_ERR_CRYPTO;
        in += part, out += part, len -= (size_t)part;
    }
    return err;
}

static sl_err evp_encrypt(struct sl_gcm_key *key, struct sl_gcm_stream *s, const uint8_t *in, uint8_t *out, size_t len)
{
    return update(key, s, in, out, len, 1);
}

static sl_err evp_decrypt(struct sl_gcm_key *key, struct sl_gcm_stream *s, const uint8_t *in, uint8_t *out, size_t len)
{
    return update(key, s, in, out, len, 0);
}

static sl_err evp_finish(struct sl_gcm_key *key, struct sl_gcm_stream *s, uint8_t *tag)
{
    EVP_CIPHER_CTX *ctx = evp_key(key)->ctx;
    uint8_t none[SL_GCM_TAG_BYTES];
    int n;
    sl_err err = start(ctx, evp_stream(s), 1);
    if (err == SL_OK &&
        (EVP_CipherFinal_ex(ctx, none, &n) != 1 || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, SL_GCM_TAG_BYTES, tag) != 1))
        err = SL_ERR_CRYPTO;
    return err;
}

static sl_err evp_verify(struct sl_gcm_key *key, struct sl_gcm_stream *s, const uint8_t *tag)
{
    EVP_CIPHER_CTX *ctx = evp_key(key)->ctx;
    uint8_t expected[SL_GCM_TAG_BYTES], none[SL_GCM_TAG_BYTES];
    int n;
    memcpy(expected, tag, sizeof(expected));
    sl_err err = start(ctx, evp_stream(s), 0);
    if (err == SL_OK && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, SL_GCM_TAG_BYTES, expected) != 1)
        err = SL_ERR_CRYPTO;
    if (err == SL_OK && EVP_CipherFinal_ex(ctx, none, &n) != 1)
        err = SL_ERR_AUTH;
    return err;
}

static sl_err evp_seal(struct sl_gcm_key *key, const uint8_t *iv, const uint8_t *aad, size_t aad_len, const uint8_t *in,
                       uint8_t *out, size_t len, uint8_t *tag)
{
    struct sl_gcm_stream s;
    sl_err err = evp_begin(key, &s, iv, aad, aad_len);
    if (err == SL_OK && len > 0)
        err = update(key, &s, in, out, len, 1);
    return err == SL_OK ? evp_finish(key, &s, tag) : err;
}

static sl_err evp_open(struct sl_gcm_key *key, const uint8_t *iv, const uint8_t *aad, size_t aad_len, const uint8_t *in,
                       uint8_t *out, size_t len, const uint8_t *tag)
{
    struct sl_gcm_stream s;
    uint8_t expected[SL_GCM_TAG_BYTES];
    memcpy(expected, tag, sizeof(expected)); /* before out is written: the tag may lie behind the text */
    sl_err err = evp_begin(key, &s, iv, aad, aad_len);
    if (err == SL_OK && len > 0)
        err = update(key, &s, in, out, len, 0);
    return err == SL_OK ? evp_verify(key, &s, expected) : err;
}

/* ---- by position: counter mode, and a GHASH of our own ---- */

enum { BLOCK = 16 };

/* Keystream of a counter block is XORed over len bytes. */
static sl_err ctr_crypt(EVP_CIPHER_CTX *ctr, const uint8_t block[BLOCK], const uint8_t *in, uint8_t *out, size_t len)
{
    sl_err err = EVP_CipherInit_ex2(ctr, NULL, NULL, block, 1, NULL) == 1 ? SL_OK : SL_ERR_CRYPTO;
    while (err == SL_OK && len > 0) {
        int n, part = len > INT_MAX / 2 ? INT_MAX / 2 : (int)len;
        if (EVP_CipherUpdate(ctr, out, &n, in, part) != 1 || n != part)
            err = SL_ERR_CRYPTO;
        in += part, out += part, len -= (size_t)part;
    }
    return err;
}

static sl_err need_ctr(struct evp_key *k)
{
    uint8_t h[BLOCK];
    static const uint8_t zero[BLOCK];
    if (k->ctr != NULL)
        return SL_OK;
    const EVP_CIPHER *cipher = k->head.rounds == 10 ? ctr_128 : ctr_256;
    EVP_CIPHER_CTX *ctr = EVP_CIPHER_CTX_new();
    if (ctr == NULL)
        return SL_ERR_NOMEM;
    if (cipher == NULL || EVP_CipherInit_ex2(ctr, cipher, k->key, NULL, 1, NULL) != 1 ||
        ctr_crypt(ctr, zero, zero, h, BLOCK) != SL_OK) {
        EVP_CIPHER_CTX_free(ctr);
        return SL_ERR_CRYPTO;
    }
    sl_ghash_key_init(&k->ghash, h);
    sl_wipe(h, sizeof(h));
    k->ctr = ctr;
    return SL_OK;
}

static void counter_block(uint8_t block[BLOCK], const uint8_t *iv, uint32_t number)
{
    memcpy(block, iv, SL_GCM_IV_BYTES);
    for (unsigned i = 0; i < 4; i++)
        block[12 + i] = (uint8_t)(number >> (24 - 8 * i));
}

static sl_err evp_hash_begin(struct sl_gcm_key *key, uint8_t *hash, const uint8_t *aad, size_t aad_len)
{
    uint8_t block[BLOCK] = {0};
    sl_err err = need_ctr(evp_key(key));
    if (err != SL_OK)
        return err;
    memset(hash, 0, BLOCK);
    if (aad_len == 0)
        return SL_OK;
    memcpy(block, aad, aad_len);
    sl_ghash_update(&evp_key(key)->ghash, hash, 0, block, BLOCK);
    return SL_OK;
}

static sl_err evp_crypt_at(struct sl_gcm_key *key, const uint8_t *iv, uint64_t at, uint8_t *hash, const uint8_t *in, uint8_t *out,
                           size_t len, bool encrypt)
{
    struct evp_key *k = evp_key(key);
    uint8_t block[BLOCK], skipped[BLOCK] = {0};
    const size_t begun = (size_t)(at % BLOCK);
    sl_err err = need_ctr(k);
    if (err != SL_OK)
        return err;
    if (hash != NULL && !encrypt)
        sl_ghash_update(&k->ghash, hash, begun, in, len);
    counter_block(block, iv, (uint32_t)(2 + at / BLOCK));
    if (begun > 0) {
        const size_t n = len < BLOCK - begun ? len : BLOCK - begun;
        uint8_t part[BLOCK] = {0};
        memcpy(part + begun, in, n);
        err = ctr_crypt(k->ctr, block, part, skipped, BLOCK);
        memcpy(out, skipped + begun, n);
        if (hash != NULL && encrypt)
            sl_ghash_update(&k->ghash, hash, begun, out, n);
        sl_wipe(skipped, sizeof(skipped));
        sl_wipe(part, sizeof(part));
        counter_block(block, iv, (uint32_t)(3 + at / BLOCK));
        in += n, out += n, len -= n;
    }
    if (err == SL_OK && len > 0)
        err = ctr_crypt(k->ctr, block, in, out, len);
    if (hash != NULL && encrypt)
        sl_ghash_update(&k->ghash, hash, 0, out, len);
    return err;
}

static sl_err evp_hash_join(struct sl_gcm_key *key, uint8_t *hash, uint64_t blocks, const uint8_t *later)
{
    sl_err err = need_ctr(evp_key(key));
    if (err != SL_OK)
        return err;
    sl_ghash_shift(&evp_key(key)->ghash, hash, blocks);
    for (unsigned i = 0; i < BLOCK; i++)
        hash[i] ^= later[i];
    return SL_OK;
}

static sl_err evp_hash_tag(struct sl_gcm_key *key, const uint8_t *iv, const uint8_t *hash, size_t aad_len, uint64_t text_len,
                           uint8_t *tag)
{
    struct evp_key *k = evp_key(key);
    uint8_t block[BLOCK], sum[BLOCK], lengths[BLOCK];
    sl_err err = need_ctr(k);
    if (err != SL_OK)
        return err;
    memcpy(sum, hash, BLOCK);
    if (text_len % BLOCK != 0)
        sl_ghash_shift(&k->ghash, sum, 1);
    for (unsigned i = 0; i < 8; i++) {
        lengths[i] = (uint8_t)((uint64_t)aad_len * 8 >> (56 - 8 * i));
        lengths[8 + i] = (uint8_t)(text_len * 8 >> (56 - 8 * i));
    }
    sl_ghash_update(&k->ghash, sum, 0, lengths, BLOCK);
    counter_block(block, iv, 1);
    return ctr_crypt(k->ctr, block, sum, tag, BLOCK);
}

const struct sl_gcm_engine sl_gcm_evp = {.name = "evp",
                                         .key_size = sizeof(struct evp_key),
                                         .usable = usable,
                                         .key_init = evp_key_init,
                                         .key_clear = evp_key_clear,
                                         .begin = evp_begin,
                                         .encrypt = evp_encrypt,
                                         .decrypt = evp_decrypt,
                                         .finish = evp_finish,
                                         .verify = evp_verify,
                                         .seal = evp_seal,
                                         .open = evp_open,
                                         .hash_begin = evp_hash_begin,
                                         .crypt_at = evp_crypt_at,
                                         .hash_join = evp_hash_join,
                                         .hash_tag = evp_hash_tag};
