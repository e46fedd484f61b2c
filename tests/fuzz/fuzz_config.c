/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as sluiced.yaml: an error that names the file, or a configuration within its limits; nothing is leaked either way. */
#include <stdlib.h>
#include <string.h>

#include "gateway/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_config config = {0};
    struct sl_diag diag = {""};
    sl_err err = sl_config_parse("fuzz.yaml", data, size, &config, &diag);

    if (err && !strstr(diag.text, "fuzz.yaml") && err != SL_ERR_NOMEM)
        abort();
    if (!err && (config.listener_count > SL_LISTENERS_MAX || config.workers == 0 || config.workers > SL_WORKERS_MAX ||
                 !config.device_name || !config.state_dir))
        abort();
    sl_config_free(&config);
    return 0;
}
