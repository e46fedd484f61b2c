/* SPDX-License-Identifier: Apache-2.0 */
#include "card/service/loop_impl.h"

#include <assert.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/secret.h"
#include "card/numbers.h"

enum {
    CLOSED_MAX_DEFAULT = 65536,
    LINGER_S = 1, /* between the last FIN and the removal: for the acknowledgements behind it */
    IDLE_NS = 1000 * 1000,
    QUIET_NS = 20 * 1000 * 1000, /* sleep when no session is installed: no event can come */
    SNAPSHOT_NS = 2 * 1000 * 1000,
    SPARE_BATCHES = 16, /* as much as one handler uses: half a megabyte of locked memory with their bookkeeping */
    DRAIN_MAX = 4096,   /* looks at what a dead engine still gives; its rings hold less */
    APPLICATION_DATA = 23
};

/* A cookie is a batch and the number of the command in it; without a batch, one of the loop's own commands. */
enum own_command { OWN_QUERY = 1, OWN_REMOVE = 2 };
static_assert(SL_CARD_BATCH <= 16, "four bits of the cookie");
static_assert(SL_CARD_BATCH * sizeof(struct sl_engine_command) <= SL_SECRET_MAX, "a batch is one block");

struct sl_card_waiter {
    pthread_cond_t done;
    const struct sl_card_batch *awaited; /* NULL: nobody sleeps; under queue_lock */
};

/* ---- batches ---- */

static sl_err batch_new(struct sl_card_batch **out)
{
    struct sl_card_batch *batch = aligned_alloc(16, (sizeof *batch + 15) & ~(size_t)15);
    void *commands = NULL;

    if (batch == NULL)
        return SL_ERR_NOMEM;
    memset(batch, 0, sizeof *batch);
    if (sl_secret_alloc(SL_CARD_BATCH * sizeof(struct sl_engine_command), &commands) != SL_OK) {
        free(batch);
        return SL_ERR_NOMEM;
    }
    batch->commands = commands;
    *out = batch;
    return SL_OK;
}

static void batch_free(struct sl_card_batch *batch)
{
    sl_secret_free(batch->commands);
    free(batch);
}

sl_err sl_card_loop_batch_new(struct sl_card_loop *loop, struct sl_card_batch **out)
{
    pthread_mutex_lock(&loop->queue_lock);
    struct sl_card_batch *batch = loop->spare;
    if (batch != NULL) {
        loop->spare = batch->next;
        loop->spare_count--;
    }
    pthread_mutex_unlock(&loop->queue_lock);
    if (batch == NULL)
        return batch_new(out);
    batch->count = batch->given = 0;
    *out = batch;
    return SL_OK;
}

void sl_card_loop_batch_free(struct sl_card_loop *loop, struct sl_card_batch *batch)
{
    if (batch == NULL)
        return;
    sl_wipe(batch->commands, SL_CARD_BATCH * sizeof *batch->commands);
    pthread_mutex_lock(&loop->queue_lock);
    const bool keep = loop->spare_count < SPARE_BATCHES;
    if (keep) {
        batch->next = loop->spare;
        loop->spare = batch;
        loop->spare_count++;
    }
    pthread_mutex_unlock(&loop->queue_lock);
    if (!keep)
        batch_free(batch);
}

static void free_spare(struct sl_card_loop *loop)
{
    for (struct sl_card_batch *batch = loop->spare, *next; batch != NULL; batch = next) {
        next = batch->next;
        batch_free(batch);
    }
}

struct sl_engine_command *sl_card_batch_slot(struct sl_card_batch *batch)
{
    struct sl_engine_command *command = &batch->commands[batch->count];
    if (batch->given > batch->count) { /* whoever it was given to before has not used it */
        sl_wipe(command, sizeof *command);
    } else { /* what is large was wiped when the engine had taken it */
        if (command->op == SL_ENGINE_RULE)
            memset(&command->rule, 0, sizeof command->rule);
        memset(command, 0, offsetof(struct sl_engine_command, state));
    }
    memset(&batch->extra[batch->count], 0, sizeof batch->extra[0]);
    batch->given = batch->count + 1;
    return command;
}

sl_err sl_card_waiter_new(struct sl_card_waiter **out)
{
    struct sl_card_waiter *waiter = calloc(1, sizeof *waiter);
    if (waiter == NULL)
        return SL_ERR_NOMEM;
    pthread_cond_init(&waiter->done, NULL);
    *out = waiter;
    return SL_OK;
}

void sl_card_waiter_free(struct sl_card_waiter *waiter)
{
    if (waiter == NULL)
        return;
    pthread_cond_destroy(&waiter->done);
    free(waiter);
}

void sl_card_loop_submit(struct sl_card_loop *loop, struct sl_card_batch *const *batches, size_t count,
                         struct sl_card_waiter *waiter)
{
    for (size_t i = 0; i < count; i++) {
        if (batches[i]->given > batches[i]->count)
            sl_wipe(&batches[i]->commands[batches[i]->count], sizeof batches[i]->commands[0]);
        batches[i]->given = 0;
        batches[i]->waiter = waiter;
        batches[i]->next = i + 1 < count ? batches[i + 1] : NULL;
        batches[i]->submitted = batches[i]->completed = 0;
        batches[i]->done = false;
    }
    if (count == 0)
        return;
    pthread_mutex_lock(&loop->queue_lock);
    *loop->end = batches[0];
    loop->end = &batches[count - 1]->next;
    bool wake = loop->asleep;
    pthread_mutex_unlock(&loop->queue_lock);
    if (wake)
        pthread_cond_signal(&loop->work);
}

void sl_card_loop_wait(struct sl_card_loop *loop, const struct sl_card_batch *batch, struct sl_card_waiter *waiter)
{
    pthread_mutex_lock(&loop->queue_lock);
    waiter->awaited = batch;
    while (!batch->done)
        pthread_cond_wait(&waiter->done, &loop->queue_lock);
    waiter->awaited = NULL;
    pthread_mutex_unlock(&loop->queue_lock);
}

/* queue_lock is held: the waiter may free the batch, and itself, right after. */
static void batch_done(struct sl_card_batch *batch)
{
    batch->done = true;
    if (batch->waiter->awaited == batch)
        pthread_cond_signal(&batch->waiter->done);
}

/* ---- completions ---- */

static void installed(struct sl_card_loop *loop, const struct sl_engine_command *c, const struct sl_card_extra *extra,
                      const struct sl_card_constants *constants, struct sl_engine_completion *result)
{
    struct sl_card_session *s = NULL;
    if (sl_card_sessions_add(loop->table, c->flow, &s) != SL_OK) {
        /* Out of memory: what can't be listed may not stay. A removal needs no memory here. */
        struct sl_engine_command remove = {.op = SL_ENGINE_REMOVE, .cookie = OWN_REMOVE, .flow = c->flow};
        if (sl_engine_submit(loop->engine, &remove) == SL_OK)
            loop->under_way++;
        result->status = SL_ERR_NOMEM;
        return;
    }
    s->key = c->key;
    s->extra = *extra;
    s->constants = *constants;
    s->action = c->action;
    s->installed_ns = loop->done_ns;
    s->installed_wall_ns = loop->done_wall_ns;
    if (extra->idle_timeout_s > 0)
        sl_card_sessions_deadline(loop->table, s, s->installed_ns / SL_NS_PER_S + extra->idle_timeout_s + 1);
}

/* A command of a handler has completed. The table is locked. */
static void command_done(struct sl_card_loop *loop, struct sl_card_batch *batch, size_t slot,
                         const struct sl_engine_completion *completion)
{
    struct sl_engine_completion *result = &batch->results[slot];
    const struct sl_engine_command *c = &batch->commands[slot];
    struct sl_card_session *s = NULL;

    *result = *completion;
    if (result->status == SL_OK) {
        switch (c->op) {
        case SL_ENGINE_INSTALL:
            installed(loop, c, &batch->extra[slot], &batch->constants[slot], result);
            break;
        case SL_ENGINE_CHANGE:
            if ((s = sl_card_sessions_find(loop->table, c->flow)) != NULL)
                s->action = c->action;
            break;
        case SL_ENGINE_REMOVE:
            if ((s = sl_card_sessions_find(loop->table, c->flow)) != NULL)
                sl_card_sessions_remove(loop->table, s);
            break;
        case SL_ENGINE_RULE:
        case SL_ENGINE_DEFAULT:
        case SL_ENGINE_RESET:
            sl_card_kept_rules_note(&loop->rules, c);
            if (c->op == SL_ENGINE_RESET)
                sl_card_sessions_clear(loop->table);
            break;
        default:
            break;
        }
    }
    loop->commands++;
    batch->completed++;
}

/* When the session was last used; later than that plus its time-out it is closed. */
static uint64_t last_used(const struct sl_card_session *s, const struct sl_engine_lane_counters *lane)
{
    uint64_t last = s->installed_ns;
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++)
        last = lane[i].last_ns > last ? lane[i].last_ns : last;
    return last;
}

/* One of the loop's own commands has completed. Returns whether told is an event. The table is locked. */
static bool own_done(struct sl_card_loop *loop, const struct sl_engine_completion *c, struct sl_card_told *told)
{
    struct sl_card_session *s = sl_card_sessions_find(loop->table, c->flow);

    if (s == NULL || c->status != SL_OK) /* a handler was quicker */
        return false;
    if (c->cookie == OWN_REMOVE) {
        sl_card_loop_close(loop, s, s->close, c->lane, told);
        return true;
    }
    uint64_t now_s = sl_card_loop_mono(loop) / SL_NS_PER_S,
             until_s = last_used(s, c->lane) / SL_NS_PER_S + s->extra.idle_timeout_s + 1;
    if (s->extra.idle_timeout_s > 0 && until_s <= now_s) {
        s->close = SL_CARD_CLOSE_TIMEOUT;
        until_s = now_s; /* as soon as possible */
    }
    if (s->extra.idle_timeout_s > 0)
        sl_card_sessions_deadline(loop->table, s, until_s);
    return false;
}

/* touched: batches, some of them more than once. */
static void finish_batches(struct sl_card_loop *loop, struct sl_card_batch **touched, size_t count)
{
    if (count == 0)
        return;
    pthread_mutex_lock(&loop->queue_lock);
    for (size_t i = 0; i < count; i++) {
        if (touched[i]->completed == touched[i]->count && !touched[i]->done)
            batch_done(touched[i]);
    }
    pthread_mutex_unlock(&loop->queue_lock);
}

static bool take_completions(struct sl_card_loop *loop)
{
    struct sl_engine_completion completions[SL_CARD_LOOP_BURST];
    struct sl_card_batch *touched[SL_CARD_LOOP_BURST];
    struct sl_card_told told[SL_CARD_LOOP_BURST];
    size_t events = 0, batches = 0, n = sl_engine_completions(loop->engine, completions, SL_CARD_LOOP_BURST);

    if (n == 0)
        return false;
    loop->under_way -= n;
    loop->done_ns = sl_card_loop_mono(loop);
    loop->done_wall_ns = sl_card_loop_wall(loop);
    pthread_mutex_lock(&loop->table_lock);
    for (size_t i = 0; i < n; i++) {
        struct sl_card_batch *batch = (struct sl_card_batch *)(uintptr_t)(completions[i].cookie & ~(uint64_t)15);
        if (batch == NULL) {
            events += own_done(loop, &completions[i], &told[events]);
            continue;
        }
        command_done(loop, batch, completions[i].cookie & 15, &completions[i]);
        if (batches == 0 || touched[batches - 1] != batch)
            touched[batches++] = batch;
    }
    pthread_mutex_unlock(&loop->table_lock);
    finish_batches(loop, touched, batches);
    sl_card_loop_tell(loop, told, events, 0);
    return true;
}

/* ---- commands ---- */

static void take_queue(struct sl_card_loop *loop)
{
    pthread_mutex_lock(&loop->queue_lock);
    if (loop->first != NULL) {
        *loop->tail = loop->first;
        loop->tail = loop->end;
        loop->first = NULL;
        loop->end = &loop->first;
    }
    pthread_mutex_unlock(&loop->queue_lock);
}

/* Completes the next command of a batch without the engine. */
static void refuse(struct sl_card_loop *loop, struct sl_card_batch *batch, sl_err status)
{
    const struct sl_engine_command *c = &batch->commands[batch->submitted++];
    struct sl_engine_completion completion = {.flow = c->flow, .op = c->op, .status = status};

    pthread_mutex_lock(&loop->table_lock);
    command_done(loop, batch, batch->submitted - 1, &completion);
    pthread_mutex_unlock(&loop->table_lock);
    finish_batches(loop, &batch, 1);
}

/* What the engine can't know: a session may only transcode with keys, and new keys are of its TLS version. SL_ERR_AGAIN: commands
 * under way may still decide. */
static sl_err check_keys(struct sl_card_loop *loop, const struct sl_engine_command *c, const struct sl_card_extra *extra)
{
    bool transcode = c->op == SL_ENGINE_CHANGE && c->action == SL_CARD_SESSION_TRANSCODE;
    sl_err err = SL_OK;

    if (!transcode && c->op != SL_ENGINE_KEYS)
        return SL_OK;
    if (loop->under_way > 0)
        return SL_ERR_AGAIN;
    pthread_mutex_lock(&loop->table_lock);
    const struct sl_card_session *s = sl_card_sessions_find(loop->table, c->flow);
    if (s == NULL)
        err = SL_ERR_NOT_FOUND;
    else if (transcode ? s->extra.tls == SL_CARD_NO_TLS : s->extra.tls != extra->tls)
        err = SL_ERR_INVALID;
    pthread_mutex_unlock(&loop->table_lock);
    return err;
}

/* The next command of the batch, to the engine. SL_ERR_AGAIN: later. */
static sl_err submit_next(struct sl_card_loop *loop, struct sl_card_batch *batch)
{
    struct sl_engine_command *c = &batch->commands[batch->submitted];
    sl_err err;

    if (loop->life == SL_CARD_DYING) /* until it is known whether another engine takes its place */
        return SL_ERR_AGAIN;
    if (c->op == SL_ENGINE_RESET && (loop->life == SL_CARD_DEAD || loop->instead)) {
        if (loop->under_way > 0) /* they complete first */
            return SL_ERR_AGAIN;
        refuse(loop, batch, sl_card_loop_open_again(loop)); /* one that was opened is as after a reset */
        return SL_OK;
    }
    err = loop->life == SL_CARD_DEAD ? SL_ERR_UNAVAILABLE : check_keys(loop, c, &batch->extra[batch->submitted]);
    if (!err) {
        if (c->op == SL_ENGINE_INSTALL) {
            sl_card_constants_take(&batch->constants[batch->submitted], c->state);
            sl_card_sessions_expect(loop->table, c->flow); /* this thread alone changes the table */
        }
        c->cookie = (uint64_t)(uintptr_t)batch | batch->submitted;
        err = sl_engine_submit(loop->engine, c);
    }
    if (err == SL_ERR_UNAVAILABLE && loop->life == SL_CARD_ALIVE) {
        loop->life = SL_CARD_DYING;
        return SL_ERR_AGAIN;
    }
    if (err == SL_ERR_AGAIN)
        return err;
    /* The engine has its copy. What the completion needs of the command holds no keys. */
    if (c->op == SL_ENGINE_INSTALL)
        sl_wipe(c->state, sizeof c->state);
    else if (c->op == SL_ENGINE_KEYS)
        sl_wipe(&c->keys, sizeof c->keys);
    if (err) {
        refuse(loop, batch, err);
    } else {
        loop->under_way++;
        batch->submitted++;
    }
    return SL_OK;
}

static bool give_commands(struct sl_card_loop *loop)
{
    bool any = false;
    take_queue(loop);
    while (loop->head != NULL) {
        struct sl_card_batch *batch = loop->head, *next = batch->next;
        size_t count = batch->count; /* once its last command is given, the batch may be done and gone */
        for (size_t i = batch->submitted; i < count; i++) {
            if (submit_next(loop, batch) == SL_ERR_AGAIN)
                return any;
            any = true;
        }
        loop->head = next;
        if (next == NULL)
            loop->tail = &loop->head;
    }
    return any;
}

/* ---- deadlines ---- */

static bool watch_deadlines(struct sl_card_loop *loop)
{
    uint64_t due[SL_CARD_LOOP_BURST], now_s = sl_card_loop_mono(loop) / SL_NS_PER_S;
    if (now_s == loop->swept_s)
        return false;
    pthread_mutex_lock(&loop->table_lock);
    size_t n = sl_card_sessions_due(loop->table, now_s, due, SL_CARD_LOOP_BURST);
    for (size_t i = 0; i < n; i++) {
        struct sl_card_session *s = sl_card_sessions_find(loop->table, due[i]);
        struct sl_engine_command c = {.op = s->close != SL_CARD_OPEN ? SL_ENGINE_REMOVE : SL_ENGINE_QUERY, .flow = s->flow};
        c.cookie = s->close != SL_CARD_OPEN ? OWN_REMOVE : OWN_QUERY;
        if (sl_engine_submit(loop->engine, &c) == SL_OK)
            loop->under_way++;
        else
            sl_card_sessions_deadline(loop->table, s, now_s + 1);
    }
    pthread_mutex_unlock(&loop->table_lock);
    if (n < SL_CARD_LOOP_BURST)
        loop->swept_s = now_s;
    return n > 0;
}

/* ---- events ---- */

static void note_event(struct sl_card_loop *loop, const struct card_event *e)
{
    struct sl_card_session *s = sl_card_sessions_find(loop->table, e->flow);

    if (s == NULL)
        return;
    if (e->kind == SL_CARD_EVENT_FIN)
        s->fin[e->lane & 1] = true;
    if (!s->extra.openoffload || s->close != SL_CARD_OPEN)
        return;
    if (e->kind == SL_CARD_EVENT_RST)
        s->close = SL_CARD_CLOSE_RST;
    else if (s->fin[0] && s->fin[1])
        s->close = SL_CARD_CLOSE_FIN;
    if (s->close != SL_CARD_OPEN)
        sl_card_sessions_deadline(loop->table, s, sl_card_loop_mono(loop) / SL_NS_PER_S + LINGER_S);
}

static bool take_events(struct sl_card_loop *loop)
{
    struct card_event events[SL_CARD_LOOP_BURST];
    struct sl_card_told told[SL_CARD_LOOP_BURST];
    size_t n = sl_engine_events(loop->engine, events, SL_CARD_LOOP_BURST);
    uint64_t lost = 0, now = n > 0 ? sl_card_loop_wall(loop) : 0;

    if (n == 0)
        return false;
    pthread_mutex_lock(&loop->table_lock);
    for (size_t i = 0; i < n; i++) {
        const struct card_event *e = &events[i];
        note_event(loop, e);
        lost += e->lost;
        told[i] = (struct sl_card_told){.kind = e->kind,
                                        .lane = e->lane,
                                        .detail = e->detail,
                                        .epoch = e->epoch,
                                        .flow = e->flow,
                                        .open_record = e->open_seq,
                                        .tcp_seq = e->tcp_seq,
                                        .wall_ns = now};
    }
    pthread_mutex_unlock(&loop->table_lock);
    sl_card_loop_tell(loop, told, n, lost);
    return true;
}

static bool take_mirror(struct sl_card_loop *loop)
{
    struct sl_engine_mirror records[SL_CARD_LOOP_BURST];
    size_t n = sl_engine_mirrored(loop->engine, records, SL_CARD_LOOP_BURST);

    for (size_t i = 0; i < n; i++) {
        struct sl_card_session copy = {.flow = 0};
        pthread_mutex_lock(&loop->table_lock);
        struct sl_card_session *s = sl_card_sessions_find(loop->table, records[i].flow);
        if (s != NULL) {
            copy = *s;
            s->mirror_seq[records[i].lane & 1] += records[i].type == APPLICATION_DATA ? records[i].count : 0;
        }
        pthread_mutex_unlock(&loop->table_lock);
        if (copy.flow != 0 && loop->options.hooks.mirror != NULL)
            loop->options.hooks.mirror(loop->options.hooks.arg, &records[i], &copy);
    }
    return n > 0;
}

/* ---- the thread ---- */

static void take_snapshot(struct sl_card_loop *loop, uint64_t now)
{
    struct sl_engine_counters counters = {.dead = true};
    if (loop->engine != NULL)
        sl_engine_counters(loop->engine, &counters);
    counters.lost += loop->lost;
    loop->snapshot_ns = now;
    pthread_mutex_lock(&loop->table_lock);
    if (loop->engine == NULL) {
        loop->snapshot.counters.dead = true;
        loop->snapshot.counters.sessions = 0;
    } else {
        loop->snapshot.counters = counters;
    }
    loop->snapshot.commands = loop->commands;
    pthread_mutex_unlock(&loop->table_lock);
    if (counters.dead && loop->life == SL_CARD_ALIVE)
        loop->life = SL_CARD_DYING;
}

static bool poll_ports(struct sl_card_loop *loop)
{
    struct sl_engine_result results[SL_CARD_LOOP_BURST];
    if (loop->options.hooks.ports != NULL)
        return loop->options.hooks.ports(loop->options.hooks.arg, loop->engine);
    return sl_engine_receive(loop->engine, results, SL_CARD_LOOP_BURST) > 0;
}

/* What a dead engine still has to give, and then its end. Its last commands have completed. */
static void end_engine(struct sl_card_loop *loop)
{
    for (unsigned i = 0; i < DRAIN_MAX && take_events(loop); i++)
        ;
    for (unsigned i = 0; i < DRAIN_MAX && take_mirror(loop); i++)
        ;
    for (unsigned i = 0; i < DRAIN_MAX && poll_ports(loop); i++)
        ;
    sl_card_loop_bury(loop);
}

static bool step(struct sl_card_loop *loop)
{
    bool busy = false;
    if (loop->engine != NULL) {
        busy |= take_completions(loop);
        busy |= take_events(loop);
        busy |= take_mirror(loop);
        busy |= poll_ports(loop);
    }
    if (loop->life == SL_CARD_DYING && loop->under_way == 0)
        end_engine(loop);
    busy |= give_commands(loop);
    if (loop->life == SL_CARD_ALIVE)
        busy |= watch_deadlines(loop);
    uint64_t now = sl_card_loop_mono(loop);
    if (now - loop->snapshot_ns >= SNAPSHOT_NS)
        take_snapshot(loop, now);
    return busy;
}

/* Sleeps until a batch comes, or it is time to look at the engine again. Returns whether the loop is to end. */
static bool rest(struct sl_card_loop *loop)
{
    bool watched = loop->options.hooks.ports != NULL || sl_card_sessions_count(loop->table) > 0;
    struct timespec until;

    if (loop->under_way > 0 || loop->life == SL_CARD_DYING) { /* of an engine that takes its time, or has none left */
        sched_yield();
        return false;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += watched ? IDLE_NS : QUIET_NS;
    until.tv_sec += until.tv_nsec / SL_NS_PER_S;
    until.tv_nsec %= SL_NS_PER_S;
    pthread_mutex_lock(&loop->queue_lock);
    loop->asleep = true;
    if (loop->first == NULL && !loop->stopping)
        pthread_cond_clockwait(&loop->work, &loop->queue_lock, CLOCK_MONOTONIC, &until);
    loop->asleep = false;
    bool end = loop->stopping && loop->first == NULL && loop->head == NULL;
    pthread_mutex_unlock(&loop->queue_lock);
    return end;
}

static void *run(void *arg)
{
    struct sl_card_loop *loop = arg;
    pthread_setname_np(pthread_self(), "card");
    for (;;) {
        if (!step(loop) && rest(loop))
            return NULL;
    }
}

sl_err sl_card_loop_start(const struct sl_card_loop_options *options, struct sl_card_loop **out, struct sl_diag *diag)
{
    struct sl_card_loop *loop = calloc(1, sizeof *loop);
    sigset_t all, before;

    if (loop == NULL)
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    loop->options = *options;
    loop->clock = options->clock != NULL ? options->clock : sl_clock_system();
    loop->end = &loop->first;
    loop->tail = &loop->head;
    loop->swept_s = sl_card_loop_mono(loop) / SL_NS_PER_S;
    pthread_mutex_init(&loop->queue_lock, NULL);
    pthread_mutex_init(&loop->table_lock, NULL);
    pthread_cond_init(&loop->work, NULL);
    sl_err err = sl_card_sessions_new(options->closed_max != 0 ? options->closed_max : CLOSED_MAX_DEFAULT, &loop->table);
    if (err)
        sl_fail(diag, err, "out of memory");
    if (!err)
        err = options->open(options->arg, &loop->engine, diag);
    if (err)
        goto Exit;
    sl_engine_info(loop->engine, &loop->snapshot.info);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&loop->thread, NULL, run, loop) != 0)
        err = sl_fail(diag, SL_ERR_NOMEM, "no thread for the card");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
Exit:
    if (err) {
        sl_engine_close(loop->engine);
        sl_card_sessions_free(loop->table);
        free(loop);
        return err;
    }
    *out = loop;
    return SL_OK;
}

void sl_card_loop_stop(struct sl_card_loop *loop)
{
    if (loop == NULL)
        return;
    pthread_mutex_lock(&loop->queue_lock);
    loop->stopping = true;
    pthread_mutex_unlock(&loop->queue_lock);
    pthread_cond_signal(&loop->work);
    pthread_join(loop->thread, NULL);
    sl_card_loop_await_closed(loop);
    sl_engine_close(loop->engine);
    sl_card_sessions_free(loop->table);
    free_spare(loop);
    pthread_cond_destroy(&loop->work);
    pthread_mutex_destroy(&loop->queue_lock);
    pthread_mutex_destroy(&loop->table_lock);
    free(loop);
}

struct sl_card_sessions *sl_card_loop_lock(struct sl_card_loop *loop)
{
    pthread_mutex_lock(&loop->table_lock);
    return loop->table;
}

void sl_card_loop_unlock(struct sl_card_loop *loop)
{
    pthread_mutex_unlock(&loop->table_lock);
}

void sl_card_loop_snapshot(struct sl_card_loop *loop, struct sl_card_snapshot *out)
{
    pthread_mutex_lock(&loop->table_lock);
    *out = loop->snapshot;
    out->counters.sessions = sl_card_sessions_count(loop->table);
    out->mono_ns = sl_card_loop_mono(loop);
    pthread_mutex_unlock(&loop->table_lock);
}
