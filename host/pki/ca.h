/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decryption CA: made once an installation (C1), its key encrypted at rest (C2); and the untrusted CA of this process, which
 * signs leaves for servers whose certificate was refused (V9). Immutable, counted atomically, used by many threads.
 *
 * On disk a CA is one file, <folder>/ca.pem, mode 0600 in a folder of mode 0700: the certificate, then the key as encrypted PKCS#8
 * (PBES2, scrypt, AES-256-CBC). It is replaced by an atomic rename, so that key and certificate always belong together.
 *
 * The passphrase is the first line of a file: the configured one; else the systemd credential "sluice-ca-passphrase"
 * ($CREDENTIALS_DIRECTORY); else <folder>/passphrase, which sl_ca_init makes from random bytes, mode 0600, if it is missing. The
 * last form protects a copied ca.pem, but not against somebody who copies the whole folder: keep the passphrase elsewhere where
 * that matters.
 */
#pragma once

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "pki/cert.h"

struct sl_ca;

enum sl_ca_key {
    SL_CA_P256,
    SL_CA_RSA3072 /* for clients that can't verify ECDSA */
};

struct sl_ca_options {
    const char *common_name; /* 1 to 64 characters; required */
    uint32_t validity_days;  /* 0: 3,650; at most 7,300 */
    enum sl_ca_key key;
    const struct sl_clock *clock; /* NULL: the system's */
};

/* Makes a CA and stores it. SL_ERR_EXISTS unless replace is set. On failure nothing on disk has changed (but for a passphrase file
 * that may have been made), *out is unchanged and diag says which file and why. The folder is made if its parent exists. */
sl_err sl_ca_init(const char *folder, const char *passphrase_file, const struct sl_ca_options *options, bool replace,
                  struct sl_ca **out, struct sl_diag *diag);

/* SL_ERR_NOT_FOUND: there is none yet. SL_ERR_DENIED: wrong passphrase, or files others can read. SL_ERR_CORRUPT: damaged, or key
 * and certificate don't belong together. SL_ERR_IO. *out is then unchanged. An expired CA is loaded: minting refuses. */
sl_err sl_ca_load(const char *folder, const char *passphrase_file, struct sl_ca **out, struct sl_diag *diag);

/* In memory only. untrusted: says so in its name, and minting knows it. */
sl_err sl_ca_generate(const struct sl_ca_options *options, bool untrusted, struct sl_ca **out, struct sl_diag *diag);
/* A fresh untrusted CA under the name "UNTRUSTED <device name>"; device_name may be NULL. */
sl_err sl_ca_untrusted_new(const char *device_name, const struct sl_clock *clock, struct sl_ca **out, struct sl_diag *diag);

struct sl_ca *sl_ca_ref(struct sl_ca *ca); /* NULL is allowed and returned */
void sl_ca_unref(struct sl_ca *ca);        /* NULL is allowed */

/* Borrowed; they live as long as the CA. */
X509 *sl_ca_certificate(const struct sl_ca *ca);
struct sl_der sl_ca_der(const struct sl_ca *ca);
const char *sl_ca_pem(const struct sl_ca *ca); /* the certificate only */
const uint8_t *sl_ca_sha256(const struct sl_ca *ca);
const char *sl_ca_sha256_hex(const struct sl_ca *ca);
const char *sl_ca_subject(const struct sl_ca *ca);   /* "/CN=…" */
const char *sl_ca_not_after(const struct sl_ca *ca); /* RFC 3339 */
bool sl_ca_is_untrusted(const struct sl_ca *ca);

/* The certificate of a stored CA without its key: for export and for the trust store while the passphrase is not at hand.
 * *out belongs to the caller (X509_free). */
sl_err sl_ca_read_certificate(const char *folder, X509 **out, struct sl_diag *diag);
