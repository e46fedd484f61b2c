/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoding what a peer sent happens in two passes: check_message walks the wire format (wire.h) under the limits, without
 * allocating, and then protobuf-c decodes it. protobuf-c alone recurses as deep as the input says and takes any bytes for a string.
 * Into an arena, decode.c does both in one pass, with the same outcome, unless there is something unusual or wrong in a message.
 */
#include "rpc/message.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "rpc/arena.h"
#include "rpc/decode.h"
#include "rpc/wire.h"

sl_err sl_rpc_message_new(const ProtobufCMessageDescriptor *type, ProtobufCMessage **out)
{
    ProtobufCMessage *message = calloc(1, type->sizeof_message);
    if (message == NULL)
        return SL_ERR_NOMEM;
    protobuf_c_message_init(type, message);
    *out = message;
    return SL_OK;
}

void sl_rpc_message_free(ProtobufCMessage *message)
{
    if (message != NULL)
        protobuf_c_message_free_unpacked(message, NULL);
}

sl_err sl_rpc_message_copy(const ProtobufCMessage *message, ProtobufCMessage **out)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = malloc(len > 0 ? len : 1);
    if (bytes == NULL)
        return SL_ERR_NOMEM;
    protobuf_c_message_pack(message, bytes);
    ProtobufCMessage *copy = protobuf_c_message_unpack(message->descriptor, NULL, len, bytes);
    free(bytes);
    if (copy == NULL)
        return SL_ERR_CORRUPT;
    *out = copy;
    return SL_OK;
}

sl_err sl_rpc_message_assign(ProtobufCMessage *dst, const ProtobufCMessage *src)
{
    ProtobufCMessage *copy = NULL;
    if (dst->descriptor != src->descriptor)
        return SL_ERR_INVALID;
    sl_err err = sl_rpc_message_copy(src, &copy);
    if (err != SL_OK)
        return err;
    /* The copy's parts move to dst; only its outer block is given back. */
    memcpy(dst, copy, dst->descriptor->sizeof_message);
    free(copy);
    return SL_OK;
}

struct checker {
    size_t submessages;
    struct sl_diag *diag;
};

static sl_err check_message(struct checker *k, const ProtobufCMessageDescriptor *type, struct sl_cursor c, unsigned depth);

static sl_err check_bytes(struct checker *k, const ProtobufCFieldDescriptor *field, struct sl_cursor bytes, unsigned depth)
{
    if (field == NULL)
        return SL_OK;
    if (field->type == PROTOBUF_C_TYPE_STRING && !sl_rpc_wire_is_text(bytes))
        return sl_fail(k->diag, SL_ERR_INVALID, "field %s is not UTF-8 text", field->name);
    if (field->type != PROTOBUF_C_TYPE_MESSAGE)
        return SL_OK;
    if (++k->submessages > SL_RPC_SUBMESSAGES_MAX)
        return sl_fail(k->diag, SL_ERR_LIMIT, "more than %d messages in one", SL_RPC_SUBMESSAGES_MAX);
    return check_message(k, field->descriptor, bytes, depth + 1);
}

static sl_err check_message(struct checker *k, const ProtobufCMessageDescriptor *type, struct sl_cursor c, unsigned depth)
{
    unsigned hint = 0;
    if (depth >= SL_RPC_DEPTH_MAX)
        return sl_fail(k->diag, SL_ERR_LIMIT, "nested deeper than %d", SL_RPC_DEPTH_MAX);
    while (c.at != c.end) {
        uint64_t tag, value;
        sl_err err = SL_OK;
        if (!sl_rpc_wire_varint(&c, &tag) || (tag >> 3) == 0 || (tag >> 3) > 0x1fffffff)
            return sl_fail(k->diag, SL_ERR_INVALID, "not a message of type %s", type->name);
        const ProtobufCFieldDescriptor *field = sl_rpc_wire_field(type, (unsigned)(tag >> 3), &hint);
        struct sl_cursor bytes;
        switch (tag & 7) {
        case SL_RPC_WIRE_VARINT:
            err = sl_rpc_wire_varint(&c, &value) ? SL_OK : SL_ERR_INVALID;
            break;
        case SL_RPC_WIRE_64:
            err = sl_read_skip(&c, 8);
            break;
        case SL_RPC_WIRE_32:
            err = sl_read_skip(&c, 4);
            break;
        case SL_RPC_WIRE_BYTES:
            err = sl_rpc_wire_varint(&c, &value) && value <= (size_t)(c.end - c.at) ? sl_read_span(&c, (size_t)value, &bytes)
                                                                                    : SL_ERR_INVALID;
            if (err == SL_OK && (err = check_bytes(k, field, bytes, depth)) != SL_OK)
                return err;
            break;
        default:
            err = SL_ERR_INVALID;
        }
        if (err != SL_OK)
            return sl_fail(k->diag, SL_ERR_INVALID, "not a message of type %s", type->name);
    }
    return SL_OK;
}

static sl_err unpack(ProtobufCAllocator *allocator, const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len,
                     ProtobufCMessage **out, struct sl_diag *diag)
{
    struct checker k = {.diag = diag};
    sl_err err = check_message(&k, type, sl_cursor_make(bytes, len), 0);
    if (err != SL_OK)
        return err;
    /* protobuf-c's reader takes a non-null pointer even for nothing. */
    static const uint8_t nothing[1];
    ProtobufCMessage *message = protobuf_c_message_unpack(type, allocator, len, len > 0 ? bytes : nothing);
    if (message == NULL)
        return sl_fail(diag, SL_ERR_INVALID, "not a message of type %s", type->name);
    *out = message;
    return SL_OK;
}

sl_err sl_rpc_message_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len, ProtobufCMessage **out,
                             struct sl_diag *diag)
{
    return unpack(NULL, type, bytes, len, out, diag);
}

static void *take(void *arena, size_t bytes)
{
    return sl_rpc_arena_take(arena, bytes);
}

/* protobuf-c gives back what it needed while it decoded, and after a failure: reset does. */
static void leave(void *arena, void *piece)
{
    (void)arena;
    (void)piece;
}

static sl_err unpack_in(struct sl_rpc_arena *arena, const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len,
                        bool lent, ProtobufCMessage **out, struct sl_diag *diag)
{
    ProtobufCAllocator allocator = {.alloc = take, .free = leave, .allocator_data = arena};
    return sl_rpc_decode_usual(arena, type, bytes, len, lent, out) ? SL_OK : unpack(&allocator, type, bytes, len, out, diag);
}

sl_err sl_rpc_message_unpack_in(struct sl_rpc_arena *arena, const ProtobufCMessageDescriptor *type, const uint8_t *bytes,
                                size_t len, ProtobufCMessage **out, struct sl_diag *diag)
{
    return unpack_in(arena, type, bytes, len, false, out, diag);
}

sl_err sl_rpc_message_unpack_lent(struct sl_rpc_arena *arena, const ProtobufCMessageDescriptor *type, uint8_t *bytes, size_t len,
                                  ProtobufCMessage **out, struct sl_diag *diag)
{
    return unpack_in(arena, type, bytes, len, true, out, diag);
}
