// SPDX-License-Identifier: Apache-2.0
/*
 * The kernels of a loaded xclbin: a shared object, held in memory only. Two loads never share anything, statics included.
 */
#pragma once

#include <stdbool.h>

#include "kernel.h"

struct kernels {
    int fd;
    void *library;
};

/* Copies the file and opens the copy. False, with a line on stderr: it can't be read or isn't a shared object for this machine. */
bool kernels_open(struct kernels *kernels, const char *path);
sluice_kernel_function *kernels_find(const struct kernels *kernels, const char *name);
void kernels_close(struct kernels *kernels);
