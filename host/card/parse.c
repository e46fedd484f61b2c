/* SPDX-License-Identifier: Apache-2.0 */
/* The order of the checks is that of the table in docs/card.md section 1: the first failure decides. Each step says how far it may
 * look before it looks. */
#include "card/parse.h"

#include "base/be.h"
#include "card/engine.h"
#include "card/sum.h"

enum {
    ETHERNET_BYTES = 14,
    VLAN_BYTES = 4,
    VLAN_TAGS = 2,
    IPV4_BYTES = 20,
    IPV6_BYTES = 40,
    TCP_BYTES = 20,
    UDP_BYTES = 8,
    EXTENSIONS = 4,
    REACH = 256, /* all headers end before */

    TYPE_IPV4 = 0x0800,
    TYPE_IPV6 = 0x86dd,
    TYPE_VLAN = 0x8100,
    TYPE_SERVICE_VLAN = 0x88a8,
    PROTO_HOP_BY_HOP = 0,
    PROTO_TCP = 6,
    PROTO_UDP = 17,
    PROTO_ROUTING = 43,
    PROTO_FRAGMENT = 44,
    PROTO_DESTINATION = 60,
    OPTION_END = 0,
    OPTION_NOP = 1,
    OPTION_SACK = 5,
    OPTION_TIMESTAMPS = 8
};

static enum sl_card_reason parse_options(struct sl_cpu_headers *h, const uint8_t *frame, size_t at, size_t end)
{
    while (at < end && frame[at] != OPTION_END) {
        if (frame[at] == OPTION_NOP) {
            at++;
            continue;
        }
        const size_t length = end - at >= 2 ? frame[at + 1] : 0;
        if (length < 2 || length > end - at)
            return SL_PUNT_TCP_HEADER;
        if (frame[at] == OPTION_SACK) {
            if (h->sack_blocks > 0 || length < 10 || length > 34 || length % 8 != 2)
                return SL_PUNT_TCP_HEADER;
            h->sack = (uint16_t)(at + 2);
            h->sack_blocks = (uint16_t)(length / 8);
        } else if (frame[at] == OPTION_TIMESTAMPS) {
            if (h->timestamps > 0 || length != 10)
                return SL_PUNT_TCP_HEADER;
            h->timestamps = (uint16_t)(at + 2);
        }
        at += length;
    }
    return SL_PUNT_NONE;
}

static enum sl_card_reason parse_tcp(struct sl_cpu_headers *h, const uint8_t *frame, size_t at, size_t end)
{
    if (end - at < TCP_BYTES)
        return SL_PUNT_TRUNCATED;
    if (at + TCP_BYTES > REACH)
        return SL_PUNT_EXTENSION;
    const size_t header = 4 * (size_t)(frame[at + 12] >> 4);
    if (header < TCP_BYTES || header > end - at)
        return SL_PUNT_TCP_HEADER;
    if (at + header > REACH)
        return SL_PUNT_EXTENSION;
    if (header > TCP_BYTES) {
        const enum sl_card_reason reason = parse_options(h, frame, at + TCP_BYTES, at + header);
        if (reason != SL_PUNT_NONE)
            return reason;
    }
    h->l4 = (uint16_t)at;
    h->payload = (uint16_t)(at + header);
    h->payload_bytes = (uint16_t)(end - at - header);
    h->seq = sl_load_be32(frame + at + 4);
    h->tcp_flags = frame[at + 13] & 0x3f;
    h->payload_sum = sl_cpu_sum(frame + h->payload, h->payload_bytes);
    const uint32_t sum = h->pseudo_sum + sl_cpu_sum(frame + at, header) + h->payload_sum;
    return sl_cpu_sum_fold(sum) == 0xffff ? SL_PUNT_NONE : SL_PUNT_CHECKSUM;
}

static enum sl_card_reason parse_udp(struct sl_cpu_headers *h, const uint8_t *frame, size_t at, size_t end, unsigned version,
                                     uint32_t address_sum)
{
    if (end - at < UDP_BYTES)
        return SL_PUNT_TRUNCATED;
    if (at + UDP_BYTES > REACH)
        return SL_PUNT_EXTENSION;
    const size_t length = sl_load_be16(frame + at + 4);
    if (length < UDP_BYTES || length > end - at)
        return SL_PUNT_TRUNCATED;
    h->l4 = (uint16_t)at;
    h->payload = (uint16_t)(at + UDP_BYTES);
    h->payload_bytes = (uint16_t)(length - UDP_BYTES);
    if (sl_load_be16(frame + at + 6) == 0)
        return version == 4 ? SL_PUNT_NONE : SL_PUNT_CHECKSUM;
    const uint32_t sum = address_sum + PROTO_UDP + (uint32_t)length + sl_cpu_sum(frame + at, length);
    return sl_cpu_sum_fold(sum) == 0xffff ? SL_PUNT_NONE : SL_PUNT_CHECKSUM;
}

/* at: behind the IP headers; addresses: both, address_bytes in all. */
static enum sl_card_reason parse_transport(struct sl_cpu_headers *h, const uint8_t *frame, size_t at, size_t end, unsigned version,
                                           unsigned proto, const uint8_t *addresses, size_t address_bytes)
{
    enum sl_card_reason reason = SL_PUNT_NONE;
    unsigned sport = 0, dport = 0;
    h->proto = (uint8_t)proto;
    if (proto == PROTO_TCP) {
        h->pseudo_sum = sl_cpu_sum(addresses, address_bytes) + PROTO_TCP + (uint32_t)(end - at);
        reason = parse_tcp(h, frame, at, end);
    } else if (proto == PROTO_UDP) {
        reason = parse_udp(h, frame, at, end, version, sl_cpu_sum(addresses, address_bytes));
    }
    if (h->l4 != 0) {
        sport = sl_load_be16(frame + at);
        dport = sl_load_be16(frame + at + 2);
    }
    memcpy(&h->key.word[0], addresses, address_bytes / 2);
    memcpy(&h->key.word[2], addresses + address_bytes / 2, address_bytes / 2);
    h->key.word[4] = sl_flow_key_tail(sport, dport, proto, version);
    return reason;
}

static enum sl_card_reason parse_ipv4(struct sl_cpu_headers *h, const uint8_t *frame, size_t bytes, size_t at)
{
    if (bytes - at < IPV4_BYTES)
        return SL_PUNT_TRUNCATED;
    const size_t header = 4 * (size_t)(frame[at] & 15);
    if (frame[at] >> 4 != 4 || header < IPV4_BYTES)
        return SL_PUNT_IP_HEADER;
    if (header > bytes - at)
        return SL_PUNT_TRUNCATED;
    const size_t total = sl_load_be16(frame + at + 2);
    if (total < header)
        return SL_PUNT_IP_HEADER;
    if (total > bytes - at)
        return SL_PUNT_TRUNCATED;
    if (sl_cpu_sum_fold(sl_cpu_sum(frame + at, header)) != 0xffff)
        return SL_PUNT_IP_HEADER;
    if ((sl_load_be16(frame + at + 6) & 0x3fff) != 0) /* more fragments, or an offset */
        return SL_PUNT_FRAGMENT;
    return parse_transport(h, frame, at + header, at + total, 4, frame[at + 9], frame + at + 12, 8);
}

/* What cannot be skipped: encryption, authentication, mobility, host identity, shim6, experiments. */
static bool is_refused(unsigned next)
{
    return next == 50 || next == 51 || next == 135 || next == 139 || next == 140 || next == 253 || next == 254;
}

static enum sl_card_reason parse_ipv6(struct sl_cpu_headers *h, const uint8_t *frame, size_t bytes, size_t at)
{
    if (bytes - at < IPV6_BYTES)
        return SL_PUNT_TRUNCATED;
    if (frame[at] >> 4 != 6)
        return SL_PUNT_IP_HEADER;
    const size_t payload = sl_load_be16(frame + at + 4), first = at + IPV6_BYTES;
    if (payload > bytes - first)
        return SL_PUNT_TRUNCATED;
    const size_t end = first + payload;
    unsigned next = frame[at + 6];
    size_t here = first;
    for (unsigned count = 0;; count++) {
        if (next == PROTO_FRAGMENT)
            return SL_PUNT_FRAGMENT;
        if (is_refused(next))
            return SL_PUNT_EXTENSION;
        if (next != PROTO_HOP_BY_HOP && next != PROTO_ROUTING && next != PROTO_DESTINATION)
            break;
        if ((next == PROTO_HOP_BY_HOP && count > 0) || count == EXTENSIONS)
            return SL_PUNT_EXTENSION;
        const size_t length = end - here >= 2 ? 8 + 8 * (size_t)frame[here + 1] : SIZE_MAX;
        if (length > end - here)
            return SL_PUNT_TRUNCATED;
        if (here + length > REACH)
            return SL_PUNT_EXTENSION;
        next = frame[here];
        here += length;
    }
    return parse_transport(h, frame, here, end, 6, next, frame + at + 8, 32);
}

static enum sl_card_reason parse(struct sl_cpu_headers *h, const uint8_t *frame, size_t bytes, bool damaged)
{
    if (bytes > SL_ENGINE_FRAME_MAX || (bytes == SL_ENGINE_FRAME_MAX && damaged))
        return SL_PUNT_OVERSIZE;
    if (damaged)
        return SL_PUNT_PORT_ERROR;
    if (bytes < ETHERNET_BYTES)
        return SL_PUNT_TRUNCATED;
    size_t at = ETHERNET_BYTES;
    unsigned type = sl_load_be16(frame + 12);
    for (unsigned tags = 0; tags < VLAN_TAGS && (type == TYPE_VLAN || type == TYPE_SERVICE_VLAN); tags++) {
        if (bytes - at < VLAN_BYTES)
            return SL_PUNT_TRUNCATED;
        type = sl_load_be16(frame + at + 2);
        at += VLAN_BYTES;
    }
    if (type == TYPE_IPV4)
        return parse_ipv4(h, frame, bytes, at);
    if (type == TYPE_IPV6)
        return parse_ipv6(h, frame, bytes, at);
    return SL_PUNT_NOT_IP;
}

void sl_cpu_parse(struct sl_cpu_headers *h, const uint8_t *frame, size_t bytes, bool damaged)
{
    *h = (struct sl_cpu_headers){0};
    h->reason = parse(h, frame, bytes, damaged);
}
