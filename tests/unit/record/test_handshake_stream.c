/* SPDX-License-Identifier: Apache-2.0 */
/* Post-handshake messages, cut and joined at every place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "record/handshake_stream.h"
#include "record/tls.h"

#define UPDATE         "\x18\0\0\1\0"
#define UPDATE_REQUEST "\x18\0\0\1\1"
#define TICKET         "\4\0\0\x10lifeage_\0\0\3abc\0\0"
#define OF(s)          (const uint8_t *)(s), sizeof(s) - 1

static const struct {
    const char *name;
    const uint8_t *bytes;
    size_t len;
    bool from_server;
    unsigned drop;
    sl_err err;
    size_t kept; /* of them, if no error */
    bool key_update, requested;
    uint32_t dropped;
} cases[] = {
    {"update", OF(UPDATE), false, 0, SL_OK, 5, true, false, 0},
    {"update, requested, of the server", OF(UPDATE_REQUEST), true, SL_HS_DROP_TICKETS, SL_OK, 5, true, true, 0},
    {"update withheld", OF(UPDATE), true, SL_HS_DROP_KEY_UPDATES, SL_OK, 0, true, false, 0},
    {"ticket", OF(TICKET), true, 0, SL_OK, 20, false, false, 0},
    {"ticket dropped", OF(TICKET), true, SL_HS_DROP_TICKETS, SL_OK, 0, false, false, 1},
    {"two tickets dropped", OF(TICKET TICKET), true, SL_HS_DROP_TICKETS, SL_OK, 0, false, false, 2},
    {"ticket, update", OF(TICKET UPDATE), true, SL_HS_DROP_TICKETS, SL_OK, 5, true, false, 1},
    {"ticket of a client", OF(TICKET), false, 0, SL_ERR_ALERT(10), 0, false, false, 0},
    {"two updates", OF(UPDATE UPDATE), false, 0, SL_ERR_ALERT(10), 0, false, false, 0},
    {"update, ticket", OF(UPDATE TICKET), true, 0, SL_ERR_ALERT(10), 0, false, false, 0},
    {"update with a bad value", OF("\x18\0\0\1\2"), false, 0, SL_ERR_ALERT(47), 0, false, false, 0},
    {"update, empty", OF("\x18\0\0\0"), false, 0, SL_ERR_ALERT(50), 0, false, false, 0},
    {"update, long", OF("\x18\0\0\2\0\0"), false, 0, SL_ERR_ALERT(50), 0, false, false, 0},
    {"ticket, too short", OF("\4\0\0\x0d"), true, 0, SL_ERR_ALERT(50), 0, false, false, 0},
    {"ticket, too long", OF("\4\xff\xff\xff"), true, 0, SL_ERR_ALERT(50), 0, false, false, 0},
    {"hello request", OF("\0\0\0\0"), true, 0, SL_ERR_ALERT(10), 0, false, false, 0},
    {"client hello", OF("\1\0\0\1x"), false, 0, SL_ERR_ALERT(10), 0, false, false, 0},
    {"certificate request after the handshake", OF("\x0d\0\0\1x"), true, 0, SL_ERR_ALERT(10), 0, false, false, 0},
    {"finished", OF("\x14\0\0\1x"), true, 0, SL_ERR_ALERT(10), 0, false, false, 0},
};

/* One piece, single bytes, and every cut into two. */
static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t cut = 0; cut <= cases[i].len; cut++) {
            struct sl_hs_stream s = {0};
            uint8_t keep[64];
            size_t first = 0, second = 0;
            sl_err err = sl_hs_feed(&s, cases[i].from_server, cases[i].drop, cases[i].bytes, cut, keep, &first);
            if (err == SL_OK)
                err = sl_hs_feed(&s, cases[i].from_server, cases[i].drop, cases[i].bytes + cut, cases[i].len - cut, keep + first,
                                 &second);
            if (err != cases[i].err)
                fail_msg("%s cut at %zu: %d", cases[i].name, cut, err);
            if (err != SL_OK)
                continue;
            assert_int_equal(first + second, cases[i].kept);
            assert_memory_equal(keep, cases[i].bytes + cases[i].len - cases[i].kept, cases[i].kept);
            assert_int_equal(s.key_update, cases[i].key_update);
            assert_int_equal(s.update_requested, cases[i].requested);
            assert_int_equal(s.tickets_dropped, cases[i].dropped);
            assert_int_equal(s.have, 0);
        }
    }
}

static void test_bytewise(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sl_hs_stream s = {0};
        sl_err err = SL_OK;
        for (size_t at = 0; at < cases[i].len && err == SL_OK; at++)
            err = sl_hs_feed(&s, cases[i].from_server, 0, cases[i].bytes + at, 1, NULL, NULL);
        assert_int_equal(err, cases[i].err);
    }
}

/* Compaction in the buffer that is read. */
static void test_in_place(void **state)
{
    (void)state;
    uint8_t bytes[] = TICKET TICKET UPDATE;
    size_t kept;
    struct sl_hs_stream s = {0};
    assert_int_equal(sl_hs_feed(&s, true, SL_HS_DROP_TICKETS, bytes, sizeof(bytes) - 1, bytes, &kept), SL_OK);
    assert_int_equal(kept, 5);
    assert_memory_equal(bytes, UPDATE, 5);
    assert_int_equal(s.tickets_dropped, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases), cmocka_unit_test(test_bytewise),
                                       cmocka_unit_test(test_in_place)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
