/* SPDX-License-Identifier: Apache-2.0 */
/* SetRules, GetRules, Reset. */
#include <stdlib.h>

#include "base/log.h"
#include "card/service/service_impl.h"
#include "rpc/message.h"

/* The first failure of several commands. */
static void take_first(void *arg, size_t index, const struct sl_engine_command *command,
                       const struct sl_engine_completion *completion)
{
    sl_err *first = arg;
    (void)index;
    (void)command;
    if (*first == SL_OK)
        *first = completion->status;
}

static sl_err check_rules(const Sluice__Card__V1__RuleSet *set, struct card_rule *rules, struct sl_diag *diag)
{
    if (set->lane >= SL_ENGINE_LANES)
        return sl_fail(diag, SL_ERR_INVALID, "lane: 0 or 1");
    if (set->n_rules > SL_ENGINE_RULES)
        return sl_fail(diag, SL_ERR_LIMIT, "%zu rules; there is room for %d", set->n_rules, SL_ENGINE_RULES);
    if ((int)set->default_action < 0 || (int)set->default_action > SLUICE__CARD__V1__RULE_ACTION__DROP)
        return sl_fail(diag, SL_ERR_INVALID, "default_action: PUNT, PASS or DROP");
    for (size_t i = 0; i < set->n_rules; i++) {
        sl_err err = sl_card_rule_from(set->rules[i], &rules[i], diag);
        if (err)
            return sl_fail_prefix(diag, err, "rules[%zu]", i);
    }
    return SL_OK;
}

/* Writes every rule of the lane: those there are, then none in the rest. */
static sl_err write_rules(struct sl_card_service *s, const Sluice__Card__V1__RuleSet *set, const struct card_rule *rules)
{
    struct sl_card_pipe *pipe = NULL;
    struct sl_engine_command *command;
    struct sl_card_extra *extra;
    sl_err first = SL_OK, err = sl_card_pipe_new(s->loop, SL_CARD_PIPE_DEPTH_MAX, take_first, &first, &pipe);

    if (err)
        return err;
    for (unsigned i = 0; i < SL_ENGINE_RULES; i++) {
        sl_card_pipe_slot(pipe, i, &command, &extra);
        command->op = SL_ENGINE_RULE;
        command->lane = (uint8_t)set->lane;
        command->number = (uint16_t)i;
        if (i < set->n_rules)
            command->rule = rules[i];
        sl_card_pipe_push(pipe);
    }
    sl_card_pipe_slot(pipe, SL_ENGINE_RULES, &command, &extra);
    command->op = SL_ENGINE_DEFAULT;
    command->lane = (uint8_t)set->lane;
    command->action = (uint8_t)set->default_action;
    sl_card_pipe_push(pipe);
    sl_card_pipe_flush(pipe);
    sl_card_pipe_free(pipe);
    return first;
}

static void forget_rules(struct sl_card_service *s, unsigned lane)
{
    if (s->rules[lane] != NULL)
        sluice__card__v1__rule_set__free_unpacked(s->rules[lane], NULL);
    s->rules[lane] = NULL;
}

SL_CARD_HANDLER(sl_card_set_rules)
{
    const Sluice__Card__V1__RuleSet *set = (const Sluice__Card__V1__RuleSet *)request;
    struct card_rule rules[SL_ENGINE_RULES];
    struct sl_card_service *s = arg;
    ProtobufCMessage *copy = NULL;

    sl_err err = sl_card_authorise(s, call, diag);
    if (!err)
        err = check_rules(set, rules, diag);
    if (err)
        return err;
    if (sl_rpc_message_copy(request, &copy) != SL_OK)
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    pthread_mutex_lock(&s->rules_lock);
    err = write_rules(s, set, rules);
    if (!err) {
        forget_rules(s, set->lane);
        s->rules[set->lane] = (Sluice__Card__V1__RuleSet *)copy;
    }
    pthread_mutex_unlock(&s->rules_lock);
    if (err) {
        sl_rpc_message_free(copy);
        return sl_fail(diag, err, "the card did not take the rules (%s); set them again", sl_err_str(err));
    }
    return sl_rpc_message_assign(response, request) ? sl_fail(diag, SL_ERR_NOMEM, "out of memory") : SL_OK;
}

SL_CARD_HANDLER(sl_card_get_rules)
{
    const Sluice__Card__V1__GetRulesRequest *r = (const Sluice__Card__V1__GetRulesRequest *)request;
    struct sl_card_service *s = arg;

    sl_err err = sl_card_authorise(s, call, diag);
    if (err)
        return err;
    if (r->lane >= SL_ENGINE_LANES)
        return sl_fail(diag, SL_ERR_INVALID, "lane: 0 or 1");
    pthread_mutex_lock(&s->rules_lock);
    if (s->rules[r->lane] != NULL)
        err = sl_rpc_message_assign(response, &s->rules[r->lane]->base);
    else
        ((Sluice__Card__V1__RuleSet *)response)->lane = r->lane;
    pthread_mutex_unlock(&s->rules_lock);
    return err ? sl_fail(diag, err, "out of memory") : SL_OK;
}

SL_CARD_HANDLER(sl_card_reset)
{
    const struct sl_engine_command reset = {.op = SL_ENGINE_RESET};
    struct sl_engine_completion done = {.status = SL_OK};
    struct sl_card_service *s = arg;
    (void)request;

    sl_err err = sl_card_authorise(s, call, diag);
    if (err)
        return err;
    pthread_mutex_lock(&s->rules_lock);
    err = sl_card_run(s, &reset, &done);
    if (!err)
        err = done.status;
    for (unsigned lane = 0; !err && lane < SL_ENGINE_LANES; lane++)
        forget_rules(s, lane);
    pthread_mutex_unlock(&s->rules_lock);
    if (err)
        return sl_fail(diag, err, "the card was not reset: %s", sl_err_str(err));
    sl_log(SL_LOG_WARN, "card", "reset", SL_STR("by", sl_rpc_call_peer(call)->address));
    return sl_card_get_info(arg, call, NULL, response, diag);
}
