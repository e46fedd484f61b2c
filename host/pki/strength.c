/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strength and limits. RFC 9325 section 4.5 and V5: RSA from 2,048 bits, elliptic curves from 256, no MD5, no SHA-1, except on a
 * trust anchor's own signature, which nobody relies on. V15: RSA to 8,192 bits with an odd exponent of at most 64 bits, so that
 * checking a signature costs no more than a fraction of a millisecond.
 */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "pki/verify_impl.h"

enum { RSA_BITS_MIN = 2048, RSA_BITS_MAX = 8192, RSA_EXPONENT_BITS_MAX = 64, EC_BITS_MIN = 256, DIGEST_BITS_MIN = 112 };

static bool is_rsa(const EVP_PKEY *key)
{
    int type = EVP_PKEY_get_base_id(key);
    return type == EVP_PKEY_RSA || type == EVP_PKEY_RSA_PSS;
}

static bool exponent_usable(const EVP_PKEY *key)
{
    BIGNUM *e = NULL;
    bool good = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e) == 1 && BN_is_odd(e) && !BN_is_one(e) && !BN_is_negative(e) &&
                BN_num_bits(e) <= RSA_EXPONENT_BITS_MAX;
    BN_free(e);
    return good;
}

bool sl_strength_key_usable(const X509 *cert)
{
    const EVP_PKEY *key = X509_get0_pubkey(cert);
    bool usable = key && (!is_rsa(key) || (EVP_PKEY_get_bits(key) <= RSA_BITS_MAX && exponent_usable(key)));

    ERR_clear_error();
    return usable;
}

static bool key_strong(const X509 *cert)
{
    const EVP_PKEY *key = X509_get0_pubkey(cert);
    char group[64];
    size_t len = 0;

    if (!key)
        return false;
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
    case EVP_PKEY_RSA_PSS:
        return EVP_PKEY_get_bits(key) >= RSA_BITS_MIN;
    case EVP_PKEY_EC: /* a curve without a name is one that somebody made up */
        return EVP_PKEY_get_bits(key) >= EC_BITS_MIN && EVP_PKEY_get_group_name(key, group, sizeof(group), &len) == 1;
    case EVP_PKEY_ED25519:
    case EVP_PKEY_ED448:
        return true;
    default:
        return false;
    }
}

static bool digest_strong(X509 *cert, int *bits)
{
    int digest = NID_undef, key = NID_undef;
    uint32_t flags = 0;

    if (X509_get_signature_info(cert, &digest, &key, bits, &flags) != 1)
        *bits = 0; /* an algorithm the library has no name for */
    return *bits >= DIGEST_BITS_MIN && digest != NID_md5 && digest != NID_sha1 && digest != NID_md5_sha1;
}

static size_t san_count(const X509 *cert)
{
    GENERAL_NAMES *sans = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int count = sk_GENERAL_NAME_num(sans);

    GENERAL_NAMES_free(sans);
    ERR_clear_error();
    return count > 0 ? (size_t)count : 0;
}

void sl_strength_limits(X509 *leaf, const STACK_OF(X509) * presented, struct sl_findings *f)
{
    size_t total = 0;
    int count = sk_X509_num(presented);
    int len = i2d_X509(leaf, NULL);

    if (count > SL_CERT_CHAIN_MAX + 1)
        sl_findings_add(f, SL_CERT_CAUSE(TOO_LARGE), X509_V_ERR_CERT_CHAIN_TOO_LONG, count);
    if (len <= 0 || len > SL_CERT_BYTES_MAX)
        sl_findings_add(f, SL_CERT_CAUSE(TOO_LARGE), X509_V_ERR_UNSPECIFIED, 0);
    for (int i = 0; i < count && i <= SL_CERT_CHAIN_MAX; i++) {
        len = i2d_X509(sk_X509_value(presented, i), NULL);
        total += len > 0 ? (size_t)len : SL_CERT_CHAIN_BYTES_MAX;
        if (len > SL_CERT_BYTES_MAX || total > SL_CERT_CHAIN_BYTES_MAX) {
            sl_findings_add(f, SL_CERT_CAUSE(TOO_LARGE), X509_V_ERR_UNSPECIFIED, i);
            return;
        }
    }
    if (f->count > 0)
        return;
    if (X509_get0_pubkey(leaf) && is_rsa(X509_get0_pubkey(leaf)) && EVP_PKEY_get_bits(X509_get0_pubkey(leaf)) > RSA_BITS_MAX)
        sl_findings_add(f, SL_CERT_CAUSE(TOO_LARGE), X509_V_ERR_UNSPECIFIED, 0);
    else if (!sl_strength_key_usable(leaf))
        sl_findings_add(f, SL_CERT_CAUSE(WEAK_KEY), X509_V_ERR_EE_KEY_TOO_SMALL, 0);
    if (san_count(leaf) > SL_CERT_SANS_MAX)
        sl_findings_add(f, SL_CERT_CAUSE(TOO_LARGE), X509_V_ERR_UNSPECIFIED, 0);
    ERR_clear_error();
}

void sl_strength_path(const STACK_OF(X509) * path, struct sl_findings *f, int *security_bits)
{
    const uint64_t no_anchor = sl_cause_bit(SL_CERT_CAUSE(NO_ISSUER));
    int count = sk_X509_num(path);

    *security_bits = 0;
    for (int i = 0; i < count; i++) {
        X509 *cert = sk_X509_value(path, i);
        int bits = 0;
        if (!key_strong(cert)) {
            if (i == 0)
                sl_findings_add(f, SL_CERT_CAUSE(WEAK_KEY), X509_V_ERR_EE_KEY_TOO_SMALL, i);
            else
                sl_findings_add(f, SL_CERT_CAUSE(WEAK_CA_KEY), X509_V_ERR_CA_KEY_TOO_SMALL, i);
        }
        if (X509_get0_pubkey(cert))
            bits = EVP_PKEY_get_security_bits(X509_get0_pubkey(cert));
        if (i == 0 || bits < *security_bits)
            *security_bits = bits;
        /* The last one of a path is an anchor or its own issuer, unless its issuer is missing. */
        if (i == count - 1 && !(f->causes & no_anchor))
            continue;
        if (!digest_strong(cert, &bits))
            sl_findings_add(f, SL_CERT_CAUSE(WEAK_MD), X509_V_ERR_CA_MD_TOO_WEAK, i);
        if (bits < *security_bits)
            *security_bits = bits;
    }
    ERR_clear_error();
}
