/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/worker.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "gateway/flow.h"
#include "pki/leaf_cache.h"
#include "tls/context.h"

enum {
    ACCEPT_BURST = 64,       /* connections taken from one listener before other flows get their turn */
    ACCEPT_PAUSE_MS = 100,   /* after running out of descriptors */
    GUARD_REFRESH_MS = 10000 /* how old the list of own addresses may be */
};

struct sl_runtime *sl_worker_runtime(struct sl_worker *w)
{
    if (!w->runtime || w->runtime->generation != atomic_load_explicit(&w->gateway->generation, memory_order_acquire)) {
        sl_runtime_unref(w->runtime);
        w->runtime = sl_gateway_runtime(w->gateway);
    }
    return sl_runtime_ref(w->runtime);
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
    struct sl_listener *l = poll->data;
    struct sl_worker *w = l->worker;
    (void)status;
    (void)events;

    for (int i = 0; i < ACCEPT_BURST; i++) {
        struct sl_endpoint client, local;
        int fd;
        sl_err err = sl_net_accept(l->fd, &fd, &client, &local);
        if (err == SL_OK) {
            sl_flow_accept(w, l, fd, &client, &local);
            continue;
        }
        if (err == SL_ERR_LIMIT) {
            /* The waiting connection stays in the backlog; spinning on it would starve the flows that could free a descriptor. */
            sl_metric_add(w->gateway->metrics.accept_paused, 1);
            w->accept_again_ms = uv_now(&w->loop) + ACCEPT_PAUSE_MS;
            for (size_t k = 0; k < w->listener_count; k++)
                uv_poll_stop(&w->listeners[k].poll);
        }
        return;
    }
}

static void start_accepting(struct sl_worker *w)
{
    for (size_t i = 0; i < w->listener_count; i++)
        uv_poll_start(&w->listeners[i].poll, UV_READABLE, on_listener);
    w->accept_again_ms = 0;
}

static void stop_accepting(struct sl_worker *w)
{
    w->accepting = false;
    w->accept_again_ms = 0;
    for (size_t i = 0; i < w->listener_count; i++) {
        if (w->listeners[i].fd < 0)
            continue;
        uv_poll_stop(&w->listeners[i].poll);
        uv_close((uv_handle_t *)&w->listeners[i].poll, NULL);
        close(w->listeners[i].fd);
        w->listeners[i].fd = -1;
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct sl_worker *w = timer->data;
    uint64_t now = uv_now(&w->loop);

    if (w->accepting && w->accept_again_ms && now >= w->accept_again_ms)
        start_accepting(w);
    if (now >= w->guard_refresh_ms) {
        w->guard_refresh_ms = now + GUARD_REFRESH_MS;
        sl_net_guard_refresh(w->guard);
    }
    sl_flow_tick(w);
}

static void on_wake(uv_async_t *async)
{
    struct sl_worker *w = async->data;
    struct sl_gateway *g = w->gateway;

    if (atomic_load(&g->stop_accepting))
        stop_accepting(w);
    if (atomic_load(&g->end_flows))
        sl_flow_end_all(w, atomic_load(&g->quit));
    if (atomic_load(&g->quit) && !w->stopping) {
        w->stopping = true;
        uv_close((uv_handle_t *)&w->tick, NULL);
        uv_close((uv_handle_t *)&w->wake, NULL);
    }
}

static void *run(void *arg)
{
    struct sl_worker *w = arg;
    uv_run(&w->loop, UV_RUN_DEFAULT);
    return NULL;
}

static sl_err open_listeners(struct sl_worker *w, struct sl_diag *diag)
{
    const struct sl_gateway_options *o = &w->gateway->options;
    for (size_t i = 0; i < o->listener_count; i++) {
        struct sl_listener *l = &w->listeners[i];
        *l = (struct sl_listener){.worker = w, .kind = o->listeners[i].kind, .at = o->listeners[i].at, .fd = -1};
        sl_err err = sl_net_listen(&l->at, l->kind == SL_LISTEN_TRANSPARENT, &l->fd, diag);
        if (err)
            return err;
        if (uv_poll_init_socket(&w->loop, &l->poll, l->fd)) {
            close(l->fd);
            return sl_fail(diag, SL_ERR_IO, "the event loop does not take a listener");
        }
        l->poll.data = l;
        w->listener_count++;
    }
    w->accepting = true;
    start_accepting(w);
    return SL_OK;
}

static void release(struct sl_worker *w)
{
    sl_tls_context_free(w->tls);
    sl_leaf_cache_free(w->leaves);
    sl_net_guard_free(w->guard);
    sl_runtime_unref(w->runtime);
    free(w->in);
    free(w->out);
}

/* Closes what is open and lets the loop run out. Only while the thread does not run. */
static void close_loop(struct sl_worker *w)
{
    stop_accepting(w);
    uv_close((uv_handle_t *)&w->tick, NULL);
    uv_close((uv_handle_t *)&w->wake, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    uv_loop_close(&w->loop);
}

sl_err sl_worker_start(struct sl_worker *w, struct sl_gateway *g, unsigned index, struct sl_diag *diag)
{
    sl_err err = SL_ERR_NOMEM;

    *w = (struct sl_worker){.gateway = g, .index = index};
    sl_list_init(&w->handshaking);
    sl_list_init(&w->relaying);
    sl_list_init(&w->lingering);
    w->in = malloc(SL_WORKER_IN_BYTES);
    w->out = malloc(SL_WORKER_OUT_BYTES);
    if (!w->in || !w->out || (err = sl_net_guard_new(&w->guard)) || (err = sl_flow_worker_init(w))) {
        sl_fail(diag, err, "worker %u: %s", index, sl_err_str(err));
        release(w);
        return err;
    }
    if (uv_loop_init(&w->loop)) {
        release(w);
        return sl_fail(diag, SL_ERR_IO, "worker %u: no event loop", index);
    }
    uv_async_init(&w->loop, &w->wake, on_wake);
    uv_timer_init(&w->loop, &w->tick);
    w->wake.data = w->tick.data = w;
    uv_timer_start(&w->tick, on_tick, SL_WORKER_TICK_MS, SL_WORKER_TICK_MS);
    if ((err = open_listeners(w, diag)))
        goto Fail;
    if (pthread_create(&w->thread, NULL, run, w)) {
        err = sl_fail(diag, SL_ERR_IO, "worker %u: no thread", index);
        goto Fail;
    }
    w->started = true;
    return SL_OK;
Fail:
    close_loop(w);
    release(w);
    return err;
}

void sl_worker_wake(struct sl_worker *w)
{
    if (w->started)
        uv_async_send(&w->wake);
}

void sl_worker_join(struct sl_worker *w)
{
    if (!w->started)
        return;
    pthread_join(w->thread, NULL);
    uv_loop_close(&w->loop);
    release(w);
    w->started = false;
}
