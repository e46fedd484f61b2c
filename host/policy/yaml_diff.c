/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "policy/diff.h"
#include "policy/yaml.h"

sl_err sl_policy_yaml_diff(const char *from_name, const Sluice__V1__Config *from, const char *to_name, const Sluice__V1__Config *to,
                           char **out, struct sl_diag *diag)
{
    char *a = NULL, *b = NULL;
    sl_err err;

    if ((err = sl_policy_yaml_print(from, &a, diag)) || (err = sl_policy_yaml_print(to, &b, diag)))
        goto Exit;
    if ((err = sl_text_diff(from_name, a, to_name, b, out)))
        sl_fail(diag, err, "out of memory while comparing");
Exit:
    free(a);
    free(b);
    return err;
}
