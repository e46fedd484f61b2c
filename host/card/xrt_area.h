/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory that engine_xrt.c shares with the worker that talks to XRT: the card's rings and pages as the host sees them
 * (card/card_link.h), in one memfd. The worker carries entries between them and the card's buffers, which have the same sizes, so
 * that positions and numbers are the same on both sides.
 *
 * Beside it there is a socket. The worker says one byte on it, when the card is ready; or a sentence, why it is not, and ends. The
 * engine's end of it closes when it is done, however it ends. One byte before that says that the card holds no keys any more;
 * without it the worker wipes them.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "card/card_link.h"

/* Descriptors that the worker inherits. */
enum { SL_XRT_FD_AREA = 3, SL_XRT_FD_SOCKET = 4, SL_XRT_FD_XCLBIN = 5 };

enum {
    SL_XRT_COMMANDS = 1024,
    SL_XRT_EVENTS = 4096,
    SL_XRT_TO_CARD_LINES = 1 << 14, /* 1 MiB a lane */
    SL_XRT_FROM_CARD_LINES = 1 << 14,
    SL_XRT_MIRROR_LINES = 1 << 15,
    SL_XRT_PAGE_BYTES = 4096
};

/* How long a card may take to wipe all its sessions: 26 ms of a board; a simulated card, 40 us a session. */
static inline uint64_t sl_xrt_wipe_ms(uint32_t sessions)
{
    return 1000 + sessions / 5;
}

/* Offsets in the area; every part begins at a page. */
struct sl_xrt_layout {
    size_t commands, completions, events, page;
    struct {
        size_t to_card, from_card, mirror, page;
    } lane[SL_CARD_LANES];
    size_t bytes;
};

static inline size_t sl_xrt_place(size_t *end, size_t bytes)
{
    const size_t at = *end;
    *end += (bytes + SL_XRT_PAGE_BYTES - 1) / SL_XRT_PAGE_BYTES * SL_XRT_PAGE_BYTES;
    return at;
}

static inline struct sl_xrt_layout sl_xrt_layout(void)
{
    struct sl_xrt_layout l = {0};
    l.commands = sl_xrt_place(&l.bytes, (size_t)SL_XRT_COMMANDS * card_command_bytes);
    l.completions = sl_xrt_place(&l.bytes, (size_t)SL_XRT_COMMANDS * card_completion_bytes);
    l.events = sl_xrt_place(&l.bytes, (size_t)SL_XRT_EVENTS * card_event_bytes);
    l.page = sl_xrt_place(&l.bytes, sizeof(struct card_host_page));
    for (unsigned i = 0; i < SL_CARD_LANES; i++) {
        l.lane[i].to_card = sl_xrt_place(&l.bytes, (size_t)SL_XRT_TO_CARD_LINES * card_line_bytes);
        l.lane[i].from_card = sl_xrt_place(&l.bytes, (size_t)SL_XRT_FROM_CARD_LINES * card_line_bytes);
        l.lane[i].mirror = sl_xrt_place(&l.bytes, (size_t)SL_XRT_MIRROR_LINES * card_line_bytes);
        l.lane[i].page = sl_xrt_place(&l.bytes, sizeof(struct card_packets_page));
    }
    return l;
}

static inline struct sl_card_rings sl_xrt_rings(uint8_t *area, uint32_t sessions)
{
    const struct sl_xrt_layout l = sl_xrt_layout();
    struct sl_card_rings r = {.commands = area + l.commands,
                              .completions = area + l.completions,
                              .events = area + l.events,
                              .command_entries = SL_XRT_COMMANDS,
                              .event_entries = SL_XRT_EVENTS,
                              .page = (struct card_host_page *)(void *)(area + l.page),
                              .sessions = sessions};
    for (unsigned i = 0; i < SL_CARD_LANES; i++) {
        r.lane[i].to_card = area + l.lane[i].to_card;
        r.lane[i].from_card = area + l.lane[i].from_card;
        r.lane[i].mirror = area + l.lane[i].mirror;
        r.lane[i].to_card_lines = SL_XRT_TO_CARD_LINES;
        r.lane[i].from_card_lines = SL_XRT_FROM_CARD_LINES;
        r.lane[i].mirror_lines = SL_XRT_MIRROR_LINES;
        r.lane[i].page = (struct card_packets_page *)(void *)(area + l.lane[i].page);
    }
    return r;
}
