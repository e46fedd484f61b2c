/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/daemon.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/secret.h"
#include "event/store.h"
#include "event/tls_log.h"
#include "gateway/gateway.h"
#include "gateway/management.h"
#include "pki/ca.h"
#include "pki/trust.h"
#include "policy/store.h"
#include "record/gcm.h"

enum { PATH_BYTES = 512, MGMT_DRAIN_MS = 2000 };

#define FLUSH_NS        ((uint64_t)5 * SL_NS_PER_S) /* for the last events, at the end */
#define KEY_ROTATION_NS ((uint64_t)24 * 3600 * SL_NS_PER_S)

struct sl_daemon {
    const struct sl_config *config;
    const struct sl_clock *clock;
    struct sl_metrics *metrics;
    struct sl_metric *heap, *secret;
    struct sl_policy_store *policy;
    struct sl_event_store *events;
    struct sl_tls_log *tls_log;
    struct sl_event_subscription *tls_log_feed;
    struct sl_ca *untrusted_ca;
    pthread_mutex_t lock; /* ca; building a runtime */
    struct sl_ca *ca;     /* NULL: none yet */
    struct sl_gateway *gateway;
    struct sl_mgmt *management;
    char ca_dir[PATH_BYTES];
    uint64_t start_wall_ns, start_mono_ns, rotate_ns;
};

static sl_err make_folder(const char *path, mode_t mode, struct sl_diag *diag)
{
    if (mkdir(path, mode) == 0 || errno == EEXIST)
        return SL_OK;
    return sl_fail(diag, SL_ERR_IO, "%s: can't be made: %s", path, strerror(errno));
}

static sl_err state_path(const struct sl_daemon *d, const char *name, char out[static PATH_BYTES], struct sl_diag *diag)
{
    int n = snprintf(out, PATH_BYTES, "%s/%s", d->config->state_dir, name);
    return n > 0 && n < PATH_BYTES ? SL_OK : sl_fail(diag, SL_ERR_INVALID, "state_dir is too long");
}

/* ---- runtime ---- */

static sl_err trust_items(const struct sl_policy_snapshot *policy, struct sl_trust_item **out, size_t *count)
{
    const Sluice__V1__TrustedCertificate *const *certs = sl_policy_trusted(policy, count);
    struct sl_trust_item *items = calloc(*count + 1, sizeof *items);

    if (!items)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < *count; i++)
        items[i] =
            (struct sl_trust_item){.kind = certs[i]->kind == SLUICE__V1__TRUST_KIND__TRUST_PIN ? SL_TRUST_PIN : SL_TRUST_ANCHOR,
                                   .name = certs[i]->name,
                                   .der = {certs[i]->der.data, certs[i]->der.len},
                                   .hosts = (const char *const *)certs[i]->hosts,
                                   .host_count = certs[i]->n_hosts,
                                   .ports = certs[i]->ports,
                                   .port_count = certs[i]->n_ports,
                                   .expires_ns = certs[i]->expires_ns};
    *out = items;
    return SL_OK;
}

static sl_err build_trust(struct sl_daemon *d, const struct sl_policy_snapshot *policy, struct sl_trust **out, struct sl_diag *diag)
{
    struct sl_der own[2] = {sl_ca_der(d->untrusted_ca)};
    struct sl_trust_item *items = NULL;
    size_t item_count = 0;

    sl_err err = trust_items(policy, &items, &item_count);
    if (err)
        return sl_fail(diag, err, "trust store: %s", sl_err_str(err));
    if (d->ca)
        own[1] = sl_ca_der(d->ca);
    struct sl_trust_options options = {.bundle = d->config->trust.bundle,
                                       .crls = (const char *const *)d->config->trust.crls,
                                       .crl_count = d->config->trust.crl_count,
                                       .items = items,
                                       .item_count = item_count,
                                       .own_cas = own,
                                       .own_ca_count = d->ca ? 2 : 1,
                                       .version = sl_policy_version(policy),
                                       .clock = d->clock};
    err = sl_trust_new(&options, out, diag);
    free(items);
    return err;
}

/* Takes over the reference to policy. Called with the lock held, or before anybody else runs. */
static sl_err build_runtime(struct sl_daemon *d, struct sl_policy_snapshot *policy, struct sl_runtime **out, struct sl_diag *diag)
{
    struct sl_trust *trust = NULL;
    sl_err err = build_trust(d, policy, &trust, diag);

    if (err) {
        sl_policy_snapshot_unref(policy);
        return err;
    }
    err = sl_runtime_new(policy, trust, sl_ca_ref(d->ca), sl_ca_ref(d->untrusted_ca), out);
    return err ? sl_fail(diag, err, "out of memory") : SL_OK;
}

static sl_err apply_snapshot(void *arg, struct sl_policy_snapshot *policy, struct sl_diag *diag)
{
    struct sl_daemon *d = arg;
    struct sl_runtime *runtime = NULL;

    pthread_mutex_lock(&d->lock);
    sl_err err = build_runtime(d, policy, &runtime, diag);
    if (!err)
        sl_gateway_apply(d->gateway, runtime);
    pthread_mutex_unlock(&d->lock);
    return err;
}

static sl_err load_ca(struct sl_daemon *d, struct sl_diag *diag)
{
    struct sl_ca *ca = NULL;
    sl_err err = sl_ca_load(d->ca_dir, d->config->ca.passphrase_file, &ca, diag);

    if (err)
        return err;
    sl_ca_unref(d->ca);
    d->ca = ca;
    return SL_OK;
}

static sl_err ca_changed(void *arg, struct sl_diag *diag)
{
    struct sl_daemon *d = arg;
    struct sl_runtime *runtime = NULL;

    pthread_mutex_lock(&d->lock);
    sl_err err = load_ca(d, diag);
    if (!err)
        err = build_runtime(d, sl_policy_store_running(d->policy), &runtime, diag);
    if (!err)
        sl_gateway_apply(d->gateway, runtime);
    pthread_mutex_unlock(&d->lock);
    return err;
}

/* ---- status ---- */

static sl_err fill_listeners(const struct sl_daemon *d, Sluice__V1__Status *status)
{
    const struct sl_config *c = d->config;

    status->listeners = calloc(c->listener_count, sizeof *status->listeners);
    for (size_t i = 0; status->listeners && i < c->listener_count; i++) {
        char text[SL_ENDPOINT_TEXT];
        if (asprintf(&status->listeners[i], "%s %s", c->listeners[i].kind == SL_LISTEN_EXPLICIT ? "explicit" : "transparent",
                     sl_endpoint_text(&c->listeners[i].at, text)) < 0) {
            status->listeners[i] = NULL;
            return SL_ERR_NOMEM;
        }
        status->n_listeners++;
    }
    return status->listeners ? SL_OK : SL_ERR_NOMEM;
}

static sl_err fill_status(void *arg, Sluice__V1__Status *status)
{
    struct sl_daemon *d = arg;
    struct sl_metric *total = NULL;

    status->start_ns = d->start_wall_ns;
    status->uptime_s = (d->clock->mono_ns(d->clock->arg) - d->start_mono_ns) / SL_NS_PER_S;
    status->workers = d->config->workers;
    status->connections_active = sl_gateway_active(d->gateway);
    if (sl_metric_register(d->metrics, SL_COUNTER, "sluice_connections_total", "connections accepted", &total) == SL_OK)
        status->connections_total = (uint64_t)sl_metric_get(total);
    status->draining = sl_gateway_draining(d->gateway);
    status->record_engine = strdup(sl_gcm_engine_name(sl_gcm_engine_default()));
    return status->record_engine ? fill_listeners(d, status) : SL_ERR_NOMEM;
}

/* ---- start and stop ---- */

/* Lines are written by the event store's thread: a slow disk must not hold up a worker. */
static void write_tls_log(void *arg, const Sluice__V1__Event *event)
{
    sl_tls_log_write(arg, event);
}

static sl_err open_stores(struct sl_daemon *d, struct sl_diag *diag)
{
    char path[PATH_BYTES];
    sl_err err = make_folder(d->config->state_dir, 0700, diag);

    if (!err)
        err = state_path(d, "policy.db", path, diag);
    if (!err)
        err = sl_policy_store_open(path, d->clock, &d->policy, diag);
    if (!err)
        err = state_path(d, "events.db", path, diag);
    if (err)
        return err;
    const struct sl_event_store_options events = {.path = path,
                                                  .clock = d->clock,
                                                  .metrics = d->metrics,
                                                  .device_name = d->config->device_name,
                                                  .retain_events = d->config->events.max_events};
    err = sl_event_store_open(&events, &d->events, diag);
    if (!err && d->config->tls_log)
        err = sl_tls_log_open(d->config->tls_log, false, &d->tls_log, diag);
    if (!err && d->tls_log && (err = sl_event_subscribe(d->events, write_tls_log, d->tls_log, &d->tls_log_feed)))
        sl_fail(diag, err, "tls_log: %s", sl_err_str(err));
    return err;
}

static sl_err open_ca(struct sl_daemon *d, struct sl_diag *diag)
{
    sl_err err = state_path(d, "ca", d->ca_dir, diag);
    if (!err)
        err = sl_ca_untrusted_new(d->config->device_name, d->clock, &d->untrusted_ca, diag);
    if (err)
        return err;
    err = load_ca(d, diag);
    if (err == SL_ERR_NOT_FOUND) {
        sl_log(SL_LOG_WARN, "sluiced", "there is no decryption CA yet: run 'sluicectl ca init'");
        err = SL_OK;
    }
    return err;
}

static sl_err start_gateway(struct sl_daemon *d, struct sl_diag *diag)
{
    const struct sl_config *c = d->config;
    struct sl_runtime *runtime = NULL;
    struct sl_gateway_options options = {.workers = c->workers,
                                         .listener_count = c->listener_count,
                                         .device_name = c->device_name,
                                         .allow_local_servers = c->allow_local_servers,
                                         .sensitive_names = (const char *const *)&c->device_name,
                                         .sensitive_name_count = 1,
                                         .clock = d->clock,
                                         .metrics = d->metrics,
                                         .events = d->events};

    memcpy(options.listeners, c->listeners, sizeof options.listeners);
    sl_err err = build_runtime(d, sl_policy_store_running(d->policy), &runtime, diag);
    return err ? err : sl_gateway_start(&options, runtime, &d->gateway, diag);
}

static sl_err start_management(struct sl_daemon *d, struct sl_diag *diag)
{
    const struct sl_config *c = d->config;
    const struct sl_mgmt_config config = {
        .unix_path = c->management.unix_path,
        .tcp = c->management.tcp,
        .tls = {.cert_file = c->management.tls_cert, .key_file = c->management.tls_key, .ca_file = c->management.tls_ca}};
    const struct sl_mgmt_deps deps = {.clock = d->clock,
                                      .metrics = d->metrics,
                                      .policy = d->policy,
                                      .events = d->events,
                                      .device_name = c->device_name,
                                      .ca_dir = d->ca_dir,
                                      .ca_passphrase_file = c->ca.passphrase_file,
                                      .arg = d,
                                      .apply_snapshot = apply_snapshot,
                                      .ca_changed = ca_changed,
                                      .fill_status = fill_status};
    return sl_mgmt_start(&config, &deps, &d->management, diag);
}

static void release(struct sl_daemon *d)
{
    sl_mgmt_free(d->management);
    sl_gateway_free(d->gateway);
    if (d->events)
        sl_event_store_flush(d->events, FLUSH_NS);
    sl_event_unsubscribe(d->tls_log_feed);
    sl_event_store_close(d->events);
    sl_tls_log_close(d->tls_log);
    sl_policy_store_close(d->policy);
    sl_ca_unref(d->ca);
    sl_ca_unref(d->untrusted_ca);
    sl_metrics_free(d->metrics);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

sl_err sl_daemon_start(const struct sl_config *config, struct sl_daemon **out, struct sl_diag *diag)
{
    struct sl_daemon *d = calloc(1, sizeof *d);

    if (!d)
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    d->config = config;
    d->clock = sl_clock_system();
    d->start_wall_ns = d->clock->wall_ns(d->clock->arg);
    d->start_mono_ns = d->clock->mono_ns(d->clock->arg);
    d->rotate_ns = d->start_mono_ns + KEY_ROTATION_NS;
    pthread_mutex_init(&d->lock, NULL);

    sl_err err = sl_metrics_new(&d->metrics);
    if (!err)
        err = sl_metric_register(d->metrics, SL_GAUGE, "sluice_heap_bytes", "heap in use", &d->heap);
    if (!err)
        err = sl_metric_register(d->metrics, SL_GAUGE, "sluice_secret_bytes", "locked memory for secrets in use", &d->secret);
    if (err)
        sl_fail(diag, err, "metrics: %s", sl_err_str(err));
    if (!err)
        err = open_stores(d, diag);
    if (!err)
        err = open_ca(d, diag);
    if (!err)
        err = start_gateway(d, diag);
    if (!err)
        err = start_management(d, diag);
    if (err) {
        release(d);
        return err;
    }
    sl_daemon_housekeeping(d);
    *out = d;
    return SL_OK;
}

void sl_daemon_housekeeping(struct sl_daemon *d)
{
    uint64_t now = d->clock->mono_ns(d->clock->arg);
    struct mallinfo2 heap = mallinfo2();

    sl_metric_set(d->heap, (int64_t)(heap.uordblks + heap.hblkhd));
    sl_metric_set(d->secret, (int64_t)sl_secret_stats().bytes_in_use);
    if (now >= d->rotate_ns) {
        d->rotate_ns = now + KEY_ROTATION_NS;
        sl_err err = sl_gateway_rotate_keys(d->gateway);
        if (err)
            sl_log(SL_LOG_ERROR, "sluiced", "the leaf keys could not be renewed; the old ones stay", SL_ERRV(err));
    }
}

void sl_daemon_reopen_logs(struct sl_daemon *d)
{
    struct sl_diag diag;
    if (d->tls_log && sl_tls_log_reopen(d->tls_log, &diag))
        sl_log(SL_LOG_ERROR, "sluiced", "tls_log could not be opened again", SL_STR("reason", diag.text));
}

void sl_daemon_stop(struct sl_daemon *d, uint64_t drain_ms)
{
    sl_gateway_drain(d->gateway, drain_ms);
    sl_mgmt_stop(d->management, MGMT_DRAIN_MS);
    release(d);
}
