/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

#include "make.h"
#include "policy/store.h"

struct scratch {
    char folder[64], path[96];
    struct sl_clock_manual clock;
    struct sl_policy_store *store;
};

static int setup(void **state)
{
    struct scratch *s = calloc(1, sizeof(*s));
    struct sl_diag diag = {""};
    strcpy(s->folder, "policy-XXXXXX");
    if (!mkdtemp(s->folder))
        return -1;
    snprintf(s->path, sizeof(s->path), "%s/policy.db", s->folder);
    sl_clock_manual_init(&s->clock, UINT64_C(1800000000) * SL_NS_PER_S);
    assert_int_equal(sl_policy_store_open(s->path, &s->clock.clock, &s->store, &diag), SL_OK);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    static const char *const SUFFIXES[] = {"", "-wal", "-shm"};
    struct scratch *s = *state;
    char path[128];
    sl_policy_store_close(s->store);
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s%s", s->path, SUFFIXES[i]);
        unlink(path);
    }
    int rc = rmdir(s->folder);
    free(s);
    return rc;
}

static void reopen(struct scratch *s)
{
    struct sl_diag diag = {""};
    sl_policy_store_close(s->store);
    s->store = NULL;
    if (sl_policy_store_open(s->path, &s->clock.clock, &s->store, &diag))
        fail_msg("%s", diag.text);
}

static void set(struct scratch *s, const char *yaml)
{
    Sluice__V1__Config *c = config_of(yaml);
    struct sl_diag diag = {""};
    if (sl_policy_store_set_candidate(s->store, c, 0, NULL, &diag))
        fail_msg("%s", diag.text);
    config_free(c);
}

static uint64_t commit(struct scratch *s)
{
    struct sl_policy_commit done;
    struct sl_diag diag = {""};
    if (sl_policy_store_commit(s->store, "tester", "a comment", 0, &done, &diag))
        fail_msg("%s", diag.text);
    uint64_t version = done.version;
    assert_int_equal(sl_policy_version(done.snapshot), version);
    sl_policy_commit_free(&done);
    return version;
}

static uint64_t running(struct scratch *s)
{
    struct sl_policy_snapshot *r = sl_policy_store_running(s->store);
    uint64_t version = sl_policy_version(r);
    sl_policy_snapshot_unref(r);
    return version;
}

static struct sl_policy_candidate candidate(struct scratch *s)
{
    struct sl_policy_candidate c;
    assert_int_equal(sl_policy_store_candidate(s->store, &c), SL_OK);
    return c;
}

static void test_first_start(void **state)
{
    struct scratch *s = *state;
    struct sl_policy_candidate c = candidate(s);

    assert_int_equal(running(s), 1);
    assert_false(c.differs);
    assert_int_equal(c.revision, 1);
    assert_int_equal(c.version, 1);
    assert_int_equal(c.config->n_decryption_rules, 0);
    sl_policy_candidate_free(&c);
    reopen(s);
    assert_int_equal(running(s), 1);
}

static void test_commit_and_restart(void **state)
{
    struct scratch *s = *state;
    struct sl_policy_commit done;
    struct sl_diag diag = {""};
    Sluice__V1__Config *old = NULL;
    Sluice__V1__VersionInfo **versions = NULL;
    size_t count = 0;

    assert_int_equal(sl_policy_store_commit(s->store, "x", "", 0, &done, &diag), SL_ERR_STATE);
    assert_null(done.snapshot);
    set(s, "decryption_rules: [{name: a, action: decrypt}, {name: b, action: block}]\naccess_rules: [{name: c, action: deny}]");
    reopen(s); /* the candidate is kept over a restart */
    struct sl_policy_candidate c = candidate(s);
    assert_true(c.differs);
    assert_int_equal(c.revision, 2);
    assert_int_equal(c.config->decryption_rules[0]->id, 0);
    sl_policy_candidate_free(&c);
    assert_int_equal(commit(s), 2);
    c = candidate(s);
    assert_false(c.differs);
    assert_int_equal(c.config->decryption_rules[0]->id, 1);
    assert_int_equal(c.config->decryption_rules[1]->id, 2);
    assert_int_equal(c.config->access_rules[0]->id, 3);
    sl_policy_candidate_free(&c);
    set(s, "decryption_rules: [{name: new, action: block}, {name: a, action: decrypt, id: 1}]");
    assert_int_equal(commit(s), 3);
    reopen(s);
    assert_int_equal(running(s), 3);
    c = candidate(s);
    assert_int_equal(c.config->decryption_rules[0]->id, 4); /* 2 and 3 are never used again */
    assert_int_equal(c.config->decryption_rules[1]->id, 1);
    sl_policy_candidate_free(&c);
    assert_int_equal(sl_policy_store_get(s->store, 2, &old, &diag), SL_OK);
    assert_int_equal(old->n_access_rules, 1);
    config_free(old);
    assert_int_equal(sl_policy_store_get(s->store, 9, &old, &diag), SL_ERR_NOT_FOUND);
    assert_int_equal(sl_policy_store_list(s->store, 2, &versions, &count, &diag), SL_OK);
    assert_int_equal(count, 2);
    assert_int_equal(versions[0]->version, 3);
    assert_string_equal(versions[1]->author, "tester");
    assert_string_equal(versions[1]->comment, "a comment");
    assert_int_equal(versions[0]->time_ns, UINT64_C(1800000000) * SL_NS_PER_S);
    sl_policy_versions_free(versions, count);
}

static void test_conflict(void **state)
{
    struct scratch *s = *state;
    Sluice__V1__Config *c = config_of("settings: {revocation: hard}");
    struct sl_policy_candidate now;
    struct sl_policy_commit done;
    struct sl_diag diag = {""};

    assert_int_equal(sl_policy_store_set_candidate(s->store, c, 1, &now, &diag), SL_OK);
    assert_int_equal(now.revision, 2);
    assert_true(now.differs);
    sl_policy_candidate_free(&now);
    assert_int_equal(sl_policy_store_set_candidate(s->store, c, 1, &now, &diag), SL_ERR_CONFLICT);
    assert_non_null(strstr(diag.text, "revision 2"));
    assert_int_equal(sl_policy_store_commit(s->store, "x", "", 1, &done, &diag), SL_ERR_CONFLICT);
    assert_int_equal(sl_policy_store_commit(s->store, "x", "", 2, &done, &diag), SL_OK);
    sl_policy_commit_free(&done);
    assert_int_equal(running(s), 2);
    assert_int_equal(sl_policy_store_commit(s->store, "x", "", 2, &done, &diag), SL_ERR_CONFLICT); /* a commit moves it on, too */
    config_free(c);
}

static void test_invalid_is_not_committed(void **state)
{
    struct scratch *s = *state;
    struct sl_policy_commit done;
    struct sl_diag diag = {""};

    set(s, "decryption_rules: [{name: a, action: decrypt, match: {sources: [nowhere]}}, {name: b}]");
    assert_int_equal(sl_policy_store_commit(s->store, "x", "", 0, &done, &diag), SL_ERR_INVALID);
    assert_int_equal(done.findings.errors, 2);
    assert_null(done.snapshot);
    assert_non_null(strstr(diag.text, "2 errors; the first: decryption_rules[0]"));
    sl_policy_commit_free(&done);
    assert_int_equal(running(s), 1);
    struct sl_policy_candidate c = candidate(s);
    assert_true(c.differs); /* what was typed is not lost */
    sl_policy_candidate_free(&c);
    assert_int_equal(sl_policy_store_discard(s->store, &c, &diag), SL_OK);
    assert_false(c.differs);
    sl_policy_candidate_free(&c);
}

static void test_rollback(void **state)
{
    struct scratch *s = *state;
    struct sl_policy_commit done;
    struct sl_diag diag = {""};

    set(s, "decryption_rules: [{name: a, action: decrypt}]");
    commit(s);
    set(s, "decryption_rules: [{name: b, action: decrypt}]");
    commit(s);
    assert_int_equal(sl_policy_store_rollback(s->store, 2, "x", "back", &done, &diag), SL_OK);
    assert_int_equal(done.version, 4);
    assert_string_equal(sl_policy_config(done.snapshot)->decryption_rules[0]->name, "a");
    assert_int_equal(sl_policy_config(done.snapshot)->decryption_rules[0]->id, 1);
    sl_policy_commit_free(&done);
    struct sl_policy_candidate c = candidate(s);
    assert_false(c.differs);
    sl_policy_candidate_free(&c);
    assert_int_equal(sl_policy_store_rollback(s->store, 77, "x", "", &done, &diag), SL_ERR_NOT_FOUND);
    assert_int_equal(running(s), 4);
}

static sl_err add_rule(void *arg, Sluice__V1__Config *config, struct sl_diag *diag)
{
    Sluice__V1__DecryptionRule *r;
    for (size_t i = 0; i < config->n_decryption_rules; i++)
        if (strcmp(config->decryption_rules[i]->name, arg) == 0)
            return sl_fail(diag, SL_ERR_EXISTS, "there already");
    r = malloc(sizeof(*r));
    sluice__v1__decryption_rule__init(r);
    r->name = strdup(arg);
    r->action = SLUICE__V1__DECRYPTION_ACTION__DO_NOT_DECRYPT;
    config->decryption_rules = realloc(config->decryption_rules, (config->n_decryption_rules + 1) * sizeof(void *));
    config->decryption_rules[config->n_decryption_rules++] = r;
    return SL_OK;
}

/* A remedy is committed alone: what somebody has pending stays pending. */
static void test_amend(void **state)
{
    struct scratch *s = *state;
    struct sl_policy_commit done;
    struct sl_diag diag = {""};
    char name[] = "bypass";

    set(s, "settings: {revocation: hard}");
    assert_int_equal(sl_policy_store_amend(s->store, add_rule, name, "x", "fix", &done, &diag), SL_OK);
    assert_int_equal(sl_policy_config(done.snapshot)->n_decryption_rules, 1);
    assert_int_equal(sl_policy_settings(done.snapshot)->revocation, SLUICE__V1__REVOCATION_MODE__REVOCATION_SOFT);
    sl_policy_commit_free(&done);
    struct sl_policy_candidate c = candidate(s);
    assert_true(c.differs);
    assert_int_equal(c.config->settings->revocation, SLUICE__V1__REVOCATION_MODE__REVOCATION_HARD);
    assert_int_equal(c.config->n_decryption_rules, 1);
    assert_int_equal(c.config->decryption_rules[0]->id, 1); /* the same rule in both */
    sl_policy_candidate_free(&c);
    assert_int_equal(sl_policy_store_amend(s->store, add_rule, name, "x", "fix", &done, &diag), SL_ERR_EXISTS);
    assert_int_equal(running(s), 2);
    commit(s);
    c = candidate(s);
    assert_false(c.differs);
    sl_policy_candidate_free(&c);
}

/* ---- damage ---- */

static void overwrite(const char *path, off_t at, const void *bytes, size_t len)
{
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, at), (ssize_t)len);
    close(fd);
}

static void expect_corrupt(struct scratch *s)
{
    struct sl_policy_store *store = NULL;
    struct sl_diag diag = {""};
    struct stat before, after;

    stat(s->path, &before);
    assert_int_equal(sl_policy_store_open(s->path, NULL, &store, &diag), SL_ERR_CORRUPT);
    assert_null(store);
    if (!strstr(diag.text, "restore the file from a backup"))
        fail_msg("%s", diag.text);
    stat(s->path, &after);
    assert_int_equal(before.st_size, after.st_size); /* never emptied or replaced */
    assert_int_equal(before.st_ino, after.st_ino);
}

static void test_damaged(void **state)
{
    struct scratch *s = *state;
    char noise[4096], *bytes;
    struct stat st;

    set(s, "decryption_rules: [{name: needle-in-the-file, action: decrypt}]");
    commit(s);
    sl_policy_store_close(s->store);
    s->store = NULL;
    stat(s->path, &st);
    size_t size = (size_t)st.st_size;
    bytes = malloc(size);
    int fd = open(s->path, O_RDONLY);
    assert_int_equal(read(fd, bytes, size), (ssize_t)size);
    close(fd);

    /* one byte inside a configuration, which SQLite does not notice */
    char *needle = memmem(bytes, size, "needle-in", 9);
    assert_non_null(needle);
    for (char *at = bytes; (at = memmem(at, size - (size_t)(at - bytes), "needle-in", 9)); at++)
        overwrite(s->path, at - bytes, "N", 1);
    expect_corrupt(s);
    overwrite(s->path, 0, bytes, size);

    memset(noise, 0xa5, sizeof(noise)); /* the head of the file */
    overwrite(s->path, 0, noise, sizeof(noise));
    expect_corrupt(s);
    overwrite(s->path, 0, bytes, size);

    assert_int_equal(truncate(s->path, (off_t)(size / 2)), 0);
    expect_corrupt(s);
    assert_int_equal(truncate(s->path, 0), 0);
    expect_corrupt(s);
    overwrite(s->path, 0, "not a database at all, but a text", 33);
    expect_corrupt(s);

    assert_int_equal(truncate(s->path, 0), 0);
    overwrite(s->path, 0, bytes, size); /* the backup is restored */
    free(bytes);
    reopen(s);
    assert_int_equal(running(s), 2);
}

static void test_emptied_tables(void **state)
{
    static const char *const SQL[] = {"DELETE FROM candidate", "DELETE FROM versions", "DROP TABLE versions"};
    struct scratch *s = *state;

    for (size_t i = 0; i < 3; i++) {
        char command[256];
        sl_policy_store_close(s->store);
        s->store = NULL;
        sqlite3 *db = NULL;
        assert_int_equal(sqlite3_open(s->path, &db), SQLITE_OK);
        snprintf(command, sizeof(command), "%s", SQL[i]);
        assert_int_equal(sqlite3_exec(db, command, NULL, NULL, NULL), SQLITE_OK);
        sqlite3_close(db);
        struct sl_policy_store *store = NULL;
        struct sl_diag diag = {""};
        assert_int_equal(sl_policy_store_open(s->path, NULL, &store, &diag), SL_ERR_CORRUPT);
    }
}

static void test_newer_schema(void **state)
{
    struct scratch *s = *state;
    struct sl_policy_store *store = NULL;
    struct sl_diag diag = {""};
    sqlite3 *db = NULL;

    sl_policy_store_close(s->store);
    s->store = NULL;
    assert_int_equal(sqlite3_open(s->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(sl_policy_store_open(s->path, NULL, &store, &diag), SL_ERR_UNSUPPORTED);
    assert_non_null(strstr(diag.text, "newer Sluice"));
}

static void test_no_folder(void **state)
{
    struct sl_policy_store *store = NULL;
    struct sl_diag diag = {""};

    (void)state;
    assert_int_equal(sl_policy_store_open("no-such-folder/policy.db", NULL, &store, &diag), SL_ERR_IO);
    assert_non_null(strstr(diag.text, "check that the folder is there"));
}

/* A file-size limit stands in for the full disk. In a child, since the limit can't be raised again by everybody. */
static void test_full_disk(void **state)
{
    struct scratch *s = *state;

    set(s, "settings: {revocation: hard}");
    commit(s);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {200000, 200000};
        struct sl_policy_store *store = NULL;
        struct sl_policy_candidate c, after;
        struct sl_diag diag = {""};
        signal(SIGXFSZ, SIG_IGN);
        sl_policy_store_close(s->store);
        if (sl_policy_store_open(s->path, NULL, &store, &diag) || setrlimit(RLIMIT_FSIZE, &limit) ||
            sl_policy_store_candidate(store, &c))
            _exit(2);
        Sluice__V1__Config *big = config_of("networks: [{name: big, prefixes: [10.0.0.0/8]}]");
        big->networks[0]->prefixes = realloc(big->networks[0]->prefixes, 40001 * sizeof(char *));
        for (size_t i = 1; i <= 40000; i++)
            big->networks[0]->prefixes[big->networks[0]->n_prefixes++] = strdup("10.0.0.0/8");
        sl_err err = sl_policy_store_set_candidate(store, big, 0, NULL, &diag);
        if (err != SL_ERR_IO || sl_policy_store_candidate(store, &after) || after.revision != c.revision || after.differs)
            _exit(3);
        /* what fits can still be written */
        Sluice__V1__Config *small = config_of("settings: {revocation: soft}");
        if (sl_policy_store_set_candidate(store, small, 0, NULL, &diag))
            _exit(4);
        struct sl_policy_commit done;
        if (sl_policy_store_commit(store, "x", "", 0, &done, &diag) || done.version != 3)
            _exit(5);
        sl_policy_commit_free(&done);
        sl_policy_candidate_free(&c);
        sl_policy_candidate_free(&after);
        config_free(big);
        config_free(small);
        sl_policy_store_close(store);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_true(WIFEXITED(status));
    reopen(s);
    assert_int_equal(running(s), 3);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_first_start),
        CASE(test_commit_and_restart),
        CASE(test_conflict),
        CASE(test_invalid_is_not_committed),
        CASE(test_rollback),
        CASE(test_amend),
        CASE(test_damaged),
        CASE(test_emptied_tables),
        CASE(test_newer_schema),
        CASE(test_full_disk),
        cmocka_unit_test(test_no_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
