/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two TLS legs of a flow: the server's first, so that the client gets the server's version and protocol and a leaf made for
 * what the server really showed; then the client's; then both give up their keys.
 */
#include "gateway/flow_state.h"

#include <stdlib.h>

#include "event/event.h"
#include "tls/handover.h"

#define CAUSE(name) SLUICE__V1__CAUSE__##name
#define STAGE(name) SLUICE__V1__STAGE__STAGE_##name

static const Sluice__V1__Settings *settings(const struct sl_flow *f)
{
    return sl_policy_settings(f->runtime->policy);
}

static enum sl_crypto_profile profile(const struct sl_flow *f)
{
    return settings(f)->crypto_profile == SLUICE__V1__CRYPTO_PROFILE__CRYPTO_COMPATIBLE ? SL_PROFILE_COMPATIBLE : SL_PROFILE_MODERN;
}

static struct sl_leg *server_leg(const struct sl_flow *f)
{
    return sl_server_leg_base(f->handshake->server_leg);
}

static struct sl_leg *client_leg(const struct sl_flow *f)
{
    return sl_client_leg_base(f->handshake->client_leg);
}

/* What a leg has to say goes to its socket. A peer that is gone shows itself when the leg wants to read. */
static void send_output(struct sl_leg *leg, struct sl_socket *s)
{
    size_t len = 0;
    const uint8_t *bytes = sl_leg_output(leg, &len);
    if (len > 0) {
        sl_socket_send(s, bytes, len);
        sl_leg_consume(leg, len);
    }
    sl_socket_update(s);
}

void sl_handshake_drop_legs(struct sl_handshake *h)
{
    sl_server_leg_free(h->server_leg);
    sl_client_leg_free(h->client_leg);
    h->server_leg = NULL;
    h->client_leg = NULL;
}

void sl_handshake_free(struct sl_handshake *h)
{
    if (!h)
        return;
    sl_handshake_drop_legs(h);
    sl_hello_reader_free(h->reader);
    free(h->early);
    free(h);
}

/* ---- server leg ---- */

/* What policy wants instead of the client's failure; BLOCK where a name was to be proved: without proof there is no bypass (V13).
 */
static Sluice__V1__FailureAction failure_action(const struct sl_flow *f, Sluice__V1__Cause cause)
{
    if (f->plan != SL_PLAN_DECRYPT)
        return SLUICE__V1__FAILURE_ACTION__FAIL_BLOCK;
    if (cause == CAUSE(SRV_CLIENT_CERT_REQUIRED))
        return settings(f)->on_client_certificate;
    return sl_cause_is_certificate(cause) ? settings(f)->on_untrusted_certificate : settings(f)->on_failed_handshake;
}

void sl_handshake_server_failed(struct sl_flow *f, Sluice__V1__Cause cause, Sluice__V1__Stage stage, const char *error)
{
    if (f->handshake->server_leg)
        sl_report_server_leg(f);
    if (failure_action(f, cause) == SLUICE__V1__FAILURE_ACTION__FAIL_BYPASS)
        sl_flow_bypass_late(f, sl_cause_text(cause));
    else
        sl_flow_fail(f, cause, stage, error);
}

static void server_leg_failed(struct sl_flow *f)
{
    const struct sl_leg_info *info = sl_leg_info(server_leg(f));
    sl_handshake_server_failed(f, info->cause, info->stage, info->error);
}

/* As above, but the client has its ServerHello: no bypass can follow. */
static void server_leg_lost(struct sl_flow *f)
{
    const struct sl_leg_info *info = sl_leg_info(server_leg(f));
    sl_report_server_leg(f);
    sl_flow_fail(f, info->cause, info->stage, info->error);
}

static void start_client(struct sl_flow *f);

static void server_done(struct sl_flow *f)
{
    sl_report_server_leg(f);
    if (f->plan == SL_PLAN_CONFIRM_NAME) {
        sl_leg_app_close(server_leg(f));
        send_output(server_leg(f), &f->server);
        sl_flow_bypass_late(f, "the server proved the name");
        return;
    }
    start_client(f);
}

static void drive_server(struct sl_flow *f)
{
    enum sl_leg_state state = sl_leg_step(server_leg(f));

    send_output(server_leg(f), &f->server);
    switch (state) {
    case SL_LEG_WANT_IO:
        break;
    case SL_LEG_CLIENT_CERT:
        sl_leg_abort(server_leg(f), SL_TLS_USER_CANCELED, CAUSE(SRV_CLIENT_CERT_REQUIRED));
        send_output(server_leg(f), &f->server);
        server_leg_failed(f);
        break;
    case SL_LEG_DONE:
        server_done(f);
        break;
    case SL_LEG_FAILED:
        server_leg_failed(f);
        break;
    }
}

void sl_handshake_start_server(struct sl_flow *f)
{
    struct sl_handshake *h = f->handshake;
    const struct sl_client_hello *hello = sl_hello_reader_hello(h->reader);
    Sluice__V1__Cause cause = CAUSE(INTERNAL_ERROR);

    sl_err err = sl_offer_make(hello, profile(f), &h->offer, &cause);
    sl_report_offer(f);
    if (err) {
        sl_flow_fail(f, cause, STAGE(CLIENT_HELLO), "nothing that the client offers is allowed by the crypto profile");
        return;
    }
    if (f->plan == SL_PLAN_DECRYPT && !f->runtime->ca) {
        sl_flow_fail(f, CAUSE(INTERNAL_ERROR), STAGE(CLIENT_HELLO), "there is no decryption CA: run 'sluicectl ca init'");
        return;
    }
    if ((err = sl_handshake_new_server_leg(f))) {
        sl_flow_fail(f, err == SL_ERR_NOMEM ? CAUSE(RES_MEMORY) : CAUSE(INTERNAL_ERROR), STAGE(CLIENT_HELLO), sl_err_str(err));
        return;
    }
    sl_flow_set_state(f, SL_FLOW_SERVER_HANDSHAKE);
    f->client.watching = true;
    sl_socket_update(&f->client);
    f->server.reading = true;
    drive_server(f);
}

/* Feeds the leg what there is to read. SL_ERR_AGAIN: nothing came. SL_ERR_IO: reset. */
static sl_err feed_from(struct sl_flow *f, struct sl_leg *leg, struct sl_socket *s)
{
    size_t len = 0;
    sl_err err = sl_socket_read(s, f->worker->in, SL_WORKER_IN_BYTES, &len);
    if (err)
        return err;
    if (len == 0 && sl_leg_state(leg) != SL_LEG_DONE) /* a finished leg is relayed: the relay passes the end on */
        sl_leg_feed_eof(leg);
    return len ? sl_leg_feed(leg, f->worker->in, len) : SL_OK;
}

void sl_handshake_server_readable(struct sl_flow *f)
{
    struct sl_leg *leg = server_leg(f);
    sl_err err = feed_from(f, leg, &f->server);

    if (err == SL_ERR_AGAIN)
        return;
    if (f->state == SL_FLOW_SERVER_HANDSHAKE) {
        if (err == SL_ERR_IO)
            sl_handshake_server_failed(f, CAUSE(SRV_RESET), sl_leg_info(leg)->stage, "the server reset the connection");
        else if (err)
            sl_handshake_server_failed(f, CAUSE(SRV_BAD_HANDSHAKE), sl_leg_info(leg)->stage, sl_err_str(err));
        else
            drive_server(f);
        return;
    }
    /* The client leg is at work: tickets are taken meanwhile, data waits. */
    if (!err && !f->server.eof)
        err = sl_server_leg_absorb(f->handshake->server_leg);
    if (SL_ERR_IS_PEER_ALERT(err))
        server_leg_lost(f);
    else if (err)
        sl_flow_fail(f, CAUSE(SRV_RESET), STAGE(POST_HANDSHAKE), "the server broke off before the client's handshake was complete");
    else
        f->server.reading = sl_leg_input_waiting(leg) < SL_LEG_INPUT_HIGH;
}

/* ---- client leg ---- */

static void relay_records(struct sl_flow *f)
{
    struct sl_record_leg *client_keys = NULL, *server_keys = NULL;
    struct sl_buf from_client, from_server;
    struct sl_transcoder_options to_server = {
        .auto_rekey = true, .on_record = sl_relay_on_record, .arg = &f->direction[SL_TO_SERVER]};
    struct sl_transcoder_options to_client = {.from_server = true,
                                              .drop_tickets = true,
                                              .auto_rekey = true,
                                              .on_record = sl_relay_on_record,
                                              .arg = &f->direction[SL_TO_CLIENT]};

    sl_buf_init(&from_client, SL_LEG_INPUT_MAX);
    sl_buf_init(&from_server, SL_LEG_INPUT_MAX);
    sl_err err = sl_leg_hand_over(client_leg(f), &client_keys, &from_client);
    if (!err)
        err = sl_leg_hand_over(server_leg(f), &server_keys, &from_server);
    if (!err)
        err = sl_transcoder_new(&client_keys->client_write, &server_keys->client_write, &to_server, &f->transcoder[SL_TO_SERVER]);
    if (!err)
        err = sl_transcoder_new(&server_keys->server_write, &client_keys->server_write, &to_client, &f->transcoder[SL_TO_CLIENT]);
    sl_record_leg_free(client_keys);
    sl_record_leg_free(server_keys);
    if (err) {
        sl_flow_fail(f, err == SL_ERR_NOMEM ? CAUSE(RES_MEMORY) : CAUSE(INTERNAL_ERROR), STAGE(FINISHED), sl_err_str(err));
    } else {
        f->relay = SL_RELAY_RECORDS;
        sl_relay_start(f, &from_client, &from_server);
    }
    sl_buf_free(&from_client);
    sl_buf_free(&from_server);
}

static void relay_openssl(struct sl_flow *f)
{
    struct sl_buf none;

    f->relay = SL_RELAY_OPENSSL;
    f->server_leg = f->handshake->server_leg;
    f->client_leg = f->handshake->client_leg;
    f->handshake->server_leg = NULL;
    f->handshake->client_leg = NULL;
    sl_buf_init(&none, 0);
    sl_relay_start(f, &none, &none);
}

static void client_done(struct sl_flow *f)
{
    sl_report_client_leg(f);
    sl_metric_add(f->worker->gateway->metrics.decrypted, 1);
    if (sl_leg_needs_openssl(server_leg(f)) || sl_leg_needs_openssl(client_leg(f)))
        relay_openssl(f);
    else
        relay_records(f);
}

static void client_leg_failed(struct sl_flow *f)
{
    const struct sl_leg_info *info = sl_leg_info(client_leg(f));

    sl_report_client_leg(f);
    sl_leg_app_close(server_leg(f));
    send_output(server_leg(f), &f->server);
    sl_flow_fail(f, info->cause, info->stage, info->error);
}

static void drive_client(struct sl_flow *f)
{
    enum sl_leg_state state = sl_leg_step(client_leg(f));

    send_output(client_leg(f), &f->client);
    if (state == SL_LEG_DONE)
        client_done(f);
    else if (state == SL_LEG_FAILED)
        client_leg_failed(f);
}

static void start_client(struct sl_flow *f)
{
    size_t len = 0;
    const uint8_t *raw = sl_hello_reader_raw(f->handshake->reader, &len);
    Sluice__V1__Cause cause = CAUSE(INTERNAL_ERROR);

    f->client.watching = false;
    sl_err err = sl_handshake_new_client_leg(f, &cause);
    if (!err)
        err = sl_leg_feed(client_leg(f), raw, len);
    if (err) {
        sl_leg_app_close(server_leg(f));
        send_output(server_leg(f), &f->server);
        sl_flow_fail(f, err == SL_ERR_NOMEM ? CAUSE(RES_MEMORY) : cause, STAGE(KEY_EXCHANGE), sl_err_str(err));
        return;
    }
    sl_flow_set_state(f, SL_FLOW_CLIENT_HANDSHAKE);
    f->client.reading = true;
    drive_client(f);
}

void sl_handshake_client_readable(struct sl_flow *f)
{
    sl_err err = feed_from(f, client_leg(f), &f->client);

    if (err == SL_ERR_AGAIN)
        return;
    if (err == SL_ERR_IO) {
        sl_report_client_leg(f);
        sl_flow_fail(f, CAUSE(CLI_RESET), sl_leg_info(client_leg(f))->stage,
                     "the client reset the connection during its handshake");
    } else if (err) {
        sl_flow_fail(f, CAUSE(CLI_BAD_HANDSHAKE), sl_leg_info(client_leg(f))->stage, sl_err_str(err));
    } else {
        drive_client(f);
    }
}
