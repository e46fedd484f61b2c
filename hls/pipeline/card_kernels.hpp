/* SPDX-License-Identifier: Apache-2.0 */
/* What a card_model is made of: the kernels' states and streams, and the links between them with the depths of link-host.cfg. */
#pragma once

#include "pipeline/card.hpp"
#include "pipeline/control_kernel.hpp"
#include "pipeline/lane_kernel.hpp"
#include "pipeline/packets.hpp"
#include "pipeline/state.hpp"

namespace card
{

/* A lane, its session memory and its rings of packets. Ports and arguments of the three kernels have their names here. */
struct card_lane {
    card_lane(const card_memory &memory, uint8_t number);

    lane_state inner;
    lane_streams inner_streams;
    lane_ports inner_ports;
    lane_port_state outer;
    lane_port_streams outer_streams;
    state_kernel_state state;
    state_streams state_internal;
    packets_kernel_state packets;
    packets_streams packets_internal;

    hls::stream<axis_word, 256> rx{"link rx"}, inject{"link inject"}, transmit{"link transmit"}, tx{"link tx"};
    hls::stream<axis_word, 512> punt{"link punt"};
    hls::stream<line_word, 512> mirror_head{"link mirror_head"}, mirror_data{"link mirror_data"};
    hls::stream<line_word, 16> command{"link command"}, reply{"link reply"}, memory_write{"link memory_write"};
    hls::stream<line_word, 128> events{"link events"};
    hls::stream<index_word, 16> memory_ack{"link memory_ack"};
    hls::stream<index_word, 64> state_index{"link state_index"}, state_ack{"link state_ack"};
    hls::stream<session_word, 64> state_line{"link state_line"};
    hls::stream<state_word, 64> state_write{"link state_write"};

    memory_port line_0, line_1, line_2, line_3, line_4, line_5;
    memory_port &write_0 = line_0, &write_1 = line_1, &write_2 = line_2, &write_3 = line_3, &write_4 = line_4, &write_5 = line_5;
    uint32_t sessions;
    memory_port to_card, from_card, mirror, page;
    uint32_t to_card_lines, from_card_lines, mirror_lines;
    uint8_t lane; /* as sluice_packets is told it */

    uint32_t rounds = 0;
    unsigned calm = 0; /* rounds in which nothing was under way */
};

/* The same for control. */
struct card_control {
    card_control(const card_memory &memory, card_lane &lane_0, card_lane &lane_1);

    control_kernel_state state;
    control_streams streams;

    volatile ring_line *commands, *completions, *events, *page;
    uint32_t command_entries, event_entries, sessions;
    hls::stream<line_word> &reply_0, &reply_1, &events_0, &events_1, &command_0, &command_1, &memory_write_0, &memory_write_1;
    hls::stream<index_word> &memory_ack_0, &memory_ack_1;
};

struct card_model::kernels {
    explicit kernels(const card_memory &memory) : lane{{memory, 0}, {memory, 1}}, control(memory, lane[0], lane[1])
    {
    }
    card_lane lane[2];
    card_control control;
};

} // namespace card
