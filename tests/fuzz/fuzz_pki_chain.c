/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A good chain with bytes of its leaf or intermediate replaced: there is always a verdict; unless nothing was changed it is never
 * good; what can be described is described, and what is minted for it by the untrusted CA parses.
 *
 * Input: which certificate (1 byte), then edits of 3 bytes: place (2), new value (1). An odd first byte: the rest is the
 * certificate.
 */
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/pki/test_pki.h"
#include "base/clock.h"
#include "pki/mint.h"
#include "pki/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static struct {
    struct sl_clock_manual clock;
    struct tp root, ca, leaf;
    uint8_t *der[2];
    size_t der_len[2];
    struct sl_trust *trust;
    struct sl_ca *untrusted;
    struct sl_minter *minter;
} f;

static void start(void)
{
    uint8_t *der = NULL;
    size_t len = 0;

    sl_clock_manual_init(&f.clock, (uint64_t)TP_NOW * SL_NS_PER_S);
    f.root = tp_root("Root");
    f.ca = tp_intermediate("CA", &f.root);
    f.leaf = tp_make(
        (struct tp_spec){.cn = "a.example", .san = "DNS:a.example,DNS:*.b.example,IP:192.0.2.1,email:a@b", .issuer = &f.ca});
    TP_MUST(sl_cert_encode(f.leaf.cert, &f.der[0], &f.der_len[0]) == SL_OK);
    TP_MUST(sl_cert_encode(f.ca.cert, &f.der[1], &f.der_len[1]) == SL_OK);
    TP_MUST(sl_cert_encode(f.root.cert, &der, &len) == SL_OK);
    const struct sl_trust_item item = {.kind = SL_TRUST_ANCHOR, .name = "root", .der = {der, len}};
    const struct sl_trust_options options = {.items = &item, .item_count = 1, .clock = &f.clock.clock};
    const struct sl_minter_options minter = {.clock = &f.clock.clock};
    TP_MUST(sl_trust_new(&options, &f.trust, NULL) == SL_OK);
    TP_MUST(sl_ca_untrusted_new("fuzz", &f.clock.clock, &f.untrusted, NULL) == SL_OK);
    TP_MUST(sl_minter_new(&minter, &f.minter, NULL) == SL_OK);
    OPENSSL_free(der);
}

static uint8_t *change(const uint8_t *bytes, size_t len, size_t which, size_t *out_len)
{
    bool whole = bytes[0] & 1;
    size_t n = whole ? len - 1 : f.der_len[which];
    uint8_t *der = malloc(n + 1);

    TP_MUST(der);
    memcpy(der, whole ? bytes + 1 : f.der[which], n);
    for (size_t i = 1; !whole && i + 2 < len; i += 3)
        der[((size_t)bytes[i] << 8 | bytes[i + 1]) % n] = bytes[i + 2];
    *out_len = n;
    return der;
}

static void mint(X509 *upstream, const struct sl_verdict *verdict)
{
    const struct sl_mint_request r = {.ca = f.untrusted, .upstream = upstream, .verdict = verdict, .host = "a.example"};
    struct sl_leaf *leaf = NULL;
    if (sl_mint(f.minter, &r, &leaf) != SL_OK)
        return;
    const unsigned char *at = leaf->der;
    X509 *parsed = d2i_X509(NULL, &at, (long)leaf->der_len);
    TP_MUST(parsed && at == leaf->der + leaf->der_len);
    X509_free(parsed);
    sl_leaf_unref(leaf);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct sl_der chain[2];
    struct sl_verifier *verifier = NULL;
    struct sl_verdict v;
    STACK_OF(X509) *stack = NULL;
    size_t changed_len = 0;

    if (!f.trust)
        start();
    if (len < 1)
        return 0;
    size_t which = bytes[0] >> 1 & 1;
    uint8_t *changed = change(bytes, len, which, &changed_len);
    for (size_t i = 0; i < 2; i++)
        chain[i] = i == which ? (struct sl_der){changed, changed_len} : (struct sl_der){f.der[i], f.der_len[i]};
    if (sl_cert_decode_chain(chain, 2, &stack) == SL_OK) {
        const struct sl_verifier_options options = {.clock = &f.clock.clock, .remembered = 4, .intermediates = 4};
        const struct sl_verify_request r = {
            .trust = f.trust, .leaf = sk_X509_value(stack, 0), .presented = stack, .host = "a.example", .port = 443};
        TP_MUST(sl_verifier_new(&options, &verifier) == SL_OK);
        TP_MUST(sl_verify(verifier, &r, &v) == SL_OK);
        /* Not DER any more, but the same certificate: the library keeps the bytes as they came, so the signature covers them. */
        if (sl_verdict_good(&v) && (changed_len != f.der_len[which] || memcmp(changed, f.der[which], changed_len) != 0)) {
            unsigned char *again = NULL;
            int again_len = i2d_X509(sk_X509_value(stack, (int)which), &again);
            X509 *original = which == 0 ? f.leaf.cert : f.ca.cert;
            unsigned char *tbs[2] = {NULL, NULL};
            int tbs_len[2] = {i2d_re_X509_tbs(sk_X509_value(stack, (int)which), &tbs[0]), i2d_re_X509_tbs(original, &tbs[1])};
            TP_MUST(again_len > 0 && tbs_len[0] == tbs_len[1] && memcmp(tbs[0], tbs[1], (size_t)tbs_len[0]) == 0);
            OPENSSL_free(tbs[0]);
            OPENSSL_free(tbs[1]);
            OPENSSL_free(again);
        }
        mint(sk_X509_value(stack, 0), &v);
        sl_verdict_release(&v);
        sl_verifier_free(verifier);
    }
    sk_X509_pop_free(stack, X509_free);
    free(changed);
    return 0;
}
