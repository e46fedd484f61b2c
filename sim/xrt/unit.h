// SPDX-License-Identifier: Apache-2.0
/*
 * One compute unit: its register map, and the thread that runs its kernel.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "image.h"
#include "kernels.h"
#include "memory.h"

struct unit;

/* What a unit tells its owner. Only crashed() is called in a signal handler. */
struct unit_owner {
    void *context;
    struct memory *memory;
    /* Before the kernel runs; true: it must crash by *signal. Sets *lose or *delay_ms for the end of the run. */
    bool (*begins)(void *context, struct unit *unit, int *signal, bool *lose, uint64_t *delay_ms);
    void (*ended)(void *context, struct unit *unit);
    void (*crashed)(void *context, int signal);
    /* A fault for the kernel itself. */
    bool (*fault)(void *context, struct unit *unit, struct sluice_kernel_fault *fault);
};

struct unit {
    const struct image_unit *description;
    const struct image_kernel *image_kernel;
    const struct unit_owner *owner;
    sluice_kernel_function *function;
    struct sluice_kernel kernel;
    _Atomic uint32_t *registers;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    void *stack;         // for signals: the kernel's own may have overflowed
    bool started, begin; // the thread is there; it has something to do
    atomic_bool stopping, inside, crashed;
    atomic_bool busy, done;
    atomic_uint_fast64_t runs;
};

/* The handlers by which a crash stops its thread and nobody else; once in a process. */
void unit_catch_crashes(void);

bool unit_start(struct unit *unit, const struct image *image, size_t index, const struct kernels *kernels,
                const struct unit_owner *owner);
/* Asks the kernel to stop. unit_join waits for its thread for up to 1 s; false: it is still there, and so must its memory be. */
void unit_stop(struct unit *unit);
bool unit_join(struct unit *unit);

/* 32-bit registers by byte offset. broken: nothing begins and nothing is ever done. */
void unit_write(struct unit *unit, uint32_t offset, uint32_t value, bool broken);
uint32_t unit_read(struct unit *unit, uint32_t offset, bool broken);
