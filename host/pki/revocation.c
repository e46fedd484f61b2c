/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Revocation: a stapled OCSP response (RFC 6960), or CRLs from files (RFC 5280 section 6.3, done by the library during path
 * validation).
 *
 * A staple counts if: it is successful and of the basic type; its signature is by the issuer itself, or by a responder certificate
 * that the issuer signed for exactly that purpose, in its dates; it has a single response for this certificate; its dates are
 * right. Anything else is "unknown": a bad staple never makes a certificate better or worse than none.
 */
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>

#include "pki/verify_impl.h"

enum {
    STAPLE_MAX = 65536,
    RESPONSES_MAX = 64,
    RESPONDER_CERTS_MAX = 8,
    CLOCK_SKEW_S = 300,
    NO_NEXT_UPDATE_S = 7 * 86400, /* how long a status without an end is taken */
    TLS_FEATURE_STATUS_REQUEST = 5
};

static bool signature_strong(const OCSP_BASICRESP *basic)
{
    const X509_ALGOR *algorithm = OCSP_resp_get0_tbs_sigalg(basic);
    const ASN1_OBJECT *object = NULL;
    int digest = NID_undef, key = NID_undef;

    X509_ALGOR_get0(&object, NULL, NULL, algorithm);
    if (OBJ_find_sigid_algs(OBJ_obj2nid(object), &digest, &key) != 1)
        return false;
    return digest != NID_md5 && digest != NID_sha1;
}

static bool in_dates(const X509 *cert, uint64_t now_ns)
{
    int64_t from, until, now = (int64_t)(now_ns / SL_NS_PER_S);
    return sl_cert_time(X509_get0_notBefore(cert), &from) == SL_OK && sl_cert_time(X509_get0_notAfter(cert), &until) == SL_OK &&
           from <= now && now <= until;
}

static bool may_respond(X509 *signer, X509 *issuer, uint64_t now_ns)
{
    EVP_PKEY *issuer_key = X509_get0_pubkey(issuer);

    if (X509_cmp(signer, issuer) == 0)
        return true;
    X509_check_purpose(signer, -1, 0);
    return X509_check_issued(issuer, signer) == X509_V_OK && (X509_get_extension_flags(signer) & EXFLAG_XKUSAGE) &&
           (X509_get_extended_key_usage(signer) & XKU_OCSP_SIGN) && in_dates(signer, now_ns) && sl_strength_key_usable(signer) &&
           issuer_key && X509_verify(signer, issuer_key) == 1;
}

static bool signature_good(OCSP_BASICRESP *basic, X509 *issuer, uint64_t now_ns)
{
    X509 *signer = NULL;
    bool good = false;
    STACK_OF(X509) *known = sk_X509_new_null();

    if (known && sk_X509_push(known, issuer) && sk_X509_num(OCSP_resp_get0_certs(basic)) <= RESPONDER_CERTS_MAX &&
        OCSP_resp_get0_signer(basic, &signer, known) == 1 && signature_strong(basic) && may_respond(signer, issuer, now_ns)) {
        /* The responder was judged above; here only the signature is checked, with that very certificate. */
        sk_X509_zero(known);
        good = sk_X509_push(known, signer) && OCSP_basic_verify(basic, known, NULL, OCSP_TRUSTOTHER | OCSP_NOVERIFY) == 1;
    }
    sk_X509_free(known);
    return good;
}

/* Responders choose the digest of the identifier: it is made again with theirs. */
static bool is_about(const OCSP_CERTID *id, X509 *leaf, X509 *issuer)
{
    ASN1_OBJECT *algorithm = NULL;
    const EVP_MD *digest;
    bool same = false;

    if (OCSP_id_get0_info(NULL, &algorithm, NULL, NULL, (OCSP_CERTID *)id) != 1 || !(digest = EVP_get_digestbyobj(algorithm)))
        return false;
    OCSP_CERTID *own = OCSP_cert_to_id(digest, leaf, issuer);
    if (own)
        same = OCSP_id_cmp(own, id) == 0;
    OCSP_CERTID_free(own);
    return same;
}

static bool times_good(const ASN1_GENERALIZEDTIME *produced, const ASN1_GENERALIZEDTIME *next, uint64_t now_ns, uint64_t *age_s)
{
    int64_t from, until, now = (int64_t)(now_ns / SL_NS_PER_S);

    if (sl_cert_time(produced, &from) || from > now + CLOCK_SKEW_S)
        return false;
    if (!next)
        until = from + NO_NEXT_UPDATE_S;
    else if (sl_cert_time(next, &until) || until < from)
        return false;
    *age_s = now > from ? (uint64_t)(now - from) : 0;
    return now <= until;
}

static struct sl_revocation judge(OCSP_BASICRESP *basic, X509 *leaf, X509 *issuer, uint64_t now_ns, struct sl_validity *validity)
{
    struct sl_revocation out = {.method = SL_REVOCATION_BY_NONE, .result = SL_REVOCATION_UNKNOWN};
    int count = OCSP_resp_count(basic);

    for (int i = 0; i < count && i < RESPONSES_MAX; i++) {
        OCSP_SINGLERESP *single = OCSP_resp_get0(basic, i);
        ASN1_GENERALIZEDTIME *produced = NULL, *next = NULL;
        int reason, status;
        if (!is_about(OCSP_SINGLERESP_get0_id(single), leaf, issuer))
            continue;
        status = OCSP_single_get0_status(single, &reason, NULL, &produced, &next);
        if (!times_good(produced, next, now_ns, &out.age_s))
            continue;
        out.method = SL_REVOCATION_BY_STAPLE;
        if (status == V_OCSP_CERTSTATUS_REVOKED) {
            out.result = SL_REVOCATION_REVOKED;
            return out; /* the worst of several answers counts */
        }
        if (status == V_OCSP_CERTSTATUS_GOOD) {
            out.result = SL_REVOCATION_GOOD;
            sl_validity_narrow(validity, NULL, next);
        }
    }
    return out;
}

struct sl_revocation sl_revocation_staple(const uint8_t *staple, size_t len, X509 *leaf, X509 *issuer, uint64_t now_ns,
                                          struct sl_validity *validity)
{
    struct sl_revocation out = {.method = SL_REVOCATION_BY_NONE, .result = SL_REVOCATION_UNKNOWN};
    OCSP_RESPONSE *response = NULL;
    OCSP_BASICRESP *basic = NULL;
    const unsigned char *at = staple;

    if (!staple || len == 0 || len > STAPLE_MAX || !issuer)
        return out;
    response = d2i_OCSP_RESPONSE(NULL, &at, (long)len);
    if (response && at == staple + len && OCSP_response_status(response) == OCSP_RESPONSE_STATUS_SUCCESSFUL &&
        (basic = OCSP_response_get1_basic(response)) != NULL && signature_good(basic, issuer, now_ns))
        out = judge(basic, leaf, issuer, now_ns, validity);
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    return out;
}

struct sl_revocation sl_revocation_crl(X509_STORE_CTX *ctx, X509 *leaf, uint64_t now_ns, struct sl_validity *validity)
{
    struct sl_revocation out = {.method = SL_REVOCATION_BY_CRL, .result = SL_REVOCATION_GOOD, .age_s = UINT64_MAX};
    int64_t now = (int64_t)(now_ns / SL_NS_PER_S), from;
    STACK_OF(X509_CRL) *lists = X509_STORE_CTX_get1_crls(ctx, X509_get_issuer_name(leaf));

    for (int i = 0; i < sk_X509_CRL_num(lists); i++) {
        const X509_CRL *crl = sk_X509_CRL_value(lists, i);
        if (sl_cert_time(X509_CRL_get0_lastUpdate(crl), &from) == SL_OK && from <= now && (uint64_t)(now - from) < out.age_s)
            out.age_s = (uint64_t)(now - from);
        sl_validity_narrow(validity, NULL, X509_CRL_get0_nextUpdate(crl));
    }
    sk_X509_CRL_pop_free(lists, X509_CRL_free);
    if (out.age_s == UINT64_MAX)
        out.age_s = 0;
    ERR_clear_error();
    return out;
}

bool sl_revocation_must_staple(const X509 *leaf)
{
    bool found = false;
    TLS_FEATURE *features = X509_get_ext_d2i(leaf, NID_tlsfeature, NULL, NULL);

    for (int i = 0; i < sk_ASN1_INTEGER_num(features); i++)
        found = found || ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features, i)) == TLS_FEATURE_STATUS_REQUEST;
    sk_ASN1_INTEGER_pop_free(features, ASN1_INTEGER_free);
    ERR_clear_error();
    return found;
}
