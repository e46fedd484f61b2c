/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The far end of one direction of a session: it takes the frames that left a lane, puts the TCP stream together (the first copy of
 * a byte stays), opens every record with the seal side's keys and gives the plaintext. What it accepts is what a user's TLS stack
 * would.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

struct model_receiver;

struct model_record {
    uint8_t type; /* content type, the inner one in TLS 1.3 */
    const uint8_t *content;
    size_t content_bytes;
    uint32_t tcp_seq;
    uint32_t epoch;
    uint64_t seq;
};

/* seq: the TCP sequence number that is expected, in the numbers of the frames it will be given; a record begins there, with
 * seal_seq. keys: those of the first epoch; only the seal side is used. */
struct model_receiver *model_receiver_new(bool tls13, uint32_t seq, uint64_t seal_seq, const struct key_set *keys);
void model_receiver_free(struct model_receiver *r);
/* The keys after the next KeyUpdate that has none yet. Any number of epochs may be given in advance. */
void model_receiver_keys(struct model_receiver *r, const struct key_set *keys);

/* A KeyUpdate was opened, and no keys were given for what follows it. */
bool model_receiver_wants_keys(const struct model_receiver *r);

/* A frame of this session, as it left: true if it is TCP with a right checksum. */
bool model_receiver_frame(struct model_receiver *r, const uint8_t *frame, size_t bytes);
/* The same without a frame around it. */
void model_receiver_bytes(struct model_receiver *r, uint32_t seq, const uint8_t *payload, size_t bytes);

/* The next record that opened; false: none yet. Valid until the next call. */
bool model_receiver_next(struct model_receiver *r, struct model_record *record);
/* A record was refused (its tag or its header was wrong); nothing comes after it. */
bool model_receiver_refused(const struct model_receiver *r);
/* The acknowledgement that it would send: everything before has come, in the numbers of the frames it takes. */
uint32_t model_receiver_ack(const struct model_receiver *r);

#ifdef __cplusplus
}
#endif
