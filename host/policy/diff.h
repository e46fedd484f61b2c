/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/err.h"

/* A unified diff of two texts with three lines of context; "" if they are equal. *out is from malloc. SL_ERR_NOMEM leaves it
 * unchanged. */
sl_err sl_text_diff(const char *from_name, const char *from, const char *to_name, const char *to, char **out);
