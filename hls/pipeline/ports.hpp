/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What crosses from kernel to kernel: AXI4-Stream words, and the processes that turn a kernel's own elements into them and back.
 * Frames are in packet/axis.hpp. Everything is little-endian; bits that nobody names are zero.
 *
 *   index_word      32   a session
 *   line_word      512   a line between control and a lane (control/lane_link.hpp); an event, as its fields stand below; a line of
 *                        the mirror (host/card/card_packets.h); the two words of a session_write: index, offset, bytes; its bytes
 *   session_word  3072   the 384 bytes of common/session.hpp
 *   state_word    1088   index (32), track_state (448), finish_state (576), 32 of padding
 */
#pragma once

#ifndef AP_INT_MAX_W
#define AP_INT_MAX_W 4096 /* Vitis' default is 1024; this has to come before ap_int.h */
#endif
#include <ap_axi_sdata.h>
#include <ap_int.h>
#include <hls_stream.h>

#include "control/line.hpp"
#include "packet/axis.hpp"
#include "transcoder/streams.hpp"

namespace card
{

enum : unsigned { state_word_bits = 1088, session_word_bits = 8 * sizeof(session_state) };

typedef ap_axiu<32, 0, 0, 0> index_word;
typedef ap_axiu<8 * beat_bytes, 0, 0, 0> line_word;
typedef ap_axiu<session_word_bits, 0, 0, 0> session_word;
typedef ap_axiu<state_word_bits, 0, 0, 0> state_word;

static_assert(state_word_bits >= 32 + 8 * (sizeof(track_state) + sizeof(finish_state)) && state_word_bits % 8 == 0, "it fits");

/* Depth of each of the processes below: wires and an output register. */
constexpr unsigned port_depth = 1;

void index_out(hls::stream<uint32_t> &in, hls::stream<index_word> &out);
void index_in(hls::stream<index_word> &in, hls::stream<uint32_t> &out);

void line_out(hls::stream<control_line> &in, hls::stream<line_word> &out);
void line_in(hls::stream<line_word> &in, hls::stream<control_line> &out);

/* Of six lines, in order, one session; and what memory gave to the lane's fill. */
void session_in(hls::stream<session_word> &in, hls::stream<state_read> &out);
session_word session_word_of(const control_line (&line)[sizeof(session_state) / beat_bytes]);

/* A lane's write-back. Lines 4 and 5 of the session, whole: the track and finish states are just those. */
void state_out(hls::stream<state_write> &in, hls::stream<state_word> &out);
struct state_lines {
    uint32_t index;
    control_line line_4, line_5;
};
state_lines lines_of_state(const state_word &word);

/* control's writes, two words each. */
struct session_write_out_state {
    bool second;
    control_line bytes;
};
void session_write_out(session_write_out_state &s, hls::stream<session_write> &in, hls::stream<line_word> &out);
struct session_write_in_state {
    bool second;
    session_write head;
};
void session_write_in(session_write_in_state &s, hls::stream<line_word> &in, hls::stream<session_write> &out);

/* Events leave the lane with its number as the lane knows it, 0; the port by which they come into control is the true one. */
void event_out(hls::stream<event> &in, hls::stream<line_word> &out);
void event_in(hls::stream<line_word> &in, hls::stream<event> &out, uint8_t lane);

/* An item of the mirror: its head, number and valid still 0, and its data lines, if any. An item with both text and keys takes two
 * calls. */
struct mirror_out_state {
    bool second;
    control_line keys;
};
void mirror_out(mirror_out_state &s, hls::stream<mirror_item> &in, hls::stream<line_word> &head, hls::stream<line_word> &data);

} // namespace card
