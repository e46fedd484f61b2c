/* SPDX-License-Identifier: Apache-2.0 */
#include <locale.h>
#include <signal.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/cli.h"

int main(int argc, char **argv)
{
    struct sl_cli cli = {.in = stdin, .out = stdout, .err = stderr, .in_is_tty = isatty(0) == 1, .out_is_tty = isatty(1) == 1};

    setlocale(LC_TIME, "C");
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of writing */
    sl_log_configure(STDERR_FILENO, SL_LOG_ERROR, SL_LOG_TEXT);
    return sl_cli_main(&cli, (const char *const *)argv + 1, argc > 0 ? (size_t)argc - 1 : 0);
}
