// SPDX-License-Identifier: Apache-2.0
/*
 * libxrt_swemu.so.2 of the environment tree: loads Debian's library of that name and repairs alloc_void() in memory (repair.h).
 * XRT's loader takes it for the shim; all symbols are the stock library's.
 */
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "repair.h"

static const char stock[] = SLUICE_XRT_STOCK_SWEMU;
static const char symbol[] = "_ZN12xclcpuemhal29CpuemShim10alloc_voidEm";
static const char *state = "not loaded";

/* What was done, for tests and for people: "repaired", "needs no repair", or what is wrong. */
__attribute__((visibility("default"))) const char *sluice_xrt_repair(void);

const char *sluice_xrt_repair(void)
{
    return state;
}

static const char *lower_byte(uint8_t *byte)
{
    uintptr_t page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
    uint8_t *page = (uint8_t *)((uintptr_t)byte & ~(page_size - 1));
    if (mprotect(page, page_size, PROT_READ | PROT_WRITE | PROT_EXEC) != 0)
        return "the code of alloc_void can't be made writable";
    *byte = (uint8_t)(*byte - 7);
    mprotect(page, page_size, PROT_READ | PROT_EXEC);
    return "repaired";
}

static const char *repair(void *library)
{
    Dl_info info;
    void *entry = NULL;
    size_t at = 0;
    uint8_t *code = dlsym(library, symbol);
    if (!code || !dladdr1(code, &info, &entry, RTLD_DL_SYMENT) || !entry)
        return "alloc_void isn't there";
    switch (repair_find(code, (size_t)((const ElfW(Sym) *)entry)->st_size, &at)) {
    case REPAIR_NEEDED:
        return lower_byte(code + at);
    case REPAIR_NOT_NEEDED:
        return "needs no repair";
    default:
        return "alloc_void has an unknown form and was left alone";
    }
}

__attribute__((constructor)) static void load(void)
{
    void *library = dlopen(stock, RTLD_NOW | RTLD_GLOBAL);
    state = library ? repair(library) : dlerror();
    if (state[0] != 'r' && state[0] != 'n')
        fprintf(stderr, "sluice: %s: %s; XRT's software emulation may fail\n", stock, state);
}
