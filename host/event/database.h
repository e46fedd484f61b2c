/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of events in SQLite. One object for writing (one thread), one for reading (its caller's lock). Private to event/.
 *
 *   event(id, time_ns, type, cause, client, server, host, flow_id, body)      body: the packed message; addresses as 16 bytes
 */
#pragma once

#include "event/filter.h"
#include "event/store.h"

struct sl_database {
    sqlite3 *db;
    sqlite3_stmt *insert;
};

/* Opens or makes the file. SL_ERR_CORRUPT: it is damaged, or no database of events. SL_ERR_IO, SL_ERR_NOMEM. */
sl_err sl_database_open(struct sl_database *d, const char *path, bool writer, uint64_t file_bytes_max, struct sl_diag *diag);
void sl_database_close(struct sl_database *d);

/* Highest id and number of events. */
sl_err sl_database_count(struct sl_database *d, uint64_t *newest, uint64_t *count);

/* All or none. Events have their ids. SL_ERR_CORRUPT, SL_ERR_IO (also: full). */
sl_err sl_database_insert(struct sl_database *d, Sluice__V1__Event *const *events, size_t count);

/* Removes events with an id up to this one; *removed counts them. */
sl_err sl_database_remove(struct sl_database *d, uint64_t up_to, uint64_t *removed);
sl_err sl_database_bytes(struct sl_database *d, uint64_t *bytes);

/* At most limit events (callers free each): with id < before (0: no bound) newest first, or, where after is not UINT64_MAX, with id
 * > after oldest first. */
sl_err sl_database_select(struct sl_database *d, const struct sl_filter *filter, uint64_t before, uint64_t after, size_t limit,
                          struct sl_event_list *out);
