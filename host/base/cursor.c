/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cursor.h"

#include <string.h>

struct sl_cursor sl_cursor_make(const void *bytes, size_t len)
{
    static const uint8_t nothing[1];
    const uint8_t *at = bytes ? bytes : nothing;
    return (struct sl_cursor){.at = at, .end = at + (bytes ? len : 0)};
}

size_t sl_cursor_left(const struct sl_cursor *c)
{
    return (size_t)(c->end - c->at);
}

bool sl_cursor_empty(const struct sl_cursor *c)
{
    return c->at == c->end;
}

static sl_err read_uint(struct sl_cursor *c, size_t bytes, uint64_t *out)
{
    uint64_t v = 0;

    if (sl_cursor_left(c) < bytes)
        return SL_ERR_SHORT;
    for (size_t i = 0; i < bytes; i++)
        v = v << 8 | c->at[i];
    c->at += bytes;
    *out = v;
    return SL_OK;
}

sl_err sl_read_u8(struct sl_cursor *c, uint8_t *out)
{
    uint64_t v;
    sl_err err = read_uint(c, 1, &v);
    if (!err)
        *out = (uint8_t)v;
    return err;
}

sl_err sl_read_u16(struct sl_cursor *c, uint16_t *out)
{
    uint64_t v;
    sl_err err = read_uint(c, 2, &v);
    if (!err)
        *out = (uint16_t)v;
    return err;
}

sl_err sl_read_u24(struct sl_cursor *c, uint32_t *out)
{
    uint64_t v;
    sl_err err = read_uint(c, 3, &v);
    if (!err)
        *out = (uint32_t)v;
    return err;
}

sl_err sl_read_u32(struct sl_cursor *c, uint32_t *out)
{
    uint64_t v;
    sl_err err = read_uint(c, 4, &v);
    if (!err)
        *out = (uint32_t)v;
    return err;
}

sl_err sl_read_u64(struct sl_cursor *c, uint64_t *out)
{
    return read_uint(c, 8, out);
}

sl_err sl_read_span(struct sl_cursor *c, size_t len, struct sl_cursor *out)
{
    const uint8_t *at = c->at;

    if (sl_cursor_left(c) < len)
        return SL_ERR_SHORT;
    c->at = at + len;
    *out = (struct sl_cursor){.at = at, .end = at + len};
    return SL_OK;
}

sl_err sl_read_copy(struct sl_cursor *c, void *out, size_t len)
{
    if (sl_cursor_left(c) < len)
        return SL_ERR_SHORT;
    if (len > 0)
        memcpy(out, c->at, len);
    c->at += len;
    return SL_OK;
}

sl_err sl_read_skip(struct sl_cursor *c, size_t len)
{
    if (sl_cursor_left(c) < len)
        return SL_ERR_SHORT;
    c->at += len;
    return SL_OK;
}

static sl_err read_vec(struct sl_cursor *c, size_t prefix_bytes, struct sl_cursor *out)
{
    struct sl_cursor ahead = *c;
    struct sl_cursor body;
    uint64_t len;
    sl_err err;

    if ((err = read_uint(&ahead, prefix_bytes, &len)) || (err = sl_read_span(&ahead, (size_t)len, &body)))
        return err;
    *c = ahead; /* before *out, which may be the same cursor: parsers descend with sl_read_vec16(&c, &c) */
    *out = body;
    return SL_OK;
}

sl_err sl_read_vec8(struct sl_cursor *c, struct sl_cursor *out)
{
    return read_vec(c, 1, out);
}

sl_err sl_read_vec16(struct sl_cursor *c, struct sl_cursor *out)
{
    return read_vec(c, 2, out);
}

sl_err sl_read_vec24(struct sl_cursor *c, struct sl_cursor *out)
{
    return read_vec(c, 3, out);
}

struct sl_writer sl_writer_make(void *base, size_t cap)
{
    return (struct sl_writer){.base = base, .len = 0, .cap = base ? cap : 0};
}

static void store_uint(uint8_t *at, size_t bytes, uint64_t v)
{
    for (size_t i = bytes; i > 0; i--, v >>= 8)
        at[i - 1] = (uint8_t)v;
}

static sl_err write_uint(struct sl_writer *w, size_t bytes, uint64_t v)
{
    if (w->cap - w->len < bytes)
        return SL_ERR_SHORT;
    store_uint(w->base + w->len, bytes, v);
    w->len += bytes;
    return SL_OK;
}

sl_err sl_write_u8(struct sl_writer *w, uint8_t v)
{
    return write_uint(w, 1, v);
}

sl_err sl_write_u16(struct sl_writer *w, uint16_t v)
{
    return write_uint(w, 2, v);
}

sl_err sl_write_u24(struct sl_writer *w, uint32_t v)
{
    return v >> 24 ? SL_ERR_INVALID : write_uint(w, 3, v);
}

sl_err sl_write_u32(struct sl_writer *w, uint32_t v)
{
    return write_uint(w, 4, v);
}

sl_err sl_write_u64(struct sl_writer *w, uint64_t v)
{
    return write_uint(w, 8, v);
}

sl_err sl_write_bytes(struct sl_writer *w, const void *bytes, size_t len)
{
    if (w->cap - w->len < len)
        return SL_ERR_SHORT;
    if (len > 0)
        memcpy(w->base + w->len, bytes, len);
    w->len += len;
    return SL_OK;
}

sl_err sl_write_vec_begin(struct sl_writer *w, unsigned prefix_bytes, size_t *mark)
{
    size_t at = w->len;
    sl_err err;

    if (prefix_bytes < 1 || prefix_bytes > 3)
        return SL_ERR_INVALID;
    err = write_uint(w, prefix_bytes, 0);
    if (!err)
        *mark = at;
    return err;
}

sl_err sl_write_vec_end(struct sl_writer *w, unsigned prefix_bytes, size_t mark)
{
    size_t body;

    if (prefix_bytes < 1 || prefix_bytes > 3 || mark > w->len || w->len - mark < prefix_bytes)
        return SL_ERR_INVALID;
    body = w->len - mark - prefix_bytes;
    if (body >> (8 * prefix_bytes))
        return SL_ERR_LIMIT;
    store_uint(w->base + mark, prefix_bytes, body);
    return SL_OK;
}
