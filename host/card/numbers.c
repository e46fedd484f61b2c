/* SPDX-License-Identifier: Apache-2.0 */
#include "card/numbers.h"

#include <stddef.h>

static const char *const reason_names[SL_CARD_REASONS] = {
    [SL_PUNT_NOT_IP] = "not_ip",
    [SL_PUNT_TRUNCATED] = "truncated",
    [SL_PUNT_IP_HEADER] = "ip_header",
    [SL_PUNT_FRAGMENT] = "fragment",
    [SL_PUNT_EXTENSION] = "extension",
    [SL_PUNT_TCP_HEADER] = "tcp_header",
    [SL_PUNT_CHECKSUM] = "checksum",
    [SL_PUNT_OVERSIZE] = "oversize",
    [SL_PUNT_PORT_ERROR] = "port_error",
    [SL_PUNT_RULE] = "rule",
    [SL_PUNT_HOLD] = "hold",
    [SL_PUNT_PROTOCOL] = "protocol",
    [SL_PUNT_TCP_CONTROL] = "tcp_control",
    [SL_PUNT_OLD] = "old",
    [SL_PUNT_AHEAD] = "ahead",
    [SL_PUNT_SEAL_LIMIT] = "seal_limit",
    [SL_PUNT_KEY_WAIT] = "key_wait",
    [SL_PUNT_DEAD] = "dead",
};

const char *sl_card_reason_name(unsigned reason)
{
    return reason < SL_CARD_REASONS && reason_names[reason] != NULL ? reason_names[reason] : "unknown";
}
