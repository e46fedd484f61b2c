/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A payload is walked from its first byte to its last in runs: bytes of one record and one zone of it that are all fresh, or all
 * known.
 *
 *   record      | header 5 | nonce 8 (TLS 1.2) | text ................................ | tag 16 |
 *   goes out as   as it came  seal_seq           ^ keystream open ^ keystream seal       of the seal side
 *
 * Text is decrypted and encrypted where it lies, by position in the record (record/gcm.h): the keystream is a function of the
 * position, so a retransmission becomes what it was before. Of GHASH a half keeps 16 bytes a key: the hash of the text up to the
 * first hole. Fresh text in order goes on with them. Text ahead of the hole has hashes of its own; when the hole is filled, both
 * are joined. So nothing is stored of the record but its last six bytes, which say what it was (tail), and the tags of the last two
 * records.
 *
 * Fresh are the bytes at or behind `next` that are not in the ahead range: what these are does not change during the walk.
 */
#include "card/segment.h"

#include <string.h>

#include "base/be.h"
#include "base/secret.h"

enum {
    HEADER_BYTES = 5,
    NONCE_BYTES = 8,
    TAG_BYTES = SL_GCM_TAG_BYTES,
    AAD_TLS12 = 13,
    PLAINTEXT_MAX = 1 << 14,
    AHEAD_MIN = 256,    /* data ahead of a hole is taken inside fragments of at least this length */
    SEAL_RESERVE = 512, /* a packet begins fewer records than that */
    BEAT = 64,
    TYPE_ALERT = 21,
    TYPE_HANDSHAKE = 22,
    TYPE_DATA = 23,
    KEY_UPDATE_BYTES = 5
};

/* The record that a byte belongs to. */
struct view {
    unsigned back;  /* 0: in progress; 1, 2: so many before */
    uint32_t start; /* TCP sequence number */
    uint64_t open_seq;
    uint32_t seal_seq;
    uint16_t fragment;
    bool other_set;
};

struct walk {
    struct sl_cpu_segment_lane *lane;
    struct sl_cpu_half *h;
    const struct sl_cpu_segment *s;
    const uint8_t *in;
    uint8_t *to;
    int64_t bytes, at;            /* offsets in the payload, as those that follow */
    int64_t fresh;                /* of `next` before the packet */
    int64_t ahead_from, ahead_to; /* of the ahead range before the packet; equal: none */
    bool tls13, behind_hole;
    bool stepped; /* a KeyUpdate lies before `at` */
    bool tags;    /* those of the record in progress are made: */
    uint8_t open_tag[TAG_BYTES], seal_tag[TAG_BYTES];
    bool other_made;
    struct sl_cpu_half_ciphers ciphers, other;
    sl_err err; /* the cryptographic library failed */
};

/* ---- what a record is made of ---- */

static size_t text_offset(bool tls13)
{
    return tls13 ? HEADER_BYTES : HEADER_BYTES + NONCE_BYTES;
}

static size_t record_overhead(bool tls13)
{
    return text_offset(tls13) + TAG_BYTES;
}

static size_t text_bytes(bool tls13, uint16_t fragment)
{
    return HEADER_BYTES + (size_t)fragment - record_overhead(tls13);
}

/* TLS 1.2: the explicit nonce of the record in progress, as far as it has come. */
static uint64_t nonce_of(const struct sl_cpu_half *h)
{
    return (uint64_t)h->old_seal_seq << 32 | h->old_open_seq;
}

static void set_nonce(struct sl_cpu_half *h, uint64_t nonce)
{
    h->old_seal_seq = (uint32_t)(nonce >> 32);
    h->old_open_seq = (uint32_t)nonce;
}

static struct view view_in_progress(const struct sl_cpu_half *h)
{
    return (struct view){.start = h->record_start, .open_seq = h->open_seq, .seal_seq = h->seal_seq, .fragment = h->fragment};
}

/* A finished record: ring_new of them belong to the current epoch, the others to the one before. */
static struct view view_back(const struct sl_cpu_half *h, unsigned back)
{
    struct view v = {.back = back, .start = h->record_start - h->ring[0] - (back == 2 ? h->ring[1] : 0u)};
    v.fragment = (uint16_t)(h->ring[back - 1] - HEADER_BYTES);
    v.other_set = back > h->ring_new;
    if (v.other_set) {
        const unsigned older = back - h->ring_new - 1;
        v.open_seq = (uint64_t)h->old_open_seq - older;
        v.seal_seq = h->old_seal_seq - older;
    } else {
        v.open_seq = h->open_seq - back;
        v.seal_seq = h->seal_seq - back;
    }
    return v;
}

static struct view view_at(const struct sl_cpu_half *h, uint32_t seq)
{
    if ((int32_t)(seq - h->record_start) >= 0)
        return view_in_progress(h);
    return view_back(h, (int32_t)(seq - (h->record_start - h->ring[0])) >= 0 ? 1 : 2);
}

struct nonces {
    uint8_t open[SL_GCM_IV_BYTES], seal[SL_GCM_IV_BYTES];
};

/* RFC 8446 section 5.3; RFC 5288 section 3. */
static struct nonces nonces_of(const struct walk *w, const struct view *v)
{
    const struct sl_cpu_half_keys *k = &w->h->set[sl_cpu_half_set(w->h) ^ v->other_set];
    struct nonces n;
    uint8_t open[8], seal[8];
    memcpy(n.open, k->open_iv, sizeof(n.open));
    memcpy(n.seal, k->seal_iv, sizeof(n.seal));
    sl_store_be64(open, w->tls13 ? v->open_seq : nonce_of(w->h) - v->back);
    sl_store_be64(seal, v->seal_seq);
    for (unsigned i = 0; i < 8; i++) {
        n.open[4 + i] ^= open[i];
        n.seal[4 + i] ^= seal[i];
    }
    return n;
}

/* ---- what is told ---- */

static struct card_event event_of(const struct walk *w, enum sl_card_event_kind kind)
{
    return (struct card_event){.kind = (uint8_t)kind,
                               .lane = w->lane->lane,
                               .epoch = w->h->epoch,
                               .index = w->s->index,
                               .packet_id = w->s->packet_id,
                               .flow = w->h->flow,
                               .open_seq = w->h->open_seq,
                               .tcp_seq = w->h->record_start};
}

/* An event of the record in progress. */
static void tell(const struct walk *w, enum sl_card_event_kind kind, unsigned detail)
{
    struct card_event e = event_of(w, kind);
    e.detail = (uint16_t)detail;
    sl_cpu_outputs_add_event(w->lane->out, &e);
}

void sl_cpu_segment_event(struct sl_cpu_segment_lane *lane, const struct sl_cpu_half *h, const struct sl_cpu_segment *s,
                          enum sl_card_event_kind kind, uint32_t tcp_seq)
{
    const struct card_event e = {.kind = (uint8_t)kind,
                                 .lane = lane->lane,
                                 .index = s->index,
                                 .packet_id = s->packet_id,
                                 .flow = h->flow,
                                 .tcp_seq = tcp_seq};
    sl_cpu_outputs_add_event(lane->out, &e);
}

/* ---- runs ---- */

static bool is_fresh(const struct walk *w, int64_t at)
{
    return at >= w->fresh && (at < w->ahead_from || at >= w->ahead_to);
}

/* Where the bytes end that are as fresh as the one at `at`. */
static int64_t run_end(const struct walk *w, int64_t end)
{
    const int64_t edge[3] = {w->fresh, w->ahead_from, w->ahead_to};
    for (unsigned i = 0; i < 3; i++)
        if (edge[i] > w->at && edge[i] < end)
            end = edge[i];
    return end;
}

/* A header byte; false: it cannot be. */
static bool walk_header(struct walk *w, const struct view *v, size_t offset)
{
    struct sl_cpu_half *h = w->h;
    const uint8_t byte = w->in[w->at];
    bool good = true;
    w->to[w->at] = byte;
    if (v->back == 0 && is_fresh(w, w->at)) {
        switch (offset) {
        case 0:
            h->type = byte;
            good = byte == TYPE_DATA || (byte == TYPE_ALERT && !w->tls13);
            break;
        case 3:
            h->fragment = (uint16_t)(byte << 8);
            break;
        case 4: {
            const unsigned least = w->tls13 ? 1 + TAG_BYTES : NONCE_BYTES + TAG_BYTES;
            h->fragment |= byte;
            good = h->fragment >= least && h->fragment <= PLAINTEXT_MAX + least;
            break;
        }
        default: /* version 3.3 */
            good = byte == 3;
            break;
        }
    }
    w->at++;
    if (!good) {
        tell(w, SL_CARD_EVENT_BAD_RECORD, (unsigned)h->type << 8 | (unsigned)offset);
        sl_cpu_half_kill(h);
    }
    return good;
}

/* RFC 8446 section 5.2, RFC 5246 section 6.2.3.3 */
static size_t additional_data(const struct walk *w, uint64_t seq, uint8_t aad[AAD_TLS12])
{
    const struct sl_cpu_half *h = w->h;
    const size_t at = w->tls13 ? 0 : 8;
    const size_t length = w->tls13 ? h->fragment : text_bytes(false, h->fragment);
    sl_store_be64(aad, seq);
    aad[at] = h->type;
    aad[at + 1] = aad[at + 2] = 3;
    aad[at + 3] = (uint8_t)(length >> 8);
    aad[at + 4] = (uint8_t)length;
    return at + HEADER_BYTES;
}

/* The fifth header byte has come. */
static void begin_record(struct walk *w)
{
    struct sl_cpu_half *h = w->h;
    uint8_t aad[AAD_TLS12];
    w->err = sl_cpu_half_ciphers(w->lane->pool, h, &w->ciphers);
    if (w->err == SL_OK)
        w->err = sl_gcm_hash_begin(w->ciphers.open, h->open_hash, aad, additional_data(w, h->open_seq, aad));
    if (w->err == SL_OK)
        w->err = sl_gcm_hash_begin(w->ciphers.seal, h->seal_hash, aad, additional_data(w, h->seal_seq, aad));
    h->tail_end = 0;
    memset(h->tail, 0, sizeof(h->tail));
}

/* A byte of the explicit nonce. The finished records' nonces are reckoned from this one: if it does not count up, they are
 * forgotten. */
static void walk_nonce(struct walk *w, const struct view *v, size_t offset)
{
    struct sl_cpu_half *h = w->h;
    if (v->back == 0 && is_fresh(w, w->at)) {
        const unsigned shift = (unsigned)(56 - 8 * offset);
        const uint64_t nonce = nonce_of(h), byte = w->in[w->at];
        if ((nonce >> shift & 0xff) != byte) {
            set_nonce(h, (nonce & ~(UINT64_C(0xff) << shift)) | byte << shift);
            h->ring[0] = h->ring[1] = 0;
        }
    }
    w->to[w->at] = offset < 4 ? 0 : (uint8_t)(v->seal_seq >> (8 * (7 - offset)));
    w->at++;
}

/* Fresh text [offset, offset + count): is the tail in it, or a part of the tail that was missing? */
static void keep_tail(struct sl_cpu_half *h, bool tls13, const uint8_t *text, size_t offset, size_t count)
{
    size_t end = count;
    while (tls13 && end > 0 && text[end - 1] == 0)
        end--;
    if (end > 0 && offset + end > h->tail_end) { /* it moves up */
        const size_t by = offset + end - h->tail_end;
        for (size_t i = 0; i < SL_CPU_TAIL_BYTES; i++)
            h->tail[i] = by < SL_CPU_TAIL_BYTES - i ? h->tail[i + by] : 0;
        h->tail_end = (uint16_t)(offset + end);
    }
    for (size_t i = 0; i < SL_CPU_TAIL_BYTES; i++) {
        const size_t place = (size_t)h->tail_end + i; /* in the text, plus SL_CPU_TAIL_BYTES */
        if (place >= offset + SL_CPU_TAIL_BYTES && place < offset + count + SL_CPU_TAIL_BYTES)
            h->tail[i] = text[place - SL_CPU_TAIL_BYTES - offset];
    }
}

/* G7: plaintext that is not verified yet lies in secret memory, and nowhere else. The content is at most 2^14 bytes: what may lie
 * behind is the type, or padding. */
static void keep_text(struct walk *w, const uint8_t *text, size_t offset, size_t count)
{
    struct sl_cpu_half *h = w->h;
    const size_t whole = text_bytes(w->tls13, h->fragment), room = whole < PLAINTEXT_MAX ? whole : PLAINTEXT_MAX;
    void *block;
    if (h->text == NULL) {
        w->err = sl_secret_alloc(room, &block);
        if (w->err != SL_OK)
            return;
        h->text = block;
    }
    if (offset < room)
        memcpy(h->text + offset, text, count < room - offset ? count : room - offset);
}

/* Text that fills the hole up to the ahead range: from here on there is one hash again. */
static void join_ahead(struct walk *w)
{
    struct sl_cpu_half *h = w->h;
    const size_t text = text_offset(w->tls13), from = h->ahead_from - text, to = h->ahead_to - text;
    w->err = sl_gcm_hash_join(w->ciphers.open, h->open_hash, from, h->ahead_open, to);
    if (w->err == SL_OK)
        w->err = sl_gcm_hash_join(w->ciphers.seal, h->seal_hash, from, h->ahead_seal, to);
    h->flags &= (uint8_t)~track_ahead;
}

static void fresh_text(struct walk *w, const struct nonces *n, size_t offset, size_t count)
{
    struct sl_cpu_half *h = w->h;
    const uint8_t *in = w->in + w->at;
    uint8_t *to = w->to + w->at;
    uint8_t *open_hash = w->behind_hole ? h->ahead_open : h->open_hash, *seal_hash = w->behind_hole ? h->ahead_seal : h->seal_hash;
    w->err = sl_gcm_crypt_at(w->ciphers.open, n->open, offset, open_hash, in, to, count, false);
    if (w->err != SL_OK)
        return;
    keep_tail(h, w->tls13, to, offset, count);
    if (sl_cpu_half_is(h, track_mirror))
        keep_text(w, to, offset, count);
    const sl_err err = sl_gcm_crypt_at(w->ciphers.seal, n->seal, offset, seal_hash, to, to, count, true);
    if (w->err == SL_OK)
        w->err = err;
    if (w->err == SL_OK && !w->behind_hole && sl_cpu_half_is(h, track_ahead) &&
        offset + count + text_offset(w->tls13) == h->ahead_from)
        join_ahead(w);
}

/* As it was, or would be, the first time. */
static void known_text(struct walk *w, const struct view *v, const struct nonces *n, size_t offset, size_t count)
{
    const struct sl_cpu_half_ciphers *c = v->other_set ? &w->other : &w->ciphers;
    uint8_t *to = w->to + w->at;
    w->err = sl_gcm_crypt_at(c->open, n->open, offset, NULL, w->in + w->at, to, count, false);
    if (w->err == SL_OK)
        w->err = sl_gcm_crypt_at(c->seal, n->seal, offset, NULL, to, to, count, true);
}

static void walk_text(struct walk *w, const struct view *v, size_t offset)
{
    const size_t left = text_bytes(w->tls13, v->fragment) - offset;
    const int64_t end = run_end(w, w->bytes - w->at < (int64_t)left ? w->bytes : w->at + (int64_t)left);
    const size_t count = (size_t)(end - w->at);
    const struct nonces n = nonces_of(w, v);
    if (v->other_set && !w->other_made) {
        w->err = sl_cpu_half_other(w->lane->pool, w->h, &w->other);
        w->other_made = w->err == SL_OK;
    } else if (!v->other_set) {
        w->err = sl_cpu_half_ciphers(w->lane->pool, w->h, &w->ciphers);
    }
    if (w->err != SL_OK)
        return;
    if (v->back == 0 && is_fresh(w, w->at))
        fresh_text(w, &n, offset, count);
    else
        known_text(w, v, &n, offset, count);
    w->at = end;
}

/* ---- tags, and what a record was ---- */

static void make_tags(struct walk *w, const struct view *v)
{
    struct sl_cpu_half *h = w->h;
    const size_t aad = w->tls13 ? HEADER_BYTES : AAD_TLS12, text = text_bytes(w->tls13, h->fragment);
    const struct nonces n = nonces_of(w, v);
    w->err = sl_cpu_half_ciphers(w->lane->pool, h, &w->ciphers);
    if (w->err == SL_OK)
        w->err = sl_gcm_hash_tag(w->ciphers.open, n.open, h->open_hash, aad, text, w->open_tag);
    if (w->err == SL_OK)
        w->err = sl_gcm_hash_tag(w->ciphers.seal, n.seal, h->seal_hash, aad, text, w->seal_tag);
    w->tags = w->err == SL_OK;
}

struct content {
    size_t bytes;
    uint8_t type;
    bool allowed, key_update;
};

static struct content content_of(const struct walk *w)
{
    const struct sl_cpu_half *h = w->h;
    struct content c = {.type = h->type, .bytes = text_bytes(w->tls13, h->fragment)};
    if (w->tls13) { /* RFC 8446 section 5.4: the type is the last byte that is not zero; tail_end 0: there is none */
        c.type = h->tail_end > 0 ? h->tail[SL_CPU_TAIL_BYTES - 1] : 0;
        c.bytes = h->tail_end > 0 ? h->tail_end - 1u : 0;
    }
    if (c.type == TYPE_DATA) {
        c.allowed = true;
    } else if (c.type == TYPE_ALERT) {
        c.allowed = c.bytes == 2;
    } else if (c.type == TYPE_HANDSHAKE && w->tls13) {
        c.allowed = c.bytes > 0;
        c.key_update = c.bytes >= KEY_UPDATE_BYTES && memcmp(h->tail, "\x18\x00\x00\x01", 4) == 0 && h->tail[4] <= 1;
    }
    return c;
}

/* The record did not verify, or is one that may not come: these tag bytes go out poisoned, everything behind them is zero. */
static void poison(struct walk *w, size_t offset, size_t count, enum sl_card_event_kind kind, unsigned detail)
{
    uint8_t any = 0;
    for (size_t i = 0; i < count; i++)
        any |= w->seal_tag[offset + i];
    memset(w->to + w->at, any == 0 ? 0xff : 0, count);
    memset(w->to + w->at + count, 0, (size_t)w->bytes - (size_t)w->at - count);
    w->at = w->bytes;
    w->lane->mirror_refused += sl_cpu_half_is(w->h, track_mirror);
    tell(w, kind, detail);
    sl_cpu_half_kill(w->h);
}

static void mirror_record(struct walk *w, const struct content *c)
{
    struct sl_cpu_half *h = w->h;
    struct sl_engine_mirror m = {.flow = h->flow,
                                 .open_seq = h->open_seq,
                                 .tcp_seq = h->record_start,
                                 .epoch = h->epoch,
                                 .lane = w->lane->lane,
                                 .type = c->type,
                                 .count = (uint32_t)c->bytes};
    memcpy(m.tag, w->seal_tag, sizeof(m.tag));
    sl_cpu_outputs_add_record(w->lane->out, &m, h->text);
    h->text = NULL;
    w->lane->mirrored_records++;
}

static void key_update(struct walk *w)
{
    struct sl_cpu_half *h = w->h;
    tell(w, SL_CARD_EVENT_KEY_UPDATE, 0);
    if (h->ring_new < 2)
        h->ring[1] = 0; /* its keys were in the set that is current now */
    if (h->open_seq >> 32 != 0)
        h->ring[0] = h->ring[1] = 0; /* so large a number has no place in the card's memory */
    h->ring_new = 0;
    h->old_open_seq = (uint32_t)h->open_seq;
    h->old_seal_seq = h->seal_seq;
    sl_cpu_half_drop_ciphers(w->lane->pool, h);
    const bool wait = !sl_cpu_half_is(h, track_next);
    h->flags = (uint8_t)((h->flags & ~track_next) | track_previous | (wait ? track_wait : 0));
    h->flags ^= track_set;
    h->epoch++;
    w->stepped = true;
}

/* All 16 tag bytes were right. */
static void record_verified(struct walk *w, const struct content *c)
{
    struct sl_cpu_half *h = w->h;
    const size_t length = HEADER_BYTES + (size_t)h->fragment;
    if (sl_cpu_half_is(h, track_mirror))
        mirror_record(w, c);
    if (c->type == TYPE_ALERT)
        tell(w, SL_CARD_EVENT_ALERT, w->tls13 ? (unsigned)h->tail[3] << 8 | h->tail[4] : (unsigned)h->tail[4] << 8 | h->tail[5]);
    if (c->type == TYPE_HANDSHAKE && !c->key_update)
        tell(w, SL_CARD_EVENT_HANDSHAKE, 0);
    h->ring[1] = h->ring[0];
    h->ring[0] = (uint16_t)length;
    memcpy(h->ring_tag[1], h->ring_tag[0], TAG_BYTES);
    memcpy(h->ring_tag[0], w->seal_tag, TAG_BYTES);
    h->ring_new = h->ring_new < 2 ? (uint8_t)(h->ring_new + 1) : 2;
    if (!w->tls13)
        set_nonce(h, nonce_of(h) + 1);
    if (c->key_update)
        key_update(w);
    h->record_start += (uint32_t)length;
    h->open_seq = c->key_update ? 0 : h->open_seq + 1;
    h->seal_seq = c->key_update ? 0 : h->seal_seq + 1;
    h->fragment = 0;
    w->tags = false;
    if (sl_cpu_half_is(h, track_wait))
        tell(w, SL_CARD_EVENT_KEY_WAIT, 0);
}

/* The tag bytes that lie in the same beat of the frame. */
static void walk_tag(struct walk *w, const struct view *v, size_t offset)
{
    const size_t beat = BEAT - ((size_t)w->s->headers->payload + (size_t)w->at) % BEAT, left = (size_t)(w->bytes - w->at);
    size_t count = TAG_BYTES - offset;
    count = count < left ? count : left;
    count = count < beat ? count : beat;
    if (v->back > 0) {
        memcpy(w->to + w->at, w->h->ring_tag[v->back - 1] + offset, count);
        w->at += (int64_t)count;
        return;
    }
    if (!w->tags)
        make_tags(w, v);
    if (w->err != SL_OK)
        return;
    uint8_t wrong = 0;
    for (size_t i = 0; i < count; i++)
        if (is_fresh(w, w->at + (int64_t)i))
            wrong |= (uint8_t)(w->in[w->at + (int64_t)i] ^ w->open_tag[offset + i]);
    if (wrong != 0) {
        poison(w, offset, count, SL_CARD_EVENT_BAD_TAG, 0);
        return;
    }
    const bool ends = offset + count == TAG_BYTES;
    const struct content c = ends ? content_of(w) : (struct content){.allowed = true};
    if (!c.allowed) {
        poison(w, offset, count, SL_CARD_EVENT_UNEXPECTED, c.type);
        return;
    }
    memcpy(w->to + w->at, w->seal_tag + offset, count);
    w->at += (int64_t)count;
    if (ends)
        record_verified(w, &c);
}

/* ---- the walk ---- */

static enum sl_cpu_segment_result walk_payload(struct walk *w)
{
    struct sl_cpu_half *h = w->h;
    const size_t text_at = text_offset(w->tls13);
    while (w->at < w->bytes && w->err == SL_OK) {
        if (w->stepped)
            return SL_CPU_SEGMENT_SQUASHED;
        const uint32_t seq = w->s->headers->seq + (uint32_t)w->at;
        const struct view v = view_at(h, seq);
        const size_t offset = seq - v.start;
        if (offset < HEADER_BYTES) {
            const bool fresh = v.back == 0 && is_fresh(w, w->at);
            if (!walk_header(w, &v, offset))
                return SL_CPU_SEGMENT_DROPPED;
            if (fresh && offset == HEADER_BYTES - 1)
                begin_record(w);
        } else if (offset < text_at) {
            walk_nonce(w, &v, offset - HEADER_BYTES);
        } else if (offset < text_at + text_bytes(w->tls13, v.fragment)) {
            walk_text(w, &v, offset - text_at);
        } else {
            walk_tag(w, &v, offset - text_at - text_bytes(w->tls13, v.fragment));
        }
    }
    if (w->err == SL_OK)
        return SL_CPU_SEGMENT_DONE;
    sl_wipe(w->to, (size_t)w->bytes);  /* it may hold plaintext */
    tell(w, SL_CARD_EVENT_BAD_TAG, 0); /* nobody can say whether it was right */
    sl_cpu_half_kill(h);
    return SL_CPU_SEGMENT_DROPPED;
}

/* ---- what is taken ---- */

static uint32_t oldest_known(const struct sl_cpu_half *h)
{
    return h->record_start - h->ring[0] - h->ring[1];
}

/* Behind a hole: inside the ciphertext of the record in progress, and at the ahead range's end if there is one. */
static bool takes_ahead(const struct sl_cpu_half *h, uint32_t seq, size_t bytes)
{
    const bool tls13 = sl_cpu_half_is(h, track_tls13);
    if (h->next - h->record_start < text_offset(tls13) || h->fragment < AHEAD_MIN)
        return false;
    const size_t offset = seq - h->record_start, text_end = HEADER_BYTES + (size_t)h->fragment - TAG_BYTES;
    return offset + bytes <= text_end && (!sl_cpu_half_is(h, track_ahead) || offset == h->ahead_to);
}

static enum sl_card_reason refusal(const struct sl_cpu_half *h, uint32_t seal_limit, uint32_t seq, size_t bytes)
{
    const int32_t d = (int32_t)(seq - h->next);
    const bool fresh = (int32_t)(seq + (uint32_t)bytes - h->next) > 0;
    if (sl_cpu_half_is(h, track_dead))
        return SL_PUNT_DEAD;
    if (d > 0 && !takes_ahead(h, seq, bytes))
        return SL_PUNT_AHEAD;
    if (d < 0 && (int32_t)(seq - oldest_known(h)) < 0)
        return SL_PUNT_OLD;
    if (fresh && sl_cpu_half_is(h, track_wait))
        return SL_PUNT_KEY_WAIT;
    if (fresh && (uint64_t)h->seal_seq + SEAL_RESERVE > seal_limit)
        return SL_PUNT_SEAL_LIMIT;
    return SL_PUNT_NONE;
}

/* Behind a hole: the ahead range begins, or grows. */
static void grow_ahead(struct sl_cpu_half *h, uint32_t seq, size_t bytes)
{
    const size_t offset = seq - h->record_start;
    if (!sl_cpu_half_is(h, track_ahead)) {
        h->ahead_from = (uint16_t)offset;
        memset(h->ahead_open, 0, sizeof(h->ahead_open));
        memset(h->ahead_seal, 0, sizeof(h->ahead_seal));
        h->flags |= track_ahead;
    }
    h->ahead_to = (uint16_t)(offset + bytes);
}

static void move_next(const struct walk *w, uint32_t seq)
{
    int64_t end = w->bytes;
    if (end <= w->fresh)
        return;
    if (w->ahead_from < w->ahead_to && end >= w->ahead_from && w->ahead_to > end)
        end = w->ahead_to;
    w->h->next = seq + (uint32_t)end;
}

enum sl_cpu_segment_result sl_cpu_segment_transcode(struct sl_cpu_segment_lane *lane, struct sl_cpu_half *h,
                                                    const struct sl_cpu_segment *s, enum sl_card_reason *reason)
{
    const uint32_t seq = s->headers->seq;
    const size_t bytes = s->headers->payload_bytes;
    *reason = refusal(h, lane->seal_limit, seq, bytes);
    if (*reason != SL_PUNT_NONE)
        return SL_CPU_SEGMENT_PUNTED;
    struct walk w = {.lane = lane,
                     .h = h,
                     .s = s,
                     .in = s->in,
                     .to = s->to,
                     .bytes = (int64_t)bytes,
                     .fresh = (int32_t)(h->next - seq),
                     .tls13 = sl_cpu_half_is(h, track_tls13)};
    w.behind_hole = w.fresh < 0;
    if (sl_cpu_half_is(h, track_ahead)) {
        w.ahead_from = (int32_t)(h->record_start + h->ahead_from - seq);
        w.ahead_to = (int32_t)(h->record_start + h->ahead_to - seq);
    }
    if (w.behind_hole)
        grow_ahead(h, seq, bytes);
    const enum sl_cpu_segment_result result = walk_payload(&w);
    sl_cpu_half_other_done(lane->pool);
    sl_wipe(w.open_tag, sizeof(w.open_tag)); /* the right tag of a forged record must not remain anywhere */
    sl_wipe(w.seal_tag, sizeof(w.seal_tag));
    if (sl_cpu_half_is(h, track_dead))
        return result;
    if (result == SL_CPU_SEGMENT_SQUASHED)
        h->next = h->record_start; /* as if the packet had ended with the KeyUpdate */
    else if (!w.behind_hole)
        move_next(&w, seq);
    return result;
}
