/* SPDX-License-Identifier: Apache-2.0 */
/* What a transport provides to handlers: the call behind struct sl_rpc_call. Private to rpc/. */
#pragma once

#include "rpc/service.h"

struct sl_rpc_call_ops {
    bool (*cancelled)(struct sl_rpc_call *call);
    sl_err (*recv)(struct sl_rpc_call *call, struct sl_rpc_arena *arena, ProtobufCMessage **out); /* arena: may be NULL */
    sl_err (*send)(struct sl_rpc_call *call, const ProtobufCMessage *message, unsigned flags, bool may_block);
    sl_err (*wait)(struct sl_rpc_call *call, uint64_t timeout_ns);
};

/* The first member of a transport's own call. */
struct sl_rpc_call {
    const struct sl_rpc_call_ops *ops;
    const struct sl_rpc_method *method;
    const ProtobufCMethodDescriptor *types;
    struct sl_rpc_peer peer;
    uint64_t deadline_mono_ns; /* UINT64_MAX: none */
    char path[256];            /* "sluice.v1.Management/GetStatus" */
};

/* Splits "/package.Service/Method" and finds its tables. SL_ERR_NOT_FOUND; then outputs are unchanged. */
sl_err sl_rpc_path_find(const struct sl_rpc_service *const *services, size_t count, const char *path,
                        const struct sl_rpc_service **service, const struct sl_rpc_method **method,
                        const ProtobufCMethodDescriptor **types);

/*
 * Runs the handler with a fresh response where the shape has one; *response is unchanged after a failure. diag always has a text
 * after a failure.
 */
sl_err sl_rpc_call_run(struct sl_rpc_call *call, void *service_arg, const ProtobufCMessage *request, ProtobufCMessage **response,
                       struct sl_diag *diag);
