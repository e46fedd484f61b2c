/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/validate.h"

#include <openssl/x509.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "policy/check.h"
#include "policy/snapshot_impl.h"

enum { SHADOW_RULES_MAX = 2000 }; /* the search compares every pair */

/* ---- collecting ---- */

static sl_err add(struct sl_findings *f, bool error, const char *path, const char *text)
{
    Sluice__V1__ValidationFinding *item;
    Sluice__V1__ValidationFinding **items;

    f->errors += error;
    if (f->count == SL_FINDINGS_MAX)
        return SL_OK;
    items = reallocarray(f->items, f->count + 1, sizeof(Sluice__V1__ValidationFinding *));
    if (!items)
        return SL_ERR_NOMEM;
    f->items = items;
    if (!(item = malloc(sizeof(*item))))
        return SL_ERR_NOMEM;
    sluice__v1__validation_finding__init(item);
    item->error = error;
    char *p = strdup(path), *t = strdup(text);
    if (!p || !t) {
        free(p);
        free(t);
        free(item);
        return SL_ERR_NOMEM;
    }
    item->path = p;
    item->text = t;
    f->items[f->count++] = item;
    return SL_OK;
}

void sl_findings_free(struct sl_findings *f)
{
    for (size_t i = 0; i < f->count; i++)
        sluice__v1__validation_finding__free_unpacked(f->items[i], NULL);
    free(f->items);
    *f = (struct sl_findings){0};
}

static sl_err add_error(void *arg, const char *path, const char *text)
{
    return add(arg, true, path, text);
}

static sl_err warn(struct sl_findings *f, const char *path, const char *format, ...) __attribute__((format(printf, 3, 4)));
static sl_err warn(struct sl_findings *f, const char *path, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return add(f, false, path, text);
}

/* ---- rules that can't match ---- */

static bool addresses_cover(bool any, const struct sl_addr_set *const *sets, size_t count, bool part_any,
                            const struct sl_addr_set *const *parts, size_t part_count)
{
    if (any)
        return true;
    for (size_t p = 0; p < part_count; p++) {
        bool covered = false;
        for (size_t i = 0; i < count && !covered; i++)
            covered = sets[i] == parts[p] || sl_addr_set_covers(sets[i], parts[p]);
        if (!covered)
            return false;
    }
    return !part_any;
}

static bool services_cover(const struct sl_policy_match *m, const struct sl_policy_match *part)
{
    if (m->services.any)
        return true;
    for (size_t p = 0; p < part->services.count; p++) {
        bool covered = false;
        for (size_t i = 0; i < m->services.count && !covered; i++)
            covered = sl_port_set_covers(m->services.sets[i], part->services.sets[p]);
        if (!covered)
            return false;
    }
    return !part->services.any;
}

static bool hosts_cover(const struct sl_policy_match *m, const struct sl_policy_match *part)
{
    if (m->hosts.any)
        return true;
    for (size_t p = 0; p < part->hosts.count; p++) {
        bool covered = false;
        for (size_t i = 0; i < m->hosts.count && !covered; i++)
            covered = m->hosts.sets[i] == part->hosts.sets[p] || sl_name_set_covers(m->hosts.sets[i], part->hosts.sets[p]);
        if (!covered)
            return false;
    }
    return !part->hosts.any;
}

/* Every connection that part matches is matched by m. May miss a cover that only several objects make together. */
static bool match_covers(const struct sl_policy_match *m, const struct sl_policy_match *part)
{
    return services_cover(m, part) && hosts_cover(m, part) &&
           addresses_cover(m->destinations.any, m->destinations.sets, m->destinations.count, part->destinations.any,
                           part->destinations.sets, part->destinations.count) &&
           addresses_cover(m->sources.any, m->sources.sets, m->sources.count, part->sources.any, part->sources.sets,
                           part->sources.count);
}

static sl_err warn_shadowed(struct sl_findings *f, const char *list, const struct sl_policy_rule *rules, size_t count,
                            unsigned monitor)
{
    sl_err err = SL_OK;
    if (count > SHADOW_RULES_MAX)
        return SL_OK;
    for (size_t j = 1; j < count && !err; j++) {
        if (rules[j].disabled)
            continue;
        for (size_t i = 0; i < j; i++) {
            char path[64];
            if (rules[i].disabled || rules[i].expires_ns || rules[i].action == monitor ||
                !match_covers(&rules[i].match, &rules[j].match))
                continue;
            snprintf(path, sizeof(path), "%s[%zu]", list, j);
            err = warn(f, path,
                       "the rule \"%.100s\" can never match: \"%.100s\" above it takes every connection; move it up, or remove it",
                       rules[j].name, rules[i].name);
            break;
        }
    }
    return err;
}

/* ---- the rest ---- */

static const char *when(uint64_t ns, char out[static 31])
{
    sl_time_rfc3339(ns, out);
    return out;
}

static bool sounds_temporary(const char *text)
{
    static const char *const WORDS[] = {"tempora", "workaround", "until ", "for now", "troubleshoot", "debug"};
    for (size_t i = 0; i < sizeof(WORDS) / sizeof(WORDS[0]); i++)
        if (strcasestr(text, WORDS[i]))
            return true;
    return false;
}

static sl_err warn_rules(const Sluice__V1__Config *c, uint64_t now_ns, struct sl_findings *f)
{
    char path[64], time[31];
    sl_err err = SL_OK;

    for (size_t i = 0; i < c->n_decryption_rules && !err; i++) {
        const Sluice__V1__DecryptionRule *r = c->decryption_rules[i];
        snprintf(path, sizeof(path), "decryption_rules[%zu]", i);
        if (r->expires_ns && r->expires_ns <= now_ns)
            err = warn(f, path, "the rule \"%.100s\" expired on %s and no longer matches: remove it, or set a new time", r->name,
                       when(r->expires_ns, time));
        else if (!r->disabled && !r->expires_ns && r->action == SLUICE__V1__DECRYPTION_ACTION__DO_NOT_DECRYPT &&
                 (sounds_temporary(r->name) || sounds_temporary(r->comment)))
            err =
                warn(f, path,
                     "the bypass \"%.100s\" reads like a temporary one but never expires: set expires, so that it isn't forgotten",
                     r->name);
    }
    for (size_t i = 0; i < c->n_access_rules && !err; i++) {
        const Sluice__V1__AccessRule *r = c->access_rules[i];
        snprintf(path, sizeof(path), "access_rules[%zu]", i);
        if (r->expires_ns && r->expires_ns <= now_ns)
            err = warn(f, path, "the rule \"%.100s\" expired on %s and no longer matches: remove it, or set a new time", r->name,
                       when(r->expires_ns, time));
    }
    return err;
}

static sl_err warn_empty_objects(const Sluice__V1__Config *c, struct sl_findings *f)
{
    char path[64];
    sl_err err = SL_OK;

    for (size_t i = 0; i < c->n_networks && !err; i++)
        if (c->networks[i]->n_prefixes == 0 && c->networks[i]->n_includes == 0) {
            snprintf(path, sizeof(path), "networks[%zu]", i);
            err = warn(f, path, "\"%s\" is empty, so that rules with it match nothing: add prefixes, or remove it",
                       c->networks[i]->name);
        }
    for (size_t i = 0; i < c->n_services && !err; i++)
        if (c->services[i]->n_ports == 0) {
            snprintf(path, sizeof(path), "services[%zu]", i);
            err = warn(f, path, "\"%s\" is empty, so that rules with it match nothing: add ports, or remove it",
                       c->services[i]->name);
        }
    for (size_t i = 0; i < c->n_hosts && !err; i++)
        if (c->hosts[i]->n_patterns == 0) {
            snprintf(path, sizeof(path), "hosts[%zu]", i);
            err = warn(f, path, "\"%s\" is empty, so that rules with it match nothing: add patterns, or remove it",
                       c->hosts[i]->name);
        }
    return err;
}

static sl_err warn_settings(const Sluice__V1__Settings *s, struct sl_findings *f)
{
    sl_err err = SL_OK;

    if (!s)
        return SL_OK;
    if (s->crypto_profile == SLUICE__V1__CRYPTO_PROFILE__CRYPTO_COMPATIBLE)
        err = warn(f, "settings.crypto_profile",
                   "suites without forward secrecy or AEAD are offered to every server whose client offers them; "
                   "go back to modern once the old servers are gone");
    if (!err && s->trust_name_without_certificate)
        err = warn(f, "settings.trust_name_without_certificate",
                   "a client can escape inspection by asking any server for a name that is bypassed");
    if (!err && s->revocation == SLUICE__V1__REVOCATION_MODE__REVOCATION_OFF)
        err = warn(f, "settings.revocation", "revoked certificates are accepted; soft refuses those that are known to be revoked");
    if (!err && s->on_untrusted_certificate == SLUICE__V1__FAILURE_ACTION__FAIL_BYPASS)
        err = warn(
            f, "settings.on_untrusted_certificate",
            "any server can escape inspection by showing a certificate that nobody trusts; the client still sees that certificate");
    return err;
}

/* Whether a certificate has run out by now_ns. */
static bool certificate_expired(const Sluice__V1__TrustedCertificate *c, uint64_t now_ns)
{
    const unsigned char *p = c->der.data;
    X509 *x509 = d2i_X509(NULL, &p, (long)c->der.len);
    time_t now = (time_t)(now_ns / SL_NS_PER_S);
    bool expired = x509 && X509_cmp_time(X509_get0_notAfter(x509), &now) < 0;
    X509_free(x509);
    return expired;
}

static sl_err warn_certificates(const Sluice__V1__Config *c, uint64_t now_ns, struct sl_findings *f)
{
    char path[64], time[31];
    sl_err err = SL_OK;

    for (size_t i = 0; i < c->n_trusted_certificates && !err; i++) {
        const Sluice__V1__TrustedCertificate *t = c->trusted_certificates[i];
        snprintf(path, sizeof(path), "trusted_certificates[%zu]", i);
        if (t->expires_ns && t->expires_ns <= now_ns)
            err = warn(f, path, "the trust in \"%.100s\" ended on %s: remove it, or set a new time", t->name,
                       when(t->expires_ns, time));
        else if (certificate_expired(t, now_ns))
            err = t->kind == SLUICE__V1__TRUST_KIND__TRUST_ANCHOR
                      ? warn(f, path, "the CA \"%.100s\" has expired, nothing below it is accepted any more: import its successor",
                             t->name)
                      : warn(f, path, "\"%.100s\" has expired and is accepted only because it is pinned: ask for a renewed one",
                             t->name);
    }
    return err;
}

sl_err sl_policy_validate(const Sluice__V1__Config *config, uint64_t now_ns, struct sl_findings *out)
{
    struct sl_policy_snapshot *s = NULL;
    struct sl_diag diag;
    sl_err err;

    *out = (struct sl_findings){0};
    if ((err = sl_policy_check(config, add_error, out)))
        goto Exit;
    if (out->errors == 0) {
        err = sl_policy_snapshot_new(config, 0, &s, &diag);
        if (err == SL_ERR_NOMEM)
            goto Exit;
        if (err && (err = add(out, true, "", diag.text))) /* a limit that only the compiler meets */
            goto Exit;
    }
    if ((err = warn_rules(config, now_ns, out)) || (err = warn_empty_objects(config, out)) ||
        (err = warn_settings(config->settings, out)))
        goto Exit;
    if (s && ((err = warn_shadowed(out, "decryption_rules", s->decryption, s->decryption_count,
                                   SLUICE__V1__DECRYPTION_ACTION__MONITOR)) ||
              (err = warn_shadowed(out, "access_rules", s->access, s->access_count, 0)) ||
              (err = warn_certificates(config, now_ns, out))))
        goto Exit;
Exit:
    if (err)
        sl_findings_free(out);
    sl_policy_snapshot_unref(s);
    return err;
}
