// SPDX-License-Identifier: Apache-2.0
/*
 * rule_table against a reference that reads rules as people write them (addresses with prefix lengths, byte by byte) and takes the
 * first that fits; in the cycle harness, while rules change. SLUICE_LONG=1: ten times the packets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
extern "C" {
#include <cmocka.h>
}
#include <deque>
#include <memory>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vector>

#include "harness.hpp"
#include "random.hpp"
#include "rule_table/rule_table.hpp"

static uint64_t seed;

/* In a process or sink: an assertion would jump out of the machine's cycle, so the program ends here. */
static void require(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "%s, SLUICE_SEED=%llu\n", what, static_cast<unsigned long long>(seed));
        exit(1);
    }
}

/* A rule as it is written. */
struct plain_rule {
    uint8_t src[16], dst[16];
    uint8_t src_mask[16], dst_mask[16];
    uint16_t sport[2], dport[2];
    int proto;   /* -1: any */
    int version; /* 0: any */
    card::action what;
    uint32_t name; /* not known to the card */
};

static bool fits(const plain_rule &r, const card::flow_key &key)
{
    for (unsigned i = 0; i < 16; i++) {
        if ((key.src[i] & r.src_mask[i]) != (r.src[i] & r.src_mask[i]) ||
            (key.dst[i] & r.dst_mask[i]) != (r.dst[i] & r.dst_mask[i]))
            return false;
    }
    if (key.sport < r.sport[0] || key.sport > r.sport[1] || key.dport < r.dport[0] || key.dport > r.dport[1])
        return false;
    return (r.proto < 0 || r.proto == key.proto) && (r.version == 0 || r.version == key.version);
}

static uint64_t word_of(const uint8_t *byte)
{
    uint64_t word = 0;
    for (unsigned i = 8; i-- > 0;)
        word = word << 8 | byte[i];
    return word;
}

static card::rule to_card(const plain_rule &r)
{
    card::rule c = card::rule();
    c.valid = true;
    for (unsigned i = 0; i < 2; i++) {
        c.src_mask[i] = word_of(r.src_mask + 8 * i);
        c.dst_mask[i] = word_of(r.dst_mask + 8 * i);
        c.src[i] = word_of(r.src + 8 * i) & c.src_mask[i];
        c.dst[i] = word_of(r.dst + 8 * i) & c.dst_mask[i];
    }
    c.sport_min = r.sport[0];
    c.sport_max = r.sport[1];
    c.dport_min = r.dport[0];
    c.dport_max = r.dport[1];
    c.any_proto = r.proto < 0;
    c.proto = static_cast<uint8_t>(r.proto < 0 ? 0 : r.proto);
    c.version = static_cast<uint8_t>(r.version);
    c.what = r.what;
    return c;
}

class generator
{
  public:
    explicit generator(uint64_t s) : random(s)
    {
    }

    /* Addresses from few, so that rules and packets meet. */
    void address(uint8_t *to, unsigned bytes)
    {
        memset(to, 0, 16);
        for (unsigned i = 0; i < bytes; i++)
            to[i] = static_cast<uint8_t>(random.chance(0.8) ? 10 + i : random.bits());
    }
    void mask(uint8_t *to, unsigned bytes)
    {
        memset(to, 0, 16);
        if (random.chance(0.1)) { /* not a prefix */
            random.fill(to, bytes);
            return;
        }
        const unsigned length = random.chance(0.3) ? 0 : static_cast<unsigned>(random.between(0, bytes * 8));
        for (unsigned i = 0; i < length; i++)
            to[i / 8] = static_cast<uint8_t>(to[i / 8] | 0x80 >> i % 8);
    }
    void range(uint16_t *to)
    {
        const uint16_t a = static_cast<uint16_t>(random.bits()), b = static_cast<uint16_t>(random.bits());
        const uint64_t dice = random.below(10);
        to[0] = dice < 5 ? 0 : dice < 7 ? 443 : a;
        to[1] = dice < 5 ? 65535 : dice < 7 ? 443 : dice < 9 && b < a ? a : b; /* now and then min > max: fits nothing */
    }
    plain_rule rule()
    {
        plain_rule r;
        r.version = static_cast<int>(random.below(3)) * 2 + 2;
        const unsigned bytes = r.version == 6 ? 16 : 4;
        r.version = r.version == 2 ? 0 : r.version;
        address(r.src, bytes);
        address(r.dst, bytes);
        mask(r.src_mask, bytes);
        mask(r.dst_mask, bytes);
        range(r.sport);
        range(r.dport);
        r.proto = random.chance(0.5) ? -1 : random.chance(0.5) ? 6 : 17;
        r.what = static_cast<card::action>(random.below(3));
        r.name = names++;
        return r;
    }
    /* A packet; mostly one that a given rule takes, or nearly. */
    card::flow_key key(const plain_rule *near)
    {
        card::flow_key k;
        k.version = static_cast<uint8_t>(near != nullptr && near->version != 0 ? near->version : random.chance(0.5) ? 4 : 6);
        address(k.src, k.version == 4 ? 4 : 16);
        address(k.dst, k.version == 4 ? 4 : 16);
        k.sport = static_cast<uint16_t>(random.bits());
        k.dport = random.chance(0.5) ? 443 : static_cast<uint16_t>(random.bits());
        k.proto = random.chance(0.6) ? 6 : 17;
        if (near == nullptr)
            return k;
        for (unsigned i = 0; i < (k.version == 4 ? 4u : 16u); i++) {
            k.src[i] = static_cast<uint8_t>((k.src[i] & ~near->src_mask[i]) | (near->src[i] & near->src_mask[i]));
            k.dst[i] = static_cast<uint8_t>((k.dst[i] & ~near->dst_mask[i]) | (near->dst[i] & near->dst_mask[i]));
        }
        k.sport = static_cast<uint16_t>(random.between(near->sport[0], near->sport[1] < near->sport[0] ? 65535 : near->sport[1]));
        k.dport = static_cast<uint16_t>(random.between(near->dport[0], near->dport[1] < near->dport[0] ? 65535 : near->dport[1]));
        k.proto = static_cast<uint8_t>(near->proto < 0 ? 6 : near->proto);
        switch (random.below(12)) { /* nearly */
        case 0:
            k.src[random.below(k.version == 4 ? 4 : 16)] ^= static_cast<uint8_t>(1u << random.below(8));
            break;
        case 1:
            k.dst[random.below(k.version == 4 ? 4 : 16)] ^= static_cast<uint8_t>(1u << random.below(8));
            break;
        case 2:
            k.sport = static_cast<uint16_t>(near->sport[random.below(2)] + random.between(0, 2) - 1);
            break;
        case 3:
            k.dport = static_cast<uint16_t>(near->dport[random.below(2)] + random.between(0, 2) - 1);
            break;
        case 4:
            k.proto = 17;
            break;
        default:
            break;
        }
        return k;
    }

    sim::random_source random;
    uint32_t names = 1;
};

struct streams {
    std::unique_ptr<card::rule_table_state> state{new card::rule_table_state()};
    hls::stream<card::session_result, 4> results{"results"};
    hls::stream<card::lookup_result, 4> lookups{"lookups"};
    hls::stream<card::rule_update, 4> updates{"updates"};
    hls::stream<card::rule_update_done, 16> done{"done"};

    void call()
    {
        card::rule_table(*state, results, lookups, updates, done);
    }
    /* Until the next update is taken at once. */
    void wait()
    {
        for (unsigned i = 1; i < card::rule_table_depth; i++)
            call();
    }
};

static card::session_result miss(const card::flow_key &key)
{
    return {key, false, 0, card::action_punt};
}

/* The first rule of the list that fits; nullptr: none. */
static const plain_rule *first_fit(const std::vector<plain_rule> &list, const card::flow_key &key)
{
    for (const plain_rule &r : list) {
        if (fits(r, key))
            return &r;
    }
    return nullptr;
}

/*
 * The reference knows the list as its author does: a rule is inserted or removed at once. The card gets the writes that shift the
 * rules behind it; the change happens with the last write of an insert and with the first one of a removal (a removal of the last
 * rule is one write), and no packet between may be decided otherwise than by the old or the new list.
 */
static void test_random(void **)
{
    const char *value = getenv("SLUICE_LONG");
    const uint64_t count = value != nullptr && strcmp(value, "1") == 0 ? 2000000 : 200000;
    generator g(seed);
    streams s;
    sim::machine m(seed);

    struct write {
        card::rule_update update;
        bool effect; /* the reference changes with this write, to `list` and `otherwise` */
        bool last;   /* of its change */
        std::vector<plain_rule> list;
        card::action otherwise;
    };
    struct answer {
        card::lookup_result result;
        bool number_known; /* between the writes of one change the numbers are on their way */
    };
    std::vector<plain_rule> hosts, live; /* what the host will have sent, what the card decides by */
    card::action hosts_otherwise = card::action_punt, otherwise = card::action_punt;
    std::deque<write> queued;
    size_t offered = 0;
    bool moving = false; /* a change has begun and not ended */
    std::deque<card::session_result> asked;
    std::deque<answer> expected;
    uint64_t sent = 0, tags = 0, acknowledged = 0, changes = 0, by_rule = 0;

    const auto queue = [&](unsigned number, const card::rule &content, bool effect) {
        card::rule_update u = {card::rule_op_write, static_cast<uint16_t>(number), content, static_cast<uint32_t>(tags++)};
        queued.push_back({u, effect, false, effect ? hosts : std::vector<plain_rule>(), hosts_otherwise});
    };
    const auto change = [&] {
        const uint64_t dice = g.random.below(100);
        changes++;
        if (hosts.size() < card::rules_max && (dice < 40 || hosts.size() < 200)) {
            const std::vector<plain_rule> old = hosts;
            const size_t at = g.random.chance(0.5) ? hosts.size() : g.random.below(hosts.size() + 1);
            hosts.insert(hosts.begin() + static_cast<long>(at), g.rule());
            for (size_t i = old.size(); i > at; i--)
                queue(static_cast<unsigned>(i), to_card(old[i - 1]), false);
            queue(static_cast<unsigned>(at), to_card(hosts[at]), true);
        } else if (dice < 75) {
            const size_t at = g.random.below(hosts.size());
            hosts.erase(hosts.begin() + static_cast<long>(at));
            bool first = true;
            for (size_t i = at; i < hosts.size(); i++, first = false)
                queue(static_cast<unsigned>(i), to_card(hosts[i]), first);
            queue(static_cast<unsigned>(hosts.size()), card::rule(), first);
        } else if (dice < 97) {
            const size_t at = g.random.below(hosts.size());
            hosts[at] = g.rule();
            queue(static_cast<unsigned>(at), to_card(hosts[at]), true);
        } else {
            card::rule content = card::rule();
            hosts_otherwise = content.what = static_cast<card::action>(g.random.below(3));
            queue(0, content, true);
            queued.back().update.op = card::rule_op_default;
        }
        queued.back().last = true;
    };

    m.source<card::session_result>(
        "session_table", s.results,
        [&](card::session_result &r) {
            if (sent == count)
                return false;
            sent++;
            r = miss(g.key(live.empty() || g.random.chance(0.1) ? nullptr : &live[g.random.below(live.size())]));
            if (g.random.chance(0.1)) {
                r.hit = true;
                r.session = static_cast<uint32_t>(g.random.below(card::sessions_max));
                r.what = card::action_session_transcode;
            }
            asked.push_back(r);
            return true;
        },
        0.2);
    m.source<card::rule_update>(
        "control", s.updates,
        [&](card::rule_update &u) {
            if (offered == queued.size()) {
                if (sent == count)
                    return false;
                change();
            }
            u = queued[offered++].update;
            return true;
        },
        0.2);
    m.add("rule_table", card::rule_table_depth, [&] {
         const uint64_t packets_before = s.results.reads(), updates_before = s.updates.reads();
         s.call();
         if (s.results.reads() != packets_before) {
             const card::session_result r = asked.front();
             asked.pop_front();
             const plain_rule *rule = r.hit ? nullptr : first_fit(live, r.key);
             if (r.hit)
                 expected.push_back({{r.what, r.session, card::rules_max}, true});
             else if (rule != nullptr)
                 expected.push_back({{rule->what, 0, static_cast<uint16_t>(rule - live.data())}, !moving});
             else
                 expected.push_back({{otherwise, 0, card::rules_max}, true});
             by_rule += rule != nullptr;
         }
         if (s.updates.reads() != updates_before) {
             const write w = queued.front();
             queued.pop_front();
             offered--;
             if (w.effect) {
                 live = w.list;
                 otherwise = w.otherwise;
             }
             moving = !w.last;
         }
     }).stall(0.05);
    m.sink<card::lookup_result>(
        "fetch", s.lookups,
        [&](const card::lookup_result &r) {
            require(!expected.empty(), "an answer without a packet");
            const answer &e = expected.front();
            require(r.what == e.result.what && r.session == e.result.session && (!e.number_known || r.rule == e.result.rule),
                    "another answer than the reference's");
            expected.pop_front();
        },
        0.2);
    m.sink<card::rule_update_done>(
        "acknowledged", s.done,
        [&](const card::rule_update_done &d) { require(d.ok && d.tag == acknowledged++, "an update refused, or out of order"); },
        0.2);
    assert_true(m.run());
    assert_true(expected.empty() && asked.empty() && queued.empty());
    print_message("%llu packets, %llu decided by a rule, %llu changes of the list in %llu writes, %zu rules at the end\n",
                  static_cast<unsigned long long>(count), static_cast<unsigned long long>(by_rule),
                  static_cast<unsigned long long>(changes), static_cast<unsigned long long>(acknowledged), live.size());
    assert_true(by_rule > count / 4);
}

/* Each of the 256 rules, alone with those behind it, is the first. */
static void test_order(void **)
{
    streams s;
    plain_rule any;
    memset(&any, 0, sizeof(any));
    any.sport[1] = any.dport[1] = 65535;
    any.proto = -1;
    const card::flow_key key = {{1}, {2}, 3, 4, 6, 4};
    for (unsigned n = card::rules_max; n-- > 0;) {
        any.what = static_cast<card::action>(n % 3);
        s.wait();
        s.updates.write({card::rule_op_write, static_cast<uint16_t>(n), to_card(any), n});
        s.call();
        assert_true(s.done.read().ok);
        s.results.write(miss(key));
        s.call();
        const card::lookup_result r = s.lookups.read();
        assert_int_equal(r.rule, n);
        assert_int_equal(r.what, n % 3);
    }
    /* and none: the default */
    for (unsigned n = 0; n < card::rules_max; n++) {
        s.wait();
        s.updates.write({card::rule_op_write, static_cast<uint16_t>(n), card::rule(), n});
        s.results.write(miss(key)); /* rule_race: the packet of the cycle still meets the rule */
        s.call();
        assert_true(s.done.read().ok);
        assert_int_equal(s.lookups.read().rule, n);
    }
    s.results.write(miss(key));
    s.call();
    const card::lookup_result r = s.lookups.read();
    assert_int_equal(r.rule, card::rules_max);
    assert_int_equal(r.what, card::action_punt);
}

/* What is refused changes nothing. */
static void test_refused(void **)
{
    streams s;
    generator g(seed);
    card::rule good = to_card(g.rule()), bad = good;
    bad.what = card::action_session_forward;
    const card::rule_update updates[] = {
        {card::rule_op_write, card::rules_max, good, 1},
        {card::rule_op_write, 65535, good, 2},
        {card::rule_op_write, 0, bad, 3},
        {card::rule_op_default, 0, bad, 4},
        {static_cast<card::rule_op>(2), 0, good, 5},
    };
    const std::unique_ptr<card::rule_table_state> before(new card::rule_table_state(*s.state));
    for (const card::rule_update &u : updates) {
        s.wait();
        s.updates.write(u);
        s.call();
        const card::rule_update_done d = s.done.read();
        assert_false(d.ok);
        assert_int_equal(d.tag, u.tag);
        assert_false(s.state->rules[0].valid);
        assert_int_equal(s.state->otherwise, before->otherwise);
    }
}

/* One packet a cycle, constant latency, updates beside it without a pause; also when nobody reads the acknowledgements: ack_stall.
 */
static void measure_rate(bool acknowledged)
{
    const unsigned count = 50000;
    generator g(seed);
    streams s;
    sim::machine m(seed);
    unsigned sent = 0, updates = 0;
    std::deque<uint64_t> asked;
    uint64_t shortest = ~uint64_t{0}, longest = 0;
    m.source<card::session_result>("session_table", s.results, [&](card::session_result &r) {
        if (sent++ == count)
            return false;
        r = miss(g.key(nullptr));
        asked.push_back(m.now());
        return true;
    });
    m.source<card::rule_update>("control", s.updates, [&](card::rule_update &u) {
        u = {card::rule_op_write, static_cast<uint16_t>(g.random.below(card::rules_max)), to_card(g.rule()), updates++};
        return sent <= count;
    });
    m.add("rule_table", card::rule_table_depth, [&] { s.call(); });
    m.sink<card::lookup_result>("fetch", s.lookups, [&](const card::lookup_result &) {
        const uint64_t latency = m.now() - asked.front();
        shortest = latency < shortest ? latency : shortest;
        longest = latency > longest ? latency : longest;
        asked.pop_front();
    });
    if (acknowledged)
        m.sink<card::rule_update_done>("acknowledged", s.done, [](const card::rule_update_done &) {});
    assert_true(m.run_until([&] { return s.lookups.reads() == count; }));
    print_message("%.5f packets a cycle, latency %llu cycles\n", count / static_cast<double>(m.span()),
                  static_cast<unsigned long long>(longest));
    assert_true(m.span() <= count + 10);
    assert_int_equal(shortest, longest);
    if (acknowledged) {
        m.run();
    } else {
        assert_true(s.done.full());
        s.done.discard();
        s.updates.discard();
    }
}

static void test_rate(void **)
{
    measure_rate(true);
    measure_rate(false);
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_random),
    };
    seed = sim::test_seed();
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
