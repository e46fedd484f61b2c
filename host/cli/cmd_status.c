/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/completion.h"
#include "cli/table.h"
#include "cli/units.h"
#include "rpc/message.h"

static void print_line(struct sl_cli *cli, const char *label, const char *value)
{
    sl_cli_say(cli, "%-20s%s", label, value);
}

static void print_status(struct sl_cli *cli, const Sluice__V1__Status *s)
{
    char text[128], time[64];

    print_line(cli, "Device", s->device_name);
    print_line(cli, "Version", s->version);
    sl_units_duration_text(s->uptime_s, text, sizeof text);
    sl_units_time_text(s->start_ns, false, time, sizeof time);
    sl_cli_say(cli, "%-20s%s, since %s%s", "Up", text, time, s->draining ? "; draining: takes no new connections" : "");
    sl_cli_say(cli, "%-20s%" PRIu64 "%s", "Configuration", s->config_version,
               s->candidate_differs ? ", the candidate has changes that are not committed" : "");
    sl_cli_say(cli, "%-20s%" PRIu64 " active, %" PRIu64 " since the start", "Connections", s->connections_active,
               s->connections_total);
    for (size_t i = 0; i < s->n_listeners; i++)
        print_line(cli, i == 0 ? "Listeners" : "", s->listeners[i]);
    snprintf(text, sizeof text, "%" PRIu32, s->workers);
    print_line(cli, "Workers", text);
    print_line(cli, "Record engine", s->record_engine[0] ? s->record_engine : "-");
    print_line(cli, "Decryption CA", s->ca_present ? s->ca_sha256 : "none");
    sl_cli_say(cli, "%-20s%" PRIu64 " stored, %" PRIu64 " lost", "Events", s->events_stored, s->events_lost);
    for (size_t i = 0; i < s->n_warnings; i++)
        print_line(cli, "Warning", s->warnings[i]);
}

int sl_cmd_status(struct sl_cli *cli)
{
    Sluice__V1__GetStatusRequest request = SLUICE__V1__GET_STATUS_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    struct sl_diag diag = {{0}};
    int status = SL_CLI_OK;

    sl_err err = sl_cli_call(cli, "GetStatus", &request.base, &response, &diag);
    if (err)
        return sl_cli_fail(cli, err, &diag);
    if (sl_cli_wants_json(cli))
        status = sl_cli_print_json(cli, response);
    else
        print_status(cli, (const Sluice__V1__Status *)response);
    sl_rpc_message_free(response);
    return status;
}

/* Prometheus wants HELP and TYPE once a family: the name up to its labels. */
static void print_prometheus(struct sl_cli *cli, Sluice__V1__Counter *const *counters, size_t count, const char *word)
{
    char family[256] = "";
    for (size_t i = 0; i < count; i++) {
        const Sluice__V1__Counter *c = counters[i];
        size_t len = strcspn(c->name, "{");
        if (word && !strstr(c->name, word))
            continue;
        if (len < sizeof family && (strlen(family) != len || memcmp(family, c->name, len) != 0)) {
            memcpy(family, c->name, len);
            family[len] = '\0';
            sl_cli_say(cli, "# HELP %s %s\n# TYPE %s %s", family, c->help, family, c->gauge ? "gauge" : "counter");
        }
        sl_cli_say(cli, "%s %" PRId64, c->name, c->value);
    }
}

static sl_err print_counters(struct sl_cli *cli, Sluice__V1__Counter *const *counters, size_t count, const char *word)
{
    static const char *const heads[] = {"COUNTER", ">VALUE", "MEANING"};
    struct sl_table table;

    sl_table_init(&table, heads, 3);
    for (size_t i = 0; i < count; i++) {
        if (word && !strstr(counters[i]->name, word))
            continue;
        sl_table_text(&table, counters[i]->name);
        sl_table_format(&table, "%" PRId64, counters[i]->value);
        sl_table_text(&table, counters[i]->help);
    }
    sl_err err = sl_table_print(&table, cli->out, "No such counter.");
    sl_table_free(&table);
    return err;
}

int sl_cmd_stats(struct sl_cli *cli)
{
    Sluice__V1__GetStatsRequest request = SLUICE__V1__GET_STATS_REQUEST__INIT;
    const char *word = cli->args->operand_count ? cli->args->operands[0] : NULL;
    ProtobufCMessage *response = NULL;
    struct sl_diag diag = {{0}};
    int status = SL_CLI_OK;

    sl_err err = sl_cli_call(cli, "GetStats", &request.base, &response, &diag);
    if (err)
        return sl_cli_fail(cli, err, &diag);
    const Sluice__V1__Stats *stats = (const Sluice__V1__Stats *)response;
    if (sl_cli_flag(cli->args, "prometheus"))
        print_prometheus(cli, stats->counters, stats->n_counters, word);
    else if (sl_cli_wants_json(cli))
        status = sl_cli_print_json(cli, response);
    else
        err = print_counters(cli, stats->counters, stats->n_counters, word);
    sl_rpc_message_free(response);
    return err ? sl_cli_fail(cli, err, NULL) : status;
}

int sl_cmd_version(struct sl_cli *cli)
{
    fprintf(cli->out, sl_cli_wants_json(cli) ? "{\"version\": \"%s\"}\n" : "sluicectl %s\n", SLUICE_VERSION);
    return SL_CLI_OK;
}

int sl_cmd_completion(struct sl_cli *cli)
{
    sl_completion_bash(cli->out);
    return SL_CLI_OK;
}
