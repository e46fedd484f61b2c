/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of application data per cycle of the time-stamp counter through the transcoder, TLS 1.3, against OpenSSL's EVP doing the
 * same: each record opened (tag checked) and sealed with other keys, contexts with preset keys of which only the IV is set anew.
 *
 * Both sides work in turns on the same stream of records, 256 KiB in memory; the median of many rounds is reported, so that other
 * load on the machine touches both alike.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <x86intrin.h>

#include "base/secret.h"
#include "record/transcoder.h"

enum { ROUNDS = 201, STREAM = 256 * 1024, OUT = 64 * 1024, RECORDS_MAX = 1024 };

struct scene {
    uint16_t suite;
    size_t len, piece; /* of a record; of the input that is fed at once, 0: all */
    const struct sl_gcm_engine *engine;
    size_t records, stream_len;
    uint8_t *stream, *out;
    struct sl_record_leg *leg;
    uint8_t iv[2][12];
    EVP_CIPHER_CTX *open, *seal;
};

static void need(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "bench_record: %s failed\n", what);
        exit(1);
    }
}

static void make_halves(struct scene *s)
{
    uint8_t secret[48];
    const struct sl_suite *suite = sl_suite_find(s->suite);
    memset(secret, 1, sizeof(secret));
    need(sl_record_half_tls13(&s->leg->client_write, s->suite, secret, suite->hash_len, 0, 0) == SL_OK, "keys");
    memset(secret, 2, sizeof(secret));
    need(sl_record_half_tls13(&s->leg->server_write, s->suite, secret, suite->hash_len, 0, 0) == SL_OK, "keys");
}

static void set_up(struct scene *s)
{
    struct sl_record *sender;
    size_t n;
    need(sl_record_leg_new(&s->leg) == SL_OK, "memory");
    make_halves(s);
    const EVP_CIPHER *cipher = s->leg->client_write.key_len == 16 ? EVP_aes_128_gcm() : EVP_aes_256_gcm();
    memcpy(s->iv[0], s->leg->client_write.iv, 12);
    memcpy(s->iv[1], s->leg->server_write.iv, 12);
    s->open = EVP_CIPHER_CTX_new();
    s->seal = EVP_CIPHER_CTX_new();
    need(EVP_DecryptInit_ex(s->open, cipher, NULL, s->leg->client_write.key, NULL), "EVP");
    need(EVP_EncryptInit_ex(s->seal, cipher, NULL, s->leg->server_write.key, NULL), "EVP");

    s->records = STREAM / s->len < RECORDS_MAX ? STREAM / s->len : RECORDS_MAX;
    s->stream = malloc(s->records * (s->len + 64));
    s->out = malloc(OUT);
    uint8_t *content = malloc(s->len);
    need(s->stream != NULL && s->out != NULL && content != NULL, "memory");
    memset(content, 'x', s->len);
    need(sl_record_new(s->engine, &s->leg->client_write, &sender) == SL_OK, "keys");
    for (size_t i = 0; i < s->records; i++, s->stream_len += n)
        need(sl_record_seal(sender, SL_TLS_APPLICATION_DATA, content, s->len, 0, s->stream + s->stream_len, s->len + 64, &n) ==
                 SL_OK,
             "seal");
    sl_record_free(sender);
    free(content);
}

static void tear_down(struct scene *s)
{
    EVP_CIPHER_CTX_free(s->open);
    EVP_CIPHER_CTX_free(s->seal);
    sl_record_leg_free(s->leg);
    free(s->stream);
    free(s->out);
}

static double ours(struct scene *s)
{
    struct sl_transcoder *t;
    const struct sl_transcoder_options options = {.engine = s->engine};
    make_halves(s);
    need(sl_transcoder_new(&s->leg->client_write, &s->leg->server_write, &options, &t) == SL_OK, "transcoder");
    const uint64_t start = __rdtsc();
    for (size_t at = 0; at < s->stream_len || sl_transcoder_pending(t) > 0;) {
        size_t n = s->stream_len - at, consumed, produced;
        if (s->piece > 0 && n > s->piece)
            n = s->piece;
        need(sl_transcoder_feed(t, s->stream + at, n, s->out, OUT, &consumed, &produced) == SL_OK, "feed");
        at += consumed;
    }
    const uint64_t cycles = __rdtsc() - start;
    sl_transcoder_free(t);
    return (double)(s->records * s->len) / (double)cycles;
}

static void nonce(const uint8_t *iv, uint64_t seq, uint8_t *out)
{
    memcpy(out, iv, 12);
    for (int i = 0; i < 8; i++)
        out[4 + i] ^= (uint8_t)(seq >> (56 - 8 * i));
}

static double evp(struct scene *s)
{
    const size_t text = s->len + 1, total = 5 + text + 16;
    uint8_t iv[12];
    int n, ok = 1;
    const uint64_t start = __rdtsc();
    for (size_t i = 0; i < s->records; i++) {
        uint8_t *record = s->stream + i * total, *out = s->out;
        nonce(s->iv[0], i, iv);
        ok &= EVP_DecryptInit_ex(s->open, NULL, NULL, NULL, iv);
        ok &= EVP_DecryptUpdate(s->open, NULL, &n, record, 5);
        ok &= EVP_DecryptUpdate(s->open, out + 5, &n, record + 5, (int)text);
        ok &= EVP_CIPHER_CTX_ctrl(s->open, EVP_CTRL_AEAD_SET_TAG, 16, record + 5 + text);
        ok &= EVP_DecryptFinal_ex(s->open, out + 5 + text, &n);
        memcpy(out, record, 5);
        nonce(s->iv[1], i, iv);
        ok &= EVP_EncryptInit_ex(s->seal, NULL, NULL, NULL, iv);
        ok &= EVP_EncryptUpdate(s->seal, NULL, &n, out, 5);
        ok &= EVP_EncryptUpdate(s->seal, out + 5, &n, out + 5, (int)text);
        ok &= EVP_EncryptFinal_ex(s->seal, out + 5 + text, &n);
        ok &= EVP_CIPHER_CTX_ctrl(s->seal, EVP_CTRL_AEAD_GET_TAG, 16, out + 5 + text);
    }
    const uint64_t cycles = __rdtsc() - start;
    need(ok, "EVP");
    return (double)(s->records * s->len) / (double)cycles;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(const char *name, uint16_t suite, size_t len, size_t piece, const struct sl_gcm_engine *engine)
{
    struct scene s = {.suite = suite, .len = len, .piece = piece, .engine = engine};
    static double a[ROUNDS], b[ROUNDS];
    set_up(&s);
    for (int i = 0; i < ROUNDS; i++) {
        a[i] = ours(&s);
        b[i] = evp(&s);
    }
    qsort(a, ROUNDS, sizeof(a[0]), compare);
    qsort(b, ROUNDS, sizeof(b[0]), compare);
    printf("{\"name\": \"%s.%zu\", \"value\": %.3f, \"unit\": \"bytes/cycle\", \"peer\": %.3f, \"ratio\": %.2f}\n", name, len,
           a[ROUNDS / 2], b[ROUNDS / 2], a[ROUNDS / 2] / b[ROUNDS / 2]);
    fflush(stdout);
    tear_down(&s);
}

int main(void)
{
    static const size_t lengths[] = {256, 1350, 4096, 16384};
    size_t count;
    const struct sl_gcm_engine *const *engines = sl_gcm_engines(&count);
    fprintf(stderr, "bench_record: engine %s\n", sl_gcm_engine_name(sl_gcm_engine_default()));
    for (size_t i = 0; i < 4; i++)
        measure("record.transcode.bytes_per_cycle", 0x1301, lengths[i], 0, NULL);
    measure("record.transcode_aes256.bytes_per_cycle", 0x1302, 16384, 0, NULL);
    measure("record.transcode_segments_1360.bytes_per_cycle", 0x1301, 16384, 1360, NULL);
    for (size_t i = 0; i < count; i++) {
        char name[80];
        snprintf(name, sizeof(name), "record.transcode_%s.bytes_per_cycle", sl_gcm_engine_name(engines[i]));
        measure(name, 0x1301, 16384, 0, engines[i]);
    }
    return 0;
}
