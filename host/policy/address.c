/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static const uint8_t V4_PREFIX[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool sl_addr_is_v4(const struct sl_addr *a)
{
    return memcmp(a->b, V4_PREFIX, sizeof(V4_PREFIX)) == 0;
}

int sl_addr_compare(const struct sl_addr *a, const struct sl_addr *b)
{
    return memcmp(a->b, b->b, sizeof(a->b));
}

static void from_v4(const void *four, struct sl_addr *out)
{
    memcpy(out->b, V4_PREFIX, sizeof(V4_PREFIX));
    memcpy(out->b + sizeof(V4_PREFIX), four, 4);
}

static sl_err parse_span(const char *text, size_t len, struct sl_addr *out)
{
    char copy[SL_ADDR_TEXT + 2];
    uint8_t bytes[16];

    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
        if (!memchr(text, ':', len))
            return SL_ERR_INVALID;
    }
    if (len == 0 || len >= sizeof(copy))
        return SL_ERR_INVALID;
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (inet_pton(AF_INET, copy, bytes) == 1)
        from_v4(bytes, out);
    else if (inet_pton(AF_INET6, copy, bytes) == 1)
        memcpy(out->b, bytes, sizeof(out->b));
    else
        return SL_ERR_INVALID;
    return SL_OK;
}

sl_err sl_addr_parse(const char *text, struct sl_addr *out)
{
    return parse_span(text, strlen(text), out);
}

sl_err sl_addr_from_sockaddr(const struct sockaddr *sa, struct sl_addr *out)
{
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof(in));
        from_v4(&in.sin_addr, out);
        return SL_OK;
    }
    if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof(in6));
        memcpy(out->b, &in6.sin6_addr, sizeof(out->b));
        return SL_OK;
    }
    return SL_ERR_INVALID;
}

const char *sl_addr_text(const struct sl_addr *a, char out[static SL_ADDR_TEXT])
{
    bool v4 = sl_addr_is_v4(a);
    if (!inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? a->b + sizeof(V4_PREFIX) : a->b, out, SL_ADDR_TEXT))
        out[0] = '\0';
    return out;
}

/* All bits from bit `first` on become `ones`. */
static void fill_bits(struct sl_addr *a, unsigned first, bool ones)
{
    for (unsigned i = first; i < 128; i++) {
        uint8_t mask = (uint8_t)(0x80u >> (i % 8));
        a->b[i / 8] = (uint8_t)(ones ? a->b[i / 8] | mask : a->b[i / 8] & ~mask);
    }
}

/* Decimal digits only, at most max. */
static sl_err parse_length(const char *text, unsigned max, unsigned *out)
{
    unsigned value = 0;
    if (*text == '\0' || strlen(text) > 3)
        return SL_ERR_INVALID;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return SL_ERR_INVALID;
        value = value * 10 + (unsigned)(*text - '0');
    }
    if (value > max)
        return SL_ERR_INVALID;
    *out = value;
    return SL_OK;
}

static sl_err parse_prefix(const char *text, const char *slash, struct sl_addr_range *out, struct sl_diag *diag)
{
    struct sl_addr address, lo, hi;
    unsigned length = 0;
    char shown[SL_ADDR_TEXT];

    if (parse_span(text, (size_t)(slash - text), &address))
        return sl_fail(diag, SL_ERR_INVALID, "\"%.80s\": no address before the '/'", text);
    bool v4 = sl_addr_is_v4(&address) && !memchr(text, ':', (size_t)(slash - text));
    if (parse_length(slash + 1, v4 ? 32 : 128, &length))
        return sl_fail(diag, SL_ERR_INVALID, "\"%.80s\": the prefix length must be a number from 0 to %d", text, v4 ? 32 : 128);
    lo = hi = address;
    fill_bits(&lo, v4 ? 96 + length : length, false);
    fill_bits(&hi, v4 ? 96 + length : length, true);
    if (sl_addr_compare(&lo, &address) != 0)
        return sl_fail(diag, SL_ERR_INVALID,
                       "\"%.80s\": bits are set beyond the prefix; write \"%s/%u\" for the network, or the address alone", text,
                       sl_addr_text(&lo, shown), length);
    out->lo = lo;
    out->hi = hi;
    return SL_OK;
}

static sl_err parse_from_to(const char *text, const char *dash, struct sl_addr_range *out, struct sl_diag *diag)
{
    struct sl_addr lo, hi;

    if (parse_span(text, (size_t)(dash - text), &lo) || sl_addr_parse(dash + 1, &hi))
        return sl_fail(diag, SL_ERR_INVALID, "\"%.80s\": a range is written as first address, '-', last address", text);
    if (sl_addr_is_v4(&lo) != sl_addr_is_v4(&hi))
        return sl_fail(diag, SL_ERR_INVALID, "\"%.80s\": one end is IPv4, the other IPv6", text);
    if (sl_addr_compare(&lo, &hi) > 0)
        return sl_fail(diag, SL_ERR_INVALID, "\"%.80s\": the last address is before the first; swap them", text);
    out->lo = lo;
    out->hi = hi;
    return SL_OK;
}

sl_err sl_addr_range_parse(const char *text, struct sl_addr_range *out, struct sl_diag *diag)
{
    struct sl_addr single;
    const char *mark;

    if ((mark = strchr(text, '/')))
        return parse_prefix(text, mark, out, diag);
    if ((mark = strchr(text, '-')))
        return parse_from_to(text, mark, out, diag);
    if (sl_addr_parse(text, &single))
        return sl_fail(
            diag, SL_ERR_INVALID,
            "\"%.80s\" is no address, prefix or range; write e.g. 192.0.2.7, 10.0.0.0/8, 2001:db8::/32 or 10.0.0.1-10.0.0.9", text);
    out->lo = out->hi = single;
    return SL_OK;
}

bool sl_addr_range_has(const struct sl_addr_range *r, const struct sl_addr *a)
{
    return sl_addr_is_v4(&r->lo) == sl_addr_is_v4(a) && sl_addr_compare(&r->lo, a) <= 0 && sl_addr_compare(a, &r->hi) <= 0;
}
