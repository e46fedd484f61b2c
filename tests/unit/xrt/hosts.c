// SPDX-License-Identifier: Apache-2.0
#include "hosts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

enum { HOST_LIMIT_MS = 120000, LEAVE_LIMIT_MS = 20000 };

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

void host_begin(struct host *host, const char *program, const char *name, const char *tree, const char *xclbin)
{
    char log[128];
    strcpy(host->folder, "xrt-XXXXXX");
    assert_non_null(mkdtemp(host->folder));
    snprintf(log, sizeof log, "%s/log", host->folder);
    host->pid = fork();
    assert_true(host->pid >= 0);
    if (host->pid == 0) {
        char *folder = realpath(host->folder, NULL);
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        setpgid(0, 0);
        if (fd >= 0 && folder) {
            dup2(fd, 1);
            dup2(fd, 2);
            execl(program, program, name, tree, xclbin, folder, (char *)NULL);
        }
        _exit(127);
    }
    setpgid(host->pid, host->pid); // whoever is first
}

/* Waits for a process, or for any of a group. False: nothing ended in time; 0 processes left is an end, too. */
static bool wait_for(pid_t pid, int *status, unsigned limit_ms)
{
    for (unsigned ms = 0; ms < limit_ms; ms += 2) {
        pid_t got = waitpid(pid, status, WNOHANG);
        if (got > 0 || (got < 0 && errno == ECHILD))
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return false;
}

/* The device processes of a host that has ended: they are this process' now (PR_SET_CHILD_SUBREAPER). */
static bool devices_leave(pid_t group)
{
    int status;
    while (wait_for(-group, &status, LEAVE_LIMIT_MS)) {
        if (waitpid(-group, &status, WNOHANG) < 0 && errno == ECHILD)
            return true;
    }
    return false;
}

/* Prints what the host and its devices have said. True: a sanitizer was among them, perhaps in a device whose end nobody else sees.
 */
static bool print_log(const struct host *host, bool print)
{
    char path[128], line[512];
    snprintf(path, sizeof path, "%s/log", host->folder);
    FILE *file = fopen(path, "re");
    bool found = false;
    while (file && fgets(line, sizeof line, file)) {
        found = found || strstr(line, "Sanitizer") || strstr(line, "runtime error:");
        if (print || found)
            fprintf(stderr, "  %s", line);
    }
    if (file)
        fclose(file);
    return found;
}

int host_end(struct host *host)
{
    int status = 0;
    bool ended = wait_for(host->pid, &status, HOST_LIMIT_MS);
    bool left = ended && devices_leave(host->pid);
    if (!left)
        kill(-host->pid, SIGKILL);
    bool found = print_log(host, status != 0 || !left);
    nftw(host->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    assert_true(ended);
    assert_true(left);
    assert_false(found);
    return status;
}

int host_run(const char *program, const char *name, const char *tree, const char *xclbin)
{
    struct host host;
    host_begin(&host, program, name, tree, xclbin);
    return host_end(&host);
}

bool host_failed(int status)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == HOST_FAILED;
}

void hosts_prepare(void)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1);
}
