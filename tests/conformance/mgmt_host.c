/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The management service with its real stores and no gateway, for test_management.py.
 *
 *   mgmt_host --state FOLDER [--unix PATH MODE] [--tls ADDRESS CERT KEY CA] [--patience-ms N] [--events-max-bytes N]
 *
 * Prints "ready PORT"; then reads commands from standard input, one a line, and answers each with one line:
 *
 *   refused CLIENT SERVER HOST PEM   an aborted connection: the self-signed certificate in the file PEM was refused
 *   plain N SIZE                     N decrypted connections whose server's text has SIZE bytes
 *   hostile                          an event whose names try to steer a terminal
 *   apply-fails | apply-works        what the callback apply_snapshot does from now on
 *   applied                          versions in the order in which they were applied
 *   stop                             drains and ends (as SIGTERM and the end of input do)
 */
#include <inttypes.h>
#include <openssl/pem.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "event/event.h"
#include "event/store.h"
#include "gateway/management.h"
#include "pki/cert.h"
#include "policy/store.h"

enum { VERSIONS_MAX = 4096, DRAIN_MS = 2000 };

struct host {
    struct sl_metrics *metrics;
    struct sl_policy_store *policy;
    struct sl_event_store *events;
    struct sl_mgmt *mgmt;
    pthread_mutex_t lock;
    bool apply_fails;
    unsigned ca_changes;
    uint64_t applied[VERSIONS_MAX];
    size_t applied_count;
};

static sl_err apply_snapshot(void *arg, struct sl_policy_snapshot *snapshot, struct sl_diag *diag)
{
    struct host *h = arg;
    pthread_mutex_lock(&h->lock);
    bool fails = h->apply_fails;
    if (!fails && h->applied_count < VERSIONS_MAX)
        h->applied[h->applied_count++] = sl_policy_version(snapshot);
    pthread_mutex_unlock(&h->lock);
    sl_policy_snapshot_unref(snapshot);
    return fails ? sl_fail(diag, SL_ERR_NOMEM, "told to fail") : SL_OK;
}

static sl_err ca_changed(void *arg, struct sl_diag *diag)
{
    struct host *h = arg;
    pthread_mutex_lock(&h->lock);
    h->ca_changes++;
    bool fails = h->apply_fails;
    pthread_mutex_unlock(&h->lock);
    return fails ? sl_fail(diag, SL_ERR_NOMEM, "told to fail") : SL_OK;
}

static sl_err fill_status(void *arg, Sluice__V1__Status *status)
{
    (void)arg;
    status->workers = 3;
    status->connections_active = 5;
    status->connections_total = 6;
    status->uptime_s = 3661;
    status->start_ns = UINT64_C(1769860800000000000);
    status->listeners = calloc(1, sizeof *status->listeners);
    status->record_engine = strdup("none");
    if (!status->listeners || !(status->listeners[0] = strdup("explicit 127.0.0.1:3128")) || !status->record_engine)
        return SL_ERR_NOMEM;
    status->n_listeners = 1;
    return SL_OK;
}

/* -------------------------------------------------------------------------------------------------------------------- commands */

static sl_err begin_event(Sluice__V1__EventType type, const char *client, const char *server, const char *host,
                          Sluice__V1__Event **out)
{
    static uint64_t flow;
    const struct sl_clock *clock = sl_clock_system();
    Sluice__V1__Event *e = NULL;
    sl_err err = sl_event_new(&e);
    if (err)
        return err;
    e->type = type;
    e->time_ns = clock->wall_ns(clock->arg);
    e->start_ns = e->time_ns - SL_NS_PER_S;
    e->src->port = 50000;
    e->dst->port = 443;
    e->tls->encrypted = 1;
    if ((err = sl_event_setf(&e->flow_id, "%016" PRIx64, UINT64_C(0xabc0000000000000) + ++flow)) ||
        (err = sl_event_set(&e->src->ip, client)) || (err = sl_event_set(&e->dst->ip, server)) ||
        (err = sl_event_set(&e->dst->host, host)) || (err = sl_event_set(&e->tls->sni, host))) {
        sl_event_free(e);
        return err;
    }
    *out = e;
    return SL_OK;
}

static sl_err put(struct host *h, Sluice__V1__Event *event)
{
    sl_err err = sl_event_finish(event);
    if (err) {
        sl_event_free(event);
        return err;
    }
    return sl_event_store_put(h->events, event);
}

static sl_err add_certificate(Sluice__V1__Event *event, const char *path)
{
    Sluice__V1__ChainCertificate *c = NULL;
    uint8_t digest[SL_SHA256_LEN], *der = NULL;
    char hex[SL_SHA256_HEX];
    FILE *f = fopen(path, "re");
    X509 *x = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;

    if (f)
        fclose(f);
    if (!x)
        return SL_ERR_NOT_FOUND;
    sl_err err = sl_event_add_certificate(event, &c);
    if (!err && !(err = sl_cert_sha256(x, digest))) {
        sl_cert_hex(digest, hex);
        err = sl_event_set(&c->sha256, hex);
    }
    if (!err)
        err = sl_cert_name_text(X509_get_subject_name(x), &c->subject);
    if (!err)
        err = sl_cert_name_text(X509_get_issuer_name(x), &c->issuer);
    if (!err)
        err = sl_cert_encode(x, &der, &c->der.len);
    if (!err && (c->der.data = malloc(c->der.len)))
        memcpy(c->der.data, der, c->der.len);
    OPENSSL_free(der);
    X509_free(x);
    return err;
}

static sl_err put_refused(struct host *h, const char *client, const char *server, const char *host, const char *pem)
{
    Sluice__V1__Event *e = NULL;
    sl_err err = begin_event(SLUICE__V1__EVENT_TYPE__TLS_ABORT, client, server, strcmp(host, "-") == 0 ? "" : host, &e);
    if (err)
        return err;
    e->cause = SLUICE__V1__CAUSE__SRV_CERT_SELF_SIGNED;
    e->stage = SLUICE__V1__STAGE__STAGE_VERIFY;
    if ((err = add_certificate(e, pem)) || (err = sl_event_add_alert(e, 2, 48, SLUICE__V1__ALERT_DIRECTION__SENT_TO_SERVER))) {
        sl_event_free(e);
        return err;
    }
    return put(h, e);
}

static sl_err put_plain(struct host *h, unsigned count, size_t size)
{
    sl_err err = SL_OK;
    char *text = calloc(1, size + 1);
    if (!text)
        return SL_ERR_NOMEM;
    memset(text, 'x', size);
    for (unsigned i = 0; i < count && !err; i++) {
        Sluice__V1__Event *e = NULL;
        err = begin_event(SLUICE__V1__EVENT_TYPE__TLS_DECRYPTED, "192.0.2.1", "198.51.100.1", "plain.example", &e);
        if (!err && (err = sl_event_set(&e->tls->server_cert_issuer, text)))
            sl_event_free(e);
        if (!err)
            err = put(h, e);
        if (i % 1000 == 999 && !err) /* never more than the queue takes */
            err = sl_event_store_flush(h->events, UINT64_C(60) * SL_NS_PER_S);
    }
    free(text);
    return err;
}

static sl_err put_hostile(struct host *h)
{
    Sluice__V1__Event *e = NULL;
    sl_err err = begin_event(SLUICE__V1__EVENT_TYPE__TLS_ABORT, "192.0.2.9", "198.51.100.9",
                             "\x1b[2Jevil\xc2\x9b"
                             "31m\xe2\x80\xae.example\r\n",
                             &e);
    if (err)
        return err;
    e->cause = SLUICE__V1__CAUSE__SRV_EOF;
    err = sl_event_set(&e->tls->error, "\x1b]0;owned\x07");
    if (err) {
        sl_event_free(e);
        return err;
    }
    return put(h, e);
}

static void print_applied(struct host *h)
{
    pthread_mutex_lock(&h->lock);
    printf("applied ca=%u", h->ca_changes);
    for (size_t i = 0; i < h->applied_count; i++)
        printf(" %" PRIu64, h->applied[i]);
    printf("\n");
    pthread_mutex_unlock(&h->lock);
}

/* False: the end. */
static bool run_command(struct host *h, char *line)
{
    char *words[5] = {NULL}, *save = NULL;
    size_t count = 0;
    sl_err err = SL_OK;

    for (char *word = strtok_r(line, " \n", &save); word && count < 5; word = strtok_r(NULL, " \n", &save))
        words[count++] = word;
    if (count == 0 || strcmp(words[0], "stop") == 0)
        return false;
    if (strcmp(words[0], "refused") == 0 && count == 5) {
        err = put_refused(h, words[1], words[2], words[3], words[4]);
    } else if (strcmp(words[0], "plain") == 0 && count == 3) {
        err = put_plain(h, (unsigned)strtoul(words[1], NULL, 10), strtoul(words[2], NULL, 10));
    } else if (strcmp(words[0], "hostile") == 0) {
        err = put_hostile(h);
    } else if (strncmp(words[0], "apply-", 6) == 0) {
        pthread_mutex_lock(&h->lock);
        h->apply_fails = strcmp(words[0], "apply-fails") == 0;
        pthread_mutex_unlock(&h->lock);
    } else if (strcmp(words[0], "applied") == 0) {
        print_applied(h);
        fflush(stdout);
        return true;
    } else {
        err = SL_ERR_INVALID;
    }
    if (!err)
        err = sl_event_store_flush(h->events, UINT64_C(60) * SL_NS_PER_S);
    printf("%s\n", err ? sl_err_str(err) : "ok");
    fflush(stdout);
    return true;
}

/* Until the end of input, "stop" or SIGTERM. */
static void serve(struct host *h, int signal_fd)
{
    struct pollfd fds[2] = {{.fd = signal_fd, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
    char line[4096];
    while (poll(fds, 2, -1) > 0 && !(fds[0].revents & POLLIN)) {
        if (!fgets(line, sizeof line, stdin) || !run_command(h, line))
            break;
    }
}

/* ------------------------------------------------------------------------------------------------------------------------ main */

struct arguments {
    const char *state;
    struct sl_mgmt_config config;
    uint64_t events_max_bytes;
};

static bool read_arguments(int argc, char **argv, struct arguments *a)
{
    for (int i = 1; i < argc; i++) {
        int left = argc - 1 - i;
        if (strcmp(argv[i], "--state") == 0 && left >= 1) {
            a->state = argv[++i];
        } else if (strcmp(argv[i], "--unix") == 0 && left >= 2) {
            a->config.unix_path = argv[++i];
            a->config.unix_mode = (mode_t)strtoul(argv[++i], NULL, 8);
        } else if (strcmp(argv[i], "--tls") == 0 && left >= 4) {
            a->config.tcp = argv[i + 1];
            a->config.tls = (struct sl_rpc_tls_files){.cert_file = argv[i + 2], .key_file = argv[i + 3], .ca_file = argv[i + 4]};
            i += 4;
        } else if (strcmp(argv[i], "--patience-ms") == 0 && left >= 1) {
            a->config.watch_patience_ms = (uint32_t)strtoul(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--events-max-bytes") == 0 && left >= 1) {
            a->events_max_bytes = strtoull(argv[++i], NULL, 10);
        } else {
            return false;
        }
    }
    return a->state != NULL;
}

static sl_err start(struct host *h, const struct arguments *a, struct sl_diag *diag)
{
    static char ca_dir[1024]; /* the service borrows it */
    char path[1024];
    struct sl_mgmt_deps deps = {.device_name = "test-host",
                                .arg = h,
                                .apply_snapshot = apply_snapshot,
                                .ca_changed = ca_changed,
                                .fill_status = fill_status};

    sl_err err = sl_metrics_new(&h->metrics);
    snprintf(path, sizeof path, "%s/policy.db", a->state);
    if (!err)
        err = sl_policy_store_open(path, NULL, &h->policy, diag);
    snprintf(path, sizeof path, "%s/events.db", a->state);
    const struct sl_event_store_options options = {
        .path = path, .metrics = h->metrics, .device_name = "test-host", .file_bytes_max = a->events_max_bytes, .retry_ms = 50};
    if (!err)
        err = sl_event_store_open(&options, &h->events, diag);
    snprintf(ca_dir, sizeof ca_dir, "%s/ca", a->state);
    deps.metrics = h->metrics;
    deps.policy = h->policy;
    deps.events = h->events;
    deps.ca_dir = ca_dir;
    return err ? err : sl_mgmt_start(&a->config, &deps, &h->mgmt, diag);
}

int main(int argc, char **argv)
{
    struct host h = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct arguments a = {0};
    struct sl_diag diag = {{0}};
    sigset_t signals;

    if (!read_arguments(argc, argv, &a)) {
        fprintf(stderr, "mgmt_host: see the head of its source for the arguments\n");
        return 2;
    }
    setvbuf(stdin, NULL, _IONBF, 0); /* poll must see what is left */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    int signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
    sl_err err = start(&h, &a, &diag);
    if (err) {
        fprintf(stderr, "mgmt_host: %s\n", diag.text[0] ? diag.text : sl_err_str(err));
    } else {
        printf("ready %d\n", sl_mgmt_tcp_port(h.mgmt));
        fflush(stdout);
        serve(&h, signal_fd);
        sl_mgmt_stop(h.mgmt, DRAIN_MS);
        printf("stopped\n");
    }
    sl_mgmt_free(h.mgmt);
    sl_event_store_close(h.events);
    sl_policy_store_close(h.policy);
    sl_metrics_free(h.metrics);
    close(signal_fd);
    return err ? 1 : 0;
}
