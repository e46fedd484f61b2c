/* SPDX-License-Identifier: Apache-2.0 */
/* What decides about packets without a session (docs/card.md section 2): a lane's rules, first match, with a default. */
#pragma once

#include "card/engine.h"
#include "card/flow_key.h"

struct sl_cpu_rules {
    uint16_t count; /* valid ones, in their order: */
    uint16_t number[SL_ENGINE_RULES];
    struct card_rule rule[SL_ENGINE_RULES];
    uint8_t otherwise; /* action of the default */
};

/* Is it a rule at all (card/card_command.h)? */
bool sl_cpu_rule_is_sound(const struct card_rule *rule);

void sl_cpu_rules_init(struct sl_cpu_rules *r); /* none; the default is to punt */
/* SL_ERR_INVALID, and nothing has changed: the number, or a rule that is not sound. */
sl_err sl_cpu_rules_set(struct sl_cpu_rules *r, unsigned number, const struct card_rule *rule);
sl_err sl_cpu_rules_set_default(struct sl_cpu_rules *r, unsigned action);
/* The action; *number: of the rule, SL_ENGINE_RULES for the default. */
unsigned sl_cpu_rules_find(const struct sl_cpu_rules *r, const struct sl_flow_key *key, uint16_t *number);
