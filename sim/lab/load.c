/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client that makes many TLS connections from one thread: epoll, OpenSSL without I/O of its own threads.
 *
 *   load short COUNT AT_ONCE CA HOST PATH SOURCES SERVERS    COUNT connections, AT_ONCE at a time: handshake, one request, close
 *   load hold COUNT CA HOST PATH SOURCES SERVERS             COUNT connections, each with one answered request, all open; then, for
 * each line on standard input, one more request on each; at its end all close
 *
 * SOURCES and SERVERS are IPv4 addresses with commas; port 443. Prints one JSON object a phase:
 *   {"ok": 2000, "failed": 0, "resumed": 0, "seconds": 1.9, "bytes": 104000, "first_error": ""}
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ADDRESSES_MAX = 64, EVENTS_MAX = 512, TIMEOUT_S = 300, ANSWER_MAX = 16384, VERIFY_EVERY = 20 };

enum state { FREE, CONNECTING, HANDSHAKING, ASKING, READING, HOLDING };

struct connection {
    enum state state;
    int fd;
    size_t server;
    bool resumes;
    SSL *ssl;
    double began;
    size_t sent;
    size_t head_end, body_left; /* of the answer; head_end 0: not seen yet */
    size_t got;
    char head[1024];
};

struct load {
    bool hold;
    size_t count, at_once;
    const char *host, *path;
    char request[512];
    size_t request_len;
    struct in_addr sources[ADDRESSES_MAX], servers[ADDRESSES_MAX];
    size_t source_count, server_count;
    SSL_CTX *ctx;
    SSL_SESSION *sessions[ADDRESSES_MAX]; /* the newest of each server; every other connection resumes it */
    int epoll;
    struct connection *all;
    size_t begun, open;
    size_t ok, failed, resumed, bytes;
    char first_error[200];
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *text)
{
    fprintf(stderr, "load: %s: %s\n", text, strerror(errno));
    exit(1);
}

static void note_error(struct load *l, const char *where)
{
    char text[120] = "";
    unsigned long code = ERR_get_error();
    if (code)
        ERR_error_string_n(code, text, sizeof text);
    if (!l->first_error[0])
        snprintf(l->first_error, sizeof l->first_error, "%s: %s", where, code ? text : errno ? strerror(errno) : "closed");
    ERR_clear_error();
}

static void watch(struct load *l, struct connection *c, uint32_t events, int op)
{
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (epoll_ctl(l->epoll, op, c->fd, &e))
        die("epoll_ctl");
}

static void finish(struct load *l, struct connection *c, bool ok, const char *where)
{
    if (ok)
        l->ok++;
    else {
        l->failed++;
        note_error(l, where);
    }
    if (c->ssl) {
        if (ok)
            SSL_shutdown(c->ssl);
        SSL_free(c->ssl);
    }
    close(c->fd);
    *c = (struct connection){.state = FREE};
    l->open--;
}

static void begin(struct load *l, struct connection *c, size_t number)
{
    struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr = l->sources[number % l->source_count]};
    struct sockaddr_in server = {
        .sin_family = AF_INET, .sin_port = htons(443), .sin_addr = l->servers[number / l->source_count % l->server_count]};
    int one = 1;

    *c = (struct connection){
        .state = CONNECTING, .began = now(), .server = number / l->source_count % l->server_count, .resumes = number % 2 == 1};
    l->open++;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    setsockopt(c->fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(c->fd, (struct sockaddr *)&source, sizeof source))
        die("bind");
    watch(l, c, EPOLLIN | EPOLLOUT, EPOLL_CTL_ADD);
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS)
        finish(l, c, false, "connect");
}

/* 1: done; 0: later; -1: failed */
static int outcome(struct load *l, struct connection *c, int result)
{
    int reason = SSL_get_error(c->ssl, result);
    if (result > 0)
        return 1;
    if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE) {
        watch(l, c, reason == SSL_ERROR_WANT_WRITE ? EPOLLIN | EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
        return 0;
    }
    return -1;
}

static bool connected(struct load *l, struct connection *c)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) || (errno = error) != 0)
        return false;
    c->ssl = SSL_new(l->ctx);
    if (!c->ssl || !SSL_set_fd(c->ssl, c->fd) || !SSL_set_tlsext_host_name(c->ssl, l->host) || !SSL_set1_host(c->ssl, l->host))
        return false;
    SSL_set_app_data(c->ssl, c);
    if (c->resumes && l->sessions[c->server])
        SSL_set_session(c->ssl, l->sessions[c->server]);
    c->state = HANDSHAKING;
    return true;
}

/* Understands just enough of HTTP/1.1: a head with Content-Length, then the body. */
static bool take_answer(struct load *l, struct connection *c, const char *bytes, size_t len)
{
    l->bytes += len;
    if (!c->head_end) {
        size_t room = sizeof c->head - 1 - c->got, part = len < room ? len : room;
        memcpy(c->head + c->got, bytes, part);
        c->got += part;
        c->head[c->got] = '\0';
        char *end = strstr(c->head, "\r\n\r\n"), *length = strstr(c->head, "Content-Length: ");
        if (!end)
            return c->got < sizeof c->head - 1;
        if (strncmp(c->head, "HTTP/1.1 200", 12) != 0 || !length)
            return false;
        c->head_end = (size_t)(end + 4 - c->head);
        size_t body = (size_t)strtoul(length + 16, NULL, 10), have = c->got - c->head_end + (len - part);
        c->body_left = body > have ? body - have : 0;
        return have <= body;
    }
    if (len > c->body_left)
        return false;
    c->body_left -= len;
    return true;
}

static void step(struct load *l, struct connection *c)
{
    char bytes[ANSWER_MAX];
    int done;

    errno = 0;
    ERR_clear_error();
    if (c->state == CONNECTING && !connected(l, c)) {
        finish(l, c, false, "connect");
        return;
    }
    if (c->state == HANDSHAKING) {
        if ((done = outcome(l, c, SSL_connect(c->ssl))) < 0)
            finish(l, c, false, "handshake");
        if (done <= 0)
            return;
        l->resumed += SSL_session_reused(c->ssl) ? 1 : 0;
        c->state = ASKING;
    }
    if (c->state == ASKING) {
        if ((done = outcome(l, c, SSL_write(c->ssl, l->request, (int)l->request_len))) < 0)
            finish(l, c, false, "request");
        if (done <= 0)
            return;
        c->state = READING;
        watch(l, c, EPOLLIN, EPOLL_CTL_MOD);
    }
    while (c->state == READING || c->state == HOLDING) {
        int n = SSL_read(c->ssl, bytes, sizeof bytes);
        if ((done = outcome(l, c, n)) < 0)
            finish(l, c, false, c->state == READING ? "answer" : "while open");
        if (done <= 0)
            return;
        if (c->state == HOLDING || !take_answer(l, c, bytes, (size_t)n)) {
            finish(l, c, false, "answer");
            return;
        }
        if (c->head_end && c->body_left == 0) {
            if (l->hold) {
                c->state = HOLDING;
                l->ok++;
            } else {
                finish(l, c, true, "");
            }
        }
    }
}

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct load *l = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    const struct connection *c = SSL_get_app_data(ssl);
    SSL_SESSION_free(l->sessions[c->server]);
    l->sessions[c->server] = session;
    return 1;
}

/* The chain is checked once in so many handshakes: this is about load on the gateway, not on the client. */
static int verify_some(X509_STORE_CTX *store, void *arg)
{
    struct load *l = arg;
    return l->begun % VERIFY_EVERY == 1 ? X509_verify_cert(store) : 1;
}

static size_t busy(const struct load *l)
{
    size_t n = 0;
    for (size_t i = 0; i < l->at_once; i++)
        n += l->all[i].state != FREE && l->all[i].state != HOLDING;
    return n;
}

static void give_up_late(struct load *l)
{
    for (size_t i = 0; i < l->at_once; i++)
        if (l->all[i].state != FREE && l->all[i].state != HOLDING && now() - l->all[i].began > TIMEOUT_S) {
            errno = ETIMEDOUT;
            finish(l, &l->all[i], false, "late");
        }
}

/* Until nothing is under way, and everything was begun. */
static void run(struct load *l)
{
    struct epoll_event events[EVENTS_MAX];
    double checked = now();
    size_t left = busy(l);

    while (l->begun < l->count || left > 0) {
        /* In hold mode a few at a time are set up, as fast as the other end takes them. */
        for (size_t i = 0, batch = 0; i < l->at_once && l->begun < l->count && batch < 64 && left < 256; i++)
            if (l->all[i].state == FREE) {
                begin(l, &l->all[i], l->begun++);
                batch++;
                left++;
            }
        int n = epoll_wait(l->epoll, events, EVENTS_MAX, 200);
        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (c->state != FREE)
                step(l, c);
        }
        if (now() - checked > 1) {
            give_up_late(l);
            checked = now();
        }
        left = busy(l);
    }
}

static void report(struct load *l, double began)
{
    printf("{\"ok\": %zu, \"failed\": %zu, \"resumed\": %zu, \"seconds\": %.3f, \"bytes\": %zu, \"open\": %zu, \"first_error\": "
           "\"%s\"}\n",
           l->ok, l->failed, l->resumed, now() - began, l->bytes, l->open, l->first_error);
    fflush(stdout);
    l->ok = l->failed = l->resumed = l->bytes = 0;
    l->first_error[0] = '\0';
}

static size_t read_addresses(char *text, struct in_addr *out)
{
    size_t n = 0;
    for (char *word = strtok(text, ","); word; word = strtok(NULL, ",")) {
        if (n == ADDRESSES_MAX || inet_pton(AF_INET, word, &out[n]) != 1) {
            fprintf(stderr, "load: '%s' is not an address\n", word);
            exit(2);
        }
        n++;
    }
    return n;
}

static void hold_rounds(struct load *l)
{
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        double began = now();
        for (size_t i = 0; i < l->at_once; i++) {
            struct connection *c = &l->all[i];
            if (c->state != HOLDING)
                continue;
            c->state = ASKING;
            c->began = now();
            c->head_end = c->got = c->body_left = 0;
            step(l, c);
        }
        run(l);
        report(l, began);
    }
    for (size_t i = 0; i < l->at_once; i++)
        if (l->all[i].state != FREE)
            finish(l, &l->all[i], true, "");
    report(l, now());
}

int main(int argc, char **argv)
{
    struct load l = {.hold = argc > 1 && strcmp(argv[1], "hold") == 0};
    struct rlimit files;
    int at = 3;

    if (argc != (l.hold ? 8 : 9)) {
        fputs("usage: load short COUNT AT_ONCE CA HOST PATH SOURCES SERVERS | load hold COUNT CA HOST PATH SOURCES SERVERS\n",
              stderr);
        return 2;
    }
    l.count = (size_t)strtoul(argv[2], NULL, 10);
    l.at_once = l.hold ? l.count : (size_t)strtoul(argv[at++], NULL, 10);
    const char *ca = argv[at++];
    l.host = argv[at++];
    l.path = argv[at++];
    l.source_count = read_addresses(argv[at++], l.sources);
    l.server_count = read_addresses(argv[at], l.servers);
    l.request_len = (size_t)snprintf(l.request, sizeof l.request, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", l.path, l.host,
                                     l.hold ? "" : "Connection: close\r\n");
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    l.ctx = SSL_CTX_new(TLS_client_method());
    l.all = calloc(l.at_once ? l.at_once : 1, sizeof *l.all);
    l.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!l.ctx || !l.all || l.epoll < 0 || !SSL_CTX_load_verify_file(l.ctx, ca)) {
        fputs("load: no memory, or no CA file\n", stderr);
        return 1;
    }
    SSL_CTX_set_verify(l.ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(l.ctx, verify_some, &l);
    SSL_CTX_set_app_data(l.ctx, &l);
    SSL_CTX_set_session_cache_mode(l.ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(l.ctx, keep_session);
    double began = now();
    run(&l);
    report(&l, began);
    if (l.hold)
        hold_rounds(&l);
    for (size_t i = 0; i < ADDRESSES_MAX; i++)
        SSL_SESSION_free(l.sessions[i]);
    SSL_CTX_free(l.ctx);
    free(l.all);
    return 0;
}
