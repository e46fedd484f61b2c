/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An OCSP staple of anybody's making, or a good one with bytes replaced: the connection is accepted or refused for revocation, and
 * a staple that is not genuine is never "good" or "revoked". Input: an odd first byte: the rest is the staple; else edits as in
 * fuzz_pki_chain.c.
 */
#include <stdlib.h>
#include <string.h>

#include "../unit/pki/test_pki.h"
#include "base/clock.h"
#include "pki/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static struct {
    struct sl_clock_manual clock;
    struct tp root, leaf;
    struct sl_trust *trust;
    unsigned char *staple;
    size_t staple_len;
} f;

static void start(void)
{
    uint8_t *der = NULL;
    size_t len = 0;

    sl_clock_manual_init(&f.clock, (uint64_t)TP_NOW * SL_NS_PER_S);
    f.root = tp_root("Root");
    f.leaf = tp_leaf("a.example", &f.root);
    TP_MUST(sl_cert_encode(f.root.cert, &der, &len) == SL_OK);
    const struct sl_trust_item item = {.kind = SL_TRUST_ANCHOR, .name = "root", .der = {der, len}};
    const struct sl_trust_options options = {.items = &item, .item_count = 1, .clock = &f.clock.clock};
    TP_MUST(sl_trust_new(&options, &f.trust, NULL) == SL_OK);
    f.staple_len =
        tp_ocsp(&f.root, f.leaf.cert, f.root.cert, V_OCSP_CERTSTATUS_GOOD, TP_NOW - 60, TP_NOW + TP_DAY, NULL, NULL, &f.staple);
    OPENSSL_free(der);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct sl_verifier *verifier = NULL;
    struct sl_verdict v;

    if (!f.trust)
        start();
    if (len < 1)
        return 0;
    bool whole = bytes[0] & 1;
    size_t n = whole ? len - 1 : f.staple_len;
    uint8_t *staple = malloc(n + 1);
    TP_MUST(staple);
    memcpy(staple, whole ? bytes + 1 : f.staple, n);
    for (size_t i = 1; !whole && i + 2 < len; i += 3)
        staple[((size_t)bytes[i] << 8 | bytes[i + 1]) % n] = bytes[i + 2];

    const struct sl_verifier_options options = {.clock = &f.clock.clock, .remembered = 4, .intermediates = 4};
    const struct sl_verify_request r = {.trust = f.trust,
                                        .leaf = f.leaf.cert,
                                        .host = "a.example",
                                        .port = 443,
                                        .staple = staple,
                                        .staple_len = n,
                                        .revocation = SL_REVOCATION_SOFT};
    TP_MUST(sl_verifier_new(&options, &verifier) == SL_OK);
    TP_MUST(sl_verify(verifier, &r, &v) == SL_OK);
    /* Nobody but the root can make a status, and it has made one: good. */
    TP_MUST(sl_verdict_good(&v) && v.revocation.result != SL_REVOCATION_REVOKED);
    if (whole && n != f.staple_len)
        TP_MUST(v.revocation.result == SL_REVOCATION_UNKNOWN);
    sl_verdict_release(&v);
    sl_verifier_free(verifier);
    free(staple);
    return 0;
}
