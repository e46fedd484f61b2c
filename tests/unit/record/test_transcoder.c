/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transcoder is transparent: whatever way a stream of records is cut, and however little room there is for output, the receiver
 * opens the same content types, contents and paddings that the sender sealed. Rules and failures: test_transcoder_rules.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <malloc.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/secret.h"
#include "flow.h"

static const struct {
    uint16_t in, out;
} suites[] = {{0x1301, 0x1301}, {0x1301, 0x1302}, {0x1302, 0x1301}, {0xc02f, 0xc02f}, {0xc02b, 0xc030}, {0x009d, 0x009c}};

static const struct cut cuts[] = {{0, 0},    {1, 0},       {1, 1},     {7, 0},         {100, 30},
                                  {1360, 0}, {1360, 5000}, {20000, 0}, {20000, 17000}, {0, 1}};

enum { CUTS = sizeof(cuts) / sizeof(cuts[0]), RECORDS = 9, STREAM_MAX = RECORDS * (16384 + 300) };

struct stream {
    uint8_t bytes[STREAM_MAX];
    size_t len, count;
    struct {
        size_t len, padding;
        uint64_t seed;
    } record[RECORDS];
};

/* Application data of all sizes: mostly at the edges (0, 1, around the hold limit, full). Zeros at the end of some, so that padding
 * and data meet. */
static void make_stream(struct stream *s, struct ref *sender, uint64_t *rnd, uint8_t *content)
{
    static const size_t edges[] = {0,    1,    2,    15,   16,   17,   255,  256,   257,  1350,
                                   4000, 4079, 4080, 4081, 4096, 4097, 8192, 16383, 16384};
    s->len = 0;
    for (s->count = 0; s->count < RECORDS; s->count++) {
        size_t len = ref_below(rnd, 3) == 0 ? ref_below(rnd, 16385) : edges[ref_below(rnd, sizeof(edges) / sizeof(edges[0]))];
        size_t padding = sender->version == 0x0304 && ref_below(rnd, 3) == 0 ? ref_below(rnd, 16384 - len + 1) : 0;
        s->record[s->count].len = len;
        s->record[s->count].padding = padding;
        s->record[s->count].seed = *rnd;
        ref_fill(rnd, content, len);
        if (s->count % 3 == 0 && len > 0)
            memset(content + len / 2, 0, len - len / 2);
        s->len += ref_seal(sender, 23, content, len, padding, s->bytes + s->len);
    }
}

static void check_stream(const struct stream *s, struct ref *receiver, const uint8_t *out, size_t out_len, uint8_t *content)
{
    static struct ref_opened o;
    size_t at = 0;
    for (size_t i = 0; i < s->count; i++) {
        uint64_t rnd = s->record[i].seed;
        ref_open(receiver, out + at, out_len - at, &o);
        assert_true(o.ok);
        assert_int_equal(o.type, 23);
        assert_int_equal(o.len, s->record[i].len);
        assert_int_equal(o.padding, s->record[i].padding);
        ref_fill(&rnd, content, o.len);
        if (i % 3 == 0 && o.len > 0)
            memset(content + o.len / 2, 0, o.len - o.len / 2);
        assert_memory_equal(o.content, content, o.len);
        at += o.total;
    }
    assert_int_equal(at, out_len);
    assert_int_equal(out_len, s->len); /* every record keeps its length */
}

static void transparent(const struct sl_gcm_engine *engine, size_t hold_limit, bool watched, size_t cut_count)
{
    static struct stream s;
    static uint8_t out[STREAM_MAX + 100], content[16384], plain[STREAM_MAX];
    uint64_t rnd = 17 + hold_limit;
    for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
        for (size_t c = 0; c < cut_count; c++) {
            struct flow f = {.options = {.engine = engine, .hold_limit = hold_limit}};
            struct sl_transcoder_status status;
            size_t out_len, total = 0;
            if (watched) {
                flow_watch(&f);
                f.plain = plain;
            }
            flow_open(&f, suites[i].in, suites[i].out);
            const uint64_t first = f.receiver.seq;
            make_stream(&s, &f.sender, &rnd, content);
            assert_int_equal(flow_run(&f, s.bytes, s.len, cuts[c], &rnd, out, sizeof(out), &out_len), SL_OK);
            check_stream(&s, &f.receiver, out, out_len, content);
            sl_transcoder_status(f.t, &status);
            assert_true(status.in_boundary && status.out_boundary && !status.in_message);
            assert_int_equal(status.heap_bytes, 0);
            assert_int_equal(status.records_in, RECORDS);
            assert_int_equal(status.records_out, RECORDS);
            assert_int_equal(status.bytes_in, s.len);
            assert_int_equal(status.bytes_out, s.len);
            assert_int_equal(status.seal_seq, first + RECORDS);
            for (size_t r = 0; r < RECORDS; r++)
                total += s.record[r].len;
            assert_int_equal(status.content_bytes, total);
            if (watched) {
                assert_int_equal(f.seen_count, RECORDS);
                assert_int_equal(f.plain_len, total);
                for (size_t r = 0, at = 0; r < RECORDS; at += s.record[r].len, r++) {
                    uint64_t seed = s.record[r].seed;
                    ref_fill(&seed, content, s.record[r].len);
                    if (r % 3 != 0)
                        assert_memory_equal(plain + at, content, s.record[r].len);
                    assert_int_equal(f.seen[r].length, s.record[r].len);
                    assert_int_equal(f.seen[r].padding, s.record[r].padding);
                    assert_int_equal(f.seen[r].type, 23);
                    if (hold_limit == SL_TRANSCODER_HOLD_ALL)
                        assert_false(f.seen[r].cut_through);
                }
            }
            flow_close(&f);
        }
    }
}

static void test_transparent_default(void **state)
{
    (void)state;
    transparent(NULL, 0, false, CUTS);
}

static void test_transparent_watched(void **state)
{
    (void)state;
    transparent(NULL, 0, true, CUTS);
}

static void test_transparent_always_cut_through(void **state)
{
    (void)state;
    transparent(NULL, 1, true, CUTS);
}

static void test_transparent_all_held(void **state)
{
    (void)state;
    transparent(NULL, SL_TRANSCODER_HOLD_ALL, true, CUTS);
}

static void test_transparent_every_engine(void **state)
{
    (void)state;
    size_t count;
    const struct sl_gcm_engine *const *engines = sl_gcm_engines(&count);
    for (size_t i = 0; i < count; i++)
        transparent(engines[i], 300, false, CUTS / 2);
}

/* Input and output that end at an inaccessible page. */
static void test_out_of_bounds(void **state)
{
    (void)state;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), size = 8 * page;
    uint8_t *in = mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *out = mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(mprotect(in + size, page, PROT_NONE), 0);
    assert_int_equal(mprotect(out + size, page, PROT_NONE), 0);
    static uint8_t content[16384], sealed[REF_RECORD_MAX];
    static struct ref_opened o;
    uint64_t rnd = 6;
    for (size_t i = 0; i < 400; i++) {
        struct flow f = {.options = {.hold_limit = i % 2 ? 1 : 0}};
        size_t out_at = 0;
        flow_open(&f, suites[i % 6].in, suites[i % 6].out);
        size_t len = ref_seal(&f.sender, 23, content, ref_below(&rnd, i % 5 ? 600 : 16385), 0, sealed), at = 0;
        uint8_t *whole = malloc(len);
        assert_non_null(whole);
        while (out_at < len) {
            size_t n = 1 + ref_below(&rnd, len - at + 1), m = 1 + ref_below(&rnd, len), consumed, produced;
            n = n < len - at ? n : len - at;
            memcpy(in + size - n, sealed + at, n);
            assert_int_equal(sl_transcoder_feed(f.t, in + size - n, n, out + size - m, m, &consumed, &produced), SL_OK);
            memcpy(whole + out_at, out + size - m, produced);
            at += consumed;
            out_at += produced;
        }
        ref_open(&f.receiver, whole, len, &o);
        assert_true(o.ok);
        free(whole);
        flow_close(&f);
    }
    munmap(in, size + page);
    munmap(out, size + page);
}

/* An idle connection, four keys, holds no more than 12 KiB; nothing of it is ordinary heap with our own engines. */
static void test_idle_memory(void **state)
{
    (void)state;
    size_t count;
    const struct sl_gcm_engine *const *engines = sl_gcm_engines(&count);
    for (size_t i = 0; i < count; i++) {
        struct flow a = {.options = {.engine = engines[i]}}, b = {.options = {.engine = engines[i]}};
        flow_open(&a, 0x1302, 0x1302);
        flow_close(&a); /* what is allocated once is there now */
        const size_t secret = sl_secret_stats().bytes_in_use, heap = mallinfo2().uordblks;
        flow_open(&a, 0x1302, 0x1302);
        flow_open(&b, 0x1302, 0x1302);
        sl_record_leg_free(a.from);
        sl_record_leg_free(a.to);
        sl_record_leg_free(b.from);
        sl_record_leg_free(b.to);
        a.from = a.to = b.from = b.to = NULL;
        const size_t used = sl_secret_stats().bytes_in_use - secret, plain = mallinfo2().uordblks - heap;
        print_message("%s: %zu bytes of secret memory and %zu of heap for an idle connection\n", sl_gcm_engine_name(engines[i]),
                      used, plain);
        if (engines[i] == sl_gcm_engine_default())
            assert_true(used + plain <= 12 * 1024);
        flow_close(&a);
        flow_close(&b);
        assert_int_equal(sl_secret_stats().bytes_in_use, secret);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transparent_default),
        cmocka_unit_test(test_transparent_watched),
        cmocka_unit_test(test_transparent_always_cut_through),
        cmocka_unit_test(test_transparent_all_held),
        cmocka_unit_test(test_transparent_every_engine),
        cmocka_unit_test(test_out_of_bounds),
        cmocka_unit_test(test_idle_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
