/* SPDX-License-Identifier: Apache-2.0 */
#include "card/rewrite.h"

#include "card/sum.h"

enum { AT_SEQ = 4, AT_ACK = 8, AT_WINDOW = 14, AT_CHECKSUM = 16 };

static void add32(uint8_t *p, uint32_t delta)
{
    const uint32_t x = ((uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]) + delta;
    p[0] = (uint8_t)(x >> 24);
    p[1] = (uint8_t)(x >> 16);
    p[2] = (uint8_t)(x >> 8);
    p[3] = (uint8_t)x;
}

static void put16(uint8_t *p, uint32_t x)
{
    p[0] = (uint8_t)(x >> 8);
    p[1] = (uint8_t)x;
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
        put16(tcp + AT_WINDOW, shifted_window((uint32_t)tcp[AT_WINDOW] << 8 | tcp[AT_WINDOW + 1], s->window_shift));
    }
    put16(tcp + AT_CHECKSUM, 0);
    /* The sum is not 0, for the protocol is in it: so the checksum is not 0xffff. */
    const uint32_t sum = h->pseudo_sum + sl_cpu_sum(tcp, (size_t)h->payload - h->l4) + payload_sum;
    put16(tcp + AT_CHECKSUM, (uint16_t)~sl_cpu_sum_fold(sum));
}
