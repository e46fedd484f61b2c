/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES encryption of single blocks (FIPS 197). A leaf: pure functions over 32-bit words, that include nothing but <stdint.h>, so
 * that other HLS compilers than Vitis (Bambu) can synthesise them alone; the top function for that is aes_encrypt.
 *
 * A word is a column of the state, its first byte on top. Round keys are made on the way, one a stage, so neither keys nor
 * schedules are stored anywhere and every block may come with another key. All keys take the same time:
 *
 *   stage       0          1     2     3     4     5    ...    14
 *   AES-256   whiten     round round round round round  ...  last round
 *   AES-128   whiten       (      waits       )  round  ...  last round
 *
 * so that only the first stages have to choose and the last round is always the last stage.
 *
 * Levels of LUT6 in a stage: S-box 1 (256 x 1 bit: four LUT6 and the slice's F7 and F8 multiplexers), MixColumns and round key 2
 * (8 inputs a bit), wait 1. The key of a stage is made in the stage before: rotate or not 1, S-box 1, prefix XOR with the base
 * words chosen meanwhile 1.
 */
#pragma once

#include <stdint.h>

namespace card
{

enum : unsigned { aes_stages = 14 /* after the whitening */ };

struct aes_block {
    uint32_t word[4];
};

/* An AES-128 key is the first 4 words. */
struct aes_key {
    uint32_t word[8];
    bool long_key;
};

/* The last 8 words of the key schedule; AES-128 needs only the newer ones. */
struct aes_window {
    uint32_t older[4], newer[4];
};

namespace portable
{

static const uint8_t aes_sbox[256] = {
    0x63, 0x7c, 0x77, 0x7b, 0xf2, 0x6b, 0x6f, 0xc5, 0x30, 0x01, 0x67, 0x2b, 0xfe, 0xd7, 0xab, 0x76, 0xca, 0x82, 0xc9, 0x7d,
    0xfa, 0x59, 0x47, 0xf0, 0xad, 0xd4, 0xa2, 0xaf, 0x9c, 0xa4, 0x72, 0xc0, 0xb7, 0xfd, 0x93, 0x26, 0x36, 0x3f, 0xf7, 0xcc,
    0x34, 0xa5, 0xe5, 0xf1, 0x71, 0xd8, 0x31, 0x15, 0x04, 0xc7, 0x23, 0xc3, 0x18, 0x96, 0x05, 0x9a, 0x07, 0x12, 0x80, 0xe2,
    0xeb, 0x27, 0xb2, 0x75, 0x09, 0x83, 0x2c, 0x1a, 0x1b, 0x6e, 0x5a, 0xa0, 0x52, 0x3b, 0xd6, 0xb3, 0x29, 0xe3, 0x2f, 0x84,
    0x53, 0xd1, 0x00, 0xed, 0x20, 0xfc, 0xb1, 0x5b, 0x6a, 0xcb, 0xbe, 0x39, 0x4a, 0x4c, 0x58, 0xcf, 0xd0, 0xef, 0xaa, 0xfb,
    0x43, 0x4d, 0x33, 0x85, 0x45, 0xf9, 0x02, 0x7f, 0x50, 0x3c, 0x9f, 0xa8, 0x51, 0xa3, 0x40, 0x8f, 0x92, 0x9d, 0x38, 0xf5,
    0xbc, 0xb6, 0xda, 0x21, 0x10, 0xff, 0xf3, 0xd2, 0xcd, 0x0c, 0x13, 0xec, 0x5f, 0x97, 0x44, 0x17, 0xc4, 0xa7, 0x7e, 0x3d,
    0x64, 0x5d, 0x19, 0x73, 0x60, 0x81, 0x4f, 0xdc, 0x22, 0x2a, 0x90, 0x88, 0x46, 0xee, 0xb8, 0x14, 0xde, 0x5e, 0x0b, 0xdb,
    0xe0, 0x32, 0x3a, 0x0a, 0x49, 0x06, 0x24, 0x5c, 0xc2, 0xd3, 0xac, 0x62, 0x91, 0x95, 0xe4, 0x79, 0xe7, 0xc8, 0x37, 0x6d,
    0x8d, 0xd5, 0x4e, 0xa9, 0x6c, 0x56, 0xf4, 0xea, 0x65, 0x7a, 0xae, 0x08, 0xba, 0x78, 0x25, 0x2e, 0x1c, 0xa6, 0xb4, 0xc6,
    0xe8, 0xdd, 0x74, 0x1f, 0x4b, 0xbd, 0x8b, 0x8a, 0x70, 0x3e, 0xb5, 0x66, 0x48, 0x03, 0xf6, 0x0e, 0x61, 0x35, 0x57, 0xb9,
    0x86, 0xc1, 0x1d, 0x9e, 0xe1, 0xf8, 0x98, 0x11, 0x69, 0xd9, 0x8e, 0x94, 0x9b, 0x1e, 0x87, 0xe9, 0xce, 0x55, 0x28, 0xdf,
    0x8c, 0xa1, 0x89, 0x0d, 0xbf, 0xe6, 0x42, 0x68, 0x41, 0x99, 0x2d, 0x0f, 0xb0, 0x54, 0xbb, 0x16};

inline uint32_t aes_byte(uint32_t word, unsigned index)
{
#pragma HLS INLINE
    return word >> (24 - 8 * index) & 0xff;
}

inline uint32_t aes_pack(uint32_t b0, uint32_t b1, uint32_t b2, uint32_t b3)
{
#pragma HLS INLINE
    return b0 << 24 | b1 << 16 | b2 << 8 | b3;
}

inline uint32_t aes_rotate(uint32_t word, unsigned bytes)
{
#pragma HLS INLINE
    return word << 8 * bytes | word >> (32 - 8 * bytes);
}

inline uint32_t aes_sub_word(uint32_t word)
{
#pragma HLS INLINE
    return aes_pack(aes_sbox[aes_byte(word, 0)], aes_sbox[aes_byte(word, 1)], aes_sbox[aes_byte(word, 2)],
                    aes_sbox[aes_byte(word, 3)]);
}

/* Each byte times x modulo x^8 + x^4 + x^3 + x + 1. */
inline uint32_t aes_times_x(uint32_t word)
{
#pragma HLS INLINE
    const uint32_t carry = word >> 7 & 0x01010101;
    return (word & 0x7f7f7f7f) << 1 ^ carry ^ carry << 1 ^ carry << 3 ^ carry << 4;
}

/* Byte i of the column becomes 2 b[i] + 3 b[i+1] + b[i+2] + b[i+3]. */
inline uint32_t aes_mix_column(uint32_t word)
{
#pragma HLS INLINE
    const uint32_t next = aes_rotate(word, 1);
    return aes_times_x(word ^ next) ^ next ^ aes_rotate(word, 2) ^ aes_rotate(word, 3);
}

inline aes_block aes_add(const aes_block &a, const uint32_t key[4])
{
#pragma HLS INLINE
    aes_block sum;
    for (unsigned i = 0; i < 4; i++) {
#pragma HLS UNROLL
        sum.word[i] = a.word[i] ^ key[i];
    }
    return sum;
}

/* SubBytes and ShiftRows. */
inline aes_block aes_sub_shift(const aes_block &a)
{
#pragma HLS INLINE
    aes_block out;
    for (unsigned i = 0; i < 4; i++) {
#pragma HLS UNROLL
        out.word[i] = aes_pack(aes_sbox[aes_byte(a.word[i], 0)], aes_sbox[aes_byte(a.word[(i + 1) % 4], 1)],
                               aes_sbox[aes_byte(a.word[(i + 2) % 4], 2)], aes_sbox[aes_byte(a.word[(i + 3) % 4], 3)]);
    }
    return out;
}

inline aes_block aes_round(const aes_block &a, const uint32_t key[4])
{
#pragma HLS INLINE off
#pragma HLS PIPELINE II = 1
    aes_block out = aes_sub_shift(a);
    for (unsigned i = 0; i < 4; i++) {
#pragma HLS UNROLL
        out.word[i] = aes_mix_column(out.word[i]);
    }
    return aes_add(out, key);
}

inline aes_block aes_last_round(const aes_block &a, const uint32_t key[4])
{
#pragma HLS INLINE off
#pragma HLS PIPELINE II = 1
    return aes_add(aes_sub_shift(a), key);
}

inline aes_window aes_first_window(const aes_key &key)
{
#pragma HLS INLINE
    aes_window w;
    for (unsigned i = 0; i < 4; i++) {
#pragma HLS UNROLL
        w.older[i] = key.word[i];
        w.newer[i] = key.long_key ? key.word[4 + i] : key.word[i];
    }
    return w;
}

inline bool aes_waits(unsigned stage, bool long_key)
{
#pragma HLS INLINE
    return stage <= 4 && !long_key;
}

/* The window whose newer half is the round key of the stage, from that of the stage before. `stage` is a constant once unrolled. */
inline aes_window aes_next_window(const aes_window &w, unsigned stage, bool long_key)
{
#pragma HLS INLINE
    static const uint8_t rcon[11] = {0, 0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x1b, 0x36};
    if (stage == 1 || aes_waits(stage, long_key)) /* AES-256 begins with two round keys */
        return w;
    const bool turn = !long_key || stage % 2 == 0;
    const uint32_t last = w.newer[3];
    uint32_t word = aes_sub_word(turn ? aes_rotate(last, 1) : last);
    if (turn)
        word ^= static_cast<uint32_t>(rcon[long_key ? stage / 2 : stage - 4]) << 24;
    aes_window out;
    for (unsigned i = 0; i < 4; i++) {
#pragma HLS UNROLL
        word ^= long_key ? w.older[i] : w.newer[i];
        out.older[i] = w.newer[i];
        out.newer[i] = word;
    }
    return out;
}

/*
 * Blocks side by side under two keys, in place: lane i is encrypted with b if use_b[i], else with a. The lanes share the two key
 * expansions.
 */
template <unsigned lanes> void aes_lanes(aes_block block[lanes], const bool use_b[lanes], const aes_key &a, const aes_key &b)
{
#pragma HLS INLINE
    aes_window window_a = aes_first_window(a), window_b = aes_first_window(b);
    for (unsigned i = 0; i < lanes; i++) {
#pragma HLS UNROLL
        block[i] = aes_add(block[i], use_b[i] ? b.word : a.word);
    }
    for (unsigned stage = 1; stage <= aes_stages; stage++) {
#pragma HLS UNROLL
        window_a = aes_next_window(window_a, stage, a.long_key);
        window_b = aes_next_window(window_b, stage, b.long_key);
        for (unsigned i = 0; i < lanes; i++) {
#pragma HLS UNROLL
            const uint32_t *key = use_b[i] ? window_b.newer : window_a.newer;
            if (stage == aes_stages)
                block[i] = aes_last_round(block[i], key);
            else if (!aes_waits(stage, use_b[i] ? b.long_key : a.long_key))
                block[i] = aes_round(block[i], key);
        }
    }
}

/* One block; the top function where this file is synthesised alone. */
inline aes_block aes_encrypt(const aes_block &in, const aes_key &key)
{
#pragma HLS PIPELINE II = 1
    aes_block block = aes_add(in, key.word);
    aes_window window = aes_first_window(key);
    for (unsigned stage = 1; stage <= aes_stages; stage++) {
#pragma HLS UNROLL
        window = aes_next_window(window, stage, key.long_key);
        if (stage == aes_stages)
            block = aes_last_round(block, window.newer);
        else if (!aes_waits(stage, key.long_key))
            block = aes_round(block, window.newer);
    }
    return block;
}

} // namespace portable
} // namespace card
