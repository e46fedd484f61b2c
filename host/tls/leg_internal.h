/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a leg: shared by leg.c, leg_observe.c, server_leg.c, client_leg.c and handover.c. */
#pragma once

#include <openssl/ssl.h>

#include "record/tls.h"
#include "tls/context.h"
#include "tls/leg.h"

/* What the key-log callback gave; of TLS 1.2 what the session holds. Secret memory; wiped at the hand-over. */
struct sl_leg_secrets {
    uint8_t master[SL_TLS12_MASTER_BYTES];
    uint8_t client_traffic[SL_TLS_HASH_MAX], server_traffic[SL_TLS_HASH_MAX];
    size_t master_len, client_traffic_len, server_traffic_len; /* 0: not there */
};

struct sl_leg {
    SSL *ssl; /* NULL after the hand-over */
    struct sl_tls_context *context;
    bool to_client; /* Sluice is the TLS server */
    bool eof;
    bool keys_come; /* the Finished went by: the next secrets are those of the application data */
    bool began;     /* OpenSSL has taken bytes of the peer's */
    enum sl_leg_state state;
    struct sl_buf in, out;
    size_t in_limit; /* bytes of `in` that OpenSSL may take; SIZE_MAX: all */
    struct sl_leg_info info;
    struct sl_leg_secrets *secrets;
    /* Records since the keys of that direction changed last. */
    uint64_t records_read, records_written;
    sl_err buffer_error; /* the output could not grow */
};

/* ---- leg.c ---- */
/* Makes the SSL object; leg is zeroed memory. On failure the leg holds nothing. */
sl_err sl_leg_init(struct sl_leg *leg, struct sl_tls_context *context, SSL_CTX *ctx, bool to_client);
void sl_leg_destroy(struct sl_leg *leg);
void sl_leg_free_ssl(struct sl_leg *leg);
struct sl_leg *sl_leg_of(const SSL *ssl);
BIO_METHOD *sl_leg_bio_method_new(void);
/* Ends the leg; a cause that is set already stays. error NULL: takes the library's. */
void sl_leg_fail(struct sl_leg *leg, Sluice__V1__Cause cause, const char *error);

/* ---- leg_observe.c: what the wire shows ---- */
void sl_leg_observe(SSL_CTX *ctx);           /* the message callback */
void sl_leg_listen(struct sl_leg *leg);      /* before OpenSSL works for this leg: the key log of its SSL_CTX, on or off */
void sl_leg_note_master(struct sl_leg *leg); /* at the end of the handshake: the secret of TLS 1.2 */
void sl_leg_note_alert(struct sl_leg *leg, bool sent, uint8_t level, uint8_t code);
/* Fills in what was selected so far. */
void sl_leg_note_selection(struct sl_leg *leg);

/* ---- leg_cause.c ---- */
Sluice__V1__Cause sl_leg_cause_of_alert(const struct sl_leg *leg, uint8_t code); /* a fatal alert of the peer */
Sluice__V1__Cause sl_leg_cause_of_reason(const struct sl_leg *leg, int ssl_reason);
/* The fatal alert that the peer sent; false: none. */
bool sl_leg_peer_alert(const struct sl_leg *leg, uint8_t *code);
