/* SPDX-License-Identifier: Apache-2.0 */
/* From bytes to one handshake message: keeps them raw, takes records apart, decides early. */
#include "tls/client_hello.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "record/tls.h"
#include "tls/hello_internal.h"

enum { PROTOCOL_VERSION = 70, DECODE_ERROR = 50, HANDSHAKE_HEADER_BYTES = 4, HELLO_MIN = 4 + 2 + 32 + 1 + 2 + 2 + 2 };

struct sl_hello_reader {
    enum sl_hello_state state;
    struct sl_buf raw;     /* every byte fed */
    size_t at;             /* of raw: taken apart up to here, a record boundary */
    struct sl_buf message; /* handshake bytes of the records so far */
    size_t records, hello_bytes;
    struct sl_hello_arena arena;
    struct sl_client_hello hello;
    Sluice__V1__Cause cause;
    uint8_t alert;
    const char *error;
    const char *protocol;
};

sl_err sl_hello_arena_init(struct sl_hello_arena *a, size_t message_bytes)
{
    size_t cap = message_bytes / 2 + 2;
    uint16_t *words = calloc(2 * cap, sizeof *words);
    if (!words)
        return SL_ERR_NOMEM;
    free(a->words);
    *a = (struct sl_hello_arena){.words = words, .cap = cap, .scratch = words + cap};
    return SL_OK;
}

void sl_hello_arena_free(struct sl_hello_arena *a)
{
    free(a->words);
    *a = (struct sl_hello_arena){0};
}

sl_err sl_hello_reader_new(struct sl_hello_reader **out)
{
    struct sl_hello_reader *r = calloc(1, sizeof *r);
    if (!r)
        return SL_ERR_NOMEM;
    sl_buf_init(&r->raw, SIZE_MAX / 2);
    sl_buf_init(&r->message, SL_HELLO_MESSAGE_MAX + SL_TLS_PLAINTEXT_MAX);
    r->error = "";
    r->protocol = "unknown";
    *out = r;
    return SL_OK;
}

void sl_hello_reader_free(struct sl_hello_reader *r)
{
    if (!r)
        return;
    sl_buf_free(&r->raw);
    sl_buf_free(&r->message);
    sl_hello_arena_free(&r->arena);
    free(r);
}

/* ---- verdicts ---- */

static void fail(struct sl_hello_reader *r, Sluice__V1__Cause cause, uint8_t alert, const char *error)
{
    r->state = SL_HELLO_MALFORMED;
    r->cause = cause;
    r->alert = alert;
    r->error = error;
}

static void fail_hello(struct sl_hello_reader *r, uint8_t alert, const char *error)
{
    fail(r, SLUICE__V1__CAUSE__CLI_BAD_HELLO, alert, error);
}

static const char *guess_protocol(const uint8_t *b, size_t n)
{
    static const struct {
        const char *start, *name;
    } table[] = {
        {"GET ", "http"},     {"POST ", "http"},  {"HEAD ", "http"},  {"PUT ", "http"},   {"DELETE ", "http"},
        {"OPTIONS ", "http"}, {"PATCH ", "http"}, {"TRACE ", "http"}, {"PRI * ", "http"}, {"CONNECT ", "http"},
        {"SSH-", "ssh"},      {"EHLO", "smtp"},   {"HELO", "smtp"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        size_t len = strlen(table[i].start);
        if (n >= len && memcmp(b, table[i].start, len) == 0)
            return table[i].name;
    }
    return "unknown";
}

static void not_tls(struct sl_hello_reader *r, const uint8_t *b, size_t n)
{
    r->state = SL_HELLO_NOT_TLS;
    r->protocol = guess_protocol(b, n);
}

/*
 * An SSLv2 ClientHello: two bytes of length with the top bit set, 1, version. NEED_MORE while it may still become one.
 */
static enum sl_hello_state classify_sslv2(const uint8_t *b, size_t n)
{
    if (!(b[0] & 0x80))
        return SL_HELLO_NOT_TLS;
    if (n >= 3 && b[2] != 1)
        return SL_HELLO_NOT_TLS;
    if (n >= 4 && b[3] != 0 && b[3] != 3)
        return SL_HELLO_NOT_TLS;
    if (n >= 5)
        return b[3] == 0 ? (b[4] == 2 ? SL_HELLO_MALFORMED : SL_HELLO_NOT_TLS)
                         : (b[4] <= 4 ? SL_HELLO_MALFORMED : SL_HELLO_NOT_TLS);
    return SL_HELLO_NEED_MORE;
}

/* The first bytes of the connection. True: they look like a TLS handshake so far. */
static bool begins_like_tls(struct sl_hello_reader *r, const uint8_t *b, size_t n)
{
    if (b[0] < SL_TLS_CHANGE_CIPHER_SPEC || b[0] > SL_TLS_APPLICATION_DATA) {
        switch (classify_sslv2(b, n)) {
        case SL_HELLO_NOT_TLS:
            not_tls(r, b, n);
            break;
        case SL_HELLO_MALFORMED:
            fail(r, SLUICE__V1__CAUSE__CLI_UNSUPPORTED_VERSION, PROTOCOL_VERSION, "an SSLv2 ClientHello");
            break;
        case SL_HELLO_NEED_MORE:
        case SL_HELLO_COMPLETE:
            break;
        }
        return false;
    }
    if (n < 2)
        return false;
    if (b[1] != 3) {
        not_tls(r, b, n);
        return false;
    }
    if (b[0] != SL_TLS_HANDSHAKE) {
        fail_hello(r, SL_TLS_UNEXPECTED_MESSAGE, "the first record is no handshake record");
        return false;
    }
    if (n > SL_TLS_HEADER_BYTES && b[SL_TLS_HEADER_BYTES] != SL_TLS_CLIENT_HELLO) {
        fail_hello(r, SL_TLS_UNEXPECTED_MESSAGE, "the first handshake message is no ClientHello");
        return false;
    }
    return true;
}

/* ---- records ---- */

/* Takes the next whole record. False: not there yet, or failed. */
static bool take_record(struct sl_hello_reader *r, const uint8_t *b, size_t n)
{
    struct sl_cursor c = sl_cursor_make(b, n), fragment;
    uint8_t type = 0;
    uint16_t version = 0, len = 0;

    if (sl_read_u8(&c, &type) || sl_read_u16(&c, &version) || sl_read_u16(&c, &len))
        return false;
    if (type != SL_TLS_HANDSHAKE || version >> 8 != 3) {
        fail_hello(r, SL_TLS_UNEXPECTED_MESSAGE, "another record inside the ClientHello");
        return false;
    }
    if (len == 0) {
        fail_hello(r, DECODE_ERROR, "an empty handshake record");
        return false;
    }
    if (len > SL_TLS_PLAINTEXT_MAX) {
        fail_hello(r, SL_TLS_RECORD_OVERFLOW, "a record longer than 2^14 bytes");
        return false;
    }
    if (sl_read_span(&c, len, &fragment))
        return false;
    if (++r->records > SL_HELLO_RECORDS_MAX) {
        fail_hello(r, DECODE_ERROR, "the ClientHello lies in too many records");
        return false;
    }
    if (sl_buf_append(&r->message, fragment.at, len)) {
        fail(r, SLUICE__V1__CAUSE__RES_MEMORY, SL_TLS_INTERNAL_ERROR, "out of memory");
        return false;
    }
    r->at += SL_TLS_HEADER_BYTES + len;
    return true;
}

static bool parse(struct sl_hello_reader *r, const uint8_t *message, size_t len)
{
    sl_err err = sl_hello_parse(message, len, &r->arena, &r->hello);
    if (SL_ERR_IS_ALERT(err))
        fail_hello(r, SL_ERR_ALERT_CODE(err), "the ClientHello contradicts its format");
    else if (err)
        fail(r, SLUICE__V1__CAUSE__RES_MEMORY, SL_TLS_INTERNAL_ERROR, sl_err_str(err));
    else if (r->hello.version_max <= 0x0300)
        fail(r, SLUICE__V1__CAUSE__CLI_UNSUPPORTED_VERSION, PROTOCOL_VERSION, "nothing above SSL 3.0 is offered");
    return r->state != SL_HELLO_MALFORMED;
}

/* The message, when it is whole. */
static void take_message(struct sl_hello_reader *r)
{
    struct sl_cursor c = sl_cursor_make(sl_buf_data(&r->message), sl_buf_len(&r->message));
    size_t have = sl_cursor_left(&c);
    uint8_t type;
    uint32_t len;

    if (sl_read_u8(&c, &type) || sl_read_u24(&c, &len))
        return;
    if (len + HANDSHAKE_HEADER_BYTES > SL_HELLO_MESSAGE_MAX) {
        fail_hello(r, DECODE_ERROR, "the ClientHello is longer than 64 KiB");
        return;
    }
    if (len + HANDSHAKE_HEADER_BYTES < HELLO_MIN) {
        fail_hello(r, DECODE_ERROR, "the ClientHello is too short to be one");
        return;
    }
    if (have < len + HANDSHAKE_HEADER_BYTES)
        return;
    if (have > len + HANDSHAKE_HEADER_BYTES) {
        fail_hello(r, SL_TLS_UNEXPECTED_MESSAGE, "another message follows the ClientHello in its record");
        return;
    }
    if (parse(r, sl_buf_data(&r->message), have)) {
        r->hello_bytes = r->at;
        r->state = SL_HELLO_COMPLETE;
    }
}

enum sl_hello_state sl_hello_reader_feed(struct sl_hello_reader *r, const uint8_t *bytes, size_t len)
{
    if (sl_buf_append(&r->raw, bytes, len)) {
        fail(r, SLUICE__V1__CAUSE__RES_MEMORY, SL_TLS_INTERNAL_ERROR, "out of memory");
        return r->state;
    }
    const uint8_t *raw = sl_buf_data(&r->raw);
    size_t have = sl_buf_len(&r->raw);

    if (r->state != SL_HELLO_NEED_MORE || have == 0 || !begins_like_tls(r, raw, have))
        return r->state;
    while (r->state == SL_HELLO_NEED_MORE && take_record(r, raw + r->at, have - r->at))
        take_message(r);
    if (r->state == SL_HELLO_NEED_MORE && have > SL_HELLO_RAW_MAX)
        fail_hello(r, DECODE_ERROR, "the ClientHello is too long");
    return r->state;
}

sl_err sl_hello_reader_parse(struct sl_hello_reader *r, const uint8_t *message, size_t len)
{
    sl_buf_free(&r->message);
    r->state = SL_HELLO_NEED_MORE;
    if (len > SL_HELLO_MESSAGE_MAX || sl_buf_append(&r->message, message, len))
        return SL_ERR_LIMIT;
    if (parse(r, sl_buf_data(&r->message), len))
        r->state = SL_HELLO_COMPLETE;
    return r->state == SL_HELLO_COMPLETE ? SL_OK : SL_ERR_ALERT(r->alert);
}

/* ---- what came of it ---- */

enum sl_hello_state sl_hello_reader_state(const struct sl_hello_reader *r)
{
    return r->state;
}

const uint8_t *sl_hello_reader_raw(const struct sl_hello_reader *r, size_t *len)
{
    *len = sl_buf_len(&r->raw);
    return sl_buf_data(&r->raw);
}

size_t sl_hello_reader_hello_bytes(const struct sl_hello_reader *r)
{
    return r->state == SL_HELLO_COMPLETE ? r->hello_bytes : 0;
}

const struct sl_client_hello *sl_hello_reader_hello(const struct sl_hello_reader *r)
{
    return r->state == SL_HELLO_COMPLETE ? &r->hello : NULL;
}

Sluice__V1__Cause sl_hello_reader_cause(const struct sl_hello_reader *r)
{
    return r->cause;
}

uint8_t sl_hello_reader_alert(const struct sl_hello_reader *r)
{
    return r->alert;
}

const char *sl_hello_reader_error(const struct sl_hello_reader *r)
{
    return r->error;
}

const char *sl_hello_reader_protocol(const struct sl_hello_reader *r)
{
    return r->protocol;
}
