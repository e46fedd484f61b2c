/* SPDX-License-Identifier: Apache-2.0 */
/* The parser's table of docs/card.md section 1, a case a line, and sums known from elsewhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "trace_frame.h"

static uint8_t frame[trace_frame_room];

static struct trace_packet base(uint8_t version, uint8_t proto)
{
    static const uint8_t payload[100] = "payload";
    struct trace_packet p = {.flow = {.version = version, .proto = proto, .sport = 1234, .dport = 443},
                             .tcp_flags = 16,
                             .payload = payload,
                             .payload_bytes = sizeof payload,
                             .filler = {99}};
    memset(p.flow.src, 0x0a, version == 4 ? 4 : 16);
    memset(p.flow.dst, 0x0b, version == 4 ? 4 : 16);
    return p;
}

/* RFC 1071 section 3: the sum of 00 01 f2 03 f4 f5 f6 f7 is ddf2. */
static void test_sum(void **state)
{
    (void)state;
    const uint8_t example[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    assert_int_equal(model_sum(0, example, sizeof example), 0xddf2);
    assert_int_equal(model_sum(0, example, 3), 0xf201);
    assert_int_equal(model_sum(0, example, 0), 0);
}

/* An ACK with timestamps, made by hand. */
static void test_known_packet(void **state)
{
    (void)state;
    static const uint8_t ack[] = {0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0x08, 0x00,
                                  0x45, 0x00, 0x00, 0x34, 0x1c, 0x46, 0x40, 0x00, 0x40, 0x06, 0x20, 0x7c, 0x7f, 0x00,
                                  0x00, 0x01, 0x7f, 0x00, 0x00, 0x01, 0x9c, 0x40, 0x01, 0xbb, 0x11, 0x22, 0x33, 0x44,
                                  0x55, 0x66, 0x77, 0x88, 0x80, 0x10, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x01,
                                  0x08, 0x0a, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x02};
    memcpy(frame, ack, sizeof ack);
    /* By hand: 7f00 0001 7f00 0001 0006 0020 (pseudo header) + 9c40 01bb 1122 3344 5566 7788 8010 0200 0101 080a 0001 0002 =
     * 3 3895; folded 3898; inverted c767. */
    frame[50] = 0xc7;
    frame[51] = 0x67;
    const struct model_headers h = model_parse(frame, sizeof ack, false);
    assert_int_equal(h.reason, model_reason_none);
    assert_int_equal(h.l3, 14);
    assert_int_equal(h.l4, 34);
    assert_int_equal(h.payload, 66);
    assert_int_equal(h.payload_bytes, 0);
    assert_int_equal(h.timestamps, 58);
    assert_int_equal(h.seq, 0x11223344);
    assert_int_equal(h.ack, 0x55667788);
    assert_int_equal(h.tcp_flags, 16);
    assert_int_equal(h.flow.sport, 40000);
    assert_int_equal(h.flow.dport, 443);
}

struct damage {
    const char *name;
    uint8_t version, proto;
    size_t at; /* byte that is set to value; 0: none */
    uint8_t value;
    bool fix_ipv4;
    int cut; /* bytes off the end */
    enum model_reason reason;
};

/* Offsets: no tags, IPv4 at 14, its TCP at 34, payload at 54; IPv6 at 14, its TCP at 54, payload at 74. */
static const struct damage damages[] = {
    {"IPv4 TCP", 4, 6, 0, 0, false, 0, model_reason_none},
    {"IPv6 TCP", 6, 6, 0, 0, false, 0, model_reason_none},
    {"IPv4 UDP", 4, 17, 0, 0, false, 0, model_reason_none},
    {"IPv6 UDP", 6, 17, 0, 0, false, 0, model_reason_none},
    {"IPv4 ICMP", 4, 1, 0, 0, false, 0, model_reason_none},
    {"IPv6, no next header", 6, 59, 0, 0, false, 0, model_reason_none},
    {"ARP", 4, 6, 13, 0x06, false, 0, model_reason_not_ip},
    {"a byte is missing", 4, 6, 0, 0, false, 1, model_reason_truncated},
    {"a byte is missing, IPv6", 6, 6, 0, 0, false, 1, model_reason_truncated},
    {"13 bytes", 4, 6, 0, 0, false, 141, model_reason_truncated},
    {"14 bytes", 4, 6, 0, 0, false, 140, model_reason_truncated},
    {"33 bytes", 4, 6, 0, 0, false, 121, model_reason_truncated},
    {"version 5", 4, 6, 14, 0x55, true, 0, model_reason_ip_header},
    {"version 5, IPv6", 6, 6, 14, 0x55, false, 0, model_reason_ip_header},
    {"header length 16", 4, 6, 14, 0x44, false, 0, model_reason_ip_header},
    {"total length 19", 4, 6, 17, 19, true, 0, model_reason_truncated}, /* with the upper byte 0: see below */
    {"IPv4 checksum", 4, 6, 24, 0x12, false, 0, model_reason_ip_header},
    {"more fragments", 4, 6, 20, 0x20, true, 0, model_reason_fragment},
    {"offset 1", 4, 6, 21, 0x01, true, 0, model_reason_fragment},
    {"reserved bit", 4, 6, 20, 0x80, true, 0, model_reason_none},
    {"fragment header", 6, 6, 20, 44, false, 0, model_reason_fragment},
    {"ESP", 6, 6, 20, 50, false, 0, model_reason_extension},
    {"AH", 6, 6, 20, 51, false, 0, model_reason_extension},
    {"ESP over IPv4", 4, 50, 0, 0, false, 0, model_reason_none},
    {"data offset 4", 4, 6, 46, 0x40, false, 0, model_reason_tcp_header},
    {"data offset into the payload", 4, 6, 46, 0x70, false, 0, model_reason_tcp_header}, /* 'p' 'a': kind 112, length 97 */
    {"TCP checksum", 4, 6, 50, 0x12, false, 0, model_reason_checksum},
    {"payload", 6, 6, 100, 0x12, false, 0, model_reason_checksum},
    {"UDP length 7", 4, 17, 39, 7, false, 0, model_reason_truncated},
    {"UDP length beyond", 4, 17, 39, 109, false, 0, model_reason_truncated},
    {"UDP shorter than IP", 4, 17, 39, 107, false, 0, model_reason_checksum},
};

static void test_damages(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        const struct damage *const d = &damages[i];
        const struct trace_packet p = base(d->version, d->proto);
        size_t bytes = trace_build(&p, frame) - (size_t)d->cut;
        if (d->at != 0)
            frame[d->at] = d->value;
        if (d->fix_ipv4)
            trace_fix_ipv4(frame + 14);
        enum model_reason expected = d->reason;
        if (strcmp(d->name, "total length 19") == 0) {
            frame[16] = 0;
            trace_fix_ipv4(frame + 14);
            expected = model_reason_ip_header;
        }
        const struct model_headers h = model_parse(frame, bytes, false);
        if (h.reason != expected)
            fail_msg("%s: reason %u, not %u", d->name, h.reason, expected);
    }
}

static void test_whole_frame(void **state)
{
    (void)state;
    struct trace_packet p = base(4, 6);
    const size_t bytes = trace_build(&p, frame);
    assert_int_equal(model_parse(frame, bytes, true).reason, model_reason_port_error);
    assert_int_equal(model_parse(frame, model_frame_max, false).reason, model_reason_none); /* padding */
    assert_int_equal(model_parse(frame, model_frame_max, true).reason, model_reason_oversize);
    assert_int_equal(model_parse(frame, model_frame_max + 1, false).reason, model_reason_oversize);
    assert_int_equal(model_parse(frame, 0, false).reason, model_reason_truncated);
}

static void test_vlans_and_options(void **state)
{
    (void)state;
    for (uint8_t vlans = 0; vlans <= 3; vlans++)
        for (uint8_t words = 0; words <= 10; words++)
            for (uint8_t blocks = 0; blocks <= 3; blocks++) {
                struct trace_packet p = base(4, 6);
                p.vlans = vlans;
                p.ip_option_words = words;
                p.timestamps = blocks != 2;
                p.sack_blocks = blocks;
                const struct model_headers h = model_parse(frame, trace_build(&p, frame), false);
                assert_int_equal(h.reason, vlans < 3 ? model_reason_none : model_reason_not_ip);
                if (vlans == 3)
                    continue;
                assert_int_equal(h.l3, 14 + 4 * vlans);
                assert_int_equal(h.l4, h.l3 + 20 + 4 * words);
                assert_int_equal(h.payload, h.l4 + 20 + (p.timestamps ? 12 : 0) + (blocks > 0 ? 4 + 8 * blocks : 0));
                assert_int_equal(h.payload_bytes, 100);
                assert_int_equal(h.sack_blocks, blocks);
                assert_int_equal(h.sack, blocks > 0 ? h.l4 + 20 + (p.timestamps ? 12 : 0) + 4 : 0);
                assert_int_equal(h.timestamps, p.timestamps ? h.l4 + 24 : 0);
            }
}

static void test_extensions(void **state)
{
    (void)state;
    for (uint8_t n = 0; n <= 5; n++) {
        struct trace_packet p = base(6, 6);
        p.extensions = n;
        p.hop = true;
        assert_int_equal(model_parse(frame, trace_build(&p, frame), false).reason,
                         n <= 4 ? model_reason_none : model_reason_extension);
        p.refused_extension = 1; /* a second hop-by-hop header, or one behind others */
        if (n > 0)
            assert_int_equal(model_parse(frame, trace_build(&p, frame), false).reason, model_reason_extension);
    }
    /* Headers end in the first 256 bytes: 54 + 8 * (1 + length) + 20 + 12 bytes of TCP. */
    for (unsigned length = 0; length < 60; length++) {
        struct trace_packet p = base(6, 6);
        const size_t plain = trace_build(&p, frame);
        const size_t extension = 8 * (1 + (size_t)length);
        memmove(frame + 54 + extension, frame + 54, plain - 54);
        memset(frame + 54, 0, extension);
        frame[54] = 6;
        frame[55] = (uint8_t)length;
        frame[20] = 60;
        const size_t payload = 120 + extension;
        frame[18] = (uint8_t)(payload >> 8);
        frame[19] = (uint8_t)payload;
        const struct model_headers h = model_parse(frame, plain + extension, false);
        assert_int_equal(h.reason, 54 + extension + 20 <= 256 ? model_reason_none : model_reason_extension);
    }
}

/* Options as they may stand in the 8 bytes behind the fixed header. */
static const struct {
    uint8_t bytes[8];
    bool good;
} options[] = {
    {{1, 1, 1, 1, 1, 1, 1, 1}, true},    {{0, 9, 9, 9, 9, 9, 9, 9}, true},    {{2, 4, 5, 0xb4, 1, 3, 3, 7}, true},
    {{254, 8, 0, 0, 0, 0, 0, 0}, true},  {{254, 9, 0, 0, 0, 0, 0, 0}, false}, {{254, 1, 0, 0, 0, 0, 0, 0}, false},
    {{254, 0, 0, 0, 0, 0, 0, 0}, false}, {{1, 1, 1, 1, 1, 1, 1, 254}, false}, {{1, 1, 1, 1, 1, 1, 1, 0}, true},
    {{5, 2, 1, 1, 1, 1, 1, 1}, false},   {{8, 8, 1, 1, 1, 1, 1, 1}, false},   {{5, 8, 1, 1, 1, 1, 1, 1}, false},
};

static void test_options(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        struct trace_packet p = base(4, 6);
        p.payload = options[i].bytes; /* moved into the header by its length */
        p.payload_bytes = 8;
        const size_t bytes = trace_build(&p, frame);
        frame[46] = 0x70;
        const struct model_headers before = {.flow = p.flow, .l4 = 34};
        const uint16_t sum = model_l4_checksum(frame, &before, 28);
        frame[50] = (uint8_t)(sum >> 8);
        frame[51] = (uint8_t)sum;
        assert_int_equal(model_parse(frame, bytes, false).reason, options[i].good ? model_reason_none : model_reason_tcp_header);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sum),         cmocka_unit_test(test_known_packet),      cmocka_unit_test(test_damages),
        cmocka_unit_test(test_whole_frame), cmocka_unit_test(test_vlans_and_options), cmocka_unit_test(test_extensions),
        cmocka_unit_test(test_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
