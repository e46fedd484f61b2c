/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/config_text.h"

#include <string.h>

#include "policy/yaml.h"
#include "rpc/json.h"

sl_err sl_config_text_print(const Sluice__V1__Config *config, const char *form, char **out, struct sl_diag *diag)
{
    if (strcmp(form, "json") == 0)
        return sl_json_print(&config->base, SL_JSON_INDENT, out, diag);
    return sl_policy_yaml_print(config, out, diag);
}

sl_err sl_config_text_parse(const char *name, const char *text, size_t len, Sluice__V1__Config **out, struct sl_diag *diag)
{
    ProtobufCMessage *message = NULL;
    size_t blank = strspn(text, " \t\r\n");
    sl_err err;

    if (text[blank] == '{') {
        err = sl_json_parse(&sluice__v1__config__descriptor, text, len, 0, &message, diag);
        if (!err)
            *out = (Sluice__V1__Config *)message;
    } else {
        err = sl_policy_yaml_parse(text, len, out, diag);
    }
    return err && name ? sl_fail_prefix(diag, err, "%s", name) : err;
}
