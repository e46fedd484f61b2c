/* SPDX-License-Identifier: Apache-2.0 */
/* Certificate, key and CA files for mutual TLS. gRPC would take wrong files silently and fail at the first handshake: checked here.
 */
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "rpc/core.h"

enum { PEM_FILE_MAX = 1 << 20 };

static sl_err read_file(const char *path, char **out, struct sl_diag *diag)
{
    if (path == NULL)
        return sl_fail(diag, SL_ERR_INVALID, "mutual TLS needs a certificate file, a key file and a CA file");
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return sl_fail(diag, SL_ERR_INVALID, "%s: %s", path, strerror(errno));
    /* Unbuffered: no second copy of a key in memory that nobody wipes. */
    setvbuf(f, NULL, _IONBF, 0);
    char *text = malloc(PEM_FILE_MAX);
    size_t n = text != NULL ? fread(text, 1, PEM_FILE_MAX, f) : 0;
    int failed = ferror(f);
    fclose(f);
    if (text == NULL)
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    if (failed || n == PEM_FILE_MAX || memchr(text, '\0', n) != NULL) {
        sl_wipe(text, n);
        free(text);
        return sl_fail(diag, SL_ERR_INVALID, "%s: not a PEM file", path);
    }
    text[n] = '\0';
    *out = text;
    return SL_OK;
}

static X509 *first_certificate(const char *text)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    X509 *x = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return x;
}

/* A key with a pass phrase must fail, not ask on the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf, (void)size, (void)writing, (void)arg;
    return -1;
}

static EVP_PKEY *private_key(const char *text)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    BIO_free(bio);
    return key;
}

static sl_err check(const struct sl_rpc_tls_files *files, const struct sl_rpc_pem *pem, struct sl_diag *diag)
{
    sl_err err = SL_OK;
    X509 *cert = first_certificate(pem->cert), *ca = first_certificate(pem->ca);
    EVP_PKEY *key = private_key(pem->key);
    if (cert == NULL)
        err = sl_fail(diag, SL_ERR_INVALID, "%s: no PEM certificate", files->cert_file);
    else if (ca == NULL)
        err = sl_fail(diag, SL_ERR_INVALID, "%s: no PEM certificate", files->ca_file);
    else if (key == NULL)
        err = sl_fail(diag, SL_ERR_INVALID, "%s: no PEM private key without pass phrase", files->key_file);
    else if (X509_check_private_key(cert, key) != 1)
        err = sl_fail(diag, SL_ERR_INVALID, "%s is not the key of %s", files->key_file, files->cert_file);
    X509_free(cert);
    X509_free(ca);
    EVP_PKEY_free(key);
    return err;
}

sl_err sl_rpc_pem_load(const struct sl_rpc_tls_files *files, struct sl_rpc_pem *out, struct sl_diag *diag)
{
    struct sl_rpc_pem pem = {0};
    sl_err err;
    if ((err = read_file(files->cert_file, &pem.cert, diag)) != SL_OK ||
        (err = read_file(files->key_file, &pem.key, diag)) != SL_OK || (err = read_file(files->ca_file, &pem.ca, diag)) != SL_OK ||
        (err = check(files, &pem, diag)) != SL_OK) {
        sl_rpc_pem_free(&pem);
        return err;
    }
    *out = pem;
    return SL_OK;
}

void sl_rpc_pem_free(struct sl_rpc_pem *pem)
{
    if (pem->key != NULL)
        sl_wipe(pem->key, strlen(pem->key));
    free(pem->cert);
    free(pem->key);
    free(pem->ca);
    *pem = (struct sl_rpc_pem){0};
}
