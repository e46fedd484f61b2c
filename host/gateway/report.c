/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of a flow in words: its event is built as facts arrive, packed away while bytes flow, and completed at the end.
 * Memory that can't be had costs a field, never the connection.
 */
#include "gateway/flow_state.h"

#include <stdlib.h>

#include "base/log.h"
#include "event/event.h"
#include "event/store.h"
#include "policy/snapshot.h"

#define CAUSE(name) SLUICE__V1__CAUSE__##name
#define TYPE(name)  SLUICE__V1__EVENT_TYPE__##name

uint64_t sl_report_now_us(const struct sl_flow *f)
{
    const struct sl_clock *clock = f->worker->gateway->options.clock;
    return clock->mono_ns(clock->arg) / 1000;
}

sl_err sl_report_begin(struct sl_flow *f)
{
    char text[SL_ENDPOINT_TEXT];
    sl_err err = sl_event_new(&f->event);

    if (err)
        return err;
    Sluice__V1__Event *e = f->event;
    f->step_us = sl_report_now_us(f);
    e->start_ns = f->start_wall_ns;
    e->src->port = sl_endpoint_port(&f->client_at);
    e->txn->connection_id = f->connection_id;
    e->txn->config_version = sl_policy_version(f->runtime->policy);
    sl_event_setf(&e->flow_id, "%016llx", (unsigned long long)f->flow_id);
    sl_event_set(&e->src->ip, sl_endpoint_address(&f->client_at, text));
    sl_event_set(&e->src->interface, sl_net_guard_interface(f->worker->guard, &f->client_at));
    sl_event_set(&e->device->name, f->worker->gateway->options.device_name);
    sl_event_set(&e->device->type, "Sluice");
    sl_event_set(&e->placement->where, "software");
    sl_event_set(&e->placement->reason, "proxy mode");
    return SL_OK;
}

/* Microseconds since the last step was finished. */
uint64_t sl_report_lap(struct sl_flow *f)
{
    uint64_t now = sl_report_now_us(f), lap = now - f->step_us;
    f->step_us = now;
    return lap;
}

void sl_report_connected(struct sl_flow *f)
{
    if (f->event)
        f->event->latency->tcp_us = sl_report_lap(f);
}

void sl_report_access(struct sl_flow *f, const struct sl_policy_access *access)
{
    if (f->event)
        sl_event_set_hit(f->event->policy->access, access->rule.id, access->rule.name,
                         sl_policy_access_action_name(access->action));
}

void sl_report_decryption(struct sl_flow *f, const struct sl_policy_decryption *d)
{
    if (!f->event)
        return;
    const char *action = sl_policy_decryption_action_name(d->action);
    sl_event_set_hit(f->event->policy->decryption, d->rule.id, d->rule.name, action);
    for (size_t i = 0; i < d->monitor_count; i++)
        sl_event_add_monitor(f->event, d->monitors[i].id, d->monitors[i].name);
    f->rule_id = d->rule.id;
    f->event->decision->rule_id = d->rule.id;
    sl_report_decision(f, action, "rule");
}

void sl_report_decision(struct sl_flow *f, const char *action, const char *reason)
{
    if (!f->event)
        return;
    sl_event_set(&f->event->decision->action, action);
    sl_event_set(&f->event->decision->reason, reason);
}

void sl_flow_note_alert(struct sl_flow *f, uint8_t level, uint8_t code, Sluice__V1__AlertDirection direction)
{
    if (f->event)
        sl_event_add_alert(f->event, level, code, direction);
    else if (f->late_alert_count < SL_FLOW_LATE_ALERTS)
        f->late_alerts[f->late_alert_count++] =
            (struct sl_late_alert){.level = level, .code = code, .direction = (uint8_t)direction};
}

void sl_report_pack(struct sl_flow *f)
{
    /* Kept as it is where it can't be packed: that costs memory only. */
    if (f->event && sl_event_pack(f->event, &f->packed, &f->packed_len) == SL_OK) {
        sl_event_free(f->event);
        f->event = NULL;
    }
}

static Sluice__V1__Event *take_event(struct sl_flow *f)
{
    Sluice__V1__Event *e = f->event;
    f->event = NULL;
    if (!e && f->packed && sl_event_unpack(f->packed, f->packed_len, &e))
        e = NULL;
    for (size_t i = 0; e && i < f->late_alert_count; i++)
        sl_event_add_alert(e, f->late_alerts[i].level, f->late_alerts[i].code,
                           (Sluice__V1__AlertDirection)f->late_alerts[i].direction);
    return e;
}

static Sluice__V1__EventType type_of(const struct sl_flow *f, Sluice__V1__Cause cause)
{
    if (cause == CAUSE(POLICY_BLOCK) || cause == CAUSE(POLICY_DENY))
        return TYPE(TLS_BLOCKED);
    if (cause == CAUSE(POLICY_NON_TLS) || f->plan == SL_PLAN_NON_TLS)
        return TYPE(NON_TLS);
    if (cause == CAUSE(REC_BAD_MAC) || cause == CAUSE(REC_PROTOCOL) || cause == CAUSE(REC_KEY_LIMIT))
        return TYPE(TLS_ABORT);
    if (f->relayed)
        return f->relay == SL_RELAY_BYTES ? TYPE(TLS_BYPASSED) : TYPE(TLS_DECRYPTED);
    switch ((int)cause) {
    case CAUSE(SRV_CONNECT_REFUSED):
    case CAUSE(SRV_UNREACHABLE):
    case CAUSE(TIMEOUT_CONNECT):
    case CAUSE(RES_TABLE_FULL):
    case CAUSE(RES_OVERLOAD):
    case CAUSE(RES_CLIENT_LIMIT):
    case CAUSE(RES_MEMORY):
    case CAUSE(LOOP_DETECTED):
    case CAUSE(SHUTDOWN):
        return TYPE(CONNECTION_FAILED);
    default:
        return f->hello_seen ? TYPE(TLS_ABORT) : TYPE(CONNECTION_FAILED);
    }
}

static void fill_destination(const struct sl_flow *f, Sluice__V1__Event *e)
{
    char text[SL_ENDPOINT_TEXT];
    sl_event_set(&e->dst->ip, sl_endpoint_address(&f->server_at, text));
    e->dst->port = sl_endpoint_port(&f->server_at);
    sl_event_set(&e->dst->interface, sl_net_guard_interface(f->worker->guard, &f->server_at));
    if (f->host)
        sl_event_set(&e->dst->host, f->host);
}

/* What the sockets carried, and what still waits in their queues: it leaves while the flow lingers. */
static void fill_traffic(const struct sl_flow *f, Sluice__V1__Event *e)
{
    struct sl_transcoder_status status[SL_DIRECTIONS];

    e->txn->bytes_sent = f->earlier_sent + f->server.bytes_out + sl_socket_queued(&f->server);
    e->txn->bytes_received = f->earlier_received + f->server.bytes_in;
    if (f->relay != SL_RELAY_RECORDS || !f->transcoder[SL_TO_SERVER] || !f->transcoder[SL_TO_CLIENT])
        return;
    for (int d = 0; d < SL_DIRECTIONS; d++) {
        sl_transcoder_status(f->transcoder[d], &status[d]);
        e->records->records += status[d].records_in;
        e->records->rekeys += status[d].key_updates;
        if (status[d].open_epoch > e->records->key_epoch)
            e->records->key_epoch = status[d].open_epoch;
    }
}

void sl_report_finish(struct sl_flow *f, Sluice__V1__Cause cause, Sluice__V1__Stage stage, const char *error)
{
    struct sl_gateway *g = f->worker->gateway;

    if (f->reported)
        return;
    f->reported = true;
    Sluice__V1__Event *e = take_event(f);
    if (!e) {
        sl_log(SL_LOG_WARN, "gateway", "an event could not be written: out of memory", SL_U64("connection", f->connection_id));
        return;
    }
    e->time_ns = g->options.clock->wall_ns(g->options.clock->arg);
    e->type = type_of(f, cause);
    e->cause = cause;
    e->stage = stage;
    e->tls->encrypted = f->hello_seen;
    e->tls->decrypted = f->relayed && f->relay != SL_RELAY_BYTES;
    fill_destination(f, e);
    fill_traffic(f, e);
    if (error && f->hello_seen && !*e->tls->error)
        sl_event_set(&e->tls->error, error);
    else if (error && !f->hello_seen)
        sl_event_set(&e->txn->error, error);
    sl_metric_add(g->metrics.bytes_client, (int64_t)e->txn->bytes_sent);
    sl_metric_add(g->metrics.bytes_server, (int64_t)e->txn->bytes_received);
    if (cause != CAUSE(CAUSE_NONE) && cause != CAUSE(POLICY_NON_TLS) && e->type != TYPE(TLS_BLOCKED) && !f->relayed)
        sl_metric_add(g->metrics.failed, 1); /* what a rule ended has a counter of its own */
    sl_event_finish(e);
    sl_event_store_put(g->options.events, e);
}

void sl_report_free(struct sl_flow *f)
{
    sl_event_free(f->event);
    free(f->packed);
}
