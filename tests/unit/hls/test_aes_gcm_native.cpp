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
        const gf128 s = native::gf128_square(a), t = portable::gf128_square(a);
        assert_memory_equal(&s, &t, sizeof(s));
    }
}

static void test_sums_and_products(void **)
{
    sim::random_source random(seed + 4);
    for (unsigned n = 0; n < 250000; n++) { /* 10^6 products */
        gf128 a[6], b[4], p[2], q[2];
        bool first[4];
        for (gf128 &one : a)
            one = random_element(random);
        for (unsigned i = 0; i < 4; i++) {
            b[i] = random_element(random);
            first[i] = random.chance(0.5);
        }
        portable::gf128_two_sums(a, b, first, p);
        native::gf128_two_sums(a, b, first, q);
        assert_memory_equal(p, q, sizeof(p));
        p[0] = portable::gf128_product(a);
        q[0] = native::gf128_product(a);
        assert_memory_equal(p, q, sizeof(p));
    }
}

/* More values of H than are remembered, some of them again and again. */
static void test_powers(void **)
{
    sim::random_source random(seed + 1);
    gf128 h[100];
    for (gf128 &one : h)
        one = random_element(random);
    h[0] = gf128_zero();
    for (unsigned n = 0; n < 100000; n++) {
        const gf128 &one = h[n % 3 == 0 ? random.below(100) : random.below(4)];
        const gf128_powers p = portable::gf128_all_powers(one), &q = native::gf128_all_powers(one);
        assert_memory_equal(&p, &q, sizeof(p));
    }
}

template <unsigned lanes> static void check_lanes(sim::random_source &random, const keystream_job &job)
{
    uint32_t counter[lanes];
    bool use_b[lanes];
    for (unsigned i = 0; i < lanes; i++) {
        counter[i] = static_cast<uint32_t>(random.bits());
        use_b[i] = random.chance(0.5);
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
    uint8_t key[300][32];
    random.fill(key, sizeof(key));
    memset(key[0], 0, sizeof(key[0]));
    memcpy(key[1], key[2], 16);
    for (unsigned n = 0; n < 55000; n++) {
        keystream_job job = {};
        memcpy(job.key_a, key[random.below(random.chance(0.5) ? 300 : 3)], 32);
        memcpy(job.key_b, key[random.below(random.chance(0.5) ? 300 : 3)], 32);
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
        uint8_t beat[beat_bytes], cells[cells_bytes], a[cells_bytes], b[cells_bytes], p[beat_bytes];
        random.fill(beat, sizeof(beat));
        random.fill(cells, sizeof(cells));
        const uint64_t mask = random.chance(0.1) ? 0 : random.chance(0.1) ? ~UINT64_C(0) : random.bits();
        const unsigned by = static_cast<unsigned>(random.below(ring_bytes));
        portable::take_cells(beat, mask, by, a);
        native::take_cells(beat, mask, by, b);
        assert_memory_equal(a, b, sizeof(a));
        memcpy(p, beat, sizeof(p));
        portable::place_cells(cells, by, mask, p);
        native::place_cells(cells, by, mask, beat);
        assert_memory_equal(p, beat, sizeof(p));
    }
}

int main()
{
    printf("seed %llu; AES-NI and PCLMULQDQ %s\n", static_cast<unsigned long long>(seed), native::available ? "in use" : "missing");
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_multiply), cmocka_unit_test(test_sums_and_products),
                                       cmocka_unit_test(test_powers), cmocka_unit_test(test_counter_lanes),
                                       cmocka_unit_test(test_cells)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
