/* SPDX-License-Identifier: Apache-2.0 */
/* Whole records: RFC 8448's trace, the independent reference in both directions, and what must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "record/record.h"
#include "record/record_impl.h"
#include "reference.h"
#include "rfc8448.h"

static struct sl_record_leg *leg;

static int setup(void **state)
{
    (void)state;
    return sl_record_leg_new(&leg) == SL_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    sl_record_leg_free(leg);
    return 0;
}

static struct sl_record *record_13(const uint8_t *secret, uint64_t seq)
{
    struct sl_record *r;
    assert_int_equal(sl_record_half_tls13(&leg->client_write, 0x1301, secret, 32, 0, seq), SL_OK);
    assert_int_equal(sl_record_new(NULL, &leg->client_write, &r), SL_OK);
    assert_int_equal(leg->client_write.version, 0); /* G1: the half is consumed */
    return r;
}

static void expect_opened(struct sl_record *r, const uint8_t *record, size_t len, enum sl_tls_content type, const uint8_t *content,
                          size_t content_len)
{
    uint8_t out[REF_RECORD_MAX];
    enum sl_tls_content got;
    size_t n, padding;
    assert_int_equal(sl_record_open(r, record, len, out, &got, &n, &padding), SL_OK);
    assert_int_equal(got, type);
    assert_int_equal(n, content_len);
    assert_int_equal(padding, 0);
    assert_memory_equal(out, content, content_len);
}

/* G2, G9: known answers. Opened, and sealed again to the same bytes. */
static void test_G2_rfc8448(void **state)
{
    (void)state;
    uint8_t data[50], out[REF_RECORD_MAX];
    static const uint8_t close_notify[2] = {1, 0};
    size_t len;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)i;
    struct sl_record *client = record_13(rfc8448_client_secret, 0), *server = record_13(rfc8448_server_secret, 0);
    expect_opened(server, rfc8448_ticket_record, sizeof(rfc8448_ticket_record), SL_TLS_HANDSHAKE, rfc8448_ticket,
                  sizeof(rfc8448_ticket));
    expect_opened(client, rfc8448_client_data_record, sizeof(rfc8448_client_data_record), SL_TLS_APPLICATION_DATA, data,
                  sizeof(data));
    expect_opened(server, rfc8448_server_data_record, sizeof(rfc8448_server_data_record), SL_TLS_APPLICATION_DATA, data,
                  sizeof(data));
    expect_opened(client, rfc8448_client_alert_record, sizeof(rfc8448_client_alert_record), SL_TLS_ALERT, close_notify, 2);
    expect_opened(server, rfc8448_server_alert_record, sizeof(rfc8448_server_alert_record), SL_TLS_ALERT, close_notify, 2);
    assert_int_equal(sl_record_seq(server), 3);
    sl_record_free(client);
    sl_record_free(server);

    server = record_13(rfc8448_server_secret, 0);
    assert_int_equal(sl_record_seal(server, SL_TLS_HANDSHAKE, rfc8448_ticket, sizeof(rfc8448_ticket), 0, out, sizeof(out), &len),
                     SL_OK);
    assert_int_equal(len, sizeof(rfc8448_ticket_record));
    assert_memory_equal(out, rfc8448_ticket_record, len);
    assert_int_equal(sl_record_seal(server, SL_TLS_APPLICATION_DATA, data, sizeof(data), 0, out, sizeof(out), &len), SL_OK);
    assert_memory_equal(out, rfc8448_server_data_record, len);
    assert_int_equal(sl_record_seal(server, SL_TLS_ALERT, close_notify, 2, 0, out, sizeof(out), &len), SL_OK);
    assert_memory_equal(out, rfc8448_server_alert_record, len);
    sl_record_free(server);
}

static void pair_of(uint16_t suite_id, struct ref *ref, struct sl_record **record)
{
    uint8_t secret[48], randoms[64];
    uint64_t rnd = suite_id;
    struct ref server;
    const struct sl_suite *suite = sl_suite_find(suite_id);
    ref_fill(&rnd, secret, sizeof(secret));
    ref_fill(&rnd, randoms, sizeof(randoms));
    if (suite->version == SL_TLS13) {
        ref_init_13(ref, suite->key_len, suite->hash_len, secret);
        assert_int_equal(sl_record_half_tls13(&leg->client_write, suite_id, secret, suite->hash_len, 0, 0), SL_OK);
    } else {
        ref_init_12(ref, &server, suite->key_len, suite->hash_len, secret, randoms, randoms + 32);
        assert_int_equal(sl_record_leg_tls12(leg, suite_id, secret, randoms, randoms + 32, 1, 1), SL_OK);
    }
    assert_int_equal(sl_record_new(NULL, &leg->client_write, record), SL_OK);
}

/* Every suite; lengths 0, 1, 16, ..., 2^14; paddings; both directions against the reference. */
static void test_against_reference(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 2, 15, 16, 17, 255, 256, 1350, 4095, 16383, 16384};
    static uint8_t content[16384], sealed[REF_RECORD_MAX], out[REF_RECORD_MAX];
    static struct ref_opened opened;
    size_t count, len, got, padding;
    enum sl_tls_content type;
    uint64_t rnd = 5;
    const struct sl_suite *suites = sl_suite_all(&count);
    ref_fill(&rnd, content, sizeof(content));
    for (size_t s = 0; s < count; s++) {
        struct ref seal_ref, open_ref;
        struct sl_record *seal, *open;
        pair_of(suites[s].id, &seal_ref, &open);
        pair_of(suites[s].id, &open_ref, &seal);
        for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
            size_t pad = suites[s].version == SL_TLS13 ? (16384 - lengths[i]) * (i % 3) / 2 : 0;
            assert_int_equal(sl_record_seal(seal, SL_TLS_APPLICATION_DATA, content, lengths[i], pad, sealed, sizeof(sealed), &len),
                             SL_OK);
            ref_open(&open_ref, sealed, len, &opened);
            assert_true(opened.ok);
            assert_int_equal(opened.total, len);
            assert_int_equal(opened.type, 23);
            assert_int_equal(opened.len, lengths[i]);
            assert_int_equal(opened.padding, pad);
            assert_memory_equal(opened.content, content, lengths[i]);

            len = ref_seal(&seal_ref, 23, content, lengths[i], pad, sealed);
            assert_int_equal(sl_record_open(open, sealed, len, out, &type, &got, &padding), SL_OK);
            assert_int_equal(type, 23);
            assert_int_equal(got, lengths[i]);
            assert_int_equal(padding, pad);
            assert_memory_equal(out, content, got);
        }
        sl_record_free(seal);
        sl_record_free(open);
    }
}

/* A TLS 1.2 sender may choose another explicit nonce than we would: it is honoured. */
static void test_foreign_explicit_nonce(void **state)
{
    (void)state;
    struct ref ref;
    struct sl_record *open;
    static const uint8_t nonce[8] = {0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4};
    uint8_t sealed[200];
    pair_of(0xc02f, &ref, &open);
    size_t len = ref_seal_nonce(&ref, 23, (const uint8_t *)"hello", 5, 0, nonce, sealed);
    expect_opened(open, sealed, len, SL_TLS_APPLICATION_DATA, (const uint8_t *)"hello", 5);
    sl_record_free(open);
}

/* G2: the explicit nonce that we send is the sequence number. */
static void test_G2_own_explicit_nonce(void **state)
{
    (void)state;
    static const uint8_t first[8] = {0, 0, 0, 0, 0, 0, 0, 1}, second[8] = {0, 0, 0, 0, 0, 0, 0, 2};
    struct ref ref;
    struct sl_record *seal;
    uint8_t out[100];
    size_t len;
    pair_of(0xc030, &ref, &seal);
    assert_int_equal(sl_record_seal(seal, SL_TLS_ALERT, (const uint8_t *)"\1\0", 2, 0, out, sizeof(out), &len), SL_OK);
    assert_memory_equal(out + 5, first, 8);
    assert_int_equal(sl_record_seal(seal, SL_TLS_ALERT, (const uint8_t *)"\1\0", 2, 0, out, sizeof(out), &len), SL_OK);
    assert_memory_equal(out + 5, second, 8);
    sl_record_free(seal);
}

/* What must be refused, and how: each case damages a good record of 5 bytes of content. */
enum damage {
    NONE,
    TYPE,
    VERSION_MAJOR,
    VERSION_MINOR,
    TOO_LONG,
    TOO_SHORT,
    TRUNCATED,
    TRAILING,
    FLIP_TEXT,
    FLIP_TAG,
    FLIP_LENGTH,
    EMPTY
};
static const struct {
    enum damage damage;
    sl_err err_12, err_13;
} refusals[] = {
    {NONE, SL_OK, SL_OK},
    {TYPE, SL_ERR_ALERT(10), SL_ERR_ALERT(10)},
    {VERSION_MAJOR, SL_ERR_ALERT(50), SL_ERR_ALERT(50)},
    {VERSION_MINOR, SL_ERR_ALERT(50), SL_ERR_ALERT(50)},
    {TOO_LONG, SL_ERR_ALERT(22), SL_ERR_ALERT(22)},
    {TOO_SHORT, SL_ERR_ALERT(20), SL_ERR_ALERT(20)},
    {TRUNCATED, SL_ERR_ALERT(50), SL_ERR_ALERT(50)},
    {TRAILING, SL_ERR_ALERT(50), SL_ERR_ALERT(50)},
    {FLIP_TEXT, SL_ERR_ALERT(20), SL_ERR_ALERT(20)},
    {FLIP_TAG, SL_ERR_ALERT(20), SL_ERR_ALERT(20)},
    {FLIP_LENGTH, SL_ERR_ALERT(50), SL_ERR_ALERT(50)},
    {EMPTY, SL_ERR_ALERT(50), SL_ERR_ALERT(50)},
};

static size_t apply(enum damage damage, uint8_t *record, size_t len, bool tls13)
{
    const size_t min = tls13 ? 16 : 24, max = 16384 + (tls13 ? 17 : 24);
    switch (damage) {
    case TYPE:
        record[0] = 24;
        break;
    case VERSION_MAJOR:
        record[1] = 2;
        break;
    case VERSION_MINOR:
        record[2] = 4;
        break;
    case TOO_LONG:
        record[3] = (uint8_t)((max + 1) >> 8);
        record[4] = (uint8_t)(max + 1);
        return 5 + max + 1;
    case TOO_SHORT:
        record[3] = 0;
        record[4] = (uint8_t)(min - 1);
        return 5 + min - 1;
    case TRUNCATED:
        return len - 1;
    case TRAILING:
        return len + 1;
    case FLIP_TEXT:
        record[15] ^= 1;
        break;
    case FLIP_TAG:
        record[len - 1] ^= 0x80;
        break;
    case FLIP_LENGTH:
        record[4] ^= 1;
        break;
    case EMPTY:
        return 0;
    default:
        break;
    }
    return len;
}

/* G6: the first failure is for good. G7: nothing of the plaintext is out. */
static void test_G6_G7_refusals(void **state)
{
    (void)state;
    static uint8_t sealed[REF_RECORD_MAX], good[REF_RECORD_MAX], out[REF_RECORD_MAX];
    enum sl_tls_content type;
    size_t got, padding;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        for (int tls13 = 0; tls13 < 2; tls13++) {
            const sl_err expected = tls13 ? refusals[i].err_13 : refusals[i].err_12;
            struct ref ref;
            struct sl_record *open;
            pair_of(tls13 ? 0x1302 : 0xc02b, &ref, &open);
            memset(out, 0x77, sizeof(out));
            size_t len = ref_seal(&ref, 23, (const uint8_t *)"plain", 5, 0, sealed);
            len = apply(refusals[i].damage, sealed, len, tls13);
            assert_int_equal(sl_record_open(open, sealed, len, out, &type, &got, &padding), expected);
            if (expected != SL_OK) {
                assert_memory_not_equal(out, "plain", 5);
                const size_t next = ref_seal(&ref, 23, (const uint8_t *)"plain", 5, 0, good);
                assert_int_equal(sl_record_open(open, good, next, out, &type, &got, &padding), expected);
            }
            sl_record_free(open);
        }
    }
}

/* G10: nothing but padding. */
static void test_G10_all_zero(void **state)
{
    (void)state;
    static uint8_t sealed[REF_RECORD_MAX], out[REF_RECORD_MAX];
    enum sl_tls_content type;
    size_t got, padding;
    for (size_t zeros = 0; zeros < 300; zeros += 33) {
        struct ref ref;
        struct sl_record *open;
        pair_of(0x1301, &ref, &open);
        size_t len = ref_seal(&ref, 0, NULL, 0, zeros, sealed);
        assert_int_equal(sl_record_open(open, sealed, len, out, &type, &got, &padding), SL_ERR_ALERT(SL_TLS_UNEXPECTED_MESSAGE));
        sl_record_free(open);
    }
}

/* G3: the seal side stops; a refused call changes nothing. G11: the last sequence number is not used. */
static void test_G3_G11_limits(void **state)
{
    (void)state;
    uint8_t secret[32] = {3}, out[100];
    enum sl_tls_content type;
    size_t len = 0, padding;
    struct sl_record *r = record_13(secret, SL_RECORD_SEAL_MAX - 1);
    assert_int_equal(sl_record_seal(r, SL_TLS_ALERT, (const uint8_t *)"\1\0", 2, 0, out, sizeof(out), &len), SL_OK);
    assert_int_equal(sl_record_seal(r, SL_TLS_ALERT, (const uint8_t *)"\1\0", 2, 0, out, sizeof(out), &len), SL_ERR_LIMIT);
    assert_int_equal(sl_record_seq(r), SL_RECORD_SEAL_MAX);
    assert_int_equal(sl_record_step(r), SL_OK);
    assert_int_equal(sl_record_epoch(r), 1);
    assert_int_equal(sl_record_seal(r, SL_TLS_ALERT, (const uint8_t *)"\1\0", 2, 0, out, sizeof(out), &len), SL_OK);
    sl_record_free(r);

    r = record_13(secret, UINT64_MAX);
    assert_int_equal(sl_record_open(r, out, len, out + 50, &type, &len, &padding), SL_ERR_LIMIT);
    sl_record_free(r);
}

static void test_seal_refusals(void **state)
{
    (void)state;
    static uint8_t content[16385], out[REF_RECORD_MAX];
    uint8_t secret[32] = {4};
    size_t len;
    struct sl_record *r = record_13(secret, 0);
    assert_int_equal(sl_record_seal(r, SL_TLS_APPLICATION_DATA, content, 16385, 0, out, sizeof(out), &len), SL_ERR_INVALID);
    assert_int_equal(sl_record_seal(r, SL_TLS_APPLICATION_DATA, content, 16000, 385, out, sizeof(out), &len), SL_ERR_INVALID);
    assert_int_equal(sl_record_seal(r, SL_TLS_APPLICATION_DATA, content, 10, 0, out, 31, &len), SL_ERR_SHORT);
    assert_int_equal(sl_record_seal(r, SL_TLS_APPLICATION_DATA, content, 10, SIZE_MAX, out, sizeof(out), &len), SL_ERR_INVALID);
    assert_int_equal(sl_record_seq(r), 0);
    assert_int_equal(sl_record_seal(r, SL_TLS_APPLICATION_DATA, content, 10, 0, out, 32, &len), SL_OK);
    assert_int_equal(len, 32);
    sl_record_free(r);
    memset(&leg->client_write, 0, sizeof(leg->client_write));
    assert_int_equal(sl_record_new(NULL, &leg->client_write, &r), SL_ERR_INVALID);
    sl_record_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_G2_rfc8448),
        cmocka_unit_test(test_against_reference),
        cmocka_unit_test(test_foreign_explicit_nonce),
        cmocka_unit_test(test_G2_own_explicit_nonce),
        cmocka_unit_test(test_G6_G7_refusals),
        cmocka_unit_test(test_G10_all_zero),
        cmocka_unit_test(test_G3_G11_limits),
        cmocka_unit_test(test_seal_refusals),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
