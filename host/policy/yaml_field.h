/* SPDX-License-Identifier: Apache-2.0 */
/* What reading and writing YAML share: the human forms of enums, times and certificates. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { SL_YAML_ENUM_MAX = 64 };

/* DO_NOT_DECRYPT → "do-not-decrypt", FAIL_BLOCK → "block". */
void sl_yaml_enum_text(const char *value_name, char out[static SL_YAML_ENUM_MAX]);
/* Either form, any case. NULL: no such value. */
const ProtobufCEnumValue *sl_yaml_enum_find(const ProtobufCEnumDescriptor *type, const char *text);

/* "2026-01-31T12:00:00Z", with fractions or an offset; a date alone means midnight UTC. SL_ERR_INVALID leaves *out unchanged. */
sl_err sl_yaml_time_parse(const char *text, uint64_t *out);
/* In UTC, without fractions where there are none. */
void sl_yaml_time_text(uint64_t ns, char out[static 31]);

/* The base64 of a PEM block or of plain base64, white space taken out; from malloc. SL_ERR_INVALID, SL_ERR_NOMEM. */
sl_err sl_yaml_base64_of(const char *text, char **out);
/* Base64 as a PEM block of a certificate; from malloc. */
sl_err sl_yaml_pem_of(const char *base64, char **out);

/* A field that is written in another form under another name: expires for expires_ns. */
bool sl_yaml_is_time(const ProtobufCFieldDescriptor *field);
#define SL_YAML_TIME_KEY "expires"
