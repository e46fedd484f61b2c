/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the secrets of a finished handshake to record keys.
 *
 *   TLS 1.3 (RFC 8446 sections 7.1-7.3): client/server_application_traffic_secret_N --HKDF-Expand-Label--> key, iv, next secret
 *   TLS 1.2 (RFC 5246 section 6.3, RFC 5288): master secret and both randoms --PRF--> key block: two keys, two 4-byte salts
 *
 * A leg (one TLS connection: client to Sluice, or Sluice to server) has two directions, each a `struct sl_record_half`. For the
 * flow client -> server the transcoder opens with client_leg.client_write and seals with server_leg.client_write; for the other way
 * it opens with server_leg.server_write and seals with client_leg.server_write.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "record/tls.h"

/* Holds secrets: only ever in memory of sl_secret_alloc (sl_record_leg_new). Copying one and using both copies would use nonces
 * twice; whoever consumes a half wipes it. */
struct sl_record_half {
    uint16_t version; /* 0: empty (never set, or consumed) */
    uint16_t suite;
    uint8_t key_len;
    uint8_t secret_len;              /* TLS 1.3: of the traffic secret; TLS 1.2: 0, there is no next key */
    uint64_t epoch;                  /* KeyUpdates since the first application traffic secret; TLS 1.2: 0 */
    uint64_t seq;                    /* record sequence number of the next record */
    uint8_t secret[SL_TLS_HASH_MAX]; /* traffic secret of this epoch */
    uint8_t key[SL_TLS_KEY_MAX];
    uint8_t iv[SL_TLS_IV_BYTES]; /* TLS 1.2: 4 bytes of salt, the rest zero */
};

struct sl_record_leg {
    struct sl_record_half client_write, server_write;
};

#define SL_RECORD_EPOCH_MAX ((UINT64_C(1) << 48) - 1) /* as sender, RFC 9846 (G5) */

/* An empty leg in secret memory. SL_ERR_NOMEM. */
sl_err sl_record_leg_new(struct sl_record_leg **out);
void sl_record_leg_free(struct sl_record_leg *leg); /* wipes; NULL is allowed */

/*
 * Fills one half from a TLS 1.3 application traffic secret of the given epoch; seq is the number of records already sent under it.
 * SL_ERR_UNSUPPORTED: not a TLS 1.3 AES-GCM suite. SL_ERR_INVALID: secret_len isn't the hash length, or epoch >
 * SL_RECORD_EPOCH_MAX. SL_ERR_CRYPTO. After a failure *half is all zero.
 */
sl_err sl_record_half_tls13(struct sl_record_half *half, uint16_t suite, const uint8_t *secret, size_t secret_len, uint64_t epoch,
                            uint64_t seq);

/*
 * Fills both halves of a TLS 1.2 leg. The master secret is the 48-byte one, extended or not. client_seq and server_seq count the
 * records already sent under the keys in each direction: at least 1, the Finished message. Errors as above; after a failure *leg is
 * all zero.
 */
sl_err sl_record_leg_tls12(struct sl_record_leg *leg, uint16_t suite, const uint8_t master[SL_TLS12_MASTER_BYTES],
                           const uint8_t client_random[SL_TLS_RANDOM_BYTES], const uint8_t server_random[SL_TLS_RANDOM_BYTES],
                           uint64_t client_seq, uint64_t server_seq);

/* TLS 1.3 KeyUpdate: the next secret, key and iv; seq = 0, epoch + 1. SL_ERR_UNSUPPORTED: TLS 1.2. SL_ERR_LIMIT: the epoch is the
 * last one. SL_ERR_CRYPTO. After a failure *half is unchanged. */
sl_err sl_record_half_step(struct sl_record_half *half);

/* Moves a half: *to gets it, *from is wiped (G1). */
void sl_record_half_move(struct sl_record_half *to, struct sl_record_half *from);

/* HKDF-Expand-Label(secret, label, context, out_len) with the "tls13 " prefix. secret_len is the hash length; label and context are
 * at most 249 and 255 bytes, out_len at most 255 hash lengths (SL_ERR_INVALID). After a failure out is zero. */
sl_err sl_hkdf_expand_label(enum sl_hash hash, const uint8_t *secret, const char *label, const uint8_t *context, size_t context_len,
                            uint8_t *out, size_t out_len);

/* The TLS 1.2 PRF over the concatenation of two seeds (either may be NULL with length 0). After a failure out is zero. */
sl_err sl_tls12_prf(enum sl_hash hash, const uint8_t *secret, size_t secret_len, const char *label, const uint8_t *seed1,
                    size_t seed1_len, const uint8_t *seed2, size_t seed2_len, uint8_t *out, size_t out_len);
