/* SPDX-License-Identifier: Apache-2.0 */
/* V2, V13: names as they are written, and which certificate proves which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pki/san.h"
#include "test_pki.h"

static void names(void **state)
{
    static const struct {
        const char *in, *out; /* out NULL: refused */
        size_t ip_len;
    } cases[] = {
        {"www.example.com", "www.example.com", 0},
        {"WWW.Example.Com.", "www.example.com", 0},
        {"a_b.example", "a_b.example", 0},
        {"localhost", "localhost", 0},
        {"xn--bcher-kva.example", "xn--bcher-kva.example", 0},
        {"b\xc3\xbc"
         "cher.example",
         "xn--bcher-kva.example", 0},
        {"m\xc3\xbcnchen.de", "xn--mnchen-3ya.de", 0},
        {"\xe4\xbe\x8b\xe3\x81\x88.jp", "xn--r8jz45g.jp", 0},
        {"\xd0\xbf\xd1\x80\xd0\xb8\xd0\xbc\xd0\xb5\xd1\x80.\xd1\x80\xd1\x84", "xn--e1afmkfd.xn--p1ai", 0},
        {"192.0.2.1", "192.0.2.1", 4},
        {"2001:DB8::1", "2001:db8::1", 16},
        {"[2001:db8:0::1]", "2001:db8::1", 16},
        {"192.0.2.1.", NULL, 0}, /* else a DNS name with the text of an address */
        {"0.0.0.0.", NULL, 0},
        {"192.0.2.1.example", "192.0.2.1.example", 0},
        {"", NULL, 0},
        {NULL, NULL, 0},
        {".", NULL, 0},
        {"a..b", NULL, 0},
        {".a", NULL, 0},
        {"a b", NULL, 0},
        {"a/b", NULL, 0},
        {"*.example.com", NULL, 0},
        {"[192.0.2.1]", NULL, 0},
        {"[2001:db8::1", NULL, 0},
        {"\xff\xfe", NULL, 0},
        {"\xc0\xaf", NULL, 0},                                                                 /* overlong */
        {"\xed\xa0\x80.example", NULL, 0},                                                     /* surrogate */
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example", NULL, 0}, /* 64 */
    };
    struct sl_name name;
    char longest[1100];
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        sl_err err = sl_name_parse(cases[i].in, &name);
        if ((err == SL_OK) != (cases[i].out != NULL) || (cases[i].out && strcmp(name.text, cases[i].out) != 0))
            fail_msg("'%s' became '%s' (%d)", cases[i].in ? cases[i].in : "NULL", name.text, err);
        assert_int_equal(name.ip_len, cases[i].ip_len);
    }
    for (size_t len = 250; len < sizeof(longest) - 1; len += 2) {
        for (size_t i = 0; i < len; i++)
            longest[i] = i % 2 ? '.' : 'a';
        longest[len] = '\0';
        assert_int_equal(sl_name_parse(longest, &name), len <= 254 ? SL_OK : SL_ERR_INVALID);
    }
}

static void patterns(void **state)
{
    static const struct {
        const char *pattern, *host;
        bool match;
    } cases[] = {
        {"a.example.com", "a.example.com", true},
        {"A.EXAMPLE.com", "a.example.com", true},
        {"a.example.com.", "a.example.com", true},
        {"a.example.com", "b.example.com", false},
        {"example.com", "a.example.com", false},
        {"*.example.com", "a.example.com", true},
        {"*.example.com", "xn--a.example.com", true},
        {"*.example.com", "example.com", false},
        {"*.example.com", ".example.com", false},
        {"*.example.com", "a.b.example.com", false},
        {"*.com", "example.com", false},
        {"*", "localhost", false},
        {"*.", "localhost", false},
        {"a*.example.com", "ab.example.com", false},
        {"*a.example.com", "ba.example.com", false},
        {"a.*.example.com", "a.b.example.com", false},
        {"*.*.example.com", "a.b.example.com", false},
        {"**.example.com", "a.example.com", false},
        {"", "a", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (sl_san_pattern_match(cases[i].pattern, strlen(cases[i].pattern), cases[i].host) != cases[i].match)
            fail_msg("'%s' and '%s'", cases[i].pattern, cases[i].host);
    }
    assert_false(sl_san_pattern_match("a.example.com\0.evil.com", 23, "a.example.com"));
    assert_false(sl_san_pattern_match("a\0", 2, "a"));
}

/* V13: a rule that exempts "bank" by name asks the certificate. */
static void certificates(void **state)
{
    struct tp p =
        tp_make((struct tp_spec){.cn = "cn.example", .san = "DNS:bank.example,DNS:*.shop.example,IP:192.0.2.9,email:a@b.example"});
    struct tp none = tp_make((struct tp_spec){.cn = "bank.example"});
    (void)state;
    assert_true(sl_san_match_text(p.cert, "bank.example"));
    assert_true(sl_san_match_text(p.cert, "x.shop.example"));
    assert_true(sl_san_match_text(p.cert, "192.0.2.9"));
    assert_false(sl_san_match_text(p.cert, "cn.example"));
    assert_false(sl_san_match_text(p.cert, "b.example"));
    assert_false(sl_san_match_text(p.cert, "evil.example"));
    assert_false(sl_san_match_text(p.cert, ""));
    assert_false(sl_san_match_text(p.cert, NULL));
    assert_false(sl_san_match_text(none.cert, "bank.example"));
    tp_free(&p);
    tp_free(&none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(patterns), cmocka_unit_test(certificates)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
