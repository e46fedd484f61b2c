/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/client_leg.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "tls/context_internal.h"
#include "tls/leg_internal.h"

struct sl_client_leg {
    struct sl_leg base; /* first: a leg is found by it */
    struct sl_leaf *leaf;
    uint8_t alpn[255];
    size_t alpn_len;
};

/* Cheapest first; the client's order decides. The finite-field groups at the end belong to the compatible profile only. */
static const uint16_t groups[] = {0x001d, 0x0017, 0x0018, 0x0019, 0x001e, 0x0100, 0x0101, 0x0102};
enum { GROUPS_MODERN = 5, GROUPS_COMPATIBLE = sizeof groups / sizeof groups[0] };

/* ---- what can serve this client ---- */

struct need {
    const struct sl_client_hello *hello;
    uint16_t version;
    enum sl_crypto_profile profile;
};

static bool has_any(const struct sl_u16_list *list, const uint16_t *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (sl_u16_list_has(list, values[i]))
            return true;
    return false;
}

static bool has_group(const struct need *n)
{
    return n->hello->groups.count == 0 ||
           has_any(&n->hello->groups, groups, n->profile == SL_PROFILE_COMPATIBLE ? GROUPS_COMPATIBLE : GROUPS_MODERN);
}

static bool can_verify(const struct need *n, enum sl_leaf_key_type key)
{
    static const uint16_t pss[] = {0x0804, 0x0805, 0x0806}, pkcs1[] = {0x0401, 0x0501, 0x0601};
    const struct sl_client_hello *h = n->hello;

    if (key == SL_LEAF_P256)
        return sl_u16_list_has(&h->sigalgs, 0x0403) &&
               (n->version == SL_TLS13 || h->groups.count == 0 || sl_u16_list_has(&h->groups, 0x0017));
    return has_any(&h->sigalgs, pss, 3) || (n->version == SL_TLS12 && has_any(&h->sigalgs, pkcs1, 3));
}

static bool suite_serves(const struct need *n, const struct sl_tls_suite *s, enum sl_leaf_key_type key, bool gcm_only)
{
    if (!s || s->version != n->version || (gcm_only && !s->gcm) || (!s->modern && n->profile != SL_PROFILE_COMPATIBLE))
        return false;
    if (s->auth != SL_AUTH_ANY && s->auth != (key == SL_LEAF_P256 ? SL_AUTH_ECDSA : SL_AUTH_RSA))
        return false;
    return s->key_exchange == SL_KX_RSA || s->key_exchange == SL_KX_DHE || has_group(n);
}

static bool serves(const struct need *n, enum sl_leaf_key_type key, bool gcm_only)
{
    if (!can_verify(n, key))
        return false;
    for (size_t i = 0; i < n->hello->suites.count; i++)
        if (suite_serves(n, sl_tls_suite_find(n->hello->suites.at[i]), key, gcm_only))
            return true;
    return false;
}

/* Same kind of suite as the server leg if that is possible, so that records need not go through OpenSSL. */
static bool choose(const struct need *n, uint16_t server_suite, enum sl_leaf_key_type key, bool *gcm_only)
{
    *gcm_only = sl_suite_find(server_suite) != NULL && serves(n, key, true);
    return *gcm_only || serves(n, key, false);
}

sl_err sl_client_leg_leaf_key(const struct sl_client_hello *hello, uint16_t version, uint16_t server_suite,
                              enum sl_crypto_profile profile, enum sl_leaf_key_type *out)
{
    static const enum sl_leaf_key_type keys[] = {SL_LEAF_P256, SL_LEAF_RSA2048};
    struct need n = {hello, version, profile};
    bool want_gcm = sl_suite_find(server_suite) != NULL, gcm_only;

    for (size_t i = 0; i < 2; i++)
        if (choose(&n, server_suite, keys[i], &gcm_only) && gcm_only == want_gcm) {
            *out = keys[i];
            return SL_OK;
        }
    for (size_t i = 0; i < 2; i++)
        if (choose(&n, server_suite, keys[i], &gcm_only)) {
            *out = keys[i];
            return SL_OK;
        }
    return SL_ERR_UNSUPPORTED;
}

/* ---- callbacks ---- */

/* P13: what the server chose, if the client offered it (it did: our offer came from its own), or nothing. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in, unsigned in_len, void *arg)
{
    struct sl_client_leg *leg = (struct sl_client_leg *)sl_leg_of(ssl);
    struct sl_cursor list = sl_cursor_make(in, in_len), name;
    (void)arg;

    while (leg->alpn_len > 0 && sl_client_hello_alpn_next(&list, &name))
        if (sl_cursor_left(&name) == leg->alpn_len && memcmp(name.at, leg->alpn, leg->alpn_len) == 0) {
            *out = name.at;
            *out_len = (unsigned char)leg->alpn_len;
            return SSL_TLSEXT_ERR_OK;
        }
    return SSL_TLSEXT_ERR_NOACK;
}

static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    (void)alert;
    (void)arg;
    return SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

/* 1: use it; 2: use it and give a new ticket; 0: full handshake; -1: error. */
static int on_ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *crypt, EVP_MAC_CTX *mac, int sealing)
{
    struct sl_tls_context *c = sl_leg_of(ssl)->context;
    bool old = false;

    if (sealing)
        return sl_ticket_keys_seal(c->shared->tickets, c->ticket_cipher, name, iv, crypt, mac) == SL_OK ? 1 : -1;
    switch (sl_ticket_keys_open(c->shared->tickets, c->ticket_cipher, name, iv, crypt, mac, &old)) {
    case SL_OK:
        c->stats.tickets_opened++;
        return old || SSL_version(ssl) == SL_TLS13 ? 2 : 1; /* a client uses a ticket of TLS 1.3 once */
    case SL_ERR_NOT_FOUND:
        c->stats.tickets_refused++;
        return 0;
    default:
        return -1;
    }
}

/* ---- context ---- */

/* The key length of the server leg's suite comes first (P15), then the others. gcm_key_len 0: any kind of suite, in the client's
 * order. */
static sl_err set_suites(SSL_CTX *ctx, const struct need *n, uint8_t gcm_key_len)
{
    static const uint16_t all[] = {0x1301, 0x1302, 0x1303, 0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9, 0x009e, 0x009f,
                                   0xc009, 0xc00a, 0xc013, 0xc014, 0xc023, 0xc024, 0xc027, 0xc028, 0x009c, 0x009d};
    uint16_t chosen[sizeof all / sizeof all[0]];
    size_t count = 0;

    for (int pass = gcm_key_len ? 0 : 1; pass < 2; pass++)
        for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
            const struct sl_tls_suite *s = sl_tls_suite_find(all[i]);
            bool alike = gcm_key_len && s->gcm && sl_suite_find(all[i])->key_len == gcm_key_len;
            if (s->version == n->version && (!gcm_key_len || s->gcm) && (s->modern || n->profile == SL_PROFILE_COMPATIBLE) &&
                alike == (pass == 0))
                chosen[count++] = all[i];
        }
    if (gcm_key_len)
        SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
    return sl_tls_ctx_set_suites(ctx, chosen, count);
}

static sl_err make_ctx(struct sl_tls_context *c, const struct need *n, uint8_t gcm_key_len, SSL_CTX **out)
{
    bool compatible = n->profile == SL_PROFILE_COMPATIBLE;
    SSL_CTX *ctx = NULL;
    sl_err err = sl_tls_ctx_new(n->version, n->version, &ctx);

    if (err)
        return err;
    err = set_suites(ctx, n, gcm_key_len);
    if (!err)
        err = sl_tls_ctx_set_groups(ctx, groups, compatible ? GROUPS_COMPATIBLE : GROUPS_MODERN);
    if (!err && (!SSL_CTX_set_num_tickets(ctx, 1) || !SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket_key) ||
                 (compatible && !SSL_CTX_set_dh_auto(ctx, 1))))
        err = SL_ERR_CRYPTO;
    if (err) {
        SSL_CTX_free(ctx);
        return err;
    }
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(ctx, (long)c->shared->options.session_lifetime_s);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
    *out = ctx;
    return SL_OK;
}

static sl_err get_ctx(struct sl_tls_context *c, const struct need *n, uint8_t gcm_key_len, SSL_CTX **out)
{
    size_t kind = gcm_key_len == 0 ? 0 : gcm_key_len == 16 ? 1 : 2;
    size_t index = kind * 4 + (n->version == SL_TLS13 ? 2u : 0u) + (n->profile == SL_PROFILE_COMPATIBLE ? 1u : 0u);
    sl_err err = SL_OK;
    if (!c->client_ctx[index]) {
        err = make_ctx(c, n, gcm_key_len, &c->client_ctx[index]);
        c->stats.openssl_contexts_made += !err;
    }
    *out = c->client_ctx[index];
    return err;
}

/* ---- life ---- */

/* V11: a ticket resumes only against the same server, judged in the same way, under the same rule. */
static sl_err bind_tickets(SSL *ssl, const struct sl_client_leg_options *o)
{
    struct {
        uint8_t binding[SL_SHA256_LEN], leaf[SL_SHA256_LEN], alpn[256];
        uint64_t rule_id, config_version, alpn_len, version;
    } facts = {.rule_id = o->rule_id, .config_version = o->config_version, .alpn_len = o->alpn_len, .version = o->version};
    uint8_t id[EVP_MAX_MD_SIZE];

    memcpy(facts.binding, o->verdict->binding, sizeof facts.binding);
    memcpy(facts.leaf, o->verdict->leaf_sha256, sizeof facts.leaf);
    if (o->alpn_len > 0)
        memcpy(facts.alpn, o->alpn, o->alpn_len);
    if (!EVP_Q_digest(NULL, "SHA256", NULL, &facts, sizeof facts, id, NULL) || !SSL_set_session_id_context(ssl, id, 32))
        return SL_ERR_CRYPTO;
    return SL_OK;
}

static sl_err set_tickets(SSL *ssl, const struct sl_client_leg_options *o)
{
    if (!o->no_tickets && o->verdict && sl_verdict_good(o->verdict))
        return bind_tickets(ssl, o);
    SSL_set_options(ssl, SSL_OP_NO_TICKET);
    return SSL_set_num_tickets(ssl, 0) ? SL_OK : SL_ERR_CRYPTO;
}

/* The issuer goes along only where it is not the anchor that clients hold. */
static sl_err set_leaf(SSL *ssl, const struct sl_leaf *leaf)
{
    if (SSL_use_certificate(ssl, leaf->cert) != 1 || SSL_use_PrivateKey(ssl, leaf->key) != 1)
        return SL_ERR_CRYPTO;
    if (leaf->untrusted && leaf->issuer && SSL_add1_chain_cert(ssl, leaf->issuer) != 1)
        return SL_ERR_CRYPTO;
    return SL_OK;
}

sl_err sl_client_leg_new(struct sl_tls_context *context, const struct sl_client_leg_options *options, struct sl_client_leg **out)
{
    struct need n = {options->hello, options->version, options->profile};
    struct sl_client_leg *leg = NULL;
    SSL_CTX *ctx = NULL;
    bool gcm_only;
    sl_err err;

    if (!options->hello || !options->leaf || options->alpn_len > sizeof leg->alpn ||
        (options->version != SL_TLS12 && options->version != SL_TLS13))
        return SL_ERR_INVALID;
    if (!choose(&n, options->server_suite, options->leaf->key_type, &gcm_only))
        return SL_ERR_UNSUPPORTED;
    leg = calloc(1, sizeof *leg);
    if (!leg)
        return SL_ERR_NOMEM;
    sl_ticket_keys_tick(context->shared->tickets);
    leg->leaf = sl_leaf_ref(options->leaf);
    leg->alpn_len = options->alpn_len;
    if (options->alpn_len > 0)
        memcpy(leg->alpn, options->alpn, options->alpn_len);
    err = get_ctx(context, &n, gcm_only ? sl_suite_find(options->server_suite)->key_len : 0, &ctx);
    if (!err)
        err = sl_leg_init(&leg->base, context, ctx, true);
    if (!err)
        err = set_leaf(leg->base.ssl, leg->leaf);
    if (!err)
        err = set_tickets(leg->base.ssl, options);
    if (err)
        sl_client_leg_free(leg);
    else
        *out = leg;
    return err;
}

void sl_client_leg_free(struct sl_client_leg *leg)
{
    if (!leg)
        return;
    sl_leg_destroy(&leg->base);
    sl_leaf_unref(leg->leaf);
    free(leg);
}

struct sl_leg *sl_client_leg_base(struct sl_client_leg *leg)
{
    return &leg->base;
}
