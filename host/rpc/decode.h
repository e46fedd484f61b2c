/* SPDX-License-Identifier: Apache-2.0 */
/* The fast way to decode a message into an arena, for streams with many small fields. Private to rpc/: see message.h. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/arena.h"

/*
 * true: *out is what protobuf-c would make of the bytes, and they keep the limits of message.h.
 * false: they don't, or something in them is not usual, or there is no memory; *out is unchanged. The slow way then tells which.
 *
 * lent: the bytes live as long as what is in the arena; then fields of type bytes point into them.
 */
bool sl_rpc_decode_usual(struct sl_rpc_arena *arena, const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len,
                         bool lent, ProtobufCMessage **out);
