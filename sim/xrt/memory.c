// SPDX-License-Identifier: Apache-2.0
#include "memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void memory_init(struct memory *memory)
{
    *memory = (struct memory){.lock = PTHREAD_MUTEX_INITIALIZER};
}

static void release(struct memory_buffer *buffer)
{
    munmap(buffer->bytes, buffer->size);
    close(buffer->fd);
}

void memory_clear(struct memory *memory)
{
    pthread_mutex_lock(&memory->lock);
    for (size_t i = 0; i < memory->count; i++)
        release(&memory->buffers[i]);
    free(memory->buffers);
    memory->buffers = NULL;
    memory->count = memory->room = 0;
    pthread_mutex_unlock(&memory->lock);
}

static struct memory_buffer *find(struct memory *memory, uint64_t address, uint64_t size)
{
    for (size_t i = 0; i < memory->count; i++) {
        struct memory_buffer *buffer = &memory->buffers[i];
        if (address >= buffer->address && address - buffer->address < buffer->size &&
            size <= buffer->size - (address - buffer->address))
            return buffer;
    }
    return NULL;
}

static bool overlaps(const struct memory *memory, uint64_t address, uint64_t size)
{
    for (size_t i = 0; i < memory->count; i++) {
        const struct memory_buffer *buffer = &memory->buffers[i];
        if (address < buffer->address + buffer->size && buffer->address < address + size)
            return true;
    }
    return false;
}

static bool grow(struct memory *memory)
{
    if (memory->count < memory->room)
        return true;
    size_t room = memory->room ? memory->room * 2 : 64;
    struct memory_buffer *buffers = realloc(memory->buffers, room * sizeof *buffers);
    if (!buffers)
        return false;
    memory->buffers = buffers;
    memory->room = room;
    return true;
}

static bool add(struct memory *memory, uint64_t address, uint64_t size, char name[MEMORY_NAME])
{
    if (size == 0 || size > INT64_MAX || address > UINT64_MAX - size || overlaps(memory, address, size) || !grow(memory))
        return false;
    struct memory_buffer buffer = {.address = address, .size = (size_t)size};
    buffer.fd = memfd_create("sluice-card", MFD_CLOEXEC);
    if (buffer.fd < 0)
        return false;
    buffer.bytes = MAP_FAILED;
    if (ftruncate(buffer.fd, (off_t)size) == 0)
        buffer.bytes = mmap(NULL, buffer.size, PROT_READ | PROT_WRITE, MAP_SHARED, buffer.fd, 0);
    if (buffer.bytes == MAP_FAILED) {
        close(buffer.fd);
        return false;
    }
    snprintf(name, MEMORY_NAME, "/proc/%d/fd/%d", (int)getpid(), buffer.fd);
    memory->buffers[memory->count++] = buffer;
    return true;
}

bool memory_add(struct memory *memory, uint64_t address, uint64_t size, char name[MEMORY_NAME])
{
    pthread_mutex_lock(&memory->lock);
    bool ok = add(memory, address, size, name);
    pthread_mutex_unlock(&memory->lock);
    return ok;
}

bool memory_remove(struct memory *memory, uint64_t address)
{
    pthread_mutex_lock(&memory->lock);
    struct memory_buffer *buffer = find(memory, address, 1);
    bool ok = buffer && buffer->address == address;
    if (ok) {
        release(buffer);
        *buffer = memory->buffers[--memory->count];
    }
    pthread_mutex_unlock(&memory->lock);
    return ok;
}

uint8_t *memory_at(struct memory *memory, uint64_t address, uint64_t size)
{
    pthread_mutex_lock(&memory->lock);
    struct memory_buffer *buffer = find(memory, address, size);
    uint8_t *bytes = buffer ? buffer->bytes + (address - buffer->address) : NULL;
    pthread_mutex_unlock(&memory->lock);
    return bytes;
}

bool memory_write(struct memory *memory, uint64_t address, const void *from, uint64_t size)
{
    pthread_mutex_lock(&memory->lock);
    struct memory_buffer *buffer = find(memory, address, size);
    if (buffer && size > 0)
        memcpy(buffer->bytes + (address - buffer->address), from, (size_t)size);
    pthread_mutex_unlock(&memory->lock);
    return buffer != NULL;
}

void memory_each(struct memory *memory, void (*visit)(void *context, const struct memory_buffer *buffer), void *context)
{
    pthread_mutex_lock(&memory->lock);
    for (size_t i = 0; i < memory->count; i++)
        visit(context, &memory->buffers[i]);
    pthread_mutex_unlock(&memory->lock);
}
