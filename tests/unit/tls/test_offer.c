/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "hello_builder.h"
#include "record/tls.h"
#include "tls/names.h"
#include "tls/offer.h"

#define CAUSE(name) SLUICE__V1__CAUSE__##name

static uint8_t message[HELLO_BUILD_MAX];

static struct sl_hello_reader *parse(const struct hello_spec *s)
{
    struct sl_hello_reader *r = NULL;
    assert_int_equal(sl_hello_reader_new(&r), SL_OK);
    assert_int_equal(sl_hello_reader_parse(r, message, build_message(s, message, sizeof message)), SL_OK);
    return r;
}

/* P6, P15: the client's order, nothing more, GREASE and the unknown gone. */
static void test_p15_chrome_like(void **state)
{
    static const uint16_t modern[] = {0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8};
    static const uint16_t compatible[] = {0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030,
                                          0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d};
    static const uint16_t dropped[] = {0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035}, groups[] = {0x001d, 0x0017, 0x0018};
    struct hello_spec s = chrome_like();
    struct sl_hello_reader *r = parse(&s);
    struct sl_offer o, again, other;
    Sluice__V1__Cause cause;
    (void)state;
    assert_int_equal(sl_offer_make(sl_hello_reader_hello(r), SL_PROFILE_MODERN, &o, &cause), SL_OK);
    assert_int_equal(cause, 0);
    assert_int_equal(o.suite_count, 9);
    assert_memory_equal(o.suites, modern, sizeof modern);
    assert_int_equal(o.dropped_count, 6);
    assert_memory_equal(o.dropped, dropped, sizeof dropped);
    assert_int_equal(o.group_count, 3);
    assert_memory_equal(o.groups, groups, sizeof groups);
    assert_int_equal(o.sigalg_count, 8);
    assert_memory_equal(o.sigalgs, chrome_sigalgs, sizeof chrome_sigalgs);
    assert_int_equal(o.alpn_len, 12);
    assert_memory_equal(o.alpn, "\x02h2\x08http/1.1", 12);
    assert_int_equal(o.version_min, SL_TLS12);
    assert_int_equal(o.version_max, SL_TLS13);
    assert_int_equal(sl_offer_make(sl_hello_reader_hello(r), SL_PROFILE_COMPATIBLE, &other, NULL), SL_OK);
    assert_int_equal(other.suite_count, 13);
    assert_memory_equal(other.suites, compatible, sizeof compatible);
    assert_int_equal(sl_offer_make(sl_hello_reader_hello(r), SL_PROFILE_MODERN, &again, NULL), SL_OK);
    assert_memory_equal(o.hash, again.hash, sizeof o.hash);
    assert_memory_not_equal(o.hash, other.hash, sizeof o.hash);
    sl_hello_reader_free(r);
}

static void test_tables(void **state)
{
    static const uint16_t v13[] = {0x0304}, v12[] = {0x0303}, v11[] = {0x0302, 0x0301}, both[] = {0x0304, 0x0303};
    static const uint16_t gcm12[] = {0xc02f}, gcm13[] = {0x1301}, cbc[] = {0xc013, 0x002f}, rsa_gcm[] = {0x009c},
                          mixed[] = {0x1301, 0xc013};
    static const uint16_t x25519[] = {0x001d}, pq_only[] = {0x11ec}, ffdhe[] = {0x0100};
    static const struct {
        const uint16_t *versions;
        size_t version_count;
        const uint16_t *suites;
        size_t suite_count;
        const uint16_t *groups;
        enum sl_crypto_profile profile;
        int cause;
        uint16_t version_min, version_max;
    } table[] = {
        {v13, 1, gcm13, 1, x25519, SL_PROFILE_MODERN, 0, SL_TLS13, SL_TLS13},
        {v12, 1, gcm12, 1, x25519, SL_PROFILE_MODERN, 0, SL_TLS12, SL_TLS12},
        {v11, 2, gcm12, 1, x25519, SL_PROFILE_MODERN, CAUSE(CLI_UNSUPPORTED_VERSION), 0, 0},
        {v12, 1, cbc, 2, x25519, SL_PROFILE_MODERN, CAUSE(CLI_NO_SHARED_CIPHER), 0, 0},
        {v12, 1, cbc, 2, x25519, SL_PROFILE_COMPATIBLE, 0, SL_TLS12, SL_TLS12},
        {v12, 1, rsa_gcm, 1, x25519, SL_PROFILE_COMPATIBLE, 0, SL_TLS12, SL_TLS12},
        {v12, 1, gcm13, 1, x25519, SL_PROFILE_MODERN, CAUSE(CLI_NO_SHARED_CIPHER), 0, 0},
        {v13, 1, gcm12, 1, x25519, SL_PROFILE_MODERN, CAUSE(CLI_NO_SHARED_CIPHER), 0, 0},
        {both, 2, mixed, 2, x25519, SL_PROFILE_MODERN, 0, SL_TLS13, SL_TLS13}, /* a version without a suite is not offered */
        {both, 2, gcm12, 1, x25519, SL_PROFILE_MODERN, 0, SL_TLS12, SL_TLS12},
        {v13, 1, gcm13, 1, pq_only, SL_PROFILE_MODERN, CAUSE(CLI_NO_SHARED_CIPHER), 0, 0},
        {v13, 1, gcm13, 1, ffdhe, SL_PROFILE_MODERN, CAUSE(CLI_NO_SHARED_CIPHER), 0, 0},
        {v13, 1, gcm13, 1, ffdhe, SL_PROFILE_COMPATIBLE, 0, SL_TLS13, SL_TLS13},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct hello_spec s = chrome_like();
        struct sl_offer o;
        Sluice__V1__Cause cause;
        s.versions = table[i].versions;
        s.version_count = table[i].version_count;
        s.suites = table[i].suites;
        s.suite_count = table[i].suite_count;
        s.groups = table[i].groups;
        s.group_count = 1;
        struct sl_hello_reader *r = parse(&s);
        assert_int_equal(sl_offer_make(sl_hello_reader_hello(r), table[i].profile, &o, &cause),
                         table[i].cause ? SL_ERR_UNSUPPORTED : SL_OK);
        assert_int_equal(cause, table[i].cause);
        if (!table[i].cause) {
            assert_int_equal(o.version_min, table[i].version_min);
            assert_int_equal(o.version_max, table[i].version_max);
        }
        sl_hello_reader_free(r);
    }
}

/* P2: whatever is offered, nothing weak comes through, in any profile. */
static void test_p2_every_number(void **state)
{
    char buf[SL_TLS_NAME_BYTES];
    (void)state;
    for (unsigned id = 0; id <= 0xffff; id++) {
        const struct sl_tls_suite *s = sl_tls_suite_find((uint16_t)id);
        if (!s)
            continue;
        const char *name = sl_tls_suite_name((uint16_t)id, buf);
        static const char *const weak[] = {"NULL", "RC4", "EXPORT", "anon", "DES", "MD5", "CCM_8", "PSK", "SRP", "SEED", "IDEA"};
        for (size_t k = 0; k < sizeof weak / sizeof weak[0]; k++)
            assert_null(strstr(name, weak[k]));
        assert_int_equal(s->gcm, sl_suite_find((uint16_t)id) != NULL);
        if (s->modern)
            assert_true(s->key_exchange == SL_KX_TLS13 || s->key_exchange == SL_KX_ECDHE);
    }
}

static void test_names(void **state)
{
    char buf[SL_TLS_NAME_BYTES];
    (void)state;
    assert_string_equal(sl_tls_suite_name(0x1301, buf), "TLS_AES_128_GCM_SHA256");
    assert_string_equal(sl_tls_suite_name(0xc030, buf), "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384");
    assert_string_equal(sl_tls_suite_name(0x1a1a, buf), "GREASE");
    assert_string_equal(sl_tls_suite_name(0xfefe, buf), "0xfefe");
    assert_string_equal(sl_tls_group_name(0x001d, buf), "x25519");
    assert_string_equal(sl_tls_group_name(0x11ec, buf), "X25519MLKEM768");
    assert_string_equal(sl_tls_sigalg_name(0x0403, buf), "ecdsa_secp256r1_sha256");
    assert_string_equal(sl_tls_version_name(0x0304, buf), "TLSv1.3");
    assert_string_equal(sl_tls_version_name(0x0300, buf), "SSLv3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_p15_chrome_like),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_p2_every_number),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
