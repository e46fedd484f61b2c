/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The headers a frame may have; everything else is punted.
 *
 *   Ethernet        0 dst (6)   6 src (6)   12 type (2)
 *   VLAN tag, 0..2  +0 tci (2)  +2 type (2)                                 type 0x8100 or 0x88a8 stands in front of it
 *
 *   IPv4            0 version | ihl   1 tos        2 length         4 id             6 flags | fragment offset
 *   (RFC 791)       8 ttl             9 protocol  10 checksum      12 src           16 dst             20 options
 *
 *   IPv6            0 version | class | label      4 payload length 6 next header    7 hop limit
 *   (RFC 8200)      8 src                         24 dst
 *   extension       0 next header     1 length / 8 - 1
 *
 *   TCP             0 source port     2 destination port            4 seq            8 ack
 *   (RFC 9293)     12 data offset    13 flags     14 window        16 checksum      18 urgent          20 options
 *   UDP (RFC 768)   0 source port     2 destination port            4 length         6 checksum
 *
 * No state is carried from packet to packet but the counter. `now` is written with the beat that completes the window and read with
 * the later ones, in the same pipeline stage: no hazard.
 */
#include "packet/parser.hpp"

#include "packet/sums.hpp"

namespace card
{

namespace
{

enum : unsigned {
    type_ipv4 = 0x0800,
    type_ipv6 = 0x86dd,
    type_vlan = 0x8100,
    type_service_vlan = 0x88a8,
    vlans_max = 2,

    ipv4_bytes_min = 20,
    ipv4_bytes_max = 60,
    ipv6_bytes = 40,
    extension_unit = 8,
    extensions_max = 4,
    udp_bytes = 8,
    option_bytes_max = tcp_bytes_max - tcp_bytes_min
};

enum protocol : uint8_t {
    proto_hop_by_hop = 0,
    proto_tcp = 6,
    proto_udp = 17,
    proto_routing = 43,
    proto_fragment = 44,
    proto_esp = 50,
    proto_ah = 51,
    proto_destination = 60,
    proto_mobility = 135,
    proto_hip = 139,
    proto_shim6 = 140,
    proto_experiment_1 = 253,
    proto_experiment_2 = 254
};

enum tcp_option : uint8_t { option_end = 0, option_none = 1, option_sack = 5, option_timestamps = 8 };

/* The IANA registry of IPv6 extension header types. */
bool is_extension(uint8_t next)
{
#pragma HLS INLINE
    switch (next) {
    case proto_hop_by_hop:
    case proto_routing:
    case proto_fragment:
    case proto_esp:
    case proto_ah:
    case proto_destination:
    case proto_mobility:
    case proto_hip:
    case proto_shim6:
    case proto_experiment_1:
    case proto_experiment_2:
        return true;
    default:
        return false;
    }
}

bool is_understood(uint8_t next)
{
#pragma HLS INLINE
    return next == proto_hop_by_hop || next == proto_routing || next == proto_destination;
}

/* `byte`, `have`: the frame as far as it has been read. The IP datagram while its headers are walked: */
struct datagram {
    unsigned at; /* of the next header */
    unsigned end;
    uint8_t next; /* its kind */
};

punt_reason ethernet(const uint8_t byte[header_bytes_max], unsigned have, unsigned &l3, unsigned &type)
{
#pragma HLS INLINE
    unsigned at = 12;
    if (have < at + 2) {
        return punt_truncated;
    }
    type = load_be16(byte + at);
    for (unsigned i = 0; i < vlans_max; ++i) {
#pragma HLS UNROLL
        if (type == type_vlan || type == type_service_vlan) {
            at += 4;
            if (have < at + 2) {
                return punt_truncated;
            }
            type = load_be16(byte + at);
        }
    }
    l3 = at + 2;
    return type == type_ipv4 || type == type_ipv6 ? punt_none : punt_not_ip;
}

uint32_t sum_words(const uint8_t *byte, unsigned bytes, unsigned bytes_max)
{
#pragma HLS INLINE
    uint32_t sum = 0;
    for (unsigned i = 0; i < bytes_max; i += 4) {
#pragma HLS UNROLL
        if (i < bytes) {
            sum += uint32_t{load_be16(byte + i)} + load_be16(byte + i + 2);
        }
    }
    return sum;
}

/* Up to the datagram's length. */
punt_reason ipv4_length(const uint8_t byte[header_bytes_max], unsigned have, unsigned l3, datagram &d)
{
#pragma HLS INLINE
    if (have < l3 + ipv4_bytes_min) {
        return punt_truncated;
    }
    const uint8_t *ip = byte + l3;
    const unsigned bytes = 4u * (ip[0] & 15);
    if (ip[0] >> 4 != 4 || bytes < ipv4_bytes_min) {
        return punt_ip_header;
    }
    if (have < l3 + bytes) {
        return punt_truncated;
    }
    const unsigned length = load_be16(ip + 2);
    if (length < bytes) {
        return punt_ip_header;
    }
    d.at = l3 + bytes;
    d.end = l3 + length;
    d.next = ip[9];
    return punt_none;
}

punt_reason ipv6_length(const uint8_t byte[header_bytes_max], unsigned have, unsigned l3, datagram &d)
{
#pragma HLS INLINE
    if (have < l3 + ipv6_bytes) {
        return punt_truncated;
    }
    const uint8_t *ip = byte + l3;
    if (ip[0] >> 4 != 6) {
        return punt_ip_header;
    }
    d.at = l3 + ipv6_bytes;
    d.end = d.at + load_be16(ip + 4);
    d.next = ip[6];
    return punt_none;
}

/* Does a header of so many bytes at d.at lie inside the datagram, the window and the frame? */
punt_reason reaches(unsigned have, const datagram &d, unsigned bytes)
{
#pragma HLS INLINE
    const unsigned to = d.at + bytes;
    if (to > d.end) {
        return punt_truncated;
    }
    if (to > header_bytes_max) {
        return punt_extension;
    }
    return to > have ? punt_truncated : punt_none;
}

punt_reason ipv6_extensions(const uint8_t byte[header_bytes_max], unsigned have, datagram &d)
{
#pragma HLS INLINE
    for (unsigned hop = 0; hop <= extensions_max; ++hop) {
#pragma HLS UNROLL
        if (!is_extension(d.next)) {
            break;
        }
        if (d.next == proto_fragment) {
            return punt_fragment;
        }
        if (hop == extensions_max || !is_understood(d.next) || (d.next == proto_hop_by_hop && hop != 0)) {
            return punt_extension;
        }
        if (d.at + extension_unit > d.end || d.at + 2 > have) {
            return punt_truncated;
        }
        const uint8_t *extension = byte + d.at; /* at most at 254: headers begin at 14 + 4n + 8m */
        const unsigned bytes = extension_unit * (extension[1] + 1u);
        const punt_reason reason = reaches(have, d, bytes);
        if (reason != punt_none) {
            return reason;
        }
        d.next = extension[0];
        d.at += bytes;
    }
    return punt_none;
}

/* `at` of the option in the frame. */
punt_reason tcp_option_at(const uint8_t *option, unsigned at, unsigned room, unsigned &length, headers &head)
{
#pragma HLS INLINE
    length = room < 2 ? 0u : option[1];
    if (length < 2 || length > room) {
        return punt_tcp_header;
    }
    if (option[0] == option_timestamps) {
        if (length != 10 || head.timestamps != 0) {
            return punt_tcp_header;
        }
        head.timestamps = static_cast<uint16_t>(at + 2);
    }
    if (option[0] == option_sack) {
        const unsigned blocks = (length - 2) / 8;
        if (length % 8 != 2 || blocks == 0 || blocks > sack_blocks_max || head.sack != 0) {
            return punt_tcp_header;
        }
        head.sack = static_cast<uint16_t>(at + 2);
        head.sack_blocks = static_cast<uint16_t>(blocks);
    }
    return punt_none;
}

punt_reason tcp_options(const uint8_t *tcp, unsigned l4, unsigned header, headers &head)
{
#pragma HLS INLINE
    const unsigned bytes = header - tcp_bytes_min;
    unsigned next = 0;
    for (unsigned i = 0; i < option_bytes_max; ++i) {
#pragma HLS UNROLL
        if (i >= bytes) {
            break;
        }
        if (i != next) {
            continue;
        }
        const uint8_t *option = tcp + tcp_bytes_min + i;
        if (option[0] == option_end) {
            break;
        }
        unsigned length = 1;
        if (option[0] != option_none) {
            const punt_reason reason = tcp_option_at(option, l4 + tcp_bytes_min + i, bytes - i, length, head);
            if (reason != punt_none) {
                return reason;
            }
        }
        next = i + length;
    }
    return punt_none;
}

punt_reason transport(const uint8_t byte[header_bytes_max], unsigned have, datagram &d, decoded &out)
{
#pragma HLS INLINE
    headers &head = out.head;
    out.keyed = d.next != proto_tcp && d.next != proto_udp;
    if (out.keyed) {
        return punt_none;
    }
    const bool tcp = d.next == proto_tcp;
    const punt_reason reason = reaches(have, d, tcp ? unsigned{tcp_bytes_min} : unsigned{udp_bytes});
    if (reason != punt_none) {
        return reason;
    }
    const uint8_t *l4 = byte + d.at;
    out.keyed = true; /* what comes now is looked at while the tables are asked */
    out.key.sport = load_be16(l4);
    out.key.dport = load_be16(l4 + 2);
    unsigned header = udp_bytes, end = d.end;
    if (tcp) {
        header = 4u * (l4[12] >> 4);
        if (header < tcp_bytes_min || d.at + header > d.end) {
            return punt_tcp_header;
        }
        const punt_reason beyond = reaches(have, d, header);
        if (beyond != punt_none) {
            return beyond;
        }
        const punt_reason options = tcp_options(l4, d.at, header, head);
        if (options != punt_none) {
            return options;
        }
        head.seq = load_be32(l4 + 4);
        head.ack = load_be32(l4 + 8);
        head.flags = l4[13] & 63;
    } else {
        end = d.at + load_be16(l4 + 4);
        if (end < d.at + udp_bytes || end > d.end) {
            return punt_truncated;
        }
    }
    out.check = tcp || load_be16(l4 + 6) != 0;
    if (!out.check && head.version == 6) {
        return punt_checksum; /* RFC 768: zero is none; RFC 8200 section 8.1: not over IPv6 */
    }
    head.l4 = static_cast<uint16_t>(d.at);
    head.payload = static_cast<uint16_t>(d.at + header);
    head.payload_bytes = static_cast<uint16_t>(end - d.at - header);
    const uint32_t length = end - d.at;
    const uint32_t addresses = sum_words(out.key.src, sizeof(out.key.src), sizeof(out.key.src)) +
                               sum_words(out.key.dst, sizeof(out.key.dst), sizeof(out.key.dst));
    out.header_sum = fold(addresses + d.next + length + sum_words(l4, header, tcp_bytes_max));
    return punt_none;
}

punt_reason decode_ip(const uint8_t byte[header_bytes_max], unsigned have, decoded &out)
{
#pragma HLS INLINE
    unsigned l3 = 0, type = 0;
    punt_reason reason = ethernet(byte, have, l3, type);
    if (reason != punt_none) {
        return reason;
    }
    const bool v4 = type == type_ipv4;
    datagram d = {};
    reason = v4 ? ipv4_length(byte, have, l3, d) : ipv6_length(byte, have, l3, d);
    if (reason != punt_none) {
        return reason;
    }
    out.end = static_cast<uint16_t>(d.end < 0xffff ? d.end : 0xffff);
    const uint8_t *ip = byte + l3;
    if (v4) {
        if (fold(sum_words(ip, d.at - l3, ipv4_bytes_max)) != 0xffff) {
            return punt_ip_header;
        }
        if ((load_be16(ip + 6) & 0x3fff) != 0) { /* more-fragments, offset */
            return punt_fragment;
        }
    } else {
        reason = ipv6_extensions(byte, have, d);
        if (reason != punt_none) {
            return reason;
        }
    }
    const unsigned address_bytes = v4 ? 4 : 16;
    const unsigned src = v4 ? 12 : 8;
    for (unsigned i = 0; i < 16; ++i) {
#pragma HLS UNROLL
        out.key.src[i] = i < address_bytes ? ip[src + i] : uint8_t{0};
        out.key.dst[i] = i < address_bytes ? ip[src + address_bytes + i] : uint8_t{0};
    }
    out.key.proto = out.head.proto = d.next;
    out.key.version = out.head.version = v4 ? 4 : 6;
    out.head.l3 = static_cast<uint16_t>(l3);
    return transport(byte, have, d, out);
}

/* The key of nothing, and headers of which only the reason counts. */
decoded decode(const uint8_t byte[header_bytes_max], unsigned have)
{
#pragma HLS INLINE
    decoded out = {};
    const punt_reason reason = decode_ip(byte, have, out);
    if (reason != punt_none) {
        out.head = {};
        if (!out.keyed) {
            out.key = {};
        }
        out.check = false;
        out.head.reason = reason;
    }
    return out;
}

/* The part of the payload that lies in the beat at `before`. */
uint16_t payload_in_beat(const decoded &d, const uint8_t byte[beat_bytes], unsigned before, unsigned bytes)
{
#pragma HLS INLINE
    const unsigned from = d.head.payload, to = from + d.head.payload_bytes;
    const unsigned low = from > before ? from - before : 0;
    unsigned high = to > before ? to - before : 0;
    high = high < bytes ? high : bytes;
    return sum_beat(byte, low, high);
}

punt_reason verdict(const decoded &d, unsigned frame_bytes, bool error, uint16_t payload_sum)
{
#pragma HLS INLINE
    if (frame_bytes > frame_bytes_max || (error && frame_bytes == frame_bytes_max)) {
        return punt_oversize;
    }
    if (error) {
        return punt_port_error;
    }
    if (d.end > frame_bytes) {
        return punt_truncated;
    }
    if (d.head.reason != punt_none) {
        return d.head.reason;
    }
    return d.check && fold(uint32_t{d.header_sum} + payload_sum) != 0xffff ? punt_checksum : punt_none;
}

} // namespace

void parser(parser_state &s, hls::stream<beat> &in, hls::stream<beat> &out, hls::stream<packet_key> &keys,
            hls::stream<headers> &summaries)
{
#pragma HLS PIPELINE II = 1
#pragma HLS ARRAY_PARTITION variable = s.window complete
    if (in.empty() || out.full() || keys.full() || summaries.full()) {
        return;
    }
    const beat b = in.read();
    out.write(b);

    const unsigned before = s.before;
    const unsigned frame_bytes = before + b.bytes;
    if (before < header_bytes_max) {
        for (unsigned i = 0; i < beat_bytes; ++i) {
#pragma HLS UNROLL
            s.window[before + i] = b.byte[i];
        }
        if (b.last || frame_bytes == header_bytes_max) {
            s.now = decode(s.window, frame_bytes);
            uint32_t sum = 0;
            for (unsigned i = 0; i < header_beats_max; ++i) {
#pragma HLS UNROLL
                if (beat_bytes * i < frame_bytes) {
                    sum += payload_in_beat(s.now, s.window + beat_bytes * i, beat_bytes * i, beat_bytes);
                }
            }
            s.payload_sum = fold(sum);
            keys.write(packet_key{s.now.key, s.now.keyed});
        }
    } else {
        s.payload_sum = fold(uint32_t{s.payload_sum} + payload_in_beat(s.now, b.byte, before, b.bytes));
    }

    if (b.last) {
        headers head = s.now.head;
        head.reason = verdict(s.now, frame_bytes, b.error, s.payload_sum);
        if (head.reason != punt_none) {
            const punt_reason reason = head.reason;
            head = {};
            head.reason = reason;
        }
        head.payload_sum = head.reason == punt_none ? s.payload_sum : uint16_t{0};
        head.keyed = s.now.keyed;
        head.packet_id = s.packet_id++;
        head.frame_bytes = static_cast<uint16_t>(frame_bytes);
        summaries.write(head);
        s.before = 0;
    } else if (before <= frame_bytes_max) {
        s.before = static_cast<uint16_t>(before + beat_bytes);
    }
}

} // namespace card
