/* SPDX-License-Identifier: Apache-2.0 */
/* The host's end of the card's rings (card/card_packets.h) against a card that writes whatever it likes. The rings and the frame's
 * buffer are as large as they must be and no larger, so a sanitizer sees every byte beyond. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "card/card_packets.h"
#include "trace_frame.h" /* random numbers */

enum { LINES = card_packet_lines_min, SMALL = 16 };

static struct trace_random rng;
static const uint32_t starts[] = {0, 1, 0xffffff00, 0xfffffff0, 0xffffffff};
enum { STARTS = sizeof starts / sizeof starts[0] };

struct bench {
    struct card_ring ring;
    struct card_packets_page page;
    uint8_t *room;
};

static struct bench bench_open(uint32_t lines, uint32_t start)
{
    struct bench b = {.ring = {.lines = lines, .at = start}};
    b.ring.memory = aligned_alloc(card_line_bytes, (size_t)lines * card_line_bytes);
    b.room = malloc(card_packet_room);
    assert_non_null(b.ring.memory);
    assert_non_null(b.room);
    memset(b.ring.memory, 0, (size_t)lines * card_line_bytes);
    b.page.to_card_read = b.page.to_card_written = b.page.from_card_read = b.page.mirror_read = start;
    return b;
}

static void bench_close(struct bench *b)
{
    free(b->ring.memory);
    free(b->room);
}

static void set_number(struct bench *b, uint32_t number, uint32_t valid, uint8_t version)
{
    uint8_t *const line = card_ring_line(&b->ring, b->ring.at);
    memcpy(line, &number, sizeof number);
    line[4] = version;
    memcpy(line + 60, &valid, sizeof valid);
}

/* Nothing is there, and asking changes nothing. */
static void expect_none(struct bench *b)
{
    const uint32_t at = b->ring.at;
    const struct card_packets_page page = b->page;
    struct card_packet_head head;
    struct card_mirror item;
    uint8_t line[card_line_bytes];
    assert_false(card_ring_peek(&b->ring, line));
    assert_false(card_ring_receive(&b->ring, &b->page, &head, b->room));
    assert_false(card_mirror_receive(&b->ring, &b->page, &item));
    assert_int_equal(b->ring.at, at);
    assert_memory_equal(&b->page, &page, sizeof page);
}

/* ---- what counts as a head ---- */

static void test_no_head(void **state)
{
    (void)state;
    for (unsigned i = 0; i < STARTS; i++) {
        struct bench b = bench_open(LINES, starts[i]);
        const uint32_t n = starts[i] + 1;
        const uint8_t version = card_packets_version;
        expect_none(&b); /* zeros are no head, not even where the number is 0 */
        set_number(&b, n, n - 1, version);
        expect_none(&b);
        set_number(&b, n, n + LINES, version);
        expect_none(&b);
        set_number(&b, n - 1, n, version);
        expect_none(&b);
        set_number(&b, n, n, 0);
        expect_none(&b);
        set_number(&b, n, n, 255);
        expect_none(&b);
        set_number(&b, n, n, version);
        uint8_t line[card_line_bytes];
        assert_true(card_ring_peek(&b.ring, line));
        bench_close(&b);
    }
}

/* ---- from the card ---- */

static void test_frame_lengths(void **state)
{
    (void)state;
    static const unsigned good[] = {0, 1, 63, 64, 65, 9215, 9216, card_packet_room - 1, card_packet_room};
    static const unsigned bad[] = {card_packet_room + 1, 10000, 65535};
    for (unsigned i = 0; i < STARTS; i++) {
        struct bench b = bench_open(LINES, starts[i]);
        struct card_packet_head head;
        trace_random_bytes(&rng, b.ring.memory, LINES * card_line_bytes);
        for (unsigned k = 0; k < sizeof good / sizeof good[0]; k++) {
            const uint32_t at = b.ring.at;
            set_number(&b, at + 1, at + 1, card_packets_version);
            const uint16_t bytes = (uint16_t)good[k];
            memcpy(card_ring_line(&b.ring, at) + offsetof(struct card_packet_head, bytes), &bytes, 2);
            assert_true(card_ring_receive(&b.ring, &b.page, &head, b.room));
            assert_int_equal(head.bytes, bytes);
            assert_int_equal(b.ring.at - at, 1 + (bytes + 63) / 64);
            assert_int_equal(b.page.from_card_read, b.ring.at);
            for (unsigned n = 0; n < bytes; n++)
                assert_int_equal(b.room[n], card_ring_line(&b.ring, at + 1 + n / 64)[n % 64]);
        }
        for (unsigned k = 0; k < sizeof bad / sizeof bad[0]; k++) { /* longer than anything: it is never taken */
            const uint16_t bytes = (uint16_t)bad[k];
            const uint32_t at = b.ring.at;
            set_number(&b, at + 1, at + 1, card_packets_version);
            memcpy(card_ring_line(&b.ring, at) + offsetof(struct card_packet_head, bytes), &bytes, 2);
            assert_false(card_ring_receive(&b.ring, &b.page, &head, b.room));
            assert_int_equal(b.ring.at, at);
            assert_int_equal(b.page.from_card_read, at);
        }
        bench_close(&b);
    }
}

static void test_frames_of_anything(void **state)
{
    (void)state;
    struct bench b = bench_open(LINES, starts[2]);
    struct card_packet_head head;
    unsigned taken = 0;
    for (unsigned i = 0; i < 3000; i++) {
        const uint32_t at = b.ring.at;
        trace_random_bytes(&rng, card_ring_line(&b.ring, trace_below(&rng, LINES)), card_line_bytes);
        trace_random_bytes(&rng, card_ring_line(&b.ring, at), card_line_bytes);
        set_number(&b, at + 1, at + 1, card_packets_version);
        if (card_ring_receive(&b.ring, &b.page, &head, b.room)) {
            taken++;
            assert_in_range(head.bytes, 0, card_packet_room);
            assert_int_equal(b.ring.at - at, card_ring_lines(head.bytes));
        } else {
            assert_true(head.bytes > card_packet_room);
            assert_int_equal(b.ring.at, at);
        }
    }
    assert_true(taken > 100);
    bench_close(&b);
}

static void test_mirror_of_anything(void **state)
{
    (void)state;
    for (unsigned i = 0; i < STARTS; i++) {
        struct bench b = bench_open(SMALL, starts[i]);
        static const uint8_t zero[64];
        struct card_mirror item;
        for (unsigned k = 0; k < 2000; k++) {
            const uint32_t at = b.ring.at;
            trace_random_bytes(&rng, b.ring.memory, SMALL * card_line_bytes);
            set_number(&b, at + 1, at + 1, card_packets_version);
            uint8_t entry[3][64];
            for (uint32_t line = 0; line < 3; line++)
                memcpy(entry[line], card_ring_line(&b.ring, at + line), 64);
            assert_true(card_mirror_receive(&b.ring, &b.page, &item));
            const uint8_t flags = entry[0][5];
            const bool text = (flags & card_mirror_text) != 0, keys = (flags & card_mirror_keys) != 0;
            assert_int_equal(b.ring.at - at, 1 + text + keys);
            assert_int_equal(b.page.mirror_read, b.ring.at);
            assert_memory_equal(item.text, text ? entry[1] : zero, 64);
            assert_memory_equal(item.key, keys ? entry[1 + text] : zero, 16);
            assert_memory_equal(item.tag, keys ? entry[1 + text] + 16 : zero, 16);
            for (uint32_t line = at; line != b.ring.at; line++) /* no key stays, and nothing that could look like a head */
                assert_memory_equal(card_ring_line(&b.ring, line), zero, 64);
            assert_int_equal(item.b_open_seq - item.a_open_seq, (flags & card_mirror_b_alone) == 0);
        }
        bench_close(&b);
    }
}

/* ---- to the card ---- */

static bool send(struct bench *b, size_t bytes)
{
    static const uint8_t frame[card_packet_bytes_max + 1] = {1, 2, 3};
    return card_ring_send(&b->ring, &b->page, card_packet_rx, frame, bytes, false);
}

static void test_send(void **state)
{
    (void)state;
    for (unsigned i = 0; i < STARTS; i++) {
        struct bench b = bench_open(LINES, starts[i]);
        assert_false(send(&b, 0));
        assert_false(send(&b, card_packet_bytes_max + 1));
        assert_false(send(&b, SIZE_MAX));
        assert_false(send(&b, SIZE_MAX - 62)); /* rounded up, it would be short */
        assert_int_equal(b.page.to_card_written, starts[i]);
        for (unsigned k = 0; k < LINES / 2; k++) /* two lines each: full */
            assert_true(send(&b, 64));
        assert_false(send(&b, 1));
        assert_int_equal(b.page.to_card_written, starts[i] + LINES);
        b.page.to_card_read += 2;
        assert_true(send(&b, 1));
        assert_false(send(&b, 1));
        b.page.to_card_read = b.page.to_card_written;
        assert_true(send(&b, card_packet_bytes_max));
        bench_close(&b);
    }
}

/* A card that says it has read what was never written, or less than long ago: there is no room by that, and what waits stays. */
static void test_send_believes_nothing(void **state)
{
    (void)state;
    for (unsigned i = 0; i < STARTS; i++) {
        struct bench b = bench_open(LINES, starts[i]);
        static const uint32_t wrong[] = {1, 2, 1000, 0x7fffffff, 0x80000000, (uint32_t)-LINES - 1, (uint32_t)-LINES - 1000};
        for (unsigned k = 0; k < 10; k++)
            assert_true(send(&b, 640));
        uint8_t before[LINES * card_line_bytes];
        memcpy(before, b.ring.memory, sizeof before);
        const uint32_t at = b.ring.at;
        for (unsigned k = 0; k < sizeof wrong / sizeof wrong[0]; k++) {
            b.page.to_card_read = at + wrong[k];
            assert_false(send(&b, 1));
            assert_false(send(&b, card_packet_bytes_max));
            assert_int_equal(b.ring.at, at);
            assert_int_equal(b.page.to_card_written, at);
            assert_memory_equal(b.ring.memory, before, sizeof before);
        }
        b.page.to_card_read = at;
        assert_true(send(&b, 1));
        bench_close(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_head),
        cmocka_unit_test(test_frame_lengths),
        cmocka_unit_test(test_frames_of_anything),
        cmocka_unit_test(test_mirror_of_anything),
        cmocka_unit_test(test_send),
        cmocka_unit_test(test_send_believes_nothing),
    };
    trace_random_begin(&rng);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
