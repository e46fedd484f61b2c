/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host names as they are compared: lower case, A-labels. Punycode is RFC 3492, with its notation:
 *
 *   the basic code points come first, then a delimiter, then for every other code point, in order of value n and then of place, the
 * distance delta that a decoder walks from one insertion to the next, as a variable-length integer in base 36 whose digit
 * thresholds follow a bias.
 */
#include <arpa/inet.h>
#include <string.h>

#include "pki/san.h"

enum { BASE = 36, TMIN = 1, TMAX = 26, SKEW = 38, DAMP = 700, INITIAL_BIAS = 72, INITIAL_N = 128, LABEL_MAX = 63 };

static uint32_t adapt(uint32_t delta, uint32_t points, bool first)
{
    uint32_t k = 0;
    delta = first ? delta / DAMP : delta / 2;
    delta += delta / points;
    for (; delta > (BASE - TMIN) * TMAX / 2; k += BASE)
        delta /= BASE - TMIN;
    return k + (BASE - TMIN + 1) * delta / (delta + SKEW);
}

static char digit(uint32_t d)
{
    return (char)(d < 26 ? 'a' + d : '0' + (d - 26));
}

struct label {
    char text[LABEL_MAX + 1];
    size_t len;
};

static sl_err put(struct label *l, char c)
{
    if (l->len >= LABEL_MAX)
        return SL_ERR_LIMIT;
    l->text[l->len++] = c;
    return SL_OK;
}

static sl_err put_delta(struct label *l, uint32_t delta, uint32_t bias)
{
    sl_err err = SL_OK;
    for (uint32_t k = BASE; !err; k += BASE) {
        uint32_t t = k <= bias ? TMIN : k >= bias + TMAX ? TMAX : k - bias;
        if (delta < t)
            return put(l, digit(delta));
        err = put(l, digit(t + (delta - t) % (BASE - t)));
        delta = (delta - t) / (BASE - t);
    }
    return err;
}

/* points: 1 to LABEL_MAX code points, so that no sum below overflows 32 bits (0x10ffff * 64 < 2^27). */
static sl_err punycode(const uint32_t *points, size_t count, struct label *out)
{
    sl_err err = SL_OK;
    uint32_t n = INITIAL_N, delta = 0, bias = INITIAL_BIAS, done = 0, basic;

    for (const char *p = "xn--"; *p && !err; p++)
        err = put(out, *p);
    for (size_t i = 0; i < count && !err; i++) {
        if (points[i] < INITIAL_N && !(err = put(out, (char)points[i])))
            done++;
    }
    basic = done;
    if (!err && basic > 0)
        err = put(out, '-');
    while (!err && done < count) {
        uint32_t m = UINT32_MAX;
        for (size_t i = 0; i < count; i++) {
            if (points[i] >= n && points[i] < m)
                m = points[i];
        }
        delta += (m - n) * (done + 1);
        n = m;
        for (size_t i = 0; i < count && !err; i++) {
            if (points[i] < n)
                delta++;
            if (points[i] != n)
                continue;
            err = put_delta(out, delta, bias);
            bias = adapt(delta, done + 1, done == basic);
            delta = 0;
            done++;
        }
        delta++;
        n++;
    }
    return err;
}

/* One code point; 0 for a malformed or overlong sequence, a surrogate, or the end. */
static uint32_t utf8_next(const uint8_t **at, const uint8_t *end)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const uint8_t *p = *at;
    if (p >= end)
        return 0;
    size_t len = *p < 0x80 ? 1 : *p >= 0xf0 && *p < 0xf5 ? 4 : *p >= 0xe0 ? 3 : *p >= 0xc2 ? 2 : 0;
    if (len == 0 || *p >= 0xf5 || (size_t)(end - p) < len)
        return 0;
    uint32_t point = len == 1 ? *p : *p & (0x7fU >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (p[i] & 0x3fU);
    }
    if (point < smallest[len] || (point >= 0xd800 && point < 0xe000) || point > 0x10ffff)
        return 0;
    *at = p + len;
    return point;
}

/* What may stand in a label besides letters beyond ASCII: letters, digits, hyphen, and the underscore that real names have. */
static bool label_char(uint32_t c)
{
    return c >= 0x80 || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static sl_err convert_label(const uint8_t *text, size_t len, struct label *out)
{
    uint32_t points[LABEL_MAX];
    size_t count = 0;
    bool ascii = true;
    sl_err err = SL_OK;

    out->len = 0;
    for (const uint8_t *at = text, *end = text + len; at < end; count++) {
        uint32_t c = utf8_next(&at, end);
        if (c >= 'A' && c <= 'Z')
            c += 'a' - 'A';
        if (count >= LABEL_MAX || !label_char(c))
            return SL_ERR_INVALID;
        ascii = ascii && c < 0x80;
        points[count] = c;
    }
    if (count == 0)
        return SL_ERR_INVALID;
    if (!ascii)
        return punycode(points, count, out) ? SL_ERR_INVALID : SL_OK;
    for (size_t i = 0; i < count && !err; i++)
        err = put(out, (char)points[i]);
    return err;
}

static sl_err parse_dns(const char *text, size_t len, struct sl_name *out)
{
    const uint8_t *at = (const uint8_t *)text, *end = at + len;
    struct label label;
    size_t used = 0;

    if (len > 0 && end[-1] == '.')
        end--;
    if (at == end)
        return SL_ERR_INVALID;
    for (;;) {
        const uint8_t *dot = memchr(at, '.', (size_t)(end - at));
        const uint8_t *stop = dot ? dot : end;
        if (convert_label(at, (size_t)(stop - at), &label) || used + label.len + (dot ? 2 : 1) > SL_NAME_MAX)
            return SL_ERR_INVALID;
        memcpy(out->text + used, label.text, label.len);
        used += label.len;
        if (!dot)
            break;
        out->text[used++] = '.';
        at = dot + 1;
    }
    out->text[used] = '\0';
    return SL_OK;
}

sl_err sl_name_parse(const char *text, struct sl_name *out)
{
    struct sl_name name = {0};
    size_t len = text ? strlen(text) : 0;
    char plain[INET6_ADDRSTRLEN + 1];
    uint8_t address[4];
    sl_err err = SL_OK;

    *out = name;
    if (len == 0 || len > 1024)
        return SL_ERR_INVALID;
    if (text[0] == '[' && text[len - 1] == ']') {
        if (len - 2 >= sizeof(plain))
            return SL_ERR_INVALID;
        memcpy(plain, text + 1, len - 2);
        plain[len - 2] = '\0';
        if (inet_pton(AF_INET6, plain, name.ip) != 1)
            return SL_ERR_INVALID;
        name.ip_len = 16;
    } else if (inet_pton(AF_INET, text, name.ip) == 1)
        name.ip_len = 4;
    else if (inet_pton(AF_INET6, text, name.ip) == 1)
        name.ip_len = 16;
    else
        err = parse_dns(text, len, &name);
    if (err)
        return err;
    /* "192.0.2.1." may not become a DNS name with the text of an address: whoever reads it again would take it for one. */
    if (!name.ip_len && inet_pton(AF_INET, name.text, address) == 1)
        return SL_ERR_INVALID;
    if (name.ip_len && !inet_ntop(name.ip_len == 4 ? AF_INET : AF_INET6, name.ip, name.text, sizeof(name.text)))
        return SL_ERR_INVALID;
    *out = name;
    return SL_OK;
}
