// SPDX-License-Identifier: Apache-2.0
/*
 * A host of the simulated card on rings and nothing else; test_sim_card.c starts it, in a process group of its own.
 *
 * usage: sluice_host CASE TREE XCLBIN RUN_FOLDER
 *
 * Ends with 0 when all was as the case expects, otherwise with 3 and a line on stderr; otherwise still XRT ended it.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <environment.h>

#include <experimental/xrt_xclbin.h>

#include "check.h"
#include "rings.h"

enum { CYCLES = 100, ROUNDS = 10000, FRAMES = 20, NOTICE_MS = 30000, NEVER_MS = 200 };

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
    for (unsigned i = 0; i < 2 * usual.commands; i++)
        check_no_op(&rings);
    rings_forward_all(&rings);
    check_frames(&rings, FRAMES);
    for (unsigned unit = 0; unit < UNITS; unit++)
        CHECK(!rings_over(&rings, unit));
}

/* XRT's own view of the card: registers as Vitis lays them out, and banks as they are linked. */
static void case_view(void)
{
    static const struct {
        unsigned unit;
        int argument;
        uint32_t offset;
        int bank; /* -1: a scalar; 32: HOST[0] */
    } arguments[] = {
        {UNIT_CONTROL, 0, 0x10, 32},     {UNIT_CONTROL, 3, 0x34, 32},    {UNIT_CONTROL, 4, 0x40, -1}, {UNIT_CONTROL, 7, 0x58, -1},
        {UNIT_STATE, 0, 0x10, 0},        {UNIT_STATE, 5, 0x4c, 10},      {UNIT_STATE, 6, 0x58, 0},    {UNIT_STATE, 12, 0xa0, -1},
        {UNIT_STATE + 1, 0, 0x10, 16},   {UNIT_STATE + 1, 11, 0x94, 26}, {UNIT_STATE, 13, 0xa8, -1},  {UNIT_PACKETS, 0, 0x10, 32},
        {UNIT_PACKETS + 1, 3, 0x34, 32}, {UNIT_PACKETS, 7, 0x58, -1},    {UNIT_PACKETS, 8, 0x60, -1},
    };
    struct rings rings;
    char name[64] = "";
    int bytes = 0;
    xrtXclbinHandle xclbin = xrtXclbinAllocFilename(xclbin_path);
    CHECK(xclbin && xrtXclbinGetNumKernels(xclbin) == 4 && xrtXclbinGetNumKernelComputeUnits(xclbin) == 7);
    CHECK(xrtXclbinGetXSAName(xclbin, name, sizeof name, &bytes) == 0 && strstr(name, "sluice_sim"));
    rings_open(&rings, xclbin_path, &usual);
    for (size_t i = 0; i < sizeof arguments / sizeof arguments[0]; i++) {
        xrtKernelHandle kernel = rings.kernel[arguments[i].unit];
        CHECK(xrtKernelArgOffset(kernel, arguments[i].argument) == arguments[i].offset);
        CHECK(arguments[i].bank < 0 || xrtKernelArgGroupId(kernel, arguments[i].argument) == arguments[i].bank);
    }
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

/* ---- faults: what a host sees of each on its rings ---- */

static void write_faults(const char *text)
{
    char from[PATH_MAX], to[PATH_MAX];
    snprintf(from, sizeof from, "%s/new", run_folder);
    snprintf(to, sizeof to, "%s/faults", run_folder);
    FILE *file = fopen(from, "we");
    CHECK(file && fprintf(file, "%s\n", text) > 0 && fclose(file) == 0 && rename(from, to) == 0);
}

/* Entries that come later meet the faults. */
static void inject(const char *text)
{
    char seen[PATH_MAX];
    const uint64_t end = now_ms() + LIMIT_MS;
    snprintf(seen, sizeof seen, "%s/faults.seen", run_folder);
    CHECK(unlink(seen) == 0 || errno == ENOENT);
    write_faults(text);
    while (access(seen, F_OK) != 0)
        CHECK(now_ms() < end);
}

static uint16_t no_op_status(struct rings *rings)
{
    struct card_command command = {.opcode = card_no_op};
    return rings_do(rings, &command);
}

/* An empty slot written into the table once more. */
static uint16_t table_write_status(struct rings *rings)
{
    struct card_command command = {.opcode = card_table_write, .lane = 1, .index = 5};
    return rings_do(rings, &command);
}

/* A frame through a lane that forwards it: the bits in which it differs when it is back. */
static unsigned bits_changed(struct rings *rings, unsigned lane, uint32_t number, size_t *where)
{
    static uint8_t data[card_packet_room];
    uint8_t frame[FRAME_BYTES];
    size_t bytes = 0;
    unsigned changed = 0;
    rings_frame(frame, number);
    rings_send(rings, lane, frame);
    CHECK(rings_receive(rings, lane, data, &bytes, LIMIT_MS) == card_packet_tx && bytes == FRAME_BYTES);
    for (size_t bit = 0; bit < bytes * 8; bit++) {
        if (((data[bit / 8] ^ frame[bit / 8]) >> bit % 8 & 1) != 0) {
            *where = bit;
            changed++;
        }
    }
    return changed;
}

/* lose, entry=3: its entry of the ring stays as it was, the next ones are written, and packets flow. */
static void case_lose(void)
{
    struct rings rings;
    struct card_completion completion;
    struct card_command command = {.opcode = card_no_op};
    open_usual(&rings);
    rings_forward_all(&rings);
    rings_ask(&rings, &command);
    rings_ask(&rings, &command);
    CHECK(!rings_answer(&rings, &completion, NEVER_MS));
    CHECK(rings.completions[2].valid == 0 && rings.completions[3].valid == 4);
    rings.answered++;
    CHECK(rings_answer(&rings, &completion, LIMIT_MS) && completion.sequence == 4 && completion.status == card_ok);
    check_frames(&rings, 10);
}

/* delay, entry=2 ms=300: what is behind it is late, too. Nothing is lost. */
static void case_delay(void)
{
    struct rings rings;
    struct card_completion completion;
    struct card_command command = {.opcode = card_no_op};
    open_usual(&rings);
    CHECK(no_op_status(&rings) == card_ok);
    const uint64_t begin = now_ms();
    for (unsigned i = 0; i < 5; i++)
        rings_ask(&rings, &command);
    for (uint32_t i = 2; i <= 6; i++) {
        CHECK(rings_answer(&rings, &completion, LIMIT_MS) && completion.sequence == i && completion.status == card_ok);
        CHECK(now_ms() - begin >= 290);
    }
}

/* overrun, entry=2: the card says so, and goes on with the next. */
static void case_overrun(void)
{
    struct rings rings;
    open_usual(&rings);
    CHECK(no_op_status(&rings) == card_ok);
    CHECK(no_op_status(&rings) == card_bad_sequence);
    CHECK(no_op_status(&rings) == card_ok);
}

/* stray, entry=2: the answer is to another command, and this one has done nothing. */
static void case_stray(void)
{
    struct rings rings;
    struct card_completion completion;
    struct card_command command = {.opcode = card_rule_default, .lane = 1, .set = 1};
    static uint8_t data[card_packet_room];
    uint8_t frame[FRAME_BYTES];
    size_t bytes;
    open_usual(&rings);
    CHECK(no_op_status(&rings) == card_ok);
    rings_ask(&rings, &command);
    CHECK(rings_answer(&rings, &completion, LIMIT_MS) && completion.sequence == 2);
    CHECK(completion.opcode == card_no_op && completion.lane == 0 && completion.status == card_ok);
    rings_frame(frame, 1);
    rings_send(&rings, 1, frame);
    CHECK(rings_receive(&rings, 1, data, &bytes, LIMIT_MS) == card_packet_punt);
}

/* refuse, by file: from then on no slot is written; everything else works. */
static void case_refuse(void)
{
    struct rings rings;
    open_usual(&rings);
    CHECK(table_write_status(&rings) == card_ok);
    inject("refuse unit=sluice_control_0 entry=3");
    CHECK(table_write_status(&rings) == card_ok && table_write_status(&rings) == card_ok);
    for (unsigned i = 0; i < 2 * usual.commands; i++)
        CHECK(table_write_status(&rings) == card_refused && no_op_status(&rings) == card_ok);
    rings_forward_all(&rings);
    check_frames(&rings, 10);
}

/* flip of a command, entry=1: byte 4 is the opcode. */
static void case_flip_command(void)
{
    struct rings rings;
    struct card_completion completion;
    struct card_command command = {.opcode = card_no_op};
    open_usual(&rings);
    rings_ask(&rings, &command);
    CHECK(rings_answer(&rings, &completion, LIMIT_MS) && completion.status == card_bad_opcode);
    CHECK(rings.commands[0].opcode == card_no_op && no_op_status(&rings) == card_ok);
}

/* flip of a frame on its way in, in lane 1, entry=2 byte=50 bit=3; then by file, in the other. */
static void case_flip_frame(void)
{
    struct rings rings;
    size_t where = 0;
    open_usual(&rings);
    rings_forward_all(&rings);
    for (uint32_t i = 1; i <= 5; i++) {
        CHECK(bits_changed(&rings, 0, i, &where) == 0);
        CHECK(bits_changed(&rings, 1, i, &where) == (i == 2 ? 1 : 0));
        CHECK(i != 2 || where == 50 * 8 + 3);
    }
    inject("flip unit=sluice_packets_0 entry=1 byte=199 bit=0\nlose unit=sluice_packets_0 entry=1");
    CHECK(bits_changed(&rings, 0, 9, &where) == 1 && where == 199 % FRAME_BYTES * 8);
    CHECK(bits_changed(&rings, 0, 9, &where) == 0);
}

/* flip in session memory: line 3 of session 100 in lane 1. */
static void case_flip_memory(void)
{
    struct rings rings;
    open_usual(&rings);
    CHECK(no_op_status(&rings) == card_ok);
    inject("flip unit=sluice_state_1 when=now arg=3 byte=6405 bit=6\nflip unit=sluice_state_7 when=now arg=0");
    for (unsigned lane = 0; lane < LANES; lane++)
        for (unsigned i = 0; i < STATE_LINES; i++)
            for (size_t at = 0; at < (size_t)usual.sessions * card_line_bytes; at++)
                CHECK(rings.line[lane][i][at] == (lane == 1 && i == 3 && at == 6405 ? 1U << 6 : 0));
    CHECK(no_op_status(&rings) == card_ok);
}

/* die, by file: the runs are aborted, and then the device is gone. */
static void case_die_exit(void)
{
    struct rings rings;
    open_usual(&rings);
    CHECK(no_op_status(&rings) == card_ok);
    const uint64_t end = now_ms() + NOTICE_MS;
    write_faults("die how=exit when=now");
    for (unsigned unit = 0; unit < UNITS; unit++) {
        while (!rings_over(&rings, unit))
            CHECK(now_ms() < end);
        CHECK(xrtRunState(rings.run[unit]) == ERT_CMD_STATE_ABORT);
    }
    while (sl_xrt_devices_alive())
        CHECK(now_ms() < end);
}

/* crash unit=... ms=200: of the unit that runs them all, or of one that waits. All runs fail, and the device goes with the host. */
static void case_crash_late(void)
{
    struct rings rings;
    open_usual(&rings);
    const uint64_t end = now_ms() + NOTICE_MS;
    for (unsigned unit = 0; unit < UNITS; unit++) {
        while (!rings_over(&rings, unit))
            CHECK(now_ms() < end);
        CHECK(xrtRunState(rings.run[unit]) == ERT_CMD_STATE_ERROR);
    }
}

struct host_case {
    const char *name;
    void (*run)(void);
    const char *fault;
};

static const struct host_case cases[] = {
    {"smoke", case_smoke, NULL},
    {"view", case_view, NULL},
    {"rest", case_rest, NULL},
    {"cycles", case_cycles, NULL},
    {"wait", case_wait, NULL},
    {"small-ring", case_small_ring, NULL},
    {"small-memory", case_small_memory, NULL},
    {"odd-sessions", case_odd_sessions, NULL},
    {"odd-ring", case_odd_ring, NULL},
    {"short-ring", case_short_ring, NULL},
    {"wrong-lane", case_wrong_lane, NULL},
    {"lose", case_lose, "lose unit=sluice_control_0 entry=3"},
    {"delay", case_delay, "delay unit=sluice_control_0 entry=2 ms=300"},
    {"overrun", case_overrun, "overrun unit=sluice_control_0 entry=2"},
    {"stray", case_stray, "stray unit=sluice_control_0 entry=2"},
    {"refuse", case_refuse, NULL},
    {"flip-command", case_flip_command, "flip unit=sluice_control_0 entry=1 byte=4 bit=7"},
    {"flip-frame", case_flip_frame, "flip unit=sluice_packets_1 entry=2 byte=50 bit=3"},
    {"flip-memory", case_flip_memory, NULL},
    {"die-exit", case_die_exit, NULL},
    {"crash-control", case_crash_late, "crash unit=sluice_control_0 ms=200"},
    {"crash-state", case_crash_late, "crash unit=sluice_state_1 ms=200 signal=fpe"},
    {"crash-packets", case_crash_late, "crash unit=sluice_packets_1 ms=200 signal=abrt"},
};

int main(int count, char **arguments)
{
    char faults[PATH_MAX];
    CHECK(count == 5);
    signal(SIGPIPE, SIG_IGN); /* the shim writes to a device that may be gone */
    struct sl_xrt_environment environment = {
        .tree = arguments[2], .run_folder = arguments[4], .resident = strcmp(arguments[1], "cycles") != 0, .fault_file = faults};
    xclbin_path = arguments[3];
    run_folder = arguments[4];
    CHECK((size_t)snprintf(faults, sizeof faults, "%s/faults", run_folder) < sizeof faults);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (strcmp(cases[i].name, arguments[1]) == 0) {
            environment.fault = cases[i].fault;
            CHECK(sl_xrt_environment_set(&environment));
            cases[i].run();
            _exit(0);
        }
    }
    fprintf(stderr, "host: no case %s\n", arguments[1]);
    _exit(HOST_FAILED);
}
