/* SPDX-License-Identifier: Apache-2.0 */
/* What commands that change the configuration share: fetch the candidate, store it, commit it or tell how. */
#pragma once

#include "cli/cli.h"

/* Any configuration; *out is to be freed with sl_rpc_message_free. */
sl_err sl_candidate_get(struct sl_cli *cli, Sluice__V1__ConfigSource source, uint64_t version, Sluice__V1__ConfigSnapshot **out,
                        struct sl_diag *diag);
/* What a list shows: the candidate, or with --running the running configuration. */
sl_err sl_candidate_shown(struct sl_cli *cli, Sluice__V1__ConfigSnapshot **out, struct sl_diag *diag);
/* A command that lists a part: in JSON what pick takes over (borrowed) into an empty configuration, else what print writes. */
int sl_candidate_list(struct sl_cli *cli, void (*pick)(Sluice__V1__Config *shown, const Sluice__V1__Config *all),
                      sl_err (*print)(struct sl_cli *cli, const Sluice__V1__Config *config));
/* The candidate, for a change. With --commit it must be equal to the running configuration, lest a commit takes somebody's
 * unfinished work along. Its config is never NULL. */
sl_err sl_candidate_begin(struct sl_cli *cli, Sluice__V1__ConfigSnapshot **out, struct sl_diag *diag);
/* Stores it; refused if somebody else has changed it since begin. */
sl_err sl_candidate_store(struct sl_cli *cli, const Sluice__V1__ConfigSnapshot *changed, struct sl_diag *diag);
/* Says what was done, then commits if --commit was given, else says how to go on. */
int sl_candidate_finish(struct sl_cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Commits the candidate with --message; says the version and warnings. */
int sl_candidate_commit(struct sl_cli *cli);

/* Prints findings of a validation; returns how many are errors. */
size_t sl_candidate_findings(struct sl_cli *cli, Sluice__V1__ValidationFinding *const *findings, size_t count);
