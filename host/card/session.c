/* SPDX-License-Identifier: Apache-2.0 */
#include "card/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "card/numbers.h"

enum {
    HEADER_BYTES = 5,
    TLS12_OVERHEAD = 8 + SL_GCM_TAG_BYTES,
    TLS13_OVERHEAD = 1 + SL_GCM_TAG_BYTES,
    PLAINTEXT_MAX = 1 << 14,
    WINDOW_SHIFT_MAX = 14,
    SOON = 4 /* two installs ahead */
};

struct sl_cpu_half_pool {
    const struct sl_gcm_engine *engine;
    size_t key_room, half_room;
    void **slabs;
    size_t slab_count, slab_room;
    void **free; /* halves: room for all there are */
    size_t free_count;
    uint8_t *other[2]; /* room for the key objects of a set that is not current */
    bool other_made;
};

static size_t lines(size_t bytes)
{
    return (bytes + SL_GCM_ALIGN - 1) / SL_GCM_ALIGN * SL_GCM_ALIGN;
}

/* ---- memory ---- */

sl_err sl_cpu_half_pool_new(const struct sl_gcm_engine *engine, struct sl_cpu_half_pool **out)
{
    struct sl_cpu_half_pool *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return SL_ERR_NOMEM;
    p->engine = engine;
    p->key_room = lines(sl_gcm_key_size(engine));
    p->half_room = lines(sizeof(struct sl_cpu_half)) + 2 * p->key_room;
    sl_err err = SL_OK;
    for (unsigned i = 0; i < 2 && err == SL_OK; i++) {
        void *key;
        err = sl_secret_alloc(p->key_room, &key);
        if (err == SL_OK)
            p->other[i] = key;
    }
    if (err != SL_OK)
        sl_cpu_half_pool_free(p);
    else
        *out = p;
    return err;
}

void sl_cpu_half_pool_free(struct sl_cpu_half_pool *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->slab_count; i++)
        sl_secret_free(p->slabs[i]);
    sl_secret_free(p->other[0]);
    sl_secret_free(p->other[1]);
    free(p->slabs);
    free(p->free);
    free(p);
}

size_t sl_cpu_half_pool_bytes(const struct sl_cpu_half_pool *p)
{
    return SL_SECRET_MAX / (SL_SECRET_MAX / p->half_room) + sizeof(*p->free);
}

const struct sl_gcm_engine *sl_cpu_half_pool_engine(const struct sl_cpu_half_pool *p)
{
    return p->engine;
}

static sl_err add_slab(struct sl_cpu_half_pool *p)
{
    const size_t halves = SL_SECRET_MAX / p->half_room;
    if (p->slab_count == p->slab_room) {
        const size_t room = p->slab_room == 0 ? 64 : 2 * p->slab_room;
        void **slabs = reallocarray(p->slabs, room, sizeof(*slabs));
        if (slabs == NULL)
            return SL_ERR_NOMEM;
        p->slabs = slabs;
        void **free_halves = reallocarray(p->free, room * halves, sizeof(*free_halves));
        if (free_halves == NULL)
            return SL_ERR_NOMEM;
        p->free = free_halves;
        p->slab_room = room;
    }
    void *slab;
    sl_err err = sl_secret_alloc(SL_SECRET_MAX, &slab);
    if (err != SL_OK)
        return err;
    p->slabs[p->slab_count++] = slab;
    for (size_t i = halves; i-- > 0;)
        p->free[p->free_count++] = (uint8_t *)slab + i * p->half_room;
    return SL_OK;
}

/* The half that is soon to be given out: it has been away from the cache since it was given back. */
static void expect(const struct sl_cpu_half_pool *p)
{
    if (p->free_count < SOON)
        return;
    const uint8_t *half = p->free[p->free_count - SOON];
    for (size_t line = 0; line < sizeof(struct sl_cpu_half); line += SL_GCM_ALIGN)
        __builtin_prefetch(half + line, 1);
}

sl_err sl_cpu_half_new(struct sl_cpu_half_pool *p, struct sl_cpu_half **out)
{
    sl_err err = p->free_count == 0 ? add_slab(p) : SL_OK;
    if (err != SL_OK)
        return err;
    if (p->free_count == 0)
        return SL_ERR_NOMEM; /* a half is larger than a slab */
    expect(p);
    *out = p->free[--p->free_count]; /* it is zero: as it came, or wiped */
    return SL_OK;
}

static struct sl_cpu_half_ciphers ciphers_of(const struct sl_cpu_half_pool *p, struct sl_cpu_half *h)
{
    uint8_t *const open = (uint8_t *)h + lines(sizeof(*h));
    return (struct sl_cpu_half_ciphers){(void *)open, (void *)(open + p->key_room)};
}

void sl_cpu_half_drop_ciphers(struct sl_cpu_half_pool *p, struct sl_cpu_half *h)
{
    if (!h->ready)
        return;
    sl_gcm_key_clear(ciphers_of(p, h).open);
    sl_gcm_key_clear(ciphers_of(p, h).seal);
    h->ready = false;
}

void sl_cpu_half_free(struct sl_cpu_half_pool *p, struct sl_cpu_half *h)
{
    sl_cpu_half_drop_ciphers(p, h);
    sl_secret_free(h->text);
    sl_wipe(h, sizeof(*h));
    p->free[p->free_count++] = h;
}

/* ---- state ---- */

static uint64_t get_le(const uint8_t *p, unsigned bytes)
{
    uint64_t x = 0;
    while (bytes-- > 0)
        x = x << 8 | p[bytes];
    return x;
}

bool sl_cpu_half_state_is_sound(const struct session_state *state)
{
    const struct track_state *t = &state->track;
    const bool tls13 = (t->flags & track_tls13) != 0;
    const unsigned least = HEADER_BYTES + (tls13 ? TLS13_OVERHEAD : TLS12_OVERHEAD), most = least + PLAINTEXT_MAX;
    const bool begins = t->next == t->record_start && (t->flags & (track_dead | track_wait | track_ahead)) == 0;
    const bool sets = (t->flags & (track_next | track_previous)) != (track_next | track_previous);
    bool ring = t->ring_new <= 2 && (t->ring[0] != 0 || t->ring[1] == 0);
    for (unsigned i = 0; i < 2; i++)
        ring = ring && (t->ring[i] == 0 || (t->ring[i] >= least && t->ring[i] <= most));
    uint8_t reserved = 0;
    for (unsigned i = 0; i < sizeof(state->keys.reserved); i++)
        reserved |= state->keys.reserved[i];
    return begins && sets && ring && reserved == 0 && t->seal_seq <= SL_CARD_SEAL_LIMIT_DEFAULT &&
           state->finish.tail_end <= PLAINTEXT_MAX + TLS13_OVERHEAD && state->keys.set[0].long_keys <= 3 &&
           state->keys.set[1].long_keys <= 3 && state->keys.window_shift >= -WINDOW_SHIFT_MAX &&
           state->keys.window_shift <= WINDOW_SHIFT_MAX;
}

static void copy_keys(struct sl_cpu_half *h, unsigned set, const struct key_set *keys)
{
    struct sl_cpu_half_keys *to = &h->set[set];
    memcpy(to->open_key, keys->open_key, sizeof(to->open_key));
    memcpy(to->seal_key, keys->seal_key, sizeof(to->seal_key));
    memcpy(to->open_iv, keys->open_iv, sizeof(to->open_iv));
    memcpy(to->seal_iv, keys->seal_iv, sizeof(to->seal_iv));
    h->long_keys[set] = keys->long_keys;
}

void sl_cpu_half_install(struct sl_cpu_half *h, uint64_t flow, const struct session_state *state)
{
    const struct track_state *t = &state->track;
    h->flow = flow;
    h->next = t->next;
    h->record_start = t->record_start;
    h->open_seq = get_le(t->open_seq, sizeof(t->open_seq));
    h->seal_seq = t->seal_seq;
    h->old_seal_seq = t->old_seal_seq;
    h->old_open_seq = t->old_open_seq;
    h->seq_delta = t->seq_delta;
    h->ack_delta = t->ack_delta;
    h->tsval_delta = t->tsval_delta;
    h->tsecr_delta = t->tsecr_delta;
    memcpy(h->ring, t->ring, sizeof(h->ring));
    memcpy(h->ring_tag, state->finish.ring_tag, sizeof(h->ring_tag));
    h->ring_new = t->ring_new;
    h->epoch = t->epoch;
    h->flags = t->flags;
    h->window_shift = state->keys.window_shift;
    copy_keys(h, 0, &state->keys.set[0]);
    copy_keys(h, 1, &state->keys.set[1]);
}

void sl_cpu_half_forget_previous(struct sl_cpu_half *h)
{
    h->flags &= (uint8_t)~track_previous;
    for (unsigned i = h->ring_new; i < 2; i++)
        h->ring[i] = 0;
}

void sl_cpu_half_kill(struct sl_cpu_half *h)
{
    h->flags |= track_dead;
    sl_secret_free(h->text);
    h->text = NULL;
}

/* ---- keys ---- */

void sl_cpu_half_set_keys(struct sl_cpu_half_pool *p, struct sl_cpu_half *h, unsigned set, const struct key_set *keys)
{
    const bool current = set == sl_cpu_half_set(h);
    if (current != sl_cpu_half_is(h, track_wait)) {
        sl_cpu_half_kill(h);
        return;
    }
    copy_keys(h, set, keys);
    if (current) {
        sl_cpu_half_drop_ciphers(p, h);
        h->flags &= (uint8_t)~track_wait;
    } else {
        h->flags |= track_next;
        sl_cpu_half_forget_previous(h);
    }
}

static sl_err make_ciphers(const struct sl_cpu_half_pool *p, const struct sl_cpu_half *h, unsigned set,
                           const struct sl_cpu_half_ciphers *at)
{
    const struct sl_cpu_half_keys *k = &h->set[set];
    struct sl_gcm_key *made;
    sl_err err = sl_gcm_key_init(p->engine, at->open, k->open_key, (h->long_keys[set] & 1) != 0 ? 32 : 16, &made);
    if (err != SL_OK)
        return err;
    err = sl_gcm_key_init(p->engine, at->seal, k->seal_key, (h->long_keys[set] & 2) != 0 ? 32 : 16, &made);
    if (err != SL_OK)
        sl_gcm_key_clear(at->open);
    return err;
}

sl_err sl_cpu_half_ciphers(struct sl_cpu_half_pool *p, struct sl_cpu_half *h, struct sl_cpu_half_ciphers *out)
{
    *out = ciphers_of(p, h);
    if (h->ready)
        return SL_OK;
    sl_err err = make_ciphers(p, h, sl_cpu_half_set(h), out);
    h->ready = err == SL_OK;
    return err;
}

sl_err sl_cpu_half_other(struct sl_cpu_half_pool *p, const struct sl_cpu_half *h, struct sl_cpu_half_ciphers *out)
{
    sl_cpu_half_other_done(p);
    *out = (struct sl_cpu_half_ciphers){(void *)p->other[0], (void *)p->other[1]};
    sl_err err = make_ciphers(p, h, sl_cpu_half_set(h) ^ 1, out);
    p->other_made = err == SL_OK;
    return err;
}

void sl_cpu_half_other_done(struct sl_cpu_half_pool *p)
{
    if (!p->other_made)
        return;
    sl_gcm_key_clear((void *)p->other[0]);
    sl_gcm_key_clear((void *)p->other[1]);
    p->other_made = false;
}
