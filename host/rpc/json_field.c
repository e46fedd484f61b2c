/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/json_field.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void sl_json_place_init(struct sl_json_place *place, struct sl_diag *diag)
{
    place->text[0] = '\0';
    place->len = 0;
    place->diag = diag;
}

static size_t place_append(struct sl_json_place *place, const char *format, ...) __attribute__((format(printf, 2, 3)));
static size_t place_append(struct sl_json_place *place, const char *format, ...)
{
    size_t before = place->len;
    size_t room = sizeof place->text - place->len;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(place->text + place->len, room, format, args);
    va_end(args);
    if (n > 0)
        place->len += (size_t)n < room ? (size_t)n : room - 1;
    return before;
}

size_t sl_json_place_field(struct sl_json_place *place, const char *name)
{
    return place_append(place, "%s%.64s", place->len > 0 ? "." : "", name);
}

size_t sl_json_place_index(struct sl_json_place *place, size_t index)
{
    return place_append(place, "[%zu]", index);
}

size_t sl_json_place_key(struct sl_json_place *place, const char *key)
{
    return place_append(place, "[\"%.64s\"]", key);
}

void sl_json_place_pop(struct sl_json_place *place, size_t len)
{
    place->len = len;
    place->text[len] = '\0';
}

sl_err sl_json_fail(const struct sl_json_place *place, sl_err err, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (place->len == 0)
        return sl_fail(place->diag, err, "%s", text);
    return sl_fail(place->diag, err, "%s: %s", place->text, text);
}

void sl_json_camel(const char *name, char out[static SL_JSON_NAME_MAX])
{
    size_t n = 0;
    bool upper = false;
    for (; *name != '\0'; name++) {
        if (*name == '_') {
            upper = true;
            continue;
        }
        if (n + 1 >= SL_JSON_NAME_MAX) {
            out[0] = '\0';
            return;
        }
        out[n++] = upper ? (char)toupper((unsigned char)*name) : *name;
        upper = false;
    }
    out[n] = '\0';
}

bool sl_json_is_map(const ProtobufCMessageDescriptor *parent, const ProtobufCFieldDescriptor *field)
{
    if (field->type != PROTOBUF_C_TYPE_MESSAGE || field->label != PROTOBUF_C_LABEL_REPEATED)
        return false;
    const ProtobufCMessageDescriptor *entry = field->descriptor;
    char want[SL_JSON_NAME_MAX];
    sl_json_camel(field->name, want);
    want[0] = (char)toupper((unsigned char)want[0]);
    size_t stem = strlen(want), parent_len = strlen(parent->name);
    return entry->n_fields == 2 && strcmp(entry->fields[0].name, "key") == 0 && entry->fields[0].id == 1 &&
           strcmp(entry->fields[1].name, "value") == 0 && entry->fields[1].id == 2 &&
           strncmp(entry->name, parent->name, parent_len) == 0 && entry->name[parent_len] == '.' &&
           strncmp(entry->name + parent_len + 1, want, stem) == 0 && strcmp(entry->name + parent_len + 1 + stem, "Entry") == 0;
}

size_t sl_json_element_size(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return sizeof(uint32_t);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return sizeof(uint64_t);
    case PROTOBUF_C_TYPE_FLOAT:
        return sizeof(float);
    case PROTOBUF_C_TYPE_DOUBLE:
        return sizeof(double);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_ENUM:
        return sizeof(int);
    case PROTOBUF_C_TYPE_STRING:
        return sizeof(char *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(ProtobufCMessage *);
    }
    return 0;
}
