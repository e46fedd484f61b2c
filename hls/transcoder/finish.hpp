/* SPDX-License-Identifier: Apache-2.0 */
/*
 * finish: the ends of records. It owns the sessions' finish_state.
 *
 *   piece ─▶ add the hash contributions ─▶ tag here? ─▶ compare, replace ─▶ record over? ─▶ judge its content type ─▶ next record
 *
 * A record's tags are E(K, J0) ^ GHASH, and GHASH needs one multiplication after the sum of all contributions: so the tag of a
 * record that ends in this piece is there a few stages later, without a loop (the sum is not changed by it). A tag that is cut by
 * the end of a packet is computed again from the sum when its rest comes, and compared and released byte by byte (docs/card.md).
 *
 * Two loops go from a piece to the next one of the same session, and no other:
 *
 * SUM_RAW: the sums of a record. They begin anew with the record's first fresh byte and take what belongs to its place; no verdict
 * stops them, since what a verdict undoes begins anew as well. One XOR, forwarded.
 *
 * VERDICT_RAW: content tail, tag ring, generation, dead. Tags come out of the multipliers and are compared in front of it, without
 * a loop; the loop is: tail moved (3 LUT6 levels), judged (2), squash of the next piece (2). Seven levels are more than fit into
 * 3.3 ns by the rules of docs/hardware.md: see there.
 *
 * Other hazards: KEY_UPDATE, DEATH (tracker.hpp): what was begun under an older generation, or for a dead session, is dropped here.
 * WRITE_BACK (tracker.hpp). In hardware slot[slots] is two memories, sums and verdicts; each is read by a piece and a write-back
 * and written by a piece in a cycle: two copies for two reads, the element just written forwarded.
 */
#pragma once

#include <hls_stream.h>

#include "aes_gcm/ghash.hpp"
#include "packet/packet.hpp"
#include "session_table/session_counters.hpp"
#include "transcoder/keys.hpp"

namespace card
{

/* What finish remembers of a packet between its pieces. */
struct finished_packet {
    bool squashed;     /* begun under an older generation, or the session is dead: dropped */
    bool stopped;      /* a record ended the session here: the payload that follows goes out as zero */
    bool stepped;      /* a KeyUpdate was found: nothing may follow in the packet */
    bool killed;       /* a record header was refused */
    bool beat_begun;   /* `out` holds a part of a beat */
    uint8_t zero_from; /* stopped: in this beat from here on */
    uint16_t beat_start;
    event about; /* killed */
    packet_context context;
    packet_done done;
    out_beat out; /* in the making: a beat may come in several pieces */
};

struct finish_slot {
    finish_state state;
    uint8_t generation;
    bool dead;
};

struct finish_control {
    finished_packet packet;
    bool held; /* the piece waits for its hashes */
    mixed_piece piece;
    keystream_result mask; /* of the mirror, for the piece */
    mirror_item mirror;    /* in the making */
    finish_slot slot[slots];
};

struct finish_in {
    hls::stream<mixed_piece> &pieces;
    hls::stream<packet_context> &contexts;
    hls::stream<finish_state> &lines;
    hls::stream<ghash_result> &open, &seal;
    hls::stream<keystream_result> &mirror;
    hls::stream<write_back> &write_backs;
};

struct finish_out {
    hls::stream<out_beat> &beats;
    hls::stream<mirror_item> &mirror;
    hls::stream<event> &records; /* about records */
    hls::stream<event> &packets; /* fin, rst, squashed, bad_record */
    hls::stream<packet_done> &dones;
    hls::stream<finish_line> &lines;
    hls::stream<counter_packet> &counts; /* every packet, and what becomes of it */
};

constexpr unsigned finish_depth = 2 + ghash_final_depth; /* sum; multiply; compare and replace */

void finish(finish_control &s, const finish_in &in, const finish_out &out, uint8_t lane);

} // namespace card
