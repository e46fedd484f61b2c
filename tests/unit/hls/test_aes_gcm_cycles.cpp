// SPDX-License-Identifier: Apache-2.0
/*
 * The AES-GCM processes under the clock: one job a cycle whatever the jobs are (every one has another key and nonce), a constant
 * number of cycles from job to result, and the same results in the same order when inputs idle and outputs are held up.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
extern "C" {
#include <cmocka.h>
}
#include <stdio.h>

#include "harness.hpp"
#include "test_aes_gcm_records.hpp"

using namespace card;

static const uint64_t seed = 20261127;

/* Pieces of many records, each group of which has its own key. */
static std::vector<gcm_work> make_work(sim::random_source &random, size_t pieces)
{
    std::vector<gcm_work> all;
    while (all.size() < pieces) {
        const gcm_key key = random_key(random);
        std::vector<gcm_record> records;
        for (unsigned i = 0; i < 4; i++)
            records.push_back(random_record(random, key, 200));
        gcm_run run(key, records, false, random);
        for (gcm_work &w : run.work()) {
            gcm_run::hash_bytes(w, keystream_result(), false);
            all.push_back(w);
        }
    }
    all.resize(pieces);
    for (size_t i = pieces; i > 1; i--)
        std::swap(all[i - 1], all[random.below(i)]);
    return all;
}

struct lists {
    std::vector<keystream_job> stream_jobs;
    std::vector<weight_job> weight_jobs;
    std::vector<ghash_job> hash_jobs;
    std::vector<keystream_result> streams;
    std::vector<ghash_result> hashes;
};

static lists make_lists(const std::vector<gcm_work> &work)
{
    lists l;
    for (const gcm_work &w : work) {
        l.stream_jobs.push_back(w.stream);
        l.weight_jobs.push_back(w.weight);
        l.hash_jobs.push_back(w.hash);
        l.streams.push_back(make_keystream<with_tag_mask>(w.stream));
        l.hashes.push_back(make_ghash(w.hash, make_weight(w.weight)));
    }
    return l;
}

template <typename T> static void assert_same(const std::vector<T> &got, const std::vector<T> &want)
{
    assert_int_equal(got.size(), want.size());
    for (size_t i = 0; i < got.size(); i++)
        assert_memory_equal(&got[i], &want[i], sizeof(T));
}

/* Cycles for all jobs, with the processes side by side as in a lane. */
static uint64_t run_all(const lists &l, uint64_t run_seed, double idle, double pressure, double stall)
{
    sim::machine m(run_seed);
    hls::stream<keystream_job> jobs("jobs");
    hls::stream<keystream_result, 32> streams("streams");
    hls::stream<weight_job> exponents("exponents");
    hls::stream<weight_result, 32> powers("powers");
    hls::stream<ghash_job, 32> hash_jobs("hash_jobs");
    hls::stream<ghash_result, 32> sums("sums");
    std::vector<keystream_result> got_streams;
    std::vector<ghash_result> got_hashes;
    m.source("positions", jobs, l.stream_jobs, idle);
    m.source("exponent", exponents, l.weight_jobs, idle);
    m.source("ciphertext", hash_jobs, l.hash_jobs, idle);
    m.add("keystream", keystream_depth, [&] { keystream<with_tag_mask>(jobs, streams); });
    m.add("weights", weights_depth, [&] { weights(exponents, powers); });
    m.add("ghash", ghash_depth, [&] { ghash(hash_jobs, powers, sums); });
    m.sink("text", streams, got_streams, pressure);
    m.sink("finish", sums, got_hashes, pressure);
    m.stall(stall);
    assert_true(m.run());
    assert_same(got_streams, l.streams);
    assert_same(got_hashes, l.hashes);
    return m.span();
}

static void test_one_a_cycle(void **)
{
    sim::random_source random(seed);
    uint64_t constant = 0;
    for (const size_t jobs : {size_t{1}, size_t{2}, size_t{1000}, size_t{20000}}) {
        const uint64_t cycles = run_all(make_lists(make_work(random, jobs)), seed, 0, 0, 0);
        if (jobs == 1)
            constant = cycles - 1;
        assert_int_equal(cycles, jobs + constant);
        print_message("%zu jobs: %llu cycles\n", jobs, static_cast<unsigned long long>(cycles));
    }
    /* Source, the longer path weights -> ghash, sink. */
    assert_true(constant <= weights_depth + ghash_depth + 6);
}

static void test_idle_and_pressure(void **)
{
    sim::random_source random(seed + 1);
    for (unsigned n = 0; n < 12; n++) {
        const lists l = make_lists(make_work(random, 1500));
        run_all(l, seed + n, n % 2 == 0 ? 0.3 : 0.05, n % 3 == 0 ? 0.4 : 0.05, n % 4 == 0 ? 0.2 : 0);
    }
}

/* Their share of the 96 cycles of a lane, by construction; the weights are not on the way. */
static void test_depths(void **)
{
    print_message("keystream %u, weights %u, ghash %u, final %u cycles\n", keystream_depth, weights_depth, ghash_depth,
                  ghash_final_depth);
    assert_true(keystream_depth + ghash_depth + ghash_final_depth <= 32);
    assert_true(weights_depth <= keystream_depth + 1);
}

int main()
{
    printf("seed %llu\n", static_cast<unsigned long long>(seed));
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_a_cycle), cmocka_unit_test(test_idle_and_pressure),
                                       cmocka_unit_test(test_depths)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
