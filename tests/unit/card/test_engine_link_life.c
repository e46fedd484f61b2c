/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the engine on rings (card/engine_link.c, by card/card_link.h) is dead and when it is not, and what it tells and keeps
 * meanwhile. The kernels stand behind a link of the test's own, which can freeze them, take them away, and change what they wrote:
 *
 *   engine ──▶ lab: frozen? gone? meddle ──▶ native link ──▶ kernels
 *
 * Where death must come, dead_after is short; where it must not, it is longer than this program is put aside by others, or far
 * beyond any test. How long
 * something took is never judged: the patience below only ends a case that would hang.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "card/card_link.h"
#include "card/numbers.h"
#include "engine_commands.h"
#include "native_link.h"
#include "record/gcm.h"
#include "trace_frame.h"

enum { PATIENCE_S = 60, SHORT_MS = 200, CALM_MS = 400, LONG_MS = 600000, SESSIONS = 64, RING_LINES = 256 };

/* ---- a card that can be tampered with ---- */

static struct {
    const struct sl_card_link_operations *native;
    struct sl_card_link_operations operations;
    struct sl_card_link *link;
    bool frozen, gone;
    uint64_t frozen_until_ns;
    void (*meddle)(const struct sl_card_rings *r); /* after the kernels have worked */
    uint32_t completion;                           /* that is meddled with; 0: none any more */
    size_t offset;                                 /* byte of it that is changed */
    enum sl_card_end end;                          /* how it was closed */
} lab;

static uint64_t now_ns(void)
{
    return sl_clock_system()->mono_ns(sl_clock_system()->arg);
}

static void sleep_ms(uint64_t ms)
{
    nanosleep(&(struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000 * 1000000)}, NULL);
}

static void lab_turn(struct sl_card_link *link)
{
    if (lab.frozen || now_ns() < lab.frozen_until_ns)
        return;
    lab.native->turn(link);
    if (lab.meddle != NULL)
        lab.meddle(&link->rings);
}

static bool lab_alive(struct sl_card_link *link, struct sl_diag *diag)
{
    (void)link;
    if (lab.gone)
        sl_fail(diag, SL_ERR_UNAVAILABLE, "the card was pulled");
    return !lab.gone;
}

static void lab_close(struct sl_card_link *link, enum sl_card_end end)
{
    lab.end = end;
    lab.native->close(link, end);
}

static struct sl_engine *open_after(uint64_t freeze_ms, uint32_t dead_after_ms, const struct native_link_options *of_link)
{
    const struct sl_engine_options options = {.sessions = of_link->sessions, .dead_after_ms = dead_after_ms};
    struct sl_diag diag = {.text = ""};
    struct sl_engine *e = NULL;
    memset(&lab, 0, sizeof(lab));
    lab.link = native_link_new(of_link);
    lab.native = lab.link->operations;
    lab.operations = (struct sl_card_link_operations){.turn = lab_turn, .alive = lab_alive, .close = lab_close};
    lab.link->operations = &lab.operations;
    lab.frozen_until_ns = now_ns() + freeze_ms * SL_NS_PER_MS;
    if (sl_engine_open_link(lab.link, &options, &e, &diag) != SL_OK)
        fail_msg("%s", diag.text);
    return e;
}

static struct sl_engine *open_rings(uint32_t dead_after_ms, uint32_t lines)
{
    return open_after(0, dead_after_ms, &(struct native_link_options){.sessions = SESSIONS, .ring_lines = lines});
}

/* ---- waiting ---- */

static uint64_t patience(void)
{
    return now_ns() + (uint64_t)PATIENCE_S * 1000 * SL_NS_PER_MS;
}

static struct sl_engine_counters counters_of(const struct sl_engine *e)
{
    struct sl_engine_counters n;
    sl_engine_counters(e, &n);
    return n;
}

static size_t poll_engine(struct sl_engine *e)
{
    struct sl_engine_completion done;
    return sl_engine_completions(e, &done, 1);
}

static void poll_for(struct sl_engine *e, uint64_t ms)
{
    const uint64_t end = now_ns() + ms * SL_NS_PER_MS;
    while (now_ns() < end)
        (void)poll_engine(e);
}

/* What is fetched is a poll, too: a case says what it calls while it waits for death, and how often. */
static void wait_death(struct sl_engine *e, void (*meanwhile)(struct sl_engine *e))
{
    const uint64_t end = patience();
    while (!counters_of(e).dead && now_ns() < end)
        meanwhile(e);
    assert_true(counters_of(e).dead);
}

static void fetch_completions(struct sl_engine *e)
{
    (void)poll_engine(e);
}

static unsigned fetch_frames(struct sl_engine *e)
{
    struct sl_engine_result out;
    unsigned count = 0;
    while (sl_engine_receive(e, &out, 1) != 0)
        count++;
    return count;
}

static unsigned fetch_mirror(struct sl_engine *e)
{
    struct sl_engine_mirror m;
    unsigned count = 0;
    while (sl_engine_mirrored(e, &m, 1) != 0)
        count++;
    return count;
}

/* Fetches until so many have come. */
static void fetch_until(struct sl_engine *e, unsigned (*fetch)(struct sl_engine *e), unsigned wanted)
{
    const uint64_t end = patience();
    unsigned count = 0;
    while (count < wanted && !counters_of(e).dead && now_ns() < end)
        count += fetch(e);
    assert_int_equal(count, wanted);
}

static void assert_fault(const struct sl_engine *e, const char *words)
{
    struct sl_engine_info info;
    sl_engine_info(e, &info);
    if (strstr(info.fault, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", info.fault, words);
}

static void assert_alive(const struct sl_engine *e)
{
    struct sl_engine_info info;
    sl_engine_info(e, &info);
    if (counters_of(e).dead || info.fault[0] != '\0')
        fail_msg("dead: %s", info.fault);
}

/* ---- what is given ---- */

static uint8_t packet[trace_frame_room];

static struct sl_engine_frame frame_of(const void *payload, size_t bytes, uint32_t seq)
{
    return (struct sl_engine_frame){.bytes = packet, .count = (uint32_t)engine_packet(packet, 1, 16, seq, payload, bytes)};
}

static void give(struct sl_engine *e, unsigned count)
{
    const struct sl_engine_frame f = frame_of("abc", 3, 0);
    for (unsigned i = 0; i < count; i++)
        engine_give(e, &f);
}

static void install(struct sl_engine *e, unsigned action)
{
    const struct sl_engine_command c = engine_install(1, 1, action);
    assert_int_equal(engine_do(e, &c), SL_OK);
}

static void give_record(struct sl_engine *e, uint64_t number)
{
    uint8_t record[ENGINE_RECORD_BYTES];
    engine_record(record, number);
    const struct sl_engine_frame f = frame_of(record, sizeof(record), (uint32_t)(number * sizeof(record)));
    engine_give(e, &f);
}

enum { TEXT_MAX = 8000 };
static struct {
    uint32_t text, seen; /* bytes of a record's text; lines of the mirror that were looked at */
    unsigned crafted;
    uint8_t plain[TEXT_MAX + 1], wanted[TEXT_MAX + 1], record[5 + TEXT_MAX + 1 + 16];
    unsigned frames, records;
} forge;

/* A record of forge.plain. Returns its length. */
static size_t seal(unsigned number)
{
    const size_t bytes = forge.text + 1U + 16U;
    uint8_t iv[12] = {0};
    struct sl_gcm_key *key;
    iv[10] = (uint8_t)(number >> 8);
    iv[11] = (uint8_t)number;
    memcpy(forge.record, "\x17\x03\x03", 3);
    forge.record[3] = (uint8_t)(bytes >> 8);
    forge.record[4] = (uint8_t)bytes;
    forge.plain[forge.text] = 23;
    assert_int_equal(sl_gcm_key_new(sl_gcm_engine_default(), engine_marked_key, 32, &key), SL_OK);
    assert_int_equal(
        sl_gcm_seal(key, iv, forge.record, 5, forge.plain, forge.record + 5, forge.text + 1U, forge.record + 5 + forge.text + 1),
        SL_OK);
    sl_gcm_key_free(key);
    return 5 + bytes;
}

static const struct sl_engine_command query = {.op = SL_ENGINE_QUERY, .flow = 1}, reset = {.op = SL_ENGINE_RESET},
                                      drop_all = {.op = SL_ENGINE_DEFAULT, .action = SL_CARD_DROP};

/* ---- it is dead ---- */

static void traffic(struct sl_engine *e)
{
    const struct sl_engine_frame f = frame_of("abc", 3, 0);
    (void)sl_engine_send(e, &f, 1);
    (void)fetch_frames(e);
}

/* Completions that nobody fetches pile up; the engine's own questions must not stand in their line. */
static void test_frozen_and_nobody_fetches_completions(void **state)
{
    struct sl_engine *e = open_rings(SHORT_MS, 0);
    uint64_t end = patience();
    unsigned refusals = 0, given = 0;
    (void)state;
    install(e, SL_CARD_SESSION_FORWARD);
    while (refusals < 200 && now_ns() < end) {
        const bool taken = sl_engine_submit(e, &query) == SL_OK;
        given += taken;
        refusals = taken ? 0 : refusals + 1;
        (void)fetch_frames(e);
    }
    assert_int_equal(refusals, 200);
    for (unsigned i = 0; i < 100; i++)
        traffic(e);
    assert_alive(e);
    lab.frozen = true;
    wait_death(e, traffic);
    assert_fault(e, "has not answered");
    for (unsigned i = 0; i < given; i++)
        assert_int_equal(poll_engine(e), 1);
    assert_int_equal(poll_engine(e), 0);
    sl_engine_close(e);
    assert_int_equal(lab.end, SL_CARD_END_DEAD);
}

static struct card_completion *completion_of(const struct sl_card_rings *r, uint32_t number)
{
    return (struct card_completion *)(void *)(r->completions + (size_t)((number - 1) % r->command_entries) * card_completion_bytes);
}

/* Number of the last completion that the card has written. */
static uint32_t last_completion(const struct sl_card_rings *r)
{
    uint32_t last = 0;
    for (uint32_t i = 0; i < r->command_entries; i++) {
        const uint32_t number = completion_of(r, i + 1)->valid;
        last = number > last ? number : last;
    }
    return last;
}

static void spoil_completion(const struct sl_card_rings *r)
{
    struct card_completion *c = completion_of(r, lab.completion);
    if (lab.completion != 0 && c->valid == lab.completion) {
        ((uint8_t *)c)[lab.offset] ^= 1;
        lab.completion = 0;
    }
}

/* That frames come says nothing about commands. */
static void test_completion_is_lost_under_traffic(void **state)
{
    struct sl_engine *e = open_rings(SHORT_MS, 0);
    (void)state;
    install(e, SL_CARD_SESSION_FORWARD);
    for (unsigned i = 0; i < 200; i++)
        traffic(e);
    lab.completion = last_completion(&lab.link->rings) + 1;
    lab.offset = offsetof(struct card_completion, valid);
    lab.meddle = spoil_completion;
    assert_int_equal(sl_engine_submit(e, &query), SL_OK);
    wait_death(e, traffic);
    assert_int_equal(lab.completion, 0);
    assert_fault(e, "has not answered");
    sl_engine_close(e);
}

static void seldom(struct sl_engine *e)
{
    sleep_ms(SHORT_MS * 6 / 10);
    (void)poll_engine(e);
}

/* Long pauses of the caller's are no fault of the card's, but no excuse for ever. */
static void test_frozen_and_polled_seldom(void **state)
{
    struct sl_engine *e = open_rings(SHORT_MS, 0);
    (void)state;
    lab.frozen = true;
    assert_int_equal(sl_engine_submit(e, &drop_all), SL_OK);
    wait_death(e, seldom);
    sl_engine_close(e);
}

/* One frame or one record that nobody fetches does not stop a lane, and so excuses nothing. */
static void test_frozen_with_one_unread(void **state)
{
    (void)state;
    for (unsigned mirror = 0; mirror < 2; mirror++) {
        struct sl_engine *e = open_rings(SHORT_MS, 0);
        install(e, SL_CARD_SESSION_TRANSCODE);
        give_record(e, 0);
        const uint64_t end = patience();
        uint8_t line[card_line_bytes];
        const struct card_ring ring = {.memory = mirror != 0 ? lab.link->rings.lane[0].mirror : lab.link->rings.lane[0].from_card,
                                       .lines = lab.link->rings.lane[0].mirror_lines};
        if (mirror != 0)
            (void)engine_next(e);
        while (!card_ring_peek(&ring, line) && now_ns() < end)
            (void)poll_engine(e);
        assert_true(card_ring_peek(&ring, line));
        lab.frozen = true;
        wait_death(e, fetch_completions);
        sl_engine_close(e);
    }
}

/* At once, with the link's own words; what is under way completes, once. */
static void test_gone(void **state)
{
    struct sl_engine *e = open_rings(LONG_MS, 0);
    struct sl_engine_completion done;
    struct sl_engine_command c = drop_all;
    (void)state;
    lab.frozen = true;
    c.cookie = 77;
    assert_int_equal(sl_engine_submit(e, &c), SL_OK);
    assert_int_equal(sl_engine_completions(e, &done, 1), 0);
    lab.gone = true;
    assert_int_equal(sl_engine_completions(e, &done, 1), 1);
    assert_int_equal(done.cookie, 77);
    assert_int_equal(done.status, SL_ERR_UNAVAILABLE);
    assert_int_equal(sl_engine_completions(e, &done, 1), 0);
    assert_true(counters_of(e).dead);
    assert_fault(e, "was pulled");
    lab.gone = lab.frozen = false; /* dead it stays */
    assert_int_equal(sl_engine_submit(e, &c), SL_ERR_UNAVAILABLE);
    assert_true(counters_of(e).dead);
    sl_engine_close(e);
    assert_int_equal(lab.end, SL_CARD_END_DEAD);
}

static void test_completion_of_another_command(void **state)
{
    static const size_t offsets[] = {offsetof(struct card_completion, opcode), offsetof(struct card_completion, lane),
                                     offsetof(struct card_completion, sequence), offsetof(struct card_completion, status)};
    (void)state;
    for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        struct sl_engine *e = open_rings(LONG_MS, 0);
        struct sl_engine_completion done;
        const uint64_t end = patience();
        lab.offset = offsets[i];
        lab.completion = last_completion(&lab.link->rings) + 1;
        lab.meddle = spoil_completion;
        assert_int_equal(sl_engine_submit(e, &drop_all), SL_OK);
        while (sl_engine_completions(e, &done, 1) == 0 && now_ns() < end)
            ;
        assert_true(counters_of(e).dead);
        assert_int_equal(done.status, SL_ERR_UNAVAILABLE);
        assert_fault(e, "disagree");
        sl_engine_close(e);
    }
}

static void test_frame_that_is_none(void **state)
{
    static const struct card_packet_head heads[] = {{.kind = 0, .bytes = 64},
                                                    {.kind = card_packet_rx, .bytes = 64},
                                                    {.kind = 255, .bytes = 64},
                                                    {.kind = card_packet_tx, .bytes = 0},
                                                    {.kind = card_packet_tx, .bytes = SL_ENGINE_FRAME_MAX + 1},
                                                    {.kind = card_packet_tx, .bytes = UINT16_MAX},
                                                    {.kind = card_packet_punt, .bytes = 63},
                                                    {.kind = card_packet_punt, .bytes = 1000}, /* it is not of 936 bytes */
                                                    {.kind = card_packet_punt, .bytes = UINT16_MAX}};
    (void)state;
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
        for (unsigned lane = 0; lane < SL_ENGINE_LANES; lane++) {
            struct sl_engine *e = open_rings(LONG_MS, 0);
            struct sl_engine_result out[2];
            struct card_packet_head head = heads[i];
            head.number = head.valid = 1;
            head.version = card_packets_version;
            memcpy(lab.link->rings.lane[lane].from_card, &head, sizeof(head));
            assert_int_equal(sl_engine_receive(e, out, 2), 0);
            assert_true(counters_of(e).dead);
            assert_fault(e, "is no frame");
            assert_int_equal(sl_engine_receive(e, out, 2), 0);
            sl_engine_close(e);
        }
}

/* ---- it is not ---- */

/* Rings that are full stop the lanes and with them the commands: the host's doing. When it fetches, all is there. */
static void fill(struct sl_engine *e, bool mirror)
{
    const uint64_t end = patience();
    unsigned given = 0, mirrored = 0, received = 0, refusals = 0;
    memset(&forge, 0, sizeof(forge));
    forge.text = 1200;
    install(e, mirror ? SL_CARD_SESSION_TRANSCODE : SL_CARD_SESSION_FORWARD);
    while (refusals < 500 && now_ns() < end) {
        const size_t bytes = seal(given);
        const struct sl_engine_frame f = frame_of(forge.record, bytes, (uint32_t)(given * bytes));
        const bool taken = sl_engine_send(e, &f, 1) == 1;
        given += taken;
        refusals = taken ? 0 : refusals + 1;
        received += mirror ? fetch_frames(e) : 0;
    }
    assert_int_equal(refusals, 500);
    assert_int_equal(sl_engine_submit(e, &query), SL_OK);
    poll_for(e, 3ULL * CALM_MS);
    assert_alive(e);
    while ((received < given || (mirror && mirrored < given)) && !counters_of(e).dead && now_ns() < end) {
        received += fetch_frames(e);
        mirrored += fetch_mirror(e);
    }
    assert_alive(e);
    assert_int_equal(received, given);
    assert_int_equal(mirrored, mirror ? given : 0);
}

static void test_nobody_fetches(void **state)
{
    (void)state;
    for (unsigned mirror = 0; mirror < 2; mirror++) {
        struct sl_engine *e = open_rings(CALM_MS, RING_LINES);
        fill(e, mirror != 0);
        sl_engine_close(e);
        assert_int_equal(lab.end, SL_CARD_END_CLEAN);
    }
}

/* Nobody looked, so nobody can say that the card did not answer. */
static void test_nobody_polls(void **state)
{
    struct sl_engine *e = open_rings(CALM_MS, 0);
    (void)state;
    install(e, SL_CARD_SESSION_FORWARD);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(sl_engine_submit(e, &query), SL_OK);
        give(e, 1);
        sleep_ms(3 * CALM_MS);
        fetch_until(e, fetch_frames, 1);
        assert_alive(e);
    }
    sl_engine_close(e);
}

/* The memory of all sessions is wiped, and a card that simulates takes its time; it is told apart from one that is dead. This
 * one says that it has many sessions, and rests for the time that they would take. */
static void test_reset_takes_long(void **state)
{
    struct sl_engine *e = open_rings(CALM_MS, 0);
    (void)state;
    lab.link->rings.sessions = SL_ENGINE_SESSIONS_MAX;
    assert_int_equal(sl_engine_submit(e, &reset), SL_OK);
    lab.frozen_until_ns = now_ns() + 3ULL * CALM_MS * SL_NS_PER_MS;
    const uint64_t end = patience();
    struct sl_engine_completion done = {.status = SL_ERR_AGAIN};
    while (sl_engine_completions(e, &done, 1) == 0 && now_ns() < end)
        ;
    assert_alive(e);
    assert_int_equal(done.status, SL_OK);
    lab.frozen = true; /* and not for ever */
    wait_death(e, fetch_completions);
    sl_engine_close(e);
}

/* A device that was just configured may need more time for its first answer. */
static void test_first_answer_is_late(void **state)
{
    struct sl_engine *e = open_after(3 * CALM_MS, CALM_MS, &(struct native_link_options){.sessions = SESSIONS});
    (void)state;
    assert_alive(e);
    install(e, SL_CARD_SESSION_FORWARD);
    sl_engine_close(e);
    assert_int_equal(lab.end, SL_CARD_END_CLEAN);
}

/* ---- what is told ---- */

static void test_install_behind_reset(void **state)
{
    struct sl_engine *e = open_rings(LONG_MS, 0);
    const struct sl_engine_command c = engine_install(1, 1, SL_CARD_SESSION_TRANSCODE);
    const uint64_t end = patience();
    unsigned done = 0;
    (void)state;
    install(e, SL_CARD_SESSION_TRANSCODE); /* the same flow, before */
    assert_int_equal(sl_engine_submit(e, &reset), SL_OK);
    assert_int_equal(sl_engine_submit(e, &c), SL_OK);
    while (done < 2 && now_ns() < end) {
        struct sl_engine_completion completion;
        if (sl_engine_completions(e, &completion, 1) == 0)
            continue;
        assert_int_equal(completion.status, SL_OK);
        done++;
    }
    assert_int_equal(done, 2);
    give_record(e, 0);
    assert_int_equal(engine_next(e).kind, SL_FRAME_TX);
    fetch_until(e, fetch_mirror, 1);
    assert_int_equal(counters_of(e).mirrored_records, 1);
    assert_int_equal(counters_of(e).mirror_lost, 0);
    sl_engine_close(e);
}

static void wait_drops(struct sl_engine *e, uint64_t wanted)
{
    const uint64_t end = patience();
    while (counters_of(e).drops[0] != wanted && now_ns() < end)
        (void)poll_engine(e);
    assert_int_equal(counters_of(e).drops[0], wanted);
}

/* The card counts anew after a reset, and frames of before may still lie in the ring. */
static void test_counters_across_reset(void **state)
{
    enum { COUNT = 10 };
    struct sl_engine *e = open_rings(LONG_MS, 0);
    const uint64_t end = patience();
    (void)state;
    give(e, COUNT);
    while (lab.link->rings.lane[0].page->to_card_read != lab.link->rings.lane[0].page->to_card_written && now_ns() < end)
        (void)poll_engine(e);
    assert_int_equal(engine_do(e, &reset), SL_OK);
    fetch_until(e, fetch_frames, COUNT);
    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(engine_do(e, &drop_all), SL_OK);
        give(e, COUNT);
        wait_drops(e, COUNT);
        assert_int_equal(counters_of(e).frames_in[0], COUNT);
        assert_int_equal(engine_do(e, &reset), SL_OK);
        assert_int_equal(counters_of(e).frames_in[0], 0);
        assert_int_equal(counters_of(e).drops[0], 0);
    }
    lab.gone = true;
    (void)poll_engine(e);
    assert_true(counters_of(e).dead);
    assert_int_equal(counters_of(e).lost, 0);
    sl_engine_close(e);
}

/* Dropped: told. In the ring: still to be had. The others are lost. */
static void test_lost_at_death(void **state)
{
    enum { DROPPED = 5, UNREAD = 3, LOST = 4 };
    struct sl_engine *e = open_rings(LONG_MS, 0);
    const struct sl_engine_command punt_all = {.op = SL_ENGINE_DEFAULT, .action = SL_CARD_PUNT};
    (void)state;
    assert_int_equal(engine_do(e, &drop_all), SL_OK);
    give(e, DROPPED);
    wait_drops(e, DROPPED);
    assert_int_equal(engine_do(e, &punt_all), SL_OK);
    give(e, UNREAD);
    const uint64_t end = patience();
    struct card_ring ring = {.memory = lab.link->rings.lane[0].from_card, .lines = lab.link->rings.lane[0].from_card_lines};
    for (unsigned i = 0; i < UNREAD && now_ns() < end;) {
        struct card_packet_head head;
        uint8_t line[card_line_bytes];
        (void)poll_engine(e);
        if (!card_ring_peek(&ring, line))
            continue;
        memcpy(&head, line, sizeof(head));
        ring.at += card_ring_lines(head.bytes);
        i++;
    }
    lab.frozen = true;
    give(e, LOST);
    lab.gone = true;
    (void)poll_engine(e);
    assert_true(counters_of(e).dead);
    assert_int_equal(fetch_frames(e), UNREAD);
    assert_int_equal(counters_of(e).punts[0], UNREAD);
    assert_int_equal(counters_of(e).drops[0], DROPPED);
    assert_int_equal(counters_of(e).lost, LOST);
    sl_engine_close(e);
}

/* ---- what stays in the rings ---- */

static bool holds(const uint8_t *memory, size_t bytes, const void *what, size_t count)
{
    for (size_t at = 0; at + count <= bytes; at++)
        if (memory[at] == *(const uint8_t *)what && memcmp(memory + at, what, count) == 0)
            return true;
    return false;
}

static bool commands_hold_a_key(void)
{
    return holds(lab.link->rings.commands, (size_t)lab.link->rings.command_entries * card_command_bytes, engine_marked_key, 16);
}

static bool is_zero(const uint8_t *memory, size_t bytes)
{
    return memory[0] == 0 && memcmp(memory, memory + 1, bytes - 1) == 0;
}

/* The record's key, its tag and its text, sealed as it is; of a record that failed as well. */
static void test_G13_G7_mirror_is_wiped(void **state)
{
    struct sl_engine *e = open_rings(LONG_MS, 0);
    const struct sl_card_rings *r = &lab.link->rings;
    const size_t bytes = (size_t)r->lane[0].mirror_lines * card_line_bytes;
    static const uint8_t text[16] = "ssssssssssssssss";
    (void)state;
    install(e, SL_CARD_SESSION_TRANSCODE);
    for (unsigned i = 0; i < 3; i++) {
        give_record(e, i);
        (void)engine_next(e);
        const uint64_t end = patience();
        while (is_zero(r->lane[0].mirror, bytes) && now_ns() < end)
            (void)poll_engine(e);
        assert_false(is_zero(r->lane[0].mirror, bytes));
        fetch_until(e, fetch_mirror, 1);
        for (unsigned lane = 0; lane < SL_ENGINE_LANES; lane++) {
            assert_true(is_zero(r->lane[lane].mirror, bytes));
            assert_false(holds(r->lane[lane].to_card, bytes, text, sizeof(text)));
            assert_false(holds(r->lane[lane].from_card, bytes, text, sizeof(text)));
        }
    }
    sl_engine_close(e);
}

static void test_G13_commands_are_wiped(void **state)
{
    struct sl_engine_command commands[] = {engine_install(1, 1, SL_CARD_SESSION_TRANSCODE), {.op = SL_ENGINE_KEYS, .flow = 1}};
    commands[1].keys = commands[0].state[0].keys.set[0];
    (void)state;
    for (unsigned dies = 0; dies < 2; dies++) {
        struct sl_engine *e = open_rings(LONG_MS, 0);
        for (unsigned i = 0; i < 2; i++) {
            const uint64_t end = patience();
            lab.frozen = true;
            assert_int_equal(sl_engine_submit(e, &commands[i]), SL_OK);
            (void)poll_engine(e);
            assert_true(commands_hold_a_key());
            lab.gone = dies != 0 && i == 1;
            lab.frozen = false;
            while (poll_engine(e) == 0 && now_ns() < end)
                ;
            assert_int_equal(counters_of(e).dead, lab.gone);
            assert_false(commands_hold_a_key());
        }
        sl_engine_close(e);
    }
}

/* ---- text that looks like a head ---- */

/* Who sends a record knows its key, and so chooses what its text is when it is sealed. What that takes is learnt here from a record
 * of zeros, whose sealed text is the key stream. */
static void learn_key_stream(const struct sl_card_rings *r)
{
    const struct card_ring all = {.memory = r->lane[0].mirror, .lines = RING_LINES};
    struct card_mirror_head head;
    for (;;) {
        struct card_ring ring = all;
        uint8_t line[card_line_bytes];
        ring.at = forge.seen;
        if (!card_ring_peek(&ring, line))
            return;
        memcpy(&head, line, sizeof(head));
        const uint32_t position = forge.seen + 1, number = position + RING_LINES + 1;
        if ((head.flags & card_mirror_text) != 0 && head.a_bytes == card_line_bytes && head.fresh == UINT64_MAX) {
            const struct card_mirror_head forged = {.number = number, .version = card_packets_version, .valid = number};
            memcpy(line, &forged, sizeof(forged));
            for (unsigned i = 0; i < card_line_bytes; i++)
                forge.wanted[head.a_offset + i] = line[i] ^ card_ring_line(&ring, position)[i];
            forge.crafted++;
        }
        forge.seen += card_mirror_lines(&head);
    }
}

static void fetch_all(struct sl_engine *e)
{
    forge.frames += fetch_frames(e);
    forge.records += fetch_mirror(e);
}

/* The whole record, a frame after the other has come through. */
static void pass_record(struct sl_engine *e, uint8_t number)
{
    enum { PIECE = 1280 };
    const size_t bytes = seal(number);
    const unsigned records = forge.records;
    const uint64_t end = patience();
    for (size_t at = 0; at < bytes; at += PIECE) {
        const struct sl_engine_frame f =
            frame_of(forge.record + at, bytes - at < PIECE ? bytes - at : (size_t)PIECE, (uint32_t)(number * bytes + at));
        const unsigned frames = forge.frames;
        engine_give(e, &f);
        while (forge.frames == frames && !counters_of(e).dead && now_ns() < end)
            fetch_all(e);
        assert_int_equal(forge.frames, frames + 1);
    }
    while (forge.records == records && !counters_of(e).dead && now_ns() < end)
        fetch_all(e);
    assert_int_equal(forge.records, records + 1);
}

static void test_text_that_looks_like_a_head(void **state)
{
    static const uint32_t texts[] = {7920, TEXT_MAX};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        memset(&forge, 0, sizeof(forge));
        forge.text = texts[i];
        struct sl_engine *e = open_rings(LONG_MS, RING_LINES);
        install(e, SL_CARD_SESSION_TRANSCODE);
        lab.meddle = learn_key_stream;
        pass_record(e, 0);
        assert_true(forge.crafted > 50);
        sl_engine_close(e);
        e = open_rings(LONG_MS, RING_LINES);
        install(e, SL_CARD_SESSION_TRANSCODE);
        memcpy(forge.plain, forge.wanted, forge.text);
        for (uint8_t number = 0; number < 6; number++) {
            pass_record(e, number);
            memset(forge.plain, 0, forge.text);
        }
        assert_alive(e);
        assert_int_equal(counters_of(e).mirror_refused, 0);
        assert_int_equal(counters_of(e).mirror_lost, 0);
        sl_engine_close(e);
        assert_int_equal(lab.end, SL_CARD_END_CLEAN);
    }
}

#define CASE(name)                                                                                                                 \
    {                                                                                                                              \
#name, test_##name, NULL, NULL, NULL                                                                                       \
    }

int main(void)
{
    /* clang-format off */
    const struct CMUnitTest tests[] = {
        CASE(frozen_and_nobody_fetches_completions), CASE(completion_is_lost_under_traffic),
        CASE(frozen_and_polled_seldom), CASE(frozen_with_one_unread), CASE(gone), CASE(completion_of_another_command),
        CASE(frame_that_is_none), CASE(nobody_fetches), CASE(nobody_polls), CASE(reset_takes_long),
        CASE(first_answer_is_late), CASE(install_behind_reset), CASE(counters_across_reset), CASE(lost_at_death),
        CASE(G13_G7_mirror_is_wiped), CASE(G13_commands_are_wiped), CASE(text_that_looks_like_a_head)
    };
    /* clang-format on */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
