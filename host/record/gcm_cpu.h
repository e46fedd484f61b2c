/* SPDX-License-Identifier: Apache-2.0 */
/* What this x86 CPU and its operating system offer: CPUID leaves 1 and 7, and XGETBV. Internal to record/. */
#pragma once

#include <cpuid.h>
#include <stdbool.h>
#include <stdint.h>

struct sl_cpu {
    bool avx_aes;     /* AVX, AES-NI, PCLMULQDQ */
    bool avx2_vaes;   /* AVX2, VAES, VPCLMULQDQ */
    bool avx512_vaes; /* and AVX-512 F, BW, DQ, VL */
};

static inline struct sl_cpu sl_cpu_detect(void)
{
    enum { OSXSAVE = 1 << 27, AVX = 1 << 28, AES = 1 << 25, PCLMUL = 1 << 1, SSSE3 = 1 << 9 }; /* leaf 1, ECX */
    enum { AVX2 = 1 << 5, VAES = 1 << 9, VPCLMUL = 1 << 10 };                                  /* leaf 7, EBX and ECX */
    const uint32_t avx512 = 1U << 16 | 1U << 17 | 1U << 30 | 1U << 31;                         /* leaf 7, EBX: F, DQ, BW, VL */
    enum { YMM = 0x06, ZMM = 0xe6 };                                                           /* state that the system saves */
    struct sl_cpu cpu = {false, false, false};
    uint32_t a, b, c, d, xcr0, xcr0_high;

    if (__get_cpuid(1, &a, &b, &c, &d) == 0)
        return cpu;
    const uint32_t basic = OSXSAVE | AVX | AES | PCLMUL | SSSE3;
    if ((c & basic) != basic)
        return cpu;
    __asm__ volatile("xgetbv" : "=a"(xcr0), "=d"(xcr0_high) : "c"(0));
    cpu.avx_aes = (xcr0 & YMM) == YMM;
    if (!cpu.avx_aes || __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0)
        return cpu;
    cpu.avx2_vaes = (b & AVX2) != 0 && (c & VAES) != 0 && (c & VPCLMUL) != 0;
    cpu.avx512_vaes = cpu.avx2_vaes && (xcr0 & ZMM) == ZMM && (b & avx512) == avx512;
    return cpu;
}
