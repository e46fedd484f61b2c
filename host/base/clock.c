/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static uint64_t now_ns(clockid_t id)
{
    struct timespec t = {0};

    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * SL_NS_PER_S + (uint64_t)t.tv_nsec;
}

static uint64_t system_wall(void *arg)
{
    (void)arg;
    return now_ns(CLOCK_REALTIME);
}

static uint64_t system_mono(void *arg)
{
    (void)arg;
    return now_ns(CLOCK_MONOTONIC);
}

const struct sl_clock *sl_clock_system(void)
{
    static const struct sl_clock system_clock = {.wall_ns = system_wall, .mono_ns = system_mono};
    return &system_clock;
}

static uint64_t manual_wall(void *arg)
{
    return ((struct sl_clock_manual *)arg)->wall;
}

static uint64_t manual_mono(void *arg)
{
    return ((struct sl_clock_manual *)arg)->mono;
}

void sl_clock_manual_init(struct sl_clock_manual *m, uint64_t wall_ns)
{
    *m = (struct sl_clock_manual){
        .clock = {.wall_ns = manual_wall, .mono_ns = manual_mono, .arg = m},
        .wall = wall_ns,
        .mono = SL_NS_PER_S, /* like a booted machine's, never 0: users take 0 for "not yet" */
    };
}

void sl_clock_manual_advance(struct sl_clock_manual *m, uint64_t ns)
{
    m->wall += ns;
    m->mono += ns;
}

void sl_time_rfc3339(uint64_t wall_ns, char out[static 31])
{
    time_t seconds = (time_t)(wall_ns / SL_NS_PER_S);
    struct tm t = {0};

    gmtime_r(&seconds, &t); /* can't fail: 2^64 ns end in the year 2554 */
    snprintf(out, 31, "%04u-%02u-%02uT%02u:%02u:%02u.%09uZ", ((unsigned)t.tm_year + 1900) % 10000, ((unsigned)t.tm_mon + 1) % 100,
             (unsigned)t.tm_mday % 100, (unsigned)t.tm_hour % 100, (unsigned)t.tm_min % 100, (unsigned)t.tm_sec % 100,
             (unsigned)(wall_ns % SL_NS_PER_S));
}
