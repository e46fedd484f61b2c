/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growable byte buffer with a ceiling. Bytes are appended at the tail and consumed at the head.
 * An empty buffer owns no memory, so that an idle connection costs nothing. Failure leaves the buffer unchanged.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct sl_buf {
    uint8_t *base;
    size_t head, tail, cap; /* the content is base[head..tail) */
    size_t limit;           /* SL_ERR_LIMIT beyond so many bytes of content */
};

void sl_buf_init(struct sl_buf *b, size_t limit);
void sl_buf_free(struct sl_buf *b); /* releases the memory; the buffer is then empty and usable */
size_t sl_buf_len(const struct sl_buf *b);
const uint8_t *sl_buf_data(const struct sl_buf *b);
/* bytes must not lie in the buffer itself. */
sl_err sl_buf_append(struct sl_buf *b, const void *bytes, size_t len);
/* Room for len more bytes at *out; sl_buf_commit says how many of them were filled. */
sl_err sl_buf_reserve(struct sl_buf *b, size_t len, uint8_t **out);
void sl_buf_commit(struct sl_buf *b, size_t len);
/* Drops len bytes (at most the content) at the head; a buffer that becomes empty gives its memory back. */
void sl_buf_consume(struct sl_buf *b, size_t len);
sl_err sl_buf_printf(struct sl_buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
