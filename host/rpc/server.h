/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC server: unix socket with peer credentials, TCP with mutual TLS.
 *
 *   new → add_service… → listen_unix / listen_tls… → start → stop → free
 *
 * Threads: one for the completion queue, one for accepting on unix sockets, one worker a call in progress (kept for the next call).
 * All block every signal. Handlers never run on the thread that calls these functions.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/metrics.h"
#include "rpc/service.h"

struct sl_rpc_server;

/* Zero means the default for every member. */
struct sl_rpc_server_options {
    size_t max_message_bytes;       /* either direction; default 4 MiB. A larger request gets RESOURCE_EXHAUSTED */
    unsigned max_calls;             /* calls in progress; default 256. More get RESOURCE_EXHAUSTED */
    unsigned max_local_connections; /* on unix sockets; default 256. More are closed at once */
    unsigned stream_queue_messages; /* a stream's unsent messages; default 256 */
    uint32_t keepalive_time_ms;     /* a ping after so much silence; default 30,000 */
    uint32_t keepalive_timeout_ms;  /* a peer that doesn't answer is gone; default 10,000 */
    uint32_t keepalive_min_peer_ms; /* a peer that pings more often is told to go away; default 5,000 */
    struct sl_metrics *metrics;     /* NULL: none. sluice_rpc_calls_total{status="…"}, sluice_rpc_calls_active, … */
};

/* PEM files. A client must present a certificate that chains to ca_file. */
struct sl_rpc_tls_files {
    const char *cert_file, *key_file, *ca_file;
};

sl_err sl_rpc_server_new(const struct sl_rpc_server_options *options, struct sl_rpc_server **out, struct sl_diag *diag);

/* The service, its tables and what they point to must outlive the server. SL_ERR_INVALID: sl_rpc_service_check. */
sl_err sl_rpc_server_add_service(struct sl_rpc_server *server, const struct sl_rpc_service *service, struct sl_diag *diag);

/*
 * Listens on a unix socket with the given permission bits (0660). A socket file left by a dead process is replaced; SL_ERR_EXISTS
 * if somebody answers there, or the path is something else. SL_ERR_IO, SL_ERR_INVALID (path too long). free removes the file.
 */
sl_err sl_rpc_server_listen_unix(struct sl_rpc_server *server, const char *path, mode_t mode, struct sl_diag *diag);

/* address is "192.0.2.1:7443", "[2001:db8::1]:7443" or "name:port"; port 0 takes any. *bound_port may be NULL. SL_ERR_IO: can't
 * bind; SL_ERR_INVALID: a file is missing or not PEM, or the key doesn't match. */
sl_err sl_rpc_server_listen_tls(struct sl_rpc_server *server, const char *address, const struct sl_rpc_tls_files *tls,
                                int *bound_port, struct sl_diag *diag);

/* SL_ERR_STATE: started before. */
sl_err sl_rpc_server_start(struct sl_rpc_server *server, struct sl_diag *diag);

/*
 * Takes no new connections and calls; lets calls in progress finish for drain_ms, then cancels them; returns when every handler has
 * returned and every connection is closed. Once only; later calls do nothing.
 */
void sl_rpc_server_stop(struct sl_rpc_server *server, uint32_t drain_ms);

/* Stops without drain if need be. NULL is allowed. */
void sl_rpc_server_free(struct sl_rpc_server *server);

/* Calls in progress: for status pages and tests. */
unsigned sl_rpc_server_active_calls(struct sl_rpc_server *server);
