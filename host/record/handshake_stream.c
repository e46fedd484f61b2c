/* SPDX-License-Identifier: Apache-2.0 */
#include "record/handshake_stream.h"

#include <string.h>

#include "record/tls.h"

/* RFC 8446 section 4.6.1: lifetime, age_add, nonce<0..255>, ticket<1..2^16-1>, extensions<0..2^16-2> */
enum { TICKET_MIN = 4 + 4 + 1 + 2 + 1 + 2, TICKET_MAX = 4 + 4 + 1 + 255 + 2 + 65535 + 2 + 65534, KEY_UPDATE_LEN = 1 };

static sl_err begin_message(struct sl_hs_stream *s, bool from_server, unsigned drop, uint8_t type)
{
    if (type == SL_TLS_KEY_UPDATE)
        s->dropping = (drop & SL_HS_DROP_KEY_UPDATES) != 0;
    else if (type == SL_TLS_NEW_SESSION_TICKET && from_server)
        s->dropping = (drop & SL_HS_DROP_TICKETS) != 0;
    else
        return SL_ERR_ALERT(SL_TLS_UNEXPECTED_MESSAGE);
    return SL_OK;
}

static sl_err begin_body(struct sl_hs_stream *s)
{
    s->left = (uint32_t)s->head[1] << 16 | (uint32_t)s->head[2] << 8 | s->head[3];
    const bool ok = s->head[0] == SL_TLS_KEY_UPDATE ? s->left == KEY_UPDATE_LEN : s->left >= TICKET_MIN && s->left <= TICKET_MAX;
    return ok ? SL_OK : SL_ERR_ALERT(SL_TLS_DECODE_ERROR);
}

static sl_err end_message(struct sl_hs_stream *s, uint8_t last)
{
    s->have = 0;
    if (s->head[0] == SL_TLS_KEY_UPDATE) {
        if (last > 1)
            return SL_ERR_ALERT(SL_TLS_ILLEGAL_PARAMETER);
        s->key_update = true;
        s->update_requested = last == 1;
    } else if (s->dropping) {
        s->tickets_dropped++;
    }
    s->dropping = false;
    return SL_OK;
}

sl_err sl_hs_feed(struct sl_hs_stream *s, bool from_server, unsigned drop, const uint8_t *bytes, size_t len, uint8_t *keep,
                  size_t *kept)
{
    sl_err err = SL_OK;
    size_t out = 0;
    while (len > 0 && err == SL_OK) {
        size_t n = 1;
        if (s->key_update)
            return SL_ERR_ALERT(SL_TLS_UNEXPECTED_MESSAGE); /* RFC 8446 section 5.1: no message beside a change of keys */
        if (s->have == 0 && (err = begin_message(s, from_server, drop, bytes[0])) != SL_OK)
            return err;
        const bool dropping = s->dropping;
        if (s->have < sizeof(s->head)) {
            s->head[s->have++] = bytes[0];
            if (s->have == sizeof(s->head))
                err = begin_body(s);
        } else {
            n = len < s->left ? len : s->left;
            s->left -= (uint32_t)n;
            if (s->left == 0)
                err = end_message(s, bytes[n - 1]);
        }
        if (keep != NULL && !dropping) {
            memmove(keep + out, bytes, n);
            out += n;
        }
        bytes += n;
        len -= n;
    }
    if (kept != NULL)
        *kept = out;
    return err;
}
