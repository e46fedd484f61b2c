/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for secrets: locked against swapping, left out of core dumps, wiped when freed, never printed.
 *
 * Blocks come from arenas of whole pages that are mlock()ed and marked MADV_DONTDUMP and MADV_WIPEONFORK. Where the
 * memory-lock limit is too low the memory still works but is not locked; sl_secret_stats says so. All functions are thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { SL_SECRET_MAX = 16384 }; /* largest block, bytes */

/* A zeroed block of len bytes (1..SL_SECRET_MAX), aligned to 64 bytes. SL_ERR_INVALID, SL_ERR_NOMEM; then *out is unchanged. */
sl_err sl_secret_alloc(size_t len, void **out);

/* Wipes and releases. NULL is allowed. */
void sl_secret_free(void *block);

/* Overwrites memory in a way that the compiler keeps. */
void sl_wipe(void *bytes, size_t len);

/* Compares in time that depends on len only. */
bool sl_secret_equal(const void *a, const void *b, size_t len);

struct sl_secret_stats {
    size_t blocks, bytes_in_use, bytes_reserved, bytes_locked;
};
struct sl_secret_stats sl_secret_stats(void);

/* No core dumps and no ptrace by others for this process. Call it first thing in a daemon. */
sl_err sl_secret_harden_process(void);
