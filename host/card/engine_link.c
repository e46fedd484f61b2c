/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine whose pipeline is a card's: everything goes through the rings of a link (card/card_link.h).
 *
 *   submit ─▶ job ─▶ 0..n commands in the ring ─▶ card ─▶ as many completions, in order ─▶ job is done ─▶ completions
 *   send   ─▶ to_card ─▶ card ─▶ from_card ─▶ receive            card ─▶ events ─▶ events      card ─▶ mirror ─▶ mirrored
 *
 * Commands are prepared here so that the card has nothing to refuse: if it refuses one all the same, what host and card know of
 * each other has come apart, and the engine is dead. It is dead as well when the card has not moved for `dead_after` while a
 * command waits; so that there always is one, a card without work is asked for its version now and then.
 *
 * Of frames that come to nothing the card tells only the number. It is asked for as long as there are frames whose fate is open.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/secret.h"
#include "card/card_link.h"
#include "card/engine_impl.h"
#include "card/link_sessions.h"
#include "card/mirror_open.h"
#include "card/numbers.h"
#include "card/rules.h"
#include "card/session.h"

enum {
    JOBS = 4096,
    JOBS_OF_ENGINE = 8, /* kept free for what the engine asks for itself */
    /* Most commands of a job: an install with the longest plans, or one that failed in lane 1. */
    COMMANDS_OF_JOB = 2 + 3 * SL_CARD_CUCKOO_WRITES,
    RECEIVE_MAX = 64,
    DEAD_AFTER_MS = 800,
    OPEN_MS = 10000, /* for the first answers, or dead_after if that is longer */
    CLEAN_MS = 1000, /* for the last ones, */
    CLEAN_SESSIONS = 256,
    TOTALS_US = 500,
    RESET_US = 1000, /* a session */
    TICK_CYCLES = 1 << 24
};

_Static_assert(COMMANDS_OF_JOB + JOBS_OF_ENGINE <= 64, "the least that card_link.h says");

enum purpose { OF_HOST, OF_ENGINE, OF_TOTAL };

/* What becomes one completion. */
struct job {
    struct sl_engine_completion done;
    uint32_t left; /* commands that the card has not completed */
    uint8_t purpose;
};

struct lane_counts {
    uint64_t frames_in, bytes_in, frames_out, bytes_out, punts;
    uint64_t dropped; /* by the card */
    uint64_t refused; /* frames that cannot be, dropped here */
    uint64_t punted_for[SL_CARD_REASONS];
};

struct link_lane {
    struct card_ring to_card, from_card, mirror;
    struct lane_counts all, base; /* since the engine was opened; of those, before the last reset */
    uint64_t given;               /* frames that the card got */
    uint64_t dropped_before;      /* by the card before it was reset: then its totals begin anew */
    uint64_t asked_ns;            /* when the total was asked for last */
    bool asking;
};

struct link_engine {
    struct sl_engine head;
    struct sl_card_link *link;
    struct sl_link_sessions *sessions;
    struct sl_mirror_open *mirror;
    struct sl_mirror_open_counters mirror_base; /* as of the last reset */
    struct link_lane lane[SL_ENGINE_LANES];
    uint32_t room, seal_limit, rules;

    struct job jobs[JOBS];
    uint32_t job_first, job_next; /* done up to here; given */
    struct sl_engine_completion ready[JOBS];
    uint32_t ready_first, ready_next; /* fetched by the host up to here; done */
    uint32_t sent, completed;         /* commands: numbers of the last ones */
    uint32_t events_read;
    uint64_t events, events_lost;

    uint64_t dead_after_ns;
    uint64_t waits_ns;  /* since when the card has owed the next completion, or since when it owes none */
    uint64_t polled_ns; /* when anybody looked last */
    bool pardoned;      /* that nobody looked was no fault of the card; once */
    bool dead;
    sl_err error; /* why it is dead */
    struct sl_diag fault;

    unsigned turn, mirror_turn; /* lane that is received from first */
    uint8_t frame[RECEIVE_MAX][card_packet_room];
};

static struct link_engine *link_engine(struct sl_engine *engine)
{
    return (struct link_engine *)(void *)engine;
}

static const struct link_engine *link_engine_const(const struct sl_engine *engine)
{
    return (const struct link_engine *)(const void *)engine;
}

static uint64_t mono_ns(void)
{
    return sl_clock_system()->mono_ns(sl_clock_system()->arg);
}

/* ---- death ---- */

/* e->fault says why. Commands under way hold keys, and will not be read any more. */
static void die(struct link_engine *e, sl_err error)
{
    const struct sl_card_rings *r = &e->link->rings;
    e->dead = true;
    e->error = error;
    for (; e->job_first != e->job_next; e->job_first++) {
        struct job *job = &e->jobs[e->job_first % JOBS];
        job->done.status = SL_ERR_UNAVAILABLE;
        if (job->purpose == OF_HOST)
            e->ready[e->ready_next++ % JOBS] = job->done;
    }
    e->completed = e->sent;
    sl_wipe(r->commands, (size_t)r->command_entries * card_command_bytes);
}

/* ---- commands to the card ---- */

static uint32_t command_room(const struct link_engine *e)
{
    return e->link->rings.command_entries - (e->sent - e->completed);
}

/* The next entry of the ring, zeroed but for what all commands have. There is room. */
static struct card_command *begin_command(struct link_engine *e, struct job *job, enum card_opcode opcode, unsigned lane,
                                          uint32_t index)
{
    const struct sl_card_rings *r = &e->link->rings;
    struct card_command *c =
        (struct card_command *)(void *)(r->commands + (size_t)(e->sent % r->command_entries) * card_command_bytes);
    memset(c, 0, offsetof(struct card_command, valid));
    if (e->sent == e->completed)
        e->waits_ns = mono_ns();
    c->sequence = ++e->sent;
    c->opcode = (uint8_t)opcode;
    c->lane = (uint8_t)lane;
    c->index = index;
    job->left++;
    return c;
}

static void end_command(struct card_command *c)
{
    __atomic_store_n(&c->valid, c->sequence, __ATOMIC_RELEASE);
}

static void simple_command(struct link_engine *e, struct job *job, enum card_opcode opcode, unsigned lane, uint32_t index)
{
    end_command(begin_command(e, job, opcode, lane, index));
}

static void write_table(struct link_engine *e, struct job *job, unsigned lane, const struct sl_card_cuckoo_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        struct card_command *c = begin_command(e, job, card_table_write, lane, plan->write[i].slot);
        memcpy(c->payload, plan->write[i].content.word, sizeof(plan->write[i].content.word));
        end_command(c);
    }
}

static void write_tables(struct link_engine *e, struct job *job, const struct sl_link_plan *plan)
{
    write_table(e, job, 0, &plan->lane[0]);
    write_table(e, job, 0, &plan->back);
    write_table(e, job, 1, &plan->lane[1]);
}

static void install_state(struct link_engine *e, struct job *job, unsigned lane, uint32_t index, uint64_t flow,
                          const struct session_state *state)
{
    struct card_command *c = begin_command(e, job, card_install, lane, index);
    memcpy(c->payload, state, sizeof(*state));
    for (unsigned i = 0; i < sizeof(state->keys.flow); i++)
        c->payload[offsetof(struct session_state, keys.flow) + i] = (uint8_t)(flow >> (8 * i));
    end_command(c);
}

static void set_seal_limits(struct link_engine *e, struct job *job)
{
    for (unsigned i = 0; i < SL_ENGINE_LANES && e->seal_limit != 0; i++) {
        struct card_command *c = begin_command(e, job, card_seal_limit, i, 0);
        c->value = e->seal_limit;
        end_command(c);
    }
}

/* ---- the host's commands ---- */

static sl_err install(struct link_engine *e, const struct sl_engine_command *c, struct job *job)
{
    struct sl_link_plan plan;
    uint32_t index;
    const bool tls13[SL_ENGINE_LANES] = {(c->state[0].track.flags & track_tls13) != 0,
                                         (c->state[1].track.flags & track_tls13) != 0};
    if (!sl_cpu_half_state_is_sound(&c->state[0]) || !sl_cpu_half_state_is_sound(&c->state[1]))
        return SL_ERR_INVALID;
    const sl_err err = sl_link_sessions_add(e->sessions, c->flow, &c->key, c->action, &index, &plan);
    for (unsigned i = 0; i < SL_ENGINE_LANES && err == SL_OK; i++)
        install_state(e, job, i, index, c->flow, &c->state[i]);
    write_tables(e, job, &plan);
    if (err == SL_OK)
        sl_mirror_open_session(e->mirror, index, c->flow, tls13);
    return err;
}

static sl_err remove_session(struct link_engine *e, uint32_t index, struct job *job)
{
    struct sl_link_plan plan;
    sl_link_sessions_remove(e->sessions, index, &plan);
    sl_mirror_open_session(e->mirror, index, 0, NULL); /* half records of it give way */
    write_tables(e, job, &plan);
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++)
        simple_command(e, job, card_remove, i, index);
    return SL_OK;
}

static sl_err change(struct link_engine *e, uint32_t index, uint8_t action, struct job *job)
{
    struct sl_link_plan plan;
    const sl_err err = sl_link_sessions_change(e->sessions, index, action, &plan);
    write_tables(e, job, &plan);
    return err;
}

static sl_err set_keys(struct link_engine *e, uint32_t index, const struct sl_engine_command *c, struct job *job)
{
    if (c->lane >= SL_ENGINE_LANES || c->set > 1 || c->keys.long_keys > 3)
        return SL_ERR_INVALID;
    struct card_command *to = begin_command(e, job, card_keys, c->lane, index);
    to->set = c->set;
    memcpy(to->payload, &c->keys, sizeof(c->keys));
    end_command(to);
    return SL_OK;
}

static sl_err set_rule(struct link_engine *e, const struct sl_engine_command *c, struct job *job)
{
    if (c->lane >= SL_ENGINE_LANES || c->number >= e->rules || !sl_cpu_rule_is_sound(&c->rule))
        return SL_ERR_INVALID;
    struct card_command *to = begin_command(e, job, card_rule_write, c->lane, c->number);
    memcpy(to->payload, &c->rule, sizeof(c->rule));
    end_command(to);
    return SL_OK;
}

static sl_err set_default(struct link_engine *e, const struct sl_engine_command *c, struct job *job)
{
    if (c->lane >= SL_ENGINE_LANES || c->action > SL_CARD_DROP)
        return SL_ERR_INVALID;
    struct card_command *to = begin_command(e, job, card_rule_default, c->lane, 0);
    to->set = c->action;
    end_command(to);
    return SL_OK;
}

static sl_err reset(struct link_engine *e, struct job *job)
{
    const sl_err err = sl_link_sessions_reset(e->sessions);
    if (err != SL_OK)
        return err;
    sl_mirror_open_reset(e->mirror);
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++) /* the last chance to hear of them */
        simple_command(e, job, card_counters, i, card_total_dropped);
    struct card_command *c = begin_command(e, job, card_reset, 0, 0);
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++)
        sl_link_sessions_seed(e->sessions, i, c->payload + i * SL_CARD_SEED_BYTES);
    end_command(c);
    set_seal_limits(e, job);
    return SL_OK;
}

static sl_err execute(struct link_engine *e, const struct sl_engine_command *c, struct job *job)
{
    uint32_t index = 0;
    switch (c->op) {
    case SL_ENGINE_INSTALL:
        return install(e, c, job);
    case SL_ENGINE_RULE:
        return set_rule(e, c, job);
    case SL_ENGINE_DEFAULT:
        return set_default(e, c, job);
    case SL_ENGINE_RESET:
        return reset(e, job);
    case SL_ENGINE_CHANGE:
    case SL_ENGINE_KEYS:
    case SL_ENGINE_REMOVE:
    case SL_ENGINE_QUERY:
        break;
    default:
        return SL_ERR_INVALID;
    }
    const sl_err err = sl_link_sessions_find(e->sessions, c->flow, &index);
    if (err != SL_OK)
        return err;
    if (c->op == SL_ENGINE_CHANGE)
        return change(e, index, c->action, job);
    if (c->op == SL_ENGINE_KEYS)
        return set_keys(e, index, c, job);
    if (c->op == SL_ENGINE_REMOVE)
        return remove_session(e, index, job);
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++)
        simple_command(e, job, card_counters, i, index);
    return SL_OK;
}

/* ---- jobs ---- */

/* What is done and not fetched takes room of the host's, not of the engine's own. */
static bool job_room(const struct link_engine *e, enum purpose purpose, uint32_t commands)
{
    const uint32_t under_way = e->job_next - e->job_first, unfetched = e->ready_next - e->ready_first;
    const uint32_t reserve = purpose == OF_HOST ? JOBS_OF_ENGINE : 0;
    return under_way + (purpose == OF_HOST ? unfetched : 0) + reserve < JOBS && command_room(e) >= commands + reserve;
}

static struct job *begin_job(struct link_engine *e, enum purpose purpose)
{
    struct job *job = &e->jobs[e->job_next++ % JOBS];
    *job = (struct job){.purpose = (uint8_t)purpose};
    return job;
}

/* After a reset. What was under way meanwhile still comes, and its fate is still told. */
static void begin_counting(struct link_engine *e)
{
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++) {
        struct link_lane *l = &e->lane[i];
        l->dropped_before = l->all.dropped;
        l->base = l->all;
    }
    sl_mirror_open_counters(e->mirror, &e->mirror_base);
}

static void end_job(struct link_engine *e, const struct job *job)
{
    if (job->purpose != OF_HOST)
        return;
    if (job->done.op == SL_ENGINE_RESET && job->done.status == SL_OK)
        begin_counting(e);
    e->ready[e->ready_next++ % JOBS] = job->done;
}

/* Jobs are done in their order; some have no command, and wait only for those before them. */
static void end_jobs(struct link_engine *e)
{
    while (e->job_first != e->job_next && e->jobs[e->job_first % JOBS].left == 0)
        end_job(e, &e->jobs[e->job_first++ % JOBS]);
}

static void tell_counters(const struct link_engine *e, const struct card_completion *from, struct sl_engine_lane_counters *to)
{
    const uint64_t ticks = (from->value[3] - from->value[2]) & 0xffffff;
    const uint64_t ago = ticks * TICK_CYCLES * 1000 / e->link->clock_mhz, now = mono_ns();
    to->bytes = from->value[0];
    to->packets = from->value[1];
    to->last_ns = to->packets == 0 ? 0 : ago < now ? now - ago : 1;
}

/* An error: it is not what was asked for. */
static sl_err take_answer(struct link_engine *e, struct job *job, const struct card_completion *c)
{
    if (c->status != card_ok || c->lane >= SL_ENGINE_LANES) {
        return sl_fail(&e->fault, SL_ERR_UNAVAILABLE,
                       "the card refused command %u, number %u, with status %u: it and the host disagree", c->opcode, c->sequence,
                       c->status);
    }
    struct link_lane *l = &e->lane[c->lane];
    if (c->opcode == card_counters && (job->purpose == OF_TOTAL || job->done.op == SL_ENGINE_RESET)) {
        l->asking = l->asking && job->purpose != OF_TOTAL;
        l->all.dropped = l->dropped_before + c->value[1];
    } else if (job->purpose == OF_ENGINE && c->opcode == card_no_op) {
        e->rules = (uint32_t)c->value[2];
        if (c->value[0] != card_interface_version || c->value[1] < e->room || c->value[2] > SL_ENGINE_RULES) {
            return sl_fail(&e->fault, SL_ERR_UNSUPPORTED,
                           "the card speaks version %llu, with %llu sessions and %llu rules; version %d and %u sessions are needed",
                           (unsigned long long)c->value[0], (unsigned long long)c->value[1], (unsigned long long)c->value[2],
                           card_interface_version, e->room);
        }
    } else if (c->opcode == card_counters || c->opcode == card_remove) {
        tell_counters(e, c, &job->done.lane[c->lane]);
    }
    return SL_OK;
}

static bool is_of_command(const uint8_t *entry, const struct card_completion *c)
{
    const struct card_command *command = (const struct card_command *)(const void *)entry;
    return c->sequence == command->sequence && c->opcode == command->opcode && c->lane == command->lane;
}

/* The entry of a command that is completed held keys. */
static void take_completions(struct link_engine *e, uint64_t now)
{
    const struct sl_card_rings *r = &e->link->rings;
    while (e->completed != e->sent) {
        const uint32_t entry = e->completed % r->command_entries, number = e->completed + 1;
        uint8_t *const from = r->completions + (size_t)entry * card_completion_bytes;
        struct card_completion c;
        if (__atomic_load_n((uint32_t *)(void *)(from + offsetof(struct card_completion, valid)), __ATOMIC_ACQUIRE) != number)
            return;
        memcpy(&c, from, sizeof(c));
        struct job *job = &e->jobs[e->job_first % JOBS];
        const sl_err err = is_of_command(r->commands + (size_t)entry * card_command_bytes, &c)
                               ? take_answer(e, job, &c)
                               : sl_fail(&e->fault, SL_ERR_UNAVAILABLE,
                                         "completion %u of the card is of command %u, number %u: it and the host disagree", number,
                                         c.opcode, c.sequence);
        sl_wipe(r->commands + (size_t)entry * card_command_bytes, offsetof(struct card_command, valid)); /* zero is a number, too */
        if (err != SL_OK) {
            die(e, err);
            return;
        }
        e->completed = number;
        e->waits_ns = now;
        e->pardoned = false;
        job->left--;
        end_jobs(e);
    }
}

/* ---- is it alive? ---- */

static uint32_t lines_of_frame(const uint8_t head[card_line_bytes])
{
    struct card_packet_head h;
    memcpy(&h, head, sizeof(h));
    return card_ring_lines(h.bytes);
}

static uint32_t lines_of_item(const uint8_t head[card_line_bytes])
{
    struct card_mirror_head h;
    memcpy(&h, head, sizeof(h));
    return card_mirror_lines(&h);
}

/* So many lines lie in a ring from the card and wait to be read. */
static uint32_t unread(const struct card_ring *ring, uint32_t (*lines_of)(const uint8_t head[card_line_bytes]))
{
    struct card_ring r = *ring;
    uint8_t head[card_line_bytes];
    while (r.at - ring->at < ring->lines && card_ring_peek(&r, head))
        r.at += lines_of(head);
    return r.at - ring->at;
}

/* A lane stops when the host does not take what comes of it, and with the lane commands that it must obey. */
static bool host_must_fetch(const struct link_engine *e)
{
    const uint32_t frame = card_ring_lines(card_packet_room) + 1, item = 3;
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++) {
        const struct link_lane *l = &e->lane[i];
        if (unread(&l->from_card, lines_of_frame) + frame >= l->from_card.lines ||
            unread(&l->mirror, lines_of_item) + item >= l->mirror.lines)
            return true;
    }
    return false;
}

/* A reset wipes the memory of all sessions, which in a simulation takes its time. */
static uint64_t patience_ns(const struct link_engine *e)
{
    const struct job *job = &e->jobs[e->job_first % JOBS];
    const bool resets = e->job_first != e->job_next && job->purpose == OF_HOST && job->done.op == SL_ENGINE_RESET;
    return e->dead_after_ns + (resets ? (uint64_t)e->link->rings.sessions * RESET_US * 1000 : 0);
}

static uint64_t open_frames(const struct link_lane *l)
{
    const uint64_t known = l->all.frames_out + l->all.punts + l->all.dropped;
    return known < l->given ? l->given - known : 0;
}

/* Questions of the engine's own: what became of frames, and whether anybody is there. */
static void ask(struct link_engine *e, uint64_t now)
{
    if (!job_room(e, OF_ENGINE, 2))
        return;
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++) {
        struct link_lane *l = &e->lane[i];
        if (l->asking || open_frames(l) == 0 || now - l->asked_ns < (uint64_t)TOTALS_US * 1000 || !job_room(e, OF_ENGINE, 2))
            continue;
        l->asking = true;
        l->asked_ns = now;
        simple_command(e, begin_job(e, OF_TOTAL), card_counters, i, card_total_dropped);
    }
    if (e->sent == e->completed && now - e->waits_ns > e->dead_after_ns / 8)
        simple_command(e, begin_job(e, OF_ENGINE), card_no_op, 0, 0);
}

static void poll_card(struct link_engine *e)
{
    if (e->dead)
        return;
    const uint64_t now = mono_ns();
    if (now - e->polled_ns > e->dead_after_ns / 2 && !e->pardoned) {
        e->waits_ns = now;
        e->pardoned = true;
    }
    e->polled_ns = now;
    if (e->link->operations->turn != NULL)
        e->link->operations->turn(e->link);
    take_completions(e, now);
    if (e->dead)
        return;
    if (!e->link->operations->alive(e->link, &e->fault)) {
        die(e, SL_ERR_UNAVAILABLE);
        return;
    }
    if (e->sent != e->completed && now - e->waits_ns > patience_ns(e)) {
        if (!host_must_fetch(e)) {
            die(e, sl_fail(&e->fault, SL_ERR_UNAVAILABLE, "the card has not answered command %u for %llu ms", e->completed + 1,
                           (unsigned long long)((now - e->waits_ns) / SL_NS_PER_MS)));
            return;
        }
        e->waits_ns = now;
    }
    ask(e, now);
}

static sl_err link_submit(struct sl_engine *engine, const struct sl_engine_command *command)
{
    struct link_engine *e = link_engine(engine);
    if (!job_room(e, OF_HOST, COMMANDS_OF_JOB))
        poll_card(e);
    if (e->dead)
        return SL_ERR_UNAVAILABLE;
    if (!job_room(e, OF_HOST, COMMANDS_OF_JOB))
        return SL_ERR_AGAIN;
    struct job *job = begin_job(e, OF_HOST);
    job->done = (struct sl_engine_completion){.cookie = command->cookie, .flow = command->flow, .op = command->op};
    job->done.status = execute(e, command, job);
    end_jobs(e);
    return SL_OK;
}

static size_t link_completions(struct sl_engine *engine, struct sl_engine_completion *out, size_t max)
{
    struct link_engine *e = link_engine(engine);
    size_t count = 0;
    poll_card(e);
    while (count < max && e->ready_first != e->ready_next)
        out[count++] = e->ready[e->ready_first++ % JOBS];
    return count;
}

/* ---- frames ---- */

/* False: no room. */
static bool send_frame(struct link_engine *e, const struct sl_engine_frame *f)
{
    struct link_lane *l = &e->lane[f->lane];
    const bool cut = f->count > SL_ENGINE_FRAME_MAX, error = cut || f->damaged;
    const enum card_packet_kind kind = f->kind == SL_FRAME_TRANSMIT ? card_packet_transmit
                                       : f->kind == SL_FRAME_INJECT ? card_packet_inject
                                                                    : card_packet_rx;
    if (f->count == 0 || (error && kind != card_packet_rx)) {
        l->all.refused++;
    } else {
        if (!card_ring_send(&l->to_card, e->link->rings.lane[f->lane].page, kind, f->bytes,
                            cut ? (size_t)SL_ENGINE_FRAME_MAX : f->count, error))
            return false;
        l->given++;
    }
    l->all.frames_in++;
    l->all.bytes_in += f->count;
    return true;
}

static size_t link_send(struct sl_engine *engine, const struct sl_engine_frame *frames, size_t count)
{
    struct link_engine *e = link_engine(engine);
    poll_card(e);
    for (size_t i = 0; i < count; i++) {
        if (e->dead)
            return i;
        if (frames[i].lane >= SL_ENGINE_LANES)
            e->lane[0].all.refused++; /* there is no such lane: nothing can be made of it */
        else if (!send_frame(e, &frames[i]))
            return i;
    }
    return count;
}

/* False: what the card wrote is no frame. */
static bool read_frame(struct link_engine *e, unsigned lane, const struct card_packet_head *head, const uint8_t *data,
                       struct sl_engine_result *out)
{
    struct link_lane *l = &e->lane[lane];
    *out = (struct sl_engine_result){.bytes = data, .count = head->bytes, .lane = (uint8_t)lane};
    if (head->kind == card_packet_tx && head->bytes > 0 && head->bytes <= SL_ENGINE_FRAME_MAX) {
        out->kind = SL_FRAME_TX;
        l->all.frames_out++;
        l->all.bytes_out += out->count;
        return true;
    }
    if (head->kind != card_packet_punt || head->bytes < card_punt_bytes || !card_punt_unpack(&out->punt, data))
        return false;
    if (out->punt.reason >= SL_CARD_REASONS)
        return false;
    out->kind = SL_FRAME_PUNT;
    out->bytes = data + card_punt_bytes;
    out->count = head->bytes - (uint32_t)card_punt_bytes;
    out->punt.lane = (uint8_t)lane; /* inside a card all lanes are number 0 */
    l->all.punts++;
    l->all.punted_for[out->punt.reason]++;
    return out->count == out->punt.frame_bytes;
}

static size_t receive_lane(struct link_engine *e, unsigned lane, struct sl_engine_result *out, size_t from, size_t max)
{
    struct link_lane *l = &e->lane[lane];
    struct card_packet_head head;
    uint8_t line[card_line_bytes];
    size_t count = from;
    while (count < max && card_ring_peek(&l->from_card, line)) {
        if (!card_ring_receive(&l->from_card, e->link->rings.lane[lane].page, &head, e->frame[count]) ||
            !read_frame(e, lane, &head, e->frame[count], &out[count])) {
            if (!e->dead)
                die(e, sl_fail(&e->fault, SL_ERR_UNAVAILABLE, "what the card wrote of lane %u is no frame", lane));
            return count;
        }
        count++;
    }
    return count;
}

static size_t link_receive(struct sl_engine *engine, struct sl_engine_result *out, size_t max)
{
    struct link_engine *e = link_engine(engine);
    poll_card(e);
    if (max > RECEIVE_MAX)
        max = RECEIVE_MAX;
    const unsigned first = e->turn++ % SL_ENGINE_LANES;
    const size_t count = receive_lane(e, first, out, 0, max);
    return receive_lane(e, 1 - first, out, count, max);
}

/* ---- what else is fetched ---- */

static size_t link_events(struct sl_engine *engine, struct card_event *out, size_t max)
{
    struct link_engine *e = link_engine(engine);
    const struct sl_card_rings *r = &e->link->rings;
    size_t count = 0;
    poll_card(e);
    while (count < max) {
        const uint8_t *from = r->events + (size_t)(e->events_read % r->event_entries) * card_event_bytes;
        const uint32_t valid =
            __atomic_load_n((const uint32_t *)(const void *)(from + offsetof(struct card_event, valid)), __ATOMIC_ACQUIRE);
        if (valid != e->events_read + 1)
            break;
        memcpy(&out[count], from, sizeof(out[count]));
        out[count].valid = 0;
        e->events_lost += out[count].lost;
        e->events += 1 + (uint64_t)out[count].lost;
        __atomic_store_n(&r->page->events_read, ++e->events_read, __ATOMIC_RELEASE);
        count++;
    }
    return count;
}

/* One at a time: the text of the one before is wiped when the next one is opened. */
static size_t link_mirrored(struct sl_engine *engine, struct sl_engine_mirror *out, size_t max)
{
    struct link_engine *e = link_engine(engine);
    struct card_mirror item;
    poll_card(e);
    const unsigned first = e->mirror_turn++;
    size_t count = 0;
    for (unsigned i = 0; i < SL_ENGINE_LANES && max > 0 && count == 0; i++) {
        const unsigned lane = (first + i) % SL_ENGINE_LANES;
        struct link_lane *l = &e->lane[lane];
        while (count == 0 && card_mirror_receive(&l->mirror, e->link->rings.lane[lane].page, &item)) {
            item.head.lane = (uint8_t)lane;
            count = sl_mirror_open_take(e->mirror, &item, out);
        }
    }
    sl_wipe(item.key, sizeof(item.key));
    return count;
}

static void link_counters(const struct sl_engine *engine, struct sl_engine_counters *out)
{
    const struct link_engine *e = link_engine_const(engine);
    struct sl_mirror_open_counters mirror;
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++) {
        const struct link_lane *l = &e->lane[i];
        const struct lane_counts *all = &l->all, *base = &l->base;
        out->frames_in[i] = all->frames_in - base->frames_in;
        out->bytes_in[i] = all->bytes_in - base->bytes_in;
        out->frames_out[i] = all->frames_out - base->frames_out;
        out->bytes_out[i] = all->bytes_out - base->bytes_out;
        out->punts[i] = all->punts - base->punts;
        out->drops[i] = all->dropped - base->dropped + all->refused - base->refused;
        for (unsigned reason = 0; reason < SL_CARD_REASONS; reason++)
            out->punted_for[reason] += all->punted_for[reason] - base->punted_for[reason];
        out->lost += e->dead ? open_frames(l) : 0;
    }
    sl_mirror_open_counters(e->mirror, &mirror);
    out->mirrored_records = mirror.verified - e->mirror_base.verified;
    out->mirror_refused = mirror.refused - e->mirror_base.refused;
    out->mirror_lost = mirror.lost - e->mirror_base.lost;
    out->events = e->events;
    out->events_lost = e->events_lost;
    out->sessions = sl_link_sessions_count(e->sessions);
    out->dead = e->dead;
}

/* ---- open, close ---- */

static void link_info(const struct sl_engine *engine, struct sl_engine_info *out)
{
    const struct link_engine *e = link_engine_const(engine);
    out->kind = e->link->kind;
    memcpy(out->device, e->link->device, sizeof(out->device));
    out->interface = card_interface_version;
    out->sessions = e->room;
    out->rules = e->rules;
    out->device_bytes = (uint32_t)(SL_ENGINE_LANES * sizeof(struct session_state));
    memcpy(out->fault, e->fault.text, sizeof(out->fault) - 1);
}

/* Waits until all jobs are done. False: dead, or it takes too long. */
static bool wait_jobs(struct link_engine *e)
{
    const uint64_t end = mono_ns() + e->dead_after_ns;
    while (!e->dead && e->job_first != e->job_next && mono_ns() < end) {
        poll_card(e);
        if (e->link->operations->turn == NULL)
            nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    }
    return !e->dead && e->job_first == e->job_next;
}

/* Removes the sessions that are left, if they are few and the card is quick; what else comes of it nobody wants any more. */
static bool remove_all(struct link_engine *e)
{
    const uint64_t end = mono_ns() + (uint64_t)CLEAN_MS * SL_NS_PER_MS;
    struct sl_engine_result r[RECEIVE_MAX];
    struct sl_engine_mirror m;
    uint32_t index;
    if (e->sessions == NULL || sl_link_sessions_count(e->sessions) > CLEAN_SESSIONS)
        return false;
    while (!e->dead && mono_ns() < end) {
        if (!job_room(e, OF_ENGINE, COMMANDS_OF_JOB))
            poll_card(e);
        else if (sl_link_sessions_any(e->sessions, &index) == SL_OK)
            remove_session(e, index, begin_job(e, OF_ENGINE));
        else if (e->job_first == e->job_next)
            return true;
        (void)link_receive(&e->head, r, RECEIVE_MAX);
        (void)link_mirrored(&e->head, &m, 1);
    }
    return false;
}

static void link_close(struct sl_engine *engine)
{
    struct link_engine *e = link_engine(engine);
    const bool clean = remove_all(e);
    e->link->operations->close(e->link, clean ? SL_CARD_END_CLEAN : e->dead ? SL_CARD_END_DEAD : SL_CARD_END_WIPE);
    sl_link_sessions_free(e->sessions);
    sl_mirror_open_free(e->mirror);
    free(e);
}

static const struct sl_engine_operations operations = {.close = link_close,
                                                       .info = link_info,
                                                       .submit = link_submit,
                                                       .completions = link_completions,
                                                       .send = link_send,
                                                       .receive = link_receive,
                                                       .events = link_events,
                                                       .mirrored = link_mirrored,
                                                       .counters = link_counters};

/* First of all: is it a card that we know, and do its tables hash as ours do? */
static sl_err greet(struct link_engine *e, struct sl_diag *diag)
{
    struct job *job = begin_job(e, OF_ENGINE);
    simple_command(e, job, card_no_op, 0, 0);
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++) {
        struct card_command *c = begin_command(e, job, card_hash_seed, i, 0);
        sl_link_sessions_seed(e->sessions, i, c->payload);
        end_command(c);
    }
    set_seal_limits(e, job);
    if (wait_jobs(e))
        return SL_OK;
    return e->dead ? sl_fail(diag, e->error, "%s", e->fault.text)
                   : sl_fail(diag, SL_ERR_UNAVAILABLE, "the card does not answer its first commands");
}

sl_err sl_engine_open_link(struct sl_card_link *link, const struct sl_engine_options *options, struct sl_engine **out,
                           struct sl_diag *diag)
{
    const struct sl_card_rings *r = &link->rings;
    const uint32_t seal_limit = options->seal_limit;
    if (r->command_entries < COMMANDS_OF_JOB + JOBS_OF_ENGINE) {
        const uint32_t entries = r->command_entries;
        link->operations->close(link, SL_CARD_END_CLEAN);
        return sl_fail(diag, SL_ERR_INVALID, "a ring of %u commands is too small", entries);
    }
    if (seal_limit != 0 && (seal_limit < SL_CARD_SEAL_LIMIT_LEAST || seal_limit > SL_CARD_SEAL_LIMIT_DEFAULT)) {
        link->operations->close(link, SL_CARD_END_CLEAN);
        return sl_fail(diag, SL_ERR_INVALID, "a seal limit of %u records is not between %d and %d", seal_limit,
                       SL_CARD_SEAL_LIMIT_LEAST, SL_CARD_SEAL_LIMIT_DEFAULT);
    }
    struct link_engine *e = calloc(1, sizeof(*e));
    if (e == NULL) {
        link->operations->close(link, SL_CARD_END_CLEAN);
        return sl_fail(diag, SL_ERR_NOMEM, "no memory for the card's engine");
    }
    e->head.operations = &operations;
    e->link = link;
    e->room = options->sessions != 0 && options->sessions < r->sessions ? options->sessions : r->sessions;
    e->seal_limit = seal_limit;
    const uint64_t dead_after_ms = options->dead_after_ms != 0 ? options->dead_after_ms : DEAD_AFTER_MS;
    e->dead_after_ns = (dead_after_ms > OPEN_MS ? dead_after_ms : OPEN_MS) * SL_NS_PER_MS;
    e->polled_ns = e->waits_ns = mono_ns();
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++) {
        e->lane[i].to_card = (struct card_ring){.memory = r->lane[i].to_card, .lines = r->lane[i].to_card_lines};
        e->lane[i].from_card = (struct card_ring){.memory = r->lane[i].from_card, .lines = r->lane[i].from_card_lines};
        e->lane[i].mirror = (struct card_ring){.memory = r->lane[i].mirror, .lines = r->lane[i].mirror_lines};
    }
    sl_err err = sl_link_sessions_new(e->room, &e->sessions);
    if (err == SL_OK)
        err = sl_mirror_open_new(e->room, 0, &e->mirror);
    if (err != SL_OK)
        sl_fail(diag, err, "the host cannot keep books of %u sessions on a card: %s", e->room, sl_err_str(err));
    else
        err = greet(e, diag);
    if (err != SL_OK) {
        link_close(&e->head);
        return err;
    }
    e->dead_after_ns = dead_after_ms * SL_NS_PER_MS;
    e->polled_ns = e->waits_ns = mono_ns();
    *out = &e->head;
    return SL_OK;
}
