/* SPDX-License-Identifier: Apache-2.0 */
/* Events, the live stream, and remedies. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "event/event.h"
#include "event/explain.h"
#include "event/store.h"
#include "gateway/management_state.h"
#include "rpc/message.h"

enum {
    EVENTS_MAX = 1000,
    EVENTS_DEFAULT = 50,
    PAGE_BYTES_MAX = 3 << 20, /* with some room below what a message may have */
    POLL_MS = 250,
    SLOW_POLL_MS = 20
};

/* Events with long chains are big: a page ends early rather than exceed what one message may carry. At least one stays. */
static void trim_page(struct sl_event_list *list)
{
    size_t bytes = 0, kept = 0;

    while (kept < list->count && (kept == 0 || bytes <= PAGE_BYTES_MAX))
        bytes += sluice__v1__event__get_packed_size(list->items[kept++]);
    if (kept > 1 && bytes > PAGE_BYTES_MAX)
        kept--;
    list->more = list->more || kept < list->count;
    while (list->count > kept)
        sl_event_free(list->items[--list->count]);
}

sl_err sl_mgmt_list_events(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *request, ProtobufCMessage *response,
                           struct sl_diag *diag)
{
    Sluice__V1__ListEventsRequest filter = *(const Sluice__V1__ListEventsRequest *)request;
    Sluice__V1__EventList *out = (Sluice__V1__EventList *)response;
    struct sl_event_list list = {0};
    struct sl_mgmt *m = arg;
    (void)call;

    filter.limit = filter.limit == 0 ? EVENTS_DEFAULT : filter.limit < EVENTS_MAX ? filter.limit : EVENTS_MAX;
    sl_err err = sl_event_store_list(m->deps.events, &filter, &list, diag);
    if (err)
        return diag->text[0] ? err : sl_fail(diag, err, "events: %s", sl_err_str(err));
    trim_page(&list);
    out->events = list.items;
    out->n_events = list.count;
    out->more = list.more;
    return SL_OK;
}

static sl_err find_event(struct sl_mgmt *m, uint64_t id, const char *flow_id, Sluice__V1__Event **out, struct sl_diag *diag)
{
    if (id == 0 && !flow_id[0])
        return sl_fail(diag, SL_ERR_INVALID, "the id of an event or of a flow is needed");
    sl_err err = id ? sl_event_store_get(m->deps.events, id, out) : sl_event_store_get_flow(m->deps.events, flow_id, out);
    if (err == SL_ERR_NOT_FOUND && id)
        return sl_fail(diag, err, "there is no event %" PRIu64 "; 'sluicectl event list' shows the newest", id);
    if (err == SL_ERR_NOT_FOUND)
        return sl_fail(diag, err, "there is no event of flow %s", flow_id);
    return err ? sl_fail(diag, err, "events: %s", sl_err_str(err)) : SL_OK;
}

sl_err sl_mgmt_get_event(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *request, ProtobufCMessage *response,
                         struct sl_diag *diag)
{
    const Sluice__V1__GetEventRequest *r = (const Sluice__V1__GetEventRequest *)request;
    Sluice__V1__Event *event = NULL;
    (void)call;

    sl_err err = find_event(arg, r->id, r->flow_id, &event, diag);
    if (err)
        return err;
    err = sl_rpc_message_assign(response, &event->base);
    sl_event_free(event);
    return err ? sl_fail(diag, err, "events: %s", sl_err_str(err)) : SL_OK;
}

/* ----------------------------------------------------------------------------------------------------------------------- watch */

/* One event to a watcher; waits for one that is slow, but not for ever. */
static sl_err send_patiently(struct sl_mgmt *m, struct sl_rpc_call *call, const Sluice__V1__Event *event, struct sl_diag *diag)
{
    const struct sl_clock *clock = m->deps.clock;
    uint64_t end = clock->mono_ns(clock->arg) + (uint64_t)m->watch_patience_ms * SL_NS_PER_MS;
    sl_err err;

    while ((err = sl_rpc_call_try_send(call, &event->base, 0)) == SL_ERR_AGAIN) {
        if (clock->mono_ns(clock->arg) >= end)
            return sl_fail(diag, SL_ERR_LIMIT, "the watcher is too slow and was dropped; watch again after event %" PRIu64,
                           event->id - 1);
        err = sl_rpc_call_wait(call, (uint64_t)SLOW_POLL_MS * SL_NS_PER_MS);
        if (err != SL_ERR_TIMEOUT)
            return sl_fail(diag, err, "%s", err == SL_ERR_UNAVAILABLE ? "sluiced is shutting down" : "cancelled");
    }
    return err ? sl_fail(diag, err, "event %" PRIu64 ": %s", event->id, sl_err_str(err)) : SL_OK;
}

sl_err sl_mgmt_watch_events(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *request, ProtobufCMessage *response,
                            struct sl_diag *diag)
{
    const Sluice__V1__WatchEventsRequest *r = (const Sluice__V1__WatchEventsRequest *)request;
    struct sl_event_watch *watch = NULL;
    struct sl_mgmt *m = arg;
    (void)response;

    sl_err err = sl_event_watch_open(m->deps.events, r->filter, r->after_id, &watch, diag);
    if (err)
        return diag->text[0] ? err : sl_fail(diag, err, "events: %s", sl_err_str(err));
    while (!err) {
        Sluice__V1__Event *event = NULL;
        err = sl_event_watch_next(watch, (uint64_t)POLL_MS * SL_NS_PER_MS, &event);
        if (err == SL_ERR_TIMEOUT) { /* a moment to notice that nobody listens any more */
            err = sl_rpc_call_wait(call, 0);
            if (err == SL_ERR_TIMEOUT)
                err = SL_OK;
            else
                sl_fail(diag, err, "%s", err == SL_ERR_UNAVAILABLE ? "sluiced is shutting down" : "cancelled");
        } else if (err) {
            err = sl_fail(diag, err == SL_ERR_CANCELLED ? SL_ERR_UNAVAILABLE : err, "events: %s", sl_err_str(err));
        } else {
            err = send_patiently(m, call, event, diag);
        }
        sl_event_free(event);
    }
    sl_event_watch_close(watch);
    return err;
}

/* -------------------------------------------------------------------------------------------------------------------- remedies */

struct remedy {
    const Sluice__V1__Event *event;
    const char *id;
    struct sl_remedy_params params;
    struct sl_diag done;
};

/* To the running configuration, then to the candidate (policy/store.h): what was done to the first is what is told. */
static sl_err edit_remedy(void *arg, Sluice__V1__Config *config, struct sl_diag *diag)
{
    struct remedy *r = arg;
    return sl_remedy_apply(config, r->event, r->id, &r->params, r->done.text[0] ? NULL : &r->done, diag);
}

sl_err sl_mgmt_apply_remedy(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *request, ProtobufCMessage *response,
                            struct sl_diag *diag)
{
    const Sluice__V1__ApplyRemedyRequest *r = (const Sluice__V1__ApplyRemedyRequest *)request;
    Sluice__V1__ApplyRemedyResponse *out = (Sluice__V1__ApplyRemedyResponse *)response;
    struct sl_policy_commit commit = {0};
    char author[SL_MGMT_AUTHOR_MAX], comment[128];
    Sluice__V1__Event *event = NULL;
    struct sl_mgmt *m = arg;

    sl_err err = sl_mgmt_authorise(call, diag);
    if (!err)
        err = find_event(m, r->event_id, "", &event, diag);
    if (err)
        return err;
    struct remedy remedy = {
        .event = event,
        .id = r->remedy_id,
        .params = {
            .confirm_sha256 = r->confirm_sha256, .duration_s = r->duration_s, .comment = r->comment, .now_ns = sl_mgmt_now(m)}};
    sl_mgmt_author(call, author);
    snprintf(comment, sizeof comment, "%.64s for event %" PRIu64, r->remedy_id, r->event_id);
    pthread_mutex_lock(&m->change);
    err = sl_policy_store_amend(m->deps.policy, edit_remedy, &remedy, author, r->comment[0] ? r->comment : comment, &commit, diag);
    if (!err)
        sl_mgmt_apply(m, &commit);
    pthread_mutex_unlock(&m->change);
    if (!err) {
        sl_mgmt_record(m, author, commit.version, "applied %s to event %" PRIu64 ", as version %" PRIu64 ": %s", r->remedy_id,
                       r->event_id, commit.version, remedy.done.text);
        out->version = commit.version;
        err = sl_mgmt_set(&out->done, remedy.done.text);
    } else if (!diag->text[0]) {
        sl_fail(diag, err, "%s", sl_err_str(err));
    }
    sl_policy_commit_free(&commit);
    sl_event_free(event);
    return err;
}
