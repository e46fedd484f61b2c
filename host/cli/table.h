/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables for people: a head, columns as wide as their widest cell, two spaces between, no rules. Cells are made safe for terminals.
 * Errors (memory) are kept inside and reported by sl_table_print, so that filling needs no checks.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"

enum { SL_TABLE_COLUMNS_MAX = 16 };

struct sl_table {
    char **cells; /* row after row, the head first */
    size_t count, cap, columns;
    bool right[SL_TABLE_COLUMNS_MAX];
    sl_err err;
};

/* heads has columns names; a name that begins with '>' (not shown) makes its column flush right. */
void sl_table_init(struct sl_table *t, const char *const *heads, size_t columns);
/* Adds the next cell, from the left; a row is complete after as many cells as there are columns. NULL and "" are shown as "-". */
void sl_table_text(struct sl_table *t, const char *text);
void sl_table_format(struct sl_table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints what there is; nothing at all, not even the head, if there are no rows and empty is NULL, else the line empty. */
sl_err sl_table_print(const struct sl_table *t, FILE *out, const char *empty);
void sl_table_free(struct sl_table *t);
