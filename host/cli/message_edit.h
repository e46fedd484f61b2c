/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changing messages by field name, so that decryption rules and access rules, networks, services and hosts are one code. Names are
 * literals of the schema: a wrong name or kind is a fault of the program and ends it (abort).
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

const char *sl_edit_string(const ProtobufCMessage *m, const char *field);
bool sl_edit_bool(const ProtobufCMessage *m, const char *field);
uint64_t sl_edit_u64(const ProtobufCMessage *m, const char *field);
/* NULL if it isn't set. */
ProtobufCMessage *sl_edit_message(const ProtobufCMessage *m, const char *field);

/* Setters copy what they are given. SL_ERR_NOMEM; then nothing has changed. */
sl_err sl_edit_set_string(ProtobufCMessage *m, const char *field, const char *value);
void sl_edit_set_bool(ProtobufCMessage *m, const char *field, bool value);
void sl_edit_set_u64(ProtobufCMessage *m, const char *field, uint64_t value);
/* The message in the field, made if there is none. */
sl_err sl_edit_make_message(ProtobufCMessage *m, const char *field, ProtobufCMessage **out);

/* Repeated strings. */
size_t sl_edit_count(const ProtobufCMessage *m, const char *field);
const char *sl_edit_string_at(const ProtobufCMessage *m, const char *field, size_t index);
sl_err sl_edit_add_string(ProtobufCMessage *m, const char *field, const char *value);

/* Repeated messages. insert takes the item over if it succeeds; index is at most the count. */
ProtobufCMessage *sl_edit_at(const ProtobufCMessage *m, const char *field, size_t index);
sl_err sl_edit_insert(ProtobufCMessage *m, const char *field, size_t index, ProtobufCMessage *item);
/* Takes the item out and hands it over. */
ProtobufCMessage *sl_edit_take(ProtobufCMessage *m, const char *field, size_t index);
/* The index of the element whose string field "name" is name; SIZE_MAX: none. */
size_t sl_edit_find(const ProtobufCMessage *m, const char *field, const char *name);

/* Enums as people write them, as in the YAML form: DO_NOT_DECRYPT is "do-not-decrypt", FAIL_BLOCK "block", unspecified "default".
 * The schema's names are taken, too. Getters write to out and return it. */
sl_err sl_edit_set_enum(ProtobufCMessage *m, const char *field, const char *value);
const char *sl_edit_enum(const ProtobufCMessage *m, const char *field, char *out, size_t cap);
/* Any enum's value: "unknown 7" for a number without a name. */
const char *sl_edit_enum_text(const ProtobufCEnumDescriptor *type, int value, char *out, size_t cap);

/* A bool, number or enum from text, for a field that the user named (lower case, '-' or '_'). SL_ERR_INVALID with what is expected.
 */
sl_err sl_edit_set_scalar(ProtobufCMessage *m, const char *field, const char *text, struct sl_diag *diag);
/* A bool, number or enum as text. */
void sl_edit_scalar_text(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *field, char *out, size_t cap);
