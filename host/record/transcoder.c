/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record goes through these states; whole records go from HEADER to HEADER.
 *
 *   HEADER ──▶ HOLD ────────────────────▶ HEADER      held until whole, then opened and sealed in its buffer
 *      └─────▶ NONCE ─▶ BODY ─▶ TAG ────▶ HEADER      cut through (NONCE: TLS 1.2 only)
 *
 * Output is owed from two places, drained before anything else: `stage` (headers, tags, records of our own) and `buf` (a held
 * record that is sealed).
 */
#include "record/transcoder.h"

#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "record/handshake_stream.h"
#include "record/record_impl.h"

enum state { HEADER, HOLD, NONCE, BODY, TAG };

enum { CHUNK = 4096 }; /* of a cut-through record: opened and sealed while it is in the first-level cache */

struct sl_transcoder {
    struct sl_record *open, *seal; /* behind this struct, in the same block */
    struct sl_transcoder_options options;
    uint16_t version;
    uint64_t seal_limit;
    sl_err dead;
    bool closed;      /* close_notify or a fatal alert of the sender passed */
    bool out_broken;  /* a record that left in part will never be genuine */
    bool seal_closed; /* an alert of our own was the last record */

    enum state state;
    uint8_t header[SL_TLS_HEADER_BYTES];
    size_t header_have;
    size_t fragment; /* of the record in progress */

    uint8_t *buf; /* HOLD: the record so far; HEADER: the sealed record that waits; BODY, TAG: plaintext that waits for its tag */
    size_t buf_cap, buf_len, buf_at;
    uint8_t stage[SL_TRANSCODER_OWN_RECORD_MAX];
    size_t stage_len, stage_at;

    struct sl_hs_stream handshake;

    struct {
        uint8_t nonce[SL_TLS12_NONCE_BYTES], tag[SL_TLS_TAG_BYTES];
        size_t nonce_have, tag_have;
        size_t text_len, text_at;
        size_t end;                /* index after the last byte so far that is not zero */
        uint8_t last;              /* that byte: the inner type, if no other comes */
        uint8_t first[2];          /* an alert, if it turns out to be one */
        struct sl_hs_stream trial; /* handshake, read as if the text were handshake messages */
        size_t trial_at;           /* text bytes given to it; those after it are `last` and zeros */
        sl_err trial_err;
    } cut;

    struct sl_transcoder_status count;
};

/* What a verified record turned out to be. */
struct judgement {
    struct sl_transcoder_record info;
    bool close_notify, fatal_alert;
};

/* ---- objects ---- */

static size_t round_up(size_t n)
{
    return (n + SL_GCM_ALIGN - 1) / SL_GCM_ALIGN * SL_GCM_ALIGN;
}

sl_err sl_transcoder_new(struct sl_record_half *open, struct sl_record_half *seal, const struct sl_transcoder_options *options,
                         struct sl_transcoder **out)
{
    const struct sl_gcm_engine *engine = options->engine != NULL ? options->engine : sl_gcm_engine_default();
    const size_t head = round_up(sizeof(struct sl_transcoder)), each = sl_record_size(engine);
    uint8_t *mem;
    if (open->version == 0 || seal->version == 0)
        return SL_ERR_INVALID;
    if (open->version != seal->version)
        return SL_ERR_UNSUPPORTED;
    if (options->seal_limit != 0 && options->seal_limit <= SL_TRANSCODER_SEAL_RESERVE)
        return SL_ERR_INVALID;
    sl_err err = sl_secret_alloc(head + 2 * each, (void **)&mem);
    if (err != SL_OK)
        return err;
    struct sl_transcoder *t = (struct sl_transcoder *)(void *)mem;
    if ((err = sl_record_init(mem + head, engine, open, &t->open)) != SL_OK ||
        (err = sl_record_init(mem + head + each, engine, seal, &t->seal)) != SL_OK)
        goto Exit;
    t->options = *options;
    if (t->options.hold_limit == 0)
        t->options.hold_limit = SL_TRANSCODER_HOLD;
    t->version = open->version;
    t->seal_limit = options->seal_limit != 0 && options->seal_limit < SL_RECORD_SEAL_MAX ? options->seal_limit : SL_RECORD_SEAL_MAX;
    t->seal->seal_limit = t->seal_limit;
    sl_wipe(open, sizeof(*open));
    sl_wipe(seal, sizeof(*seal));
    *out = t;
Exit:
    if (err != SL_OK) {
        if (t->open != NULL)
            sl_record_clear(t->open);
        sl_secret_free(mem);
    }
    return err;
}

static void drop_buffer(struct sl_transcoder *t)
{
    if (t->buf != NULL) {
        sl_wipe(t->buf, t->buf_cap);
        free(t->buf);
    }
    t->buf = NULL;
    t->buf_cap = t->buf_len = t->buf_at = 0;
}

static sl_err make_buffer(struct sl_transcoder *t, size_t cap)
{
    t->buf = malloc(cap);
    if (t->buf == NULL)
        return SL_ERR_NOMEM;
    t->buf_cap = cap;
    t->buf_len = t->buf_at = 0;
    return SL_OK;
}

void sl_transcoder_free(struct sl_transcoder *t)
{
    if (t == NULL)
        return;
    drop_buffer(t);
    sl_record_clear(t->open);
    sl_record_clear(t->seal);
    sl_secret_free(t);
}

/* G6: the first failure is the last. The seal side stays for an alert; the key of a TLS 1.3 or 1.2 open side is of no more use. */
static sl_err die(struct sl_transcoder *t, sl_err err)
{
    t->dead = err;
    drop_buffer(t);
    sl_record_clear(t->open);
    sl_wipe(&t->cut, sizeof(t->cut));
    return err;
}

/* ---- judging a verified record ---- */

static sl_err judge_alert(struct sl_transcoder *t, struct judgement *j, const uint8_t *first)
{
    if (j->info.length == 0)
        return SL_ERR_ALERT(SL_TLS_UNEXPECTED_MESSAGE); /* RFC 8446 section 5.4, RFC 5246 section 6.2.1 */
    if (j->info.length != 2)
        return SL_ERR_ALERT(SL_TLS_DECODE_ERROR); /* never fragmented, never two in a record: RFC 8446 section 5.1 */
    j->info.alert_level = first[0];
    j->info.alert = first[1];
    j->close_notify = first[1] == SL_TLS_CLOSE_NOTIFY;
    /* RFC 8446 section 6: the level is not to be believed in TLS 1.3 */
    j->fatal_alert =
        !j->close_notify && (t->version == SL_TLS13 ? first[1] != SL_TLS_USER_CANCELED : first[0] == SL_TLS_ALERT_FATAL);
    return SL_OK;
}

/*
 * Type, length and padding from the text of a verified record: `end` is the index after its last non-zero byte, `last` that byte,
 * `first` the first two bytes. Applies the rules for each type, except the content of TLS 1.3 handshake messages.
 */
static sl_err judge(struct sl_transcoder *t, struct judgement *j, uint8_t outer_type, size_t text_len, size_t end, uint8_t last,
                    const uint8_t *first)
{
    *j = (struct judgement){.info = {.epoch = t->open->half.epoch, .seq = t->open->half.seq, .outer_type = outer_type}};
    if (t->version == SL_TLS13) {
        if (end == 0)
            return SL_ERR_ALERT(SL_TLS_UNEXPECTED_MESSAGE); /* G10: nothing but zeros */
        j->info.type = last;
        j->info.length = end - 1;
        j->info.padding = text_len - end;
    } else {
        j->info.type = outer_type;
        j->info.length = text_len;
    }
    switch (j->info.type) {
    case SL_TLS_APPLICATION_DATA:
        /* RFC 8446 section 5.1: no other records between the parts of a handshake message */
        return t->handshake.have == 0 ? SL_OK : SL_ERR_ALERT(SL_TLS_UNEXPECTED_MESSAGE);
    case SL_TLS_ALERT:
        return judge_alert(t, j, first);
    case SL_TLS_HANDSHAKE:
        if (j->info.length == 0)
            return SL_ERR_ALERT(SL_TLS_UNEXPECTED_MESSAGE);
        if (t->version == SL_TLS13)
            return SL_OK;
        return first[0] == SL_TLS_HELLO_REQUEST || first[0] == SL_TLS_CLIENT_HELLO ? SL_ERR_ALERT(SL_TLS_NO_RENEGOTIATION)
                                                                                   : SL_ERR_ALERT(SL_TLS_UNEXPECTED_MESSAGE);
    default:
        return SL_ERR_ALERT(SL_TLS_UNEXPECTED_MESSAGE);
    }
}

static bool blocked(struct sl_transcoder *t, const struct judgement *j)
{
    enum sl_transcoder_verdict verdict = SL_VERDICT_PASS;
    if (t->options.on_record != NULL)
        t->options.on_record(t->options.arg, &j->info, &verdict);
    return verdict != SL_VERDICT_PASS;
}

/* After a record went out, or was left out: counters, and the next keys if it ended in a KeyUpdate. */
static sl_err settle(struct sl_transcoder *t, const struct judgement *j, size_t in_len, size_t out_len)
{
    sl_err err = SL_OK;
    t->open->half.seq++;
    t->count.records_in++;
    t->count.records_out += out_len > 0;
    t->count.bytes_in += in_len;
    t->count.bytes_out += out_len;
    if (j->info.type == SL_TLS_APPLICATION_DATA)
        t->count.content_bytes += j->info.length;
    if (j->close_notify)
        t->count.close_notify = true;
    if (j->fatal_alert) {
        t->count.alerted = true;
        t->count.alert = j->info.alert;
    }
    t->closed = j->close_notify || j->fatal_alert;
    t->count.tickets_dropped += t->handshake.tickets_dropped;
    t->handshake.tickets_dropped = 0;
    if (t->handshake.key_update) {
        t->handshake.key_update = t->handshake.update_requested = false;
        t->count.key_updates++;
        err = sl_record_step(t->open);
        /* At the last epoch the KeyUpdate was not passed on (G5): then the seal side stays. */
        if (err == SL_OK && t->seal->half.epoch < SL_RECORD_EPOCH_MAX)
            err = sl_record_step(t->seal);
    }
    return err;
}

/* ---- whole records ---- */

static unsigned dropped_messages(const struct sl_transcoder *t)
{
    return (t->options.drop_tickets ? (unsigned)SL_HS_DROP_TICKETS : 0) |
           (t->seal->half.epoch >= SL_RECORD_EPOCH_MAX ? (unsigned)SL_HS_DROP_KEY_UPDATES : 0);
}

/* Opens the record at `record` to out (the same place, or elsewhere) and judges it. Gives the text in out. */
static sl_err open_whole(struct sl_transcoder *t, const uint8_t *record, uint8_t *out, struct judgement *j, uint8_t **text,
                         size_t *text_len)
{
    const size_t nonce = sl_record_nonce_bytes(t->version), at = SL_TLS_HEADER_BYTES + nonce;
    uint8_t iv[SL_TLS_IV_BYTES], aad[SL_RECORD_AAD_MAX];
    if (t->open->half.seq == UINT64_MAX)
        return SL_ERR_LIMIT; /* G11: the sequence number never wraps */
    *text = out + at;
    *text_len = t->fragment - nonce - SL_TLS_TAG_BYTES;
    const uint8_t outer_type = record[0];
    sl_record_iv(t->open, nonce > 0 ? record + SL_TLS_HEADER_BYTES : NULL, iv);
    size_t aad_len = sl_record_aad(t->open, record, t->fragment, aad);
    sl_err err = sl_gcm_open(t->open->key, iv, aad, aad_len, record + at, *text, *text_len, record + at + *text_len);
    if (err != SL_OK)
        return err == SL_ERR_AUTH ? SL_ERR_ALERT(SL_TLS_BAD_RECORD_MAC) : err;
    const size_t end = t->version == SL_TLS13 ? sl_record_trim(*text, *text_len) : *text_len;
    const uint8_t last = end > 0 ? (*text)[end - 1] : 0;
    return judge(t, j, outer_type, *text_len, end, last, *text);
}

/* Handshake messages of a TLS 1.3 record: reads them, and closes the gaps that dropped ones leave. *text_len becomes 0 if none is
 * left. */
static sl_err filter_handshake(struct sl_transcoder *t, struct judgement *j, uint8_t *text, size_t *text_len)
{
    size_t kept;
    sl_err err = sl_hs_feed(&t->handshake, t->options.from_server, dropped_messages(t), text, j->info.length, text, &kept);
    if (err != SL_OK)
        return err;
    j->info.key_update = t->handshake.key_update;
    j->info.update_requested = t->handshake.update_requested;
    if (kept == j->info.length)
        return SL_OK;
    sl_wipe(text + kept, *text_len - kept);
    text[kept] = SL_TLS_HANDSHAKE;
    *text_len = kept > 0 ? kept + 1 : 0;
    j->info.dropped = kept == 0;
    return SL_OK;
}

/*
 * A record that lies whole at `record`: verified first, sealed then (G1: the seal side's nonce is not touched by a forged record).
 * The result is in out, *out_len bytes, 0 if it was left out. After a failure out holds nothing.
 */
static sl_err transcode_whole(struct sl_transcoder *t, const uint8_t *record, uint8_t *out, size_t *out_len)
{
    struct judgement j;
    uint8_t *text;
    size_t text_len;
    const size_t in_len = SL_TLS_HEADER_BYTES + t->fragment;
    *out_len = 0;
    sl_err err = open_whole(t, record, out, &j, &text, &text_len);
    if (err != SL_OK)
        goto Exit;
    if (t->options.on_plaintext != NULL)
        t->options.on_plaintext(t->options.arg, j.info.type, text, j.info.length);
    if (t->version == SL_TLS13 && j.info.type == SL_TLS_HANDSHAKE && (err = filter_handshake(t, &j, text, &text_len)) != SL_OK)
        goto Exit;
    if (blocked(t, &j)) {
        err = SL_ERR_DENIED;
        goto Exit;
    }
    if (!j.info.dropped) {
        if ((err = sl_record_seal_text(t->seal, j.info.outer_type, out, text_len)) != SL_OK)
            goto Exit;
        *out_len = SL_TLS_HEADER_BYTES + sl_record_nonce_bytes(t->version) + text_len + SL_TLS_TAG_BYTES;
    }
    err = settle(t, &j, in_len, *out_len);
    return err == SL_OK ? SL_OK : die(t, err); /* the record itself is good and leaves */
Exit:
    sl_wipe(out, in_len);
    return die(t, err);
}

/* ---- cut-through ---- */

/* The tag that is certainly wrong. A function of the right one would tell it to whoever reads the wire and could then be undone
 * there: so a constant, which tells nothing. */
static void poison(uint8_t tag[SL_TLS_TAG_BYTES])
{
    static const uint8_t zeros[SL_TLS_TAG_BYTES];
    memset(tag, sl_secret_equal(tag, zeros, SL_TLS_TAG_BYTES) ? 0xff : 0, SL_TLS_TAG_BYTES);
}

static sl_err begin_streams(struct sl_transcoder *t)
{
    uint8_t iv[SL_TLS_IV_BYTES], aad[SL_RECORD_AAD_MAX];
    sl_record_iv(t->open, t->version == SL_TLS12 ? t->cut.nonce : NULL, iv);
    size_t aad_len = sl_record_aad(t->open, t->header, t->fragment, aad);
    sl_err err = sl_gcm_begin(t->open->key, &t->open->stream, iv, aad, aad_len);
    if (err != SL_OK)
        return err;
    sl_record_iv(t->seal, NULL, iv);
    aad_len = sl_record_aad(t->seal, t->header, t->fragment, aad);
    return sl_gcm_begin(t->seal->key, &t->seal->stream, iv, aad, aad_len);
}

/* The header was read: from here on bytes of this record leave. */
static sl_err begin_cut(struct sl_transcoder *t)
{
    const size_t nonce = sl_record_nonce_bytes(t->version);
    if (t->open->half.seq == UINT64_MAX)
        return die(t, SL_ERR_LIMIT);
    if (t->options.on_plaintext != NULL) {
        sl_err err = make_buffer(t, t->fragment);
        if (err != SL_OK)
            return err;
    }
    memset(&t->cut, 0, sizeof(t->cut));
    t->cut.text_len = t->fragment - nonce - SL_TLS_TAG_BYTES;
    t->cut.trial = t->handshake;
    memcpy(t->stage, t->header, SL_TLS_HEADER_BYTES);
    if (nonce > 0)
        sl_record_write_nonce(t->seal, t->stage + SL_TLS_HEADER_BYTES);
    t->stage_len = SL_TLS_HEADER_BYTES + nonce;
    t->stage_at = 0;
    if (nonce > 0) {
        t->state = NONCE;
        return SL_OK;
    }
    t->state = BODY;
    sl_err err = begin_streams(t);
    if (err != SL_OK) {
        t->out_broken = true;
        return die(t, err);
    }
    return SL_OK;
}

/* The bytes [trial_at, end - 1) of the text are content for sure: gives them to the trial. [end - 1, ...) may be type and padding.
 */
static void try_handshake(struct sl_transcoder *t, const uint8_t *text, size_t len, uint8_t candidate, size_t zeros)
{
    static const uint8_t nothing[256];
    sl_err *err = &t->cut.trial_err;
    if (t->cut.end > 0 && *err == SL_OK) {
        *err = sl_hs_feed(&t->cut.trial, t->options.from_server, 0, &candidate, 1, NULL, NULL);
        for (; zeros > 0 && *err == SL_OK; zeros -= zeros < sizeof(nothing) ? zeros : sizeof(nothing))
            *err = sl_hs_feed(&t->cut.trial, t->options.from_server, 0, nothing, zeros < sizeof(nothing) ? zeros : sizeof(nothing),
                              NULL, NULL);
    }
    if (*err == SL_OK)
        *err = sl_hs_feed(&t->cut.trial, t->options.from_server, 0, text, len, NULL, NULL);
}

/* Notes what must be known of the text when the record ends. Nothing of it is kept for anybody but on_plaintext. */
static void note_text(struct sl_transcoder *t, const uint8_t *text, size_t len)
{
    const size_t at = t->cut.text_at;
    for (size_t i = at; i < 2 && i - at < len; i++)
        t->cut.first[i] = text[i - at];
    if (t->options.on_plaintext != NULL) {
        memcpy(t->buf + t->buf_len, text, len);
        t->buf_len += len;
    }
    if (t->version == SL_TLS12)
        return;
    size_t end = sl_record_trim(text, len);
    if (end > 0) {
        try_handshake(t, text, end - 1, t->cut.last, at - t->cut.end);
        t->cut.end = at + end;
        t->cut.last = text[end - 1];
    }
}

static sl_err cut_text(struct sl_transcoder *t, const uint8_t *in, uint8_t *out, size_t len)
{
    sl_err err = sl_gcm_decrypt(t->open->key, &t->open->stream, in, out, len);
    if (err == SL_OK) {
        note_text(t, out, len);
        err = sl_gcm_encrypt(t->seal->key, &t->seal->stream, out, out, len);
    }
    t->cut.text_at += len;
    if (err == SL_OK)
        return SL_OK;
    sl_wipe(out, len);
    t->out_broken = true;
    return die(t, err);
}

/* All 16 bytes of the incoming tag are there: now, and not before, it is known what this record was. */
static sl_err end_cut(struct sl_transcoder *t)
{
    struct judgement j;
    uint8_t tag[SL_TLS_TAG_BYTES];
    const size_t total = SL_TLS_HEADER_BYTES + t->fragment;
    sl_err err = sl_gcm_finish(t->seal->key, &t->seal->stream, tag);
    if (err != SL_OK)
        goto Exit;
    err = sl_gcm_verify(t->open->key, &t->open->stream, t->cut.tag);
    if (err != SL_OK) {
        err = err == SL_ERR_AUTH ? SL_ERR_ALERT(SL_TLS_BAD_RECORD_MAC) : err;
        goto Exit;
    }
    const size_t end = t->version == SL_TLS13 ? t->cut.end : t->cut.text_len;
    if ((err = judge(t, &j, t->header[0], t->cut.text_len, end, t->cut.last, t->cut.first)) != SL_OK)
        goto Exit;
    j.info.cut_through = true;
    if (t->version == SL_TLS13 && j.info.type == SL_TLS_HANDSHAKE) {
        if ((err = t->cut.trial_err) != SL_OK)
            goto Exit;
        if (t->cut.trial.key_update && t->seal->half.epoch >= SL_RECORD_EPOCH_MAX) {
            err = SL_ERR_LIMIT; /* G5: it cannot be held back any more */
            goto Exit;
        }
        t->handshake = t->cut.trial;
        j.info.key_update = t->handshake.key_update;
        j.info.update_requested = t->handshake.update_requested;
    }
    if (t->options.on_plaintext != NULL)
        t->options.on_plaintext(t->options.arg, j.info.type, t->buf, j.info.length);
    if (blocked(t, &j))
        err = SL_ERR_DENIED;
Exit:
    if (err != SL_OK)
        poison(tag);
    memcpy(t->stage, tag, sizeof(tag));
    t->stage_len = sizeof(tag);
    t->stage_at = 0;
    t->seal->half.seq++; /* this nonce is spent whatever the tag is worth (G1) */
    drop_buffer(t);
    t->state = HEADER;
    t->header_have = 0;
    if (err == SL_OK && (err = settle(t, &j, total, total)) == SL_OK)
        return SL_OK;
    t->out_broken = true;
    return die(t, err);
}

/* ---- the stream ---- */

struct io {
    const uint8_t *in;
    size_t in_left;
    uint8_t *out;
    size_t out_left;
    bool gave; /* in this call */
    bool full; /* the next record will pass whole if the caller makes room */
};

static void took(struct io *io, size_t n)
{
    io->in += n;
    io->in_left -= n;
}

static void gave(struct io *io, size_t n)
{
    io->out += n;
    io->out_left -= n;
    io->gave = io->gave || n > 0;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void drain(struct sl_transcoder *t, struct io *io)
{
    size_t n = smaller(t->stage_len - t->stage_at, io->out_left);
    if (n > 0) {
        memcpy(io->out, t->stage + t->stage_at, n);
        t->stage_at += n;
        gave(io, n);
    }
    if (t->state != HEADER || t->buf == NULL || t->stage_at < t->stage_len)
        return;
    n = smaller(t->buf_len - t->buf_at, io->out_left);
    memcpy(io->out, t->buf + t->buf_at, n);
    t->buf_at += n;
    gave(io, n);
    if (t->buf_at == t->buf_len)
        drop_buffer(t);
}

size_t sl_transcoder_pending(const struct sl_transcoder *t)
{
    return t->stage_len - t->stage_at + (t->state == HEADER ? t->buf_len - t->buf_at : 0);
}

/* Copies input to a small field until it is full; true when it is. */
static bool collect(struct io *io, uint8_t *field, size_t *have, size_t want)
{
    size_t n = smaller(want - *have, io->in_left);
    if (n > 0)
        memcpy(field + *have, io->in, n);
    *have += n;
    took(io, n);
    return *have == want;
}

static bool key_update_wanted(const struct sl_transcoder *t)
{
    return t->version == SL_TLS13 && t->seal->half.seq >= t->seal_limit - t->seal_limit / 8 &&
           t->seal->half.epoch < SL_RECORD_EPOCH_MAX;
}

/* Whether the seal side may take one more record of the stream (G3). */
static bool may_seal(const struct sl_transcoder *t)
{
    return t->seal->half.seq < t->seal_limit - SL_TRANSCODER_SEAL_RESERVE;
}

static sl_err seal_key_update(struct sl_transcoder *t, uint8_t *out, size_t out_cap, size_t *produced)
{
    static const uint8_t message[] = {SL_TLS_KEY_UPDATE, 0, 0, 1, 0};
    sl_err err = sl_record_seal(t->seal, SL_TLS_HANDSHAKE, message, sizeof(message), 0, out, out_cap, produced);
    if (err != SL_OK)
        return err;
    t->count.records_out++;
    t->count.bytes_out += *produced;
    err = sl_record_step(t->seal);
    return err == SL_OK ? SL_OK : die(t, err);
}

/* At a boundary on both sides. */
static sl_err rekey_if_wanted(struct sl_transcoder *t)
{
    if (!t->options.auto_rekey || !key_update_wanted(t) || t->handshake.have > 0)
        return SL_OK;
    t->stage_at = 0;
    sl_err err = seal_key_update(t, t->stage, sizeof(t->stage), &t->stage_len);
    return err == SL_OK ? SL_OK : die(t, err);
}

/* A header was read and its record does not pass whole: held, or cut through? */
static sl_err begin_record(struct sl_transcoder *t)
{
    sl_err err;
    const bool hold = t->fragment <= t->options.hold_limit ||
                      t->handshake.dropping /* the rest of a dropped message must not leave either */
                      || (t->version == SL_TLS12 && t->header[0] != SL_TLS_APPLICATION_DATA);
    if (!hold)
        return begin_cut(t);
    if ((err = make_buffer(t, SL_TLS_HEADER_BYTES + t->fragment)) != SL_OK)
        return err;
    memcpy(t->buf, t->header, SL_TLS_HEADER_BYTES);
    t->buf_len = SL_TLS_HEADER_BYTES;
    t->state = HOLD;
    return SL_OK;
}

static sl_err feed_header(struct sl_transcoder *t, struct io *io)
{
    uint8_t type;
    size_t produced;
    sl_err err;
    if (t->header_have == 0) {
        if ((err = rekey_if_wanted(t)) != SL_OK || t->stage_at < t->stage_len)
            return err;
        if (io->in_left >= SL_TLS_HEADER_BYTES) {
            if ((err = sl_record_parse_header(t->version, io->in, &type, &t->fragment)) != SL_OK)
                return die(t, err);
            const size_t total = SL_TLS_HEADER_BYTES + t->fragment;
            if (io->in_left >= total && io->out_left < total && io->gave) {
                io->full = true;
                return SL_OK;
            }
            if (io->in_left >= total && io->out_left >= total) {
                if (!may_seal(t))
                    return die(t, SL_ERR_LIMIT);
                err = transcode_whole(t, io->in, io->out, &produced);
                took(io, total);
                gave(io, produced);
                return err;
            }
        }
    }
    if (!collect(io, t->header, &t->header_have, SL_TLS_HEADER_BYTES))
        return SL_OK;
    if ((err = sl_record_parse_header(t->version, t->header, &type, &t->fragment)) != SL_OK)
        return die(t, err);
    if (!may_seal(t))
        return die(t, SL_ERR_LIMIT);
    return begin_record(t);
}

static sl_err feed_hold(struct sl_transcoder *t, struct io *io)
{
    size_t sealed;
    if (!collect(io, t->buf, &t->buf_len, SL_TLS_HEADER_BYTES + t->fragment))
        return SL_OK;
    t->state = HEADER;
    t->header_have = 0;
    sl_err err = transcode_whole(t, t->buf, t->buf, &sealed);
    if (t->buf != NULL)
        t->buf_len = sealed;
    if (sealed == 0)
        drop_buffer(t);
    return err;
}

static sl_err feed_nonce(struct sl_transcoder *t, struct io *io)
{
    if (!collect(io, t->cut.nonce, &t->cut.nonce_have, SL_TLS12_NONCE_BYTES))
        return SL_OK;
    t->state = BODY;
    sl_err err = begin_streams(t);
    if (err != SL_OK) {
        t->out_broken = true;
        return die(t, err);
    }
    return SL_OK;
}

static sl_err feed_body(struct sl_transcoder *t, struct io *io)
{
    size_t n = smaller(smaller(t->cut.text_len - t->cut.text_at, CHUNK), smaller(io->in_left, io->out_left));
    sl_err err = n > 0 ? cut_text(t, io->in, io->out, n) : SL_OK;
    if (err != SL_OK)
        return err;
    took(io, n);
    gave(io, n);
    if (t->cut.text_at == t->cut.text_len)
        t->state = TAG;
    return SL_OK;
}

static sl_err feed_tag(struct sl_transcoder *t, struct io *io)
{
    return collect(io, t->cut.tag, &t->cut.tag_have, SL_TLS_TAG_BYTES) ? end_cut(t) : SL_OK;
}

static sl_err advance(struct sl_transcoder *t, struct io *io)
{
    switch (t->state) {
    case HEADER:
        return feed_header(t, io);
    case HOLD:
        return feed_hold(t, io);
    case NONCE:
        return feed_nonce(t, io);
    case BODY:
        return feed_body(t, io);
    default:
        return feed_tag(t, io);
    }
}

sl_err sl_transcoder_feed(struct sl_transcoder *t, const uint8_t *in, size_t in_len, uint8_t *out, size_t out_cap, size_t *consumed,
                          size_t *produced)
{
    struct io io = {.in = in, .in_left = in_len, .out = out, .out_left = out_cap};
    sl_err err;
    for (;;) {
        drain(t, &io);
        if ((err = t->dead) != SL_OK || sl_transcoder_pending(t) > 0)
            break;
        if (t->closed)
            took(&io, io.in_left); /* RFC 8446 section 6.1: ignored */
        if (io.in_left == 0 || io.full || (t->state == BODY && io.out_left == 0))
            break;
        if ((err = advance(t, &io)) != SL_OK) {
            drain(t, &io);
            break;
        }
    }
    *consumed = in_len - io.in_left;
    *produced = out_cap - io.out_left;
    return err;
}

/* ---- records of our own ---- */

static bool at_out_boundary(const struct sl_transcoder *t)
{
    return (t->state == HEADER || t->state == HOLD) && sl_transcoder_pending(t) == 0 && !t->out_broken;
}

sl_err sl_transcoder_seal_alert(struct sl_transcoder *t, uint8_t level, uint8_t description, uint8_t *out, size_t out_cap,
                                size_t *produced)
{
    if (t->version == SL_TLS13)
        level =
            description == SL_TLS_CLOSE_NOTIFY || description == SL_TLS_USER_CANCELED ? SL_TLS_ALERT_WARNING : SL_TLS_ALERT_FATAL;
    const uint8_t message[2] = {level, description};
    if (!at_out_boundary(t) || t->seal_closed || t->seal->key == NULL)
        return SL_ERR_STATE;
    sl_err err = sl_record_seal(t->seal, SL_TLS_ALERT, message, sizeof(message), 0, out, out_cap, produced);
    if (err != SL_OK)
        return err;
    t->count.records_out++;
    t->count.bytes_out += *produced;
    t->seal_closed = level == SL_TLS_ALERT_FATAL || description == SL_TLS_CLOSE_NOTIFY;
    if (t->seal_closed && t->dead == SL_OK)
        die(t, SL_ERR_STATE);
    return SL_OK;
}

sl_err sl_transcoder_seal_key_update(struct sl_transcoder *t, uint8_t *out, size_t out_cap, size_t *produced)
{
    if (t->version != SL_TLS13)
        return SL_ERR_UNSUPPORTED;
    if (t->dead != SL_OK || !at_out_boundary(t) || t->seal_closed || t->handshake.have > 0)
        return SL_ERR_STATE;
    if (t->seal->half.epoch >= SL_RECORD_EPOCH_MAX)
        return SL_ERR_LIMIT;
    return seal_key_update(t, out, out_cap, produced);
}

/* ---- looking in, moving out ---- */

void sl_transcoder_status(const struct sl_transcoder *t, struct sl_transcoder_status *out)
{
    *out = t->count;
    out->dead = t->dead;
    out->in_boundary = t->state == HEADER && t->header_have == 0;
    out->out_boundary = at_out_boundary(t);
    out->in_message = t->handshake.have > 0;
    out->key_update_wanted = key_update_wanted(t);
    out->open_epoch = t->open->half.epoch;
    out->open_seq = t->open->half.seq;
    out->seal_epoch = t->seal->half.epoch;
    out->seal_seq = t->seal->half.seq;
    out->heap_bytes = t->buf_cap;
}

sl_err sl_transcoder_export(struct sl_transcoder *t, struct sl_record_half *open, struct sl_record_half *seal)
{
    if (t->dead != SL_OK || t->closed || t->seal_closed || t->state != HEADER || t->header_have > 0 || !at_out_boundary(t) ||
        t->handshake.have > 0)
        return SL_ERR_STATE;
    sl_record_half_move(open, &t->open->half);
    sl_record_half_move(seal, &t->seal->half);
    die(t, SL_ERR_STATE);
    sl_record_clear(t->seal);
    return SL_OK;
}
