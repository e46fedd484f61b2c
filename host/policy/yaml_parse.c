/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parser's events drive a stack of frames, each a message or a list whose type the schema gives; values go into a JSON tree,
 * which the mapping of rpc/ turns into the message. The schema bounds the depth; anchors, which could multiply content, are
 * refused.
 */
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "policy/yaml.h"
#include "policy/yaml_field.h"
#include "rpc/json.h"
#include "rpc/message.h"

struct frame {
    const ProtobufCMessageDescriptor *type; /* of a message; NULL: a list */
    const ProtobufCFieldDescriptor *field;  /* message: the one whose value comes next, NULL: a key comes; list: the list's */
    json_t *json;                           /* owned */
    uint64_t seen;                          /* message: fields that have had a value */
};

struct reader {
    yaml_parser_t parser;
    struct frame stack[SL_YAML_DEPTH_MAX];
    size_t depth;
    size_t nodes;
    json_t *result; /* owned; the finished document */
    struct sl_diag *diag;
};

/* ---- errors ---- */

static size_t put(char *out, size_t size, size_t n, const char *format, ...) __attribute__((format(printf, 4, 5)));
static size_t put(char *out, size_t size, size_t n, const char *format, ...)
{
    va_list args;
    if (n >= size)
        return n;
    va_start(args, format);
    int wrote = vsnprintf(out + n, size - n, format, args);
    va_end(args);
    return wrote < 0 ? n : n + (size_t)wrote;
}

/* "decryption_rules[2].match.hosts[0]" */
static void describe_path(const struct reader *r, char out[static 160])
{
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < r->depth; i++) {
        const struct frame *f = &r->stack[i];
        if (f->type && f->field)
            n = put(out, 160, n, "%s%s", n ? "." : "", f->field->name);
        else if (!f->type)
            n = put(out, 160, n, "[%zu]", json_array_size(f->json));
    }
}

static sl_err fail_at(const struct reader *r, const yaml_mark_t *mark, sl_err err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static sl_err fail_at(const struct reader *r, const yaml_mark_t *mark, sl_err err, const char *format, ...)
{
    char path[160], text[320];
    va_list args;

    describe_path(r, path);
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return sl_fail(r->diag, err, "line %zu, column %zu: %s%s%s", mark->line + 1, mark->column + 1, path, path[0] ? ": " : "", text);
}

static sl_err no_memory(const struct reader *r)
{
    return sl_fail(r->diag, SL_ERR_NOMEM, "out of memory while reading YAML");
}

/* Text of a file for a message: short, and without control characters. */
static const char *shown(const char *text, char out[static 64])
{
    size_t n = 0;
    for (; n < 60 && text[n]; n++)
        out[n] = (char)((unsigned char)text[n] < 0x20 || text[n] == 0x7f ? '?' : text[n]);
    out[n] = '\0';
    return out;
}

/* ---- scalars ---- */

static bool is_null(const yaml_event_t *e)
{
    const char *text = (const char *)e->data.scalar.value;
    return e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && (!text[0] || strcmp(text, "~") == 0 || strcmp(text, "null") == 0 ||
                                                               strcmp(text, "Null") == 0 || strcmp(text, "NULL") == 0);
}

static sl_err read_integer(const struct reader *r, const ProtobufCFieldDescriptor *field, const yaml_event_t *e, json_t **out)
{
    const char *text = (const char *)e->data.scalar.value;
    uint64_t max = field->type == PROTOBUF_C_TYPE_UINT32 ? UINT32_MAX : UINT64_MAX, value = 0;
    char word[64];

    for (const char *c = text; *c; c++) {
        uint64_t digit = (uint64_t)(*c - '0');
        if (*c < '0' || *c > '9' || value > (max - digit) / 10)
            return fail_at(r, &e->start_mark, SL_ERR_INVALID, "\"%s\" is no number from 0 to %llu", shown(text, word),
                           (unsigned long long)max);
        value = value * 10 + digit;
    }
    if (!text[0])
        return fail_at(r, &e->start_mark, SL_ERR_INVALID, "a number is missing");
    *out = json_string(text);
    return *out ? SL_OK : no_memory(r);
}

static sl_err read_time(const struct reader *r, const yaml_event_t *e, json_t **out)
{
    const char *text = (const char *)e->data.scalar.value;
    char word[64], number[24];
    uint64_t ns = 0;

    if (sl_yaml_time_parse(text, &ns))
        return fail_at(r, &e->start_mark, SL_ERR_INVALID, "\"%s\" is no time; write it like 2026-01-31T12:00:00Z",
                       shown(text, word));
    snprintf(number, sizeof(number), "%llu", (unsigned long long)ns);
    *out = json_string(number);
    return *out ? SL_OK : no_memory(r);
}

static sl_err read_bool(const struct reader *r, const yaml_event_t *e, json_t **out)
{
    const char *text = (const char *)e->data.scalar.value;
    char word[64];

    if (strcasecmp(text, "true") != 0 && strcasecmp(text, "false") != 0)
        return fail_at(r, &e->start_mark, SL_ERR_INVALID, "\"%s\": write true or false", shown(text, word));
    *out = json_boolean(strcasecmp(text, "true") == 0);
    return *out ? SL_OK : no_memory(r);
}

static sl_err read_enum(const struct reader *r, const ProtobufCFieldDescriptor *field, const yaml_event_t *e, json_t **out)
{
    const ProtobufCEnumDescriptor *type = field->descriptor;
    const char *text = (const char *)e->data.scalar.value;
    const ProtobufCEnumValue *value = sl_yaml_enum_find(type, text);
    char known[200] = "", word[64], name[SL_YAML_ENUM_MAX];
    size_t n = 0;

    if (!value) {
        for (unsigned i = 1; i < type->n_values; i++) { /* the first is UNSPECIFIED */
            sl_yaml_enum_text(type->values[i].name, name);
            n = put(known, sizeof(known), n, "%s%s", i > 1 ? ", " : "", name);
        }
        return fail_at(r, &e->start_mark, SL_ERR_INVALID, "\"%s\" is unknown; one of %s", shown(text, word), known);
    }
    *out = json_string(value->name);
    return *out ? SL_OK : no_memory(r);
}

static sl_err read_bytes(const struct reader *r, const yaml_event_t *e, json_t **out)
{
    char *base64 = NULL;
    sl_err err = sl_yaml_base64_of((const char *)e->data.scalar.value, &base64);

    if (err == SL_ERR_INVALID)
        return fail_at(r, &e->start_mark, err, "neither base64 nor one PEM block \"-----BEGIN CERTIFICATE-----\"");
    if (err)
        return no_memory(r);
    *out = json_string(base64);
    free(base64);
    return *out ? SL_OK : no_memory(r);
}

static sl_err read_scalar(const struct reader *r, const ProtobufCFieldDescriptor *field, const yaml_event_t *e, bool as_time,
                          json_t **out)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        *out = json_stringn((const char *)e->data.scalar.value, e->data.scalar.length);
        return *out ? SL_OK : no_memory(r);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_UINT64:
        return as_time ? read_time(r, e, out) : read_integer(r, field, e, out);
    case PROTOBUF_C_TYPE_BOOL:
        return read_bool(r, e, out);
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(r, field, e, out);
    case PROTOBUF_C_TYPE_BYTES:
        return read_bytes(r, e, out);
    default:
        return fail_at(r, &e->start_mark, SL_ERR_INVALID, "expected keys and values below it, not a single value");
    }
}

/* ---- keys ---- */

static bool key_is(const ProtobufCFieldDescriptor *field, const char *key)
{
    const char *n = field->name;
    if (strcmp(n, key) == 0)
        return true;
    for (; *n && *key; n++, key++) { /* lowerCamelCase */
        char expected = *n;
        if (*n == '_' && n[1] >= 'a' && n[1] <= 'z')
            expected = (char)(*++n - 'a' + 'A');
        if (expected != *key)
            return false;
    }
    return *n == *key;
}

static const ProtobufCFieldDescriptor *field_of(const ProtobufCMessageDescriptor *type, const char *key, unsigned *index)
{
    for (*index = 0; *index < type->n_fields; (*index)++) {
        const ProtobufCFieldDescriptor *f = &type->fields[*index];
        if (key_is(f, key) || (sl_yaml_is_time(f) && strcmp(key, SL_YAML_TIME_KEY) == 0))
            return f;
    }
    return NULL;
}

static sl_err read_key(struct reader *r, struct frame *f, const yaml_event_t *e)
{
    const char *key = (const char *)e->data.scalar.value;
    char known[240] = "", word[64];
    unsigned index = 0;
    size_t n = 0;
    const ProtobufCFieldDescriptor *field = field_of(f->type, key, &index);

    if (!field) {
        for (unsigned i = 0; i < f->type->n_fields; i++) {
            const ProtobufCFieldDescriptor *k = &f->type->fields[i];
            n = put(known, sizeof(known), n, "%s%s", i ? ", " : "", sl_yaml_is_time(k) ? SL_YAML_TIME_KEY : k->name);
        }
        return fail_at(r, &e->start_mark, SL_ERR_INVALID, "unknown key \"%s\"; here are known: %s", shown(key, word), known);
    }
    if (f->seen & (UINT64_C(1) << index))
        return fail_at(r, &e->start_mark, SL_ERR_INVALID, "the key \"%s\" stands here twice; remove one", shown(key, word));
    f->seen |= UINT64_C(1) << index;
    f->field = field;
    return SL_OK;
}

/* ---- structure ---- */

static bool is_list(const ProtobufCFieldDescriptor *field)
{
    return field->label == PROTOBUF_C_LABEL_REPEATED;
}

/* The reader takes the value over, whatever happens. */
static sl_err put_value(struct reader *r, json_t *value)
{
    if (r->depth == 0) {
        json_decref(r->result);
        r->result = value;
        return SL_OK;
    }
    struct frame *f = &r->stack[r->depth - 1];
    int failed = f->type ? json_object_set_new(f->json, f->field->name, value) : json_array_append_new(f->json, value);
    if (f->type)
        f->field = NULL;
    return failed ? no_memory(r) : SL_OK;
}

static sl_err push(struct reader *r, const yaml_event_t *e, const ProtobufCMessageDescriptor *type,
                   const ProtobufCFieldDescriptor *list)
{
    if (r->depth == SL_YAML_DEPTH_MAX)
        return fail_at(r, &e->start_mark, SL_ERR_LIMIT, "nested too deeply");
    json_t *json = type ? json_object() : json_array();
    if (!json)
        return no_memory(r);
    r->stack[r->depth++] = (struct frame){.type = type, .field = list, .json = json};
    return SL_OK;
}

static sl_err on_scalar(struct reader *r, const yaml_event_t *e)
{
    struct frame *f = r->depth ? &r->stack[r->depth - 1] : NULL;
    json_t *value = NULL;
    sl_err err;

    if (e->data.scalar.anchor || e->data.scalar.tag)
        return fail_at(r, &e->start_mark, SL_ERR_INVALID,
                       "anchors (&) and tags (!) are not taken; write the value out, or quote it");
    if (memchr(e->data.scalar.value, 0, e->data.scalar.length))
        return fail_at(r, &e->start_mark, SL_ERR_INVALID, "a value can't have a NUL character in it");
    if (!f)
        return is_null(e) ? SL_OK : fail_at(r, &e->start_mark, SL_ERR_INVALID, "expected a policy: keys such as decryption_rules");
    if (f->type && !f->field)
        return read_key(r, f, e);
    if (f->type && is_null(e)) { /* as if it weren't there */
        f->field = NULL;
        return SL_OK;
    }
    if (is_null(e))
        return fail_at(r, &e->start_mark, SL_ERR_INVALID, "an empty entry; remove the '-', or quote the text");
    if (f->type && is_list(f->field))
        return fail_at(r, &e->start_mark, SL_ERR_INVALID, "expected a list: entries that begin with '-', or [a, b]");
    /* whichever key was written, a value that isn't all digits must be a time */
    const char *text = (const char *)e->data.scalar.value;
    bool as_time = sl_yaml_is_time(f->field) && text[strspn(text, "0123456789")];
    err = read_scalar(r, f->field, e, as_time, &value);
    return err ? err : put_value(r, value);
}

static sl_err on_mapping(struct reader *r, const yaml_event_t *e)
{
    struct frame *f = r->depth ? &r->stack[r->depth - 1] : NULL;

    if (e->data.mapping_start.anchor || e->data.mapping_start.tag)
        return fail_at(r, &e->start_mark, SL_ERR_INVALID, "anchors (&) and tags (!) are not taken; write the value out");
    if (!f)
        return push(r, e, &sluice__v1__config__descriptor, NULL);
    if (f->type && !f->field)
        return fail_at(r, &e->start_mark, SL_ERR_INVALID, "a key is a plain word");
    if (f->type && is_list(f->field))
        return fail_at(r, &e->start_mark, SL_ERR_INVALID, "expected a list: put '-' before the entry");
    if (f->field->type != PROTOBUF_C_TYPE_MESSAGE)
        return fail_at(r, &e->start_mark, SL_ERR_INVALID,
                       "expected a single value, not keys and values (quote a text with ': ' in it)");
    return push(r, e, f->field->descriptor, NULL);
}

static sl_err on_sequence(struct reader *r, const yaml_event_t *e)
{
    struct frame *f = r->depth ? &r->stack[r->depth - 1] : NULL;

    if (e->data.sequence_start.anchor || e->data.sequence_start.tag)
        return fail_at(r, &e->start_mark, SL_ERR_INVALID, "anchors (&) and tags (!) are not taken; write the list out");
    if (!f)
        return fail_at(r, &e->start_mark, SL_ERR_INVALID, "expected a policy: keys such as decryption_rules, not a list");
    if (f->type && !f->field)
        return fail_at(r, &e->start_mark, SL_ERR_INVALID, "a key is a plain word");
    if (!f->type || !is_list(f->field))
        return fail_at(r, &e->start_mark, SL_ERR_INVALID,
                       "expected a single value, not a list (quote a text that begins with '[' or '-')");
    return push(r, e, NULL, f->field);
}

static sl_err on_end(struct reader *r)
{
    json_t *json = r->stack[--r->depth].json;
    return put_value(r, json);
}

static sl_err on_event(struct reader *r, const yaml_event_t *e, unsigned *documents)
{
    if (++r->nodes > SL_YAML_NODES_MAX)
        return fail_at(r, &e->start_mark, SL_ERR_LIMIT, "more than %d values", SL_YAML_NODES_MAX);
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        return on_scalar(r, e);
    case YAML_MAPPING_START_EVENT:
        return on_mapping(r, e);
    case YAML_SEQUENCE_START_EVENT:
        return on_sequence(r, e);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        return on_end(r);
    case YAML_ALIAS_EVENT:
        return fail_at(r, &e->start_mark, SL_ERR_INVALID, "aliases (*) are not taken; write the value out, or quote it");
    case YAML_DOCUMENT_START_EVENT:
        if (++*documents > 1)
            return fail_at(r, &e->start_mark, SL_ERR_INVALID, "a second document; a policy is one document");
        return SL_OK;
    default:
        return SL_OK;
    }
}

static sl_err fail_syntax(const struct reader *r)
{
    const yaml_parser_t *p = &r->parser;

    if (p->error == YAML_MEMORY_ERROR)
        return no_memory(r);
    if (p->error == YAML_READER_ERROR)
        return sl_fail(r->diag, SL_ERR_INVALID, "byte %zu: not plain UTF-8 text: %s", p->problem_offset,
                       p->problem ? p->problem : "");
    return fail_at(r, &p->problem_mark, SL_ERR_INVALID, "YAML syntax: %s%s%s", p->problem ? p->problem : "unreadable",
                   p->context ? ", " : "", p->context ? p->context : "");
}

static sl_err read_document(struct reader *r)
{
    unsigned documents = 0;
    bool end = false;
    sl_err err = SL_OK;

    while (!err && !end) {
        yaml_event_t e;
        if (!yaml_parser_parse(&r->parser, &e))
            return fail_syntax(r);
        end = e.type == YAML_STREAM_END_EVENT;
        err = on_event(r, &e, &documents);
        yaml_event_delete(&e);
    }
    if (!err && !r->result && !(r->result = json_object()))
        err = no_memory(r);
    return err;
}

sl_err sl_policy_yaml_parse(const char *text, size_t len, Sluice__V1__Config **out, struct sl_diag *diag)
{
    struct reader r = {.diag = diag};
    ProtobufCMessage *message = NULL;
    sl_err err;

    if (len > SL_YAML_BYTES_MAX)
        return sl_fail(diag, SL_ERR_LIMIT, "the YAML text is larger than %d MiB", SL_YAML_BYTES_MAX >> 20);
    if (!yaml_parser_initialize(&r.parser))
        return no_memory(&r);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
    err = read_document(&r);
    if (!err)
        err = sl_json_to_message(&sluice__v1__config__descriptor, r.result, 0, &message, diag);
    if (!err)
        *out = (Sluice__V1__Config *)message;
    while (r.depth)
        json_decref(r.stack[--r.depth].json);
    json_decref(r.result);
    yaml_parser_delete(&r.parser);
    return err;
}
