/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The generator. In each turn a session is drawn, and one thing happens to it: its sender sends, somebody disturbs, the host gives
 * it keys. What is sent passes the network in front of the lane, which loses, doubles and delays.
 */
#include "trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trace_stream.h"

enum {
    sessions_default = 8,
    packets_default = 1000,
    segment_max = 9000,
    window_max = 60000, /* unacknowledged bytes of a sender */
    history = 40000,    /* acknowledged bytes that may be sent again */
    back_max = 3000,    /* an overlap */
    pending_max = 128,  /* frames on their way */
    commands_max = 8,
    timeouts_max = 40, /* without progress */
    turns_max = 4000,  /* of a session */
    protocol_tcp = 6,
    protocol_udp = 17,
    flag_fin = 1,
    flag_syn = 2,
    flag_rst = 4,
    flag_psh = 8,
    flag_ack = 16,
    flag_urg = 32
};

struct session {
    uint32_t number, index;
    struct model_flow flow;
    enum model_action action;
    bool tls13, timestamps, tainted, died, stalled;
    unsigned segment_max;
    uint32_t window;
    struct trace_stream *stream; /* of a transcoding TCP session */
    struct model_receiver *receiver;
    uint32_t isn, seq_delta, ack, tsval;
    uint64_t una, cur, nxt; /* acknowledged; to be sent next; behind what was ever sent */
    unsigned quiet, patience, timeouts, turns, turns_left;
    unsigned wish;                            /* 1 + the class of byte that is to be forged next; 0: none */
    unsigned epoch;                           /* that the lane must have come to, for a KeyUpdate was opened behind it */
    unsigned first_set, keys_given, keys_due; /* keys_due: turns until the next keys are given, 0: none planned */
};

struct pending {
    uint64_t due;
    struct trace_item item;
    uint8_t *frame;
};

struct trace {
    struct trace_options o;
    struct trace_random random;
    struct model_ciphers ciphers;
    struct trace_statistics st;
    struct session **slots;
    uint32_t next_number;
    unsigned emitted;
    uint64_t clock;
    struct pending pending[pending_max];
    unsigned pending_count;
    struct trace_item commands[commands_max];
    unsigned commands_first, commands_count;
    uint8_t *current; /* the frame that was given out last */
    uint8_t payload[2 * model_frame_max];
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

static void session_free(struct session *s)
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

static struct trace_item *command(struct trace *t, enum trace_kind kind, const struct session *s)
{
    model_check(t->commands_count < commands_max, "too many commands");
    struct trace_item *const item = &t->commands[(t->commands_first + t->commands_count++) % commands_max];
    *item = (struct trace_item){.kind = kind, .session = s->number, .index = s->index};
    return item;
}

/* ---- sessions ---- */

static struct model_flow random_flow(struct trace_random *r, uint8_t proto)
{
    struct model_flow f = {.proto = proto, .version = trace_below(r, 3) == 0 ? 6 : 4};
    trace_random_bytes(r, f.src, f.version == 6 ? 16 : 4);
    trace_random_bytes(r, f.dst, f.version == 6 ? 16 : 4);
    f.sport = (uint16_t)trace_between(r, 1024, 65535);
    f.dport = trace_below(r, 2) == 0 ? 443 : (uint16_t)trace_between(r, 1, 65535);
    return f;
}

static unsigned random_segment_max(struct trace_random *r)
{
    static const unsigned choices[] = {16, 100, 300, 536, 1220, 1448, 1448, 1448, 1460, 4000, segment_max};
    const uint32_t which = trace_below(r, sizeof choices / sizeof *choices);
    return trace_below(r, 8) == 0 ? trace_between(r, 1, segment_max) : choices[which];
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

static void choose_kind(struct trace *t, struct session *s)
{
    struct trace_random *const r = &t->random;
    const uint32_t x = t->o.strangers > 0 ? trace_below(r, 100) : 100;
    s->action = model_action_session_transcode;
    s->flow = random_flow(r, protocol_tcp);
    if (x < 5)
        s->action = model_action_session_hold;
    else if (x < 14)
        s->action = model_action_session_forward;
    if (x >= 11 && x < 16) /* some of both */
        s->flow.proto = protocol_udp;
}

static void session_state_make(struct trace *t, struct session *s, struct session_state *state)
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
    struct session *const s = model_alloc(sizeof *s);
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
    if (s->action == model_action_session_transcode && s->flow.proto == protocol_tcp)
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
    struct session *const s = t->slots[slot];
    if (s->stalled && !s->tainted)
        t->st.counts[trace_count_stalled]++;
    else
        t->st.counts[s->stalled || s->died ? trace_count_killed : trace_count_finished]++;
    command(t, trace_remove, s);
    session_free(s);
    t->slots[slot] = NULL;
}

static struct session *find(const struct trace *t, uint32_t number)
{
    for (unsigned i = 0; i < t->o.sessions; i++)
        if (t->slots[i] != NULL && t->slots[i]->number == number)
            return t->slots[i];
    return NULL;
}

/* ---- frames ---- */

static uint32_t seq_of(const struct session *s, uint64_t offset)
{
    return s->isn + (uint32_t)offset;
}

static struct trace_packet packet(struct trace *t, struct session *s)
{
    struct trace_random *const r = &t->random;
    struct trace_packet p = {.flow = s->flow, .tcp_flags = flag_ack, .window = (uint16_t)trace_random64(r)};
    p.filler.state = trace_random64(r);
    if (trace_below(r, 3) == 0)
        s->ack += trace_below(r, 2000);
    p.ack = s->ack;
    if (!t->o.plain_headers) {
        p.vlans = trace_below(r, 2) == 0 ? 0 : (uint8_t)trace_below(r, 3);
        p.ip_option_words = trace_below(r, 5) != 0 ? 0 : (uint8_t)trace_below(r, 11);
        p.extensions = trace_below(r, 4) != 0 ? 0 : (uint8_t)trace_below(r, 5);
        p.hop = trace_below(r, 2) == 0;
        p.timestamps = s->timestamps;
        p.tsval = s->tsval += trace_below(r, 3);
        p.tsecr = s->tsval - trace_below(r, 1000) + 0x12345678;
        p.other_option = trace_below(r, 30) == 0 ? 254 : 0;
        p.padding = trace_below(r, 10) == 0 ? (uint8_t)trace_below(r, 60) : 0;
    }
    return p;
}

static void add_sack(struct trace *t, const struct session *s, struct trace_packet *p)
{
    struct trace_random *const r = &t->random;
    p->sack_blocks = (uint8_t)trace_between(r, 1, p->timestamps || p->other_option != 0 ? 3 : 4);
    if (p->timestamps && p->sack_blocks == 3)
        p->other_option = 0; /* 40 bytes are all there is */
    uint32_t at = s->ack;
    for (unsigned i = 0; i < p->sack_blocks; i++) {
        p->sack[i].left = at += trace_between(r, 1, 3000);
        p->sack[i].right = at += trace_between(r, 1, 3000);
    }
}

static void count_frame(struct trace *t, const struct trace_packet *p, enum trace_sort sort)
{
    uint64_t *const counts = t->st.counts;
    t->st.sorts[sort]++;
    counts[trace_count_vlan] += p->vlans == 1;
    counts[trace_count_vlan2] += p->vlans == 2;
    counts[trace_count_ipv6] += p->flow.version == 6;
    counts[trace_count_ip_options] += p->flow.version == 6 ? p->extensions > 0 : p->ip_option_words > 0;
    counts[trace_count_tcp_options] += p->timestamps || p->sack_blocks > 0 || p->other_option != 0;
}

static void put_aside(struct trace *t, const struct trace_item *item, const uint8_t *frame, uint64_t delay)
{
    if (t->pending_count == pending_max)
        return;
    struct pending *const p = &t->pending[t->pending_count++];
    *p = (struct pending){.due = t->clock + delay, .item = *item, .frame = model_alloc(item->bytes)};
    memcpy(p->frame, frame, item->bytes);
}

/* The frame in t->current passes the network. */
static bool pass_network(struct trace *t, struct trace_item *item)
{
    struct trace_random *const r = &t->random;
    if (trace_chance(r, t->o.loss)) {
        t->st.counts[trace_count_lost]++;
        return false;
    }
    if (trace_chance(r, t->o.loss_behind)) {
        t->st.counts[trace_count_lost_behind]++;
        item->lost_behind = true;
    }
    if (trace_chance(r, t->o.duplicate)) {
        struct trace_item copy = *item;
        copy.sort = trace_sort_duplicate;
        copy.lost_behind = false;
        t->st.sorts[trace_sort_duplicate]++;
        put_aside(t, &copy, t->current, trace_between(r, 1, 3 * t->o.sessions));
    }
    if (trace_chance(r, t->o.late) && t->pending_count < pending_max) {
        t->st.sorts[trace_sort_late]++;
        put_aside(t, item, t->current, trace_between(r, 1, 6 * t->o.sessions));
        return false;
    }
    return true;
}

static bool emit_bytes(struct trace *t, const struct session *s, enum trace_sort sort, size_t bytes, struct trace_item *item)
{
    *item = (struct trace_item){.kind = trace_frame,
                                .session = s != NULL ? s->number : trace_no_session,
                                .index = s != NULL ? s->index : 0,
                                .sort = sort,
                                .frame = t->current,
                                .bytes = bytes,
                                .port_error = sort == trace_sort_port_error};
    return pass_network(t, item);
}

static bool emit(struct trace *t, const struct session *s, enum trace_sort sort, const struct trace_packet *p,
                 struct trace_item *item)
{
    count_frame(t, p, sort);
    return emit_bytes(t, s, sort, trace_build(p, t->current), item);
}

/* ---- what a sender sends ---- */

static size_t segment(struct trace *t, const struct session *s)
{
    struct trace_random *const r = &t->random;
    if (trace_below(r, 3) == 0)
        return trace_between(r, 1, s->segment_max);
    return s->segment_max;
}

/* The segment ends where a record does, as senders like to have it. */
static size_t segment_to_record_end(struct trace *t, struct session *s, uint64_t from, size_t bytes)
{
    trace_stream_extend(s->stream, from + bytes);
    const uint64_t end = trace_stream_record_end(s->stream, from);
    return trace_below(&t->random, 3) == 0 && end < from + bytes ? (size_t)(end - from) : bytes;
}

static bool has_followed_key_update(const struct session *s, uint64_t from, size_t bytes)
{
    return trace_stream_epoch(s->stream, from) != trace_stream_epoch(s->stream, from + bytes - 1);
}

static bool emit_stream(struct trace *t, struct session *s, enum trace_sort sort, uint64_t from, size_t bytes, uint8_t flags,
                        struct trace_item *item)
{
    struct trace_packet p = packet(t, s);
    trace_stream_extend(s->stream, from + bytes);
    trace_stream_read(s->stream, from, t->payload, bytes);
    p.seq = seq_of(s, from);
    p.payload = t->payload;
    p.payload_bytes = bytes;
    p.tcp_flags |= flags | (trace_below(&t->random, 4) == 0 ? flag_psh : 0);
    if (!t->o.plain_headers && trace_below(&t->random, 20) == 0)
        add_sack(t, s, &p);
    return emit(t, s, sort, &p, item);
}

static void sent_until(struct session *s, uint64_t end)
{
    s->cur = end;
    if (s->nxt < end)
        s->nxt = end;
}

static bool send_ack(struct trace *t, struct session *s, struct trace_item *item)
{
    struct trace_packet p = packet(t, s);
    p.seq = seq_of(s, s->cur);
    const bool sack = !t->o.plain_headers && trace_below(&t->random, 2) == 0;
    if (sack)
        add_sack(t, s, &p);
    return emit(t, s, sack ? trace_sort_sack : trace_sort_ack, &p, item);
}

static bool send_data(struct trace *t, struct session *s, uint8_t flags, enum trace_sort sort, struct trace_item *item)
{
    struct trace_random *const r = &t->random;
    if (s->cur >= s->una + s->window)
        return send_ack(t, s, item);
    uint64_t from = s->cur;
    const size_t bytes = segment_to_record_end(t, s, from, segment(t, s));
    if (sort == trace_sort_data && s->cur < s->nxt)
        sort = trace_sort_again;
    if (sort == trace_sort_overlap) {
        const uint64_t oldest = trace_stream_oldest(s->stream);
        const uint64_t back = trace_between(r, 1, back_max < s->segment_max ? back_max : s->segment_max);
        from = from - oldest > back ? from - back : oldest;
        if (from + segment_max < s->cur + bytes)
            from = s->cur;
    }
    const uint64_t end = s->cur + bytes;
    t->st.counts[trace_count_key_updates_followed] += s->cur == s->nxt && has_followed_key_update(s, from, bytes);
    sent_until(s, end);
    return emit_stream(t, s, sort, from, (size_t)(end - from), flags, item);
}

/* Bytes that the receiver has, but others: whoever sends them can change nothing any more. With genuine ones behind them. */
static bool send_altered(struct trace *t, struct session *s, struct trace_item *item)
{
    struct trace_random *const r = &t->random;
    const uint64_t oldest = trace_stream_oldest(s->stream);
    if (s->una == oldest)
        return send_data(t, s, 0, trace_sort_data, item);
    const uint64_t most = s->una - oldest < back_max ? s->una - oldest : back_max;
    const uint64_t from = s->una - trace_between(r, 1, (uint32_t)most);
    uint64_t end = from + trace_between(r, 1, (uint32_t)(s->una - from));
    enum trace_sort sort = trace_sort_altered;
    if (s->cur >= s->una && s->cur - s->una < 3000 && trace_below(r, 2) == 0) {
        sort = trace_sort_altered_overlap;
        end = s->cur + segment(t, s);
        if (end - from > segment_max)
            end = from + segment_max;
        if (end > s->cur)
            sent_until(s, end);
    }
    const size_t bytes = (size_t)(end - from);
    struct trace_packet p = packet(t, s);
    trace_stream_extend(s->stream, end);
    trace_stream_read(s->stream, from, t->payload, bytes);
    for (uint64_t at = from; at < end && at < s->una; at += trace_between(r, 1, 40))
        t->payload[at - from] ^= (uint8_t)trace_between(r, 1, 255);
    p.seq = seq_of(s, from);
    p.payload = t->payload;
    p.payload_bytes = bytes;
    return emit(t, s, sort, &p, item);
}

/* A header that is plausible, or not. */
static uint8_t forged_header_byte(struct trace_random *r, uint8_t byte)
{
    static const uint8_t types[] = {20, 21, 22, 23, 24};
    if (trace_below(r, 3) == 0) {
        const uint8_t type = types[trace_below(r, sizeof types)];
        return type != byte ? type : 0;
    }
    return byte ^ (uint8_t)(1u << trace_below(r, 8));
}

/* The first copy of some byte is not the sender's. */
static bool send_forged(struct trace *t, struct session *s, struct trace_item *item)
{
    struct trace_random *const r = &t->random;
    static const enum trace_sort sorts[] = {trace_sort_forged_text, trace_sort_forged_tag, trace_sort_forged_header};
    if (s->wish == 0)
        s->wish = 1 + trace_below(r, 3);
    const unsigned which = s->wish - 1;
    const size_t bytes = segment(t, s);
    const uint64_t from = s->cur;
    uint64_t place = 0, record;
    unsigned seen = 0;
    trace_stream_extend(s->stream, from + bytes);
    for (uint64_t at = from; at < from + bytes; at++) {
        bool key_update;
        const enum trace_byte kind = trace_stream_byte(s->stream, at, &record, &key_update);
        if (which == (kind == trace_byte_tag ? 1 : kind == trace_byte_header ? 2 : 0) && trace_below(r, ++seen) == 0)
            place = at; /* any of them, each as likely */
    }
    if (seen == 0) /* the wish stays */
        return send_data(t, s, 0, trace_sort_data, item);
    s->wish = 0;
    struct trace_packet p = packet(t, s);
    trace_stream_read(s->stream, from, t->payload, bytes);
    uint8_t *const byte = &t->payload[place - from];
    *byte = which == 2 ? forged_header_byte(r, *byte) : *byte ^ (uint8_t)(1u << trace_below(r, 8));
    p.seq = seq_of(s, from);
    p.payload = t->payload;
    p.payload_bytes = bytes;
    s->tainted = true;
    sent_until(s, from + bytes);
    return emit(t, s, sorts[which], &p, item);
}

static bool send_control(struct trace *t, struct session *s, struct trace_item *item)
{
    struct trace_random *const r = &t->random;
    struct trace_packet p = packet(t, s);
    p.seq = seq_of(s, s->cur);
    switch (trace_below(r, 6)) {
    case 0:
        return send_data(t, s, flag_fin, trace_sort_fin, item);
    case 1:
        p.tcp_flags |= flag_fin;
        return emit(t, s, trace_sort_fin, &p, item);
    case 2:
        p.tcp_flags = (uint8_t)(flag_rst | (trace_below(r, 2) == 0 ? flag_ack : 0));
        return emit(t, s, trace_sort_rst, &p, item);
    case 3:
        p.tcp_flags = flag_syn;
        if (trace_below(r, 2) == 0) {
            p.payload = (const uint8_t *)"SYN data";
            p.payload_bytes = 8;
        }
        return emit(t, s, trace_sort_syn, &p, item);
    case 4: {
        const size_t bytes = trace_between(r, 1, s->segment_max);
        return emit_stream(t, s, trace_sort_urgent, s->cur, bytes, flag_urg, item);
    }
    default:
        p.seq = seq_of(s, s->cur) + (1 << 20) + trace_below(r, UINT32_MAX - (1 << 21));
        if (trace_below(r, 8) == 0)
            p.seq = seq_of(s, s->cur) + 0x80000000u - trace_below(r, 3);
        p.payload_bytes = trace_between(r, 1, 1460);
        trace_random_bytes(r, t->payload, p.payload_bytes);
        p.payload = t->payload;
        return emit(t, s, trace_sort_far, &p, item);
    }
}

/* ---- what others send ---- */

static bool send_stranger(struct trace *t, struct session *s, struct trace_item *item)
{
    static const uint8_t protocols[] = {1, 2, 47, 58, 59, 132};
    struct trace_random *const r = &t->random;
    struct trace_packet p = packet(t, s);
    enum trace_sort sort = trace_sort_unknown;
    p.payload = t->payload;
    p.payload_bytes = trace_below(r, 1400);
    trace_random_bytes(r, t->payload, p.payload_bytes);
    if (trace_below(r, 3) != 0)
        p.flow = random_flow(r, protocol_tcp);
    else
        p.flow.sport ^= (uint16_t)trace_between(r, 1, 65535);
    switch (trace_below(r, 3)) {
    case 0:
        sort = trace_sort_udp;
        p.flow.proto = protocol_udp;
        p.no_udp_checksum = trace_below(r, 3) == 0;
        break;
    case 1:
        sort = trace_sort_other_protocol;
        p.flow.proto = protocols[trace_below(r, sizeof protocols)];
        break;
    default:
        p.seq = (uint32_t)trace_random64(r);
        p.tcp_flags = (uint8_t)trace_below(r, 64);
        break;
    }
    return emit(t, NULL, sort, &p, item);
}

static const uint8_t refused_extensions[] = {50, 51, 135, 139, 140, 253, 254, 1};

static bool damage_frame(struct trace *t, struct trace_packet *p, enum trace_sort sort, struct trace_item *item)
{
    struct trace_random *const r = &t->random;
    static const uint16_t types[] = {0x0806, 0x88cc, 0x8847, 0x05dc, 0x9100};
    size_t bytes = trace_build(p, t->current);
    const struct model_headers h = model_parse(t->current, bytes, false);
    const size_t l3 = 14 + 4u * p->vlans;
    switch (sort) {
    case trace_sort_cut:
        bytes = trace_between(r, 1, trace_below(r, 2) == 0 && bytes > 120 ? 120 : (uint32_t)bytes - 1);
        break;
    case trace_sort_bad_header:
        t->current[trace_below(r, h.reason == model_reason_none ? h.payload : 54)] ^= (uint8_t)(1u << trace_below(r, 8));
        break;
    case trace_sort_bad_checksum:
        if (h.l4 != 0)
            t->current[h.l4 + (h.flow.proto == protocol_udp ? 6u : 16u) + trace_below(r, 2)] ^= (uint8_t)(1u << trace_below(r, 8));
        break;
    case trace_sort_not_ip:
        if (p->vlans < 3) {
            const uint16_t type = types[trace_below(r, sizeof types / sizeof *types)];
            t->current[l3 - 2] = (uint8_t)(type >> 8);
            t->current[l3 - 1] = (uint8_t)type;
        }
        break;
    case trace_sort_oversize:
        bytes = trace_between(r, model_frame_max + 1, 2 * model_frame_max);
        break;
    default:
        break;
    }
    count_frame(t, p, sort);
    return emit_bytes(t, NULL, sort, bytes, item);
}

/* Genuine bytes of the sender, in a frame that something is wrong with. They count as never sent. */
static bool send_broken(struct trace *t, struct session *s, struct trace_item *item)
{
    static const enum trace_sort sorts[] = {trace_sort_cut,          trace_sort_bad_header, trace_sort_bad_header,
                                            trace_sort_bad_checksum, trace_sort_fragment,   trace_sort_extension,
                                            trace_sort_not_ip,       trace_sort_oversize,   trace_sort_port_error};
    struct trace_random *const r = &t->random;
    enum trace_sort sort = sorts[trace_below(r, sizeof sorts / sizeof *sorts)];
    struct trace_packet p = packet(t, s);
    const size_t bytes = trace_between(r, 1, s->segment_max);
    if (trace_below(r, 8) == 0)
        p.flow = random_flow(r, protocol_udp);
    trace_stream_extend(s->stream, s->cur + bytes);
    trace_stream_read(s->stream, s->cur, t->payload, bytes);
    p.seq = seq_of(s, s->cur);
    p.payload = t->payload;
    p.payload_bytes = bytes;
    p.fragment = sort == trace_sort_fragment;
    if (sort == trace_sort_extension && p.flow.version == 4)
        p.flow = random_flow(r, protocol_tcp);
    if (sort == trace_sort_extension && p.flow.version == 4)
        sort = trace_sort_bad_checksum;
    if (sort == trace_sort_extension) {
        p.extensions = trace_below(r, 3) == 0 ? 5 : (uint8_t)trace_between(r, 1, 3);
        p.refused_extension = p.extensions == 5 ? 0 : refused_extensions[trace_below(r, sizeof refused_extensions)];
    }
    if (sort == trace_sort_bad_header && trace_below(r, 4) == 0)
        p.other_option = trace_below(r, 2) == 0 ? 5 : 8; /* of a length that cannot be */
    if (sort == trace_sort_not_ip && trace_below(r, 2) == 0)
        p.vlans = 3;
    return damage_frame(t, &p, sort, item);
}

/* A session whose payload is nobody's business. */
static bool turn_plain(struct trace *t, struct session *s, struct trace_item *item)
{
    struct trace_random *const r = &t->random;
    struct trace_packet p = packet(t, s);
    p.seq = (uint32_t)trace_random64(r);
    p.payload = t->payload;
    p.payload_bytes = trace_below(r, 4) == 0 ? 0 : trace_below(r, s->segment_max);
    trace_random_bytes(r, t->payload, p.payload_bytes);
    p.tcp_flags = trace_below(r, 4) == 0 ? (uint8_t)trace_below(r, 64) : flag_ack;
    p.no_udp_checksum = trace_below(r, 3) == 0;
    if (!t->o.plain_headers && trace_below(r, 5) == 0)
        add_sack(t, s, &p);
    return emit(t, s, s->action == model_action_session_hold ? trace_sort_hold : trace_sort_plain, &p, item);
}

/* ---- turns ---- */

/* Acknowledgements arrive, or time passes. */
static void hear(struct trace *t, struct session *s)
{
    if (trace_below(&t->random, 2) == 0) {
        const uint32_t ack = model_receiver_ack(s->receiver) - s->seq_delta;
        const uint32_t step = ack - seq_of(s, s->una);
        if (step > 0) {
            s->una += step;
            s->quiet = s->timeouts = 0;
            if (s->cur < s->una)
                sent_until(s, s->una);
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
static void give_keys(struct trace *t, struct session *s)
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

static bool turn_stream(struct trace *t, struct session *s, struct trace_item *item)
{
    struct trace_random *const r = &t->random;
    if (trace_chance(r, t->o.acks))
        return send_ack(t, s, item);
    if (trace_chance(r, t->o.control))
        return send_control(t, s, item);
    if (trace_chance(r, t->o.strangers))
        return send_stranger(t, s, item);
    if (trace_chance(r, t->o.broken))
        return send_broken(t, s, item);
    if (s->wish > 0 || trace_chance(r, t->o.forged))
        return send_forged(t, s, item);
    if (trace_chance(r, t->o.altered))
        return send_altered(t, s, item);
    if (trace_chance(r, t->o.overlap))
        return send_data(t, s, 0, trace_sort_overlap, item);
    return send_data(t, s, 0, trace_sort_data, item);
}

static bool is_done(const struct session *s)
{
    return s->stalled || s->turns > s->turns_left;
}

/* One thing happens. true: item is a frame. */
static bool turn(struct trace *t, struct trace_item *item)
{
    const unsigned slot = trace_below(&t->random, t->o.sessions);
    struct session *s = t->slots[slot];
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
        return turn_plain(t, s, item);
    }
    hear(t, s);
    s->tainted = s->tainted || trace_stream_has_forbidden(s->stream);
    if (is_done(s)) {
        session_end(t, slot);
        return false;
    }
    give_keys(t, s);
    return t->commands_count == 0 && turn_stream(t, s, item);
}

static bool pending_next(struct trace *t, struct trace_item *item)
{
    for (unsigned i = 0; i < t->pending_count; i++) {
        struct pending *const p = &t->pending[i];
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
            t->commands_first = (t->commands_first + 1) % commands_max;
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

static bool receive(struct trace *t, struct session *s)
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
    struct session *const s = find(t, session);
    if (s == NULL || s->stream == NULL)
        return true;
    return model_receiver_frame(s->receiver, frame, bytes) && receive(t, s);
}

void trace_punted(struct trace *t, uint32_t session, enum model_reason reason, const uint8_t *frame, size_t bytes, uint32_t next)
{
    struct session *const s = find(t, session);
    const struct model_headers h = model_parse(frame, bytes, false);
    /* What was forged did not verify, so the host knows no tags of it. */
    if (s == NULL || s->stream == NULL || s->tainted || reason != model_reason_old || h.reason != model_reason_none)
        return;
    /* Around what is acknowledged, sequence numbers are offsets. */
    const int64_t from = (int64_t)s->una + (int32_t)(h.seq - seq_of(s, s->una));
    const int64_t until = (int64_t)s->una + (int32_t)(next - seq_of(s, s->una));
    const int64_t end = from + h.payload_bytes < until ? from + h.payload_bytes : until;
    if (from < (int64_t)trace_stream_oldest(s->stream) || end <= from || end - from > segment_max)
        return;
    trace_stream_read_sealed(s->stream, (uint64_t)from, t->payload, (size_t)(end - from));
    model_receiver_bytes(s->receiver, h.seq + s->seq_delta, t->payload, (size_t)(end - from));
    t->st.counts[trace_count_host_answers]++;
    (void)receive(t, s);
}

bool trace_died(struct trace *t, uint32_t session)
{
    struct session *const s = find(t, session);
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
