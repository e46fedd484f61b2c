/* SPDX-License-Identifier: Apache-2.0 */
/* Validation: V1 to V5, V8, V12, V15 of the security checklist, and the classes of badssl that concern certificates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <unistd.h>

#include "base/clock.h"
#include "pki/san.h"
#include "pki/trust.h"
#include "pki/verify.h"
#include "test_pki.h"

#define CAUSE(name) SLUICE__V1__CAUSE__SRV_CERT_##name
#define GOOD        SLUICE__V1__CAUSE__CAUSE_NONE

static struct {
    struct sl_clock_manual clock;
    struct tp root, intermediate, leaf, other_root, own;
    char folder[32], bundle[64];
    struct sl_trust *trust;
    struct sl_verifier *verifier;
} f;

static struct sl_trust *trust_with(const struct sl_trust_item *items, size_t count, const uint8_t (*bad)[SL_SHA256_LEN])
{
    struct sl_trust *trust = NULL;
    struct sl_diag diag = {""};
    uint8_t *der = NULL;
    size_t len = 0;
    assert_int_equal(sl_cert_encode(f.own.cert, &der, &len), SL_OK);
    const struct sl_der own = {der, len};
    const struct sl_trust_options options = {.bundle = f.bundle,
                                             .items = items,
                                             .item_count = count,
                                             .own_cas = &own,
                                             .own_ca_count = 1,
                                             .bad = bad,
                                             .bad_count = bad ? 1 : 0,
                                             .version = 7,
                                             .clock = &f.clock.clock};
    if (sl_trust_new(&options, &trust, &diag))
        fail_msg("%s", diag.text);
    OPENSSL_free(der);
    return trust;
}

static int setup(void **state)
{
    (void)state;
    sl_clock_manual_init(&f.clock, (uint64_t)TP_NOW * SL_NS_PER_S);
    f.root = tp_root("Test root");
    f.other_root = tp_root("Other root");
    f.own = tp_root("Decryption CA");
    f.intermediate = tp_intermediate("Test intermediate", &f.root);
    f.leaf = tp_leaf("www.example.com", &f.intermediate);
    snprintf(f.folder, sizeof(f.folder), "verify-XXXXXX");
    assert_non_null(mkdtemp(f.folder));
    snprintf(f.bundle, sizeof(f.bundle), "%s/bundle.pem", f.folder);
    tp_write_certs(f.bundle, (X509 *[]){f.root.cert, NULL});
    f.trust = trust_with(NULL, 0, NULL);
    const struct sl_verifier_options options = {.clock = &f.clock.clock};
    return sl_verifier_new(&options, &f.verifier);
}

static int teardown(void **state)
{
    (void)state;
    sl_verifier_free(f.verifier);
    sl_trust_unref(f.trust);
    tp_free(&f.root);
    tp_free(&f.other_root);
    tp_free(&f.own);
    tp_free(&f.intermediate);
    tp_free(&f.leaf);
    unlink(f.bundle);
    rmdir(f.folder);
    return 0;
}

/* A verifier without memory of other cases. */
static struct sl_verdict verify_fresh(struct sl_trust *trust, X509 *leaf, X509 *const *chain, const char *host, uint16_t port)
{
    const struct sl_verifier_options options = {.clock = &f.clock.clock};
    struct sl_verifier *verifier = NULL;
    struct sl_verdict verdict;
    STACK_OF(X509) *stack = tp_stack(chain);
    const struct sl_verify_request request = {.trust = trust, .leaf = leaf, .presented = stack, .host = host, .port = port};
    assert_int_equal(sl_verifier_new(&options, &verifier), SL_OK);
    assert_int_equal(sl_verify(verifier, &request, &verdict), SL_OK);
    sl_verifier_free(verifier);
    sk_X509_free(stack);
    return verdict;
}

static void expect(const char *what, struct sl_verdict verdict, Sluice__V1__Cause cause, const char *name)
{
    if (verdict.cause != cause)
        fail_msg("%s: cause %d (%s, depth %d), not %d", what, verdict.cause, verdict.name, verdict.depth, cause);
    if (name && strcmp(verdict.name, name) != 0)
        fail_msg("%s: %s, not %s", what, verdict.name, name);
    assert_int_equal(sl_verdict_good(&verdict), cause == GOOD);
    assert_true(verdict.text[0] != '\0');
    if (cause == GOOD)
        assert_true(verdict.security_bits >= 112);
    sl_verdict_release(&verdict);
}

/* One wrong leaf a row, issued by the good intermediate unless said otherwise. */
static void leaves(void **state)
{
    EVP_PKEY *rsa1024 = tp_rsa(1024), *rsa2048 = tp_rsa(2048), *rsa4096 = tp_rsa(4096), *p224 = tp_ec("P-224"),
             *p384 = tp_ec("P-384"), *p521 = tp_ec("P-521"), *ed25519 = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    struct tp untrusted = tp_intermediate("Stranger", &f.other_root);
    struct tp rsa_ca = tp_make((struct tp_spec){.cn = "RSA", .ca = true, .issuer = &f.root, .key = rsa2048});
    const struct {
        const char *id;
        struct tp_spec spec;
        const char *host;
        Sluice__V1__Cause cause;
        const char *code;
    } cases[] = {
        {"badssl sha256, ecc256", {.cn = "a", .san = "DNS:a.example.com"}, "a.example.com", GOOD, "X509_V_OK"},
        {"badssl sha384", {.cn = "a", .san = "DNS:a.example.com", .digest = EVP_sha384()}, "a.example.com", GOOD, NULL},
        {"badssl sha512", {.cn = "a", .san = "DNS:a.example.com", .digest = EVP_sha512()}, "a.example.com", GOOD, NULL},
        {"badssl ecc384", {.cn = "a", .san = "DNS:a.example.com", .key = p384}, "a.example.com", GOOD, NULL},
        {"P-521", {.cn = "a", .san = "DNS:a.example.com", .key = p521}, "a.example.com", GOOD, NULL},
        {"Ed25519", {.cn = "a", .san = "DNS:a.example.com", .key = ed25519}, "a.example.com", GOOD, NULL},
        {"badssl rsa2048", {.cn = "a", .san = "DNS:a.example.com", .key = rsa2048}, "a.example.com", GOOD, NULL},
        {"badssl rsa4096", {.cn = "a", .san = "DNS:a.example.com", .key = rsa4096}, "a.example.com", GOOD, NULL},
        {"badssl no-common-name", {.subject_text = "O=x", .san = "DNS:a.example.com"}, "a.example.com", GOOD, NULL},
        {"badssl no-subject", {.san = "critical,DNS:a.example.com"}, "a.example.com", GOOD, NULL},
        {"badssl xn--n1aae7f7o", {.cn = "a", .san = "DNS:xn--n1aae7f7o.badssl.com"}, "xn--n1aae7f7o.badssl.com", GOOD, NULL},
        {"V2 wildcard", {.cn = "a", .san = "DNS:*.example.com"}, "a.example.com", GOOD, NULL},
        {"V2 case, final dot", {.cn = "a", .san = "DNS:A.Example.COM"}, "a.exAMPLE.com.", GOOD, NULL},
        {"V2 address", {.cn = "a", .san = "IP:192.0.2.1,IP:2001:db8::1"}, "192.0.2.1", GOOD, NULL},
        {"V2 address 6", {.cn = "a", .san = "IP:192.0.2.1,IP:2001:db8::1"}, "[2001:DB8::1]", GOOD, NULL},
        {"V2 wildcard, two labels", {.cn = "a", .san = "DNS:*.example.com"}, "a.b.example.com", CAUSE(HOST_MISMATCH), NULL},
        {"V2 wildcard, no label", {.cn = "a", .san = "DNS:*.example.com"}, "example.com", CAUSE(HOST_MISMATCH), NULL},
        {"badssl wrong.host",
         {.cn = "a", .san = "DNS:a.example.com"},
         "b.example.com",
         CAUSE(HOST_MISMATCH),
         "X509_V_ERR_HOSTNAME_MISMATCH"},
        {"V2 never the common name", {.cn = "a.example.com"}, "a.example.com", CAUSE(HOST_MISMATCH), NULL},
        {"V2 CN beside another SAN",
         {.cn = "a.example.com", .san = "DNS:b.example.com"},
         "a.example.com",
         CAUSE(HOST_MISMATCH),
         NULL},
        {"V2 address in a DNS name", {.cn = "a", .san = "DNS:192.0.2.1"}, "192.0.2.1", CAUSE(IP_MISMATCH), NULL},
        {"V2 other address", {.cn = "a", .san = "IP:192.0.2.1"}, "192.0.2.2", CAUSE(IP_MISMATCH), "X509_V_ERR_IP_ADDRESS_MISMATCH"},
        {"V2 no name at all", {.cn = "a", .san = "DNS:a.example.com"}, NULL, CAUSE(HOST_MISMATCH), NULL},
        {"V2 malformed name", {.cn = "a", .san = "DNS:a.example.com"}, "a..b c", CAUSE(HOST_MISMATCH), NULL},
        {"V3 badssl expired",
         {.cn = "a", .san = "DNS:a.example.com", .from = TP_NOW - 60 * TP_DAY, .until = TP_NOW - TP_DAY},
         "a.example.com",
         CAUSE(EXPIRED),
         "X509_V_ERR_CERT_HAS_EXPIRED"},
        {"V3 not yet valid",
         {.cn = "a", .san = "DNS:a.example.com", .from = TP_NOW + TP_DAY},
         "a.example.com",
         CAUSE(NOT_YET),
         "X509_V_ERR_CERT_NOT_YET_VALID"},
        {"V4 client certificate",
         {.cn = "a", .san = "DNS:a.example.com", .purpose = "clientAuth"},
         "a.example.com",
         CAUSE(PURPOSE),
         NULL},
        {"V4 without EKU", {.cn = "a", .san = "DNS:a.example.com", .purpose = ""}, "a.example.com", GOOD, NULL},
        {"V4 usage without signature",
         {.cn = "a", .san = "DNS:a.example.com", .usage = "critical,cRLSign"},
         "a.example.com",
         CAUSE(PURPOSE),
         NULL},
        {"V4 unknown critical extension",
         {.cn = "a", .san = "DNS:a.example.com", .extra_oid = "1.3.6.1.4.1.99999.1"},
         "a.example.com",
         CAUSE(CRITICAL_EXTENSION),
         "X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION"},
        {"V5 badssl sha1-2017",
         {.cn = "a", .san = "DNS:a.example.com", .digest = EVP_sha1()},
         "a.example.com",
         CAUSE(WEAK_MD),
         NULL},
        {"V5 MD5",
         {.cn = "a", .san = "DNS:a.example.com", .digest = EVP_md5(), .issuer = &rsa_ca},
         "a.example.com",
         CAUSE(WEAK_MD),
         NULL},
        {"V5 RSA 1024",
         {.cn = "a", .san = "DNS:a.example.com", .key = rsa1024},
         "a.example.com",
         CAUSE(WEAK_KEY),
         "X509_V_ERR_EE_KEY_TOO_SMALL"},
        {"V5 P-224", {.cn = "a", .san = "DNS:a.example.com", .key = p224}, "a.example.com", CAUSE(WEAK_KEY), NULL},
        {"V1 badssl incomplete-chain, untrusted",
         {.cn = "a", .san = "DNS:a.example.com", .issuer = &untrusted},
         "a.example.com",
         CAUSE(NO_ISSUER),
         NULL},
        {"V1 broken signature",
         {.cn = "a", .san = "DNS:a.example.com", .break_signature = true},
         "a.example.com",
         CAUSE(BAD_SIGNATURE),
         "X509_V_ERR_CERT_SIGNATURE_FAILURE"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tp_spec spec = cases[i].spec;
        if (!spec.issuer)
            spec.issuer = &f.intermediate;
        struct tp leaf = tp_make(spec);
        expect(cases[i].id,
               verify_fresh(f.trust, leaf.cert, (X509 *[]){leaf.cert, f.intermediate.cert, rsa_ca.cert, NULL}, cases[i].host, 443),
               cases[i].cause, cases[i].code);
        tp_free(&leaf);
    }
    tp_free(&untrusted);
    tp_free(&rsa_ca);
    EVP_PKEY *keys[] = {rsa1024, rsa2048, rsa4096, p224, p384, p521, ed25519};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        EVP_PKEY_free(keys[i]);
}

/* V1, badssl self-signed, untrusted-root, incomplete-chain, reversed-chain */
static void paths(void **state)
{
    struct tp self = tp_make((struct tp_spec){.subject_text = "unstructuredName=ciscoasa"});
    struct tp stranger = tp_leaf("www.example.com", &f.other_root);
    struct tp second = tp_intermediate("Second", &f.intermediate), deep = tp_leaf("www.example.com", &second);
    (void)state;

    struct sl_verdict v = verify_fresh(f.trust, self.cert, (X509 *[]){self.cert, NULL}, "www.example.com", 443);
    assert_true(v.pinnable);
    assert_int_equal(v.code, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT);
    assert_string_equal(sl_chain_at(v.chain, 0)->issuer, "/unstructuredName=ciscoasa");
    assert_string_equal(sl_chain_at(v.chain, 0)->common_name, "");
    expect("self-signed", v, CAUSE(SELF_SIGNED), "X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT");
    expect("untrusted-root",
           verify_fresh(f.trust, stranger.cert, (X509 *[]){stranger.cert, f.other_root.cert, NULL}, "www.example.com", 443),
           CAUSE(SELF_SIGNED_CHAIN), "X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN");
    expect("incomplete-chain", verify_fresh(f.trust, f.leaf.cert, (X509 *[]){f.leaf.cert, NULL}, "www.example.com", 443),
           CAUSE(NO_ISSUER), NULL);
    expect("reversed-chain",
           verify_fresh(f.trust, deep.cert, (X509 *[]){deep.cert, f.root.cert, f.intermediate.cert, second.cert, NULL},
                        "www.example.com", 443),
           GOOD, NULL);
    expect("extra certificates",
           verify_fresh(f.trust, f.leaf.cert, (X509 *[]){f.leaf.cert, self.cert, stranger.cert, f.intermediate.cert, NULL},
                        "www.example.com", 443),
           GOOD, NULL);
    expect("no stack", verify_fresh(f.trust, f.leaf.cert, (X509 *[]){NULL}, "www.example.com", 443), CAUSE(NO_ISSUER), NULL);
    tp_free(&self);
    tp_free(&stranger);
    tp_free(&second);
    tp_free(&deep);
}

/* V4, V5: what can be wrong above the leaf. */
static void issuers(void **state)
{
    EVP_PKEY *rsa1024 = tp_rsa(1024), *p224 = tp_ec("P-224");
    const struct {
        const char *id;
        struct tp_spec spec; /* of the issuing CA */
        Sluice__V1__Cause cause;
    } cases[] = {
        {"good", {.cn = "I", .ca = true}, GOOD},
        {"leaf as CA", {.cn = "I", .san = "DNS:i.example.com", .usage = ""}, CAUSE(BAD_CA)},
        {"leaf with digitalSignature as CA", {.cn = "I", .san = "DNS:i.example.com"}, CAUSE(BAD_CA)},
        {"no constraints", {.cn = "I", .constraints = "", .usage = "", .purpose = ""}, CAUSE(BAD_CA)},
        {"sha1-intermediate", {.cn = "I", .ca = true, .digest = EVP_sha1()}, CAUSE(WEAK_MD)},
        {"RSA 1024", {.cn = "I", .ca = true, .key = rsa1024}, CAUSE(WEAK_CA_KEY)},
        {"P-224", {.cn = "I", .ca = true, .key = p224}, CAUSE(WEAK_CA_KEY)},
        {"expired", {.cn = "I", .ca = true, .until = TP_NOW - 1}, CAUSE(EXPIRED)},
        {"not yet", {.cn = "I", .ca = true, .from = TP_NOW + 1}, CAUSE(NOT_YET)},
        {"permitted names", {.cn = "I", .ca = true, .name_constraints = "critical,permitted;DNS:example.com"}, GOOD},
        {"other permitted names",
         {.cn = "I", .ca = true, .name_constraints = "critical,permitted;DNS:example.org"},
         CAUSE(NAME_CONSTRAINT)},
        {"excluded names",
         {.cn = "I", .ca = true, .name_constraints = "critical,excluded;DNS:example.com"},
         CAUSE(NAME_CONSTRAINT)},
        {"critical extension", {.cn = "I", .ca = true, .extra_oid = "1.3.6.1.4.1.99999.1"}, CAUSE(CRITICAL_EXTENSION)},
        {"purpose", {.cn = "I", .ca = true, .purpose = "clientAuth"}, CAUSE(PURPOSE)},
        {"broken signature", {.cn = "I", .ca = true, .break_signature = true}, CAUSE(BAD_SIGNATURE)},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tp_spec spec = cases[i].spec;
        spec.issuer = &f.root;
        struct tp ca = tp_make(spec), leaf = tp_leaf("www.example.com", &ca);
        expect(cases[i].id, verify_fresh(f.trust, leaf.cert, (X509 *[]){leaf.cert, ca.cert, NULL}, "www.example.com", 443),
               cases[i].cause, NULL);
        tp_free(&ca);
        tp_free(&leaf);
    }
    EVP_PKEY_free(rsa1024);
    EVP_PKEY_free(p224);
}

/* V4: pathLen 0 with a CA below; V5: an anchor's own signature does not count. */
static void path_length_and_anchor_signature(void **state)
{
    struct tp short_path =
        tp_make((struct tp_spec){.cn = "S", .ca = true, .issuer = &f.root, .constraints = "critical,CA:TRUE,pathlen:0"});
    struct tp below = tp_intermediate("B", &short_path), leaf = tp_leaf("www.example.com", &below);
    struct tp old = tp_make((struct tp_spec){.cn = "Old root", .ca = true, .digest = EVP_sha1()}),
              modern = tp_leaf("www.example.com", &old);
    uint8_t *der = NULL;
    size_t len = 0;
    (void)state;

    expect("pathLen",
           verify_fresh(f.trust, leaf.cert, (X509 *[]){leaf.cert, below.cert, short_path.cert, NULL}, "www.example.com", 443),
           CAUSE(PATH_LENGTH), "X509_V_ERR_PATH_LENGTH_EXCEEDED");
    assert_int_equal(sl_cert_encode(old.cert, &der, &len), SL_OK);
    const struct sl_trust_item anchor = {.kind = SL_TRUST_ANCHOR, .name = "old", .der = {der, len}};
    struct sl_trust *trust = trust_with(&anchor, 1, NULL);
    expect("SHA-1 on the anchor itself", verify_fresh(trust, modern.cert, (X509 *[]){modern.cert, NULL}, "www.example.com", 443),
           GOOD, NULL);
    sl_trust_unref(trust);
    OPENSSL_free(der);
    tp_free(&short_path);
    tp_free(&below);
    tp_free(&leaf);
    tp_free(&old);
    tp_free(&modern);
}

/* V8: our own CA, by key, by subject and key identifier, as intermediate, and even if it is in the bundle. */
static void own_ca(void **state)
{
    struct tp leaf = tp_leaf("www.example.com", &f.own);
    struct tp cross = tp_make((struct tp_spec){.cn = "Somebody", .ca = true, .issuer = &f.root, .key = f.own.key});
    struct tp crossed = tp_leaf("www.example.com", &cross);
    struct tp named = tp_make((struct tp_spec){.cn = "Decryption CA", .ca = true, .issuer = &f.root});
    char path[64];
    uint8_t *der = NULL;
    size_t len = 0;
    struct sl_diag diag;
    (void)state;

    expect("own CA presented", verify_fresh(f.trust, leaf.cert, (X509 *[]){leaf.cert, f.own.cert, NULL}, "www.example.com", 443),
           CAUSE(OWN_CA), NULL);
    expect("own CA not presented", verify_fresh(f.trust, leaf.cert, (X509 *[]){leaf.cert, NULL}, "www.example.com", 443),
           CAUSE(OWN_CA), NULL);
    expect("own key below a good root",
           verify_fresh(f.trust, crossed.cert, (X509 *[]){crossed.cert, cross.cert, NULL}, "www.example.com", 443), CAUSE(OWN_CA),
           NULL);
    snprintf(path, sizeof(path), "%s/with-own.pem", f.folder);
    tp_write_certs(path, (X509 *[]){f.root.cert, f.own.cert, NULL});
    assert_int_equal(sl_cert_encode(f.own.cert, &der, &len), SL_OK);
    const struct sl_der own = {der, len};
    const struct sl_trust_options options = {.bundle = path, .own_cas = &own, .own_ca_count = 1, .clock = &f.clock.clock};
    struct sl_trust *trust = NULL;
    struct sl_trust_info info;
    assert_int_equal(sl_trust_new(&options, &trust, &diag), SL_OK);
    sl_trust_info(trust, &info);
    assert_int_equal(info.anchors, 1);
    assert_int_equal(info.skipped, 1);
    expect("own CA in the bundle", verify_fresh(trust, leaf.cert, (X509 *[]){leaf.cert, f.own.cert, NULL}, "www.example.com", 443),
           CAUSE(OWN_CA), NULL);
    sl_trust_unref(trust);
    const struct sl_trust_item item = {.kind = SL_TRUST_ANCHOR, .name = "x", .der = own};
    assert_int_equal(sl_trust_item_check(&item, &own, 1, &diag), SL_ERR_INVALID);
    assert_non_null(strstr(diag.text, "own CA"));
    unlink(path);
    OPENSSL_free(der);
    tp_free(&leaf);
    tp_free(&cross);
    tp_free(&crossed);
    tp_free(&named);
}

/* V8, badssl superfish and its like: with a CA of our own making on the list, by certificate and by key. */
static void known_bad(void **state)
{
    struct tp bad = tp_make((struct tp_spec){.cn = "Bad", .ca = true, .issuer = &f.root}), leaf = tp_leaf("www.example.com", &bad);
    uint8_t list[1][SL_SHA256_LEN];
    (void)state;

    for (int by_key = 0; by_key < 2; by_key++) {
        assert_int_equal(by_key ? sl_cert_spki_sha256(bad.cert, list[0]) : sl_cert_sha256(bad.cert, list[0]), SL_OK);
        struct sl_trust *trust = trust_with(NULL, 0, (const uint8_t(*)[SL_SHA256_LEN])list);
        expect("known bad", verify_fresh(trust, leaf.cert, (X509 *[]){leaf.cert, bad.cert, NULL}, "www.example.com", 443),
               CAUSE(DISTRUSTED), NULL);
        sl_trust_unref(trust);
    }
    tp_free(&bad);
    tp_free(&leaf);
}

/* V12: a missing intermediate is taken from a chain that was valid before; what is remembered is checked like anything else. */
static void repair(void **state)
{
    struct tp second = tp_leaf("b.example.com", &f.intermediate);
    STACK_OF(X509) *whole = tp_stack((X509 *[]){f.leaf.cert, f.intermediate.cert, NULL});
    struct sl_verify_request r = {.trust = f.trust, .leaf = second.cert, .host = "b.example.com", .port = 443};
    struct sl_verifier_stats stats;
    struct sl_verdict v;
    (void)state;

    assert_int_equal(sl_verify(f.verifier, &r, &v), SL_OK);
    assert_false(v.repaired);
    expect("before", v, CAUSE(NO_ISSUER), NULL);
    struct sl_verify_request seen = {
        .trust = f.trust, .leaf = f.leaf.cert, .presented = whole, .host = "www.example.com", .port = 443};
    assert_int_equal(sl_verify(f.verifier, &seen, &v), SL_OK);
    expect("whole chain", v, GOOD, NULL);
    assert_int_equal(sl_verify(f.verifier, &r, &v), SL_OK);
    assert_true(v.repaired);
    expect("after", v, GOOD, NULL);
    sl_verifier_stats(f.verifier, &stats);
    assert_int_equal(stats.intermediates, 1);
    assert_int_equal(stats.repaired, 1);
    sk_X509_free(whole);
    tp_free(&second);
}

/* V15, badssl 1000-sans (accepted), 10000-sans, rsa8192 (accepted): bounded work. */
static void limits(void **state)
{
    static const struct {
        int count;
        Sluice__V1__Cause cause;
    } cases[] = {{1000, GOOD}, {10000, CAUSE(TOO_LARGE)}};
    char *san = malloc(10000 * 32);
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t used = 0;
        for (int n = 0; n < cases[i].count; n++)
            used += (size_t)sprintf(san + used, "%sDNS:n%d.example.com", n ? "," : "", n);
        struct tp leaf = tp_make((struct tp_spec){.cn = "many", .san = san, .issuer = &f.intermediate});
        struct sl_verdict v =
            verify_fresh(f.trust, leaf.cert, (X509 *[]){leaf.cert, f.intermediate.cert, NULL}, "n999.example.com", 443);
        assert_int_equal(sl_chain_count(v.chain), cases[i].cause == GOOD ? 2 : 0);
        expect("SANs", v, cases[i].cause, NULL);
        tp_free(&leaf);
    }
    free(san);

    X509 *many[40] = {f.leaf.cert, f.intermediate.cert};
    for (size_t i = 2; i < 39; i++)
        many[i] = f.root.cert;
    expect("40 certificates", verify_fresh(f.trust, f.leaf.cert, many, "www.example.com", 443), CAUSE(TOO_LARGE), NULL);

    struct tp chain[12] = {f.root};
    X509 *stack[14] = {NULL};
    for (size_t i = 1; i < 12; i++) {
        chain[i] = tp_intermediate("Deep", &chain[i - 1]);
        stack[i] = chain[i].cert;
    }
    struct tp deep = tp_leaf("www.example.com", &chain[11]);
    stack[0] = deep.cert;
    expect("chain of 13", verify_fresh(f.trust, deep.cert, stack, "www.example.com", 443), CAUSE(TOO_LARGE), NULL);
    for (size_t i = 1; i < 12; i++)
        tp_free(&chain[i]);
    tp_free(&deep);
}

/* An RSA key with the numbers that are asked for; it can't sign. */
static EVP_PKEY *odd_rsa(int bits, unsigned long exponent)
{
    BIGNUM *n = BN_new(), *e = BN_new();
    RSA *rsa = NULL;
    EVP_PKEY *key = EVP_PKEY_new();
    OSSL_PARAM_BLD *build = NULL;
    (void)rsa;
    (void)build;
    TP_MUST(n && e && key && BN_rand(n, bits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD) && BN_set_word(e, exponent));
    unsigned char *der = NULL, *at;
    ASN1_INTEGER *in = BN_to_ASN1_INTEGER(n, NULL), *ie = BN_to_ASN1_INTEGER(e, NULL);
    int ln = i2d_ASN1_INTEGER(in, NULL), le = i2d_ASN1_INTEGER(ie, NULL), total = ASN1_object_size(1, ln + le, V_ASN1_SEQUENCE);
    TP_MUST((der = at = malloc((size_t)total)) != NULL);
    ASN1_put_object(&at, 1, ln + le, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
    i2d_ASN1_INTEGER(in, &at);
    i2d_ASN1_INTEGER(ie, &at);
    const unsigned char *p = der;
    EVP_PKEY_free(key);
    TP_MUST((key = d2i_PublicKey(EVP_PKEY_RSA, NULL, &p, total)) != NULL);
    free(der);
    ASN1_INTEGER_free(in);
    ASN1_INTEGER_free(ie);
    BN_free(n);
    BN_free(e);
    return key;
}

static void odd_keys(void **state)
{
    static const struct {
        const char *id;
        int bits;
        unsigned long exponent;
        Sluice__V1__Cause cause;
    } cases[] = {
        {"badssl rsa8192", 8192, 65537, GOOD},         {"RSA 8200", 8200, 65537, CAUSE(TOO_LARGE)},
        {"RSA 16384", 16384, 65537, CAUSE(TOO_LARGE)}, {"exponent 3", 2048, 3, GOOD},
        {"exponent 1", 2048, 1, CAUSE(WEAK_KEY)},      {"even exponent", 2048, 65536, CAUSE(WEAK_KEY)},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        EVP_PKEY *key = odd_rsa(cases[i].bits, cases[i].exponent);
        struct tp leaf = tp_make((struct tp_spec){.cn = "a", .san = "DNS:a.example.com", .issuer = &f.intermediate, .key = key});
        expect(cases[i].id,
               verify_fresh(f.trust, leaf.cert, (X509 *[]){leaf.cert, f.intermediate.cert, NULL}, "a.example.com", 443),
               cases[i].cause, NULL);
        struct tp_spec spec = {.cn = "Costly CA", .ca = true, .issuer = &f.root, .key = key};
        if (cases[i].cause != GOOD) { /* never used to check a signature, and harmless as an extra */
            struct tp ca = tp_make(spec);
            expect("extra",
                   verify_fresh(f.trust, f.leaf.cert, (X509 *[]){f.leaf.cert, ca.cert, f.intermediate.cert, NULL},
                                "www.example.com", 443),
                   GOOD, NULL);
            tp_free(&ca);
        }
        tp_free(&leaf);
        EVP_PKEY_free(key);
    }
}

/* Pins: exact certificate, host or address, port; until their end; never for bad signatures and weak parameters. */
static void pins(void **state)
{
    static const char *const hosts[] = {"ciscoasa.example", "172.16.1.1"};
    static const uint32_t ports[] = {8443};
    EVP_PKEY *rsa1024 = tp_rsa(1024);
    const struct {
        const char *id;
        struct tp_spec spec;
        const char *host, *address;
        uint16_t port;
        uint64_t expires_ns;
        bool has_ports;
        Sluice__V1__Cause cause;
        bool pinned;
    } cases[] = {
        {"self-signed without a name",
         {.subject_text = "unstructuredName=ciscoasa"},
         "ciscoasa.example",
         NULL,
         443,
         0,
         false,
         GOOD,
         true},
        {"by the server's address", {.cn = "x"}, "other.example", "172.16.1.1", 443, 0, false, GOOD, true},
        {"address as the host", {.cn = "x"}, "172.16.1.1", NULL, 443, 0, false, GOOD, true},
        {"other host", {.cn = "x"}, "other.example", "172.16.1.2", 443, 0, false, CAUSE(SELF_SIGNED), false},
        {"other port", {.cn = "x"}, "ciscoasa.example", NULL, 8443, 0, false, CAUSE(SELF_SIGNED), false},
        {"named port", {.cn = "x"}, "ciscoasa.example", NULL, 8443, 0, true, GOOD, true},
        {"named port, default", {.cn = "x"}, "ciscoasa.example", NULL, 443, 0, true, CAUSE(SELF_SIGNED), false},
        {"unknown issuer", {.cn = "x", .issuer = &f.other_root}, "ciscoasa.example", NULL, 443, 0, false, GOOD, true},
        {"good chain, wrong name",
         {.cn = "x", .san = "DNS:x.example", .issuer = &f.root},
         "ciscoasa.example",
         NULL,
         443,
         0,
         false,
         GOOD,
         true},
        {"pin over",
         {.cn = "x"},
         "ciscoasa.example",
         NULL,
         443,
         (uint64_t)(TP_NOW - 1) * SL_NS_PER_S,
         false,
         CAUSE(SELF_SIGNED),
         false},
        {"expired, no end of its own",
         {.cn = "x", .until = TP_NOW - 1},
         "ciscoasa.example",
         NULL,
         443,
         0,
         false,
         CAUSE(SELF_SIGNED),
         false},
        {"expired, with an end",
         {.cn = "x", .until = TP_NOW - 1},
         "ciscoasa.example",
         NULL,
         443,
         (uint64_t)(TP_NOW + TP_DAY) * SL_NS_PER_S,
         false,
         GOOD,
         true},
        {"weak key", {.cn = "x", .key = rsa1024}, "ciscoasa.example", NULL, 443, 0, false, CAUSE(WEAK_KEY), false},
        {"broken signature",
         {.cn = "x", .break_signature = true},
         "ciscoasa.example",
         NULL,
         443,
         0,
         false,
         CAUSE(BAD_SIGNATURE),
         false},
        {"SHA-1 from an unknown issuer",
         {.cn = "x", .issuer = &f.other_root, .digest = EVP_sha1()},
         "ciscoasa.example",
         NULL,
         443,
         0,
         false,
         CAUSE(WEAK_MD),
         false},
        {"critical extension",
         {.cn = "x", .extra_oid = "1.3.6.1.4.1.99999.1"},
         "ciscoasa.example",
         NULL,
         443,
         0,
         false,
         CAUSE(CRITICAL_EXTENSION),
         false},
        {"wrong purpose", {.cn = "x", .purpose = "clientAuth"}, "ciscoasa.example", NULL, 443, 0, false, CAUSE(PURPOSE), false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tp leaf = tp_make(cases[i].spec);
        uint8_t *der = NULL;
        size_t len = 0;
        assert_int_equal(sl_cert_encode(leaf.cert, &der, &len), SL_OK);
        const struct sl_trust_item item = {.kind = SL_TRUST_PIN,
                                           .name = "pin",
                                           .der = {der, len},
                                           .hosts = hosts,
                                           .host_count = 2,
                                           .ports = ports,
                                           .port_count = cases[i].has_ports ? 1 : 0,
                                           .expires_ns = cases[i].expires_ns};
        struct sl_trust *trust = trust_with(&item, 1, NULL);
        struct sl_verdict v;
        const struct sl_verify_request r = {
            .trust = trust, .leaf = leaf.cert, .host = cases[i].host, .address = cases[i].address, .port = cases[i].port};
        struct sl_verifier *verifier = NULL;
        const struct sl_verifier_options options = {.clock = &f.clock.clock};
        assert_int_equal(sl_verifier_new(&options, &verifier), SL_OK);
        assert_int_equal(sl_verify(verifier, &r, &v), SL_OK);
        assert_int_equal(v.pinned, cases[i].pinned);
        expect(cases[i].id, v, cases[i].cause, NULL);
        sl_verifier_free(verifier);
        sl_trust_unref(trust);
        OPENSSL_free(der);
        tp_free(&leaf);
    }
    EVP_PKEY_free(rsa1024);
}

/* Another certificate of the same host is not covered by the pin, nor is what a pinned CA signs. */
static void pin_is_exact(void **state)
{
    static const char *const hosts[] = {"a.example"};
    struct tp ca = tp_make((struct tp_spec){.cn = "Pinned", .ca = true, .usage = ""}), below = tp_leaf("a.example", &ca),
              again = tp_make((struct tp_spec){.cn = "Pinned", .key = ca.key});
    uint8_t *der = NULL;
    size_t len = 0;
    (void)state;
    assert_int_equal(sl_cert_encode(ca.cert, &der, &len), SL_OK);
    const struct sl_trust_item item = {.kind = SL_TRUST_PIN, .der = {der, len}, .hosts = hosts, .host_count = 1};
    struct sl_trust *trust = trust_with(&item, 1, NULL);
    expect("itself", verify_fresh(trust, ca.cert, (X509 *[]){ca.cert, NULL}, "a.example", 443), GOOD, NULL);
    expect("below", verify_fresh(trust, below.cert, (X509 *[]){below.cert, ca.cert, NULL}, "a.example", 443),
           CAUSE(SELF_SIGNED_CHAIN), NULL);
    expect("same key", verify_fresh(trust, again.cert, (X509 *[]){again.cert, NULL}, "a.example", 443), CAUSE(SELF_SIGNED), NULL);
    sl_trust_unref(trust);
    OPENSSL_free(der);
    tp_free(&ca);
    tp_free(&below);
    tp_free(&again);
}

/* V1, V11: what is remembered is bound to every input, and to time. */
static void memory(void **state)
{
    STACK_OF(X509) *chain = tp_stack((X509 *[]){f.leaf.cert, f.intermediate.cert, NULL});
    struct tp later_root = tp_root("Another");
    struct sl_trust *other = trust_with(NULL, 0, NULL);
    const struct sl_verify_request base = {
        .trust = f.trust, .leaf = f.leaf.cert, .presented = chain, .host = "www.example.com", .port = 443};
    struct sl_verify_request r;
    struct sl_verifier *verifier = NULL;
    const struct sl_verifier_options options = {.clock = &f.clock.clock};
    struct sl_verdict first, v;
    (void)state;

    assert_int_equal(sl_verifier_new(&options, &verifier), SL_OK);
    assert_int_equal(sl_verify(verifier, &base, &first), SL_OK);
    assert_false(first.remembered);
    assert_int_equal(first.trust_version, 7);
    assert_int_equal(sl_verify(verifier, &base, &v), SL_OK);
    assert_true(v.remembered);
    assert_ptr_equal(v.chain, first.chain);
    assert_memory_equal(v.binding, first.binding, sizeof(v.binding));
    sl_verdict_release(&v);
    for (int i = 0; i < 5; i++) {
        r = base;
        if (i == 0)
            r.host = "other.example.com";
        else if (i == 1)
            r.port = 444;
        else if (i == 2)
            r.trust = other;
        else if (i == 3)
            r.revocation = SL_REVOCATION_SOFT;
        else {
            r.staple = (const uint8_t *)"x";
            r.staple_len = 1;
        }
        assert_int_equal(sl_verify(verifier, &r, &v), SL_OK);
        assert_false(v.remembered);
        assert_int_equal(sl_verdict_good(&v), i != 0);
        assert_memory_not_equal(v.binding, first.binding, sizeof(v.binding));
        sl_verdict_release(&v);
    }
    /* Beyond the leaf's end the memory is worth nothing, even inside its hour. */
    f.clock.wall = (uint64_t)(TP_NOW + 60 * TP_DAY - 10) * SL_NS_PER_S;
    assert_int_equal(sl_verify(verifier, &base, &v), SL_OK);
    assert_false(v.remembered);
    assert_true(sl_verdict_good(&v));
    sl_verdict_release(&v);
    f.clock.wall = (uint64_t)(TP_NOW + 60 * TP_DAY + 1) * SL_NS_PER_S;
    assert_int_equal(sl_verify(verifier, &base, &v), SL_OK);
    assert_false(v.remembered);
    expect("after the end", v, CAUSE(EXPIRED), NULL);
    f.clock.wall = (uint64_t)(TP_NOW - 40 * TP_DAY) * SL_NS_PER_S;
    assert_int_equal(sl_verify(verifier, &base, &v), SL_OK);
    expect("clock set back", v, CAUSE(NOT_YET), NULL);
    f.clock.wall = (uint64_t)TP_NOW * SL_NS_PER_S;
    sl_verdict_release(&first);
    sl_verifier_free(verifier);
    sl_trust_unref(other);
    tp_free(&later_root);
    sk_X509_free(chain);
}

static void arguments(void **state)
{
    struct sl_verify_request r = {.trust = f.trust, .host = "x"};
    struct sl_verdict v;
    (void)state;
    assert_int_equal(sl_verify(f.verifier, &r, &v), SL_ERR_INVALID);
    assert_false(sl_verdict_good(&v));
    r = (struct sl_verify_request){.leaf = f.leaf.cert, .host = "x"};
    assert_int_equal(sl_verify(f.verifier, &r, &v), SL_ERR_INVALID);
    assert_int_equal(v.cause, SLUICE__V1__CAUSE__INTERNAL_ERROR);
    v = (struct sl_verdict){0};
    assert_false(sl_verdict_good(&v));
    assert_string_equal(sl_verify_code_name(9999), "X509_V_ERR_UNKNOWN");
    assert_int_equal(sl_verify_code_cause(9999), CAUSE(OTHER));
    assert_int_equal(sl_verify_cause_alert(CAUSE(EXPIRED)), 45);
    assert_int_equal(sl_verify_cause_alert(CAUSE(SELF_SIGNED)), 48);
    assert_int_equal(sl_verify_cause_alert(CAUSE(WEAK_MD)), 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves),       cmocka_unit_test(paths),
        cmocka_unit_test(issuers),      cmocka_unit_test(path_length_and_anchor_signature),
        cmocka_unit_test(own_ca),       cmocka_unit_test(known_bad),
        cmocka_unit_test(repair),       cmocka_unit_test(limits),
        cmocka_unit_test(odd_keys),     cmocka_unit_test(pins),
        cmocka_unit_test(pin_is_exact), cmocka_unit_test(memory),
        cmocka_unit_test(arguments),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
