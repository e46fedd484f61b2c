/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session of the cpu engine in one direction: a half. What the card keeps in six lines (hls/common/session.hpp) is here in the
 * machine's types, with two AES-GCM key objects behind it, which are made when the first record needs them:
 *
 *   | struct sl_cpu_half, 384 bytes | open key | seal key |     in secret memory, slabs of SL_SECRET_MAX
 *
 * Keys of the epoch before, or of the next one, lie there as bytes only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "card/engine.h"
#include "record/gcm.h"

struct sl_cpu_half_keys {
    uint8_t open_key[32], seal_key[32], open_iv[12], seal_iv[12];
};

enum { SL_CPU_TAIL_BYTES = 6 };

struct sl_cpu_half {
    uint64_t flow;
    uint64_t packets, bytes, last_ns;
    uint64_t open_seq; /* of the record in progress */
    uint8_t *text;     /* its plaintext as far as it has come, if mirrored; secret memory */
    uint32_t next;     /* expected TCP sequence number */
    uint32_t record_start;
    uint32_t seal_seq;
    /* TLS 1.3: of the last record of the previous epoch. TLS 1.2: halves of the explicit nonce, see track_state. */
    uint32_t old_seal_seq, old_open_seq;
    uint32_t seq_delta, ack_delta, tsval_delta, tsecr_delta;
    uint16_t ring[2];              /* lengths of the last and last but one record; 0: forgotten */
    uint16_t ahead_from, ahead_to; /* offsets in the record */
    uint16_t fragment;
    uint16_t tail_end;               /* so many text bytes lie up to the last one that is not zero */
    uint8_t tail[SL_CPU_TAIL_BYTES]; /* the text before tail_end, as far as it has come */
    int8_t window_shift;
    uint8_t type;
    uint8_t flags; /* enum track_flag */
    uint8_t ring_new;
    uint8_t epoch;
    uint8_t long_keys[2];                                                 /* bit 0: open_key is of 256 bits; bit 1: seal_key */
    bool ready;                                                           /* the key objects are those of the current set */
    uint8_t open_hash[SL_GCM_HASH_BYTES], seal_hash[SL_GCM_HASH_BYTES];   /* of the text before next, or before the hole */
    uint8_t ahead_open[SL_GCM_HASH_BYTES], ahead_seal[SL_GCM_HASH_BYTES]; /* of what came ahead */
    uint8_t ring_tag[2][SL_GCM_TAG_BYTES];
    struct sl_cpu_half_keys set[2];
};
_Static_assert(sizeof(struct sl_cpu_half) <= 384, "nine halves with their keys fill a slab");

static inline unsigned sl_cpu_half_set(const struct sl_cpu_half *h)
{
    return (h->flags & track_set) != 0;
}

static inline bool sl_cpu_half_is(const struct sl_cpu_half *h, unsigned flag)
{
    return (h->flags & flag) != 0;
}

/* ---- memory ---- */

struct sl_cpu_half_pool;

/* engine: must have random access. SL_ERR_NOMEM. */
sl_err sl_cpu_half_pool_new(const struct sl_gcm_engine *engine, struct sl_cpu_half_pool **out);
/* Wipes all halves. NULL is allowed. */
void sl_cpu_half_pool_free(struct sl_cpu_half_pool *p);
size_t sl_cpu_half_pool_bytes(const struct sl_cpu_half_pool *p); /* of a half, with its share of the slab */
const struct sl_gcm_engine *sl_cpu_half_pool_engine(const struct sl_cpu_half_pool *p);

/* A zeroed half. SL_ERR_NOMEM. */
sl_err sl_cpu_half_new(struct sl_cpu_half_pool *p, struct sl_cpu_half **out);
/* Wipes it, its keys and its plaintext. */
void sl_cpu_half_free(struct sl_cpu_half_pool *p, struct sl_cpu_half *h);

/* ---- state and keys ---- */

/* A state that the host may install: between two records, and nothing in it that cannot be. */
bool sl_cpu_half_state_is_sound(const struct session_state *state);
void sl_cpu_half_install(struct sl_cpu_half *h, uint64_t flow, const struct session_state *state);

/* The host's command `keys` (docs/card.md, KeyUpdate); what is not allowed kills the session. */
void sl_cpu_half_set_keys(struct sl_cpu_half_pool *p, struct sl_cpu_half *h, unsigned set, const struct key_set *keys);

/* The key objects of the current set; makes them. SL_ERR_NOMEM, SL_ERR_CRYPTO: there are none. */
struct sl_cpu_half_ciphers {
    struct sl_gcm_key *open, *seal;
};
sl_err sl_cpu_half_ciphers(struct sl_cpu_half_pool *p, struct sl_cpu_half *h, struct sl_cpu_half_ciphers *out);
/* Those of the other set, for retransmissions: valid until sl_cpu_half_other_done. */
sl_err sl_cpu_half_other(struct sl_cpu_half_pool *p, const struct sl_cpu_half *h, struct sl_cpu_half_ciphers *out);
void sl_cpu_half_other_done(struct sl_cpu_half_pool *p);
/* The key objects are of a set that is no longer current. */
void sl_cpu_half_drop_ciphers(struct sl_cpu_half_pool *p, struct sl_cpu_half *h);

/* Records of the previous epoch are forgotten. */
void sl_cpu_half_forget_previous(struct sl_cpu_half *h);
/* The session is dead; its plaintext is wiped. */
void sl_cpu_half_kill(struct sl_cpu_half *h);
