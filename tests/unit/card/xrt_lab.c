/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "xrt_lab.h"

#include <dirent.h>
#include <environment.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* PATIENCE: only bounds a failure. SILENCE_MS: the card, the worker and the test share a machine with others. */
enum { PATIENCE_S = 60, SILENCE_MS = 20000 };

static char folder[64], fault_path[96];

static int remove_one(const char *path, const struct stat *info, int flag, struct FTW *walk)
{
    (void)info;
    (void)flag;
    (void)walk;
    return remove(path);
}

int xrt_lab_begin(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/sluice-xrt-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(fault_path, sizeof(fault_path), "%s/faults", folder);
    xrt_lab_fault("");
    const struct sl_xrt_environment environment = {
        .tree = SLUICE_XRT_TREE, .run_folder = folder, .fault_file = fault_path, .resident = true};
    return sl_xrt_environment_set(&environment) ? 0 : -1;
}

int xrt_lab_end(void **state)
{
    (void)state;
    xrt_lab_await_none();
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The device looks at the file again and again; it must not see half of it. */
void xrt_lab_fault(const char *lines)
{
    char path[128];
    snprintf(path, sizeof(path), "%s.new", fault_path);
    FILE *f = fopen(path, "w");
    if (f == NULL || fputs(lines, f) < 0 || fclose(f) != 0 || rename(path, fault_path) != 0)
        abort();
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

void xrt_lab_fault_now(const char *lines)
{
    char seen[128];
    snprintf(seen, sizeof(seen), "%s.seen", fault_path);
    (void)unlink(seen);
    xrt_lab_fault(lines);
    for (unsigned i = 0; access(seen, F_OK) != 0; i++) {
        if (i > PATIENCE_S * 1000)
            fail_msg("the device does not look at its faults");
        pause_ms(1);
    }
}

sl_err xrt_lab_try(const struct sl_engine_options *options, struct sl_engine **out, struct sl_diag *diag)
{
    struct sl_engine_options o = *options;
    if (o.xclbin == NULL)
        o.xclbin = SLUICE_SIM_XCLBIN;
    if (o.worker == NULL)
        o.worker = SLUICE_XRT_WORKER;
    if (o.dead_after_ms == 0)
        o.dead_after_ms = SILENCE_MS;
    return sl_engine_open_xrt(&o, out, diag);
}

struct sl_engine *xrt_lab_open(const struct sl_engine_options *options)
{
    struct sl_engine *engine = NULL;
    struct sl_diag diag = {""};
    const sl_err err = xrt_lab_try(options, &engine, &diag);
    if (err != SL_OK)
        fail_msg("%s: %s", sl_err_str(err), diag.text);
    return engine;
}

/* The fault file's name is in the environment of each. */
static bool is_ours(const char *pid)
{
    static char environment[1 << 17];
    char path[300];
    snprintf(path, sizeof(path), "/proc/%s/environ", pid);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return false;
    const size_t n = fread(environment, 1, sizeof(environment), f);
    fclose(f);
    return atoi(pid) != getpid() && memmem(environment, n, fault_path, strlen(fault_path)) != NULL;
}

static bool is_called(const char *pid, const char *name)
{
    char path[300], called[64] = "";
    snprintf(path, sizeof(path), "/proc/%s/comm", pid);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return false;
    const bool read = fgets(called, sizeof(called), f) != NULL;
    fclose(f);
    return read && strncmp(called, name, strlen(name)) == 0;
}

/* name NULL: any. *one: one of them. */
static unsigned find_processes(const char *name, pid_t *one)
{
    unsigned count = 0;
    DIR *all = opendir("/proc");
    if (all == NULL)
        abort();
    for (const struct dirent *e; (e = readdir(all)) != NULL;) {
        if (e->d_name[0] < '1' || e->d_name[0] > '9' || !is_ours(e->d_name) || (name != NULL && !is_called(e->d_name, name)))
            continue;
        *one = (pid_t)atoi(e->d_name);
        count++;
    }
    closedir(all);
    return count;
}

unsigned xrt_lab_processes(void)
{
    pid_t one;
    return find_processes(NULL, &one);
}

pid_t xrt_lab_worker(void)
{
    pid_t one;
    if (find_processes("sluice-card-xrt", &one) != 1)
        fail_msg("there is not one worker");
    return one;
}

void xrt_lab_await_none(void)
{
    for (unsigned i = 0; xrt_lab_processes() > 0; i++) {
        if (i > PATIENCE_S * 100)
            fail_msg("%u processes of the card have not ended", xrt_lab_processes());
        pause_ms(10);
    }
}
