/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Services as tables of handlers. A handler takes decoded protobuf-c messages and knows nothing of the transport, so that one
 * table serves gRPC (rpc/server.h) and JSON (sl_rpc_dispatch_json below).
 *
 * protobuf-c's service descriptors name the methods and their messages but not which side streams; the table says so.
 *
 *   shape          request                    response
 *   UNARY          one, given to the handler  one, filled in by the handler
 *   SERVER_STREAM  one, given to the handler  any number, sl_rpc_call_send
 *   CLIENT_STREAM  sl_rpc_call_recv           one, filled in by the handler
 *   BIDI           sl_rpc_call_recv           sl_rpc_call_send
 *
 * Threads: a handler runs on a worker thread of its own and may block. The call (and its messages) is valid until the handler
 * returns; what the handler returns becomes the status of the call (rpc/status.h), with diag->text as its message.
 * Everything in "the call" below may be used from any thread until then: a publisher's thread may use sl_rpc_call_try_send while
 * the handler sits in sl_rpc_call_wait, provided the handler unsubscribes the publisher before it returns.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "rpc/arena.h"

enum sl_rpc_shape { SL_RPC_UNARY, SL_RPC_SERVER_STREAM, SL_RPC_CLIENT_STREAM, SL_RPC_BIDI };

struct sl_rpc_call;

/*
 * request:  NULL for CLIENT_STREAM and BIDI; borrowed.
 * response: NULL for SERVER_STREAM and BIDI; otherwise an initialised, empty message of the method's output type. What the
 *           handler puts into it (strings, bytes, arrays, messages) must come from malloc, or be left at its initial value; the
 *           caller frees all of it, after a failure too. sl_rpc_message_copy helps.
 * diag:     never NULL; the text is sent to the peer when the handler fails.
 */
typedef sl_err (*sl_rpc_handler)(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *request, ProtobufCMessage *response,
                                 struct sl_diag *diag);

struct sl_rpc_method {
    const char *name; /* "GetStatus" */
    enum sl_rpc_shape shape;
    sl_rpc_handler handler;
};

struct sl_rpc_service {
    const ProtobufCServiceDescriptor *descriptor;
    const struct sl_rpc_method *methods;
    size_t method_count;
    void *arg; /* passed to every handler */
};

/* Every method of the descriptor has exactly one handler, and no handler is left over. SL_ERR_INVALID with the name that offends.
 */
sl_err sl_rpc_service_check(const struct sl_rpc_service *service, struct sl_diag *diag);

/* The index in service->methods and the descriptor of a method, by its name. SL_ERR_NOT_FOUND: outputs unchanged. */
sl_err sl_rpc_service_find(const struct sl_rpc_service *service, const char *method, const struct sl_rpc_method **out,
                           const ProtobufCMethodDescriptor **descriptor);

/* ------------------------------------------------------------------------------------------------------------------- the call */

/* Who calls. Over a unix socket: the user the kernel vouches for. Over TCP: the subject of the certificate that TLS verified. */
struct sl_rpc_peer {
    bool local;         /* unix socket: uid and gid are valid */
    bool authenticated; /* TLS with a client certificate: common_name and alt_names are valid */
    uid_t uid;
    gid_t gid;
    pid_t pid;             /* of the process that connected; 0: unknown. For log lines, not for decisions: pids are reused */
    char common_name[256]; /* "" if the certificate has none */
    char alt_names[512];   /* subject alternative names, ", " between them; truncated at a whole name */
    char address[128];     /* "unix:1000", "ipv4:192.0.2.1:50222" */
};
const struct sl_rpc_peer *sl_rpc_call_peer(const struct sl_rpc_call *call);

/* "sluice.v1.Management/GetStatus" */
const char *sl_rpc_call_method(const struct sl_rpc_call *call);

/* Nanoseconds until the caller's deadline; 0: passed; UINT64_MAX: the caller set none. */
uint64_t sl_rpc_call_remaining_ns(const struct sl_rpc_call *call);

/* The peer has cancelled or gone, the deadline has passed, or the server's drain time is over. */
bool sl_rpc_call_cancelled(struct sl_rpc_call *call);

/*
 * The next message of the client's stream: *out is to be freed with sl_rpc_message_free; NULL: the client has finished sending.
 * Blocks. SL_ERR_CANCELLED; SL_ERR_INVALID: the message doesn't decode (the handler should return that). Then *out is NULL.
 */
sl_err sl_rpc_call_recv(struct sl_rpc_call *call, ProtobufCMessage **out);
/* The same with the message in an arena, which is reset first: the message before is gone and wiped. Not to be freed. */
sl_err sl_rpc_call_recv_in(struct sl_rpc_call *call, struct sl_rpc_arena *arena, ProtobufCMessage **out);

enum sl_rpc_send_flags {
    SL_RPC_MORE = 1 /* another message follows at once: the transport may hold this one back until then */
};

/*
 * Queues one message of the server's stream; the message remains the caller's. The queue is bounded
 * (sl_rpc_server_options.stream_queue_messages): send blocks until there is room, try_send answers SL_ERR_AGAIN and sends nothing.
 * SL_ERR_CANCELLED: nobody is listening any more. SL_ERR_LIMIT: larger than the message limit. SL_ERR_NOMEM.
 */
sl_err sl_rpc_call_send(struct sl_rpc_call *call, const ProtobufCMessage *message, unsigned flags);
sl_err sl_rpc_call_try_send(struct sl_rpc_call *call, const ProtobufCMessage *message, unsigned flags);

/*
 * Sleeps until the call is over or timeout_ns has passed: SL_ERR_CANCELLED, SL_ERR_TIMEOUT, or SL_ERR_UNAVAILABLE when the server
 * has begun to drain (a stream without a natural end should return that). UINT64_MAX: no timeout.
 */
sl_err sl_rpc_call_wait(struct sl_rpc_call *call, uint64_t timeout_ns);

/* ----------------------------------------------------------------------------------------------------------- the same as JSON */

/*
 * Runs one unary or server-streaming method with a JSON request: the handler table behind an HTTP interface.
 * path is "sluice.v1.Management/GetStatus" (a leading '/' is allowed); json_in may be NULL for an empty request.
 * emit gets one JSON text a response message, borrowed; an error that it returns ends the call with that error.
 * Returns the handler's error, SL_ERR_NOT_FOUND for an unknown method, SL_ERR_INVALID for a bad request, SL_ERR_UNSUPPORTED for the
 * other shapes; diag tells what is wrong.
 */
typedef sl_err (*sl_rpc_json_emit)(void *arg, const char *json);
sl_err sl_rpc_dispatch_json(const struct sl_rpc_service *services, size_t count, const char *path, const struct sl_rpc_peer *peer,
                            const char *json_in, sl_rpc_json_emit emit, void *emit_arg, struct sl_diag *diag);
