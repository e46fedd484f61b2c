/* SPDX-License-Identifier: Apache-2.0 */
/* A CA on disk: see ca.h. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/secret.h"
#include "pki/ca_impl.h"

enum {
    PASSPHRASE_MAX = 1024,
    PASSPHRASE_RANDOM = 32, /* bytes, written as hex */
    CA_FILE_MAX = 65536,
    SCRYPT_N = 16384,
    SCRYPT_R = 8,
    SCRYPT_P = 1
};

static const char CA_FILE[] = "ca.pem", PASSPHRASE_FILE[] = "passphrase", CREDENTIAL[] = "sluice-ca-passphrase";

struct path {
    char text[PATH_MAX];
};

static sl_err join(const char *folder, const char *name, struct path *out, struct sl_diag *diag)
{
    int len = snprintf(out->text, sizeof(out->text), "%s/%s", folder, name);
    return len > 0 && (size_t)len < sizeof(out->text) ? SL_OK : sl_fail(diag, SL_ERR_INVALID, "the path %s is too long", folder);
}

/* --- files --- */

static sl_err write_all(int fd, const char *bytes, size_t len)
{
    for (size_t used = 0; used < len;) {
        ssize_t n = write(fd, bytes + used, len - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return SL_ERR_IO;
        used += (size_t)n;
    }
    return fsync(fd) == 0 ? SL_OK : SL_ERR_IO;
}

static sl_err sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    sl_err err = fd >= 0 && fsync(fd) == 0 ? SL_OK : SL_ERR_IO;
    if (fd >= 0)
        close(fd);
    return err;
}

/* The file has its whole content or is not there; mode 0600. Without replace an existing one is left alone: SL_ERR_EXISTS. */
static sl_err write_atomically(const char *folder, const char *path, const char *bytes, size_t len, bool replace)
{
    struct path temporary = {""};
    sl_err err = join(folder, ".new-XXXXXX", &temporary, NULL);
    int fd, saved;

    if (err)
        return err;
    if ((fd = mkostemp(temporary.text, O_CLOEXEC)) < 0)
        return SL_ERR_IO;
    err = write_all(fd, bytes, len);
    if (!err && replace)
        err = rename(temporary.text, path) == 0 ? SL_OK : SL_ERR_IO;
    else if (!err) /* a link, unlike a rename, never replaces */
        err = link(temporary.text, path) == 0 ? SL_OK : errno == EEXIST ? SL_ERR_EXISTS : SL_ERR_IO;
    saved = errno;
    close(fd);
    if (err || !replace)
        unlink(temporary.text);
    if (!err)
        err = sync_folder(folder);
    errno = saved;
    return err;
}

/* At most cap - 1 bytes, with a NUL behind. forbidden: mode bits that must not be set. */
static sl_err read_file(const char *path, mode_t forbidden, char *out, size_t cap, size_t *len, struct sl_diag *diag)
{
    struct stat st;
    ssize_t n = 0;
    size_t used = 0;
    sl_err err = SL_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return sl_fail(diag, errno == ENOENT ? SL_ERR_NOT_FOUND : SL_ERR_IO, "%s: %s", path, strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        err = sl_fail(diag, SL_ERR_IO, "%s: not a regular file", path);
    else if (st.st_mode & forbidden)
        err = sl_fail(diag, SL_ERR_DENIED, "%s: its mode %04o lets others read it; run 'chmod 600 %s'", path,
                      (unsigned)(st.st_mode & 07777), path);
    while (!err && used < cap && ((n = read(fd, out + used, cap - used)) > 0 || (n < 0 && errno == EINTR)))
        used += n > 0 ? (size_t)n : 0;
    if (!err && n < 0)
        err = sl_fail(diag, SL_ERR_IO, "%s: %s", path, strerror(errno));
    else if (!err && used == cap)
        err = sl_fail(diag, SL_ERR_LIMIT, "%s: larger than %zu bytes", path, cap - 1);
    close(fd);
    if (!err) {
        out[used] = '\0';
        *len = used;
    }
    return err;
}

/* --- passphrase --- */

struct passphrase {
    char *text; /* from sl_secret_alloc */
    size_t len;
};

static sl_err passphrase_path(const char *folder, const char *configured, struct path *out, bool *own, struct sl_diag *diag)
{
    const char *credentials = getenv("CREDENTIALS_DIRECTORY");
    sl_err err;

    *own = false;
    if (configured && configured[0]) {
        int len = snprintf(out->text, sizeof(out->text), "%s", configured);
        return len > 0 && (size_t)len < sizeof(out->text) ? SL_OK
                                                          : sl_fail(diag, SL_ERR_INVALID, "the passphrase file's path is too long");
    }
    if (credentials && credentials[0]) {
        if ((err = join(credentials, CREDENTIAL, out, diag)))
            return err;
        if (access(out->text, F_OK) == 0)
            return SL_OK;
    }
    *own = true;
    return join(folder, PASSPHRASE_FILE, out, diag);
}

static sl_err read_passphrase(const struct path *path, bool own, struct passphrase *out, struct sl_diag *diag)
{
    /* The service manager's files may be readable by the group, under its own protection. */
    mode_t forbidden = own ? 077 : 007;
    sl_err err = sl_secret_alloc(PASSPHRASE_MAX + 1, (void **)&out->text);

    if (err)
        return sl_fail(diag, err, "no memory for the passphrase");
    if (!(err = read_file(path->text, forbidden, out->text, PASSPHRASE_MAX + 1, &out->len, diag))) {
        out->len = strcspn(out->text, "\r\n");
        out->text[out->len] = '\0';
        if (out->len == 0)
            err = sl_fail(diag, SL_ERR_CORRUPT, "%s: the first line, the passphrase, is empty", path->text);
    }
    if (err) {
        sl_secret_free(out->text);
        *out = (struct passphrase){0};
    }
    return err;
}

static sl_err make_passphrase(const char *folder, const struct path *path, struct sl_diag *diag)
{
    uint8_t *random = NULL;
    char *text = NULL;
    sl_err err;

    if ((err = sl_secret_alloc(PASSPHRASE_RANDOM, (void **)&random)) ||
        (err = sl_secret_alloc(2 * PASSPHRASE_RANDOM + 2, (void **)&text)))
        goto Exit;
    if (RAND_bytes(random, PASSPHRASE_RANDOM) != 1) {
        err = SL_ERR_CRYPTO;
        goto Exit;
    }
    for (size_t i = 0; i < PASSPHRASE_RANDOM; i++)
        snprintf(text + 2 * i, 3, "%02x", random[i]);
    text[2 * PASSPHRASE_RANDOM] = '\n';
    err = write_atomically(folder, path->text, text, 2 * PASSPHRASE_RANDOM + 1, false);
Exit:
    sl_secret_free(random);
    sl_secret_free(text);
    return err ? sl_fail(diag, err, "%s: %s", path->text, err == SL_ERR_IO ? strerror(errno) : sl_err_str(err)) : SL_OK;
}

static sl_err get_passphrase(const char *folder, const char *configured, bool make, struct passphrase *out, struct sl_diag *diag)
{
    struct path path = {""};
    bool own;
    sl_err err = passphrase_path(folder, configured, &path, &own, diag);

    if (!err && make && own && access(path.text, F_OK) != 0)
        err = make_passphrase(folder, &path, diag);
    if (!err)
        err = read_passphrase(&path, own, out, diag);
    return err ? sl_fail_prefix(diag, err == SL_ERR_NOT_FOUND ? SL_ERR_IO : err, "CA passphrase") : SL_OK;
}

/* --- the key, encrypted --- */

static X509_SIG *encrypt_key(const EVP_PKEY *key, const struct passphrase *phrase)
{
    PKCS8_PRIV_KEY_INFO *plain = EVP_PKEY2PKCS8(key);
    X509_ALGOR *scheme = PKCS5_pbe2_set_scrypt(EVP_aes_256_cbc(), NULL, 0, NULL, SCRYPT_N, SCRYPT_R, SCRYPT_P);
    X509_SIG *sealed = plain && scheme ? PKCS8_set0_pbe(phrase->text, (int)phrase->len, plain, scheme) : NULL;

    if (!sealed)
        X509_ALGOR_free(scheme);
    PKCS8_PRIV_KEY_INFO_free(plain); /* wipes */
    return sealed;
}

static sl_err encode(const struct sl_ca *ca, const struct passphrase *phrase, BIO *bio)
{
    sl_err err = SL_ERR_CRYPTO;
    X509_SIG *sealed = encrypt_key(ca->key, phrase);

    if (sealed && PEM_write_bio_X509(bio, ca->cert) == 1 && PEM_write_bio_PKCS8(bio, sealed) == 1)
        err = SL_OK;
    X509_SIG_free(sealed);
    ERR_clear_error();
    return err;
}

static sl_err decrypt_key(const char *path, const X509_SIG *sealed, const struct passphrase *phrase, EVP_PKEY **out,
                          struct sl_diag *diag)
{
    PKCS8_PRIV_KEY_INFO *plain = PKCS8_decrypt(sealed, phrase->text, (int)phrase->len);
    EVP_PKEY *key = plain ? EVP_PKCS82PKEY(plain) : NULL;

    PKCS8_PRIV_KEY_INFO_free(plain);
    ERR_clear_error();
    if (!key)
        return sl_fail(diag, SL_ERR_DENIED, "%s: the CA key does not open with this passphrase", path);
    *out = key;
    return SL_OK;
}

/* --- the CA --- */

static sl_err prepare_folder(const char *folder, struct sl_diag *diag)
{
    struct stat st;

    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return sl_fail(diag, SL_ERR_IO, "%s: %s", folder, strerror(errno));
    if (stat(folder, &st) != 0 || !S_ISDIR(st.st_mode))
        return sl_fail(diag, SL_ERR_IO, "%s: not a folder", folder);
    if (st.st_mode & 022)
        return sl_fail(diag, SL_ERR_DENIED, "%s: others may write to it; run 'chmod 700 %s'", folder, folder);
    return SL_OK;
}

static sl_err exists(const struct path *path, struct sl_diag *diag)
{
    return sl_fail(diag, SL_ERR_EXISTS,
                   "%s exists; a new CA takes its place only if that is asked for ('sluicectl ca init --replace'), and then every "
                   "client needs the new one",
                   path->text);
}

static sl_err store(const struct sl_ca *ca, const char *folder, const struct path *path, const struct passphrase *phrase,
                    bool replace, struct sl_diag *diag)
{
    char *text;
    long len;
    sl_err err = SL_ERR_NOMEM;
    BIO *bio = BIO_new(BIO_s_mem());

    if (bio && !(err = encode(ca, phrase, bio))) {
        len = BIO_get_mem_data(bio, &text);
        err = write_atomically(folder, path->text, text, (size_t)len, replace);
    }
    int saved = errno;
    BIO_free(bio);
    if (err == SL_ERR_EXISTS)
        return exists(path, diag);
    return err ? sl_fail(diag, err, "%s: %s", path->text, err == SL_ERR_IO ? strerror(saved) : sl_err_str(err)) : SL_OK;
}

sl_err sl_ca_init(const char *folder, const char *passphrase_file, const struct sl_ca_options *options, bool replace,
                  struct sl_ca **out, struct sl_diag *diag)
{
    struct passphrase phrase = {0};
    struct path path = {""};
    struct sl_ca *ca = NULL;
    sl_err err;

    if ((err = prepare_folder(folder, diag)) || (err = join(folder, CA_FILE, &path, diag)))
        return err;
    if (!replace && access(path.text, F_OK) == 0)
        return exists(&path, diag);
    if ((err = sl_ca_generate(options, false, &ca, diag)) || (err = get_passphrase(folder, passphrase_file, true, &phrase, diag)) ||
        (err = store(ca, folder, &path, &phrase, replace, diag)))
        goto Exit;
    *out = ca;
    ca = NULL;
Exit:
    sl_secret_free(phrase.text);
    sl_ca_unref(ca);
    return err;
}

static sl_err read_ca_file(const char *folder, struct path *path, X509 **cert, X509_SIG **sealed, struct sl_diag *diag)
{
    size_t len = 0;
    sl_err err;
    BIO *bio = NULL;
    char *text = malloc(CA_FILE_MAX + 1);

    *cert = NULL;
    *sealed = NULL;
    if (!text)
        return sl_fail(diag, SL_ERR_NOMEM, "no memory for the CA");
    if ((err = join(folder, CA_FILE, path, diag)) || (err = read_file(path->text, 077, text, CA_FILE_MAX + 1, &len, diag)))
        goto Exit;
    if (!(bio = BIO_new_mem_buf(text, (int)len)))
        err = sl_fail(diag, SL_ERR_NOMEM, "no memory for the CA");
    else if (!(*cert = PEM_read_bio_X509(bio, NULL, NULL, (void *)"")))
        err = sl_fail(diag, SL_ERR_CORRUPT, "%s: damaged: no readable certificate", path->text);
    else if (!(*sealed = PEM_read_bio_PKCS8(bio, NULL, NULL, (void *)"")))
        err = sl_fail(diag, SL_ERR_CORRUPT, "%s: damaged: no readable encrypted key", path->text);
Exit:
    if (err == SL_ERR_NOT_FOUND)
        sl_fail(diag, err, "%s: there is no decryption CA yet; run 'sluicectl ca init'", path->text);
    if (err) {
        X509_free(*cert);
        *cert = NULL;
    }
    BIO_free(bio);
    ERR_clear_error();
    free(text);
    return err;
}

sl_err sl_ca_load(const char *folder, const char *passphrase_file, struct sl_ca **out, struct sl_diag *diag)
{
    struct passphrase phrase = {0};
    struct path path = {""};
    X509 *cert = NULL;
    X509_SIG *sealed = NULL;
    EVP_PKEY *key = NULL;
    sl_err err;

    if ((err = read_ca_file(folder, &path, &cert, &sealed, diag)) ||
        (err = get_passphrase(folder, passphrase_file, false, &phrase, diag)) ||
        (err = decrypt_key(path.text, sealed, &phrase, &key, diag)))
        goto Exit;
    err = sl_ca_make(cert, key, false, out);
    cert = NULL;
    if (err)
        sl_fail(diag, err, "%s: damaged: %s", path.text,
                err == SL_ERR_CORRUPT ? "the key and the certificate don't belong together, or it is no CA" : sl_err_str(err));
Exit:
    sl_secret_free(phrase.text);
    X509_SIG_free(sealed);
    X509_free(cert);
    return err;
}

sl_err sl_ca_read_certificate(const char *folder, X509 **out, struct sl_diag *diag)
{
    struct path path = {""};
    X509 *cert = NULL;
    X509_SIG *sealed = NULL;
    sl_err err = read_ca_file(folder, &path, &cert, &sealed, diag);

    X509_SIG_free(sealed);
    if (!err)
        *out = cert;
    return err;
}
