/* SPDX-License-Identifier: Apache-2.0 */
/* ClientHellos made by hand, for tests. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/cursor.h"

enum { HELLO_BUILD_MAX = 200000 };

struct hello_spec {
    uint16_t legacy_version; /* 0: 0x0303 */
    const uint16_t *suites;
    size_t suite_count;
    const uint16_t *extensions; /* types in order; bodies are made as below, unknown types get an empty one */
    size_t extension_count;
    const uint16_t *versions, *groups, *sigalgs;
    size_t version_count, group_count, sigalg_count;
    const char *sni;
    size_t sni_len;      /* 0: strlen */
    const char *alpn[4]; /* up to the first NULL */
    size_t key_share_bytes;
    size_t padding;
    const uint8_t *ech;
    size_t ech_len;
};

static inline void put_u16s(struct sl_writer *w, unsigned prefix, const uint16_t *v, size_t n)
{
    size_t mark;
    sl_write_vec_begin(w, prefix, &mark);
    for (size_t i = 0; i < n; i++)
        sl_write_u16(w, v[i]);
    sl_write_vec_end(w, prefix, mark);
}

static inline void put_zeros(struct sl_writer *w, size_t n)
{
    while (n-- > 0)
        sl_write_u8(w, 0);
}

static inline void put_extension_body(struct sl_writer *w, const struct hello_spec *s, uint16_t type)
{
    size_t a, b;
    switch (type) {
    case 0:
        sl_write_vec_begin(w, 2, &a);
        sl_write_u8(w, 0);
        sl_write_vec_begin(w, 2, &b);
        if (s->sni)
            sl_write_bytes(w, s->sni, s->sni_len ? s->sni_len : strlen(s->sni));
        sl_write_vec_end(w, 2, b);
        sl_write_vec_end(w, 2, a);
        break;
    case 10:
        put_u16s(w, 2, s->groups, s->group_count);
        break;
    case 13:
        put_u16s(w, 2, s->sigalgs, s->sigalg_count);
        break;
    case 16:
        sl_write_vec_begin(w, 2, &a);
        for (size_t i = 0; i < 4 && s->alpn[i]; i++) {
            sl_write_u8(w, (uint8_t)strlen(s->alpn[i]));
            sl_write_bytes(w, s->alpn[i], strlen(s->alpn[i]));
        }
        sl_write_vec_end(w, 2, a);
        break;
    case 21:
        put_zeros(w, s->padding);
        break;
    case 43:
        put_u16s(w, 1, s->versions, s->version_count);
        break;
    case 45:
        sl_write_u8(w, 1);
        sl_write_u8(w, 1);
        break;
    case 51:
        sl_write_vec_begin(w, 2, &a);
        sl_write_u16(w, s->group_count ? s->groups[0] : 0x001d);
        sl_write_vec_begin(w, 2, &b);
        put_zeros(w, s->key_share_bytes ? s->key_share_bytes : 32);
        sl_write_vec_end(w, 2, b);
        sl_write_vec_end(w, 2, a);
        break;
    case 0xfe0d:
        sl_write_bytes(w, s->ech, s->ech_len);
        break;
    default:
        break;
    }
}

/* The handshake message alone. */
static inline size_t build_message(const struct hello_spec *s, uint8_t *out, size_t cap)
{
    struct sl_writer w = sl_writer_make(out, cap);
    size_t message, extensions, body;
    sl_write_u8(&w, 1);
    sl_write_vec_begin(&w, 3, &message);
    sl_write_u16(&w, s->legacy_version ? s->legacy_version : 0x0303);
    for (uint8_t i = 0; i < 32; i++)
        sl_write_u8(&w, i);
    sl_write_u8(&w, 0);
    put_u16s(&w, 2, s->suites, s->suite_count);
    sl_write_u16(&w, 0x0100);
    if (s->extension_count > 0) {
        sl_write_vec_begin(&w, 2, &extensions);
        for (size_t i = 0; i < s->extension_count; i++) {
            sl_write_u16(&w, s->extensions[i]);
            sl_write_vec_begin(&w, 2, &body);
            put_extension_body(&w, s, s->extensions[i]);
            sl_write_vec_end(&w, 2, body);
        }
        sl_write_vec_end(&w, 2, extensions);
    }
    sl_write_vec_end(&w, 3, message);
    return w.len;
}

/* In records of at most fragment bytes. */
static inline size_t build_records(const uint8_t *message, size_t len, size_t fragment, uint8_t *out, size_t cap)
{
    struct sl_writer w = sl_writer_make(out, cap);
    for (size_t at = 0; at < len; at += fragment) {
        size_t n = len - at < fragment ? len - at : fragment;
        sl_write_u8(&w, 22);
        sl_write_u16(&w, 0x0301);
        sl_write_u16(&w, (uint16_t)n);
        sl_write_bytes(&w, message + at, n);
    }
    return w.len;
}

/* What a current Chromium sends: GREASE everywhere, a post-quantum share. */
static const uint16_t chrome_suites[] = {0x1a1a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030,
                                         0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035};
static const uint16_t chrome_extensions[] = {0x2a2a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d,
                                             0x0005, 0x0023, 0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015, 0x3a3a};
static const uint16_t chrome_versions[] = {0x4a4a, 0x0304, 0x0303};
static const uint16_t chrome_groups[] = {0x11ec, 0x5a5a, 0x001d, 0x0017, 0x0018};
static const uint16_t chrome_sigalgs[] = {0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601};

static inline struct hello_spec chrome_like(void)
{
    return (struct hello_spec){.suites = chrome_suites,
                               .suite_count = sizeof chrome_suites / 2,
                               .extensions = chrome_extensions,
                               .extension_count = sizeof chrome_extensions / 2,
                               .versions = chrome_versions,
                               .version_count = sizeof chrome_versions / 2,
                               .groups = chrome_groups,
                               .group_count = sizeof chrome_groups / 2,
                               .sigalgs = chrome_sigalgs,
                               .sigalg_count = sizeof chrome_sigalgs / 2,
                               .sni = "www.example.com",
                               .alpn = {"h2", "http/1.1"},
                               .key_share_bytes = 1216};
}
