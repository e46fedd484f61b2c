/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the gRPC server and who may touch what. Private to rpc/server*.c.
 *
 *   server.c         set-up, completion-queue thread, stop
 *   server_call.c    one call, from arrival to status
 *   server_unix.c    accepting on unix sockets, peer credentials
 *   server_worker.c  threads that run handlers
 *
 * Locks: server->lock, then call->lock; never the other way round. Nobody calls a handler or waits for the network with a lock
 * held.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "rpc/call.h"
#include "rpc/core.h"

enum { SL_RPC_SERVICES_MAX = 8 };

/* What a completion queue hands back: the address of one of these, embedded in what the batch belongs to. */
struct sl_rpc_tag {
    void (*done)(struct sl_rpc_tag *tag, bool ok);
};

struct sl_rpc_worker_pool {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct sl_rpc_server_call *first, *last; /* ready calls */
    struct sl_rpc_worker *threads;           /* every thread that hasn't been joined */
    unsigned idle, queued;
    bool stopping;
};

struct sl_rpc_unix_listener;

enum sl_rpc_server_state { SL_RPC_NEW, SL_RPC_STARTED, SL_RPC_DRAINING, SL_RPC_STOPPED };

struct sl_rpc_server {
    struct sl_rpc_server_options options;
    const struct sl_rpc_service *services[SL_RPC_SERVICES_MAX];
    size_t service_count;
    grpc_server *core;
    grpc_completion_queue *cq;
    pthread_t cq_thread;
    struct sl_rpc_worker_pool pool;
    struct sl_rpc_unix_listener *local;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* calls, shutdown_done */
    enum sl_rpc_server_state state;
    struct sl_rpc_server_call *calls; /* arrived and not yet deleted */
    unsigned call_count;
    bool shutdown_done;
    struct sl_rpc_tag shutdown_tag;
    atomic_bool draining;

    struct sl_rpc_server_call *wakes; /* calls whose handler is to be woken, see server_call.c; the completion-queue thread's */
    unsigned put_off;                 /* messages that came since the first of them did */

    struct sl_metric *calls_active, *calls_by_status[17], *connections_active, *messages_dropped;
};

/* ---- server_call.c ---- */

struct sl_rpc_server_call;
/* Asks the core for one more call. */
void sl_rpc_server_call_request(struct sl_rpc_server *server);
/* Runs the handler and sends the status; on a worker's thread. */
void sl_rpc_server_call_execute(struct sl_rpc_server_call *call);
/* Ends a call that no worker could be found for. */
void sl_rpc_server_call_refuse(struct sl_rpc_server_call *call);
/* Wakes the handlers whose waking was put off; on the completion-queue thread. */
void sl_rpc_server_call_wake_late(struct sl_rpc_server *server);
/* The server has begun to drain: wakes who waits. server->lock is held. */
void sl_rpc_server_call_wake_all(struct sl_rpc_server *server);
struct sl_rpc_server_call **sl_rpc_server_call_next_ready(struct sl_rpc_server_call *call);

/* ---- server_worker.c ---- */

void sl_rpc_pool_init(struct sl_rpc_worker_pool *pool);
/* Takes over one reference of the call. SL_ERR_NOMEM: no thread could be made; the reference stays with the caller. */
sl_err sl_rpc_pool_submit(struct sl_rpc_worker_pool *pool, struct sl_rpc_server_call *call);
/* Runs what is queued, then joins every thread. */
void sl_rpc_pool_stop(struct sl_rpc_worker_pool *pool);

/* ---- server_unix.c ---- */

/* Who connected over this descriptor number; false: unknown. See "identity" in server_unix.c. */
bool sl_rpc_unix_peer(struct sl_rpc_unix_listener *listener, int fd, struct sl_rpc_peer *peer);
sl_err sl_rpc_unix_listen(struct sl_rpc_server *server, const char *path, mode_t mode, struct sl_rpc_unix_listener **out,
                          struct sl_diag *diag);
sl_err sl_rpc_unix_start(struct sl_rpc_unix_listener *listener, struct sl_diag *diag);
void sl_rpc_unix_stop(struct sl_rpc_unix_listener *listener); /* stops accepting and closes the socket; the table stays */
void sl_rpc_unix_free(struct sl_rpc_unix_listener *listener);
