/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/flow_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "gateway/connect_request.h"
#include "pki/leaf_cache.h"
#include "policy/snapshot.h"
#include "tls/alert.h"
#include "tls/context.h"

enum {
    LINGER_MS = 2000, /* for the last bytes and the peer's FIN, after the event was written */
    READ_ROUNDS = 4
};

#define CAUSE(name) SLUICE__V1__CAUSE__##name
#define STAGE(name) SLUICE__V1__STAGE__STAGE_##name

/* ---- time ---- */

static const Sluice__V1__Settings *settings(const struct sl_flow *f)
{
    return sl_policy_settings(f->runtime->policy);
}

static void place(struct sl_flow *f, struct sl_link *list, uint64_t limit_ms)
{
    sl_list_remove(&f->link);
    sl_list_append(list, &f->link);
    f->deadline_ms = uv_now(&f->worker->loop) + limit_ms;
}

void sl_flow_set_state(struct sl_flow *f, enum sl_flow_state state)
{
    f->state = state;
    if (state == SL_FLOW_RELAY)
        place(f, &f->worker->relaying, settings(f)->idle_timeout_ms);
    else if (state == SL_FLOW_LINGER || state == SL_FLOW_CLOSED)
        place(f, &f->worker->lingering, LINGER_MS);
    else
        place(f, &f->worker->handshaking, settings(f)->handshake_timeout_ms);
}

void sl_flow_touch(struct sl_flow *f)
{
    place(f, &f->worker->relaying, settings(f)->idle_timeout_ms);
}

static void expire(struct sl_flow *f)
{
    switch (f->state) {
    case SL_FLOW_REQUEST:
    case SL_FLOW_HELLO:
        sl_flow_fail(f, CAUSE(TIMEOUT_CLIENT_HELLO), STAGE(CLIENT_HELLO), "the client did not complete its ClientHello in time");
        break;
    case SL_FLOW_RESOLVE:
    case SL_FLOW_CONNECT:
    case SL_FLOW_RECONNECT:
        sl_flow_fail(f, CAUSE(TIMEOUT_CONNECT), STAGE(TCP), "the server did not accept the TCP connection in time");
        break;
    case SL_FLOW_SERVER_HANDSHAKE:
        sl_handshake_server_failed(f, CAUSE(TIMEOUT_SERVER_HANDSHAKE), STAGE(SERVER_HELLO),
                                   "the server did not complete the handshake in time");
        break;
    case SL_FLOW_CLIENT_HANDSHAKE:
        sl_flow_fail(f, CAUSE(TIMEOUT_CLIENT_HANDSHAKE), STAGE(KEY_EXCHANGE), "the client did not complete the handshake in time");
        break;
    case SL_FLOW_RELAY:
        sl_flow_fail(f, CAUSE(TIMEOUT_IDLE), STAGE(RECORD), "no byte in either direction");
        break;
    case SL_FLOW_LINGER: /* without a reset, which would also take back what the kernel has still to send */
    case SL_FLOW_CLOSED:
        sl_flow_end(f, false);
        break;
    }
}

void sl_flow_tick(struct sl_worker *w)
{
    struct sl_link *lists[] = {&w->handshaking, &w->relaying, &w->lingering};
    uint64_t now = uv_now(&w->loop);

    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        while (!sl_list_empty(lists[i])) {
            struct sl_flow *f = sl_container_of(lists[i]->next, struct sl_flow, link);
            if (f->deadline_ms > now)
                break;
            /* Whatever follows puts the flow elsewhere or later; this keeps the loop finite should it not. */
            place(f, lists[i], LINGER_MS);
            expire(f);
        }
}

void sl_flow_end_all(struct sl_worker *w, bool at_once)
{
    struct sl_link *lists[] = {&w->handshaking, &w->relaying};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        while (!sl_list_empty(lists[i]))
            sl_flow_fail(sl_container_of(lists[i]->next, struct sl_flow, link), CAUSE(SHUTDOWN), STAGE(TCP),
                         "the gateway was stopped");
    if (!at_once)
        return;
    for (struct sl_link *l = w->lingering.next, *next; l != &w->lingering; l = next) {
        next = l->next;
        sl_flow_end(sl_container_of(l, struct sl_flow, link), true);
    }
}

/* ---- end ---- */

static void release(struct sl_flow *f)
{
    struct sl_worker *w = f->worker;

    sl_list_remove(&f->link);
    w->flows--;
    if (f->counted)
        sl_limits_release(w->gateway->limits, &f->client_at);
    sl_metric_add(w->gateway->metrics.active, -1);
    sl_handshake_free(f->handshake);
    sl_transcoder_free(f->transcoder[SL_TO_SERVER]);
    sl_transcoder_free(f->transcoder[SL_TO_CLIENT]);
    sl_server_leg_free(f->server_leg);
    sl_client_leg_free(f->client_leg);
    sl_report_free(f);
    if (f->resolved)
        freeaddrinfo(f->resolved);
    sl_runtime_unref(f->runtime);
    free(f->host);
    free(f);
}

static void release_if_closed(struct sl_flow *f)
{
    if (f->state == SL_FLOW_CLOSED && f->pending == 0)
        release(f);
}

static void on_client_closed(struct sl_socket *s)
{
    struct sl_flow *f = sl_container_of(s, struct sl_flow, client);
    f->pending--;
    release_if_closed(f);
}

static void on_server_closed(struct sl_socket *s)
{
    struct sl_flow *f = sl_container_of(s, struct sl_flow, server);
    f->pending--;
    if (f->state == SL_FLOW_RECONNECT)
        sl_flow_connect(f);
    else
        release_if_closed(f);
}

static void close_both(struct sl_flow *f, bool reset)
{
    sl_flow_set_state(f, SL_FLOW_CLOSED);
    if (f->resolving)
        uv_cancel((uv_req_t *)f->resolving);
    sl_socket_close(&f->client, reset);
    sl_socket_close(&f->server, reset);
}

/* The last bytes: flush, FIN, then read and forget until the peer has finished, so that the kernel has no reason for a reset that
 * would overtake an alert. */
static void linger_event(struct sl_flow *f, struct sl_socket *s, bool readable, bool writable)
{
    size_t len = 0;
    sl_err err = writable ? sl_socket_flush(s) : SL_OK;

    for (int i = 0; readable && !err && i < READ_ROUNDS && !s->eof; i++)
        err = sl_socket_read(s, f->worker->in, SL_WORKER_IN_BYTES, &len);
    if (s->broken || (s->eof && s->fin_sent))
        sl_socket_close(s, false);
    else
        sl_socket_update(s);
    if (!sl_socket_is_open(&f->client) && !sl_socket_is_open(&f->server))
        close_both(f, false);
}

static void start_linger(struct sl_socket *s)
{
    if (!sl_socket_is_open(s))
        return;
    if (s->connecting || sl_socket_shutdown(s) || (s->eof && s->fin_sent)) {
        sl_socket_close(s, s->connecting);
        return;
    }
    s->reading = true;
    s->watching = false;
    sl_socket_update(s);
}

void sl_flow_end(struct sl_flow *f, bool reset)
{
    if (f->state == SL_FLOW_CLOSED)
        return;
    sl_report_finish(f, CAUSE(CAUSE_NONE), STAGE(UNSPECIFIED), NULL);
    if (reset || f->state == SL_FLOW_LINGER || !f->counted) { /* what no limit counts must not hold a descriptor for longer */
        close_both(f, reset);
        return;
    }
    sl_flow_set_state(f, SL_FLOW_LINGER);
    start_linger(&f->client);
    start_linger(&f->server);
    if (!sl_socket_is_open(&f->client) && !sl_socket_is_open(&f->server))
        close_both(f, false);
}

/* The status an explicit client gets before its tunnel stands. */
static unsigned http_status(Sluice__V1__Cause cause)
{
    switch ((int)cause) {
    case CAUSE(POLICY_DENY):
    case CAUSE(POLICY_BLOCK):
    case CAUSE(LOOP_DETECTED):
        return 403;
    case CAUSE(SRV_CONNECT_REFUSED):
    case CAUSE(SRV_UNREACHABLE):
        return 502;
    case CAUSE(TIMEOUT_CONNECT):
        return 504;
    default:
        return 503;
    }
}

/* Tells the client, in the language of the state it is in. False: only a reset is left. */
static bool tell_client(struct sl_flow *f, Sluice__V1__Cause cause)
{
    uint8_t record[SL_PLAIN_ALERT_BYTES];
    uint8_t description;

    switch (f->state) {
    case SL_FLOW_REQUEST:
    case SL_FLOW_RESOLVE:
    case SL_FLOW_CONNECT:
    case SL_FLOW_HELLO:
    case SL_FLOW_RECONNECT:
    case SL_FLOW_SERVER_HANDSHAKE:
        if (f->kind == SL_LISTEN_EXPLICIT && !f->tunnel) {
            const char *answer = sl_connect_answer(f->http_status ? f->http_status : http_status(cause));
            return sl_socket_send(&f->client, answer, strlen(answer)) == SL_OK;
        }
        if (!f->hello_seen || !sl_alert_for_cause(cause, &description))
            return false;
        sl_plain_alert(description, record);
        if (sl_socket_send(&f->client, record, sizeof record))
            return false;
        sl_flow_note_alert(f, SL_TLS_ALERT_FATAL, description, SLUICE__V1__ALERT_DIRECTION__SENT_TO_CLIENT);
        return true;
    case SL_FLOW_CLIENT_HANDSHAKE: /* the leg has said what there was to say */
        return true;
    case SL_FLOW_RELAY:
        return f->relay == SL_RELAY_RECORDS || f->relay == SL_RELAY_OPENSSL;
    case SL_FLOW_LINGER:
    case SL_FLOW_CLOSED:
        break;
    }
    return false;
}

void sl_flow_fail(struct sl_flow *f, Sluice__V1__Cause cause, Sluice__V1__Stage stage, const char *error)
{
    if (f->state == SL_FLOW_LINGER || f->state == SL_FLOW_CLOSED)
        return;
    bool told = !f->block_reset && tell_client(f, cause);
    sl_report_finish(f, cause, stage, error);
    if (cause == CAUSE(CLI_RESET) || cause == CAUSE(SRV_RESET))
        told = false; /* a reset is passed on as one */
    sl_flow_end(f, !told);
}

/* ---- server connection ---- */

static sl_err next_server_address(struct sl_flow *f)
{
    for (; f->next_address && f->addresses_tried < SL_FLOW_ADDRESSES_MAX; f->next_address = f->next_address->ai_next) {
        struct sl_endpoint at;
        sl_endpoint_from_sockaddr(f->next_address->ai_addr, &at);
        if (f->worker->gateway->options.allow_local_servers || !sl_net_guard_forbids(f->worker->guard, &at)) {
            f->server_at = at;
            f->next_address = f->next_address->ai_next;
            f->addresses_tried++;
            return SL_OK;
        }
    }
    return SL_ERR_NOT_FOUND;
}

/* The name's next address, but only until one was reached: what was decided and proved since then holds for that one alone. */
static void connect_failed(struct sl_flow *f, int error)
{
    if (!f->tunnel && next_server_address(f) == SL_OK && sl_decide_addresses(f)) {
        sl_flow_set_state(f, SL_FLOW_RECONNECT);
        if (sl_socket_is_open(&f->server))
            sl_socket_close(&f->server, true);
        else if (f->pending == 1) /* only the client: no close to wait for */
            sl_flow_connect(f);
        return;
    }
    if (f->state == SL_FLOW_CLOSED || f->state == SL_FLOW_LINGER)
        return;
    sl_flow_fail(f,
                 error == ECONNREFUSED ? CAUSE(SRV_CONNECT_REFUSED)
                 : error == ECONNRESET ? CAUSE(SRV_RESET) /* accepted, and reset before anybody looked */
                 : error == ETIMEDOUT  ? CAUSE(TIMEOUT_CONNECT)
                                       : CAUSE(SRV_UNREACHABLE),
                 STAGE(TCP), strerror(error));
}

/* Forwards bytes as they are, the client's first ones first. */
static void start_bytes(struct sl_flow *f)
{
    struct sl_gateway_metrics *m = &f->worker->gateway->metrics;
    struct sl_buf from_client, none;
    size_t len = 0;
    const uint8_t *raw = sl_hello_reader_raw(f->handshake->reader, &len);

    sl_buf_init(&from_client, SL_HELLO_RAW_MAX + SL_WORKER_IN_BYTES);
    sl_buf_init(&none, 0);
    if (len > 0 && sl_buf_append(&from_client, raw, len)) {
        sl_flow_fail(f, CAUSE(RES_MEMORY), STAGE(CLIENT_HELLO), "out of memory");
        return;
    }
    f->relay = SL_RELAY_BYTES;
    sl_metric_add(f->plan == SL_PLAN_NON_TLS ? m->non_tls : m->bypassed, 1);
    sl_relay_start(f, &from_client, &none);
    sl_buf_free(&from_client);
}

static void read_hello_bytes(struct sl_flow *f, const uint8_t *bytes, size_t len);

/* The TCP connection to the server stands. */
static void connected(struct sl_flow *f)
{
    sl_report_connected(f);
    if (f->kind == SL_LISTEN_EXPLICIT && !f->tunnel) {
        const char *answer = sl_connect_answer(200);
        f->tunnel = true;
        if (sl_socket_send(&f->client, answer, strlen(answer))) {
            sl_flow_fail(f, CAUSE(CLI_RESET), STAGE(TCP), "the client went away");
            return;
        }
        sl_flow_set_state(f, SL_FLOW_HELLO);
        f->client.reading = true;
        sl_socket_update(&f->client);
        read_hello_bytes(f, f->handshake->early, f->handshake->early_len);
        return;
    }
    if (f->plan == SL_PLAN_BYPASS || f->plan == SL_PLAN_NON_TLS)
        start_bytes(f);
    else
        sl_handshake_start_server(f);
}

static void on_server_event(struct sl_socket *s, bool readable, bool writable)
{
    struct sl_flow *f = sl_container_of(s, struct sl_flow, server);

    switch (f->state) {
    case SL_FLOW_CONNECT: {
        int error = sl_net_error(s->fd);
        s->connecting = false;
        if (error)
            connect_failed(f, error);
        else
            connected(f);
        break;
    }
    case SL_FLOW_SERVER_HANDSHAKE:
    case SL_FLOW_CLIENT_HANDSHAKE:
        if ((writable && sl_socket_flush(s)) || readable)
            sl_handshake_server_readable(f); /* reading tells what is wrong */
        break;
    case SL_FLOW_RELAY:
        sl_relay_event(f, s, readable, writable);
        break;
    case SL_FLOW_LINGER:
        linger_event(f, s, readable, writable);
        break;
    case SL_FLOW_REQUEST:
    case SL_FLOW_RESOLVE:
    case SL_FLOW_HELLO:
    case SL_FLOW_RECONNECT:
    case SL_FLOW_CLOSED:
        break;
    }
    if (f->state != SL_FLOW_CLOSED)
        sl_socket_update(s);
}

void sl_flow_connect(struct sl_flow *f)
{
    int fd = -1;
    const struct sl_endpoint *source = f->kind == SL_LISTEN_TRANSPARENT ? &f->client_at : NULL;

    sl_flow_set_state(f, SL_FLOW_CONNECT);
    f->client.reading = false;
    f->client.watching = f->plan == SL_PLAN_DECRYPT || f->plan == SL_PLAN_CONFIRM_NAME;
    sl_socket_update(&f->client);
    sl_err err = sl_net_connect(&f->server_at, source, &fd);
    if (err == SL_ERR_LIMIT) {
        sl_flow_fail(f, CAUSE(RES_OVERLOAD), STAGE(TCP), "no descriptor for the connection to the server");
        return;
    }
    if (err) {
        connect_failed(f, errno);
        return;
    }
    if (sl_socket_open(&f->server, &f->worker->loop, fd, true, on_server_event, on_server_closed)) {
        sl_flow_fail(f, CAUSE(RES_MEMORY), STAGE(TCP), "the event loop does not take the socket");
        return;
    }
    f->pending++;
    sl_socket_update(&f->server);
}

void sl_flow_bypass_late(struct sl_flow *f, const char *reason)
{
    sl_metric_add(f->worker->gateway->metrics.late_bypass, 1);
    sl_report_decision(f, "bypass", reason);
    f->plan = SL_PLAN_BYPASS;
    f->earlier_sent += f->server.bytes_out;
    f->earlier_received += f->server.bytes_in;
    sl_handshake_drop_legs(f->handshake);
    sl_flow_set_state(f, SL_FLOW_RECONNECT);
    sl_socket_close(&f->server, false);
}

/* ---- client side up to the decision ---- */

static void read_hello_bytes(struct sl_flow *f, const uint8_t *bytes, size_t len)
{
    struct sl_hello_reader *reader = f->handshake->reader;
    enum sl_hello_state state = len ? sl_hello_reader_feed(reader, bytes, len) : SL_HELLO_NEED_MORE;

    if (state == SL_HELLO_NEED_MORE)
        return;
    f->hello_seen = state != SL_HELLO_NOT_TLS;
    const struct sl_client_hello *hello = sl_hello_reader_hello(reader);
    if (hello)
        sl_report_hello(f, hello);
    if (state == SL_HELLO_MALFORMED) {
        sl_flow_fail(f, sl_hello_reader_cause(reader), STAGE(CLIENT_HELLO), "the ClientHello can't be understood");
        return;
    }
    if (!sl_decide_hello(f, hello))
        return;
    if (!sl_socket_is_open(&f->server))
        sl_flow_connect(f);
    else
        connected(f);
}

static void client_gone(struct sl_flow *f, bool reset)
{
    bool nothing_said = f->client.bytes_in == 0;
    sl_flow_fail(f, reset ? CAUSE(CLI_RESET) : CAUSE(CLI_EOF), nothing_said ? STAGE(TCP) : STAGE(CLIENT_HELLO),
                 reset ? "the client reset the connection"
                       : "the client closed the connection before its ClientHello was complete");
}

static void connect_resolved(struct sl_flow *f)
{
    if (next_server_address(f)) {
        sl_metric_add(f->worker->gateway->metrics.refused_loop, 1);
        sl_flow_fail(f, CAUSE(LOOP_DETECTED), STAGE(TCP), "the host has only addresses that must not be proxied to");
        return;
    }
    if (sl_decide_addresses(f))
        sl_flow_connect(f);
}

static void resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
    struct sl_flow *f = request->data;

    f->resolving = NULL;
    f->pending--;
    free(request);
    if (f->state != SL_FLOW_RESOLVE) {
        uv_freeaddrinfo(list);
        release_if_closed(f);
        return;
    }
    if (status) {
        sl_flow_fail(f, CAUSE(SRV_UNREACHABLE), STAGE(TCP), uv_strerror(status));
        return;
    }
    f->resolved = f->next_address = list;
    connect_resolved(f);
}

static void resolve(struct sl_flow *f, uint16_t port)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    char service[8];
    uv_getaddrinfo_t *request = calloc(1, sizeof *request);

    snprintf(service, sizeof service, "%u", (unsigned)port);
    sl_flow_set_state(f, SL_FLOW_RESOLVE);
    if (!request || (request->data = f, uv_getaddrinfo(&f->worker->loop, request, resolved, f->host, service, &hints))) {
        free(request);
        sl_flow_fail(f, CAUSE(RES_MEMORY), STAGE(TCP), "the host name can't be looked up now");
        return;
    }
    f->resolving = request;
    f->pending++;
}

static void read_request(struct sl_flow *f)
{
    struct sl_connect_request request;
    size_t len = 0;

    sl_err err = sl_socket_read(&f->client, f->handshake->early + f->handshake->early_len,
                                SL_CONNECT_REQUEST_MAX - f->handshake->early_len, &len);
    if (err == SL_ERR_AGAIN)
        return;
    if (err || f->client.eof) {
        client_gone(f, err != SL_OK);
        return;
    }
    f->handshake->early_len += len;
    err = sl_connect_request_parse(f->handshake->early, f->handshake->early_len, &request);
    if (err == SL_ERR_AGAIN)
        return;
    if (err) {
        f->http_status = err == SL_ERR_UNSUPPORTED ? 405 : 400;
        sl_flow_fail(f, CAUSE(CLI_BAD_HELLO), STAGE(TCP), "not a CONNECT request");
        return;
    }
    f->host = strdup(request.host);
    if (!f->host) {
        sl_flow_fail(f, CAUSE(RES_MEMORY), STAGE(TCP), "out of memory");
        return;
    }
    f->handshake->early_len -= request.size;
    memmove(f->handshake->early, f->handshake->early + request.size, f->handshake->early_len);
    f->client.reading = false;
    sl_socket_update(&f->client);
    sl_endpoint_set_port(&f->server_at, request.port);
    resolve(f, request.port);
}

static void read_hello(struct sl_flow *f)
{
    size_t len = 0;
    sl_err err = sl_socket_read(&f->client, f->worker->in, SL_WORKER_IN_BYTES, &len);

    if (err == SL_ERR_AGAIN)
        return;
    if (err || f->client.eof)
        client_gone(f, err != SL_OK);
    else
        read_hello_bytes(f, f->worker->in, len);
}

/* While the server is asked, a client that leaves ends the flow. */
static void check_client(struct sl_flow *f)
{
    uint8_t byte;
    ssize_t n = recv(f->client.fd, &byte, 1, MSG_PEEK);
    f->client.watching = false; /* it fires as long as the FIN stands; once is enough */
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        sl_flow_fail(f, n == 0 ? CAUSE(CLI_EOF) : CAUSE(CLI_RESET), STAGE(SERVER_HELLO),
                     "the client left while the server was asked");
}

static void on_client_event(struct sl_socket *s, bool readable, bool writable)
{
    struct sl_flow *f = sl_container_of(s, struct sl_flow, client);

    if (writable && f->state != SL_FLOW_RELAY && f->state != SL_FLOW_LINGER && sl_socket_flush(s)) {
        client_gone(f, true);
        return;
    }
    switch (f->state) {
    case SL_FLOW_REQUEST:
        read_request(f);
        break;
    case SL_FLOW_HELLO:
        read_hello(f);
        break;
    case SL_FLOW_CONNECT:
    case SL_FLOW_SERVER_HANDSHAKE:
        if (readable && s->watching)
            check_client(f);
        break;
    case SL_FLOW_CLIENT_HANDSHAKE:
        sl_handshake_client_readable(f);
        break;
    case SL_FLOW_RELAY:
        sl_relay_event(f, s, readable, writable);
        break;
    case SL_FLOW_LINGER:
        linger_event(f, s, readable, writable);
        break;
    case SL_FLOW_RESOLVE:
    case SL_FLOW_RECONNECT:
    case SL_FLOW_CLOSED:
        break;
    }
    if (f->state != SL_FLOW_CLOSED)
        sl_socket_update(s);
}

static enum sl_flow_state first_state(const struct sl_flow *f)
{
    return f->kind == SL_LISTEN_EXPLICIT ? SL_FLOW_REQUEST : SL_FLOW_HELLO;
}

static sl_err new_handshake(struct sl_flow *f)
{
    struct sl_handshake *h = calloc(1, sizeof *h);
    f->handshake = h;
    if (!h || (f->kind == SL_LISTEN_EXPLICIT && !(h->early = malloc(SL_CONNECT_REQUEST_MAX))))
        return SL_ERR_NOMEM;
    return sl_hello_reader_new(&h->reader);
}

static struct sl_flow *new_flow(struct sl_worker *w, const struct sl_listener *l, const struct sl_endpoint *client,
                                const struct sl_endpoint *local)
{
    struct sl_gateway *g = w->gateway;
    struct sl_flow *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    sl_list_init(&f->link);
    f->worker = w;
    f->runtime = sl_worker_runtime(w);
    f->kind = l->kind;
    f->client_at = *client;
    if (l->kind == SL_LISTEN_TRANSPARENT)
        f->server_at = *local;
    f->client.fd = f->server.fd = -1;
    for (int d = 0; d < SL_DIRECTIONS; d++)
        f->direction[d] = (struct sl_flow_direction){.flow = f, .direction = (enum sl_direction)d};
    f->connection_id = atomic_fetch_add(&g->next_connection_id, 1) + 1;
    f->flow_id = g->flow_id_base + f->connection_id;
    f->start_wall_ns = g->options.clock->wall_ns(g->options.clock->arg);
    w->flows++;
    sl_metric_add(g->metrics.connections, 1);
    sl_metric_add(g->metrics.active, 1);
    return f;
}

/* Counts the flow in. Beyond a limit policy says whether it is refused (false) or passes undecrypted, as far as rules let it. */
static bool admit(struct sl_flow *f)
{
    const Sluice__V1__Settings *s = settings(f);
    sl_err err = sl_limits_take(f->worker->gateway->limits, &f->client_at, s->max_connections, s->max_connections_per_client);

    f->counted = err == SL_OK;
    if (f->counted)
        return true;
    sl_metric_add(f->worker->gateway->metrics.refused_limit, 1);
    if (s->on_overload == SLUICE__V1__FAILURE_ACTION__FAIL_BYPASS && f->kind == SL_LISTEN_TRANSPARENT) {
        f->overload = true;
        return true;
    }
    sl_flow_fail(f,
                 err == SL_ERR_DENIED  ? CAUSE(RES_CLIENT_LIMIT)
                 : err == SL_ERR_LIMIT ? CAUSE(RES_OVERLOAD)
                                       : CAUSE(RES_MEMORY),
                 STAGE(TCP),
                 err == SL_ERR_DENIED ? "this client has as many connections as one may have"
                                      : "the gateway has as many connections as it may have");
    return false;
}

/* A connection to the gateway itself would come round for ever, or reach what must not be reached through it (A7, A12). */
static bool loops(struct sl_flow *f)
{
    if (f->kind == SL_LISTEN_EXPLICIT || !sl_net_guard_forbids(f->worker->guard, &f->server_at))
        return false;
    sl_metric_add(f->worker->gateway->metrics.refused_loop, 1);
    sl_flow_fail(f, CAUSE(LOOP_DETECTED), STAGE(TCP),
                 "the destination is the gateway itself, or an address that must not be proxied to");
    return true;
}

void sl_flow_accept(struct sl_worker *w, const struct sl_listener *l, int fd, const struct sl_endpoint *client,
                    const struct sl_endpoint *local)
{
    struct sl_flow *f = new_flow(w, l, client, local);
    if (!f) {
        sl_net_close_reset(fd);
        return;
    }
    if (sl_socket_open(&f->client, &w->loop, fd, false, on_client_event, on_client_closed)) {
        release(f);
        return;
    }
    f->pending++;
    sl_flow_set_state(f, first_state(f));
    if (new_handshake(f) || sl_report_begin(f)) {
        sl_flow_end(f, true);
        return;
    }
    if (!admit(f) || loops(f) || (f->kind == SL_LISTEN_TRANSPARENT && !sl_decide_addresses(f)))
        return;
    f->client.reading = true;
    sl_socket_update(&f->client);
}

sl_err sl_flow_worker_init(struct sl_worker *w)
{
    const struct sl_leaf_cache_options leaves = {.clock = w->gateway->options.clock};
    sl_err err = sl_tls_context_new(w->gateway->tls, &w->tls);
    return err ? err : sl_leaf_cache_new(&leaves, &w->leaves);
}
