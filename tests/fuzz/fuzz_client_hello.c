/* SPDX-License-Identifier: Apache-2.0 */
/* Any first bytes of a connection, in any chunks: the same verdict however they are cut, and a ClientHello always makes an offer.
 */
#include <stdlib.h>
#include <string.h>

#include "tls/client_hello.h"
#include "tls/names.h"
#include "tls/offer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum sl_hello_state feed(struct sl_hello_reader *r, const uint8_t *data, size_t size, size_t chunk)
{
    enum sl_hello_state state = SL_HELLO_NEED_MORE;
    for (size_t at = 0; at < size; at += chunk)
        state = sl_hello_reader_feed(r, data + at, size - at < chunk ? size - at : chunk);
    return state;
}

static void look(const struct sl_hello_reader *r)
{
    const struct sl_client_hello *h = sl_hello_reader_hello(r);
    struct sl_offer offer;
    char buf[SL_TLS_NAME_BYTES];

    if (!h || strlen(h->ja4) != SL_JA4_BYTES - 1 || strlen(h->sni) > SL_HOST_NAME_MAX)
        abort();
    for (int profile = 0; profile < 2; profile++)
        if (sl_offer_make(h, (enum sl_crypto_profile)profile, &offer, NULL) == SL_OK)
            for (size_t i = 0; i < offer.suite_count; i++)
                if (!sl_u16_list_has(&h->suites, offer.suites[i]))
                    abort(); /* P15: never more than the client */
    for (size_t i = 0; i < h->suites.count; i++)
        sl_tls_suite_name(h->suites.at[i], buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_hello_reader *whole = NULL, *cut = NULL, *bare = NULL;
    size_t chunk, len;

    if (size < 2 || sl_hello_reader_new(&whole) || sl_hello_reader_new(&cut) || sl_hello_reader_new(&bare))
        goto Exit;
    chunk = 1u + data[0] % 64u;
    data++;
    size--;
    enum sl_hello_state a = feed(whole, data, size, size), b = feed(cut, data, size, chunk);
    if (a != b || sl_hello_reader_cause(whole) != sl_hello_reader_cause(cut))
        abort();
    if (memcmp(sl_hello_reader_raw(cut, &len), data, size) != 0 || len != size)
        abort(); /* P7 */
    if (a == SL_HELLO_COMPLETE)
        look(whole);
    if (sl_hello_reader_parse(bare, data, size) == SL_OK)
        look(bare);
Exit:
    sl_hello_reader_free(whole);
    sl_hello_reader_free(cut);
    sl_hello_reader_free(bare);
    return 0;
}
