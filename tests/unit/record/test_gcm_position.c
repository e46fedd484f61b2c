/* SPDX-License-Identifier: Apache-2.0 */
/* Messages by position: whatever the pieces and their order, text and tag are those of the whole message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "record/gcm.h"

enum { TEXT_MAX = 17000 };

static uint64_t state;

static uint32_t below(uint32_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % n;
}

static void fill(uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)below(256);
}

/* [from, to) in random pieces, in place if so chosen. */
static void pieces(struct sl_gcm_key *k, const uint8_t *iv, uint8_t *hash, size_t from, size_t to, const uint8_t *in, uint8_t *out,
                   bool encrypt)
{
    const uint32_t most = below(3) == 0 ? 40 : 1500;
    while (from < to) {
        size_t n = 1 + below(most);
        n = n < to - from ? n : to - from;
        const uint8_t *source = in + from;
        if (below(2) == 0)
            source = memcpy(out + from, source, n);
        assert_int_equal(sl_gcm_crypt_at(k, iv, from, hash, source, out + from, n, encrypt), SL_OK);
        from += n;
    }
}

/* The middle comes before the beginning; then the end. */
static void out_of_order(struct sl_gcm_key *k, size_t len, bool encrypt)
{
    static uint8_t plain[TEXT_MAX], sealed[TEXT_MAX], out[TEXT_MAX];
    uint8_t iv[12], aad[16], tag[16], got[16], hash[16], later[16] = {0};
    const size_t aad_len = below(17), from = below((uint32_t)len + 1), to = from + below((uint32_t)(len - from) + 1);
    fill(plain, len);
    fill(iv, sizeof iv);
    fill(aad, sizeof aad);
    assert_int_equal(sl_gcm_seal(k, iv, aad, aad_len, plain, sealed, len, tag), SL_OK);
    const uint8_t *const in = encrypt ? plain : sealed, *const wanted = encrypt ? sealed : plain;

    assert_int_equal(sl_gcm_hash_begin(k, hash, aad, aad_len), SL_OK);
    pieces(k, iv, later, from, to, in, out, encrypt);
    pieces(k, iv, hash, 0, from, in, out, encrypt);
    assert_int_equal(sl_gcm_hash_join(k, hash, from, later, to), SL_OK);
    pieces(k, iv, hash, to, len, in, out, encrypt);
    assert_memory_equal(out, wanted, len);
    assert_int_equal(sl_gcm_hash_tag(k, iv, hash, aad_len, len, got), SL_OK);
    assert_memory_equal(got, tag, sizeof tag);

    /* Again, without hash: the same text, at any place. */
    memset(out, 0, len);
    pieces(k, iv, NULL, from, to, in, out, encrypt);
    assert_memory_equal(out + from, wanted + from, to - from);
}

static void test_any_order(void **unused)
{
    (void)unused;
    size_t count;
    const struct sl_gcm_engine *const *engines = sl_gcm_engines(&count);
    for (size_t e = 0; e < count; e++) {
        if (!sl_gcm_has_positions(engines[e]))
            continue;
        state = 1;
        for (unsigned round = 0; round < 600; round++) {
            struct sl_gcm_key *k;
            uint8_t key[32];
            fill(key, sizeof key);
            assert_int_equal(sl_gcm_key_new(engines[e], key, below(2) == 0 ? 16 : 32, &k), SL_OK);
            const bool slow = strcmp(sl_gcm_engine_name(engines[e]), "evp") == 0;
            out_of_order(k, round < 300 ? round : below(slow ? 1000 : TEXT_MAX), below(2) == 0);
            sl_gcm_key_free(k);
        }
    }
}

static void test_refused(void **unused)
{
    (void)unused;
    static const uint8_t zero[32];
    uint8_t hash[16] = {0}, byte = 0;
    size_t count;
    const struct sl_gcm_engine *const *engines = sl_gcm_engines(&count);
    for (size_t e = 0; e < count; e++) {
        struct sl_gcm_key *k;
        assert_int_equal(sl_gcm_key_new(engines[e], zero, 16, &k), SL_OK);
        if (sl_gcm_has_positions(engines[e])) {
            assert_int_equal(sl_gcm_hash_begin(k, hash, zero, 17), SL_ERR_INVALID);
            assert_int_equal(sl_gcm_hash_join(k, hash, 2, hash, 1), SL_ERR_INVALID);
            assert_int_equal(sl_gcm_crypt_at(k, zero, SL_GCM_TEXT_MAX, hash, &byte, &byte, 1, true), SL_ERR_LIMIT); /* G15 */
            assert_int_equal(sl_gcm_crypt_at(k, zero, UINT64_MAX, NULL, &byte, &byte, 1, true), SL_ERR_LIMIT);
        } else {
            assert_int_equal(sl_gcm_hash_begin(k, hash, zero, 0), SL_ERR_UNSUPPORTED);
            assert_int_equal(sl_gcm_crypt_at(k, zero, 0, hash, &byte, &byte, 1, true), SL_ERR_UNSUPPORTED);
            assert_int_equal(sl_gcm_hash_join(k, hash, 0, hash, 0), SL_ERR_UNSUPPORTED);
            assert_int_equal(sl_gcm_hash_tag(k, zero, hash, 0, 0, hash), SL_ERR_UNSUPPORTED);
        }
        sl_gcm_key_free(k);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_order),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
