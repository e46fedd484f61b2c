/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/kernels.hpp"

#include "pipeline/control_kernel.hpp"
#include "pipeline/lane_kernel.hpp"
#include "pipeline/packets.hpp"
#include "pipeline/state.hpp"

/*
 * A process of the lane is called again and again, as soon as it can take a call: the kernel is free-running, and each of its
 * processes starts by itself. Processes of the others are loops, since a kernel with memory is started by the host; natively they
 * are what one call is when `rounds` is 1.
 *
 * PORT and CALL, LOOP, SLOW are what the lists of processes take.
 */
#define PORT(name)             name
#define CALL(name, depth, ...) __VA_ARGS__;
#define LOOP(name, depth, ...)                                                                                                     \
    for (uint64_t round = 0; round < rounds; round++) {                                                                            \
        _Pragma("HLS PIPELINE II = 1");                                                                                            \
        __VA_ARGS__;                                                                                                               \
    }
#define SLOW(name, depth, ...)                                                                                                     \
    for (uint64_t round = 0; round < rounds; round++) {                                                                            \
        _Pragma("HLS PIPELINE off");                                                                                               \
        __VA_ARGS__;                                                                                                               \
    }

extern "C" {

void sluice_lane(hls::stream<card::axis_word> &rx, hls::stream<card::axis_word> &inject, hls::stream<card::axis_word> &transmit,
                 hls::stream<card::line_word> &command, hls::stream<card::session_word> &state_line,
                 hls::stream<card::index_word> &state_ack, hls::stream<card::axis_word> &tx, hls::stream<card::axis_word> &punt,
                 hls::stream<card::line_word> &mirror_head, hls::stream<card::line_word> &mirror_data,
                 hls::stream<card::line_word> &events, hls::stream<card::line_word> &reply,
                 hls::stream<card::index_word> &state_index, hls::stream<card::state_word> &state_write)
{
#pragma HLS INTERFACE mode = ap_ctrl_none port = return
#pragma HLS INTERFACE mode = axis port = rx
#pragma HLS INTERFACE mode = axis port = inject
#pragma HLS INTERFACE mode = axis port = transmit
#pragma HLS INTERFACE mode = axis port = command
#pragma HLS INTERFACE mode = axis port = state_line
#pragma HLS INTERFACE mode = axis port = state_ack
#pragma HLS INTERFACE mode = axis port = tx
#pragma HLS INTERFACE mode = axis port = punt
#pragma HLS INTERFACE mode = axis port = mirror_head
#pragma HLS INTERFACE mode = axis port = mirror_data
#pragma HLS INTERFACE mode = axis port = events
#pragma HLS INTERFACE mode = axis port = reply
#pragma HLS INTERFACE mode = axis port = state_index
#pragma HLS INTERFACE mode = axis port = state_write
#pragma HLS DATAFLOW disable_start_propagation
    using namespace card;
    static lane_state s;
    static lane_streams x;
    static lane_ports p;
    static lane_port_state e;
    static lane_port_streams y;
    const uint8_t number = lane_number;
    CARD_LANE_INPUTS(CALL, PORT)
    CARD_LANE_PROCESSES(CALL)
    CARD_LANE_OUTPUTS(CALL, PORT)
}

void sluice_state(card::memory_port line_0, card::memory_port line_1, card::memory_port line_2, card::memory_port line_3,
                  card::memory_port line_4, card::memory_port line_5, card::memory_port write_0, card::memory_port write_1,
                  card::memory_port write_2, card::memory_port write_3, card::memory_port write_4, card::memory_port write_5,
                  uint32_t sessions, uint64_t rounds, hls::stream<card::index_word> &state_index,
                  hls::stream<card::state_word> &state_write, hls::stream<card::line_word> &memory_write,
                  hls::stream<card::session_word> &state_line, hls::stream<card::index_word> &state_ack,
                  hls::stream<card::index_word> &memory_ack)
{
#pragma HLS INTERFACE mode = s_axilite port = return
#pragma HLS INTERFACE mode = s_axilite port = sessions
#pragma HLS INTERFACE mode = s_axilite port = rounds
#pragma HLS INTERFACE mode = m_axi port = line_0 bundle = gmem0 offset = slave latency = 128 num_read_outstanding = 256
#pragma HLS INTERFACE mode = m_axi port = line_1 bundle = gmem1 offset = slave latency = 128 num_read_outstanding = 256
#pragma HLS INTERFACE mode = m_axi port = line_2 bundle = gmem2 offset = slave latency = 128 num_read_outstanding = 256
#pragma HLS INTERFACE mode = m_axi port = line_3 bundle = gmem3 offset = slave latency = 128 num_read_outstanding = 256
#pragma HLS INTERFACE mode = m_axi port = line_4 bundle = gmem4 offset = slave latency = 128 num_read_outstanding = 256
#pragma HLS INTERFACE mode = m_axi port = line_5 bundle = gmem5 offset = slave latency = 128 num_read_outstanding = 256
#pragma HLS INTERFACE mode = m_axi port = write_0 bundle = gmem0 offset = slave latency = 128 num_write_outstanding = 16
#pragma HLS INTERFACE mode = m_axi port = write_1 bundle = gmem1 offset = slave latency = 128 num_write_outstanding = 16
#pragma HLS INTERFACE mode = m_axi port = write_2 bundle = gmem2 offset = slave latency = 128 num_write_outstanding = 16
#pragma HLS INTERFACE mode = m_axi port = write_3 bundle = gmem3 offset = slave latency = 128 num_write_outstanding = 16
#pragma HLS INTERFACE mode = m_axi port = write_4 bundle = gmem4 offset = slave latency = 128 num_write_outstanding = 256
#pragma HLS INTERFACE mode = m_axi port = write_5 bundle = gmem5 offset = slave latency = 128 num_write_outstanding = 256
#pragma HLS INTERFACE mode = axis port = state_index
#pragma HLS INTERFACE mode = axis port = state_write
#pragma HLS INTERFACE mode = axis port = memory_write
#pragma HLS INTERFACE mode = axis port = state_line
#pragma HLS INTERFACE mode = axis port = state_ack
#pragma HLS INTERFACE mode = axis port = memory_ack
#pragma HLS DATAFLOW disable_start_propagation
    using namespace card;
    static state_kernel_state s;
    static state_streams x;
    CARD_STATE_PROCESSES(LOOP, PORT)
}

void sluice_control(const volatile card::ring_line *commands, volatile card::ring_line *completions,
                    volatile card::ring_line *events, const volatile card::ring_line *page, uint32_t command_entries,
                    uint32_t event_entries, uint32_t sessions, uint64_t rounds, hls::stream<card::line_word> &reply_0,
                    hls::stream<card::line_word> &reply_1, hls::stream<card::line_word> &events_0,
                    hls::stream<card::line_word> &events_1, hls::stream<card::index_word> &memory_ack_0,
                    hls::stream<card::index_word> &memory_ack_1, hls::stream<card::line_word> &command_0,
                    hls::stream<card::line_word> &command_1, hls::stream<card::line_word> &memory_write_0,
                    hls::stream<card::line_word> &memory_write_1)
{
#pragma HLS INTERFACE mode = s_axilite port = return
#pragma HLS INTERFACE mode = s_axilite port = command_entries
#pragma HLS INTERFACE mode = s_axilite port = event_entries
#pragma HLS INTERFACE mode = s_axilite port = sessions
#pragma HLS INTERFACE mode = s_axilite port = rounds
#pragma HLS INTERFACE mode = m_axi port = commands bundle = commands offset = slave
#pragma HLS INTERFACE mode = m_axi port = completions bundle = completions offset = slave
#pragma HLS INTERFACE mode = m_axi port = events bundle = events offset = slave
#pragma HLS INTERFACE mode = m_axi port = page bundle = page offset = slave
#pragma HLS INTERFACE mode = axis port = reply_0
#pragma HLS INTERFACE mode = axis port = reply_1
#pragma HLS INTERFACE mode = axis port = events_0
#pragma HLS INTERFACE mode = axis port = events_1
#pragma HLS INTERFACE mode = axis port = memory_ack_0
#pragma HLS INTERFACE mode = axis port = memory_ack_1
#pragma HLS INTERFACE mode = axis port = command_0
#pragma HLS INTERFACE mode = axis port = command_1
#pragma HLS INTERFACE mode = axis port = memory_write_0
#pragma HLS INTERFACE mode = axis port = memory_write_1
#pragma HLS DATAFLOW disable_start_propagation
    using namespace card;
    static control_kernel_state s;
    static control_streams x;
    CARD_CONTROL_PROCESSES(LOOP, SLOW, PORT)
}

void sluice_packets(card::memory_port to_card, card::memory_port from_card, card::memory_port mirror, card::memory_port page,
                    uint32_t to_card_lines, uint32_t from_card_lines, uint32_t mirror_lines, uint8_t lane, uint64_t rounds,
                    hls::stream<card::axis_word> &tx, hls::stream<card::axis_word> &punt, hls::stream<card::line_word> &mirror_head,
                    hls::stream<card::line_word> &mirror_data, hls::stream<card::axis_word> &rx,
                    hls::stream<card::axis_word> &inject, hls::stream<card::axis_word> &transmit)
{
#pragma HLS INTERFACE mode = s_axilite port = return
#pragma HLS INTERFACE mode = s_axilite port = to_card_lines
#pragma HLS INTERFACE mode = s_axilite port = from_card_lines
#pragma HLS INTERFACE mode = s_axilite port = mirror_lines
#pragma HLS INTERFACE mode = s_axilite port = lane
#pragma HLS INTERFACE mode = s_axilite port = rounds
#pragma HLS INTERFACE mode = m_axi port = to_card bundle = gmem0 offset = slave latency = 256 num_read_outstanding = 256
#pragma HLS INTERFACE mode = m_axi port = from_card bundle = gmem1 offset = slave latency = 128 num_write_outstanding = 256
#pragma HLS INTERFACE mode = m_axi port = mirror bundle = gmem2 offset = slave latency = 128 num_write_outstanding = 256
#pragma HLS INTERFACE mode = m_axi port = page bundle = gmem3 offset = slave
#pragma HLS INTERFACE mode = axis port = tx
#pragma HLS INTERFACE mode = axis port = punt
#pragma HLS INTERFACE mode = axis port = mirror_head
#pragma HLS INTERFACE mode = axis port = mirror_data
#pragma HLS INTERFACE mode = axis port = rx
#pragma HLS INTERFACE mode = axis port = inject
#pragma HLS INTERFACE mode = axis port = transmit
#pragma HLS DATAFLOW disable_start_propagation
    using namespace card;
    static packets_kernel_state s;
    static packets_streams x;
    CARD_PACKETS_PROCESSES(LOOP, SLOW, PORT)
}
}
