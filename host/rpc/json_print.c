/* SPDX-License-Identifier: Apache-2.0 */
/* A message as JSON (proto3 JSON mapping). The shapes mirror json_parse.c: message, field, list, map, value. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/json.h"
#include "rpc/json_field.h"
#include "rpc/message.h"

struct printer {
    unsigned flags;
    unsigned depth;
    struct sl_json_place place;
};

static sl_err print_message(struct printer *p, const ProtobufCMessage *message, json_t **out);

static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static sl_err print_bytes(struct printer *p, const ProtobufCBinaryData *bytes, json_t **out)
{
    if (bytes->len > SIZE_MAX / 2)
        return sl_json_fail(&p->place, SL_ERR_LIMIT, "too long");
    size_t groups = (bytes->len + 2) / 3;
    char *text = malloc(groups * 4 + 1);
    if (text == NULL)
        return sl_json_fail(&p->place, SL_ERR_NOMEM, "out of memory");
    char *at = text;
    for (size_t i = 0; i < bytes->len; i += 3) {
        size_t left = bytes->len - i;
        uint32_t v = (uint32_t)bytes->data[i] << 16;
        if (left > 1)
            v |= (uint32_t)bytes->data[i + 1] << 8;
        if (left > 2)
            v |= bytes->data[i + 2];
        *at++ = BASE64[v >> 18];
        *at++ = BASE64[(v >> 12) & 63];
        *at++ = left > 1 ? BASE64[(v >> 6) & 63] : '=';
        *at++ = left > 2 ? BASE64[v & 63] : '=';
    }
    *at = '\0';
    *out = json_stringn_nocheck(text, (size_t)(at - text));
    free(text);
    return SL_OK;
}

static json_t *print_int64(int64_t v)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, v);
    return json_string(text);
}

static json_t *print_uint64(uint64_t v)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, v);
    return json_string(text);
}

static json_t *print_double(double v)
{
    if (isnan(v))
        return json_string("NaN");
    if (isinf(v))
        return json_string(v > 0 ? "Infinity" : "-Infinity");
    return json_real(v);
}

static json_t *print_enum(const ProtobufCEnumDescriptor *type, int v)
{
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(type, v);
    return value != NULL ? json_string(value->name) : json_integer(v);
}

static sl_err print_string(struct printer *p, const char *text, json_t **out)
{
    *out = json_string(text != NULL ? text : "");
    if (*out == NULL)
        return sl_json_fail(&p->place, SL_ERR_CORRUPT, "not UTF-8");
    return SL_OK;
}

/* One value at member: an element of a list, or the field itself. */
static sl_err print_value(struct printer *p, const ProtobufCFieldDescriptor *field, const void *member, json_t **out)
{
    sl_err err = SL_OK;
    json_t *json = NULL;
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        json = json_integer(*(const int32_t *)member);
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        json = json_integer(*(const uint32_t *)member);
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        json = print_int64(*(const int64_t *)member);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        json = print_uint64(*(const uint64_t *)member);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        json = print_double((double)*(const float *)member);
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        json = print_double(*(const double *)member);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        json = json_boolean(*(const protobuf_c_boolean *)member != 0);
        break;
    case PROTOBUF_C_TYPE_ENUM:
        json = print_enum(field->descriptor, *(const int *)member);
        break;
    case PROTOBUF_C_TYPE_STRING:
        err = print_string(p, *(char *const *)member, &json);
        break;
    case PROTOBUF_C_TYPE_BYTES:
        err = print_bytes(p, member, &json);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        err = print_message(p, *(ProtobufCMessage *const *)member, &json);
        break;
    }
    if (err == SL_OK && json == NULL)
        err = sl_json_fail(&p->place, SL_ERR_NOMEM, "out of memory");
    if (err == SL_OK)
        *out = json;
    return err;
}

/* Is there something to print? A list is, if it has elements; a plain field, if it isn't at its default. */
static bool is_present(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const void *quantifier = (const uint8_t *)message + field->quantifier_offset;
    const void *member = sl_json_member_const(message, field);
    if (sl_json_is_oneof(field) && *(const uint32_t *)quantifier != field->id)
        return false;
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return *(const size_t *)quantifier > 0;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return *(ProtobufCMessage *const *)member != NULL;
    if (field->label == PROTOBUF_C_LABEL_REQUIRED || sl_json_is_oneof(field))
        return true;
    if (field->label == PROTOBUF_C_LABEL_OPTIONAL) {
        if (field->type == PROTOBUF_C_TYPE_STRING)
            return *(char *const *)member != NULL && *(const char *const *)member != field->default_value;
        return *(const protobuf_c_boolean *)quantifier != 0;
    }
    if (field->type == PROTOBUF_C_TYPE_STRING)
        return *(char *const *)member != NULL && **(char *const *)member != '\0';
    if (field->type == PROTOBUF_C_TYPE_BYTES)
        return ((const ProtobufCBinaryData *)member)->len > 0;
    /* All bits zero is the default of every number; minus zero isn't, and has a bit set. */
    static const uint8_t zeros[8];
    return memcmp(member, zeros, sl_json_element_size(field->type)) != 0;
}

static sl_err print_list(struct printer *p, const ProtobufCFieldDescriptor *field, const uint8_t *elements, size_t count,
                         json_t **out)
{
    sl_err err = SL_OK;
    json_t *list = json_array();
    if (list == NULL)
        return sl_json_fail(&p->place, SL_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < count && err == SL_OK; i++) {
        json_t *value = NULL;
        size_t before = sl_json_place_index(&p->place, i);
        err = print_value(p, field, elements + i * sl_json_element_size(field->type), &value);
        if (err == SL_OK && json_array_append_new(list, value) != 0)
            err = sl_json_fail(&p->place, SL_ERR_NOMEM, "out of memory");
        sl_json_place_pop(&p->place, before);
    }
    if (err == SL_OK)
        *out = list;
    else
        json_decref(list);
    return err;
}

/* A map's key is a string in JSON, whatever its type. */
static sl_err print_key(struct printer *p, const ProtobufCMessage *entry, char **out)
{
    const ProtobufCFieldDescriptor *field = &entry->descriptor->fields[0];
    json_t *json = NULL;
    sl_err err = print_value(p, field, sl_json_member_const(entry, field), &json);
    if (err != SL_OK)
        return err;
    if (json_is_string(json))
        *out = strdup(json_string_value(json));
    else
        *out = json_dumps(json, JSON_ENCODE_ANY);
    json_decref(json);
    return *out != NULL ? SL_OK : sl_json_fail(&p->place, SL_ERR_NOMEM, "out of memory");
}

static sl_err print_map(struct printer *p, ProtobufCMessage *const *entries, size_t count, json_t **out)
{
    sl_err err = SL_OK;
    json_t *map = json_object();
    if (map == NULL)
        return sl_json_fail(&p->place, SL_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < count && err == SL_OK; i++) {
        char *key = NULL;
        json_t *value = NULL;
        const ProtobufCFieldDescriptor *field = &entries[i]->descriptor->fields[1];
        size_t before = sl_json_place_index(&p->place, i);
        err = print_key(p, entries[i], &key);
        /* A message-typed value may be absent on the wire; JSON then has the empty message. */
        if (err == SL_OK && field->type == PROTOBUF_C_TYPE_MESSAGE &&
            *(ProtobufCMessage *const *)sl_json_member_const(entries[i], field) == NULL) {
            value = json_object();
        } else if (err == SL_OK) {
            err = print_value(p, field, sl_json_member_const(entries[i], field), &value);
        }
        if (err == SL_OK && json_object_set_new(map, key, value) != 0)
            err = sl_json_fail(&p->place, SL_ERR_NOMEM, "out of memory");
        free(key);
        sl_json_place_pop(&p->place, before);
    }
    if (err == SL_OK)
        *out = map;
    else
        json_decref(map);
    return err;
}

static sl_err print_field(struct printer *p, const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field, json_t **out)
{
    const void *member = sl_json_member_const(message, field);
    if (field->label != PROTOBUF_C_LABEL_REPEATED)
        return print_value(p, field, member, out);
    size_t count = *(const size_t *)((const uint8_t *)message + field->quantifier_offset);
    if (sl_json_is_map(message->descriptor, field))
        return print_map(p, *(ProtobufCMessage *const *const *)member, count, out);
    return print_list(p, field, *(const uint8_t *const *)member, count, out);
}

/* SL_JSON_DEFAULTS prints absent fields too, except those whose absence means something. */
static bool is_wanted(const struct printer *p, const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    if (is_present(message, field))
        return true;
    return (p->flags & SL_JSON_DEFAULTS) != 0 && !sl_json_is_oneof(field) && field->label != PROTOBUF_C_LABEL_OPTIONAL &&
           (field->type != PROTOBUF_C_TYPE_MESSAGE || field->label == PROTOBUF_C_LABEL_REPEATED);
}

static sl_err print_message(struct printer *p, const ProtobufCMessage *message, json_t **out)
{
    sl_err err = SL_OK;
    if (message == NULL)
        return (*out = json_null()) != NULL ? SL_OK : SL_ERR_NOMEM;
    if (p->depth >= SL_RPC_DEPTH_MAX)
        return sl_json_fail(&p->place, SL_ERR_LIMIT, "nested deeper than %d", SL_RPC_DEPTH_MAX);
    json_t *object = json_object();
    if (object == NULL)
        return sl_json_fail(&p->place, SL_ERR_NOMEM, "out of memory");
    p->depth++;
    for (unsigned i = 0; i < message->descriptor->n_fields && err == SL_OK; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        if (!is_wanted(p, message, field))
            continue;
        char camel[SL_JSON_NAME_MAX];
        sl_json_camel(field->name, camel);
        const char *name = (p->flags & SL_JSON_PROTO_NAMES) != 0 ? field->name : camel;
        size_t before = sl_json_place_field(&p->place, name);
        json_t *value = NULL;
        err = print_field(p, message, field, &value);
        if (err == SL_OK && json_object_set_new(object, name, value) != 0)
            err = sl_json_fail(&p->place, SL_ERR_NOMEM, "out of memory");
        sl_json_place_pop(&p->place, before);
    }
    p->depth--;
    if (err == SL_OK)
        *out = object;
    else
        json_decref(object);
    return err;
}

sl_err sl_json_from_message(const ProtobufCMessage *message, unsigned flags, json_t **out, struct sl_diag *diag)
{
    struct printer p = {.flags = flags};
    sl_json_place_init(&p.place, diag);
    json_t *json = NULL;
    sl_err err = print_message(&p, message, &json);
    if (err == SL_OK)
        *out = json;
    return err;
}

sl_err sl_json_print(const ProtobufCMessage *message, unsigned flags, char **out, struct sl_diag *diag)
{
    json_t *json = NULL;
    sl_err err = sl_json_from_message(message, flags, &json, diag);
    if (err != SL_OK)
        return err;
    char *text = json_dumps(json, ((flags & SL_JSON_INDENT) != 0 ? JSON_INDENT(2) : JSON_COMPACT) | JSON_REAL_PRECISION(17));
    json_decref(json);
    if (text == NULL)
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    *out = text;
    return SL_OK;
}
