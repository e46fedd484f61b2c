/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handshake messages that may follow a TLS 1.3 handshake, read from records in which they may be cut and joined at will (RFC
 * 8446 section 5.1). Bounded state: bodies are skipped, not kept. Internal to record/.
 *
 *   KeyUpdate         24 | 00 00 01 | request (0, 1)     both directions; must end its record
 *   NewSessionTicket   4 | length   | ...                 from the server
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { SL_HS_DROP_TICKETS = 1, SL_HS_DROP_KEY_UPDATES = 2 };

struct sl_hs_stream {
    uint8_t head[4];       /* type and length */
    uint8_t have;          /* of them; 0: between messages */
    bool dropping;         /* the message in progress is left out */
    bool key_update;       /* a KeyUpdate is complete: nothing may follow before the keys step */
    bool update_requested; /* it asks for one in return */
    uint32_t left;         /* of the body */
    uint32_t tickets_dropped;
};

/*
 * Reads len bytes. Those that belong to messages which are not dropped are copied to keep, *kept of them (keep may be bytes itself;
 * NULL: they are not wanted, and drop is 0). Alerts as errors: unexpected_message, decode_error, illegal_parameter.
 */
sl_err sl_hs_feed(struct sl_hs_stream *s, bool from_server, unsigned drop, const uint8_t *bytes, size_t len, uint8_t *keep,
                  size_t *kept);
