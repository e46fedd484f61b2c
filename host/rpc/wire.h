/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of protobuf's wire format that message.c, which checks, and decode.c, which decodes, have in common. Private to rpc/.
 *
 *   message = *field;   field = tag (varint: number << 3 | wire type), value
 *   wire type 0: varint   1: 8 bytes   2: length (varint) and so many bytes   5: 4 bytes      (3, 4, 6, 7 are refused)
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cursor.h"

enum sl_rpc_wire_type { SL_RPC_WIRE_VARINT = 0, SL_RPC_WIRE_64 = 1, SL_RPC_WIRE_BYTES = 2, SL_RPC_WIRE_32 = 5 };

/* What sl_read_u8 does, in line: most of a message is tags and numbers of one byte. */
static inline bool sl_rpc_wire_byte(struct sl_cursor *c, uint8_t *out)
{
    if (c->at == c->end)
        return false;
    *out = *c->at++;
    return true;
}

static inline bool sl_rpc_wire_varint(struct sl_cursor *c, uint64_t *out)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t byte;
        if (!sl_rpc_wire_byte(c, &byte))
            return false;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return *out = v, true;
    }
    return false;
}

/* Fields mostly come in the order of their numbers: *hint is the place of the one after the last one found. NULL: unknown. */
static inline const ProtobufCFieldDescriptor *sl_rpc_wire_field(const ProtobufCMessageDescriptor *type, unsigned number,
                                                                unsigned *hint)
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

/* Well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates, up to U+10FFFF) without NUL. */
static inline bool sl_rpc_wire_is_text(struct sl_cursor c)
{
    uint8_t lead, next;
    while (sl_rpc_wire_byte(&c, &lead)) {
        if (lead == 0)
            return false;
        if (lead < 0x80)
            continue;
        unsigned more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
        uint32_t point = lead & (0x3fu >> more);
        if (lead < 0xc2 || lead > 0xf4)
            return false;
        for (unsigned i = 0; i < more; i++) {
            if (!sl_rpc_wire_byte(&c, &next) || (next & 0xc0) != 0x80)
                return false;
            point = (point << 6) | (next & 0x3fu);
        }
        if ((more == 2 && point < 0x800) || (more == 3 && (point < 0x10000 || point > 0x10ffff)) ||
            (point >= 0xd800 && point <= 0xdfff))
            return false;
    }
    return true;
}
