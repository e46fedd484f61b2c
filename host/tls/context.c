/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/context_internal.h"

#include <openssl/obj_mac.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "pki/cert.h"
#include "record/tls.h"
#include "tls/leg_internal.h"
#include "tls/library.h"
#include "tls/names.h"

enum { TICKET_ROTATE_HOURS = 12, SESSION_LIFETIME_S = 7200, UPSTREAM_SESSIONS = 8192, OPENSSL_CONTEXTS = 128, LIST_MAX = 4096 };

/* ---- shared ---- */

sl_err sl_tls_shared_new(const struct sl_clock *clock, const struct sl_tls_options *options, struct sl_tls_shared **out)
{
    struct sl_tls_shared *s = calloc(1, sizeof *s);
    if (!s)
        return SL_ERR_NOMEM;
    s->clock = clock;
    if (options)
        s->options = *options;
    if (s->options.ticket_rotate_ns == 0)
        s->options.ticket_rotate_ns = UINT64_C(3600) * TICKET_ROTATE_HOURS * SL_NS_PER_S;
    if (s->options.session_lifetime_s == 0)
        s->options.session_lifetime_s = SESSION_LIFETIME_S;
    if (s->options.upstream_sessions_max == 0)
        s->options.upstream_sessions_max = UPSTREAM_SESSIONS;
    if (s->options.openssl_contexts_max == 0)
        s->options.openssl_contexts_max = OPENSSL_CONTEXTS;
    sl_err err = sl_ticket_keys_new(clock, s->options.ticket_rotate_ns, &s->tickets);
    if (err) {
        free(s);
        return err;
    }
    *out = s;
    return SL_OK;
}

void sl_tls_shared_free(struct sl_tls_shared *s)
{
    if (!s)
        return;
    sl_ticket_keys_free(s->tickets);
    free(s);
}

/* ---- a worker's ---- */

sl_err sl_tls_context_new(struct sl_tls_shared *shared, struct sl_tls_context **out)
{
    struct sl_tls_context *c = calloc(1, sizeof *c);
    sl_err err;

    if (!c)
        return SL_ERR_NOMEM;
    c->shared = shared;
    err = sl_sessions_new(shared->options.upstream_sessions_max, &c->sessions);
    if (err)
        goto Exit;
    c->bio_method = sl_leg_bio_method_new();
    c->ticket_cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    if (!c->bio_method || !c->ticket_cipher)
        err = SL_ERR_CRYPTO;
Exit:
    if (err)
        sl_tls_context_free(c);
    else
        *out = c;
    return err;
}

static void unlink_ctx(struct sl_tls_context *c, struct sl_server_ctx *e)
{
    *(e->newer ? &e->newer->older : &c->newest) = e->older;
    *(e->older ? &e->older->newer : &c->oldest) = e->newer;
}

static void push_ctx(struct sl_tls_context *c, struct sl_server_ctx *e)
{
    e->newer = NULL;
    e->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = e;
    c->newest = e;
}

static void drop_ctx(struct sl_tls_context *c, struct sl_server_ctx *e)
{
    unlink_ctx(c, e);
    c->server_ctx_count--;
    SSL_CTX_free(e->ctx);
    free(e);
}

void sl_tls_context_free(struct sl_tls_context *c)
{
    if (!c)
        return;
    sl_sessions_free(c->sessions);
    for (struct sl_server_ctx *e = c->newest, *next; e; e = next) {
        next = e->older;
        SSL_CTX_free(e->ctx);
        free(e);
    }
    for (size_t i = 0; i < SL_CLIENT_CTX_COUNT; i++)
        SSL_CTX_free(c->client_ctx[i]);
    EVP_CIPHER_free(c->ticket_cipher);
    BIO_meth_free(c->bio_method);
    free(c);
}

void sl_tls_context_flush_sessions(struct sl_tls_context *c)
{
    sl_sessions_clear(c->sessions);
}

void sl_tls_context_stats(const struct sl_tls_context *c, struct sl_tls_stats *out)
{
    *out = c->stats;
    out->upstream_sessions = sl_sessions_count(c->sessions);
    out->openssl_contexts = c->server_ctx_count;
    for (size_t i = 0; i < SL_CLIENT_CTX_COUNT; i++)
        out->openssl_contexts += c->client_ctx[i] != NULL;
}

uint64_t sl_tls_wall_ns(const struct sl_tls_context *c)
{
    return c->shared->clock->wall_ns(c->shared->clock->arg);
}

sl_err sl_server_ctx_get(struct sl_tls_context *c, const struct sl_offer *offer, SSL_CTX **out)
{
    struct sl_server_ctx *e;
    sl_err err;

    for (e = c->newest; e; e = e->older)
        if (memcmp(e->hash, offer->hash, sizeof e->hash) == 0) {
            unlink_ctx(c, e);
            push_ctx(c, e);
            *out = e->ctx;
            return SL_OK;
        }
    e = calloc(1, sizeof *e);
    if (!e)
        return SL_ERR_NOMEM;
    err = sl_server_ctx_make(offer, c, &e->ctx);
    if (err) {
        free(e);
        return err;
    }
    memcpy(e->hash, offer->hash, sizeof e->hash);
    if (c->oldest && c->server_ctx_count >= c->shared->options.openssl_contexts_max)
        drop_ctx(c, c->oldest);
    push_ctx(c, e);
    c->server_ctx_count++;
    c->stats.openssl_contexts_made++;
    *out = e->ctx;
    return SL_OK;
}

/* ---- what all of Sluice's SSL_CTX have ---- */

sl_err sl_tls_ctx_new(uint16_t version_min, uint16_t version_max, SSL_CTX **out)
{
    SSL_CTX *ctx = SSL_CTX_new_ex(sl_tls_library(), NULL, TLS_method());
    if (!ctx)
        return SL_ERR_CRYPTO;
    SSL_CTX_set_security_level(ctx, 2); /* 112 bits: DH, RSA and DSA of 2048 bits (V6) */
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_clear_options(ctx, SSL_OP_LEGACY_SERVER_CONNECT);
    SSL_CTX_set_mode(ctx, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_read_ahead(ctx, 0);
    SSL_CTX_set_max_cert_list(ctx, SL_CERT_CHAIN_BYTES_MAX);
    SSL_CTX_set_max_early_data(ctx, 0);
    if (!SSL_CTX_set_min_proto_version(ctx, version_min) || !SSL_CTX_set_max_proto_version(ctx, version_max)) {
        SSL_CTX_free(ctx);
        return SL_ERR_CRYPTO;
    }
    sl_leg_observe(ctx);
    *out = ctx;
    return SL_OK;
}

static sl_err append_name(struct sl_buf *list, const char *name)
{
    return sl_buf_printf(list, "%s%s", sl_buf_len(list) ? ":" : "", name);
}

sl_err sl_tls_ctx_set_suites(SSL_CTX *ctx, const uint16_t *suites, size_t count)
{
    struct sl_buf v12, v13;
    sl_err err = SL_OK;

    sl_buf_init(&v12, LIST_MAX);
    sl_buf_init(&v13, LIST_MAX);
    for (size_t i = 0; i < count && !err; i++) {
        const struct sl_tls_suite *s = sl_tls_suite_find(suites[i]);
        err = s ? append_name(s->version == SL_TLS13 ? &v13 : &v12, s->openssl_name) : SL_ERR_INVALID;
    }
    if (!err)
        err = sl_buf_append(&v12, "", 1);
    if (!err)
        err = sl_buf_append(&v13, "", 1);
    /* An empty list of TLS 1.2 would be an error of OpenSSL's; that version is then off by its number. */
    if (!err && ((sl_buf_len(&v12) > 1 && !SSL_CTX_set_cipher_list(ctx, (const char *)sl_buf_data(&v12))) ||
                 !SSL_CTX_set_ciphersuites(ctx, (const char *)sl_buf_data(&v13))))
        err = SL_ERR_CRYPTO;
    sl_buf_free(&v12);
    sl_buf_free(&v13);
    return err;
}

static int nid_of_group(uint16_t group)
{
    switch (group) {
    case 0x001d:
        return NID_X25519;
    case 0x001e:
        return NID_X448;
    case 0x0017:
        return NID_X9_62_prime256v1;
    case 0x0018:
        return NID_secp384r1;
    case 0x0019:
        return NID_secp521r1;
    case 0x0100:
        return NID_ffdhe2048;
    case 0x0101:
        return NID_ffdhe3072;
    case 0x0102:
        return NID_ffdhe4096;
    default:
        return NID_undef;
    }
}

sl_err sl_tls_ctx_set_groups(SSL_CTX *ctx, const uint16_t *groups, size_t count)
{
    int nids[SL_OFFER_GROUPS_MAX];
    if (count == 0 || count > SL_OFFER_GROUPS_MAX)
        return count == 0 ? SL_OK : SL_ERR_INVALID;
    for (size_t i = 0; i < count; i++)
        nids[i] = nid_of_group(groups[i]);
    return SSL_CTX_set1_groups(ctx, nids, (long)count) ? SL_OK : SL_ERR_CRYPTO;
}

sl_err sl_tls_ctx_set_sigalgs(SSL_CTX *ctx, const uint16_t *sigalgs, size_t count)
{
    struct sl_buf list;
    char buf[SL_TLS_NAME_BYTES];
    sl_err err = SL_OK;

    if (count == 0)
        return SL_OK;
    sl_buf_init(&list, LIST_MAX);
    for (size_t i = 0; i < count && !err; i++)
        err = append_name(&list, sl_tls_sigalg_name(sigalgs[i], buf));
    if (!err)
        err = sl_buf_append(&list, "", 1);
    if (!err && !SSL_CTX_set1_sigalgs_list(ctx, (const char *)sl_buf_data(&list)))
        err = SL_ERR_CRYPTO;
    sl_buf_free(&list);
    return err;
}
