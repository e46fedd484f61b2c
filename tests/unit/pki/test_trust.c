/* SPDX-License-Identifier: Apache-2.0 */
/* C8 and the items of the policy: what a trust store takes, what it refuses and how it says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "pki/trust.h"
#include "test_pki.h"

static struct {
    struct sl_clock_manual clock;
    struct tp root, other, leaf;
    char folder[32], path[64], crl[64];
} f;

static int setup(void **state)
{
    (void)state;
    sl_clock_manual_init(&f.clock, (uint64_t)TP_NOW * SL_NS_PER_S);
    f.root = tp_root("Root");
    f.other = tp_root("Other");
    f.leaf = tp_leaf("a.example", &f.root);
    snprintf(f.folder, sizeof(f.folder), "trust-XXXXXX");
    assert_non_null(mkdtemp(f.folder));
    snprintf(f.path, sizeof(f.path), "%s/bundle.pem", f.folder);
    snprintf(f.crl, sizeof(f.crl), "%s/crl.pem", f.folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(f.path);
    unlink(f.crl);
    rmdir(f.folder);
    tp_free(&f.root);
    tp_free(&f.other);
    tp_free(&f.leaf);
    return 0;
}

static void write_text(const char *path, const char *text, const char *mode)
{
    FILE *file = fopen(path, mode);
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static sl_err load(const char *bundle, struct sl_trust_info *info, struct sl_diag *diag)
{
    const struct sl_trust_options options = {.bundle = bundle, .clock = &f.clock.clock, .version = 3};
    struct sl_trust *trust = NULL;
    sl_err err = sl_trust_new(&options, &trust, diag);
    if (!err)
        sl_trust_info(trust, info);
    sl_trust_unref(trust);
    return err;
}

static void bundles(void **state)
{
    struct sl_trust_info info;
    struct sl_diag diag;
    (void)state;

    tp_write_certs(f.path, (X509 *[]){f.root.cert, f.other.cert, NULL});
    assert_int_equal(load(f.path, &info, &diag), SL_OK);
    assert_int_equal(info.anchors, 2);
    assert_int_equal(info.skipped, 0);
    assert_int_equal(info.policy_version, 3);
    assert_int_equal(info.loaded_ns, f.clock.wall);
    assert_true(info.bundle_mtime_ns > 0);
    assert_int_equal(strlen(info.bundle_sha256), 64);
    assert_string_equal(info.bundle, f.path);
    /* A damaged entry, a leaf and foreign text cost themselves only. */
    write_text(f.path, "# comment\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "a");
    FILE *file = fopen(f.path, "a");
    assert_true(file && PEM_write_X509(file, f.leaf.cert) && fclose(file) == 0);
    assert_int_equal(load(f.path, &info, &diag), SL_OK);
    assert_int_equal(info.anchors, 2);
    assert_int_equal(info.skipped, 2);
    /* A folder of files. */
    assert_int_equal(load(f.folder, &info, &diag), SL_OK);
    assert_int_equal(info.anchors, 2);
    /* C8: an empty or missing bundle is an error, never the library's own. */
    write_text(f.path, "nothing\n", "w");
    assert_int_equal(load(f.path, &info, &diag), SL_ERR_CORRUPT);
    assert_non_null(strstr(diag.text, f.path));
    unlink(f.path);
    assert_int_equal(load(f.path, &info, &diag), SL_ERR_IO);
    assert_int_equal(load(f.folder, &info, &diag), SL_ERR_CORRUPT);
    assert_int_equal(load(NULL, &info, &diag), SL_OK);
    assert_int_equal(info.anchors, 0);
    assert_string_equal(info.bundle, "");
}

static void items(void **state)
{
    static const char *const hosts[] = {"a.example", "192.0.2.1"}, *const bad_hosts[] = {"a b"};
    static const uint32_t ports[] = {443, 8443}, bad_ports[] = {70000}, zero[] = {0};
    uint8_t *leaf = NULL, *root = NULL;
    size_t leaf_len = 0, root_len = 0;
    struct sl_diag diag;
    (void)state;

    assert_int_equal(sl_cert_encode(f.leaf.cert, &leaf, &leaf_len), SL_OK);
    assert_int_equal(sl_cert_encode(f.root.cert, &root, &root_len), SL_OK);
    const struct {
        struct sl_trust_item item;
        sl_err err;
        const char *says;
    } cases[] = {
        {{.kind = SL_TRUST_PIN,
          .name = "p",
          .der = {leaf, leaf_len},
          .hosts = hosts,
          .host_count = 2,
          .ports = ports,
          .port_count = 2},
         SL_OK,
         NULL},
        {{.kind = SL_TRUST_ANCHOR, .name = "r", .der = {root, root_len}}, SL_OK, NULL},
        {{.kind = SL_TRUST_PIN, .name = "p", .der = {leaf, leaf_len}}, SL_ERR_INVALID, "'p': a pin needs"},
        {{.kind = SL_TRUST_PIN, .name = "p", .der = {leaf, leaf_len}, .hosts = bad_hosts, .host_count = 1},
         SL_ERR_INVALID,
         "'a b'"},
        {{.kind = SL_TRUST_PIN,
          .name = "p",
          .der = {leaf, leaf_len},
          .hosts = hosts,
          .host_count = 1,
          .ports = bad_ports,
          .port_count = 1},
         SL_ERR_INVALID,
         "70000"},
        {{.kind = SL_TRUST_PIN,
          .name = "p",
          .der = {leaf, leaf_len},
          .hosts = hosts,
          .host_count = 1,
          .ports = zero,
          .port_count = 1},
         SL_ERR_INVALID,
         "no port"},
        {{.kind = SL_TRUST_ANCHOR, .name = "l", .der = {leaf, leaf_len}}, SL_ERR_INVALID, "import it as a pin"},
        {{.kind = SL_TRUST_ANCHOR, .name = "x", .der = {root, root_len - 1}}, SL_ERR_CORRUPT, "'x'"},
        {{.kind = SL_TRUST_ANCHOR, .der = {root, 0}}, SL_ERR_CORRUPT, "(unnamed)"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        sl_err err = sl_trust_item_check(&cases[i].item, NULL, 0, &diag);
        if (err != cases[i].err || (cases[i].says && !strstr(diag.text, cases[i].says)))
            fail_msg("case %zu: %d, %s", i, err, diag.text);
    }
    const struct sl_trust_item both[] = {cases[0].item, cases[1].item};
    const struct sl_trust_options options = {.items = both, .item_count = 2, .clock = &f.clock.clock};
    struct sl_trust *trust = NULL;
    struct sl_trust_info info;
    assert_int_equal(sl_trust_new(&options, &trust, &diag), SL_OK);
    sl_trust_info(sl_trust_ref(trust), &info);
    assert_int_equal(info.pins, 1);
    assert_int_equal(info.policy_anchors, 1);
    sl_trust_unref(trust);
    sl_trust_unref(trust);
    OPENSSL_free(leaf);
    OPENSSL_free(root);
}

static void lists(void **state)
{
    const char *crls[] = {f.crl};
    const struct sl_trust_options options = {.crls = crls, .crl_count = 1, .clock = &f.clock.clock};
    struct sl_trust *trust = NULL;
    struct sl_trust_info info;
    struct sl_diag diag;
    (void)state;

    tp_write_crl(f.crl, tp_crl(&f.root, (X509 *[]){f.leaf.cert, NULL}, TP_NOW, TP_NOW + TP_DAY));
    assert_int_equal(sl_trust_new(&options, &trust, &diag), SL_OK);
    sl_trust_info(trust, &info);
    assert_int_equal(info.crls, 1);
    assert_int_equal(info.crl_next_update_ns, (uint64_t)(TP_NOW + TP_DAY) * SL_NS_PER_S);
    sl_trust_unref(trust);
    trust = NULL;
    /* Damage is told: a list that is silently short would unrevoke. */
    write_text(f.crl, "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "a");
    assert_int_equal(sl_trust_new(&options, &trust, &diag), SL_ERR_CORRUPT);
    assert_non_null(strstr(diag.text, f.crl));
    write_text(f.crl, "rubbish", "w");
    assert_int_equal(sl_trust_new(&options, &trust, &diag), SL_ERR_CORRUPT);
    unlink(f.crl);
    assert_int_equal(sl_trust_new(&options, &trust, &diag), SL_ERR_IO);
    assert_null(trust);
}

/* The import of a file: PEM or DER, exactly one. */
static void decoding(void **state)
{
    uint8_t *der = NULL;
    size_t len = 0;
    X509 *cert = NULL;
    struct sl_diag diag;
    char pem[16384] = "text before\n";
    (void)state;

    assert_int_equal(sl_cert_encode(f.root.cert, &der, &len), SL_OK);
    assert_int_equal(sl_cert_decode(der, len, &cert, &diag), SL_OK);
    X509_free(cert);
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(sl_cert_decode(der, cut, &cert, &diag), SL_ERR_CORRUPT);
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    assert_true(bio && PEM_write_bio_X509(bio, f.root.cert));
    long pem_len = BIO_get_mem_data(bio, &text);
    strncat(pem, text, (size_t)pem_len);
    assert_int_equal(sl_cert_decode(pem, strlen(pem), &cert, &diag), SL_OK);
    X509_free(cert);
    strncat(pem, text, (size_t)pem_len);
    assert_int_equal(sl_cert_decode(pem, strlen(pem), &cert, &diag), SL_ERR_CORRUPT);
    assert_non_null(strstr(diag.text, "more than one"));
    assert_int_equal(sl_cert_decode("-----BEGIN CERTIFICATE-----", 27, &cert, &diag), SL_ERR_CORRUPT);
    char *large = calloc(1, SL_CERT_IMPORT_MAX + 1);
    assert_int_equal(sl_cert_decode(large, SL_CERT_IMPORT_MAX + 1, &cert, &diag), SL_ERR_LIMIT);
    free(large);
    STACK_OF(X509) *stack = NULL;
    const struct sl_der chain[SL_CERT_CHAIN_MAX + 1] = {{der, len}, {der, len}};
    assert_int_equal(sl_cert_decode_chain(chain, 2, &stack), SL_OK);
    assert_int_equal(sk_X509_num(stack), 2);
    sk_X509_pop_free(stack, X509_free);
    assert_int_equal(sl_cert_decode_chain(chain, 0, &stack), SL_ERR_INVALID);
    assert_int_equal(sl_cert_decode_chain(chain, 3, &stack), SL_ERR_CORRUPT);
    assert_int_equal(sl_cert_decode_chain(chain, SL_CERT_CHAIN_MAX + 1, &stack), SL_ERR_LIMIT);
    BIO_free(bio);
    OPENSSL_free(der);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bundles), cmocka_unit_test(items), cmocka_unit_test(lists),
                                       cmocka_unit_test(decoding)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
