/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever a peer's bytes are, a log line is one line without control characters, and as JSON its quotes are balanced. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check(const unsigned char *line, size_t len, enum sl_log_format format)
{
    bool inside = false;

    if (len == 0 || len > 4096 || line[len - 1] != '\n')
        abort();
    for (size_t i = 0; i + 1 < len; i++) {
        if (line[i] < 0x20 || line[i] == 0x7f || (format == SL_LOG_TEXT && line[i] > 0x7f))
            abort();
        if (line[i] == '\\')
            i++;
        else if (line[i] == '"')
            inside = !inside;
    }
    if (inside)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static int file = -1;
    unsigned char line[8192];
    char *text = malloc(len + 1);

    if (file < 0)
        file = memfd_create("log", MFD_CLOEXEC);
    if (!text || file < 0)
        abort();
    memcpy(text, bytes, len);
    text[len] = '\0';
    for (enum sl_log_format format = SL_LOG_TEXT; format <= SL_LOG_JSON; format++) {
        if (ftruncate(file, 0) != 0 || lseek(file, 0, SEEK_SET) != 0)
            abort();
        sl_log_configure(file, SL_LOG_INFO, format);
        sl_log(SL_LOG_INFO, "fuzz", "line", SL_STR("whole", text), SL_U64("len", len), SL_STR("half", text + len / 2));
        check(line, (size_t)pread(file, line, sizeof(line), 0), format);
    }
    free(text);
    return 0;
}
