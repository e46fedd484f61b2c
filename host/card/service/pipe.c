/* SPDX-License-Identifier: Apache-2.0 */
#include "card/service/pipe.h"

#include <stdlib.h>

#include "base/secret.h"

struct sl_card_pipe {
    struct sl_card_loop *loop;
    struct sl_card_waiter *waiter;
    sl_card_pipe_result result;
    void *arg;
    struct sl_card_batch *batches[SL_CARD_PIPE_DEPTH_MAX];
    size_t index[SL_CARD_PIPE_DEPTH_MAX][SL_CARD_BATCH];
    size_t depth, oldest, filling; /* oldest .. filling - 1, modulo depth, are under way */
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
        err = sl_card_batch_new(&p->batches[i]);
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
        sl_card_batch_free(pipe->batches[i]);
    sl_card_waiter_free(pipe->waiter);
    free(pipe);
}

static size_t after(const struct sl_card_pipe *p, size_t i)
{
    return i + 1 == p->depth ? 0 : i + 1;
}

/* Waits for the oldest batch and gives its results away. */
static void collect(struct sl_card_pipe *p)
{
    struct sl_card_batch *batch = p->batches[p->oldest];

    sl_card_loop_wait(p->loop, batch, p->waiter);
    for (size_t i = 0; i < batch->count; i++)
        p->result(p->arg, p->index[p->oldest][i], &batch->commands[i], &batch->results[i]);
    batch->count = 0;
    p->oldest = after(p, p->oldest);
}

static void submit(struct sl_card_pipe *p)
{
    sl_card_loop_submit(p->loop, p->batches[p->filling], p->waiter);
    p->filling = after(p, p->filling);
    if (p->filling == p->oldest) /* all are under way */
        collect(p);
}

void sl_card_pipe_slot(struct sl_card_pipe *pipe, size_t index, struct sl_engine_command **command, struct sl_card_extra **extra)
{
    struct sl_card_batch *batch = pipe->batches[pipe->filling];
    pipe->index[pipe->filling][batch->count] = index;
    *command = sl_card_batch_slot(batch);
    *extra = &batch->extra[batch->count];
}

void sl_card_pipe_push(struct sl_card_pipe *pipe)
{
    if (++pipe->batches[pipe->filling]->count == SL_CARD_BATCH)
        submit(pipe);
}

void sl_card_pipe_flush(struct sl_card_pipe *pipe)
{
    if (pipe->batches[pipe->filling]->count > 0)
        submit(pipe);
    while (pipe->oldest != pipe->filling)
        collect(pipe);
}
