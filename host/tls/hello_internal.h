/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of the ClientHello reader. */
#pragma once

#include "tls/client_hello.h"

/* Memory for the lists of one ClientHello, and as much again for sorting them. */
struct sl_hello_arena {
    uint16_t *words;
    size_t used, cap;
    uint16_t *scratch; /* cap words */
};

sl_err sl_hello_arena_init(struct sl_hello_arena *a, size_t message_bytes); /* SL_ERR_NOMEM */
void sl_hello_arena_free(struct sl_hello_arena *a);

/* One whole handshake message. SL_ERR_ALERT(n), SL_ERR_NOMEM, SL_ERR_CRYPTO. h borrows from message and arena. */
sl_err sl_hello_parse(const uint8_t *message, size_t len, struct sl_hello_arena *a, struct sl_client_hello *h);

/* Sorts into a->scratch. */
bool sl_hello_has_duplicate(const struct sl_u16_list *list, struct sl_hello_arena *a);

/* Fills h->ja4. SL_ERR_NOMEM, SL_ERR_CRYPTO. */
sl_err sl_hello_ja4(struct sl_client_hello *h, struct sl_hello_arena *a);
