/* SPDX-License-Identifier: Apache-2.0 */
/* Codes, causes and words. */
#include <string.h>

#include "pki/verify_impl.h"

/* X(code, cause): the causes of notes on events; OTHER for what has no cause of its own. Revocation lists are judged in verify.c.
 */
#define CODES(X)                                                                                                                   \
    X(UNSPECIFIED, OTHER)                                                                                                          \
    X(UNABLE_TO_GET_ISSUER_CERT, NO_ISSUER)                                                                                        \
    X(UNABLE_TO_GET_CRL, REVOCATION_UNKNOWN)                                                                                       \
    X(UNABLE_TO_DECRYPT_CERT_SIGNATURE, BAD_SIGNATURE)                                                                             \
    X(UNABLE_TO_DECRYPT_CRL_SIGNATURE, REVOCATION_UNKNOWN)                                                                         \
    X(UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY, BAD_SIGNATURE)                                                                           \
    X(CERT_SIGNATURE_FAILURE, BAD_SIGNATURE)                                                                                       \
    X(CRL_SIGNATURE_FAILURE, REVOCATION_UNKNOWN)                                                                                   \
    X(CERT_NOT_YET_VALID, NOT_YET)                                                                                                 \
    X(CERT_HAS_EXPIRED, EXPIRED)                                                                                                   \
    X(CRL_NOT_YET_VALID, REVOCATION_UNKNOWN)                                                                                       \
    X(CRL_HAS_EXPIRED, REVOCATION_UNKNOWN)                                                                                         \
    X(ERROR_IN_CERT_NOT_BEFORE_FIELD, OTHER)                                                                                       \
    X(ERROR_IN_CERT_NOT_AFTER_FIELD, OTHER)                                                                                        \
    X(ERROR_IN_CRL_LAST_UPDATE_FIELD, REVOCATION_UNKNOWN)                                                                          \
    X(ERROR_IN_CRL_NEXT_UPDATE_FIELD, REVOCATION_UNKNOWN)                                                                          \
    X(OUT_OF_MEM, OTHER)                                                                                                           \
    X(DEPTH_ZERO_SELF_SIGNED_CERT, SELF_SIGNED)                                                                                    \
    X(SELF_SIGNED_CERT_IN_CHAIN, SELF_SIGNED_CHAIN)                                                                                \
    X(UNABLE_TO_GET_ISSUER_CERT_LOCALLY, NO_ISSUER)                                                                                \
    X(UNABLE_TO_VERIFY_LEAF_SIGNATURE, NO_ISSUER)                                                                                  \
    X(CERT_CHAIN_TOO_LONG, TOO_LARGE)                                                                                              \
    X(CERT_REVOKED, REVOKED)                                                                                                       \
    X(NO_ISSUER_PUBLIC_KEY, BAD_SIGNATURE)                                                                                         \
    X(PATH_LENGTH_EXCEEDED, PATH_LENGTH)                                                                                           \
    X(INVALID_PURPOSE, PURPOSE)                                                                                                    \
    X(CERT_UNTRUSTED, DISTRUSTED)                                                                                                  \
    X(CERT_REJECTED, DISTRUSTED)                                                                                                   \
    X(SUBJECT_ISSUER_MISMATCH, NO_ISSUER)                                                                                          \
    X(AKID_SKID_MISMATCH, NO_ISSUER)                                                                                               \
    X(AKID_ISSUER_SERIAL_MISMATCH, NO_ISSUER)                                                                                      \
    X(KEYUSAGE_NO_CERTSIGN, BAD_CA)                                                                                                \
    X(UNABLE_TO_GET_CRL_ISSUER, REVOCATION_UNKNOWN)                                                                                \
    X(UNHANDLED_CRITICAL_EXTENSION, CRITICAL_EXTENSION)                                                                            \
    X(KEYUSAGE_NO_CRL_SIGN, REVOCATION_UNKNOWN)                                                                                    \
    X(UNHANDLED_CRITICAL_CRL_EXTENSION, REVOCATION_UNKNOWN)                                                                        \
    X(INVALID_NON_CA, BAD_CA)                                                                                                      \
    X(PROXY_PATH_LENGTH_EXCEEDED, PATH_LENGTH)                                                                                     \
    X(KEYUSAGE_NO_DIGITAL_SIGNATURE, PURPOSE)                                                                                      \
    X(PROXY_CERTIFICATES_NOT_ALLOWED, OTHER)                                                                                       \
    X(INVALID_EXTENSION, OTHER)                                                                                                    \
    X(INVALID_POLICY_EXTENSION, OTHER)                                                                                             \
    X(NO_EXPLICIT_POLICY, OTHER)                                                                                                   \
    X(DIFFERENT_CRL_SCOPE, REVOCATION_UNKNOWN)                                                                                     \
    X(UNSUPPORTED_EXTENSION_FEATURE, OTHER)                                                                                        \
    X(UNNESTED_RESOURCE, OTHER)                                                                                                    \
    X(PERMITTED_VIOLATION, NAME_CONSTRAINT)                                                                                        \
    X(EXCLUDED_VIOLATION, NAME_CONSTRAINT)                                                                                         \
    X(SUBTREE_MINMAX, NAME_CONSTRAINT)                                                                                             \
    X(APPLICATION_VERIFICATION, OTHER)                                                                                             \
    X(UNSUPPORTED_CONSTRAINT_TYPE, NAME_CONSTRAINT)                                                                                \
    X(UNSUPPORTED_CONSTRAINT_SYNTAX, NAME_CONSTRAINT)                                                                              \
    X(UNSUPPORTED_NAME_SYNTAX, NAME_CONSTRAINT)                                                                                    \
    X(CRL_PATH_VALIDATION_ERROR, REVOCATION_UNKNOWN)                                                                               \
    X(PATH_LOOP, OTHER)                                                                                                            \
    X(HOSTNAME_MISMATCH, HOST_MISMATCH)                                                                                            \
    X(EMAIL_MISMATCH, OTHER)                                                                                                       \
    X(IP_ADDRESS_MISMATCH, IP_MISMATCH)                                                                                            \
    X(DANE_NO_MATCH, OTHER)                                                                                                        \
    X(EE_KEY_TOO_SMALL, WEAK_KEY)                                                                                                  \
    X(CA_KEY_TOO_SMALL, WEAK_CA_KEY)                                                                                               \
    X(CA_MD_TOO_WEAK, WEAK_MD)                                                                                                     \
    X(INVALID_CALL, OTHER)                                                                                                         \
    X(STORE_LOOKUP, OTHER)                                                                                                         \
    X(NO_VALID_SCTS, OTHER)                                                                                                        \
    X(OCSP_VERIFY_NEEDED, REVOCATION_UNKNOWN)                                                                                      \
    X(OCSP_VERIFY_FAILED, REVOCATION_UNKNOWN)                                                                                      \
    X(OCSP_CERT_UNKNOWN, REVOCATION_UNKNOWN)                                                                                       \
    X(UNSUPPORTED_SIGNATURE_ALGORITHM, BAD_SIGNATURE)                                                                              \
    X(SIGNATURE_ALGORITHM_MISMATCH, BAD_SIGNATURE)                                                                                 \
    X(SIGNATURE_ALGORITHM_INCONSISTENCY, BAD_SIGNATURE)                                                                            \
    X(INVALID_CA, BAD_CA)                                                                                                          \
    X(PATHLEN_INVALID_FOR_NON_CA, BAD_CA)                                                                                          \
    X(PATHLEN_WITHOUT_KU_KEY_CERT_SIGN, BAD_CA)                                                                                    \
    X(KU_KEY_CERT_SIGN_INVALID_FOR_NON_CA, BAD_CA)                                                                                 \
    X(EC_KEY_EXPLICIT_PARAMS, WEAK_KEY)

static const struct code {
    int code;
    const char *name;
    Sluice__V1__Cause cause;
} CODE_TABLE[] = {
#define CODE(name, cause) {X509_V_ERR_##name, "X509_V_ERR_" #name, SL_CERT_CAUSE(cause)},
    CODES(CODE)
#undef CODE
};
enum { CODE_COUNT = sizeof(CODE_TABLE) / sizeof(CODE_TABLE[0]) };

static const struct code *find_code(int code)
{
    for (size_t i = 0; i < CODE_COUNT; i++) {
        if (CODE_TABLE[i].code == code)
            return &CODE_TABLE[i];
    }
    return NULL;
}

const char *sl_verify_code_name(int code)
{
    const struct code *c = find_code(code);
    return code == X509_V_OK ? "X509_V_OK" : c ? c->name : "X509_V_ERR_UNKNOWN";
}

Sluice__V1__Cause sl_verify_code_cause(int code)
{
    const struct code *c = find_code(code);
    return code == X509_V_OK ? SLUICE__V1__CAUSE__CAUSE_NONE : c ? c->cause : SL_CERT_CAUSE(OTHER);
}

uint8_t sl_verify_cause_alert(Sluice__V1__Cause cause)
{
    enum { bad_certificate = 42, unsupported = 43, revoked = 44, expired = 45, unknown = 46, unknown_ca = 48, internal = 80 };
    switch (cause) {
    case SL_CERT_CAUSE(SELF_SIGNED):
    case SL_CERT_CAUSE(SELF_SIGNED_CHAIN):
    case SL_CERT_CAUSE(NO_ISSUER):
    case SL_CERT_CAUSE(OWN_CA):
    case SL_CERT_CAUSE(DISTRUSTED):
        return unknown_ca;
    case SL_CERT_CAUSE(EXPIRED):
    case SL_CERT_CAUSE(NOT_YET):
        return expired;
    case SL_CERT_CAUSE(REVOKED):
        return revoked;
    case SL_CERT_CAUSE(PURPOSE):
    case SL_CERT_CAUSE(CRITICAL_EXTENSION):
        return unsupported;
    case SL_CERT_CAUSE(REVOCATION_UNKNOWN):
    case SL_CERT_CAUSE(OTHER):
        return unknown;
    case SLUICE__V1__CAUSE__INTERNAL_ERROR:
        return internal;
    default:
        return bad_certificate;
    }
}

/* What would be wrong even if everything after it were mended comes first; so a self-signed certificate with a wrong name is shown
 * as self-signed, and one that is expired and has a wrong name as expired. */
static const Sluice__V1__Cause GRAVEST_FIRST[] = {
    SL_CERT_CAUSE(TOO_LARGE),     SL_CERT_CAUSE(OWN_CA),
    SL_CERT_CAUSE(DISTRUSTED),    SL_CERT_CAUSE(BAD_SIGNATURE),
    SL_CERT_CAUSE(REVOKED),       SL_CERT_CAUSE(BAD_CA),
    SL_CERT_CAUSE(PATH_LENGTH),   SL_CERT_CAUSE(NAME_CONSTRAINT),
    SL_CERT_CAUSE(SELF_SIGNED),   SL_CERT_CAUSE(SELF_SIGNED_CHAIN),
    SL_CERT_CAUSE(NO_ISSUER),     SL_CERT_CAUSE(CRITICAL_EXTENSION),
    SL_CERT_CAUSE(PURPOSE),       SL_CERT_CAUSE(WEAK_KEY),
    SL_CERT_CAUSE(WEAK_CA_KEY),   SL_CERT_CAUSE(WEAK_MD),
    SL_CERT_CAUSE(EXPIRED),       SL_CERT_CAUSE(NOT_YET),
    SL_CERT_CAUSE(HOST_MISMATCH), SL_CERT_CAUSE(IP_MISMATCH),
    SL_CERT_CAUSE(OTHER),         SL_CERT_CAUSE(REVOCATION_UNKNOWN),
};

static const struct sl_finding *first_of(const struct sl_findings *f, Sluice__V1__Cause cause)
{
    for (size_t i = 0; i < f->count; i++) {
        if (f->at[i].cause == cause)
            return &f->at[i];
    }
    return NULL;
}

const struct sl_finding *sl_findings_worst(const struct sl_findings *f)
{
    const struct sl_finding *found = NULL;
    for (size_t i = 0; !found && i < sizeof(GRAVEST_FIRST) / sizeof(GRAVEST_FIRST[0]); i++)
        found = first_of(f, GRAVEST_FIRST[i]);
    return found || f->count == 0 ? found : &f->at[0];
}

void sl_findings_add(struct sl_findings *f, Sluice__V1__Cause cause, int code, int depth)
{
    bool known = f->causes & sl_cause_bit(cause);

    f->causes |= sl_cause_bit(cause);
    /* The last places are for causes not seen yet: there are fewer causes than places. */
    if (f->count < SL_FINDINGS_MAX && (!known || f->count < SL_FINDINGS_MAX / 4))
        f->at[f->count++] = (struct sl_finding){.cause = cause, .code = code, .depth = depth};
}

const char *sl_finding_text(const struct sl_finding *f)
{
    switch (f->cause) {
    case SL_CERT_CAUSE(OWN_CA):
        return "issued by this gateway's own CA";
    case SL_CERT_CAUSE(TOO_LARGE):
        return "certificate, chain or key beyond the limits";
    case SL_CERT_CAUSE(DISTRUSTED):
        return "certificate or CA on the list of those whose key is public";
    case SL_CERT_CAUSE(REVOCATION_UNKNOWN):
        return "revocation status not known";
    default:
        return X509_verify_cert_error_string(f->code);
    }
}

const char *sl_revocation_method_text(enum sl_revocation_method method)
{
    return method == SL_REVOCATION_BY_STAPLE ? "staple" : method == SL_REVOCATION_BY_CRL ? "crl" : "none";
}

const char *sl_revocation_result_text(enum sl_revocation_result result)
{
    return result == SL_REVOCATION_GOOD ? "good" : result == SL_REVOCATION_REVOKED ? "revoked" : "unknown";
}
