/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the generator: what a TLS sender writes, as a stream of records that is made as it is needed, and forgotten when nobody
 * can ask for it any more. Offsets count the bytes of the stream from its beginning. */
#pragma once

#include "receiver.h"
#include "record.h"
#include "trace.h"
#include "trace_frame.h"

struct trace_stream;

enum trace_byte { trace_byte_header, trace_byte_nonce, trace_byte_text, trace_byte_tag };

struct trace_stream *trace_stream_new(const struct model_ciphers *ciphers, const struct trace_options *o,
                                      struct trace_statistics *st, struct trace_random *r, bool tls13, size_t segment_max);
void trace_stream_free(struct trace_stream *s);

/* What the host knows of it at its beginning: keys of the first epoch and record numbers, for a session_state. */
void trace_stream_keys(const struct trace_stream *s, unsigned epoch, struct key_set *keys);
void trace_stream_state(const struct trace_stream *s, struct session_state *state);

/* Makes records until the stream has `end` bytes. */
void trace_stream_extend(struct trace_stream *s, uint64_t end);
/* A part of what has been made and not been forgotten: as the sender sends it, and as the lane's seal side must. */
void trace_stream_read(const struct trace_stream *s, uint64_t offset, uint8_t *out, size_t bytes);
void trace_stream_read_sealed(struct trace_stream *s, uint64_t offset, uint8_t *out, size_t bytes);
enum trace_byte trace_stream_byte(const struct trace_stream *s, uint64_t offset, uint64_t *record, bool *in_key_update);

/* Where the record ends that the byte belongs to. */
uint64_t trace_stream_record_end(const struct trace_stream *s, uint64_t offset);

uint64_t trace_stream_oldest(const struct trace_stream *s);
/* Records that end before are forgotten, once they are compared. */
void trace_stream_forget(struct trace_stream *s, uint64_t before);
/* Where the last KeyUpdate ended that ends at or before the offset, as an epoch: 0, 1, 2, ... */
unsigned trace_stream_epoch(const struct trace_stream *s, uint64_t offset);
bool trace_stream_has_forbidden(const struct trace_stream *s);

/* The receiver opened its next record: is it the one that was sealed? */
bool trace_stream_compare(struct trace_stream *s, const struct model_record *record);
