/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON as a message (proto3 JSON mapping). The shapes mirror json_print.c: message, field, list, map, value.
 *
 * The message is filled in place. At every moment it is one that sl_rpc_message_free can free: a pointer is stored only when what
 * it points to is complete, a list's count rises after its element, a oneof's case is set after its member.
 */
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/json.h"
#include "rpc/json_field.h"
#include "rpc/message.h"

struct parser {
    unsigned flags;
    unsigned depth;
    struct sl_json_place place;
};

static sl_err parse_message(struct parser *p, const json_t *json, ProtobufCMessage *message);

static const char *kind_of(const json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        return "null";
    }
    return "something else";
}

static sl_err wrong_kind(struct parser *p, const char *wanted, const json_t *json)
{
    return sl_json_fail(&p->place, SL_ERR_INVALID, "expected %s, not %s", wanted, kind_of(json));
}

static sl_err no_memory(struct parser *p)
{
    return sl_json_fail(&p->place, SL_ERR_NOMEM, "out of memory");
}

/* ---------------------------------------------------------------------------------------------------------------------- scalars */

/* A whole number as sign and magnitude, from a number, an integral real, or decimal text. */
static sl_err parse_integer(struct parser *p, const json_t *json, bool *negative, uint64_t *magnitude)
{
    if (json_is_integer(json)) {
        json_int_t v = json_integer_value(json);
        *negative = v < 0;
        *magnitude = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
        return SL_OK;
    }
    if (json_is_real(json)) {
        /* Beyond 2^53 a real no longer says which integer it is. */
        double v = json_real_value(json);
        if (!(fabs(v) <= 9007199254740992.0) || v != floor(v))
            return sl_json_fail(&p->place, SL_ERR_INVALID, "not a whole number");
        *negative = v < 0;
        *magnitude = (uint64_t)fabs(v);
        return SL_OK;
    }
    if (!json_is_string(json))
        return wrong_kind(p, "a whole number", json);
    const char *text = json_string_value(json);
    *negative = *text == '-';
    const char *digits = *negative ? text + 1 : text;
    if (*digits == '\0' || strspn(digits, "0123456789") != strlen(digits))
        return sl_json_fail(&p->place, SL_ERR_INVALID, "\"%.40s\" is not a whole number", text);
    errno = 0;
    *magnitude = strtoull(digits, NULL, 10);
    if (errno == ERANGE)
        return sl_json_fail(&p->place, SL_ERR_INVALID, "%.40s is out of range", text);
    return SL_OK;
}

static sl_err parse_signed(struct parser *p, const json_t *json, int64_t min, int64_t max, int64_t *out)
{
    bool negative = false;
    uint64_t magnitude = 0;
    sl_err err = parse_integer(p, json, &negative, &magnitude);
    if (err != SL_OK)
        return err;
    uint64_t bound = negative ? 0 - (uint64_t)min : (uint64_t)max;
    if (magnitude > bound)
        return sl_json_fail(&p->place, SL_ERR_INVALID, "out of range %lld to %lld", (long long)min, (long long)max);
    *out = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return SL_OK;
}

static sl_err parse_unsigned(struct parser *p, const json_t *json, uint64_t max, uint64_t *out)
{
    bool negative = false;
    uint64_t magnitude = 0;
    sl_err err = parse_integer(p, json, &negative, &magnitude);
    if (err != SL_OK)
        return err;
    if ((negative && magnitude != 0) || magnitude > max)
        return sl_json_fail(&p->place, SL_ERR_INVALID, "out of range 0 to %llu", (unsigned long long)max);
    *out = magnitude;
    return SL_OK;
}

static sl_err parse_double(struct parser *p, const json_t *json, double max, double *out)
{
    double v;
    if (json_is_number(json)) {
        v = json_number_value(json);
    } else if (json_is_string(json)) {
        const char *text = json_string_value(json);
        char *end = NULL;
        if (strcmp(text, "NaN") == 0)
            return *out = (double)NAN, SL_OK;
        if (strcmp(text, "Infinity") == 0 || strcmp(text, "-Infinity") == 0)
            return *out = text[0] == '-' ? -(double)INFINITY : (double)INFINITY, SL_OK;
        if (*text == '\0' || strspn(text, "0123456789+-.eE") != strlen(text))
            return sl_json_fail(&p->place, SL_ERR_INVALID, "\"%.40s\" is not a number", text);
        v = strtod(text, &end);
        if (*end != '\0')
            return sl_json_fail(&p->place, SL_ERR_INVALID, "\"%.40s\" is not a number", text);
    } else {
        return wrong_kind(p, "a number", json);
    }
    if (!(fabs(v) <= max))
        return sl_json_fail(&p->place, SL_ERR_INVALID, "out of range");
    *out = v;
    return SL_OK;
}

static sl_err unknown_enum(struct parser *p, const ProtobufCEnumDescriptor *type, const char *text)
{
    char names[280] = "";
    size_t len = 0;
    for (unsigned i = 0; i < type->n_values; i++) {
        const char *name = type->values[i].name;
        if (strstr(name, "_UNSPECIFIED") != NULL)
            continue;
        if (len + strlen(name) + 8 > sizeof names) {
            snprintf(names + len, sizeof names - len, ", …");
            break;
        }
        len += (size_t)snprintf(names + len, sizeof names - len, "%s%s", len > 0 ? ", " : "", name);
    }
    return sl_json_fail(&p->place, SL_ERR_INVALID, "unknown value \"%.40s\"; one of %s", text, names);
}

static sl_err parse_enum(struct parser *p, const ProtobufCEnumDescriptor *type, const json_t *json, int *out)
{
    if (json_is_number(json)) {
        int64_t v = 0;
        sl_err err = parse_signed(p, json, INT32_MIN, INT32_MAX, &v);
        if (err == SL_OK)
            *out = (int)v;
        return err;
    }
    if (!json_is_string(json))
        return wrong_kind(p, "a name", json);
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value_by_name(type, json_string_value(json));
    if (value == NULL)
        return unknown_enum(p, type, json_string_value(json));
    *out = value->value;
    return SL_OK;
}

static sl_err parse_string(struct parser *p, const json_t *json, char **out)
{
    if (!json_is_string(json))
        return wrong_kind(p, "a string", json);
    /* A C string ends at the first NUL; the rest must not vanish silently. */
    if (strlen(json_string_value(json)) != json_string_length(json))
        return sl_json_fail(&p->place, SL_ERR_INVALID, "contains a NUL character");
    char *copy = strdup(json_string_value(json));
    if (copy == NULL)
        return no_memory(p);
    *out = copy;
    return SL_OK;
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    if (c == '/' || c == '_')
        return 63;
    return -1;
}

static sl_err parse_bytes(struct parser *p, const json_t *json, ProtobufCBinaryData *out)
{
    if (!json_is_string(json))
        return wrong_kind(p, "a base64 string", json);
    const char *text = json_string_value(json);
    size_t len = json_string_length(json);
    if (len % 4 == 0)
        for (int pad = 0; pad < 2 && len > 0 && text[len - 1] == '='; pad++)
            len--;
    if (len % 4 == 1)
        return sl_json_fail(&p->place, SL_ERR_INVALID, "base64 of an impossible length");
    if (len == 0)
        return *out = (ProtobufCBinaryData){0}, SL_OK;
    uint8_t *bytes = malloc(len / 4 * 3 + 3);
    if (bytes == NULL)
        return no_memory(p);
    size_t n = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < len; i++) {
        int v = base64_value(text[i]);
        if (v < 0) {
            free(bytes);
            return sl_json_fail(&p->place, SL_ERR_INVALID, "not base64 at character %zu", i + 1);
        }
        bits = (bits << 6) | (uint32_t)v;
        /* Of every four characters the last three complete a byte. */
        if (i % 4 != 0)
            bytes[n++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
    }
    *out = (ProtobufCBinaryData){.len = n, .data = bytes};
    return SL_OK;
}

static sl_err parse_submessage(struct parser *p, const ProtobufCMessageDescriptor *type, const json_t *json, ProtobufCMessage **out)
{
    ProtobufCMessage *message = NULL;
    sl_err err = sl_rpc_message_new(type, &message);
    if (err != SL_OK)
        return no_memory(p);
    err = parse_message(p, json, message);
    if (err == SL_OK)
        *out = message;
    else
        sl_rpc_message_free(message);
    return err;
}

/* One value into member, which holds nothing to be freed. After a failure member is unchanged. */
static sl_err parse_value(struct parser *p, const ProtobufCFieldDescriptor *field, const json_t *json, void *member)
{
    sl_err err = SL_OK;
    int64_t i = 0;
    uint64_t u = 0;
    double d = 0;
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        if ((err = parse_signed(p, json, INT32_MIN, INT32_MAX, &i)) == SL_OK)
            *(int32_t *)member = (int32_t)i;
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        if ((err = parse_unsigned(p, json, UINT32_MAX, &u)) == SL_OK)
            *(uint32_t *)member = (uint32_t)u;
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        if ((err = parse_signed(p, json, INT64_MIN, INT64_MAX, &i)) == SL_OK)
            *(int64_t *)member = i;
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        if ((err = parse_unsigned(p, json, UINT64_MAX, &u)) == SL_OK)
            *(uint64_t *)member = u;
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        if ((err = parse_double(p, json, (double)FLT_MAX, &d)) == SL_OK)
            *(float *)member = (float)d;
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        err = parse_double(p, json, DBL_MAX, member);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        if (!json_is_boolean(json))
            return wrong_kind(p, "true or false", json);
        *(protobuf_c_boolean *)member = json_is_true(json);
        break;
    case PROTOBUF_C_TYPE_ENUM:
        err = parse_enum(p, field->descriptor, json, member);
        break;
    case PROTOBUF_C_TYPE_STRING:
        err = parse_string(p, json, member);
        break;
    case PROTOBUF_C_TYPE_BYTES:
        err = parse_bytes(p, json, member);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        err = parse_submessage(p, field->descriptor, json, member);
        break;
    }
    return err;
}

/* ------------------------------------------------------------------------------------------------------------------------ lists */

static sl_err parse_list(struct parser *p, const ProtobufCFieldDescriptor *field, const json_t *json, size_t *count,
                         uint8_t **elements)
{
    if (!json_is_array(json))
        return wrong_kind(p, "a list", json);
    size_t size = sl_json_element_size(field->type), n = json_array_size(json);
    if (n == 0)
        return SL_OK;
    *elements = calloc(n, size);
    if (*elements == NULL)
        return no_memory(p);
    for (size_t i = 0; i < n; i++) {
        size_t before = sl_json_place_index(&p->place, i);
        sl_err err = parse_value(p, field, json_array_get(json, i), *elements + i * size);
        if (err != SL_OK)
            return err;
        sl_json_place_pop(&p->place, before);
        *count = i + 1;
    }
    return SL_OK;
}

/* The keys of a JSON object are text; a map's key may be a number or a boolean. */
static sl_err parse_key(struct parser *p, const ProtobufCFieldDescriptor *field, const char *text, ProtobufCMessage *entry)
{
    bool is_bool = field->type == PROTOBUF_C_TYPE_BOOL;
    if (is_bool && strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        return sl_json_fail(&p->place, SL_ERR_INVALID, "the key is neither true nor false");
    json_t *key = is_bool ? json_boolean(text[0] == 't') : json_string(text);
    if (key == NULL)
        return no_memory(p);
    sl_err err = parse_value(p, field, key, sl_json_member(entry, field));
    json_decref(key);
    return err;
}

static sl_err parse_entry(struct parser *p, const ProtobufCMessageDescriptor *type, const char *key, const json_t *json,
                          ProtobufCMessage **out)
{
    ProtobufCMessage *entry = NULL;
    if (sl_rpc_message_new(type, &entry) != SL_OK)
        return no_memory(p);
    sl_err err = parse_key(p, &type->fields[0], key, entry);
    if (err == SL_OK)
        err = parse_value(p, &type->fields[1], json, sl_json_member(entry, &type->fields[1]));
    if (err == SL_OK)
        *out = entry;
    else
        sl_rpc_message_free(entry);
    return err;
}

static sl_err parse_map(struct parser *p, const ProtobufCFieldDescriptor *field, const json_t *json, size_t *count,
                        uint8_t **elements)
{
    if (!json_is_object(json))
        return wrong_kind(p, "an object", json);
    size_t n = json_object_size(json);
    if (n == 0)
        return SL_OK;
    ProtobufCMessage **entries = calloc(n, sizeof(ProtobufCMessage *));
    if (entries == NULL)
        return no_memory(p);
    *elements = (uint8_t *)entries;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        size_t before = sl_json_place_key(&p->place, key);
        sl_err err = parse_entry(p, field->descriptor, key, value, &entries[*count]);
        if (err != SL_OK)
            return err;
        sl_json_place_pop(&p->place, before);
        ++*count;
    }
    return SL_OK;
}

/* --------------------------------------------------------------------------------------------------------------------- messages */

/* A name in JSON: lowerCamelCase or the original. Messages have few fields, so they are simply tried. */
static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *type, const char *name, bool *original)
{
    for (unsigned i = 0; i < type->n_fields; i++) {
        char camel[SL_JSON_NAME_MAX];
        sl_json_camel(type->fields[i].name, camel);
        if (strcmp(name, camel) == 0)
            return *original = false, &type->fields[i];
        if (strcmp(name, type->fields[i].name) == 0)
            return *original = true, &type->fields[i];
    }
    return NULL;
}

static sl_err parse_field(struct parser *p, const ProtobufCFieldDescriptor *field, const json_t *json, ProtobufCMessage *message)
{
    void *quantifier = (uint8_t *)message + field->quantifier_offset;
    void *member = sl_json_member(message, field);
    if (json_is_null(json))
        return SL_OK;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        if (sl_json_is_map(message->descriptor, field))
            return parse_map(p, field, json, quantifier, member);
        return parse_list(p, field, json, quantifier, member);
    }
    if (sl_json_is_oneof(field) && *(uint32_t *)quantifier != 0) {
        const ProtobufCFieldDescriptor *other =
            protobuf_c_message_descriptor_get_field(message->descriptor, *(uint32_t *)quantifier);
        return sl_json_fail(&p->place, SL_ERR_INVALID, "excludes %s, which is given too",
                            other != NULL ? other->name : "another field");
    }
    sl_err err = parse_value(p, field, json, member);
    if (err == SL_OK && sl_json_is_oneof(field))
        *(uint32_t *)quantifier = field->id;
    else if (err == SL_OK && field->label == PROTOBUF_C_LABEL_OPTIONAL && field->type != PROTOBUF_C_TYPE_STRING &&
             field->type != PROTOBUF_C_TYPE_MESSAGE)
        *(protobuf_c_boolean *)quantifier = 1;
    return err;
}

static sl_err check_required(struct parser *p, const json_t *json, const ProtobufCMessageDescriptor *type)
{
    for (unsigned i = 0; i < type->n_fields; i++) {
        char camel[SL_JSON_NAME_MAX];
        if (type->fields[i].label != PROTOBUF_C_LABEL_REQUIRED)
            continue;
        sl_json_camel(type->fields[i].name, camel);
        const json_t *value = json_object_get(json, camel);
        if (value == NULL)
            value = json_object_get(json, type->fields[i].name);
        if (value == NULL || json_is_null(value))
            return sl_json_fail(&p->place, SL_ERR_INVALID, "%s is missing", camel);
    }
    return SL_OK;
}

static sl_err parse_members(struct parser *p, const json_t *json, ProtobufCMessage *message)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)json, name, value)
    {
        bool original = false;
        const ProtobufCFieldDescriptor *field = find_field(message->descriptor, name, &original);
        if (field == NULL && (p->flags & SL_JSON_IGNORE_UNKNOWN) != 0)
            continue;
        if (field == NULL)
            return sl_json_fail(&p->place, SL_ERR_INVALID, "unknown field \"%.64s\"", name);
        size_t before = sl_json_place_field(&p->place, name);
        char camel[SL_JSON_NAME_MAX];
        sl_json_camel(field->name, camel);
        if (original && json_object_get(json, camel) != NULL)
            return sl_json_fail(&p->place, SL_ERR_INVALID, "given a second time as %s", camel);
        sl_err err = parse_field(p, field, value, message);
        if (err != SL_OK)
            return err;
        sl_json_place_pop(&p->place, before);
    }
    return check_required(p, json, message->descriptor);
}

static sl_err parse_message(struct parser *p, const json_t *json, ProtobufCMessage *message)
{
    if (!json_is_object(json))
        return wrong_kind(p, "an object", json);
    if (p->depth >= SL_RPC_DEPTH_MAX)
        return sl_json_fail(&p->place, SL_ERR_LIMIT, "nested deeper than %d", SL_RPC_DEPTH_MAX);
    p->depth++;
    sl_err err = parse_members(p, json, message);
    p->depth--;
    return err;
}

sl_err sl_json_to_message(const ProtobufCMessageDescriptor *type, const json_t *json, unsigned flags, ProtobufCMessage **out,
                          struct sl_diag *diag)
{
    struct parser p = {.flags = flags};
    sl_json_place_init(&p.place, diag);
    return parse_submessage(&p, type, json, out);
}

sl_err sl_json_parse(const ProtobufCMessageDescriptor *type, const char *text, size_t len, unsigned flags, ProtobufCMessage **out,
                     struct sl_diag *diag)
{
    json_error_t error;
    json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (json == NULL)
        return sl_fail(diag, SL_ERR_INVALID, "line %d, column %d: %s", error.line, error.column, error.text);
    sl_err err = sl_json_to_message(type, json, flags, out, diag);
    json_decref(json);
    return err;
}
