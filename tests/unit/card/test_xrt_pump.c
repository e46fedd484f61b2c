/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pump between the engine's rings and a card's (card/xrt_pump.h), both ends played by the test. Every ring is a block of its
 * own and no larger than it must be, so a sanitizer sees every byte beyond. SLUICE_SEED repeats a run.
 *
 * What an entry holds follows from its number or position: both ends can reckon it, and nothing must be kept.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "card/xrt_pump.h"
#include "trace_frame.h" /* random numbers */

/* Small, so that there are many laps. */
enum { COMMANDS = 8, EVENTS = 4, LINES = 16, BLOCKS = 4 + 4 * SL_CARD_LANES, STEPS = 4000 };

static struct trace_random rng;
/* The last ones pass 2^32 at once, or after a few laps. */
static const uint32_t starts[] = {0, 0x7ffffff0, 0xffffff80, 0xfffffff0, 0xffffffff};
enum { STARTS = sizeof starts / sizeof starts[0] };

struct end {
    struct sl_card_rings rings;
    struct {
        uint8_t *memory;
        size_t bytes;
    } block[BLOCKS];
    unsigned blocks;
};

struct bench {
    struct end near, far;
    struct sl_xrt_pump pump;
};

static void *take_block(struct end *e, size_t bytes)
{
    uint8_t *const memory = aligned_alloc(card_line_bytes, bytes);
    assert_non_null(memory);
    assert_true(e->blocks < BLOCKS);
    memset(memory, 0, bytes);
    e->block[e->blocks].memory = memory;
    e->block[e->blocks++].bytes = bytes;
    return memory;
}

static void open_end(struct end *e)
{
    *e = (struct end){.rings = {.command_entries = COMMANDS, .event_entries = EVENTS}};
    e->rings.commands = take_block(e, (size_t)COMMANDS * card_command_bytes);
    e->rings.completions = take_block(e, (size_t)COMMANDS * card_completion_bytes);
    e->rings.events = take_block(e, (size_t)EVENTS * card_event_bytes);
    e->rings.page = take_block(e, sizeof(struct card_host_page));
    for (unsigned i = 0; i < SL_CARD_LANES; i++) {
        e->rings.lane[i].to_card = take_block(e, (size_t)LINES * card_line_bytes);
        e->rings.lane[i].from_card = take_block(e, (size_t)LINES * card_line_bytes);
        e->rings.lane[i].mirror = take_block(e, (size_t)LINES * card_line_bytes);
        e->rings.lane[i].page = take_block(e, sizeof(struct card_packets_page));
        e->rings.lane[i].to_card_lines = e->rings.lane[i].from_card_lines = e->rings.lane[i].mirror_lines = LINES;
    }
}

static void close_end(struct end *e)
{
    for (unsigned i = 0; i < e->blocks; i++)
        free(e->block[i].memory);
}

/* The last words of the entries, as the numbers up to `number` have left them. */
static void leave_numbers(uint8_t *ring, uint32_t entries, size_t bytes, uint32_t number)
{
    for (uint32_t n = number; number != 0 && n != number - entries; n--)
        memcpy(ring + (size_t)((n - 1) % entries + 1) * bytes - sizeof n, &n, sizeof n);
}

/* Both ends after `start` commands, completions, events and lines of each ring, with nothing under way. */
static void bench_open(struct bench *b, uint32_t start)
{
    struct end *const ends[] = {&b->near, &b->far};
    open_end(&b->near);
    open_end(&b->far);
    sl_xrt_pump_init(&b->pump, &b->near.rings, &b->far.rings);
    b->pump.commands = b->pump.completions = b->pump.events = b->pump.events_read = start;
    for (unsigned e = 0; e < 2; e++) {
        const struct sl_card_rings *const r = &ends[e]->rings;
        leave_numbers(r->commands, COMMANDS, card_command_bytes, start);
        leave_numbers(r->completions, COMMANDS, card_completion_bytes, start);
        leave_numbers(r->events, EVENTS, card_event_bytes, start);
        r->page->events_read = start;
        for (unsigned i = 0; i < SL_CARD_LANES; i++) {
            struct card_packets_page *const page = r->lane[i].page;
            page->to_card_written = page->to_card_read = page->from_card_read = page->mirror_read = start;
        }
    }
    for (unsigned i = 0; i < SL_CARD_LANES; i++) {
        b->pump.lane[i].to_card = b->pump.lane[i].from_card = b->pump.lane[i].mirror = start;
        b->pump.lane[i].to_card_read = b->pump.lane[i].from_card_read = b->pump.lane[i].mirror_read = start;
    }
}

static void bench_close(struct bench *b)
{
    close_end(&b->near);
    close_end(&b->far);
}

static void pump(struct bench *b, enum sl_xrt_pumped wanted)
{
    assert_int_equal(sl_xrt_pump(&b->pump), wanted);
}

static bool is_zero(const uint8_t *bytes, size_t n)
{
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++)
        any |= bytes[i];
    return any == 0;
}

/* ---- entries of one size ---- */

/* What entry `number` holds. salt: commands, completions, events differ. */
static void write_entry(uint8_t entry[card_command_bytes], size_t bytes, uint32_t number, uint8_t salt)
{
    struct trace_random from = {.state = (uint64_t)salt << 32 | number};
    trace_random_bytes(&from, entry, bytes - sizeof number);
    memcpy(entry + bytes - sizeof number, &number, sizeof number);
}

static void expect_entry(const uint8_t *entry, size_t bytes, uint32_t number, uint8_t salt)
{
    uint8_t wanted[card_command_bytes];
    write_entry(wanted, bytes, number, salt);
    assert_memory_equal(entry, wanted, bytes);
}

static uint8_t *entry_of(uint8_t *ring, uint32_t entries, size_t bytes, uint32_t number)
{
    return ring + (size_t)((number - 1) % entries) * bytes;
}

enum salt { COMMAND = 1, COMPLETION, EVENT };

/* Positions of the test's own ends. */
struct talk {
    uint32_t given, seen, done, heard; /* commands given, seen by the card; completions written, heard of */
};

static void host_gives(struct bench *b, struct talk *t)
{
    uint8_t *const entry = entry_of(b->near.rings.commands, COMMANDS, card_command_bytes, ++t->given);
    write_entry(entry, card_command_bytes, t->given, COMMAND);
}

static void card_completes(struct bench *b, struct talk *t)
{
    uint8_t *const entry = entry_of(b->far.rings.completions, COMMANDS, card_completion_bytes, ++t->done);
    write_entry(entry, card_completion_bytes, t->done, COMPLETION);
}

/* Every entry of the card's ring is what it must be: a command whose completion was not carried, or zero but for its number. */
static void expect_far_commands(const struct bench *b, uint32_t start)
{
    const struct sl_xrt_pump *const p = &b->pump;
    for (uint32_t n = p->commands; n != p->commands - COMMANDS && n != start; n--) {
        const uint8_t *const entry = entry_of(b->far.rings.commands, COMMANDS, card_command_bytes, n);
        uint32_t valid;
        memcpy(&valid, entry + card_command_bytes - sizeof valid, sizeof valid);
        assert_int_equal(valid, n);
        if (n - p->completions - 1 < COMMANDS)
            expect_entry(entry, card_command_bytes, n, COMMAND);
        else
            assert_true(is_zero(entry, card_command_bytes - sizeof valid)); /* G13: no key stays */
    }
}

static void test_commands(void **state)
{
    (void)state;
    for (unsigned i = 0; i < STARTS; i++) {
        struct bench b;
        struct talk t = {starts[i], starts[i], starts[i], starts[i]};
        bench_open(&b, starts[i]);
        for (unsigned step = 0; step < STEPS; step++) {
            for (uint32_t n = trace_below(&rng, COMMANDS + 1); n > 0 && t.given - t.heard < COMMANDS; n--)
                host_gives(&b, &t);
            const bool busy = t.given != b.pump.commands || t.done != b.pump.completions;
            pump(&b, busy ? SL_XRT_PUMP_BUSY : SL_XRT_PUMP_IDLE);
            assert_int_equal(b.pump.commands, t.given);
            assert_int_equal(b.pump.completions, t.done);
            expect_far_commands(&b, starts[i]);
            for (uint32_t n = trace_below(&rng, COMMANDS + 1); n > 0 && t.seen != b.pump.commands; n--) {
                t.seen++;
                expect_entry(entry_of(b.far.rings.commands, COMMANDS, card_command_bytes, t.seen), card_command_bytes, t.seen,
                             COMMAND);
            }
            for (uint32_t n = trace_below(&rng, COMMANDS + 1); n > 0 && t.heard != b.pump.completions; n--) {
                t.heard++;
                expect_entry(entry_of(b.near.rings.completions, COMMANDS, card_completion_bytes, t.heard), card_completion_bytes,
                             t.heard, COMPLETION);
                /* The engine wipes its entry, too, and leaves the number. */
                memset(entry_of(b.near.rings.commands, COMMANDS, card_command_bytes, t.heard), 0,
                       card_command_bytes - sizeof t.heard);
            }
            for (uint32_t n = trace_below(&rng, COMMANDS + 1); n > 0 && t.done != t.seen; n--)
                card_completes(&b, &t);
        }
        assert_true(t.heard - starts[i] > 4 * COMMANDS);
        bench_close(&b);
    }
}

/* The command numbered 0 is the one after 2^32 - 1. Zeros where it will be are none: what was wiped there keeps its last number. */
static void test_number_zero(void **state)
{
    (void)state;
    struct bench b;
    struct talk t = {0xffffffff - COMMANDS, 0xffffffff - COMMANDS, 0xffffffff - COMMANDS, 0xffffffff - COMMANDS};
    bench_open(&b, t.given);
    while (t.given != 0xffffffff) {
        host_gives(&b, &t);
        pump(&b, SL_XRT_PUMP_BUSY);
        card_completes(&b, &t);
        pump(&b, SL_XRT_PUMP_BUSY);
        memset(entry_of(b.near.rings.commands, COMMANDS, card_command_bytes, t.given), 0, card_command_bytes - sizeof t.given);
    }
    const uint8_t *const entry = entry_of(b.far.rings.commands, COMMANDS, card_command_bytes, 0);
    uint32_t valid;
    memcpy(&valid, entry + card_command_bytes - sizeof valid, sizeof valid);
    assert_true(is_zero(entry, card_command_bytes - sizeof valid));
    assert_int_equal(valid, (uint32_t)-COMMANDS);
    pump(&b, SL_XRT_PUMP_IDLE);
    assert_int_equal(b.pump.commands, 0xffffffff);
    host_gives(&b, &t);
    assert_int_equal(t.given, 0);
    pump(&b, SL_XRT_PUMP_BUSY);
    expect_entry(entry, card_command_bytes, 0, COMMAND);
    bench_close(&b);
}

/* A card that completes what it was not given: nothing is carried, and nothing wiped. */
static void test_completions_of_nothing(void **state)
{
    (void)state;
    struct bench b;
    struct talk t = {0};
    bench_open(&b, 0);
    card_completes(&b, &t);
    card_completes(&b, &t);
    pump(&b, SL_XRT_PUMP_IDLE);
    assert_true(is_zero(b.near.rings.completions, (size_t)COMMANDS * card_completion_bytes));
    host_gives(&b, &t);
    pump(&b, SL_XRT_PUMP_BUSY);
    assert_int_equal(b.pump.completions, 1);
    pump(&b, SL_XRT_PUMP_IDLE);
    bench_close(&b);
}

/* A command for which there is no room: the one in its place was not obeyed yet. */
static void test_commands_without_room(void **state)
{
    (void)state;
    for (unsigned i = 0; i < STARTS; i++) {
        struct bench b;
        struct talk t = {starts[i], starts[i], starts[i], starts[i]};
        bench_open(&b, starts[i]);
        while (t.given - starts[i] < COMMANDS)
            host_gives(&b, &t);
        pump(&b, SL_XRT_PUMP_BUSY);
        host_gives(&b, &t);
        pump(&b, SL_XRT_PUMP_IDLE);
        expect_far_commands(&b, starts[i]);
        card_completes(&b, &t);
        pump(&b, SL_XRT_PUMP_BUSY);
        pump(&b, SL_XRT_PUMP_BUSY);
        assert_int_equal(b.pump.commands, t.given);
        expect_far_commands(&b, starts[i]);
        bench_close(&b);
    }
}

static void test_events(void **state)
{
    (void)state;
    for (unsigned i = 0; i < STARTS; i++) {
        struct bench b;
        uint32_t written = starts[i], read = starts[i];
        bench_open(&b, starts[i]);
        for (unsigned step = 0; step < STEPS; step++) {
            for (uint32_t n = trace_below(&rng, EVENTS + 1); n > 0 && written - b.far.rings.page->events_read < EVENTS; n--) {
                uint8_t *const entry = entry_of(b.far.rings.events, EVENTS, card_event_bytes, ++written);
                write_entry(entry, card_event_bytes, written, EVENT);
            }
            const bool busy = written != b.pump.events || read != b.far.rings.page->events_read;
            pump(&b, busy ? SL_XRT_PUMP_BUSY : SL_XRT_PUMP_IDLE);
            assert_int_equal(b.pump.events, written);
            assert_int_equal(b.far.rings.page->events_read, read);
            for (uint32_t n = trace_below(&rng, EVENTS + 1); n > 0 && read != written; n--) {
                read++;
                expect_entry(entry_of(b.near.rings.events, EVENTS, card_event_bytes, read), card_event_bytes, read, EVENT);
            }
            b.near.rings.page->events_read = read;
        }
        assert_true(written - starts[i] > 4 * EVENTS);
        bench_close(&b);
    }
}

/* A card that writes over what was not read: that stays, and the event waits. */
static void test_events_that_were_not_read(void **state)
{
    (void)state;
    for (unsigned i = 0; i < STARTS; i++) {
        struct bench b;
        const uint32_t first = starts[i] + 1;
        bench_open(&b, starts[i]);
        for (uint32_t n = first; n != first + EVENTS; n++)
            write_entry(entry_of(b.far.rings.events, EVENTS, card_event_bytes, n), card_event_bytes, n, EVENT);
        pump(&b, SL_XRT_PUMP_BUSY);
        uint8_t *const next = entry_of(b.far.rings.events, EVENTS, card_event_bytes, first + EVENTS);
        write_entry(next, card_event_bytes, first + EVENTS, EVENT);
        pump(&b, SL_XRT_PUMP_IDLE);
        const uint8_t *const entry = entry_of(b.near.rings.events, EVENTS, card_event_bytes, first);
        expect_entry(entry, card_event_bytes, first, EVENT);
        b.near.rings.page->events_read = first;
        pump(&b, SL_XRT_PUMP_BUSY);
        expect_entry(entry, card_event_bytes, first + EVENTS, EVENT);
        bench_close(&b);
    }
}

/* ---- lines ---- */

/* A line that looks like the head which is expected there in the next lap: whoever sends a frame or a record may try that. */
static void forge_head(uint8_t line[card_line_bytes], uint32_t position, const struct trace_random *filler)
{
    struct trace_random from = *filler;
    const uint32_t number = position + LINES + 1;
    trace_random_bytes(&from, line, card_line_bytes);
    memcpy(line, &number, sizeof number);
    line[4] = card_packets_version;
    memcpy(line + card_line_bytes - sizeof number, &number, sizeof number);
}

/* The frame at a position: half of them consist of forged heads. At most so many lines that one is left behind it. */
static size_t frame_at(uint32_t position, unsigned lane, uint8_t frame[LINES * card_line_bytes])
{
    struct trace_random from = {.state = (uint64_t)lane << 32 | position};
    const size_t bytes = trace_between(&from, 1, (LINES - 2) * card_line_bytes);
    if (trace_chance(&from, 5000))
        trace_random_bytes(&from, frame, bytes);
    else
        for (uint32_t i = 0; i < card_ring_lines(bytes) - 1; i++)
            forge_head(frame + (size_t)i * card_line_bytes, position + 1 + i, &from);
    return bytes;
}

static void write_head(const struct card_ring *ring, unsigned kind, unsigned lane, size_t bytes)
{
    const uint32_t number = ring->at + 1;
    const struct card_packet_head head = {.number = number,
                                          .version = card_packets_version,
                                          .kind = (uint8_t)kind,
                                          .lane = (uint8_t)lane,
                                          .bytes = (uint16_t)bytes,
                                          .valid = number};
    memcpy(card_ring_line(ring, ring->at), &head, sizeof head);
}

static struct card_ring ring_of(uint8_t *memory, uint32_t at)
{
    return (struct card_ring){.memory = memory, .lines = LINES, .at = at};
}

/* As the card does: the line behind the frame is zeroed. */
static bool card_sends(struct card_ring *ring, const struct card_packets_page *page, unsigned lane)
{
    uint8_t frame[LINES * card_line_bytes];
    const size_t bytes = frame_at(ring->at, lane, frame);
    const uint32_t lines = card_ring_lines(bytes);
    if (ring->at + lines + 1 - page->from_card_read > LINES)
        return false;
    card_ring_copy_in(ring, ring->at + 1, frame, bytes);
    memset(card_ring_line(ring, ring->at + lines), 0, card_line_bytes);
    write_head(ring, card_packet_tx, lane, bytes);
    ring->at += lines;
    return true;
}

static bool host_receives(struct card_ring *ring, struct card_packets_page *page, unsigned lane)
{
    uint8_t data[card_packet_room], wanted[LINES * card_line_bytes];
    struct card_packet_head head;
    const uint32_t at = ring->at;
    if (!card_ring_receive(ring, page, &head, data))
        return false;
    assert_int_equal(head.lane, lane);
    assert_int_equal(head.bytes, frame_at(at, lane, wanted));
    assert_memory_equal(data, wanted, head.bytes);
    return true;
}

/* What goes from the card to the host in a lane: frames, or the mirror. */
struct way {
    struct card_ring card, host;
    struct card_packets_page *near, *far;
    const uint32_t *carried, *near_read, *far_read;
    bool (*give)(struct card_ring *ring, const struct card_packets_page *page, unsigned lane);
    bool (*take)(struct card_ring *ring, struct card_packets_page *page, unsigned lane);
    bool (*is_clean)(const struct way *w); /* when everything was carried */
};

/* Both ends by turns, as far as chance has it; and what is left is read in the end. */
static void go(struct bench *b, struct way *w, uint32_t start, unsigned lane)
{
    for (unsigned step = 0; step < STEPS; step++) {
        while (trace_chance(&rng, 7500) && w->give(&w->card, w->far, lane))
            ;
        const bool busy = w->card.at != *w->carried || *w->near_read != *w->far_read;
        pump(b, busy ? SL_XRT_PUMP_BUSY : SL_XRT_PUMP_IDLE);
        assert_int_equal(*w->carried, w->card.at);
        assert_int_equal(*w->far_read, w->host.at);
        assert_true(w->is_clean(w));
        while (trace_chance(&rng, 7500) && w->take(&w->host, w->near, lane))
            ;
        assert_true(w->host.at - start <= w->card.at - start); /* nothing that was not given */
    }
    while (w->take(&w->host, w->near, lane))
        ;
    assert_int_equal(w->host.at, w->card.at);
    assert_true(w->card.at - start > 20 * LINES);
}

static bool next_head_is_zero(const struct way *w)
{
    return is_zero(card_ring_line(&w->host, w->card.at), card_line_bytes);
}

static void test_frames_from_card(void **state)
{
    (void)state;
    for (unsigned i = 0; i < STARTS * SL_CARD_LANES; i++) {
        const unsigned lane = i % SL_CARD_LANES;
        const uint32_t start = starts[i / SL_CARD_LANES];
        struct bench b;
        bench_open(&b, start);
        struct way w = {.card = ring_of(b.far.rings.lane[lane].from_card, start),
                        .host = ring_of(b.near.rings.lane[lane].from_card, start),
                        .near = b.near.rings.lane[lane].page,
                        .far = b.far.rings.lane[lane].page,
                        .carried = &b.pump.lane[lane].from_card,
                        .give = card_sends,
                        .take = host_receives,
                        .is_clean = next_head_is_zero};
        w.near_read = &w.near->from_card_read;
        w.far_read = &w.far->from_card_read;
        go(&b, &w, start, lane);
        bench_close(&b);
    }
}

static void test_frames_to_card(void **state)
{
    (void)state;
    for (unsigned i = 0; i < STARTS * SL_CARD_LANES; i++) {
        const unsigned lane = i % SL_CARD_LANES;
        const uint32_t start = starts[i / SL_CARD_LANES];
        struct bench b;
        bench_open(&b, start);
        struct card_packets_page *const near = b.near.rings.lane[lane].page, *const far = b.far.rings.lane[lane].page;
        struct card_ring card = ring_of(b.far.rings.lane[lane].to_card, start);
        struct card_ring host = ring_of(b.near.rings.lane[lane].to_card, start);
        for (unsigned step = 0; step < STEPS; step++) {
            uint8_t frame[LINES * card_line_bytes], line[card_line_bytes];
            for (bool room = true; room && trace_chance(&rng, 7000);) {
                const size_t bytes = frame_at(host.at, lane, frame);
                room = card_ring_send(&host, near, card_packet_rx, frame, bytes, false);
            }
            const bool busy = host.at != far->to_card_written || near->to_card_read != far->to_card_read;
            pump(&b, busy ? SL_XRT_PUMP_BUSY : SL_XRT_PUMP_IDLE);
            assert_int_equal(far->to_card_written, host.at);
            assert_int_equal(near->to_card_read, card.at);
            while (card.at != far->to_card_written && trace_chance(&rng, 7000)) {
                struct card_packet_head head;
                uint8_t got[LINES * card_line_bytes];
                assert_true(card_ring_peek(&card, line));
                memcpy(&head, line, sizeof head);
                const size_t bytes = frame_at(card.at, lane, frame);
                assert_int_equal(head.bytes, bytes);
                card_ring_copy_out(&card, card.at + 1, got, bytes);
                assert_memory_equal(got, frame, bytes);
                card.at += card_ring_lines(bytes);
            }
            far->to_card_read = card.at;
        }
        assert_true(card.at - start > 20 * LINES);
        bench_close(&b);
    }
}

/* ---- the mirror ---- */

/* The entry at a position: up to three lines, the text one that looks like a head of the next lap. */
static uint32_t mirror_at(uint32_t position, unsigned lane, uint8_t entry[3][card_line_bytes])
{
    struct trace_random from = {.state = (uint64_t)(lane + 2) << 32 | position};
    struct card_mirror_head head = {.number = position + 1, .version = card_packets_version, .lane = (uint8_t)lane};
    uint32_t lines = 1;
    head.flags = (uint8_t)trace_below(&from, 8);
    head.flow = trace_random64(&from);
    head.open_seq = trace_random64(&from);
    head.valid = position + 1;
    memcpy(entry[0], &head, sizeof head);
    if ((head.flags & card_mirror_text) != 0) {
        forge_head(entry[lines], position + lines, &from);
        lines++;
    }
    if ((head.flags & card_mirror_keys) != 0) {
        memset(entry[lines], 0, card_line_bytes);
        trace_random_bytes(&from, entry[lines++], 32);
    }
    return lines;
}

static bool card_mirrors(struct card_ring *ring, const struct card_packets_page *page, unsigned lane)
{
    uint8_t entry[3][card_line_bytes];
    const uint32_t lines = mirror_at(ring->at, lane, entry);
    if (ring->at + lines - page->mirror_read > LINES)
        return false;
    for (uint32_t i = 0; i < lines; i++)
        memcpy(card_ring_line(ring, ring->at + i), entry[i], card_line_bytes);
    ring->at += lines;
    return true;
}

static bool host_opens(struct card_ring *ring, struct card_packets_page *page, unsigned lane)
{
    static const uint8_t nothing[card_line_bytes];
    uint8_t entry[3][card_line_bytes];
    struct card_mirror item;
    const uint32_t at = ring->at, lines = mirror_at(at, lane, entry);
    if (!card_mirror_receive(ring, page, &item))
        return false;
    const bool text = (item.head.flags & card_mirror_text) != 0, keys = (item.head.flags & card_mirror_keys) != 0;
    assert_int_equal(ring->at - at, lines);
    assert_memory_equal(&item.head, entry[0], card_line_bytes);
    assert_memory_equal(item.text, text ? entry[1] : nothing, card_line_bytes);
    assert_memory_equal(item.key, keys ? entry[lines - 1] : nothing, 16);
    assert_memory_equal(item.tag, keys ? entry[lines - 1] + 16 : nothing, 16);
    return true;
}

/* No key stays, and no forged head. */
static bool card_is_wiped(const struct way *w)
{
    return is_zero(w->card.memory, (size_t)LINES * card_line_bytes);
}

static void test_mirror(void **state)
{
    (void)state;
    for (unsigned i = 0; i < STARTS * SL_CARD_LANES; i++) {
        const unsigned lane = i % SL_CARD_LANES;
        const uint32_t start = starts[i / SL_CARD_LANES];
        struct bench b;
        bench_open(&b, start);
        struct way w = {.card = ring_of(b.far.rings.lane[lane].mirror, start),
                        .host = ring_of(b.near.rings.lane[lane].mirror, start),
                        .near = b.near.rings.lane[lane].page,
                        .far = b.far.rings.lane[lane].page,
                        .carried = &b.pump.lane[lane].mirror,
                        .give = card_mirrors,
                        .take = host_opens,
                        .is_clean = card_is_wiped};
        w.near_read = &w.near->mirror_read;
        w.far_read = &w.far->mirror_read;
        go(&b, &w, start, lane);
        assert_true(is_zero(w.host.memory, (size_t)LINES * card_line_bytes));
        bench_close(&b);
    }
}

/* ---- what cannot be ---- */

/* The near rings of lines, none of which may change: copies of what is in them. */
struct picture {
    uint8_t line[SL_CARD_LANES][3][LINES * card_line_bytes];
};

static void take_picture(const struct bench *b, struct picture *p)
{
    for (unsigned i = 0; i < SL_CARD_LANES; i++) {
        memcpy(p->line[i][0], b->near.rings.lane[i].to_card, sizeof p->line[i][0]);
        memcpy(p->line[i][1], b->near.rings.lane[i].from_card, sizeof p->line[i][1]);
        memcpy(p->line[i][2], b->near.rings.lane[i].mirror, sizeof p->line[i][2]);
    }
}

static void expect_nonsense(struct bench *b)
{
    struct picture before, after;
    take_picture(b, &before);
    pump(b, SL_XRT_PUMP_NONSENSE);
    take_picture(b, &after);
    assert_memory_equal(&before, &after, sizeof before);
    pump(b, SL_XRT_PUMP_NONSENSE); /* it does not go away by itself */
}

static void test_frames_that_cannot_be(void **state)
{
    (void)state;
    static const struct {
        uint32_t unread; /* lines that the host has not taken */
        size_t bytes;
        bool good;
    } cases[] = {
        {0, (LINES - 2) * card_line_bytes, true},      /* one line is left behind it */
        {0, (LINES - 2) * card_line_bytes + 1, false}, /* none */
        {0, LINES * card_line_bytes, false},
        {0, card_packet_room, false},
        {0, card_packet_room + 1, false},
        {0, UINT16_MAX, false},
        {LINES - 2, 0, true},
        {LINES - 2, 1, false}, /* over the one that was not read, when its end is zeroed */
        {LINES - 3, card_line_bytes, true},
        {LINES - 3, card_line_bytes + 1, false},
        {LINES - 1, 0, false},
    };
    for (unsigned i = 0; i < STARTS * SL_CARD_LANES; i++) {
        const unsigned lane = i % SL_CARD_LANES;
        for (unsigned k = 0; k < sizeof cases / sizeof cases[0]; k++) {
            struct bench b;
            bench_open(&b, starts[i / SL_CARD_LANES]);
            struct card_ring card = ring_of(b.far.rings.lane[lane].from_card, starts[i / SL_CARD_LANES]);
            for (uint32_t n = 0; n < cases[k].unread; n++, card.at++)
                write_head(&card, card_packet_tx, lane, 0);
            const bool full = cases[k].unread == LINES - 1;
            if (!full && cases[k].unread > 0)
                pump(&b, SL_XRT_PUMP_BUSY);
            write_head(&card, card_packet_tx, lane, cases[k].bytes);
            if (cases[k].good)
                pump(&b, SL_XRT_PUMP_BUSY);
            else if (full) /* all but it are sound */
                pump(&b, SL_XRT_PUMP_NONSENSE);
            else
                expect_nonsense(&b);
            bench_close(&b);
        }
    }
}

/* In rings that have room for more than the longest frame. */
static void test_frames_longer_than_any(void **state)
{
    (void)state;
    static const size_t bytes[] = {card_packet_room - 1, card_packet_room, card_packet_room + 1, UINT16_MAX};
    enum { MANY = 2048 };
    for (unsigned i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        struct bench b;
        bench_open(&b, 0);
        struct end large = {.blocks = 0};
        b.pump.near.lane[0].from_card = take_block(&large, (size_t)MANY * card_line_bytes);
        b.pump.far.lane[0].from_card = take_block(&large, (size_t)MANY * card_line_bytes);
        b.pump.near.lane[0].from_card_lines = b.pump.far.lane[0].from_card_lines = MANY;
        const struct card_ring card = {.memory = b.pump.far.lane[0].from_card, .lines = MANY, .at = 0};
        write_head(&card, card_packet_tx, 0, bytes[i]);
        pump(&b, bytes[i] <= card_packet_room ? SL_XRT_PUMP_BUSY : SL_XRT_PUMP_NONSENSE);
        assert_int_equal(is_zero(b.pump.near.lane[0].from_card, card_line_bytes), bytes[i] > card_packet_room);
        close_end(&large);
        bench_close(&b);
    }
}

/* The card writes on over what the host has not read. */
static void test_mirror_that_cannot_be(void **state)
{
    (void)state;
    for (unsigned i = 0; i < STARTS * SL_CARD_LANES * 8; i++) {
        const unsigned lane = i % SL_CARD_LANES, flags = i / SL_CARD_LANES % 8;
        const uint32_t start = starts[i / SL_CARD_LANES / 8];
        struct bench b;
        bench_open(&b, start);
        struct card_ring card = ring_of(b.far.rings.lane[lane].mirror, start);
        const struct card_mirror_head head = {.flags = (uint8_t)flags};
        const uint32_t lines = card_mirror_lines(&head);
        for (uint32_t n = 0; n < LINES / lines; n++) {
            write_head(&card, flags, lane, 0); /* the same bytes: number, version, flags, lane, and valid */
            pump(&b, SL_XRT_PUMP_BUSY);
            card.at += lines;
        }
        write_head(&card, flags, lane, 0);
        expect_nonsense(&b);
        bench_close(&b);
    }
}

/* The card says it has read what it was not given, or less than it said before: more would be under way than the ring has lines. */
static void test_reading_that_cannot_be(void **state)
{
    (void)state;
    static const uint32_t wrong[] = {1, 2, LINES, 0x7fffffff, 0x80000000, (uint32_t)-LINES, (uint32_t)-LINES - 1};
    for (unsigned i = 0; i < STARTS * SL_CARD_LANES; i++) {
        const unsigned lane = i % SL_CARD_LANES;
        for (unsigned k = 0; k < sizeof wrong / sizeof wrong[0]; k++) {
            struct bench b;
            bench_open(&b, starts[i / SL_CARD_LANES]);
            struct card_ring host = ring_of(b.near.rings.lane[lane].to_card, starts[i / SL_CARD_LANES]);
            assert_true(card_ring_send(&host, b.near.rings.lane[lane].page, card_packet_rx, (const uint8_t[]){1}, 1, false));
            b.far.rings.lane[lane].page->to_card_read = host.at + wrong[k];
            if (host.at - (host.at + wrong[k]) > LINES)
                expect_nonsense(&b);
            else
                pump(&b, SL_XRT_PUMP_BUSY);
            bench_close(&b);
        }
    }
}

/* A card whose memory holds anything: the pump comes back, and writes in the rings alone. */
static void test_anything(void **state)
{
    (void)state;
    unsigned seen[3] = {0};
    for (unsigned i = 0; i < 3000; i++) {
        struct bench b;
        bench_open(&b, starts[i % STARTS]);
        for (unsigned round = 0; round < 4; round++) {
            for (unsigned k = 0; k < b.far.blocks; k++)
                trace_random_bytes(&rng, b.far.block[k].memory, trace_chance(&rng, 9000) ? 0 : b.far.block[k].bytes);
            for (unsigned lane = 0; lane < SL_CARD_LANES; lane++) {
                const struct card_ring frames = ring_of(b.far.rings.lane[lane].from_card, b.pump.lane[lane].from_card);
                const struct card_ring mirror = ring_of(b.far.rings.lane[lane].mirror, b.pump.lane[lane].mirror);
                write_head(&frames, trace_below(&rng, 256), lane, trace_below(&rng, trace_chance(&rng, 9000) ? 500 : 65536));
                write_head(&mirror, trace_below(&rng, 256), lane, trace_below(&rng, 65536));
            }
            seen[sl_xrt_pump(&b.pump)]++;
        }
        bench_close(&b);
    }
    assert_true(seen[SL_XRT_PUMP_BUSY] > 100 && seen[SL_XRT_PUMP_NONSENSE] > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_number_zero),
        cmocka_unit_test(test_completions_of_nothing),
        cmocka_unit_test(test_commands_without_room),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_events_that_were_not_read),
        cmocka_unit_test(test_frames_from_card),
        cmocka_unit_test(test_frames_to_card),
        cmocka_unit_test(test_mirror),
        cmocka_unit_test(test_frames_that_cannot_be),
        cmocka_unit_test(test_frames_longer_than_any),
        cmocka_unit_test(test_mirror_that_cannot_be),
        cmocka_unit_test(test_reading_that_cannot_be),
        cmocka_unit_test(test_anything),
    };
    trace_random_begin(&rng);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
