/* SPDX-License-Identifier: Apache-2.0 */
/* The headers of a frame, in the order of the table in docs/card.md section 1. Lengths are those of the whole frame in memory: each
 * step says how far it may look before it looks. */
#include <string.h>

#include "model.h"

enum {
    ethernet_bytes = 14,
    vlan_bytes = 4,
    vlan_max = 2,
    type_ipv4 = 0x0800,
    type_ipv6 = 0x86dd,
    type_vlan = 0x8100,
    type_service_vlan = 0x88a8,
    ipv4_bytes = 20,
    ipv6_bytes = 40,
    extensions_max = 4,
    reach = 256, /* of the parser: all headers end before */
    protocol_tcp = 6,
    protocol_udp = 17,
    tcp_bytes = 20,
    udp_bytes = 8
};

static unsigned get16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

/* RFC 1071 section 4.1, in its plainest form: 16-bit words added up, the carries added in the end. */
uint16_t model_sum(uint16_t start, const uint8_t *bytes, size_t count)
{
    uint64_t sum = start;
    size_t i = 0;
    for (; i + 1 < count; i += 2)
        sum += get16(bytes + i);
    if (i < count)
        sum += (uint64_t)bytes[i] << 8;
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* The pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1) and l4_bytes from the TCP or UDP header on, checksum included. */
static uint16_t l4_sum(const uint8_t *frame, const struct model_headers *h, size_t l4_bytes)
{
    const size_t address_bytes = h->flow.version == 4 ? 4 : 16;
    uint8_t pseudo[8] = {(uint8_t)(l4_bytes >> 24), (uint8_t)(l4_bytes >> 16), (uint8_t)(l4_bytes >> 8), (uint8_t)l4_bytes};
    pseudo[7] = h->flow.proto;
    uint16_t sum = model_sum(0, h->flow.src, address_bytes);
    sum = model_sum(sum, h->flow.dst, address_bytes);
    sum = model_sum(sum, pseudo, sizeof pseudo);
    return model_sum(sum, frame + h->l4, l4_bytes);
}

uint16_t model_l4_checksum(const uint8_t *frame, const struct model_headers *h, size_t l4_bytes)
{
    const size_t field = (size_t)h->l4 + (h->flow.proto == protocol_tcp ? 16 : 6);
    uint16_t sum = l4_sum(frame, h, l4_bytes);
    /* Without the field: one's complement subtraction is addition of the complement. The result 0 has two names; the sum of what
     * is never all zero is 0xffff then. */
    const uint8_t complement[2] = {(uint8_t)~frame[field], (uint8_t)~frame[field + 1]};
    sum = model_sum(sum, complement, 2);
    return (uint16_t)~sum;
}

static enum model_reason parse_tcp_options(const uint8_t *frame, size_t at, size_t end, struct model_headers *h)
{
    while (at < end) {
        const uint8_t kind = frame[at];
        if (kind == 0)
            return model_reason_none;
        if (kind == 1) {
            at++;
            continue;
        }
        if (at + 2 > end)
            return model_reason_tcp_header;
        const size_t length = frame[at + 1];
        if (length < 2 || at + length > end)
            return model_reason_tcp_header;
        if (kind == 5) {
            if (h->sack_blocks != 0 || length < 10 || length > 34 || (length - 2) % 8 != 0)
                return model_reason_tcp_header;
            h->sack = (uint16_t)(at + 2);
            h->sack_blocks = (uint16_t)((length - 2) / 8);
        }
        if (kind == 8) {
            if (h->timestamps != 0 || length != 10)
                return model_reason_tcp_header;
            h->timestamps = (uint16_t)(at + 2);
        }
        at += length;
    }
    return model_reason_none;
}

/* end: of the IP datagram. */
static enum model_reason parse_tcp(const uint8_t *frame, size_t at, size_t end, struct model_headers *h)
{
    if (at + tcp_bytes > end)
        return model_reason_truncated;
    if (at + tcp_bytes > reach)
        return model_reason_extension;
    const size_t header_bytes = (size_t)(frame[at + 12] >> 4) * 4;
    if (header_bytes < tcp_bytes || at + header_bytes > end)
        return model_reason_tcp_header;
    if (at + header_bytes > reach)
        return model_reason_extension;
    const enum model_reason reason = parse_tcp_options(frame, at + tcp_bytes, at + header_bytes, h);
    if (reason != model_reason_none)
        return reason;
    h->l4 = (uint16_t)at;
    h->flow.sport = (uint16_t)get16(frame + at);
    h->flow.dport = (uint16_t)get16(frame + at + 2);
    h->seq = get32(frame + at + 4);
    h->ack = get32(frame + at + 8);
    h->tcp_flags = frame[at + 13] & 0x3f;
    h->payload = (uint16_t)(at + header_bytes);
    h->payload_bytes = (uint16_t)(end - at - header_bytes);
    return l4_sum(frame, h, end - at) == 0xffff ? model_reason_none : model_reason_checksum;
}

static enum model_reason parse_udp(const uint8_t *frame, size_t at, size_t end, struct model_headers *h)
{
    if (at + udp_bytes > end)
        return model_reason_truncated;
    if (at + udp_bytes > reach)
        return model_reason_extension;
    const size_t length = get16(frame + at + 4);
    if (length < udp_bytes || at + length > end)
        return model_reason_truncated;
    h->l4 = (uint16_t)at;
    h->flow.sport = (uint16_t)get16(frame + at);
    h->flow.dport = (uint16_t)get16(frame + at + 2);
    h->payload = (uint16_t)(at + udp_bytes);
    h->payload_bytes = (uint16_t)(length - udp_bytes);
    if (get16(frame + at + 6) == 0)
        return h->flow.version == 4 ? model_reason_none : model_reason_checksum;
    return l4_sum(frame, h, length) == 0xffff ? model_reason_none : model_reason_checksum;
}

static enum model_reason parse_transport(const uint8_t *frame, size_t at, size_t end, struct model_headers *h)
{
    if (h->flow.proto == protocol_tcp)
        return parse_tcp(frame, at, end, h);
    if (h->flow.proto == protocol_udp)
        return parse_udp(frame, at, end, h);
    return model_reason_none;
}

static enum model_reason parse_ipv4(const uint8_t *frame, size_t bytes, size_t at, struct model_headers *h)
{
    if (at + ipv4_bytes > bytes)
        return model_reason_truncated;
    const size_t header_bytes = (size_t)(frame[at] & 15) * 4;
    if (frame[at] >> 4 != 4 || header_bytes < ipv4_bytes)
        return model_reason_ip_header;
    if (at + header_bytes > bytes)
        return model_reason_truncated;
    const size_t total_bytes = get16(frame + at + 2);
    if (total_bytes < header_bytes)
        return model_reason_ip_header;
    if (at + total_bytes > bytes)
        return model_reason_truncated;
    if (model_sum(0, frame + at, header_bytes) != 0xffff)
        return model_reason_ip_header;
    if ((get16(frame + at + 6) & 0x3fff) != 0)
        return model_reason_fragment;
    h->flow.version = 4;
    h->flow.proto = frame[at + 9];
    memcpy(h->flow.src, frame + at + 12, 4);
    memcpy(h->flow.dst, frame + at + 16, 4);
    return parse_transport(frame, at + header_bytes, at + total_bytes, h);
}

static bool is_refused_extension(uint8_t protocol)
{
    return protocol == 50 || protocol == 51 || protocol == 135 || protocol == 139 || protocol == 140 || protocol == 253 ||
           protocol == 254;
}

static enum model_reason parse_ipv6(const uint8_t *frame, size_t bytes, size_t at, struct model_headers *h)
{
    if (at + ipv6_bytes > bytes)
        return model_reason_truncated;
    if (frame[at] >> 4 != 6)
        return model_reason_ip_header;
    const size_t end = at + ipv6_bytes + get16(frame + at + 4);
    if (end > bytes)
        return model_reason_truncated;
    h->flow.version = 6;
    memcpy(h->flow.src, frame + at + 8, 16);
    memcpy(h->flow.dst, frame + at + 24, 16);
    uint8_t protocol = frame[at + 6];
    size_t header = at + ipv6_bytes;
    for (unsigned extensions = 0;; extensions++) {
        if (protocol == 44)
            return model_reason_fragment;
        if (is_refused_extension(protocol))
            return model_reason_extension;
        if (protocol != 0 && protocol != 43 && protocol != 60)
            break;
        if ((protocol == 0 && extensions > 0) || extensions == extensions_max)
            return model_reason_extension;
        if (header + 2 > end)
            return model_reason_truncated;
        const size_t extension_bytes = 8 + 8 * (size_t)frame[header + 1];
        if (header + extension_bytes > end)
            return model_reason_truncated;
        if (header + extension_bytes > reach)
            return model_reason_extension;
        protocol = frame[header];
        header += extension_bytes;
    }
    h->flow.proto = protocol;
    return parse_transport(frame, header, end, h);
}

static enum model_reason parse_frame(const uint8_t *frame, size_t bytes, bool port_error, struct model_headers *h)
{
    if (bytes > model_frame_max || (bytes == model_frame_max && port_error)) /* a port cuts a longer frame there, and says error */
        return model_reason_oversize;
    if (port_error)
        return model_reason_port_error;
    if (bytes < ethernet_bytes)
        return model_reason_truncated;
    size_t at = ethernet_bytes;
    unsigned type = get16(frame + 12);
    for (unsigned tags = 0; tags < vlan_max && (type == type_vlan || type == type_service_vlan); tags++) {
        if (at + vlan_bytes > bytes)
            return model_reason_truncated;
        type = get16(frame + at + 2);
        at += vlan_bytes;
    }
    h->l3 = (uint16_t)at;
    if (type == type_ipv4)
        return parse_ipv4(frame, bytes, at, h);
    if (type == type_ipv6)
        return parse_ipv6(frame, bytes, at, h);
    return model_reason_not_ip;
}

struct model_headers model_parse(const uint8_t *frame, size_t bytes, bool port_error)
{
    struct model_headers h = {0};
    const enum model_reason reason = parse_frame(frame, bytes, port_error, &h);
    if (reason != model_reason_none)
        return (struct model_headers){.reason = reason};
    return h;
}
