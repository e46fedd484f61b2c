/* SPDX-License-Identifier: Apache-2.0 */
/* V7: staples and CRLs, good, revoked, stale, forged; soft and hard; must-staple. badssl: revoked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <unistd.h>

#include "base/clock.h"
#include "pki/verify.h"
#include "test_pki.h"

#define CAUSE(name)   SLUICE__V1__CAUSE__SRV_CERT_##name
#define CAUSE_REVOKED SLUICE__V1__CAUSE__SRV_CERT_REVOKED
#define GOOD          SLUICE__V1__CAUSE__CAUSE_NONE
#define OFF           SL_REVOCATION_OFF
#define SOFT          SL_REVOCATION_SOFT
#define HARD          SL_REVOCATION_HARD
#define NONE          SL_REVOCATION_BY_NONE
#define STAPLE        SL_REVOCATION_BY_STAPLE
#define UNKNOWN       SL_REVOCATION_UNKNOWN
#define FINE          SL_REVOCATION_GOOD
#define REVOKED       SL_REVOCATION_REVOKED

static struct {
    struct sl_clock_manual clock;
    struct tp root, ca, leaf, sibling;
    char folder[32], bundle[64], crl[64];
} f;

static int setup(void **state)
{
    (void)state;
    sl_clock_manual_init(&f.clock, (uint64_t)TP_NOW * SL_NS_PER_S);
    f.root = tp_root("Root");
    f.ca = tp_intermediate("CA", &f.root);
    f.leaf = tp_leaf("www.example.com", &f.ca);
    f.sibling = tp_leaf("other.example.com", &f.ca);
    snprintf(f.folder, sizeof(f.folder), "revocation-XXXXXX");
    assert_non_null(mkdtemp(f.folder));
    snprintf(f.bundle, sizeof(f.bundle), "%s/bundle.pem", f.folder);
    snprintf(f.crl, sizeof(f.crl), "%s/crl.pem", f.folder);
    tp_write_certs(f.bundle, (X509 *[]){f.root.cert, NULL});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(f.bundle);
    unlink(f.crl);
    rmdir(f.folder);
    tp_free(&f.root);
    tp_free(&f.ca);
    tp_free(&f.leaf);
    tp_free(&f.sibling);
    return 0;
}

static struct sl_verdict verify(X509 *leaf, bool with_crl, const uint8_t *staple, size_t len, enum sl_revocation_mode mode)
{
    const char *crls[] = {f.crl};
    const struct sl_trust_options trust_options = {
        .bundle = f.bundle, .crls = crls, .crl_count = with_crl ? 1 : 0, .clock = &f.clock.clock};
    const struct sl_verifier_options options = {.clock = &f.clock.clock};
    STACK_OF(X509) *stack = tp_stack((X509 *[]){leaf, f.ca.cert, NULL});
    struct sl_trust *trust = NULL;
    struct sl_verifier *verifier = NULL;
    struct sl_verdict v;
    struct sl_diag diag;

    if (sl_trust_new(&trust_options, &trust, &diag))
        fail_msg("%s", diag.text);
    assert_int_equal(sl_verifier_new(&options, &verifier), SL_OK);
    const struct sl_verify_request r = {.trust = trust,
                                        .leaf = leaf,
                                        .presented = stack,
                                        .host = "www.example.com",
                                        .port = 443,
                                        .staple = staple,
                                        .staple_len = len,
                                        .revocation = mode};
    assert_int_equal(sl_verify(verifier, &r, &v), SL_OK);
    sl_verifier_free(verifier);
    sl_trust_unref(trust);
    sk_X509_free(stack);
    return v;
}

static void expect(const char *what, struct sl_verdict v, Sluice__V1__Cause cause, enum sl_revocation_method method,
                   enum sl_revocation_result result)
{
    if (v.cause != cause || v.revocation.method != method || v.revocation.result != result)
        fail_msg("%s: cause %d (%s), %s, %s", what, v.cause, v.name, sl_revocation_method_text(v.revocation.method),
                 sl_revocation_result_text(v.revocation.result));
    sl_verdict_release(&v);
}

static void staples(void **state)
{
    struct tp responder = tp_make((struct tp_spec){.cn = "Responder", .issuer = &f.ca, .purpose = "OCSPSigning"});
    struct tp expired = tp_make((struct tp_spec){.cn = "R", .issuer = &f.ca, .purpose = "OCSPSigning", .until = TP_NOW - 1});
    struct tp no_purpose = tp_make((struct tp_spec){.cn = "R", .issuer = &f.ca});
    struct tp stranger = tp_make((struct tp_spec){.cn = "R", .issuer = &f.root, .purpose = "OCSPSigning"});
    struct tp forger = tp_make((struct tp_spec){.cn = "CA", .ca = true});
    const struct {
        const char *id;
        const struct tp *by;
        X509 *about;
        int status;
        time_t from, next;
        const EVP_MD *id_digest, *digest;
        bool damaged;
        enum sl_revocation_method method;
        enum sl_revocation_result result;
    } cases[] = {
        {"good", &f.ca, f.leaf.cert, V_OCSP_CERTSTATUS_GOOD, TP_NOW - 3600, TP_NOW + TP_DAY, NULL, NULL, false, STAPLE, FINE},
        {"SHA-256 id", &f.ca, f.leaf.cert, V_OCSP_CERTSTATUS_GOOD, TP_NOW - 3600, TP_NOW + TP_DAY, EVP_sha256(), NULL, false,
         STAPLE, FINE},
        {"delegated", &responder, f.leaf.cert, V_OCSP_CERTSTATUS_GOOD, TP_NOW - 3600, TP_NOW + TP_DAY, NULL, NULL, false, STAPLE,
         FINE},
        {"no end", &f.ca, f.leaf.cert, V_OCSP_CERTSTATUS_GOOD, TP_NOW - 6 * TP_DAY, 0, NULL, NULL, false, STAPLE, FINE},
        {"revoked", &f.ca, f.leaf.cert, V_OCSP_CERTSTATUS_REVOKED, TP_NOW - 3600, TP_NOW + TP_DAY, NULL, NULL, false, STAPLE,
         REVOKED},
        {"unknown", &f.ca, f.leaf.cert, V_OCSP_CERTSTATUS_UNKNOWN, TP_NOW - 3600, TP_NOW + TP_DAY, NULL, NULL, false, STAPLE,
         UNKNOWN},
        {"expired", &f.ca, f.leaf.cert, V_OCSP_CERTSTATUS_GOOD, TP_NOW - 2 * TP_DAY, TP_NOW - 1, NULL, NULL, false, NONE, UNKNOWN},
        {"old, no end", &f.ca, f.leaf.cert, V_OCSP_CERTSTATUS_GOOD, TP_NOW - 8 * TP_DAY, 0, NULL, NULL, false, NONE, UNKNOWN},
        {"future", &f.ca, f.leaf.cert, V_OCSP_CERTSTATUS_GOOD, TP_NOW + 3600, TP_NOW + TP_DAY, NULL, NULL, false, NONE, UNKNOWN},
        {"other certificate", &f.ca, f.sibling.cert, V_OCSP_CERTSTATUS_GOOD, TP_NOW - 3600, TP_NOW + TP_DAY, NULL, NULL, false,
         NONE, UNKNOWN},
        {"SHA-1 signature", &f.ca, f.leaf.cert, V_OCSP_CERTSTATUS_GOOD, TP_NOW - 3600, TP_NOW + TP_DAY, NULL, EVP_sha1(), false,
         NONE, UNKNOWN},
        {"damaged", &f.ca, f.leaf.cert, V_OCSP_CERTSTATUS_GOOD, TP_NOW - 3600, TP_NOW + TP_DAY, NULL, NULL, true, NONE, UNKNOWN},
        {"expired responder", &expired, f.leaf.cert, V_OCSP_CERTSTATUS_GOOD, TP_NOW - 3600, TP_NOW + TP_DAY, NULL, NULL, false,
         NONE, UNKNOWN},
        {"responder without purpose", &no_purpose, f.leaf.cert, V_OCSP_CERTSTATUS_GOOD, TP_NOW - 3600, TP_NOW + TP_DAY, NULL, NULL,
         false, NONE, UNKNOWN},
        {"another CA's responder", &stranger, f.leaf.cert, V_OCSP_CERTSTATUS_GOOD, TP_NOW - 3600, TP_NOW + TP_DAY, NULL, NULL,
         false, NONE, UNKNOWN},
        {"forged", &forger, f.leaf.cert, V_OCSP_CERTSTATUS_GOOD, TP_NOW - 3600, TP_NOW + TP_DAY, NULL, NULL, false, NONE, UNKNOWN},
        {"forged revocation", &forger, f.leaf.cert, V_OCSP_CERTSTATUS_REVOKED, TP_NOW - 3600, TP_NOW + TP_DAY, NULL, NULL, false,
         NONE, UNKNOWN},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned char *staple;
        size_t len = tp_ocsp(cases[i].by, cases[i].about, f.ca.cert, cases[i].status, cases[i].from, cases[i].next,
                             cases[i].id_digest, cases[i].digest, &staple);
        if (cases[i].damaged) { /* somewhere in the signed part: the status itself */
            for (size_t k = 0; k + 1 < len; k++) {
                if (staple[k] == 0x80 && staple[k + 1] == 0x00) {
                    staple[k] = 0x82;
                    break;
                }
            }
        }
        bool revoked = cases[i].result == REVOKED, fine = cases[i].result == FINE;
        expect(cases[i].id, verify(f.leaf.cert, false, staple, len, SOFT), revoked ? CAUSE_REVOKED : GOOD, cases[i].method,
               cases[i].result);
        expect(cases[i].id, verify(f.leaf.cert, false, staple, len, HARD),
               revoked ? CAUSE_REVOKED
               : fine  ? GOOD
                       : CAUSE(REVOCATION_UNKNOWN),
               cases[i].method, cases[i].result);
        expect(cases[i].id, verify(f.leaf.cert, false, staple, len, OFF), GOOD, NONE, UNKNOWN);
        OPENSSL_free(staple);
    }
    expect("none", verify(f.leaf.cert, false, NULL, 0, SOFT), GOOD, NONE, UNKNOWN);
    expect("none, hard", verify(f.leaf.cert, false, NULL, 0, HARD), CAUSE(REVOCATION_UNKNOWN), NONE, UNKNOWN);
    expect("rubbish", verify(f.leaf.cert, false, (const uint8_t *)"\x30\x03\x0a\x01\x00", 5, SOFT), GOOD, NONE, UNKNOWN);
    struct tp *all[] = {&responder, &expired, &no_purpose, &stranger, &forger};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        tp_free(all[i]);
}

static void must_staple(void **state)
{
    struct tp leaf = tp_make((struct tp_spec){.cn = "w", .san = "DNS:www.example.com", .issuer = &f.ca, .must_staple = true});
    unsigned char *staple;
    size_t len = tp_ocsp(&f.ca, leaf.cert, f.ca.cert, V_OCSP_CERTSTATUS_GOOD, TP_NOW - 60, TP_NOW + TP_DAY, NULL, NULL, &staple);
    (void)state;
    expect("absent", verify(leaf.cert, false, NULL, 0, SOFT), CAUSE(REVOCATION_UNKNOWN), SL_REVOCATION_BY_NONE,
           SL_REVOCATION_UNKNOWN);
    expect("absent, off", verify(leaf.cert, false, NULL, 0, OFF), GOOD, SL_REVOCATION_BY_NONE, SL_REVOCATION_UNKNOWN);
    struct sl_verdict v = verify(leaf.cert, false, staple, len, SOFT);
    assert_true(v.must_staple);
    assert_int_equal(v.revocation.age_s, 60);
    expect("present", v, GOOD, SL_REVOCATION_BY_STAPLE, SL_REVOCATION_GOOD);
    OPENSSL_free(staple);
    tp_free(&leaf);
}

static void lists(void **state)
{
    struct tp forger = tp_make((struct tp_spec){.cn = "CA", .ca = true});
    const struct {
        const char *id;
        const struct tp *by;
        X509 *revoked;
        time_t from, next;
        Sluice__V1__Cause soft, hard;
        enum sl_revocation_method method;
        enum sl_revocation_result result;
    } cases[] = {
        {"good", &f.ca, f.sibling.cert, TP_NOW - 3600, TP_NOW + TP_DAY, GOOD, GOOD, SL_REVOCATION_BY_CRL, SL_REVOCATION_GOOD},
        {"revoked", &f.ca, f.leaf.cert, TP_NOW - 3600, TP_NOW + TP_DAY, CAUSE_REVOKED, CAUSE_REVOKED, SL_REVOCATION_BY_CRL,
         SL_REVOCATION_REVOKED},
        {"old", &f.ca, f.sibling.cert, TP_NOW - TP_DAY, TP_NOW - 1, GOOD, CAUSE(REVOCATION_UNKNOWN), SL_REVOCATION_BY_NONE,
         SL_REVOCATION_UNKNOWN},
        {"revoked in an old one", &f.ca, f.leaf.cert, TP_NOW - TP_DAY, TP_NOW - 1, CAUSE_REVOKED, CAUSE_REVOKED,
         SL_REVOCATION_BY_CRL, SL_REVOCATION_REVOKED},
        {"of another CA", &f.root, f.sibling.cert, TP_NOW - 3600, TP_NOW + TP_DAY, GOOD, CAUSE(REVOCATION_UNKNOWN),
         SL_REVOCATION_BY_NONE, SL_REVOCATION_UNKNOWN},
        {"revoked intermediate", &f.root, f.ca.cert, TP_NOW - 3600, TP_NOW + TP_DAY, CAUSE_REVOKED, CAUSE_REVOKED,
         SL_REVOCATION_BY_CRL, SL_REVOCATION_REVOKED},
        {"forged", &forger, f.sibling.cert, TP_NOW - 3600, TP_NOW + TP_DAY, GOOD, CAUSE(REVOCATION_UNKNOWN), SL_REVOCATION_BY_NONE,
         SL_REVOCATION_UNKNOWN},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        tp_write_crl(f.crl, tp_crl(cases[i].by, (X509 *[]){cases[i].revoked, NULL}, cases[i].from, cases[i].next));
        expect(cases[i].id, verify(f.leaf.cert, true, NULL, 0, SOFT), cases[i].soft, cases[i].method, cases[i].result);
        expect(cases[i].id, verify(f.leaf.cert, true, NULL, 0, HARD), cases[i].hard, cases[i].method, cases[i].result);
        expect(cases[i].id, verify(f.leaf.cert, true, NULL, 0, OFF), GOOD, SL_REVOCATION_BY_NONE, SL_REVOCATION_UNKNOWN);
    }
    tp_write_crl(f.crl, tp_crl(&f.ca, (X509 *[]){NULL}, TP_NOW - 3600, TP_NOW + TP_DAY));
    struct sl_verdict v = verify(f.leaf.cert, true, NULL, 0, SOFT);
    assert_int_equal(v.revocation.age_s, 3600);
    assert_true(v.valid_until_ns <= (uint64_t)(TP_NOW + TP_DAY + 1) * SL_NS_PER_S);
    sl_verdict_release(&v);
    tp_free(&forger);
}

static void words(void **state)
{
    (void)state;
    assert_string_equal(sl_revocation_method_text(SL_REVOCATION_BY_STAPLE), "staple");
    assert_string_equal(sl_revocation_method_text(SL_REVOCATION_BY_CRL), "crl");
    assert_string_equal(sl_revocation_method_text(SL_REVOCATION_BY_NONE), "none");
    assert_string_equal(sl_revocation_result_text(SL_REVOCATION_GOOD), "good");
    assert_string_equal(sl_revocation_result_text(SL_REVOCATION_REVOKED), "revoked");
    assert_string_equal(sl_revocation_result_text(SL_REVOCATION_UNKNOWN), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(staples), cmocka_unit_test(must_staple), cmocka_unit_test(lists),
                                       cmocka_unit_test(words)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
