/* SPDX-License-Identifier: Apache-2.0 */
/* The handler table called with JSON: a transport whose call lives on the caller's stack and runs on the caller's thread. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "rpc/call.h"
#include "rpc/json.h"
#include "rpc/message.h"

struct json_call {
    struct sl_rpc_call base;
    pthread_mutex_t lock; /* a publisher's thread may send while the handler waits */
    pthread_cond_t over;
    sl_rpc_json_emit emit;
    void *emit_arg;
    sl_err emit_err; /* what ended the call */
};

static sl_err emit_message(struct json_call *c, const ProtobufCMessage *message, struct sl_diag *diag)
{
    char *text = NULL;
    sl_err err = sl_json_print(message, 0, &text, diag);
    if (err != SL_OK)
        return err;
    err = c->emit(c->emit_arg, text);
    free(text);
    return err;
}

static bool json_cancelled(struct sl_rpc_call *call)
{
    struct json_call *c = (struct json_call *)call;
    pthread_mutex_lock(&c->lock);
    bool over = c->emit_err != SL_OK;
    pthread_mutex_unlock(&c->lock);
    return over;
}

static sl_err json_recv(struct sl_rpc_call *call, struct sl_rpc_arena *arena, ProtobufCMessage **out)
{
    (void)call;
    (void)arena;
    (void)out;
    return SL_ERR_UNSUPPORTED;
}

static sl_err json_send(struct sl_rpc_call *call, const ProtobufCMessage *message, unsigned flags, bool may_block)
{
    struct json_call *c = (struct json_call *)call;
    (void)flags;
    (void)may_block;
    pthread_mutex_lock(&c->lock);
    if (c->emit_err == SL_OK) {
        c->emit_err = emit_message(c, message, NULL);
        pthread_cond_broadcast(&c->over);
    }
    sl_err err = c->emit_err == SL_OK ? SL_OK : SL_ERR_CANCELLED;
    pthread_mutex_unlock(&c->lock);
    return err;
}

static sl_err json_wait(struct sl_rpc_call *call, uint64_t timeout_ns)
{
    struct json_call *c = (struct json_call *)call;
    const struct sl_clock *clock = sl_clock_system();
    uint64_t now = clock->mono_ns(clock->arg);
    uint64_t until = timeout_ns > UINT64_MAX / 4 - now ? UINT64_MAX / 4 : now + timeout_ns;
    struct timespec at = {.tv_sec = (time_t)(until / SL_NS_PER_S), .tv_nsec = (long)(until % SL_NS_PER_S)};
    int timed_out = 0;
    pthread_mutex_lock(&c->lock);
    while (c->emit_err == SL_OK && timed_out == 0)
        timed_out = pthread_cond_clockwait(&c->over, &c->lock, CLOCK_MONOTONIC, &at);
    sl_err err = c->emit_err != SL_OK ? SL_ERR_CANCELLED : SL_ERR_TIMEOUT;
    pthread_mutex_unlock(&c->lock);
    return err;
}

static const struct sl_rpc_call_ops JSON_OPS = {json_cancelled, json_recv, json_send, json_wait};

static sl_err run(struct json_call *c, void *service_arg, const char *json_in, struct sl_diag *diag)
{
    ProtobufCMessage *request = NULL, *response = NULL;
    if (c->base.method->shape != SL_RPC_UNARY && c->base.method->shape != SL_RPC_SERVER_STREAM)
        return sl_fail(diag, SL_ERR_UNSUPPORTED, "%s takes a stream, which JSON can't carry", c->base.path);
    if (json_in == NULL || *json_in == '\0')
        json_in = "{}";
    sl_err err = sl_json_parse(c->base.types->input, json_in, strlen(json_in), 0, &request, diag);
    if (err == SL_OK)
        err = sl_rpc_call_run(&c->base, service_arg, request, &response, diag);
    if (err == SL_OK && response != NULL)
        err = emit_message(c, response, diag);
    if (c->emit_err != SL_OK)
        err = c->emit_err;
    sl_rpc_message_free(request);
    sl_rpc_message_free(response);
    return err;
}

sl_err sl_rpc_dispatch_json(const struct sl_rpc_service *services, size_t count, const char *path, const struct sl_rpc_peer *peer,
                            const char *json_in, sl_rpc_json_emit emit, void *emit_arg, struct sl_diag *diag)
{
    const struct sl_rpc_service *service = NULL;
    struct json_call c = {
        .base = {.ops = &JSON_OPS, .deadline_mono_ns = UINT64_MAX},
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .over = PTHREAD_COND_INITIALIZER,
        .emit = emit,
        .emit_arg = emit_arg,
    };
    struct sl_diag unused;
    if (diag == NULL)
        diag = &unused;
    if (peer != NULL)
        c.base.peer = *peer;
    snprintf(c.base.path, sizeof c.base.path, "%s", *path == '/' ? path + 1 : path);
    for (size_t i = 0; i < count && service == NULL; i++) {
        const struct sl_rpc_service *one = &services[i];
        (void)sl_rpc_path_find(&one, 1, path, &service, &c.base.method, &c.base.types);
    }
    if (service == NULL)
        return sl_fail(diag, SL_ERR_NOT_FOUND, "there is no method %.200s", path);
    return run(&c, service->arg, json_in, diag);
}
