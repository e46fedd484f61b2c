/* SPDX-License-Identifier: Apache-2.0 */
/* The questions a flow has for policy: once by addresses, once with the ClientHello. */
#include "gateway/flow_state.h"

#include <string.h>
#include <strings.h>

#include "policy/snapshot.h"

#define CAUSE(name) SLUICE__V1__CAUSE__##name
#define STAGE(name) SLUICE__V1__STAGE__STAGE_##name

static struct sl_policy_query make_query(const struct sl_flow *f, enum sl_name_state state, const char *name)
{
    const struct sl_clock *clock = f->worker->gateway->options.clock;
    struct sl_policy_query q = {
        .server_port = sl_endpoint_port(&f->server_at), .name_state = state, .name = name, .now_ns = clock->wall_ns(clock->arg)};
    sl_addr_from_sockaddr(&f->client_at.any, &q.client);
    sl_addr_from_sockaddr(&f->server_at.any, &q.server);
    return q;
}

/* False: the flow was denied. A rule that needs a name which is still to come lets the flow go on. */
static bool allowed(struct sl_flow *f, const struct sl_policy_query *q, Sluice__V1__Stage stage)
{
    struct sl_policy_access access;

    sl_policy_decide_access(f->runtime->policy, q, &access);
    if (access.outcome == SL_POLICY_NEED_NAME)
        return true;
    sl_report_access(f, &access);
    f->allowed_by_name = access.rule.by_name;
    if (access.action == SLUICE__V1__ACCESS_ACTION__ALLOW)
        return true;
    sl_metric_add(f->worker->gateway->metrics.blocked, 1);
    sl_flow_fail(f, CAUSE(POLICY_DENY), stage, NULL);
    return false;
}

bool sl_decide_addresses(struct sl_flow *f)
{
    /* An explicit client has named the host already: that name must be allowed, too, whatever the ClientHello says later. */
    struct sl_policy_query q = make_query(f, f->host ? SL_NAME_KNOWN : SL_NAME_PENDING, f->host);
    return allowed(f, &q, STAGE(TCP));
}

/* The name to decide by: what the client asks the server for; a CONNECT host where the ClientHello names nobody. */
static const char *choose_name(const struct sl_flow *f, const struct sl_client_hello *hello)
{
    return hello && hello->sni[0] ? hello->sni : f->host;
}

/* A name is a claim of the client. It needs no proof where the gateway itself looked that name up to find the server. */
static bool needs_proof(const struct sl_flow *f, const struct sl_policy_decryption *d, const char *name)
{
    bool looked_up = f->kind == SL_LISTEN_EXPLICIT && f->host && name && strcasecmp(f->host, name) == 0;
    return (d->rule.by_name || f->allowed_by_name) && !looked_up &&
           !sl_policy_settings(f->runtime->policy)->trust_name_without_certificate;
}

static bool plan_tls(struct sl_flow *f, const struct sl_policy_decryption *d, const char *name)
{
    switch (d->action) {
    case SLUICE__V1__DECRYPTION_ACTION__DECRYPT:
        f->plan = f->overload ? SL_PLAN_BYPASS : SL_PLAN_DECRYPT;
        if (f->overload)
            sl_report_decision(f, "bypass", "overload");
        return true;
    case SLUICE__V1__DECRYPTION_ACTION__BLOCK:
    case SLUICE__V1__DECRYPTION_ACTION__BLOCK_RESET:
        f->block_reset = d->action == SLUICE__V1__DECRYPTION_ACTION__BLOCK_RESET;
        sl_metric_add(f->worker->gateway->metrics.blocked, 1);
        sl_flow_fail(f, CAUSE(POLICY_BLOCK), STAGE(CLIENT_HELLO), NULL);
        return false;
    default:
        f->plan = needs_proof(f, d, name) ? SL_PLAN_CONFIRM_NAME : SL_PLAN_BYPASS;
        return true;
    }
}

static bool plan_non_tls(struct sl_flow *f, const struct sl_policy_decryption *d)
{
    bool blocked = d->action == SLUICE__V1__DECRYPTION_ACTION__BLOCK || d->action == SLUICE__V1__DECRYPTION_ACTION__BLOCK_RESET;

    if (blocked || sl_policy_settings(f->runtime->policy)->on_non_tls == SLUICE__V1__FAILURE_ACTION__FAIL_BLOCK) {
        sl_metric_add(f->worker->gateway->metrics.blocked, 1);
        sl_flow_fail(f, blocked ? CAUSE(POLICY_BLOCK) : CAUSE(POLICY_NON_TLS), STAGE(CLIENT_HELLO),
                     "the client does not speak TLS");
        return false;
    }
    f->plan = SL_PLAN_NON_TLS;
    return true;
}

bool sl_decide_hello(struct sl_flow *f, const struct sl_client_hello *hello)
{
    const char *name = choose_name(f, hello);
    struct sl_policy_query q = make_query(f, name ? SL_NAME_KNOWN : SL_NAME_ABSENT, name);
    struct sl_policy_decryption d;

    if (!allowed(f, &q, STAGE(CLIENT_HELLO)))
        return false;
    sl_policy_decide_decryption(f->runtime->policy, &q, &d);
    sl_report_decryption(f, &d);
    return hello ? plan_tls(f, &d, name) : plan_non_tls(f, &d);
}
