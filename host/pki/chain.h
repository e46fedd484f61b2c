/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The description of a presented chain: immutable, counted, and shared by connections and events, so that an idle connection holds
 * a pointer only. The verifier hands out the same object for the same chain as long as it remembers it.
 */
#pragma once

#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "pki/cert.h"
#include "sluice/v1/event.pb-c.h"

/* Strings are never NULL and live as long as the chain. */
struct sl_chain_cert {
    uint8_t sha256[SL_SHA256_LEN];
    char sha256_hex[SL_SHA256_HEX];
    char *subject;     /* "/CN=www.example.com" */
    char *common_name; /* "" if there is none */
    char *issuer;      /* "/CN=x" */
    char **sans;       /* "www.example.com", "192.0.2.1"; other kinds as "email:…", "URI:…"; unprintable bytes escaped */
    size_t san_count;  /* at most SL_CERT_SANS_MAX */
    char not_before[31], not_after[31]; /* RFC 3339; "" if it is no valid time */
    char *key;                          /* "EC P-256", "RSA 2048" */
    char *signature;                    /* "ecdsa-with-SHA256" */
    uint8_t *der;
    size_t der_len;
};

struct sl_chain;

/* Leaf first, as presented. stack may hold the leaf as its first element again (SSL_get_peer_cert_chain does) or be NULL. At most
 * SL_CERT_CHAIN_MAX certificates are described; more are left out. SL_ERR_NOMEM, SL_ERR_LIMIT (a certificate above
 * SL_CERT_BYTES_MAX): *out is unchanged. */
sl_err sl_chain_new(X509 *leaf, const STACK_OF(X509) * stack, struct sl_chain **out);
struct sl_chain *sl_chain_ref(struct sl_chain *chain);
void sl_chain_unref(struct sl_chain *chain); /* NULL is allowed */

size_t sl_chain_count(const struct sl_chain *chain);
const struct sl_chain_cert *sl_chain_at(const struct sl_chain *chain, size_t index); /* NULL beyond the end */

/* A ChainCertificate in memory of its own (malloc), to be released with the event that it is put into. */
sl_err sl_chain_message(const struct sl_chain *chain, size_t index, Sluice__V1__ChainCertificate **out);
