/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <hls_stream.h>

#include "packet/packet.hpp"

namespace card
{

/* What is known of a packet when its first 256 bytes, or all of it, have been read. */
struct decoded {
    headers head; /* but for packet_id, frame_bytes, payload_sum */
    bool keyed;   /* key is valid: addresses, protocol and ports were reached */
    flow_key key;
    bool check;          /* TCP or UDP with a checksum */
    uint16_t end;        /* of the IP datagram; 0: head.reason comes before its length in the order of the rules */
    uint16_t header_sum; /* of pseudo-header and TCP or UDP header */
};

struct parser_state {
    uint8_t window[header_bytes_max] = {}; /* the packet's first beats; what lies behind them is left from packets before */
    uint16_t before = 0;                   /* bytes of the packet before this beat; stays where it is beyond frame_bytes_max */
    uint16_t payload_sum = 0;              /* so far */
    uint32_t packet_id = 0;                /* of the next packet */
    decoded now = {};
};

/*
 * Passes the beats on unchanged. Of every packet it writes one key, with the fourth beat or the last one if that comes before; and
 * one summary, with the last beat. A key is valid if addresses, protocol and ports were reached and nothing before them is wrong;
 * the summary may have a reason nevertheless, from the rest of the headers or the end of the packet. The rules and their order are
 * in docs/card.md section 1.
 */
void parser(parser_state &s, hls::stream<beat> &in, hls::stream<beat> &out, hls::stream<packet_key> &keys,
            hls::stream<headers> &summaries);

/*
 * Cycles, each of at most 4 levels:
 *   1  the beat goes into the window
 *   1  Ethernet type, one of three places
 *   1  IP header to a fixed place, 3:1; its words to the checksum's adder tree, beside all that follows
 *   1  every 8-byte unit of the window read as if it was an extension header: kind, end
 *   5  one hop of the chain each: unit picked (27:1, 3 levels), its kind judged
 *   2  TCP header to a fixed place, 64:1 in steps of 4 bytes
 *   1  every byte of the options read as if an option began there: kind, end, whether it may
 *  10  four bytes of the options each: which of them is reached (2 levels), what that leaves open (1 level); beside it, the sums
 *   2  checksum compared, first reason picked
 */
constexpr unsigned parser_depth = 24;
/* The key does not wait for what follows the ports: window, Ethernet type, IP header, extension headers (1 + 5), ports (2). */
constexpr unsigned parser_key_depth = 11;

} // namespace card
