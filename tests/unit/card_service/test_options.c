/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <getopt.h>
#include <string.h>

#include "card/service/options.h"

enum { WORDS = 16 };

static sl_err parse(const char *const *words, struct sl_card_options *out, enum sl_card_start *start, struct sl_diag *diag)
{
    static char name[] = "sluice-card";
    char *argv[WORDS + 2] = {name};
    int argc = 1;
    for (; words[argc - 1] != NULL; argc++)
        argv[argc] = (char *)(uintptr_t)words[argc - 1];
    diag->text[0] = '\0';
    optind = 0; /* begin anew */
    return sl_card_options_parse(argc, argv, out, start, diag);
}

static void right(void **state)
{
    struct sl_card_options o;
    enum sl_card_start start;
    struct sl_diag diag;
    (void)state;
    assert_int_equal(parse((const char *const[]){"--listen", "unix:/run/s", NULL}, &o, &start, &diag), SL_OK);
    assert_string_equal(o.service.unix_path, "/run/s");
    assert_null(o.service.tcp);
    assert_false(o.xrt || o.has_replay || o.stay || o.service.has_group);
    assert_int_equal(start, SL_CARD_START_RUN);

    assert_int_equal(parse((const char *const[]){"--listen", "tcp:[::1]:7", "--tls-cert", "c", "--tls-key", "k", "--tls-ca", "a",
                                                 "--listen", "unix:s", "--engine", "xrt", "--xclbin", "x", NULL},
                           &o, &start, &diag),
                     SL_OK);
    assert_int_equal(o.engine.dead_after_ms, 0);
    assert_string_equal(o.service.tcp, "[::1]:7");
    assert_string_equal(o.service.tls.ca_file, "a");
    assert_true(o.xrt);

    assert_int_equal(parse((const char *const[]){"--listen", "unix:s", "--dead-after-ms", "2500", NULL}, &o, &start, &diag), SL_OK);
    assert_int_equal(o.engine.dead_after_ms, 2500);
    assert_false(o.cpu_when_dead);

    assert_int_equal(parse((const char *const[]){"--listen", "unix:s", "--when-dead", "cpu", NULL}, &o, &start, &diag), SL_OK);
    assert_true(o.cpu_when_dead);
    assert_int_equal(parse((const char *const[]){"--listen", "unix:s", "--when-dead", "close", NULL}, &o, &start, &diag), SL_OK);
    assert_false(o.cpu_when_dead);

    assert_int_equal(parse((const char *const[]){"--pcap", "in", "out", "--inside", "10.0.0.0/8", "--punted", "drop", "--stay",
                                                 "--wait-sessions", "3", "--fix-checksums", NULL},
                           &o, &start, &diag),
                     SL_OK);
    assert_string_equal(o.replay.out, "out");
    assert_true(o.replay.drop_punted && o.stay && o.replay.fix_checksums);
    assert_int_equal(o.replay.wait_sessions, 3);
    assert_int_equal(o.replay.inside_count, 1);

    assert_int_equal(
        parse((const char *const[]){"--ports", "eth0,eth1", "--punted", "drop", "--mirror", "m", NULL}, &o, &start, &diag), SL_OK);
    assert_true(o.has_ports && o.wire.drop_punted);
    assert_string_equal(o.wire.name[0], "eth0");
    assert_string_equal(o.wire.name[1], "eth1");

    assert_int_equal(parse((const char *const[]){"--help", NULL}, &o, &start, &diag), SL_OK);
    assert_int_equal(start, SL_CARD_START_HELP);
    assert_int_equal(parse((const char *const[]){"--version", NULL}, &o, &start, &diag), SL_OK);
    assert_int_equal(start, SL_CARD_START_VERSION);
}

static void wrong(void **state)
{
    static const struct {
        const char *words[WORDS], *part;
    } cases[] = {
        {{NULL}, "nothing to do"},
        {{"--ports", "eth0"}, "not INSIDE,OUTSIDE"},
        {{"--ports", ",eth0"}, "not INSIDE,OUTSIDE"},
        {{"--ports", "eth0,"}, "not INSIDE,OUTSIDE"},
        {{"--ports", "a,b,c"}, "not INSIDE,OUTSIDE"},
        {{"--ports", "a,b", "--ports", "c,d"}, "once"},
        {{"--ports", "eth0,eth0"}, "two ends"},
        {{"--ports", "eth0,a-name-of-16-char"}, "longer than any"},
        {{"--ports", "a,b", "--pcap", "in", "out"}, "one of them"},
        {{"--ports", "a,b", "--stay"}, "go with --pcap"},
        {{"--listen", "tcp:1.2.3.4:5"}, "mutual TLS"},
        {{"--listen", "tcp:1.2.3.4:5", "--tls-cert", "c", "--tls-key", "k"}, "mutual TLS"},
        {{"--listen", "/run/s"}, "unix:PATH"},
        {{"--listen", "unix:"}, "unix:PATH"},
        {{"--listen", "unix:a", "--listen", "unix:b"}, "at most"},
        {{"--listen"}, "--listen"},
        {{"--listen", "unix:a", "--tls-key", "k"}, "--listen tcp"},
        {{"--listen", "unix:a", "--engine", "fpga"}, "fpga"},
        {{"--listen", "unix:a", "--engine", "xrt"}, "--xclbin"},
        {{"--listen", "unix:a", "--sessions-max", "-1"}, "--sessions-max"},
        {{"--listen", "unix:a", "--sessions-max", "99999999999999999999"}, "--sessions-max"},
        {{"--listen", "unix:a", "--device", "1x"}, "--device"},
        {{"--listen", "unix:a", "--dead-after-ms", "3600001"}, "--dead-after-ms"},
        {{"--listen", "unix:a", "--when-dead", "xrt"}, "--when-dead"},
        {{"--listen", "unix:a", "--mirror", "m"}, "--pcap"},
        {{"--listen", "unix:a", "--inside", "::/0"}, "--pcap"},
        {{"--listen", "unix:a", "rest"}, "rest"},
        {{"--pcap", "in"}, "--pcap"},
        {{"--pcap", "in", "--stay"}, "--pcap"},
        {{"--pcap", "in", "out", "--group", "root"}, "--listen unix"},
        {{"--pcap", "in", "out", "--punted", "keep"}, "keep"},
        {{"--pcap", "in", "out", "--log-level", "loud"}, "loud"},
    };
    struct sl_card_options o;
    enum sl_card_start start;
    struct sl_diag diag;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_not_equal(parse(cases[i].words, &o, &start, &diag), SL_OK);
        assert_non_null(strstr(diag.text, cases[i].part));
    }
}

static void help_names_every_option(void **state)
{
    static const char *const names[] = {"--engine", "--sessions-max",  "--gcm",    "--device",   "--dead-after-ms", "--when-dead",
                                        "--xclbin", "--public-key",    "--listen", "--group",    "--tls-cert",      "--tls-key",
                                        "--tls-ca", "--drain-ms",      "--pcap",   "--sessions", "--wait-sessions", "--inside",
                                        "--punted", "--fix-checksums", "--mirror", "--stay",     "--log-level",     "--log-format"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_non_null(strstr(sl_card_usage, names[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right),
        cmocka_unit_test(wrong),
        cmocka_unit_test(help_names_every_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
