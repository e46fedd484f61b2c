/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "gateway/net.h"

static struct sl_endpoint at(const char *address, uint16_t port)
{
    struct sl_endpoint e;
    assert_int_equal(sl_endpoint_parse(address, port, &e), SL_OK);
    return e;
}

static void texts(void **state)
{
    (void)state;
    static const struct {
        const char *in, *address, *text;
    } cases[] = {
        {"192.0.2.1", "192.0.2.1", "192.0.2.1:443"},
        {"2001:DB8::1", "2001:db8::1", "[2001:db8::1]:443"},
        {"::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1:443"}, /* mapped: the rules for 192.0.2.1 must hold */
    };
    char out[SL_ENDPOINT_TEXT];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sl_endpoint e = at(cases[i].in, 443);
        assert_string_equal(sl_endpoint_address(&e, out), cases[i].address);
        assert_string_equal(sl_endpoint_text(&e, out), cases[i].text);
    }
    struct sl_endpoint e;
    assert_int_equal(sl_endpoint_parse("example.com", 1, &e), SL_ERR_INVALID);
    assert_int_equal(sl_endpoint_parse("192.0.2.256", 1, &e), SL_ERR_INVALID);
}

/* A12: the gateway never proxies to itself, to loopback or to metadata services. */
static void guard(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        bool forbidden;
    } cases[] = {
        {"127.0.0.1", true},
        {"127.8.8.8", true},
        {"169.254.169.254", true},
        {"0.0.0.0", true},
        {"224.0.0.1", true},
        {"255.255.255.255", true},
        {"::1", true},
        {"::", true},
        {"fe80::1", true},
        {"ff02::1", true},
        {"fd00:ec2::254", true},
        {"::ffff:127.0.0.1", true},
        {"192.0.2.1", false},
        {"2001:db8::1", false},
    };
    struct sl_net_guard *g;
    assert_int_equal(sl_net_guard_new(&g), SL_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sl_endpoint e = at(cases[i].address, 443);
        if (sl_net_guard_forbids(g, &e) != cases[i].forbidden)
            fail_msg("%s", cases[i].address);
    }
    struct sl_endpoint own = at("127.0.0.1", 1);
    assert_true(sl_net_guard_is_own(g, &own));
    assert_string_equal(sl_net_guard_interface(g, &own), "lo");
    sl_net_guard_free(g);
}

static void wait_for(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    assert_int_equal(poll(&p, 1, 10000), 1);
}

static void listen_accept_connect(void **state)
{
    (void)state;
    struct sl_endpoint here = at("127.0.0.1", 0), peer, local, bound;
    socklen_t size = sizeof bound;
    struct sl_diag diag;
    int listener, out, in;

    assert_int_equal(sl_net_listen(&here, false, &listener, &diag), SL_OK);
    assert_int_equal(sl_net_accept(listener, &in, &peer, &local), SL_ERR_AGAIN);
    assert_int_equal(getsockname(listener, &bound.any, &size), 0);
    assert_int_equal(sl_net_connect(&bound, NULL, &out), SL_OK);
    wait_for(out, POLLOUT);
    assert_int_equal(sl_net_error(out), 0);
    wait_for(listener, POLLIN);
    assert_int_equal(sl_net_accept(listener, &in, &peer, &local), SL_OK);
    assert_int_equal(sl_endpoint_port(&local), sl_endpoint_port(&bound));
    sl_net_close_reset(in);
    wait_for(out, POLLIN);
    char byte;
    assert_int_equal(read(out, &byte, 1), -1);
    assert_int_equal(errno, ECONNRESET);
    close(out);
    close(listener);
}

static void refusal_is_told(void **state)
{
    (void)state;
    struct sl_endpoint nobody = at("127.0.0.1", 1);
    int fd;
    assert_int_equal(sl_net_connect(&nobody, NULL, &fd), SL_OK);
    wait_for(fd, POLLOUT);
    assert_int_equal(sl_net_error(fd), ECONNREFUSED);
    close(fd);
}

static void taken_port_is_explained(void **state)
{
    (void)state;
    struct sl_endpoint elsewhere = at("192.0.2.1", 443); /* not an address of this host */
    struct sl_diag diag;
    int fd = 7;
    assert_int_equal(sl_net_listen(&elsewhere, false, &fd, &diag), SL_ERR_IO);
    assert_int_equal(fd, -1);
    assert_non_null(strstr(diag.text, "192.0.2.1:443"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(texts), cmocka_unit_test(guard), cmocka_unit_test(listen_accept_connect),
                                       cmocka_unit_test(refusal_is_told), cmocka_unit_test(taken_port_is_explained)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
