/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/message_edit.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/units.h"
#include "rpc/message.h"

static const ProtobufCFieldDescriptor *describe(const ProtobufCMessage *m, const char *field, ProtobufCLabel label,
                                                ProtobufCType type)
{
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, field);
    if (!f || f->type != type || (f->label == PROTOBUF_C_LABEL_REPEATED) != (label == PROTOBUF_C_LABEL_REPEATED))
        abort();
    return f;
}

static void *member(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    return (char *)(uintptr_t)m + f->offset;
}

static size_t *quantifier(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    return (size_t *)(void *)((char *)(uintptr_t)m + f->quantifier_offset);
}

#define ONE  PROTOBUF_C_LABEL_NONE
#define MANY PROTOBUF_C_LABEL_REPEATED

const char *sl_edit_string(const ProtobufCMessage *m, const char *field)
{
    const char *s = *(char *const *)member(m, describe(m, field, ONE, PROTOBUF_C_TYPE_STRING));
    return s ? s : "";
}

bool sl_edit_bool(const ProtobufCMessage *m, const char *field)
{
    return *(const protobuf_c_boolean *)member(m, describe(m, field, ONE, PROTOBUF_C_TYPE_BOOL)) != 0;
}

uint64_t sl_edit_u64(const ProtobufCMessage *m, const char *field)
{
    return *(const uint64_t *)member(m, describe(m, field, ONE, PROTOBUF_C_TYPE_UINT64));
}

ProtobufCMessage *sl_edit_message(const ProtobufCMessage *m, const char *field)
{
    return *(ProtobufCMessage **)member(m, describe(m, field, ONE, PROTOBUF_C_TYPE_MESSAGE));
}

sl_err sl_edit_set_string(ProtobufCMessage *m, const char *field, const char *value)
{
    const ProtobufCFieldDescriptor *f = describe(m, field, ONE, PROTOBUF_C_TYPE_STRING);
    char **at = member(m, f), *copy = strdup(value);

    if (!copy)
        return SL_ERR_NOMEM;
    if (*at && *at != f->default_value && *at != protobuf_c_empty_string)
        free(*at);
    *at = copy;
    return SL_OK;
}

void sl_edit_set_bool(ProtobufCMessage *m, const char *field, bool value)
{
    *(protobuf_c_boolean *)member(m, describe(m, field, ONE, PROTOBUF_C_TYPE_BOOL)) = value;
}

void sl_edit_set_u64(ProtobufCMessage *m, const char *field, uint64_t value)
{
    *(uint64_t *)member(m, describe(m, field, ONE, PROTOBUF_C_TYPE_UINT64)) = value;
}

sl_err sl_edit_make_message(ProtobufCMessage *m, const char *field, ProtobufCMessage **out)
{
    const ProtobufCFieldDescriptor *f = describe(m, field, ONE, PROTOBUF_C_TYPE_MESSAGE);
    ProtobufCMessage **at = member(m, f);
    sl_err err = *at ? SL_OK : sl_rpc_message_new(f->descriptor, at);
    if (!err)
        *out = *at;
    return err;
}

size_t sl_edit_count(const ProtobufCMessage *m, const char *field)
{
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, field);
    if (!f || f->label != PROTOBUF_C_LABEL_REPEATED)
        abort();
    return *quantifier(m, f);
}

const char *sl_edit_string_at(const ProtobufCMessage *m, const char *field, size_t index)
{
    return (*(char ***)member(m, describe(m, field, MANY, PROTOBUF_C_TYPE_STRING)))[index];
}

/* Room for one more pointer in a repeated field. */
static sl_err grow(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    void **at = member(m, f);
    void *grown = reallocarray(*at, *quantifier(m, f) + 1, sizeof(void *));
    if (!grown)
        return SL_ERR_NOMEM;
    *at = grown;
    return SL_OK;
}

sl_err sl_edit_add_string(ProtobufCMessage *m, const char *field, const char *value)
{
    const ProtobufCFieldDescriptor *f = describe(m, field, MANY, PROTOBUF_C_TYPE_STRING);
    char *copy = strdup(value);
    sl_err err = copy ? grow(m, f) : SL_ERR_NOMEM;

    if (err) {
        free(copy);
        return err;
    }
    (*(char ***)member(m, f))[(*quantifier(m, f))++] = copy;
    return SL_OK;
}

ProtobufCMessage *sl_edit_at(const ProtobufCMessage *m, const char *field, size_t index)
{
    return (*(ProtobufCMessage ***)member(m, describe(m, field, MANY, PROTOBUF_C_TYPE_MESSAGE)))[index];
}

sl_err sl_edit_insert(ProtobufCMessage *m, const char *field, size_t index, ProtobufCMessage *item)
{
    const ProtobufCFieldDescriptor *f = describe(m, field, MANY, PROTOBUF_C_TYPE_MESSAGE);
    size_t *count = quantifier(m, f);
    sl_err err = grow(m, f);

    if (err)
        return err;
    ProtobufCMessage **items = *(ProtobufCMessage ***)member(m, f);
    memmove(items + index + 1, items + index, (*count - index) * sizeof(void *));
    items[index] = item;
    ++*count;
    return SL_OK;
}

ProtobufCMessage *sl_edit_take(ProtobufCMessage *m, const char *field, size_t index)
{
    const ProtobufCFieldDescriptor *f = describe(m, field, MANY, PROTOBUF_C_TYPE_MESSAGE);
    size_t *count = quantifier(m, f);
    ProtobufCMessage **items = *(ProtobufCMessage ***)member(m, f), *item = items[index];

    memmove(items + index, items + index + 1, (*count - index - 1) * sizeof(void *));
    --*count;
    return item;
}

size_t sl_edit_find(const ProtobufCMessage *m, const char *field, const char *name)
{
    size_t count = sl_edit_count(m, field);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(sl_edit_string(sl_edit_at(m, field, i), "name"), name) == 0)
            return i;
    }
    return SIZE_MAX;
}

/*
 * People don't write what the names of an enum have in common: FAIL_BLOCK, FAIL_BYPASS, … are "block", "bypass", …; a value that is
 * not specified is "default". Returns the length of what falls away.
 */
static size_t enum_prefix(const ProtobufCEnumDescriptor *type)
{
    const char *first = NULL;
    size_t len = 0;

    for (unsigned i = 0; i < type->n_values; i++) {
        const char *name = type->values[i].name;
        if (strstr(name, "_UNSPECIFIED"))
            continue;
        if (!first) {
            first = name;
            len = strlen(name);
        }
        size_t same = 0;
        while (same < len && name[same] == first[same])
            same++;
        len = same;
    }
    while (len > 0 && first[len - 1] != '_')
        len--;
    return len;
}

static bool enum_name_is(const char *name, const char *text)
{
    for (; *name && *text; name++, text++) {
        if (*name != (*text == '-' ? '_' : (char)toupper((unsigned char)*text)))
            return false;
    }
    return *name == *text;
}

static const ProtobufCEnumValue *enum_value(const ProtobufCEnumDescriptor *type, const char *text)
{
    size_t prefix = enum_prefix(type);
    for (unsigned i = 0; i < type->n_values; i++) {
        const char *name = type->values[i].name;
        bool unspecified = strstr(name, "_UNSPECIFIED") != NULL;
        if (enum_name_is(name, text) || (!unspecified && enum_name_is(name + prefix, text)) ||
            (unspecified && strcmp(text, "default") == 0))
            return &type->values[i];
    }
    return NULL;
}

const char *sl_edit_enum_text(const ProtobufCEnumDescriptor *type, int value, char *out, size_t cap)
{
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(type, value);
    if (!v) {
        snprintf(out, cap, "unknown %d", value);
        return out;
    }
    bool unspecified = strstr(v->name, "_UNSPECIFIED") != NULL;
    snprintf(out, cap, "%s", unspecified ? "DEFAULT" : v->name + enum_prefix(type));
    for (char *at = out; *at; at++)
        *at = *at == '_' ? '-' : (char)tolower((unsigned char)*at);
    return out;
}

sl_err sl_edit_set_enum(ProtobufCMessage *m, const char *field, const char *value)
{
    const ProtobufCFieldDescriptor *f = describe(m, field, ONE, PROTOBUF_C_TYPE_ENUM);
    const ProtobufCEnumValue *v = enum_value(f->descriptor, value);
    if (!v)
        return SL_ERR_INVALID;
    *(int *)member(m, f) = v->value;
    return SL_OK;
}

const char *sl_edit_enum(const ProtobufCMessage *m, const char *field, char *out, size_t cap)
{
    const ProtobufCFieldDescriptor *f = describe(m, field, ONE, PROTOBUF_C_TYPE_ENUM);
    return sl_edit_enum_text(f->descriptor, *(const int *)member(m, f), out, cap);
}

static sl_err set_enum_scalar(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, const char *text, struct sl_diag *diag)
{
    const ProtobufCEnumDescriptor *type = f->descriptor;
    const ProtobufCEnumValue *v = enum_value(type, text);
    char list[256] = "", name[64];

    if (v) {
        *(int *)member(m, f) = v->value;
        return SL_OK;
    }
    for (unsigned i = 0; i < type->n_values; i++) {
        size_t len = strlen(list);
        snprintf(list + len, sizeof list - len, "%s%s", i ? ", " : "",
                 sl_edit_enum_text(type, type->values[i].value, name, sizeof name));
    }
    return sl_fail(diag, SL_ERR_INVALID, "%s: '%s' is not one of %s", f->name, text, list);
}

sl_err sl_edit_set_scalar(ProtobufCMessage *m, const char *field, const char *text, struct sl_diag *diag)
{
    char name[64];
    uint64_t number = 0;
    sl_err err;

    snprintf(name, sizeof name, "%s", field);
    for (char *at = name; *at; at++)
        *at = *at == '-' ? '_' : *at;
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name);
    if (!f || f->label == PROTOBUF_C_LABEL_REPEATED)
        return sl_fail(diag, SL_ERR_INVALID, "there is no setting '%s'", field);
    switch (f->type) {
    case PROTOBUF_C_TYPE_ENUM:
        return set_enum_scalar(m, f, text, diag);
    case PROTOBUF_C_TYPE_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return sl_fail(diag, SL_ERR_INVALID, "%s: '%s' is neither true nor false", f->name, text);
        *(protobuf_c_boolean *)member(m, f) = text[0] == 't';
        return SL_OK;
    case PROTOBUF_C_TYPE_UINT32:
        err = sl_units_number(f->name, text, 0, UINT32_MAX, &number, diag);
        if (!err)
            *(uint32_t *)member(m, f) = (uint32_t)number;
        return err;
    default:
        return sl_fail(diag, SL_ERR_UNSUPPORTED, "%s can't be set this way; use 'sluicectl config edit'", f->name);
    }
}

void sl_edit_scalar_text(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *field, char *out, size_t cap)
{
    const void *at = member(m, field);
    switch (field->type) {
    case PROTOBUF_C_TYPE_ENUM:
        sl_edit_enum_text(field->descriptor, *(const int *)at, out, cap);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        snprintf(out, cap, "%s", *(const protobuf_c_boolean *)at ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_UINT32:
        snprintf(out, cap, "%" PRIu32, *(const uint32_t *)at);
        break;
    case PROTOBUF_C_TYPE_UINT64:
        snprintf(out, cap, "%" PRIu64, *(const uint64_t *)at);
        break;
    default:
        snprintf(out, cap, "?");
        break;
    }
}
