/* SPDX-License-Identifier: Apache-2.0 */
/* A lane: sessions, rules, and what happens to a packet from its lookup to its way out (docs/card.md sections 2, 3 and 6). */
#include "model.h"

#include <stdlib.h>
#include <string.h>

#include "session_model.h"

enum {
    tcp_fin = 1,
    tcp_syn = 2,
    tcp_rst = 4,
    tcp_ack = 16,
    tcp_urg = 32,
    protocol_tcp = 6,
    squash_window_default = 1024,
    buckets = 1 << 16,
    output_room = 2 * model_frame_max
};

/* Sessions by 5-tuple: chains of a plain hash table. */
struct node {
    struct model_session session;
    struct node *next;
};

struct model_lane {
    struct model_lane_options options;
    struct model_ciphers ciphers;
    struct node *by_flow[buckets];
    struct node *by_index[model_sessions_max];
    struct model_rule rules[model_rules_max];
    bool rule_valid[model_rules_max];
    enum model_action otherwise;
    uint32_t packets;
};

struct model_lane *model_lane_new(const struct model_lane_options *options)
{
    struct model_lane *lane = model_alloc(sizeof *lane);
    if (options != NULL)
        lane->options = *options;
    if (lane->options.seal_limit == 0)
        lane->options.seal_limit = model_seal_limit_default;
    if (lane->options.squash_window == 0)
        lane->options.squash_window = squash_window_default;
    model_ciphers_get(&lane->ciphers);
    return lane;
}

static void session_wipe(struct model_session *s)
{
    model_record_free(s->record);
    model_record_free(s->ring[0]);
    model_record_free(s->ring[1]);
    model_keys_free(s->keys[0]);
    model_keys_free(s->keys[1]);
}

void model_lane_free(struct model_lane *lane)
{
    if (lane == NULL)
        return;
    for (uint32_t i = 0; i < model_sessions_max; i++)
        if (lane->by_index[i] != NULL) {
            session_wipe(&lane->by_index[i]->session);
            free(lane->by_index[i]);
        }
    model_ciphers_free(&lane->ciphers);
    free(lane);
}

static bool flow_equal(const struct model_flow *a, const struct model_flow *b)
{
    return memcmp(a->src, b->src, 16) == 0 && memcmp(a->dst, b->dst, 16) == 0 && a->sport == b->sport && a->dport == b->dport &&
           a->proto == b->proto && a->version == b->version;
}

/* FNV-1a. */
static uint32_t flow_hash(const struct model_flow *f)
{
    const uint8_t rest[6] = {(uint8_t)f->sport, (uint8_t)(f->sport >> 8), (uint8_t)f->dport, (uint8_t)(f->dport >> 8), f->proto,
                             f->version};
    uint32_t h = 2166136261u;
    for (unsigned i = 0; i < 16; i++)
        h = (h ^ f->src[i]) * 16777619u;
    for (unsigned i = 0; i < 16; i++)
        h = (h ^ f->dst[i]) * 16777619u;
    for (unsigned i = 0; i < sizeof rest; i++)
        h = (h ^ rest[i]) * 16777619u;
    return (h ^ h >> 16) % buckets;
}

static struct model_session *find(const struct model_lane *lane, const struct model_flow *flow)
{
    for (struct node *n = lane->by_flow[flow_hash(flow)]; n != NULL; n = n->next)
        if (flow_equal(&n->session.flow_key, flow))
            return &n->session;
    return NULL;
}

static struct model_session *at_index(const struct model_lane *lane, uint32_t index)
{
    return index < model_sessions_max && lane->by_index[index] != NULL ? &lane->by_index[index]->session : NULL;
}

static bool is_session_action(enum model_action action)
{
    return action == model_action_session_forward || action == model_action_session_transcode ||
           action == model_action_session_hold;
}

static uint64_t get_le(const uint8_t *p, unsigned bytes)
{
    uint64_t x = 0;
    for (unsigned i = bytes; i-- > 0;)
        x = x << 8 | p[i];
    return x;
}

/* Finished records that the host knows the tags of. */
static bool ring_install(struct model_session *s, const struct session_state *state)
{
    uint32_t start = s->next;
    const size_t overhead = model_record_text_at(s->tls13) + tls_tag_bytes;
    for (unsigned i = 0; i < 2 && state->track.ring[i] != 0; i++) {
        const size_t bytes = state->track.ring[i];
        if (bytes < overhead || i >= state->track.ring_new)
            return false;
        start -= (uint32_t)bytes;
        struct model_record_state *r = model_record_new(start, s->record->open_seq - 1 - i, s->record->seal_seq - 1 - i, s->epoch);
        r->fragment = (uint16_t)(bytes - tls_header_bytes);
        if (!s->tls13)
            model_put64(r->nonce, model_get64(s->expected_nonce) - 1 - i);
        model_record_begin(r, s->tls13, s->keys[s->set]);
        memcpy(r->seal_tag, state->finish.ring_tag[i], tls_tag_bytes);
        r->tags = true;
        s->ring[i] = r;
    }
    return true;
}

static bool session_install(struct model_session *s, const struct model_ciphers *ciphers, const struct session_state *state)
{
    const struct track_state *t = &state->track;
    s->flow = get_le(state->keys.flow, 8);
    s->window_shift = state->keys.window_shift;
    s->tls13 = (t->flags & track_tls13) != 0;
    s->mirror = (t->flags & track_mirror) != 0;
    s->set = (t->flags & track_set) != 0;
    s->next_keys = (t->flags & track_next) != 0;
    s->seq_delta = t->seq_delta;
    s->ack_delta = t->ack_delta;
    s->tsval_delta = t->tsval_delta;
    s->tsecr_delta = t->tsecr_delta;
    s->epoch = t->epoch;
    s->next = t->next;
    for (unsigned i = 0; i < 2; i++)
        s->keys[i] = model_keys_new(ciphers, &state->keys.set[i]);
    s->record = model_record_new(t->record_start, get_le(t->open_seq, 6), t->seal_seq, t->epoch);
    model_put64(s->expected_nonce, (uint64_t)t->old_seal_seq << 32 | t->old_open_seq);
    if (t->next != t->record_start || (t->flags & (track_dead | track_wait | track_ahead | track_previous)) != 0)
        return false;
    return ring_install(s, state);
}

bool model_session_add(struct model_lane *lane, uint32_t index, const struct model_flow *flow, enum model_action action,
                       const struct session_state *state)
{
    if (index >= model_sessions_max || lane->by_index[index] != NULL || find(lane, flow) != NULL || !is_session_action(action))
        return false;
    struct node *n = model_alloc(sizeof *n);
    n->session.index = index;
    n->session.flow_key = *flow;
    n->session.action = action;
    if (!session_install(&n->session, &lane->ciphers, state)) {
        session_wipe(&n->session);
        free(n);
        return false;
    }
    struct node **bucket = &lane->by_flow[flow_hash(flow)];
    n->next = *bucket;
    *bucket = n;
    lane->by_index[index] = n;
    return true;
}

bool model_session_remove(struct model_lane *lane, uint32_t index)
{
    if (at_index(lane, index) == NULL)
        return false;
    struct node *const gone = lane->by_index[index];
    struct node **link = &lane->by_flow[flow_hash(&gone->session.flow_key)];
    while (*link != gone)
        link = &(*link)->next;
    *link = gone->next;
    lane->by_index[index] = NULL;
    session_wipe(&gone->session);
    free(gone);
    return true;
}

bool model_session_action(struct model_lane *lane, uint32_t index, enum model_action action)
{
    struct model_session *s = at_index(lane, index);
    if (s == NULL || !is_session_action(action))
        return false;
    s->action = action;
    return true;
}

bool model_session_keys(struct model_lane *lane, uint32_t index, unsigned set, const struct key_set *keys)
{
    struct model_session *s = at_index(lane, index);
    if (s == NULL || set > 1)
        return false;
    if ((set == s->set) != s->wait) {
        s->dead = true;
        return false;
    }
    model_keys_free(s->keys[set]);
    s->keys[set] = model_keys_new(&lane->ciphers, keys);
    if (set == s->set) {
        s->wait = false;
    } else {
        s->next_keys = true;
        model_forget_previous(s);
    }
    return true;
}

bool model_rule_set(struct model_lane *lane, unsigned number, const struct model_rule *rule)
{
    if (number >= model_rules_max || (rule != NULL && rule->action > model_action_drop))
        return false;
    lane->rule_valid[number] = rule != NULL;
    if (rule != NULL)
        lane->rules[number] = *rule;
    return true;
}

bool model_rule_default(struct model_lane *lane, enum model_action action)
{
    if (action > model_action_drop)
        return false;
    lane->otherwise = action;
    return true;
}

bool model_session_get(const struct model_lane *lane, uint32_t index, struct model_session_view *view)
{
    const struct model_session *s = at_index(lane, index);
    if (s == NULL)
        return false;
    *view = (struct model_session_view){.next = s->next,
                                        .record_start = s->record->start,
                                        .seal_seq = s->record->seal_seq,
                                        .open_seq = s->record->open_seq,
                                        .dead = s->dead,
                                        .wait = s->wait,
                                        .next_keys = s->next_keys,
                                        .previous = s->previous,
                                        .ahead = s->ahead,
                                        .set = (uint8_t)s->set,
                                        .epoch = s->epoch,
                                        .packets = s->packets,
                                        .bytes = s->bytes};
    return true;
}

bool model_session_find(const struct model_lane *lane, const struct model_flow *flow, uint32_t *index)
{
    const struct model_session *s = find(lane, flow);
    if (s != NULL)
        *index = s->index;
    return s != NULL;
}

static bool masked_equal(const uint8_t *address, const uint8_t *value, const uint8_t *mask)
{
    for (unsigned i = 0; i < 16; i++)
        if (((address[i] ^ value[i]) & mask[i]) != 0)
            return false;
    return true;
}

static bool rule_matches(const struct model_rule *r, const struct model_flow *f)
{
    return (r->version == 0 || r->version == f->version) && (r->any_proto || r->proto == f->proto) && f->sport >= r->sport_min &&
           f->sport <= r->sport_max && f->dport >= r->dport_min && f->dport <= r->dport_max &&
           masked_equal(f->src, r->src, r->src_mask) && masked_equal(f->dst, r->dst, r->dst_mask);
}

static unsigned first_rule(const struct model_lane *lane, const struct model_flow *f)
{
    unsigned i = 0;
    while (i < model_rules_max && !(lane->rule_valid[i] && rule_matches(&lane->rules[i], f)))
        i++;
    return i;
}

static void *grow(void *array, size_t count, size_t *room, size_t element_bytes)
{
    if (count < *room)
        return array;
    *room = *room == 0 ? 16 : 2 * *room;
    void *p = realloc(array, *room * element_bytes);
    model_check(p != NULL, "no memory");
    return p;
}

void model_add_event(struct model_output *out, const struct model_session *s, enum model_event_kind kind, uint16_t detail,
                     uint32_t tcp_seq, const struct model_record_state *record)
{
    out->events = grow(out->events, out->events_count, &out->events_room, sizeof *out->events);
    out->events[out->events_count++] = (struct model_event){.kind = kind,
                                                            .detail = detail,
                                                            .epoch = record != NULL ? record->epoch : 0,
                                                            .index = s->index,
                                                            .packet_id = out->packet_id,
                                                            .flow = s->flow,
                                                            .open_seq = record != NULL ? record->open_seq : 0,
                                                            .tcp_seq = tcp_seq};
}

/* The text is copied: it outlives its record. A packet shows no more text than it has bytes. */
void model_add_mirror(struct model_output *out, const struct model_mirror *m, const uint8_t *text)
{
    out->mirrors = grow(out->mirrors, out->mirrors_count, &out->mirrors_room, sizeof *out->mirrors);
    struct model_mirror *const added = &out->mirrors[out->mirrors_count++];
    *added = *m;
    if (m->bytes > 0) {
        memcpy(out->text + out->text_bytes, text, m->bytes);
        added->text = out->text + out->text_bytes;
        out->text_bytes += m->bytes;
    }
}

void model_output_free(struct model_output *out)
{
    free(out->frame);
    free(out->text);
    free(out->mirrors);
    free(out->events);
    *out = (struct model_output){0};
}

static void output_begin(struct model_output *out, const uint8_t *frame, size_t bytes, uint32_t packet_id)
{
    struct model_output fresh = {.frame = out->frame,
                                 .text = out->text,
                                 .mirrors = out->mirrors,
                                 .events = out->events,
                                 .mirrors_room = out->mirrors_room,
                                 .events_room = out->events_room,
                                 .frame_bytes = bytes,
                                 .packet_id = packet_id};
    if (fresh.frame == NULL) {
        fresh.frame = model_alloc(output_room);
        fresh.text = model_alloc(output_room);
    }
    if (bytes > model_frame_max)
        fresh.frame_bytes = model_frame_max;
    memcpy(fresh.frame, frame, fresh.frame_bytes);
    *out = fresh;
}

static void punt(struct model_output *out, enum model_reason reason, const struct model_session *s)
{
    out->verdict = model_verdict_punt;
    out->punt = (struct model_punt_info){.reason = reason,
                                         .packet_id = out->packet_id,
                                         .frame_bytes = (uint16_t)out->frame_bytes,
                                         .rule = reason == model_reason_rule ? out->rule : 0};
    if (s != NULL) {
        out->punt.has_session = true;
        out->punt.index = s->index;
    }
    if (s != NULL && reason != model_reason_hold) {
        out->punt.numbers = !s->dead;
        out->punt.flow = s->flow;
        out->punt.next = s->next;
        out->punt.record_start = s->record->start;
        out->punt.open_seq = s->record->open_seq;
        out->punt.seal_seq = s->record->seal_seq;
        out->punt.epoch = s->epoch;
    }
}

static void by_rule(const struct model_lane *lane, const struct model_headers *h, struct model_output *out)
{
    out->has_rule = true;
    out->rule = (uint16_t)first_rule(lane, &h->flow);
    const enum model_action action = out->rule < model_rules_max ? lane->rules[out->rule].action : lane->otherwise;
    if (action == model_action_forward)
        out->verdict = model_verdict_forward;
    else if (action == model_action_drop)
        out->verdict = model_verdict_drop;
    else
        punt(out, model_reason_rule, NULL);
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void add32(uint8_t *p, uint32_t delta)
{
    const uint32_t x = get32(p) + delta;
    for (unsigned i = 0; i < 4; i++)
        p[i] = (uint8_t)(x >> (24 - 8 * i));
}

static void put16(uint8_t *p, uint32_t x)
{
    p[0] = (uint8_t)(x >> 8);
    p[1] = (uint8_t)x;
}

/* Section 3, and the checksum over what the packet is now. */
static void rewrite(const struct model_session *s, const struct model_headers *h, uint8_t *frame)
{
    const bool has_ack = (h->tcp_flags & tcp_ack) != 0;
    uint8_t *const tcp = frame + h->l4;
    add32(tcp + 4, s->seq_delta);
    if (has_ack)
        add32(tcp + 8, s->ack_delta);
    for (unsigned i = 0; has_ack && i < 2u * h->sack_blocks; i++)
        add32(frame + h->sack + 4 * i, s->ack_delta);
    if (h->timestamps != 0)
        add32(frame + h->timestamps, s->tsval_delta);
    if (h->timestamps != 0 && has_ack)
        add32(frame + h->timestamps + 4, s->tsecr_delta);
    uint32_t window = (uint32_t)tcp[14] << 8 | tcp[15];
    window = s->window_shift >= 0 ? window << s->window_shift : window >> -s->window_shift;
    if (has_ack)
        put16(tcp + 14, window > 65535 ? 65535 : window);
    put16(tcp + 16, model_l4_checksum(frame, h, (size_t)h->payload - h->l4 + h->payload_bytes));
}

/* The engine says that it squashed the packet: because a KeyUpdate or the end of the session overtook it. */
static bool may_be_squashed(const struct model_lane *lane, const struct model_session *s, const struct model_headers *h,
                            const struct model_output *out)
{
    const bool is_decided = h->payload_bytes > 0 || (h->tcp_flags & (tcp_syn | tcp_urg)) != 0;
    return s->action == model_action_session_transcode && is_decided && s->broken &&
           out->packet_id - s->broken_packet <= lane->options.squash_window;
}

static void squash(struct model_session *s, const struct model_headers *h, struct model_output *out)
{
    out->verdict = model_verdict_drop;
    model_add_event(out, s, model_event_squashed, 0, h->seq, NULL);
}

/* TCP that neither table nor flags send away: section 4, then 3. */
static void by_transcoder(const struct model_lane *lane, struct model_session *s, const struct model_headers *h,
                          struct model_output *out)
{
    enum model_walk_result result = model_walk_done;
    enum model_reason reason = model_reason_none;
    if (h->payload_bytes > 0 && s->action == model_action_session_transcode)
        result = model_transcode(s, lane->options.seal_limit, h, out, &reason);
    switch (result) {
    case model_walk_punted:
        punt(out, reason, s);
        return;
    case model_walk_dropped:
        out->verdict = model_verdict_drop;
        return;
    case model_walk_squashed:
        squash(s, h, out);
        return;
    case model_walk_done:
        break;
    }
    out->verdict = model_verdict_forward;
    rewrite(s, h, out->frame);
    if ((h->tcp_flags & tcp_rst) != 0)
        model_add_event(out, s, model_event_rst, 0, h->seq, NULL);
    else if ((h->tcp_flags & tcp_fin) != 0)
        model_add_event(out, s, model_event_fin, 0, h->seq, NULL);
}

static void by_session(const struct model_lane *lane, struct model_session *s, const struct model_headers *h,
                       struct model_output *out)
{
    out->has_session = true;
    out->index = s->index;
    if (s->action == model_action_session_hold)
        punt(out, model_reason_hold, s);
    else if (h->flow.proto != protocol_tcp && s->action == model_action_session_transcode)
        punt(out, model_reason_protocol, s);
    else if (h->flow.proto != protocol_tcp)
        out->verdict = model_verdict_forward;
    else if ((h->tcp_flags & (tcp_syn | tcp_urg)) != 0)
        punt(out, model_reason_tcp_control, s);
    else
        by_transcoder(lane, s, h, out);
    if (out->verdict == model_verdict_forward) {
        s->packets++;
        s->bytes += out->frame_bytes;
    }
}

void model_packet(struct model_lane *lane, const struct model_input *in, struct model_output *out)
{
    output_begin(out, in->frame, in->bytes, lane->packets++);
    const struct model_headers h = model_parse(in->frame, in->bytes, in->port_error);
    struct model_session *const s = h.reason == model_reason_none ? find(lane, &h.flow) : NULL;
    if (in->squashed) {
        out->illegal = s == NULL || !may_be_squashed(lane, s, &h, out);
        if (!out->illegal) {
            out->has_session = true;
            out->index = s->index;
            squash(s, &h, out);
        }
        return;
    }
    if (h.reason != model_reason_none)
        punt(out, h.reason, NULL);
    else if (s == NULL)
        by_rule(lane, &h, out);
    else
        by_session(lane, s, &h, out);
}
