/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#include "hello_builder.h"
#include "tls/client_hello.h"

#define CAUSE(name) SLUICE__V1__CAUSE__##name

static uint8_t message[HELLO_BUILD_MAX], wire[HELLO_BUILD_MAX];

static struct sl_hello_reader *reader_new(void)
{
    struct sl_hello_reader *r = NULL;
    assert_int_equal(sl_hello_reader_new(&r), SL_OK);
    return r;
}

/* Feeds in chunks; returns the state after the last one. */
static enum sl_hello_state feed(struct sl_hello_reader *r, const uint8_t *bytes, size_t len, size_t chunk)
{
    enum sl_hello_state state = SL_HELLO_NEED_MORE;
    for (size_t at = 0; at < len; at += chunk)
        state = sl_hello_reader_feed(r, bytes + at, len - at < chunk ? len - at : chunk);
    return state;
}

static struct sl_hello_reader *read_spec(const struct hello_spec *s, size_t fragment, size_t chunk, enum sl_hello_state expected)
{
    struct sl_hello_reader *r = reader_new();
    size_t n = build_records(message, build_message(s, message, sizeof message), fragment, wire, sizeof wire), raw;
    assert_int_equal(feed(r, wire, n, chunk), expected);
    /* P7: every byte is kept as it came. */
    assert_memory_equal(sl_hello_reader_raw(r, &raw), wire, n);
    assert_int_equal(raw, n);
    return r;
}

/* ---- what is read ---- */

static void test_p6_chrome_like_in_any_chunks(void **state)
{
    static const struct {
        size_t fragment, chunk;
    } table[] = {{16384, 100000}, {16384, 1}, {16384, 1460}, {100, 100000}, {100, 7}, {11, 1}, {700, 699}};
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct hello_spec s = chrome_like();
        struct sl_hello_reader *r = read_spec(&s, table[i].fragment, table[i].chunk, SL_HELLO_COMPLETE);
        const struct sl_client_hello *h = sl_hello_reader_hello(r);
        assert_non_null(h);
        assert_string_equal(h->sni, "www.example.com");
        assert_int_equal(h->sni_kind, SL_SNI_HOST);
        assert_int_equal(h->version_max, 0x0304);
        assert_int_equal(h->suites.count, 16);
        assert_int_equal(h->groups.count, 5);
        assert_int_equal(h->key_shares.count, 1);
        assert_int_equal(h->key_shares.at[0], 0x11ec);
        assert_true(h->grease && h->extended_master_secret && h->status_request && h->renegotiation_info && h->psk_dhe);
        assert_false(h->session_ticket || h->psk || h->early_data || h->fallback_scsv);
        assert_true(h->message_bytes > 1300);
        assert_int_equal(h->ech, SL_ECH_NONE);
        assert_string_equal(h->ja4, "t13d1516h2_8daaf6152771_e5627efa2ab1");
        struct sl_cursor alpn = h->alpn, name;
        assert_true(sl_client_hello_alpn_next(&alpn, &name));
        assert_memory_equal(name.at, "h2", 2);
        assert_true(sl_client_hello_alpn_next(&alpn, &name));
        assert_false(sl_client_hello_alpn_next(&alpn, &name));
        size_t raw;
        sl_hello_reader_raw(r, &raw);
        assert_int_equal(sl_hello_reader_hello_bytes(r), raw);
        sl_hello_reader_free(r);
    }
}

/* The examples of FoxIO's JA4 specification. */
static void test_ja4_known_answers(void **state)
{
    static const uint16_t suites[] = {0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9,
                                      0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035};
    static const uint16_t extensions[] = {0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d,
                                          0x0005, 0x0023, 0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015};
    static const uint16_t versions[] = {0x0304, 0x0303}, groups[] = {0x001d};
    static const uint16_t v12[] = {0x0303};
    static const char high[] = {(char)0xab, 0}, mixed[] = {(char)0xab, (char)0xcd, 0};
    const struct hello_spec base = {.suites = suites,
                                    .suite_count = 15,
                                    .extensions = extensions,
                                    .extension_count = 16,
                                    .versions = versions,
                                    .version_count = 2,
                                    .groups = groups,
                                    .group_count = 1,
                                    .sigalgs = chrome_sigalgs,
                                    .sigalg_count = 8,
                                    .sni = "a.example",
                                    .alpn = {"h2"}};
    (void)state;
    const struct {
        const char *alpn;
        bool no_extensions, no_sni, only12;
        const char *expected;
    } table[] = {
        {"h2", false, false, false, "t13d1516h2_8daaf6152771_e5627efa2ab1"},
        {"http/1.1", false, false, false, "t13d1516h1_8daaf6152771_e5627efa2ab1"},
        {"q", false, false, false, "t13d1516qq_8daaf6152771_e5627efa2ab1"},
        {high, false, false, false, "t13d1516ab_8daaf6152771_e5627efa2ab1"},
        {mixed, false, false, false, "t13d1516ad_8daaf6152771_e5627efa2ab1"},
        {"h2", false, true, false, "t13i1515h2_8daaf6152771_e5627efa2ab1"},
        {"h2", false, false, true, "t12d1516h2_8daaf6152771_e5627efa2ab1"},
        {"h2", true, false, false, "t12i150000_8daaf6152771_000000000000"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct hello_spec s = base;
        uint16_t without[15];
        s.alpn[0] = table[i].alpn;
        if (table[i].no_extensions)
            s.extension_count = 0;
        if (table[i].no_sni) {
            size_t n = 0;
            for (size_t k = 0; k < 16; k++)
                if (extensions[k] != 0)
                    without[n++] = extensions[k];
            s.extensions = without;
            s.extension_count = n;
        }
        if (table[i].only12) {
            s.versions = v12;
            s.version_count = 1;
        }
        struct sl_hello_reader *r = read_spec(&s, 16384, 100000, SL_HELLO_COMPLETE);
        assert_string_equal(sl_hello_reader_hello(r)->ja4, table[i].expected);
        sl_hello_reader_free(r);
    }
}

static void test_host_names(void **state)
{
    static const struct {
        const char *name;
        size_t len;
        enum sl_sni_kind kind;
        const char *sni;
    } table[] = {
        {"www.example.com", 0, SL_SNI_HOST, "www.example.com"},
        {"WWW.Example.COM.", 0, SL_SNI_HOST, "www.example.com"},
        {"localhost", 0, SL_SNI_HOST, "localhost"},
        {"xn--n1aae7f7o.example", 0, SL_SNI_HOST, "xn--n1aae7f7o.example"},
        {"a_b.example", 0, SL_SNI_HOST, "a_b.example"},
        {"192.0.2.1", 0, SL_SNI_IP, ""},
        {"192.0.2.1.", 0, SL_SNI_IP, ""},
        {"3232235777", 0, SL_SNI_IP, ""},
        {"0xc0.0x000201", 0, SL_SNI_IP, ""},
        {"2001:db8::1", 0, SL_SNI_IP, ""},
        {"", 0, SL_SNI_INVALID, ""},
        {".", 0, SL_SNI_INVALID, ""},
        {"a..b", 0, SL_SNI_INVALID, ""},
        {".example.com", 0, SL_SNI_INVALID, ""},
        {"-a.example", 0, SL_SNI_INVALID, ""},
        {"a-.example", 0, SL_SNI_INVALID, ""},
        {"ex ample.com", 0, SL_SNI_INVALID, ""},
        {"example.com\0.evil", 17, SL_SNI_INVALID, ""},
        {"ex\nample.com", 0, SL_SNI_INVALID, ""},
        {"b\xc3\xbc"
         "cher.example",
         0, SL_SNI_INVALID, ""},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example", 0, SL_SNI_INVALID, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct hello_spec s = chrome_like();
        s.sni = table[i].name;
        s.sni_len = table[i].len;
        struct sl_hello_reader *r = read_spec(&s, 16384, 100000, SL_HELLO_COMPLETE);
        assert_int_equal(sl_hello_reader_hello(r)->sni_kind, table[i].kind);
        assert_string_equal(sl_hello_reader_hello(r)->sni, table[i].sni);
        sl_hello_reader_free(r);
    }
}

static void test_ech(void **state)
{
    static const uint8_t outer[] = {0, 0, 1, 0, 1, 7, 0, 1, 9, 0, 2, 1, 2}, empty_enc[] = {0, 0, 1, 0, 1, 7, 0, 0, 0, 2, 1, 2},
                         inner[] = {1}, no_payload[] = {0, 0, 1, 0, 1, 7, 0, 1, 9, 0, 0},
                         longer[] = {0, 0, 1, 0, 1, 7, 0, 1, 9, 0, 1, 1, 2};
    static const uint16_t types[] = {0xfe0d, 0x002b};
    static const struct {
        const uint8_t *body;
        size_t len;
        enum sl_ech expected;
    } table[] = {{outer, sizeof outer, SL_ECH_OFFERED},  {empty_enc, sizeof empty_enc, SL_ECH_OFFERED},
                 {inner, sizeof inner, SL_ECH_GREASE},   {no_payload, sizeof no_payload, SL_ECH_GREASE},
                 {longer, sizeof longer, SL_ECH_GREASE}, {outer, 0, SL_ECH_GREASE}};
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct hello_spec s = chrome_like();
        s.extensions = types;
        s.extension_count = 2;
        s.ech = table[i].body;
        s.ech_len = table[i].len;
        struct sl_hello_reader *r = read_spec(&s, 16384, 100000, SL_HELLO_COMPLETE);
        assert_int_equal(sl_hello_reader_hello(r)->ech, table[i].expected);
        sl_hello_reader_free(r);
    }
}

/* A real one, from the library, as curl would send it. */
static void test_library_client_hello(void **state)
{
    static const unsigned char alpn[] = "\x02h2\x08http/1.1";
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    char *bytes;
    (void)state;

    SSL_set_bio(ssl, in, out);
    SSL_set_tlsext_host_name(ssl, "curl.example");
    SSL_set_alpn_protos(ssl, alpn, sizeof alpn - 1);
    assert_int_equal(SSL_connect(ssl), -1);
    long n = BIO_get_mem_data(out, &bytes);
    for (size_t chunk = 1; chunk < 600; chunk += 37) {
        struct sl_hello_reader *r = reader_new();
        assert_int_equal(feed(r, (const uint8_t *)bytes, (size_t)n, chunk), SL_HELLO_COMPLETE);
        const struct sl_client_hello *h = sl_hello_reader_hello(r);
        assert_string_equal(h->sni, "curl.example");
        assert_true(sl_client_hello_offers_version(h, 0x0304) && sl_client_hello_offers_version(h, 0x0303));
        assert_true(h->extended_master_secret && h->encrypt_then_mac && !h->grease);
        assert_int_equal(strncmp(h->ja4, "t13d", 4), 0);
        sl_hello_reader_free(r);
    }
    SSL_free(ssl);
    SSL_CTX_free(ctx);
}

/* ---- what is not TLS ---- */

static void test_first_bytes(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        enum sl_hello_state expected;
        int cause;
        const char *protocol;
    } table[] = {
        {"GET / HTTP/1.1\r\n", 16, SL_HELLO_NOT_TLS, 0, "http"},
        {"SSH-2.0-OpenSSH\r\n", 17, SL_HELLO_NOT_TLS, 0, "ssh"},
        {"EHLO x\r\n", 8, SL_HELLO_NOT_TLS, 0, "smtp"},
        {"\x00\x00", 2, SL_HELLO_NOT_TLS, 0, "unknown"},
        {"\x16", 1, SL_HELLO_NEED_MORE, 0, "unknown"},
        {"\x16\x03", 2, SL_HELLO_NEED_MORE, 0, "unknown"},
        {"\x16\x02", 2, SL_HELLO_NOT_TLS, 0, "unknown"},
        {"\x15\x03\x01\x00\x02\x02\x28", 7, SL_HELLO_MALFORMED, CAUSE(CLI_BAD_HELLO), "unknown"},
        {"\x17\x03\x03\x00\x02\x02\x28", 7, SL_HELLO_MALFORMED, CAUSE(CLI_BAD_HELLO), "unknown"},
        {"\x80\x2e\x01\x00\x02", 5, SL_HELLO_MALFORMED, CAUSE(CLI_UNSUPPORTED_VERSION), "unknown"},
        {"\x80\x2e\x01\x03\x01", 5, SL_HELLO_MALFORMED, CAUSE(CLI_UNSUPPORTED_VERSION), "unknown"},
        {"\x80\x2e\x01", 3, SL_HELLO_NEED_MORE, 0, "unknown"},
        {"\x80\x2e\x02", 3, SL_HELLO_NOT_TLS, 0, "unknown"},
        {"\x80\x2e\x01\x05\x01", 5, SL_HELLO_NOT_TLS, 0, "unknown"},
        {"\x16\x03\x01\x00\x00\x01", 6, SL_HELLO_MALFORMED, CAUSE(CLI_BAD_HELLO), "unknown"},
        {"\x16\x03\x01\x40\x01\x01", 6, SL_HELLO_MALFORMED, CAUSE(CLI_BAD_HELLO), "unknown"},
        {"\x16\x03\x01\x00\x10\x02", 6, SL_HELLO_MALFORMED, CAUSE(CLI_BAD_HELLO), "unknown"},
        /* 64 KiB and one: refused by its length alone */
        {"\x16\x03\x01\x00\x04\x01\x01\x00\x00", 9, SL_HELLO_MALFORMED, CAUSE(CLI_BAD_HELLO), "unknown"},
        {"\x16\x03\x01\x00\x04\x01\x00\x00\x05", 9, SL_HELLO_MALFORMED, CAUSE(CLI_BAD_HELLO), "unknown"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        for (int whole = 0; whole < 2; whole++) {
            struct sl_hello_reader *r = reader_new();
            assert_int_equal(feed(r, (const uint8_t *)table[i].bytes, table[i].len, whole ? table[i].len : 1), table[i].expected);
            assert_int_equal(sl_hello_reader_cause(r), table[i].cause);
            assert_null(sl_hello_reader_hello(r));
            if (table[i].expected == SL_HELLO_NOT_TLS && whole)
                assert_string_equal(sl_hello_reader_protocol(r), table[i].protocol);
            if (table[i].expected == SL_HELLO_MALFORMED) {
                assert_true(sl_hello_reader_alert(r) > 0);
                assert_true(sl_hello_reader_error(r)[0] != 0);
            }
            sl_hello_reader_free(r);
        }
}

/* ---- what is malformed ---- */

static void test_every_truncation_of_the_message_is_refused(void **state)
{
    struct hello_spec s = chrome_like();
    size_t n = build_message(&s, message, sizeof message);
    uint8_t *copy = malloc(n);
    (void)state;
    for (size_t cut = 4; cut < n; cut++) { /* the header says the shorter length, so it is whole but wrong inside */
        struct sl_hello_reader *r = reader_new();
        memcpy(copy, message, cut);
        copy[1] = 0;
        copy[2] = (uint8_t)((cut - 4) >> 8);
        copy[3] = (uint8_t)(cut - 4);
        sl_err err = sl_hello_reader_parse(r, copy, cut);
        /* Where it ends just after the compression methods it is a ClientHello without extensions. */
        if (cut != 4 + 2 + 32 + 1 + 2 + 32 + 2)
            assert_int_equal(err, SL_ERR_ALERT(50));
        else
            assert_int_equal(err, SL_OK);
        sl_hello_reader_free(r);
    }
    free(copy);
}

static void test_one_byte_missing_means_wait(void **state)
{
    struct hello_spec s = chrome_like();
    size_t n = build_records(message, build_message(&s, message, sizeof message), 500, wire, sizeof wire);
    (void)state;
    for (size_t cut = 0; cut < n; cut++) {
        struct sl_hello_reader *r = reader_new();
        assert_int_equal(cut ? sl_hello_reader_feed(r, wire, cut) : SL_HELLO_NEED_MORE, SL_HELLO_NEED_MORE);
        sl_hello_reader_free(r);
    }
}

static void test_contradictions(void **state)
{
    static const uint16_t twice[] = {0x0017, 0x002b, 0x0017}, psk_first[] = {0x0029, 0x002b}, ssl3[] = {0x0300};
    static const struct {
        const uint16_t *extensions;
        size_t count;
        const uint16_t *versions;
        size_t version_count;
        uint8_t alert;
        int cause;
    } table[] = {{twice, 3, chrome_versions, 3, 47, CAUSE(CLI_BAD_HELLO)},
                 {psk_first, 2, chrome_versions, 3, 47, CAUSE(CLI_BAD_HELLO)},
                 {twice + 1, 1, ssl3, 1, 70, CAUSE(CLI_UNSUPPORTED_VERSION)},
                 {twice + 1, 1, ssl3, 0, 50, CAUSE(CLI_BAD_HELLO)}};
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct hello_spec s = chrome_like();
        s.extensions = table[i].extensions;
        s.extension_count = table[i].count;
        s.versions = table[i].versions;
        s.version_count = table[i].version_count;
        struct sl_hello_reader *r = read_spec(&s, 16384, 100000, SL_HELLO_MALFORMED);
        assert_int_equal(sl_hello_reader_alert(r), table[i].alert);
        assert_int_equal(sl_hello_reader_cause(r), table[i].cause);
        sl_hello_reader_free(r);
    }
}

static void test_sizes_at_the_limit(void **state)
{
    static const struct {
        size_t padding, fragment;
        enum sl_hello_state expected;
    } table[] = {
        {10000, 16384, SL_HELLO_COMPLETE},
        {62000, 16384, SL_HELLO_COMPLETE},
        {65535, 16384, SL_HELLO_MALFORMED},
        {2000, 1, SL_HELLO_MALFORMED}, /* too many records */
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        static const uint16_t types[] = {0x002b, 0x0015};
        struct hello_spec s = chrome_like();
        s.extensions = types;
        s.extension_count = 2;
        s.padding = table[i].padding;
        size_t len = build_message(&s, message, sizeof message);
        if (table[i].padding == 65535) { /* the writer refuses such a length: say it in the header */
            memset(message + len, 0, 70000);
            len = 70000;
            message[1] = 1;
        }
        size_t n = build_records(message, len, table[i].fragment, wire, sizeof wire);
        struct sl_hello_reader *r = reader_new();
        assert_int_equal(feed(r, wire, n, 1460), table[i].expected);
        sl_hello_reader_free(r);
    }
}

static void test_other_record_inside_and_message_after(void **state)
{
    struct hello_spec s = chrome_like();
    size_t len = build_message(&s, message, sizeof message), n = build_records(message, len, 300, wire, sizeof wire);
    struct sl_hello_reader *r = reader_new();
    (void)state;
    wire[305] = 21; /* the second record */
    assert_int_equal(feed(r, wire, n, 100000), SL_HELLO_MALFORMED);
    assert_int_equal(sl_hello_reader_alert(r), 10);
    sl_hello_reader_free(r);
    r = reader_new();
    message[len] = 1;
    n = build_records(message, len + 1, 16384, wire, sizeof wire);
    assert_int_equal(feed(r, wire, n, 100000), SL_HELLO_MALFORMED);
    assert_int_equal(sl_hello_reader_alert(r), 10);
    sl_hello_reader_free(r);
}

/* Bytes after the ClientHello (an eager client) stay raw and change nothing. */
static void test_bytes_after_the_hello_are_kept(void **state)
{
    struct hello_spec s = chrome_like();
    size_t n = build_records(message, build_message(&s, message, sizeof message), 16384, wire, sizeof wire), raw;
    struct sl_hello_reader *r = reader_new();
    (void)state;
    memcpy(wire + n, "\x14\x03\x03\x00\x01\x01rest", 10);
    assert_int_equal(sl_hello_reader_feed(r, wire, n + 10), SL_HELLO_COMPLETE);
    assert_int_equal(sl_hello_reader_feed(r, (const uint8_t *)"more", 4), SL_HELLO_COMPLETE);
    assert_int_equal(sl_hello_reader_hello_bytes(r), n);
    assert_memory_equal(sl_hello_reader_raw(r, &raw), wire, n + 10);
    assert_int_equal(raw, n + 14);
    sl_hello_reader_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_p6_chrome_like_in_any_chunks),
        cmocka_unit_test(test_ja4_known_answers),
        cmocka_unit_test(test_host_names),
        cmocka_unit_test(test_ech),
        cmocka_unit_test(test_library_client_hello),
        cmocka_unit_test(test_first_bytes),
        cmocka_unit_test(test_every_truncation_of_the_message_is_refused),
        cmocka_unit_test(test_one_byte_missing_means_wait),
        cmocka_unit_test(test_contradictions),
        cmocka_unit_test(test_sizes_at_the_limit),
        cmocka_unit_test(test_other_record_inside_and_message_after),
        cmocka_unit_test(test_bytes_after_the_hello_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
