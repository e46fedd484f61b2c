/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flow: one TCP connection through Sluice, from accept to its event.
 *
 *   transparent          explicit
 *        │                REQUEST ─▶ RESOLVE ─▶ CONNECT ─▶ "200"
 *        ▼                                                  │
 *      HELLO ◀──────────────────────────────────────────────┘
 *        │ access rules, decryption rules
 *        ▼
 *     CONNECT (if not yet) ──▶ bypass, non-TLS: RELAY of the bytes as they are
 *        ▼ decrypt
 *     SERVER_HANDSHAKE ──▶ RECONNECT (bypass decided late: the client's own ClientHello goes out on a second connection)
 *        ▼ chain accepted, leaf minted
 *     CLIENT_HANDSHAKE
 *        ▼ keys handed over
 *      RELAY ─▶ LINGER (last bytes and alerts reach the peers) ─▶ closed: one event
 *
 * flow.c holds this life, decide.c the questions to policy, handshake.c the two TLS legs, relay.c what moves bytes, report.c the
 * event.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "gateway/net.h"
#include "gateway/socket.h"
#include "gateway/worker.h"

/* What the worker calls; nothing else is known about flows outside. */
sl_err sl_flow_worker_init(struct sl_worker *w); /* creates w->tls and w->leaves */
void sl_flow_accept(struct sl_worker *w, const struct sl_listener *l, int fd, const struct sl_endpoint *client,
                    const struct sl_endpoint *local);
void sl_flow_tick(struct sl_worker *w); /* ends flows whose time is over */
/* Cause SHUTDOWN. at_once: also those that only linger, so that nothing is left once the loop has closed their sockets. */
void sl_flow_end_all(struct sl_worker *w, bool at_once);
