/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What waits to be fetched from the cpu engine, in bounded rings: completions, results with their frames, events, mirrored records.
 * The engine asks for room before it does what may need it; the functions that add need not fail then.
 */
#pragma once

#include "card/engine.h"

enum {
    SL_CPU_OUT_COMPLETIONS = 1024,
    SL_CPU_OUT_RESULTS = 2048,
    SL_CPU_OUT_FRAME_BYTES = 4 << 20,
    SL_CPU_OUT_EVENTS = 4096,
    SL_CPU_OUT_RECORDS = 2048,
    /* One frame makes at most as many records as headers and tags fit into it, and ends one that was begun before: fewer than 512
     * (docs/card.md, the seal limit's reserve). Each gives an event at most, a KeyUpdate two, the frame one. */
    SL_CPU_OUT_FRAME_RECORDS = 512,
    SL_CPU_OUT_FRAME_EVENTS = SL_CPU_OUT_FRAME_RECORDS + 3
};

struct sl_cpu_outputs;

sl_err sl_cpu_outputs_new(struct sl_cpu_outputs **out); /* SL_ERR_NOMEM */
void sl_cpu_outputs_free(struct sl_cpu_outputs *o);     /* wipes mirrored plaintext; NULL is allowed */
void sl_cpu_outputs_wipe_records(struct sl_cpu_outputs *o);

bool sl_cpu_outputs_completion_room(const struct sl_cpu_outputs *o);
void sl_cpu_outputs_add_completion(struct sl_cpu_outputs *o, const struct sl_engine_completion *c);
size_t sl_cpu_outputs_completions(struct sl_cpu_outputs *o, struct sl_engine_completion *out, size_t max);

/* Room for all that one frame can make, and a place for SL_ENGINE_FRAME_MAX bytes of it; NULL: no room. */
uint8_t *sl_cpu_outputs_frame(struct sl_cpu_outputs *o);
/* The frame at that place becomes a result; result->bytes need not be set. */
void sl_cpu_outputs_add_result(struct sl_cpu_outputs *o, const struct sl_engine_result *result);
size_t sl_cpu_outputs_results(struct sl_cpu_outputs *o, struct sl_engine_result *out, size_t max);

/* Numbers the event. */
void sl_cpu_outputs_add_event(struct sl_cpu_outputs *o, const struct card_event *e);
size_t sl_cpu_outputs_events(struct sl_cpu_outputs *o, struct card_event *out, size_t max);
uint64_t sl_cpu_outputs_events_total(const struct sl_cpu_outputs *o);

/* text: a block of sl_secret_alloc that is taken over, or NULL. */
void sl_cpu_outputs_add_record(struct sl_cpu_outputs *o, const struct sl_engine_mirror *record, uint8_t *text);
size_t sl_cpu_outputs_records(struct sl_cpu_outputs *o, struct sl_engine_mirror *out, size_t max);
