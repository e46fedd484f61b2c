/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rings of packets, with the host's own end of them: over the end of the ring and of the numbers, full rings, damaged frames,
 * frames that look like heads, and a host that writes nonsense.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include <cmocka.h>
}

#include <deque>
#include <functional>
#include <string.h>
#include <vector>

#include "harness.hpp"
#include "packet/punt_layout.h"
#include "pipeline/packets.hpp"

using namespace card;

namespace
{

uint64_t seed;

struct frame {
    int kind;
    std::vector<uint8_t> bytes;
    bool error;
};

/* Puts words together to frames. */
struct collector {
    std::vector<frame> frames;
    std::vector<uint8_t> part;
    void take(int kind, hls::stream<axis_word> &from)
    {
        const beat b = beat_of_word(from.read());
        part.insert(part.end(), b.byte, b.byte + b.bytes);
        if (b.last) {
            frames.push_back(frame{kind, part, b.error});
            part.clear();
        }
    }
};

struct bench {
    enum : uint32_t { lines = 256, mirror_lines = 256 };
    bench(double stall, uint32_t number);
    ~bench()
    {
        cycles(500); /* what is left on the way comes to its end */
    }

    sim::machine m{seed};
    sim::random_source random{seed};
    std::vector<memory_word> to_card_memory = std::vector<memory_word>(lines), from_card_memory = to_card_memory,
                             mirror_memory = std::vector<memory_word>(mirror_lines), page_memory = std::vector<memory_word>(2);
    card_packets_page &page = *reinterpret_cast<card_packets_page *>(page_memory.data());
    card_ring to_card, from_card, mirror;
    packets_kernel_state s = {};
    packets_streams x;
    hls::stream<axis_word, 16> rx{"rx"}, inject{"inject"}, transmit{"transmit"}, tx{"tx"}, punt{"punt"};
    hls::stream<line_word, 16> mirror_head{"mirror_head"}, mirror_data{"mirror_data"};
    hls::stream<mirror_item, 4> items{"items"};
    mirror_out_state items_state = {};
    collector got[3];
    bool take_rx = true, take_inject = true, take_transmit = true;

    void cycles(unsigned n)
    {
        for (; n > 0; n--)
            m.cycle();
    }
    /* Calls `wait` after every cycle in which the port was full. */
    void feed(
        hls::stream<axis_word> &port, const frame &f, const std::function<void()> &wait = [] {});
};

uint8_t *bytes_of(std::vector<memory_word> &memory)
{
    return reinterpret_cast<uint8_t *>(memory.data());
}

bench::bench(double stall, uint32_t number)
    : to_card{bytes_of(to_card_memory), lines, number}, from_card{bytes_of(from_card_memory), lines, number},
      mirror{bytes_of(mirror_memory), mirror_lines, number}
{
    /* As if so many lines had gone before. */
    s.positions = positions_state{number, number, number};
    s.reader.at = s.reader.written = s.sender.at = s.sender.done = number;
    s.receiver.at = s.receiver.read = s.mirror.at = s.mirror.read = number;
    page.to_card_written = page.from_card_read = page.mirror_read = page.to_card_read = number;
#define PORT(name)            PORT_##name
#define PORT_page             memory_port(page_memory.data())
#define PORT_to_card          memory_port(to_card_memory.data())
#define PORT_from_card        memory_port(from_card_memory.data())
#define PORT_mirror           memory_port(mirror_memory.data())
#define PORT_to_card_lines    lines
#define PORT_from_card_lines  lines
#define PORT_mirror_lines     mirror_lines
#define PORT_lane             1
#define PORT_rx               rx
#define PORT_inject           inject
#define PORT_transmit         transmit
#define PORT_tx               tx
#define PORT_punt             punt
#define PORT_mirror_head      mirror_head
#define PORT_mirror_data      mirror_data
#define ADD(name, depth, ...) m.add(#name, depth, [this] { __VA_ARGS__; }).stall(stall);
    CARD_PACKETS_PROCESSES(ADD, ADD, PORT)
#undef ADD
    m.add("mirror_out", port_depth, [this] { mirror_out(items_state, items, mirror_head, mirror_data); });
    m.add("lane", 1, [this] {
         if (take_rx && !rx.empty())
             got[0].take(card_packet_rx, rx);
         if (take_inject && !inject.empty())
             got[1].take(card_packet_inject, inject);
         if (take_transmit && !transmit.empty())
             got[2].take(card_packet_transmit, transmit);
     }).stall(stall);
}

void bench::feed(hls::stream<axis_word> &port, const frame &f, const std::function<void()> &wait)
{
    for (size_t at = 0; at < f.bytes.size(); at += beat_bytes) {
        beat b = {};
        const size_t n = f.bytes.size() - at < beat_bytes ? f.bytes.size() - at : size_t{beat_bytes};
        memcpy(b.byte, &f.bytes[at], n);
        b.bytes = static_cast<uint8_t>(n);
        b.last = at + n == f.bytes.size();
        b.error = b.last && f.error;
        for (unsigned i = 0; port.full(); i++) {
            assert_true(i < 100000);
            m.cycle();
            wait();
        }
        port.write(word_of_beat(b));
    }
}

std::vector<uint8_t> some_bytes(sim::random_source &random, size_t most)
{
    const size_t sizes[] = {1, 63, 64, 65, 128, 1500, most, random.between(1, most)};
    std::vector<uint8_t> v(sizes[random.below(8)]);
    random.fill(v.data(), v.size());
    return v;
}

void same(const frame &a, const frame &b)
{
    assert_int_equal(a.kind, b.kind);
    assert_int_equal(a.error, b.error);
    assert_int_equal(a.bytes.size(), b.bytes.size());
    assert_memory_equal(a.bytes.data(), b.bytes.data(), a.bytes.size());
}

const uint32_t first_numbers[] = {0, 0xfffffff0, 0xffffff00};

/* The ring is mostly full: the host sends whenever there is room. */
void test_to_card(void **)
{
    for (uint32_t number : first_numbers) {
        bench b(0.1, number);
        std::vector<frame> sent[3];
        unsigned refused = 0;
        for (unsigned i = 0; i < 400; i++) {
            const unsigned kind = static_cast<unsigned>(b.random.below(3));
            const frame f = {card_packet_rx + static_cast<int>(kind), some_bytes(b.random, card_packet_bytes_max),
                             kind == 0 && b.random.chance(0.3)};
            while (!card_ring_send(&b.to_card, &b.page, static_cast<card_packet_kind>(f.kind), f.bytes.data(), f.bytes.size(),
                                   f.error)) {
                refused++;
                b.cycles(10);
            }
            sent[kind].push_back(f);
        }
        b.cycles(5000);
        assert_true(refused > 100);
        for (unsigned kind = 0; kind < 3; kind++) {
            assert_int_equal(b.got[kind].frames.size(), sent[kind].size());
            for (size_t i = 0; i < sent[kind].size(); i++)
                same(b.got[kind].frames[i], sent[kind][i]);
        }
        assert_int_equal(b.page.bad_heads, 0);
        assert_int_equal(b.page.to_card_read, b.to_card.at);
        assert_true(b.x.lines.empty() && b.rx.empty() && b.inject.empty() && b.transmit.empty());
    }
}

/* The lane does not take: the host learns it by the ring, and nothing is overtaken or lost. */
void test_to_card_waits(void **)
{
    bench b(0, 0);
    const std::vector<uint8_t> bytes(1000, 7);
    unsigned sent = 0;
    b.take_rx = false;
    for (unsigned i = 0; i < 200; i++) {
        sent += card_ring_send(&b.to_card, &b.page, card_packet_rx, bytes.data(), bytes.size(), false);
        b.cycles(20);
    }
    assert_in_range(sent, 15, 18); /* 17 lines each: 15 lie in the ring, and what is read is kept until the frame is gone */
    b.take_rx = true;
    b.cycles(2000);
    assert_int_equal(b.got[0].frames.size(), sent);
}

/* Heads that cannot be: each is counted once, what the host published with it is skipped, the next frame comes. */
void test_bad_heads(void **)
{
    struct wrong {
        const char *what;
        std::function<void(card_packet_head &)> spoil;
    };
    const wrong wrongs[] = {
        {"number", [](card_packet_head &h) { h.number++; }},
        {"valid", [](card_packet_head &h) { h.valid--; }},
        {"version", [](card_packet_head &h) { h.version = 2; }},
        {"kind 0", [](card_packet_head &h) { h.kind = 0; }},
        {"tx", [](card_packet_head &h) { h.kind = card_packet_tx; }},
        {"kind 255", [](card_packet_head &h) { h.kind = 255; }},
        {"flags", [](card_packet_head &h) { h.flags = 2; }},
        {"error and inject", [](card_packet_head &h) { h.kind = card_packet_inject, h.flags = card_packet_error; }},
        {"lane", [](card_packet_head &h) { h.lane = 1; }},
        {"zero", [](card_packet_head &h) { h.zero[49] = 1; }},
        {"no bytes", [](card_packet_head &h) { h.bytes = 0; }},
        {"more than written", [](card_packet_head &h) { h.bytes = 129; }},
        {"longest", [](card_packet_head &h) { h.bytes = card_packet_bytes_max; }},
        {"too long", [](card_packet_head &h) { h.bytes = card_packet_bytes_max + 1; }},
        {"65535", [](card_packet_head &h) { h.bytes = 0xffff; }},
        {"all", [](card_packet_head &h) { memset(&h, 0xff, sizeof h); }},
    };
    bench b(0.1, 0xffffffe0);
    /* The second line of the frame is a head that would do, if anybody took it for one. */
    std::vector<uint8_t> bytes(128);
    uint32_t count = 0;
    for (const wrong &w : wrongs) {
        const uint32_t at = b.to_card.at;
        card_packet_head inner = {};
        inner.number = inner.valid = at + 2;
        inner.version = card_packets_version;
        inner.kind = card_packet_transmit;
        inner.bytes = 64;
        memcpy(bytes.data(), &inner, sizeof inner);
        const uint32_t before = b.page.to_card_written;
        assert_true(card_ring_send(&b.to_card, &b.page, card_packet_rx, bytes.data(), bytes.size(), false));
        b.page.to_card_written = before;
        card_packet_head head;
        memcpy(&head, card_ring_line(&b.to_card, at), sizeof head);
        w.spoil(head);
        memcpy(card_ring_line(&b.to_card, at), &head, sizeof head);
        b.page.to_card_written = b.to_card.at;
        b.cycles(300);
        assert_int_equal(b.page.bad_heads, ++count);
        assert_int_equal(b.page.to_card_read, b.to_card.at);
        for (const collector &c : b.got)
            assert_true(c.part.empty());
        assert_int_equal(b.got[1].frames.size() + b.got[2].frames.size(), 0);
        assert_true(card_ring_send(&b.to_card, &b.page, card_packet_rx, bytes.data(), bytes.size(), false));
        b.cycles(300);
        assert_int_equal(b.got[0].frames.size(), count);
        same(b.got[0].frames.back(), frame{card_packet_rx, bytes, false});
    }
}

/* Whatever the host writes, anywhere and at any time: the kernel stays within the rings, goes on, and what leaves it are whole
 * frames. */
void test_nonsense(void **)
{
    bench b(0.1, 0);
    for (unsigned i = 0; i < 3000; i++) {
        uint32_t *const words[] = {&b.page.to_card_written, &b.page.from_card_read, &b.page.mirror_read};
        if (b.random.chance(0.3))
            *words[b.random.below(3)] += static_cast<uint32_t>(b.random.chance(0.7) ? b.random.below(300) : b.random.bits());
        card_packet_head head;
        const uint32_t at = static_cast<uint32_t>(b.s.sender.at + b.random.below(bench::lines));
        b.random.fill(&head, sizeof head);
        if (b.random.chance(0.7)) {
            memset(&head, 0, sizeof head);
            head.number = head.valid = at + 1;
            head.version = card_packets_version;
            head.kind = static_cast<uint8_t>(b.random.below(4));
            head.bytes = static_cast<uint16_t>(b.random.below(2000));
        }
        memcpy(card_ring_line(&b.to_card, at), &head, sizeof head);
        if (b.random.chance(0.2) && b.tx.size() < 4)
            b.tx.write(word_of_beat(beat{{1}, 64, true, false}));
        b.cycles(20);
    }
    for (const collector &c : b.got)
        for (const frame &f : c.frames)
            assert_in_range(f.bytes.size(), 1, card_packet_bytes_max);
    /* A host that comes to its senses is served again. */
    b.page.to_card_written = b.s.reader.written;
    for (unsigned i = 0; i < 100; i++) {
        b.page.from_card_read = b.s.receiver.at;
        b.cycles(50);
    }
    assert_true(b.tx.empty());
    b.to_card.at = b.s.reader.at;
    for (unsigned i = 0; i < bench::lines; i++)
        memset(card_ring_line(&b.to_card, i), 0, card_line_bytes);
    const size_t before = b.got[0].frames.size();
    const uint8_t bytes[100] = {1, 2, 3};
    assert_true(card_ring_send(&b.to_card, &b.page, card_packet_rx, bytes, sizeof bytes, false));
    b.cycles(500);
    assert_int_equal(b.got[0].frames.size(), before + 1);
    assert_int_equal(b.got[0].frames.back().bytes.size(), sizeof bytes);
}

/* The host reads slowly, so the ring is full again and again; the frames are full of what looks like the next head. */
void test_from_card(void **)
{
    for (uint32_t number : first_numbers) {
        bench b(0.1, number);
        std::deque<frame> sent[2];
        std::vector<uint8_t> data(card_packet_room);
        unsigned received = 0, full = 0;
        const auto receive = [&] {
            card_packet_head h;
            if (!card_ring_receive(&b.from_card, &b.page, &h, data.data()))
                return false;
            assert_in_range(h.kind, card_packet_tx, card_packet_punt);
            assert_int_equal(h.lane, 1);
            auto &list = sent[h.kind - card_packet_tx];
            assert_false(list.empty());
            frame want = list.front();
            list.pop_front();
            if (h.kind == card_packet_punt)
                want.bytes[2] = 1; /* the lane's number */
            same(frame{h.kind, std::vector<uint8_t>(data.begin(), data.begin() + h.bytes), h.flags != 0}, want);
            received++;
            return true;
        };
        for (unsigned i = 0; i < 300; i++) {
            const unsigned kind = static_cast<unsigned>(b.random.below(2));
            frame f = {card_packet_tx + static_cast<int>(kind),
                       some_bytes(b.random, card_packet_bytes_max + (kind == 1 ? 64u : 0u)), b.random.chance(0.2)};
            f.bytes.resize(f.bytes.size() < 3 ? 3 : f.bytes.size());
            card_packet_head forged = {};
            forged.version = card_packets_version;
            forged.kind = card_packet_tx;
            forged.bytes = 64;
            for (size_t at = 0; at + 64 <= f.bytes.size(); at += 64) {
                forged.number = forged.valid = b.s.receiver.at + 1 + static_cast<uint32_t>(at / 64) * 2;
                if (b.random.chance(0.5))
                    forged.number = forged.valid = b.s.receiver.at + bench::lines + 1 + static_cast<uint32_t>(b.random.below(200));
                memcpy(&f.bytes[at], &forged, sizeof forged);
            }
            sent[kind].push_back(f);
            b.feed(kind == 0 ? b.tx : b.punt, f, [&] {
                full++;
                if (b.random.chance(0.01))
                    receive();
            });
        }
        for (unsigned i = 0; i < 100000 && received < 300; i++) {
            b.cycles(3);
            receive();
        }
        assert_int_equal(received, 300);
        b.cycles(500);
        assert_false(receive());
        assert_true(full > 100);
    }
}

/* Longer than any punt: cut, and said to be damaged. */
void test_from_card_too_long(void **)
{
    bench b(0, 0);
    std::vector<uint8_t> data(card_packet_room);
    card_packet_head h;
    b.feed(b.tx, frame{0, std::vector<uint8_t>(card_packet_room + 1000, 3), false});
    b.feed(b.tx, frame{0, std::vector<uint8_t>(100, 4), false});
    b.cycles(500);
    assert_true(card_ring_receive(&b.from_card, &b.page, &h, data.data()));
    assert_int_equal(h.bytes, card_packet_room);
    assert_int_equal(h.flags, card_packet_error);
    b.cycles(500);
    assert_true(card_ring_receive(&b.from_card, &b.page, &h, data.data()));
    assert_int_equal(h.bytes, 100);
    assert_int_equal(h.flags, 0);
}

void test_mirror(void **)
{
    for (uint32_t number : first_numbers) {
        bench b(0.1, number);
        std::deque<mirror_item> sent;
        unsigned received = 0, full = 0;
        const auto receive = [&] {
            card_mirror got;
            if (!card_mirror_receive(&b.mirror, &b.page, &got))
                return;
            const mirror_item x = sent.front();
            sent.pop_front();
            assert_int_equal(got.head.lane, 1);
            assert_int_equal(got.head.flow, x.flow);
            assert_int_equal(got.head.verdict, x.verdict);
            assert_int_equal(got.a_open_seq, x.a.open_seq);
            assert_int_equal(got.b_open_seq, x.b.open_seq);
            assert_memory_equal(got.text, x.byte, sizeof x.byte);
            assert_memory_equal(got.key, x.key, sizeof x.key);
            assert_memory_equal(got.tag, x.tag, sizeof x.tag);
            received++;
        };
        for (unsigned i = 0; i < 1000; i++) {
            mirror_item x = {};
            x.verdict = static_cast<mirror_verdict>(b.random.below(3));
            x.fresh = x.verdict == mirror_open || b.random.chance(0.5) ? ~UINT64_C(0) : 0;
            if (x.fresh != 0)
                b.random.fill(x.byte, sizeof x.byte);
            x.flow = b.random.bits();
            x.a.bytes = x.fresh != 0 ? 30 : 0;
            x.a.open_seq = b.random.bits();
            x.b.open_seq = x.a.open_seq + 1;
            if (x.verdict == mirror_verified) {
                b.random.fill(x.key, sizeof x.key);
                b.random.fill(x.tag, sizeof x.tag);
            }
            while (b.items.full()) {
                full++;
                b.cycles(1);
                if (b.random.chance(0.05))
                    receive();
            }
            sent.push_back(x);
            b.items.write(x);
        }
        for (unsigned i = 0; i < 100000 && !sent.empty(); i++) {
            b.cycles(1);
            receive();
        }
        assert_int_equal(received, 1000);
        assert_true(full > 1000);
    }
}

} // namespace

int main()
{
    seed = sim::test_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_to_card),  cmocka_unit_test(test_to_card_waits), cmocka_unit_test(test_bad_heads),
        cmocka_unit_test(test_nonsense), cmocka_unit_test(test_from_card),     cmocka_unit_test(test_from_card_too_long),
        cmocka_unit_test(test_mirror),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
