// SPDX-License-Identifier: Apache-2.0
/*
 * The card's memory: buffers at the addresses that XRT's shim gives them, each a memfd that the host maps by its name under /proc.
 * Nothing is on disk, and nothing is left when both processes are gone. Every function may be called from any thread.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct memory_buffer {
    uint64_t address;
    size_t size; // as asked for; the mapping ends with the page
    int fd;
    uint8_t *bytes;
};

struct memory {
    pthread_mutex_t lock;
    struct memory_buffer *buffers;
    size_t count, room;
};

enum { MEMORY_NAME = 48 };

void memory_init(struct memory *memory);
void memory_clear(struct memory *memory);

/* A zeroed buffer, and the name of its file. False, and nothing changed: no memory, no descriptor, size 0, or an overlap. */
bool memory_add(struct memory *memory, uint64_t address, uint64_t size, char name[MEMORY_NAME]);
bool memory_remove(struct memory *memory, uint64_t address);

/* The bytes of a range that lies in one buffer, or null. They are valid until the buffer is removed. */
uint8_t *memory_at(struct memory *memory, uint64_t address, uint64_t size);
/* As memory_at, copied under the lock. */
bool memory_write(struct memory *memory, uint64_t address, const void *from, uint64_t size);

void memory_each(struct memory *memory, void (*visit)(void *context, const struct memory_buffer *buffer), void *context);
