/* SPDX-License-Identifier: Apache-2.0 */
/* Whole flows through a gateway in this process: bytes that must arrive, ends that must be told apart, states with holes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "event/event.h"

#include "run.h"

#define CAUSE(name) SLUICE__V1__CAUSE__##name

static const char plain[] = "default_decryption: do-not-decrypt\non_non_tls: bypass\n";
static const char decrypt[] = "default_decryption: decrypt\non_non_tls: bypass\non_failed_handshake: bypass\n";

static uint8_t *pattern(size_t len)
{
    uint8_t *bytes = malloc(len);
    uint32_t x = 1;
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
    return bytes;
}

/* Sends without blocking until nothing more goes for a while: everything between here and the reader is full then. */
static size_t fill(int fd, const uint8_t *bytes, size_t len)
{
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    size_t sent = 0;
    while (sent < len && poll(&wait, 1, 500) > 0) {
        ssize_t n = send(fd, bytes + sent, len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0)
            break;
        sent += (size_t)n;
    }
    return sent;
}

static void expect_event(struct run *r, Sluice__V1__EventType type, Sluice__V1__Cause cause)
{
    Sluice__V1__Event *e = run_event(r);
    assert_int_equal(e->cause, cause);
    assert_int_equal(e->type, type);
    sl_event_free(e);
}

/* ---- bytes as they are ---- */

static void half_close(void **state)
{
    (void)state;
    struct run *r = run_start(plain);
    enum { LEN = 3 * 1000 * 1000 };
    uint8_t *sent = pattern(LEN), *got = malloc(LEN);
    int client, server;

    run_tunnel(r, &client, &server, "first", 5);
    run_receive(server, got, 5);
    shutdown(client, SHUT_WR);
    run_receive_end(server);
    size_t ahead = fill(server, sent, LEN);
    run_receive(client, got, ahead);
    run_send(server, sent + ahead, LEN > ahead + 1000 ? 1000 : LEN - ahead);
    run_receive(client, got + ahead, LEN > ahead + 1000 ? 1000 : LEN - ahead);
    assert_memory_equal(sent, got, ahead);
    close(server);
    run_receive_end(client);
    close(client);
    expect_event(r, SLUICE__V1__EVENT_TYPE__NON_TLS, CAUSE(CAUSE_NONE));
    free(sent);
    free(got);
    run_stop(r);
}

/* The server has answered and closed; bytes that the client sends nevertheless draw a reset, which must not cost it the answer. */
static void reset_after_the_end(void **state)
{
    (void)state;
    struct run *r = run_start(plain);
    enum { LEN = 64 * 1000 * 1000 };
    uint8_t *sent = pattern(LEN), *got = malloc(LEN);
    int client, server;

    run_tunnel(r, &client, &server, "request", 7);
    run_receive(server, got, 7);
    size_t len = fill(server, sent, LEN), read = 0;
    assert_true(len > 100000 && len < LEN);
    for (int unsent = 1; unsent > 0; assert_int_equal(ioctl(server, SIOCOUTQ, &unsent), 0)) {
        run_receive(client, got + read, 10000);
        read += 10000;
    }
    close(server);
    run_send(client, "more", 4);
    usleep(200000);
    run_send(client, "and more", 8);
    usleep(200000);
    run_receive(client, got + read, len - read);
    assert_memory_equal(sent, got, len);
    run_receive_end(client);
    close(client);
    expect_event(r, SLUICE__V1__EVENT_TYPE__NON_TLS, CAUSE(CAUSE_NONE));
    free(sent);
    free(got);
    run_stop(r);
}

/* A reset that comes while many bytes wait to be read: the flow still ends. */
static void reset_behind_many_bytes(void **state)
{
    (void)state;
    struct run *r = run_start(plain);
    enum { LEN = 64 * 1000 * 1000 };
    uint8_t *sent = pattern(LEN), *got = malloc(LEN);
    int client, server;

    run_tunnel(r, &client, &server, "request", 7);
    run_receive(server, got, 7);
    fill(server, sent, LEN);
    run_reset(server);
    while (recv(client, got, LEN, 0) > 0)
        ;
    close(client);
    expect_event(r, SLUICE__V1__EVENT_TYPE__NON_TLS, CAUSE(SRV_RESET));
    free(sent);
    free(got);
    run_stop(r);
}

static void reset_by_the_client(void **state)
{
    (void)state;
    struct run *r = run_start(plain);
    char byte;
    int client, server;

    run_tunnel(r, &client, &server, "x", 1);
    run_receive(server, &byte, 1);
    run_reset(client);
    assert_int_equal(recv(server, &byte, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
    close(server);
    expect_event(r, SLUICE__V1__EVENT_TYPE__NON_TLS, CAUSE(CLI_RESET));
    run_stop(r);
}

/* ---- requests ---- */

static void request_in_bytes(void **state)
{
    (void)state;
    struct run *r = run_start(plain);
    char request[128], answer[64] = "";
    int client = run_client(r);

    snprintf(request, sizeof request, "CONNECT 127.0.0.1:%u HTTP/1.1\r\nHost: x\r\n\r\nhello", (unsigned)r->origin_port);
    for (const char *c = request; *c; c++) {
        run_send(client, c, 1);
        usleep(200);
    }
    int server = run_accept(r);
    run_receive(server, answer, 5);
    assert_memory_equal(answer, "hello", 5);
    run_receive(client, answer, 39);
    assert_memory_equal(answer, "HTTP/1.1 200 ", 13);
    close(client);
    run_receive_end(server);
    close(server);
    expect_event(r, SLUICE__V1__EVENT_TYPE__NON_TLS, CAUSE(CAUSE_NONE));
    run_stop(r);
}

/* What is not a request is answered, and the answer survives bytes that nobody reads. */
static void refused_request(void **state)
{
    (void)state;
    struct run *r = run_start(plain);
    char answer[13];
    uint8_t *junk = pattern(20000);
    int client = run_client(r);

    run_send(client, "GET / HTTP/1.1\r\n\r\n", 18);
    run_send(client, junk, 20000);
    run_receive(client, answer, sizeof answer);
    assert_memory_equal(answer, "HTTP/1.1 405 ", 13);
    close(client);
    free(junk);
    expect_event(r, SLUICE__V1__EVENT_TYPE__CONNECTION_FAILED, CAUSE(CLI_BAD_HELLO));
    run_stop(r);
}

/* ---- the gateway as a whole ---- */

/* A client that is in the middle of something when the gateway stops is told, and not reset. */
static void shutdown_is_told(void **state)
{
    (void)state;
    struct run *r = run_start(plain);
    char answer[512];
    size_t len = 0;
    ssize_t n;
    int client = run_client(r);

    run_send(client, "CONN", 4);
    while (sl_gateway_active(r->gateway) == 0) /* a connection that nobody has accepted yet would be reset */
        usleep(1000);
    sl_gateway_drain(r->gateway, 0);
    while ((n = recv(client, answer + len, sizeof answer - len, 0)) > 0)
        len += (size_t)n;
    assert_int_equal(n, 0);
    assert_memory_equal(answer, "HTTP/1.1 503 ", 13);
    close(client);
    expect_event(r, SLUICE__V1__EVENT_TYPE__CONNECTION_FAILED, CAUSE(SHUTDOWN));
    run_stop(r);
}

/* ---- TLS ---- */

struct tls {
    SSL_CTX *client_ctx, *server_ctx;
    struct test_peer client, server;
    int client_fd, server_fd;
};

static void tls_open(struct tls *t, struct run *r, uint16_t version, const char *suites)
{
    t->client_ctx = test_client_ctx(r->world, 0, NULL);
    t->server_ctx = test_origin_ctx(r->world, CERT_GOOD, TEST_EC, version, suites);
    t->client = test_peer_new(t->client_ctx, false);
    t->server = test_peer_new(t->server_ctx, true);
    SSL_set_tlsext_host_name(t->client.ssl, TEST_HOST);
    run_tunnel(r, &t->client_fd, &t->server_fd, NULL, 0);
}

static void tls_close(struct tls *t)
{
    close(t->client_fd);
    close(t->server_fd);
    test_peer_free(&t->client);
    test_peer_free(&t->server);
    SSL_CTX_free(t->client_ctx);
    SSL_CTX_free(t->server_ctx);
}

static const struct {
    uint16_t version;
    const char *suites;
} kinds[] = {
    {TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256"},
    {TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256"},
    {TLS1_2_VERSION, "ECDHE-ECDSA-AES256-GCM-SHA384"},
    {TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305"},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static void say(struct test_peer *from, int from_fd, struct test_peer *to, int to_fd, const char *text)
{
    char got[64];
    assert_int_equal(SSL_write(from->ssl, text, (int)strlen(text)), strlen(text));
    run_move(from, from_fd);
    assert_int_equal(run_tls_read(to, to_fd, got, sizeof got), strlen(text));
    assert_memory_equal(got, text, strlen(text));
}

/* close_notify of one side, answers of the other one after it, then its close_notify. */
static void decrypted_half_close(void **state)
{
    (void)state;
    struct run *r = run_start(decrypt);
    char got[64];

    for (size_t i = 0; i < KINDS; i++) {
        struct tls t;
        tls_open(&t, r, kinds[i].version, kinds[i].suites);
        run_handshake(&t.client, t.client_fd, &t.server, t.server_fd);
        say(&t.client, t.client_fd, &t.server, t.server_fd, "request");
        say(&t.server, t.server_fd, &t.client, t.client_fd, "answer");
        SSL_shutdown(t.client.ssl);
        run_move(&t.client, t.client_fd);
        shutdown(t.client_fd, SHUT_WR);
        assert_int_equal(run_tls_read(&t.server, t.server_fd, got, sizeof got), 0);
        say(&t.server, t.server_fd, &t.client, t.client_fd, "late answer");
        SSL_shutdown(t.server.ssl);
        run_move(&t.server, t.server_fd);
        assert_int_equal(run_tls_read(&t.client, t.client_fd, got, sizeof got), 0);
        tls_close(&t);
        expect_event(r, SLUICE__V1__EVENT_TYPE__TLS_DECRYPTED, CAUSE(CAUSE_NONE));
    }
    run_stop(r);
}

/* A record that nobody sealed, then the end: the client must not take that for the server's own end. */
static void forged_record_is_no_end(void **state)
{
    (void)state;
    struct run *r = run_start(decrypt);
    static const uint8_t forged[5 + 32] = {23, 3, 3, 0, 32};
    char got[64];

    for (size_t i = 0; i < KINDS; i++) {
        struct tls t;
        tls_open(&t, r, kinds[i].version, kinds[i].suites);
        run_handshake(&t.client, t.client_fd, &t.server, t.server_fd);
        say(&t.server, t.server_fd, &t.client, t.client_fd, "half of the ans");
        run_send(t.server_fd, forged, sizeof forged);
        shutdown(t.server_fd, SHUT_WR);
        assert_int_equal(run_tls_read(&t.client, t.client_fd, got, sizeof got), -1);
        tls_close(&t);
        expect_event(r, SLUICE__V1__EVENT_TYPE__TLS_ABORT, CAUSE(REC_BAD_MAC));
    }
    run_stop(r);
}

/* The server has answered and gone before the client has completed its handshake. */
static void server_ends_during_the_client_handshake(void **state)
{
    (void)state;
    struct run *r = run_start(decrypt);
    char got[64];

    for (size_t i = 0; i < KINDS; i++) {
        struct tls t;
        tls_open(&t, r, kinds[i].version, kinds[i].suites);
        SSL_do_handshake(t.client.ssl);
        run_move(&t.client, t.client_fd);
        while (SSL_do_handshake(t.server.ssl) != 1)
            assert_true(run_move(&t.server, t.server_fd));
        run_move(&t.server, t.server_fd);
        assert_int_equal(SSL_write(t.server.ssl, "banner", 6), 6);
        run_move(&t.server, t.server_fd);
        shutdown(t.server_fd, SHUT_WR);
        usleep(100000);
        while (SSL_do_handshake(t.client.ssl) != 1)
            assert_true(run_move(&t.client, t.client_fd));
        run_move(&t.client, t.client_fd);
        assert_int_equal(run_tls_read(&t.client, t.client_fd, got, sizeof got), 6);
        assert_int_equal(run_tls_read(&t.client, t.client_fd, got, sizeof got), -1);
        say(&t.client, t.client_fd, &t.server, t.server_fd, "still heard");
        tls_close(&t);
        expect_event(r, SLUICE__V1__EVENT_TYPE__TLS_DECRYPTED, CAUSE(CAUSE_NONE));
    }
    run_stop(r);
}

/* The server gives up when the client already has a ServerHello: too late to bypass, whatever policy wants for failed handshakes.
 */
static void no_bypass_after_the_server_hello(void **state)
{
    (void)state;
    struct run *r = run_start(decrypt);
    static const uint8_t forged[5 + 32] = {23, 3, 3, 0, 32};
    struct tls t;
    char got[64];

    tls_open(&t, r, TLS1_3_VERSION, NULL);
    SSL_do_handshake(t.client.ssl);
    run_move(&t.client, t.client_fd);
    while (SSL_do_handshake(t.server.ssl) != 1)
        assert_true(run_move(&t.server, t.server_fd));
    run_move(&t.server, t.server_fd);
    struct pollfd hello = {.fd = t.client_fd, .events = POLLIN};
    assert_int_equal(poll(&hello, 1, 60000), 1);
    /* Its own reader is shown a bad record, so that it seals a fatal alert. */
    BIO_write(t.server.in, forged, sizeof forged);
    assert_int_equal(SSL_read(t.server.ssl, got, sizeof got), -1);
    run_move(&t.server, t.server_fd);
    expect_event(r, SLUICE__V1__EVENT_TYPE__TLS_ABORT, CAUSE(SRV_ALERT_OTHER));
    hello.fd = r->origin;
    assert_int_equal(poll(&hello, 1, 0), 0);
    tls_close(&t);
    run_stop(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_close),
        cmocka_unit_test(reset_after_the_end),
        cmocka_unit_test(reset_behind_many_bytes),
        cmocka_unit_test(reset_by_the_client),
        cmocka_unit_test(request_in_bytes),
        cmocka_unit_test(refused_request),
        cmocka_unit_test(shutdown_is_told),
        cmocka_unit_test(decrypted_half_close),
        cmocka_unit_test(forged_record_is_no_end),
        cmocka_unit_test(server_ends_during_the_client_handshake),
        cmocka_unit_test(no_bypass_after_the_server_hello),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
