/* SPDX-License-Identifier: Apache-2.0 */
#include "card/service/frame.h"

#include <netinet/in.h>
#include <string.h>

#include "base/be.h"

enum {
    ETHERNET = 14,
    VLAN = 4,
    TYPE_IPV4 = 0x0800,
    TYPE_IPV6 = 0x86dd,
    TYPE_VLAN = 0x8100,
    TYPE_QINQ = 0x88a8,
    IPV4 = 20,
    IPV6 = 40,
    TCP = 20,
    UDP = 8,
    TCP_CHECKSUM = 16,
    UDP_CHECKSUM = 6
};

static bool view_ipv4(const uint8_t *frame, size_t count, struct sl_frame_view *v)
{
    const uint8_t *ip = frame + v->l3;
    if (count - v->l3 < IPV4 || ip[0] >> 4 != 4)
        return false;
    size_t header = (size_t)(ip[0] & 15) * 4, total = sl_load_be16(ip + 2);
    if (header < IPV4 || total < header || total > count - v->l3)
        return false;
    v->key.version = 4;
    memcpy(v->key.src, ip + 12, 4);
    memcpy(v->key.dst, ip + 16, 4);
    v->l4 = v->l3 + header;
    v->end = v->l3 + total;
    v->key.proto = (sl_load_be16(ip + 6) & 0x3fff) == 0 ? ip[9] : 0; /* a fragment has no ports to look at */
    return true;
}

static bool view_ipv6(const uint8_t *frame, size_t count, struct sl_frame_view *v)
{
    const uint8_t *ip = frame + v->l3;
    if (count - v->l3 < IPV6 || ip[0] >> 4 != 6 || sl_load_be16(ip + 4) > count - v->l3 - IPV6)
        return false;
    v->key.version = 6;
    memcpy(v->key.src, ip + 8, 16);
    memcpy(v->key.dst, ip + 24, 16);
    v->l4 = v->l3 + IPV6;
    v->end = v->l4 + sl_load_be16(ip + 4);
    v->key.proto = ip[6];
    return true;
}

bool sl_frame_view(const uint8_t *frame, size_t count, struct sl_frame_view *out)
{
    memset(out, 0, sizeof *out);
    if (count < ETHERNET)
        return false;
    out->l3 = ETHERNET;
    unsigned type = sl_load_be16(frame + out->l3 - 2);
    for (int tags = 0; tags < 2 && (type == TYPE_VLAN || type == TYPE_QINQ); tags++) {
        if (count - out->l3 < VLAN)
            return false;
        out->l3 += VLAN;
        type = sl_load_be16(frame + out->l3 - 2);
    }
    if (type == TYPE_IPV4 ? !view_ipv4(frame, count, out) : type != TYPE_IPV6 || !view_ipv6(frame, count, out))
        return false;
    size_t needed = out->key.proto == IPPROTO_TCP ? TCP : UDP;
    if ((out->key.proto == IPPROTO_TCP || out->key.proto == IPPROTO_UDP) && out->end - out->l4 >= needed) {
        out->key.sport = sl_load_be16(frame + out->l4);
        out->key.dport = sl_load_be16(frame + out->l4 + 2);
    }
    return true;
}

uint32_t sl_frame_sum(uint32_t so_far, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i + 1 < count; i += 2)
        so_far += sl_load_be16(bytes + i);
    return count % 2 != 0 ? so_far + ((uint32_t)bytes[count - 1] << 8) : so_far;
}

uint16_t sl_frame_folded(uint32_t sum)
{
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

void sl_frame_fix_checksums(uint8_t *frame, const struct sl_frame_view *view)
{
    uint8_t *ip = frame + view->l3, *l4 = frame + view->l4;
    size_t addresses = view->key.version == 4 ? 12 : 8, bytes = view->end - view->l4;
    bool tcp = view->key.proto == IPPROTO_TCP, udp = view->key.proto == IPPROTO_UDP;

    if (view->key.version == 4) {
        sl_store_be16(ip + 10, 0);
        sl_store_be16(ip + 10, sl_frame_folded(sl_frame_sum(0, ip, view->l4 - view->l3)));
    }
    if (!(tcp && bytes >= TCP) && !(udp && bytes >= UDP))
        return;
    uint8_t *at = l4 + (tcp ? TCP_CHECKSUM : UDP_CHECKSUM);
    size_t address_bytes = view->key.version == 4 ? 8 : 32;
    sl_store_be16(at, 0);
    uint32_t sum = sl_frame_sum(view->key.proto + (uint32_t)bytes, ip + addresses, address_bytes);
    uint16_t value = sl_frame_folded(sl_frame_sum(sum, l4, bytes));
    sl_store_be16(at, udp && value == 0 ? 0xffff : value);
}

struct sl_engine_flow_key sl_frame_key_reversed(const struct sl_engine_flow_key *key)
{
    struct sl_engine_flow_key reversed = *key;
    memcpy(reversed.src, key->dst, sizeof reversed.src);
    memcpy(reversed.dst, key->src, sizeof reversed.dst);
    reversed.sport = key->dport;
    reversed.dport = key->sport;
    return reversed;
}
