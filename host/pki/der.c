/* SPDX-License-Identifier: Apache-2.0 */
#include "pki/der.h"

#include <string.h>

sl_err sl_der_read(struct sl_cursor *c, uint8_t *tag, struct sl_cursor *content)
{
    struct sl_cursor at = *c, body;
    uint8_t t, first, byte;
    size_t len;
    sl_err err;

    if ((err = sl_read_u8(&at, &t)) || (err = sl_read_u8(&at, &first)))
        return err;
    if ((t & 0x1f) == 0x1f || first == 0x80 || first > 0x83)
        return SL_ERR_CORRUPT;
    len = first < 0x80 ? first : 0;
    for (unsigned i = 0; first > 0x80 && i < (first & 3U); i++) {
        if ((err = sl_read_u8(&at, &byte)))
            return err;
        len = len << 8 | byte;
    }
    if ((err = sl_read_span(&at, len, &body)))
        return err;
    *tag = t;
    *content = body;
    *c = at;
    return SL_OK;
}

void sl_der_writer_init(struct sl_der_writer *w, uint8_t *base, size_t cap)
{
    *w = (struct sl_der_writer){.base = base, .at = cap, .cap = cap};
}

size_t sl_der_len(const struct sl_der_writer *w)
{
    return w->cap - w->at;
}

const uint8_t *sl_der_data(const struct sl_der_writer *w)
{
    return w->base + w->at;
}

void sl_der_put(struct sl_der_writer *w, const void *bytes, size_t len)
{
    if (w->failed || len > w->at) {
        w->failed = true;
        return;
    }
    w->at -= len;
    if (len)
        memcpy(w->base + w->at, bytes, len);
}

void sl_der_put_u8(struct sl_der_writer *w, uint8_t byte)
{
    sl_der_put(w, &byte, 1);
}

void sl_der_wrap(struct sl_der_writer *w, uint8_t tag, size_t len_before)
{
    size_t len = sl_der_len(w) - len_before;
    uint8_t bytes = 0;

    if (len < 0x80)
        sl_der_put_u8(w, (uint8_t)len);
    else {
        for (size_t rest = len; rest > 0; rest >>= 8, bytes++)
            sl_der_put_u8(w, (uint8_t)rest);
        sl_der_put_u8(w, (uint8_t)(0x80 | bytes));
    }
    sl_der_put_u8(w, tag);
}
