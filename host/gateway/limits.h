/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many connections there may be, in all and for one client (A11). A client is an IPv4 address or an IPv6 /64, since a host owns
 * a whole /64. Thread-safe.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "gateway/net.h"

struct sl_limits;

sl_err sl_limits_new(struct sl_limits **out);
void sl_limits_free(struct sl_limits *l);

/* Counts a connection in. SL_ERR_LIMIT: max_total is reached. SL_ERR_DENIED: this client has max_per_client. SL_ERR_NOMEM. On
 * failure nothing was counted. */
sl_err sl_limits_take(struct sl_limits *l, const struct sl_endpoint *client, size_t max_total, size_t max_per_client);

/* Counts out what was counted in. */
void sl_limits_release(struct sl_limits *l, const struct sl_endpoint *client);

size_t sl_limits_total(const struct sl_limits *l);
