/* SPDX-License-Identifier: Apache-2.0 */
/* C1, C2: the decryption CA is made once, its key is encrypted at rest, damage and wrong passphrases are told apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pki/ca.h"
#include "test_pki.h"

static const struct sl_ca_options OPTIONS = {.common_name = "Sluice decryption CA test"};

static struct {
    char parent[32], folder[64], ca[80], phrase[80], other[80];
} f;

static int setup(void **state)
{
    (void)state;
    unsetenv("CREDENTIALS_DIRECTORY");
    snprintf(f.parent, sizeof(f.parent), "ca-XXXXXX");
    assert_non_null(mkdtemp(f.parent));
    snprintf(f.folder, sizeof(f.folder), "%s/ca", f.parent);
    snprintf(f.ca, sizeof(f.ca), "%s/ca.pem", f.folder);
    snprintf(f.phrase, sizeof(f.phrase), "%s/passphrase", f.folder);
    snprintf(f.other, sizeof(f.other), "%s/other", f.parent);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(f.ca);
    unlink(f.phrase);
    unlink(f.other);
    rmdir(f.folder);
    return rmdir(f.parent); /* fails if anything was left behind, a temporary file for one */
}

static void write_text(const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void read_text(const char *path, char *out, size_t cap)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t n = fread(out, 1, cap - 1, file);
    out[n] = '\0';
    fclose(file);
}

static void made_and_loaded(void **state)
{
    struct sl_ca *ca = NULL, *loaded = NULL;
    struct sl_diag diag = {""};
    struct stat st;
    char text[16384];
    (void)state;

    assert_int_equal(sl_ca_load(f.folder, NULL, &loaded, &diag), SL_ERR_NOT_FOUND);
    assert_non_null(strstr(diag.text, "sluicectl ca init"));
    assert_int_equal(sl_ca_init(f.folder, NULL, &OPTIONS, false, &ca, &diag), SL_OK);
    const char *paths[] = {f.ca, f.phrase};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(stat(paths[i], &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
    }
    assert_int_equal(stat(f.folder, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    read_text(f.ca, text, sizeof(text));
    assert_non_null(strstr(text, "BEGIN ENCRYPTED PRIVATE KEY"));
    assert_null(strstr(text, "BEGIN PRIVATE KEY"));

    X509 *cert = sl_ca_certificate(ca);
    assert_int_equal(X509_get_pathlen(cert), 0);
    assert_int_equal(X509_check_ca(cert), 1);
    assert_int_equal(X509_get_key_usage(cert), X509v3_KU_KEY_CERT_SIGN | X509v3_KU_CRL_SIGN);
    assert_int_equal(X509_get_signature_nid(cert), NID_ecdsa_with_SHA256);
    assert_string_equal(sl_ca_subject(ca), "/CN=Sluice decryption CA test");
    assert_int_equal(strlen(sl_ca_not_after(ca)), 20);
    assert_false(sl_ca_is_untrusted(ca));
    assert_non_null(strstr(sl_ca_pem(ca), "BEGIN CERTIFICATE"));
    assert_null(strstr(sl_ca_pem(ca), "PRIVATE"));
    assert_int_equal(ASN1_STRING_length(X509_get0_serialNumber(cert)), 16);

    assert_int_equal(sl_ca_load(f.folder, NULL, &loaded, &diag), SL_OK);
    assert_memory_equal(sl_ca_sha256(loaded), sl_ca_sha256(ca), SL_SHA256_LEN);
    assert_string_equal(sl_ca_sha256_hex(loaded), sl_ca_sha256_hex(ca));
    sl_ca_unref(loaded);
    X509 *read = NULL;
    assert_int_equal(sl_ca_read_certificate(f.folder, &read, &diag), SL_OK);
    assert_int_equal(X509_cmp(read, cert), 0);
    X509_free(read);
    sl_ca_unref(ca);
}

/* C1: no two installations share a key; an existing CA is replaced only when asked. */
static void replaced_only_when_asked(void **state)
{
    struct sl_ca *first = NULL, *second = NULL;
    struct sl_diag diag = {""};
    char before[16384], after[16384];
    (void)state;

    assert_int_equal(sl_ca_load(f.folder, NULL, &first, &diag), SL_OK);
    read_text(f.ca, before, sizeof(before));
    assert_int_equal(sl_ca_init(f.folder, NULL, &OPTIONS, false, &second, &diag), SL_ERR_EXISTS);
    assert_non_null(strstr(diag.text, "--replace"));
    read_text(f.ca, after, sizeof(after));
    assert_string_equal(before, after);
    assert_int_equal(sl_ca_init(f.folder, NULL, &OPTIONS, true, &second, &diag), SL_OK);
    assert_memory_not_equal(sl_ca_sha256(first), sl_ca_sha256(second), SL_SHA256_LEN);
    assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(sl_ca_certificate(first)), X509_get0_pubkey(sl_ca_certificate(second))), 0);
    sl_ca_unref(first);
    sl_ca_unref(second);
}

static void passphrases(void **state)
{
    struct sl_ca *ca = NULL;
    struct sl_diag diag = {""};
    char credential[128];
    (void)state;

    write_text(f.other, "wrong\n", 0600);
    assert_int_equal(sl_ca_load(f.folder, f.other, &ca, &diag), SL_ERR_DENIED);
    assert_non_null(strstr(diag.text, "passphrase"));
    write_text(f.other, "\nx\n", 0600);
    assert_int_equal(sl_ca_load(f.folder, f.other, &ca, &diag), SL_ERR_CORRUPT);
    write_text(f.other, "mine\r\nignored", 0644);
    assert_int_equal(sl_ca_init(f.folder, f.other, &OPTIONS, true, &ca, &diag), SL_ERR_DENIED); /* others can read it */
    assert_non_null(strstr(diag.text, "chmod 600"));
    assert_int_equal(chmod(f.other, 0640), 0);
    assert_int_equal(sl_ca_init(f.folder, f.other, &OPTIONS, true, &ca, &diag), SL_OK);
    sl_ca_unref(ca);
    assert_int_equal(sl_ca_load(f.folder, f.other, &ca, &diag), SL_OK);
    sl_ca_unref(ca);
    assert_int_equal(sl_ca_load(f.folder, NULL, &ca, &diag), SL_ERR_DENIED); /* the folder's own is another one */
    assert_int_equal(sl_ca_load(f.folder, "missing/file", &ca, &diag), SL_ERR_IO);
    /* A credential of the service manager goes before the folder's own file. */
    snprintf(credential, sizeof(credential), "%s/sluice-ca-passphrase", f.parent);
    write_text(credential, "mine\n", 0440);
    setenv("CREDENTIALS_DIRECTORY", f.parent, 1);
    assert_int_equal(sl_ca_load(f.folder, NULL, &ca, &diag), SL_OK);
    sl_ca_unref(ca);
    unsetenv("CREDENTIALS_DIRECTORY");
    unlink(credential);
}

static void damage(void **state)
{
    static char text[16384], changed[16384];
    struct sl_ca *ca = NULL;
    struct sl_diag diag = {""};
    (void)state;

    assert_int_equal(sl_ca_init(f.folder, NULL, &OPTIONS, true, &ca, &diag), SL_OK);
    sl_ca_unref(ca);
    ca = NULL;
    read_text(f.ca, text, sizeof(text));
    for (size_t cut = 0; cut + 40 < strlen(text); cut += 37) { /* what is left of a file that was cut */
        memcpy(changed, text, cut);
        changed[cut] = '\0';
        write_text(f.ca, changed, 0600);
        assert_int_equal(sl_ca_load(f.folder, NULL, &ca, &diag), SL_ERR_CORRUPT);
        assert_non_null(strstr(diag.text, f.ca));
    }
    /* The certificate of another CA with this key. */
    struct tp other = tp_root("Other");
    FILE *file = fopen(f.ca, "w");
    assert_true(file && PEM_write_X509(file, other.cert) && fputs(strstr(text, "-----BEGIN ENCRYPTED"), file) >= 0 &&
                fclose(file) == 0);
    assert_int_equal(sl_ca_load(f.folder, NULL, &ca, &diag), SL_ERR_CORRUPT);
    assert_non_null(strstr(diag.text, "belong together"));
    tp_free(&other);
    write_text(f.ca, text, 0644);
    assert_int_equal(sl_ca_load(f.folder, NULL, &ca, &diag), SL_ERR_DENIED);
    assert_non_null(strstr(diag.text, "chmod 600"));
    assert_null(ca);
    write_text(f.ca, text, 0600);
    assert_int_equal(sl_ca_load(f.folder, NULL, &ca, &diag), SL_OK);
    sl_ca_unref(ca);
}

static void refused_options(void **state)
{
    static const struct sl_ca_options cases[] = {
        {.common_name = NULL},
        {.common_name = ""},
        {.common_name = "a\nb"},
        {.common_name = "\xff"},
        {.common_name = "x", .validity_days = 7301},
        {.common_name = "0123456789012345678901234567890123456789012345678901234567890123456789"},
    };
    struct sl_ca *ca = NULL;
    struct sl_diag diag;
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        diag.text[0] = '\0';
        assert_int_not_equal(sl_ca_generate(&cases[i], false, &ca, &diag), SL_OK);
        assert_true(diag.text[0] != '\0');
    }
    assert_int_equal(sl_ca_init("no/such/parent", NULL, &OPTIONS, false, &ca, &diag), SL_ERR_IO);
    assert_null(ca);
}

static void untrusted(void **state)
{
    struct sl_ca *ca = NULL;
    struct sl_diag diag;
    (void)state;
    assert_int_equal(sl_ca_untrusted_new("gw1", NULL, &ca, &diag), SL_OK);
    assert_true(sl_ca_is_untrusted(ca));
    assert_string_equal(sl_ca_subject(ca), "/CN=UNTRUSTED gw1");
    sl_ca_unref(sl_ca_ref(ca));
    sl_ca_unref(ca);
    sl_ca_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_and_loaded), cmocka_unit_test(replaced_only_when_asked), cmocka_unit_test(passphrases),
        cmocka_unit_test(damage),          cmocka_unit_test(refused_options),          cmocka_unit_test(untrusted),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
