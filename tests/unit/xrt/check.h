// SPDX-License-Identifier: Apache-2.0
/* What the hosts of these tests have in common: a failed check ends the host, as XRT's destructors would crash it anyway. */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { HOST_FAILED = 3 };

#define CHECK(condition)                                                                                                           \
    do {                                                                                                                           \
        if (!(condition)) {                                                                                                        \
            fprintf(stderr, "host: line %d: %s\n", __LINE__, #condition);                                                          \
            _exit(HOST_FAILED);                                                                                                    \
        }                                                                                                                          \
    } while (0)

static inline uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static inline void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}
