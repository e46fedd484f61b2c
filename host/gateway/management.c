/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/management.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "event/store.h"
#include "gateway/management_state.h"

enum { UNIX_MODE_DEFAULT = 0660, WATCH_PATIENCE_DEFAULT_MS = 30000 };

/* ------------------------------------------------------------------------------------------------------------------ who, what */

sl_err sl_mgmt_authorise(const struct sl_rpc_call *call, struct sl_diag *diag)
{
    const struct sl_rpc_peer *peer = sl_rpc_call_peer(call);
    if (peer->local ? peer->uid == 0 || peer->uid == geteuid() : peer->authenticated)
        return SL_OK;
    return sl_fail(diag, SL_ERR_DENIED, "only root and the user that sluiced runs as may change anything: use sudo");
}

void sl_mgmt_author(const struct sl_rpc_call *call, char out[static SL_MGMT_AUTHOR_MAX])
{
    const struct sl_rpc_peer *peer = sl_rpc_call_peer(call);
    struct passwd entry, *found = NULL;
    char strings[4096];

    if (peer->local && getpwuid_r(peer->uid, &entry, strings, sizeof strings, &found) == 0 && found)
        snprintf(out, SL_MGMT_AUTHOR_MAX, "%s", found->pw_name);
    else if (peer->local)
        snprintf(out, SL_MGMT_AUTHOR_MAX, "uid %u", (unsigned)peer->uid);
    else if (peer->common_name[0])
        snprintf(out, SL_MGMT_AUTHOR_MAX, "%s", peer->common_name);
    else
        snprintf(out, SL_MGMT_AUTHOR_MAX, "%.255s", peer->alt_names[0] ? peer->alt_names : peer->address);
}

void sl_mgmt_record(struct sl_mgmt *m, const char *author, uint64_t version, const char *format, ...)
{
    char *what = NULL, text[1024];
    va_list args;

    va_start(args, format);
    if (vasprintf(&what, format, args) < 0)
        what = NULL;
    va_end(args);
    snprintf(text, sizeof text, "%s %s", author, what ? what : "changed something");
    sl_log(SL_LOG_INFO, "management", "change", SL_STR("author", author), SL_STR("what", what), SL_U64("version", version));
    if (sl_event_store_system(m->deps.events, "Management", text, version)) /* the store has counted the loss */
        sl_log(SL_LOG_WARN, "management", "the event of a change was lost", SL_STR("what", what));
    free(what);
}

sl_err sl_mgmt_set(char **field, const char *value)
{
    char *copy = strdup(value ? value : "");
    if (!copy)
        return SL_ERR_NOMEM;
    *field = copy;
    return SL_OK;
}

uint64_t sl_mgmt_now(const struct sl_mgmt *m)
{
    return m->deps.clock->wall_ns(m->deps.clock->arg);
}

/* ---------------------------------------------------------------------------------------------------------- status and counters */

static sl_err add_warning(Sluice__V1__Status *status, const char *text)
{
    char **grown = reallocarray(status->warnings, status->n_warnings + 1, sizeof(void *));
    if (!grown)
        return SL_ERR_NOMEM;
    status->warnings = grown;
    sl_err err = sl_mgmt_set(&grown[status->n_warnings], text);
    if (!err)
        status->n_warnings++;
    return err;
}

static sl_err fill_policy_status(struct sl_mgmt *m, Sluice__V1__Status *status)
{
    struct sl_policy_candidate candidate = {0};
    struct sl_policy_snapshot *running = sl_policy_store_running(m->deps.policy);

    status->config_version = sl_policy_version(running);
    sl_policy_snapshot_unref(running);
    sl_err err = sl_policy_store_candidate(m->deps.policy, &candidate);
    if (!err)
        status->candidate_differs = candidate.differs;
    sl_policy_candidate_free(&candidate);
    return err;
}

static sl_err fill_event_status(struct sl_mgmt *m, Sluice__V1__Status *status)
{
    struct sl_event_store_stats events = sl_event_store_stats(m->deps.events);

    status->events_stored = events.stored;
    status->events_lost = events.lost;
    return events.failing
               ? add_warning(status,
                             "events can't be written: the disk is full or the database can't be reached; see the log of sluiced")
               : SL_OK;
}

static sl_err fill_ca_status(struct sl_mgmt *m, Sluice__V1__Status *status)
{
    struct sl_diag diag = {{0}};
    char sha256[65];

    sl_err err = sl_mgmt_ca_sha256(m, sha256, &diag);
    if (err == SL_ERR_NOT_FOUND)
        return add_warning(status, "no decryption CA: nothing can be decrypted; run 'sluicectl ca init'");
    if (err)
        return err == SL_ERR_NOMEM ? err : add_warning(status, diag.text);
    status->ca_present = 1;
    return sl_mgmt_set(&status->ca_sha256, sha256);
}

static sl_err get_status(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *request, ProtobufCMessage *response,
                         struct sl_diag *diag)
{
    struct sl_mgmt *m = arg;
    Sluice__V1__Status *status = (Sluice__V1__Status *)response;
    (void)call;
    (void)request;

    sl_err err = m->deps.fill_status ? m->deps.fill_status(m->deps.arg, status) : SL_OK;
    if (!err)
        err = sl_mgmt_set(&status->version, SLUICE_VERSION);
    if (!err)
        err = sl_mgmt_set(&status->device_name, m->deps.device_name);
    if (!err)
        err = fill_policy_status(m, status);
    if (!err)
        err = fill_event_status(m, status);
    if (!err)
        err = fill_ca_status(m, status);
    return err ? sl_fail(diag, err, "status: %s", sl_err_str(err)) : SL_OK;
}

struct counters {
    Sluice__V1__Stats *stats;
    sl_err err;
};

static void add_counter(void *arg, enum sl_metric_kind kind, const char *name, const char *help, int64_t value)
{
    struct counters *c = arg;
    Sluice__V1__Counter **grown = reallocarray(c->stats->counters, c->stats->n_counters + 1, sizeof(void *));
    Sluice__V1__Counter *counter = grown ? malloc(sizeof *counter) : NULL;

    if (grown)
        c->stats->counters = grown;
    if (!counter) {
        c->err = SL_ERR_NOMEM;
        return;
    }
    sluice__v1__counter__init(counter);
    grown[c->stats->n_counters++] = counter;
    counter->value = value;
    counter->gauge = kind == SL_GAUGE;
    if (sl_mgmt_set(&counter->name, name) || sl_mgmt_set(&counter->help, help))
        c->err = SL_ERR_NOMEM;
}

static sl_err get_stats(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *request, ProtobufCMessage *response,
                        struct sl_diag *diag)
{
    struct sl_mgmt *m = arg;
    struct counters counters = {.stats = (Sluice__V1__Stats *)response};
    (void)call;
    (void)request;

    if (m->deps.metrics)
        sl_metrics_visit(m->deps.metrics, add_counter, &counters);
    return counters.err ? sl_fail(diag, counters.err, "counters: %s", sl_err_str(counters.err)) : SL_OK;
}

/* --------------------------------------------------------------------------------------------------------------------- service */

static const struct sl_rpc_method methods[] = {
    {"GetStatus", SL_RPC_UNARY, get_status},
    {"GetStats", SL_RPC_UNARY, get_stats},
    {"GetConfig", SL_RPC_UNARY, sl_mgmt_get_config},
    {"SetCandidate", SL_RPC_UNARY, sl_mgmt_set_candidate},
    {"DiscardCandidate", SL_RPC_UNARY, sl_mgmt_discard_candidate},
    {"ValidateCandidate", SL_RPC_UNARY, sl_mgmt_validate_candidate},
    {"DiffConfig", SL_RPC_UNARY, sl_mgmt_diff_config},
    {"Commit", SL_RPC_UNARY, sl_mgmt_commit},
    {"ListVersions", SL_RPC_UNARY, sl_mgmt_list_versions},
    {"Rollback", SL_RPC_UNARY, sl_mgmt_rollback},
    {"InitCa", SL_RPC_UNARY, sl_mgmt_init_ca},
    {"GetCa", SL_RPC_UNARY, sl_mgmt_get_ca},
    {"ImportCertificate", SL_RPC_UNARY, sl_mgmt_import_certificate},
    {"RemoveCertificate", SL_RPC_UNARY, sl_mgmt_remove_certificate},
    {"ListEvents", SL_RPC_UNARY, sl_mgmt_list_events},
    {"GetEvent", SL_RPC_UNARY, sl_mgmt_get_event},
    {"WatchEvents", SL_RPC_SERVER_STREAM, sl_mgmt_watch_events},
    {"ApplyRemedy", SL_RPC_UNARY, sl_mgmt_apply_remedy},
};

static sl_err listen_all(struct sl_mgmt *m, const struct sl_mgmt_config *config, struct sl_diag *diag)
{
    sl_err err = SL_OK;
    if (config->unix_path)
        err = sl_rpc_server_listen_unix(m->server, config->unix_path, config->unix_mode ? config->unix_mode : UNIX_MODE_DEFAULT,
                                        diag);
    if (!err && config->tcp)
        err = sl_rpc_server_listen_tls(m->server, config->tcp, &config->tls, &m->tcp_port, diag);
    return err ? sl_fail_prefix(diag, err, "management") : SL_OK;
}

sl_err sl_mgmt_start(const struct sl_mgmt_config *config, const struct sl_mgmt_deps *deps, struct sl_mgmt **out,
                     struct sl_diag *diag)
{
    const struct sl_rpc_server_options options = {.metrics = deps->metrics};
    struct sl_mgmt *m = NULL;
    sl_err err;

    if (!config->unix_path && !config->tcp)
        return sl_fail(diag, SL_ERR_INVALID, "management: neither a unix socket nor a TCP address is configured");
    if (!(m = calloc(1, sizeof *m)))
        return sl_fail(diag, SL_ERR_NOMEM, "management: out of memory");
    m->deps = *deps;
    if (!m->deps.clock)
        m->deps.clock = sl_clock_system();
    m->watch_patience_ms = config->watch_patience_ms ? config->watch_patience_ms : WATCH_PATIENCE_DEFAULT_MS;
    m->service = (struct sl_rpc_service){&sluice__v1__management__descriptor, methods, sizeof methods / sizeof methods[0], m};
    pthread_mutex_init(&m->change, NULL);
    err = sl_rpc_server_new(&options, &m->server, diag);
    if (!err)
        err = sl_rpc_server_add_service(m->server, &m->service, diag);
    if (!err)
        err = listen_all(m, config, diag);
    if (!err)
        err = sl_rpc_server_start(m->server, diag);
    if (err)
        sl_mgmt_free(m);
    else
        *out = m;
    return err;
}

int sl_mgmt_tcp_port(const struct sl_mgmt *mgmt)
{
    return mgmt->tcp_port;
}

const struct sl_rpc_service *sl_mgmt_service(const struct sl_mgmt *mgmt)
{
    return &mgmt->service;
}

void sl_mgmt_stop(struct sl_mgmt *mgmt, uint32_t drain_ms)
{
    sl_rpc_server_stop(mgmt->server, drain_ms);
}

void sl_mgmt_free(struct sl_mgmt *mgmt)
{
    if (!mgmt)
        return;
    sl_rpc_server_free(mgmt->server);
    pthread_mutex_destroy(&mgmt->change);
    free(mgmt);
}
