/* SPDX-License-Identifier: Apache-2.0 */
#include "card/sessions.h"

#include <stdlib.h>
#include <sys/random.h>

/* ---- by flow id ---- */

static uint32_t home(const struct sl_cpu_sessions *s, uint64_t flow)
{
    return (uint32_t)(flow * s->multiplier >> 32) & s->mask;
}

static uint64_t flow_at(const struct sl_cpu_sessions *s, uint32_t slot)
{
    return sl_cpu_sessions_half(sl_flow_table_entry(s->table, s->by_flow[slot] - 1), 0)->flow;
}

/* The slot of the flow, or the empty one where it would go: at most half of them are used. */
static uint32_t slot_of(const struct sl_cpu_sessions *s, uint64_t flow)
{
    uint32_t slot = home(s, flow);
    while (s->by_flow[slot] != 0 && flow_at(s, slot) != flow)
        slot = (slot + 1) & s->mask;
    return slot;
}

uint32_t sl_cpu_sessions_by_flow(const struct sl_cpu_sessions *s, uint64_t flow)
{
    return s->by_flow[slot_of(s, flow)] - 1;
}

/* Those behind it that would no longer be found move up (Knuth, volume 3, section 6.4, algorithm R). */
static void empty_slot(struct sl_cpu_sessions *s, uint32_t slot)
{
    for (uint32_t next = (slot + 1) & s->mask; s->by_flow[next] != 0; next = (next + 1) & s->mask) {
        if (((next - home(s, flow_at(s, next))) & s->mask) >= ((next - slot) & s->mask)) {
            s->by_flow[slot] = s->by_flow[next];
            slot = next;
        }
    }
    s->by_flow[slot] = 0;
}

/* ---- all of them ---- */

sl_err sl_cpu_sessions_init(struct sl_cpu_sessions *s, const struct sl_gcm_engine *engine, size_t room)
{
    *s = (struct sl_cpu_sessions){.room = room};
    sl_err err = sl_flow_table_new(room, &s->table);
    if (err != SL_OK)
        return err;
    uint32_t slots = 4;
    while (slots < 2 * room)
        slots *= 2;
    s->mask = slots - 1;
    s->by_flow = calloc(slots, sizeof(*s->by_flow));
    err = s->by_flow == NULL ? SL_ERR_NOMEM : sl_cpu_half_pool_new(engine, &s->pool);
    if (err == SL_OK && getrandom(&s->multiplier, sizeof(s->multiplier), 0) != (ssize_t)sizeof(s->multiplier))
        err = SL_ERR_IO;
    s->multiplier |= 1;
    if (err != SL_OK)
        sl_cpu_sessions_free(s);
    return err;
}

void sl_cpu_sessions_free(struct sl_cpu_sessions *s)
{
    for (uint32_t slot = 0; s->by_flow != NULL && s->pool != NULL && slot <= s->mask; slot++) {
        if (s->by_flow[slot] == 0)
            continue;
        const struct sl_flow_entry *e = sl_flow_table_entry(s->table, s->by_flow[slot] - 1);
        sl_cpu_half_free(s->pool, e->owned[0]);
        sl_cpu_half_free(s->pool, e->owned[1]);
    }
    sl_cpu_half_pool_free(s->pool);
    free(s->by_flow);
    sl_flow_table_free(s->table);
    *s = (struct sl_cpu_sessions){0};
}

sl_err sl_cpu_sessions_reset(struct sl_cpu_sessions *s)
{
    struct sl_cpu_sessions fresh;
    sl_err err = sl_cpu_sessions_init(&fresh, sl_cpu_half_pool_engine(s->pool), s->room);
    if (err != SL_OK)
        return err;
    sl_cpu_sessions_free(s);
    *s = fresh;
    return SL_OK;
}

sl_err sl_cpu_sessions_add(struct sl_cpu_sessions *s, uint64_t flow, const struct sl_flow_key *key, unsigned action,
                           const struct session_state state[2])
{
    struct sl_cpu_half *half[2] = {NULL, NULL};
    struct sl_flow_entry *e;
    const uint32_t slot = slot_of(s, flow);
    if (s->by_flow[slot] != 0)
        return SL_ERR_EXISTS;
    sl_err err = sl_cpu_half_new(s->pool, &half[0]);
    if (err == SL_OK)
        err = sl_cpu_half_new(s->pool, &half[1]);
    if (err == SL_OK)
        err = sl_flow_table_add(s->table, key, &e);
    if (err != SL_OK) {
        for (unsigned i = 0; i < 2 && half[i] != NULL; i++)
            sl_cpu_half_free(s->pool, half[i]);
        return err;
    }
    e->action = (uint8_t)action;
    for (unsigned i = 0; i < 2; i++) {
        sl_cpu_half_install(half[i], flow, &state[i]);
        e->owned[i] = half[i];
    }
    s->by_flow[slot] = e->index + 1;
    return SL_OK;
}

void sl_cpu_sessions_remove(struct sl_cpu_sessions *s, uint32_t index)
{
    const struct sl_flow_entry *e = sl_flow_table_entry(s->table, index);
    struct sl_cpu_half *const half[2] = {e->owned[0], e->owned[1]};
    empty_slot(s, slot_of(s, half[0]->flow));
    sl_flow_table_remove(s->table, index);
    sl_cpu_half_free(s->pool, half[0]);
    sl_cpu_half_free(s->pool, half[1]);
}

size_t sl_cpu_sessions_bytes_each(const struct sl_cpu_sessions *s)
{
    const size_t tables = sl_flow_table_bytes(s->table) + ((size_t)s->mask + 1) * sizeof(*s->by_flow);
    return 2 * sl_cpu_half_pool_bytes(s->pool) + (tables + s->room - 1) / s->room;
}
