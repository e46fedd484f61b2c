/* SPDX-License-Identifier: Apache-2.0 */
#include "pki/san.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "pki/cert.h"

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* host is in lower case already. */
static bool equal_fold(const char *pattern, size_t len, const char *host, size_t host_len)
{
    if (len != host_len)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (lower(pattern[i]) != host[i])
            return false;
    }
    return true;
}

bool sl_san_pattern_match(const char *pattern, size_t len, const char *host)
{
    size_t host_len = strlen(host);

    if (len == 0 || len >= SL_NAME_MAX || memchr(pattern, '\0', len))
        return false;
    if (pattern[len - 1] == '.')
        len--;
    if (len < 2 || pattern[0] != '*')
        return equal_fold(pattern, len, host, host_len);
    /* "*.a.b": one whole label, and "a.b" has a dot of its own. */
    if (pattern[1] != '.' || !memchr(pattern + 2, '.', len - 2) || memchr(pattern + 1, '*', len - 1))
        return false;
    const char *dot = strchr(host, '.');
    return dot && dot != host && equal_fold(pattern + 1, len - 1, dot, host_len - (size_t)(dot - host));
}

static bool entry_matches(const GENERAL_NAME *entry, const struct sl_name *name)
{
    int type;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(entry, &type);

    if (type == GEN_DNS && name->ip_len == 0)
        return sl_san_pattern_match((const char *)ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value), name->text);
    if (type == GEN_IPADD && name->ip_len != 0)
        return (size_t)ASN1_STRING_length(value) == name->ip_len &&
               memcmp(ASN1_STRING_get0_data(value), name->ip, name->ip_len) == 0;
    return false;
}

bool sl_san_match(const X509 *cert, const struct sl_name *name)
{
    bool found = false;
    GENERAL_NAMES *sans = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

    for (int i = 0; !found && i < sk_GENERAL_NAME_num(sans) && sk_GENERAL_NAME_num(sans) <= SL_CERT_SANS_MAX; i++)
        found = entry_matches(sk_GENERAL_NAME_value(sans, i), name);
    GENERAL_NAMES_free(sans);
    ERR_clear_error();
    return found;
}

bool sl_san_match_text(const X509 *cert, const char *text)
{
    struct sl_name name;
    return sl_name_parse(text, &name) == SL_OK && sl_san_match(cert, &name);
}
