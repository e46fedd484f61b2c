/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/secret.h"

enum { ALIGN = alignof(max_align_t), BLOCK_MIN = 16 * 1024, KEPT_MAX = 1024 * 1024 };

struct block {
    struct block *older;
    size_t room, used;
    alignas(ALIGN) unsigned char bytes[];
};

struct sl_rpc_arena {
    struct block *newest; /* pieces are taken from this one alone */
};

sl_err sl_rpc_arena_new(struct sl_rpc_arena **out)
{
    struct sl_rpc_arena *arena = calloc(1, sizeof *arena);
    if (arena == NULL)
        return SL_ERR_NOMEM;
    *out = arena;
    return SL_OK;
}

/* Each block is twice as large as the one before: few blocks hold a message of any size. */
static struct block *add_block(struct sl_rpc_arena *arena, size_t bytes)
{
    size_t room = arena->newest == NULL ? BLOCK_MIN : arena->newest->room;
    if (arena->newest != NULL && room <= SIZE_MAX / 4)
        room *= 2;
    if (room < bytes)
        room = bytes;
    if (room > SIZE_MAX - sizeof(struct block))
        return NULL;
    struct block *block = malloc(sizeof *block + room);
    if (block == NULL)
        return NULL;
    block->older = arena->newest;
    block->room = room;
    block->used = 0;
    arena->newest = block;
    return block;
}

void *sl_rpc_arena_take(struct sl_rpc_arena *arena, size_t bytes)
{
    struct block *block = arena->newest;
    if (bytes > SIZE_MAX - ALIGN)
        return NULL;
    bytes = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if ((block == NULL || bytes > block->room - block->used) && (block = add_block(arena, bytes)) == NULL)
        return NULL;
    void *piece = block->bytes + block->used;
    block->used += bytes;
    return piece;
}

/* The newest block is the largest: it alone is worth keeping. */
void sl_rpc_arena_reset(struct sl_rpc_arena *arena)
{
    struct block *kept = NULL;
    for (struct block *block = arena->newest, *older; block != NULL; block = older) {
        older = block->older;
        sl_wipe(block->bytes, block->used);
        block->used = 0;
        block->older = NULL;
        if (block == arena->newest && block->room <= KEPT_MAX)
            kept = block;
        else
            free(block);
    }
    arena->newest = kept;
}

void sl_rpc_arena_free(struct sl_rpc_arena *arena)
{
    if (arena == NULL)
        return;
    sl_rpc_arena_reset(arena);
    free(arena->newest);
    free(arena);
}
