/* SPDX-License-Identifier: Apache-2.0 */
/* Records that a sender of the test's own seals and cuts as a card does, and as none would; through the ring (card_packets.h) and
 * sl_mirror_open. SLUICE_SEED repeats a run, SLUICE_LONG makes it longer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "card/mirror_open.h"
#include "mirror_sender.h"

enum { RING_LINES = 256 };

static unsigned factor = 1;

/* ---- the ring between ---- */

struct bench {
    struct sl_mirror_open *m;
    struct card_ring ring;
    struct card_packets_page page;
    uint8_t *memory;
};

static void bench_open(struct bench *b, uint32_t sessions, size_t memory_max)
{
    *b = (struct bench){.memory = aligned_alloc(64, RING_LINES * card_line_bytes)};
    assert_non_null(b->memory);
    memset(b->memory, 0, RING_LINES * card_line_bytes);
    b->ring = (struct card_ring){.memory = b->memory, .lines = RING_LINES};
    assert_int_equal(sl_mirror_open_new(sessions, memory_max, &b->m), SL_OK);
}

static void bench_close(struct bench *b)
{
    sl_mirror_open_free(b->m);
    free(b->memory);
}

static struct sl_mirror_open_counters counters(const struct bench *b)
{
    struct sl_mirror_open_counters n;
    sl_mirror_open_counters(b->m, &n);
    return n;
}

/* As the card writes it: text, keys, and the head last. */
static bool give(struct bench *b, const struct card_mirror *item, struct sl_engine_mirror *out)
{
    const uint32_t at = b->ring.at;
    struct card_mirror_head head = item->head;
    struct card_mirror got;
    uint32_t line = at + 1;
    if ((head.flags & card_mirror_text) != 0)
        memcpy(card_ring_line(&b->ring, line++), item->text, 64);
    if ((head.flags & card_mirror_keys) != 0) {
        struct card_mirror_keys_line keys;
        memset(&keys, 0, sizeof keys);
        memcpy(keys.key, item->key, 16);
        memcpy(keys.tag, item->tag, 16);
        memcpy(card_ring_line(&b->ring, line++), &keys, 64);
    }
    head.number = head.valid = at + 1;
    memcpy(card_ring_line(&b->ring, at), &head, 64);
    assert_true(card_mirror_receive(&b->ring, &b->page, &got));
    assert_int_equal(b->ring.at, line);
    assert_int_equal(b->page.mirror_read, line);
    return sl_mirror_open_take(b->m, &got, out);
}

static void expect_record(const struct mirror_record *r, const struct sl_engine_mirror *got)
{
    assert_int_equal(got->flow, r->flow);
    assert_int_equal(got->open_seq, r->open_seq);
    assert_int_equal(got->tcp_seq, r->tcp_seq);
    assert_int_equal(got->epoch, r->epoch);
    assert_int_equal(got->lane, r->lane);
    assert_int_equal(got->type, r->type);
    assert_int_equal(got->count, r->content_bytes);
    assert_memory_equal(got->bytes, r->plain, r->content_bytes);
    assert_memory_equal(got->tag, r->tag, 16);
}

static void expect_nothing(struct bench *b, const struct card_mirror *item)
{
    struct sl_engine_mirror out = {.count = 12345};
    assert_false(give(b, item, &out));
    assert_int_equal(out.count, 12345);
}

static void expect_end(struct bench *b, const struct mirror_record *r)
{
    const struct card_mirror end = mirror_end_item(r);
    struct sl_engine_mirror out;
    assert_true(give(b, &end, &out));
    expect_record(r, &out);
}

/* Text from `from` on, in order. */
static void give_text(struct bench *b, const struct mirror_record *r, unsigned from, unsigned to)
{
    for (unsigned n; from < to; from += n) {
        n = to - from < 64 ? to - from : 64;
        const struct card_mirror x = mirror_text_item(r, from, n, UINT64_MAX);
        expect_nothing(b, &x);
    }
}

static void give_whole(struct bench *b, const struct mirror_record *r)
{
    give_text(b, r, 0, r->text_bytes);
    expect_end(b, r);
}

static void begin(struct bench *b, uint32_t index, uint64_t flow, bool tls13)
{
    const bool both[SL_ENGINE_LANES] = {tls13, tls13};
    sl_mirror_open_session(b->m, index, flow, both);
}

/* ---- records of every kind, cut in every way ---- */

/* What a lane of a session is still to give. */
struct stream {
    struct mirror_record *record; /* ends of these come one after the other */
    unsigned records, ended;
    struct mirror_items items;
    size_t at;
};

static void make_stream(struct stream *s, uint32_t index, uint8_t lane, uint64_t flow, bool tls13, unsigned records)
{
    *s = (struct stream){.records = records, .record = calloc(records, sizeof *s->record)};
    assert_non_null(s->record);
    const uint64_t seq = trace_below(&mirror_random, 2) == 0 ? trace_random64(&mirror_random) >> 16 : 0;
    for (unsigned i = 0; i < records; i++) {
        mirror_random_record(&s->record[i], index, lane, flow, seq + i, tls13);
        if (i > 0 && s->record[i].epoch != s->record[i - 1].epoch) /* after a KeyUpdate there is no part b */
            mirror_add(
                &s->items,
                &(struct card_mirror){
                    .head = {
                        .version = card_packets_version, .lane = lane, .flow = flow, .index = index, .epoch = s->record[i].epoch}});
        mirror_send_record(&s->items, &s->record[i]);
    }
}

static void drop_stream(struct stream *s)
{
    free(s->record);
    free(s->items.item);
}

/* Gives the stream's next item. */
static void step(struct bench *b, struct stream *s)
{
    const struct card_mirror *x = &s->items.item[s->at++];
    struct sl_engine_mirror out;
    const bool got = give(b, x, &out);
    assert_int_equal(got, x->head.verdict == MIRROR_VERIFIED);
    if (got)
        expect_record(&s->record[s->ended], &out);
    s->ended += x->head.verdict != 0;
}

static void test_records(void **state)
{
    (void)state;
    enum { SESSIONS = 12, STREAMS = SESSIONS * SL_ENGINE_LANES, RECORDS = 25 };
    for (unsigned round = 0; round < 3 * factor; round++) {
        struct stream stream[STREAMS];
        struct bench b;
        size_t left = STREAMS, all = 0;
        bench_open(&b, SESSIONS, 0);
        for (unsigned i = 0; i < STREAMS; i++) {
            const uint32_t index = i / SL_ENGINE_LANES;
            const uint64_t flow = 1000 + index;
            const bool tls13[SL_ENGINE_LANES] = {index % 2 == 0, index % 3 == 0};
            if (i % SL_ENGINE_LANES == 0)
                sl_mirror_open_session(b.m, index, flow, tls13);
            make_stream(&stream[i], index, (uint8_t)(i % SL_ENGINE_LANES), flow, tls13[i % SL_ENGINE_LANES], RECORDS);
            all += stream[i].items.count;
        }
        while (left > 0) {
            struct stream *s = &stream[trace_below(&mirror_random, STREAMS)];
            for (unsigned burst = trace_below(&mirror_random, 6); burst > 0 && s->at < s->items.count; burst--) {
                step(&b, s);
                left -= s->at == s->items.count;
            }
        }
        assert_int_equal(counters(&b).verified, STREAMS * RECORDS);
        assert_int_equal(counters(&b).refused, 0);
        assert_int_equal(counters(&b).lost, 0);
        if (round == 0)
            print_message("%zu items of %u records\n", all, STREAMS * RECORDS);
        for (unsigned i = 0; i < STREAMS; i++)
            drop_stream(&stream[i]);
        bench_close(&b);
    }
}

static void test_lengths(void **state)
{
    (void)state;
    static const struct {
        unsigned content;
        int padding;
    } cases[] = {{0, -1},
                 {1, -1},
                 {63, -1},
                 {64, -1},
                 {1087, -1},
                 {1088, -1},
                 {1089, -1},
                 {2176, -1},
                 {16320, -1},
                 {MIRROR_CONTENT_MAX, -1},
                 {0, 0},
                 {1, 0},
                 {0, MIRROR_CONTENT_MAX},
                 {5, MIRROR_CONTENT_MAX - 5},
                 {1087, 0},
                 {1088, 0},
                 {1000, 200},
                 {MIRROR_CONTENT_MAX - 1, 0},
                 {MIRROR_CONTENT_MAX - 1, 1},
                 {MIRROR_CONTENT_MAX, 0}};
    static struct mirror_record r;
    struct bench b;
    bench_open(&b, 2, 0);
    begin(&b, 0, 5, false);
    begin(&b, 1, 6, true);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const bool tls13 = cases[i].padding >= 0;
        mirror_make_record(&r, tls13, 1, tls13 ? 6 : 5, i, cases[i].content, cases[i].padding);
        give_whole(&b, &r);
    }
    /* Content of zeros only, before the type. */
    mirror_make_record(&r, 1, 1, 6, 99, 5000, 300);
    memset(r.plain, 0, 5000);
    mirror_seal(&r);
    give_whole(&b, &r);
    assert_int_equal(counters(&b).lost, 0);
    bench_close(&b);
}

/* ---- what does not verify, and what is not whole ---- */

/* G7: of a record that did not verify nothing is shown, and the session's memory is free again. */
static void test_G7_refused(void **state)
{
    (void)state;
    static struct mirror_record r;
    struct bench b;
    bench_open(&b, 1, 40000); /* room for one long record */
    begin(&b, 0, 7, true);
    for (unsigned i = 0; i < 20; i++) {
        mirror_make_record(&r, 0, 0, 7, i, MIRROR_CONTENT_MAX - i, 0);
        r.verdict = i % 2 == 0 ? MIRROR_BAD : MIRROR_VERIFIED;
        give_text(&b, &r, 0, r.verdict == MIRROR_BAD ? r.text_bytes - i * 17 : r.text_bytes);
        const struct card_mirror end = mirror_end_item(&r);
        if (r.verdict == MIRROR_BAD)
            expect_nothing(&b, &end);
        else
            expect_end(&b, &r);
    }
    assert_int_equal(counters(&b).refused, 10);
    assert_int_equal(counters(&b).verified, 10);
    assert_int_equal(counters(&b).lost, 0);
    bench_close(&b);
}

/* Byte `at` of the record is in no item (dup false), or in two. */
static void test_not_once(void **state)
{
    (void)state;
    static struct mirror_record r;
    struct bench b;
    bench_open(&b, 1, 0);
    begin(&b, 0, 7, true);
    for (unsigned i = 0; i < 60; i++) {
        const unsigned content = mirror_random_length(MIRROR_CONTENT_MAX);
        mirror_make_record(&r, 0, 0, 7, 2 * i, content, 0);
        const unsigned at = trace_below(&mirror_random, r.text_bytes);
        const bool twice = i % 2 == 0;
        give_text(&b, &r, 0, at);
        if (twice) {
            const struct card_mirror x = mirror_text_item(&r, at, 1, 1);
            expect_nothing(&b, &x);
        }
        give_text(&b, &r, at + !twice, r.text_bytes);
        const struct card_mirror end = mirror_end_item(&r);
        expect_nothing(&b, &end);
        assert_int_equal(counters(&b).lost, i + 1);
        mirror_make_record(&r, 0, 0, 7, 2 * i + 1, content, 0);
        give_whole(&b, &r);
    }
    bench_close(&b);
}

/* As many bytes as there must be, one of them beyond the end: the rest is not filled up with what lay there before. */
static void test_beyond_the_end(void **state)
{
    (void)state;
    static struct mirror_record r;
    struct bench b;
    bench_open(&b, 1, 0);
    begin(&b, 0, 7, false);
    mirror_make_record(&r, 0, 0, 7, 0, 100, -1);
    give_text(&b, &r, 0, 99);
    struct card_mirror x = mirror_text_item(&r, 100, 1, 1);
    expect_nothing(&b, &x);
    x = mirror_end_item(&r);
    expect_nothing(&b, &x);
    assert_int_equal(counters(&b).lost, 1);
    bench_close(&b);
}

/* Zeros without a type, another type than the card says, no text at all: not what a card calls verified in TLS 1.3. */
static void test_no_type(void **state)
{
    (void)state;
    static const unsigned lengths[] = {1, 7, 8, 9, 1000, MIRROR_CONTENT_MAX, MIRROR_TEXT_MAX};
    static struct mirror_record r;
    struct bench b;
    uint64_t lost = 0;
    bench_open(&b, 1, 0);
    begin(&b, 0, 7, true);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        for (unsigned wrong = 0; wrong < 2; wrong++) {
            mirror_make_record(&r, 0, 0, 7, i, lengths[i] - 1, 0);
            if (wrong != 0)
                r.plain[lengths[i] - 1] ^= 1;
            else
                memset(r.plain, 0, lengths[i]);
            mirror_seal(&r);
            give_text(&b, &r, 0, r.text_bytes);
            const struct card_mirror end = mirror_end_item(&r);
            expect_nothing(&b, &end);
            assert_int_equal(counters(&b).lost, ++lost);
        }
    r.text_bytes = 0;
    const struct card_mirror end = mirror_end_item(&r);
    expect_nothing(&b, &end);
    assert_int_equal(counters(&b).lost, ++lost);
    mirror_make_record(&r, 0, 0, 7, 50, 100, 3);
    give_whole(&b, &r);
    bench_close(&b);
}

/* Bytes of finished records that come again stand beside a new record's beginning, without being text. */
static void test_retransmissions(void **state)
{
    (void)state;
    static struct mirror_record r[3];
    struct bench b;
    bench_open(&b, 1, 0);
    begin(&b, 0, 7, false);
    for (unsigned i = 0; i < 3; i++)
        mirror_make_record(&r[i], 0, 0, 7, i, 200, -1);
    give_text(&b, &r[2], 0, 30); /* in progress */
    for (unsigned i = 0; i < 3; i++) {
        const struct card_mirror x = mirror_text_item(&r[i], 0, 64, 0);
        expect_nothing(&b, &x);
    }
    struct card_mirror x = mirror_item_of(&r[1]);
    mirror_put_a(&x, &r[1], 0, 170, 30, 0);
    mirror_put_b(&x, &r[2], 0);
    expect_nothing(&b, &x);
    mirror_put_a(&x, &r[1], 0, 170, 20, 0);
    x.head.b_at = 30; /* its first 30 bytes again, and four new ones */
    x.head.b_bytes = 34;
    mirror_put_text(&x, &r[2], 30, 0, 34, mirror_bits(30, 4));
    expect_nothing(&b, &x);
    give_text(&b, &r[2], 34, 200);
    expect_end(&b, &r[2]);
    assert_int_equal(counters(&b).lost, 0);
    bench_close(&b);
}

/* ---- what cannot be ---- */

#define SET(field, value) offsetof(struct card_mirror_head, field), sizeof(((struct card_mirror_head *)NULL)->field), (value)
static const struct {
    size_t at, bytes;
    uint64_t value;
    size_t at_2, bytes_2;
    uint64_t value_2;
} broken[] = {
    {SET(index, 4), 0, 0, 0},
    {SET(index, UINT32_MAX), 0, 0, 0},
    {SET(index, 3), 0, 0, 0}, /* no session there */
    {SET(lane, 2), 0, 0, 0},
    {SET(lane, 255), 0, 0, 0},
    {SET(flow, 99), 0, 0, 0},
    {SET(flow, 0), 0, 0, 0},
    {SET(a_at, 255), 0, 0, 0},
    {SET(a_at, 40), 0, 0, 0},
    {SET(a_bytes, 65), 0, 0, 0},
    {SET(a_bytes, 255), 0, 0, 0},
    {SET(a_offset, 65535), 0, 0, 0},
    {SET(a_offset, MIRROR_TEXT_MAX - 24), 0, 0, 0}, /* one too far */
    {SET(b_bytes, 30), 0, 0, 0},                    /* in a's place */
    {SET(b_bytes, 255), 0, 0, 0},
    {SET(b_bytes, 1), SET(b_at, 64)},
    {SET(fresh, UINT64_C(1) << 63), 0, 0, 0}, /* of no part */
    {SET(flags, 0), 0, 0, 0},                 /* fresh bytes without text, */
    {SET(fresh, 0), 0, 0, 0},                 /* text without fresh bytes */
    {SET(flags, card_mirror_text | card_mirror_b_alone), 0, 0, 0},
    {SET(flags, card_mirror_b_alone), SET(fresh, 0)},
    {SET(verdict, 3), 0, 0, 0},
    {SET(verdict, 255), 0, 0, 0},
    {SET(verdict, MIRROR_VERIFIED), SET(text_bytes, 1001)}, /* without keys */
    {SET(flags, card_mirror_text | card_mirror_keys), 0, 0, 0},
    {SET(verdict, MIRROR_BAD), SET(text_bytes, 524)}, /* text behind its end */
    {SET(verdict, MIRROR_BAD), SET(text_bytes, MIRROR_TEXT_MAX + 1)},
};

static void test_impossible(void **state)
{
    (void)state;
    static struct mirror_record r, other;
    struct bench b;
    bench_open(&b, 4, 0);
    begin(&b, 0, 7, true);
    begin(&b, 1, 8, true);
    mirror_make_record(&r, 0, 0, 7, 0, 1000, 0);
    mirror_make_record(&other, 1, 0, 8, 0, 1000, 0);
    give_text(&b, &other, 0, 500);
    give_text(&b, &r, 0, 500);
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        struct card_mirror x = mirror_item_of(&r);
        mirror_put_a(&x, &r, 10, 500, 25, UINT64_MAX);
        memcpy((uint8_t *)&x.head + broken[i].at, &broken[i].value, broken[i].bytes); /* little-endian */
        memcpy((uint8_t *)&x.head + broken[i].at_2, &broken[i].value_2, broken[i].bytes_2);
        expect_nothing(&b, &x);
        if (counters(&b).lost != i + 1)
            fail_msg("number %zu was taken", i);
    }
    give_text(&b, &r, 500, r.text_bytes);
    expect_end(&b, &r);
    give_text(&b, &other, 500, other.text_bytes);
    expect_end(&b, &other);
    sl_mirror_open_session(b.m, 4, 9, (const bool[]){true, true}); /* beyond them: nothing */
    sl_mirror_open_session(b.m, UINT32_MAX, 9, (const bool[]){true, true});
    bench_close(&b);
}

/* ---- memory ---- */

/* A block has 1088 bytes of text and some bytes of its own. */
enum { BLOCK = 1088, ROOM = 10 * 1500, ROOM_TEXT = ROOM / 1500 * BLOCK };

static void test_bound(void **state)
{
    (void)state;
    static struct mirror_record r[30];
    struct bench b;
    bench_open(&b, 30, ROOM);
    for (unsigned i = 0; i < 30; i++) {
        begin(&b, i, i + 1, false);
        mirror_make_record(&r[i], i, 1, i + 1, 0, 500, -1);
        give_text(&b, &r[i], 0, 100);
    }
    unsigned whole = 0, lost = 0;
    for (unsigned i = 0; i < 30; i++) {
        give_text(&b, &r[i], 100, 500);
        const struct card_mirror end = mirror_end_item(&r[i]);
        struct sl_engine_mirror out;
        const bool got = give(&b, &end, &out);
        if (got)
            expect_record(&r[i], &out);
        assert_int_equal(got, lost == 0 && i < 11); /* those that came first, not one of the others, although room is free again */
        whole += got;
        lost += !got;
    }
    assert_in_range(whole, 10, 11);
    assert_int_equal(counters(&b).lost, lost);
    /* A record that grows beyond it, beside a small one: the small one is not touched, and the room is free again. */
    for (unsigned i = 0; i < 3; i++) {
        mirror_make_record(&r[0], 0, 1, 1, 1 + i, MIRROR_CONTENT_MAX, -1);
        mirror_make_record(&r[1], 1, 1, 2, 1 + i, 700, -1);
        give_text(&b, &r[1], 0, 300);
        give_text(&b, &r[0], 0, MIRROR_CONTENT_MAX);
        give_text(&b, &r[1], 300, 700);
        expect_end(&b, &r[1]);
        const struct card_mirror end = mirror_end_item(&r[0]);
        expect_nothing(&b, &end);
        assert_int_equal(counters(&b).lost, ++lost);
        mirror_make_record(&r[2], 2, 1, 3, 1 + i, ROOM_TEXT, -1);
        give_whole(&b, &r[2]);
    }
    bench_close(&b);
}

/* Not even room for one block: records without text are shown. */
static void test_no_room(void **state)
{
    (void)state;
    static struct mirror_record r;
    struct bench b;
    bench_open(&b, 1, 100);
    begin(&b, 0, 1, false);
    mirror_make_record(&r, 0, 0, 1, 0, 1, -1);
    give_text(&b, &r, 0, 1);
    const struct card_mirror end = mirror_end_item(&r);
    expect_nothing(&b, &end);
    assert_int_equal(counters(&b).lost, 1);
    mirror_make_record(&r, 0, 0, 1, 1, 0, -1);
    give_whole(&b, &r);
    bench_close(&b);
}

/* Half a record of each session that ended stays, until others need the room: the oldest first, and nobody else's. */
static void test_ended_sessions_give_way(void **state)
{
    (void)state;
    static struct mirror_record half[20], whole, live;
    struct bench b;
    bench_open(&b, 30, ROOM);
    begin(&b, 29, 100, false);
    mirror_make_record(&live, 29, 1, 100, 0, 900, -1);
    give_text(&b, &live, 0, 450);
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < 20; i++) {
            const uint64_t flow = 1 + i + 20 * round;
            begin(&b, i, flow + 1000, false);
            mirror_make_record(&half[i], i, 0, flow + 1000, 0, 1000, -1);
            give_text(&b, &half[i], 0, 500);
            sl_mirror_open_session(b.m, i, 0, NULL);
        }
        /* The last one is there still, the first one's place was needed. */
        give_text(&b, &half[19], 500, 1000);
        expect_end(&b, &half[19]);
        give_text(&b, &half[0], 500, 1000);
        const struct card_mirror end = mirror_end_item(&half[0]);
        expect_nothing(&b, &end);
        assert_int_equal(counters(&b).lost, round + 1);
        begin(&b, 25, 500 + round, false);
        mirror_make_record(&whole, 25, 0, 500 + round, 0, 8 * BLOCK, -1);
        give_whole(&b, &whole);
    }
    give_text(&b, &live, 450, 900);
    expect_end(&b, &live);
    bench_close(&b);
}

/* ---- sessions come and go ---- */

static void test_index_reused(void **state)
{
    (void)state;
    static struct mirror_record old[2], new[2];
    struct bench b;
    struct card_mirror end;
    bench_open(&b, 1, 0);
    begin(&b, 0, 7, true);
    mirror_make_record(&old[0], 0, 0, 7, 5, 3000, 9);
    mirror_make_record(&old[1], 0, 1, 7, 5, 3000, 9);
    mirror_make_record(&new[0], 0, 0, 8, 5, 3000, -1);
    mirror_make_record(&new[1], 0, 1, 8, 5, 3000, -1);
    for (unsigned i = 0; i < 2; i++) {
        old[i].epoch = new[i].epoch = 0; /* only the flow tells them apart */
        give_text(&b, &old[i], 0, 1500);
    }
    sl_mirror_open_session(b.m, 0, 0, NULL);
    begin(&b, 0, 8, false);
    /* Lane 1: the old flow's record ends, then the new one's begins. Lane 0: it never ends. */
    give_text(&b, &new[0], 0, 3000);
    give_text(&b, &old[1], 1500, old[1].text_bytes);
    expect_end(&b, &old[1]);
    mirror_make_record(&old[1], 0, 1, 7, 6, 50, 0); /* and one more */
    give_whole(&b, &old[1]);
    expect_end(&b, &new[0]);
    give_whole(&b, &new[1]);
    assert_int_equal(counters(&b).lost, 0);
    /* Two flows later nobody knows the first. */
    begin(&b, 0, 9, false);
    give_text(&b, &old[1], 0, old[1].text_bytes);
    end = mirror_end_item(&old[1]);
    expect_nothing(&b, &end);
    assert_int_equal(counters(&b).lost, 2);
    mirror_make_record(&new[0], 0, 0, 8, 6, 50, -1);
    give_whole(&b, &new[0]);
    bench_close(&b);
}

/* The same flow id again at once: its new records are not mixed with what was left. */
static void test_flow_again(void **state)
{
    (void)state;
    static struct mirror_record r;
    struct bench b;
    bench_open(&b, 1, 0);
    for (unsigned i = 0; i < 5; i++) {
        begin(&b, 0, 7, true);
        mirror_make_record(&r, 0, 0, 7, 0, 100, 0);
        give_whole(&b, &r);
        mirror_make_record(&r, 0, 0, 7, 0, 100, 0);
        give_text(&b, &r, 0, 50);
    }
    assert_int_equal(counters(&b).lost, 0);
    bench_close(&b);
}

/* Indexes are reused all the time, with records of any length, half ones, little room, and items of the flow before: what is shown
 * is right, and what is not shown is counted. */
static void test_churn(void **state)
{
    (void)state;
    enum { SESSIONS = 8, STREAMS = SESSIONS * SL_ENGINE_LANES };
    struct stream stream[STREAMS], before[STREAMS]; /* what is left of the flow before comes first */
    struct bench b;
    uint64_t flow = 0, shown = 0, ended = 0, late = 0;
    memset(stream, 0, sizeof stream);
    memset(before, 0, sizeof before);
    bench_open(&b, SESSIONS, 60000);
    for (unsigned n = 0; n < 600 * factor; n++) {
        const uint32_t index = trace_below(&mirror_random, SESSIONS);
        const bool tls13[SL_ENGINE_LANES] = {trace_below(&mirror_random, 2) != 0, trace_below(&mirror_random, 2) != 0};
        if (trace_below(&mirror_random, 3) == 0)
            sl_mirror_open_session(b.m, index, 0, NULL);
        sl_mirror_open_session(b.m, index, ++flow, tls13);
        for (uint8_t lane = 0; lane < SL_ENGINE_LANES; lane++) {
            const size_t i = index * SL_ENGINE_LANES + lane;
            drop_stream(&before[i]);
            before[i] = stream[i];
            if (trace_below(&mirror_random, 3) == 0)
                before[i].at = before[i].items.count;
            make_stream(&stream[i], index, lane, flow, tls13[lane], 3);
        }
        for (unsigned k = 0; k < 2000; k++) {
            const size_t i = trace_below(&mirror_random, STREAMS);
            const bool is_late = before[i].at < before[i].items.count;
            struct stream *s = is_late ? &before[i] : &stream[i];
            struct sl_engine_mirror out;
            if (s->at == s->items.count)
                continue;
            const struct card_mirror *x = &s->items.item[s->at++];
            if (give(&b, x, &out)) {
                expect_record(&s->record[s->ended], &out);
                shown++;
                late += is_late;
            }
            s->ended += x->head.verdict != 0;
            ended += x->head.verdict != 0;
        }
    }
    print_message("%llu of %llu records shown, %llu of them late\n", (unsigned long long)shown, (unsigned long long)ended,
                  (unsigned long long)late);
    assert_int_equal(counters(&b).verified, shown);
    assert_int_equal(counters(&b).lost, ended - shown);
    assert_true(shown > ended / 2 && ended > shown && late > 0);
    for (unsigned i = 0; i < STREAMS; i++) {
        drop_stream(&stream[i]);
        drop_stream(&before[i]);
    }
    bench_close(&b);
}

/* ---- what is left ---- */

/* What is shown lies in secret memory, is wiped by the next call, and given back at the end. */
static void test_G13_wiped(void **state)
{
    (void)state;
    static struct mirror_record r;
    static const uint8_t zero[MIRROR_CONTENT_MAX];
    const size_t before = sl_secret_stats().blocks;
    struct sl_engine_mirror out;
    struct bench b;
    bench_open(&b, 2, 0);
    assert_true(sl_secret_stats().blocks > before);
    begin(&b, 0, 7, false);
    for (unsigned i = 0; i < 3; i++) {
        mirror_make_record(&r, 0, 0, 7, i, MIRROR_CONTENT_MAX - i * 8000, -1);
        give_text(&b, &r, 0, r.text_bytes);
        struct card_mirror x = mirror_end_item(&r);
        assert_true(give(&b, &x, &out));
        expect_record(&r, &out);
        if (i == 0)
            x.head.index = 77;
        if (i < 2)
            expect_nothing(&b, &x);
        else
            sl_mirror_open_reset(b.m);
        assert_memory_equal(out.bytes, zero, out.count);
    }
    bench_close(&b);
    assert_int_equal(sl_secret_stats().blocks, before);
    sl_mirror_open_free(NULL);
}

static void test_reset(void **state)
{
    (void)state;
    static struct mirror_record r, q;
    struct bench b;
    bench_open(&b, 2, ROOM);
    begin(&b, 0, 7, false);
    begin(&b, 1, 8, false);
    mirror_make_record(&r, 0, 0, 7, 0, 5000, -1);
    mirror_make_record(&q, 1, 1, 8, 0, 3000, -1);
    give_text(&b, &r, 0, 4000);
    give_text(&b, &q, 0, 2000);
    sl_mirror_open_session(b.m, 1, 9, (const bool[]){true, true});
    mirror_make_record(&q, 1, 0, 9, 0, 50, 0);
    give_whole(&b, &q);
    sl_mirror_open_reset(b.m);
    assert_int_equal(counters(&b).verified, 1);
    struct card_mirror x = mirror_end_item(&r);
    expect_nothing(&b, &x);
    assert_int_equal(counters(&b).lost, 1);
    begin(&b, 0, 7, false);
    expect_nothing(&b, &x); /* its text is gone */
    assert_int_equal(counters(&b).lost, 2);
    mirror_make_record(&r, 0, 0, 7, 1, ROOM_TEXT, -1); /* and the room is all there */
    give_whole(&b, &r);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_G7_refused),
        cmocka_unit_test(test_not_once),
        cmocka_unit_test(test_beyond_the_end),
        cmocka_unit_test(test_no_type),
        cmocka_unit_test(test_retransmissions),
        cmocka_unit_test(test_impossible),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_ended_sessions_give_way),
        cmocka_unit_test(test_index_reused),
        cmocka_unit_test(test_flow_again),
        cmocka_unit_test(test_churn),
        cmocka_unit_test(test_G13_wiped),
        cmocka_unit_test(test_reset),
    };
    trace_random_begin(&mirror_random);
    if (getenv("SLUICE_LONG") != NULL)
        factor = 20;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
