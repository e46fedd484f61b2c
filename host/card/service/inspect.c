/* SPDX-License-Identifier: Apache-2.0 */
/* GetInfo, GetCounters, GetSession, ListSessions: what is told of the card and its sessions. There are no keys here to tell. */
#include <stdlib.h>
#include <string.h>

#include "card/service/service_impl.h"

static sl_err set_text(char **field, const char *value)
{
    char *copy = strdup(value);
    if (copy == NULL)
        return SL_ERR_NOMEM;
    *field = copy;
    return SL_OK;
}

/* ---- the card ---- */

/* For those who may know. */
static sl_err look(const struct sl_card_service *s, const struct sl_rpc_call *call, struct sl_card_snapshot *now,
                   struct sl_diag *diag)
{
    sl_err err = sl_card_authorise(s, call, diag);
    if (!err)
        sl_card_loop_snapshot(s->loop, now);
    return err;
}

SL_CARD_HANDLER(sl_card_get_info)
{
    Sluice__Card__V1__Info *out = (Sluice__Card__V1__Info *)response;
    struct sl_card_service *s = arg;
    struct sl_card_snapshot now;
    (void)request;

    sl_err err = look(s, call, &now, diag);
    if (err)
        return err;
    out->interface_version = now.info.interface;
    out->sessions_max = now.info.sessions;
    out->sessions = now.counters.sessions;
    out->rules = now.info.rules;
    out->session_device_bytes = now.info.device_bytes;
    out->start_ns = s->start_wall_ns;
    out->dead = now.counters.dead;
    if (set_text(&out->version, SLUICE_VERSION) || set_text(&out->engine, now.info.kind) || set_text(&out->device, now.info.device))
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    return SL_OK;
}

static sl_err fill_port(Sluice__Card__V1__PortCounters **out, const struct sl_engine_counters *c, unsigned lane)
{
    Sluice__Card__V1__PortCounters *port = malloc(sizeof *port);
    if (port == NULL)
        return SL_ERR_NOMEM;
    sluice__card__v1__port_counters__init(port);
    port->frames_in = c->frames_in[lane];
    port->bytes_in = c->bytes_in[lane];
    port->frames_out = c->frames_out[lane];
    port->bytes_out = c->bytes_out[lane];
    port->punts = c->punts[lane];
    port->drops = c->drops[lane];
    *out = port;
    return SL_OK;
}

static sl_err fill_punts(Sluice__Card__V1__Counters *out, const struct sl_engine_counters *c)
{
    if ((out->punted_for = calloc(SL_CARD_REASONS, sizeof(void *))) == NULL)
        return SL_ERR_NOMEM;
    for (unsigned reason = 0; reason < SL_CARD_REASONS; reason++) {
        if (c->punted_for[reason] == 0)
            continue;
        Sluice__Card__V1__PuntCount *count = malloc(sizeof *count);
        if (count == NULL)
            return SL_ERR_NOMEM;
        sluice__card__v1__punt_count__init(count);
        out->punted_for[out->n_punted_for++] = count;
        count->frames = c->punted_for[reason];
        if (set_text(&count->reason, sl_card_reason_name(reason)))
            return SL_ERR_NOMEM;
    }
    return SL_OK;
}

SL_CARD_HANDLER(sl_card_get_counters)
{
    Sluice__Card__V1__Counters *out = (Sluice__Card__V1__Counters *)response;
    struct sl_card_service *s = arg;
    struct sl_card_snapshot now;
    (void)request;

    sl_err err = look(s, call, &now, diag);
    if (err)
        return err;
    out->frames_lost = now.counters.lost;
    out->events = now.counters.events;
    out->events_lost = now.counters.events_lost;
    out->mirrored_records = now.counters.mirrored_records;
    out->mirror_refused = now.counters.mirror_refused;
    out->mirror_lost = now.counters.mirror_lost;
    out->sessions = now.counters.sessions;
    out->commands = now.commands;
    struct sl_card_sessions *table = sl_card_loop_lock(s->loop);
    out->closed_untold = sl_card_closed_untold(table);
    sl_card_loop_unlock(s->loop);
    if (fill_port(&out->inside, &now.counters, 0) || fill_port(&out->outside, &now.counters, 1) || fill_punts(out, &now.counters))
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    return SL_OK;
}

/* ---- sessions ---- */

static void take_row(void *arg, size_t index, const struct sl_engine_command *command,
                     const struct sl_engine_completion *completion)
{
    struct sl_card_row *row = &((struct sl_card_row *)arg)[index];
    (void)command;
    row->valid = completion->status == SL_OK;
    memcpy(row->lane, completion->lane, sizeof row->lane);
}

/* Asks the engine for the counters of rows[0 .. count). */
static sl_err query_rows(struct sl_card_service *s, struct sl_card_row *rows, size_t count)
{
    struct sl_card_pipe *pipe = NULL;
    size_t depth = (count + SL_CARD_BATCH - 1) / SL_CARD_BATCH;
    depth = depth == 0 ? 1 : depth > SL_CARD_PIPE_DEPTH_MAX ? SL_CARD_PIPE_DEPTH_MAX : depth;
    sl_err err = sl_card_pipe_new(s->loop, depth, take_row, rows, &pipe);

    if (err)
        return err;
    for (size_t i = 0; i < count; i++) {
        struct sl_engine_command *command;
        struct sl_card_extra *extra;
        sl_card_pipe_slot(pipe, i, &command, &extra);
        command->op = SL_ENGINE_QUERY;
        command->flow = rows[i].session.flow;
        sl_card_pipe_push(pipe);
    }
    sl_card_pipe_flush(pipe);
    sl_card_pipe_free(pipe);
    return SL_OK;
}

sl_err sl_card_read_page(struct sl_card_service *s, uint64_t from, size_t max, struct sl_card_row *rows, size_t *count,
                         uint64_t *next)
{
    const struct sl_clock *clock = sl_clock_system();
    uint64_t *flows = reallocarray(NULL, max, sizeof *flows);
    size_t n = 0;

    if (flows == NULL)
        return SL_ERR_NOMEM;
    struct sl_card_sessions *table = sl_card_loop_lock(s->loop);
    sl_err err = sl_card_sessions_page(table, from, max, clock->mono_ns(clock->arg) / SL_NS_PER_S, flows, &n, next);
    for (size_t i = 0; !err && i < n; i++)
        rows[i] = (struct sl_card_row){.session = *sl_card_sessions_find(table, flows[i])};
    sl_card_loop_unlock(s->loop);
    free(flows);
    if (!err)
        err = query_rows(s, rows, n);
    if (!err)
        *count = n;
    return err;
}

sl_err sl_card_read_session(struct sl_card_service *s, uint64_t flow, struct sl_card_row *out, struct sl_diag *diag)
{
    const struct sl_engine_command query = {.op = SL_ENGINE_QUERY, .flow = flow};
    struct sl_engine_completion done = {.status = SL_OK};

    struct sl_card_sessions *table = sl_card_loop_lock(s->loop);
    const struct sl_card_session *found = flow != 0 ? sl_card_sessions_find(table, flow) : NULL;
    if (found != NULL)
        out->session = *found;
    sl_card_loop_unlock(s->loop);
    if (found == NULL)
        return sl_fail(diag, SL_ERR_NOT_FOUND, "no such session");
    sl_err err = sl_card_run(s, &query, &done);
    if (!err)
        err = done.status;
    memcpy(out->lane, done.lane, sizeof out->lane);
    out->valid = !err;
    return err ? sl_fail(diag, err, "%s", err == SL_ERR_NOT_FOUND ? "no such session" : sl_err_str(err)) : SL_OK;
}

static sl_err fill_lane(Sluice__Card__V1__LaneCounters **out, const struct sl_engine_lane_counters *in)
{
    const struct sl_clock *clock = sl_clock_system();
    uint64_t now = clock->mono_ns(clock->arg);
    Sluice__Card__V1__LaneCounters *lane = malloc(sizeof *lane);

    if (lane == NULL)
        return SL_ERR_NOMEM;
    sluice__card__v1__lane_counters__init(lane);
    lane->packets = in->packets;
    lane->bytes = in->bytes;
    if (in->last_ns != 0 && now > in->last_ns)
        lane->idle_ms = (now - in->last_ns) / SL_NS_PER_MS;
    *out = lane;
    return SL_OK;
}

static sl_err fill_key(Sluice__Card__V1__FlowKey **out, const struct sl_engine_flow_key *in)
{
    char text[SL_CARD_ADDRESS_TEXT];
    Sluice__Card__V1__FlowKey *key = malloc(sizeof *key);

    if (key == NULL)
        return SL_ERR_NOMEM;
    sluice__card__v1__flow_key__init(key);
    *out = key;
    key->sport = in->sport;
    key->dport = in->dport;
    key->proto = in->proto;
    if (set_text(&key->src, sl_card_address_text(in->src, in->version, text)))
        return SL_ERR_NOMEM;
    return set_text(&key->dst, sl_card_address_text(in->dst, in->version, text));
}

static sl_err fill_session(Sluice__Card__V1__Session *out, const struct sl_card_row *row)
{
    const struct sl_card_session *s = &row->session;

    out->flow = s->flow;
    out->action = (Sluice__Card__V1__Action)s->action;
    out->tls = (Sluice__Card__V1__TlsVersion)s->extra.tls;
    out->mirror = s->extra.mirror;
    out->idle_timeout_s = s->extra.idle_timeout_s;
    out->installed_ns = s->installed_wall_ns;
    out->fin_inside = s->fin[0];
    out->fin_outside = s->fin[1];
    if (fill_key(&out->key, &s->key) || fill_lane(&out->inside, &row->lane[0]) || fill_lane(&out->outside, &row->lane[1]))
        return SL_ERR_NOMEM;
    return SL_OK;
}

SL_CARD_HANDLER(sl_card_get_session)
{
    const Sluice__Card__V1__GetSessionRequest *r = (const Sluice__Card__V1__GetSessionRequest *)request;
    struct sl_card_service *s = arg;
    struct sl_card_row row = {.valid = false};

    sl_err err = sl_card_authorise(s, call, diag);
    if (!err)
        err = sl_card_read_session(s, r->flow, &row, diag);
    if (err)
        return err;
    err = fill_session((Sluice__Card__V1__Session *)response, &row);
    return err ? sl_fail(diag, err, "out of memory") : SL_OK;
}

static sl_err fill_list(Sluice__Card__V1__SessionList *out, const struct sl_card_row *rows, size_t count)
{
    if (count > 0 && (out->sessions = calloc(count, sizeof(void *))) == NULL)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        if (!rows[i].valid)
            continue;
        Sluice__Card__V1__Session *session = malloc(sizeof *session);
        if (session == NULL)
            return SL_ERR_NOMEM;
        sluice__card__v1__session__init(session);
        out->sessions[out->n_sessions++] = session;
        if (fill_session(session, &rows[i]) != SL_OK)
            return SL_ERR_NOMEM;
    }
    return SL_OK;
}

SL_CARD_HANDLER(sl_card_list_sessions)
{
    const Sluice__Card__V1__ListSessionsRequest *r = (const Sluice__Card__V1__ListSessionsRequest *)request;
    Sluice__Card__V1__SessionList *out = (Sluice__Card__V1__SessionList *)response;
    struct sl_card_service *s = arg;
    size_t max = r->page_size == 0 ? SL_CARD_PAGE_DEFAULT : r->page_size, count = 0;

    sl_err err = sl_card_authorise(s, call, diag);
    if (err)
        return err;
    if (max > SL_CARD_PAGE_MAX)
        return sl_fail(diag, SL_ERR_INVALID, "page_size is at most %d", SL_CARD_PAGE_MAX);
    struct sl_card_row *rows = calloc(max, sizeof *rows);
    err = rows != NULL ? sl_card_read_page(s, r->from_flow, max, rows, &count, &out->next_flow) : SL_ERR_NOMEM;
    if (!err)
        err = fill_list(out, rows, count);
    free(rows);
    return err ? sl_fail(diag, err, "sessions: %s", sl_err_str(err)) : SL_OK;
}
