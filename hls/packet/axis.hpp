/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lane's ports: AXI4-Stream words of 512 bits on the outside, beats on the inside. `user` is 1 on the last word of a frame that
 * the port found damaged (CMAC: bad FCS, or cut short).
 */
#pragma once

#include <ap_axi_sdata.h>
#include <ap_int.h>
#include <hls_stream.h>

#include "common/types.hpp"

namespace card
{

typedef ap_axiu<8 * beat_bytes, 1, 0, 0> axis_word;

beat beat_of_word(const axis_word &word);
axis_word word_of_beat(const beat &b);

struct rx_state {
    uint16_t beats = 0;   /* of this frame, passed on so far */
    bool swallow = false; /* the rest of an oversize frame */
    bool damaged = false; /* a word before the last one was not full */
};

/*
 * Ingress port. Whatever comes, what leaves are frames of 1 to frame_beats_max beats that are full but for the last. A frame that
 * goes on after frame_bytes_max bytes ends there, with `error`; the rest is swallowed. So a frame of that very length with
 * `error` is oversize to the parser. Also `error`: a word that is not full and not the last, null bytes between others.
 */
void rx(rx_state &s, hls::stream<axis_word> &in, hls::stream<beat> &out);

/* Egress port. */
void tx(hls::stream<beat> &in, hls::stream<axis_word> &out);

/* Round robin between two streams, a whole packet at a time. */
struct packet_mux_state {
    bool busy = false; /* in the middle of a packet from `from` */
    uint8_t from = 1;  /* where the last packet came from */
};
void packet_mux(packet_mux_state &s, hls::stream<beat> &a, hls::stream<beat> &b, hls::stream<beat> &out);

/* Cycles from in to out: a register each; keep to bytes is a count of leading ones, 3 LUT levels. */
constexpr unsigned rx_depth = 1;
constexpr unsigned tx_depth = 1;
constexpr unsigned packet_mux_depth = 1;

} // namespace card
