/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's first message, read whole from raw bytes: over any number of TCP segments and records (RFC 8446 section 4.1.2), with
 * GREASE (RFC 8701) and post-quantum key shares. The reader keeps every byte as it came, so that a bypass can send them on (P7).
 *
 *   record     22 | 03 xx | length 1..2^14 | fragment
 *   handshake  01 | length (3)             | ClientHello, over one or more fragments
 *
 * A connection that is not TLS is recognised from its first bytes. What is unknown is ignored (P6); what contradicts the format is
 * malformed and has an alert.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cursor.h"
#include "base/err.h"
#include "sluice/v1/event.pb-c.h"

enum {
    SL_HELLO_MESSAGE_MAX = 64 * 1024, /* bytes of the handshake message */
    SL_HELLO_RAW_MAX = 80 * 1024,     /* bytes on the wire up to its end: guards against a flood of tiny records */
    SL_HELLO_RECORDS_MAX = 256,
    SL_HOST_NAME_MAX = 253,
    SL_JA4_BYTES = 37 /* with the final zero */
};

enum sl_hello_state {
    SL_HELLO_NEED_MORE,
    SL_HELLO_COMPLETE,
    SL_HELLO_NOT_TLS,  /* the first bytes are those of something else */
    SL_HELLO_MALFORMED /* TLS, but not a ClientHello that can be understood; see cause, alert and error */
};

struct sl_u16_list {
    const uint16_t *at;
    size_t count;
};

/* How the name in server_name reads. Only SL_SNI_HOST is put into `sni`. */
enum sl_sni_kind {
    SL_SNI_NONE,
    SL_SNI_HOST,   /* a DNS name: lower case, without a trailing dot; IDN stays in its A-label form ("xn--") */
    SL_SNI_IP,     /* an address literal, which RFC 6066 forbids; ignored */
    SL_SNI_INVALID /* empty, too long, or with bytes that no host name has; ignored */
};

/*
 * What the encrypted_client_hello extension (0xfe0d, RFC 9849) says. GREASE and a real offer look alike on purpose; only the server
 * can tell. A ClientHelloInner (type 1), which never travels in the clear, and a structure that can't be one count as grease; any
 * well-formed outer one counts as offered.
 */
enum sl_ech { SL_ECH_NONE, SL_ECH_GREASE, SL_ECH_OFFERED };

/* Lists are in the client's order, GREASE included unless said. Everything borrows from the reader. */
struct sl_client_hello {
    uint16_t legacy_version;
    uint16_t version_max;        /* highest version offered that is not GREASE, whatever it is */
    struct sl_u16_list versions; /* supported_versions; without that extension: legacy_version alone */
    struct sl_u16_list suites;
    struct sl_u16_list groups;  /* supported_groups */
    struct sl_u16_list sigalgs; /* signature_algorithms */
    struct sl_u16_list sigalgs_cert;
    struct sl_u16_list key_shares;  /* the groups of key_share */
    struct sl_u16_list extensions;  /* types, in order */
    struct sl_cursor alpn;          /* the list as on the wire: sl_client_hello_alpn_next */
    struct sl_cursor random;        /* 32 bytes */
    struct sl_cursor session_id;    /* 0..32 bytes */
    struct sl_cursor compressions;  /* methods */
    char sni[SL_HOST_NAME_MAX + 1]; /* "" unless sni_kind is SL_SNI_HOST */
    enum sl_sni_kind sni_kind;
    enum sl_ech ech;
    bool has_alpn;
    bool session_ticket; /* a TLS 1.2 ticket is presented (an empty extension only asks for one) */
    bool psk;            /* pre_shared_key: TLS 1.3 resumption */
    bool psk_dhe;        /* psk_key_exchange_modes has psk_dhe_ke */
    bool early_data;
    bool extended_master_secret;
    bool status_request;     /* OCSP */
    bool sct;                /* signed_certificate_timestamp */
    bool renegotiation_info; /* the extension, or TLS_EMPTY_RENEGOTIATION_INFO_SCSV */
    bool fallback_scsv;      /* RFC 7507 */
    bool encrypt_then_mac;
    bool grease;            /* some GREASE value was present */
    size_t message_bytes;   /* of the handshake message with its header */
    char ja4[SL_JA4_BYTES]; /* "t13d1516h2_8daaf6152771_e5627efa2ab1" */
};

struct sl_hello_reader;

sl_err sl_hello_reader_new(struct sl_hello_reader **out); /* SL_ERR_NOMEM */
void sl_hello_reader_free(struct sl_hello_reader *r);     /* NULL is allowed */

/*
 * Takes bytes in the order they arrived and says what they amount to so far. All of them are kept, also those after the ClientHello
 * and those fed after the decision. After SL_HELLO_MALFORMED for want of memory (cause RES_MEMORY) the raw bytes may be incomplete.
 */
enum sl_hello_state sl_hello_reader_feed(struct sl_hello_reader *r, const uint8_t *bytes, size_t len);
enum sl_hello_state sl_hello_reader_state(const struct sl_hello_reader *r);

/* Everything fed so far. */
const uint8_t *sl_hello_reader_raw(const struct sl_hello_reader *r, size_t *len);
/* Bytes of it that belong to the records of the ClientHello; 0 before SL_HELLO_COMPLETE. */
size_t sl_hello_reader_hello_bytes(const struct sl_hello_reader *r);

/* NULL before SL_HELLO_COMPLETE. Borrowed. */
const struct sl_client_hello *sl_hello_reader_hello(const struct sl_hello_reader *r);

/* After SL_HELLO_MALFORMED: CLI_BAD_HELLO, CLI_UNSUPPORTED_VERSION (an SSLv2 hello, or nothing above SSL 3.0) or RES_MEMORY; the
 * alert for the client; a sentence. */
Sluice__V1__Cause sl_hello_reader_cause(const struct sl_hello_reader *r);
uint8_t sl_hello_reader_alert(const struct sl_hello_reader *r);
const char *sl_hello_reader_error(const struct sl_hello_reader *r);

/* What the first bytes of a connection that is not TLS look like: "http", "ssh", "smtp", "unknown". Static storage. */
const char *sl_hello_reader_protocol(const struct sl_hello_reader *r);

bool sl_is_grease(uint16_t value); /* 0x?a?a with equal bytes */
bool sl_u16_list_has(const struct sl_u16_list *list, uint16_t value);

/* Takes the next protocol name off *list. False at its end. */
bool sl_client_hello_alpn_next(struct sl_cursor *list, struct sl_cursor *name);
bool sl_client_hello_offers_version(const struct sl_client_hello *h, uint16_t version);

/* For parsers under test: one whole handshake message (header included) without records. */
sl_err sl_hello_reader_parse(struct sl_hello_reader *r, const uint8_t *message, size_t len);
