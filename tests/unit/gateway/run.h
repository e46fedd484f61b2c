/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests of flows: a gateway with one worker and an explicit listener on loopback, and plain sockets on both sides of it.
 * All in one thread but the gateway's own: a test does on either side what it wants, in the order it wants. */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "gateway/gateway.h"
#include "sluice/v1/event.pb-c.h"

#include "../tls/peers.h"

struct run {
    struct test_world *world;
    struct sl_metrics *metrics;
    struct sl_event_store *events;
    struct sl_gateway *gateway;
    uint16_t port; /* of the gateway */
    int origin;    /* listening */
    uint16_t origin_port;
    char folder[64];
};

/* settings: YAML of the section "settings", one key a line, without indentation. */
struct run *run_start(const char *settings);
void run_stop(struct run *r);

/* Sockets block, but not for ever: a test that would hang fails. */
int run_client(struct run *r); /* connected to the gateway, nothing sent */
int run_accept(struct run *r);
/* A tunnel: client asks, origin accepts, client has its "200". more: bytes behind the request; NULL: none. */
void run_tunnel(struct run *r, int *client, int *server, const void *more, size_t more_len);
void run_send(int fd, const void *bytes, size_t len);
void run_receive(int fd, void *bytes, size_t len);
void run_receive_end(int fd); /* FIN, not a reset */
void run_reset(int fd);       /* closes with a reset */

/* Moves bytes between TLS peers and their sockets until both handshakes are complete. */
void run_handshake(struct test_peer *client, int client_fd, struct test_peer *server, int server_fd);
/* What waits in the socket goes into the peer (false: the end of the stream), what the peer has to say goes out. */
bool run_move(struct test_peer *p, int fd);
/* Reads application data: > 0; 0: close_notify; -1: the stream's end without one, or an alert. Waits. */
int run_tls_read(struct test_peer *p, int fd, void *out, int cap);

/* The event of the last flow, once no flow is left; free with sl_event_free. */
Sluice__V1__Event *run_event(struct run *r);
