/* SPDX-License-Identifier: Apache-2.0 */
/* Events as text for a terminal. Whatever a peer may have chosen is escaped: control characters can't reach the terminal. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "sluice/v1/event.pb-c.h"

struct sl_render_options {
    unsigned width;  /* columns; 0: 80. At least 40 are used */
    bool color;      /* ANSI colours */
    bool utc;        /* times in UTC rather than local time */
    bool hide_empty; /* leave out fields without a value; otherwise they are shown with "-" as on the event page of the reference
                        case */
};

/* The page: head, what happened, ways out, then every field by group. Appended to out; on failure out holds a part of the page. */
sl_err sl_event_render(const Sluice__V1__Event *event, const struct sl_render_options *options, struct sl_buf *out);

/* A row for a table: id, time, type, client, server (name if known), cause or action. */
enum { SL_EVENT_COLUMNS = 6, SL_EVENT_CELL_MAX = 128 };
extern const char *const sl_event_column_names[SL_EVENT_COLUMNS];
void sl_event_row(const Sluice__V1__Event *event, bool utc, char cells[SL_EVENT_COLUMNS][SL_EVENT_CELL_MAX]);

/* One line: time, type, client → server, what happened. No line feed. */
sl_err sl_event_render_line(const Sluice__V1__Event *event, const struct sl_render_options *options, struct sl_buf *out);

/* Appends text of a peer with control characters, invalid UTF-8 and bidirectional overrides written as \x1b or \u202e. */
sl_err sl_render_escape(struct sl_buf *out, const char *text);
