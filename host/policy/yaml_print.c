/* SPDX-License-Identifier: Apache-2.0 */
/* The message's JSON tree, written as YAML in the order of the schema. A list of frames takes the place of recursion. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "base/buf.h"
#include "policy/yaml.h"
#include "policy/yaml_field.h"
#include "rpc/json.h"

struct frame {
    const ProtobufCMessageDescriptor *type; /* NULL: a list of field */
    const ProtobufCFieldDescriptor *field;
    const json_t *json;
    size_t next; /* field or entry */
};

struct writer {
    yaml_emitter_t emitter;
    struct sl_buf out;
    struct frame stack[SL_YAML_DEPTH_MAX];
    size_t depth;
};

static int append(void *arg, unsigned char *bytes, size_t len)
{
    return sl_buf_append(arg, bytes, len) == SL_OK;
}

/* The emitter releases the event, whatever happens. */
static sl_err emit(struct writer *w, yaml_event_t *e, int made)
{
    return made && yaml_emitter_emit(&w->emitter, e) ? SL_OK : SL_ERR_NOMEM;
}

static sl_err emit_scalar(struct writer *w, const char *text, yaml_scalar_style_t style)
{
    yaml_event_t e;
    return emit(w, &e, yaml_scalar_event_initialize(&e, NULL, NULL, (const yaml_char_t *)text, (int)strlen(text), 1, 1, style));
}

/* Words that YAML readers take for something else than text. */
static bool needs_quotes(const ProtobufCFieldDescriptor *field, const char *text)
{
    static const char *const WORDS[] = {"", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", "=", "<<"};
    for (size_t i = 0; i < sizeof(WORDS) / sizeof(WORDS[0]); i++)
        if (strcasecmp(text, WORDS[i]) == 0)
            return true;
    return strcmp(field->name, "ports") != 0 && strspn(text, "0123456789.+-eExXoO_:") == strlen(text);
}

static sl_err print_bytes(struct writer *w, const json_t *value)
{
    char *pem = NULL;
    sl_err err = sl_yaml_pem_of(json_string_value(value), &pem);
    if (!err)
        err = emit_scalar(w, pem, YAML_LITERAL_SCALAR_STYLE);
    free(pem);
    return err;
}

static sl_err print_scalar(struct writer *w, const ProtobufCFieldDescriptor *field, const json_t *value)
{
    char text[SL_YAML_ENUM_MAX];

    if (field->type == PROTOBUF_C_TYPE_BYTES)
        return print_bytes(w, value);
    if (sl_yaml_is_time(field) && json_is_string(value)) {
        sl_yaml_time_text(strtoull(json_string_value(value), NULL, 10), text);
        return emit_scalar(w, text, YAML_PLAIN_SCALAR_STYLE);
    }
    if (field->type == PROTOBUF_C_TYPE_ENUM && json_is_string(value)) {
        sl_yaml_enum_text(json_string_value(value), text);
        return emit_scalar(w, text, YAML_PLAIN_SCALAR_STYLE);
    }
    if (json_is_string(value)) {
        const char *s = json_string_value(value);
        bool quote = field->type == PROTOBUF_C_TYPE_STRING && needs_quotes(field, s);
        return emit_scalar(w, s, quote ? YAML_SINGLE_QUOTED_SCALAR_STYLE : YAML_ANY_SCALAR_STYLE);
    }
    if (json_is_boolean(value))
        return emit_scalar(w, json_is_true(value) ? "true" : "false", YAML_PLAIN_SCALAR_STYLE);
    snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(value));
    return emit_scalar(w, text, YAML_PLAIN_SCALAR_STYLE);
}

static sl_err push(struct writer *w, const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *field,
                   const json_t *json)
{
    yaml_event_t e;

    if (w->depth == SL_YAML_DEPTH_MAX)
        return SL_ERR_LIMIT;
    w->stack[w->depth++] = (struct frame){.type = type, .field = field, .json = json};
    if (type)
        return emit(w, &e, yaml_mapping_start_event_initialize(&e, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE));
    return emit(w, &e, yaml_sequence_start_event_initialize(&e, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE));
}

static sl_err print_value(struct writer *w, const ProtobufCFieldDescriptor *field, const json_t *value)
{
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return push(w, field->descriptor, NULL, value);
    return print_scalar(w, field, value);
}

/* The next field of a message, or the next entry of a list; at the end the frame is closed. */
static sl_err step(struct writer *w)
{
    struct frame *f = &w->stack[w->depth - 1];
    yaml_event_t e;

    if (!f->type) {
        if (f->next < json_array_size(f->json))
            return print_value(w, f->field, json_array_get(f->json, f->next++));
        w->depth--;
        return emit(w, &e, yaml_sequence_end_event_initialize(&e));
    }
    while (f->next < f->type->n_fields) {
        const ProtobufCFieldDescriptor *field = &f->type->fields[f->next++];
        const json_t *value = json_object_get(f->json, field->name);
        if (!value)
            continue;
        sl_err err = emit_scalar(w, sl_yaml_is_time(field) ? SL_YAML_TIME_KEY : field->name, YAML_PLAIN_SCALAR_STYLE);
        if (err)
            return err;
        return field->label == PROTOBUF_C_LABEL_REPEATED ? push(w, NULL, field, value) : print_value(w, field, value);
    }
    w->depth--;
    return emit(w, &e, yaml_mapping_end_event_initialize(&e));
}

static sl_err print_document(struct writer *w, const json_t *json)
{
    yaml_event_t e;
    sl_err err;

    if ((err = emit(w, &e, yaml_stream_start_event_initialize(&e, YAML_UTF8_ENCODING))) ||
        (err = emit(w, &e, yaml_document_start_event_initialize(&e, NULL, NULL, NULL, 1))) ||
        (err = push(w, &sluice__v1__config__descriptor, NULL, json)))
        return err;
    while (w->depth && !err)
        err = step(w);
    if (err || (err = emit(w, &e, yaml_document_end_event_initialize(&e, 1))))
        return err;
    return emit(w, &e, yaml_stream_end_event_initialize(&e));
}

sl_err sl_policy_yaml_print(const Sluice__V1__Config *config, char **out, struct sl_diag *diag)
{
    struct writer w = {0};
    json_t *json = NULL;
    uint8_t *end = NULL;
    sl_err err = sl_json_from_message(&config->base, SL_JSON_PROTO_NAMES, &json, diag);

    if (err)
        return err;
    sl_buf_init(&w.out, (size_t)1 << 30);
    if (!yaml_emitter_initialize(&w.emitter)) {
        json_decref(json);
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory while writing YAML");
    }
    yaml_emitter_set_output(&w.emitter, append, &w.out);
    yaml_emitter_set_unicode(&w.emitter, 1);
    yaml_emitter_set_width(&w.emitter, -1);
    err = print_document(&w, json);
    if (!err && !(err = sl_buf_reserve(&w.out, 1, &end))) {
        *end = '\0';
        sl_buf_commit(&w.out, 1);
        *out = strdup((const char *)sl_buf_data(&w.out));
        err = *out ? SL_OK : SL_ERR_NOMEM;
    }
    if (err)
        sl_fail(diag, err, "the policy can't be written as YAML: %s", w.emitter.problem ? w.emitter.problem : sl_err_str(err));
    yaml_emitter_delete(&w.emitter);
    sl_buf_free(&w.out);
    json_decref(json);
    return err;
}
