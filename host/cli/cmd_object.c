/* SPDX-License-Identifier: Apache-2.0 */
/* Objects and settings of the candidate. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "cli/candidate.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/message_edit.h"
#include "cli/table.h"
#include "policy/snapshot.h"
#include "rpc/message.h"

static const struct kind {
    const char *name, *list, *values;
    const ProtobufCMessageDescriptor *type;
} kinds[] = {
    {"network", "networks", "prefixes", &sluice__v1__network_object__descriptor},
    {"service", "services", "ports", &sluice__v1__service_object__descriptor},
    {"host", "hosts", "patterns", &sluice__v1__host_object__descriptor},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static const struct kind *find_kind(const char *name)
{
    for (size_t i = 0; i < KINDS; i++) {
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    }
    return NULL;
}

static void add_values(struct sl_table *table, const struct kind *kind, const ProtobufCMessage *object)
{
    struct sl_buf b;
    sl_err err = SL_OK;
    size_t count = sl_edit_count(object, kind->values), includes = kind == &kinds[0] ? sl_edit_count(object, "includes") : 0;

    sl_buf_init(&b, 1 << 20);
    for (size_t i = 0; i < count && !err; i++)
        err = sl_buf_printf(&b, "%s%s", i ? " " : "", sl_edit_string_at(object, kind->values, i));
    for (size_t i = 0; i < includes && !err; i++)
        err = sl_buf_printf(&b, "%s@%s", i || count ? " " : "", sl_edit_string_at(object, "includes", i));
    if (!err)
        err = sl_buf_append(&b, "", 1);
    if (err)
        table->err = err;
    else
        sl_table_text(table, (const char *)sl_buf_data(&b));
    sl_buf_free(&b);
}

static sl_err print_objects(struct sl_cli *cli, const Sluice__V1__Config *config)
{
    static const char *const heads[] = {"KIND", "NAME", "VALUES", "DESCRIPTION"};
    struct sl_table table;

    sl_table_init(&table, heads, 4);
    for (size_t k = 0; k < KINDS; k++) {
        size_t count = sl_edit_count(&config->base, kinds[k].list);
        for (size_t i = 0; i < count; i++) {
            const ProtobufCMessage *object = sl_edit_at(&config->base, kinds[k].list, i);
            sl_table_text(&table, kinds[k].name);
            sl_table_text(&table, sl_edit_string(object, "name"));
            add_values(&table, &kinds[k], object);
            sl_table_text(&table, sl_edit_string(object, "description"));
        }
    }
    sl_err err = sl_table_print(&table, cli->out, "No objects.");
    sl_table_free(&table);
    return err;
}

static void pick_objects(Sluice__V1__Config *shown, const Sluice__V1__Config *all)
{
    shown->n_networks = all->n_networks;
    shown->networks = all->networks;
    shown->n_services = all->n_services;
    shown->services = all->services;
    shown->n_hosts = all->n_hosts;
    shown->hosts = all->hosts;
}

int sl_cmd_object_list(struct sl_cli *cli)
{
    return sl_candidate_list(cli, pick_objects, print_objects);
}

/* The object, new or as it is. */
static sl_err make_object(ProtobufCMessage *config, const struct kind *kind, const char *name, ProtobufCMessage **out)
{
    size_t index = sl_edit_find(config, kind->list, name);
    ProtobufCMessage *object = NULL;

    if (index != SIZE_MAX) {
        *out = sl_edit_at(config, kind->list, index);
        return SL_OK;
    }
    sl_err err = sl_rpc_message_new(kind->type, &object);
    if (!err)
        err = sl_edit_set_string(object, "name", name);
    if (!err)
        err = sl_edit_insert(config, kind->list, sl_edit_count(config, kind->list), object);
    if (err)
        sl_rpc_message_free(object);
    else
        *out = object;
    return err;
}

static sl_err add_object(struct sl_cli *cli, ProtobufCMessage *config, struct sl_diag *diag)
{
    const struct sl_cli_args *args = cli->args;
    const struct kind *kind = find_kind(args->operands[0]);
    ProtobufCMessage *object = NULL;

    sl_err err = make_object(config, kind, args->operands[1], &object);
    for (size_t i = 2; i < args->operand_count && !err; i++) {
        bool include = kind == &kinds[0] && args->operands[i][0] == '@';
        err = include ? sl_edit_add_string(object, "includes", args->operands[i] + 1)
                      : sl_edit_add_string(object, kind->values, args->operands[i]);
    }
    return err ? sl_fail(diag, err, "%s", sl_err_str(err)) : SL_OK;
}

static sl_err remove_objects(struct sl_cli *cli, ProtobufCMessage *config, struct sl_diag *diag)
{
    const struct sl_cli_args *args = cli->args;
    const struct kind *kind = find_kind(args->operands[0]);

    for (size_t i = 1; i < args->operand_count; i++) {
        size_t index = sl_edit_find(config, kind->list, args->operands[i]);
        if (index == SIZE_MAX)
            return sl_fail(diag, SL_ERR_NOT_FOUND, "there is no %s object '%s'; 'sluicectl object list' shows them", kind->name,
                           args->operands[i]);
        sl_rpc_message_free(sl_edit_take(config, kind->list, index));
    }
    return SL_OK;
}

static sl_err set_setting(struct sl_cli *cli, ProtobufCMessage *config, struct sl_diag *diag)
{
    ProtobufCMessage *settings = NULL;
    sl_err err = sl_edit_make_message(config, "settings", &settings);
    if (err)
        return sl_fail(diag, err, "%s", sl_err_str(err));
    err = sl_edit_set_scalar(settings, cli->args->operands[0], cli->args->operands[1], diag);
    return err ? sl_fail_prefix(diag, err, "'sluicectl setting list' shows what there is") : SL_OK;
}

static int change(struct sl_cli *cli, sl_err (*edit)(struct sl_cli *, ProtobufCMessage *, struct sl_diag *), const char *done)
{
    Sluice__V1__ConfigSnapshot *snapshot = NULL;
    struct sl_diag diag = {{0}};

    sl_err err = sl_candidate_begin(cli, &snapshot, &diag);
    if (!err)
        err = edit(cli, &snapshot->config->base, &diag);
    if (!err)
        err = sl_candidate_store(cli, snapshot, &diag);
    sl_rpc_message_free(snapshot ? &snapshot->base : NULL);
    return err ? sl_cli_fail(cli, err, &diag) : sl_candidate_finish(cli, "%s", done);
}

int sl_cmd_object_add(struct sl_cli *cli)
{
    return change(cli, add_object, "Added.");
}

int sl_cmd_object_remove(struct sl_cli *cli)
{
    return change(cli, remove_objects, "Removed.");
}

int sl_cmd_setting_set(struct sl_cli *cli)
{
    return change(cli, set_setting, "Set.");
}

/* What a default amounts to: the policy library knows. NULL if it can't be told. */
static struct sl_policy_snapshot *resolve_defaults(const ProtobufCMessage *settings)
{
    Sluice__V1__Config config = SLUICE__V1__CONFIG__INIT;
    struct sl_policy_snapshot *snapshot = NULL;

    config.settings = (Sluice__V1__Settings *)(uintptr_t)settings;
    return sl_policy_snapshot_new(&config, 0, &snapshot, NULL) ? NULL : snapshot;
}

static sl_err print_settings(struct sl_cli *cli, const ProtobufCMessage *settings)
{
    struct sl_policy_snapshot *resolved = resolve_defaults(settings);
    static const char *const heads[] = {"SETTING", "VALUE"};
    struct sl_table table;
    char name[64], value[64];

    sl_table_init(&table, heads, 2);
    for (unsigned i = 0; i < settings->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &settings->descriptor->fields[i];
        snprintf(name, sizeof name, "%s", f->name);
        for (char *at = name; *at; at++)
            *at = *at == '_' ? '-' : *at;
        sl_table_text(&table, name);
        sl_edit_scalar_text(settings, f, value, sizeof value);
        bool is_default = strcmp(value, "0") == 0 || strcmp(value, "default") == 0;
        if (is_default && resolved)
            sl_edit_scalar_text(&sl_policy_settings(resolved)->base, f, value, sizeof value);
        sl_table_format(&table, "%s%s", is_default && !resolved ? "" : value, is_default ? " (default)" : "");
    }
    sl_policy_snapshot_unref(resolved);
    sl_err err = sl_table_print(&table, cli->out, NULL);
    sl_table_free(&table);
    return err;
}

int sl_cmd_setting_list(struct sl_cli *cli)
{
    Sluice__V1__ConfigSnapshot *snapshot = NULL;
    ProtobufCMessage *settings = NULL;
    struct sl_diag diag = {{0}};
    int status = SL_CLI_OK;

    sl_err err = sl_candidate_shown(cli, &snapshot, &diag);
    if (!err && (err = sl_edit_make_message(&snapshot->config->base, "settings", &settings)))
        sl_fail(&diag, err, "%s", sl_err_str(err));
    if (!err && sl_cli_wants_json(cli))
        status = sl_cli_print_json(cli, settings);
    else if (!err)
        err = print_settings(cli, settings);
    sl_rpc_message_free(snapshot ? &snapshot->base : NULL);
    return err ? sl_cli_fail(cli, err, &diag) : status;
}
