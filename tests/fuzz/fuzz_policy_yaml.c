/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a policy in YAML: an error, or a configuration that is printed and read back without change. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "policy/yaml.h"
#include "rpc/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Sluice__V1__Config *first = NULL, *second = NULL;
    char *text = NULL, *again = NULL;
    struct sl_diag diag = {""};

    if (sl_policy_yaml_parse((const char *)data, size, &first, &diag)) {
        if (!diag.text[0])
            abort();
        return 0;
    }
    if (sl_policy_yaml_print(first, &text, &diag) || sl_policy_yaml_parse(text, strlen(text), &second, &diag) ||
        sl_policy_yaml_print(second, &again, &diag) || strcmp(text, again) != 0)
        abort();
    sl_rpc_message_free(&first->base);
    sl_rpc_message_free(&second->base);
    free(text);
    free(again);
    return 0;
}
