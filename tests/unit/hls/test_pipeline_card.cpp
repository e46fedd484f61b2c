/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All kernels together, with nothing but host memory between them and the test: commands, completions, events, packets, mirror.
 * Genuine TLS 1.3 goes in, what comes out is opened by the receiver, what the mirror shows is unsealed. Covers G6, G7, G13.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include <cmocka.h>
}

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <vector>

#include "packet/punt_layout.h"
#include "pipeline/card_kernels.hpp"
#include "pipeline/kernels.hpp"
#include "tls_sender.hpp"

using namespace card;
using bench::tls_sender;
typedef std::vector<uint8_t> bytes;

namespace
{

enum : uint32_t { sessions = 256, command_entries = 8, event_entries = 16, ring_lines = 1024 };

/* Zeroed lines. */
class block
{
  public:
    explicit block(size_t lines)
        : m_bytes(lines * beat_bytes), m_memory(static_cast<uint8_t *>(aligned_alloc(beat_bytes, m_bytes)), free)
    {
        memset(m_memory.get(), 0, m_bytes);
    }
    uint8_t *get() const
    {
        return m_memory.get();
    }
    size_t size() const
    {
        return m_bytes;
    }
    bool zero() const
    {
        return std::all_of(get(), get() + m_bytes, [](uint8_t x) { return x == 0; });
    }
    bool holds(const uint8_t *what, size_t count) const
    {
        return std::search(get(), get() + m_bytes, what, what + count) != get() + m_bytes;
    }

  private:
    size_t m_bytes;
    std::unique_ptr<uint8_t, void (*)(void *)> m_memory;
};

/* A lane's rings as the host sees them. */
struct host_lane {
    block to_card_memory{ring_lines}, from_card_memory{ring_lines}, mirror_memory{ring_lines}, page_memory{2};
    std::vector<block> line;
    card_ring to_card = {to_card_memory.get(), ring_lines, 0}, from_card = {from_card_memory.get(), ring_lines, 0},
              mirror = {mirror_memory.get(), ring_lines, 0};
    card_packets_page *page = reinterpret_cast<card_packets_page *>(page_memory.get());
    sl_card_cuckoo *table = nullptr;

    std::vector<bytes> sent, punted;
    std::map<uint64_t, bytes> sealed; /* text of records that have not ended, by open_seq */
    bytes opened;                     /* of those that have verified, unsealed, without type */
    unsigned verified = 0, refused = 0;
    bool reads = true;

    host_lane()
    {
        for (unsigned i = 0; i < 6; i++)
            line.emplace_back(sessions);
        assert_int_equal(sl_card_cuckoo_new(nullptr, &table), SL_OK);
    }
    ~host_lane()
    {
        sl_card_cuckoo_free(table);
    }
    void take(unsigned number);
    void take_mirror(const card_mirror &x);
};

void unseal(bytes &text, const uint8_t key[16])
{
    EVP_CIPHER_CTX *const aes = EVP_CIPHER_CTX_new();
    const uint8_t zero[16] = {};
    int n;
    assert_int_equal(EVP_EncryptInit_ex(aes, EVP_aes_128_ctr(), nullptr, key, zero), 1);
    assert_int_equal(EVP_EncryptUpdate(aes, text.data(), &n, text.data(), static_cast<int>(text.size())), 1);
    EVP_CIPHER_CTX_free(aes);
}

void host_lane::take_mirror(const card_mirror &x)
{
    const card_mirror_head &h = x.head;
    if (h.a_bytes != 0) {
        bytes &text = sealed[x.a_open_seq];
        text.resize(std::max<size_t>(text.size(), h.a_offset + size_t{h.a_bytes}));
        memcpy(&text[h.a_offset], x.text + h.a_at, h.a_bytes);
    }
    if (h.b_bytes != 0)
        sealed[x.b_open_seq].assign(x.text + h.b_at, x.text + h.b_at + h.b_bytes);
    if (h.verdict == mirror_verified) {
        bytes &text = sealed[x.a_open_seq];
        assert_int_equal(text.size(), h.text_bytes);
        unseal(text, x.key);
        assert_int_equal(text.back(), 23);
        opened.insert(opened.end(), text.begin(), text.end() - 1);
        sealed.erase(x.a_open_seq);
        verified++;
    } else if (h.verdict == mirror_bad) {
        const uint8_t zero[16] = {};
        assert_memory_equal(x.key, zero, sizeof zero); /* G7 */
        sealed.erase(x.a_open_seq);
        refused++;
    }
}

void host_lane::take(unsigned number)
{
    card_packet_head head;
    card_mirror item;
    uint8_t data[card_packet_room];
    while (reads && card_ring_receive(&from_card, page, &head, data)) {
        assert_int_equal(head.lane, number);
        (head.kind == card_packet_tx ? sent : punted).emplace_back(data, data + head.bytes);
    }
    while (reads && card_mirror_receive(&mirror, page, &item)) {
        assert_int_equal(item.head.lane, number);
        take_mirror(item);
    }
}

/* The host of a card; `step` runs the card for a round. */
class host
{
  public:
    host_lane lane[2];
    block commands{command_entries * 8}, completions{command_entries}, events{event_entries}, page{1};
    std::vector<card_event> told;
    std::function<void()> step;

    card_memory memory()
    {
        card_memory m = {};
        m.commands = commands.get();
        m.completions = completions.get();
        m.events = events.get();
        m.page = page.get();
        m.command_entries = command_entries;
        m.event_entries = event_entries;
        m.session_count = sessions;
        for (unsigned i = 0; i < 2; i++) {
            card_packets_memory &p = m.packets[i];
            p.to_card = lane[i].to_card_memory.get();
            p.from_card = lane[i].from_card_memory.get();
            p.mirror = lane[i].mirror_memory.get();
            p.page = lane[i].page_memory.get();
            p.to_card_lines = p.from_card_lines = p.mirror_lines = ring_lines;
            for (unsigned k = 0; k < 6; k++)
                m.sessions[i][k] = lane[i].line[k].get();
        }
        return m;
    }

    void run(unsigned rounds)
    {
        for (; rounds > 0; rounds--) {
            step();
            if (rounds % 8 == 0)
                take();
        }
        take();
    }

    card_completion command(card_command c, card_status status = card_ok)
    {
        uint8_t *const entry = commands.get() + m_commands % command_entries * card_command_bytes;
        c.sequence = c.valid = ++m_commands;
        memcpy(entry, &c, sizeof c);
        card_completion done;
        for (unsigned left = 3000000;; left--) {
            assert_int_not_equal(left, 0);
            step();
            memcpy(&done, completions.get() + (m_commands - 1) % command_entries * card_completion_bytes, sizeof done);
            if (done.valid == m_commands)
                break;
        }
        memset(entry, 0, sizeof c);
        assert_int_equal(done.status, status);
        return done;
    }

    void seed(uint8_t number)
    {
        card_command c = {};
        c.opcode = card_hash_seed;
        c.lane = number;
        uint64_t words[2];
        sl_card_cuckoo_seed(lane[number].table, words);
        memcpy(c.payload, words, sizeof words);
        command(c);
    }

    void apply(uint8_t number, const sl_card_cuckoo_plan &plan)
    {
        for (size_t i = 0; i < plan.count; i++) {
            card_command c = {};
            c.opcode = card_table_write;
            c.lane = number;
            c.index = plan.write[i].slot;
            memcpy(c.payload, &plan.write[i].content, sizeof plan.write[i].content);
            command(c);
        }
    }

    void install(uint8_t number, uint32_t index, const tls_sender &s)
    {
        card_command c = {};
        c.opcode = card_install;
        c.lane = number;
        c.index = index;
        const session_state state = s.state();
        memcpy(c.payload, &state, sizeof state);
        command(c);
        sl_card_cuckoo_plan plan = {};
        const sl_card_flow_key key = s.key();
        assert_int_equal(sl_card_cuckoo_insert(lane[number].table, &key, index, action_session_transcode, &plan), SL_OK);
        apply(number, plan);
    }

    card_completion remove(uint8_t number, uint32_t index, const tls_sender &s)
    {
        sl_card_cuckoo_plan plan = {};
        const sl_card_flow_key key = s.key();
        assert_int_equal(sl_card_cuckoo_remove(lane[number].table, &key, &plan), SL_OK);
        apply(number, plan);
        card_command c = {};
        c.opcode = card_remove;
        c.lane = number;
        c.index = index;
        return command(c);
    }

    void send(unsigned number, card_packet_kind kind, const bytes &frame, bool error = false)
    {
        while (!card_ring_send(&lane[number].to_card, lane[number].page, kind, frame.data(), frame.size(), error))
            run(8);
    }

    /* No key of the session is in memory that the host can read. */
    void no_keys(const tls_sender &s) const
    {
        const key_set k = s.state().keys.set[0];
        const uint8_t *const secrets[] = {k.open_key, k.open_key + 8, k.seal_key, k.seal_key + 8,
                                          k.open_h,   k.seal_h,       k.open_iv,  k.seal_iv};
        for (const uint8_t *secret : secrets) {
            for (const block *b : {&commands, &completions, &events, &page})
                assert_false(b->holds(secret, 8));
            for (const host_lane &l : lane)
                for (const block *b : {&l.to_card_memory, &l.from_card_memory, &l.mirror_memory, &l.page_memory})
                    assert_false(b->holds(secret, 8));
        }
    }

  private:
    void take()
    {
        lane[0].take(0);
        lane[1].take(1);
        card_event e;
        for (;;) {
            memcpy(&e, events.get() + m_events % event_entries * card_event_bytes, sizeof e);
            if (e.valid != m_events + 1)
                break;
            told.push_back(e);
            m_events++;
            memcpy(page.get(), &m_events, sizeof m_events);
        }
    }

    uint32_t m_commands = 0, m_events = 0;
};

struct model_host : host {
    card_model model{memory()};
    model_host()
    {
        step = [this] { model.step(); };
        seed(0);
        seed(1);
    }
    void settle()
    {
        for (unsigned left = 100000; !model.idle(); left--) {
            assert_int_not_equal(left, 0);
            run(8);
        }
        run(8);
    }
};

bool holds(const void *where, size_t count, const uint8_t *what, size_t bytes_of_it)
{
    const uint8_t *const p = static_cast<const uint8_t *>(where);
    return std::search(p, p + count, what, what + bytes_of_it) != p + count;
}

void test_life_of_a_session(void **)
{
    model_host h;
    card_command no_op = {};
    no_op.opcode = card_no_op;
    const card_completion done = h.command(no_op);
    assert_int_equal(done.value[0], card_interface_version);
    assert_int_equal(done.value[1], sessions);
    for (uint8_t number = 0; number < 2; number++) {
        host_lane &l = h.lane[number];
        tls_sender s(number + 1u, number == 0 ? 700 : 16000, 1400);
        const uint32_t index = number == 0 ? 5 : sessions - 1;
        h.install(number, index, s);
        uint64_t wire = 0;
        const unsigned frames = 200;
        for (unsigned i = 0; i < frames; i++) {
            const bytes f = s.frame();
            wire += f.size();
            h.send(number, card_packet_rx, f);
        }
        h.settle();
        assert_int_equal(l.sent.size(), frames);
        assert_int_equal(l.punted.size(), 0);
        for (const bytes &f : l.sent)
            assert_true(s.receive(f.data(), f.size()));
        const size_t received = s.received().size();
        assert_in_range(received, frames * 1300u, s.text().size());
        assert_memory_equal(s.received().data(), s.text().data(), received);
        /* The mirror has shown just what the receiver could open. */
        assert_int_equal(l.opened.size(), received);
        assert_memory_equal(l.opened.data(), s.text().data(), received);
        assert_true(l.verified > 0);
        assert_int_equal(l.refused, 0);
        assert_true(h.told.empty());

        card_command c = {};
        c.opcode = card_counters;
        c.lane = number;
        c.index = index;
        const card_completion counts = h.command(c);
        assert_int_equal(counts.value[0], wire);
        assert_int_equal(counts.value[1], frames);
        h.no_keys(s);

        const key_set k = s.state().keys.set[0];
        assert_true(std::any_of(l.line.begin(), l.line.end(), [&](const block &b) { return b.holds(k.open_key, 16); }));
        const card_completion removed = h.remove(number, index, s);
        assert_int_equal(removed.value[1], frames);
        for (const block &b : l.line)
            assert_true(b.zero());
        /* And on the chip: nothing in any process' state (G13). */
        for (const uint8_t *secret : {k.open_key, k.seal_key, k.open_h, k.seal_h}) {
            const card_lane &inside = h.model.inside().lane[number];
            assert_false(holds(&inside, sizeof inside, secret, 8));
            assert_false(holds(&h.model.inside().control, sizeof h.model.inside().control, secret, 8));
        }
        h.send(number, card_packet_rx, s.frame());
        h.settle();
        assert_int_equal(l.punted.size(), 1); /* a stranger now */
        assert_int_equal(l.sent.size(), frames);
    }
}

void test_punt_inject_transmit(void **)
{
    model_host h;
    for (uint8_t number = 0; number < 2; number++) {
        host_lane &l = h.lane[number];
        tls_sender s(7, 1000, 900);
        const bytes first = s.frame(), second = s.frame();
        h.send(number, card_packet_rx, first);
        h.send(number, card_packet_transmit, second);
        h.send(number, card_packet_rx, second, true);
        h.settle();
        assert_int_equal(l.punted.size(), 2);
        card_punt punt;
        for (unsigned i = 0; i < 2; i++) {
            assert_true(card_punt_unpack(&punt, l.punted[i].data()));
            assert_int_equal(punt.reason, i == 0 ? punt_rule : punt_port_error);
            assert_int_equal(punt.lane, number);
            const bytes &frame = i == 0 ? first : second;
            assert_int_equal(l.punted[i].size(), card_punt_bytes + frame.size());
            assert_memory_equal(&l.punted[i][card_punt_bytes], frame.data(), frame.size());
        }
        assert_int_equal(l.sent.size(), 1);
        assert_memory_equal(l.sent[0].data(), second.data(), second.size());

        /* The host has made up its mind: a session, and the frame once more. */
        h.install(number, 9, s);
        h.send(number, card_packet_inject, first);
        h.settle();
        assert_int_equal(l.sent.size(), 2);
        assert_true(s.receive(l.sent[1].data(), l.sent[1].size()));
    }
}

/* A forged record kills the session; the event says in which lane, the receiver cannot open it, the mirror tells no key. */
void test_forged(void **)
{
    model_host h;
    for (uint8_t number = 0; number < 2; number++) {
        host_lane &l = h.lane[number];
        tls_sender s(3, 500, 521 + 1); /* whole records: 5 + 500 + 1 + 16 */
        h.install(number, 3, s);
        bytes f = s.frame();
        h.send(number, card_packet_rx, f);
        f = s.frame();
        std::swap(f[100], f[102]); /* the checksum stays right */
        std::swap(f[101], f[103]);
        h.send(number, card_packet_rx, f);
        h.settle();
        assert_int_equal(l.sent.size(), 2);
        assert_true(s.receive(l.sent[0].data(), l.sent[0].size()));
        assert_false(s.receive(l.sent[1].data(), l.sent[1].size()));
        assert_int_equal(l.refused, 1);
        assert_int_equal(l.verified, 1);
        assert_int_equal(h.told.size(), 1u + number);
        const card_event &e = h.told.back();
        assert_int_equal(e.kind, event_bad_tag);
        assert_int_equal(e.lane, number);
        assert_int_equal(e.index, 3);
        assert_int_equal(e.open_seq, 1);
        assert_int_equal(e.flow, 0x1122334400000003);
        h.no_keys(s);
    }
}

struct totals {
    uint64_t frames[3], octets[3]; /* sent, punted, dropped */

    void add(card_total what, const bytes &frame)
    {
        frames[what - card_total_sent]++;
        octets[what - card_total_sent] += frame.size();
    }
};

void check_totals(model_host &h, uint8_t number, const totals &want)
{
    for (uint32_t i = 0; i < 3; i++) {
        card_command c = {};
        c.opcode = card_counters;
        c.lane = number;
        c.index = card_total_sent + i;
        const card_completion done = h.command(c);
        assert_int_equal(done.value[0], want.octets[i]);
        assert_int_equal(done.value[1], want.frames[i]);
        assert_int_equal(done.value[2], 0);
    }
}

/* A lane at rest has counted each frame that was given to it once, with its bytes as they came in, and none that it was to
 * transmit; the host learns of those that were dropped by a rule, which come to it in no other way. */
void test_totals(void **)
{
    model_host h;
    for (uint8_t number = 0; number < 2; number++) {
        host_lane &l = h.lane[number];
        totals t = {};
        tls_sender s(number + 1u, 500, 521 + 1), stranger(7, 1000, 900);
        h.install(number, 3, s);
        const auto give = [&](card_packet_kind kind, card_total what, const bytes &frame, bool error = false) {
            h.send(number, kind, frame, error);
            t.add(what, frame);
        };
        const auto by_default = [&](action what) {
            card_command c = {};
            c.opcode = card_rule_default;
            c.lane = number;
            c.set = what;
            h.settle();
            h.command(c);
        };
        for (unsigned round = 0; round < 2; round++) {
            const card_packet_kind kind = round == 0 ? card_packet_rx : card_packet_inject;
            by_default(action_punt);
            give(kind, card_total_punted, stranger.frame());
            by_default(action_drop);
            for (unsigned i = 0; i < 3; i++)
                give(kind, card_total_dropped, stranger.frame());
            give(kind, card_total_sent, s.frame());        /* of a session: no rule is asked */
            give(kind, card_total_punted, bytes(1, 0xff)); /* what the parser does not take never comes to a rule either */
            by_default(action_forward);
            give(kind, card_total_sent, stranger.frame());
            h.send(number, card_packet_transmit, stranger.frame());
        }
        give(card_packet_rx, card_total_punted, stranger.frame(), true);
        give(card_packet_rx, card_total_punted, bytes(frame_bytes_max, 1), true); /* a longer one, cut */
        h.settle();
        check_totals(h, number, t);

        bytes forged = s.frame();
        std::swap(forged[100], forged[102]); /* the checksum stays right; it goes out with a poisoned tag */
        std::swap(forged[101], forged[103]);
        give(card_packet_rx, card_total_sent, forged);
        h.settle();
        give(card_packet_rx, card_total_punted, s.frame()); /* dead */
        h.settle();
        check_totals(h, number, t);
        assert_int_equal(l.sent.size(), t.frames[0] + 2); /* and the transmitted ones */
        assert_int_equal(l.punted.size(), t.frames[1]);
        assert_int_equal(t.frames[2], 6);
    }
    card_command c = {};
    c.opcode = card_reset;
    h.command(c);
    for (uint8_t number = 0; number < 2; number++)
        check_totals(h, number, totals{});
}

/* A host that does not read: the lane waits, and when it reads again nothing is missing. */
void test_full_rings(void **)
{
    model_host h;
    host_lane &l = h.lane[0];
    tls_sender s(1, 1000, 1400);
    h.install(0, 1, s);
    l.reads = false;
    unsigned sent = 0;
    for (unsigned i = 0; i < 3000; i++) {
        h.run(8);
        if (sent < 200 && ring_lines - (l.to_card.at - l.page->to_card_read) > 24) {
            h.send(0, card_packet_rx, s.frame());
            sent++;
        }
    }
    assert_true(sent > 50 && sent < 200);
    assert_true(l.sent.empty());
    assert_false(h.model.idle());
    l.reads = true;
    while (sent < 200) {
        h.send(0, card_packet_rx, s.frame());
        sent++;
    }
    h.settle();
    assert_int_equal(l.sent.size(), 200);
    for (const bytes &f : l.sent)
        assert_true(s.receive(f.data(), f.size()));
    assert_int_equal(l.opened.size(), s.received().size());
}

void test_memory_that_does_not_fit(void **)
{
    host h;
    const card_memory good = h.memory();
    assert_true(card_model::fits(good));
    std::vector<std::function<void(card_memory &)>> wrongs = {
        [](card_memory &m) { m.commands = nullptr; },
        [](card_memory &m) { m.command_entries = 3; },
        [](card_memory &m) { m.event_entries = 0; },
        [](card_memory &m) { m.session_count = sessions_max + 64; },
        [](card_memory &m) { m.session_count = 65; },
        [](card_memory &m) { m.packets[1].from_card_lines = 128; },
        [](card_memory &m) { m.packets[0].mirror = static_cast<uint8_t *>(m.packets[0].mirror) + 32; },
        [](card_memory &m) { m.sessions[1][5] = nullptr; },
    };
    for (const auto &wrong : wrongs) {
        card_memory m = good;
        wrong(m);
        assert_false(card_model::fits(m));
    }
}

/* The very functions that are linked for a board, one lane of them. */
struct linked {
    hls::stream<axis_word, 256> rx, inject, transmit, tx, punt;
    hls::stream<line_word, 256> mirror_head, mirror_data, command[2], reply[2], events[2], memory_write[2];
    hls::stream<index_word, 64> memory_ack[2], state_index, state_ack;
    hls::stream<session_word, 64> state_line;
    hls::stream<state_word, 64> state_write;
};

void test_linked_kernels(void **)
{
    host h;
    linked k;
    card_memory m = h.memory();
    const auto port = [](void *memory) { return memory_port(static_cast<memory_word *>(memory)); };
    const auto ring = [](void *memory) { return static_cast<volatile ring_line *>(memory); };
    h.step = [&] {
        sluice_control(ring(m.commands), ring(m.completions), ring(m.events), ring(m.page), m.command_entries, m.event_entries,
                       m.session_count, 1, k.reply[0], k.reply[1], k.events[0], k.events[1], k.memory_ack[0], k.memory_ack[1],
                       k.command[0], k.command[1], k.memory_write[0], k.memory_write[1]);
        const card_packets_memory &p = m.packets[0];
        sluice_packets(port(p.to_card), port(p.from_card), port(p.mirror), port(p.page), p.to_card_lines, p.from_card_lines,
                       p.mirror_lines, 0, 1, k.tx, k.punt, k.mirror_head, k.mirror_data, k.rx, k.inject, k.transmit);
        sluice_lane(k.rx, k.inject, k.transmit, k.command[0], k.state_line, k.state_ack, k.tx, k.punt, k.mirror_head, k.mirror_data,
                    k.events[0], k.reply[0], k.state_index, k.state_write);
        const auto line = [&](unsigned i) { return port(m.sessions[0][i]); };
        sluice_state(line(0), line(1), line(2), line(3), line(4), line(5), line(0), line(1), line(2), line(3), line(4), line(5),
                     m.session_count, 1, k.state_index, k.state_write, k.memory_write[0], k.state_line, k.state_ack,
                     k.memory_ack[0]);
    };
    h.seed(0);
    tls_sender s(1, 1000, 1400);
    h.install(0, 1, s);
    for (unsigned i = 0; i < 20; i++)
        h.send(0, card_packet_rx, s.frame());
    h.run(3000);
    assert_int_equal(h.lane[0].sent.size(), 20);
    for (const bytes &f : h.lane[0].sent)
        assert_true(s.receive(f.data(), f.size()));
    assert_int_equal(h.lane[0].opened.size(), s.received().size());
    assert_int_equal(h.remove(0, 1, s).value[1], 20);
    for (const block &b : h.lane[0].line)
        assert_true(b.zero());
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life_of_a_session),
        cmocka_unit_test(test_punt_inject_transmit),
        cmocka_unit_test(test_forged),
        cmocka_unit_test(test_totals),
        cmocka_unit_test(test_full_rings),
        cmocka_unit_test(test_linked_kernels),
        cmocka_unit_test(test_memory_that_does_not_fit),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
