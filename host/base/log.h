/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structured log of the daemon itself (what happens to connections goes to event/). A line has a level, a component, a message and
 * named values; formatting happens here and nowhere else. Values are escaped: a peer can't forge a line. Thread-safe.
 *
 *   sl_log(SL_LOG_INFO, "gateway", "listener up", SL_STR("address", text), SL_U64("port", port));
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum sl_log_level { SL_LOG_ERROR, SL_LOG_WARN, SL_LOG_INFO, SL_LOG_DEBUG };
enum sl_log_format { SL_LOG_TEXT, SL_LOG_JSON };

struct sl_log_value {
    const char *key;
    const char *str; /* NULL: a number */
    uint64_t u64;
};
/* A function, so that an array as the value draws no warning about its address. */
static inline const char *sl_log_text(const char *s)
{
    return s ? s : "";
}
#define SL_STR(k, v) ((struct sl_log_value){.key = (k), .str = sl_log_text(v)})
#define SL_U64(k, v) ((struct sl_log_value){.key = (k), .u64 = (uint64_t)(v)})
#define SL_ERRV(v)   SL_STR("error", sl_err_str(v))

/* To standard error at level info in text form until configured. */
void sl_log_configure(int fd, enum sl_log_level level, enum sl_log_format format);

/* Whether a line of this level would be written: to spare the work of preparing one. */
bool sl_log_enabled(enum sl_log_level level);

/* Lines that could not be written (a full disk, a closed pipe) since the start. */
uint64_t sl_log_lost(void);

/* Strings are cut at 1 KiB, a line at 4 KiB ("truncated=1"). errno is kept. */
void sl_log_write(enum sl_log_level level, const char *component, const char *message, const struct sl_log_value *values,
                  size_t count);

#define sl_log(level, component, message, ...)                                                                                     \
    sl_log_write((level), (component), (message), (struct sl_log_value[]){{0}, ##__VA_ARGS__} + 1,                                 \
                 sizeof((struct sl_log_value[]){{0}, ##__VA_ARGS__}) / sizeof(struct sl_log_value) - 1)
