/* SPDX-License-Identifier: Apache-2.0 */
/* sluice-card: arguments, signals, and the life of the process. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/secret.h"
#include "card/service/agent.h"

enum { EXIT_USAGE = 2 };

static volatile sig_atomic_t ended;

static void on_end(int number)
{
    (void)number;
    ended = 1;
}

/* The handler is for the first signal only: a second one ends the process at once. */
static void catch_end(void)
{
    struct sigaction action = {.sa_handler = on_end, .sa_flags = (int)SA_RESETHAND};
    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
}

/* Keys are locked in memory as far as the system lets us. */
static void raise_limits(void)
{
    static const int kinds[] = {RLIMIT_NOFILE, RLIMIT_MEMLOCK};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct rlimit limit;
        if (getrlimit((__rlimit_resource_t)kinds[i], &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
            limit.rlim_cur = limit.rlim_max;
            setrlimit((__rlimit_resource_t)kinds[i], &limit);
        }
    }
}

static int serve(const struct sl_card_options *options)
{
    struct sl_card_agent *agent = NULL;
    struct sl_diag diag = {""};
    sl_err err = SL_OK;

    catch_end();
    if (sl_card_agent_start(options, &agent, &diag)) {
        fprintf(stderr, "sluice-card: %s\n", diag.text);
        return EXIT_FAILURE;
    }
    while (!ended && !sl_card_agent_over(agent, &err))
        ;
    sl_log(SL_LOG_INFO, "card", "draining", SL_U64("drain_ms", options->drain_ms));
    sl_err written = sl_card_agent_stop(agent);
    if (written)
        sl_log(SL_LOG_ERROR, "card", "the mirror was not written whole");
    sl_log(SL_LOG_INFO, "card", "stopped");
    return err || written ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct sl_card_options options;
    enum sl_card_start start;
    struct sl_diag diag = {""};

    if (sl_card_options_parse(argc, argv, &options, &start, &diag)) {
        fprintf(stderr, "sluice-card: %s\n", diag.text);
        return EXIT_USAGE;
    }
    if (start == SL_CARD_START_HELP) {
        fputs(sl_card_usage, stdout);
        return EXIT_SUCCESS;
    }
    if (start == SL_CARD_START_VERSION) {
        puts("sluice-card " SLUICE_VERSION);
        return EXIT_SUCCESS;
    }
    umask(077);
    sl_secret_harden_process();
    raise_limits();
    sl_log_configure(STDERR_FILENO, options.log_level, options.log_format);
    return serve(&options);
}
