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

void xrt_lab_fault(const char *lines)
{
    FILE *f = fopen(fault_path, "w");
    if (f == NULL || fputs(lines, f) < 0 || fclose(f) != 0)
        abort();
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

unsigned xrt_lab_processes(void)
{
    unsigned count = 0;
    DIR *all = opendir("/proc");
    if (all == NULL)
        abort();
    for (const struct dirent *e; (e = readdir(all)) != NULL;)
        if (e->d_name[0] >= '1' && e->d_name[0] <= '9')
            count += is_ours(e->d_name);
    closedir(all);
    return count;
}

void xrt_lab_await_none(void)
{
    for (unsigned i = 0; xrt_lab_processes() > 0; i++) {
        if (i > PATIENCE_S * 100)
            fail_msg("%u processes of the card have not ended", xrt_lab_processes());
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
}
