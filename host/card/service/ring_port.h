/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network interface as a port of the card: frames come and go by rings that the kernel shares with us, packet(7) with
 * PACKET_RX_RING and PACKET_TX_RING (TPACKET_V2); no copy by a system call, one call for many frames sent.
 *
 * The interface is taken whole (promiscuous): every frame on it comes in. The kernel's own network stack still sees them; an
 * interface that has no address does nothing with them. What a network card has not done yet is done here: a VLAN tag that it took
 * off stands in the frame again, a checksum that it was to fill in is filled in. Frames that were put together by the kernel or the
 * network card (GRO, LRO, or a sender's TSO on a virtual cable) are longer than any frame of a wire, and count as too long: switch
 * that off with ethtool.
 *
 * Belongs to one thread. Needs CAP_NET_RAW to open.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { SL_RING_NAME = 16 /* IFNAMSIZ: an interface's name, with its end */ };

struct sl_ring_port;

struct sl_ring_frame {
    const uint8_t *bytes; /* valid until it is released */
    uint32_t count;
};

struct sl_ring_counters {
    uint64_t in, out;
    uint64_t no_room;  /* came in when the ring was full, so the kernel says */
    uint64_t too_long; /* came in longer than SL_ENGINE_FRAME_MAX, or was to go out longer than the interface takes */
};

/* name: of the interface, which must be there, be Ethernet and be up. SL_ERR_NOT_FOUND, SL_ERR_DENIED (CAP_NET_RAW),
 * SL_ERR_UNSUPPORTED, SL_ERR_NOMEM, SL_ERR_IO. */
sl_err sl_ring_port_open(const char *name, struct sl_ring_port **out, struct sl_diag *diag);
/* NULL is allowed. */
void sl_ring_port_close(struct sl_ring_port *port);

/* The next frames that have come, at most max. They stay the next ones until they are released. */
size_t sl_ring_port_look(struct sl_ring_port *port, struct sl_ring_frame *out, size_t max);
/* Gives the first count of them back. */
void sl_ring_port_release(struct sl_ring_port *port, size_t count);

/* How many frames can be put now. */
size_t sl_ring_port_room(struct sl_ring_port *port);
/* Copies a frame; only with room. One that the interface does not take is counted. */
void sl_ring_port_put(struct sl_ring_port *port, const uint8_t *bytes, uint32_t count);
/* Sends what was put. SL_ERR_AGAIN: not all of it yet; call again. SL_ERR_IO: the interface is down, or gone; what was put waits.
 */
sl_err sl_ring_port_flush(struct sl_ring_port *port);

/* Also looks whether the interface's MTU has changed: call it now and then. */
void sl_ring_port_counters(struct sl_ring_port *port, struct sl_ring_counters *out);
