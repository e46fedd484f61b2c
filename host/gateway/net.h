/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets of the gateway: listeners, transparent upstream connections, and the addresses that must never be proxied to.
 * All sockets are non-blocking and close-on-exec.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "base/err.h"

/* An IPv4 or IPv6 endpoint. IPv4-mapped IPv6 addresses are normalised to IPv4 by whatever produces one. */
struct sl_endpoint {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
};

enum { SL_ENDPOINT_TEXT = 64 };

sl_err sl_endpoint_parse(const char *address, uint16_t port, struct sl_endpoint *out); /* literals only */
uint16_t sl_endpoint_port(const struct sl_endpoint *e);
void sl_endpoint_set_port(struct sl_endpoint *e, uint16_t port);
socklen_t sl_endpoint_size(const struct sl_endpoint *e);
bool sl_endpoint_same_address(const struct sl_endpoint *a, const struct sl_endpoint *b);
void sl_endpoint_from_sockaddr(const struct sockaddr *sa, struct sl_endpoint *out);
/* The address alone: "192.0.2.1", "2001:db8::1". */
const char *sl_endpoint_address(const struct sl_endpoint *e, char out[static SL_ENDPOINT_TEXT]);
/* With port: "192.0.2.1:443", "[2001:db8::1]:443". */
const char *sl_endpoint_text(const struct sl_endpoint *e, char out[static SL_ENDPOINT_TEXT]);

/* A listening socket. transparent: takes connections meant for any address (IP_TRANSPARENT; needs CAP_NET_ADMIN).
 * On failure *fd is -1 and diag says what to do. */
sl_err sl_net_listen(const struct sl_endpoint *at, bool transparent, int *fd, struct sl_diag *diag);

/* Accepts one connection; SL_ERR_AGAIN if none waits, SL_ERR_LIMIT if descriptors ran out. peer is the client, local what it
 * connected to. */
sl_err sl_net_accept(int listener, int *fd, struct sl_endpoint *peer, struct sl_endpoint *local);

/* Begins a connection to `to`; the socket becomes writable when it stands or fails. source, where not NULL, is the address and port
 * to come from (IP_TRANSPARENT); a port that is taken falls back to the address alone. */
sl_err sl_net_connect(const struct sl_endpoint *to, const struct sl_endpoint *source, int *fd);

/* The pending error of a socket (SO_ERROR): 0 or an errno value. */
int sl_net_error(int fd);

/* Closes so that the peer gets a reset. */
void sl_net_close_reset(int fd);

/* Addresses a gateway must never be made to connect to (A12): its own, loopback, link-local and cloud metadata, unspecified,
 * multicast, broadcast. */
struct sl_net_guard;
sl_err sl_net_guard_new(struct sl_net_guard **out);
void sl_net_guard_free(struct sl_net_guard *g);
sl_err sl_net_guard_refresh(struct sl_net_guard *g); /* reads the interfaces again; on failure the old list stays */
bool sl_net_guard_forbids(const struct sl_net_guard *g, const struct sl_endpoint *to);
bool sl_net_guard_is_own(const struct sl_net_guard *g, const struct sl_endpoint *to);
/* The interface whose subnet holds the address, or "": names the ingress and egress interface in events. */
const char *sl_net_guard_interface(const struct sl_net_guard *g, const struct sl_endpoint *address);
