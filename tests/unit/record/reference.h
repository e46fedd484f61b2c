/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An independent TLS record layer for tests, written from RFC 5246, 5288 and 8446 upon OpenSSL's EVP alone: nothing of record/ is
 * used. One struct is one direction of one leg. Everything aborts on trouble; nothing is fast.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

/* assert, also where NDEBUG is set */
#define REF_CHECK(condition)                                                                                                       \
    do {                                                                                                                           \
        if (!(condition))                                                                                                          \
            abort();                                                                                                               \
    } while (0)

enum { REF_RECORD_MAX = 5 + 16384 + 256 + 64 };

struct ref {
    int version; /* 0x0303 or 0x0304 */
    size_t key_len, hash_len;
    uint8_t secret[48], key[32], iv[12];
    uint64_t seq;
};

static inline const char *ref_digest(const struct ref *r)
{
    return r->hash_len == 32 ? "SHA256" : "SHA384";
}

static inline void ref_derive(const char *kdf_name, OSSL_PARAM *params, uint8_t *out, size_t len)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, kdf_name, NULL);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    int ok = EVP_KDF_derive(ctx, out, len, params);
    REF_CHECK(ok == 1);
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
}

static inline void ref_expand_label(const struct ref *r, const char *label, uint8_t *out, size_t len)
{
    uint8_t info[64];
    int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    size_t label_len = strlen(label), n = 0;
    uint8_t out_copy[64];
    info[n++] = 0;
    info[n++] = (uint8_t)len;
    info[n++] = (uint8_t)(6 + label_len);
    memcpy(info + n, "tls13 ", 6);
    memcpy(info + n + 6, label, label_len);
    n += 6 + label_len;
    info[n++] = 0;
    OSSL_PARAM params[] = {OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
                           OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t)ref_digest(r), 0),
                           OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)r->secret, r->hash_len),
                           OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, n), OSSL_PARAM_construct_end()};
    ref_derive("HKDF", params, out_copy, len);
    memcpy(out, out_copy, len);
}

static inline void ref_keys_13(struct ref *r)
{
    ref_expand_label(r, "key", r->key, r->key_len);
    ref_expand_label(r, "iv", r->iv, 12);
    r->seq = 0;
}

static inline void ref_init_13(struct ref *r, size_t key_len, size_t hash_len, const uint8_t *secret)
{
    memset(r, 0, sizeof(*r));
    r->version = 0x0304;
    r->key_len = key_len;
    r->hash_len = hash_len;
    memcpy(r->secret, secret, hash_len);
    ref_keys_13(r);
}

static inline void ref_step(struct ref *r)
{
    ref_expand_label(r, "traffic upd", r->secret, r->hash_len);
    ref_keys_13(r);
}

static inline void ref_prf(size_t hash_len, const uint8_t *master, const char *label, const uint8_t *seed1, const uint8_t *seed2,
                           uint8_t *out, size_t len)
{
    uint8_t seed[128];
    size_t n = strlen(label);
    memcpy(seed, label, n);
    memcpy(seed + n, seed1, 32);
    memcpy(seed + n + 32, seed2, 32);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, hash_len == 32 ? (char[]){"SHA256"} : (char[]){"SHA384"}, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SECRET, (void *)(uintptr_t)master, 48),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, seed, n + 64), OSSL_PARAM_construct_end()};
    ref_derive("TLS1-PRF", params, out, len);
}

static inline void ref_init_12(struct ref *client, struct ref *server, size_t key_len, size_t hash_len, const uint8_t *master,
                               const uint8_t *client_random, const uint8_t *server_random)
{
    uint8_t block[72];
    ref_prf(hash_len, master, "key expansion", server_random, client_random, block, 2 * key_len + 8);
    memset(client, 0, sizeof(*client));
    client->version = 0x0303;
    client->key_len = key_len;
    client->hash_len = hash_len;
    client->seq = 1; /* Finished was number 0 */
    *server = *client;
    memcpy(client->key, block, key_len);
    memcpy(server->key, block + key_len, key_len);
    memcpy(client->iv, block + 2 * key_len, 4);
    memcpy(server->iv, block + 2 * key_len + 4, 4);
}

static inline void ref_put64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (56 - 8 * i));
}

static inline EVP_CIPHER_CTX *ref_ctx(const struct ref *r, const uint8_t *iv, int encrypt)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int ok = EVP_CipherInit_ex(ctx, r->key_len == 16 ? EVP_aes_128_gcm() : EVP_aes_256_gcm(), NULL, r->key, iv, encrypt);
    REF_CHECK(ok == 1);
    return ctx;
}

/* One record; gives its length. In TLS 1.2 explicit_nonce may be given to test that it is honoured (NULL: the sequence number). */
static inline size_t ref_seal_nonce(struct ref *r, uint8_t type, const uint8_t *content, size_t len, size_t padding,
                                    const uint8_t *explicit_nonce, uint8_t *out)
{
    uint8_t iv[12], aad[13], text[16384 + 512];
    size_t aad_len = 5, text_len = len, at = 5;
    int n;
    memcpy(iv, r->iv, 12);
    if (len > 0)
        memcpy(text, content, len);
    if (r->version == 0x0304) {
        text[len] = type;
        memset(text + len + 1, 0, padding);
        text_len += 1 + padding;
        out[0] = 23;
        for (int i = 0; i < 8; i++)
            iv[4 + i] ^= (uint8_t)(r->seq >> (56 - 8 * i));
    } else {
        out[0] = type;
        if (explicit_nonce != NULL)
            memcpy(out + 5, explicit_nonce, 8);
        else
            ref_put64(out + 5, r->seq);
        memcpy(iv + 4, out + 5, 8);
        at = 13;
    }
    size_t fragment = at - 5 + text_len + 16;
    out[1] = out[2] = 3;
    out[3] = (uint8_t)(fragment >> 8);
    out[4] = (uint8_t)fragment;
    if (r->version == 0x0304) {
        memcpy(aad, out, 5);
    } else {
        ref_put64(aad, r->seq);
        memcpy(aad + 8, out, 3);
        aad[11] = (uint8_t)(text_len >> 8);
        aad[12] = (uint8_t)text_len;
        aad_len = 13;
    }
    EVP_CIPHER_CTX *ctx = ref_ctx(r, iv, 1);
    int ok = EVP_EncryptUpdate(ctx, NULL, &n, aad, (int)aad_len);
    if (text_len > 0)
        ok &= EVP_EncryptUpdate(ctx, out + at, &n, text, (int)text_len);
    ok &= EVP_EncryptFinal_ex(ctx, out + at + text_len, &n);
    ok &= EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, 16, out + at + text_len);
    REF_CHECK(ok == 1);
    EVP_CIPHER_CTX_free(ctx);
    r->seq++;
    return 5 + fragment;
}

static inline size_t ref_seal(struct ref *r, uint8_t type, const uint8_t *content, size_t len, size_t padding, uint8_t *out)
{
    return ref_seal_nonce(r, type, content, len, padding, NULL, out);
}

struct ref_opened {
    bool ok; /* the tag was right */
    uint8_t outer_type, type;
    size_t total, len, padding;
    uint8_t nonce[8]; /* TLS 1.2 */
    uint8_t content[16384 + 512];
};

/* Opens the record at p. Asserts that avail bytes hold it whole. */
static inline void ref_open(struct ref *r, const uint8_t *p, size_t avail, struct ref_opened *o)
{
    uint8_t iv[12], aad[13], tag[16];
    size_t aad_len = 5, at = 5;
    int n;
    REF_CHECK(avail >= 5);
    size_t fragment = (size_t)p[3] << 8 | p[4];
    REF_CHECK(avail >= 5 + fragment && fragment >= 16 && p[1] == 3 && p[2] == 3);
    o->total = 5 + fragment;
    o->outer_type = o->type = p[0];
    memcpy(iv, r->iv, 12);
    if (r->version == 0x0304) {
        for (int i = 0; i < 8; i++)
            iv[4 + i] ^= (uint8_t)(r->seq >> (56 - 8 * i));
        memcpy(aad, p, 5);
    } else {
        at = 13;
        memcpy(iv + 4, p + 5, 8);
        memcpy(o->nonce, p + 5, 8);
    }
    size_t text_len = 5 + fragment - at - 16;
    if (r->version == 0x0303) {
        ref_put64(aad, r->seq);
        memcpy(aad + 8, p, 3);
        aad[11] = (uint8_t)(text_len >> 8);
        aad[12] = (uint8_t)text_len;
        aad_len = 13;
    }
    memcpy(tag, p + at + text_len, 16);
    EVP_CIPHER_CTX *ctx = ref_ctx(r, iv, 0);
    int ok = EVP_DecryptUpdate(ctx, NULL, &n, aad, (int)aad_len);
    if (text_len > 0)
        ok &= EVP_DecryptUpdate(ctx, o->content, &n, p + at, (int)text_len);
    ok &= EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, 16, tag);
    REF_CHECK(ok == 1);
    o->ok = EVP_DecryptFinal_ex(ctx, o->content + text_len, &n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    o->len = text_len;
    o->padding = 0;
    if (o->ok && r->version == 0x0304) {
        size_t end = text_len;
        while (end > 0 && o->content[end - 1] == 0)
            end--;
        o->padding = text_len - end;
        o->type = end > 0 ? o->content[end - 1] : 0;
        o->len = end > 0 ? end - 1 : 0;
    }
    r->seq++;
}

/* A generator for tests: the same numbers on every run and machine (xorshift64*). */
static inline uint64_t ref_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545F4914F6CDD1DULL;
}

static inline size_t ref_below(uint64_t *state, size_t n)
{
    return (size_t)(ref_random(state) >> 11) % n;
}

static inline void ref_fill(uint64_t *state, uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(ref_random(state) >> 40);
}
