/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TCP header that a packet leaves with is made as a whole, when its last beat is there, and laid over the beats as they leave:
 * so no field is ever cut by a beat's end, and no carry has to cross one.
 *
 * Checksum, by the words that changed (RFC 1624, equation 3):
 *
 *     HC' = ~(~HC + sum of (~m + m'))        m, m': the header's words before and after, and the payload's sum before and after
 *
 * Sums here are numbers modulo 65535 with two zeros, 0 only if all words are. A TCP header has a data offset, so neither the sum of
 * the new header nor that of all a checksum covers is 0, but 1..65535: the checksum is 0..65534, as if computed from scratch, also
 * where the packet came with 0xffff for 0.
 */
#include "packet/rewrite.hpp"

#include "packet/punt_layout.h"
#include "packet/sums.hpp"

namespace card
{

namespace
{

enum : unsigned { tcp_seq_at = 4, tcp_ack_at = 8, tcp_window_at = 14, tcp_checksum_at = 16, tcp_words_max = tcp_bytes_max / 2 };

/* Saturates to the left; the host installs -14..14 (RFC 7323 section 2.3). */
uint16_t shifted_window(uint16_t window, int shift)
{
#pragma HLS INLINE
    const unsigned left = shift <= 0 ? 0 : shift < 16 ? static_cast<unsigned>(shift) : 16;
    const unsigned right = shift >= 0 ? 0 : shift > -16 ? static_cast<unsigned>(-shift) : 16;
    const uint32_t wide = uint32_t{window} << left >> right;
    return static_cast<uint16_t>(wide < 0xffff ? wide : 0xffff);
}

void add32(uint8_t *at, uint32_t delta)
{
#pragma HLS INLINE
    store_be32(at, load_be32(at) + delta);
}

uint32_t sum_header(const uint8_t tcp[tcp_bytes_max])
{
#pragma HLS INLINE
    uint32_t sum = 0;
    for (unsigned i = 0; i < tcp_words_max; ++i) {
#pragma HLS UNROLL
        sum += load_be16(tcp + 2 * i);
    }
    return sum;
}

/* All but the checksum. Options may begin at any byte. */
void rewrite_fields(uint8_t tcp[tcp_bytes_max], const headers &head, const rewrite_rule &rule)
{
#pragma HLS INLINE
    const bool ack = (head.flags & tcp_ack) != 0;
    add32(tcp + tcp_seq_at, rule.seq_delta);
    if (ack) {
        add32(tcp + tcp_ack_at, rule.ack_delta);
        store_be16(tcp + tcp_window_at, shifted_window(load_be16(tcp + tcp_window_at), rule.window_shift));
    }
    if (head.timestamps != 0) {
        uint8_t *value = tcp + (head.timestamps - head.l4);
        add32(value, rule.tsval_delta);
        if (ack) {
            add32(value + 4, rule.tsecr_delta);
        }
    }
    if (ack && head.sack != 0) {
        for (unsigned i = 0; i < sack_blocks_max; ++i) {
#pragma HLS UNROLL
            if (i < head.sack_blocks) {
                uint8_t *edges = tcp + (head.sack - head.l4) + 8 * i;
                add32(edges, rule.ack_delta);
                add32(edges + 4, rule.ack_delta);
            }
        }
    }
}

emit_job make_job(const uint8_t window[header_bytes_max], const packet_verdict &v, uint16_t payload_sum)
{
#pragma HLS INLINE
    const headers &head = v.head;
    const bool session = v.what == action_session_forward || v.what == action_session_transcode;
    emit_job job;
    job.what = session || v.what == action_forward ? action_forward : v.what == action_drop ? action_drop : action_punt;
    job.from = job.to = 0;
    job.info = v.info;
    for (unsigned i = 0; i < beat_bytes; ++i) {
#pragma HLS UNROLL
        job.patch[i] = 0;
    }
    if (!session || !v.rewrite || head.proto != 6) {
        return job;
    }
    uint8_t tcp[tcp_bytes_max] = {0};
    const unsigned bytes = head.payload - unsigned{head.l4};
    for (unsigned i = 0; i < tcp_bytes_max; i += 4) {
#pragma HLS UNROLL
        if (i < bytes) {
            store_be32(tcp + i, load_be32(window + head.l4 + i));
        }
    }
    const uint16_t before = fold(sum_header(tcp));
    const uint32_t checksum = load_be16(tcp + tcp_checksum_at);
    rewrite_fields(tcp, head, v.rule);
    uint32_t sum = (~checksum & 0xffff) + sum_header(tcp) + (~uint32_t{before} & 0xffff);
    if (v.what == action_session_transcode) {
        sum += uint32_t{payload_sum} + (~uint32_t{head.payload_sum} & 0xffff);
    }
    store_be16(tcp + tcp_checksum_at, static_cast<uint16_t>(~fold(sum)));
    for (unsigned i = 0; i < tcp_bytes_max; i += 2) {
#pragma HLS UNROLL
        const unsigned lane = (head.l4 + i) % beat_bytes; /* even */
        job.patch[lane] = tcp[i];
        job.patch[lane + 1] = tcp[i + 1];
    }
    job.from = head.l4;
    job.to = head.payload;
    return job;
}

beat announcement(const punt_info &info)
{
#pragma HLS INLINE
    card_punt punt;
    punt.flow = info.flow;
    punt.open_seq = info.open_seq;
    punt.packet_id = info.packet_id;
    punt.index = info.index;
    punt.next = info.next;
    punt.record_start = info.record_start;
    punt.seal_seq = info.seal_seq;
    punt.frame_bytes = info.frame_bytes;
    punt.rule = info.rule;
    punt.epoch = info.epoch;
    punt.reason = info.reason;
    punt.lane = info.lane;
    punt.has_session = info.has_session;
    beat b;
    card_punt_pack(b.byte, &punt);
    b.bytes = beat_bytes;
    b.last = false;
    b.error = false;
    return b;
}

/* Beat `index` of the frame with the patch over it. */
void lay_over(beat &b, const emit_job &job, unsigned index)
{
#pragma HLS INLINE
    const unsigned before = beat_bytes * index;
    const unsigned from = job.from > before ? job.from - before : 0;
    const unsigned to = job.to > before ? job.to - before : 0;
    for (unsigned i = 0; i < beat_bytes; i += 8) {
#pragma HLS UNROLL
        const uint64_t mask = mask64(i, from, to);
        store_le64(b.byte + i, (load_le64(b.byte + i) & ~mask) | (load_le64(job.patch + i) & mask));
    }
}

static_assert(unsigned{card_punt_bytes} == unsigned{beat_bytes}, "the announcement is one beat");

} // namespace

/* No hazard: window and sum are written and used in the stage they belong to, and begin afresh with every packet. */
void payload_sum(payload_sum_state &s, hls::stream<out_beat> &in, hls::stream<beat> &fifo, hls::stream<emit_job> &jobs)
{
#pragma HLS PIPELINE II = 1
#pragma HLS ARRAY_PARTITION variable = s.window complete
    if (in.empty() || fifo.full() || jobs.full()) {
        return;
    }
    const out_beat b = in.read();
    fifo.write(b.data);
    const unsigned index = b.first ? 0 : s.beats;
    if (index < header_beats_max) {
        for (unsigned i = 0; i < beat_bytes; ++i) {
#pragma HLS UNROLL
            s.window[beat_bytes * index + i] = b.data.byte[i];
        }
        s.beats = static_cast<uint8_t>(index + 1);
    }
    s.sum = fold(uint32_t{b.first ? uint16_t{0} : s.sum} + sum_beat(b.data.byte, b.from, b.to));
    if (b.data.last) {
        jobs.write(make_job(s.window, b.verdict, s.sum));
    }
}

void emit(emit_state &s, hls::stream<beat> &fifo, hls::stream<emit_job> &jobs, hls::stream<beat> &tx, hls::stream<beat> &punt)
{
#pragma HLS PIPELINE II = 1
    bool done = !s.have;
    if (s.have) {
        if (s.job.what == action_punt ? punt.full() : s.job.what == action_forward && tx.full()) {
            return;
        }
        if (s.job.what == action_punt && !s.announced) {
            punt.write(announcement(s.job.info));
            s.announced = true;
            return;
        }
        if (fifo.empty()) {
            return;
        }
        beat b = fifo.read();
        if (s.job.what == action_punt) {
            punt.write(b);
        } else if (s.job.what == action_forward) {
            if (s.index < header_beats_max) {
                lay_over(b, s.job, s.index);
            }
            tx.write(b);
        }
        if (s.index < header_beats_max) {
            ++s.index;
        }
        done = b.last;
    }
    if (done) {
        s.have = !jobs.empty();
        s.announced = false;
        s.index = 0;
        if (s.have) {
            s.job = jobs.read();
        }
    }
}

} // namespace card
