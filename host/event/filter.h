/* SPDX-License-Identifier: Apache-2.0 */
/* A ListEventsRequest as a condition: once for SQL, once for an event in memory. Private to event/. */
#pragma once

#include <sqlite3.h>

#include "base/buf.h"
#include "event/store.h"
#include "policy/address.h"

struct sl_filter {
    const Sluice__V1__ListEventsRequest *request; /* borrowed */
    bool has_client, has_server;
    struct sl_addr_range client, server;
    bool below;     /* host was "*.name": names below it */
    char host[256]; /* lower case, without the "*"; "" */
};

/* SL_ERR_INVALID with diag: an address that is none, a host that is none, too many types or causes. request NULL passes everything.
 */
sl_err sl_filter_init(struct sl_filter *f, const Sluice__V1__ListEventsRequest *request, struct sl_diag *diag);
bool sl_filter_match(const struct sl_filter *f, const Sluice__V1__Event *event);

/* Appends " AND …" conditions on the table's columns, and binds their values from index *next on. */
sl_err sl_filter_sql(const struct sl_filter *f, struct sl_buf *sql);
int sl_filter_bind(const struct sl_filter *f, sqlite3_stmt *statement, int next);

/* What the store keeps in columns. */
void sl_filter_host_of(const Sluice__V1__Event *event, char out[static 256]); /* lower case; SNI, else the requested host */
bool sl_filter_address_of(const char *text, struct sl_addr *out);             /* false: no address */
