/* SPDX-License-Identifier: Apache-2.0 */
/*
 * docs/card.md section 4, a payload from its first byte to its last. Bytes that have come before are looked up in the records that
 * are kept whole; fresh ones are added to them.
 */
#include <stdlib.h>
#include <string.h>

#include "session_model.h"

enum {
    ahead_record_min = 256,
    seal_reserve = 512, /* a packet begins fewer records than that */
    beat_bytes = 64,
    type_version_major = 3,
    type_version_minor = 3
};

/* RFC 9293 section 3.4: how far a is behind b, modulo 2^32. */
static int32_t seq_diff(uint32_t a, uint32_t b)
{
    const uint32_t d = a - b;
    return d < 0x80000000u ? (int32_t)d : -(int32_t)(0xffffffffu - d) - 1;
}

/* One packet on its walk. */
struct walk {
    struct model_session *s;
    struct model_output *out;
    uint8_t *payload;
    size_t bytes, at; /* at: the byte that is looked at */
    size_t offset;    /* of payload[0], in the frame */
    uint32_t seq;     /* of payload[0] */
    uint32_t next;    /* the session's, before the packet */
    bool ahead;       /* its ahead range, before the packet */
    uint32_t ahead_from, ahead_to;
};

static bool is_fresh(const struct walk *w, uint32_t seq)
{
    if (seq_diff(seq, w->next) < 0)
        return false;
    return !w->ahead || seq_diff(seq, w->ahead_from) < 0 || seq_diff(seq, w->ahead_to) >= 0;
}

static void ring_clear(struct model_session *s)
{
    for (unsigned i = 0; i < 2; i++) {
        model_record_free(s->ring[i]);
        s->ring[i] = NULL;
    }
}

void model_forget_previous(struct model_session *s)
{
    s->previous = false;
    for (unsigned i = 0; i < 2; i++)
        if (s->ring[i] != NULL && s->ring[i]->epoch != s->epoch) {
            model_record_free(s->ring[i]);
            s->ring[i] = NULL;
        }
}

static void kill_session(struct model_session *s, const struct model_output *out)
{
    s->dead = true;
    s->broken = true;
    s->broken_packet = out->packet_id;
}

/* A header byte. false: it cannot be. */
static bool header_byte(struct walk *w, size_t offset)
{
    struct model_session *s = w->s;
    struct model_record_state *r = s->record;
    const uint8_t byte = w->payload[w->at];
    r->header[offset] = byte;
    bool good = true;
    if (offset == 0)
        good = byte == tls_application_data || (!s->tls13 && byte == tls_alert);
    else if (offset == 1)
        good = byte == type_version_major;
    else if (offset == 2)
        good = byte == type_version_minor;
    else if (offset == 4) {
        const unsigned length = (unsigned)r->header[3] << 8 | byte;
        const unsigned least = s->tls13 ? 1 + tls_tag_bytes : tls_nonce_bytes + tls_tag_bytes;
        good = length >= least && length <= tls_plaintext_max + least;
        r->fragment = (uint16_t)length;
        if (good && s->tls13)
            model_record_begin(r, true, s->keys[s->set]);
    }
    if (!good) {
        kill_session(s, w->out);
        model_add_event(w->out, s, model_event_bad_record, (uint16_t)((size_t)r->header[0] << 8 | offset), r->start, r);
    }
    return good;
}

/* A byte of the explicit nonce. */
static void nonce_byte(struct walk *w, struct model_record_state *r, size_t offset)
{
    struct model_session *s = w->s;
    uint8_t seal[tls_nonce_bytes];
    if (r == s->record && is_fresh(w, w->seq + (uint32_t)w->at)) {
        r->nonce[offset] = w->payload[w->at];
        if (r->nonce[offset] != s->expected_nonce[offset])
            ring_clear(s); /* the walk is past them */
        if (offset == tls_nonce_bytes - 1) {
            model_put64(s->expected_nonce, model_get64(r->nonce) + 1);
            model_record_begin(r, false, s->keys[s->set]);
        }
    }
    model_put64(seal, r->seal_seq);
    w->payload[w->at] = seal[offset];
}

static struct model_mirror mirror_of(const struct model_session *s, const struct model_record_state *r)
{
    struct model_mirror m = {.index = s->index, .flow = s->flow, .open_seq = r->open_seq, .epoch = r->epoch};
    memcpy(m.key, r->mirror_key, sizeof m.key);
    return m;
}

/* Ciphertext: as much as is in the packet, a run of equal freshness at a time. offset: in the text. */
static void text_bytes(struct walk *w, struct model_record_state *r, size_t offset)
{
    struct model_session *s = w->s;
    while (w->at < w->bytes && offset < r->text_bytes) {
        const uint32_t seq = w->seq + (uint32_t)w->at;
        const bool fresh = r == s->record && is_fresh(w, seq);
        uint8_t *p = w->payload + w->at;
        size_t run = 0;
        while (w->at + run < w->bytes && offset + run < r->text_bytes &&
               (r == s->record && is_fresh(w, seq + (uint32_t)run)) == fresh)
            run++;
        if (fresh) {
            memcpy(r->cipher + offset, p, run);
            for (size_t i = 0; i < run; i++)
                r->plain[offset + i] ^= p[i];
            if (s->mirror) {
                struct model_mirror m = mirror_of(s, r);
                m.offset = (uint16_t)offset;
                m.bytes = (uint16_t)run;
                model_add_mirror(w->out, &m, r->plain + offset);
            }
        }
        for (size_t i = 0; i < run; i++)
            p[i] ^= r->mask[offset + i];
        offset += run;
        w->at += run;
    }
}

/* What a verified record holds. content_bytes: without type and padding. */
struct content {
    uint8_t type;
    size_t content_bytes;
    bool allowed, key_update;
};

static struct content content_of(const struct model_session *s, const struct model_record_state *r)
{
    struct content c = {.type = r->header[0], .content_bytes = r->text_bytes};
    if (s->tls13) { /* RFC 8446 section 5.4: from the end, skip zeros */
        size_t end = r->text_bytes;
        while (end > 0 && r->plain[end - 1] == 0)
            end--;
        c.type = end > 0 ? r->plain[end - 1] : 0;
        c.content_bytes = end > 0 ? end - 1 : 0;
    }
    const uint8_t *const content_end = r->plain + c.content_bytes;
    switch (c.type) {
    case tls_application_data:
        c.allowed = true;
        break;
    case tls_alert:
        c.allowed = c.content_bytes == 2;
        break;
    case tls_handshake:
        c.allowed = s->tls13 && c.content_bytes > 0;
        if (c.allowed && c.content_bytes >= 5) /* RFC 8446 section 4.6.3: type 24, length 1, 0 or 1 */
            c.key_update = memcmp(content_end - 5, "\x18\x00\x00\x01", 4) == 0 && content_end[-1] <= 1;
        break;
    default:
        break;
    }
    return c;
}

/* The lane steps to the other key set behind the record in progress, which is in the ring by now. */
static void key_update(struct walk *w, const struct model_record_state *record)
{
    struct model_session *s = w->s;
    model_add_event(w->out, s, model_event_key_update, 0, record->start, record);
    if (s->ring[1] != NULL && s->ring[1]->epoch != s->epoch) { /* its keys were in the set that is current now */
        model_record_free(s->ring[1]);
        s->ring[1] = NULL;
    }
    if (record->open_seq >> 32 != 0) /* a number that large has no place in the session's memory */
        ring_clear(s);
    s->wait = !s->next_keys;
    s->next_keys = false;
    s->previous = true;
    s->set ^= 1;
    s->epoch = (uint16_t)((s->epoch + 1) % 256);
    s->record->epoch = s->epoch;
    s->record->open_seq = 0;
    s->record->seal_seq = 0;
    if (s->wait)
        model_add_event(w->out, s, model_event_key_wait, 0, s->record->start, s->record);
    s->broken = true;
    s->broken_packet = w->out->packet_id;
}

static void record_verified(struct walk *w, const struct content *c)
{
    struct model_session *s = w->s;
    struct model_record_state *r = s->record;
    if (s->mirror) {
        struct model_mirror m = mirror_of(s, r);
        m.verdict = model_mirror_verified;
        m.text_bytes = r->text_bytes;
        m.tcp_seq = r->start;
        m.type = c->type;
        memcpy(m.tag, r->seal_tag, sizeof m.tag);
        model_add_mirror(w->out, &m, NULL);
    }
    if (c->type == tls_alert)
        model_add_event(w->out, s, model_event_alert, (uint16_t)(r->plain[0] << 8 | r->plain[1]), r->start, r);
    if (c->type == tls_handshake && !c->key_update)
        model_add_event(w->out, s, model_event_handshake, 0, r->start, r);
    model_record_free(s->ring[1]);
    s->ring[1] = s->ring[0];
    s->ring[0] = r;
    s->ahead = false; /* it lay in this record */
    s->record = model_record_new(r->start + (uint32_t)model_record_bytes(r), r->open_seq + 1, r->seal_seq + 1, s->epoch);
    if (c->key_update)
        key_update(w, r);
}

static bool all_equal(const uint8_t *p, size_t bytes, uint8_t value)
{
    for (size_t i = 0; i < bytes; i++)
        if (p[i] != value)
            return false;
    return true;
}

/* The record did not verify, or is one that may not come: tag bytes [offset, offset + count) leave poisoned, everything behind them
 * is zero. */
static void poison(struct walk *w, struct model_record_state *r, size_t offset, size_t count, enum model_event_kind kind,
                   uint8_t type)
{
    struct model_session *s = w->s;
    const uint8_t value = all_equal(r->seal_tag + offset, count, 0) ? 0xff : 0;
    memset(w->payload + w->at, value, count);
    memset(w->payload + w->at + count, 0, w->bytes - w->at - count);
    w->at = w->bytes;
    if (s->mirror) {
        struct model_mirror m = mirror_of(s, r);
        m.verdict = model_mirror_bad;
        m.text_bytes = r->text_bytes;
        m.tcp_seq = r->start;
        model_add_mirror(w->out, &m, NULL);
    }
    kill_session(s, w->out);
    model_add_event(w->out, s, kind, type, r->start, r);
}

/* The tag bytes of the record, from offset in the tag on, that are in the packet and in the same beat of it. */
static void tag_bytes(struct walk *w, struct model_record_state *r, size_t offset)
{
    struct model_session *s = w->s;
    const size_t beat = beat_bytes - (w->offset + w->at) % beat_bytes;
    uint8_t tag[tls_tag_bytes];
    size_t count = tls_tag_bytes - offset;
    if (count > w->bytes - w->at)
        count = w->bytes - w->at;
    if (count > beat)
        count = beat;
    const bool ends = offset + count == tls_tag_bytes;
    if (r == s->record) {
        if (!r->tags)
            model_record_make_tags(r, s->tls13, s->keys[s->set]);
        memcpy(tag, r->seal_tag, sizeof tag); /* the record may be forgotten at its end */
        bool good = true;
        for (size_t i = 0; i < count; i++)
            if (is_fresh(w, w->seq + (uint32_t)(w->at + i)) && w->payload[w->at + i] != r->open_tag[offset + i])
                good = false;
        if (!good) {
            poison(w, r, offset, count, model_event_bad_tag, 0);
            return;
        }
        /* Had its last byte come before, it would not be the record in progress. */
        if (ends) {
            const struct content c = content_of(s, r);
            if (!c.allowed) {
                poison(w, r, offset, count, model_event_unexpected, c.type);
                return;
            }
            record_verified(w, &c);
        }
    } else {
        memcpy(tag, r->seal_tag, sizeof tag);
    }
    memcpy(w->payload + w->at, tag + offset, count);
    w->at += count;
}

static struct model_record_state *record_at(const struct model_session *s, uint32_t seq)
{
    if (seq_diff(seq, s->record->start) >= 0)
        return s->record;
    if (s->ring[0] != NULL && seq_diff(seq, s->ring[0]->start) >= 0)
        return s->ring[0];
    model_check(s->ring[1] != NULL && seq_diff(seq, s->ring[1]->start) >= 0, "a byte of a record that is not known");
    return s->ring[1];
}

static enum model_walk_result walk_payload(struct walk *w)
{
    struct model_session *s = w->s;
    const size_t text_at = model_record_text_at(s->tls13);
    const uint16_t epoch = s->epoch;
    while (w->at < w->bytes) {
        if (s->epoch != epoch) /* a KeyUpdate lies before this byte */
            return model_walk_squashed;
        const uint32_t seq = w->seq + (uint32_t)w->at;
        struct model_record_state *r = record_at(s, seq);
        const size_t offset = seq - r->start;
        if (offset < tls_header_bytes) {
            if (r == s->record && is_fresh(w, seq) && !header_byte(w, offset))
                return model_walk_dropped;
            w->at++;
        } else if (offset < text_at) {
            nonce_byte(w, r, offset - tls_header_bytes);
            w->at++;
        } else if (offset < text_at + r->text_bytes) {
            text_bytes(w, r, offset - text_at);
        } else {
            tag_bytes(w, r, offset - text_at - r->text_bytes);
        }
    }
    return model_walk_done;
}

static bool has_header(const struct model_session *s)
{
    return (size_t)(s->next - s->record->start) >= model_record_text_at(s->tls13);
}

/* Step 2: may a payload behind a hole be taken? */
static bool takes_ahead(const struct model_session *s, uint32_t seq, size_t bytes)
{
    if (!has_header(s) || s->record->fragment < ahead_record_min)
        return false;
    const size_t from = seq - s->record->start; /* in the record; behind a hole, so nothing wraps */
    return from + bytes <= model_record_bytes(s->record) - tls_tag_bytes && (!s->ahead || seq == s->ahead_to);
}

static uint32_t oldest(const struct model_session *s)
{
    return s->ring[1] != NULL ? s->ring[1]->start : s->ring[0] != NULL ? s->ring[0]->start : s->record->start;
}

static enum model_reason refusal(const struct model_session *s, uint32_t seal_limit, uint32_t seq, size_t bytes)
{
    const int32_t d = seq_diff(seq, s->next);
    const bool fresh = seq_diff(seq + (uint32_t)bytes, s->next) > 0;
    if (s->dead)
        return model_reason_dead;
    if (d > 0 && !takes_ahead(s, seq, bytes))
        return model_reason_ahead;
    if (d < 0 && seq_diff(seq, oldest(s)) < 0)
        return model_reason_old;
    if (fresh && s->wait)
        return model_reason_key_wait;
    if (fresh && (uint64_t)s->record->seal_seq + seal_reserve > seal_limit)
        return model_reason_seal_limit;
    return model_reason_none;
}

enum model_walk_result model_transcode(struct model_session *s, uint32_t seal_limit, const struct model_headers *h,
                                       struct model_output *out, enum model_reason *reason)
{
    const uint32_t seq = h->seq;
    const size_t bytes = h->payload_bytes;
    struct walk w = {.s = s,
                     .out = out,
                     .payload = out->frame + h->payload,
                     .bytes = bytes,
                     .offset = h->payload,
                     .seq = seq,
                     .next = s->next,
                     .ahead = s->ahead,
                     .ahead_from = s->ahead_from,
                     .ahead_to = s->ahead_to};
    *reason = refusal(s, seal_limit, seq, bytes);
    if (*reason != model_reason_none)
        return model_walk_punted;
    const uint32_t end = seq + (uint32_t)bytes;
    const int32_t d = seq_diff(seq, s->next);
    const enum model_walk_result result = walk_payload(&w);
    if (s->dead)
        return result;
    if (result == model_walk_squashed) { /* as if the packet had ended with the KeyUpdate */
        s->next = s->record->start;
    } else if (d > 0) {
        if (!s->ahead)
            s->ahead_from = seq;
        s->ahead = true;
        s->ahead_to = end;
    } else if (seq_diff(end, s->next) > 0) {
        s->next = end;
        if (s->ahead && seq_diff(end, s->ahead_from) >= 0) {
            if (seq_diff(s->ahead_to, end) > 0)
                s->next = s->ahead_to;
            s->ahead = false;
        }
    }
    return result;
}
