/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server that foreign clients are tried on.
 *
 *   rpc_test_server [--unix PATH] [--tls ADDRESS CERT KEY CA] [--max-message BYTES] [--max-calls N] [--max-connections N]
 *                   [--keepalive-ms TIME TIMEOUT MIN_PEER] [--drain-ms N]
 *
 * Prints "ready PORT" and serves until SIGTERM or the end of its standard input, drains, and exits with 0.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "rpc/server.h"
#include "rpc_test_service.h"

static int usage(void)
{
    fprintf(stderr, "rpc_test_server: see the head of its source for the arguments\n");
    return 2;
}

static unsigned number(const char *text)
{
    return (unsigned)strtoul(text, NULL, 10);
}

/* Publishes to the watchers until told to stop. */
static void serve(struct test_service *service, int stop_fd)
{
    int64_t n = 0;
    struct pollfd stop[2] = {{.fd = stop_fd, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
    while (poll(stop, 2, 5) == 0)
        test_service_publish(service, n++);
}

int main(int argc, char **argv)
{
    static struct test_service service;
    struct sl_rpc_server_options options = {0};
    struct sl_rpc_server *server = NULL;
    struct sl_diag diag = {0};
    const char *unix_path = NULL, *tls_address = NULL;
    struct sl_rpc_tls_files tls = {0};
    uint32_t drain_ms = 2000;
    int port = 0;
    for (int i = 1; i < argc; i++) {
        int left = argc - 1 - i;
        if (strcmp(argv[i], "--unix") == 0 && left >= 1) {
            unix_path = argv[++i];
        } else if (strcmp(argv[i], "--tls") == 0 && left >= 4) {
            tls_address = argv[i + 1];
            tls = (struct sl_rpc_tls_files){.cert_file = argv[i + 2], .key_file = argv[i + 3], .ca_file = argv[i + 4]};
            i += 4;
        } else if (strcmp(argv[i], "--max-message") == 0 && left >= 1) {
            options.max_message_bytes = number(argv[++i]);
        } else if (strcmp(argv[i], "--max-calls") == 0 && left >= 1) {
            options.max_calls = number(argv[++i]);
        } else if (strcmp(argv[i], "--max-connections") == 0 && left >= 1) {
            options.max_local_connections = number(argv[++i]);
        } else if (strcmp(argv[i], "--keepalive-ms") == 0 && left >= 3) {
            options.keepalive_time_ms = number(argv[i + 1]);
            options.keepalive_timeout_ms = number(argv[i + 2]);
            options.keepalive_min_peer_ms = number(argv[i + 3]);
            i += 3;
        } else if (strcmp(argv[i], "--drain-ms") == 0 && left >= 1) {
            drain_ms = number(argv[++i]);
        } else {
            return usage();
        }
    }

    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    int stop_fd = signalfd(-1, &signals, SFD_CLOEXEC);
    test_service_init(&service);
    sl_err err = sl_rpc_server_new(&options, &server, &diag);
    if (err == SL_OK)
        err = sl_rpc_server_add_service(server, &service.service, &diag);
    if (err == SL_OK && unix_path != NULL)
        err = sl_rpc_server_listen_unix(server, unix_path, 0666, &diag);
    if (err == SL_OK && tls_address != NULL)
        err = sl_rpc_server_listen_tls(server, tls_address, &tls, &port, &diag);
    if (err == SL_OK)
        err = sl_rpc_server_start(server, &diag);
    if (err != SL_OK) {
        fprintf(stderr, "rpc_test_server: %s\n", diag.text);
    } else {
        printf("ready %d\n", port);
        fflush(stdout);
        serve(&service, stop_fd);
        sl_rpc_server_stop(server, drain_ms);
        printf("stopped\n");
    }
    sl_rpc_server_free(server);
    close(stop_fd);
    return err == SL_OK ? 0 : 1;
}
