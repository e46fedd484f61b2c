/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/leg.h"

#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "base/secret.h"
#include "tls/alert.h"
#include "tls/context_internal.h"
#include "tls/leg_internal.h"

enum { OUTPUT_MAX = 1024 * 1024 };

/* ---- a BIO over the leg's two buffers ----
 *
 * OpenSSL reads a header, then exactly the body (read-ahead is off), so whatever it does not need for the handshake stays in `in`.
 */

static int bio_read(BIO *bio, char *out, size_t cap, size_t *len)
{
    struct sl_leg *leg = BIO_get_data(bio);
    size_t n = sl_buf_len(&leg->in);

    BIO_clear_retry_flags(bio);
    if (n > leg->in_limit)
        n = leg->in_limit;
    if (n > cap)
        n = cap;
    if (n == 0) { /* also at the end of the stream: OpenSSL would answer it with an alert that nobody reads */
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(out, sl_buf_data(&leg->in), n);
    leg->began = true;
    sl_buf_consume(&leg->in, n);
    if (leg->in_limit != SIZE_MAX)
        leg->in_limit -= n;
    *len = n;
    return 1;
}

static int bio_write(BIO *bio, const char *bytes, size_t len, size_t *written)
{
    struct sl_leg *leg = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    leg->buffer_error = sl_buf_append(&leg->out, bytes, len);
    if (leg->buffer_error)
        return -1;
    *written = len;
    return 1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)number;
    (void)pointer;
    (void)bio;
    return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP;
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

BIO_METHOD *sl_leg_bio_method_new(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "sluice leg");
    if (m && BIO_meth_set_read_ex(m, bio_read) && BIO_meth_set_write_ex(m, bio_write) && BIO_meth_set_ctrl(m, bio_ctrl) &&
        BIO_meth_set_create(m, bio_create))
        return m;
    BIO_meth_free(m);
    return NULL;
}

/* ---- life ---- */

struct sl_leg *sl_leg_of(const SSL *ssl)
{
    return SSL_get_app_data(ssl);
}

sl_err sl_leg_init(struct sl_leg *leg, struct sl_tls_context *context, SSL_CTX *ctx, bool to_client)
{
    BIO *bio = NULL;
    sl_err err = sl_secret_alloc(sizeof *leg->secrets, (void **)&leg->secrets);

    if (err)
        return err;
    leg->context = context;
    leg->to_client = to_client;
    leg->in_limit = SIZE_MAX;
    leg->state = SL_LEG_WANT_IO;
    leg->info.stage = to_client ? SLUICE__V1__STAGE__STAGE_CLIENT_HELLO : SLUICE__V1__STAGE__STAGE_SERVER_HELLO;
    sl_buf_init(&leg->in, SL_LEG_INPUT_MAX);
    sl_buf_init(&leg->out, OUTPUT_MAX);
    leg->ssl = SSL_new(ctx);
    bio = BIO_new(context->bio_method);
    if (!leg->ssl || !bio || !SSL_set_app_data(leg->ssl, leg)) {
        BIO_free(bio);
        sl_leg_destroy(leg);
        return SL_ERR_NOMEM;
    }
    BIO_set_data(bio, leg);
    SSL_set_bio(leg->ssl, bio, bio);
    SSL_set_msg_callback_arg(leg->ssl, leg);
    if (to_client)
        SSL_set_accept_state(leg->ssl);
    else
        SSL_set_connect_state(leg->ssl);
    return SL_OK;
}

/* Without these flags OpenSSL takes a connection that ends without close_notify for a reason not to resume its session. */
void sl_leg_free_ssl(struct sl_leg *leg)
{
    if (!leg->ssl)
        return;
    SSL_set_shutdown(leg->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(leg->ssl);
    leg->ssl = NULL;
}

void sl_leg_destroy(struct sl_leg *leg)
{
    sl_leg_free_ssl(leg);
    sl_secret_free(leg->secrets);
    leg->secrets = NULL;
    sl_buf_free(&leg->in);
    sl_buf_free(&leg->out);
}

/* ---- bytes ---- */

sl_err sl_leg_feed(struct sl_leg *leg, const uint8_t *bytes, size_t len)
{
    return sl_buf_append(&leg->in, bytes, len);
}

void sl_leg_feed_eof(struct sl_leg *leg)
{
    leg->eof = true;
}

const uint8_t *sl_leg_output(const struct sl_leg *leg, size_t *len)
{
    *len = sl_buf_len(&leg->out);
    return sl_buf_data(&leg->out);
}

void sl_leg_consume(struct sl_leg *leg, size_t len)
{
    sl_buf_consume(&leg->out, len);
}

size_t sl_leg_input_waiting(const struct sl_leg *leg)
{
    return sl_buf_len(&leg->in);
}

const struct sl_leg_info *sl_leg_info(const struct sl_leg *leg)
{
    return &leg->info;
}

enum sl_leg_state sl_leg_state(const struct sl_leg *leg)
{
    return leg->state;
}

/* ---- failure ---- */

/* The first error of the SSL library is the one that tells; others above it come from what it called. */
static int take_error(struct sl_leg *leg, const char *error)
{
    unsigned long code, told = 0;
    int reason = 0;

    while ((code = ERR_get_error()) != 0) {
        if (told == 0 || (reason == 0 && ERR_GET_LIB(code) == ERR_LIB_SSL))
            told = code;
        if (reason == 0 && ERR_GET_LIB(code) == ERR_LIB_SSL)
            reason = ERR_GET_REASON(code);
    }
    if (leg->info.error[0] == 0) {
        if (error)
            snprintf(leg->info.error, sizeof leg->info.error, "%s", error);
        else if (told != 0)
            ERR_error_string_n(told, leg->info.error, sizeof leg->info.error);
    }
    return reason;
}

void sl_leg_fail(struct sl_leg *leg, Sluice__V1__Cause cause, const char *error)
{
    uint8_t code;
    int reason = take_error(leg, error);

    sl_leg_note_selection(leg);
    leg->state = SL_LEG_FAILED;
    if (leg->info.cause != SLUICE__V1__CAUSE__CAUSE_NONE)
        return;
    if (cause == SLUICE__V1__CAUSE__CAUSE_NONE) {
        if (leg->buffer_error)
            cause = SLUICE__V1__CAUSE__RES_MEMORY;
        else if (sl_leg_peer_alert(leg, &code))
            cause = sl_leg_cause_of_alert(leg, code);
        else
            cause = sl_leg_cause_of_reason(leg, reason);
    }
    leg->info.cause = cause;
}

void sl_leg_abort(struct sl_leg *leg, uint8_t alert, Sluice__V1__Cause cause)
{
    uint8_t record[SL_PLAIN_ALERT_BYTES];

    if (leg->state == SL_LEG_FAILED)
        return;
    if (leg->state != SL_LEG_DONE && !leg->info.server_hello) {
        sl_plain_alert(alert, record);
        if (sl_buf_append(&leg->out, record, sizeof record) == SL_OK)
            sl_leg_note_alert(leg, true, SL_TLS_ALERT_FATAL, alert);
    }
    sl_leg_fail(leg, cause, "");
}

/* Everything the peer sent was read, and it was not enough. */
static void fail_eof(struct sl_leg *leg)
{
    ERR_clear_error();
    ERR_raise(ERR_LIB_SSL, SSL_R_UNEXPECTED_EOF_WHILE_READING); /* the library's words for it */
    sl_leg_fail(leg, leg->to_client ? SLUICE__V1__CAUSE__CLI_EOF : SLUICE__V1__CAUSE__SRV_EOF, NULL);
}

/* ---- steps ---- */

/* A server that speaks no TLS is told from one that speaks it badly before OpenSSL says the same of both. */
static bool is_tls_so_far(const struct sl_leg *leg)
{
    const uint8_t *b = sl_buf_data(&leg->in);
    size_t n = sl_buf_len(&leg->in);
    return (n < 1 || (b[0] >= SL_TLS_CHANGE_CIPHER_SPEC && b[0] <= SL_TLS_APPLICATION_DATA)) && (n < 2 || b[1] == 3);
}

static enum sl_leg_state finish(struct sl_leg *leg)
{
    sl_leg_note_selection(leg);
    sl_leg_note_master(leg);
    leg->keys_come = false;
    sl_leg_listen(leg);
    leg->info.stage = SLUICE__V1__STAGE__STAGE_POST_HANDSHAKE;
    leg->state = SL_LEG_DONE;
    if (sl_leg_needs_openssl(leg)) /* it stays: idle, it should be small */
        SSL_set_mode(leg->ssl, SSL_MODE_RELEASE_BUFFERS);
    return leg->state;
}

enum sl_leg_state sl_leg_step(struct sl_leg *leg)
{
    if (leg->state == SL_LEG_DONE || leg->state == SL_LEG_FAILED)
        return leg->state;
    if (!leg->to_client && !leg->began && !is_tls_so_far(leg)) {
        sl_leg_fail(leg, SLUICE__V1__CAUSE__SRV_NOT_TLS, "the server's first bytes are not TLS");
        return leg->state;
    }
    ERR_clear_error();
    sl_leg_listen(leg);
    int result = SSL_do_handshake(leg->ssl);
    if (result == 1)
        return finish(leg);
    switch (SSL_get_error(leg->ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        leg->state = SL_LEG_WANT_IO;
        if (leg->eof)
            fail_eof(leg);
        break;
    case SSL_ERROR_WANT_X509_LOOKUP:
        sl_leg_note_selection(leg);
        leg->state = SL_LEG_CLIENT_CERT;
        break;
    default:
        sl_leg_fail(leg, SLUICE__V1__CAUSE__CAUSE_NONE, NULL);
        break;
    }
    return leg->state;
}

/* ---- relay through OpenSSL ---- */

bool sl_leg_needs_openssl(const struct sl_leg *leg)
{
    return leg->state == SL_LEG_DONE && sl_suite_find(leg->info.suite) == NULL;
}

static sl_err app_failed(struct sl_leg *leg)
{
    uint8_t code;
    unsigned long error = ERR_peek_error();
    bool bad_record = ERR_GET_LIB(error) == ERR_LIB_SSL && (ERR_GET_REASON(error) == SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC ||
                                                            ERR_GET_REASON(error) == SSL_R_BAD_RECORD_TYPE);

    leg->info.stage = SLUICE__V1__STAGE__STAGE_RECORD;
    if (sl_leg_peer_alert(leg, &code)) {
        sl_leg_fail(leg, SLUICE__V1__CAUSE__CAUSE_NONE, NULL);
        return SL_ERR_PEER_ALERT(code);
    }
    sl_leg_fail(leg, bad_record ? SLUICE__V1__CAUSE__REC_BAD_MAC : SLUICE__V1__CAUSE__REC_PROTOCOL, NULL);
    return bad_record ? SL_ERR_AUTH : SL_ERR_CRYPTO;
}

sl_err sl_leg_app_read(struct sl_leg *leg, uint8_t *out, size_t cap, size_t *len)
{
    *len = 0;
    if (leg->state != SL_LEG_DONE || !leg->ssl)
        return SL_ERR_STATE;
    ERR_clear_error();
    int ok = SSL_read_ex(leg->ssl, out, cap, len);
    if (ok)
        return SL_OK;
    switch (SSL_get_error(leg->ssl, ok)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        if (!leg->eof)
            return SL_ERR_AGAIN;
        leg->info.stage = SLUICE__V1__STAGE__STAGE_RECORD;
        fail_eof(leg);
        return SL_ERR_SHORT;
    case SSL_ERROR_ZERO_RETURN:
        return SL_ERR_NOT_FOUND;
    default:
        return app_failed(leg);
    }
}

sl_err sl_leg_app_write(struct sl_leg *leg, const uint8_t *bytes, size_t len)
{
    size_t written = 0;

    if (leg->state != SL_LEG_DONE || !leg->ssl)
        return SL_ERR_STATE;
    if (len == 0)
        return SL_OK;
    /* Bytes and all their records fit, or nothing is written. */
    if (len > OUTPUT_MAX / 2 || sl_buf_len(&leg->out) > OUTPUT_MAX / 4)
        return SL_ERR_LIMIT;
    ERR_clear_error();
    if (SSL_write_ex(leg->ssl, bytes, len, &written) && written == len)
        return SL_OK;
    return app_failed(leg);
}

void sl_leg_app_close(struct sl_leg *leg)
{
    if (leg->state != SL_LEG_DONE || !leg->ssl || SSL_get_shutdown(leg->ssl) & SSL_SENT_SHUTDOWN)
        return;
    ERR_clear_error();
    SSL_shutdown(leg->ssl);
    ERR_clear_error();
}
