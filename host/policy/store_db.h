/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy store's file. A version's configuration is a protobuf with its SHA-256 beside it, so that damage which SQLite doesn't
 * see is found, too.
 *
 *   versions(number, time_ns, author, comment, config, sha256)
 *   candidate(one row: revision, config, sha256)            meta(key, value): "next_rule_id"
 *
 * Every write is one transaction: it happens as a whole, or not at all.
 */
#pragma once

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "sluice/v1/config.pb-c.h"
#include "sluice/v1/management.pb-c.h"

struct sl_policy_db {
    sqlite3 *handle;
    char *path;
};

struct sl_policy_db_version {
    uint64_t number, time_ns, next_rule_id;
    const char *author, *comment;
    const Sluice__V1__Config *config;
};

sl_err sl_policy_db_open(struct sl_policy_db *db, const char *path, struct sl_diag *diag);
void sl_policy_db_close(struct sl_policy_db *db);

/* SL_ERR_CORRUPT if the file was in use before: then its versions are missing rather than not made yet. */
sl_err sl_policy_db_check_unused(struct sl_policy_db *db, struct sl_diag *diag);
/* 0: there is none yet. */
sl_err sl_policy_db_newest(struct sl_policy_db *db, uint64_t *out, struct sl_diag *diag);
sl_err sl_policy_db_read(struct sl_policy_db *db, uint64_t number, Sluice__V1__Config **out, struct sl_diag *diag);
sl_err sl_policy_db_read_candidate(struct sl_policy_db *db, Sluice__V1__Config **out, uint64_t *revision, struct sl_diag *diag);
sl_err sl_policy_db_next_rule_id(struct sl_policy_db *db, uint64_t *out, struct sl_diag *diag);
sl_err sl_policy_db_list(struct sl_policy_db *db, size_t limit, Sluice__V1__VersionInfo ***out, size_t *count,
                         struct sl_diag *diag);

/* A version and the candidate that goes with it. */
sl_err sl_policy_db_write(struct sl_policy_db *db, const struct sl_policy_db_version *v, const Sluice__V1__Config *candidate,
                          uint64_t revision, struct sl_diag *diag);
sl_err sl_policy_db_write_candidate(struct sl_policy_db *db, const Sluice__V1__Config *candidate, uint64_t revision,
                                    struct sl_diag *diag);
