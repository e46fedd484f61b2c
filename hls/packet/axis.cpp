/* SPDX-License-Identifier: Apache-2.0 */
#include "packet/axis.hpp"

#include "packet/sums.hpp"

namespace card
{

namespace
{

enum : unsigned { word_bits = 64, words = 8 * beat_bytes / word_bits };

/* First and last bit of eight bytes of a word. */
constexpr int low(unsigned i)
{
    return static_cast<int>(word_bits * i);
}
constexpr int high(unsigned i)
{
    return static_cast<int>(word_bits * i + word_bits - 1);
}

/* Bytes before the first null byte. */
unsigned leading_bytes(uint64_t keep)
{
#pragma HLS INLINE
    unsigned bytes = 0;
    for (unsigned step = beat_bytes / 2; step != 0; step /= 2) {
#pragma HLS UNROLL
        const uint64_t ones = (uint64_t{1} << step) - 1;
        if ((keep & ones) == ones) {
            bytes += step;
            keep >>= step;
        }
    }
    return bytes + static_cast<unsigned>(keep & 1);
}

uint64_t low_bits(unsigned bits)
{
#pragma HLS INLINE
    return bits >= word_bits ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
}

} // namespace

beat beat_of_word(const axis_word &word)
{
#pragma HLS INLINE
    beat b;
    const uint64_t keep = word.keep.range(beat_bytes - 1, 0).to_uint64();
    const unsigned bytes = leading_bytes(keep);
    b.bytes = static_cast<uint8_t>(bytes == 0 ? 1 : bytes);
    b.last = word.last != 0;
    b.error = (b.last && word.user != 0) || keep != low_bits(b.bytes);
    for (unsigned i = 0; i < words; ++i) {
#pragma HLS UNROLL
        const unsigned valid = bytes <= 8 * i ? 0 : bytes - 8 * i;
        store_le64(b.byte + 8 * i, word.data.range(high(i), low(i)).to_uint64() & low_bits(8 * valid));
    }
    return b;
}

axis_word word_of_beat(const beat &b)
{
#pragma HLS INLINE
    axis_word word;
    for (unsigned i = 0; i < words; ++i) {
#pragma HLS UNROLL
        word.data.range(high(i), low(i)) = load_le64(b.byte + 8 * i);
    }
    word.keep.range(beat_bytes - 1, 0) = low_bits(b.bytes);
    word.strb = word.keep;
    word.last = b.last;
    word.user = b.last && b.error;
    word.id = 0;
    word.dest = 0;
    return word;
}

void rx(rx_state &s, hls::stream<axis_word> &in, hls::stream<beat> &out)
{
#pragma HLS PIPELINE II = 1
    if (in.empty() || out.full()) {
        return;
    }
    beat b = beat_of_word(in.read());
    if (s.swallow) {
        s.swallow = !b.last;
        return;
    }
    const bool oversize = !b.last && s.beats == frame_beats_max - 1;
    s.damaged = s.damaged || b.error || (!b.last && b.bytes != beat_bytes);
    s.swallow = oversize;
    if (b.last || oversize) {
        b.last = true;
        b.error = s.damaged || oversize;
        s.beats = 0;
        s.damaged = false;
    } else {
        b.bytes = beat_bytes; /* the null bytes are zero; the frame is damaged anyway */
        b.error = false;
        ++s.beats;
    }
    if (oversize) {
        b.bytes = beat_bytes;
    }
    out.write(b);
}

void tx(hls::stream<beat> &in, hls::stream<axis_word> &out)
{
#pragma HLS PIPELINE II = 1
    if (in.empty() || out.full()) {
        return;
    }
    out.write(word_of_beat(in.read()));
}

void packet_mux(packet_mux_state &s, hls::stream<beat> &a, hls::stream<beat> &b, hls::stream<beat> &out)
{
#pragma HLS PIPELINE II = 1
    if (out.full()) {
        return;
    }
    const bool in_a = !a.empty(), in_b = !b.empty();
    uint8_t from = s.from;
    if (!s.busy) {
        const bool other = from == 0 ? in_b : in_a;
        from = static_cast<uint8_t>(other ? from ^ 1 : from);
    }
    if (from == 0 ? !in_a : !in_b) {
        return;
    }
    const beat moved = from == 0 ? a.read() : b.read();
    s.from = from;
    s.busy = !moved.last;
    out.write(moved);
}

} // namespace card
