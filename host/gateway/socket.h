/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One leg's TCP socket on a libuv loop: readiness, an output queue that exists only while the peer is slow, half-close, reset.
 * Used by one thread, the loop's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    SL_SOCKET_QUEUE_LIMIT = 1 << 20, /* bytes queued towards a slow peer: the relay stops reading long before */
};

struct sl_socket;
typedef void sl_socket_event_fn(struct sl_socket *s, bool readable, bool writable);
typedef void sl_socket_closed_fn(struct sl_socket *s);

struct sl_socket {
    uv_poll_t poll;
    int fd; /* -1: not open */
    bool connecting;
    bool reading;  /* the owner wants to read */
    bool watching; /* the owner wants to know when the peer leaves, without reading */
    bool eof;      /* the peer has sent its FIN and it was read */
    bool fin;      /* our FIN is due once the queue is empty */
    bool fin_sent;
    bool broken; /* reset, or a write failed: nothing can be sent any more, but what came before may wait to be read */
    bool ended;  /* broken after the peer's FIN: what waits is its whole stream */
    bool lost;   /* broken, and nothing is left to read */
    bool closing;
    int interest; /* what libuv was told last */
    struct sl_buf out;
    uint64_t bytes_in, bytes_out;
    sl_socket_event_fn *on_event;
    sl_socket_closed_fn *on_closed;
};

/* Takes fd over. connecting: a connect() is under way; the first writable event tells its end (sl_net_error). On failure fd is
 * closed. s lives until on_closed was called. */
sl_err sl_socket_open(struct sl_socket *s, uv_loop_t *loop, int fd, bool connecting, sl_socket_event_fn *on_event,
                      sl_socket_closed_fn *on_closed);

bool sl_socket_is_open(const struct sl_socket *s);

/* Reads at most cap bytes. SL_OK: *len bytes, 0 at the end of the stream (eof is set). SL_ERR_AGAIN. SL_ERR_IO: reset (lost is
 * set). */
sl_err sl_socket_read(struct sl_socket *s, uint8_t *out, size_t cap, size_t *len);

/* Sends what goes now and queues the rest. SL_ERR_IO: broken. SL_ERR_STATE: after sl_socket_shutdown. SL_ERR_LIMIT, SL_ERR_NOMEM:
 * the queue can't take it; since bytes are then missing, the socket is broken. */
sl_err sl_socket_send(struct sl_socket *s, const void *bytes, size_t len);

/* Sends queued bytes, and the FIN when its turn has come. To be called on writable events. */
sl_err sl_socket_flush(struct sl_socket *s);

/* No more bytes from us: FIN once the queue is empty. */
sl_err sl_socket_shutdown(struct sl_socket *s);

size_t sl_socket_queued(const struct sl_socket *s);

/* Tells libuv what to wait for; to be called after anything that changes reading or the queue. */
void sl_socket_update(struct sl_socket *s);

/* Closes, with a reset if asked or if unsent bytes remain; on_closed follows from the loop. A socket that was never opened gives no
 * call back. */
void sl_socket_close(struct sl_socket *s, bool reset);
