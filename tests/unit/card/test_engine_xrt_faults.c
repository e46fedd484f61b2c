/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes wrong on a card, or between it and the host (sim/xrt/fault.h): each fault is an event or a dead engine that says why;
 * nothing hangs, every command completes, the fate of every frame is told, and when the engine is closed nothing of it is left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/secret.h"
#include "card/numbers.h"
#include "engine_commands.h"
#include "trace_frame.h"
#include "xrt_lab.h"

/* SILENCE_MS: what is taken for death; the machine may be busy. */
enum { FLOWS = 3, COMMANDS = 10, FRAMES = 20, PATIENCE_S = 60, SILENCE_MS = 4000 };

static size_t blocks_before;

static struct sl_engine *open_with_flows(uint32_t dead_after_ms)
{
    blocks_before = sl_secret_stats().blocks;
    xrt_lab_fault("");
    struct sl_engine *e = xrt_lab_open(&(struct sl_engine_options){.sessions = 64, .dead_after_ms = dead_after_ms});
    for (uint8_t i = 1; i <= FLOWS; i++) {
        const struct sl_engine_command c = engine_install(i, i, SL_CARD_SESSION_TRANSCODE);
        assert_int_equal(engine_do(e, &c), SL_OK);
    }
    return e;
}

static void close_and_look(struct sl_engine *e)
{
    sl_engine_close(e);
    xrt_lab_await_none();
    assert_int_equal(sl_secret_stats().blocks, blocks_before);
}

static struct sl_engine_counters counters_of(const struct sl_engine *e)
{
    struct sl_engine_counters n;
    sl_engine_counters(e, &n);
    return n;
}

static void send_some(struct sl_engine *e)
{
    static uint8_t bytes[trace_frame_room];
    const struct sl_engine_frame f = {.bytes = bytes, .count = (uint32_t)engine_packet(bytes, 1, 16, 0, NULL, 0)};
    for (unsigned i = 0; i < FRAMES; i++)
        (void)sl_engine_send(e, &f, 1);
}

struct balance {
    unsigned completed, failed;
};

/* Fetches everything until the engine is dead, and what is left then. */
static struct balance until_dead(struct sl_engine *e)
{
    struct balance b = {0};
    struct sl_engine_completion done;
    struct sl_engine_result r;
    struct card_event event;
    struct sl_engine_mirror m;
    const uint64_t end = sl_clock_system()->mono_ns(NULL) + (uint64_t)PATIENCE_S * SL_NS_PER_S;
    bool dead, more;
    do {
        dead = counters_of(e).dead;
        more = false;
        while (sl_engine_completions(e, &done, 1) == 1) {
            b.completed++;
            b.failed += done.status == SL_ERR_UNAVAILABLE;
            more = true;
        }
        while (sl_engine_receive(e, &r, 1) == 1 || sl_engine_events(e, &event, 1) == 1 || sl_engine_mirrored(e, &m, 1) == 1)
            more = true;
        if (sl_clock_system()->mono_ns(NULL) > end)
            fail_msg("the engine does not notice");
        sched_yield();
    } while (!dead || more);
    return b;
}

static void expect_balance(struct sl_engine *e)
{
    const struct sl_engine_counters n = counters_of(e);
    uint64_t in = 0, out = n.lost;
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++) {
        in += n.frames_in[i];
        out += n.frames_out[i] + n.punts[i] + n.drops[i];
    }
    assert_int_equal(in, out);
}

/* From `fault` on the engine is as good as dead; it says a sentence with `why` in it. */
static void expect_death(const char *fault, const char *why, pid_t victim)
{
    struct sl_engine *e = open_with_flows(SILENCE_MS);
    struct sl_engine_info info;
    const struct sl_engine_frame none = {.bytes = (const uint8_t *)"", .count = 1};
    unsigned taken = 0;
    if (fault != NULL && strstr(fault, "die") != NULL)
        xrt_lab_fault(fault); /* nobody will say that it was seen */
    else if (fault != NULL)
        xrt_lab_fault_now(fault);
    if (victim != 0)
        assert_int_equal(kill(xrt_lab_worker(), (int)victim), 0);
    for (unsigned i = 0; i < COMMANDS; i++) {
        struct sl_engine_command c = engine_install(100 + i, (uint8_t)(100 + i), SL_CARD_SESSION_FORWARD);
        taken += sl_engine_submit(e, &c) == SL_OK;
    }
    send_some(e);
    const struct balance b = until_dead(e);
    assert_int_equal(b.completed, taken);
    expect_balance(e);
    sl_engine_info(e, &info);
    if (strstr(info.fault, why) == NULL)
        fail_msg("\"%s\" has no \"%s\"", info.fault, why);
    struct sl_engine_command c = {.op = SL_ENGINE_QUERY, .flow = 1};
    assert_int_equal(sl_engine_submit(e, &c), SL_ERR_UNAVAILABLE);
    assert_int_equal(sl_engine_send(e, &none, 1), 0);
    assert_true(counters_of(e).dead);
    close_and_look(e);
}

#define DEATH(name, fault, why)                                                                                                    \
    static void test_##name(void **state)                                                                                          \
    {                                                                                                                              \
        (void)state;                                                                                                               \
        expect_death(fault, why, 0);                                                                                               \
    }

DEATH(lost_completion, "lose unit=sluice_control_0 entry=2", "has not answered command")
DEATH(overrun, "overrun unit=sluice_control_0 entry=2", "it and the host disagree")
DEATH(stray_command, "stray unit=sluice_control_0 entry=2", "disagree")
DEATH(full_table, "refuse unit=sluice_control_0 entry=1", "it and the host disagree")
DEATH(flipped_command, "flip unit=sluice_control_0 entry=2 byte=5 bit=2", "it and the host disagree")
DEATH(device_exits, "die how=exit when=now", "has ended on the card")
DEATH(device_is_killed, "die how=kill when=now", "was ended by signal")
DEATH(device_vanishes, "die how=vanish when=now", "has not answered command")

/* Soon after the kernels' start: while the engine is opened, or later. */
static void test_crash(void **state)
{
    (void)state;
    struct sl_engine *e = NULL;
    struct sl_diag diag = {""};
    struct sl_engine_info info;
    blocks_before = sl_secret_stats().blocks;
    xrt_lab_fault("crash unit=sluice_packets_1 ms=300");
    if (xrt_lab_try(&(struct sl_engine_options){.sessions = 64}, &e, &diag) == SL_OK) {
        send_some(e);
        until_dead(e);
        expect_balance(e);
        sl_engine_info(e, &info);
        memcpy(diag.text, info.fault, sizeof(info.fault));
    }
    if (strstr(diag.text, "has ended on the card") == NULL)
        fail_msg("\"%s\"", diag.text);
    close_and_look(e);
}

static void test_worker_is_killed(void **state)
{
    (void)state;
    expect_death(NULL, "signal 9", SIGKILL);
    expect_death(NULL, "has not answered command", SIGSTOP); /* or as good as: it does not move any more */
}

/* Late is not dead. */
static void test_late_completion(void **state)
{
    (void)state;
    struct sl_engine *e = open_with_flows(0);
    xrt_lab_fault_now("delay unit=sluice_control_0 entry=1 ms=300");
    struct sl_engine_command c = {.op = SL_ENGINE_QUERY, .flow = 1};
    for (unsigned i = 0; i < COMMANDS; i++)
        assert_int_equal(engine_do(e, &c), SL_OK);
    assert_false(counters_of(e).dead);
    close_and_look(e);
}

/* Record number 0 of flow 1 does not verify: an event, nothing of it in the mirror, and the session is over; others are not. */
static void expect_bad_tag(struct sl_engine *e)
{
    static uint8_t bytes[trace_frame_room];
    uint8_t record[ENGINE_RECORD_BYTES];
    struct card_event event;
    struct sl_engine_mirror m;
    engine_record(record, 0);
    struct sl_engine_frame f = {.bytes = bytes, .count = (uint32_t)engine_packet(bytes, 1, 16, 0, record, sizeof(record))};
    engine_give(e, &f);
    assert_int_equal(engine_next(e).kind, SL_FRAME_TX); /* with a tag that no one accepts */
    while (sl_engine_events(e, &event, 1) == 0)
        engine_wait(e);
    assert_int_equal(event.kind, SL_CARD_EVENT_BAD_TAG);
    assert_int_equal(event.flow, 1);
    engine_give(e, &f);
    assert_int_equal(engine_next(e).punt.reason, SL_PUNT_DEAD);
    while (counters_of(e).mirror_refused == 0) {
        assert_int_equal(sl_engine_mirrored(e, &m, 1), 0);
        engine_wait(e);
    }
    f.count = (uint32_t)engine_packet(bytes, 2, 16, 0, record, sizeof(record));
    engine_give(e, &f);
    assert_int_equal(engine_next(e).kind, SL_FRAME_TX);
    while (sl_engine_mirrored(e, &m, 1) == 0)
        engine_wait(e);
    assert_int_equal(m.flow, 2);
    assert_int_equal(m.count, 100);
    expect_balance(e);
}

/* A bit of the ciphertext flips on its way to the card: byte 70 of the frame, behind headers of 54 bytes. The frame's checksum
 * still covers it, so the frame is punted as damaged, and the same frame once more is good. */
static void test_flipped_frame(void **state)
{
    (void)state;
    static uint8_t bytes[trace_frame_room];
    uint8_t record[ENGINE_RECORD_BYTES];
    struct sl_engine *e = open_with_flows(0);
    engine_record(record, 0);
    const struct sl_engine_frame f = {.bytes = bytes, .count = (uint32_t)engine_packet(bytes, 1, 16, 0, record, sizeof(record))};
    xrt_lab_fault_now("flip unit=sluice_packets_0 entry=1 byte=70 bit=3");
    engine_give(e, &f);
    assert_int_equal(engine_next(e).punt.reason, SL_PUNT_CHECKSUM);
    engine_give(e, &f);
    assert_int_equal(engine_next(e).kind, SL_FRAME_TX);
    expect_balance(e);
    close_and_look(e);
}

/* A bit of the session's keys flips in the card's memory: G7, G11 hold, as with a wrong key. */
static void test_flipped_memory(void **state)
{
    (void)state;
    struct sl_engine *e = open_with_flows(0);
    xrt_lab_fault_now("flip unit=sluice_state_0 arg=0 byte=3 bit=5 when=now");
    expect_bad_tag(e);
    close_and_look(e);
}

/* A bit of a key flips in the ring, where nothing can notice: the same. */
static void test_flipped_key(void **state)
{
    (void)state;
    struct sl_engine *e = open_with_flows(0);
    struct sl_engine_command c = {.op = SL_ENGINE_REMOVE, .flow = 1};
    assert_int_equal(engine_do(e, &c), SL_OK);
    xrt_lab_fault_now("flip unit=sluice_control_0 entry=1 byte=70 bit=1");
    c = engine_install(1, 1, SL_CARD_SESSION_TRANSCODE);
    assert_int_equal(engine_do(e, &c), SL_OK);
    expect_bad_tag(e);
    close_and_look(e);
}

/* No room is no fault: the one too many is refused, the others work, and one that goes makes room. */
static void test_sessions_are_used_up(void **state)
{
    (void)state;
    struct sl_engine *e = open_with_flows(0);
    for (uint8_t i = FLOWS + 1; i <= 64; i++) {
        const struct sl_engine_command c = engine_install(i, i, SL_CARD_SESSION_TRANSCODE);
        assert_int_equal(engine_do(e, &c), SL_OK);
    }
    struct sl_engine_command c = engine_install(65, 65, SL_CARD_SESSION_TRANSCODE);
    assert_int_equal(engine_do(e, &c), SL_ERR_LIMIT);
    const struct sl_engine_command gone = {.op = SL_ENGINE_REMOVE, .flow = 7};
    assert_int_equal(engine_do(e, &gone), SL_OK);
    assert_int_equal(engine_do(e, &c), SL_OK);
    assert_int_equal(counters_of(e).sessions, 64);
    close_and_look(e);
}

/* The engine's process goes without a word: worker and device go, too (and the worker has wiped the card). */
static void test_engine_is_gone(void **state)
{
    (void)state;
    int status;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)open_with_flows(0);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    xrt_lab_await_none();
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lost_completion),      cmocka_unit_test(test_overrun),
        cmocka_unit_test(test_stray_command),        cmocka_unit_test(test_full_table),
        cmocka_unit_test(test_flipped_command),      cmocka_unit_test(test_crash),
        cmocka_unit_test(test_device_exits),         cmocka_unit_test(test_device_is_killed),
        cmocka_unit_test(test_device_vanishes),      cmocka_unit_test(test_worker_is_killed),
        cmocka_unit_test(test_late_completion),      cmocka_unit_test(test_flipped_frame),
        cmocka_unit_test(test_flipped_memory),       cmocka_unit_test(test_flipped_key),
        cmocka_unit_test(test_sessions_are_used_up), cmocka_unit_test(test_engine_is_gone),
    };
    if (count > 1)
        cmocka_set_test_filter(arguments[1]);
    return cmocka_run_group_tests(tests, xrt_lab_begin, xrt_lab_end);
}
