/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One validation, in steps: limits, path (by the library, told to go on after each complaint), repair of a missing intermediate,
 * name, strength, own and known-bad CAs, revocation, pin, verdict. Every complaint is collected; the gravest is shown; a chain is
 * good only if there is none, or a pin excuses all of them.
 */
#include "pki/verify.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "pki/verify_impl.h"

enum {
    REMEMBERED_DEFAULT = 4096,
    INTERMEDIATES_DEFAULT = 512,
    REMEMBER_S_DEFAULT = 3600,
    PATH_INTERMEDIATES_MAX = 8,
    REPAIRS_MAX = 3
};

struct sl_verifier {
    const struct sl_clock *clock;
    uint64_t remember_ns;
    struct sl_memo *memo;
    atomic_uint_fast64_t verified, remembered_hits, repaired;
};

/* One validation under way. */
struct job {
    struct sl_verifier *verifier;
    const struct sl_verify_request *request;
    struct sl_trust *trust;
    struct sl_name host, address; /* text "" if there is none */
    uint64_t now_ns;
    struct sl_findings findings;
    struct sl_validity validity;
    struct sl_revocation revocation;
    STACK_OF(X509) * candidates; /* intermediates that may be used */
    STACK_OF(X509) * path;       /* what was built */
    struct sl_finding left_out;  /* why a presented certificate is no candidate */
    bool crl_checked, leaf_crl_unknown;
    bool repaired, must_staple;
    int security_bits;
};

sl_err sl_verifier_new(const struct sl_verifier_options *options, struct sl_verifier **out)
{
    static const struct sl_verifier_options defaults = {0};
    const struct sl_verifier_options *o = options ? options : &defaults;
    struct sl_verifier *v = calloc(1, sizeof(*v));
    sl_err err;

    if (!v)
        return SL_ERR_NOMEM;
    v->clock = o->clock ? o->clock : sl_clock_system();
    v->remember_ns = o->remember_ns ? o->remember_ns : (uint64_t)REMEMBER_S_DEFAULT * SL_NS_PER_S;
    err = sl_memo_new(o->remembered ? o->remembered : REMEMBERED_DEFAULT,
                      o->intermediates ? o->intermediates : INTERMEDIATES_DEFAULT, &v->memo);
    if (err)
        free(v);
    else
        *out = v;
    return err;
}

void sl_verifier_free(struct sl_verifier *verifier)
{
    if (!verifier)
        return;
    sl_memo_free(verifier->memo);
    free(verifier);
}

void sl_verifier_stats(struct sl_verifier *v, struct sl_verifier_stats *out)
{
    out->verified = atomic_load(&v->verified);
    out->remembered_hits = atomic_load(&v->remembered_hits);
    out->repaired = atomic_load(&v->repaired);
    sl_memo_counts(v->memo, &out->entries, &out->intermediates);
}

void sl_verdict_release(struct sl_verdict *verdict)
{
    sl_chain_unref(verdict->chain);
    *verdict = (struct sl_verdict){.cause = SLUICE__V1__CAUSE__INTERNAL_ERROR, .name = "", .text = ""};
}

void sl_verdict_copy(struct sl_verdict *to, const struct sl_verdict *from)
{
    *to = *from;
    sl_chain_ref(to->chain);
}

void sl_validity_narrow(struct sl_validity *v, const ASN1_TIME *from, const ASN1_TIME *until)
{
    int64_t at;

    if (from && sl_cert_time(from, &at) == SL_OK && at > 0 && (uint64_t)at * SL_NS_PER_S > v->from_ns)
        v->from_ns = (uint64_t)at * SL_NS_PER_S;
    /* A certificate is good in the second that it names as its last; dates beyond the year 2554 do not fit and do not matter. */
    if (until && sl_cert_time(until, &at) == SL_OK && at < INT64_MAX / SL_NS_PER_S - 1) {
        uint64_t end = at < 0 ? 0 : ((uint64_t)at + 1) * SL_NS_PER_S;
        if (end < v->until_ns)
            v->until_ns = end;
    }
}

/* --- the digest of all inputs --- */

static bool add(EVP_MD_CTX *hash, const void *bytes, size_t len)
{
    uint64_t prefix = len; /* so that no two lists of inputs read the same */
    return EVP_DigestUpdate(hash, &prefix, sizeof(prefix)) == 1 && EVP_DigestUpdate(hash, bytes, len) == 1;
}

static bool add_cert(EVP_MD_CTX *hash, const X509 *cert)
{
    uint8_t sha256[SL_SHA256_LEN];
    return sl_cert_sha256(cert, sha256) == SL_OK && add(hash, sha256, sizeof(sha256));
}

static sl_err bind_inputs(const struct job *j, const uint8_t leaf[static SL_SHA256_LEN], uint8_t out[static SL_SHA256_LEN])
{
    const struct sl_verify_request *r = j->request;
    const uint8_t small[] = {(uint8_t)r->revocation, (uint8_t)(r->port >> 8), (uint8_t)r->port};
    int count = sk_X509_num(r->presented);
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    bool good = hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1 && add(hash, j->trust->id, sizeof(j->trust->id)) &&
                add(hash, small, sizeof(small)) && add(hash, j->host.text, strlen(j->host.text)) &&
                add(hash, j->address.text, strlen(j->address.text)) && add(hash, r->staple, r->staple ? r->staple_len : 0) &&
                add(hash, leaf, SL_SHA256_LEN);

    for (int i = 0; good && i < count; i++) {
        const X509 *cert = sk_X509_value(r->presented, i);
        good = cert == r->leaf ? add(hash, leaf, SL_SHA256_LEN) : add_cert(hash, cert);
    }
    good = good && EVP_DigestFinal_ex(hash, out, NULL) == 1;
    EVP_MD_CTX_free(hash);
    return good ? SL_OK : SL_ERR_CRYPTO;
}

/* --- path --- */

static bool is_crl_complaint(int code)
{
    return code != X509_V_ERR_CERT_REVOKED && sl_verify_code_cause(code) == SL_CERT_CAUSE(REVOCATION_UNKNOWN);
}

/* The library reports a complaint and asks whether to go on: always, so that all are known. */
static int on_complaint(int ok, X509_STORE_CTX *ctx)
{
    struct job *j = X509_STORE_CTX_get_app_data(ctx);
    int code = X509_STORE_CTX_get_error(ctx), depth = X509_STORE_CTX_get_error_depth(ctx);

    if (ok)
        return 1;
    if (is_crl_complaint(code)) {
        if (depth == 0)
            j->leaf_crl_unknown = true;
    } else
        sl_findings_add(&j->findings, sl_verify_code_cause(code), code, depth);
    return 1;
}

static sl_err choose_candidates(struct job *j)
{
    const STACK_OF(X509) *presented = j->request->presented;

    if (!(j->candidates = sk_X509_new_null()))
        return SL_ERR_NOMEM;
    for (int i = 0; i < sk_X509_num(presented); i++) {
        X509 *cert = sk_X509_value(presented, i);
        if (X509_cmp(cert, j->request->leaf) == 0)
            continue;
        if (!sl_strength_key_usable(cert)) {
            j->left_out = (struct sl_finding){SL_CERT_CAUSE(TOO_LARGE), X509_V_ERR_UNSPECIFIED, i};
            continue;
        }
        if (X509_up_ref(cert) != 1)
            return SL_ERR_NOMEM;
        if (!sk_X509_push(j->candidates, cert)) {
            X509_free(cert);
            return SL_ERR_NOMEM;
        }
    }
    return SL_OK;
}

static void forget_path(struct job *j)
{
    sk_X509_pop_free(j->path, X509_free);
    j->path = NULL;
    j->findings = (struct sl_findings){0};
    j->leaf_crl_unknown = false;
}

static sl_err build_path(struct job *j)
{
    const struct sl_verify_request *r = j->request;
    unsigned long flags = X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST;
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    sl_err err = SL_OK;

    forget_path(j);
    if (!ctx || X509_STORE_CTX_init(ctx, j->trust->store, r->leaf, j->candidates) != 1) {
        err = SL_ERR_NOMEM;
        goto Exit;
    }
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    j->crl_checked = r->revocation != SL_REVOCATION_OFF && j->trust->info.crls > 0;
    if (j->crl_checked)
        flags |= X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
    if (X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_SERVER) != 1 || X509_VERIFY_PARAM_set_flags(param, flags) != 1) {
        err = SL_ERR_CRYPTO;
        goto Exit;
    }
    X509_VERIFY_PARAM_set_time(param, (time_t)(j->now_ns / SL_NS_PER_S));
    X509_VERIFY_PARAM_set_depth(param, PATH_INTERMEDIATES_MAX);
    X509_STORE_CTX_set_app_data(ctx, j);
    X509_STORE_CTX_set_verify_cb(ctx, on_complaint);
    int result = X509_verify_cert(ctx);
    if (result != 1 && j->findings.count == 0) {
        int code = X509_STORE_CTX_get_error(ctx);
        if (code == X509_V_ERR_OUT_OF_MEM)
            err = SL_ERR_NOMEM;
        else
            sl_findings_add(&j->findings, SL_CERT_CAUSE(OTHER), code ? code : X509_V_ERR_UNSPECIFIED, 0);
    }
    j->path = X509_STORE_CTX_get1_chain(ctx);
    if (!j->path && !err)
        err = SL_ERR_NOMEM;
    if (!err && j->crl_checked && !j->leaf_crl_unknown && !(j->findings.causes & sl_cause_bit(SL_CERT_CAUSE(NO_ISSUER))))
        j->revocation = sl_revocation_crl(ctx, r->leaf, j->now_ns, &j->validity);
Exit:
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
    return err;
}

static bool lacks_issuer(const struct job *j)
{
    return j->findings.causes & sl_cause_bit(SL_CERT_CAUSE(NO_ISSUER));
}

/* V12: from intermediates of chains that were valid; they are hints for the search, every signature is checked as ever. */
static sl_err find_path(struct job *j)
{
    sl_err err = choose_candidates(j);

    if (!err)
        err = build_path(j);
    for (int i = 0; !err && lacks_issuer(j) && i < REPAIRS_MAX && sk_X509_num(j->path) > 0; i++) {
        X509 *last = sk_X509_value(j->path, sk_X509_num(j->path) - 1);
        if (sl_memo_issuers(j->verifier->memo, last, j->candidates) == 0)
            break;
        j->repaired = true;
        err = build_path(j);
    }
    if (lacks_issuer(j))
        j->repaired = false;
    return err;
}

/* The library calls a CA that may not sign "no issuer"; people want to know which it was. */
static void explain_missing_issuer(struct job *j)
{
    if (!lacks_issuer(j) || sk_X509_num(j->path) == 0)
        return;
    int depth = sk_X509_num(j->path) - 1;
    X509 *last = sk_X509_value(j->path, depth);
    for (int i = 0; i < sk_X509_num(j->candidates); i++) {
        if (X509_check_issued(sk_X509_value(j->candidates, i), last) == X509_V_ERR_KEYUSAGE_NO_CERTSIGN)
            sl_findings_add(&j->findings, SL_CERT_CAUSE(BAD_CA), X509_V_ERR_KEYUSAGE_NO_CERTSIGN, depth + 1);
    }
    if (j->left_out.cause)
        sl_findings_add(&j->findings, j->left_out.cause, j->left_out.code, j->left_out.depth);
}

/* Nobody relies on the signature of a certificate that is its own issuer; but a pin shall not excuse one that is wrong. */
static void check_own_signature(struct job *j)
{
    if (!(j->findings.causes & sl_cause_bit(SL_CERT_CAUSE(SELF_SIGNED))))
        return;
    EVP_PKEY *key = X509_get0_pubkey(j->request->leaf);
    if (!key || X509_verify(j->request->leaf, key) != 1)
        sl_findings_add(&j->findings, SL_CERT_CAUSE(BAD_SIGNATURE), X509_V_ERR_CERT_SIGNATURE_FAILURE, 0);
    ERR_clear_error();
}

/* --- the rest --- */

static void check_name(struct job *j)
{
    if (j->host.text[0] && sl_san_match(j->request->leaf, &j->host))
        return;
    if (j->host.ip_len)
        sl_findings_add(&j->findings, SL_CERT_CAUSE(IP_MISMATCH), X509_V_ERR_IP_ADDRESS_MISMATCH, 0);
    else
        sl_findings_add(&j->findings, SL_CERT_CAUSE(HOST_MISMATCH), X509_V_ERR_HOSTNAME_MISMATCH, 0);
}

static void check_distrust(struct job *j)
{
    for (int i = 0; i < sk_X509_num(j->path); i++) {
        X509 *cert = sk_X509_value(j->path, i);
        if (sl_trust_is_own(j->trust, cert))
            sl_findings_add(&j->findings, SL_CERT_CAUSE(OWN_CA), X509_V_ERR_CERT_REJECTED, i);
        if (sl_trust_is_bad(j->trust, cert))
            sl_findings_add(&j->findings, SL_CERT_CAUSE(DISTRUSTED), X509_V_ERR_CERT_REJECTED, i);
    }
}

static X509 *issuer_of_leaf(const struct job *j)
{
    return sk_X509_num(j->path) > 1 ? sk_X509_value(j->path, 1) : NULL;
}

static void check_revocation(struct job *j)
{
    const struct sl_verify_request *r = j->request;

    if (j->findings.causes & sl_cause_bit(SL_CERT_CAUSE(REVOKED)))
        j->revocation = (struct sl_revocation){SL_REVOCATION_BY_CRL, SL_REVOCATION_REVOKED, j->revocation.age_s};
    if (r->revocation == SL_REVOCATION_OFF)
        return;
    j->must_staple = sl_revocation_must_staple(r->leaf);
    struct sl_revocation staple =
        sl_revocation_staple(r->staple, r->staple_len, r->leaf, issuer_of_leaf(j), j->now_ns, &j->validity);
    if (staple.result == SL_REVOCATION_REVOKED)
        sl_findings_add(&j->findings, SL_CERT_CAUSE(REVOKED), X509_V_ERR_CERT_REVOKED, 0);
    /* Either source may revoke; the staple is the fresher of two good ones. */
    if (j->revocation.result != SL_REVOCATION_REVOKED && staple.method != SL_REVOCATION_BY_NONE &&
        (staple.result != SL_REVOCATION_UNKNOWN || j->revocation.result == SL_REVOCATION_UNKNOWN))
        j->revocation = staple;
    if (j->must_staple && staple.result == SL_REVOCATION_UNKNOWN)
        sl_findings_add(&j->findings, SL_CERT_CAUSE(REVOCATION_UNKNOWN), X509_V_ERR_OCSP_VERIFY_NEEDED, 0);
    else if (r->revocation == SL_REVOCATION_HARD && j->revocation.result == SL_REVOCATION_UNKNOWN)
        sl_findings_add(&j->findings, SL_CERT_CAUSE(REVOCATION_UNKNOWN), X509_V_ERR_UNABLE_TO_GET_CRL, 0);
}

static void narrow_to_path(struct job *j)
{
    for (int i = 0; i < sk_X509_num(j->path); i++) {
        const X509 *cert = sk_X509_value(j->path, i);
        sl_validity_narrow(&j->validity, X509_get0_notBefore(cert), X509_get0_notAfter(cert));
    }
}

/* See verify.h, "What a pin does". own_end: the pin has an end of its own, so that dates are the operator's. */
static bool pin_excuses(const struct sl_finding *f, bool own_end)
{
    switch (f->cause) {
    case SL_CERT_CAUSE(SELF_SIGNED):
    case SL_CERT_CAUSE(SELF_SIGNED_CHAIN):
    case SL_CERT_CAUSE(NO_ISSUER):
    case SL_CERT_CAUSE(BAD_CA):
    case SL_CERT_CAUSE(PATH_LENGTH):
    case SL_CERT_CAUSE(NAME_CONSTRAINT):
    case SL_CERT_CAUSE(HOST_MISMATCH):
    case SL_CERT_CAUSE(IP_MISMATCH):
    case SL_CERT_CAUSE(REVOCATION_UNKNOWN):
        return true;
    case SL_CERT_CAUSE(EXPIRED):
    case SL_CERT_CAUSE(NOT_YET):
        return own_end || f->depth > 0;
    case SL_CERT_CAUSE(PURPOSE):
    case SL_CERT_CAUSE(CRITICAL_EXTENSION):
    case SL_CERT_CAUSE(WEAK_CA_KEY):
    case SL_CERT_CAUSE(WEAK_MD):
        return f->depth > 0; /* of the path that the pin replaces */
    default:
        return false;
    }
}

static bool pin_excuses_all(const struct sl_findings *f, bool own_end)
{
    uint64_t listed = 0;
    for (size_t i = 0; i < f->count; i++) {
        listed |= sl_cause_bit(f->at[i].cause);
        if (!pin_excuses(&f->at[i], own_end))
            return false;
    }
    /* A list that ran over could hide something. */
    return listed == f->causes && f->count < SL_FINDINGS_MAX / 4;
}

/* What is left to complain about under a pin. */
static struct sl_findings not_excused(const struct sl_findings *f, bool own_end)
{
    struct sl_findings left = {0};
    for (size_t i = 0; i < f->count; i++) {
        if (!pin_excuses(&f->at[i], own_end))
            sl_findings_add(&left, f->at[i].cause, f->at[i].code, f->at[i].depth);
    }
    return left.count > 0 ? left : *f;
}

static void decide(struct job *j, struct sl_verdict *out)
{
    const struct sl_pin *pin = sl_trust_find_pin(j->trust, out->leaf_sha256, &j->host, &j->address, j->request->port, j->now_ns);
    const struct sl_findings shown = pin ? not_excused(&j->findings, pin->own_end) : j->findings;
    const struct sl_finding *worst = sl_findings_worst(&shown);
    bool excused = pin && pin_excuses_all(&j->findings, pin->own_end);

    out->causes = j->findings.causes;
    if (pin && pin->expires_ns < j->validity.until_ns)
        j->validity.until_ns = pin->expires_ns;
    if (!worst || excused) {
        out->cause = SLUICE__V1__CAUSE__CAUSE_NONE;
        out->code = X509_V_OK;
        out->name = "X509_V_OK";
        out->text = worst ? "accepted by a pin" : "ok";
        out->pinned = pin != NULL;
        out->security_bits = j->security_bits;
    } else {
        out->cause = worst->cause;
        out->code = worst->code;
        out->depth = worst->depth;
        out->name = sl_verify_code_name(worst->code);
        out->text = sl_finding_text(worst);
        out->pinnable = pin_excuses_all(&j->findings, true);
    }
    /* A pinned leaf's own dates and those of the path above it bound nothing that the pin excuses. */
    if (!worst)
        narrow_to_path(j);
    else if (excused && !pin->own_end)
        sl_validity_narrow(&j->validity, X509_get0_notBefore(j->request->leaf), NULL);
    out->repaired = j->repaired;
    out->must_staple = j->must_staple;
    out->revocation.method = j->revocation.method;
    out->revocation.result = j->revocation.result;
    out->revocation.age_s = j->revocation.age_s;
}

static sl_err judge(struct job *j, struct sl_verdict *out)
{
    sl_err err = SL_OK;

    sl_strength_limits(j->request->leaf, j->request->presented, &j->findings);
    if (j->findings.count == 0) {
        if ((err = find_path(j)))
            return err;
        explain_missing_issuer(j);
        check_own_signature(j);
        check_name(j);
        sl_strength_path(j->path, &j->findings, &j->security_bits);
        check_distrust(j);
        check_revocation(j);
    }
    decide(j, out);
    /* Beyond the limits nothing is described, either. */
    if (!(j->findings.causes & sl_cause_bit(SL_CERT_CAUSE(TOO_LARGE))))
        err = sl_chain_new(j->request->leaf, j->request->presented, &out->chain);
    return err == SL_ERR_NOMEM ? SL_ERR_NOMEM : SL_OK;
}

static void remember(struct job *j, struct sl_verdict *out)
{
    if (out->cause != SLUICE__V1__CAUSE__CAUSE_NONE)
        return;
    uint64_t end = j->now_ns + j->verifier->remember_ns;
    out->valid_until_ns = j->validity.until_ns;
    if (end < j->validity.until_ns)
        j->validity.until_ns = end;
    sl_memo_store(j->verifier->memo, out, &j->validity);
    if (j->findings.count == 0)
        sl_memo_learn(j->verifier->memo, j->path);
    if (j->repaired)
        atomic_fetch_add_explicit(&j->verifier->repaired, 1, memory_order_relaxed);
}

sl_err sl_verify(struct sl_verifier *verifier, const struct sl_verify_request *request, struct sl_verdict *out)
{
    struct job j = {.verifier = verifier, .request = request, .trust = request->trust, .validity = {0, UINT64_MAX}};
    sl_err err;

    *out = (struct sl_verdict){.cause = SLUICE__V1__CAUSE__INTERNAL_ERROR, .name = "", .text = ""};
    if (!request->leaf || !request->trust)
        return SL_ERR_INVALID;
    j.now_ns = verifier->clock->wall_ns(verifier->clock->arg);
    /* A name that is none is matched by no certificate. */
    if (sl_name_parse(request->host, &j.host))
        j.host = (struct sl_name){0};
    if (sl_name_parse(request->address, &j.address))
        j.address = (struct sl_name){0};
    if ((err = sl_cert_sha256(request->leaf, out->leaf_sha256)) || (err = bind_inputs(&j, out->leaf_sha256, out->binding)))
        goto Exit;
    if (sl_memo_find(verifier->memo, out->binding, j.now_ns, out)) {
        out->remembered = true;
        atomic_fetch_add_explicit(&verifier->remembered_hits, 1, memory_order_relaxed);
        return SL_OK;
    }
    out->trust_version = j.trust->info.policy_version;
    atomic_fetch_add_explicit(&verifier->verified, 1, memory_order_relaxed);
    if ((err = judge(&j, out)))
        goto Exit;
    remember(&j, out);
Exit:
    sk_X509_pop_free(j.candidates, X509_free);
    sk_X509_pop_free(j.path, X509_free);
    if (err)
        sl_verdict_release(out);
    return err;
}
