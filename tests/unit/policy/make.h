/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the tests of policy/: configurations from YAML, certificates made afresh. Included after cmocka.h. */
#pragma once

#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/yaml.h"
#include "rpc/message.h"

static inline Sluice__V1__Config *config_of(const char *yaml)
{
    Sluice__V1__Config *config = NULL;
    struct sl_diag diag = {""};
    if (sl_policy_yaml_parse(yaml, strlen(yaml), &config, &diag))
        fail_msg("%s", diag.text);
    return config;
}

static inline void config_free(Sluice__V1__Config *c)
{
    sl_rpc_message_free(&c->base);
}

/* A self-signed certificate, a CA or not; DER from malloc. */
static inline unsigned char *make_certificate(bool ca, long valid_s, size_t *len)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    unsigned char *der = NULL, *copy;
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, ca ? "critical,CA:TRUE" : "critical,CA:FALSE");

    assert_non_null(key);
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_gmtime_adj(X509_getm_notBefore(x), -86400);
    X509_gmtime_adj(X509_getm_notAfter(x), valid_s);
    X509_set_pubkey(x, key);
    X509_add_ext(x, ext, -1);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    int n = i2d_X509(x, &der);
    assert_true(n > 0);
    *len = (size_t)n;
    copy = malloc(*len);
    memcpy(copy, der, *len);
    OPENSSL_free(der);
    X509_EXTENSION_free(ext);
    X509_free(x);
    EVP_PKEY_free(key);
    return copy;
}

/* Adds a trusted certificate; der is taken over. */
static inline Sluice__V1__TrustedCertificate *add_certificate(Sluice__V1__Config *c, const char *name, Sluice__V1__TrustKind kind,
                                                              unsigned char *der, size_t len)
{
    Sluice__V1__TrustedCertificate *t = malloc(sizeof(*t));
    sluice__v1__trusted_certificate__init(t);
    t->name = strdup(name);
    t->kind = kind;
    t->der = (ProtobufCBinaryData){len, der};
    c->trusted_certificates = realloc(c->trusted_certificates, (c->n_trusted_certificates + 1) * sizeof(void *));
    c->trusted_certificates[c->n_trusted_certificates++] = t;
    return t;
}
