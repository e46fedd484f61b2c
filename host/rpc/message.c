/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoding what a peer sent happens in two passes: check_message walks the wire format under the limits, without allocating, and
 * then protobuf-c decodes it. protobuf-c alone recurses as deep as the input says and takes any bytes for a string.
 *
 *   message = *field;   field = tag (varint: number << 3 | wire type), value
 *   wire type 0: varint   1: 8 bytes   2: length (varint) and so many bytes   5: 4 bytes      (3, 4, 6, 7 are refused)
 */
#include "rpc/message.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "rpc/arena.h"

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

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct checker {
    size_t submessages;
    struct sl_diag *diag;
};

/* What sl_read_u8 does, in line: most of a message is tags and numbers of one byte. */
static inline bool take_byte(struct sl_cursor *c, uint8_t *out)
{
    if (c->at == c->end)
        return false;
    *out = *c->at++;
    return true;
}

static inline sl_err read_varint(struct sl_cursor *c, uint64_t *out)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t byte;
        if (!take_byte(c, &byte))
            return SL_ERR_INVALID;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return *out = v, SL_OK;
    }
    return SL_ERR_INVALID;
}

/* Well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates, up to U+10FFFF) without NUL. */
static bool is_text(struct sl_cursor c)
{
    uint8_t lead, next;
    while (take_byte(&c, &lead)) {
        if (lead == 0)
            return false;
        if (lead < 0x80)
            continue;
        unsigned more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
        uint32_t point = lead & (0x3fu >> more);
        if (lead < 0xc2 || lead > 0xf4)
            return false;
        for (unsigned i = 0; i < more; i++) {
            if (!take_byte(&c, &next) || (next & 0xc0) != 0x80)
                return false;
            point = (point << 6) | (next & 0x3fu);
        }
        if ((more == 2 && point < 0x800) || (more == 3 && (point < 0x10000 || point > 0x10ffff)) ||
            (point >= 0xd800 && point <= 0xdfff))
            return false;
    }
    return true;
}

static sl_err check_message(struct checker *k, const ProtobufCMessageDescriptor *type, struct sl_cursor c, unsigned depth);

static sl_err check_bytes(struct checker *k, const ProtobufCFieldDescriptor *field, struct sl_cursor bytes, unsigned depth)
{
    if (field == NULL)
        return SL_OK;
    if (field->type == PROTOBUF_C_TYPE_STRING && !is_text(bytes))
        return sl_fail(k->diag, SL_ERR_INVALID, "field %s is not UTF-8 text", field->name);
    if (field->type != PROTOBUF_C_TYPE_MESSAGE)
        return SL_OK;
    if (++k->submessages > SL_RPC_SUBMESSAGES_MAX)
        return sl_fail(k->diag, SL_ERR_LIMIT, "more than %d messages in one", SL_RPC_SUBMESSAGES_MAX);
    return check_message(k, field->descriptor, bytes, depth + 1);
}

/* Fields mostly come in the order of their numbers: *hint is the place of the one after the last one found. */
static inline const ProtobufCFieldDescriptor *field_of(const ProtobufCMessageDescriptor *type, unsigned number, unsigned *hint)
{
    const unsigned at = *hint;
    if (at < type->n_fields && type->fields[at].id == number) {
        *hint = at + 1;
        return &type->fields[at];
    }
    if (at > 0 && type->fields[at - 1].id == number) /* repeated */
        return &type->fields[at - 1];
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(type, number);
    if (field != NULL)
        *hint = (unsigned)(field - type->fields) + 1;
    return field;
}

static sl_err check_message(struct checker *k, const ProtobufCMessageDescriptor *type, struct sl_cursor c, unsigned depth)
{
    unsigned hint = 0;
    if (depth >= SL_RPC_DEPTH_MAX)
        return sl_fail(k->diag, SL_ERR_LIMIT, "nested deeper than %d", SL_RPC_DEPTH_MAX);
    while (c.at != c.end) {
        uint64_t tag, value;
        sl_err err = read_varint(&c, &tag);
        if (err != SL_OK || (tag >> 3) == 0 || (tag >> 3) > 0x1fffffff)
            return sl_fail(k->diag, SL_ERR_INVALID, "not a message of type %s", type->name);
        const ProtobufCFieldDescriptor *field = field_of(type, (unsigned)(tag >> 3), &hint);
        struct sl_cursor bytes;
        switch (tag & 7) {
        case WIRE_VARINT:
            err = read_varint(&c, &value);
            break;
        case WIRE_64:
            err = sl_read_skip(&c, 8);
            break;
        case WIRE_32:
            err = sl_read_skip(&c, 4);
            break;
        case WIRE_BYTES:
            err = read_varint(&c, &value);
            if (err == SL_OK)
                err = value <= (size_t)(c.end - c.at) ? sl_read_span(&c, (size_t)value, &bytes) : SL_ERR_INVALID;
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

sl_err sl_rpc_message_unpack_in(struct sl_rpc_arena *arena, const ProtobufCMessageDescriptor *type, const uint8_t *bytes,
                                size_t len, ProtobufCMessage **out, struct sl_diag *diag)
{
    ProtobufCAllocator allocator = {.alloc = take, .free = leave, .allocator_data = arena};
    return unpack(&allocator, type, bytes, len, out, diag);
}
