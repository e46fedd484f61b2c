/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a dead engine. What has no keys is only constants, and goes on in another engine if there is one to be opened. What
 * has keys is closed: how far it had come died with the engine, and to seal a record once more from its beginning, with bytes that
 * the sender may choose anew, would use a nonce twice.
 */
#include <sched.h>
#include <string.h>

#include "base/log.h"
#include "card/numbers.h"
#include "card/service/loop_impl.h"

void sl_card_kept_rules_note(struct sl_card_kept_rules *rules, const struct sl_engine_command *command)
{
    if (command->op == SL_ENGINE_RULE)
        rules->rule[command->lane][command->number] = command->rule;
    else if (command->op == SL_ENGINE_DEFAULT)
        rules->action[command->lane] = command->action;
    else
        memset(rules, 0, sizeof *rules);
}

/* ---- what the loop tells ---- */

void sl_card_loop_tell(struct sl_card_loop *loop, const struct sl_card_told *events, size_t count, uint64_t lost)
{
    if (loop->options.hooks.events != NULL && (count > 0 || lost > 0))
        loop->options.hooks.events(loop->options.hooks.arg, events, count, lost);
}

void sl_card_loop_close(struct sl_card_loop *loop, struct sl_card_session *s, enum sl_card_close reason,
                        const struct sl_engine_lane_counters *counters, struct sl_card_told *told)
{
    struct sl_card_closed closed = {.flow = s->flow,
                                    .reason = (uint8_t)reason,
                                    .installed_wall_ns = s->installed_wall_ns,
                                    .closed_wall_ns = sl_card_loop_wall(loop)};
    if (counters != NULL)
        memcpy(closed.lane, counters, sizeof closed.lane);
    *told = (struct sl_card_told){
        .kind = SL_CARD_EVENT_CLOSED, .detail = (uint32_t)reason, .flow = s->flow, .wall_ns = closed.closed_wall_ns};
    memcpy(told->counters, closed.lane, sizeof told->counters);
    if (s->extra.openoffload)
        sl_card_closed_push(loop->table, &closed);
    sl_card_sessions_remove(loop->table, s);
}

/* ---- the engine that takes the place ---- */

/* One command, and its end: nothing else is under way in that engine. */
static sl_err run_now(struct sl_engine *engine, const struct sl_engine_command *command)
{
    struct sl_engine_completion done;
    sl_err err;

    while ((err = sl_engine_submit(engine, command)) == SL_ERR_AGAIN)
        (void)sl_engine_completions(engine, &done, 1);
    if (err)
        return err;
    while (sl_engine_completions(engine, &done, 1) == 0)
        sched_yield();
    return done.status;
}

static sl_err write_rules(const struct sl_card_kept_rules *rules, struct sl_engine *engine)
{
    struct sl_engine_command c = {.op = SL_ENGINE_RULE};
    sl_err err = SL_OK;

    for (uint8_t lane = 0; !err && lane < SL_ENGINE_LANES; lane++) {
        c.lane = lane;
        c.op = SL_ENGINE_RULE;
        for (uint16_t i = 0; !err && i < SL_ENGINE_RULES; i++) {
            c.number = i;
            c.rule = rules->rule[lane][i];
            err = c.rule.valid != 0 ? run_now(engine, &c) : SL_OK;
        }
        c.op = SL_ENGINE_DEFAULT;
        c.action = rules->action[lane];
        if (!err)
            err = run_now(engine, &c);
    }
    return err;
}

/* An engine with the rules in force, or NULL. */
static struct sl_engine *open_instead(struct sl_card_loop *loop)
{
    struct sl_engine *engine = NULL;
    struct sl_diag diag = {""};

    if (loop->instead || loop->options.open_instead == NULL)
        return NULL;
    sl_err err = loop->options.open_instead(loop->options.arg, &engine, &diag);
    if (!err && (err = write_rules(&loop->rules, engine)) != SL_OK) {
        sl_fail(&diag, err, "it did not take the rules: %s", sl_err_str(err));
        sl_engine_close(engine);
    }
    if (!err)
        return engine;
    sl_log(SL_LOG_ERROR, "card", "no engine takes the place of the dead card", SL_STR("reason", diag.text));
    return NULL;
}

/* Whether the session goes on in the engine that is open now. The table is locked. */
static bool take_over(struct sl_card_loop *loop, struct sl_card_session *s)
{
    struct sl_engine_command c = {.op = SL_ENGINE_INSTALL, .flow = s->flow, .action = s->action, .key = s->key};

    if (s->action != SL_CARD_SESSION_FORWARD && (s->action != SL_CARD_SESSION_HOLD || s->extra.tls != SL_CARD_NO_TLS))
        return false;
    sl_card_constants_give(&s->constants, c.state);
    if (run_now(loop->engine, &c) != SL_OK)
        return false;
    s->extra.tls = SL_CARD_NO_TLS; /* one that had keys and only forwards: they are gone */
    s->extra.mirror = false;
    s->installed_ns = sl_card_loop_mono(loop); /* when it was last used, nobody knows */
    const uint64_t now_s = s->installed_ns / SL_NS_PER_S;
    if (s->close != SL_CARD_OPEN)
        sl_card_sessions_deadline(loop->table, s, now_s);
    else if (s->extra.idle_timeout_s > 0)
        sl_card_sessions_deadline(loop->table, s, now_s + s->extra.idle_timeout_s + 1);
    return true;
}

/* ---- the end ---- */

static void *close_engine(void *engine)
{
    pthread_setname_np(pthread_self(), "card-end");
    sl_engine_close(engine);
    return NULL;
}

/* Frames and commands do not wait for it. */
static void close_aside(struct sl_card_loop *loop, struct sl_engine *dead)
{
    if (pthread_create(&loop->closer, NULL, close_engine, dead) != 0)
        sl_engine_close(dead);
    else
        loop->closing = dead;
}

void sl_card_loop_await_closed(struct sl_card_loop *loop)
{
    if (loop->closing != NULL)
        pthread_join(loop->closer, NULL);
    loop->closing = NULL;
}

struct fates {
    uint64_t taken_over, closed;
};

/* A few sessions with the table locked, then the events of those that were closed. */
static struct fates settle_sessions(struct sl_card_loop *loop)
{
    struct sl_card_told told[SL_CARD_LOOP_BURST];
    struct fates fates = {0, 0};
    struct sl_card_session *s;
    size_t cursor = 0;

    do {
        size_t closed = 0;
        pthread_mutex_lock(&loop->table_lock);
        for (unsigned i = 0; i < SL_CARD_LOOP_BURST && (s = sl_card_sessions_next(loop->table, &cursor)) != NULL; i++) {
            if (loop->life == SL_CARD_ALIVE && take_over(loop, s))
                fates.taken_over++;
            else
                sl_card_loop_close(loop, s, SL_CARD_CLOSE_DIED, NULL, &told[closed++]);
        }
        pthread_mutex_unlock(&loop->table_lock);
        fates.closed += closed;
        sl_card_loop_tell(loop, told, closed, 0);
    } while (s != NULL);
    return fates;
}

void sl_card_loop_bury(struct sl_card_loop *loop)
{
    const struct sl_card_told died = {.kind = SL_CARD_EVENT_DIED, .wall_ns = sl_card_loop_wall(loop)};
    struct sl_engine *dead = loop->engine, *instead = open_instead(loop);
    struct sl_engine_counters last = {.dead = true};
    struct sl_engine_info info = {.kind = NULL};

    sl_engine_info(dead, &info);
    sl_engine_counters(dead, &last);
    loop->life = instead != NULL ? SL_CARD_ALIVE : SL_CARD_DEAD;
    pthread_mutex_lock(&loop->table_lock);
    if (instead != NULL) {
        loop->engine = instead;
        loop->instead = true;
        loop->lost += last.lost;
        sl_engine_info(instead, &loop->snapshot.info);
        loop->snapshot.counters = (struct sl_engine_counters){.lost = loop->lost};
    } else {
        loop->snapshot.counters.dead = true;
    }
    pthread_mutex_unlock(&loop->table_lock);
    sl_card_loop_tell(loop, &died, 1, 0);
    const struct fates fates = settle_sessions(loop);
    sl_log(SL_LOG_ERROR, "card",
           instead != NULL ? "the card has died: its sessions without keys go on in another engine, the others were closed; "
                             "Reset ends them all and loads the card again"
                           : "the card has died, and its sessions were closed; Reset loads it again",
           SL_STR("reason", info.fault), SL_U64("taken_over", fates.taken_over), SL_U64("closed", fates.closed),
           SL_U64("frames_lost", last.lost));
    if (instead != NULL)
        close_aside(loop, dead);
}

sl_err sl_card_loop_open_again(struct sl_card_loop *loop)
{
    struct sl_engine *engine = NULL;
    struct sl_diag diag = {""};

    sl_card_loop_await_closed(loop);
    if (loop->life == SL_CARD_DEAD) { /* it may hold what the new one needs */
        sl_engine_close(loop->engine);
        loop->engine = NULL;
    }
    sl_err err = loop->options.open(loop->options.arg, &engine, &diag);
    if (err) {
        sl_log(SL_LOG_ERROR, "card", "the card can't be opened again", SL_STR("reason", diag.text));
        return SL_ERR_UNAVAILABLE;
    }
    sl_engine_close(loop->engine);
    loop->engine = engine;
    loop->life = SL_CARD_ALIVE;
    loop->instead = false;
    loop->lost = 0;
    pthread_mutex_lock(&loop->table_lock);
    sl_engine_info(engine, &loop->snapshot.info);
    loop->snapshot.counters = (struct sl_engine_counters){.lost = 0};
    pthread_mutex_unlock(&loop->table_lock);
    sl_log(SL_LOG_INFO, "card", "the card was opened again");
    return SL_OK;
}
