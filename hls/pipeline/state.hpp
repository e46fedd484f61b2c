/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluice_state: a lane's session memory. Line i of every session lies in an array of its own behind a port of its own, so the six
 * lines of a session come at once.
 *
 *   state_index ─▶ spread ─┬▶ line_read ─┬▶ join ─▶ state_line       six line_read, six line_write
 *                          └▶   ...     ─┘
 *   state_write  ─▶ split ─┬▶ line_write ─┬▶ acks ─┬▶ state_ack
 *   memory_write ─▶        └▶   ...      ─┘        └▶ memory_ack
 *                       └────── order ───────▲
 *
 * Hazard READ_OVERTAKES_WRITE: reads and writes do not wait for each other here. Whoever reads a session has had the ack of every
 * write to it before it asks (fetch keeps a session's slot until then), and an ack is given when memory has answered the write.
 *
 * An index or a range that is beyond memory is none: reads as zero, is not written, and is acknowledged like any other.
 */
#pragma once

#include "pipeline/memory.hpp"
#include "pipeline/ports.hpp"

namespace card
{

enum : unsigned {
    session_lines = sizeof(session_state) / beat_bytes,
    state_under_way = 256 /* accesses a line that wait for memory: 400 cycles of latency at somewhat less than two cycles each */
};

struct line_write_job {
    uint32_t index;
    uint64_t enable; /* bytes */
    control_line line;
};

/* One for every write, in order. */
struct write_order {
    bool lane; /* lines 4 and 5; else `line` */
    uint8_t line;
    uint32_t index;
};

struct split_state {
    bool turn; /* control's first */
};

struct state_streams {
    hls::stream<uint32_t, 16> indexes[session_lines];
    hls::stream<control_line, state_under_way> lines[session_lines];
    hls::stream<session_write, 16> writes{"session writes"};
    hls::stream<line_write_job, 16> jobs[session_lines];
    hls::stream<bool, 16> written[session_lines];
    hls::stream<write_order, 2 * state_under_way> order{"write order"}; /* never the first to fill: jobs and ports are less */
};

struct state_kernel_state {
    session_write_in_state memory_write;
    split_state split;
};

void spread(hls::stream<index_word> &in, hls::stream<uint32_t, 16> (&out)[session_lines]);
void line_read(memory_port memory, uint32_t sessions, hls::stream<uint32_t> &in, hls::stream<control_line> &out);
void join(hls::stream<control_line, state_under_way> (&in)[session_lines], hls::stream<session_word> &out);
void split(split_state &s, hls::stream<state_word> &lane, hls::stream<session_write> &control,
           hls::stream<line_write_job, 16> (&out)[session_lines], hls::stream<write_order> &order);
void line_write(memory_port memory, uint32_t sessions, hls::stream<line_write_job> &in, hls::stream<bool> &written);
void acks(hls::stream<write_order> &order, hls::stream<bool, 16> (&written)[session_lines], hls::stream<index_word> &state_ack,
          hls::stream<index_word> &memory_ack);

} // namespace card
