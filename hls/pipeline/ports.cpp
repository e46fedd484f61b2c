/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/ports.hpp"

#include <stddef.h>

#include "card/card_packets.h"
#include "common/bytes.hpp"
#include "pipeline/memory.hpp"

namespace card
{

static_assert(offsetof(session_state, track) == 256 && offsetof(session_state, finish) == 312, "lines 4 and 5");

namespace
{

/* ---- words ---- */

enum : unsigned { state_bytes = state_word_bits / 8, state_at = 4, finish_at = state_at + sizeof(track_state) };

/* Everything but the data. */
template <typename Word> void complete(Word &word)
{
#pragma HLS INLINE
    word.keep = ~decltype(word.keep)();
    word.strb = word.keep;
    word.last = 1;
}

template <unsigned Bytes, typename Data> void put_bytes(Data &data, const uint8_t (&byte)[Bytes])
{
#pragma HLS INLINE
    for (unsigned i = 0; i < Bytes / 8; i++) {
#pragma HLS UNROLL
        const int at = static_cast<int>(64 * i);
        data.range(at + 63, at) = load_le<8>(byte + 8 * i);
    }
}

template <unsigned Bytes, typename Data> void get_bytes(uint8_t (&byte)[Bytes], const Data &data)
{
#pragma HLS INLINE
    for (unsigned i = 0; i < Bytes / 8; i++) {
#pragma HLS UNROLL
        const int at = static_cast<int>(64 * i);
        store_le<8>(byte + 8 * i, data.range(at + 63, at).to_uint64());
    }
}

line_word word_of(const control_line &line)
{
#pragma HLS INLINE
    line_word word;
    word.data = word_of_line(line);
    complete(word);
    return word;
}

/* ---- a session's fields in their bytes (common/session.hpp): what a compiler of the host does by its layout ---- */

template <unsigned N> void copy(uint8_t *to, const uint8_t *from)
{
#pragma HLS INLINE
    for (unsigned i = 0; i < N; i++) {
#pragma HLS UNROLL
        to[i] = from[i];
    }
}

uint16_t get16(const uint8_t *from)
{
#pragma HLS INLINE
    return static_cast<uint16_t>(load_le<2>(from));
}

uint32_t get32(const uint8_t *from)
{
#pragma HLS INLINE
    return static_cast<uint32_t>(load_le<4>(from));
}

void get_keys(key_set &k, const uint8_t *from)
{
#pragma HLS INLINE
    copy<sizeof k.open_key>(k.open_key, from + offsetof(key_set, open_key));
    copy<sizeof k.seal_key>(k.seal_key, from + offsetof(key_set, seal_key));
    copy<sizeof k.open_h>(k.open_h, from + offsetof(key_set, open_h));
    copy<sizeof k.seal_h>(k.seal_h, from + offsetof(key_set, seal_h));
    copy<sizeof k.open_iv>(k.open_iv, from + offsetof(key_set, open_iv));
    copy<sizeof k.seal_iv>(k.seal_iv, from + offsetof(key_set, seal_iv));
    k.long_keys = from[offsetof(key_set, long_keys)];
}

void get_key_state(key_state &k, const uint8_t *from)
{
#pragma HLS INLINE
    get_keys(k.set[0], from);
    get_keys(k.set[1], from + sizeof(key_set));
    copy<sizeof k.flow>(k.flow, from + offsetof(key_state, flow));
    k.window_shift = static_cast<int8_t>(from[offsetof(key_state, window_shift)]);
    copy<sizeof k.reserved>(k.reserved, from + offsetof(key_state, reserved));
}

void get_track(track_state &t, const uint8_t *from)
{
#pragma HLS INLINE
    t.next = get32(from + offsetof(track_state, next));
    t.record_start = get32(from + offsetof(track_state, record_start));
    t.seal_seq = get32(from + offsetof(track_state, seal_seq));
    t.old_seal_seq = get32(from + offsetof(track_state, old_seal_seq));
    t.old_open_seq = get32(from + offsetof(track_state, old_open_seq));
    t.seq_delta = get32(from + offsetof(track_state, seq_delta));
    t.ack_delta = get32(from + offsetof(track_state, ack_delta));
    t.tsval_delta = get32(from + offsetof(track_state, tsval_delta));
    t.tsecr_delta = get32(from + offsetof(track_state, tsecr_delta));
    t.ring[0] = get16(from + offsetof(track_state, ring));
    t.ring[1] = get16(from + offsetof(track_state, ring) + 2);
    t.ahead_from = get16(from + offsetof(track_state, ahead_from));
    t.ahead_to = get16(from + offsetof(track_state, ahead_to));
    t.fragment = get16(from + offsetof(track_state, fragment));
    copy<sizeof t.open_seq>(t.open_seq, from + offsetof(track_state, open_seq));
    t.type = from[offsetof(track_state, type)];
    t.flags = from[offsetof(track_state, flags)];
    t.ring_new = from[offsetof(track_state, ring_new)];
    t.epoch = from[offsetof(track_state, epoch)];
}

void put_track(uint8_t *to, const track_state &t)
{
#pragma HLS INLINE
    store_le<4>(to + offsetof(track_state, next), t.next);
    store_le<4>(to + offsetof(track_state, record_start), t.record_start);
    store_le<4>(to + offsetof(track_state, seal_seq), t.seal_seq);
    store_le<4>(to + offsetof(track_state, old_seal_seq), t.old_seal_seq);
    store_le<4>(to + offsetof(track_state, old_open_seq), t.old_open_seq);
    store_le<4>(to + offsetof(track_state, seq_delta), t.seq_delta);
    store_le<4>(to + offsetof(track_state, ack_delta), t.ack_delta);
    store_le<4>(to + offsetof(track_state, tsval_delta), t.tsval_delta);
    store_le<4>(to + offsetof(track_state, tsecr_delta), t.tsecr_delta);
    store_le<2>(to + offsetof(track_state, ring), t.ring[0]);
    store_le<2>(to + offsetof(track_state, ring) + 2, t.ring[1]);
    store_le<2>(to + offsetof(track_state, ahead_from), t.ahead_from);
    store_le<2>(to + offsetof(track_state, ahead_to), t.ahead_to);
    store_le<2>(to + offsetof(track_state, fragment), t.fragment);
    copy<sizeof t.open_seq>(to + offsetof(track_state, open_seq), t.open_seq);
    to[offsetof(track_state, type)] = t.type;
    to[offsetof(track_state, flags)] = t.flags;
    to[offsetof(track_state, ring_new)] = t.ring_new;
    to[offsetof(track_state, epoch)] = t.epoch;
}

void get_finish(finish_state &f, const uint8_t *from)
{
#pragma HLS INLINE
    copy<sizeof f.open_hash>(f.open_hash, from + offsetof(finish_state, open_hash));
    copy<sizeof f.seal_hash>(f.seal_hash, from + offsetof(finish_state, seal_hash));
    copy<16>(f.ring_tag[0], from + offsetof(finish_state, ring_tag));
    copy<16>(f.ring_tag[1], from + offsetof(finish_state, ring_tag) + 16);
    copy<sizeof f.tail>(f.tail, from + offsetof(finish_state, tail));
    f.tail_end = get16(from + offsetof(finish_state, tail_end));
}

void put_finish(uint8_t *to, const finish_state &f)
{
#pragma HLS INLINE
    copy<sizeof f.open_hash>(to + offsetof(finish_state, open_hash), f.open_hash);
    copy<sizeof f.seal_hash>(to + offsetof(finish_state, seal_hash), f.seal_hash);
    copy<16>(to + offsetof(finish_state, ring_tag), f.ring_tag[0]);
    copy<16>(to + offsetof(finish_state, ring_tag) + 16, f.ring_tag[1]);
    copy<sizeof f.tail>(to + offsetof(finish_state, tail), f.tail);
    store_le<2>(to + offsetof(finish_state, tail_end), f.tail_end);
}

/* ---- the mirror ---- */

/* number, lane and valid are filled in where the entry is written. A part a of which nothing is new is left out: it may be a
 * KeyUpdate once more, and then b's number isn't the next one but the first of the new epoch. */
control_line head_of(const mirror_item &x)
{
#pragma HLS INLINE
    control_line line = {};
    const bool a = (x.fresh & mask_range(x.a.at, x.a.at + x.a.bytes)) != 0 || x.verdict != mirror_open;
    const unsigned flags = (x.fresh != 0 ? card_mirror_text : 0) | (x.verdict == mirror_verified ? card_mirror_keys : 0) |
                           (a ? 0 : card_mirror_b_alone);
    line.byte[offsetof(card_mirror_head, version)] = card_packets_version;
    line.byte[offsetof(card_mirror_head, flags)] = static_cast<uint8_t>(flags);
    line.byte[offsetof(card_mirror_head, verdict)] = x.verdict;
    store_le<8>(line.byte + offsetof(card_mirror_head, flow), x.flow);
    store_le<8>(line.byte + offsetof(card_mirror_head, fresh), x.fresh);
    store_le<8>(line.byte + offsetof(card_mirror_head, open_seq), a ? x.a.open_seq : x.b.open_seq);
    store_le<4>(line.byte + offsetof(card_mirror_head, index), x.index);
    store_le<4>(line.byte + offsetof(card_mirror_head, tcp_seq), x.tcp_seq);
    store_le<2>(line.byte + offsetof(card_mirror_head, epoch), x.epoch);
    store_le<2>(line.byte + offsetof(card_mirror_head, text_bytes), x.text_bytes);
    store_le<2>(line.byte + offsetof(card_mirror_head, a_offset), a ? x.a.offset : uint16_t{0});
    line.byte[offsetof(card_mirror_head, type)] = x.type;
    line.byte[offsetof(card_mirror_head, a_at)] = a ? x.a.at : uint8_t{0};
    line.byte[offsetof(card_mirror_head, a_bytes)] = a ? x.a.bytes : uint8_t{0};
    line.byte[offsetof(card_mirror_head, b_at)] = x.b.at;
    line.byte[offsetof(card_mirror_head, b_bytes)] = x.b.bytes;
    return line;
}

control_line keys_of(const mirror_item &x)
{
#pragma HLS INLINE
    control_line line = {};
    copy<sizeof x.key>(line.byte + offsetof(card_mirror_keys_line, key), x.key);
    copy<sizeof x.tag>(line.byte + offsetof(card_mirror_keys_line, tag), x.tag);
    return line;
}

control_line text_of(const mirror_item &x)
{
#pragma HLS INLINE
    control_line line;
    copy<beat_bytes>(line.byte, x.byte);
    return line;
}

} // namespace

void index_out(hls::stream<uint32_t> &in, hls::stream<index_word> &out)
{
#pragma HLS PIPELINE II = 1
    if (in.empty() || out.full())
        return;
    index_word word;
    word.data = in.read();
    complete(word);
    out.write(word);
}

void index_in(hls::stream<index_word> &in, hls::stream<uint32_t> &out)
{
#pragma HLS PIPELINE II = 1
    if (!in.empty() && !out.full())
        out.write(in.read().data.to_uint());
}

void line_out(hls::stream<control_line> &in, hls::stream<line_word> &out)
{
#pragma HLS PIPELINE II = 1
    if (!in.empty() && !out.full())
        out.write(word_of(in.read()));
}

void line_in(hls::stream<line_word> &in, hls::stream<control_line> &out)
{
#pragma HLS PIPELINE II = 1
    if (!in.empty() && !out.full())
        out.write(line_of_word(in.read().data));
}

void session_in(hls::stream<session_word> &in, hls::stream<state_read> &out)
{
#pragma HLS PIPELINE II = 1
    if (in.empty() || out.full())
        return;
    uint8_t byte[sizeof(session_state)];
    get_bytes(byte, in.read().data);
    state_read read;
    get_key_state(read.state.keys, byte + offsetof(session_state, keys));
    get_track(read.state.track, byte + offsetof(session_state, track));
    get_finish(read.state.finish, byte + offsetof(session_state, finish));
    out.write(read);
}

session_word session_word_of(const control_line (&line)[sizeof(session_state) / beat_bytes])
{
#pragma HLS INLINE
    session_word word;
    for (unsigned i = 0; i < sizeof(session_state) / beat_bytes; i++) {
#pragma HLS UNROLL
        for (unsigned k = 0; k < beat_bytes / 8; k++) {
#pragma HLS UNROLL
            const int at = static_cast<int>(8 * beat_bytes * i + 64 * k);
            word.data.range(at + 63, at) = load_le<8>(line[i].byte + 8 * k);
        }
    }
    complete(word);
    return word;
}

void state_out(hls::stream<state_write> &in, hls::stream<state_word> &out)
{
#pragma HLS PIPELINE II = 1
    if (in.empty() || out.full())
        return;
    const state_write write = in.read();
    uint8_t byte[state_bytes] = {};
    store_le<4>(byte, write.index);
    put_track(byte + state_at, write.track);
    put_finish(byte + finish_at, write.finish);
    state_word word;
    put_bytes(word.data, byte);
    complete(word);
    out.write(word);
}

state_lines lines_of_state(const state_word &word)
{
#pragma HLS INLINE
    uint8_t byte[state_bytes];
    get_bytes(byte, word.data);
    state_lines lines;
    lines.index = get32(byte);
    copy<beat_bytes>(lines.line_4.byte, byte + state_at);
    copy<beat_bytes>(lines.line_5.byte, byte + state_at + beat_bytes);
    return lines;
}

void session_write_out(session_write_out_state &s, hls::stream<session_write> &in, hls::stream<line_word> &out)
{
#pragma HLS PIPELINE II = 1
    if (out.full())
        return;
    if (s.second) {
        out.write(word_of(s.bytes));
        s.bytes = control_line(); /* it may have been keys (G13) */
        s.second = false;
    } else if (!in.empty()) {
        const session_write w = in.read();
        control_line head = {};
        store_le<4>(head.byte, w.index);
        store_le<2>(head.byte + 4, w.offset);
        head.byte[6] = w.bytes;
        copy<beat_bytes>(s.bytes.byte, w.byte);
        out.write(word_of(head));
        s.second = true;
    }
}

void session_write_in(session_write_in_state &s, hls::stream<line_word> &in, hls::stream<session_write> &out)
{
#pragma HLS PIPELINE II = 1
    if (in.empty() || out.full())
        return;
    const control_line line = line_of_word(in.read().data);
    if (s.second) {
        copy<beat_bytes>(s.head.byte, line.byte);
        out.write(s.head);
        s.head = session_write();
    } else {
        s.head.index = get32(line.byte);
        s.head.offset = get16(line.byte + 4);
        s.head.bytes = line.byte[6];
    }
    s.second = !s.second;
}

void event_out(hls::stream<event> &in, hls::stream<line_word> &out)
{
#pragma HLS PIPELINE II = 1
    if (in.empty() || out.full())
        return;
    const event e = in.read();
    control_line line = {};
    line.byte[0] = e.kind;
    store_le<2>(line.byte + 2, e.detail);
    store_le<2>(line.byte + 4, e.epoch);
    store_le<4>(line.byte + 8, e.index);
    store_le<4>(line.byte + 12, e.packet_id);
    store_le<8>(line.byte + 16, e.flow);
    store_le<8>(line.byte + 24, e.open_seq);
    store_le<4>(line.byte + 32, e.tcp_seq);
    out.write(word_of(line));
}

void event_in(hls::stream<line_word> &in, hls::stream<event> &out, uint8_t lane)
{
#pragma HLS PIPELINE II = 1
    if (in.empty() || out.full())
        return;
    const control_line line = line_of_word(in.read().data);
    event e;
    e.kind = static_cast<event_kind>(line.byte[0]);
    e.lane = lane;
    e.detail = get16(line.byte + 2);
    e.epoch = get16(line.byte + 4);
    e.index = get32(line.byte + 8);
    e.packet_id = get32(line.byte + 12);
    e.flow = load_le<8>(line.byte + 16);
    e.open_seq = load_le<8>(line.byte + 24);
    e.tcp_seq = get32(line.byte + 32);
    out.write(e);
}

void mirror_out(mirror_out_state &s, hls::stream<mirror_item> &in, hls::stream<line_word> &head, hls::stream<line_word> &data)
{
#pragma HLS PIPELINE II = 1
    if (head.full() || data.full())
        return;
    if (s.second) {
        data.write(word_of(s.keys));
        s.second = false;
    } else if (!in.empty()) {
        const mirror_item x = in.read();
        const bool keys = x.verdict == mirror_verified, text = x.fresh != 0;
        head.write(word_of(head_of(x)));
        if (text)
            data.write(word_of(text_of(x)));
        else if (keys)
            data.write(word_of(keys_of(x)));
        s.keys = keys_of(x);
        s.second = text && keys;
    }
}

} // namespace card
