/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <hls_stream.h>

#include "packet/packet.hpp"

namespace card
{

/* Depth of both streams between the two. A packet fills the FIFO while the one before it drains, both at a beat a cycle, so one
 * frame of maximal length and the processes' own depths are enough. Behind such a frame packets of one beat may come, each with a
 * job: the other stream is as deep. */
enum : unsigned { packet_fifo_beats = frame_beats_max + 16 };

struct payload_sum_state {
    uint8_t window[header_bytes_max] = {}; /* the packet's first beats; what lies behind them is left from packets before */
    uint8_t beats = 0;                     /* of them in the window */
    uint16_t sum = 0;                      /* of the payload so far */
};

/*
 * Passes the beats on to the packet FIFO, sums the payload, and with the last beat makes the TCP header that the packet leaves
 * with. The FIFO must hold a frame of maximal length: packet_fifo_beats.
 */
void payload_sum(payload_sum_state &s, hls::stream<out_beat> &in, hls::stream<beat> &fifo, hls::stream<emit_job> &jobs);

/* Cycles: lanes masked 1, adder tree 2 (beside it the TCP header is brought to a fixed place, 16:1: it begins at 14 + 4n), the new
 * fields 1 (32-bit adders), each put in its place 1 (SACK edges and timestamps stand anywhere among 40 bytes: a byte of the new
 * header picks from 10 fields, 2 levels), sum of both headers 2, checksum 1. */
constexpr unsigned payload_sum_depth = 8;

struct emit_state {
    bool have = false;      /* job is that of the packet at the head of the FIFO */
    bool announced = false; /* the beat in front of a punted packet has gone */
    uint8_t index = 0;      /* of the beat in the packet; stays where it is behind the headers */
    emit_job job = {};
};

/*
 * Sends the packet at the head of the FIFO to the other port or to the host, or drops it. A beat a cycle; a punted packet takes one
 * cycle more, for the beat in front of it (punt_layout.h). Only the stream that a packet goes to can hold it up, but then also what
 * is behind it (hazard PUNT_BLOCKS).
 */
void emit(emit_state &s, hls::stream<beat> &fifo, hls::stream<emit_job> &jobs, hls::stream<beat> &tx, hls::stream<beat> &punt);

/* The job waits in a register when its packet comes; a lane picks between beat and patch, 2 levels. */
constexpr unsigned emit_depth = 1;

} // namespace card
