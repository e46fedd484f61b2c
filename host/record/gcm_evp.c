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

struct evp_key {
    struct sl_gcm_key head;
    EVP_CIPHER_CTX *ctx;
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
static EVP_CIPHER *cipher_128, *cipher_256;
static pthread_once_t fetched = PTHREAD_ONCE_INIT;

static void fetch(void)
{
    cipher_128 = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
    cipher_256 = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
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
    return SL_OK;
}

static void evp_key_clear(struct sl_gcm_key *key)
{
    EVP_CIPHER_CTX_free(evp_key(key)->ctx);
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
                                         .open = evp_open};
