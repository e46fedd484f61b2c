/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/server_leg.h"

#include <openssl/evp.h>
#include <openssl/tls1.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tls/context_internal.h"
#include "tls/server_leg_internal.h"

#define CAUSE(name) SLUICE__V1__CAUSE__##name

/* ---- options ---- */

static char *copy_text(const char *text)
{
    return text && text[0] ? strdup(text) : NULL;
}

static bool copy_options(struct sl_server_leg *leg, const struct sl_server_leg_options *o)
{
    const char *host = o->host && o->host[0] ? o->host : o->sni && o->sni[0] ? o->sni : o->address;

    leg->options = *o;
    leg->options.offer = NULL;
    leg->options.sni = leg->sni = copy_text(o->sni);
    leg->options.host = leg->host = copy_text(host);
    leg->options.address = leg->address = copy_text(o->address);
    leg->options.trust = sl_trust_ref(o->trust);
    return (leg->sni || !o->sni || !o->sni[0]) && (leg->host || !host || !host[0]) &&
           (leg->address || !o->address || !o->address[0]);
}

/* ---- the key of a session: everything that its verdict depended on (V11) ---- */

static sl_err session_key(const struct sl_server_leg_options *o, const struct sl_offer *offer, const char *host,
                          uint8_t key[static SL_SESSION_KEY_BYTES])
{
    struct sl_trust_info trust;
    struct sl_buf text;
    sl_err err;

    sl_trust_info(o->trust, &trust);
    sl_buf_init(&text, 16384);
    err = sl_buf_printf(&text, "%s|%u|%s|%s|%llu|%llu|%llu|%llu|%s|%d|%d|", o->address ? o->address : "", o->port,
                        o->sni ? o->sni : "", host ? host : "", (unsigned long long)o->rule_id,
                        (unsigned long long)o->config_version, (unsigned long long)trust.policy_version,
                        (unsigned long long)trust.loaded_ns, trust.bundle_sha256, (int)o->revocation, o->present_untrusted);
    if (!err)
        err = sl_buf_append(&text, offer->hash, sizeof offer->hash);
    if (!err && !EVP_Q_digest(NULL, "SHA256", NULL, sl_buf_data(&text), sl_buf_len(&text), key, NULL))
        err = SL_ERR_CRYPTO;
    sl_buf_free(&text);
    return err;
}

static void resume_if_possible(struct sl_server_leg *leg)
{
    struct sl_tls_context *c = leg->base.context;
    SSL_SESSION *session = NULL;

    if (leg->options.no_resumption)
        return;
    if (sl_sessions_take(c->sessions, leg->session_key, sl_tls_wall_ns(c), &session, &leg->earlier) != SL_OK) {
        c->stats.upstream_session_misses++;
        return;
    }
    leg->has_earlier = SSL_set_session(leg->base.ssl, session) == 1;
    SSL_SESSION_free(session);
    c->stats.upstream_session_hits++;
}

/* Called by OpenSSL for every session that can be resumed. Returns 0: the reference stays OpenSSL's. */
static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct sl_server_leg *leg = (struct sl_server_leg *)sl_leg_of(ssl);
    struct sl_tls_context *c = leg->base.context;
    const struct sl_verdict *verdict = sl_server_leg_verdict(leg);

    if (leg->options.no_resumption || !verdict || !sl_verdict_good(verdict) || !SSL_SESSION_is_resumable(session))
        return 0;
    uint64_t now = sl_tls_wall_ns(c), lifetime = c->shared->options.session_lifetime_s;
    uint64_t hint = SSL_SESSION_get_ticket_lifetime_hint(session);
    if (hint > 0 && hint < lifetime)
        lifetime = hint;
    uint64_t until = now + lifetime * SL_NS_PER_S;
    if (verdict->valid_until_ns < until)
        until = verdict->valid_until_ns;
    if (until > now)
        (void)sl_sessions_put(c->sessions, leg->session_key, session, verdict, until);
    return 0;
}

/* ---- verification ---- */

/* OpenSSL chooses the alert by its own error code. */
static int code_for_alert(uint8_t alert)
{
    switch (alert) {
    case SSL_AD_CERTIFICATE_EXPIRED:
        return X509_V_ERR_CERT_HAS_EXPIRED;
    case SSL_AD_CERTIFICATE_REVOKED:
        return X509_V_ERR_CERT_REVOKED;
    case SSL_AD_UNKNOWN_CA:
        return X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
    case SSL_AD_BAD_CERTIFICATE:
        return X509_V_ERR_CERT_REJECTED;
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
        return X509_V_ERR_INVALID_PURPOSE;
    case SSL_AD_DECRYPT_ERROR:
        return X509_V_ERR_CERT_SIGNATURE_FAILURE;
    case SSL_AD_INTERNAL_ERROR:
        return X509_V_ERR_OUT_OF_MEM;
    default:
        return X509_V_ERR_UNSPECIFIED; /* certificate_unknown */
    }
}

static bool judge(struct sl_server_leg *leg, X509 *leaf, const STACK_OF(X509) * presented)
{
    const struct sl_clock *clock = leg->base.context->shared->clock;
    size_t staple_len = 0;
    const uint8_t *staple = sl_server_leg_staple(leg, &staple_len);
    uint64_t start = clock->mono_ns(clock->arg);
    struct sl_verify_request request = {.trust = leg->options.trust,
                                        .leaf = leaf,
                                        .presented = presented,
                                        .host = leg->options.host,
                                        .address = leg->options.address,
                                        .port = leg->options.port,
                                        .staple = staple,
                                        .staple_len = staple_len,
                                        .revocation = leg->options.revocation};

    if (leg->has_verdict)
        sl_verdict_release(&leg->verdict);
    leg->has_verdict = true;
    sl_err err = sl_verify(leg->options.verifier, &request, &leg->verdict);
    leg->verify_ns += clock->mono_ns(clock->arg) - start;
    if (err) {
        leg->base.info.cause = err == SL_ERR_NOMEM ? CAUSE(RES_MEMORY) : CAUSE(INTERNAL_ERROR);
        return false;
    }
    if (sl_verdict_good(&leg->verdict) || leg->options.present_untrusted)
        return true;
    leg->base.info.cause = leg->verdict.cause;
    return false;
}

/* In TLS 1.2 the staple comes in a message of its own after the chain: a verdict that hangs on it waits for on_status. */
static bool staple_may_follow(const struct sl_server_leg *leg)
{
    return SSL_version(leg->base.ssl) == SL_TLS12 && leg->options.revocation != SL_REVOCATION_OFF;
}

static int on_chain(X509_STORE_CTX *store, void *arg)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct sl_server_leg *leg = (struct sl_server_leg *)sl_leg_of(ssl);
    enum sl_revocation_mode mode = leg->options.revocation;
    (void)arg;

    leg->base.info.stage = SLUICE__V1__STAGE__STAGE_VERIFY;
    leg->awaits_staple = staple_may_follow(leg);
    if (leg->awaits_staple)
        leg->options.revocation = SL_REVOCATION_SOFT;
    bool good = judge(leg, X509_STORE_CTX_get0_cert(store), X509_STORE_CTX_get0_untrusted(store));
    leg->options.revocation = mode;
    if (!good) {
        X509_STORE_CTX_set_error(store, code_for_alert(leg->has_verdict && leg->verdict.cause != CAUSE(CAUSE_NONE)
                                                           ? sl_verify_cause_alert(leg->verdict.cause)
                                                           : SSL_AD_INTERNAL_ERROR));
        return 0;
    }
    leg->base.info.stage = SLUICE__V1__STAGE__STAGE_KEY_EXCHANGE;
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
}

/* The whole flight of the server is there, with the staple if there is one. 0: bad_certificate_status_response goes out. */
static int on_status(SSL *ssl, void *arg)
{
    struct sl_server_leg *leg = (struct sl_server_leg *)sl_leg_of(ssl);
    X509 *leaf = SSL_get0_peer_certificate(ssl);
    (void)arg;

    if (!leg->awaits_staple || !leaf)
        return 1;
    leg->awaits_staple = false;
    leg->base.info.stage = SLUICE__V1__STAGE__STAGE_VERIFY;
    if (!judge(leg, leaf, SSL_get_peer_cert_chain(ssl)))
        return 0;
    leg->base.info.stage = SLUICE__V1__STAGE__STAGE_FINISHED;
    return 1;
}

/* ---- client certificate (V16) ---- */

static int on_client_cert(SSL *ssl, X509 **cert, EVP_PKEY **key)
{
    struct sl_server_leg *leg = (struct sl_server_leg *)sl_leg_of(ssl);
    (void)cert;
    (void)key;
    leg->base.info.client_cert_requested = true;
    return leg->answer_without_cert ? 0 : -1; /* -1 suspends the handshake here */
}

void sl_server_leg_no_client_cert(struct sl_server_leg *leg)
{
    leg->answer_without_cert = true;
}

/* ---- context ---- */

sl_err sl_server_ctx_make(const struct sl_offer *offer, struct sl_tls_context *c, SSL_CTX **out)
{
    SSL_CTX *ctx = NULL;
    sl_err err = sl_tls_ctx_new(offer->version_min, offer->version_max, &ctx);

    if (err)
        return err;
    err = sl_tls_ctx_set_suites(ctx, offer->suites, offer->suite_count);
    if (!err)
        err = sl_tls_ctx_set_groups(ctx, offer->groups, offer->group_count);
    if (!err)
        err = sl_tls_ctx_set_sigalgs(ctx, offer->sigalgs, offer->sigalg_count);
    if (!err && offer->alpn_len > 0 && SSL_CTX_set_alpn_protos(ctx, offer->alpn, (unsigned)offer->alpn_len) != 0)
        err = SL_ERR_CRYPTO;
    if (err) {
        SSL_CTX_free(ctx);
        return err;
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, on_chain, NULL);
    SSL_CTX_set_client_cert_cb(ctx, on_client_cert);
    SSL_CTX_set_tlsext_status_type(ctx, TLSEXT_STATUSTYPE_ocsp);
    SSL_CTX_set_tlsext_status_cb(ctx, on_status);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_new_session);
    SSL_CTX_set_timeout(ctx, (long)c->shared->options.session_lifetime_s);
    *out = ctx;
    return SL_OK;
}

/* ---- life ---- */

sl_err sl_server_leg_new(struct sl_tls_context *context, const struct sl_server_leg_options *options, struct sl_server_leg **out)
{
    struct sl_server_leg *leg = NULL;
    SSL_CTX *ctx = NULL;
    sl_err err;

    if (!options->offer || options->offer->suite_count == 0 || !options->verifier || !options->trust)
        return SL_ERR_INVALID;
    leg = calloc(1, sizeof *leg);
    if (!leg)
        return SL_ERR_NOMEM;
    err = copy_options(leg, options) ? SL_OK : SL_ERR_NOMEM;
    if (!err)
        err = session_key(options, options->offer, leg->host, leg->session_key);
    if (!err)
        err = sl_server_ctx_get(context, options->offer, &ctx);
    if (!err)
        err = sl_leg_init(&leg->base, context, ctx, false);
    if (err)
        goto Exit;
    if (leg->sni && !SSL_set_tlsext_host_name(leg->base.ssl, leg->sni)) {
        err = SL_ERR_CRYPTO;
        goto Exit;
    }
    if (options->offer->fallback_scsv)
        SSL_set_mode(leg->base.ssl, SSL_MODE_SEND_FALLBACK_SCSV);
    resume_if_possible(leg);
Exit:
    if (err)
        sl_server_leg_free(leg);
    else
        *out = leg;
    return err;
}

void sl_server_leg_free(struct sl_server_leg *leg)
{
    if (!leg)
        return;
    sl_record_free(leg->peek);
    sl_leg_destroy(&leg->base);
    if (leg->has_verdict)
        sl_verdict_release(&leg->verdict);
    sl_verdict_release(&leg->earlier);
    sl_trust_unref(leg->options.trust);
    X509_free(leg->certificate);
    free(leg->sni);
    free(leg->host);
    free(leg->address);
    free(leg);
}

struct sl_leg *sl_server_leg_base(struct sl_server_leg *leg)
{
    return &leg->base;
}

/* ---- what is known ---- */

const struct sl_verdict *sl_server_leg_verdict(const struct sl_server_leg *leg)
{
    if (leg->has_verdict)
        return &leg->verdict;
    if (leg->has_earlier && (leg->base.ssl ? SSL_session_reused(leg->base.ssl) : leg->base.info.resumed))
        return &leg->earlier;
    return NULL;
}

X509 *sl_server_leg_certificate(const struct sl_server_leg *leg)
{
    return leg->base.ssl ? SSL_get0_peer_certificate(leg->base.ssl) : leg->certificate;
}

const uint8_t *sl_server_leg_staple(const struct sl_server_leg *leg, size_t *len)
{
    unsigned char *staple = NULL;
    long n = leg->base.ssl ? SSL_get_tlsext_status_ocsp_resp(leg->base.ssl, &staple) : -1;
    *len = n > 0 && staple ? (size_t)n : 0;
    return *len > 0 ? staple : NULL;
}

uint64_t sl_server_leg_verify_ns(const struct sl_server_leg *leg)
{
    return leg->verify_ns;
}
