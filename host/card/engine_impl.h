/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands behind card/engine.h: the operations of one engine. engine.c passes the calls on; contracts are those of the
 * public functions of the same names. An engine's object begins with struct sl_engine.
 */
#pragma once

#include "card/engine.h"

struct sl_engine_operations {
    void (*close)(struct sl_engine *engine);
    void (*info)(const struct sl_engine *engine, struct sl_engine_info *out); /* *out is zeroed */
    sl_err (*submit)(struct sl_engine *engine, const struct sl_engine_command *command);
    size_t (*completions)(struct sl_engine *engine, struct sl_engine_completion *out, size_t max);
    size_t (*send)(struct sl_engine *engine, const struct sl_engine_frame *frames, size_t count);
    size_t (*receive)(struct sl_engine *engine, struct sl_engine_result *out, size_t max);
    size_t (*events)(struct sl_engine *engine, struct card_event *out, size_t max);
    size_t (*mirrored)(struct sl_engine *engine, struct sl_engine_mirror *out, size_t max);
    void (*counters)(const struct sl_engine *engine, struct sl_engine_counters *out); /* *out is zeroed */
};

struct sl_engine {
    const struct sl_engine_operations *operations;
};
