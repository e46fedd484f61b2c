/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/library.h"

#include <openssl/core_dispatch.h>
#include <openssl/crypto.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

enum { DECODERS_MAX = 16 };

/* Written once, before the context is seen by anybody. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static OSSL_LIB_CTX *narrow, *inner;
static OSSL_PROVIDER *standard; /* the default provider, in `inner` */
static OSSL_ALGORITHM decoders[DECODERS_MAX + 1];

/* ---- the window: a provider that passes on what the default one offers ---- */

static bool is_wanted(const OSSL_ALGORITHM *a)
{
    static const char *const keys[] = {"EC", "RSA", "RSA-PSS", "ED25519", "ED448"};
    if (!strstr(a->property_definition, "input=der") || !strstr(a->property_definition, "structure=SubjectPublicKeyInfo"))
        return false;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        size_t len = strlen(keys[i]); /* names follow each other, separated by colons */
        if (strncmp(a->algorithm_names, keys[i], len) == 0 && (a->algorithm_names[len] == 0 || a->algorithm_names[len] == ':'))
            return true;
    }
    return false;
}

static const OSSL_ALGORITHM *window_query(void *ctx, int operation, int *no_cache)
{
    (void)ctx;
    if (operation != OSSL_OP_DECODER)
        return OSSL_PROVIDER_query_operation(standard, operation, no_cache);
    *no_cache = 0;
    return decoders;
}

static void window_unquery(void *ctx, int operation, const OSSL_ALGORITHM *algorithms)
{
    (void)ctx;
    if (operation != OSSL_OP_DECODER)
        OSSL_PROVIDER_unquery_operation(standard, operation, algorithms);
}

static int window_params(void *ctx, OSSL_PARAM params[])
{
    (void)ctx;
    return OSSL_PROVIDER_get_params(standard, params);
}

static const OSSL_PARAM *window_gettable(void *ctx)
{
    (void)ctx;
    return OSSL_PROVIDER_gettable_params(standard);
}

/* TLS groups. */
static int window_capabilities(void *ctx, const char *capability, OSSL_CALLBACK *callback, void *arg)
{
    (void)ctx;
    return OSSL_PROVIDER_get_capabilities(standard, capability, callback, arg);
}

static const OSSL_DISPATCH window[] = {{OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))window_query},
                                       {OSSL_FUNC_PROVIDER_UNQUERY_OPERATION, (void (*)(void))window_unquery},
                                       {OSSL_FUNC_PROVIDER_GET_PARAMS, (void (*)(void))window_params},
                                       {OSSL_FUNC_PROVIDER_GETTABLE_PARAMS, (void (*)(void))window_gettable},
                                       {OSSL_FUNC_PROVIDER_GET_CAPABILITIES, (void (*)(void))window_capabilities},
                                       {0, NULL}};

static int window_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **ctx)
{
    (void)handle;
    (void)in;
    *ctx = OSSL_PROVIDER_get0_provider_ctx(standard);
    *out = window;
    return 1;
}

/* ---- once ---- */

static bool select_decoders(void)
{
    int no_cache = 0;
    size_t n = 0;
    const OSSL_ALGORITHM *all = OSSL_PROVIDER_query_operation(standard, OSSL_OP_DECODER, &no_cache);

    for (const OSSL_ALGORITHM *a = all; a && a->algorithm_names && n < DECODERS_MAX; a++)
        if (is_wanted(a))
            decoders[n++] = *a;
    return n > 0 && !no_cache;
}

static void make(void)
{
    OSSL_LIB_CTX *outer = OSSL_LIB_CTX_new();

    inner = OSSL_LIB_CTX_new();
    standard = inner ? OSSL_PROVIDER_load(inner, "default") : NULL;
    if (outer && standard && select_decoders() && OSSL_PROVIDER_add_builtin(outer, "sluice", window_init) &&
        OSSL_PROVIDER_load(outer, "sluice"))
        narrow = outer;
    else
        OSSL_LIB_CTX_free(outer);
}

OSSL_LIB_CTX *sl_tls_library(void)
{
    return pthread_once(&once, make) == 0 ? narrow : NULL;
}
