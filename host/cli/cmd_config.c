/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/candidate.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/config_text.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/units.h"
#include "rpc/message.h"

/* --candidate, --version N, or the running configuration. */
static int read_source(struct sl_cli *cli, Sluice__V1__ConfigSource *source, uint64_t *version)
{
    const char *text = sl_cli_value(cli->args, "version");
    struct sl_diag diag = {{0}};

    *version = 0;
    *source = sl_cli_flag(cli->args, "candidate") ? SLUICE__V1__CONFIG_SOURCE__CONFIG_CANDIDATE
                                                  : SLUICE__V1__CONFIG_SOURCE__CONFIG_RUNNING;
    if (!text)
        return SL_CLI_OK;
    if (sl_cli_flag(cli->args, "candidate")) {
        sl_fail(&diag, SL_ERR_INVALID, "--candidate and --version exclude each other");
        return sl_cli_usage(cli, &diag);
    }
    *source = SLUICE__V1__CONFIG_SOURCE__CONFIG_VERSION;
    return sl_units_number("--version", text, 1, UINT64_MAX, version, &diag) ? sl_cli_usage(cli, &diag) : SL_CLI_OK;
}

static int write_config(struct sl_cli *cli, const char *path)
{
    Sluice__V1__ConfigSnapshot *snapshot = NULL;
    Sluice__V1__ConfigSource source;
    uint64_t version;
    struct sl_diag diag = {{0}};
    char *text = NULL, *safe = NULL;

    int status = read_source(cli, &source, &version);
    if (status)
        return status;
    sl_err err = sl_candidate_get(cli, source, version, &snapshot, &diag);
    if (!err)
        err = sl_config_text_print(snapshot->config, cli->args->output, &text, &diag);
    if (!err)
        err = sl_cli_wants_json(cli) ? sl_text_json_safe(text, &safe) : sl_text_safe(text, true, &safe);
    /* A file gets every byte; a terminal only what can't steer it. */
    const char *shown = path && strcmp(path, "-") != 0 ? text : cli->out_is_tty ? safe : text;
    if (!err)
        err = sl_cli_write_file(cli, path, shown, strlen(shown), &diag);
    free(safe);
    free(text);
    sl_rpc_message_free(snapshot ? &snapshot->base : NULL);
    return err ? sl_cli_fail(cli, err, &diag) : SL_CLI_OK;
}

int sl_cmd_config_show(struct sl_cli *cli)
{
    return write_config(cli, NULL);
}

int sl_cmd_config_export(struct sl_cli *cli)
{
    return write_config(cli, cli->args->operand_count ? cli->args->operands[0] : NULL);
}

int sl_cmd_config_import(struct sl_cli *cli)
{
    const char *path = cli->args->operands[0];
    Sluice__V1__ConfigSnapshot *snapshot = NULL;
    Sluice__V1__Config *config = NULL;
    struct sl_diag diag = {{0}};
    char *text = NULL;
    size_t len = 0;

    sl_err err = sl_cli_read_file(cli, path, SL_CLI_CONFIG_BYTES_MAX, &text, &len, &diag);
    if (!err)
        err = sl_config_text_parse(strcmp(path, "-") == 0 ? "standard input" : path, text, len, &config, &diag);
    if (!err)
        err = sl_candidate_begin(cli, &snapshot, &diag);
    if (!err) {
        sl_rpc_message_free(&snapshot->config->base);
        snapshot->config = config;
        config = NULL;
        err = sl_candidate_store(cli, snapshot, &diag);
    }
    free(text);
    sl_rpc_message_free(config ? &config->base : NULL);
    sl_rpc_message_free(snapshot ? &snapshot->base : NULL);
    return err ? sl_cli_fail(cli, err, &diag) : sl_candidate_finish(cli, "Imported.");
}

static int read_side(struct sl_cli *cli, const char *what, const char *text, Sluice__V1__GetConfigRequest *out)
{
    struct sl_diag diag = {{0}};

    if (strcmp(text, "running") == 0) {
        out->source = SLUICE__V1__CONFIG_SOURCE__CONFIG_RUNNING;
        return SL_CLI_OK;
    }
    if (strcmp(text, "candidate") == 0) {
        out->source = SLUICE__V1__CONFIG_SOURCE__CONFIG_CANDIDATE;
        return SL_CLI_OK;
    }
    out->source = SLUICE__V1__CONFIG_SOURCE__CONFIG_VERSION;
    if (sl_units_number(what, text, 1, UINT64_MAX, &out->version, NULL) == SL_OK)
        return SL_CLI_OK;
    sl_fail(&diag, SL_ERR_INVALID, "%s: '%s' is neither 'running' nor 'candidate' nor a version", what, text);
    return sl_cli_usage(cli, &diag);
}

int sl_cmd_config_diff(struct sl_cli *cli)
{
    Sluice__V1__DiffConfigRequest request = SLUICE__V1__DIFF_CONFIG_REQUEST__INIT;
    Sluice__V1__GetConfigRequest from = SLUICE__V1__GET_CONFIG_REQUEST__INIT, to = SLUICE__V1__GET_CONFIG_REQUEST__INIT;
    const struct sl_cli_args *args = cli->args;
    ProtobufCMessage *response = NULL;
    struct sl_diag diag = {{0}};

    int status = read_side(cli, "FROM", args->operand_count > 0 ? args->operands[0] : "running", &from);
    if (!status)
        status = read_side(cli, "TO", args->operand_count > 1 ? args->operands[1] : "candidate", &to);
    if (status)
        return status;
    request.from = &from;
    request.to = &to;
    sl_err err = sl_cli_call(cli, "DiffConfig", &request.base, &response, &diag);
    if (err)
        return sl_cli_fail(cli, err, &diag);
    const char *text = ((const Sluice__V1__ConfigDiff *)response)->text;
    size_t len = strlen(text);
    if (sl_cli_wants_json(cli))
        status = sl_cli_print_json(cli, response);
    else if (len == 0)
        sl_cli_say(cli, "No differences.");
    else
        sl_cli_say(cli, "%.*s", (int)(len - (text[len - 1] == '\n' ? 1 : 0)), text);
    sl_rpc_message_free(response);
    return status;
}

int sl_cmd_config_validate(struct sl_cli *cli)
{
    Sluice__V1__ValidateCandidateRequest request = SLUICE__V1__VALIDATE_CANDIDATE_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    struct sl_diag diag = {{0}};
    size_t errors = 0;
    int status = SL_CLI_OK;

    sl_err err = sl_cli_call(cli, "ValidateCandidate", &request.base, &response, &diag);
    if (err)
        return sl_cli_fail(cli, err, &diag);
    const Sluice__V1__ValidationReport *report = (const Sluice__V1__ValidationReport *)response;
    if (sl_cli_wants_json(cli)) {
        status = sl_cli_print_json(cli, response);
        for (size_t i = 0; i < report->n_findings; i++)
            errors += report->findings[i]->error ? 1 : 0;
    } else {
        errors = sl_candidate_findings(cli, report->findings, report->n_findings);
        sl_cli_say(cli, errors ? "The candidate can't be committed." : "The candidate can be committed.");
    }
    sl_rpc_message_free(response);
    return errors ? SL_CLI_FAILED : status;
}

int sl_cmd_config_commit(struct sl_cli *cli)
{
    return sl_candidate_commit(cli);
}

int sl_cmd_config_discard(struct sl_cli *cli)
{
    Sluice__V1__DiscardCandidateRequest request = SLUICE__V1__DISCARD_CANDIDATE_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    struct sl_diag diag = {{0}};

    sl_err err = sl_cli_call(cli, "DiscardCandidate", &request.base, &response, &diag);
    if (err)
        return sl_cli_fail(cli, err, &diag);
    sl_cli_say(cli, "The candidate is version %" PRIu64 " again.", ((const Sluice__V1__ConfigSnapshot *)response)->version);
    sl_rpc_message_free(response);
    return SL_CLI_OK;
}

static sl_err print_versions(struct sl_cli *cli, const Sluice__V1__VersionList *list)
{
    static const char *const heads[] = {">VERSION", "TIME", "AUTHOR", "COMMENT"};
    struct sl_table table;
    char time[64];

    sl_table_init(&table, heads, 4);
    for (size_t i = 0; i < list->n_versions; i++) {
        const Sluice__V1__VersionInfo *v = list->versions[i];
        sl_table_format(&table, "%" PRIu64, v->version);
        sl_units_time_text(v->time_ns, false, time, sizeof time);
        sl_table_text(&table, time);
        sl_table_text(&table, v->author);
        sl_table_text(&table, v->comment);
    }
    sl_err err = sl_table_print(&table, cli->out, "No version has been committed.");
    sl_table_free(&table);
    return err;
}

int sl_cmd_config_history(struct sl_cli *cli)
{
    Sluice__V1__ListVersionsRequest request = SLUICE__V1__LIST_VERSIONS_REQUEST__INIT;
    const char *limit = sl_cli_value(cli->args, "limit");
    ProtobufCMessage *response = NULL;
    struct sl_diag diag = {{0}};
    uint64_t number = 0;
    int status = SL_CLI_OK;

    if (limit && sl_units_number("--limit", limit, 1, 1000, &number, &diag))
        return sl_cli_usage(cli, &diag);
    request.limit = (uint32_t)number;
    sl_err err = sl_cli_call(cli, "ListVersions", &request.base, &response, &diag);
    if (err)
        return sl_cli_fail(cli, err, &diag);
    if (sl_cli_wants_json(cli))
        status = sl_cli_print_json(cli, response);
    else
        err = print_versions(cli, (const Sluice__V1__VersionList *)response);
    sl_rpc_message_free(response);
    return err ? sl_cli_fail(cli, err, NULL) : status;
}

int sl_cmd_config_rollback(struct sl_cli *cli)
{
    Sluice__V1__RollbackRequest request = SLUICE__V1__ROLLBACK_REQUEST__INIT;
    const char *comment = sl_cli_value(cli->args, "message");
    ProtobufCMessage *response = NULL;
    struct sl_diag diag = {{0}};
    int status = SL_CLI_OK;

    if (sl_units_number("VERSION", cli->args->operands[0], 1, UINT64_MAX, &request.version, &diag))
        return sl_cli_usage(cli, &diag);
    request.comment = (char *)(uintptr_t)(comment ? comment : "");
    sl_err err = sl_cli_call(cli, "Rollback", &request.base, &response, &diag);
    if (err)
        return sl_cli_fail(cli, err, &diag);
    const Sluice__V1__CommitResponse *done = (const Sluice__V1__CommitResponse *)response;
    if (sl_cli_wants_json(cli)) {
        status = sl_cli_print_json(cli, response);
    } else {
        sl_candidate_findings(cli, done->warnings, done->n_warnings);
        sl_cli_say(cli, "Version %" PRIu64 " is effective again, as version %" PRIu64 ".", request.version, done->version);
    }
    sl_rpc_message_free(response);
    return status;
}
