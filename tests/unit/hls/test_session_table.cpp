// SPDX-License-Identifier: Apache-2.0
/*
 * session_table against a hash map, in the cycle harness, with updates from the host's cuckoo all the time. The map is told of a
 * session by the last write of its insert and of its end by the first write of its removal; the moves between change nothing in
 * it. So each result is compared with what the map said in the very cycle of the lookup: a session that is missed between two
 * writes of a displacement, or found with another value, is a failure. SLUICE_LONG=1: ten times the operations.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
extern "C" {
#include <cmocka.h>
}
#include <array>
#include <stdio.h>
#include <stdlib.h>
#include <string>
#include <unordered_map>

#include "session_table_measure.hpp"

static uint64_t seed;

/* Under sanitizers a tenth: they look at the same code. */
static uint64_t scaled(uint64_t operations)
{
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    operations /= 10;
#endif
#elif defined(__SANITIZE_ADDRESS__)
    operations /= 10;
#endif
    const char *value = getenv("SLUICE_LONG");
    return value != nullptr && strcmp(value, "1") == 0 ? 10 * operations : operations;
}

/* In a process or sink: an assertion would jump out of the machine's cycle, so the program ends here. */
static void require(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "%s, SLUICE_SEED=%llu\n", what, static_cast<unsigned long long>(seed));
        exit(1);
    }
}

/* The reference: what the host said is in the table. */
struct value {
    uint32_t session;
    uint8_t action;
};

static std::string name_of(const sl_card_flow_key &key)
{
    std::string name(reinterpret_cast<const char *>(key.src), 16);
    name.append(reinterpret_cast<const char *>(key.dst), 16);
    for (unsigned number : {unsigned(key.sport), unsigned(key.dport), unsigned(key.proto), unsigned(key.version)}) {
        name.push_back(static_cast<char>(number >> 8));
        name.push_back(static_cast<char>(number));
    }
    return name;
}

using reference = std::unordered_map<std::string, value>;

/* An update, and what it means for the reference. */
struct step {
    enum { moves, sets, erases } what;
    card::table_update update;
    std::string key;
    value now;
};

class bench
{
  public:
    explicit bench(uint64_t s) : random(s), cuckoo(measure::new_cuckoo(random)), table(measure::new_table(cuckoo.get()))
    {
    }

    /* A random change on the host. Its writes go to `queued`. */
    void change(unsigned inserts_percent)
    {
        sl_card_cuckoo_plan plan;
        const uint32_t session = static_cast<uint32_t>(random.below(card::table_sessions));
        const uint8_t action = static_cast<uint8_t>(random.below(6));
        const uint64_t dice = random.below(100);
        if (present.empty() || dice < inserts_percent) {
            const sl_card_flow_key key = random.chance(0.1) || absent.empty() ? measure::random_key(random) : take(absent);
            if (sl_card_cuckoo_insert(cuckoo.get(), &key, session, action, &plan) == SL_OK) {
                present.push_back(key);
                queue(plan, plan.count - 1, step::sets, key, {session, action});
            } else {
                refused++;
                absent.push_back(key);
            }
        } else if (dice < inserts_percent + (100 - inserts_percent) / 2) {
            const sl_card_flow_key key = present[random.below(present.size())];
            require(sl_card_cuckoo_change(cuckoo.get(), &key, session, action, &plan) == SL_OK, "a change refused");
            queue(plan, 0, step::sets, key, {session, action});
        } else {
            const sl_card_flow_key key = take(present);
            require(sl_card_cuckoo_remove(cuckoo.get(), &key, &plan) == SL_OK, "a removal refused");
            absent.push_back(key);
            queue(plan, 0, step::erases, key, {0, 0});
        }
    }

    /* Something to look up: a session that is being moved just now, any session, or none. */
    sl_card_flow_key pick()
    {
        const uint64_t dice = random.below(100);
        if (dice < 40 && !moving.empty())
            return moving[random.below(moving.size())];
        if (dice < 75 && !present.empty())
            return present[random.below(present.size())];
        if (dice < 90 && !absent.empty())
            return absent[random.below(absent.size())];
        return measure::random_key(random);
    }

    /* The card has taken the oldest queued write. */
    void applied()
    {
        const step &s = queued.front();
        if (s.what == step::sets)
            live[s.key] = s.now;
        else if (s.what == step::erases)
            live.erase(s.key);
        queued.pop_front();
    }

    card::session_result expect(const sl_card_flow_key &key) const
    {
        const auto at = live.find(name_of(key));
        if (at == live.end())
            return {measure::to_card(key), false, 0, card::action_punt};
        return {measure::to_card(key), true, at->second.session, static_cast<card::action>(at->second.action)};
    }

    void assert_same_as_shadow() const
    {
        for (uint32_t i = 0; i < card::table_slots; i++) {
            const card::table_slot &slot = i < card::table_ways * card::table_rows
                                               ? table->way[i / card::table_rows][i % card::table_rows]
                                               : table->stash[i - card::table_ways * card::table_rows];
            assert_memory_equal(&slot, sl_card_cuckoo_slot(cuckoo.get(), i), sizeof(slot));
        }
    }

    sim::random_source random;
    measure::cuckoo_ptr cuckoo;
    std::unique_ptr<card::session_table_state> table;
    std::deque<step> queued;
    reference live;
    uint64_t refused = 0;

  private:
    sl_card_flow_key take(std::vector<sl_card_flow_key> &from)
    {
        const size_t i = random.below(from.size());
        const sl_card_flow_key key = from[i];
        from[i] = from.back();
        from.pop_back();
        return key;
    }

    void queue(const sl_card_cuckoo_plan &plan, size_t at, decltype(step::what) what, const sl_card_flow_key &key, value now)
    {
        for (size_t i = 0; i < plan.count; i++) {
            const card::table_slot &content = plan.write[i].content;
            const card::table_update update = {card::table_op_write, plan.write[i].slot, content, tag++};
            queued.push_back({i == at ? what : step::moves, update, name_of(key), now});
            if (i != at && card::table_slot_valid(&content)) {
                moving.push_back(key_of(content));
                if (moving.size() > 16)
                    moving.pop_front();
            }
        }
    }

    static sl_card_flow_key key_of(const card::table_slot &slot)
    {
        sl_card_flow_key key;
        memcpy(key.src, &slot.word[0], 16);
        memcpy(key.dst, &slot.word[2], 16);
        key.sport = static_cast<uint16_t>(slot.word[4] >> card::table_at_sport);
        key.dport = static_cast<uint16_t>(slot.word[4] >> card::table_at_dport);
        key.proto = static_cast<uint8_t>(slot.word[4] >> card::table_at_proto);
        key.version = (slot.word[4] >> card::table_at_ipv6 & 1) != 0 ? 6 : 4;
        return key;
    }

    std::vector<sl_card_flow_key> present, absent;
    std::deque<sl_card_flow_key> moving;
    uint32_t tag = 0;
};

static bool same(const card::session_result &a, const card::session_result &b)
{
    return a.hit == b.hit && a.session == b.session && a.what == b.what && memcmp(a.key.src, b.key.src, 16) == 0 &&
           memcmp(a.key.dst, b.key.dst, 16) == 0 && a.key.sport == b.key.sport && a.key.dport == b.key.dport &&
           a.key.proto == b.key.proto && a.key.version == b.key.version;
}

/* `operations` lookups and updates, together, with everything at random: idle inputs, back-pressure, stalls. The table is filled to
 * `load` before. */
static void run_random(uint64_t s, uint64_t operations, double load, unsigned inserts_percent)
{
    bench b(s);
    while (sl_card_cuckoo_load(b.cuckoo.get()) < load) {
        b.change(100);
        sl_card_cuckoo_plan one = {1, {}};
        while (!b.queued.empty()) {
            one.write[0] = {b.queued.front().update.slot, b.queued.front().update.content};
            measure::apply(*b.table, one);
            b.applied();
        }
    }

    sim::machine m(s + 1);
    hls::stream<card::packet_key, 4> keys("keys");
    hls::stream<card::session_result, 4> results("results");
    hls::stream<card::table_update, 4> updates("updates");
    hls::stream<card::table_update_done, 16> done("done");
    std::deque<sl_card_flow_key> asked;
    std::deque<bool> asked_valid;
    std::deque<card::session_result> expected;
    std::deque<uint32_t> looked_up; /* results before each update */
    uint32_t results_written = 0;
    size_t offered = 0; /* steps of b.queued that are in the stream already */
    uint64_t lookups = 0, hits = 0, written = 0, last_tag = 0;
    double load_sum = 0;
    const auto over = [&] { return lookups + written >= operations; };

    m.source<card::packet_key>(
        "parser", keys,
        [&](card::packet_key &key) {
            if (over())
                return false;
            asked.push_back(b.pick());
            asked_valid.push_back(!b.random.chance(0.05));
            key = {measure::to_card(asked.back()), asked_valid.back()};
            return true;
        },
        0.2);
    m.source<card::table_update>(
        "control", updates,
        [&](card::table_update &update) {
            if (offered == b.queued.size()) {
                if (over())
                    return false;
                while (offered == b.queued.size())
                    b.change(sl_card_cuckoo_load(b.cuckoo.get()) < load ? 80 : inserts_percent);
            }
            update = b.queued[offered++].update;
            return true;
        },
        0.2);
    m.add("session_table", card::session_table_depth, [&] {
         const uint64_t keys_before = keys.reads(), updates_before = updates.reads();
         card::session_table(*b.table, keys, results, updates, done);
         if (keys.reads() != keys_before) { /* this cycle's lookup comes before this cycle's update */
             if (asked_valid.front()) {
                 expected.push_back(b.expect(asked.front()));
                 results_written++;
             }
             asked.pop_front();
             asked_valid.pop_front();
         }
         if (updates.reads() != updates_before) {
             b.applied();
             offered--;
             looked_up.push_back(results_written);
         }
     }).stall(0.05);
    m.sink<card::session_result>(
        "rules", results,
        [&](const card::session_result &result) {
            require(!expected.empty() && same(result, expected.front()), "another result than the reference's");
            expected.pop_front();
            lookups++;
            hits += result.hit;
        },
        0.2);
    m.sink<card::table_update_done>(
        "acknowledged", done,
        [&](const card::table_update_done &d) {
            require(d.ok && (written == 0 || d.tag == last_tag + 1), "an update refused, or out of order");
            require(d.lookups == looked_up.front(), "another number of lookups before the update");
            looked_up.pop_front();
            last_tag = d.tag;
            written++;
            load_sum += sl_card_cuckoo_load(b.cuckoo.get());
        },
        0.2);
    assert_true(m.run());
    assert_true(expected.empty() && asked.empty() && b.queued.empty());
    assert_int_equal(b.live.size(), sl_card_cuckoo_count(b.cuckoo.get()));
    b.assert_same_as_shadow();
    print_message("%llu lookups (%llu hits), %llu writes at a mean load of %.3f, %llu inserts refused, %llu cycles\n",
                  static_cast<unsigned long long>(lookups), static_cast<unsigned long long>(hits),
                  static_cast<unsigned long long>(written), load_sum / static_cast<double>(written),
                  static_cast<unsigned long long>(b.refused), static_cast<unsigned long long>(m.now()));
}

static void test_random(void **)
{
    run_random(seed, scaled(900000), 0.93, 20);
}

/* At the threshold: long displacements, the stash in use, inserts refused. */
static void test_random_full(void **)
{
    run_random(seed + 100, scaled(100000), 0.974, 60);
}

/* One lookup a cycle, constant latency, updates beside it without a pause. */
static void test_rate(void **)
{
    const uint64_t lookups = scaled(50000);
    const measure::session_table_rate r = measure::session_table_lookups(lookups, seed);
    print_message("%.5f lookups and %.5f updates a cycle, latency %llu cycles\n", r.lookups_per_cycle, r.updates_per_cycle,
                  static_cast<unsigned long long>(r.latency_max));
    assert_int_equal(r.wrong, 0);
    assert_int_equal(r.latency_min, r.latency_max);
    assert_int_equal(r.latency_max, card::session_table_depth + 1); /* and the register of the source */
    assert_true(r.lookups_per_cycle > static_cast<double>(lookups) / static_cast<double>(lookups + 20));
    assert_true(r.updates_per_cycle > 0.95 / card::session_table_depth);
}

static void test_load(void **)
{
    const double load = measure::session_table_load(3, seed);
    print_message("load at the first failure, mean of 3 seeds: %.4f\n", load);
    assert_true(load > 0.95);
}

/* The process by itself, a call at a time. */
struct direct {
    std::unique_ptr<card::session_table_state> table;
    hls::stream<card::packet_key, 2> keys{"keys"};
    hls::stream<card::session_result, 2> results{"results"};
    hls::stream<card::table_update, 2> updates{"updates"};
    hls::stream<card::table_update_done, 2> done{"done"};

    explicit direct(std::unique_ptr<card::session_table_state> t) : table(std::move(t))
    {
    }
    void call()
    {
        card::session_table(*table, keys, results, updates, done);
    }
    /* Until the next update is taken at once. */
    void wait()
    {
        for (unsigned i = 1; i < card::session_table_depth; i++)
            call();
    }
    bool write(uint32_t slot, const card::table_slot &content)
    {
        updates.write({card::table_op_write, slot, content, 5});
        while (done.empty())
            call();
        const card::table_update_done d = done.read();
        assert_int_equal(d.tag, 5);
        return d.ok;
    }
    card::session_result look_up(const sl_card_flow_key &key)
    {
        keys.write({measure::to_card(key), true});
        call();
        return results.read();
    }
};

static card::table_slot slot_of(const sl_card_flow_key &key, uint32_t session, uint8_t action)
{
    card::table_slot slot = card::table_slot_of_key(key.src, key.dst, key.sport, key.dport, key.proto, key.version);
    card::table_slot_set_value(&slot, session, action);
    return slot;
}

/* Hazards slot_race and double_hit, and what a wrong update does. */
static void test_hazards(void **)
{
    sim::random_source random(seed);
    const measure::cuckoo_ptr cuckoo = measure::new_cuckoo(random);
    direct d(measure::new_table(cuckoo.get()));
    const sl_card_flow_key key = measure::random_key(random);
    const card::table_slot one = slot_of(key, 1, 3), empty = {{0, 0, 0, 0, 0}};
    const card::table_rows_of rows = card::table_hash_rows(&d.table->hash, &one);

    /* 1: slot_race: the lookup of the cycle sees the old content, the next one the new; in either direction */
    const uint32_t at = 2 * card::table_rows + rows.row[2];
    for (unsigned i = 0; i < 2; i++) {
        d.wait();
        d.updates.write({card::table_op_write, at, i == 0 ? one : empty, 0});
        assert_int_equal(d.look_up(key).hit, i == 1);
        assert_true(d.done.read().ok);
        assert_int_equal(d.look_up(key).hit, i == 0);
    }

    /* 2: double_hit: the lowest way, the stash last */
    const uint32_t stash = card::table_ways * card::table_rows;
    std::vector<uint32_t> places = {stash + 7, stash + 2};
    for (uint32_t w = card::table_ways; w-- > 0;)
        places.push_back(w * card::table_rows + rows.row[w]);
    uint32_t session = 10;
    for (uint32_t slot : places) {
        assert_true(d.write(slot, slot_of(key, ++session, 4)));
        const card::session_result r = d.look_up(key);
        assert_true(r.hit);
        assert_int_equal(r.session, session);
    }

    /* 3: no such slot, no such operation: nothing changes */
    std::unique_ptr<card::session_table_state> before(new card::session_table_state(*d.table));
    assert_false(d.write(card::table_slots, one));
    assert_false(d.write(UINT32_MAX, one));
    d.wait();
    d.updates.write({static_cast<card::table_op>(2), 0, one, 5});
    d.call();
    assert_false(d.done.read().ok);
    assert_memory_equal(before->way, d.table->way, sizeof(before->way));
    assert_memory_equal(before->stash, d.table->stash, sizeof(before->stash));

    /* 4: a slot whose key would match but is not valid */
    const sl_card_flow_key zero = {{0}, {0}, 0, 0, 0, 4};
    assert_false(d.look_up(zero).hit);
}

/* Neither half waits for the other: keys without room for results, updates without room for done. */
static void test_independence(void **)
{
    sim::random_source random(seed);
    const measure::cuckoo_ptr cuckoo = measure::new_cuckoo(random);
    direct d(measure::new_table(cuckoo.get()));
    const sl_card_flow_key key = measure::random_key(random);
    const card::table_slot content = slot_of(key, 1, 3);
    for (unsigned i = 0; i < 2; i++) {
        d.keys.write({measure::to_card(key), true});
        d.call();
    }
    assert_true(d.results.full());
    d.keys.write({measure::to_card(key), true});
    assert_true(d.write(0, content)); /* results are full, updates go on */
    assert_int_equal(d.keys.size(), 1);
    for (unsigned i = 0; i < 2; i++) {
        d.results.read();
        d.wait();
        d.updates.write({card::table_op_write, i, content, i});
        d.call();
    }
    assert_true(d.done.full());
    d.updates.write({card::table_op_write, 7, content, 9});
    while (!d.results.empty())
        d.results.read();
    d.look_up(key); /* done is full, lookups go on */
    assert_int_equal(d.updates.size(), 1);
    d.updates.read();
    d.done.read();
    d.done.read();

    /* a key that is not valid is taken, and has no result */
    d.keys.write({measure::to_card(key), false});
    d.call();
    assert_true(d.keys.empty());
    assert_true(d.results.empty());
}

/* Hazard ack_stall: nobody reads the acknowledgements; lookups go on, one a cycle. */
static void test_ack_stall(void **)
{
    const unsigned count = 5000;
    sim::random_source random(seed);
    const measure::cuckoo_ptr cuckoo = measure::new_cuckoo(random);
    direct d(measure::new_table(cuckoo.get()));
    sim::machine m(seed);
    unsigned sent = 0;
    m.source<card::packet_key>("parser", d.keys, [&](card::packet_key &key) {
        key = {measure::to_card(measure::random_key(random)), true};
        return sent++ < count;
    });
    m.source<card::table_update>("control", d.updates, [&](card::table_update &update) {
        update = {card::table_op_write, 7, {{0, 0, 0, 0, 0}}, 0};
        return true;
    });
    m.add("session_table", card::session_table_depth, [&] { d.call(); });
    m.sink<card::session_result>("rules", d.results, [](const card::session_result &) {});
    assert_true(m.run_until([&] { return d.results.reads() == count; }));
    assert_true(d.done.full());
    assert_true(m.span() <= count + card::session_table_depth + 3);
    d.done.discard();
    d.updates.discard();
}

/* A reset takes table_rows cycles, all lookups miss meanwhile, updates wait; then the table is empty and hashes as the host does.
 */
static void test_reset(void **)
{
    sim::random_source random(seed);
    const measure::cuckoo_ptr cuckoo = measure::new_cuckoo(random);
    direct d(measure::new_table(cuckoo.get()));
    std::vector<sl_card_flow_key> keys;
    sl_card_cuckoo_plan plan;
    for (uint32_t i = 0; i < 5000; i++) {
        keys.push_back(measure::random_key(random));
        assert_int_equal(sl_card_cuckoo_insert(cuckoo.get(), &keys[i], i, 4, &plan), SL_OK);
        for (size_t w = 0; w < plan.count; w++)
            assert_true(d.write(plan.write[w].slot, plan.write[w].content));
        assert_true(d.look_up(keys[i]).hit);
    }
    assert_true(d.write(card::table_ways * card::table_rows, slot_of(measure::random_key(random), 1, 1)));

    assert_int_equal(sl_card_cuckoo_reset(cuckoo.get(), nullptr), SL_OK);
    card::table_update reset = {card::table_op_reset, 0, {{0, 0, 0, 0, 0}}, 77};
    sl_card_cuckoo_seed(cuckoo.get(), reset.content.word);
    d.wait();
    d.updates.write(reset);
    d.call();
    assert_int_equal(sl_card_cuckoo_insert(cuckoo.get(), &keys[0], 9, 3, &plan), SL_OK);
    d.updates.write({card::table_op_write, plan.write[0].slot, plan.write[0].content, 78});
    unsigned cycles = 0;
    while (d.done.empty()) {
        assert_int_equal(d.updates.size(), 1);
        assert_false(d.look_up(keys[cycles % keys.size()]).hit);
        cycles++;
    }
    assert_int_equal(cycles, card::table_rows + 1);
    assert_int_equal(d.done.read().tag, 77);
    d.wait();
    assert_true(d.done.empty());
    d.call();
    assert_int_equal(d.done.read().tag, 78);
    for (uint32_t i = 0; i < card::table_slots; i++) {
        const card::table_slot &slot = i < card::table_ways * card::table_rows
                                           ? d.table->way[i / card::table_rows][i % card::table_rows]
                                           : d.table->stash[i - card::table_ways * card::table_rows];
        assert_memory_equal(&slot, sl_card_cuckoo_slot(cuckoo.get(), i), sizeof(slot));
    }
    const card::session_result r = d.look_up(keys[0]);
    assert_true(r.hit);
    assert_int_equal(r.session, 9);
    assert_int_equal(r.what, 3);
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hazards), cmocka_unit_test(test_independence), cmocka_unit_test(test_ack_stall),
        cmocka_unit_test(test_reset),   cmocka_unit_test(test_rate),         cmocka_unit_test(test_load),
        cmocka_unit_test(test_random),  cmocka_unit_test(test_random_full),
    };
    seed = sim::test_seed();
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
