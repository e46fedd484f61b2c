/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the loop, shared by loop.c, which drives an engine, and death.c, which deals with a dead one. */
#pragma once

#include "card/service/loop.h"

enum { SL_CARD_LOOP_BURST = 64 };

enum sl_card_life {
    SL_CARD_ALIVE,
    SL_CARD_DYING, /* the engine is dead; commands that it had taken have not all completed, later ones wait */
    SL_CARD_DEAD   /* nothing took its place */
};

/* The rules that are in force: to write them into another engine. */
struct sl_card_kept_rules {
    struct card_rule rule[SL_ENGINE_LANES][SL_ENGINE_RULES];
    uint8_t action[SL_ENGINE_LANES];
};

struct sl_card_loop {
    struct sl_card_loop_options options;
    const struct sl_clock *clock;
    struct sl_engine *engine; /* the thread's; NULL: the engine died and was closed */
    pthread_t thread;

    pthread_mutex_t queue_lock;
    pthread_cond_t work;
    struct sl_card_batch *first, **end; /* submitted by handlers */
    bool asleep, stopping;
    struct sl_card_batch *spare;
    size_t spare_count;

    pthread_mutex_t table_lock;
    struct sl_card_sessions *table;
    struct sl_card_snapshot snapshot;
    uint64_t snapshot_ns;

    /* The thread's alone. */
    struct sl_card_batch *head, **tail; /* taken from the queue, not wholly submitted */
    size_t under_way;                   /* commands that the engine has taken */
    uint64_t commands, swept_s;
    uint64_t done_ns, done_wall_ns; /* when the completions in hand were fetched */
    enum sl_card_life life;
    bool instead;  /* the engine is of options.open_instead */
    uint64_t lost; /* frames that were in the engine it replaced */
    struct sl_card_kept_rules rules;
    struct sl_engine *closing; /* a dead one, by a thread of its own: that may take seconds. NULL: none is */
    pthread_t closer;
};

static inline uint64_t sl_card_loop_mono(const struct sl_card_loop *loop)
{
    return loop->clock->mono_ns(loop->clock->arg);
}

static inline uint64_t sl_card_loop_wall(const struct sl_card_loop *loop)
{
    return loop->clock->wall_ns(loop->clock->arg);
}

/* A rule, default or reset that was obeyed. */
void sl_card_kept_rules_note(struct sl_card_kept_rules *rules, const struct sl_engine_command *command);

void sl_card_loop_tell(struct sl_card_loop *loop, const struct sl_card_told *events, size_t count, uint64_t lost);
/* Puts a session that is no longer in the engine among the closed ones. counters: NULL if not known. The table is locked. */
void sl_card_loop_close(struct sl_card_loop *loop, struct sl_card_session *s, enum sl_card_close reason,
                        const struct sl_engine_lane_counters *counters, struct sl_card_told *told);
/* The engine is dead, nothing is under way in it, and what it had to give was fetched: hands over what can be, closes the rest. */
void sl_card_loop_bury(struct sl_card_loop *loop);
/* Waits until a dead engine that was replaced is closed. */
void sl_card_loop_await_closed(struct sl_card_loop *loop);
/* Opens the first kind of engine again. SL_ERR_UNAVAILABLE: then nothing has changed but that a dead engine is closed. */
sl_err sl_card_loop_open_again(struct sl_card_loop *loop);
