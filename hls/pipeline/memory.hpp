/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line of 64 bytes in memory behind a port of 512 bits: host memory, HBM or DDR. On the card the caller's loop is pipelined, so
 * that as many accesses are under way as the port allows.
 */
#pragma once

#include <ap_int.h>
#include <hls_burst_maxi.h>

#include "control/line.hpp"

namespace card
{

typedef ap_uint<8 * beat_bytes> memory_word;
typedef hls::burst_maxi<memory_word> memory_port;

constexpr uint64_t whole_line = ~UINT64_C(0);

inline control_line line_of_word(const memory_word &word)
{
#pragma HLS INLINE
    control_line line;
    for (int i = 0; i < static_cast<int>(beat_bytes / 8); i++) {
#pragma HLS UNROLL
        store_le<8>(line.byte + 8 * i, word.range(64 * i + 63, 64 * i).to_uint64());
    }
    return line;
}

inline memory_word word_of_line(const control_line &line)
{
#pragma HLS INLINE
    memory_word word;
    for (int i = 0; i < static_cast<int>(beat_bytes / 8); i++) {
#pragma HLS UNROLL
        word.range(64 * i + 63, 64 * i) = load_le<8>(line.byte + 8 * i);
    }
    return word;
}

inline control_line read_line(memory_port memory, uint32_t at)
{
#pragma HLS INLINE
    memory.read_request(at, 1);
    return line_of_word(memory.read());
}

/* Byte i is written if bit i of `enable` is set. When it returns memory has it; a port writes in order. */
inline void write_line(memory_port memory, uint32_t at, const control_line &line, uint64_t enable)
{
#pragma HLS INLINE
    memory.write_request(at, 1);
    memory.write(word_of_line(line), ap_uint<beat_bytes>(enable));
    memory.write_response();
}

} // namespace card
