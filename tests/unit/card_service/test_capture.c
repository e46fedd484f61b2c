/* SPDX-License-Identifier: Apache-2.0 */
/* Captures in memory, cut at every byte; frames as a replay sees them. Whole captures are in tests/conformance/test_card_replay.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "card/service/capture.h"
#include "card/service/frame.h"
#include "card/service/replay.h"

/* clang-format off */
static const uint8_t pcap[] = {
    0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0,
    2, 0, 0, 0, 3, 0, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0, 'h', 'e', 'l', 'l', 'o',
    4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
static const uint8_t pcapng[] = {
    0x0a, 0x0d, 0x0d, 0x0a, 0, 0, 0, 28, 0x1a, 0x2b, 0x3c, 0x4d, 0, 1, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 28,
    0, 0, 0, 1, 0, 0, 0, 32, 0, 1, 0, 0, 0, 0, 0, 4, 0, 9, 0, 1, 0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, /* 2^-10 s; at most 4 bytes */
    0, 0, 0, 3, 0, 0, 0, 20, 0, 0, 0, 9, 'a', 'b', 'c', 'd', 0, 0, 0, 20,                                  /* simple */
    0, 0, 0, 77, 0, 0, 0, 12, 0, 0, 0, 12,                                                                 /* unknown */
    0, 0, 0, 6, 0, 0, 0, 36, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 2, 0, 0, 0, 3, 0, 0, 0, 3, 'x', 'y', 'z', 0, 0, 0, 0, 36};
/* clang-format on */

/* How many frames there are; whether the end was a proper one is in *err. */
static size_t count_frames(const uint8_t *bytes, size_t count, sl_err *err)
{
    struct sl_capture *c = NULL;
    struct sl_capture_frame frame;
    uint8_t *exact = malloc(count > 0 ? count : 1); /* so that a sanitizer sees a byte too far */
    size_t n = 0;
    assert_non_null(exact);
    memcpy(exact, bytes, count);
    *err = sl_capture_open_bytes(exact, count, &c, NULL);
    if (*err == SL_OK) {
        while ((*err = sl_capture_next(c, &frame, NULL)) == SL_OK) {
            volatile uint8_t sum = 0;
            for (uint32_t i = 0; i < frame.count; i++)
                sum = (uint8_t)(sum + frame.bytes[i]);
            n++;
        }
    }
    sl_capture_close(c);
    free(exact);
    return n;
}

static void cut_anywhere(void **state)
{
    static const struct {
        const uint8_t *bytes;
        size_t count, frames;
    } captures[] = {{pcap, sizeof pcap, 2}, {pcapng, sizeof pcapng, 2}};
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        sl_err err;
        assert_int_equal(count_frames(captures[k].bytes, captures[k].count, &err), captures[k].frames);
        assert_int_equal(err, SL_ERR_NOT_FOUND);
        for (size_t n = 0; n < captures[k].count; n++) {
            assert_true(count_frames(captures[k].bytes, n, &err) <= captures[k].frames);
            assert_true(err == SL_ERR_NOT_FOUND || err == SL_ERR_CORRUPT);
        }
        for (size_t at = 0; at < captures[k].count; at++) { /* every byte as large, and as small, as can be */
            uint8_t *changed = malloc(captures[k].count);
            assert_non_null(changed);
            memcpy(changed, captures[k].bytes, captures[k].count);
            changed[at] = 0xff;
            count_frames(changed, captures[k].count, &err);
            changed[at] = 0;
            count_frames(changed, captures[k].count, &err);
            free(changed);
        }
    }
}

static void fields(void **state)
{
    struct sl_capture *c = NULL;
    struct sl_capture_frame f;
    (void)state;
    assert_int_equal(sl_capture_open_bytes(pcap, sizeof pcap, &c, NULL), SL_OK);
    assert_int_equal(sl_capture_next(c, &f, NULL), SL_OK);
    assert_int_equal(f.time_ns, 2000003000);
    assert_int_equal(f.count, 5);
    assert_int_equal(f.wire, 9);
    assert_memory_equal(f.bytes, "hello", 5);
    sl_capture_close(c);
    assert_int_equal(sl_capture_open_bytes(pcapng, sizeof pcapng, &c, NULL), SL_OK);
    assert_int_equal(sl_capture_next(c, &f, NULL), SL_OK);
    assert_int_equal(f.count, 4);
    assert_int_equal(f.wire, 9);
    assert_int_equal(sl_capture_next(c, &f, NULL), SL_OK);
    assert_int_equal(f.time_ns, 1000000000ull + 2 * 1000000000ull / 1024);
    assert_memory_equal(f.bytes, "xyz", 3);
    sl_capture_close(c);
    uint8_t other_link[sizeof pcap];
    memcpy(other_link, pcap, sizeof pcap);
    other_link[20] = 113;
    assert_int_equal(sl_capture_open_bytes(other_link, sizeof other_link, &c, NULL), SL_ERR_UNSUPPORTED);
}

static void what_is_written_is_read(void **state)
{
    char path[] = "capture-XXXXXX";
    struct sl_capture_writer *w = NULL;
    struct sl_capture *c = NULL;
    struct sl_capture_frame f;
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(sl_capture_create(path, &w, NULL), SL_OK);
    sl_capture_write(w, 1700000000123456789ull, (const uint8_t *)"frame", 5);
    assert_int_equal(sl_capture_finish(w), SL_OK);
    assert_int_equal(sl_capture_open(path, &c, NULL), SL_OK);
    assert_int_equal(sl_capture_next(c, &f, NULL), SL_OK);
    assert_int_equal(f.time_ns, 1700000000123456789ull);
    assert_memory_equal(f.bytes, "frame", 5);
    assert_int_equal(sl_capture_next(c, &f, NULL), SL_ERR_NOT_FOUND);
    sl_capture_close(c);
    unlink(path);
    assert_int_equal(sl_capture_open(path, &c, NULL), SL_ERR_IO);
    assert_int_equal(sl_capture_open("/dev/zero", &c, NULL), SL_ERR_CORRUPT);
    assert_int_equal(sl_capture_create("/dev/full", &w, NULL), SL_OK);
    assert_int_equal(sl_capture_finish(w), SL_ERR_IO);
}

/* Every frame is read within its bytes, whatever its headers say. */
static void frames_of_any_length(void **state)
{
    static const uint8_t v4[] = {0, 0,  0, 0, 0, 0, 0,  0, 0, 0, 0,    0,  0x81, 0, 0,  5, 8, 0, 0x45, 0,
                                 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10,   0,  0,    1, 10, 0, 0, 2, 0x12, 0x34,
                                 0, 80, 0, 0, 0, 1, 0,  0, 0, 1, 0x50, 16, 0,    0, 0,  0, 0, 0};
    struct sl_frame_view view;
    (void)state;
    assert_true(sl_frame_view(v4, sizeof v4, &view));
    assert_int_equal(view.key.sport, 0x1234);
    assert_int_equal(view.key.dport, 80);
    assert_int_equal(view.l4, 38);
    assert_int_equal(view.end, sizeof v4);
    for (size_t n = 0; n < sizeof v4; n++) {
        uint8_t *exact = malloc(n > 0 ? n : 1);
        assert_non_null(exact);
        memcpy(exact, v4, n);
        assert_false(sl_frame_view(exact, n, &view));
        free(exact);
    }
    unsigned seed = 1;
    for (unsigned round = 0; round < 20000; round++) {
        size_t n = (size_t)rand_r(&seed) % sizeof v4 + 1;
        uint8_t *changed = malloc(n);
        assert_non_null(changed);
        memcpy(changed, v4, n);
        for (unsigned k = 0; k < 3; k++)
            changed[(size_t)rand_r(&seed) % n] = (uint8_t)rand_r(&seed);
        if (sl_frame_view(changed, n, &view))
            sl_frame_fix_checksums(changed, &view);
        free(changed);
    }
}

static void inside_prefixes(void **state)
{
    static const struct {
        const char *text;
        sl_err err;
        uint8_t bits;
    } cases[] = {{"10.0.0.0/8", SL_OK, 8},
                 {"10.0.0.1", SL_OK, 32},
                 {"::/0", SL_OK, 0},
                 {"2001:db8::/128", SL_OK, 128},
                 {"10.0.0.0/33", SL_ERR_INVALID, 0},
                 {"10.0.0.0/", SL_ERR_INVALID, 0},
                 {"10.0.0.0/-1", SL_ERR_INVALID, 0},
                 {"", SL_ERR_INVALID, 0},
                 {"/8", SL_ERR_INVALID, 0},
                 {"10.0.0.0/8 ", SL_ERR_INVALID, 0},
                 {"0000:0000:0000:0000:0000:0000:0000:0000:0000:0000/8", SL_ERR_INVALID, 0}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sl_replay_prefix p = {.bits = 0};
        assert_int_equal(sl_replay_prefix(cases[i].text, &p, NULL), cases[i].err);
        assert_int_equal(p.bits, cases[i].bits);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_anywhere),         cmocka_unit_test(fields),          cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(frames_of_any_length), cmocka_unit_test(inside_prefixes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
