/* SPDX-License-Identifier: Apache-2.0 */
#include "card/service/service.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "card/service/service_impl.h"

enum { GROUPS_MAX = 256, NAMES_BYTES = 4096, SOCKET_MODE = 0660 };

/* ---- who may call ---- */

/* Whether the user's groups, as the system's files have them now, include ours. */
static bool in_group(uid_t uid, gid_t primary, gid_t wanted)
{
    struct passwd entry, *found = NULL;
    char names[NAMES_BYTES];
    gid_t groups[GROUPS_MAX];
    int count = GROUPS_MAX;

    if (primary == wanted)
        return true;
    if (getpwuid_r(uid, &entry, names, sizeof names, &found) != 0 || found == NULL)
        return false;
    if (getgrouplist(found->pw_name, found->pw_gid, groups, &count) < 0)
        return false;
    for (int i = 0; i < count; i++) {
        if (groups[i] == wanted)
            return true;
    }
    return false;
}

sl_err sl_card_authorise(const struct sl_card_service *s, const struct sl_rpc_call *call, struct sl_diag *diag)
{
    const struct sl_rpc_peer *peer = sl_rpc_call_peer(call);

    if (peer->local ? peer->uid == 0 || peer->uid == geteuid() || (s->has_group && in_group(peer->uid, peer->gid, s->group))
                    : peer->authenticated)
        return SL_OK;
    return sl_fail(diag, SL_ERR_DENIED, "only root and the members of sluice-card's group may use the card");
}

/* ---- helpers of handlers ---- */

sl_err sl_card_program_begin(struct sl_card_service *s, struct sl_diag *diag)
{
    sl_err err = SL_OK;
    pthread_mutex_lock(&s->programs_lock);
    if (s->programs == SL_CARD_PROGRAMS_MAX)
        err = sl_fail(diag, SL_ERR_LIMIT, "there are %d streams of commands already", SL_CARD_PROGRAMS_MAX);
    else
        s->programs++;
    pthread_mutex_unlock(&s->programs_lock);
    return err;
}

void sl_card_program_end(struct sl_card_service *s)
{
    pthread_mutex_lock(&s->programs_lock);
    s->programs--;
    pthread_mutex_unlock(&s->programs_lock);
}

static void keep_completion(void *arg, size_t index, const struct sl_engine_command *command,
                            const struct sl_engine_completion *completion)
{
    (void)index;
    (void)command;
    *(struct sl_engine_completion *)arg = *completion;
}

sl_err sl_card_run(struct sl_card_service *s, const struct sl_engine_command *command, struct sl_engine_completion *out)
{
    struct sl_card_pipe *pipe = NULL;
    struct sl_engine_command *slot;
    struct sl_card_extra *extra;
    sl_err err = sl_card_pipe_new(s->loop, 1, keep_completion, out, &pipe);

    if (err)
        return err;
    sl_card_pipe_slot(pipe, 0, &slot, &extra);
    *slot = *command;
    sl_card_pipe_push(pipe);
    sl_card_pipe_flush(pipe);
    sl_card_pipe_free(pipe);
    return SL_OK;
}

/* ---- life ---- */

static const struct sl_rpc_method card_methods[] = {
    {"GetInfo", SL_RPC_UNARY, sl_card_get_info},
    {"GetCounters", SL_RPC_UNARY, sl_card_get_counters},
    {"Program", SL_RPC_BIDI, sl_card_program},
    {"GetSession", SL_RPC_UNARY, sl_card_get_session},
    {"ListSessions", SL_RPC_UNARY, sl_card_list_sessions},
    {"SetRules", SL_RPC_UNARY, sl_card_set_rules},
    {"GetRules", SL_RPC_UNARY, sl_card_get_rules},
    {"WatchEvents", SL_RPC_SERVER_STREAM, sl_card_watch_events},
    {"Reset", SL_RPC_UNARY, sl_card_reset},
};

sl_err sl_card_service_new(struct sl_card_service **out)
{
    const struct sl_clock *clock = sl_clock_system();
    struct sl_card_service *s = calloc(1, sizeof *s);

    if (s == NULL)
        return SL_ERR_NOMEM;
    s->start_wall_ns = clock->wall_ns(clock->arg);
    s->card =
        (struct sl_rpc_service){&sluice__card__v1__card__descriptor, card_methods, sizeof card_methods / sizeof card_methods[0], s};
    s->offload = (struct sl_rpc_service){&openoffload__v1__session_table__descriptor, sl_card_offload_methods,
                                         sl_card_offload_method_count, s};
    pthread_mutex_init(&s->watch_lock, NULL);
    pthread_mutex_init(&s->rules_lock, NULL);
    pthread_mutex_init(&s->programs_lock, NULL);
    *out = s;
    return SL_OK;
}

static sl_err listen_unix(struct sl_card_service *s, const char *path, struct sl_diag *diag)
{
    sl_err err = sl_rpc_server_listen_unix(s->server, path, SOCKET_MODE, diag);
    if (!err && s->has_group && chown(path, (uid_t)-1, s->group) != 0)
        err = sl_fail(diag, SL_ERR_IO, "%s: can't be given to the group: %s", path, strerror(errno));
    return err;
}

sl_err sl_card_service_start(struct sl_card_service *s, const struct sl_card_service_config *config, struct sl_card_loop *loop,
                             struct sl_diag *diag)
{
    const struct sl_rpc_server_options options = {.metrics = config->metrics};

    s->loop = loop;
    s->has_group = config->has_group;
    s->group = config->group;
    sl_err err = sl_rpc_server_new(&options, &s->server, diag);
    if (!err)
        err = sl_rpc_server_add_service(s->server, &s->card, diag);
    if (!err)
        err = sl_rpc_server_add_service(s->server, &s->offload, diag);
    if (!err && config->unix_path != NULL)
        err = listen_unix(s, config->unix_path, diag);
    if (!err && config->tcp != NULL)
        err = sl_rpc_server_listen_tls(s->server, config->tcp, &config->tls, &s->tcp_port, diag);
    if (!err)
        err = sl_rpc_server_start(s->server, diag);
    if (err) {
        sl_rpc_server_free(s->server);
        s->server = NULL;
    }
    return err;
}

int sl_card_service_tcp_port(const struct sl_card_service *service)
{
    return service->tcp_port;
}

void sl_card_service_stop(struct sl_card_service *service, uint32_t drain_ms)
{
    if (service->server != NULL)
        sl_rpc_server_stop(service->server, drain_ms);
}

void sl_card_service_free(struct sl_card_service *service)
{
    if (service == NULL)
        return;
    sl_rpc_server_free(service->server);
    for (unsigned lane = 0; lane < SL_ENGINE_LANES; lane++) {
        if (service->rules[lane] != NULL)
            sluice__card__v1__rule_set__free_unpacked(service->rules[lane], NULL);
    }
    pthread_mutex_destroy(&service->watch_lock);
    pthread_mutex_destroy(&service->rules_lock);
    pthread_mutex_destroy(&service->programs_lock);
    free(service);
}
