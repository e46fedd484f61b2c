/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Captures of Ethernet frames in files: reads pcap (either byte order, micro- or nanoseconds) and pcapng (section, interface,
 * enhanced and simple packet blocks; others are skipped), writes pcap with nanoseconds.
 *
 * A file is untrusted: everything is checked against the file's length. Interfaces that are not Ethernet are refused.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { SL_CAPTURE_FRAME_MAX = 262144 };

struct sl_capture_frame {
    const uint8_t *bytes; /* valid until the capture is closed */
    uint32_t count;       /* bytes that were captured */
    uint32_t wire;        /* bytes that the frame had */
    uint64_t time_ns;     /* since 1970-01-01 UTC; 0: not known */
};

struct sl_capture;

/* Reads the whole file. SL_ERR_IO, SL_ERR_CORRUPT (not a capture), SL_ERR_UNSUPPORTED (not Ethernet), SL_ERR_LIMIT (over 4 GiB),
 * SL_ERR_NOMEM. */
sl_err sl_capture_open(const char *path, struct sl_capture **out, struct sl_diag *diag);
/* The same of bytes in memory, which are borrowed. */
sl_err sl_capture_open_bytes(const uint8_t *bytes, size_t count, struct sl_capture **out, struct sl_diag *diag);
/* SL_ERR_NOT_FOUND: that was all. SL_ERR_CORRUPT, SL_ERR_UNSUPPORTED: what follows can't be read. */
sl_err sl_capture_next(struct sl_capture *capture, struct sl_capture_frame *out, struct sl_diag *diag);
/* NULL is allowed. */
void sl_capture_close(struct sl_capture *capture);

struct sl_capture_writer;

/* Makes or empties the file, which only its owner may read. SL_ERR_IO, SL_ERR_NOMEM. */
sl_err sl_capture_create(const char *path, struct sl_capture_writer **out, struct sl_diag *diag);
/* Errors are kept and told by sl_capture_finish. */
void sl_capture_write(struct sl_capture_writer *writer, uint64_t time_ns, const uint8_t *bytes, uint32_t count);
/* Flushes and closes. SL_ERR_IO: something was not written. NULL is allowed. */
sl_err sl_capture_finish(struct sl_capture_writer *writer);
