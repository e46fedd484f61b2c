/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session in the card's memory: 384 bytes for each of its two directions (lanes), in six lines of 64 bytes, each with one owner
 * among the processes:
 *
 *     0 ..255   key_state     two key sets; read by `keys`, written by the host alone (write-only: never read back to it, G13)
 *   256 ..311   track_state   position in the stream and how to rewrite; owner `tracker`
 *   312 ..383   finish_state  hash in progress, tags for retransmissions; owner `finish`
 *
 * The words are those of the Linux kernel's TLS offload (Documentation/networking/tls-offload.rst). Integers are little-endian.
 * This header is plain enough for the host's C compiler, which writes sessions with it.
 */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
namespace card
{
#endif

/* The keys of one direction and epoch: records are opened with `open`, sealed with `seal`. */
struct key_set {
    uint8_t open_key[32], seal_key[32]; /* AES-128: the first 16, the rest zero */
    uint8_t open_h[16], seal_h[16];     /* E(K, 0) */
    uint8_t open_iv[12], seal_iv[12];   /* TLS 1.2: 4 bytes of salt, the rest zero */
    uint8_t long_keys;                  /* bit 0: open_key is an AES-256 key; bit 1: seal_key is */
};

struct key_state {
    struct key_set set[2]; /* one is current; the other is the next, or until that is installed the previous one */
    uint8_t flow[8];       /* the host's flow id, little-endian */
    int8_t window_shift;   /* TCP window: left if positive, saturating at 65535; right if negative; -14..14 */
    uint8_t reserved[5];
};

enum track_flag {
    track_tls13 = 1 << 0,
    track_mirror = 1 << 1,
    track_set = 1 << 2,  /* the current key set */
    track_next = 1 << 3, /* the other set holds the next keys */
    track_dead = 1 << 4,
    track_wait = 1 << 5,    /* a KeyUpdate came and the next keys are missing */
    track_ahead = 1 << 6,   /* ahead_from, ahead_to are valid */
    track_previous = 1 << 7 /* the other set still holds the previous keys */
};

/*
 * next - record_start bytes of the record in progress have come; its header is known when that is at least 5 (type and fragment
 * hold what has come of it). ring[0], ring[1]: whole lengths of the last and the last but one finished record, 0: not known, and
 * then everything older is not known either. ring_new of them belong to the current epoch, the others to the previous one.
 */
struct track_state {
    uint32_t next;         /* expected TCP sequence number */
    uint32_t record_start; /* TCP sequence number of the record in progress, or of the next one */
    uint32_t seal_seq;     /* record sequence numbers of that record */
    /* TLS 1.3: of the last record of the previous epoch, its KeyUpdate. TLS 1.2: upper and lower half of the record's explicit
     * nonce as it came, where a byte has not come yet: of the nonce of the record before plus one. */
    uint32_t old_seal_seq, old_open_seq;
    uint32_t seq_delta, ack_delta, tsval_delta, tsecr_delta; /* new = old + delta */
    uint16_t ring[2];
    uint16_t ahead_from, ahead_to; /* offsets in the record: [from, to) came ahead of a hole */
    uint16_t fragment;             /* length field of the record in progress */
    uint8_t open_seq[6];
    uint8_t type;  /* outer content type of the record in progress */
    uint8_t flags; /* enum track_flag */
    uint8_t ring_new;
    uint8_t epoch; /* KeyUpdates since the session was installed, modulo 256 */
};

/* tail: the last content bytes of the record in progress up to the last one that is not zero (TLS 1.2: simply the last ones),
 * right-aligned, zero-filled; tail_end: so many text bytes lie up to there (0: none but zeros so far). */
struct finish_state {
    uint8_t open_hash[16], seal_hash[16]; /* sum of the contributions to GHASH so far (aes_gcm/ghash.hpp) */
    uint8_t ring_tag[2][16];              /* outgoing tags of the finished records of track_state.ring */
    uint8_t tail[6];
    uint16_t tail_end;
};

struct session_state {
    struct key_state keys;
    struct track_state track;
    struct finish_state finish;
};

#ifdef __cplusplus
static_assert(sizeof(key_state) == 256, "four lines");
static_assert(sizeof(track_state) == 56, "the rest of the fifth line and ...");
static_assert(sizeof(finish_state) == 72, "... the sixth");
static_assert(2 * sizeof(session_state) <= 768, "memory of a session, both directions");
} // namespace card
#endif
