/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluice_control: control, events and their rings (hls/control) behind the AXI4-Stream ports to the lanes and their session memory.
 * A number says which lane; it is what an event is told to be from.
 */
#pragma once

#include "control/control.hpp"
#include "control/events.hpp"
#include "control/rings.hpp"
#include "pipeline/ports.hpp"

namespace card
{

struct control_kernel_state {
    control_state control;
    events_state events;
    rings_state rings;
    session_write_out_state memory_write[control_lanes];
};

struct control_lane_streams {
    hls::stream<control_line, 4> requests{"requests"}, replies{"replies"};
    hls::stream<session_write, 16> writes{"session writes"};
    hls::stream<uint32_t, control_acks_depth> acks{"session acks"};
    hls::stream<event, 16> events{"events"};
};

struct control_streams {
    hls::stream<control_line, 16> commands{"commands"};
    hls::stream<control_line, 4> completions{"completions"}, entries{"event entries"};
    hls::stream<uint32_t, 2> host_read{"host read"};
    control_lane_streams lane[control_lanes];
};

/* P(name, depth, call), SLOW(name, depth, call): not pipelined. s: control_kernel_state, x: control_streams; PORT(name): a port or
 * argument of the kernel. */
#define CARD_CONTROL_LANE(P, PORT, number)                                                                                         \
    P(reply_##number##_port, port_depth, card::line_in(PORT(reply_##number), x.lane[number].replies))                              \
    P(memory_ack_##number##_port, port_depth, card::index_in(PORT(memory_ack_##number), x.lane[number].acks))                      \
    P(events_##number##_port, port_depth, card::event_in(PORT(events_##number), x.lane[number].events, number))                    \
    P(command_##number##_port, port_depth, card::line_out(x.lane[number].requests, PORT(command_##number)))                        \
    P(memory_write_##number##_port, port_depth,                                                                                    \
      card::session_write_out(s.memory_write[number], x.lane[number].writes, PORT(memory_write_##number)))

#define CARD_CONTROL_PROCESSES(P, SLOW, PORT)                                                                                      \
    SLOW(rings, 1,                                                                                                                 \
         card::rings(s.rings,                                                                                                      \
                     card::ring_memory{PORT(commands), PORT(completions), PORT(events), PORT(page), PORT(command_entries),         \
                                       PORT(event_entries)},                                                                       \
                     x.commands, x.completions, x.entries, x.host_read))                                                           \
    P(control, control_depth,                                                                                                      \
      card::control(                                                                                                               \
          s.control, card::control_in{x.commands, {{x.lane[0].replies, x.lane[0].acks}, {x.lane[1].replies, x.lane[1].acks}}},     \
          card::control_out{x.completions, {{x.lane[0].requests, x.lane[0].writes}, {x.lane[1].requests, x.lane[1].writes}}},      \
          PORT(sessions)))                                                                                                         \
    P(events, events_depth,                                                                                                        \
      card::events(s.events, x.lane[0].events, x.lane[1].events, x.host_read, x.entries, PORT(event_entries)))                     \
    CARD_CONTROL_LANE(P, PORT, 0)                                                                                                  \
    CARD_CONTROL_LANE(P, PORT, 1)

} // namespace card
