// SPDX-License-Identifier: Apache-2.0
/*
 * Every layout that a piece can have: at most 5 cells, 6 items, 4 multiplies, powers up to H^4 (hls/aes_gcm/ghash.hpp says why);
 * and for a part of them, drawn at random, sums and keystream against a plain Horner scheme and single blocks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
extern "C" {
#include <cmocka.h>
}
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aes_gcm/ghash.hpp"
#include "aes_gcm/keystream.hpp"
#include "random.hpp"

using namespace card;

static const uint64_t seed = 20261126;

struct layout_case {
    piece_layout layout;
    bool aad_a, aad_b;
};

struct tally {
    sim::random_source random{seed};
    uint64_t layouts = 0, checked = 0;
    unsigned cells = 0, items = 0, multiplies = 0, power = 0;
};

static unsigned items_of(const text_range &text, bool aad)
{
    return text.cells + (aad ? 1u : 0u);
}

static unsigned one_less(unsigned n)
{
    return n == 0 ? 0 : n - 1;
}

/* Sum over the part's items, the last one with H^0, one after the other. */
static gf128 horner(const ghash_job &job, const text_range &text, bool with_aad, const uint8_t *aad, const gf128 &h)
{
    gf128 sum = with_aad ? gf128_from_bytes(aad) : gf128_zero();
    for (int i = 0; i < text.cells; i++) {
        uint8_t block[block_bytes] = {};
        for (int j = 0; j < static_cast<int>(block_bytes); j++) {
            const int p = text.at + static_cast<int>(block_bytes) * i + j;
            if (p >= text.from && p < text.to && (job.fresh >> p & 1))
                block[j] = job.byte[p];
        }
        sum = gf128_add(portable::gf128_mul(sum, h), gf128_from_bytes(block));
    }
    return sum;
}

static void check_sums(tally &t, const layout_case &c)
{
    ghash_job job = {};
    weight_job exponent = {};
    t.random.fill(job.byte, sizeof(job.byte));
    t.random.fill(job.aad_a, sizeof(job.aad_a));
    t.random.fill(job.aad_b, sizeof(job.aad_b));
    t.random.fill(exponent.h, sizeof(exponent.h));
    job.fresh = t.random.chance(0.5) ? ~UINT64_C(0) : t.random.bits();
    job.layout = c.layout;
    job.with_aad_a = c.aad_a;
    job.with_aad_b = c.aad_b;
    exponent.exponent = static_cast<uint16_t>(t.random.below(t.random.chance(0.5) ? 4 : 2048));
    const gf128 h = gf128_from_bytes(exponent.h);
    gf128 want_a = horner(job, c.layout.a, c.aad_a, job.aad_a, h), want_b = horner(job, c.layout.b, c.aad_b, job.aad_b, h);
    gf128 &last = items_of(c.layout.b, c.aad_b) > 0 ? want_b : want_a;
    for (unsigned i = 0; i < exponent.exponent; i++)
        last = leaf::gf128_mul(last, h);
    const ghash_result got = make_ghash(job, make_weight(exponent));
    assert_memory_equal(&got.sum_a, &want_a, sizeof(want_a));
    assert_memory_equal(&got.sum_b, &want_b, sizeof(want_b));
    const gf128 square = portable::gf128_square(h);
    assert_memory_equal(&got.h[0], &h, sizeof(h));
    assert_memory_equal(&got.h[1], &square, sizeof(square));
}

static void want_stream(const text_range &text, const uint8_t *key, bool long_key, const uint8_t *nonce, uint32_t first,
                        uint8_t out[beat_bytes])
{
    uint8_t stream[block_bytes];
    for (int p = text.from; p < text.to; p++) {
        if (p == text.from || (p - text.at) % 16 == 0) {
            aes_block block;
            for (unsigned i = 0; i < 3; i++)
                block.word[i] = word_from_bytes(nonce + 4 * i);
            block.word[3] = first + text.block + static_cast<uint32_t>((p - text.at) / 16);
            block = portable::aes_encrypt(block, aes_key_from_bytes(key, long_key));
            for (unsigned i = 0; i < 4; i++)
                word_to_bytes(block.word[i], stream + 4 * i);
        }
        out[p] = stream[(p - text.at) % 16];
    }
}

static void check_stream(tally &t, const layout_case &c)
{
    keystream_job job = {};
    t.random.fill(job.key_a, sizeof(job.key_a));
    t.random.fill(job.key_b, sizeof(job.key_b));
    t.random.fill(job.nonce_a, sizeof(job.nonce_a));
    t.random.fill(job.nonce_b, sizeof(job.nonce_b));
    job.layout = c.layout;
    job.layout.a.block = static_cast<uint16_t>(t.random.below(1030));
    job.first = static_cast<uint32_t>(t.random.below(3));
    job.long_a = t.random.chance(0.5);
    job.long_b = t.random.chance(0.5);
    uint8_t want[beat_bytes] = {};
    want_stream(job.layout.a, job.key_a, job.long_a, job.nonce_a, job.first, want);
    want_stream(job.layout.b, job.key_b, job.long_b, job.nonce_b, job.first, want);
    const keystream_result got = make_keystream<with_tag_mask>(job), bare = make_keystream<cells_only>(job);
    assert_memory_equal(got.byte, want, sizeof(want));
    assert_memory_equal(bare.byte, want, sizeof(want));
}

static void look_at(tally &t, const layout_case &c)
{
    const unsigned a = items_of(c.layout.a, c.aad_a), b = items_of(c.layout.b, c.aad_b);
    const unsigned cells = c.layout.a.cells + c.layout.b.cells, power = larger(one_less(a), one_less(b));
    t.layouts++;
    t.cells = larger(t.cells, cells);
    t.items = larger(t.items, a + b);
    t.multiplies = larger(t.multiplies, one_less(a) + one_less(b));
    t.power = larger(t.power, power);
    const bool edge = one_less(a) + one_less(b) == ghash_multipliers;
    if (t.random.below(edge ? 64 : 256) == 0) {
        check_sums(t, c);
        check_stream(t, c);
        t.checked++;
    }
}

/* All that can follow a's text when b's header may begin at `from`: nothing, b's header, b's text after an uncut start. In TLS 1.2
 * an explicit nonce lies between header and text. */
static void with_all_b(tally &t, layout_case c, unsigned from)
{
    c.layout.b = cut_text(0, 0, 0);
    c.aad_b = false;
    look_at(t, c);
    for (unsigned header = from; header + tls_header_bytes <= beat_bytes; header++) {
        for (const unsigned nonce : {0u, static_cast<unsigned>(tls12_nonce_bytes)}) {
            const unsigned text = header + tls_header_bytes + nonce;
            for (unsigned to = smaller(text, beat_bytes); to <= beat_bytes; to++) {
                c.layout.b = to > text ? cut_text(text, to, 0) : cut_text(0, 0, 0);
                for (const bool aad : {false, true}) {
                    c.aad_b = aad;
                    look_at(t, c);
                }
            }
        }
    }
}

static void test_all(void **)
{
    tally t;
    /* a has text: cut in front by 0..15 bytes, or whole with its AAD if the header's last byte is here too. */
    for (unsigned from = 0; from < beat_bytes; from++) {
        for (unsigned to = from + 1; to <= beat_bytes; to++) {
            for (unsigned skipped = 0; skipped < block_bytes; skipped++)
                with_all_b(t, {{cut_text(from, to, 160 + skipped), {}}, false, false}, to + tls_tag_bytes);
            if (from >= 1)
                with_all_b(t, {{cut_text(from, to, 0), {}}, true, false}, to + tls_tag_bytes);
        }
    }
    /* a has none: rest of a tag, header, nothing; with its AAD (the byte that completes the header is at `last`), then at least a
     * tag. */
    with_all_b(t, {{cut_text(0, 0, 0), {}}, false, false}, 0);
    for (unsigned last = 0; last < beat_bytes; last++)
        with_all_b(t, {{cut_text(0, 0, 0), {}}, true, false}, last + 1 + tls_tag_bytes);
    print_message("%llu layouts, %llu of them compared; at most %u cells, %u items, %u multiplies, H^%u\n",
                  static_cast<unsigned long long>(t.layouts), static_cast<unsigned long long>(t.checked), t.cells, t.items,
                  t.multiplies, t.power);
    assert_int_equal(t.cells, cells_max);
    assert_int_equal(t.items, ghash_items_max);
    assert_int_equal(t.multiplies, ghash_multipliers);
    assert_int_equal(t.power, 4);
    assert_true(t.checked > 1000);
}

/* All exponents that the format holds. */
static void test_weights(void **)
{
    sim::random_source random(seed + 1);
    weight_job job = {};
    random.fill(job.h, sizeof(job.h));
    const gf128 h = gf128_from_bytes(job.h);
    gf128 power = gf128_one();
    for (job.exponent = 0; job.exponent < 4096; job.exponent++) {
        const weight_result r = make_weight(job);
        assert_memory_equal(&r.weight, &power, sizeof(power));
        if (job.exponent >= 1 && job.exponent <= 4)
            assert_memory_equal(&r.h[job.exponent - 1], &power, sizeof(power));
        power = portable::gf128_mul(power, h);
    }
}

int main()
{
    printf("seed %llu\n", static_cast<unsigned long long>(seed));
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all), cmocka_unit_test(test_weights)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
