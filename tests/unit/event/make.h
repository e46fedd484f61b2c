/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the tests of event/: the two connections of the reference case. Included after cmocka.h. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event/event.h"

#define CAUSE(name)     SLUICE__V1__CAUSE__##name
#define SHA_OF_TEST     "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIRECTION(name) SLUICE__V1__ALERT_DIRECTION__##name

static inline Sluice__V1__Event *new_event(Sluice__V1__EventType type, Sluice__V1__Cause cause)
{
    Sluice__V1__Event *e = NULL;
    assert_int_equal(sl_event_new(&e), SL_OK);
    e->type = type;
    e->cause = cause;
    return e;
}

static inline void set(char **field, const char *value)
{
    assert_int_equal(sl_event_set(field, value), SL_OK);
}

static inline Sluice__V1__ChainCertificate *add_certificate(Sluice__V1__Event *e, const char *subject, const char *issuer,
                                                            const char *sha256)
{
    Sluice__V1__ChainCertificate *c = NULL;
    assert_int_equal(sl_event_add_certificate(e, &c), SL_OK);
    set(&c->subject, subject);
    set(&c->issuer, issuer);
    set(&c->sha256, sha256);
    set(&c->not_before, "2014-01-01T00:00:00Z");
    set(&c->not_after, "2024-01-01T00:00:00Z");
    set(&c->key, "RSA 1024");
    c->der.data = malloc(3);
    memcpy(c->der.data, "der", 3);
    c->der.len = 3;
    return c;
}

static inline Sluice__V1__Event *reference_connection(Sluice__V1__Cause cause, const char *flow_id, uint64_t sent,
                                                      uint64_t received)
{
    Sluice__V1__Event *e = new_event(SLUICE__V1__EVENT_TYPE__TLS_ABORT, cause);
    e->time_ns = UINT64_C(1391577702189000000); /* 2014-02-05 05:21:42,189 UTC */
    e->start_ns = e->time_ns - 1000000;
    set(&e->flow_id, flow_id);
    set(&e->src->ip, "10.1.1.10");
    e->src->port = 64193;
    set(&e->src->interface, "inside");
    set(&e->dst->ip, "172.16.1.1");
    e->dst->port = 443;
    set(&e->dst->interface, "ldap");
    e->txn->connection_id = 390891;
    e->txn->bytes_sent = sent;
    e->txn->bytes_received = received;
    e->txn->config_version = 89;
    e->tls->encrypted = 1;
    set(&e->app->name, "Transport Layer Security Protocol");
    set(&e->app->type, "IP Protocol");
    set(&e->device->name, "gw-1");
    set(&e->device->type, "Sluice");
    return e;
}

/* Case 1: the server refuses every cipher suite. */
static inline Sluice__V1__Event *reference_case_1(void)
{
    Sluice__V1__Event *e = reference_connection(CAUSE(SRV_ALERT_HANDSHAKE_FAILURE), "00000000002fd1f6", 179, 7);
    e->stage = SLUICE__V1__STAGE__STAGE_CLIENT_HELLO;
    set(&e->tls->error, "error:14077410:SSL routines:SSL23_GET_SERVER_HELLO:sslv3 alert handshake failure");
    assert_int_equal(sl_event_add_alert(e, 2, 40, DIRECTION(RECEIVED_FROM_SERVER)), SL_OK);
    return e;
}

/* Case 2: a self-signed certificate without a common name. The alert is ours: 186 = 179 + 7 bytes sent. */
static inline Sluice__V1__Event *reference_case_2(void)
{
    Sluice__V1__Event *e = reference_connection(CAUSE(SRV_CERT_SELF_SIGNED), "00000000148a696e", 186, 523);
    e->time_ns = UINT64_C(1391577731505000000);
    e->stage = SLUICE__V1__STAGE__STAGE_VERIFY;
    set(&e->tls->server_cert_issuer, "/unstructuredName=ciscoasa");
    set(&e->tls->version, "TLSv1");
    set(&e->tls->error, "error:14090086:SSL routines:SSL3_GET_SERVER_CERTIFICATE:certificate verify failed");
    add_certificate(e, "/unstructuredName=ciscoasa", "/unstructuredName=ciscoasa", SHA_OF_TEST);
    e->verify->code = 18;
    set(&e->verify->text, "self-signed certificate"); /* as OpenSSL 3 spells it */
    assert_int_equal(sl_event_add_alert(e, 2, 48, DIRECTION(SENT_TO_SERVER)), SL_OK);
    return e;
}
