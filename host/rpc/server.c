/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "rpc/server_internal.h"
#include "rpc/status.h"

enum {
    MAX_CALLS_DEFAULT = 256,
    MAX_LOCAL_CONNECTIONS_DEFAULT = 256,
    STREAM_QUEUE_DEFAULT = 256,
    KEEPALIVE_MIN_PEER_MS_DEFAULT = 5000,
    REQUESTED_CALLS = 16 /* how many arrivals may wait for the completion-queue thread before the core queues them itself */
};

/* ------------------------------------------------------------------------------------------------------------------------- set-up
 */

static void set_defaults(struct sl_rpc_server_options *o)
{
#define DEFAULT(member, value) o->member = o->member != 0 ? o->member : (value)
    DEFAULT(max_message_bytes, SL_RPC_MESSAGE_BYTES_DEFAULT);
    DEFAULT(max_calls, MAX_CALLS_DEFAULT);
    DEFAULT(max_local_connections, MAX_LOCAL_CONNECTIONS_DEFAULT);
    DEFAULT(stream_queue_messages, STREAM_QUEUE_DEFAULT);
    DEFAULT(keepalive_time_ms, SL_RPC_KEEPALIVE_TIME_MS_DEFAULT);
    DEFAULT(keepalive_timeout_ms, SL_RPC_KEEPALIVE_TIMEOUT_MS_DEFAULT);
    DEFAULT(keepalive_min_peer_ms, KEEPALIVE_MIN_PEER_MS_DEFAULT);
#undef DEFAULT
    if (o->max_message_bytes > INT32_MAX)
        o->max_message_bytes = INT32_MAX;
}

static sl_err register_metrics(struct sl_rpc_server *server)
{
    struct sl_metrics *m = server->options.metrics;
    sl_err err = SL_OK;
    if (m == NULL)
        return SL_OK;
    err = sl_metric_register(m, SL_GAUGE, "sluice_rpc_calls_active", "Management calls in progress", &server->calls_active);
    if (err == SL_OK)
        err = sl_metric_register(m, SL_GAUGE, "sluice_rpc_local_connections", "Open connections on management sockets",
                                 &server->connections_active);
    if (err == SL_OK)
        err = sl_metric_register(m, SL_COUNTER, "sluice_rpc_stream_messages_dropped_total",
                                 "Stream messages not sent because the client read too slowly", &server->messages_dropped);
    for (int status = 0; status <= 16 && err == SL_OK; status++) {
        char name[96];
        snprintf(name, sizeof name, "sluice_rpc_calls_total{status=\"%s\"}", sl_rpc_status_name(status));
        err = sl_metric_register(m, SL_COUNTER, name, "Management calls by their status", &server->calls_by_status[status]);
    }
    return err;
}

static int as_int(uint32_t v)
{
    return v > INT32_MAX ? INT32_MAX : (int)v;
}

static grpc_server *make_core(const struct sl_rpc_server_options *o)
{
    int limit = (int)o->max_message_bytes;
    grpc_arg args[] = {
        sl_rpc_core_int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, limit),
        sl_rpc_core_int_arg(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, limit),
        sl_rpc_core_int_arg(GRPC_ARG_MAX_CONCURRENT_STREAMS, as_int(o->max_calls)),
        sl_rpc_core_int_arg(GRPC_ARG_KEEPALIVE_TIME_MS, as_int(o->keepalive_time_ms)),
        sl_rpc_core_int_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, as_int(o->keepalive_timeout_ms)),
        sl_rpc_core_int_arg(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        sl_rpc_core_int_arg(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        sl_rpc_core_int_arg(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, as_int(o->keepalive_min_peer_ms)),
        /* Two daemons must not share a port without knowing. */
        sl_rpc_core_int_arg(GRPC_ARG_ALLOW_REUSEPORT, 0),
        sl_rpc_core_no_compression(),
    };
    grpc_channel_args list = {.num_args = sizeof args / sizeof args[0], .args = args};
    return grpc_server_create(&list, NULL);
}

sl_err sl_rpc_server_new(const struct sl_rpc_server_options *options, struct sl_rpc_server **out, struct sl_diag *diag)
{
    struct sl_rpc_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    if (options != NULL)
        server->options = *options;
    set_defaults(&server->options);
    sl_err err = register_metrics(server);
    if (err != SL_OK)
        sl_fail(diag, err, "can't register the metrics");
    else
        err = sl_rpc_core_acquire(diag);
    if (err != SL_OK) {
        free(server);
        return err;
    }
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->changed, NULL);
    sl_rpc_pool_init(&server->pool);
    atomic_init(&server->draining, false);
    server->core = make_core(&server->options);
    server->cq = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(server->core, server->cq, NULL);
    *out = server;
    return SL_OK;
}

sl_err sl_rpc_server_add_service(struct sl_rpc_server *server, const struct sl_rpc_service *service, struct sl_diag *diag)
{
    if (server->state != SL_RPC_NEW)
        return sl_fail(diag, SL_ERR_STATE, "the server has been started");
    if (server->service_count == SL_RPC_SERVICES_MAX)
        return sl_fail(diag, SL_ERR_LIMIT, "more than %d services", SL_RPC_SERVICES_MAX);
    sl_err err = sl_rpc_service_check(service, diag);
    if (err == SL_OK)
        server->services[server->service_count++] = service;
    return err;
}

sl_err sl_rpc_server_listen_unix(struct sl_rpc_server *server, const char *path, mode_t mode, struct sl_diag *diag)
{
    if (server->state != SL_RPC_NEW || server->local != NULL)
        return sl_fail(diag, SL_ERR_STATE, "the server has been started, or has a unix socket already");
    return sl_rpc_unix_listen(server, path, mode, &server->local, diag);
}

sl_err sl_rpc_server_listen_tls(struct sl_rpc_server *server, const char *address, const struct sl_rpc_tls_files *tls,
                                int *bound_port, struct sl_diag *diag)
{
    struct sl_rpc_pem pem;
    if (server->state != SL_RPC_NEW)
        return sl_fail(diag, SL_ERR_STATE, "the server has been started");
    sl_err err = sl_rpc_pem_load(tls, &pem, diag);
    if (err != SL_OK)
        return err;
    grpc_ssl_pem_key_cert_pair pair = {.private_key = pem.key, .cert_chain = pem.cert};
    grpc_server_credentials *credentials =
        grpc_ssl_server_credentials_create_ex(pem.ca, &pair, 1, GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, NULL);
    sl_rpc_pem_free(&pem);
    int port = grpc_server_add_http2_port(server->core, address, credentials);
    grpc_server_credentials_release(credentials);
    if (port == 0)
        return sl_fail(diag, SL_ERR_IO, "can't listen at %s: not an address of this machine, or in use", address);
    if (bound_port != NULL)
        *bound_port = port;
    return SL_OK;
}

/* --------------------------------------------------------------------------------------------------------------------- running */

static void *cq_main(void *arg)
{
    struct sl_rpc_server *server = arg;
    pthread_setname_np(pthread_self(), "rpc");
    for (;;) {
        const bool waits = server->wakes == NULL;
        grpc_event event = grpc_completion_queue_next(
            server->cq, waits ? gpr_inf_future(GPR_CLOCK_MONOTONIC) : gpr_inf_past(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (event.type == GRPC_QUEUE_TIMEOUT) {
            sl_rpc_server_call_wake_late(server);
            continue;
        }
        struct sl_rpc_tag *tag = event.tag;
        sl_rpc_core_take_over(tag);
        tag->done(tag, event.success != 0);
    }
}

static bool start_cq_thread(struct sl_rpc_server *server)
{
    sigset_t old;
    sl_rpc_core_block_signals(&old);
    bool started = pthread_create(&server->cq_thread, NULL, cq_main, server) == 0;
    if (started)
        grpc_server_start(server->core);
    sl_rpc_core_restore_signals(&old);
    return started;
}

sl_err sl_rpc_server_start(struct sl_rpc_server *server, struct sl_diag *diag)
{
    if (server->state != SL_RPC_NEW)
        return sl_fail(diag, SL_ERR_STATE, "the server has been started before");
    if (!start_cq_thread(server))
        return sl_fail(diag, SL_ERR_NOMEM, "no thread for the completion queue");
    pthread_mutex_lock(&server->lock);
    server->state = SL_RPC_STARTED;
    pthread_mutex_unlock(&server->lock);
    for (int i = 0; i < REQUESTED_CALLS; i++)
        sl_rpc_server_call_request(server);
    return server->local != NULL ? sl_rpc_unix_start(server->local, diag) : SL_OK;
}

unsigned sl_rpc_server_active_calls(struct sl_rpc_server *server)
{
    pthread_mutex_lock(&server->lock);
    unsigned count = server->call_count;
    pthread_mutex_unlock(&server->lock);
    return count;
}

/* --------------------------------------------------------------------------------------------------------------------------
 * stopping */

static void on_shutdown(struct sl_rpc_tag *tag, bool ok)
{
    struct sl_rpc_server *server = (struct sl_rpc_server *)(void *)((char *)tag - offsetof(struct sl_rpc_server, shutdown_tag));
    (void)ok;
    pthread_mutex_lock(&server->lock);
    server->shutdown_done = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

/* server->lock is held. */
static bool is_quiet(const struct sl_rpc_server *server)
{
    return server->shutdown_done && server->call_count == 0;
}

/* Until every call is over or the time is up. server->lock is held. */
static void drain(struct sl_rpc_server *server, uint32_t drain_ms)
{
    const struct sl_clock *clock = sl_clock_system();
    uint64_t until = clock->mono_ns(clock->arg) + (uint64_t)drain_ms * SL_NS_PER_MS;
    struct timespec at = {.tv_sec = (time_t)(until / SL_NS_PER_S), .tv_nsec = (long)(until % SL_NS_PER_S)};
    int late = 0;
    while (!is_quiet(server) && late == 0)
        late = pthread_cond_clockwait(&server->changed, &server->lock, CLOCK_MONOTONIC, &at);
}

static void stop_started(struct sl_rpc_server *server, uint32_t drain_ms)
{
    if (server->local != NULL)
        sl_rpc_unix_stop(server->local);
    sl_rpc_core_hand_over(&server->shutdown_tag);
    grpc_server_shutdown_and_notify(server->core, server->cq, &server->shutdown_tag);

    pthread_mutex_lock(&server->lock);
    atomic_store(&server->draining, true);
    sl_rpc_server_call_wake_all(server);
    drain(server, drain_ms);
    bool quiet = is_quiet(server);
    pthread_mutex_unlock(&server->lock);

    if (!quiet)
        grpc_server_cancel_all_calls(server->core);
    pthread_mutex_lock(&server->lock);
    while (!is_quiet(server))
        pthread_cond_wait(&server->changed, &server->lock);
    pthread_mutex_unlock(&server->lock);

    grpc_completion_queue_shutdown(server->cq);
    pthread_join(server->cq_thread, NULL);
}

void sl_rpc_server_stop(struct sl_rpc_server *server, uint32_t drain_ms)
{
    pthread_mutex_lock(&server->lock);
    bool started = server->state == SL_RPC_STARTED;
    if (started)
        server->state = SL_RPC_DRAINING;
    pthread_mutex_unlock(&server->lock);
    if (!started)
        return;
    server->shutdown_tag.done = on_shutdown;
    stop_started(server, drain_ms);
    pthread_mutex_lock(&server->lock);
    server->state = SL_RPC_STOPPED;
    pthread_mutex_unlock(&server->lock);
}

/* A server that was never started still has to be shut down before the core lets go of its sockets. */
static void shut_down_unstarted(struct sl_rpc_server *server)
{
    struct sl_rpc_tag tag = {0};
    grpc_server_shutdown_and_notify(server->core, server->cq, &tag);
    grpc_completion_queue_next(server->cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    grpc_completion_queue_shutdown(server->cq);
    while (grpc_completion_queue_next(server->cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type != GRPC_QUEUE_SHUTDOWN)
        ;
}

void sl_rpc_server_free(struct sl_rpc_server *server)
{
    if (server == NULL)
        return;
    if (server->state == SL_RPC_NEW)
        shut_down_unstarted(server);
    sl_rpc_server_stop(server, 0);
    sl_rpc_pool_stop(&server->pool);
    grpc_server_destroy(server->core);
    grpc_completion_queue_destroy(server->cq);
    sl_rpc_unix_free(server->local);
    sl_rpc_core_release();
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->lock);
    free(server);
}
