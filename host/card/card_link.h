/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A card as the host sees it: rings and pages in memory (card/card_command.h, card/card_packets.h), and whether anybody is there to
 * serve them. What stands behind a link is a worker process with a real or simulated card (engine_xrt.c), or in tests the kernels
 * themselves.
 *
 * Threads: a link belongs to the thread of its engine. The other side of the memory may be another thread, process or device.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "card/card_command.h"
#include "card/card_packets.h"

#ifdef __cplusplus
extern "C" {
using namespace card;
#endif

enum { SL_CARD_LANES = 2 };

/* All aligned to a line of 64 bytes, all zero at first; sizes are powers of two. At least 64 commands, since a session may need so
 * many, and card_packet_lines_min lines. */
struct sl_card_rings {
    uint8_t *commands, *completions, *events;
    uint32_t command_entries, event_entries; /* as many completions as commands */
    struct card_host_page *page;
    struct {
        uint8_t *to_card, *from_card, *mirror;
        uint32_t to_card_lines, from_card_lines, mirror_lines;
        struct card_packets_page *page;
    } lane[SL_CARD_LANES];
    uint32_t sessions; /* that the card's memory has room for */
};

struct sl_card_link;

enum sl_card_end {
    SL_CARD_END_CLEAN, /* no session is installed */
    SL_CARD_END_WIPE,  /* all keys are wiped on the card */
    SL_CARD_END_DEAD   /* the same, if it can be done at once */
};

struct sl_card_link_operations {
    /* The engine has given or taken something, or polls: time for a card that has no thread of its own. NULL: it has. */
    void (*turn)(struct sl_card_link *link);
    /* False: the card, or who serves it, is gone for good; diag says why. Quick: asked at every poll. */
    bool (*alive)(struct sl_card_link *link, struct sl_diag *diag);
    /* Ends it all and frees the memory; what was in it is wiped. */
    void (*close)(struct sl_card_link *link, enum sl_card_end end);
};

struct sl_card_link {
    const struct sl_card_link_operations *operations;
    struct sl_card_rings rings;
    const char *kind;   /* "xrt" */
    char device[64];    /* the card's name */
    uint32_t clock_mhz; /* of the kernels */
};

struct sl_engine;
struct sl_engine_options;

/* An engine (card/engine.h) on a link, which it owns from now on and closes, also when this fails. SL_ERR_INVALID: an option;
 * SL_ERR_NOMEM, SL_ERR_IO: no random numbers; SL_ERR_UNAVAILABLE: the card does not answer; SL_ERR_UNSUPPORTED: it speaks another
 * version. */
sl_err sl_engine_open_link(struct sl_card_link *link, const struct sl_engine_options *options, struct sl_engine **out,
                           struct sl_diag *diag);

#ifdef __cplusplus
}
#endif
