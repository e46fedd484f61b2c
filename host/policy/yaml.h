/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A configuration as YAML for people, and back.
 *
 *   keys    as in config.proto (decryption_rules); lowerCamelCase is accepted
 *   enums   lower case with hyphens (do-not-decrypt, block-reset, pin); the names in the schema are accepted. The schema's prefixes
 * fall away: fail-block is "block", revocation-soft "soft", crypto-modern "modern", trust-pin "pin" times   expires:
 * 2026-01-31T12:00:00Z stands for expires_ns; both are accepted bytes   der: a PEM block (|-scalar) or base64; written as PEM
 *
 * What is written can be read back without loss, and unset fields are left out. Reading is strict: unknown keys, repeated keys,
 * wrong kinds, several documents, tags, and anchors with aliases are errors, told with line, column and path. Limits bound what a
 * hostile file can cost.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "sluice/v1/config.pb-c.h"

enum {
    SL_YAML_BYTES_MAX = 16 << 20,
    SL_YAML_DEPTH_MAX = 16,
    SL_YAML_NODES_MAX = 1 << 20,
};

/* An empty document is an empty configuration. SL_ERR_INVALID, SL_ERR_LIMIT, SL_ERR_NOMEM with diag ("line 4, column 9:
 * decryption_rules[0].action: ..."); then *out is unchanged. Free *out with sl_rpc_message_free(&config->base). */
sl_err sl_policy_yaml_parse(const char *text, size_t len, Sluice__V1__Config **out, struct sl_diag *diag);

/* *out is a string from malloc. */
sl_err sl_policy_yaml_print(const Sluice__V1__Config *config, char **out, struct sl_diag *diag);

/* A unified diff (three lines of context) of the YAML forms; "" if they are equal. The names stand in the head lines. *out is from
 * malloc. */
sl_err sl_policy_yaml_diff(const char *from_name, const Sluice__V1__Config *from, const char *to_name, const Sluice__V1__Config *to,
                           char **out, struct sl_diag *diag);
