// SPDX-License-Identifier: Apache-2.0
#include "kernels.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

/* The file's content in a memfd, or -1. */
static int copy_of(const char *path)
{
    struct stat status;
    int from = open(path, O_RDONLY | O_CLOEXEC);
    int to = memfd_create("sluice-kernels", MFD_CLOEXEC);
    bool ok = from >= 0 && to >= 0 && fstat(from, &status) == 0 && status.st_size > 0;
    for (off_t done = 0; ok && done < status.st_size;) {
        ssize_t sent = sendfile(to, from, &done, (size_t)(status.st_size - done));
        ok = sent > 0;
    }
    if (from >= 0)
        close(from);
    if (!ok && to >= 0)
        close(to);
    return ok ? to : -1;
}

bool kernels_open(struct kernels *kernels, const char *path)
{
    char name[32];
    *kernels = (struct kernels){.fd = copy_of(path)};
    if (kernels->fd < 0) {
        fprintf(stderr, "sluice-xrt-device: can't read the kernels in %s\n", path);
        return false;
    }
    snprintf(name, sizeof name, "/proc/self/fd/%d", kernels->fd);
    kernels->library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!kernels->library) {
        fprintf(stderr, "sluice-xrt-device: the xclbin's BITSTREAM is no shared object for this machine: %s\n", dlerror());
        kernels_close(kernels);
        return false;
    }
    return true;
}

sluice_kernel_function *kernels_find(const struct kernels *kernels, const char *name)
{
    char symbol[128];
    sluice_kernel_function *function = NULL;
    snprintf(symbol, sizeof symbol, "sluice_kernel_%s", name);
    void *address = dlsym(kernels->library, symbol);
    memcpy(&function, &address, sizeof function); // ISO C has no cast for it
    if (!function)
        fprintf(stderr, "sluice-xrt-device: the xclbin's BITSTREAM has no %s\n", symbol);
    return function;
}

void kernels_close(struct kernels *kernels)
{
    if (kernels->library)
        dlclose(kernels->library);
    if (kernels->fd >= 0)
        close(kernels->fd);
    *kernels = (struct kernels){.fd = -1};
}
