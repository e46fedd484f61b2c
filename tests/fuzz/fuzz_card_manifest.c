/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a bitstream's manifest. What is taken is within its bounds, names no folder, and the text with anything behind it is
 * not taken. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "card/manifest_form.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

static void require_text(const char *text, size_t room)
{
    require(text[0] != '\0' && memchr(text, '\0', room) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_manifest_said said;
    struct sl_diag diag = {""};
    if (sl_manifest_parse((const char *)data, size, &said, &diag) != SL_OK) {
        require_text(diag.text, sizeof(diag.text));
        return 0;
    }
    require_text(said.card.board, sizeof(said.card.board));
    require_text(said.card.shell, sizeof(said.card.shell));
    require_text(said.card.attachment, sizeof(said.card.attachment));
    require_text(said.card.source, sizeof(said.card.source));
    require_text(said.card.builder, sizeof(said.card.builder));
    require_text(said.file, sizeof(said.file));
    require(strchr(said.file, '/') == NULL && said.file[0] != '.');
    require(said.bytes >= 1 && said.bytes <= SL_XCLBIN_MAX && said.card.clock_mhz >= 100 && said.card.clock_mhz <= 500);

    char *more = malloc(size + 1);
    require(more != NULL);
    memcpy(more, data, size);
    more[size] = '}';
    require(sl_manifest_parse(more, size + 1, &said, &diag) == SL_ERR_INVALID);
    free(more);
    return 0;
}
