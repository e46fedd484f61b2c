/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CAP = 256 };

void sl_buf_init(struct sl_buf *b, size_t limit)
{
    *b = (struct sl_buf){.limit = limit};
}

void sl_buf_free(struct sl_buf *b)
{
    free(b->base);
    sl_buf_init(b, b->limit);
}

size_t sl_buf_len(const struct sl_buf *b)
{
    return b->tail - b->head;
}

const uint8_t *sl_buf_data(const struct sl_buf *b)
{
    static const uint8_t nothing[1];
    return b->base ? b->base + b->head : nothing;
}

/* The next power of two that holds need bytes, but no more than the limit: need itself is within it. */
static size_t grown_cap(const struct sl_buf *b, size_t need)
{
    size_t cap = b->cap ? b->cap : FIRST_CAP;

    while (cap < need && cap <= b->limit / 2)
        cap *= 2;
    if (cap > b->limit || cap < need)
        cap = b->limit;
    return cap;
}

sl_err sl_buf_reserve(struct sl_buf *b, size_t len, uint8_t **out)
{
    size_t content = sl_buf_len(b);
    uint8_t *base = b->base;
    size_t cap = b->cap;

    if (content > b->limit || len > b->limit - content)
        return SL_ERR_LIMIT;
    if (base && len <= b->cap - b->tail)
        goto Exit;
    if (!base || content + len > b->cap) {
        cap = grown_cap(b, content + len);
        base = malloc(cap > 0 ? cap : 1);
        if (!base)
            return SL_ERR_NOMEM;
    }
    if (b->base && content > 0)
        memmove(base, b->base + b->head, content);
    if (base != b->base)
        free(b->base);
    *b = (struct sl_buf){.base = base, .head = 0, .tail = content, .cap = cap, .limit = b->limit};
Exit:
    *out = b->base + b->tail;
    return SL_OK;
}

void sl_buf_commit(struct sl_buf *b, size_t len)
{
    size_t room = b->cap - b->tail;

    b->tail += len < room ? len : room;
    if (b->head == b->tail)
        sl_buf_free(b);
}

sl_err sl_buf_append(struct sl_buf *b, const void *bytes, size_t len)
{
    uint8_t *room;
    sl_err err;

    if (len == 0)
        return SL_OK;
    err = sl_buf_reserve(b, len, &room);
    if (err)
        return err;
    memcpy(room, bytes, len);
    sl_buf_commit(b, len);
    return SL_OK;
}

void sl_buf_consume(struct sl_buf *b, size_t len)
{
    if (len >= sl_buf_len(b))
        sl_buf_free(b);
    else
        b->head += len;
}

sl_err sl_buf_printf(struct sl_buf *b, const char *format, ...)
{
    va_list args;
    char *text = NULL;
    int len;
    sl_err err;

    va_start(args, format);
    len = vasprintf(&text, format, args);
    va_end(args);
    if (len < 0)
        return SL_ERR_NOMEM;
    err = sl_buf_append(b, text, (size_t)len);
    free(text);
    return err;
}
