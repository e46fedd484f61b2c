// SPDX-License-Identifier: Apache-2.0
/*
 * Whole records through keystream, weights and ghash: the examples of the GCM specification (McGrew, Viega; the ones NIST took
 * over), Wycheproof's vectors, and random ones against OpenSSL; cut anywhere, pieces in random order, bytes that come twice.
 * SLUICE_LONG=1: twenty times as many random ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
extern "C" {
#include <cmocka.h>
}
#include <jansson.h>
#include <stdio.h>

#include "test_aes_gcm_records.hpp"

static const uint64_t seed = 20261125;
#ifdef SLUICE_NATIVE_LEAVES
static const bool fast = true;
#else
static const bool fast = false;
#endif

static bytes from_hex(const char *hex)
{
    bytes out;
    for (size_t i = 0; hex[i] != '\0'; i += 2) {
        unsigned byte;
        assert_int_equal(sscanf(hex + i, "%2x", &byte), 1);
        out.push_back(static_cast<uint8_t>(byte));
    }
    return out;
}

static void check_outcome(const gcm_key &key, const gcm_record &r, const gcm_outcome &got, bool seal)
{
    const bytes &text = seal ? r.cipher : r.plain;
    assert_int_equal(got.text.size(), text.size());
    if (!text.empty())
        assert_memory_equal(got.text.data(), text.data(), text.size());
    assert_memory_equal(got.tag, r.tag, sizeof(r.tag));
    uint8_t block[16] = {}, zero[16];
    memcpy(block, r.nonce, sizeof(r.nonce));
    openssl_block(key, block, zero);
    assert_memory_equal(got.zero, zero, sizeof(zero));
}

/* The record between two others under the same key, so that it is part a and part b. Returns its own outcome; the others are right.
 */
static gcm_outcome among_others(const gcm_key &key, const gcm_record &r, bool seal, sim::random_source &random)
{
    const std::vector<gcm_record> records = {random_record(random, key, 100), r, random_record(random, key, 100)};
    gcm_run run(key, records, seal, random);
    if (random.chance(0.5))
        run.replay(3);
    if (random.chance(0.8))
        run.shuffle();
    const std::vector<gcm_outcome> got = run.through_processes();
    check_outcome(key, records[0], got[0], seal);
    check_outcome(key, records[2], got[2], seal);
    return got[1];
}

static void test_specification(void **)
{
    static const char key128[] = "feffe9928665731c6d6a8f9467308308";
    static const char key256[] = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
    static const char nonce[] = "cafebabefacedbaddecaf888", aad[] = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
    static const char plain[] = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                                "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255";
    static const char cipher128[] = "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
                                    "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985";
    static const char cipher256[] = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
                                    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad";
    static const char zero[] = "0000000000000000000000000000000000000000000000000000000000000000";
    static const struct {
        const char *key, *nonce, *aad, *plain, *cipher, *tag;
        size_t bytes, key_bytes;
    } table[] = {
        /* numbers as in the specification's appendix B */
        /* 1 */ {zero, zero, "", "", "", "58e2fccefa7e3061367f1d57a4e7455a", 0, 16},
        /* 2 */ {zero, zero, "", zero, "0388dace60b6a392f328c2b971b2fe78", "ab6e47d42cec13bdf53a67b21257bddf", 16, 16},
        /* 3 */ {key128, nonce, "", plain, cipher128, "4d5c2af327cd64a62cf35abd2ba6fab4", 64, 16},
        /* 4 */ {key128, nonce, aad, plain, cipher128, "5bc94fbc3221a5db94fae95ae7121a47", 60, 16},
        /* 13 */ {zero, zero, "", "", "", "530f8afbc74536b9a963b4f1c4cb738b", 0, 32},
        /* 14 */ {zero, zero, "", zero, "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919", 16, 32},
        /* 15 */ {key256, nonce, "", plain, cipher256, "b094dac5d93471bdec1a502270e3cc6c", 64, 32},
        /* 16 */ {key256, nonce, aad, plain, cipher256, "76fc6ece0f4e1768cddf8853bb2d551b", 60, 32},
    };
    sim::random_source random(seed);
    for (const auto &row : table) {
        const gcm_key key = make_key(from_hex(row.key).data(), row.key_bytes == 32);
        gcm_record r;
        r.aad = from_hex(row.aad);
        r.plain = from_hex(row.plain);
        r.cipher = from_hex(row.cipher);
        r.plain.resize(row.bytes);
        r.cipher.resize(row.bytes);
        memcpy(r.nonce, from_hex(row.nonce).data(), sizeof(r.nonce));
        memcpy(r.tag, from_hex(row.tag).data(), sizeof(r.tag));
        for (unsigned n = 0; n < 100; n++)
            check_outcome(key, r, among_others(key, r, n % 2 == 0, random), n % 2 == 0);
    }
}

static bytes member(json_t *object, const char *name)
{
    return from_hex(json_string_value(json_object_get(object, name)));
}

static void test_wycheproof(void **)
{
    json_error_t error;
    json_t *root = json_load_file(SLUICE_SOURCE_DIR "/tests/vectors/wycheproof_aes_gcm_test.json", 0, &error), *group, *test;
    assert_non_null(root);
    sim::random_source random(seed + 1);
    size_t g, i;
    unsigned run = 0, invalid = 0;
    json_array_foreach(json_object_get(root, "testGroups"), g, group)
    {
        const json_int_t key_bits = json_integer_value(json_object_get(group, "keySize"));
        if (json_integer_value(json_object_get(group, "ivSize")) != 96 ||
            json_integer_value(json_object_get(group, "tagSize")) != 128 || (key_bits != 128 && key_bits != 256))
            continue;
        json_array_foreach(json_object_get(group, "tests"), i, test)
        {
            const bool valid = strcmp(json_string_value(json_object_get(test, "result")), "valid") == 0;
            const gcm_key key = make_key(member(test, "key").data(), key_bits == 256);
            gcm_record r;
            r.aad = member(test, "aad");
            r.plain = member(test, "msg");
            r.cipher = member(test, "ct");
            memcpy(r.nonce, member(test, "iv").data(), sizeof(r.nonce));
            memcpy(r.tag, member(test, "tag").data(), sizeof(r.tag));
            r.plain.resize(r.cipher.size());
            for (unsigned n = 0; n < 10; n++) {
                const gcm_outcome opened = among_others(key, r, false, random);
                if (valid) {
                    check_outcome(key, r, opened, false);
                    check_outcome(key, r, among_others(key, r, true, random), true);
                } else {
                    assert_true(memcmp(opened.tag, r.tag, sizeof(r.tag)) != 0);
                }
            }
            run++;
            invalid += valid ? 0 : 1;
        }
    }
    json_decref(root);
    print_message("%u vectors, %u of them invalid\n", run, invalid);
    assert_true(run >= 130 && invalid >= 40);
}

/* Several records, the longest that TLS allows among them. */
static void test_random(void **)
{
    sim::random_source random(seed + 2);
    const unsigned rounds = (fast ? 2000 : 400) * (getenv("SLUICE_LONG") != nullptr ? 20 : 1);
    size_t pieces = 0;
    for (unsigned n = 0; n < rounds; n++) {
        const gcm_key key = random_key(random);
        const size_t longest = n % 8 == 0 ? card::tls_plaintext_max + 1 : n % 8 < 4 ? 1500 : 60;
        std::vector<gcm_record> records;
        for (uint64_t i = random.between(1, n % 8 == 0 ? 2 : 6); i > 0; i--)
            records.push_back(random_record(random, key, longest));
        const bool seal = random.chance(0.5);
        gcm_run run(key, records, seal, random);
        if (n % 3 == 0)
            run.replay(3);
        if (n % 2 == 0)
            run.shuffle();
        pieces += run.work().size();
        const std::vector<gcm_outcome> got = run.through_processes();
        for (size_t i = 0; i < records.size(); i++)
            check_outcome(key, records[i], got[i], seal);
    }
    print_message("%zu pieces\n", pieces);
}

/* inc_32 wraps within the last four bytes; the mirror counts from 0. */
static void test_counter_wraps(void **)
{
    sim::random_source random(seed + 3);
    for (const uint32_t first : {UINT32_C(0), UINT32_C(2), UINT32_C(0xffffffff), UINT32_C(0xfffffc00)}) {
        for (const unsigned block : {0u, 1u, 1020u, 1021u, 1022u, 1023u, 1025u}) {
            const gcm_key key = random_key(random);
            card::keystream_job job = {};
            memcpy(job.key_a, key.key, sizeof(key.key));
            job.long_a = key.is_long;
            random.fill(job.nonce_a, sizeof(job.nonce_a));
            job.first = first;
            job.layout.a = card::cut_text(0, 64, 16 * block);
            const card::keystream_result r = card::make_keystream<card::cells_only>(job);
            for (unsigned i = 0; i < 4; i++) {
                uint8_t in[16], want[16];
                memcpy(in, job.nonce_a, 12);
                card::word_to_bytes(first + block + i, in + 12);
                openssl_block(key, in, want);
                assert_memory_equal(r.byte + 16 * i, want, sizeof(want));
            }
            const uint8_t zero[16] = {};
            assert_memory_equal(r.tag_mask, zero, 16); /* lanes that are not built in */
            assert_memory_equal(r.zero_a, zero, 16);
            assert_memory_equal(r.zero_b, zero, 16);
        }
    }
}

int main()
{
    printf("seed %llu\n", static_cast<unsigned long long>(seed));
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_specification), cmocka_unit_test(test_wycheproof),
                                       cmocka_unit_test(test_random), cmocka_unit_test(test_counter_wraps)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
