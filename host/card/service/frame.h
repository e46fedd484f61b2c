/* SPDX-License-Identifier: Apache-2.0 */
/* As much of a frame as a replay needs to know: whose it is, and where its checksum stands. What the engine makes of it is the
 * engine's affair (card/parse.h). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "card/engine.h"

struct sl_frame_view {
    struct sl_engine_flow_key key; /* ports are 0 without TCP or UDP, and in fragments */
    size_t l3, l4, end;            /* of the IP header, of what follows it, of the datagram */
};

/* False: not IP, or cut off. Nothing outside of the frame is read. IPv6 extension headers are not looked into. */
bool sl_frame_view(const uint8_t *frame, size_t count, struct sl_frame_view *out);
/* Writes the checksums of the IPv4 header and of TCP or UDP as they should be. view is the frame's. */
void sl_frame_fix_checksums(uint8_t *frame, const struct sl_frame_view *view);
/* The same flow from the other side. */
struct sl_engine_flow_key sl_frame_key_reversed(const struct sl_engine_flow_key *key);
/* The sum of RFC 1071 over more bytes, not inverted. Only the last part may be of odd length; folded inverts it. */
uint32_t sl_frame_sum(uint32_t so_far, const uint8_t *bytes, size_t count);
uint16_t sl_frame_folded(uint32_t sum);
