/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/state.hpp"

#include <hls_fence.h>

namespace card
{

namespace
{

/* A write of control as a line and its bytes; one that does not lie in a line of a session writes nothing. */
line_write_job job_of(const session_write &w, unsigned line)
{
#pragma HLS INLINE
    const unsigned from = w.offset % beat_bytes, to = from + w.bytes;
    line_write_job job = {};
    job.index = w.index;
    job.enable = to > beat_bytes || w.offset / beat_bytes != line ? 0 : mask_range(from, to);
    for (unsigned i = 0; i < beat_bytes; i++) {
#pragma HLS UNROLL
        job.line.byte[i] = i < from ? uint8_t{0} : w.byte[i - from];
    }
    return job;
}

} // namespace

void spread(hls::stream<index_word> &in, hls::stream<uint32_t, 16> (&out)[session_lines])
{
#pragma HLS PIPELINE II = 1
    bool room = true;
    for (unsigned i = 0; i < session_lines; i++) {
#pragma HLS UNROLL
        room = room && !out[i].full();
    }
    if (in.empty() || !room)
        return;
    const uint32_t index = in.read().data.to_uint();
    for (unsigned i = 0; i < session_lines; i++) {
#pragma HLS UNROLL
        out[i].write(index);
    }
}

void line_read(memory_port memory, uint32_t sessions, hls::stream<uint32_t> &in, hls::stream<control_line> &out)
{
#pragma HLS PIPELINE II = 1
    if (in.empty() || out.full())
        return;
    const uint32_t index = in.read();
    out.write(index < sessions ? read_line(memory, index) : control_line());
}

void join(hls::stream<control_line, state_under_way> (&in)[session_lines], hls::stream<session_word> &out)
{
#pragma HLS PIPELINE II = 1
    bool there = true;
    for (unsigned i = 0; i < session_lines; i++) {
#pragma HLS UNROLL
        there = there && !in[i].empty();
    }
    if (!there || out.full())
        return;
    control_line line[session_lines];
#pragma HLS ARRAY_PARTITION variable = line complete
    for (unsigned i = 0; i < session_lines; i++) {
#pragma HLS UNROLL
        line[i] = in[i].read();
    }
    out.write(session_word_of(line));
}

void split(split_state &s, hls::stream<state_word> &lane, hls::stream<session_write> &control,
           hls::stream<line_write_job, 16> (&out)[session_lines], hls::stream<write_order> &order)
{
#pragma HLS PIPELINE II = 1
    bool room = !order.full();
    for (unsigned i = 0; i < session_lines; i++) {
#pragma HLS UNROLL
        room = room && !out[i].full();
    }
    if (!room)
        return;
    if (!control.empty() && (s.turn || lane.empty())) {
        const session_write w = control.read();
        const unsigned at = w.offset / beat_bytes;
        const unsigned line = at < session_lines ? at : 0;
        for (unsigned i = 0; i < session_lines; i++) {
#pragma HLS UNROLL
            if (i == line)
                out[i].write(job_of(w, i));
        }
        order.write(write_order{false, static_cast<uint8_t>(line), w.index});
        s.turn = false;
    } else if (!lane.empty()) {
        const state_lines w = lines_of_state(lane.read());
        out[4].write(line_write_job{w.index, whole_line, w.line_4});
        out[5].write(line_write_job{w.index, whole_line, w.line_5});
        order.write(write_order{true, 4, w.index});
        s.turn = true;
    }
}

void line_write(memory_port memory, uint32_t sessions, hls::stream<line_write_job> &in, hls::stream<bool> &written)
{
#pragma HLS PIPELINE II = 1
    if (in.empty() || written.full())
        return;
    const line_write_job job = in.read();
    if (job.index < sessions && job.enable != 0)
        write_line(memory, job.index, job.line, job.enable);
    hls::fence(memory, written); /* the answer of memory comes first */
    written.write(true);
}

void acks(acks_state &s, hls::stream<write_order> &order, hls::stream<bool, 16> (&written)[session_lines],
          hls::stream<uint32_t> &lane, hls::stream<uint32_t> &control)
{
#pragma HLS PIPELINE II = 1
    if (!s.waits) {
        if (!order.empty()) {
            s.next = order.read();
            s.waits = true;
        }
        return;
    }
    if (s.next.lane ? lane.full() || written[4].empty() || written[5].empty() : control.full())
        return;
    if (s.next.lane) {
        written[4].read();
        written[5].read();
        lane.write(s.next.index);
        s.waits = false;
        return;
    }
    for (unsigned i = 0; i < session_lines; i++) {
#pragma HLS UNROLL
        if (i == s.next.line && !written[i].empty()) {
            written[i].read();
            s.waits = false;
        }
    }
    if (!s.waits)
        control.write(s.next.index);
}

} // namespace card
