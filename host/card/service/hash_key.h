/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hash key of AES-GCM, H = E(K, 0): a session has four, so what one costs matters. Where the CPU has instructions for AES, the
 * round keys are made as they are used and never lie in memory; elsewhere OpenSSL does it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* One a thread. */
struct sl_card_hasher;
/* SL_ERR_NOMEM, SL_ERR_CRYPTO. */
sl_err sl_card_hasher_new(struct sl_card_hasher **out);
/* The same by OpenSSL on any CPU. */
sl_err sl_card_hasher_new_openssl(struct sl_card_hasher **out);
/* Wipes. NULL is allowed. */
void sl_card_hasher_free(struct sl_card_hasher *hasher);

/* key: 16 or 32 bytes. SL_ERR_CRYPTO. */
sl_err sl_card_hash_key(struct sl_card_hasher *hasher, const uint8_t *key, size_t key_bytes, uint8_t h[16]);
