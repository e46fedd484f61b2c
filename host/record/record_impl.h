/* SPDX-License-Identifier: Apache-2.0 */
/* What record.c and transcoder.c share: one direction's cipher state and the arithmetic of headers, nonces and additional data.
 * Internal. */
#pragma once

#include "record/record.h"

struct sl_record {
    struct sl_record_half half; /* seq and epoch of the next record; key and secret for export and KeyUpdate */
    const struct sl_gcm_engine *engine;
    struct sl_gcm_key *key; /* in the same block, behind the struct; NULL: cleared */
    void *key_mem;
    uint64_t seal_limit; /* records under one key */
    sl_err dead;
    struct sl_gcm_stream stream;
};

enum { SL_RECORD_AAD_MAX = 13 };

/* Bytes of secret memory for a struct sl_record with its key object, a multiple of SL_GCM_ALIGN. */
size_t sl_record_size(const struct sl_gcm_engine *engine);

/* In place: mem is zeroed secret memory of sl_record_size bytes. Does not touch *half. sl_record_clear undoes it. */
sl_err sl_record_init(void *mem, const struct sl_gcm_engine *engine, const struct sl_record_half *half, struct sl_record **out);
void sl_record_clear(struct sl_record *r);

/* Bytes of explicit nonce in front of the text, and of nonce, inner type and tag together. */
size_t sl_record_nonce_bytes(uint16_t version);
size_t sl_record_overhead(uint16_t version);

/*
 *   0      1 2       3 4
 *  +------+---------+--------+
 *  | type | 03   03 | length |   length: of the fragment
 *  +------+---------+--------+
 * Alerts as errors: unexpected_message (type), decode_error (version), record_overflow, bad_record_mac (shorter than a tag).
 */
sl_err sl_record_parse_header(uint16_t version, const uint8_t header[SL_TLS_HEADER_BYTES], uint8_t *type, size_t *fragment);
void sl_record_write_header(uint8_t header[SL_TLS_HEADER_BYTES], uint8_t type, size_t fragment);

/* The IV for the next record. explicit_nonce: of a TLS 1.2 record that is opened; NULL when sealing and in TLS 1.3. */
void sl_record_iv(const struct sl_record *r, const uint8_t *explicit_nonce, uint8_t iv[SL_TLS_IV_BYTES]);
/* The explicit nonce of a TLS 1.2 record that is sealed: the sequence number. */
void sl_record_write_nonce(const struct sl_record *r, uint8_t nonce[SL_TLS12_NONCE_BYTES]);
/* The additional data for the next record; gives its length. */
size_t sl_record_aad(const struct sl_record *r, const uint8_t header[SL_TLS_HEADER_BYTES], size_t fragment,
                     uint8_t aad[SL_RECORD_AAD_MAX]);

/* Index after the last byte that is not zero; 0: all are. */
size_t sl_record_trim(const uint8_t *bytes, size_t len);

/* Seals text_len bytes that lie at record + header + explicit nonce; the rest of the record is written around them. In TLS 1.3 the
 * text includes inner type and padding. Moves the sequence number on. SL_ERR_CRYPTO: then it has not moved and the text is wiped.
 */
sl_err sl_record_seal_text(struct sl_record *r, uint8_t outer_type, uint8_t *record, size_t text_len);
