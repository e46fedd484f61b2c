/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "run.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "event/event.h"
#include "event/store.h"
#include "gateway/worker.h"
#include "pki/trust.h"
#include "policy/snapshot.h"
#include "policy/yaml.h"
#include "rpc/message.h"

enum { PATIENCE_S = 60 };
#define PATIENCE_NS ((uint64_t)PATIENCE_S * SL_NS_PER_S)

/* ---- the gateway ---- */

static struct sl_policy_snapshot *policy(const char *settings)
{
    Sluice__V1__Config *config = NULL;
    struct sl_policy_snapshot *snapshot = NULL;
    struct sl_diag diag = {""};
    char yaml[1024] = "settings:\n";

    for (const char *at = settings; *at;) {
        size_t line = strcspn(at, "\n"), used = strlen(yaml);
        snprintf(yaml + used, sizeof yaml - used, "  %.*s\n", (int)line, at);
        at += line + (at[line] == '\n');
    }
    if (sl_policy_yaml_parse(yaml, strlen(yaml), &config, &diag) || sl_policy_snapshot_new(config, 1, &snapshot, &diag))
        fail_msg("%s", diag.text);
    sl_rpc_message_free(&config->base);
    return snapshot;
}

static int loopback(struct sockaddr_in *at, uint16_t port)
{
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *at = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    return fd;
}

static uint16_t bound_port(int fd)
{
    struct sockaddr_in at;
    socklen_t size = sizeof at;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    return ntohs(at.sin_port);
}

struct run *run_start(const char *settings)
{
    struct run *r = calloc(1, sizeof *r);
    struct sockaddr_in at;
    struct sl_runtime *runtime = NULL;
    struct sl_diag diag = {""};
    char path[96];

    r->world = test_world_new();
    snprintf(r->folder, sizeof r->folder, "flow-XXXXXX");
    assert_non_null(mkdtemp(r->folder));
    snprintf(path, sizeof path, "%s/events.db", r->folder);
    assert_int_equal(sl_metrics_new(&r->metrics), SL_OK);
    assert_int_equal(sl_event_store_open(&(struct sl_event_store_options){.path = path}, &r->events, &diag), SL_OK);
    r->origin = loopback(&at, 0);
    assert_int_equal(bind(r->origin, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(r->origin, 16), 0);
    r->origin_port = bound_port(r->origin);
    assert_int_equal(
        sl_runtime_new(policy(settings), sl_trust_ref(r->world->trust), sl_ca_ref(r->world->ca), sl_ca_ref(r->world->ca), &runtime),
        SL_OK);
    struct sl_gateway_options options = {.workers = 1,
                                         .listener_count = 1,
                                         .device_name = "test",
                                         .allow_local_servers = true,
                                         .clock = sl_clock_system(),
                                         .metrics = r->metrics,
                                         .events = r->events};
    options.listeners[0].kind = SL_LISTEN_EXPLICIT;
    assert_int_equal(sl_endpoint_parse("127.0.0.1", 0, &options.listeners[0].at), SL_OK);
    if (sl_gateway_start(&options, runtime, &r->gateway, &diag))
        fail_msg("%s", diag.text);
    r->port = bound_port(r->gateway->workers[0].listeners[0].fd);
    return r;
}

void run_stop(struct run *r)
{
    if (r->gateway) {
        sl_gateway_drain(r->gateway, 0);
        sl_gateway_free(r->gateway);
    }
    sl_event_store_close(r->events);
    sl_metrics_free(r->metrics);
    close(r->origin);
    test_world_free(r->world);
    for (const char *const *suffix = (const char *const[]){"", "-wal", "-shm", NULL}; *suffix; suffix++) {
        char path[96];
        snprintf(path, sizeof path, "%s/events.db%s", r->folder, *suffix);
        unlink(path);
    }
    rmdir(r->folder);
    free(r);
}

Sluice__V1__Event *run_event(struct run *r)
{
    struct sl_event_list list = {0};
    Sluice__V1__ListEventsRequest filter;
    struct sl_diag diag = {""};

    for (int i = 0; i < PATIENCE_S * 100 && sl_gateway_active(r->gateway) > 0; i++)
        usleep(10000);
    assert_int_equal(sl_gateway_active(r->gateway), 0);
    assert_int_equal(sl_event_store_flush(r->events, PATIENCE_NS), SL_OK);
    sluice__v1__list_events_request__init(&filter);
    assert_int_equal(sl_event_store_list(r->events, &filter, &list, &diag), SL_OK);
    assert_true(list.count > 0);
    Sluice__V1__Event *event = list.items[0];
    list.items[0] = NULL;
    for (size_t i = 1; i < list.count; i++)
        sl_event_free(list.items[i]);
    free(list.items);
    return event;
}

/* ---- sockets ---- */

int run_client(struct run *r)
{
    struct sockaddr_in at;
    int fd = loopback(&at, r->port);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

int run_accept(struct run *r)
{
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = accept4(r->origin, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    return fd;
}

void run_send(int fd, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        assert_true(n > 0);
        at += n;
        len -= (size_t)n;
    }
}

void run_receive(int fd, void *bytes, size_t len)
{
    uint8_t *at = bytes;
    while (len > 0) {
        ssize_t n = recv(fd, at, len, 0);
        assert_true(n > 0);
        at += n;
        len -= (size_t)n;
    }
}

void run_receive_end(int fd)
{
    char byte;
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
}

void run_reset(int fd)
{
    sl_net_close_reset(fd);
}

void run_tunnel(struct run *r, int *client, int *server, const void *more, size_t more_len)
{
    char request[128], answer[64];
    const char *expected = "HTTP/1.1 200 Connection established\r\n\r\n";

    *client = run_client(r);
    snprintf(request, sizeof request, "CONNECT 127.0.0.1:%u HTTP/1.1\r\n\r\n", (unsigned)r->origin_port);
    run_send(*client, request, strlen(request));
    if (more)
        run_send(*client, more, more_len);
    *server = run_accept(r);
    run_receive(*client, answer, strlen(expected));
    assert_memory_equal(answer, expected, strlen(expected));
}

/* ---- TLS ---- */

static void move_out(struct test_peer *p, int fd)
{
    uint8_t bytes[4096];
    int n;
    while ((n = BIO_read(p->out, bytes, sizeof bytes)) > 0)
        run_send(fd, bytes, (size_t)n);
}

bool run_move(struct test_peer *p, int fd)
{
    uint8_t bytes[4096];

    move_out(p, fd);
    ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n > 0)
        assert_int_equal(BIO_write(p->in, bytes, (int)n), n);
    return n != 0;
}

void run_handshake(struct test_peer *client, int client_fd, struct test_peer *server, int server_fd)
{
    struct pollfd fds[2] = {{.fd = client_fd, .events = POLLIN}, {.fd = server_fd, .events = POLLIN}};
    bool done = false;

    while (!done) {
        int c = SSL_do_handshake(client->ssl), s = SSL_do_handshake(server->ssl);
        done = c == 1 && s == 1;
        move_out(client, client_fd);
        move_out(server, server_fd);
        if (done)
            break;
        assert_true(poll(fds, 2, PATIENCE_S * 1000) > 0);
        assert_true(run_move(client, client_fd));
        assert_true(run_move(server, server_fd));
    }
    ERR_clear_error();
}

int run_tls_read(struct test_peer *p, int fd, void *out, int cap)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};

    for (;;) {
        int n = SSL_read(p->ssl, out, cap);
        int error = SSL_get_error(p->ssl, n);
        ERR_clear_error();
        if (n > 0)
            return n;
        if (error != SSL_ERROR_WANT_READ)
            return error == SSL_ERROR_ZERO_RETURN ? 0 : -1;
        assert_true(poll(&wait, 1, PATIENCE_S * 1000) > 0);
        if (!run_move(p, fd))
            return -1;
    }
}
