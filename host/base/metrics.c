/* SPDX-License-Identifier: Apache-2.0 */
#include "base/metrics.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { CACHE_LINE_BYTES = 64 };

struct sl_metric {
    _Alignas(CACHE_LINE_BYTES) _Atomic int64_t value; /* a line of its own: workers count different things at once */
    enum sl_metric_kind kind;
    char *name, *help;
};

struct sl_metrics {
    pthread_mutex_t lock;
    struct sl_metric **sorted; /* by name */
    size_t count, cap;
};

sl_err sl_metrics_new(struct sl_metrics **out)
{
    struct sl_metrics *m = calloc(1, sizeof(*m));

    if (!m)
        return SL_ERR_NOMEM;
    if (pthread_mutex_init(&m->lock, NULL) != 0) {
        free(m);
        return SL_ERR_NOMEM;
    }
    *out = m;
    return SL_OK;
}

static void metric_free(struct sl_metric *metric)
{
    if (!metric)
        return;
    free(metric->name);
    free(metric->help);
    free(metric);
}

void sl_metrics_free(struct sl_metrics *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->count; i++)
        metric_free(m->sorted[i]);
    free(m->sorted);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

/* Past an identifier, or NULL: [a-zA-Z_:][a-zA-Z0-9_:]*, a label's name without the colon. */
static const char *skip_identifier(const char *s, bool colon)
{
    const char *start = s;

    for (;; s++) {
        bool letter = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || *s == '_' || (colon && *s == ':');
        bool digit = *s >= '0' && *s <= '9' && s > start;
        if (!letter && !digit)
            return s > start ? s : NULL;
    }
}

/* Past name="value", or NULL; a value is printable ASCII that needs no escapes. */
static const char *skip_label(const char *s)
{
    s = skip_identifier(s, false);
    if (!s || s[0] != '=' || s[1] != '"')
        return NULL;
    for (s += 2; *s != '"'; s++) {
        if (*s < ' ' || *s > '~' || *s == '\\')
            return NULL;
    }
    return s + 1;
}

/* identifier, or identifier{label,label...} */
static bool name_valid(const char *name)
{
    const char *s = skip_identifier(name, true);

    if (!s)
        return false;
    if (*s == '\0')
        return true;
    if (*s != '{')
        return false;
    do {
        s = skip_label(s + 1);
    } while (s && *s == ',');
    return s && s[0] == '}' && s[1] == '\0';
}

/* The place of name in the sorted array, or where it would be inserted. */
static size_t place_of(const struct sl_metrics *m, const char *name)
{
    size_t low = 0, high = m->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(m->sorted[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct sl_metric *metric_new(enum sl_metric_kind kind, const char *name, const char *help)
{
    struct sl_metric *metric = aligned_alloc(CACHE_LINE_BYTES, sizeof(*metric));

    if (!metric)
        return NULL;
    memset(metric, 0, sizeof(*metric));
    atomic_init(&metric->value, 0);
    metric->kind = kind;
    metric->name = strdup(name);
    metric->help = strdup(help ? help : "");
    if (!metric->name || !metric->help) {
        metric_free(metric);
        return NULL;
    }
    return metric;
}

static sl_err make_room(struct sl_metrics *m)
{
    size_t cap = m->cap ? m->cap * 2 : 64;
    struct sl_metric **grown;

    if (m->count < m->cap)
        return SL_OK;
    grown = reallocarray(m->sorted, cap, sizeof(struct sl_metric *));
    if (!grown)
        return SL_ERR_NOMEM;
    m->sorted = grown;
    m->cap = cap;
    return SL_OK;
}

sl_err sl_metric_register(struct sl_metrics *m, enum sl_metric_kind kind, const char *name, const char *help,
                          struct sl_metric **out)
{
    struct sl_metric *metric;
    size_t place;
    sl_err err = SL_OK;

    if (!name || !name_valid(name) || (kind != SL_COUNTER && kind != SL_GAUGE))
        return SL_ERR_INVALID;
    pthread_mutex_lock(&m->lock);
    place = place_of(m, name);
    if (place < m->count && strcmp(m->sorted[place]->name, name) == 0) {
        metric = m->sorted[place];
        err = metric->kind == kind ? SL_OK : SL_ERR_INVALID;
        goto Exit;
    }
    if ((err = make_room(m)) != SL_OK)
        goto Exit;
    metric = metric_new(kind, name, help);
    if (!metric) {
        err = SL_ERR_NOMEM;
        goto Exit;
    }
    memmove(m->sorted + place + 1, m->sorted + place, (m->count - place) * sizeof(struct sl_metric *));
    m->sorted[place] = metric;
    m->count++;
Exit:
    pthread_mutex_unlock(&m->lock);
    if (err == SL_OK)
        *out = metric;
    return err;
}

void sl_metric_add(struct sl_metric *metric, int64_t n)
{
    if (metric)
        atomic_fetch_add_explicit(&metric->value, n, memory_order_relaxed);
}

void sl_metric_set(struct sl_metric *metric, int64_t value)
{
    if (metric)
        atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

int64_t sl_metric_get(const struct sl_metric *metric)
{
    return metric ? atomic_load_explicit(&metric->value, memory_order_relaxed) : 0;
}

void sl_metrics_visit(struct sl_metrics *m,
                      void (*visit)(void *arg, enum sl_metric_kind kind, const char *name, const char *help, int64_t value),
                      void *arg)
{
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->count; i++)
        visit(arg, m->sorted[i]->kind, m->sorted[i]->name, m->sorted[i]->help, sl_metric_get(m->sorted[i]));
    pthread_mutex_unlock(&m->lock);
}
