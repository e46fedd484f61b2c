/* SPDX-License-Identifier: Apache-2.0 */
#include "card/sessions.h"

sl_err sl_cpu_sessions_init(struct sl_cpu_sessions *s, const struct sl_gcm_engine *engine, size_t room)
{
    *s = (struct sl_cpu_sessions){.room = room};
    sl_err err = sl_flow_table_new(room, &s->table);
    if (err != SL_OK)
        return err;
    err = sl_flow_ids_init(&s->ids, room);
    if (err == SL_OK)
        err = sl_cpu_half_pool_new(engine, &s->pool);
    if (err != SL_OK)
        sl_cpu_sessions_free(s);
    return err;
}

void sl_cpu_sessions_free(struct sl_cpu_sessions *s)
{
    for (uint32_t index = 0; index < s->ids.room; index++) {
        if (s->ids.flow[index] == 0)
            continue;
        const struct sl_flow_entry *e = sl_flow_table_entry(s->table, index);
        sl_cpu_half_free(s->pool, e->owned[0]);
        sl_cpu_half_free(s->pool, e->owned[1]);
    }
    sl_cpu_half_pool_free(s->pool);
    sl_flow_ids_free(&s->ids);
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
    if (sl_flow_ids_find(&s->ids, flow) != SL_FLOW_IDS_NONE)
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
    sl_flow_ids_add(&s->ids, flow, e->index);
    return SL_OK;
}

void sl_cpu_sessions_remove(struct sl_cpu_sessions *s, uint32_t index)
{
    const struct sl_flow_entry *e = sl_flow_table_entry(s->table, index);
    struct sl_cpu_half *const half[2] = {e->owned[0], e->owned[1]};
    sl_flow_ids_remove(&s->ids, index);
    sl_flow_table_remove(s->table, index);
    sl_cpu_half_free(s->pool, half[0]);
    sl_cpu_half_free(s->pool, half[1]);
}

size_t sl_cpu_sessions_bytes_each(const struct sl_cpu_sessions *s)
{
    const size_t tables = sl_flow_table_bytes(s->table) + sl_flow_ids_bytes(&s->ids);
    return 2 * sl_cpu_half_pool_bytes(s->pool) + (tables + s->room - 1) / s->room;
}
