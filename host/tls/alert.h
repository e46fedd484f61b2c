/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alerts in the clear, for a client whose ServerHello has not been sent (P14). Each cause has one alert: it tells the client what
 * the gateway knows, as far as an alert can, without blaming a certificate that the client never saw.
 *
 *   the server refused the parameters      the server's own alert: handshake_failure, protocol_version, insufficient_security, …
 *   the server's certificate is bad        certificate_expired, certificate_revoked, unknown_ca, bad_certificate, …
 *   the server broke off, or spoke nonsense internal_error
 *   the client can't be served             protocol_version, handshake_failure, decode_error
 *   policy                                 access_denied
 *   resources, time, the gateway itself    internal_error
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "sluice/v1/event.pb-c.h"

enum { SL_PLAIN_ALERT_BYTES = 7 };

/* The description to send for a cause. False: no alert fits (the client itself broke off, or spoke no TLS): close. */
bool sl_alert_for_cause(Sluice__V1__Cause cause, uint8_t *description);

/* A fatal alert record: 21 | 03 03 | 00 02 | 2 | description. */
void sl_plain_alert(uint8_t description, uint8_t record[static SL_PLAIN_ALERT_BYTES]);
