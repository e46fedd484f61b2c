/* SPDX-License-Identifier: Apache-2.0 */
/* The engine for AVX-512 with VAES and VPCLMULQDQ (Ice Lake, Zen 4 and later). */
#define LANES 4
#include "record/gcm_x86.h"

#include "record/gcm_cpu.h"

static bool usable(void)
{
    return sl_cpu_detect().avx512_vaes;
}

X86_ENGINE(sl_gcm_vaes512, "vaes512", usable);
