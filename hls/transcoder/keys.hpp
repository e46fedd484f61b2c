/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keys gives every piece the keys and nonces of its records and lays its bytes out in cipher blocks; mix applies the two
 * keystreams. Both are functions of the piece alone, but for the key memory.
 *
 *   pieces ─▶ keys ─┬─ keystream job, open ─▶ keystream ─┐
 *                   ├─ keystream job, seal ─▶ keystream ─┤
 *                   ├─ keyed piece ──────────────────────┴▶ mix ─┬─ mixed piece ─▶ finish
 *                   ├─ weight job, open ─▶ weights ─▶ ghash ◀────┼─ ghash job, open
 *                   └─ weight job, seal ─▶ weights ─▶ ghash ◀────┼─ ghash job, seal
 *                                                                └─ keystream job, mirror ─▶ keystream
 *
 * Only pieces with record data (crypts) have jobs.
 *
 * Hazard KEY_RAW: a piece that fills its slot, or loads a key set, is followed by one that reads it; the written element is
 * forwarded. Keys are on chip only while the slot is in use: fetch has a freed slot wiped before it gives it to another session
 * (G13).
 */
#pragma once

#include <hls_stream.h>

#include "aes_gcm/jobs.hpp"
#include "transcoder/streams.hpp"

namespace card
{

inline bool crypts(const piece &p)
{
    return p.a.valid;
}

struct keyed_piece {
    piece p;
    uint64_t flow;
    int8_t window_shift;
    piece_layout layout;
};

/* byte[] is what goes out, but for the tags, which are as they came. What follows window_shift is valid if crypts(p). */
struct mixed_piece {
    piece p;
    uint64_t flow;
    int8_t window_shift;
    text_range text_a, text_b;
    uint8_t plain[beat_bytes]; /* zero outside the text */
    uint8_t open_mask[16], seal_mask[16];
    uint8_t mirror_key[16]; /* of a */
};

struct keys_state {
    bool held; /* the piece waits for its key line or key set */
    keyed_piece piece;
    key_state slot[slots];
};

struct keys_in {
    hls::stream<piece> &pieces;
    hls::stream<key_state> &lines;
    hls::stream<key_load> &loads;
    hls::stream<uint16_t> &wipes;
};

struct keys_out {
    hls::stream<uint16_t> &wiped;
    hls::stream<keyed_piece> &pieces;
    hls::stream<keystream_job> &open_jobs, &seal_jobs;
    hls::stream<weight_job> &open_weights, &seal_weights;
};

constexpr unsigned keys_depth = 2; /* read the key memory; select by part */
void keys(keys_state &s, const keys_in &in, const keys_out &out);

struct mix_in {
    hls::stream<keyed_piece> &pieces;
    hls::stream<keystream_result> &open, &seal;
};

struct mix_out {
    hls::stream<mixed_piece> &pieces;
    hls::stream<ghash_job> &open_jobs, &seal_jobs;
    hls::stream<keystream_job> &mirror_jobs;
};

struct mix_state {
    bool held; /* the piece waits for its keystreams */
    keyed_piece piece;
    keystream_result open, seal;
    mixed_piece mixed; /* in the making */
};

constexpr unsigned mix_depth = 1;
void mix(mix_state &s, const mix_in &in, const mix_out &out);

/* True if the mirror gets text of this piece; then, and only then, there is a mirror job. */
inline bool mirrors(const piece &p)
{
    return crypts(p) && p.mirror;
}

} // namespace card
