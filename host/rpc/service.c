/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "rpc/call.h"
#include "rpc/json.h"
#include "rpc/message.h"

sl_err sl_rpc_service_check(const struct sl_rpc_service *service, struct sl_diag *diag)
{
    const ProtobufCServiceDescriptor *d = service->descriptor;
    for (unsigned i = 0; i < d->n_methods; i++) {
        size_t found = 0;
        for (size_t j = 0; j < service->method_count; j++)
            if (strcmp(service->methods[j].name, d->methods[i].name) == 0)
                found++;
        if (found != 1)
            return sl_fail(diag, SL_ERR_INVALID, "%s/%s has %zu handlers", d->name, d->methods[i].name, found);
    }
    for (size_t j = 0; j < service->method_count; j++) {
        const struct sl_rpc_method *m = &service->methods[j];
        if (protobuf_c_service_descriptor_get_method_by_name(d, m->name) == NULL)
            return sl_fail(diag, SL_ERR_INVALID, "%s has no method %s", d->name, m->name);
        if (m->handler == NULL || m->shape < SL_RPC_UNARY || m->shape > SL_RPC_BIDI)
            return sl_fail(diag, SL_ERR_INVALID, "%s/%s has no handler", d->name, m->name);
    }
    return SL_OK;
}

sl_err sl_rpc_service_find(const struct sl_rpc_service *service, const char *method, const struct sl_rpc_method **out,
                           const ProtobufCMethodDescriptor **descriptor)
{
    const ProtobufCMethodDescriptor *found = protobuf_c_service_descriptor_get_method_by_name(service->descriptor, method);
    for (size_t i = 0; found != NULL && i < service->method_count; i++) {
        if (strcmp(service->methods[i].name, method) == 0) {
            *out = &service->methods[i];
            *descriptor = found;
            return SL_OK;
        }
    }
    return SL_ERR_NOT_FOUND;
}

sl_err sl_rpc_path_find(const struct sl_rpc_service *const *services, size_t count, const char *path,
                        const struct sl_rpc_service **service, const struct sl_rpc_method **method,
                        const ProtobufCMethodDescriptor **types)
{
    if (*path == '/')
        path++;
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(services[i]->descriptor->name);
        if (strncmp(path, services[i]->descriptor->name, len) == 0 && path[len] == '/' &&
            sl_rpc_service_find(services[i], path + len + 1, method, types) == SL_OK) {
            *service = services[i];
            return SL_OK;
        }
    }
    return SL_ERR_NOT_FOUND;
}

sl_err sl_rpc_call_run(struct sl_rpc_call *call, void *service_arg, const ProtobufCMessage *request, ProtobufCMessage **response,
                       struct sl_diag *diag)
{
    ProtobufCMessage *answer = NULL;
    bool answers = call->method->shape == SL_RPC_UNARY || call->method->shape == SL_RPC_CLIENT_STREAM;
    diag->text[0] = '\0';
    if (answers && sl_rpc_message_new(call->types->output, &answer) != SL_OK)
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    sl_err err = call->method->handler(service_arg, call, request, answer, diag);
    if (err == SL_OK) {
        *response = answer;
        return SL_OK;
    }
    sl_rpc_message_free(answer);
    if (diag->text[0] == '\0')
        sl_fail(diag, err, "%s", sl_err_str(err));
    return err;
}

const struct sl_rpc_peer *sl_rpc_call_peer(const struct sl_rpc_call *call)
{
    return &call->peer;
}

const char *sl_rpc_call_method(const struct sl_rpc_call *call)
{
    return call->path;
}

uint64_t sl_rpc_call_remaining_ns(const struct sl_rpc_call *call)
{
    if (call->deadline_mono_ns == UINT64_MAX)
        return UINT64_MAX;
    const struct sl_clock *clock = sl_clock_system();
    uint64_t now = clock->mono_ns(clock->arg);
    return call->deadline_mono_ns > now ? call->deadline_mono_ns - now : 0;
}

bool sl_rpc_call_cancelled(struct sl_rpc_call *call)
{
    return call->ops->cancelled(call);
}

sl_err sl_rpc_call_recv(struct sl_rpc_call *call, ProtobufCMessage **out)
{
    *out = NULL;
    return call->ops->recv(call, NULL, out);
}

sl_err sl_rpc_call_recv_in(struct sl_rpc_call *call, struct sl_rpc_arena *arena, ProtobufCMessage **out)
{
    sl_rpc_arena_reset(arena);
    *out = NULL;
    return call->ops->recv(call, arena, out);
}

sl_err sl_rpc_call_send(struct sl_rpc_call *call, const ProtobufCMessage *message, unsigned flags)
{
    return call->ops->send(call, message, flags, true);
}

sl_err sl_rpc_call_try_send(struct sl_rpc_call *call, const ProtobufCMessage *message, unsigned flags)
{
    return call->ops->send(call, message, flags, false);
}

sl_err sl_rpc_call_wait(struct sl_rpc_call *call, uint64_t timeout_ns)
{
    return call->ops->wait(call, timeout_ns);
}
