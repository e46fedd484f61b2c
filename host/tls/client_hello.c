/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar of RFC 8446 section 4.1.2 over a bounds-checked cursor. Records are taken apart in hello_reader.c. */
#include "tls/client_hello.h"

#include <stdlib.h>
#include <string.h>

#include "record/tls.h"
#include "tls/hello_internal.h"

enum { /* extensions that are looked into */
       EXT_SERVER_NAME = 0,
       EXT_STATUS_REQUEST = 5,
       EXT_GROUPS = 10,
       EXT_SIGALGS = 13,
       EXT_ALPN = 16,
       EXT_SCT = 18,
       EXT_ENCRYPT_THEN_MAC = 22,
       EXT_EXTENDED_MASTER_SECRET = 23,
       EXT_SESSION_TICKET = 35,
       EXT_PRE_SHARED_KEY = 41,
       EXT_EARLY_DATA = 42,
       EXT_SUPPORTED_VERSIONS = 43,
       EXT_PSK_MODES = 45,
       EXT_SIGALGS_CERT = 50,
       EXT_KEY_SHARE = 51,
       EXT_ECH = 0xfe0d,
       EXT_RENEGOTIATION_INFO = 0xff01
};

enum { SCSV_RENEGOTIATION = 0x00ff, SCSV_FALLBACK = 0x5600, PSK_DHE_KE = 1, ECH_OUTER = 0, SSL30 = 0x0300 };

enum { DECODE_ERROR = 50, ILLEGAL_PARAMETER = 47, MISSING_EXTENSION = 109 };

bool sl_is_grease(uint16_t value)
{
    return (value & 0x0f0f) == 0x0a0a && value >> 8 == (value & 0xff);
}

bool sl_u16_list_has(const struct sl_u16_list *list, uint16_t value)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->at[i] == value)
            return true;
    return false;
}

bool sl_client_hello_alpn_next(struct sl_cursor *list, struct sl_cursor *name)
{
    return !sl_cursor_empty(list) && sl_read_vec8(list, name) == SL_OK;
}

bool sl_client_hello_offers_version(const struct sl_client_hello *h, uint16_t version)
{
    return sl_u16_list_has(&h->versions, version);
}

/* ---- lists ---- */

static sl_err malformed(void)
{
    return SL_ERR_ALERT(DECODE_ERROR);
}

/* Room was reserved for half the message, and no two lists share bytes. */
static void list_begin(struct sl_hello_arena *a, struct sl_u16_list *list)
{
    list->at = a->words + a->used;
    list->count = 0;
}

static sl_err list_add(struct sl_hello_arena *a, struct sl_u16_list *list, uint16_t value)
{
    if (a->used == a->cap)
        return SL_ERR_LIMIT;
    a->words[a->used++] = value;
    list->count++;
    return SL_OK;
}

/* An even number of bytes, at least min_count values. */
static sl_err read_list(struct sl_hello_arena *a, struct sl_cursor bytes, size_t min_count, struct sl_u16_list *list)
{
    uint16_t value;
    if (sl_cursor_left(&bytes) % 2 || sl_cursor_left(&bytes) / 2 < min_count)
        return malformed();
    list_begin(a, list);
    while (sl_read_u16(&bytes, &value) == SL_OK)
        if (list_add(a, list, value))
            return SL_ERR_LIMIT;
    return SL_OK;
}

static sl_err read_list16(struct sl_hello_arena *a, struct sl_cursor body, struct sl_u16_list *list)
{
    struct sl_cursor bytes;
    if (sl_read_vec16(&body, &bytes) || !sl_cursor_empty(&body))
        return malformed();
    return read_list(a, bytes, 1, list);
}

/* ---- server_name ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Letters, digits, hyphen and the underscore that is seen in practice; labels of 1..63 bytes. */
static bool is_host_name(const char *s, size_t len)
{
    size_t label = 0;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        if (c == '.') {
            if (label == 0 || s[i - 1] == '-')
                return false;
            label = 0;
            continue;
        }
        if (!(is_digit(c) || (c >= 'a' && c <= 'z') || c == '_' || (c == '-' && label > 0)) || ++label > 63)
            return false;
    }
    return label > 0 && s[len - 1] != '-';
}

/* No DNS name ends in a label of digits only (RFC 1123, RFC 3696): such a name is an IPv4 literal in one of its spellings. */
static bool ends_in_number(const char *s, size_t len)
{
    size_t i = len;
    while (i > 0 && is_digit(s[i - 1]))
        i--;
    if (i < len && (i == 0 || s[i - 1] == '.'))
        return true;
    while (i > 0 && s[i - 1] != '.')
        i--;
    return len - i > 2 && s[i] == '0' && s[i + 1] == 'x'; /* the hexadecimal spelling */
}

static enum sl_sni_kind classify_name(struct sl_cursor name, char out[static SL_HOST_NAME_MAX + 1])
{
    char text[SL_HOST_NAME_MAX + 2];
    size_t len = sl_cursor_left(&name);

    if (len == 0 || len > SL_HOST_NAME_MAX + 1)
        return SL_SNI_INVALID;
    memcpy(text, name.at, len);
    if (memchr(text, ':', len))
        return SL_SNI_IP;
    if (text[len - 1] == '.')
        len--;
    for (size_t i = 0; i < len; i++)
        if (text[i] >= 'A' && text[i] <= 'Z')
            text[i] = (char)(text[i] - 'A' + 'a');
    if (len == 0 || len > SL_HOST_NAME_MAX || !is_host_name(text, len))
        return SL_SNI_INVALID;
    if (ends_in_number(text, len))
        return SL_SNI_IP;
    memcpy(out, text, len);
    out[len] = 0;
    return SL_SNI_HOST;
}

static sl_err read_server_name(struct sl_cursor body, struct sl_client_hello *h)
{
    struct sl_cursor list, name;
    uint8_t type;
    bool seen = false;

    if (sl_read_vec16(&body, &list) || !sl_cursor_empty(&body) || sl_cursor_empty(&list))
        return malformed();
    while (!sl_cursor_empty(&list)) {
        if (sl_read_u8(&list, &type) || sl_read_vec16(&list, &name))
            return malformed();
        if (type != 0)
            continue;
        if (seen) /* RFC 6066 section 3: not more than one name of a type */
            return SL_ERR_ALERT(ILLEGAL_PARAMETER);
        seen = true;
        h->sni_kind = classify_name(name, h->sni);
    }
    return SL_OK;
}

/* ---- other extensions ---- */

static sl_err read_alpn(struct sl_cursor body, struct sl_client_hello *h)
{
    struct sl_cursor list, rest, name;
    if (sl_read_vec16(&body, &list) || !sl_cursor_empty(&body) || sl_cursor_empty(&list))
        return malformed();
    for (rest = list; !sl_cursor_empty(&rest);)
        if (sl_read_vec8(&rest, &name) || sl_cursor_empty(&name))
            return malformed();
    h->alpn = list;
    h->has_alpn = true;
    return SL_OK;
}

static sl_err read_versions(struct sl_hello_arena *a, struct sl_cursor body, struct sl_client_hello *h)
{
    struct sl_cursor bytes;
    if (sl_read_vec8(&body, &bytes) || !sl_cursor_empty(&body))
        return malformed();
    return read_list(a, bytes, 1, &h->versions);
}

static sl_err read_key_shares(struct sl_hello_arena *a, struct sl_cursor body, struct sl_client_hello *h)
{
    struct sl_cursor shares, key;
    uint16_t group;
    if (sl_read_vec16(&body, &shares) || !sl_cursor_empty(&body))
        return malformed();
    list_begin(a, &h->key_shares);
    while (!sl_cursor_empty(&shares)) {
        if (sl_read_u16(&shares, &group) || sl_read_vec16(&shares, &key) || sl_cursor_empty(&key))
            return malformed();
        if (list_add(a, &h->key_shares, group))
            return SL_ERR_LIMIT;
    }
    return SL_OK;
}

static sl_err read_psk_modes(struct sl_cursor body, struct sl_client_hello *h)
{
    struct sl_cursor modes;
    uint8_t mode;
    if (sl_read_vec8(&body, &modes) || !sl_cursor_empty(&body) || sl_cursor_empty(&modes))
        return malformed();
    while (sl_read_u8(&modes, &mode) == SL_OK)
        h->psk_dhe |= mode == PSK_DHE_KE;
    return SL_OK;
}

static enum sl_ech classify_ech(struct sl_cursor body)
{
    struct sl_cursor enc, payload;
    uint8_t type, config;
    uint32_t suite;
    if (sl_read_u8(&body, &type) || type != ECH_OUTER || sl_read_u32(&body, &suite) || sl_read_u8(&body, &config) ||
        sl_read_vec16(&body, &enc) || sl_read_vec16(&body, &payload) || sl_cursor_empty(&payload) || !sl_cursor_empty(&body))
        return SL_ECH_GREASE;
    return SL_ECH_OFFERED;
}

static sl_err read_extension(struct sl_hello_arena *a, uint16_t type, struct sl_cursor body, struct sl_client_hello *h)
{
    switch (type) {
    case EXT_SERVER_NAME:
        return read_server_name(body, h);
    case EXT_STATUS_REQUEST:
        h->status_request = true;
        break;
    case EXT_GROUPS:
        return read_list16(a, body, &h->groups);
    case EXT_SIGALGS:
        return read_list16(a, body, &h->sigalgs);
    case EXT_SIGALGS_CERT:
        return read_list16(a, body, &h->sigalgs_cert);
    case EXT_ALPN:
        return read_alpn(body, h);
    case EXT_SCT:
        h->sct = true;
        break;
    case EXT_ENCRYPT_THEN_MAC:
        h->encrypt_then_mac = true;
        break;
    case EXT_EXTENDED_MASTER_SECRET:
        h->extended_master_secret = true;
        break;
    case EXT_SESSION_TICKET:
        h->session_ticket = !sl_cursor_empty(&body);
        break;
    case EXT_PRE_SHARED_KEY:
        h->psk = true;
        break;
    case EXT_EARLY_DATA:
        h->early_data = true;
        break;
    case EXT_SUPPORTED_VERSIONS:
        return read_versions(a, body, h);
    case EXT_PSK_MODES:
        return read_psk_modes(body, h);
    case EXT_KEY_SHARE:
        return read_key_shares(a, body, h);
    case EXT_ECH:
        h->ech = classify_ech(body);
        break;
    case EXT_RENEGOTIATION_INFO:
        h->renegotiation_info = true;
        break;
    default:
        h->grease |= sl_is_grease(type);
        break;
    }
    return SL_OK;
}

/* The types come first, in one run, so that they form a list; then the bodies are read. */
static sl_err read_extensions(struct sl_hello_arena *a, struct sl_cursor list, struct sl_client_hello *h)
{
    struct sl_cursor at = list, body;
    uint16_t type;
    sl_err err = SL_OK;

    list_begin(a, &h->extensions);
    while (!sl_cursor_empty(&at)) {
        if (sl_read_u16(&at, &type) || sl_read_vec16(&at, &body))
            return malformed();
        if (list_add(a, &h->extensions, type))
            return SL_ERR_LIMIT;
        if (type == EXT_PRE_SHARED_KEY && !sl_cursor_empty(&at)) /* RFC 8446 section 4.2.11: the last one */
            return SL_ERR_ALERT(ILLEGAL_PARAMETER);
    }
    if (sl_hello_has_duplicate(&h->extensions, a))
        return SL_ERR_ALERT(ILLEGAL_PARAMETER);
    while (!err && sl_read_u16(&list, &type) == SL_OK && sl_read_vec16(&list, &body) == SL_OK)
        err = read_extension(a, type, body, h);
    return err;
}

static bool list_has_grease(const struct sl_u16_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (sl_is_grease(list->at[i]))
            return true;
    return false;
}

/* ---- the message ---- */

static sl_err read_body(struct sl_hello_arena *a, struct sl_cursor body, struct sl_client_hello *h)
{
    struct sl_cursor suites, extensions = {0};
    sl_err err;

    if (sl_read_u16(&body, &h->legacy_version) || sl_read_span(&body, SL_TLS_RANDOM_BYTES, &h->random) ||
        sl_read_vec8(&body, &h->session_id) || sl_cursor_left(&h->session_id) > 32 || sl_read_vec16(&body, &suites) ||
        sl_read_vec8(&body, &h->compressions) || sl_cursor_empty(&h->compressions))
        return malformed();
    err = read_list(a, suites, 1, &h->suites);
    if (err)
        return err;
    if (!sl_cursor_empty(&body) && (sl_read_vec16(&body, &extensions) || !sl_cursor_empty(&body)))
        return malformed();
    if (!memchr(h->compressions.at, 0, sl_cursor_left(&h->compressions)))
        return SL_ERR_ALERT(ILLEGAL_PARAMETER); /* null compression is always offered */
    err = read_extensions(a, extensions, h);
    if (err)
        return err;
    if (h->versions.count == 0) {
        list_begin(a, &h->versions);
        if (list_add(a, &h->versions, h->legacy_version))
            return SL_ERR_LIMIT;
    }
    return SL_OK;
}

static void summarise(struct sl_client_hello *h)
{
    for (size_t i = 0; i < h->versions.count; i++)
        if (!sl_is_grease(h->versions.at[i]) && h->versions.at[i] > h->version_max)
            h->version_max = h->versions.at[i];
    h->renegotiation_info |= sl_u16_list_has(&h->suites, SCSV_RENEGOTIATION);
    h->fallback_scsv = sl_u16_list_has(&h->suites, SCSV_FALLBACK);
    h->grease |= list_has_grease(&h->suites) || list_has_grease(&h->groups) || list_has_grease(&h->versions) ||
                 list_has_grease(&h->sigalgs) || list_has_grease(&h->key_shares);
}

sl_err sl_hello_parse(const uint8_t *message, size_t len, struct sl_hello_arena *a, struct sl_client_hello *h)
{
    struct sl_cursor c = sl_cursor_make(message, len), body;
    uint8_t type;
    sl_err err;

    *h = (struct sl_client_hello){.message_bytes = len};
    if (sl_read_u8(&c, &type) || type != SL_TLS_CLIENT_HELLO || sl_read_vec24(&c, &body) || !sl_cursor_empty(&c))
        return malformed();
    err = sl_hello_arena_init(a, len);
    if (err)
        return err;
    err = read_body(a, body, h);
    if (err)
        return err;
    summarise(h);
    return sl_hello_ja4(h, a);
}
