/* SPDX-License-Identifier: Apache-2.0 */
/* Key schedules: RFC 8448 section 3, and OpenSSL's KDFs for everything that the RFC has no trace of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "record/keys.h"
#include "reference.h"
#include "rfc8448.h"

static struct sl_record_leg *leg;

static int setup(void **state)
{
    (void)state;
    return sl_record_leg_new(&leg) == SL_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    sl_record_leg_free(leg);
    return 0;
}

static void expect_zero(const void *p, size_t len)
{
    const uint8_t *bytes = p;
    for (size_t i = 0; i < len; i++)
        assert_int_equal(bytes[i], 0);
}

static void test_rfc8448_keys(void **state)
{
    (void)state;
    static const uint8_t client_key[16] = {0x17, 0x42, 0x2d, 0xda, 0x59, 0x6e, 0xd5, 0xd9,
                                           0xac, 0xd8, 0x90, 0xe3, 0xc6, 0x3f, 0x50, 0x51};
    static const uint8_t client_iv[12] = {0x5b, 0x78, 0x92, 0x3d, 0xee, 0x08, 0x57, 0x90, 0x33, 0xe5, 0x23, 0xd9};
    static const uint8_t server_key[16] = {0x9f, 0x02, 0x28, 0x3b, 0x6c, 0x9c, 0x07, 0xef,
                                           0xc2, 0x6b, 0xb9, 0xf2, 0xac, 0x92, 0xe3, 0x56};
    static const uint8_t server_iv[12] = {0xcf, 0x78, 0x2b, 0x88, 0xdd, 0x83, 0x54, 0x9a, 0xad, 0xf1, 0xe9, 0x84};
    assert_int_equal(sl_record_half_tls13(&leg->client_write, 0x1301, rfc8448_client_secret, 32, 0, 0), SL_OK);
    assert_int_equal(sl_record_half_tls13(&leg->server_write, 0x1301, rfc8448_server_secret, 32, 0, 0), SL_OK);
    assert_memory_equal(leg->client_write.key, client_key, 16);
    assert_memory_equal(leg->client_write.iv, client_iv, 12);
    assert_memory_equal(leg->server_write.key, server_key, 16);
    assert_memory_equal(leg->server_write.iv, server_iv, 12);
    assert_int_equal(leg->client_write.version, SL_TLS13);
    assert_int_equal(leg->client_write.key_len, 16);
}

/* "traffic upd", three generations, both hashes. */
static void test_step(void **state)
{
    (void)state;
    uint64_t rnd = 1;
    for (int i = 0; i < 2; i++) {
        struct ref r;
        uint8_t secret[48];
        ref_fill(&rnd, secret, sizeof(secret));
        const size_t hash_len = i ? 48 : 32, key_len = i ? 32 : 16;
        ref_init_13(&r, key_len, hash_len, secret);
        struct sl_record_half *half = &leg->client_write;
        assert_int_equal(sl_record_half_tls13(half, i ? 0x1302 : 0x1301, secret, hash_len, 0, 77), SL_OK);
        assert_int_equal(half->seq, 77);
        for (uint64_t epoch = 0; epoch < 4; epoch++) {
            assert_int_equal(half->epoch, epoch);
            assert_memory_equal(half->secret, r.secret, hash_len);
            assert_memory_equal(half->key, r.key, key_len);
            assert_memory_equal(half->iv, r.iv, 12);
            assert_int_equal(sl_record_half_step(half), SL_OK);
            assert_int_equal(half->seq, 0);
            ref_step(&r);
        }
    }
}

/* G5: the epoch stays within 2^48 - 1, and a refused step changes nothing. */
static void test_G5_last_epoch(void **state)
{
    (void)state;
    uint8_t secret[32] = {1};
    struct sl_record_half before;
    assert_int_equal(sl_record_half_tls13(&leg->client_write, 0x1301, secret, 32, SL_RECORD_EPOCH_MAX - 1, 0), SL_OK);
    assert_int_equal(sl_record_half_step(&leg->client_write), SL_OK);
    before = leg->client_write;
    assert_int_equal(sl_record_half_step(&leg->client_write), SL_ERR_LIMIT);
    assert_memory_equal(&before, &leg->client_write, sizeof(before));
    assert_int_equal(sl_record_half_tls13(&leg->client_write, 0x1301, secret, 32, SL_RECORD_EPOCH_MAX + 1, 0), SL_ERR_INVALID);
    expect_zero(&leg->client_write, sizeof(leg->client_write));
}

static void test_tls12(void **state)
{
    (void)state;
    size_t count;
    const struct sl_suite *suites = sl_suite_all(&count);
    uint8_t master[48], client_random[32], server_random[32];
    uint64_t rnd = 2;
    int seen = 0;
    for (size_t i = 0; i < count; i++) {
        struct ref client, server;
        if (suites[i].version != SL_TLS12)
            continue;
        seen++;
        ref_fill(&rnd, master, 48);
        ref_fill(&rnd, client_random, 32);
        ref_fill(&rnd, server_random, 32);
        ref_init_12(&client, &server, suites[i].key_len, suites[i].hash_len, master, client_random, server_random);
        assert_int_equal(sl_record_leg_tls12(leg, suites[i].id, master, client_random, server_random, 1, 3), SL_OK);
        assert_memory_equal(leg->client_write.key, client.key, suites[i].key_len);
        assert_memory_equal(leg->server_write.key, server.key, suites[i].key_len);
        assert_memory_equal(leg->client_write.iv, client.iv, 12);
        assert_memory_equal(leg->server_write.iv, server.iv, 12);
        assert_int_equal(leg->client_write.seq, 1);
        assert_int_equal(leg->server_write.seq, 3);
        assert_int_equal(leg->client_write.version, SL_TLS12);
        assert_int_equal(sl_record_half_step(&leg->client_write), SL_ERR_UNSUPPORTED);
    }
    assert_int_equal(seen, 8);
}

/* The key block of OpenSSL's own self-test vectors would be a PRF with another seed; here the PRF is held against OpenSSL's at many
 * lengths. */
static void test_prf_lengths(void **state)
{
    (void)state;
    uint8_t secret[48], seed1[32], seed2[32], ours[200], theirs[200];
    uint64_t rnd = 3;
    ref_fill(&rnd, secret, 48);
    ref_fill(&rnd, seed1, 32);
    ref_fill(&rnd, seed2, 32);
    for (int h = 0; h < 2; h++) {
        for (size_t len = 1; len <= sizeof(ours); len++) {
            ref_prf(h ? 48 : 32, secret, "label", seed1, seed2, theirs, len);
            assert_int_equal(sl_tls12_prf(h ? SL_SHA384 : SL_SHA256, secret, 48, "label", seed1, 32, seed2, 32, ours, len), SL_OK);
            assert_memory_equal(ours, theirs, len);
        }
    }
}

static void test_refusals(void **state)
{
    (void)state;
    uint8_t secret[64] = {1}, out[64];
    static char long_label[300];
    memset(long_label, 'a', sizeof(long_label) - 1);
    memset(leg, 0xff, sizeof(*leg));
    assert_int_equal(sl_record_half_tls13(&leg->client_write, 0x1303, secret, 32, 0, 0), SL_ERR_UNSUPPORTED);
    expect_zero(&leg->client_write, sizeof(leg->client_write));
    assert_int_equal(sl_record_half_tls13(&leg->client_write, 0xc02f, secret, 32, 0, 0), SL_ERR_UNSUPPORTED);
    assert_int_equal(sl_record_half_tls13(&leg->client_write, 0x1302, secret, 32, 0, 0), SL_ERR_INVALID);
    assert_int_equal(sl_record_half_tls13(&leg->client_write, 0x1301, secret, 31, 0, 0), SL_ERR_INVALID);
    assert_int_equal(sl_record_leg_tls12(leg, 0x1301, secret, secret, secret, 1, 1), SL_ERR_UNSUPPORTED);
    expect_zero(leg, sizeof(*leg));
    memset(out, 0xff, sizeof(out));
    assert_int_equal(sl_hkdf_expand_label(SL_SHA256, secret, long_label, NULL, 0, out, 16), SL_ERR_INVALID);
    expect_zero(out, 16);
    assert_int_equal(sl_hkdf_expand_label(SL_SHA256, secret, "x", NULL, 256, out, 16), SL_ERR_INVALID);
}

/* G1, G13: what is moved is gone. */
static void test_G1_move(void **state)
{
    (void)state;
    uint8_t secret[32] = {9};
    assert_int_equal(sl_record_half_tls13(&leg->client_write, 0x1301, secret, 32, 0, 5), SL_OK);
    sl_record_half_move(&leg->server_write, &leg->client_write);
    expect_zero(&leg->client_write, sizeof(leg->client_write));
    assert_int_equal(leg->server_write.seq, 5);
}

static void test_suites(void **state)
{
    (void)state;
    size_t count;
    const struct sl_suite *all = sl_suite_all(&count);
    assert_int_equal(count, 10);
    for (size_t i = 0; i < count; i++) {
        assert_ptr_equal(sl_suite_find(all[i].id), &all[i]);
        assert_true(i == 0 || all[i - 1].id < all[i].id);
        assert_int_equal(all[i].hash_len, all[i].hash == SL_SHA256 ? 32 : 48);
    }
    assert_null(sl_suite_find(0x1303));
    assert_null(sl_suite_find(0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc8448_keys), cmocka_unit_test(test_step),        cmocka_unit_test(test_G5_last_epoch),
        cmocka_unit_test(test_tls12),        cmocka_unit_test(test_prf_lengths), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_G1_move),      cmocka_unit_test(test_suites),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
