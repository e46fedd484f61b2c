// SPDX-License-Identifier: Apache-2.0
/*
 * What a kernel of the simulated card is: a function "sluice_kernel_<name>" in the shared object that is the xclbin's BITSTREAM.
 * The device process calls it on the compute unit's own thread for each run; its return is the unit's ap_done. C and C++.
 *
 * A kernel that runs until it is told to (a resident kernel) must look at sluice_kernel_stopping() as well: a reset or the end
 * of the device sets it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sluice_kernel {
    const char *unit;    /* "vadd_1" */
    uint32_t unit_index; /* by base address, from 0: XRT's own order */
    const struct sluice_kernel_calls *calls;
    void *state; /* the kernel's own, null at load; kept from run to run */
};

enum sluice_kernel_fault_kind {
    SLUICE_FAULT_LOSE,
    SLUICE_FAULT_DELAY,
    SLUICE_FAULT_FLIP,
    SLUICE_FAULT_OVERRUN,
    SLUICE_FAULT_STRAY,
    SLUICE_FAULT_REFUSE
};

/* A fault that is the kernel's own (sim/xrt/fault.h). entry: counted from the next one, which is 1. */
struct sluice_kernel_fault {
    enum sluice_kernel_fault_kind kind;
    uint32_t entry;
    uint32_t delay_ms;
    uint32_t bit;
    uint64_t byte;
};

struct sluice_kernel_calls {
    void *(*memory)(const struct sluice_kernel *kernel, uint64_t address, size_t size);
    uint32_t (*read)(const struct sluice_kernel *kernel, uint32_t offset);
    void (*write)(const struct sluice_kernel *kernel, uint32_t offset, uint32_t value);
    int (*stopping)(const struct sluice_kernel *kernel);
    int (*fault)(const struct sluice_kernel *kernel, struct sluice_kernel_fault *fault);
};

typedef void sluice_kernel_function(struct sluice_kernel *kernel);

/* The bytes [address, address + size) of device memory, shared with the host; null if they don't lie in one buffer. Valid until the
   host frees the buffer. */
static inline void *sluice_kernel_memory(const struct sluice_kernel *kernel, uint64_t address, size_t size)
{
    return kernel->calls->memory(kernel, address, size);
}

/* A register of the unit's map, by byte offset (a multiple of 4); 0 beyond its end. Arguments begin at 0x10. */
static inline uint32_t sluice_kernel_read(const struct sluice_kernel *kernel, uint32_t offset)
{
    return kernel->calls->read(kernel, offset);
}

static inline uint64_t sluice_kernel_read64(const struct sluice_kernel *kernel, uint32_t offset)
{
    return kernel->calls->read(kernel, offset) | (uint64_t)kernel->calls->read(kernel, offset + 4) << 32;
}

/* The host sees it with xrtKernelReadRegister. */
static inline void sluice_kernel_write(const struct sluice_kernel *kernel, uint32_t offset, uint32_t value)
{
    kernel->calls->write(kernel, offset, value);
}

/* Whether the kernel must return now. */
static inline int sluice_kernel_stopping(const struct sluice_kernel *kernel)
{
    return kernel->calls->stopping(kernel);
}

/* The next fault for this unit, which is then the kernel's to inject; 0: there is none. Asked at each new entry; from any thread.
 */
static inline int sluice_kernel_next_fault(const struct sluice_kernel *kernel, struct sluice_kernel_fault *fault)
{
    return kernel->calls->fault(kernel, fault);
}

#ifdef __cplusplus
}
#endif
