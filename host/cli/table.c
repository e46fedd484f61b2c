/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/text.h"

void sl_table_init(struct sl_table *t, const char *const *heads, size_t columns)
{
    memset(t, 0, sizeof *t);
    t->columns = columns < SL_TABLE_COLUMNS_MAX ? columns : SL_TABLE_COLUMNS_MAX;
    for (size_t i = 0; i < t->columns; i++) {
        t->right[i] = heads[i][0] == '>';
        sl_table_text(t, heads[i] + (t->right[i] ? 1 : 0));
    }
}

static sl_err reserve(struct sl_table *t)
{
    if (t->count < t->cap)
        return SL_OK;
    size_t cap = t->cap ? t->cap * 2 : 64;
    char **cells = reallocarray(t->cells, cap, sizeof *cells);
    if (!cells)
        return SL_ERR_NOMEM;
    t->cells = cells;
    t->cap = cap;
    return SL_OK;
}

void sl_table_text(struct sl_table *t, const char *text)
{
    if (!t->err)
        t->err = reserve(t);
    if (!t->err)
        t->err = sl_text_safe(text && *text ? text : "-", false, &t->cells[t->count]);
    if (!t->err)
        t->count++;
}

void sl_table_format(struct sl_table *t, const char *format, ...)
{
    char *text = NULL;
    va_list args;

    va_start(args, format);
    if (vasprintf(&text, format, args) < 0) {
        t->err = SL_ERR_NOMEM;
        text = NULL;
    }
    va_end(args);
    if (text)
        sl_table_text(t, text);
    free(text);
}

static void print_cell(const struct sl_table *t, FILE *out, size_t column, const char *cell, size_t width)
{
    int pad = (int)(width - sl_text_width(cell));
    bool last = column + 1 == t->columns;
    if (t->right[column])
        fprintf(out, "%*s%s", pad, "", cell);
    else if (last)
        fputs(cell, out); /* no blanks at the line's end */
    else
        fprintf(out, "%s%*s", cell, pad, "");
    fputs(last ? "\n" : "  ", out);
}

sl_err sl_table_print(const struct sl_table *t, FILE *out, const char *empty)
{
    size_t widths[SL_TABLE_COLUMNS_MAX] = {0};

    if (t->err)
        return t->err;
    if (t->count < 2 * t->columns) {
        if (empty)
            fprintf(out, "%s\n", empty);
        return SL_OK;
    }
    size_t cells = t->count - t->count % t->columns;
    for (size_t i = 0; i < cells; i++) {
        size_t width = sl_text_width(t->cells[i]);
        if (width > widths[i % t->columns])
            widths[i % t->columns] = width;
    }
    for (size_t i = 0; i < cells; i++)
        print_cell(t, out, i % t->columns, t->cells[i], widths[i % t->columns]);
    return SL_OK;
}

void sl_table_free(struct sl_table *t)
{
    for (size_t i = 0; i < t->count; i++)
        free(t->cells[i]);
    free(t->cells);
    memset(t, 0, sizeof *t);
}
