/* SPDX-License-Identifier: Apache-2.0 */
#include "record/keys.h"

#include <string.h>

#include <openssl/evp.h>
#include <pthread.h>

#include "base/cursor.h"
#include "base/secret.h"

/* ---- HMAC (RFC 2104) ----
 *
 * From the hash itself: OpenSSL's own HMAC objects are fetched by name at every use, which costs more than the hashing.
 */

enum { HASH_BLOCK_MAX = 128 };

/* Fetched once, immutable afterwards. */
static EVP_MD *sha256, *sha384;
static pthread_once_t fetched = PTHREAD_ONCE_INIT;

static void fetch(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    sha384 = EVP_MD_fetch(NULL, "SHA384", NULL);
}

struct hmac {
    EVP_MD_CTX *ctx;
    const EVP_MD *md;
    size_t len, block_len;
    uint8_t key[HASH_BLOCK_MAX]; /* filled up with zeros */
};

static size_t hash_len(enum sl_hash hash)
{
    return hash == SL_SHA256 ? 32 : 48;
}

static sl_err hmac_open(struct hmac *h, enum sl_hash hash, const uint8_t *key, size_t key_len)
{
    pthread_once(&fetched, fetch);
    memset(h, 0, sizeof(*h));
    h->md = hash == SL_SHA256 ? sha256 : sha384;
    h->len = hash_len(hash);
    h->block_len = hash == SL_SHA256 ? 64 : 128;
    if (key_len > h->block_len)
        return SL_ERR_INVALID;
    if (h->md == NULL)
        return SL_ERR_CRYPTO;
    h->ctx = EVP_MD_CTX_new();
    if (h->ctx == NULL)
        return SL_ERR_NOMEM;
    memcpy(h->key, key, key_len);
    return SL_OK;
}

static void hmac_close(struct hmac *h)
{
    EVP_MD_CTX_free(h->ctx);
    sl_wipe(h, sizeof(*h));
}

static sl_err begin_with_key(struct hmac *h, uint8_t pad)
{
    uint8_t block[HASH_BLOCK_MAX];
    for (size_t i = 0; i < h->block_len; i++)
        block[i] = h->key[i] ^ pad;
    bool ok = EVP_DigestInit_ex2(h->ctx, h->md, NULL) == 1 && EVP_DigestUpdate(h->ctx, block, h->block_len) == 1;
    sl_wipe(block, sizeof(block));
    return ok ? SL_OK : SL_ERR_CRYPTO;
}

static sl_err hmac_begin(struct hmac *h)
{
    return begin_with_key(h, 0x36);
}

static sl_err hmac_add(struct hmac *h, const void *bytes, size_t len)
{
    return len == 0 || EVP_DigestUpdate(h->ctx, bytes, len) == 1 ? SL_OK : SL_ERR_CRYPTO;
}

static sl_err hmac_end(struct hmac *h, uint8_t out[SL_TLS_HASH_MAX])
{
    sl_err err;
    if (EVP_DigestFinal_ex(h->ctx, out, NULL) != 1)
        return SL_ERR_CRYPTO;
    if ((err = begin_with_key(h, 0x5c)) != SL_OK || (err = hmac_add(h, out, h->len)) != SL_OK)
        return err;
    return EVP_DigestFinal_ex(h->ctx, out, NULL) == 1 ? SL_OK : SL_ERR_CRYPTO;
}

/* ---- TLS 1.3 ---- */

/* struct { uint16 length; opaque label<7..255>; opaque context<0..255>; } HkdfLabel; */
static sl_err write_hkdf_label(struct sl_writer *w, size_t out_len, const char *label, const uint8_t *context, size_t context_len)
{
    static const char prefix[] = "tls13 ";
    sl_err err;
    size_t mark;
    if ((err = sl_write_u16(w, (uint16_t)out_len)) != SL_OK || (err = sl_write_vec_begin(w, 1, &mark)) != SL_OK ||
        (err = sl_write_bytes(w, prefix, sizeof(prefix) - 1)) != SL_OK ||
        (err = sl_write_bytes(w, label, strlen(label))) != SL_OK || (err = sl_write_vec_end(w, 1, mark)) != SL_OK)
        return err;
    if ((err = sl_write_vec_begin(w, 1, &mark)) != SL_OK || (err = sl_write_bytes(w, context, context_len)) != SL_OK)
        return err;
    return sl_write_vec_end(w, 1, mark);
}

/* RFC 5869 section 2.3: T(i) = HMAC(PRK, T(i-1) | info | i), out = T(1) | T(2) | ... */
static sl_err hkdf_expand(struct hmac *h, const uint8_t *info, size_t info_len, uint8_t *out, size_t out_len)
{
    sl_err err = SL_OK;
    uint8_t t[SL_TLS_HASH_MAX], i = 0;
    for (size_t at = 0; at < out_len;) {
        if ((err = hmac_begin(h)) != SL_OK || (i > 0 && (err = hmac_add(h, t, h->len)) != SL_OK))
            goto Exit;
        i++;
        if ((err = hmac_add(h, info, info_len)) != SL_OK || (err = hmac_add(h, &i, 1)) != SL_OK || (err = hmac_end(h, t)) != SL_OK)
            goto Exit;
        size_t n = out_len - at < h->len ? out_len - at : h->len;
        memcpy(out + at, t, n);
        at += n;
    }
Exit:
    sl_wipe(t, sizeof(t));
    return err;
}

sl_err sl_hkdf_expand_label(enum sl_hash hash, const uint8_t *secret, const char *label, const uint8_t *context, size_t context_len,
                            uint8_t *out, size_t out_len)
{
    uint8_t info[2 + 256 + 256];
    struct sl_writer w = sl_writer_make(info, sizeof(info));
    struct hmac h = {0};
    sl_err err;
    if (out_len > 255 * hash_len(hash) || strlen(label) > 249 || context_len > 255)
        err = SL_ERR_INVALID;
    else if ((err = write_hkdf_label(&w, out_len, label, context, context_len)) == SL_OK &&
             (err = hmac_open(&h, hash, secret, hash_len(hash))) == SL_OK)
        err = hkdf_expand(&h, info, w.len, out, out_len);
    hmac_close(&h);
    if (err != SL_OK)
        sl_wipe(out, out_len);
    return err;
}

/* RFC 8446 section 7.3, from half->secret. */
static sl_err derive_key_and_iv(struct sl_record_half *half, enum sl_hash hash)
{
    sl_err err = sl_hkdf_expand_label(hash, half->secret, "key", NULL, 0, half->key, half->key_len);
    if (err == SL_OK)
        err = sl_hkdf_expand_label(hash, half->secret, "iv", NULL, 0, half->iv, SL_TLS_IV_BYTES);
    return err;
}

sl_err sl_record_half_tls13(struct sl_record_half *half, uint16_t suite_id, const uint8_t *secret, size_t secret_len,
                            uint64_t epoch, uint64_t seq)
{
    const struct sl_suite *suite = sl_suite_find(suite_id);
    sl_wipe(half, sizeof(*half));
    if (suite == NULL || suite->version != SL_TLS13)
        return SL_ERR_UNSUPPORTED;
    if (secret_len != suite->hash_len || epoch > SL_RECORD_EPOCH_MAX)
        return SL_ERR_INVALID;
    half->version = SL_TLS13;
    half->suite = suite_id;
    half->key_len = suite->key_len;
    half->secret_len = suite->hash_len;
    half->epoch = epoch;
    half->seq = seq;
    memcpy(half->secret, secret, secret_len);
    sl_err err = derive_key_and_iv(half, suite->hash);
    if (err != SL_OK)
        sl_wipe(half, sizeof(*half));
    return err;
}

sl_err sl_record_half_step(struct sl_record_half *half)
{
    const struct sl_suite *suite = sl_suite_find(half->suite);
    if (half->version != SL_TLS13 || suite == NULL)
        return SL_ERR_UNSUPPORTED;
    if (half->epoch >= SL_RECORD_EPOCH_MAX)
        return SL_ERR_LIMIT;
    struct sl_record_half next = *half; /* wiped below */
    next.epoch++;
    next.seq = 0;
    /* RFC 8446 section 7.2: application_traffic_secret_N+1 */
    sl_err err = sl_hkdf_expand_label(suite->hash, half->secret, "traffic upd", NULL, 0, next.secret, suite->hash_len);
    if (err == SL_OK)
        err = derive_key_and_iv(&next, suite->hash);
    if (err == SL_OK)
        *half = next;
    sl_wipe(&next, sizeof(next));
    return err;
}

/* ---- TLS 1.2 ---- */

sl_err sl_tls12_prf(enum sl_hash hash, const uint8_t *secret, size_t secret_len, const char *label, const uint8_t *seed1,
                    size_t seed1_len, const uint8_t *seed2, size_t seed2_len, uint8_t *out, size_t out_len)
{
    struct hmac h = {0};
    uint8_t a[SL_TLS_HASH_MAX], p[SL_TLS_HASH_MAX];
    const size_t label_len = strlen(label);
    sl_err err = hmac_open(&h, hash, secret, secret_len);
    /* RFC 5246 section 5: A(1) = HMAC(secret, seed), A(i+1) = HMAC(secret, A(i)); out = HMAC(secret, A(1) + seed) + ... */
    if (err != SL_OK || (err = hmac_begin(&h)) != SL_OK || (err = hmac_add(&h, label, label_len)) != SL_OK ||
        (err = hmac_add(&h, seed1, seed1_len)) != SL_OK || (err = hmac_add(&h, seed2, seed2_len)) != SL_OK ||
        (err = hmac_end(&h, a)) != SL_OK)
        goto Exit;
    for (size_t at = 0; at < out_len;) {
        if ((err = hmac_begin(&h)) != SL_OK || (err = hmac_add(&h, a, h.len)) != SL_OK ||
            (err = hmac_add(&h, label, label_len)) != SL_OK || (err = hmac_add(&h, seed1, seed1_len)) != SL_OK ||
            (err = hmac_add(&h, seed2, seed2_len)) != SL_OK || (err = hmac_end(&h, p)) != SL_OK)
            goto Exit;
        size_t n = out_len - at < h.len ? out_len - at : h.len;
        memcpy(out + at, p, n);
        at += n;
        if ((err = hmac_begin(&h)) != SL_OK || (err = hmac_add(&h, a, h.len)) != SL_OK || (err = hmac_end(&h, a)) != SL_OK)
            goto Exit;
    }
Exit:
    hmac_close(&h);
    sl_wipe(a, sizeof(a));
    sl_wipe(p, sizeof(p));
    if (err != SL_OK)
        sl_wipe(out, out_len);
    return err;
}

static void fill_tls12(struct sl_record_half *half, const struct sl_suite *suite, const uint8_t *key, const uint8_t *salt,
                       uint64_t seq)
{
    half->version = SL_TLS12;
    half->suite = suite->id;
    half->key_len = suite->key_len;
    half->seq = seq;
    memcpy(half->key, key, suite->key_len);
    memcpy(half->iv, salt, SL_TLS12_SALT_BYTES);
}

sl_err sl_record_leg_tls12(struct sl_record_leg *leg, uint16_t suite_id, const uint8_t master[SL_TLS12_MASTER_BYTES],
                           const uint8_t client_random[SL_TLS_RANDOM_BYTES], const uint8_t server_random[SL_TLS_RANDOM_BYTES],
                           uint64_t client_seq, uint64_t server_seq)
{
    const struct sl_suite *suite = sl_suite_find(suite_id);
    uint8_t block[2 * SL_TLS_KEY_MAX + 2 * SL_TLS12_SALT_BYTES];
    sl_wipe(leg, sizeof(*leg));
    if (suite == NULL || suite->version != SL_TLS12)
        return SL_ERR_UNSUPPORTED;
    const size_t key_len = suite->key_len, block_len = 2 * key_len + 2 * SL_TLS12_SALT_BYTES;
    sl_err err = sl_tls12_prf(suite->hash, master, SL_TLS12_MASTER_BYTES, "key expansion", server_random, SL_TLS_RANDOM_BYTES,
                              client_random, SL_TLS_RANDOM_BYTES, block, block_len);
    if (err == SL_OK) {
        /* client_write_key, server_write_key, client_write_IV, server_write_IV: an AEAD has no MAC keys */
        fill_tls12(&leg->client_write, suite, block, block + 2 * key_len, client_seq);
        fill_tls12(&leg->server_write, suite, block + key_len, block + 2 * key_len + SL_TLS12_SALT_BYTES, server_seq);
    }
    sl_wipe(block, sizeof(block));
    return err;
}

/* ---- objects ---- */

sl_err sl_record_leg_new(struct sl_record_leg **out)
{
    void *mem;
    sl_err err = sl_secret_alloc(sizeof(struct sl_record_leg), &mem);
    if (err == SL_OK)
        *out = mem;
    return err;
}

void sl_record_leg_free(struct sl_record_leg *leg)
{
    sl_secret_free(leg);
}

void sl_record_half_move(struct sl_record_half *to, struct sl_record_half *from)
{
    *to = *from;
    sl_wipe(from, sizeof(*from));
}
