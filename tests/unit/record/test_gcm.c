/* SPDX-License-Identifier: Apache-2.0 */
/* AES-GCM engines: cross-validation with OpenSSL, pieces, zero length, in place, out of bounds, tags. Known answers:
 * test_wycheproof.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/secret.h"
#include "record/gcm_engine.h"
#include "reference.h"

enum { TEXT_MAX = 20000 };

static size_t engine_count;
static const struct sl_gcm_engine *const *engines;

/* The answer of OpenSSL. */
static void expect(const uint8_t *key, size_t key_len, const uint8_t *iv, const uint8_t *aad, size_t aad_len, const uint8_t *in,
                   size_t len, uint8_t *out, uint8_t *tag)
{
    struct ref r = {.key_len = key_len};
    int n, ok = 1;
    memcpy(r.key, key, key_len);
    EVP_CIPHER_CTX *ctx = ref_ctx(&r, iv, 1);
    if (aad_len > 0)
        ok &= EVP_EncryptUpdate(ctx, NULL, &n, aad, (int)aad_len);
    if (len > 0)
        ok &= EVP_EncryptUpdate(ctx, out, &n, in, (int)len);
    ok &= EVP_EncryptFinal_ex(ctx, out + len, &n);
    ok &= EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, 16, tag);
    assert_int_equal(ok, 1);
    EVP_CIPHER_CTX_free(ctx);
}

static void test_engines_are_there(void **state)
{
    (void)state;
    assert_true(engine_count >= 1);
    assert_ptr_equal(sl_gcm_engine_find("evp"), engines[engine_count - 1]);
    assert_null(sl_gcm_engine_find("none"));
    for (size_t i = 0; i < engine_count; i++) {
        print_message("engine %s: key object of %zu bytes\n", sl_gcm_engine_name(engines[i]), sl_gcm_key_size(engines[i]));
        assert_ptr_equal(sl_gcm_engine_find(sl_gcm_engine_name(engines[i])), engines[i]);
        assert_true(sl_gcm_self_test(engines[i]));
    }
}

/* Every length up to three batches, and random ones up to a record and more: one shot, in place, and in random pieces. */
static void cross_validate(const struct sl_gcm_engine *engine, size_t key_len, size_t len, size_t aad_len, uint64_t *rnd)
{
    static uint8_t in[TEXT_MAX + 16], expected[TEXT_MAX + 16], out[TEXT_MAX + 16];
    uint8_t key[32], iv[12], aad[16], tag[16], computed[16];
    struct sl_gcm_key *k;
    struct sl_gcm_stream s;
    ref_fill(rnd, key, sizeof(key));
    ref_fill(rnd, iv, sizeof(iv));
    ref_fill(rnd, aad, sizeof(aad));
    ref_fill(rnd, in, len);
    expect(key, key_len, iv, aad, aad_len, in, len, expected, tag);
    assert_int_equal(sl_gcm_key_new(engine, key, key_len, &k), SL_OK);

    assert_int_equal(sl_gcm_seal(k, iv, aad, aad_len, in, out, len, computed), SL_OK);
    assert_memory_equal(out, expected, len);
    assert_memory_equal(computed, tag, 16);
    assert_int_equal(sl_gcm_open(k, iv, aad, aad_len, out, out, len, tag), SL_OK); /* in place */
    assert_memory_equal(out, in, len);
    assert_int_equal(sl_gcm_seal(k, iv, aad, aad_len, out, out, len, out + len), SL_OK); /* in place, the tag behind the text */
    assert_memory_equal(out, expected, len);
    assert_memory_equal(out + len, tag, 16);
    assert_int_equal(sl_gcm_open(k, iv, aad, aad_len, out, out, len, out + len), SL_OK);

    const size_t piece = ref_below(rnd, 3) == 0 ? 20 : 1 + len;
    memset(out, 0xee, len);
    assert_int_equal(sl_gcm_begin(k, &s, iv, aad, aad_len), SL_OK);
    for (size_t at = 0, n; at < len; at += n) {
        n = ref_below(rnd, piece < len - at + 1 ? piece + 1 : len - at + 1);
        assert_int_equal(sl_gcm_encrypt(k, &s, in + at, out + at, n), SL_OK);
    }
    assert_int_equal(sl_gcm_finish(k, &s, computed), SL_OK);
    assert_memory_equal(out, expected, len);
    assert_memory_equal(computed, tag, 16);
    assert_int_equal(sl_gcm_begin(k, &s, iv, aad, aad_len), SL_OK);
    for (size_t at = 0, n; at < len; at += n) {
        n = ref_below(rnd, piece < len - at + 1 ? piece + 1 : len - at + 1);
        assert_int_equal(sl_gcm_decrypt(k, &s, out + at, out + at, n), SL_OK); /* in place */
    }
    assert_int_equal(sl_gcm_verify(k, &s, tag), SL_OK);
    assert_memory_equal(out, in, len);
    sl_gcm_key_free(k);
}

static void test_cross_validation(void **state)
{
    (void)state;
    uint64_t rnd = 1;
    for (size_t e = 0; e < engine_count; e++) {
        for (size_t key_len = 16; key_len <= 32; key_len += 16) {
            for (size_t len = 0; len <= 800; len++)
                cross_validate(engines[e], key_len, len, len % 17, &rnd);
            for (int i = 0; i < 150; i++)
                cross_validate(engines[e], key_len, ref_below(&rnd, TEXT_MAX), i % 2 ? 5 : 13, &rnd);
        }
    }
}

/* 1-byte pieces over several batches; and the same in the other extreme: a 32-bit counter that passes 2^8 and 2^16 blocks. */
static void test_one_byte_pieces(void **state)
{
    (void)state;
    uint64_t rnd = 2;
    static uint8_t in[2000], expected[2016], out[2000];
    uint8_t key[32], iv[12], tag[16];
    ref_fill(&rnd, key, sizeof(key));
    ref_fill(&rnd, iv, sizeof(iv));
    ref_fill(&rnd, in, sizeof(in));
    expect(key, 32, iv, key, 13, in, sizeof(in), expected, tag);
    for (size_t e = 0; e < engine_count; e++) {
        struct sl_gcm_key *k;
        struct sl_gcm_stream s;
        assert_int_equal(sl_gcm_key_new(engines[e], key, 32, &k), SL_OK);
        assert_int_equal(sl_gcm_begin(k, &s, iv, key, 13), SL_OK);
        for (size_t i = 0; i < sizeof(in); i++)
            assert_int_equal(sl_gcm_decrypt(k, &s, expected + i, out + i, 1), SL_OK);
        assert_int_equal(sl_gcm_verify(k, &s, tag), SL_OK);
        assert_memory_equal(out, in, sizeof(in));
        sl_gcm_key_free(k);
    }
}

static void test_long_message(void **state)
{
    (void)state;
    enum { LONG = (1 << 20) + 4321 }; /* more than 2^16 blocks */
    uint8_t *in = malloc(LONG), *expected = malloc(LONG + 16), *out = malloc(LONG), key[16] = {7}, iv[12] = {9}, tag[16],
            computed[16];
    assert_non_null(in);
    assert_non_null(expected);
    assert_non_null(out);
    uint64_t rnd = 3;
    ref_fill(&rnd, in, LONG);
    expect(key, 16, iv, NULL, 0, in, LONG, expected, tag);
    for (size_t e = 0; e < engine_count; e++) {
        struct sl_gcm_key *k;
        assert_int_equal(sl_gcm_key_new(engines[e], key, 16, &k), SL_OK);
        assert_int_equal(sl_gcm_seal(k, iv, NULL, 0, in, out, LONG, computed), SL_OK);
        assert_memory_equal(out, expected, LONG);
        assert_memory_equal(computed, tag, 16);
        sl_gcm_key_free(k);
    }
    free(in);
    free(expected);
    free(out);
}

/* G8: all 128 bits of the tag count, and after a wrong one nothing of the text is left. */
static void test_G8_every_bit_of_the_tag(void **state)
{
    (void)state;
    static const uint8_t zeros[100];
    uint8_t key[16] = {1}, iv[12] = {2}, text[100], sealed[100], tag[16], out[100];
    memset(text, 'x', sizeof(text));
    for (size_t e = 0; e < engine_count; e++) {
        struct sl_gcm_key *k;
        struct sl_gcm_stream s;
        assert_int_equal(sl_gcm_key_new(engines[e], key, 16, &k), SL_OK);
        assert_int_equal(sl_gcm_seal(k, iv, key, 5, text, sealed, 100, tag), SL_OK);
        for (size_t bit = 0; bit < 128; bit++) {
            tag[bit / 8] ^= (uint8_t)(1 << bit % 8);
            memset(out, 0x55, sizeof(out));
            assert_int_equal(sl_gcm_open(k, iv, key, 5, sealed, out, 100, tag), SL_ERR_AUTH);
            assert_memory_equal(out, zeros, 100);
            assert_int_equal(sl_gcm_begin(k, &s, iv, key, 5), SL_OK);
            assert_int_equal(sl_gcm_decrypt(k, &s, sealed, out, 100), SL_OK);
            assert_int_equal(sl_gcm_verify(k, &s, tag), SL_ERR_AUTH);
            tag[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        for (size_t at = 0; at < 100; at++) {
            sealed[at] ^= 0x80;
            assert_int_equal(sl_gcm_open(k, iv, key, 5, sealed, out, 100, tag), SL_ERR_AUTH);
            sealed[at] ^= 0x80;
        }
        assert_int_equal(sl_gcm_open(k, iv, key, 4, sealed, out, 100, tag), SL_ERR_AUTH);
        assert_int_equal(sl_gcm_open(k, iv, key, 5, sealed, out, 99, tag), SL_ERR_AUTH);
        assert_int_equal(sl_gcm_open(k, iv, key, 5, sealed, out, 100, tag), SL_OK);
        sl_gcm_key_free(k);
    }
}

/* G15: a text may not be longer than 2^36 - 32 bytes, in sum over all pieces. */
static void test_G15_text_limit(void **state)
{
    (void)state;
    uint8_t key[16] = {1}, iv[12] = {0}, byte = 0, tag[16];
    for (size_t e = 0; e < engine_count; e++) {
        struct sl_gcm_key *k;
        struct sl_gcm_stream s;
        assert_int_equal(sl_gcm_key_new(engines[e], key, 16, &k), SL_OK);
        assert_int_equal(sl_gcm_begin(k, &s, iv, NULL, 0), SL_OK);
        s.text_len = SL_GCM_TEXT_MAX;
        assert_int_equal(sl_gcm_encrypt(k, &s, &byte, &byte, 1), SL_ERR_LIMIT);
        assert_int_equal(sl_gcm_decrypt(k, &s, &byte, &byte, 1), SL_ERR_LIMIT);
        assert_int_equal(sl_gcm_encrypt(k, &s, &byte, &byte, 0), SL_OK);
        assert_int_equal(sl_gcm_encrypt(k, &s, &byte, &byte, SIZE_MAX), SL_ERR_LIMIT);
        assert_int_equal(sl_gcm_seal(k, iv, NULL, 0, &byte, &byte, SIZE_MAX, tag), SL_ERR_LIMIT);
        assert_int_equal(sl_gcm_begin(k, &s, iv, key, SL_GCM_AAD_MAX + 1), SL_ERR_INVALID);
        assert_int_equal(sl_gcm_seal(k, iv, key, SL_GCM_AAD_MAX + 1, &byte, &byte, 1, tag), SL_ERR_INVALID);
        sl_gcm_key_free(k);
    }
}

static void test_bad_keys(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 15, 17, 24, 31, 33};
    uint8_t key[64] = {0};
    struct sl_gcm_key *k = NULL;
    for (size_t e = 0; e < engine_count; e++) {
        for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
            assert_int_equal(sl_gcm_key_new(engines[e], key, lengths[i], &k), SL_ERR_INVALID);
    }
    assert_null(k);
    sl_gcm_key_free(NULL);
}

/* Out of bounds: input, output and additional data end, or begin, at an inaccessible page. */
struct fenced {
    uint8_t *base, *first, *end;
};

static struct fenced fence(size_t pages)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *base = mmap(NULL, (pages + 2) * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(base, MAP_FAILED);
    assert_int_equal(mprotect(base + page, pages * page, PROT_READ | PROT_WRITE), 0);
    return (struct fenced){base, base + page, base + (pages + 1) * page};
}

static void test_out_of_bounds(void **state)
{
    (void)state;
    struct fenced in = fence(2), out = fence(2), aad = fence(1), iv = fence(1), key = fence(1), tag = fence(1);
    uint64_t rnd = 4;
    for (size_t e = 0; e < engine_count; e++) {
        for (size_t len = 0; len <= 700; len++) {
            const size_t aad_len = len % 17, key_len = len % 2 ? 16 : 32;
            const bool at_end = ref_below(&rnd, 2) == 0;
            uint8_t *i = at_end ? in.end - len : in.first, *o = at_end ? out.end - len : out.first;
            uint8_t *a = at_end ? aad.end - aad_len : aad.first, *v = at_end ? iv.end - 12 : iv.first;
            uint8_t *kb = at_end ? key.end - key_len : key.first, *t = at_end ? tag.end - 16 : tag.first;
            struct sl_gcm_key *k;
            struct sl_gcm_stream s;
            ref_fill(&rnd, i, len);
            assert_int_equal(sl_gcm_key_new(engines[e], kb, key_len, &k), SL_OK);
            assert_int_equal(sl_gcm_seal(k, v, a, aad_len, i, o, len, t), SL_OK);
            assert_int_equal(sl_gcm_open(k, v, a, aad_len, o, o, len, t), SL_OK);
            assert_memory_equal(i, o, len);
            const size_t cut = len > 0 ? ref_below(&rnd, len) : 0;
            assert_int_equal(sl_gcm_begin(k, &s, v, a, aad_len), SL_OK);
            assert_int_equal(sl_gcm_encrypt(k, &s, i, o, cut), SL_OK);
            assert_int_equal(sl_gcm_encrypt(k, &s, i + cut, o + cut, len - cut), SL_OK);
            assert_int_equal(sl_gcm_finish(k, &s, t), SL_OK);
            assert_int_equal(sl_gcm_open(k, v, a, aad_len, o, o, len, t), SL_OK);
            sl_gcm_key_free(k);
        }
    }
    struct fenced *all[] = {&in, &out, &aad, &iv, &key, &tag};
    for (size_t i = 0; i < 6; i++)
        munmap(all[i]->base, (size_t)(all[i]->end - all[i]->base) + (size_t)sysconf(_SC_PAGESIZE));
}

/* G13: a released key object and a finished stream hold nothing. */
static void test_G13_wiped(void **state)
{
    (void)state;
    static const uint8_t zeros[2048];
    uint8_t key[32], iv[12] = {0}, text[40] = {0}, tag[16];
    memset(key, 0xa5, sizeof(key));
    for (size_t e = 0; e < engine_count; e++) {
        void *mem;
        struct sl_gcm_key *k;
        struct sl_gcm_stream s;
        assert_int_equal(sl_secret_alloc(sl_gcm_key_size(engines[e]), &mem), SL_OK);
        assert_int_equal(sl_gcm_key_init(engines[e], mem, key, 32, &k), SL_OK);
        assert_int_equal(sl_gcm_begin(k, &s, iv, NULL, 0), SL_OK);
        assert_int_equal(sl_gcm_encrypt(k, &s, text, text, 33), SL_OK);
        assert_int_equal(sl_gcm_finish(k, &s, tag), SL_OK);
        assert_memory_equal(&s, zeros, sizeof(s));
        assert_int_equal(sl_gcm_begin(k, &s, iv, NULL, 0), SL_OK);
        assert_int_equal(sl_gcm_decrypt(k, &s, text, text, 33), SL_OK);
        assert_int_equal(sl_gcm_verify(k, &s, tag), SL_OK);
        assert_memory_equal(&s, zeros, sizeof(s));
        sl_gcm_key_clear(k);
        assert_memory_equal(mem, zeros, sl_gcm_key_size(engines[e]));
        sl_secret_free(mem);
    }
}

/* The self-test catches engines that are wrong in one place. */
static const struct sl_gcm_engine *sound;
static int fault;

static sl_err faulty_seal(struct sl_gcm_key *key, const uint8_t *iv, const uint8_t *aad, size_t aad_len, const uint8_t *in,
                          uint8_t *out, size_t len, uint8_t *tag)
{
    sl_err err = sound->seal(key, iv, aad, aad_len, in, out, len, tag);
    if (fault == 1 && len == 1111)
        tag[3] ^= 4;
    return err;
}

static sl_err faulty_open(struct sl_gcm_key *key, const uint8_t *iv, const uint8_t *aad, size_t aad_len, const uint8_t *in,
                          uint8_t *out, size_t len, const uint8_t *tag)
{
    sl_err err = sound->open(key, iv, aad, aad_len, in, out, len, tag);
    if (fault == 2)
        return SL_OK;
    if (fault == 3 && len == 272)
        out[271] ^= 1;
    return err;
}

static sl_err faulty_decrypt(struct sl_gcm_key *key, struct sl_gcm_stream *s, const uint8_t *in, uint8_t *out, size_t len)
{
    sl_err err = sound->decrypt(key, s, in, out, len);
    if (fault == 4)
        out[len - 1] ^= 1;
    return err;
}

static void test_self_test_catches(void **state)
{
    (void)state;
    sound = sl_gcm_engine_find("evp");
    struct sl_gcm_engine faulty = *sound;
    faulty.seal = faulty_seal;
    faulty.open = faulty_open;
    faulty.decrypt = faulty_decrypt;
    for (fault = 0; fault <= 4; fault++)
        assert_int_equal(sl_gcm_self_test(&faulty), fault == 0);
}

/* The measure of an idle connection: four key objects and little more (12 KiB in all, see test_transcoder.c). */
static void test_small_key_objects(void **state)
{
    (void)state;
    for (size_t e = 0; e < engine_count; e++) {
        const char *name = sl_gcm_engine_name(engines[e]);
        if (strcmp(name, "ipsec-mb") != 0)
            assert_true(sl_gcm_key_size(engines[e]) <= 704);
    }
}

static int setup(void **state)
{
    (void)state;
    engines = sl_gcm_engines(&engine_count);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_engines_are_there),
        cmocka_unit_test(test_cross_validation),
        cmocka_unit_test(test_one_byte_pieces),
        cmocka_unit_test(test_long_message),
        cmocka_unit_test(test_G8_every_bit_of_the_tag),
        cmocka_unit_test(test_G15_text_limit),
        cmocka_unit_test(test_bad_keys),
        cmocka_unit_test(test_out_of_bounds),
        cmocka_unit_test(test_G13_wiped),
        cmocka_unit_test(test_self_test_catches),
        cmocka_unit_test(test_small_key_objects),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
