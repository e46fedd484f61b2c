/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The numbers of the TLS record layer that Sluice carries: TLS 1.2 (RFC 5246, RFC 5288) and TLS 1.3 (RFC 8446) with AES-GCM.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { SL_TLS12 = 0x0303, SL_TLS13 = 0x0304 };

enum sl_tls_content { SL_TLS_CHANGE_CIPHER_SPEC = 20, SL_TLS_ALERT = 21, SL_TLS_HANDSHAKE = 22, SL_TLS_APPLICATION_DATA = 23 };

/* Handshake messages that may appear after the handshake, or that somebody may try to send then. */
enum sl_tls_handshake { SL_TLS_HELLO_REQUEST = 0, SL_TLS_CLIENT_HELLO = 1, SL_TLS_NEW_SESSION_TICKET = 4, SL_TLS_KEY_UPDATE = 24 };

enum { SL_TLS_ALERT_WARNING = 1, SL_TLS_ALERT_FATAL = 2 };

enum sl_tls_alert {
    SL_TLS_CLOSE_NOTIFY = 0,
    SL_TLS_UNEXPECTED_MESSAGE = 10,
    SL_TLS_BAD_RECORD_MAC = 20,
    SL_TLS_RECORD_OVERFLOW = 22,
    SL_TLS_ILLEGAL_PARAMETER = 47,
    SL_TLS_DECODE_ERROR = 50,
    SL_TLS_INTERNAL_ERROR = 80,
    SL_TLS_USER_CANCELED = 90,
    SL_TLS_NO_RENEGOTIATION = 100
};

enum {
    SL_TLS_HEADER_BYTES = 5,
    SL_TLS_TAG_BYTES = 16, /* never truncated */
    SL_TLS_IV_BYTES = 12,  /* TLS 1.2: salt of 4, then the explicit nonce of 8 */
    SL_TLS12_SALT_BYTES = 4,
    SL_TLS12_NONCE_BYTES = 8, /* in front of every TLS 1.2 fragment */
    SL_TLS12_OVERHEAD = SL_TLS12_NONCE_BYTES + SL_TLS_TAG_BYTES,
    SL_TLS13_OVERHEAD = 1 + SL_TLS_TAG_BYTES, /* inner content type and tag */
    SL_TLS_PLAINTEXT_MAX = 1 << 14,
    /* RFC 8446 section 5.2 allows 2^14 + 256, section 5.4 an inner plaintext of 2^14 + 1: with the fixed expansion of GCM the
     * second rule is the narrower one, and both end in record_overflow. */
    SL_TLS13_FRAGMENT_MAX = SL_TLS_PLAINTEXT_MAX + SL_TLS13_OVERHEAD,
    SL_TLS12_FRAGMENT_MAX = SL_TLS_PLAINTEXT_MAX + SL_TLS12_OVERHEAD,
    SL_TLS_RECORD_MAX = SL_TLS_HEADER_BYTES + SL_TLS12_FRAGMENT_MAX,
    SL_TLS_KEY_MAX = 32,
    SL_TLS_HASH_MAX = 48,
    SL_TLS12_MASTER_BYTES = 48,
    SL_TLS_RANDOM_BYTES = 32
};

enum sl_hash { SL_SHA256, SL_SHA384 };

struct sl_suite {
    uint16_t id;
    uint16_t version; /* SL_TLS12 or SL_TLS13 */
    uint8_t key_len;  /* 16 or 32: AES-128-GCM or AES-256-GCM, the only AEADs here */
    uint8_t hash_len; /* 32 or 48 */
    enum sl_hash hash;
    const char *name; /* IANA */
};

/* The AES-GCM suite with that number, or NULL: then the flow is relayed through OpenSSL. Static storage. */
const struct sl_suite *sl_suite_find(uint16_t id);

/* All of them, *count entries, by rising number. */
const struct sl_suite *sl_suite_all(size_t *count);
