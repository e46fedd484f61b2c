/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/connect_request.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

/* The end of the header section (past the empty line), or 0 while it has not come. */
static size_t header_end(const uint8_t *bytes, size_t len)
{
    const uint8_t *end = memmem(bytes, len, "\r\n\r\n", 4);
    return end ? (size_t)(end - bytes) + 4 : 0;
}

static bool is_token(uint8_t c)
{
    return isalnum(c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* 1*5DIGIT, 1..65535. */
static sl_err parse_port(const char *text, size_t len, uint16_t *out)
{
    uint32_t value = 0;
    if (len == 0 || len > 5)
        return SL_ERR_INVALID;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return SL_ERR_INVALID;
        value = value * 10 + (uint32_t)(text[i] - '0');
    }
    if (value == 0 || value > UINT16_MAX)
        return SL_ERR_INVALID;
    *out = (uint16_t)value;
    return SL_OK;
}

/* host ":" port, the host a name, an IPv4 literal or a bracketed IPv6 literal. */
static sl_err parse_authority(const char *text, size_t len, struct sl_connect_request *out)
{
    const char *host = text, *colon = memrchr(text, ':', len);
    if (!colon)
        return SL_ERR_INVALID;
    size_t host_len = (size_t)(colon - text);
    sl_err err = parse_port(colon + 1, len - host_len - 1, &out->port);
    if (err)
        return err;
    bool v6 = host_len > 2 && host[0] == '[' && host[host_len - 1] == ']';
    if (v6) {
        host++;
        host_len -= 2;
    }
    if (host_len == 0 || host_len > SL_CONNECT_HOST_MAX)
        return SL_ERR_INVALID;
    for (size_t i = 0; i < host_len; i++) {
        unsigned char c = (unsigned char)host[i];
        if (!(v6 ? isxdigit(c) || c == ':' || c == '.' : isalnum(c) || c == '-' || c == '.' || c == '_'))
            return SL_ERR_INVALID;
        out->host[i] = (char)tolower(c);
    }
    out->host[host_len] = '\0';
    return SL_OK;
}

/* Each header line is token ":" text without control characters: enough to be sure where the section ends. */
static sl_err check_headers(const char *at, const char *end)
{
    while (at < end) {
        const char *eol = memmem(at, (size_t)(end - at), "\r\n", 2);
        const char *colon = eol ? memchr(at, ':', (size_t)(eol - at)) : NULL;
        if (!colon || colon == at)
            return SL_ERR_INVALID;
        for (const char *c = at; c < eol; c++)
            if (c < colon ? !is_token((uint8_t)*c) : ((uint8_t)*c < 0x20 && *c != '\t'))
                return SL_ERR_INVALID;
        at = eol + 2;
    }
    return SL_OK;
}

sl_err sl_connect_request_parse(const uint8_t *bytes, size_t len, struct sl_connect_request *out)
{
    struct sl_connect_request request = {0};
    const char *text = (const char *)bytes;

    for (size_t i = 0; i < len && i < 16 && bytes[i] != ' '; i++)
        if (!is_token(bytes[i]))
            return SL_ERR_INVALID;
    request.size = header_end(bytes, len < SL_CONNECT_REQUEST_MAX ? len : SL_CONNECT_REQUEST_MAX);
    if (request.size == 0)
        return len >= SL_CONNECT_REQUEST_MAX ? SL_ERR_LIMIT : SL_ERR_AGAIN;

    const char *eol = memmem(text, request.size, "\r\n", 2);
    const char *target = memchr(text, ' ', (size_t)(eol - text));
    if (!target)
        return SL_ERR_INVALID;
    const char *version = memchr(target + 1, ' ', (size_t)(eol - target - 1));
    if (!version || eol - version != 9 || memcmp(version + 1, "HTTP/1.", 7) != 0 || (version[8] != '0' && version[8] != '1'))
        return SL_ERR_INVALID;
    if (target - text != 7 || memcmp(text, "CONNECT", 7) != 0)
        return SL_ERR_UNSUPPORTED;
    sl_err err = parse_authority(target + 1, (size_t)(version - target - 1), &request);
    if (!err)
        err = check_headers(eol + 2, text + request.size - 2);
    if (err)
        return err;
    *out = request;
    return SL_OK;
}

#define ANSWER(status, reason, text)                                                                                               \
    "HTTP/1.1 " status " " reason "\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n" text "\n"

const char *sl_connect_answer(unsigned status)
{
    switch (status) {
    case 200:
        return "HTTP/1.1 200 Connection established\r\n\r\n";
    case 400:
        return ANSWER("400", "Bad Request", "Sluice: this is not a CONNECT request that can be understood.");
    case 403:
        return ANSWER("403", "Forbidden", "Sluice: the policy does not allow this connection.");
    case 405:
        return ANSWER("405", "Method Not Allowed", "Sluice: this proxy takes CONNECT only.");
    case 502:
        return ANSWER("502", "Bad Gateway", "Sluice: the server could not be reached.");
    case 504:
        return ANSWER("504", "Gateway Timeout", "Sluice: the server did not answer in time.");
    default:
        return ANSWER("503", "Service Unavailable", "Sluice: the gateway can't take this connection now.");
    }
}
