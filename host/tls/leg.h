/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What both legs have in common: a TLS connection of OpenSSL's that does no I/O of its own. Bytes from the peer are fed, bytes for
 * the peer are taken out, and in between the leg makes steps:
 *
 *   feed(bytes) ─▶ step() ─▶ WANT_IO | CLIENT_CERT | DONE | FAILED ─▶ output() / consume()
 *
 * OpenSSL takes from the input exactly the records that the handshake needs; what follows stays here, raw. After DONE an AES-GCM
 * leg is handed over (tls/handover.h); any other one is relayed with app_write, app_read and close.
 *
 * A leg belongs to one thread. After FAILED only info, output, consume and free make sense; the output then holds the alert, if
 * there is one to send.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "sluice/v1/event.pb-c.h"

enum {
    SL_LEG_ALERTS_MAX = 6,
    SL_LEG_ERROR_BYTES = 256,
    SL_LEG_INPUT_MAX = 512 * 1024, /* raw bytes that may wait in a leg: SL_ERR_LIMIT beyond */
    SL_LEG_INPUT_HIGH = 64 * 1024  /* stop reading the peer while more than this waits */
};

enum sl_leg_state {
    SL_LEG_WANT_IO,     /* send the output, feed more */
    SL_LEG_CLIENT_CERT, /* server leg: the server asks for a client certificate; nothing was answered yet (V16) */
    SL_LEG_DONE,        /* the handshake is complete; output may be waiting */
    SL_LEG_FAILED
};

struct sl_leg_alert {
    uint8_t level, code;
    Sluice__V1__AlertDirection direction; /* as seen on the wire (P14) */
};

/* What is known of a leg; grows during the handshake. Names: tls/names.h. */
struct sl_leg_info {
    Sluice__V1__Cause cause;        /* after FAILED */
    Sluice__V1__Stage stage;        /* how far it came */
    char error[SL_LEG_ERROR_BYTES]; /* the library's text of the failure, for support; "" */
    struct sl_leg_alert alerts[SL_LEG_ALERTS_MAX];
    size_t alert_count;
    uint16_t version, suite, group, sigalg; /* selected; 0: none yet. sigalg: of the server's CertificateVerify or key exchange */
    uint8_t alpn[255];
    uint8_t alpn_len; /* 0: none selected */
    bool resumed;
    bool extended_master_secret;
    bool server_hello;          /* a ServerHello came or went */
    bool client_cert_requested; /* server leg */
    bool hello_retry;           /* HelloRetryRequest */
};

struct sl_leg;

/* Bytes from the peer. SL_ERR_LIMIT: SL_LEG_INPUT_MAX. SL_ERR_NOMEM. After a failure nothing was taken. */
sl_err sl_leg_feed(struct sl_leg *leg, const uint8_t *bytes, size_t len);
/* The peer has closed its direction. The next step fails with SRV_EOF or CLI_EOF unless the handshake can be completed without. */
void sl_leg_feed_eof(struct sl_leg *leg);
enum sl_leg_state sl_leg_step(struct sl_leg *leg);
enum sl_leg_state sl_leg_state(const struct sl_leg *leg);

/* Bytes for the peer; borrowed until the next call. */
const uint8_t *sl_leg_output(const struct sl_leg *leg, size_t *len);
void sl_leg_consume(struct sl_leg *leg, size_t len);
/* Raw bytes that wait in the leg. */
size_t sl_leg_input_waiting(const struct sl_leg *leg);

const struct sl_leg_info *sl_leg_info(const struct sl_leg *leg);

/* Gives the handshake up with this alert to the peer (for instance because the other leg failed); the leg is FAILED, with cause
 * unchanged if it had one. Does nothing to a failed leg. */
void sl_leg_abort(struct sl_leg *leg, uint8_t alert, Sluice__V1__Cause cause);

/* ---- relay through OpenSSL, after DONE ---- */

/* Whether the leg must be relayed so, because its suite is not AES-GCM. */
bool sl_leg_needs_openssl(const struct sl_leg *leg);

/*
 * Application data that the peer sent, from what was fed. SL_OK with *len > 0; SL_ERR_AGAIN: nothing whole is there;
 * SL_ERR_NOT_FOUND: the peer has closed properly (close_notify). Any other error is final and the leg FAILED, with its cause:
 * SL_ERR_PEER_ALERT(n), SL_ERR_AUTH (bad record), SL_ERR_SHORT (end of the stream without close_notify), SL_ERR_CRYPTO.
 */
sl_err sl_leg_app_read(struct sl_leg *leg, uint8_t *out, size_t cap, size_t *len);
/* Seals application data into the output. All or nothing. */
sl_err sl_leg_app_write(struct sl_leg *leg, const uint8_t *bytes, size_t len);
/* close_notify into the output. Idempotent. */
void sl_leg_app_close(struct sl_leg *leg);
