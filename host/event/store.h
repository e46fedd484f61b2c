/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event store: one writer thread, a bounded queue before it, a database behind it (SQLite, WAL). sl_event_store_put never
 * blocks.
 *
 *   workers ──put──▶ queue (bounded) ──writer: batches, ids, explanation──▶ database ──▶ watchers, subscribers
 *                      └ full: lost, counted; a SYSTEM event tells how many as soon as there is room
 *
 * While the disk refuses (full), the writer keeps its batch and tries again; the queue fills, what comes then is lost and counted.
 * A damaged database is moved aside ("events.db.damaged-<time>") and a new one begun: with a log line and a SYSTEM event, since a
 * gateway must start without its old events rather than not at all.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/metrics.h"
#include "sluice/v1/event.pb-c.h"
#include "sluice/v1/management.pb-c.h"

struct sl_event_store;

struct sl_event_store_options {
    const char *path;             /* copied */
    const struct sl_clock *clock; /* NULL: the system's */
    struct sl_metrics *metrics;   /* NULL: none. sluice_events_stored_total, sluice_events_lost_total, sluice_events_queued */
    const char *device_name;      /* for the store's own events; NULL: ""; copied */
    size_t queue_events;          /* 0: 16,384 */
    uint64_t retain_events;       /* 0: 1,000,000; the oldest go first */
    uint64_t retain_bytes;        /* of the file; 0: 2 GiB */
    uint64_t file_bytes_max;      /* the database may not grow beyond this: for tests of a full disk; 0: no limit */
    unsigned retry_ms;            /* pause after a failed write; 0: 1,000 */
};

sl_err sl_event_store_open(const struct sl_event_store_options *options, struct sl_event_store **out, struct sl_diag *diag);
/* Writes what is queued (it gives up after one failed attempt), then stops. NULL is allowed. Watches must have been closed. */
void sl_event_store_close(struct sl_event_store *s);

/* Takes the event over, whatever the result; its id is given by the store. SL_ERR_LIMIT: the queue is full, the event is lost and
 * counted. Any thread; never blocks on input or output. */
sl_err sl_event_store_put(struct sl_event_store *s, Sluice__V1__Event *event);

/* Puts an event of the type SYSTEM: component says who ("Management"), text what happened. */
sl_err sl_event_store_system(struct sl_event_store *s, const char *component, const char *text, uint64_t config_version);

/* Waits until everything put before has been stored (or lost). SL_ERR_TIMEOUT. */
sl_err sl_event_store_flush(struct sl_event_store *s, uint64_t timeout_ns);

struct sl_event_store_stats {
    uint64_t stored; /* in the database now */
    uint64_t lost;   /* since the start */
    uint64_t queued;
    uint64_t newest_id;
    bool failing; /* the last write did not succeed */
};
struct sl_event_store_stats sl_event_store_stats(struct sl_event_store *s);

/* ---- reading; any thread ---- */

/* Newest first. The array and its events come from malloc, as in EventList. A bad filter: SL_ERR_INVALID with diag. */
struct sl_event_list {
    Sluice__V1__Event **items;
    size_t count;
    bool more;
};
sl_err sl_event_store_list(struct sl_event_store *s, const Sluice__V1__ListEventsRequest *filter, struct sl_event_list *out,
                           struct sl_diag *diag);
void sl_event_list_free(struct sl_event_list *l);

/* SL_ERR_NOT_FOUND; free with sl_event_free. */
sl_err sl_event_store_get(struct sl_event_store *s, uint64_t id, Sluice__V1__Event **out);
/* The newest event of a flow. */
sl_err sl_event_store_get_flow(struct sl_event_store *s, const char *flow_id, Sluice__V1__Event **out);

/*
 * A watch is a place in the sequence of stored events: next gives the one after it that passes the filter, in order of ids, none
 * left out and none twice, however slow the caller is (only retention can overtake it).
 */
struct sl_event_watch;
enum { SL_EVENT_WATCH_NEW = 0 };
/* filter may be NULL; its limit and paging are ignored. after_id: SL_EVENT_WATCH_NEW begins with the next event that is stored,
 * otherwise what is stored after after_id comes first. */
sl_err sl_event_watch_open(struct sl_event_store *s, const Sluice__V1__ListEventsRequest *filter, uint64_t after_id,
                           struct sl_event_watch **out, struct sl_diag *diag);
/* Waits for an event, which is then the caller's. SL_ERR_TIMEOUT; SL_ERR_CANCELLED: the watch was cancelled, or the store is
 * closing. */
sl_err sl_event_watch_next(struct sl_event_watch *w, uint64_t timeout_ns, Sluice__V1__Event **out);
void sl_event_watch_cancel(struct sl_event_watch *w); /* wakes next; any thread */
void sl_event_watch_close(struct sl_event_watch *w);  /* NULL is allowed; not while next runs */

/* Called by the writer thread for each stored event, in order; the event is borrowed. It must not block or call the store. */
typedef void (*sl_event_callback)(void *arg, const Sluice__V1__Event *event);
struct sl_event_subscription;
sl_err sl_event_subscribe(struct sl_event_store *s, sl_event_callback callback, void *arg, struct sl_event_subscription **out);
void sl_event_unsubscribe(struct sl_event_subscription *sub); /* when it returns, no callback runs or will run */

/* Whether an event passes the filter, as in the functions above. SL_ERR_INVALID: the filter is malformed. */
sl_err sl_event_filter_check(const Sluice__V1__ListEventsRequest *filter, struct sl_diag *diag);
bool sl_event_filter_match(const Sluice__V1__ListEventsRequest *filter, const Sluice__V1__Event *event);
