/* SPDX-License-Identifier: Apache-2.0 */
/* The decryption CA, and certificates of servers that are trusted beyond the system's CAs. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "cli/candidate.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/message_edit.h"
#include "cli/table.h"
#include "cli/units.h"
#include "rpc/message.h"

enum { CERTIFICATE_BYTES_MAX = 1 << 20 };

static int print_ca(struct sl_cli *cli, const Sluice__V1__CaInfo *ca)
{
    if (sl_cli_wants_json(cli))
        return sl_cli_print_json(cli, &ca->base);
    sl_cli_say(cli, "%-12s%s\n%-12s%s\n%-12s%s", "Subject", ca->subject, "SHA-256", ca->sha256, "Valid until", ca->not_after);
    return SL_CLI_OK;
}

int sl_cmd_ca_init(struct sl_cli *cli)
{
    Sluice__V1__InitCaRequest request = SLUICE__V1__INIT_CA_REQUEST__INIT;
    const char *name = sl_cli_value(cli->args, "name"), *days = sl_cli_value(cli->args, "days");
    ProtobufCMessage *response = NULL;
    struct sl_diag diag = {{0}};
    uint64_t number = 0;

    if (days && sl_units_number("--days", days, 1, 36500, &number, &diag))
        return sl_cli_usage(cli, &diag);
    request.common_name = (char *)(uintptr_t)(name ? name : "");
    request.validity_days = (uint32_t)number;
    request.replace = sl_cli_flag(cli->args, "replace");
    sl_err err = sl_cli_call(cli, "InitCa", &request.base, &response, &diag);
    if (err)
        return sl_cli_fail(cli, err, &diag);
    int status = print_ca(cli, (const Sluice__V1__CaInfo *)response);
    if (!sl_cli_wants_json(cli))
        sl_cli_say(cli, "Install it on the clients: 'sluicectl ca export -f sluice-ca.pem'.");
    sl_rpc_message_free(response);
    return status;
}

static sl_err get_ca(struct sl_cli *cli, Sluice__V1__CaInfo **out, struct sl_diag *diag)
{
    Sluice__V1__GetCaRequest request = SLUICE__V1__GET_CA_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    sl_err err = sl_cli_call(cli, "GetCa", &request.base, &response, diag);
    if (!err)
        *out = (Sluice__V1__CaInfo *)response;
    return err;
}

int sl_cmd_ca_show(struct sl_cli *cli)
{
    Sluice__V1__CaInfo *ca = NULL;
    struct sl_diag diag = {{0}};
    sl_err err = get_ca(cli, &ca, &diag);
    if (err)
        return sl_cli_fail(cli, err, &diag);
    int status = print_ca(cli, ca);
    sl_rpc_message_free(&ca->base);
    return status;
}

int sl_cmd_ca_export(struct sl_cli *cli)
{
    const char *file = sl_cli_value(cli->args, "file");
    Sluice__V1__CaInfo *ca = NULL;
    struct sl_diag diag = {{0}};

    sl_err err = get_ca(cli, &ca, &diag);
    if (!err)
        err = sl_cli_write_file(cli, file, ca->certificate_pem, strlen(ca->certificate_pem), &diag);
    if (!err && file && strcmp(file, "-") != 0)
        sl_cli_say(cli, "%s: %s, SHA-256 %s", file, ca->subject, ca->sha256);
    sl_rpc_message_free(ca ? &ca->base : NULL);
    return err ? sl_cli_fail(cli, err, &diag) : SL_CLI_OK;
}

/* ----------------------------------------------------------------------------------------------------------- trusted certificates
 */

static int read_ports(struct sl_cli *cli, Sluice__V1__ImportCertificateRequest *request, uint32_t ports[static SL_CLI_ARGS_MAX])
{
    const char *texts[SL_CLI_ARGS_MAX];
    struct sl_diag diag = {{0}};

    request->n_ports = sl_cli_values(cli->args, "port", texts, SL_CLI_ARGS_MAX);
    request->ports = ports;
    for (size_t i = 0; i < request->n_ports; i++) {
        uint64_t number = 0;
        if (sl_units_number("--port", texts[i], 1, 65535, &number, &diag))
            return sl_cli_usage(cli, &diag);
        ports[i] = (uint32_t)number;
    }
    return SL_CLI_OK;
}

static int check_kind(struct sl_cli *cli, const Sluice__V1__ImportCertificateRequest *request)
{
    struct sl_diag diag = {{0}};
    bool anchor = request->kind == SLUICE__V1__TRUST_KIND__TRUST_ANCHOR;

    if (anchor && (request->n_hosts || request->n_ports))
        sl_fail(&diag, SL_ERR_INVALID, "--anchor trusts a CA for every server: --host and --port don't go with it");
    else if (!anchor && !request->n_hosts)
        sl_fail(&diag, SL_ERR_INVALID,
                "say for which server the certificate is trusted with --host, or that it is a CA with --anchor");
    return diag.text[0] ? sl_cli_usage(cli, &diag) : SL_CLI_OK;
}

static char *option_text(struct sl_cli *cli, const char *name)
{
    const char *value = sl_cli_value(cli->args, name);
    return (char *)(uintptr_t)(value ? value : "");
}

static int report_import(struct sl_cli *cli, const Sluice__V1__ImportCertificateResponse *response)
{
    const Sluice__V1__TrustedCertificate *c = response->certificate;
    char kind[32];

    if (sl_cli_wants_json(cli) && c) {
        int status = sl_cli_print_json(cli, &c->base);
        return status || !sl_cli_flag(cli->args, "commit") ? status : sl_candidate_commit(cli);
    }
    if (!c)
        return sl_candidate_finish(cli, "Imported.");
    return sl_candidate_finish(cli, "Imported '%s' (%s), SHA-256 %s.", c->name, sl_edit_enum(&c->base, "kind", kind, sizeof kind),
                               c->sha256);
}

int sl_cmd_cert_import(struct sl_cli *cli)
{
    Sluice__V1__ImportCertificateRequest request = SLUICE__V1__IMPORT_CERTIFICATE_REQUEST__INIT;
    const char *hosts[SL_CLI_ARGS_MAX];
    uint32_t ports[SL_CLI_ARGS_MAX];
    Sluice__V1__ConfigSnapshot *before = NULL;
    ProtobufCMessage *response = NULL;
    struct sl_diag diag = {{0}};
    char *bytes = NULL;
    size_t len = 0;

    request.n_hosts = sl_cli_values(cli->args, "host", hosts, SL_CLI_ARGS_MAX);
    request.hosts = (char **)(uintptr_t)hosts;
    request.kind = sl_cli_flag(cli->args, "anchor") ? SLUICE__V1__TRUST_KIND__TRUST_ANCHOR : SLUICE__V1__TRUST_KIND__TRUST_PIN;
    request.name = option_text(cli, "name");
    request.comment = option_text(cli, "comment");
    request.replace = sl_cli_flag(cli->args, "replace");
    int status = read_ports(cli, &request, ports);
    if (!status)
        status = check_kind(cli, &request);
    if (status)
        return status;
    sl_err err = sl_cli_read_file(cli, cli->args->operands[0], CERTIFICATE_BYTES_MAX, &bytes, &len, &diag);
    if (!err)
        err = sl_candidate_begin(cli, &before, &diag); /* for --commit: nothing else may be pending */
    request.certificate = (ProtobufCBinaryData){.len = len, .data = (uint8_t *)bytes};
    if (!err)
        err = sl_cli_call(cli, "ImportCertificate", &request.base, &response, &diag);
    status = err ? sl_cli_fail(cli, err, &diag) : report_import(cli, (const Sluice__V1__ImportCertificateResponse *)response);
    sl_rpc_message_free(before ? &before->base : NULL);
    sl_rpc_message_free(response);
    free(bytes);
    return status;
}

static void add_hosts(struct sl_table *table, const Sluice__V1__TrustedCertificate *c)
{
    struct sl_buf b;
    sl_err err = SL_OK;

    sl_buf_init(&b, 1 << 20);
    for (size_t i = 0; i < c->n_hosts && !err; i++)
        err = sl_buf_printf(&b, "%s%s", i ? " " : "", c->hosts[i]);
    for (size_t i = 0; i < c->n_ports && !err; i++)
        err = sl_buf_printf(&b, "%s%" PRIu32, i ? "," : " port ", c->ports[i]);
    if (!err)
        err = sl_buf_append(&b, "", 1);
    if (err)
        table->err = err;
    else
        sl_table_text(table, c->kind == SLUICE__V1__TRUST_KIND__TRUST_ANCHOR ? "every server" : (const char *)sl_buf_data(&b));
    sl_buf_free(&b);
}

static sl_err print_certificates(struct sl_cli *cli, const Sluice__V1__Config *config)
{
    static const char *const heads[] = {"NAME", "KIND", "FOR", "UNTIL", "SHA-256", "COMMENT"};
    struct sl_table table;
    char text[64];

    sl_table_init(&table, heads, 6);
    for (size_t i = 0; i < config->n_trusted_certificates; i++) {
        const Sluice__V1__TrustedCertificate *c = config->trusted_certificates[i];
        sl_table_text(&table, c->name);
        sl_table_text(&table, sl_edit_enum(&c->base, "kind", text, sizeof text));
        add_hosts(&table, c);
        sl_units_time_text(c->expires_ns, false, text, sizeof text);
        sl_table_text(&table, c->expires_ns ? text : "its own end");
        sl_table_text(&table, c->sha256);
        sl_table_text(&table, c->comment);
    }
    sl_err err = sl_table_print(&table, cli->out, "No certificates beyond the system's CAs.");
    sl_table_free(&table);
    return err;
}

static void pick_certificates(Sluice__V1__Config *shown, const Sluice__V1__Config *all)
{
    shown->n_trusted_certificates = all->n_trusted_certificates;
    shown->trusted_certificates = all->trusted_certificates;
}

int sl_cmd_cert_list(struct sl_cli *cli)
{
    return sl_candidate_list(cli, pick_certificates, print_certificates);
}

int sl_cmd_cert_remove(struct sl_cli *cli)
{
    Sluice__V1__RemoveCertificateRequest request = SLUICE__V1__REMOVE_CERTIFICATE_REQUEST__INIT;
    Sluice__V1__ConfigSnapshot *before = NULL;
    ProtobufCMessage *response = NULL;
    struct sl_diag diag = {{0}};

    request.name = (char *)(uintptr_t)cli->args->operands[0];
    sl_err err = sl_candidate_begin(cli, &before, &diag);
    if (!err)
        err = sl_cli_call(cli, "RemoveCertificate", &request.base, &response, &diag);
    sl_rpc_message_free(before ? &before->base : NULL);
    sl_rpc_message_free(response);
    return err ? sl_cli_fail(cli, err, &diag) : sl_candidate_finish(cli, "Removed.");
}
