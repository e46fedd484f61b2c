/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounds-checked reading and writing of wire formats (big-endian). Parsers look like the grammar and touch no raw pointer.
 *
 * Reading: on failure (SL_ERR_SHORT) the cursor and the outputs are unchanged.
 * Writing: on failure (SL_ERR_SHORT) the writer is unchanged.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct sl_cursor {
    const uint8_t *at;
    const uint8_t *end;
};

struct sl_cursor sl_cursor_make(const void *bytes, size_t len); /* bytes may be NULL if len is 0 */
size_t sl_cursor_left(const struct sl_cursor *c);
bool sl_cursor_empty(const struct sl_cursor *c);

sl_err sl_read_u8(struct sl_cursor *c, uint8_t *out);
sl_err sl_read_u16(struct sl_cursor *c, uint16_t *out);
sl_err sl_read_u24(struct sl_cursor *c, uint32_t *out);
sl_err sl_read_u32(struct sl_cursor *c, uint32_t *out);
sl_err sl_read_u64(struct sl_cursor *c, uint64_t *out);
sl_err sl_read_span(struct sl_cursor *c, size_t len, struct sl_cursor *out); /* out borrows the input */
sl_err sl_read_copy(struct sl_cursor *c, void *out, size_t len);
sl_err sl_read_skip(struct sl_cursor *c, size_t len);
/* A vector with a length prefix of 1, 2 or 3 bytes (TLS presentation language, RFC 8446 section 3.4). */
sl_err sl_read_vec8(struct sl_cursor *c, struct sl_cursor *out);
sl_err sl_read_vec16(struct sl_cursor *c, struct sl_cursor *out);
sl_err sl_read_vec24(struct sl_cursor *c, struct sl_cursor *out);

struct sl_writer {
    uint8_t *base; /* owned by the caller */
    size_t len;    /* written so far */
    size_t cap;
};

struct sl_writer sl_writer_make(void *base, size_t cap);
sl_err sl_write_u8(struct sl_writer *w, uint8_t v);
sl_err sl_write_u16(struct sl_writer *w, uint16_t v);
sl_err sl_write_u24(struct sl_writer *w, uint32_t v); /* SL_ERR_INVALID if v >= 2^24 */
sl_err sl_write_u32(struct sl_writer *w, uint32_t v);
sl_err sl_write_u64(struct sl_writer *w, uint64_t v);
sl_err sl_write_bytes(struct sl_writer *w, const void *bytes, size_t len);
/* Opens a vector whose length prefix has prefix_bytes (1..3) bytes; *mark is passed to the closing call, which fills the length in.
 */
sl_err sl_write_vec_begin(struct sl_writer *w, unsigned prefix_bytes, size_t *mark);
sl_err sl_write_vec_end(struct sl_writer *w, unsigned prefix_bytes, size_t mark); /* SL_ERR_LIMIT: too long for its prefix */
