/* SPDX-License-Identifier: Apache-2.0 */
/* protobuf-c messages of any type: make, copy, encode and decode with the limits that untrusted input needs. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "rpc/arena.h"

enum {
    SL_RPC_DEPTH_MAX = 64,           /* nesting of messages */
    SL_RPC_SUBMESSAGES_MAX = 1 << 18 /* sub-messages in one message: bounds memory against input size */
};

/* An initialised message of the type, members at their defaults. Free with sl_rpc_message_free. SL_ERR_NOMEM. */
sl_err sl_rpc_message_new(const ProtobufCMessageDescriptor *type, ProtobufCMessage **out);

/* Frees a message and all that hangs on it; everything must come from malloc. NULL is allowed. */
void sl_rpc_message_free(ProtobufCMessage *message);

/* A deep copy (unknown fields included). SL_ERR_NOMEM, SL_ERR_CORRUPT; then *out is unchanged. */
sl_err sl_rpc_message_copy(const ProtobufCMessage *message, ProtobufCMessage **out);

/* Copies src over the empty message dst of the same type; dst then owns the parts. SL_ERR_INVALID: types differ. After a failure
 * dst is unchanged. */
sl_err sl_rpc_message_assign(ProtobufCMessage *dst, const ProtobufCMessage *src);

/*
 * Decodes bytes that a peer sent. Beyond what protobuf-c checks: nesting depth, number of sub-messages, strings are UTF-8 without
 * NUL. SL_ERR_INVALID with the field's name in diag (which may be NULL); SL_ERR_LIMIT; SL_ERR_NOMEM. Then *out is unchanged.
 */
sl_err sl_rpc_message_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len, ProtobufCMessage **out,
                             struct sl_diag *diag);

/* The same with all parts in the arena, which must outlive the message: it is never freed, the arena is reset. After a failure,
 * too, pieces of the arena may be taken. */
sl_err sl_rpc_message_unpack_in(struct sl_rpc_arena *arena, const ProtobufCMessageDescriptor *type, const uint8_t *bytes,
                                size_t len, ProtobufCMessage **out, struct sl_diag *diag);
/* The same of bytes that live as long as what is in the arena, such as a piece of it: parts of the message may lie in them. */
sl_err sl_rpc_message_unpack_lent(struct sl_rpc_arena *arena, const ProtobufCMessageDescriptor *type, uint8_t *bytes, size_t len,
                                  ProtobufCMessage **out, struct sl_diag *diag);
