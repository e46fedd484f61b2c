/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluice_lane: a lane (lane.hpp) behind its AXI4-Stream ports.
 *
 *   rx, inject, transmit ──▶ rx x 3 ─▶ ┌──────┐ ─▶ tx x 2 ────▶ tx, punt
 *   command ─▶ line_in ─▶ lane_link ─▶ │ lane │ ─▶ mirror_out ─▶ mirror_head, mirror_data
 *   reply ◀── line_out ◀─┘      ◀───── │      │ ─▶ event_out ──▶ events
 *   state_line ─▶ session_in ────────▶ │      │ ─▶ index_out ──▶ state_index
 *   state_ack ──▶ index_in ──────────▶ └──────┘ ─▶ state_out ──▶ state_write
 */
#pragma once

#include "control/lane_link.hpp"
#include "pipeline/lane.hpp"
#include "pipeline/ports.hpp"

namespace card
{

enum : unsigned { lane_number = 0 }; /* inside: the two lanes are one kernel; who takes what comes out knows from which */

/* Beside lane_state and lane_streams. */
struct lane_port_state {
    rx_state rx, inject, transmit;
    lane_link_state link;
    mirror_out_state mirror;
};

struct lane_port_streams {
    hls::stream<control_line, 4> requests{"requests"}, replies{"replies"};
};

/* P(name, depth, call), in two parts: in front of and behind the lane's own. e: lane_port_state, y: lane_port_streams, p:
 * lane_ports; PORT(name): a port of the kernel. */
#define CARD_LANE_INPUTS(P, PORT)                                                                                                  \
    P(rx_port, rx_depth, card::rx(e.rx, PORT(rx), p.rx))                                                                           \
    P(inject_port, rx_depth, card::rx(e.inject, PORT(inject), p.inject))                                                           \
    P(transmit_port, rx_depth, card::rx(e.transmit, PORT(transmit), p.transmit))                                                   \
    P(command_port, port_depth, card::line_in(PORT(command), y.requests))                                                          \
    P(lane_link, lane_link_depth,                                                                                                  \
      card::lane_link(e.link, card::lane_link_in{y.requests, p.table_dones, p.rule_dones, p.fetch_replies, p.counter_answers},     \
                      card::lane_link_out{y.replies, p.table_updates, p.rule_updates, p.fetch_commands, p.key_loads,               \
                                          p.counter_commands, p.seal_limits}))                                                     \
    P(state_line_port, port_depth, card::session_in(PORT(state_line), p.state_lines))                                              \
    P(state_ack_port, port_depth, card::index_in(PORT(state_ack), p.state_acks))

#define CARD_LANE_OUTPUTS(P, PORT)                                                                                                 \
    P(tx_port, tx_depth, card::tx(p.tx, PORT(tx)))                                                                                 \
    P(punt_port, tx_depth, card::tx(p.punt, PORT(punt)))                                                                           \
    P(mirror_port, port_depth, card::mirror_out(e.mirror, p.mirror, PORT(mirror_head), PORT(mirror_data)))                         \
    P(event_port, port_depth, card::event_out(p.events, PORT(events)))                                                             \
    P(reply_port, port_depth, card::line_out(y.replies, PORT(reply)))                                                              \
    P(state_index_port, port_depth, card::index_out(p.state_reads, PORT(state_index)))                                             \
    P(state_write_port, port_depth, card::state_out(p.state_writes, PORT(state_write)))

} // namespace card
