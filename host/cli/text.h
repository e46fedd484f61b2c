/* SPDX-License-Identifier: Apache-2.0 */
/* Text for terminals: nothing that a peer chose (a server name, a certificate's subject) may steer the terminal. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/*
 * A copy in which control characters (C0, DEL, C1), direction overrides and bytes that aren't UTF-8 are written as \xNN or
 * \u{NNNN}. With keep_lines, newlines and tabs stay. *out is to be freed with free. SL_ERR_NOMEM.
 */
sl_err sl_text_safe(const char *text, bool keep_lines, char **out);

/* JSON text in which the same characters are written as \uNNNN: it means the same. *out is to be freed with free. SL_ERR_NOMEM. */
sl_err sl_text_json_safe(const char *json, char **out);

/* How many columns a safe text takes; combining marks count 0, East Asian wide characters 2. */
size_t sl_text_width(const char *text);
