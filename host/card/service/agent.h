/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluice-card as an object: engine, loop, services, replay, in the order they depend on each other. main.c gives it its options and
 * signals.
 */
#pragma once

#include "card/service/options.h"

struct sl_card_agent;

/* options is borrowed for the agent's life. Sessions of a file are installed before anything else may come. On failure nothing runs
 * and diag says what to do. */
sl_err sl_card_agent_start(const struct sl_card_options *options, struct sl_card_agent **out, struct sl_diag *diag);
/* Whether the agent has nothing more to do: the capture has been played and nobody is to be served. Sleeps up to a second
 * otherwise. *err: of the replay. */
bool sl_card_agent_over(struct sl_card_agent *agent, sl_err *err);
/* Lets calls finish, ends everything, wipes keys. SL_ERR_IO: the mirror was not written whole. */
sl_err sl_card_agent_stop(struct sl_card_agent *agent);
