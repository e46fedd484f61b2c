/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Big-endian numbers at places whose bounds are known already: in headers that were measured before, and in what is our own. What
 * still has to be measured is read through base/cursor.h.
 */
#pragma once

#include <stdint.h>

static inline uint16_t sl_load_be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t sl_load_be32(const uint8_t *p)
{
    return (uint32_t)sl_load_be16(p) << 16 | sl_load_be16(p + 2);
}

static inline uint64_t sl_load_be64(const uint8_t *p)
{
    return (uint64_t)sl_load_be32(p) << 32 | sl_load_be32(p + 4);
}

/* The lower 16 bits of x. */
static inline void sl_store_be16(uint8_t *p, uint32_t x)
{
    p[0] = (uint8_t)(x >> 8);
    p[1] = (uint8_t)x;
}

static inline void sl_store_be32(uint8_t *p, uint32_t x)
{
    sl_store_be16(p, x >> 16);
    sl_store_be16(p + 2, x);
}

static inline void sl_store_be64(uint8_t *p, uint64_t x)
{
    sl_store_be32(p, (uint32_t)(x >> 32));
    sl_store_be32(p + 4, (uint32_t)x);
}
