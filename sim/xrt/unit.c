// SPDX-License-Identifier: Apache-2.0
#include "unit.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { AP_START = 1, AP_DONE = 2, AP_IDLE = 4, SIGNAL_STACK = 64 << 10 };

static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
static _Thread_local struct unit *mine;

/* A thread that crashed holds whatever locks it held, so it is neither unwound nor ended: it sleeps until the process is over. */
static void on_crash(int signal_number)
{
    struct unit *unit = mine;
    if (!unit || !atomic_load(&unit->inside)) {
        signal(signal_number, SIG_DFL);
        raise(signal_number);
        return;
    }
    atomic_store(&unit->crashed, true);
    if (!atomic_load(&unit->stopping))
        unit->owner->crashed(unit->owner->context, signal_number);
    for (;;)
        pause();
}

void unit_catch_crashes(void)
{
    struct sigaction action = {.sa_handler = on_crash, .sa_flags = SA_ONSTACK | SA_NODEFER};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++)
        sigaction(crashes[i], &action, NULL);
}

static struct unit *unit_of(const struct sluice_kernel *kernel)
{
    return (struct unit *)((char *)(uintptr_t)kernel - offsetof(struct unit, kernel));
}

static void *kernel_memory(const struct sluice_kernel *kernel, uint64_t address, size_t size)
{
    return memory_at(unit_of(kernel)->owner->memory, address, size);
}

static uint32_t kernel_read(const struct sluice_kernel *kernel, uint32_t offset)
{
    struct unit *unit = unit_of(kernel);
    if (offset / 4 >= unit->image_kernel->range / 4)
        return 0;
    return atomic_load(&unit->registers[offset / 4]);
}

static void kernel_write(const struct sluice_kernel *kernel, uint32_t offset, uint32_t value)
{
    struct unit *unit = unit_of(kernel);
    if (offset / 4 > 0 && offset / 4 < unit->image_kernel->range / 4)
        atomic_store(&unit->registers[offset / 4], value);
}

static int kernel_stopping(const struct sluice_kernel *kernel)
{
    return atomic_load(&unit_of(kernel)->stopping);
}

static int kernel_fault(const struct sluice_kernel *kernel, struct sluice_kernel_fault *fault)
{
    struct unit *unit = unit_of(kernel);
    return unit->owner->fault(unit->owner->context, unit, fault);
}

static const struct sluice_kernel_calls calls = {kernel_memory, kernel_read, kernel_write, kernel_stopping, kernel_fault};

static void sleep_ms(struct unit *unit, uint64_t ms)
{
    for (; ms > 0 && !atomic_load(&unit->stopping); ms--)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void run(struct unit *unit)
{
    bool lose = false;
    uint64_t delay_ms = 0;
    int signal_number = 0;
    atomic_fetch_add(&unit->runs, 1);
    bool crash = unit->owner->begins(unit->owner->context, unit, &signal_number, &lose, &delay_ms);
    atomic_store(&unit->inside, true);
    if (crash)
        raise(signal_number);
    unit->function(&unit->kernel);
    atomic_store(&unit->inside, false);
    unit->owner->ended(unit->owner->context, unit);
    sleep_ms(unit, delay_ms);
    if (!lose) {
        atomic_store(&unit->done, true);
        atomic_store(&unit->busy, false);
    }
}

static void *thread_main(void *argument)
{
    struct unit *unit = argument;
    sigaltstack(&(stack_t){.ss_sp = unit->stack, .ss_size = SIGNAL_STACK}, NULL);
    mine = unit;
    pthread_mutex_lock(&unit->lock);
    while (!atomic_load(&unit->stopping)) {
        if (!unit->begin) {
            pthread_cond_wait(&unit->wake, &unit->lock);
            continue;
        }
        unit->begin = false;
        pthread_mutex_unlock(&unit->lock);
        run(unit);
        pthread_mutex_lock(&unit->lock);
    }
    pthread_mutex_unlock(&unit->lock);
    sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL);
    return NULL;
}

bool unit_start(struct unit *unit, const struct image *image, size_t index, const struct kernels *kernels,
                const struct unit_owner *owner)
{
    memset(unit, 0, sizeof *unit);
    unit->description = &image->units[index];
    unit->image_kernel = &image->kernels[unit->description->kernel];
    unit->owner = owner;
    pthread_mutex_init(&unit->lock, NULL);
    pthread_cond_init(&unit->wake, NULL);
    unit->function = kernels_find(kernels, unit->image_kernel->name);
    unit->kernel = (struct sluice_kernel){.unit = unit->description->name, .unit_index = (uint32_t)index, .calls = &calls};
    unit->registers = calloc(unit->image_kernel->range / 4, sizeof *unit->registers);
    unit->stack = malloc(SIGNAL_STACK);
    if (unit->function && unit->registers && unit->stack)
        unit->started = pthread_create(&unit->thread, NULL, thread_main, unit) == 0;
    return unit->started;
}

void unit_stop(struct unit *unit)
{
    pthread_mutex_lock(&unit->lock);
    atomic_store(&unit->stopping, true);
    pthread_cond_signal(&unit->wake);
    pthread_mutex_unlock(&unit->lock);
}

bool unit_join(struct unit *unit)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 1;
    if (unit->started && (atomic_load(&unit->crashed) || pthread_timedjoin_np(unit->thread, NULL, &until) != 0)) {
        pthread_detach(unit->thread);
        return false;
    }
    free(unit->registers);
    free(unit->stack);
    pthread_cond_destroy(&unit->wake);
    pthread_mutex_destroy(&unit->lock);
    return true;
}

static void begin(struct unit *unit)
{
    pthread_mutex_lock(&unit->lock);
    if (!atomic_exchange(&unit->busy, true)) {
        atomic_store(&unit->done, false);
        unit->begin = true;
        pthread_cond_signal(&unit->wake);
    }
    pthread_mutex_unlock(&unit->lock);
}

void unit_write(struct unit *unit, uint32_t offset, uint32_t value, bool broken)
{
    if (offset > 0)
        atomic_store(&unit->registers[offset / 4], value);
    else if ((value & AP_START) && !broken)
        begin(unit);
}

uint32_t unit_read(struct unit *unit, uint32_t offset, bool broken)
{
    if (offset > 0)
        return atomic_load(&unit->registers[offset / 4]);
    if (broken || atomic_load(&unit->busy))
        return AP_START;
    return atomic_exchange(&unit->done, false) ? AP_DONE | AP_IDLE : AP_IDLE;
}
