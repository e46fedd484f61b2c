/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LISTEN_BACKLOG = 4096 };

void sl_endpoint_from_sockaddr(const struct sockaddr *sa, struct sl_endpoint *out)
{
    memset(out, 0, sizeof *out);
    if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)sa;
        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
            out->v4.sin_family = AF_INET;
            out->v4.sin_port = v6->sin6_port;
            memcpy(&out->v4.sin_addr, &v6->sin6_addr.s6_addr[12], 4);
        } else {
            out->v6 = *v6;
        }
    } else if (sa->sa_family == AF_INET) {
        memcpy(&out->v4, sa, sizeof out->v4);
    }
}

sl_err sl_endpoint_parse(const char *address, uint16_t port, struct sl_endpoint *out)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};

    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1) {
        sl_endpoint_from_sockaddr((const struct sockaddr *)&v4, out);
        return SL_OK;
    }
    if (inet_pton(AF_INET6, address, &v6.sin6_addr) == 1) {
        sl_endpoint_from_sockaddr((const struct sockaddr *)&v6, out);
        return SL_OK;
    }
    return SL_ERR_INVALID;
}

uint16_t sl_endpoint_port(const struct sl_endpoint *e)
{
    return ntohs(e->any.sa_family == AF_INET6 ? e->v6.sin6_port : e->v4.sin_port);
}

void sl_endpoint_set_port(struct sl_endpoint *e, uint16_t port)
{
    if (e->any.sa_family == AF_INET6)
        e->v6.sin6_port = htons(port);
    else
        e->v4.sin_port = htons(port);
}

socklen_t sl_endpoint_size(const struct sl_endpoint *e)
{
    return e->any.sa_family == AF_INET6 ? sizeof e->v6 : sizeof e->v4;
}

bool sl_endpoint_same_address(const struct sl_endpoint *a, const struct sl_endpoint *b)
{
    if (a->any.sa_family != b->any.sa_family)
        return false;
    if (a->any.sa_family == AF_INET)
        return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
    return memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof a->v6.sin6_addr) == 0;
}

const char *sl_endpoint_address(const struct sl_endpoint *e, char out[static SL_ENDPOINT_TEXT])
{
    const void *bytes = e->any.sa_family == AF_INET6 ? (const void *)&e->v6.sin6_addr : (const void *)&e->v4.sin_addr;
    if (e->any.sa_family == AF_UNSPEC || !inet_ntop(e->any.sa_family, bytes, out, SL_ENDPOINT_TEXT))
        out[0] = '\0';
    return out;
}

const char *sl_endpoint_text(const struct sl_endpoint *e, char out[static SL_ENDPOINT_TEXT])
{
    char address[SL_ENDPOINT_TEXT];
    sl_endpoint_address(e, address);
    snprintf(out, SL_ENDPOINT_TEXT, e->any.sa_family == AF_INET6 ? "[%.45s]:%u" : "%.45s:%u", address,
             (unsigned)sl_endpoint_port(e));
    return out;
}

static int set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value);
}

static int set_transparent(int fd, int family)
{
    return family == AF_INET6 ? set_option(fd, SOL_IPV6, IPV6_TRANSPARENT, 1) : set_option(fd, SOL_IP, IP_TRANSPARENT, 1);
}

static int new_socket(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    return fd;
}

sl_err sl_net_listen(const struct sl_endpoint *at, bool transparent, int *fd, struct sl_diag *diag)
{
    char text[SL_ENDPOINT_TEXT];
    *fd = -1;
    int s = new_socket(at->any.sa_family);
    if (s < 0)
        return sl_fail(diag, SL_ERR_IO, "no socket: %s", strerror(errno));
    if (set_option(s, SOL_SOCKET, SO_REUSEADDR, 1) || set_option(s, SOL_SOCKET, SO_REUSEPORT, 1) ||
        (at->any.sa_family == AF_INET6 && set_option(s, SOL_IPV6, IPV6_V6ONLY, 1)))
        goto Fail;
    if (transparent && set_transparent(s, at->any.sa_family)) {
        sl_err err =
            sl_fail(diag, SL_ERR_DENIED, "listener %s: transparent sockets need CAP_NET_ADMIN (%s); run as root or grant it",
                    sl_endpoint_text(at, text), strerror(errno));
        close(s);
        return err;
    }
    if (bind(s, &at->any, sl_endpoint_size(at)) || listen(s, LISTEN_BACKLOG))
        goto Fail;
    *fd = s;
    return SL_OK;
Fail:;
    sl_err err = sl_fail(diag, SL_ERR_IO, "listener %s: %s%s", sl_endpoint_text(at, text), strerror(errno),
                         errno == EADDRINUSE ? "; another program has this port: choose another in 'listeners'" : "");
    close(s);
    return err;
}

sl_err sl_net_accept(int listener, int *fd, struct sl_endpoint *peer, struct sl_endpoint *local)
{
    struct sockaddr_storage from = {0}, to = {0};
    socklen_t from_size = sizeof from, to_size = sizeof to;

    int s = accept4(listener, (struct sockaddr *)&from, &from_size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (s < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            return SL_ERR_LIMIT;
        return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED ? SL_ERR_AGAIN : SL_ERR_IO;
    }
    if (getsockname(s, (struct sockaddr *)&to, &to_size)) {
        close(s);
        return SL_ERR_IO;
    }
    set_option(s, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(s, SOL_SOCKET, SO_KEEPALIVE, 1);
    sl_endpoint_from_sockaddr((struct sockaddr *)&from, peer);
    sl_endpoint_from_sockaddr((struct sockaddr *)&to, local);
    *fd = s;
    return SL_OK;
}

/* Takes the client's own address and port; a port that is still in use (the client reconnects faster than the old pair dies) costs
 * only the port. */
static int bind_source(int s, const struct sl_endpoint *source)
{
    struct sl_endpoint any_port = *source;
    if (set_transparent(s, source->any.sa_family) || set_option(s, SOL_SOCKET, SO_REUSEADDR, 1))
        return -1;
    if (bind(s, &source->any, sl_endpoint_size(source)) == 0)
        return 0;
    if (errno != EADDRINUSE)
        return -1;
    sl_endpoint_set_port(&any_port, 0);
    set_option(s, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    return bind(s, &any_port.any, sl_endpoint_size(&any_port));
}

sl_err sl_net_connect(const struct sl_endpoint *to, const struct sl_endpoint *source, int *fd)
{
    int s = new_socket(to->any.sa_family);
    if (s < 0)
        return errno == EMFILE || errno == ENFILE ? SL_ERR_LIMIT : SL_ERR_IO;
    set_option(s, SOL_SOCKET, SO_KEEPALIVE, 1);
    if (source && source->any.sa_family == to->any.sa_family && bind_source(s, source))
        goto Fail;
    if (connect(s, &to->any, sl_endpoint_size(to)) == 0 || errno == EINPROGRESS) {
        *fd = s;
        return SL_OK;
    }
    /* The pair (client port, server) is still known to the kernel, for example in TIME_WAIT: another port of the same client does.
     */
    if ((errno == EADDRNOTAVAIL || errno == EADDRINUSE) && source && sl_endpoint_port(source) != 0) {
        struct sl_endpoint any_port = *source;
        sl_endpoint_set_port(&any_port, 0);
        close(s);
        return sl_net_connect(to, &any_port, fd);
    }
Fail:;
    int saved = errno;
    close(s);
    errno = saved;
    return SL_ERR_IO;
}

int sl_net_error(int fd)
{
    int value = 0;
    socklen_t size = sizeof value;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &size) ? errno : value;
}

void sl_net_close_reset(int fd)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
}

/* ---- guard ---- */

struct guard_entry {
    struct sl_endpoint address, mask;
    char name[IF_NAMESIZE];
};

struct sl_net_guard {
    struct guard_entry *entries;
    size_t count;
};

sl_err sl_net_guard_new(struct sl_net_guard **out)
{
    struct sl_net_guard *g = calloc(1, sizeof *g);
    if (!g)
        return SL_ERR_NOMEM;
    sl_err err = sl_net_guard_refresh(g);
    if (err) {
        free(g);
        return err;
    }
    *out = g;
    return SL_OK;
}

void sl_net_guard_free(struct sl_net_guard *g)
{
    if (g)
        free(g->entries);
    free(g);
}

sl_err sl_net_guard_refresh(struct sl_net_guard *g)
{
    struct ifaddrs *list = NULL;
    size_t count = 0;

    if (getifaddrs(&list))
        return SL_ERR_IO;
    for (struct ifaddrs *i = list; i; i = i->ifa_next)
        count++;
    struct guard_entry *entries = calloc(count + 1, sizeof *entries);
    if (!entries) {
        freeifaddrs(list);
        return SL_ERR_NOMEM;
    }
    count = 0;
    for (struct ifaddrs *i = list; i; i = i->ifa_next) {
        if (!i->ifa_addr || (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
            continue;
        struct guard_entry *e = &entries[count++];
        sl_endpoint_from_sockaddr(i->ifa_addr, &e->address);
        if (i->ifa_netmask)
            sl_endpoint_from_sockaddr(i->ifa_netmask, &e->mask);
        snprintf(e->name, sizeof e->name, "%s", i->ifa_name);
    }
    freeifaddrs(list);
    free(g->entries);
    g->entries = entries;
    g->count = count;
    return SL_OK;
}

bool sl_net_guard_is_own(const struct sl_net_guard *g, const struct sl_endpoint *to)
{
    for (size_t i = 0; i < g->count; i++)
        if (sl_endpoint_same_address(&g->entries[i].address, to))
            return true;
    return false;
}

bool sl_net_guard_forbids(const struct sl_net_guard *g, const struct sl_endpoint *to)
{
    if (to->any.sa_family == AF_INET) {
        uint32_t a = ntohl(to->v4.sin_addr.s_addr);
        if ((a >> 24) == 0 || (a >> 24) == 127 || (a >> 16) == 0xa9fe || (a >> 28) >= 0xe)
            return true;
    } else if (to->any.sa_family == AF_INET6) {
        static const uint8_t aws_metadata[16] = {0xfd, 0, 0x0e, 0xc2, [14] = 2, [15] = 0x54};
        const struct in6_addr *a = &to->v6.sin6_addr;
        if (IN6_IS_ADDR_LOOPBACK(a) || IN6_IS_ADDR_UNSPECIFIED(a) || IN6_IS_ADDR_LINKLOCAL(a) || IN6_IS_ADDR_MULTICAST(a) ||
            memcmp(a->s6_addr, aws_metadata, sizeof aws_metadata) == 0)
            return true;
    } else {
        return true;
    }
    return sl_net_guard_is_own(g, to);
}

static bool in_subnet(const struct guard_entry *e, const struct sl_endpoint *a)
{
    if (e->address.any.sa_family != a->any.sa_family || e->mask.any.sa_family != a->any.sa_family)
        return false;
    if (a->any.sa_family == AF_INET)
        return ((e->address.v4.sin_addr.s_addr ^ a->v4.sin_addr.s_addr) & e->mask.v4.sin_addr.s_addr) == 0;
    for (size_t i = 0; i < 16; i++)
        if ((e->address.v6.sin6_addr.s6_addr[i] ^ a->v6.sin6_addr.s6_addr[i]) & e->mask.v6.sin6_addr.s6_addr[i])
            return false;
    return true;
}

const char *sl_net_guard_interface(const struct sl_net_guard *g, const struct sl_endpoint *address)
{
    for (size_t i = 0; i < g->count; i++)
        if (in_subnet(&g->entries[i], address))
            return g->entries[i].name;
    return "";
}
