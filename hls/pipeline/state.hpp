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

struct acks_state {
    bool waits;
    write_order next;
};

struct state_streams {
    hls::stream<uint32_t, 16> indexes[session_lines];
    hls::stream<control_line, state_under_way> lines[session_lines];
    hls::stream<session_write, 16> writes{"session writes"};
    hls::stream<line_write_job, 16> jobs[session_lines];
    hls::stream<bool, 16> written[session_lines];
    hls::stream<write_order, 2 * state_under_way> order{"write order"}; /* never the first to fill: jobs and ports are less */
    hls::stream<uint32_t, 16> lane_acks{"lane acks"}, control_acks{"control acks"};
};

struct state_kernel_state {
    session_write_in_state memory_write;
    split_state split;
    acks_state acks;
};

/* P(name, depth, call); s: state_kernel_state, x: state_streams; PORT(name): a port of the kernel. */
#define CARD_STATE_PROCESSES(P, PORT)                                                                                              \
    P(spread, port_depth, card::spread(PORT(state_index), x.indexes))                                                              \
    P(line_read_0, state_depth, card::line_read(PORT(line_0), PORT(sessions), x.indexes[0], x.lines[0]))                           \
    P(line_read_1, state_depth, card::line_read(PORT(line_1), PORT(sessions), x.indexes[1], x.lines[1]))                           \
    P(line_read_2, state_depth, card::line_read(PORT(line_2), PORT(sessions), x.indexes[2], x.lines[2]))                           \
    P(line_read_3, state_depth, card::line_read(PORT(line_3), PORT(sessions), x.indexes[3], x.lines[3]))                           \
    P(line_read_4, state_depth, card::line_read(PORT(line_4), PORT(sessions), x.indexes[4], x.lines[4]))                           \
    P(line_read_5, state_depth, card::line_read(PORT(line_5), PORT(sessions), x.indexes[5], x.lines[5]))                           \
    P(join, port_depth, card::join(x.lines, PORT(state_line)))                                                                     \
    P(session_write, port_depth, card::session_write_in(s.memory_write, PORT(memory_write), x.writes))                             \
    P(split, state_depth, card::split(s.split, PORT(state_write), x.writes, x.jobs, x.order))                                      \
    P(line_write_0, state_depth, card::line_write(PORT(write_0), PORT(sessions), x.jobs[0], x.written[0]))                         \
    P(line_write_1, state_depth, card::line_write(PORT(write_1), PORT(sessions), x.jobs[1], x.written[1]))                         \
    P(line_write_2, state_depth, card::line_write(PORT(write_2), PORT(sessions), x.jobs[2], x.written[2]))                         \
    P(line_write_3, state_depth, card::line_write(PORT(write_3), PORT(sessions), x.jobs[3], x.written[3]))                         \
    P(line_write_4, state_depth, card::line_write(PORT(write_4), PORT(sessions), x.jobs[4], x.written[4]))                         \
    P(line_write_5, state_depth, card::line_write(PORT(write_5), PORT(sessions), x.jobs[5], x.written[5]))                         \
    P(acks, port_depth, card::acks(s.acks, x.order, x.written, x.lane_acks, x.control_acks))                                       \
    P(state_ack, port_depth, card::index_out(x.lane_acks, PORT(state_ack)))                                                        \
    P(memory_ack, port_depth, card::index_out(x.control_acks, PORT(memory_ack)))

/* 1 decide + 1 shift of 64 bytes (6 levels of 2:1, two stages) + 1 output; memory's own time comes on top. */
constexpr unsigned state_depth = 4;

void spread(hls::stream<index_word> &in, hls::stream<uint32_t, 16> (&out)[session_lines]);
void line_read(memory_port memory, uint32_t sessions, hls::stream<uint32_t> &in, hls::stream<control_line> &out);
void join(hls::stream<control_line, state_under_way> (&in)[session_lines], hls::stream<session_word> &out);
void split(split_state &s, hls::stream<state_word> &lane, hls::stream<session_write> &control,
           hls::stream<line_write_job, 16> (&out)[session_lines], hls::stream<write_order> &order);
void line_write(memory_port memory, uint32_t sessions, hls::stream<line_write_job> &in, hls::stream<bool> &written);
void acks(acks_state &s, hls::stream<write_order> &order, hls::stream<bool, 16> (&written)[session_lines],
          hls::stream<uint32_t> &lane, hls::stream<uint32_t> &control);

} // namespace card
