/* SPDX-License-Identifier: Apache-2.0 */
/* The contract beside the packets (engine_commands.h) held by the cpu engine, and what is its own: options, that it answers at
 * once, its bounds, and what it leaves in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/secret.h"
#include "card/numbers.h"
#include "engine_commands.h"
#include "record/gcm.h"
#include "trace_frame.h"

static struct sl_engine *open_engine(uint32_t sessions)
{
    const struct sl_engine_options options = {.sessions = sessions};
    struct sl_engine *e;
    assert_int_equal(sl_engine_open_cpu(&options, &e, NULL), SL_OK);
    return e;
}

static struct sl_engine *open_cpu(const struct engine_opener *self, uint32_t sessions)
{
    (void)self;
    return open_engine(sessions);
}

static const struct engine_opener cpu = {.open = open_cpu, .frames = 10000};

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

/* What came of a command or a frame is there when the call is back. */
static void test_at_once(void **state)
{
    (void)state;
    static uint8_t bytes[trace_frame_room];
    uint8_t record[ENGINE_RECORD_BYTES];
    struct sl_engine *e = open_engine(1);
    struct sl_engine_command c = engine_install(1, 1, SL_CARD_SESSION_TRANSCODE);
    struct sl_engine_completion done;
    struct sl_engine_result out;
    struct sl_engine_mirror mirror;
    assert_int_equal(sl_engine_submit(e, &c), SL_OK);
    assert_int_equal(sl_engine_completions(e, &done, 1), 1);
    assert_int_equal(done.status, SL_OK);
    engine_record(record, 0);
    const struct sl_engine_frame f = {.bytes = bytes, .count = (uint32_t)engine_packet(bytes, 1, 16, 0, record, sizeof(record))};
    assert_int_equal(sl_engine_send(e, &f, 1), 1);
    assert_int_equal(sl_engine_receive(e, &out, 1), 1);
    assert_int_equal(sl_engine_mirrored(e, &mirror, 1), 1);
    c = (struct sl_engine_command){.op = SL_ENGINE_QUERY, .flow = 1};
    assert_int_equal(sl_engine_submit(e, &c), SL_OK);
    assert_int_equal(sl_engine_completions(e, &done, 1), 1);
    assert_int_equal(done.lane[0].packets, 1);
    sl_engine_close(e);
}

/* No room for a completion: no command is taken, whatever it is, and it has changed nothing. */
static void test_completions_stop_commands(void **state)
{
    (void)state;
    struct sl_engine *e = open_engine(1);
    struct sl_engine_command c = {.op = SL_ENGINE_QUERY, .flow = 1};
    struct sl_engine_completion done;
    struct sl_engine_counters n;
    while (sl_engine_submit(e, &c) == SL_OK)
        c.cookie++;
    c = engine_install(1, 1, SL_CARD_SESSION_HOLD);
    assert_int_equal(sl_engine_submit(e, &c), SL_ERR_AGAIN);
    while (sl_engine_completions(e, &done, 1) == 1)
        assert_int_equal(done.status, SL_ERR_NOT_FOUND);
    sl_engine_counters(e, &n);
    assert_int_equal(n.sessions, 0);
    sl_engine_close(e);
}

/* Events alone stop the engine too: none is lost. */
static void test_events_stop_frames(void **state)
{
    (void)state;
    static uint8_t bytes[trace_frame_room];
    struct sl_engine *e = open_engine(1);
    struct sl_engine_command c = engine_install(1, 1, SL_CARD_SESSION_FORWARD);
    assert_int_equal(engine_do(e, &c), SL_OK);
    const struct sl_engine_frame f = {.bytes = bytes, .count = (uint32_t)engine_packet(bytes, 1, 17, 0, "x", 1)};
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

/* G13: what a session had is given back, wiped by its memory's rules (base/secret.h), on remove and reset. */
static void test_G13_nothing_is_left(void **state)
{
    (void)state;
    static uint8_t bytes[trace_frame_room];
    uint8_t record[ENGINE_RECORD_BYTES];
    struct sl_engine *e = open_engine(100);
    const size_t opened = sl_secret_stats().blocks;
    struct sl_engine_command c;
    engine_record(record, 0);
    for (unsigned round = 0; round < 2; round++) {
        for (uint8_t i = 1; i <= 100; i++) {
            c = engine_install(i, i, SL_CARD_SESSION_TRANSCODE);
            assert_int_equal(engine_do(e, &c), SL_OK);
            /* Half a record of the odd ones is kept for the mirror, a whole one of the even ones waits to be fetched. */
            const size_t count = engine_packet(bytes, i, 16, 0, record, i % 2 == 0 ? sizeof(record) : 50);
            const struct sl_engine_frame f = {.bytes = bytes, .count = (uint32_t)count};
            engine_give(e, &f);
            engine_next(e);
        }
        const size_t all = sl_secret_stats().blocks;
        assert_true(all > opened + 100);
        for (unsigned i = 1; i <= 10; i++) {
            c = (struct sl_engine_command){.op = SL_ENGINE_REMOVE, .flow = i};
            assert_int_equal(engine_do(e, &c), SL_OK);
        }
        assert_true(sl_secret_stats().blocks < all);
        c = (struct sl_engine_command){.op = SL_ENGINE_RESET};
        assert_int_equal(engine_do(e, &c), SL_OK);
        assert_int_equal(sl_secret_stats().blocks, opened);
    }
    sl_engine_close(e);
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
        ENGINE_COMMANDS(&cpu),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_at_once),
        cmocka_unit_test(test_completions_stop_commands),
        cmocka_unit_test(test_events_stop_frames),
        cmocka_unit_test(test_G13_nothing_is_left),
        cmocka_unit_test(test_info),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
