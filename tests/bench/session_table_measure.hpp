// SPDX-License-Identifier: Apache-2.0
/*
 * What the bench and the tests measure of the session table: the load that the host's cuckoo reaches, and lookups a cycle while
 * sessions are inserted, moved and removed without a pause.
 */
#ifndef SLUICE_SESSION_TABLE_MEASURE_HPP
#define SLUICE_SESSION_TABLE_MEASURE_HPP

#include <deque>
#include <memory>
#include <stdint.h>
#include <string.h>
#include <vector>

#include "card/cuckoo.h"
#include "harness.hpp"
#include "random.hpp"
#include "session_table/session_table.hpp"

namespace measure
{

struct cuckoo_free {
    void operator()(sl_card_cuckoo *c) const
    {
        sl_card_cuckoo_free(c);
    }
};
using cuckoo_ptr = std::unique_ptr<sl_card_cuckoo, cuckoo_free>;

inline cuckoo_ptr new_cuckoo(sim::random_source &random)
{
    uint8_t seed[SL_CARD_SEED_BYTES];
    random.fill(seed, sizeof(seed));
    sl_card_cuckoo *c = nullptr;
    return cuckoo_ptr(sl_card_cuckoo_new(seed, &c) == SL_OK ? c : nullptr);
}

/* Half IPv4, half IPv6. */
inline sl_card_flow_key random_key(sim::random_source &random)
{
    sl_card_flow_key key;
    memset(&key, 0, sizeof(key));
    key.version = random.chance(0.5) ? 4 : 6;
    random.fill(key.src, key.version == 4 ? 4 : 16);
    random.fill(key.dst, key.version == 4 ? 4 : 16);
    key.sport = static_cast<uint16_t>(random.bits());
    key.dport = static_cast<uint16_t>(random.bits());
    key.proto = random.chance(0.9) ? 6 : 17;
    return key;
}

inline card::flow_key to_card(const sl_card_flow_key &key)
{
    card::flow_key k;
    memcpy(k.src, key.src, sizeof(k.src));
    memcpy(k.dst, key.dst, sizeof(k.dst));
    k.sport = key.sport;
    k.dport = key.dport;
    k.proto = key.proto;
    k.version = key.version;
    return k;
}

/* A table as after power-up, then reset as the host asks. */
inline std::unique_ptr<card::session_table_state> new_table(const sl_card_cuckoo *cuckoo)
{
    std::unique_ptr<card::session_table_state> s(new card::session_table_state());
    hls::stream<card::packet_key> keys("keys");
    hls::stream<card::session_result> results("results");
    hls::stream<card::table_update> updates("updates");
    hls::stream<card::table_update_done> done("done");
    card::table_update reset = {card::table_op_reset, 0, {{0, 0, 0, 0, 0}}, 1};
    sl_card_cuckoo_seed(cuckoo, reset.content.word);
    updates.write(reset);
    while (done.empty())
        card::session_table(*s, keys, results, updates, done);
    done.read();
    return s;
}

/* Applies a plan outside of a machine. */
inline void apply(card::session_table_state &s, const sl_card_cuckoo_plan &plan)
{
    hls::stream<card::packet_key> keys("keys");
    hls::stream<card::session_result> results("results");
    hls::stream<card::table_update> updates("updates");
    hls::stream<card::table_update_done> done("done");
    for (size_t i = 0; i < plan.count; i++) {
        updates.write(card::table_update{card::table_op_write, plan.write[i].slot, plan.write[i].content, 0});
        while (done.empty())
            card::session_table(s, keys, results, updates, done);
        done.read();
    }
}

/* Sessions / slots of the ways when the first insert fails (the stash is full then), mean over `seeds` tables of random keys. */
inline double session_table_load(unsigned seeds, uint64_t seed)
{
    sim::random_source random(seed);
    double sum = 0;
    for (unsigned i = 0; i < seeds; i++) {
        const cuckoo_ptr cuckoo = new_cuckoo(random);
        sl_card_cuckoo_plan plan;
        sl_err err = SL_OK;
        for (uint32_t n = 0; err == SL_OK; n++) {
            const sl_card_flow_key key = random_key(random);
            err = sl_card_cuckoo_insert(cuckoo.get(), &key, n % card::table_sessions, 4, &plan);
        }
        sum += sl_card_cuckoo_load(cuckoo.get());
    }
    return sum / seeds;
}

struct session_table_rate {
    double lookups_per_cycle; /* a constant apart from 1: filling the pipeline */
    double updates_per_cycle;
    uint64_t wrong;                    /* results that were not what the session has */
    uint64_t latency_min, latency_max; /* cycles from the write of a key to the read of its result, the two streams included */
};

/* A key in every cycle, and updates as fast as they are taken, at the card's full load of sessions. Only keys are looked up that
 * are in the table all the time; meanwhile others come, push them about, and go. */
inline session_table_rate session_table_lookups(uint64_t lookups, uint64_t seed)
{
    sim::random_source random(seed);
    const cuckoo_ptr cuckoo = new_cuckoo(random);
    const std::unique_ptr<card::session_table_state> state = new_table(cuckoo.get());
    std::vector<sl_card_flow_key> stay, come;
    sl_card_cuckoo_plan plan;
    for (uint32_t i = 0; i < card::table_sessions - 1024; i++) {
        stay.push_back(random_key(random));
        if (sl_card_cuckoo_insert(cuckoo.get(), &stay.back(), i, 4, &plan) == SL_OK)
            apply(*state, plan);
    }

    sim::machine m(seed);
    hls::stream<card::packet_key, 2> keys("keys");
    hls::stream<card::session_result, 2> results("results");
    hls::stream<card::table_update, 2> updates("updates");
    hls::stream<card::table_update_done, 16> done("done");
    std::deque<std::pair<uint32_t, uint64_t>> asked; /* index in stay, cycle */
    std::deque<card::table_update> queued;
    session_table_rate rate = {0, 0, 0, ~uint64_t{0}, 0};
    uint64_t sent = 0, last = 0; /* cycle of the last result */
    bool over = false;

    m.source<card::packet_key>("parser", keys, [&](card::packet_key &key) {
        if (sent++ == lookups) {
            over = true;
            return false;
        }
        const uint32_t i = static_cast<uint32_t>(random.below(stay.size()));
        asked.emplace_back(i, m.now());
        key = card::packet_key{to_card(stay[i]), true};
        return true;
    });
    m.source<card::table_update>("control", updates, [&](card::table_update &update) {
        if (over && queued.empty())
            return false;
        if (queued.empty()) {
            if (come.size() == 1024) {
                sl_card_cuckoo_remove(cuckoo.get(), &come[0], &plan);
                come[0] = come.back();
                come.pop_back();
            } else {
                come.push_back(random_key(random));
                sl_card_cuckoo_insert(cuckoo.get(), &come.back(), card::table_sessions - 1, 4, &plan);
            }
            for (size_t i = 0; i < plan.count; i++)
                queued.push_back(card::table_update{card::table_op_write, plan.write[i].slot, plan.write[i].content, 0});
        }
        update = queued.front();
        queued.pop_front();
        return true;
    });
    m.add("session_table", card::session_table_depth, [&] { card::session_table(*state, keys, results, updates, done); });
    m.sink<card::session_result>("rules", results, [&](const card::session_result &result) {
        const uint64_t latency = m.now() - asked.front().second;
        rate.wrong += !result.hit || result.session != asked.front().first;
        rate.latency_min = latency < rate.latency_min ? latency : rate.latency_min;
        rate.latency_max = latency > rate.latency_max ? latency : rate.latency_max;
        asked.pop_front();
        last = m.now();
    });
    m.sink<card::table_update_done>("acknowledged", done, [](const card::table_update_done &) {});
    m.run_until([&] { return over && asked.empty() && queued.empty(); });
    rate.lookups_per_cycle = static_cast<double>(results.reads()) / static_cast<double>(last + 1);
    rate.updates_per_cycle = static_cast<double>(done.reads()) / static_cast<double>(m.now());
    m.run();
    return rate;
}

} // namespace measure

#endif
