/* SPDX-License-Identifier: Apache-2.0 */
#include "card/service/pipe.h"

#include <stdlib.h>

/* So many batches are handed over at once: the loop is woken once for all of them. */
enum { CHAIN = 8 };

struct sl_card_pipe {
    struct sl_card_loop *loop;
    struct sl_card_waiter *waiter;
    sl_card_pipe_result result;
    void *arg;
    struct sl_card_batch *batches[SL_CARD_PIPE_DEPTH_MAX];
    size_t index[SL_CARD_PIPE_DEPTH_MAX][SL_CARD_BATCH];
    /* A ring of depth batches: from oldest on, used ones are under way or, the last full of them, wait to be handed over; the next
     * one is being filled. */
    size_t depth, oldest, used, full;
};

sl_err sl_card_pipe_new(struct sl_card_loop *loop, size_t depth, sl_card_pipe_result result, void *arg, struct sl_card_pipe **out)
{
    struct sl_card_pipe *p = calloc(1, sizeof *p);
    sl_err err = p != NULL ? sl_card_waiter_new(&p->waiter) : SL_ERR_NOMEM;

    if (err)
        goto Exit;
    p->loop = loop;
    p->result = result;
    p->arg = arg;
    p->depth = depth;
    for (size_t i = 0; !err && i < depth; i++)
        err = sl_card_loop_batch_new(loop, &p->batches[i]);
Exit:
    if (err)
        sl_card_pipe_free(p);
    else
        *out = p;
    return err;
}

void sl_card_pipe_free(struct sl_card_pipe *pipe)
{
    if (pipe == NULL)
        return;
    for (size_t i = 0; i < SL_CARD_PIPE_DEPTH_MAX; i++)
        sl_card_loop_batch_free(pipe->loop, pipe->batches[i]);
    sl_card_waiter_free(pipe->waiter);
    free(pipe);
}

static size_t place(const struct sl_card_pipe *p, size_t behind_oldest)
{
    return (p->oldest + behind_oldest) % p->depth;
}

static void hand_over(struct sl_card_pipe *p)
{
    struct sl_card_batch *chain[SL_CARD_PIPE_DEPTH_MAX];

    for (size_t i = 0; i < p->full; i++)
        chain[i] = p->batches[place(p, p->used - p->full + i)];
    sl_card_loop_submit(p->loop, chain, p->full, p->waiter);
    p->full = 0;
}

/* Waits for the oldest so many batches and gives their results away. They are under way. */
static void collect(struct sl_card_pipe *p, size_t count)
{
    sl_card_loop_wait(p->loop, p->batches[place(p, count - 1)], p->waiter);
    for (; count > 0; count--) {
        struct sl_card_batch *batch = p->batches[p->oldest];
        sl_card_loop_wait(p->loop, batch, p->waiter);
        for (size_t i = 0; i < batch->count; i++)
            p->result(p->arg, p->index[p->oldest][i], &batch->commands[i], &batch->results[i]);
        batch->count = 0;
        p->oldest = place(p, 1);
        p->used--;
    }
}

static struct sl_card_batch *filling(const struct sl_card_pipe *p)
{
    return p->batches[place(p, p->used)];
}

void sl_card_pipe_slot(struct sl_card_pipe *pipe, size_t index, struct sl_engine_command **command, struct sl_card_extra **extra)
{
    struct sl_card_batch *batch = filling(pipe);
    pipe->index[place(pipe, pipe->used)][batch->count] = index;
    *command = sl_card_batch_slot(batch);
    *extra = &batch->extra[batch->count];
}

void sl_card_pipe_push(struct sl_card_pipe *pipe)
{
    if (++filling(pipe)->count < SL_CARD_BATCH)
        return;
    pipe->used++;
    pipe->full++;
    if (pipe->full == CHAIN || pipe->used == pipe->depth)
        hand_over(pipe);
    if (pipe->used == pipe->depth)
        collect(pipe, (pipe->depth + 1) / 2);
}

void sl_card_pipe_flush(struct sl_card_pipe *pipe)
{
    if (filling(pipe)->count > 0) {
        pipe->used++;
        pipe->full++;
    }
    hand_over(pipe);
    if (pipe->used > 0)
        collect(pipe, pipe->used);
}
