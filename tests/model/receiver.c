/* SPDX-License-Identifier: Apache-2.0 */
/* TCP: a window of bytes with a flag each, whether it has come; the first copy stays. TLS: record by record from its front. */
#include "receiver.h"

#include <stdlib.h>
#include <string.h>

#include "record.h"

enum {
    window = 1 << 17, /* power of two */
    epochs_max = 64,
    fragment_max_tls13 = tls_plaintext_max + 256, /* RFC 8446 section 5.2 */
    fragment_max_tls12 = tls_plaintext_max + 2048 /* RFC 5246 section 6.2.3 */
};

struct model_receiver {
    bool tls13, refused;
    struct model_ciphers ciphers;
    struct model_keys *keys; /* of this epoch; NULL: not given yet */
    struct key_set later[epochs_max];
    unsigned later_first, later_count;
    uint32_t ack;    /* everything before has come */
    uint32_t record; /* where the next record begins */
    uint64_t seq;    /* its sequence number */
    uint32_t epoch;
    uint8_t byte[window];
    bool have[window];
    uint8_t plain[1 << 15], cipher[1 << 15];
};

struct model_receiver *model_receiver_new(bool tls13, uint32_t seq, uint64_t seal_seq, const struct key_set *keys)
{
    struct model_receiver *r = model_alloc(sizeof *r);
    model_ciphers_get(&r->ciphers);
    r->tls13 = tls13;
    r->ack = r->record = seq;
    r->seq = seal_seq;
    r->keys = model_keys_new(&r->ciphers, keys);
    return r;
}

void model_receiver_free(struct model_receiver *r)
{
    if (r == NULL)
        return;
    model_keys_free(r->keys);
    model_ciphers_free(&r->ciphers);
    free(r);
}

void model_receiver_keys(struct model_receiver *r, const struct key_set *keys)
{
    if (r->keys == NULL) {
        r->keys = model_keys_new(&r->ciphers, keys);
        return;
    }
    model_check(r->later_count < epochs_max, "too many epochs in advance");
    r->later[(r->later_first + r->later_count++) % epochs_max] = *keys;
}

void model_receiver_bytes(struct model_receiver *r, uint32_t seq, const uint8_t *payload, size_t bytes)
{
    if (r->refused)
        return;
    for (size_t i = 0; i < bytes; i++) {
        const uint32_t at = seq + (uint32_t)i;
        if (at - r->ack >= window - (r->ack - r->record) || r->have[at % window]) /* before, or far ahead, or there */
            continue;
        r->byte[at % window] = payload[i];
        r->have[at % window] = true;
    }
    while (r->ack - r->record < window && r->have[r->ack % window])
        r->ack++;
}

bool model_receiver_frame(struct model_receiver *r, const uint8_t *frame, size_t bytes)
{
    const struct model_headers h = model_parse(frame, bytes, false);
    if (h.reason != model_reason_none || h.flow.proto != 6)
        return false;
    model_receiver_bytes(r, h.seq, frame + h.payload, h.payload_bytes);
    return true;
}

static void peek(const struct model_receiver *r, size_t offset, uint8_t *out, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        out[i] = r->byte[(r->record + offset + i) % window];
}

static void advance(struct model_receiver *r, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        r->have[(r->record + i) % window] = false;
    r->record += (uint32_t)bytes;
}

static bool is_key_update(const struct model_record *record)
{
    const uint8_t *const end = record->content + record->content_bytes;
    return record->type == tls_handshake && record->content_bytes >= 5 && memcmp(end - 5, "\x18\x00\x00\x01", 4) == 0 &&
           end[-1] <= 1;
}

static void next_epoch(struct model_receiver *r)
{
    r->epoch++;
    r->seq = 0;
    model_keys_free(r->keys);
    r->keys = NULL;
    if (r->later_count > 0) {
        r->keys = model_keys_new(&r->ciphers, &r->later[r->later_first]);
        r->later_first = (r->later_first + 1) % epochs_max;
        r->later_count--;
    }
}

static bool header_is_good(const struct model_receiver *r, const uint8_t header[tls_header_bytes], size_t fragment)
{
    const size_t least = r->tls13 ? 1 + tls_tag_bytes : tls_nonce_bytes + tls_tag_bytes;
    const size_t most = r->tls13 ? fragment_max_tls13 : fragment_max_tls12;
    const bool type = r->tls13 ? header[0] == tls_application_data : header[0] >= 20 && header[0] <= 23;
    return type && header[1] == 3 && header[2] == 3 && fragment >= least && fragment <= most;
}

static bool open_record(struct model_receiver *r, const uint8_t header[tls_header_bytes], size_t fragment,
                        struct model_record *record)
{
    uint8_t nonce[12], aad[13];
    const size_t nonce_bytes = r->tls13 ? 0 : tls_nonce_bytes;
    const size_t text_bytes = fragment - nonce_bytes - tls_tag_bytes;
    peek(r, tls_header_bytes, r->cipher, fragment);
    model_nonce(r->keys->seal.iv, r->tls13, r->seq, r->cipher, nonce);
    const size_t aad_bytes = model_aad(r->tls13, header, r->seq, (uint16_t)text_bytes, aad);
    if (!model_gcm_open(&r->keys->seal, nonce, aad, aad_bytes, r->cipher + nonce_bytes, text_bytes, r->plain,
                        r->cipher + nonce_bytes + text_bytes))
        return false;
    size_t end = text_bytes;
    while (r->tls13 && end > 0 && r->plain[end - 1] == 0)
        end--;
    if (r->tls13 && end == 0)
        return false;
    *record = (struct model_record){.type = r->tls13 ? r->plain[end - 1] : header[0],
                                    .content = r->plain,
                                    .content_bytes = r->tls13 ? end - 1 : end,
                                    .tcp_seq = r->record,
                                    .epoch = r->epoch,
                                    .seq = r->seq};
    return true;
}

bool model_receiver_next(struct model_receiver *r, struct model_record *record)
{
    uint8_t header[tls_header_bytes];
    const size_t there = r->ack - r->record;
    if (r->refused || r->keys == NULL || there < tls_header_bytes)
        return false;
    peek(r, 0, header, sizeof header);
    const size_t fragment = (size_t)header[3] << 8 | header[4];
    if (header_is_good(r, header, fragment) && there < tls_header_bytes + fragment)
        return false;
    if (!header_is_good(r, header, fragment) || !open_record(r, header, fragment, record)) {
        r->refused = true;
        return false;
    }
    advance(r, tls_header_bytes + fragment);
    r->seq++;
    if (r->tls13 && is_key_update(record))
        next_epoch(r);
    return true;
}

bool model_receiver_wants_keys(const struct model_receiver *r)
{
    return r->keys == NULL;
}

bool model_receiver_refused(const struct model_receiver *r)
{
    return r->refused;
}

uint32_t model_receiver_ack(const struct model_receiver *r)
{
    return r->ack;
}
