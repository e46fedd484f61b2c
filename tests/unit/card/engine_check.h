/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine of host/card/engine.h held against the reference model with the traces of tests/model, one in each lane at the same
 * time: frames byte for byte, punts with their information, events, mirrored records, counters. What differs is printed and ends
 * the test.
 */
#pragma once

#include "card/engine.h"
#include "trace.h"

#ifdef __cplusplus
extern "C" {
#endif

struct engine_check_options {
    uint64_t seed;
    struct trace_options trace[SL_ENGINE_LANES];
    uint32_t seal_limit; /* of the engine; 0: the default */
    unsigned batch;      /* frames that are sent together, of both lanes; between two commands */
    bool rules;          /* random ones, the same in engine and model */
};

struct engine_check_result {
    uint64_t frames, sent, punted, dropped, squashed, events, mirrored, refused, text_bytes;
    uint64_t reasons[64]; /* punts by reason */
    uint64_t kinds[16];   /* events by kind */
    struct trace_statistics statistics[SL_ENGINE_LANES];
};

/* The engine is as after open; it has no sessions afterwards. */
struct engine_check_result engine_check(struct sl_engine *engine, const struct engine_check_options *o);

#ifdef __cplusplus
}
#endif
