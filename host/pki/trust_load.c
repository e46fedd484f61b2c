/* SPDX-License-Identifier: Apache-2.0 */
/* Files of anchors and revocation lists. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "pki/trust_impl.h"

struct file {
    uint8_t *bytes;
    size_t len;
    uint64_t mtime_ns;
};

static sl_err read_all(int fd, struct file *f)
{
    size_t used = 0;
    while (used < f->len) {
        ssize_t n = read(fd, f->bytes + used, f->len - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return SL_ERR_IO;
        used += (size_t)n;
    }
    return SL_OK;
}

static sl_err load_file(const char *path, struct file *out, struct sl_diag *diag)
{
    struct file f = {0};
    struct stat st;
    sl_err err = SL_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) != 0)
        err = sl_fail(diag, SL_ERR_IO, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        err = sl_fail(diag, SL_ERR_IO, "%s: not a regular file", path);
    else if (st.st_size > SL_TRUST_FILE_MAX)
        err = sl_fail(diag, SL_ERR_LIMIT, "%s: larger than %d bytes", path, SL_TRUST_FILE_MAX);
    else {
        f.len = (size_t)st.st_size;
        f.mtime_ns = (uint64_t)st.st_mtim.tv_sec * SL_NS_PER_S + (uint64_t)st.st_mtim.tv_nsec;
        if (!(f.bytes = malloc(f.len + 1)))
            err = sl_fail(diag, SL_ERR_NOMEM, "%s: no memory", path);
        else if ((err = read_all(fd, &f)))
            sl_fail(diag, err, "%s: could not be read", path);
    }
    if (fd >= 0)
        close(fd);
    if (err || !f.bytes) {
        free(f.bytes);
        return err ? err : SL_ERR_NOMEM;
    }
    *out = f;
    return SL_OK;
}

sl_err sl_trust_add_anchor(struct sl_trust *trust, X509 *cert)
{
    X509_check_purpose(cert, -1, 0);
    if (X509_STORE_add_cert(trust->store, cert) != 1) {
        ERR_clear_error();
        return SL_ERR_NOMEM;
    }
    return SL_OK;
}

/* An entry that can't be used costs itself, not the bundle. */
static sl_err add_bundle_cert(struct sl_trust *trust, X509 *cert)
{
    int64_t end = 0;

    if (sl_trust_is_own(trust, cert) || sl_trust_is_bad(trust, cert) || X509_check_ca(cert) == 0) {
        trust->info.skipped++;
        return SL_OK;
    }
    if (sl_cert_time(X509_get0_notAfter(cert), &end) == SL_OK && end >= 0 && (uint64_t)end < trust->info.loaded_ns / SL_NS_PER_S)
        trust->info.expired++;
    trust->info.anchors++;
    return sl_trust_add_anchor(trust, cert);
}

/* Every CERTIFICATE block of a PEM text; damaged blocks are skipped. */
static sl_err add_pem(struct sl_trust *trust, const struct file *f)
{
    sl_err err = SL_OK;
    BIO *bio = BIO_new_mem_buf(f->bytes, (int)f->len);

    if (!bio)
        return SL_ERR_NOMEM;
    while (!err) {
        char *name = NULL, *header = NULL;
        unsigned char *data = NULL;
        long len = 0;
        ERR_clear_error();
        if (PEM_read_bio(bio, &name, &header, &data, &len) != 1) {
            if (ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE || BIO_eof(bio))
                break;
            trust->info.skipped++;
            continue;
        }
        X509 *cert = NULL;
        const unsigned char *at = data;
        if (strcmp(name, PEM_STRING_X509) == 0 || strcmp(name, PEM_STRING_X509_OLD) == 0)
            cert = d2i_X509(NULL, &at, len);
        if (cert)
            err = add_bundle_cert(trust, cert);
        else
            trust->info.skipped++;
        X509_free(cert);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(data);
    }
    ERR_clear_error();
    BIO_free(bio);
    return err;
}

static sl_err add_file(struct sl_trust *trust, const char *path, EVP_MD_CTX *hash, struct sl_diag *diag)
{
    struct file f;
    X509 *cert = NULL;
    sl_err err = load_file(path, &f, diag);

    if (err)
        return err;
    if (EVP_DigestUpdate(hash, f.bytes, f.len) != 1)
        err = SL_ERR_CRYPTO;
    else if (memmem(f.bytes, f.len, "-----BEGIN ", 11))
        err = add_pem(trust, &f);
    else if (sl_cert_decode(f.bytes, f.len, &cert, NULL) == SL_OK)
        err = add_bundle_cert(trust, cert);
    else
        trust->info.skipped++;
    if (f.mtime_ns > trust->info.bundle_mtime_ns)
        trust->info.bundle_mtime_ns = f.mtime_ns;
    X509_free(cert);
    free(f.bytes);
    return err ? sl_fail(diag, err, "%s: %s", path, sl_err_str(err)) : SL_OK;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static sl_err add_folder(struct sl_trust *trust, const char *path, EVP_MD_CTX *hash, struct sl_diag *diag)
{
    struct dirent **entries = NULL;
    char file[4352];
    struct stat st;
    sl_err err = SL_OK;
    int count = scandir(path, &entries, visible, by_name);

    if (count < 0)
        return sl_fail(diag, SL_ERR_IO, "%s: %s", path, strerror(errno));
    if (count > SL_TRUST_FILES_MAX)
        err = sl_fail(diag, SL_ERR_LIMIT, "%s: more than %d files", path, SL_TRUST_FILES_MAX);
    for (int i = 0; i < count; i++) {
        int len = snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name);
        /* A dangling link is common in such folders; folders inside are not ours to walk. */
        if (!err && len > 0 && (size_t)len < sizeof(file) && stat(file, &st) == 0 && S_ISREG(st.st_mode))
            err = add_file(trust, file, hash, diag);
        free(entries[i]);
    }
    free(entries);
    return err;
}

sl_err sl_trust_load_bundle(struct sl_trust *trust, const char *path, struct sl_diag *diag)
{
    uint8_t sha256[SL_SHA256_LEN];
    struct stat st;
    sl_err err;
    EVP_MD_CTX *hash = EVP_MD_CTX_new();

    if (!hash || EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1)
        err = sl_fail(diag, SL_ERR_NOMEM, "no memory for the trust store");
    else if (stat(path, &st) != 0)
        err = sl_fail(diag, SL_ERR_IO, "trust bundle %s: %s", path, strerror(errno));
    else if (S_ISDIR(st.st_mode))
        err = add_folder(trust, path, hash, diag);
    else
        err = add_file(trust, path, hash, diag);
    if (!err && trust->info.anchors == 0)
        err = sl_fail(diag, SL_ERR_CORRUPT, "trust bundle %s: no usable CA certificate in it (%zu entries skipped)", path,
                      trust->info.skipped);
    if (!err && EVP_DigestFinal_ex(hash, sha256, NULL) == 1) {
        sl_cert_hex(sha256, trust->info.bundle_sha256);
        snprintf(trust->info.bundle, sizeof(trust->info.bundle), "%s", path);
    }
    EVP_MD_CTX_free(hash);
    return err;
}

static sl_err add_crl(struct sl_trust *trust, X509_CRL *crl)
{
    int64_t next;

    if (X509_STORE_add_crl(trust->store, crl) != 1)
        return SL_ERR_NOMEM;
    trust->info.crls++;
    if (sl_cert_time(X509_CRL_get0_nextUpdate(crl), &next) == SL_OK && next > 0) {
        uint64_t next_ns = (uint64_t)next * SL_NS_PER_S;
        if (trust->info.crl_next_update_ns == 0 || next_ns < trust->info.crl_next_update_ns)
            trust->info.crl_next_update_ns = next_ns;
    }
    return SL_OK;
}

static sl_err add_pem_crls(struct sl_trust *trust, const struct file *f)
{
    sl_err err = SL_OK;
    X509_CRL *crl;
    BIO *bio = BIO_new_mem_buf(f->bytes, (int)f->len);

    if (!bio)
        return SL_ERR_NOMEM;
    while (!err && (crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, (void *)"")) != NULL) {
        err = add_crl(trust, crl);
        X509_CRL_free(crl);
    }
    /* Whatever stopped the reading but the end of the blocks is damage: a list that is silently short would unrevoke. */
    if (!err && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        err = SL_ERR_CORRUPT;
    ERR_clear_error();
    BIO_free(bio);
    return err;
}

sl_err sl_trust_load_crl(struct sl_trust *trust, const char *path, struct sl_diag *diag)
{
    struct file f;
    size_t before = trust->info.crls;
    sl_err err = load_file(path, &f, diag);

    if (err)
        return err;
    if (memmem(f.bytes, f.len, "-----BEGIN ", 11))
        err = add_pem_crls(trust, &f);
    else {
        const unsigned char *at = f.bytes;
        X509_CRL *crl = d2i_X509_CRL(NULL, &at, (long)f.len);
        err = crl && at == f.bytes + f.len ? add_crl(trust, crl) : SL_ERR_CORRUPT;
        X509_CRL_free(crl);
        ERR_clear_error();
    }
    if (!err && trust->info.crls == before)
        err = SL_ERR_CORRUPT;
    free(f.bytes);
    return err ? sl_fail(diag, err, "%s: not a readable revocation list (PEM or DER)", path) : SL_OK;
}
