/* SPDX-License-Identifier: Apache-2.0 */
#include "card/service/wire.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

enum { BURST = 64 };

struct sl_wire {
    struct sl_wire_options options;
    struct sl_ring_port *port[SL_ENGINE_LANES]; /* inside, outside */
    bool down[SL_ENGINE_LANES];
    bool begun;
    uint64_t looked_ns;
    struct sl_wire_totals totals;
};

sl_err sl_wire_open(const struct sl_wire_options *options, struct sl_wire **out, struct sl_diag *diag)
{
    struct sl_wire *w = calloc(1, sizeof *w);
    if (w == NULL)
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    w->options = *options;
    sl_err err = SL_OK;
    for (unsigned i = 0; !err && i < SL_ENGINE_LANES; i++)
        err = sl_ring_port_open(options->name[i], &w->port[i], diag);
    if (err)
        sl_wire_close(w);
    else
        *out = w;
    return err;
}

void sl_wire_close(struct sl_wire *wire)
{
    if (wire == NULL)
        return;
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++)
        sl_ring_port_close(wire->port[i]);
    free(wire);
}

/* ---- out of the engine ---- */

static bool may_pass(const struct sl_wire *w, unsigned reason)
{
    return reason < SL_PUNT_TCP_CONTROL && !w->options.drop_punted;
}

static void put(struct sl_wire *w, const struct sl_engine_result *result)
{
    if (result->kind == SL_FRAME_TX) {
        w->totals.sent++;
    } else {
        const bool pass = may_pass(w, result->punt.reason);
        w->totals.reasons[result->punt.reason % SL_CARD_REASONS]++;
        w->totals.passed += pass;
        w->totals.dropped += !pass;
        if (!pass)
            return;
    }
    sl_ring_port_put(w->port[1 - result->lane], result->bytes, result->count);
}

static void flush(struct sl_wire *w, unsigned i)
{
    const bool down = sl_ring_port_flush(w->port[i]) == SL_ERR_IO;
    if (down && !w->down[i])
        sl_log(SL_LOG_ERROR, "card", "a port sends nothing: its interface is down, or gone",
               SL_STR("interface", w->options.name[i]));
    else if (!down && w->down[i])
        sl_log(SL_LOG_INFO, "card", "a port sends again", SL_STR("interface", w->options.name[i]));
    w->down[i] = down;
}

static bool take_results(struct sl_wire *w, struct sl_engine *engine)
{
    struct sl_engine_result results[BURST];
    size_t room = BURST, n;

    for (unsigned i = 0; i < SL_ENGINE_LANES; i++) {
        const size_t free_slots = sl_ring_port_room(w->port[i]);
        room = free_slots < room ? free_slots : room;
    }
    n = room > 0 ? sl_engine_receive(engine, results, room) : 0;
    for (size_t i = 0; i < n; i++)
        put(w, &results[i]);
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++)
        flush(w, i);
    return n > 0;
}

/* ---- into the engine ---- */

static bool give(struct sl_wire *w, struct sl_engine *engine, unsigned lane)
{
    struct sl_ring_frame came[BURST];
    struct sl_engine_frame frames[BURST];
    const size_t n = sl_ring_port_look(w->port[lane], came, BURST);

    for (size_t i = 0; i < n; i++)
        frames[i] =
            (struct sl_engine_frame){.bytes = came[i].bytes, .count = came[i].count, .lane = (uint8_t)lane, .kind = SL_FRAME_RX};
    const size_t taken = n > 0 ? sl_engine_send(engine, frames, n) : 0;
    sl_ring_port_release(w->port[lane], taken);
    return taken > 0;
}

/* ---- watching ---- */

/* What was lost at a port is told at most once a second. */
static void look(struct sl_wire *w)
{
    const struct sl_clock *clock = sl_clock_system();
    const uint64_t now = clock->mono_ns(clock->arg);

    if (now - w->looked_ns < SL_NS_PER_S)
        return;
    w->looked_ns = now;
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++) {
        struct sl_ring_counters *old = &w->totals.port[i], all;
        sl_ring_port_counters(w->port[i], &all);
        if (all.no_room > old->no_room)
            sl_log(SL_LOG_WARN, "card", "frames were lost: the port's ring was full", SL_STR("interface", w->options.name[i]),
                   SL_U64("frames", all.no_room));
        if (all.too_long > old->too_long)
            sl_log(SL_LOG_WARN, "card", "frames were lost: too long; ethtool -K gro off lro off tso off gso off, on both ends",
                   SL_STR("interface", w->options.name[i]), SL_U64("frames", all.too_long));
        *old = all;
    }
}

void sl_wire_begin(struct sl_wire *wire)
{
    __atomic_store_n(&wire->begun, true, __ATOMIC_RELEASE);
}

bool sl_wire_poll(void *wire, struct sl_engine *engine)
{
    struct sl_wire *w = wire;

    if (!__atomic_load_n(&w->begun, __ATOMIC_ACQUIRE))
        return false;
    bool busy = take_results(w, engine);
    for (unsigned lane = 0; lane < SL_ENGINE_LANES; lane++)
        busy |= give(w, engine, lane);
    look(w);
    return busy;
}

void sl_wire_totals(struct sl_wire *wire, struct sl_wire_totals *out)
{
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++)
        sl_ring_port_counters(wire->port[i], &wire->totals.port[i]);
    *out = wire->totals;
}
