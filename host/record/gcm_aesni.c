/* SPDX-License-Identifier: Apache-2.0 */
/* The engine for AVX with AES-NI and PCLMULQDQ (Sandy Bridge and later). */
#define LANES 1
#include "record/gcm_x86.h"

#include "record/gcm_cpu.h"

static bool usable(void)
{
    return sl_cpu_detect().avx_aes;
}

X86_ENGINE(sl_gcm_aesni, "aesni", usable);
