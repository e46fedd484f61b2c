// SPDX-License-Identifier: Apache-2.0
/*
 * Hosts as processes in groups of their own. Whoever tests never touches XRT, which takes over signal handlers and ends its process
 * group when a device dies. Failures are cmocka's.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct host {
    pid_t pid;
    char folder[64];
};

/* Before the first: the devices of a host that has ended become this process' children. */
void hosts_prepare(void);

/* Starts "PROGRAM NAME TREE XCLBIN FOLDER", in a new folder. */
void host_begin(struct host *host, const char *program, const char *name, const char *tree, const char *xclbin);
/* Ends the host's story: the status of waitpid, with nothing left of it, neither process nor file. */
int host_end(struct host *host);
int host_run(const char *program, const char *name, const char *tree, const char *xclbin);

/* A check of the host's own (check.h). */
bool host_failed(int status);
