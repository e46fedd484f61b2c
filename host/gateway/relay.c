/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves bytes between the two sockets of a flow, in one of three ways: as they are, through the record transcoders, or through
 * OpenSSL.
 *
 * Back-pressure: a side is read only while less than QUEUE_HIGH bytes wait for the other side, so that a slow reader costs memory
 * for one read at most. Half-close: the end of one stream is passed on when its last byte was; the other direction lives on.
 */
#include "gateway/flow_state.h"

#include <stdlib.h>

#include "tls/leg.h"

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
    f->client.reading = !f->server.broken && sl_socket_queued(&f->server) < QUEUE_HIGH;
    f->server.reading = !f->client.broken && sl_socket_queued(&f->client) < QUEUE_HIGH;
    sl_socket_update(&f->client);
    sl_socket_update(&f->server);
}

/* Nothing moves in this direction any more, and what was to move has left. */
static bool finished(struct sl_flow *f, enum sl_direction d)
{
    const struct sl_socket *from = source(f, d), *to = sink(f, d);
    return to->broken || ((from->eof || from->lost) && to->fin_sent);
}

static void end_if_done(struct sl_flow *f)
{
    if (f->state == SL_FLOW_RELAY && finished(f, SL_TO_SERVER) && finished(f, SL_TO_CLIENT))
        sl_flow_end(f, false);
}

/* The sender of this direction has said that nothing follows: by FIN, close_notify or a fatal alert. */
static bool said_done(struct sl_flow *f, enum sl_direction d)
{
    struct sl_transcoder_status status = {0};

    if (f->relay == SL_RELAY_RECORDS)
        sl_transcoder_status(f->transcoder[d], &status);
    return source(f, d)->eof || status.close_notify || status.alerted || f->closed[d];
}

/* A side vanished. What it sent before still goes to the other side. After it had said that it is done that is how many programs
 * close, and so it is for a client whose server had said so; otherwise it is a failure. */
static void side_broken(struct sl_flow *f, struct sl_socket *s)
{
    enum sl_direction from_it = s == &f->client ? SL_TO_SERVER : SL_TO_CLIENT;

    if (!s->eof && !s->lost && !sink(f, from_it)->broken)
        return; /* to be read to its end */
    if (said_done(f, from_it) || (s == &f->client && said_done(f, SL_TO_CLIENT))) {
        sl_socket_shutdown(sink(f, from_it));
        end_if_done(f);
    } else if (s == &f->client) {
        sl_flow_fail(f, SLUICE__V1__CAUSE__CLI_RESET, SLUICE__V1__STAGE__STAGE_RECORD, "the client reset the connection");
    } else {
        sl_flow_fail(f, SLUICE__V1__CAUSE__SRV_RESET, SLUICE__V1__STAGE__STAGE_RECORD, "the server reset the connection");
    }
}

static void send_on(struct sl_flow *f, enum sl_direction d, const uint8_t *bytes, size_t len)
{
    struct sl_socket *to = sink(f, d);
    sl_err err = len ? sl_socket_send(to, bytes, len) : SL_OK; /* SL_ERR_STATE: OpenSSL answers a peer whose stream has its end */
    if (err == SL_ERR_IO)
        side_broken(f, to);
    else if (err == SL_ERR_LIMIT || err == SL_ERR_NOMEM)
        sl_flow_fail(f, SLUICE__V1__CAUSE__RES_MEMORY, SLUICE__V1__STAGE__STAGE_RECORD, sl_err_str(err));
}

/* ---- records ---- */

static void send_alert(struct sl_flow *f, enum sl_direction d, uint8_t description)
{
    uint8_t record[SL_TRANSCODER_OWN_RECORD_MAX];
    size_t len = 0;
    if (sl_transcoder_seal_alert(f->transcoder[d], SL_TLS_ALERT_FATAL, description, record, sizeof record, &len))
        return; /* inside a record only a reset remains; the poisoned or missing tag makes the receiver discard it */
    if (sl_socket_send(sink(f, d), record, len))
        return;
    sl_flow_note_alert(f, SL_TLS_ALERT_FATAL, description,
                       d == SL_TO_SERVER ? SLUICE__V1__ALERT_DIRECTION__SENT_TO_SERVER
                                         : SLUICE__V1__ALERT_DIRECTION__SENT_TO_CLIENT);
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

/* Alerts are noted whoever sends them; close_notify is how connections end and says nothing. */
void sl_relay_on_record(void *arg, const struct sl_transcoder_record *record, enum sl_transcoder_verdict *verdict)
{
    const struct sl_flow_direction *d = arg;
    (void)verdict;
    if (record->type == SL_TLS_ALERT && record->alert != SL_TLS_CLOSE_NOTIFY)
        sl_flow_note_alert(d->flow, record->alert_level, record->alert,
                           d->direction == SL_TO_SERVER ? SLUICE__V1__ALERT_DIRECTION__RECEIVED_FROM_CLIENT
                                                        : SLUICE__V1__ALERT_DIRECTION__RECEIVED_FROM_SERVER);
}

/* ---- OpenSSL ---- */

static struct sl_leg *leg_of(struct sl_flow *f, const struct sl_socket *s)
{
    return s == &f->client ? sl_client_leg_base(f->client_leg) : sl_server_leg_base(f->server_leg);
}

static void send_output(struct sl_flow *f, struct sl_socket *s)
{
    size_t len = 0;
    struct sl_leg *leg = leg_of(f, s);
    const uint8_t *bytes = sl_leg_output(leg, &len);
    if (len == 0)
        return;
    send_on(f, s == &f->server ? SL_TO_SERVER : SL_TO_CLIENT, bytes, len);
    sl_leg_consume(leg, len);
}

/* The other leg gets no close_notify: its peer must see that the stream was cut (RFC 8446 section 6.1). */
static void leg_failed(struct sl_flow *f, const struct sl_leg *leg)
{
    const struct sl_leg_info *info = sl_leg_info(leg);
    for (size_t i = 0; i < info->alert_count; i++)
        if (info->alerts[i].code != SL_TLS_CLOSE_NOTIFY)
            sl_flow_note_alert(f, info->alerts[i].level, info->alerts[i].code, info->alerts[i].direction);
    sl_flow_fail(f, info->cause, SLUICE__V1__STAGE__STAGE_RECORD, info->error);
}

static void deliver_openssl(struct sl_flow *f, enum sl_direction d, const uint8_t *bytes, size_t len)
{
    struct sl_leg *from = leg_of(f, source(f, d)), *to = leg_of(f, sink(f, d)), *at_work = from;
    sl_err err = len ? sl_leg_feed(from, bytes, len) : SL_OK;

    while (!err && f->state == SL_FLOW_RELAY) {
        size_t got = 0;
        err = sl_leg_app_read(from, f->worker->out, SL_TLS_PLAINTEXT_MAX, &got);
        if (err == SL_ERR_NOT_FOUND) {
            f->closed[d] = true;
            sl_leg_app_close(to);
        } else if (!err && (err = sl_leg_app_write(to, f->worker->out, got))) {
            at_work = to;
        }
        send_output(f, sink(f, d));
    }
    if (f->state != SL_FLOW_RELAY)
        return;
    send_output(f, source(f, d)); /* a KeyUpdate that was asked for, an alert */
    if (f->state == SL_FLOW_RELAY && err != SL_ERR_AGAIN && err != SL_ERR_NOT_FOUND)
        leg_failed(f, at_work);
}

/* ---- all ---- */

static void deliver(struct sl_flow *f, enum sl_direction d, const uint8_t *bytes, size_t len)
{
    switch (f->relay) {
    case SL_RELAY_BYTES:
        send_on(f, d, bytes, len);
        break;
    case SL_RELAY_RECORDS:
        deliver_records(f, d, bytes, len);
        break;
    case SL_RELAY_OPENSSL:
        deliver_openssl(f, d, bytes, len);
        break;
    }
}

static void pump(struct sl_flow *f, enum sl_direction d)
{
    struct sl_socket *from = source(f, d), *to = sink(f, d);

    for (int round = 0;
         round < PUMP_ROUNDS && f->state == SL_FLOW_RELAY && sl_socket_queued(to) < QUEUE_HIGH && !from->eof && !to->broken;
         round++) {
        size_t len = 0;
        sl_err err = sl_socket_read(from, f->worker->in, SL_WORKER_IN_BYTES, &len);
        if (err == SL_ERR_AGAIN)
            break;
        if (err) {
            side_broken(f, from);
            break;
        }
        sl_flow_touch(f);
        if (len > 0)
            deliver(f, d, f->worker->in, len);
        else if (sl_socket_shutdown(to))
            side_broken(f, to);
        if (len < SL_WORKER_IN_BYTES)
            break;
    }
    end_if_done(f);
    update(f);
}

void sl_relay_event(struct sl_flow *f, struct sl_socket *s, bool readable, bool writable)
{
    if (writable) {
        if (sl_socket_flush(s)) {
            side_broken(f, s);
        } else {
            sl_flow_touch(f);
            end_if_done(f);
        }
    }
    if (readable && f->state == SL_FLOW_RELAY)
        pump(f, s == &f->client ? SL_TO_SERVER : SL_TO_CLIENT);
    update(f);
}

/* What a side sent before the relay began, and its end if that has come, too. */
static void begin(struct sl_flow *f, enum sl_direction d, struct sl_buf *early)
{
    if (f->state == SL_FLOW_RELAY && (sl_buf_len(early) > 0 || f->relay == SL_RELAY_OPENSSL))
        deliver(f, d, sl_buf_data(early), sl_buf_len(early));
    if (f->state == SL_FLOW_RELAY && source(f, d)->eof && sl_socket_shutdown(sink(f, d)))
        side_broken(f, sink(f, d));
}

void sl_relay_start(struct sl_flow *f, struct sl_buf *from_client, struct sl_buf *from_server)
{
    f->relayed = true;
    f->client.watching = false;
    sl_flow_set_state(f, SL_FLOW_RELAY);
    sl_report_pack(f);
    sl_handshake_free(f->handshake);
    f->handshake = NULL;
    begin(f, SL_TO_SERVER, from_client);
    begin(f, SL_TO_CLIENT, from_server);
    end_if_done(f);
    update(f);
}
