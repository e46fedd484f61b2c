/* SPDX-License-Identifier: Apache-2.0 */
/* Making the two legs: which name the server must prove, how its chain is judged, which leaf the client is shown. */
#include "gateway/flow_state.h"

#include "pki/ca.h"
#include "pki/leaf_cache.h"
#include "pki/mint.h"
#include "policy/snapshot.h"

static const Sluice__V1__Settings *settings(const struct sl_flow *f)
{
    return sl_policy_settings(f->runtime->policy);
}

/* What the client asked for: the name in its ClientHello, else the CONNECT host, else the address. */
static const char *expected_host(const struct sl_flow *f, char buf[static SL_ENDPOINT_TEXT])
{
    const struct sl_client_hello *hello = sl_hello_reader_hello(f->handshake->reader);
    if (hello->sni[0])
        return hello->sni;
    return f->host ? f->host : sl_endpoint_address(&f->server_at, buf);
}

static enum sl_revocation_mode revocation(const struct sl_flow *f)
{
    switch (settings(f)->revocation) {
    case SLUICE__V1__REVOCATION_MODE__REVOCATION_OFF:
        return SL_REVOCATION_OFF;
    case SLUICE__V1__REVOCATION_MODE__REVOCATION_HARD:
        return SL_REVOCATION_HARD;
    default:
        return SL_REVOCATION_SOFT;
    }
}

sl_err sl_handshake_new_server_leg(struct sl_flow *f)
{
    const struct sl_client_hello *hello = sl_hello_reader_hello(f->handshake->reader);
    char address[SL_ENDPOINT_TEXT], host[SL_ENDPOINT_TEXT];
    struct sl_server_leg_options options = {.offer = &f->handshake->offer,
                                            .sni = hello->sni[0] ? hello->sni : NULL,
                                            .verifier = f->worker->gateway->verifier,
                                            .trust = f->runtime->trust,
                                            .host = expected_host(f, host),
                                            .address = sl_endpoint_address(&f->server_at, address),
                                            .port = sl_endpoint_port(&f->server_at),
                                            .revocation = revocation(f),
                                            .present_untrusted = f->plan == SL_PLAN_DECRYPT &&
                                                                 settings(f)->on_untrusted_certificate ==
                                                                     SLUICE__V1__FAILURE_ACTION__FAIL_PRESENT_UNTRUSTED,
                                            .no_resumption = f->plan == SL_PLAN_CONFIRM_NAME,
                                            .rule_id = f->rule_id,
                                            .config_version = sl_policy_version(f->runtime->policy)};
    return sl_server_leg_new(f->worker->tls, &options, &f->handshake->server_leg);
}

sl_err sl_handshake_new_client_leg(struct sl_flow *f, Sluice__V1__Cause *cause)
{
    const struct sl_client_hello *hello = sl_hello_reader_hello(f->handshake->reader);
    const struct sl_leg_info *server = sl_leg_info(sl_server_leg_base(f->handshake->server_leg));
    const struct sl_verdict *verdict = sl_server_leg_verdict(f->handshake->server_leg);
    char host[SL_ENDPOINT_TEXT];
    struct sl_leaf *leaf = NULL;
    bool cached = false;

    enum sl_leaf_key_type key;
    sl_err err = sl_client_leg_leaf_key(hello, server->version, server->suite, f->handshake->offer.profile, &key);
    if (err) {
        *cause = SLUICE__V1__CAUSE__CLI_NO_SHARED_CIPHER;
        return err;
    }
    struct sl_mint_request request = {.ca = sl_verdict_good(verdict) ? f->runtime->ca : f->runtime->untrusted_ca,
                                      .upstream = sl_server_leg_certificate(f->handshake->server_leg),
                                      .verdict = verdict,
                                      .host = expected_host(f, host),
                                      .key_type = key};
    err = sl_leaf_cache_get(f->worker->leaves, f->worker->gateway->minter, &request, f->rule_id, f->runtime->generation, &leaf,
                            &cached);
    if (err)
        return err;
    sl_report_leaf(f, leaf, cached);
    struct sl_client_leg_options options = {.hello = hello,
                                            .profile = f->handshake->offer.profile,
                                            .version = server->version,
                                            .server_suite = server->suite,
                                            .alpn = server->alpn,
                                            .alpn_len = server->alpn_len,
                                            .leaf = leaf,
                                            .verdict = verdict,
                                            .rule_id = f->rule_id,
                                            .config_version = sl_policy_version(f->runtime->policy)};
    err = sl_client_leg_new(f->worker->tls, &options, &f->handshake->client_leg);
    if (err == SL_ERR_UNSUPPORTED)
        *cause = SLUICE__V1__CAUSE__CLI_NO_SHARED_CIPHER;
    sl_leaf_unref(leaf);
    return err;
}
