/* SPDX-License-Identifier: Apache-2.0 */
/* What the transcoder does about alerts, handshake messages, forgeries, limits and verdicts; and its life cycle. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "flow.h"
#include "rfc8448.h"

enum { BIG = 12000 }; /* content of a record that is cut through when it comes in parts */

static uint8_t in[200000], out[200000], content[16384];
static struct ref_opened opened;

/* Three ways through: whole, held, cut through (hold limit 1). Pieces are shorter than the shortest record, so that none lies whole
 * in one. */
static const struct way {
    const char *name;
    struct cut cut;
    size_t hold_limit;
    bool cuts_through;
} ways[] = {{"whole", {0, 0}, 0, false}, {"held", {20, 0}, SL_TRANSCODER_HOLD_ALL, false}, {"cut-through", {20, 0}, 1, true}};
enum { WAYS = 3 };

static struct flow flow_for(const struct way *way, bool from_server)
{
    struct flow f = {.options = {.hold_limit = way->hold_limit, .from_server = from_server}};
    flow_watch(&f);
    return f;
}

static sl_err run(struct flow *f, const struct way *way, size_t len, size_t *out_len)
{
    uint64_t rnd = 3;
    return flow_run(f, in, len, way->cut, &rnd, out, sizeof(out), out_len);
}

static struct sl_transcoder_status status_of(const struct flow *f)
{
    struct sl_transcoder_status s;
    sl_transcoder_status(f->t, &s);
    return s;
}

/* The rest of a dead transcoder's behaviour: the same error for ever, no bytes, and no export. */
static void expect_dead(struct flow *f, sl_err err)
{
    static struct sl_record_half a, b;
    size_t consumed, produced;
    assert_int_equal(status_of(f).dead, err);
    assert_int_equal(sl_transcoder_feed(f->t, in, 100, out + 150000, 1000, &consumed, &produced), err);
    assert_int_equal(consumed, 0);
    assert_int_equal(produced, 0);
    assert_int_equal(sl_transcoder_export(f->t, &a, &b), SL_ERR_STATE);
}

/* After a failure at a boundary the receiver is told by an alert of our own; after one in mid-record only a reset is left. */
static void expect_alert_possible(struct flow *f, bool possible)
{
    uint8_t alert[SL_TRANSCODER_OWN_RECORD_MAX];
    size_t n;
    assert_int_equal(status_of(f).out_boundary, possible);
    sl_err err = sl_transcoder_seal_alert(f->t, SL_TLS_ALERT_FATAL, SL_TLS_BAD_RECORD_MAC, alert, sizeof(alert), &n);
    assert_int_equal(err, possible ? SL_OK : SL_ERR_STATE);
    if (!possible)
        return;
    ref_open(&f->receiver, alert, n, &opened);
    assert_true(opened.ok);
    assert_int_equal(opened.type, SL_TLS_ALERT);
    assert_memory_equal(opened.content, "\2\x14", 2);
    assert_int_equal(sl_transcoder_seal_alert(f->t, 2, 20, alert, sizeof(alert), &n), SL_ERR_STATE);
}

/* ---- forgeries ---- */

/* G6, G7: any flipped bit anywhere after the header; a good record before it passes; no callback for the bad one; what leaves of it
 * is never genuine. */
static void test_G6_G7_flipped_bit(void **state)
{
    (void)state;
    uint64_t rnd = 1;
    for (size_t w = 0; w < WAYS; w++) {
        for (int i = 0; i < 60; i++) {
            const bool tls13 = i % 2;
            struct flow f = flow_for(&ways[w], false);
            size_t out_len;
            flow_open(&f, tls13 ? 0x1301 : 0xc02f, tls13 ? 0x1301 : 0xc02f);
            ref_fill(&rnd, content, BIG);
            size_t good = ref_seal(&f.sender, 23, content, 500, 0, in);
            size_t bad = ref_seal(&f.sender, 23, content, i < 4 ? (size_t)i : ref_below(&rnd, BIG), 0, in + good);
            in[good + 5 + ref_below(&rnd, bad - 5)] ^= (uint8_t)(1 << ref_below(&rnd, 8));
            assert_int_equal(run(&f, &ways[w], good + bad, &out_len), SL_ERR_ALERT(SL_TLS_BAD_RECORD_MAC));
            assert_int_equal(f.seen_count, 1);
            assert_int_equal(f.plain_calls, 1);
            ref_open(&f.receiver, out, out_len, &opened);
            assert_true(opened.ok);
            if (ways[w].cuts_through) {
                assert_int_equal(out_len, good + bad);
                struct ref receiver = f.receiver;
                ref_open(&f.receiver, out + good, out_len - good, &opened);
                assert_false(opened.ok);
                /* The poisoned tag says nothing of the right one: it is a constant, not a function of it. */
                for (size_t b = out_len - 16; b < out_len; b++)
                    assert_int_equal(out[b], 0);
                for (size_t b = out_len - 16; b < out_len; b++)
                    out[b] = 0xff;
                ref_open(&receiver, out + good, out_len - good, &opened);
                assert_false(opened.ok);
            } else {
                assert_int_equal(out_len, good);
            }
            expect_alert_possible(&f, !ways[w].cuts_through);
            expect_dead(&f, SL_ERR_ALERT(SL_TLS_BAD_RECORD_MAC));
            flow_close(&f);
        }
    }
}

/* G6: replayed, reordered and omitted records are forgeries. */
static void test_G6_replay_reorder(void **state)
{
    (void)state;
    for (size_t w = 0; w < WAYS; w++) {
        for (int i = 0; i < 3; i++) {
            struct flow f = flow_for(&ways[w], false);
            size_t out_len, a, b;
            flow_open(&f, 0x1301, 0x1301);
            a = ref_seal(&f.sender, 23, content, 100, 0, in);
            if (i == 0) {
                memcpy(in + a, in, a); /* replay */
                b = a;
            } else {
                f.sender.seq += i == 1 ? 1 : UINT64_MAX; /* one left out; one number twice */
                b = ref_seal(&f.sender, 23, content, 100, 0, in + a);
            }
            assert_int_equal(run(&f, &ways[w], a + b, &out_len), SL_ERR_ALERT(SL_TLS_BAD_RECORD_MAC));
            assert_int_equal(f.seen_count, 1);
            flow_close(&f);
        }
    }
}

/* G9: every byte of the header is covered by the tag, or refused before. */
static void test_G9_header(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint8_t value;
        sl_err err;
    } cases[] = {
        {0, 20, SL_ERR_ALERT(10)}, {0, 21, SL_ERR_ALERT(10)}, {0, 22, SL_ERR_ALERT(10)}, {0, 24, SL_ERR_ALERT(10)},
        {1, 2, SL_ERR_ALERT(50)},  {2, 1, SL_ERR_ALERT(50)},  {2, 4, SL_ERR_ALERT(50)},  {3, 0x7f, SL_ERR_ALERT(22)},
        {4, 10, SL_ERR_ALERT(20)}, {4, 0, SL_ERR_ALERT(20)},
    };
    for (size_t w = 0; w < WAYS; w++) {
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            struct flow f = flow_for(&ways[w], false);
            size_t out_len;
            flow_open(&f, 0x1301, 0x1301);
            size_t len = ref_seal(&f.sender, 23, content, 100, 0, in);
            in[cases[i].at] = cases[i].value;
            assert_int_equal(run(&f, &ways[w], len, &out_len), cases[i].err);
            assert_int_equal(out_len, 0);
            expect_alert_possible(&f, true);
            flow_close(&f);
        }
    }
}

/* G9 in TLS 1.2: the type is in the additional data; application data declared as an alert, and the reverse. */
static void test_G9_tls12_type(void **state)
{
    (void)state;
    for (uint8_t type = 20; type <= 22; type++) {
        struct flow f = flow_for(&ways[1], false);
        size_t out_len;
        flow_open(&f, 0xc02f, 0xc02f);
        size_t len = ref_seal(&f.sender, 23, content, 2, 0, in);
        in[0] = type;
        assert_int_equal(run(&f, &ways[1], len, &out_len), SL_ERR_ALERT(SL_TLS_BAD_RECORD_MAC));
        flow_close(&f);
    }
}

/* G10, G15: lengths. The largest records pass; one byte more is record_overflow from the header alone. */
static void test_G10_G15_lengths(void **state)
{
    (void)state;
    static const uint16_t suites[] = {0x1302, 0xc030};
    for (size_t w = 0; w < WAYS; w++) {
        for (int i = 0; i < 2; i++) {
            struct flow f = flow_for(&ways[w], false);
            size_t out_len;
            flow_open(&f, suites[i], suites[i]);
            size_t len = ref_seal(&f.sender, 23, content, 16384, 0, in);
            assert_int_equal(run(&f, &ways[w], len, &out_len), SL_OK);
            assert_int_equal(out_len, len);
            const size_t fragment = len - 5 + 1;
            const uint8_t header[5] = {23, 3, 3, (uint8_t)(fragment >> 8), (uint8_t)fragment};
            memcpy(in, header, 5);
            assert_int_equal(run(&f, &ways[w], 5, &out_len), SL_ERR_ALERT(SL_TLS_RECORD_OVERFLOW));
            assert_int_equal(out_len, 0);
            flow_close(&f);
        }
    }
}

/* G10: an inner plaintext of zeros alone. */
static void test_G10_all_zero(void **state)
{
    (void)state;
    static const size_t zeros[] = {0, 1, 100, 5000};
    for (size_t w = 0; w < WAYS; w++) {
        for (size_t i = 0; i < 4; i++) {
            struct flow f = flow_for(&ways[w], false);
            size_t out_len;
            flow_open(&f, 0x1301, 0x1301);
            size_t len = ref_seal(&f.sender, 0, NULL, 0, zeros[i], in);
            assert_int_equal(run(&f, &ways[w], len, &out_len), SL_ERR_ALERT(SL_TLS_UNEXPECTED_MESSAGE));
            assert_int_equal(f.seen_count, 0);
            expect_alert_possible(&f, !ways[w].cuts_through);
            flow_close(&f);
        }
    }
}

/* ---- types ---- */

static const struct {
    const char *name;
    bool tls13, from_server;
    uint8_t type;
    const char *bytes;
    size_t len;
    sl_err err;
} types[] = {
    {"1.3 change_cipher_spec inside", true, false, 20, "\1", 1, SL_ERR_ALERT(10)},
    {"1.3 heartbeat", true, false, 24, "x", 1, SL_ERR_ALERT(10)},
    {"1.3 unknown", true, false, 99, "x", 1, SL_ERR_ALERT(10)},
    {"1.3 empty handshake", true, false, 22, "", 0, SL_ERR_ALERT(10)},
    {"1.3 empty alert", true, false, 21, "", 0, SL_ERR_ALERT(10)},
    {"1.3 empty data", true, false, 23, "", 0, SL_OK},
    {"1.3 alert of 1", true, false, 21, "\1", 1, SL_ERR_ALERT(50)},
    {"1.3 alert of 3", true, false, 21, "\1\0\0", 3, SL_ERR_ALERT(50)},
    {"1.3 ticket of a client", true, false, 22, "\4\0\0\x10", 4, SL_ERR_ALERT(10)},
    {"1.3 client hello", true, false, 22, "\1\0\0\4abcd", 8, SL_ERR_ALERT(10)},
    {"1.3 certificate request", true, true, 22, "\x0d\0\0\4abcd", 8, SL_ERR_ALERT(10)},
    {"1.3 update of 2", true, true, 22, "\x18\0\0\2\0\0", 6, SL_ERR_ALERT(50)},
    {"1.3 update 2", true, true, 22, "\x18\0\0\1\2", 5, SL_ERR_ALERT(47)},
    {"1.3 update and more", true, true, 22, "\x18\0\0\1\0\x18", 6, SL_ERR_ALERT(10)},
    {"1.2 hello request", false, true, 22, "\0\0\0\0", 4, SL_ERR_ALERT(100)},
    {"1.2 client hello", false, false, 22, "\1\0\0\4abcd", 8, SL_ERR_ALERT(100)},
    {"1.2 finished", false, false, 22, "\x14\0\0\0", 4, SL_ERR_ALERT(10)},
    {"1.2 empty handshake", false, false, 22, "", 0, SL_ERR_ALERT(10)},
    {"1.2 change_cipher_spec", false, false, 20, "\1", 1, SL_ERR_ALERT(10)},
    {"1.2 empty alert", false, false, 21, "", 0, SL_ERR_ALERT(10)},
    {"1.2 alert of 3", false, false, 21, "\1\0\0", 3, SL_ERR_ALERT(50)},
    {"1.2 empty data", false, false, 23, "", 0, SL_OK},
};

static void test_G10_types(void **state)
{
    (void)state;
    for (size_t w = 0; w < WAYS; w++) {
        for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
            for (size_t padding = 0; padding <= (types[i].tls13 ? 600u : 0u); padding += 600) {
                struct flow f = flow_for(&ways[w], types[i].from_server);
                const uint16_t suite = types[i].tls13 ? 0x1301 : 0xc02f;
                size_t out_len;
                flow_open(&f, suite, suite);
                size_t len = ref_seal(&f.sender, types[i].type, (const uint8_t *)types[i].bytes, types[i].len, padding, in);
                sl_err err = run(&f, &ways[w], len, &out_len);
                if (err != types[i].err)
                    fail_msg("%s, %s: %d", types[i].name, ways[w].name, err);
                if (err == SL_OK) {
                    ref_open(&f.receiver, out, out_len, &opened);
                    assert_true(opened.ok);
                } else if (out_len > 0) {
                    ref_open(&f.receiver, out, out_len, &opened);
                    assert_false(opened.ok);
                }
                flow_close(&f);
            }
        }
    }
}

static const struct {
    bool tls13;
    uint8_t level, code;
    bool close_notify, fatal, closes;
} alerts[] = {
    {true, 1, 0, true, false, true},      {true, 2, 0, true, false, true},   {true, 1, 90, false, false, false},
    {true, 2, 40, false, true, true},     {true, 1, 40, false, true, true},  {false, 1, 0, true, false, true},
    {false, 1, 100, false, false, false}, {false, 2, 20, false, true, true}, {false, 1, 90, false, false, false},
};

/* Alerts are reported with level and code, passed on, and end the stream where they must: later input is ignored. */
static void test_alerts(void **state)
{
    (void)state;
    for (size_t w = 0; w < WAYS; w++) {
        for (size_t i = 0; i < sizeof(alerts) / sizeof(alerts[0]); i++) {
            const uint8_t message[2] = {alerts[i].level, alerts[i].code};
            struct flow f = flow_for(&ways[w], true);
            size_t out_len;
            flow_open(&f, alerts[i].tls13 ? 0x1301 : 0xc02f, alerts[i].tls13 ? 0x1302 : 0xc030);
            size_t len = ref_seal(&f.sender, 21, message, 2, alerts[i].tls13 ? i * 50 : 0, in);
            size_t after = ref_seal(&f.sender, 23, content, 100, 0, in + len);
            assert_int_equal(run(&f, &ways[w], len + after, &out_len), SL_OK);
            ref_open(&f.receiver, out, out_len, &opened);
            assert_true(opened.ok);
            assert_int_equal(opened.type, 21);
            assert_memory_equal(opened.content, message, 2);
            assert_int_equal(f.seen[0].alert_level, alerts[i].level);
            assert_int_equal(f.seen[0].alert, alerts[i].code);
            struct sl_transcoder_status s = status_of(&f);
            assert_int_equal(s.close_notify, alerts[i].close_notify);
            assert_int_equal(s.alerted, alerts[i].fatal);
            if (alerts[i].fatal)
                assert_int_equal(s.alert, alerts[i].code);
            assert_int_equal(out_len, alerts[i].closes ? len : len + after);
            assert_int_equal(s.dead, SL_OK);
            flow_close(&f);
        }
    }
}

/* ---- handshake messages ---- */

static size_t seal_key_update(struct ref *sender, uint8_t request, size_t padding, uint8_t *at)
{
    const uint8_t message[5] = {24, 0, 0, 1, request};
    size_t len = ref_seal(sender, 22, message, sizeof(message), padding, at);
    ref_step(sender);
    return len;
}

/* KeyUpdates between data: both sides step; the record itself goes under the old keys (opened with the receiver's old key).
 * Different hashes. */
static void test_key_update(void **state)
{
    (void)state;
    for (size_t w = 0; w < WAYS; w++) {
        for (int suite = 0; suite < 2; suite++) {
            struct flow f = flow_for(&ways[w], suite);
            size_t len = 0, out_len, at = 0;
            flow_open(&f, suite ? 0x1302 : 0x1301, suite ? 0x1301 : 0x1302);
            for (int i = 0; i < 5; i++) {
                len += ref_seal(&f.sender, 23, content, (size_t)(i * 1500), 0, in + len);
                len += seal_key_update(&f.sender, i % 2 != 0, (size_t)i * 300, in + len);
            }
            assert_int_equal(run(&f, &ways[w], len, &out_len), SL_OK);
            assert_int_equal(out_len, len);
            for (int i = 0; i < 5; i++) {
                ref_open(&f.receiver, out + at, out_len - at, &opened);
                assert_true(opened.ok);
                at += opened.total;
                ref_open(&f.receiver, out + at, out_len - at, &opened);
                assert_true(opened.ok);
                assert_int_equal(opened.type, 22);
                assert_int_equal(opened.len, 5);
                assert_int_equal(opened.padding, i * 300);
                at += opened.total;
                ref_step(&f.receiver);
                assert_true(f.seen[2 * i + 1].key_update);
                assert_int_equal(f.seen[2 * i + 1].update_requested, i % 2);
                assert_int_equal(f.seen[2 * i + 1].epoch, i);
                assert_int_equal(f.seen[2 * i + 1].seq, 1);
            }
            struct sl_transcoder_status s = status_of(&f);
            assert_int_equal(s.key_updates, 5);
            assert_int_equal(s.open_epoch, 5);
            assert_int_equal(s.seal_epoch, 5);
            assert_int_equal(s.open_seq, 0);
            flow_close(&f);
        }
    }
}

/* A KeyUpdate in parts: the keys step only after the last of them, and nothing else may come between. */
static void test_key_update_in_parts(void **state)
{
    (void)state;
    static const uint8_t message[5] = {24, 0, 0, 1, 0};
    for (size_t w = 0; w < WAYS; w++) {
        for (size_t split = 1; split < 5; split++) {
            struct flow f = flow_for(&ways[w], false);
            size_t out_len, at = 0;
            flow_open(&f, 0x1301, 0x1301);
            size_t len = ref_seal(&f.sender, 22, message, split, 40, in);
            assert_int_equal(run(&f, &ways[w], len, &out_len), SL_OK);
            assert_true(status_of(&f).in_message);
            assert_int_equal(status_of(&f).open_epoch, 0);
            ref_open(&f.receiver, out, out_len, &opened);
            len = ref_seal(&f.sender, 22, message + split, 5 - split, 0, in);
            ref_step(&f.sender);
            len += ref_seal(&f.sender, 23, content, 100, 0, in + len);
            assert_int_equal(run(&f, &ways[w], len, &out_len), SL_OK);
            ref_open(&f.receiver, out, out_len, &opened);
            at += opened.total;
            ref_step(&f.receiver);
            ref_open(&f.receiver, out + at, out_len - at, &opened);
            assert_true(opened.ok);
            assert_int_equal(opened.len, 100);
            flow_close(&f);

            f = flow_for(&ways[w], false);
            flow_open(&f, 0x1301, 0x1301);
            len = ref_seal(&f.sender, 22, message, split, 0, in);
            len += ref_seal(&f.sender, 23, content, 10, 0, in + len);
            assert_int_equal(run(&f, &ways[w], len, &out_len), SL_ERR_ALERT(SL_TLS_UNEXPECTED_MESSAGE));
            flow_close(&f);
        }
    }
}

/* Tickets of the other leg: left out when asked, also in parts and joined with a KeyUpdate; later records open under the right
 * numbers. */
static void test_drop_tickets(void **state)
{
    (void)state;
    for (size_t w = 0; w < 2; w++) {
        for (size_t split = 0; split < sizeof(rfc8448_ticket); split += 7) {
            struct flow f = flow_for(&ways[w], true);
            size_t out_len, at = 0, len = 0;
            uint8_t joined[sizeof(rfc8448_ticket) + 5];
            f.options.drop_tickets = true;
            flow_open(&f, 0x1301, 0x1302);
            memcpy(joined, rfc8448_ticket, sizeof(rfc8448_ticket));
            memcpy(joined + sizeof(rfc8448_ticket), "\x18\0\0\1\0", 5);
            len += ref_seal(&f.sender, 22, rfc8448_ticket, sizeof(rfc8448_ticket), 0, in + len);
            len += ref_seal(&f.sender, 23, content, 1000, 0, in + len);
            if (split > 0)
                len += ref_seal(&f.sender, 22, joined, split, 3, in + len);
            len += ref_seal(&f.sender, 22, joined + split, sizeof(joined) - split, 9, in + len);
            ref_step(&f.sender);
            len += ref_seal(&f.sender, 23, content, 2000, 0, in + len);
            assert_int_equal(run(&f, &ways[w], len, &out_len), SL_OK);

            ref_open(&f.receiver, out, out_len, &opened);
            assert_true(opened.ok);
            assert_int_equal(opened.len, 1000);
            at += opened.total;
            ref_open(&f.receiver, out + at, out_len - at, &opened);
            assert_true(opened.ok);
            assert_int_equal(opened.type, 22);
            assert_int_equal(opened.len, 5);
            assert_memory_equal(opened.content, "\x18\0\0\1\0", 5);
            at += opened.total;
            ref_step(&f.receiver);
            ref_open(&f.receiver, out + at, out_len - at, &opened);
            assert_true(opened.ok);
            assert_int_equal(opened.len, 2000);
            assert_int_equal(at + opened.total, out_len);
            assert_int_equal(status_of(&f).tickets_dropped, 2);
            assert_true(f.seen[0].dropped);
            flow_close(&f);
        }
    }
}

/* A ticket in a record that is cut through cannot be left out: it passes, whole. One whose first part was dropped is held to its
 * end. */
static void test_ticket_cut_through(void **state)
{
    (void)state;
    struct flow f = flow_for(&ways[2], true);
    size_t out_len;
    f.options.drop_tickets = true;
    flow_open(&f, 0x1301, 0x1301);
    size_t len = ref_seal(&f.sender, 22, rfc8448_ticket, sizeof(rfc8448_ticket), 0, in);
    assert_int_equal(run(&f, &ways[2], len, &out_len), SL_OK);
    assert_int_equal(out_len, len);
    assert_true(f.seen[0].cut_through);
    assert_false(f.seen[0].dropped);
    flow_close(&f);

    f = flow_for(&ways[2], true);
    f.options.drop_tickets = true;
    flow_open(&f, 0x1301, 0x1301);
    len = ref_seal(&f.sender, 22, rfc8448_ticket, 50, 0, in);
    assert_int_equal(run(&f, &ways[0], len, &out_len), SL_OK);
    assert_int_equal(out_len, 0);
    len = ref_seal(&f.sender, 22, rfc8448_ticket + 50, sizeof(rfc8448_ticket) - 50, 0, in);
    assert_int_equal(run(&f, &ways[2], len, &out_len), SL_OK);
    assert_int_equal(out_len, 0);
    assert_int_equal(status_of(&f).tickets_dropped, 1);
    flow_close(&f);
}

/* A record of 16 KiB of padding behind a KeyUpdate, and data whose bytes look like handshake messages. */
static void test_handshake_in_disguise(void **state)
{
    (void)state;
    static const uint8_t update[5] = {24, 0, 0, 1, 0};
    for (size_t w = 0; w < WAYS; w++) {
        struct flow f = flow_for(&ways[w], false);
        size_t out_len, len = 0, at = 0;
        flow_open(&f, 0x1301, 0x1301);
        len += ref_seal(&f.sender, 23, update, 5, 0, in + len); /* data: no step */
        len += seal_key_update(&f.sender, 1, 16000, in + len);
        len += ref_seal(&f.sender, 23, update, 5, 16000, in + len);
        assert_int_equal(run(&f, &ways[w], len, &out_len), SL_OK);
        assert_int_equal(status_of(&f).open_epoch, 1);
        ref_open(&f.receiver, out, out_len, &opened);
        assert_true(opened.ok && opened.type == 23);
        at += opened.total;
        ref_open(&f.receiver, out + at, out_len - at, &opened);
        assert_true(opened.ok && opened.type == 22);
        at += opened.total;
        ref_step(&f.receiver);
        ref_open(&f.receiver, out + at, out_len - at, &opened);
        assert_true(opened.ok && opened.type == 23 && opened.len == 5);
        flow_close(&f);
    }
}

/* ---- limits ---- */

/* G3: the seal side stops short of the limit, with room for an alert; the wish for a KeyUpdate comes early. */
static void test_G3_seal_limit(void **state)
{
    (void)state;
    for (size_t w = 0; w < WAYS; w++) {
        for (int tls13 = 0; tls13 < 2; tls13++) {
            struct flow f = flow_for(&ways[w], false);
            size_t out_len, i, sealed = 0;
            const uint16_t suite = tls13 ? 0x1301 : 0xc02f;
            const size_t first = tls13 ? 0 : 1; /* Finished was the first under a TLS 1.2 key */
            f.options.seal_limit = 32;
            flow_open(&f, suite, suite);
            sl_err err = SL_OK;
            for (i = first; err == SL_OK; i++) {
                if (tls13)
                    assert_int_equal(status_of(&f).key_update_wanted, i >= 28);
                size_t len = ref_seal(&f.sender, 23, content, 100, 0, in);
                err = run(&f, &ways[w], len, &out_len);
                sealed += err == SL_OK;
            }
            assert_int_equal(err, SL_ERR_LIMIT);
            assert_int_equal(sealed, 32 - SL_TRANSCODER_SEAL_RESERVE - first);
            assert_int_equal(out_len, 0);
            f.receiver.seq += sealed;
            expect_alert_possible(&f, true);
            expect_dead(&f, SL_ERR_LIMIT);
            flow_close(&f);
        }
    }
}

/* G3: a KeyUpdate of the sender, or one of our own, starts the count anew. With auto_rekey nobody notices. */
static void test_G3_auto_rekey(void **state)
{
    (void)state;
    for (size_t w = 0; w < WAYS; w++) {
        struct flow f = flow_for(&ways[w], false);
        size_t out_len, len = 0, at = 0, own = 0, data = 0;
        f.options.seal_limit = 32;
        f.options.auto_rekey = true;
        flow_open(&f, 0x1301, 0x1302);
        for (size_t i = 0; i < 300; i++)
            len += ref_seal(&f.sender, 23, content, i % 77, 0, in + len);
        assert_int_equal(run(&f, &ways[w], len, &out_len), SL_OK);
        while (at < out_len) {
            ref_open(&f.receiver, out + at, out_len - at, &opened);
            assert_true(opened.ok);
            at += opened.total;
            if (opened.type == 22) {
                assert_memory_equal(opened.content, "\x18\0\0\1\0", 5);
                assert_true(f.receiver.seq <= 32);
                ref_step(&f.receiver);
                own++;
            } else {
                assert_int_equal(opened.len, data % 77);
                data++;
            }
        }
        assert_int_equal(data, 300);
        assert_int_equal(own, 10);
        assert_int_equal(status_of(&f).open_epoch, 0);
        assert_int_equal(status_of(&f).seal_epoch, 10);
        flow_close(&f);
    }
}

/* G4: the open side takes more records under one key than any sender may seal. */
static void test_G4_open_unlimited(void **state)
{
    (void)state;
    struct flow f = {.options = {.seal_limit = 0}};
    size_t out_len;
    uint8_t secret[48];
    struct sl_record_leg *from, *to;
    uint64_t rnd = 7;
    ref_fill(&rnd, secret, sizeof(secret));
    assert_int_equal(sl_record_leg_new(&from), SL_OK);
    assert_int_equal(sl_record_leg_new(&to), SL_OK);
    ref_init_13(&f.sender, 16, 32, secret);
    f.sender.seq = SL_RECORD_SEAL_MAX + 1000;
    assert_int_equal(sl_record_half_tls13(&from->client_write, 0x1301, secret, 32, 0, f.sender.seq), SL_OK);
    assert_int_equal(sl_record_half_tls13(&to->client_write, 0x1301, secret, 32, 0, 0), SL_OK);
    assert_int_equal(sl_transcoder_new(&from->client_write, &to->client_write, &f.options, &f.t), SL_OK);
    size_t len = ref_seal(&f.sender, 23, content, 100, 0, in);
    assert_int_equal(flow_feed_all(&f, in, len, out, sizeof(out), &out_len), SL_OK);
    assert_int_equal(out_len, len);
    sl_transcoder_free(f.t);

    /* ... and stops where the number itself would wrap */
    f.sender.seq = UINT64_MAX;
    assert_int_equal(sl_record_half_tls13(&from->client_write, 0x1301, secret, 32, 0, f.sender.seq), SL_OK);
    assert_int_equal(sl_record_half_tls13(&to->client_write, 0x1301, secret, 32, 0, 0), SL_OK);
    assert_int_equal(sl_transcoder_new(&from->client_write, &to->client_write, &f.options, &f.t), SL_OK);
    len = ref_seal(&f.sender, 23, content, 100, 0, in);
    assert_int_equal(flow_feed_all(&f, in, len, out, sizeof(out), &out_len), SL_ERR_LIMIT);
    sl_transcoder_free(f.t);
    sl_record_leg_free(from);
    sl_record_leg_free(to);
}

/* G5: at the last epoch a KeyUpdate is taken, but not passed on: the receiver never sees epoch 2^48. */
static void test_G5_last_epoch(void **state)
{
    (void)state;
    for (size_t w = 0; w < 2; w++) {
        struct flow f = flow_for(&ways[w], false);
        size_t out_len, len;
        assert_int_equal(flow_open_at(&f, 0x1301, 0x1301, SL_RECORD_EPOCH_MAX, 0), SL_OK);
        len = seal_key_update(&f.sender, 1, 0, in);
        len += ref_seal(&f.sender, 23, content, 100, 0, in + len);
        assert_int_equal(run(&f, &ways[w], len, &out_len), SL_OK);
        ref_open(&f.receiver, out, out_len, &opened);
        assert_true(opened.ok);
        assert_int_equal(opened.total, out_len);
        assert_int_equal(opened.type, 23);
        assert_int_equal(status_of(&f).seal_epoch, SL_RECORD_EPOCH_MAX);
        assert_int_equal(status_of(&f).open_epoch, 1);
        uint8_t own[SL_TRANSCODER_OWN_RECORD_MAX];
        assert_int_equal(sl_transcoder_seal_key_update(f.t, own, sizeof(own), &out_len), SL_ERR_LIMIT);
        flow_close(&f);
    }
}

/* ---- verdicts ---- */

/* Block: nothing of a whole or held record leaves; one that was cut through gets a wrong tag. */
static void test_block(void **state)
{
    (void)state;
    for (size_t w = 0; w < WAYS; w++) {
        for (size_t at = 0; at < 3; at++) {
            struct flow f = flow_for(&ways[w], false);
            size_t out_len, len[3], total = 0, pos = 0;
            f.block_at = at;
            flow_open(&f, at % 2 ? 0x1301 : 0xc02f, at % 2 ? 0x1301 : 0xc02f);
            for (size_t i = 0; i < 3; i++)
                total += len[i] = ref_seal(&f.sender, 23, content, 3000, 0, in + total);
            assert_int_equal(run(&f, &ways[w], total, &out_len), SL_ERR_DENIED);
            for (size_t i = 0; i < at; i++) {
                ref_open(&f.receiver, out + pos, out_len - pos, &opened);
                assert_true(opened.ok);
                pos += opened.total;
            }
            if (ways[w].cuts_through) {
                assert_int_equal(out_len - pos, len[at]);
                ref_open(&f.receiver, out + pos, out_len - pos, &opened);
                assert_false(opened.ok);
            } else {
                assert_int_equal(out_len, pos);
            }
            expect_alert_possible(&f, !ways[w].cuts_through);
            expect_dead(&f, SL_ERR_DENIED);
            flow_close(&f);
        }
    }
}

/* G7: while a record is cut through, its plaintext waits in the transcoder: no callback before the last byte of its tag. */
static void test_G7_nothing_before_the_tag(void **state)
{
    (void)state;
    for (int tls13 = 0; tls13 < 2; tls13++) {
        struct flow f = flow_for(&ways[2], false);
        size_t consumed, produced;
        flow_open(&f, tls13 ? 0x1301 : 0xc02f, tls13 ? 0x1301 : 0xc02f);
        size_t len = ref_seal(&f.sender, 23, content, 5000, 0, in);
        for (size_t i = 0; i < len; i++) {
            assert_int_equal(f.plain_calls, 0);
            assert_int_equal(f.seen_count, 0);
            assert_int_equal(sl_transcoder_feed(f.t, in + i, 1, out, sizeof(out), &consumed, &produced), SL_OK);
            assert_int_equal(consumed, 1);
            if (i + 1 == len - 16)
                assert_true(status_of(&f).heap_bytes >= 5000);
        }
        assert_int_equal(f.plain_calls, 1);
        assert_int_equal(f.seen_count, 1);
        assert_int_equal(status_of(&f).heap_bytes, 0);
        flow_close(&f);

        f = (struct flow){.options = {.hold_limit = 1}}; /* nobody looks: nothing is kept */
        flow_open(&f, tls13 ? 0x1301 : 0xc02f, tls13 ? 0x1301 : 0xc02f);
        len = ref_seal(&f.sender, 23, content, 5000, 0, in);
        assert_int_equal(sl_transcoder_feed(f.t, in, len - 1, out, sizeof(out), &consumed, &produced), SL_OK);
        assert_int_equal(status_of(&f).heap_bytes, 0);
        flow_close(&f);
    }
}

/* ---- records of our own, life cycle ---- */

static void test_own_records(void **state)
{
    (void)state;
    uint8_t own[SL_TRANSCODER_OWN_RECORD_MAX];
    size_t n, len, out_len, consumed, produced;
    struct flow f = flow_for(&ways[2], false);
    flow_open(&f, 0x1301, 0x1301);
    assert_int_equal(sl_transcoder_seal_key_update(f.t, own, 10, &n), SL_ERR_SHORT);
    assert_int_equal(sl_transcoder_seal_key_update(f.t, own, sizeof(own), &n), SL_OK);
    ref_open(&f.receiver, own, n, &opened);
    assert_true(opened.ok && opened.type == 22 && opened.len == 5);
    ref_step(&f.receiver);
    len = ref_seal(&f.sender, 23, content, 100, 0, in);
    assert_int_equal(run(&f, &ways[0], len, &out_len), SL_OK);
    ref_open(&f.receiver, out, out_len, &opened);
    assert_true(opened.ok && opened.len == 100);
    /* in mid-record nothing of our own fits */
    len = ref_seal(&f.sender, 23, content, 100, 0, in);
    assert_int_equal(sl_transcoder_feed(f.t, in, 50, out, sizeof(out), &consumed, &produced), SL_OK);
    assert_false(status_of(&f).out_boundary);
    assert_int_equal(sl_transcoder_seal_alert(f.t, 1, 0, own, sizeof(own), &n), SL_ERR_STATE);
    assert_int_equal(sl_transcoder_seal_key_update(f.t, own, sizeof(own), &n), SL_ERR_STATE);
    assert_int_equal(sl_transcoder_feed(f.t, in + 50, len - 50, out + produced, sizeof(out) - produced, &consumed, &out_len),
                     SL_OK);
    ref_open(&f.receiver, out, out_len + produced, &opened);
    assert_true(opened.ok);
    /* close_notify, at level warning whatever was asked for */
    assert_int_equal(sl_transcoder_seal_alert(f.t, 2, 0, own, sizeof(own), &n), SL_OK);
    ref_open(&f.receiver, own, n, &opened);
    assert_true(opened.ok && opened.type == 21);
    assert_memory_equal(opened.content, "\1\0", 2);
    expect_dead(&f, SL_ERR_STATE);
    flow_close(&f);

    f = flow_for(&ways[0], false);
    flow_open(&f, 0xc02f, 0xc02f);
    assert_int_equal(sl_transcoder_seal_key_update(f.t, own, sizeof(own), &n), SL_ERR_UNSUPPORTED);
    assert_int_equal(sl_transcoder_seal_alert(f.t, 1, 0, own, sizeof(own), &n), SL_OK);
    ref_open(&f.receiver, own, n, &opened);
    assert_true(opened.ok && opened.type == 21);
    flow_close(&f);
}

/* G1: halves are consumed; export is a move; the stream goes on elsewhere with the next number, and not here. */
static void test_G1_move(void **state)
{
    (void)state;
    static const struct sl_record_half empty;
    struct flow f = flow_for(&ways[0], false), g = flow_for(&ways[0], false);
    size_t len, out_len, consumed, produced;
    struct sl_record_leg *leg;
    assert_int_equal(sl_record_leg_new(&leg), SL_OK);
    flow_open(&f, 0x1301, 0x1302);
    assert_memory_equal(&f.from->client_write, &empty, sizeof(empty));
    assert_memory_equal(&f.to->client_write, &empty, sizeof(empty));
    assert_int_equal(sl_transcoder_new(&f.from->client_write, &f.to->client_write, &f.options, &g.t), SL_ERR_INVALID);

    len = ref_seal(&f.sender, 23, content, 5000, 0, in);
    len += seal_key_update(&f.sender, 0, 0, in + len);
    len += ref_seal(&f.sender, 23, content, 100, 0, in + len);
    assert_int_equal(run(&f, &ways[0], len, &out_len), SL_OK);
    /* not in mid-record */
    len = ref_seal(&f.sender, 23, content, 3000, 0, in);
    assert_int_equal(sl_transcoder_feed(f.t, in, 3, out, sizeof(out), &consumed, &produced), SL_OK);
    assert_int_equal(sl_transcoder_export(f.t, &leg->client_write, &leg->server_write), SL_ERR_STATE);
    assert_int_equal(sl_transcoder_feed(f.t, in + 3, 1000, out, sizeof(out), &consumed, &produced), SL_OK);
    assert_int_equal(sl_transcoder_export(f.t, &leg->client_write, &leg->server_write), SL_ERR_STATE);
    /* not while output is owed */
    assert_int_equal(sl_transcoder_feed(f.t, in + 1003, len - 1003, out, 10, &consumed, &produced), SL_OK);
    assert_true(sl_transcoder_pending(f.t) > 0);
    assert_int_equal(sl_transcoder_export(f.t, &leg->client_write, &leg->server_write), SL_ERR_STATE);
    assert_int_equal(sl_transcoder_feed(f.t, NULL, 0, out, sizeof(out), &consumed, &produced), SL_OK);

    assert_int_equal(sl_transcoder_export(f.t, &leg->client_write, &leg->server_write), SL_OK);
    expect_dead(&f, SL_ERR_STATE);
    uint8_t own[SL_TRANSCODER_OWN_RECORD_MAX];
    assert_int_equal(sl_transcoder_seal_alert(f.t, 1, 0, own, sizeof(own), &produced), SL_ERR_STATE);
    assert_int_equal(leg->client_write.epoch, 1);
    assert_int_equal(leg->client_write.seq, 2);
    assert_int_equal(leg->server_write.seq, 2);
    assert_memory_equal(leg->client_write.key, f.sender.key, 16);
    assert_memory_equal(leg->client_write.secret, f.sender.secret, 32);

    assert_int_equal(sl_transcoder_new(&leg->client_write, &leg->server_write, &f.options, &g.t), SL_OK);
    ref_step(&f.receiver);
    f.receiver.seq = 2;
    len = ref_seal(&f.sender, 23, content, 777, 0, in);
    assert_int_equal(run(&g, &ways[0], len, &out_len), SL_OK);
    ref_open(&f.receiver, out, out_len, &opened);
    assert_true(opened.ok && opened.len == 777);
    sl_transcoder_free(g.t);
    sl_record_leg_free(leg);
    flow_close(&f);
}

/* G1: no record number is sealed twice, whatever mixture of records, KeyUpdates and alerts of our own goes out: every one opens in
 * order. G13 for the transcoder's keys is in the secret allocator (tests of base) and test_gcm.c. */
static void test_G1_numbers_rise(void **state)
{
    (void)state;
    uint64_t rnd = 11;
    for (int round = 0; round < 20; round++) {
        struct flow f = flow_for(&ways[round % WAYS], true);
        f.options.drop_tickets = true;
        flow_open(&f, 0x1301, 0x1301);
        for (int i = 0; i < 40; i++) {
            size_t len, out_len, at = 0;
            bool stepped = false;
            switch (ref_below(&rnd, 5)) {
            case 0:
                len = seal_key_update(&f.sender, 0, 0, in);
                stepped = true;
                break;
            case 1:
                len = ref_seal(&f.sender, 22, rfc8448_ticket, sizeof(rfc8448_ticket), 0, in);
                break;
            case 2:
                assert_int_equal(sl_transcoder_seal_key_update(f.t, out, sizeof(out), &out_len), SL_OK);
                ref_open(&f.receiver, out, out_len, &opened);
                assert_true(opened.ok);
                ref_step(&f.receiver);
                continue;
            default:
                len = ref_seal(&f.sender, 23, content, ref_below(&rnd, 9000), 0, in);
            }
            assert_int_equal(run(&f, &ways[round % WAYS], len, &out_len), SL_OK);
            while (at < out_len) {
                ref_open(&f.receiver, out + at, out_len - at, &opened);
                assert_true(opened.ok);
                at += opened.total;
            }
            if (stepped)
                ref_step(&f.receiver);
            assert_int_equal(status_of(&f).seal_seq, f.receiver.seq);
        }
        flow_close(&f);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    struct flow f = {.options = {.seal_limit = 4}};
    assert_int_equal(flow_open_at(&f, 0x1301, 0x1301, 0, 0), SL_ERR_INVALID);
    assert_int_equal(f.from->client_write.version, SL_TLS13); /* not consumed */
    flow_close(&f);
    f = (struct flow){.options = {.seal_limit = 0}};
    assert_int_equal(flow_open_at(&f, 0x1301, 0xc02f, 0, 0), SL_ERR_UNSUPPORTED);
    assert_int_equal(f.to->client_write.version, SL_TLS12);
    flow_close(&f);
    sl_transcoder_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_G6_G7_flipped_bit),
        cmocka_unit_test(test_G6_replay_reorder),
        cmocka_unit_test(test_G9_header),
        cmocka_unit_test(test_G9_tls12_type),
        cmocka_unit_test(test_G10_G15_lengths),
        cmocka_unit_test(test_G10_all_zero),
        cmocka_unit_test(test_G10_types),
        cmocka_unit_test(test_alerts),
        cmocka_unit_test(test_key_update),
        cmocka_unit_test(test_key_update_in_parts),
        cmocka_unit_test(test_drop_tickets),
        cmocka_unit_test(test_ticket_cut_through),
        cmocka_unit_test(test_handshake_in_disguise),
        cmocka_unit_test(test_G3_seal_limit),
        cmocka_unit_test(test_G3_auto_rekey),
        cmocka_unit_test(test_G4_open_unlimited),
        cmocka_unit_test(test_G5_last_epoch),
        cmocka_unit_test(test_block),
        cmocka_unit_test(test_G7_nothing_before_the_tag),
        cmocka_unit_test(test_own_records),
        cmocka_unit_test(test_G1_move),
        cmocka_unit_test(test_G1_numbers_rise),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
