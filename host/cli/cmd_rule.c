/* SPDX-License-Identifier: Apache-2.0 */
/* Rules by name. Decryption rules and access rules are two lists with the same shape (message_edit.h). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "cli/candidate.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/message_edit.h"
#include "cli/table.h"
#include "cli/units.h"
#include "rpc/message.h"

static const char *const lists[] = {"decryption_rules", "access_rules"};
enum { LISTS = sizeof lists / sizeof lists[0] };

static const struct {
    const char *option, *field;
} conditions[] = {{"src", "sources"}, {"dst", "destinations"}, {"service", "services"}, {"host", "hosts"}};
enum { CONDITIONS = sizeof conditions / sizeof conditions[0] };

static uint64_t now_ns(void)
{
    return sl_clock_system()->wall_ns(sl_clock_system()->arg);
}

/* The list and index of a rule. */
static sl_err find_rule(const ProtobufCMessage *config, const char *name, const char **list, size_t *index, struct sl_diag *diag)
{
    for (size_t i = 0; i < LISTS; i++) {
        size_t at = sl_edit_find(config, lists[i], name);
        if (at != SIZE_MAX) {
            *list = lists[i];
            *index = at;
            return SL_OK;
        }
    }
    return sl_fail(diag, SL_ERR_NOT_FOUND, "there is no rule '%s'; 'sluicectl rule list' shows them", name);
}

/* Where --top, --before and --after point to; the end without them. */
static sl_err find_place(struct sl_cli *cli, const ProtobufCMessage *config, const char *list, size_t *index, struct sl_diag *diag)
{
    const char *before = sl_cli_value(cli->args, "before"), *after = sl_cli_value(cli->args, "after");
    bool top = sl_cli_flag(cli->args, "top");

    if ((before != NULL) + (after != NULL) + top > 1)
        return sl_fail(diag, SL_ERR_INVALID, "--top, --before and --after exclude each other");
    *index = top ? 0 : sl_edit_count(config, list);
    if (!before && !after)
        return SL_OK;
    size_t at = sl_edit_find(config, list, before ? before : after);
    if (at == SIZE_MAX)
        return sl_fail(diag, SL_ERR_NOT_FOUND, "there is no rule '%s' among the %s", before ? before : after,
                       list == lists[0] ? "decryption rules" : "access rules");
    *index = before ? at : at + 1;
    return SL_OK;
}

/* Fetches the candidate, lets change work on it, stores it. */
typedef sl_err (*rule_change)(struct sl_cli *cli, ProtobufCMessage *config, struct sl_diag *diag);
static sl_err with_candidate(struct sl_cli *cli, rule_change change, struct sl_diag *diag)
{
    Sluice__V1__ConfigSnapshot *snapshot = NULL;
    sl_err err = sl_candidate_begin(cli, &snapshot, diag);
    if (err)
        return err;
    err = change(cli, &snapshot->config->base, diag);
    if (!err)
        err = sl_candidate_store(cli, snapshot, diag);
    else if (!diag->text[0])
        sl_fail(diag, err, "%s", sl_err_str(err));
    sl_rpc_message_free(&snapshot->base);
    return err;
}

/* ----------------------------------------------------------------------------------------------------------------------- list */

static void add_conditions(struct sl_table *table, const ProtobufCMessage *rule)
{
    const ProtobufCMessage *match = sl_edit_message(rule, "match");
    for (size_t i = 0; i < CONDITIONS; i++) {
        struct sl_buf b;
        size_t count = match ? sl_edit_count(match, conditions[i].field) : 0;
        sl_buf_init(&b, 1 << 16);
        for (size_t j = 0; j < count; j++)
            sl_buf_printf(&b, "%s%s", j ? "," : "", sl_edit_string_at(match, conditions[i].field, j));
        if (sl_buf_append(&b, "", 1))
            table->err = SL_ERR_NOMEM;
        sl_table_text(table, table->err ? NULL : count ? (const char *)sl_buf_data(&b) : "any");
        sl_buf_free(&b);
    }
}

static void add_state(struct sl_table *table, const ProtobufCMessage *rule)
{
    uint64_t expires = sl_edit_u64(rule, "expires_ns");
    char time[64];

    if (sl_edit_bool(rule, "disabled")) {
        sl_table_text(table, "off");
    } else if (expires == 0) {
        sl_table_text(table, "on");
    } else {
        sl_units_time_text(expires, false, time, sizeof time);
        sl_table_format(table, "%s %s", expires <= now_ns() ? "expired" : "until", time);
    }
}

static sl_err print_rules(struct sl_cli *cli, const Sluice__V1__Config *config)
{
    static const char *const heads[] = {"KIND",    ">NO",      "NAME",  "ACTION", "CLIENTS",
                                        "SERVERS", "SERVICES", "HOSTS", "STATE",  "COMMENT"};
    static const char *const kinds[LISTS] = {"decryption", "access"};
    struct sl_table table;
    char action[64];

    sl_table_init(&table, heads, sizeof heads / sizeof heads[0]);
    for (size_t l = LISTS; l-- > 0;) { /* access rules decide first */
        size_t count = sl_edit_count(&config->base, lists[l]);
        for (size_t i = 0; i < count; i++) {
            const ProtobufCMessage *rule = sl_edit_at(&config->base, lists[l], i);
            sl_table_text(&table, kinds[l]);
            sl_table_format(&table, "%zu", i + 1);
            sl_table_text(&table, sl_edit_string(rule, "name"));
            sl_table_text(&table, sl_edit_enum(rule, "action", action, sizeof action));
            add_conditions(&table, rule);
            add_state(&table, rule);
            sl_table_text(&table, sl_edit_string(rule, "comment"));
        }
    }
    sl_err err = sl_table_print(&table, cli->out, "No rules: only the settings decide ('sluicectl setting list').");
    sl_table_free(&table);
    return err;
}

static void pick_rules(Sluice__V1__Config *shown, const Sluice__V1__Config *all)
{
    shown->n_decryption_rules = all->n_decryption_rules;
    shown->decryption_rules = all->decryption_rules;
    shown->n_access_rules = all->n_access_rules;
    shown->access_rules = all->access_rules;
}

int sl_cmd_rule_list(struct sl_cli *cli)
{
    return sl_candidate_list(cli, pick_rules, print_rules);
}

/* ------------------------------------------------------------------------------------------------------------------------ add */

static sl_err fill_match(struct sl_cli *cli, ProtobufCMessage *rule)
{
    const char *values[SL_CLI_ARGS_MAX];
    ProtobufCMessage *match = NULL;
    sl_err err = sl_edit_make_message(rule, "match", &match);

    for (size_t i = 0; i < CONDITIONS && !err; i++) {
        size_t count = sl_cli_values(cli->args, conditions[i].option, values, SL_CLI_ARGS_MAX);
        for (size_t j = 0; j < count && !err; j++)
            err = sl_edit_add_string(match, conditions[i].field, values[j]);
    }
    return err;
}

static sl_err fill_rule(struct sl_cli *cli, ProtobufCMessage *rule, struct sl_diag *diag)
{
    const char *duration = sl_cli_value(cli->args, "for"), *comment = sl_cli_value(cli->args, "comment");
    uint64_t ns = 0;

    sl_err err = sl_edit_set_string(rule, "name", cli->args->operands[1]);
    if (!err)
        err = sl_edit_set_enum(rule, "action", cli->args->operands[0]);
    if (!err && comment)
        err = sl_edit_set_string(rule, "comment", comment);
    if (!err && duration && !(err = sl_units_duration("--for", duration, &ns, diag)))
        sl_edit_set_u64(rule, "expires_ns", now_ns() + ns);
    sl_edit_set_bool(rule, "disabled", sl_cli_flag(cli->args, "disabled"));
    return err ? err : fill_match(cli, rule);
}

static sl_err add_rule(struct sl_cli *cli, ProtobufCMessage *config, struct sl_diag *diag)
{
    const char *action = cli->args->operands[0], *name = cli->args->operands[1], *other;
    bool access = strcmp(action, "allow") == 0 || strcmp(action, "deny") == 0;
    const char *list = lists[access ? 1 : 0];
    ProtobufCMessage *rule = NULL;
    size_t index = 0;

    if (find_rule(config, name, &other, &index, NULL) == SL_OK)
        return sl_fail(diag, SL_ERR_EXISTS, "there is a rule '%s' already; take another name, or remove that one first", name);
    sl_err err = find_place(cli, config, list, &index, diag);
    if (!err)
        err = sl_rpc_message_new(access ? &sluice__v1__access_rule__descriptor : &sluice__v1__decryption_rule__descriptor, &rule);
    if (!err)
        err = fill_rule(cli, rule, diag);
    if (!err)
        err = sl_edit_insert(config, list, index, rule);
    if (err)
        sl_rpc_message_free(rule);
    return err;
}

static int finish(struct sl_cli *cli, sl_err err, const struct sl_diag *diag, const char *done)
{
    if (err == SL_ERR_INVALID && strncmp(diag->text, "--", 2) == 0)
        return sl_cli_usage(cli, diag);
    return err ? sl_cli_fail(cli, err, diag) : sl_candidate_finish(cli, "%s", done);
}

int sl_cmd_rule_add(struct sl_cli *cli)
{
    struct sl_diag diag = {{0}};
    sl_err err = with_candidate(cli, add_rule, &diag);
    return finish(cli, err, &diag, "Rule added.");
}

/* --------------------------------------------------------------------------------------------------------------------- others */

static sl_err move_rule(struct sl_cli *cli, ProtobufCMessage *config, struct sl_diag *diag)
{
    const char *list = NULL;
    size_t index = 0, place = 0;

    sl_err err = find_rule(config, cli->args->operands[0], &list, &index, diag);
    if (!err)
        err = find_place(cli, config, list, &place, diag);
    if (err)
        return err;
    ProtobufCMessage *rule = sl_edit_take(config, list, index);
    err = sl_edit_insert(config, list, place > index ? place - 1 : place, rule);
    if (err)
        sl_rpc_message_free(rule);
    return err;
}

int sl_cmd_rule_move(struct sl_cli *cli)
{
    struct sl_diag diag = {{0}};
    sl_err err = with_candidate(cli, move_rule, &diag);
    return finish(cli, err, &diag, "Rule moved.");
}

static sl_err switch_rules(struct sl_cli *cli, ProtobufCMessage *config, bool disabled, struct sl_diag *diag)
{
    const char *list = NULL;
    size_t index = 0;
    for (size_t i = 0; i < cli->args->operand_count; i++) {
        sl_err err = find_rule(config, cli->args->operands[i], &list, &index, diag);
        if (err)
            return err;
        sl_edit_set_bool(sl_edit_at(config, list, index), "disabled", disabled);
    }
    return SL_OK;
}

static sl_err enable_rules(struct sl_cli *cli, ProtobufCMessage *config, struct sl_diag *diag)
{
    return switch_rules(cli, config, false, diag);
}

static sl_err disable_rules(struct sl_cli *cli, ProtobufCMessage *config, struct sl_diag *diag)
{
    return switch_rules(cli, config, true, diag);
}

int sl_cmd_rule_enable(struct sl_cli *cli)
{
    struct sl_diag diag = {{0}};
    sl_err err = with_candidate(cli, enable_rules, &diag);
    return finish(cli, err, &diag, "Switched on.");
}

int sl_cmd_rule_disable(struct sl_cli *cli)
{
    struct sl_diag diag = {{0}};
    sl_err err = with_candidate(cli, disable_rules, &diag);
    return finish(cli, err, &diag, "Switched off.");
}

static sl_err remove_rules(struct sl_cli *cli, ProtobufCMessage *config, struct sl_diag *diag)
{
    const char *list = NULL;
    size_t index = 0;
    for (size_t i = 0; i < cli->args->operand_count; i++) {
        sl_err err = find_rule(config, cli->args->operands[i], &list, &index, diag);
        if (err)
            return err;
        sl_rpc_message_free(sl_edit_take(config, list, index));
    }
    return SL_OK;
}

int sl_cmd_rule_remove(struct sl_cli *cli)
{
    struct sl_diag diag = {{0}};
    sl_err err = with_candidate(cli, remove_rules, &diag);
    return finish(cli, err, &diag, "Removed.");
}
