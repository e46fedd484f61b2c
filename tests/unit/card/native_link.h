/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A link (card/card_link.h) to the kernels themselves: no device, no process, no thread between them and the engine. They work when
 * the engine looks.
 */
#pragma once

#include "card/card_link.h"

#ifdef __cplusplus
extern "C" {
#endif

struct native_link_options {
    uint32_t sessions;                       /* a multiple of 64 */
    uint32_t command_entries, event_entries; /* powers of two; 0: 256 */
    uint32_t ring_lines;                     /* of each ring of packets and of the mirror; 0: 4096 */
};

/* Ends the program without memory. */
struct sl_card_link *native_link_new(const struct native_link_options *options);

#ifdef __cplusplus
}
#endif
