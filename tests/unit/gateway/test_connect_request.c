/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "gateway/connect_request.h"

static const struct {
    const char *bytes;
    sl_err err;
    const char *host;
    uint16_t port;
    size_t rest; /* bytes behind the request */
} cases[] = {
    /* 0 */ {"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n", SL_OK, "example.com", 443, 0},
    /* 1 */ {"CONNECT EXAMPLE.com:8443 HTTP/1.0\r\n\r\n", SL_OK, "example.com", 8443, 0},
    /* 2 */ {"CONNECT [2001:db8::1]:443 HTTP/1.1\r\n\r\n", SL_OK, "2001:db8::1", 443, 0},
    /* 3: what follows belongs to the tunnel */ {"CONNECT a:1 HTTP/1.1\r\nA: b\r\n\r\n\x16\x03\x01", SL_OK, "a", 1, 3},
    /* 4 */ {"CONNECT a:1 HTTP/1.1\r\nA: b\r\n", SL_ERR_AGAIN, NULL, 0, 0},
    /* 5 */ {"", SL_ERR_AGAIN, NULL, 0, 0},
    /* 6 */ {"GET http://example.com/ HTTP/1.1\r\n\r\n", SL_ERR_UNSUPPORTED, NULL, 0, 0},
    /* 7: TLS to the proxy port */ {"\x16\x03\x01\x02", SL_ERR_INVALID, NULL, 0, 0},
    /* 8 */ {"CONNECT example.com HTTP/1.1\r\n\r\n", SL_ERR_INVALID, NULL, 0, 0},
    /* 9 */ {"CONNECT example.com:0 HTTP/1.1\r\n\r\n", SL_ERR_INVALID, NULL, 0, 0},
    /* 10 */ {"CONNECT example.com:65536 HTTP/1.1\r\n\r\n", SL_ERR_INVALID, NULL, 0, 0},
    /* 11 */ {"CONNECT example.com:+43 HTTP/1.1\r\n\r\n", SL_ERR_INVALID, NULL, 0, 0},
    /* 12 */ {"CONNECT exa mple.com:443 HTTP/1.1\r\n\r\n", SL_ERR_INVALID, NULL, 0, 0},
    /* 13 */ {"CONNECT :443 HTTP/1.1\r\n\r\n", SL_ERR_INVALID, NULL, 0, 0},
    /* 14 */ {"CONNECT []:443 HTTP/1.1\r\n\r\n", SL_ERR_INVALID, NULL, 0, 0},
    /* 15 */ {"CONNECT a:1 HTTP/2.0\r\n\r\n", SL_ERR_INVALID, NULL, 0, 0},
    /* 16: a header without a colon */ {"CONNECT a:1 HTTP/1.1\r\nHost\r\n\r\n", SL_ERR_INVALID, NULL, 0, 0},
    /* 17: a folded header hides where the section ends */
    {"CONNECT a:1 HTTP/1.1\r\nA: b\r\n c: d\r\n\r\n", SL_ERR_INVALID, NULL, 0, 0},
    /* 18 */ {"CONNECT a:1 HTTP/1.1\r\nA: b\x01\r\n\r\n", SL_ERR_INVALID, NULL, 0, 0},
    /* 19 */ {"connect a:1 HTTP/1.1\r\n\r\n", SL_ERR_UNSUPPORTED, NULL, 0, 0},
    /* 20: terminal escapes in a name */ {"CONNECT a\x1b[2J:1 HTTP/1.1\r\n\r\n", SL_ERR_INVALID, NULL, 0, 0},
};

static void requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sl_connect_request out = {.port = 7};
        size_t len = strlen(cases[i].bytes);
        sl_err err = sl_connect_request_parse((const uint8_t *)cases[i].bytes, len, &out);
        if (err != cases[i].err)
            fail_msg("case %zu: %s", i, sl_err_str(err));
        if (err) {
            assert_int_equal(out.port, 7);
            continue;
        }
        assert_string_equal(out.host, cases[i].host);
        assert_int_equal(out.port, cases[i].port);
        assert_int_equal(out.size, len - cases[i].rest);
    }
}

static void every_prefix_asks_for_more(void **state)
{
    (void)state;
    const char *bytes = cases[0].bytes;
    for (size_t len = 0; len < strlen(bytes); len++) {
        struct sl_connect_request out;
        uint8_t *copy = malloc(len + 1); /* exactly sized, so that the address sanitizer sees a read beyond */
        memcpy(copy, bytes, len);
        assert_int_equal(sl_connect_request_parse(copy, len, &out), SL_ERR_AGAIN);
        free(copy);
    }
}

static void too_long(void **state)
{
    (void)state;
    static uint8_t bytes[SL_CONNECT_REQUEST_MAX + 100];
    struct sl_connect_request out;
    memset(bytes, 'a', sizeof bytes);
    memcpy(bytes, "CONNECT a:1 HTTP/1.1\r\nA: ", 25);
    assert_int_equal(sl_connect_request_parse(bytes, SL_CONNECT_REQUEST_MAX - 1, &out), SL_ERR_AGAIN);
    assert_int_equal(sl_connect_request_parse(bytes, SL_CONNECT_REQUEST_MAX, &out), SL_ERR_LIMIT);
    memcpy(bytes + SL_CONNECT_REQUEST_MAX + 10, "\r\n\r\n", 4); /* an end beyond the limit does not count */
    assert_int_equal(sl_connect_request_parse(bytes, sizeof bytes, &out), SL_ERR_LIMIT);
}

static void answers(void **state)
{
    (void)state;
    assert_string_equal(sl_connect_answer(200), "HTTP/1.1 200 Connection established\r\n\r\n");
    const unsigned statuses[] = {400, 403, 405, 502, 503, 504};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        assert_int_equal(strtoul(sl_connect_answer(statuses[i]) + 9, NULL, 10), statuses[i]);
        assert_non_null(strstr(sl_connect_answer(statuses[i]), "\r\n\r\nSluice: "));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(requests), cmocka_unit_test(every_prefix_asks_for_more),
                                       cmocka_unit_test(too_long), cmocka_unit_test(answers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
