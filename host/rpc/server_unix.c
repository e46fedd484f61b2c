/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix sockets. The core can listen on one, but doesn't tell who connected; so we accept, ask the kernel (SO_PEERCRED), and give
 * the connected descriptor to the core.
 *
 * Identity. The core names such a connection by its descriptor number alone ("fd:17"), and numbers are reused: a call that was
 * read from a closed connection could be judged by the credentials of the next one. Therefore a number belongs to the first user
 * (uid, gid) that came over it for as long as the server lives; a connection of another user is moved to another number before the
 * core sees it. The pid is only the latest one.
 *
 * Counting. The core doesn't say either when a connection ends. A duplicate of the descriptor stays in our epoll set and tells: the
 * core shuts the socket down when it is through with it, and the peer's end shows as a hang-up.
 */
#include <errno.h>
#include <fcntl.h>
#include <grpc/grpc_posix.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "rpc/server_internal.h"

struct owner {
    bool known;
    uid_t uid;
    gid_t gid;
    pid_t pid;
};

struct watched {
    int fd;                 /* our duplicate */
    uint64_t full_since_ns; /* 0: not known to be full */
    struct watched *next, **prev;
};

struct sl_rpc_unix_listener {
    struct sl_rpc_server *server;
    int listen_fd, epoll_fd, wake_fd;
    struct sockaddr_un address;
    dev_t dev;
    ino_t ino;
    grpc_server_credentials *credentials;
    pthread_t thread;
    bool running;
    unsigned connections;
    struct watched *watched;

    pthread_mutex_t lock; /* owners */
    struct owner *owners; /* by descriptor number */
    size_t owner_count;
};

/* ------------------------------------------------------------------------------------------------------------------------ identity
 */

/* Whether the number may carry this user's connection; if so it does. */
static bool claim_number(struct sl_rpc_unix_listener *l, int fd, const struct ucred *who)
{
    bool claimed = false;
    size_t n = (size_t)fd;
    pthread_mutex_lock(&l->lock);
    if (n >= l->owner_count) {
        struct owner *grown = realloc(l->owners, (n + 64) * sizeof *grown);
        if (grown == NULL)
            goto Exit;
        memset(grown + l->owner_count, 0, (n + 64 - l->owner_count) * sizeof *grown);
        l->owners = grown;
        l->owner_count = n + 64;
    }
    if (!l->owners[n].known || (l->owners[n].uid == who->uid && l->owners[n].gid == who->gid)) {
        l->owners[n] = (struct owner){.known = true, .uid = who->uid, .gid = who->gid, .pid = who->pid};
        claimed = true;
    }
Exit:
    pthread_mutex_unlock(&l->lock);
    return claimed;
}

/* Moves the connection to a number that may carry it. -1: none is left; fd is closed either way. */
static int move_to_own_number(struct sl_rpc_unix_listener *l, int fd, const struct ucred *who)
{
    while (!claim_number(l, fd, who)) {
        int moved = fcntl(fd, F_DUPFD_CLOEXEC, fd + 1);
        close(fd);
        if (moved < 0)
            return -1;
        fd = moved;
    }
    return fd;
}

bool sl_rpc_unix_peer(struct sl_rpc_unix_listener *l, int fd, struct sl_rpc_peer *peer)
{
    bool known = false;
    if (l == NULL || fd < 0)
        return false;
    pthread_mutex_lock(&l->lock);
    if ((size_t)fd < l->owner_count && l->owners[fd].known) {
        const struct owner *owner = &l->owners[fd];
        peer->local = known = true;
        peer->uid = owner->uid;
        peer->gid = owner->gid;
        peer->pid = owner->pid;
        snprintf(peer->address, sizeof peer->address, "unix:%u", (unsigned)owner->uid);
    }
    pthread_mutex_unlock(&l->lock);
    return known;
}

/* ----------------------------------------------------------------------------------------------------------------------- accepting
 */

static bool watch(struct sl_rpc_unix_listener *l, int fd)
{
    struct watched *w = calloc(1, sizeof *w);
    if (w == NULL)
        return false;
    w->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    struct epoll_event event = {.events = EPOLLRDHUP, .data.ptr = w};
    if (w->fd < 0 || epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, w->fd, &event) != 0) {
        if (w->fd >= 0)
            close(w->fd);
        free(w);
        return false;
    }
    w->next = l->watched;
    w->prev = &l->watched;
    if (w->next != NULL)
        w->next->prev = &w->next;
    l->watched = w;
    l->connections++;
    sl_metric_add(l->server->connections_active, 1);
    return true;
}

static void unwatch(struct sl_rpc_unix_listener *l, struct watched *w)
{
    /* Closing isn't enough: the core's descriptor keeps the open file, and thereby our entry, alive. */
    epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
    close(w->fd);
    *w->prev = w->next;
    if (w->next != NULL)
        w->next->prev = w->prev;
    free(w);
    l->connections--;
    sl_metric_add(l->server->connections_active, -1);
}

/* Out of descriptors: the connection stays in the backlog, so don't ask again at once. */
static void pause_accepting(struct sl_rpc_unix_listener *l)
{
    sl_log(SL_LOG_WARN, "rpc", "can't accept", SL_STR("path", l->address.sun_path), SL_STR("reason", strerror(errno)));
    usleep(50000);
}

static void accept_one(struct sl_rpc_unix_listener *l)
{
    struct ucred who;
    socklen_t len = sizeof who;
    int fd = accept4(l->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            pause_accepting(l);
        return;
    }
    if (l->connections >= l->server->options.max_local_connections || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0) {
        sl_log(SL_LOG_WARN, "rpc", "connection refused", SL_STR("path", l->address.sun_path),
               SL_U64("connections", l->connections));
        close(fd);
        return;
    }
    fd = move_to_own_number(l, fd, &who);
    if (fd < 0 || !watch(l, fd)) {
        pause_accepting(l);
        if (fd >= 0)
            close(fd);
        return;
    }
    grpc_server_add_channel_from_fd(l->server->core, fd, l->credentials);
}

static uint64_t now_ns(void)
{
    const struct sl_clock *clock = sl_clock_system();
    return clock->mono_ns(clock->arg);
}

static void ask_for_room(struct sl_rpc_unix_listener *l, struct watched *w, bool ask)
{
    struct epoll_event event = {.events = ask ? EPOLLRDHUP | EPOLLOUT : EPOLLRDHUP, .data.ptr = w};
    epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, w->fd, &event);
    w->full_since_ns = ask ? now_ns() : 0;
}

static void look_for_stalled(struct sl_rpc_unix_listener *l)
{
    uint64_t patience_ns =
        ((uint64_t)l->server->options.keepalive_time_ms + l->server->options.keepalive_timeout_ms) * SL_NS_PER_MS;
    for (struct watched *w = l->watched; w != NULL; w = w->next) {
        struct pollfd room = {.fd = w->fd, .events = POLLOUT};
        if (w->full_since_ns == 0 && poll(&room, 1, 0) == 0) {
            ask_for_room(l, w, true);
        } else if (w->full_since_ns != 0 && now_ns() - w->full_since_ns > patience_ns) {
            sl_log(SL_LOG_WARN, "rpc", "a client has stopped reading: connection closed", SL_STR("path", l->address.sun_path));
            shutdown(w->fd, SHUT_RDWR);
        }
    }
}

static void on_watched(struct sl_rpc_unix_listener *l, struct watched *w, uint32_t events)
{
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        unwatch(l, w);
    else
        ask_for_room(l, w, false);
}

static void *accept_main(void *arg)
{
    struct sl_rpc_unix_listener *l = arg;
    const uint64_t tick_ns = (uint64_t)l->server->options.keepalive_timeout_ms * SL_NS_PER_MS / 2 + SL_NS_PER_MS;
    uint64_t looked_ns = now_ns();
    for (;;) {
        struct epoll_event events[32];
        int n = epoll_wait(l->epoll_fd, events, 32, l->connections > 0 ? (int)(tick_ns / SL_NS_PER_MS) : -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == &l->wake_fd)
                return NULL;
            if (events[i].data.ptr == &l->listen_fd)
                accept_one(l);
            else
                on_watched(l, events[i].data.ptr, events[i].events);
        }
        if (now_ns() - looked_ns >= tick_ns) {
            look_for_stalled(l);
            looked_ns = now_ns();
        }
    }
}

/* ------------------------------------------------------------------------------------------------------------------------- set-up
 */

/* A socket that nobody answers at is left from a process that died. */
static sl_err remove_stale(const struct sockaddr_un *address, struct sl_diag *diag)
{
    struct stat st;
    if (lstat(address->sun_path, &st) != 0)
        return errno == ENOENT ? SL_OK : sl_fail(diag, SL_ERR_IO, "%s: %s", address->sun_path, strerror(errno));
    if (!S_ISSOCK(st.st_mode))
        return sl_fail(diag, SL_ERR_EXISTS, "%s exists and is not a socket", address->sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return sl_fail(diag, SL_ERR_IO, "socket: %s", strerror(errno));
    int refused = connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 && errno == ECONNREFUSED;
    close(fd);
    if (!refused)
        return sl_fail(diag, SL_ERR_EXISTS, "%s: another process is listening there", address->sun_path);
    if (unlink(address->sun_path) != 0)
        return sl_fail(diag, SL_ERR_IO, "%s: %s", address->sun_path, strerror(errno));
    return SL_OK;
}

/* Nobody can connect before listen, so the permissions are right from the first connection on. */
static sl_err bind_and_listen(struct sl_rpc_unix_listener *l, mode_t mode, struct sl_diag *diag)
{
    const char *path = l->address.sun_path;
    struct stat st;
    l->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->listen_fd < 0 || bind(l->listen_fd, (const struct sockaddr *)&l->address, sizeof l->address) != 0)
        return sl_fail(diag, SL_ERR_IO, "%s: %s", path, strerror(errno));
    if (stat(path, &st) != 0)
        return sl_fail(diag, SL_ERR_IO, "%s: %s", path, strerror(errno));
    l->dev = st.st_dev;
    l->ino = st.st_ino;
    if (chmod(path, mode) != 0 || listen(l->listen_fd, 128) != 0)
        return sl_fail(diag, SL_ERR_IO, "%s: %s", path, strerror(errno));
    return SL_OK;
}

static sl_err open_epoll(struct sl_rpc_unix_listener *l, struct sl_diag *diag)
{
    struct epoll_event listening = {.events = EPOLLIN, .data.ptr = &l->listen_fd};
    struct epoll_event wake = {.events = EPOLLIN, .data.ptr = &l->wake_fd};
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (l->epoll_fd < 0 || l->wake_fd < 0 || epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->listen_fd, &listening) != 0 ||
        epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->wake_fd, &wake) != 0)
        return sl_fail(diag, SL_ERR_IO, "epoll: %s", strerror(errno));
    return SL_OK;
}

sl_err sl_rpc_unix_listen(struct sl_rpc_server *server, const char *path, mode_t mode, struct sl_rpc_unix_listener **out,
                          struct sl_diag *diag)
{
    sl_err err;
    size_t len = strlen(path);
    struct sl_rpc_unix_listener *l = calloc(1, sizeof *l);
    if (l == NULL)
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    l->server = server;
    l->listen_fd = l->epoll_fd = l->wake_fd = -1;
    l->credentials = grpc_insecure_server_credentials_create();
    pthread_mutex_init(&l->lock, NULL);
    l->address.sun_family = AF_UNIX;
    if (len == 0 || len >= sizeof l->address.sun_path) {
        err = sl_fail(diag, SL_ERR_INVALID, "the socket's path has %zu characters; 1 to %zu are possible", len,
                      sizeof l->address.sun_path - 1);
    } else {
        memcpy(l->address.sun_path, path, len + 1);
        err = remove_stale(&l->address, diag);
    }
    if (err == SL_OK)
        err = bind_and_listen(l, mode, diag);
    if (err == SL_OK)
        err = open_epoll(l, diag);
    if (err == SL_OK)
        *out = l;
    else
        sl_rpc_unix_free(l);
    return err;
}

sl_err sl_rpc_unix_start(struct sl_rpc_unix_listener *l, struct sl_diag *diag)
{
    sigset_t old;
    sl_rpc_core_block_signals(&old);
    l->running = pthread_create(&l->thread, NULL, accept_main, l) == 0;
    sl_rpc_core_restore_signals(&old);
    return l->running ? SL_OK : sl_fail(diag, SL_ERR_NOMEM, "no thread for %s", l->address.sun_path);
}

void sl_rpc_unix_stop(struct sl_rpc_unix_listener *l)
{
    if (l->running) {
        uint64_t one = 1;
        while (write(l->wake_fd, &one, sizeof one) < 0 && errno == EINTR)
            ;
        pthread_join(l->thread, NULL);
        l->running = false;
    }
    struct stat st;
    if (l->ino != 0 && stat(l->address.sun_path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
        unlink(l->address.sun_path);
    l->ino = 0;
    if (l->listen_fd >= 0)
        close(l->listen_fd);
    l->listen_fd = -1;
}

void sl_rpc_unix_free(struct sl_rpc_unix_listener *l)
{
    if (l == NULL)
        return;
    sl_rpc_unix_stop(l);
    for (struct watched *w = l->watched, *next; w != NULL; w = next) {
        next = w->next;
        unwatch(l, w);
    }
    if (l->epoll_fd >= 0)
        close(l->epoll_fd);
    if (l->wake_fd >= 0)
        close(l->wake_fd);
    grpc_server_credentials_release(l->credentials);
    pthread_mutex_destroy(&l->lock);
    free(l->owners);
    free(l);
}
