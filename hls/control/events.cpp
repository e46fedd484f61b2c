/* SPDX-License-Identifier: Apache-2.0 */
#include "control/events.hpp"

#include <stddef.h>

#include "card/card_command.h"

namespace card
{

namespace
{

control_line entry_of(const event &e, uint32_t number, uint32_t lost)
{
#pragma HLS INLINE
    control_line line = {};
    store_le<4>(line.byte + offsetof(card_event, sequence), number);
    store_le<4>(line.byte + offsetof(card_event, lost), lost);
    line.byte[offsetof(card_event, kind)] = e.kind;
    line.byte[offsetof(card_event, lane)] = e.lane;
    store_le<2>(line.byte + offsetof(card_event, detail), e.detail);
    store_le<2>(line.byte + offsetof(card_event, epoch), e.epoch);
    store_le<4>(line.byte + offsetof(card_event, index), e.index);
    store_le<4>(line.byte + offsetof(card_event, packet_id), e.packet_id);
    store_le64(line.byte + offsetof(card_event, flow), e.flow);
    store_le64(line.byte + offsetof(card_event, open_seq), e.open_seq);
    store_le<4>(line.byte + offsetof(card_event, tcp_seq), e.tcp_seq);
    store_le<4>(line.byte + offsetof(card_event, valid), number);
    return line;
}

} // namespace

void events(events_state &s, hls::stream<event> &lane_0, hls::stream<event> &lane_1, hls::stream<uint32_t> &host_read,
            hls::stream<control_line> &out, uint32_t entries)
{
#pragma HLS PIPELINE II = 1
    if (!host_read.empty())
        s.read = host_read.read();
    const bool room = s.written - s.read < entries;
    if (room && out.full())
        return;
    event e;
    if (!lane_1.empty() && (s.turn || lane_0.empty())) {
        e = lane_1.read();
        s.turn = false;
    } else if (!lane_0.empty()) {
        e = lane_0.read();
        s.turn = true;
    } else {
        return;
    }
    if (room) {
        s.written++;
        out.write(entry_of(e, s.written, s.lost));
        s.lost = 0;
    } else if (s.lost != 0xffffffff) {
        s.lost++;
    }
}

} // namespace card
