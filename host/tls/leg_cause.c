/* SPDX-License-Identifier: Apache-2.0 */
/* From what was seen to one stable cause: by our own state first, by the library's reason last. */
#include <openssl/sslerr.h>

#include "tls/leg_internal.h"

#define CAUSE(name) SLUICE__V1__CAUSE__##name

enum { /* RFC 8446 section 6.2 */
       HANDSHAKE_FAILURE = 40,
       BAD_CERTIFICATE = 42,
       CERTIFICATE_UNKNOWN = 46,
       UNKNOWN_CA = 48,
       ACCESS_DENIED = 49,
       PROTOCOL_VERSION = 70,
       INSUFFICIENT_SECURITY = 71,
       UNRECOGNIZED_NAME = 112,
       CERTIFICATE_REQUIRED = 116,
       NO_APPLICATION_PROTOCOL = 120
};

bool sl_leg_peer_alert(const struct sl_leg *leg, uint8_t *code)
{
    for (size_t i = leg->info.alert_count; i-- > 0;) {
        const struct sl_leg_alert *a = &leg->info.alerts[i];
        bool received = a->direction == SLUICE__V1__ALERT_DIRECTION__RECEIVED_FROM_SERVER ||
                        a->direction == SLUICE__V1__ALERT_DIRECTION__RECEIVED_FROM_CLIENT;
        /* In TLS 1.3 everything but close_notify and user_canceled is fatal, whatever its level says. */
        if (received && (a->level == SL_TLS_ALERT_FATAL || leg->info.version == SL_TLS13) && a->code != SL_TLS_CLOSE_NOTIFY &&
            a->code != SL_TLS_USER_CANCELED) {
            *code = a->code;
            return true;
        }
    }
    return false;
}

/* Alert 40 alone says nothing (events.md b.4): after a CertificateRequest that was answered with nothing it means the certificate.
 */
static Sluice__V1__Cause server_alert(const struct sl_leg *leg, uint8_t code)
{
    if (code == CERTIFICATE_REQUIRED)
        return CAUSE(SRV_CLIENT_CERT_REQUIRED);
    if (leg->info.client_cert_requested && (code == HANDSHAKE_FAILURE || (code >= BAD_CERTIFICATE && code <= CERTIFICATE_UNKNOWN) ||
                                            code == UNKNOWN_CA || code == ACCESS_DENIED))
        return CAUSE(SRV_CLIENT_CERT_REQUIRED);
    switch (code) {
    case HANDSHAKE_FAILURE:
        return CAUSE(SRV_ALERT_HANDSHAKE_FAILURE);
    case PROTOCOL_VERSION:
        return CAUSE(SRV_ALERT_PROTOCOL_VERSION);
    case INSUFFICIENT_SECURITY:
        return CAUSE(SRV_ALERT_INSUFFICIENT_SECURITY);
    case UNRECOGNIZED_NAME:
        return CAUSE(SRV_UNRECOGNIZED_NAME);
    case NO_APPLICATION_PROTOCOL:
        return CAUSE(SRV_NO_ALPN);
    default:
        return CAUSE(SRV_ALERT_OTHER);
    }
}

static Sluice__V1__Cause client_alert(uint8_t code)
{
    if (code == UNKNOWN_CA)
        return CAUSE(CLI_ALERT_UNKNOWN_CA);
    if (code >= BAD_CERTIFICATE && code <= CERTIFICATE_UNKNOWN)
        return CAUSE(CLI_ALERT_BAD_CERT);
    return CAUSE(CLI_ALERT_OTHER);
}

Sluice__V1__Cause sl_leg_cause_of_alert(const struct sl_leg *leg, uint8_t code)
{
    return leg->to_client ? client_alert(code) : server_alert(leg, code);
}

static Sluice__V1__Cause server_reason(const struct sl_leg *leg, int reason)
{
    switch (reason) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_UNSUPPORTED_SSL_VERSION:
    case SSL_R_VERSION_TOO_LOW:
        return CAUSE(SRV_UNSUPPORTED_PROTOCOL);
    case SSL_R_DH_KEY_TOO_SMALL:
    case SSL_R_EE_KEY_TOO_SMALL:
    case SSL_R_CA_KEY_TOO_SMALL:
    case SSL_R_CA_MD_TOO_WEAK:
    case SSL_R_WRONG_SIGNATURE_TYPE:
    case SSL_R_WRONG_CURVE:
    case SSL_R_BAD_DH_VALUE:
    case SSL_R_UNSAFE_LEGACY_RENEGOTIATION_DISABLED:
    case SSL_R_INCONSISTENT_EXTMS:
        return CAUSE(SRV_WEAK_PARAMETERS);
    case SSL_R_EXCESSIVE_MESSAGE_SIZE:
        return leg->info.stage == SLUICE__V1__STAGE__STAGE_CERTIFICATE ? CAUSE(SRV_CERT_TOO_LARGE) : CAUSE(SRV_BAD_HANDSHAKE);
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        return CAUSE(SRV_CERT_OTHER);
    default:
        return CAUSE(SRV_BAD_HANDSHAKE);
    }
}

static Sluice__V1__Cause client_reason(int reason)
{
    switch (reason) {
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_GROUPS:
    case SSL_R_UNSUPPORTED_ELLIPTIC_CURVE:
        return CAUSE(CLI_NO_SHARED_CIPHER);
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_INAPPROPRIATE_FALLBACK:
        return CAUSE(CLI_UNSUPPORTED_VERSION);
    default:
        return CAUSE(CLI_BAD_HANDSHAKE);
    }
}

Sluice__V1__Cause sl_leg_cause_of_reason(const struct sl_leg *leg, int ssl_reason)
{
    return leg->to_client ? client_reason(ssl_reason) : server_reason(leg, ssl_reason);
}
