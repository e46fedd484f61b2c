/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/gateway.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "gateway/worker.h"
#include "pki/ca.h"
#include "pki/mint.h"
#include "pki/trust.h"
#include "pki/verify.h"
#include "policy/snapshot.h"
#include "tls/context.h"

enum { DRAIN_POLL_MS = 20, END_FLOWS_MS = 5000 };

sl_err sl_runtime_new(struct sl_policy_snapshot *policy, struct sl_trust *trust, struct sl_ca *ca, struct sl_ca *untrusted_ca,
                      struct sl_runtime **out)
{
    struct sl_runtime *r = calloc(1, sizeof *r);
    if (r)
        *r = (struct sl_runtime){.references = 1, .policy = policy, .trust = trust, .ca = ca, .untrusted_ca = untrusted_ca};
    else {
        sl_policy_snapshot_unref(policy);
        sl_trust_unref(trust);
        sl_ca_unref(ca);
        sl_ca_unref(untrusted_ca);
        return SL_ERR_NOMEM;
    }
    *out = r;
    return SL_OK;
}

struct sl_runtime *sl_runtime_ref(struct sl_runtime *r)
{
    atomic_fetch_add_explicit(&r->references, 1, memory_order_relaxed);
    return r;
}

void sl_runtime_unref(struct sl_runtime *r)
{
    if (!r || atomic_fetch_sub_explicit(&r->references, 1, memory_order_acq_rel) != 1)
        return;
    sl_policy_snapshot_unref(r->policy);
    sl_trust_unref(r->trust);
    sl_ca_unref(r->ca);
    sl_ca_unref(r->untrusted_ca);
    free(r);
}

static sl_err register_metrics(struct sl_gateway *g)
{
    struct sl_gateway_metrics *m = &g->metrics;
    const struct {
        struct sl_metric **metric;
        enum sl_metric_kind kind;
        const char *name, *help;
    } table[] = {
        {&m->connections, SL_COUNTER, "sluice_connections_total", "connections accepted"},
        {&m->active, SL_GAUGE, "sluice_connections_active", "connections open now"},
        {&m->decrypted, SL_COUNTER, "sluice_connections_decrypted_total", "connections whose both handshakes were completed"},
        {&m->bypassed, SL_COUNTER, "sluice_connections_bypassed_total", "connections passed unmodified"},
        {&m->blocked, SL_COUNTER, "sluice_connections_blocked_total", "connections ended by a rule"},
        {&m->failed, SL_COUNTER, "sluice_connections_failed_total", "connections ended by a failure before data could flow"},
        {&m->non_tls, SL_COUNTER, "sluice_connections_non_tls_total", "connections that did not begin with TLS"},
        {&m->refused_limit, SL_COUNTER, "sluice_connections_refused_limit_total", "connections beyond a limit"},
        {&m->refused_loop, SL_COUNTER, "sluice_connections_refused_loop_total",
         "connections to the gateway itself or to a forbidden address"},
        {&m->bytes_client, SL_COUNTER, "sluice_bytes_to_server_total", "bytes sent to servers"},
        {&m->bytes_server, SL_COUNTER, "sluice_bytes_from_server_total", "bytes received from servers"},
        {&m->leaf_minted, SL_COUNTER, "sluice_leaf_minted_total", "leaf certificates signed"},
        {&m->leaf_cached, SL_COUNTER, "sluice_leaf_cached_total", "leaf certificates taken from the cache"},
        {&m->resumed_client, SL_COUNTER, "sluice_resumed_client_total", "client legs that resumed a session"},
        {&m->resumed_server, SL_COUNTER, "sluice_resumed_server_total", "server legs that resumed a session"},
        {&m->late_bypass, SL_COUNTER, "sluice_late_bypass_total",
         "connections made again undecrypted after the server leg had begun"},
        {&m->accept_paused, SL_COUNTER, "sluice_accept_paused_total",
         "times accepting was paused for lack of descriptors or memory"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        sl_err err = sl_metric_register(g->options.metrics, table[i].kind, table[i].name, table[i].help, table[i].metric);
        if (err)
            return err;
    }
    return SL_OK;
}

/* What the workers share beside the runtime. */
static sl_err new_shared(struct sl_gateway *g, struct sl_diag *diag)
{
    const struct sl_verifier_options verifier = {.clock = g->options.clock};
    const struct sl_minter_options minter = {
        .clock = g->options.clock, .sensitive = g->options.sensitive_names, .sensitive_count = g->options.sensitive_name_count};

    sl_err err = sl_tls_shared_new(g->options.clock, NULL, &g->tls);
    if (!err)
        err = sl_verifier_new(&verifier, &g->verifier);
    if (err)
        return sl_fail(diag, err, "gateway: %s", sl_err_str(err));
    return sl_minter_new(&minter, &g->minter, diag);
}

sl_err sl_gateway_start(const struct sl_gateway_options *options, struct sl_runtime *runtime, struct sl_gateway **out,
                        struct sl_diag *diag)
{
    struct sl_gateway *g = calloc(1, sizeof *g);
    sl_err err = SL_ERR_NOMEM;

    if (!g) {
        sl_runtime_unref(runtime);
        return sl_fail(diag, SL_ERR_NOMEM, "no memory for the gateway");
    }
    g->options = *options;
    g->runtime = runtime;
    g->runtime->generation = 1;
    atomic_store(&g->generation, 1);
    pthread_mutex_init(&g->lock, NULL);
    if (getrandom(&g->flow_id_base, sizeof g->flow_id_base, 0) != (ssize_t)sizeof g->flow_id_base) {
        err = sl_fail(diag, SL_ERR_IO, "no random numbers");
        goto Exit;
    }
    if ((err = register_metrics(g)) || (err = sl_limits_new(&g->limits))) {
        sl_fail(diag, err, "gateway: %s", sl_err_str(err));
        goto Exit;
    }
    if ((err = new_shared(g, diag)))
        goto Exit;
    for (unsigned i = 0; i < options->workers && i < SL_WORKERS_MAX; i++) {
        if ((err = sl_worker_start(&g->workers[i], g, i, diag)))
            goto Exit;
        g->worker_count++;
    }
Exit:
    if (err)
        sl_gateway_free(g);
    else
        *out = g;
    return err;
}

void sl_gateway_apply(struct sl_gateway *g, struct sl_runtime *runtime)
{
    pthread_mutex_lock(&g->lock);
    struct sl_runtime *old = g->runtime;
    runtime->generation = old->generation + 1;
    g->runtime = runtime;
    atomic_store(&g->generation, runtime->generation);
    pthread_mutex_unlock(&g->lock);
    sl_runtime_unref(old);
}

struct sl_runtime *sl_gateway_runtime(struct sl_gateway *g)
{
    pthread_mutex_lock(&g->lock);
    struct sl_runtime *r = sl_runtime_ref(g->runtime);
    pthread_mutex_unlock(&g->lock);
    return r;
}

sl_err sl_gateway_rotate_keys(struct sl_gateway *g)
{
    return sl_minter_rotate(g->minter);
}

static void wake_all(struct sl_gateway *g)
{
    for (size_t i = 0; i < g->worker_count; i++)
        sl_worker_wake(&g->workers[i]);
}

static void wait_until_idle(struct sl_gateway *g, uint64_t limit_ms)
{
    const struct timespec pause = {.tv_nsec = DRAIN_POLL_MS * (long)SL_NS_PER_MS};
    const struct sl_clock *clock = sl_clock_system();
    uint64_t end = clock->mono_ns(clock->arg) + limit_ms * SL_NS_PER_MS;
    while (sl_gateway_active(g) > 0 && clock->mono_ns(clock->arg) < end)
        nanosleep(&pause, NULL);
}

void sl_gateway_drain(struct sl_gateway *g, uint64_t deadline_ms)
{
    atomic_store(&g->stop_accepting, true);
    wake_all(g);
    wait_until_idle(g, deadline_ms);
    atomic_store(&g->end_flows, true);
    wake_all(g);
    wait_until_idle(g, END_FLOWS_MS);
}

void sl_gateway_free(struct sl_gateway *g)
{
    if (!g)
        return;
    atomic_store(&g->stop_accepting, true);
    atomic_store(&g->end_flows, true);
    atomic_store(&g->quit, true);
    wake_all(g);
    for (size_t i = 0; i < g->worker_count; i++)
        sl_worker_join(&g->workers[i]);
    sl_minter_free(g->minter);
    sl_verifier_free(g->verifier);
    sl_tls_shared_free(g->tls);
    sl_limits_free(g->limits);
    sl_runtime_unref(g->runtime);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

size_t sl_gateway_active(const struct sl_gateway *g)
{
    return g->limits ? sl_limits_total(g->limits) : 0;
}

bool sl_gateway_draining(const struct sl_gateway *g)
{
    return atomic_load(&g->stop_accepting);
}
