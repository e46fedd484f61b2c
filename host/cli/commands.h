/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands do; commands.c names them. Each returns the exit status. */
#pragma once

struct sl_cli;

/* cmd_status.c */
int sl_cmd_status(struct sl_cli *cli);
int sl_cmd_stats(struct sl_cli *cli);
int sl_cmd_version(struct sl_cli *cli);
int sl_cmd_completion(struct sl_cli *cli);

/* cmd_config.c */
int sl_cmd_config_show(struct sl_cli *cli);
int sl_cmd_config_export(struct sl_cli *cli);
int sl_cmd_config_import(struct sl_cli *cli);
int sl_cmd_config_diff(struct sl_cli *cli);
int sl_cmd_config_validate(struct sl_cli *cli);
int sl_cmd_config_commit(struct sl_cli *cli);
int sl_cmd_config_discard(struct sl_cli *cli);
int sl_cmd_config_history(struct sl_cli *cli);
int sl_cmd_config_rollback(struct sl_cli *cli);

/* cmd_edit.c */
int sl_cmd_config_edit(struct sl_cli *cli);

/* cmd_rule.c */
int sl_cmd_rule_list(struct sl_cli *cli);
int sl_cmd_rule_add(struct sl_cli *cli);
int sl_cmd_rule_move(struct sl_cli *cli);
int sl_cmd_rule_enable(struct sl_cli *cli);
int sl_cmd_rule_disable(struct sl_cli *cli);
int sl_cmd_rule_remove(struct sl_cli *cli);

/* cmd_object.c */
int sl_cmd_object_list(struct sl_cli *cli);
int sl_cmd_object_add(struct sl_cli *cli);
int sl_cmd_object_remove(struct sl_cli *cli);
int sl_cmd_setting_list(struct sl_cli *cli);
int sl_cmd_setting_set(struct sl_cli *cli);

/* cmd_ca.c */
int sl_cmd_ca_init(struct sl_cli *cli);
int sl_cmd_ca_show(struct sl_cli *cli);
int sl_cmd_ca_export(struct sl_cli *cli);
int sl_cmd_cert_import(struct sl_cli *cli);
int sl_cmd_cert_list(struct sl_cli *cli);
int sl_cmd_cert_remove(struct sl_cli *cli);

/* cmd_event.c */
int sl_cmd_event_list(struct sl_cli *cli);
int sl_cmd_event_show(struct sl_cli *cli);
int sl_cmd_event_watch(struct sl_cli *cli);
int sl_cmd_event_fix(struct sl_cli *cli);
