/* SPDX-License-Identifier: Apache-2.0 */
#include "card/xrt_pump.h"

#include <string.h>

#include "base/secret.h"

void sl_xrt_pump_init(struct sl_xrt_pump *p, const struct sl_card_rings *near, const struct sl_card_rings *far)
{
    *p = (struct sl_xrt_pump){.near = *near, .far = *far};
}

static uint32_t load(const void *word)
{
    return __atomic_load_n((const uint32_t *)word, __ATOMIC_ACQUIRE);
}

static void store(void *word, uint32_t value)
{
    __atomic_store_n((uint32_t *)word, value, __ATOMIC_RELEASE);
}

/* Hands on a word that one side writes, when it has changed. */
static bool hand_on(uint32_t *last, const uint32_t *from, uint32_t *to)
{
    const uint32_t now = load(from);
    if (now == *last)
        return false;
    *last = now;
    store(to, now);
    return true;
}

/* ---- entries of one size, with `valid` in their last word ---- */

struct slots {
    uint8_t *from, *to;
    uint32_t entries;
    size_t bytes;
};

static bool carry_entry(const struct slots *s, uint32_t *number)
{
    const size_t at = (size_t)(*number % s->entries) * s->bytes, last = at + s->bytes - sizeof(uint32_t);
    if (load(s->from + last) != *number + 1)
        return false;
    memcpy(s->to + at, s->from + at, s->bytes - sizeof(uint32_t));
    store(s->to + last, ++*number);
    return true;
}

static bool carry_commands(struct sl_xrt_pump *p)
{
    const struct slots s = {p->near.commands, p->far.commands, p->near.command_entries, card_command_bytes};
    const uint32_t before = p->commands;
    while (p->commands - p->completions < s.entries && carry_entry(&s, &p->commands))
        ;
    return p->commands != before;
}

static bool carry_completions(struct sl_xrt_pump *p)
{
    const struct slots s = {p->far.completions, p->near.completions, p->far.command_entries, card_completion_bytes};
    const uint32_t before = p->completions;
    while (p->completions != p->commands) {
        const size_t at = (size_t)(p->completions % s.entries);
        if (load(s.from + at * s.bytes + s.bytes - sizeof(uint32_t)) != p->completions + 1)
            break;
        sl_wipe(p->far.commands + at * card_command_bytes, card_command_bytes - sizeof(uint32_t)); /* zero is a number, too */
        carry_entry(&s, &p->completions);
    }
    return p->completions != before;
}

static bool carry_events(struct sl_xrt_pump *p)
{
    const struct slots s = {p->far.events, p->near.events, p->far.event_entries, card_event_bytes};
    const uint32_t before = p->events;
    const bool told = hand_on(&p->events_read, &p->near.page->events_read, &p->far.page->events_read);
    while (p->events - p->events_read < s.entries && carry_entry(&s, &p->events))
        ;
    return told || p->events != before;
}

/* ---- rings of lines ---- */

static void copy_lines(const struct card_ring *from, const struct card_ring *to, uint32_t at, uint32_t lines)
{
    while (lines > 0) {
        const uint32_t to_end = from->lines - (at & (from->lines - 1)), n = lines < to_end ? lines : to_end;
        memcpy(card_ring_line(to, at), card_ring_line(from, at), (size_t)n * card_line_bytes);
        at += n;
        lines -= n;
    }
}

/* The whole entry, its head line as it was checked; the last word of that comes last. */
static void copy_entry(const struct card_ring *from, const struct card_ring *to, const uint8_t head[card_line_bytes],
                       uint32_t lines)
{
    uint8_t *const copy = card_ring_line(to, from->at);
    copy_lines(from, to, from->at + 1, lines - 1);
    memcpy(copy, head, card_line_bytes - sizeof(uint32_t));
    store(copy + card_line_bytes - sizeof(uint32_t), from->at + 1);
}

static enum sl_xrt_pumped carry_to_card(struct sl_xrt_pump *p, unsigned lane)
{
    const struct card_ring from = {p->near.lane[lane].to_card, p->near.lane[lane].to_card_lines, 0};
    const struct card_ring to = {p->far.lane[lane].to_card, p->far.lane[lane].to_card_lines, 0};
    const bool told =
        hand_on(&p->lane[lane].to_card_read, &p->far.lane[lane].page->to_card_read, &p->near.lane[lane].page->to_card_read);
    const uint32_t written = load(&p->near.lane[lane].page->to_card_written), lines = written - p->lane[lane].to_card;
    if (written - p->lane[lane].to_card_read > from.lines || lines > from.lines)
        return SL_XRT_PUMP_NONSENSE;
    if (lines == 0)
        return told ? SL_XRT_PUMP_BUSY : SL_XRT_PUMP_IDLE;
    copy_lines(&from, &to, p->lane[lane].to_card, lines);
    p->lane[lane].to_card = written;
    store(&p->far.lane[lane].page->to_card_written, written);
    return SL_XRT_PUMP_BUSY;
}

/* A frame's bytes are the sender's, and might look like the head of the next entry: the line where that will be is zeroed before
 * this one can be seen, as the card does (host/card/card_packets.h). */
static enum sl_xrt_pumped carry_from_card(struct sl_xrt_pump *p, unsigned lane)
{
    struct card_ring from = {p->far.lane[lane].from_card, p->far.lane[lane].from_card_lines, p->lane[lane].from_card};
    const struct card_ring to = {p->near.lane[lane].from_card, p->near.lane[lane].from_card_lines, 0};
    union {
        uint8_t bytes[card_line_bytes];
        struct card_packet_head head;
    } line;
    bool busy =
        hand_on(&p->lane[lane].from_card_read, &p->near.lane[lane].page->from_card_read, &p->far.lane[lane].page->from_card_read);
    while (card_ring_peek(&from, line.bytes)) {
        const uint32_t lines = card_ring_lines(line.head.bytes);
        if (line.head.bytes > card_packet_room || from.at + lines + 1 - p->lane[lane].from_card_read > from.lines)
            return SL_XRT_PUMP_NONSENSE;
        memset(card_ring_line(&to, from.at + lines), 0, card_line_bytes);
        copy_entry(&from, &to, line.bytes, lines);
        from.at += lines;
        busy = true;
    }
    p->lane[lane].from_card = from.at;
    return busy ? SL_XRT_PUMP_BUSY : SL_XRT_PUMP_IDLE;
}

/* The card finds the lines zeroed in the next lap, as the head of an entry must (host/card/card_packets.h), and no key stays there.
 */
static enum sl_xrt_pumped carry_mirror(struct sl_xrt_pump *p, unsigned lane)
{
    struct card_ring from = {p->far.lane[lane].mirror, p->far.lane[lane].mirror_lines, p->lane[lane].mirror};
    const struct card_ring to = {p->near.lane[lane].mirror, p->near.lane[lane].mirror_lines, 0};
    union {
        uint8_t bytes[card_line_bytes];
        struct card_mirror_head head;
    } line;
    bool busy = hand_on(&p->lane[lane].mirror_read, &p->near.lane[lane].page->mirror_read, &p->far.lane[lane].page->mirror_read);
    while (card_ring_peek(&from, line.bytes)) {
        const uint32_t lines = card_mirror_lines(&line.head);
        if (from.at + lines - p->lane[lane].mirror_read > from.lines)
            return SL_XRT_PUMP_NONSENSE;
        copy_entry(&from, &to, line.bytes, lines);
        for (uint32_t i = 0; i < lines; i++)
            sl_wipe(card_ring_line(&from, from.at++), card_line_bytes);
        busy = true;
    }
    p->lane[lane].mirror = from.at;
    return busy ? SL_XRT_PUMP_BUSY : SL_XRT_PUMP_IDLE;
}

enum sl_xrt_pumped sl_xrt_pump(struct sl_xrt_pump *p)
{
    bool busy = carry_commands(p);
    busy |= carry_completions(p);
    busy |= carry_events(p);
    for (unsigned i = 0; i < SL_CARD_LANES; i++) {
        const enum sl_xrt_pumped done[] = {carry_to_card(p, i), carry_from_card(p, i), carry_mirror(p, i)};
        for (unsigned k = 0; k < sizeof(done) / sizeof(done[0]); k++) {
            if (done[k] == SL_XRT_PUMP_NONSENSE)
                return SL_XRT_PUMP_NONSENSE;
            busy |= done[k] == SL_XRT_PUMP_BUSY;
        }
    }
    return busy ? SL_XRT_PUMP_BUSY : SL_XRT_PUMP_IDLE;
}
