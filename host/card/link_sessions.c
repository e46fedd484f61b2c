/* SPDX-License-Identifier: Apache-2.0 */
#include "card/link_sessions.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "card/flow_ids.h"
#include "card/numbers.h"

struct entry {
    struct sl_engine_flow_key key;
    uint32_t next_free;
};

struct sl_link_sessions {
    uint32_t room, count;
    struct entry *entries;
    /* Unused indexes, the one that was freed longest ago first: what still comes of a removed session meets no other one soon. */
    uint32_t free_first, free_last;
    struct sl_flow_ids ids;
    struct sl_card_cuckoo *table[SL_ENGINE_LANES];
};

#define NONE UINT32_MAX

sl_err sl_link_sessions_find(const struct sl_link_sessions *s, uint64_t flow, uint32_t *index)
{
    const uint32_t found = sl_flow_ids_find(&s->ids, flow);
    if (found == SL_FLOW_IDS_NONE)
        return SL_ERR_NOT_FOUND;
    *index = found;
    return SL_OK;
}

sl_err sl_link_sessions_any(const struct sl_link_sessions *s, uint32_t *index)
{
    for (uint32_t i = 0; i < s->room && s->count > 0; i++) {
        if (s->ids.flow[i] != 0) {
            *index = i;
            return SL_OK;
        }
    }
    return SL_ERR_NOT_FOUND;
}

/* ---- all of them ---- */

static void forget_all(struct sl_link_sessions *s)
{
    sl_flow_ids_clear(&s->ids);
    for (uint32_t i = 0; i < s->room; i++)
        s->entries[i] = (struct entry){.next_free = i + 1 < s->room ? i + 1 : NONE};
    s->free_first = 0;
    s->free_last = s->room - 1;
    s->count = 0;
}

sl_err sl_link_sessions_new(uint32_t room, struct sl_link_sessions **out)
{
    struct sl_link_sessions *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return SL_ERR_NOMEM;
    s->room = room;
    s->entries = calloc(room, sizeof(*s->entries));
    sl_err err = s->entries == NULL ? SL_ERR_NOMEM : sl_flow_ids_init(&s->ids, room);
    for (unsigned i = 0; i < SL_ENGINE_LANES && err == SL_OK; i++)
        err = sl_card_cuckoo_new(NULL, &s->table[i]);
    if (err != SL_OK) {
        sl_link_sessions_free(s);
        return err;
    }
    forget_all(s);
    *out = s;
    return SL_OK;
}

void sl_link_sessions_free(struct sl_link_sessions *s)
{
    if (s == NULL)
        return;
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++)
        sl_card_cuckoo_free(s->table[i]);
    sl_flow_ids_free(&s->ids);
    free(s->entries);
    free(s);
}

sl_err sl_link_sessions_reset(struct sl_link_sessions *s)
{
    uint8_t seed[SL_ENGINE_LANES][SL_CARD_SEED_BYTES];
    if (getrandom(seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
        return SL_ERR_IO;
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++)
        (void)sl_card_cuckoo_reset(s->table[i], seed[i]); /* with a seed of the caller's it does not fail */
    forget_all(s);
    return SL_OK;
}

void sl_link_sessions_seed(const struct sl_link_sessions *s, unsigned lane, uint8_t seed[SL_CARD_SEED_BYTES])
{
    uint64_t word[2];
    sl_card_cuckoo_seed(s->table[lane], word);
    memcpy(seed, word, sizeof(word));
}

uint32_t sl_link_sessions_count(const struct sl_link_sessions *s)
{
    return s->count;
}

/* ---- one ---- */

static bool is_session_action(unsigned action)
{
    return action >= SL_CARD_SESSION_FORWARD && action <= SL_CARD_SESSION_HOLD;
}

static bool key_is_sound(const struct sl_engine_flow_key *key)
{
    uint8_t rest = 0;
    for (unsigned i = 4; i < 16; i++)
        rest |= (uint8_t)(key->src[i] | key->dst[i]);
    return key->version == 6 || (key->version == 4 && rest == 0);
}

/* As the lane sees it. */
static struct sl_card_flow_key key_in(const struct sl_engine_flow_key *key, unsigned lane)
{
    struct sl_card_flow_key k = {.sport = key->sport, .dport = key->dport, .proto = key->proto, .version = key->version};
    memcpy(k.src, key->src, sizeof(k.src));
    memcpy(k.dst, key->dst, sizeof(k.dst));
    if (lane == 0)
        return k;
    memcpy(k.src, key->dst, sizeof(k.src));
    memcpy(k.dst, key->src, sizeof(k.dst));
    k.sport = key->dport;
    k.dport = key->sport;
    return k;
}

/* Takes back what was just added to lane 0's table: of the writes, the moves of others remain, and the session's own is left out.
 */
static void take_back(struct sl_link_sessions *s, const struct sl_card_flow_key *key, struct sl_link_plan *plan)
{
    plan->lane[0].count--;                                      /* the last one */
    (void)sl_card_cuckoo_remove(s->table[0], key, &plan->back); /* it is there */
}

sl_err sl_link_sessions_add(struct sl_link_sessions *s, uint64_t flow, const struct sl_engine_flow_key *key, uint8_t action,
                            uint32_t *index, struct sl_link_plan *plan)
{
    plan->lane[0].count = plan->lane[1].count = plan->back.count = 0;
    if (flow == 0 || !is_session_action(action) || !key_is_sound(key))
        return SL_ERR_INVALID;
    const struct sl_card_flow_key k[SL_ENGINE_LANES] = {key_in(key, 0), key_in(key, 1)};
    if (sl_flow_ids_find(&s->ids, flow) != SL_FLOW_IDS_NONE || sl_card_cuckoo_find(s->table[0], &k[0], NULL, NULL))
        return SL_ERR_EXISTS;
    const uint32_t at = s->free_first;
    if (at == NONE)
        return SL_ERR_LIMIT;
    sl_err err = sl_card_cuckoo_insert(s->table[0], &k[0], at, action, &plan->lane[0]);
    if (err != SL_OK)
        return err;
    err = sl_card_cuckoo_insert(s->table[1], &k[1], at, action, &plan->lane[1]);
    if (err != SL_OK) {
        take_back(s, &k[0], plan);
        return err;
    }
    s->free_first = s->entries[at].next_free;
    if (s->free_first == NONE)
        s->free_last = NONE;
    s->entries[at] = (struct entry){.key = *key, .next_free = NONE};
    sl_flow_ids_add(&s->ids, flow, at);
    s->count++;
    *index = at;
    return SL_OK;
}

void sl_link_sessions_remove(struct sl_link_sessions *s, uint32_t index, struct sl_link_plan *plan)
{
    struct entry *e = &s->entries[index];
    plan->lane[0].count = plan->lane[1].count = plan->back.count = 0;
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++) {
        const struct sl_card_flow_key k = key_in(&e->key, i);
        (void)sl_card_cuckoo_remove(s->table[i], &k, &plan->lane[i]); /* it is there */
    }
    sl_flow_ids_remove(&s->ids, index);
    *e = (struct entry){.next_free = NONE};
    if (s->free_last != NONE)
        s->entries[s->free_last].next_free = index;
    else
        s->free_first = index;
    s->free_last = index;
    s->count--;
}

sl_err sl_link_sessions_change(struct sl_link_sessions *s, uint32_t index, uint8_t action, struct sl_link_plan *plan)
{
    plan->lane[0].count = plan->lane[1].count = plan->back.count = 0;
    if (!is_session_action(action))
        return SL_ERR_INVALID;
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++) {
        const struct sl_card_flow_key k = key_in(&s->entries[index].key, i);
        (void)sl_card_cuckoo_change(s->table[i], &k, index, action, &plan->lane[i]); /* it is there */
    }
    return SL_OK;
}
