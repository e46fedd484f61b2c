/* SPDX-License-Identifier: Apache-2.0 */
#include "card/rewrite.h"

#include "base/be.h"
#include "card/sum.h"

enum { AT_SEQ = 4, AT_ACK = 8, AT_WINDOW = 14, AT_CHECKSUM = 16 };

static void add32(uint8_t *p, uint32_t delta)
{
    sl_store_be32(p, sl_load_be32(p) + delta);
}

static uint32_t shifted_window(uint32_t window, int shift)
{
    window = shift >= 0 ? window << shift : window >> -shift;
    return window < 65535 ? window : 65535;
}

void sl_cpu_rewrite(const struct sl_cpu_half *s, const struct sl_cpu_headers *h, uint8_t *frame, uint32_t payload_sum)
{
    uint8_t *tcp = frame + h->l4;
    add32(tcp + AT_SEQ, s->seq_delta);
    if (h->timestamps != 0)
        add32(frame + h->timestamps, s->tsval_delta);
    if ((h->tcp_flags & SL_TCP_ACK) != 0) {
        add32(tcp + AT_ACK, s->ack_delta);
        for (unsigned i = 0; i < 2u * h->sack_blocks; i++)
            add32(frame + h->sack + 4 * i, s->ack_delta);
        if (h->timestamps != 0)
            add32(frame + h->timestamps + 4, s->tsecr_delta);
        sl_store_be16(tcp + AT_WINDOW, shifted_window(sl_load_be16(tcp + AT_WINDOW), s->window_shift));
    }
    sl_store_be16(tcp + AT_CHECKSUM, 0);
    /* The sum is not 0, for the protocol is in it: so the checksum is not 0xffff. */
    const uint32_t sum = h->pseudo_sum + sl_cpu_sum(tcp, (size_t)h->payload - h->l4) + payload_sum;
    sl_store_be16(tcp + AT_CHECKSUM, (uint16_t)~sl_cpu_sum_fold(sum));
}
