/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rings: moves entries between the rings in host memory and the streams of control and events. It looks at no entry but for the
 * word that says whether a command is there.
 *
 *   host memory: commands ──▶ [last line: valid?] ─▶ eight lines ─▶ commands
 *                completions ◀─ one line at a time ◀── completions
 *                events      ◀─ one line at a time ◀── entries
 *                page ───────▶ events_read ──────────▶ host_read
 *
 * A call makes at most one access to each: on the card each pointer is an m_axi port of 512 bits of its own, so that reads of the
 * command ring do not wait behind writes. A line is written in one beat, its last word with it. Polling costs a read of one line a
 * call and port at most; on the card the call is not pipelined, so that one is under way at a time.
 */
#pragma once

#include <hls_stream.h>

#include "control/line.hpp"

namespace card
{

/* A line of host memory. Words, so that none is seen half-written where host and kernel are threads of one machine; in
 * little-endian order as everything there. */
struct ring_line {
    uint64_t word[beat_bytes / 8];
};

struct ring_memory {
    const volatile ring_line *commands;
    volatile ring_line *completions;
    volatile ring_line *events;
    const volatile ring_line *page;          /* struct card_host_page */
    uint32_t command_entries, event_entries; /* powers of two; as many completions as commands */
};

struct rings_state {
    uint32_t taken;     /* commands passed on */
    uint32_t completed; /* completions written */
    uint32_t told;      /* events written */
    uint32_t read;      /* events_read as last told */
    uint8_t line;       /* of the command under way: next; 0: none is */
};

void rings(rings_state &s, const ring_memory &memory, hls::stream<control_line> &commands, hls::stream<control_line> &completions,
           hls::stream<control_line> &entries, hls::stream<uint32_t> &host_read);

} // namespace card
