/* SPDX-License-Identifier: Apache-2.0 */
#include "trace_stream.h"

#include <stdlib.h>
#include <string.h>

enum { epochs_kept = 256, wire_max = tls_header_bytes + tls_nonce_bytes + tls_plaintext_max + 1 + tls_tag_bytes };

/* text: content, type, padding (TLS 1.2: content). wire: as it is sent. Both lie in one allocation. */
struct record {
    struct record *next;
    uint64_t offset;
    size_t wire_bytes, text_bytes, content_bytes;
    uint64_t open_seq;
    uint32_t seal_seq;
    unsigned epoch;
    uint8_t type;
    bool key_update, compared;
    uint8_t *text, *wire;
};

struct trace_stream {
    const struct model_ciphers *ciphers;
    const struct trace_options *o;
    struct trace_statistics *st;
    struct trace_random random;
    uint64_t key_seed;
    bool tls13, forbidden;
    bool long_open, long_seal;
    bool nonce_random;
    uint64_t nonce; /* explicit, of the next record */
    unsigned small; /* records out of 10,000 */
    unsigned key_update_rate;
    uint64_t first_open_seq, first_nonce;
    uint32_t first_seal_seq;
    /* of the next record */
    uint64_t open_seq;
    uint32_t seal_seq;
    unsigned epoch;
    struct model_keys *keys, *old_keys; /* of this epoch; of another one, for answers */
    unsigned old_epoch;
    struct record *first, *last, *compare; /* compare: NULL: the next one that is made */
    uint64_t end;
    uint64_t epoch_end[epochs_kept]; /* of epoch e: behind its KeyUpdate */
    uint8_t content[tls_plaintext_max + 1];
};

static void encrypt_zero(const struct model_ciphers *c, bool is_long, const uint8_t key[32], uint8_t h[16])
{
    const uint8_t zero[16] = {0};
    int n;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    model_check(ctx != NULL && EVP_EncryptInit_ex2(ctx, c->ecb[is_long], key, NULL, NULL) == 1, "AES");
    EVP_CIPHER_CTX_set_padding(ctx, 0);
    model_check(EVP_EncryptUpdate(ctx, h, &n, zero, 16) == 1, "AES");
    EVP_CIPHER_CTX_free(ctx);
}

/* Random, but always the same for an epoch. */
void trace_stream_keys(const struct trace_stream *s, unsigned epoch, struct key_set *keys)
{
    struct trace_random r = {s->key_seed + epoch};
    const size_t iv_bytes = s->tls13 ? 12 : 4;
    memset(keys, 0, sizeof *keys);
    trace_random_bytes(&r, keys->open_key, s->long_open ? 32 : 16);
    trace_random_bytes(&r, keys->seal_key, s->long_seal ? 32 : 16);
    trace_random_bytes(&r, keys->open_iv, iv_bytes);
    trace_random_bytes(&r, keys->seal_iv, iv_bytes);
    encrypt_zero(s->ciphers, s->long_open, keys->open_key, keys->open_h);
    encrypt_zero(s->ciphers, s->long_seal, keys->seal_key, keys->seal_h);
    keys->long_keys = (uint8_t)(s->long_open | s->long_seal << 1);
}

static struct model_keys *keys_of(const struct trace_stream *s, unsigned epoch)
{
    struct key_set set;
    trace_stream_keys(s, epoch, &set);
    return model_keys_new(s->ciphers, &set);
}

struct trace_stream *trace_stream_new(const struct model_ciphers *ciphers, const struct trace_options *o,
                                      struct trace_statistics *st, struct trace_random *r, bool tls13, size_t segment_max)
{
    struct trace_stream *s = model_alloc(sizeof *s);
    s->ciphers = ciphers;
    s->o = o;
    s->st = st;
    s->tls13 = tls13;
    s->random.state = trace_random64(r);
    s->key_seed = trace_random64(r);
    s->long_open = trace_below(r, 2) == 0;
    s->long_seal = trace_below(r, 2) == 0;
    s->nonce_random = !o->nonce_counts && trace_below(r, 10) == 0;
    s->first_open_seq = trace_below(r, 3) == 0 ? trace_random64(r) >> 17 : trace_below(r, 3);
    s->first_seal_seq = trace_below(r, 3) == 0 ? trace_below(r, 20000000) : trace_below(r, 3);
    s->nonce = trace_below(r, 2) == 0 ? s->first_open_seq : trace_random64(r);
    if (trace_below(r, 8) == 0)
        s->nonce |= ~UINT64_C(7); /* about to carry into all bytes */
    s->first_nonce = s->nonce;
    s->small = segment_max < 300 ? 9800 : segment_max < 1000 ? 7000 : trace_below(r, 10000);
    s->key_update_rate = o->key_updates > 0 ? o->key_updates : trace_below(r, 4) == 0 ? 1500 : 150;
    if (o->no_key_updates || !tls13)
        s->key_update_rate = 0;
    s->open_seq = s->first_open_seq;
    s->seal_seq = s->first_seal_seq;
    s->keys = keys_of(s, 0);
    return s;
}

void trace_stream_free(struct trace_stream *s)
{
    if (s == NULL)
        return;
    for (struct record *r = s->first; r != NULL;) {
        struct record *const next = r->next;
        free(r);
        r = next;
    }
    model_keys_free(s->keys);
    model_keys_free(s->old_keys);
    free(s);
}

void trace_stream_state(const struct trace_stream *s, struct session_state *state)
{
    trace_stream_keys(s, 0, &state->keys.set[0]);
    for (unsigned i = 0; i < 6; i++)
        state->track.open_seq[i] = (uint8_t)(s->first_open_seq >> 8 * i);
    state->track.seal_seq = s->first_seal_seq;
    if (!s->tls13) {
        state->track.old_seal_seq = (uint32_t)(s->first_nonce >> 32);
        state->track.old_open_seq = (uint32_t)s->first_nonce;
    }
    state->track.flags |= s->tls13 ? track_tls13 : 0;
}

/* What goes into the next record: s->content, type, and how much padding. */
struct plan {
    uint8_t type;
    size_t content_bytes, padding;
    bool key_update;
};

static size_t data_bytes(struct trace_stream *s)
{
    struct trace_random *const r = &s->random;
    const uint32_t most = s->o->record_max > 0 && s->o->record_max < tls_plaintext_max ? s->o->record_max : tls_plaintext_max;
    if (trace_chance(r, 400))
        return 0;
    if (trace_chance(r, s->small))
        return trace_below(r, most < 300 ? most + 1 : 300);
    if (trace_chance(r, 3000))
        return most;
    if (trace_chance(r, 1500))
        return most - trace_below(r, most < 40 ? most : 40);
    return trace_below(r, most + 1);
}

static void plan_ticket(struct trace_stream *s, struct plan *p)
{
    const size_t body = trace_between(&s->random, 40, 300);
    p->type = tls_handshake;
    s->content[0] = 4; /* NewSessionTicket */
    s->content[1] = 0;
    s->content[2] = (uint8_t)(body >> 8);
    s->content[3] = (uint8_t)body;
    trace_random_bytes(&s->random, s->content + 4, body);
    s->content[4 + body - 1] = 0x42; /* no KeyUpdate by chance */
    p->content_bytes = 4 + body;
    s->st->counts[trace_count_tickets]++;
}

static void plan_key_update(struct trace_stream *s, struct plan *p)
{
    const uint8_t message[5] = {24, 0, 0, 1, (uint8_t)trace_below(&s->random, 2)};
    p->type = tls_handshake;
    p->content_bytes = 0;
    if (trace_below(&s->random, 3) == 0) {
        plan_ticket(s, p);
        s->st->counts[trace_count_tickets]--;
        s->st->counts[trace_count_key_updates_coalesced]++;
    }
    memcpy(s->content + p->content_bytes, message, sizeof message);
    p->content_bytes += sizeof message;
    p->key_update = true;
    s->st->counts[trace_count_key_updates]++;
}

static void plan_alert(struct trace_stream *s, struct plan *p)
{
    p->type = tls_alert;
    p->content_bytes = 2;
    s->content[0] = 1;
    s->content[1] = trace_below(&s->random, 2) == 0 ? 0 : 90; /* close_notify, user_canceled */
    s->st->counts[trace_count_alerts]++;
}

/* Genuine, but nothing that a lane lets through. */
static void plan_forbidden(struct trace_stream *s, struct plan *p)
{
    static const uint8_t types13[] = {20, 24, 99, tls_alert, tls_handshake, 0}, types12[] = {20, tls_handshake, tls_alert, 99};
    struct trace_random *const r = &s->random;
    p->type = s->tls13 ? types13[trace_below(r, sizeof types13)] : types12[trace_below(r, sizeof types12)];
    p->content_bytes = trace_between(r, 3, 40);
    trace_random_bytes(r, s->content, p->content_bytes);
    if (p->type == tls_alert && trace_below(r, 2) == 0)
        p->content_bytes = trace_below(r, 2);
    if (p->type == tls_handshake && s->tls13)
        p->content_bytes = 0;
    if (p->type == 0)
        memset(s->content, 0, p->content_bytes); /* RFC 8446 section 5.4: no type at all */
    s->forbidden = true;
    s->st->counts[trace_count_forbidden_records]++;
}

static void plan_data(struct trace_stream *s, struct plan *p)
{
    p->type = tls_application_data;
    p->content_bytes = data_bytes(s);
    trace_random_bytes(&s->random, s->content, p->content_bytes);
    if (p->content_bytes > 4 && trace_below(&s->random, 4) == 0) /* zeros at the end are content, too */
        memset(s->content + p->content_bytes - 4, 0, 4);
}

static struct plan plan_record(struct trace_stream *s)
{
    struct trace_random *const r = &s->random;
    struct plan p = {0};
    if (trace_chance(r, s->o->forbidden))
        plan_forbidden(s, &p);
    else if (trace_chance(r, s->key_update_rate) && s->epoch + 1 < epochs_kept)
        plan_key_update(s, &p);
    else if (s->tls13 && trace_chance(r, 150))
        plan_ticket(s, &p);
    else if (trace_chance(r, 150))
        plan_alert(s, &p);
    else
        plan_data(s, &p);
    if (s->tls13 && trace_chance(r, 2000)) {
        const size_t room = tls_plaintext_max - p.content_bytes;
        p.padding = trace_below(r, 8) == 0 ? room : trace_below(r, (uint32_t)(room < 300 ? room + 1 : 300));
    }
    return p;
}

static void seal(struct model_key *key, bool tls13, const uint8_t explicit_nonce[8], uint64_t seq, const struct record *r,
                 uint8_t *wire)
{
    const size_t text_at = model_record_text_at(tls13);
    const size_t fragment = r->wire_bytes - tls_header_bytes;
    uint8_t nonce[12], aad[13];
    wire[0] = tls13 ? tls_application_data : r->type;
    wire[1] = wire[2] = 3;
    wire[3] = (uint8_t)(fragment >> 8);
    wire[4] = (uint8_t)fragment;
    if (!tls13)
        memcpy(wire + tls_header_bytes, explicit_nonce, tls_nonce_bytes);
    model_nonce(key->iv, tls13, seq, explicit_nonce, nonce);
    const size_t aad_bytes = model_aad(tls13, wire, seq, (uint16_t)r->text_bytes, aad);
    model_gcm_seal(key, nonce, aad, aad_bytes, r->text, r->text_bytes, wire + text_at, wire + text_at + r->text_bytes);
}

static void count_record(struct trace_stream *s, const struct plan *p)
{
    uint64_t *const counts = s->st->counts;
    counts[trace_count_records]++;
    counts[trace_count_empty_records] += p->content_bytes == 0;
    counts[trace_count_maximal_records] += p->content_bytes + p->padding == tls_plaintext_max;
    counts[trace_count_padded_records] += p->padding > 0;
}

static void step_nonce(struct trace_stream *s)
{
    if (s->nonce_random || (!s->o->nonce_counts && trace_chance(&s->random, 100))) {
        const uint64_t jump =
            trace_below(&s->random, 2) == 0 ? trace_random64(&s->random) : s->nonce + (UINT64_C(1) << trace_below(&s->random, 64));
        s->st->counts[trace_count_nonce_jumps] += !s->tls13;
        s->nonce = jump;
    } else {
        s->nonce++;
    }
}

static void append(struct trace_stream *s)
{
    const struct plan p = plan_record(s);
    const size_t text_bytes = p.content_bytes + (s->tls13 ? 1 + p.padding : 0);
    const size_t wire_bytes = model_record_text_at(s->tls13) + text_bytes + tls_tag_bytes;
    struct record *const r = model_alloc(sizeof *r + text_bytes + wire_bytes);
    *r = (struct record){.offset = s->end,
                         .wire_bytes = wire_bytes,
                         .text_bytes = text_bytes,
                         .content_bytes = p.content_bytes,
                         .open_seq = s->open_seq,
                         .seal_seq = s->seal_seq,
                         .epoch = s->epoch,
                         .type = p.type,
                         .key_update = p.key_update,
                         .text = (uint8_t *)(r + 1),
                         .wire = (uint8_t *)(r + 1) + text_bytes};
    memcpy(r->text, s->content, p.content_bytes);
    if (s->tls13)
        r->text[p.content_bytes] = p.type;
    uint8_t explicit_nonce[8];
    model_put64(explicit_nonce, s->nonce);
    seal(&s->keys->open, s->tls13, explicit_nonce, r->open_seq, r, r->wire);
    step_nonce(s);
    count_record(s, &p);
    if (s->last != NULL)
        s->last->next = r;
    else
        s->first = r;
    s->last = r;
    if (s->compare == NULL)
        s->compare = r;
    s->end += wire_bytes;
    s->open_seq++;
    s->seal_seq++;
    if (p.key_update) {
        s->epoch_end[s->epoch] = s->end;
        s->epoch++;
        s->open_seq = s->seal_seq = 0;
        model_keys_free(s->keys);
        s->keys = keys_of(s, s->epoch);
    }
}

void trace_stream_extend(struct trace_stream *s, uint64_t end)
{
    while (s->end < end)
        append(s);
}

static struct record *record_at(const struct trace_stream *s, uint64_t offset)
{
    struct record *r = s->first;
    while (r != NULL && r->offset + r->wire_bytes <= offset)
        r = r->next;
    model_check(r != NULL && r->offset <= offset, "the stream has no such byte any more");
    return r;
}

void trace_stream_read(const struct trace_stream *s, uint64_t offset, uint8_t *out, size_t bytes)
{
    if (bytes == 0)
        return;
    for (const struct record *r = record_at(s, offset); bytes > 0; r = r->next) {
        const size_t from = (size_t)(offset - r->offset);
        const size_t count = r->wire_bytes - from < bytes ? r->wire_bytes - from : bytes;
        memcpy(out, r->wire + from, count);
        out += count;
        offset += count;
        bytes -= count;
    }
}

void trace_stream_read_sealed(struct trace_stream *s, uint64_t offset, uint8_t *out, size_t bytes)
{
    uint8_t wire[wire_max], explicit_nonce[8];
    if (bytes == 0)
        return;
    for (const struct record *r = record_at(s, offset); bytes > 0; r = r->next) {
        if (s->old_keys == NULL || s->old_epoch != r->epoch) {
            model_keys_free(s->old_keys);
            s->old_keys = keys_of(s, r->epoch);
            s->old_epoch = r->epoch;
        }
        model_put64(explicit_nonce, r->seal_seq);
        seal(&s->old_keys->seal, s->tls13, explicit_nonce, r->seal_seq, r, wire);
        const size_t from = (size_t)(offset - r->offset);
        const size_t count = r->wire_bytes - from < bytes ? r->wire_bytes - from : bytes;
        memcpy(out, wire + from, count);
        out += count;
        offset += count;
        bytes -= count;
    }
}

enum trace_byte trace_stream_byte(const struct trace_stream *s, uint64_t offset, uint64_t *record, bool *in_key_update)
{
    const struct record *const r = record_at(s, offset);
    const size_t at = (size_t)(offset - r->offset);
    *record = r->offset;
    *in_key_update = r->key_update;
    if (at < tls_header_bytes)
        return trace_byte_header;
    if (at < model_record_text_at(s->tls13))
        return trace_byte_nonce;
    return at < r->wire_bytes - tls_tag_bytes ? trace_byte_text : trace_byte_tag;
}

uint64_t trace_stream_record_end(const struct trace_stream *s, uint64_t offset)
{
    const struct record *const r = record_at(s, offset);
    return r->offset + r->wire_bytes;
}

uint64_t trace_stream_oldest(const struct trace_stream *s)
{
    return s->first != NULL ? s->first->offset : s->end;
}

void trace_stream_forget(struct trace_stream *s, uint64_t before)
{
    while (s->first != NULL && s->first->compared && s->first->next != NULL && s->first->offset + s->first->wire_bytes <= before) {
        struct record *const gone = s->first;
        s->first = gone->next;
        free(gone);
    }
}

unsigned trace_stream_epoch(const struct trace_stream *s, uint64_t offset)
{
    unsigned epoch = s->epoch;
    while (epoch > 0 && s->epoch_end[epoch - 1] > offset)
        epoch--;
    return epoch;
}

bool trace_stream_has_forbidden(const struct trace_stream *s)
{
    return s->forbidden;
}

bool trace_stream_compare(struct trace_stream *s, const struct model_record *record)
{
    struct record *const r = s->compare;
    if (r == NULL)
        return false;
    s->compare = r->next;
    r->compared = true;
    return record->type == r->type && record->content_bytes == r->content_bytes && record->epoch == r->epoch &&
           record->seq == r->seal_seq && memcmp(record->content, r->text, r->content_bytes) == 0;
}
