/* SPDX-License-Identifier: Apache-2.0 */
/* Time as a dependency: code that needs the time is given a clock, so that tests can set it. */
#pragma once

#include <stdint.h>

enum { SL_NS_PER_MS = 1000000, SL_NS_PER_S = 1000000000 };

struct sl_clock {
    uint64_t (*wall_ns)(void *arg); /* since 1970-01-01 UTC */
    uint64_t (*mono_ns)(void *arg); /* never goes back */
    void *arg;
};

/* The system's clock; static storage. */
const struct sl_clock *sl_clock_system(void);

/* A clock that moves only when told. */
struct sl_clock_manual {
    struct sl_clock clock; /* pass &m.clock */
    uint64_t wall, mono;
};
void sl_clock_manual_init(struct sl_clock_manual *m, uint64_t wall_ns);
void sl_clock_manual_advance(struct sl_clock_manual *m, uint64_t ns);

/* "2026-01-31T12:00:00.123456789Z" (RFC 3339); out holds at least 31 bytes. */
void sl_time_rfc3339(uint64_t wall_ns, char out[static 31]);
