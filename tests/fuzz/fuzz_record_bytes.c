/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of an attacker who has no keys: headers, lengths, chunking. The first bytes choose version, hold limit and how input and
 * output are cut. No record may ever be genuine. */
#include <stdlib.h>
#include <string.h>

#include "record/record.h"
#include "record/transcoder.h"

static void expect(bool ok)
{
    if (!ok)
        abort();
}

static void never(void *arg, const struct sl_transcoder_record *record, enum sl_transcoder_verdict *verdict)
{
    (void)arg, (void)record, (void)verdict;
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t secret[48] = {1, 2, 3};
    uint8_t out[4096];
    struct sl_record_leg *a = NULL, *b = NULL;
    struct sl_transcoder *t;
    if (size < 4)
        return 0;
    const bool tls13 = data[0] & 1;
    const size_t in_max = 1 + data[1], out_max = 1 + (size_t)data[2] * 16;
    const struct sl_transcoder_options options = {
        .hold_limit = 1 + (size_t)data[3] * 70, .from_server = data[0] & 2, .on_record = never};
    expect(sl_record_leg_new(&a) == SL_OK && sl_record_leg_new(&b) == SL_OK);
    if (tls13) {
        expect(sl_record_half_tls13(&a->client_write, 0x1301, secret, 32, 0, 0) == SL_OK);
        expect(sl_record_half_tls13(&b->client_write, 0x1301, secret, 32, 0, 0) == SL_OK);
    } else {
        expect(sl_record_leg_tls12(a, 0xc030, secret, secret, secret, 1, 1) == SL_OK);
        expect(sl_record_leg_tls12(b, 0xc030, secret, secret, secret, 1, 1) == SL_OK);
    }
    expect(sl_transcoder_new(&a->client_write, &b->client_write, &options, &t) == SL_OK);
    data += 4, size -= 4;
    sl_err err = SL_OK;
    for (size_t consumed, produced; size > 0 && err == SL_OK; data += consumed, size -= consumed) {
        err = sl_transcoder_feed(t, data, size < in_max ? size : in_max, out, out_max < sizeof(out) ? out_max : sizeof(out),
                                 &consumed, &produced);
        expect(consumed + produced > 0 || err != SL_OK);
    }
    expect(err == SL_OK || SL_ERR_IS_ALERT(err));
    sl_transcoder_free(t);
    sl_record_leg_free(a);
    sl_record_leg_free(b);
    return 0;
}
