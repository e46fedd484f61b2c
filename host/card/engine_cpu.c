/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cpu engine: the whole of docs/card.md on the host, at once, in the caller's thread.
 *
 *   send ─▶ parse ─▶ find ─┬─ session ─▶ segment ─▶ rewrite ─▶ outputs ─▶ receive, events, mirrored
 *           a burst at a   └─ none ──▶ rules ──────────────────┘
 *           time             one frame at a time
 *
 * Parsing and finding do not change anything, and no command comes in between: so they are done for a burst together, and the
 * cache misses of a burst's tables and sessions overlap.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "card/engine_impl.h"
#include "card/outputs.h"
#include "card/parse.h"
#include "card/rewrite.h"
#include "card/rules.h"
#include "card/segment.h"
#include "card/sessions.h"
#include "card/sum.h"

enum { PROTO_TCP = 6 };

struct cpu_lane {
    struct sl_cpu_rules rules;
    struct sl_cpu_segment_lane segment;
    uint32_t packets; /* so many have come: the next one's id */
    uint64_t frames_in, bytes_in, frames_out, bytes_out, punts, drops;
    uint64_t punted_for[SL_CARD_REASONS];
};

struct cpu_engine {
    struct sl_engine head;
    const struct sl_gcm_engine *gcm;
    uint32_t seal_limit;
    struct sl_cpu_sessions sessions;
    struct sl_cpu_outputs *out;
    struct cpu_lane lane[SL_ENGINE_LANES];
};

static struct cpu_engine *cpu_engine(struct sl_engine *engine)
{
    return (struct cpu_engine *)(void *)engine;
}

static const struct cpu_engine *cpu_engine_const(const struct sl_engine *engine)
{
    return (const struct cpu_engine *)(const void *)engine;
}

/* ---- frames ---- */

/* One frame on its way through. */
struct frame {
    const struct sl_engine_frame *given;
    struct sl_cpu_headers headers;
    uint32_t count; /* bytes that can leave: what is longer than a frame may be is cut */
    uint32_t packet_id;
    uint8_t *to;
    uint64_t now_ns;
};

static void result(struct cpu_engine *e, const struct frame *f, enum sl_frame_out kind, const struct card_punt *punt)
{
    struct sl_engine_result r = {.count = f->count, .lane = f->given->lane, .kind = (uint8_t)kind};
    if (punt != NULL)
        r.punt = *punt;
    sl_cpu_outputs_add_result(e->out, &r);
}

static void send_on(struct cpu_engine *e, const struct frame *f)
{
    struct cpu_lane *lane = &e->lane[f->given->lane];
    lane->frames_out++;
    lane->bytes_out += f->count;
    result(e, f, SL_FRAME_TX, NULL);
}

static void send_unchanged(struct cpu_engine *e, const struct frame *f)
{
    memcpy(f->to, f->given->bytes, f->count);
    send_on(e, f);
}

static void drop(struct cpu_engine *e, const struct frame *f)
{
    e->lane[f->given->lane].drops++;
}

/* h NULL: no session, or one of which nothing but the index is told. */
static void punt(struct cpu_engine *e, const struct frame *f, struct card_punt p, const struct sl_cpu_half *h)
{
    p.packet_id = f->packet_id;
    p.frame_bytes = (uint16_t)f->count;
    p.lane = f->given->lane;
    if (h != NULL) {
        p.flow = h->flow;
        p.next = h->next;
        p.record_start = h->record_start;
        p.open_seq = h->open_seq;
        p.seal_seq = h->seal_seq;
        p.epoch = h->epoch;
    }
    e->lane[f->given->lane].punts++;
    e->lane[f->given->lane].punted_for[p.reason]++;
    memcpy(f->to, f->given->bytes, f->count);
    result(e, f, SL_FRAME_PUNT, &p);
}

static void by_rules(struct cpu_engine *e, const struct frame *f)
{
    uint16_t number;
    switch (sl_cpu_rules_find(&e->lane[f->given->lane].rules, &f->headers.key, &number)) {
    case SL_CARD_FORWARD:
        send_unchanged(e, f);
        break;
    case SL_CARD_DROP:
        drop(e, f);
        break;
    default:
        punt(e, f, (struct card_punt){.reason = SL_PUNT_RULE, .rule = number}, NULL);
        break;
    }
}

static void count_session(const struct frame *f, struct sl_cpu_half *h)
{
    h->packets++;
    h->bytes += f->count;
    h->last_ns = f->now_ns;
}

/* TCP without SYN and URG, of a session that is not held. */
static void by_segment(struct cpu_engine *e, const struct frame *f, struct sl_cpu_half *h, uint32_t index, bool transcode)
{
    struct sl_cpu_segment_lane *lane = &e->lane[f->given->lane].segment;
    const struct sl_cpu_headers *headers = &f->headers;
    const uint8_t *bytes = f->given->bytes;
    const size_t behind = (size_t)headers->payload + headers->payload_bytes;
    const struct sl_cpu_segment s = {headers, bytes + headers->payload, f->to + headers->payload, index, f->packet_id};
    uint32_t payload_sum = headers->payload_sum;
    if (transcode && headers->payload_bytes > 0) {
        enum sl_card_reason reason;
        switch (sl_cpu_segment_transcode(lane, h, &s, &reason)) {
        case SL_CPU_SEGMENT_PUNTED:
            punt(e, f, (struct card_punt){.reason = (uint8_t)reason, .index = index, .has_session = true}, h);
            return;
        case SL_CPU_SEGMENT_SQUASHED:
            sl_cpu_segment_event(lane, h, &s, SL_CARD_EVENT_SQUASHED, headers->seq);
            drop(e, f);
            return;
        case SL_CPU_SEGMENT_DROPPED:
            drop(e, f);
            return;
        case SL_CPU_SEGMENT_DONE:
            break;
        }
        payload_sum = sl_cpu_sum(s.to, headers->payload_bytes);
    } else {
        memcpy(s.to, s.in, headers->payload_bytes);
    }
    memcpy(f->to, bytes, headers->payload);
    memcpy(f->to + behind, bytes + behind, f->count - behind);
    sl_cpu_rewrite(h, headers, f->to, payload_sum);
    if ((headers->tcp_flags & SL_TCP_RST) != 0)
        sl_cpu_segment_event(lane, h, &s, SL_CARD_EVENT_RST, headers->seq);
    else if ((headers->tcp_flags & SL_TCP_FIN) != 0)
        sl_cpu_segment_event(lane, h, &s, SL_CARD_EVENT_FIN, headers->seq);
    count_session(f, h);
    send_on(e, f);
}

static void by_session(struct cpu_engine *e, const struct frame *f, const struct sl_flow_entry *entry)
{
    const uint32_t index = entry->index;
    struct sl_cpu_half *h = sl_cpu_sessions_half(entry, f->given->lane);
    const bool transcode = entry->action == SL_CARD_SESSION_TRANSCODE;
    struct card_punt p = {.index = index, .has_session = true};
    if (entry->action == SL_CARD_SESSION_HOLD) {
        p.reason = SL_PUNT_HOLD;
        punt(e, f, p, NULL);
    } else if (f->headers.proto != PROTO_TCP && transcode) {
        p.reason = SL_PUNT_PROTOCOL;
        punt(e, f, p, h);
    } else if (f->headers.proto != PROTO_TCP) {
        count_session(f, h);
        send_unchanged(e, f);
    } else if ((f->headers.tcp_flags & (SL_TCP_SYN | SL_TCP_URG)) != 0) {
        p.reason = SL_PUNT_TCP_CONTROL;
        punt(e, f, p, h);
    } else {
        by_segment(e, f, h, index, transcode);
    }
}

static void by_headers(struct cpu_engine *e, struct frame *f, const struct sl_flow_entry *entry)
{
    f->packet_id = e->lane[f->given->lane].packets++;
    if (f->headers.reason != SL_PUNT_NONE)
        punt(e, f, (struct card_punt){.reason = (uint8_t)f->headers.reason}, NULL);
    else if (entry == NULL)
        by_rules(e, f);
    else
        by_session(e, f, entry);
}

/* Frames of any kind in, an entry for each: of its session, if it can have one. */
static void look_up(const struct cpu_engine *e, struct frame *frames, size_t count, struct sl_flow_entry **entry)
{
    struct sl_flow_key keys[SL_FLOW_BURST];
    struct sl_flow_entry *found[SL_FLOW_BURST];
    uint8_t asked[SL_FLOW_BURST];
    size_t asks = 0;
    for (size_t i = 0; i < count; i++) {
        const struct sl_engine_frame *given = frames[i].given;
        entry[i] = NULL;
        if (given->kind == SL_FRAME_TRANSMIT || given->lane >= SL_ENGINE_LANES)
            continue;
        sl_cpu_parse(&frames[i].headers, given->bytes, given->count, given->damaged);
        if (frames[i].headers.reason != SL_PUNT_NONE)
            continue;
        keys[asks] = given->lane == 0 ? frames[i].headers.key : sl_flow_key_reversed(&frames[i].headers.key);
        asked[asks++] = (uint8_t)i;
    }
    sl_flow_table_find(e->sessions.table, keys, asks, found);
    for (size_t i = 0; i < asks; i++) {
        entry[asked[i]] = found[i];
        if (found[i] == NULL)
            continue;
        const uint8_t *half = found[i]->owned[frames[asked[i]].given->lane];
        for (size_t line = 0; line < sizeof(struct sl_cpu_half); line += 64)
            __builtin_prefetch(half + line);
    }
}

/* Gives how many of the burst were taken. */
static size_t take_burst(struct cpu_engine *e, const struct sl_engine_frame *given, size_t count, uint64_t now_ns)
{
    struct frame frames[SL_FLOW_BURST];
    struct sl_flow_entry *entry[SL_FLOW_BURST];
    for (size_t i = 0; i < count; i++) {
        frames[i].given = &given[i];
        frames[i].count = given[i].count < SL_ENGINE_FRAME_MAX ? given[i].count : SL_ENGINE_FRAME_MAX;
        frames[i].now_ns = now_ns;
    }
    look_up(e, frames, count, entry);
    for (size_t i = 0; i < count; i++) {
        if (given[i].lane >= SL_ENGINE_LANES) { /* there is no such lane: nothing can be made of it */
            e->lane[0].drops++;
            continue;
        }
        struct cpu_lane *lane = &e->lane[given[i].lane];
        frames[i].to = sl_cpu_outputs_frame(e->out);
        if (frames[i].to == NULL)
            return i;
        lane->frames_in++;
        lane->bytes_in += given[i].count;
        const bool bad = given[i].count > SL_ENGINE_FRAME_MAX || given[i].damaged;
        if (given[i].count == 0 || (bad && given[i].kind != SL_FRAME_RX))
            drop(e, &frames[i]);
        else if (given[i].kind != SL_FRAME_TRANSMIT)
            by_headers(e, &frames[i], entry[i]);
        else
            send_unchanged(e, &frames[i]);
    }
    return count;
}

static size_t cpu_send(struct sl_engine *engine, const struct sl_engine_frame *frames, size_t count)
{
    struct cpu_engine *e = cpu_engine(engine);
    const uint64_t now_ns = sl_clock_system()->mono_ns(sl_clock_system()->arg);
    size_t taken = 0;
    while (taken < count) {
        const size_t burst = count - taken < SL_FLOW_BURST ? count - taken : SL_FLOW_BURST;
        const size_t n = take_burst(e, frames + taken, burst, now_ns);
        taken += n;
        if (n < burst)
            break;
    }
    return taken;
}

static size_t cpu_receive(struct sl_engine *engine, struct sl_engine_result *out, size_t max)
{
    return sl_cpu_outputs_results(cpu_engine(engine)->out, out, max);
}

/* ---- commands ---- */

static bool is_session_action(unsigned action)
{
    return action >= SL_CARD_SESSION_FORWARD && action <= SL_CARD_SESSION_HOLD;
}

static bool all_zero(const uint8_t *p, size_t count)
{
    uint8_t any = 0;
    for (size_t i = 0; i < count; i++)
        any |= p[i];
    return any == 0;
}

static bool key_of(const struct sl_engine_flow_key *given, struct sl_flow_key *key)
{
    if (given->version != 4 && given->version != 6)
        return false;
    if (given->version == 4 && !(all_zero(given->src + 4, 12) && all_zero(given->dst + 4, 12)))
        return false;
    memcpy(&key->word[0], given->src, 16);
    memcpy(&key->word[2], given->dst, 16);
    key->word[4] = sl_flow_key_tail(given->sport, given->dport, given->proto, given->version);
    return true;
}

static sl_err install(struct cpu_engine *e, const struct sl_engine_command *c)
{
    struct sl_flow_key key;
    if (c->flow == 0 || !is_session_action(c->action) || !key_of(&c->key, &key) || !sl_cpu_half_state_is_sound(&c->state[0]) ||
        !sl_cpu_half_state_is_sound(&c->state[1]))
        return SL_ERR_INVALID;
    return sl_cpu_sessions_add(&e->sessions, c->flow, &key, c->action, c->state);
}

static void tell_counters(const struct sl_flow_entry *entry, struct sl_engine_completion *done)
{
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++) {
        const struct sl_cpu_half *h = sl_cpu_sessions_half(entry, i);
        done->lane[i] = (struct sl_engine_lane_counters){h->packets, h->bytes, h->last_ns};
    }
}

static sl_err of_session(struct cpu_engine *e, const struct sl_engine_command *c, struct sl_engine_completion *done)
{
    const uint32_t index = sl_flow_ids_find(&e->sessions.ids, c->flow);
    if (index == SL_FLOW_IDS_NONE)
        return SL_ERR_NOT_FOUND;
    struct sl_flow_entry *entry = sl_flow_table_entry(e->sessions.table, index);
    switch (c->op) {
    case SL_ENGINE_CHANGE:
        if (!is_session_action(c->action))
            return SL_ERR_INVALID;
        entry->action = c->action;
        return SL_OK;
    case SL_ENGINE_KEYS:
        if (c->lane >= SL_ENGINE_LANES || c->set > 1 || c->keys.long_keys > 3)
            return SL_ERR_INVALID;
        sl_cpu_half_set_keys(e->sessions.pool, sl_cpu_sessions_half(entry, c->lane), c->set, &c->keys);
        return SL_OK;
    case SL_ENGINE_REMOVE:
        tell_counters(entry, done);
        sl_cpu_sessions_remove(&e->sessions, index);
        return SL_OK;
    default:
        tell_counters(entry, done);
        return SL_OK;
    }
}

/* As after open. */
static void lanes_init(struct cpu_engine *e)
{
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++) {
        e->lane[i] = (struct cpu_lane){
            .segment = {.pool = e->sessions.pool, .out = e->out, .seal_limit = e->seal_limit, .lane = (uint8_t)i}};
        sl_cpu_rules_init(&e->lane[i].rules);
    }
}

static sl_err reset(struct cpu_engine *e)
{
    const sl_err err = sl_cpu_sessions_reset(&e->sessions);
    if (err != SL_OK)
        return err;
    sl_cpu_outputs_wipe_records(e->out);
    lanes_init(e);
    return SL_OK;
}

static sl_err execute(struct cpu_engine *e, const struct sl_engine_command *c, struct sl_engine_completion *done)
{
    switch (c->op) {
    case SL_ENGINE_INSTALL:
        return install(e, c);
    case SL_ENGINE_CHANGE:
    case SL_ENGINE_KEYS:
    case SL_ENGINE_REMOVE:
    case SL_ENGINE_QUERY:
        return of_session(e, c, done);
    case SL_ENGINE_RULE:
        return c->lane < SL_ENGINE_LANES ? sl_cpu_rules_set(&e->lane[c->lane].rules, c->number, &c->rule) : SL_ERR_INVALID;
    case SL_ENGINE_DEFAULT:
        return c->lane < SL_ENGINE_LANES ? sl_cpu_rules_set_default(&e->lane[c->lane].rules, c->action) : SL_ERR_INVALID;
    case SL_ENGINE_RESET:
        return reset(e);
    }
    return SL_ERR_INVALID;
}

static sl_err cpu_submit(struct sl_engine *engine, const struct sl_engine_command *command)
{
    struct cpu_engine *e = cpu_engine(engine);
    if (!sl_cpu_outputs_completion_room(e->out))
        return SL_ERR_AGAIN;
    struct sl_engine_completion done = {.cookie = command->cookie, .flow = command->flow, .op = command->op};
    done.status = execute(e, command, &done);
    sl_cpu_outputs_add_completion(e->out, &done);
    return SL_OK;
}

static size_t cpu_completions(struct sl_engine *engine, struct sl_engine_completion *out, size_t max)
{
    return sl_cpu_outputs_completions(cpu_engine(engine)->out, out, max);
}

/* ---- what else is fetched ---- */

static size_t cpu_events(struct sl_engine *engine, struct card_event *out, size_t max)
{
    return sl_cpu_outputs_events(cpu_engine(engine)->out, out, max);
}

static size_t cpu_mirrored(struct sl_engine *engine, struct sl_engine_mirror *out, size_t max)
{
    return sl_cpu_outputs_records(cpu_engine(engine)->out, out, max);
}

static void cpu_counters(const struct sl_engine *engine, struct sl_engine_counters *out)
{
    const struct cpu_engine *e = cpu_engine_const(engine);
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++) {
        const struct cpu_lane *lane = &e->lane[i];
        out->frames_in[i] = lane->frames_in;
        out->bytes_in[i] = lane->bytes_in;
        out->frames_out[i] = lane->frames_out;
        out->bytes_out[i] = lane->bytes_out;
        out->punts[i] = lane->punts;
        out->drops[i] = lane->drops;
        for (unsigned reason = 0; reason < SL_CARD_REASONS; reason++)
            out->punted_for[reason] += lane->punted_for[reason];
        out->mirrored_records += lane->segment.mirrored_records;
        out->mirror_refused += lane->segment.mirror_refused;
    }
    out->events = sl_cpu_outputs_events_total(e->out);
    out->sessions = sl_flow_table_count(e->sessions.table);
}

/* ---- open, close ---- */

static void cpu_info(const struct sl_engine *engine, struct sl_engine_info *out)
{
    const struct cpu_engine *e = cpu_engine_const(engine);
    const char *name = sl_gcm_engine_name(e->gcm);
    out->kind = "cpu";
    const size_t length = strlen(name);
    memcpy(out->device, name, length < sizeof(out->device) ? length : sizeof(out->device) - 1);
    out->interface = card_interface_version;
    out->sessions = (uint32_t)e->sessions.room;
    out->rules = SL_ENGINE_RULES;
    out->device_bytes = (uint32_t)sl_cpu_sessions_bytes_each(&e->sessions);
}

static void cpu_close(struct sl_engine *engine)
{
    struct cpu_engine *e = cpu_engine(engine);
    sl_cpu_sessions_free(&e->sessions);
    sl_cpu_outputs_free(e->out);
    free(e);
}

static const struct sl_engine_operations operations = {.close = cpu_close,
                                                       .info = cpu_info,
                                                       .submit = cpu_submit,
                                                       .completions = cpu_completions,
                                                       .send = cpu_send,
                                                       .receive = cpu_receive,
                                                       .events = cpu_events,
                                                       .mirrored = cpu_mirrored,
                                                       .counters = cpu_counters};

/* The best one that gets at any byte of a record. */
static const struct sl_gcm_engine *choose_gcm(const char *name)
{
    size_t count;
    const struct sl_gcm_engine *const *engines = sl_gcm_engines(&count);
    const struct sl_gcm_engine *usual = name == NULL ? sl_gcm_engine_default() : sl_gcm_engine_find(name);
    if (name != NULL || sl_gcm_has_positions(usual))
        return usual != NULL && sl_gcm_has_positions(usual) ? usual : NULL;
    for (size_t i = 0; i < count; i++)
        if (sl_gcm_has_positions(engines[i]))
            return engines[i];
    return NULL;
}

sl_err sl_engine_open_cpu(const struct sl_engine_options *options, struct sl_engine **out, struct sl_diag *diag)
{
    const uint32_t sessions = options->sessions != 0 ? options->sessions : SL_ENGINE_SESSIONS_MAX;
    const uint32_t seal_limit = options->seal_limit != 0 ? options->seal_limit : SL_CARD_SEAL_LIMIT_DEFAULT;
    const struct sl_gcm_engine *gcm = choose_gcm(options->gcm);
    if (gcm == NULL)
        return sl_fail(diag, SL_ERR_INVALID, "there is no AES-GCM engine %s with random access: leave the choice to Sluice",
                       options->gcm != NULL ? options->gcm : "at all");
    if (seal_limit < SL_CARD_SEAL_LIMIT_LEAST || seal_limit > SL_CARD_SEAL_LIMIT_DEFAULT)
        return sl_fail(diag, SL_ERR_INVALID, "a seal limit of %u records is not between %d and %d", seal_limit,
                       SL_CARD_SEAL_LIMIT_LEAST, SL_CARD_SEAL_LIMIT_DEFAULT);
    if (sessions > SL_FLOWS_MAX)
        return sl_fail(diag, SL_ERR_INVALID, "%u sessions are more than the %d that the cpu engine takes", sessions, SL_FLOWS_MAX);
    struct cpu_engine *e = calloc(1, sizeof(*e));
    if (e == NULL)
        return sl_fail(diag, SL_ERR_NOMEM, "no memory for the cpu engine");
    e->head.operations = &operations;
    e->gcm = gcm;
    e->seal_limit = seal_limit;
    sl_err err = sl_cpu_outputs_new(&e->out);
    if (err == SL_OK)
        err = sl_cpu_sessions_init(&e->sessions, gcm, sessions);
    if (err != SL_OK) {
        cpu_close(&e->head);
        return sl_fail(diag, err, "the cpu engine cannot have room for %u sessions: %s", sessions, sl_err_str(err));
    }
    lanes_init(e);
    *out = &e->head;
    return SL_OK;
}
