/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any protobuf-c message as JSON and back, by the rules of proto3 JSON:
 *
 *   names        lowerCamelCase; the original name is accepted too
 *   int64…       strings ("18446744073709551615"); numbers are accepted (JSON numbers end at 2^63 - 1). Smaller integers are
 * numbers; "7", 7.0 and 7 are accepted float, double numbers, or "NaN", "Infinity", "-Infinity" bytes        base64; the URL
 * alphabet and missing padding are accepted enum         by name; a number is accepted. A value without a name is printed as a
 * number null         the field's default map<K, V>    an object; K any integer type, bool or string
 *
 * A field at its default is left out unless SL_JSON_DEFAULTS is given; an optional or oneof member that is set is always printed.
 * google.protobuf.Timestamp and the other well-known types are not used by Sluice's schema and are treated like any message.
 *
 * Errors carry the place: "decryptionRules[2].action: unknown value \"decript\"; one of DECRYPT, DO_NOT_DECRYPT, …".
 * A parsing error names the fields as the user wrote them.
 */
#pragma once

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

#include "base/err.h"

enum sl_json_flags {
    SL_JSON_DEFAULTS = 1,       /* print: fields at their default, too */
    SL_JSON_PROTO_NAMES = 2,    /* print: decryption_rules rather than decryptionRules */
    SL_JSON_IGNORE_UNKNOWN = 4, /* parse: skip fields that the message doesn't have */
    SL_JSON_INDENT = 8,         /* text: two spaces a level, for people */
};

/* A new reference in *out. SL_ERR_CORRUPT: a string isn't UTF-8; SL_ERR_LIMIT: deeper than SL_RPC_DEPTH_MAX; SL_ERR_NOMEM. Then
 * *out is unchanged. diag may be NULL. */
sl_err sl_json_from_message(const ProtobufCMessage *message, unsigned flags, json_t **out, struct sl_diag *diag);

/* The message is to be freed with sl_rpc_message_free. SL_ERR_INVALID, SL_ERR_LIMIT, SL_ERR_NOMEM; then *out is unchanged. */
sl_err sl_json_to_message(const ProtobufCMessageDescriptor *type, const json_t *json, unsigned flags, ProtobufCMessage **out,
                          struct sl_diag *diag);

/* The same from and to text. *out is to be freed with free. A syntax error is told with line and column; a repeated key is an
 * error. */
sl_err sl_json_print(const ProtobufCMessage *message, unsigned flags, char **out, struct sl_diag *diag);
sl_err sl_json_parse(const ProtobufCMessageDescriptor *type, const char *text, size_t len, unsigned flags, ProtobufCMessage **out,
                     struct sl_diag *diag);
