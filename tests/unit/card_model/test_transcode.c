/* SPDX-License-Identifier: Apache-2.0 */
/*
 * docs/card.md section 4, a rule a test, with records made by OpenSSL's AES-GCM here: both streams, as they come in and as they
 * must leave, are written down record by record; then segments of the first are sent, in any order, and must leave as the second
 * has it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <string.h>

#include "receiver.h"
#include "trace_frame.h"

enum { stream_room = 1 << 17, index_of = 77, deltas = 0x01020304, records_max = 64 };

struct fixture {
    struct model_lane *lane;
    struct model_output out;
    struct session_state state;
    struct model_flow flow;
    bool tls13;
    uint32_t isn;
    uint64_t open_seq, nonce;
    uint32_t seal_seq;
    struct key_set keys; /* of the epoch that records are made in */
    uint8_t in[stream_room], leaves[stream_room];
    size_t bytes, next;        /* made; sent */
    size_t start[records_max]; /* of records; the last one made ends at bytes */
    unsigned records;
};

static struct fixture f;
static uint8_t frame[trace_frame_room];

static uint32_t seq_at(size_t offset)
{
    return f.isn + (uint32_t)offset;
}

static void seal(const uint8_t *key, bool is_long, const uint8_t nonce[12], const uint8_t *aad, int aad_bytes, const uint8_t *text,
                 int bytes, uint8_t *out)
{
    int n;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    assert_int_equal(EVP_EncryptInit_ex(ctx, is_long ? EVP_aes_256_gcm() : EVP_aes_128_gcm(), NULL, key, nonce), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, NULL, &n, aad, aad_bytes), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, out, &n, text, bytes), 1);
    assert_int_equal(EVP_EncryptFinal_ex(ctx, out + bytes, &n), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, 16, out + bytes), 1);
    EVP_CIPHER_CTX_free(ctx);
}

/* One side of a record. RFC 8446 section 5.2, 5.3; RFC 5246 section 6.2.3.3 with RFC 5288 section 3. */
static size_t record_side(uint8_t *out, const uint8_t *key, bool is_long, const uint8_t *iv, uint64_t seq, uint64_t explicit_nonce,
                          uint8_t type, const uint8_t *text, size_t bytes)
{
    uint8_t nonce[12], aad[13];
    const size_t text_at = f.tls13 ? 5 : 13;
    const size_t length = text_at - 5 + bytes + 16;
    const uint8_t header[5] = {f.tls13 ? 23 : type, 3, 3, (uint8_t)(length >> 8), (uint8_t)length};
    memcpy(out, header, 5);
    memcpy(nonce, iv, 12);
    for (unsigned i = 0; i < 8; i++) {
        const uint8_t number = (uint8_t)(seq >> (56 - 8 * i));
        if (f.tls13)
            nonce[4 + i] ^= number;
        else
            nonce[4 + i] = out[5 + i] = (uint8_t)(explicit_nonce >> (56 - 8 * i));
        aad[i] = number;
    }
    memcpy(aad + 8, header, 3);
    aad[11] = (uint8_t)(bytes >> 8);
    aad[12] = (uint8_t)bytes;
    seal(key, is_long, nonce, f.tls13 ? header : aad, f.tls13 ? 5 : 13, text, (int)bytes, out + text_at);
    return 5 + length;
}

/* The next record. text: for TLS 1.3 with type and padding. */
static void add_text(uint8_t type, const uint8_t *text, size_t bytes)
{
    assert_true(f.records < records_max);
    f.start[f.records++] = f.bytes;
    record_side(f.in + f.bytes, f.keys.open_key, (f.keys.long_keys & 1) != 0, f.keys.open_iv, f.open_seq++, f.nonce++, type, text,
                bytes);
    f.bytes += record_side(f.leaves + f.bytes, f.keys.seal_key, (f.keys.long_keys & 2) != 0, f.keys.seal_iv, f.seal_seq, f.seal_seq,
                           type, text, bytes);
    f.seal_seq++;
}

static void add_record(uint8_t type, const void *content, size_t bytes, size_t padding)
{
    uint8_t text[1 << 15] = {0};
    memcpy(text, content, bytes);
    if (f.tls13)
        text[bytes] = type;
    add_text(type, text, f.tls13 ? bytes + 1 + padding : bytes);
}

static void add_data(size_t bytes)
{
    static uint8_t content[1 << 14];
    for (size_t i = 0; i < bytes; i++)
        content[i] = (uint8_t)(i * 7 + f.records);
    add_record(23, content, bytes, 0);
}

static void set_keys(struct key_set *k, uint8_t seed)
{
    memset(k, 0, sizeof *k);
    memset(k->open_key, seed, 16);
    memset(k->seal_key, seed + 1, 32);
    memset(k->open_iv, seed + 2, f.tls13 ? 12 : 4);
    memset(k->seal_iv, seed + 3, f.tls13 ? 12 : 4);
    k->long_keys = 2; /* AES-128 in, AES-256 out */
}

static void begin(bool tls13, const struct model_lane_options *options)
{
    memset(&f, 0, sizeof f);
    f.tls13 = tls13;
    f.isn = 0xffffff00; /* wraps soon */
    f.open_seq = 5;
    f.seal_seq = 9;
    f.nonce = 0x1234567890abcdff;
    f.flow =
        (struct model_flow){.src = {10, 0, 0, 1}, .dst = {10, 0, 0, 2}, .sport = 40000, .dport = 443, .proto = 6, .version = 4};
    set_keys(&f.keys, 0x11);
    f.state.keys.set[0] = f.keys;
    set_keys(&f.state.keys.set[1], 0x51);
    f.state.keys.flow[0] = 0xf1;
    f.state.keys.window_shift = 2;
    struct track_state *const t = &f.state.track;
    t->next = t->record_start = f.isn;
    t->open_seq[0] = 5;
    t->seal_seq = 9;
    t->old_seal_seq = (uint32_t)(f.nonce >> 32);
    t->old_open_seq = (uint32_t)f.nonce;
    t->seq_delta = t->ack_delta = t->tsval_delta = t->tsecr_delta = deltas;
    t->flags = (uint8_t)((tls13 ? track_tls13 | track_next : 0) | track_mirror);
    f.lane = model_lane_new(options);
    assert_true(model_session_add(f.lane, index_of, &f.flow, model_action_session_transcode, &f.state));
}

static int end(void **state)
{
    (void)state;
    model_output_free(&f.out);
    model_lane_free(f.lane);
    f.lane = NULL;
    return 0;
}

/* A segment of any bytes, at an offset of the stream. */
static void send_bytes(size_t from, const uint8_t *payload, size_t bytes, uint8_t flags)
{
    const struct trace_packet p = {.flow = f.flow,
                                   .seq = seq_at(from),
                                   .ack = 1000,
                                   .tcp_flags = flags,
                                   .window = 100,
                                   .payload = payload,
                                   .payload_bytes = bytes,
                                   .filler = {1}};
    const struct model_input in = {.frame = frame, .bytes = trace_build(&p, frame)};
    model_packet(f.lane, &in, &f.out);
}

static void send(size_t from, size_t to)
{
    send_bytes(from, f.in + from, to - from, 16);
}

static void expect_forward(size_t from, size_t to)
{
    assert_int_equal(f.out.verdict, model_verdict_forward);
    const struct model_headers h = model_parse(f.out.frame, f.out.frame_bytes, false);
    assert_int_equal(h.reason, model_reason_none);
    assert_int_equal(h.seq, seq_at(from) + deltas);
    assert_int_equal(h.ack, 1000 + deltas);
    assert_int_equal((f.out.frame[h.l4 + 14] << 8 | f.out.frame[h.l4 + 15]), 400);
    assert_int_equal(h.payload_bytes, to - from);
    assert_memory_equal(f.out.frame + h.payload, f.leaves + from, to - from);
}

static void expect_punt(enum model_reason reason)
{
    assert_int_equal(f.out.verdict, model_verdict_punt);
    assert_int_equal(f.out.punt.reason, reason);
    assert_int_equal(f.out.punt.index, index_of);
    assert_int_equal(f.out.events_count, 0);
    assert_int_equal(f.out.mirrors_count, 0);
    assert_memory_equal(f.out.frame, frame, f.out.frame_bytes);
}

static void expect_event(size_t i, enum model_event_kind kind, uint16_t detail, uint64_t open_seq)
{
    assert_true(i < f.out.events_count);
    assert_int_equal(f.out.events[i].kind, kind);
    assert_int_equal(f.out.events[i].detail, detail);
    assert_int_equal(f.out.events[i].open_seq, open_seq);
    assert_int_equal(f.out.events[i].flow, 0xf1);
}

static void pass(size_t from, size_t to)
{
    send(from, to);
    expect_forward(from, to);
}

/* One record over three segments: header split, tag split. */
static void test_three_segments(void **state)
{
    (void)state;
    for (int tls13 = 0; tls13 <= 1; tls13++) {
        begin(tls13, NULL);
        add_data(1000);
        pass(0, 3);
        pass(3, 500);
        assert_int_equal(f.out.mirrors_count, 1);
        assert_int_equal(f.out.mirrors[0].offset, 0);
        assert_int_equal(f.out.mirrors[0].bytes, tls13 ? 495 : 487);
        assert_int_equal(f.out.mirrors[0].verdict, model_mirror_open);
        pass(500, f.bytes - 7);
        pass(f.bytes - 7, f.bytes);
        assert_int_equal(f.out.mirrors_count, 1);
        const struct model_mirror *const m = &f.out.mirrors[0];
        assert_int_equal(m->verdict, model_mirror_verified);
        assert_int_equal(m->type, 23);
        assert_int_equal(m->text_bytes, tls13 ? 1001 : 1000);
        assert_int_equal(m->tcp_seq, f.isn);
        assert_int_equal(m->open_seq, 5);
        assert_memory_equal(m->tag, f.leaves + f.bytes - 16, 16);
        end(NULL);
    }
}

static void test_three_records(void **state)
{
    (void)state;
    for (int tls13 = 0; tls13 <= 1; tls13++) {
        begin(tls13, NULL);
        add_data(0);
        add_data(300);
        add_data(1);
        pass(0, f.bytes);
        unsigned verdicts = 0;
        for (size_t i = 0; i < f.out.mirrors_count; i++)
            verdicts += f.out.mirrors[i].verdict == model_mirror_verified;
        assert_int_equal(verdicts, 3);
        end(NULL);
    }
}

/* Each byte a segment; and a record of the largest size. */
static void test_single_bytes(void **state)
{
    (void)state;
    for (int tls13 = 0; tls13 <= 1; tls13++) {
        begin(tls13, NULL);
        add_data(40);
        add_record(21, "\1\0", 2, tls13 ? 20 : 0);
        for (size_t i = 0; i < f.bytes; i++)
            pass(i, i + 1);
        assert_int_equal(f.out.events_count, 1);
        expect_event(0, model_event_alert, 0x100, 6);
        const size_t at = f.bytes;
        add_data(1 << 14);
        pass(at, at + 9000);
        pass(at + 9000, f.bytes);
        end(NULL);
    }
}

static void test_retransmission(void **state)
{
    (void)state;
    for (int tls13 = 0; tls13 <= 1; tls13++) {
        begin(tls13, NULL);
        for (unsigned i = 0; i < 4; i++)
            add_data(100 + i);
        pass(0, f.start[3] + 50);
        pass(f.start[1], f.start[3] + 50); /* all of what is known */
        pass(f.start[1] + 3, f.start[1] + 4);
        pass(f.start[2] - 10, f.start[2] + 10);
        pass(f.start[3] + 20, f.start[3] + 40);
        assert_int_equal(f.out.mirrors_count, 0);
        send(f.start[1] - 1, f.start[3]);
        expect_punt(model_reason_old);
        assert_int_equal(f.out.punt.next, seq_at(f.start[3] + 50));
        assert_int_equal(f.out.punt.record_start, seq_at(f.start[3]));
        assert_int_equal(f.out.punt.open_seq, 8);
        assert_int_equal(f.out.punt.seal_seq, 12);
        send(0, f.bytes);
        expect_punt(model_reason_old);
        pass(f.start[2], f.bytes); /* the end is new */
        assert_int_equal(f.out.mirrors_count, 2);
        end(NULL);
    }
}

/* G11, G12: the first copy of a byte counts; another one leaves with the difference it came with. */
static void test_different_bytes(void **state)
{
    (void)state;
    begin(true, NULL);
    add_data(500);
    pass(0, 300);
    uint8_t other[450];
    memcpy(other, f.in, sizeof other);
    other[0] ^= 1; /* header, */
    other[3] ^= 2;
    other[100] ^= 0x55; /* text */
    send_bytes(0, other, sizeof other, 16);
    f.leaves[0] ^= 1;
    f.leaves[3] ^= 2;
    f.leaves[100] ^= 0x55;
    expect_forward(0, sizeof other);
    assert_int_equal(f.out.mirrors_count, 1);
    assert_int_equal(f.out.mirrors[0].offset, 295);
    assert_int_equal(f.out.mirrors[0].bytes, 150);
    pass(450, f.bytes);
    assert_int_equal(f.out.mirrors[f.out.mirrors_count - 1].verdict, model_mirror_verified);
    memcpy(other, f.in + f.bytes - 16, 16);
    other[5] ^= 1; /* a tag byte, again: the true one leaves */
    send_bytes(f.bytes - 16, other, 16, 16);
    expect_forward(f.bytes - 16, f.bytes);
}

/* G6: tag bytes leave as long as theirs are right, then poison, and nothing behind it. */
static void test_bad_tag(void **state)
{
    (void)state;
    static const struct {
        size_t wrong, first; /* tag byte; how many tag bytes are in the segment before */
    } table[] = {{0, 0}, {15, 0}, {7, 7}, {7, 3}, {15, 15}, {0, 0}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        begin(i % 2 == 0, NULL);
        add_data(100);
        add_data(100);
        const size_t tag = f.start[1] - 16;
        f.in[tag + table[i].wrong] ^= 0x80;
        pass(0, tag + table[i].first);
        send(tag + table[i].first, f.bytes);
        assert_int_equal(f.out.verdict, model_verdict_forward);
        const struct model_headers h = model_parse(f.out.frame, f.out.frame_bytes, false);
        assert_int_equal(h.reason, model_reason_none);
        /* The payload begins in the tag: right up to the beat of the wrong byte, zero from there on. */
        const size_t beat = (h.payload + table[i].wrong - table[i].first) / 64 * 64;
        for (size_t k = 0; k < h.payload_bytes; k++)
            assert_int_equal(f.out.frame[h.payload + k], h.payload + k < beat ? f.leaves[tag + table[i].first + k] : 0);
        assert_int_equal(f.out.mirrors_count, 1);
        assert_int_equal(f.out.mirrors[0].verdict, model_mirror_bad);
        assert_int_equal(f.out.events_count, 1);
        expect_event(0, model_event_bad_tag, 0, 5);
        send(f.start[1], f.bytes);
        expect_punt(model_reason_dead);
        assert_false(f.out.punt.numbers);
        send_bytes(f.bytes, NULL, 0, 16); /* without payload */
        expect_forward(f.bytes, f.bytes);
        end(NULL);
    }
}

/* Ciphertext, additional data, nonce: each makes the tag wrong. */
static void test_forged(void **state)
{
    (void)state;
    for (int tls13 = 0; tls13 <= 1; tls13++)
        for (size_t at = 5; at < 60; at += 6) {
            begin(tls13, NULL);
            add_data(100);
            f.in[at] ^= 4;
            send(0, f.bytes);
            assert_int_equal(f.out.verdict, model_verdict_forward);
            assert_int_equal(f.out.events_count, 1);
            expect_event(0, model_event_bad_tag, 0, 5);
            end(NULL);
        }
}

static void test_bad_record(void **state)
{
    (void)state;
    static const struct {
        bool tls13;
        uint8_t header[5];
        uint16_t detail; /* 0: good */
    } table[] = {
        {true, {23, 3, 3, 0, 17}, 0},
        {true, {23, 3, 3, 0, 16}, 23 << 8 | 4},
        {true, {22, 3, 3, 0, 17}, 22 << 8},
        {true, {21, 3, 3, 0, 17}, 21 << 8},
        {true, {23, 3, 3, 0x40, 17}, 0},
        {true, {23, 3, 3, 0x40, 18}, 23 << 8 | 4},
        {true, {23, 2, 3, 0, 17}, 23 << 8 | 1},
        {true, {23, 3, 1, 0, 17}, 23 << 8 | 2},
        {false, {23, 3, 3, 0, 24}, 0},
        {false, {21, 3, 3, 0, 26}, 0},
        {false, {22, 3, 3, 0, 24}, 22 << 8},
        {false, {20, 3, 3, 0, 24}, 20 << 8},
        {false, {23, 3, 3, 0, 23}, 23 << 8 | 4},
        {false, {23, 3, 3, 0x40, 24}, 0},
        {false, {23, 3, 3, 0x40, 25}, 23 << 8 | 4},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        begin(table[i].tls13, NULL);
        add_data(10); /* in front of it, in the same packet: its verdict is told */
        memcpy(f.in + f.bytes, table[i].header, 5);
        memcpy(f.leaves + f.bytes, table[i].header, 5);
        send(0, f.bytes + 5);
        assert_int_equal(f.out.mirrors[f.out.mirrors_count - 1].verdict, model_mirror_verified);
        if (table[i].detail == 0) {
            expect_forward(0, f.bytes + 5);
        } else {
            assert_int_equal(f.out.verdict, model_verdict_drop);
            assert_int_equal(f.out.events_count, 1);
            expect_event(0, model_event_bad_record, table[i].detail, 6);
            assert_int_equal(f.out.events[0].tcp_seq, seq_at(f.bytes));
            send(0, 10);
            expect_punt(model_reason_dead);
        }
        end(NULL);
    }
}

/* What a verified record may be. */
static void test_content(void **state)
{
    (void)state;
    static const struct {
        bool tls13;
        uint8_t type;
        const char *content;
        size_t bytes, padding;
        enum model_event_kind event; /* 0: none */
        uint16_t detail;
    } table[] = {
        {true, 23, "", 0, 0, 0, 0},
        {true, 23, "\0\0", 2, 5, 0, 0},
        {true, 21, "\1\0", 2, 3, model_event_alert, 0x100},
        {true, 21, "\2\x28", 2, 0, model_event_alert, 0x228},
        {true, 21, "\1", 1, 0, model_event_unexpected, 21},
        {true, 21, "\1\0\0", 3, 0, model_event_unexpected, 21},
        {true, 22, "\4\0\0\1\0", 5, 9, model_event_handshake, 0},
        {true, 22, "\x18\0\0\1\2", 5, 0, model_event_handshake, 0},
        {true, 22, "\0\0\1\0", 4, 0, model_event_handshake, 0},
        {true, 22, "", 0, 0, model_event_unexpected, 22},
        {true, 22, "\x18\0\0\1\0", 5, 0, model_event_key_update, 0},
        {true, 22, "\x18\0\0\1\1", 5, 400, model_event_key_update, 0},
        {true, 22, "\4\0\0\1\7\x18\0\0\1\0", 10, 0, model_event_key_update, 0},
        {true, 20, "\1", 1, 0, model_event_unexpected, 20},
        {true, 0, "\0\0\0", 3, 0, model_event_unexpected, 0},
        {false, 23, "", 0, 0, 0, 0},
        {false, 21, "\2\x28", 2, 0, model_event_alert, 0x228},
        {false, 21, "", 0, 0, model_event_unexpected, 21},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        begin(table[i].tls13, NULL);
        add_record(table[i].type, table[i].content, table[i].bytes, table[i].padding);
        send(0, f.bytes);
        assert_int_equal(f.out.verdict, model_verdict_forward);
        assert_int_equal(f.out.events_count, table[i].event != 0);
        if (table[i].event != 0)
            expect_event(0, table[i].event, table[i].detail, 5);
        const bool good = table[i].event != model_event_unexpected;
        const struct model_mirror *const m = &f.out.mirrors[f.out.mirrors_count - 1];
        assert_int_equal(m->verdict, good ? model_mirror_verified : model_mirror_bad);
        assert_int_equal(m->type, good ? table[i].type : 0);
        if (good)
            expect_forward(0, f.bytes);
        else
            assert_memory_not_equal(f.out.frame + 54 + f.bytes - 16, f.leaves + f.bytes - 16, 16);
        end(NULL);
    }
}

static void add_key_update(uint8_t seed)
{
    add_record(22, "\x18\0\0\1\0", 5, 0);
    set_keys(&f.keys, seed);
    f.open_seq = 0;
    f.seal_seq = 0;
}

static void test_key_update(void **state)
{
    (void)state;
    begin(true, NULL);
    add_data(50);
    add_key_update(0x51);
    const size_t first = f.bytes;
    add_data(60);
    const size_t all = f.bytes;
    /* Payload behind it: squashed, but the KeyUpdate counts. */
    send(0, all);
    assert_int_equal(f.out.verdict, model_verdict_drop);
    assert_int_equal(f.out.events_count, 2);
    expect_event(0, model_event_key_update, 0, 6);
    expect_event(1, model_event_squashed, 0, 0);
    assert_int_equal(f.out.events[1].tcp_seq, f.isn);
    struct model_session_view v;
    assert_true(model_session_get(f.lane, index_of, &v));
    assert_int_equal(v.next, seq_at(first));
    assert_int_equal(v.epoch, 1);
    assert_int_equal(v.set, 1);
    assert_true(v.previous);
    pass(0, all); /* again: old keys, then new ones */
    pass(first - 10, first + 10);
    /* No next keys: wait. */
    add_key_update(0x91);
    add_data(70);
    const size_t second = f.start[4];
    pass(all, second);
    assert_int_equal(f.out.events_count, 2);
    expect_event(0, model_event_key_update, 0, 1);
    expect_event(1, model_event_key_wait, 0, 0);
    assert_int_equal(f.out.events[1].tcp_seq, seq_at(second));
    assert_int_equal(f.out.events[1].epoch, 2);
    send(second, f.bytes);
    expect_punt(model_reason_key_wait);
    send(second - 5, f.bytes);
    expect_punt(model_reason_key_wait);
    send(second + 5, f.bytes);
    expect_punt(model_reason_ahead);
    pass(second - 5, second); /* not fresh */
    pass(f.start[2], f.start[3]);
    send(f.start[1], f.start[2]);
    expect_punt(model_reason_old); /* of the epoch before the previous one */
    struct key_set keys;
    set_keys(&keys, 0x91);
    assert_true(model_session_keys(f.lane, index_of, 0, &keys));
    pass(second - 5, f.bytes);
    /* Next keys take the place of the previous ones. */
    set_keys(&keys, 0xd1);
    assert_true(model_session_keys(f.lane, index_of, 1, &keys));
    send(second - 1, f.bytes);
    expect_punt(model_reason_old);
    pass(second, f.bytes);
    const size_t third = f.bytes;
    add_key_update(0xd1);
    add_data(10);
    pass(third, f.start[6]);
    pass(f.start[6], f.bytes);
    assert_false(model_session_keys(f.lane, index_of, 1, &keys)); /* in use */
}

static void test_squashed(void **state)
{
    (void)state;
    begin(true, &(struct model_lane_options){.squash_window = 4});
    add_data(50);
    add_key_update(0x51);
    add_data(50);
    for (unsigned i = 0; i < 8; i++) {
        const struct trace_packet p = {.flow = f.flow,
                                       .seq = seq_at(f.start[2]),
                                       .tcp_flags = 16,
                                       .payload = f.in + f.start[2],
                                       .payload_bytes = 20,
                                       .filler = {1}};
        if (i == 2)
            pass(0, f.start[2]);
        const struct model_input in = {.frame = frame, .bytes = trace_build(&p, frame), .squashed = true};
        model_packet(f.lane, &in, &f.out);
        assert_int_equal(f.out.illegal, i < 2 || i > 5);
        if (!f.out.illegal)
            expect_event(0, model_event_squashed, 0, 0);
    }
    pass(f.start[2], f.bytes); /* nothing has changed */
}

static void test_ahead(void **state)
{
    (void)state;
    for (int tls13 = 0; tls13 <= 1; tls13++) {
        begin(tls13, NULL);
        add_data(1000);
        add_data(100);
        const size_t text_end = f.start[1] - 16;
        send(10, 20);
        expect_punt(model_reason_ahead); /* no header yet */
        pass(0, 4);
        send(10, 20);
        expect_punt(model_reason_ahead);
        pass(4, 5);
        send(20, 30);
        if (tls13) {
            expect_forward(20, 30);
        } else {
            expect_punt(model_reason_ahead); /* nor the nonce */
            pass(5, 13);
            pass(20, 30);
        }
        assert_int_equal(f.out.mirrors_count, 1);
        send(31, 40);
        expect_punt(model_reason_ahead); /* a second range */
        pass(30, 200);
        pass(tls13 ? 5 : 13, 15); /* from behind */
        pass(8, 25);              /* into the range: next goes to its end */
        assert_int_equal(f.out.mirrors_count, 1);
        assert_int_equal(f.out.mirrors[0].bytes, 5);
        struct model_session_view v;
        assert_true(model_session_get(f.lane, index_of, &v));
        assert_int_equal(v.next, seq_at(200));
        assert_false(v.ahead);
        send(210, text_end + 1);
        expect_punt(model_reason_ahead); /* the tag */
        pass(210, text_end);
        send(text_end, f.bytes);
        expect_punt(model_reason_ahead);
        pass(150, f.bytes); /* over all of it, both tags included */
        end(NULL);
    }
    begin(true, NULL);
    add_data(256 - 18);
    pass(0, 5);
    send(10, 20);
    expect_punt(model_reason_ahead); /* a fragment of 255 bytes */
    end(NULL);
    begin(true, NULL);
    add_data(256 - 17);
    pass(0, 5);
    pass(10, 20);
    send_bytes(0x7fffffff, f.in, 10, 16); /* from here, end is before next */
    expect_punt(model_reason_ahead);
}

/* TLS 1.2: when nonces do not count up, the card does not know the finished records' any more. */
static void test_nonces(void **state)
{
    (void)state;
    begin(false, NULL);
    add_data(10);
    add_data(10);
    f.nonce += 1000;
    add_data(10);
    add_data(10);
    pass(0, f.start[2] + 11);
    pass(0, 10); /* the bytes that have come might be those of one that counts up */
    pass(f.start[2] + 11, f.start[3]);
    send(f.start[1], f.start[2]);
    expect_punt(model_reason_old);
    pass(f.start[2], f.bytes);
    pass(f.start[2], f.bytes);
}

static void test_seal_limit(void **state)
{
    (void)state;
    begin(true, &(struct model_lane_options){.seal_limit = 9 + 512});
    add_data(300);
    add_data(300);
    pass(0, f.start[1] + 10);
    pass(0, f.start[1]);
    send(f.start[1] + 10, f.bytes);
    expect_punt(model_reason_seal_limit);
    send(f.start[1] + 20, f.start[1] + 30); /* would be taken ahead */
    expect_punt(model_reason_seal_limit);
}

static void test_control(void **state)
{
    (void)state;
    begin(true, NULL);
    add_data(50);
    send_bytes(0, f.in, 20, 1 | 16);
    expect_forward(0, 20);
    expect_event(0, model_event_fin, 0, 0);
    send_bytes(20, NULL, 0, 1 | 4 | 16);
    expect_forward(20, 20);
    assert_int_equal(f.out.events_count, 1);
    expect_event(0, model_event_rst, 0, 0);
    assert_int_equal(f.out.events[0].tcp_seq, seq_at(20));
    send_bytes(20, f.in + 20, 5, 2);
    expect_punt(model_reason_tcp_control);
    send_bytes(20, f.in + 20, 5, 32 | 16);
    expect_punt(model_reason_tcp_control);
    struct model_session_view v;
    assert_true(model_session_get(f.lane, index_of, &v));
    assert_int_equal(v.packets, 2);
    assert_int_equal(v.bytes, 54 + 20 + 54);
    assert_true(model_session_action(f.lane, index_of, model_action_session_hold));
    send(20, 30);
    expect_punt(model_reason_hold);
    assert_true(model_session_action(f.lane, index_of, model_action_session_forward));
    send(40, 50);
    memcpy(f.leaves + 40, f.in + 40, 10);
    expect_forward(40, 50);
    assert_true(model_session_remove(f.lane, index_of));
    send(20, 30);
    assert_int_equal(f.out.punt.reason, model_reason_rule);
    assert_int_equal(f.out.punt.rule, model_rules_max);
    assert_true(model_rule_default(f.lane, model_action_drop));
    send(20, 30);
    assert_int_equal(f.out.verdict, model_verdict_drop);
    struct model_rule rule = {.src = {10},
                              .src_mask = {255},
                              .sport_max = 65535,
                              .dport_min = 443,
                              .dport_max = 443,
                              .proto = 6,
                              .action = model_action_forward};
    assert_true(model_rule_set(f.lane, 255, &rule));
    send(20, 30);
    assert_int_equal(f.out.verdict, model_verdict_forward);
    assert_memory_equal(f.out.frame, frame, f.out.frame_bytes);
    rule.action = model_action_punt;
    rule.src[0] = 11;
    assert_true(model_rule_set(f.lane, 0, &rule));
    send(20, 30);
    assert_int_equal(f.out.rule, 255);
    rule.src_mask[0] = 0xfe;
    assert_true(model_rule_set(f.lane, 0, &rule));
    send(20, 30);
    assert_int_equal(f.out.punt.rule, 0);
    assert_false(model_rule_set(f.lane, 256, &rule));
}

/* Finished records that the host knows of when it installs the session. */
static void test_installed_ring(void **state)
{
    (void)state;
    for (int tls13 = 0; tls13 <= 1; tls13++) {
        begin(tls13, NULL);
        add_data(30);
        add_data(40);
        add_data(50);
        assert_true(model_session_remove(f.lane, index_of));
        struct track_state *const t = &f.state.track;
        t->next = t->record_start = seq_at(f.start[2]);
        t->open_seq[0] = 7;
        t->seal_seq = 11;
        t->old_open_seq += 2;
        t->ring[0] = (uint16_t)(f.start[2] - f.start[1]);
        t->ring[1] = (uint16_t)f.start[1];
        t->ring_new = 2;
        memcpy(f.state.finish.ring_tag[0], f.leaves + f.start[2] - 16, 16);
        memcpy(f.state.finish.ring_tag[1], f.leaves + f.start[1] - 16, 16);
        if (!tls13)
            t->old_seal_seq += t->old_open_seq < 2; /* carry */
        assert_true(model_session_add(f.lane, index_of, &f.flow, model_action_session_transcode, &f.state));
        pass(0, f.bytes);
        end(NULL);
    }
}

/* The receiver itself: any order, overlaps, a refused record, keys that come later. */
static void test_receiver(void **state)
{
    (void)state;
    struct model_record record;
    begin(true, NULL);
    const struct key_set first = f.keys;
    add_data(100);
    add_key_update(0x51);
    const struct key_set second = f.keys;
    add_data(200);
    struct model_receiver *r = model_receiver_new(true, f.isn, 9, &first);
    model_receiver_bytes(r, f.isn + 50, f.leaves + 50, f.bytes - 50);
    assert_int_equal(model_receiver_ack(r), f.isn);
    assert_false(model_receiver_next(r, &record));
    model_receiver_bytes(r, f.isn, f.leaves, 60);
    assert_int_equal(model_receiver_ack(r), seq_at(f.bytes));
    assert_true(model_receiver_next(r, &record));
    assert_int_equal(record.content_bytes, 100);
    assert_true(model_receiver_next(r, &record));
    assert_int_equal(record.type, 22);
    assert_true(model_receiver_wants_keys(r));
    assert_false(model_receiver_next(r, &record));
    model_receiver_keys(r, &second);
    assert_true(model_receiver_next(r, &record));
    assert_int_equal(record.epoch, 1);
    assert_false(model_receiver_next(r, &record));
    assert_false(model_receiver_refused(r));
    model_receiver_bytes(r, seq_at(f.bytes), f.in, 200); /* the other side's bytes */
    assert_false(model_receiver_next(r, &record));
    assert_true(model_receiver_refused(r));
    model_receiver_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_three_segments),
        cmocka_unit_test(test_three_records),
        cmocka_unit_test(test_single_bytes),
        cmocka_unit_test(test_retransmission),
        cmocka_unit_test_teardown(test_different_bytes, end),
        cmocka_unit_test(test_bad_tag),
        cmocka_unit_test(test_forged),
        cmocka_unit_test(test_bad_record),
        cmocka_unit_test(test_content),
        cmocka_unit_test_teardown(test_key_update, end),
        cmocka_unit_test_teardown(test_squashed, end),
        cmocka_unit_test_teardown(test_ahead, end),
        cmocka_unit_test_teardown(test_nonces, end),
        cmocka_unit_test_teardown(test_seal_limit, end),
        cmocka_unit_test_teardown(test_control, end),
        cmocka_unit_test(test_installed_ring),
        cmocka_unit_test_teardown(test_receiver, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
