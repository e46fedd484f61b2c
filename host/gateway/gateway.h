/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gateway: worker threads with an event loop each, all listening on the same addresses (SO_REUSEPORT), each flow staying on its
 * thread.
 *
 *   main ──sl_gateway_start──▶ workers ──accept──▶ flow (flow.h) ──▶ event store, metrics
 *        ──sl_gateway_apply──▶ the runtime that new flows are decided with; old flows keep theirs
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/metrics.h"
#include "gateway/net.h"

struct sl_policy_snapshot;
struct sl_trust;
struct sl_ca;
struct sl_event_store;

enum { SL_WORKERS_MAX = 64, SL_LISTENERS_MAX = 16 };

enum sl_listener_kind { SL_LISTEN_TRANSPARENT, SL_LISTEN_EXPLICIT };

struct sl_listener_config {
    enum sl_listener_kind kind;
    struct sl_endpoint at;
};

/* Everything that new connections are decided with; immutable, shared, counted. */
struct sl_runtime {
    _Atomic unsigned references;
    uint64_t generation; /* rises with every sl_gateway_apply */
    struct sl_policy_snapshot *policy;
    struct sl_trust *trust;
    struct sl_ca *ca;           /* NULL: none yet, nothing can be decrypted */
    struct sl_ca *untrusted_ca; /* signs leaves for servers whose certificate was refused, where policy wants that */
};

struct sl_gateway_options {
    unsigned workers; /* 1..SL_WORKERS_MAX */
    struct sl_listener_config listeners[SL_LISTENERS_MAX];
    size_t listener_count;
    const char *device_name;  /* borrowed for the gateway's life, like the pointers below */
    bool allow_local_servers; /* explicit proxying to loopback and the gateway's own addresses: for tests on one host only */
    const char *const *sensitive_names; /* never signed for (C9): the gateway's own management names */
    size_t sensitive_name_count;
    const struct sl_clock *clock;
    struct sl_metrics *metrics;
    struct sl_event_store *events;
};

struct sl_gateway;

/* Takes over one reference of each part (ca may be NULL). SL_ERR_NOMEM: the parts are released. */
sl_err sl_runtime_new(struct sl_policy_snapshot *policy, struct sl_trust *trust, struct sl_ca *ca, struct sl_ca *untrusted_ca,
                      struct sl_runtime **out);
struct sl_runtime *sl_runtime_ref(struct sl_runtime *r);
void sl_runtime_unref(struct sl_runtime *r);

/* Opens the listeners and starts the workers; takes over the reference to runtime. On failure nothing runs and diag says why. */
sl_err sl_gateway_start(const struct sl_gateway_options *options, struct sl_runtime *runtime, struct sl_gateway **out,
                        struct sl_diag *diag);

/* New connections are decided with this runtime from now on; takes over the reference. Any thread. */
void sl_gateway_apply(struct sl_gateway *g, struct sl_runtime *runtime);

/* The present runtime; the caller releases the reference. Any thread. */
struct sl_runtime *sl_gateway_runtime(struct sl_gateway *g);

/* New keys for the leaves minted from now on. Slow; any thread but a worker's. On failure the old ones stay. */
sl_err sl_gateway_rotate_keys(struct sl_gateway *g);

/* Stops accepting, waits until the last flow has ended or deadline_ms have passed, then ends what is left, with an event each. */
void sl_gateway_drain(struct sl_gateway *g, uint64_t deadline_ms);

/* Joins the workers and releases everything. After sl_gateway_drain. */
void sl_gateway_free(struct sl_gateway *g);

size_t sl_gateway_active(const struct sl_gateway *g);
bool sl_gateway_draining(const struct sl_gateway *g);
