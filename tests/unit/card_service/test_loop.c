/* SPDX-License-Identifier: Apache-2.0 */
/* The loop and its pipe over an engine that does what the test says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "card/numbers.h"
#include "card/service/loop.h"
#include "card/service/pipe.h"
#include "fake_engine.h"

enum { RESULTS = 512 };

/* A loop, the clock it goes by, and what it told. */
struct fixture {
    struct fake_state fake, instead;
    struct sl_card_loop *loop;
    _Atomic uint64_t now_ns;
    struct sl_clock clock;
    pthread_mutex_t lock;
    struct sl_card_told told[64];
    size_t told_count;
    uint64_t lost;
    sl_err status[RESULTS]; /* by index */
    size_t results, last;   /* that came; index of the last one */
    uint64_t packets[RESULTS];
};

static uint64_t fixture_now(void *arg)
{
    return atomic_load(&((struct fixture *)arg)->now_ns);
}

static void on_events(void *arg, const struct sl_card_told *events, size_t count, uint64_t lost)
{
    struct fixture *f = arg;
    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < count && f->told_count < 64; i++)
        f->told[f->told_count++] = events[i];
    f->lost += lost;
    pthread_mutex_unlock(&f->lock);
}

static sl_err open_instead(void *arg, struct sl_engine **out, struct sl_diag *diag)
{
    struct fixture *f = (struct fixture *)((char *)arg - offsetof(struct fixture, fake));
    return fake_open(&f->instead, out, diag);
}

static struct fixture *start_with(unsigned room, bool instead)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct sl_diag diag;
    assert_non_null(f);
    pthread_mutex_init(&f->lock, NULL);
    atomic_store(&f->fake.room, room);
    atomic_store(&f->now_ns, 100ull * SL_NS_PER_S);
    f->clock = (struct sl_clock){fixture_now, fixture_now, f};
    const struct sl_card_loop_options options = {.open = fake_open,
                                                 .arg = &f->fake,
                                                 .clock = &f->clock,
                                                 .hooks = {.arg = f, .events = on_events},
                                                 .open_instead = instead ? open_instead : NULL};
    f->instead.kind = "cpu";
    atomic_store(&f->instead.room, room);
    assert_int_equal(sl_card_loop_start(&options, &f->loop, &diag), SL_OK);
    return f;
}

static struct fixture *start(unsigned room)
{
    return start_with(room, false);
}

static void stop(struct fixture *f)
{
    sl_card_loop_stop(f->loop);
    assert_int_equal(atomic_load(&f->fake.opened), atomic_load(&f->fake.closed));
    assert_int_equal(atomic_load(&f->instead.opened), atomic_load(&f->instead.closed));
    pthread_mutex_destroy(&f->lock);
    free(f);
}

static void on_result(void *arg, size_t index, const struct sl_engine_command *command,
                      const struct sl_engine_completion *completion)
{
    static const struct session_state none[SL_ENGINE_LANES];
    static const struct key_set no_keys;
    struct fixture *f = arg;
    assert_true(f->results == 0 || index > f->last);
    f->last = index;
    f->status[index] = completion->status;
    f->packets[index] = completion->lane[0].packets;
    f->results++;
    /* G13: by now the keys are gone from the batch. */
    assert_memory_equal(command->state, none, sizeof none);
    assert_memory_equal(&command->keys, &no_keys, sizeof no_keys);
}

static struct sl_card_pipe *open_pipe(struct fixture *f, size_t depth)
{
    struct sl_card_pipe *pipe = NULL;
    f->results = 0;
    assert_int_equal(sl_card_pipe_new(f->loop, depth, on_result, f, &pipe), SL_OK);
    return pipe;
}

/* Whatever was in it before. */
static void assert_zeroed(const struct sl_engine_command *command, const struct sl_card_extra *extra)
{
    static const struct sl_engine_command none;
    static const struct sl_card_extra nothing;
    assert_memory_equal(command, &none, sizeof none);
    assert_memory_equal(extra, &nothing, sizeof nothing);
}

static void push(struct sl_card_pipe *pipe, size_t index, enum sl_engine_op op, uint64_t flow, struct sl_card_extra extra)
{
    struct sl_engine_command *command;
    struct sl_card_extra *slot;
    sl_card_pipe_slot(pipe, index, &command, &slot);
    assert_zeroed(command, slot);
    if (index % 5 == 0) { /* given back unused */
        memset(command, 0x5a, sizeof *command);
        memset(slot, 0x5a, sizeof *slot);
        sl_card_pipe_slot(pipe, index, &command, &slot);
        assert_zeroed(command, slot);
    }
    command->op = op;
    command->flow = flow;
    command->key.sport = (uint16_t)flow;
    command->action = op == SL_ENGINE_CHANGE ? SL_CARD_SESSION_TRANSCODE : SL_CARD_SESSION_HOLD;
    if (op == SL_ENGINE_INSTALL)
        memset(command->state[0].keys.set[0].open_key, 0xa5, 32);
    if (op == SL_ENGINE_KEYS)
        memset(command->keys.open_key, 0xa5, 32);
    *slot = extra;
    sl_card_pipe_push(pipe);
}

static sl_err run_one(struct fixture *f, enum sl_engine_op op, uint64_t flow, struct sl_card_extra extra)
{
    struct sl_card_pipe *pipe = open_pipe(f, 1);
    push(pipe, 0, op, flow, extra);
    sl_card_pipe_flush(pipe);
    sl_card_pipe_free(pipe);
    return f->status[0];
}

static const struct sl_card_extra plain = {.tls = SL_CARD_NO_TLS}, tls13 = {.tls = SL_CARD_TLS13};

static size_t count(struct fixture *f)
{
    size_t n = sl_card_sessions_count(sl_card_loop_lock(f->loop));
    sl_card_loop_unlock(f->loop);
    return n;
}

static size_t told(struct fixture *f)
{
    pthread_mutex_lock(&f->lock);
    size_t n = f->told_count;
    pthread_mutex_unlock(&f->lock);
    return n;
}

static void wait_told(struct fixture *f, size_t wanted)
{
    while (told(f) < wanted)
        sched_yield();
}

static void results_come_in_order(void **state)
{
    (void)state;
    static const unsigned delays[] = {0, 1, 7, 100};
    for (size_t d = 0; d < sizeof delays / sizeof delays[0]; d++) {
        for (size_t depth = 1; depth <= SL_CARD_PIPE_DEPTH_MAX; depth++) {
            struct fixture *f = start(FAKE_SESSIONS);
            atomic_store(&f->fake.delay, delays[d]);
            struct sl_card_pipe *pipe = open_pipe(f, depth);
            for (size_t i = 0; i < 400; i++)
                push(pipe, i, i % 2 == 0 ? SL_ENGINE_INSTALL : SL_ENGINE_REMOVE, 1 + i / 2, plain);
            sl_card_pipe_flush(pipe);
            assert_int_equal(f->results, 400);
            for (size_t i = 0; i < 400; i++)
                assert_int_equal(f->status[i], SL_OK);
            sl_card_pipe_flush(pipe); /* with nothing in it */
            /* One that was not used, in the middle of a batch, is no less clean in the next round of batches. */
            for (size_t i = 400; i < RESULTS; i++) {
                struct sl_engine_command *command;
                struct sl_card_extra *extra;
                push(pipe, i, i % 2 == 0 ? SL_ENGINE_INSTALL : SL_ENGINE_REMOVE, 1 + i / 2, plain);
                if (i % 7 != 0)
                    continue;
                sl_card_pipe_slot(pipe, i, &command, &extra);
                memset(command, 0x5a, sizeof *command);
                sl_card_pipe_flush(pipe);
            }
            sl_card_pipe_flush(pipe);
            sl_card_pipe_free(pipe);
            assert_int_equal(f->results, RESULTS);
            assert_true(atomic_load(&f->fake.saw_key));
            assert_int_equal(count(f), 0);
            stop(f);
        }
    }
}

static void a_slot_that_is_not_pushed_does_not_count(void **state)
{
    (void)state;
    struct fixture *f = start(FAKE_SESSIONS);
    struct sl_card_pipe *pipe = open_pipe(f, 2);
    struct sl_engine_command *command;
    struct sl_card_extra *extra;
    sl_card_pipe_slot(pipe, 0, &command, &extra);
    command->op = SL_ENGINE_INSTALL;
    command->flow = 77;
    extra->idle_timeout_s = 5;
    sl_card_pipe_slot(pipe, 1, &command, &extra);
    assert_int_equal(command->flow, 0);
    assert_int_equal(extra->idle_timeout_s, 0);
    command->op = SL_ENGINE_INSTALL;
    command->flow = 78;
    sl_card_pipe_push(pipe);
    sl_card_pipe_flush(pipe);
    sl_card_pipe_free(pipe);
    assert_int_equal(f->results, 1);
    assert_int_equal(count(f), 1);
    stop(f);
}

static void the_table_follows_the_engine(void **state)
{
    (void)state;
    struct fixture *f = start(2);
    assert_int_equal(run_one(f, SL_ENGINE_INSTALL, 1, plain), SL_OK);
    assert_int_equal(run_one(f, SL_ENGINE_INSTALL, 1, plain), SL_ERR_EXISTS);
    assert_int_equal(run_one(f, SL_ENGINE_INSTALL, 2, plain), SL_OK);
    assert_int_equal(run_one(f, SL_ENGINE_INSTALL, 3, plain), SL_ERR_LIMIT);
    assert_int_equal(count(f), 2);
    assert_int_equal(run_one(f, SL_ENGINE_QUERY, 2, plain), SL_OK);
    assert_int_equal(f->packets[0], 2);
    assert_int_equal(run_one(f, SL_ENGINE_REMOVE, 2, plain), SL_OK);
    assert_int_equal(run_one(f, SL_ENGINE_REMOVE, 2, plain), SL_ERR_NOT_FOUND);
    assert_int_equal(count(f), 1);
    assert_int_equal(run_one(f, SL_ENGINE_RESET, 0, plain), SL_OK);
    assert_int_equal(count(f), 0);
    stop(f);
}

/* The check waits for what is under way, however slow the engine is. */
static void transcoding_needs_keys(void **state)
{
    (void)state;
    struct fixture *f = start(FAKE_SESSIONS);
    atomic_store(&f->fake.delay, 50);
    struct sl_card_pipe *pipe = open_pipe(f, 4);
    push(pipe, 0, SL_ENGINE_INSTALL, 1, plain);
    push(pipe, 1, SL_ENGINE_CHANGE, 1, plain);
    push(pipe, 2, SL_ENGINE_KEYS, 1, tls13);
    push(pipe, 3, SL_ENGINE_INSTALL, 2, tls13);
    push(pipe, 4, SL_ENGINE_CHANGE, 2, plain);
    push(pipe, 5, SL_ENGINE_KEYS, 2, tls13);
    push(pipe, 6, SL_ENGINE_REMOVE, 2, plain);
    push(pipe, 7, SL_ENGINE_INSTALL, 2, plain);
    push(pipe, 8, SL_ENGINE_CHANGE, 2, plain);
    push(pipe, 9, SL_ENGINE_CHANGE, 3, plain);
    sl_card_pipe_flush(pipe);
    sl_card_pipe_free(pipe);
    static const sl_err expected[] = {SL_OK, SL_ERR_INVALID, SL_ERR_INVALID, SL_OK,          SL_OK,
                                      SL_OK, SL_OK,          SL_OK,          SL_ERR_INVALID, SL_ERR_NOT_FOUND};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_int_equal(f->status[i], expected[i]);
    stop(f);
}

static void idle_sessions_end(void **state)
{
    (void)state;
    struct fixture *f = start(FAKE_SESSIONS);
    const struct sl_card_extra ten = {.idle_timeout_s = 10, .openoffload = true}, never = {.idle_timeout_s = 0};
    assert_int_equal(run_one(f, SL_ENGINE_INSTALL, 1, ten), SL_OK);
    assert_int_equal(run_one(f, SL_ENGINE_INSTALL, 2, never), SL_OK);
    atomic_store(&f->fake.last_ns[1], 105ull * SL_NS_PER_S);
    for (unsigned s = 101; s < 115; s++) { /* used at 105: not before 115 */
        const struct timespec pause = {.tv_nsec = 3 * SL_NS_PER_MS};
        atomic_store(&f->now_ns, s * (uint64_t)SL_NS_PER_S);
        nanosleep(&pause, NULL);
        assert_int_equal(count(f), 2);
    }
    while (told(f) == 0) {
        atomic_fetch_add(&f->now_ns, SL_NS_PER_S);
        sched_yield();
    }
    assert_int_equal(f->told[0].kind, SL_CARD_EVENT_CLOSED);
    assert_int_equal(f->told[0].flow, 1);
    assert_int_equal(f->told[0].detail, SL_CARD_CLOSE_TIMEOUT);
    assert_int_equal(f->told[0].counters[0].packets, 1);
    assert_int_equal(count(f), 1);
    struct sl_card_closed closed[4];
    assert_int_equal(sl_card_closed_take(sl_card_loop_lock(f->loop), closed, 4), 1);
    sl_card_loop_unlock(f->loop);
    assert_int_equal(closed[0].flow, 1);
    assert_int_equal(closed[0].reason, SL_CARD_CLOSE_TIMEOUT);
    stop(f);
}

static void tell_event(struct fixture *f, uint8_t kind, uint8_t lane, uint64_t flow, uint32_t lost)
{
    size_t before = told(f);
    f->fake.event = (struct card_event){.kind = kind, .lane = lane, .flow = flow, .lost = lost, .detail = 7, .open_seq = 9};
    atomic_store(&f->fake.event_ready, true);
    wait_told(f, before + 1);
}

static void events_close_offloaded_sessions(void **state)
{
    (void)state;
    struct fixture *f = start(FAKE_SESSIONS);
    const struct sl_card_extra offloaded = {.openoffload = true};
    for (uint64_t flow = 1; flow <= 3; flow++)
        assert_int_equal(run_one(f, SL_ENGINE_INSTALL, flow, flow < 3 ? offloaded : plain), SL_OK);
    tell_event(f, SL_CARD_EVENT_FIN, 0, 1, 0);
    tell_event(f, SL_CARD_EVENT_RST, 1, 2, 4);
    tell_event(f, SL_CARD_EVENT_RST, 0, 3, 0);
    tell_event(f, SL_CARD_EVENT_ALERT, 0, 99, 0); /* of a session that has gone */
    assert_int_equal(f->told[1].kind, SL_CARD_EVENT_RST);
    assert_int_equal(f->told[1].detail, 7);
    assert_int_equal(f->told[1].open_record, 9);
    assert_int_equal(f->lost, 4);
    while (told(f) < 5) {
        atomic_fetch_add(&f->now_ns, SL_NS_PER_S);
        sched_yield();
    }
    assert_int_equal(f->told[4].flow, 2);
    assert_int_equal(f->told[4].detail, SL_CARD_CLOSE_RST);
    tell_event(f, SL_CARD_EVENT_FIN, 1, 1, 0);
    while (told(f) < 7) {
        atomic_fetch_add(&f->now_ns, SL_NS_PER_S);
        sched_yield();
    }
    assert_int_equal(f->told[6].flow, 1);
    assert_int_equal(f->told[6].detail, SL_CARD_CLOSE_FIN);
    assert_int_equal(count(f), 1);
    stop(f);
}

/* It is told within a poll, even without a command; then so many sessions are closed. */
static void await_death(struct fixture *f, size_t closed)
{
    while (told(f) < 1 + closed) {
        atomic_fetch_add(&f->now_ns, 10 * SL_NS_PER_MS);
        sched_yield();
    }
    assert_int_equal(f->told[0].kind, SL_CARD_EVENT_DIED);
    for (size_t i = 1; i <= closed; i++) {
        assert_int_equal(f->told[i].kind, SL_CARD_EVENT_CLOSED);
        assert_int_equal(f->told[i].detail, SL_CARD_CLOSE_DIED);
    }
}

/* Whenever it dies, every command has one result, and what was there is closed. */
static void death_and_reset(void **state)
{
    (void)state;
    static const unsigned delays[] = {0, 3, 1000000};
    for (size_t d = 0; d < sizeof delays / sizeof delays[0]; d++) {
        struct fixture *f = start(FAKE_SESSIONS);
        const struct sl_card_extra offloaded = {.openoffload = true};
        struct sl_card_snapshot now;
        assert_int_equal(run_one(f, SL_ENGINE_INSTALL, 1, offloaded), SL_OK);
        assert_int_equal(run_one(f, SL_ENGINE_INSTALL, 2, plain), SL_OK);
        atomic_store(&f->fake.delay, delays[d]);
        struct sl_card_pipe *pipe = open_pipe(f, 8);
        for (size_t i = 0; i < 60; i++) {
            push(pipe, i, SL_ENGINE_QUERY, 2, plain);
            if (i == 30)
                atomic_store(&f->fake.die, true);
        }
        sl_card_pipe_flush(pipe);
        sl_card_pipe_free(pipe);
        assert_int_equal(f->results, 60);
        assert_int_equal(f->status[59], SL_ERR_UNAVAILABLE);
        await_death(f, 2);
        assert_int_equal(count(f), 0);
        assert_int_equal(run_one(f, SL_ENGINE_INSTALL, 3, plain), SL_ERR_UNAVAILABLE);

        struct sl_card_closed closed[4];
        assert_int_equal(sl_card_closed_take(sl_card_loop_lock(f->loop), closed, 4), 1);
        sl_card_loop_unlock(f->loop);
        assert_int_equal(closed[0].reason, SL_CARD_CLOSE_DIED);

        atomic_store(&f->fake.delay, 0);
        atomic_store(&f->fake.no_open, true);
        assert_int_equal(run_one(f, SL_ENGINE_RESET, 0, plain), SL_ERR_UNAVAILABLE);
        assert_int_equal(run_one(f, SL_ENGINE_INSTALL, 3, plain), SL_ERR_UNAVAILABLE);
        do {
            atomic_fetch_add(&f->now_ns, 10 * SL_NS_PER_MS);
            sl_card_loop_snapshot(f->loop, &now);
        } while (!now.counters.dead);

        atomic_store(&f->fake.no_open, false);
        atomic_store(&f->fake.die, false);
        assert_int_equal(run_one(f, SL_ENGINE_RESET, 0, plain), SL_OK);
        assert_int_equal(run_one(f, SL_ENGINE_INSTALL, 3, plain), SL_OK);
        do {
            atomic_fetch_add(&f->now_ns, 10 * SL_NS_PER_MS);
            sl_card_loop_snapshot(f->loop, &now);
        } while (now.counters.dead);
        assert_int_equal(now.counters.sessions, 1);
        assert_int_equal(told(f), 3);
        stop(f);
    }
}

static struct sl_engine_command *next(struct sl_card_pipe *pipe, size_t index, enum sl_engine_op op, uint64_t flow,
                                      struct sl_card_extra extra)
{
    struct sl_engine_command *command;
    struct sl_card_extra *slot;
    sl_card_pipe_slot(pipe, index, &command, &slot);
    command->op = op;
    command->flow = flow;
    command->key.sport = (uint16_t)flow;
    *slot = extra;
    return command;
}

static void push_install(struct sl_card_pipe *pipe, size_t index, uint64_t flow, uint8_t action, struct sl_card_extra extra)
{
    struct sl_engine_command *c = next(pipe, index, SL_ENGINE_INSTALL, flow, extra);
    c->action = action;
    for (unsigned lane = 0; lane < SL_ENGINE_LANES; lane++) {
        const uint32_t base = (uint32_t)flow * 100 + lane * 10;
        c->state[lane].track.next = c->state[lane].track.record_start = base;
        c->state[lane].track.seq_delta = base + 1;
        c->state[lane].track.ack_delta = base + 2;
        c->state[lane].track.tsval_delta = base + 3;
        c->state[lane].track.tsecr_delta = base + 4;
        c->state[lane].keys.window_shift = (int8_t)(lane == 0 ? flow : 0 - flow);
        if (extra.tls != SL_CARD_NO_TLS)
            memset(&c->state[lane].keys.set[0], 0xa5, sizeof c->state[lane].keys.set[0]);
    }
    sl_card_pipe_push(pipe);
}

static void push_rule(struct sl_card_pipe *pipe, size_t index, uint8_t lane, uint16_t number, uint8_t valid)
{
    struct sl_engine_command *c = next(pipe, index, SL_ENGINE_RULE, 0, plain);
    c->lane = lane;
    c->number = number;
    c->rule = (struct card_rule){.action = 1, .valid = valid};
    sl_card_pipe_push(pipe);
}

/* Five sessions, two rules, a default. 1: forwards, with a time-out. 2: held, without keys. 3: transcodes. 4: held, with keys. 5:
 * has keys, and only forwards. */
static void set_up(struct fixture *f)
{
    const struct sl_card_extra ten = {.idle_timeout_s = 10}, offloaded = {.openoffload = true, .tls = SL_CARD_TLS13};
    struct sl_card_pipe *pipe = open_pipe(f, 2);
    size_t n = 0;
    push_install(pipe, n++, 1, SL_CARD_SESSION_FORWARD, ten);
    push_install(pipe, n++, 2, SL_CARD_SESSION_HOLD, plain);
    push_install(pipe, n++, 3, SL_CARD_SESSION_TRANSCODE, offloaded);
    push_install(pipe, n++, 4, SL_CARD_SESSION_HOLD, tls13);
    push_install(pipe, n++, 5, SL_CARD_SESSION_HOLD, tls13);
    next(pipe, n++, SL_ENGINE_CHANGE, 5, plain)->action = SL_CARD_SESSION_FORWARD;
    sl_card_pipe_push(pipe);
    push_rule(pipe, n++, 0, 3, 1);
    push_rule(pipe, n++, 0, 0, 1);
    push_rule(pipe, n++, 1, 255, 1);
    push_rule(pipe, n++, 0, 3, 0);
    struct sl_engine_command *c = next(pipe, n++, SL_ENGINE_DEFAULT, 0, plain);
    c->lane = 1;
    c->action = SL_CARD_DROP;
    sl_card_pipe_push(pipe);
    sl_card_pipe_flush(pipe);
    sl_card_pipe_free(pipe);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(f->status[i], SL_OK);
}

static void await_kind(struct fixture *f, const char *kind, bool dead)
{
    struct sl_card_snapshot now;
    do {
        atomic_fetch_add(&f->now_ns, 10 * SL_NS_PER_MS);
        sched_yield();
        sl_card_loop_snapshot(f->loop, &now);
    } while (now.counters.dead != dead || strcmp(now.info.kind, kind) != 0);
    assert_int_equal(now.counters.sessions, count(f));
    assert_int_equal(now.counters.lost, strcmp(kind, "cpu") == 0 ? FAKE_LOST + (dead ? FAKE_LOST : 0) : 0);
}

/* What reached the other engine of a session: all that it had but keys. */
static void check_seen(struct fixture *f, uint64_t flow, uint8_t action)
{
    static const struct key_set no_keys[2];
    const struct sl_engine_command *c = &f->instead.seen[flow];
    assert_int_equal(c->flow, flow);
    assert_int_equal(c->action, action);
    assert_int_equal(c->key.sport, flow);
    for (unsigned lane = 0; lane < SL_ENGINE_LANES; lane++) {
        const uint32_t base = (uint32_t)flow * 100 + lane * 10;
        assert_int_equal(c->state[lane].track.next, base);
        assert_int_equal(c->state[lane].track.record_start, base);
        assert_int_equal(c->state[lane].track.seq_delta, base + 1);
        assert_int_equal(c->state[lane].track.ack_delta, base + 2);
        assert_int_equal(c->state[lane].track.tsval_delta, base + 3);
        assert_int_equal(c->state[lane].track.tsecr_delta, base + 4);
        assert_int_equal(c->state[lane].track.flags, 0);
        assert_int_equal(c->state[lane].keys.window_shift, lane == 0 ? (int)flow : -(int)flow);
        assert_memory_equal(c->state[lane].keys.set, no_keys, sizeof no_keys);
    }
}

/* Whenever it dies: sessions without keys and rules are in the other engine, the rest is closed, every command has one result. */
static void another_engine_takes_over(void **state)
{
    (void)state;
    static const unsigned delays[] = {0, 3, 1000000};
    for (size_t d = 0; d < sizeof delays / sizeof delays[0]; d++) {
        struct fixture *f = start_with(FAKE_SESSIONS, true);
        set_up(f);
        atomic_store(&f->fake.delay, delays[d]);
        atomic_store(&f->instead.delay, (unsigned)d);
        struct sl_card_pipe *pipe = open_pipe(f, 8);
        for (size_t i = 0; i < 90; i++) {
            push(pipe, i, SL_ENGINE_QUERY, i % 3 == 0 ? 3 : 2, plain);
            if (i == 30)
                atomic_store(&f->fake.die, true);
        }
        sl_card_pipe_flush(pipe);
        assert_int_equal(f->results, 90);
        await_death(f, 2);
        f->results = 0;
        for (size_t i = 0; i < 90; i++) /* what the dead one had taken failed; nothing before a success did */
            assert_true(f->status[i] == SL_OK || f->status[i] == SL_ERR_UNAVAILABLE ||
                        (f->status[i] == SL_ERR_NOT_FOUND && i % 3 == 0));
        static const struct {
            enum sl_engine_op op;
            uint64_t flow;
            sl_err status;
        } later[] = {{SL_ENGINE_QUERY, 1, SL_OK},
                     {SL_ENGINE_QUERY, 2, SL_OK},
                     {SL_ENGINE_QUERY, 5, SL_OK},
                     {SL_ENGINE_QUERY, 3, SL_ERR_NOT_FOUND},
                     {SL_ENGINE_QUERY, 4, SL_ERR_NOT_FOUND},
                     {SL_ENGINE_CHANGE, 3, SL_ERR_NOT_FOUND},
                     {SL_ENGINE_KEYS, 3, SL_ERR_NOT_FOUND},
                     {SL_ENGINE_CHANGE, 2, SL_ERR_INVALID},
                     {SL_ENGINE_KEYS, 2, SL_ERR_INVALID},
                     {SL_ENGINE_CHANGE, 5, SL_ERR_INVALID},
                     {SL_ENGINE_KEYS, 5, SL_ERR_INVALID},
                     {SL_ENGINE_INSTALL, 3, SL_OK},
                     {SL_ENGINE_INSTALL, 1, SL_ERR_EXISTS},
                     {SL_ENGINE_REMOVE, 2, SL_OK}};
        for (size_t i = 0; i < sizeof later / sizeof later[0]; i++)
            push(pipe, i, later[i].op, later[i].flow, tls13);
        sl_card_pipe_flush(pipe);
        sl_card_pipe_free(pipe);
        for (size_t i = 0; i < sizeof later / sizeof later[0]; i++)
            assert_int_equal(f->status[i], later[i].status);
        check_seen(f, 1, SL_CARD_SESSION_FORWARD);
        check_seen(f, 2, SL_CARD_SESSION_HOLD);
        check_seen(f, 5, SL_CARD_SESSION_FORWARD);
        assert_int_equal(f->instead.seen[4].flow, 0);
        assert_int_equal(atomic_load(&f->instead.rules), 2);
        assert_int_equal(atomic_load(&f->instead.defaults[0]), SL_CARD_PUNT);
        assert_int_equal(atomic_load(&f->instead.defaults[1]), SL_CARD_DROP);
        assert_int_equal(f->told[1].flow + f->told[2].flow, 3 + 4);
        struct sl_card_closed closed[4];
        assert_int_equal(sl_card_closed_take(sl_card_loop_lock(f->loop), closed, 4), 1);
        sl_card_loop_unlock(f->loop);
        assert_int_equal(closed[0].flow, 3);
        assert_int_equal(count(f), 3);
        await_kind(f, "cpu", false);

        atomic_fetch_add(&f->now_ns, 8ull * SL_NS_PER_S); /* idle time begins anew */
        assert_int_equal(run_one(f, SL_ENGINE_QUERY, 1, plain), SL_OK);
        while (told(f) < 4) {
            atomic_fetch_add(&f->now_ns, SL_NS_PER_S);
            sched_yield();
        }
        assert_int_equal(f->told[3].flow, 1);
        assert_int_equal(f->told[3].detail, SL_CARD_CLOSE_TIMEOUT);

        atomic_store(&f->fake.delay, 0);
        atomic_store(&f->fake.no_open, true);
        assert_int_equal(run_one(f, SL_ENGINE_RESET, 0, plain), SL_ERR_UNAVAILABLE);
        assert_int_equal(run_one(f, SL_ENGINE_QUERY, 5, plain), SL_OK);
        atomic_store(&f->fake.no_open, false);
        atomic_store(&f->fake.die, false);
        assert_int_equal(run_one(f, SL_ENGINE_RESET, 0, plain), SL_OK);
        await_kind(f, "fake", false);
        assert_int_equal(count(f), 0);
        assert_int_equal(atomic_load(&f->instead.closed), 1);
        atomic_store(&f->fake.die, true); /* its rules were forgotten with the reset */
        wait_told(f, 4);
        await_kind(f, "cpu", false);
        assert_int_equal(atomic_load(&f->instead.opened), 2);
        assert_int_equal(atomic_load(&f->instead.rules), 2);
        assert_int_equal(atomic_load(&f->instead.defaults[1]), SL_CARD_PUNT);
        stop(f);
    }
}

/* A session that had seen its end is removed in the other engine, with its own reason. */
static void an_end_that_was_seen_is_kept(void **state)
{
    (void)state;
    struct fixture *f = start_with(FAKE_SESSIONS, true);
    const struct sl_card_extra offloaded = {.openoffload = true};
    assert_int_equal(run_one(f, SL_ENGINE_INSTALL, 1, offloaded), SL_OK);
    tell_event(f, SL_CARD_EVENT_RST, 0, 1, 0);
    atomic_store(&f->fake.die, true);
    while (told(f) < 3) {
        atomic_fetch_add(&f->now_ns, 10 * SL_NS_PER_MS);
        sched_yield();
    }
    assert_int_equal(f->told[1].kind, SL_CARD_EVENT_DIED);
    assert_int_equal(f->told[2].kind, SL_CARD_EVENT_CLOSED);
    assert_int_equal(f->told[2].detail, SL_CARD_CLOSE_RST);
    assert_int_equal(count(f), 0);
    stop(f);
}

/* No engine that could take over, none with the rules, or one with little room: what can't go on is closed. */
static void taking_over_may_fail(void **state)
{
    (void)state;
    for (unsigned which = 0; which < 3; which++) {
        struct fixture *f = start_with(FAKE_SESSIONS, true);
        set_up(f);
        atomic_store(&f->instead.no_open, which == 0);
        atomic_store(&f->instead.no_rules, which == 1);
        atomic_store(&f->instead.room, which == 2 ? 1 : FAKE_SESSIONS);
        atomic_store(&f->fake.die, true);
        await_death(f, which == 2 ? 4 : 5);
        assert_int_equal(count(f), which == 2 ? 1 : 0);
        assert_int_equal(run_one(f, SL_ENGINE_QUERY, 9, plain), which == 2 ? SL_ERR_NOT_FOUND : SL_ERR_UNAVAILABLE);
        if (which == 2) {
            atomic_store(&f->instead.die, true); /* nothing takes over from it */
            while (told(f) < 7) {
                atomic_fetch_add(&f->now_ns, 10 * SL_NS_PER_MS);
                sched_yield();
            }
            assert_int_equal(f->told[5].kind, SL_CARD_EVENT_DIED);
            assert_int_equal(run_one(f, SL_ENGINE_QUERY, 1, plain), SL_ERR_UNAVAILABLE);
            await_kind(f, "cpu", true);
        }
        atomic_store(&f->fake.die, false);
        assert_int_equal(run_one(f, SL_ENGINE_RESET, 0, plain), SL_OK);
        await_kind(f, "fake", false);
        assert_int_equal(run_one(f, SL_ENGINE_INSTALL, 1, plain), SL_OK);
        stop(f);
    }
}

static void no_engine_no_loop(void **state)
{
    struct fake_state fake = {.no_open = true};
    const struct sl_card_loop_options options = {.open = fake_open, .arg = &fake};
    struct sl_card_loop *loop = NULL;
    struct sl_diag diag;
    (void)state;
    assert_int_equal(sl_card_loop_start(&options, &loop, &diag), SL_ERR_UNAVAILABLE);
    assert_string_equal(diag.text, "no such card");
    assert_null(loop);
}

struct worker {
    struct fixture *f;
    uint64_t first;
    size_t results;
};

static void count_result(void *arg, size_t index, const struct sl_engine_command *command,
                         const struct sl_engine_completion *completion)
{
    struct worker *w = arg;
    (void)index;
    (void)command;
    assert_int_equal(completion->status, SL_OK);
    w->results++;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct sl_card_pipe *pipe = NULL;
    if (sl_card_pipe_new(w->f->loop, 3, count_result, w, &pipe) != SL_OK)
        return NULL;
    for (size_t i = 0; i < 2000; i++)
        push(pipe, i, i % 2 == 0 ? SL_ENGINE_INSTALL : SL_ENGINE_REMOVE, w->first + i / 2 % 8, plain);
    sl_card_pipe_flush(pipe);
    sl_card_pipe_free(pipe);
    return NULL;
}

static void many_threads(void **state)
{
    (void)state;
    struct fixture *f = start(FAKE_SESSIONS);
    struct worker workers[4];
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        workers[i] = (struct worker){f, 1 + 8 * i, 0};
        pthread_create(&threads[i], NULL, work, &workers[i]);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].results, 2000);
    }
    assert_int_equal(count(f), 0);
    stop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_come_in_order),
        cmocka_unit_test(a_slot_that_is_not_pushed_does_not_count),
        cmocka_unit_test(the_table_follows_the_engine),
        cmocka_unit_test(transcoding_needs_keys),
        cmocka_unit_test(idle_sessions_end),
        cmocka_unit_test(events_close_offloaded_sessions),
        cmocka_unit_test(death_and_reset),
        cmocka_unit_test(another_engine_takes_over),
        cmocka_unit_test(an_end_that_was_seen_is_kept),
        cmocka_unit_test(taking_over_may_fail),
        cmocka_unit_test(no_engine_no_loop),
        cmocka_unit_test(many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
