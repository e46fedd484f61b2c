/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call on the server, from arrival to status.
 *
 *   requested ──▶ arrived ──▶ (request read) ──▶ handler on a worker ──▶ finishing ──▶ status sent ──▶ over ──▶ deleted
 *                    │ unknown method, too many calls: finishing at once
 *
 * Four batches can be under way at a time, each with its tag: the end of the call (over), one receive, one send, the arrival. Every
 * tag and the worker hold a reference; the last one to go deletes the call.
 *
 * Sending. The core takes one message at a time; the others wait in a bounded queue. While the queue isn't empty the core is told
 * that more follows, so that it writes many messages at once. The status goes last, for unary calls together with the response.
 *
 * Receiving. One receive is kept running ahead of the handler until INBOX_BYTES have piled up. A handler that sleeps until a
 * message comes is not woken at once, but when the completion queue has nothing more to give, or PUT_OFF_MAX messages have come: to
 * wake a thread costs more than a small message, and when it runs it takes all that is there.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "rpc/message.h"
#include "rpc/server_internal.h"
#include "rpc/status.h"

enum { INBOX_BYTES = 256 * 1024, PUT_OFF_MAX = 64 };

/* A message in a queue. */
struct parcel {
    grpc_byte_buffer *bytes;
    size_t len;
    unsigned flags;
    struct parcel *next;
};

struct queue {
    struct parcel *first, **end;
    size_t count, bytes;
};

struct sl_rpc_server_call {
    struct sl_rpc_call base;
    struct sl_rpc_server *server;
    const struct sl_rpc_service *service;
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array metadata;
    struct sl_rpc_tag arrived_tag, over_tag, received_tag, sent_tag;
    struct sl_rpc_server_call *next, **prev; /* server->calls, under the server's lock */
    bool listed;                             /* is in server->calls; set once, before anybody else sees the call */
    struct sl_rpc_server_call *next_ready;   /* pool */
    atomic_uint refs;

    pthread_mutex_t lock;
    pthread_cond_t changed;

    atomic_bool over;  /* nothing can be sent or received any more; set under the lock */
    int was_cancelled; /* written by the core */

    struct queue inbox;
    pthread_mutex_t taken_lock; /* before lock */
    struct queue taken;         /* from the inbox, all at once: the handler's */
    grpc_byte_buffer *incoming; /* the receive under way */
    bool receiving, submitted;
    bool handler_waits;                   /* for a message */
    struct sl_rpc_server_call *next_wake; /* server->wakes; with a reference. The completion-queue thread's */
    bool wakes;                           /* is in server->wakes */
    bool recv_ended;                      /* the client has finished sending */
    bool recv_failed;                     /* the stream broke: what came isn't all there was */

    struct queue outbox;
    grpc_byte_buffer *outgoing; /* the send under way */
    bool sending, headers_sent;
    bool finishing, status_sent;
    sl_err result;
    grpc_byte_buffer *response;
    grpc_slice status_text;
};

/* ------------------------------------------------------------------------------------------------------------------ small parts */

static void queue_init(struct queue *q)
{
    *q = (struct queue){.end = &q->first};
}

static void queue_push(struct queue *q, struct parcel *p)
{
    p->next = NULL;
    *q->end = p;
    q->end = &p->next;
    q->count++;
    q->bytes += p->len;
}

static struct parcel *queue_pop(struct queue *q)
{
    struct parcel *p = q->first;
    if (p == NULL)
        return NULL;
    q->first = p->next;
    if (q->first == NULL)
        q->end = &q->first;
    q->count--;
    q->bytes -= p->len;
    return p;
}

static void parcel_free(struct parcel *p)
{
    grpc_byte_buffer_destroy(p->bytes);
    free(p);
}

/* from is empty afterwards; to was. */
static void queue_move(struct queue *to, struct queue *from)
{
    *to = *from;
    if (to->first == NULL)
        to->end = &to->first;
    queue_init(from);
}

static void queue_clear(struct queue *q)
{
    for (struct parcel *p = q->first, *next; p != NULL; p = next) {
        next = p->next;
        parcel_free(p);
    }
    queue_init(q);
}

struct sl_rpc_server_call **sl_rpc_server_call_next_ready(struct sl_rpc_server_call *call)
{
    return &call->next_ready;
}

static void call_ref(struct sl_rpc_server_call *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
}

static void leave_server(struct sl_rpc_server_call *c)
{
    struct sl_rpc_server *server = c->server;
    pthread_mutex_lock(&server->lock);
    *c->prev = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    server->call_count--;
    sl_metric_set(server->calls_active, server->call_count);
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

static void call_delete(struct sl_rpc_server_call *c)
{
    /* The analyzer doesn't count references and fears that another holder has been here. NOLINTBEGIN(clang-analyzer-unix.Malloc) */
    queue_clear(&c->inbox);
    queue_clear(&c->taken);
    queue_clear(&c->outbox);
    if (c->incoming != NULL)
        grpc_byte_buffer_destroy(c->incoming);
    if (c->outgoing != NULL)
        grpc_byte_buffer_destroy(c->outgoing);
    if (c->response != NULL)
        grpc_byte_buffer_destroy(c->response);
    grpc_slice_unref(c->status_text);
    grpc_call_details_destroy(&c->details);
    grpc_metadata_array_destroy(&c->metadata);
    if (c->call != NULL)
        grpc_call_unref(c->call);
    if (c->listed)
        leave_server(c);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->taken_lock);
    free(c);
    /* NOLINTEND(clang-analyzer-unix.Malloc) */
}

static void call_unref(struct sl_rpc_server_call *c)
{
    if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
        call_delete(c);
}

#define CALL_OF(tag, member) ((struct sl_rpc_server_call *)(void *)((char *)(tag)-offsetof(struct sl_rpc_server_call, member)))

/* Starts a batch whose tag holds a reference. c->lock is held. */
static bool start(struct sl_rpc_server_call *c, const grpc_op *ops, size_t count, struct sl_rpc_tag *tag)
{
    call_ref(c);
    sl_rpc_core_hand_over(tag);
    if (grpc_call_start_batch(c->call, ops, count, tag, NULL) == GRPC_CALL_OK)
        return true;
    atomic_fetch_sub_explicit(&c->refs, 1, memory_order_relaxed);
    sl_log(SL_LOG_ERROR, "rpc", "gRPC refused a batch", SL_STR("method", c->base.path));
    return false;
}

/* --------------------------------------------------------------------------------------------------------------------------
 * sending */

static void send_next_message(struct sl_rpc_server_call *c)
{
    struct parcel *p = queue_pop(&c->outbox);
    grpc_op ops[2];
    size_t n = 0;
    memset(ops, 0, sizeof ops);
    if (!c->headers_sent)
        ops[n++].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[n].op = GRPC_OP_SEND_MESSAGE;
    ops[n].data.send_message.send_message = p->bytes;
    ops[n++].flags = (p->flags & SL_RPC_MORE) != 0 || c->outbox.count > 0 ? GRPC_WRITE_BUFFER_HINT : 0;
    c->outgoing = p->bytes;
    free(p);
    c->headers_sent = true;
    c->sending = start(c, ops, n, &c->sent_tag);
}

static void send_status(struct sl_rpc_server_call *c)
{
    grpc_op ops[3];
    size_t n = 0;
    memset(ops, 0, sizeof ops);
    if (!c->headers_sent)
        ops[n++].op = GRPC_OP_SEND_INITIAL_METADATA;
    if (c->response != NULL) {
        ops[n].op = GRPC_OP_SEND_MESSAGE;
        ops[n++].data.send_message.send_message = c->response;
    }
    ops[n].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    ops[n].data.send_status_from_server.status = (grpc_status_code)sl_rpc_status_from_err(c->result);
    ops[n++].data.send_status_from_server.status_details = GRPC_SLICE_LENGTH(c->status_text) > 0 ? &c->status_text : NULL;
    c->headers_sent = c->status_sent = true;
    c->sending = start(c, ops, n, &c->sent_tag);
}

/* Whatever can be sent now. c->lock is held. */
static void pump(struct sl_rpc_server_call *c)
{
    if (c->sending || c->over)
        return;
    if (c->outbox.count > 0)
        send_next_message(c);
    else if (c->finishing && !c->status_sent)
        send_status(c);
}

static void on_sent(struct sl_rpc_tag *tag, bool ok)
{
    struct sl_rpc_server_call *c = CALL_OF(tag, sent_tag);
    (void)ok; /* a send that failed means that the call is over, and on_over tells */
    pthread_mutex_lock(&c->lock);
    if (c->outgoing != NULL)
        grpc_byte_buffer_destroy(c->outgoing);
    c->outgoing = NULL;
    c->sending = false;
    pump(c);
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    call_unref(c);
}

/* The result of the call, to go out after what is queued. text may be NULL. */
static void finish(struct sl_rpc_server_call *c, sl_err result, const char *text, grpc_byte_buffer *response)
{
    pthread_mutex_lock(&c->lock);
    c->finishing = true;
    c->result = result;
    c->response = response;
    if (text != NULL)
        c->status_text = grpc_slice_from_copied_string(text);
    pump(c);
    pthread_mutex_unlock(&c->lock);
    sl_metric_add(c->server->calls_by_status[sl_rpc_status_from_err(result)], 1);
}

static bool outbox_full(const struct sl_rpc_server_call *c, size_t len)
{
    return c->outbox.count > 0 && (c->outbox.count >= c->server->options.stream_queue_messages ||
                                   c->outbox.bytes + len > c->server->options.max_message_bytes);
}

static sl_err call_send(struct sl_rpc_call *base, const ProtobufCMessage *message, unsigned flags, bool may_block)
{
    struct sl_rpc_server_call *c = (struct sl_rpc_server_call *)base;
    sl_err err = SL_OK;
    if (message->descriptor != base->types->output || base->method->shape == SL_RPC_UNARY ||
        base->method->shape == SL_RPC_CLIENT_STREAM)
        return SL_ERR_INVALID;
    struct parcel *p = calloc(1, sizeof *p);
    if (p == NULL)
        return SL_ERR_NOMEM;
    p->flags = flags;
    if ((err = sl_rpc_core_pack(message, c->server->options.max_message_bytes, &p->bytes, &p->len)) != SL_OK) {
        free(p);
        return err;
    }
    pthread_mutex_lock(&c->lock);
    while (!c->over && may_block && outbox_full(c, p->len))
        pthread_cond_wait(&c->changed, &c->lock);
    if (c->over || c->finishing) {
        err = SL_ERR_CANCELLED;
    } else if (outbox_full(c, p->len)) {
        err = SL_ERR_AGAIN;
        sl_metric_add(c->server->messages_dropped, 1);
    } else {
        queue_push(&c->outbox, p);
        p = NULL;
        pump(c);
    }
    pthread_mutex_unlock(&c->lock);
    if (p != NULL)
        parcel_free(p);
    return err;
}

/* ------------------------------------------------------------------------------------------------------------------------
 * receiving */

/* Keeps one receive running while there is room. c->lock is held. */
static void receive(struct sl_rpc_server_call *c)
{
    if (c->receiving || c->recv_ended || c->over || c->inbox.bytes >= INBOX_BYTES)
        return;
    grpc_op op = sl_rpc_core_op(GRPC_OP_RECV_MESSAGE);
    op.data.recv_message.recv_message = &c->incoming;
    c->receiving = start(c, &op, 1, &c->received_tag);
}

static bool takes_stream(const struct sl_rpc_server_call *c)
{
    return c->base.method->shape == SL_RPC_CLIENT_STREAM || c->base.method->shape == SL_RPC_BIDI;
}

/* To a worker. The reference is the worker's. */
static void submit(struct sl_rpc_server_call *c)
{
    call_ref(c);
    if (sl_rpc_pool_submit(&c->server->pool, c) != SL_OK)
        sl_rpc_server_call_refuse(c);
}

void sl_rpc_server_call_refuse(struct sl_rpc_server_call *c)
{
    finish(c, SL_ERR_LIMIT, "the server has no thread for this call", NULL);
    call_unref(c);
}

void sl_rpc_server_call_wake_late(struct sl_rpc_server *server)
{
    struct sl_rpc_server_call *c = server->wakes;
    server->wakes = NULL;
    server->put_off = 0;
    for (struct sl_rpc_server_call *next; c != NULL; c = next) {
        next = c->next_wake;
        c->wakes = false;
        pthread_mutex_lock(&c->lock);
        pthread_cond_broadcast(&c->changed);
        pthread_mutex_unlock(&c->lock);
        call_unref(c);
    }
}

static void wake_later(struct sl_rpc_server_call *c)
{
    struct sl_rpc_server *server = c->server;
    if (!c->wakes) {
        c->wakes = true;
        c->next_wake = server->wakes;
        server->wakes = c;
        call_ref(c);
    }
    if (++server->put_off >= PUT_OFF_MAX)
        sl_rpc_server_call_wake_late(server);
}

static void on_received(struct sl_rpc_tag *tag, bool ok)
{
    struct sl_rpc_server_call *c = CALL_OF(tag, received_tag);
    pthread_mutex_lock(&c->lock);
    struct parcel *p = ok && c->incoming != NULL ? calloc(1, sizeof *p) : NULL;
    c->receiving = false;
    if (p != NULL) {
        p->bytes = c->incoming;
        p->len = grpc_byte_buffer_length(c->incoming);
        c->incoming = NULL;
        queue_push(&c->inbox, p);
    } else {
        /* No message: the client's end of stream, or a stream that broke (or no memory, which is the same to the handler). */
        c->recv_ended = true;
        c->recv_failed = !ok || c->incoming != NULL || grpc_call_failed_before_recv_message(c->call) != 0;
    }
    bool ready = !takes_stream(c) && !c->submitted;
    c->submitted = true;
    if (takes_stream(c))
        receive(c);
    bool waits = c->handler_waits;
    pthread_mutex_unlock(&c->lock);
    if (ready)
        submit(c);
    else if (waits) /* a handler that waits has been submitted long ago */
        wake_later(c);
    call_unref(c);
}

/* Sleeps until there is a message or an end, and takes all messages there are: the lock, which is held while the core is called, is
 * then not needed for each. Returns whether the stream broke. taken_lock is held. */
static bool take_inbox(struct sl_rpc_server_call *c)
{
    pthread_mutex_lock(&c->lock);
    c->handler_waits = true;
    while (!c->over && c->inbox.count == 0 && !c->recv_ended)
        pthread_cond_wait(&c->changed, &c->lock);
    c->handler_waits = false;
    bool broken = c->over || (c->inbox.count == 0 && c->recv_failed);
    queue_move(&c->taken, &c->inbox);
    receive(c);
    pthread_mutex_unlock(&c->lock);
    return broken;
}

static sl_err call_recv(struct sl_rpc_call *base, struct sl_rpc_arena *arena, ProtobufCMessage **out)
{
    struct sl_rpc_server_call *c = (struct sl_rpc_server_call *)base;
    if (!takes_stream(c))
        return SL_ERR_STATE;
    pthread_mutex_lock(&c->taken_lock);
    bool broken = c->taken.count == 0 ? take_inbox(c) : atomic_load_explicit(&c->over, memory_order_relaxed);
    struct parcel *p = broken ? NULL : queue_pop(&c->taken);
    pthread_mutex_unlock(&c->taken_lock);
    if (p == NULL)
        return broken ? SL_ERR_CANCELLED : SL_OK;
    sl_err err = sl_rpc_core_unpack(p->bytes, arena, base->types->input, out, NULL);
    parcel_free(p);
    return err;
}

/* --------------------------------------------------------------------------------------------------------------------------- the
 * end */

static void on_over(struct sl_rpc_tag *tag, bool ok)
{
    struct sl_rpc_server_call *c = CALL_OF(tag, over_tag);
    (void)ok;
    pthread_mutex_lock(&c->lock);
    c->over = true;
    queue_clear(&c->outbox);
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    call_unref(c);
}

static bool call_cancelled(struct sl_rpc_call *base)
{
    struct sl_rpc_server_call *c = (struct sl_rpc_server_call *)base;
    pthread_mutex_lock(&c->lock);
    bool over = c->over;
    pthread_mutex_unlock(&c->lock);
    return over;
}

static sl_err call_wait(struct sl_rpc_call *base, uint64_t timeout_ns)
{
    struct sl_rpc_server_call *c = (struct sl_rpc_server_call *)base;
    const struct sl_clock *clock = sl_clock_system();
    uint64_t now = clock->mono_ns(clock->arg);
    uint64_t until = timeout_ns > UINT64_MAX / 4 - now ? UINT64_MAX / 4 : now + timeout_ns;
    struct timespec at = {.tv_sec = (time_t)(until / SL_NS_PER_S), .tv_nsec = (long)(until % SL_NS_PER_S)};
    int late = 0;
    pthread_mutex_lock(&c->lock);
    while (!c->over && late != ETIMEDOUT && !atomic_load(&c->server->draining))
        late = pthread_cond_clockwait(&c->changed, &c->lock, CLOCK_MONOTONIC, &at);
    sl_err err = c->over ? SL_ERR_CANCELLED : late == ETIMEDOUT ? SL_ERR_TIMEOUT : SL_ERR_UNAVAILABLE;
    pthread_mutex_unlock(&c->lock);
    return err;
}

static const struct sl_rpc_call_ops GRPC_OPS = {call_cancelled, call_recv, call_send, call_wait};

void sl_rpc_server_call_wake_all(struct sl_rpc_server *server)
{
    for (struct sl_rpc_server_call *c = server->calls; c != NULL; c = c->next) {
        pthread_mutex_lock(&c->lock);
        pthread_cond_broadcast(&c->changed);
        pthread_mutex_unlock(&c->lock);
    }
}

/* ----------------------------------------------------------------------------------------------------------------------- the
 * handler */

/* The single request of a unary or server-streaming call. */
static sl_err take_request(struct sl_rpc_server_call *c, ProtobufCMessage **out, struct sl_diag *diag)
{
    pthread_mutex_lock(&c->lock);
    struct parcel *p = c->over ? NULL : queue_pop(&c->inbox);
    bool broken = c->over || c->recv_failed;
    pthread_mutex_unlock(&c->lock);
    if (p == NULL && broken)
        return sl_fail(diag, SL_ERR_CANCELLED, "cancelled");
    if (p == NULL)
        return sl_fail(diag, SL_ERR_INVALID, "the request is missing");
    sl_err err = sl_rpc_core_unpack(p->bytes, NULL, c->base.types->input, out, diag);
    parcel_free(p);
    return err;
}

static sl_err pack_response(struct sl_rpc_server_call *c, const ProtobufCMessage *response, grpc_byte_buffer **out,
                            struct sl_diag *diag)
{
    size_t len = 0;
    if (response == NULL)
        return SL_OK;
    sl_err err = sl_rpc_core_pack(response, c->server->options.max_message_bytes, out, &len);
    return err == SL_OK ? SL_OK : sl_fail(diag, err, "the response is larger than %zu bytes", c->server->options.max_message_bytes);
}

void sl_rpc_server_call_execute(struct sl_rpc_server_call *c)
{
    struct sl_diag diag = {0};
    ProtobufCMessage *request = NULL, *response = NULL;
    grpc_byte_buffer *bytes = NULL;
    sl_err err = takes_stream(c) ? SL_OK : take_request(c, &request, &diag);
    if (err == SL_OK)
        err = sl_rpc_call_run(&c->base, c->service->arg, request, &response, &diag);
    if (err == SL_OK)
        err = pack_response(c, response, &bytes, &diag);
    sl_rpc_message_free(request);
    sl_rpc_message_free(response);
    finish(c, err, err != SL_OK ? diag.text : NULL, bytes);
    call_unref(c);
}

/* --------------------------------------------------------------------------------------------------------------------------
 * arrival */

static void copy_property(grpc_auth_context *auth, const char *name, char *out, size_t size)
{
    size_t len = 0;
    grpc_auth_property_iterator it = grpc_auth_context_find_properties_by_name(auth, name);
    for (const grpc_auth_property *p; (p = grpc_auth_property_iterator_next(&it)) != NULL;) {
        /* A name that holds a NUL or doesn't fit is left out as a whole: half a name may be somebody else's. */
        if (memchr(p->value, '\0', p->value_length) != NULL || len + p->value_length + 3 > size)
            continue;
        len += (size_t)snprintf(out + len, size - len, "%s%.*s", len > 0 ? ", " : "", (int)p->value_length, p->value);
    }
}

static void find_peer(struct sl_rpc_server_call *c)
{
    struct sl_rpc_peer *peer = &c->base.peer;
    char *name = grpc_call_get_peer(c->call);
    snprintf(peer->address, sizeof peer->address, "%s", name);
    if (strncmp(name, "fd:", 3) == 0 && sl_rpc_unix_peer(c->server->local, (int)strtol(name + 3, NULL, 10), peer)) {
        gpr_free(name);
        return;
    }
    gpr_free(name);
    grpc_auth_context *auth = grpc_call_auth_context(c->call);
    if (auth == NULL)
        return;
    peer->authenticated = grpc_auth_context_peer_is_authenticated(auth) != 0;
    if (peer->authenticated) {
        copy_property(auth, GRPC_X509_CN_PROPERTY_NAME, peer->common_name, sizeof peer->common_name);
        copy_property(auth, GRPC_X509_SAN_PROPERTY_NAME, peer->alt_names, sizeof peer->alt_names);
    }
    grpc_auth_context_release(auth);
}

static uint64_t deadline_of(const grpc_call_details *details)
{
    gpr_timespec at = gpr_convert_clock_type(details->deadline, GPR_CLOCK_MONOTONIC);
    if (gpr_time_cmp(at, gpr_inf_future(GPR_CLOCK_MONOTONIC)) == 0)
        return UINT64_MAX;
    gpr_timespec left = gpr_time_sub(at, gpr_now(GPR_CLOCK_MONOTONIC));
    const struct sl_clock *clock = sl_clock_system();
    uint64_t now = clock->mono_ns(clock->arg);
    if (left.tv_sec < 0)
        return now;
    return now + (uint64_t)left.tv_sec * SL_NS_PER_S + (uint64_t)left.tv_nsec;
}

/* Joins the server's list; an error if the call can't be taken. */
static sl_err admit(struct sl_rpc_server_call *c, struct sl_diag *diag)
{
    struct sl_rpc_server *server = c->server;
    pthread_mutex_lock(&server->lock);
    c->next = server->calls;
    c->prev = &server->calls;
    if (c->next != NULL)
        c->next->prev = &c->next;
    server->calls = c;
    c->listed = true;
    unsigned count = ++server->call_count;
    sl_metric_set(server->calls_active, count);
    bool draining = server->state != SL_RPC_STARTED;
    pthread_mutex_unlock(&server->lock);

    size_t len = sl_rpc_core_copy_text(c->details.method, c->base.path, sizeof c->base.path);
    if (c->base.path[0] == '/')
        memmove(c->base.path, c->base.path + 1, len);
    if (draining)
        return sl_fail(diag, SL_ERR_UNAVAILABLE, "the server is shutting down");
    if (sl_rpc_path_find(server->services, server->service_count, c->base.path, &c->service, &c->base.method, &c->base.types) !=
        SL_OK)
        return sl_fail(diag, SL_ERR_UNSUPPORTED, "there is no method %s", c->base.path);
    if (count > server->options.max_calls)
        return sl_fail(diag, SL_ERR_LIMIT, "more than %u calls at once", server->options.max_calls);
    return SL_OK;
}

/* The end of the call is asked for first: it is what tells of a cancellation. */
static void begin(struct sl_rpc_server_call *c)
{
    grpc_op over = sl_rpc_core_op(GRPC_OP_RECV_CLOSE_ON_SERVER);
    over.data.recv_close_on_server.cancelled = &c->was_cancelled;
    pthread_mutex_lock(&c->lock);
    c->over = !start(c, &over, 1, &c->over_tag);
    pthread_mutex_unlock(&c->lock);
}

/* A stream's headers go out at once: the client then knows that it is being served, even if the first message takes long. */
static void begin_stream(struct sl_rpc_server_call *c)
{
    grpc_op headers = sl_rpc_core_op(GRPC_OP_SEND_INITIAL_METADATA);
    pthread_mutex_lock(&c->lock);
    if (c->base.method->shape != SL_RPC_UNARY && !c->over) {
        c->headers_sent = true;
        c->sending = start(c, &headers, 1, &c->sent_tag);
    }
    receive(c);
    c->submitted = takes_stream(c);
    pthread_mutex_unlock(&c->lock);
    if (takes_stream(c))
        submit(c);
}

static void on_arrived(struct sl_rpc_tag *tag, bool ok)
{
    struct sl_rpc_server_call *c = CALL_OF(tag, arrived_tag);
    struct sl_diag diag = {0};
    if (ok) {
        sl_rpc_server_call_request(c->server);
        find_peer(c);
        c->base.deadline_mono_ns = deadline_of(&c->details);
        sl_err err = admit(c, &diag);
        begin(c);
        if (err == SL_OK)
            begin_stream(c);
        else
            finish(c, err, diag.text, NULL);
    }
    call_unref(c);
}

void sl_rpc_server_call_request(struct sl_rpc_server *server)
{
    struct sl_rpc_server_call *c = calloc(1, sizeof *c);
    if (c == NULL) {
        sl_log(SL_LOG_ERROR, "rpc", "out of memory: the server takes fewer calls at once from now on");
        return;
    }
    c->base.ops = &GRPC_OPS;
    c->server = server;
    c->arrived_tag.done = on_arrived;
    c->over_tag.done = on_over;
    c->received_tag.done = on_received;
    c->sent_tag.done = on_sent;
    c->status_text = grpc_empty_slice();
    atomic_init(&c->refs, 1);
    queue_init(&c->inbox);
    queue_init(&c->taken);
    queue_init(&c->outbox);
    pthread_mutex_init(&c->taken_lock, NULL);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    grpc_call_details_init(&c->details);
    grpc_metadata_array_init(&c->metadata);
    sl_rpc_core_hand_over(&c->arrived_tag);
    if (grpc_server_request_call(server->core, &c->call, &c->details, &c->metadata, server->cq, server->cq, &c->arrived_tag) !=
        GRPC_CALL_OK)
        call_unref(c);
}
