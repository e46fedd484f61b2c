/* SPDX-License-Identifier: Apache-2.0 */
/* Applying a remedy: the one place where an event changes a configuration. What is added is complete before it is attached. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "event/event.h"
#include "event/explain.h"
#include "rpc/message.h"

enum { NAME_BYTES = 128 };

static const Sluice__V1__Remedy *find_offer(const Sluice__V1__Event *e, const char *id)
{
    for (size_t i = 0; i < e->n_remedies; i++)
        if (strcmp(e->remedies[i]->id, id) == 0)
            return e->remedies[i];
    return NULL;
}

/* The operator has compared at least SL_REMEDY_CONFIRM_DIGITS digits; colons, blanks and case don't matter. */
static sl_err confirmed(const char *given, const char *sha256, struct sl_diag *diag)
{
    size_t n = 0;
    for (const char *c = given ? given : ""; *c; c++) {
        if (*c == ':' || *c == ' ')
            continue;
        if (n >= 64 || tolower((unsigned char)*c) != sha256[n])
            return sl_fail(diag, SL_ERR_DENIED, "the fingerprint does not match: the event's certificate has SHA-256 %s", sha256);
        n++;
    }
    if (n >= SL_REMEDY_CONFIRM_DIGITS)
        return SL_OK;
    return sl_fail(diag, SL_ERR_DENIED,
                   "confirm the SHA-256 %s with the server's owner, then give at least its first %d digits: --confirm %.16s",
                   sha256, SL_REMEDY_CONFIRM_DIGITS, sha256);
}

/* ---- trust ---- */

static sl_err fill_certificate(Sluice__V1__TrustedCertificate *t, const Sluice__V1__ChainCertificate *cert, const char *name,
                               const char *comment)
{
    t->der.data = malloc(cert->der.len);
    if (!t->der.data)
        return SL_ERR_NOMEM;
    memcpy(t->der.data, cert->der.data, cert->der.len);
    t->der.len = cert->der.len;
    sl_err err = sl_event_set(&t->name, name);
    if (!err)
        err = sl_event_set(&t->sha256, cert->sha256);
    return err ? err : sl_event_set(&t->comment, comment);
}

static sl_err fill_target(Sluice__V1__TrustedCertificate *t, const Sluice__V1__Event *e)
{
    const char *host = *e->tls->sni ? e->tls->sni : *e->dst->host ? e->dst->host : e->dst->ip;
    sl_err err = sl_event_append(&t->hosts, &t->n_hosts, host);
    if (err)
        return err;
    t->ports = malloc(sizeof *t->ports);
    if (!t->ports)
        return SL_ERR_NOMEM;
    t->ports[t->n_ports++] = e->dst->port;
    return SL_OK;
}

static bool same_pin(const Sluice__V1__TrustedCertificate *a, const Sluice__V1__TrustedCertificate *b)
{
    if (a->kind != b->kind || strcmp(a->sha256, b->sha256) != 0)
        return false;
    return a->kind == SLUICE__V1__TRUST_KIND__TRUST_ANCHOR ||
           (a->n_hosts == b->n_hosts && a->n_ports == b->n_ports && a->n_hosts == 1 && strcmp(a->hosts[0], b->hosts[0]) == 0 &&
            a->ports[0] == b->ports[0]);
}

/* A pin without an end of its own ends with its certificate; one for a certificate outside its dates needs an end, or it would
 * never hold. */
static uint64_t pin_end(const Sluice__V1__Event *e, const struct sl_remedy_params *params)
{
    bool dates = e->cause == SLUICE__V1__CAUSE__SRV_CERT_EXPIRED || e->cause == SLUICE__V1__CAUSE__SRV_CERT_NOT_YET;
    uint64_t seconds = params->duration_s ? params->duration_s : dates ? SL_REMEDY_BYPASS_MAX_S : 0;
    return seconds ? params->now_ns + seconds * SL_NS_PER_S : 0;
}

static sl_err trust(Sluice__V1__Config *config, const Sluice__V1__Event *e, const Sluice__V1__ChainCertificate *cert,
                    Sluice__V1__TrustKind kind, const struct sl_remedy_params *params, struct sl_diag *done, struct sl_diag *diag)
{
    if (cert->der.len == 0)
        return sl_fail(diag, SL_ERR_INVALID,
                       "the event does not hold the certificate: import it from the server's owner ('sluicectl cert import')");
    Sluice__V1__TrustedCertificate *t = malloc(sizeof *t);
    char name[NAME_BYTES];
    if (!t)
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    sl_err err =
        params->duration_s > SL_REMEDY_BYPASS_MAX_S
            ? sl_fail(diag, SL_ERR_INVALID, "a remedy may last 30 days at most; 'sluicectl cert import' makes a lasting pin")
            : confirmed(params->confirm_sha256, cert->sha256, diag);
    if (err) {
        free(t);
        return err;
    }
    sluice__v1__trusted_certificate__init(t);
    t->kind = kind;
    snprintf(name, sizeof name, "event-%llu-%.8s", (unsigned long long)e->id, cert->sha256);
    err = fill_certificate(t, cert, name, params->comment ? params->comment : "");
    if (!err && kind == SLUICE__V1__TRUST_KIND__TRUST_PIN) {
        t->expires_ns = pin_end(e, params);
        err = fill_target(t, e);
    }
    for (size_t i = 0; !err && i < config->n_trusted_certificates; i++)
        if (same_pin(config->trusted_certificates[i], t))
            err = sl_fail(diag, SL_ERR_EXISTS, "this certificate is trusted so already, as \"%s\"",
                          config->trusted_certificates[i]->name);
    Sluice__V1__TrustedCertificate **more = NULL;
    if (!err && !(more = realloc(config->trusted_certificates,
                                 (config->n_trusted_certificates + 1) * sizeof(Sluice__V1__TrustedCertificate *))))
        err = SL_ERR_NOMEM;
    if (err) {
        sl_rpc_message_free(&t->base);
        return err == SL_ERR_NOMEM ? sl_fail(diag, err, "out of memory") : err;
    }
    config->trusted_certificates = more;
    more[config->n_trusted_certificates++] = t;
    if (kind == SLUICE__V1__TRUST_KIND__TRUST_PIN)
        sl_fail(done, SL_OK, "Certificate %.16s… is trusted for %s port %u, as \"%s\".", t->sha256, t->hosts[0],
                (unsigned)t->ports[0], name);
    else
        sl_fail(done, SL_OK, "The root %.16s… is trusted for every server, as \"%s\".", t->sha256, name);
    return SL_OK;
}

/* ---- bypass ---- */

static sl_err fill_rule(Sluice__V1__DecryptionRule *r, const Sluice__V1__Event *e, uint64_t expires_ns, const char *comment)
{
    char port[16];

    r->match = malloc(sizeof *r->match);
    if (!r->match)
        return SL_ERR_NOMEM;
    sluice__v1__match__init(r->match);
    r->action = SLUICE__V1__DECRYPTION_ACTION__DO_NOT_DECRYPT;
    r->expires_ns = expires_ns;
    snprintf(port, sizeof port, "%u", (unsigned)e->dst->port);
    sl_err err = sl_event_setf(&r->name, "bypass-event-%llu", (unsigned long long)e->id);
    if (!err)
        err = sl_event_append(&r->match->destinations, &r->match->n_destinations, e->dst->ip);
    if (!err && e->dst->port)
        err = sl_event_append(&r->match->services, &r->match->n_services, port);
    return err ? err : sl_event_set(&r->comment, comment);
}

static sl_err bypass(Sluice__V1__Config *config, const Sluice__V1__Event *e, const struct sl_remedy_params *params,
                     struct sl_diag *done, struct sl_diag *diag)
{
    uint64_t seconds = params->duration_s ? params->duration_s : SL_REMEDY_BYPASS_DEFAULT_S;
    char until[31];

    if (seconds > SL_REMEDY_BYPASS_MAX_S)
        return sl_fail(diag, SL_ERR_INVALID,
                       "a bypass may last 30 days at most; for a lasting one add a rule ('sluicectl rule add')");
    uint64_t expires_ns = params->now_ns + seconds * SL_NS_PER_S;
    Sluice__V1__DecryptionRule *r = malloc(sizeof *r);
    if (!r)
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    sluice__v1__decryption_rule__init(r);
    sl_err err = fill_rule(r, e, expires_ns, params->comment ? params->comment : "temporary bypass");
    for (size_t i = 0; !err && i < config->n_decryption_rules; i++)
        if (strcmp(config->decryption_rules[i]->name, r->name) == 0)
            err = sl_fail(diag, SL_ERR_EXISTS, "there is a rule \"%s\" already: remove it first ('sluicectl rule remove %s')",
                          r->name, r->name);
    Sluice__V1__DecryptionRule **more = NULL;
    if (!err &&
        !(more = realloc(config->decryption_rules, (config->n_decryption_rules + 1) * sizeof(Sluice__V1__DecryptionRule *))))
        err = SL_ERR_NOMEM;
    if (err) {
        sl_rpc_message_free(&r->base);
        return err == SL_ERR_NOMEM ? sl_fail(diag, err, "out of memory") : err;
    }
    config->decryption_rules = more;
    memmove(more + 1, more, config->n_decryption_rules * sizeof(Sluice__V1__DecryptionRule *));
    more[0] = r;
    config->n_decryption_rules++;
    sl_time_rfc3339(expires_ns, until);
    sl_fail(done, SL_OK, "Connections to %s port %u are not decrypted until %.19sZ, by the rule \"%s\" on top.", e->dst->ip,
            (unsigned)e->dst->port, until, r->name);
    return SL_OK;
}

/* ---- profile ---- */

static sl_err compatible(Sluice__V1__Config *config, struct sl_diag *done, struct sl_diag *diag)
{
    if (!config->settings) {
        config->settings = malloc(sizeof *config->settings);
        if (!config->settings)
            return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
        sluice__v1__settings__init(config->settings);
    }
    if (config->settings->crypto_profile == SLUICE__V1__CRYPTO_PROFILE__CRYPTO_COMPATIBLE)
        return sl_fail(diag, SL_ERR_EXISTS, "the compatible profile is in force already");
    config->settings->crypto_profile = SLUICE__V1__CRYPTO_PROFILE__CRYPTO_COMPATIBLE;
    sl_fail(done, SL_OK, "The crypto profile is now compatible, for every server.");
    return SL_OK;
}

sl_err sl_remedy_apply(Sluice__V1__Config *config, const Sluice__V1__Event *event, const char *remedy_id,
                       const struct sl_remedy_params *params, struct sl_diag *done, struct sl_diag *diag)
{
    const Sluice__V1__Remedy *offer = find_offer(event, remedy_id);

    if (!offer)
        return sl_fail(diag, SL_ERR_NOT_FOUND,
                       "the event %llu has no remedy \"%.64s\": 'sluicectl event fix %llu' lists what it has",
                       (unsigned long long)event->id, remedy_id, (unsigned long long)event->id);
    if (!*offer->command)
        return sl_fail(diag, SL_ERR_UNSUPPORTED, "\"%s\" is advice: %s", remedy_id, offer->title);
    if (strcmp(remedy_id, "pin-certificate") == 0 && event->n_server_chain > 0)
        return trust(config, event, event->server_chain[0], SLUICE__V1__TRUST_KIND__TRUST_PIN, params, done, diag);
    if (strcmp(remedy_id, "add-private-root") == 0 && event->n_server_chain > 0)
        return trust(config, event, event->server_chain[event->n_server_chain - 1], SLUICE__V1__TRUST_KIND__TRUST_ANCHOR, params,
                     done, diag);
    if (strcmp(remedy_id, "bypass-server") == 0)
        return bypass(config, event, params, done, diag);
    if (strcmp(remedy_id, "use-compatible-profile") == 0)
        return compatible(config, done, diag);
    return sl_fail(diag, SL_ERR_UNSUPPORTED, "\"%s\" can't be applied by this version", remedy_id);
}
