/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The allocator behind sl_secret_alloc.
 *
 * Memory is taken from the system in arenas of ARENA_BYTES, aligned to their size, each cut into blocks of one size class (64, 128,
 * ..., 16384 bytes). An arena's bookkeeping (which blocks are in use) stands outside of it, in ordinary memory: nothing but secrets
 * lies in locked pages, an overrun of a block can't corrupt the allocator, and after fork(), when the child finds the arenas zeroed
 * (MADV_WIPEONFORK), the child can still allocate and free.
 *
 *   block address ──& ~(ARENA_BYTES-1)──▶ arena address ──hash──▶ struct arena ──▶ bit (address - arena) / block size
 *
 * Arenas of a class that have a free block form a list; so allocating is: first arena of the list, first free bit. An arena that
 * becomes empty goes back to the system unless it is the only one of its class with room, which stays as a reserve.
 */
#include "base/secret.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/log.h"

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif

#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#define POISON(at, len)   __asan_poison_memory_region((at), (len))
#define UNPOISON(at, len) __asan_unpoison_memory_region((at), (len))
#define ROOT(at, len)     __lsan_register_root_region((at), (len)) /* secrets may hold pointers to ordinary memory */
#define UNROOT(at, len)   __lsan_unregister_root_region((at), (len))
#else
#define POISON(at, len)   ((void)(at), (void)(len))
#define UNPOISON(at, len) ((void)(at), (void)(len))
#define ROOT(at, len)     ((void)(at), (void)(len))
#define UNROOT(at, len)   ((void)(at), (void)(len))
#endif

enum { MIN_BLOCK = 64, CLASSES = 17, ARENA_BYTES = 65536, BITMAP_WORDS = ARENA_BYTES / MIN_BLOCK / 64, FIRST_BUCKETS = 64 };

/* Block sizes: steps small enough that a relayed connection's keys waste little, each a multiple of the alignment. */
static const uint16_t class_bytes[CLASSES] = {64,   128,  192,  256,  384,  512,  768,   1024,         1536,
                                              2048, 2560, 3072, 4096, 6144, 8192, 12288, SL_SECRET_MAX};

struct arena {
    uint8_t *base;
    struct arena *next_hash;
    struct arena *prev_room, *next_room; /* in the list of arenas with room */
    uint64_t used[BITMAP_WORDS];         /* bits beyond the last block are set for ever */
    unsigned class, blocks, in_use;
    bool locked;
};

/* One pool a process, as for malloc: secrets are made in every part, and one limit (RLIMIT_MEMLOCK) governs all. */
static struct {
    pthread_mutex_t lock;
    struct arena *room[CLASSES];
    struct arena **buckets;
    size_t bucket_count, arenas;
    struct sl_secret_stats stats;
    bool warned;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void pool_lock(void)
{
    pthread_mutex_lock(&pool.lock);
}

static void pool_unlock(void)
{
    pthread_mutex_unlock(&pool.lock);
}

/* The child's memory is no longer locked (mlock(2)); its arenas are empty of content. */
static void after_fork_in_child(void)
{
    for (size_t i = 0; i < pool.bucket_count; i++) {
        for (struct arena *a = pool.buckets[i]; a; a = a->next_hash) {
            bool locked = mlock(a->base, ARENA_BYTES) == 0;
            pool.stats.bytes_locked -= a->locked && !locked ? ARENA_BYTES : 0;
            pool.stats.bytes_locked += !a->locked && locked ? ARENA_BYTES : 0;
            a->locked = locked;
        }
    }
    pool_unlock();
}

static void install_fork_handlers(void)
{
    pthread_atfork(pool_lock, pool_unlock, after_fork_in_child);
}

static size_t block_bytes(unsigned class)
{
    return class_bytes[class];
}

static unsigned class_of(size_t len)
{
    unsigned class = 0;

    while (block_bytes(class) < len)
        class ++;
    return class;
}

/* Table of all arenas by address. */

static size_t bucket_of(const void *base, size_t bucket_count)
{
    uint64_t number = (uintptr_t)base / ARENA_BYTES;
    return (size_t)((number * 0x9e3779b97f4a7c15u) >> 32) & (bucket_count - 1);
}

static sl_err table_grow(void)
{
    size_t count = pool.bucket_count ? pool.bucket_count * 2 : FIRST_BUCKETS;
    struct arena **grown;

    if (pool.arenas < pool.bucket_count)
        return SL_OK;
    grown = calloc(count, sizeof(struct arena *));
    if (!grown)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < pool.bucket_count; i++) {
        for (struct arena *a = pool.buckets[i], *next; a; a = next) {
            size_t bucket = bucket_of(a->base, count);
            next = a->next_hash;
            a->next_hash = grown[bucket];
            grown[bucket] = a;
        }
    }
    free(pool.buckets);
    pool.buckets = grown;
    pool.bucket_count = count;
    return SL_OK;
}

static void table_add(struct arena *a)
{
    struct arena **bucket = &pool.buckets[bucket_of(a->base, pool.bucket_count)];

    a->next_hash = *bucket;
    *bucket = a;
    pool.arenas++;
}

static void table_remove(const struct arena *a)
{
    struct arena **link = &pool.buckets[bucket_of(a->base, pool.bucket_count)];

    while (*link != a)
        link = &(*link)->next_hash;
    *link = a->next_hash;
    pool.arenas--;
}

static struct arena *table_find(const void *base)
{
    struct arena *a = pool.bucket_count ? pool.buckets[bucket_of(base, pool.bucket_count)] : NULL;

    while (a && a->base != base)
        a = a->next_hash;
    return a;
}

/* Lists of arenas with room. */

static void room_add(struct arena *a)
{
    a->prev_room = NULL;
    a->next_room = pool.room[a->class];
    if (a->next_room)
        a->next_room->prev_room = a;
    pool.room[a->class] = a;
}

static void room_remove(struct arena *a)
{
    if (a->prev_room)
        a->prev_room->next_room = a->next_room;
    else
        pool.room[a->class] = a->next_room;
    if (a->next_room)
        a->next_room->prev_room = a->prev_room;
    a->prev_room = a->next_room = NULL;
}

/* Pages from the system, aligned to their size: twice as many are taken, what sticks out is given back. */
static uint8_t *map_pages(void)
{
    uint8_t *map = mmap(NULL, 2 * (size_t)ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t before;

    if (map == MAP_FAILED)
        return NULL;
    before = (ARENA_BYTES - (uintptr_t)map % ARENA_BYTES) % ARENA_BYTES;
    if (before > 0)
        munmap(map, before);
    munmap(map + before + ARENA_BYTES, ARENA_BYTES - before);
    return map + before;
}

static struct arena *arena_new(unsigned class)
{
    struct arena *a = NULL;

    if (table_grow() != SL_OK || !(a = calloc(1, sizeof(*a))))
        goto Exit;
    a->base = map_pages();
    if (!a->base) {
        free(a);
        a = NULL;
        goto Exit;
    }
    a->class = class;
    a->blocks = (unsigned)(ARENA_BYTES / block_bytes(class));
    for (unsigned i = a->blocks; i < BITMAP_WORDS * 64; i++)
        a->used[i / 64] |= 1ull << i % 64;
    a->locked = mlock(a->base, ARENA_BYTES) == 0;
    /* Kernels without these (before 4.14) still keep the promise of wiping; the process setting of harden_process covers dumps. */
    (void)madvise(a->base, ARENA_BYTES, MADV_DONTDUMP);
    (void)madvise(a->base, ARENA_BYTES, MADV_WIPEONFORK);
    POISON(a->base, ARENA_BYTES);
    ROOT(a->base, ARENA_BYTES);
    table_add(a);
    room_add(a);
    pool.stats.bytes_reserved += ARENA_BYTES;
    pool.stats.bytes_locked += a->locked ? ARENA_BYTES : 0;
Exit:
    return a;
}

static void arena_free(struct arena *a)
{
    room_remove(a);
    table_remove(a);
    pool.stats.bytes_reserved -= ARENA_BYTES;
    pool.stats.bytes_locked -= a->locked ? ARENA_BYTES : 0;
    UNROOT(a->base, ARENA_BYTES);
    UNPOISON(a->base, ARENA_BYTES);
    munmap(a->base, ARENA_BYTES);
    free(a);
}

static uint8_t *arena_take(struct arena *a)
{
    unsigned word = 0, bit;

    while (a->used[word] == UINT64_MAX)
        word++;
    bit = (unsigned)__builtin_ctzll(~a->used[word]);
    a->used[word] |= 1ull << bit;
    if (++a->in_use == a->blocks)
        room_remove(a);
    return a->base + (word * 64 + bit) * block_bytes(a->class);
}

static void arena_give(struct arena *a, unsigned index)
{
    a->used[index / 64] &= ~(1ull << index % 64);
    if (a->in_use-- == a->blocks)
        room_add(a);
    if (a->in_use == 0 && (a->prev_room || a->next_room))
        arena_free(a);
}

sl_err sl_secret_alloc(size_t len, void **out)
{
    bool warn = false;
    unsigned class;
    struct arena *a;
    uint8_t *block = NULL;

    if (len == 0 || len > SL_SECRET_MAX)
        return SL_ERR_INVALID;
    class = class_of(len);
    pthread_once(&fork_once, install_fork_handlers);
    pool_lock();
    a = pool.room[class] ? pool.room[class] : arena_new(class);
    if (a) {
        warn = !a->locked && !pool.warned;
        pool.warned = pool.warned || warn;
        block = arena_take(a);
        pool.stats.blocks++;
        pool.stats.bytes_in_use += block_bytes(class);
    }
    pool_unlock();
    if (!block)
        return SL_ERR_NOMEM;
    if (warn)
        sl_log(SL_LOG_WARN, "secret",
               "memory for secrets can't be locked; raise the limit of locked memory (LimitMEMLOCK, ulimit -l)");
    UNPOISON(block, len);
    memset(block, 0, len); /* wiped when freed, but a write after free must not reach the next owner */
    *out = block;
    return SL_OK;
}

/* Freeing what was not allocated, or twice, is a flaw that could leak keys: the process stops, as malloc's would. */
static _Noreturn void die_of_bad_free(void)
{
    fputs("sl_secret_free: not an allocated block\n", stderr);
    abort();
}

void sl_secret_free(void *block)
{
    uintptr_t offset = (uintptr_t)block % ARENA_BYTES;
    struct arena *a;
    size_t index;

    if (!block)
        return;
    pool_lock();
    a = table_find((uint8_t *)block - offset);
    if (!a || offset % block_bytes(a->class) != 0 || offset / block_bytes(a->class) >= a->blocks)
        die_of_bad_free();
    index = offset / block_bytes(a->class);
    if (!(a->used[index / 64] >> index % 64 & 1))
        die_of_bad_free();
    UNPOISON(block, block_bytes(a->class));
    sl_wipe(block, block_bytes(a->class));
    POISON(block, block_bytes(a->class));
    pool.stats.blocks--;
    pool.stats.bytes_in_use -= block_bytes(a->class);
    arena_give(a, (unsigned)index);
    pool_unlock();
}

void sl_wipe(void *bytes, size_t len)
{
    if (len > 0)
        explicit_bzero(bytes, len);
}

bool sl_secret_equal(const void *a, const void *b, size_t len)
{
    const volatile uint8_t *x = a, *y = b;
    unsigned difference = 0;

    for (size_t i = 0; i < len; i++)
        difference |= (unsigned)(x[i] ^ y[i]);
    return difference == 0;
}

struct sl_secret_stats sl_secret_stats(void)
{
    struct sl_secret_stats stats;

    pool_lock();
    stats = pool.stats;
    pool_unlock();
    return stats;
}

sl_err sl_secret_harden_process(void)
{
    struct rlimit none = {0, 0};

    if (setrlimit(RLIMIT_CORE, &none) != 0)
        return SL_ERR_IO;
#ifndef WITH_ASAN /* the leak checker attaches to its own process */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return SL_ERR_IO;
#endif
    return SL_OK;
}
