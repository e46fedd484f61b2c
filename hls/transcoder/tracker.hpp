/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tracker: where in which record each payload byte stands.
 *
 * It owns the sessions' track_state. For each packet it decides (docs/card.md section 4, steps 1-5), then walks the payload a beat
 * at a time from the record that holds its first byte, and cuts it into pieces. It needs no key and knows no content: a position, a
 * length field and a few comparisons a beat, so that a beat leaves in every cycle.
 *
 *   walk:   ring 2 ──end──▶ ring 1 ──end──▶ ring 0, the record in progress ──fresh end──▶ the next record, ring 0 again
 *
 * Hazards
 *   SLOT_RAW    A packet's state is needed in the cycle after the last piece of the packet before. line[slot] is read by the next
 *               packet and by a write-back, and written once a cycle at most: by the last piece (with what came from memory, if the
 *               packet filled the slot), or by a KeyUpdate or a death, which take a cycle of their own. Two copies for two reads;
 *               the element just written is forwarded.
 *   KEY_UPDATE  That a record was a KeyUpdate is known only when it has been decrypted, some 40 cycles after the tracker went on.
 *               Then the state goes back to the record's end, and the slot's generation moves on: packets (and the rest of the
 *               packet) begun under the older generation are dropped by finish, and TCP sends them again.
 *   DEATH       The same for a record that is refused there: the generation moves on, later packets are punted.
 *   WRITE_BACK  A state is written to memory while no packet of it is between tracker and finish (fetch counts them), so what is
 *               written is settled, unless the slot is used again meanwhile: then a later write follows.
 *
 * Loop-carried path, in LUT6 levels: remaining length - bytes of the beat (2), choice of the next header in the beat (64:1
 * multiplexer of 16 bits, 3), compare and select (2). It is the longest of the lane; the multiplexer can be moved a stage up, for
 * all positions at once, if a board's timing asks for it.
 */
#pragma once

#include <hls_stream.h>

#include "common/bytes.hpp"
#include "transcoder/streams.hpp"

namespace card
{

/* Where the next payload byte stands. */
struct record_position {
    uint8_t ring; /* 0: in the record in progress; 1, 2: in a finished one, so many back */
    uint16_t offset;
};

/* The packet being cut. */
struct tracked_packet {
    bool busy;
    bool walking; /* it has payload that is transcoded */
    bool ahead;   /* its data lies behind a hole */
    bool killed;  /* a header was refused */
    bool begun;   /* the first piece is out */
    bool beat_held;
    uint8_t generation;
    uint8_t at;          /* in the held beat: the next payload byte */
    uint16_t beat_start; /* of the held beat, in the frame */
    uint16_t have;       /* bytes of the record in progress that came in order */
    uint16_t detail;
    action what;
    punt_reason reason;
    record_position position;
    uint32_t next, hole_from, hole_to; /* TCP: as before the packet; the ahead range (empty: both equal) */
    work job;
    headers head;
    beat held;
    track_state now;
};

struct tracker_state {
    uint32_t seal_limit;      /* records under one seal key (G3); 0: seal_limit_default */
    bool head_held, job_held; /* packet.head, job wait for each other, the state or the first beat */
    work job;                 /* not the packet's yet: one without a work item may come before it, later than the item */
    tracked_packet packet;
    uint8_t generation[slots];
    track_state line[slots];
};

struct tracker_in {
    hls::stream<work> &jobs;
    hls::stream<headers> &summaries;
    hls::stream<beat> &beats;
    hls::stream<track_state> &lines;
    hls::stream<packet_done> &dones;
    hls::stream<write_back> &write_backs;
    hls::stream<uint32_t> &seal_limits; /* from control */
};

struct tracker_out {
    hls::stream<piece> &pieces;
    hls::stream<packet_context> &contexts;
    hls::stream<track_line> &lines;
    hls::stream<slot_release> &releases;
    hls::stream<event> &events; /* event_key_wait */
};

constexpr unsigned tracker_depth = 3; /* read state; walk; mask and form the piece */

/* lane: 0 or 1. */
void tracker(tracker_state &s, const tracker_in &in, const tracker_out &out, uint8_t lane);

} // namespace card
