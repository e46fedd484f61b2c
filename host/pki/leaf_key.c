/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library has two kinds of keys. One of its newer kind is encoded and decoded again, through a search for a decoder, whenever
 * it is put into a certificate: some 400 us. One made with the calls below, which it calls deprecated, is put there in 5 us, and
 * signs as fast. That is the difference between meeting the target for minting and missing it by far; so these two functions stay
 * with the older calls.
 */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "pki/leaf_key.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

static EVP_PKEY *new_ec(void)
{
    EVP_PKEY *key = EVP_PKEY_new();
    EC_KEY *ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);

    if (key && ec && EC_KEY_generate_key(ec) == 1 && EVP_PKEY_assign_EC_KEY(key, ec) == 1)
        return key;
    EC_KEY_free(ec);
    EVP_PKEY_free(key);
    return NULL;
}

static EVP_PKEY *new_rsa(void)
{
    enum { BITS = 2048 };
    EVP_PKEY *key = EVP_PKEY_new();
    RSA *rsa = RSA_new();
    BIGNUM *e = BN_new();
    bool done = key && rsa && e && BN_set_word(e, RSA_F4) == 1 && RSA_generate_key_ex(rsa, BITS, e, NULL) == 1 &&
                EVP_PKEY_assign_RSA(key, rsa) == 1;

    BN_free(e);
    if (done)
        return key;
    RSA_free(rsa);
    EVP_PKEY_free(key);
    return NULL;
}

/* The subject key identifier is computed from a certificate that holds the key. */
static sl_err prepare_extensions(struct sl_leaf_key *k, enum sl_leaf_key_type type)
{
    /* RSA with keyEncipherment, too: a client of the compatible profile may know no other key exchange. */
    const char *usage = type == SL_LEAF_RSA2048 ? "critical,digitalSignature,keyEncipherment" : "critical,digitalSignature";
    const struct {
        int nid;
        const char *value;
    } wanted[SL_LEAF_EXTENSIONS] = {{NID_basic_constraints, "critical,CA:FALSE"},
                                    {NID_key_usage, usage},
                                    {NID_ext_key_usage, "serverAuth"},
                                    {NID_subject_key_identifier, "hash"}};
    X509V3_CTX ctx;
    X509 *carrier = X509_new();
    sl_err err = SL_OK;

    if (!carrier || X509_set_pubkey(carrier, k->key) != 1)
        err = SL_ERR_CRYPTO;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, carrier, carrier, NULL, NULL, 0);
    for (size_t i = 0; i < SL_LEAF_EXTENSIONS && !err; i++) {
        if (!(k->extensions[i] = X509V3_EXT_conf_nid(NULL, &ctx, wanted[i].nid, wanted[i].value)))
            err = SL_ERR_CRYPTO;
    }
    X509_free(carrier);
    return err;
}

sl_err sl_leaf_key_new(enum sl_leaf_key_type type, struct sl_leaf_key **out)
{
    struct sl_leaf_key *k = calloc(1, sizeof(*k));
    sl_err err = SL_ERR_CRYPTO;

    if (!k)
        return SL_ERR_NOMEM;
    atomic_init(&k->references, 1);
    k->key = type == SL_LEAF_RSA2048 ? new_rsa() : new_ec();
    if (k->key)
        err = prepare_extensions(k, type);
    ERR_clear_error();
    if (err)
        sl_leaf_key_unref(k);
    else
        *out = k;
    return err;
}

void sl_leaf_key_ref(struct sl_leaf_key *key)
{
    atomic_fetch_add_explicit(&key->references, 1, memory_order_relaxed);
}

void sl_leaf_key_unref(struct sl_leaf_key *key)
{
    if (!key || atomic_fetch_sub_explicit(&key->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < SL_LEAF_EXTENSIONS; i++)
        X509_EXTENSION_free(key->extensions[i]);
    EVP_PKEY_free(key->key);
    free(key);
}
