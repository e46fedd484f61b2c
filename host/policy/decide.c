/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "policy/snapshot_impl.h"

/* The query's name is hashed when the first rule with hosts is reached, and then serves all of them. */
struct ask {
    const struct sl_policy_query *q;
    struct sl_name_key key;
    bool key_made;
};

enum answer { NO, YES, NEED_NAME };

static bool in_networks(bool any, const struct sl_addr_set *const *sets, size_t count, const struct sl_addr *a)
{
    if (any)
        return true;
    for (size_t i = 0; i < count; i++)
        if (sl_addr_set_has(sets[i], a))
            return true;
    return false;
}

static bool in_services(const struct sl_policy_match *m, uint16_t port)
{
    if (m->services.any)
        return true;
    for (size_t i = 0; i < m->services.count; i++)
        if (sl_port_set_has(m->services.sets[i], port))
            return true;
    return false;
}

static enum answer in_hosts(const struct sl_policy_match *m, struct ask *ask)
{
    if (m->hosts.any)
        return YES;
    if (ask->q->name_state == SL_NAME_PENDING)
        return NEED_NAME;
    if (ask->q->name_state == SL_NAME_ABSENT || !ask->q->name || !ask->q->name[0])
        return NO;
    if (!ask->key_made) {
        (void)sl_name_key_make(ask->q->name, &ask->key); /* a name that is none matches "*" only */
        ask->key_made = true;
    }
    for (size_t i = 0; i < m->hosts.count; i++)
        if (sl_name_set_has(m->hosts.sets[i], &ask->key))
            return YES;
    return NO;
}

static enum answer matches(const struct sl_policy_rule *r, struct ask *ask)
{
    const struct sl_policy_query *q = ask->q;
    const struct sl_policy_match *m = &r->match;

    if (r->disabled || (r->expires_ns && r->expires_ns <= q->now_ns))
        return NO;
    if (!in_services(m, q->server_port) ||
        !in_networks(m->destinations.any, m->destinations.sets, m->destinations.count, &q->server) ||
        !in_networks(m->sources.any, m->sources.sets, m->sources.count, &q->client))
        return NO;
    return in_hosts(m, ask);
}

static struct sl_policy_hit hit_of(const struct sl_policy_rule *r)
{
    return (struct sl_policy_hit){.id = r->id, .name = r->name, .by_name = !r->match.hosts.any};
}

static const struct sl_policy_hit IMPLICIT = {.name = "implicit", .implicit = true};

void sl_policy_decide_decryption(const struct sl_policy_snapshot *s, const struct sl_policy_query *q,
                                 struct sl_policy_decryption *out)
{
    struct ask ask;

    ask.q = q;
    ask.key_made = false;
    out->monitor_count = 0;
    for (size_t i = 0; i < s->decryption_count; i++) {
        const struct sl_policy_rule *r = &s->decryption[i];
        bool monitor = r->action == SLUICE__V1__DECRYPTION_ACTION__MONITOR;
        enum answer answer = matches(r, &ask);
        if (answer == NO || (answer == NEED_NAME && monitor))
            continue;
        if (monitor) {
            if (out->monitor_count < SL_POLICY_MONITORS_MAX)
                out->monitors[out->monitor_count++] = hit_of(r);
            continue;
        }
        out->outcome = answer == YES ? SL_POLICY_DECIDED : SL_POLICY_NEED_NAME;
        out->action =
            answer == YES ? (Sluice__V1__DecryptionAction)r->action : SLUICE__V1__DECRYPTION_ACTION__DECRYPTION_ACTION_UNSPECIFIED;
        out->rule = hit_of(r);
        return;
    }
    out->outcome = SL_POLICY_DECIDED;
    out->action = s->settings.default_decryption;
    out->rule = IMPLICIT;
}

void sl_policy_decide_access(const struct sl_policy_snapshot *s, const struct sl_policy_query *q, struct sl_policy_access *out)
{
    struct ask ask;

    ask.q = q;
    ask.key_made = false;
    for (size_t i = 0; i < s->access_count; i++) {
        const struct sl_policy_rule *r = &s->access[i];
        enum answer answer = matches(r, &ask);
        if (answer == NO)
            continue;
        out->outcome = answer == YES ? SL_POLICY_DECIDED : SL_POLICY_NEED_NAME;
        out->action = answer == YES ? (Sluice__V1__AccessAction)r->action : SLUICE__V1__ACCESS_ACTION__ACCESS_ACTION_UNSPECIFIED;
        out->rule = hit_of(r);
        return;
    }
    out->outcome = SL_POLICY_DECIDED;
    out->action = s->settings.default_access;
    out->rule = IMPLICIT;
}

const char *sl_policy_decryption_action_name(Sluice__V1__DecryptionAction action)
{
    static const char *const NAMES[] = {"", "decrypt", "do-not-decrypt", "block", "block-reset", "monitor"};
    return (unsigned)action < sizeof(NAMES) / sizeof(NAMES[0]) ? NAMES[action] : "";
}

const char *sl_policy_access_action_name(Sluice__V1__AccessAction action)
{
    static const char *const NAMES[] = {"", "allow", "deny"};
    return (unsigned)action < sizeof(NAMES) / sizeof(NAMES[0]) ? NAMES[action] : "";
}
