/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 5-tuple in five words, so that it is compared and hashed without branches:
 *
 *   word 0, 1  source address, as its bytes lie in memory; IPv4: the first 4 bytes, the rest zero
 *   word 2, 3  destination
 *   word 4     source port | destination port << 16 | protocol << 32 | version << 40
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct sl_flow_key {
    uint64_t word[5];
};

static inline uint64_t sl_flow_key_tail(unsigned sport, unsigned dport, unsigned proto, unsigned version)
{
    return (uint64_t)sport | (uint64_t)dport << 16 | (uint64_t)proto << 32 | (uint64_t)version << 40;
}

static inline unsigned sl_flow_key_sport(const struct sl_flow_key *key)
{
    return (uint16_t)key->word[4];
}

static inline unsigned sl_flow_key_dport(const struct sl_flow_key *key)
{
    return (uint16_t)(key->word[4] >> 16);
}

static inline unsigned sl_flow_key_proto(const struct sl_flow_key *key)
{
    return (uint8_t)(key->word[4] >> 32);
}

static inline unsigned sl_flow_key_version(const struct sl_flow_key *key)
{
    return (uint8_t)(key->word[4] >> 40);
}

static inline bool sl_flow_key_equal(const struct sl_flow_key *a, const struct sl_flow_key *b)
{
    uint64_t differ = 0;
    for (unsigned i = 0; i < 5; i++)
        differ |= a->word[i] ^ b->word[i];
    return differ == 0;
}

/* The same flow, seen from the other side. */
static inline struct sl_flow_key sl_flow_key_reversed(const struct sl_flow_key *key)
{
    const uint64_t tail = key->word[4];
    return (struct sl_flow_key){{key->word[2], key->word[3], key->word[0], key->word[1],
                                 (tail & ~UINT64_C(0xffffffff)) | (tail & 0xffff) << 16 | (tail >> 16 & 0xffff)}};
}
