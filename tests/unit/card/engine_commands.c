/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_commands.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <string.h>
#include <time.h>

#include "base/secret.h"
#include "card/numbers.h"
#include "record/gcm.h"
#include "trace_frame.h"

/* The numbers for C are those of docs/card.md, as the model has them. */
_Static_assert((int)SL_CARD_SESSION_HOLD == (int)model_action_session_hold, "actions");
_Static_assert((int)SL_PUNT_PORT_ERROR == (int)model_reason_port_error && (int)SL_PUNT_CHECKSUM == (int)model_reason_checksum,
               "parser");
_Static_assert((int)SL_PUNT_PROTOCOL == (int)model_reason_protocol && (int)SL_PUNT_DEAD == (int)model_reason_dead, "sessions");
_Static_assert((int)SL_CARD_EVENT_KEY_WAIT == (int)model_event_key_wait && (int)SL_CARD_EVENT_BAD_TAG == (int)model_event_bad_tag,
               "events");

/* ---- an engine that answers when it likes ---- */

static struct sl_engine_counters counters_of(const struct sl_engine *e)
{
    struct sl_engine_counters n;
    sl_engine_counters(e, &n);
    return n;
}

void engine_wait(struct sl_engine *e)
{
    static unsigned looks;
    if (counters_of(e).dead)
        fail_msg("the engine is dead");
    if (++looks % 64 == 0) /* it may be elsewhere, and want this core */
        nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

struct sl_engine_completion engine_done(struct sl_engine *e, const struct sl_engine_command *c)
{
    struct sl_engine_completion done;
    sl_err err;
    memset(&done, 0, sizeof(done));
    while ((err = sl_engine_submit(e, c)) == SL_ERR_AGAIN)
        engine_wait(e);
    assert_int_equal(err, SL_OK);
    while (sl_engine_completions(e, &done, 1) == 0)
        engine_wait(e);
    assert_int_equal(done.cookie, c->cookie);
    assert_int_equal(done.flow, c->flow);
    assert_int_equal(done.op, c->op);
    return done;
}

sl_err engine_do(struct sl_engine *e, const struct sl_engine_command *c)
{
    return engine_done(e, c).status;
}

void engine_give(struct sl_engine *e, const struct sl_engine_frame *frame)
{
    while (sl_engine_send(e, frame, 1) == 0)
        engine_wait(e);
}

struct sl_engine_result engine_next(struct sl_engine *e)
{
    struct sl_engine_result out;
    while (sl_engine_receive(e, &out, 1) == 0)
        engine_wait(e);
    return out;
}

static struct sl_engine_mirror next_mirrored(struct sl_engine *e)
{
    struct sl_engine_mirror m;
    while (sl_engine_mirrored(e, &m, 1) == 0)
        engine_wait(e);
    return m;
}

static struct sl_engine_result pass(struct sl_engine *e, const uint8_t *bytes, size_t count)
{
    const struct sl_engine_frame f = {.bytes = bytes, .count = (uint32_t)count};
    engine_give(e, &f);
    return engine_next(e);
}

static struct sl_engine *open_engine(void **state, uint32_t sessions)
{
    const struct engine_opener *opener = *state;
    struct sl_engine *e = opener->open(opener, sessions);
    assert_non_null(e);
    return e;
}

/* ---- a flow ---- */

const uint8_t engine_marked_key[32] = "0123456789abcdefABCDEFGHIJKLMNO";

/* The hash key of it: E(K, 0). */
static void hash_key(uint8_t h[16])
{
    static const uint8_t zero[16] = {0};
    EVP_CIPHER_CTX *aes = EVP_CIPHER_CTX_new();
    int n;
    assert_non_null(aes);
    assert_int_equal(EVP_EncryptInit_ex(aes, EVP_aes_256_ecb(), NULL, engine_marked_key, NULL), 1);
    assert_int_equal(EVP_EncryptUpdate(aes, h, &n, zero, 16), 1);
    EVP_CIPHER_CTX_free(aes);
}

struct sl_engine_command engine_install(uint64_t flow, uint8_t host, unsigned action)
{
    struct sl_engine_command c = {.op = SL_ENGINE_INSTALL, .cookie = 7, .flow = flow, .action = (uint8_t)action};
    c.key = (struct sl_engine_flow_key){
        .src = {10, 0, 0, host}, .dst = {10, 1, 0, 1}, .sport = 1000, .dport = 443, .proto = 6, .version = 4};
    uint8_t h[16];
    hash_key(h);
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++) {
        struct session_state *s = &c.state[i];
        s->track.flags = track_tls13 | track_mirror;
        for (unsigned set = 0; set < 2; set++) {
            memcpy(s->keys.set[set].open_key, engine_marked_key, 32);
            memcpy(s->keys.set[set].seal_key, engine_marked_key, 32);
            memcpy(s->keys.set[set].open_h, h, 16);
            memcpy(s->keys.set[set].seal_h, h, 16);
            s->keys.set[set].long_keys = 3;
        }
    }
    return c;
}

size_t engine_packet(uint8_t *out, uint8_t host, uint8_t flags, uint32_t seq, const void *payload, size_t bytes)
{
    const struct trace_packet p = {
        .flow = {.src = {10, 0, 0, host}, .dst = {10, 1, 0, 1}, .sport = 1000, .dport = 443, .proto = 6, .version = 4},
        .seq = seq,
        .tcp_flags = flags,
        .payload = payload,
        .payload_bytes = bytes};
    return trace_build(&p, out);
}

void engine_record(uint8_t record[ENGINE_RECORD_BYTES], uint64_t seq)
{
    uint8_t inner[101], iv[12] = {0};
    struct sl_gcm_key *key;
    memset(inner, 's', 100);
    inner[100] = 23;
    iv[11] = (uint8_t)seq;
    memcpy(record, "\x17\x03\x03\x00\x75", 5);
    assert_int_equal(sl_gcm_key_new(sl_gcm_engine_default(), engine_marked_key, 32, &key), SL_OK);
    assert_int_equal(sl_gcm_seal(key, iv, record, 5, inner, record + 5, 101, record + 5 + 101), SL_OK);
    sl_gcm_key_free(key);
}

/* ---- what is refused ---- */

void engine_commands_install_refuses(void **state)
{
    struct sl_engine *e = open_engine(state, 3);
    struct sl_engine_command good = engine_install(1, 1, SL_CARD_SESSION_TRANSCODE), bad[16];
    for (size_t i = 0; i < 16; i++)
        bad[i] = good;
    bad[0].flow = 0;
    bad[1].action = SL_CARD_DROP;
    bad[2].action = 6;
    bad[3].key.version = 5;
    bad[4].key.src[4] = 1;
    bad[5].key.dst[15] = 1;
    bad[6].state[0].track.next = 1; /* in a record */
    bad[7].state[1].track.flags |= track_dead;
    bad[8].state[1].track.flags |= track_wait;
    bad[9].state[0].track.flags |= track_ahead;
    bad[10].state[0].track.flags |= track_next | track_previous;
    bad[11].state[0].track.ring[0] = 21;
    bad[12].state[0].track.ring[1] = 100;
    bad[13].state[0].track.ring_new = 3;
    bad[14].state[1].keys.window_shift = 15;
    bad[15].state[1].keys.set[1].long_keys = 4;
    for (size_t i = 0; i < 16; i++)
        if (engine_do(e, &bad[i]) != SL_ERR_INVALID)
            fail_msg("number %zu was not refused", i);
    assert_int_equal(counters_of(e).sessions, 0);
    assert_int_equal(engine_do(e, &good), SL_OK);
    assert_int_equal(engine_do(e, &good), SL_ERR_EXISTS);
    good.flow = 2; /* another flow, the same key */
    assert_int_equal(engine_do(e, &good), SL_ERR_EXISTS);
    good = engine_install(1, 2, SL_CARD_SESSION_HOLD); /* the same flow, another key */
    assert_int_equal(engine_do(e, &good), SL_ERR_EXISTS);
    for (uint8_t i = 2; i <= 4; i++) {
        good = engine_install(i, i, SL_CARD_SESSION_FORWARD);
        assert_int_equal(engine_do(e, &good), i <= 3 ? SL_OK : SL_ERR_LIMIT);
    }
    assert_int_equal(counters_of(e).sessions, 3);
    struct sl_engine_command gone = {.op = SL_ENGINE_REMOVE, .flow = 2};
    assert_int_equal(engine_do(e, &gone), SL_OK);
    assert_int_equal(engine_do(e, &good), SL_OK);
    sl_engine_close(e);
}

void engine_commands_others_refuse(void **state)
{
    struct sl_engine *e = open_engine(state, 3);
    struct sl_engine_command c = engine_install(1, 1, SL_CARD_SESSION_HOLD);
    assert_int_equal(engine_do(e, &c), SL_OK);
    static const enum sl_engine_op of_flow[] = {SL_ENGINE_CHANGE, SL_ENGINE_KEYS, SL_ENGINE_REMOVE, SL_ENGINE_QUERY};
    for (size_t i = 0; i < 4; i++) {
        c = (struct sl_engine_command){.op = of_flow[i], .flow = 2};
        assert_int_equal(engine_do(e, &c), SL_ERR_NOT_FOUND);
        c.flow = 0;
        assert_int_equal(engine_do(e, &c), SL_ERR_NOT_FOUND);
    }
    static const struct sl_engine_command invalid[] = {{.op = SL_ENGINE_CHANGE, .flow = 1, .action = SL_CARD_FORWARD},
                                                       {.op = SL_ENGINE_KEYS, .flow = 1, .lane = 2},
                                                       {.op = SL_ENGINE_KEYS, .flow = 1, .set = 2},
                                                       {.op = SL_ENGINE_KEYS, .flow = 1, .set = 1, .keys.long_keys = 4},
                                                       {.op = SL_ENGINE_RULE, .lane = 2},
                                                       {.op = SL_ENGINE_RULE, .number = SL_ENGINE_RULES},
                                                       {.op = SL_ENGINE_RULE, .rule = {.valid = 1, .version = 5}},
                                                       {.op = SL_ENGINE_RULE, .rule = {.valid = 1, .action = 3}},
                                                       {.op = SL_ENGINE_RULE, .rule = {.valid = 2}},
                                                       {.op = SL_ENGINE_RULE, .rule = {.valid = 1, .any_proto = 2}},
                                                       {.op = SL_ENGINE_RULE, .rule = {.valid = 1, .src = {1}}},
                                                       {.op = SL_ENGINE_RULE, .rule = {.valid = 1, .dst = {3}, .dst_mask = {2}}},
                                                       {.op = SL_ENGINE_RULE, .rule = {.valid = 1, .zero = {0, 0, 1}}},
                                                       {.op = SL_ENGINE_DEFAULT, .action = 3},
                                                       {.op = SL_ENGINE_DEFAULT, .lane = 2},
                                                       {.op = (enum sl_engine_op)99}};
    for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++)
        if (engine_do(e, &invalid[i]) != SL_ERR_INVALID)
            fail_msg("number %zu was not refused", i);
    assert_int_equal(counters_of(e).sessions, 1);
    sl_engine_close(e);
}

/* ---- in order, and in bounds ---- */

/* Commands that follow each other without waiting, on the same flow and on others: each sees what those before it did, and what is
 * refused is told in its turn. */
void engine_commands_in_order(void **state)
{
    enum { ROUNDS = 20, EACH = 6 };
    static const sl_err wanted[EACH] = {SL_OK, SL_ERR_EXISTS, SL_OK, SL_OK, SL_OK, SL_ERR_NOT_FOUND};
    struct sl_engine *e = open_engine(state, 2);
    uint64_t given = 0, fetched = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        const uint64_t flow = 1 + round;
        struct sl_engine_command c[EACH] = {engine_install(flow, 1, SL_CARD_SESSION_HOLD),
                                            engine_install(flow, 2, SL_CARD_SESSION_HOLD),
                                            {.op = SL_ENGINE_CHANGE, .flow = flow, .action = SL_CARD_SESSION_FORWARD},
                                            {.op = SL_ENGINE_QUERY, .flow = flow},
                                            {.op = SL_ENGINE_REMOVE, .flow = flow},
                                            {.op = SL_ENGINE_QUERY, .flow = flow}};
        for (unsigned i = 0; i < EACH; i++) {
            sl_err err;
            c[i].cookie = given;
            while ((err = sl_engine_submit(e, &c[i])) == SL_ERR_AGAIN)
                engine_wait(e);
            assert_int_equal(err, SL_OK);
            given++;
        }
        while (fetched < given && (round % 3 != 0 || round + 1 == ROUNDS)) {
            struct sl_engine_completion done;
            if (sl_engine_completions(e, &done, 1) == 0) {
                engine_wait(e);
                continue;
            }
            assert_int_equal(done.cookie, fetched);
            assert_int_equal(done.flow, 1 + fetched / EACH);
            assert_int_equal(done.status, wanted[fetched % EACH]);
            fetched++;
        }
    }
    assert_int_equal(counters_of(e).sessions, 0);
    sl_engine_close(e);
}

/* Nobody fetches: there comes a time when no more are taken. Every one that was completes, in its turn, once. */
void engine_commands_completions_are_bounded(void **state)
{
    struct sl_engine *e = open_engine(state, 2);
    struct sl_engine_command c = engine_install(1, 1, SL_CARD_SESSION_HOLD);
    struct sl_engine_completion done[64];
    uint64_t given = 0, fetched = 0;
    sl_err err = SL_OK;
    assert_int_equal(engine_do(e, &c), SL_OK);
    c = (struct sl_engine_command){.op = SL_ENGINE_QUERY};
    while (err == SL_OK && given < 100000) {
        c.cookie = given;
        c.flow = 1 + given % 2; /* there is one, and none */
        err = sl_engine_submit(e, &c);
        given += err == SL_OK;
    }
    assert_int_equal(err, SL_ERR_AGAIN);
    assert_true(given > 0);
    while (fetched < given) {
        const size_t n = sl_engine_completions(e, done, 64);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(done[i].status, fetched % 2 == 0 ? SL_OK : SL_ERR_NOT_FOUND);
            assert_int_equal(done[i].cookie, fetched++);
        }
        if (n == 0)
            engine_wait(e);
    }
    assert_int_equal(engine_do(e, &c), c.flow == 1 ? SL_OK : SL_ERR_NOT_FOUND); /* and nothing of them comes after that */
    sl_engine_close(e);
}

/* Fetches events as they are; how many there were, with those lost. */
static uint64_t fetch_events(struct sl_engine *e, uint32_t *number)
{
    struct card_event events[100];
    uint64_t told = 0;
    const size_t count = sl_engine_events(e, events, 100);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(events[i].sequence, ++*number);
        assert_int_equal(events[i].kind, SL_CARD_EVENT_FIN);
        told += 1 + (uint64_t)events[i].lost;
    }
    return told;
}

/* Sends numbered frames until no more are taken, fetches some, and so on: all come out, in order, as they were. */
static uint64_t pass_numbered(struct sl_engine *e, uint32_t total, uint8_t kind, uint8_t flags, uint32_t *event)
{
    static uint8_t bytes[trace_frame_room];
    struct sl_engine_result out[100];
    uint32_t sent = 0, received = 0, stops = 0;
    uint64_t told = 0;
    while (received < total) {
        while (sent < total) {
            const size_t count = engine_packet(bytes, 1, flags, 0, &sent, sizeof(sent));
            const struct sl_engine_frame f = {.bytes = bytes, .count = (uint32_t)count, .kind = kind};
            if (sl_engine_send(e, &f, 1) == 0)
                break;
            sent++;
        }
        stops++;
        const size_t n = sl_engine_receive(e, out, 100);
        for (size_t i = 0; i < n; i++) {
            uint32_t number;
            memcpy(&number, out[i].bytes + out[i].count - sizeof(number), sizeof(number));
            assert_int_equal(number, received);
            assert_int_equal(out[i].kind, SL_FRAME_TX);
            assert_int_equal(out[i].lane, 0);
            received++;
        }
        told += fetch_events(e, event);
        if (n == 0)
            engine_wait(e);
    }
    assert_true(stops > 2);
    return told;
}

/* Fetches until all events are told of so many frames. How many were lost is told with the next one: one more frame, when there is
 * room again. Returns how many more frames there were. */
static uint32_t fetch_all_events(struct sl_engine *e, uint64_t told, uint64_t frames, uint32_t *number)
{
    static uint8_t bytes[trace_frame_room];
    const struct sl_engine_frame f = {.bytes = bytes, .count = (uint32_t)engine_packet(bytes, 1, 17, 0, "x", 1)};
    uint32_t more = 0;
    while (told < frames + more) {
        const uint64_t now = fetch_events(e, number);
        told += now;
        if (now == 0 && sl_engine_send(e, &f, 1) == 1) {
            engine_next(e);
            more++;
        }
        engine_wait(e);
    }
    assert_int_equal(told, frames + more);
    assert_int_equal(counters_of(e).events, told);
    assert_int_equal(counters_of(e).events_lost, told - *number);
    return more;
}

void engine_commands_frames_are_bounded(void **state)
{
    const struct engine_opener *opener = *state;
    struct sl_engine *e = open_engine(state, 1);
    struct sl_engine_command c = engine_install(1, 1, SL_CARD_SESSION_FORWARD);
    uint32_t frames = opener->frames, event = 0;
    assert_int_equal(engine_do(e, &c), SL_OK);
    assert_int_equal(pass_numbered(e, frames, SL_FRAME_RX, 16, &event), 0);
    const uint64_t told = pass_numbered(e, frames, SL_FRAME_RX, 17, &event);
    const uint32_t more = fetch_all_events(e, told, frames, &event);
    assert_int_equal(pass_numbered(e, frames / 2, SL_FRAME_TRANSMIT, 17, &event), 0); /* looked at by nobody */
    const struct sl_engine_counters n = counters_of(e);
    frames = frames * 2 + more + frames / 2;
    assert_int_equal(n.frames_in[0], frames);
    assert_int_equal(n.frames_out[0], frames);
    assert_int_equal(n.bytes_out[0], n.bytes_in[0]);
    assert_int_equal(n.frames_in[1] + n.frames_out[1] + n.punts[0] + n.drops[0], 0);
    sl_engine_close(e);
}

/* Nobody fetches events: frames stop, or events are lost and counted. */
void engine_commands_events_are_counted(void **state)
{
    static uint8_t bytes[trace_frame_room];
    const struct engine_opener *opener = *state;
    struct sl_engine *e = open_engine(state, 1);
    struct sl_engine_command c = engine_install(1, 1, SL_CARD_SESSION_FORWARD);
    assert_int_equal(engine_do(e, &c), SL_OK);
    const struct sl_engine_frame f = {.bytes = bytes, .count = (uint32_t)engine_packet(bytes, 1, 17, 0, "x", 1)};
    uint64_t taken = 0;
    uint32_t event = 0;
    for (; taken < opener->frames && sl_engine_send(e, &f, 1) == 1; taken++)
        engine_next(e);
    assert_true(taken > 100);
    fetch_all_events(e, 0, taken, &event);
    sl_engine_close(e);
}

/* ---- frames ---- */

/* Straight through the other port, whatever it is: nothing is parsed. What is no frame is dropped; the next one comes. */
void engine_commands_transmit(void **state)
{
    static const uint8_t odd[SL_ENGINE_FRAME_MAX + 1] = {1, 2, 3};
    struct sl_engine *e = open_engine(state, 1);
    static const struct {
        uint32_t count;
        uint8_t lane, kind;
        bool damaged, comes;
    } cases[] = {{1, 1, SL_FRAME_TRANSMIT, false, true},
                 {0, 1, SL_FRAME_TRANSMIT, false, false},
                 {13, 1, SL_FRAME_TRANSMIT, false, true},
                 {64, 1, SL_FRAME_TRANSMIT, true, false},
                 {64, 1, SL_FRAME_TRANSMIT, false, true},
                 {SL_ENGINE_FRAME_MAX + 1, 1, SL_FRAME_TRANSMIT, false, false},
                 {SL_ENGINE_FRAME_MAX, 1, SL_FRAME_TRANSMIT, false, true},
                 {64, SL_ENGINE_LANES, SL_FRAME_TRANSMIT, false, false},
                 {64, 255, SL_FRAME_RX, false, false},
                 {0, 1, SL_FRAME_RX, false, false},
                 {0, 1, SL_FRAME_INJECT, false, false},
                 {64, 1, SL_FRAME_INJECT, true, false},
                 {65, 1, SL_FRAME_TRANSMIT, false, true}};
    uint64_t in = 0, out = 0, dropped = 0;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct sl_engine_frame f = {
            .bytes = odd, .count = cases[i].count, .lane = cases[i].lane, .kind = cases[i].kind, .damaged = cases[i].damaged};
        engine_give(e, &f);
        in += f.lane == 1;
        dropped += f.lane == 1 && !cases[i].comes;
        if (!cases[i].comes)
            continue;
        const struct sl_engine_result r = engine_next(e);
        assert_true(r.kind == SL_FRAME_TX && r.lane == 1);
        assert_int_equal(r.count, cases[i].count);
        assert_memory_equal(r.bytes, odd, r.count);
        out++;
    }
    while (counters_of(e).drops[1] < dropped) {
        struct sl_engine_result r;
        assert_int_equal(sl_engine_receive(e, &r, 1), 0);
        engine_wait(e);
    }
    const struct sl_engine_counters n = counters_of(e);
    assert_int_equal(n.drops[1], dropped);
    assert_int_equal(n.frames_in[1], in);
    assert_int_equal(n.frames_out[1], out);
    assert_int_equal(n.frames_in[0] + n.frames_out[0] + n.punts[0] + n.punts[1], 0);
    sl_engine_close(e);
}

/* A completion means that the command holds for every frame given afterwards. */
void engine_commands_change(void **state)
{
    static uint8_t bytes[trace_frame_room];
    struct sl_engine *e = open_engine(state, 2);
    const size_t count = engine_packet(bytes, 1, 16, 0, "abc", 3);
    struct sl_engine_command c = engine_install(1, 1, SL_CARD_SESSION_HOLD);
    assert_int_equal(pass(e, bytes, count).punt.reason, SL_PUNT_RULE);
    assert_int_equal(engine_do(e, &c), SL_OK);
    for (unsigned i = 0; i < 10; i++) {
        struct sl_engine_result r = pass(e, bytes, count);
        assert_true(r.kind == SL_FRAME_PUNT && r.punt.reason == SL_PUNT_HOLD && r.punt.has_session);
        assert_int_equal(r.count, count);
        c = (struct sl_engine_command){.op = SL_ENGINE_CHANGE, .cookie = i, .flow = 1, .action = SL_CARD_SESSION_FORWARD};
        assert_int_equal(engine_do(e, &c), SL_OK);
        assert_int_equal(pass(e, bytes, count).kind, SL_FRAME_TX);
        c.action = SL_CARD_SESSION_HOLD;
        assert_int_equal(engine_do(e, &c), SL_OK);
    }
    c = (struct sl_engine_command){.op = SL_ENGINE_REMOVE, .flow = 1};
    const struct sl_engine_completion done = engine_done(e, &c);
    assert_int_equal(done.lane[0].packets, 10);
    assert_int_equal(done.lane[0].bytes, 10 * count);
    assert_true(done.lane[0].last_ns != 0);
    assert_int_equal(done.lane[1].packets + done.lane[1].bytes + done.lane[1].last_ns, 0);
    assert_int_equal(pass(e, bytes, count).punt.reason, SL_PUNT_RULE);
    sl_engine_close(e);
}

/* Rules of a lane in their order, its default; a session comes before both. */
void engine_commands_rules(void **state)
{
    static uint8_t bytes[trace_frame_room];
    struct sl_engine *e = open_engine(state, 2);
    const size_t count = engine_packet(bytes, 1, 16, 0, "abc", 3);
    const struct card_rule of_host = {.src = {10, 0, 0, 1},
                                      .src_mask = {255, 255, 255, 255},
                                      .sport_max = 65535,
                                      .dport_max = 65535,
                                      .any_proto = 1,
                                      .version = 4,
                                      .action = SL_CARD_FORWARD,
                                      .valid = 1};
    struct sl_engine_command rule = {.op = SL_ENGINE_RULE, .number = 9, .rule = of_host};
    struct sl_engine_command other = {.op = SL_ENGINE_DEFAULT, .lane = 1, .action = SL_CARD_DROP};
    assert_int_equal(engine_do(e, &other), SL_OK);
    struct sl_engine_result r = pass(e, bytes, count);
    assert_true(r.kind == SL_FRAME_PUNT && r.punt.rule == SL_ENGINE_RULES && !r.punt.has_session);
    assert_int_equal(engine_do(e, &rule), SL_OK);
    r = pass(e, bytes, count);
    assert_true(r.kind == SL_FRAME_TX && r.count == count);
    assert_memory_equal(r.bytes, bytes, count);
    rule.number = 3;
    rule.rule.action = SL_CARD_PUNT;
    assert_int_equal(engine_do(e, &rule), SL_OK);
    r = pass(e, bytes, count);
    assert_true(r.kind == SL_FRAME_PUNT && r.punt.reason == SL_PUNT_RULE && r.punt.rule == 3);
    struct sl_engine_command c = engine_install(1, 1, SL_CARD_SESSION_FORWARD);
    assert_int_equal(engine_do(e, &c), SL_OK);
    assert_int_equal(pass(e, bytes, count).kind, SL_FRAME_TX);
    c = (struct sl_engine_command){.op = SL_ENGINE_REMOVE, .flow = 1};
    assert_int_equal(engine_do(e, &c), SL_OK);
    rule.rule = (struct card_rule){.valid = 0};
    assert_int_equal(engine_do(e, &rule), SL_OK);
    assert_int_equal(pass(e, bytes, count).kind, SL_FRAME_TX); /* number 9 again */
    sl_engine_close(e);
}

/* ---- keys and plaintext ---- */

static void expect_no_key(const void *bytes, size_t count)
{
    assert_null(memmem(bytes, count, engine_marked_key, 16));
}

/* Counters on a card may come behind the frame. */
static struct sl_engine_completion query_until(struct sl_engine *e, uint64_t flow, uint64_t packets)
{
    struct sl_engine_command c = {.op = SL_ENGINE_QUERY, .flow = flow};
    struct sl_engine_completion done = engine_done(e, &c);
    for (unsigned i = 0; i < 1000 && done.lane[0].packets != packets; i++)
        done = engine_done(e, &c);
    assert_int_equal(done.lane[0].packets, packets);
    return done;
}

/* G13: keys go in and never come out, whatever is asked and whatever is sent. G7: nothing of a record is shown before its tag came.
 */
void engine_commands_G13_G7_what_comes_out(void **state)
{
    static uint8_t bytes[trace_frame_room];
    uint8_t record[ENGINE_RECORD_BYTES];
    struct sl_engine *e = open_engine(state, 4);
    struct sl_engine_command c = engine_install(1, 1, SL_CARD_SESSION_TRANSCODE);
    struct sl_engine_completion done;
    struct sl_engine_mirror mirror;
    struct card_event event;
    struct sl_engine_info info;
    assert_int_equal(engine_do(e, &c), SL_OK);
    engine_record(record, 0);
    for (size_t i = 0; i < sizeof(record); i++) { /* a byte a packet */
        assert_int_equal(sl_engine_mirrored(e, &mirror, 1), 0);
        const struct sl_engine_result out = pass(e, bytes, engine_packet(bytes, 1, 16, (uint32_t)i, record + i, 1));
        if (out.kind != SL_FRAME_TX)
            fail_msg("byte %zu was punted, reason %u", i, out.punt.reason);
        expect_no_key(out.bytes, out.count);
        expect_no_key(&out.punt, sizeof(out.punt));
    }
    mirror = next_mirrored(e);
    assert_int_equal(mirror.count, 100);
    assert_true(mirror.flow == 1 && mirror.open_seq == 0 && mirror.tcp_seq == 0 && mirror.lane == 0 && mirror.type == 23);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(mirror.bytes[i], 's');
    assert_memory_equal(mirror.tag, record + 5 + 101, 16); /* sealed with the same key */
    done = query_until(e, 1, sizeof(record));
    expect_no_key(&done, sizeof(done));
    c = (struct sl_engine_command){.op = SL_ENGINE_REMOVE, .flow = 1};
    done = engine_done(e, &c);
    assert_int_equal(done.status, SL_OK);
    assert_int_equal(done.lane[0].packets, sizeof(record));
    expect_no_key(&done, sizeof(done));
    sl_engine_info(e, &info);
    const struct sl_engine_counters n = counters_of(e);
    expect_no_key(&info, sizeof(info));
    expect_no_key(&n, sizeof(n));
    assert_int_equal(n.mirrored_records, 1);
    assert_int_equal(sl_engine_mirrored(e, &mirror, 1), 0);
    assert_int_equal(sl_engine_events(e, &event, 1), 0);
    sl_engine_close(e);
}

/* Keys that may not come kill the session; in the other lane it lives. */
void engine_commands_keys_out_of_turn(void **state)
{
    static uint8_t bytes[trace_frame_room];
    struct sl_engine *e = open_engine(state, 4);
    struct sl_engine_command c = engine_install(1, 1, SL_CARD_SESSION_TRANSCODE);
    assert_int_equal(engine_do(e, &c), SL_OK);
    c = (struct sl_engine_command){.op = SL_ENGINE_KEYS, .flow = 1, .set = 1}; /* the next ones: allowed */
    assert_int_equal(engine_do(e, &c), SL_OK);
    const size_t count = engine_packet(bytes, 1, 16, 0, "\x17\x03", 2);
    assert_int_equal(pass(e, bytes, count).kind, SL_FRAME_TX);
    c.set = 0; /* those in use: not */
    assert_int_equal(engine_do(e, &c), SL_OK);
    const struct sl_engine_result r = pass(e, bytes, count);
    assert_true(r.kind == SL_FRAME_PUNT && r.punt.reason == SL_PUNT_DEAD);
    const struct trace_packet back = {
        .flow = {.src = {10, 1, 0, 1}, .dst = {10, 0, 0, 1}, .sport = 443, .dport = 1000, .proto = 6, .version = 4},
        .tcp_flags = 16,
        .payload = (const uint8_t *)"\x17\x03",
        .payload_bytes = 2};
    const struct sl_engine_frame f = {.bytes = bytes, .count = (uint32_t)trace_build(&back, bytes), .lane = 1};
    engine_give(e, &f);
    assert_int_equal(engine_next(e).kind, SL_FRAME_TX);
    sl_engine_close(e);
}

/* Sessions, records that wait to be fetched, halves of records, rules, counters: everything is as after open. */
void engine_commands_reset(void **state)
{
    enum { SESSIONS = 50 };
    static uint8_t bytes[trace_frame_room];
    uint8_t record[ENGINE_RECORD_BYTES];
    struct sl_engine *e = open_engine(state, SESSIONS);
    struct sl_engine_mirror mirror;
    engine_record(record, 0);
    for (unsigned round = 0; round < 3; round++) {
        struct sl_engine_command c;
        for (uint8_t i = 1; i <= SESSIONS; i++) {
            c = engine_install(i, i, SL_CARD_SESSION_TRANSCODE);
            assert_int_equal(engine_do(e, &c), SL_OK);
            const size_t count = engine_packet(bytes, i, 16, 0, record, i % 2 == 0 ? sizeof(record) : 50);
            assert_int_equal(pass(e, bytes, count).kind, SL_FRAME_TX);
        }
        mirror = next_mirrored(e);
        assert_int_equal(mirror.count, 100);
        c = (struct sl_engine_command){.op = SL_ENGINE_DEFAULT, .action = SL_CARD_DROP};
        assert_int_equal(engine_do(e, &c), SL_OK);
        c = (struct sl_engine_command){.op = SL_ENGINE_RESET};
        assert_int_equal(engine_do(e, &c), SL_OK);
        assert_int_equal(sl_engine_mirrored(e, &mirror, 1), 0);
        const struct sl_engine_counters n = counters_of(e);
        assert_true(n.sessions == 0 && n.frames_in[0] == 0 && n.frames_out[0] == 0 && n.lost == 0);
        c = (struct sl_engine_command){.op = SL_ENGINE_QUERY, .flow = 25};
        assert_int_equal(engine_do(e, &c), SL_ERR_NOT_FOUND);
        assert_int_equal(pass(e, bytes, engine_packet(bytes, 25, 16, 50, "abc", 3)).punt.reason, SL_PUNT_RULE);
        assert_int_equal(sl_engine_mirrored(e, &mirror, 1), 0);
    }
    sl_engine_close(e);
}

/* G13: secret memory that the engine took is given back, and so wiped (base/secret.h), whatever it was doing. */
void engine_commands_G13_secret_memory(void **state)
{
    static uint8_t bytes[trace_frame_room];
    uint8_t record[ENGINE_RECORD_BYTES];
    const size_t before = sl_secret_stats().blocks;
    engine_record(record, 0);
    for (unsigned round = 0; round < 3; round++) {
        struct sl_engine *e = open_engine(state, 20);
        for (uint8_t i = 1; i <= 20 && round > 0; i++) {
            struct sl_engine_command c = engine_install(i, i, SL_CARD_SESSION_TRANSCODE);
            assert_int_equal(engine_do(e, &c), SL_OK);
            pass(e, bytes, engine_packet(bytes, i, 16, 0, record, i % 2 == 0 ? sizeof(record) : 50));
        }
        if (round == 2)
            assert_int_equal(next_mirrored(e).count, 100);
        sl_engine_close(e);
        assert_int_equal(sl_secret_stats().blocks, before);
    }
}
