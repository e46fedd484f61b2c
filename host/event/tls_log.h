/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_proxy.log: the lines of the reference case, for people and programs that know them, with the alert's true direction.
 *
 *   YYYY-MM-DD HH:MM:SS,mmm LEVEL TLS_Proxy - message                                  (UTC unless local time is asked for)
 *
 *   INFO   SSL alert message received from server (0x228 = "fatal : handshake failure") in Session: x2fd1f6
 *   ERROR  TLS problem (error:0A000410:SSL routines::sslv3 alert handshake failure) while connecting to server for Session: x2fd1f6
 *   INFO   Certificate verification failure: self signed certificate (code 18, depth 0)
 *   INFO   Subject: /unstructuredName=ciscoasa
 *   INFO   Issuer: /unstructuredName=ciscoasa
 *
 * Alerts say "received from server", "sent to server", "received from client" or "sent to client". The library's text stands as the
 * library prints it; the reason of a verification failure is written in the spelling of the reference case ("self signed
 * certificate"), which newer libraries spell "self-signed". The session is "x" and the flow id without leading zeros. Values of
 * peers are escaped.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "sluice/v1/event.pb-c.h"

/* Appends the event's lines, each with its line feed; none for events without anything to say. */
sl_err sl_tls_log_format(const Sluice__V1__Event *event, bool local_time, struct sl_buf *out);

struct sl_tls_log; /* thread-safe */

/* Appends to the file, which is made (0640) if it isn't there. SL_ERR_IO with diag. */
sl_err sl_tls_log_open(const char *path, bool local_time, struct sl_tls_log **out, struct sl_diag *diag);
void sl_tls_log_close(struct sl_tls_log *log); /* NULL is allowed */
/* Writes the event's lines in one piece. A line that can't be written (full disk) is counted and lost: the event store has the
 * facts. NULL is allowed for log. */
void sl_tls_log_write(struct sl_tls_log *log, const Sluice__V1__Event *event);
/* After logrotate has moved the file away (SIGHUP). If the new file can't be opened the old one stays in use. */
sl_err sl_tls_log_reopen(struct sl_tls_log *log, struct sl_diag *diag);
uint64_t sl_tls_log_lost(struct sl_tls_log *log); /* lines since the start */
