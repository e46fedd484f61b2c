/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is trusted towards servers: the anchors of the configured bundle, anchors and pins of the policy; and what never is: our own
 * decryption CAs and known-bad CAs. Immutable once built, counted atomically, used by many threads at once.
 *
 * The library's default store is never consulted (C8): without a bundle and without policy anchors nothing is trusted.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "pki/cert.h"

struct sl_trust;

enum sl_trust_kind {
    SL_TRUST_PIN,   /* exactly this certificate, for the named hosts and ports only */
    SL_TRUST_ANCHOR /* a CA, for every server */
};

/* From the policy. Borrowed for the call. */
struct sl_trust_item {
    enum sl_trust_kind kind;
    const char *name; /* for messages */
    struct sl_der der;
    const char *const *hosts; /* pins: names or addresses; at least one */
    size_t host_count;
    const uint32_t *ports; /* pins: none means 443 */
    size_t port_count;
    uint64_t expires_ns; /* wall clock; 0: with the certificate (not after) */
};

struct sl_trust_options {
    const char *bundle; /* PEM file, or folder of PEM or DER files; NULL: no system anchors */
    const char *const *crls;
    size_t crl_count; /* PEM (several in one file) or DER */
    const struct sl_trust_item *items;
    size_t item_count;
    const struct sl_der *own_cas; /* certificates of our decryption CAs, the untrusted one included (V8) */
    size_t own_ca_count;
    const uint8_t (*bad)[SL_SHA256_LEN]; /* SHA-256 of known-bad CAs: of the certificate or of its public key info */
    size_t bad_count;                    /* they come on top of the built-in list */
    uint64_t version;                    /* of the policy; stamped on what is decided with this store */
    const struct sl_clock *clock;        /* NULL: the system's */
};

/* On failure *out is unchanged and diag names the file or item and what is wrong with it: SL_ERR_IO, SL_ERR_CORRUPT (a bundle
 * without a single usable certificate, a bad CRL, an item that is no certificate), SL_ERR_INVALID (a pin without hosts, an anchor
 * that is no CA, our own or a known-bad CA as anchor), SL_ERR_NOMEM. Single bad entries of the bundle are skipped and counted. */
sl_err sl_trust_new(const struct sl_trust_options *options, struct sl_trust **out, struct sl_diag *diag);
struct sl_trust *sl_trust_ref(struct sl_trust *trust);
void sl_trust_unref(struct sl_trust *trust); /* NULL is allowed */

/* Checks one item as sl_trust_new would, for the editing of a candidate. own_cas as above. */
sl_err sl_trust_item_check(const struct sl_trust_item *item, const struct sl_der *own_cas, size_t own_ca_count,
                           struct sl_diag *diag);

struct sl_trust_info {
    uint64_t policy_version;
    char bundle[256];                  /* its path; "" */
    char bundle_sha256[SL_SHA256_HEX]; /* over the bytes of its files */
    uint64_t bundle_mtime_ns;          /* of the newest file: its age tells whether updates arrive (C8) */
    uint64_t loaded_ns;                /* wall clock */
    size_t anchors, skipped, expired;  /* of the bundle; expired ones are kept in the count of anchors */
    size_t policy_anchors, pins, crls;
    uint64_t crl_next_update_ns; /* the earliest; 0: none */
};
void sl_trust_info(const struct sl_trust *trust, struct sl_trust_info *out);
