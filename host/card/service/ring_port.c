/* SPDX-License-Identifier: Apache-2.0 */
#include "card/service/ring_port.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/be.h"
#include "card/engine.h"
#include "card/service/frame.h"

enum {
    SLOT = 1 << 14,  /* a frame of SL_ENGINE_FRAME_MAX and the kernel's header */
    BLOCK = 1 << 17, /* the kernel allocates a ring in pieces of this */
    SLOTS = 1 << 10, /* of a ring */
    VLAN = 4,        /* bytes of a tag */
    TAGGED = 0x8100, /* the kernel leaves room for this tag beyond the MTU, and for no other */
    STATIONS = 12,   /* bytes of both addresses, in front of it */
    ETHERNET = 14,
    TX_AT = sizeof(struct tpacket2_hdr) /* where the kernel looks for a frame that is to go out */
};
static_assert(sizeof(struct tpacket2_hdr) % TPACKET_ALIGNMENT == 0, "the frame follows the header at once");

struct sl_ring_port {
    int fd;
    unsigned index;         /* of the interface */
    uint8_t *map, *rx, *tx; /* SLOTS slots each */
    size_t looked, next_in; /* of the slots from next_in on, so many were made ready */
    size_t next_out, unsent_from, busy;
    uint32_t frame_max; /* that the interface sends, without a tag */
    struct sl_ring_counters counters;
};

static struct tpacket2_hdr *slot(uint8_t *ring, size_t number)
{
    return (struct tpacket2_hdr *)(void *)(ring + number % SLOTS * SLOT);
}

static uint32_t status_of(const struct tpacket2_hdr *h)
{
    return __atomic_load_n(&h->tp_status, __ATOMIC_ACQUIRE);
}

static void set_status(struct tpacket2_hdr *h, uint32_t status)
{
    __atomic_store_n(&h->tp_status, status, __ATOMIC_RELEASE);
}

/* ---- open, close ---- */

static sl_err failed(const char *name, const char *what, struct sl_diag *diag)
{
    const int number = errno;
    if (number == EPERM || number == EACCES)
        return sl_fail(diag, SL_ERR_DENIED, "%s: a port needs the capability CAP_NET_RAW", name);
    return sl_fail(diag, number == ENOMEM ? SL_ERR_NOMEM : SL_ERR_IO, "%s: %s: %s", name, what, strerror(number));
}

static sl_err set(struct sl_ring_port *port, const char *name, int option, const void *value, socklen_t size, struct sl_diag *diag)
{
    return setsockopt(port->fd, SOL_PACKET, option, value, size) == 0 ? SL_OK
                                                                      : failed(name, "the kernel refuses a packet ring", diag);
}

static sl_err map_rings(struct sl_ring_port *port, const char *name, struct sl_diag *diag)
{
    const struct tpacket_req ring = {
        .tp_block_size = BLOCK, .tp_block_nr = SLOTS / (BLOCK / SLOT), .tp_frame_size = SLOT, .tp_frame_nr = SLOTS};
    const size_t bytes = (size_t)SLOTS * SLOT;
    const int version = TPACKET_V2, yes = 1;
    sl_err err = set(port, name, PACKET_VERSION, &version, sizeof version, diag);

    if (!err)
        err = set(port, name, PACKET_LOSS, &yes, sizeof yes, diag); /* one that can't be sent does not hold up the others */
    if (!err)
        err = set(port, name, PACKET_IGNORE_OUTGOING, &yes, sizeof yes, diag);
    if (!err)
        err = set(port, name, PACKET_RX_RING, &ring, sizeof ring, diag);
    if (!err)
        err = set(port, name, PACKET_TX_RING, &ring, sizeof ring, diag);
    if (err)
        return err;
    port->map = mmap(NULL, 2 * bytes, PROT_READ | PROT_WRITE, MAP_SHARED, port->fd, 0);
    if (port->map == MAP_FAILED) {
        port->map = NULL;
        return failed(name, "mmap", diag);
    }
    port->rx = port->map;
    port->tx = port->map + bytes;
    return SL_OK;
}

/* False: the interface has gone. */
static bool learn_frame_max(struct sl_ring_port *port)
{
    struct ifreq request = {.ifr_mtu = 0};

    if (if_indextoname(port->index, request.ifr_name) == NULL || ioctl(port->fd, SIOCGIFMTU, &request) != 0)
        return false;
    port->frame_max = (uint32_t)request.ifr_mtu + ETHERNET;
    return true;
}

static sl_err check_interface(struct sl_ring_port *port, const char *name, struct sl_diag *diag)
{
    struct ifreq request = {.ifr_ifindex = 0};

    if (strlen(name) >= sizeof request.ifr_name || (port->index = if_nametoindex(name)) == 0)
        return sl_fail(diag, SL_ERR_NOT_FOUND, "%s: there is no such network interface", name);
    memcpy(request.ifr_name, name, strlen(name) + 1);
    if (ioctl(port->fd, SIOCGIFHWADDR, &request) != 0)
        return failed(name, "its type", diag);
    if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER)
        return sl_fail(diag, SL_ERR_UNSUPPORTED, "%s: not an Ethernet interface", name);
    if (ioctl(port->fd, SIOCGIFFLAGS, &request) != 0)
        return failed(name, "its state", diag);
    if ((request.ifr_flags & IFF_UP) == 0)
        return sl_fail(diag, SL_ERR_UNSUPPORTED, "%s: the interface is down: ip link set %s up", name, name);
    return learn_frame_max(port) ? SL_OK : failed(name, "its MTU", diag);
}

sl_err sl_ring_port_open(const char *name, struct sl_ring_port **out, struct sl_diag *diag)
{
    struct sl_ring_port *port = calloc(1, sizeof *port);
    sl_err err;

    if (port == NULL)
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    /* Protocol 0: nothing comes in before it is bound to one interface. */
    port->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    err = port->fd < 0 ? failed(name, "socket", diag) : check_interface(port, name, diag);
    if (!err)
        err = map_rings(port, name, diag);
    if (!err) {
        const int index = (int)port->index;
        const struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = index};
        const struct packet_mreq whole = {.mr_ifindex = index, .mr_type = PACKET_MR_PROMISC};
        err = set(port, name, PACKET_ADD_MEMBERSHIP, &whole, sizeof whole, diag);
        if (!err && bind(port->fd, (const struct sockaddr *)(const void *)&address, sizeof address) != 0)
            err = failed(name, "bind", diag);
    }
    if (err)
        sl_ring_port_close(port);
    else
        *out = port;
    return err;
}

void sl_ring_port_close(struct sl_ring_port *port)
{
    if (port == NULL)
        return;
    if (port->map != NULL)
        munmap(port->map, 2 * (size_t)SLOTS * SLOT);
    if (port->fd >= 0)
        close(port->fd);
    free(port);
}

/* ---- in ---- */

/* The frame as it came over the wire. The kernel leaves room for a tag in front of it: it aligns the IP header to 16 bytes, behind
 * 16 bytes at least for the Ethernet header. */
static void restore(struct tpacket2_hdr *h, uint32_t status)
{
    uint8_t *frame = (uint8_t *)h + h->tp_mac;

    if ((status & TP_STATUS_VLAN_VALID) != 0 && h->tp_snaplen >= STATIONS) {
        memmove(frame - VLAN, frame, STATIONS);
        sl_store_be16(frame + STATIONS - VLAN, (status & TP_STATUS_VLAN_TPID_VALID) != 0 ? h->tp_vlan_tpid : ETH_P_8021Q);
        sl_store_be16(frame + STATIONS - VLAN + 2, h->tp_vlan_tci);
        h->tp_mac = (uint16_t)(h->tp_mac - VLAN);
        h->tp_snaplen += VLAN;
        h->tp_len += VLAN;
        frame -= VLAN;
    }
    struct sl_frame_view view;
    if ((status & TP_STATUS_CSUMNOTREADY) != 0 && sl_frame_view(frame, h->tp_snaplen, &view))
        sl_frame_fix_checksums(frame, &view);
}

size_t sl_ring_port_look(struct sl_ring_port *port, struct sl_ring_frame *out, size_t max)
{
    size_t n = 0;

    while (n < max && n < SLOTS) {
        struct tpacket2_hdr *h = slot(port->rx, port->next_in + n);
        const uint32_t status = status_of(h);
        if ((status & TP_STATUS_USER) == 0)
            break;
        if (n == port->looked) {
            port->counters.in++;
            port->looked++;
            /* Empty: dropped by whoever takes it, and counted there. */
            const uint32_t tag = (status & TP_STATUS_VLAN_VALID) != 0 ? VLAN : 0;
            if (h->tp_snaplen != h->tp_len || h->tp_len + tag > SL_ENGINE_FRAME_MAX) {
                port->counters.too_long++;
                h->tp_snaplen = 0;
            } else {
                restore(h, status);
            }
        }
        out[n++] = (struct sl_ring_frame){.bytes = (const uint8_t *)h + h->tp_mac, .count = h->tp_snaplen};
    }
    return n;
}

void sl_ring_port_release(struct sl_ring_port *port, size_t count)
{
    for (size_t i = 0; i < count; i++)
        set_status(slot(port->rx, port->next_in + i), TP_STATUS_KERNEL);
    port->next_in += count;
    port->looked -= count;
}

/* ---- out ---- */

size_t sl_ring_port_room(struct sl_ring_port *port)
{
    while (port->busy > 0 && status_of(slot(port->tx, port->unsent_from)) == TP_STATUS_AVAILABLE) {
        port->unsent_from++;
        port->busy--;
    }
    return SLOTS - port->busy;
}

/* The kernel would drop another one without a word. */
static bool fits(const struct sl_ring_port *port, const uint8_t *bytes, uint32_t count)
{
    const bool tagged = count > ETHERNET && bytes[STATIONS] == TAGGED >> 8 && bytes[STATIONS + 1] == (TAGGED & 0xff);
    return count <= SLOT - TX_AT && count <= port->frame_max + (tagged ? VLAN : 0);
}

void sl_ring_port_put(struct sl_ring_port *port, const uint8_t *bytes, uint32_t count)
{
    struct tpacket2_hdr *h = slot(port->tx, port->next_out);

    if (!fits(port, bytes, count)) {
        port->counters.too_long++;
        return;
    }
    memcpy((uint8_t *)h + TX_AT, bytes, count);
    h->tp_len = count;
    set_status(h, TP_STATUS_SEND_REQUEST);
    port->next_out++;
    port->busy++;
    port->counters.out++;
}

sl_err sl_ring_port_flush(struct sl_ring_port *port)
{
    if (port->busy == 0)
        return SL_OK;
    if (send(port->fd, NULL, 0, MSG_DONTWAIT) >= 0)
        return SL_OK;
    return errno == EAGAIN || errno == ENOBUFS || errno == EINTR ? SL_ERR_AGAIN : SL_ERR_IO;
}

void sl_ring_port_counters(struct sl_ring_port *port, struct sl_ring_counters *out)
{
    struct tpacket_stats since = {.tp_drops = 0}; /* since it was asked for last */
    socklen_t size = sizeof since;

    if (getsockopt(port->fd, SOL_PACKET, PACKET_STATISTICS, &since, &size) == 0)
        port->counters.no_room += since.tp_drops;
    learn_frame_max(port);
    *out = port->counters;
}
