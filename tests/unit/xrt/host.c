// SPDX-License-Identifier: Apache-2.0
/*
 * A host that uses XRT's native C API as one with a card does; test_card.c starts it, in a process group of its own.
 *
 * usage: xrt_test_host CASE TREE XCLBIN RUN_FOLDER
 *
 * Ends with 0 when all was as the case expects, otherwise with 3 and a line on stderr; otherwise still XRT ended it. It leaves by
 * _exit: XRT's static destructors crash when something is still open, and after a fault something is.
 */
#include <environment.h>

#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <experimental/xrt_bo.h>
#include <experimental/xrt_device.h>
#include <experimental/xrt_kernel.h>
#include <experimental/xrt_xclbin.h>

#include "check.h"

enum { WORDS = 256, RUN_LIMIT_MS = 30000, NOTICE_MS = 5000, NUDGE_MS = 1000 };

static const char *xclbin_path, *run_folder;

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "host: %s\n", what);
    _exit(HOST_FAILED);
}

struct card {
    xrtDeviceHandle device;
    xuid_t id;
    xrtKernelHandle add;
};

/* The buffers and the run of one unit of the kernel add. */
struct sum {
    xrtBufferHandle in, out;
    uint32_t *in_words, *out_words;
    xrtRunHandle run, nudge;
    atomic_bool done, nudged;
    bool was_nudged;
};

static void open_card(struct card *card, unsigned index)
{
    card->device = xrtDeviceOpen(index);
    CHECK(card->device);
    CHECK(xrtDeviceLoadXclbinFile(card->device, xclbin_path) == 0);
    CHECK(xrtDeviceGetXclbinUUID(card->device, card->id) == 0);
    card->add = xrtPLKernelOpen(card->device, card->id, "add:{add_1}");
    CHECK(card->add);
}

static void close_card(struct card *card)
{
    CHECK(xrtKernelClose(card->add) == 0);
    CHECK(xrtDeviceClose(card->device) == 0);
    CHECK(sl_xrt_wait_closed(RUN_LIMIT_MS));
}

static void on_done(xrtRunHandle run, enum ert_cmd_state state, void *context)
{
    (void)run;
    (void)state;
    atomic_store((atomic_bool *)context, true);
}

/*
 * A run whose end is told by a callback. XRT's scheduler marks a run as completed and uses it once more to notify the host, so a
 * host that has only seen the state, and closes the run, frees it under the scheduler's hands. When the callback is there it may.
 */
static xrtRunHandle open_run(xrtKernelHandle kernel, atomic_bool *done)
{
    xrtRunHandle run = xrtRunOpen(kernel);
    CHECK(run && xrtRunSetCallback(run, ERT_CMD_STATE_COMPLETED, on_done, done) == 0);
    return run;
}

static void wait_done(xrtRunHandle run, atomic_bool *done)
{
    uint64_t end = now_ms() + RUN_LIMIT_MS;
    while (!atomic_load(done)) {
        CHECK(now_ms() < end);
        pause_ms(1);
    }
    CHECK(xrtRunState(run) == ERT_CMD_STATE_COMPLETED);
}

/*
 * XRT's scheduler can fall asleep on a run that is started just when the last one has ended (it is woken without the lock it sleeps
 * under), and any other start wakes it. Hosts with a resident run don't meet this, as the scheduler never sleeps there.
 */
static void wait_sum(struct sum *sum)
{
    uint64_t end = now_ms() + RUN_LIMIT_MS, nudge = now_ms() + NUDGE_MS;
    while (!atomic_load(&sum->done) || !atomic_load(&sum->nudged)) {
        CHECK(now_ms() < end);
        if (now_ms() > nudge && atomic_load(&sum->nudged)) {
            atomic_store(&sum->nudged, false);
            sum->was_nudged = true;
            CHECK(xrtRunStart(sum->nudge) == 0);
            nudge = now_ms() + NUDGE_MS;
        }
        pause_ms(1);
    }
    CHECK(xrtRunState(sum->run) == ERT_CMD_STATE_COMPLETED);
}

static void prepare(struct card *card, xrtKernelHandle kernel, struct sum *sum)
{
    xrtMemoryGroup group = (xrtMemoryGroup)xrtKernelArgGroupId(kernel, 0);
    sum->in = xrtBOAlloc(card->device, WORDS * 4, 0, group);
    sum->out = xrtBOAlloc(card->device, WORDS * 4, 0, group);
    CHECK(sum->in && sum->out);
    sum->in_words = xrtBOMap(sum->in);
    sum->out_words = xrtBOMap(sum->out);
    CHECK(sum->in_words && sum->out_words);
    sum->run = open_run(kernel, &sum->done);
    sum->nudge = open_run(kernel, &sum->nudged);
    sum->was_nudged = false;
    atomic_store(&sum->nudged, true);
    CHECK(xrtRunSetArg(sum->nudge, 0, sum->in) == 0 && xrtRunSetArg(sum->nudge, 1, sum->out) == 0);
    CHECK(xrtRunSetArg(sum->nudge, 2, 0) == 0 && xrtRunSetArg(sum->nudge, 3, 0) == 0);
    CHECK(xrtRunSetArg(sum->run, 0, sum->in) == 0 && xrtRunSetArg(sum->run, 1, sum->out) == 0);
}

static void finish(struct sum *sum)
{
    CHECK(xrtRunClose(sum->run) == 0 && xrtRunClose(sum->nudge) == 0);
    CHECK(xrtBOFree(sum->in) == 0 && xrtBOFree(sum->out) == 0);
}

static void start(struct sum *sum, uint32_t value)
{
    for (uint32_t i = 0; i < WORDS; i++)
        sum->in_words[i] = i * 3;
    memset(sum->out_words, 0xee, WORDS * 4);
    CHECK(xrtBOSync(sum->in, XCL_BO_SYNC_BO_TO_DEVICE, WORDS * 4, 0) == 0);
    CHECK(xrtRunSetArg(sum->run, 2, WORDS) == 0 && xrtRunSetArg(sum->run, 3, value) == 0);
    atomic_store(&sum->done, false);
    CHECK(xrtRunStart(sum->run) == 0);
}

/* Polls until the run has ended in any way; xrtRunWaitFor never times out here. */
static enum ert_cmd_state wait_end(xrtRunHandle run, uint64_t limit_ms)
{
    uint64_t end = now_ms() + limit_ms;
    enum ert_cmd_state state;
    while ((state = xrtRunState(run)) < ERT_CMD_STATE_COMPLETED || state == ERT_CMD_STATE_SUBMITTED) {
        if (now_ms() > end)
            return ERT_CMD_STATE_TIMEOUT;
        pause_ms(1);
    }
    return state;
}

static unsigned wrong_words(struct sum *sum, uint32_t value)
{
    unsigned wrong = 0;
    CHECK(xrtBOSync(sum->out, XCL_BO_SYNC_BO_FROM_DEVICE, WORDS * 4, 0) == 0);
    for (uint32_t i = 0; i < WORDS; i++)
        wrong += sum->out_words[i] != i * 3 + value;
    return wrong;
}

/* Waits for a run that must succeed. */
static void check_sum(struct sum *sum, uint32_t value)
{
    wait_sum(sum);
    CHECK(wrong_words(sum, value) == 0);
}

/* Open, load, 20 runs with wait, registers, close. */
static void case_smoke(void)
{
    struct card card;
    struct sum sum;
    uint32_t count = 0;
    open_card(&card, 0);
    xrtKernelClose(card.add);
    card.add = xrtPLKernelOpenExclusive(card.device, card.id, "add:{add_1}");
    CHECK(card.add);
    prepare(&card, card.add, &sum);
    for (uint32_t i = 0; i < 20; i++) {
        start(&sum, i * 1000);
        check_sum(&sum, i * 1000);
        CHECK(xrtRunWait(sum.run) == ERT_CMD_STATE_COMPLETED);
    }
    CHECK(xrtKernelReadRegister(card.add, 0x40, &count) == 0 && (count == WORDS || sum.was_nudged));
    finish(&sum);
    close_card(&card);
}

static void case_cycles(void)
{
    for (int i = 0; i < 10; i++)
        case_smoke();
}

/* A large buffer goes in several messages, and back. */
static void case_large(void)
{
    enum { LARGE = 20 << 20 };
    struct card card;
    open_card(&card, 0);
    xrtBufferHandle buffer = xrtBOAlloc(card.device, LARGE, 0, (xrtMemoryGroup)xrtKernelArgGroupId(card.add, 0));
    CHECK(buffer);
    uint8_t *bytes = malloc(LARGE), *back = calloc(1, LARGE);
    CHECK(bytes && back);
    for (size_t i = 0; i < LARGE; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 4096);
    CHECK(xrtBOWrite(buffer, bytes, LARGE, 0) == 0);
    CHECK(xrtBOSync(buffer, XCL_BO_SYNC_BO_TO_DEVICE, LARGE, 0) == 0);
    CHECK(xrtBOSync(buffer, XCL_BO_SYNC_BO_FROM_DEVICE, LARGE, 0) == 0);
    CHECK(xrtBORead(buffer, back, LARGE, 0) == 0);
    CHECK(memcmp(bytes, back, LARGE) == 0);
    free(bytes);
    free(back);
    CHECK(xrtBOFree(buffer) == 0);
    close_card(&card);
}

/* A resident kernel that shares a mapped buffer with the host: no sync, no run per request. */
static void case_resident(void)
{
    struct card card;
    struct sum sum;
    open_card(&card, 0);
    xrtKernelHandle kernel = xrtPLKernelOpen(card.device, card.id, "ring");
    CHECK(kernel);
    xrtBufferHandle buffer = xrtBOAlloc(card.device, 4096, 0, (xrtMemoryGroup)xrtKernelArgGroupId(kernel, 0));
    _Atomic uint32_t *words = xrtBOMap(buffer);
    CHECK(words);
    atomic_bool done = false;
    xrtRunHandle run = open_run(kernel, &done);
    CHECK(xrtRunSetArg(run, 0, buffer) == 0 && xrtRunStart(run) == 0);
    prepare(&card, card.add, &sum);
    for (uint32_t i = 1; i <= 1000; i++) {
        uint64_t end = now_ms() + RUN_LIMIT_MS;
        atomic_store(&words[1], i);
        while (atomic_load(&words[3]) != i)
            CHECK(now_ms() < end);
        CHECK(atomic_load(&words[2]) == i * 2);
        if (i % 100 == 0) { // another unit works beside it
            start(&sum, i);
            check_sum(&sum, i);
        }
    }
    CHECK(xrtRunState(run) < ERT_CMD_STATE_COMPLETED);
    atomic_store(&words[0], 1);
    wait_done(run, &done);
    finish(&sum);
    CHECK(xrtRunClose(run) == 0 && xrtBOFree(buffer) == 0 && xrtKernelClose(kernel) == 0);
    close_card(&card);
}

/* A resident kernel that nobody stops. */
static xrtRunHandle start_ring(struct card *card)
{
    xrtKernelHandle kernel = xrtPLKernelOpen(card->device, card->id, "ring");
    CHECK(kernel);
    xrtBufferHandle buffer = xrtBOAlloc(card->device, 4096, 0, (xrtMemoryGroup)xrtKernelArgGroupId(kernel, 0));
    xrtRunHandle run = xrtRunOpen(kernel);
    CHECK(buffer && xrtBOMap(buffer) && run && xrtRunSetArg(run, 0, buffer) == 0 && xrtRunStart(run) == 0);
    return run;
}

/* A resident kernel is stopped by the end of the device, too. */
static void case_abandon(void)
{
    struct card card;
    open_card(&card, 0);
    start_ring(&card);
    pause_ms(20);
}

static void case_two_units(void)
{
    struct card card;
    struct sum sums[2];
    open_card(&card, 0);
    xrtKernelHandle other = xrtPLKernelOpen(card.device, card.id, "add:{add_2}");
    CHECK(other);
    prepare(&card, card.add, &sums[0]);
    prepare(&card, other, &sums[1]);
    for (uint32_t i = 0; i < 100; i++) {
        start(&sums[0], i);
        start(&sums[1], i + 7);
        check_sum(&sums[1], i + 7);
        check_sum(&sums[0], i);
    }
    finish(&sums[0]);
    finish(&sums[1]);
    CHECK(xrtKernelClose(other) == 0);
    close_card(&card);
}

/* All loads come first: the shim keeps one list of mapped buffers for all devices, and a load unmaps what is on it. */
static void case_two_devices(void)
{
    struct card cards[2];
    struct sum sums[2];
    for (unsigned i = 0; i < 2; i++)
        open_card(&cards[i], i);
    for (unsigned i = 0; i < 2; i++)
        prepare(&cards[i], cards[i].add, &sums[i]);
    for (uint32_t i = 0; i < 50; i++) {
        start(&sums[0], i);
        start(&sums[1], i + 5);
        check_sum(&sums[0], i);
        check_sum(&sums[1], i + 5);
    }
    for (unsigned i = 0; i < 2; i++)
        finish(&sums[i]);
    for (unsigned i = 0; i < 2; i++)
        CHECK(xrtKernelClose(cards[i].add) == 0 && xrtDeviceClose(cards[i].device) == 0);
    CHECK(sl_xrt_wait_closed(RUN_LIMIT_MS));
}

/* A kernel falls while a resident one runs: soon both runs have failed, and so does what is started afterwards; opened
   anew, the card works. */
static void fall(uint32_t how)
{
    struct card card;
    struct sum sum;
    open_card(&card, 0);
    xrtKernelHandle kernel = xrtPLKernelOpen(card.device, card.id, "fall");
    xrtRunHandle resident = start_ring(&card), run = xrtRunOpen(kernel);
    CHECK(kernel && run && xrtRunSetArg(run, 0, how) == 0 && xrtRunStart(run) == 0);
    CHECK(wait_end(run, NOTICE_MS) == ERT_CMD_STATE_ERROR);
    CHECK(wait_end(resident, NOTICE_MS) == ERT_CMD_STATE_ERROR);
    prepare(&card, card.add, &sum);
    start(&sum, 1);
    CHECK(wait_end(sum.run, NOTICE_MS) == ERT_CMD_STATE_ERROR);
    CHECK(sl_xrt_devices_alive());
    pause_ms(50);
    CHECK(xrtRunState(run) == ERT_CMD_STATE_ERROR);
}

/* A second load, before there are buffers: the card begins anew. After a crash a host needs a new process for it: the load unmaps
   the commands that XRT's scheduler still has. */
static void case_reload(void)
{
    struct card card;
    struct sum sum;
    open_card(&card, 0);
    CHECK(xrtKernelClose(card.add) == 0);
    CHECK(xrtDeviceLoadXclbinFile(card.device, xclbin_path) == 0);
    card.add = xrtPLKernelOpen(card.device, card.id, "add:{add_1}");
    CHECK(card.add);
    prepare(&card, card.add, &sum);
    start(&sum, 9);
    check_sum(&sum, 9);
    finish(&sum);
    close_card(&card);
}

static void case_wait(void)
{
    struct card card;
    open_card(&card, 0);
    pause_ms(60000);
}

/* Injected: crash unit=ring_1 ms=50, in the middle of a resident kernel. */
static void case_crash_late(void)
{
    struct card card;
    open_card(&card, 0);
    xrtRunHandle run = start_ring(&card);
    CHECK(wait_end(run, NOTICE_MS) == ERT_CMD_STATE_ERROR);
}

static void case_fall_null(void)
{
    fall(0);
}

static void case_fall_abort(void)
{
    fall(1);
}

static void case_fall_division(void)
{
    fall(2);
}

static void case_fall_stack(void)
{
    fall(3);
}

/* The state of a run that a fault meets. */
static enum ert_cmd_state state_of_first_run(uint64_t limit_ms)
{
    struct card card;
    struct sum sum;
    open_card(&card, 0);
    prepare(&card, card.add, &sum);
    start(&sum, 3);
    return wait_end(sum.run, limit_ms);
}

/* Injected: crash unit=add_1. */
static void case_crash(void)
{
    CHECK(state_of_first_run(NOTICE_MS) == ERT_CMD_STATE_ERROR);
}

/* Injected: lose unit=add_1 run=1. The device is well otherwise: the second unit works on. */
static void case_lose(void)
{
    struct card card;
    struct sum lost, other;
    open_card(&card, 0);
    xrtKernelHandle kernel = xrtPLKernelOpen(card.device, card.id, "add:{add_2}");
    prepare(&card, card.add, &lost);
    prepare(&card, kernel, &other);
    start(&lost, 3);
    CHECK(wait_end(lost.run, 300) == ERT_CMD_STATE_TIMEOUT);
    start(&other, 4);
    check_sum(&other, 4);
    CHECK(wait_end(lost.run, 100) == ERT_CMD_STATE_TIMEOUT && sl_xrt_devices_alive());
    CHECK(wrong_words(&lost, 3) == 0); // the kernel did its work
}

/* Injected: delay unit=add_1 run=2 ms=300. */
static void case_delay(void)
{
    struct card card;
    struct sum sum;
    open_card(&card, 0);
    prepare(&card, card.add, &sum);
    for (uint32_t i = 1; i <= 3; i++) {
        uint64_t begin = now_ms();
        start(&sum, i);
        check_sum(&sum, i);
        CHECK(i != 2 || now_ms() - begin >= 290);
    }
    finish(&sum);
    close_card(&card);
}

/* Injected: flip unit=add_1 run=2 arg=1 byte=17 bit=3 when=done. */
static void case_flip(void)
{
    struct card card;
    struct sum sum;
    open_card(&card, 0);
    prepare(&card, card.add, &sum);
    for (uint32_t i = 1; i <= 3; i++) {
        start(&sum, i);
        wait_sum(&sum);
        CHECK(wrong_words(&sum, i) == (i == 2 ? 1 : 0));
        CHECK(i != 2 || sum.out_words[4] == ((4 * 3 + i) ^ (1U << 11)));
    }
    finish(&sum);
    close_card(&card);
}

/* Injected: die how=exit. The runs are aborted, and the device is gone. */
static void case_die_exit(void)
{
    CHECK(state_of_first_run(NOTICE_MS) == ERT_CMD_STATE_ABORT);
    uint64_t end = now_ms() + NOTICE_MS;
    while (sl_xrt_devices_alive())
        CHECK(now_ms() < end);
}

/* Injected: die how=vanish. No state changes; that the device is gone can be seen all the same. */
static void case_die_vanish(void)
{
    struct card card;
    struct sum sum;
    open_card(&card, 0);
    prepare(&card, card.add, &sum);
    start(&sum, 3);
    uint64_t end = now_ms() + NOTICE_MS;
    while (sl_xrt_devices_alive()) {
        CHECK(now_ms() < end);
        pause_ms(1);
    }
    CHECK(xrtRunState(sum.run) < ERT_CMD_STATE_COMPLETED);
}

/* Injected: die how=kill. XRT's shim ends this process. */
static void case_die_kill(void)
{
    state_of_first_run(RUN_LIMIT_MS);
    fail("the host is still alive");
}

/* Injected: crash unit=ring_1 ms=200. xrtRunWait doesn't notice; after its patience the device ends, and this process with it. */
static void case_crash_wait(void)
{
    struct card card;
    open_card(&card, 0);
    xrtRunHandle run = start_ring(&card);
    xrtRunWait(run);
    fail("xrtRunWait has returned");
}

/* A fault that is written while the host runs. */
static void case_control_file(void)
{
    struct card card;
    struct sum sum;
    char path[4096];
    open_card(&card, 0);
    prepare(&card, card.add, &sum);
    start(&sum, 1);
    check_sum(&sum, 1);
    snprintf(path, sizeof path, "%s/faults", run_folder);
    FILE *file = fopen(path, "we");
    CHECK(file && fputs("# nothing else\ncrash unit=add_1\n", file) > 0 && fclose(file) == 0);
    enum ert_cmd_state state = ERT_CMD_STATE_COMPLETED;
    uint64_t end = now_ms() + RUN_LIMIT_MS;
    while (state == ERT_CMD_STATE_COMPLETED) {
        CHECK(now_ms() < end);
        start(&sum, 2);
        state = wait_end(sum.run, NOTICE_MS);
    }
    CHECK(state == ERT_CMD_STATE_ERROR);
}

/* The wrapper has repaired Debian's shim, or found nothing to repair. */
static void case_repair(void)
{
    struct card card;
    const char *(*said)(void) = NULL;
    char path[4096];
    open_card(&card, 0);
    snprintf(path, sizeof path, "%s/lib/libxrt_swemu.so.2", getenv("XILINX_XRT"));
    void *library = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    void *symbol = library ? dlsym(library, "sluice_xrt_repair") : NULL;
    CHECK(symbol);
    memcpy(&said, &symbol, sizeof said);
    if (strcmp(said(), "repaired") != 0 && strcmp(said(), "needs no repair") != 0) {
        fprintf(stderr, "host: Debian's libxrt_swemu is another than the one this was made for: %s\n", said());
        _exit(HOST_FAILED);
    }
    close_card(&card);
}

/* An xclbin whose kernels can't be loaded is an error of the load, not of the process. */
static void case_bad_xclbin(void)
{
    xrtDeviceHandle device = xrtDeviceOpen(0);
    CHECK(device);
    CHECK(xrtDeviceLoadXclbinFile(device, xclbin_path) != 0);
}

static const struct {
    const char *name;
    void (*run)(void);
    const char *fault;
    unsigned devices;
} cases[] = {
    {"smoke", case_smoke, NULL, 1},
    {"cycles", case_cycles, NULL, 1},
    {"large", case_large, NULL, 1},
    {"repair", case_repair, NULL, 1},
    {"resident", case_resident, NULL, 1},
    {"abandon", case_abandon, NULL, 1},
    {"two-units", case_two_units, NULL, 1},
    {"two-devices", case_two_devices, NULL, 2},
    {"fall-null", case_fall_null, NULL, 1},
    {"fall-abort", case_fall_abort, NULL, 1},
    {"fall-division", case_fall_division, NULL, 1},
    {"fall-stack", case_fall_stack, NULL, 1},
    {"crash", case_crash, "crash unit=add_1 signal=fpe", 1},
    {"crash-late", case_crash_late, "crash unit=ring_1 ms=50 signal=abrt", 1},
    {"reload", case_reload, NULL, 1},
    {"wait", case_wait, NULL, 1},
    {"crash-wait", case_crash_wait, "crash unit=ring_1 ms=200", 1},
    {"lose", case_lose, "lose unit=add_1 run=1", 1},
    {"delay", case_delay, "delay unit=add_1 run=2 ms=300", 1},
    {"flip", case_flip, "flip unit=add_1 run=2 arg=1 byte=17 bit=3 when=done", 1},
    {"die-exit", case_die_exit, "die how=exit unit=add_1", 1},
    {"die-vanish", case_die_vanish, "die how=vanish unit=add_1", 1},
    {"die-kill", case_die_kill, "die how=kill unit=add_1", 1},
    {"die-load", case_die_kill, "die how=kill when=load", 1},
    {"control-file", case_control_file, NULL, 1},
    {"bad-xclbin", case_bad_xclbin, NULL, 1},
};

int main(int count, char **arguments)
{
    char faults[4096];
    CHECK(count == 5);
    signal(SIGPIPE, SIG_IGN); // the shim writes to a device that may be gone
    xclbin_path = arguments[3];
    run_folder = arguments[4];
    snprintf(faults, sizeof faults, "%s/faults", run_folder);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (strcmp(cases[i].name, arguments[1]) != 0)
            continue;
        bool file = strcmp(cases[i].name, "control-file") == 0;
        CHECK(sl_xrt_environment_set(&(struct sl_xrt_environment){.tree = arguments[2],
                                                                  .run_folder = run_folder,
                                                                  .devices = cases[i].devices,
                                                                  .fault = cases[i].fault,
                                                                  .fault_file = file ? faults : NULL}));
        cases[i].run();
        _exit(0);
    }
    fail("no case has that name");
}
