// SPDX-License-Identifier: Apache-2.0
#include "card.h"

#include <errno.h>
#include <ert.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "unit.h"

enum { DUE_MAX = FAULT_MAX, EXEC_BUFFER = 4096, FILE_MAX = 8192, CRASH_GRACE_MS = 10000, SCAN_MS = 2, CONTROL_MS = 10 };

/* What one load brought, together: a thread that doesn't stop keeps all of it. */
struct load {
    struct image image;
    struct kernels kernels;
    struct unit units[IMAGE_MAX_UNITS];
    size_t unit_count;
};

/* A fault whose moment is still to come. */
struct due {
    struct fault fault;
    struct unit *unit;
    uint64_t at_ms;
};

struct card {
    struct memory *memory;
    struct load *load;
    struct unit_owner owner;
    pthread_mutex_t lock; // of all below, and of the units against the watcher
    struct faults faults;
    atomic_size_t own_faults; // of them, not taken: to be looked at without the lock
    struct due due[DUE_MAX];
    size_t due_count;
    struct timespec control_time;
    const char *control;
    uint64_t grace_ms;
    atomic_int broken; // the signal, or 0
    uint64_t broken_at_ms;
    atomic_bool quit;
    bool left_behind; // a thread of some load
    int event;
    pthread_t watcher;
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void wake(struct card *card)
{
    uint64_t one = 1;
    ssize_t put = write(card->event, &one, sizeof one);
    (void)put; // full: awake already
}

/* The state is in the lowest 4 bits of a command packet's header, in memory that the host maps. */
struct end {
    uint32_t state;
    uint32_t unit_mask;
};

static bool is_open_run(uint32_t header, uint32_t unit_mask, uint32_t known_units)
{
    uint32_t state = header & 0xf, count = header >> 12 & 0x7ff, opcode = header >> 23 & 0x1f, type = header >> 28;
    bool open = state == ERT_CMD_STATE_NEW || state == ERT_CMD_STATE_QUEUED || state == ERT_CMD_STATE_RUNNING ||
                state == ERT_CMD_STATE_SUBMITTED;
    return open && opcode == ERT_START_CU && type == ERT_CU && count > 4 && unit_mask != 0 && (unit_mask & ~known_units) == 0;
}

static void end_run(void *context, const struct memory_buffer *buffer)
{
    const struct end *end = context;
    if (buffer->size != EXEC_BUFFER)
        return;
    _Atomic uint32_t *header = (_Atomic uint32_t *)(void *)buffer->bytes;
    uint32_t old = atomic_load(header);
    uint32_t unit_mask;
    memcpy(&unit_mask, buffer->bytes + 4, sizeof unit_mask);
    while (is_open_run(old, unit_mask, end->unit_mask)) {
        if (atomic_compare_exchange_weak(header, &old, (old & ~0xfU) | end->state))
            break;
    }
}

void card_end_runs(struct card *card, uint32_t state)
{
    size_t units = card->load ? card->load->unit_count : 0;
    struct end end = {.state = state, .unit_mask = units >= 32 ? UINT32_MAX : (1U << units) - 1};
    memory_each(card->memory, end_run, &end);
}

static void flip(struct card *card, const struct unit *unit, const struct fault *fault)
{
    const struct image_argument *argument = &unit->image_kernel->arguments[fault->argument];
    if (fault->argument >= unit->image_kernel->argument_count || !argument->pointer) {
        fprintf(stderr, "sluice-xrt-device: fault: %s has no buffer as argument %u\n", unit->description->name, fault->argument);
        return;
    }
    uint64_t address = sluice_kernel_read64(&unit->kernel, argument->offset);
    uint8_t *byte = address > UINT64_MAX - fault->byte ? NULL : memory_at(card->memory, address + fault->byte, 1);
    if (byte)
        atomic_fetch_xor((_Atomic uint8_t *)byte, (uint8_t)(1U << fault->bit));
    else
        fprintf(stderr, "sluice-xrt-device: fault: no memory at that byte of argument %u\n", fault->argument);
}

static _Noreturn void die(struct card *card, const struct fault *fault)
{
    if (fault->how == DEATH_KILL)
        kill(getpid(), SIGKILL);
    if (fault->how == DEATH_EXIT)
        card_end_runs(card, ERT_CMD_STATE_ABORT);
    _exit(0);
}

/* A thread that crashes sleeps with all it holds, and while a signal from outside is on its way that mustn't be the memory's lock.
 */
static void crash(struct card *card, struct unit *unit, int signal_number)
{
    pthread_mutex_lock(&card->memory->lock);
    if (atomic_load(&unit->inside) && pthread_kill(unit->thread, signal_number) == 0) {
        for (int ms = 0; ms < 1000 && !atomic_load(&unit->crashed); ms++)
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    pthread_mutex_unlock(&card->memory->lock);
}

/* Under the lock. */
static void happen(struct card *card, const struct due *due)
{
    switch (due->fault.kind) {
    case FAULT_FLIP:
        if (due->unit)
            flip(card, due->unit, &due->fault);
        else
            fprintf(stderr, "sluice-xrt-device: fault: there is no unit %s\n", due->fault.unit);
        break;
    case FAULT_DIE:
        die(card, &due->fault);
    case FAULT_CRASH:
        if (due->unit)
            crash(card, due->unit, due->fault.signal);
        break;
    default:
        break;
    }
}

static void happen_or_wait(struct card *card, const struct fault *fault, struct unit *unit)
{
    struct due due = {.fault = *fault, .unit = unit, .at_ms = now_ms() + fault->delay_ms};
    if (fault->delay_ms == 0) {
        happen(card, &due);
    } else if (card->due_count < DUE_MAX) {
        card->due[card->due_count++] = due;
        wake(card);
    }
}

static bool on_begin(void *context, struct unit *unit, int *signal_number, bool *lose, uint64_t *delay_ms)
{
    struct card *card = context;
    struct fault fault;
    const char *name = unit->description->name;
    uint64_t number = atomic_load(&unit->runs);
    bool at_once = false;
    pthread_mutex_lock(&card->lock);
    *lose = faults_take(&card->faults, FAULT_LOSE, FAULT_START, name, number, &fault);
    if (faults_take(&card->faults, FAULT_DELAY, FAULT_START, name, number, &fault))
        *delay_ms = fault.delay_ms;
    if (faults_take(&card->faults, FAULT_FLIP, FAULT_START, name, number, &fault))
        happen_or_wait(card, &fault, unit);
    if (faults_take(&card->faults, FAULT_DIE, FAULT_START, name, number, &fault))
        happen_or_wait(card, &fault, unit);
    if (faults_take(&card->faults, FAULT_CRASH, FAULT_START, name, number, &fault)) {
        at_once = fault.delay_ms == 0;
        *signal_number = fault.signal;
        if (!at_once)
            happen_or_wait(card, &fault, unit);
    }
    pthread_mutex_unlock(&card->lock);
    return at_once;
}

/* A kernel asks at each entry of its ring, so nearly always there is nothing. */
static bool on_fault(void *context, struct unit *unit, struct sluice_kernel_fault *out)
{
    static const enum sluice_kernel_fault_kind kinds[] = {
        [FAULT_LOSE] = SLUICE_FAULT_LOSE,       [FAULT_DELAY] = SLUICE_FAULT_DELAY, [FAULT_FLIP] = SLUICE_FAULT_FLIP,
        [FAULT_OVERRUN] = SLUICE_FAULT_OVERRUN, [FAULT_STRAY] = SLUICE_FAULT_STRAY, [FAULT_REFUSE] = SLUICE_FAULT_REFUSE};
    struct card *card = context;
    struct fault fault;
    if (atomic_load(&card->own_faults) == 0)
        return false;
    pthread_mutex_lock(&card->lock);
    bool taken = faults_take_own(&card->faults, unit->description->name, &fault);
    atomic_store(&card->own_faults, faults_count_own(&card->faults));
    pthread_mutex_unlock(&card->lock);
    if (taken)
        *out =
            (struct sluice_kernel_fault){kinds[fault.kind], (uint32_t)fault.entry, (uint32_t)fault.delay_ms, fault.bit, fault.byte};
    return taken;
}

static void on_end(void *context, struct unit *unit)
{
    struct card *card = context;
    struct fault fault;
    uint64_t number = atomic_load(&unit->runs);
    pthread_mutex_lock(&card->lock);
    if (faults_take(&card->faults, FAULT_FLIP, FAULT_DONE, unit->description->name, number, &fault))
        happen_or_wait(card, &fault, unit);
    if (faults_take(&card->faults, FAULT_DIE, FAULT_DONE, unit->description->name, number, &fault))
        happen_or_wait(card, &fault, unit);
    pthread_mutex_unlock(&card->lock);
}

/* In a signal handler. */
static void on_crash(void *context, int signal_number)
{
    struct card *card = context;
    atomic_store(&card->broken, signal_number);
    wake(card);
}

static void read_control(struct card *card, bool *seen)
{
    struct stat status;
    char text[FILE_MAX];
    const char *bad = "";
    int fd = open(card->control, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (fstat(fd, &status) == 0 &&
        (status.st_mtim.tv_sec != card->control_time.tv_sec || status.st_mtim.tv_nsec != card->control_time.tv_nsec)) {
        ssize_t length = read(fd, text, sizeof text - 1);
        text[length > 0 ? length : 0] = '\0';
        card->control_time = status.st_mtim;
        if (!faults_parse(&card->faults, text, &bad))
            fprintf(stderr, "sluice-xrt-device: fault file: not understood: %.60s\n", bad);
        atomic_store(&card->own_faults, faults_count_own(&card->faults));
        *seen = true;
    }
    close(fd);
}

static void tell_seen(const struct card *card)
{
    char path[4096];
    int length = snprintf(path, sizeof path, "%s.seen", card->control);
    int fd = length > 0 && (size_t)length < sizeof path ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd >= 0)
        close(fd);
}

static struct unit *unit_named(const struct card *card, const char *name)
{
    for (size_t i = 0; card->load && i < card->load->unit_count; i++)
        if (strcmp(card->load->units[i].description->name, name) == 0)
            return &card->load->units[i];
    return NULL;
}

static void take_moment(struct card *card, enum fault_when when)
{
    struct fault fault;
    if (faults_take(&card->faults, FAULT_DIE, when, NULL, 0, &fault))
        happen_or_wait(card, &fault, NULL);
    while (when == FAULT_NOW && card->load && faults_take(&card->faults, FAULT_FLIP, when, NULL, 0, &fault))
        happen_or_wait(card, &fault, unit_named(card, fault.unit));
}

static void watch_due(struct card *card)
{
    uint64_t now = now_ms();
    for (size_t i = 0; i < card->due_count;) {
        if (card->due[i].at_ms > now) {
            i++;
            continue;
        }
        struct due due = card->due[i];
        card->due[i] = card->due[--card->due_count];
        happen(card, &due);
    }
}

static void watch_broken(struct card *card)
{
    int signal_number = atomic_load(&card->broken);
    if (!signal_number)
        return;
    uint64_t now = now_ms();
    if (!card->broken_at_ms) {
        card->broken_at_ms = now;
        fprintf(stderr, "sluice-xrt-device: a kernel died of signal %d; its runs have failed\n", signal_number);
    }
    card_end_runs(card, ERT_CMD_STATE_ERROR);
    if (card->grace_ms && now - card->broken_at_ms >= card->grace_ms) {
        fprintf(stderr, "sluice-xrt-device: nobody took notice of the crash: device ends\n");
        signal(SIGABRT, SIG_DFL);
        abort();
    }
}

static void *watch(void *argument)
{
    struct card *card = argument;
    uint64_t count;
    while (!atomic_load(&card->quit)) {
        pthread_mutex_lock(&card->lock);
        bool seen = false;
        if (card->control)
            read_control(card, &seen);
        take_moment(card, FAULT_NOW);
        if (seen)
            tell_seen(card);
        watch_due(card);
        watch_broken(card);
        int timeout = atomic_load(&card->broken) || card->due_count ? SCAN_MS : card->control ? CONTROL_MS : -1;
        pthread_mutex_unlock(&card->lock);
        struct pollfd event = {.fd = card->event, .events = POLLIN};
        if (poll(&event, 1, timeout) == 1 && read(card->event, &count, sizeof count) < 0 && errno != EAGAIN)
            break;
    }
    return NULL;
}

struct card *card_new(struct memory *memory)
{
    const char *bad = "", *text = getenv("SLUICE_XRT_FAULT"), *grace = getenv("SLUICE_XRT_CRASH_GRACE_MS");
    struct card *card = calloc(1, sizeof *card);
    if (!card)
        return NULL;
    card->memory = memory;
    card->owner = (struct unit_owner){card, memory, on_begin, on_end, on_crash, on_fault};
    card->control = getenv("SLUICE_XRT_FAULT_FILE");
    card->grace_ms = grace ? strtoull(grace, NULL, 10) : CRASH_GRACE_MS;
    pthread_mutex_init(&card->lock, NULL);
    if (text && !faults_parse(&card->faults, text, &bad))
        fprintf(stderr, "sluice-xrt-device: SLUICE_XRT_FAULT: not understood: %.60s\n", bad);
    atomic_store(&card->own_faults, faults_count_own(&card->faults));
    card->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    unit_catch_crashes();
    if (card->event < 0 || pthread_create(&card->watcher, NULL, watch, card) != 0) {
        free(card);
        return NULL;
    }
    return card;
}

void card_reset(struct card *card)
{
    struct load *load = card->load;
    bool all = true;
    if (load) {
        for (size_t i = 0; i < load->unit_count; i++)
            unit_stop(&load->units[i]);
        for (size_t i = 0; i < load->unit_count; i++)
            all = unit_join(&load->units[i]) && all;
    }
    pthread_mutex_lock(&card->lock);
    card->load = NULL;
    card->due_count = 0;
    card->broken_at_ms = 0;
    atomic_store(&card->broken, 0);
    pthread_mutex_unlock(&card->lock);
    if (load && all) {
        kernels_close(&load->kernels);
        free(load);
    }
    card->left_behind = card->left_behind || !all;
}

bool card_free(struct card *card)
{
    card_reset(card);
    bool all = !card->left_behind;
    atomic_store(&card->quit, true);
    wake(card);
    pthread_join(card->watcher, NULL);
    close(card->event);
    pthread_mutex_destroy(&card->lock);
    free(card);
    return all;
}

/* The whole file with a zero behind it, or null. */
static char *text_of(const char *path, size_t *length)
{
    struct stat status;
    char *text = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &status) == 0 && status.st_size >= 0 && status.st_size < 16 << 20)
        text = malloc((size_t)status.st_size + 1);
    if (text) {
        ssize_t got = read(fd, text, (size_t)status.st_size);
        *length = got > 0 ? (size_t)got : 0;
        text[*length] = '\0';
    }
    if (fd >= 0)
        close(fd);
    return text;
}

static bool fill(struct card *card, struct load *load, const char *metadata_path, const char *library_path)
{
    size_t length = 0;
    char *text = text_of(metadata_path, &length);
    bool ok = text && image_parse(&load->image, text, length);
    free(text);
    if (!ok) {
        fprintf(stderr, "sluice-xrt-device: the xclbin's metadata name no compute unit\n");
        return false;
    }
    if (!kernels_open(&load->kernels, library_path))
        return false;
    for (size_t i = 0; ok && i < load->image.unit_count; i++) {
        ok = unit_start(&load->units[i], &load->image, i, &load->kernels, &card->owner);
        load->unit_count++;
    }
    return ok;
}

bool card_load(struct card *card, const char *metadata_path, const char *library_path)
{
    card_reset(card);
    if (metadata_path[0] == '\0' && library_path[0] == '\0')
        return true;
    struct load *load = calloc(1, sizeof *load);
    if (!load)
        return false;
    load->kernels.fd = -1;
    bool ok = fill(card, load, metadata_path, library_path);
    pthread_mutex_lock(&card->lock);
    card->load = load;
    take_moment(card, FAULT_LOAD);
    pthread_mutex_unlock(&card->lock);
    if (!ok)
        card_reset(card);
    return ok;
}

/* The unit whose map holds a range, and the range's offset in it. */
static struct unit *unit_at(struct card *card, uint64_t address, size_t size, uint32_t *offset)
{
    for (size_t i = 0; card->load && i < card->load->unit_count; i++) {
        struct unit *unit = &card->load->units[i];
        uint64_t distance = address - unit->description->base;
        if (address >= unit->description->base && distance < unit->image_kernel->range &&
            size <= unit->image_kernel->range - distance) {
            *offset = (uint32_t)distance;
            return unit;
        }
    }
    return NULL;
}

bool card_write(struct card *card, uint64_t address, const void *data, size_t size)
{
    uint32_t offset, value;
    struct unit *unit = unit_at(card, address, size, &offset);
    if (!unit || size % 4 != 0 || offset % 4 != 0)
        return false;
    // The control register last: with it the run begins.
    for (size_t at = size; at > 0; at -= 4) {
        memcpy(&value, (const uint8_t *)data + at - 4, sizeof value);
        unit_write(unit, offset + (uint32_t)at - 4, value, atomic_load(&card->broken));
    }
    return true;
}

bool card_read(struct card *card, uint64_t address, void *data, size_t size)
{
    uint32_t offset;
    struct unit *unit = unit_at(card, address, size, &offset);
    if (!unit || size % 4 != 0 || offset % 4 != 0)
        return false;
    for (size_t at = 0; at < size; at += 4) {
        uint32_t value = unit_read(unit, offset + (uint32_t)at, atomic_load(&card->broken));
        memcpy((uint8_t *)data + at, &value, sizeof value);
    }
    return true;
}
