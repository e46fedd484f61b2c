/* SPDX-License-Identifier: Apache-2.0 */
#include "card/service/waiting.h"

#include <stdlib.h>
#include <string.h>

struct line {
    struct sl_waiting_frame *first, *last;
    size_t count;
    size_t next; /* line that is stirred behind this one */
    bool stirred;
};

struct sl_waiting {
    size_t lines, count, bytes, bytes_max;
    size_t first, last; /* of the stirred lines; first == lines: there is none */
    struct line line[];
};

sl_err sl_waiting_new(size_t lines, size_t bytes_max, struct sl_waiting **out)
{
    struct sl_waiting *w = calloc(1, sizeof *w + lines * sizeof w->line[0]);
    if (w == NULL)
        return SL_ERR_NOMEM;
    w->lines = w->first = w->last = lines;
    w->bytes_max = bytes_max;
    *out = w;
    return SL_OK;
}

void sl_waiting_free(struct sl_waiting *waiting)
{
    if (waiting == NULL)
        return;
    for (size_t i = 0; i < waiting->lines; i++) {
        for (struct sl_waiting_frame *f = waiting->line[i].first, *next; f != NULL; f = next) {
            next = f->next;
            free(f);
        }
    }
    free(waiting);
}

static bool is_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

static size_t size_of(const struct sl_waiting_frame *f)
{
    return sizeof *f + f->count;
}

void sl_waiting_stir(struct sl_waiting *waiting, size_t line)
{
    struct line *l = &waiting->line[line];
    if (l->stirred || l->count == 0)
        return;
    l->stirred = true;
    l->next = waiting->lines;
    if (waiting->first == waiting->lines)
        waiting->first = line;
    else
        waiting->line[waiting->last].next = line;
    waiting->last = line;
}

void sl_waiting_stir_all(struct sl_waiting *waiting)
{
    for (size_t i = 0; i < waiting->lines; i++)
        sl_waiting_stir(waiting, i);
}

bool sl_waiting_put(struct sl_waiting *waiting, size_t line, const struct sl_waiting_frame *about, const uint8_t *bytes, bool ready)
{
    struct line *l = &waiting->line[line];
    const size_t size = size_of(about);
    struct sl_waiting_frame *f, **at;

    if (l->count == SL_WAITING_LINE_MAX || size > waiting->bytes_max - waiting->bytes || (f = malloc(size)) == NULL)
        return false;
    *f = *about;
    memcpy(f->bytes, bytes, f->count);
    if (l->last != NULL && !is_before(f->seq, l->last->seq)) {
        at = &l->last->next;
    } else {
        for (at = &l->first; *at != NULL && !is_before(f->seq, (*at)->seq);)
            at = &(*at)->next;
    }
    f->next = *at;
    *at = f;
    if (f->next == NULL)
        l->last = f;
    l->count++;
    waiting->count++;
    waiting->bytes += size;
    if (ready)
        sl_waiting_stir(waiting, line);
    return true;
}

struct sl_waiting_frame *sl_waiting_take(struct sl_waiting *waiting, size_t max, size_t *line)
{
    if (waiting->first == waiting->lines || max == 0)
        return NULL;
    *line = waiting->first;
    struct line *l = &waiting->line[*line];
    struct sl_waiting_frame *taken = l->first, *f = taken;

    waiting->first = l->next;
    l->stirred = false;
    for (size_t n = 1;; n++) {
        l->count--;
        waiting->count--;
        waiting->bytes -= size_of(f);
        if (n == max || f->next == NULL || is_before(f->end, f->next->seq))
            break;
        f = f->next;
    }
    l->first = f->next;
    if (l->first == NULL)
        l->last = NULL;
    f->next = NULL;
    return taken;
}

size_t sl_waiting_count(const struct sl_waiting *waiting)
{
    return waiting->count;
}
