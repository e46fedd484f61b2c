/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control: obeys the host's commands (host/card/card_command.h), one after the other.
 *
 *   commands ─▶ entry ─▶ check ─▶ script of the opcode, step by step ─▶ wipe ─▶ completions
 *                                   │ requests ▲ replies      │ writes ▲ acks
 *                                   ▼          │              ▼        │
 *                                 lane_link, a lane        session memory, a lane
 *
 * Each opcode is a script of steps (control.cpp). A step is an exchange with the lane, or a range of writes to a session's memory,
 * or one of the two for every rule or session in turn; the next step begins when the last answer is in. That is the order
 * guarantee: what a completed command did is seen by every packet that comes to the card afterwards.
 *
 * Keys are in `entry` while the command runs, and zeroised before its completion is written (G13). Nothing that comes back to
 * control is ever a key, so no completion can hold one.
 */
#pragma once

#include <hls_stream.h>

#include "control/lane_link.hpp"
#include "control/line.hpp"

namespace card
{

enum : unsigned {
    control_lanes = 2,
    control_entry_lines = 8,
    control_values = 6,
    control_acks_depth = 64 /* writes of session memory under way; control waits beyond */
};

constexpr unsigned control_depth = 3; /* 1 step of the script + 1 bytes from the entry (8:1 lines, shifted: 4 levels) + 1 output */

enum control_phase : uint8_t {
    phase_read,
    phase_check,
    phase_step,
    phase_send,
    phase_reply,
    phase_write,
    phase_wipe,
    phase_complete
};

/* All zero at first: no session is installed, as the card is after configuration. */
struct control_state {
    uint8_t entry[control_entry_lines * beat_bytes];
    uint32_t count; /* commands read */
    control_phase phase;
    uint8_t line; /* of the entry or request: next */
    uint8_t opcode, lane, set;
    uint32_t index;
    uint16_t status;
    uint64_t value[control_values];
    uint8_t step;        /* of the script */
    uint32_t round;      /* of a step that is repeated */
    uint16_t from, to;   /* phase_write: bytes of the session still to be written */
    uint32_t unanswered; /* writes */
    uint32_t lookups;    /* that the lane's table had answered when it was last written or asked, modulo 2^32 */
    uint64_t installed[control_lanes][sessions_max / 64];
};

struct control_lane_in {
    hls::stream<control_line> &replies;
    hls::stream<uint32_t> &acks; /* of session_write: the index */
};

struct control_lane_out {
    hls::stream<control_line> &requests;
    hls::stream<session_write> &writes;
};

struct control_in {
    hls::stream<control_line> &commands; /* eight lines a command */
    control_lane_in lane[control_lanes];
};

struct control_out {
    hls::stream<control_line> &completions;
    control_lane_out lane[control_lanes];
};

/* sessions: how many a lane has memory for, at most sessions_max; a multiple of 64. */
void control(control_state &s, const control_in &in, const control_out &out, uint32_t sessions);

} // namespace card
