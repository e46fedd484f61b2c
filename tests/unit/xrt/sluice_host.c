// SPDX-License-Identifier: Apache-2.0
/*
 * A host of the simulated card on rings and nothing else; test_sim_card.c starts it, in a process group of its own.
 *
 * usage: sluice_host CASE TREE XCLBIN RUN_FOLDER
 *
 * Ends with 0 when all was as the case expects, otherwise with 3 and a line on stderr; otherwise still XRT ended it.
 */
#include <stdlib.h>
#include <string.h>

#include <environment.h>

#include "check.h"
#include "rings.h"

enum { CYCLES = 100, ROUNDS = 50000, FRAMES = 200, NOTICE_MS = 30000, NEVER_MS = 200 };

static const char *xclbin_path, *run_folder;
static const struct rings_sizes usual = {.commands = 16, .events = 64, .sessions = 128, .packet_lines = 512};

static void open_usual(struct rings *rings)
{
    rings_open(rings, xclbin_path, &usual);
    rings_start(rings);
}

static void check_no_op(struct rings *rings)
{
    struct card_command command = {.opcode = card_no_op};
    CHECK(rings_do(rings, &command) == card_ok);
    const struct card_completion *const entry = &rings->completions[(rings->answered - 1) % usual.commands];
    CHECK(entry->value[0] == card_interface_version && entry->value[1] == usual.sessions);
}

/* What comes in at a lane leaves it by its tx. */
static void check_frames(struct rings *rings, unsigned count)
{
    static uint8_t data[card_packet_room];
    uint8_t frame[FRAME_BYTES];
    size_t bytes = 0;
    for (unsigned i = 0; i < count; i++) {
        for (unsigned lane = 0; lane < LANES; lane++) {
            rings_frame(frame, i * LANES + lane);
            rings_send(rings, lane, frame);
        }
        for (unsigned lane = 0; lane < LANES; lane++) {
            rings_frame(frame, i * LANES + lane);
            CHECK(rings_receive(rings, lane, data, &bytes, LIMIT_MS) == card_packet_tx);
            CHECK(bytes == FRAME_BYTES && memcmp(data, frame, bytes) == 0);
        }
    }
}

static void case_smoke(void)
{
    struct rings rings;
    open_usual(&rings);
    for (unsigned i = 0; i < 3 * usual.commands; i++)
        check_no_op(&rings);
    rings_forward_all(&rings);
    check_frames(&rings, FRAMES);
    for (unsigned unit = 0; unit < UNITS; unit++)
        CHECK(!rings_over(&rings, unit));
}

/* The card rests and wakes again and again. */
static void case_rest(void)
{
    struct rings rings;
    open_usual(&rings);
    rings_forward_all(&rings);
    for (unsigned i = 0; i < 50; i++) {
        pause_ms(i % 10);
        check_no_op(&rings);
        check_frames(&rings, 1);
    }
}

/* For whoever wants to see what a card costs that has nothing to do. */
static void case_wait(void)
{
    struct rings rings;
    open_usual(&rings);
    check_no_op(&rings);
    pause_ms(10000);
    check_no_op(&rings);
}

/* Rounds that are counted. The commands are in the ring before the first. */
static void case_cycles(void)
{
    static uint8_t data[card_packet_room];
    struct rings_sizes sizes = usual;
    sizes.rounds = ROUNDS;
    for (unsigned i = 0; i < CYCLES; i++) {
        struct rings rings;
        struct card_completion completion;
        uint8_t frame[FRAME_BYTES];
        size_t bytes;
        rings_open(&rings, xclbin_path, &sizes);
        struct card_command command = {.opcode = card_no_op};
        rings_ask(&rings, &command);
        rings_frame(frame, i);
        rings_send(&rings, i % LANES, frame);
        rings_start(&rings);
        CHECK(rings_answer(&rings, &completion, LIMIT_MS) && completion.status == card_ok && completion.opcode == card_no_op);
        CHECK(rings_receive(&rings, i % LANES, data, &bytes, LIMIT_MS) == card_packet_punt); /* as there is no rule yet */
        rings_close(&rings);
    }
}

/* Units that cannot be what they are told to be: every run fails, and soon. */
static void check_refused(struct rings_sizes sizes)
{
    struct rings rings;
    const uint64_t end = now_ms() + NOTICE_MS;
    rings_open(&rings, xclbin_path, &sizes);
    rings_start(&rings);
    for (unsigned unit = 0; unit < UNITS; unit++) {
        while (!rings_over(&rings, unit))
            CHECK(now_ms() < end);
        CHECK(xrtRunState(rings.run[unit]) == ERT_CMD_STATE_ERROR);
    }
    CHECK(sl_xrt_devices_alive());
}

static void case_small_ring(void)
{
    struct rings_sizes sizes = usual;
    sizes.told_commands = 1U << 20;
    check_refused(sizes);
}

static void case_small_memory(void)
{
    struct rings_sizes sizes = usual;
    sizes.told_sessions = 131072;
    check_refused(sizes);
}

static void case_odd_sessions(void)
{
    struct rings_sizes sizes = usual;
    sizes.told_sessions = usual.sessions - 64;
    check_refused(sizes);
}

static void case_odd_ring(void)
{
    struct rings_sizes sizes = usual;
    sizes.told_commands = usual.commands - 1;
    check_refused(sizes);
}

static void case_short_ring(void)
{
    struct rings_sizes sizes = usual;
    sizes.packet_lines = card_packet_lines_min / 2;
    check_refused(sizes);
}

static void case_wrong_lane(void)
{
    struct rings_sizes sizes = usual;
    sizes.told_lane = 1;
    check_refused(sizes);
}

struct host_case {
    const char *name;
    void (*run)(void);
};

static const struct host_case cases[] = {
    {"smoke", case_smoke},
    {"rest", case_rest},
    {"cycles", case_cycles},
    {"wait", case_wait},
    {"small-ring", case_small_ring},
    {"small-memory", case_small_memory},
    {"odd-sessions", case_odd_sessions},
    {"odd-ring", case_odd_ring},
    {"short-ring", case_short_ring},
    {"wrong-lane", case_wrong_lane},
};

int main(int count, char **arguments)
{
    CHECK(count == 5);
    struct sl_xrt_environment environment = {
        .tree = arguments[2], .run_folder = arguments[4], .resident = strcmp(arguments[1], "cycles") != 0};
    xclbin_path = arguments[3];
    run_folder = arguments[4];
    CHECK(run_folder && sl_xrt_environment_set(&environment));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (strcmp(cases[i].name, arguments[1]) == 0) {
            cases[i].run();
            _exit(0);
        }
    }
    fprintf(stderr, "host: no case %s\n", arguments[1]);
    _exit(HOST_FAILED);
}
