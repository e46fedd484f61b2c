/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the packet stage hold the kernels against: a parser and a rewriter written from the RFCs and docs/card.md
 * section 1 and 3 alone, byte by byte, with every checksum computed afresh; and a maker of random frames.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include <cmocka.h>
}

#include <algorithm>
#include <string.h>
#include <vector>

#include "common/types.hpp"
#include "harness.hpp"

namespace reference
{

typedef std::vector<uint8_t> bytes;

/* RFC 1071: words of two bytes, an odd end padded with zero; from the checksum's point of view a word is 0..65535. */
inline uint32_t add_words(const bytes &data, size_t from, size_t to, uint32_t sum = 0)
{
    for (size_t i = from; i < to; i += 2) {
        sum += static_cast<uint32_t>(data.at(i) << 8 | (i + 1 < to ? data.at(i + 1) : 0));
        while (sum > 0xffff)
            sum = sum - 0x10000 + 1;
    }
    return sum;
}

/* The first failure. */
struct punted {
    card::punt_reason reason;
};

/* The bytes that a header may come from: those of the frame; asking for more is `truncated`. */
class reader
{
  public:
    reader(const bytes &frame) : m_frame(frame)
    {
    }
    uint32_t u(size_t at, size_t n) const
    {
        uint32_t value = 0;
        if (at + n > m_frame.size())
            throw punted{card::punt_truncated};
        while (n-- > 0)
            value = value << 8 | m_frame[at++];
        return value;
    }

  private:
    const bytes &m_frame;
};

struct packet {
    card::headers head;
    card::packet_key key;
    size_t end; /* of TCP or UDP */
};

/* One header more, which ends at `to`: inside the datagram, inside the first 256 bytes, inside the frame. */
inline void enter(const bytes &frame, size_t datagram_end, size_t to)
{
    if (to > datagram_end)
        throw punted{card::punt_truncated};
    if (to > 256)
        throw punted{card::punt_extension};
    if (to > frame.size())
        throw punted{card::punt_truncated};
}

inline void tcp_options(const bytes &frame, size_t at, size_t end, card::headers &head)
{
    while (at < end && frame[at] != 0) {
        if (frame[at] == 1) {
            at++;
            continue;
        }
        if (at + 1 == end || frame[at + 1] < 2 || at + frame[at + 1] > end)
            throw punted{card::punt_tcp_header};
        const size_t length = frame[at + 1];
        if (frame[at] == 8) {
            if (length != 10 || head.timestamps != 0)
                throw punted{card::punt_tcp_header};
            head.timestamps = static_cast<uint16_t>(at + 2);
        }
        if (frame[at] == 5) {
            if ((length != 10 && length != 18 && length != 26 && length != 34) || head.sack != 0)
                throw punted{card::punt_tcp_header};
            head.sack = static_cast<uint16_t>(at + 2);
            head.sack_blocks = static_cast<uint16_t>((length - 2) / 8);
        }
        at += length;
    }
}

/* Throws what is wrong with the headers; `lengths`: also if the datagram is longer than the frame. Sums are not looked at but that
 * of the IPv4 header. `told`: the key, once addresses, protocol and ports have been reached. */
inline packet parse_headers(const bytes &frame, bool lengths, card::packet_key &told)
{
    packet p = {};
    const reader r(frame);
    size_t at = 12;
    uint32_t type = r.u(at, 2);
    for (int tags = 0; tags < 2 && (type == 0x8100 || type == 0x88a8); tags++) {
        at += 4;
        type = r.u(at, 2);
    }
    at += 2;
    if (type != 0x0800 && type != 0x86dd)
        throw punted{card::punt_not_ip};
    const size_t l3 = at;
    size_t end;
    uint8_t next;
    card::flow_key &key = p.key.key;
    if (type == 0x0800) {
        r.u(l3, 1);
        r.u(l3 + 16, 4);
        const size_t bytes_of_header = (frame[l3] & 15u) * 4u;
        if (frame[l3] / 16 != 4 || bytes_of_header < 20)
            throw punted{card::punt_ip_header};
        r.u(l3 + bytes_of_header - 1, 1);
        if (r.u(l3 + 2, 2) < bytes_of_header)
            throw punted{card::punt_ip_header};
        end = l3 + r.u(l3 + 2, 2);
        if (lengths && end > frame.size())
            throw punted{card::punt_truncated};
        if (add_words(frame, l3, l3 + bytes_of_header) != 0xffff)
            throw punted{card::punt_ip_header};
        const uint32_t fragment = r.u(l3 + 6, 2);
        if ((fragment & 0x2000) != 0 || (fragment & 0x1fff) != 0)
            throw punted{card::punt_fragment};
        key.version = 4;
        memcpy(key.src, &frame[l3 + 12], 4);
        memcpy(key.dst, &frame[l3 + 16], 4);
        next = frame[l3 + 9];
        at = l3 + bytes_of_header;
    } else {
        r.u(l3 + 36, 4);
        if (frame[l3] / 16 != 6)
            throw punted{card::punt_ip_header};
        at = l3 + 40;
        end = at + r.u(l3 + 4, 2);
        if (lengths && end > frame.size())
            throw punted{card::punt_truncated};
        key.version = 6;
        memcpy(key.src, &frame[l3 + 8], 16);
        memcpy(key.dst, &frame[l3 + 24], 16);
        next = frame[l3 + 6];
        static const uint8_t other[] = {50, 51, 135, 139, 140, 253, 254};
        for (int seen = 0;; seen++) {
            if (next == 44)
                throw punted{card::punt_fragment};
            if (std::count(other, other + sizeof(other), next) != 0 || (next == 0 && seen > 0))
                throw punted{card::punt_extension};
            if (next != 0 && next != 43 && next != 60)
                break;
            if (seen == 4)
                throw punted{card::punt_extension};
            if (at + 8 > end)
                throw punted{card::punt_truncated};
            const size_t length = (r.u(at + 1, 1) + 1) * 8;
            enter(frame, end, at + length);
            next = frame[at];
            at += length;
        }
    }
    key.proto = next;
    p.head.version = key.version;
    p.head.proto = next;
    p.head.l3 = static_cast<uint16_t>(l3);
    if (next != 6 && next != 17) {
        p.key.valid = true;
        told = p.key;
        return p;
    }
    const size_t l4 = at;
    enter(frame, end, l4 + (next == 6 ? 20 : 8));
    key.sport = static_cast<uint16_t>(r.u(l4, 2));
    key.dport = static_cast<uint16_t>(r.u(l4 + 2, 2));
    p.key.valid = true;
    told = p.key;
    if (next == 6) {
        const size_t header = 4u * (frame[l4 + 12] / 16u);
        if (header < 20 || l4 + header > end)
            throw punted{card::punt_tcp_header};
        enter(frame, end, l4 + header);
        tcp_options(frame, l4 + 20, l4 + header, p.head);
        p.head.seq = r.u(l4 + 4, 4);
        p.head.ack = r.u(l4 + 8, 4);
        p.head.flags = frame[l4 + 13] & 0x3f;
        p.head.payload = static_cast<uint16_t>(l4 + header);
        p.end = end;
    } else {
        const size_t length = r.u(l4 + 4, 2);
        if (length < 8 || l4 + length > end)
            throw punted{card::punt_truncated};
        p.head.payload = static_cast<uint16_t>(l4 + 8);
        p.end = l4 + length;
        if (key.version == 6 && r.u(l4 + 6, 2) == 0)
            throw punted{card::punt_checksum};
    }
    p.head.l4 = static_cast<uint16_t>(l4);
    p.head.payload_bytes = static_cast<uint16_t>(p.end - p.head.payload);
    return p;
}

/* Of pseudo-header, TCP or UDP header and payload, with the checksum as it stands there: 0xffff if it is right. */
inline uint32_t transport_sum(const bytes &frame, const packet &p)
{
    const size_t addresses = p.head.version == 4 ? p.head.l3 + 12u : p.head.l3 + 8u;
    const size_t bytes_of_addresses = p.head.version == 4 ? 8 : 32;
    bytes pseudo(frame.begin() + static_cast<long>(addresses), frame.begin() + static_cast<long>(addresses + bytes_of_addresses));
    const size_t length = p.end - p.head.l4;
    const uint8_t tail[] = {0, p.head.proto, static_cast<uint8_t>(length >> 8), static_cast<uint8_t>(length)};
    pseudo.insert(pseudo.end(), tail, tail + 4);
    return add_words(frame, p.head.l4, p.end, add_words(pseudo, 0, pseudo.size()));
}

/* What the parser must say about a frame that came in with `wire` bytes, of which it sees at most frame_bytes_max. */
inline packet parse(const bytes &wire, bool damaged, uint32_t packet_id)
{
    bytes frame(wire);
    const bool oversize = frame.size() > card::frame_bytes_max;
    frame.resize(std::min<size_t>(frame.size(), card::frame_bytes_max));
    packet p = {};
    card::packet_key key = {}, again = {};
    try {
        parse_headers(frame, false, key);
    } catch (const punted &) { /* a key there may be nevertheless */
    }
    try {
        if (oversize || (damaged && frame.size() == card::frame_bytes_max))
            throw punted{card::punt_oversize};
        if (damaged)
            throw punted{card::punt_port_error};
        p = parse_headers(frame, true, again);
        const bool without = p.head.proto == 17 && frame[p.head.l4 + 6u] == 0 && frame[p.head.l4 + 7u] == 0;
        if (p.head.l4 != 0 && !without && transport_sum(frame, p) != 0xffff)
            throw punted{card::punt_checksum};
        p.head.payload_sum = static_cast<uint16_t>(add_words(frame, p.head.payload, p.head.payload + p.head.payload_bytes));
    } catch (const punted &why) {
        p.head = card::headers();
        p.head.reason = why.reason;
    }
    p.key = key;
    p.head.keyed = key.valid;
    p.head.packet_id = packet_id;
    p.head.frame_bytes = static_cast<uint16_t>(frame.size());
    return p;
}

inline uint32_t get(const bytes &frame, size_t at, size_t n)
{
    return reader(frame).u(at, n);
}

inline void put(bytes &frame, size_t at, size_t n, uint32_t value)
{
    while (n-- > 0) {
        frame.at(at + n) = static_cast<uint8_t>(value);
        value >>= 8;
    }
}

/* Fills the checksum of TCP or UDP in; zero of UDP becomes 0xffff (RFC 768). */
inline void set_checksum(bytes &frame, const packet &p)
{
    const size_t at = p.head.l4 + (p.head.proto == 6 ? 16u : 6u);
    put(frame, at, 2, 0);
    const uint32_t sum = 0xffff - transport_sum(frame, p);
    put(frame, at, 2, p.head.proto == 17 && sum == 0 ? 0xffff : sum);
}

/* docs/card.md section 3, on a frame that already has its new payload. */
inline void rewrite(bytes &frame, const packet &p, const card::rewrite_rule &rule)
{
    const size_t l4 = p.head.l4;
    const auto add = [&](size_t at, uint32_t delta) { put(frame, at, 4, get(frame, at, 4) + delta); };
    add(l4 + 4, rule.seq_delta);
    if (p.head.timestamps != 0)
        add(p.head.timestamps, rule.tsval_delta);
    if ((p.head.flags & 16) != 0) {
        add(l4 + 8, rule.ack_delta);
        if (p.head.timestamps != 0)
            add(p.head.timestamps + 4u, rule.tsecr_delta);
        for (size_t i = 0; i < 2u * p.head.sack_blocks; i++)
            add(p.head.sack + 4 * i, rule.ack_delta);
        uint64_t window = get(frame, l4 + 14, 2);
        for (int i = 0; i < rule.window_shift; i++)
            window = std::min<uint64_t>(2 * window, 65535);
        for (int i = 0; i > rule.window_shift; i--)
            window /= 2;
        put(frame, l4 + 14, 2, static_cast<uint32_t>(window));
    }
    set_checksum(frame, p);
}

/* Random frames. Most are good; `odd` is the part in which something is wrong. */
struct maker {
    sim::random_source &random;
    double odd;

    void append(bytes &to, size_t n)
    {
        to.resize(to.size() + n);
        random.fill(to.data() + to.size() - n, n);
    }
    uint8_t pick(std::initializer_list<unsigned> list)
    {
        return static_cast<uint8_t>(*(list.begin() + random.below(list.size())));
    }

    bytes option_list(bool strange)
    {
        bytes o;
        const size_t room = random.below(3) == 0 ? 40 : random.below(41);
        bool sack = false, timestamps = false;
        while (o.size() < room) {
            const uint64_t kind = random.below(8);
            if (kind < 2) {
                o.push_back(1);
            } else if (kind < 4 && !timestamps) {
                o.insert(o.end(), {8, 10});
                append(o, 8);
                timestamps = !strange;
            } else if (kind < 6 && !sack) {
                const size_t blocks = random.between(1, 4);
                o.insert(o.end(), {5, static_cast<uint8_t>(2 + 8 * blocks)});
                append(o, 8 * blocks);
                sack = !strange;
            } else if (kind == 6) {
                const size_t length = random.between(2, 12);
                o.insert(o.end(), {pick({2, 3, 4, 19, 28, 29, 30, 34, 69, 253, 255}), static_cast<uint8_t>(length)});
                append(o, length - 2);
            } else if (kind == 7 && random.below(4) == 0) {
                o.push_back(0);
                append(o, random.below(8));
            }
            if (strange && random.below(6) == 0)
                o.insert(o.end(), {pick({2, 5, 8, 77}), static_cast<uint8_t>(random.below(40))});
            if (o.size() > 40) {
                o.clear();
                sack = timestamps = false;
            }
        }
        while (o.size() % 4 != 0)
            o.push_back(pick({0, 1}));
        return o;
    }

    bytes tcp_header(bool strange)
    {
        bytes h;
        append(h, 20);
        const bytes o = random.below(4) == 0 && !strange ? bytes() : option_list(strange);
        h.insert(h.end(), o.begin(), o.end());
        h[12] = static_cast<uint8_t>((h.size() / 4) << 4 | (h[12] & 15));
        h[13] = random.below(4) == 0 ? h[13] : pick({16, 24});
        if (strange && random.below(3) == 0)
            h[12] = static_cast<uint8_t>(random.bits());
        if (random.below(3) == 0)
            put(h, 14, 2, static_cast<uint32_t>(random.below(64) << random.below(11)));
        return h;
    }

    bytes extension(uint8_t next, bool strange)
    {
        bytes e;
        append(e, 8 * (random.below(8) == 0 ? random.between(1, 24) : random.between(1, 4)));
        e[0] = next;
        e[1] = static_cast<uint8_t>(e.size() / 8 - 1);
        if (strange && random.below(4) == 0)
            e[1] = static_cast<uint8_t>(random.bits());
        return e;
    }

    /* Of `whole` bytes if the headers leave room for that; of any length if 0. */
    bytes frame(size_t whole = 0)
    {
        const bool strange = random.chance(odd);
        bytes f;
        append(f, 12);
        const uint64_t tags = strange && random.below(10) == 0 ? 3 : whole != 0 ? random.below(2) : random.below(3);
        for (uint64_t i = 0; i < tags; i++) {
            const bool service = random.below(2) == 0;
            f.insert(f.end(), {static_cast<uint8_t>(service ? 0x88 : 0x81), static_cast<uint8_t>(service ? 0xa8 : 0)});
            append(f, 2);
        }
        const bool v4 = random.below(2) == 0;
        const bool broken_type = strange && random.below(10) == 0;
        if (broken_type)
            append(f, 2);
        else
            f.insert(f.end(), {static_cast<uint8_t>(v4 ? 0x08 : 0x86), static_cast<uint8_t>(v4 ? 0x00 : 0xdd)});

        uint8_t proto = random.below(8) == 0 ? static_cast<uint8_t>(random.bits()) : pick({6, 6, 6, 17});
        bytes transport;
        if (proto == 6)
            transport = tcp_header(strange && random.below(2) == 0);
        else if (proto == 17)
            append(transport, 8);

        bytes chain;
        uint8_t first = proto;
        size_t ip = 40;
        if (v4) {
            ip = 20 + 4 * (random.below(2) == 0 ? 0 : random.below(11));
        } else if (random.below(2) == 0) {
            std::vector<uint8_t> kinds;
            const uint64_t count = strange && random.below(8) == 0 ? 5 : random.between(1, 4);
            for (uint64_t i = 0; i < count; i++)
                kinds.push_back(i == 0 ? pick({0, 43, 60}) : pick({43, 60}));
            if (strange && random.below(3) == 0)
                kinds[random.below(kinds.size())] = pick({0, 44, 50, 51, 59, 135, 139, 140, 253, 254});
            for (size_t i = 0; i < kinds.size(); i++) {
                const bytes e = extension(i + 1 < kinds.size() ? kinds[i + 1] : proto, strange);
                chain.insert(chain.end(), e.begin(), e.end());
            }
            first = kinds[0];
        }
        const size_t before = f.size() + ip + chain.size() + transport.size();
        size_t padding = random.below(3) == 0 ? random.below(60) : 0, payload = 0;
        if (whole != 0) {
            padding = before < whole ? std::min(padding, whole - before) : 0;
            payload = before + padding < whole ? whole - before - padding : 0;
        } else {
            const uint64_t size = random.below(8);
            payload = random.below(size < 4 ? 40 : size < 7 ? 300 : 9000);
        }
        const size_t body = chain.size() + transport.size() + payload;
        bytes h;
        append(h, ip);
        if (v4) {
            h[0] = static_cast<uint8_t>(4 << 4 | ip / 4);
            put(h, 2, 2, static_cast<uint32_t>(ip + body));
            put(h, 6, 2,
                strange && random.below(6) == 0 ? static_cast<uint32_t>(0x2000u << random.below(3) | random.below(2))
                : random.below(2) == 0          ? 0x4000
                                                : 0);
            h[9] = proto;
            if (strange && random.below(8) == 0)
                h[0] = static_cast<uint8_t>(random.bits());
            if (strange && random.below(8) == 0)
                put(h, 2, 2, static_cast<uint32_t>(random.below(2) == 0 ? random.below(10000) : random.below(80)));
            put(h, 10, 2, 0);
            if (!strange || random.below(8) != 0)
                put(h, 10, 2, 0xffff - add_words(h, 0, ip));
        } else {
            h[0] = static_cast<uint8_t>(6 << 4 | (h[0] & 15));
            put(h, 4, 2, static_cast<uint32_t>(body));
            h[6] = first;
            if (strange && random.below(8) == 0)
                put(h, 4, 2, static_cast<uint32_t>(random.below(2) == 0 ? random.below(10000) : random.below(80)));
            if (strange && random.below(16) == 0)
                h[0] = static_cast<uint8_t>(random.bits());
        }
        f.insert(f.end(), h.begin(), h.end());
        f.insert(f.end(), chain.begin(), chain.end());
        if (proto == 17)
            put(transport, 4, 2, static_cast<uint32_t>(strange && random.below(3) == 0 ? random.below(80) : 8 + payload));
        f.insert(f.end(), transport.begin(), transport.end());
        const uint64_t content = random.below(6);
        f.resize(f.size() + payload, content == 0 ? 0 : 0xff);
        if (content > 1)
            random.fill(f.data() + f.size() - payload, payload);
        sign(f);
        append(f, padding);
        if (strange && random.below(6) == 0)
            f.at(random.below(f.size())) ^= static_cast<uint8_t>(1 << random.below(8));
        if (strange && random.below(10) == 0)
            f.resize(std::max<size_t>(14, random.below(f.size())));
        return f;
    }

    /* The checksum of TCP or UDP, where there is one; sometimes made 0 or 0xffff by way of the payload's first word. */
    void sign(bytes &f)
    {
        packet p;
        try {
            card::packet_key key = {};
            p = parse_headers(f, true, key);
        } catch (const punted &) {
            return;
        }
        if (p.head.l4 == 0)
            return;
        if (p.head.proto == 17 && (p.head.version == 4 || odd > 0) && random.below(6) == 0) {
            put(f, p.head.l4 + 6u, 2, 0);
            return;
        }
        set_checksum(f, p);
        if (p.head.proto == 6 && p.head.payload_bytes >= 2 && random.below(4) == 0)
            make_zero(f, p);
    }

    /* Moves the TCP checksum into the payload's first word: what is left is 0, written either way. */
    void make_zero(bytes &f, const packet &p)
    {
        uint32_t word = get(f, p.head.payload, 2) + get(f, p.head.l4 + 16u, 2);
        word = (word & 0xffff) + (word >> 16);
        put(f, p.head.payload, 2, word);
        put(f, p.head.l4 + 16u, 2, random.below(2) == 0 ? 0 : 0xffff);
    }
};

inline std::vector<card::beat> beats_of(const bytes &frame, bool error = false)
{
    std::vector<card::beat> list;
    for (size_t at = 0; at < frame.size(); at += card::beat_bytes) {
        card::beat b = {};
        const size_t n = std::min<size_t>(card::beat_bytes, frame.size() - at);
        memcpy(b.byte, frame.data() + at, n);
        b.bytes = static_cast<uint8_t>(n);
        b.last = at + n == frame.size();
        b.error = b.last && error;
        list.push_back(b);
    }
    return list;
}

inline bool same(const card::beat &a, const card::beat &b)
{
    return memcmp(a.byte, b.byte, sizeof(a.byte)) == 0 && a.bytes == b.bytes && a.last == b.last && a.error == b.error;
}

/* One frame from the beats at *at on. */
inline bytes frame_of(const std::vector<card::beat> &beats, size_t &at)
{
    bytes frame;
    for (bool last = false; !last; at++) {
        assert_true(at < beats.size());
        const card::beat &b = beats[at];
        last = b.last;
        assert_in_range(b.bytes, last ? 1u : unsigned{card::beat_bytes}, card::beat_bytes);
        frame.insert(frame.end(), b.byte, b.byte + b.bytes);
        for (unsigned i = b.bytes; i < card::beat_bytes; i++)
            assert_int_equal(b.byte[i], 0);
    }
    return frame;
}

} // namespace reference
