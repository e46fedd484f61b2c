/* SPDX-License-Identifier: Apache-2.0 */
#include "card/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "card/manifest_form.h"

enum { SIGNATURE_BYTES = 64, CHUNK = 1 << 18, MAGIC_BYTES = 8 };
static const char magic[MAGIC_BYTES] = "xclbin2"; /* with the zero */

/* ---- files ---- */

/* The folder is opened once: all three files are of the same one, whatever is renamed meanwhile. */
struct folder {
    int fd;
    const char *path; /* for messages: the first count characters, up to the last slash */
    int count;
};

#define IN(folder) (folder)->count, (folder)->path

static sl_err open_folder(const char *file, struct folder *out, struct sl_diag *diag)
{
    const char *slash = strrchr(file, '/');
    out->path = file;
    out->count = slash != NULL ? (int)(slash + 1 - file) : 0;
    char *name = out->count > 0 ? strndup(file, (size_t)out->count) : strdup(".");
    if (name == NULL)
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    out->fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(name);
    return out->fd >= 0 ? SL_OK : sl_fail(diag, SL_ERR_IO, "%s: its folder: %s", file, strerror(errno));
}

/* A regular file and not a link: what is checked is what lies there. */
static sl_err open_plain(const struct folder *folder, const char *name, int *out, struct sl_diag *diag)
{
    struct stat status;
    int fd = openat(folder->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return sl_fail(diag, SL_ERR_IO, "%.*s%s: %s", IN(folder), name, errno == ELOOP ? "is a symbolic link" : strerror(errno));
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        close(fd);
        return sl_fail(diag, SL_ERR_IO, "%.*s%s is no regular file", IN(folder), name);
    }
    *out = fd;
    return SL_OK;
}

/* As read(), in whole: less than count only where the file ends. -1: errno says why. */
static ssize_t read_fully(int fd, uint8_t *to, size_t count)
{
    size_t done = 0;
    while (done < count) {
        ssize_t n = read(fd, to + done, count - done);
        if (n == 0)
            break;
        if (n < 0 && errno != EINTR)
            return -1;
        done += n > 0 ? (size_t)n : 0;
    }
    return (ssize_t)done;
}

static bool write_fully(int fd, const uint8_t *from, size_t count)
{
    for (size_t done = 0; done < count;) {
        ssize_t n = write(fd, from + done, count - done);
        if (n < 0 && errno != EINTR)
            return false;
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

struct small {
    uint8_t *bytes;
    size_t count;
};

static sl_err read_small(const struct folder *folder, const char *name, struct small *out, struct sl_diag *diag)
{
    int fd = -1;
    sl_err err = open_plain(folder, name, &fd, diag);
    if (err)
        return err;
    ssize_t count = -1;
    uint8_t *bytes = malloc(SL_MANIFEST_MAX + 1);
    if (bytes == NULL)
        err = sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    else if ((count = read_fully(fd, bytes, SL_MANIFEST_MAX + 1)) < 0)
        err = sl_fail(diag, SL_ERR_IO, "%.*s%s: %s", IN(folder), name, strerror(errno));
    else if (count > SL_MANIFEST_MAX)
        err = sl_fail(diag, SL_ERR_INVALID, "%.*s%s is longer than %d bytes", IN(folder), name, SL_MANIFEST_MAX);
    close(fd);
    if (err) {
        free(bytes);
        return err;
    }
    *out = (struct small){bytes, (size_t)count};
    return SL_OK;
}

/* ---- signature ---- */

/* A key that wants a password is none of ours; nobody is asked for one. */
static int no_password(char *to, int size, int writing, void *arg)
{
    (void)to;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

/* NULL: no such key, or no memory. */
static EVP_PKEY *parse_key(const struct small *pem)
{
    BIO *bio = BIO_new_mem_buf(pem->bytes, (int)pem->count);
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PUBKEY(bio, NULL, no_password, NULL) : NULL;
    BIO_free(bio);
    if (key != NULL && !EVP_PKEY_is_a(key, "ED25519")) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    return key;
}

static sl_err verify(const struct small *pem, const struct small *manifest, const struct small *signature, struct sl_diag *diag)
{
    if (signature->count != SIGNATURE_BYTES)
        return sl_fail(diag, SL_ERR_AUTH, "the signature has %zu bytes, not %d", signature->count, SIGNATURE_BYTES);
    EVP_PKEY *key = parse_key(pem);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    sl_err err = SL_OK;
    if (key == NULL)
        err = sl_fail(diag, SL_ERR_INVALID, "the key is no Ed25519 public key in PEM form");
    else if (context == NULL || EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) != 1)
        err = sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    else if (EVP_DigestVerify(context, signature->bytes, signature->count, manifest->bytes, manifest->count) != 1)
        err = sl_fail(diag, SL_ERR_AUTH, "the signature is not the key's signature of this manifest");
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return err;
}

static sl_err check_signature(const struct folder *folder, const struct small *manifest, const char *public_key,
                              struct sl_diag *diag)
{
    const struct folder here = {AT_FDCWD, "", 0};
    struct small signature = {NULL, 0}, pem = {NULL, 0};

    sl_err err = read_small(folder, "manifest.json.sig", &signature, diag);
    if (!err)
        err = read_small(&here, public_key, &pem, diag);
    if (!err && (err = verify(&pem, manifest, &signature, diag)) != SL_OK)
        sl_fail_prefix(diag, err, "%.*smanifest.json, %s", IN(folder), public_key);
    free(signature.bytes);
    free(pem.bytes);
    return err;
}

/* ---- the xclbin ---- */

struct copying {
    int from, to;
    uint8_t *chunk; /* CHUNK bytes */
    EVP_MD_CTX *hash;
};

/* Reads the file once, up to one byte more than it may have: into the copy, and into the hash. */
static sl_err copy(const struct copying *c, const struct sl_manifest_said *said, struct sl_diag *diag)
{
    size_t done = 0;
    for (;;) {
        ssize_t n = read_fully(c->from, c->chunk, CHUNK);
        if (n < 0)
            return sl_fail(diag, SL_ERR_IO, "%s", strerror(errno));
        if (done == 0 && (n < MAGIC_BYTES || memcmp(c->chunk, magic, MAGIC_BYTES) != 0))
            return sl_fail(diag, SL_ERR_INVALID, "is no xclbin");
        if ((size_t)n > said->bytes - done)
            return sl_fail(diag, SL_ERR_AUTH, "has more than the %zu bytes of the manifest", said->bytes);
        if (n == 0)
            break;
        if (EVP_DigestUpdate(c->hash, c->chunk, (size_t)n) != 1)
            return sl_fail(diag, SL_ERR_CRYPTO, "SHA-256 failed");
        if (!write_fully(c->to, c->chunk, (size_t)n))
            return sl_fail(diag, SL_ERR_NOMEM, "a copy of it in memory: %s", strerror(errno));
        done += (size_t)n;
    }
    if (done != said->bytes)
        return sl_fail(diag, SL_ERR_AUTH, "has less than the %zu bytes of the manifest", said->bytes);
    return SL_OK;
}

static sl_err copy_checked(const struct copying *c, const struct sl_manifest_said *said, struct sl_diag *diag)
{
    uint8_t sha256[EVP_MAX_MD_SIZE];

    if (c->to < 0 || c->chunk == NULL || c->hash == NULL || EVP_DigestInit_ex(c->hash, EVP_sha256(), NULL) != 1)
        return sl_fail(diag, SL_ERR_NOMEM, "out of memory");
    sl_err err = copy(c, said, diag);
    if (err)
        return err;
    if (EVP_DigestFinal_ex(c->hash, sha256, NULL) != 1)
        return sl_fail(diag, SL_ERR_CRYPTO, "SHA-256 failed");
    if (memcmp(sha256, said->sha256, sizeof(said->sha256)) != 0)
        return sl_fail(diag, SL_ERR_AUTH, "has not the SHA-256 of the manifest");
    if (lseek(c->to, 0, SEEK_SET) != 0 || fcntl(c->to, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        return sl_fail(diag, SL_ERR_IO, "its copy cannot be sealed: %s", strerror(errno));
    return SL_OK;
}

static sl_err take_xclbin(const struct folder *folder, const struct sl_manifest_said *said, int *out, struct sl_diag *diag)
{
    struct copying c = {.from = -1};
    sl_err err = open_plain(folder, said->file, &c.from, diag);
    if (err)
        return err;
    c.to = memfd_create("sluice-xclbin", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    c.chunk = malloc(CHUNK);
    c.hash = EVP_MD_CTX_new();
    err = copy_checked(&c, said, diag);
    if (err)
        sl_fail_prefix(diag, err, "%.*s%s", IN(folder), said->file);
    EVP_MD_CTX_free(c.hash);
    free(c.chunk);
    close(c.from);
    if (!err)
        *out = c.to;
    else if (c.to >= 0)
        close(c.to);
    return err;
}

/* ---- all of it ---- */

static sl_err take_manifest(const struct folder *folder, const char *public_key, struct sl_manifest_said *said,
                            struct sl_diag *diag)
{
    struct small manifest = {NULL, 0};
    sl_err err = read_small(folder, "manifest.json", &manifest, diag);
    if (err)
        return err;
    if (public_key != NULL)
        err = check_signature(folder, &manifest, public_key, diag);
    if (!err && (err = sl_manifest_parse((const char *)manifest.bytes, manifest.count, said, diag)) != SL_OK)
        sl_fail_prefix(diag, err, "%.*smanifest.json", IN(folder));
    free(manifest.bytes);
    return err;
}

sl_err sl_card_manifest_load(const char *xclbin_path, const char *public_key, struct sl_card_manifest *manifest, int *xclbin,
                             size_t *bytes, struct sl_diag *diag)
{
    struct sl_manifest_said said = {.bytes = 0};
    struct folder folder = {-1, NULL, 0};
    int copied = -1;

    sl_err err = open_folder(xclbin_path, &folder, diag);
    if (err)
        return err;
    err = take_manifest(&folder, public_key, &said, diag);
    if (!err && strcmp(said.file, xclbin_path + folder.count) != 0)
        err = sl_fail(diag, SL_ERR_AUTH, "%s: the manifest beside it is for %s", xclbin_path, said.file);
    if (!err)
        err = take_xclbin(&folder, &said, &copied, diag);
    close(folder.fd);
    if (err)
        return err;
    *manifest = said.card;
    *xclbin = copied;
    *bytes = said.bytes;
    return SL_OK;
}
