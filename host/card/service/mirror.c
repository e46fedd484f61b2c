/* SPDX-License-Identifier: Apache-2.0 */
#include "card/service/mirror.h"

#include <netinet/in.h>
#include <string.h>

#include "base/be.h"
#include "card/service/frame.h"

enum {
    ETHERNET = 14,
    IPV4 = 20,
    IPV6 = 40,
    TCP = 20,
    TEXT_MAX = 1 << 14,
    APPLICATION_DATA = 23,
    HOPS = 64,
    WINDOW = 65535,
    FLAGS_PSH_ACK = 0x18
};

/* Both headers' addresses as they are seen in the record's lane. Returns the length of the IP header. */
static size_t put_ip(uint8_t *ip, const struct sl_engine_flow_key *key, unsigned lane, uint32_t tcp_bytes)
{
    const uint8_t *src = lane == 0 ? key->src : key->dst, *dst = lane == 0 ? key->dst : key->src;

    if (key->version == 4) {
        memset(ip, 0, IPV4);
        ip[0] = 0x45;
        sl_store_be16(ip + 2, IPV4 + tcp_bytes);
        ip[8] = HOPS;
        ip[9] = IPPROTO_TCP;
        memcpy(ip + 12, src, 4);
        memcpy(ip + 16, dst, 4);
        return IPV4;
    }
    memset(ip, 0, IPV6);
    ip[0] = 0x60;
    sl_store_be16(ip + 4, tcp_bytes);
    ip[6] = IPPROTO_TCP;
    ip[7] = HOPS;
    memcpy(ip + 8, src, 16);
    memcpy(ip + 24, dst, 16);
    return IPV6;
}

void sl_card_mirror_write(struct sl_capture_writer *writer, uint64_t time_ns, const struct sl_engine_mirror *record,
                          const struct sl_card_session *session)
{
    const struct sl_engine_flow_key *key = &session->key;
    unsigned lane = record->lane & 1;
    uint8_t frame[ETHERNET + IPV6 + TCP + TEXT_MAX];

    if (record->type != APPLICATION_DATA || record->count == 0 || record->count > TEXT_MAX)
        return;
    memset(frame, 0, ETHERNET);
    frame[5] = lane == 0 ? 2 : 1; /* made-up stations: 02:..:01 is inside, 02:..:02 outside */
    frame[11] = lane == 0 ? 1 : 2;
    frame[0] = frame[6] = 2;
    sl_store_be16(frame + 12, key->version == 4 ? 0x0800 : 0x86dd);
    uint8_t *ip = frame + ETHERNET;
    size_t ip_bytes = put_ip(ip, key, lane, TCP + record->count);
    uint8_t *tcp = ip + ip_bytes;
    memset(tcp, 0, TCP);
    sl_store_be16(tcp, lane == 0 ? key->sport : key->dport);
    sl_store_be16(tcp + 2, lane == 0 ? key->dport : key->sport);
    sl_store_be32(tcp + 4, 1 + session->mirror_seq[lane]);
    sl_store_be32(tcp + 8, 1 + session->mirror_seq[1 - lane]);
    tcp[12] = TCP / 4 << 4;
    tcp[13] = FLAGS_PSH_ACK;
    sl_store_be16(tcp + 14, WINDOW);
    memcpy(tcp + TCP, record->bytes, record->count);
    const struct sl_frame_view view = {.key = {.proto = IPPROTO_TCP, .version = key->version},
                                       .l3 = ETHERNET,
                                       .l4 = ETHERNET + ip_bytes,
                                       .end = ETHERNET + ip_bytes + TCP + record->count};
    sl_frame_fix_checksums(frame, &view);
    sl_capture_write(writer, time_ns, frame, (uint32_t)view.end);
}
