/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two locks. `lock` guards the queue, the counters, the subscriptions' list and all waiting; it is held for moments only, so that
 * put never blocks on a disk. `read_lock` guards the reading connection. `lock` may be taken under `read_lock`, never the other
 * way.
 */
#include "event/store.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "event/database.h"
#include "event/event.h"
#include "event/explain.h"

enum {
    QUEUE_DEFAULT = 16384,
    BATCH_MAX = 512,
    RETRY_DEFAULT_MS = 1000,
    LIST_DEFAULT = 50,
    LIST_MAX = 1000,
    WATCH_PAGE = 64,
    SIZE_CHECK_BATCHES = 64, /* how often the size of the file is looked at */
    PATH_BYTES = 1024
};

#define RETAIN_EVENTS_DEFAULT UINT64_C(1000000)
#define RETAIN_BYTES_DEFAULT  (UINT64_C(2) << 30)

struct sl_event_subscription {
    struct sl_event_subscription *next;
    struct sl_event_store *store;
    sl_event_callback callback;
    void *arg;
};

struct sl_event_store {
    struct sl_event_store_options options;
    char *path, *device_name;
    const struct sl_clock *clock;
    struct sl_metric *stored_metric, *lost_metric, *queued_metric;

    pthread_t thread;
    bool thread_runs;
    pthread_mutex_t lock;
    pthread_cond_t work;   /* the queue has something, or stop */
    pthread_cond_t stored; /* newest_id rose, the queue ran empty, a watch was cancelled, or stop */
    Sluice__V1__Event **queue;
    size_t head, count, in_flight;
    size_t held; /* by the writer thread: in flight, or stored and still to be told to subscribers */
    uint64_t lost, lost_told, newest_id, in_database; /* the last two change in the writer thread only */
    bool stop, failing, calling;
    struct sl_event_subscription *subscriptions;

    struct sl_database writer; /* writer thread only */
    unsigned batches;

    pthread_mutex_t read_lock;
    struct sl_database reader;
};

/* ---- opening ---- */

static void move_aside(const char *path, uint64_t wall_ns)
{
    static const char *const parts[] = {"", "-wal", "-shm"};
    char from[PATH_BYTES], to[PATH_BYTES + 64];
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        snprintf(from, sizeof from, "%s%s", path, parts[i]);
        snprintf(to, sizeof to, "%s.damaged-%llu%s", path, (unsigned long long)(wall_ns / SL_NS_PER_S), parts[i]);
        rename(from, to);
    }
}

/* Ids go on from what was known: nothing is ever called the same. */
static sl_err open_databases(struct sl_event_store *s, struct sl_diag *diag)
{
    uint64_t newest = 0, count = 0;
    sl_err err = sl_database_open(&s->writer, s->path, true, s->options.file_bytes_max, diag);
    if (!err)
        err = sl_database_count(&s->writer, &newest, &count);
    if (!err)
        err = sl_database_open(&s->reader, s->path, false, 0, diag);
    if (err) {
        sl_database_close(&s->writer);
        sl_database_close(&s->reader);
        return err;
    }
    pthread_mutex_lock(&s->lock);
    s->newest_id = newest > s->newest_id ? newest : s->newest_id;
    s->in_database = count;
    pthread_mutex_unlock(&s->lock);
    return SL_OK;
}

static void *write_events(void *arg);

static sl_err register_metrics(struct sl_event_store *s)
{
    struct sl_metrics *m = s->options.metrics;
    if (!m)
        return SL_OK;
    sl_err err = sl_metric_register(m, SL_COUNTER, "sluice_events_stored_total", "events written to the store", &s->stored_metric);
    if (!err)
        err =
            sl_metric_register(m, SL_COUNTER, "sluice_events_lost_total", "events that the store could not take", &s->lost_metric);
    if (!err)
        err = sl_metric_register(m, SL_GAUGE, "sluice_events_queued", "events waiting to be written, to the store or to logs",
                                 &s->queued_metric);
    return err;
}

static void release(struct sl_event_store *s)
{
    sl_database_close(&s->writer);
    sl_database_close(&s->reader);
    for (size_t i = 0; i < s->count; i++)
        sl_event_free(s->queue[(s->head + i) % s->options.queue_events]);
    while (s->subscriptions) {
        struct sl_event_subscription *next = s->subscriptions->next;
        free(s->subscriptions);
        s->subscriptions = next;
    }
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->read_lock);
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->stored);
    free(s->queue);
    free(s->path);
    free(s->device_name);
    free(s);
}

static void init_locks(struct sl_event_store *s)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&s->work, &attributes);
    pthread_cond_init(&s->stored, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->read_lock, NULL);
}

static void fill_defaults(struct sl_event_store_options *o)
{
    o->queue_events = o->queue_events ? o->queue_events : QUEUE_DEFAULT;
    o->retain_events = o->retain_events ? o->retain_events : RETAIN_EVENTS_DEFAULT;
    o->retain_bytes = o->retain_bytes ? o->retain_bytes : RETAIN_BYTES_DEFAULT;
    o->retry_ms = o->retry_ms ? o->retry_ms : RETRY_DEFAULT_MS;
}

sl_err sl_event_store_open(const struct sl_event_store_options *options, struct sl_event_store **out, struct sl_diag *diag)
{
    struct sl_event_store *s = calloc(1, sizeof *s);
    bool damaged = false;

    if (!s)
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    init_locks(s);
    s->options = *options;
    fill_defaults(&s->options);
    s->clock = options->clock ? options->clock : sl_clock_system();
    s->path = strdup(options->path);
    s->device_name = strdup(options->device_name ? options->device_name : "");
    s->queue = calloc(s->options.queue_events, sizeof(Sluice__V1__Event *));
    sl_err err = s->path && s->device_name && s->queue ? register_metrics(s) : SL_ERR_NOMEM;
    if (err) {
        sl_fail(diag, err, "event store: %s", sl_err_str(err));
        goto Exit;
    }
    err = open_databases(s, diag);
    if (err == SL_ERR_CORRUPT) {
        damaged = true;
        move_aside(s->path, s->clock->wall_ns(s->clock->arg));
        sl_log(SL_LOG_ERROR, "event", "the database of events is damaged; it was moved aside and a new one begun",
               SL_STR("path", s->path));
        err = open_databases(s, diag);
    }
    if (err)
        goto Exit;
    if (pthread_create(&s->thread, NULL, write_events, s)) {
        err = sl_fail(diag, SL_ERR_IO, "event store: no thread");
        goto Exit;
    }
    s->thread_runs = true;
    if (damaged)
        sl_event_store_system(s, "Event store", "The database of events was damaged. It was moved aside and a new one begun.", 0);
Exit:
    if (err)
        release(s);
    else
        *out = s;
    return err;
}

void sl_event_store_close(struct sl_event_store *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_broadcast(&s->work);
    pthread_cond_broadcast(&s->stored);
    pthread_mutex_unlock(&s->lock);
    if (s->thread_runs)
        pthread_join(s->thread, NULL);
    release(s);
}

/* ---- putting ---- */

/* Called with the lock held. */
static void show_queued(struct sl_event_store *s)
{
    sl_metric_set(s->queued_metric, (int64_t)(s->count + s->held));
}

sl_err sl_event_store_put(struct sl_event_store *s, Sluice__V1__Event *event)
{
    bool taken = false;

    pthread_mutex_lock(&s->lock);
    if (s->count < s->options.queue_events && !s->stop) {
        s->queue[(s->head + s->count++) % s->options.queue_events] = event;
        taken = true;
        pthread_cond_signal(&s->work);
    } else {
        s->lost++;
    }
    show_queued(s);
    pthread_mutex_unlock(&s->lock);
    if (taken)
        return SL_OK;
    sl_metric_add(s->lost_metric, 1);
    sl_event_free(event);
    return SL_ERR_LIMIT;
}

static sl_err make_system(struct sl_event_store *s, const char *component, const char *text, uint64_t config_version,
                          Sluice__V1__Event **out)
{
    Sluice__V1__Event *e = NULL;
    sl_err err = sl_event_new(&e);
    if (err)
        return err;
    e->type = SLUICE__V1__EVENT_TYPE__SYSTEM;
    e->time_ns = e->start_ns = s->clock->wall_ns(s->clock->arg);
    e->side = SLUICE__V1__SIDE__SIDE_GATEWAY;
    e->txn->config_version = config_version;
    if ((err = sl_event_set(&e->txn->component, component)) || (err = sl_event_set(&e->explanation, text)) ||
        (err = sl_event_set(&e->device->name, s->device_name)) || (err = sl_event_set(&e->device->type, "Sluice")) ||
        (err = sl_event_finish(e))) {
        sl_event_free(e);
        return err;
    }
    *out = e;
    return SL_OK;
}

sl_err sl_event_store_system(struct sl_event_store *s, const char *component, const char *text, uint64_t config_version)
{
    Sluice__V1__Event *e = NULL;
    sl_err err = make_system(s, component, text, config_version, &e);
    return err ? err : sl_event_store_put(s, e);
}

/* ---- the writer ---- */

static struct timespec deadline_in(uint64_t ns)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    uint64_t nsec = (uint64_t)t.tv_nsec + ns % SL_NS_PER_S;
    t.tv_sec += (time_t)(ns / SL_NS_PER_S + nsec / SL_NS_PER_S);
    t.tv_nsec = (long)(nsec % SL_NS_PER_S);
    return t;
}

/* Takes what waits, up to a batch; with room an event on what was lost comes first. Called with the lock held. */
static size_t take_batch(struct sl_event_store *s, Sluice__V1__Event **batch, uint64_t *lost_told)
{
    size_t n = 0;

    *lost_told = s->lost;
    if (s->lost > s->lost_told) {
        char text[160];
        snprintf(text, sizeof text, "%llu events were lost: they came faster than they could be written.",
                 (unsigned long long)(s->lost - s->lost_told));
        if (make_system(s, "Event store", text, 0, &batch[0]) == SL_OK)
            n++;
    }
    while (n < BATCH_MAX && s->count > 0) {
        batch[n++] = s->queue[s->head];
        s->head = (s->head + 1) % s->options.queue_events;
        s->count--;
    }
    s->in_flight = s->held = n;
    show_queued(s);
    return n;
}

static void give_ids(struct sl_event_store *s, Sluice__V1__Event **batch, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        batch[i]->id = s->newest_id + 1 + i;
        sl_event_remedies(batch[i]); /* the commands name the event */
    }
}

/* The database went bad while in use. */
static sl_err begin_anew(struct sl_event_store *s)
{
    struct sl_diag diag;

    sl_log(SL_LOG_ERROR, "event", "the database of events is damaged; it is moved aside and a new one begun",
           SL_STR("path", s->path));
    pthread_mutex_lock(&s->read_lock);
    sl_database_close(&s->writer);
    sl_database_close(&s->reader);
    move_aside(s->path, s->clock->wall_ns(s->clock->arg));
    sl_err err = open_databases(s, &diag);
    pthread_mutex_unlock(&s->read_lock);
    return err;
}

/* What goes beyond the retention limits; returns how many events were removed. newest and count include the last batch. */
static uint64_t remove_old(struct sl_event_store *s, uint64_t newest, uint64_t count)
{
    const struct sl_event_store_options *o = &s->options;
    uint64_t removed = 0, bytes = 0, up_to = 0;

    if (count > o->retain_events && newest > o->retain_events)
        up_to = newest - o->retain_events;
    if (s->batches++ % SIZE_CHECK_BATCHES == 0 && sl_database_bytes(&s->writer, &bytes) == SL_OK && bytes > o->retain_bytes) {
        uint64_t twentieth = newest - count + count / 20 + 1;
        up_to = twentieth > up_to ? twentieth : up_to;
    }
    if (up_to)
        sl_database_remove(&s->writer, up_to, &removed);
    return removed < count ? removed : count;
}

static void call_subscribers(struct sl_event_store *s, Sluice__V1__Event *const *batch, size_t n)
{
    pthread_mutex_lock(&s->lock);
    s->calling = true;
    struct sl_event_subscription *first = s->subscriptions;
    pthread_mutex_unlock(&s->lock);
    for (struct sl_event_subscription *sub = first; sub; sub = sub->next)
        for (size_t i = 0; i < n; i++)
            sub->callback(sub->arg, batch[i]);
    pthread_mutex_lock(&s->lock);
    s->calling = false;
    pthread_cond_broadcast(&s->stored);
    pthread_mutex_unlock(&s->lock);
}

/* True when the batch is in the database. */
static bool write_batch(struct sl_event_store *s, Sluice__V1__Event **batch, size_t n)
{
    struct sl_diag diag;
    sl_err err = SL_OK;

    if (!s->writer.db) { /* beginning anew failed, say on a full disk */
        pthread_mutex_lock(&s->read_lock);
        err = open_databases(s, &diag);
        pthread_mutex_unlock(&s->read_lock);
    }
    if (!err) {
        give_ids(s, batch, n);
        err = sl_database_insert(&s->writer, batch, n);
    }
    if (err == SL_ERR_CORRUPT && begin_anew(s) == SL_OK) {
        give_ids(s, batch, n);
        err = sl_database_insert(&s->writer, batch, n);
    }
    if (err && !s->failing)
        sl_log(SL_LOG_ERROR, "event", "events can't be written; trying again", SL_STR("path", s->path), SL_ERRV(err));
    if (!err && s->failing)
        sl_log(SL_LOG_INFO, "event", "events are written again", SL_STR("path", s->path));
    return err == SL_OK;
}

/* Called with the lock held; releases it meanwhile. Returns when the batch is written, or given up at the end. */
static void handle_batch(struct sl_event_store *s, Sluice__V1__Event **batch, size_t n, uint64_t lost_told)
{
    for (;;) {
        pthread_mutex_unlock(&s->lock);
        bool written = write_batch(s, batch, n);
        uint64_t removed = written ? remove_old(s, s->newest_id + n, s->in_database + n) : 0;
        pthread_mutex_lock(&s->lock);
        s->failing = !written;
        if (written) {
            s->newest_id += n;
            s->in_database += n - removed;
            s->lost_told = lost_told;
            break;
        }
        if (s->stop) {
            s->lost += n;
            sl_metric_add(s->lost_metric, (int64_t)n);
            break;
        }
        struct timespec until = deadline_in((uint64_t)s->options.retry_ms * SL_NS_PER_MS);
        while (!s->stop && pthread_cond_timedwait(&s->work, &s->lock, &until) != ETIMEDOUT)
            ;
    }
    s->in_flight = 0;
    bool written = !s->failing;
    pthread_cond_broadcast(&s->stored);
    pthread_mutex_unlock(&s->lock);
    if (written) {
        sl_metric_add(s->stored_metric, (int64_t)n);
        call_subscribers(s, batch, n);
    }
    for (size_t i = 0; i < n; i++)
        sl_event_free(batch[i]);
    pthread_mutex_lock(&s->lock);
    s->held = 0;
    show_queued(s);
}

static void *write_events(void *arg)
{
    struct sl_event_store *s = arg;
    Sluice__V1__Event *batch[BATCH_MAX];
    uint64_t lost_told = 0;

    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (s->count == 0 && s->lost == s->lost_told && !s->stop)
            pthread_cond_wait(&s->work, &s->lock);
        if (s->count == 0 && s->stop)
            break;
        size_t n = take_batch(s, batch, &lost_told);
        if (n > 0)
            handle_batch(s, batch, n, lost_told);
        else
            s->lost_told = lost_told;
        if (s->stop && s->failing)
            break;
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

sl_err sl_event_store_flush(struct sl_event_store *s, uint64_t timeout_ns)
{
    struct timespec until = deadline_in(timeout_ns);
    sl_err err = SL_OK;

    pthread_mutex_lock(&s->lock);
    while (!err && (s->count > 0 || s->in_flight > 0) && !s->stop)
        if (pthread_cond_timedwait(&s->stored, &s->lock, &until) == ETIMEDOUT)
            err = SL_ERR_TIMEOUT;
    pthread_mutex_unlock(&s->lock);
    return err;
}

struct sl_event_store_stats sl_event_store_stats(struct sl_event_store *s)
{
    pthread_mutex_lock(&s->lock);
    struct sl_event_store_stats stats = {.stored = s->in_database,
                                         .lost = s->lost,
                                         .queued = s->count + s->in_flight,
                                         .newest_id = s->newest_id,
                                         .failing = s->failing};
    pthread_mutex_unlock(&s->lock);
    return stats;
}

/* ---- reading ---- */

static sl_err select_events(struct sl_event_store *s, const struct sl_filter *filter, uint64_t before, uint64_t after, size_t limit,
                            struct sl_event_list *out)
{
    pthread_mutex_lock(&s->read_lock);
    sl_err err = s->reader.db ? sl_database_select(&s->reader, filter, before, after, limit, out) : SL_ERR_IO;
    pthread_mutex_unlock(&s->read_lock);
    return err;
}

sl_err sl_event_store_list(struct sl_event_store *s, const Sluice__V1__ListEventsRequest *request, struct sl_event_list *out,
                           struct sl_diag *diag)
{
    struct sl_filter filter;
    sl_err err = sl_filter_init(&filter, request, diag);
    size_t limit = request && request->limit ? request->limit : LIST_DEFAULT;

    memset(out, 0, sizeof *out);
    if (err)
        return err;
    err = select_events(s, &filter, request ? request->before_id : 0, UINT64_MAX, limit < LIST_MAX ? limit : LIST_MAX, out);
    return err ? sl_fail(diag, err, "the events can't be read: %s", sl_err_str(err)) : SL_OK;
}

void sl_event_list_free(struct sl_event_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        sl_event_free(l->items[i]);
    free(l->items);
    memset(l, 0, sizeof *l);
}

static sl_err take_only(struct sl_event_list *list, Sluice__V1__Event **out)
{
    sl_err err = list->count > 0 ? SL_OK : SL_ERR_NOT_FOUND;
    if (!err) {
        *out = list->items[0];
        list->items[0] = NULL;
    }
    sl_event_list_free(list);
    return err;
}

sl_err sl_event_store_get(struct sl_event_store *s, uint64_t id, Sluice__V1__Event **out)
{
    struct sl_filter all = {0};
    struct sl_event_list list;
    if (id == 0 || id >= INT64_MAX)
        return SL_ERR_NOT_FOUND;
    sl_err err = select_events(s, &all, id + 1, id - 1, 1, &list);
    return err ? err : take_only(&list, out);
}

sl_err sl_event_store_get_flow(struct sl_event_store *s, const char *flow_id, Sluice__V1__Event **out)
{
    Sluice__V1__ListEventsRequest request = SLUICE__V1__LIST_EVENTS_REQUEST__INIT;
    struct sl_filter filter;
    struct sl_event_list list;

    request.flow_id = (char *)(uintptr_t)flow_id;
    sl_err err = *flow_id ? sl_filter_init(&filter, &request, NULL) : SL_ERR_NOT_FOUND;
    if (!err)
        err = select_events(s, &filter, 0, UINT64_MAX, 1, &list);
    return err ? err : take_only(&list, out);
}

/* ---- watching ---- */

struct sl_event_watch {
    struct sl_event_store *store;
    Sluice__V1__ListEventsRequest *request; /* a copy; NULL: everything */
    struct sl_filter filter;
    uint64_t last; /* everything up to it was looked at */
    struct sl_event_list page;
    size_t next; /* in the page */
    bool cancelled;
};

static sl_err copy_request(const Sluice__V1__ListEventsRequest *request, Sluice__V1__ListEventsRequest **out)
{
    size_t len = sluice__v1__list_events_request__get_packed_size(request);
    uint8_t *bytes = malloc(len + 1);
    if (!bytes)
        return SL_ERR_NOMEM;
    sluice__v1__list_events_request__pack(request, bytes);
    *out = sluice__v1__list_events_request__unpack(NULL, len, bytes);
    free(bytes);
    return *out ? SL_OK : SL_ERR_NOMEM;
}

sl_err sl_event_watch_open(struct sl_event_store *s, const Sluice__V1__ListEventsRequest *filter, uint64_t after_id,
                           struct sl_event_watch **out, struct sl_diag *diag)
{
    struct sl_event_watch *w = calloc(1, sizeof *w);
    sl_err err = SL_OK;

    if (!w)
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    if (filter && (err = copy_request(filter, &w->request)))
        sl_fail(diag, err, "out of memory");
    if (!err)
        err = sl_filter_init(&w->filter, w->request, diag);
    if (err) {
        sl_event_watch_close(w);
        return err;
    }
    w->store = s;
    pthread_mutex_lock(&s->lock);
    w->last = after_id == SL_EVENT_WATCH_NEW ? s->newest_id : after_id;
    pthread_mutex_unlock(&s->lock);
    *out = w;
    return SL_OK;
}

/* Waits for an id above `last`; *newest is what there is then. */
static sl_err wait_for_new(struct sl_event_watch *w, const struct timespec *until, uint64_t *newest)
{
    struct sl_event_store *s = w->store;
    sl_err err = SL_OK;

    pthread_mutex_lock(&s->lock);
    while (!err && s->newest_id <= w->last) {
        if (w->cancelled || s->stop)
            err = SL_ERR_CANCELLED;
        else if (pthread_cond_timedwait(&s->stored, &s->lock, until) == ETIMEDOUT)
            err = SL_ERR_TIMEOUT;
    }
    if (w->cancelled)
        err = SL_ERR_CANCELLED;
    *newest = s->newest_id;
    pthread_mutex_unlock(&s->lock);
    return err;
}

sl_err sl_event_watch_next(struct sl_event_watch *w, uint64_t timeout_ns, Sluice__V1__Event **out)
{
    struct timespec until = deadline_in(timeout_ns);

    for (;;) {
        uint64_t newest = 0;
        if (w->next < w->page.count) {
            *out = w->page.items[w->next];
            w->page.items[w->next++] = NULL;
            w->last = (*out)->id;
            return SL_OK;
        }
        bool more = w->page.more;
        sl_event_list_free(&w->page);
        w->next = 0;
        sl_err err = more ? SL_OK : wait_for_new(w, &until, &newest);
        if (!err)
            err = select_events(w->store, &w->filter, more ? 0 : newest + 1, w->last, WATCH_PAGE, &w->page);
        if (err)
            return err;
        if (w->page.count == 0 && !more)
            w->last = newest; /* nothing up to here passed the filter */
    }
}

void sl_event_watch_cancel(struct sl_event_watch *w)
{
    pthread_mutex_lock(&w->store->lock);
    w->cancelled = true;
    pthread_cond_broadcast(&w->store->stored);
    pthread_mutex_unlock(&w->store->lock);
}

void sl_event_watch_close(struct sl_event_watch *w)
{
    if (!w)
        return;
    sl_event_list_free(&w->page);
    if (w->request)
        sluice__v1__list_events_request__free_unpacked(w->request, NULL);
    free(w);
}

/* ---- subscribing ---- */

sl_err sl_event_subscribe(struct sl_event_store *s, sl_event_callback callback, void *arg, struct sl_event_subscription **out)
{
    struct sl_event_subscription *sub = calloc(1, sizeof *sub);
    if (!sub)
        return SL_ERR_NOMEM;
    pthread_mutex_lock(&s->lock);
    *sub = (struct sl_event_subscription){.next = s->subscriptions, .store = s, .callback = callback, .arg = arg};
    s->subscriptions = sub;
    pthread_mutex_unlock(&s->lock);
    *out = sub;
    return SL_OK;
}

void sl_event_unsubscribe(struct sl_event_subscription *sub)
{
    if (!sub)
        return;
    struct sl_event_store *s = sub->store;
    pthread_mutex_lock(&s->lock);
    while (s->calling)
        pthread_cond_wait(&s->stored, &s->lock);
    struct sl_event_subscription **link = &s->subscriptions;
    while (*link && *link != sub)
        link = &(*link)->next;
    if (*link)
        *link = sub->next;
    pthread_mutex_unlock(&s->lock);
    free(sub);
}
