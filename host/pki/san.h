/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does a certificate prove a name? RFC 9525 and RFC 6125: only subjectAltName counts, never the common name; a wildcard is the
 * whole leftmost label, stands for exactly one label, and has at least two labels after it; addresses match iPAddress entries byte
 * by byte. (V2, V13)
 */
#pragma once

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { SL_NAME_MAX = 254 }; /* a host name with its final NUL */

/* What a name is after normalisation: lower case, no final dot, no brackets around an IPv6 address, U-labels as A-labels. */
struct sl_name {
    char text[SL_NAME_MAX]; /* a DNS name, or the canonical text of an address */
    uint8_t ip[16];
    size_t ip_len; /* 0: a DNS name; 4 or 16: an address */
};

/* SL_ERR_INVALID: neither a host name nor an address (nor is an IPv4 address with a final dot); then *out is empty. Labels in UTF-8
 * are converted with Punycode after lower-casing ASCII only: other letters must be in lower case already. */
sl_err sl_name_parse(const char *text, struct sl_name *out);

/* One pattern ("www.example.com", "*.example.com") of len bytes as it stands in a certificate, against a parsed DNS name. */
bool sl_san_pattern_match(const char *pattern, size_t len, const char *host);

/* Does cert prove this name or address? False for an unparsable subjectAltName or more than SL_CERT_SANS_MAX entries. */
bool sl_san_match(const X509 *cert, const struct sl_name *name);
/* The same from text; false if it is no name. For rules that exempt by name: V13. */
bool sl_san_match_text(const X509 *cert, const char *name);
