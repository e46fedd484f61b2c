/* SPDX-License-Identifier: Apache-2.0 */
/* Inside pki: what a trust store holds, for trust*.c, verify.c and revocation.c. */
#pragma once

#include <openssl/x509_vfy.h>
#include <stdatomic.h>

#include "pki/san.h"
#include "pki/trust.h"

enum {
    SL_TRUST_FILE_MAX = 16 << 20, /* a bundle or CRL file */
    SL_TRUST_FILES_MAX = 4096,    /* files of a bundle folder */
    SL_TRUST_ID_LEN = 16,
    SL_PIN_DEFAULT_PORT = 443
};

struct sl_own_ca {
    uint8_t spki[SL_SHA256_LEN];
    X509 *cert;
};

struct sl_pin {
    uint8_t sha256[SL_SHA256_LEN];
    struct sl_name *hosts;
    size_t host_count;
    uint16_t *ports; /* none: SL_PIN_DEFAULT_PORT */
    size_t port_count;
    uint64_t expires_ns;
    bool own_end; /* expires_ns was given: the certificate's dates don't count */
};

struct sl_trust {
    atomic_uint references;
    uint8_t id[SL_TRUST_ID_LEN]; /* random: no two stores are taken for each other */
    X509_STORE *store;
    struct sl_own_ca *own;
    size_t own_count;
    uint8_t (*bad)[SL_SHA256_LEN];
    size_t bad_count;
    struct sl_pin *pins;
    size_t pin_count;
    struct sl_trust_info info;
};

/* The end of an anchor or pin, so that what is seen as valid is not remembered beyond it. */
const struct sl_pin *sl_trust_find_pin(const struct sl_trust *trust, const uint8_t sha256[static SL_SHA256_LEN],
                                       const struct sl_name *host, const struct sl_name *address, uint16_t port, uint64_t now_ns);
/* Is cert one of our CAs (same key, or same subject and key identifier), or signed by one? */
bool sl_trust_is_own(const struct sl_trust *trust, X509 *cert);
bool sl_trust_is_bad(const struct sl_trust *trust, const X509 *cert);

/* trust_load.c */
sl_err sl_trust_load_bundle(struct sl_trust *trust, const char *path, struct sl_diag *diag);
sl_err sl_trust_load_crl(struct sl_trust *trust, const char *path, struct sl_diag *diag);
/* Adds cert as an anchor; computes what OpenSSL caches in it, so that threads only read. */
sl_err sl_trust_add_anchor(struct sl_trust *trust, X509 *cert);
