/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One direction of one leg, a whole record at a time: for tests and simple uses. Streams between two legs go through
 * record/transcoder.h.
 *
 *   TLS 1.3  23 03 03 len | AEAD(content, type, zeros)  | tag      aad = the header         nonce = iv XOR seq
 *   TLS 1.2  type 03 03 len | explicit nonce | AEAD(content) | tag  aad = seq type 03 03 len(content)   nonce = salt || seq
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "record/gcm.h"
#include "record/keys.h"

#define SL_RECORD_SEAL_MAX UINT64_C(23726566) /* floor(2^24.5) records under one key, RFC 8446 section 5.5 (G3) */

struct sl_record; /* a key, its sequence number and epoch; in secret memory */

/* Takes the half over: *half is wiped on success and unchanged on failure. engine NULL: the default. SL_ERR_INVALID: an empty half.
 */
sl_err sl_record_new(const struct sl_gcm_engine *engine, struct sl_record_half *half, struct sl_record **out);
void sl_record_free(struct sl_record *r); /* wipes; NULL is allowed */

uint64_t sl_record_seq(const struct sl_record *r);
uint64_t sl_record_epoch(const struct sl_record *r);

/* To the next key (TLS 1.3). Errors as sl_record_half_step. */
sl_err sl_record_step(struct sl_record *r);

/*
 * Seals len bytes of content into a record at out (padding zero bytes follow the type in TLS 1.3; must be 0 in TLS 1.2); *out_len
 * is its length. out does not overlap content. SL_ERR_SHORT: out_cap is too small. SL_ERR_INVALID: content and padding are longer
 * than a record may be. SL_ERR_LIMIT: SL_RECORD_SEAL_MAX. After a failure the sequence number has not
 * moved and nothing sealed is in out.
 */
sl_err sl_record_seal(struct sl_record *r, enum sl_tls_content type, const uint8_t *content, size_t len, size_t padding,
                      uint8_t *out, size_t out_cap, size_t *out_len);

/*
 * Opens one whole record (header included, exactly len bytes) to out, which holds len bytes and does not overlap it. Alerts as
 * errors: unexpected_message, record_overflow, decode_error (the length does not match the header), bad_record_mac. After a failure
 * nothing of the plaintext is in out, and the object is dead: every later call gives the same error (G6). SL_ERR_LIMIT: the
 * sequence number is the last one.
 */
sl_err sl_record_open(struct sl_record *r, const uint8_t *record, size_t len, uint8_t *out, enum sl_tls_content *type,
                      size_t *content_len, size_t *padding);
