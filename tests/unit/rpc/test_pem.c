/* SPDX-License-Identifier: Apache-2.0 */
/* Files for mutual TLS: wrong ones are refused before a listener or a client exists, in words that name the file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rpc/client.h"
#include "rpc/server.h"

static EVP_PKEY *write_key(const char *path, const char *passphrase)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    FILE *f = fopen(path, "w");
    assert_int_equal(PEM_write_PrivateKey(f, key, passphrase != NULL ? EVP_aes_128_cbc() : NULL, (const unsigned char *)passphrase,
                                          passphrase != NULL ? (int)strlen(passphrase) : 0, NULL, NULL),
                     1);
    fclose(f);
    return key;
}

static void write_certificate(const char *path, EVP_PKEY *key)
{
    X509 *x = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), 0);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, key);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    FILE *f = fopen(path, "w");
    PEM_write_X509(f, x);
    fclose(f);
    X509_free(x);
}

static void write_text(const char *path, const char *text, size_t len)
{
    FILE *f = fopen(path, "w");
    fwrite(text, 1, len, f);
    fclose(f);
}

static void test_files(void **state)
{
    static const struct {
        const char *cert, *key, *ca;
        const char *text; /* NULL: good */
    } T[] = {
        {"cert", "key", "cert", NULL},
        {NULL, "key", "cert", "mutual TLS needs"},
        {"cert", NULL, "cert", "mutual TLS needs"},
        {"cert", "key", NULL, "mutual TLS needs"},
        {"nothing", "key", "cert", "nothing: No such file or directory"},
        {"cert", "key2", "cert", "key2 is not the key of cert"},
        {"cert", "locked", "cert", "locked: no PEM private key without pass phrase"},
        {"cert", "cert", "cert", "cert: no PEM private key"},
        {"key", "key", "cert", "key: no PEM certificate"},
        {"cert", "key", "key", "key: no PEM certificate"},
        {"cert", "key", "empty", "empty: no PEM certificate"},
        {"cert", "key", "zeros", "zeros: not a PEM file"},
        {"cert", "huge", "cert", "huge: not a PEM file"},
        {".", "key", "cert", ".: not a PEM file"},
    };
    char dir[] = "/tmp/sluice-pem-XXXXXX", old[4096];
    (void)state;
    assert_non_null(getcwd(old, sizeof old));
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    EVP_PKEY *key = write_key("key", NULL);
    write_certificate("cert", key);
    EVP_PKEY_free(key);
    EVP_PKEY_free(write_key("key2", NULL));
    EVP_PKEY_free(write_key("locked", "secret"));
    write_text("empty", "", 0);
    write_text("zeros", "\0\0\0", 3);
    char *huge = calloc(1, 2 << 20);
    memset(huge, 'A', 2 << 20);
    write_text("huge", huge, 2 << 20);
    free(huge);

    for (size_t i = 0; i < sizeof T / sizeof T[0]; i++) {
        struct sl_rpc_tls_files files = {.cert_file = T[i].cert, .key_file = T[i].key, .ca_file = T[i].ca};
        struct sl_rpc_client_options options = {.target = "localhost:1", .tls = &files};
        struct sl_diag diag = {0};
        struct sl_rpc_server *server = NULL;
        struct sl_rpc_client *client = NULL;
        sl_err want = T[i].text == NULL ? SL_OK : SL_ERR_INVALID;
        int port = 0;
        assert_int_equal(sl_rpc_server_new(NULL, &server, &diag), SL_OK);
        sl_err err = sl_rpc_server_listen_tls(server, "127.0.0.1:0", &files, &port, &diag);
        if (err != want || (T[i].text != NULL && strncmp(diag.text, T[i].text, strlen(T[i].text)) != 0))
            fail_msg("case %zu: %d %s", i, err, diag.text);
        assert_true((port != 0) == (err == SL_OK));
        sl_rpc_server_free(server);
        assert_int_equal(sl_rpc_client_new(&options, &client, &diag), want);
        sl_rpc_client_free(client);
    }

    static const char *const FILES[] = {"cert", "key", "key2", "locked", "empty", "zeros", "huge"};
    for (size_t i = 0; i < sizeof FILES / sizeof FILES[0]; i++)
        unlink(FILES[i]);
    assert_int_equal(chdir(old), 0);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
