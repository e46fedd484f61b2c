// SPDX-License-Identifier: Apache-2.0
/* The leaves with the processor's own instructions give what the portable ones give, on any input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
extern "C" {
#include <cmocka.h>
}
#include <stdio.h>
#include <string.h>

#include "native/leaves.hpp"
#include "random.hpp"

using namespace card;

static const uint64_t seed = 20261124;

static gf128 random_element(sim::random_source &random)
{
    return gf128{{random.bits(), random.bits()}};
}

static void test_multiply(void **)
{
    sim::random_source random(seed);
    for (unsigned n = 0; n < 1000000; n++) {
        const gf128 a = random_element(random), b = random_element(random);
        const gf256 p = portable::gf128_multiply(a, b), q = native::gf128_multiply(a, b);
        assert_memory_equal(&p, &q, sizeof(p));
        const gf128 x = native::gf128_mul(a, b), y = portable::gf128_reduce(p);
        assert_memory_equal(&x, &y, sizeof(x));
    }
}

static void test_sums(void **)
{
    sim::random_source random(seed + 4);
    for (unsigned n = 0; n < 250000; n++) { /* 10^6 products */
        gf128 a[4], b[4], p[2], q[2];
        bool first[4];
        const bool one_sum = random.chance(0.3);
        for (unsigned i = 0; i < 4; i++) {
            a[i] = random_element(random);
            b[i] = random_element(random);
            first[i] = one_sum ? (n & 1) != 0 : random.chance(0.5);
        }
        portable::gf128_two_sums(a, b, first, p);
        native::gf128_two_sums(a, b, first, q);
        assert_memory_equal(p, q, sizeof(p));
    }
}

/* More values of H than are remembered, some of them again and again; every exponent. */
static void test_weights(void **)
{
    sim::random_source random(seed + 1);
    gf128 h[600];
    for (gf128 &one : h)
        one = random_element(random);
    h[0] = gf128_zero();
    for (unsigned n = 0; n < 100000; n++) {
        const gf128 &one = h[n % 3 == 0 ? random.below(600) : random.below(4)];
        const weight_result p = portable::gf128_weight(one, n % 2048), q = native::gf128_weight(one, n % 2048);
        assert_memory_equal(&p, &q, sizeof(p));
    }
}

template <unsigned lanes> static void check_lanes(sim::random_source &random, const keystream_job &job)
{
    uint32_t counter[lanes];
    bool use_b[lanes];
    const bool with_b = random.chance(0.7);
    for (unsigned i = 0; i < lanes; i++) {
        counter[i] = static_cast<uint32_t>(random.bits());
        use_b[i] = with_b && random.chance(0.5);
    }
    uint8_t a[lanes * block_bytes], b[lanes * block_bytes];
    portable::counter_lanes<lanes>(job, counter, use_b, a);
    native::counter_lanes<lanes>(job, counter, use_b, b);
    assert_memory_equal(a, b, sizeof(a));
}

/* 220,000 jobs of 5 to 8 lanes: more than 10^6 blocks. Keys come again, also with the other length and other unused halves. */
static void test_counter_lanes(void **)
{
    sim::random_source random(seed + 2);
    uint8_t key[1000][32];
    random.fill(key, sizeof(key));
    memset(key[0], 0, sizeof(key[0]));
    memcpy(key[1], key[2], 16);
    for (unsigned n = 0; n < 55000; n++) {
        keystream_job job = {};
        memcpy(job.key_a, key[random.below(random.chance(0.5) ? 1000 : 3)], 32);
        memcpy(job.key_b, key[random.below(random.chance(0.5) ? 1000 : 3)], 32);
        random.fill(job.nonce_a, sizeof(job.nonce_a));
        random.fill(job.nonce_b, sizeof(job.nonce_b));
        job.long_a = random.chance(0.5);
        job.long_b = random.chance(0.5);
        check_lanes<5>(random, job);
        check_lanes<6>(random, job);
        check_lanes<7>(random, job);
        check_lanes<8>(random, job);
    }
}

static void test_cells(void **)
{
    sim::random_source random(seed + 3);
    for (unsigned n = 0; n < 300000; n++) {
        uint8_t beat[beat_bytes], cells[cells_bytes], aad[block_bytes], p[beat_bytes];
        gf128 a[ghash_items_max], b[ghash_items_max];
        random.fill(beat, sizeof(beat));
        random.fill(cells, sizeof(cells));
        random.fill(aad, sizeof(aad));
        const uint64_t mask = random.chance(0.1) ? 0 : random.chance(0.1) ? ~UINT64_C(0) : random.bits();
        const unsigned by = static_cast<unsigned>(random.below(ring_bytes));
        const bool with_aad = random.chance(0.5);
        portable::take_items(beat, mask, by, with_aad, aad, a);
        native::take_items(beat, mask, by, with_aad, aad, b);
        assert_memory_equal(a, b, sizeof(a));
        memcpy(p, beat, sizeof(p));
        portable::place_cells(cells, by, mask, p);
        native::place_cells(cells, by, mask, beat);
        assert_memory_equal(p, beat, sizeof(p));
        card::keep_bytes(p, mask);
        native::keep_bytes(beat, mask);
        assert_memory_equal(p, beat, sizeof(p));
        assert_true(card::nonzero_bytes(beat) == native::nonzero_bytes(beat));
    }
}

int main()
{
    printf("seed %llu; AES-NI and PCLMULQDQ %s\n", static_cast<unsigned long long>(seed), native::available ? "in use" : "missing");
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_multiply), cmocka_unit_test(test_sums), cmocka_unit_test(test_weights),
                                       cmocka_unit_test(test_counter_lanes), cmocka_unit_test(test_cells)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
