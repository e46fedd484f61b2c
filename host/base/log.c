/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line is built on the stack and written by one write(2). LINE_MAX_BYTES is at most PIPE_BUF, so that lines of several
 * processes on one pipe stay whole. A value too long is cut, a value for which there is no room is left out; both are marked.
 */
#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

enum { LINE_MAX_BYTES = 4096, VALUE_MAX_BYTES = 1024, TAIL_BYTES = 32 };
_Static_assert(LINE_MAX_BYTES <= PIPE_BUF, "a log line is written whole");

/* The log is the one thing every part shares without being handed it: a process has one. */
static struct {
    pthread_mutex_t lock; /* guards fd and the order of lines */
    int fd;
    _Atomic int level, format;
    _Atomic uint64_t lost;
} log_state = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = STDERR_FILENO, .level = SL_LOG_INFO, .format = SL_LOG_TEXT};

static const char *const LEVELS[2][4] = {
    [SL_LOG_TEXT] = {"ERROR", "WARN", "INFO", "DEBUG"},
    [SL_LOG_JSON] = {"error", "warn", "info", "debug"},
};

struct line {
    char text[LINE_MAX_BYTES];
    size_t len;
    size_t cap; /* what may be used now: less than the whole while room for the tail is kept */
};

static bool put(struct line *l, const char *bytes, size_t len)
{
    if (l->cap - l->len < len)
        return false;
    memcpy(l->text + l->len, bytes, len);
    l->len += len;
    return true;
}

static bool put_str(struct line *l, const char *s)
{
    return put(l, s, strlen(s));
}

/* The length of the well-formed UTF-8 sequence at s (RFC 3629), or 0. */
static size_t utf8_len(const unsigned char *s)
{
    unsigned char second_min = 0x80, second_max = 0xbf;
    size_t len;

    if (s[0] < 0x80)
        return 1;
    if (s[0] >= 0xc2 && s[0] <= 0xdf)
        len = 2;
    else if ((s[0] & 0xf0) == 0xe0)
        len = 3;
    else if (s[0] >= 0xf0 && s[0] <= 0xf4)
        len = 4;
    else
        return 0;
    if (s[0] == 0xe0)
        second_min = 0xa0; /* overlong */
    else if (s[0] == 0xed)
        second_max = 0x9f; /* surrogates */
    else if (s[0] == 0xf0)
        second_min = 0x90; /* overlong */
    else if (s[0] == 0xf4)
        second_max = 0x8f; /* beyond U+10FFFF */
    if (s[1] < second_min || s[1] > second_max)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    }
    return len;
}

/*
 * One character of s as it is safe to print, in out; returns how many bytes of s it took. JSON keeps well-formed UTF-8 other than
 * control characters. The text form goes to terminals: it keeps printable ASCII only.
 */
static size_t escape(enum sl_log_format format, const unsigned char *s, char out[static 8], size_t *out_len)
{
    size_t taken = utf8_len(s);
    int len;

    if (*s == '"' || *s == '\\') {
        len = snprintf(out, 8, "\\%c", *s);
    } else if (*s == '\n') {
        len = snprintf(out, 8, "\\n");
    } else if (*s >= 0x20 && *s < 0x7f) {
        len = snprintf(out, 8, "%c", *s);
    } else if (format == SL_LOG_TEXT) {
        taken = 1;
        len = snprintf(out, 8, "\\x%02x", *s);
    } else if (taken == 0) {
        taken = 1;
        len = snprintf(out, 8, "\\ufffd");
    } else if (taken == 1 || (s[0] == 0xc2 && s[1] < 0xa0)) {
        len = snprintf(out, 8, "\\u%04x", taken == 1 ? s[0] : s[1]);
    } else {
        memcpy(out, s, taken);
        len = (int)taken;
    }
    *out_len = (size_t)len;
    return taken;
}

static bool put_escaped(struct line *l, enum sl_log_format format, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t start = l->len;

    while (*s) {
        char one[8];
        size_t one_len;
        s += escape(format, s, one, &one_len);
        if (l->len - start + one_len > VALUE_MAX_BYTES)
            return put_str(l, "...");
        if (!put(l, one, one_len))
            return false;
    }
    return true;
}

static bool put_quoted(struct line *l, enum sl_log_format format, const char *text)
{
    return put(l, "\"", 1) && put_escaped(l, format, text) && put(l, "\"", 1);
}

/* Words that need no quotes in the text form. */
static bool is_plain(const char *s)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:/@+-[]%";
    size_t len = strlen(s);
    return len > 0 && len <= VALUE_MAX_BYTES && strspn(s, plain) == len;
}

static bool put_u64(struct line *l, uint64_t v)
{
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)v);
    return put(l, digits, (size_t)len);
}

static bool put_value(struct line *l, enum sl_log_format format, const struct sl_log_value *v)
{
    bool json = format == SL_LOG_JSON;
    bool ok = put_str(l, json ? ",\"" : " ") && put_escaped(l, format, v->key) && put_str(l, json ? "\":" : "=");

    if (!ok)
        return false;
    if (!v->str)
        return put_u64(l, v->u64);
    if (!json && is_plain(v->str))
        return put_str(l, v->str);
    return put_quoted(l, format, v->str);
}

static void put_head(struct line *l, enum sl_log_format format, enum sl_log_level level, const char *component, const char *message)
{
    const struct sl_clock *clock = sl_clock_system();
    char time[31];

    sl_time_rfc3339(clock->wall_ns(clock->arg), time);
    memcpy(time + 23, "Z", 2); /* milliseconds */
    if (format == SL_LOG_TEXT) {
        put_str(l, time);
        put_str(l, " ");
        put_str(l, LEVELS[format][level]);
        put_str(l, " ");
        put_escaped(l, format, component);
        put_str(l, ": ");
        put_escaped(l, format, message);
        return;
    }
    put_str(l, "{\"time\":\"");
    put_str(l, time);
    put_str(l, "\",\"level\":\"");
    put_str(l, LEVELS[format][level]);
    put_str(l, "\",\"component\":");
    put_quoted(l, format, component);
    put_str(l, ",\"message\":");
    put_quoted(l, format, message);
}

static void build(struct line *l, enum sl_log_format format, enum sl_log_level level, const char *component, const char *message,
                  const struct sl_log_value *values, size_t count)
{
    static const struct sl_log_value cut = {.key = "truncated", .u64 = 1};
    bool whole = true;

    l->len = 0;
    l->cap = LINE_MAX_BYTES - TAIL_BYTES;
    put_head(l, format, level, component, message); /* bounded by 3 values' worth, so it always fits */
    for (size_t i = 0; i < count; i++) {
        size_t before = l->len;
        if (!put_value(l, format, &values[i])) {
            l->len = before;
            whole = false;
        }
    }
    l->cap = LINE_MAX_BYTES;
    if (!whole)
        put_value(l, format, &cut);
    put_str(l, format == SL_LOG_JSON ? "}\n" : "\n");
}

static bool write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

void sl_log_configure(int fd, enum sl_log_level level, enum sl_log_format format)
{
    pthread_mutex_lock(&log_state.lock);
    log_state.fd = fd;
    atomic_store(&log_state.level, (int)level);
    atomic_store(&log_state.format, (int)format);
    pthread_mutex_unlock(&log_state.lock);
}

bool sl_log_enabled(enum sl_log_level level)
{
    return (int)level <= atomic_load_explicit(&log_state.level, memory_order_relaxed);
}

uint64_t sl_log_lost(void)
{
    return atomic_load(&log_state.lost);
}

void sl_log_write(enum sl_log_level level, const char *component, const char *message, const struct sl_log_value *values,
                  size_t count)
{
    int saved_errno = errno;
    struct line line;

    if (!sl_log_enabled(level))
        return;
    build(&line, (enum sl_log_format)atomic_load(&log_state.format), level, component, message, values, count);
    pthread_mutex_lock(&log_state.lock);
    if (!write_all(log_state.fd, line.text, line.len))
        atomic_fetch_add(&log_state.lost, 1);
    pthread_mutex_unlock(&log_state.lock);
    errno = saved_errno;
}
