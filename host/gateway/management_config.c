/* SPDX-License-Identifier: Apache-2.0 */
/* Candidate, versions, commit. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "gateway/management_state.h"
#include "policy/snapshot.h"
#include "policy/validate.h"
#include "policy/yaml.h"
#include "rpc/message.h"

enum { VERSIONS_MAX = 1000 };

/* The store's own words, or a general phrase where it has none. */
static sl_err failed(struct sl_diag *diag, sl_err err)
{
    return diag->text[0] ? err : sl_fail(diag, err, "%s", sl_err_str(err));
}

void sl_mgmt_give_candidate(struct sl_policy_candidate *candidate, Sluice__V1__ConfigSnapshot *out)
{
    out->config = candidate->config;
    out->version = candidate->version;
    out->revision = candidate->revision;
    out->differs = candidate->differs;
    candidate->config = NULL;
    sl_policy_candidate_free(candidate);
}

/* ------------------------------------------------------------------------------------------------------------------------ read */

static sl_err read_running(struct sl_mgmt *m, Sluice__V1__ConfigSnapshot *out)
{
    struct sl_policy_snapshot *running = sl_policy_store_running(m->deps.policy);
    ProtobufCMessage *copy = NULL;

    sl_err err = sl_rpc_message_copy(&sl_policy_config(running)->base, &copy);
    out->version = sl_policy_version(running);
    out->config = (Sluice__V1__Config *)copy;
    sl_policy_snapshot_unref(running);
    return err;
}

/* what may be NULL: the running configuration. */
static sl_err read_config(struct sl_mgmt *m, const Sluice__V1__GetConfigRequest *what, Sluice__V1__ConfigSnapshot *out,
                          struct sl_diag *diag)
{
    struct sl_policy_candidate candidate = {0};
    sl_err err;

    switch (what ? what->source : SLUICE__V1__CONFIG_SOURCE__CONFIG_RUNNING) {
    case SLUICE__V1__CONFIG_SOURCE__CONFIG_RUNNING:
        return read_running(m, out);
    case SLUICE__V1__CONFIG_SOURCE__CONFIG_CANDIDATE:
        err = sl_policy_store_candidate(m->deps.policy, &candidate);
        if (!err)
            sl_mgmt_give_candidate(&candidate, out);
        return err;
    case SLUICE__V1__CONFIG_SOURCE__CONFIG_VERSION:
        err = sl_policy_store_get(m->deps.policy, what->version, &out->config, diag);
        if (!err)
            out->version = what->version;
        return err == SL_ERR_NOT_FOUND
                   ? sl_fail(diag, err, "there is no version %" PRIu64 "; 'sluicectl config history' lists them", what->version)
                   : err;
    default:
        return sl_fail(diag, SL_ERR_INVALID, "source: unknown value %d", (int)what->source);
    }
}

sl_err sl_mgmt_get_config(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *request, ProtobufCMessage *response,
                          struct sl_diag *diag)
{
    (void)call;
    sl_err err = read_config(arg, (const Sluice__V1__GetConfigRequest *)request, (Sluice__V1__ConfigSnapshot *)response, diag);
    return err ? failed(diag, err) : SL_OK;
}

static void name_config(const Sluice__V1__GetConfigRequest *what, const Sluice__V1__ConfigSnapshot *snapshot, char out[static 64])
{
    if (what->source == SLUICE__V1__CONFIG_SOURCE__CONFIG_CANDIDATE)
        snprintf(out, 64, "candidate");
    else
        snprintf(out, 64, "%sversion %" PRIu64, what->source == SLUICE__V1__CONFIG_SOURCE__CONFIG_RUNNING ? "running " : "",
                 snapshot->version);
}

sl_err sl_mgmt_diff_config(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *request, ProtobufCMessage *response,
                           struct sl_diag *diag)
{
    static const Sluice__V1__GetConfigRequest running = SLUICE__V1__GET_CONFIG_REQUEST__INIT;
    Sluice__V1__GetConfigRequest candidate = SLUICE__V1__GET_CONFIG_REQUEST__INIT;
    const Sluice__V1__DiffConfigRequest *r = (const Sluice__V1__DiffConfigRequest *)request;
    Sluice__V1__ConfigSnapshot from = SLUICE__V1__CONFIG_SNAPSHOT__INIT, to = SLUICE__V1__CONFIG_SNAPSHOT__INIT;
    char from_name[64], to_name[64], *text = NULL;
    (void)call;

    candidate.source = SLUICE__V1__CONFIG_SOURCE__CONFIG_CANDIDATE;
    const Sluice__V1__GetConfigRequest *a = r->from ? r->from : &running, *b = r->to ? r->to : &candidate;
    sl_err err = read_config(arg, a, &from, diag);
    if (!err)
        err = read_config(arg, b, &to, diag);
    if (!err) {
        name_config(a, &from, from_name);
        name_config(b, &to, to_name);
        err = sl_policy_yaml_diff(from_name, from.config, to_name, to.config, &text, diag);
    }
    if (!err)
        ((Sluice__V1__ConfigDiff *)response)->text = text;
    sl_rpc_message_free(from.config ? &from.config->base : NULL);
    sl_rpc_message_free(to.config ? &to.config->base : NULL);
    return err ? failed(diag, err) : SL_OK;
}

sl_err sl_mgmt_list_versions(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *request, ProtobufCMessage *response,
                             struct sl_diag *diag)
{
    struct sl_mgmt *m = arg;
    Sluice__V1__VersionList *list = (Sluice__V1__VersionList *)response;
    uint32_t limit = ((const Sluice__V1__ListVersionsRequest *)request)->limit;
    (void)call;

    sl_err err =
        sl_policy_store_list(m->deps.policy, limit < VERSIONS_MAX ? limit : VERSIONS_MAX, &list->versions, &list->n_versions, diag);
    return err ? failed(diag, err) : SL_OK;
}

/* ------------------------------------------------------------------------------------------------------------------- candidate */

sl_err sl_mgmt_set_candidate(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *request, ProtobufCMessage *response,
                             struct sl_diag *diag)
{
    static const Sluice__V1__Config empty = SLUICE__V1__CONFIG__INIT;
    const Sluice__V1__SetCandidateRequest *r = (const Sluice__V1__SetCandidateRequest *)request;
    struct sl_policy_candidate candidate = {0};
    struct sl_mgmt *m = arg;

    sl_err err = sl_mgmt_authorise(call, diag);
    if (!err)
        err = sl_policy_store_set_candidate(m->deps.policy, r->config ? r->config : &empty, r->revision, &candidate, diag);
    if (err == SL_ERR_CONFLICT)
        return sl_fail(diag, err,
                       "somebody else has changed the candidate meanwhile: look at it ('sluicectl config diff') and try again");
    if (err)
        return failed(diag, err);
    sl_mgmt_give_candidate(&candidate, (Sluice__V1__ConfigSnapshot *)response);
    return SL_OK;
}

sl_err sl_mgmt_discard_candidate(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *request, ProtobufCMessage *response,
                                 struct sl_diag *diag)
{
    struct sl_policy_candidate candidate = {0};
    struct sl_mgmt *m = arg;
    (void)request;

    sl_err err = sl_mgmt_authorise(call, diag);
    if (!err)
        err = sl_policy_store_discard(m->deps.policy, &candidate, diag);
    if (err)
        return failed(diag, err);
    sl_mgmt_give_candidate(&candidate, (Sluice__V1__ConfigSnapshot *)response);
    return SL_OK;
}

sl_err sl_mgmt_validate_candidate(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *request, ProtobufCMessage *response,
                                  struct sl_diag *diag)
{
    Sluice__V1__ValidationReport *report = (Sluice__V1__ValidationReport *)response;
    struct sl_policy_candidate candidate = {0};
    struct sl_findings findings = {0};
    struct sl_mgmt *m = arg;
    (void)call;
    (void)request;

    sl_err err = sl_policy_store_candidate(m->deps.policy, &candidate);
    if (!err)
        err = sl_policy_validate(candidate.config, sl_mgmt_now(m), &findings);
    sl_policy_candidate_free(&candidate);
    if (err)
        return failed(diag, err);
    report->findings = findings.items;
    report->n_findings = findings.count;
    return SL_OK;
}

/* ---------------------------------------------------------------------------------------------------------------------- commit */

static sl_err add_finding(struct sl_findings *findings, const char *text)
{
    Sluice__V1__ValidationFinding **grown = reallocarray(findings->items, findings->count + 1, sizeof(void *));
    Sluice__V1__ValidationFinding *finding = grown ? malloc(sizeof *finding) : NULL;

    if (grown)
        findings->items = grown;
    if (!finding)
        return SL_ERR_NOMEM;
    sluice__v1__validation_finding__init(finding);
    if (sl_mgmt_set(&finding->text, text)) {
        free(finding);
        return SL_ERR_NOMEM;
    }
    grown[findings->count++] = finding;
    return SL_OK;
}

void sl_mgmt_apply(struct sl_mgmt *m, struct sl_policy_commit *commit)
{
    struct sl_diag why = {{0}}, text;

    sl_err err = m->deps.apply_snapshot(m->deps.arg, commit->snapshot, &why);
    commit->snapshot = NULL;
    if (!err)
        return;
    sl_fail(&text, err, "version %" PRIu64 " is committed, but the gateway still uses the one before: %s; restart sluiced",
            commit->version, why.text[0] ? why.text : sl_err_str(err));
    sl_log(SL_LOG_ERROR, "management", "a commit did not take effect", SL_U64("version", commit->version),
           SL_STR("why", text.text));
    if (add_finding(&commit->findings, text.text))
        sl_log(SL_LOG_WARN, "management", "the author of the commit was not told", SL_ERRV(SL_ERR_NOMEM));
}

/* All errors, as far as they fit, so that one attempt shows them. */
static sl_err refuse(const struct sl_policy_commit *commit, struct sl_diag *diag)
{
    char text[sizeof diag->text];
    size_t len = 0;

    for (size_t i = 0; i < commit->findings.count && len < sizeof text - 1; i++) {
        const Sluice__V1__ValidationFinding *f = commit->findings.items[i];
        if (!f->error)
            continue;
        int n = snprintf(text + len, sizeof text - len, "\n  %s: %s", f->path, f->text);
        len += n < 0 ? 0 : (size_t)n;
    }
    return commit->findings.errors ? sl_fail(diag, SL_ERR_INVALID, "the candidate is not valid, nothing was committed:%s", text)
                                   : failed(diag, SL_ERR_INVALID);
}

static void give_commit(struct sl_policy_commit *commit, Sluice__V1__CommitResponse *out)
{
    out->version = commit->version;
    out->warnings = commit->findings.items;
    out->n_warnings = commit->findings.count;
    commit->findings = (struct sl_findings){0};
}

sl_err sl_mgmt_commit(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *request, ProtobufCMessage *response,
                      struct sl_diag *diag)
{
    const Sluice__V1__CommitRequest *r = (const Sluice__V1__CommitRequest *)request;
    struct sl_policy_commit commit = {0};
    char author[SL_MGMT_AUTHOR_MAX];
    struct sl_mgmt *m = arg;

    sl_err err = sl_mgmt_authorise(call, diag);
    if (err)
        return err;
    sl_mgmt_author(call, author);
    pthread_mutex_lock(&m->change);
    err = sl_policy_store_commit(m->deps.policy, author, r->comment, r->revision, &commit, diag);
    if (!err)
        sl_mgmt_apply(m, &commit);
    pthread_mutex_unlock(&m->change);
    if (err == SL_ERR_INVALID)
        err = refuse(&commit, diag);
    else if (err == SL_ERR_STATE)
        err = sl_fail(diag, err, "nothing to commit: the candidate equals the running configuration");
    else if (err == SL_ERR_CONFLICT)
        err = sl_fail(diag, err,
                      "somebody else has changed the candidate meanwhile: look at it ('sluicectl config diff') and try again");
    else if (err)
        err = failed(diag, err);
    else {
        sl_mgmt_record(m, author, commit.version, "committed version %" PRIu64 "%s%s", commit.version, r->comment[0] ? ": " : "",
                       r->comment);
        give_commit(&commit, (Sluice__V1__CommitResponse *)response);
    }
    sl_policy_commit_free(&commit);
    return err;
}

sl_err sl_mgmt_rollback(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *request, ProtobufCMessage *response,
                        struct sl_diag *diag)
{
    const Sluice__V1__RollbackRequest *r = (const Sluice__V1__RollbackRequest *)request;
    struct sl_policy_commit commit = {0};
    char author[SL_MGMT_AUTHOR_MAX], comment[64];
    struct sl_mgmt *m = arg;

    sl_err err = sl_mgmt_authorise(call, diag);
    if (err)
        return err;
    sl_mgmt_author(call, author);
    snprintf(comment, sizeof comment, "rollback to version %" PRIu64, r->version);
    pthread_mutex_lock(&m->change);
    err = sl_policy_store_rollback(m->deps.policy, r->version, author, r->comment[0] ? r->comment : comment, &commit, diag);
    if (!err)
        sl_mgmt_apply(m, &commit);
    pthread_mutex_unlock(&m->change);
    if (err == SL_ERR_INVALID)
        err = refuse(&commit, diag);
    else if (err == SL_ERR_NOT_FOUND)
        err = sl_fail(diag, err, "there is no version %" PRIu64 "; 'sluicectl config history' lists them", r->version);
    else if (err)
        err = failed(diag, err);
    else {
        sl_mgmt_record(m, author, commit.version, "rolled back to version %" PRIu64 ", as version %" PRIu64, r->version,
                       commit.version);
        give_commit(&commit, (Sluice__V1__CommitResponse *)response);
    }
    sl_policy_commit_free(&commit);
    return err;
}
