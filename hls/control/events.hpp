/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events: the lanes' events, one after the other, as entries of the host's event ring (struct card_event).
 *
 *   lane 0 ─┐
 *           ├─ in turn ─▶ room in the ring? ─yes─▶ numbered entry ─▶ rings
 *   lane 1 ─┘                    └─no──▶ lost += 1, told with the next entry
 *
 * Lanes never wait for the host: an event that finds the ring full is counted and dropped. Entries that the host has not read are
 * never overwritten. Events of one lane stay in order.
 */
#pragma once

#include <hls_stream.h>

#include "common/types.hpp"
#include "control/line.hpp"

namespace card
{

struct events_state {
    uint32_t written; /* entries, modulo 2^32 */
    uint32_t read;    /* by the host, the same */
    uint32_t lost;    /* since the last entry; stays at its maximum */
    bool turn;        /* lane 1 first */
};

constexpr unsigned events_depth = 2; /* 1 choice and room (32-bit subtraction) + 1 output */

/* host_read: card_host_page.events_read, as often as it is looked at. entries: of the ring, a power of two. */
void events(events_state &s, hls::stream<event> &lane_0, hls::stream<event> &lane_1, hls::stream<uint32_t> &host_read,
            hls::stream<control_line> &out, uint32_t entries);

} // namespace card
