/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records and their cryptography, a whole record at a time: the keystreams come from AES in counter mode (NIST SP 800-38D: text is
 * encrypted with counters from 2 on), the tags from sealing the complete plaintext again with AES-GCM, once under each key. The
 * ciphertexts that fall out beside the tags must be those that came and left: two ways to the same bytes.
 */
#include "record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void model_check(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "model: %s\n", what);
        abort();
    }
}

void *model_alloc(size_t bytes)
{
    void *p = calloc(1, bytes > 0 ? bytes : 1);
    model_check(p != NULL, "no memory");
    return p;
}

void model_put64(uint8_t *p, uint64_t x)
{
    for (unsigned i = 0; i < 8; i++)
        p[i] = (uint8_t)(x >> (56 - 8 * i));
}

uint64_t model_get64(const uint8_t *p)
{
    uint64_t x = 0;
    for (unsigned i = 0; i < 8; i++)
        x = x << 8 | p[i];
    return x;
}

void model_ciphers_get(struct model_ciphers *c)
{
    static const char *const names[2][3] = {{"AES-128-ECB", "AES-128-CTR", "AES-128-GCM"},
                                            {"AES-256-ECB", "AES-256-CTR", "AES-256-GCM"}};
    for (unsigned i = 0; i < 2; i++) {
        c->ecb[i] = EVP_CIPHER_fetch(NULL, names[i][0], NULL);
        c->ctr[i] = EVP_CIPHER_fetch(NULL, names[i][1], NULL);
        c->gcm[i] = EVP_CIPHER_fetch(NULL, names[i][2], NULL);
        model_check(c->ecb[i] != NULL && c->ctr[i] != NULL && c->gcm[i] != NULL, "no AES in OpenSSL");
    }
}

void model_ciphers_free(struct model_ciphers *c)
{
    for (unsigned i = 0; i < 2; i++) {
        EVP_CIPHER_free(c->ecb[i]);
        EVP_CIPHER_free(c->ctr[i]);
        EVP_CIPHER_free(c->gcm[i]);
    }
}

static EVP_CIPHER_CTX *context(const EVP_CIPHER *cipher, const uint8_t *key)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    model_check(ctx != NULL && EVP_EncryptInit_ex2(ctx, cipher, key, NULL, NULL) == 1, "cipher context");
    EVP_CIPHER_CTX_set_padding(ctx, 0);
    return ctx;
}

static void key_init(struct model_key *k, const struct model_ciphers *c, bool is_long, const uint8_t key[32], const uint8_t iv[12])
{
    k->ecb = context(c->ecb[is_long], key);
    k->ctr = context(c->ctr[is_long], key);
    k->gcm = context(c->gcm[is_long], key);
    memcpy(k->iv, iv, sizeof k->iv);
}

static void key_free(struct model_key *k)
{
    EVP_CIPHER_CTX_free(k->ecb);
    EVP_CIPHER_CTX_free(k->ctr);
    EVP_CIPHER_CTX_free(k->gcm);
}

struct model_keys *model_keys_new(const struct model_ciphers *c, const struct key_set *set)
{
    struct model_keys *k = model_alloc(sizeof *k);
    key_init(&k->open, c, (set->long_keys & 1) != 0, set->open_key, set->open_iv);
    key_init(&k->seal, c, (set->long_keys & 2) != 0, set->seal_key, set->seal_iv);
    return k;
}

void model_keys_free(struct model_keys *k)
{
    if (k != NULL) {
        key_free(&k->open);
        key_free(&k->seal);
        free(k);
    }
}

void model_nonce(const uint8_t iv[12], bool tls13, uint64_t seq, const uint8_t explicit_nonce[tls_nonce_bytes], uint8_t nonce[12])
{
    memcpy(nonce, iv, 12);
    if (tls13) {
        uint8_t number[8];
        model_put64(number, seq);
        for (unsigned i = 0; i < 8; i++)
            nonce[4 + i] ^= number[i];
    } else {
        memcpy(nonce + 4, explicit_nonce, tls_nonce_bytes);
    }
}

size_t model_aad(bool tls13, const uint8_t header[tls_header_bytes], uint64_t seq, uint16_t text_bytes, uint8_t aad[13])
{
    if (tls13) {
        memcpy(aad, header, tls_header_bytes);
        return tls_header_bytes;
    }
    model_put64(aad, seq);
    memcpy(aad + 8, header, 3);
    aad[11] = (uint8_t)(text_bytes >> 8);
    aad[12] = (uint8_t)text_bytes;
    return 13;
}

void model_gcm_seal(struct model_key *k, const uint8_t nonce[12], const uint8_t *aad, size_t aad_bytes, const uint8_t *plain,
                    size_t bytes, uint8_t *cipher, uint8_t tag[tls_tag_bytes])
{
    int n;
    uint8_t nothing[16];
    bool ok = EVP_EncryptInit_ex2(k->gcm, NULL, NULL, nonce, NULL) == 1;
    ok = ok && EVP_EncryptUpdate(k->gcm, NULL, &n, aad, (int)aad_bytes) == 1;
    if (bytes > 0)
        ok = ok && EVP_EncryptUpdate(k->gcm, cipher, &n, plain, (int)bytes) == 1;
    ok = ok && EVP_EncryptFinal_ex(k->gcm, nothing, &n) == 1;
    ok = ok && EVP_CIPHER_CTX_ctrl(k->gcm, EVP_CTRL_AEAD_GET_TAG, tls_tag_bytes, tag) == 1;
    model_check(ok, "AES-GCM");
}

bool model_gcm_open(struct model_key *k, const uint8_t nonce[12], const uint8_t *aad, size_t aad_bytes, const uint8_t *cipher,
                    size_t bytes, uint8_t *plain, const uint8_t tag[tls_tag_bytes])
{
    int n;
    uint8_t nothing[16], expected[tls_tag_bytes];
    memcpy(expected, tag, sizeof expected);
    bool ok = EVP_DecryptInit_ex2(k->gcm, NULL, NULL, nonce, NULL) == 1;
    ok = ok && EVP_CIPHER_CTX_ctrl(k->gcm, EVP_CTRL_AEAD_SET_TAG, tls_tag_bytes, expected) == 1;
    ok = ok && EVP_DecryptUpdate(k->gcm, NULL, &n, aad, (int)aad_bytes) == 1;
    if (bytes > 0)
        ok = ok && EVP_DecryptUpdate(k->gcm, plain, &n, cipher, (int)bytes) == 1;
    model_check(ok, "AES-GCM");
    return EVP_DecryptFinal_ex(k->gcm, nothing, &n) == 1;
}

static void keystream(struct model_key *k, const uint8_t nonce[12], uint8_t *out, size_t bytes)
{
    uint8_t counter[16] = {0};
    int n = 0;
    memcpy(counter, nonce, 12);
    counter[15] = 2;
    memset(out, 0, bytes);
    bool ok = EVP_EncryptInit_ex2(k->ctr, NULL, NULL, counter, NULL) == 1;
    ok = ok && (bytes == 0 || EVP_EncryptUpdate(k->ctr, out, &n, out, (int)bytes) == 1);
    model_check(ok, "AES-CTR");
}

static void encrypt_block(struct model_key *k, const uint8_t in[16], uint8_t out[16])
{
    int n;
    model_check(EVP_EncryptUpdate(k->ecb, out, &n, in, 16) == 1 && n == 16, "AES");
}

struct model_record_state *model_record_new(uint32_t start, uint64_t open_seq, uint32_t seal_seq, uint16_t epoch)
{
    struct model_record_state *r = model_alloc(sizeof *r);
    r->start = start;
    r->open_seq = open_seq;
    r->seal_seq = seal_seq;
    r->epoch = epoch;
    return r;
}

void model_record_free(struct model_record_state *r)
{
    if (r != NULL) {
        free(r->cipher);
        free(r);
    }
}

size_t model_record_text_at(bool tls13)
{
    return tls13 ? tls_header_bytes : tls_header_bytes + tls_nonce_bytes;
}

size_t model_record_bytes(const struct model_record_state *r)
{
    return tls_header_bytes + (size_t)r->fragment;
}

static void seal_nonce(const struct model_record_state *r, bool tls13, const struct model_keys *k, uint8_t nonce[12])
{
    uint8_t explicit_nonce[tls_nonce_bytes];
    model_put64(explicit_nonce, r->seal_seq);
    model_nonce(k->seal.iv, tls13, r->seal_seq, explicit_nonce, nonce);
}

void model_record_begin(struct model_record_state *r, bool tls13, const struct model_keys *keys)
{
    struct model_keys k = *keys; /* contexts are pointers: the same ones */
    uint8_t open[12], seal[12], block[16] = {0};
    r->text_bytes = (uint16_t)(model_record_bytes(r) - model_record_text_at(tls13) - tls_tag_bytes);
    r->cipher = model_alloc((size_t)3 * r->text_bytes);
    r->mask = r->cipher + r->text_bytes;
    r->plain = r->mask + r->text_bytes;
    model_nonce(k.open.iv, tls13, r->open_seq, r->nonce, open);
    seal_nonce(r, tls13, &k, seal);
    keystream(&k.open, open, r->plain, r->text_bytes);
    keystream(&k.seal, seal, r->mask, r->text_bytes);
    for (size_t i = 0; i < r->text_bytes; i++)
        r->mask[i] ^= r->plain[i];
    memcpy(block, open, 12);
    const uint32_t aside = 0x80000000u + (uint32_t)(r->open_seq % 0x80000000u);
    for (int i = 0; i < 4; i++)
        block[12 + i] = (uint8_t)(aside >> (24 - 8 * i));
    encrypt_block(&k.open, block, r->mirror_key);
}

void model_record_make_tags(struct model_record_state *r, bool tls13, const struct model_keys *keys)
{
    struct model_keys k = *keys;
    static const size_t room = tls_plaintext_max + 1;
    uint8_t nonce[12], aad[13], cipher[1 << 15];
    model_check(r->text_bytes <= room, "text");
    model_nonce(k.open.iv, tls13, r->open_seq, r->nonce, nonce);
    size_t aad_bytes = model_aad(tls13, r->header, r->open_seq, r->text_bytes, aad);
    model_gcm_seal(&k.open, nonce, aad, aad_bytes, r->plain, r->text_bytes, cipher, r->open_tag);
    model_check(memcmp(cipher, r->cipher, r->text_bytes) == 0, "the text sealed again is not what came");
    seal_nonce(r, tls13, &k, nonce);
    aad_bytes = model_aad(tls13, r->header, r->seal_seq, r->text_bytes, aad);
    model_gcm_seal(&k.seal, nonce, aad, aad_bytes, r->plain, r->text_bytes, cipher, r->seal_tag);
    for (size_t i = 0; i < r->text_bytes; i++)
        cipher[i] ^= r->mask[i];
    model_check(memcmp(cipher, r->cipher, r->text_bytes) == 0, "the text sealed is not what left");
    r->tags = true;
}
