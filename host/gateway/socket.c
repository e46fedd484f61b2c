/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/socket.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/net.h"

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct sl_socket *s = poll->data;
    /* An error status means EPOLLERR or worse: both handlers look, and their system calls tell the error. libuv has stopped polling
     * then, though there may be bytes left to read from before the error. */
    bool failed = status < 0;
    if (failed)
        s->interest = 0;
    s->on_event(s, failed || (events & (UV_READABLE | UV_DISCONNECT)), failed || (events & UV_WRITABLE));
}

sl_err sl_socket_open(struct sl_socket *s, uv_loop_t *loop, int fd, bool connecting, sl_socket_event_fn *on_event,
                      sl_socket_closed_fn *on_closed)
{
    memset(s, 0, sizeof *s);
    sl_buf_init(&s->out, SL_SOCKET_QUEUE_LIMIT);
    s->fd = -1;
    if (uv_poll_init_socket(loop, &s->poll, fd)) {
        close(fd);
        return SL_ERR_IO;
    }
    s->poll.data = s;
    s->fd = fd;
    s->connecting = connecting;
    s->on_event = on_event;
    s->on_closed = on_closed;
    return SL_OK;
}

bool sl_socket_is_open(const struct sl_socket *s)
{
    return s->fd >= 0;
}

/* After a failed system call. Linux tells a reset that follows the peer's FIN (EPIPE) from any other (ECONNRESET), once. */
static void note_error(struct sl_socket *s)
{
    if (!s->broken)
        s->ended = errno == EPIPE;
    s->broken = true;
    sl_buf_free(&s->out);
}

sl_err sl_socket_read(struct sl_socket *s, uint8_t *out, size_t cap, size_t *len)
{
    *len = 0;
    if (s->fd < 0 || s->lost)
        return SL_ERR_IO;
    if (s->eof)
        return SL_OK;
    ssize_t n = recv(s->fd, out, cap, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return SL_ERR_AGAIN;
    if (n < 0) {
        note_error(s);
        n = 0;
    }
    /* A reset is told once; afterwards it looks like the end of the stream. */
    s->lost = n == 0 && s->broken && !s->ended;
    if (s->lost)
        return SL_ERR_IO;
    s->eof = n == 0;
    s->bytes_in += (uint64_t)n;
    *len = (size_t)n;
    return SL_OK;
}

/* As much as the kernel takes now; *sent may be less than len. */
static sl_err send_some(struct sl_socket *s, const uint8_t *bytes, size_t len, size_t *sent)
{
    *sent = 0;
    while (*sent < len) {
        ssize_t n = send(s->fd, bytes + *sent, len - *sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) {
            note_error(s);
            return SL_ERR_IO;
        }
        *sent += (size_t)n;
        s->bytes_out += (uint64_t)n;
    }
    return SL_OK;
}

sl_err sl_socket_send(struct sl_socket *s, const void *bytes, size_t len)
{
    size_t sent = 0;
    if (s->fd < 0 || s->broken)
        return SL_ERR_IO;
    if (s->fin)
        return SL_ERR_STATE;
    if (sl_buf_len(&s->out) == 0 && !s->connecting) {
        sl_err err = send_some(s, bytes, len, &sent);
        if (err)
            return err;
    }
    sl_err err = sent < len ? sl_buf_append(&s->out, (const uint8_t *)bytes + sent, len - sent) : SL_OK;
    s->broken = err != SL_OK;
    return err;
}

sl_err sl_socket_flush(struct sl_socket *s)
{
    size_t sent = 0;
    if (s->fd < 0 || s->broken)
        return SL_ERR_IO;
    if (s->connecting)
        return SL_OK;
    if (sl_buf_len(&s->out) > 0) {
        sl_err err = send_some(s, sl_buf_data(&s->out), sl_buf_len(&s->out), &sent);
        if (err)
            return err;
        sl_buf_consume(&s->out, sent);
    }
    if (s->fin && !s->fin_sent && sl_buf_len(&s->out) == 0) {
        s->fin_sent = true;
        if (shutdown(s->fd, SHUT_WR)) {
            errno = sl_net_error(s->fd);
            note_error(s);
            return SL_ERR_IO;
        }
    }
    return SL_OK;
}

sl_err sl_socket_shutdown(struct sl_socket *s)
{
    s->fin = true;
    return sl_socket_flush(s);
}

size_t sl_socket_queued(const struct sl_socket *s)
{
    return sl_buf_len(&s->out);
}

void sl_socket_update(struct sl_socket *s)
{
    if (s->fd < 0 || s->closing)
        return;
    int interest = 0;
    if (!s->lost && !s->eof)
        interest |= s->reading ? UV_READABLE : s->watching ? UV_DISCONNECT : 0;
    if (!s->broken)
        interest |= s->connecting || sl_buf_len(&s->out) > 0 ? UV_WRITABLE : 0;
    if (interest == s->interest)
        return;
    s->interest = interest;
    if (interest)
        uv_poll_start(&s->poll, interest, on_poll);
    else
        uv_poll_stop(&s->poll);
}

static void on_close(uv_handle_t *handle)
{
    struct sl_socket *s = handle->data;
    s->on_closed(s);
}

void sl_socket_close(struct sl_socket *s, bool reset)
{
    if (s->fd < 0 || s->closing)
        return;
    s->closing = true;
    bool unsent = sl_buf_len(&s->out) > 0;
    sl_buf_free(&s->out);
    uv_poll_stop(&s->poll);
    if (reset || unsent)
        sl_net_close_reset(s->fd);
    else
        close(s->fd);
    s->fd = -1;
    uv_close((uv_handle_t *)&s->poll, on_close);
}
