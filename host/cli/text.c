/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

static const uint32_t BAD_BYTE = UINT32_MAX;

/* One code point (RFC 3629); BAD_BYTE and length 1 for what isn't UTF-8. text isn't empty. */
static uint32_t decode(const char *text, size_t *len)
{
    const uint8_t *s = (const uint8_t *)text;
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = s[0] < 0x80 ? 1 : (s[0] & 0xe0) == 0xc0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : (s[0] & 0xf8) == 0xf0 ? 4 : 0;

    *len = 1;
    if (n == 1)
        return s[0];
    if (n == 0)
        return BAD_BYTE;
    uint32_t code = (uint32_t)(s[0] & (0x7f >> n));
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) /* the terminating NUL too */
            return BAD_BYTE;
        code = code << 6 | (s[i] & 0x3f);
    }
    if (code < smallest[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return BAD_BYTE;
    *len = n;
    return code;
}

static bool steers(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x200b && code <= 0x200f) ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2060 && code <= 0x206f) || code == 0xfeff ||
           (code >= 0xfff9 && code <= 0xfffb) || code >= 0xe0000;
}

static sl_err take(struct sl_buf *b, sl_err err, char **out)
{
    if (!err)
        err = sl_buf_append(b, "", 1);
    char *copy = err ? NULL : strdup((const char *)sl_buf_data(b));
    sl_buf_free(b);
    if (!copy)
        return SL_ERR_NOMEM;
    *out = copy;
    return SL_OK;
}

sl_err sl_text_safe(const char *text, bool keep_lines, char **out)
{
    struct sl_buf b;
    sl_err err = SL_OK;

    sl_buf_init(&b, SIZE_MAX / 2);
    for (size_t len; *text && !err; text += len) {
        uint32_t code = decode(text, &len);
        if (code == BAD_BYTE || (steers(code) && code < 0x80 && !(keep_lines && (code == '\n' || code == '\t'))))
            err = sl_buf_printf(&b, "\\x%02x", (unsigned)(uint8_t)*text);
        else if (code >= 0x80 && steers(code))
            err = sl_buf_printf(&b, "\\u{%x}", (unsigned)code);
        else
            err = sl_buf_append(&b, text, len);
    }
    return take(&b, err, out);
}

sl_err sl_text_json_safe(const char *json, char **out)
{
    struct sl_buf b;
    sl_err err = SL_OK;

    sl_buf_init(&b, SIZE_MAX / 2);
    for (size_t len; *json && !err; json += len) {
        uint32_t code = decode(json, &len);
        if (code == '\n' || code == '\t' || !steers(code)) /* layout; and a JSON printer never leaves other C0 in a string */
            err = sl_buf_append(&b, json, len);
        else if (code >= 0x10000 && code != BAD_BYTE)
            err = sl_buf_printf(&b, "\\u%04x\\u%04x", (unsigned)(0xd800 + ((code - 0x10000) >> 10)),
                                (unsigned)(0xdc00 + (code & 0x3ff)));
        else
            err = sl_buf_printf(&b, "\\u%04x", code == BAD_BYTE ? 0xfffdU : (unsigned)code);
    }
    return take(&b, err, out);
}

static size_t columns(uint32_t code)
{
    if (code == 0 || (code >= 0x300 && code < 0x370) || (code >= 0x20d0 && code < 0x2100) || (code >= 0xfe00 && code < 0xfe10) ||
        (code >= 0xfe20 && code < 0xfe30))
        return 0;
    bool wide = (code >= 0x1100 && code < 0x1160) || (code >= 0x2e80 && code < 0xa4d0) || (code >= 0xac00 && code < 0xd7a4) ||
                (code >= 0xf900 && code < 0xfb00) || (code >= 0xfe30 && code < 0xfe70) || (code >= 0xff00 && code < 0xff61) ||
                (code >= 0xffe0 && code < 0xffe7) || (code >= 0x1f300 && code < 0x1fb00) || (code >= 0x20000 && code < 0x40000);
    return wide ? 2 : 1;
}

size_t sl_text_width(const char *text)
{
    size_t width = 0;
    for (size_t len; *text; text += len) {
        uint32_t code = decode(text, &len);
        width += code == BAD_BYTE ? 1 : columns(code);
    }
    return width;
}
