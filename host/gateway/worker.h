/* SPDX-License-Identifier: Apache-2.0 */
/* One thread of the gateway: its loop, its listeners, its flows and the scratch memory they share. Used by its own thread only, but
 * for the functions that say otherwise. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "gateway/gateway.h"
#include "gateway/limits.h"
#include "gateway/list.h"
#include "record/tls.h"

enum { SL_WORKER_IN_BYTES = 64 * 1024, SL_WORKER_OUT_BYTES = SL_WORKER_IN_BYTES + 2 * SL_TLS_RECORD_MAX, SL_WORKER_TICK_MS = 100 };

struct sl_flow;
struct sl_worker;
struct sl_minter;
struct sl_tls_context;
struct sl_tls_shared;
struct sl_verifier;
struct sl_leaf_cache;

/* Counters of the gateway; a NULL member counts nothing. */
struct sl_gateway_metrics {
    struct sl_metric *connections, *active, *decrypted, *bypassed, *blocked, *failed, *non_tls, *refused_limit, *refused_loop;
    struct sl_metric *bytes_client, *bytes_server, *leaf_minted, *leaf_cached, *resumed_client, *resumed_server;
    struct sl_metric *late_bypass, *accept_paused;
};

struct sl_listener {
    struct sl_worker *worker;
    enum sl_listener_kind kind;
    struct sl_endpoint at;
    uv_poll_t poll;
    int fd;
};

struct sl_worker {
    struct sl_gateway *gateway;
    unsigned index;
    pthread_t thread;
    bool started;
    uv_loop_t loop;
    uv_async_t wake;
    uv_timer_t tick;
    struct sl_listener listeners[SL_LISTENERS_MAX];
    size_t listener_count;
    bool accepting, stopping;
    uint64_t accept_again_ms; /* after running out of descriptors: not before this loop time */

    struct sl_runtime *runtime; /* as of the last accept */
    struct sl_tls_context *tls;
    struct sl_leaf_cache *leaves;
    struct sl_net_guard *guard;
    uint64_t guard_refresh_ms;

    /* Every flow is in one of these, least recently active first, so that a tick looks only at those that are due. */
    struct sl_link handshaking, relaying, lingering;
    size_t flows;
    uint8_t *in, *out; /* scratch of SL_WORKER_IN_BYTES and SL_WORKER_OUT_BYTES */
};

/* What all workers of a gateway share. */
struct sl_gateway {
    struct sl_gateway_options options;
    struct sl_gateway_metrics metrics;
    struct sl_limits *limits;
    struct sl_tls_shared *tls;
    struct sl_verifier *verifier;
    struct sl_minter *minter;
    _Atomic uint64_t next_connection_id;
    uint64_t flow_id_base; /* random: flow ids differ between runs */
    pthread_mutex_t lock;  /* runtime */
    struct sl_runtime *runtime;
    _Atomic uint64_t generation;
    _Atomic bool stop_accepting, end_flows, quit;
    struct sl_worker workers[SL_WORKERS_MAX];
    size_t worker_count;
};

sl_err sl_worker_start(struct sl_worker *w, struct sl_gateway *g, unsigned index, struct sl_diag *diag);
void sl_worker_wake(struct sl_worker *w); /* any thread */
void sl_worker_join(struct sl_worker *w); /* any other thread, after quit was set */

/* The runtime for a new flow: a new reference. */
struct sl_runtime *sl_worker_runtime(struct sl_worker *w);
