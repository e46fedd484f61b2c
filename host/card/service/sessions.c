/* SPDX-License-Identifier: Apache-2.0 */
#include "card/service/sessions.h"

#include <stdlib.h>
#include <string.h>

#include "card/flow_ids.h"

enum {
    BLOCK = 1024,      /* sessions */
    WHEEL = 1024,      /* seconds */
    PAGES_FRESH_S = 10 /* a listing that takes longer between two pages is sorted again */
};

struct sl_card_sessions {
    struct sl_card_session **blocks;
    size_t block_count, block_room;
    uint32_t *free_numbers; /* of slab entries */
    size_t free_count;
    struct sl_flow_ids ids; /* room for the numbers of all blocks, or for more */
    size_t count;
    uint64_t *pages;
    size_t page_count;
    uint64_t pages_at_s;
    uint32_t wheel[WHEEL]; /* number + 1 */
    uint64_t swept_s;      /* every second up to here has been looked at */
    size_t timers;
    struct sl_card_closed *closed; /* ring */
    size_t closed_room, closed_max, closed_first, closed_count;
    uint64_t untold;
};

static struct sl_card_session *at(const struct sl_card_sessions *t, uint32_t number)
{
    return &t->blocks[number / BLOCK][number % BLOCK];
}

/* ---- slab ---- */

static sl_err grow_slab(struct sl_card_sessions *t)
{
    size_t room = (t->block_count + 1) * BLOCK;
    uint32_t *numbers = reallocarray(t->free_numbers, room, sizeof *numbers);

    if (numbers == NULL)
        return SL_ERR_NOMEM;
    t->free_numbers = numbers;
    if (room > t->ids.room && sl_flow_ids_grow(&t->ids, 2 * t->ids.room) != SL_OK)
        return SL_ERR_NOMEM;
    if (t->block_count == t->block_room) {
        size_t blocks = t->block_room == 0 ? 16 : t->block_room * 2;
        struct sl_card_session **grown = reallocarray(t->blocks, blocks, sizeof(void *));
        if (grown == NULL)
            return SL_ERR_NOMEM;
        t->blocks = grown;
        t->block_room = blocks;
    }
    struct sl_card_session *block = calloc(BLOCK, sizeof *block);
    if (block == NULL)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < BLOCK; i++) /* the lowest number is taken first */
        t->free_numbers[t->free_count++] = (uint32_t)(room - 1 - i);
    t->blocks[t->block_count++] = block;
    return SL_OK;
}

sl_err sl_card_sessions_new(size_t closed_max, struct sl_card_sessions **out)
{
    struct sl_card_sessions *t = calloc(1, sizeof *t);

    if (t == NULL)
        return SL_ERR_NOMEM;
    t->closed_max = closed_max;
    if (sl_flow_ids_init(&t->ids, BLOCK) != SL_OK) {
        free(t);
        return SL_ERR_NOMEM;
    }
    *out = t;
    return SL_OK;
}

void sl_card_sessions_free(struct sl_card_sessions *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->block_count; i++)
        free(t->blocks[i]);
    free(t->blocks);
    free(t->free_numbers);
    sl_flow_ids_free(&t->ids);
    free(t->pages);
    free(t->closed);
    free(t);
}

sl_err sl_card_sessions_add(struct sl_card_sessions *t, uint64_t flow, struct sl_card_session **out)
{
    if (sl_flow_ids_find(&t->ids, flow) != SL_FLOW_IDS_NONE)
        return SL_ERR_EXISTS;
    if (t->free_count == 0 && grow_slab(t) != SL_OK)
        return SL_ERR_NOMEM;
    uint32_t number = t->free_numbers[--t->free_count];
    struct sl_card_session *session = at(t, number);
    *session = (struct sl_card_session){.flow = flow};
    sl_flow_ids_add(&t->ids, flow, number);
    t->count++;
    *out = session;
    return SL_OK;
}

void sl_card_sessions_expect(const struct sl_card_sessions *t, uint64_t flow)
{
    sl_flow_ids_expect(&t->ids, flow);
}

struct sl_card_session *sl_card_sessions_find(struct sl_card_sessions *t, uint64_t flow)
{
    uint32_t number = sl_flow_ids_find(&t->ids, flow);
    return number == SL_FLOW_IDS_NONE ? NULL : at(t, number);
}

void sl_card_sessions_remove(struct sl_card_sessions *t, struct sl_card_session *session)
{
    uint32_t number = sl_flow_ids_find(&t->ids, session->flow);
    sl_card_sessions_deadline(t, session, 0);
    t->free_numbers[t->free_count++] = number;
    sl_flow_ids_remove(&t->ids, number);
    *session = (struct sl_card_session){.flow = 0};
    t->count--;
}

void sl_card_sessions_clear(struct sl_card_sessions *t)
{
    size_t cursor = 0;
    for (struct sl_card_session *session; (session = sl_card_sessions_next(t, &cursor)) != NULL;) {
        *session = (struct sl_card_session){.flow = 0};
        t->free_numbers[t->free_count++] = (uint32_t)(cursor - 1);
    }
    sl_flow_ids_clear(&t->ids);
    memset(t->wheel, 0, sizeof t->wheel);
    t->timers = t->count = t->page_count = 0;
}

size_t sl_card_sessions_count(const struct sl_card_sessions *t)
{
    return t->count;
}

void sl_card_sessions_visit(struct sl_card_sessions *t, void (*visit)(void *arg, struct sl_card_session *session), void *arg)
{
    size_t cursor = 0;
    for (struct sl_card_session *session; (session = sl_card_sessions_next(t, &cursor)) != NULL;)
        visit(arg, session);
}

struct sl_card_session *sl_card_sessions_next(struct sl_card_sessions *t, size_t *cursor)
{
    while (*cursor < t->block_count * BLOCK) {
        struct sl_card_session *session = at(t, (uint32_t)(*cursor)++);
        if (session->flow != 0)
            return session;
    }
    return NULL;
}

/* ---- constants ---- */

void sl_card_constants_take(struct sl_card_constants *out, const struct session_state *state)
{
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++) {
        const struct track_state *track = &state[i].track;
        out->lane[i].next = track->next;
        out->lane[i].seq_delta = track->seq_delta;
        out->lane[i].ack_delta = track->ack_delta;
        out->lane[i].tsval_delta = track->tsval_delta;
        out->lane[i].tsecr_delta = track->tsecr_delta;
        out->window_shift[i] = state[i].keys.window_shift;
    }
}

void sl_card_constants_give(const struct sl_card_constants *constants, struct session_state *state)
{
    for (unsigned i = 0; i < SL_ENGINE_LANES; i++) {
        struct track_state *track = &state[i].track;
        track->next = track->record_start = constants->lane[i].next;
        track->seq_delta = constants->lane[i].seq_delta;
        track->ack_delta = constants->lane[i].ack_delta;
        track->tsval_delta = constants->lane[i].tsval_delta;
        track->tsecr_delta = constants->lane[i].tsecr_delta;
        state[i].keys.window_shift = constants->window_shift[i];
    }
}

/* ---- pages ---- */

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static sl_err sort_pages(struct sl_card_sessions *t, uint64_t now_s)
{
    uint64_t *pages = reallocarray(t->pages, t->count == 0 ? 1 : t->count, sizeof *pages);
    size_t n = 0;

    if (pages == NULL)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < t->ids.room; i++) {
        if (t->ids.flow[i] != 0)
            pages[n++] = t->ids.flow[i];
    }
    qsort(pages, n, sizeof *pages, by_number);
    t->pages = pages;
    t->page_count = n;
    t->pages_at_s = now_s;
    return SL_OK;
}

/* The first place whose flow id is not below from. */
static size_t first_page_entry(const struct sl_card_sessions *t, uint64_t from)
{
    size_t low = 0, high = t->page_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (t->pages[middle] < from)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

sl_err sl_card_sessions_page(struct sl_card_sessions *t, uint64_t from, size_t max, uint64_t now_s, uint64_t *out, size_t *count,
                             uint64_t *next)
{
    size_t n = 0;

    if ((from == 0 || t->page_count == 0 || now_s > t->pages_at_s + PAGES_FRESH_S) && sort_pages(t, now_s) != SL_OK)
        return SL_ERR_NOMEM;
    *next = 0;
    for (size_t i = first_page_entry(t, from); i < t->page_count; i++) {
        if (sl_card_sessions_find(t, t->pages[i]) == NULL)
            continue;
        if (n == max) {
            *next = t->pages[i];
            break;
        }
        out[n++] = t->pages[i];
    }
    *count = n;
    return SL_OK;
}

/* ---- deadlines ---- */

static uint32_t number_of(const struct sl_card_sessions *t, const struct sl_card_session *session)
{
    return sl_flow_ids_find(&t->ids, session->flow) + 1;
}

static void unlink_timer(struct sl_card_sessions *t, struct sl_card_session *s)
{
    if (s->timer_prev != 0)
        at(t, s->timer_prev - 1)->timer_next = s->timer_next;
    else
        t->wheel[s->deadline_s % WHEEL] = s->timer_next;
    if (s->timer_next != 0)
        at(t, s->timer_next - 1)->timer_prev = s->timer_prev;
    s->timer_next = s->timer_prev = 0;
    s->deadline_s = 0;
    t->timers--;
}

void sl_card_sessions_deadline(struct sl_card_sessions *t, struct sl_card_session *session, uint64_t at_s)
{
    if (session->deadline_s != 0)
        unlink_timer(t, session);
    if (at_s == 0)
        return;
    if (at_s <= t->swept_s) /* that second has been looked at */
        at_s = t->swept_s + 1;
    uint32_t number = number_of(t, session), *head = &t->wheel[at_s % WHEEL];
    session->deadline_s = at_s;
    session->timer_next = *head;
    if (*head != 0)
        at(t, *head - 1)->timer_prev = number;
    *head = number;
    t->timers++;
}

/* Of one second's sessions, those that are due: others come round again later. */
static size_t sweep(struct sl_card_sessions *t, uint64_t second, uint64_t *out, size_t max)
{
    size_t n = 0;
    uint32_t next;
    for (uint32_t number = t->wheel[second % WHEEL]; number != 0 && n < max; number = next) {
        struct sl_card_session *s = at(t, number - 1);
        next = s->timer_next;
        if (s->deadline_s <= second) {
            out[n++] = s->flow;
            unlink_timer(t, s);
        }
    }
    return n;
}

size_t sl_card_sessions_due(struct sl_card_sessions *t, uint64_t now_s, uint64_t *out, size_t max)
{
    size_t n = 0;
    if (t->timers == 0) {
        t->swept_s = now_s;
        return 0;
    }
    if (now_s > t->swept_s + WHEEL) /* once round looks at every one of them */
        t->swept_s = now_s - WHEEL;
    while (t->swept_s < now_s) {
        n += sweep(t, t->swept_s + 1, out + n, max - n);
        if (n == max)
            return n;
        t->swept_s++;
    }
    return n;
}

/* ---- closed ones ---- */

static bool grow_closed(struct sl_card_sessions *t)
{
    size_t room = t->closed_room == 0 ? 64 : t->closed_room * 2;
    room = room < t->closed_max ? room : t->closed_max;
    struct sl_card_closed *ring = room > t->closed_room ? reallocarray(NULL, room, sizeof *ring) : NULL;

    if (ring == NULL)
        return false;
    for (size_t i = 0; i < t->closed_count; i++)
        ring[i] = t->closed[(t->closed_first + i) % t->closed_room];
    free(t->closed);
    t->closed = ring;
    t->closed_room = room;
    t->closed_first = 0;
    return true;
}

void sl_card_closed_push(struct sl_card_sessions *t, const struct sl_card_closed *closed)
{
    if (t->closed_count == t->closed_room && !grow_closed(t)) {
        t->untold++;
        if (t->closed_room == 0)
            return;
        t->closed_first = (t->closed_first + 1) % t->closed_room;
        t->closed_count--;
    }
    t->closed[(t->closed_first + t->closed_count++) % t->closed_room] = *closed;
}

size_t sl_card_closed_take(struct sl_card_sessions *t, struct sl_card_closed *out, size_t max)
{
    size_t n = 0;
    for (; n < max && t->closed_count > 0; n++, t->closed_count--) {
        out[n] = t->closed[t->closed_first];
        t->closed_first = (t->closed_first + 1) % t->closed_room;
    }
    return n;
}

void sl_card_closed_return(struct sl_card_sessions *t, const struct sl_card_closed *closed, size_t count)
{
    while (count > 0) {
        if (t->closed_count == t->closed_room && !grow_closed(t)) {
            t->untold += count;
            return;
        }
        t->closed_first = (t->closed_first + t->closed_room - 1) % t->closed_room;
        t->closed[t->closed_first] = closed[--count];
        t->closed_count++;
    }
}

uint64_t sl_card_closed_untold(const struct sl_card_sessions *t)
{
    return t->untold;
}
