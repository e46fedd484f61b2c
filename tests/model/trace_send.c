/* SPDX-License-Identifier: Apache-2.0 */
/* The packets: genuine ones, doubtful ones, forged ones, and broken ones; and the network that they pass. */
#include <string.h>

#include "trace_session.h"

enum {
    back_max = 3000, /* an overlap */
    flag_fin = 1,
    flag_syn = 2,
    flag_rst = 4,
    flag_psh = 8,
    flag_ack = 16,
    flag_urg = 32
};

struct model_flow trace_random_flow(struct trace_random *r, uint8_t proto)
{
    struct model_flow f = {.proto = proto, .version = trace_below(r, 3) == 0 ? 6 : 4};
    trace_random_bytes(r, f.src, f.version == 6 ? 16 : 4);
    trace_random_bytes(r, f.dst, f.version == 6 ? 16 : 4);
    f.sport = (uint16_t)trace_between(r, 1024, 65535);
    f.dport = trace_below(r, 2) == 0 ? 443 : (uint16_t)trace_between(r, 1, 65535);
    return f;
}

uint32_t trace_seq(const struct trace_session *s, uint64_t offset)
{
    return s->isn + (uint32_t)offset;
}

static struct trace_packet packet(struct trace *t, struct trace_session *s)
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

static void add_sack(struct trace *t, const struct trace_session *s, struct trace_packet *p)
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
    if (t->pending_count == trace_pending_max)
        return;
    struct trace_pending *const p = &t->pending[t->pending_count++];
    *p = (struct trace_pending){.due = t->clock + delay, .item = *item, .frame = model_alloc(item->bytes)};
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
    if (trace_chance(r, t->o.late) && t->pending_count < trace_pending_max) {
        t->st.sorts[trace_sort_late]++;
        put_aside(t, item, t->current, trace_between(r, 1, 6 * t->o.sessions));
        return false;
    }
    return true;
}

static bool emit_bytes(struct trace *t, const struct trace_session *s, enum trace_sort sort, size_t bytes, struct trace_item *item)
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

static bool emit(struct trace *t, const struct trace_session *s, enum trace_sort sort, const struct trace_packet *p,
                 struct trace_item *item)
{
    count_frame(t, p, sort);
    return emit_bytes(t, s, sort, trace_build(p, t->current), item);
}

/* ---- what a sender sends ---- */

static size_t segment(struct trace *t, const struct trace_session *s)
{
    struct trace_random *const r = &t->random;
    if (trace_below(r, 3) == 0)
        return trace_between(r, 1, s->segment_max);
    return s->segment_max;
}

/* The segment ends where a record does, as senders like to have it. */
static size_t segment_to_record_end(struct trace *t, struct trace_session *s, uint64_t from, size_t bytes)
{
    trace_stream_extend(s->stream, from + bytes);
    const uint64_t end = trace_stream_record_end(s->stream, from);
    return trace_below(&t->random, 3) == 0 && end < from + bytes ? (size_t)(end - from) : bytes;
}

static bool has_followed_key_update(const struct trace_session *s, uint64_t from, size_t bytes)
{
    return trace_stream_epoch(s->stream, from) != trace_stream_epoch(s->stream, from + bytes - 1);
}

static bool emit_stream(struct trace *t, struct trace_session *s, enum trace_sort sort, uint64_t from, size_t bytes, uint8_t flags,
                        struct trace_item *item)
{
    struct trace_packet p = packet(t, s);
    trace_stream_extend(s->stream, from + bytes);
    trace_stream_read(s->stream, from, t->payload, bytes);
    p.seq = trace_seq(s, from);
    p.payload = t->payload;
    p.payload_bytes = bytes;
    p.tcp_flags |= flags | (trace_below(&t->random, 4) == 0 ? flag_psh : 0);
    if (!t->o.plain_headers && trace_below(&t->random, 20) == 0)
        add_sack(t, s, &p);
    return emit(t, s, sort, &p, item);
}

void trace_sent_until(struct trace_session *s, uint64_t end)
{
    s->cur = end;
    if (s->nxt < end)
        s->nxt = end;
}

static bool send_ack(struct trace *t, struct trace_session *s, struct trace_item *item)
{
    struct trace_packet p = packet(t, s);
    p.seq = trace_seq(s, s->cur);
    const bool sack = !t->o.plain_headers && trace_below(&t->random, 2) == 0;
    if (sack)
        add_sack(t, s, &p);
    return emit(t, s, sack ? trace_sort_sack : trace_sort_ack, &p, item);
}

static bool send_data(struct trace *t, struct trace_session *s, uint8_t flags, enum trace_sort sort, struct trace_item *item)
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
        if (from + trace_segment_max < s->cur + bytes)
            from = s->cur;
    }
    const uint64_t end = s->cur + bytes;
    t->st.counts[trace_count_key_updates_followed] += s->cur == s->nxt && has_followed_key_update(s, from, bytes);
    trace_sent_until(s, end);
    return emit_stream(t, s, sort, from, (size_t)(end - from), flags, item);
}

/* Bytes that the receiver has, but others: whoever sends them can change nothing any more. With genuine ones behind them. */
static bool send_altered(struct trace *t, struct trace_session *s, struct trace_item *item)
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
        if (end - from > trace_segment_max)
            end = from + trace_segment_max;
        if (end > s->cur)
            trace_sent_until(s, end);
    }
    const size_t bytes = (size_t)(end - from);
    struct trace_packet p = packet(t, s);
    trace_stream_extend(s->stream, end);
    trace_stream_read(s->stream, from, t->payload, bytes);
    for (uint64_t at = from; at < end && at < s->una; at += trace_between(r, 1, 40))
        t->payload[at - from] ^= (uint8_t)trace_between(r, 1, 255);
    p.seq = trace_seq(s, from);
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
static bool send_forged(struct trace *t, struct trace_session *s, struct trace_item *item)
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
    p.seq = trace_seq(s, from);
    p.payload = t->payload;
    p.payload_bytes = bytes;
    s->tainted = true;
    trace_sent_until(s, from + bytes);
    return emit(t, s, sorts[which], &p, item);
}

static bool send_control(struct trace *t, struct trace_session *s, struct trace_item *item)
{
    struct trace_random *const r = &t->random;
    struct trace_packet p = packet(t, s);
    p.seq = trace_seq(s, s->cur);
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
        p.seq = trace_seq(s, s->cur) + (1 << 20) + trace_below(r, UINT32_MAX - (1 << 21));
        if (trace_below(r, 8) == 0)
            p.seq = trace_seq(s, s->cur) + 0x80000000u - trace_below(r, 3);
        p.payload_bytes = trace_between(r, 1, 1460);
        trace_random_bytes(r, t->payload, p.payload_bytes);
        p.payload = t->payload;
        return emit(t, s, trace_sort_far, &p, item);
    }
}

/* ---- what others send ---- */

static bool send_stranger(struct trace *t, struct trace_session *s, struct trace_item *item)
{
    static const uint8_t protocols[] = {1, 2, 47, 58, 59, 132};
    struct trace_random *const r = &t->random;
    struct trace_packet p = packet(t, s);
    enum trace_sort sort = trace_sort_unknown;
    p.payload = t->payload;
    p.payload_bytes = trace_below(r, 1400);
    trace_random_bytes(r, t->payload, p.payload_bytes);
    if (trace_below(r, 3) != 0)
        p.flow = trace_random_flow(r, trace_tcp);
    else
        p.flow.sport ^= (uint16_t)trace_between(r, 1, 65535);
    switch (trace_below(r, 3)) {
    case 0:
        sort = trace_sort_udp;
        p.flow.proto = trace_udp;
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
            t->current[h.l4 + (h.flow.proto == trace_udp ? 6u : 16u) + trace_below(r, 2)] ^= (uint8_t)(1u << trace_below(r, 8));
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
static bool send_broken(struct trace *t, struct trace_session *s, struct trace_item *item)
{
    static const enum trace_sort sorts[] = {trace_sort_cut,          trace_sort_bad_header, trace_sort_bad_header,
                                            trace_sort_bad_checksum, trace_sort_fragment,   trace_sort_extension,
                                            trace_sort_not_ip,       trace_sort_oversize,   trace_sort_port_error};
    struct trace_random *const r = &t->random;
    enum trace_sort sort = sorts[trace_below(r, sizeof sorts / sizeof *sorts)];
    struct trace_packet p = packet(t, s);
    const size_t bytes = trace_between(r, 1, s->segment_max);
    if (trace_below(r, 8) == 0)
        p.flow = trace_random_flow(r, trace_udp);
    trace_stream_extend(s->stream, s->cur + bytes);
    trace_stream_read(s->stream, s->cur, t->payload, bytes);
    p.seq = trace_seq(s, s->cur);
    p.payload = t->payload;
    p.payload_bytes = bytes;
    p.fragment = sort == trace_sort_fragment;
    if (sort == trace_sort_extension && p.flow.version == 4)
        p.flow = trace_random_flow(r, trace_tcp);
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
bool trace_send_plain(struct trace *t, struct trace_session *s, struct trace_item *item)
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

bool trace_send_stream(struct trace *t, struct trace_session *s, struct trace_item *item)
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
