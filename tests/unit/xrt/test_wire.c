// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "emulation.pb-c.h"
#include "wire.h"

static const uint8_t call[] = {0x09, 3, 0, 0, 0, 0, 0, 0, 0, 0x15, 11, 0, 0, 0, 'a', 'b', 'c'};

/* Any cut is the host's end; the whole is a call. */
static void test_receive(void **state)
{
    (void)state;
    for (size_t length = 0; length <= sizeof call; length++) {
        int ends[2];
        uint32_t number = 0;
        size_t got = 0;
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
        struct wire wire = {.fd = ends[0]};
        assert_int_equal(write(ends[1], call, length), (ssize_t)length);
        close(ends[1]);
        assert_int_equal(wire_receive(&wire, &number, &got), length == sizeof call ? WIRE_CALL : WIRE_END);
        if (length == sizeof call) {
            assert_true(number == 11 && got == 3);
            assert_memory_equal(wire.bytes, "abc", 3);
        }
        wire_close(&wire);
    }
}

static void test_header(void **state)
{
    uint8_t header[WIRE_CALL_HEADER];
    uint32_t number;
    size_t length;
    (void)state;
    memcpy(header, call, sizeof header);
    assert_int_equal(wire_parse_header(header, &number, &length), WIRE_CALL);
    header[0] = 0x0a;
    assert_int_equal(wire_parse_header(header, &number, &length), WIRE_BROKEN);
    memcpy(header, call, sizeof header);
    header[9] = 0x14;
    assert_int_equal(wire_parse_header(header, &number, &length), WIRE_BROKEN);
    memcpy(header, call, sizeof header);
    header[8] = 0x80; // a length beyond all reason
    assert_int_equal(wire_parse_header(header, &number, &length), WIRE_BROKEN);
}

static void test_answer(void **state)
{
    static const uint8_t expected[] = {0x09, 2, 0, 0, 0, 0, 0, 0, 0, 0x08, 1};
    uint8_t got[sizeof expected + 1];
    int ends[2];
    Sluice__Emulation__Acknowledge answer = SLUICE__EMULATION__ACKNOWLEDGE__INIT;
    (void)state;
    answer.ok = true;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    struct wire wire = {.fd = ends[0]};
    assert_true(wire_answer(&wire, &answer.base));
    assert_int_equal(read(ends[1], got, sizeof got), (ssize_t)sizeof expected);
    assert_memory_equal(got, expected, sizeof expected);
    close(ends[1]);
    assert_false(wire_answer(&wire, &answer.base)); // no SIGPIPE
    wire_close(&wire);
}

/* Nobody listens: an error after the given time, and for a path that is too long at once. */
static void test_connect(void **state)
{
    struct wire wire = {.fd = -1};
    char path[200];
    (void)state;
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    assert_false(wire_connect(&wire, path, 1));
    assert_false(wire_connect(&wire, "nobody", 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_receive), cmocka_unit_test(test_header), cmocka_unit_test(test_answer),
                                       cmocka_unit_test(test_connect)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
