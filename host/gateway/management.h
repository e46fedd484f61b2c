/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The management service of sluiced (sluice.v1.Management): what sluicectl and every other client talks to.
 *
 *   main ──sl_mgmt_start──▶ unix socket, TCP with mutual TLS ──▶ handlers ──▶ policy store, event store, CA folder, metrics
 *                                                                └─ commit ──▶ deps.apply_snapshot (the running policy is swapped)
 *
 * Who may do what:
 *   unix socket   whoever the socket file's permissions let connect may read; only root and the daemon's own user may change
 * anything TCP           a client certificate of the configured CA may do everything; nobody else gets as far as a handler Every
 * change is written to the log with its author and becomes a SYSTEM event.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/metrics.h"
#include "rpc/server.h"
#include "rpc/service.h"
#include "sluice/v1/management.pb-c.h"

struct sl_event_store;
struct sl_policy_snapshot;
struct sl_policy_store;

/* Where to serve. Strings are copied. */
struct sl_mgmt_config {
    const char *unix_path;       /* NULL: no unix socket */
    mode_t unix_mode;            /* 0: 0660 */
    const char *tcp;             /* "192.0.2.1:7443", "[::1]:7443"; NULL: no TCP */
    struct sl_rpc_tls_files tls; /* needed with tcp */
    uint32_t watch_patience_ms;  /* a watcher that reads nothing for so long is dropped with RESOURCE_EXHAUSTED; 0: 30,000 */
};

/* Everything is borrowed and must outlive the service. Callbacks come from handler threads, several at once except where stated. */
struct sl_mgmt_deps {
    const struct sl_clock *clock; /* NULL: the system's */
    struct sl_metrics *metrics;   /* NULL: GetStats is empty */
    struct sl_policy_store *policy;
    struct sl_event_store *events;
    const char *device_name;
    const char *ca_dir;             /* CA key and certificate */
    const char *ca_passphrase_file; /* NULL: ca_dir/passphrase */

    void *arg; /* given to every callback */
    /* After a commit, one at a time and in order of versions: this policy decides new connections from now on. The callee takes
     * over the reference. A failure is told to the author of the commit as a warning; the version stays committed. */
    sl_err (*apply_snapshot)(void *arg, struct sl_policy_snapshot *snapshot, struct sl_diag *diag);
    /* The files in ca_dir are new: load them. A failure is told like one of apply_snapshot. NULL is allowed. */
    sl_err (*ca_changed)(void *arg, struct sl_diag *diag);
    /* Fills in what only the gateway knows: start_ns, uptime_s, workers, listeners, connections_*, record_engine, draining,
     * warnings. Strings and arrays come from malloc; the service adds the rest (a warning for a missing CA included). NULL is
     * allowed. */
    sl_err (*fill_status)(void *arg, Sluice__V1__Status *status);
};

struct sl_mgmt;

/* Listens and serves. On failure nothing runs, *out is unchanged and diag says which address, file or service is at fault. */
sl_err sl_mgmt_start(const struct sl_mgmt_config *config, const struct sl_mgmt_deps *deps, struct sl_mgmt **out,
                     struct sl_diag *diag);

/* The TCP port that was bound, for config.tcp with port 0; 0: none. */
int sl_mgmt_tcp_port(const struct sl_mgmt *mgmt);

/* The handler table, for other transports (sl_rpc_dispatch_json). Valid until sl_mgmt_free. */
const struct sl_rpc_service *sl_mgmt_service(const struct sl_mgmt *mgmt);

/* Takes no new calls, lets those in progress finish for drain_ms, cancels the rest (watchers at once, with UNAVAILABLE), and
 * returns when no handler runs any more. Later calls do nothing. */
void sl_mgmt_stop(struct sl_mgmt *mgmt, uint32_t drain_ms);

/* Stops without drain if need be, and releases. NULL is allowed. */
void sl_mgmt_free(struct sl_mgmt *mgmt);
