/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WatchEvents. The loop's thread hands events to every watcher and never waits for one: what a watcher's queue has no room for is
 * counted, and the number told with its next events.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "card/service/service_impl.h"

enum { BURST_MAX = 64 };

/* The messages of one burst, on the stack: packed by the time a send returns. */
struct burst {
    Sluice__Card__V1__Events message;
    Sluice__Card__V1__Event events[BURST_MAX], *list[BURST_MAX];
    Sluice__Card__V1__LaneCounters counters[BURST_MAX][SL_ENGINE_LANES];
};

static void fill_counters(Sluice__Card__V1__LaneCounters *out, const struct sl_engine_lane_counters *in)
{
    sluice__card__v1__lane_counters__init(out);
    out->packets = in->packets;
    out->bytes = in->bytes;
}

static void fill(struct burst *b, const struct sl_card_told *told, size_t count)
{
    sluice__card__v1__events__init(&b->message);
    for (size_t i = 0; i < count; i++) {
        Sluice__Card__V1__Event *e = &b->events[i];
        sluice__card__v1__event__init(e);
        e->kind = (Sluice__Card__V1__EventKind)told[i].kind;
        e->lane = told[i].lane;
        e->flow = told[i].flow;
        e->detail = told[i].detail;
        e->epoch = told[i].epoch;
        e->open_record = told[i].open_record;
        e->tcp_seq = told[i].tcp_seq;
        e->time_ns = told[i].wall_ns;
        if (told[i].kind == SL_CARD_EVENT_CLOSED) {
            fill_counters(e->inside = &b->counters[i][0], &told[i].counters[0]);
            fill_counters(e->outside = &b->counters[i][1], &told[i].counters[1]);
        }
        b->list[i] = e;
    }
    b->message.events = b->list;
    b->message.n_events = count;
}

void sl_card_service_events(void *service, const struct sl_card_told *events, size_t count, uint64_t lost)
{
    struct sl_card_service *s = service;
    struct burst burst;
    bool filled = false;

    pthread_mutex_lock(&s->watch_lock);
    for (struct sl_card_watcher *w = s->watchers; w != NULL; w = w->next) {
        if (!filled)
            fill(&burst, events, count <= BURST_MAX ? count : BURST_MAX);
        filled = true;
        w->lost += lost + (count - burst.message.n_events);
        burst.message.lost = w->lost;
        if (sl_rpc_call_try_send(w->call, &burst.message.base, 0) == SL_OK)
            w->lost = 0;
        else
            w->lost += burst.message.n_events;
    }
    pthread_mutex_unlock(&s->watch_lock);
}

static sl_err subscribe(struct sl_card_service *s, struct sl_card_watcher *w, struct sl_diag *diag)
{
    sl_err err = SL_OK;
    pthread_mutex_lock(&s->watch_lock);
    if (s->watcher_count == SL_CARD_WATCHERS_MAX) {
        err = sl_fail(diag, SL_ERR_LIMIT, "there are %d watchers already", SL_CARD_WATCHERS_MAX);
    } else {
        w->next = s->watchers;
        s->watchers = w;
        s->watcher_count++;
    }
    pthread_mutex_unlock(&s->watch_lock);
    return err;
}

static void unsubscribe(struct sl_card_service *s, struct sl_card_watcher *w)
{
    pthread_mutex_lock(&s->watch_lock);
    for (struct sl_card_watcher **at = &s->watchers; *at != NULL; at = &(*at)->next) {
        if (*at == w) {
            *at = w->next;
            s->watcher_count--;
            break;
        }
    }
    pthread_mutex_unlock(&s->watch_lock);
}

SL_CARD_HANDLER(sl_card_watch_events)
{
    struct sl_card_service *s = arg;
    struct sl_card_watcher watcher = {.call = call};
    Sluice__Card__V1__Events hello = SLUICE__CARD__V1__EVENTS__INIT;
    (void)request;
    (void)response;

    sl_err err = sl_card_authorise(s, call, diag);
    if (!err)
        err = subscribe(s, &watcher, diag);
    if (err)
        return err;
    /* An empty message tells that everything from now on is watched. */
    err = sl_rpc_call_send(call, &hello.base, 0);
    while (!err || err == SL_ERR_TIMEOUT)
        err = sl_rpc_call_wait(call, UINT64_MAX);
    unsubscribe(s, &watcher);
    return sl_fail(diag, err, "%s", err == SL_ERR_UNAVAILABLE ? "sluice-card is shutting down" : "cancelled");
}
