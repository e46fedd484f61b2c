/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The generator. In each turn a session is drawn, and one thing happens to it: its sender sends, somebody disturbs, the host gives
 * it keys. What is sent passes the network in front of the lane, which loses, doubles and delays.
 */
#include "trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trace_session.h"

enum {
    sessions_default = 8,
    packets_default = 1000,
    window_max = 60000, /* unacknowledged bytes of a sender */
    history = 40000,    /* acknowledged bytes that may be sent again */
    timeouts_max = 40,  /* without progress */
    turns_max = 4000    /* of a session */
};

static const char *const sort_names[trace_sort_end] = {
    "data",           "again",    "duplicate", "late", "overlap", "altered",    "altered overlap", "forged text", "forged tag",
    "forged header",  "ack",      "sack",      "fin",  "rst",     "syn",        "urgent",          "far",         "udp",
    "other protocol", "unknown",  "plain",     "hold", "cut",     "bad header", "bad checksum",    "fragment",    "extension",
    "not ip",         "oversize", "port error"};

static const char *const count_names[trace_count_end] = {"records",
                                                         "empty records",
                                                         "maximal records",
                                                         "padded records",
                                                         "alerts",
                                                         "tickets",
                                                         "key updates",
                                                         "key updates coalesced",
                                                         "key updates followed",
                                                         "forbidden records",
                                                         "nonce jumps",
                                                         "keys in time",
                                                         "keys late",
                                                         "lost",
                                                         "lost behind",
                                                         "vlan",
                                                         "vlan2",
                                                         "ipv6",
                                                         "ip options",
                                                         "tcp options",
                                                         "tls12",
                                                         "tls13",
                                                         "sessions",
                                                         "killed",
                                                         "stalled",
                                                         "finished",
                                                         "opened",
                                                         "host answers"};

const char *trace_sort_name(enum trace_sort sort)
{
    return sort < trace_sort_end ? sort_names[sort] : "?";
}

const char *trace_count_name(enum trace_count count)
{
    return count < trace_count_end ? count_names[count] : "?";
}

struct trace_options trace_options_harsh(unsigned sessions, unsigned packets)
{
    return (struct trace_options){.sessions = sessions,
                                  .packets = packets,
                                  .loss = 150,
                                  .loss_behind = 100,
                                  .duplicate = 150,
                                  .late = 300,
                                  .overlap = 300,
                                  .altered = 200,
                                  .forged = 10,
                                  .control = 200,
                                  .acks = 1000,
                                  .strangers = 300,
                                  .broken = 400,
                                  .forbidden = 10,
                                  .keys_late = 3000};
}

struct trace *trace_new(uint64_t seed, const struct trace_options *options)
{
    struct trace *t = model_alloc(sizeof *t);
    if (options != NULL)
        t->o = *options;
    if (t->o.sessions == 0)
        t->o.sessions = sessions_default;
    if (t->o.packets == 0)
        t->o.packets = packets_default;
    t->random.state = seed;
    t->slots = model_alloc(t->o.sessions * sizeof *t->slots);
    t->current = model_alloc(trace_frame_room);
    model_ciphers_get(&t->ciphers);
    return t;
}

static void session_free(struct trace_session *s)
{
    trace_stream_free(s->stream);
    model_receiver_free(s->receiver);
    free(s);
}

void trace_free(struct trace *t)
{
    if (t == NULL)
        return;
    for (unsigned i = 0; i < t->o.sessions; i++)
        if (t->slots[i] != NULL)
            session_free(t->slots[i]);
    for (unsigned i = 0; i < t->pending_count; i++)
        free(t->pending[i].frame);
    model_ciphers_free(&t->ciphers);
    free(t->slots);
    free(t->current);
    free(t);
}

static struct trace_item *command(struct trace *t, enum trace_kind kind, const struct trace_session *s)
{
    model_check(t->commands_count < trace_commands_max, "too many commands");
    struct trace_item *const item = &t->commands[(t->commands_first + t->commands_count++) % trace_commands_max];
    *item = (struct trace_item){.kind = kind, .session = s->number, .index = s->index};
    return item;
}

/* ---- sessions ---- */

static unsigned random_segment_max(struct trace_random *r)
{
    static const unsigned choices[] = {16, 100, 300, 536, 1220, 1448, 1448, 1448, 1460, 4000, trace_segment_max};
    const uint32_t which = trace_below(r, sizeof choices / sizeof *choices);
    return trace_below(r, 8) == 0 ? trace_between(r, 1, trace_segment_max) : choices[which];
}

static uint32_t free_index(struct trace *t)
{
    for (;;) {
        const uint32_t index = trace_below(&t->random, model_sessions_max);
        bool taken = false;
        for (unsigned i = 0; i < t->o.sessions; i++)
            taken = taken || (t->slots[i] != NULL && t->slots[i]->index == index);
        if (!taken)
            return index;
    }
}

static void choose_kind(struct trace *t, struct trace_session *s)
{
    struct trace_random *const r = &t->random;
    const uint32_t x = t->o.strangers > 0 ? trace_below(r, 100) : 100;
    s->action = model_action_session_transcode;
    s->flow = trace_random_flow(r, trace_tcp);
    if (x < 5)
        s->action = model_action_session_hold;
    else if (x < 14)
        s->action = model_action_session_forward;
    if (x >= 11 && x < 16) /* some of both */
        s->flow.proto = trace_udp;
}

static void session_state_make(struct trace *t, struct trace_session *s, struct session_state *state)
{
    struct trace_random *const r = &t->random;
    trace_random_bytes(r, state->keys.flow, sizeof state->keys.flow);
    state->keys.window_shift = trace_below(r, 2) == 0 ? 0 : (int8_t)((int)trace_below(r, 29) - 14);
    state->track.next = state->track.record_start = s->isn;
    state->track.seq_delta = s->seq_delta = (uint32_t)trace_random64(r);
    state->track.ack_delta = (uint32_t)trace_random64(r);
    state->track.tsval_delta = (uint32_t)trace_random64(r);
    state->track.tsecr_delta = (uint32_t)trace_random64(r);
    state->track.flags = trace_below(r, 8) == 0 ? 0 : track_mirror;
    state->track.epoch = trace_below(r, 4) == 0 ? 253 : 0; /* wraps */
    if (s->stream == NULL)
        return;
    trace_stream_state(s->stream, state);
    if (s->tls13) {
        s->first_set = trace_below(r, 2);
        if (s->first_set == 1) {
            state->keys.set[1] = state->keys.set[0];
            memset(&state->keys.set[0], 0, sizeof state->keys.set[0]);
            state->track.flags |= track_set;
        }
        if (trace_below(r, 4) != 0) {
            trace_stream_keys(s->stream, 1, &state->keys.set[s->first_set ^ 1]);
            state->track.flags |= track_next;
            s->keys_given = 1;
        }
    }
}

static void session_new(struct trace *t, unsigned slot)
{
    struct trace_random *const r = &t->random;
    struct trace_session *const s = model_alloc(sizeof *s);
    s->number = t->next_number++;
    s->index = free_index(t);
    choose_kind(t, s);
    s->tls13 = t->o.only_tls13 || (!t->o.only_tls12 && trace_below(r, 3) != 0);
    s->timestamps = !t->o.plain_headers && trace_below(r, 2) == 0;
    s->segment_max = t->o.segment_max > 0 ? t->o.segment_max : random_segment_max(r);
    s->window = trace_between(r, s->segment_max, window_max);
    s->isn = trace_below(r, 3) == 0 ? UINT32_MAX - trace_below(r, 100000) : (uint32_t)trace_random64(r);
    s->ack = (uint32_t)trace_random64(r);
    s->tsval = (uint32_t)trace_random64(r);
    s->patience = trace_between(r, 4, 12);
    s->turns_left = trace_between(r, 50, turns_max);
    if (s->action == model_action_session_transcode && s->flow.proto == trace_tcp)
        s->stream = trace_stream_new(&t->ciphers, &t->o, &t->st, r, s->tls13, s->segment_max);
    else
        s->turns_left = trace_between(r, 10, 200);
    struct trace_item *const add = command(t, trace_add, s);
    add->flow = s->flow;
    add->action = s->action;
    session_state_make(t, s, &add->state);
    if (s->stream != NULL) {
        struct key_set keys;
        trace_stream_keys(s->stream, 0, &keys);
        s->receiver = model_receiver_new(s->tls13, s->isn + s->seq_delta, add->state.track.seal_seq, &keys);
        t->st.counts[s->tls13 ? trace_count_tls13 : trace_count_tls12]++;
    }
    t->st.counts[trace_count_sessions]++;
    t->slots[slot] = s;
}

static void session_end(struct trace *t, unsigned slot)
{
    struct trace_session *const s = t->slots[slot];
    if (s->stalled && !s->tainted)
        t->st.counts[trace_count_stalled]++;
    else
        t->st.counts[s->stalled || s->died ? trace_count_killed : trace_count_finished]++;
    command(t, trace_remove, s);
    session_free(s);
    t->slots[slot] = NULL;
}

static struct trace_session *find(const struct trace *t, uint32_t number)
{
    for (unsigned i = 0; i < t->o.sessions; i++)
        if (t->slots[i] != NULL && t->slots[i]->number == number)
            return t->slots[i];
    return NULL;
}

/* ---- turns ---- */

/* Acknowledgements arrive, or time passes. */
static void hear(struct trace *t, struct trace_session *s)
{
    if (trace_below(&t->random, 2) == 0) {
        const uint32_t ack = model_receiver_ack(s->receiver) - s->seq_delta;
        const uint32_t step = ack - trace_seq(s, s->una);
        if (step > 0) {
            s->una += step;
            s->quiet = s->timeouts = 0;
            if (s->cur < s->una)
                trace_sent_until(s, s->una);
            trace_stream_forget(s->stream, s->una > history ? s->una - history : 0);
            return;
        }
    }
    if (s->nxt == s->una || ++s->quiet <= s->patience)
        return;
    s->quiet = 0;
    s->cur = s->una;
    if (++s->timeouts > timeouts_max)
        s->stalled = true;
}

/* The host's part in key updates: when the lane has stepped, the keys after the next update are due. */
static void give_keys(struct trace *t, struct trace_session *s)
{
    struct trace_random *const r = &t->random;
    const unsigned epoch = s->epoch;
    if (!s->tls13 || s->keys_given > epoch)
        return;
    if (s->keys_due == 0)
        s->keys_due = trace_chance(r, t->o.keys_late) ? trace_between(r, 20, 150) : trace_between(r, 1, 4);
    if (--s->keys_due > 0)
        return;
    const unsigned given = ++s->keys_given;
    struct trace_item *const item = command(t, trace_keys, s);
    item->set = (s->first_set + given) & 1;
    trace_stream_keys(s->stream, given, &item->keys);
    t->st.counts[given > epoch ? trace_count_keys_in_time : trace_count_keys_late]++;
}

static bool is_done(const struct trace_session *s)
{
    return s->stalled || s->turns > s->turns_left;
}

/* One thing happens. true: item is a frame. */
static bool turn(struct trace *t, struct trace_item *item)
{
    const unsigned slot = trace_below(&t->random, t->o.sessions);
    struct trace_session *s = t->slots[slot];
    if (s == NULL) {
        session_new(t, slot);
        return false;
    }
    s->turns++;
    if (s->stream == NULL) {
        if (is_done(s)) {
            session_end(t, slot);
            return false;
        }
        return trace_send_plain(t, s, item);
    }
    hear(t, s);
    s->tainted = s->tainted || trace_stream_has_forbidden(s->stream);
    if (is_done(s)) {
        session_end(t, slot);
        return false;
    }
    give_keys(t, s);
    return t->commands_count == 0 && trace_send_stream(t, s, item);
}

static bool pending_next(struct trace *t, struct trace_item *item)
{
    for (unsigned i = 0; i < t->pending_count; i++) {
        struct trace_pending *const p = &t->pending[i];
        if (p->due > t->clock)
            continue;
        *item = p->item;
        memcpy(t->current, p->frame, item->bytes);
        item->frame = t->current;
        free(p->frame);
        *p = t->pending[--t->pending_count];
        return true;
    }
    return false;
}

bool trace_next(struct trace *t, struct trace_item *item)
{
    while (t->emitted < t->o.packets) {
        if (t->commands_count > 0) {
            *item = t->commands[t->commands_first];
            t->commands_first = (t->commands_first + 1) % trace_commands_max;
            t->commands_count--;
            return true;
        }
        t->clock++;
        if (pending_next(t, item) || turn(t, item)) {
            t->emitted++;
            return true;
        }
    }
    return false;
}

/* ---- what comes back ---- */

static bool receive(struct trace *t, struct trace_session *s)
{
    struct model_record record;
    bool good = true;
    while (model_receiver_next(s->receiver, &record)) {
        t->st.counts[trace_count_opened]++;
        good = good && trace_stream_compare(s->stream, &record);
        if (model_receiver_wants_keys(s->receiver)) {
            struct key_set keys;
            s->epoch = record.epoch + 1;
            trace_stream_keys(s->stream, s->epoch, &keys);
            model_receiver_keys(s->receiver, &keys);
        }
    }
    return good && (!model_receiver_refused(s->receiver) || s->tainted || trace_stream_has_forbidden(s->stream));
}

bool trace_forwarded(struct trace *t, uint32_t session, const uint8_t *frame, size_t bytes)
{
    struct trace_session *const s = find(t, session);
    if (s == NULL || s->stream == NULL)
        return true;
    return model_receiver_frame(s->receiver, frame, bytes) && receive(t, s);
}

void trace_punted(struct trace *t, uint32_t session, enum model_reason reason, const uint8_t *frame, size_t bytes, uint32_t next)
{
    struct trace_session *const s = find(t, session);
    const struct model_headers h = model_parse(frame, bytes, false);
    /* What was forged did not verify, so the host knows no tags of it. */
    if (s == NULL || s->stream == NULL || s->tainted || reason != model_reason_old || h.reason != model_reason_none)
        return;
    /* Around what is acknowledged, sequence numbers are offsets. */
    const int64_t from = (int64_t)s->una + (int32_t)(h.seq - trace_seq(s, s->una));
    const int64_t until = (int64_t)s->una + (int32_t)(next - trace_seq(s, s->una));
    const int64_t end = from + h.payload_bytes < until ? from + h.payload_bytes : until;
    if (from < (int64_t)trace_stream_oldest(s->stream) || end <= from || end - from > trace_segment_max)
        return;
    trace_stream_read_sealed(s->stream, (uint64_t)from, t->payload, (size_t)(end - from));
    model_receiver_bytes(s->receiver, h.seq + s->seq_delta, t->payload, (size_t)(end - from));
    t->st.counts[trace_count_host_answers]++;
    (void)receive(t, s);
}

bool trace_died(struct trace *t, uint32_t session)
{
    struct trace_session *const s = find(t, session);
    if (s == NULL || s->stream == NULL)
        return true;
    if (!s->died) /* its sender does not know at once */
        s->turns_left = s->turns + trace_below(&t->random, 30);
    s->died = true;
    return s->tainted || trace_stream_has_forbidden(s->stream);
}

const struct trace_statistics *trace_statistics_get(const struct trace *t)
{
    return &t->st;
}

void trace_statistics_print(const struct trace *t)
{
    for (unsigned i = 0; i < trace_sort_end; i++)
        printf("%-24s %llu\n", sort_names[i], (unsigned long long)t->st.sorts[i]);
    for (unsigned i = 0; i < trace_count_end; i++)
        printf("%-24s %llu\n", count_names[i], (unsigned long long)t->st.counts[i]);
}
