/* SPDX-License-Identifier: Apache-2.0 */
/* Program: streams of session commands, a message of results for every message of commands. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "card/service/service_impl.h"
#include "rpc/message.h"

enum { COMMANDS_MAX = 4096 };

/* The results of one message; the arrays are kept for the next one. */
struct results {
    Sluice__Card__V1__Results message;
    Sluice__Card__V1__Result *entries, **list;
    Sluice__Card__V1__LaneCounters *counters; /* two an entry */
    char **texts;                             /* of failures that were told by a diag; NULL otherwise */
    size_t room;
    uint64_t now_ns;
};

static sl_err make_room(struct results *r, size_t count)
{
    if (count <= r->room)
        return SL_OK;
    /* Old contents don't matter; each pointer is kept as soon as it is new, so that a failure loses none. */
    void *p;
    if ((p = reallocarray(r->entries, count, sizeof *r->entries)) == NULL)
        return SL_ERR_NOMEM;
    r->entries = p;
    if ((p = reallocarray(r->list, count, sizeof(void *))) == NULL)
        return SL_ERR_NOMEM;
    r->list = p;
    if ((p = reallocarray(r->counters, 2 * count, sizeof *r->counters)) == NULL)
        return SL_ERR_NOMEM;
    r->counters = p;
    if ((p = reallocarray(r->texts, count, sizeof(char *))) == NULL)
        return SL_ERR_NOMEM;
    r->texts = p;
    memset(r->texts + r->room, 0, (count - r->room) * sizeof(char *));
    r->room = count;
    return SL_OK;
}

static void clear_texts(struct results *r)
{
    for (size_t i = 0; i < r->message.n_results; i++) {
        free(r->texts[i]);
        r->texts[i] = NULL;
    }
}

static void free_results(struct results *r)
{
    clear_texts(r);
    free(r->entries);
    free(r->list);
    free(r->counters);
    free(r->texts);
}

static Sluice__Card__V1__Code code_of(sl_err err)
{
    switch (err) {
    case SL_OK:
        return SLUICE__CARD__V1__CODE__OK;
    case SL_ERR_INVALID:
    case SL_ERR_UNSUPPORTED:
        return SLUICE__CARD__V1__CODE__INVALID;
    case SL_ERR_EXISTS:
        return SLUICE__CARD__V1__CODE__EXISTS;
    case SL_ERR_NOT_FOUND:
        return SLUICE__CARD__V1__CODE__NOT_FOUND;
    case SL_ERR_LIMIT:
        return SLUICE__CARD__V1__CODE__FULL;
    case SL_ERR_UNAVAILABLE:
        return SLUICE__CARD__V1__CODE__UNAVAILABLE;
    default:
        return SLUICE__CARD__V1__CODE__FAILED;
    }
}

/* What the engine means; the texts are constants, which a result only borrows. */
static char *text_of(enum sl_engine_op op, sl_err err)
{
    static char no_keys[] = "the session was installed without keys", wrong_keys[] = "the session has no use for such keys";
    static char refused[] = "the card refused a value", exists[] = "the flow id or the 5-tuple is installed";
    static char missing[] = "no such flow", full[] = "the session table is full",
                dead[] = "the card has died: if it stays so, reset it";
    static char failed[] = "failed";

    switch (err) {
    case SL_ERR_INVALID:
        return op == SL_ENGINE_CHANGE ? no_keys : op == SL_ENGINE_KEYS ? wrong_keys : refused;
    case SL_ERR_EXISTS:
        return exists;
    case SL_ERR_NOT_FOUND:
        return missing;
    case SL_ERR_LIMIT:
        return full;
    case SL_ERR_UNAVAILABLE:
        return dead;
    default:
        return failed;
    }
}

static void fill_lane(Sluice__Card__V1__LaneCounters *out, const struct sl_engine_lane_counters *in, uint64_t now_ns)
{
    sluice__card__v1__lane_counters__init(out);
    out->packets = in->packets;
    out->bytes = in->bytes;
    if (in->last_ns != 0 && now_ns > in->last_ns)
        out->idle_ms = (now_ns - in->last_ns) / SL_NS_PER_MS;
}

static void take_result(void *arg, size_t index, const struct sl_engine_command *command,
                        const struct sl_engine_completion *completion)
{
    struct results *r = arg;
    Sluice__Card__V1__Result *out = &r->entries[index];

    out->code = code_of(completion->status);
    if (completion->status != SL_OK) {
        out->text = text_of(command->op, completion->status);
    } else if (command->op == SL_ENGINE_QUERY || command->op == SL_ENGINE_REMOVE) {
        fill_lane(out->inside = &r->counters[2 * index], &completion->lane[0], r->now_ns);
        fill_lane(out->outside = &r->counters[2 * index + 1], &completion->lane[1], r->now_ns);
    }
}

/* What is wrong with the command itself; the engine never sees it. */
static void take_refusal(struct results *r, size_t index, sl_err err, const struct sl_diag *diag)
{
    Sluice__Card__V1__Result *out = &r->entries[index];
    out->code = code_of(err);
    r->texts[index] = strdup(diag->text);
    out->text = r->texts[index] != NULL ? r->texts[index] : text_of(SL_ENGINE_QUERY, err);
}

/* Obeys one message; the results are in r. */
static void obey(struct sl_card_pipe *pipe, struct sl_card_hasher *hasher, const Sluice__Card__V1__Commands *commands,
                 struct results *r)
{
    const struct sl_clock *clock = sl_clock_system();

    r->now_ns = clock->mono_ns(clock->arg);
    for (size_t i = 0; i < commands->n_commands; i++) {
        const Sluice__Card__V1__Command *in = commands->commands[i];
        struct sl_engine_command *command;
        struct sl_card_extra *extra;
        struct sl_diag diag = {.text[0] = '\0'};

        sluice__card__v1__result__init(&r->entries[i]);
        r->entries[i].cookie = in->cookie;
        r->entries[i].flow = in->flow;
        r->list[i] = &r->entries[i];
        sl_card_pipe_slot(pipe, i, &command, &extra);
        sl_err err = sl_card_command_from(hasher, in, command, extra, &diag);
        if (err) {
            sl_wipe(command, sizeof *command);
            take_refusal(r, i, err, &diag);
        } else {
            sl_card_pipe_push(pipe);
        }
    }
    sl_card_pipe_flush(pipe);
    r->message.results = r->list;
    r->message.n_results = commands->n_commands;
}

static sl_err answer(struct sl_rpc_call *call, struct sl_card_pipe *pipe, struct sl_card_hasher *hasher,
                     const Sluice__Card__V1__Commands *commands, struct results *r, struct sl_diag *diag)
{
    if (commands->n_commands > COMMANDS_MAX)
        return sl_fail(diag, SL_ERR_INVALID, "%zu commands in a message; at most %d", commands->n_commands, COMMANDS_MAX);
    if (make_room(r, commands->n_commands) != SL_OK)
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    obey(pipe, hasher, commands, r);
    sl_err err = sl_rpc_call_send(call, &r->message.base, 0);
    clear_texts(r);
    r->message.n_results = 0;
    return err ? sl_fail(diag, err, "results: %s", sl_err_str(err)) : SL_OK;
}

/* The messages lie in the arena, which wipes them. */
static sl_err obey_stream(struct sl_rpc_call *call, struct sl_card_pipe *pipe, struct sl_card_hasher *hasher,
                          struct sl_rpc_arena *arena, struct results *results, struct sl_diag *diag)
{
    for (;;) {
        ProtobufCMessage *message = NULL;
        sl_err err = sl_rpc_call_recv_in(call, arena, &message);
        if (err)
            return sl_fail(diag, err, "commands: %s", sl_err_str(err));
        if (message == NULL) /* the client has finished */
            return SL_OK;
        err = answer(call, pipe, hasher, (const Sluice__Card__V1__Commands *)message, results, diag);
        sl_rpc_arena_reset(arena); /* the next message may be long in coming */
        if (err)
            return err;
    }
}

SL_CARD_HANDLER(sl_card_program)
{
    struct sl_card_service *s = arg;
    struct sl_card_pipe *pipe = NULL;
    struct sl_card_hasher *hasher = NULL;
    struct sl_rpc_arena *arena = NULL;
    struct results results = {.message = SLUICE__CARD__V1__RESULTS__INIT};
    (void)request;
    (void)response;

    sl_err err = sl_card_authorise(s, call, diag);
    if (!err)
        err = sl_card_program_begin(s, diag);
    if (err)
        return err;
    if (sl_card_pipe_new(s->loop, SL_CARD_PIPE_DEPTH_MAX, take_result, &results, &pipe) != SL_OK ||
        sl_card_hasher_new(&hasher) != SL_OK || sl_rpc_arena_new(&arena) != SL_OK)
        err = sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    else
        err = obey_stream(call, pipe, hasher, arena, &results, diag);
    sl_rpc_arena_free(arena);
    sl_card_hasher_free(hasher);
    sl_card_pipe_free(pipe);
    free_results(&results);
    sl_card_program_end(s);
    return err;
}
