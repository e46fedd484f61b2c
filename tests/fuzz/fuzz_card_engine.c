/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cpu engine under frames of any content and segments of any kind, held against the lane's model: the same frames, punts,
 * events and numbers of mirrored records. The input is a list of steps; a step's first byte says what it is:
 *
 *   raw       length 2, a frame
 *   segment   session 1, distance from where the stream was 2 (signed), flags 1, length 2, payload
 *   stream    session 1, back 1, length 2: of a genuine stream of records, from `back` bytes before where it was on
 *   keys      session 1, set 1
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "card/engine.h"
#include "card/numbers.h"
#include "model.h"
#include "record/gcm.h"
#include "trace_frame.h"

enum { SESSIONS = 4, STREAM = 40000, STEPS = 400 };

static struct {
    struct sl_engine *engine;
    struct model_lane *model;
    struct model_output out;
    struct session_state state[SESSIONS];
    struct model_flow flow[SESSIONS];
    uint8_t stream[SESSIONS][STREAM];
    size_t at[SESSIONS];
} f;

static void expect(bool ok)
{
    if (!ok)
        abort();
}

/* ---- the sessions: TLS 1.3, TLS 1.2 with mirror, TLS 1.3 with the next keys and mirror, forward ---- */

static const uint8_t actions[SESSIONS] = {SL_CARD_SESSION_TRANSCODE, SL_CARD_SESSION_TRANSCODE, SL_CARD_SESSION_TRANSCODE,
                                          SL_CARD_SESSION_FORWARD};
static const uint8_t flags[SESSIONS] = {track_tls13, track_mirror, track_tls13 | track_mirror | track_next, track_tls13};

static void put64(uint8_t *p, uint64_t x)
{
    for (unsigned i = 0; i < 8; i++)
        p[i] = (uint8_t)(x >> (56 - 8 * i));
}

/* Records of many lengths, an alert, a ticket; the session with next keys: a KeyUpdate after some. */
static void make_stream(unsigned session)
{
    const struct key_set *set = f.state[session].keys.set;
    const bool tls13 = (flags[session] & track_tls13) != 0;
    struct sl_gcm_key *key[2];
    static uint8_t inner[4096];
    unsigned epoch = 0;
    uint64_t seq = 0;
    for (unsigned i = 0; i < 2; i++)
        expect(sl_gcm_key_new(sl_gcm_engine_default(), set[i].open_key, 16, &key[i]) == SL_OK);
    for (size_t at = 0, n = 0; at + 4096 < STREAM; n++, seq++) {
        uint8_t *r = f.stream[session] + at, iv[12] = {0}, aad[13], number[8];
        size_t content = n % 5 == 0 ? 2 : 100 * (n % 7) * (n % 4), aad_bytes;
        uint8_t type = n % 5 == 0 ? 21 : 23;
        memset(inner, (int)n, sizeof(inner));
        if (tls13 && n % 6 == 3) {
            type = 22;
            content = 9;
        }
        const bool update = tls13 && n == 9;
        if (update) {
            type = 22;
            content = 5;
            memcpy(inner, "\x18\x00\x00\x01\x00", 5);
        }
        put64(number, seq);
        memcpy(r, "\x17\x03\x03", 3);
        const size_t text = tls13 ? content + 1 + n % 3 : content, before = tls13 ? 5 : 13, fragment = text + 16 + before - 5;
        r[3] = (uint8_t)(fragment >> 8);
        r[4] = (uint8_t)fragment;
        if (tls13) {
            inner[content] = type;
            memset(inner + content + 1, 0, n % 3);
            memcpy(aad, r, 5);
            aad_bytes = 5;
            memcpy(iv + 4, number, 8);
        } else {
            r[0] = type;
            memcpy(r + 5, number, 8);
            memcpy(iv + 4, number, 8);
            memcpy(aad, number, 8);
            memcpy(aad + 8, r, 3);
            aad[11] = (uint8_t)(text >> 8);
            aad[12] = (uint8_t)text;
            aad_bytes = 13;
        }
        expect(sl_gcm_seal(key[epoch], iv, aad, aad_bytes, inner, r + before, text, r + before + text) == SL_OK);
        at += 5 + fragment;
        if (update && epoch == 0) {
            epoch = 1;
            seq = UINT64_MAX;
        }
    }
    sl_gcm_key_free(key[0]);
    sl_gcm_key_free(key[1]);
}

static void add_session(unsigned i)
{
    struct sl_engine_command c = {.op = SL_ENGINE_INSTALL, .flow = i + 1, .action = actions[i], .state = {f.state[i], f.state[i]}};
    struct sl_engine_completion done;
    memcpy(c.key.src, f.flow[i].src, 16);
    memcpy(c.key.dst, f.flow[i].dst, 16);
    c.key.sport = f.flow[i].sport;
    c.key.dport = f.flow[i].dport;
    c.key.proto = f.flow[i].proto;
    c.key.version = f.flow[i].version;
    expect(sl_engine_submit(f.engine, &c) == SL_OK && sl_engine_completions(f.engine, &done, 1) == 1 && done.status == SL_OK);
    expect(model_session_add(f.model, i, &f.flow[i], (enum model_action)actions[i], &f.state[i]));
}

static void make_sessions(void)
{
    for (unsigned i = 0; i < SESSIONS; i++) {
        struct session_state *s = &f.state[i];
        f.flow[i] = (struct model_flow){
            .src = {10, 0, 0, (uint8_t)i}, .dst = {10, 9}, .sport = 999, .dport = 443, .proto = 6, .version = 4};
        if (i == 1)
            f.flow[i].version = 6;
        s->track.flags = flags[i];
        s->track.seq_delta = 0x11111111;
        s->track.ack_delta = 0x22222222;
        s->keys.flow[0] = (uint8_t)(i + 1);
        s->keys.window_shift = (int8_t)(i * 3 - 4);
        for (unsigned set = 0; set < 2; set++) {
            memset(s->keys.set[set].open_key, (int)(i * 4 + set * 2 + 1), 16);
            memset(s->keys.set[set].seal_key, (int)(i * 4 + set * 2 + 2), 16);
        }
        make_stream(i);
    }
}

/* ---- one frame ---- */

static void compare(const uint8_t *frame, size_t bytes, bool damaged)
{
    const struct sl_engine_frame in = {.bytes = frame, .count = (uint32_t)bytes, .damaged = damaged};
    const struct model_input same = {.frame = frame, .bytes = bytes, .port_error = damaged};
    static struct card_event events[2048];
    static struct sl_engine_mirror mirror[1024];
    struct sl_engine_result r = {0};
    expect(sl_engine_send(f.engine, &in, 1) == 1);
    if (bytes == 0) { /* no frame at all */
        expect(sl_engine_receive(f.engine, &r, 1) == 0);
        return;
    }
    model_packet(f.model, &same, &f.out);
    expect(sl_engine_receive(f.engine, &r, 1) == (f.out.verdict != model_verdict_drop));
    if (f.out.verdict != model_verdict_drop) {
        expect(r.kind == (f.out.verdict == model_verdict_forward ? SL_FRAME_TX : SL_FRAME_PUNT));
        expect(r.count == f.out.frame_bytes && memcmp(r.bytes, f.out.frame, r.count) == 0);
    }
    if (f.out.verdict == model_verdict_punt) {
        expect(r.punt.reason == f.out.punt.reason && r.punt.has_session == f.out.punt.has_session);
        expect(!f.out.punt.numbers || (r.punt.next == f.out.punt.next && r.punt.record_start == f.out.punt.record_start &&
                                       r.punt.open_seq == f.out.punt.open_seq && r.punt.seal_seq == f.out.punt.seal_seq));
    }
    expect(sl_engine_events(f.engine, events, 2048) == f.out.events_count);
    for (size_t i = 0; i < f.out.events_count; i++)
        expect(events[i].kind == f.out.events[i].kind && events[i].detail == f.out.events[i].detail &&
               events[i].open_seq == f.out.events[i].open_seq && events[i].tcp_seq == f.out.events[i].tcp_seq);
    size_t verified = 0;
    for (size_t i = 0; i < f.out.mirrors_count; i++)
        verified += f.out.mirrors[i].verdict == model_mirror_verified;
    expect(sl_engine_mirrored(f.engine, mirror, 1024) == verified);
}

/* ---- steps ---- */

struct input {
    const uint8_t *bytes;
    size_t left;
};

static unsigned take8(struct input *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->bytes++;
}

static unsigned take16(struct input *in)
{
    const unsigned high = take8(in);
    return high << 8 | take8(in);
}

/* At most `count` bytes, fewer at the input's end. */
static const uint8_t *take(struct input *in, size_t *count)
{
    const uint8_t *p = in->bytes;
    if (*count > in->left)
        *count = in->left;
    in->bytes += *count;
    in->left -= *count;
    return p;
}

static void send_segment(unsigned session, uint32_t seq, unsigned tcp_flags, const uint8_t *payload, size_t bytes)
{
    static uint8_t frame[trace_frame_room];
    const struct trace_packet p = {.flow = f.flow[session],
                                   .seq = seq,
                                   .ack = 77,
                                   .window = 0x4321,
                                   .tcp_flags = (uint8_t)(tcp_flags & 0x3f),
                                   .timestamps = (tcp_flags & 0x40) != 0,
                                   .sack_blocks = (tcp_flags & 0x80) != 0,
                                   .payload = payload,
                                   .payload_bytes = bytes};
    compare(frame, trace_build(&p, frame), false);
}

static void step(struct input *in)
{
    const unsigned kind = take8(in), session = kind / 8 % SESSIONS;
    size_t count;
    switch (kind % 4) {
    case 0: {
        count = take16(in);
        const uint8_t *frame = take(in, &count);
        compare(frame, count, (kind & 0x80) != 0);
        break;
    }
    case 1: {
        const int16_t distance = (int16_t)take16(in);
        const unsigned tcp_flags = take8(in);
        count = take16(in) % 9000;
        const uint8_t *payload = take(in, &count);
        send_segment(session, (uint32_t)f.at[session] + (uint32_t)distance, tcp_flags, payload, count);
        break;
    }
    case 2: {
        const size_t back = take8(in);
        count = take16(in) % 9000;
        f.at[session] -= back < f.at[session] ? back : f.at[session];
        if (count > STREAM - f.at[session])
            count = STREAM - f.at[session];
        send_segment(session, (uint32_t)f.at[session], 16, f.stream[session] + f.at[session], count);
        f.at[session] += (kind & 0x80) != 0 ? count + take8(in) : count; /* a hole */
        if (f.at[session] > STREAM)
            f.at[session] = STREAM;
        break;
    }
    default: {
        const unsigned set = take8(in) % 2;
        struct sl_engine_command c = {
            .op = SL_ENGINE_KEYS, .flow = session + 1, .set = (uint8_t)set, .keys = f.state[session].keys.set[set]};
        struct sl_engine_completion done;
        expect(sl_engine_submit(f.engine, &c) == SL_OK && sl_engine_completions(f.engine, &done, 1) == 1 && done.status == SL_OK);
        (void)model_session_keys(f.model, session, set, &c.keys);
        break;
    }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    if (f.engine == NULL) {
        const struct sl_engine_options options = {.sessions = SESSIONS};
        expect(sl_engine_open_cpu(&options, &f.engine, NULL) == SL_OK);
        f.model = model_lane_new(NULL);
        make_sessions();
    }
    for (unsigned i = 0; i < SESSIONS; i++) {
        add_session(i);
        f.at[i] = 0;
    }
    for (unsigned i = 0; i < STEPS && in.left > 0; i++)
        step(&in);
    for (unsigned i = 0; i < SESSIONS; i++) {
        const struct sl_engine_command c = {.op = SL_ENGINE_REMOVE, .flow = i + 1};
        struct sl_engine_completion done;
        expect(sl_engine_submit(f.engine, &c) == SL_OK && sl_engine_completions(f.engine, &done, 1) == 1 && done.status == SL_OK);
        expect(model_session_remove(f.model, i));
    }
    return 0;
}
