/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <string.h>

#include "policy/address.h"

static void test_address(void **state)
{
    static const struct {
        const char *text, *shown; /* shown NULL: refused */
    } T[] = {
        {"192.0.2.1", "192.0.2.1"},
        {"::ffff:192.0.2.1", "192.0.2.1"},
        {"2001:DB8::1", "2001:db8::1"},
        {"[2001:db8::1]", "2001:db8::1"},
        {"::", "::"},
        {"", NULL},
        {"[192.0.2.1]", NULL},
        {"[]", NULL},
        {"192.0.2", NULL},
        {"192.0.2.256", NULL},
        {"fe80::1%eth0", NULL},
        {" 192.0.2.1", NULL},
        {"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(T) / sizeof(T[0]); i++) {
        struct sl_addr a;
        char out[SL_ADDR_TEXT];
        assert_int_equal(sl_addr_parse(T[i].text, &a), T[i].shown ? SL_OK : SL_ERR_INVALID);
        if (T[i].shown)
            assert_string_equal(sl_addr_text(&a, out), T[i].shown);
    }
}

static void test_sockaddr(void **state)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct sockaddr other = {.sa_family = AF_UNIX};
    struct sl_addr a, b;

    (void)state;
    inet_pton(AF_INET, "192.0.2.9", &v4.sin_addr);
    inet_pton(AF_INET6, "::ffff:192.0.2.9", &v6.sin6_addr);
    assert_int_equal(sl_addr_from_sockaddr((struct sockaddr *)&v4, &a), SL_OK);
    assert_int_equal(sl_addr_from_sockaddr((struct sockaddr *)&v6, &b), SL_OK);
    assert_int_equal(sl_addr_compare(&a, &b), 0);
    assert_true(sl_addr_is_v4(&b));
    assert_int_equal(sl_addr_from_sockaddr(&other, &a), SL_ERR_INVALID);
    assert_int_equal(sl_addr_compare(&a, &b), 0);
}

static void test_range(void **state)
{
    static const struct {
        const char *range, *in, *out; /* in NULL: refused; out is then a part of the message */
    } T[] = {
        {"10.0.0.0/8", "10.255.255.255", "11.0.0.0"},
        {"0.0.0.0/0", "255.255.255.255", "::1"},
        {"192.0.2.7", "192.0.2.7", "192.0.2.8"},
        {"192.0.2.7/32", "::ffff:192.0.2.7", "192.0.2.6"},
        {"10.0.0.1-10.0.0.9", "10.0.0.9", "10.0.0.10"},
        {"2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"},
        {"::/0", "2001:db8::1", "192.0.2.1"},
        {"::ffff:0:0/96", "192.0.2.1", "2001:db8::1"},
        {"2001:db8::1-2001:db8::f", "2001:db8::8", "2001:db8::10"},
        {"10.0.0.1/8", NULL, "10.0.0.0/8"},
        {"10.0.0.0/33", NULL, "0 to 32"},
        {"10.0.0.0/", NULL, "prefix length"},
        {"10.0.0.0/-1", NULL, "prefix length"},
        {"10.0.0.0/8x", NULL, "prefix length"},
        {"2001:db8::/129", NULL, "0 to 128"},
        {"/8", NULL, "no address"},
        {"10.0.0.9-10.0.0.1", NULL, "swap"},
        {"10.0.0.9-2001:db8::1", NULL, "IPv6"},
        {"10.0.0.9-", NULL, "range"},
        {"example", NULL, "no address, prefix or range"},
        {"", NULL, "no address"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(T) / sizeof(T[0]); i++) {
        struct sl_addr_range r;
        struct sl_addr a;
        struct sl_diag diag = {""};
        assert_int_equal(sl_addr_range_parse(T[i].range, &r, &diag), T[i].in ? SL_OK : SL_ERR_INVALID);
        if (!T[i].in) {
            if (!strstr(diag.text, T[i].out))
                fail_msg("%s: %s", T[i].range, diag.text);
            continue;
        }
        assert_int_equal(sl_addr_parse(T[i].in, &a), SL_OK);
        assert_true(sl_addr_range_has(&r, &a));
        assert_int_equal(sl_addr_parse(T[i].out, &a), SL_OK);
        assert_false(sl_addr_range_has(&r, &a));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_address), cmocka_unit_test(test_sockaddr),
                                       cmocka_unit_test(test_range)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
