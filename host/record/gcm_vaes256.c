/* SPDX-License-Identifier: Apache-2.0 */
/* The engine for AVX2 with VAES and VPCLMULQDQ (Zen 3, Alder Lake and later). */
#define LANES 2
#include "record/gcm_x86.h"

#include "record/gcm_cpu.h"

static bool usable(void)
{
    return sl_cpu_detect().avx2_vaes;
}

X86_ENGINE(sl_gcm_vaes256, "vaes256", usable);
