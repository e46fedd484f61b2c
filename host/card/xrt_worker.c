/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluice-card-xrt: the process that talks to XRT, for one card and one engine (engine_xrt.c starts it). XRT takes over signals, and
 * signals its whole process group when an emulated device dies; it loads, spins and aborts as it likes. None of that reaches the
 * engine: this process leads a group of its own and shares nothing with it but rings and a socket (xrt_area.h).
 *
 *   open, load ─▶ buffers, mapped ─▶ kernels started, for ever ─▶ pump (xrt_pump.h), until the engine is gone or the card ends
 *
 * The kernels run as long as the card is loaded; their state is polled, since a run that fails tells nobody (sim/xrt/README.md).
 *
 * usage: sluice-card-xrt DEVICE SESSIONS, with the descriptors of xrt_area.h
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <experimental/xrt_bo.h>
#include <experimental/xrt_device.h>
#include <experimental/xrt_kernel.h>
#include <experimental/xrt_xclbin.h>

#include "base/clock.h"
#include "base/secret.h"
#include "card/xrt_area.h"
#include "card/xrt_pump.h"

enum {
    SESSION_LINES = 6,
    RUNS = 1 + 2 * SL_CARD_LANES,
    STATE_EVERY_US = 5000, /* between two looks at runs and socket */
    SPIN_US = 200,         /* without work: spin, then yield, then sleep longer and longer */
    YIELD_US = 2000,
    SLEEP_MIN_US = 50,
    SLEEP_MAX_US = 1000
};

#define FOR_EVER UINT64_MAX

struct worker {
    xrtDeviceHandle device;
    xuid_t id;
    uint32_t sessions;
    struct sl_xrt_pump pump;
    const char *unit[RUNS];
    xrtRunHandle run[RUNS];
    unsigned runs;
    bool clean; /* the card holds no keys */
};

static __attribute__((format(printf, 1, 2))) void tell(const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (length > 0)
        (void)!send(SL_XRT_FD_SOCKET, text, strnlen(text, sizeof(text)), MSG_NOSIGNAL);
}

/* Tells the engine why, and ends. By _exit: XRT's destructors crash while anything is open. */
#define GIVE_UP(...)                                                                                                               \
    do {                                                                                                                           \
        tell(__VA_ARGS__);                                                                                                         \
        _exit(1);                                                                                                                  \
    } while (0)

static uint64_t now_us(void)
{
    return sl_clock_system()->mono_ns(sl_clock_system()->arg) / 1000;
}

/* ---- open ---- */

static void *map_descriptor(int fd, int protection, size_t *bytes)
{
    struct stat s;
    if (fstat(fd, &s) != 0 || s.st_size <= 0)
        GIVE_UP("descriptor %d is no memory: %s", fd, strerror(errno));
    *bytes = (size_t)s.st_size;
    void *memory = mmap(NULL, *bytes, protection, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        GIVE_UP("descriptor %d cannot be mapped: %s", fd, strerror(errno));
    return memory;
}

static void load_card(struct worker *w, unsigned device)
{
    size_t bytes;
    const struct axlf *image = map_descriptor(SL_XRT_FD_XCLBIN, PROT_READ, &bytes);
    w->device = xrtDeviceOpen(device);
    if (w->device == NULL)
        GIVE_UP("XRT cannot open card %u: is it there (xbutil examine), and does nobody else use it?", device);
    if (xrtDeviceLoadXclbin(w->device, image) != 0)
        GIVE_UP("XRT cannot load the xclbin on card %u: is it made for this card and its shell?", device);
    if (xrtDeviceGetXclbinUUID(w->device, w->id) != 0)
        GIVE_UP("XRT does not know what it has loaded on card %u", device);
}

/* A buffer for an argument of a kernel, zeroed if the host can see it. */
static xrtBufferHandle buffer_of(const struct worker *w, xrtKernelHandle kernel, int argument, size_t bytes, void **memory)
{
    const int group = xrtKernelArgGroupId(kernel, argument);
    xrtBufferHandle buffer =
        group < 0 ? NULL : xrtBOAlloc(w->device, bytes, memory != NULL ? XRT_BO_FLAGS_HOST_ONLY : 0, (xrtMemoryGroup)group);
    if (buffer == NULL)
        GIVE_UP("XRT has no buffer of %zu bytes for argument %d", bytes, argument);
    if (memory == NULL)
        return buffer;
    *memory = xrtBOMap(buffer);
    if (*memory == NULL)
        GIVE_UP("XRT cannot map a buffer of %zu bytes", bytes);
    memset(*memory, 0, bytes);
    return buffer;
}

static void check_set(int error, const char *unit, int argument)
{
    if (error != 0)
        GIVE_UP("XRT does not take argument %d of %s", argument, unit);
}

struct unit {
    struct worker *w;
    const char *name;
    xrtKernelHandle kernel;
    xrtRunHandle run;
    int argument; /* the next one */
};

static struct unit open_unit(struct worker *w, const char *name, const char *kernel)
{
    struct unit u = {.w = w, .name = name};
    u.kernel = xrtPLKernelOpen(w->device, w->id, kernel);
    u.run = u.kernel != NULL ? xrtRunOpen(u.kernel) : NULL;
    if (u.run == NULL)
        GIVE_UP("the xclbin has no %s", name);
    return u;
}

static xrtBufferHandle set_buffer(struct unit *u, size_t bytes, void **memory)
{
    xrtBufferHandle buffer = buffer_of(u->w, u->kernel, u->argument, bytes, memory);
    check_set(xrtRunSetArg(u->run, u->argument, buffer), u->name, u->argument);
    u->argument++;
    return buffer;
}

static uint8_t *set_ring(struct unit *u, size_t bytes)
{
    void *memory;
    set_buffer(u, bytes, &memory);
    return memory;
}

static void set_same(struct unit *u, xrtBufferHandle buffer)
{
    check_set(xrtRunSetArg(u->run, u->argument, buffer), u->name, u->argument);
    u->argument++;
}

static void set_number(struct unit *u, uint32_t value)
{
    check_set(xrtRunSetArg(u->run, u->argument, value), u->name, u->argument);
    u->argument++;
}

/* A uint8_t of the kernel's; XRT takes what is no int or long from its variable arguments as a size_t. */
static void set_byte(struct unit *u, size_t value)
{
    check_set(xrtRunSetArg(u->run, u->argument, value), u->name, u->argument);
    u->argument++;
}

static void set_rounds(struct unit *u)
{
    check_set(xrtRunSetArg(u->run, u->argument, FOR_EVER), u->name, u->argument);
    u->argument++;
}

static void add_run(struct worker *w, const struct unit *u)
{
    w->unit[w->runs] = u->name;
    w->run[w->runs++] = u->run;
}

/* Arguments as in hls/pipeline/kernels.hpp. */
static void open_control(struct worker *w)
{
    struct sl_card_rings *far = &w->pump.far;
    struct unit u = open_unit(w, "sluice_control_0", "sluice_control:{sluice_control_0}");
    far->commands = set_ring(&u, (size_t)SL_XRT_COMMANDS * card_command_bytes);
    far->completions = set_ring(&u, (size_t)SL_XRT_COMMANDS * card_completion_bytes);
    far->events = set_ring(&u, (size_t)SL_XRT_EVENTS * card_event_bytes);
    far->page = (struct card_host_page *)(void *)set_ring(&u, SL_XRT_PAGE_BYTES);
    set_number(&u, SL_XRT_COMMANDS);
    set_number(&u, SL_XRT_EVENTS);
    set_number(&u, w->sessions);
    set_rounds(&u);
    add_run(w, &u);
}

static void open_packets(struct worker *w, unsigned lane)
{
    static const char *const names[] = {"sluice_packets_0", "sluice_packets_1"};
    static const char *const kernels[] = {"sluice_packets:{sluice_packets_0}", "sluice_packets:{sluice_packets_1}"};
    struct sl_card_rings *far = &w->pump.far;
    struct unit u = open_unit(w, names[lane], kernels[lane]);
    far->lane[lane].to_card = set_ring(&u, (size_t)SL_XRT_TO_CARD_LINES * card_line_bytes);
    far->lane[lane].from_card = set_ring(&u, (size_t)SL_XRT_FROM_CARD_LINES * card_line_bytes);
    far->lane[lane].mirror = set_ring(&u, (size_t)SL_XRT_MIRROR_LINES * card_line_bytes);
    far->lane[lane].page = (struct card_packets_page *)(void *)set_ring(&u, SL_XRT_PAGE_BYTES);
    set_number(&u, SL_XRT_TO_CARD_LINES);
    set_number(&u, SL_XRT_FROM_CARD_LINES);
    set_number(&u, SL_XRT_MIRROR_LINES);
    set_byte(&u, lane);
    set_rounds(&u);
    add_run(w, &u);
}

/* The memory of a lane's sessions: line_N, and the same once more as write_N. */
static void open_state(struct worker *w, unsigned lane)
{
    static const char *const names[] = {"sluice_state_0", "sluice_state_1"};
    static const char *const kernels[] = {"sluice_state:{sluice_state_0}", "sluice_state:{sluice_state_1}"};
    xrtBufferHandle line[SESSION_LINES];
    struct unit u = open_unit(w, names[lane], kernels[lane]);
    for (unsigned i = 0; i < SESSION_LINES; i++)
        line[i] = set_buffer(&u, (size_t)w->sessions * card_line_bytes, NULL);
    for (unsigned i = 0; i < SESSION_LINES; i++)
        set_same(&u, line[i]);
    set_number(&u, w->sessions);
    set_rounds(&u);
    add_run(w, &u);
}

static void start_runs(const struct worker *w)
{
    for (unsigned i = 0; i < w->runs; i++)
        if (xrtRunStart(w->run[i]) != 0)
            GIVE_UP("XRT cannot start %s", w->unit[i]);
}

/* ---- at work ---- */

/* While it is under way a run is new, queued, running or submitted, whatever XRT says of these. */
static void check_runs(const struct worker *w)
{
    for (unsigned i = 0; i < w->runs; i++) {
        const enum ert_cmd_state state = xrtRunState(w->run[i]);
        if (state >= ERT_CMD_STATE_COMPLETED && state != ERT_CMD_STATE_SUBMITTED)
            GIVE_UP("%s has ended on the card, with state %d of XRT", w->unit[i], (int)state);
    }
}

static bool engine_is_there(struct worker *w)
{
    char byte;
    const ssize_t n = recv(SL_XRT_FD_SOCKET, &byte, 1, MSG_DONTWAIT);
    w->clean = w->clean || n > 0;
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void rest(uint64_t idle_us)
{
    if (idle_us < SPIN_US)
        return;
    if (idle_us < YIELD_US) {
        (void)usleep(0);
        return;
    }
    const uint64_t us = idle_us / 16 < SLEEP_MIN_US ? SLEEP_MIN_US : idle_us / 16 > SLEEP_MAX_US ? SLEEP_MAX_US : idle_us / 16;
    nanosleep(&(struct timespec){.tv_nsec = (long)us * 1000}, NULL);
}

static void work(struct worker *w)
{
    uint64_t now = now_us(), busy = now, looked = now;
    for (;;) {
        const enum sl_xrt_pumped pumped = sl_xrt_pump(&w->pump);
        if (pumped == SL_XRT_PUMP_NONSENSE) {
            tell("an entry in the card's rings is longer than the ring has room");
            return;
        }
        now = now_us();
        if (pumped == SL_XRT_PUMP_BUSY)
            busy = now;
        if (now - looked >= STATE_EVERY_US) {
            looked = now;
            if (!engine_is_there(w))
                return;
            check_runs(w);
        }
        if (pumped != SL_XRT_PUMP_BUSY)
            rest(now - busy);
    }
}

/*
 * The engine has gone, by its will or not: the card forgets its keys (G13). What it still writes is thrown away, since a lane whose
 * ring is full would not let the command through; what the engine still wanted is not carried out.
 */
static void wipe_card(struct worker *w)
{
    const struct sl_card_rings *far = &w->pump.far;
    struct card_command *c =
        (struct card_command *)(void *)(far->commands + (size_t)(w->pump.commands % far->command_entries) * card_command_bytes);
    const uint8_t *const done =
        far->completions + (size_t)(w->pump.commands % far->command_entries) * card_completion_bytes + card_completion_bytes - 4;
    const uint64_t end = now_us() + sl_xrt_wipe_ms(w->sessions) * 1000;
    if (w->pump.commands - w->pump.completions >= far->command_entries)
        return;
    sl_wipe(w->pump.near.commands, (size_t)far->command_entries * card_command_bytes);
    memset(c, 0, offsetof(struct card_command, valid));
    c->sequence = ++w->pump.commands;
    c->opcode = card_reset;
    __atomic_store_n(&c->valid, c->sequence, __ATOMIC_RELEASE);
    while (__atomic_load_n((const uint32_t *)(const void *)done, __ATOMIC_ACQUIRE) != c->sequence && now_us() < end) {
        for (unsigned i = 0; i < SL_CARD_LANES; i++) {
            __atomic_store_n(&w->pump.near.lane[i].page->from_card_read, w->pump.lane[i].from_card, __ATOMIC_RELEASE);
            __atomic_store_n(&w->pump.near.lane[i].page->mirror_read, w->pump.lane[i].mirror, __ATOMIC_RELEASE);
        }
        (void)sl_xrt_pump(&w->pump);
    }
}

int main(int argc, char **argv)
{
    static struct worker w;
    size_t bytes;
    (void)setpgid(0, 0); /* the engine does it, too: whoever comes first */
    signal(SIGPIPE, SIG_IGN);
    (void)sl_secret_harden_process();
    if (argc != 3)
        GIVE_UP("usage: sluice-card-xrt DEVICE SESSIONS; it is started by an engine");
    uint8_t *area = map_descriptor(SL_XRT_FD_AREA, PROT_READ | PROT_WRITE, &bytes);
    if (bytes != sl_xrt_layout().bytes)
        GIVE_UP("the engine's area has %zu bytes: another version of sluice-card-xrt is installed", bytes);
    w.sessions = (uint32_t)strtoul(argv[2], NULL, 10);
    load_card(&w, (unsigned)strtoul(argv[1], NULL, 10));

    const struct sl_card_rings near = sl_xrt_rings(area, w.sessions);
    sl_xrt_pump_init(&w.pump, &near, &near); /* far: replaced by the card's buffers */
    open_control(&w);
    for (unsigned i = 0; i < SL_CARD_LANES; i++) {
        open_state(&w, i);
        open_packets(&w, i);
    }
    start_runs(&w);
    if (send(SL_XRT_FD_SOCKET, "", 1, MSG_NOSIGNAL) != 1)
        _exit(1);
    work(&w);
    if (!w.clean)
        wipe_card(&w);
    _exit(0);
}
