/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Line by line, E. W. Myers, "An O(ND) Difference Algorithm and Its Variations" (1986), the greedy form with one saved row a step:
 * furthest[k] is how far one gets in `from` on the diagonal k = x - y with d edits; walking the saved rows back gives the script.
 * Texts that differ in more than EDITS_MAX lines are shown as one replacement of what lies between their common head and tail.
 */
#include "policy/diff.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

enum { EDITS_MAX = 2000, CONTEXT = 3 };

struct line {
    const char *at;
    size_t len;
};
struct lines {
    struct line *items;
    size_t count;
};

static sl_err split(const char *text, struct lines *out)
{
    size_t n = 0, count = 0;
    for (const char *c = text; *c; c++)
        n += *c == '\n';
    if (!(out->items = calloc(n + 1, sizeof(*out->items))))
        return SL_ERR_NOMEM;
    while (*text) {
        size_t len = strcspn(text, "\n");
        out->items[count++] = (struct line){text, len};
        text += len + (text[len] == '\n');
    }
    out->count = count;
    return SL_OK;
}

static bool same(const struct line *a, const struct line *b)
{
    return a->len == b->len && memcmp(a->at, b->at, a->len) == 0;
}

/* What becomes of each line: gone[i] for those of from, added[j] for those of to. */
struct script {
    bool *gone, *added;
};

static void replace_all(struct script *s, size_t head, size_t n, size_t m)
{
    memset(s->gone + head, true, n);
    memset(s->added + head, true, m);
}

/* Walks back from the end over the rows saved at each d. Row d holds 2d + 1 values, for k = -d .. d. */
static void walk_back(int32_t *const *rows, int32_t d, int32_t n, int32_t m, size_t head, struct script *s)
{
    int32_t x = n, y = m;
    for (; d > 0; d--) {
        int32_t k = x - y;
        const int32_t *row = rows[d - 1] + (d - 1); /* indexed by k */
        bool down = k == -d || (k != d && row[k - 1] < row[k + 1]);
        int32_t before = down ? k + 1 : k - 1;
        x = row[before];
        y = x - before;
        if (down)
            s->added[head + (size_t)y] = true;
        else
            s->gone[head + (size_t)x] = true;
    }
}

static sl_err compare(const struct line *a, int32_t n, const struct line *b, int32_t m, size_t head, struct script *s)
{
    int32_t **rows = calloc(EDITS_MAX + 1, sizeof(*rows));
    int32_t d = 0;
    bool done = false;
    sl_err err = rows ? SL_OK : SL_ERR_NOMEM;

    for (; !err && !done && d <= EDITS_MAX; d++) {
        int32_t *row = calloc((size_t)(2 * d + 1), sizeof(*row));
        if (!row) {
            err = SL_ERR_NOMEM;
            break;
        }
        rows[d] = row;
        row += d;
        const int32_t *last = d ? rows[d - 1] + (d - 1) : NULL;
        for (int32_t k = -d; k <= d && !done; k += 2) {
            bool down = k == -d || (k != d && last[k - 1] < last[k + 1]);
            int32_t x = d == 0 ? 0 : down ? last[k + 1] : last[k - 1] + 1, y = x - k;
            while (x < n && y < m && x >= 0 && y >= 0 && same(&a[x], &b[y])) {
                x++;
                y++;
            }
            row[k] = x;
            done = x >= n && y >= m;
        }
    }
    if (!err && done)
        walk_back(rows, d - 1, n, m, head, s);
    else if (!err)
        replace_all(s, head, (size_t)n, (size_t)m);
    for (int32_t i = 0; rows && i <= EDITS_MAX; i++)
        free(rows[i]);
    free(rows);
    return err;
}

static sl_err make_script(const struct lines *a, const struct lines *b, struct script *s)
{
    size_t head = 0, tail = 0;

    while (head < a->count && head < b->count && same(&a->items[head], &b->items[head]))
        head++;
    while (tail < a->count - head && tail < b->count - head && same(&a->items[a->count - 1 - tail], &b->items[b->count - 1 - tail]))
        tail++;
    size_t n = a->count - head - tail, m = b->count - head - tail;
    if (n > INT32_MAX / 4 || m > INT32_MAX / 4) {
        replace_all(s, head, n, m);
        return SL_OK;
    }
    return compare(a->items + head, (int32_t)n, b->items + head, (int32_t)m, head, s);
}

/* ---- output ---- */

/* The texts side by side: an edit takes lines off one side, everything else advances both. */
struct place {
    size_t a, b;
};

static bool at_edit(const struct script *s, const struct lines *a, const struct lines *b, struct place p)
{
    return (p.a < a->count && s->gone[p.a]) || (p.b < b->count && s->added[p.b]);
}

static bool at_end(const struct lines *a, const struct lines *b, struct place p)
{
    return p.a >= a->count && p.b >= b->count;
}

static struct place advance(const struct script *s, const struct lines *a, const struct lines *b, struct place p)
{
    if (p.a < a->count && s->gone[p.a])
        return (struct place){p.a + 1, p.b};
    if (p.b < b->count && s->added[p.b])
        return (struct place){p.a, p.b + 1};
    return (struct place){p.a + 1, p.b + 1};
}

/* Where a hunk ends: CONTEXT equal lines after its last edit, unless another edit comes within twice as many. */
static struct place hunk_end(const struct script *s, const struct lines *a, const struct lines *b, struct place p)
{
    struct place end = p;
    for (size_t equal = 0; !at_end(a, b, p) && equal <= (size_t)2 * CONTEXT;) {
        bool edit = at_edit(s, a, b, p);
        p = advance(s, a, b, p);
        equal = edit ? 0 : equal + 1;
        if (equal <= CONTEXT)
            end = p;
    }
    return end;
}

static sl_err print_hunk(struct sl_buf *out, const struct script *s, const struct lines *a, const struct lines *b,
                         struct place from, struct place to)
{
    size_t la = to.a - from.a, lb = to.b - from.b;
    sl_err err = sl_buf_printf(out, "@@ -%zu,%zu +%zu,%zu @@\n", from.a + (la > 0), la, from.b + (lb > 0), lb);

    for (struct place p = from; !err && (p.a < to.a || p.b < to.b); p = advance(s, a, b, p)) {
        bool gone = p.a < a->count && s->gone[p.a], added = !gone && p.b < b->count && s->added[p.b];
        const struct line *l = added ? &b->items[p.b] : &a->items[p.a];
        if (!(err = sl_buf_append(out, gone ? "-" : added ? "+" : " ", 1)) && !(err = sl_buf_append(out, l->at, l->len)))
            err = sl_buf_append(out, "\n", 1);
    }
    return err;
}

static sl_err print_hunks(struct sl_buf *out, const struct script *s, const struct lines *a, const struct lines *b)
{
    sl_err err = SL_OK;
    struct place p = {0, 0};
    size_t behind = 0; /* equal lines since the last hunk */

    while (!err && !at_end(a, b, p)) {
        if (!at_edit(s, a, b, p)) {
            p = advance(s, a, b, p);
            behind++;
            continue;
        }
        size_t context = behind < CONTEXT ? behind : CONTEXT;
        struct place from = {p.a - context, p.b - context}, to = hunk_end(s, a, b, p);
        err = print_hunk(out, s, a, b, from, to);
        p = to;
        behind = 0;
    }
    return err;
}

sl_err sl_text_diff(const char *from_name, const char *from, const char *to_name, const char *to, char **out)
{
    struct lines a = {0}, b = {0};
    struct script s = {0};
    struct sl_buf text;
    char *copy = NULL;
    sl_err err;

    sl_buf_init(&text, (size_t)1 << 30);
    if ((err = split(from, &a)) || (err = split(to, &b)))
        goto Exit;
    s.gone = calloc(a.count + 1, sizeof(*s.gone));
    s.added = calloc(b.count + 1, sizeof(*s.added));
    if (!s.gone || !s.added) {
        err = SL_ERR_NOMEM;
        goto Exit;
    }
    if (strcmp(from, to) != 0 &&
        ((err = make_script(&a, &b, &s)) || (err = sl_buf_printf(&text, "--- %s\n+++ %s\n", from_name, to_name)) ||
         (err = print_hunks(&text, &s, &a, &b))))
        goto Exit;
    if ((err = sl_buf_append(&text, "", 1)))
        goto Exit;
    if (!(copy = strdup((const char *)sl_buf_data(&text))))
        err = SL_ERR_NOMEM;
    else
        *out = copy;
Exit:
    sl_buf_free(&text);
    free(s.gone);
    free(s.added);
    free(a.items);
    free(b.items);
    return err;
}
