/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc_test_service.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "rpc/message.h"
#include "sluice/test/v1/conformance.pb-c.h"

typedef Sluice__Test__V1__EchoRequest Request;
typedef Sluice__Test__V1__EchoResponse Response;

static sl_err set_text(char **field, const char *text)
{
    char *copy = strdup(text);
    if (copy == NULL)
        return SL_ERR_NOMEM;
    *field = copy;
    return SL_OK;
}

static sl_err sleep_ms(struct test_service *t, struct sl_rpc_call *call, uint32_t ms)
{
    if (ms == 0)
        return SL_OK;
    /* A finite piece of work goes on while the server drains; only a cancellation ends it. */
    const struct sl_clock *clock = sl_clock_system();
    uint64_t until = clock->mono_ns(clock->arg) + (uint64_t)ms * SL_NS_PER_MS;
    while (clock->mono_ns(clock->arg) < until) {
        if (sl_rpc_call_cancelled(call)) {
            atomic_fetch_add(&t->cancelled, 1);
            return SL_ERR_CANCELLED;
        }
        nanosleep(&(struct timespec){.tv_nsec = 2 * SL_NS_PER_MS}, NULL);
    }
    return SL_OK;
}

static sl_err echo(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *in, ProtobufCMessage *out, struct sl_diag *diag)
{
    struct test_service *t = arg;
    const Request *request = (const Request *)in;
    Response *response = (Response *)out;
    atomic_fetch_add(&t->started, 1);
    sl_err err = sleep_ms(t, call, request->delay_ms);
    if (err == SL_OK && request->error != 0)
        err = sl_fail(diag, request->error, "asked to fail: %s", request->text);
    if (err == SL_OK)
        err = set_text(&response->text, request->text);
    response->number = request->number;
    if (err == SL_OK && request->size > 0) {
        response->data.data = calloc(1, request->size);
        response->data.len = response->data.data != NULL ? request->size : 0;
    }
    atomic_fetch_add(&t->finished, 1);
    return err;
}

static sl_err count(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *in, ProtobufCMessage *out, struct sl_diag *diag)
{
    struct test_service *t = arg;
    const Request *request = (const Request *)in;
    sl_err err = SL_OK;
    (void)out;
    atomic_fetch_add(&t->started, 1);
    uint8_t *data = calloc(1, (size_t)request->size + 1);
    for (uint32_t i = 0; i < request->count && err == SL_OK && data != NULL; i++) {
        Response response = SLUICE__TEST__V1__ECHO_RESPONSE__INIT;
        response.number = i;
        response.data = (ProtobufCBinaryData){.len = request->size, .data = data};
        err = sleep_ms(t, call, request->delay_ms);
        if (err == SL_OK)
            err = sl_rpc_call_send(call, &response.base, i + 1 < request->count && request->delay_ms == 0 ? SL_RPC_MORE : 0);
        if (err == SL_ERR_CANCELLED && request->delay_ms == 0)
            atomic_fetch_add(&t->cancelled, 1);
    }
    free(data);
    if (err == SL_OK && request->error != 0)
        err = sl_fail(diag, request->error, "asked to fail: %s", request->text);
    atomic_fetch_add(&t->finished, 1);
    return err;
}

static sl_err sum(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *in, ProtobufCMessage *out, struct sl_diag *diag)
{
    struct test_service *t = arg;
    Response *response = (Response *)out;
    ProtobufCMessage *message = NULL;
    sl_err err;
    (void)in;
    atomic_fetch_add(&t->started, 1);
    while ((err = sl_rpc_call_recv(call, &message)) == SL_OK && message != NULL) {
        Request *request = (Request *)message;
        response->number += request->number;
        if (request->error != 0)
            err = sl_fail(diag, request->error, "asked to fail: %s", request->text);
        sl_rpc_message_free(message);
        if (err != SL_OK)
            break;
    }
    if (err == SL_ERR_CANCELLED)
        atomic_fetch_add(&t->cancelled, 1);
    atomic_fetch_add(&t->finished, 1);
    return err;
}

static sl_err chat(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *in, ProtobufCMessage *out, struct sl_diag *diag)
{
    struct test_service *t = arg;
    ProtobufCMessage *message = NULL;
    sl_err err;
    (void)in, (void)out, (void)diag;
    atomic_fetch_add(&t->started, 1);
    while ((err = sl_rpc_call_recv(call, &message)) == SL_OK && message != NULL) {
        Request *request = (Request *)message;
        Response response = SLUICE__TEST__V1__ECHO_RESPONSE__INIT;
        response.text = request->text;
        response.number = request->number;
        response.data = request->data;
        err = sl_rpc_call_send(call, &response.base, 0);
        sl_rpc_message_free(message);
        if (err != SL_OK)
            break;
    }
    if (err == SL_ERR_CANCELLED)
        atomic_fetch_add(&t->cancelled, 1);
    atomic_fetch_add(&t->finished, 1);
    return err;
}

/* The pattern for event streams: subscribe, sleep until the end, unsubscribe before returning. */
static sl_err watch(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *in, ProtobufCMessage *out, struct sl_diag *diag)
{
    struct test_service *t = arg;
    size_t slot = TEST_WATCHERS_MAX;
    (void)in, (void)out;
    atomic_fetch_add(&t->started, 1);
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < TEST_WATCHERS_MAX && slot == TEST_WATCHERS_MAX; i++)
        if (t->watchers[i] == NULL)
            t->watchers[slot = i] = call;
    pthread_mutex_unlock(&t->lock);
    if (slot == TEST_WATCHERS_MAX)
        return sl_fail(diag, SL_ERR_LIMIT, "too many watchers");
    sl_err err = sl_rpc_call_wait(call, UINT64_MAX);
    pthread_mutex_lock(&t->lock);
    t->watchers[slot] = NULL;
    pthread_mutex_unlock(&t->lock);
    if (err == SL_ERR_CANCELLED)
        atomic_fetch_add(&t->cancelled, 1);
    atomic_fetch_add(&t->finished, 1);
    return err == SL_ERR_UNAVAILABLE ? sl_fail(diag, err, "the server is shutting down") : err;
}

static sl_err who_am_i(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *in, ProtobufCMessage *out, struct sl_diag *diag)
{
    const struct sl_rpc_peer *peer = sl_rpc_call_peer(call);
    Sluice__Test__V1__Identity *id = (Sluice__Test__V1__Identity *)out;
    (void)arg, (void)in, (void)diag;
    id->local = peer->local;
    id->authenticated = peer->authenticated;
    id->uid = peer->uid;
    id->gid = peer->gid;
    id->pid = (uint32_t)peer->pid;
    id->remaining_ns = sl_rpc_call_remaining_ns(call);
    sl_err err = set_text(&id->common_name, peer->common_name);
    if (err == SL_OK)
        err = set_text(&id->alt_names, peer->alt_names);
    return err == SL_OK ? set_text(&id->address, peer->address) : err;
}

/* Without pipes: the server has none besides its standard streams, but a sanitizer may start its symbolizer, and talk to it through
 * two of them, at any time. */
static uint64_t open_descriptors(void)
{
    char target[64];
    uint64_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        ssize_t len = readlinkat(dirfd(dir), entry->d_name, target, sizeof target);
        n += len < 5 || memcmp(target, "pipe:", 5) != 0;
    }
    if (dir != NULL)
        closedir(dir);
    return n;
}

static sl_err get_counters(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *in, ProtobufCMessage *out,
                           struct sl_diag *diag)
{
    struct test_service *t = arg;
    Sluice__Test__V1__Counters *counters = (Sluice__Test__V1__Counters *)out;
    (void)call, (void)in, (void)diag;
    counters->started = atomic_load(&t->started);
    counters->finished = atomic_load(&t->finished);
    counters->cancelled = atomic_load(&t->cancelled);
    counters->open_descriptors = open_descriptors();
    return SL_OK;
}

static const struct sl_rpc_method METHODS[] = {
    {"Echo", SL_RPC_UNARY, echo},
    {"Count", SL_RPC_SERVER_STREAM, count},
    {"Sum", SL_RPC_CLIENT_STREAM, sum},
    {"Chat", SL_RPC_BIDI, chat},
    {"Watch", SL_RPC_SERVER_STREAM, watch},
    {"WhoAmI", SL_RPC_UNARY, who_am_i},
    {"GetCounters", SL_RPC_UNARY, get_counters},
};

void test_service_init(struct test_service *t)
{
    memset(t, 0, sizeof *t);
    pthread_mutex_init(&t->lock, NULL);
    t->service = (struct sl_rpc_service){
        .descriptor = &sluice__test__v1__conformance__descriptor,
        .methods = METHODS,
        .method_count = sizeof METHODS / sizeof METHODS[0],
        .arg = t,
    };
}

unsigned test_service_publish(struct test_service *t, int64_t number)
{
    unsigned sent = 0;
    Response response = SLUICE__TEST__V1__ECHO_RESPONSE__INIT;
    response.number = number;
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < TEST_WATCHERS_MAX; i++) {
        if (t->watchers[i] == NULL)
            continue;
        sl_err err = sl_rpc_call_try_send(t->watchers[i], &response.base, 0);
        sent += err == SL_OK;
        atomic_fetch_add(err == SL_OK ? &t->published : &t->dropped, 1);
    }
    pthread_mutex_unlock(&t->lock);
    return sent;
}

unsigned test_service_watchers(struct test_service *t)
{
    unsigned n = 0;
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < TEST_WATCHERS_MAX; i++)
        n += t->watchers[i] != NULL;
    pthread_mutex_unlock(&t->lock);
    return n;
}
