/* SPDX-License-Identifier: Apache-2.0 */
#include "card/engine.h"

#include <string.h>

#include "card/engine_impl.h"

void sl_engine_close(struct sl_engine *engine)
{
    if (engine != NULL)
        engine->operations->close(engine);
}

void sl_engine_info(const struct sl_engine *engine, struct sl_engine_info *out)
{
    memset(out, 0, sizeof(*out));
    engine->operations->info(engine, out);
}

sl_err sl_engine_submit(struct sl_engine *engine, const struct sl_engine_command *command)
{
    return engine->operations->submit(engine, command);
}

size_t sl_engine_completions(struct sl_engine *engine, struct sl_engine_completion *out, size_t max)
{
    return engine->operations->completions(engine, out, max);
}

size_t sl_engine_send(struct sl_engine *engine, const struct sl_engine_frame *frames, size_t count)
{
    return engine->operations->send(engine, frames, count);
}

size_t sl_engine_receive(struct sl_engine *engine, struct sl_engine_result *out, size_t max)
{
    return engine->operations->receive(engine, out, max);
}

size_t sl_engine_events(struct sl_engine *engine, struct card_event *out, size_t max)
{
    return engine->operations->events(engine, out, max);
}

size_t sl_engine_mirrored(struct sl_engine *engine, struct sl_engine_mirror *out, size_t max)
{
    return engine->operations->mirrored(engine, out, max);
}

void sl_engine_counters(const struct sl_engine *engine, struct sl_engine_counters *out)
{
    memset(out, 0, sizeof(*out));
    engine->operations->counters(engine, out);
}
