/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/store.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "policy/store_db.h"
#include "rpc/message.h"

struct sl_policy_store {
    pthread_mutex_t lock;
    const struct sl_clock *clock;
    struct sl_policy_db db;
    struct sl_policy_snapshot *running;
    Sluice__V1__Config *candidate;
    uint64_t revision;
};

static void free_config(Sluice__V1__Config *c)
{
    if (c)
        sl_rpc_message_free(&c->base);
}

static sl_err copy_config(const Sluice__V1__Config *from, Sluice__V1__Config **out)
{
    ProtobufCMessage *copy = NULL;
    sl_err err = sl_rpc_message_copy(&from->base, &copy);
    if (!err)
        *out = (Sluice__V1__Config *)copy;
    return err;
}

/* By their wire form, which protobuf-c writes in the order of the fields. */
static sl_err configs_equal(const Sluice__V1__Config *a, const Sluice__V1__Config *b, bool *equal)
{
    size_t len = sluice__v1__config__get_packed_size(a);
    uint8_t *bytes;

    *equal = false;
    if (len != sluice__v1__config__get_packed_size(b))
        return SL_OK;
    if (!(bytes = malloc(2 * len + 1)))
        return SL_ERR_NOMEM;
    sluice__v1__config__pack(a, bytes);
    sluice__v1__config__pack(b, bytes + len);
    *equal = memcmp(bytes, bytes + len, len) == 0;
    free(bytes);
    return SL_OK;
}

/* ---- open, close ---- */

static sl_err first_version(struct sl_policy_store *s, struct sl_diag *diag)
{
    Sluice__V1__Config empty = SLUICE__V1__CONFIG__INIT;
    const struct sl_policy_db_version v = {.number = 1,
                                           .time_ns = s->clock->wall_ns(s->clock->arg),
                                           .author = "sluiced",
                                           .comment = "first start: nothing is decrypted",
                                           .config = &empty,
                                           .next_rule_id = 1};
    return sl_policy_db_write(&s->db, &v, &empty, 1, diag);
}

static sl_err load(struct sl_policy_store *s, struct sl_diag *diag)
{
    Sluice__V1__Config *config = NULL;
    uint64_t newest = 0;
    sl_err err;

    if ((err = sl_policy_db_newest(&s->db, &newest, diag)))
        return err;
    if (newest == 0) {
        if ((err = sl_policy_db_check_unused(&s->db, diag)))
            return err;
        if ((err = first_version(s, diag)))
            return err;
        newest = 1;
    }
    if ((err = sl_policy_db_read(&s->db, newest, &config, diag)))
        return err == SL_ERR_NOT_FOUND ? SL_ERR_CORRUPT : err;
    err = sl_policy_snapshot_new(config, newest, &s->running, diag);
    free_config(config);
    if (err == SL_ERR_INVALID || err == SL_ERR_LIMIT) {
        sl_fail_prefix(diag, err, "the running policy, version %llu, is not valid", (unsigned long long)newest);
        return SL_ERR_CORRUPT;
    }
    return err ? err : sl_policy_db_read_candidate(&s->db, &s->candidate, &s->revision, diag);
}

sl_err sl_policy_store_open(const char *path, const struct sl_clock *clock, struct sl_policy_store **out, struct sl_diag *diag)
{
    struct sl_policy_store *s = calloc(1, sizeof(*s));
    sl_err err;

    if (!s)
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    if (pthread_mutex_init(&s->lock, NULL)) {
        free(s);
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    }
    s->clock = clock ? clock : sl_clock_system();
    if ((err = sl_policy_db_open(&s->db, path, diag)) || (err = load(s, diag))) {
        sl_policy_store_close(s);
        return err;
    }
    *out = s;
    return SL_OK;
}

void sl_policy_store_close(struct sl_policy_store *s)
{
    if (!s)
        return;
    sl_policy_db_close(&s->db);
    sl_policy_snapshot_unref(s->running);
    free_config(s->candidate);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

struct sl_policy_snapshot *sl_policy_store_running(struct sl_policy_store *s)
{
    pthread_mutex_lock(&s->lock);
    struct sl_policy_snapshot *running = sl_policy_snapshot_ref(s->running);
    pthread_mutex_unlock(&s->lock);
    return running;
}

/* ---- the candidate ---- */

void sl_policy_candidate_free(struct sl_policy_candidate *c)
{
    free_config(c->config);
    *c = (struct sl_policy_candidate){0};
}

static sl_err show_candidate(struct sl_policy_store *s, struct sl_policy_candidate *out)
{
    bool equal = false;
    sl_err err = configs_equal(s->candidate, sl_policy_config(s->running), &equal);

    *out = (struct sl_policy_candidate){.version = sl_policy_version(s->running), .revision = s->revision, .differs = !equal};
    return err ? err : copy_config(s->candidate, &out->config);
}

sl_err sl_policy_store_candidate(struct sl_policy_store *s, struct sl_policy_candidate *out)
{
    pthread_mutex_lock(&s->lock);
    sl_err err = show_candidate(s, out);
    pthread_mutex_unlock(&s->lock);
    return err;
}

static sl_err check_revision(const struct sl_policy_store *s, uint64_t revision, struct sl_diag *diag)
{
    if (revision == 0 || revision == s->revision)
        return SL_OK;
    return sl_fail(
        diag, SL_ERR_CONFLICT,
        "the candidate is at revision %llu, not %llu: somebody changed it meanwhile; get it again and repeat your change",
        (unsigned long long)s->revision, (unsigned long long)revision);
}

/* Makes config, which is taken over on success only, the candidate, on disk and then in memory. */
static sl_err replace_candidate(struct sl_policy_store *s, Sluice__V1__Config *config, struct sl_diag *diag)
{
    sl_err err = sl_policy_db_write_candidate(&s->db, config, s->revision + 1, diag);
    if (err)
        return err;
    free_config(s->candidate);
    s->candidate = config;
    s->revision++;
    return SL_OK;
}

static sl_err set_candidate(struct sl_policy_store *s, const Sluice__V1__Config *config, uint64_t revision,
                            struct sl_policy_candidate *out, struct sl_diag *diag)
{
    Sluice__V1__Config *copy = NULL;
    sl_err err;

    if ((err = check_revision(s, revision, diag)))
        return err;
    if ((err = copy_config(config, &copy)))
        return sl_fail(diag, err, "out of memory");
    if ((err = replace_candidate(s, copy, diag))) {
        free_config(copy);
        return err;
    }
    return out ? show_candidate(s, out) : SL_OK;
}

sl_err sl_policy_store_set_candidate(struct sl_policy_store *s, const Sluice__V1__Config *config, uint64_t revision,
                                     struct sl_policy_candidate *out, struct sl_diag *diag)
{
    pthread_mutex_lock(&s->lock);
    sl_err err = set_candidate(s, config, revision, out, diag);
    pthread_mutex_unlock(&s->lock);
    return err;
}

sl_err sl_policy_store_discard(struct sl_policy_store *s, struct sl_policy_candidate *out, struct sl_diag *diag)
{
    pthread_mutex_lock(&s->lock);
    sl_err err = set_candidate(s, sl_policy_config(s->running), 0, out, diag);
    pthread_mutex_unlock(&s->lock);
    return err;
}

/* ---- commit ---- */

void sl_policy_commit_free(struct sl_policy_commit *c)
{
    sl_policy_snapshot_unref(c->snapshot);
    sl_findings_free(&c->findings);
    *c = (struct sl_policy_commit){0};
}

/* Rules that were never committed get the next ids; an id that an import brought along pushes the sequence on. */
static void assign_rule_ids(Sluice__V1__Config *c, uint64_t *next)
{
    for (size_t i = 0; i < c->n_decryption_rules; i++)
        if (c->decryption_rules[i]->id >= *next && c->decryption_rules[i]->id < UINT64_MAX / 2)
            *next = c->decryption_rules[i]->id + 1;
    for (size_t i = 0; i < c->n_access_rules; i++)
        if (c->access_rules[i]->id >= *next && c->access_rules[i]->id < UINT64_MAX / 2)
            *next = c->access_rules[i]->id + 1;
    for (size_t i = 0; i < c->n_decryption_rules; i++)
        if (!c->decryption_rules[i]->id)
            c->decryption_rules[i]->id = (*next)++;
    for (size_t i = 0; i < c->n_access_rules; i++)
        if (!c->access_rules[i]->id)
            c->access_rules[i]->id = (*next)++;
}

/* A rule that an amendment added to both takes the same id in both. */
static void share_rule_ids(const Sluice__V1__Config *from, Sluice__V1__Config *to)
{
    for (size_t i = 0; i < to->n_decryption_rules; i++)
        for (size_t j = 0; !to->decryption_rules[i]->id && j < from->n_decryption_rules; j++)
            if (strcmp(to->decryption_rules[i]->name, from->decryption_rules[j]->name) == 0)
                to->decryption_rules[i]->id = from->decryption_rules[j]->id;
    for (size_t i = 0; i < to->n_access_rules; i++)
        for (size_t j = 0; !to->access_rules[i]->id && j < from->n_access_rules; j++)
            if (strcmp(to->access_rules[i]->name, from->access_rules[j]->name) == 0)
                to->access_rules[i]->id = from->access_rules[j]->id;
}

static sl_err validate(const Sluice__V1__Config *config, uint64_t now_ns, struct sl_findings *findings, struct sl_diag *diag)
{
    sl_err err = sl_policy_validate(config, now_ns, findings);
    if (err)
        return sl_fail(diag, err, "out of memory while validating");
    if (findings->errors == 0)
        return SL_OK;
    return sl_fail(diag, SL_ERR_INVALID, "%zu error%s; the first: %.150s: %.250s", findings->errors,
                   findings->errors == 1 ? "" : "s", findings->count ? findings->items[0]->path : "",
                   findings->count ? findings->items[0]->text : "");
}

/*
 * Writes config as the next version together with the candidate (NULL: the same as config), then swaps both in memory. Every step
 * that can fail comes before the write, and nothing after it can, so that disk and memory never disagree. Both are taken over,
 * whatever happens.
 */
static sl_err commit(struct sl_policy_store *s, Sluice__V1__Config *config, Sluice__V1__Config *candidate, const char *author,
                     const char *comment, struct sl_policy_commit *out, struct sl_diag *diag)
{
    struct sl_policy_db_version v = {.number = sl_policy_version(s->running) + 1,
                                     .time_ns = s->clock->wall_ns(s->clock->arg),
                                     .author = author ? author : "",
                                     .comment = comment ? comment : "",
                                     .config = config};
    struct sl_policy_snapshot *snapshot = NULL;
    sl_err err;

    if ((err = validate(config, v.time_ns, &out->findings, diag)) ||
        (err = sl_policy_db_next_rule_id(&s->db, &v.next_rule_id, diag)))
        goto Exit;
    assign_rule_ids(config, &v.next_rule_id);
    if (candidate)
        share_rule_ids(config, candidate);
    if ((err = sl_policy_snapshot_new(config, v.number, &snapshot, diag)))
        goto Exit;
    if (!candidate && (err = copy_config(config, &candidate))) {
        sl_fail(diag, err, "out of memory");
        goto Exit;
    }
    if ((err = sl_policy_db_write(&s->db, &v, candidate, s->revision + 1, diag)))
        goto Exit;
    sl_policy_snapshot_unref(s->running);
    s->running = snapshot;
    snapshot = NULL;
    free_config(s->candidate);
    s->candidate = candidate;
    candidate = NULL;
    s->revision++;
    out->version = v.number;
    out->snapshot = sl_policy_snapshot_ref(s->running);
Exit:
    sl_policy_snapshot_unref(snapshot);
    free_config(config);
    free_config(candidate);
    return err;
}

static sl_err commit_candidate(struct sl_policy_store *s, const char *author, const char *comment, uint64_t revision,
                               struct sl_policy_commit *out, struct sl_diag *diag)
{
    Sluice__V1__Config *copy = NULL;
    bool equal = false;
    sl_err err;

    if ((err = check_revision(s, revision, diag)))
        return err;
    if ((err = configs_equal(s->candidate, sl_policy_config(s->running), &equal)))
        return sl_fail(diag, err, "out of memory");
    if (equal)
        return sl_fail(diag, SL_ERR_STATE, "nothing to commit: the candidate equals the running version %llu",
                       (unsigned long long)sl_policy_version(s->running));
    if ((err = copy_config(s->candidate, &copy)))
        return sl_fail(diag, err, "out of memory");
    return commit(s, copy, NULL, author, comment, out, diag);
}

sl_err sl_policy_store_commit(struct sl_policy_store *s, const char *author, const char *comment, uint64_t revision,
                              struct sl_policy_commit *out, struct sl_diag *diag)
{
    *out = (struct sl_policy_commit){0};
    pthread_mutex_lock(&s->lock);
    sl_err err = commit_candidate(s, author, comment, revision, out, diag);
    pthread_mutex_unlock(&s->lock);
    return err;
}

sl_err sl_policy_store_rollback(struct sl_policy_store *s, uint64_t version, const char *author, const char *comment,
                                struct sl_policy_commit *out, struct sl_diag *diag)
{
    Sluice__V1__Config *config = NULL;

    *out = (struct sl_policy_commit){0};
    pthread_mutex_lock(&s->lock);
    sl_err err = sl_policy_db_read(&s->db, version, &config, diag);
    if (!err)
        err = commit(s, config, NULL, author, comment, out, diag);
    pthread_mutex_unlock(&s->lock);
    return err;
}

static sl_err amend(struct sl_policy_store *s, sl_policy_edit edit, void *arg, const char *author, const char *comment,
                    struct sl_policy_commit *out, struct sl_diag *diag)
{
    Sluice__V1__Config *config = NULL, *candidate = NULL;
    bool pending = false;
    sl_err err;

    if ((err = configs_equal(s->candidate, sl_policy_config(s->running), &pending)) ||
        (err = copy_config(sl_policy_config(s->running), &config)))
        return sl_fail(diag, err, "out of memory");
    pending = !pending;
    if ((err = edit(arg, config, diag)))
        goto Exit;
    if (pending) { /* what others have pending is kept, with the change added where it fits */
        struct sl_diag ignored;
        if ((err = copy_config(s->candidate, &candidate)))
            goto Exit;
        if (edit(arg, candidate, &ignored)) {
            free_config(candidate);
            candidate = NULL;
            if ((err = copy_config(s->candidate, &candidate)))
                goto Exit;
        }
    }
    return commit(s, config, candidate, author, comment, out, diag);
Exit:
    free_config(config);
    free_config(candidate);
    return err;
}

sl_err sl_policy_store_amend(struct sl_policy_store *s, sl_policy_edit edit, void *arg, const char *author, const char *comment,
                             struct sl_policy_commit *out, struct sl_diag *diag)
{
    *out = (struct sl_policy_commit){0};
    pthread_mutex_lock(&s->lock);
    sl_err err = amend(s, edit, arg, author, comment, out, diag);
    pthread_mutex_unlock(&s->lock);
    return err;
}

/* ---- versions ---- */

sl_err sl_policy_store_list(struct sl_policy_store *s, size_t limit, Sluice__V1__VersionInfo ***out, size_t *count,
                            struct sl_diag *diag)
{
    pthread_mutex_lock(&s->lock);
    sl_err err = sl_policy_db_list(&s->db, limit ? limit : 50, out, count, diag);
    pthread_mutex_unlock(&s->lock);
    return err;
}

void sl_policy_versions_free(Sluice__V1__VersionInfo **versions, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sluice__v1__version_info__free_unpacked(versions[i], NULL);
    free(versions);
}

sl_err sl_policy_store_get(struct sl_policy_store *s, uint64_t version, Sluice__V1__Config **out, struct sl_diag *diag)
{
    pthread_mutex_lock(&s->lock);
    sl_err err = sl_policy_db_read(&s->db, version, out, diag);
    pthread_mutex_unlock(&s->lock);
    return err;
}
