/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call has a completion queue of its own that its users pluck from: no thread stands behind a client, and a slow call holds
 * nobody else up. At most three threads pluck at once (send, receive, finish); the core allows six.
 *
 *   open    SEND_INITIAL_METADATA                    plucked at once
 *           RECV_INITIAL_METADATA + RECV_STATUS      plucked by finish
 *   send    SEND_MESSAGE                             recv   RECV_MESSAGE
 *   close   SEND_CLOSE
 */
#include "rpc/client.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/core.h"
#include "rpc/message.h"
#include "rpc/status.h"

struct sl_rpc_client {
    grpc_channel *channel;
    size_t max_message_bytes;
};

enum { TAG_OPEN = 1, TAG_STATUS, TAG_SEND, TAG_RECV, TAG_CLOSE, TAG_UNARY };

struct sl_rpc_client_stream {
    struct sl_rpc_client *client;
    const ProtobufCMethodDescriptor *types;
    grpc_call *call;
    grpc_completion_queue *cq;
    pthread_mutex_t send_lock; /* send and close, which may come from finish in the receiving thread */
    bool send_closed;
    bool recv_ended; /* receiving thread only, like the rest */
    bool finished;
    grpc_metadata_array initial_metadata, trailing_metadata;
    grpc_status_code status;
    grpc_slice details;
};

/* --------------------------------------------------------------------------------------------------------------------- channel */

static bool is_unix(const char *target)
{
    return strncmp(target, "unix:", 5) == 0;
}

static int milliseconds(uint32_t value, int fallback)
{
    return value == 0 ? fallback : value > INT32_MAX ? INT32_MAX : (int)value;
}

static grpc_channel *make_channel(const struct sl_rpc_client_options *o, grpc_channel_credentials *credentials)
{
    int limit = o->max_message_bytes > INT32_MAX ? INT32_MAX : (int)o->max_message_bytes;
    grpc_arg args[16];
    size_t n = 0;
    args[n++] = sl_rpc_core_int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, limit);
    args[n++] = sl_rpc_core_int_arg(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, limit);
    args[n++] =
        sl_rpc_core_int_arg(GRPC_ARG_KEEPALIVE_TIME_MS, milliseconds(o->keepalive_time_ms, SL_RPC_KEEPALIVE_TIME_MS_DEFAULT));
    args[n++] = sl_rpc_core_int_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                                    milliseconds(o->keepalive_timeout_ms, SL_RPC_KEEPALIVE_TIMEOUT_MS_DEFAULT));
    args[n++] = sl_rpc_core_int_arg(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    /* A call is what the caller asked for: nothing is retried, proxied, shared between clients or configured from outside. */
    args[n++] = sl_rpc_core_int_arg(GRPC_ARG_ENABLE_RETRIES, 0);
    args[n++] = sl_rpc_core_int_arg(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    args[n++] = sl_rpc_core_int_arg(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
    args[n++] = sl_rpc_core_int_arg(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    args[n++] = sl_rpc_core_int_arg(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
    args[n++] = sl_rpc_core_no_compression();
    if (o->server_name != NULL && o->tls != NULL) {
        args[n] = (grpc_arg){.type = GRPC_ARG_STRING, .key = (char *)(uintptr_t)GRPC_SSL_TARGET_NAME_OVERRIDE_ARG};
        args[n++].value.string = (char *)(uintptr_t)o->server_name;
    }
    grpc_channel_args list = {.num_args = n, .args = args};
    return grpc_channel_create(o->target, credentials, &list);
}

static sl_err make_credentials(const struct sl_rpc_client_options *o, grpc_channel_credentials **out, struct sl_diag *diag)
{
    if (o->tls == NULL) {
        *out = grpc_insecure_credentials_create();
        return SL_OK;
    }
    struct sl_rpc_pem pem;
    sl_err err = sl_rpc_pem_load(o->tls, &pem, diag);
    if (err != SL_OK)
        return err;
    grpc_ssl_pem_key_cert_pair pair = {.private_key = pem.key, .cert_chain = pem.cert};
    *out = grpc_ssl_credentials_create_ex(pem.ca, &pair, NULL, NULL);
    sl_rpc_pem_free(&pem);
    return *out != NULL ? SL_OK : sl_fail(diag, SL_ERR_INVALID, "the TLS files can't be used");
}

sl_err sl_rpc_client_new(const struct sl_rpc_client_options *options, struct sl_rpc_client **out, struct sl_diag *diag)
{
    struct sl_rpc_client_options o = *options;
    grpc_channel_credentials *credentials = NULL;
    if (o.max_message_bytes == 0)
        o.max_message_bytes = SL_RPC_MESSAGE_BYTES_DEFAULT;
    if (o.target == NULL || o.target[0] == '\0')
        return sl_fail(diag, SL_ERR_INVALID, "no address to connect to");
    if (o.tls == NULL && !is_unix(o.target))
        return sl_fail(diag, SL_ERR_INVALID, "%s: without TLS only unix: addresses are allowed", o.target);
    struct sl_rpc_client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    client->max_message_bytes = o.max_message_bytes;
    sl_err err = sl_rpc_core_acquire(diag);
    if (err != SL_OK) {
        free(client);
        return err;
    }
    err = make_credentials(&o, &credentials, diag);
    if (err == SL_OK) {
        client->channel = make_channel(&o, credentials);
        grpc_channel_credentials_release(credentials);
        *out = client;
        return SL_OK;
    }
    sl_rpc_client_free(client);
    return err;
}

void sl_rpc_client_free(struct sl_rpc_client *client)
{
    if (client == NULL)
        return;
    if (client->channel != NULL)
        grpc_channel_destroy(client->channel);
    sl_rpc_core_release();
    free(client);
}

/* ---------------------------------------------------------------------------------------------------------------- parts of a call
 */

static void *tag(uintptr_t n)
{
    return (void *)n;
}

/* Starts a batch and waits for it: did all of it succeed? */
static bool run_batch(struct sl_rpc_client_stream *s, const grpc_op *ops, size_t count, uintptr_t n)
{
    if (grpc_call_start_batch(s->call, ops, count, tag(n), NULL) != GRPC_CALL_OK)
        return false;
    grpc_event event = grpc_completion_queue_pluck(s->cq, tag(n), gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    return event.type == GRPC_OP_COMPLETE && event.success != 0;
}

static gpr_timespec deadline_after(uint32_t timeout_ms)
{
    if (timeout_ms == 0)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(timeout_ms, GPR_TIMESPAN));
}

/* A stream without any batch started. */
static sl_err stream_new(struct sl_rpc_client *client, const ProtobufCServiceDescriptor *service, const char *method,
                         uint32_t timeout_ms, struct sl_rpc_client_stream **out, struct sl_diag *diag)
{
    char path[512];
    const ProtobufCMethodDescriptor *types = protobuf_c_service_descriptor_get_method_by_name(service, method);
    if (types == NULL)
        return sl_fail(diag, SL_ERR_INVALID, "%s has no method %s", service->name, method);
    snprintf(path, sizeof path, "/%s/%s", service->name, method);
    struct sl_rpc_client_stream *s = calloc(1, sizeof *s);
    if (s == NULL)
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    s->client = client;
    s->types = types;
    s->details = grpc_empty_slice();
    pthread_mutex_init(&s->send_lock, NULL);
    grpc_metadata_array_init(&s->initial_metadata);
    grpc_metadata_array_init(&s->trailing_metadata);
    s->cq = grpc_completion_queue_create_for_pluck(NULL);
    grpc_slice path_slice = grpc_slice_from_copied_string(path);
    s->call = grpc_channel_create_call(client->channel, NULL, GRPC_PROPAGATE_DEFAULTS, s->cq, path_slice, NULL,
                                       deadline_after(timeout_ms), NULL);
    grpc_slice_unref(path_slice);
    *out = s;
    return SL_OK;
}

/* All batches are complete. */
static void stream_delete(struct sl_rpc_client_stream *s)
{
    grpc_completion_queue_shutdown(s->cq);
    while (grpc_completion_queue_pluck(s->cq, NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type != GRPC_QUEUE_SHUTDOWN)
        ;
    grpc_call_unref(s->call);
    grpc_completion_queue_destroy(s->cq);
    grpc_metadata_array_destroy(&s->initial_metadata);
    grpc_metadata_array_destroy(&s->trailing_metadata);
    grpc_slice_unref(s->details);
    pthread_mutex_destroy(&s->send_lock);
    free(s);
}

static grpc_op recv_status_op(struct sl_rpc_client_stream *s)
{
    grpc_op op = sl_rpc_core_op(GRPC_OP_RECV_STATUS_ON_CLIENT);
    op.data.recv_status_on_client.trailing_metadata = &s->trailing_metadata;
    op.data.recv_status_on_client.status = &s->status;
    op.data.recv_status_on_client.status_details = &s->details;
    return op;
}

static grpc_op recv_initial_op(struct sl_rpc_client_stream *s)
{
    grpc_op op = sl_rpc_core_op(GRPC_OP_RECV_INITIAL_METADATA);
    op.data.recv_initial_metadata.recv_initial_metadata = &s->initial_metadata;
    return op;
}

/* The peer's status as ours, with its words. */
static sl_err take_status(const struct sl_rpc_client_stream *s, struct sl_diag *diag)
{
    sl_err err = sl_rpc_err_from_status((int)s->status);
    if (err == SL_OK)
        return SL_OK;
    char text[480];
    if (sl_rpc_core_copy_text(s->details, text, sizeof text) == 0)
        return sl_fail(diag, err, "%s", sl_err_str(err));
    return sl_fail(diag, err, "%s", text);
}

/* --------------------------------------------------------------------------------------------------------------------------- unary
 */

/* One batch for the whole call. */
static sl_err unary(struct sl_rpc_client_stream *s, grpc_byte_buffer *request, ProtobufCMessage **response, struct sl_diag *diag)
{
    grpc_byte_buffer *answer = NULL;
    grpc_op ops[6] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA},  {.op = GRPC_OP_SEND_MESSAGE},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}, recv_initial_op(s),
        {.op = GRPC_OP_RECV_MESSAGE},           recv_status_op(s),
    };
    ops[1].data.send_message.send_message = request;
    ops[4].data.recv_message.recv_message = &answer;
    if (!run_batch(s, ops, 6, TAG_UNARY) && s->status == GRPC_STATUS_OK)
        return sl_fail(diag, SL_ERR_UNAVAILABLE, "the call could not be started");
    sl_err err = take_status(s, diag);
    if (err == SL_OK && answer == NULL)
        err = sl_fail(diag, SL_ERR_CORRUPT, "the peer sent a status but no response");
    if (err == SL_OK)
        err = sl_rpc_core_unpack(answer, NULL, s->types->output, response, diag);
    grpc_byte_buffer_destroy(answer);
    return err;
}

sl_err sl_rpc_client_call(struct sl_rpc_client *client, const ProtobufCServiceDescriptor *service, const char *method,
                          const ProtobufCMessage *request, uint32_t timeout_ms, ProtobufCMessage **response, struct sl_diag *diag)
{
    struct sl_rpc_client_stream *s = NULL;
    grpc_byte_buffer *bytes = NULL;
    size_t len = 0;
    sl_err err = stream_new(client, service, method, timeout_ms, &s, diag);
    if (s == NULL)
        return err;
    if (request->descriptor != s->types->input)
        err = sl_fail(diag, SL_ERR_INVALID, "%s takes a %s", method, s->types->input->name);
    else if ((err = sl_rpc_core_pack(request, client->max_message_bytes, &bytes, &len)) != SL_OK)
        sl_fail(diag, err, "the request is larger than %zu bytes", client->max_message_bytes);
    else
        err = unary(s, bytes, response, diag);
    if (bytes != NULL)
        grpc_byte_buffer_destroy(bytes);
    stream_delete(s);
    return err;
}

/* ------------------------------------------------------------------------------------------------------------------------- streams
 */

sl_err sl_rpc_client_open(struct sl_rpc_client *client, const ProtobufCServiceDescriptor *service, const char *method,
                          uint32_t timeout_ms, struct sl_rpc_client_stream **out, struct sl_diag *diag)
{
    struct sl_rpc_client_stream *s = NULL;
    sl_err err = stream_new(client, service, method, timeout_ms, &s, diag);
    if (s == NULL)
        return err;
    grpc_op status[2] = {recv_initial_op(s), recv_status_op(s)};
    if (grpc_call_start_batch(s->call, status, 2, tag(TAG_STATUS), NULL) != GRPC_CALL_OK) {
        stream_delete(s);
        return sl_fail(diag, SL_ERR_UNAVAILABLE, "the call could not be started");
    }
    grpc_op headers = sl_rpc_core_op(GRPC_OP_SEND_INITIAL_METADATA);
    if (!run_batch(s, &headers, 1, TAG_OPEN)) {
        err = sl_rpc_client_finish(s, diag);
        sl_rpc_client_stream_free(s);
        return err != SL_OK ? err : sl_fail(diag, SL_ERR_UNAVAILABLE, "the call could not be started");
    }
    *out = s;
    return SL_OK;
}

sl_err sl_rpc_client_send(struct sl_rpc_client_stream *s, const ProtobufCMessage *message, unsigned flags)
{
    grpc_byte_buffer *bytes = NULL;
    size_t len = 0;
    if (message->descriptor != s->types->input)
        return SL_ERR_INVALID;
    sl_err err = sl_rpc_core_pack(message, s->client->max_message_bytes, &bytes, &len);
    if (err != SL_OK)
        return err;
    grpc_op op = sl_rpc_core_op(GRPC_OP_SEND_MESSAGE);
    op.flags = (flags & SL_RPC_MORE) != 0 ? GRPC_WRITE_BUFFER_HINT : 0;
    op.data.send_message.send_message = bytes;
    pthread_mutex_lock(&s->send_lock);
    if (s->send_closed)
        err = SL_ERR_STATE;
    else if (!run_batch(s, &op, 1, TAG_SEND))
        err = SL_ERR_CANCELLED;
    pthread_mutex_unlock(&s->send_lock);
    grpc_byte_buffer_destroy(bytes);
    return err;
}

sl_err sl_rpc_client_close_send(struct sl_rpc_client_stream *s)
{
    sl_err err = SL_OK;
    grpc_op op = sl_rpc_core_op(GRPC_OP_SEND_CLOSE_FROM_CLIENT);
    pthread_mutex_lock(&s->send_lock);
    if (!s->send_closed && !run_batch(s, &op, 1, TAG_CLOSE))
        err = SL_ERR_CANCELLED;
    s->send_closed = true;
    pthread_mutex_unlock(&s->send_lock);
    return err;
}

static grpc_byte_buffer *recv_bytes(struct sl_rpc_client_stream *s)
{
    grpc_byte_buffer *bytes = NULL;
    grpc_op op = sl_rpc_core_op(GRPC_OP_RECV_MESSAGE);
    op.data.recv_message.recv_message = &bytes;
    if (!s->recv_ended)
        (void)run_batch(s, &op, 1, TAG_RECV);
    s->recv_ended = bytes == NULL;
    return bytes;
}

sl_err sl_rpc_client_recv(struct sl_rpc_client_stream *s, ProtobufCMessage **out, struct sl_diag *diag)
{
    *out = NULL;
    grpc_byte_buffer *bytes = recv_bytes(s);
    if (bytes == NULL)
        return SL_OK;
    sl_err err = sl_rpc_core_unpack(bytes, NULL, s->types->output, out, diag);
    grpc_byte_buffer_destroy(bytes);
    return err;
}

sl_err sl_rpc_client_finish(struct sl_rpc_client_stream *s, struct sl_diag *diag)
{
    if (!s->finished) {
        (void)sl_rpc_client_close_send(s);
        /* The core holds the status back while messages wait. */
        for (grpc_byte_buffer *bytes; (bytes = recv_bytes(s)) != NULL;)
            grpc_byte_buffer_destroy(bytes);
        grpc_completion_queue_pluck(s->cq, tag(TAG_STATUS), gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        s->finished = true;
    }
    return take_status(s, diag);
}

void sl_rpc_client_cancel(struct sl_rpc_client_stream *s)
{
    grpc_call_cancel(s->call, NULL);
}

void sl_rpc_client_stream_free(struct sl_rpc_client_stream *s)
{
    if (s == NULL)
        return;
    if (!s->finished) {
        sl_rpc_client_cancel(s);
        (void)sl_rpc_client_finish(s, NULL);
    }
    stream_delete(s);
}
