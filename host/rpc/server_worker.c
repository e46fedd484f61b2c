/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread a call in progress: handlers may block, so calls never wait for each other. The number of calls is bounded before
 * they come here (max_calls). A few idle threads are kept; the others end, and are joined when the next one is made.
 */
#include <signal.h>
#include <stdlib.h>

#include "rpc/server_internal.h"

enum { IDLE_THREADS_KEPT = 4 };

struct sl_rpc_worker {
    pthread_t thread;
    struct sl_rpc_worker_pool *pool;
    bool ended; /* under pool->lock */
    struct sl_rpc_worker *next;
};

void sl_rpc_pool_init(struct sl_rpc_worker_pool *pool)
{
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
}

/* The next ready call; NULL: this thread is to end. pool->lock is held. */
static struct sl_rpc_server_call *next_call(struct sl_rpc_worker_pool *pool)
{
    while (pool->first == NULL) {
        if (pool->stopping || pool->idle >= IDLE_THREADS_KEPT)
            return NULL;
        pool->idle++;
        pthread_cond_wait(&pool->work, &pool->lock);
        pool->idle--;
    }
    struct sl_rpc_server_call *call = pool->first;
    pool->first = *sl_rpc_server_call_next_ready(call);
    if (pool->first == NULL)
        pool->last = NULL;
    pool->queued--;
    return call;
}

static void *worker_main(void *arg)
{
    struct sl_rpc_worker *worker = arg;
    struct sl_rpc_worker_pool *pool = worker->pool;
    struct sl_rpc_server_call *call;
    pthread_setname_np(pthread_self(), "rpc-call");
    pthread_mutex_lock(&pool->lock);
    while ((call = next_call(pool)) != NULL) {
        pthread_mutex_unlock(&pool->lock);
        sl_rpc_server_call_execute(call);
        pthread_mutex_lock(&pool->lock);
    }
    worker->ended = true;
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Joins the threads that have ended. pool->lock is held; an ended thread needs it no more. */
static void reap(struct sl_rpc_worker_pool *pool)
{
    for (struct sl_rpc_worker **at = &pool->threads; *at != NULL;) {
        struct sl_rpc_worker *worker = *at;
        if (!worker->ended) {
            at = &worker->next;
            continue;
        }
        *at = worker->next;
        pthread_join(worker->thread, NULL);
        free(worker);
    }
}

/* pool->lock is held. */
static sl_err add_thread(struct sl_rpc_worker_pool *pool)
{
    struct sl_rpc_worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL)
        return SL_ERR_NOMEM;
    sigset_t old;
    worker->pool = pool;
    sl_rpc_core_block_signals(&old);
    int failed = pthread_create(&worker->thread, NULL, worker_main, worker);
    sl_rpc_core_restore_signals(&old);
    if (failed != 0) {
        free(worker);
        return SL_ERR_NOMEM;
    }
    worker->next = pool->threads;
    pool->threads = worker;
    return SL_OK;
}

sl_err sl_rpc_pool_submit(struct sl_rpc_worker_pool *pool, struct sl_rpc_server_call *call)
{
    sl_err err = SL_OK;
    pthread_mutex_lock(&pool->lock);
    reap(pool);
    /* A thread that is idle now may already be meant for a call that is queued. */
    if (pool->idle <= pool->queued)
        err = add_thread(pool);
    if (err == SL_OK) {
        *sl_rpc_server_call_next_ready(call) = NULL;
        if (pool->last != NULL)
            *sl_rpc_server_call_next_ready(pool->last) = call;
        else
            pool->first = call;
        pool->last = call;
        pool->queued++;
        pthread_cond_signal(&pool->work);
    }
    pthread_mutex_unlock(&pool->lock);
    return err;
}

void sl_rpc_pool_stop(struct sl_rpc_worker_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->work);
    struct sl_rpc_worker *threads = pool->threads;
    pool->threads = NULL;
    pthread_mutex_unlock(&pool->lock);
    while (threads != NULL) {
        struct sl_rpc_worker *next = threads->next;
        pthread_join(threads->thread, NULL);
        free(threads);
        threads = next;
    }
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
}
