/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters and gauges, registered once by name and then updated without locks from any thread. Names follow Prometheus' rules
 * (sluice_connections_total); labels are closed sets written into the name (sluice_events_total{cause="SRV_CERT_EXPIRED"}), never
 * something a peer chose.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"

struct sl_metrics; /* a registry */
struct sl_metric;  /* one value; lives as long as its registry */

sl_err sl_metrics_new(struct sl_metrics **out);
void sl_metrics_free(struct sl_metrics *m);

enum sl_metric_kind { SL_COUNTER, SL_GAUGE };
/* Registers, or finds what is registered under the same name. SL_ERR_INVALID: a bad name, or another kind. */
sl_err sl_metric_register(struct sl_metrics *m, enum sl_metric_kind kind, const char *name, const char *help,
                          struct sl_metric **out);

void sl_metric_add(struct sl_metric *metric, int64_t n); /* relaxed atomic; NULL is allowed and does nothing */
void sl_metric_set(struct sl_metric *metric, int64_t value);
int64_t sl_metric_get(const struct sl_metric *metric);

/* Calls visit for every metric in order of name. */
void sl_metrics_visit(struct sl_metrics *m,
                      void (*visit)(void *arg, enum sl_metric_kind kind, const char *name, const char *help, int64_t value),
                      void *arg);
