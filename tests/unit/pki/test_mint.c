/* SPDX-License-Identifier: Apache-2.0 */
/* V9, C3, C4, C7, C9: what a leaf says, and which are never made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "pki/mint.h"
#include "pki/san.h"
#include "test_pki.h"

static struct {
    struct sl_clock_manual clock;
    struct sl_ca *ca, *untrusted;
    struct sl_minter *minter;
    struct tp root;
} f;

static int setup(void **state)
{
    static const char *const sensitive[] = {"mgmt.example.com", "*.internal.example", "192.0.2.77"};
    const struct sl_minter_options options = {.clock = &f.clock.clock, .sensitive = sensitive, .sensitive_count = 3};
    struct sl_diag diag;
    (void)state;
    sl_clock_manual_init(&f.clock, (uint64_t)TP_NOW * SL_NS_PER_S);
    const struct sl_ca_options ca = {.common_name = "Decryption CA", .clock = &f.clock.clock};
    f.root = tp_root("Root");
    return sl_ca_generate(&ca, false, &f.ca, &diag) || sl_ca_untrusted_new("gw", &f.clock.clock, &f.untrusted, &diag) ||
           sl_minter_new(&options, &f.minter, &diag);
}

static int teardown(void **state)
{
    (void)state;
    sl_ca_unref(f.ca);
    sl_ca_unref(f.untrusted);
    sl_minter_free(f.minter);
    tp_free(&f.root);
    return 0;
}

static struct sl_verdict good(bool pinned)
{
    return (struct sl_verdict){.cause = SLUICE__V1__CAUSE__CAUSE_NONE, .pinned = pinned, .valid_until_ns = UINT64_MAX};
}

static struct sl_verdict bad(void)
{
    return (struct sl_verdict){.cause = SLUICE__V1__CAUSE__SRV_CERT_EXPIRED, .valid_until_ns = UINT64_MAX};
}

static struct sl_leaf *mint(X509 *upstream, struct sl_verdict verdict, struct sl_ca *ca, const char *host,
                            enum sl_leaf_key_type type)
{
    const struct sl_mint_request r = {.ca = ca, .upstream = upstream, .verdict = &verdict, .host = host, .key_type = type};
    struct sl_leaf *leaf = NULL;
    assert_int_equal(sl_mint(f.minter, &r, &leaf), SL_OK);
    return leaf;
}

static int64_t seconds(const ASN1_TIME *t)
{
    int64_t out = 0;
    assert_int_equal(sl_cert_time(t, &out), SL_OK);
    return out;
}

/* The bytes are what the certificate object says, and the library finds nothing wrong with either. */
static void check_leaf(const struct sl_leaf *leaf, struct sl_ca *ca)
{
    const unsigned char *at = leaf->der;
    X509 *parsed = d2i_X509(NULL, &at, (long)leaf->der_len);
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    uint8_t sha256[SL_SHA256_LEN];

    assert_true(parsed && at == leaf->der + leaf->der_len);
    assert_int_equal(X509_cmp(parsed, leaf->cert), 0);
    assert_int_equal(sl_cert_sha256(parsed, sha256), SL_OK);
    assert_memory_equal(sha256, leaf->sha256, sizeof(sha256));
    assert_int_equal(X509_check_private_key(parsed, leaf->key), 1);
    assert_int_equal(X509_check_private_key(leaf->cert, leaf->key), 1);
    assert_true(X509_STORE_add_cert(store, sl_ca_certificate(ca)) && X509_STORE_CTX_init(ctx, store, parsed, NULL));
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_SERVER);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT);
    X509_VERIFY_PARAM_set_time(param, (time_t)(seconds(X509_get0_notBefore(parsed)) + seconds(X509_get0_notAfter(parsed))) / 2);
    if (X509_verify_cert(ctx) != 1)
        fail_msg("%s", X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
    /* C3, C4 */
    assert_int_equal(X509_get_version(parsed), X509_VERSION_3);
    assert_int_equal(X509_check_ca(parsed), 0);
    assert_int_equal(X509_get_extended_key_usage(parsed), XKU_SSL_SERVER);
    assert_true(X509_get_key_usage(parsed) & X509v3_KU_DIGITAL_SIGNATURE);
    assert_int_equal(ASN1_STRING_length(X509_get0_serialNumber(parsed)), 16);
    assert_true(seconds(X509_get0_notAfter(parsed)) - seconds(X509_get0_notBefore(parsed)) < 200 * TP_DAY);
    assert_non_null(X509_get0_subject_key_id(parsed));
    assert_int_equal(ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(parsed), X509_get0_subject_key_id(sl_ca_certificate(ca))), 0);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    X509_free(parsed);
}

static void mimics(void **state)
{
    /* C7: must-staple, AIA and policies stay behind; so do names that are no server's. */
    struct tp up =
        tp_make((struct tp_spec){.cn = "www.example.com",
                                 .san = "DNS:www.example.com,DNS:*.cdn.example.com,IP:192.0.2.1,IP:2001:db8::1,email:a@b.example",
                                 .issuer = &f.root,
                                 .must_staple = true});
    struct sl_leaf *leaf = mint(up.cert, good(false), f.ca, "www.example.com", SL_LEAF_P256);
    struct sl_leaf *again = mint(up.cert, good(false), f.ca, "www.example.com", SL_LEAF_P256);
    char *text = NULL;
    (void)state;

    check_leaf(leaf, f.ca);
    assert_int_equal(X509_get_ext_count(leaf->cert), 6);
    assert_int_equal(X509_get_ext_by_NID(leaf->cert, NID_tlsfeature, -1), -1);
    assert_true(sl_san_match_text(leaf->cert, "www.example.com"));
    assert_true(sl_san_match_text(leaf->cert, "x.cdn.example.com"));
    assert_true(sl_san_match_text(leaf->cert, "192.0.2.1"));
    assert_true(sl_san_match_text(leaf->cert, "2001:db8::1"));
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf->cert, NID_subject_alt_name, NULL, NULL);
    assert_int_equal(sk_GENERAL_NAME_num(names), 4);
    GENERAL_NAMES_free(names);
    assert_int_equal(sl_cert_common_name(leaf->cert, &text), SL_OK);
    assert_string_equal(text, "www.example.com");
    free(text);
    assert_int_equal(seconds(X509_get0_notBefore(leaf->cert)), TP_NOW - TP_DAY);
    assert_int_equal(seconds(X509_get0_notAfter(leaf->cert)), TP_NOW + 60 * TP_DAY); /* the original's end */
    assert_false(leaf->untrusted);
    assert_false(leaf->host_specific);
    assert_int_equal(EVP_PKEY_get_base_id(leaf->key), EVP_PKEY_EC);
    assert_ptr_equal(leaf->key, again->key);
    assert_memory_not_equal(leaf->sha256, again->sha256, SL_SHA256_LEN);
    assert_int_not_equal(ASN1_INTEGER_cmp(X509_get0_serialNumber(leaf->cert), X509_get0_serialNumber(again->cert)), 0);
    /* New keys for new leaves; the old leaf keeps its own. */
    assert_int_equal(sl_minter_rotate(f.minter), SL_OK);
    sl_leaf_unref(again);
    again = mint(up.cert, good(false), f.ca, "www.example.com", SL_LEAF_P256);
    assert_ptr_not_equal(leaf->key, again->key);
    check_leaf(leaf, f.ca);
    check_leaf(again, f.ca);
    sl_leaf_unref(leaf);
    sl_leaf_unref(again);
    tp_free(&up);
}

static void rsa(void **state)
{
    const struct sl_ca_options options = {.common_name = "RSA CA", .clock = &f.clock.clock, .key = SL_CA_RSA3072};
    struct tp up = tp_leaf("www.example.com", &f.root);
    struct sl_leaf *leaf = mint(up.cert, good(false), f.ca, "www.example.com", SL_LEAF_RSA2048);
    struct sl_ca *ca = NULL;
    struct sl_diag diag;
    (void)state;
    check_leaf(leaf, f.ca);
    assert_int_equal(EVP_PKEY_get_base_id(leaf->key), EVP_PKEY_RSA);
    assert_int_equal(EVP_PKEY_get_bits(leaf->key), 2048);
    sl_leaf_unref(leaf);
    assert_int_equal(sl_ca_generate(&options, false, &ca, &diag), SL_OK);
    leaf = mint(up.cert, good(false), ca, "www.example.com", SL_LEAF_RSA2048);
    check_leaf(leaf, ca);
    assert_int_equal(X509_get_signature_nid(leaf->cert), NID_sha256WithRSAEncryption);
    sl_leaf_unref(leaf);
    sl_ca_unref(ca);
    tp_free(&up);
}

/* C3: dates. */
static void dates(void **state)
{
    const struct {
        const char *id;
        time_t from, until; /* of the original, from now */
        bool pinned, refused;
        time_t leaf_from, leaf_until;
    } cases[] = {
        {"long original", -300 * TP_DAY, 300 * TP_DAY, false, false, -TP_DAY, 89 * TP_DAY},
        {"new original", -3600, 300 * TP_DAY, false, false, -3600, 90 * TP_DAY - 3600},
        {"ends soon", -80 * TP_DAY, 3600, false, false, -TP_DAY, 3600},
        {"expired, refused", -80 * TP_DAY, -3600, false, true, -80 * TP_DAY, -3600},
        {"long expired, refused", -800 * TP_DAY, -3600, false, true, -90 * TP_DAY - 3600, -3600},
        {"not yet, refused", 3600, 800 * TP_DAY, false, true, 3600, 90 * TP_DAY + 3600},
        {"expired, pinned", -80 * TP_DAY, -3600, true, false, -TP_DAY, TP_DAY},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tp up = tp_make((struct tp_spec){.cn = "a",
                                                .san = "DNS:a.example",
                                                .issuer = &f.root,
                                                .from = TP_NOW + cases[i].from,
                                                .until = TP_NOW + cases[i].until});
        struct sl_leaf *leaf = cases[i].refused ? mint(up.cert, bad(), f.untrusted, "a.example", SL_LEAF_P256)
                                                : mint(up.cert, good(cases[i].pinned), f.ca, "a.example", SL_LEAF_P256);
        if (seconds(X509_get0_notBefore(leaf->cert)) != TP_NOW + cases[i].leaf_from ||
            seconds(X509_get0_notAfter(leaf->cert)) != TP_NOW + cases[i].leaf_until)
            fail_msg("%s: %lld to %lld", cases[i].id, (long long)(seconds(X509_get0_notBefore(leaf->cert)) - TP_NOW),
                     (long long)(seconds(X509_get0_notAfter(leaf->cert)) - TP_NOW));
        sl_leaf_unref(leaf);
        tp_free(&up);
    }
}

/* V9: bad never becomes good. */
static void refused_servers(void **state)
{
    struct tp up = tp_make((struct tp_spec){.subject_text = "unstructuredName=ciscoasa"});
    struct sl_verdict verdicts[] = {bad(), {0}, {.cause = SLUICE__V1__CAUSE__INTERNAL_ERROR, .valid_until_ns = 1}};
    struct sl_leaf *leaf = NULL;
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const struct sl_mint_request r = {.ca = f.ca, .upstream = up.cert, .verdict = &verdicts[i], .host = "a.example"};
        assert_int_equal(sl_mint(f.minter, &r, &leaf), SL_ERR_DENIED);
        assert_null(leaf);
    }
    leaf = mint(up.cert, bad(), f.untrusted, "a.example", SL_LEAF_P256);
    assert_true(leaf->untrusted);
    check_leaf(leaf, f.untrusted);
    assert_false(sl_san_match_text(leaf->cert, "a.example")); /* nothing is added that the original lacks */
    assert_ptr_equal(leaf->issuer, sl_ca_certificate(f.untrusted));
    sl_leaf_unref(leaf);
    /* Once pinned, the host is what the operator vouched for. */
    leaf = mint(up.cert, good(true), f.ca, "a.example", SL_LEAF_P256);
    assert_true(sl_san_match_text(leaf->cert, "a.example"));
    assert_true(leaf->host_specific);
    check_leaf(leaf, f.ca);
    sl_leaf_unref(leaf);
    leaf = mint(up.cert, good(true), f.ca, "2001:db8::7", SL_LEAF_P256);
    assert_true(sl_san_match_text(leaf->cert, "2001:db8::7"));
    sl_leaf_unref(leaf);
    /* Without a pin nothing is added. */
    leaf = mint(up.cert, good(false), f.ca, "a.example", SL_LEAF_P256);
    assert_false(sl_san_match_text(leaf->cert, "a.example"));
    sl_leaf_unref(leaf);
    tp_free(&up);
}

/* C9 */
static void sensitive(void **state)
{
    struct tp wild = tp_make(
        (struct tp_spec){.cn = "*.example.com",
                         .san = "DNS:*.example.com,DNS:a.internal.example,DNS:*.internal.example,DNS:plain.example,IP:192.0.2.77",
                         .issuer = &f.root});
    static const char *const hosts[] = {"mgmt.example.com", "MGMT.example.com.", "a.internal.example", "b.c.internal.example",
                                        "192.0.2.77"};
    struct sl_verdict verdict = good(false);
    struct sl_leaf *leaf = NULL;
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        const struct sl_mint_request r = {.ca = f.ca, .upstream = wild.cert, .verdict = &verdict, .host = hosts[i]};
        assert_int_equal(sl_mint(f.minter, &r, &leaf), SL_ERR_DENIED);
    }
    leaf = mint(wild.cert, verdict, f.ca, "shop.example.com", SL_LEAF_P256);
    assert_true(leaf->host_specific);
    assert_true(sl_san_match_text(leaf->cert, "shop.example.com"));
    assert_true(sl_san_match_text(leaf->cert, "plain.example"));
    assert_false(sl_san_match_text(leaf->cert, "mgmt.example.com"));
    assert_false(sl_san_match_text(leaf->cert, "a.internal.example"));
    assert_false(sl_san_match_text(leaf->cert, "192.0.2.77"));
    check_leaf(leaf, f.ca);
    sl_leaf_unref(leaf);
    leaf = mint(wild.cert, verdict, f.ca, "plain.example", SL_LEAF_P256);
    assert_true(leaf->host_specific);
    sl_leaf_unref(leaf);
    tp_free(&wild);
    static const char *const wrong[] = {"a b"};
    const struct sl_minter_options options = {.sensitive = wrong, .sensitive_count = 1};
    const struct sl_minter_options days = {.max_days = 198};
    struct sl_minter *minter = NULL;
    struct sl_diag diag;
    assert_int_equal(sl_minter_new(&options, &minter, &diag), SL_ERR_INVALID);
    assert_non_null(strstr(diag.text, "a b"));
    assert_int_equal(sl_minter_new(&days, &minter, &diag), SL_ERR_INVALID);
}

static void odd_originals(void **state)
{
    static char san[40000];
    size_t used = 0;
    (void)state;
    for (int i = 0; i < 1000; i++)
        used += (size_t)sprintf(san + used, "%sDNS:n%d.example.com", i ? "," : "", i);
    const struct {
        struct tp_spec spec;
        const char *host;
    } cases[] = {
        {{.san = "critical,DNS:a.example"}, "a.example"},
        {{.subject_text = "O=x", .san = "DNS:a.example"}, "a.example"},
        {{.cn = "a.example"}, "a.example"},
        {{.cn = "a/b\nc", .san = "DNS:a.example"}, "a.example"},
        {{.cn = "many", .san = san}, "n7.example.com"},
        {{.cn = "x", .san = "DNS:a.example"}, NULL},
        {{.cn = "x", .san = "DNS:a.example"}, "not a name"},
        {{.cn = "x", .san = "email:a@b"}, "a.example"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tp_spec spec = cases[i].spec;
        spec.issuer = &f.root;
        struct tp up = tp_make(spec);
        struct sl_leaf *leaf = mint(up.cert, good(false), f.ca, cases[i].host, SL_LEAF_P256);
        int at = X509_get_ext_by_NID(leaf->cert, NID_subject_alt_name, -1);
        if (X509_NAME_entry_count(X509_get_subject_name(leaf->cert)) == 0 && at >= 0)
            assert_true(X509_EXTENSION_get_critical(X509_get_ext(leaf->cert, at)));
        sl_leaf_unref(leaf);
        tp_free(&up);
    }
}

static void ca_dates(void **state)
{
    struct sl_ca *ca = NULL;
    struct sl_diag diag;
    const struct sl_ca_options options = {.common_name = "Short", .validity_days = 10, .clock = &f.clock.clock};
    struct tp up = tp_leaf("a.example", &f.root);
    struct sl_verdict verdict = good(false);
    (void)state;
    assert_int_equal(sl_ca_generate(&options, false, &ca, &diag), SL_OK);
    struct sl_leaf *leaf = mint(up.cert, verdict, ca, "a.example", SL_LEAF_P256);
    assert_int_equal(seconds(X509_get0_notAfter(leaf->cert)), TP_NOW + 10 * TP_DAY);
    sl_leaf_unref(leaf);
    leaf = NULL;
    const struct sl_mint_request r = {.ca = ca, .upstream = up.cert, .verdict = &verdict, .host = "a.example"};
    f.clock.wall = (uint64_t)(TP_NOW + 11 * TP_DAY) * SL_NS_PER_S;
    assert_int_equal(sl_mint(f.minter, &r, &leaf), SL_ERR_STATE);
    f.clock.wall = (uint64_t)(TP_NOW - 2 * TP_DAY) * SL_NS_PER_S;
    assert_int_equal(sl_mint(f.minter, &r, &leaf), SL_ERR_STATE);
    f.clock.wall = (uint64_t)TP_NOW * SL_NS_PER_S;
    sl_ca_unref(ca);
    tp_free(&up);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mimics),    cmocka_unit_test(rsa),           cmocka_unit_test(dates),    cmocka_unit_test(refused_servers),
        cmocka_unit_test(sensitive), cmocka_unit_test(odd_originals), cmocka_unit_test(ca_dates),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
