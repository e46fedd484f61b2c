/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Explanation and remedies. An explanation has three parts: who was asked for what, what went wrong, and the fact that tells this
 * case from its neighbours. Which remedies belong to which cause is one table.
 */
#include "event/explain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "event/event.h"
#include "event/render.h"

enum { TEXT_BYTES_MAX = 8192, GAP_SHOWN = 8 };

#define CAUSE(name) SLUICE__V1__CAUSE__##name

/* ---- what is known ---- */

static const char *server_name(const Sluice__V1__Event *e)
{
    return *e->tls->sni ? e->tls->sni : *e->dst->host ? e->dst->host : e->dst->ip;
}

/* The event holds the certificate itself, not only what it says. */
static bool can_be_trusted(const Sluice__V1__ChainCertificate *c)
{
    return strlen(c->sha256) == 64 && c->der.len > 0;
}

static bool has_pin_target(const Sluice__V1__Event *e)
{
    return e->n_server_chain > 0 && can_be_trusted(e->server_chain[0]) && *server_name(e);
}

static bool offered(const Sluice__V1__TlsParameters *p, const char *suite)
{
    for (size_t i = 0; p && i < p->n_ciphers; i++)
        if (strcmp(p->ciphers[i], suite) == 0)
            return true;
    return false;
}

/* Signalling values and GREASE are no suites; TLS 1.3 suites are in every profile. */
static bool is_suite(const char *name)
{
    return strncmp(name, "TLS_", 4) == 0 && !strstr(name, "SCSV");
}

size_t sl_event_cipher_gap(const Sluice__V1__Event *event, const char **out, size_t max)
{
    const Sluice__V1__TlsParameters *client = event->tls ? event->tls->client_offered : NULL;
    size_t n = 0;
    for (size_t i = 0; client && i < client->n_ciphers && n < max; i++)
        if (is_suite(client->ciphers[i]) && !offered(event->tls->server_offered, client->ciphers[i]))
            out[n++] = client->ciphers[i];
    return n;
}

/* ---- explanation ---- */

static sl_err put(struct sl_buf *b, const char *text)
{
    return sl_buf_append(b, text, strlen(text));
}

static sl_err put_peer(struct sl_buf *b, const char *before, const char *text, const char *after)
{
    sl_err err = put(b, before);
    if (!err)
        err = sl_render_escape(b, text);
    return err ? err : put(b, after);
}

static sl_err put_subject(struct sl_buf *b, const Sluice__V1__Event *e)
{
    bool named = *server_name(e) && strcmp(server_name(e), e->dst->ip) != 0;
    sl_err err = put_peer(b, "The connection from ", e->src->ip, " to ");
    if (!err && named)
        err = put_peer(b, "", server_name(e), " (");
    if (!err)
        err = put_peer(b, "", *e->dst->ip ? e->dst->ip : "an unknown address", "");
    if (!err && e->dst->port)
        err = sl_buf_printf(b, " port %u", (unsigned)e->dst->port);
    return !err && named ? put(b, ")") : err;
}

static const Sluice__V1__Alert *received_alert(const Sluice__V1__Event *e)
{
    for (size_t i = 0; i < e->n_alerts; i++)
        if (e->alerts[i]->direction == SLUICE__V1__ALERT_DIRECTION__RECEIVED_FROM_SERVER ||
            e->alerts[i]->direction == SLUICE__V1__ALERT_DIRECTION__RECEIVED_FROM_CLIENT)
            return e->alerts[i];
    return NULL;
}

static sl_err put_certificate_facts(struct sl_buf *b, const Sluice__V1__Event *e)
{
    const Sluice__V1__ChainCertificate *leaf = e->server_chain[0];
    switch ((int)e->cause) {
    case CAUSE(SRV_CERT_EXPIRED):
        return put_peer(b, " It ended on ", leaf->not_after, ".");
    case CAUSE(SRV_CERT_NOT_YET):
        return put_peer(b, " It begins on ", leaf->not_before, ".");
    case CAUSE(SRV_CERT_HOST_MISMATCH):
    case CAUSE(SRV_CERT_IP_MISMATCH): {
        sl_err err = put(b, leaf->n_sans ? " It names" : " It names no host at all");
        for (size_t i = 0; !err && i < leaf->n_sans && i < GAP_SHOWN; i++)
            err = put_peer(b, i ? ", " : " ", leaf->sans[i], "");
        return err ? err : put(b, leaf->n_sans > GAP_SHOWN ? " and others." : ".");
    }
    default:
        return put_peer(b, " Subject ", *leaf->subject ? leaf->subject : "(empty)", "") ||
                       put_peer(b, ", issuer ", leaf->issuer, ".")
                   ? SL_ERR_NOMEM
                   : SL_OK;
    }
}

static sl_err put_facts(struct sl_buf *b, const Sluice__V1__Event *e)
{
    const Sluice__V1__Alert *alert = received_alert(e);
    sl_err err = SL_OK;

    if (sl_cause_is_certificate(e->cause) && e->n_server_chain > 0)
        return put_certificate_facts(b, e);
    if (e->cause == CAUSE(SRV_ALERT_HANDSHAKE_FAILURE)) {
        const char *gap[GAP_SHOWN];
        size_t n = sl_event_cipher_gap(e, gap, GAP_SHOWN);
        err = put(b, e->stage <= SLUICE__V1__STAGE__STAGE_CLIENT_HELLO || e->stage == SLUICE__V1__STAGE__STAGE_SERVER_HELLO
                         ? " Its alert came instead of a ServerHello."
                         : "");
        if (!err && n > 0)
            err = put(b, " The crypto profile kept suites back that the client offers:");
        for (size_t i = 0; !err && i < n; i++)
            err = put_peer(b, i ? ", " : " ", gap[i], "");
        return err || n == 0 ? err : put(b, ".");
    }
    if (alert && !(err = put_peer(b, " It sent the alert ", alert->name, "")))
        err = sl_buf_printf(b, " (%u).", (unsigned)alert->code);
    if (!err && *e->txn->error)
        err = put_peer(b, " (", e->txn->error, ")");
    return err;
}

static sl_err put_outcome(struct sl_buf *b, const Sluice__V1__Event *e)
{
    const char *rule = e->policy && e->policy->decryption ? e->policy->decryption->name : "";
    sl_err err;

    if (e->cause == CAUSE(POLICY_DENY) && e->policy && e->policy->access)
        rule = e->policy->access->name;
    switch (e->type) {
    case SLUICE__V1__EVENT_TYPE__TLS_DECRYPTED:
        err = put(b, " was decrypted and relayed");
        break;
    case SLUICE__V1__EVENT_TYPE__TLS_BYPASSED:
        err = put(b, " was passed unmodified");
        break;
    case SLUICE__V1__EVENT_TYPE__NON_TLS:
        err = put(b, e->cause == CAUSE(CAUSE_NONE) ? " does not speak TLS and was passed unmodified"
                                                   : " does not speak TLS and was ended");
        break;
    case SLUICE__V1__EVENT_TYPE__TLS_BLOCKED:
        err = put_peer(b, " was ended by the rule \"", rule, "\"");
        break;
    default:
        err = put(b, " failed");
        break;
    }
    if (err || e->cause == CAUSE(CAUSE_NONE) || e->type == SLUICE__V1__EVENT_TYPE__TLS_BLOCKED)
        return err ? err : put(b, ".");
    err = put_peer(b, ": ", sl_cause_text(e->cause), ".");
    return err ? err : put_facts(b, e);
}

static sl_err put_decision(struct sl_buf *b, const Sluice__V1__Event *e)
{
    if (e->type != SLUICE__V1__EVENT_TYPE__TLS_BYPASSED || !*e->decision->reason || strcmp(e->decision->reason, "rule") == 0)
        return SL_OK;
    return put_peer(b, " Reason: ", e->decision->reason, ".");
}

sl_err sl_event_explain(Sluice__V1__Event *event)
{
    struct sl_buf text;

    sl_buf_init(&text, TEXT_BYTES_MAX);
    sl_err err = put_subject(&text, event);
    if (!err)
        err = put_outcome(&text, event);
    if (!err)
        err = put_decision(&text, event);
    if (!err || err == SL_ERR_LIMIT) /* a peer's text may be too long: what stands so far is still true */
        err = sl_event_setn(&event->explanation, sl_buf_data(&text), sl_buf_len(&text));
    sl_buf_free(&text);
    return err;
}

/* ---- remedies ---- */

enum {
    PIN = 1 << 0,
    ROOT = 1 << 1,
    BYPASS = 1 << 2,
    PROFILE = 1 << 3,
    INTERMEDIATE = 1 << 4,
    CLOCK = 1 << 5,
    NAME = 1 << 6,
    ADMIN = 1 << 7,
    CLIENT_CERT = 1 << 8,
    INSTALL_CA = 1 << 9,
    CAPTURE = 1 << 10,
    RESIZE = 1 << 11,
    RETRY = 1 << 12,
    RULE = 1 << 13
};

static const struct {
    Sluice__V1__Cause cause;
    unsigned remedies;
} offers[] = {
    {CAUSE(SRV_ALERT_HANDSHAKE_FAILURE), PROFILE | BYPASS | ADMIN},
    {CAUSE(SRV_ALERT_PROTOCOL_VERSION), BYPASS | ADMIN},
    {CAUSE(SRV_ALERT_INSUFFICIENT_SECURITY), BYPASS | ADMIN},
    {CAUSE(SRV_UNRECOGNIZED_NAME), NAME | BYPASS | ADMIN},
    {CAUSE(SRV_NO_ALPN), BYPASS | ADMIN},
    {CAUSE(SRV_CLIENT_CERT_REQUIRED), CLIENT_CERT | BYPASS},
    {CAUSE(SRV_ALERT_OTHER), BYPASS | ADMIN},
    {CAUSE(SRV_EOF), BYPASS | CAPTURE},
    {CAUSE(SRV_RESET), BYPASS | CAPTURE},
    {CAUSE(SRV_UNSUPPORTED_PROTOCOL), BYPASS | ADMIN},
    {CAUSE(SRV_BAD_HANDSHAKE), BYPASS | CAPTURE},
    {CAUSE(SRV_WEAK_PARAMETERS), ADMIN | BYPASS},
    {CAUSE(SRV_NOT_TLS), BYPASS | ADMIN},
    {CAUSE(SRV_CONNECT_REFUSED), ADMIN},
    {CAUSE(SRV_UNREACHABLE), ADMIN},
    {CAUSE(SRV_CERT_SELF_SIGNED), PIN | BYPASS | ADMIN},
    {CAUSE(SRV_CERT_SELF_SIGNED_CHAIN), ROOT | PIN | BYPASS | ADMIN},
    {CAUSE(SRV_CERT_NO_ISSUER), INTERMEDIATE | PIN | BYPASS | ADMIN},
    {CAUSE(SRV_CERT_EXPIRED), CLOCK | PIN | BYPASS | ADMIN},
    {CAUSE(SRV_CERT_NOT_YET), CLOCK | PIN | BYPASS | ADMIN},
    {CAUSE(SRV_CERT_REVOKED), ADMIN},
    {CAUSE(SRV_CERT_REVOCATION_UNKNOWN), BYPASS | ADMIN},
    {CAUSE(SRV_CERT_HOST_MISMATCH), NAME | PIN | BYPASS | ADMIN},
    {CAUSE(SRV_CERT_IP_MISMATCH), NAME | PIN | BYPASS | ADMIN},
    {CAUSE(SRV_CERT_BAD_CA), BYPASS | ADMIN},
    {CAUSE(SRV_CERT_PURPOSE), BYPASS | ADMIN},
    {CAUSE(SRV_CERT_BAD_SIGNATURE), ADMIN},
    {CAUSE(SRV_CERT_WEAK_KEY), BYPASS | ADMIN},
    {CAUSE(SRV_CERT_WEAK_CA_KEY), BYPASS | ADMIN},
    {CAUSE(SRV_CERT_WEAK_MD), BYPASS | ADMIN},
    {CAUSE(SRV_CERT_DISTRUSTED), ADMIN},
    {CAUSE(SRV_CERT_NAME_CONSTRAINT), BYPASS | ADMIN},
    {CAUSE(SRV_CERT_PATH_LENGTH), BYPASS | ADMIN},
    {CAUSE(SRV_CERT_CRITICAL_EXTENSION), BYPASS | ADMIN},
    {CAUSE(SRV_CERT_OWN_CA), RULE},
    {CAUSE(SRV_CERT_TOO_LARGE), BYPASS | ADMIN},
    {CAUSE(SRV_CERT_OTHER), BYPASS | ADMIN},
    {CAUSE(CLI_ALERT_UNKNOWN_CA), INSTALL_CA | BYPASS},
    {CAUSE(CLI_ALERT_BAD_CERT), INSTALL_CA | BYPASS},
    {CAUSE(CLI_ALERT_OTHER), BYPASS | CAPTURE},
    {CAUSE(CLI_NO_SHARED_CIPHER), PROFILE | BYPASS},
    {CAUSE(CLI_UNSUPPORTED_VERSION), BYPASS},
    {CAUSE(CLI_BAD_HANDSHAKE), BYPASS | CAPTURE},
    {CAUSE(CLI_EOF), INSTALL_CA | BYPASS},
    {CAUSE(CLI_ECH_ONLY), BYPASS},
    {CAUSE(REC_BAD_MAC), CAPTURE},
    {CAUSE(REC_PROTOCOL), BYPASS | CAPTURE},
    {CAUSE(RES_TABLE_FULL), RESIZE},
    {CAUSE(RES_OVERLOAD), RESIZE},
    {CAUSE(RES_CLIENT_LIMIT), RESIZE},
    {CAUSE(RES_MEMORY), RESIZE},
    {CAUSE(TIMEOUT_CONNECT), ADMIN},
    {CAUSE(TIMEOUT_SERVER_HANDSHAKE), BYPASS | ADMIN},
    {CAUSE(POLICY_BLOCK), RULE},
    {CAUSE(POLICY_DENY), RULE},
    {CAUSE(POLICY_NON_TLS), RULE},
    {CAUSE(LOOP_DETECTED), RULE},
};

/* A root that came with the chain: the last certificate, a CA by its own word (validation at commit insists on that). */
static const Sluice__V1__ChainCertificate *presented_root(const Sluice__V1__Event *e)
{
    const Sluice__V1__ChainCertificate *last = e->n_server_chain > 1 ? e->server_chain[e->n_server_chain - 1] : NULL;
    return last && strcmp(last->subject, last->issuer) == 0 && can_be_trusted(last) ? last : NULL;
}

/* Would the compatible profile have offered something that this one kept back? */
static bool profile_would_help(const Sluice__V1__Event *e)
{
    const char *gap[64];
    size_t n = sl_event_cipher_gap(e, gap, sizeof gap / sizeof gap[0]);
    for (size_t i = 0; i < n; i++)
        if (strstr(gap[i], "_WITH_AES_") && !strstr(gap[i], "PSK") && !strstr(gap[i], "anon") && !strstr(gap[i], "CCM") &&
            (strstr(gap[i], "GCM") || strncmp(gap[i], "TLS_ECDHE", 9) == 0))
            return true;
    return false;
}

static unsigned offered_remedies(const Sluice__V1__Event *e)
{
    unsigned mask = 0;
    for (size_t i = 0; i < sizeof offers / sizeof offers[0]; i++)
        if (offers[i].cause == e->cause)
            mask = offers[i].remedies;
    if (!has_pin_target(e))
        mask &= ~(unsigned)PIN;
    if (!presented_root(e))
        mask &= ~(unsigned)ROOT;
    if (!*e->dst->ip)
        mask &= ~(unsigned)BYPASS;
    if (!profile_would_help(e))
        mask &= ~(unsigned)PROFILE;
    return mask;
}

static sl_err add(Sluice__V1__Event *e, const char *id, const char *title, const char *command, const char *caution)
{
    Sluice__V1__Remedy **more = realloc(e->remedies, (e->n_remedies + 1) * sizeof(Sluice__V1__Remedy *));
    Sluice__V1__Remedy *r = malloc(sizeof *r);

    if (more)
        e->remedies = more;
    if (!more || !r) {
        free(r);
        return SL_ERR_NOMEM;
    }
    sluice__v1__remedy__init(r);
    e->remedies[e->n_remedies++] = r;
    sl_err err = sl_event_set(&r->id, id);
    if (!err)
        err = sl_event_set(&r->title, title);
    if (!err)
        err = sl_event_set(&r->command, command);
    return err ? err : sl_event_set(&r->caution, caution);
}

static sl_err add_command(Sluice__V1__Event *e, const char *id, const char *arguments, const char *title, const char *caution)
{
    char command[256];
    if (e->id)
        snprintf(command, sizeof command, "sluicectl event fix %llu %s%s", (unsigned long long)e->id, id, arguments);
    else
        snprintf(command, sizeof command, "sluicectl event fix ID %s%s", id, arguments);
    return add(e, id, title, command, caution);
}

static sl_err add_trust(Sluice__V1__Event *e, unsigned mask)
{
    char arguments[64];
    sl_err err = SL_OK;

    if (mask & ROOT) {
        snprintf(arguments, sizeof arguments, " --confirm %.16s", presented_root(e)->sha256);
        err = add_command(e, "add-private-root", arguments, "Trust the private root that the server sent, for every server.",
                          "Confirm the root's SHA-256 with its owner by another way first: it can then vouch for any name.");
    }
    if (!err && (mask & PIN)) {
        snprintf(arguments, sizeof arguments, " --confirm %.16s", e->server_chain[0]->sha256);
        err = add_command(e, "pin-certificate", arguments, "Trust exactly this certificate for this host and port.",
                          "Confirm the SHA-256 with the server's owner by another way first: whoever answered sent it.");
    }
    return err;
}

static sl_err add_advice(Sluice__V1__Event *e, unsigned mask)
{
    static const struct {
        unsigned bit;
        const char *id, *title;
    } advice[] = {
        {CLOCK, "check-clock", "Check the clock of this gateway: the certificate's dates are judged by it."},
        {NAME, "check-name", "Check that the client asks for a name that this server serves."},
        {INTERMEDIATE, "add-intermediate", "Ask the server's administrator to send the intermediate certificates, too."},
        {CLIENT_CERT, "attach-client-certificate", "The server wants to know the client: such a connection can only be bypassed."},
        {INSTALL_CA, "install-decryption-ca",
         "Install the decryption CA on the client ('sluicectl ca export'). An application that pins its certificates must be "
         "bypassed."},
        {CAPTURE, "capture",
         "Capture the connection at the gateway's outside interface and look at it with the server's administrator."},
        {RESIZE, "resize", "Raise the limits in the settings (max_connections, max_connections_per_client) or add memory."},
        {RETRY, "wait", "Try again later."},
        {RULE, "review-rule", "Review the rule or setting named above: it did what it says."},
        {ADMIN, "contact-server-admin", "Show this event to the server's administrator."},
    };
    sl_err err = SL_OK;
    for (size_t i = 0; !err && i < sizeof advice / sizeof advice[0]; i++)
        if (mask & advice[i].bit)
            err = add(e, advice[i].id, advice[i].title, "", "");
    return err;
}

sl_err sl_event_remedies(Sluice__V1__Event *event)
{
    unsigned mask = offered_remedies(event);

    for (size_t i = 0; i < event->n_remedies; i++)
        sluice__v1__remedy__free_unpacked(event->remedies[i], NULL);
    free(event->remedies);
    event->remedies = NULL;
    event->n_remedies = 0;
    sl_err err = add_trust(event, mask);
    if (!err && (mask & PROFILE))
        err = add_command(
            event, "use-compatible-profile", "", "Offer more cipher suites to every server, where the client itself offers them.",
            "The added suites are weaker: CBC, or key exchange without forward secrecy. Prefer a bypass for a single server.");
    if (!err && (mask & BYPASS))
        err = add_command(event, "bypass-server", " --for 1h", "Do not decrypt connections to this server for an hour.",
                          "Nothing that passes is inspected. The rule ends by itself; --for takes up to 30d.");
    return err ? err : add_advice(event, mask);
}
