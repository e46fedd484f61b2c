/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <hls_stream.h>

#include "packet/packet.hpp"

namespace card
{

/* Depths of the streams between the two. A packet fills the FIFO while the one before it drains, both at a beat a cycle, so one
 * frame of maximal length and the processes' own depths are enough. */
enum : unsigned { packet_fifo_beats = frame_beats_max + 16, emit_jobs = 32 };

struct payload_sum_state {
    uint8_t window[header_bytes_max] = {}; /* the packet's first beats; what lies behind them is left from packets before */
    uint8_t beats = 0;                     /* of them in the window */
    uint32_t sum = 0;                      /* of the payload so far, not quite folded: below 2^17 */
};

/*
 * Passes the beats on to the packet FIFO, sums the payload, and with the last beat makes the TCP header that the packet leaves
 * with. The FIFO must hold a frame of maximal length: packet_fifo_beats.
 */
void payload_sum(payload_sum_state &s, hls::stream<out_beat> &in, hls::stream<beat> &fifo, hls::stream<emit_job> &jobs);

struct emit_state {
    bool busy = false; /* job is that of the packet in the FIFO */
    uint8_t index = 0; /* of the beat in the packet, saturating behind the headers */
    emit_job job = {};
};

/* Sends the packet at the head of the FIFO to the other port or to the host, or drops it. A beat a cycle; a punted packet takes one
 * cycle more, for the beat in front of it (punt_layout.h). */
void emit(emit_state &s, hls::stream<beat> &fifo, hls::stream<emit_job> &jobs, hls::stream<beat> &tx, hls::stream<beat> &punt);

} // namespace card
