/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JA4, the fingerprint of a ClientHello (FoxIO's specification of the TLS client fingerprint):
 *
 *   a  t | version | d or i (server_name present?) | count of suites | count of extensions | first and last character of the first
 * ALPN b  SHA-256, 12 hex digits, of the suites, sorted: "1301,1302,…" c  SHA-256, 12 hex digits, of the extensions, sorted,
 * without server_name and ALPN, then "_" and the signature algorithms in order
 *
 * GREASE counts nowhere. Counts stop at 99. An empty list hashes to 000000000000.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tls/hello_internal.h"

enum { EXT_SERVER_NAME = 0, EXT_ALPN = 16, HASH_CHARS = 12 };

static int by_value(const void *a, const void *b)
{
    return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

bool sl_hello_has_duplicate(const struct sl_u16_list *list, struct sl_hello_arena *a)
{
    if (list->count < 2)
        return false;
    memcpy(a->scratch, list->at, list->count * sizeof *a->scratch);
    qsort(a->scratch, list->count, sizeof *a->scratch, by_value);
    for (size_t i = 1; i < list->count; i++)
        if (a->scratch[i] == a->scratch[i - 1])
            return true;
    return false;
}

static size_t count_real(const struct sl_u16_list *list)
{
    size_t n = 0;
    for (size_t i = 0; i < list->count; i++)
        n += !sl_is_grease(list->at[i]);
    return n < 99 ? n : 99;
}

static const char *version_text(uint16_t version)
{
    switch (version) {
    case 0x0304:
        return "13";
    case 0x0303:
        return "12";
    case 0x0302:
        return "11";
    case 0x0301:
        return "10";
    case 0x0300:
        return "s3";
    case 0x0002:
        return "s2";
    default:
        return "00";
    }
}

static bool is_alnum(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static void alpn_text(const struct sl_client_hello *h, char out[static 3])
{
    static const char hex[] = "0123456789abcdef";
    struct sl_cursor list = h->alpn, name;

    memcpy(out, "00", 3);
    if (!h->has_alpn || !sl_client_hello_alpn_next(&list, &name) || sl_cursor_empty(&name))
        return;
    uint8_t first = name.at[0], last = name.end[-1];
    if (is_alnum(first) && is_alnum(last)) {
        out[0] = (char)first;
        out[1] = (char)last;
    } else {
        out[0] = hex[first >> 4];
        out[1] = hex[last & 15];
    }
}

/* "0005,000a,…": the values that count, appended to text. */
static size_t put_list(char *text, size_t at, const uint16_t *values, size_t count, bool skip_names)
{
    static const char hex[] = "0123456789abcdef";
    bool first = true;
    for (size_t i = 0; i < count; i++) {
        uint16_t v = values[i];
        if (sl_is_grease(v) || (skip_names && (v == EXT_SERVER_NAME || v == EXT_ALPN)))
            continue;
        if (!first)
            text[at++] = ',';
        first = false;
        for (int shift = 12; shift >= 0; shift -= 4)
            text[at++] = hex[v >> shift & 15];
    }
    return at;
}

static sl_err put_hash(const char *text, size_t len, char out[static HASH_CHARS])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    char hex[3];
    if (len == 0) {
        memset(out, '0', HASH_CHARS);
        return SL_OK;
    }
    if (!EVP_Q_digest(NULL, "SHA256", NULL, text, len, digest, NULL))
        return SL_ERR_CRYPTO;
    for (size_t i = 0; i < HASH_CHARS / 2; i++) {
        snprintf(hex, sizeof hex, "%02x", digest[i]);
        memcpy(out + 2 * i, hex, 2);
    }
    return SL_OK;
}

static const uint16_t *sorted(const struct sl_u16_list *list, struct sl_hello_arena *a)
{
    if (list->count > 0) {
        memcpy(a->scratch, list->at, list->count * sizeof *a->scratch);
        qsort(a->scratch, list->count, sizeof *a->scratch, by_value);
    }
    return a->scratch;
}

sl_err sl_hello_ja4(struct sl_client_hello *h, struct sl_hello_arena *a)
{
    char alpn[3];
    size_t chars = 5 * (h->suites.count + h->extensions.count + h->sigalgs.count) + 2, len, extensions;
    char *text = malloc(chars);
    sl_err err;

    if (!text)
        return SL_ERR_NOMEM;
    alpn_text(h, alpn);
    snprintf(h->ja4, sizeof h->ja4, "t%s%c%02zu%02zu%s", version_text(h->version_max),
             sl_u16_list_has(&h->extensions, 0) ? 'd' : 'i', count_real(&h->suites), count_real(&h->extensions), alpn);
    h->ja4[10] = h->ja4[23] = '_';
    len = put_list(text, 0, sorted(&h->suites, a), h->suites.count, false);
    err = put_hash(text, len, h->ja4 + 11);
    if (err)
        goto Exit;
    extensions = len = put_list(text, 0, sorted(&h->extensions, a), h->extensions.count, true);
    if (count_real(&h->sigalgs) > 0 && extensions > 0) {
        text[len++] = '_';
        len = put_list(text, len, h->sigalgs.at, h->sigalgs.count, false);
    }
    err = put_hash(text, len, h->ja4 + 24);
    h->ja4[36] = 0;
Exit:
    free(text);
    return err;
}
