/* SPDX-License-Identifier: Apache-2.0 */
/* The decryption CA, and certificates that are trusted beyond the system's anchors. */
#include <ctype.h>
#include <inttypes.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gateway/management_state.h"
#include "pki/ca.h"
#include "pki/cert.h"
#include "policy/validate.h"
#include "rpc/message.h"

enum { COMMON_NAME_MAX = 64, NAME_MAX_LEN = 60, IMPORT_TRIES = 8 };

/* ----------------------------------------------------------------------------------------------------------------- decryption CA
 */

static sl_err pem_text(X509 *certificate, char **out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes = NULL;
    sl_err err = bio && PEM_write_bio_X509(bio, certificate) ? SL_OK : SL_ERR_CRYPTO;

    if (!err) {
        long len = BIO_get_mem_data(bio, &bytes);
        char *copy = len > 0 ? malloc((size_t)len + 1) : NULL;
        if (copy) {
            memcpy(copy, bytes, (size_t)len);
            copy[len] = '\0';
            *out = copy;
        } else {
            err = SL_ERR_NOMEM;
        }
    }
    BIO_free(bio);
    return err;
}

static sl_err not_after_text(const X509 *certificate, char **out)
{
    int64_t seconds = 0;
    struct tm tm;
    char text[64];

    sl_err err = sl_cert_time(X509_get0_notAfter(certificate), &seconds);
    time_t t = (time_t)seconds;
    if (err || !gmtime_r(&t, &tm))
        return SL_ERR_CORRUPT;
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return sl_mgmt_set(out, text);
}

static sl_err fill_ca(X509 *certificate, Sluice__V1__CaInfo *out)
{
    uint8_t digest[SL_SHA256_LEN];
    char hex[SL_SHA256_HEX];

    sl_err err = sl_cert_sha256(certificate, digest);
    if (!err) {
        sl_cert_hex(digest, hex);
        err = sl_mgmt_set(&out->sha256, hex);
    }
    if (!err)
        err = pem_text(certificate, &out->certificate_pem);
    if (!err)
        err = sl_cert_name_text(X509_get_subject_name(certificate), &out->subject);
    if (!err)
        err = not_after_text(certificate, &out->not_after);
    return err;
}

sl_err sl_mgmt_ca_sha256(struct sl_mgmt *m, char out[static 65], struct sl_diag *diag)
{
    uint8_t digest[SL_SHA256_LEN];
    X509 *certificate = NULL;

    sl_err err = sl_ca_read_certificate(m->deps.ca_dir, &certificate, diag);
    if (!err)
        err = sl_cert_sha256(certificate, digest);
    if (!err)
        sl_cert_hex(digest, out);
    X509_free(certificate);
    return err;
}

sl_err sl_mgmt_get_ca(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *request, ProtobufCMessage *response,
                      struct sl_diag *diag)
{
    struct sl_mgmt *m = arg;
    X509 *certificate = NULL;
    (void)call;
    (void)request;

    sl_err err = sl_ca_read_certificate(m->deps.ca_dir, &certificate, diag);
    if (err == SL_ERR_NOT_FOUND)
        return sl_fail(diag, err, "there is no decryption CA yet: make one with 'sluicectl ca init'");
    if (!err)
        err = fill_ca(certificate, (Sluice__V1__CaInfo *)response);
    X509_free(certificate);
    return err && !diag->text[0] ? sl_fail(diag, err, "decryption CA: %s", sl_err_str(err)) : err;
}

sl_err sl_mgmt_init_ca(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *request, ProtobufCMessage *response,
                       struct sl_diag *diag)
{
    const Sluice__V1__InitCaRequest *r = (const Sluice__V1__InitCaRequest *)request;
    char author[SL_MGMT_AUTHOR_MAX], name[COMMON_NAME_MAX + 1];
    struct sl_mgmt *m = arg;
    struct sl_diag why = {{0}};
    struct sl_ca *ca = NULL;

    sl_err err = sl_mgmt_authorise(call, diag);
    if (err)
        return err;
    sl_mgmt_author(call, author);
    snprintf(name, sizeof name, "Sluice decryption CA %s", m->deps.device_name);
    const struct sl_ca_options options = {.common_name = r->common_name[0] ? r->common_name : name,
                                          .validity_days = r->validity_days,
                                          .key = SL_CA_P256,
                                          .clock = m->deps.clock};
    pthread_mutex_lock(&m->change);
    err = sl_ca_init(m->deps.ca_dir, m->deps.ca_passphrase_file, &options, r->replace, &ca, diag);
    sl_err late = !err && m->deps.ca_changed ? m->deps.ca_changed(m->deps.arg, &why) : SL_OK;
    pthread_mutex_unlock(&m->change);
    if (err == SL_ERR_EXISTS)
        return sl_fail(diag, err,
                       "there is a decryption CA already: 'sluicectl ca show'. 'sluicectl ca init --replace' makes a new one, "
                       "which clients must "
                       "trust before they can connect again");
    if (err)
        return diag->text[0] ? err : sl_fail(diag, err, "decryption CA: %s", sl_err_str(err));
    sl_mgmt_record(m, author, 0, "%s the decryption CA: %s, SHA-256 %s", r->replace ? "replaced" : "made", sl_ca_subject(ca),
                   sl_ca_sha256_hex(ca));
    err = fill_ca(sl_ca_certificate(ca), (Sluice__V1__CaInfo *)response);
    sl_ca_unref(ca);
    if (late)
        return sl_fail(diag, late, "the CA was made, but the gateway can't use it: %s; restart sluiced",
                       why.text[0] ? why.text : sl_err_str(late));
    return err ? sl_fail(diag, err, "decryption CA: %s", sl_err_str(err)) : SL_OK;
}

/* ---------------------------------------------------------------------------------------------------------------------- reading */

/* The first certificate of a PEM file, and how many there are. */
static sl_err read_pem(const ProtobufCBinaryData *bytes, X509 **first, size_t *count, struct sl_diag *diag)
{
    BIO *bio = BIO_new_mem_buf(bytes->data, (int)bytes->len);
    X509 *certificate;

    *count = 0;
    if (!bio)
        return sl_fail(diag, SL_ERR_NOMEM, "certificate: out of memory");
    while ((certificate = PEM_read_bio_X509(bio, NULL, NULL, (void *)(uintptr_t) ""))) {
        if ((*count)++ == 0)
            *first = certificate;
        else
            X509_free(certificate);
    }
    /* The end of the file is "no start line"; anything else is a block that doesn't decode. */
    bool end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    BIO_free(bio);
    if (*count > 0 && end)
        return SL_OK;
    X509_free(*first);
    *first = NULL;
    return sl_fail(diag, SL_ERR_INVALID,
                   *count ? "the file holds a PEM block that is damaged" : "the file holds no certificate that can be read");
}

static bool looks_like_pem(const ProtobufCBinaryData *bytes)
{
    return bytes->len > 0 && memmem(bytes->data, bytes->len, "-----BEGIN", 10) != NULL;
}

static sl_err read_certificate(const ProtobufCBinaryData *bytes, X509 **out, size_t *count, struct sl_diag *diag)
{
    if (bytes->len == 0)
        return sl_fail(diag, SL_ERR_INVALID, "the certificate is empty");
    if (bytes->len > SL_CERT_IMPORT_MAX)
        return sl_fail(diag, SL_ERR_LIMIT, "the file is larger than %d bytes", SL_CERT_IMPORT_MAX);
    if (looks_like_pem(bytes))
        return read_pem(bytes, out, count, diag);
    *count = 1;
    sl_err err = sl_cert_decode(bytes->data, bytes->len, out, diag);
    return err == SL_ERR_CORRUPT ? sl_fail(diag, SL_ERR_INVALID, "the file is neither PEM nor DER with one certificate") : err;
}

/* ---------------------------------------------------------------------------------------------------------------------- import */

static Sluice__V1__TrustKind choose_kind(const Sluice__V1__ImportCertificateRequest *r)
{
    if (r->kind != SLUICE__V1__TRUST_KIND__TRUST_KIND_UNSPECIFIED)
        return r->kind;
    return r->n_hosts ? SLUICE__V1__TRUST_KIND__TRUST_PIN : SLUICE__V1__TRUST_KIND__TRUST_ANCHOR;
}

static sl_err check_kind(struct sl_mgmt *m, const Sluice__V1__ImportCertificateRequest *r, X509 *certificate, size_t count,
                         const char *sha256, struct sl_diag *diag)
{
    Sluice__V1__TrustKind kind = choose_kind(r);
    char own[65];

    if (sl_mgmt_ca_sha256(m, own, NULL) == SL_OK && strcmp(own, sha256) == 0)
        return sl_fail(diag, SL_ERR_INVALID, "this is the gateway's own decryption CA, which is never trusted for servers");
    if (kind == SLUICE__V1__TRUST_KIND__TRUST_PIN)
        return r->n_hosts
                   ? SL_OK
                   : sl_fail(diag, SL_ERR_INVALID, "a pin needs at least one host: the server that the certificate is trusted for");
    if (r->n_hosts || r->n_ports)
        return sl_fail(diag, SL_ERR_INVALID, "an anchor is trusted for every server: hosts and ports don't go with it");
    if (count != 1)
        return sl_fail(diag, SL_ERR_INVALID,
                       "the file holds %zu certificates: import the CA that is to be trusted from a file of its own", count);
    if (X509_check_ca(certificate) != 1)
        return sl_fail(diag, SL_ERR_INVALID, "this is not a CA certificate; to trust it for one server, name the server (--host)");
    return SL_OK;
}

/* Letters, digits and "._-": what a name in the configuration may be made of; anything else becomes '-'. */
static void make_name(const char *text, char out[static NAME_MAX_LEN + 1])
{
    size_t len = 0;
    for (; *text && len < NAME_MAX_LEN; text++) {
        bool good = isalnum((unsigned char)*text) || (len > 0 && strchr("._-", *text));
        if (good || (len > 0 && out[len - 1] != '-'))
            out[len++] = good ? *text : '-';
    }
    while (len > 0 && strchr("._-", out[len - 1]))
        len--;
    out[len] = '\0';
    if (len == 0)
        snprintf(out, NAME_MAX_LEN + 1, "certificate");
}

static Sluice__V1__TrustedCertificate *find_trusted(const Sluice__V1__Config *config, const char *name)
{
    for (size_t i = 0; i < config->n_trusted_certificates; i++) {
        if (strcmp(config->trusted_certificates[i]->name, name) == 0)
            return config->trusted_certificates[i];
    }
    return NULL;
}

/* The name that was given, else one from the subject or the first host that is still free. */
static sl_err choose_name(const Sluice__V1__ImportCertificateRequest *r, const Sluice__V1__Config *config, X509 *certificate,
                          char **out)
{
    char base[NAME_MAX_LEN + 1], name[NAME_MAX_LEN + 16];
    char *common_name = NULL;

    if (r->name[0])
        return sl_mgmt_set(out, r->name);
    sl_err err = sl_cert_common_name(certificate, &common_name);
    if (err)
        return err;
    make_name(common_name[0] ? common_name : r->n_hosts ? r->hosts[0] : "", base);
    free(common_name);
    snprintf(name, sizeof name, "%s", base);
    for (unsigned i = 2; find_trusted(config, name) && !r->replace; i++)
        snprintf(name, sizeof name, "%s-%u", base, i);
    return sl_mgmt_set(out, name);
}

static sl_err copy_hosts(const Sluice__V1__ImportCertificateRequest *r, Sluice__V1__TrustedCertificate *out)
{
    if (r->n_hosts && !(out->hosts = calloc(r->n_hosts, sizeof *out->hosts)))
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < r->n_hosts; i++) {
        if (sl_mgmt_set(&out->hosts[i], r->hosts[i]))
            return SL_ERR_NOMEM;
        out->n_hosts++;
        for (char *at = out->hosts[i]; *at; at++)
            *at = (char)tolower((unsigned char)*at);
    }
    if (r->n_ports && !(out->ports = calloc(r->n_ports, sizeof *out->ports)))
        return SL_ERR_NOMEM;
    out->n_ports = r->n_ports;
    if (r->n_ports)
        memcpy(out->ports, r->ports, r->n_ports * sizeof *out->ports);
    return SL_OK;
}

static sl_err fill_trusted(const Sluice__V1__ImportCertificateRequest *r, const Sluice__V1__Config *config, X509 *certificate,
                           const char *sha256, Sluice__V1__TrustedCertificate *out)
{
    uint8_t *der = NULL;
    size_t len = 0;

    sl_err err = sl_cert_encode(certificate, &der, &len);
    if (!err && (out->der.data = malloc(len))) {
        memcpy(out->der.data, der, len);
        out->der.len = len;
    } else if (!err) {
        err = SL_ERR_NOMEM;
    }
    OPENSSL_free(der);
    out->kind = choose_kind(r);
    if (!err)
        err = sl_mgmt_set(&out->sha256, sha256);
    if (!err)
        err = sl_mgmt_set(&out->comment, r->comment);
    if (!err)
        err = choose_name(r, config, certificate, &out->name);
    return err ? err : copy_hosts(r, out);
}

/* Takes trusted over if it succeeds. */
static sl_err add_trusted(Sluice__V1__Config *config, Sluice__V1__TrustedCertificate *trusted, bool replace, size_t *index,
                          struct sl_diag *diag)
{
    for (size_t i = 0; i < config->n_trusted_certificates; i++) {
        Sluice__V1__TrustedCertificate *other = config->trusted_certificates[i];
        if (strcmp(other->name, trusted->name) != 0)
            continue;
        if (!replace)
            return sl_fail(diag, SL_ERR_EXISTS,
                           "there is a certificate '%s' already: choose another name (--name), or replace it (--replace)",
                           trusted->name);
        sl_rpc_message_free(&other->base);
        config->trusted_certificates[i] = trusted;
        *index = i;
        return SL_OK;
    }
    Sluice__V1__TrustedCertificate **grown =
        reallocarray(config->trusted_certificates, config->n_trusted_certificates + 1, sizeof(void *));
    if (!grown)
        return sl_fail(diag, SL_ERR_NOMEM, "certificate: out of memory");
    config->trusted_certificates = grown;
    *index = config->n_trusted_certificates++;
    grown[*index] = trusted;
    return SL_OK;
}

/* What is wrong with the new entry is told now rather than at the commit; other people's faults are not this caller's. */
static sl_err check_entry(struct sl_mgmt *m, const Sluice__V1__Config *config, size_t index, struct sl_diag *diag)
{
    struct sl_findings findings = {0};
    char path[64];

    int len = snprintf(path, sizeof path, "trusted_certificates[%zu]", index);
    sl_err err = sl_policy_validate(config, sl_mgmt_now(m), &findings);
    for (size_t i = 0; i < findings.count && !err; i++) {
        const Sluice__V1__ValidationFinding *f = findings.items[i];
        if (f->error && strncmp(f->path, path, (size_t)len) == 0)
            err = sl_fail(diag, SL_ERR_INVALID, "%s", f->text);
    }
    sl_findings_free(&findings);
    return err;
}

/* One attempt on the candidate as it is now. */
static sl_err import_once(struct sl_mgmt *m, const Sluice__V1__ImportCertificateRequest *r, X509 *certificate, const char *sha256,
                          Sluice__V1__ImportCertificateResponse *out, struct sl_diag *diag)
{
    struct sl_policy_candidate candidate = {0}, changed = {0};
    ProtobufCMessage *trusted = NULL, *copy = NULL, *snapshot = NULL;
    size_t index = 0;

    sl_err err = sl_policy_store_candidate(m->deps.policy, &candidate);
    if (!err)
        err = sl_rpc_message_new(&sluice__v1__trusted_certificate__descriptor, &trusted);
    if (!err)
        err = fill_trusted(r, candidate.config, certificate, sha256, (Sluice__V1__TrustedCertificate *)trusted);
    if (!err)
        err = sl_rpc_message_copy(trusted, &copy);
    if (!err)
        err = sl_rpc_message_new(&sluice__v1__config_snapshot__descriptor, &snapshot);
    if (!err && !(err = add_trusted(candidate.config, (Sluice__V1__TrustedCertificate *)trusted, r->replace, &index, diag)))
        trusted = NULL;
    if (!err)
        err = check_entry(m, candidate.config, index, diag);
    if (!err)
        err = sl_policy_store_set_candidate(m->deps.policy, candidate.config, candidate.revision, &changed, diag);
    if (!err) {
        sl_mgmt_give_candidate(&changed, (Sluice__V1__ConfigSnapshot *)snapshot);
        out->certificate = (Sluice__V1__TrustedCertificate *)copy;
        out->candidate = (Sluice__V1__ConfigSnapshot *)snapshot;
        copy = snapshot = NULL;
    }
    sl_rpc_message_free(trusted);
    sl_rpc_message_free(copy);
    sl_rpc_message_free(snapshot);
    sl_policy_candidate_free(&candidate);
    return err;
}

sl_err sl_mgmt_import_certificate(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *request, ProtobufCMessage *response,
                                  struct sl_diag *diag)
{
    const Sluice__V1__ImportCertificateRequest *r = (const Sluice__V1__ImportCertificateRequest *)request;
    uint8_t digest[SL_SHA256_LEN];
    char sha256[SL_SHA256_HEX];
    X509 *certificate = NULL;
    struct sl_mgmt *m = arg;
    size_t count = 0;

    sl_err err = sl_mgmt_authorise(call, diag);
    if (!err)
        err = read_certificate(&r->certificate, &certificate, &count, diag);
    if (!err && !(err = sl_cert_sha256(certificate, digest))) {
        sl_cert_hex(digest, sha256);
        err = check_kind(m, r, certificate, count, sha256, diag);
    }
    if (!err) {
        unsigned tries = 0;
        do /* others may change the candidate at the same time */
            err = import_once(m, r, certificate, sha256, (Sluice__V1__ImportCertificateResponse *)response, diag);
        while (err == SL_ERR_CONFLICT && ++tries < IMPORT_TRIES);
    }
    X509_free(certificate);
    return err && !diag->text[0] ? sl_fail(diag, err, "certificate: %s", sl_err_str(err)) : err;
}

/* ---------------------------------------------------------------------------------------------------------------------- remove */

/* Colons and case don't matter in a fingerprint. */
static bool is_fingerprint(const char *text, const char *sha256)
{
    for (; *text; text++) {
        if (*text == ':')
            continue;
        if (tolower((unsigned char)*text) != *sha256)
            return false;
        sha256++;
    }
    return *sha256 == '\0';
}

static sl_err remove_once(struct sl_mgmt *m, const char *name, Sluice__V1__ConfigSnapshot *out, struct sl_diag *diag)
{
    struct sl_policy_candidate candidate = {0}, changed = {0};
    size_t kept = 0;

    sl_err err = sl_policy_store_candidate(m->deps.policy, &candidate);
    if (err)
        return err;
    Sluice__V1__Config *config = candidate.config;
    bool named = find_trusted(config, name) != NULL;
    for (size_t i = 0; i < config->n_trusted_certificates; i++) {
        Sluice__V1__TrustedCertificate *c = config->trusted_certificates[i];
        if (named ? strcmp(c->name, name) == 0 : is_fingerprint(name, c->sha256))
            sl_rpc_message_free(&c->base);
        else
            config->trusted_certificates[kept++] = c;
    }
    if (kept == config->n_trusted_certificates)
        err = sl_fail(diag, SL_ERR_NOT_FOUND, "there is no certificate '%s'; 'sluicectl cert list' shows them", name);
    config->n_trusted_certificates = kept;
    if (!err)
        err = sl_policy_store_set_candidate(m->deps.policy, config, candidate.revision, &changed, diag);
    if (!err)
        sl_mgmt_give_candidate(&changed, out);
    sl_policy_candidate_free(&candidate);
    return err;
}

sl_err sl_mgmt_remove_certificate(void *arg, struct sl_rpc_call *call, const ProtobufCMessage *request, ProtobufCMessage *response,
                                  struct sl_diag *diag)
{
    const char *name = ((const Sluice__V1__RemoveCertificateRequest *)request)->name;
    struct sl_mgmt *m = arg;
    unsigned tries = 0;

    sl_err err = sl_mgmt_authorise(call, diag);
    if (!err && !name[0])
        err = sl_fail(diag, SL_ERR_INVALID, "the name or the SHA-256 of a certificate is needed");
    if (err)
        return err;
    do
        err = remove_once(m, name, (Sluice__V1__ConfigSnapshot *)response, diag);
    while (err == SL_ERR_CONFLICT && ++tries < IMPORT_TRIES);
    return err && !diag->text[0] ? sl_fail(diag, err, "certificate: %s", sl_err_str(err)) : err;
}
