/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/check.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/index.h"
#include "policy/sets.h"
#include "policy/snapshot.h"

enum { NAME_MAX_BYTES = 64, RULE_NAME_MAX_BYTES = 128, TEXT_MAX_BYTES = 1024 };

struct check {
    const Sluice__V1__Config *config;
    sl_check_report report;
    void *arg;
    struct sl_index networks, services, hosts;
};

struct path {
    char text[128];
};

static struct path at(const char *format, ...) __attribute__((format(printf, 1, 2)));
static struct path at(const char *format, ...)
{
    struct path p;
    va_list args;
    va_start(args, format);
    vsnprintf(p.text, sizeof(p.text), format, args);
    va_end(args);
    return p;
}

static sl_err found(const struct check *k, struct path p, const char *format, ...) __attribute__((format(printf, 3, 4)));
static sl_err found(const struct check *k, struct path p, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return k->report(k->arg, p.text, text);
}

/* ---- names ---- */

/* Letters, digits and " _.-" inside: nothing that must be quoted, nothing that looks like two names. */
static bool object_name_ok(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > NAME_MAX_BYTES || name[0] == ' ' || name[len - 1] == ' ')
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr(" _.-", name[i]))
            return false;
    return true;
}

static bool text_ok(const char *text, size_t max)
{
    if (strlen(text) > max)
        return false;
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return false;
    return true;
}

/* A name that could be taken for a literal would change the meaning of rules. */
static const char *mistaken_for(const char *name, char kind)
{
    struct sl_addr_range range;
    struct sl_port_range ports;

    if (strcmp(name, SL_MATCH_ANY) == 0)
        return "\"any\" is a reserved word";
    if (kind == 'n' && sl_addr_range_parse(name, &range, NULL) == SL_OK)
        return "it can be mistaken for an address";
    if (kind == 's' && sl_port_range_parse(name, &ports, NULL) == SL_OK)
        return "it can be mistaken for a port";
    if (kind == 'h' && strchr(name, '.'))
        return "with a dot in it, it can be mistaken for a server's name";
    return NULL;
}

static sl_err check_object_name(const struct check *k, const char *name, char kind, struct path p)
{
    const char *why;

    if (!object_name_ok(name))
        return found(k, p, "an object's name is 1 to %d letters, digits, or ' ', '_', '.', '-' inside: choose another name",
                     NAME_MAX_BYTES);
    if ((why = mistaken_for(name, kind)))
        return found(k, p, "\"%s\" can't be an object's name, %s: choose another name", name, why);
    return SL_OK;
}

static sl_err check_unique(const struct check *k, const struct sl_index *x, const char *list)
{
    sl_err err = SL_OK;
    for (size_t i = 1; i < x->count && !err; i++)
        if (x->items[i].name[0] && strcmp(x->items[i].name, x->items[i - 1].name) == 0)
            err = found(k, at("%s[%zu].name", list, x->items[i].at), "the name \"%.100s\" is taken by %s[%zu]: choose another one",
                        x->items[i].name, list, x->items[i - 1].at);
    return err;
}

static sl_err check_text(const struct check *k, const char *text, struct path p)
{
    return text_ok(text, TEXT_MAX_BYTES) ? SL_OK : found(k, p, "at most %d bytes without control characters", TEXT_MAX_BYTES);
}

/* ---- objects ---- */

static sl_err check_network(const struct check *k, size_t i)
{
    const Sluice__V1__NetworkObject *o = k->config->networks[i];
    struct sl_addr_range range;
    struct sl_diag diag;
    size_t target;
    sl_err err;

    if ((err = check_object_name(k, o->name, 'n', at("networks[%zu].name", i))) ||
        (err = check_text(k, o->description, at("networks[%zu].description", i))))
        return err;
    for (size_t j = 0; j < o->n_prefixes && !err; j++)
        if (sl_addr_range_parse(o->prefixes[j], &range, &diag))
            err = found(k, at("networks[%zu].prefixes[%zu]", i, j), "%s", diag.text);
    for (size_t j = 0; j < o->n_includes && !err; j++)
        if (!sl_index_find(&k->networks, o->includes[j], &target))
            err = found(k, at("networks[%zu].includes[%zu]", i, j),
                        "there is no network object \"%.100s\": create it, or remove the reference", o->includes[j]);
    return err;
}

static sl_err check_service(const struct check *k, size_t i)
{
    const Sluice__V1__ServiceObject *o = k->config->services[i];
    struct sl_port_range range;
    struct sl_diag diag;
    sl_err err;

    if ((err = check_object_name(k, o->name, 's', at("services[%zu].name", i))) ||
        (err = check_text(k, o->description, at("services[%zu].description", i))))
        return err;
    for (size_t j = 0; j < o->n_ports && !err; j++)
        if (sl_port_range_parse(o->ports[j], &range, &diag))
            err = found(k, at("services[%zu].ports[%zu]", i, j), "%s", diag.text);
    return err;
}

static sl_err check_host(const struct check *k, size_t i)
{
    const Sluice__V1__HostObject *o = k->config->hosts[i];
    struct sl_name_pattern pattern;
    struct sl_diag diag;
    sl_err err;

    if ((err = check_object_name(k, o->name, 'h', at("hosts[%zu].name", i))) ||
        (err = check_text(k, o->description, at("hosts[%zu].description", i))))
        return err;
    for (size_t j = 0; j < o->n_patterns && !err; j++)
        if (sl_name_pattern_parse(o->patterns[j], &pattern, &diag))
            err = found(k, at("hosts[%zu].patterns[%zu]", i, j), "%s", diag.text);
    return err;
}

/* Includes that lead back to where they began. Depth-first with a stack of its own: input decides how deep it goes. */
struct visit {
    size_t node, next; /* the next include to follow */
};

static sl_err check_cycles(const struct check *k)
{
    enum { NEW, OPEN, DONE };
    size_t n = k->config->n_networks, depth = 0, target;
    uint8_t *state = calloc(n + 1, 1);
    struct visit *stack = calloc(n + 1, sizeof(*stack));
    sl_err err = state && stack ? SL_OK : SL_ERR_NOMEM;

    for (size_t root = 0; root < n && !err; root++) {
        if (state[root] != NEW)
            continue;
        state[root] = OPEN;
        stack[depth++] = (struct visit){root, 0};
        while (depth && !err) {
            struct visit *v = &stack[depth - 1];
            const Sluice__V1__NetworkObject *o = k->config->networks[v->node];
            if (v->next == o->n_includes) {
                state[v->node] = DONE;
                depth--;
                continue;
            }
            size_t j = v->next++;
            if (!sl_index_find(&k->networks, o->includes[j], &target) || state[target] == DONE)
                continue;
            if (state[target] == OPEN) {
                err = found(k, at("networks[%zu].includes[%zu]", v->node, j),
                            "\"%.64s\" includes \"%.64s\", which includes it in turn: remove one of the two references", o->name,
                            o->includes[j]);
                continue;
            }
            state[target] = OPEN;
            stack[depth++] = (struct visit){target, 0};
        }
    }
    free(state);
    free(stack);
    return err;
}

/* ---- rules ---- */

static sl_err check_networks_of(const struct check *k, char **entries, size_t count, const struct path *rule, const char *field)
{
    struct sl_addr_range range;
    struct sl_diag diag;
    size_t target;
    sl_err err = SL_OK;

    for (size_t j = 0; j < count && !err; j++) {
        if (strcmp(entries[j], SL_MATCH_ANY) == 0 || sl_index_find(&k->networks, entries[j], &target) ||
            sl_addr_range_parse(entries[j], &range, &diag) == SL_OK)
            continue;
        if (strpbrk(entries[j], "/:") || (isdigit((unsigned char)entries[j][0]) && strchr(entries[j], '.')))
            err = found(k, at("%s.match.%s[%zu]", rule->text, field, j), "%s", diag.text);
        else
            err = found(k, at("%s.match.%s[%zu]", rule->text, field, j),
                        "there is no network object \"%.100s\": create it, or write an address, a prefix or a range", entries[j]);
    }
    return err;
}

static sl_err check_services_of(const struct check *k, const Sluice__V1__Match *m, const struct path *rule)
{
    struct sl_port_range range;
    size_t target;
    sl_err err = SL_OK;

    for (size_t j = 0; j < m->n_services && !err; j++)
        if (strcmp(m->services[j], SL_MATCH_ANY) != 0 && !sl_index_find(&k->services, m->services[j], &target) &&
            sl_port_range_parse(m->services[j], &range, NULL))
            err = found(
                k, at("%s.match.services[%zu]", rule->text, j),
                "there is no service object \"%.100s\": create it, or write a TCP port (1 to 65535) or a range such as 8000-8099",
                m->services[j]);
    return err;
}

static sl_err check_hosts_of(const struct check *k, const Sluice__V1__Match *m, const struct path *rule)
{
    struct sl_name_pattern pattern;
    struct sl_diag diag;
    size_t target;
    sl_err err = SL_OK;

    for (size_t j = 0; j < m->n_hosts && !err; j++) {
        const char *entry = m->hosts[j];
        struct path p = at("%s.match.hosts[%zu]", rule->text, j);
        if (strcmp(entry, SL_MATCH_ANY) == 0 || sl_index_find(&k->hosts, entry, &target))
            continue;
        if (!strpbrk(entry, ".*:"))
            err = found(k, p, "there is no host object \"%.100s\": create it (names of a single label are matched through one)",
                        entry);
        else if (sl_name_pattern_parse(entry, &pattern, &diag))
            err = found(k, p, "%s", diag.text);
    }
    return err;
}

static sl_err check_match(const struct check *k, const Sluice__V1__Match *m, const struct path *rule)
{
    sl_err err = SL_OK;
    if (!m)
        return SL_OK;
    if ((err = check_networks_of(k, m->sources, m->n_sources, rule, "sources")) ||
        (err = check_networks_of(k, m->destinations, m->n_destinations, rule, "destinations")) ||
        (err = check_services_of(k, m, rule)))
        return err;
    return check_hosts_of(k, m, rule);
}

static sl_err check_rule_texts(const struct check *k, const char *name, const char *comment, const struct path *rule)
{
    sl_err err = SL_OK;
    if (!name[0] || !text_ok(name, RULE_NAME_MAX_BYTES))
        err = found(k, at("%s.name", rule->text),
                    "a rule has a name of 1 to %d bytes without control characters: it is shown in events", RULE_NAME_MAX_BYTES);
    return err ? err : check_text(k, comment, at("%s.comment", rule->text));
}

static sl_err check_decryption_rules(const struct check *k)
{
    sl_err err = SL_OK;
    for (size_t i = 0; i < k->config->n_decryption_rules && !err; i++) {
        const Sluice__V1__DecryptionRule *r = k->config->decryption_rules[i];
        struct path p = at("decryption_rules[%zu]", i);
        if ((err = check_rule_texts(k, r->name, r->comment, &p)) || (err = check_match(k, r->match, &p)))
            break;
        if (r->action < SLUICE__V1__DECRYPTION_ACTION__DECRYPT || r->action > SLUICE__V1__DECRYPTION_ACTION__MONITOR)
            err =
                found(k, at("%s.action", p.text), "say what the rule does: decrypt, do-not-decrypt, block, block-reset or monitor");
    }
    return err;
}

static sl_err check_access_rules(const struct check *k)
{
    sl_err err = SL_OK;
    for (size_t i = 0; i < k->config->n_access_rules && !err; i++) {
        const Sluice__V1__AccessRule *r = k->config->access_rules[i];
        struct path p = at("access_rules[%zu]", i);
        if ((err = check_rule_texts(k, r->name, r->comment, &p)) || (err = check_match(k, r->match, &p)))
            break;
        if (r->action < SLUICE__V1__ACCESS_ACTION__ALLOW || r->action > SLUICE__V1__ACCESS_ACTION__DENY)
            err = found(k, at("%s.action", p.text), "say what the rule does: allow or deny");
    }
    return err;
}

/* Ids name rules in events over all versions, and both kinds share one sequence. */
struct rule_id {
    uint64_t id;
    struct path at;
};

static int compare_ids(const void *a, const void *b)
{
    const struct rule_id *x = a, *y = b;
    return x->id != y->id ? (x->id < y->id ? -1 : 1) : strcmp(x->at.text, y->at.text);
}

static sl_err check_ids(const struct check *k)
{
    size_t n = 0, all = k->config->n_decryption_rules + k->config->n_access_rules;
    struct rule_id *ids = calloc(all + 1, sizeof(*ids));
    sl_err err = SL_OK;

    if (!ids)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < k->config->n_decryption_rules; i++)
        ids[n++] = (struct rule_id){k->config->decryption_rules[i]->id, at("decryption_rules[%zu]", i)};
    for (size_t i = 0; i < k->config->n_access_rules; i++)
        ids[n++] = (struct rule_id){k->config->access_rules[i]->id, at("access_rules[%zu]", i)};
    qsort(ids, n, sizeof(*ids), compare_ids);
    for (size_t i = 1; i < n && !err; i++)
        if (ids[i].id && ids[i].id == ids[i - 1].id)
            err = found(k, at("%s.id", ids[i].at.text),
                        "%s has the same id %llu: remove the id from the newer rule, the commit gives it one", ids[i - 1].at.text,
                        (unsigned long long)ids[i].id);
    free(ids);
    return err;
}

/* ---- settings ---- */

static sl_err check_limit(const struct check *k, const char *name, uint32_t value, uint32_t min, uint32_t max)
{
    if (value == 0 || (value >= min && value <= max))
        return SL_OK;
    return found(k, at("settings.%s", name), "%u is out of range: %u to %u, or 0 for the default", value, min, max);
}

static sl_err check_failure_action(const struct check *k, const char *name, int value, bool certificate)
{
    if (value >= SLUICE__V1__FAILURE_ACTION__FAILURE_ACTION_UNSPECIFIED && value <= SLUICE__V1__FAILURE_ACTION__FAIL_BYPASS)
        return SL_OK;
    if (certificate && value == SLUICE__V1__FAILURE_ACTION__FAIL_PRESENT_UNTRUSTED)
        return SL_OK;
    return found(k, at("settings.%s", name), certificate ? "one of block, bypass, present-untrusted" : "one of block, bypass");
}

static sl_err check_enum(const struct check *k, const char *name, int value, int last, const char *text)
{
    return value >= 0 && value <= last ? SL_OK : found(k, at("settings.%s", name), "%s", text);
}

static sl_err check_settings(const struct check *k)
{
    const Sluice__V1__Settings *s = k->config->settings;
    sl_err err;

    if (!s)
        return SL_OK;
    if ((err = check_enum(k, "default_decryption", (int)s->default_decryption, SLUICE__V1__DECRYPTION_ACTION__BLOCK_RESET,
                          "what happens when no rule matches: one of decrypt, do-not-decrypt, block, block-reset")) ||
        (err = check_enum(k, "default_access", (int)s->default_access, SLUICE__V1__ACCESS_ACTION__DENY, "allow or deny")) ||
        (err = check_enum(k, "revocation", (int)s->revocation, SLUICE__V1__REVOCATION_MODE__REVOCATION_HARD,
                          "one of off, soft, hard")) ||
        (err = check_enum(k, "crypto_profile", (int)s->crypto_profile, SLUICE__V1__CRYPTO_PROFILE__CRYPTO_COMPATIBLE,
                          "modern or compatible")) ||
        (err = check_failure_action(k, "on_untrusted_certificate", (int)s->on_untrusted_certificate, true)) ||
        (err = check_failure_action(k, "on_failed_handshake", (int)s->on_failed_handshake, false)) ||
        (err = check_failure_action(k, "on_client_certificate", (int)s->on_client_certificate, false)) ||
        (err = check_failure_action(k, "on_non_tls", (int)s->on_non_tls, false)) ||
        (err = check_failure_action(k, "on_overload", (int)s->on_overload, false)) ||
        (err = check_limit(k, "handshake_timeout_ms", s->handshake_timeout_ms, 100, 600000)) ||
        (err = check_limit(k, "idle_timeout_ms", s->idle_timeout_ms, 1000, 7 * 86400 * 1000)) ||
        (err = check_limit(k, "max_connections", s->max_connections, 1, 10000000)))
        return err;
    return check_limit(k, "max_connections_per_client", s->max_connections_per_client, 1, 10000000);
}

/* ---- all ---- */

static sl_err check_counts(const struct check *k)
{
    const Sluice__V1__Config *c = k->config;
    const struct {
        const char *list;
        size_t count, max;
    } lists[] = {
        {"networks", c->n_networks, SL_POLICY_OBJECTS_MAX},
        {"services", c->n_services, SL_POLICY_OBJECTS_MAX},
        {"hosts", c->n_hosts, SL_POLICY_OBJECTS_MAX},
        {"decryption_rules", c->n_decryption_rules, SL_POLICY_RULES_MAX},
        {"access_rules", c->n_access_rules, SL_POLICY_RULES_MAX},
        {"trusted_certificates", c->n_trusted_certificates, SL_POLICY_OBJECTS_MAX},
    };
    sl_err err = SL_OK;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]) && !err; i++)
        if (lists[i].count > lists[i].max)
            err = found(k, at("%s", lists[i].list), "%zu entries are too many: at most %zu", lists[i].count, lists[i].max);
    return err;
}

static sl_err check_names(const struct check *k)
{
    struct sl_index rules = {0}, access = {0}, certificates = {0};
    sl_err err;

    if ((err = sl_index_decryption_rules(k->config, &rules)) || (err = sl_index_access_rules(k->config, &access)) ||
        (err = sl_index_certificates(k->config, &certificates)) || (err = check_unique(k, &k->networks, "networks")) ||
        (err = check_unique(k, &k->services, "services")) || (err = check_unique(k, &k->hosts, "hosts")) ||
        (err = check_unique(k, &rules, "decryption_rules")) || (err = check_unique(k, &access, "access_rules")) ||
        (err = check_unique(k, &certificates, "trusted_certificates")))
        goto Exit;
Exit:
    sl_index_free(&rules);
    sl_index_free(&access);
    sl_index_free(&certificates);
    return err;
}

static sl_err check_certificates(const struct check *k)
{
    sl_err err = SL_OK;
    for (size_t i = 0; i < k->config->n_trusted_certificates && !err; i++) {
        const Sluice__V1__TrustedCertificate *c = k->config->trusted_certificates[i];
        struct path p = at("trusted_certificates[%zu]", i);
        if (!c->name[0] || !text_ok(c->name, RULE_NAME_MAX_BYTES))
            err = found(k, at("%s.name", p.text), "a certificate has a name of 1 to %d bytes without control characters",
                        RULE_NAME_MAX_BYTES);
        if (!err)
            err = check_text(k, c->comment, at("%s.comment", p.text));
        if (!err)
            err = sl_policy_check_certificate(c, p.text, k->report, k->arg);
    }
    return err;
}

sl_err sl_policy_check(const Sluice__V1__Config *config, sl_check_report report, void *arg)
{
    struct check k = {.config = config, .report = report, .arg = arg};
    sl_err err;

    if ((err = check_counts(&k)) || (err = sl_index_networks(config, &k.networks)) ||
        (err = sl_index_services(config, &k.services)) || (err = sl_index_hosts(config, &k.hosts)) || (err = check_names(&k)))
        goto Exit;
    for (size_t i = 0; i < config->n_networks && !err; i++)
        err = check_network(&k, i);
    for (size_t i = 0; i < config->n_services && !err; i++)
        err = check_service(&k, i);
    for (size_t i = 0; i < config->n_hosts && !err; i++)
        err = check_host(&k, i);
    if (err || (err = check_cycles(&k)) || (err = check_decryption_rules(&k)) || (err = check_access_rules(&k)) ||
        (err = check_ids(&k)) || (err = check_settings(&k)))
        goto Exit;
    err = check_certificates(&k);
Exit:
    sl_index_free(&k.networks);
    sl_index_free(&k.services);
    sl_index_free(&k.hosts);
    return err;
}
