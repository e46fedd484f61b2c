/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "gateway/config.h"

#define GOOD "listeners: [{kind: explicit, address: 127.0.0.1, port: 3128}]\ntrust: {bundle: /b.pem}\n"

static void good(void **state)
{
    (void)state;
    struct sl_config c;
    struct sl_diag diag;
    const char *text =
        GOOD "device_name: gw1\nworkers: 3\nstate_dir: /s\nlog: {level: debug, format: json}\n"
             "management: {unix: /m.sock}\ntls_log: /t.log\nca: {passphrase_file: \"\"}\ndrain_ms: 5\nevents: {max_events: 9}\n";
    assert_int_equal(sl_config_parse("f", text, strlen(text), &c, &diag), SL_OK);
    assert_string_equal(c.device_name, "gw1");
    assert_int_equal(c.workers, 3);
    assert_int_equal(c.listener_count, 1);
    assert_int_equal(c.listeners[0].kind, SL_LISTEN_EXPLICIT);
    assert_int_equal(sl_endpoint_port(&c.listeners[0].at), 3128);
    assert_int_equal(c.log.level, SL_LOG_DEBUG);
    assert_int_equal(c.log.format, SL_LOG_JSON);
    assert_null(c.ca.passphrase_file);
    assert_int_equal(c.drain_ms, 5);
    assert_int_equal(c.events.max_events, 9);
    sl_config_free(&c);
}

/* Each message must name the line and the way out. */
static const struct {
    const char *text, *message;
} bad[] = {
    /* 0 */ {"", "f: the file is empty"},
    /* 1 */ {"a: [", "not YAML"},
    /* 2 */ {"just text", "keys with values"},
    /* 3 */ {GOOD "worker: 3\n", "unknown key 'worker'"},
    /* 4 */ {GOOD "workers: three\n", "f:3: a whole number"},
    /* 5 */ {GOOD "workers: 65\n", "at most 64"},
    /* 6 */ {GOOD "workers: 1\nworkers: 2\n", "f:4: 'workers' is there twice"},
    /* 7 */ {"trust: {bundle: /b}\n", "no 'listeners'"},
    /* 8 */ {"listeners: [{kind: explicit, address: 127.0.0.1, port: 1}]\n", "bundle"},
    /* 9 */ {"listeners: [{kind: bridge, address: 127.0.0.1, port: 1}]\n", "kind: transparent"},
    /* 10 */ {"listeners: [{kind: explicit, address: localhost, port: 1}]\n", "IPv4 or IPv6 'address'"},
    /* 11 */ {"listeners: [{kind: explicit, address: 127.0.0.1, port: 65536}]\n", "'port'"},
    /* 12 */ {GOOD "log: {level: loud}\n", "error, warn, info or debug"},
    /* 13 */ {GOOD "log: {format: xml}\n", "text or json"},
    /* 14: never gRPC over TCP without mutual TLS */ {GOOD "management: {tcp: \"127.0.0.1:1\"}\n", "mutual TLS"},
    /* 15 */ {GOOD "allow_local_servers: yes\n", "true or false"},
    /* 16 */ {GOOD "device_name: [a]\n", "a text"},
    /* 17 */ {"listeners: {}\n", "a list"},
};

static void errors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct sl_config c;
        struct sl_diag diag = {""};
        assert_int_equal(sl_config_parse("f", bad[i].text, strlen(bad[i].text), &c, &diag), SL_ERR_INVALID);
        if (!strstr(diag.text, bad[i].message))
            fail_msg("case %zu: %s", i, diag.text);
    }
}

static void missing_file(void **state)
{
    (void)state;
    struct sl_config c;
    struct sl_diag diag;
    assert_int_equal(sl_config_load("/nowhere/sluiced.yaml", &c, &diag), SL_ERR_IO);
    assert_non_null(strstr(diag.text, "/nowhere/sluiced.yaml: No such file"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(good), cmocka_unit_test(errors), cmocka_unit_test(missing_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
