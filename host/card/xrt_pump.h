/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries entries between the engine's rings and a card's, which have the same sizes: a copy of bytes and no call of XRT, however
 * many there are.
 *
 *   near (engine)                        far (card)
 *   commands, to_card      ─────────▶    commands, to_card
 *   completions, events,   ◀─────────    completions, events,
 *   from_card, mirror                    from_card, mirror
 *
 * An entry can be seen on the other side when all of it is there. Room is the two ends' own affair: what they tell each other in
 * the pages is handed on, never moved ahead of the entries that it is about. Entries of commands hold keys: the far one is wiped
 * when its completion is there (G13).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "card/card_link.h"

struct sl_xrt_pump {
    struct sl_card_rings near, far;
    uint32_t commands, completions, events; /* numbers of the last ones carried */
    struct {
        uint32_t to_card, from_card, mirror; /* positions */
        uint32_t from_card_read, mirror_read, to_card_read;
    } lane[SL_CARD_LANES];
    uint32_t events_read;
};

/* Both ends are fresh: all zero. */
void sl_xrt_pump_init(struct sl_xrt_pump *p, const struct sl_card_rings *near, const struct sl_card_rings *far);

enum sl_xrt_pumped { SL_XRT_PUMP_IDLE, SL_XRT_PUMP_BUSY, SL_XRT_PUMP_NONSENSE /* an entry that cannot be: stop */ };
/* A round: carries what is there. */
enum sl_xrt_pumped sl_xrt_pump(struct sl_xrt_pump *p);
