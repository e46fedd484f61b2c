/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes into the rewrite stage and between its two processes: payload_sum takes the packets as they leave the transcoder, emit
 * sends them out, or to the host. The TCP checksum stands in front of the payload that it covers, so a packet waits between the
 * two until its last beat is there.
 */
#pragma once

#include <stdint.h>

#include "common/limits.hpp"
#include "common/types.hpp"

namespace card
{

enum : unsigned {
    header_bytes_max = 256, /* Ethernet to TCP, options included: what the parser reads, and where rewrite finds the fields */
    header_beats_max = header_bytes_max / beat_bytes,
    tcp_bytes_min = 20,
    tcp_bytes_max = 60,
    sack_blocks_max = 4
};

/* What becomes of a packet.
 *   action_punt                          to the host, the frame unchanged, `info` in front of it
 *   action_forward                       out of the other port, unchanged
 *   action_drop                          nowhere
 *   action_session_forward, _transcode   out of the other port, payload as it is in the beats; if `rewrite` is set, `rule` applied
 *                                        to the TCP header that `head` describes and its checksum brought up to date.
 *                                        Anything but TCP leaves unchanged, whatever `rewrite` says. */
struct packet_verdict {
    headers head;
    action what;
    bool rewrite;
    rewrite_rule rule;
    punt_info info;
};

/* A beat of a packet that leaves the transcoder. `from`, `to`: the payload bytes in this beat, [from, to), both 0 if there are
 * none; their new sum takes the place of head.payload_sum. They matter only with action_session_transcode. */
struct out_beat {
    beat data;
    uint8_t from, to;
    bool first;
    packet_verdict verdict; /* valid with the last beat */
};

/* payload_sum -> emit, one for every packet, not before its last beat is in the packet FIFO: what to do with it, ready made. Lane i
 * of `patch` replaces byte i of that beat in which its position in the frame lies in [from, to); to - from is at most 60, so each
 * lane is used once. */
struct emit_job {
    action what; /* action_punt, action_forward or action_drop */
    uint16_t from, to;
    uint8_t patch[beat_bytes];
    punt_info info;
};

static_assert(unsigned{tcp_bytes_max} <= unsigned{beat_bytes}, "a TCP header fits into a ring of one beat");

} // namespace card
