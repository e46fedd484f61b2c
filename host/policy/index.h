/* SPDX-License-Identifier: Apache-2.0 */
/* Names to positions: which object a reference means. Borrows the names. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "sluice/v1/config.pb-c.h"

struct sl_index_item {
    const char *name;
    size_t at; /* position in the configuration's list */
};
struct sl_index {
    struct sl_index_item *items; /* by name, then by position */
    size_t count;
};

sl_err sl_index_networks(const Sluice__V1__Config *c, struct sl_index *out);
sl_err sl_index_services(const Sluice__V1__Config *c, struct sl_index *out);
sl_err sl_index_hosts(const Sluice__V1__Config *c, struct sl_index *out);
sl_err sl_index_decryption_rules(const Sluice__V1__Config *c, struct sl_index *out);
sl_err sl_index_access_rules(const Sluice__V1__Config *c, struct sl_index *out);
sl_err sl_index_certificates(const Sluice__V1__Config *c, struct sl_index *out);
/* The first object of that name. */
bool sl_index_find(const struct sl_index *x, const char *name, size_t *at);
void sl_index_free(struct sl_index *x);
