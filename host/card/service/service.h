/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two gRPC services of sluice-card, sluice.card.v1.Card and openoffload.v1.SessionTable, over one loop (loop.h).
 *
 * Who may call:
 *   unix socket   root, the user that sluice-card runs as, members of the configured group; by the credentials that the kernel
 * vouches for TCP           whoever has a client certificate of the configured CA; there is no TCP without Everybody else gets
 * PERMISSION_DENIED, or does not get as far as a handler.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/metrics.h"
#include "card/service/loop.h"
#include "rpc/server.h"

struct sl_card_service_config {
    const char *unix_path; /* NULL: no unix socket */
    const char *tcp;       /* "192.0.2.1:9445"; NULL: no TCP. Needs tls */
    struct sl_rpc_tls_files tls;
    bool has_group;
    gid_t group;                /* its members may call, besides root and our own user */
    struct sl_metrics *metrics; /* NULL: none */
};

struct sl_card_service;

/* Made before the loop, because the loop tells it of events: sl_card_service_events is for sl_card_hooks.events. */
sl_err sl_card_service_new(struct sl_card_service **out);
void sl_card_service_events(void *service, const struct sl_card_told *events, size_t count, uint64_t lost);

/* Serves. The loop outlives the service's stop. On failure nothing runs and diag says which address, file or service is at fault.
 */
sl_err sl_card_service_start(struct sl_card_service *service, const struct sl_card_service_config *config,
                             struct sl_card_loop *loop, struct sl_diag *diag);
/* The TCP port that was bound; 0: none. */
int sl_card_service_tcp_port(const struct sl_card_service *service);
/* Takes no new calls, lets those in progress finish for drain_ms (watchers end at once), cancels the rest. */
void sl_card_service_stop(struct sl_card_service *service, uint32_t drain_ms);
/* After the loop has stopped. NULL is allowed. */
void sl_card_service_free(struct sl_card_service *service);
