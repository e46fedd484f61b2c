// SPDX-License-Identifier: Apache-2.0
/* The leaves of hls/aes_gcm as they are synthesised: AES against FIPS 197 and OpenSSL, GF(2^128) against the bit-by-bit algorithm
 * of SP 800-38D, cells against byte-by-byte copies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
extern "C" {
#include <cmocka.h>
}
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "aes_gcm/aes.hpp"
#include "aes_gcm/align.hpp"
#include "aes_gcm/counter.hpp"
#include "aes_gcm/gf128.hpp"
#include "random.hpp"

using namespace card;

static const uint64_t seed = 20261123;

static bool same(const gf128 &a, const gf128 &b)
{
    return a.word[0] == b.word[0] && a.word[1] == b.word[1];
}

static gf128 random_element(sim::random_source &random)
{
    return gf128{{random.bits(), random.bits()}};
}

/* SP 800-38D, algorithm 1. */
static gf128 serial_product(const gf128 &x, const gf128 &y)
{
    gf128 z = {{0, 0}}, v = y;
    for (unsigned i = 0; i < 128; i++) {
        if (x.word[i / 64] >> (63 - i % 64) & 1)
            z = gf128_add(z, v);
        const bool lsb = v.word[1] & 1;
        v = gf128{{v.word[0] >> 1, v.word[1] >> 1 | v.word[0] << 63}};
        if (lsb)
            v.word[0] ^= UINT64_C(0xe1) << 56;
    }
    return z;
}

static void test_fips_197(void **)
{
    static const struct {
        aes_key key;
        aes_block plain, cipher;
    } table[] = {
        /* 1: appendix B */
        {{{0x2b7e1516, 0x28aed2a6, 0xabf71588, 0x09cf4f3c}, false},
         {{0x3243f6a8, 0x885a308d, 0x313198a2, 0xe0370734}},
         {{0x3925841d, 0x02dc09fb, 0xdc118597, 0x196a0b32}}},
        /* 2: appendix C.1 */
        {{{0x00010203, 0x04050607, 0x08090a0b, 0x0c0d0e0f}, false},
         {{0x00112233, 0x44556677, 0x8899aabb, 0xccddeeff}},
         {{0x69c4e0d8, 0x6a7b0430, 0xd8cdb780, 0x70b4c55a}}},
        /* 3: appendix C.3 */
        {{{0x00010203, 0x04050607, 0x08090a0b, 0x0c0d0e0f, 0x10111213, 0x14151617, 0x18191a1b, 0x1c1d1e1f}, true},
         {{0x00112233, 0x44556677, 0x8899aabb, 0xccddeeff}},
         {{0x8ea2b7ca, 0x516745bf, 0xeafc4990, 0x4b496089}}},
    };
    for (const auto &row : table) {
        const aes_block out = portable::aes_encrypt(row.plain, row.key);
        assert_memory_equal(out.word, row.cipher.word, sizeof(out.word));
    }
}

/* Lanes with any mixture of keys, counters that wrap. */
static void test_lanes_against_openssl(void **)
{
    enum { lanes = 7 };
    sim::random_source random(seed);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    for (unsigned n = 0; n < 5000; n++) {
        keystream_job job = {};
        random.fill(job.key_a, sizeof(job.key_a));
        random.fill(job.key_b, sizeof(job.key_b));
        random.fill(job.nonce_a, sizeof(job.nonce_a));
        random.fill(job.nonce_b, sizeof(job.nonce_b));
        job.long_a = random.chance(0.5);
        job.long_b = random.chance(0.5);
        uint32_t counter[lanes];
        bool use_b[lanes];
        uint8_t got[lanes * block_bytes];
        for (unsigned i = 0; i < lanes; i++) {
            counter[i] = random.chance(0.2) ? UINT32_MAX : static_cast<uint32_t>(random.bits());
            use_b[i] = random.chance(0.5);
        }
        portable::counter_lanes<lanes>(job, counter, use_b, got);
        for (unsigned i = 0; i < lanes; i++) {
            const bool is_long = use_b[i] ? job.long_b : job.long_a;
            uint8_t in[block_bytes], want[block_bytes];
            memcpy(in, use_b[i] ? job.nonce_b : job.nonce_a, 12);
            word_to_bytes(counter[i], in + 12);
            int len = 0;
            assert_true(EVP_EncryptInit_ex(ctx, is_long ? EVP_aes_256_ecb() : EVP_aes_128_ecb(), nullptr,
                                           use_b[i] ? job.key_b : job.key_a, nullptr));
            EVP_CIPHER_CTX_set_padding(ctx, 0);
            assert_true(EVP_EncryptUpdate(ctx, want, &len, in, sizeof(in)));
            assert_memory_equal(got + block_bytes * i, want, block_bytes);

            aes_block block;
            for (unsigned j = 0; j < 4; j++)
                block.word[j] = word_from_bytes(in + 4 * j);
            const aes_block alone = portable::aes_encrypt(block, aes_key_from_bytes(use_b[i] ? job.key_b : job.key_a, is_long));
            for (unsigned j = 0; j < 4; j++)
                assert_int_equal(alone.word[j], word_from_bytes(want + 4 * j));
        }
    }
    EVP_CIPHER_CTX_free(ctx);
}

static void test_multiply(void **)
{
    sim::random_source random(seed + 1);
    for (unsigned n = 0; n < 50000; n++) {
        gf128 a = random_element(random), b = random_element(random);
        if (n < 128 * 128) { /* all pairs of single bits too */
            a = gf128{{n % 128 < 64 ? UINT64_C(1) << n % 64 : 0, n % 128 < 64 ? 0 : UINT64_C(1) << n % 64}};
            b = gf128{{n / 128 < 64 ? UINT64_C(1) << n / 128 : 0, n / 128 < 64 ? 0 : UINT64_C(1) << (n / 128 - 64)}};
        }
        assert_true(same(portable::gf128_mul(a, b), serial_product(a, b)));
        assert_true(same(portable::gf128_square(a), serial_product(a, a)));
        assert_true(same(portable::gf128_mul(a, gf128_one()), a));
    }
}

/* Sums may be reduced once. */
static void test_reduction_is_linear(void **)
{
    sim::random_source random(seed + 2);
    for (unsigned n = 0; n < 20000; n++) {
        gf256 p = {{random.bits(), random.bits(), random.bits(), random.bits()}}, q = p;
        for (uint64_t &word : q.word)
            word = random.bits();
        assert_true(same(portable::gf128_reduce(gf256_add(p, q)), gf128_add(portable::gf128_reduce(p), portable::gf128_reduce(q))));
    }
}

static void test_powers(void **)
{
    sim::random_source random(seed + 3);
    for (unsigned n = 0; n < 4; n++) {
        const gf128 h = n == 0 ? gf128_zero() : random_element(random);
        const gf128_powers p = portable::gf128_all_powers(h);
        gf128 power = gf128_one();
        for (unsigned e = 0; e <= 3 * 1024; e++) {
            for (unsigned i = 0; i < weight_digits; i++) {
                for (unsigned d = 0; d < 4; d++) {
                    if (d << 2 * i == e)
                        assert_true(same(p.power[i][d], power));
                }
            }
            power = serial_product(power, h);
        }
    }
}

/* All places a text can have. */
static void test_cells(void **)
{
    sim::random_source random(seed + 4);
    for (int at = -15; at < static_cast<int>(beat_bytes); at++) {
        for (unsigned n = 0; n < 200; n++) {
            uint8_t beat[beat_bytes], cells[cells_bytes], cells_in[cells_bytes], placed[beat_bytes];
            random.fill(beat, sizeof(beat));
            random.fill(cells_in, sizeof(cells_in));
            const uint64_t mask = random.bits() & (~UINT64_C(0) << (at > 0 ? at : 0)); /* of the text, so not before it */
            portable::take_cells(beat, mask, static_cast<unsigned>(at) % ring_bytes, cells);
            for (int i = 0; i < static_cast<int>(cells_bytes); i++) {
                const int from = at + i;
                const bool there = from >= 0 && from < static_cast<int>(beat_bytes) && (mask >> from & 1);
                assert_int_equal(cells[i], there ? beat[from] : 0);
            }
            memcpy(placed, beat, sizeof(beat));
            uint64_t reach = 0;
            for (int p = 0; p < static_cast<int>(beat_bytes); p++) {
                if (p >= at && p - at < static_cast<int>(cells_bytes))
                    reach |= UINT64_C(1) << p;
            }
            portable::place_cells(cells_in, (0u - static_cast<unsigned>(at)) % ring_bytes, mask & reach, placed);
            for (int p = 0; p < static_cast<int>(beat_bytes); p++)
                assert_int_equal(placed[p], (mask & reach) >> p & 1 ? cells_in[p - at] : beat[p]);
        }
    }
}

static void test_cut_text(void **)
{
    for (unsigned offset = 0; offset < 64; offset++) {
        for (unsigned from = 0; from <= beat_bytes; from++) {
            for (unsigned to = from; to <= beat_bytes; to++) {
                const text_range r = cut_text(from, to, offset);
                if (from == to) {
                    assert_true(r.cells == 0 && r.from == r.to);
                    continue;
                }
                assert_true(r.from == from && r.to == to);
                assert_int_equal(r.block, offset / 16);
                assert_int_equal(r.block + r.cells - 1, (offset + (to - from) - 1) / 16);
                assert_int_equal(static_cast<int>(from) - r.at, offset % 16);
                const unsigned text = offset + (to - from) + (offset * 7 + to) % 100;
                assert_int_equal(blocks_after(r, text), (text + 15) / 16 - 1 - (offset + (to - from) - 1) / 16);
            }
        }
    }
}

int main()
{
    printf("seed %llu\n", static_cast<unsigned long long>(seed));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fips_197), cmocka_unit_test(test_lanes_against_openssl),
        cmocka_unit_test(test_multiply), cmocka_unit_test(test_reduction_is_linear),
        cmocka_unit_test(test_powers),   cmocka_unit_test(test_cells),
        cmocka_unit_test(test_cut_text),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
