/* SPDX-License-Identifier: Apache-2.0 */
/* The request of an explicit proxy client: CONNECT authority-form (RFC 9110 section 9.3.6, RFC 9112 section 3.2.3). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { SL_CONNECT_REQUEST_MAX = 8192, SL_CONNECT_HOST_MAX = 253 };

struct sl_connect_request {
    char host[SL_CONNECT_HOST_MAX + 1]; /* lower case; an IPv6 literal without its brackets */
    uint16_t port;
    size_t size; /* bytes of the whole request; what follows belongs to the tunnel */
};

/*
 * Reads one request from the start of bytes. SL_ERR_AGAIN: more bytes are needed. SL_ERR_INVALID: not HTTP, or malformed.
 * SL_ERR_UNSUPPORTED: HTTP, but not CONNECT. SL_ERR_LIMIT: longer than SL_CONNECT_REQUEST_MAX. On failure *out is unchanged.
 */
sl_err sl_connect_request_parse(const uint8_t *bytes, size_t len, struct sl_connect_request *out);

/* The complete answer to a request: status line, headers, a line for people. The text is static. */
const char *sl_connect_answer(unsigned status);
