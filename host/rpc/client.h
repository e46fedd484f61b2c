/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC client over a unix socket or TCP with mutual TLS.
 *
 * A client may be used by many threads at once. A stream may be used by one sending and one receiving thread at a time; cancel may
 * be called by any thread. Functions block; there is no callback. Errors are the peer's status mapped by rpc/status.h, diag has its
 * message; SL_ERR_UNAVAILABLE: nobody answers at the target.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdint.h>

#include "base/err.h"
#include "rpc/server.h"

struct sl_rpc_client;
struct sl_rpc_client_stream;

/* Zero means the default for every member but target. */
struct sl_rpc_client_options {
    const char *target;                 /* "unix:/run/sluice/sluiced.sock" or "host:port" */
    const struct sl_rpc_tls_files *tls; /* NULL: no TLS; allowed for unix sockets only. ca_file verifies the server */
    const char *server_name;            /* the name to expect in the server's certificate; NULL: the host of target */
    size_t max_message_bytes;           /* either direction; default 4 MiB */
    uint32_t keepalive_time_ms;         /* default 30,000 */
    uint32_t keepalive_timeout_ms;      /* default 10,000 */
};

/* Doesn't connect yet: the first call does. SL_ERR_INVALID: no TLS where it is needed, bad files. */
sl_err sl_rpc_client_new(const struct sl_rpc_client_options *options, struct sl_rpc_client **out, struct sl_diag *diag);
/* All streams must have been freed. NULL is allowed. */
void sl_rpc_client_free(struct sl_rpc_client *client);

/*
 * One unary call. timeout_ms 0: no deadline. *response is freed with sl_rpc_message_free; unchanged after a failure.
 * SL_ERR_NOT_FOUND can come from the peer; a method that the descriptor doesn't know is SL_ERR_INVALID.
 */
sl_err sl_rpc_client_call(struct sl_rpc_client *client, const ProtobufCServiceDescriptor *service, const char *method,
                          const ProtobufCMessage *request, uint32_t timeout_ms, ProtobufCMessage **response, struct sl_diag *diag);

/*
 * Opens a stream of any shape. For a server-streaming method: open, send the request, close_send, recv until NULL, finish.
 */
sl_err sl_rpc_client_open(struct sl_rpc_client *client, const ProtobufCServiceDescriptor *service, const char *method,
                          uint32_t timeout_ms, struct sl_rpc_client_stream **out, struct sl_diag *diag);

/* Sends one message; flags: SL_RPC_MORE when another follows at once. Blocks while the peer's window is full. SL_ERR_CANCELLED: the
 * stream is over, finish tells why. SL_ERR_LIMIT: too large; the stream goes on. */
sl_err sl_rpc_client_send(struct sl_rpc_client_stream *stream, const ProtobufCMessage *message, unsigned flags);
/* No more messages from this side; flushes what SL_RPC_MORE held back. Idempotent. */
sl_err sl_rpc_client_close_send(struct sl_rpc_client_stream *stream);

/* The next message, to be freed with sl_rpc_message_free; NULL with SL_OK: the peer has finished (well or not: finish tells). */
sl_err sl_rpc_client_recv(struct sl_rpc_client_stream *stream, ProtobufCMessage **out, struct sl_diag *diag);

/* Closes the sending side, waits for the status and returns it. Messages that weren't received are discarded. Repeatable. */
sl_err sl_rpc_client_finish(struct sl_rpc_client_stream *stream, struct sl_diag *diag);

/* From any thread: the stream ends with SL_ERR_CANCELLED at both ends. */
void sl_rpc_client_cancel(struct sl_rpc_client_stream *stream);

/* Cancels if unfinished. No thread may be inside of a function of the stream. NULL is allowed. */
void sl_rpc_client_stream_free(struct sl_rpc_client_stream *stream);
