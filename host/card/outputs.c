/* SPDX-License-Identifier: Apache-2.0 */
#include "card/outputs.h"

#include <stdlib.h>

#include "base/secret.h"

/* Numbers that only grow; an entry lies at its number modulo the ring's size, a power of two. */
struct ring {
    uint64_t given;  /* fetched, and no longer needed */
    uint64_t lent;   /* fetched; their memory is the fetcher's until it comes again */
    uint64_t filled; /* waiting before this one */
};

struct result {
    struct sl_engine_result told;
    uint32_t end; /* of its place in the frames' memory */
};

struct sl_cpu_outputs {
    struct ring completion, result, event, record;
    struct sl_engine_completion completions[SL_CPU_OUT_COMPLETIONS];
    struct result results[SL_CPU_OUT_RESULTS];
    struct card_event events[SL_CPU_OUT_EVENTS];
    struct sl_engine_mirror records[SL_CPU_OUT_RECORDS];
    uint8_t *texts[SL_CPU_OUT_RECORDS];
    uint8_t *frames;
    uint32_t head, tail; /* of the frames' memory: next place; oldest that is in use. Equal: nothing is */
};

/* A place is at least a line, so that two never begin at the same byte. */
enum { LINE = 64, PLACE_BYTES = SL_ENGINE_FRAME_MAX + LINE, WARM_BYTES = 256 << 10, FEW = 2 * 64 };

static size_t ring_used(const struct ring *r)
{
    return (size_t)(r->filled - r->given);
}

/* How many may be fetched now, at most max. */
static size_t ring_waiting(const struct ring *r, size_t max)
{
    const size_t waiting = (size_t)(r->filled - r->lent);
    return waiting < max ? waiting : max;
}

sl_err sl_cpu_outputs_new(struct sl_cpu_outputs **out)
{
    struct sl_cpu_outputs *o = calloc(1, sizeof(*o));
    if (o == NULL)
        return SL_ERR_NOMEM;
    o->frames = aligned_alloc(LINE, SL_CPU_OUT_FRAME_BYTES);
    if (o->frames == NULL) {
        free(o);
        return SL_ERR_NOMEM;
    }
    *out = o;
    return SL_OK;
}

static void release_records(struct sl_cpu_outputs *o, uint64_t before)
{
    for (; o->record.given < before; o->record.given++) {
        uint8_t **text = &o->texts[o->record.given % SL_CPU_OUT_RECORDS];
        sl_secret_free(*text);
        *text = NULL;
    }
}

void sl_cpu_outputs_wipe_records(struct sl_cpu_outputs *o)
{
    release_records(o, o->record.filled);
    o->record.lent = o->record.filled;
}

void sl_cpu_outputs_free(struct sl_cpu_outputs *o)
{
    if (o == NULL)
        return;
    sl_cpu_outputs_wipe_records(o);
    free(o->frames);
    free(o);
}

/* ---- completions ---- */

bool sl_cpu_outputs_completion_room(const struct sl_cpu_outputs *o)
{
    return ring_used(&o->completion) < SL_CPU_OUT_COMPLETIONS;
}

void sl_cpu_outputs_add_completion(struct sl_cpu_outputs *o, const struct sl_engine_completion *c)
{
    o->completions[o->completion.filled++ % SL_CPU_OUT_COMPLETIONS] = *c;
}

size_t sl_cpu_outputs_completions(struct sl_cpu_outputs *o, struct sl_engine_completion *out, size_t max)
{
    const size_t count = ring_waiting(&o->completion, max);
    for (size_t i = 0; i < count; i++)
        out[i] = o->completions[o->completion.lent++ % SL_CPU_OUT_COMPLETIONS];
    o->completion.given = o->completion.lent;
    return count;
}

/* ---- frames ---- */

/*
 * Places follow each other in one piece of memory; at its end, the next one is at the beginning. When results are fetched soon, it
 * begins again earlier: then frames are written where the cache still has what was there.
 */
static bool next_place(const struct sl_cpu_outputs *o, uint32_t *at)
{
    if (ring_used(&o->result) == 0) {
        *at = 0;
        return true;
    }
    if (o->head > o->tail) {
        *at = o->head;
        const bool soon = ring_used(&o->result) <= FEW && o->tail >= WARM_BYTES;
        if (!soon && SL_CPU_OUT_FRAME_BYTES - o->head >= PLACE_BYTES)
            return true;
        *at = 0;
        return o->tail > PLACE_BYTES;
    }
    *at = o->head;
    return o->tail - o->head > PLACE_BYTES;
}

uint8_t *sl_cpu_outputs_frame(struct sl_cpu_outputs *o)
{
    uint32_t at;
    if (ring_used(&o->result) == SL_CPU_OUT_RESULTS || SL_CPU_OUT_EVENTS - ring_used(&o->event) < SL_CPU_OUT_FRAME_EVENTS ||
        SL_CPU_OUT_RECORDS - ring_used(&o->record) < SL_CPU_OUT_FRAME_RECORDS || !next_place(o, &at))
        return NULL;
    if (ring_used(&o->result) == 0)
        o->tail = 0;
    o->head = at;
    return o->frames + at;
}

void sl_cpu_outputs_add_result(struct sl_cpu_outputs *o, const struct sl_engine_result *told)
{
    struct result *r = &o->results[o->result.filled++ % SL_CPU_OUT_RESULTS];
    r->told = *told;
    r->told.bytes = o->frames + o->head;
    o->head += (told->count / LINE + 1) * LINE;
    r->end = o->head;
}

size_t sl_cpu_outputs_results(struct sl_cpu_outputs *o, struct sl_engine_result *out, size_t max)
{
    if (o->result.lent > o->result.given)
        o->tail = o->results[(o->result.lent - 1) % SL_CPU_OUT_RESULTS].end;
    o->result.given = o->result.lent;
    const size_t count = ring_waiting(&o->result, max);
    for (size_t i = 0; i < count; i++)
        out[i] = o->results[o->result.lent++ % SL_CPU_OUT_RESULTS].told;
    return count;
}

/* ---- events ---- */

void sl_cpu_outputs_add_event(struct sl_cpu_outputs *o, const struct card_event *e)
{
    struct card_event *to = &o->events[o->event.filled++ % SL_CPU_OUT_EVENTS];
    *to = *e;
    to->sequence = (uint32_t)o->event.filled;
}

size_t sl_cpu_outputs_events(struct sl_cpu_outputs *o, struct card_event *out, size_t max)
{
    const size_t count = ring_waiting(&o->event, max);
    for (size_t i = 0; i < count; i++)
        out[i] = o->events[o->event.lent++ % SL_CPU_OUT_EVENTS];
    o->event.given = o->event.lent;
    return count;
}

uint64_t sl_cpu_outputs_events_total(const struct sl_cpu_outputs *o)
{
    return o->event.filled;
}

/* ---- mirror ---- */

void sl_cpu_outputs_add_record(struct sl_cpu_outputs *o, const struct sl_engine_mirror *record, uint8_t *text)
{
    struct sl_engine_mirror *to = &o->records[o->record.filled % SL_CPU_OUT_RECORDS];
    *to = *record;
    to->bytes = text;
    o->texts[o->record.filled++ % SL_CPU_OUT_RECORDS] = text;
}

size_t sl_cpu_outputs_records(struct sl_cpu_outputs *o, struct sl_engine_mirror *out, size_t max)
{
    release_records(o, o->record.lent);
    const size_t count = ring_waiting(&o->record, max);
    for (size_t i = 0; i < count; i++)
        out[i] = o->records[o->record.lent++ % SL_CPU_OUT_RECORDS];
    return count;
}
