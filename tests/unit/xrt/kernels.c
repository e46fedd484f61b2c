// SPDX-License-Identifier: Apache-2.0
/* The kernels of the simulated card's own tests: arguments from 0x10, as test.json has them. */
#include <kernel.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

sluice_kernel_function sluice_kernel_add, sluice_kernel_ring, sluice_kernel_fall;

/* add(in, out, count, value): out[i] = in[i] + value; leaves count in a register behind the arguments. */
void sluice_kernel_add(struct sluice_kernel *kernel)
{
    uint32_t count = sluice_kernel_read(kernel, 0x28), value = sluice_kernel_read(kernel, 0x30);
    const uint32_t *in = sluice_kernel_memory(kernel, sluice_kernel_read64(kernel, 0x10), (size_t)count * 4);
    uint32_t *out = sluice_kernel_memory(kernel, sluice_kernel_read64(kernel, 0x1c), (size_t)count * 4);
    for (uint32_t i = 0; i < count; i++)
        out[i] = in[i] + value;
    sluice_kernel_write(kernel, 0x40, count);
}

/* ring(words): runs until words[0] is 1; whenever words[1] has changed, words[2] becomes its double and words[3] follows it. */
void sluice_kernel_ring(struct sluice_kernel *kernel)
{
    _Atomic uint32_t *words = sluice_kernel_memory(kernel, sluice_kernel_read64(kernel, 0x10), 16);
    uint32_t seen = 0;
    while (atomic_load(&words[0]) != 1 && !sluice_kernel_stopping(kernel)) {
        uint32_t now = atomic_load(&words[1]);
        if (now == seen) {
            nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
            continue;
        }
        seen = now;
        atomic_store(&words[2], now * 2);
        atomic_store(&words[3], now);
    }
}

__attribute__((noinline)) static uint32_t overflow(volatile uint32_t *above)
{
    volatile uint32_t here[1024] = {0};
    here[0] = above[0] + 1;
    return above[0] ? overflow(here) + here[1023] : 0;
}

/* fall(how): 0 a null pointer, 1 abort, 2 a division by zero, 3 its own stack. */
__attribute__((no_sanitize("undefined"))) void sluice_kernel_fall(struct sluice_kernel *kernel)
{
    volatile uint32_t how = sluice_kernel_read(kernel, 0x10), zero = 0;
    if (how == 0)
        *(volatile uint32_t *)sluice_kernel_memory(kernel, UINT64_MAX - 64, 4) = 1;
    else if (how == 1)
        abort();
    else if (how == 2)
        sluice_kernel_write(kernel, 0x40, how / zero); // NOLINT(clang-analyzer-core.DivideZero)
    else
        sluice_kernel_write(kernel, 0x40, overflow(&how));
}
