/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/candidate.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "rpc/message.h"

sl_err sl_candidate_get(struct sl_cli *cli, Sluice__V1__ConfigSource source, uint64_t version, Sluice__V1__ConfigSnapshot **out,
                        struct sl_diag *diag)
{
    Sluice__V1__GetConfigRequest request = SLUICE__V1__GET_CONFIG_REQUEST__INIT;
    ProtobufCMessage *response = NULL;

    request.source = source;
    request.version = version;
    sl_err err = sl_cli_call(cli, "GetConfig", &request.base, &response, diag);
    if (err)
        return err;
    Sluice__V1__ConfigSnapshot *snapshot = (Sluice__V1__ConfigSnapshot *)response;
    if (!snapshot->config) { /* an empty message may be left out on the wire */
        ProtobufCMessage *config = NULL;
        if ((err = sl_rpc_message_new(&sluice__v1__config__descriptor, &config))) {
            sl_rpc_message_free(response);
            sl_fail(diag, err, "out of memory");
            return err;
        }
        snapshot->config = (Sluice__V1__Config *)config;
    }
    *out = snapshot;
    return SL_OK;
}

sl_err sl_candidate_shown(struct sl_cli *cli, Sluice__V1__ConfigSnapshot **out, struct sl_diag *diag)
{
    bool running = sl_cli_flag(cli->args, "running");
    return sl_candidate_get(cli, running ? SLUICE__V1__CONFIG_SOURCE__CONFIG_RUNNING : SLUICE__V1__CONFIG_SOURCE__CONFIG_CANDIDATE,
                            0, out, diag);
}

int sl_candidate_list(struct sl_cli *cli, void (*pick)(Sluice__V1__Config *shown, const Sluice__V1__Config *all),
                      sl_err (*print)(struct sl_cli *cli, const Sluice__V1__Config *config))
{
    Sluice__V1__Config shown = SLUICE__V1__CONFIG__INIT;
    Sluice__V1__ConfigSnapshot *snapshot = NULL;
    struct sl_diag diag = {{0}};
    int status = SL_CLI_OK;

    sl_err err = sl_candidate_shown(cli, &snapshot, &diag);
    if (err)
        return sl_cli_fail(cli, err, &diag);
    if (sl_cli_wants_json(cli)) {
        pick(&shown, snapshot->config);
        status = sl_cli_print_json(cli, &shown.base);
    } else {
        err = print(cli, snapshot->config);
        if (!err && snapshot->differs)
            sl_cli_note(cli, "this is the candidate, which differs from the running configuration");
    }
    sl_rpc_message_free(&snapshot->base);
    return err ? sl_cli_fail(cli, err, NULL) : status;
}

sl_err sl_candidate_begin(struct sl_cli *cli, Sluice__V1__ConfigSnapshot **out, struct sl_diag *diag)
{
    Sluice__V1__ConfigSnapshot *snapshot = NULL;
    sl_err err = sl_candidate_get(cli, SLUICE__V1__CONFIG_SOURCE__CONFIG_CANDIDATE, 0, &snapshot, diag);

    if (!err && snapshot && snapshot->differs && sl_cli_flag(cli->args, "commit")) {
        sl_rpc_message_free(&snapshot->base);
        return sl_fail(
            diag, SL_ERR_CONFLICT,
            "the candidate has changes that are not committed ('sluicectl config diff' shows them): commit or discard them first, "
            "or leave --commit out");
    }
    if (!err)
        *out = snapshot;
    return err;
}

sl_err sl_candidate_store(struct sl_cli *cli, const Sluice__V1__ConfigSnapshot *changed, struct sl_diag *diag)
{
    Sluice__V1__SetCandidateRequest request = SLUICE__V1__SET_CANDIDATE_REQUEST__INIT;
    ProtobufCMessage *response = NULL;

    request.config = changed->config;
    request.revision = changed->revision;
    sl_err err = sl_cli_call(cli, "SetCandidate", &request.base, &response, diag);
    sl_rpc_message_free(response);
    return err;
}

size_t sl_candidate_findings(struct sl_cli *cli, Sluice__V1__ValidationFinding *const *findings, size_t count)
{
    size_t errors = 0;
    for (size_t i = 0; i < count; i++) {
        const Sluice__V1__ValidationFinding *f = findings[i];
        errors += f->error ? 1 : 0;
        sl_cli_say(cli, "%s: %s%s%s", f->error ? "error" : "warning", f->path, f->path[0] ? ": " : "", f->text);
    }
    return errors;
}

int sl_candidate_commit(struct sl_cli *cli)
{
    Sluice__V1__CommitRequest request = SLUICE__V1__COMMIT_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    struct sl_diag diag = {{0}};
    const char *comment = sl_cli_value(cli->args, "message");

    request.comment = (char *)(uintptr_t)(comment ? comment : "");
    sl_err err = sl_cli_call(cli, "Commit", &request.base, &message, &diag);
    if (err)
        return sl_cli_fail(cli, err, &diag);
    const Sluice__V1__CommitResponse *response = (const Sluice__V1__CommitResponse *)message;
    int status = SL_CLI_OK;
    if (sl_cli_wants_json(cli)) {
        status = sl_cli_print_json(cli, message);
    } else {
        sl_candidate_findings(cli, response->warnings, response->n_warnings);
        sl_cli_say(cli, "Committed as version %" PRIu64 ".", response->version);
    }
    sl_rpc_message_free(message);
    return status;
}

int sl_candidate_finish(struct sl_cli *cli, const char *format, ...)
{
    char *text = NULL;
    va_list args;

    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    bool commit = sl_cli_flag(cli->args, "commit");
    if (!commit || !sl_cli_wants_json(cli))
        sl_cli_say(cli, "%s%s", text ? text : "Done.",
                   commit ? ""
                          : " The change is in the candidate: 'sluicectl config diff' shows it, 'sluicectl config commit' makes it "
                            "effective.");
    free(text);
    return commit ? sl_candidate_commit(cli) : SL_CLI_OK;
}
