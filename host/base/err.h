/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sl_err: the one error type of Sluice.
 *
 * Zero is success. Errors fall in two classes, so that a TLS alert is an error like any other (the habit of picotls):
 *
 *   0x0000..0x00ff  general errors, the enum below
 *   0x0100..0x01ff  SL_ERR_ALERT(n): this end must send the TLS alert n (RFC 8446 section 6)
 *   0x0200..0x02ff  SL_ERR_PEER_ALERT(n): the peer sent the TLS alert n
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef int32_t sl_err;

enum {
    SL_OK = 0,
    SL_ERR_NOMEM,   /* an allocation failed */
    SL_ERR_INVALID, /* a caller's argument or a user's value is wrong */
    SL_ERR_SHORT,   /* input ended too early, or the output has no room */
    SL_ERR_LIMIT,   /* a configured or protocol limit would be exceeded */
    SL_ERR_AGAIN,   /* not now: more input, or room, is needed */
    SL_ERR_IO,      /* the operating system refused; errno tells why */
    SL_ERR_NOT_FOUND,
    SL_ERR_EXISTS,
    SL_ERR_STATE,       /* not allowed in the present state */
    SL_ERR_CORRUPT,     /* stored or received data contradicts its format */
    SL_ERR_UNSUPPORTED, /* well-formed, but not something Sluice does */
    SL_ERR_DENIED,      /* permission or policy */
    SL_ERR_TIMEOUT,
    SL_ERR_CANCELLED,
    SL_ERR_CRYPTO,      /* the cryptographic library failed */
    SL_ERR_AUTH,        /* an authentication tag or signature did not verify */
    SL_ERR_CONFLICT,    /* somebody else changed it meanwhile */
    SL_ERR_UNAVAILABLE, /* the peer process or service can't be reached */
    SL_ERR_COUNT,

    SL_ERR_ALERT_BASE = 0x100,
    SL_ERR_PEER_ALERT_BASE = 0x200
};

#define SL_ERR_ALERT(n)         ((sl_err)(SL_ERR_ALERT_BASE + (n)))
#define SL_ERR_PEER_ALERT(n)    ((sl_err)(SL_ERR_PEER_ALERT_BASE + (n)))
#define SL_ERR_IS_ALERT(e)      ((e) >= SL_ERR_ALERT_BASE && (e) < SL_ERR_ALERT_BASE + 256)
#define SL_ERR_IS_PEER_ALERT(e) ((e) >= SL_ERR_PEER_ALERT_BASE && (e) < SL_ERR_PEER_ALERT_BASE + 256)
#define SL_ERR_ALERT_CODE(e)    ((uint8_t)((e)&0xff))

/* A short English phrase for any sl_err; never NULL, static storage. */
const char *sl_err_str(sl_err err);

/* The RFC 8446 name of an alert ("handshake_failure"); "unknown" for unassigned numbers. */
const char *sl_alert_name(uint8_t alert);

/* A sentence for people that goes with an error: what was wrong, where, and what to do next. */
struct sl_diag {
    char text[512];
};

/* Sets diag->text (truncating) and returns err, so that a function can end in `return sl_fail(diag, SL_ERR_INVALID, "...")`.
 * diag may be NULL. */
sl_err sl_fail(struct sl_diag *diag, sl_err err, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the text that is there already. Returns err. */
sl_err sl_fail_prefix(struct sl_diag *diag, sl_err err, const char *format, ...) __attribute__((format(printf, 3, 4)));
