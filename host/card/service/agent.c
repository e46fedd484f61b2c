/* SPDX-License-Identifier: Apache-2.0 */
#include "card/service/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/secret.h"
#include "card/service/convert.h"
#include "card/service/mirror.h"
#include "card/service/pipe.h"
#include "rpc/json.h"
#include "rpc/message.h"

enum { TICK_MS = 1000, SESSIONS_FILE_MAX = 64 << 20, REASONS_TEXT = 512 };

struct sl_card_agent {
    const struct sl_card_options *options;
    struct sl_card_loop *loop;
    struct sl_card_service *service;
    struct sl_replay *replay;
    struct sl_wire *wire;
    struct sl_capture_writer *mirror;
    bool replayed;
    sl_err replay_err;
};

/* ---- the loop's hooks ---- */

static sl_err open_engine(void *arg, struct sl_engine **out, struct sl_diag *diag)
{
    const struct sl_card_options *o = arg;
    return o->xrt ? sl_engine_open_xrt(&o->engine, out, diag) : sl_engine_open_cpu(&o->engine, out, diag);
}

static sl_err open_instead(void *arg, struct sl_engine **out, struct sl_diag *diag)
{
    const struct sl_card_options *o = arg;
    return sl_engine_open_cpu(&o->engine, out, diag);
}

static void on_events(void *arg, const struct sl_card_told *events, size_t count, uint64_t lost)
{
    const struct sl_card_agent *agent = arg;
    for (size_t i = 0; i < count; i++)
        sl_log(SL_LOG_DEBUG, "card", "event", SL_U64("kind", events[i].kind), SL_U64("flow", events[i].flow),
               SL_U64("lane", events[i].lane), SL_U64("detail", events[i].detail));
    sl_card_service_events(agent->service, events, count, lost);
}

static void on_mirror(void *arg, const struct sl_engine_mirror *record, const struct sl_card_session *session)
{
    const struct sl_clock *clock = sl_clock_system();
    const struct sl_card_agent *agent = arg;
    sl_card_mirror_write(agent->mirror, clock->wall_ns(clock->arg), record, session);
}

static bool on_ports(void *arg, struct sl_engine *engine)
{
    const struct sl_card_agent *agent = arg;
    return agent->wire != NULL ? sl_wire_poll(agent->wire, engine) : sl_replay_poll(agent->replay, engine);
}

/* ---- sessions of a file ---- */

/* The whole file in *out, with a zero behind it. It holds keys. */
static sl_err read_sessions(const char *path, char **out, size_t *count, struct sl_diag *diag)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    char *text = NULL;
    sl_err err = SL_OK;

    if (fd < 0 || fstat(fd, &status) != 0) {
        err = sl_fail(diag, SL_ERR_IO, "%s: %s", path, strerror(errno));
        goto Exit;
    }
    if ((status.st_mode & 077) != 0) {
        err = sl_fail(diag, SL_ERR_DENIED, "%s holds keys, and others than its owner may open it: chmod 600", path);
        goto Exit;
    }
    if (status.st_size > SESSIONS_FILE_MAX || (text = malloc((size_t)status.st_size + 1)) == NULL) {
        err = sl_fail(diag, SL_ERR_LIMIT, "%s: too large", path);
        goto Exit;
    }
    for (*count = 0; *count < (size_t)status.st_size;) {
        ssize_t n = read(fd, text + *count, (size_t)status.st_size - *count);
        if (n <= 0) {
            err = sl_fail(diag, SL_ERR_IO, "%s: %s", path, n < 0 ? strerror(errno) : "ends early");
            break;
        }
        *count += (size_t)n;
    }
Exit:
    if (fd >= 0)
        close(fd);
    if (err)
        free(text);
    else
        *out = text;
    return err;
}

struct loading {
    size_t index; /* of the first command that failed */
    sl_err err;
};

static void take_loaded(void *arg, size_t index, const struct sl_engine_command *command,
                        const struct sl_engine_completion *completion)
{
    struct loading *loading = arg;
    (void)command;
    if (completion->status != SL_OK && loading->err == SL_OK)
        *loading = (struct loading){index, completion->status};
}

static sl_err obey_file(struct sl_card_pipe *pipe, struct sl_card_hasher *hasher, const Sluice__Card__V1__Commands *commands,
                        const struct loading *loading, struct sl_diag *diag)
{
    sl_err err = SL_OK;
    size_t i;
    for (i = 0; !err && !loading->err && i < commands->n_commands; i++) {
        struct sl_engine_command *command;
        struct sl_card_extra *extra;
        sl_card_pipe_slot(pipe, i, &command, &extra);
        err = sl_card_command_from(hasher, commands->commands[i], command, extra, diag);
        if (!err)
            sl_card_pipe_push(pipe);
    }
    sl_card_pipe_flush(pipe);
    if (err)
        return sl_fail_prefix(diag, err, "commands[%zu]", i - 1);
    if (loading->err)
        return sl_fail(diag, loading->err, "commands[%zu]: %s", loading->index, sl_err_str(loading->err));
    return SL_OK;
}

static sl_err load_sessions(struct sl_card_agent *agent, const char *path, struct sl_diag *diag)
{
    struct loading loading = {0, SL_OK};
    struct sl_card_pipe *pipe = NULL;
    struct sl_card_hasher *hasher = NULL;
    ProtobufCMessage *message = NULL;
    char *text = NULL;
    size_t count = 0;

    sl_err err = read_sessions(path, &text, &count, diag);
    if (err)
        return err;
    err = sl_json_parse(&sluice__card__v1__commands__descriptor, text, count, 0, &message, diag);
    sl_wipe(text, count);
    free(text);
    if (err)
        return sl_fail_prefix(diag, err, "%s", path);
    if (sl_card_pipe_new(agent->loop, SL_CARD_PIPE_DEPTH_MAX, take_loaded, &loading, &pipe) != SL_OK ||
        sl_card_hasher_new(&hasher) != SL_OK)
        err = sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    else if ((err = obey_file(pipe, hasher, (Sluice__Card__V1__Commands *)message, &loading, diag)) != SL_OK)
        sl_fail_prefix(diag, err, "%s", path);
    sl_card_hasher_free(hasher);
    sl_card_pipe_free(pipe);
    sl_card_wipe_commands((Sluice__Card__V1__Commands *)message);
    sl_rpc_message_free(message);
    return err;
}

/* ---- life ---- */

static sl_err start_loop(struct sl_card_agent *agent, struct sl_diag *diag)
{
    const struct sl_card_options *o = agent->options;
    const bool instead = o->xrt && o->cpu_when_dead;
    const struct sl_card_loop_options options = {.open = open_engine,
                                                 .open_instead = instead ? open_instead : NULL,
                                                 .arg = (void *)(uintptr_t)o,
                                                 .hooks = {.arg = agent,
                                                           .events = on_events,
                                                           .mirror = o->mirror != NULL ? on_mirror : NULL,
                                                           .ports = o->has_replay || o->has_ports ? on_ports : NULL}};
    struct sl_engine *trial = NULL;
    sl_err err = instead ? open_instead(options.arg, &trial, diag) : SL_OK; /* what would fail then is to fail now */
    sl_engine_close(trial);
    return err ? sl_fail_prefix(diag, err, "--when-dead cpu") : sl_card_loop_start(&options, &agent->loop, diag);
}

sl_err sl_card_agent_start(const struct sl_card_options *options, struct sl_card_agent **out, struct sl_diag *diag)
{
    struct sl_card_agent *agent = calloc(1, sizeof *agent);
    sl_err err = agent != NULL ? sl_card_service_new(&agent->service) : SL_ERR_NOMEM;

    if (err) {
        free(agent);
        return sl_fail(diag, err, "out of memory");
    }
    agent->options = options;
    if (options->has_replay)
        err = sl_replay_new(&options->replay, &agent->replay, diag);
    if (!err && options->has_ports)
        err = sl_wire_open(&options->wire, &agent->wire, diag);
    if (!err && options->mirror != NULL)
        err = sl_capture_create(options->mirror, &agent->mirror, diag);
    if (!err)
        err = start_loop(agent, diag);
    if (!err && options->sessions != NULL)
        err = load_sessions(agent, options->sessions, diag);
    if (!err && (options->service.unix_path != NULL || options->service.tcp != NULL))
        err = sl_card_service_start(agent->service, &options->service, agent->loop, diag);
    if (err) {
        sl_card_agent_stop(agent);
        return err;
    }
    struct sl_card_snapshot now;
    sl_card_loop_snapshot(agent->loop, &now);
    sl_log(SL_LOG_INFO, "card", "ready", SL_STR("version", SLUICE_VERSION), SL_STR("engine", now.info.kind),
           SL_STR("device", now.info.device), SL_U64("sessions_max", now.info.sessions),
           SL_U64("tcp_port", sl_card_service_tcp_port(agent->service)));
    if (agent->replay != NULL)
        sl_replay_set_loop(agent->replay, agent->loop);
    if (agent->wire != NULL)
        sl_wire_begin(agent->wire);
    *out = agent;
    return SL_OK;
}

/* Why frames were punted: "ahead 3, rule 12". */
static const char *reasons_of(const uint64_t counts[SL_CARD_REASONS], char *to, size_t room)
{
    size_t used = 0;

    to[0] = '\0';
    for (unsigned i = 0; i < SL_CARD_REASONS && used < room; i++) {
        if (counts[i] > 0)
            used +=
                (size_t)snprintf(to + used, room - used, "%s%s %" PRIu64, used > 0 ? ", " : "", sl_card_reason_name(i), counts[i]);
    }
    return to;
}

static void tell_replay(const struct sl_replay_totals *t, sl_err err, const struct sl_diag *diag)
{
    char reasons[REASONS_TEXT];

    if (err)
        sl_log(SL_LOG_ERROR, "card", "replay failed", SL_STR("reason", diag->text));
    sl_log(SL_LOG_INFO, "card", "replay done", SL_U64("frames", t->frames), SL_U64("bytes", t->bytes), SL_U64("sent", t->sent),
           SL_U64("waited", t->waited), SL_U64("punted_passed", t->passed), SL_U64("punted_dropped", t->dropped),
           SL_U64("dropped_by_card", t->lost), SL_U64("unreadable", t->unreadable),
           SL_STR("punted_for", reasons_of(t->reasons, reasons, sizeof reasons)));
}

static void tell_wire(struct sl_wire *wire, const struct sl_wire_options *options)
{
    struct sl_wire_totals t;
    char reasons[REASONS_TEXT];

    sl_wire_totals(wire, &t);
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++)
        sl_log(SL_LOG_INFO, "card", "port closed", SL_STR("interface", options->name[i]), SL_U64("in", t.port[i].in),
               SL_U64("out", t.port[i].out), SL_U64("no_room", t.port[i].no_room), SL_U64("too_long", t.port[i].too_long));
    sl_log(SL_LOG_INFO, "card", "wire closed", SL_U64("sent", t.sent), SL_U64("punted_passed", t.passed),
           SL_U64("punted_dropped", t.dropped), SL_STR("punted_for", reasons_of(t.reasons, reasons, sizeof reasons)));
}

bool sl_card_agent_over(struct sl_card_agent *agent, sl_err *err)
{
    const struct timespec tick = {.tv_sec = TICK_MS / 1000};
    struct sl_replay_totals totals;
    struct sl_diag diag = {""};

    *err = agent->replay_err;
    if (agent->replay == NULL || agent->replayed) {
        nanosleep(&tick, NULL); /* a signal ends it */
        return false;
    }
    if (!sl_replay_wait(agent->replay, TICK_MS, &totals, &agent->replay_err, &diag))
        return false;
    agent->replayed = true;
    *err = agent->replay_err;
    tell_replay(&totals, agent->replay_err, &diag);
    return !agent->options->stay;
}

sl_err sl_card_agent_stop(struct sl_card_agent *agent)
{
    sl_card_service_stop(agent->service, agent->options->drain_ms);
    sl_card_loop_stop(agent->loop);
    sl_card_service_free(agent->service);
    sl_replay_free(agent->replay);
    if (agent->wire != NULL)
        tell_wire(agent->wire, &agent->options->wire);
    sl_wire_close(agent->wire);
    sl_err err = sl_capture_finish(agent->mirror);
    free(agent);
    return err;
}
