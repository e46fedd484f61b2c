/* SPDX-License-Identifier: Apache-2.0 */
#include "transcoder/tracker.hpp"

namespace card
{
namespace
{

enum : uint8_t { type_alert = 21, type_application_data = 23, version_byte = 3 };

bool tls13(const track_state &t)
{
    return (t.flags & track_tls13) != 0;
}

unsigned text_offset(const track_state &t)
{
    return tls13(t) ? tls_header_bytes : tls_header_bytes + tls12_nonce_bytes;
}

uint64_t explicit_nonce(const track_state &t)
{
    return static_cast<uint64_t>(t.old_seal_seq) << 32 | t.old_open_seq;
}

void set_explicit_nonce(track_state &t, uint64_t nonce)
{
    t.old_seal_seq = static_cast<uint32_t>(nonce >> 32);
    t.old_open_seq = static_cast<uint32_t>(nonce);
}

/* ---- the records ---- */

void forget_finished(track_state &t)
{
    t.ring[0] = t.ring[1] = 0;
    t.ring_new = 0;
}

void finish_record(track_state &t, uint16_t whole)
{
    t.ring[1] = t.ring[0];
    t.ring[0] = whole;
    if (t.ring_new < 2)
        t.ring_new++;
    t.record_start += whole;
    store_le<6>(t.open_seq, load_le<6>(t.open_seq) + 1);
    t.seal_seq++;
    if (!tls13(t))
        set_explicit_nonce(t, explicit_nonce(t) + 1);
    t.type = 0;
    t.fragment = 0;
}

/* A verified KeyUpdate ended at `done.end`: nothing behind it was ever there. */
void step_keys(track_state &t, const packet_done &done)
{
    t.next = t.record_start = done.end;
    t.ring[0] = done.length;
    t.ring[1] = done.previous;
    t.ring_new = 0;
    t.old_open_seq = static_cast<uint32_t>(done.open_seq);
    t.old_seal_seq = done.seal_seq;
    if (done.open_seq >> 32 != 0) /* too large to be kept: retransmissions are the host's then */
        forget_finished(t);
    store_le<6>(t.open_seq, 0);
    t.seal_seq = 0;
    t.type = 0;
    t.fragment = 0;
    unsigned flags = (t.flags ^ track_set) | track_previous;
    if ((flags & track_next) == 0)
        flags |= track_wait;
    t.flags = static_cast<uint8_t>(flags & ~static_cast<unsigned>(track_next | track_dead | track_ahead));
    t.epoch++;
}

/* The host has installed a key set: the next keys, or those that are waited for. Replacing keys in use is refused: false, and the
 * session is dead. */
bool take_keys(track_state &t, uint8_t set)
{
    const uint8_t current = (t.flags & track_set) != 0;
    unsigned flags = t.flags;
    if ((flags & track_wait) != 0 && set == current) {
        flags &= ~static_cast<unsigned>(track_wait);
    } else if ((flags & track_wait) == 0 && set != current) {
        flags = (flags | track_next) & ~static_cast<unsigned>(track_previous);
        if (t.ring_new < 2)
            t.ring[1] = 0;
        if (t.ring_new < 1)
            t.ring[0] = 0;
    } else {
        t.flags |= track_dead;
        return false;
    }
    t.flags = static_cast<uint8_t>(flags);
    return true;
}

/* ---- deciding ---- */

/* Finds the record that holds the byte `back` bytes before the record in progress. False: it is not known any more. */
bool find_finished(const track_state &t, uint32_t back, record_position &position)
{
    const uint32_t one = t.ring[0], two = one + t.ring[1];
    const uint8_t ring = back <= one ? 1 : 2;
    if (one == 0 || (ring == 2 && (t.ring[1] == 0 || back > two)))
        return false;
    if (ring > t.ring_new && (t.flags & track_previous) == 0)
        return false;
    position.ring = ring;
    position.offset = static_cast<uint16_t>((ring == 1 ? one : two) - back);
    return true;
}

bool may_go_ahead(const track_state &t, uint32_t offset, uint16_t bytes)
{
    const uint32_t first = text_offset(t);
    const uint32_t text_end = tls_header_bytes + t.fragment - tls_tag_bytes;
    return t.next - t.record_start >= first && t.fragment >= ahead_record_min && offset + bytes <= text_end &&
           ((t.flags & track_ahead) == 0 || offset == t.ahead_to);
}

punt_reason decide_data(tracked_packet &p, uint32_t seal_limit)
{
    const track_state &t = p.now;
    const int32_t distance = seq_diff(p.head.seq, t.next);
    const uint32_t end = p.head.seq + p.head.payload_bytes;
    if ((t.flags & track_dead) != 0)
        return punt_dead;
    if (distance > 0) {
        const uint32_t offset = p.head.seq - t.record_start;
        if (!may_go_ahead(t, offset, p.head.payload_bytes))
            return punt_ahead;
        p.ahead = true;
        p.position.ring = 0;
        p.position.offset = static_cast<uint16_t>(offset);
    } else if (seq_diff(p.head.seq, t.record_start) >= 0) {
        p.position.ring = 0;
        p.position.offset = static_cast<uint16_t>(p.head.seq - t.record_start);
    } else if (!find_finished(t, t.record_start - p.head.seq, p.position)) {
        return punt_old;
    }
    if (seq_diff(end, t.next) > 0) {
        if ((t.flags & track_wait) != 0)
            return punt_key_wait;
        if (t.seal_seq > seal_limit - seal_reserve) /* control keeps the limit above the reserve */
            return punt_seal_limit;
    }
    return punt_none;
}

enum : uint8_t { proto_tcp = 6 };

/* Sets what, reason, walking, and for payload that is walked the position. */
void decide(tracked_packet &p, uint32_t seal_limit)
{
    p.what = p.job.what;
    p.reason = p.head.reason;
    if (p.reason == punt_none && p.what == action_punt)
        p.reason = punt_rule;
    if (p.reason == punt_none && p.what == action_session_hold)
        p.reason = punt_hold;
    if (p.reason == punt_none && p.what == action_session_transcode && p.head.proto != proto_tcp)
        p.reason = punt_protocol;
    if (p.reason == punt_none && p.job.session && p.head.proto == proto_tcp && (p.head.flags & (tcp_syn | tcp_urg)) != 0)
        p.reason = punt_tcp_control;
    if (p.reason == punt_none && p.what == action_session_transcode && p.head.payload_bytes > 0) {
        p.reason = decide_data(p, seal_limit);
        p.walking = p.reason == punt_none;
    }
    if (p.reason != punt_none)
        p.what = action_punt;
}

packet_context context_of(const tracked_packet &p, uint8_t lane)
{
    packet_context c = {};
    c.head = p.head;
    c.rule.seq_delta = p.now.seq_delta;
    c.rule.ack_delta = p.now.ack_delta;
    c.rule.tsval_delta = p.now.tsval_delta;
    c.rule.tsecr_delta = p.now.tsecr_delta;
    c.info.packet_id = p.head.packet_id;
    c.info.frame_bytes = p.head.frame_bytes;
    c.info.reason = p.reason;
    c.info.lane = lane;
    c.info.rule = p.job.rule;
    const bool held = p.job.what == action_session_hold; /* its state is not read: the host is about to write it */
    c.info.has_session = (p.job.session || held) && p.head.reason == punt_none;
    if (c.info.has_session)
        c.info.index = p.job.index;
    if (c.info.has_session && !held) {
        c.info.next = p.now.next;
        c.info.record_start = p.now.record_start;
        c.info.open_seq = load_le<6>(p.now.open_seq);
        c.info.seal_seq = p.now.seal_seq;
        c.info.epoch = p.now.epoch;
    }
    return c;
}

void begin_packet(tracker_state &s)
{
    tracked_packet &p = s.packet;
    p.busy = true;
    p.walking = p.ahead = p.killed = p.begun = p.beat_held = false;
    p.beat_start = 0;
    p.now = track_state{};
    if (p.job.session) {
        p.now = s.line[p.job.slot];
        p.generation = s.generation[p.job.slot];
    }
    decide(p, s.seal_limit != 0 ? s.seal_limit : unsigned{seal_limit_default});
    p.next = p.now.next;
    p.have = static_cast<uint16_t>(p.now.next - p.now.record_start);
    p.hole_from = p.hole_to = p.now.record_start;
    if ((p.now.flags & track_ahead) != 0 && !p.ahead) {
        p.hole_from += p.now.ahead_from;
        p.hole_to += p.now.ahead_to;
    }
}

/* ---- walking ---- */

/* Takes fresh header bytes of the record in progress, offset .. offset + bytes - 1 <= 4, and checks them. */
void take_header(tracked_packet &p, const uint8_t *byte, unsigned offset, unsigned bytes)
{
    track_state &t = p.now;
    const unsigned low = tls13(t) ? tls13_overhead : tls12_overhead;
    const unsigned high = tls13(t) ? tls13_fragment_max : tls12_fragment_max;
    for (unsigned i = 0; i < tls_header_bytes; i++) {
#pragma HLS UNROLL
        if (i < offset || i >= offset + bytes || i < p.have || p.killed)
            continue;
        const uint8_t x = byte[i - offset];
        bool good = true;
        switch (i) {
        case 0:
            t.type = x;
            good = x == type_application_data || (x == type_alert && !tls13(t));
            break;
        case 1:
        case 2:
            good = x == version_byte;
            break;
        case 3:
            t.fragment = static_cast<uint16_t>(x << 8);
            break;
        default:
            t.fragment = static_cast<uint16_t>(t.fragment | x);
            good = t.fragment >= low && t.fragment <= high;
        }
        if (!good) {
            p.killed = true;
            p.detail = static_cast<uint16_t>(static_cast<unsigned>(t.type) << 8 | i);
        }
    }
}

/* Takes fresh bytes of the explicit nonce, offset .. offset + bytes - 1 in the record. */
void take_nonce(tracked_packet &p, const uint8_t *byte, unsigned offset, unsigned bytes)
{
    uint64_t nonce = explicit_nonce(p.now);
    bool counts_up = true;
    for (unsigned i = tls_header_bytes; i < tls_header_bytes + tls12_nonce_bytes; i++) {
#pragma HLS UNROLL
        if (i < offset || i >= offset + bytes || i < p.have)
            continue;
        const unsigned shift = 8 * (tls_header_bytes + tls12_nonce_bytes - 1 - i);
        const uint64_t x = static_cast<uint64_t>(byte[i - offset]) << shift;
        counts_up = counts_up && x == (nonce & static_cast<uint64_t>(0xff) << shift);
        nonce = (nonce & ~(static_cast<uint64_t>(0xff) << shift)) | x;
    }
    if (!counts_up)
        forget_finished(p.now);
    set_explicit_nonce(p.now, nonce);
}

void number_part(const track_state &t, uint8_t ring, record_part &part)
{
    const bool old = ring > t.ring_new;
    const unsigned back = old ? ring - t.ring_new - 1u : ring;
    part.ring = ring;
    part.set = static_cast<uint8_t>(((t.flags & track_set) != 0) != old);
    part.open_seq = (old ? t.old_open_seq : load_le<6>(t.open_seq)) - back;
    part.seal_seq = (old ? t.old_seal_seq : t.seal_seq) - back;
    part.nonce = tls13(t) ? 0 : explicit_nonce(t) - back;
    part.start = t.record_start;
    if (ring > 0)
        part.start -= t.ring[0];
    if (ring > 1)
        part.start -= t.ring[1];
}

/* The part of the record at the packet's position that lies in the beat from `at` to `end`; moves the position behind it. */
record_part take_part(tracked_packet &p, uint8_t at, uint8_t end)
{
    track_state &t = p.now;
    record_part part = {};
    const record_position from = p.position;
    const uint8_t *const byte = p.held.byte + at;
    const unsigned room = end - at;
    unsigned bytes = room;
    part.at = at;
    part.offset = from.offset;
    if (from.ring == 0 && !p.ahead) {
        const unsigned to = from.offset + room;
        if (from.offset < tls_header_bytes)
            take_header(p, byte, from.offset, smaller(to, tls_header_bytes) - from.offset);
        if (!tls13(t) && from.offset < text_offset(t) && to > tls_header_bytes)
            take_nonce(p, byte, from.offset, room);
        part.header_done = p.have < tls_header_bytes && to >= tls_header_bytes && !p.killed;
    }
    number_part(t, from.ring, part);
    if (from.ring > 0) {
        part.type = tls13(t) ? static_cast<uint8_t>(type_application_data) : t.type;
        part.fragment = static_cast<uint16_t>(t.ring[from.ring - 1] - tls_header_bytes);
    } else if (from.offset + room >= tls_header_bytes) {
        part.type = t.type;
        part.fragment = t.fragment;
    }
    if (part.fragment != 0 && !p.killed) {
        const unsigned left = tls_header_bytes + part.fragment - from.offset;
        bytes = smaller(left, room);
        part.ends = bytes == left;
    }
    part.bytes = static_cast<uint8_t>(bytes);
    part.valid = !p.killed;

    p.position.offset = static_cast<uint16_t>(from.offset + bytes);
    if (from.ring == 0 && p.have < p.position.offset)
        p.have = p.position.offset;
    if (part.ends) {
        p.position.offset = 0;
        if (from.ring > 0) {
            p.position.ring = static_cast<uint8_t>(from.ring - 1);
        } else {
            finish_record(t, static_cast<uint16_t>(tls_header_bytes + part.fragment));
            p.have = 0;
        }
    }
    return part;
}

/* True if the record that begins at `at` has a part of its tag before `end`: then it is a piece of its own. */
bool reaches_tag(const tracked_packet &p, uint8_t at, uint8_t end)
{
    const unsigned room = end - at;
    unsigned fragment;
    if (p.position.ring > 0) {
        fragment = p.now.ring[p.position.ring - 1] - tls_header_bytes;
    } else {
        if (room < tls_header_bytes)
            return false;
        const unsigned high = p.have > 3 ? p.now.fragment >> 8 : p.held.byte[at + 3];
        const unsigned low = p.have > 4 ? p.now.fragment & 0xff : p.held.byte[at + 4];
        fragment = high << 8 | low;
    }
    return room + tls_tag_bytes > tls_header_bytes + fragment;
}

/* Bytes at..end of the held beat that were not seen before. */
uint64_t fresh_bytes(const tracked_packet &p, uint8_t at, uint8_t end)
{
    /* Positions in the beat of the points where freshness changes, clamped to the beat. */
    const uint32_t base = p.head.seq + p.beat_start - p.head.payload; /* TCP sequence number of the beat's byte 0 */
    const auto clamp = [base](uint32_t seq) {
        const int32_t x = seq_diff(seq, base);
        return x < 0 ? 0u : smaller(static_cast<unsigned>(x), beat_bytes);
    };
    if (p.ahead)
        return mask_range(at, end);
    return mask_range(larger(at, clamp(p.next)), end) & ~mask_range(clamp(p.hole_from), clamp(p.hole_to));
}

piece next_piece(tracked_packet &p)
{
    piece x = {};
    const unsigned payload_end = p.head.payload + p.head.payload_bytes;
    const unsigned end = payload_end <= p.beat_start ? 0 : smaller(payload_end - p.beat_start, p.held.bytes);
    copy_bytes<beat_bytes>(x.byte, p.held.byte);
    x.bytes = p.held.bytes;
    x.session = p.job.session;
    x.slot = p.job.slot;
    x.index = p.job.index;
    x.what = p.what;
    x.reason = p.reason;
    x.rule = p.job.rule;
    x.tls13 = tls13(p.now);
    x.mirror = (p.now.flags & track_mirror) != 0;
    x.epoch = p.now.epoch;
    x.generation = p.generation;
    if (p.walking && !p.killed && p.at < end) {
        const uint8_t at = p.at, last = static_cast<uint8_t>(end);
        x.previous = p.now.ring_new > 0 ? p.now.ring[0] : uint16_t{0};
        x.a = take_part(p, at, last);
        p.at = static_cast<uint8_t>(p.at + x.a.bytes);
        if (x.a.ends && p.at < last && !p.killed && !reaches_tag(p, p.at, last)) {
            x.b = take_part(p, p.at, last);
            p.at = static_cast<uint8_t>(p.at + x.b.bytes);
        }
        x.fresh = fresh_bytes(p, at, p.at);
        x.dead = p.killed;
        x.detail = p.detail;
        if (p.killed)
            p.at = last;
    }
    x.beat_last = !p.walking || p.killed || p.at >= end;
    x.last = x.beat_last && p.held.last;
    return x;
}

/* A key set travels like a packet, so that it takes effect between two of them. If it was refused, finish sends the session's death
 * back like any other: a KeyUpdate that was on its way takes back what the tracker did since, a death with it. */
piece key_piece(const work &job, bool refused)
{
    piece x = {};
    x.session = x.first = x.last = x.beat_last = x.key_load = true;
    x.fill = job.fill;
    x.slot = job.slot;
    x.index = job.index;
    x.set = job.key_set;
    x.dead = refused;
    x.what = action_drop;
    return x;
}

/* What the packet leaves behind. */
void end_packet(tracker_state &s)
{
    tracked_packet &p = s.packet;
    track_state &t = p.now;
    const uint16_t slot = p.job.slot;
    p.busy = false;
    if (!p.walking || p.generation != s.generation[slot])
        return; /* nothing changes; or a KeyUpdate or the session's death overtook it */
    if (p.killed) {
        s.line[slot].flags |= track_dead;
        return;
    }
    const uint32_t end = p.head.seq + p.head.payload_bytes;
    if (p.ahead) {
        const uint16_t from = static_cast<uint16_t>(p.head.seq - t.record_start);
        if ((t.flags & track_ahead) == 0)
            t.ahead_from = from;
        t.ahead_to = static_cast<uint16_t>(from + p.head.payload_bytes);
        t.flags |= track_ahead;
    } else if (seq_diff(end, t.next) > 0) {
        t.next = end;
        if ((t.flags & track_ahead) != 0 && seq_diff(end, p.hole_from) >= 0) {
            if (seq_diff(p.hole_to, end) > 0)
                t.next = p.hole_to;
            t.flags &= static_cast<uint8_t>(~track_ahead);
        }
    }
    s.line[slot] = t;
}

/* Begins the next packet, or takes a key set. False: nothing to walk yet. */
bool next_packet(tracker_state &s, const tracker_in &in, const tracker_out &out, uint8_t lane)
{
    tracked_packet &p = s.packet;
    if (!s.head_held && !in.summaries.empty()) {
        p.head = in.summaries.read();
        s.head_held = true;
    }
    const bool keyless = s.head_held && !p.head.keyed; /* nothing was looked up for it */
    if (!keyless && !s.job_held && !in.jobs.empty()) {
        s.job = in.jobs.read();
        s.job_held = true;
    }
    const bool with_keys = !keyless && s.job_held && s.job.kind == work_keys;
    if (!with_keys && (!s.head_held || in.beats.empty()))
        return false;
    if (!keyless && (!s.job_held || (s.job.fill && in.lines.empty())))
        return false;
    p.job = keyless ? work{} : s.job;
    s.job_held = keyless && s.job_held;
    if (p.job.fill) {
        s.line[p.job.slot] = in.lines.read();
        s.generation[p.job.slot] = 0;
    }
    if (with_keys) {
        const bool taken = take_keys(s.line[p.job.slot], p.job.key_set);
        out.pieces.write(key_piece(p.job, !taken));
        return false;
    }
    s.head_held = false;
    begin_packet(s);
    out.contexts.write(context_of(p, lane));
    return true;
}

/* A KeyUpdate, or the death of the session, was found behind the tracker. */
void take_done(tracker_state &s, const packet_done &done, const tracker_out &out, uint8_t lane)
{
    track_state &line = s.line[done.slot];
    s.generation[done.slot]++;
    if (done.kind == done_dead) {
        line.flags |= track_dead;
        return;
    }
    step_keys(line, done);
    if ((line.flags & track_wait) == 0)
        return;
    event e = {};
    e.kind = event_key_wait;
    e.lane = lane;
    e.index = done.index;
    e.flow = done.flow;
    e.packet_id = done.packet_id;
    e.epoch = line.epoch;
    e.tcp_seq = done.end;
    out.events.write(e);
}

} // namespace

void tracker(tracker_state &s, const tracker_in &in, const tracker_out &out, uint8_t lane)
{
#pragma HLS PIPELINE II = 1
    tracked_packet &p = s.packet;

    if (!in.seal_limits.empty())
        s.seal_limit = in.seal_limits.read();

    /* What finish found out about earlier packets comes first: it may concern the one in hand. What changes a state has the cycle
     * to itself, since no packet may write one then (SLOT_RAW). */
    if (!in.dones.empty() && !out.releases.full() && !out.events.full()) {
        const packet_done done = in.dones.read();
        out.releases.write(slot_release{done.slot});
        if (done.kind != done_plain) {
            take_done(s, done, out, lane);
            return;
        }
    }
    if (!in.write_backs.empty() && !out.lines.full()) {
        const write_back w = in.write_backs.read();
        out.lines.write(track_line{w.index, s.line[w.slot]});
    }

    if (out.pieces.full() || out.contexts.full())
        return;
    if (!p.busy && !next_packet(s, in, out, lane))
        return;
    if (!p.beat_held) {
        if (in.beats.empty())
            return;
        p.held = in.beats.read();
        p.beat_held = true;
        p.at = static_cast<uint8_t>(p.head.payload > p.beat_start ? smaller(p.head.payload - p.beat_start, beat_bytes) : 0);
    }
    piece x = next_piece(p);
    x.first = !p.begun;
    x.fill = x.first && p.job.fill;
    p.begun = true;
    if (x.beat_last) {
        p.beat_held = false;
        p.beat_start = static_cast<uint16_t>(p.beat_start + beat_bytes);
    }
    if (x.last)
        end_packet(s);
    out.pieces.write(x);
}

} // namespace card
