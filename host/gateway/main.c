/* SPDX-License-Identifier: Apache-2.0 */
/* sluiced: arguments, signals, and the life of the process. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/secret.h"
#include "gateway/config.h"
#include "gateway/daemon.h"

enum { EXIT_USAGE = 2 };

static const char usage[] = "usage: sluiced --config FILE [--check]\n"
                            "\n"
                            "  -c, --config FILE  system settings (docs/operations.md)\n"
                            "      --check        read the settings, say whether they are right, and stop\n"
                            "      --version\n";

/* Two descriptors a connection: whatever the system lets us have. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int serve(const struct sl_config *config)
{
    const struct timespec second = {.tv_sec = 1};
    struct sl_daemon *daemon = NULL;
    struct sl_diag diag = {""};
    sigset_t signals;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL); /* before any thread, so that all inherit it */

    if (sl_daemon_start(config, &daemon, &diag)) {
        fprintf(stderr, "sluiced: %s\n", diag.text);
        return EXIT_FAILURE;
    }
    sl_log(SL_LOG_INFO, "sluiced", "ready", SL_STR("version", SLUICE_VERSION), SL_STR("device", config->device_name),
           SL_U64("workers", config->workers));
    for (;;) {
        int s = sigtimedwait(&signals, NULL, &second);
        if (s == SIGTERM || s == SIGINT)
            break;
        if (s == SIGHUP)
            sl_daemon_reopen_logs(daemon);
        sl_daemon_housekeeping(daemon);
    }
    sl_log(SL_LOG_INFO, "sluiced", "draining", SL_U64("drain_ms", config->drain_ms));
    signal(SIGTERM, SIG_DFL); /* a second one ends the process at once */
    signal(SIGINT, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &signals, NULL);
    sl_daemon_stop(daemon, config->drain_ms);
    sl_log(SL_LOG_INFO, "sluiced", "stopped");
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"check", no_argument, NULL, 'k'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *path = NULL;
    struct sl_config config;
    struct sl_diag diag = {""};
    int option, check = 0;

    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            path = optarg;
            break;
        case 'k':
            check = 1;
            break;
        case 'V':
            puts("sluiced " SLUICE_VERSION);
            return EXIT_SUCCESS;
        case 'h':
            fputs(usage, stdout);
            return EXIT_SUCCESS;
        default:
            fputs(usage, stderr);
            return EXIT_USAGE;
        }
    }
    if (!path || optind != argc) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    umask(077);
    sl_secret_harden_process();
    raise_descriptor_limit();
    if (sl_config_load(path, &config, &diag)) {
        fprintf(stderr, "sluiced: %s\n", diag.text);
        return EXIT_FAILURE;
    }
    sl_log_configure(STDERR_FILENO, config.log.level, config.log.format);
    int status = EXIT_SUCCESS;
    if (check)
        printf("%s: right\n", path);
    else
        status = serve(&config);
    sl_config_free(&config);
    return status;
}
