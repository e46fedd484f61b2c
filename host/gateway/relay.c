/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves bytes between the two sockets of a flow, in one of three ways: as they are, through the record transcoders, or through OpenSSL.
 *
 * Back-pressure: a side is read only while less than QUEUE_HIGH bytes wait for the other side, so that a slow reader costs memory for one read
 * at most. Half-close: the end of one stream is passed on when its last byte was; the other direction lives on.
 */
#include "gateway/flow_state.h"

#include "base/log.h"

enum {
    PUMP_ROUNDS = 4, /* reads of one side before other flows get their turn */
    QUEUE_HIGH = 64 * 1024
};

static struct sl_socket *source(struct sl_flow *f, enum sl_direction d)
{
    return d == SL_TO_SERVER ? &f->client : &f->server;
}

static struct sl_socket *sink(struct sl_flow *f, enum sl_direction d)
{
    return d == SL_TO_SERVER ? &f->server : &f->client;
}

static enum sl_direction opposite(enum sl_direction d)
{
    return d == SL_TO_SERVER ? SL_TO_CLIENT : SL_TO_SERVER;
}

static void update(struct sl_flow *f)
{
    if (f->state != SL_FLOW_RELAY)
        return;
    f->client.reading = sl_socket_queued(&f->server) < QUEUE_HIGH;
    f->server.reading = sl_socket_queued(&f->client) < QUEUE_HIGH;
    sl_socket_update(&f->client);
    sl_socket_update(&f->server);
}

/* A side vanished. After it had said that it is done (FIN or close_notify) that is how many programs close; before, it is a failure. */
static void side_broken(struct sl_flow *f, struct sl_socket *s)
{
    enum sl_direction from_it = s == &f->client ? SL_TO_SERVER : SL_TO_CLIENT;
    struct sl_transcoder_status status = {0};

    if (f->relay == SL_RELAY_RECORDS)
        sl_transcoder_status(f->transcoder[from_it], &status);
    if (s->eof || status.close_notify || status.alerted)
        sl_flow_end(f, true);
    else if (s == &f->client)
        sl_flow_fail(f, SLUICE__V1__CAUSE__CLI_RESET, SLUICE__V1__STAGE__STAGE_RECORD, "the client reset the connection");
    else
        sl_flow_fail(f, SLUICE__V1__CAUSE__SRV_RESET, SLUICE__V1__STAGE__STAGE_RECORD, "the server reset the connection");
}

static void send_on(struct sl_flow *f, enum sl_direction d, const uint8_t *bytes, size_t len)
{
    struct sl_socket *to = sink(f, d);
    sl_err err = len ? sl_socket_send(to, bytes, len) : SL_OK;
    if (err == SL_ERR_IO)
        side_broken(f, to);
    else if (err)
        sl_flow_fail(f, SLUICE__V1__CAUSE__RES_MEMORY, SLUICE__V1__STAGE__STAGE_RECORD, sl_err_str(err));
}

/* ---- records ---- */

static void send_alert(struct sl_flow *f, enum sl_direction d, uint8_t description)
{
    uint8_t record[SL_TRANSCODER_OWN_RECORD_MAX];
    size_t len = 0;
    if (sl_transcoder_seal_alert(f->transcoder[d], SL_TLS_ALERT_FATAL, description, record, sizeof record, &len))
        return; /* inside a record only a reset remains; the poisoned or missing tag makes the receiver discard it */
    sl_flow_note_alert(f, SL_TLS_ALERT_FATAL, description,
                       d == SL_TO_SERVER ? SLUICE__V1__ALERT_DIRECTION__SENT_TO_SERVER : SLUICE__V1__ALERT_DIRECTION__SENT_TO_CLIENT);
    sl_socket_send(sink(f, d), record, len);
}

/* The transcoder of direction d is dead: its sender learns why, its receiver that the stream ends here. */
static void transcoder_failed(struct sl_flow *f, enum sl_direction d, sl_err err)
{
    Sluice__V1__Cause cause = SLUICE__V1__CAUSE__REC_PROTOCOL;
    uint8_t description = SL_TLS_INTERNAL_ERROR;

    if (SL_ERR_IS_ALERT(err)) {
        description = SL_ERR_ALERT_CODE(err);
        if (description == SL_TLS_BAD_RECORD_MAC)
            cause = SLUICE__V1__CAUSE__REC_BAD_MAC;
    } else if (err == SL_ERR_LIMIT) {
        cause = SLUICE__V1__CAUSE__REC_KEY_LIMIT;
    } else if (err == SL_ERR_NOMEM) {
        cause = SLUICE__V1__CAUSE__RES_MEMORY;
    }
    send_alert(f, opposite(d), description);
    send_alert(f, d, description);
    sl_flow_fail(f, cause, SLUICE__V1__STAGE__STAGE_RECORD, sl_err_str(err));
}

static void deliver_records(struct sl_flow *f, enum sl_direction d, const uint8_t *bytes, size_t len)
{
    struct sl_transcoder *t = f->transcoder[d];
    do {
        size_t consumed = 0, produced = 0;
        sl_err err = sl_transcoder_feed(t, bytes, len, f->worker->out, SL_WORKER_OUT_BYTES, &consumed, &produced);
        bytes += consumed;
        len -= consumed;
        send_on(f, d, f->worker->out, produced);
        if (f->state != SL_FLOW_RELAY)
            return;
        if (err || (consumed == 0 && produced == 0 && len > 0)) {
            transcoder_failed(f, d, err ? err : SL_ERR_CRYPTO);
            return;
        }
    } while (len > 0 || sl_transcoder_pending(t) > 0);
}

/* ---- all ---- */

void sl_relay_deliver(struct sl_flow *f, enum sl_direction d, const uint8_t *bytes, size_t len)
{
    switch (f->relay) {
    case SL_RELAY_BYTES:
        send_on(f, d, bytes, len);
        break;
    case SL_RELAY_RECORDS:
        deliver_records(f, d, bytes, len);
        break;
    case SL_RELAY_OPENSSL:
        sl_relay_openssl_deliver(f, d, bytes, len);
        break;
    }
}

static void end_if_done(struct sl_flow *f)
{
    if (f->state == SL_FLOW_RELAY && f->client.eof && f->server.eof && f->client.fin_sent && f->server.fin_sent)
        sl_flow_end(f, false);
}

static void pump(struct sl_flow *f, enum sl_direction d)
{
    struct sl_socket *from = source(f, d), *to = sink(f, d);

    for (int round = 0; round < PUMP_ROUNDS && f->state == SL_FLOW_RELAY && sl_socket_queued(to) < QUEUE_HIGH && !from->eof; round++) {
        size_t len = 0;
        sl_err err = sl_socket_read(from, f->worker->in, SL_WORKER_IN_BYTES, &len);
        if (err == SL_ERR_AGAIN)
            break;
        if (err) {
            side_broken(f, from);
            return;
        }
        sl_flow_touch(f);
        if (len > 0)
            sl_relay_deliver(f, d, f->worker->in, len);
        else if (sl_socket_shutdown(to))
            side_broken(f, to);
        if (len < SL_WORKER_IN_BYTES)
            break;
    }
    end_if_done(f);
    update(f);
}

static void on_side(struct sl_flow *f, struct sl_socket *s, bool readable, bool writable)
{
    enum sl_direction from_it = s == &f->client ? SL_TO_SERVER : SL_TO_CLIENT;

    if (writable) {
        if (sl_socket_flush(s)) {
            side_broken(f, s);
            return;
        }
        sl_flow_touch(f);
        end_if_done(f);
    }
    if (readable && f->state == SL_FLOW_RELAY)
        pump(f, from_it);
    update(f);
}

void sl_relay_client_event(struct sl_flow *f, bool readable, bool writable)
{
    on_side(f, &f->client, readable, writable);
}

void sl_relay_server_event(struct sl_flow *f, bool readable, bool writable)
{
    on_side(f, &f->server, readable, writable);
}

void sl_relay_start(struct sl_flow *f)
{
    sl_flow_set_state(f, SL_FLOW_RELAY);
    update(f);
}
