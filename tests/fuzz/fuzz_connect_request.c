/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes from an explicit client. However they are cut the verdict is that of the whole, since the parser sees all of them again
 * with each segment; and what is accepted is what will be looked up, so it holds nothing but a host. */
#include <stdlib.h>
#include <string.h>

#include "gateway/connect_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const struct sl_connect_request *r, const uint8_t *data, size_t size)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-._:";
    size_t len = strlen(r->host);

    if (r->size > size || r->size > SL_CONNECT_REQUEST_MAX || r->port == 0 || len == 0 || len > SL_CONNECT_HOST_MAX ||
        strspn(r->host, allowed) != len)
        abort();
    if (memcmp(data + r->size - 4, "\r\n\r\n", 4) != 0 || memmem(data, r->size - 1, "\r\n\r\n", 4))
        abort(); /* the tunnel begins behind the first empty line */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_connect_request whole = {.port = 1}, part = {.port = 1};
    sl_err err = sl_connect_request_parse(data, size, &whole);

    if (!err)
        look(&whole, data, size);
    else if (whole.port != 1 || whole.size != 0)
        abort(); /* unchanged after a failure */
    for (size_t len = 0; len < size && len < 512; len++) {
        sl_err early = sl_connect_request_parse(data, len, &part);
        if (early == SL_ERR_AGAIN)
            continue;
        if (early != err || (!err && (part.size != whole.size || part.port != whole.port || strcmp(part.host, whole.host) != 0)))
            abort(); /* a verdict that more bytes change */
        break;
    }
    return 0;
}
