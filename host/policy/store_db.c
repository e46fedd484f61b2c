/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/store_db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/check.h"
#include "policy/store.h"
#include "rpc/message.h"

enum { SCHEMA_VERSION = 1, CONFIG_BYTES_MAX = 256 << 20 };

static const char SCHEMA[] = "CREATE TABLE versions(number INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, author TEXT NOT NULL,"
                             " comment TEXT NOT NULL, config BLOB NOT NULL, sha256 TEXT NOT NULL);"
                             "CREATE TABLE candidate(one INTEGER PRIMARY KEY CHECK(one = 1), revision INTEGER NOT NULL,"
                             " config BLOB NOT NULL, sha256 TEXT NOT NULL);"
                             "CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL);"
                             "PRAGMA user_version = 1;";

/* ---- errors ---- */

static sl_err damaged(const struct sl_policy_db *db, const char *what, struct sl_diag *diag)
{
    return sl_fail(diag, SL_ERR_CORRUPT,
                   "the policy database %.200s is damaged (%.120s). Nothing was changed: restore the file from a backup, or move "
                   "it (and its -wal "
                   "file) away, start sluiced and import an exported YAML policy",
                   db->path, what);
}

static sl_err fail(const struct sl_policy_db *db, struct sl_diag *diag)
{
    const char *text = sqlite3_errmsg(db->handle);

    switch (sqlite3_errcode(db->handle) & 0xff) {
    case SQLITE_NOMEM:
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_SCHEMA:
    case SQLITE_ERROR: /* a table or column that should be there is not */
    case SQLITE_MISMATCH:
        return damaged(db, text, diag);
    case SQLITE_FULL:
        return sl_fail(diag, SL_ERR_IO, "the disk of %.200s is full: the policy is as it was; free some space and try again",
                       db->path);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return sl_fail(diag, SL_ERR_IO, "the policy database %.200s is in use by another process: stop the other sluiced",
                       db->path);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
    case SQLITE_AUTH:
        return sl_fail(diag, SL_ERR_IO,
                       "the policy database %.200s can't be written (%.100s): check owner and permissions of file and folder",
                       db->path, text);
    default:
        return sl_fail(diag, SL_ERR_IO, "the policy database %.200s: %.150s: the policy is as it was; check the disk", db->path,
                       text);
    }
}

static sl_err run(struct sl_policy_db *db, const char *sql, struct sl_diag *diag)
{
    return sqlite3_exec(db->handle, sql, NULL, NULL, NULL) == SQLITE_OK ? SL_OK : fail(db, diag);
}

static sl_err prepare(struct sl_policy_db *db, const char *sql, sqlite3_stmt **out, struct sl_diag *diag)
{
    return sqlite3_prepare_v2(db->handle, sql, -1, out, NULL) == SQLITE_OK ? SL_OK : fail(db, diag);
}

/* Runs a statement that gives no rows, and finishes it. */
static sl_err finish(struct sl_policy_db *db, sqlite3_stmt *statement, struct sl_diag *diag)
{
    sl_err err = sqlite3_step(statement) == SQLITE_DONE ? SL_OK : fail(db, diag);
    sqlite3_finalize(statement);
    return err;
}

/* ---- open ---- */

static sl_err check_integrity(struct sl_policy_db *db, struct sl_diag *diag)
{
    sqlite3_stmt *q = NULL;
    sl_err err = prepare(db, "PRAGMA quick_check(1)", &q, diag);

    if (err)
        return err;
    if (sqlite3_step(q) != SQLITE_ROW)
        err = fail(db, diag);
    else if (strcmp((const char *)sqlite3_column_text(q, 0), "ok") != 0)
        err = damaged(db, (const char *)sqlite3_column_text(q, 0), diag);
    sqlite3_finalize(q);
    return err;
}

static sl_err number_of(struct sl_policy_db *db, const char *sql, int64_t *out, struct sl_diag *diag)
{
    sqlite3_stmt *q = NULL;
    sl_err err = prepare(db, sql, &q, diag);
    if (err)
        return err;
    if (sqlite3_step(q) == SQLITE_ROW)
        *out = sqlite3_column_int64(q, 0);
    else
        err = fail(db, diag);
    sqlite3_finalize(q);
    return err;
}

static sl_err make_schema(struct sl_policy_db *db, struct sl_diag *diag)
{
    int64_t version = 0, tables = 0;
    sl_err err;

    if ((err = number_of(db, "PRAGMA user_version", &version, diag)) ||
        (err = number_of(db, "SELECT count(*) FROM sqlite_master", &tables, diag)))
        return err;
    if (version > SCHEMA_VERSION)
        return sl_fail(diag, SL_ERR_UNSUPPORTED,
                       "the policy database %.200s was written by a newer Sluice: start that version, or restore an older file",
                       db->path);
    if (version == SCHEMA_VERSION)
        return SL_OK;
    if (tables)
        return damaged(db, "it is no policy database", diag);
    if ((err = run(db, "BEGIN IMMEDIATE", diag)))
        return err;
    if ((err = run(db, SCHEMA, diag)) || (err = run(db, "COMMIT", diag)))
        sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    return err;
}

/* An empty file is what SQLite takes for a new database; here it is one that has lost its content, unless it has just been made. */
static sl_err create_or_check(const struct sl_policy_db *db, struct sl_diag *diag)
{
    int fd = open(db->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        close(fd);
        return SL_OK;
    }
    if (errno != EEXIST)
        return sl_fail(diag, SL_ERR_IO,
                       "the policy database %.200s can't be made: %s; check that the folder is there and can be written", db->path,
                       strerror(errno));
    fd = open(db->path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return sl_fail(diag, SL_ERR_IO, "the policy database %.200s can't be opened: %s; check owner and permissions", db->path,
                       strerror(errno));
    off_t size = lseek(fd, 0, SEEK_END);
    close(fd);
    return size == 0 ? damaged(db, "the file is empty", diag) : SL_OK;
}

sl_err sl_policy_db_open(struct sl_policy_db *db, const char *path, struct sl_diag *diag)
{
    bool fresh = access(path, F_OK) != 0;
    sl_err err;

    if (!(db->path = strdup(path)))
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    if ((err = create_or_check(db, diag)))
        return err;
    if (sqlite3_open_v2(path, &db->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        err = db->handle ? fail(db, diag) : sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    if (!err) {
        sqlite3_busy_timeout(db->handle, 2000);
        err = run(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF;", diag);
    }
    if (!err && !(err = check_integrity(db, diag)))
        err = make_schema(db, diag);
    if (err && fresh) { /* leave no half-made file behind that the next start would call damaged */
        sl_policy_db_close(db);
        unlink(path);
    }
    return err;
}

void sl_policy_db_close(struct sl_policy_db *db)
{
    sqlite3_close(db->handle);
    free(db->path);
    *db = (struct sl_policy_db){0};
}

/* ---- read ---- */

sl_err sl_policy_db_newest(struct sl_policy_db *db, uint64_t *out, struct sl_diag *diag)
{
    int64_t newest = 0;
    sl_err err = number_of(db, "SELECT coalesce(max(number), 0) FROM versions", &newest, diag);
    if (!err)
        *out = (uint64_t)newest;
    return err;
}

sl_err sl_policy_db_check_unused(struct sl_policy_db *db, struct sl_diag *diag)
{
    int64_t rows = 0;
    sl_err err = number_of(db, "SELECT (SELECT count(*) FROM meta) + (SELECT count(*) FROM candidate)", &rows, diag);
    if (!err && rows)
        err = damaged(db, "its versions are missing", diag);
    return err;
}

/* The configuration in columns `column` (bytes) and the next one (their SHA-256). */
static sl_err read_config(const struct sl_policy_db *db, sqlite3_stmt *row, int column, Sluice__V1__Config **out,
                          struct sl_diag *diag)
{
    const uint8_t *bytes = sqlite3_column_blob(row, column);
    size_t len = (size_t)sqlite3_column_bytes(row, column);
    const char *expected = (const char *)sqlite3_column_text(row, column + 1);
    ProtobufCMessage *message = NULL;
    char sha256[65];
    sl_err err = sl_policy_sha256_hex(bytes ? bytes : (const uint8_t *)"", len, sha256);

    if (err)
        return sl_fail(diag, err, "SHA-256 failed");
    if (!expected || strcmp(expected, sha256) != 0)
        return damaged(db, "a stored configuration differs from its checksum", diag);
    err = sl_rpc_message_unpack(&sluice__v1__config__descriptor, bytes, len, &message, diag);
    if (err == SL_ERR_NOMEM)
        return err;
    if (err)
        return damaged(db, "a stored configuration can't be decoded", diag);
    *out = (Sluice__V1__Config *)message;
    return SL_OK;
}

sl_err sl_policy_db_read(struct sl_policy_db *db, uint64_t number, Sluice__V1__Config **out, struct sl_diag *diag)
{
    sqlite3_stmt *q = NULL;
    sl_err err = prepare(db, "SELECT config, sha256 FROM versions WHERE number = ?", &q, diag);
    if (err)
        return err;
    sqlite3_bind_int64(q, 1, (int64_t)number);
    int rc = sqlite3_step(q);
    if (rc == SQLITE_ROW)
        err = read_config(db, q, 0, out, diag);
    else if (rc == SQLITE_DONE)
        err = sl_fail(diag, SL_ERR_NOT_FOUND, "there is no version %llu: 'sluicectl config versions' lists what there is",
                      (unsigned long long)number);
    else
        err = fail(db, diag);
    sqlite3_finalize(q);
    return err;
}

sl_err sl_policy_db_read_candidate(struct sl_policy_db *db, Sluice__V1__Config **out, uint64_t *revision, struct sl_diag *diag)
{
    sqlite3_stmt *q = NULL;
    sl_err err = prepare(db, "SELECT revision, config, sha256 FROM candidate", &q, diag);
    if (err)
        return err;
    int rc = sqlite3_step(q);
    if (rc == SQLITE_ROW) {
        *revision = (uint64_t)sqlite3_column_int64(q, 0);
        err = read_config(db, q, 1, out, diag);
    } else {
        err = rc == SQLITE_DONE ? damaged(db, "the candidate is missing", diag) : fail(db, diag);
    }
    sqlite3_finalize(q);
    return err;
}

sl_err sl_policy_db_next_rule_id(struct sl_policy_db *db, uint64_t *out, struct sl_diag *diag)
{
    int64_t next = 1;
    sl_err err = number_of(db, "SELECT coalesce(max(value), 1) FROM meta WHERE key = 'next_rule_id'", &next, diag);
    if (!err)
        *out = (uint64_t)next;
    return err;
}

static sl_err version_info(sqlite3_stmt *row, Sluice__V1__VersionInfo **out)
{
    Sluice__V1__VersionInfo *v = malloc(sizeof(*v));
    const char *author = (const char *)sqlite3_column_text(row, 2), *comment = (const char *)sqlite3_column_text(row, 3);

    if (!v)
        return SL_ERR_NOMEM;
    sluice__v1__version_info__init(v);
    v->version = (uint64_t)sqlite3_column_int64(row, 0);
    v->time_ns = (uint64_t)sqlite3_column_int64(row, 1);
    char *a = strdup(author ? author : ""), *c = strdup(comment ? comment : "");
    if (!a || !c) {
        free(a);
        free(c);
        free(v);
        return SL_ERR_NOMEM;
    }
    v->author = a;
    v->comment = c;
    *out = v;
    return SL_OK;
}

sl_err sl_policy_db_list(struct sl_policy_db *db, size_t limit, Sluice__V1__VersionInfo ***out, size_t *count, struct sl_diag *diag)
{
    Sluice__V1__VersionInfo **items = NULL;
    size_t n = 0;
    sqlite3_stmt *q = NULL;
    sl_err err = prepare(db, "SELECT number, time_ns, author, comment FROM versions ORDER BY number DESC LIMIT ?", &q, diag);
    int rc = SQLITE_DONE;

    if (err)
        return err;
    sqlite3_bind_int64(q, 1, limit > INT32_MAX ? INT32_MAX : (int64_t)limit);
    while (!err && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        Sluice__V1__VersionInfo **more = reallocarray(items, n + 1, sizeof(Sluice__V1__VersionInfo *));
        if (!more) {
            err = SL_ERR_NOMEM;
            break;
        }
        items = more;
        if (!(err = version_info(q, &items[n])))
            n++;
    }
    if (!err && rc != SQLITE_DONE)
        err = fail(db, diag);
    sqlite3_finalize(q);
    if (err) {
        sl_policy_versions_free(items, n);
        return err;
    }
    *out = items;
    *count = n;
    return SL_OK;
}

/* ---- write ---- */

/* Binds the wire form and its SHA-256 to parameters `at` and at + 1. */
static sl_err bind_config(sqlite3_stmt *q, int at, const Sluice__V1__Config *config, struct sl_diag *diag)
{
    size_t len = sluice__v1__config__get_packed_size(config);
    uint8_t *bytes;
    char sha256[65];
    sl_err err;

    if (len > CONFIG_BYTES_MAX)
        return sl_fail(diag, SL_ERR_LIMIT, "the configuration is larger than %d MiB: use fewer entries", CONFIG_BYTES_MAX >> 20);
    if (!(bytes = malloc(len + 1)))
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    sluice__v1__config__pack(config, bytes);
    if ((err = sl_policy_sha256_hex(bytes, len, sha256))) {
        free(bytes);
        return sl_fail(diag, err, "SHA-256 failed");
    }
    if (sqlite3_bind_blob(q, at, bytes, (int)len, free) != SQLITE_OK ||
        sqlite3_bind_text(q, at + 1, sha256, -1, SQLITE_TRANSIENT) != SQLITE_OK)
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    return SL_OK;
}

static sl_err put_candidate(struct sl_policy_db *db, const Sluice__V1__Config *config, uint64_t revision, struct sl_diag *diag)
{
    sqlite3_stmt *q = NULL;
    sl_err err = prepare(db, "INSERT OR REPLACE INTO candidate(one, revision, config, sha256) VALUES(1, ?1, ?2, ?3)", &q, diag);
    if (err)
        return err;
    sqlite3_bind_int64(q, 1, (int64_t)revision);
    if ((err = bind_config(q, 2, config, diag))) {
        sqlite3_finalize(q);
        return err;
    }
    return finish(db, q, diag);
}

static sl_err put_version(struct sl_policy_db *db, const struct sl_policy_db_version *v, struct sl_diag *diag)
{
    sqlite3_stmt *q = NULL;
    sl_err err = prepare(
        db, "INSERT INTO versions(number, time_ns, author, comment, config, sha256) VALUES(?1, ?2, ?3, ?4, ?5, ?6)", &q, diag);
    if (err)
        return err;
    sqlite3_bind_int64(q, 1, (int64_t)v->number);
    sqlite3_bind_int64(q, 2, (int64_t)v->time_ns);
    sqlite3_bind_text(q, 3, v->author, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(q, 4, v->comment, -1, SQLITE_TRANSIENT);
    if ((err = bind_config(q, 5, v->config, diag))) {
        sqlite3_finalize(q);
        return err;
    }
    if ((err = finish(db, q, diag)) ||
        (err = prepare(db, "INSERT OR REPLACE INTO meta(key, value) VALUES('next_rule_id', ?)", &q, diag)))
        return err;
    sqlite3_bind_int64(q, 1, (int64_t)v->next_rule_id);
    return finish(db, q, diag);
}

static sl_err write_all(struct sl_policy_db *db, const struct sl_policy_db_version *v, const Sluice__V1__Config *candidate,
                        uint64_t revision, struct sl_diag *diag)
{
    sl_err err = run(db, "BEGIN IMMEDIATE", diag);
    if (err)
        return err;
    if ((v && (err = put_version(db, v, diag))) || (err = put_candidate(db, candidate, revision, diag)) ||
        (err = run(db, "COMMIT", diag)))
        sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL); /* fails where SQLite has rolled back by itself */
    return err;
}

sl_err sl_policy_db_write(struct sl_policy_db *db, const struct sl_policy_db_version *v, const Sluice__V1__Config *candidate,
                          uint64_t revision, struct sl_diag *diag)
{
    return write_all(db, v, candidate, revision, diag);
}

sl_err sl_policy_db_write_candidate(struct sl_policy_db *db, const Sluice__V1__Config *candidate, uint64_t revision,
                                    struct sl_diag *diag)
{
    return write_all(db, NULL, candidate, revision, diag);
}
