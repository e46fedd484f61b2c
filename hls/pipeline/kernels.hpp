/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernels as hw/platforms/BOARD/link.cfg joins them. A lane is free-running. The others are started once by the host, which
 * gives them their memory and `rounds`, how often each process is called: ~0 is for ever.
 */
#pragma once

#include "control/rings.hpp"
#include "pipeline/memory.hpp"
#include "pipeline/ports.hpp"

extern "C" {

void sluice_lane(hls::stream<card::axis_word> &rx /* in */, hls::stream<card::axis_word> &inject /* in */,
                 hls::stream<card::axis_word> &transmit /* in */, hls::stream<card::line_word> &command /* in */,
                 hls::stream<card::session_word> &state_line /* in */, hls::stream<card::index_word> &state_ack /* in */,
                 hls::stream<card::axis_word> &tx /* out */, hls::stream<card::axis_word> &punt /* out */,
                 hls::stream<card::line_word> &mirror_head /* out */, hls::stream<card::line_word> &mirror_data /* out */,
                 hls::stream<card::line_word> &events /* out */, hls::stream<card::line_word> &reply /* out */,
                 hls::stream<card::index_word> &state_index /* out */, hls::stream<card::state_word> &state_write /* out */);

/* line_N, write_N: line N of the sessions, the same memory twice, as it is read by one process and written by another. sessions:
 * how many there are. */
void sluice_state(card::memory_port line_0, card::memory_port line_1, card::memory_port line_2, card::memory_port line_3,
                  card::memory_port line_4, card::memory_port line_5, card::memory_port write_0, card::memory_port write_1,
                  card::memory_port write_2, card::memory_port write_3, card::memory_port write_4, card::memory_port write_5,
                  uint32_t sessions, uint64_t rounds, hls::stream<card::index_word> &state_index /* in */,
                  hls::stream<card::state_word> &state_write /* in */, hls::stream<card::line_word> &memory_write /* in */,
                  hls::stream<card::session_word> &state_line /* out */, hls::stream<card::index_word> &state_ack /* out */,
                  hls::stream<card::index_word> &memory_ack /* out */);

/* Rings and page: host/card/card_command.h. sessions: as in both sluice_state. */
void sluice_control(const volatile card::ring_line *commands, volatile card::ring_line *completions,
                    volatile card::ring_line *events, const volatile card::ring_line *page, uint32_t command_entries,
                    uint32_t event_entries, uint32_t sessions, uint64_t rounds, hls::stream<card::line_word> &reply_0 /* in */,
                    hls::stream<card::line_word> &reply_1 /* in */, hls::stream<card::line_word> &events_0 /* in */,
                    hls::stream<card::line_word> &events_1 /* in */, hls::stream<card::index_word> &memory_ack_0 /* in */,
                    hls::stream<card::index_word> &memory_ack_1 /* in */, hls::stream<card::line_word> &command_0 /* out */,
                    hls::stream<card::line_word> &command_1 /* out */, hls::stream<card::line_word> &memory_write_0 /* out */,
                    hls::stream<card::line_word> &memory_write_1 /* out */);

/* Rings and page: host/card/card_packets.h. lane: 0 or 1, told in what comes to the host. */
void sluice_packets(card::memory_port to_card, card::memory_port from_card, card::memory_port mirror, card::memory_port page,
                    uint32_t to_card_lines, uint32_t from_card_lines, uint32_t mirror_lines, uint8_t lane, uint64_t rounds,
                    hls::stream<card::axis_word> &tx /* in */, hls::stream<card::axis_word> &punt /* in */,
                    hls::stream<card::line_word> &mirror_head /* in */, hls::stream<card::line_word> &mirror_data /* in */,
                    hls::stream<card::axis_word> &rx /* out */, hls::stream<card::axis_word> &inject /* out */,
                    hls::stream<card::axis_word> &transmit /* out */);
}
