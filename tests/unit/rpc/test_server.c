/* SPDX-License-Identifier: Apache-2.0 */
/* Server and client in one process, over a unix socket: every shape, limits, cancellation, drain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "rpc/client.h"
#include "rpc/message.h"
#include "rpc/server.h"
#include "rpc_test_service.h"
#include "sluice/test/v1/conformance.pb-c.h"
#include "sluice/v1/management.pb-c.h"

typedef Sluice__Test__V1__EchoRequest Request;
typedef Sluice__Test__V1__EchoResponse Response;
static const ProtobufCServiceDescriptor *const SERVICE = &sluice__test__v1__conformance__descriptor;

struct bench {
    char dir[64], path[80], target[96];
    struct test_service service;
    struct sl_metrics *metrics;
    struct sl_rpc_server *server;
    struct sl_rpc_client *client;
};

static uint64_t now_ms(void)
{
    const struct sl_clock *clock = sl_clock_system();
    return clock->mono_ns(clock->arg) / SL_NS_PER_MS;
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 2 * SL_NS_PER_MS}, NULL);
}

static void bench_dir(struct bench *b)
{
    memset(b, 0, sizeof *b);
    snprintf(b->dir, sizeof b->dir, "/tmp/sluice-rpc-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    snprintf(b->path, sizeof b->path, "%s/s", b->dir);
    snprintf(b->target, sizeof b->target, "unix:%s", b->path);
    test_service_init(&b->service);
}

static void bench_start(struct bench *b, struct sl_rpc_server_options options)
{
    struct sl_diag diag = {0};
    struct sl_rpc_client_options client = {.target = b->target};
    assert_int_equal(sl_metrics_new(&b->metrics), SL_OK);
    options.metrics = b->metrics;
    assert_int_equal(sl_rpc_server_new(&options, &b->server, &diag), SL_OK);
    assert_int_equal(sl_rpc_server_add_service(b->server, &b->service.service, &diag), SL_OK);
    if (sl_rpc_server_listen_unix(b->server, b->path, 0600, &diag) != SL_OK)
        fail_msg("%s", diag.text);
    assert_int_equal(sl_rpc_server_start(b->server, &diag), SL_OK);
    assert_int_equal(sl_rpc_client_new(&client, &b->client, &diag), SL_OK);
}

static void bench_open(struct bench *b, struct sl_rpc_server_options options)
{
    bench_dir(b);
    bench_start(b, options);
}

static void bench_close(struct bench *b)
{
    sl_rpc_client_free(b->client);
    sl_rpc_server_free(b->server);
    sl_metrics_free(b->metrics);
    assert_int_equal(access(b->path, F_OK), -1);
    assert_int_equal(rmdir(b->dir), 0);
}

static int64_t metric(struct bench *b, const char *name, enum sl_metric_kind kind)
{
    struct sl_metric *m = NULL;
    assert_int_equal(sl_metric_register(b->metrics, kind, name, "", &m), SL_OK);
    return sl_metric_get(m);
}

/* One call; on success *response is the caller's. */
static sl_err echo(struct bench *b, Request request, uint32_t timeout_ms, Response **response, struct sl_diag *diag)
{
    ProtobufCMessage *message = NULL;
    sl_err err = sl_rpc_client_call(b->client, SERVICE, "Echo", &request.base, timeout_ms, &message, diag);
    if (response != NULL)
        *response = (Response *)message;
    else
        sl_rpc_message_free(message);
    return err;
}

static Request request_of(const char *text)
{
    Request request = SLUICE__TEST__V1__ECHO_REQUEST__INIT;
    request.text = (char *)(uintptr_t)text;
    return request;
}

/* The number of the next response; -1: the end. */
static int64_t recv_number(struct sl_rpc_client_stream *stream)
{
    ProtobufCMessage *message = NULL;
    struct sl_diag diag;
    assert_int_equal(sl_rpc_client_recv(stream, &message, &diag), SL_OK);
    int64_t number = message != NULL ? ((Response *)message)->number : -1;
    sl_rpc_message_free(message);
    return number;
}

static struct sl_rpc_client_stream *open_stream(struct bench *b, const char *method, const Request *request, uint32_t timeout_ms)
{
    struct sl_rpc_client_stream *stream = NULL;
    struct sl_diag diag = {0};
    if (sl_rpc_client_open(b->client, SERVICE, method, timeout_ms, &stream, &diag) != SL_OK)
        fail_msg("%s: %s", method, diag.text);
    if (request != NULL) {
        assert_int_equal(sl_rpc_client_send(stream, &request->base, 0), SL_OK);
        assert_int_equal(sl_rpc_client_close_send(stream), SL_OK);
    }
    return stream;
}

/* ----------------------------------------------------------------------------------------------------------------------- shapes */

static void test_unary(void **state)
{
    struct bench b;
    struct sl_diag diag = {0};
    Response *response = NULL;
    (void)state;
    bench_open(&b, (struct sl_rpc_server_options){0});
    Request request = request_of("grüße");
    request.number = INT64_MIN;
    assert_int_equal(echo(&b, request, 0, &response, &diag), SL_OK);
    assert_string_equal(response->text, "grüße");
    assert_true(response->number == INT64_MIN);
    sl_rpc_message_free(&response->base);
    /* Each error arrives as itself, with the handler's words. */
    static const sl_err ERRORS[] = {SL_ERR_INVALID,  SL_ERR_LIMIT,       SL_ERR_NOT_FOUND, SL_ERR_EXISTS,  SL_ERR_STATE,
                                    SL_ERR_CORRUPT,  SL_ERR_UNSUPPORTED, SL_ERR_DENIED,    SL_ERR_TIMEOUT, SL_ERR_CANCELLED,
                                    SL_ERR_CONFLICT, SL_ERR_UNAVAILABLE, SL_ERR_AUTH};
    request = request_of("why");
    for (size_t i = 0; i < sizeof ERRORS / sizeof ERRORS[0]; i++) {
        request.error = ERRORS[i];
        assert_int_equal(echo(&b, request, 0, NULL, &diag), ERRORS[i]);
        assert_string_equal(diag.text, "asked to fail: why");
    }
    assert_int_equal(metric(&b, "sluice_rpc_calls_total{status=\"OK\"}", SL_COUNTER), 1);
    assert_int_equal(metric(&b, "sluice_rpc_calls_total{status=\"NOT_FOUND\"}", SL_COUNTER), 1);
    bench_close(&b);
}

static void test_server_stream(void **state)
{
    struct bench b;
    struct sl_diag diag = {0};
    Request request = request_of("end");
    (void)state;
    bench_open(&b, (struct sl_rpc_server_options){.stream_queue_messages = 8});
    request.count = 5000;
    request.error = SL_ERR_NOT_FOUND;
    struct sl_rpc_client_stream *stream = open_stream(&b, "Count", &request, 0);
    for (int64_t i = 0; i < 5000; i++)
        assert_true(recv_number(stream) == i);
    assert_true(recv_number(stream) == -1);
    assert_int_equal(sl_rpc_client_finish(stream, &diag), SL_ERR_NOT_FOUND);
    assert_string_equal(diag.text, "asked to fail: end");
    assert_int_equal(sl_rpc_client_finish(stream, &diag), SL_ERR_NOT_FOUND);
    sl_rpc_client_stream_free(stream);
    bench_close(&b);
}

static void test_client_stream(void **state)
{
    struct bench b;
    struct sl_diag diag = {0};
    Request request = request_of("");
    (void)state;
    bench_open(&b, (struct sl_rpc_server_options){0});
    struct sl_rpc_client_stream *stream = open_stream(&b, "Sum", NULL, 0);
    for (request.number = 1; request.number <= 10000; request.number++)
        assert_int_equal(sl_rpc_client_send(stream, &request.base, request.number % 64 != 0 ? SL_RPC_MORE : 0), SL_OK);
    assert_int_equal(sl_rpc_client_close_send(stream), SL_OK);
    assert_int_equal(sl_rpc_client_close_send(stream), SL_OK);
    assert_int_equal(sl_rpc_client_send(stream, &request.base, 0), SL_ERR_STATE);
    assert_true(recv_number(stream) == 10000 * 10001 / 2);
    assert_int_equal(sl_rpc_client_finish(stream, &diag), SL_OK);
    sl_rpc_client_stream_free(stream);
    /* The handler may fail before it has read everything. */
    stream = open_stream(&b, "Sum", NULL, 0);
    request.error = SL_ERR_CONFLICT;
    sl_err err = SL_OK;
    for (int i = 0; i < 100000 && err == SL_OK; i++)
        err = sl_rpc_client_send(stream, &request.base, 0);
    assert_int_equal(err, SL_ERR_CANCELLED);
    assert_int_equal(sl_rpc_client_finish(stream, &diag), SL_ERR_CONFLICT);
    sl_rpc_client_stream_free(stream);
    bench_close(&b);
}

static void test_bidi(void **state)
{
    struct bench b;
    struct sl_diag diag = {0};
    Request request = request_of("x");
    (void)state;
    bench_open(&b, (struct sl_rpc_server_options){0});
    struct sl_rpc_client_stream *stream = open_stream(&b, "Chat", NULL, 0);
    for (request.number = 0; request.number < 500; request.number++) {
        assert_int_equal(sl_rpc_client_send(stream, &request.base, 0), SL_OK);
        assert_true(recv_number(stream) == request.number);
    }
    assert_int_equal(sl_rpc_client_close_send(stream), SL_OK);
    assert_true(recv_number(stream) == -1);
    assert_int_equal(sl_rpc_client_finish(stream, &diag), SL_OK);
    sl_rpc_client_stream_free(stream);
    bench_close(&b);
}

static void *send_numbers(void *arg)
{
    Request request = request_of("both at once");
    for (request.number = 0; request.number < 20000; request.number++)
        assert_int_equal(sl_rpc_client_send(arg, &request.base, SL_RPC_MORE), SL_OK);
    assert_int_equal(sl_rpc_client_close_send(arg), SL_OK);
    return NULL;
}

static void test_bidi_from_two_threads(void **state)
{
    struct bench b;
    pthread_t sender;
    (void)state;
    bench_open(&b, (struct sl_rpc_server_options){0});
    struct sl_rpc_client_stream *stream = open_stream(&b, "Chat", NULL, 0);
    assert_int_equal(pthread_create(&sender, NULL, send_numbers, stream), 0);
    for (int64_t i = 0; i < 20000; i++)
        assert_true(recv_number(stream) == i);
    assert_true(recv_number(stream) == -1);
    pthread_join(sender, NULL);
    assert_int_equal(sl_rpc_client_finish(stream, NULL), SL_OK);
    sl_rpc_client_stream_free(stream);
    bench_close(&b);
}

/* ----------------------------------------------------------------------------------------------------------------------- identity
 */

static void test_peer_credentials(void **state)
{
    struct bench b;
    struct stat st;
    Request request = request_of("");
    ProtobufCMessage *message = NULL;
    (void)state;
    bench_open(&b, (struct sl_rpc_server_options){0});
    assert_int_equal(stat(b.path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(sl_rpc_client_call(b.client, SERVICE, "WhoAmI", &request.base, 30000, &message, NULL), SL_OK);
    Sluice__Test__V1__Identity *id = (Sluice__Test__V1__Identity *)message;
    assert_true(id->local);
    assert_false(id->authenticated);
    assert_int_equal(id->uid, getuid());
    assert_int_equal(id->gid, getgid());
    assert_int_equal(id->pid, getpid());
    assert_true(id->remaining_ns > 0 && id->remaining_ns <= 31ull * SL_NS_PER_S);
    sl_rpc_message_free(message);
    assert_int_equal(sl_rpc_client_call(b.client, SERVICE, "WhoAmI", &request.base, 0, &message, NULL), SL_OK);
    assert_true(((Sluice__Test__V1__Identity *)message)->remaining_ns == UINT64_MAX);
    sl_rpc_message_free(message);
    bench_close(&b);
}

/* ------------------------------------------------------------------------------------------------------------------------- limits
 */

static void test_message_limits(void **state)
{
    struct bench b;
    struct sl_diag diag = {0};
    static uint8_t data[200000];
    struct sl_rpc_client *wide = NULL;
    Request request = request_of("");
    (void)state;
    bench_open(&b, (struct sl_rpc_server_options){.max_message_bytes = 100000});
    request.data = (ProtobufCBinaryData){.len = 99000, .data = data};
    assert_int_equal(echo(&b, request, 0, NULL, &diag), SL_OK);
    request.data.len = 101000;
    assert_int_equal(echo(&b, request, 0, NULL, &diag), SL_ERR_LIMIT);
    assert_non_null(strstr(diag.text, "larger than max"));
    /* A response that is too large. */
    request.data.len = 0;
    request.size = 101000;
    assert_int_equal(echo(&b, request, 0, NULL, &diag), SL_ERR_LIMIT);
    assert_string_equal(diag.text, "the response is larger than 100000 bytes");
    request.size = 0;
    assert_int_equal(echo(&b, request, 0, NULL, &diag), SL_OK);
    /* In a stream, while the handler reads: it must not take what came for the whole. */
    struct sl_rpc_client_stream *stream = open_stream(&b, "Sum", NULL, 0);
    request.number = 1;
    assert_int_equal(sl_rpc_client_send(stream, &request.base, 0), SL_OK);
    request.data.len = 101000;
    (void)sl_rpc_client_send(stream, &request.base, 0);
    assert_int_equal(sl_rpc_client_finish(stream, &diag), SL_ERR_LIMIT);
    sl_rpc_client_stream_free(stream);
    while (atomic_load(&b.service.cancelled) != 1)
        nap();
    /* The client has limits, too. */
    struct sl_rpc_client_options narrow = {.target = b.target, .max_message_bytes = 1000};
    assert_int_equal(sl_rpc_client_new(&narrow, &wide, &diag), SL_OK);
    ProtobufCMessage *message = NULL;
    request.data.len = 2000;
    assert_int_equal(sl_rpc_client_call(wide, SERVICE, "Echo", &request.base, 0, &message, &diag), SL_ERR_LIMIT);
    assert_string_equal(diag.text, "the request is larger than 1000 bytes");
    request.data.len = 0;
    request.size = 2000;
    assert_int_equal(sl_rpc_client_call(wide, SERVICE, "Echo", &request.base, 0, &message, &diag), SL_ERR_LIMIT);
    sl_rpc_client_free(wide);
    bench_close(&b);
}

static void test_call_limit(void **state)
{
    enum { LIMIT = 3 };
    struct bench b;
    struct sl_diag diag = {0};
    struct sl_rpc_client_stream *held[LIMIT];
    Request request = request_of("");
    struct sl_rpc_client *other = NULL;
    struct sl_rpc_client_options options;
    (void)state;
    bench_open(&b, (struct sl_rpc_server_options){.max_calls = LIMIT});
    for (int i = 0; i < LIMIT; i++)
        held[i] = open_stream(&b, "Watch", &request, 0);
    while (test_service_watchers(&b.service) != LIMIT)
        nap();
    /* Another connection: on the first one HTTP/2 itself holds the call back. */
    options = (struct sl_rpc_client_options){.target = b.target};
    assert_int_equal(sl_rpc_client_new(&options, &other, &diag), SL_OK);
    ProtobufCMessage *message = NULL;
    assert_int_equal(sl_rpc_client_call(other, SERVICE, "Echo", &request.base, 0, &message, &diag), SL_ERR_LIMIT);
    assert_string_equal(diag.text, "more than 3 calls at once");
    for (int i = 0; i < LIMIT; i++)
        sl_rpc_client_stream_free(held[i]);
    while (sl_rpc_server_active_calls(b.server) != 0)
        nap();
    assert_int_equal(sl_rpc_client_call(other, SERVICE, "Echo", &request.base, 0, &message, &diag), SL_OK);
    sl_rpc_message_free(message);
    sl_rpc_client_free(other);
    bench_close(&b);
}

static int connect_raw(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void test_connection_limit_and_noise(void **state)
{
    enum { LIMIT = 4 };
    struct bench b;
    Request request = request_of("");
    int fds[LIMIT];
    (void)state;
    bench_open(&b, (struct sl_rpc_server_options){.max_local_connections = LIMIT});
    for (int i = 0; i < LIMIT; i++)
        fds[i] = connect_raw(b.path);
    while (metric(&b, "sluice_rpc_local_connections", SL_GAUGE) != LIMIT)
        nap();
    assert_int_equal(echo(&b, request, 0, NULL, NULL), SL_ERR_UNAVAILABLE);
    /* What isn't HTTP/2 is hung up on; places become free. */
    for (int i = 0; i < LIMIT; i++) {
        static const char NOISE[] = "\0\xff\x16\x03\x01GET / HTTP/1.1\r\n\r\n";
        (void)!write(fds[i], NOISE, sizeof NOISE);
        close(fds[i]);
    }
    while (metric(&b, "sluice_rpc_local_connections", SL_GAUGE) != 0)
        nap();
    sl_err err;
    while ((err = echo(&b, request, 0, NULL, NULL)) == SL_ERR_UNAVAILABLE)
        nap();
    assert_int_equal(err, SL_OK);
    bench_close(&b);
}

static void test_unknown_methods(void **state)
{
    struct bench b;
    struct sl_diag diag = {0};
    Sluice__V1__GetStatusRequest status = SLUICE__V1__GET_STATUS_REQUEST__INIT;
    Request request = request_of("");
    ProtobufCMessage *message = NULL;
    struct sl_rpc_client_stream *stream = NULL;
    (void)state;
    bench_open(&b, (struct sl_rpc_server_options){0});
    assert_int_equal(
        sl_rpc_client_call(b.client, &sluice__v1__management__descriptor, "GetStatus", &status.base, 0, &message, &diag),
        SL_ERR_UNSUPPORTED);
    assert_string_equal(diag.text, "there is no method sluice.v1.Management/GetStatus");
    assert_int_equal(sl_rpc_client_call(b.client, SERVICE, "Nothing", &request.base, 0, &message, &diag), SL_ERR_INVALID);
    assert_int_equal(sl_rpc_client_call(b.client, SERVICE, "Echo", &status.base, 0, &message, &diag), SL_ERR_INVALID);
    assert_int_equal(sl_rpc_client_open(b.client, SERVICE, "Nothing", 0, &stream, &diag), SL_ERR_INVALID);
    bench_close(&b);
}

/* ------------------------------------------------------------------------------------------------------- deadlines, cancellation
 */

static void test_deadline(void **state)
{
    struct bench b;
    struct sl_diag diag = {0};
    Request request = request_of("");
    (void)state;
    bench_open(&b, (struct sl_rpc_server_options){0});
    request.delay_ms = 60000;
    assert_int_equal(echo(&b, request, 50, NULL, &diag), SL_ERR_TIMEOUT);
    while (atomic_load(&b.service.cancelled) != 1)
        nap();
    struct sl_rpc_client_stream *stream = open_stream(&b, "Watch", &request, 50);
    while (recv_number(stream) >= 0)
        nap();
    assert_int_equal(sl_rpc_client_finish(stream, &diag), SL_ERR_TIMEOUT);
    sl_rpc_client_stream_free(stream);
    while (atomic_load(&b.service.cancelled) != 2)
        nap();
    bench_close(&b);
}

static void *cancel_soon(void *arg)
{
    for (int i = 0; i < 10; i++)
        nap();
    sl_rpc_client_cancel(arg);
    return NULL;
}

static void test_cancel(void **state)
{
    static const char *const METHODS[] = {"Watch", "Count", "Sum", "Chat"};
    struct bench b;
    (void)state;
    bench_open(&b, (struct sl_rpc_server_options){0});
    for (unsigned i = 0; i < 4; i++) {
        pthread_t canceller;
        struct sl_diag diag = {0};
        Request request = request_of("");
        request.delay_ms = 60000;
        request.count = 1;
        struct sl_rpc_client_stream *stream = open_stream(&b, METHODS[i], i < 2 ? &request : NULL, 0);
        /* The handler is there before the cancellation: otherwise nothing would be cancelled in it. */
        while (atomic_load(&b.service.started) != i + 1)
            nap();
        assert_int_equal(pthread_create(&canceller, NULL, cancel_soon, stream), 0);
        while (recv_number(stream) >= 0)
            ;
        pthread_join(canceller, NULL);
        assert_int_equal(sl_rpc_client_finish(stream, &diag), SL_ERR_CANCELLED);
        sl_rpc_client_stream_free(stream);
        while (atomic_load(&b.service.cancelled) != i + 1)
            nap();
    }
    /* Freed in the middle. */
    struct sl_rpc_client_stream *stream = open_stream(&b, "Chat", NULL, 0);
    sl_rpc_client_stream_free(stream);
    bench_close(&b);
}

static void test_nobody_there(void **state)
{
    struct bench b;
    struct sl_diag diag = {0};
    Request request = request_of("");
    struct sl_rpc_client_options options;
    struct sl_rpc_client_stream *stream = NULL;
    (void)state;
    bench_dir(&b);
    options = (struct sl_rpc_client_options){.target = b.target};
    assert_int_equal(sl_rpc_client_new(&options, &b.client, &diag), SL_OK);
    assert_int_equal(echo(&b, request, 0, NULL, &diag), SL_ERR_UNAVAILABLE);
    assert_true(strlen(diag.text) > 0);
    assert_int_equal(sl_rpc_client_open(b.client, SERVICE, "Watch", 0, &stream, &diag), SL_ERR_UNAVAILABLE);
    sl_rpc_client_free(b.client);
    rmdir(b.dir);
    options = (struct sl_rpc_client_options){.target = "localhost:1"};
    assert_int_equal(sl_rpc_client_new(&options, &b.client, &diag), SL_ERR_INVALID);
    assert_string_equal(diag.text, "localhost:1: without TLS only unix: addresses are allowed");
    options = (struct sl_rpc_client_options){0};
    assert_int_equal(sl_rpc_client_new(&options, &b.client, &diag), SL_ERR_INVALID);
}

/* -------------------------------------------------------------------------------------------------------------------- publishing
 */

static void test_a_slow_watcher_loses_messages_but_holds_nobody_up(void **state)
{
    struct bench b;
    struct sl_diag diag = {0};
    Request request = request_of("");
    (void)state;
    bench_open(&b, (struct sl_rpc_server_options){.stream_queue_messages = 4});
    struct sl_rpc_client_stream *stream = open_stream(&b, "Watch", &request, 0);
    while (test_service_watchers(&b.service) != 1)
        nap();
    /* Nobody reads: windows and queue fill up, and the publisher is told. */
    int64_t n = 0;
    while (atomic_load(&b.service.dropped) < 1000)
        test_service_publish(&b.service, n++);
    assert_true(metric(&b, "sluice_rpc_stream_messages_dropped_total", SL_COUNTER) == (int64_t)atomic_load(&b.service.dropped));
    unsigned long published = atomic_load(&b.service.published);
    assert_true(published > 0);
    int64_t last = -1;
    for (unsigned long i = 0; i < published; i++) {
        int64_t number = recv_number(stream);
        assert_true(number > last);
        last = number;
    }
    assert_int_equal(test_service_publish(&b.service, n), 1);
    assert_true(recv_number(stream) == n);
    sl_rpc_client_cancel(stream);
    assert_int_equal(sl_rpc_client_finish(stream, &diag), SL_ERR_CANCELLED);
    sl_rpc_client_stream_free(stream);
    bench_close(&b);
}

/* ------------------------------------------------------------------------------------------------------------------- concurrency
 */

static void *hammer(void *arg)
{
    struct bench *b = arg;
    for (int i = 0; i < 40; i++) {
        Response *response = NULL;
        Request request = request_of("n");
        request.number = i;
        assert_int_equal(echo(b, request, 0, &response, NULL), SL_OK);
        assert_true(response->number == i);
        sl_rpc_message_free(&response->base);
        request.count = 10;
        struct sl_rpc_client_stream *stream = open_stream(b, "Count", &request, 0);
        for (int64_t j = 0; j < 10; j++)
            assert_true(recv_number(stream) == j);
        assert_int_equal(sl_rpc_client_finish(stream, NULL), SL_OK);
        sl_rpc_client_stream_free(stream);
    }
    return NULL;
}

static void test_concurrent_callers(void **state)
{
    struct bench b;
    pthread_t threads[24];
    (void)state;
    bench_open(&b, (struct sl_rpc_server_options){0});
    for (int i = 0; i < 24; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &b), 0);
    for (int i = 0; i < 24; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&b.service.finished), 24 * 40 * 2);
    while (sl_rpc_server_active_calls(b.server) != 0)
        nap();
    assert_int_equal(metric(&b, "sluice_rpc_calls_active", SL_GAUGE), 0);
    bench_close(&b);
}

/* ------------------------------------------------------------------------------------------------------------------------ shutdown
 */

struct late_call {
    struct bench *b;
    uint32_t delay_ms;
    sl_err err;
};

static void *call_late(void *arg)
{
    struct late_call *late = arg;
    Request request = request_of("late");
    request.delay_ms = late->delay_ms;
    late->err = echo(late->b, request, 0, NULL, NULL);
    return NULL;
}

static void test_drain(void **state)
{
    static const struct {
        uint32_t delay_ms, drain_ms;
        bool finishes;
    } T[] = {{100, 60000, true}, {60000, 50, false}, {60000, 0, false}};
    (void)state;
    for (size_t i = 0; i < sizeof T / sizeof T[0]; i++) {
        struct bench b;
        struct sl_diag diag = {0};
        Request request = request_of("");
        pthread_t thread;
        bench_open(&b, (struct sl_rpc_server_options){0});
        struct late_call late = {.b = &b, .delay_ms = T[i].delay_ms};
        struct sl_rpc_client_stream *watcher = open_stream(&b, "Watch", &request, 0);
        assert_int_equal(pthread_create(&thread, NULL, call_late, &late), 0);
        while (atomic_load(&b.service.started) != 2)
            nap();
        uint64_t before = now_ms();
        sl_rpc_server_stop(b.server, T[i].drain_ms);
        assert_true(now_ms() - before < 30000);
        assert_int_equal(atomic_load(&b.service.finished), 2);
        assert_int_equal(sl_rpc_server_active_calls(b.server), 0);
        pthread_join(thread, NULL);
        if (T[i].finishes) {
            assert_int_equal(late.err, SL_OK);
            assert_int_equal(sl_rpc_client_finish(watcher, &diag), SL_ERR_UNAVAILABLE);
            assert_string_equal(diag.text, "the server is shutting down");
        } else {
            assert_int_not_equal(late.err, SL_OK);
        }
        sl_rpc_client_stream_free(watcher);
        assert_int_equal(echo(&b, request, 0, NULL, &diag), SL_ERR_UNAVAILABLE);
        sl_rpc_server_stop(b.server, 0);
        bench_close(&b);
    }
}

static void test_restart_and_stale_socket(void **state)
{
    struct bench b, second;
    struct sl_diag diag = {0};
    Request request = request_of("");
    (void)state;
    bench_open(&b, (struct sl_rpc_server_options){0});
    assert_int_equal(echo(&b, request, 0, NULL, NULL), SL_OK);
    /* Somebody is there. */
    memset(&second, 0, sizeof second);
    assert_int_equal(sl_rpc_server_new(NULL, &second.server, &diag), SL_OK);
    assert_int_equal(sl_rpc_server_listen_unix(second.server, b.path, 0600, &diag), SL_ERR_EXISTS);
    assert_non_null(strstr(diag.text, "another process is listening there"));
    char file[96];
    snprintf(file, sizeof file, "%s/file", b.dir);
    fclose(fopen(file, "w"));
    assert_int_equal(sl_rpc_server_listen_unix(second.server, file, 0600, &diag), SL_ERR_EXISTS);
    unlink(file);
    char longer[200];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(sl_rpc_server_listen_unix(second.server, longer, 0600, &diag), SL_ERR_INVALID);
    assert_int_equal(sl_rpc_server_listen_unix(second.server, "", 0600, &diag), SL_ERR_INVALID);
    assert_int_equal(sl_rpc_server_listen_unix(second.server, "/nonexistent/s", 0600, &diag), SL_ERR_IO);
    sl_rpc_server_free(second.server);
    /* The server dies and leaves its socket behind; the client finds the next one. */
    sl_rpc_server_stop(b.server, 0);
    sl_rpc_server_free(b.server);
    sl_metrics_free(b.metrics);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", b.path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
    struct sl_rpc_client *client = b.client;
    bench_start(&b, (struct sl_rpc_server_options){0});
    sl_rpc_client_free(b.client);
    b.client = client;
    sl_err err;
    while ((err = echo(&b, request, 0, NULL, NULL)) == SL_ERR_UNAVAILABLE)
        nap();
    assert_int_equal(err, SL_OK);
    assert_int_equal(sl_rpc_server_start(b.server, &diag), SL_ERR_STATE);
    assert_int_equal(sl_rpc_server_add_service(b.server, &b.service.service, &diag), SL_ERR_STATE);
    assert_int_equal(sl_rpc_server_listen_unix(b.server, b.path, 0600, &diag), SL_ERR_STATE);
    bench_close(&b);
}

static void test_never_started(void **state)
{
    struct sl_rpc_server *server = NULL;
    (void)state;
    assert_int_equal(sl_rpc_server_new(NULL, &server, NULL), SL_OK);
    sl_rpc_server_stop(server, 0);
    sl_rpc_server_free(server);
    sl_rpc_server_free(NULL);
    sl_rpc_client_free(NULL);
    sl_rpc_client_stream_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_never_started),
        cmocka_unit_test(test_unary),
        cmocka_unit_test(test_server_stream),
        cmocka_unit_test(test_client_stream),
        cmocka_unit_test(test_bidi),
        cmocka_unit_test(test_bidi_from_two_threads),
        cmocka_unit_test(test_peer_credentials),
        cmocka_unit_test(test_message_limits),
        cmocka_unit_test(test_call_limit),
        cmocka_unit_test(test_connection_limit_and_noise),
        cmocka_unit_test(test_unknown_methods),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_a_slow_watcher_loses_messages_but_holds_nobody_up),
        cmocka_unit_test(test_concurrent_callers),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_restart_and_stale_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
