/* SPDX-License-Identifier: Apache-2.0 */
#include "card/sum.h"

#include <string.h>

/* 32-bit words are added up in 64 bits in the machine's order, which only exchanges the bytes of the result (RFC 1071 section 2).
 */
uint32_t sl_cpu_sum(const uint8_t *bytes, size_t count)
{
    uint64_t a = 0, b = 0, c = 0, d = 0;
    uint64_t w[4];
    for (; count >= sizeof(w); bytes += sizeof(w), count -= sizeof(w)) {
        memcpy(w, bytes, sizeof(w));
        a += (w[0] & 0xffffffff) + (w[0] >> 32);
        b += (w[1] & 0xffffffff) + (w[1] >> 32);
        c += (w[2] & 0xffffffff) + (w[2] >> 32);
        d += (w[3] & 0xffffffff) + (w[3] >> 32);
    }
    for (; count >= 8; bytes += 8, count -= 8) {
        memcpy(w, bytes, 8);
        a += (w[0] & 0xffffffff) + (w[0] >> 32);
    }
    if (count > 0) {
        w[0] = 0;
        memcpy(w, bytes, count);
        b += (w[0] & 0xffffffff) + (w[0] >> 32);
    }
    a += b + c + d;
    a = (a & 0xffffffff) + (a >> 32);
    a = (a & 0xffff) + (a >> 16 & 0xffff) + (a >> 32);
    const uint16_t sum = sl_cpu_sum_fold((uint32_t)a);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return (uint16_t)(sum >> 8 | sum << 8);
#else
    return sum;
#endif
}
