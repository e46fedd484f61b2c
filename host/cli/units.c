/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/units.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

static const uint64_t duration_max_ns = UINT64_C(3652) * 86400 * SL_NS_PER_S;

/* Digits at *at, which moves behind them. */
static sl_err read_digits(const char **at, uint64_t *out)
{
    const char *s = *at;
    uint64_t value = 0;

    if (!isdigit((unsigned char)*s))
        return SL_ERR_INVALID;
    for (; isdigit((unsigned char)*s); s++) {
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, (uint64_t)(*s - '0'), &value))
            return SL_ERR_LIMIT;
    }
    *at = s;
    *out = value;
    return SL_OK;
}

sl_err sl_units_number(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *out, struct sl_diag *diag)
{
    const char *at = text;
    uint64_t value = 0;

    if (read_digits(&at, &value) || *at != '\0')
        return sl_fail(diag, SL_ERR_INVALID, "%s: '%s' is not a whole number", what, text);
    if (value < min || value > max)
        return sl_fail(diag, SL_ERR_INVALID, "%s: %s is not between %" PRIu64 " and %" PRIu64, what, text, min, max);
    *out = value;
    return SL_OK;
}

static sl_err read_unit(const char **at, uint64_t *ns)
{
    static const struct {
        const char *name;
        uint64_t ns;
    } units[] = {{"ms", SL_NS_PER_MS},
                 {"s", SL_NS_PER_S},
                 {"m", UINT64_C(60) * SL_NS_PER_S},
                 {"h", UINT64_C(3600) * SL_NS_PER_S},
                 {"d", UINT64_C(86400) * SL_NS_PER_S},
                 {"w", UINT64_C(604800) * SL_NS_PER_S}};
    size_t len = strspn(*at, "abcdefghijklmnopqrstuvwxyz");
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strlen(units[i].name) == len && memcmp(units[i].name, *at, len) == 0) {
            *ns = units[i].ns;
            *at += len;
            return SL_OK;
        }
    }
    return SL_ERR_INVALID;
}

sl_err sl_units_duration(const char *what, const char *text, uint64_t *ns, struct sl_diag *diag)
{
    const char *at = text;
    uint64_t sum = 0, last_unit = UINT64_MAX, value = 0, unit = 0;

    if (strcmp(text, "0") == 0) {
        *ns = 0;
        return SL_OK;
    }
    do {
        if (read_digits(&at, &value) || read_unit(&at, &unit) || unit >= last_unit) /* large units first, each once */
            return sl_fail(diag, SL_ERR_INVALID, "%s: '%s' is not a duration; write for example 90s, 15m, 1h30m or 7d", what, text);
        if (__builtin_mul_overflow(value, unit, &value) || __builtin_add_overflow(sum, value, &sum) || sum > duration_max_ns)
            return sl_fail(diag, SL_ERR_LIMIT, "%s: %s is longer than ten years", what, text);
        last_unit = unit;
    } while (*at);
    *ns = sum;
    return SL_OK;
}

static bool to_wall_ns(time_t seconds, uint64_t *wall_ns)
{
    if (seconds < 0 || (uint64_t)seconds > UINT64_MAX / SL_NS_PER_S)
        return false;
    *wall_ns = (uint64_t)seconds * SL_NS_PER_S;
    return true;
}

/* RFC 3339; a fraction of a second is accepted and dropped. */
static bool read_rfc3339(const char *text, uint64_t *wall_ns)
{
    struct tm tm = {0};
    char offset[7] = "";
    const char *at = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

    if (!at)
        return false;
    if (*at == '.')
        at += 1 + strspn(at + 1, "0123456789");
    if (strcmp(at, "Z") == 0 || strcmp(at, "z") == 0)
        return to_wall_ns(timegm(&tm), wall_ns);
    if (strlen(at) != 6 || (at[0] != '+' && at[0] != '-') || at[3] != ':' || strspn(at + 1, "0123456789") != 2 ||
        strspn(at + 4, "0123456789") != 2)
        return false;
    memcpy(offset, at, sizeof offset);
    time_t east = ((offset[1] - '0') * 10 + offset[2] - '0') * 3600 + ((offset[4] - '0') * 10 + offset[5] - '0') * 60;
    return to_wall_ns(timegm(&tm) - (offset[0] == '-' ? -east : east), wall_ns);
}

static bool read_local(const char *text, uint64_t now_ns, uint64_t *wall_ns)
{
    static const char *const formats[] = {"%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M",
                                          "%Y-%m-%d",          "%H:%M:%S",          "%H:%M"};
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        time_t now = (time_t)(now_ns / SL_NS_PER_S);
        struct tm tm = {0};
        if (formats[i][1] == 'H')
            localtime_r(&now, &tm);
        tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
        const char *end = strptime(text, formats[i], &tm);
        if (end && *end == '\0') {
            tm.tm_isdst = -1;
            return to_wall_ns(mktime(&tm), wall_ns);
        }
    }
    return false;
}

sl_err sl_units_moment(const char *what, const char *text, uint64_t now_ns, uint64_t *wall_ns, struct sl_diag *diag)
{
    uint64_t ago = 0;
    if (read_rfc3339(text, wall_ns) || read_local(text, now_ns, wall_ns))
        return SL_OK;
    if (sl_units_duration(what, text, &ago, NULL) == SL_OK) {
        *wall_ns = ago < now_ns ? now_ns - ago : 0;
        return SL_OK;
    }
    return sl_fail(diag, SL_ERR_INVALID,
                   "%s: '%s' is not a moment; write for example 1h (ago), 12:30, 2026-01-31, \"2026-01-31 12:30\"", what, text);
}

void sl_units_size_text(uint64_t bytes, char *out, size_t cap)
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t i = 0;

    for (; value >= 1024 && i + 1 < sizeof names / sizeof names[0]; i++)
        value /= 1024;
    snprintf(out, cap, i > 0 && value < 10 ? "%.1f %s" : "%.0f %s", value, names[i]);
}

void sl_units_duration_text(uint64_t seconds, char *out, size_t cap)
{
    uint64_t d = seconds / 86400, h = seconds / 3600 % 24, m = seconds / 60 % 60, s = seconds % 60;
    if (d > 0)
        snprintf(out, cap, "%" PRIu64 " d %" PRIu64 " h", d, h);
    else if (h > 0)
        snprintf(out, cap, "%" PRIu64 " h %" PRIu64 " min", h, m);
    else if (m > 0)
        snprintf(out, cap, "%" PRIu64 " min %" PRIu64 " s", m, s);
    else
        snprintf(out, cap, "%" PRIu64 " s", s);
}

void sl_units_time_text(uint64_t wall_ns, bool with_ms, char *out, size_t cap)
{
    time_t seconds = (time_t)(wall_ns / SL_NS_PER_S);
    struct tm tm;
    char text[32];

    if (wall_ns == 0 || !localtime_r(&seconds, &tm)) {
        snprintf(out, cap, "-");
        return;
    }
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
    if (with_ms)
        snprintf(out, cap, "%s.%03u", text, (unsigned)(wall_ns % SL_NS_PER_S / SL_NS_PER_MS));
    else
        snprintf(out, cap, "%s", text);
}
