/* SPDX-License-Identifier: Apache-2.0 */
/* The cpu engine's contract beside the packets: what commands refuse, that nothing is lost when nobody fetches, what is left in
 * memory, and that keys do not come out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/secret.h"
#include "card/engine.h"
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

static struct sl_engine *open_engine(uint32_t sessions)
{
    const struct sl_engine_options options = {.sessions = sessions};
    struct sl_engine *e;
    assert_int_equal(sl_engine_open_cpu(&options, &e, NULL), SL_OK);
    return e;
}

static sl_err status_of(struct sl_engine *e, const struct sl_engine_command *c)
{
    struct sl_engine_completion done;
    assert_int_equal(sl_engine_submit(e, c), SL_OK);
    assert_int_equal(sl_engine_completions(e, &done, 1), 1);
    assert_int_equal(done.cookie, c->cookie);
    assert_int_equal(done.flow, c->flow);
    assert_int_equal(done.op, c->op);
    return done.status;
}

static uint64_t sessions_of(const struct sl_engine *e)
{
    struct sl_engine_counters n;
    sl_engine_counters(e, &n);
    return n.sessions;
}

static const uint8_t marked_key[32] = "0123456789abcdefABCDEFGHIJKLMNO";

static struct sl_engine_command install(uint64_t flow, uint8_t host, unsigned action)
{
    struct sl_engine_command c = {.op = SL_ENGINE_INSTALL, .cookie = 7, .flow = flow, .action = (uint8_t)action};
    c.key = (struct sl_engine_flow_key){
        .src = {10, 0, 0, host}, .dst = {10, 1, 0, 1}, .sport = 1000, .dport = 443, .proto = 6, .version = 4};
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++) {
        struct session_state *s = &c.state[i];
        s->track.flags = track_tls13 | track_mirror;
        for (unsigned set = 0; set < 2; set++) {
            memcpy(s->keys.set[set].open_key, marked_key, 32);
            memcpy(s->keys.set[set].seal_key, marked_key, 32);
            s->keys.set[set].long_keys = 3;
        }
    }
    return c;
}

static size_t frame_of(uint8_t *out, uint8_t host, uint8_t flags, const void *payload, size_t bytes)
{
    const struct trace_packet p = {
        .flow = {.src = {10, 0, 0, host}, .dst = {10, 1, 0, 1}, .sport = 1000, .dport = 443, .proto = 6, .version = 4},
        .tcp_flags = flags,
        .payload = payload,
        .payload_bytes = bytes};
    return trace_build(&p, out);
}

/* ---- what is refused ---- */

static void test_options(void **state)
{
    (void)state;
    static const struct sl_engine_options refused[] = {
        {.seal_limit = 511}, {.seal_limit = 23726567}, {.sessions = (1 << 24) + 1}, {.gcm = "none"}, {.gcm = "ipsec-mb"}};
    struct sl_engine *e;
    struct sl_diag diag = {""};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        assert_int_equal(sl_engine_open_cpu(&refused[i], &e, &diag), SL_ERR_INVALID);
        assert_true(strlen(diag.text) > 0);
    }
    sl_engine_close(NULL);
}

static void test_install_refuses(void **state)
{
    (void)state;
    struct sl_engine *e = open_engine(3);
    struct sl_engine_command good = install(1, 1, SL_CARD_SESSION_TRANSCODE), bad[16];
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
        if (status_of(e, &bad[i]) != SL_ERR_INVALID)
            fail_msg("number %zu was not refused", i);
    assert_int_equal(sessions_of(e), 0);
    assert_int_equal(status_of(e, &good), SL_OK);
    assert_int_equal(status_of(e, &good), SL_ERR_EXISTS);
    good.flow = 2; /* another flow, the same key */
    assert_int_equal(status_of(e, &good), SL_ERR_EXISTS);
    good = install(1, 2, SL_CARD_SESSION_HOLD); /* the same flow, another key */
    assert_int_equal(status_of(e, &good), SL_ERR_EXISTS);
    for (uint8_t i = 2; i <= 4; i++) {
        good = install(i, i, SL_CARD_SESSION_FORWARD);
        assert_int_equal(status_of(e, &good), i <= 3 ? SL_OK : SL_ERR_LIMIT);
    }
    assert_int_equal(sessions_of(e), 3);
    struct sl_engine_command gone = {.op = SL_ENGINE_REMOVE, .flow = 2};
    assert_int_equal(status_of(e, &gone), SL_OK);
    assert_int_equal(status_of(e, &good), SL_OK);
    sl_engine_close(e);
}

static void test_others_refuse(void **state)
{
    (void)state;
    struct sl_engine *e = open_engine(3);
    struct sl_engine_command c = install(1, 1, SL_CARD_SESSION_HOLD);
    assert_int_equal(status_of(e, &c), SL_OK);
    static const enum sl_engine_op of_flow[] = {SL_ENGINE_CHANGE, SL_ENGINE_KEYS, SL_ENGINE_REMOVE, SL_ENGINE_QUERY};
    for (size_t i = 0; i < 4; i++) {
        c = (struct sl_engine_command){.op = of_flow[i], .flow = 2};
        assert_int_equal(status_of(e, &c), SL_ERR_NOT_FOUND);
        c.flow = 0;
        assert_int_equal(status_of(e, &c), SL_ERR_NOT_FOUND);
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
        if (status_of(e, &invalid[i]) != SL_ERR_INVALID)
            fail_msg("number %zu was not refused", i);
    assert_int_equal(sessions_of(e), 1);
    sl_engine_close(e);
}

/* ---- nobody fetches ---- */

static void test_completions_are_bounded(void **state)
{
    (void)state;
    struct sl_engine *e = open_engine(1);
    struct sl_engine_command c = {.op = SL_ENGINE_QUERY, .flow = 1};
    struct sl_engine_completion done[64];
    uint64_t given = 0, fetched = 0;
    while (sl_engine_submit(e, &c) == SL_OK)
        c.cookie = ++given;
    assert_true(given > 0 && given < 100000);
    c.op = SL_ENGINE_INSTALL;
    assert_int_equal(sl_engine_submit(e, &c), SL_ERR_AGAIN);
    for (size_t n; (n = sl_engine_completions(e, done, 64)) > 0;)
        for (size_t i = 0; i < n; i++)
            assert_int_equal(done[i].cookie, fetched++);
    assert_int_equal(fetched, given);
    sl_engine_close(e);
}

/* Sends numbered frames until no more are taken, fetches some, and so on: all come out, in order, as they were. */
static void pass_numbered(struct sl_engine *e, uint32_t total, uint8_t kind, bool with_events)
{
    static uint8_t bytes[trace_frame_room];
    struct sl_engine_result out[100];
    struct card_event events[100];
    uint32_t sent = 0, received = 0, stops = 0;
    uint64_t told = 0;
    const uint8_t lane = 0;
    while (received < total) {
        while (sent < total) {
            const size_t count = frame_of(bytes, 1, with_events ? 17 : 16, &sent, sizeof(sent));
            const struct sl_engine_frame f = {.bytes = bytes, .count = (uint32_t)count, .lane = lane, .kind = kind};
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
            received++;
        }
        const size_t k = sl_engine_events(e, events, 100);
        for (size_t i = 0; i < k; i++)
            assert_int_equal(events[i].sequence, ++told);
    }
    assert_true(stops > 2);
    for (size_t k; (k = sl_engine_events(e, events, 100)) > 0;)
        told += k;
    assert_int_equal(told, with_events ? total : 0);
    assert_int_equal(sl_engine_receive(e, out, 100), 0);
}

static void test_frames_are_bounded(void **state)
{
    (void)state;
    struct sl_engine *e = open_engine(1);
    struct sl_engine_command c = install(1, 1, SL_CARD_SESSION_FORWARD);
    assert_int_equal(status_of(e, &c), SL_OK);
    pass_numbered(e, 10000, SL_FRAME_RX, false);
    pass_numbered(e, 10000, SL_FRAME_RX, true);
    pass_numbered(e, 5000, SL_FRAME_TRANSMIT, false);
    struct sl_engine_counters n;
    sl_engine_counters(e, &n);
    assert_int_equal(n.frames_in[0], 25000);
    assert_int_equal(n.frames_out[0], 25000);
    assert_int_equal(n.events, 10000);
    sl_engine_close(e);
}

/* Events alone stop the engine too, and mirrored records. */
static void test_events_stop_frames(void **state)
{
    (void)state;
    static uint8_t bytes[trace_frame_room];
    struct sl_engine *e = open_engine(1);
    struct sl_engine_command c = install(1, 1, SL_CARD_SESSION_FORWARD);
    assert_int_equal(status_of(e, &c), SL_OK);
    const size_t count = frame_of(bytes, 1, 17, "x", 1);
    const struct sl_engine_frame f = {.bytes = bytes, .count = (uint32_t)count};
    struct sl_engine_result out;
    struct card_event event;
    uint64_t taken = 0, told = 0;
    while (sl_engine_send(e, &f, 1) == 1) {
        taken++;
        assert_int_equal(sl_engine_receive(e, &out, 1), 1);
    }
    while (sl_engine_events(e, &event, 1) == 1)
        told++;
    assert_true(taken > 100 && taken == told);
    assert_int_equal(sl_engine_send(e, &f, 1), 1);
    sl_engine_close(e);
}

static void test_transmit(void **state)
{
    (void)state;
    static const uint8_t odd[SL_ENGINE_FRAME_MAX + 1] = {1, 2, 3};
    struct sl_engine *e = open_engine(1);
    struct sl_engine_result out;
    static const uint32_t counts[] = {0, 1, 13, 64, SL_ENGINE_FRAME_MAX};
    for (size_t i = 0; i < 5; i++) { /* whatever it is: nothing is parsed */
        const struct sl_engine_frame f = {.bytes = odd, .count = counts[i], .lane = 1, .kind = SL_FRAME_TRANSMIT};
        assert_int_equal(sl_engine_send(e, &f, 1), 1);
        assert_int_equal(sl_engine_receive(e, &out, 1), 1);
        assert_true(out.kind == SL_FRAME_TX && out.lane == 1 && out.count == counts[i]);
        assert_memory_equal(out.bytes, odd, counts[i]);
    }
    const struct sl_engine_frame longer = {.bytes = odd, .count = sizeof(odd), .lane = 1, .kind = SL_FRAME_TRANSMIT};
    assert_int_equal(sl_engine_send(e, &longer, 1), 1);
    assert_int_equal(sl_engine_receive(e, &out, 1), 0);
    struct sl_engine_counters n;
    sl_engine_counters(e, &n);
    assert_int_equal(n.drops[1], 1);
    const struct sl_engine_frame nowhere = {.bytes = odd, .count = 64, .lane = SL_ENGINE_LANES};
    assert_int_equal(sl_engine_send(e, &nowhere, 1), 1);
    assert_int_equal(sl_engine_receive(e, &out, 1), 0);
    assert_int_equal(n.frames_in[1], n.frames_out[1] + n.drops[1]);
    sl_engine_close(e);
}

/* ---- keys and plaintext ---- */

/* A record of 100 bytes of content, sealed with the marked key. */
static void seal_record(uint8_t record[5 + 101 + 16], uint64_t seq)
{
    uint8_t inner[101], iv[12] = {0};
    struct sl_gcm_key *key;
    memset(inner, 's', 100);
    inner[100] = 23;
    iv[11] = (uint8_t)seq;
    memcpy(record, "\x17\x03\x03\x00\x75", 5);
    assert_int_equal(sl_gcm_key_new(sl_gcm_engine_default(), marked_key, 32, &key), SL_OK);
    assert_int_equal(sl_gcm_seal(key, iv, record, 5, inner, record + 5, 101, record + 5 + 101), SL_OK);
    sl_gcm_key_free(key);
}

static void expect_no_key(const void *bytes, size_t count)
{
    assert_null(memmem(bytes, count, marked_key, 16));
}

/* G13: keys go in and never come out, whatever is asked and whatever is sent. G7: nothing of a record is shown before its tag came.
 */
static void test_G13_G7_what_comes_out(void **state)
{
    (void)state;
    static uint8_t bytes[trace_frame_room];
    uint8_t record[5 + 101 + 16];
    struct sl_engine *e = open_engine(4);
    struct sl_engine_command c = install(1, 1, SL_CARD_SESSION_TRANSCODE);
    struct sl_engine_completion done;
    struct sl_engine_result out;
    struct sl_engine_mirror mirror;
    struct card_event event;
    struct sl_engine_info info;
    struct sl_engine_counters n;
    assert_int_equal(status_of(e, &c), SL_OK);
    seal_record(record, 0);
    for (size_t i = 0; i < sizeof(record); i++) { /* a byte a packet; the frame carries its sequence number */
        struct trace_packet p = {
            .flow = {.src = {10, 0, 0, 1}, .dst = {10, 1, 0, 1}, .sport = 1000, .dport = 443, .proto = 6, .version = 4},
            .seq = (uint32_t)i,
            .tcp_flags = 16,
            .payload = record + i,
            .payload_bytes = 1};
        const struct sl_engine_frame f = {.bytes = bytes, .count = (uint32_t)trace_build(&p, bytes)};
        assert_int_equal(sl_engine_send(e, &f, 1), 1);
        assert_int_equal(sl_engine_receive(e, &out, 1), 1);
        assert_int_equal(out.kind, SL_FRAME_TX);
        expect_no_key(out.bytes, out.count);
        expect_no_key(&out.punt, sizeof(out.punt));
        const bool last = i + 1 == sizeof(record);
        assert_int_equal(sl_engine_mirrored(e, &mirror, 1), last);
    }
    assert_int_equal(mirror.count, 100);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(mirror.bytes[i], 's');
    static const enum sl_engine_op ops[] = {SL_ENGINE_QUERY, SL_ENGINE_REMOVE};
    for (size_t i = 0; i < 2; i++) {
        c = (struct sl_engine_command){.op = ops[i], .flow = 1};
        memset(&done, 0, sizeof(done));
        assert_int_equal(sl_engine_submit(e, &c), SL_OK);
        assert_int_equal(sl_engine_completions(e, &done, 1), 1);
        assert_int_equal(done.lane[0].packets, sizeof(record));
        expect_no_key(&done, sizeof(done));
    }
    sl_engine_info(e, &info);
    sl_engine_counters(e, &n);
    expect_no_key(&info, sizeof(info));
    expect_no_key(&n, sizeof(n));
    assert_int_equal(n.mirrored_records, 1);
    assert_int_equal(sl_engine_events(e, &event, 1), 0);
    sl_engine_close(e);
}

/* Keys that may not come kill the session, as on the card; in the other lane it lives. */
static void test_keys_out_of_turn(void **state)
{
    (void)state;
    static uint8_t bytes[trace_frame_room];
    struct sl_engine *e = open_engine(4);
    struct sl_engine_command c = install(1, 1, SL_CARD_SESSION_TRANSCODE);
    struct sl_engine_result out;
    assert_int_equal(status_of(e, &c), SL_OK);
    c = (struct sl_engine_command){.op = SL_ENGINE_KEYS, .flow = 1, .set = 1}; /* the next ones: allowed */
    assert_int_equal(status_of(e, &c), SL_OK);
    const struct sl_engine_frame f = {.bytes = bytes, .count = (uint32_t)frame_of(bytes, 1, 16, "\x17\x03", 2)};
    assert_int_equal(sl_engine_send(e, &f, 1), 1);
    assert_int_equal(sl_engine_receive(e, &out, 1), 1);
    assert_int_equal(out.kind, SL_FRAME_TX);
    c.set = 0; /* those in use: not */
    assert_int_equal(status_of(e, &c), SL_OK);
    assert_int_equal(sl_engine_send(e, &f, 1), 1);
    assert_int_equal(sl_engine_receive(e, &out, 1), 1);
    assert_int_equal(out.punt.reason, SL_PUNT_DEAD);
    sl_engine_close(e);
}

/* G13: what a session had is given back, wiped by its memory's rules (base/secret.h), on remove, reset and close. */
static void test_G13_nothing_is_left(void **state)
{
    (void)state;
    static uint8_t bytes[trace_frame_room];
    uint8_t record[5 + 101 + 16];
    const size_t before = sl_secret_stats().blocks;
    struct sl_engine *e = open_engine(100);
    const size_t opened = sl_secret_stats().blocks;
    seal_record(record, 0);
    for (unsigned round = 0; round < 3; round++) {
        struct sl_engine_result out;
        struct sl_engine_command c;
        for (uint8_t i = 1; i <= 100; i++) {
            c = install(i, i, SL_CARD_SESSION_TRANSCODE);
            assert_int_equal(status_of(e, &c), SL_OK);
            /* Half a record of the odd ones is kept for the mirror, a whole one of the even ones waits to be fetched. */
            const size_t count = frame_of(bytes, i, 16, record, i % 2 == 0 ? sizeof(record) : 50);
            const struct sl_engine_frame f = {.bytes = bytes, .count = (uint32_t)count};
            assert_int_equal(sl_engine_send(e, &f, 1), 1);
            assert_int_equal(sl_engine_receive(e, &out, 1), 1);
        }
        assert_true(sl_secret_stats().blocks > opened + 100);
        for (unsigned i = 1; i <= 10; i++) {
            c = (struct sl_engine_command){.op = SL_ENGINE_REMOVE, .flow = i};
            assert_int_equal(status_of(e, &c), SL_OK);
        }
        if (round == 2)
            break;
        c = (struct sl_engine_command){.op = SL_ENGINE_RESET};
        assert_int_equal(status_of(e, &c), SL_OK);
        struct sl_engine_mirror mirror;
        struct sl_engine_counters n;
        sl_engine_counters(e, &n);
        assert_int_equal(sl_engine_mirrored(e, &mirror, 1), 0);
        assert_int_equal(sl_secret_stats().blocks, opened);
        assert_true(n.sessions == 0 && n.frames_in[0] == 0 && n.frames_out[0] == 0);
        c = (struct sl_engine_command){.op = SL_ENGINE_QUERY, .flow = 50};
        assert_int_equal(status_of(e, &c), SL_ERR_NOT_FOUND);
    }
    sl_engine_close(e);
    assert_int_equal(sl_secret_stats().blocks, before);
}

static void test_info(void **state)
{
    (void)state;
    struct sl_engine *e = open_engine(0);
    struct sl_engine_info info;
    sl_engine_info(e, &info);
    assert_string_equal(info.kind, "cpu");
    assert_true(strlen(info.device) > 0);
    assert_int_equal(info.sessions, SL_ENGINE_SESSIONS_MAX);
    assert_int_equal(info.rules, SL_ENGINE_RULES);
    print_message("%u bytes a session\n", info.device_bytes);
    if (sl_gcm_key_size(sl_gcm_engine_find(info.device)) <= 704) /* our own AES-GCM */
        assert_true(info.device_bytes <= 4096);
    sl_engine_close(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_install_refuses),
        cmocka_unit_test(test_others_refuse),
        cmocka_unit_test(test_completions_are_bounded),
        cmocka_unit_test(test_frames_are_bounded),
        cmocka_unit_test(test_events_stop_frames),
        cmocka_unit_test(test_transmit),
        cmocka_unit_test(test_G13_G7_what_comes_out),
        cmocka_unit_test(test_keys_out_of_turn),
        cmocka_unit_test(test_G13_nothing_is_left),
        cmocka_unit_test(test_info),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
