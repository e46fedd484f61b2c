/* SPDX-License-Identifier: Apache-2.0 */
/* What people type and read: numbers, durations, moments, sizes. On failure outputs are unchanged and diag says what is expected.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Decimal digits only, min..max. what names the value in diag: "--limit". */
sl_err sl_units_number(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *out, struct sl_diag *diag);

/* "90s", "15m", "1h30m", "7d", "2w", "250ms", in nanoseconds; 0 alone needs no unit. At most 10 years. */
sl_err sl_units_duration(const char *what, const char *text, uint64_t *ns, struct sl_diag *diag);

/* A moment, as wall time: a duration before now_ns, "2026-01-31T12:00:00Z" (RFC 3339 with any offset), or in local time
 * "2026-01-31 12:00[:00]", "2026-01-31", "12:00[:00]" (today). */
sl_err sl_units_moment(const char *what, const char *text, uint64_t now_ns, uint64_t *wall_ns, struct sl_diag *diag);

/* "0 B", "1023 B", "1.5 KiB", "12 MiB". */
void sl_units_size_text(uint64_t bytes, char *out, size_t cap);
/* "2 d 3 h", "59 min 1 s", "12 s". */
void sl_units_duration_text(uint64_t seconds, char *out, size_t cap);
/* Local time "2026-01-31 12:00:00", with milliseconds if asked for; "-" for 0. */
void sl_units_time_text(uint64_t wall_ns, bool with_ms, char *out, size_t cap);
