/* SPDX-License-Identifier: Apache-2.0 */
#include "record/ghash.h"

#include "base/be.h"

struct element {
    uint64_t high, low; /* the first bit of the standard is the top one of high */
};

/* SP 800-38D section 6.3, algorithm 1, with masks for its conditions. */
static struct element multiply(struct element x, struct element v)
{
    struct element z = {0, 0};
    for (unsigned i = 0; i < 128; i++) {
        const uint64_t word = i < 64 ? x.high : x.low;
        const uint64_t take = 0 - (word >> (63 - i % 64) & 1), carry = 0 - (v.low & 1);
        z.high ^= v.high & take;
        z.low ^= v.low & take;
        v.low = v.low >> 1 | v.high << 63;
        v.high = v.high >> 1 ^ (UINT64_C(0xe1) << 56 & carry);
    }
    return z;
}

static void multiply_hash(uint8_t hash[16], struct element by)
{
    const struct element z = multiply((struct element){sl_load_be64(hash), sl_load_be64(hash + 8)}, by);
    sl_store_be64(hash, z.high);
    sl_store_be64(hash + 8, z.low);
}

void sl_ghash_key_init(struct sl_ghash_key *key, const uint8_t h[16])
{
    *key = (struct sl_ghash_key){sl_load_be64(h), sl_load_be64(h + 8)};
}

void sl_ghash_update(const struct sl_ghash_key *key, uint8_t hash[16], size_t begun, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        hash[begun] ^= bytes[i];
        begun = (begun + 1) % 16;
        if (begun == 0)
            multiply_hash(hash, (struct element){key->high, key->low});
    }
}

void sl_ghash_shift(const struct sl_ghash_key *key, uint8_t hash[16], uint64_t blocks)
{
    struct element square = {key->high, key->low};
    for (; blocks != 0; blocks >>= 1) {
        if ((blocks & 1) != 0)
            multiply_hash(hash, square);
        square = multiply(square, square);
    }
}
