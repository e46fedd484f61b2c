/* SPDX-License-Identifier: Apache-2.0 */
#include "transcoder/finish.hpp"

#include "common/bytes.hpp"

namespace card
{
namespace
{

enum : uint8_t { type_alert = 21, type_handshake = 22, type_application_data = 23, key_update = 24 };
enum : unsigned { tail_bytes = 6 };

/* The tag bytes of a part, in the beat and in the tag. */
struct tag_range {
    uint8_t from, to; /* positions in the beat */
    uint8_t first;    /* index in the tag of the byte at `from` */
};

tag_range tag_of(const record_part &r)
{
    tag_range x = {};
    const unsigned begin = r.fragment + tls_header_bytes - tls_tag_bytes;
    const unsigned end = r.offset + r.bytes;
    if (r.fragment == 0 || end <= begin)
        return x;
    const unsigned first = larger(begin, r.offset);
    x.from = static_cast<uint8_t>(r.at + first - r.offset);
    x.to = static_cast<uint8_t>(r.at + r.bytes);
    x.first = static_cast<uint8_t>(first - begin);
    return x;
}

unsigned text_bytes(const record_part &r, bool tls13)
{
    return r.fragment - (tls13 ? tls_tag_bytes : tls12_overhead);
}

void add(uint8_t sum[16], const gf128 &x)
{
    store_be64(sum, load_be64(sum) ^ x.word[0]);
    store_be64(sum + 8, load_be64(sum + 8) ^ x.word[1]);
}

/* The first byte of a record in progress lies in the part and is new: its sums begin. */
bool begins(const piece &p, const record_part &r)
{
    return r.valid && r.ring == 0 && r.offset == 0 && (p.fresh >> (r.at % beat_bytes) & 1) != 0;
}

void take_sum(finish_state &f, const piece &p, const record_part &r, const gf128 &open, const gf128 &seal)
{
    if (begins(p, r))
        for (unsigned i = 0; i < 16; i++)
#pragma HLS UNROLL
            f.open_hash[i] = f.seal_hash[i] = 0;
    if (r.valid && r.ring == 0) {
        add(f.open_hash, open);
        add(f.seal_hash, seal);
    }
}

/* ---- content ---- */

/* Keeps the last content bytes of the record: of those new in the part, up to the last that is not zero (TLS 1.3, where zeros are
 * padding until something follows them). */
void keep_tail(finish_state &f, const record_part &r, const text_range &text, const uint8_t *plain, uint64_t fresh, bool tls13)
{
    const unsigned header = tls13 ? tls_header_bytes : tls_header_bytes + tls12_nonce_bytes;
    const uint64_t counts = fresh & mask_range(text.from, text.to) & (tls13 ? leaf::nonzero_bytes(plain) : ~UINT64_C(0));
    const unsigned end = top_bit(counts); /* behind the last such byte, in the beat */
    if (end == 0)
        return;
    const unsigned first = r.offset + (text.from - r.at) - header; /* in the text: the part's first byte, */
    const unsigned last = r.offset + (end - r.at) - header;        /* behind its last one that counts, */
    const unsigned tail_end = larger(last, f.tail_end);            /* and the new end of the tail */
    const unsigned moved = tail_end - f.tail_end;
    uint8_t tail[tail_bytes];
    for (unsigned k = 0; k < tail_bytes; k++) {
#pragma HLS UNROLL
        const unsigned back = tail_bytes - k; /* byte `tail_end - back` of the text */
        const unsigned at = text.from + tail_end - back - first;
        const bool inside = tail_end >= first + back && at < text.to;
        tail[k] = k + moved < tail_bytes ? f.tail[k + moved] : uint8_t{0};
        if (inside && (fresh >> at & 1) != 0)
            tail[k] = plain[at];
    }
    for (unsigned k = 0; k < tail_bytes; k++)
#pragma HLS UNROLL
        f.tail[k] = tail[k];
    f.tail_end = static_cast<uint16_t>(tail_end);
}

/* What a verified record was. event_none: application data. */
event_kind judge(const finish_state &f, const record_part &r, bool tls13, uint8_t &type, uint16_t &detail)
{
    const uint8_t *const t = f.tail;
    detail = 0;
    if (!tls13) {
        type = r.type;
        detail = static_cast<uint16_t>(t[4] << 8 | t[5]);
        if (type == type_alert)
            return text_bytes(r, tls13) == 2 ? event_alert : event_unexpected;
        return event_none;
    }
    const unsigned content = f.tail_end > 0 ? f.tail_end - 1u : 0;
    type = t[5];
    switch (type) {
    case type_application_data:
        return event_none;
    case type_alert:
        detail = static_cast<uint16_t>(t[3] << 8 | t[4]);
        return content == 2 ? event_alert : event_unexpected;
    case type_handshake:
        if (content >= 5 && t[0] == key_update && t[1] == 0 && t[2] == 0 && t[3] == 1 && t[4] <= 1)
            return event_key_update;
        return content > 0 ? event_handshake : event_unexpected;
    default:
        return event_unexpected;
    }
}

/* ---- tags ---- */

void to_bytes(uint8_t byte[16], const gf128 &x, const uint8_t mask[16])
{
    store_be64(byte, x.word[0] ^ load_be64(mask));
    store_be64(byte + 8, x.word[1] ^ load_be64(mask + 8));
}

gf128 from_bytes(const uint8_t byte[16])
{
    gf128 x;
    x.word[0] = load_be64(byte);
    x.word[1] = load_be64(byte + 8);
    return x;
}

/* Some byte of the tag in `where` that was not seen before differs from the expected tag. No early exit: the time says nothing. */
bool differs(const mixed_piece &m, const tag_range &where, const uint8_t expected[16])
{
    uint8_t wrong = 0;
    for (unsigned k = 0; k < tls_tag_bytes; k++) {
#pragma HLS UNROLL
        const unsigned i = where.from + k - where.first;
        if (k >= where.first && i < where.to && (m.p.fresh >> (i % beat_bytes) & 1) != 0)
            wrong = static_cast<uint8_t>(wrong | (m.p.byte[i % beat_bytes] ^ expected[k]));
    }
    return wrong != 0;
}

/* Puts the tag bytes in place, or bytes that are certainly wrong. */
void place_tag(mixed_piece &m, const tag_range &where, const uint8_t tag[16], bool poisoned)
{
    uint8_t any = 0;
    for (unsigned k = 0; k < tls_tag_bytes; k++)
#pragma HLS UNROLL
        if (k >= where.first && k < where.first + unsigned{where.to} - where.from)
            any = static_cast<uint8_t>(any | tag[k]);
    const uint8_t poison = any == 0 ? 0xff : 0;
    for (unsigned k = 0; k < tls_tag_bytes; k++)
#pragma HLS UNROLL
        if (k >= where.first && k < where.first + unsigned{where.to} - where.from)
            m.p.byte[where.from + k - where.first] = poisoned ? poison : tag[k];
}

/* ---- a piece ---- */

struct record_verdict {
    mirror_verdict verdict; /* on a; mirror_open: none yet */
    event_kind about;       /* event_none: nothing to tell */
    uint8_t type;
    uint16_t detail;
    uint8_t tag[16]; /* the outgoing one */
};

/* Part a, whose record's sums are given: content tail, tag, verdict. */
record_verdict finish_part(finish_state &f, mixed_piece &m, const gf128 &open_sum, const gf128 &seal_sum, const gf128 *open_h,
                           const gf128 *seal_h)
{
    record_verdict v = {};
    const record_part &a = m.p.a;
    const tag_range where = tag_of(a);
    if (a.ring > 0) { /* a finished record again: its tag is known to be good */
        place_tag(m, where, f.ring_tag[a.ring - 1], false);
        return v;
    }
    keep_tail(f, a, m.text_a, m.plain, m.p.fresh, m.p.tls13);
    if (where.from == where.to)
        return v;

    const unsigned aad_bits = 8 * (m.p.tls13 ? tls_header_bytes : 8 + tls_header_bytes);
    const unsigned text_bits = 8 * text_bytes(a, m.p.tls13);
    uint8_t expected[16];
    to_bytes(expected, ghash_final(open_sum, open_h, aad_bits, text_bits), m.open_mask);
    to_bytes(v.tag, ghash_final(seal_sum, seal_h, aad_bits, text_bits), m.seal_mask);
    const bool bad = differs(m, where, expected);
    if (bad)
        v.about = event_bad_tag;
    else if (a.ends)
        v.about = judge(f, a, m.p.tls13, v.type, v.detail);
    if (v.about == event_unexpected)
        v.detail = v.type;
    if (v.about == event_bad_tag || v.about == event_unexpected)
        v.verdict = mirror_bad;
    else if (a.ends)
        v.verdict = mirror_verified;
    place_tag(m, where, v.tag, v.verdict == mirror_bad);
    return v;
}

void push_tag(finish_state &f, const uint8_t tag[16])
{
    for (unsigned i = 0; i < 16; i++) {
#pragma HLS UNROLL
        f.ring_tag[1][i] = f.ring_tag[0][i];
        f.ring_tag[0][i] = tag[i];
    }
}

mirror_part mirrored(const record_part &r, const text_range &text, bool tls13)
{
    mirror_part x = {};
    if (text.from == text.to)
        return x;
    const unsigned header = tls13 ? tls_header_bytes : tls_header_bytes + tls12_nonce_bytes;
    x.open_seq = r.open_seq;
    x.offset = static_cast<uint16_t>(r.offset + (text.from - r.at) - header);
    x.at = text.from;
    x.bytes = static_cast<uint8_t>(text.to - text.from);
    return x;
}

void make_mirror(mirror_item &x, const mixed_piece &m, const record_verdict &v, const keystream_result &mask, bool with_b,
                 uint8_t lane)
{
    const text_range none = {};
    const text_range &text_b = with_b ? m.text_b : none;
    const bool verified = v.verdict == mirror_verified;
    x.fresh = m.p.fresh & (mask_range(m.text_a.from, m.text_a.to) | mask_range(text_b.from, text_b.to));
    for (unsigned i = 0; i < beat_bytes; i++)
#pragma HLS UNROLL
        x.byte[i] = static_cast<uint8_t>(m.plain[i] ^ mask.byte[i]);
    leaf::keep_bytes(x.byte, x.fresh);
    x.flow = m.flow;
    x.index = m.p.index;
    x.lane = lane;
    x.epoch = m.p.epoch;
    x.a = mirrored(m.p.a, m.text_a, m.p.tls13);
    x.b = mirrored(m.p.b, text_b, m.p.tls13);
    x.verdict = v.verdict;
    if (v.verdict != mirror_open)
        x.a.open_seq = m.p.a.open_seq;
    x.text_bytes = v.verdict != mirror_open ? static_cast<uint16_t>(text_bytes(m.p.a, m.p.tls13)) : uint16_t{0};
    x.tcp_seq = v.verdict != mirror_open ? m.p.a.start : 0;
    x.type = verified ? v.type : uint8_t{0};
    const uint8_t none_told[16] = {};
    copy_bytes<16>(x.key, verified ? m.mirror_key : none_told);
    copy_bytes<16>(x.tag, verified ? v.tag : none_told);
}

event record_event(const mixed_piece &m, const record_verdict &v, uint32_t packet_id, uint8_t lane)
{
    event e = {};
    e.kind = v.about;
    e.lane = lane;
    e.detail = v.detail;
    e.epoch = m.p.epoch;
    e.index = m.p.index;
    e.packet_id = packet_id;
    e.flow = m.flow;
    e.open_seq = m.p.a.open_seq;
    e.tcp_seq = m.p.a.start;
    return e;
}

void step_keys(finished_packet &q, finish_slot &slot, const piece &p)
{
    const record_part &a = p.a;
    q.stepped = true;
    q.done.kind = done_key_update;
    q.done.length = static_cast<uint16_t>(tls_header_bytes + a.fragment);
    q.done.previous = p.previous;
    q.done.end = a.start + q.done.length;
    q.done.open_seq = a.open_seq;
    q.done.seal_seq = a.seal_seq;
    slot.generation++;
}

/* A piece with record data of a packet that still stands. */
void finish_piece(finish_control &s, mixed_piece &m, const gf128 &open_sum, const gf128 &seal_sum, const ghash_result &open,
                  const ghash_result &seal, const finish_out &out, uint8_t lane)
{
    finished_packet &q = s.packet;
    finish_slot &slot = s.slot[m.p.slot];
    finish_state &f = slot.state;
    const record_verdict v = finish_part(f, m, open_sum, seal_sum, open.h, seal.h);
    const bool fresh_end = m.p.a.ends && m.p.a.ring == 0;
    if (v.verdict == mirror_verified)
        push_tag(f, v.tag);
    if (v.verdict == mirror_bad) {
        q.stopped = slot.dead = true;
        q.zero_from = static_cast<uint8_t>(m.p.a.at + m.p.a.bytes);
        q.done.kind = done_dead;
    } else if (fresh_end) {
        for (unsigned i = 0; i < tail_bytes; i++)
#pragma HLS UNROLL
            f.tail[i] = 0;
        f.tail_end = 0;
    }
    if (v.about == event_key_update)
        step_keys(q, slot, m.p);
    const bool with_b = m.p.b.valid && !q.stopped && !q.stepped;
    if (with_b)
        keep_tail(f, m.p.b, m.text_b, m.plain, m.p.fresh, m.p.tls13);
    if (v.about != event_none)
        out.records.write(record_event(m, v, q.context.head.packet_id, lane));
    if (mirrors(m.p)) {
        mirror_item &x = s.mirror;
        make_mirror(x, m, v, s.mask, with_b, lane);
        if (x.fresh != 0 || x.verdict != mirror_open)
            out.mirror.write(x);
    }
    if (q.stepped && m.p.b.valid)
        q.squashed = true;
}

/* ---- a packet ---- */

event packet_event(const mixed_piece &m, event_kind kind, const headers &head, uint8_t lane)
{
    event e = {};
    e.kind = kind;
    e.lane = lane;
    e.index = m.p.index;
    e.packet_id = head.packet_id;
    e.flow = m.flow;
    e.tcp_seq = head.seq;
    return e;
}

void begin_packet(finish_control &s, const mixed_piece &m, const packet_context &context, uint8_t lane)
{
    finished_packet &q = s.packet;
    const finish_slot &slot = s.slot[m.p.slot];
    q.context = context;
    q.context.info.lane = lane;
    q.context.info.flow = m.flow;
    q.context.rule.window_shift = m.window_shift;
    q.stopped = q.stepped = q.killed = false;
    /* A packet that a KeyUpdate overtook was decided about with numbers that never were: whatever was decided. In a dead session
     * only what would have been forwarded or told with other reasons. */
    const bool stepped = m.p.generation != slot.generation;
    const bool walked = m.p.what == action_session_transcode && context.head.payload_bytes > 0;
    const bool judged = m.p.what == action_punt && m.p.reason >= punt_tcp_control;
    const bool stands = m.p.reason == punt_tcp_control || m.p.reason == punt_dead; /* in a dead session, too */
    q.squashed = slot.dead ? walked || (judged && !stands) : stepped && (walked || judged);
    q.beat_start = 0;
    q.beat_begun = false;
    q.done = packet_done{};
    q.done.slot = m.p.slot;
    q.done.index = m.p.index;
    q.done.flow = m.flow;
    q.done.packet_id = context.head.packet_id;
}

/* Joins the pieces of a beat; true when it is whole. */
bool join_beat(finished_packet &q, const mixed_piece &m)
{
    const piece &p = m.p;
    const unsigned from = q.beat_begun ? p.a.at : 0;
    memcpy(q.out.data.byte + from, p.byte + from, beat_bytes - from);
    q.beat_begun = !p.beat_last;
    return p.beat_last;
}

/* The packet leaves by the other port, as one of a session. */
bool goes_on(const finished_packet &q, const piece &p)
{
    return !q.squashed && !q.killed && (p.what == action_session_forward || p.what == action_session_transcode);
}

/* What becomes of the packet, as its last piece says. */
action verdict_on(const finished_packet &q, const piece &p)
{
    return q.squashed || q.killed ? action_drop : p.what;
}

counter_fate fate_of(action what)
{
    return what == action_punt ? counter_punted : what == action_drop ? counter_dropped : counter_sent;
}

/* The beat in the making, whole. */
void complete_beat(finished_packet &q, const piece &p)
{
    out_beat &o = q.out;
    const headers &h = q.context.head;
    const unsigned begin = h.payload, end = begin + h.payload_bytes, start = q.beat_start;
    o.from = static_cast<uint8_t>(begin > start ? smaller(begin - start, beat_bytes) : 0);
    o.to = static_cast<uint8_t>(end > start ? smaller(end - start, p.bytes) : 0);
    if (o.from >= o.to)
        o.from = o.to = 0;
    if (q.stopped) {
        keep_bytes(o.data.byte, ~mask_range(larger(q.zero_from, o.from), o.to));
        q.zero_from = 0;
    }
    o.data.bytes = p.bytes;
    o.data.last = p.last;
    o.data.error = false;
    o.first = start == 0;
    q.beat_start = static_cast<uint16_t>(start + beat_bytes);
    if (p.last) {
        packet_verdict &v = o.verdict;
        v.head = h;
        v.what = verdict_on(q, p);
        v.rewrite = goes_on(q, p);
        v.rule = q.context.rule;
        v.info = q.context.info;
    }
}

/* What is told about the packet as a whole; event_none: nothing. */
event whole_packet_event(const finished_packet &q, const mixed_piece &m, uint8_t lane)
{
    const headers &h = q.context.head;
    if (q.squashed)
        return packet_event(m, event_squashed, h, lane);
    if (q.killed)
        return q.about;
    if (goes_on(q, m.p) && (h.flags & tcp_rst) != 0)
        return packet_event(m, event_rst, h, lane);
    if (goes_on(q, m.p) && (h.flags & tcp_fin) != 0)
        return packet_event(m, event_fin, h, lane);
    return event{};
}

} // namespace

void finish(finish_control &s, const finish_in &in, const finish_out &out, uint8_t lane)
{
#pragma HLS PIPELINE II = 1
    if (!in.write_backs.empty() && !out.lines.full()) {
        const write_back w = in.write_backs.read();
        out.lines.write(finish_line{w.index, s.slot[w.slot].state});
    }
    if (out.beats.full() || out.mirror.full() || out.records.full() || out.packets.full() || out.dones.full() || out.counts.full())
        return;
    mixed_piece &m = s.piece;
    finished_packet &q = s.packet;
    if (!s.held) {
        if (in.pieces.empty())
            return;
        in.pieces.read(m);
        s.held = true;
    }
    const bool data = crypts(m.p);
    if ((m.p.fill && in.lines.empty()) || (m.p.first && !m.p.key_load && in.contexts.empty()) ||
        (data && (in.open.empty() || in.seal.empty())) || (mirrors(m.p) && in.mirror.empty()))
        return;
    s.held = false;
    finish_slot &slot = s.slot[m.p.slot];
    if (m.p.fill) {
        slot.state = in.lines.read();
        slot.generation = 0;
        slot.dead = false;
    }
    if (m.p.key_load) {
        packet_done done = {};
        done.slot = m.p.slot;
        if (m.p.dead) { /* keys in use were to be replaced */
            slot.dead = true;
            done.kind = done_dead;
        }
        out.dones.write(done);
        return;
    }
    if (m.p.first)
        begin_packet(s, m, in.contexts.read(), lane);
    if (data) {
        const ghash_result open = in.open.read(), seal = in.seal.read();
        if (mirrors(m.p))
            in.mirror.read(s.mask);
        /* The sums go on whatever becomes of the packet, so that no verdict is waited for (SUM_RAW). */
        take_sum(slot.state, m.p, m.p.a, open.sum_a, seal.sum_a);
        const gf128 open_sum = from_bytes(slot.state.open_hash), seal_sum = from_bytes(slot.state.seal_hash);
        take_sum(slot.state, m.p, m.p.b, open.sum_b, seal.sum_b);
        if (q.stepped)
            q.squashed = true;
        if (!q.squashed && !q.stopped)
            finish_piece(s, m, open_sum, seal_sum, open, seal, out, lane);
    }
    if (m.p.dead && q.stepped)
        q.squashed = true;
    if (m.p.dead && !q.squashed && !q.stopped) {
        const record_part &refused = m.p.a.valid ? m.p.b : m.p.a;
        q.killed = slot.dead = true;
        q.about = packet_event(m, event_bad_record, q.context.head, lane);
        q.about.detail = m.p.detail;
        q.about.epoch = m.p.epoch;
        q.about.open_seq = refused.open_seq;
        q.about.tcp_seq = refused.start;
        q.done.kind = done_dead;
    }
    if (join_beat(q, m)) {
        complete_beat(q, m.p);
        out.beats.write(q.out);
    }
    if (m.p.last) {
        const event e = whole_packet_event(q, m, lane);
        if (e.kind != event_none)
            out.packets.write(e);
        if (m.p.session)
            out.dones.write(q.done);
        out.counts.write(counter_packet{m.p.index, q.context.head.frame_bytes, fate_of(verdict_on(q, m.p)), goes_on(q, m.p)});
    }
}

} // namespace card
