/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events are messages of proto/sluice/v1/event.proto; here is what makes them convenient: building, and the words for their codes.
 * All memory of an event comes from malloc, so that any field may also be set by hand.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "sluice/v1/event.pb-c.h"

/* An event with all its groups present (src, dst, txn, tls, app, device, policy with identity, decryption and access, verify,
 * revocation, leaf, decision, placement, latency, records) and empty; component "TLS Proxy". */
sl_err sl_event_new(Sluice__V1__Event **out);
void sl_event_free(Sluice__V1__Event *event); /* NULL is allowed */
/* A deep copy; SL_ERR_NOMEM leaves *out unchanged. */
sl_err sl_event_copy(const Sluice__V1__Event *event, Sluice__V1__Event **out);
/* The wire form; *bytes from malloc. */
sl_err sl_event_pack(const Sluice__V1__Event *event, uint8_t **bytes, size_t *len);
/* SL_ERR_CORRUPT; groups that are missing in the bytes are added, so that readers need no checks for NULL. */
sl_err sl_event_unpack(const uint8_t *bytes, size_t len, Sluice__V1__Event **out);

/* Sets a string field, releasing what was there; NULL means "". What isn't UTF-8 is replaced by U+FFFD byte by byte, since a peer
 * may have chosen it and proto3 strings must be UTF-8. On SL_ERR_NOMEM the field is unchanged. */
sl_err sl_event_set(char **field, const char *value);
sl_err sl_event_setn(char **field, const void *value, size_t len);
sl_err sl_event_setf(char **field, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Appends to a repeated string field. */
sl_err sl_event_append(char ***list, size_t *count, const char *value);
/* The name comes from the code. */
sl_err sl_event_add_alert(Sluice__V1__Event *event, uint32_t level, uint32_t code, Sluice__V1__AlertDirection direction);
/* A new empty certificate at the end of server_chain (leaf first), to be filled by the caller. */
sl_err sl_event_add_certificate(Sluice__V1__Event *event, Sluice__V1__ChainCertificate **out);
sl_err sl_event_add_monitor(Sluice__V1__Event *event, uint64_t id, const char *name);
sl_err sl_event_set_hit(Sluice__V1__PolicyHit *hit, uint64_t id, const char *name, const char *action);

/* Completes what follows from the other fields: description by type, bytes_total, side by cause (unless set), dst.service,
 * explanation and remedies (explain.h; these only if there are none yet). Call it once, last. */
sl_err sl_event_finish(Sluice__V1__Event *event);

/* ---- words ---- */

/* "TLS Abort", "TLS Decrypted", … */
const char *sl_event_type_name(Sluice__V1__EventType type);
/* "A TLS or SSL flow was aborted due to a handshake failure or certificate validation error." */
const char *sl_event_type_description(Sluice__V1__EventType type);

/* "SRV_CERT_SELF_SIGNED"; "UNKNOWN" for numbers without a name. */
const char *sl_cause_name(Sluice__V1__Cause cause);
/* By name in any case, "-" as "_". SL_ERR_NOT_FOUND leaves *out unchanged. */
sl_err sl_cause_by_name(const char *name, Sluice__V1__Cause *out);
/* Where the cause lies; unspecified where it may be either. */
Sluice__V1__Side sl_cause_side(Sluice__V1__Cause cause);
/* "the server's certificate is self-signed": a clause for tables and one-line summaries. */
const char *sl_cause_text(Sluice__V1__Cause cause);
/* The server's certificate was refused. */
bool sl_cause_is_certificate(Sluice__V1__Cause cause);
/* All causes in order of number: index 0..; UINT32_MAX past the end. For completion and documentation. */
uint32_t sl_cause_at(size_t index);

const char *sl_side_name(Sluice__V1__Side side);    /* "client", "server", "gateway", "" */
const char *sl_stage_name(Sluice__V1__Stage stage); /* "client_hello", …, "" */
/* "received from server", "sent to client", … */
const char *sl_alert_direction_name(Sluice__V1__AlertDirection direction);

/* One line of JSON (proto names, no line feed inside or at the end) for export; *out from malloc. */
sl_err sl_event_json(const Sluice__V1__Event *event, char **out);
