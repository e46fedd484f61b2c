/* SPDX-License-Identifier: Apache-2.0 */
/* GHASH (SP 800-38D section 6.4) in plain C, in time that depends on lengths only: for engines whose library keeps its own to
 * itself. Hashes are in the order of the standard; the last block of one may be begun: XORed in, not yet multiplied. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct sl_ghash_key {
    uint64_t high, low; /* H; secret */
};

void sl_ghash_key_init(struct sl_ghash_key *key, const uint8_t h[16]);
/* len more bytes; the block that is begun has `begun` bytes already (0..15). */
void sl_ghash_update(const struct sl_ghash_key *key, uint8_t hash[16], size_t begun, const uint8_t *bytes, size_t len);
/* hash times H^blocks */
void sl_ghash_shift(const struct sl_ghash_key *key, uint8_t hash[16], uint64_t blocks);
