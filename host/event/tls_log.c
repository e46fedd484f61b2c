/* SPDX-License-Identifier: Apache-2.0 */
#include "event/tls_log.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "event/event.h"
#include "event/render.h"

enum { LINES_BYTES_MAX = 64 * 1024, SESSION_BYTES = 24 };

struct line_writer {
    struct sl_buf *out;
    char time[32];
    char session[SESSION_BYTES];
    sl_err err;
};

static void start_line(struct line_writer *w, const char *level)
{
    if (!w->err)
        w->err = sl_buf_printf(w->out, "%s %s TLS_Proxy - ", w->time, level);
}

static void put(struct line_writer *w, const char *text)
{
    if (!w->err)
        w->err = sl_buf_append(w->out, text, strlen(text));
}

static void put_escaped(struct line_writer *w, const char *text)
{
    if (!w->err)
        w->err = sl_render_escape(w->out, text);
}

/* "fatal : handshake failure": the reference case writes alert names with blanks, and CA in capitals. */
static void alert_line(struct line_writer *w, const Sluice__V1__Alert *alert)
{
    char name[64];
    size_t n = 0;
    for (; n < sizeof name - 1 && alert->name[n]; n++)
        name[n] = alert->name[n] == '_' ? ' ' : alert->name[n];
    name[n] = '\0';
    if (strcmp(name, "unknown ca") == 0)
        memcpy(name, "unknown CA", sizeof "unknown CA");
    start_line(w, "INFO");
    if (!w->err)
        w->err = sl_buf_printf(w->out, "SSL alert message %s (0x%x = \"%s : ", sl_alert_direction_name(alert->direction),
                               (unsigned)(alert->level << 8 | (alert->code & 0xff)), alert->level == 1 ? "warning" : "fatal");
    put_escaped(w, name);
    put(w, "\") in Session: ");
    put(w, w->session);
    put(w, "\n");
}

/* Newer libraries write "self-signed"; the reference case, and what greps for it, "self signed". */
static const char *reference_spelling(const char *text)
{
    if (strcmp(text, "self-signed certificate") == 0)
        return "self signed certificate";
    if (strcmp(text, "self-signed certificate in certificate chain") == 0)
        return "self signed certificate in certificate chain";
    return text;
}

static void verify_lines(struct line_writer *w, const Sluice__V1__Event *e)
{
    start_line(w, "INFO");
    put(w, "Certificate verification failure: ");
    put_escaped(w, reference_spelling(e->verify->text));
    if (!w->err)
        w->err = sl_buf_printf(w->out, " (code %d, depth %d)\n", e->verify->code, e->verify->depth);
    if (e->n_server_chain == 0)
        return;
    size_t depth = e->verify->depth > 0 && (size_t)e->verify->depth < e->n_server_chain ? (size_t)e->verify->depth : 0;
    start_line(w, "INFO");
    put(w, "Subject: ");
    put_escaped(w, e->server_chain[depth]->subject);
    put(w, "\n");
    start_line(w, "INFO");
    put(w, "Issuer: ");
    put_escaped(w, e->server_chain[depth]->issuer);
    put(w, "\n");
}

static void problem_line(struct line_writer *w, const Sluice__V1__Event *e)
{
    bool client = e->side == SLUICE__V1__SIDE__SIDE_CLIENT;
    start_line(w, "ERROR");
    put(w, "TLS problem (");
    put_escaped(w, *e->tls->error ? e->tls->error : sl_cause_text(e->cause));
    put(w, client ? ") while accepting client for Session: " : ") while connecting to server for Session: ");
    put(w, w->session);
    put(w, "\n");
}

static void format_time(uint64_t wall_ns, bool local_time, char out[static 32])
{
    time_t seconds = (time_t)(wall_ns / SL_NS_PER_S);
    struct tm tm;
    size_t n =
        (local_time ? localtime_r(&seconds, &tm) : gmtime_r(&seconds, &tm)) ? strftime(out, 24, "%Y-%m-%d %H:%M:%S", &tm) : 0;
    unsigned ms = (unsigned)(wall_ns % SL_NS_PER_S / SL_NS_PER_MS);
    out[n++] = ',';
    out[n++] = (char)('0' + ms / 100);
    out[n++] = (char)('0' + ms / 10 % 10);
    out[n++] = (char)('0' + ms % 10);
    out[n] = '\0';
}

sl_err sl_tls_log_format(const Sluice__V1__Event *event, bool local_time, struct sl_buf *out)
{
    struct line_writer w = {.out = out, .session = "x"};
    const char *id = event->flow_id;

    if (event->type == SLUICE__V1__EVENT_TYPE__SYSTEM)
        return SL_OK;
    format_time(event->time_ns, local_time, w.time);
    while (*id == '0' && id[1])
        id++;
    for (size_t n = 1; *id && n < sizeof w.session - 1; id++)
        if (isxdigit((unsigned char)*id))
            w.session[n++] = *id;
    bool certificate = sl_cause_is_certificate(event->cause);
    if (certificate)
        verify_lines(&w, event);
    for (size_t i = 0; i < event->n_alerts; i++)
        alert_line(&w, event->alerts[i]);
    if (event->type == SLUICE__V1__EVENT_TYPE__TLS_ABORT)
        problem_line(&w, event);
    return w.err;
}

/* ---- file ---- */

struct sl_tls_log {
    pthread_mutex_t lock;
    char *path;
    bool local_time;
    int fd;
    bool torn; /* a full disk cut the last line */
    uint64_t lost;
};

static int open_file(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
}

sl_err sl_tls_log_open(const char *path, bool local_time, struct sl_tls_log **out, struct sl_diag *diag)
{
    struct sl_tls_log *log = calloc(1, sizeof *log);
    char *copy = strdup(path);
    int fd = open_file(path);

    if (!log || !copy || fd < 0) {
        sl_err err =
            fd < 0 ? sl_fail(diag, SL_ERR_IO, "%s: %s", path, strerror(errno)) : sl_fail(diag, SL_ERR_NOMEM, "out of memory");
        if (fd >= 0)
            close(fd);
        free(copy);
        free(log);
        return err;
    }
    *log = (struct sl_tls_log){.path = copy, .local_time = local_time, .fd = fd};
    pthread_mutex_init(&log->lock, NULL);
    *out = log;
    return SL_OK;
}

void sl_tls_log_close(struct sl_tls_log *log)
{
    if (!log)
        return;
    close(log->fd);
    pthread_mutex_destroy(&log->lock);
    free(log->path);
    free(log);
}

/* One write with O_APPEND: lines of an event stay together, whoever else writes. After a line that was cut comes a line feed first,
 * so that the next one can be read. Called with the lock held. */
static void write_lines(struct sl_tls_log *log, const struct sl_buf *lines)
{
    const char *bytes = (const char *)sl_buf_data(lines);
    size_t len = sl_buf_len(lines);

    if (log->torn && write(log->fd, "\n", 1) == 1)
        log->torn = false;
    ssize_t n = log->torn ? 0 : write(log->fd, bytes, len);
    if (n == (ssize_t)len)
        return;
    for (size_t i = n > 0 ? (size_t)n : 0; i < len; i++)
        log->lost += bytes[i] == '\n';
    if (n > 0)
        log->torn = bytes[n - 1] != '\n';
}

void sl_tls_log_write(struct sl_tls_log *log, const Sluice__V1__Event *event)
{
    struct sl_buf lines;

    if (!log)
        return;
    sl_buf_init(&lines, LINES_BYTES_MAX);
    sl_err err = sl_tls_log_format(event, log->local_time, &lines);
    if (err || sl_buf_len(&lines) > 0) {
        pthread_mutex_lock(&log->lock);
        if (err)
            log->lost++;
        else
            write_lines(log, &lines);
        pthread_mutex_unlock(&log->lock);
    }
    sl_buf_free(&lines);
}

sl_err sl_tls_log_reopen(struct sl_tls_log *log, struct sl_diag *diag)
{
    int fd = open_file(log->path);
    if (fd < 0)
        return sl_fail(diag, SL_ERR_IO, "%s: %s", log->path, strerror(errno));
    pthread_mutex_lock(&log->lock);
    int old = log->fd;
    log->fd = fd;
    log->torn = false;
    pthread_mutex_unlock(&log->lock);
    close(old);
    return SL_OK;
}

uint64_t sl_tls_log_lost(struct sl_tls_log *log)
{
    pthread_mutex_lock(&log->lock);
    uint64_t lost = log->lost;
    pthread_mutex_unlock(&log->lock);
    return lost;
}
