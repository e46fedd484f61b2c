/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_engine.h"

#include <stdlib.h>
#include <string.h>

#include "card/engine_impl.h"

struct fake {
    struct sl_engine base;
    struct fake_state *state;
    uint64_t flow[FAKE_SESSIONS];
    struct sl_engine_flow_key key[FAKE_SESSIONS];
    struct sl_engine_completion queue[FAKE_QUEUE];
    size_t queued;
    unsigned waited;
    struct card_rule rule[SL_ENGINE_LANES][SL_ENGINE_RULES];
    bool dead;
};

static bool is_dead(struct fake *f)
{
    if (atomic_load(&f->state->die) && !f->dead) {
        f->dead = true;
        for (size_t i = 0; i < f->queued; i++)
            f->queue[i].status = SL_ERR_UNAVAILABLE;
    }
    return f->dead;
}

static size_t find(const struct fake *f, uint64_t flow)
{
    for (size_t i = 0; i < FAKE_SESSIONS; i++) {
        if (f->flow[i] == flow)
            return i;
    }
    return FAKE_SESSIONS;
}

static sl_err install(struct fake *f, const struct sl_engine_command *c)
{
    uint8_t marked[16];
    memset(marked, 0xa5, sizeof marked);
    for (size_t i = 0; i < FAKE_SESSIONS; i++) {
        if (f->flow[i] == c->flow || (f->flow[i] != 0 && memcmp(&f->key[i], &c->key, sizeof c->key) == 0))
            return SL_ERR_EXISTS;
    }
    if (atomic_load(&f->state->installed) >= atomic_load(&f->state->room))
        return SL_ERR_LIMIT;
    size_t slot = find(f, 0);
    f->flow[slot] = c->flow;
    f->key[slot] = c->key;
    if (c->flow < FAKE_SESSIONS)
        f->state->seen[c->flow] = *c;
    atomic_fetch_add(&f->state->installed, 1);
    if (memcmp(c->state[0].keys.set[0].open_key, marked, sizeof marked) == 0)
        atomic_store(&f->state->saw_key, true);
    return SL_OK;
}

static sl_err set_rule(struct fake *f, const struct sl_engine_command *c)
{
    if (atomic_load(&f->state->no_rules))
        return SL_ERR_INVALID;
    atomic_fetch_add(&f->state->rules, (unsigned)c->rule.valid - (unsigned)f->rule[c->lane][c->number].valid);
    f->rule[c->lane][c->number] = c->rule;
    return SL_OK;
}

static sl_err obey(struct fake *f, const struct sl_engine_command *c, struct sl_engine_completion *done)
{
    size_t slot = c->flow != 0 ? find(f, c->flow) : FAKE_SESSIONS;

    if (c->op == SL_ENGINE_INSTALL)
        return install(f, c);
    if (c->op == SL_ENGINE_RESET) {
        memset(f->flow, 0, sizeof f->flow);
        atomic_store(&f->state->installed, 0);
        return SL_OK;
    }
    if (c->op == SL_ENGINE_RULE)
        return set_rule(f, c);
    if (c->op == SL_ENGINE_DEFAULT) {
        atomic_store(&f->state->defaults[c->lane], c->action);
        return SL_OK;
    }
    if (slot == FAKE_SESSIONS)
        return SL_ERR_NOT_FOUND;
    for (unsigned lane = 0; lane < SL_ENGINE_LANES; lane++)
        done->lane[lane] = (struct sl_engine_lane_counters){.packets = c->flow, .last_ns = atomic_load(&f->state->last_ns[lane])};
    if (c->op == SL_ENGINE_REMOVE) {
        f->flow[slot] = 0;
        atomic_fetch_sub(&f->state->installed, 1);
    }
    return SL_OK;
}

static sl_err fake_submit(struct sl_engine *engine, const struct sl_engine_command *command)
{
    struct fake *f = (struct fake *)engine;
    if (is_dead(f))
        return SL_ERR_UNAVAILABLE;
    if (f->queued == FAKE_QUEUE)
        return SL_ERR_AGAIN;
    struct sl_engine_completion *done = &f->queue[f->queued++];
    *done = (struct sl_engine_completion){.cookie = command->cookie, .flow = command->flow, .op = command->op};
    done->status = obey(f, command, done);
    return SL_OK;
}

static size_t fake_completions(struct sl_engine *engine, struct sl_engine_completion *out, size_t max)
{
    struct fake *f = (struct fake *)engine;
    bool dead = is_dead(f);
    if (f->queued == 0 || (!dead && f->waited++ < atomic_load(&f->state->delay)))
        return 0;
    size_t n = f->queued < max ? f->queued : max;
    memcpy(out, f->queue, n * sizeof *out);
    memmove(f->queue, f->queue + n, (f->queued - n) * sizeof *out);
    f->queued -= n;
    f->waited = 0;
    return n;
}

static size_t fake_events(struct sl_engine *engine, struct card_event *out, size_t max)
{
    struct fake *f = (struct fake *)engine;
    (void)max;
    if (!atomic_exchange(&f->state->event_ready, false))
        return 0;
    *out = f->state->event;
    return 1;
}

static size_t fake_none_sent(struct sl_engine *engine, const struct sl_engine_frame *frames, size_t count)
{
    (void)engine;
    (void)frames;
    (void)count;
    return 0;
}

static size_t fake_none_received(struct sl_engine *engine, struct sl_engine_result *out, size_t max)
{
    (void)engine;
    (void)out;
    (void)max;
    return 0;
}

static size_t fake_none_mirrored(struct sl_engine *engine, struct sl_engine_mirror *out, size_t max)
{
    (void)engine;
    (void)out;
    (void)max;
    return 0;
}

static void fake_info(const struct sl_engine *engine, struct sl_engine_info *out)
{
    const struct fake *f = (const struct fake *)engine;
    out->kind = f->state->kind != NULL ? f->state->kind : "fake";
    if (f->dead)
        strcpy(out->fault, "it was told to");
    out->sessions = atomic_load(&f->state->room);
}

static void fake_counters(const struct sl_engine *engine, struct sl_engine_counters *out)
{
    *out = ((const struct fake *)engine)->state->counters;
    out->dead = is_dead((struct fake *)(uintptr_t)engine);
    out->lost = out->dead ? FAKE_LOST : 0;
}

static void fake_close(struct sl_engine *engine)
{
    struct fake *f = (struct fake *)engine;
    atomic_store(&f->state->installed, 0);
    atomic_fetch_add(&f->state->closed, 1);
    free(f);
}

static const struct sl_engine_operations operations = {.close = fake_close,
                                                       .info = fake_info,
                                                       .submit = fake_submit,
                                                       .completions = fake_completions,
                                                       .send = fake_none_sent,
                                                       .receive = fake_none_received,
                                                       .events = fake_events,
                                                       .mirrored = fake_none_mirrored,
                                                       .counters = fake_counters};

sl_err fake_open(void *arg, struct sl_engine **out, struct sl_diag *diag)
{
    struct fake_state *state = arg;
    struct fake *f = calloc(1, sizeof *f);

    if (f == NULL || atomic_load(&state->no_open)) {
        free(f);
        return sl_fail(diag, SL_ERR_UNAVAILABLE, "no such card");
    }
    f->base.operations = &operations;
    f->state = state;
    atomic_fetch_add(&state->opened, 1);
    *out = &f->base;
    return SL_OK;
}
