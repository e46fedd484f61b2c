/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/check.h"
#include "policy/index.h"
#include "policy/snapshot_impl.h"
#include "rpc/message.h"

/* ---- compile: objects ---- */

struct compile {
    struct sl_policy_snapshot *s;
    const Sluice__V1__Config *config;
    struct sl_index networks, services, hosts;
    size_t entries; /* so far; bounded by SL_POLICY_ENTRIES_MAX */
    struct sl_diag *diag;
};

static sl_err count_entries(struct compile *k, size_t more)
{
    k->entries += more;
    if (k->entries > SL_POLICY_ENTRIES_MAX)
        return sl_fail(k->diag, SL_ERR_LIMIT,
                       "the objects have more than %d entries with all their includes: use larger prefixes, or fewer includes",
                       SL_POLICY_ENTRIES_MAX);
    return SL_OK;
}

static sl_err add_prefixes(struct compile *k, struct sl_addr_set *set, const Sluice__V1__NetworkObject *o)
{
    struct sl_addr_range range;
    sl_err err = count_entries(k, o->n_prefixes);
    for (size_t i = 0; i < o->n_prefixes && !err; i++)
        if (!(err = sl_addr_range_parse(o->prefixes[i], &range, k->diag)))
            err = sl_addr_set_add(set, &range);
    return err;
}

/* One object with everything it includes, directly or not: each reachable object once. seen holds the number of the last root. */
static sl_err compile_network(struct compile *k, size_t root, size_t *queue, size_t *seen)
{
    struct sl_addr_set *set = &k->s->networks[root];
    size_t count = 0, target;
    sl_err err = SL_OK;

    queue[count++] = root;
    seen[root] = root + 1;
    for (size_t done = 0; done < count && !err; done++) {
        const Sluice__V1__NetworkObject *o = k->config->networks[queue[done]];
        if ((err = add_prefixes(k, set, o)) || (err = count_entries(k, o->n_includes)))
            break;
        for (size_t j = 0; j < o->n_includes; j++)
            if (sl_index_find(&k->networks, o->includes[j], &target) && seen[target] != root + 1) {
                seen[target] = root + 1;
                queue[count++] = target;
            }
    }
    sl_addr_set_seal(set);
    return err;
}

static sl_err compile_networks(struct compile *k)
{
    size_t n = k->config->n_networks;
    size_t *queue = calloc(n + 1, sizeof(*queue)), *seen = calloc(n + 1, sizeof(*seen));
    sl_err err = queue && seen ? SL_OK : SL_ERR_NOMEM;

    for (size_t i = 0; i < n && !err; i++)
        err = compile_network(k, i, queue, seen);
    free(queue);
    free(seen);
    return err;
}

static sl_err compile_services(struct compile *k)
{
    sl_err err = SL_OK;
    for (size_t i = 0; i < k->config->n_services && !err; i++) {
        const Sluice__V1__ServiceObject *o = k->config->services[i];
        struct sl_port_range range;
        err = count_entries(k, o->n_ports);
        for (size_t j = 0; j < o->n_ports && !err; j++)
            if (!(err = sl_port_range_parse(o->ports[j], &range, k->diag)))
                err = sl_port_set_add(&k->s->services[i], &range);
        sl_port_set_seal(&k->s->services[i]);
    }
    return err;
}

static sl_err compile_hosts(struct compile *k)
{
    sl_err err = SL_OK;
    for (size_t i = 0; i < k->config->n_hosts && !err; i++) {
        const Sluice__V1__HostObject *o = k->config->hosts[i];
        struct sl_name_pattern pattern;
        err = count_entries(k, o->n_patterns);
        for (size_t j = 0; j < o->n_patterns && !err; j++)
            if (!(err = sl_name_pattern_parse(o->patterns[j], &pattern, k->diag)))
                err = sl_name_set_add(&k->s->hosts[i], &pattern);
    }
    return err;
}

/* ---- compile: rules ---- */

/* The pointers of a condition: one for each entry at most, and one for the literals. NULL: *err tells. */
static void *open_condition(struct compile *k, size_t entries, bool *any, sl_err *err)
{
    void *sets = NULL;

    *any = entries == 0;
    *err = count_entries(k, entries);
    if (!*err && !(sets = calloc(entries + 1, sizeof(void *))))
        *err = SL_ERR_NOMEM;
    return sets;
}

static sl_err compile_sources(struct compile *k, struct sl_policy_match *m, char **entries, size_t count)
{
    struct sl_addr_range range;
    size_t target;
    sl_err err = SL_OK;

    m->sources.sets = open_condition(k, count, &m->sources.any, &err);
    for (size_t i = 0; i < count && !err; i++)
        if (strcmp(entries[i], SL_MATCH_ANY) == 0)
            m->sources.any = true;
        else if (sl_index_find(&k->networks, entries[i], &target))
            m->sources.sets[m->sources.count++] = &k->s->networks[target];
        else if (!(err = sl_addr_range_parse(entries[i], &range, k->diag)))
            err = sl_addr_set_add(&m->own_sources, &range);
    sl_addr_set_seal(&m->own_sources);
    if (!err && (m->own_sources.v4.count || m->own_sources.v6.count))
        m->sources.sets[m->sources.count++] = &m->own_sources;
    return err;
}

static sl_err compile_destinations(struct compile *k, struct sl_policy_match *m, char **entries, size_t count)
{
    struct sl_addr_range range;
    size_t target;
    sl_err err = SL_OK;

    m->destinations.sets = open_condition(k, count, &m->destinations.any, &err);
    for (size_t i = 0; i < count && !err; i++)
        if (strcmp(entries[i], SL_MATCH_ANY) == 0)
            m->destinations.any = true;
        else if (sl_index_find(&k->networks, entries[i], &target))
            m->destinations.sets[m->destinations.count++] = &k->s->networks[target];
        else if (!(err = sl_addr_range_parse(entries[i], &range, k->diag)))
            err = sl_addr_set_add(&m->own_destinations, &range);
    sl_addr_set_seal(&m->own_destinations);
    if (!err && (m->own_destinations.v4.count || m->own_destinations.v6.count))
        m->destinations.sets[m->destinations.count++] = &m->own_destinations;
    return err;
}

static sl_err compile_match_services(struct compile *k, struct sl_policy_match *m, char **entries, size_t count)
{
    struct sl_port_range range;
    size_t target;
    sl_err err = SL_OK;

    m->services.sets = open_condition(k, count, &m->services.any, &err);
    for (size_t i = 0; i < count && !err; i++)
        if (strcmp(entries[i], SL_MATCH_ANY) == 0)
            m->services.any = true;
        else if (sl_index_find(&k->services, entries[i], &target))
            m->services.sets[m->services.count++] = &k->s->services[target];
        else if (!(err = sl_port_range_parse(entries[i], &range, k->diag)))
            err = sl_port_set_add(&m->own_services, &range);
    sl_port_set_seal(&m->own_services);
    if (!err && m->own_services.count)
        m->services.sets[m->services.count++] = &m->own_services;
    return err;
}

static sl_err compile_match_hosts(struct compile *k, struct sl_policy_match *m, char **entries, size_t count)
{
    struct sl_name_pattern pattern;
    size_t target;
    sl_err err = SL_OK;

    m->hosts.sets = open_condition(k, count, &m->hosts.any, &err);
    for (size_t i = 0; i < count && !err; i++)
        if (strcmp(entries[i], SL_MATCH_ANY) == 0)
            m->hosts.any = true;
        else if (sl_index_find(&k->hosts, entries[i], &target))
            m->hosts.sets[m->hosts.count++] = &k->s->hosts[target];
        else if (!(err = sl_name_pattern_parse(entries[i], &pattern, k->diag)))
            err = sl_name_set_add(&m->own_hosts, &pattern);
    if (!err && (m->own_hosts.count || m->own_hosts.every))
        m->hosts.sets[m->hosts.count++] = &m->own_hosts;
    return err;
}

static sl_err compile_match(struct compile *k, struct sl_policy_match *out, const Sluice__V1__Match *m)
{
    static const Sluice__V1__Match NO_CONDITION = SLUICE__V1__MATCH__INIT;
    sl_err err;

    if (!m)
        m = &NO_CONDITION;
    if ((err = compile_sources(k, out, m->sources, m->n_sources)) ||
        (err = compile_destinations(k, out, m->destinations, m->n_destinations)) ||
        (err = compile_match_services(k, out, m->services, m->n_services)))
        return err;
    return compile_match_hosts(k, out, m->hosts, m->n_hosts);
}

static sl_err compile_rules(struct compile *k)
{
    struct sl_policy_snapshot *s = k->s;
    sl_err err = SL_OK;

    for (size_t i = 0; i < k->config->n_decryption_rules && !err; i++) {
        const Sluice__V1__DecryptionRule *r = k->config->decryption_rules[i];
        struct sl_policy_rule *rule = &s->decryption[s->decryption_count++];
        *rule = (struct sl_policy_rule){
            .name = r->name, .id = r->id, .expires_ns = r->expires_ns, .disabled = r->disabled, .action = (unsigned)r->action};
        err = compile_match(k, &rule->match, r->match);
    }
    for (size_t i = 0; i < k->config->n_access_rules && !err; i++) {
        const Sluice__V1__AccessRule *r = k->config->access_rules[i];
        struct sl_policy_rule *rule = &s->access[s->access_count++];
        *rule = (struct sl_policy_rule){
            .name = r->name, .id = r->id, .expires_ns = r->expires_ns, .disabled = r->disabled, .action = (unsigned)r->action};
        err = compile_match(k, &rule->match, r->match);
    }
    return err;
}

/* ---- compile: settings, certificates ---- */

#define DEFAULT(field, value)                                                                                                      \
    if (!s->field)                                                                                                                 \
        s->field = (value);

static void fill_settings(Sluice__V1__Settings *s)
{
    DEFAULT(default_decryption, SLUICE__V1__DECRYPTION_ACTION__DO_NOT_DECRYPT)
    DEFAULT(default_access, SLUICE__V1__ACCESS_ACTION__ALLOW)
    DEFAULT(on_untrusted_certificate, SLUICE__V1__FAILURE_ACTION__FAIL_BLOCK)
    DEFAULT(on_failed_handshake, SLUICE__V1__FAILURE_ACTION__FAIL_BLOCK)
    DEFAULT(on_client_certificate, SLUICE__V1__FAILURE_ACTION__FAIL_BLOCK)
    DEFAULT(on_non_tls, SLUICE__V1__FAILURE_ACTION__FAIL_BYPASS)
    DEFAULT(on_overload, SLUICE__V1__FAILURE_ACTION__FAIL_BLOCK)
    DEFAULT(revocation, SLUICE__V1__REVOCATION_MODE__REVOCATION_SOFT)
    DEFAULT(crypto_profile, SLUICE__V1__CRYPTO_PROFILE__CRYPTO_MODERN)
    DEFAULT(handshake_timeout_ms, 15000)
    DEFAULT(idle_timeout_ms, 3600000)
    DEFAULT(max_connections, 100000)
    DEFAULT(max_connections_per_client, 10000)
}

static sl_err fill_certificate(Sluice__V1__TrustedCertificate *c)
{
    sl_err err = SL_OK;

    if (!c->sha256[0]) {
        char *hex = malloc(65);
        if (!hex)
            return SL_ERR_NOMEM;
        if ((err = sl_policy_sha256_hex(c->der.data, c->der.len, hex))) {
            free(hex);
            return err;
        }
        c->sha256 = hex; /* it was the empty default, which nobody owns, or an empty string that sl_rpc_message_copy made */
    }
    if (c->kind == SLUICE__V1__TRUST_KIND__TRUST_PIN && c->n_ports == 0) {
        if (!(c->ports = malloc(sizeof(*c->ports))))
            return SL_ERR_NOMEM;
        c->ports[0] = 443;
        c->n_ports = 1;
    }
    for (size_t i = 0; i < c->n_hosts; i++) {
        struct sl_name_pattern p;
        char *lower;
        if ((err = sl_name_pattern_parse(c->hosts[i], &p, NULL)))
            return err;
        if (!(lower = strdup(p.name)))
            return SL_ERR_NOMEM;
        free(c->hosts[i]);
        c->hosts[i] = lower;
    }
    return SL_OK;
}

static sl_err compile_certificates(struct compile *k)
{
    sl_err err = SL_OK;
    for (size_t i = 0; i < k->config->n_trusted_certificates && !err; i++) {
        ProtobufCMessage *copy = NULL;
        if ((err = sl_rpc_message_copy(&k->config->trusted_certificates[i]->base, &copy)))
            break;
        k->s->trusted[k->s->trusted_count++] = (Sluice__V1__TrustedCertificate *)copy;
        err = fill_certificate((Sluice__V1__TrustedCertificate *)copy);
    }
    return err;
}

/* ---- life ---- */

static sl_err report_first(void *arg, const char *path, const char *text)
{
    return sl_fail(arg, SL_ERR_INVALID, "%s: %s", path, text);
}

static sl_err allocate_parts(struct sl_policy_snapshot *s)
{
    const Sluice__V1__Config *c = s->config;
    s->networks = calloc(c->n_networks + 1, sizeof(*s->networks));
    s->services = calloc(c->n_services + 1, sizeof(*s->services));
    s->hosts = calloc(c->n_hosts + 1, sizeof(*s->hosts));
    s->decryption = calloc(c->n_decryption_rules + 1, sizeof(*s->decryption));
    s->access = calloc(c->n_access_rules + 1, sizeof(*s->access));
    s->trusted = calloc(c->n_trusted_certificates + 1, sizeof(Sluice__V1__TrustedCertificate *));
    return s->networks && s->services && s->hosts && s->decryption && s->access && s->trusted ? SL_OK : SL_ERR_NOMEM;
}

sl_err sl_policy_snapshot_new(const Sluice__V1__Config *config, uint64_t version, struct sl_policy_snapshot **out,
                              struct sl_diag *diag)
{
    struct sl_policy_snapshot *s = NULL;
    struct compile k = {.diag = diag};
    ProtobufCMessage *copy = NULL;
    sl_err err;

    if ((err = sl_policy_check(config, report_first, diag)))
        goto Exit;
    if (!(s = calloc(1, sizeof(*s)))) {
        err = SL_ERR_NOMEM;
        goto Exit;
    }
    atomic_init(&s->references, 1);
    s->version = version;
    sluice__v1__settings__init(&s->settings);
    if ((err = sl_rpc_message_copy(&config->base, &copy)))
        goto Exit;
    s->config = (Sluice__V1__Config *)copy;
    if (s->config->settings)
        s->settings = *s->config->settings;
    fill_settings(&s->settings);
    k.s = s;
    k.config = s->config;
    if ((err = allocate_parts(s)) || (err = sl_index_networks(k.config, &k.networks)) ||
        (err = sl_index_services(k.config, &k.services)) || (err = sl_index_hosts(k.config, &k.hosts)) ||
        (err = compile_networks(&k)) || (err = compile_services(&k)) || (err = compile_hosts(&k)) || (err = compile_rules(&k)) ||
        (err = compile_certificates(&k)))
        goto Exit;
    *out = s;
    s = NULL;
Exit:
    if (err == SL_ERR_NOMEM)
        sl_fail(diag, err, "out of memory while compiling the policy");
    sl_index_free(&k.networks);
    sl_index_free(&k.services);
    sl_index_free(&k.hosts);
    sl_policy_snapshot_unref(s);
    return err;
}

static void free_rules(struct sl_policy_rule *rules, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct sl_policy_match *m = &rules[i].match;
        free(m->sources.sets);
        free(m->destinations.sets);
        free(m->services.sets);
        free(m->hosts.sets);
        sl_addr_set_free(&m->own_sources);
        sl_addr_set_free(&m->own_destinations);
        sl_port_set_free(&m->own_services);
        sl_name_set_free(&m->own_hosts);
    }
    free(rules);
}

static void destroy(struct sl_policy_snapshot *s)
{
    const Sluice__V1__Config *c = s->config;

    free_rules(s->decryption, s->decryption_count);
    free_rules(s->access, s->access_count);
    for (size_t i = 0; s->networks && i < c->n_networks; i++)
        sl_addr_set_free(&s->networks[i]);
    for (size_t i = 0; s->services && i < c->n_services; i++)
        sl_port_set_free(&s->services[i]);
    for (size_t i = 0; s->hosts && i < c->n_hosts; i++)
        sl_name_set_free(&s->hosts[i]);
    for (size_t i = 0; i < s->trusted_count; i++)
        sl_rpc_message_free(&s->trusted[i]->base);
    free(s->networks);
    free(s->services);
    free(s->hosts);
    free(s->trusted);
    if (s->config)
        sl_rpc_message_free(&s->config->base);
    free(s);
}

struct sl_policy_snapshot *sl_policy_snapshot_ref(struct sl_policy_snapshot *s)
{
    atomic_fetch_add_explicit(&s->references, 1, memory_order_relaxed);
    return s;
}

void sl_policy_snapshot_unref(struct sl_policy_snapshot *s)
{
    if (s && atomic_fetch_sub_explicit(&s->references, 1, memory_order_acq_rel) == 1)
        destroy(s);
}

uint64_t sl_policy_version(const struct sl_policy_snapshot *s)
{
    return s->version;
}

const Sluice__V1__Settings *sl_policy_settings(const struct sl_policy_snapshot *s)
{
    return &s->settings;
}

const Sluice__V1__Config *sl_policy_config(const struct sl_policy_snapshot *s)
{
    return s->config;
}

const Sluice__V1__TrustedCertificate *const *sl_policy_trusted(const struct sl_policy_snapshot *s, size_t *count)
{
    *count = s->trusted_count;
    return (const Sluice__V1__TrustedCertificate *const *)s->trusted;
}
