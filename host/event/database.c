/* SPDX-License-Identifier: Apache-2.0 */
#include "event/database.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "event/event.h"

enum { SCHEMA_VERSION = 1, BUSY_MS = 5000, SQL_BYTES_MAX = 16384 };

static const char schema[] =
    "PRAGMA auto_vacuum = INCREMENTAL;"
    "PRAGMA journal_mode = WAL;"
    "BEGIN;"
    "CREATE TABLE IF NOT EXISTS event (id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, type INTEGER NOT NULL,"
    " cause INTEGER NOT NULL, client BLOB, server BLOB, host TEXT NOT NULL, flow_id TEXT NOT NULL, body BLOB NOT NULL);"
    "CREATE INDEX IF NOT EXISTS event_flow ON event (flow_id);"
    "CREATE INDEX IF NOT EXISTS event_cause ON event (cause, id);"
    "PRAGMA user_version = 1;"
    "COMMIT;";

/* Only after a crash of the machine may the last events be missing: synchronous = NORMAL in WAL mode keeps the file whole. */
static const char tuning[] = "PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 2000; PRAGMA journal_size_limit = 67108864;";

static sl_err error_of(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return SL_OK;
    case SQLITE_NOMEM:
        return SL_ERR_NOMEM;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return SL_ERR_CORRUPT;
    default:
        return SL_ERR_IO;
    }
}

static int user_version(sqlite3 *db, int *code)
{
    sqlite3_stmt *s = NULL;
    int version = -1;
    *code = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &s, NULL);
    if (*code == SQLITE_OK && (*code = sqlite3_step(s)) == SQLITE_ROW) {
        version = sqlite3_column_int(s, 0);
        *code = SQLITE_OK;
    }
    sqlite3_finalize(s);
    return version;
}

/* A page that can't be read is found now rather than in the middle of the night; the check is bounded by stopping at the first
 * error. */
static int quick_check(sqlite3 *db)
{
    sqlite3_stmt *s = NULL;
    int code = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &s, NULL);
    if (code == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
        code = strcmp((const char *)sqlite3_column_text(s, 0), "ok") == 0 ? SQLITE_OK : SQLITE_CORRUPT;
    sqlite3_finalize(s);
    return code;
}

static int set_size_limit(sqlite3 *db, uint64_t bytes)
{
    char sql[64];
    if (bytes == 0)
        return SQLITE_OK;
    sqlite3_snprintf(sizeof sql, sql, "PRAGMA max_page_count = %llu", (unsigned long long)(bytes / 4096));
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

sl_err sl_database_open(struct sl_database *d, const char *path, bool writer, uint64_t file_bytes_max, struct sl_diag *diag)
{
    int flags = SQLITE_OPEN_NOMUTEX | (writer ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY);

    memset(d, 0, sizeof *d);
    int code = sqlite3_open_v2(path, &d->db, flags, NULL);
    if (code == SQLITE_OK)
        sqlite3_busy_timeout(d->db, BUSY_MS);
    if (code == SQLITE_OK && writer) {
        int version = user_version(d->db, &code);
        if (code == SQLITE_OK && version > SCHEMA_VERSION) {
            sl_database_close(d);
            return sl_fail(diag, SL_ERR_UNSUPPORTED, "%s was written by a newer version of Sluice", path);
        }
        if (code == SQLITE_OK && version == SCHEMA_VERSION)
            code = quick_check(d->db);
        if (code == SQLITE_OK)
            code = sqlite3_exec(d->db, version == SCHEMA_VERSION ? "PRAGMA journal_mode = WAL" : schema, NULL, NULL, NULL);
        if (code == SQLITE_OK)
            code = sqlite3_exec(d->db, tuning, NULL, NULL, NULL);
        if (code == SQLITE_OK)
            code = set_size_limit(d->db, file_bytes_max);
        if (code == SQLITE_OK)
            code = sqlite3_prepare_v3(d->db, "INSERT INTO event VALUES (?,?,?,?,?,?,?,?,?)", -1, SQLITE_PREPARE_PERSISTENT,
                                      &d->insert, NULL);
    }
    if (code == SQLITE_OK)
        return SL_OK;
    sl_fail(diag, error_of(code), "%s: %s", path, d->db ? sqlite3_errmsg(d->db) : sqlite3_errstr(code));
    sl_database_close(d);
    return error_of(code);
}

void sl_database_close(struct sl_database *d)
{
    sqlite3_finalize(d->insert);
    sqlite3_close(d->db);
    memset(d, 0, sizeof *d);
}

sl_err sl_database_count(struct sl_database *d, uint64_t *newest, uint64_t *count)
{
    sqlite3_stmt *s = NULL;
    int code = sqlite3_prepare_v2(d->db, "SELECT ifnull(max(id), 0), count(*) FROM event", -1, &s, NULL);
    if (code == SQLITE_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
        *newest = (uint64_t)sqlite3_column_int64(s, 0);
        *count = (uint64_t)sqlite3_column_int64(s, 1);
    }
    sqlite3_finalize(s);
    return error_of(code);
}

static void bind_address(sqlite3_stmt *s, int index, const char *text)
{
    struct sl_addr a;
    if (sl_filter_address_of(text, &a))
        sqlite3_bind_blob(s, index, a.b, sizeof a.b, SQLITE_TRANSIENT);
    else
        sqlite3_bind_null(s, index);
}

static sl_err insert_one(struct sl_database *d, const Sluice__V1__Event *e)
{
    char host[256];
    uint8_t *body = NULL;
    size_t len = 0;
    sl_err err = sl_event_pack(e, &body, &len);

    if (err)
        return err;
    sl_filter_host_of(e, host);
    sqlite3_bind_int64(d->insert, 1, (sqlite3_int64)e->id);
    sqlite3_bind_int64(d->insert, 2, (sqlite3_int64)e->time_ns);
    sqlite3_bind_int(d->insert, 3, (int)e->type);
    sqlite3_bind_int(d->insert, 4, (int)e->cause);
    bind_address(d->insert, 5, e->src ? e->src->ip : NULL);
    bind_address(d->insert, 6, e->dst ? e->dst->ip : NULL);
    sqlite3_bind_text(d->insert, 7, host, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(d->insert, 8, e->flow_id, -1, SQLITE_STATIC);
    sqlite3_bind_blob64(d->insert, 9, body, len, SQLITE_STATIC);
    int code = sqlite3_step(d->insert);
    sqlite3_reset(d->insert);
    sqlite3_clear_bindings(d->insert);
    free(body);
    return error_of(code);
}

sl_err sl_database_insert(struct sl_database *d, Sluice__V1__Event *const *events, size_t count)
{
    sl_err err = error_of(sqlite3_exec(d->db, "BEGIN IMMEDIATE", NULL, NULL, NULL));
    for (size_t i = 0; !err && i < count; i++)
        err = insert_one(d, events[i]);
    if (!err)
        err = error_of(sqlite3_exec(d->db, "COMMIT", NULL, NULL, NULL));
    if (err)
        sqlite3_exec(d->db, "ROLLBACK", NULL, NULL, NULL);
    return err;
}

sl_err sl_database_remove(struct sl_database *d, uint64_t up_to, uint64_t *removed)
{
    sqlite3_stmt *s = NULL;
    int code = sqlite3_prepare_v2(d->db, "DELETE FROM event WHERE id <= ?", -1, &s, NULL);
    *removed = 0;
    if (code == SQLITE_OK) {
        sqlite3_bind_int64(s, 1, (sqlite3_int64)up_to);
        code = sqlite3_step(s);
        if (code == SQLITE_DONE)
            *removed = (uint64_t)sqlite3_changes64(d->db);
    }
    sqlite3_finalize(s);
    sqlite3_exec(d->db, "PRAGMA incremental_vacuum(1000)", NULL, NULL, NULL);
    return error_of(code);
}

sl_err sl_database_bytes(struct sl_database *d, uint64_t *bytes)
{
    sqlite3_stmt *s = NULL;
    int code = sqlite3_prepare_v2(d->db,
                                  "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count,"
                                  " pragma_page_size",
                                  -1, &s, NULL);
    if (code == SQLITE_OK && (code = sqlite3_step(s)) == SQLITE_ROW)
        *bytes = (uint64_t)sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return error_of(code);
}

static sl_err take_rows(sqlite3_stmt *s, size_t limit, struct sl_event_list *out)
{
    int code = SQLITE_DONE;
    while (out->count < limit && (code = sqlite3_step(s)) == SQLITE_ROW) {
        const void *body = sqlite3_column_blob(s, 0);
        sl_err err = sl_event_unpack(body, (size_t)sqlite3_column_bytes(s, 0), &out->items[out->count]);
        if (err == SL_ERR_NOMEM)
            return err;
        if (!err) /* a row that can't be read is passed over: the others are still worth showing */
            out->count++;
    }
    out->more = out->count == limit && sqlite3_step(s) == SQLITE_ROW;
    return code == SQLITE_ROW ? SL_OK : error_of(code);
}

sl_err sl_database_select(struct sl_database *d, const struct sl_filter *filter, uint64_t before, uint64_t after, size_t limit,
                          struct sl_event_list *out)
{
    bool forward = after != UINT64_MAX;
    sqlite3_stmt *s = NULL;
    struct sl_buf sql;

    memset(out, 0, sizeof *out);
    out->items = calloc(limit + 1, sizeof(Sluice__V1__Event *));
    if (!out->items)
        return SL_ERR_NOMEM;
    sl_buf_init(&sql, SQL_BYTES_MAX);
    sl_err err = sl_buf_printf(&sql, "SELECT body FROM event WHERE id > ? AND id < ?");
    if (!err)
        err = sl_filter_sql(filter, &sql);
    if (!err)
        err = sl_buf_printf(&sql, " ORDER BY id %s", forward ? "ASC" : "DESC");
    if (!err)
        err = error_of(sqlite3_prepare_v2(d->db, (const char *)sl_buf_data(&sql), (int)sl_buf_len(&sql), &s, NULL));
    sl_buf_free(&sql);
    if (!err) {
        sqlite3_bind_int64(s, 1, forward ? (sqlite3_int64)(after & INT64_MAX) : 0);
        sqlite3_bind_int64(s, 2, before ? (sqlite3_int64)(before & INT64_MAX) : INT64_MAX);
        sl_filter_bind(filter, s, 3);
        err = take_rows(s, limit, out);
    }
    sqlite3_finalize(s);
    if (err)
        sl_event_list_free(out);
    return err;
}
