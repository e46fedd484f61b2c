/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Internet checksum (RFC 1071). A sum here is any 32-bit number that is congruent to the one's complement sum of big-endian
 * 16-bit words modulo 65535, and zero only if all bytes are; so sums of even-length parts are added without care.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* At most 65,535 bytes; an odd end counts as if a zero followed. The result is below 2^17. */
uint32_t sl_cpu_sum(const uint8_t *bytes, size_t count);

/* 1..0xffff; 0 only for 0 */
static inline uint16_t sl_cpu_sum_fold(uint32_t sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)((sum & 0xffff) + (sum >> 16));
}
