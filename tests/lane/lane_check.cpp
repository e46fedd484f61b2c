/* SPDX-License-Identifier: Apache-2.0 */
#include "lane_check.hpp"

#include <algorithm>
#include <map>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tuple>

namespace bench
{
namespace
{

[[noreturn]] __attribute__((format(printf, 1, 2))) void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "lane check: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    abort();
}

#define MUST_EQUAL(id, what, got, wanted)                                                                                          \
    do {                                                                                                                           \
        if (static_cast<uint64_t>(got) != static_cast<uint64_t>(wanted))                                                           \
            fail("packet %u: %s is %llu, the model says %llu", id, what, static_cast<unsigned long long>(got),                     \
                 static_cast<unsigned long long>(wanted));                                                                         \
    } while (0)

/* A record's text as one side has shown it so far, and what was said of it at its end. */
struct shown_record {
    std::vector<int> byte; /* -1: not yet */
    int verdict = 0;
    uint8_t type = 0;
    uint16_t text_bytes = 0;
    uint32_t tcp_seq = 0;
    bytes key, tag;

    void put(size_t at, int x)
    {
        if (byte.size() <= at)
            byte.resize(at + 1, -1);
        if (byte[at] >= 0)
            fail("a byte was mirrored twice");
        byte[at] = x;
    }
};
using record_name = std::tuple<uint32_t, uint8_t, uint64_t>; /* session, epoch modulo 256, open_seq */
using shown_records = std::map<record_name, shown_record>;

/* XORs the mirror's keystream of a record over its text: AES-128, counter block be128(i). */
void unseal(shown_record &r, const uint8_t key[16])
{
    EVP_CIPHER_CTX *aes = EVP_CIPHER_CTX_new();
    const uint8_t zero[16] = {};
    bytes stream((r.byte.size() + 15) / 16 * 16), zeros(stream.size());
    int n = 0;
    if (aes == nullptr || EVP_EncryptInit_ex(aes, EVP_aes_128_ctr(), nullptr, key, zero) != 1 ||
        (!zeros.empty() && EVP_EncryptUpdate(aes, stream.data(), &n, zeros.data(), static_cast<int>(zeros.size())) != 1))
        fail("AES-CTR");
    EVP_CIPHER_CTX_free(aes);
    for (size_t i = 0; i < r.byte.size(); i++)
        if (r.byte[i] >= 0)
            r.byte[i] ^= stream[i];
}

struct sent_frame {
    trace_item item;
    bytes frame;
};

sl_card_flow_key key_of(const model_flow &f)
{
    sl_card_flow_key k = {};
    memcpy(k.src, f.src, sizeof k.src);
    memcpy(k.dst, f.dst, sizeof k.dst);
    k.sport = f.sport;
    k.dport = f.dport;
    k.proto = f.proto;
    k.version = f.version;
    return k;
}

class checker
{
  public:
    checker(uint64_t seed, const trace_options &trace, const lane_options &lane)
        : m_lane(lane), m_trace(trace_new(seed, &trace)), m_out()
    {
        model_lane_options options = {};
        options.seal_limit = lane.seal_limit;
        m_model = model_lane_new(&options);
    }
    ~checker()
    {
        trace_free(m_trace);
        model_lane_free(m_model);
        model_output_free(&m_out);
    }
    checker(const checker &) = delete;
    checker &operator=(const checker &) = delete;

    check_result run(unsigned batch)
    {
        trace_item item = {};
        while (trace_next(m_trace, &item)) {
            if (item.kind == trace_frame) {
                m_lane.send(item.frame, item.bytes, item.port_error);
                m_frames.push_back(sent_frame{item, bytes(item.frame, item.frame + item.bytes)});
                if (m_frames.size() >= batch)
                    flush();
            } else {
                flush();
                command(item);
            }
        }
        flush();
        compare_totals();
        m_result.statistics = *trace_statistics_get(m_trace);
        return m_result;
    }

  private:
    void command(const trace_item &item)
    {
        const sl_card_flow_key key = key_of(item.flow);
        switch (item.kind) {
        case trace_add:
            if (!model_session_add(m_model, item.index, &item.flow, item.action, &item.state))
                fail("the model refuses a session");
            m_lane.add(item.index, key, static_cast<card::action>(item.action), item.state);
            m_keys[item.index] = key;
            break;
        case trace_remove:
            compare_session(item.index);
            if (!model_session_remove(m_model, item.index))
                fail("the model knows no session %u", item.index);
            m_lane.remove(item.index, m_keys.at(item.index));
            m_keys.erase(item.index);
            forget(m_got, item.index);
            forget(m_wanted, item.index);
            break;
        default:
            if (!model_session_keys(m_model, item.index, item.set, &item.keys))
                fail("the model refuses keys");
            m_lane.install_keys(item.index, static_cast<uint8_t>(item.set), item.keys);
        }
    }

    static void forget(shown_records &records, uint32_t index)
    {
        records.erase(records.lower_bound(record_name(index, 0, 0)), records.lower_bound(record_name(index + 1, 0, 0)));
    }

    void flush()
    {
        m_lane.drain();
        lane_output got = m_lane.take();
        size_t sent = 0, punts = 0, events = 0;
        take_mirror(got);
        std::map<uint32_t, std::vector<card::event>> by_packet;
        for (const card::event &e : got.events)
            by_packet[e.packet_id].push_back(e);
        for (const sent_frame &f : m_frames) {
            const uint32_t id = m_next_id++;
            std::vector<card::event> &told = by_packet[id];
            model_input in = {};
            in.frame = f.frame.data();
            in.bytes = f.frame.size();
            in.port_error = f.item.port_error;
            bool stepped = false; /* then the model knows by itself */
            for (const card::event &e : told) {
                in.squashed = in.squashed || e.kind == card::event_squashed;
                stepped = stepped || e.kind == card::event_key_update;
            }
            in.squashed = in.squashed && !stepped;
            model_packet(m_model, &in, &m_out);
            m_result.frames++;
            m_result.squashed += in.squashed;
            if (m_out.illegal)
                fail("packet %u was squashed without a reason", id);
            if (m_out.verdict == model_verdict_forward)
                compare_sent(id, f, sent < got.sent.size() ? &got.sent[sent] : nullptr), sent++;
            else if (m_out.verdict == model_verdict_punt)
                compare_punt(id, f, punts < got.punts.size() ? &got.punts[punts] : nullptr), punts++;
            else
                m_result.dropped++;
            count(m_out.verdict == model_verdict_forward ? card::counter_sent
                  : m_out.verdict == model_verdict_punt  ? card::counter_punted
                                                         : card::counter_dropped,
                  f);
            compare_events(id, f, told);
            events += told.size();
            want_mirror();
        }
        m_frames.clear();
        if (sent != got.sent.size() || punts != got.punts.size() || events != got.events.size())
            fail("the lane gave %zu frames, %zu punts, %zu events; expected %zu, %zu, %zu", got.sent.size(), got.punts.size(),
                 got.events.size(), sent, punts, events);
        compare_mirror();
        for (const auto &session : m_keys)
            compare_session(session.first);
    }

    void compare_frame(uint32_t id, const char *what, const bytes &got, const uint8_t *wanted, size_t count)
    {
        MUST_EQUAL(id, what, got.size(), count);
        for (size_t i = 0; i < count; i++)
            if (got[i] != wanted[i])
                fail("packet %u: byte %zu of %zu of the frame %s is %02x, the model says %02x", id, i, count, what, got[i],
                     wanted[i]);
    }

    void compare_sent(uint32_t id, const sent_frame &f, const bytes *got)
    {
        if (got == nullptr)
            fail("packet %u (%s) did not come out", id, trace_sort_name(f.item.sort));
        compare_frame(id, "sent", *got, m_out.frame, m_out.frame_bytes);
        m_result.sent++;
        if (f.item.session != trace_no_session && !f.item.lost_behind &&
            !trace_forwarded(m_trace, f.item.session, got->data(), got->size()))
            fail("packet %u: the receiver got what was not sent", id);
    }

    void compare_punt(uint32_t id, const sent_frame &f, const punted *got)
    {
        const model_punt_info &want = m_out.punt;
        if (got == nullptr)
            fail("packet %u (%s) was not punted, reason %d", id, trace_sort_name(f.item.sort), want.reason);
        const card_punt &i = got->info;
        MUST_EQUAL(id, "punt: packet id", i.packet_id, id);
        MUST_EQUAL(id, "punt: reason", i.reason, want.reason);
        MUST_EQUAL(id, "punt: has_session", i.has_session, want.has_session);
        if (want.reason == model_reason_rule)
            MUST_EQUAL(id, "punt: rule", i.rule, want.rule);
        if (want.has_session) {
            MUST_EQUAL(id, "punt: index", i.index, want.index);
            MUST_EQUAL(id, "punt: flow", i.flow, want.reason == model_reason_hold ? 0 : want.flow);
        }
        if (want.has_session && want.numbers && want.reason != model_reason_hold) {
            MUST_EQUAL(id, "punt: next", i.next, want.next);
            MUST_EQUAL(id, "punt: record_start", i.record_start, want.record_start);
            MUST_EQUAL(id, "punt: open_seq", i.open_seq, want.open_seq);
            MUST_EQUAL(id, "punt: seal_seq", i.seal_seq, want.seal_seq);
            MUST_EQUAL(id, "punt: epoch", i.epoch, want.epoch & 0xff);
        }
        const size_t count = std::min<size_t>(f.frame.size(), card::frame_bytes_max); /* the port cuts an oversize frame */
        MUST_EQUAL(id, "punt: frame_bytes", i.frame_bytes, count);
        compare_frame(id, "punted", got->frame, f.frame.data(), count);
        m_result.punted++;
        m_result.reasons[i.reason]++;
        if (f.item.session != trace_no_session)
            trace_punted(m_trace, f.item.session, want.reason, f.frame.data(), f.frame.size(), i.next);
    }

    void compare_events(uint32_t id, const sent_frame &f, std::vector<card::event> &got)
    {
        std::vector<model_event> want(m_out.events, m_out.events + m_out.events_count);
        const auto before = [](const auto &a, const auto &b) {
            return std::make_tuple(int{a.kind}, a.open_seq) < std::make_tuple(int{b.kind}, b.open_seq);
        };
        std::sort(want.begin(), want.end(), before);
        std::sort(got.begin(), got.end(), before);
        for (size_t i = 0; i < std::max(want.size(), got.size()); i++) {
            if (i >= want.size())
                fail("packet %u (%s): event %d is not the model's", id, trace_sort_name(f.item.sort), got[i].kind);
            if (i >= got.size())
                fail("packet %u (%s): no event %d", id, trace_sort_name(f.item.sort), want[i].kind);
            MUST_EQUAL(id, "event: kind", got[i].kind, want[i].kind);
            MUST_EQUAL(id, "event: detail", got[i].detail, want[i].detail);
            MUST_EQUAL(id, "event: epoch", got[i].epoch, want[i].epoch & 0xff);
            MUST_EQUAL(id, "event: index", got[i].index, want[i].index);
            MUST_EQUAL(id, "event: flow", got[i].flow, want[i].flow);
            MUST_EQUAL(id, "event: open_seq", got[i].open_seq, want[i].open_seq);
            MUST_EQUAL(id, "event: tcp_seq", got[i].tcp_seq, want[i].tcp_seq);
            m_result.events++;
            m_result.kinds[got[i].kind]++;
            const bool died = got[i].kind == card::event_bad_record || got[i].kind == card::event_bad_tag ||
                              got[i].kind == card::event_unexpected;
            if (died && f.item.session != trace_no_session && !trace_died(m_trace, f.item.session))
                fail("packet %u: a genuine session was killed, event %d", id, got[i].kind);
        }
    }

    void take_mirror(const lane_output &got)
    {
        for (const card::mirror_item &x : got.mirror) {
            const card::mirror_part *const parts[] = {&x.a, &x.b};
            for (const card::mirror_part *part : parts) {
                for (unsigned i = 0; i < part->bytes; i++) {
                    const unsigned at = part->at + i;
                    if ((x.fresh >> at & 1) != 0)
                        m_got[record_name(x.index, static_cast<uint8_t>(x.epoch), part->open_seq)].put(part->offset + i,
                                                                                                       x.byte[at]);
                }
            }
            const uint8_t zero[16] = {};
            if (x.verdict != card::mirror_verified && memcmp(x.key, zero, 16) != 0)
                fail("the mirror told a key without need"); /* G7 */
            if (x.verdict == card::mirror_open)
                continue;
            shown_record &r = m_got[record_name(x.index, static_cast<uint8_t>(x.epoch), x.a.open_seq)];
            r.verdict = x.verdict;
            r.type = x.type;
            r.text_bytes = x.text_bytes;
            r.tcp_seq = x.tcp_seq;
            r.key.assign(x.key, x.key + 16);
            r.tag.assign(x.tag, x.tag + 16);
            m_over.push_back(record_name(x.index, static_cast<uint8_t>(x.epoch), x.a.open_seq));
        }
    }

    void want_mirror()
    {
        for (size_t i = 0; i < m_out.mirrors_count; i++) {
            const model_mirror &x = m_out.mirrors[i];
            const record_name name(x.index, static_cast<uint8_t>(x.epoch), x.open_seq);
            shown_record &r = m_wanted[name];
            for (unsigned k = 0; k < x.bytes; k++)
                r.put(x.offset + k, x.text[k]);
            if (x.verdict == model_mirror_open)
                continue;
            r.verdict = x.verdict;
            r.text_bytes = x.text_bytes;
            r.tcp_seq = x.tcp_seq;
            r.key.assign(x.key, x.key + 16);
            if (x.verdict == model_mirror_verified) {
                r.type = x.type;
                r.tag.assign(x.tag, x.tag + 16);
            }
            m_wanted_over.push_back(name);
        }
    }

    /* Each frame once, with the length it came in with: an oversize one with the bytes that the port lets in. */
    void count(card::counter_fate fate, const sent_frame &f)
    {
        m_totals[fate].packets++;
        m_totals[fate].bytes += std::min<size_t>(f.frame.size(), card::frame_bytes_max);
    }

    void compare_totals()
    {
        const char *const names[][2] = {
            {"frames sent", "bytes sent"}, {"frames punted", "bytes punted"}, {"frames dropped", "bytes dropped"}};
        uint64_t frames = 0;
        for (uint32_t fate = 0; fate < card::counter_fates; fate++) {
            const card::counter_value got = m_lane.count(static_cast<uint32_t>(card::counter_totals_at) + fate);
            MUST_EQUAL(m_next_id, names[fate][0], got.packets, m_totals[fate].packets);
            MUST_EQUAL(m_next_id, names[fate][1], got.bytes, m_totals[fate].bytes);
            frames += got.packets;
        }
        MUST_EQUAL(m_next_id, "frames in all", frames, m_result.frames);
    }

    /* The records that ended in this batch. Those that have not are compared when they do. */
    void compare_mirror()
    {
        std::sort(m_over.begin(), m_over.end());
        std::sort(m_wanted_over.begin(), m_wanted_over.end());
        if (m_over != m_wanted_over)
            fail("the mirror has ends of %zu records, the model of %zu, or of others", m_over.size(), m_wanted_over.size());
        for (const record_name &name : m_over) {
            shown_record &got = m_got[name], &want = m_wanted[name];
            const uint32_t id = m_next_id;
            MUST_EQUAL(id, "mirror: verdict", got.verdict, want.verdict);
            MUST_EQUAL(id, "mirror: text_bytes", got.text_bytes, want.text_bytes);
            MUST_EQUAL(id, "mirror: tcp_seq", got.tcp_seq, want.tcp_seq);
            unseal(got, want.key.data());
            if (got.byte != want.byte)
                fail("mirror: the text of a record of session %u differs", std::get<0>(name));
            m_result.text_bytes += got.byte.size();
            if (want.verdict == model_mirror_verified) {
                MUST_EQUAL(id, "mirror: type", got.type, want.type);
                if (got.key != want.key || got.tag != want.tag)
                    fail("mirror: key or tag of a record of session %u differs", std::get<0>(name));
                m_result.verified++;
            } else {
                m_result.bad++;
            }
            m_got.erase(name);
            m_wanted.erase(name);
        }
        m_over.clear();
        m_wanted_over.clear();
    }

    void compare_session(uint32_t index)
    {
        model_session_view want = {};
        const uint32_t id = m_next_id;
        if (!model_session_get(m_model, index, &want))
            fail("the model lost session %u", index);
        const card::track_state &got = m_lane.state(index).track;
        MUST_EQUAL(id, "state: dead", (got.flags & card::track_dead) != 0, want.dead);
        if (want.dead)
            return;
        MUST_EQUAL(id, "state: next", got.next, want.next);
        MUST_EQUAL(id, "state: record_start", got.record_start, want.record_start);
        MUST_EQUAL(id, "state: seal_seq", got.seal_seq, want.seal_seq);
        MUST_EQUAL(id, "state: open_seq", card::load_le<6>(got.open_seq), want.open_seq);
        MUST_EQUAL(id, "state: epoch", got.epoch, want.epoch & 0xff);
        MUST_EQUAL(id, "state: set", (got.flags & card::track_set) != 0, want.set);
        MUST_EQUAL(id, "state: wait", (got.flags & card::track_wait) != 0, want.wait);
        MUST_EQUAL(id, "state: next keys", (got.flags & card::track_next) != 0, want.next_keys);
        MUST_EQUAL(id, "state: ahead", (got.flags & card::track_ahead) != 0, want.ahead);
    }

    lane_bench m_lane;
    model_lane *m_model = nullptr;
    struct trace *m_trace;
    model_output m_out;
    std::vector<sent_frame> m_frames;
    std::map<uint32_t, sl_card_flow_key> m_keys;
    uint32_t m_next_id = 0;
    shown_records m_got, m_wanted;
    std::vector<record_name> m_over, m_wanted_over;
    card::counter_total m_totals[card::counter_fates] = {};
    check_result m_result = {};
};

} // namespace

check_result run_trace(uint64_t seed, const trace_options &trace, const lane_options &lane, unsigned batch)
{
    return checker(seed, trace, lane).run(batch);
}

} // namespace bench
