/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fetch: gives each session with packets in flight a slot, asks memory for its state, and returns the slot when it is done.
 *
 *   lookups ─┐                    ┌─▶ work ─────▶ tracker ... finish ─▶ tracker ─┐
 *   commands ┴▶ slot_of, owner ───┼─▶ reads ────▶ memory ─▶ fill                 │ releases
 *                 ▲   free list   └─▶ replies ──▶ control                        │
 *                 │       ▲ ◀─ wiped ── keys ◀─ wipe ── ack: free, or again      │
 *                 │       └───────────────────────────────┐                      ▼
 *                 └────────── memory ◀─ spill ◀─ write_back x 2 ◀── last packet of the slot gone
 *
 * A slot's life: free ─(packet)─▶ used ─(no packets left)─▶ writing ─(ack, untouched)─▶ wiping ─(wiped)─▶ free
 *                                  ▲ └──────(packet)──────▶ used, writing ─(ack)─▶ used; or written again if it is idle by then
 *
 * A slot has at most one write-back in flight, and its session stays mapped until the last one is acknowledged: memory is never
 * read for a session whose newest state is not there.
 *
 * Hazards
 *
 * SLOT_RAW: packets of one session back to back; the second must find the slot just given. The last fetch_ahead assignments are
 * compared with beside the memory slot_of.
 *
 * STALE_SLOT: slot_of is never cleared; what it says counts only if `owner` of that slot has the same index and the slot is mapped.
 *
 * COUNT_RMW: counts of a slot change every cycle: forward_ram, one writer each. taken: packets given; released: packets back; both
 * run on for ever, modulo 2^32.
 *
 * FREE_RACE: a slot must not be freed while a packet takes it. An ack is judged in one cycle (memories read) and takes effect in
 * the next, corrected by what packet and release of the cycle between did to the slot.
 *
 * KEYS_RACE: a state read that is under way while the host replaces one of the session's key sets in memory. fetch_keys pins the
 * slot, so that nothing is read; memory is written when the reply has come; fetch_keys_end lets go.
 *
 * No deadlock by construction: nothing but fetch itself waits for fetch, if the streams into it hold all that can be on its way:
 * releases fetch_in_flight, acks and wiped `slots` elements. See the depths below.
 *
 * Memories and accesses a cycle (R: reads, W: writes; a copy for each R beyond the first, so all are simple dual-port):
 *   slot_of   131072 x 10   1R packet or command          1W assignment           40 BRAM36
 *   owner       1024 x 18   3R packet, release, ack       1W assignment            3 BRAM18
 *   freed       1024 x  1   2R packet, new slot           1W ack                  LUT
 *   taken       1024 x 32   3R packet, release, ack       1W packet                3 BRAM36
 *   released    1024 x 32   2R release, ack               1W release               2 BRAM36
 *   marked      1024 x 32   1R ack                        1W release or ack        1 BRAM36
 *   begun       1024 x  1   2R release, ack               1W release              LUT
 *   ended       1024 x  1   1R release                    1W ack                  LUT
 *   free list   1024 x 10   1R                            1W wiped                 1 BRAM18
 *   writing     1024 x 10   1R ack                        1W release or ack        1 BRAM18
 */
#pragma once

#include <hls_stream.h>

#include "transcoder/forward_ram.hpp"
#include "transcoder/streams.hpp"

namespace card
{

/* Cycles from lookup to work: 2 slot_of (32 K x 1 BRAM, output register) + 1 owner, freed + 1 compare 17 bits, of the last
 * assignments too (3 levels) + 1 decide, with the ack of the cycle before (4 levels) + 1 output. */
constexpr unsigned fetch_depth = 6;

enum : unsigned {
    fetch_in_flight = 1024,         /* session packets between fetch and their release: as many as there are cycles between */
    fetch_recent = fetch_depth + 2, /* assignments compared with; the oldest fetch_depth of them are in slot_of */
    fetch_ready = 16,  /* free slots at hand; fewer than fetch_depth + 1, as seen fetch_depth cycles ago: packets wait */
    fetch_removes = 4, /* outstanding; the next one waits, packets do not */

    /* Depths of the streams. */
    fetch_reads_depth = 16,
    fetch_releases_depth = fetch_in_flight, /* never fills, so that the tracker never waits for fetch */
    fetch_write_backs_depth = slots,        /* the same for fetch and the two owners: at most one a slot */
    fetch_acks_depth = slots,
    fetch_wipes_depth = 64,
    fetch_wiped_depth = slots,
    fetch_commands_depth = 4,
    fetch_replies_depth = 8
};

struct slot_owner {
    uint32_t index;
    bool phase; /* the slot is mapped while this differs from `freed` */
};

struct fetch_assignment {
    bool valid;
    uint32_t index;
    uint16_t slot;
};

/* An ack between its two cycles. */
struct fetch_ack {
    bool valid;
    uint16_t slot;
    uint32_t index;
    uint32_t taken;
    bool phase;
    bool zero, one; /* packets in flight */
    bool untouched; /* no packet since the write-back began */
};

enum fetch_remove_step : uint8_t { remove_none, remove_counting, remove_mapped, remove_wiping };
struct fetch_removing {
    fetch_remove_step step;
    uint32_t index;
    uint32_t after;
    uint16_t slot;  /* remove_mapped */
    uint32_t wipes; /* remove_wiping: done when so many wipes have been answered */
};

enum fetch_reset_step : uint8_t { reset_none, reset_counting, reset_draining, reset_wiping };

/* All zero at first, as the card's memories are when it is configured. */
struct fetch_state {
    uint16_t slot_of[sessions_max];
    fetch_assignment recent[fetch_recent]; /* [0] is the oldest */
    forward_ram<slot_owner, slots, 3, 2> owner;
    forward_ram<bool, slots, 2, 2> freed;
    forward_ram<uint32_t, slots, 3, 2> taken;
    forward_ram<uint32_t, slots, 2, 2> released;
    forward_ram<uint32_t, slots, 1, 2> marked;
    forward_ram<bool, slots, 2, 2> begun; /* a write-back is in flight while begun differs from ended */
    forward_ram<bool, slots, 1, 2> ended;

    uint16_t free_list[slots]; /* ring */
    uint16_t free_from, free_count;
    uint16_t fresh; /* slots from here on were never used */
    uint16_t ready[fetch_ready];
    uint16_t ready_from, ready_count;
    uint32_t room; /* bit i: were there enough ready slots, i + 1 cycles ago? */

    uint16_t writing[slots]; /* ring: slots in the order of their write-backs, which is that of the acks */
    uint16_t writing_from, writing_count;

    fetch_ack ack;
    bool last_given, last_released; /* in the cycle before */
    uint16_t last_given_slot, last_released_slot;

    uint32_t looked; /* lookups read, modulo 2^32 */
    uint16_t in_flight;
    uint32_t wipes_sent, wipes_answered;

    bool have_command;
    fetch_command command;
    fetch_removing removing[fetch_removes];
    uint8_t removals; /* of them under way */
    fetch_reset_step reset;
    uint32_t reset_after;
    uint16_t reset_sent, reset_answered;

    bool pinned, pin_held; /* fetch_keys: the release of its work item is held back until fetch_keys_end */
    uint16_t pin_slot;
    uint32_t pin_index, pin_release; /* its number */
    bool reply_keys, reply_keys_end;
};

struct fetch_in {
    hls::stream<lookup_result> &lookups; /* in the order of the packets */
    hls::stream<slot_release> &releases;
    hls::stream<uint32_t> &acks;  /* index; in the order of the write-backs */
    hls::stream<uint16_t> &wiped; /* slot; one for every wipe, in order */
    hls::stream<fetch_command> &commands;
};

struct fetch_out {
    hls::stream<work> &work_items; /* one for every lookup, in order, and one for every fetch_keys */
    hls::stream<uint32_t> &reads;  /* index; memory answers in order, through fill. One for every work item with `fill` */
    hls::stream<write_back> &to_tracker;
    hls::stream<write_back> &to_finish; /* the same */
    hls::stream<uint16_t> &wipe;        /* slot: keys zeroises it and answers */
    hls::stream<fetch_reply> &replies;
};

/*
 * A packet with action_session_forward or _transcode gets a slot; one on hold does not (its index is passed on), so that the host
 * can install the session while such packets come.
 *
 * Commands are obeyed in order.
 *
 * fetch_keys: the session's slot is taken and kept; replied when the work item has come back (release).
 *
 * fetch_keys_end: the slot is let go; replied at once.
 *
 * fetch_remove: replied when `after` lookups have been read, the session has no slot and the keys in it are wiped. In between, and
 * only from the `after`-th lookup on, packets that still name the session are punted as if it had none.
 *
 * fetch_reset: replied when the same holds for all sessions and every slot has been wiped again; later commands wait.
 */
void fetch(fetch_state &s, const fetch_in &in, const fetch_out &out);

} // namespace card
