/* SPDX-License-Identifier: Apache-2.0 */
/* What printing and parsing JSON share: names, places, and how protobuf-c lays a field out in its struct. Private to rpc/. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { SL_JSON_NAME_MAX = 256 };

/* Where in the document we are: "a.b[2].c". Truncated when too long: it is for people. */
struct sl_json_place {
    char text[384];
    size_t len;
    struct sl_diag *diag;
};
void sl_json_place_init(struct sl_json_place *place, struct sl_diag *diag);
/* Each returns the length before, for sl_json_place_pop. */
size_t sl_json_place_field(struct sl_json_place *place, const char *name);
size_t sl_json_place_index(struct sl_json_place *place, size_t index);
size_t sl_json_place_key(struct sl_json_place *place, const char *key);
void sl_json_place_pop(struct sl_json_place *place, size_t len);
/* sl_fail with "<place>: " before the text. */
sl_err sl_json_fail(const struct sl_json_place *place, sl_err err, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* lowerCamelCase of a field name; out is "" if it doesn't fit. */
void sl_json_camel(const char *name, char out[static SL_JSON_NAME_MAX]);

/* protobuf-c shows a map as repeated entries and doesn't say so; protoc names the entry type after the field. */
bool sl_json_is_map(const ProtobufCMessageDescriptor *parent, const ProtobufCFieldDescriptor *field);

/* Bytes of one element in a repeated field's array, or of the member itself. */
size_t sl_json_element_size(ProtobufCType type);

static inline bool sl_json_is_oneof(const ProtobufCFieldDescriptor *field)
{
    return (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
}
static inline void *sl_json_member(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return (uint8_t *)message + field->offset;
}
static inline const void *sl_json_member_const(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return (const uint8_t *)message + field->offset;
}
