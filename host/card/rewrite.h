/* SPDX-License-Identifier: Apache-2.0 */
/* TCP headers from one leg's numbers to the other's (docs/card.md section 3). */
#pragma once

#include "card/parse.h"
#include "card/session.h"

/* frame: the outgoing one, whose payload has the sum payload_sum (card/sum.h). */
void sl_cpu_rewrite(const struct sl_cpu_half *s, const struct sl_cpu_headers *h, uint8_t *frame, uint32_t payload_sum);
