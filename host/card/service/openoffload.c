/* SPDX-License-Identifier: Apache-2.0 */
/*
 * openoffload.v1.SessionTable. Sessions come one a message; they are obeyed in groups of 64, which is what the error mask holds:
 *
 *   stream ─▶ group of 64 ─▶ room for all? ─ no ─▶ none of the group is added: _SESSION_TABLE_FULL
 *                                 └ yes ─▶ install ─▶ the table refuses one for lack of room ─▶ those of the group are taken out
 * again
 */
#include <stdlib.h>
#include <string.h>

#include "card/service/service_impl.h"
#include "rpc/message.h"

enum { GROUP = 64, PIPE_DEPTH = (GROUP + SL_CARD_BATCH) / SL_CARD_BATCH, ERRORS_MAX = 1 << 17, CLOSED_BURST = 64 };

/* ---- addSession ---- */

struct group {
    struct sl_card_service *s;
    struct sl_card_pipe *pipe;
    size_t count, before; /* sessions in the group, and in the stream before it */
    uint64_t id[GROUP];
    sl_err status[GROUP];
    Openoffload__V1__AddSessionResponse *response;
    size_t error_room;
};

static Openoffload__V1__ADDSESSIONSTATUS add_status(sl_err err)
{
    switch (err) {
    case SL_OK:
        return OPENOFFLOAD__V1__ADD__SESSION__STATUS___SESSION_ACCEPTED;
    case SL_ERR_LIMIT:
        return OPENOFFLOAD__V1__ADD__SESSION__STATUS___SESSION_TABLE_FULL;
    case SL_ERR_EXISTS:
        return OPENOFFLOAD__V1__ADD__SESSION__STATUS___SESSION_ALREADY_EXISTS;
    case SL_ERR_INVALID:
    case SL_ERR_UNSUPPORTED:
        return OPENOFFLOAD__V1__ADD__SESSION__STATUS___SESSION_REJECTED;
    default:
        return OPENOFFLOAD__V1__ADD__SESSION__STATUS___SESSION_TABLE_UNAVAILABLE;
    }
}

static sl_err add_error(struct group *g, uint64_t id, Openoffload__V1__ADDSESSIONSTATUS status)
{
    Openoffload__V1__AddSessionResponse *r = g->response;

    if (r->n_responseerror == ERRORS_MAX) /* what the message has room for */
        return SL_OK;
    if (r->n_responseerror == g->error_room) {
        size_t room = g->error_room == 0 ? GROUP : g->error_room * 2;
        void *grown = reallocarray(r->responseerror, room, sizeof(void *));
        if (grown == NULL)
            return SL_ERR_NOMEM;
        r->responseerror = grown;
        g->error_room = room;
    }
    Openoffload__V1__SessionResponseError *error = malloc(sizeof *error);
    if (error == NULL)
        return SL_ERR_NOMEM;
    openoffload__v1__session_response_error__init(error);
    error->sessionid = id;
    error->errorstatus = (int32_t)status;
    r->responseerror[r->n_responseerror++] = error;
    return SL_OK;
}

/* The status of all is that of the failures when they are of one kind that the client can only wait for; else _SESSION_REJECTED. */
static void merge_status(Openoffload__V1__AddSessionResponse *r, Openoffload__V1__ADDSESSIONSTATUS status)
{
    if (r->n_responseerror == 0 && status != OPENOFFLOAD__V1__ADD__SESSION__STATUS___SESSION_ALREADY_EXISTS)
        r->requeststatus = status;
    else if (r->requeststatus != status)
        r->requeststatus = OPENOFFLOAD__V1__ADD__SESSION__STATUS___SESSION_REJECTED;
}

static sl_err tell_group(struct group *g)
{
    sl_err err = SL_OK;
    for (size_t i = 0; !err && i < g->count; i++) {
        Openoffload__V1__ADDSESSIONSTATUS status = add_status(g->status[i]);
        if (status == OPENOFFLOAD__V1__ADD__SESSION__STATUS___SESSION_ACCEPTED)
            continue;
        if (g->before + i < 64)
            g->response->errorstatus |= UINT64_C(1) << (g->before + i);
        merge_status(g->response, status);
        err = add_error(g, g->id[i], status);
    }
    g->before += g->count;
    g->count = 0;
    return err;
}

static void take_status(void *arg, size_t index, const struct sl_engine_command *command,
                        const struct sl_engine_completion *completion)
{
    struct group *g = arg;
    if (command->op == SL_ENGINE_INSTALL) /* of a removal there is nothing to tell */
        g->status[index] = completion->status;
}

static bool has_room(const struct group *g, size_t wanted)
{
    struct sl_card_snapshot now;
    sl_card_loop_snapshot(g->s->loop, &now);
    return now.counters.dead || now.counters.sessions + wanted <= now.info.sessions;
}

/* The table had no room for one of the group: the others go, too. */
static void take_back(struct group *g)
{
    bool full = false;
    for (size_t i = 0; i < g->count; i++)
        full = full || g->status[i] == SL_ERR_LIMIT;
    for (size_t i = 0; full && i < g->count; i++) {
        struct sl_engine_command *command;
        struct sl_card_extra *extra;
        if (g->status[i] != SL_OK)
            continue;
        sl_card_pipe_slot(g->pipe, i, &command, &extra);
        command->op = SL_ENGINE_REMOVE;
        command->flow = g->id[i];
        sl_card_pipe_push(g->pipe);
        g->status[i] = SL_ERR_LIMIT;
    }
    sl_card_pipe_flush(g->pipe);
}

/* One session of the stream, towards the engine. It is not installed before the group is known to have room. */
static void collect(struct group *g, struct sl_engine_command *commands, struct sl_card_extra *extras,
                    const Openoffload__V1__SessionRequest *in)
{
    size_t i = g->count++;
    memset(&commands[i], 0, sizeof commands[i]);
    memset(&extras[i], 0, sizeof extras[i]);
    g->id[i] = in->sessionid;
    g->status[i] = sl_card_offload_from(in, &commands[i], &extras[i], NULL);
}

static sl_err install_group(struct group *g, const struct sl_engine_command *commands, const struct sl_card_extra *extras)
{
    size_t good = 0;
    for (size_t i = 0; i < g->count; i++)
        good += g->status[i] == SL_OK;
    if (!has_room(g, good)) {
        for (size_t i = 0; i < g->count; i++)
            g->status[i] = g->status[i] == SL_OK ? SL_ERR_LIMIT : g->status[i];
        return tell_group(g);
    }
    for (size_t i = 0; i < g->count; i++) {
        struct sl_engine_command *command;
        struct sl_card_extra *extra;
        if (g->status[i] != SL_OK)
            continue;
        sl_card_pipe_slot(g->pipe, i, &command, &extra);
        *command = commands[i];
        *extra = extras[i];
        sl_card_pipe_push(g->pipe);
    }
    sl_card_pipe_flush(g->pipe);
    take_back(g);
    return tell_group(g);
}

static sl_err add_stream(struct group *g, struct sl_rpc_call *call, struct sl_rpc_arena *arena, struct sl_engine_command *commands,
                         struct sl_card_extra *extras, struct sl_diag *diag)
{
    for (;;) {
        ProtobufCMessage *message = NULL;
        sl_err err = sl_rpc_call_recv_in(call, arena, &message);
        if (err)
            return sl_fail(diag, err, "sessions: %s", sl_err_str(err));
        if (message != NULL)
            collect(g, commands, extras, (const Openoffload__V1__SessionRequest *)message);
        if ((g->count == GROUP || (message == NULL && g->count > 0)) && install_group(g, commands, extras) != SL_OK)
            err = sl_fail(diag, SL_ERR_NOMEM, "out of memory");
        if (err || message == NULL)
            return err;
    }
}

static sl_err set_time(Google__Protobuf__Timestamp **out, uint64_t wall_ns)
{
    Google__Protobuf__Timestamp *time = malloc(sizeof *time);
    if (time == NULL)
        return SL_ERR_NOMEM;
    google__protobuf__timestamp__init(time);
    time->seconds = (int64_t)(wall_ns / SL_NS_PER_S);
    time->nanos = (int32_t)(wall_ns % SL_NS_PER_S);
    *out = time;
    return SL_OK;
}

static SL_CARD_HANDLER(add_session)
{
    const struct sl_clock *clock = sl_clock_system();
    struct sl_card_service *s = arg;
    struct group *g = calloc(1, sizeof *g);
    struct sl_engine_command *commands = calloc(GROUP, sizeof *commands); /* without keys */
    struct sl_card_extra *extras = calloc(GROUP, sizeof *extras);
    struct sl_rpc_arena *arena = NULL;
    sl_err err = sl_card_authorise(s, call, diag);
    (void)request;

    if (err)
        goto Exit;
    if (g == NULL || commands == NULL || extras == NULL || sl_rpc_arena_new(&arena) != SL_OK ||
        sl_card_pipe_new(s->loop, PIPE_DEPTH, take_status, g, &g->pipe) != SL_OK) {
        err = sl_fail(diag, SL_ERR_NOMEM, "out of memory");
        goto Exit;
    }
    g->s = s;
    g->response = (Openoffload__V1__AddSessionResponse *)response;
    err = add_stream(g, call, arena, commands, extras, diag);
    if (!err && set_time(&g->response->starttime, clock->wall_ns(clock->arg)) != SL_OK)
        err = sl_fail(diag, SL_ERR_NOMEM, "out of memory");
Exit:
    if (g != NULL)
        sl_card_pipe_free(g->pipe);
    free(g);
    free(commands);
    free(extras);
    sl_rpc_arena_free(arena);
    return err;
}

/* ---- sessions that are there ---- */

static void fill_counters(Openoffload__V1__SessionResponse *out, const struct sl_engine_lane_counters lane[SL_ENGINE_LANES])
{
    out->inpackets = lane[0].packets;
    out->inbytes = lane[0].bytes;
    out->outpackets = lane[1].packets;
    out->outbytes = lane[1].bytes;
}

static sl_err fill_session(Openoffload__V1__SessionResponse *out, const struct sl_card_row *row)
{
    const struct sl_card_session *s = &row->session;
    out->sessionid = s->flow;
    fill_counters(out, row->lane);
    out->sessionstate = s->fin[0] && s->fin[1]   ? OPENOFFLOAD__V1__SESSION__STATE___CLOSING_2
                        : s->fin[0] || s->fin[1] ? OPENOFFLOAD__V1__SESSION__STATE___CLOSING_1
                                                 : OPENOFFLOAD__V1__SESSION__STATE___ESTABLISHED;
    return set_time(&out->starttime, s->installed_wall_ns);
}

static SL_CARD_HANDLER(get_session)
{
    const Openoffload__V1__SessionId *r = (const Openoffload__V1__SessionId *)request;
    struct sl_card_service *s = arg;
    struct sl_card_row row = {.valid = false};

    sl_err err = sl_card_authorise(s, call, diag);
    if (!err)
        err = sl_card_read_session(s, r->sessionid, &row, diag);
    if (!err && fill_session((Openoffload__V1__SessionResponse *)response, &row) != SL_OK)
        err = sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    return err;
}

static SL_CARD_HANDLER(delete_session)
{
    const Openoffload__V1__SessionId *r = (const Openoffload__V1__SessionId *)request;
    const struct sl_engine_command remove = {.op = SL_ENGINE_REMOVE, .flow = r->sessionid};
    Openoffload__V1__SessionResponse *out = (Openoffload__V1__SessionResponse *)response;
    const struct sl_clock *clock = sl_clock_system();
    struct sl_engine_completion done = {.status = SL_OK};
    struct sl_card_service *s = arg;
    struct sl_card_row row = {.valid = false};

    sl_err err = sl_card_authorise(s, call, diag);
    if (!err)
        err = sl_card_read_session(s, r->sessionid, &row, diag);
    if (err)
        return err;
    err = sl_card_run(s, &remove, &done);
    if (!err)
        err = done.status;
    if (err)
        return sl_fail(diag, err, "%s", err == SL_ERR_NOT_FOUND ? "no such session" : sl_err_str(err));
    memcpy(row.lane, done.lane, sizeof row.lane);
    if (fill_session(out, &row) != SL_OK || set_time(&out->endtime, clock->wall_ns(clock->arg)) != SL_OK)
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    out->sessionstate = OPENOFFLOAD__V1__SESSION__STATE___CLOSED;
    out->sessionclosecode = OPENOFFLOAD__V1__SESSION__CLOSE__CODE___UNKNOWN_CLOSE_CODE;
    return SL_OK;
}

static sl_err fill_page(Openoffload__V1__SessionResponses *out, const struct sl_card_row *rows, size_t count)
{
    if (count > 0 && (out->sessioninfo = calloc(count, sizeof(void *))) == NULL)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        if (!rows[i].valid)
            continue;
        Openoffload__V1__SessionResponse *session = malloc(sizeof *session);
        if (session == NULL)
            return SL_ERR_NOMEM;
        openoffload__v1__session_response__init(session);
        out->sessioninfo[out->n_sessioninfo++] = session;
        if (fill_session(session, &rows[i]) != SL_OK)
            return SL_ERR_NOMEM;
    }
    return SL_OK;
}

static SL_CARD_HANDLER(get_all_sessions)
{
    const Openoffload__V1__SessionRequestArgs *r = (const Openoffload__V1__SessionRequestArgs *)request;
    Openoffload__V1__SessionResponses *out = (Openoffload__V1__SessionResponses *)response;
    size_t max = r->pagesize == 0 ? SL_CARD_PAGE_DEFAULT : r->pagesize < SL_CARD_PAGE_MAX ? r->pagesize : SL_CARD_PAGE_MAX;
    size_t count = 0;
    struct sl_card_service *s = arg;

    sl_err err = sl_card_authorise(s, call, diag);
    if (err)
        return err;
    struct sl_card_row *rows = calloc(max, sizeof *rows);
    err = rows != NULL ? sl_card_read_page(s, r->startsession, max, rows, &count, &out->nextkey) : SL_ERR_NOMEM;
    if (!err)
        err = fill_page(out, rows, count);
    free(rows);
    return err ? sl_fail(diag, err, "sessions: %s", sl_err_str(err)) : SL_OK;
}

/* ---- closed sessions ---- */

static Openoffload__V1__SESSIONCLOSECODE close_code(uint8_t reason)
{
    switch (reason) {
    case SL_CARD_CLOSE_FIN:
        return OPENOFFLOAD__V1__SESSION__CLOSE__CODE___FINACK;
    case SL_CARD_CLOSE_RST:
        return OPENOFFLOAD__V1__SESSION__CLOSE__CODE___RST;
    case SL_CARD_CLOSE_TIMEOUT:
        return OPENOFFLOAD__V1__SESSION__CLOSE__CODE___TIMEOUT;
    default:
        return OPENOFFLOAD__V1__SESSION__CLOSE__CODE___UNKNOWN_CLOSE_CODE;
    }
}

static sl_err send_closed(struct sl_rpc_call *call, const struct sl_card_closed *closed)
{
    Google__Protobuf__Timestamp start = GOOGLE__PROTOBUF__TIMESTAMP__INIT, end = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    Openoffload__V1__SessionResponse message = OPENOFFLOAD__V1__SESSION_RESPONSE__INIT;

    message.sessionid = closed->flow;
    fill_counters(&message, closed->lane);
    message.sessionstate = OPENOFFLOAD__V1__SESSION__STATE___CLOSED;
    message.sessionclosecode = close_code(closed->reason);
    start.seconds = (int64_t)(closed->installed_wall_ns / SL_NS_PER_S);
    start.nanos = (int32_t)(closed->installed_wall_ns % SL_NS_PER_S);
    end.seconds = (int64_t)(closed->closed_wall_ns / SL_NS_PER_S);
    end.nanos = (int32_t)(closed->closed_wall_ns % SL_NS_PER_S);
    message.starttime = &start;
    message.endtime = &end;
    return sl_rpc_call_send(call, &message.base, SL_RPC_MORE);
}

static SL_CARD_HANDLER(get_closed_sessions)
{
    const Openoffload__V1__SessionRequestArgs *r = (const Openoffload__V1__SessionRequestArgs *)request;
    struct sl_card_closed closed[CLOSED_BURST];
    struct sl_card_service *s = arg;
    size_t total = 0, n;
    (void)response;

    sl_err err = sl_card_authorise(s, call, diag);
    while (!err && (r->pagesize == 0 || total < r->pagesize)) {
        size_t max = r->pagesize == 0 || r->pagesize - total > CLOSED_BURST ? CLOSED_BURST : r->pagesize - total, sent = 0;
        n = sl_card_closed_take(sl_card_loop_lock(s->loop), closed, max);
        sl_card_loop_unlock(s->loop);
        while (!err && sent < n && (err = send_closed(call, &closed[sent])) == SL_OK)
            sent++;
        sl_card_closed_return(sl_card_loop_lock(s->loop), closed + sent, n - sent);
        sl_card_loop_unlock(s->loop);
        total += sent;
        if (n < max)
            break;
    }
    if (err)
        return diag->text[0] != '\0' ? err : sl_fail(diag, err, "closed sessions: %s", sl_err_str(err));
    return total > 0 ? SL_OK : sl_fail(diag, SL_ERR_NOT_FOUND, "no closed sessions");
}

const struct sl_rpc_method sl_card_offload_methods[] = {
    {"addSession", SL_RPC_CLIENT_STREAM, add_session},
    {"getSession", SL_RPC_UNARY, get_session},
    {"deleteSession", SL_RPC_UNARY, delete_session},
    {"getAllSessions", SL_RPC_UNARY, get_all_sessions},
    {"getClosedSessions", SL_RPC_SERVER_STREAM, get_closed_sessions},
};
const size_t sl_card_offload_method_count = sizeof sl_card_offload_methods / sizeof sl_card_offload_methods[0];
