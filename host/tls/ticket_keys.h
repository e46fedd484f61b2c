/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys that seal session tickets to clients. A key seals for one period and opens for two; then it is overwritten (P12), so that an
 * old ticket stays closed even for somebody who takes the process' memory later. Thread-safe. Internal to tls/.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <openssl/evp.h>

#include "base/clock.h"
#include "base/err.h"

enum { SL_TICKET_NAME_BYTES = 16 };

struct sl_ticket_keys;

sl_err sl_ticket_keys_new(const struct sl_clock *clock, uint64_t period_ns, struct sl_ticket_keys **out);
void sl_ticket_keys_free(struct sl_ticket_keys *k);

/* Destroys what is too old; called at every use, too. */
void sl_ticket_keys_tick(struct sl_ticket_keys *k);

/* Keys the two contexts for sealing under the present key, whose name it gives. */
sl_err sl_ticket_keys_seal(struct sl_ticket_keys *k, const EVP_CIPHER *cipher, uint8_t name[static SL_TICKET_NAME_BYTES],
                           uint8_t iv[static EVP_MAX_IV_LENGTH], EVP_CIPHER_CTX *crypt, EVP_MAC_CTX *mac);
/* For opening. SL_ERR_NOT_FOUND: no such key (any more). *old: it no longer seals. */
sl_err sl_ticket_keys_open(struct sl_ticket_keys *k, const EVP_CIPHER *cipher, const uint8_t name[static SL_TICKET_NAME_BYTES],
                           const uint8_t *iv, EVP_CIPHER_CTX *crypt, EVP_MAC_CTX *mac, bool *old);
