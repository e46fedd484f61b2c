/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IP addresses as one kind of value: 16 bytes, IPv4 as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2), so that both families are matched
 * by the same code and an IPv4-mapped IPv6 address is the same address as the IPv4 one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

struct sl_addr {
    uint8_t b[16];
};

/* Both ends belong to the range. */
struct sl_addr_range {
    struct sl_addr lo, hi;
};

enum { SL_ADDR_TEXT = 46 };

/* "192.0.2.1", "2001:db8::1", "[2001:db8::1]". SL_ERR_INVALID; then *out is unchanged. */
sl_err sl_addr_parse(const char *text, struct sl_addr *out);
/* AF_INET or AF_INET6; anything else is SL_ERR_INVALID and leaves *out unchanged. */
sl_err sl_addr_from_sockaddr(const struct sockaddr *sa, struct sl_addr *out);
bool sl_addr_is_v4(const struct sl_addr *a);
int sl_addr_compare(const struct sl_addr *a, const struct sl_addr *b);
/* The shortest usual form, IPv4 in dots. Returns out. */
const char *sl_addr_text(const struct sl_addr *a, char out[static SL_ADDR_TEXT]);

/* "10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "10.0.0.1-10.0.0.9". Host bits below a prefix are an error, since they are nearly
 * always a slip; diag (may be NULL) says what is wrong and gives the form that was probably meant. On failure *out is unchanged. */
sl_err sl_addr_range_parse(const char *text, struct sl_addr_range *out, struct sl_diag *diag);
/* A range written in IPv6, "::/0" included, holds no IPv4 address unless it lies in ::ffff:0:0/96. */
bool sl_addr_range_has(const struct sl_addr_range *r, const struct sl_addr *a);
