/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluiced as an object: the stores, the CA, the gateway and the management service, in the order they depend on each other. main.c
 * gives it its arguments and signals.
 */
#pragma once

#include "gateway/config.h"

struct sl_daemon;

/* Opens, loads and starts everything. config is borrowed for the daemon's life. On failure nothing runs and diag says what to do.
 */
sl_err sl_daemon_start(const struct sl_config *config, struct sl_daemon **out, struct sl_diag *diag);

/* To be called about once a second: gauges, daily rotation of the leaf keys. */
void sl_daemon_housekeeping(struct sl_daemon *d);

/* SIGHUP. */
void sl_daemon_reopen_logs(struct sl_daemon *d);

/* Drains the gateway for at most drain_ms, then stops and releases everything. */
void sl_daemon_stop(struct sl_daemon *d, uint64_t drain_ms);
