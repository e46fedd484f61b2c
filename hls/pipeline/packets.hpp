/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluice_packets: a lane's rings of packets in host memory (host/card/card_packets.h).
 *
 *   to_card ring ─▶ packet_reader ─▶ packet_sender ─┬▶ rx, inject, transmit
 *                        ▲ written       │ progress
 *   page ──────────▶ positions ◀─────────┘
 *                        │ read
 *   from_card ring ◀─ packet_receiver ◀── tx, punt        the same for the mirror ring ◀─ mirror_writer ◀── heads, data
 *
 * Nothing of the host is trusted: what it says in the page is taken if it is possible, what it says in a head is checked, and no
 * address is made of either but by the ring's mask. A ring towards the host that is full stops what comes from the lane; nothing is
 * lost. The host may begin to read an entry when its head is there, and that is written last.
 */
#pragma once

#include "card/card_packets.h"
#include "pipeline/memory.hpp"
#include "pipeline/ports.hpp"

namespace card
{

static_assert(unsigned{card_line_bytes} == unsigned{beat_bytes} && unsigned{card_packet_bytes_max} == unsigned{frame_bytes_max},
              "the host's names for the same");

/* A line of the to_card ring; behind: how many the host had written behind it, at least. */
struct packet_line {
    control_line line;
    uint32_t behind;
};

struct packets_progress {
    uint32_t read, bad_heads;
};

struct positions_state {
    uint32_t written, from_card_read, mirror_read; /* as last told */
};

struct packet_reader_state {
    uint32_t at, written;
};

struct packet_sender_state {
    uint32_t at, done; /* lines read; the position behind the last whole entry */
    uint32_t bad_heads;
    uint32_t skip; /* lines */
    uint16_t left; /* bytes of the frame */
    uint8_t kind;
    bool error, news; /* news: progress to tell */
};

enum packet_phase : uint8_t { packet_data, packet_end, packet_head };

struct packet_receiver_state {
    uint32_t at, read;
    packet_phase phase;
    bool busy; /* in the middle of a frame */
    bool punt; /* from there; or the last one was */
    bool error;
    uint16_t lines, bytes; /* of the frame so far */
};

enum class mirror_phase : uint8_t { head, text, keys, publish };

struct mirror_writer_state {
    uint32_t at, read;
    mirror_phase phase;
    control_line head;
    uint8_t lines; /* behind the head, so far */
};

struct packets_streams {
    hls::stream<uint32_t, 2> written{"written"}, from_card_read{"from_card read"}, mirror_read{"mirror read"};
    hls::stream<packet_line, 256> lines{"packet lines"}; /* what the reader has asked for comes, whether the lane takes it or not */
    hls::stream<packets_progress, 2> progress{"progress"};
};

struct packets_kernel_state {
    positions_state positions;
    packet_reader_state reader;
    packet_sender_state sender;
    packet_receiver_state receiver;
    mirror_writer_state mirror;
};

struct positions_out {
    hls::stream<uint32_t> &written, &from_card_read, &mirror_read;
};

/* One look at the page a call. On the card the call is not pipelined, so that one is under way at a time. */
void positions(positions_state &s, memory_port page, hls::stream<packets_progress> &progress, const positions_out &out);

/* The lines that the host has written, as fast as memory gives them. lines: of the ring. */
void packet_reader(packet_reader_state &s, memory_port ring, uint32_t lines, hls::stream<uint32_t> &written,
                   hls::stream<packet_line> &out);

struct packet_sender_out {
    hls::stream<axis_word> &rx, &inject, &transmit;
    hls::stream<packets_progress> &progress;
};
void packet_sender(packet_sender_state &s, hls::stream<packet_line> &in, const packet_sender_out &out);

struct packet_receiver_in {
    hls::stream<axis_word> &tx, &punt;
    hls::stream<uint32_t> &read;
};
void packet_receiver(packet_receiver_state &s, memory_port ring, uint32_t lines, uint8_t lane, const packet_receiver_in &in);

struct mirror_writer_in {
    hls::stream<line_word> &heads, &data;
    hls::stream<uint32_t> &read;
};
void mirror_writer(mirror_writer_state &s, memory_port ring, uint32_t lines, uint8_t lane, const mirror_writer_in &in);

/* P(name, depth, call), SLOW(name, depth, call): not pipelined. s: packets_kernel_state, x: packets_streams; PORT(name): a port or
 * argument of the kernel. */
#define CARD_PACKETS_PROCESSES(P, SLOW, PORT)                                                                                      \
    SLOW(positions, packets_depth,                                                                                                 \
         card::positions(s.positions, PORT(page), x.progress, card::positions_out{x.written, x.from_card_read, x.mirror_read}))    \
    P(packet_reader, packets_depth, card::packet_reader(s.reader, PORT(to_card), PORT(to_card_lines), x.written, x.lines))         \
    P(packet_sender, packets_depth,                                                                                                \
      card::packet_sender(s.sender, x.lines, card::packet_sender_out{PORT(rx), PORT(inject), PORT(transmit), x.progress}))         \
    P(packet_receiver, packets_depth,                                                                                              \
      card::packet_receiver(s.receiver, PORT(from_card), PORT(from_card_lines), PORT(lane),                                        \
                            card::packet_receiver_in{PORT(tx), PORT(punt), x.from_card_read}))                                     \
    P(mirror_writer, packets_depth,                                                                                                \
      card::mirror_writer(s.mirror, PORT(mirror), PORT(mirror_lines), PORT(lane),                                                  \
                          card::mirror_writer_in{PORT(mirror_head), PORT(mirror_data), x.mirror_read}))

/* 1 decide (32-bit subtraction and compare: 4 levels) + 1 the line + 1 output; memory's own time comes on top. */
constexpr unsigned packets_depth = 3;

} // namespace card
