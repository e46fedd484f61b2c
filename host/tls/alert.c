/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/alert.h"

#include <string.h>

#include "pki/verify.h"
#include "record/tls.h"

#define CAUSE(name) SLUICE__V1__CAUSE__##name

enum {
    HANDSHAKE_FAILURE = 40,
    BAD_CERTIFICATE = 42,
    ACCESS_DENIED = 49,
    PROTOCOL_VERSION = 70,
    INSUFFICIENT_SECURITY = 71,
    UNRECOGNIZED_NAME = 112,
    NO_APPLICATION_PROTOCOL = 120
};

static bool no_alert(Sluice__V1__Cause cause)
{
    switch ((int)cause) {
    case CAUSE(CAUSE_NONE):
    case CAUSE(CLI_ALERT_UNKNOWN_CA):
    case CAUSE(CLI_ALERT_BAD_CERT):
    case CAUSE(CLI_ALERT_OTHER):
    case CAUSE(CLI_EOF):
    case CAUSE(CLI_RESET):
    case CAUSE(TIMEOUT_CLIENT_HELLO):
    case CAUSE(POLICY_NON_TLS):
        return true;
    default:
        return false;
    }
}

static uint8_t alert_of(Sluice__V1__Cause cause)
{
    switch ((int)cause) {
    case CAUSE(SRV_ALERT_HANDSHAKE_FAILURE):
    case CAUSE(SRV_CLIENT_CERT_REQUIRED): /* the client was never asked for one: a plain refusal */
    case CAUSE(CLI_NO_SHARED_CIPHER):
    case CAUSE(CLI_ECH_ONLY):
    case CAUSE(SRV_ALERT_OTHER):
        return HANDSHAKE_FAILURE;
    case CAUSE(SRV_ALERT_PROTOCOL_VERSION):
    case CAUSE(SRV_UNSUPPORTED_PROTOCOL):
    case CAUSE(CLI_UNSUPPORTED_VERSION):
        return PROTOCOL_VERSION;
    case CAUSE(SRV_ALERT_INSUFFICIENT_SECURITY):
    case CAUSE(SRV_WEAK_PARAMETERS):
        return INSUFFICIENT_SECURITY;
    case CAUSE(SRV_UNRECOGNIZED_NAME):
        return UNRECOGNIZED_NAME;
    case CAUSE(SRV_NO_ALPN):
        return NO_APPLICATION_PROTOCOL;
    case CAUSE(CLI_BAD_HELLO):
        return SL_TLS_DECODE_ERROR;
    case CAUSE(CLI_BAD_HANDSHAKE):
        return HANDSHAKE_FAILURE;
    case CAUSE(POLICY_BLOCK):
    case CAUSE(POLICY_DENY):
    case CAUSE(LOOP_DETECTED):
    case CAUSE(RES_CLIENT_LIMIT):
        return ACCESS_DENIED;
    default:
        return SL_TLS_INTERNAL_ERROR;
    }
}

bool sl_alert_for_cause(Sluice__V1__Cause cause, uint8_t *description)
{
    if (no_alert(cause))
        return false;
    if (cause >= CAUSE(SRV_CERT_SELF_SIGNED) && cause <= CAUSE(SRV_CERT_OTHER))
        *description = sl_verify_cause_alert(cause);
    else
        *description = alert_of(cause);
    return true;
}

void sl_plain_alert(uint8_t description, uint8_t record[static SL_PLAIN_ALERT_BYTES])
{
    const uint8_t bytes[SL_PLAIN_ALERT_BYTES] = {SL_TLS_ALERT, 3, 3, 0, 2, SL_TLS_ALERT_FATAL, description};
    memcpy(record, bytes, sizeof bytes);
}
