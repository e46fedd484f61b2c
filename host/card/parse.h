/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The headers of a frame (docs/card.md section 1). Nothing is copied but the 5-tuple; offsets count from the frame's first byte.
 *
 *   | Ethernet | VLAN | VLAN | IPv4, options / IPv6, extensions | TCP, options / UDP | payload      | padding |
 *   0                        l3                                 l4                   payload        payload + payload_bytes
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "card/flow_key.h"
#include "card/numbers.h"

struct sl_cpu_headers {
    enum sl_card_reason reason; /* unless SL_PUNT_NONE, nothing else is valid */
    struct sl_flow_key key;
    uint16_t l4; /* 0: neither TCP nor UDP */
    uint16_t payload, payload_bytes;
    uint16_t sack, sack_blocks; /* of the first left edge; number of blocks */
    uint16_t timestamps;        /* of TSval; 0: none */
    uint32_t seq;
    uint8_t proto;
    uint8_t tcp_flags;
    uint32_t pseudo_sum, payload_sum; /* TCP: sums as of sl_cpu_sum, for the checksum that is written later */
};

/* damaged: the port says so. Any bytes may come; nothing outside of them is read. */
void sl_cpu_parse(struct sl_cpu_headers *h, const uint8_t *frame, size_t bytes, bool damaged);
