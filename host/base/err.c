/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The alerts of RFC 8446 section 6 and those older versions still send. */
#define ALERTS(X)                                                                                                                  \
    X(0, close_notify)                                                                                                             \
    X(10, unexpected_message)                                                                                                      \
    X(20, bad_record_mac)                                                                                                          \
    X(21, decryption_failed)                                                                                                       \
    X(22, record_overflow)                                                                                                         \
    X(30, decompression_failure)                                                                                                   \
    X(40, handshake_failure)                                                                                                       \
    X(41, no_certificate)                                                                                                          \
    X(42, bad_certificate)                                                                                                         \
    X(43, unsupported_certificate)                                                                                                 \
    X(44, certificate_revoked)                                                                                                     \
    X(45, certificate_expired)                                                                                                     \
    X(46, certificate_unknown)                                                                                                     \
    X(47, illegal_parameter)                                                                                                       \
    X(48, unknown_ca)                                                                                                              \
    X(49, access_denied)                                                                                                           \
    X(50, decode_error)                                                                                                            \
    X(51, decrypt_error)                                                                                                           \
    X(60, export_restriction)                                                                                                      \
    X(70, protocol_version)                                                                                                        \
    X(71, insufficient_security)                                                                                                   \
    X(80, internal_error)                                                                                                          \
    X(86, inappropriate_fallback)                                                                                                  \
    X(90, user_canceled)                                                                                                           \
    X(100, no_renegotiation)                                                                                                       \
    X(109, missing_extension)                                                                                                      \
    X(110, unsupported_extension)                                                                                                  \
    X(111, certificate_unobtainable)                                                                                               \
    X(112, unrecognized_name)                                                                                                      \
    X(113, bad_certificate_status_response)                                                                                        \
    X(114, bad_certificate_hash_value)                                                                                             \
    X(115, unknown_psk_identity)                                                                                                   \
    X(116, certificate_required)                                                                                                   \
    X(120, no_application_protocol)

struct alert_text {
    const char *name, *sent, *received;
};

static const struct alert_text ALERT_TEXTS[256] = {
#define ALERT_TEXT(number, name) [number] = {#name, "TLS alert " #name, "the peer sent the TLS alert " #name},
    ALERTS(ALERT_TEXT)
#undef ALERT_TEXT
};

static const char *const GENERAL_TEXTS[SL_ERR_COUNT] = {
    [SL_OK] = "success",
    [SL_ERR_NOMEM] = "out of memory",
    [SL_ERR_INVALID] = "invalid value",
    [SL_ERR_SHORT] = "too short",
    [SL_ERR_LIMIT] = "limit exceeded",
    [SL_ERR_AGAIN] = "not ready yet",
    [SL_ERR_IO] = "input/output error",
    [SL_ERR_NOT_FOUND] = "not found",
    [SL_ERR_EXISTS] = "exists already",
    [SL_ERR_STATE] = "not allowed in this state",
    [SL_ERR_CORRUPT] = "corrupt data",
    [SL_ERR_UNSUPPORTED] = "not supported",
    [SL_ERR_DENIED] = "permission denied",
    [SL_ERR_TIMEOUT] = "timed out",
    [SL_ERR_CANCELLED] = "cancelled",
    [SL_ERR_CRYPTO] = "cryptographic library failure",
    [SL_ERR_AUTH] = "authentication failed",
    [SL_ERR_CONFLICT] = "changed by somebody else meanwhile",
    [SL_ERR_UNAVAILABLE] = "peer unavailable",
};

const char *sl_err_str(sl_err err)
{
    const char *text = NULL;

    if (err >= 0 && err < SL_ERR_COUNT)
        text = GENERAL_TEXTS[err];
    else if (SL_ERR_IS_ALERT(err))
        text = ALERT_TEXTS[SL_ERR_ALERT_CODE(err)].sent ? ALERT_TEXTS[SL_ERR_ALERT_CODE(err)].sent : "TLS alert unknown";
    else if (SL_ERR_IS_PEER_ALERT(err))
        text = ALERT_TEXTS[SL_ERR_ALERT_CODE(err)].received ? ALERT_TEXTS[SL_ERR_ALERT_CODE(err)].received
                                                            : "the peer sent an unknown TLS alert";
    return text ? text : "unknown error";
}

const char *sl_alert_name(uint8_t alert)
{
    const char *name = ALERT_TEXTS[alert].name;
    return name ? name : "unknown";
}

sl_err sl_fail(struct sl_diag *diag, sl_err err, const char *format, ...)
{
    char text[sizeof(diag->text)]; /* the arguments may be the old text */
    va_list args;

    if (!diag)
        return err;
    va_start(args, format);
    if (vsnprintf(text, sizeof(text), format, args) < 0)
        text[0] = '\0';
    va_end(args);
    memcpy(diag->text, text, sizeof(text));
    return err;
}

sl_err sl_fail_prefix(struct sl_diag *diag, sl_err err, const char *format, ...)
{
    char text[sizeof(diag->text)];
    va_list args;
    size_t prefix_len, rest;

    if (!diag)
        return err;
    va_start(args, format);
    if (vsnprintf(text, sizeof(text) - 2, format, args) < 0)
        text[0] = '\0';
    va_end(args);

    prefix_len = strlen(text);
    memcpy(text + prefix_len, ": ", 2);
    prefix_len += 2;
    rest = strnlen(diag->text, sizeof(text) - 1);
    if (rest > sizeof(text) - 1 - prefix_len)
        rest = sizeof(text) - 1 - prefix_len;
    memmove(diag->text + prefix_len, diag->text, rest);
    diag->text[prefix_len + rest] = '\0';
    memcpy(diag->text, text, prefix_len);
    return err;
}
