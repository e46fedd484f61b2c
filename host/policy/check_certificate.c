/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/check.h"

#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "policy/sets.h"

sl_err sl_policy_sha256_hex(const void *der, size_t len, char out[static 65])
{
    unsigned char digest[32];
    unsigned digest_len = 0;

    out[0] = '\0';
    if (EVP_Digest(der, len, digest, &digest_len, EVP_sha256(), NULL) != 1 || digest_len != sizeof(digest))
        return SL_ERR_CRYPTO;
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    return SL_OK;
}

static sl_err check_pin(const Sluice__V1__TrustedCertificate *cert, const char *path, sl_check_report report, void *arg)
{
    char at[160];
    sl_err err = SL_OK;

    if (cert->n_hosts == 0)
        err = report(arg, path, "a pin holds for named servers only: list at least one name or address in hosts");
    for (size_t i = 0; i < cert->n_hosts && !err; i++) {
        struct sl_name_pattern pattern;
        struct sl_diag diag;
        snprintf(at, sizeof(at), "%s.hosts[%zu]", path, i);
        if (sl_name_pattern_parse(cert->hosts[i], &pattern, &diag))
            err = report(arg, at, diag.text);
        else if (pattern.below)
            err = report(arg, at, "a pin holds for exact names: write each server's name or address without '*'");
    }
    for (size_t i = 0; i < cert->n_ports && !err; i++) {
        snprintf(at, sizeof(at), "%s.ports[%zu]", path, i);
        if (cert->ports[i] == 0 || cert->ports[i] > 65535)
            err = report(arg, at, "a TCP port is a number from 1 to 65535");
    }
    return err;
}

static sl_err check_anchor(const Sluice__V1__TrustedCertificate *cert, X509 *x509, const char *path, sl_check_report report,
                           void *arg)
{
    if (cert->n_hosts || cert->n_ports)
        return report(arg, path, "an anchor is trusted for every server: remove hosts and ports, or make it a pin");
    if (X509_check_ca(x509) == 0)
        return report(
            arg, path,
            "this certificate is no CA, so nothing can be anchored at it: trust it as a pin, with the hosts it is meant for");
    return SL_OK;
}

sl_err sl_policy_check_certificate(const Sluice__V1__TrustedCertificate *cert, const char *path, sl_check_report report, void *arg)
{
    char at[160], sha256[65];
    const unsigned char *p = cert->der.data;
    X509 *x509 = NULL;
    sl_err err = SL_OK;

    snprintf(at, sizeof(at), "%s.der", path);
    if (cert->der.len == 0)
        return report(arg, at, "the certificate is missing: import it with 'sluicectl cert import', or give it as PEM or base64");
    if (cert->der.len > 65536 || !(x509 = d2i_X509(NULL, &p, (long)cert->der.len)) || p != cert->der.data + cert->der.len) {
        err = report(arg, at,
                     "this is no X.509 certificate in DER (or something follows it): import the server's certificate file again");
        goto Exit;
    }
    if ((err = sl_policy_sha256_hex(cert->der.data, cert->der.len, sha256)))
        goto Exit;
    if (cert->sha256[0] && strcmp(cert->sha256, sha256) != 0) {
        char text[256];
        snprintf(text, sizeof(text),
                 "the fingerprint is not that of the certificate, which is %s: make sure which of the two is meant", sha256);
        snprintf(at, sizeof(at), "%s.sha256", path);
        if ((err = report(arg, at, text)))
            goto Exit;
    }
    if (cert->kind == SLUICE__V1__TRUST_KIND__TRUST_PIN)
        err = check_pin(cert, path, report, arg);
    else if (cert->kind == SLUICE__V1__TRUST_KIND__TRUST_ANCHOR)
        err = check_anchor(cert, x509, path, report, arg);
    else {
        snprintf(at, sizeof(at), "%s.kind", path);
        err = report(arg, at,
                     "say how it is trusted: pin (this certificate, for the named hosts) or anchor (a CA, for every server)");
    }
Exit:
    X509_free(x509);
    return err;
}
