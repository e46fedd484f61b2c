/* SPDX-License-Identifier: Apache-2.0 */
#include "card/flow_ids.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* The mixer is that of SplitMix64: every bit of the id counts in every bit of the hash. */
static uint32_t hash_of(const struct sl_flow_ids *m, uint64_t flow)
{
    uint64_t x = flow ^ m->seed;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)(x ^ (x >> 31));
}

static uint32_t index_in(const struct sl_flow_ids *m, size_t slot)
{
    return (uint32_t)m->slot[slot] - 1; /* of an empty one, SL_FLOW_IDS_NONE */
}

static uint32_t hash_in(const struct sl_flow_ids *m, size_t slot)
{
    return (uint32_t)(m->slot[slot] >> 32);
}

static bool holds(const struct sl_flow_ids *m, size_t slot, uint32_t hash, uint64_t flow)
{
    return hash_in(m, slot) == hash && m->flow[index_in(m, slot)] == flow;
}

/* The slot of the flow, or the empty one where it would go. */
static size_t slot_of(const struct sl_flow_ids *m, uint32_t hash, uint64_t flow)
{
    size_t slot = hash & m->mask;
    while (m->slot[slot] != 0 && !holds(m, slot, hash, flow))
        slot = (slot + 1) & m->mask;
    return slot;
}

void sl_flow_ids_expect(const struct sl_flow_ids *m, uint64_t flow)
{
    __builtin_prefetch(&m->slot[hash_of(m, flow) & m->mask], 1);
}

uint32_t sl_flow_ids_find(const struct sl_flow_ids *m, uint64_t flow)
{
    return index_in(m, slot_of(m, hash_of(m, flow), flow));
}

static void put(struct sl_flow_ids *m, uint64_t flow, uint32_t index)
{
    const uint32_t hash = hash_of(m, flow);
    m->slot[slot_of(m, hash, flow)] = (uint64_t)hash << 32 | (index + 1);
}

void sl_flow_ids_add(struct sl_flow_ids *m, uint64_t flow, uint32_t index)
{
    put(m, flow, index);
    m->flow[index] = flow;
}

/* Those behind it that would no longer be found move up (Knuth, volume 3, section 6.4, algorithm R). */
void sl_flow_ids_remove(struct sl_flow_ids *m, uint32_t index)
{
    const uint64_t flow = m->flow[index];
    size_t hole = slot_of(m, hash_of(m, flow), flow);
    for (size_t next = (hole + 1) & m->mask; m->slot[next] != 0; next = (next + 1) & m->mask) {
        if (((next - hash_in(m, next)) & m->mask) >= ((next - hole) & m->mask)) {
            m->slot[hole] = m->slot[next];
            hole = next;
        }
    }
    m->slot[hole] = 0;
    m->flow[index] = 0;
}

sl_err sl_flow_ids_grow(struct sl_flow_ids *m, size_t room)
{
    size_t slots = 4;
    while (slots < 2 * room)
        slots *= 2;
    uint64_t *flow = reallocarray(m->flow, room, sizeof(*flow));
    if (flow == NULL)
        return SL_ERR_NOMEM;
    m->flow = flow;
    uint64_t *slot = calloc(slots, sizeof(*slot));
    if (slot == NULL)
        return SL_ERR_NOMEM;
    memset(flow + m->room, 0, (room - m->room) * sizeof(*flow));
    free(m->slot);
    m->slot = slot;
    m->mask = slots - 1;
    for (size_t i = 0; i < m->room; i++) {
        if (flow[i] != 0)
            put(m, flow[i], (uint32_t)i);
    }
    m->room = room;
    return SL_OK;
}

sl_err sl_flow_ids_init(struct sl_flow_ids *m, size_t room)
{
    *m = (struct sl_flow_ids){0};
    if (getrandom(&m->seed, sizeof(m->seed), 0) != (ssize_t)sizeof(m->seed))
        return SL_ERR_IO;
    sl_err err = sl_flow_ids_grow(m, room);
    if (err != SL_OK)
        sl_flow_ids_free(m);
    return err;
}

void sl_flow_ids_free(struct sl_flow_ids *m)
{
    free(m->flow);
    free(m->slot);
    *m = (struct sl_flow_ids){0};
}

void sl_flow_ids_clear(struct sl_flow_ids *m)
{
    memset(m->flow, 0, m->room * sizeof(*m->flow));
    memset(m->slot, 0, (m->mask + 1) * sizeof(*m->slot));
}

size_t sl_flow_ids_bytes(const struct sl_flow_ids *m)
{
    return m->room * sizeof(*m->flow) + (m->mask + 1) * sizeof(*m->slot);
}
