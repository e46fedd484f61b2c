/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator imports, PEM or DER, is one certificate or an error with a sentence; names are parsed to what parses to itself.
 */
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "pki/chain.h"
#include "pki/san.h"
#include "pki/trust.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void import(const uint8_t *bytes, size_t len)
{
    static const char *const hosts[] = {"a.example"};
    const struct sl_trust_item pin = {.kind = SL_TRUST_PIN, .name = "fuzz", .der = {bytes, len}, .hosts = hosts, .host_count = 1};
    struct sl_trust_item anchor = pin;
    struct sl_diag diag = {""};
    struct sl_chain *chain = NULL;
    X509 *cert = NULL;

    anchor.kind = SL_TRUST_ANCHOR;
    if (sl_cert_decode(bytes, len, &cert, &diag)) {
        if (cert || !diag.text[0])
            abort();
    } else if (sl_chain_new(cert, NULL, &chain) == SL_OK)
        sl_chain_unref(chain);
    X509_free(cert);
    sl_trust_item_check(&pin, NULL, 0, &diag);
    sl_trust_item_check(&anchor, NULL, 0, &diag);
}

static void name(const uint8_t *bytes, size_t len)
{
    struct sl_name first, second;
    char *text = malloc(len + 1);

    if (!text)
        abort();
    memcpy(text, bytes, len);
    text[len] = '\0';
    if (sl_name_parse(text, &first) == SL_OK &&
        (sl_name_parse(first.text, &second) || strcmp(first.text, second.text) != 0 || first.ip_len != second.ip_len))
        abort();
    sl_san_pattern_match(text, len, "a.example.com");
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    import(bytes, len);
    name(bytes, len);
    return 0;
}
