/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream transcoder: one direction of a flow, opened with the keys of the leg it comes from and sealed with those of the leg it
 * goes to.
 *
 *   bytes of one leg ──feed──▶ header ─▶ open ─▶ verified? ─▶ callbacks ─▶ seal ──▶ bytes of the other leg
 *
 * Both legs have the same TLS version and so the same AEAD overhead: a record keeps its length, its inner type and its padding.
 *
 * Three ways through, the same bytes out:
 *   whole        the record lies whole in the input and fits the output: opened, verified, shown, sealed; nothing is kept.
 *   held         a short record (fragment <= hold_limit) that arrives in parts is collected first, then as above.
 *   cut-through  a longer one leaves as it comes; only its last 16 bytes wait. If its tag is wrong, or the inspector blocks it, a
 * tag that is certainly wrong goes out instead, one that tells nothing about the right one. In all three no plaintext reaches a
 * callback before the tag of its record was verified (G7), and no record is sealed twice (G1).
 *
 * Memory: idle, one block of secret memory. A record in parts adds one heap buffer, given back when the record is done; cut-through
 * adds one only if on_plaintext is set.
 *
 * Records after the handshake, by type:
 *   application_data   transcoded.
 *   alert              transcoded and reported. After close_notify or a fatal alert further input is taken and ignored (RFC 8446
 * section 6.1). handshake          TLS 1.3: KeyUpdate is transcoded, then both sides step to their next keys. NewSessionTicket from
 * the server is transcoded, or left out if drop_tickets is set. Anything else: unexpected_message. TLS 1.2: HelloRequest and
 * ClientHello: no_renegotiation; anything else: unexpected_message. other              unexpected_message.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "record/gcm.h"
#include "record/keys.h"
#include "record/record.h"
#include "record/tls.h"

enum {
    SL_TRANSCODER_HOLD = 4096,                  /* default hold_limit */
    SL_TRANSCODER_HOLD_ALL = SL_TLS_RECORD_MAX, /* a hold_limit with which nothing leaves unverified */
    SL_TRANSCODER_SEAL_RESERVE = 4,             /* of them kept for a KeyUpdate or alerts of our own */
    SL_TRANSCODER_OWN_RECORD_MAX = 64           /* room that always suffices for a record of our own */
};

enum sl_transcoder_verdict { SL_VERDICT_PASS, SL_VERDICT_BLOCK };

/* One verified record. */
struct sl_transcoder_record {
    uint64_t epoch, seq;   /* of the open side */
    uint8_t outer_type;    /* in the record header */
    uint8_t type;          /* of the content: enum sl_tls_content */
    bool cut_through;      /* most of it has left already */
    bool dropped;          /* it will not leave: only tickets were in it */
    bool key_update;       /* its last message is a KeyUpdate */
    bool update_requested; /* ... and asks for one in return */
    uint8_t alert_level;   /* for alerts: as received */
    uint8_t alert;         /* for alerts: description */
    size_t length;         /* of the content, bytes */
    size_t padding;        /* zero bytes after the inner type (TLS 1.3) */
};

struct sl_transcoder_options {
    const struct sl_gcm_engine *engine; /* NULL: the default */
    bool from_server;                   /* this direction carries what the server sends */
    bool drop_tickets;                  /* leave NewSessionTicket out, when its record is not cut through */
    bool auto_rekey;                    /* TLS 1.3: near the limit insert a KeyUpdate of our own on the seal side */
    size_t hold_limit;                  /* fragment bytes; 0: SL_TRANSCODER_HOLD */
    uint64_t seal_limit; /* records under one key; 0 or more than it: SL_RECORD_SEAL_MAX; > SL_TRANSCODER_SEAL_RESERVE */

    /* The content of a verified record, without padding, before on_record. The bytes are borrowed for the call. NULL: nobody looks.
     */
    void (*on_plaintext)(void *arg, enum sl_tls_content type, const uint8_t *bytes, size_t len);
    /* A record was verified. Setting *verdict to SL_VERDICT_BLOCK stops it and kills the transcoder with SL_ERR_DENIED. NULL: all
     * pass. */
    void (*on_record)(void *arg, const struct sl_transcoder_record *record, enum sl_transcoder_verdict *verdict);
    void *arg;
    /* The callbacks must not call the transcoder. */
};

struct sl_transcoder;

/*
 * Takes both halves over: on success they are wiped, so that no second object can start from the same counter; after a failure they
 * are unchanged. SL_ERR_INVALID: an empty half, or an option out of range. SL_ERR_UNSUPPORTED: the versions differ. SL_ERR_NOMEM,
 * SL_ERR_CRYPTO.
 */
sl_err sl_transcoder_new(struct sl_record_half *open, struct sl_record_half *seal, const struct sl_transcoder_options *options,
                         struct sl_transcoder **out);
void sl_transcoder_free(struct sl_transcoder *t); /* wipes keys and everything held; NULL is allowed */

/*
 * Takes input and gives output, any number of bytes of either; in and out do not overlap. *consumed and *produced are set whatever
 * is returned, and what was produced is to be sent even with an error.
 *
 * SL_OK with *consumed < in_len: out is full, call again with room. Bytes may be owed without further input
 * (sl_transcoder_pending): call with in_len 0. Any out_cap makes progress; SL_TLS_RECORD_MAX lets whole records pass without being
 * buffered.
 *
 * SL_ERR_NOMEM: nothing was lost, the call may be repeated for what was not consumed. Every other error is final (G6): the
 * transcoder is dead, its plaintext and keys of the open side are wiped, and every later feed gives the same error:
 *   SL_ERR_ALERT(bad_record_mac | record_overflow | unexpected_message | decode_error | illegal_parameter | no_renegotiation)
 *                         to be sent to the sender; to the receiver, bad_record_mac or the like by sl_transcoder_seal_alert
 *   SL_ERR_DENIED         the verdict was to block
 *   SL_ERR_LIMIT          the seal side has reached its limit (cause REC_KEY_LIMIT), or the last sequence number of the open side
 * was used SL_ERR_STATE          it was exported, or its seal side closed by an alert of our own SL_ERR_CRYPTO
 */
sl_err sl_transcoder_feed(struct sl_transcoder *t, const uint8_t *in, size_t in_len, uint8_t *out, size_t out_cap, size_t *consumed,
                          size_t *produced);

/* Bytes that are ready and wait for room. */
size_t sl_transcoder_pending(const struct sl_transcoder *t);

/*
 * Records of our own, between those of the stream. Also for a dead transcoder, as long as its output stands at a record boundary.
 * SL_ERR_STATE: bytes of an unfinished record have left, or wait (then only a reset remains), or close_notify or a fatal alert was
 * sealed already, or the state was exported. SL_ERR_SHORT: out_cap too small. SL_ERR_LIMIT: the reserve is used up. After a
 * failure nothing has changed.
 */
/* Alert: in TLS 1.3 the level is set by the description. After close_notify or a fatal one the seal side is closed. */
sl_err sl_transcoder_seal_alert(struct sl_transcoder *t, uint8_t level, uint8_t description, uint8_t *out, size_t out_cap,
                                size_t *produced);
/* TLS 1.3 KeyUpdate (update_not_requested), then steps the seal side alone. SL_ERR_UNSUPPORTED: TLS 1.2. */
sl_err sl_transcoder_seal_key_update(struct sl_transcoder *t, uint8_t *out, size_t out_cap, size_t *produced);

struct sl_transcoder_status {
    sl_err dead;       /* SL_OK, or the error that every feed gives now */
    bool in_boundary;  /* no part of an input record has been taken */
    bool out_boundary; /* no part of an output record is owed or missing */
    bool in_message;   /* a handshake message spans the boundary: not a moment to promote */
    bool close_notify; /* the sender has closed */
    bool alerted;      /* the sender has sent a fatal alert: this one */
    uint8_t alert;
    bool key_update_wanted; /* 7/8 of the seal limit are used */
    uint64_t open_epoch, open_seq;
    uint64_t seal_epoch, seal_seq;
    uint64_t records_in, records_out; /* whole ones since the start */
    uint64_t bytes_in, bytes_out;     /* on the wire */
    uint64_t content_bytes;           /* verified application data */
    uint64_t key_updates;             /* of the sender */
    uint64_t tickets_dropped;         /* messages */
    size_t heap_bytes;                /* held at this moment beside the fixed block */
};
void sl_transcoder_status(const struct sl_transcoder *t, struct sl_transcoder_status *out);

/*
 * Moves the keys and counters out, to be installed elsewhere (on a card). It is a move (G1): afterwards this object is dead with
 * SL_ERR_STATE and its keys are wiped. Only at a record boundary of both sides with nothing pending, outside a handshake message,
 * alive and not closed: else SL_ERR_STATE, and nothing has changed. open and seal lie in secret memory.
 */
sl_err sl_transcoder_export(struct sl_transcoder *t, struct sl_record_half *open, struct sl_record_half *seal);
