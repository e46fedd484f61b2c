/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/handover.h"

#include <openssl/err.h>
#include <string.h>

#include "base/cursor.h"
#include "base/secret.h"
#include "record/record.h"
#include "tls/server_leg_internal.h"

/* ---- keys ---- */

static bool has_secrets(const struct sl_leg *leg)
{
    const struct sl_leg_secrets *s = leg->secrets;
    if (!s)
        return false;
    return leg->info.version == SL_TLS13 ? s->client_traffic_len > 0 && s->server_traffic_len > 0
                                         : s->master_len == SL_TLS12_MASTER_BYTES;
}

bool sl_leg_can_hand_over(const struct sl_leg *leg)
{
    return leg->state == SL_LEG_DONE && leg->ssl && sl_suite_find(leg->info.suite) && has_secrets(leg);
}

/* Record numbers as OpenSSL left them. */
static sl_err derive(const struct sl_leg *leg, struct sl_record_leg *keys)
{
    const struct sl_leg_secrets *s = leg->secrets;
    uint64_t client = leg->to_client ? leg->records_read : leg->records_written;
    uint64_t server = leg->to_client ? leg->records_written : leg->records_read;
    uint16_t suite = leg->info.suite;
    uint8_t client_random[SL_TLS_RANDOM_BYTES], server_random[SL_TLS_RANDOM_BYTES];
    sl_err err;

    if (leg->info.version == SL_TLS13) {
        err = sl_record_half_tls13(&keys->client_write, suite, s->client_traffic, s->client_traffic_len, 0, client);
        if (!err)
            err = sl_record_half_tls13(&keys->server_write, suite, s->server_traffic, s->server_traffic_len, 0, server);
        return err;
    }
    if (SSL_get_client_random(leg->ssl, client_random, sizeof client_random) != sizeof client_random ||
        SSL_get_server_random(leg->ssl, server_random, sizeof server_random) != sizeof server_random)
        return SL_ERR_CRYPTO;
    return sl_record_leg_tls12(keys, suite, s->master, client_random, server_random, client, server);
}

static void keep_certificate(struct sl_leg *leg)
{
    struct sl_server_leg *server = (struct sl_server_leg *)leg;
    if (!leg->to_client && !server->certificate)
        server->certificate = SSL_get1_peer_certificate(leg->ssl);
}

sl_err sl_leg_hand_over(struct sl_leg *leg, struct sl_record_leg **keys, struct sl_buf *rest)
{
    struct sl_record_leg *derived = NULL;
    sl_err err;

    if (!sl_leg_can_hand_over(leg))
        return SL_ERR_STATE;
    err = sl_record_leg_new(&derived);
    if (err)
        return err;
    err = derive(leg, derived);
    if (!err)
        err = sl_buf_append(rest, sl_buf_data(&leg->in), sl_buf_len(&leg->in));
    if (err) {
        sl_record_leg_free(derived);
        return err;
    }
    *keys = derived;
    sl_buf_free(&leg->in);
    keep_certificate(leg);
    sl_leg_free_ssl(leg);
    sl_secret_free(leg->secrets);
    leg->secrets = NULL;
    return SL_OK;
}

/* ---- what the server sends meanwhile ---- */

enum { MSG_HEADER_BYTES = 4 };

/* Nothing but whole NewSessionTicket messages? */
static bool only_tickets(const uint8_t *content, size_t len)
{
    struct sl_cursor c = sl_cursor_make(content, len), body;
    uint8_t type;
    if (len == 0)
        return false;
    while (!sl_cursor_empty(&c))
        if (sl_read_u8(&c, &type) || type != SL_TLS_NEW_SESSION_TICKET || sl_read_vec24(&c, &body))
            return false;
    return true;
}

/* Bytes of the record at the head of the input; 0: not whole yet. */
static size_t whole_record(const struct sl_leg *leg)
{
    struct sl_cursor c = sl_cursor_make(sl_buf_data(&leg->in), sl_buf_len(&leg->in)), body;
    if (sl_read_skip(&c, 3) || sl_read_vec16(&c, &body))
        return 0;
    return SL_TLS_HEADER_BYTES + sl_cursor_left(&body);
}

/* Keys of our own for looking at the server's records; they only open, so nothing is spent twice. */
static sl_err prepare_peek(struct sl_server_leg *leg)
{
    struct sl_record_leg *keys = NULL;
    sl_err err = leg->peek ? SL_OK : sl_record_leg_new(&keys);

    if (err || leg->peek)
        return err;
    err = derive(&leg->base, keys);
    if (!err)
        err = sl_record_new(NULL, &keys->server_write, &leg->peek);
    sl_record_leg_free(keys);
    return err;
}

/* OpenSSL takes exactly this record and keeps the sessions in it. */
static sl_err give_to_openssl(struct sl_leg *leg, size_t record_len)
{
    uint8_t nothing;
    size_t n = 0;

    leg->in_limit = record_len;
    ERR_clear_error();
    int ok = SSL_read_ex(leg->ssl, &nothing, sizeof nothing, &n);
    bool fine = !ok && SSL_get_error(leg->ssl, ok) == SSL_ERROR_WANT_READ && leg->in_limit == 0;
    leg->in_limit = SIZE_MAX;
    return fine ? SL_OK : SL_ERR_CRYPTO;
}

static sl_err refused_late(struct sl_leg *leg, uint8_t level, uint8_t code)
{
    sl_leg_note_alert(leg, false, level, code);
    sl_leg_fail(leg, sl_leg_cause_of_alert(leg, code), "");
    return SL_ERR_PEER_ALERT(code);
}

static sl_err absorb_one(struct sl_server_leg *leg, size_t record_len, uint8_t *scratch, bool *stop)
{
    struct sl_leg *base = &leg->base;
    const uint8_t *record = sl_buf_data(&base->in);
    enum sl_tls_content type;
    size_t len = 0, padding = 0;
    sl_err err;

    *stop = true;
    /* In TLS 1.2 only alerts are of interest, in TLS 1.3 every record looks the same; whatever else there is the transcoder judges.
     */
    if (record[0] != (base->info.version == SL_TLS13 ? SL_TLS_APPLICATION_DATA : SL_TLS_ALERT))
        return SL_OK;
    err = sl_record_open(leg->peek, record, record_len, scratch, &type, &len, &padding);
    if (err) {
        sl_leg_fail(base, SLUICE__V1__CAUSE__REC_BAD_MAC, sl_err_str(err));
        return SL_ERR_AUTH;
    }
    if (type == SL_TLS_ALERT && len == 2 && scratch[1] != SL_TLS_CLOSE_NOTIFY && scratch[1] != SL_TLS_USER_CANCELED &&
        (scratch[0] == SL_TLS_ALERT_FATAL || base->info.version == SL_TLS13))
        return refused_late(base, scratch[0], scratch[1]);
    if (type != SL_TLS_HANDSHAKE || base->info.version != SL_TLS13 || !only_tickets(scratch, len))
        return SL_OK;
    err = give_to_openssl(base, record_len);
    if (err) {
        sl_leg_fail(base, SLUICE__V1__CAUSE__SRV_BAD_HANDSHAKE, NULL);
        return err;
    }
    *stop = false;
    return SL_OK;
}

/* Through OpenSSL alone: it takes tickets, keeps application data, and reports an alert. */
static sl_err absorb_by_openssl(struct sl_leg *leg)
{
    uint8_t byte, code;
    size_t n = 0;

    ERR_clear_error();
    int ok = SSL_peek_ex(leg->ssl, &byte, sizeof byte, &n);
    int error = ok ? SSL_ERROR_NONE : SSL_get_error(leg->ssl, ok);
    if (ok || error == SSL_ERROR_WANT_READ || error == SSL_ERROR_ZERO_RETURN)
        return SL_OK;
    bool alerted = sl_leg_peer_alert(leg, &code);
    sl_leg_fail(leg, SLUICE__V1__CAUSE__CAUSE_NONE, NULL);
    return alerted ? SL_ERR_PEER_ALERT(code) : SL_ERR_CRYPTO;
}

sl_err sl_server_leg_absorb(struct sl_server_leg *leg)
{
    struct sl_leg *base = &leg->base;
    uint8_t *scratch = NULL;
    size_t record_len;
    bool stop = false;
    sl_err err = SL_OK;

    if (base->state != SL_LEG_DONE || !base->ssl)
        return base->state == SL_LEG_DONE ? SL_OK : SL_ERR_STATE;
    if (leg->absorbed || sl_buf_len(&base->in) == 0)
        return SL_OK;
    if (!sl_leg_can_hand_over(base))
        return absorb_by_openssl(base);
    err = prepare_peek(leg);
    if (!err)
        err = sl_secret_alloc(SL_SECRET_MAX, (void **)&scratch);
    while (!err && !stop && (record_len = whole_record(base)) > 0) {
        if (record_len > SL_SECRET_MAX) /* no ticket is that long */
            stop = true;
        else
            err = absorb_one(leg, record_len, scratch, &stop);
    }
    if (stop) {
        leg->absorbed = true;
        sl_record_free(leg->peek);
        leg->peek = NULL;
    }
    sl_secret_free(scratch);
    return err;
}
