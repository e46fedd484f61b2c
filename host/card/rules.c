/* SPDX-License-Identifier: Apache-2.0 */
#include "card/rules.h"

#include <string.h>

#include "card/numbers.h"

void sl_cpu_rules_init(struct sl_cpu_rules *r)
{
    r->count = 0;
    r->otherwise = SL_CARD_PUNT;
}

bool sl_cpu_rule_is_sound(const struct card_rule *rule)
{
    uint8_t bad = (uint8_t)(rule->zero[0] | rule->zero[1] | rule->zero[2]);
    for (unsigned i = 0; i < 16; i++)
        bad |= (uint8_t)((rule->src[i] & ~rule->src_mask[i]) | (rule->dst[i] & ~rule->dst_mask[i]));
    return bad == 0 && (rule->version == 0 || rule->version == 4 || rule->version == 6) && rule->action <= SL_CARD_DROP &&
           rule->any_proto <= 1 && rule->valid <= 1;
}

sl_err sl_cpu_rules_set(struct sl_cpu_rules *r, unsigned number, const struct card_rule *rule)
{
    if (number >= SL_ENGINE_RULES || !sl_cpu_rule_is_sound(rule))
        return SL_ERR_INVALID;
    unsigned at = 0;
    while (at < r->count && r->number[at] < number)
        at++;
    const bool there = at < r->count && r->number[at] == number;
    const unsigned behind = r->count - at - there;
    const unsigned from = at + there, to = at + rule->valid;
    memmove(r->number + to, r->number + from, behind * sizeof(r->number[0]));
    memmove(r->rule + to, r->rule + from, behind * sizeof(r->rule[0]));
    if (rule->valid != 0) {
        r->number[at] = (uint16_t)number;
        r->rule[at] = *rule;
    }
    r->count = (uint16_t)(to + behind);
    return SL_OK;
}

sl_err sl_cpu_rules_set_default(struct sl_cpu_rules *r, unsigned action)
{
    if (action > SL_CARD_DROP)
        return SL_ERR_INVALID;
    r->otherwise = (uint8_t)action;
    return SL_OK;
}

static bool masked_equal(const uint64_t address[2], const uint8_t value[16], const uint8_t mask[16])
{
    uint64_t v[2], m[2];
    memcpy(v, value, 16);
    memcpy(m, mask, 16);
    return (((address[0] & m[0]) ^ v[0]) | ((address[1] & m[1]) ^ v[1])) == 0;
}

unsigned sl_cpu_rules_find(const struct sl_cpu_rules *r, const struct sl_flow_key *key, uint16_t *number)
{
    const unsigned sport = sl_flow_key_sport(key), dport = sl_flow_key_dport(key);
    const unsigned proto = sl_flow_key_proto(key), version = sl_flow_key_version(key);
    for (unsigned i = 0; i < r->count; i++) {
        const struct card_rule *x = &r->rule[i];
        if ((x->version == 0 || x->version == version) && (x->any_proto != 0 || x->proto == proto) && sport >= x->sport_min &&
            sport <= x->sport_max && dport >= x->dport_min && dport <= x->dport_max &&
            masked_equal(key->word, x->src, x->src_mask) && masked_equal(key->word + 2, x->dst, x->dst_mask)) {
            *number = r->number[i];
            return x->action;
        }
    }
    *number = SL_ENGINE_RULES;
    return r->otherwise;
}
