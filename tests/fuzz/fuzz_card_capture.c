/* SPDX-License-Identifier: Apache-2.0 */
/* A capture from anywhere, and the frames in it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "card/service/capture.h"
#include "card/service/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_capture_frame frame;
    struct sl_capture *capture = NULL;
    if (sl_capture_open_bytes(data, size, &capture, NULL) != SL_OK)
        return 0;
    while (sl_capture_next(capture, &frame, NULL) == SL_OK) {
        struct sl_frame_view view;
        uint8_t *copy = malloc(frame.count > 0 ? frame.count : 1);
        if (copy == NULL)
            break;
        memcpy(copy, frame.bytes, frame.count);
        if (sl_frame_view(copy, frame.count, &view))
            sl_frame_fix_checksums(copy, &view);
        free(copy);
    }
    sl_capture_close(capture);
    return 0;
}
