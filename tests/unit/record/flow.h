/* SPDX-License-Identifier: Apache-2.0 */
/* A flow for tests: the reference plays the sender of one leg and the receiver of the other, with the transcoder between them. */
#pragma once

#include "record/transcoder.h"
#include "reference.h"

enum { SEEN_MAX = 256 };

struct flow {
    struct ref sender, receiver;
    struct sl_transcoder *t;
    struct sl_transcoder_options options;
    struct sl_record_leg *from, *to;

    /* what the callbacks saw */
    struct sl_transcoder_record seen[SEEN_MAX];
    size_t seen_count;
    uint8_t *plain; /* all application data, in order; owned by the test; NULL: not noted */
    size_t plain_len, plain_calls;
    size_t block_at; /* block the record with this index; SIZE_MAX: none */
};

static inline void flow_on_plaintext(void *arg, enum sl_tls_content type, const uint8_t *bytes, size_t len)
{
    struct flow *f = arg;
    f->plain_calls++;
    if (f->plain != NULL && type == SL_TLS_APPLICATION_DATA) {
        memcpy(f->plain + f->plain_len, bytes, len);
        f->plain_len += len;
    }
}

static inline void flow_on_record(void *arg, const struct sl_transcoder_record *record, enum sl_transcoder_verdict *verdict)
{
    struct flow *f = arg;
    if (f->seen_count < SEEN_MAX)
        f->seen[f->seen_count] = *record;
    if (f->seen_count++ == f->block_at)
        *verdict = SL_VERDICT_BLOCK;
}

/* The keys of both legs, from different secrets; AES sizes may differ. epoch and seq are those of the seal half (TLS 1.3). */
static inline sl_err flow_open_at(struct flow *f, uint16_t suite_in, uint16_t suite_out, uint64_t epoch, uint64_t seal_seq)
{
    uint8_t secret[48], randoms[64];
    const uint16_t ids[2] = {suite_in, suite_out};
    struct ref *refs[2] = {&f->sender, &f->receiver};
    uint64_t rnd = 99;
    REF_CHECK(sl_record_leg_new(&f->from) == SL_OK && sl_record_leg_new(&f->to) == SL_OK);
    struct sl_record_leg *legs[2] = {f->from, f->to};
    for (int i = 0; i < 2; i++) {
        const struct sl_suite *suite = sl_suite_find(ids[i]);
        ref_fill(&rnd, secret, sizeof(secret));
        ref_fill(&rnd, randoms, sizeof(randoms));
        if (suite->version == SL_TLS13) {
            ref_init_13(refs[i], suite->key_len, suite->hash_len, secret);
            REF_CHECK(sl_record_half_tls13(&legs[i]->client_write, ids[i], secret, suite->hash_len, i ? epoch : 0,
                                           i ? seal_seq : 0) == SL_OK);
            refs[i]->seq = i ? seal_seq : 0;
        } else {
            struct ref server;
            ref_init_12(refs[i], &server, suite->key_len, suite->hash_len, secret, randoms, randoms + 32);
            if (i == 1)
                refs[i]->seq += seal_seq;
            REF_CHECK(sl_record_leg_tls12(legs[i], ids[i], secret, randoms, randoms + 32, refs[i]->seq, 1) == SL_OK);
        }
    }
    f->options.arg = f;
    return sl_transcoder_new(&f->from->client_write, &f->to->client_write, &f->options, &f->t);
}

static inline void flow_open(struct flow *f, uint16_t suite_in, uint16_t suite_out)
{
    REF_CHECK(flow_open_at(f, suite_in, suite_out, 0, 0) == SL_OK);
}

static inline void flow_watch(struct flow *f)
{
    f->options.on_record = flow_on_record;
    f->options.on_plaintext = flow_on_plaintext;
    f->block_at = SIZE_MAX;
}

static inline void flow_close(struct flow *f)
{
    sl_transcoder_free(f->t);
    sl_record_leg_free(f->from);
    sl_record_leg_free(f->to);
    f->t = NULL;
    f->from = f->to = NULL;
}

/* How a stream is cut: pieces of 1..max bytes (max 0: all at once) of input, and of room for output. */
struct cut {
    size_t in_max, out_max;
};

/* Feeds len bytes; gives the first error, or SL_OK when everything was consumed and nothing is owed. */
static inline sl_err flow_run(struct flow *f, const uint8_t *in, size_t len, struct cut cut, uint64_t *rnd, uint8_t *out,
                              size_t out_cap, size_t *out_len)
{
    size_t at = 0, stalled = 0;
    *out_len = 0;
    while (at < len || sl_transcoder_pending(f->t) > 0) {
        size_t n = cut.in_max == 0 ? len - at : 1 + ref_below(rnd, cut.in_max), room = out_cap - *out_len, consumed, produced;
        n = n < len - at ? n : len - at;
        if (cut.out_max > 0) {
            size_t m = ref_below(rnd, cut.out_max + 1);
            room = m < room ? m : room;
        }
        sl_err err = sl_transcoder_feed(f->t, in + at, n, out + *out_len, room, &consumed, &produced);
        REF_CHECK(consumed <= n && produced <= room);
        at += consumed;
        *out_len += produced;
        if (err != SL_OK)
            return err;
        stalled = consumed + produced == 0 ? stalled + 1 : 0;
        REF_CHECK(stalled < 1000);
    }
    return SL_OK;
}

static inline sl_err flow_feed_all(struct flow *f, const uint8_t *in, size_t len, uint8_t *out, size_t out_cap, size_t *out_len)
{
    uint64_t rnd = 1;
    return flow_run(f, in, len, (struct cut){0, 0}, &rnd, out, out_cap, out_len);
}
