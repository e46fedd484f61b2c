/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "trace_frame.h" /* random numbers */

/* PATIENCE: without any news, until the test says that something has not come. It only bounds a failure. */
enum { BATCH_MAX = 256, AT_ONCE = 32, EVENTS = 1024, TEXT_MAX = (1 << 14) + 1, PATIENCE_S = 60, IDLE_MAX = 64 };

__attribute__((noreturn, format(printf, 1, 2))) static void differ(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "engine check: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    abort();
}

#define MUST_EQUAL(what, got, wanted)                                                                                              \
    do {                                                                                                                           \
        if ((uint64_t)(got) != (uint64_t)(wanted))                                                                                 \
            differ("lane %u, packet %u: %s is %llu, the model says %llu", l->number, l->id, (what), (unsigned long long)(got),     \
                   (unsigned long long)(wanted));                                                                                  \
    } while (0)

/* The model's plaintext of a record until it ends. */
struct text {
    bool used;
    uint64_t open_seq;
    uint16_t epoch;
    uint8_t bytes[TEXT_MAX];
};

struct session {
    bool used, tls13, indexed;
    uint64_t flow;
    uint32_t index; /* the engine's, once it is known */
    struct text *text;
};

struct sent {
    struct trace_item item;
    uint8_t *frame;
    unsigned lane;
};

/* What has come and is not compared yet, in its order. */
struct queue {
    uint8_t *items;
    size_t size, first, count, room;
};

struct lane {
    unsigned number;
    struct queue results[2], events, records; /* results: by enum sl_frame_out */
    struct model_lane *model;
    struct trace *trace;
    struct model_output out;
    struct session *session; /* by the trace's index: model_sessions_max */
    uint32_t id;             /* of the next packet */
    uint64_t frames, sent, sent_bytes, punts, drops;
    bool over;
};

struct check {
    struct sl_engine *engine;
    struct lane lane[SL_ENGINE_LANES];
    struct sent batch[BATCH_MAX];
    size_t batched;
    uint64_t batches, next_flow, cookie;
    uint64_t news_ns; /* when something came last */
    unsigned idle;    /* looks without news since then */
    uint64_t events, mirrored, refused;
    struct engine_check_result result;
};

/* ---- what the engine gave: fetched as it comes, sorted by lane ---- */

static void *queue_add(struct queue *q, size_t size)
{
    q->size = size;
    if (q->first == q->count)
        q->first = q->count = 0;
    if (q->count == q->room) {
        q->room = 2 * q->room + 16;
        q->items = realloc(q->items, q->room * size);
        if (q->items == NULL)
            abort();
    }
    return q->items + q->count++ * size;
}

static void *queue_take(struct queue *q)
{
    return q->first < q->count ? q->items + q->first++ * q->size : NULL;
}

static uint8_t *copy_of(const uint8_t *bytes, size_t count)
{
    uint8_t *copy = malloc(count + 1);
    if (copy == NULL)
        abort();
    if (count > 0)
        memcpy(copy, bytes, count);
    return copy;
}

static uint64_t now_ns(void)
{
    return sl_clock_system()->mono_ns(sl_clock_system()->arg);
}

static void queue_event(struct check *c, const struct card_event *e)
{
    if (e->sequence != (uint32_t)++c->events || e->lost != 0 || e->lane >= SL_ENGINE_LANES)
        differ("event %llu: numbered %u, %u lost before it, lane %u", (unsigned long long)c->events, e->sequence, e->lost, e->lane);
    *(struct card_event *)queue_add(&c->lane[e->lane].events, sizeof(*e)) = *e;
}

static size_t fetch(struct check *c)
{
    struct sl_engine_result results[AT_ONCE];
    struct card_event events[AT_ONCE];
    struct sl_engine_mirror records[AT_ONCE];
    const size_t sent = sl_engine_receive(c->engine, results, AT_ONCE);
    for (size_t i = 0; i < sent; i++) {
        struct sl_engine_result *r = queue_add(&c->lane[results[i].lane].results[results[i].kind], sizeof(*r));
        *r = results[i];
        r->bytes = copy_of(r->bytes, r->count);
    }
    const size_t told = sl_engine_events(c->engine, events, AT_ONCE);
    for (size_t i = 0; i < told; i++)
        queue_event(c, &events[i]);
    const size_t mirrored = sl_engine_mirrored(c->engine, records, AT_ONCE);
    for (size_t i = 0; i < mirrored; i++) {
        struct sl_engine_mirror *m = queue_add(&c->lane[records[i].lane].records, sizeof(*m));
        *m = records[i];
        m->bytes = copy_of(m->bytes, m->count);
    }
    return sent + told + mirrored;
}

/* False: nothing has come for too long. */
static bool wait_for_news(struct check *c)
{
    struct sl_engine_counters n;
    if (fetch(c) > 0) {
        c->news_ns = now_ns();
        c->idle = 0;
        return true;
    }
    if (++c->idle > IDLE_MAX) /* it is elsewhere, and may want this core */
        nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    sl_engine_counters(c->engine, &n);
    if (n.dead)
        differ("the engine died");
    return now_ns() - c->news_ns < (uint64_t)PATIENCE_S * SL_NS_PER_S;
}

static void *next_of(struct check *c, struct queue *q)
{
    void *item;
    c->news_ns = now_ns();
    while ((item = queue_take(q)) == NULL && wait_for_news(c))
        ;
    return item;
}

/* The engine's index of a session is its own affair, but always the same. */
static void compare_index(struct lane *l, uint32_t model_index, uint32_t got)
{
    struct session *s = &l->session[model_index];
    if (s->indexed)
        MUST_EQUAL("index", got, s->index);
    s->index = got;
    s->indexed = true;
}

static void compare_bytes(struct lane *l, const char *what, const struct sl_engine_result *got, const uint8_t *wanted, size_t count)
{
    MUST_EQUAL(what, got->count, count);
    for (size_t i = 0; i < count; i++)
        if (got->bytes[i] != wanted[i])
            differ("lane %u, packet %u: byte %zu of %zu of the frame %s is %02x, the model says %02x", l->number, l->id, i, count,
                   what, got->bytes[i], wanted[i]);
}

static void compare_sent(struct check *c, struct lane *l, const struct sent *f, const struct sl_engine_result *got)
{
    MUST_EQUAL("lane", got->lane, l->number);
    compare_bytes(l, "sent", got, l->out.frame, l->out.frame_bytes);
    l->sent++;
    l->sent_bytes += got->count;
    c->result.sent++;
    if (f->item.session != trace_no_session && !f->item.lost_behind &&
        !trace_forwarded(l->trace, f->item.session, got->bytes, got->count))
        differ("lane %u, packet %u: the receiver got what was not sent", l->number, l->id);
}

static void compare_punt(struct check *c, struct lane *l, const struct sent *f, const struct sl_engine_result *got)
{
    const struct model_punt_info *want = &l->out.punt;
    const struct card_punt *p = &got->punt;
    MUST_EQUAL("lane", got->lane, l->number);
    MUST_EQUAL("punt: lane", p->lane, l->number);
    MUST_EQUAL("punt: packet id", p->packet_id, l->id);
    MUST_EQUAL("punt: reason", p->reason, want->reason);
    MUST_EQUAL("punt: has_session", p->has_session, want->has_session);
    if (want->reason == model_reason_rule)
        MUST_EQUAL("punt: rule", p->rule, want->rule);
    if (want->has_session) {
        compare_index(l, want->index, p->index);
        MUST_EQUAL("punt: flow", p->flow, want->reason == model_reason_hold ? 0 : want->flow);
    }
    if (want->has_session && want->numbers && want->reason != model_reason_hold) {
        MUST_EQUAL("punt: next", p->next, want->next);
        MUST_EQUAL("punt: record_start", p->record_start, want->record_start);
        MUST_EQUAL("punt: open_seq", p->open_seq, want->open_seq);
        MUST_EQUAL("punt: seal_seq", p->seal_seq, want->seal_seq);
        MUST_EQUAL("punt: epoch", p->epoch, want->epoch & 0xff);
    }
    const size_t count = f->item.bytes < model_frame_max ? f->item.bytes : model_frame_max;
    MUST_EQUAL("punt: frame_bytes", p->frame_bytes, count);
    compare_bytes(l, "punted", got, f->frame, count);
    l->punts++;
    c->result.punted++;
    c->result.reasons[p->reason]++;
    if (f->item.session != trace_no_session)
        trace_punted(l->trace, f->item.session, want->reason, f->frame, f->item.bytes, p->next);
}

/* Takes the packet's events out of the queue; those of its neighbours may lie between them. */
static size_t take_events(struct lane *l, struct card_event *out, size_t max)
{
    struct card_event *const all = (struct card_event *)(void *)l->events.items;
    size_t taken = 0, kept = l->events.first;
    for (size_t i = l->events.first; i < l->events.count; i++) {
        if (all[i].packet_id == l->id && taken < max)
            out[taken++] = all[i];
        else
            all[kept++] = all[i];
    }
    l->events.count = kept;
    return taken;
}

static int by_kind(uint8_t kind_a, uint64_t seq_a, uint8_t kind_b, uint64_t seq_b)
{
    return kind_a != kind_b ? kind_a - kind_b : (seq_a > seq_b) - (seq_a < seq_b);
}

static int by_engine_kind(const void *a, const void *b)
{
    const struct card_event *x = a, *y = b;
    return by_kind(x->kind, x->open_seq, y->kind, y->open_seq);
}

static int by_model_kind(const void *a, const void *b)
{
    const struct model_event *x = a, *y = b;
    return by_kind((uint8_t)x->kind, x->open_seq, (uint8_t)y->kind, y->open_seq);
}

static void compare_events(struct check *c, struct lane *l, const struct sent *f)
{
    static struct card_event got[EVENTS];
    const size_t count = l->out.events_count;
    size_t taken = take_events(l, got, EVENTS);
    c->news_ns = now_ns();
    while (taken < count && wait_for_news(c))
        taken += take_events(l, got + taken, EVENTS - taken);
    MUST_EQUAL("number of events", taken, count);
    if (count == 0)
        return;
    qsort(got, count, sizeof(got[0]), by_engine_kind);
    qsort(l->out.events, count, sizeof(l->out.events[0]), by_model_kind);
    for (size_t i = 0; i < count; i++) {
        const struct model_event *want = &l->out.events[i];
        MUST_EQUAL("event: kind", got[i].kind, want->kind);
        MUST_EQUAL("event: detail", got[i].detail, want->detail);
        MUST_EQUAL("event: epoch", got[i].epoch, want->epoch & 0xff);
        MUST_EQUAL("event: flow", got[i].flow, want->flow);
        MUST_EQUAL("event: open_seq", got[i].open_seq, want->open_seq);
        MUST_EQUAL("event: tcp_seq", got[i].tcp_seq, want->tcp_seq);
        compare_index(l, want->index, got[i].index);
        c->result.events++;
        c->result.kinds[got[i].kind]++;
        const bool died =
            want->kind == model_event_bad_record || want->kind == model_event_bad_tag || want->kind == model_event_unexpected;
        if (died && f->item.session != trace_no_session && !trace_died(l->trace, f->item.session))
            differ("lane %u, packet %u: a genuine session was killed, event %d", l->number, l->id, want->kind);
    }
}

/* ---- the mirror ---- */

static struct text *text_of(struct session *s, uint64_t open_seq, uint16_t epoch)
{
    if (s->text == NULL)
        s->text = calloc(1, sizeof(*s->text));
    if (s->text == NULL)
        abort();
    if (!s->text->used || s->text->open_seq != open_seq || s->text->epoch != epoch)
        *s->text = (struct text){.used = true, .open_seq = open_seq, .epoch = epoch};
    return s->text;
}

static void compare_record(struct check *c, struct lane *l, const struct session *s, const struct model_mirror *want,
                           const struct text *text)
{
    const struct sl_engine_mirror *got = next_of(c, &l->records);
    if (got == NULL)
        differ("lane %u, packet %u: a record was not mirrored", l->number, l->id);
    size_t count = want->text_bytes;
    if (s->tls13) {
        while (count > 0 && text->bytes[count - 1] == 0)
            count--;
        count--;
    }
    MUST_EQUAL("mirror: flow", got->flow, want->flow);
    MUST_EQUAL("mirror: lane", got->lane, l->number);
    MUST_EQUAL("mirror: epoch", got->epoch, want->epoch & 0xff);
    MUST_EQUAL("mirror: open_seq", got->open_seq, want->open_seq);
    MUST_EQUAL("mirror: tcp_seq", got->tcp_seq, want->tcp_seq);
    MUST_EQUAL("mirror: type", got->type, want->type);
    MUST_EQUAL("mirror: count", got->count, count);
    if (memcmp(got->tag, want->tag, sizeof(got->tag)) != 0)
        differ("lane %u, packet %u: the mirror tells another tag", l->number, l->id);
    if (count > 0 && memcmp(got->bytes, text->bytes, count) != 0)
        differ("lane %u, packet %u: the mirror tells another text", l->number, l->id);
    free((void *)(uintptr_t)got->bytes);
    c->mirrored++;
    c->result.mirrored++;
    c->result.text_bytes += count;
}

static void compare_mirror(struct check *c, struct lane *l)
{
    for (size_t i = 0; i < l->out.mirrors_count; i++) {
        const struct model_mirror *m = &l->out.mirrors[i];
        struct session *s = &l->session[m->index];
        struct text *text = text_of(s, m->open_seq, m->epoch);
        if (m->bytes > 0)
            memcpy(text->bytes + m->offset, m->text, m->bytes);
        if (m->verdict == model_mirror_verified)
            compare_record(c, l, s, m, text);
        if (m->verdict == model_mirror_bad)
            c->refused++, c->result.refused++;
        if (m->verdict != model_mirror_open)
            text->used = false;
    }
}

/* ---- frames ---- */

/* A KeyUpdate, or the end of a session, may overtake packets that are on their way already; which ones, only the engine knows. A
 * packet with the KeyUpdate in it the model judges by itself. */
static bool was_squashed(const struct lane *l)
{
    bool squashed = false, stepped = false;
    for (size_t i = l->events.first; i < l->events.count; i++) {
        const struct card_event *e = (const struct card_event *)(const void *)(l->events.items + i * l->events.size);
        squashed |= e->packet_id == l->id && e->kind == model_event_squashed;
        stepped |= e->packet_id == l->id && e->kind == model_event_key_update;
    }
    return squashed && !stepped;
}

static void compare_frame(struct check *c, const struct sent *f)
{
    struct lane *l = &c->lane[f->lane];
    const struct model_input in = {
        .frame = f->frame, .bytes = f->item.bytes, .port_error = f->item.port_error, .squashed = was_squashed(l)};
    model_packet(l->model, &in, &l->out);
    if (l->out.illegal)
        differ("lane %u, packet %u was squashed without a reason", l->number, l->id);
    c->result.frames++;
    c->result.squashed += in.squashed;
    const enum sl_frame_out kind = l->out.verdict == model_verdict_punt ? SL_FRAME_PUNT : SL_FRAME_TX;
    const struct sl_engine_result *got = l->out.verdict == model_verdict_drop ? NULL : next_of(c, &l->results[kind]);
    if (l->out.verdict != model_verdict_drop && got == NULL)
        differ("lane %u, packet %u (%s): nothing came out", l->number, l->id, trace_sort_name(f->item.sort));
    if (l->out.verdict == model_verdict_forward)
        compare_sent(c, l, f, got);
    else if (l->out.verdict == model_verdict_punt)
        compare_punt(c, l, f, got);
    else
        l->drops++, c->result.dropped++;
    if (got != NULL)
        free((void *)(uintptr_t)got->bytes);
    compare_events(c, l, f);
    compare_mirror(c, l);
    l->id++;
}

static struct sl_engine_completion command(struct check *c, struct sl_engine_command *command)
{
    struct sl_engine_completion done;
    command->cookie = ++c->cookie;
    if (sl_engine_submit(c->engine, command) != SL_OK)
        differ("a command was not taken");
    c->news_ns = now_ns();
    while (sl_engine_completions(c->engine, &done, 1) == 0)
        if (now_ns() - c->news_ns > (uint64_t)PATIENCE_S * SL_NS_PER_S)
            differ("a command was not completed");
    if (done.status != SL_OK || done.cookie != command->cookie || done.op != command->op)
        differ("a command failed: %s", sl_err_str(done.status));
    return done;
}

/* Waits until the engine has told the fate of every frame. What is told of one frame in several places comes in any order: a
 * command later all of it is there. */
static void settle(struct check *c)
{
    struct sl_engine_counters n;
    bool all, drops = false;
    c->news_ns = now_ns();
    do {
        sl_engine_counters(c->engine, &n);
        all = true;
        for (unsigned i = 0; i < SL_ENGINE_LANES; i++)
            all = all && n.frames_out[i] + n.punts[i] + n.drops[i] >= c->lane[i].frames;
    } while (!all && wait_for_news(c));
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++)
        drops = drops || n.drops[i] != c->lane[i].drops;
    for (unsigned i = 0; i < model_sessions_max && drops; i++) {
        const struct session *s = c->lane[0].session[i].used ? &c->lane[0].session[i] : &c->lane[1].session[i];
        struct sl_engine_command query = {.op = SL_ENGINE_QUERY, .flow = s->flow};
        if (!s->used)
            continue;
        command(c, &query);
        command(c, &query);
        drops = false;
    }
    while (fetch(c) > 0)
        ;
}

static void compare_totals(struct check *c)
{
    struct sl_engine_counters n;
    c->news_ns = now_ns();
    do /* records that did not verify are told nowhere else */
        sl_engine_counters(c->engine, &n);
    while (n.mirror_refused < c->refused && wait_for_news(c));
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++) {
        struct lane *l = &c->lane[i];
        MUST_EQUAL("counter: frames in", n.frames_in[i], l->frames);
        MUST_EQUAL("counter: frames out", n.frames_out[i], l->sent);
        MUST_EQUAL("counter: bytes out", n.bytes_out[i], l->sent_bytes);
        MUST_EQUAL("counter: punts", n.punts[i], l->punts);
        MUST_EQUAL("counter: drops", n.drops[i], l->drops);
        for (unsigned kind = 0; kind < 2; kind++)
            MUST_EQUAL("frames too many", l->results[kind].count - l->results[kind].first, 0);
        MUST_EQUAL("events too many", l->events.count - l->events.first, 0);
        MUST_EQUAL("mirrored records too many", l->records.count - l->records.first, 0);
    }
    struct lane *l = &c->lane[0];
    for (unsigned reason = 0; reason < SL_CARD_REASONS; reason++)
        MUST_EQUAL("counter: punts by reason", n.punted_for[reason], c->result.reasons[reason]);
    MUST_EQUAL("counter: events", n.events, c->events);
    MUST_EQUAL("counter: events lost", n.events_lost, 0);
    MUST_EQUAL("counter: mirrored records", n.mirrored_records, c->mirrored);
    MUST_EQUAL("counter: records refused", n.mirror_refused, c->refused);
    MUST_EQUAL("counter: records lost", n.mirror_lost, 0);
}

/* All frames of a batch are of one kind: a card may let one kind overtake the other. The host's own are never damaged. */
static void flush(struct check *c)
{
    static struct sl_engine_frame frames[BATCH_MAX];
    enum sl_frame_in kind = c->batches++ % 5 == 0 ? SL_FRAME_INJECT : SL_FRAME_RX;
    for (size_t i = 0; i < c->batched; i++)
        if (c->batch[i].item.port_error || c->batch[i].item.bytes > SL_ENGINE_FRAME_MAX)
            kind = SL_FRAME_RX;
    for (size_t i = 0; i < c->batched; i++) {
        const struct sent *f = &c->batch[i];
        frames[i] = (struct sl_engine_frame){.bytes = f->frame,
                                             .count = (uint32_t)f->item.bytes,
                                             .lane = (uint8_t)f->lane,
                                             .kind = (uint8_t)kind,
                                             .damaged = f->item.port_error};
    }
    c->news_ns = now_ns();
    for (size_t sent = 0; sent < c->batched;) {
        const size_t taken = sl_engine_send(c->engine, frames + sent, c->batched - sent);
        sent += taken;
        if (taken == 0 && !wait_for_news(c))
            differ("the engine takes no frames although everything was fetched");
    }
    settle(c);
    for (size_t i = 0; i < c->batched; i++) {
        compare_frame(c, &c->batch[i]);
        free(c->batch[i].frame);
    }
    c->batched = 0;
    compare_totals(c);
}

static void add_frame(struct check *c, struct lane *l, const struct trace_item *item, unsigned batch)
{
    struct sent *f = &c->batch[c->batched++];
    f->item = *item;
    f->lane = l->number;
    f->frame = malloc(item->bytes + 1);
    if (f->frame == NULL)
        abort();
    memcpy(f->frame, item->frame, item->bytes);
    l->frames++;
    if (c->batched >= batch)
        flush(c);
}

/* ---- commands ---- */

static void add_session(struct check *c, struct lane *l, const struct trace_item *item)
{
    struct session *s = &l->session[item->index];
    struct sl_engine_command x = {.op = SL_ENGINE_INSTALL, .flow = ++c->next_flow, .action = (uint8_t)item->action};
    struct session_state state = item->state;
    for (unsigned i = 0; i < 8; i++)
        state.keys.flow[i] = (uint8_t)(x.flow >> (8 * i));
    if (!model_session_add(l->model, item->index, &item->flow, item->action, &state))
        differ("the model refuses session %u, lane %u", item->index, l->number);
    const bool back = l->number == 1;
    memcpy(x.key.src, back ? item->flow.dst : item->flow.src, 16);
    memcpy(x.key.dst, back ? item->flow.src : item->flow.dst, 16);
    x.key.sport = back ? item->flow.dport : item->flow.sport;
    x.key.dport = back ? item->flow.sport : item->flow.dport;
    x.key.proto = item->flow.proto;
    x.key.version = item->flow.version;
    x.state[0] = x.state[1] = item->state;
    command(c, &x);
    struct text *text = s->text;
    *s = (struct session){.used = true, .tls13 = (item->state.track.flags & track_tls13) != 0, .flow = x.flow, .text = text};
    if (text != NULL)
        text->used = false;
}

static void compare_counters(struct lane *l, uint32_t index, const struct sl_engine_completion *got)
{
    struct model_session_view want;
    if (!model_session_get(l->model, index, &want))
        differ("the model lost a session");
    MUST_EQUAL("session: packets", got->lane[l->number].packets, want.packets);
    MUST_EQUAL("session: bytes", got->lane[l->number].bytes, want.bytes);
    MUST_EQUAL("session: packets of the other lane", got->lane[1 - l->number].packets, 0);
    MUST_EQUAL("session: last packet", got->lane[l->number].last_ns != 0, want.packets != 0);
}

static void remove_session(struct check *c, struct lane *l, uint32_t index)
{
    struct session *s = &l->session[index];
    struct sl_engine_command query = {.op = SL_ENGINE_QUERY, .flow = s->flow}, gone = {.op = SL_ENGINE_REMOVE, .flow = s->flow};
    struct sl_engine_completion done = command(c, &query);
    compare_counters(l, index, &done);
    done = command(c, &gone);
    compare_counters(l, index, &done);
    if (!model_session_remove(l->model, index))
        differ("the model knows no such session");
    s->used = false;
}

static void do_item(struct check *c, struct lane *l, const struct trace_item *item, unsigned batch)
{
    if (item->kind == trace_frame) {
        add_frame(c, l, item, batch);
        return;
    }
    flush(c);
    if (item->kind == trace_add) {
        add_session(c, l, item);
    } else if (item->kind == trace_remove) {
        remove_session(c, l, item->index);
    } else {
        struct sl_engine_command x = {.op = SL_ENGINE_KEYS,
                                      .flow = l->session[item->index].flow,
                                      .lane = (uint8_t)l->number,
                                      .set = (uint8_t)item->set,
                                      .keys = item->keys};
        if (!model_session_keys(l->model, item->index, item->set, &item->keys))
            differ("the model refuses keys");
        command(c, &x);
    }
}

/* Rules that decide about a good part of the strangers: by prefix of a few bits, by ranges of ports. */
static void random_rule(struct check *c, struct lane *l, struct trace_random *r)
{
    struct card_rule rule = {.sport_max = 65535, .dport_max = 65535, .valid = 1};
    struct model_rule model = {0};
    for (unsigned i = 0; i < 2; i++) {
        uint8_t *value = i == 0 ? rule.src : rule.dst, *mask = i == 0 ? rule.src_mask : rule.dst_mask;
        mask[0] = (uint8_t)(0xff00 >> trace_below(r, 4));
        mask[trace_below(r, 16)] |= trace_below(r, 4) == 0 ? 1 : 0;
        for (unsigned k = 0; k < 16; k++)
            value[k] = (uint8_t)(trace_random64(r) & mask[k]);
    }
    if (trace_below(r, 2) == 0)
        rule.sport_min = (uint16_t)trace_below(r, 40000);
    if (trace_below(r, 2) == 0)
        rule.dport_max = (uint16_t)trace_between(r, 20000, 65535);
    rule.any_proto = trace_below(r, 3) != 0;
    rule.proto = trace_below(r, 2) == 0 ? 6 : 17;
    rule.version = (uint8_t)(trace_below(r, 3) * 2);
    rule.version = rule.version == 2 ? 0 : rule.version;
    if (trace_below(r, 2) == 0)
        rule.version = 6;
    rule.action = (uint8_t)trace_below(r, 3);
    memcpy(model.src, rule.src, 16);
    memcpy(model.src_mask, rule.src_mask, 16);
    memcpy(model.dst, rule.dst, 16);
    memcpy(model.dst_mask, rule.dst_mask, 16);
    model.sport_min = rule.sport_min;
    model.sport_max = rule.sport_max;
    model.dport_min = rule.dport_min;
    model.dport_max = rule.dport_max;
    model.proto = rule.proto;
    model.any_proto = rule.any_proto != 0;
    model.version = rule.version;
    model.action = rule.action;
    struct sl_engine_command x = {
        .op = SL_ENGINE_RULE, .lane = (uint8_t)l->number, .number = (uint16_t)trace_below(r, SL_ENGINE_RULES), .rule = rule};
    const bool removes = trace_below(r, 4) == 0;
    if (removes)
        x.rule.valid = 0;
    command(c, &x);
    model_rule_set(l->model, x.number, removes ? NULL : &model);
}

static void random_rules(struct check *c, struct lane *l, struct trace_random *r)
{
    for (unsigned i = 0; i < 40; i++)
        random_rule(c, l, r);
    struct sl_engine_command x = {.op = SL_ENGINE_DEFAULT, .lane = (uint8_t)l->number, .action = (uint8_t)trace_below(r, 3)};
    command(c, &x);
    model_rule_default(l->model, x.action);
}

struct engine_check_result engine_check(struct sl_engine *engine, const struct engine_check_options *o)
{
    struct check *c = calloc(1, sizeof(*c));
    struct trace_random random = {o->seed};
    const struct model_lane_options model = {.seal_limit = o->seal_limit};
    if (c == NULL)
        abort();
    c->engine = engine;
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++) {
        struct lane *l = &c->lane[i];
        l->number = i;
        l->model = model_lane_new(&model);
        l->session = calloc(model_sessions_max, sizeof(*l->session));
        if (l->session == NULL)
            abort();
        l->trace = trace_new(trace_random64(&random), &o->trace[i]);
        if (o->rules)
            random_rules(c, l, &random);
    }
    while (!c->lane[0].over || !c->lane[1].over) {
        struct lane *l = &c->lane[trace_below(&random, 2)];
        struct trace_item item;
        if (l->over)
            continue;
        if (!trace_next(l->trace, &item))
            l->over = true;
        else
            do_item(c, l, &item, o->batch < BATCH_MAX ? o->batch : BATCH_MAX);
    }
    flush(c);
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++) {
        struct lane *l = &c->lane[i];
        for (unsigned k = 0; k < model_sessions_max; k++) {
            if (l->session[k].used)
                remove_session(c, l, k);
            free(l->session[k].text);
        }
        c->result.statistics[i] = *trace_statistics_get(l->trace);
        trace_free(l->trace);
        model_lane_free(l->model);
        model_output_free(&l->out);
        free(l->session);
        free(l->results[0].items);
        free(l->results[1].items);
        free(l->events.items);
        free(l->records.items);
    }
    const struct engine_check_result result = c->result;
    free(c);
    return result;
}
