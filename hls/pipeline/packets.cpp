/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/packets.hpp"

#include <stddef.h>

namespace card
{

namespace
{

enum : unsigned { punt_lines_max = 1 + frame_beats_max, punt_lane_at = 2 /* packet/punt_layout.h */ };

uint32_t get32(const control_line &line, unsigned at)
{
#pragma HLS INLINE
    return static_cast<uint32_t>(load_le<4>(line.byte + at));
}

/* Says a position on if it is another one. */
void tell(uint32_t position, uint32_t &told, hls::stream<uint32_t> &out)
{
#pragma HLS INLINE
    if (position != told && !out.full()) {
        out.write(position);
        told = position;
    }
}

/* The host has read up to there; what cannot be is not taken. */
void take_read(hls::stream<uint32_t> &in, uint32_t at, uint32_t &read)
{
#pragma HLS INLINE
    if (in.empty())
        return;
    const uint32_t position = in.read();
    if (at - position <= at - read)
        read = position;
}

bool room_for(uint32_t position, uint32_t read, uint32_t lines)
{
#pragma HLS INLINE
    return position - read < lines;
}

/* A head of the host, as it must be at that position. */
bool head_is_sound(const packet_line &l, uint32_t at)
{
#pragma HLS INLINE
    const uint8_t kind = l.line.byte[offsetof(card_packet_head, kind)];
    const uint8_t flags = l.line.byte[offsetof(card_packet_head, flags)];
    const uint16_t bytes = static_cast<uint16_t>(load_le<2>(l.line.byte + offsetof(card_packet_head, bytes)));
    uint8_t zero = l.line.byte[offsetof(card_packet_head, lane)];
    for (unsigned i = 0; i < sizeof(card_packet_head::zero); i++) {
#pragma HLS UNROLL
        zero = static_cast<uint8_t>(zero | l.line.byte[offsetof(card_packet_head, zero) + i]);
    }
    const bool numbered = get32(l.line, offsetof(card_packet_head, number)) == at + 1 &&
                          get32(l.line, offsetof(card_packet_head, valid)) == at + 1 &&
                          l.line.byte[offsetof(card_packet_head, version)] == card_packets_version;
    const bool known = kind == card_packet_rx || ((kind == card_packet_inject || kind == card_packet_transmit) && flags == 0);
    const bool whole = bytes != 0 && bytes <= frame_bytes_max && (bytes + beat_bytes - 1u) / beat_bytes <= l.behind;
    return numbered && known && (flags & ~card_packet_error) == 0 && zero == 0 && whole;
}

/* The next line of a frame. */
axis_word word_of_frame(const control_line &line, uint16_t left, bool error)
{
#pragma HLS INLINE
    beat b;
    b.bytes = static_cast<uint8_t>(left < beat_bytes ? left : uint16_t{beat_bytes});
    b.last = left <= beat_bytes;
    b.error = b.last && error;
    for (unsigned i = 0; i < beat_bytes; i++) {
#pragma HLS UNROLL
        b.byte[i] = i < b.bytes ? line.byte[i] : uint8_t{0};
    }
    return word_of_beat(b);
}

void put_number(control_line &head, uint32_t position)
{
#pragma HLS INLINE
    static_assert(offsetof(card_packet_head, valid) == offsetof(card_mirror_head, valid), "heads agree in number and valid");
    store_le<4>(head.byte + offsetof(card_packet_head, number), position + 1);
    store_le<4>(head.byte + offsetof(card_packet_head, valid), position + 1);
}

} // namespace

void positions(positions_state &s, memory_port page, hls::stream<packets_progress> &progress, const positions_out &out)
{
    const control_line host = read_line(page, 0);
    tell(get32(host, offsetof(card_packets_page, to_card_written)), s.written, out.written);
    tell(get32(host, offsetof(card_packets_page, from_card_read)), s.from_card_read, out.from_card_read);
    tell(get32(host, offsetof(card_packets_page, mirror_read)), s.mirror_read, out.mirror_read);
    if (progress.empty())
        return;
    const packets_progress news = progress.read();
    control_line own = {};
    store_le<4>(own.byte + offsetof(card_packets_page, to_card_read) % beat_bytes, news.read);
    store_le<4>(own.byte + offsetof(card_packets_page, bad_heads) % beat_bytes, news.bad_heads);
    write_line(page, 1, own, whole_line);
}

void packet_reader(packet_reader_state &s, memory_port ring, uint32_t lines, hls::stream<uint32_t> &written,
                   hls::stream<packet_line> &out)
{
#pragma HLS PIPELINE II = 1
    if (!written.empty()) {
        const uint32_t position = written.read();
        if (position - s.at <= lines)
            s.written = position;
    }
    if (s.at == s.written || out.full())
        return;
    out.write(packet_line{read_line(ring, s.at & (lines - 1)), s.written - s.at - 1});
    s.at++;
}

void packet_sender(packet_sender_state &s, hls::stream<packet_line> &in, const packet_sender_out &out)
{
#pragma HLS PIPELINE II = 1
    if (s.news && !out.progress.full()) {
        out.progress.write(packets_progress{s.done, s.bad_heads});
        s.news = false;
    }
    const bool full = s.kind == card_packet_rx       ? out.rx.full()
                      : s.kind == card_packet_inject ? out.inject.full()
                                                     : out.transmit.full();
    if (in.empty() || (s.left != 0 && full))
        return;
    const packet_line l = in.read();
    if (s.left != 0) {
        const axis_word word = word_of_frame(l.line, s.left, s.error);
        if (s.kind == card_packet_rx)
            out.rx.write(word);
        else if (s.kind == card_packet_inject)
            out.inject.write(word);
        else
            out.transmit.write(word);
        s.left = static_cast<uint16_t>(s.left < beat_bytes ? 0 : s.left - beat_bytes);
    } else if (s.skip != 0) {
        s.skip--;
    } else if (head_is_sound(l, s.at)) {
        s.kind = l.line.byte[offsetof(card_packet_head, kind)];
        s.left = static_cast<uint16_t>(load_le<2>(l.line.byte + offsetof(card_packet_head, bytes)));
        s.error = l.line.byte[offsetof(card_packet_head, flags)] != 0;
    } else {
        s.bad_heads++;
        s.skip = l.behind;
    }
    s.at++;
    if (s.left == 0 && s.skip == 0) {
        s.done = s.at;
        s.news = true;
    }
}

void packet_receiver(packet_receiver_state &s, memory_port ring, uint32_t lines, uint8_t lane, const packet_receiver_in &in)
{
#pragma HLS PIPELINE II = 1
    take_read(in.read, s.at, s.read);
    if (s.phase == packet_data) {
        const bool tx = !in.tx.empty(), punt = !in.punt.empty();
        if (!s.busy && (tx || punt))
            s.punt = s.punt ? !tx : punt; /* in turn */
        const uint32_t position = s.at + 1 + s.lines;
        if ((s.punt ? !punt : !tx) || !room_for(position, s.read, lines))
            return;
        const beat b = beat_of_word(s.punt ? in.punt.read() : in.tx.read());
        control_line line;
        for (unsigned i = 0; i < beat_bytes; i++) {
#pragma HLS UNROLL
            line.byte[i] = s.punt && !s.busy && i == punt_lane_at ? lane : b.byte[i];
        }
        s.busy = true;
        if (s.lines < punt_lines_max) { /* the lane makes no longer ones */
            write_line(ring, position & (lines - 1), line, whole_line);
            s.lines++;
            s.bytes = static_cast<uint16_t>(s.bytes + b.bytes);
            s.error = s.error || b.error;
        } else {
            s.error = true;
        }
        if (b.last)
            s.phase = packet_end;
    } else if (s.phase == packet_end) {
        /* Where the next head will be, nothing looks like one when this entry is seen. */
        const uint32_t position = s.at + 1 + s.lines;
        if (!room_for(position, s.read, lines))
            return;
        write_line(ring, position & (lines - 1), control_line(), whole_line);
        s.phase = packet_head;
    } else {
        control_line head = {};
        put_number(head, s.at);
        head.byte[offsetof(card_packet_head, version)] = card_packets_version;
        head.byte[offsetof(card_packet_head, kind)] = s.punt ? card_packet_punt : card_packet_tx;
        head.byte[offsetof(card_packet_head, flags)] = s.error ? card_packet_error : 0;
        head.byte[offsetof(card_packet_head, lane)] = lane;
        store_le<2>(head.byte + offsetof(card_packet_head, bytes), s.bytes);
        write_line(ring, s.at & (lines - 1), head, whole_line);
        s.at += 1u + s.lines;
        s.phase = packet_data;
        s.busy = s.error = false;
        s.lines = s.bytes = 0;
    }
}

void mirror_writer(mirror_writer_state &s, memory_port ring, uint32_t lines, uint8_t lane, const mirror_writer_in &in)
{
#pragma HLS PIPELINE II = 1
    take_read(in.read, s.at, s.read);
    if (s.phase == mirror_phase::head) {
        if (in.heads.empty())
            return;
        s.head = line_of_word(in.heads.read().data);
        s.head.byte[offsetof(card_mirror_head, lane)] = lane;
        s.lines = 0;
        s.phase = mirror_phase::text;
    }
    const uint8_t flags = s.head.byte[offsetof(card_mirror_head, flags)];
    if (s.phase == mirror_phase::text && (flags & card_mirror_text) == 0)
        s.phase = mirror_phase::keys;
    if (s.phase == mirror_phase::keys && (flags & card_mirror_keys) == 0)
        s.phase = mirror_phase::publish;
    if (s.phase == mirror_phase::publish) {
        if (!room_for(s.at, s.read, lines))
            return;
        put_number(s.head, s.at);
        write_line(ring, s.at & (lines - 1), s.head, whole_line);
        s.at += 1u + s.lines;
        s.phase = mirror_phase::head;
    } else {
        const uint32_t position = s.at + 1 + s.lines;
        if (in.data.empty() || !room_for(position, s.read, lines))
            return;
        write_line(ring, position & (lines - 1), line_of_word(in.data.read().data), whole_line);
        s.lines++;
        s.phase = s.phase == mirror_phase::text ? mirror_phase::keys : mirror_phase::publish;
    }
}

} // namespace card
