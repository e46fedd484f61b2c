/* SPDX-License-Identifier: Apache-2.0 */
/* Inside pki: what the parts of a validation share. */
#pragma once

#include <openssl/x509_vfy.h>

#include "pki/trust_impl.h"
#include "pki/verify.h"

#define SL_CERT_CAUSE(name) SLUICE__V1__CAUSE__SRV_CERT_##name

enum { SL_FINDINGS_MAX = 32, SL_CODE_NONE = -1 };

/* Something wrong with a chain. */
struct sl_finding {
    Sluice__V1__Cause cause;
    int code, depth;
};

/* All that is wrong. Beyond the maximum only the set of causes grows; the first of each is kept. */
struct sl_findings {
    struct sl_finding at[SL_FINDINGS_MAX];
    size_t count;
    uint64_t causes;
};

static inline uint64_t sl_cause_bit(Sluice__V1__Cause cause)
{
    return UINT64_C(1) << ((unsigned)cause - (unsigned)SL_CERT_CAUSE(SELF_SIGNED));
}

void sl_findings_add(struct sl_findings *f, Sluice__V1__Cause cause, int code, int depth);
/* The one to show: the gravest, of equals the first. NULL: none. */
const struct sl_finding *sl_findings_worst(const struct sl_findings *f);
const char *sl_finding_text(const struct sl_finding *f); /* static */

/* A span of wall-clock time in which a judgement holds. */
struct sl_validity {
    uint64_t from_ns, until_ns;
};
void sl_validity_narrow(struct sl_validity *v, const ASN1_TIME *from, const ASN1_TIME *until);

/* strength.c */
/* Limits that are checked before any signature is (V15). */
void sl_strength_limits(X509 *leaf, const STACK_OF(X509) * presented, struct sl_findings *f);
/* False: a key too costly to use, or one that can't be read. */
bool sl_strength_key_usable(const X509 *cert);
/* Keys and digests of a built path (V5). relied_on: the last one's signature counts as well (it is no anchor and not its own
 * issuer). */
void sl_strength_path(const STACK_OF(X509) * path, struct sl_findings *f, int *security_bits);

/* revocation.c */
struct sl_revocation {
    enum sl_revocation_method method;
    enum sl_revocation_result result;
    uint64_t age_s;
};
/* What a staple says about leaf, whose issuer is known; signatures, times and responder are checked. Narrows validity when it is
 * good. */
struct sl_revocation sl_revocation_staple(const uint8_t *staple, size_t len, X509 *leaf, X509 *issuer, uint64_t now_ns,
                                          struct sl_validity *validity);
/* After a path was checked against CRLs without complaint about its leaf: age and validity of the list used. */
struct sl_revocation sl_revocation_crl(X509_STORE_CTX *ctx, X509 *leaf, uint64_t now_ns, struct sl_validity *validity);
bool sl_revocation_must_staple(const X509 *leaf);

/* verify_memo.c: what a verifier remembers. Every function locks for itself. */
struct sl_memo;
sl_err sl_memo_new(size_t verdicts, size_t intermediates, struct sl_memo **out);
void sl_memo_free(struct sl_memo *memo);
/* A copy of what is remembered under binding and holds at now; false: nothing. */
bool sl_memo_find(struct sl_memo *memo, const uint8_t binding[static SL_SHA256_LEN], uint64_t now_ns, struct sl_verdict *out);
void sl_memo_store(struct sl_memo *memo, const struct sl_verdict *verdict, const struct sl_validity *validity);
/* Intermediates of a path that was good: all but leaf and anchor. */
void sl_memo_learn(struct sl_memo *memo, const STACK_OF(X509) * path);
/* Known intermediates that may have issued cert; new references are appended to out. Returns how many. */
size_t sl_memo_issuers(struct sl_memo *memo, X509 *cert, STACK_OF(X509) * out);
void sl_memo_counts(struct sl_memo *memo, size_t *verdicts, size_t *intermediates);
