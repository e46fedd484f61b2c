/* SPDX-License-Identifier: Apache-2.0 */
/* Between server_leg.c and handover.c. */
#pragma once

#include "record/record.h"
#include "tls/leg_internal.h"
#include "tls/server_leg.h"
#include "tls/sessions.h"

struct sl_server_leg {
    struct sl_leg base; /* first: a leg is found by it */
    struct sl_server_leg_options options;
    char *sni, *host, *address;
    uint8_t session_key[SL_SESSION_KEY_BYTES];
    bool answer_without_cert;
    bool awaits_staple;
    bool has_verdict, has_earlier;
    struct sl_verdict verdict; /* of this handshake */
    struct sl_verdict earlier; /* of the session that was put forward */
    uint64_t verify_ns;
    X509 *certificate;      /* after the hand-over */
    struct sl_record *peek; /* looks at records after the handshake */
    bool absorbed;          /* something else than tickets has come: the rest is the transcoder's */
};
