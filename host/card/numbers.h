/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of docs/card.md for C: actions, reasons of punts, kinds of events. The kernels' own are in hls/common/types.hpp. */
#pragma once

enum sl_card_action {
    SL_CARD_PUNT = 0,
    SL_CARD_FORWARD = 1,
    SL_CARD_DROP = 2,
    SL_CARD_SESSION_FORWARD = 3,
    SL_CARD_SESSION_TRANSCODE = 4,
    SL_CARD_SESSION_HOLD = 5
};

enum sl_card_reason {
    SL_PUNT_NONE = 0,
    /* by the parser */
    SL_PUNT_NOT_IP = 1,
    SL_PUNT_TRUNCATED = 2,
    SL_PUNT_IP_HEADER = 3,
    SL_PUNT_FRAGMENT = 4,
    SL_PUNT_EXTENSION = 5,
    SL_PUNT_TCP_HEADER = 6,
    SL_PUNT_CHECKSUM = 7,
    SL_PUNT_OVERSIZE = 8,
    SL_PUNT_PORT_ERROR = 9,
    /* by table or rule */
    SL_PUNT_RULE = 16,
    SL_PUNT_HOLD = 17,
    SL_PUNT_PROTOCOL = 18,
    /* by the session */
    SL_PUNT_TCP_CONTROL = 32,
    SL_PUNT_OLD = 33,
    SL_PUNT_AHEAD = 34,
    SL_PUNT_SEAL_LIMIT = 35,
    SL_PUNT_KEY_WAIT = 36,
    SL_PUNT_DEAD = 37
};

enum { SL_CARD_REASONS = 64 }; /* all reasons are below */

enum sl_card_event_kind {
    SL_CARD_EVENT_FIN = 1,
    SL_CARD_EVENT_RST = 2,
    SL_CARD_EVENT_BAD_RECORD = 3,
    SL_CARD_EVENT_BAD_TAG = 4,
    SL_CARD_EVENT_UNEXPECTED = 5,
    SL_CARD_EVENT_KEY_UPDATE = 6,
    SL_CARD_EVENT_ALERT = 7,
    SL_CARD_EVENT_HANDSHAKE = 8,
    SL_CARD_EVENT_SQUASHED = 9,
    SL_CARD_EVENT_KEY_WAIT = 10
};

/* Records under one seal key: RFC 8446 section 5.5 for AES-GCM (2^24.5), and the least that leaves room for a packet's records. */
enum sl_card_seal_limit { SL_CARD_SEAL_LIMIT_LEAST = 512, SL_CARD_SEAL_LIMIT_DEFAULT = 23726566 };

enum sl_card_tcp_flag { SL_TCP_FIN = 1, SL_TCP_SYN = 2, SL_TCP_RST = 4, SL_TCP_ACK = 16, SL_TCP_URG = 32 };

#ifdef __cplusplus
extern "C" {
#endif

/* As docs/card.md calls it; "unknown" for a number that has no meaning. */
const char *sl_card_reason_name(unsigned reason);

#ifdef __cplusplus
}
#endif
