/* SPDX-License-Identifier: Apache-2.0 */
/* Configurations as text: YAML (policy/yaml.h) or JSON. */
#pragma once

#include "cli/cli.h"

enum { SL_CLI_CONFIG_BYTES_MAX = 4 << 20 };

/* *out is to be freed with free. form is "yaml" or "json". */
sl_err sl_config_text_print(const Sluice__V1__Config *config, const char *form, char **out, struct sl_diag *diag);
/* JSON if the first character is '{', else YAML. name (may be NULL) stands before the text in diag. *out is to be freed with
 * sl_rpc_message_free. */
sl_err sl_config_text_parse(const char *name, const char *text, size_t len, Sluice__V1__Config **out, struct sl_diag *diag);
