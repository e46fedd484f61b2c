/* SPDX-License-Identifier: Apache-2.0 */
/* sl_err and gRPC's status codes, in one table. */
#pragma once

#include "base/err.h"

/* gRPC status code (0..16) for an error; alerts are INTERNAL. */
int sl_rpc_status_from_err(sl_err err);

/* The error for a gRPC status code; unknown codes are SL_ERR_IO. For every e: from_status(from_err(e)) keeps the meaning, not
 * always the number (SHORT comes back as INVALID). */
sl_err sl_rpc_err_from_status(int status);

/* "NOT_FOUND"; "UNKNOWN" for a number outside of the set. */
const char *sl_rpc_status_name(int status);
