/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks and decodes in one pass. protobuf-c takes two, after a third one that checks (message.c), and spends most of them on lists
 * of what it found. What makes these lists necessary is not usual, and left to it:
 *
 *   a field that is not known        a required one (proto2), since it may be missing
 *   a sub-message or a member of a oneof that comes twice, which is merged or replaced
 *   a repeated field whose parts don't come in a row, or that isn't one of messages
 *   a number that is longer than it need be
 *
 * So this never says what is wrong with a message: it only says that it is not one that it can decode.
 */
#include "rpc/decode.h"

#include <string.h>

#include "rpc/message.h"
#include "rpc/wire.h"

struct decoder {
    struct sl_rpc_arena *arena;
    size_t submessages;
    bool lent;
};

static bool take_message(struct decoder *d, const ProtobufCMessageDescriptor *type, struct sl_cursor c, unsigned depth,
                         ProtobufCMessage **out);

/* Of one or two bytes: field numbers below 2048. */
static inline bool read_tag(struct sl_cursor *c, unsigned *out)
{
    uint8_t low, high;
    if (!sl_rpc_wire_byte(c, &low))
        return false;
    if (low < 0x80)
        return *out = low, true;
    if (!sl_rpc_wire_byte(c, &high) || high >= 0x80)
        return false;
    *out = (low & 0x7fu) | (unsigned)high << 7;
    return true;
}

/* What a length tells; it has at most four bytes. */
static inline bool read_span(struct sl_cursor *c, struct sl_cursor *out)
{
    const uint8_t *begin = c->at;
    uint64_t length;
    if (!sl_rpc_wire_varint(c, &length) || c->at - begin > 4 || length > (uint64_t)(c->end - c->at))
        return false;
    *out = (struct sl_cursor){c->at, c->at + length};
    c->at += length;
    return true;
}

static inline void *part(ProtobufCMessage *m, unsigned offset)
{
    return (char *)m + offset;
}

/* Numbers of fixed size lie in memory as on the wire: little-endian. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "see above");
static inline bool read_fixed(struct sl_cursor *c, void *out, size_t bytes)
{
    if ((size_t)(c->end - c->at) < bytes)
        return false;
    memcpy(out, c->at, bytes);
    c->at += bytes;
    return true;
}

static inline bool read_number(struct sl_cursor *c, ProtobufCType type, void *out)
{
    const uint8_t *begin = c->at;
    uint64_t value;
    if (!sl_rpc_wire_varint(c, &value))
        return false;
    switch (type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_ENUM: {
        const uint32_t low = (uint32_t)value;
        memcpy(out, &low, sizeof low);
        return true;
    }
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
        memcpy(out, &value, sizeof value);
        return true;
    case PROTOBUF_C_TYPE_SINT32: {
        const uint32_t low = (uint32_t)value >> 1 ^ (0u - ((uint32_t)value & 1));
        memcpy(out, &low, sizeof low);
        return true;
    }
    case PROTOBUF_C_TYPE_SINT64:
        value = value >> 1 ^ (UINT64_C(0) - (value & 1));
        memcpy(out, &value, sizeof value);
        return true;
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)out = value != 0;
        return c->at - begin == 1;
    default:
        return false;
    }
}

static bool take_text(struct decoder *d, struct sl_cursor span, char **out)
{
    const size_t len = (size_t)(span.end - span.at);
    char *text;
    if (!sl_rpc_wire_is_text(span) || (text = sl_rpc_arena_take(d->arena, len + 1)) == NULL)
        return false;
    memcpy(text, span.at, len);
    text[len] = '\0';
    *out = text;
    return true;
}

static bool take_bytes(struct decoder *d, struct sl_cursor span, ProtobufCBinaryData *out)
{
    const size_t len = (size_t)(span.end - span.at);
    uint8_t *data = NULL;
    if (len > 0 && d->lent) {
        data = (uint8_t *)(uintptr_t)span.at;
    } else if (len > 0) {
        if ((data = sl_rpc_arena_take(d->arena, len)) == NULL)
            return false;
        memcpy(data, span.at, len);
    }
    *out = (ProtobufCBinaryData){len, data};
    return true;
}

static bool take_value(struct decoder *d, struct sl_cursor *c, unsigned wire, const ProtobufCFieldDescriptor *field, unsigned depth,
                       void *out)
{
    struct sl_cursor span;
    switch (wire) {
    case SL_RPC_WIRE_VARINT:
        return read_number(c, field->type, out);
    case SL_RPC_WIRE_32:
        return (field->type == PROTOBUF_C_TYPE_FIXED32 || field->type == PROTOBUF_C_TYPE_SFIXED32 ||
                field->type == PROTOBUF_C_TYPE_FLOAT) &&
               read_fixed(c, out, 4);
    case SL_RPC_WIRE_64:
        return (field->type == PROTOBUF_C_TYPE_FIXED64 || field->type == PROTOBUF_C_TYPE_SFIXED64 ||
                field->type == PROTOBUF_C_TYPE_DOUBLE) &&
               read_fixed(c, out, 8);
    case SL_RPC_WIRE_BYTES:
        if (!read_span(c, &span))
            return false;
        if (field->type == PROTOBUF_C_TYPE_STRING)
            return take_text(d, span, out);
        if (field->type == PROTOBUF_C_TYPE_BYTES)
            return take_bytes(d, span, out);
        return field->type == PROTOBUF_C_TYPE_MESSAGE && *(ProtobufCMessage **)out == NULL &&
               take_message(d, field->descriptor, span, depth + 1, out);
    default:
        return false;
    }
}

/* How many spans with the same tag follow each other, the first of them behind its tag; 0: one of them is broken. */
static size_t count_row(struct sl_cursor c, unsigned tag)
{
    struct sl_cursor span;
    for (size_t n = 0;;) {
        unsigned next;
        if (!read_span(&c, &span))
            return 0;
        n++;
        if (c.at == c.end || !read_tag(&c, &next) || next != tag)
            return n;
    }
}

/* All in a row; the first one's tag was read. */
static bool take_row(struct decoder *d, struct sl_cursor *c, unsigned tag, const ProtobufCFieldDescriptor *field, unsigned depth,
                     ProtobufCMessage *m)
{
    size_t *n = part(m, field->quantifier_offset);
    if (field->type != PROTOBUF_C_TYPE_MESSAGE || (tag & 7) != SL_RPC_WIRE_BYTES || *n != 0)
        return false;
    const size_t count = count_row(*c, tag);
    ProtobufCMessage **list;
    if (count == 0 || count > SL_RPC_SUBMESSAGES_MAX || (list = sl_rpc_arena_take(d->arena, count * sizeof(void *))) == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        struct sl_cursor span;
        unsigned again;
        if ((i > 0 && !read_tag(c, &again)) || !read_span(c, &span) ||
            !take_message(d, field->descriptor, span, depth + 1, &list[i]))
            return false;
    }
    *n = count;
    *(ProtobufCMessage ***)part(m, field->offset) = list;
    return true;
}

static bool take_field(struct decoder *d, struct sl_cursor *c, unsigned tag, const ProtobufCFieldDescriptor *field, unsigned depth,
                       ProtobufCMessage *m)
{
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return take_row(d, c, tag, field, depth, m);
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        uint32_t *which = part(m, field->quantifier_offset);
        if (*which != 0)
            return false;
        *which = field->id;
    } else if (field->quantifier_offset != 0) {
        *(protobuf_c_boolean *)part(m, field->quantifier_offset) = 1;
    }
    return take_value(d, c, tag & 7, field, depth, part(m, field->offset));
}

/* A type of proto3 has fields without a label, and none that is required. */
static bool has_required(const ProtobufCMessageDescriptor *type)
{
    for (unsigned i = 0; i < type->n_fields && type->fields[i].label != PROTOBUF_C_LABEL_NONE; i++) {
        if (type->fields[i].label == PROTOBUF_C_LABEL_REQUIRED)
            return true;
    }
    return false;
}

static bool take_message(struct decoder *d, const ProtobufCMessageDescriptor *type, struct sl_cursor c, unsigned depth,
                         ProtobufCMessage **out)
{
    ProtobufCMessage *m;
    unsigned hint = 0, tag;
    if (depth >= SL_RPC_DEPTH_MAX || (depth > 0 && ++d->submessages > SL_RPC_SUBMESSAGES_MAX) || has_required(type) ||
        (m = sl_rpc_arena_take(d->arena, type->sizeof_message)) == NULL)
        return false;
    protobuf_c_message_init(type, m);
    while (c.at != c.end) {
        if (!read_tag(&c, &tag))
            return false;
        const ProtobufCFieldDescriptor *field = sl_rpc_wire_field(type, tag >> 3, &hint);
        if (field == NULL || !take_field(d, &c, tag, field, depth, m))
            return false;
    }
    *out = m;
    return true;
}

bool sl_rpc_decode_usual(struct sl_rpc_arena *arena, const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len,
                         bool lent, ProtobufCMessage **out)
{
    struct decoder d = {.arena = arena, .lent = lent};
    return take_message(&d, type, sl_cursor_make(bytes, len), 0, out);
}
